//! The file that says which cluster a machine belongs to: by default `/etc/hakudo/cluster.json`.
//!
//! It holds only what a node must know before it can talk to the others. Everything else is replicated configuration.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the file is unless said otherwise.
pub const DEFAULT_FILE: &str = "/etc/hakudo/cluster.json";

/// Links between two nodes, at most (as Corosync's `INTERFACE_MAX`).
pub const MOST_LINKS: usize = 8;

/// Length of the cluster key in bytes.
pub const KEY_BYTES: usize = 32;

/// The configuration of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Nodes of different clusters never talk to each other.
    pub cluster_name: String,
    /// The name of this node: one of `nodes`.
    pub node: String,
    /// All nodes of the cluster.
    pub nodes: Vec<NodeEntry>,
    /// UDP port of link 0; link `n` uses this port plus `n`.
    #[serde(default = "default_port")]
    pub port: u16,
    /// `passive` uses the best link that is up for everything but heartbeats, `active` all of them.
    #[serde(default)]
    pub link_mode: LinkMode,
    /// Milliseconds between heartbeats.
    #[serde(default = "default_heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// Milliseconds of silence on all links after which a node is lost.
    #[serde(default = "default_dead_after_ms")]
    pub dead_after_ms: u64,
    /// The options of corosync.conf's `quorum` section, by the same names.
    #[serde(default)]
    pub quorum: QuorumConfig,
    /// The file with the cluster key ([`KEY_BYTES`] bytes, readable by the owner alone).
    #[serde(default = "default_key_file")]
    pub key_file: PathBuf,
    /// A second key that is accepted, while the key is changed from one node to the next. First every node is given the new
    /// key here; then as its first with the old one here; then alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_key_file: Option<PathBuf>,
    /// Where configuration and history are kept.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Where the sockets are.
    #[serde(default = "default_runtime_dir")]
    pub runtime_dir: PathBuf,
    /// Members of this group may change the cluster, besides root and the user that the node runs as.
    #[serde(default = "default_admin_group")]
    pub admin_group: String,
    /// Folders that hold `resource.d` (`OCF_ROOT`), searched in order.
    #[serde(default = "default_ocf_roots")]
    pub ocf_roots: Vec<PathBuf>,
    /// Folders of fence agents, searched in order.
    #[serde(default = "default_fence_dirs")]
    pub fence_dirs: Vec<PathBuf>,
    /// Folders put before `PATH` for agents.
    #[serde(default)]
    pub agent_path: Vec<PathBuf>,
    /// The user as which the node process runs, where that is not the executor's: it may order agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_user: Option<u32>,
    /// The watchdog device that resets this machine where the lease of a ticket ends and what needs it does not stop in
    /// time; also for `loss-policy="fence"`. Without one the machine is not reset. Its timeout, as set for its driver, must
    /// not be longer than a lease and the time that the site needs to stop together: otherwise it does not help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<PathBuf>,
    /// This cluster's part in a ticket group; none where it is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tickets: Option<hakudo_link::setup::Own>,
    /// The file that this was read from.
    #[serde(skip)]
    pub file: PathBuf,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// Its number, not 0, never given to another node.
    pub id: u32,
    /// Its name (`uname` in the CIB).
    pub name: String,
    /// Its address on each link.
    pub addresses: Vec<IpAddr>,
    /// Its votes.
    #[serde(default = "one")]
    pub votes: u32,
}

/// How several links are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkMode {
    /// One at a time, the first that is up.
    #[default]
    Passive,
    /// All at once.
    Active,
}

/// The `quorum` section. Absent options have votequorum's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumConfig {
    /// The sum of votes, where it is not that of the nodes listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_votes: Option<u32>,
    /// Two nodes: either alone is quorate. Not said: on where there are exactly two nodes with one vote each, unless
    /// `expected_votes` or `auto_tie_breaker` say how else a split of them is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub two_node: Option<bool>,
    /// Quorate only once all nodes were seen at the same time. On with `two_node` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for_all: Option<bool>,
    /// Half of the votes is enough for the side with the tie breaker node.
    #[serde(default)]
    pub auto_tie_breaker: bool,
    /// `lowest`, `highest`, or node numbers separated by blanks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_tie_breaker_node: Option<String>,
    /// The expected votes shrink when nodes are lost while the cluster stays quorate.
    #[serde(default)]
    pub last_man_standing: bool,
    /// Milliseconds after a loss until they shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_man_standing_window: Option<u64>,
    /// The expected votes shrink when nodes leave cleanly.
    #[serde(default)]
    pub allow_downscale: bool,
    /// The highest number of expected votes ever seen is kept on disk, and holds after a restart.
    #[serde(default)]
    pub expected_votes_tracking: bool,
}

impl QuorumConfig {
    /// The options of the rule, for a cluster of these nodes.
    fn options(&self, nodes: &[NodeEntry]) -> Result<hakudo_membership::quorum::Options> {
        use hakudo_membership::quorum::{Options, TieBreaker};
        let equals = nodes.len() == 2 && nodes.iter().all(|node| node.votes == 1);
        let undecided = self.expected_votes.is_none() && !self.auto_tie_breaker;
        let mut options = Options {
            expected_votes: self.expected_votes,
            // Without it, two nodes would stop when one of them fails: nobody builds a cluster for that.
            two_node: self.two_node.unwrap_or(equals && undecided),
            wait_for_all: self.wait_for_all,
            last_man_standing: self.last_man_standing,
            allow_downscale: self.allow_downscale,
            expected_votes_tracking: self.expected_votes_tracking,
            ..Options::default()
        };
        if self.auto_tie_breaker_node.is_some() && !self.auto_tie_breaker {
            bail!("quorum.auto_tie_breaker_node: it has no effect without auto_tie_breaker: set that to true");
        }
        if let Some(window) = self.last_man_standing_window {
            options.last_man_standing_window = Duration::from_millis(window);
        }
        if self.auto_tie_breaker {
            options.auto_tie_breaker = Some(match self.auto_tie_breaker_node.as_deref() {
                None | Some("lowest") => TieBreaker::Lowest,
                Some("highest") => TieBreaker::Highest,
                Some(list) => TieBreaker::List(
                    list.split_whitespace()
                        .map(|word| word.parse().map(hakudo_base::NodeId))
                        .collect::<Result<_, _>>()
                        .with_context(|| {
                            format!(
                                "quorum.auto_tie_breaker_node: {list:?} is neither lowest, highest, nor node numbers"
                            )
                        })?,
                ),
            });
        }
        Ok(options)
    }
}

const fn one() -> u32 {
    1
}

const fn default_port() -> u16 {
    5405
}

const fn default_heartbeat_ms() -> u64 {
    100
}

const fn default_dead_after_ms() -> u64 {
    600
}

fn default_key_file() -> PathBuf {
    "/etc/hakudo/key".into()
}

fn default_state_dir() -> PathBuf {
    "/var/lib/hakudo".into()
}

fn default_runtime_dir() -> PathBuf {
    "/run/hakudo".into()
}

fn default_admin_group() -> String {
    "haclient".into()
}

fn default_ocf_roots() -> Vec<PathBuf> {
    vec!["/usr/lib/ocf".into(), "/usr/lib/hakudo/ocf".into()]
}

fn default_fence_dirs() -> Vec<PathBuf> {
    vec!["/usr/sbin".into(), "/usr/lib/hakudo/fence".into()]
}

impl NodeConfig {
    /// A configuration with the defaults in everything else.
    pub fn new(cluster_name: &str, node: &str, nodes: Vec<NodeEntry>) -> Self {
        Self {
            cluster_name: cluster_name.into(),
            node: node.into(),
            nodes,
            port: default_port(),
            link_mode: LinkMode::default(),
            heartbeat_ms: default_heartbeat_ms(),
            dead_after_ms: default_dead_after_ms(),
            quorum: QuorumConfig::default(),
            key_file: default_key_file(),
            second_key_file: None,
            state_dir: default_state_dir(),
            runtime_dir: default_runtime_dir(),
            admin_group: default_admin_group(),
            ocf_roots: default_ocf_roots(),
            fence_dirs: default_fence_dirs(),
            agent_path: Vec::new(),
            node_user: None,
            watchdog: None,
            tickets: None,
            file: PathBuf::new(),
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Where it cannot be read, is not JSON of this shape (with line and column), or contradicts itself.
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("cannot read {}; `hakudo cluster init` makes one for a new cluster", file.display())
        })?;
        let mut config: Self = serde_json::from_str(&text).with_context(|| format!("{} is wrong", file.display()))?;
        config.check().with_context(|| format!("{} is wrong", file.display()))?;
        config.file = file.into();
        Ok(config)
    }

    /// Reads its file again. What a running node cannot change must be as it was.
    ///
    /// # Errors
    /// Where the file is wrong, or changes something that needs a restart.
    pub fn reload(&self) -> Result<Self> {
        let new = Self::load(&self.file)?;
        let needs_restart = [
            ("cluster_name", self.cluster_name != new.cluster_name),
            ("node", self.node != new.node || self.local().id != new.local().id),
            ("the addresses of this node", self.local().addresses != new.local().addresses),
            ("port", self.port != new.port),
            ("state_dir", self.state_dir != new.state_dir),
            ("runtime_dir", self.runtime_dir != new.runtime_dir),
        ];
        if let Some((what, _)) = needs_restart.iter().find(|(_, changed)| *changed) {
            bail!("{}: {what} cannot change while the node runs: restart it", self.file.display());
        }
        Ok(new)
    }

    /// Checks what the shape alone does not say.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<()> {
        if self.nodes.is_empty() {
            bail!("nodes: there must be at least one");
        }
        let (mut ids, mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let links = self.nodes[0].addresses.len();
        if links == 0 || links > MOST_LINKS {
            bail!("nodes: node {:?} has {links} addresses: one to {MOST_LINKS} are possible", self.nodes[0].name);
        }
        for node in &self.nodes {
            if node.id == 0 {
                bail!("nodes: node {:?} has id 0: ids start at 1", node.name);
            }
            if node.name.is_empty() {
                bail!("nodes: node {} has no name", node.id);
            }
            if !ids.insert(node.id) {
                bail!("nodes: two nodes have id {}", node.id);
            }
            if !names.insert(&node.name) {
                bail!("nodes: two nodes are called {:?}", node.name);
            }
            if node.addresses.len() != links {
                bail!(
                    "nodes: node {:?} has {} addresses, node {:?} has {links}: every node needs one a link",
                    node.name,
                    node.addresses.len(),
                    self.nodes[0].name
                );
            }
            for (link, address) in node.addresses.iter().enumerate() {
                if !addresses.insert((link, address)) {
                    bail!("nodes: address {address} is given twice on link {link}");
                }
            }
        }
        if !names.contains(&self.node) {
            bail!("node: {:?} is not one of nodes", self.node);
        }
        if self.heartbeat_ms == 0 || self.dead_after_ms < 3 * self.heartbeat_ms {
            bail!(
                "dead_after_ms: {} is too short: at least three heartbeats of {} ms must fit, or a lost packet kills a node",
                self.dead_after_ms,
                self.heartbeat_ms
            );
        }
        if u16::try_from(links).is_ok_and(|links| self.port.checked_add(links).is_none()) || self.port == 0 {
            bail!("port: {} leaves no room for {links} links", self.port);
        }
        // What membership makes of it does not depend on the key.
        self.membership_with([0; KEY_BYTES], None).map(|_| ())
    }

    /// This node's entry.
    ///
    /// # Panics
    /// Never on a configuration that passed [`NodeConfig::check`].
    pub fn local(&self) -> &NodeEntry {
        self.nodes.iter().find(|n| n.name == self.node).expect("check() found this node among the nodes")
    }

    /// The number of links.
    pub fn links(&self) -> usize {
        self.nodes.first().map_or(0, |n| n.addresses.len())
    }

    /// Where a node listens on a link.
    pub fn address(&self, id: u32, link: usize) -> Option<SocketAddr> {
        let node = self.nodes.iter().find(|n| n.id == id)?;
        let port = self.port.checked_add(u16::try_from(link).ok()?)?;
        Some(SocketAddr::new(*node.addresses.get(link)?, port))
    }

    /// The socket on which the node serves local clients.
    pub fn socket(&self) -> PathBuf {
        self.runtime_dir.join("node.sock")
    }

    /// The socket on which the executor serves the node.
    pub fn executor_socket(&self) -> PathBuf {
        self.runtime_dir.join("executor.sock")
    }

    /// What the membership engine must know.
    ///
    /// # Errors
    /// Where the key cannot be read, or an option of the quorum is wrong.
    pub fn membership(&self) -> Result<hakudo_membership::Config> {
        let second = self.second_key_file.as_deref().map(read_key).transpose()?;
        self.membership_with(self.key()?, second)
    }

    fn membership_with(
        &self,
        key: [u8; KEY_BYTES],
        second_key: Option<[u8; KEY_BYTES]>,
    ) -> Result<hakudo_membership::Config> {
        use hakudo_base::NodeId;
        let links: Vec<u8> = (0..self.links()).filter_map(|link| u8::try_from(link).ok()).collect();
        let nodes = self.nodes.iter().map(|node| hakudo_membership::NodeEntry {
            id: NodeId(node.id),
            name: node.name.clone(),
            links: links.clone(),
            votes: node.votes,
        });
        let key = hakudo_membership::ClusterKey::new(key);
        let mut config =
            hakudo_membership::Config::new(NodeId(self.local().id), &self.cluster_name, key, nodes.collect());
        config.second_key = second_key.map(hakudo_membership::ClusterKey::new);
        config.link_mode = match self.link_mode {
            LinkMode::Passive => hakudo_membership::LinkMode::Passive,
            LinkMode::Active => hakudo_membership::LinkMode::Active,
        };
        config.heartbeat = Duration::from_millis(self.heartbeat_ms);
        config.dead_after = Duration::from_millis(self.dead_after_ms);
        config.warn_after = config.dead_after * 7 / 12;
        config.quorum = self.quorum.options(&self.nodes)?;
        config.check()?;
        Ok(config)
    }

    /// Makes the folder of the sockets.
    ///
    /// # Errors
    /// Where this user may not.
    pub fn make_runtime_dir(&self) -> Result<()> {
        std::fs::create_dir_all(&self.runtime_dir)
            .with_context(|| format!("cannot make {}", self.runtime_dir.display()))
    }

    /// How the executor of this node is set up.
    pub fn executor(&self) -> hakudo_executor::Config {
        let mut config = hakudo_executor::Config::new(self.executor_socket());
        config.ocf_roots.clone_from(&self.ocf_roots);
        config.fence_directories.clone_from(&self.fence_dirs);
        config.node_user = self.node_user;
        config.watchdog.clone_from(&self.watchdog);
        let first: String = self.agent_path.iter().map(|folder| format!("{}:", folder.display())).collect();
        config.path = first + &config.path;
        let state = self.runtime_dir.join("agents");
        config.environment = vec![
            ("HAKUDO_NODE".into(), self.node.clone()),
            ("HAKUDO_SOCKET".into(), self.socket().display().to_string()),
            ("HAKUDO_AGENT_STATE".into(), state.display().to_string()),
        ];
        config
    }

    /// Reads the cluster key.
    ///
    /// # Errors
    /// Where the file is missing, of another length, or readable by others.
    pub fn key(&self) -> Result<[u8; KEY_BYTES]> {
        read_key(&self.key_file)
    }
}

fn read_key(file: &Path) -> Result<[u8; KEY_BYTES]> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(file).with_context(|| format!("cannot read the key {}", file.display()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        bail!("{}: others may read the cluster key; run: chmod 600 {}", file.display(), file.display());
    }
    let bytes = std::fs::read(file).with_context(|| format!("cannot read the key {}", file.display()))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| anyhow::anyhow!("{}: the key has {length} bytes, not {KEY_BYTES}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(json: &str, expected: &Expect) {
        let result = serde_json::from_str::<NodeConfig>(json).map_err(anyhow::Error::from).and_then(|c| c.check());
        expected.assert_eq(&result.map_or_else(|e| format!("{e:#}"), |()| "good".into()));
    }

    #[test]
    fn mistakes_are_named() {
        let nodes = r#""nodes": [{"id": 1, "name": "a", "addresses": ["127.0.0.1"]}, {"id": 2, "name": "b", "addresses": ["127.0.0.2"]}]"#;
        check(&format!(r#"{{"cluster_name": "c", "node": "a", {nodes}}}"#), &expect!["good"]);
        check(
            &format!(r#"{{"cluster_name": "c", "node": "x", {nodes}}}"#),
            &expect![[r#"node: "x" is not one of nodes"#]],
        );
        check(
            &format!(r#"{{"cluster_name": "c", "node": "a", "heartbeat_ms": 300, {nodes}}}"#),
            &expect![
                "dead_after_ms: 600 is too short: at least three heartbeats of 300 ms must fit, or a lost packet kills a node"
            ],
        );
        check(r#"{"cluster_name": "c", "node": "a", "nodes": []}"#, &expect!["nodes: there must be at least one"]);
        check(
            r#"{"cluster_name": "c", "node": "a", "nodes": [{"id": 1, "name": "a", "addresses": ["127.0.0.1"]}, {"id": 1, "name": "b", "addresses": ["127.0.0.2"]}]}"#,
            &expect!["nodes: two nodes have id 1"],
        );
        check(
            r#"{"cluster_name": "c", "node": "a", "nodez": []}"#,
            &expect![
                "unknown field `nodez`, expected one of `cluster_name`, `node`, `nodes`, `port`, `link_mode`, `heartbeat_ms`, `dead_after_ms`, `quorum`, `key_file`, `second_key_file`, `state_dir`, `runtime_dir`, `admin_group`, `ocf_roots`, `fence_dirs`, `agent_path`, `node_user`, `watchdog`, `tickets` at line 1 column 42"
            ],
        );
    }

    /// A configuration of nodes with these votes, and this `quorum` section.
    fn with_quorum(votes: &[u32], quorum: &str) -> NodeConfig {
        let nodes = (1u8..).zip(votes).map(|(id, votes)| NodeEntry {
            id: id.into(),
            name: format!("n{id}"),
            addresses: vec![[192, 0, 2, id].into()],
            votes: *votes,
        });
        let quorum = serde_json::from_str(quorum).unwrap();
        NodeConfig { quorum, ..NodeConfig::new("c", "n1", nodes.collect()) }
    }

    #[test]
    fn two_nodes_are_two_node_where_nothing_else_is_said() {
        let two_node = |votes: &[u32], quorum: &str| {
            let config = with_quorum(votes, quorum);
            config.quorum.options(&config.nodes).unwrap().two_node
        };
        assert!(two_node(&[1, 1], "{}"));
        assert!(two_node(&[1, 1], r#"{"wait_for_all": false}"#));
        assert!(two_node(&[1, 1], r#"{"expected_votes": 3, "two_node": true}"#));
        assert!(!two_node(&[1, 1], r#"{"two_node": false}"#));
        assert!(!two_node(&[1, 1], r#"{"expected_votes": 3}"#));
        assert!(!two_node(&[1, 1], r#"{"auto_tie_breaker": true}"#));
        assert!(!two_node(&[2, 1], "{}"));
        assert!(!two_node(&[1, 1, 1], "{}"));
        assert!(!two_node(&[1], "{}"));
    }

    #[test]
    fn options_of_the_quorum_reach_the_rule() {
        let config = with_quorum(
            &[1, 1, 1],
            r#"{"auto_tie_breaker": true, "auto_tie_breaker_node": "2 1", "wait_for_all": true, "last_man_standing": true,
                "last_man_standing_window": 5000, "allow_downscale": true, "expected_votes_tracking": true}"#,
        );
        use hakudo_membership::quorum::{Options, TieBreaker};
        let expected = Options {
            expected_votes: None,
            two_node: false,
            wait_for_all: Some(true),
            auto_tie_breaker: Some(TieBreaker::List(vec![hakudo_base::NodeId(2), hakudo_base::NodeId(1)])),
            last_man_standing: true,
            last_man_standing_window: Duration::from_secs(5),
            allow_downscale: true,
            expected_votes_tracking: true,
            device: None,
        };
        assert_eq!(config.quorum.options(&config.nodes).unwrap(), expected);
    }

    #[test]
    fn what_membership_cannot_do_is_said_before_it_is_asked() {
        let wrong = |votes: &[u32], quorum: &str| format!("{:#}", with_quorum(votes, quorum).check().unwrap_err());
        assert_eq!(wrong(&[1; 33], "{}"), "33 nodes are configured, at most 32 are possible");
        assert_eq!(wrong(&[0, 0], "{}"), "quorum: there are no votes: list nodes with votes, or set expected_votes");
        assert!(wrong(&[1, 1], r#"{"auto_tie_breaker": true, "auto_tie_breaker_node": "low"}"#).contains("low"));
        assert!(wrong(&[1, 1], r#"{"auto_tie_breaker_node": "lowest"}"#).contains("without auto_tie_breaker"));
    }

    #[test]
    fn keys_are_read_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("hakudo-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let place = |name: &str| folder.join(name);
        let write_key = |name: &str, byte: u8| {
            std::fs::write(place(name), [byte; KEY_BYTES]).unwrap();
            std::fs::set_permissions(place(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        let write_config = |second: Option<&str>| {
            let json = serde_json::json!({
                "cluster_name": "c", "node": "a",
                "nodes": [{"id": 1, "name": "a", "addresses": ["127.0.0.1"]}],
                "key_file": place("key"), "second_key_file": second.map(place),
            });
            std::fs::write(place("cluster.json"), json.to_string()).unwrap();
        };
        let key = |byte: u8| hakudo_membership::ClusterKey::new([byte; KEY_BYTES]);
        let keys = |config: &NodeConfig| {
            let membership = config.membership().unwrap();
            (membership.key, membership.second_key)
        };
        write_key("key", 1);
        write_config(None);
        let config = NodeConfig::load(&place("cluster.json")).unwrap();
        assert_eq!(keys(&config), (key(1), None));
        write_key("new", 2);
        write_config(Some("new"));
        let config = config.reload().unwrap();
        assert_eq!(keys(&config), (key(1), Some(key(2))));
        // The same files, and others in their places.
        write_key("key", 2);
        write_key("new", 1);
        assert_eq!(keys(&config.reload().unwrap()), (key(2), Some(key(1))));
        std::fs::set_permissions(place("new"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = config.reload().unwrap().membership().unwrap_err();
        assert!(format!("{error:#}").contains("others may read the cluster key"), "{error:#}");
        write_config(None);
        assert_eq!(keys(&config.reload().unwrap()), (key(2), None));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

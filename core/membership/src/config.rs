//! What the engine must know before it can speak, and what it must find again after a restart.

use crate::quorum;
use hakudo_base::NodeId;
pub use hakudo_seal::SharedKey as ClusterKey;
use hakudo_seal::{Credentials, fnv1a};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// The most nodes that one cluster can have.
pub const MAX_NODES: usize = 32;
/// The most links between two nodes.
pub const MAX_LINKS: u8 = 8;
/// The longest datagram that the engine makes or takes, in bytes: fits every path without fragments or discovery.
pub const MAX_DATAGRAM: usize = 1200;
/// The largest payload of one broadcast, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 20;
/// The longest name of a cluster, in bytes.
pub const MAX_CLUSTER_NAME: usize = hakudo_seal::MAX_NAME;

/// One configured node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its number, never 0.
    pub id: NodeId,
    /// Its name, for people.
    pub name: String,
    /// The numbers of the links on which it has an address, ascending, each below [`MAX_LINKS`].
    pub links: Vec<u8>,
    /// How many votes it has (`quorum_votes`); 0 is allowed.
    pub votes: u32,
}

/// Which links carry messages. Heartbeats and view changes always use every link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkMode {
    /// The lowest-numbered link that works; repetitions of what was lost go out on all.
    #[default]
    Passive,
    /// All links at once.
    Active,
}

/// The configuration of the engine. It may change while it runs ([`Input::Configure`](crate::Input::Configure)); only
/// `local` stays for the life of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub local: NodeId,
    /// The name of the cluster: nodes of clusters with other names are refused, by name.
    pub cluster_name: String,
    /// The secret that all nodes share.
    pub key: ClusterKey,
    /// A second key that is accepted, so that the key can be changed while the cluster runs: first every node is given the
    /// new key as its second, then as its first with the old one as second, then alone.
    pub second_key: Option<ClusterKey>,
    /// All nodes, this one among them, at most [`MAX_NODES`].
    pub nodes: Vec<NodeEntry>,
    /// Which links carry messages.
    pub link_mode: LinkMode,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Silence of a node after which it is reported as late.
    pub warn_after: Duration,
    /// Silence of a node on all links after which it is lost, and of one link after which that link is down.
    pub dead_after: Duration,
    /// The quorum rule's options.
    pub quorum: quorum::Options,
}

impl Config {
    /// A configuration with the default times: a heartbeat every 100 ms, late after 350 ms, lost after 600 ms.
    pub fn new(local: NodeId, cluster_name: &str, key: ClusterKey, nodes: Vec<NodeEntry>) -> Self {
        Self {
            local,
            cluster_name: cluster_name.to_owned(),
            key,
            second_key: None,
            nodes,
            link_mode: LinkMode::default(),
            heartbeat: Duration::from_millis(100),
            warn_after: Duration::from_millis(350),
            dead_after: Duration::from_millis(600),
            quorum: quorum::Options::default(),
        }
    }

    /// Checks everything that the engine relies on.
    ///
    /// # Errors
    /// The first thing that is wrong, by name.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.cluster_name.len() > MAX_CLUSTER_NAME {
            return Err(ConfigError::LongName);
        }
        if self.nodes.len() > MAX_NODES {
            return Err(ConfigError::TooManyNodes(self.nodes.len()));
        }
        let mut seen = BTreeSet::new();
        for node in &self.nodes {
            if node.id.0 == 0 {
                return Err(ConfigError::ZeroId(node.name.clone()));
            }
            if !seen.insert(node.id) {
                return Err(ConfigError::DoubleId(node.id));
            }
            if node.links.is_empty() {
                return Err(ConfigError::NoLink(node.id));
            }
            if let Some(link) = node.links.iter().find(|link| **link >= MAX_LINKS) {
                return Err(ConfigError::BadLink { node: node.id, link: *link });
            }
            if !node.links.is_sorted_by(|a, b| a < b) {
                return Err(ConfigError::UnsortedLinks(node.id));
            }
        }
        if !seen.contains(&self.local) {
            return Err(ConfigError::LocalMissing(self.local));
        }
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(3600));
        if self.heartbeat < shortest || self.dead_after > longest {
            return Err(ConfigError::TimeOutOfRange);
        }
        if self.dead_after < self.heartbeat * 2 {
            return Err(ConfigError::DeadTooEarly);
        }
        if self.warn_after > self.dead_after || self.warn_after < self.heartbeat {
            return Err(ConfigError::WarnOutOfRange);
        }
        quorum::Quorum::new(&self.quorum, self.local, &self.votes(), quorum::Persisted::default())?;
        Ok(())
    }

    /// The keys that are accepted, first the one that is used to open sessions.
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::Shared([Some(&self.key), self.second_key.as_ref()].into_iter().flatten().cloned().collect())
    }

    /// The votes of all nodes.
    pub(crate) fn votes(&self) -> BTreeMap<NodeId, u32> {
        self.nodes.iter().map(|node| (node.id, node.votes)).collect()
    }

    /// Names everything that all nodes must agree on.
    pub(crate) fn digest(&self) -> u64 {
        let mut nodes: Vec<_> = self.nodes.iter().map(|node| (node.id, &node.links, node.votes)).collect();
        nodes.sort();
        let times = (self.heartbeat, self.dead_after);
        fnv1a(&postcard::to_stdvec(&(nodes, times, &self.quorum)).unwrap_or_default())
    }

    /// The entry of a node.
    pub fn node(&self, id: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// See [`MAX_CLUSTER_NAME`].
    #[error("the name of the cluster is longer than {MAX_CLUSTER_NAME} bytes")]
    LongName,
    /// See [`MAX_NODES`].
    #[error("{0} nodes are configured, at most {MAX_NODES} are possible")]
    TooManyNodes(usize),
    /// Node numbers start at 1.
    #[error("node \"{0}\" has the number 0; numbers start at 1")]
    ZeroId(String),
    /// Node numbers are unique.
    #[error("two nodes have the number {0}")]
    DoubleId(NodeId),
    /// A node needs an address.
    #[error("node {0} has no link")]
    NoLink(NodeId),
    /// See [`MAX_LINKS`].
    #[error("node {node} has a link {link}; links are numbered 0 to 7")]
    BadLink {
        /// Where.
        node: NodeId,
        /// The number that is too large.
        link: u8,
    },
    /// Links are listed once each, in order.
    #[error("the links of node {0} are not in ascending order")]
    UnsortedLinks(NodeId),
    /// The own node must be one of those configured.
    #[error("this node, {0}, is not among the configured nodes")]
    LocalMissing(NodeId),
    /// The number of this node cannot change while it runs.
    #[error("the number of this node cannot change while it runs")]
    LocalChanged,
    /// Times have limits.
    #[error("the heartbeat must be at least 1 ms, and dead_after at most an hour")]
    TimeOutOfRange,
    /// One lost heartbeat must not kill a node.
    #[error("dead_after must be at least two heartbeats")]
    DeadTooEarly,
    /// The quorum options contradict each other.
    #[error(transparent)]
    Quorum(#[from] quorum::OptionsError),
    /// The state on disk is damaged.
    #[error("the state says epoch {0}, which no cluster can have reached: it is damaged")]
    EpochOutOfRange(u64),
    /// The warning comes between the first heartbeat and death.
    #[error("warn_after must lie between the heartbeat and dead_after")]
    WarnOutOfRange,
}

/// What must outlive the process: the shell writes it to disk, with a sync, and gives the newest one to
/// [`Engine::new`](crate::Engine::new). A node that never ran has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistedState {
    /// No view with an epoch above this was installed or proposed here. Written in steps ahead of use, so that most view
    /// changes wait for no disk.
    pub epoch_limit: u64,
    /// How many times an engine was started from this state: keeps its runs apart even if a seed is used twice.
    pub runs: u64,
    /// What the quorum rule remembers.
    pub quorum: quorum::Persisted,
}

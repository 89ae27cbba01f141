//! The systems that are compared: hakudo, and Pacemaker on Corosync from Debian's packages.

use super::machine::{INSIDE, Script, address};
use super::site::{Site, name};
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A cluster software with its tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum System {
    /// This project, default settings.
    Hakudo,
    /// Pacemaker and Corosync; a token time in milliseconds other than the default.
    Pacemaker { token_ms: Option<u32> },
}

/// What the clusters run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    /// Resources, called r1, r2, ….
    pub(super) resources: usize,
    /// Seconds between monitors.
    pub(super) monitor_seconds: u32,
    /// The type of the agent: `Record` or `Dummy`.
    pub(super) agent: &'static str,
}

impl System {
    /// The system of this name on the command line.
    pub(super) fn named(name: &str) -> Result<Self> {
        match name {
            "hakudo" => Ok(System::Hakudo),
            "pacemaker" => Ok(System::Pacemaker { token_ms: None }),
            "pacemaker-1000" => Ok(System::Pacemaker { token_ms: Some(1000) }),
            other => bail!("there is no system {other}: hakudo, pacemaker, pacemaker-1000"),
        }
    }

    /// The head of a column.
    pub(super) fn title(self) -> String {
        match self {
            System::Hakudo => "hakudo".into(),
            System::Pacemaker { token_ms: None } => "Pacemaker, default".into(),
            System::Pacemaker { token_ms: Some(token) } => format!("Pacemaker, token={token}"),
        }
    }

    /// Whether it can be run here; else why not.
    pub(super) fn check_available(self) -> Result<()> {
        let needed: &[&str] = match self {
            System::Hakudo => &[],
            System::Pacemaker { .. } => &["/usr/sbin/corosync", "/usr/sbin/pacemakerd", "/usr/sbin/cibadmin"],
        };
        for program in needed {
            fs::metadata(program).with_context(|| format!("{program} is missing: apt-get install pacemaker"))?;
        }
        Ok(())
    }

    /// Machines on which the nodes of this system run, in a cluster of `count`.
    pub(super) fn site(self, count: usize) -> Result<Site> {
        let script: Script = match self {
            System::Hakudo => {
                let program = program()?;
                Arc::new(move |site, _| hakudo_script(program, site, count))
            }
            System::Pacemaker { token_ms } => Arc::new(move |site, _| pacemaker_script(site, count, token_ms)),
        };
        Site::new(count, script)
    }

    /// Loads the configuration, by a node.
    pub(super) fn configure(self, site: &Site, node: usize, workload: Workload) -> Result<()> {
        let inside = format!("{INSIDE}/configuration.xml");
        let file = site.folder().join("configuration.xml");
        match self {
            System::Hakudo => {
                let configuration = configuration("fencing", site.count(), workload);
                fs::write(file, format!(r#"<cib validate-with="pacemaker-4.0">{configuration}<status/></cib>"#))?;
                site.inside(node, &[&hakudo(), "config", "load", &inside])?;
            }
            System::Pacemaker { .. } => {
                fs::write(file, configuration("stonith", site.count(), workload))?;
                site.inside(node, &["/usr/sbin/cibadmin", "--replace", "--scope", "configuration", "-x", &inside])?;
            }
        }
        Ok(())
    }

    /// What a node says of the cluster.
    pub(super) fn look(self, site: &Site, node: usize) -> Result<Look> {
        let text = match self {
            System::Hakudo => site.inside(node, &[&hakudo(), "status"])?,
            System::Pacemaker { .. } => site.inside(node, &["/usr/sbin/crm_mon", "-1"])?,
        };
        Ok(Look::read(&text))
    }

    /// Moves a resource.
    pub(super) fn move_resource(self, site: &Site, node: usize, resource: &str, to: usize) -> Result<()> {
        match self {
            System::Hakudo => {
                site.inside(node, &[&hakudo(), "resource", "move", resource, &name(to), "--async"])?;
            }
            System::Pacemaker { .. } => {
                let words = ["/usr/sbin/crm_resource", "--move", "-r", resource, "--node", &name(to)];
                site.inside(node, &words)?;
            }
        }
        Ok(())
    }

    /// Words by which the command lines of this system's processes are known.
    pub(super) fn processes(self) -> &'static [&'static str] {
        match self {
            System::Hakudo => &["daemon (node|executor)"],
            System::Pacemaker { .. } => &["corosync", "pacemaker"],
        }
    }
}

/// A cluster as one of its nodes shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The node that decides (the DC).
    pub(super) leader: Option<usize>,
    /// The nodes that are there and may run resources.
    pub(super) online: Vec<usize>,
}

impl Look {
    /// Reads the text that `crm_mon -1` prints, and `hakudo status` alike.
    fn read(text: &str) -> Self {
        let node = |word: &str| word.strip_prefix('n').and_then(|n| n.parse().ok());
        let mut look = Self::default();
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("Current DC:") {
                look.leader = rest.split_whitespace().next().and_then(node);
            }
            if let Some((_, rest)) = line.split_once("* Online: [") {
                look.online = rest.split_whitespace().filter_map(node).collect();
            }
        }
        look
    }
}

/// The program that is measured.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Chooses the program that is measured.
///
/// # Errors
/// There is none.
pub(super) fn choose_program(program: &Path) -> Result<()> {
    let program = fs::canonicalize(program).with_context(|| format!("there is no {}", program.display()))?;
    PROGRAM.get_or_init(|| program);
    Ok(())
}

fn program() -> Result<&'static Path> {
    PROGRAM.get().map(PathBuf::as_path).context("no program was chosen")
}

/// The program by a name without blanks; [`System::site`] has seen that it is there.
fn hakudo() -> String {
    program().map(|p| p.display().to_string()).unwrap_or_default()
}

fn hakudo_script(program: &Path, site: usize, count: usize) -> String {
    let node = |n| format!(r#"{{"id": {n}, "name": "{}", "addresses": ["{}"]}}"#, name(n), address(site, n));
    let nodes: Vec<String> = (1..=count).map(node).collect();
    let program = program.display();
    format!(
        r#"cat > /etc/hakudo/cluster.json <<JSON
{{"cluster_name": "bench", "node": "$(hostname)", "nodes": [{}]}}
JSON
head -c 32 /dev/zero > /etc/hakudo/key; chmod 600 /etc/hakudo/key
mkdir -p /run/hakudo
{program} daemon executor &
{program} daemon node &
while true; do wait -n || sleep 1; done
"#,
        nodes.join(", ")
    )
}

fn pacemaker_script(site: usize, count: usize, token_ms: Option<u32>) -> String {
    let mut nodes = String::new();
    for node in 1..=count {
        let (name, address) = (name(node), address(site, node));
        // Writing to a string cannot fail.
        let _ = write!(nodes, " node {{\n  nodeid: {node}\n  name: {name}\n  ring0_addr: {address}\n }}\n");
    }
    let token = token_ms.map(|t| format!(" token: {t}\n")).unwrap_or_default();
    let two_node = if count == 2 { " two_node: 1\n" } else { "" };
    format!(
        r#"for d in blackbox cib cores pengine; do mkdir -p /var/lib/pacemaker/$d; done
chown -R hacluster:haclient /var/lib/pacemaker; chmod 750 /var/lib/pacemaker/*
mkdir -p /run/crm /var/log/pacemaker /var/log/cluster; chown hacluster:haclient /run/crm /var/log/pacemaker
cat > /etc/corosync/corosync.conf <<CONF
totem {{
 version: 2
 cluster_name: bench
 transport: knet
{token}}}
quorum {{
 provider: corosync_votequorum
{two_node}}}
logging {{
 to_logfile: yes
 logfile: /var/log/corosync.log
 to_syslog: no
}}
nodelist {{
{nodes}}}
CONF
export PCMK_logfile=/var/log/pacemaker.log
corosync -f &
until corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.05; done
pacemakerd &
while true; do wait -n || sleep 1; done
"#
    )
}

/// The same configuration for all, but for the name of fencing's options.
fn configuration(fencing: &str, count: usize, workload: Workload) -> String {
    let Workload { resources, monitor_seconds, agent } = workload;
    let mut primitives = String::new();
    for n in 1..=resources {
        let _ = write!(
            primitives,
            r#"<primitive id="r{n}" class="ocf" provider="hkbench" type="{agent}"><operations><op id="r{n}-m" name="monitor" interval="{monitor_seconds}s" timeout="20s"/></operations></primitive>"#,
        );
    }
    let nodes: String = (1..=count).map(|n| format!(r#"<node id="{n}" uname="{}"/>"#, name(n))).collect();
    let hosts: Vec<String> = (1..=count).map(name).collect();
    let hosts = hosts.join(" ");
    format!(
        r#"<configuration><crm_config><cluster_property_set id="cib-bootstrap-options"><nvpair id="o1" name="{fencing}-enabled" value="true"/></cluster_property_set></crm_config><nodes>{nodes}</nodes><resources><primitive id="power" class="stonith" type="fence_hkbench"><instance_attributes id="power-i"><nvpair id="power-l" name="pcmk_host_list" value="{hosts}"/></instance_attributes><operations><op id="power-m" name="monitor" interval="60s" timeout="20s"/></operations></primitive>{primitives}</resources><constraints/></configuration>"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let text = "  * Current DC: n2 (version 2.1.5) - partition with quorum\nNode List:\n  * Node n1: UNCLEAN (offline)\n  * Online: [ n2 n3 ]\n";
        assert_eq!(Look::read(text), Look { leader: Some(2), online: vec![2, 3] });
        assert_eq!(Look::read("  * Current DC: NONE\n"), Look::default());
    }
}

//! The systems that are compared: hakudo, and Pacemaker on Corosync from Debian's packages.

use super::site::{Site, address, name};
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// A cluster software with its tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// This project, default settings.
    Hakudo,
    /// Pacemaker and Corosync; a token time in milliseconds other than the default.
    Pacemaker { token_ms: Option<u32> },
}

/// What the clusters run.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// Resources of the recording agent, called r1, r2, ….
    pub(super) resources: usize,
    /// Seconds between monitors.
    pub(super) monitor_seconds: u32,
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
            System::Pacemaker { token_ms: None } => "Pacemaker".into(),
            System::Pacemaker { token_ms: Some(token) } => format!("Pacemaker, token={token}"),
        }
    }

    /// Whether it can be run here; else why not.
    pub(super) fn is_available(self) -> Result<()> {
        match self {
            System::Hakudo => Ok(()),
            System::Pacemaker { .. } => {
                for program in ["/usr/sbin/corosync", "/usr/sbin/pacemakerd", "/usr/sbin/cibadmin"] {
                    fs::metadata(program)
                        .with_context(|| format!("{program} is missing: apt-get install pacemaker"))?;
                }
                Ok(())
            }
        }
    }

    /// Machines on which a node of this system runs, in a cluster of `count`.
    pub(super) fn site(self, count: usize) -> Result<Site> {
        match self {
            System::Hakudo => {
                let program = program()?;
                Site::new(Box::new(move |node| hakudo_script(&program, node, count)))
            }
            System::Pacemaker { token_ms } => Site::new(Box::new(move |_| pacemaker_script(count, token_ms))),
        }
    }

    /// Whether a node answers its administrator.
    pub(super) fn is_up(self, site: &Site, node: usize) -> bool {
        match self {
            System::Hakudo => site.inside(node, &[&hakudo(), "status"]).is_ok(),
            System::Pacemaker { .. } => site.inside(node, &["/usr/sbin/cibadmin", "-Q"]).is_ok(),
        }
    }

    /// Loads the configuration.
    pub(super) fn configure(self, site: &Site, node: usize, count: usize, workload: &Workload) -> Result<()> {
        let file = PathBuf::from(super::site::SHARED).join("configuration.xml");
        let file = file.to_str().context("a path of ours is UTF-8")?;
        match self {
            System::Hakudo => {
                let configuration = configuration("fencing", count, workload);
                fs::write(file, format!(r#"<cib validate-with="pacemaker-4.0">{configuration}<status/></cib>"#))?;
                site.inside(node, &[&hakudo(), "config", "load", file])?;
            }
            System::Pacemaker { .. } => {
                fs::write(file, configuration("stonith", count, workload))?;
                site.inside(node, &["/usr/sbin/cibadmin", "--replace", "--scope", "configuration", "-x", file])?;
            }
        }
        Ok(())
    }

    /// The node that decides (the DC).
    pub(super) fn leader(self, site: &Site, node: usize) -> Result<usize> {
        let text = match self {
            System::Hakudo => site.inside(node, &[&hakudo(), "status"])?,
            System::Pacemaker { .. } => site.inside(node, &["/usr/sbin/crm_mon", "-1"])?,
        };
        let line = text.lines().find(|l| l.contains("Current DC:")).context("the status names no DC")?;
        let word = line.split("Current DC:").nth(1).and_then(|rest| rest.split_whitespace().next());
        match word.and_then(|word| word.strip_prefix('n')).and_then(|n| n.parse().ok()) {
            Some(leader) => Ok(leader),
            None => bail!("no leader yet: {line}"),
        }
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

fn program() -> Result<PathBuf> {
    let program = std::env::current_dir()?.join("target/release/hakudo");
    if !program.exists() {
        bail!("{} is missing: cargo build --release", program.display());
    }
    Ok(program)
}

/// The program by a name without blanks; [`System::site`] has seen that it is there.
fn hakudo() -> String {
    program().map(|p| p.display().to_string()).unwrap_or_default()
}

fn hakudo_script(program: &std::path::Path, _node: usize, count: usize) -> String {
    let nodes: Vec<String> = (1..=count)
        .map(|n| format!(r#"{{"id": {n}, "name": "{}", "addresses": ["{}"]}}"#, name(n), address(n)))
        .collect();
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

fn pacemaker_script(count: usize, token_ms: Option<u32>) -> String {
    let mut nodes = String::new();
    for node in 1..=count {
        // Writing to a string cannot fail.
        let _ =
            write!(nodes, " node {{\n  nodeid: {node}\n  name: {}\n  ring0_addr: {}\n }}\n", name(node), address(node));
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
 logfile: /var/log/cluster/corosync.log
 to_syslog: no
}}
nodelist {{
{nodes}}}
CONF
export PCMK_logfile=/var/log/pacemaker/pacemaker.log
corosync -f &
until [ -e /run/corosync.pid ] || corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.02; done
pacemakerd &
while true; do wait -n || sleep 1; done
"#
    )
}

/// The same configuration for all, but for the name of fencing's options.
fn configuration(fencing: &str, count: usize, workload: &Workload) -> String {
    let mut resources = String::new();
    for n in 1..=workload.resources {
        let _ = write!(
            resources,
            r#"<primitive id="r{n}" class="ocf" provider="hkbench" type="Record"><operations><op id="r{n}-m" name="monitor" interval="{}s" timeout="20s"/></operations></primitive>"#,
            workload.monitor_seconds
        );
    }
    let nodes: String = (1..=count).map(|n| format!(r#"<node id="{n}" uname="{}"/>"#, name(n))).collect();
    let hosts: Vec<String> = (1..=count).map(name).collect();
    format!(
        r#"<configuration><crm_config><cluster_property_set id="cib-bootstrap-options"><nvpair id="o1" name="{fencing}-enabled" value="true"/></cluster_property_set></crm_config><nodes>{nodes}</nodes><resources><primitive id="power" class="stonith" type="fence_hkbench"><instance_attributes id="power-i"><nvpair id="power-l" name="pcmk_host_list" value="{}"/></instance_attributes><operations><op id="power-m" name="monitor" interval="60s" timeout="20s"/></operations></primitive>{resources}</resources><constraints/></configuration>"#,
        hosts.join(" ")
    )
}

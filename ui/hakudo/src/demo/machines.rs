//! The machines of the demo, and what can happen to them: power, cables, fencing.
//!
//! A machine that is fenced with `reboot` comes up again a little later, as a real one would. A machine that only lost its
//! power stays off until the cluster's fencing (or `hakudo demo start`) switches it on.

use super::layout::Layout;
use super::network::Network;
use anyhow::{Context, Result, bail};
use hakudo_executor::tree::Tree;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long a machine needs from power on to its first process.
const BOOT: Duration = Duration::from_secs(2);

/// All machines.
pub(super) struct Machines {
    layout: Layout,
    /// None on the loopback network.
    network: Option<Network>,
    running: BTreeMap<String, Child>,
    /// Each machine that was ever on.
    wholes: BTreeMap<String, Whole>,
}

/// What belongs to a machine.
#[derive(Clone, Copy, Debug)]
enum Whole {
    /// All processes in the network namespace with this number.
    Namespace(u64),
    /// A process and its descendants.
    Tree(Tree),
}

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills all that this process started.
///
/// # Errors
/// What cannot be killed.
pub(super) fn clear_away() -> Result<()> {
    let tree = Tree::of(std::process::id()).context("this process does not find itself")?;
    tree.kill_below(PATIENCE).map_err(anyhow::Error::msg)
}

impl Machines {
    /// Machines that are all off, around a switch.
    pub(super) async fn new(layout: &Layout) -> Result<Self> {
        let mut network = None;
        if !layout.shape.loopback {
            let network = network.insert(Network::open()?);
            network.make_switch().await?;
            for site in layout.sites.iter().filter(|_| layout.arbitrator.is_some()) {
                network.make_switch_of(&site.name).await?;
            }
        }
        fs::create_dir_all(layout.power())?;
        Ok(Self { layout: layout.clone(), network, running: BTreeMap::new(), wholes: BTreeMap::new() })
    }

    /// Switches a machine on.
    pub(super) async fn start(&mut self, node: &str) -> Result<()> {
        if self.is_on(node)? {
            bail!("{node} is on already");
        }
        let mut command = match self.layout.shape.loopback {
            true => Command::new(&self.layout.program),
            false => {
                let mut command = Command::new("unshare");
                command.args(["--net", "--uts", "--"]).arg(&self.layout.program);
                command
            }
        };
        command.args(["demo", "--inside", "machine"]);
        let child = command
            .env("HAKUDO_DEMO", &self.layout.folder)
            .env("HAKUDO_DEMO_NODE", node)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a machine")?;
        let pid = child.id().context("a machine ended at once")?;
        let (whole, is) = match &self.network {
            Some(_) => {
                let namespace = new_namespace(pid).await?;
                (Whole::Namespace(namespace), format!("netns={namespace}"))
            }
            None => {
                let tree = Tree::of(pid).context("a machine ended at once")?;
                (Whole::Tree(tree), format!("tree={tree}"))
            }
        };
        let switched_on = self.switched_on(node);
        let switch = format!("{is}\nstart=touch '{}'\n", switched_on.display());
        fs::write(self.layout.power().join(node), switch)?;
        self.wholes.insert(node.into(), whole);
        if let Some(network) = &self.network {
            let of_site = self.layout.site_of(node).filter(|_| self.layout.arbitrator.is_some());
            network.connect(node, pid, of_site.map(|site| site.name.as_str())).await?;
        }
        self.running.insert(node.into(), child);
        Ok(())
    }

    /// Whether a machine is on.
    pub(super) fn is_on(&mut self, node: &str) -> Result<bool> {
        self.check(node)?;
        let Some(child) = self.running.get_mut(node) else { return Ok(false) };
        if child.try_wait()?.is_some() {
            self.running.remove(node);
            return Ok(false);
        }
        Ok(true)
    }

    /// Pulls a machine's plug: its cable goes dead and all its processes end, with no chance to say anything.
    pub(super) async fn kill(&mut self, node: &str) -> Result<()> {
        if !self.is_on(node)? {
            bail!("{node} is off already");
        }
        if let Some(network) = &self.network {
            network.cut(node).await?;
        }
        match *self.wholes.get(node).with_context(|| format!("{node} was never on"))? {
            // A process may start another one while they are being killed: until none is left.
            Whole::Namespace(namespace) => {
                while kill_all_in(namespace)? > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Whole::Tree(tree) => tree.kill(PATIENCE).map_err(anyhow::Error::msg)?,
        }
        if let Some(mut child) = self.running.remove(node) {
            child.wait().await?;
        }
        Ok(())
    }

    /// Cuts a machine's network cable, or the one that leads to a site.
    pub(super) async fn cut(&mut self, node: &str) -> Result<()> {
        self.check_cable(node)?;
        self.cables()?.cut(node).await
    }

    /// Mends a machine's network cable, or the one that leads to a site.
    pub(super) async fn heal(&mut self, node: &str) -> Result<()> {
        self.check_cable(node)?;
        self.cables()?.heal(node).await
    }

    fn cables(&self) -> Result<&Network> {
        self.network.as_ref().context(
            "the nodes share the machine's loopback network, and there is no cable to cut: that needs network namespaces",
        )
    }

    /// Machines that fencing has switched on come up.
    pub(super) async fn boot_those_switched_on(&mut self) -> Result<Vec<String>> {
        let mut booted = Vec::new();
        for node in self.layout.machines() {
            let switch = self.switched_on(&node);
            let switched = fs::metadata(&switch).and_then(|m| m.modified()).ok();
            let ready = switched.is_some_and(|at| at.elapsed().is_ok_and(|since| since >= BOOT));
            if ready && !self.is_on(&node)? {
                fs::remove_file(&switch)?;
                self.start(&node).await?;
                booted.push(node);
            }
        }
        Ok(booted)
    }

    /// The file that fencing makes when it switches a machine on.
    fn switched_on(&self, node: &str) -> PathBuf {
        self.layout.folder.join(format!("{node}.on"))
    }

    fn check(&self, node: &str) -> Result<()> {
        let machines = self.layout.machines();
        match machines.iter().any(|one| one == node) {
            true => Ok(()),
            false => bail!("there is no node {node}; the nodes are {}", machines.join(", ")),
        }
    }

    fn check_cable(&self, of: &str) -> Result<()> {
        let is_site = self.layout.arbitrator.is_some() && self.layout.sites.iter().any(|site| site.name == of);
        if is_site { Ok(()) } else { self.check(of) }
    }
}

/// Waits until a process has left this process's network namespace; the number of the new one.
async fn new_namespace(pid: u32) -> Result<u64> {
    let own = namespace_of("self")?;
    for _ in 0..500 {
        let its = namespace_of(&pid.to_string()).context("a machine ended at once")?;
        if its != own {
            return Ok(its);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("a machine got no network namespace")
}

fn namespace_of(pid: &str) -> Result<u64> {
    Ok(fs::metadata(Path::new("/proc").join(pid).join("ns/net"))?.ino())
}

/// Kills every process in a network namespace; how many there were.
fn kill_all_in(namespace: u64) -> Result<usize> {
    let mut killed = 0;
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let inside = namespace_of(&pid.to_string()).is_ok_and(|its| its == namespace);
        if inside && let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // It may have ended by itself meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            killed += 1;
        }
    }
    Ok(killed)
}

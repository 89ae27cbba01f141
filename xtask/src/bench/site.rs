//! The machines of the benchmark: each node has network, mount, process, host name and IPC namespaces of its own, with
//! folders in memory over the places where cluster software keeps its state; a bridge joins them. The same for hakudo and
//! for its peer, so that only the cluster software differs.
//!
//! Fencing is a power switch outside of the nodes: a fence agent asks for it by a file, and gets its answer by a file.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The bridge.
const BRIDGE: &str = "hkbench";

/// Agents, requests to the power switch, and the record of what agents did are here, the same for all nodes.
pub(super) const SHARED: &str = "/tmp/hakudo-bench";

/// Folders of a node that begin empty.
const PRIVATE: &[&str] = &[
    "/run",
    "/dev/shm",
    "/var/lib/pacemaker",
    "/var/lib/corosync",
    "/etc/corosync",
    "/etc/pacemaker",
    "/var/log",
    "/var/lib/hakudo",
    "/etc/hakudo",
];

/// The machines.
pub(super) struct Site {
    nodes: BTreeMap<usize, Child>,
    /// What each node runs: a script's text, by node.
    script: Box<dyn Fn(usize) -> String>,
}

/// The address of a node.
pub(super) fn address(node: usize) -> String {
    format!("10.79.0.{node}")
}

/// The name of a node.
pub(super) fn name(node: usize) -> String {
    format!("n{node}")
}

impl Site {
    /// Makes the bridge and the shared folder; no node runs yet. `script` is what a node runs, as text of a shell script.
    pub(super) fn new(script: Box<dyn Fn(usize) -> String>) -> Result<Self> {
        remove_bridge();
        if Path::new(SHARED).exists() {
            fs::remove_dir_all(SHARED)?;
        }
        fs::create_dir_all(SHARED)?;
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        write_agents()?;
        Ok(Self { nodes: BTreeMap::new(), script })
    }

    /// Switches nodes on, all at once.
    pub(super) fn start(&mut self, nodes: impl IntoIterator<Item = usize>) -> Result<()> {
        let nodes: Vec<usize> = nodes.into_iter().collect();
        let mut pids = Vec::new();
        for node in &nodes {
            let script = PathBuf::from(format!("{SHARED}/{}.sh", name(*node)));
            fs::write(&script, preamble(*node) + &(self.script)(*node))?;
            let log = fs::File::create(format!("{SHARED}/{}.log", name(*node)))?;
            let child = Command::new("unshare")
                .args(["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child"])
                .args(["/bin/bash", script.to_str().context("a path of ours is UTF-8")?])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .context("cannot run unshare")?;
            pids.push((*node, child.id()));
            self.nodes.insert(*node, child);
        }
        for (node, unshare) in pids {
            let pid = first_child(unshare)?;
            let (port, far) = (port(node), format!("{}-far", port(node)));
            // The cable of the node's former life may not have vanished yet.
            let _ = Command::new("ip").args(["link", "del", &port]).stderr(Stdio::null()).status();
            ip(&["link", "add", &port, "type", "veth", "peer", "name", &far])?;
            ip(&["link", "set", &far, "netns", &pid.to_string(), "name", "eth0"])?;
            ip(&["link", "set", &port, "master", BRIDGE, "up"])?;
        }
        Ok(())
    }

    /// Pulls a node's plug: link down, all processes gone.
    pub(super) fn kill(&mut self, node: usize) -> Result<()> {
        let mut child = self.nodes.remove(&node).with_context(|| format!("{} is off", name(node)))?;
        ip(&["link", "set", &port(node), "down"])?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Runs a command inside of a node; its standard output.
    pub(super) fn inside(&self, node: usize, words: &[&str]) -> Result<String> {
        let unshare = self.nodes.get(&node).with_context(|| format!("{} is off", name(node)))?.id();
        let pid = first_child(unshare)?.to_string();
        let output = Command::new("nsenter").args(["-t", &pid, "-a", "--"]).args(words).output()?;
        if !output.status.success() {
            bail!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Serves the power switch once: kills what fencing asked for. To be called often.
    pub(super) fn serve_power(&mut self) -> Result<()> {
        let running: Vec<usize> = self.nodes.keys().copied().collect();
        let all = fs::read_dir(SHARED)?;
        for entry in all {
            let file = entry?.file_name();
            let Some(node) = file.to_str().and_then(|f| f.strip_prefix("off-n")).and_then(|n| n.parse().ok()) else {
                continue;
            };
            if running.contains(&node) {
                self.kill(node)?;
            }
            fs::rename(format!("{SHARED}/off-{}", name(node)), format!("{SHARED}/is-off-{}", name(node)))?;
        }
        Ok(())
    }

    /// The nodes that are on.
    pub(super) fn running(&self) -> Vec<usize> {
        self.nodes.keys().copied().collect()
    }

    /// Calls `done` again and again, serving the power switch, until it is true.
    pub(super) fn wait(
        &mut self,
        what: &str,
        patience: Duration,
        mut done: impl FnMut(&Site) -> bool,
    ) -> Result<Duration> {
        let began = Instant::now();
        loop {
            self.serve_power()?;
            if done(self) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > patience {
                bail!("{what}: not within {} s", patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Seconds of processor time that a node's processes, dead ones included, have used.
    pub(super) fn processor_seconds(&self, node: usize) -> Result<f64> {
        // Of the first process of the node: its own and its dead children's; plus that of every living process.
        let text = self.inside(node, &["/bin/cat", "/proc/1/stat"])?;
        let stat = |text: &str| -> Option<f64> {
            let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
            let ticks: u64 = fields.get(11..15)?.iter().filter_map(|f| f.parse::<u64>().ok()).sum();
            Some(ticks as f64 / 100.0)
        };
        let mut sum = stat(&text).unwrap_or_default();
        for line in self.inside(node, &["/bin/sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null"])?.lines() {
            if !line.starts_with("1 ") && !line.contains("(cat)") && !line.contains("(sh)") {
                sum += stat(line).unwrap_or_default();
            }
        }
        Ok(sum)
    }

    /// Resident memory of the processes of a node whose command lines contain one of `words`, in MiB: the sum, and each
    /// shared page counted in proportion.
    pub(super) fn memory_mib(&self, node: usize, words: &[&str]) -> Result<(f64, f64)> {
        let script = format!(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -qE '{}' && cat $p/smaps_rollup; done; true",
            words.join("|")
        );
        let text = self.inside(node, &["/bin/sh", "-c", &script])?;
        let sum = |key: &str| -> f64 {
            text.lines()
                .filter(|l| l.starts_with(key))
                .filter_map(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok())
                .sum::<f64>()
                / 1024.0
        };
        Ok((sum("Rss:"), sum("Pss:")))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in self.nodes.values_mut() {
            // What is dead already need not be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
        remove_bridge();
        // They are of no use to anyone else.
        let _ = fs::remove_dir_all(AGENTS);
        let _ = fs::remove_file(FENCE_AGENT);
    }
}

/// Where the resource agent of the benchmark is while it runs.
const AGENTS: &str = "/usr/lib/ocf/resource.d/hkbench";

/// Where its fence agent is while it runs.
const FENCE_AGENT: &str = "/usr/sbin/fence_hkbench";

fn port(node: usize) -> String {
    format!("hkb{node}")
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn remove_bridge() {
    // There is one only after a run that was broken off.
    let _ = Command::new("ip").args(["link", "del", BRIDGE]).stderr(Stdio::null()).status();
}

fn first_child(parent: u32) -> Result<u32> {
    let file = format!("/proc/{parent}/task/{parent}/children");
    for _ in 0..500 {
        let child = fs::read_to_string(&file).ok().and_then(|c| c.split_whitespace().next()?.parse().ok());
        if let Some(child) = child {
            return Ok(child);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    bail!("unshare started nothing")
}

/// What every node does first.
fn preamble(node: usize) -> String {
    let mut text = format!("hostname {}\nmount --make-rprivate /\n", name(node));
    for folder in PRIVATE {
        text += &format!("mkdir -p {folder}; mount -t tmpfs tmpfs {folder}\n");
    }
    text += "ip link set lo up\nuntil ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done\n";
    text += &format!("ip addr add {}/24 dev eth0; ip link set eth0 up\n", address(node));
    text
}

/// A resource agent that writes down when it did what, and a fence agent for the power switch.
fn write_agents() -> Result<()> {
    fs::create_dir_all(AGENTS)?;
    write_program(&format!("{AGENTS}/Record"), RECORD)?;
    write_program(FENCE_AGENT, FENCE)
}

fn write_program(place: &str, text: &str) -> Result<()> {
    fs::write(place, text.replace("SHARED", SHARED))?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

const RECORD: &str = r#"#!/bin/bash
# Runs nothing; writes every start and stop to a record with its time.
state=/run/hkbench-$OCF_RESOURCE_INSTANCE
say() { echo "$EPOCHREALTIME $(</proc/sys/kernel/hostname) $OCF_RESOURCE_INSTANCE $1" >> SHARED/record; }
case $1 in
start) : > "$state"; say start;;
stop) [ -e "$state" ] && { rm -f "$state"; say stop; }; exit 0;;
monitor) [ -e "$state" ] || exit 7;;
meta-data) cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="Record"><version>1.0</version><longdesc lang="en">Records its calls</longdesc><shortdesc lang="en">Record</shortdesc>
<parameters/>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/><action name="meta-data" timeout="5s"/></actions>
</resource-agent>
XML
;;
*) exit 3;;
esac
exit 0
"#;

const FENCE: &str = r#"#!/bin/bash
# Asks the power switch of the benchmark.
action=reboot
while read -r line; do
    case $line in action=*) action=${line#*=};; port=*|plug=*|nodename=*) node=${line#*=};; esac
done
case $action in
metadata) cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="fence_hkbench" shortdesc="Power switch of the benchmark"><longdesc>Power switch of the benchmark</longdesc>
<parameters><parameter name="action"><content type="string" default="reboot"/></parameter><parameter name="port"><content type="string"/></parameter></parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="monitor"/><action name="list"/><action name="status"/><action name="metadata"/></actions>
</resource-agent>
XML
;;
monitor|list|status|on) exit 0;;
off|reboot)
    rm -f "SHARED/is-off-$node"; : > "SHARED/off-$node"
    for i in {1..2000}; do [ -e "SHARED/is-off-$node" ] && exit 0; read -rt 0.005 <> <(:); done
    exit 1;;
*) exit 1;;
esac
"#;

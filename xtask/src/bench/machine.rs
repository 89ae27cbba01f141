//! One machine: the namespaces of a node, its cable, and what it runs first.

use super::site::name;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The folder of the site, as the nodes see it.
pub(super) const INSIDE: &str = "/run/hkbench";

/// What a node runs: a shell script, by the number of the site and of the node.
pub(super) type Script = Arc<dyn Fn(usize, usize) -> String + Send + Sync>;

/// Folders of a node that begin empty at each boot.
const EMPTY: &[&str] = &["/run", "/dev/shm", "/etc/pacemaker"];

/// Folders of a node that are on its disk.
const DISK: &[(&str, &str)] = &[
    ("lib-pacemaker", "/var/lib/pacemaker"),
    ("lib-corosync", "/var/lib/corosync"),
    ("etc-corosync", "/etc/corosync"),
    ("lib-hakudo", "/var/lib/hakudo"),
    ("etc-hakudo", "/etc/hakudo"),
    ("log", "/var/log"),
];

/// A machine that is on.
pub(super) struct Machine {
    /// The process that waits for the node's first one.
    guard: Child,
    /// The node's first process, as this machine counts.
    first: u32,
    port: String,
}

/// The bridge of a site.
pub(super) fn bridge(site: usize) -> String {
    format!("hkb{site}")
}

/// The address of a node.
pub(super) fn address(site: usize, node: usize) -> String {
    format!("10.{}.0.{node}", 79 + site % 100)
}

impl Machine {
    /// Powers a machine on; it waits for its cable.
    pub(super) fn boot(site: usize, node: usize, folder: &Path, script: &Script) -> Result<Self> {
        for (slug, _) in DISK {
            fs::create_dir_all(folder.join("disks").join(name(node)).join(slug))?;
        }
        let file = folder.join(format!("{}.sh", name(node)));
        fs::write(&file, preamble(site, node, folder) + &script(site, node))?;
        let log = fs::File::options().create(true).append(true).open(folder.join(format!("{}.log", name(node))))?;
        let guard = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork"])
            .args(["--mount-proc", "--kill-child=SIGKILL", "/bin/bash"])
            .arg(&file)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run setpriv and unshare")?;
        // From here on the machine is switched off when it is dropped.
        let mut machine = Self { guard, first: 0, port: format!("hkb{site}n{node}") };
        machine.first = first_child(machine.guard.id())?;
        Ok(machine)
    }

    /// Plugs the cable in.
    pub(super) fn plug(&self, site: usize) -> Result<()> {
        let far = format!("{}x", self.port);
        // The cable of the node's former life may not have vanished yet.
        let _ = Command::new("ip").args(["link", "del", &self.port]).stderr(Stdio::null()).status();
        ip(&["link", "add", &self.port, "type", "veth", "peer", "name", &far])?;
        ip(&["link", "set", &far, "netns", &self.first.to_string(), "name", "eth0"])?;
        ip(&["link", "set", &self.port, "master", &bridge(site), "up"])
    }

    /// Whether its first process still runs.
    pub(super) fn is_alive(&self) -> bool {
        Path::new(&format!("/proc/{}", self.first)).exists()
    }

    /// The node's first process.
    pub(super) fn pid(&self) -> u32 {
        self.first
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Taking the cable out and killing the first process is a power cut. What is gone already need not be removed.
        let _ = Command::new("ip").args(["link", "set", &self.port, "down"]).stderr(Stdio::null()).status();
        if self.first != 0 {
            let _ = Command::new("kill").args(["-KILL", &self.first.to_string()]).stderr(Stdio::null()).status();
        } else {
            let _ = self.guard.kill();
        }
        // The guard ends once the first process is reaped, which the kernel does when all others are gone.
        let _ = self.guard.wait();
        let _ = Command::new("ip").args(["link", "del", &self.port]).stderr(Stdio::null()).status();
    }
}

/// Runs `ip`.
pub(super) fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn first_child(parent: u32) -> Result<u32> {
    let file = format!("/proc/{parent}/task/{parent}/children");
    for _ in 0..2500 {
        let child = fs::read_to_string(&file).ok().and_then(|c| c.split_whitespace().next()?.parse().ok());
        if let Some(child) = child {
            return Ok(child);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    bail!("unshare started nothing")
}

/// What every node does first.
fn preamble(site: usize, node: usize, folder: &Path) -> String {
    let folder = folder.display();
    let mut text = format!("hostname {}\nmount --make-rprivate /\n", name(node));
    for (slug, place) in DISK {
        text += &format!("mkdir -p {place}; mount --bind {folder}/disks/{}/{slug} {place}\n", name(node));
    }
    // The folder of the site lies in memory too: it must be at its new place before the old one is covered.
    text += &format!("mkdir -p /mnt; mount --bind {folder} /mnt\n");
    for place in EMPTY {
        text += &format!("mkdir -p {place}; mount -t tmpfs tmpfs {place}\n");
    }
    text += &format!("mkdir -p {INSIDE}; mount --move /mnt {INSIDE}\n");
    text += "ip link set lo up\nuntil ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done\n";
    text += &format!("ip addr add {}/24 dev eth0; ip link set eth0 up\n", address(site, node));
    text
}

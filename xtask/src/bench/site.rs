//! The machines of the benchmark: each node has network, mount, process, host name and IPC namespaces of its own, with
//! folders in memory over the places where cluster software keeps its state; a bridge joins them. The same for hakudo and
//! for its peer, so that only the cluster software differs. What a machine has on disk outlives a power cut.
//!
//! Several sites may exist at once: each has its number, its bridge and its folder.
//!
//! Nothing outlives the benchmark: the first process of a node is killed with the benchmark (by the kernel, even if that is
//! killed itself), and all processes of a node with the first.

use super::machine::{self, Script};
use super::power::{Power, Rack};
use super::record::Record;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The folders of all sites.
const BASE: &str = "/dev/shm/hakudo-bench";

/// How often to look whether something happened. What is measured has its time written beside it.
const GLANCE: Duration = Duration::from_millis(2);
/// How often to ask for what a command must be started.
const QUESTION: Duration = Duration::from_millis(100);

static SITES: AtomicUsize = AtomicUsize::new(1);

/// The machines of one cluster.
pub(super) struct Site {
    number: usize,
    count: usize,
    rack: Rack,
    /// What the agents of this site did.
    pub(super) record: Record,
    _power: Power,
}

/// The name of a node.
pub(super) fn name(node: usize) -> String {
    format!("n{node}")
}

impl Site {
    /// Makes the bridge and the folder for `count` nodes; none runs yet.
    pub(super) fn new(count: usize, script: Script) -> Result<Self> {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let folder = folder(number);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("record"), "")?;
        let bridge = machine::bridge(number);
        // There is one only after a run that was broken off.
        let _ = Command::new("ip").args(["link", "del", &bridge]).stderr(Stdio::null()).status();
        machine::ip(&["link", "add", &bridge, "type", "bridge"])?;
        machine::ip(&["link", "set", &bridge, "up"])?;
        let rack = Rack::new(number, folder.clone(), script);
        let power = Power::connect(&folder, rack.clone())?;
        Ok(Self { number, count, rack, record: Record::new(folder.join("record")), _power: power })
    }

    /// The number of nodes.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A place for files that both the benchmark (by this path) and the nodes (see [`INSIDE`](machine::INSIDE)) can read.
    pub(super) fn folder(&self) -> PathBuf {
        folder(self.number)
    }

    /// Switches nodes on, all at once.
    pub(super) fn start(&self, nodes: impl IntoIterator<Item = usize>) -> Result<()> {
        self.rack.start(nodes)
    }

    /// A power cut: links down, all processes gone. The machine stays broken until it is started again.
    pub(super) fn kill(&self, node: usize) -> Result<()> {
        self.rack.kill(node)
    }

    /// Runs a command inside of a node; its standard output.
    pub(super) fn inside(&self, node: usize, words: &[&str]) -> Result<String> {
        let pid = self.rack.pid(node)?.to_string();
        // Words that may take for ever when a cluster is not well get an end.
        let output = Command::new("timeout").args(["20", "nsenter", "-t", &pid, "-a", "--"]).args(words).output()?;
        if !output.status.success() {
            bail!("{} on {}: {}", words.join(" "), name(node), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The nodes that are on.
    pub(super) fn running(&self) -> Vec<usize> {
        self.rack.running()
    }

    /// Waits until `done`, which may start commands to find out.
    pub(super) fn wait(&self, what: &str, patience: Duration, done: impl FnMut() -> bool) -> Result<()> {
        wait(what, patience, QUESTION, done)
    }

    /// Waits until something is found in the record.
    pub(super) fn find<T>(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&Record) -> Option<T>,
    ) -> Result<T> {
        let mut found = None;
        wait(what, patience, GLANCE, || {
            found = look(&self.record);
            found.is_some()
        })?;
        found.with_context(|| format!("{what}: nothing is found"))
    }

    /// Seconds of processor time of a node: of the living processes, and of these and all that ended.
    pub(super) fn processor_seconds(&self, node: usize) -> Result<(f64, f64)> {
        let (mut living, mut all) = (0.0, 0.0);
        for line in self.inside(node, &["/bin/sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true"])?.lines() {
            // The shell and the program that read this are no part of it.
            if line.contains("(cat)") || line.contains("(sh)") {
                continue;
            }
            let Some((_, rest)) = line.rsplit_once(") ") else { continue };
            let ticks: Vec<f64> = rest.split(' ').skip(11).take(4).filter_map(|f| f.parse().ok()).collect();
            living += ticks.iter().take(2).sum::<f64>() / 100.0;
            all += ticks.iter().sum::<f64>() / 100.0;
        }
        Ok((living, all))
    }

    /// Resident memory of the processes of a node whose command lines match one of `words`, in MiB.
    pub(super) fn memory_mib(&self, node: usize, words: &[&str]) -> Result<f64> {
        let script = format!(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -qE '{}' && cat $p/smaps_rollup; done; true",
            words.join("|")
        );
        let text = self.inside(node, &["/bin/sh", "-c", &script])?;
        let resident = text.lines().filter(|line| line.starts_with("Rss:"));
        Ok(resident.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>() / 1024.0)
    }

    /// The ends of the logs of all nodes, to be read by people when something went wrong.
    pub(super) fn keep_logs(&self) -> Option<PathBuf> {
        let place = std::env::temp_dir().join(format!("hakudo-bench-logs/{}", self.number));
        // Where even this fails, the error that is being reported is worth more.
        fs::create_dir_all(&place).ok()?;
        for entry in fs::read_dir(self.folder()).ok()?.flatten() {
            let source = entry.path();
            if source.extension().is_some_and(|extension| extension == "log" || extension == "xml")
                || source.ends_with("record")
            {
                let _ = fs::copy(&source, place.join(entry.file_name()));
            }
        }
        for entry in fs::read_dir(self.folder().join("disks")).ok()?.flatten() {
            let node = entry.file_name().to_string_lossy().into_owned();
            for log in fs::read_dir(entry.path().join("log")).into_iter().flatten().flatten() {
                let _ = fs::copy(log.path(), place.join(format!("{node}-{}", log.file_name().to_string_lossy())));
            }
        }
        Some(place)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.rack.switch_all_off();
        let _ = Command::new("ip").args(["link", "del", &machine::bridge(self.number)]).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(self.folder());
    }
}

/// Removes what a run left behind that was broken off.
pub(super) fn sweep() -> Result<()> {
    for folder in [BASE, machine::INSIDE] {
        if Path::new(folder).exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {folder}"))?;
        }
    }
    Ok(())
}

fn folder(site: usize) -> PathBuf {
    Path::new(BASE).join(site.to_string())
}

fn wait(what: &str, patience: Duration, pause: Duration, mut done: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > patience {
            bail!("{what}: not within {} s", patience.as_secs());
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

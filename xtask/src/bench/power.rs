//! The power switch, which fencing uses: outside of the nodes, and the only way in which they can do anything to each
//! other. A fence agent writes its wish into one pipe and reads the answer from another.

use super::machine::{Machine, Script};
use super::site::name;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The machines of a site, shared by the benchmark and its power switch.
#[derive(Clone)]
pub(super) struct Rack {
    shared: Arc<Shared>,
}

struct Shared {
    site: usize,
    folder: PathBuf,
    script: Script,
    machines: Mutex<Machines>,
}

#[derive(Default)]
struct Machines {
    on: BTreeMap<usize, Machine>,
    /// Those that a power switch cannot start again, because the benchmark broke them.
    broken: BTreeSet<usize>,
}

impl Rack {
    pub(super) fn new(site: usize, folder: PathBuf, script: Script) -> Self {
        Self { shared: Arc::new(Shared { site, folder, script, machines: Mutex::default() }) }
    }

    fn machines(&self) -> MutexGuard<'_, Machines> {
        self.shared.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches machines on, all at once.
    pub(super) fn start(&self, nodes: impl IntoIterator<Item = usize>) -> Result<()> {
        let mut machines = self.machines();
        let mut booted = Vec::new();
        for node in nodes {
            machines.broken.remove(&node);
            machines.on.remove(&node);
            booted.push((node, Machine::boot(self.shared.site, node, &self.shared.folder, &self.shared.script)?));
        }
        for (node, machine) in booted {
            machine.plug(self.shared.site)?;
            machines.on.insert(node, machine);
        }
        Ok(())
    }

    /// Breaks a machine.
    pub(super) fn kill(&self, node: usize) -> Result<()> {
        let mut machines = self.machines();
        machines.broken.insert(node);
        machines.on.remove(&node).with_context(|| format!("{} is off", name(node)))?;
        Ok(())
    }

    /// The first process of a node.
    pub(super) fn pid(&self, node: usize) -> Result<u32> {
        let machines = self.machines();
        machines.on.get(&node).map(Machine::pid).with_context(|| format!("{} is off", name(node)))
    }

    /// The machines that are on.
    pub(super) fn running(&self) -> Vec<usize> {
        self.machines().on.iter().filter(|(_, machine)| machine.is_alive()).map(|(node, _)| *node).collect()
    }

    /// The end of the site.
    pub(super) fn switch_all_off(&self) {
        std::mem::take(&mut *self.machines());
    }

    /// What fencing asked for.
    fn switch(&self, action: &str, node: usize) -> Result<()> {
        let broken = {
            let mut machines = self.machines();
            machines.on.remove(&node);
            machines.broken.contains(&node)
        };
        if action == "reboot" && !broken {
            self.start([node])?;
        }
        Ok(())
    }
}

/// The power switch works as long as this value lives.
pub(super) struct Power {
    wishes: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Power {
    pub(super) fn connect(folder: &Path, rack: Rack) -> Result<Self> {
        let wishes = folder.join("power");
        make_pipe(&wishes)?;
        // Open for both, so that it does not end with each agent that wrote into it.
        let pipe = File::options().read(true).write(true).open(&wishes)?;
        let folder = folder.to_owned();
        let thread = std::thread::spawn(move || serve(BufReader::new(pipe), &folder, &rack));
        Ok(Self { wishes, thread: Some(thread) })
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        let said = File::options().write(true).open(&self.wishes).and_then(|mut pipe| pipe.write_all(b"end\n"));
        if let (Ok(()), Some(thread)) = (said, self.thread.take()) {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

/// Lines are `ACTION NODE ANSWER`: the name of a pipe in the folder that waits for a word.
fn serve(wishes: BufReader<File>, folder: &Path, rack: &Rack) {
    for line in wishes.lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let [action, node, answer] = words[..] else {
            if line == "end" {
                return;
            }
            continue;
        };
        let switched = match node.strip_prefix('n').and_then(|n| n.parse().ok()) {
            Some(node) => rack.switch(action, node),
            None => continue,
        };
        let word = if switched.is_ok() { "off\n" } else { "failed\n" };
        // An agent that does not wait any more has its answer in vain. Opened for both, because a writer alone would wait
        // for a reader.
        if let Ok(mut pipe) = File::options().read(true).write(true).open(folder.join(answer)) {
            let _ = pipe.write_all(word.as_bytes());
            // The agent has the pipe open already: what is written stays until it is read.
        }
    }
}

fn make_pipe(place: &Path) -> Result<()> {
    let made = Command::new("mkfifo").arg(place).status().context("cannot run mkfifo")?;
    anyhow::ensure!(made.success(), "cannot make the pipe {}", place.display());
    fs::metadata(place)?;
    Ok(())
}

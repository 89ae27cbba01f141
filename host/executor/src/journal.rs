//! Which runs have begun and not ended, in a folder: what an executor that died leaves to the next one.
//!
//! An executor may die while an agent runs, and the agent lives on. Were nobody to know of it, a probe would find a
//! resource that is half started "not running", the cluster would start it elsewhere, and then the orphan would come to
//! its end: two copies. So each run is written down *before* it begins and struck off when it is over, and an executor
//! ends what the one before it left, *before* it lets any node connect. Invariants:
//!
//! - No process of a run lives without a record of the run in the folder, until the run's leader has ended.
//! - While an executor serves, nothing runs that an earlier one began, but for looks at a resource (monitors) that cannot
//!   be killed: they will not get further than where they hang.
//! - One executor at a time has the folder: it holds a lock on it.
//!
//! What a run left behind when it ended well, like the daemon that a start has started, is no part of it any more and is
//! never touched.

use crate::family::{self, Family, Process};
use crate::operations::changes_the_resource;
use anyhow::Context;
use hakudo_base::agent::AgentCall;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long left-overs have to end themselves after TERM.
const GRACE: Duration = Duration::from_secs(1);
/// How long those that only look at a resource are waited for after KILL.
const PATIENCE_WITH_LOOKS: Duration = Duration::from_secs(1);
/// Between two looks for who is left.
const POLL: Duration = Duration::from_millis(20);
/// The same, once it takes long.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// How often the lock is tried for: a process that is about to become an agent holds it for a moment more.
const LOCK_ATTEMPTS: usize = 20;

/// The folder, held by this executor.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    boot: String,
    _lock: OwnedFd,
}

/// What stands in the file of a run; the file's name is the run's mark.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The run of the system in which it began: in another one none of its processes can live.
    boot: String,
    call: u64,
    resource: String,
    operation: String,
    /// Whether it may bring the resource into another state.
    changes: bool,
    /// None until it was started.
    leader: Option<Process>,
}

impl Journal {
    /// Takes the folder, which is made if it is not there.
    ///
    /// # Errors
    /// Another executor has it, or it can not be used.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let place = || format!("the executor's records of runs in {}", directory.display());
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).with_context(place),
            _ => {}
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::open(directory, flags, Mode::empty()).with_context(place)?;
        let mut attempts = 0..LOCK_ATTEMPTS;
        while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error).with_context(place);
            }
            if attempts.next().is_none() {
                anyhow::bail!("another executor runs with {}: stop it first", directory.display());
            }
            sleep(POLL);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self { directory: directory.to_owned(), boot, _lock: lock })
    }

    /// Writes down that a run of `call` is about to begin.
    ///
    /// # Errors
    /// It can not be written: the run must not begin.
    pub(crate) fn begin(&self, call: &AgentCall) -> io::Result<Begun> {
        let mark = family::new_mark();
        let record = Record {
            boot: self.boot.clone(),
            call: call.call,
            resource: call.resource.clone(),
            operation: call.operation.clone(),
            changes: changes_the_resource(call),
            leader: None,
        };
        let begun = Begun { path: self.directory.join(&mark), mark, record };
        begun.write().map_err(|error| {
            io::Error::new(error.kind(), format!("its run can not be recorded in {}: {error}", begun.path.display()))
        })?;
        Ok(begun)
    }

    /// Ends every run that has a record, with all its processes: TERM, and after a grace period KILL. Waits until they
    /// are gone, at most for `patience` (without one, for as long as it takes) where a run may change its resource. The
    /// records of those that stay are kept.
    ///
    /// # Errors
    /// The folder can not be read.
    pub(crate) fn end_left_overs(&self, patience: Option<Duration>) -> anyhow::Result<()> {
        let place = || format!("the executor's records of runs in {}", self.directory.display());
        let mut left = self.left_overs().with_context(place)?;
        let began = Instant::now();
        left.retain_mut(|run| run.signal(Signal::TERM));
        while !left.is_empty() && began.elapsed() < GRACE {
            sleep(POLL);
            left.retain_mut(LeftOver::is_left);
        }
        let mut said = false;
        loop {
            left.retain_mut(|run| run.signal(Signal::KILL));
            let waited = began.elapsed().saturating_sub(GRACE);
            let is_slow = waited >= PATIENCE_WITH_LOOKS;
            let is_enough = patience.is_some_and(|patience| began.elapsed() >= patience);
            if is_enough || (is_slow && left.iter().all(|run| !run.changes)) || left.is_empty() {
                break;
            }
            if is_slow && !said {
                said = true;
                for run in left.iter().filter(|run| run.changes) {
                    tracing::error!(run = run.what, "can not be killed: no node is served until it is gone");
                }
            }
            sleep(if is_slow { SLOW_POLL } else { POLL });
        }
        for run in &left {
            tracing::warn!(run = run.what, "can not be killed: given up");
        }
        Ok(())
    }

    fn left_overs(&self) -> io::Result<Vec<LeftOver>> {
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Some(mark) = path.file_name().and_then(|name| name.to_str()) else { continue };
            // One that was not written to its end may be of anything.
            let record = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
            if record.as_ref().is_some_and(|record| record.boot != self.boot) {
                strike_off(&path);
                continue;
            }
            let what = record.as_ref().map_or_else(
                || mark.to_owned(),
                |record| format!("{} of {} (call {})", record.operation, record.resource, record.call),
            );
            let family = Family::left_over(record.as_ref().and_then(|record| record.leader), mark);
            let changes = record.is_none_or(|record| record.changes);
            left.push(LeftOver { family, what, changes, path });
        }
        Ok(left)
    }
}

/// A run that has a record.
#[derive(Debug)]
pub(crate) struct Begun {
    path: PathBuf,
    mark: String,
    record: Record,
}

impl Begun {
    /// What each process of the run has in its environment.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// The run has this leader now. Where that can not be written, the mark alone must do to find it.
    pub(crate) fn led_by(&mut self, leader: Pid) {
        self.record.leader = Process::of(leader);
        if let Err(error) = self.write() {
            tracing::warn!(path = %self.path.display(), %error, "the leader of a run is not recorded");
        }
    }

    /// The run is over.
    pub(crate) fn strike_off(self) {
        strike_off(&self.path);
    }

    fn write(&self) -> io::Result<()> {
        fs::write(&self.path, serde_json::to_vec(&self.record)?)
    }
}

fn strike_off(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "the record of a run that is over can not be removed");
        }
        _ => {}
    }
}

/// A run that an executor left.
#[derive(Debug)]
struct LeftOver {
    family: Family,
    what: String,
    changes: bool,
    path: PathBuf,
}

impl LeftOver {
    /// Sends a signal to all of the run; whether there was anybody. The record of one that is gone is struck off.
    fn signal(&mut self, signal: Signal) -> bool {
        let any = self.family.signal(signal);
        self.keep_if(any)
    }

    fn is_left(&mut self) -> bool {
        let any = self.family.is_alive();
        self.keep_if(any)
    }

    fn keep_if(&mut self, any: bool) -> bool {
        if !any {
            tracing::info!(run = self.what, "left by an earlier executor, has ended");
            strike_off(&self.path);
        }
        any
    }
}

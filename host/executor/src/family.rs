//! The processes that a run of an agent started, wherever they went.
//!
//! A process group is not enough to end a run: what calls `setsid` is out of it, and what loses its parents as well
//! belongs, as far as the system knows, to nobody. So this process takes in orphans (it is the *subreaper* of all that it
//! starts, `PR_SET_CHILD_SUBREAPER`): every process of every run is among its descendants, and each run has a mark in its
//! environment, which children inherit. The family of a run is
//!
//! - the descendants of its leader,
//! - the descendants of this process that have the run's mark, and
//! - what was seen to belong to it before, as long as it lives.
//!
//! A process gets away only by losing all its parents and its environment in the moment before anybody looks.
//!
//! A look takes time, and the environment of a process that hangs on a dead device may not be had at all: looks belong on a
//! thread that nobody waits for without a limit, and only the environments of those are read that may be of the run by all
//! else: no older than its leader, and not known for another's.
//!
//! A process is named by its number and the moment of its start: a number alone may pass to somebody else.

use crate::pages::with_huge_pages_for_child;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, pidfd_open, pidfd_send_signal, set_child_subreaper,
    waitid, waitpid,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The variable that tells of which run a process is.
pub(crate) const MARK: &str = "HAKUDO_RUN";

/// Makes this process the parent of all its descendants that lose their own.
///
/// # Errors
/// The system does not know how.
pub fn take_in_orphans() -> io::Result<()> {
    // Any process number switches it on.
    Ok(set_child_subreaper(Some(Pid::INIT))?)
}

/// A mark that no other run has.
pub(crate) fn new_mark() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    format!("{}.{started}.{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed))
}

/// A process that lives, or is about to be reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks since the machine started.
    pub(crate) started: u64,
}

/// The processes of one run.
#[derive(Debug)]
pub(crate) struct Family {
    mark: String,
    /// Those with the mark may be anywhere, for this process is not the one that began the run.
    everywhere: bool,
    /// When the leader started: nobody of the family is older.
    since: u64,
    seen: BTreeSet<Process>,
    /// Those that have another environment. They will not get the mark.
    others: BTreeSet<Process>,
}

impl Family {
    /// Of the run with this leader, which was not reaped yet, and this mark.
    pub(crate) fn new(leader: Pid, mark: &str) -> Self {
        Self { everywhere: false, ..Self::left_over(Process::of(leader), mark) }
    }

    /// Of a run that another process began and left: nobody is a descendant of this one.
    pub(crate) fn left_over(leader: Option<Process>, mark: &str) -> Self {
        Self {
            mark: mark.to_owned(),
            everywhere: true,
            since: leader.map_or(0, |leader| leader.started),
            seen: leader.into_iter().collect(),
            others: BTreeSet::new(),
        }
    }

    /// Sends a signal to every process of the run; whether there was any.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        self.look();
        for process in &self.seen {
            process.signal(signal);
        }
        !self.seen.is_empty()
    }

    /// Whether anybody of it lives.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.look();
        !self.seen.is_empty()
    }

    /// Looks who lives of the family now.
    fn look(&mut self) {
        let all = Stat::of_all();
        let mut children: BTreeMap<i32, Vec<&Stat>> = BTreeMap::new();
        for stat in &all {
            children.entry(stat.parent).or_default().push(stat);
        }
        let below = |root: i32| {
            let (mut found, mut open) = (Vec::new(), vec![root]);
            while let Some(parent) = open.pop() {
                for &child in children.get(&parent).into_iter().flatten() {
                    found.push(child);
                    open.push(child.process.pid);
                }
            }
            found
        };
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let known = |stat: &&Stat| self.seen.contains(&stat.process);
        let candidates =
            if self.everywhere { all.iter().filter(|stat| stat.process.pid != own).collect() } else { below(own) };
        let (since, mark, others) = (self.since, &self.mark, &mut self.others);
        // Those of earlier looks that are gone need not be remembered.
        let (mut old, mut marked) = (std::mem::take(others), Vec::new());
        for stat in candidates.into_iter().filter(|stat| stat.process.started >= since && !stat.is_dead && !known(stat))
        {
            match if old.remove(&stat.process) { Some(false) } else { stat.has_mark(mark) } {
                Some(true) => marked.push(stat),
                Some(false) => drop(others.insert(stat.process)),
                None => {}
            }
        }
        let roots: Vec<&Stat> = all.iter().filter(known).chain(marked).collect();
        let whole = roots.iter().flat_map(|root| below(root.process.pid)).chain(roots.iter().copied());
        self.seen = whole.filter(|stat| !stat.is_dead).map(|stat| stat.process).collect();
    }
}

impl Process {
    /// The one that has this number now.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        Stat::of(pid.as_raw_nonzero().get()).map(|stat| stat.process)
    }

    pub(crate) fn signal(self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        // Whoever the handle is of stays who it is: only now it is known that it is the one that was meant.
        if Stat::of(self.pid).is_some_and(|stat| stat.process == self) {
            let _ = pidfd_send_signal(&handle, signal);
        }
    }
}

/// What the system says of a process.
#[derive(Debug)]
pub(crate) struct Stat {
    pub(crate) process: Process,
    pub(crate) parent: i32,
    /// It has ended and waits to be reaped.
    pub(crate) is_dead: bool,
}

impl Stat {
    pub(crate) fn of_all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::of).collect()
    }

    /// Of one process; nothing if it is gone.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the command in parentheses, and may hold anything, also parentheses (`proc(5)`).
    fn parse(pid: i32, stat: &[u8]) -> Option<Self> {
        let rest = &stat[stat.iter().rposition(|&byte| byte == b')')? + 1..];
        let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // The start is the 22nd field of all, and the parent was the fourth.
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { process: Process { pid, started }, parent, is_dead: matches!(state, "Z" | "X" | "x") })
    }

    /// Nothing where no environment is to be had: for ever, or until a program that is being started has one.
    fn has_mark(&self, mark: &str) -> Option<bool> {
        let environment = fs::read(format!("/proc/{}/environ", self.process.pid)).unwrap_or_default();
        let wanted = format!("{MARK}={mark}");
        let has_it = environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes());
        (!environment.is_empty()).then_some(has_it)
    }
}

/// The leaders of runs that nobody waited for yet.
static LEADERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child that leads a run: it is reaped by whoever holds this.
#[derive(Debug)]
pub(crate) struct Leader(Child);

impl Leader {
    /// Starts it. It is known as a leader before anybody could take it for an orphan.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut leaders = LEADERS.lock().unwrap_or_else(PoisonError::into_inner);
        let child = with_huge_pages_for_child(|| command.spawn())?;
        leaders.insert(i32::try_from(child.id()).unwrap_or_default());
        Ok(Self(child))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Whether it has ended; it stays to be reaped, and so keeps its number.
    pub(crate) fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid()), look), Ok(None))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut leaders = LEADERS.lock().unwrap_or_else(PoisonError::into_inner);
        leaders.remove(&self.pid().as_raw_nonzero().get());
    }
}

/// Reaps the orphans that ended; the leaders of runs are left to those who wait for them.
pub(crate) fn reap_orphans() {
    let leaders = LEADERS.lock().unwrap_or_else(PoisonError::into_inner);
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, look), Ok(Some(_))) {
        return;
    }
    for child in own_children().into_iter().filter(|child| !leaders.contains(child)) {
        if let Some(pid) = Pid::from_raw(child) {
            // One that lives is left alone.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// The children of this process, of all its threads.
fn own_children() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let lists: Vec<_> = threads.map(|thread| fs::read_to_string(thread.path().join("children"))).collect();
    if lists.iter().any(Result::is_ok) {
        let numbers =
            |list: String| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>();
        return lists.into_iter().flatten().flat_map(numbers).collect();
    }
    // A kernel without CONFIG_PROC_CHILDREN.
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    Stat::of_all().into_iter().filter(|stat| stat.parent == own).map(|stat| stat.process.pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_a_process() {
        let numbers: Vec<String> = (5..=52).map(|number| number.to_string()).collect();
        let line = |state: &str| format!("77 (a) b) {state} 4 {}", numbers.join(" "));
        let stat = Stat::parse(77, line("S").as_bytes()).unwrap();
        assert_eq!((stat.process, stat.parent, stat.is_dead), (Process { pid: 77, started: 22 }, 4, false));
        assert!(Stat::parse(77, line("Z").as_bytes()).unwrap().is_dead);
        assert!(Stat::parse(77, b"77 (a").is_none());
        assert!(Stat::parse(77, b"77 (a) S 4 5").is_none());
    }

    #[test]
    fn only_those_that_may_be_of_the_run_are_looked_into() {
        let mut sleeps = Vec::new();
        let mut sleep = |mark: &str| {
            // A tick of the clock between each two.
            std::thread::sleep(std::time::Duration::from_millis(30));
            sleeps.push(Command::new("sleep").arg("60").env(MARK, mark).spawn().unwrap());
            Pid::from_child(sleeps.last().unwrap())
        };
        let [older, leader, own, other] = ["another", "this", "this", "another"].map(&mut sleep);
        let mut family = Family::new(leader, "this");
        assert!(family.is_alive());
        let [older, leader, own, other] = [older, leader, own, other].map(|pid| Process::of(pid).unwrap());
        assert_eq!(family.seen, BTreeSet::from([leader, own]));
        assert!(family.others.contains(&other) && !family.others.contains(&older), "{family:?}");
        for mut child in sleeps {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(!family.is_alive());
        assert!(!family.others.contains(&other), "it is gone");
    }
}

//! A node that is a process with all its descendants: what a demonstration has where it cannot make namespaces.
//!
//! The process at the root takes in the orphans of all that it started ([`take_in_orphans`]), so that nothing gets out of the
//! tree. It is the last to die: while it lives, and is stopped, what loses its parents still falls to it.

use crate::family::{Process, Stat};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

pub use crate::family::take_in_orphans;

/// A process and its descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    root: Process,
}

impl Tree {
    /// The tree of a process that lives.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::of(i32::try_from(pid).ok()?).filter(|stat| !stat.is_dead)?;
        Some(Self { root: stat.process })
    }

    /// Whether this very process is part of it.
    pub fn holds_this_process(&self) -> bool {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        own == self.root.pid || self.below().iter().any(|process| process.pid == own)
    }

    /// Whether anything of it lives.
    pub fn lives(&self) -> bool {
        self.root_lives() || !self.below().is_empty()
    }

    /// Kills all of it, the root last.
    ///
    /// # Errors
    /// What could not be killed within `patience`.
    pub fn kill(&self, patience: Duration) -> Result<(), String> {
        // The root must not start anew what is killed, and must not miss what is orphaned.
        self.root.signal(Signal::STOP);
        self.kill_below(patience)?;
        self.root.signal(Signal::KILL);
        until(patience, || if self.root_lives() { vec![self.root] } else { Vec::new() })
    }

    /// Kills all of it but the root. One look is not enough: a process may be born while the list is read.
    ///
    /// # Errors
    /// What could not be killed within `patience`.
    pub fn kill_below(&self, patience: Duration) -> Result<(), String> {
        let mut empty_looks = 0;
        until(patience, || {
            let left = self.below();
            left.iter().for_each(|process| process.signal(Signal::KILL));
            empty_looks = if left.is_empty() { empty_looks + 1 } else { 0 };
            // A look that found nothing counts as something left until there were two of them.
            if empty_looks == 1 { vec![self.root] } else { left }
        })
    }

    fn root_lives(&self) -> bool {
        Stat::of(self.root.pid).is_some_and(|stat| stat.process == self.root && !stat.is_dead)
    }

    /// The descendants that live, as long as the root was not reaped.
    fn below(&self) -> Vec<Process> {
        let all = Stat::of_all();
        if !all.iter().any(|stat| stat.process == self.root) {
            return Vec::new();
        }
        let mut children: BTreeMap<i32, Vec<&Stat>> = BTreeMap::new();
        for stat in &all {
            children.entry(stat.parent).or_default().push(stat);
        }
        let (mut found, mut open) = (Vec::new(), vec![self.root.pid]);
        while let Some(parent) = open.pop() {
            for &child in children.get(&parent).into_iter().flatten() {
                open.push(child.process.pid);
                if !child.is_dead {
                    found.push(child.process);
                }
            }
        }
        found
    }
}

/// Looks again and again until nothing is left.
fn until(patience: Duration, mut left: impl FnMut() -> Vec<Process>) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let left = left();
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > patience {
            let numbers: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
            return Err(format!("processes cannot be killed: {}", numbers.join(" ")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `PID:START`: a number alone may pass to another process.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.root.pid, self.root.started)
    }
}

impl FromStr for Tree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').and_then(|(pid, started)| Some((pid.parse().ok()?, started.parse().ok()?)));
        let (pid, started) = numbers.ok_or_else(|| format!("{text:?} is not PID:START"))?;
        Ok(Self { root: Process { pid, started } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_tree_is_killed_with_all_that_belongs_to_it() {
        let mut child = Command::new("sh").args(["-c", "sleep 300 & sh -c 'sleep 300 & wait' & wait"]).spawn().unwrap();
        let tree = Tree::of(child.id()).unwrap();
        while tree.below().len() < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let members = tree.below();
        assert!(tree.lives() && !tree.holds_this_process());
        assert_eq!(tree.to_string().parse(), Ok(tree));
        tree.kill(PATIENCE).unwrap();
        assert!(!tree.lives());
        let alive = |process: &Process| Stat::of(process.pid).is_some_and(|s| s.process == *process && !s.is_dead);
        // This root takes in no orphans: what lost its parent dies outside of the tree, and a moment later.
        until(PATIENCE, || members.iter().copied().filter(alive).collect()).unwrap();
        child.wait().unwrap();
        assert!(!tree.lives() && Tree::of(child.id()).is_none());
    }

    #[test]
    fn this_process_is_part_of_its_own_tree() {
        assert!(Tree::of(std::process::id()).unwrap().holds_this_process());
        assert!("12".parse::<Tree>().is_err() && "a:1".parse::<Tree>().is_err());
    }
}

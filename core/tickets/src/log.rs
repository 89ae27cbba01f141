//! The log: what was decided, in order.

use crate::config::{Group, MemberId};
use crate::table::{Cause, Table};
use hakudo_base::UnixTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// The office of one coordinator: in one term there is at most one.
///
/// The epoch grows only when the administrator goes on without a majority; a log of a later epoch wins over any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Term {
    /// How often the group was taken over by force.
    pub(crate) epoch: u32,
    /// Grows with each election.
    pub(crate) number: u32,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// A place in the log. Of two logs the one with the later end, term first, holds all that is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The term in which it was written.
    pub(crate) term: Term,
    /// Its number, from 1 on without a gap.
    pub(crate) index: u64,
}

/// What is decided in one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// A new coordinator takes office.
    Office,
    Configure(Box<Group>),
    Grant {
        ticket: String,
        site: MemberId,
        expire: Duration,
        stop_time: Duration,
        cause: Cause,
    },
    /// The site said that it stopped; its new count of failures.
    Released {
        ticket: String,
        generation: u64,
        failed: bool,
        failures: u32,
    },
    /// The holder has certainly stopped, without saying so.
    Freed {
        ticket: String,
        generation: u64,
    },
    Revoke {
        ticket: String,
    },
    Standby {
        ticket: String,
        on: bool,
    },
    Attribute {
        ticket: String,
        site: MemberId,
        name: String,
        value: Option<String>,
    },
    Move {
        ticket: String,
        generation: u64,
        to: MemberId,
        cause: Cause,
    },
    /// The move will not be tried any more.
    MoveEnded {
        ticket: String,
    },
    Disclaim {
        site: MemberId,
        ticket: Option<String>,
        on: bool,
    },
    Observe {
        site: MemberId,
        on: bool,
    },
    /// All other sites disclaim: the lease has no end.
    Unlimited {
        ticket: String,
        generation: u64,
    },
    /// The holder itself said that its lease has an end again.
    Limited {
        ticket: String,
        generation: u64,
    },
    StopTime {
        ticket: String,
        generation: u64,
        stop_time: Duration,
    },
    /// What the holder does not stop by itself when the lease ends: nobody else gets the ticket by itself then.
    Stays {
        ticket: String,
        generation: u64,
        what: Option<String>,
    },
    WouldGrant {
        ticket: String,
        site: MemberId,
        cause: Cause,
    },
    /// A new epoch: these members have no vote; who took over, and by which memory.
    TakeOver {
        absent: BTreeSet<MemberId>,
        by: (MemberId, u64),
    },
    /// These members vote, by what these memories hold: the first entry of all names those that began the group.
    Welcome {
        memories: BTreeMap<MemberId, u64>,
    },
    /// A member that had no vote has one again.
    Readmit {
        member: MemberId,
    },
    /// What depends on the ticket runs where the ticket was moved to: it is not taken back any more, whoever coordinates.
    Started {
        ticket: String,
        generation: u64,
    },
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) term: Term,
    pub(crate) author: Author,
    pub(crate) command: Command,
}

/// Who ordered something, and when; empty where the group decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Author {
    pub(crate) who: String,
    pub(crate) at: UnixTime,
    /// By which request.
    pub(crate) request: Option<RequestId>,
}

/// Names a request for as long as it may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestId {
    /// The member that was asked.
    pub(crate) from: MemberId,
    /// Its run.
    pub(crate) instance: u64,
    /// Its number of the request: the run counts them.
    pub(crate) id: u64,
}

impl Command {
    /// The ticket that this is about.
    pub(crate) fn ticket(&self) -> Option<&str> {
        match self {
            Command::Grant { ticket, .. }
            | Command::Released { ticket, .. }
            | Command::Freed { ticket, .. }
            | Command::Revoke { ticket }
            | Command::Standby { ticket, .. }
            | Command::Attribute { ticket, .. }
            | Command::Move { ticket, .. }
            | Command::MoveEnded { ticket }
            | Command::Unlimited { ticket, .. }
            | Command::Limited { ticket, .. }
            | Command::StopTime { ticket, .. }
            | Command::Stays { ticket, .. }
            | Command::Started { ticket, .. }
            | Command::WouldGrant { ticket, .. } => Some(ticket),
            Command::Disclaim { ticket, .. } => ticket.as_deref(),
            Command::Office
            | Command::Configure(_)
            | Command::Observe { .. }
            | Command::TakeOver { .. }
            | Command::Welcome { .. }
            | Command::Readmit { .. } => None,
        }
    }

    /// True where this decides who may vote.
    pub(crate) fn changes_voters(&self) -> bool {
        matches!(
            self,
            Command::Configure(_) | Command::TakeOver { .. } | Command::Readmit { .. } | Command::Welcome { .. }
        )
    }
}

/// The end of the log, and what all before it comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    /// The last entry that is not here any more.
    base: Position,
    /// The table after it.
    snapshot: Table,
    entries: Vec<Entry>,
}

/// How many entries are kept for members that are a little behind.
const KEPT: usize = 128;

impl Log {
    /// A log that begins after `base`.
    pub(crate) fn installed(base: Position, snapshot: Table) -> Self {
        Self { base, snapshot, entries: Vec::new() }
    }

    pub(crate) fn base(&self) -> u64 {
        self.base.index
    }

    pub(crate) fn snapshot(&self) -> &Table {
        &self.snapshot
    }

    pub(crate) fn last(&self) -> Position {
        let index = self.base.index + self.entries.len() as u64;
        self.entries.last().map_or(self.base, |entry| Position { term: entry.term, index })
    }

    /// The place with this number; nothing where it is not here, before the base or beyond the end.
    pub(crate) fn position(&self, index: u64) -> Option<Position> {
        if index == self.base.index {
            return Some(self.base);
        }
        self.entry(index).map(|entry| Position { term: entry.term, index })
    }

    pub(crate) fn entry(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.base.index)?.checked_sub(1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// The entries after `index`, which must not be before the base.
    pub(crate) fn after(&self, index: u64) -> &[Entry] {
        let offset = usize::try_from(index.saturating_sub(self.base.index)).unwrap_or(usize::MAX);
        self.entries.get(offset..).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Forgets all entries from `index` on.
    pub(crate) fn truncate(&mut self, index: u64) {
        self.entries.truncate(usize::try_from(index.saturating_sub(self.base.index + 1)).unwrap_or(usize::MAX));
    }

    /// Forgets old entries up to `applied`, but for some; true if it did.
    pub(crate) fn compact(&mut self, applied: u64) -> bool {
        let applied = usize::try_from(applied.saturating_sub(self.base.index)).unwrap_or(usize::MAX);
        if applied < 2 * KEPT {
            return false;
        }
        for entry in self.entries.drain(..applied - KEPT) {
            self.base = Position { term: entry.term, index: self.base.index + 1 };
            self.snapshot.apply(self.base.index, &entry);
        }
        true
    }

    /// What a broken store could have made of it must not be taken for a log.
    pub(crate) fn is_sound(&self) -> bool {
        let terms = self.entries.iter().map(|entry| entry.term);
        terms.is_sorted() && self.entries.first().is_none_or(|entry| entry.term >= self.base.term)
    }
}

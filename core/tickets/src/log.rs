//! The log: what was decided, in order.

use crate::config::{Group, MemberId};
use crate::table::Cause;
use hakudo_base::UnixTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The office of one coordinator: in one term there is at most one.
///
/// The epoch grows only when the administrator goes on without a majority; a log of a later epoch wins over any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Term {
    /// How often the group was taken over by force.
    pub epoch: u32,
    /// Grows with each election.
    pub number: u32,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// A place in the log. Of two logs the one with the later end, term first, holds all that is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The term in which it was written.
    pub term: Term,
    /// Its number, from 1 on without a gap.
    pub index: u64,
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
    WouldGrant {
        ticket: String,
        site: MemberId,
        cause: Cause,
    },
    /// A new epoch: these members have no vote.
    TakeOver {
        absent: BTreeSet<MemberId>,
    },
    /// A member that had no vote has one again.
    Readmit {
        member: MemberId,
    },
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) term: Term,
    /// Who ordered it, and when; empty where the group decided.
    pub(crate) who: String,
    pub(crate) at: UnixTime,
    pub(crate) command: Command,
}

//! The configuration of a group in booth's words.
//!
//! [`read`] takes booth.conf as it is written today, with both forms of a ticket (options on lines of their own, or all in
//! one as `ticket = "NAME; EXPIRE; WEIGHTS"`). [`read_cib`] takes the same settings from the CIB. Both go through one
//! builder, so that they check the same and say the same.
//!
//! Where boothd silently does something else than the line says, the line is done here as it says and the difference
//! is told ([`Severity::Info`]): in a group with both, it matters. What boothd takes and ignores (a mistyped `mode`, a port
//! behind the members) is an error.

mod builder;
mod cib;
mod keywords;
mod read;
mod write;

pub use cib::{SET, new_errors, read_cib};
pub use read::{read, read_bytes};
pub use write::{Unwritable, write};

use hakudo_base::Severity;
use hakudo_cib::Position;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// The port of booth 0.2 and later, for UDP and TCP.
pub const PORT: u16 = 9929;
/// More members than these have no place in booth's groups.
pub const MOST_MEMBERS: usize = 16;
/// The longest name of a ticket that fits in booth's messages, in bytes.
pub const LONGEST_NAME: usize = 63;

/// A whole configuration, all of it checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// `name`: what the instance calls itself; the base name of the file where it is not given.
    pub name: Option<String>,
    /// `port`: of all members.
    pub port: u16,
    /// `authfile`: the path of the common key.
    pub key_file: Option<String>,
    /// `maxtimeskew`: how far the calendar clocks of members may be apart.
    pub max_time_skew: Duration,
    /// `site-user` and `site-group`: whom boothd runs as at a site. hakudo's own processes have their own users.
    pub site_owner: Owner,
    /// `arbitrator-user` and `arbitrator-group`.
    pub arbitrator_owner: Owner,
    /// `debug`: the verbosity of boothd.
    pub debug: Option<u32>,
    /// Sites and arbitrators, in the order of their lines: the order of weights.
    pub members: Vec<Member>,
    /// The tickets, in the order of their lines.
    pub tickets: Vec<Ticket>,
}

/// A user and a group of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user, where it is given.
    pub user: Option<String>,
    /// The group, where it is given.
    pub group: Option<String>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A cluster: it may hold tickets.
    Site,
    /// A voter without a cluster.
    Arbitrator,
}

impl Kind {
    /// The keyword of the configuration, which is the word of `booth peers` too.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Site => "site",
            Kind::Arbitrator => "arbitrator",
        }
    }
}

/// Where a member is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name, for somebody else to resolve.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => address.fmt(f),
            Host::Name(name) => name.fmt(f),
        }
    }
}

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Site or arbitrator.
    pub kind: Kind,
    /// Its address: in booth, its identity too.
    pub host: Host,
    /// `addresses`: where else it is reached, for instance at each node of a site.
    pub addresses: Vec<Host>,
}

/// A ticket with all its options, those of `__defaults__` included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its name.
    pub name: String,
    /// `expire`: how long a grant holds without renewal.
    pub expire: Duration,
    /// `acquire-after`: how much longer another site waits before it takes a lost ticket over.
    pub acquire_after: Duration,
    /// `renewal-freq`: how often the holder renews and asks its handler.
    pub renewal: Duration,
    /// `timeout`: how long an answer is waited for before the question is asked again.
    pub timeout: Duration,
    /// `retries`: how often it is asked again.
    pub retries: u32,
    /// `weights`: what each member is worth as holder, in the order of members. The highest is preferred; members without
    /// a weight have 0. boothd reads and ignores them.
    pub weights: Vec<u32>,
    /// `before-acquire-handler`: the program (or directory of programs) with its arguments.
    pub handler: Vec<String>,
    /// `attr-prereq`: all of them must hold.
    pub prerequisites: Vec<Prerequisite>,
    /// `mode`.
    pub mode: Mode,
    /// `stop-time`: how long a site needs at most to stop what depends on the ticket; its own word where it is not given.
    pub stop_time: Option<Duration>,
    /// `lag`: how far the copy of the data may be behind at a site that takes the ticket.
    pub lag: Option<Lag>,
    /// `preferred`: the site where the ticket belongs.
    pub preferred: Option<Host>,
    /// `fail-back`: the preferred site gets the ticket back once it could have held it for so long.
    pub fail_back: Option<Duration>,
}

/// A bound on how far the copy of the data is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// At most this.
    pub at_most: Duration,
    /// The program that prints it, in seconds, with its arguments.
    pub program: Vec<String>,
}

impl Ticket {
    /// The weight of the member at `index`.
    pub fn weight(&self, index: usize) -> u32 {
        self.weights.get(index).copied().unwrap_or(0)
    }

    fn times(&self) -> [Duration; 4] {
        [self.expire, self.acquire_after, self.renewal, self.timeout]
    }
}

/// Who decides on a ticket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The members do: a lost ticket is taken over.
    #[default]
    Automatic,
    /// An administrator does: grants do not expire.
    Manual,
}

/// A condition on a geo attribute of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prerequisite {
    /// When it is asked.
    pub when: When,
    /// The name of the attribute.
    pub attribute: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: String,
}

impl Prerequisite {
    /// True where an attribute with the value `actual` (`None`: it is not set) fulfils the condition.
    ///
    /// See [`Comparison::holds`].
    pub fn is_fulfilled_by(&self, actual: Option<&str>) -> bool {
        self.comparison.holds(actual, &self.value)
    }
}

/// A decimal number, nothing else (`f64` alone would take `inf` and `nan`).
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    if plain { text.parse().ok() } else { None }
}

/// When a prerequisite is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Before a lost ticket is taken over.
    Auto,
    /// Before an administrator's grant.
    Manual,
}

impl When {
    /// Its keyword.
    pub fn word(self) -> &'static str {
        match self {
            When::Auto => "auto",
            When::Manual => "manual",
        }
    }
}

/// How a prerequisite compares. booth knows the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The same text.
    Equal,
    /// Another text, or none.
    NotEqual,
    /// A lower number.
    Less,
    /// A lower number or the same.
    LessOrEqual,
    /// A higher number.
    Greater,
    /// A higher number or the same.
    GreaterOrEqual,
}

impl Comparison {
    const ALL: [Comparison; 6] = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    /// Its keyword.
    pub fn word(self) -> &'static str {
        match self {
            Comparison::Equal => "eq",
            Comparison::NotEqual => "ne",
            Comparison::Less => "lt",
            Comparison::LessOrEqual => "le",
            Comparison::Greater => "gt",
            Comparison::GreaterOrEqual => "ge",
        }
    }

    /// True where the value of an attribute compares so with another value.
    ///
    /// An attribute that is not set fulfils nothing but `ne`, as in boothd. Orders compare numbers; what is no number
    /// fulfils no order.
    pub fn holds(self, actual: Option<&str>, with: &str) -> bool {
        let Some(actual) = actual else { return self == Comparison::NotEqual };
        let order = || Some(number(actual)?.total_cmp(&number(with)?));
        match self {
            Comparison::Equal => actual == with,
            Comparison::NotEqual => actual != with,
            Comparison::Less => order().is_some_and(|order| order.is_lt()),
            Comparison::LessOrEqual => order().is_some_and(|order| order.is_le()),
            Comparison::Greater => order().is_some_and(|order| order.is_gt()),
            Comparison::GreaterOrEqual => order().is_some_and(|order| order.is_ge()),
        }
    }

    fn is_boothds(self) -> bool {
        matches!(self, Comparison::Equal | Comparison::NotEqual)
    }
}

impl Group {
    /// True where a time of any ticket is not in whole seconds. boothd then counts leases in messages in milliseconds, for
    /// all tickets: members with different files misunderstand each other.
    pub fn counts_milliseconds(&self) -> bool {
        self.tickets.iter().flat_map(Ticket::times).any(|time| time.subsec_millis() != 0)
    }

    /// The ticket of that name.
    pub fn ticket(&self, name: &str) -> Option<&Ticket> {
        self.tickets.iter().find(|ticket| ticket.name == name)
    }
}

/// Something to say about a configuration, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// An error, a warning, or ([`Severity::Info`]) a difference from boothd.
    pub severity: Severity,
    /// Line and column (in characters) of the first character.
    pub position: Position,
    /// The bytes of the text that are meant; nothing where the configuration comes from the CIB.
    pub span: Option<Range<usize>>,
    /// The `id` of the element of the CIB; empty where the configuration is a text.
    pub id: String,
    /// The attribute of that element that is meant; nothing where it is the whole element.
    pub attribute: Option<&'static str>,
    /// What is wrong. Of the CIB it names no position, so that it is the same wherever the element stands.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// More lines, which may still come, could make it right.
    pub incomplete: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Info => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{}: {severity}: {}", self.position, self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// What was read, and all that is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The configuration; nothing where there is an error.
    pub group: Option<Group>,
    /// In the order of their places.
    pub problems: Vec<Problem>,
}

#[cfg(test)]
mod tests;

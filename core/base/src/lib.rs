//! The words that every core shares.
//!
//! Nothing here decides anything: these are the types in which the parts of hakudo speak to each other, so that none of
//! them needs to know another one for the sake of a name.

pub mod agent;
mod random;
pub mod suggestion;
mod time;
pub mod words;

pub use random::Random;
pub use time::{Instant, UnixTime, WallTime};

use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a node, as `nodeid` in corosync.conf and `id` of `<node>` in the CIB: unique in a cluster, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How grave something is that happened, for people who read events and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The normal course of things.
    Info,
    /// Something that should be looked at; service goes on.
    Warning,
    /// Something failed or is blocked.
    Error,
}

//! What a plan changes, told for people: the lines of a transition summary as values.
//!
//! The order is the one in which they are shown: first what happens to nodes, then what happens to resources in the order
//! of the configuration.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The role that a resource has or shall have, as a summary names it. Ascending: each role includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ShownRole {
    /// Not known.
    #[default]
    Unknown,
    /// Not running.
    Stopped,
    /// Running; the only active role of a resource that cannot be promoted.
    Started,
    /// Running, not promoted.
    Unpromoted,
    /// Promoted.
    Promoted,
}

impl ShownRole {
    /// The word for it in configurations and outputs.
    pub fn as_str(self) -> &'static str {
        match self {
            ShownRole::Unknown => "Unknown",
            ShownRole::Stopped => "Stopped",
            ShownRole::Started => "Started",
            ShownRole::Unpromoted => "Unpromoted",
            ShownRole::Promoted => "Promoted",
        }
    }
}

impl fmt::Display for ShownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happens to a resource (instance) as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceVerb {
    /// Started where it was not active.
    Start,
    /// Stopped and not started again.
    Stop,
    /// Stopped here, started elsewhere.
    Move,
    /// Moved without stopping.
    Migrate,
    /// Stopped and started because it failed.
    Recover,
    /// Stopped and started at the same place for another reason.
    Restart,
    /// New parameters without a stop.
    Reload,
    /// Promoted.
    Promote,
    /// Demoted.
    Demote,
    /// Demoted and promoted again at the same place.
    RePromote,
}

impl ResourceVerb {
    /// The word for it in a summary.
    pub fn as_str(self) -> &'static str {
        match self {
            ResourceVerb::Start => "Start",
            ResourceVerb::Stop => "Stop",
            ResourceVerb::Move => "Move",
            ResourceVerb::Migrate => "Migrate",
            ResourceVerb::Recover => "Recover",
            ResourceVerb::Restart => "Restart",
            ResourceVerb::Reload => "Reload",
            ResourceVerb::Promote => "Promote",
            ResourceVerb::Demote => "Demote",
            ResourceVerb::RePromote => "Re-promote",
        }
    }
}

/// One line of a transition summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// A node is fenced or shut down.
    Node {
        /// `Shutdown`, `Fence (reboot)`, `Fence (off)` or `Fence (on)`.
        task: String,
        /// The node's name; for a guest node with its container: `guest1 (resource: container1)`.
        node: String,
        /// Why. Without a reason, a text summary leaves the line out.
        reason: Option<String>,
    },
    /// Something happens to a resource.
    Resource {
        /// What.
        verb: ResourceVerb,
        /// The primitive or instance (`rsc`, `rsc:0`).
        resource: String,
        /// Its role now.
        role: ShownRole,
        /// Its role afterwards.
        next_role: ShownRole,
        /// Where it is active now; shown as where it comes from.
        origin: Option<String>,
        /// Where it will be active; none for what stops, and for what recovers at its place.
        destination: Option<String>,
        /// Why, as in `due to …`.
        reason: Option<String>,
        /// The action cannot be run.
        blocked: bool,
    },
}

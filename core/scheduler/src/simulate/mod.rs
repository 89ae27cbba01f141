//! A transition carried out on paper: every action has the result that the plan expects of it (or the failure that somebody asks
//! for), and the status in the document becomes what the nodes would then report.
//!
//! Nothing runs, and no time passes. The order is the one in which a controller without limits would fire the steps: pass after pass
//! over the graph, each step once its inputs are done.
//!
//! What it costs grows with the graph and with the status that is changed, not with their product: the steps that wait are counted
//! down, and nodes and resources of the status are found by index.

mod inject;
mod record;
mod status;
mod walk;

pub use inject::{InjectError, Injections, inject};
pub use record::{OperationResult, parse_operation_key};
pub use walk::{Outcome, carry_out};

use serde::Serialize;

/// Something that a simulation did, as people may want to read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A point in the graph was reached.
    Pseudo {
        /// The action's key.
        key: String,
        /// The guest node that counts as fenced from here on.
        node: Option<String>,
    },
    /// An operation of a resource.
    Resource {
        /// The resource as its status knows it.
        resource: String,
        /// The operation.
        operation: String,
        /// Milliseconds; 0 for one run.
        interval_ms: u64,
        /// Where.
        node: String,
    },
    /// An action of the cluster on a node.
    Cluster {
        /// What.
        task: String,
        /// The resource that it is about.
        resource: Option<String>,
        /// Where.
        node: String,
    },
    /// A node was fenced.
    Fencing {
        /// Which.
        node: String,
        /// `reboot`, `off` or `on`.
        action: String,
    },
    /// The action of this number was made to fail.
    Failed {
        /// The number in the graph.
        action: u32,
        /// The exit code.
        exit_code: i32,
    },
    /// A node attribute was set.
    Attribute {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// The node by the id of its state.
        node: String,
    },
    /// Quorum was given or taken.
    Quorum(String),
    /// The watchdog was said to be there or not.
    Watchdog(String),
    /// A node came online.
    NodeUp(String),
    /// A node went away cleanly.
    NodeDown(String),
    /// A node was lost.
    NodeFail(String),
    /// A ticket was changed.
    Ticket {
        /// `Granting`, `Revoking`, `Standby` or `Activating`.
        change: &'static str,
        /// Its name.
        ticket: String,
    },
    /// The result of an operation was put into the history.
    Injected(String),
}

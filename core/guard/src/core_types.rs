//! What goes into the guard, and what comes out of it.

use hakudo_base::Instant;
use hakudo_base::agent::AgentCall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// What is to be done on this machine when the lease of a ticket ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The ticket.
    pub ticket: String,
    /// The end of the lease, on the clock that counts the time in suspend (`CLOCK_BOOTTIME`).
    pub until: Instant,
    /// So long after it all must be stopped: the group counts on it.
    pub stop_time: Duration,
    /// The machine is to be reset at once where that may be (`loss-policy="fence"`), and not only where stopping fails.
    pub reset: bool,
    /// The first number that the guard may give to a call.
    pub first_call: u64,
    /// What is to be done.
    pub steps: Vec<Step>,
}

/// One stop, or demotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The call; the guard gives it its number.
    pub call: AgentCall,
    /// The node's own note of it.
    pub note: Vec<u8>,
    /// The places of the steps that must have ended before, well or not. Each is before this one in the list.
    pub after: Vec<u32>,
}

/// What a node tells the guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Guard this, instead of what was said of this ticket before.
    Arm(Box<Guard>),
    /// The lease was renewed.
    Extend {
        /// The ticket.
        ticket: String,
        /// [`Guard::until`].
        until: Instant,
        /// [`Guard::first_call`].
        first_call: u64,
    },
    /// Nothing here needs the ticket (any more), or its lease has no end.
    Disarm {
        /// The ticket.
        ticket: String,
    },
    /// Only these are guarded.
    Only {
        /// The tickets.
        tickets: BTreeSet<String>,
    },
}

/// What the guard asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The lease of a ticket has ended and was not renewed: what needs it is stopped now.
    Over {
        /// The ticket.
        ticket: String,
        /// What is stopped, or demoted, sooner or later: whatever else goes on with it, or is to begin, must not keep that back.
        resources: BTreeSet<String>,
    },
    /// Run this, before anything else of its resource, and say how it ended.
    Run {
        /// The call.
        call: AgentCall,
        /// The node's own note of it.
        note: Vec<u8>,
    },
    /// All calls have ended: a node, now or later, must hear what became of the resources.
    Acted,
    /// Reset the machine.
    Reset {
        /// Why.
        reason: String,
    },
}

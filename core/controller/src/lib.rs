//! The replicated configuration and status of a node, and the leader that carries plans out.
//!
//! The [`Controller`] is the same state machine on every node. Below it, membership gives it views and a total order of
//! messages; beside it, an executor runs agents and a disk keeps the configuration; above it, clients ask. What it does:
//!
//! - **The replica** (`replica`, `status`, `change`). Every member holds configuration and status. Both change only by
//!   commands of the total order and by views, so that members which were delivered the same hold the same, byte for byte.
//! - **Agreement** (`views`). Members that come together from a view agree already. Otherwise all say hello, and take over
//!   what the side has whose configuration was agreed in the newest primary epoch. Its loser keeps its own aside.
//! - **Disks** (`disk`, `clients`). A change is acknowledged once every member of the view has it on disk. A disk that
//!   refuses leaves the change in force, unacknowledged, with an alert, and is asked again.
//! - **The node's part** (`node`). Orders for this node go to its executor, results come back as commands. What an executor
//!   remembers after a restart is what the node runs; an executor without memory means that all is probed anew.
//! - **The leader** (`leader`, `walk`, `fence`). It asks the scheduler, walks the graph, and asks again until the plan is
//!   empty. Whatever is new stops the walk. Fencing steps go to the fencer, which only the leader has.
//! - **Tickets** (`tickets`). The leader runs this cluster's member of the ticket group; every node knows until when each
//!   lease lasts by its own clock, and takes the ticket as lost by itself when it ends. Its executor knows it too, with what
//!   is to be stopped then, and does it where the node does not.
//!
//! Invariants:
//! - Nothing replicated depends on a clock, on this node, or on the order of inputs other than views and deliveries.
//! - Nothing is ordered but by the leader of the view in which the order is delivered.
//! - What may still run is never forgotten: a lost node keeps its history until it was fenced, left, or tells itself.
//! - A message that is none, or of another view, changes nothing.
//! - Every wait ends: by an answer, a view, or a deadline.

mod change;
mod clients;
mod command;
mod controller;
mod core_types;
mod deliver;
mod disk;
mod fence;
mod leader;
mod missed;
mod node;
mod options;
mod outbox;
mod replica;
pub mod request;
mod status;
mod tickets;
mod views;
mod walk;

pub use change::changed;
pub use controller::Controller;
pub use core_types::{Config, Effect, Input, PersistedState, TicketEffect, TicketInput, TicketSetup};
pub use hakudo_base::agent::{ExecutorInput, Known};
pub use hakudo_guard::Order as GuardOrder;
pub use tickets::Tickets;

#[cfg(test)]
mod tests;

//! The daemon of a node: sockets, disk and threads around the cores.
//!
//! Three threads and one other process, each with one job, so that none can delay another:
//!
//! ```text
//!   UDP ── wire (membership engine) ──┐
//!                                     │ views, messages
//!   clients ── local socket ──▶  daemon (controller)  ──▶ disk
//!                                     │      ▲
//!                     executor ◀──────┘      └── planner (scheduler)
//! ```

mod clock;
pub mod config;
mod daemon;
mod disk;
mod history;
mod links;
mod local;
mod planner;
pub mod recording;
mod storage;
mod ticket_checks;
mod tickets;
mod wire;

pub use daemon::run;
pub use wire::{Membership, Told, join};

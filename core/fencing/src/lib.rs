//! Fence devices, their targets, topology, retries and history.

mod core_types;

pub use core_types::{Action, Effect, Failure, Fenced, HistoryEntry, Input, Request, Run, UnknownAction};

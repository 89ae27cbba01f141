//! Fence devices, their targets, topology, retries and history.
//!
//! A node that may be active where it should not be is made harmless before anything of it is started elsewhere. This core
//! decides which device does that, on which node its agent runs, how long and how often, and says what went wrong. It is a
//! pure state machine ([`Fencer`]): the controller of the leader gives it requests and has its [`Effect::Run`] carried out.
//!
//! The rules are those of Pacemaker's fencer, with its parameters and their names (Pacemaker Explained: Fencing).
//!
//! Invariants:
//! - Agents for different requests never work on one target at the same time: requests for the same action on the same life of
//!   the target are merged, others wait. So does a new request while an agent still works for one that was settled by an administrator's word.
//! - Success is only ever said when agents said it (with a topology: all devices of one level), or an administrator.
//! - Every request is answered in bounded time: each run has a time limit, here as well as at the executor, and each device
//!   is tried on each node at most as often as its retries allow.
//! - A target that cannot be fenced stays so visibly ([`Fencer::unfenced`]) until something changes, a person tries again, or
//!   `cluster-recheck-interval` is over.

mod agent;
mod config;
mod core_types;
mod fencer;
mod operation;
mod pattern;

pub use core_types::{Action, Effect, Failure, Fenced, Input, Request, Run, UnknownAction};
pub use fencer::Fencer;

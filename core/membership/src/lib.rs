//! Who is here, in which order things are said, and whether we are quorate.
//!
//! [`Engine`] is the native engine: a pure state machine over encrypted datagrams on one or more links. Its parts, from the
//! wire upwards: `session` (sealing), `detector` (who is alive, who hears whom), `clique` (who can be in one view),
//! `engine::changes` (from view to view), `order` (the order of messages in a view), [`quorum`] (the right to act).
//!
//! # What the engine promises
//!
//! - **Views.** No two views have the same [`ViewId`], and the ids that a node installs grow, over restarts too. Members of a
//!   view all get the same members, `quorate` and `exclusive`. A node installs a view only if it hears all its members, and
//!   agreed to exactly these.
//! - **Order.** In one view, what one member is delivered begins what another is delivered, or the other way round. Members
//!   of [`View::together`] were delivered exactly the same in the view before.
//! - **Restart.** A process that was restarted is another member, even if it came back before anybody missed it: a view
//!   without its old run follows at once, and one with its new run.
//! - **Quorum.** The rule is asked in each view change, with what all members report. Where its answer changes while the
//!   members stay (an override, the window of `last_man_standing`), a new view with the same members follows.
//!
//! # What the sender of a broadcast may assume
//!
//! - As long as it runs, it learns the fate of each of its broadcasts, once: either it is delivered it, at the same place
//!   as all others, or it gets [`Effect::Undelivered`] with the reason.
//! - Its broadcasts are delivered in the order in which they were said, and no member is delivered one of them twice.
//! - Said without a view, or across a view change, a broadcast is delivered in the old view to all who continue together,
//!   or else in the next one.
//! - Delivery is not a promise about others: a message is delivered as soon as it is in order here. Members that are lost in
//!   the same moment may have been delivered more or less. Who needs "all have it" waits for their answers.
//! - If the sender dies, its last broadcasts are delivered to all who continue together, or to none of them.
//!
//! # What the shell must do
//!
//! Carry out effects in order, with [`Effect::Persist`] on disk before the next one and [`Effect::Reserve`] beside them;
//! give fresh entropy as seed; call
//! [`Engine::handle`] with [`Input::Timer`] when [`Engine::deadline`] has come. A shell that runs late loses nothing but
//! time: the engine notices, and gives other nodes that much longer.

mod clique;
mod config;
mod core_types;
mod detector;
mod engine;
mod order;
pub mod quorum;
mod view;
mod wire;

pub use config::{
    ClusterKey, Config, ConfigError, LinkMode, MAX_CLUSTER_NAME, MAX_DATAGRAM, MAX_LINKS, MAX_NODES, MAX_PAYLOAD,
    NodeEntry, PersistedState,
};
pub use core_types::{Effect, Event, Input, QuorumOverride, Undelivered};
pub use engine::{Counters, Engine};
pub use view::{Delivered, View, ViewId};

#[cfg(test)]
mod tests;

//! Who is here, in which order things are said, and whether we are quorate.

mod clique;
mod config;
mod core_types;
mod detector;
mod engine;
mod order;
pub mod quorum;
mod session;
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

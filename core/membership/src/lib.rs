//! Who is here, in which order things are said, and whether we are quorate.

mod config;
mod core_types;
mod engine;
pub mod quorum;
mod view;

pub use config::{
    ClusterKey, Config, ConfigError, LinkMode, MAX_CLUSTER_NAME, MAX_DATAGRAM, MAX_LINKS, MAX_NODES, MAX_PAYLOAD,
    NodeEntry, PersistedState,
};
pub use core_types::{Effect, Event, Input, Undelivered};
pub use engine::Engine;
pub use view::{Delivered, View, ViewId};

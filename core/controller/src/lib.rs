//! The replicated configuration and status of a node, and the leader that carries plans out.

mod core_types;
pub mod request;

pub use core_types::{Effect, Input, PersistedState};
pub use hakudo_base::agent::{ExecutorInput, Known};

//! The replicated configuration and status of a node, and the leader that carries plans out.

mod controller;
mod core_types;
pub mod request;

pub use controller::Controller;
pub use core_types::{Config, Effect, Input, PersistedState};
pub use hakudo_base::agent::{ExecutorInput, Known};

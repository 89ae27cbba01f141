//! The replicated configuration and status of a node, and the leader that carries plans out.

mod change;
mod clients;
mod command;
mod controller;
mod core_types;
mod deliver;
mod disk;
mod fence;
mod leader;
mod node;
mod options;
mod outbox;
mod replica;
pub mod request;
mod status;
mod views;
mod walk;

pub use controller::Controller;
pub use core_types::{Config, Effect, Input, PersistedState};
pub use hakudo_base::agent::{ExecutorInput, Known};

#[cfg(test)]
mod tests;

//! From a configuration and a status to a plan: what should run where, and the way there.

mod transition;

pub use transition::{Action, ActionId, ActionKind, NodeRef, ResourceRef, Synapse, Transition};

//! From a configuration and a status to a plan: what should run where, and the way there.

mod summary;
mod transition;

pub use summary::{Change, ResourceVerb, ShownRole};
pub use transition::{Action, ActionId, ActionKind, NodeRef, ResourceRef, Synapse, Transition};

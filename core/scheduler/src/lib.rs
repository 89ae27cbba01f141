//! From a configuration and a status to a plan: what should run where, and the way there.

pub mod model;
mod placement;
mod scores;
pub mod simulate;
mod summary;
mod transition;

pub use model::{Model, NodeIndex, Problem, ResourceId, Role, Score};
pub use placement::{Placement, Placements, Share, Source};
pub use scores::ScoreLine;
pub use summary::{Change, ResourceVerb, ShownRole};
pub use transition::{Action, ActionId, ActionKind, NodeRef, ResourceRef, Synapse, Transition};

/// What should run where, the way there, and why.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cluster with the decisions in it: where each resource goes, and in which role.
    pub model: Model,
    /// The actions and their order.
    pub transition: Transition,
    /// What each node was worth to each resource.
    pub scores: Vec<ScoreLine>,
    /// What changes, told for people.
    pub changes: Vec<Change>,
    /// What made up those worths.
    pub placements: Placements,
    /// What could not be used of configuration and status, each once.
    pub problems: Vec<Problem>,
}

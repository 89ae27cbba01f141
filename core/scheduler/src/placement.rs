//! Why a node is worth what it is to a resource, kept as data.

use crate::model::{NodeIndex, ResourceId, Score};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What kind of thing gave a share of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A location constraint, or a rule in one.
    Location,
    /// A colocation constraint.
    Colocation,
    /// `resource-stickiness`.
    Stickiness,
    /// A failed operation, or the migration threshold.
    Failure,
    /// `target-role`.
    TargetRole,
    /// A ticket.
    Ticket,
    /// Too little capacity.
    Utilization,
    /// The node's health.
    Health,
    /// The resource is active more often than allowed, not managed, or not configured any more.
    State,
    /// A limit of a clone.
    CloneLimit,
    /// A lock during shutdown.
    ShutdownLock,
    /// The agent's wish to be promoted.
    Promotion,
    /// `symmetric-cluster` and like defaults.
    Default,
}

/// A source with the id of the configuration element, or of what else it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// What kind.
    pub source: Source,
    /// The id.
    pub id: Arc<str>,
    /// The other resource of a colocation.
    pub with: Option<ResourceId>,
}

impl Share {
    pub(crate) fn new(source: Source, id: &str) -> Self {
        Self { source, id: id.into(), with: None }
    }
}

/// One addition to what a node is worth to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// What was added.
    pub score: Score,
    /// Why.
    pub share: Share,
}

/// What set the chosen node of a resource apart from the next best one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// No other node could have been chosen.
    OnlyOne,
    /// Its score is higher.
    Score,
    /// The scores are equal, and it has more free capacity (`placement-strategy`).
    FreeCapacity,
    /// The scores are equal, and less is placed there so far.
    FewerResources,
    /// All of that is equal, and the resource is active there already.
    ActiveThere,
    /// All of that is equal, and its name comes first.
    Name,
}

/// All additions, by resource and node, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Placements {
    shares: BTreeMap<(ResourceId, NodeIndex), Vec<Placement>>,
    choices: BTreeMap<ResourceId, Choice>,
}

impl Placements {
    /// What made up the worth of a node to a resource.
    pub fn shares(&self, resource: ResourceId, node: NodeIndex) -> &[Placement] {
        self.shares.get(&(resource, node)).map_or(&[], Vec::as_slice)
    }

    /// What decided for the node that a resource was given; none where it was given none, or was never free to choose.
    pub fn choice(&self, resource: ResourceId) -> Option<Choice> {
        self.choices.get(&resource).copied()
    }

    pub(crate) fn note_choice(&mut self, resource: ResourceId, choice: Choice) {
        self.choices.insert(resource, choice);
    }

    pub(crate) fn note(&mut self, resource: ResourceId, node: NodeIndex, score: Score, share: &Share) {
        self.shares.entry((resource, node)).or_default().push(Placement { score, share: share.clone() });
    }
}

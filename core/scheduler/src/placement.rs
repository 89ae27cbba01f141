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
}

impl Share {
    pub(crate) fn new(source: Source, id: &str) -> Self {
        Self { source, id: id.into() }
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

/// All additions, by resource and node, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Placements {
    shares: BTreeMap<(ResourceId, NodeIndex), Vec<Placement>>,
}

impl Placements {
    /// What made up the worth of a node to a resource.
    pub fn shares(&self, resource: ResourceId, node: NodeIndex) -> &[Placement] {
        self.shares.get(&(resource, node)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn note(&mut self, resource: ResourceId, node: NodeIndex, score: Score, share: &Share) {
        self.shares.entry((resource, node)).or_default().push(Placement { score, share: share.clone() });
    }
}

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
    /// The clone or bundle that it is a part of cannot use the node, or wants this part on it.
    Collection,
    /// What a container or guest node is for runs only in it, and connections only where guest nodes may be.
    Container,
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
    /// What a node is worth to all resources.
    pub(crate) fn of_node() -> Self {
        Self::new(Source::Default, "node")
    }

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
    /// What was added before counts no more.
    pub replaces: bool,
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

/// All additions in the order in which they were made. Those for a node add up to what it is worth to the resource.
#[derive(Clone, Debug, Default)]
pub struct Placements {
    made: Vec<(ResourceId, NodeIndex, Placement)>,
    choices: BTreeMap<ResourceId, Choice>,
}

impl Placements {
    /// What all nodes are worth to all resources by what is noted of them.
    pub fn sums(&self) -> BTreeMap<(ResourceId, NodeIndex), Score> {
        let mut sums: BTreeMap<_, Score> = BTreeMap::new();
        for (resource, node, made) in &self.made {
            let sum = sums.entry((*resource, *node)).or_default();
            *sum = if made.replaces { made.score } else { made.score.plus(*sum) };
        }
        sums
    }

    /// What made up the worth of a node to a resource.
    pub fn shares(&self, resource: ResourceId, node: NodeIndex) -> Vec<&Placement> {
        let here = self.made.iter().filter(|(of, on, _)| (*of, *on) == (resource, node)).map(|(.., made)| made);
        let mut shares: Vec<&Placement> = here.collect();
        if let Some(last) = shares.iter().rposition(|made| made.replaces) {
            shares.drain(..last);
        }
        shares
    }

    /// What decided for the node that a resource was given; none where it was given none, or was never free to choose.
    pub fn choice(&self, resource: ResourceId) -> Option<Choice> {
        self.choices.get(&resource).copied()
    }

    pub(crate) fn note_choice(&mut self, resource: ResourceId, choice: Choice) {
        self.choices.insert(resource, choice);
    }

    pub(crate) fn note(&mut self, resource: ResourceId, node: NodeIndex, score: Score, share: &Share) {
        self.made.push((resource, node, Placement { score, share: share.clone(), replaces: false }));
    }

    /// Notes what a node is worth from now on, whatever it was worth before.
    pub(crate) fn note_instead(&mut self, resource: ResourceId, node: NodeIndex, score: Score, share: &Share) {
        self.made.push((resource, node, Placement { score, share: share.clone(), replaces: true }));
    }

    /// How much was noted so far, to come back to.
    pub(crate) fn mark(&self) -> usize {
        self.made.len()
    }

    /// Forgets what was noted for some resources after a mark: their tables are again what they were then.
    pub(crate) fn forget_after(&mut self, mark: usize, of: impl Fn(ResourceId) -> bool) {
        let later = self.made.split_off(mark.min(self.made.len()));
        self.made.extend(later.into_iter().filter(|(resource, ..)| !of(*resource)));
    }
}

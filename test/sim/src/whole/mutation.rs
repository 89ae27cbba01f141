//! Faults put into whole sites on purpose, so that it is seen that the checkers catch them.

use super::Rule;
use crate::mutation::Mutation as ClusterMutation;

/// A deliberate fault, made where the simulator stands between the cores and the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Executors are not told of leases.
    GuardsDropped,
    /// The scheduler of a site is not told that a ticket is lost.
    LossesHidden,
    /// Clocks run much faster or slower than allowed for.
    ClocksWild,
    /// A site says that it has stopped while it has not.
    StopLies,
    /// Who asks for a grant is told of one that no member has.
    GrantsInvented,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 5] = [
        Mutation::GuardsDropped,
        Mutation::LossesHidden,
        Mutation::ClocksWild,
        Mutation::StopLies,
        Mutation::GrantsInvented,
    ];

    /// The rules that it breaks: which of them is seen first is left to chance.
    pub fn breaks(self) -> &'static [Rule] {
        match self {
            Mutation::GuardsDropped | Mutation::ClocksWild | Mutation::StopLies => &[Rule::OneHolder],
            Mutation::LossesHidden => &[Rule::OneHolder, Rule::Settles],
            Mutation::GrantsInvented => &[Rule::NothingLost],
        }
    }

    /// What of it is made inside each cluster.
    pub(super) fn in_clusters(self) -> Option<ClusterMutation> {
        match self {
            Mutation::StopLies => Some(ClusterMutation::StopLies),
            _ => None,
        }
    }
}

//! Which of the criteria by which nodes are compared decided for a node: told to people, never used to decide.

use crate::Choice;
use crate::model::{NodeIndex, PlacementStrategy, ResourceId, Score};
use crate::planner::Planner;
use std::cmp::Ordering as Order;

impl Planner {
    /// Notes why `chosen` is better than the best of the other `nodes`.
    pub(super) fn note_choice(
        &mut self,
        resource: ResourceId,
        chosen: Option<NodeIndex>,
        nodes: &[(NodeIndex, Score)],
        running: Option<NodeIndex>,
    ) {
        let usable = |entry: &&(NodeIndex, Score)| entry.1 >= Score::ZERO && self.is_available(entry.0, Some(entry.1));
        let Some(chosen) = nodes.iter().filter(usable).find(|entry| Some(entry.0) == chosen) else { return };
        let next = nodes.iter().filter(usable).find(|entry| entry.0 != chosen.0);
        let choice = next.map_or(Choice::OnlyOne, |next| self.advantage(*chosen, *next, running));
        self.placements.note_choice(resource, choice);
    }

    /// The first criterion of [`Planner::compare_nodes`] in which one node is better than the next.
    fn advantage(&self, best: (NodeIndex, Score), next: (NodeIndex, Score), running: Option<NodeIndex>) -> Choice {
        let strategy = self.model.options.placement_strategy;
        let placed = |node| self.model.node(node).assigned.len();
        if best.1 > next.1 {
            Choice::Score
        } else if strategy == PlacementStrategy::Balanced && self.compare_capacity(best.0, next.0) == Order::Less {
            Choice::FreeCapacity
        } else if strategy != PlacementStrategy::Minimal && placed(best.0) < placed(next.0) {
            Choice::FewerResources
        } else if running == Some(best.0) {
            Choice::ActiveThere
        } else {
            Choice::Name
        }
    }
}

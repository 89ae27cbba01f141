//! Node health: attributes that say how well a node is, turned into location constraints.

use crate::model::{Discovery, HealthStrategy, Role, Score};
use crate::placement::Source;
use crate::planner::Planner;
use crate::values;

impl Planner {
    pub(crate) fn apply_node_health(&mut self) {
        let strategy = self.model.options.health_strategy;
        if strategy == HealthStrategy::None {
            return;
        }
        let base = match strategy {
            HealthStrategy::Progressive => self.model.options.health_base,
            _ => Score::ZERO,
        };
        let colours = self.model.options.health_scores;
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            let health = self
                .model
                .node(node)
                .attributes
                .range("#health".to_owned()..)
                .take_while(|(name, _)| name.starts_with("#health"))
                .filter_map(|(_, value)| values::score(value, &colours))
                .fold(base, |sum, score| score.plus(sum));
            if health == Score::ZERO {
                continue;
            }
            for resource in self.model.top.clone() {
                let spared =
                    health < Score::ZERO && values::is_true(self.resource(resource).meta("allow-unhealthy-nodes"));
                if !spared {
                    let nodes = vec![(node, health)];
                    let name = strategy.name();
                    self.add_location(name, Source::Health, resource, Role::Unknown, Discovery::Always, nodes);
                }
            }
        }
    }
}

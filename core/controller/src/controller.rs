//! The state machine of one node.

use crate::core_types::{Config, Effect, Input};
use hakudo_base::{Instant, Random};

/// The controller of one node.
#[derive(Debug)]
pub struct Controller {
    config: Config,
    random: Random,
}

impl Controller {
    /// A controller that knows no view yet.
    pub fn new(config: Config, seed: u64) -> Self {
        Self { config, random: Random::new(seed) }
    }

    /// Takes one input and appends what is to be done, in order.
    pub fn handle(&mut self, _now: Instant, input: Input, _effects: &mut Vec<Effect>) {
        if let Input::Nodes(nodes) = input {
            self.config.nodes = nodes;
            let _ = self.random.next_u64();
        }
    }

    /// When [`Input::Timer`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}

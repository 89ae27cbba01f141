//! The lines of `crm_simulate -s` as values; their text is exactly Pacemaker's.

use crate::model::Score;
use std::fmt;

/// One line of scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScoreLine {
    /// What a node is worth to a resource when its place is chosen.
    Allocation {
        /// The step of the decision, by the name that Pacemaker prints.
        function: &'static str,
        /// The resource or instance.
        resource: String,
        /// The node's name.
        node: String,
        /// What it is worth.
        score: Score,
    },
    /// How much an instance should be promoted.
    Promotion {
        /// The instance.
        resource: String,
        /// The node where it will run, if anywhere.
        node: Option<String>,
        /// How much.
        score: Score,
    },
}

impl fmt::Display for ScoreLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScoreLine::Allocation { function, resource, node, score } => {
                write!(f, "{function}: {resource} allocation score on {node}: {score}")
            }
            ScoreLine::Promotion { resource, node: Some(node), score } => {
                write!(f, "{resource} promotion score on {node}: {score}")
            }
            ScoreLine::Promotion { resource, node: None, score } => {
                write!(f, "{resource} promotion score (inactive): {score}")
            }
        }
    }
}

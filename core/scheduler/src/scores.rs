//! The lines of `crm_simulate -s` as values; their text is exactly Pacemaker's.

use crate::model::Score;
use std::collections::BTreeMap;
use std::fmt;

/// Amounts by their names, in this order.
pub type Amounts = BTreeMap<String, i64>;

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
    /// What a node has room for.
    Capacity {
        /// `Original` before resources have their places, `Remaining` afterwards.
        when: &'static str,
        /// The node's name.
        node: String,
        /// How much there is.
        amounts: Amounts,
    },
    /// What a resource takes from a node's capacity.
    Utilization {
        /// The step of the decision, by the name that Pacemaker prints.
        function: &'static str,
        /// The resource or instance.
        resource: String,
        /// The node's name.
        node: String,
        /// How much it takes.
        amounts: Amounts,
    },
}

impl ScoreLine {
    /// Whether it is about capacity, not about worth.
    pub fn is_about_capacity(&self) -> bool {
        matches!(self, ScoreLine::Capacity { .. } | ScoreLine::Utilization { .. })
    }
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
            ScoreLine::Capacity { when, node, amounts } => {
                write!(f, "{when}: {node} capacity:")?;
                write_amounts(f, amounts)
            }
            ScoreLine::Utilization { function, resource, node, amounts } => {
                write!(f, "{function}: {resource} utilization on {node}:")?;
                write_amounts(f, amounts)
            }
        }
    }
}

fn write_amounts(f: &mut fmt::Formatter<'_>, amounts: &Amounts) -> fmt::Result {
    amounts.iter().try_for_each(|(name, amount)| write!(f, " {name}={amount}"))
}

//! A plan that was carried out in full, with nothing else happening meanwhile, makes the next plan empty.
//!
//! What was carried out is judged by the agents that really ran. Whatever may rightly change the scheduler's mind is a
//! disturbance, and ends the comparison: a fault, a request, an agent's failure or surprising answer, a new view.

use super::{Rule, Verdict};
use hakudo_membership::ViewId;
use hakudo_scheduler::{Action, ActionKind, Transition};
use std::collections::BTreeSet;

/// What names an operation in a graph and at an agent alike: node, resource, operation, interval.
type Operation = (String, String, String, u64);

/// The checker of plans.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    last: Option<Carried>,
}

/// The newest plan that matters, and what of it did not run yet.
#[derive(Debug)]
struct Carried {
    view: ViewId,
    recheck_by: Option<i64>,
    left: BTreeSet<Operation>,
    made: usize,
}

impl Plans {
    /// Something happened that may change the scheduler's mind.
    pub(crate) fn disturb(&mut self) {
        self.last = None;
    }

    /// An agent did what it was asked, with the result that was to be expected.
    pub(crate) fn done(&mut self, node: &str, resource: &str, operation: &str, interval_ms: u64) {
        if let Some(last) = &mut self.last {
            last.left.remove(&(node.into(), resource.into(), operation.into(), interval_ms));
        }
    }

    /// The leader of a view made a plan. `now` is its calendar clock, in seconds.
    pub(crate) fn made(&mut self, view: ViewId, now: i64, plan: &Transition) -> Verdict {
        let real: Vec<&Action> =
            plan.synapses.iter().map(|synapse| &synapse.action).filter(|action| action.kind != ActionKind::Pseudo).collect();
        let carried_out = self.last.as_ref().is_some_and(|last| {
            last.view == view && last.left.is_empty() && last.made > 0 && last.recheck_by.is_none_or(|by| now < by)
        });
        if carried_out && let Some(action) = real.first() {
            let text = format!("the next plan has {} actions, first {} ({})", real.len(), action.key, action.reason);
            return Err((Rule::PlanConverges, text));
        }
        let operations: Option<BTreeSet<Operation>> = real.iter().map(|action| operation(action)).collect();
        let made = real.len();
        self.last = operations.map(|left| Carried { view, recheck_by: plan.recheck_by, left, made });
        Ok(())
    }
}

/// The operation that an action asks of an agent; none where no agent is asked.
fn operation(action: &Action) -> Option<Operation> {
    let ActionKind::Resource { node, resource, .. } = &action.kind else { return None };
    if matches!(action.task.as_str(), "cancel" | "lrm_delete" | "lrm_refresh") {
        return None;
    }
    let interval = action.key.rsplit('_').next()?.parse().ok()?;
    Some((node.name.clone(), resource.id.clone(), action.task.clone(), interval))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hakudo_base::agent::AgentName;
    use hakudo_scheduler::{NodeRef, ResourceRef, Synapse};

    fn plan(keys: &[(&str, &str)]) -> Transition {
        let agent = AgentName { class: "ocf".into(), provider: None, kind: "Dummy".into() };
        let synapse = |(index, (resource, task)): (usize, &(&str, &str))| Synapse {
            id: index as u32,
            priority: 0,
            inputs: Vec::new(),
            action: Action {
                id: index as u32 + 1,
                key: format!("{resource}_{task}_0"),
                task: (*task).into(),
                kind: ActionKind::Resource {
                    node: NodeRef { id: "1".into(), name: "n1".into() },
                    router: None,
                    resource: ResourceRef { id: (*resource).into(), long_id: None, agent: agent.clone() },
                },
                attributes: Default::default(),
                reason: String::new(),
            },
        };
        Transition { synapses: keys.iter().enumerate().map(synapse).collect(), ..Default::default() }
    }

    #[test]
    fn a_plan_after_one_that_was_carried_out_must_be_empty() {
        let view = ViewId { epoch: 1, leader: 1 };
        let mut plans = Plans::default();
        plans.made(view, 0, &plan(&[("a", "start")])).unwrap();
        plans.made(view, 0, &plan(&[("a", "start")])).unwrap();
        plans.done("n1", "a", "start", 0);
        plans.made(view, 0, &plan(&[])).unwrap();

        plans.made(view, 0, &plan(&[("a", "start")])).unwrap();
        plans.done("n1", "a", "start", 0);
        assert_eq!(plans.made(view, 0, &plan(&[("a", "stop")])).unwrap_err().0, Rule::PlanConverges);

        plans.made(view, 0, &plan(&[("a", "start")])).unwrap();
        plans.done("n1", "a", "start", 0);
        plans.disturb();
        plans.made(view, 0, &plan(&[("a", "stop")])).unwrap();
    }
}

//! A plan that was carried out in full, with nothing else happening meanwhile, makes the next plan empty.
//!
//! What was carried out is judged by the agents that really ran. Whatever may rightly change the scheduler's mind is a
//! disturbance, and ends the comparison: a fault, a request, another configuration than before, an agent's failure or
//! surprising answer, a new view, an executor that is back without memory (a plan made while it was away has its node's
//! copies as they were before, the next one probes them: Pacemaker does so too after a resource's history is gone). So is
//! any probe of a promotable resource: a node's promotion score counts only where the state of the copy there is known, so
//! the plan that asks for the probe is made without the score, and the next one with it. And so is an operation that was on
//! its way when the plan was made: its result, which may be long in coming to the leader, was no part of that decision. The word
//! of an executor that it forgot everything may be long in coming, too.
//!
//! The last excuse is the scheduler itself. A resource that is to run with a clone adds its stickiness to the scores of the
//! clone's nodes, but only once it runs (Pacemaker Explained, "resource-stickiness": "how much the resource prefers to stay
//! where it is"). So the plan that starts it is made without that score, and the next one, made with it, may promote another
//! instance. This is Pacemaker's way. Hence a next plan that is not empty is held against the one that the scheduler makes
//! on paper, of the same document and with the same plan carried out to the letter: nothing may be in it that is not in that
//! one, and explained there by ties between resources. Where such plans do not come to rest, the cluster will not settle.
//!
//! Two things in a plan do not count. Notifications change nothing: they belong to what they announce, and where that is
//! blocked (the stop of a copy on a lost node that cannot be fenced), Pacemaker announces it in every plan. And a step that
//! waits for something that is not in the graph never begins: Pacemaker leaves the monitor of a resource there whose start
//! was blocked by a colocation, and its own simulator calls that an invalid transition.

use super::{Rule, Verdict};
use crate::mutation::Mutation;
use crate::paper;
use hakudo_cib::Document;
use hakudo_membership::ViewId;
use hakudo_scheduler::{Action, ActionId, ActionKind, Synapse, Transition};
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
    /// What it was made from, and when.
    cib: Document,
    now: i64,
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

    /// The leader of a view made a plan from `cib`. `now` is its calendar clock, in seconds. A scheduler that is wrong on
    /// purpose is so on paper as well.
    pub(crate) fn made(
        &mut self,
        view: ViewId,
        now: i64,
        cib: &Document,
        plan: &Transition,
        mutation: Option<Mutation>,
    ) -> Verdict {
        self.made_of(view, now, cib, plan.recheck_by, steps(plan), |before| {
            paper::next_steps(&before.cib, before.now, now, mutation)
        })
    }

    /// `on_paper` is what the scheduler wants once a plan was carried out to the letter.
    fn made_of(
        &mut self,
        view: ViewId,
        now: i64,
        cib: &Document,
        recheck_by: Option<i64>,
        steps: Vec<Step>,
        on_paper: impl FnOnce(&Carried) -> BTreeSet<String>,
    ) -> Verdict {
        let carried_out = self.last.take().filter(|last| {
            let configuration = |cib: &Document| cib.section(&["configuration"]).cloned();
            last.view == view
                && last.left.is_empty()
                && last.made > 0
                && last.recheck_by.is_none_or(|by| now < by)
                && configuration(&last.cib) == configuration(cib)
        });
        if let Some(before) = carried_out.filter(|_| !steps.is_empty()) {
            let known = on_paper(&before);
            if let Some(step) = steps.iter().find(|step| !known.contains(&step.name)) {
                return Err((
                    Rule::PlanConverges,
                    format!("the next plan has {} actions, among them {} ({})", steps.len(), step.name, step.reason),
                ));
            }
        }
        let made = steps.len();
        let operations: Option<BTreeSet<Operation>> = steps.into_iter().map(|step| step.operation).collect();
        self.last = operations.map(|left| Carried { view, cib: cib.clone(), now, recheck_by, left, made });
        Ok(())
    }
}

/// It is more than a mark in the graph, and more than word of something else.
pub(crate) fn changes(action: &Action) -> bool {
    action.kind != ActionKind::Pseudo && action.task != "notify"
}

/// The steps of a plan that count.
fn steps(plan: &Transition) -> Vec<Step> {
    let step = |action: &Action| Step {
        operation: operation(action),
        name: paper::name(action),
        reason: action.reason.clone(),
    };
    possible(plan).into_iter().filter(|action| changes(action)).map(step).collect()
}

/// The actions that can begin some time, if all goes well.
pub(crate) fn possible(plan: &Transition) -> Vec<&Action> {
    let mut reached: BTreeSet<ActionId> = BTreeSet::new();
    loop {
        let before = reached.len();
        let can_begin = |synapse: &&Synapse| synapse.inputs.iter().all(|input| reached.contains(input));
        let more: Vec<ActionId> = plan.synapses.iter().filter(can_begin).map(|synapse| synapse.action.id).collect();
        reached.extend(more);
        if reached.len() == before {
            break;
        }
    }
    plan.synapses.iter().map(|synapse| &synapse.action).filter(|action| reached.contains(&action.id)).collect()
}

/// An action that is more than a mark in the graph.
struct Step {
    operation: Option<Operation>,
    /// Tells it from all others of its plan.
    name: String,
    reason: String,
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

    const VIEW: ViewId = ViewId { epoch: 1, leader: 1 };

    fn made(plans: &mut Plans, resources: &[&str], on_paper: &[&str]) -> Verdict {
        let step = |resource: &&str| Step {
            operation: Some(("n1".into(), (*resource).into(), "start".into(), 0)),
            name: (*resource).into(),
            reason: String::new(),
        };
        let cib = Document::parse("<cib/>").unwrap();
        let on_paper = on_paper.iter().map(|name| (*name).to_owned()).collect();
        plans.made_of(VIEW, 0, &cib, None, resources.iter().map(step).collect(), |_| on_paper)
    }

    #[test]
    fn a_plan_after_one_that_was_carried_out_must_be_empty() {
        let mut plans = Plans::default();
        made(&mut plans, &["a"], &[]).unwrap();
        made(&mut plans, &["a"], &[]).unwrap();
        plans.done("n1", "a", "start", 0);
        made(&mut plans, &[], &[]).unwrap();

        made(&mut plans, &["a"], &[]).unwrap();
        plans.done("n1", "a", "start", 0);
        assert_eq!(made(&mut plans, &["b"], &[]).unwrap_err().0, Rule::PlanConverges);
    }

    #[test]
    fn a_disturbance_or_an_unfinished_plan_excuses_the_next() {
        let mut plans = Plans::default();
        made(&mut plans, &["a"], &[]).unwrap();
        plans.done("n1", "a", "start", 0);
        plans.disturb();
        made(&mut plans, &["b", "c"], &[]).unwrap();
        plans.done("n1", "b", "start", 0);
        made(&mut plans, &["c"], &[]).unwrap();
    }

    #[test]
    fn what_the_scheduler_wants_next_on_paper_is_excused_and_nothing_else() {
        let mut plans = Plans::default();
        made(&mut plans, &["a"], &[]).unwrap();
        plans.done("n1", "a", "start", 0);
        made(&mut plans, &["b"], &["b", "c"]).unwrap();
        plans.done("n1", "b", "start", 0);
        assert_eq!(made(&mut plans, &["b", "c"], &["b"]).unwrap_err().0, Rule::PlanConverges);
    }
}

//! A plan that was carried out in full, with nothing else happening meanwhile, makes the next plan empty.
//!
//! What was carried out is judged by the agents that really ran. Whatever may rightly change the scheduler's mind is a
//! disturbance, and ends the comparison: a fault, a request, an agent's failure or surprising answer, a new view, an
//! executor that is back without memory (a plan made while it was away has its node's copies as they were before, the next
//! one probes them: Pacemaker does so too after a resource's history is gone). So is any
//! probe of a promotable resource: a node's promotion score counts only where the state of the copy there is known, so the
//! plan that asks for the probe is made without the score, and the next one with it. And so is an operation that was on its
//! way when the plan was made: its result, which may be long in coming to the leader, was no part of that decision.
//!
//! The last excuse is a place that is held on to. A resource that is to run with a clone adds its stickiness to the scores
//! of the clone's nodes, but only once it runs (Pacemaker Explained, "resource-stickiness": "how much the resource prefers
//! to stay where it is"). So the plan that starts it is made without that score, and the next one, made with it, may
//! promote another instance. This is Pacemaker's way, and it comes to rest: where it did not, the cluster would not settle.
//!
//! Two things in a plan do not count. Notifications change nothing: they belong to what they announce, and where that is
//! blocked (the stop of a copy on a lost node that cannot be fenced), Pacemaker announces it in every plan. And a step that
//! waits for something that is not in the graph never begins: Pacemaker leaves the monitor of a resource there whose start
//! was blocked by a colocation, and its own simulator calls that an invalid transition.

use super::settled::{score, value};
use super::{Rule, Verdict};
use hakudo_cib::{Document, Element};
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

    /// The leader of a view made a plan from `cib`. `now` is its calendar clock, in seconds.
    pub(crate) fn made(&mut self, view: ViewId, now: i64, cib: &Document, plan: &Transition) -> Verdict {
        let steps: Vec<Step> = possible(plan)
            .into_iter()
            .filter(|action| action.kind != ActionKind::Pseudo && action.task != "notify")
            .map(|action| Step { operation: operation(action), text: format!("{} ({})", action.key, action.reason) })
            .collect();
        let begins = |step: &Step, primitive: &String| {
            step.operation.as_ref().is_some_and(|(_, resource, task, _)| task == "start" && resource == primitive)
        };
        let clinging = clinging(cib);
        let settles_down = clinging.iter().any(|primitive| steps.iter().any(|step| begins(step, primitive)));
        self.made_of(view, now, plan.recheck_by, steps)?;
        if settles_down {
            self.disturb();
        }
        Ok(())
    }

    fn made_of(&mut self, view: ViewId, now: i64, recheck_by: Option<i64>, steps: Vec<Step>) -> Verdict {
        let carried_out = self.last.as_ref().is_some_and(|last| {
            last.view == view && last.left.is_empty() && last.made > 0 && last.recheck_by.is_none_or(|by| now < by)
        });
        if carried_out && let Some(step) = steps.first() {
            return Err((
                Rule::PlanConverges,
                format!("the next plan has {} actions, first {}", steps.len(), step.text),
            ));
        }
        let made = steps.len();
        let operations: Option<BTreeSet<Operation>> = steps.into_iter().map(|step| step.operation).collect();
        self.last = operations.map(|left| Carried { view, recheck_by, left, made });
        Ok(())
    }
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
    text: String,
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

/// The primitives that hold on to their node and are placed, directly or by way of others, together with a clone.
fn clinging(cib: &Document) -> BTreeSet<String> {
    let empty = Element::new("none");
    let section = |name: &str| cib.section(&["configuration", name]).unwrap_or(&empty);
    let pairs: Vec<(&str, &str)> = section("constraints")
        .children_named("rsc_colocation")
        .filter_map(|constraint| Some((constraint.attribute("rsc")?, constraint.attribute("with-rsc")?)))
        .collect();
    let mut with_clone: BTreeSet<&str> = section("resources").children_named("clone").map(Element::id).collect();
    for _ in 0..pairs.len() {
        with_clone.extend(
            pairs.iter().filter(|(_, with)| with_clone.contains(with)).map(|(rsc, _)| *rsc).collect::<Vec<_>>(),
        );
    }
    let clings = |resource: &&Element| {
        let stickiness = value(resource, "meta_attributes", "resource-stickiness").map_or(0, score);
        resource.name() != "clone" && stickiness > 0 && with_clone.contains(resource.id())
    };
    section("resources")
        .children()
        .filter(clings)
        .flat_map(Element::descendants)
        .filter(|element| element.name() == "primitive")
        .map(|primitive| primitive.id().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_placed_with_a_clone_and_holds_on_to_its_node_excuses_the_next_plan() {
        let clinging = |stickiness: u32, with: &str| {
            let cib = format!(
                "<cib><configuration><resources><clone id='c'><primitive id='c-1'/></clone><primitive id='p'/>\
                 <group id='g'><meta_attributes id='m'><nvpair id='s' name='resource-stickiness' value='{stickiness}'/>\
                 </meta_attributes><primitive id='g-1'/></group></resources><constraints>\
                 <rsc_colocation id='1' rsc='g' with-rsc='{with}'/><rsc_colocation id='2' rsc='x' with-rsc='c'/>\
                 </constraints></configuration></cib>"
            );
            super::clinging(&Document::parse(&cib).unwrap()).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(clinging(1, "c"), ["g-1"]);
        assert_eq!(clinging(1, "x"), ["g-1"]);
        assert!(clinging(0, "c").is_empty());
        assert!(clinging(1, "p").is_empty());
    }

    const VIEW: ViewId = ViewId { epoch: 1, leader: 1 };

    fn made(plans: &mut Plans, resources: &[&str]) -> Verdict {
        let step = |resource: &&str| Step {
            operation: Some(("n1".into(), (*resource).into(), "start".into(), 0)),
            text: (*resource).into(),
        };
        plans.made_of(VIEW, 0, None, resources.iter().map(step).collect())
    }

    #[test]
    fn a_plan_after_one_that_was_carried_out_must_be_empty() {
        let mut plans = Plans::default();
        made(&mut plans, &["a"]).unwrap();
        made(&mut plans, &["a"]).unwrap();
        plans.done("n1", "a", "start", 0);
        made(&mut plans, &[]).unwrap();

        made(&mut plans, &["a"]).unwrap();
        plans.done("n1", "a", "start", 0);
        assert_eq!(made(&mut plans, &["b"]).unwrap_err().0, Rule::PlanConverges);
    }

    #[test]
    fn a_disturbance_or_an_unfinished_plan_excuses_the_next() {
        let mut plans = Plans::default();
        made(&mut plans, &["a"]).unwrap();
        plans.done("n1", "a", "start", 0);
        plans.disturb();
        made(&mut plans, &["b", "c"]).unwrap();
        plans.done("n1", "b", "start", 0);
        made(&mut plans, &["c"]).unwrap();
    }
}

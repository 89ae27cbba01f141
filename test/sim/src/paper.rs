//! The scheduler by itself, on paper: what it would want next if its plan were carried out to the letter.
//!
//! Pacemaker's decisions, which are followed case by case, do not always come to rest after one plan, and now and then never: a
//! resource that only begins to run adds its stickiness to a clone that it is placed with; instances that must not be
//! together change places for ever. The cores that carry plans out are not to blame for that. Whoever excuses a cluster with
//! this asks here whether the scheduler alone does the same.
//!
//! A scheduler that is never content must not be excused by its own word. So what it wants more than once has to be explained
//! step by step by constraints that tie resources to each other ([`ties`]).

mod ties;

use crate::mutation::Mutation;
use crate::route::decide;
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_scheduler::simulate::carry_out;
use hakudo_scheduler::{Action, Transition, plan};
use std::collections::BTreeSet;

/// So many plans in a row that each want something lead nowhere.
const LAPS: u32 = 24;

/// The names of the steps that the scheduler may want of a document at `now`, in seconds since 1970, once `before` was carried
/// out to the letter.
pub(crate) fn next_steps(before: &Document, made_at: i64, now: i64, mutation: Option<Mutation>) -> BTreeSet<String> {
    let Ok(plan) = decide(before, made_at, mutation) else { return BTreeSet::new() };
    let cib = after(before, &plan, made_at);
    let Ok(next) = decide(&cib, now, mutation) else { return BTreeSet::new() };
    let deleted = actions(&next).filter(|action| is_deletion_put_off(action, &plan));
    ties::explained(&cib, &next).0.into_iter().chain(deleted).map(name).collect()
}

/// What a removed resource left behind is deleted by the plan that stops it, but not where it failed (Pacemaker cleans no
/// failed resource up): then the next plan, to which the stop that went well is the newest result, has the deletion.
fn is_deletion_put_off(action: &Action, before: &Transition) -> bool {
    let resource = action.key.strip_suffix("_delete_0");
    let had = |key: String| actions(before).any(|action| action.key == key);
    resource.is_some_and(|resource| had(format!("{resource}_stop_0")) && !had(format!("{resource}_delete_0")))
}

fn actions(plan: &Transition) -> impl Iterator<Item = &Action> {
    plan.synapses.iter().map(|synapse| &synapse.action)
}

fn after(cib: &Document, transition: &Transition, now: i64) -> Document {
    let model = plan(cib, UnixTime::from_seconds(now)).model;
    let names: BTreeSet<&str> = model
        .resources()
        .flat_map(|(_, resource)| [Some(resource.id.as_str()), resource.history_id.as_deref()])
        .flatten()
        .collect();
    carry_out(cib.clone(), transition, &|id| names.contains(id), &[], now).document
}

/// The scheduler's plans, each carried out to the letter, never come to an end, and ties between resources explain all that
/// they want.
pub(crate) fn goes_in_circles(cib: &Document, now: i64, mutation: Option<Mutation>) -> bool {
    let mut cib = cib.clone();
    for _ in 0..LAPS {
        let Ok(plan) = decide(&cib, now, mutation) else { return false };
        let (steps, all) = ties::explained(&cib, &plan);
        if !all || steps.is_empty() {
            return false;
        }
        cib = after(&cib, &plan, now);
    }
    true
}

/// Tells an action from all others of its plan.
pub(crate) fn name(action: &Action) -> String {
    format!("{} on {}", action.key, action.node().map_or("no node", |node| &node.name))
}

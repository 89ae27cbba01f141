//! What each node must stop by itself when the lease of a ticket ends and nobody is there to decide.
//!
//! It is what the scheduler itself would do: two more plans are made as if the tickets were lost, one of what is and one of
//! what will be once the present plan is carried out, so that what is half way is in it, too. Of these plans a ticket's part
//! is taken: what is stopped or demoted of the resources that need it, and what has to be stopped before.
//!
//! Nodes act alone then. So only the order on each node counts, and what other nodes do first is not waited for.

use crate::planner::Planner;
use crate::transition::{Action, ActionId, ActionKind, GuardStep, Synapse, TicketGuard, Transition};
use crate::{Plan, Purpose, current_schema, decide, simulate};
use hakudo_base::WallTime;
use hakudo_cib::{Document, Element};
use std::collections::{BTreeMap, BTreeSet};

/// The guards of all tickets that a group granted here (`owner` of `<ticket_state>`): leases of others have no end.
pub(crate) fn guards(cib: &Document, now: WallTime, plan: &Plan) -> Vec<TicketGuard> {
    let leased = |name: &&String| {
        let state = plan.model.tickets.get(*name);
        state.is_some_and(|ticket| ticket.granted && ticket.state.contains_key("owner"))
    };
    let tickets: Vec<&String> = plan.transition.tickets.keys().filter(leased).collect();
    if tickets.is_empty() {
        return Vec::new();
    }
    let cib = current_schema(cib);
    let mut lost: Vec<Transition> = Vec::new();
    if !plan.transition.synapses.is_empty() {
        lost.push(plan_of_loss(carried_out(&cib, now, plan), now, &tickets));
    }
    lost.push(plan_of_loss(cib, now, &tickets));
    let lost: Vec<Loss<'_>> = lost.iter().map(Loss::new).collect();
    let guard = |name: &&String| {
        let used = plan.transition.tickets.get(*name)?;
        let mut union = Union::default();
        lost.iter().for_each(|loss| union.add(loss, &used.resources));
        Some(TicketGuard { ticket: (*name).clone(), fence: used.fence, steps: union.in_order() })
    };
    tickets.iter().filter_map(guard).collect()
}

/// What the cluster will be.
fn carried_out(cib: &Document, now: WallTime, plan: &Plan) -> Document {
    let names: BTreeSet<&str> = plan
        .model
        .resources()
        .flat_map(|(_, resource)| [Some(resource.id.as_str()), resource.history_id.as_deref()])
        .flatten()
        .collect();
    simulate::carry_out(cib.clone(), &plan.transition, &|id| names.contains(id), &[], now.seconds()).document
}

/// The plan if these tickets were lost. Nobody is fenced for it, because whoever would be is asked to stop here.
fn plan_of_loss(mut cib: Document, now: WallTime, tickets: &[&String]) -> Transition {
    let root = cib.root_mut();
    if let Some(states) = root.child_mut("status").and_then(|status| status.child_mut("tickets")) {
        for state in states.children_mut().filter(|state| tickets.iter().any(|name| *name == state.id())) {
            state.set("granted", "false");
        }
    }
    if let Some(all) = root.child_mut("configuration").and_then(|section| section.child_mut("constraints")) {
        for constraint in all.children_mut().filter(|constraint| constraint.name() == "rsc_ticket") {
            if constraint.attribute("loss-policy").is_some_and(|policy| policy.eq_ignore_ascii_case("fence")) {
                constraint.set("loss-policy", "stop");
            }
        }
    }
    if let Some(status) = cib.root_mut().child_mut("status") {
        status.children_mut().for_each(forget_failed_stops);
    }
    decide(&cib, now, Purpose::Execution, &mut |_| (), |_: &mut Planner| ()).0.transition
}

/// What could not be stopped is active, and nothing else is known of it. The cluster has its node fenced or leaves it to a
/// person, and so would not stop it in any plan. Whoever ends a lease tries once more, and resets the machine if that fails.
fn forget_failed_stops(element: &mut Element) {
    if is_failed_stop(element) {
        let key = element.attribute("operation_key").and_then(|key| key.strip_suffix("_stop_0"));
        if let Some(key) = key.map(|resource| format!("{resource}_start_0")) {
            element.set("operation_key", &key);
        }
        for (name, value) in [("operation", "start"), ("rc-code", "0"), ("op-status", "0")] {
            element.set(name, value);
        }
        element.unset("transition-magic");
    } else if element.descendants().any(is_failed_stop) {
        // Others are shared with the document that this one was made from.
        element.children_mut().for_each(forget_failed_stops);
    }
}

fn is_failed_stop(entry: &Element) -> bool {
    let is = |name: &str, values: &[&str]| entry.attribute(name).is_some_and(|value| values.contains(&value));
    entry.name() == "lrm_rsc_op"
        && is("operation", &["stop"])
        && !is("op-status", &["-1"])
        && !is("rc-code", &["0", "7"])
}

/// Node, resource and task: what makes an action of one plan the same as one of another.
type Key = (String, String, String);

/// The parts of several plans put together.
#[derive(Default)]
struct Union {
    /// In the order in which they were found.
    keys: Vec<Key>,
    actions: BTreeMap<Key, Action>,
    /// The first of each pair is done before the second.
    before: BTreeSet<(Key, Key)>,
}

/// A plan with its steps by their actions.
struct Loss<'a> {
    transition: &'a Transition,
    synapses: BTreeMap<ActionId, &'a Synapse>,
}

impl<'a> Loss<'a> {
    fn new(transition: &'a Transition) -> Self {
        let synapses = transition.synapses.iter().map(|synapse| (synapse.action.id, synapse)).collect();
        Self { transition, synapses }
    }

    /// What takes these resources away, and all that comes before it.
    fn wanted(&self, resources: &BTreeSet<String>) -> BTreeSet<ActionId> {
        let of_them = |synapse: &&Synapse| key(&synapse.action).is_some_and(|(_, name, _)| resources.contains(&name));
        let mut unseen: Vec<&Synapse> = self.transition.synapses.iter().filter(of_them).collect();
        let mut seen = BTreeSet::new();
        while let Some(synapse) = unseen.pop() {
            if seen.insert(synapse.action.id) {
                unseen.extend(synapse.inputs.iter().filter_map(|input| self.synapses.get(input)));
            }
        }
        seen
    }
}

impl Union {
    fn add(&mut self, loss: &Loss<'_>, resources: &BTreeSet<String>) {
        let wanted = loss.wanted(resources);
        for synapse in loss.transition.synapses.iter().filter(|synapse| wanted.contains(&synapse.action.id)) {
            let Some(key) = key(&synapse.action) else { continue };
            for first in nearest_before(synapse, &loss.synapses, &key.0) {
                self.before.insert((first, key.clone()));
            }
            if !self.actions.contains_key(&key) {
                self.keys.push(key.clone());
                self.actions.insert(key, synapse.action.clone());
            }
        }
    }

    /// Each after what comes before it. Where plans contradict each other, the one found first goes first.
    fn in_order(mut self) -> Vec<GuardStep> {
        let found: BTreeMap<&Key, usize> = self.keys.iter().enumerate().map(|(place, key)| (key, place)).collect();
        let (mut before, mut behind) = (vec![BTreeSet::new(); found.len()], vec![Vec::new(); found.len()]);
        for (first, then) in &self.before {
            if let (Some(&first), Some(&then)) = (found.get(first), found.get(then)) {
                before[then].insert(first);
                behind[first].push(then);
            }
        }
        let mut waits_for: Vec<usize> = before.iter().map(BTreeSet::len).collect();
        let mut left: BTreeSet<usize> = (0..found.len()).collect();
        let mut ready: BTreeSet<usize> = left.iter().copied().filter(|place| waits_for[*place] == 0).collect();
        let mut places: BTreeMap<usize, u32> = BTreeMap::new();
        let mut steps = Vec::new();
        while let Some(next) = ready.pop_first().or_else(|| left.first().copied()) {
            left.remove(&next);
            for &then in &behind[next] {
                waits_for[then] -= 1;
                if waits_for[then] == 0 && left.contains(&then) {
                    ready.insert(then);
                }
            }
            let Some(action) = self.actions.remove(&self.keys[next]) else { continue };
            let after = before[next].iter().filter_map(|first| places.get(first)).copied();
            steps.push(GuardStep { action, after: after.collect() });
            places.insert(next, u32::try_from(steps.len() - 1).unwrap_or(u32::MAX));
        }
        steps
    }
}

/// Of a step that takes a resource away.
fn key(action: &Action) -> Option<Key> {
    let ActionKind::Resource { resource, .. } = &action.kind else { return None };
    let node = &action.performer()?.name;
    matches!(action.task.as_str(), "stop" | "demote").then(|| (node.clone(), resource.id.clone(), action.task.clone()))
}

/// The steps on the same node that this one waits for, over whatever lies between.
fn nearest_before(synapse: &Synapse, synapses: &BTreeMap<ActionId, &Synapse>, node: &str) -> BTreeSet<Key> {
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut unseen: Vec<ActionId> = synapse.inputs.clone();
    while let Some(input) = unseen.pop() {
        let Some(before) = synapses.get(&input).filter(|_| seen.insert(input)) else { continue };
        match key(&before.action) {
            Some(key) if key.0 == node => _ = found.insert(key),
            _ => unseen.extend(&before.inputs),
        }
    }
    found
}

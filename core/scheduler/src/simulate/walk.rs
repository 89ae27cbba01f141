//! The walk over the graph.

use super::Step;
use super::record::{self, Done, OperationResult};
use super::status::Status;
use crate::transition::{Action, ActionId, ActionKind, NodeRef, ResourceRef, Synapse, Transition};
use hakudo_base::agent::exit_code;
use hakudo_cib::Document;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The priority of steps that go on even where others failed.
const INFINITY: i32 = 1_000_000;

/// What became of a transition.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The document with the status afterwards.
    pub document: Document,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// Every step could be done, or the rest was given up because of a failure that was asked for. False means that the graph
    /// waits for itself: it is no valid plan.
    pub complete: bool,
}

/// Carries a transition out.
///
/// `known` says whether a resource of the model has an id, as instance or as a node's history names it. `failures` are the results that
/// operations have instead of those that the plan expects; after the first, only steps that must happen anyway are done. `now` is in seconds
/// since 1970.
pub fn carry_out(
    document: Document,
    transition: &Transition,
    known: &dyn Fn(&str) -> bool,
    failures: &[OperationResult],
    now: i64,
) -> Outcome {
    let mut walk = Walk {
        status: Status::new(document),
        steps: Vec::new(),
        known,
        failures,
        now,
        failed: false,
        start_failure_is_fatal: transition.failed_start_is_fatal,
    };
    let complete = walk.all(&transition.synapses);
    Outcome { document: walk.status.into_document(), steps: walk.steps, complete }
}

struct Walk<'a> {
    status: Status,
    steps: Vec<Step>,
    known: &'a dyn Fn(&str) -> bool,
    failures: &'a [OperationResult],
    now: i64,
    /// Something failed: only what must happen anyway goes on.
    failed: bool,
    start_failure_is_fatal: bool,
}

impl Walk<'_> {
    /// Does the steps in the order of passes over the graph. True where none is left that could ever be done.
    ///
    /// A step that becomes ready while the pass has not come to it yet is done in this pass, else in the next one.
    fn all(&mut self, synapses: &[Synapse]) -> bool {
        let mut waiting: Vec<usize> = synapses.iter().map(|synapse| synapse.inputs.len()).collect();
        let mut waiters: BTreeMap<ActionId, Vec<usize>> = BTreeMap::new();
        for (index, synapse) in synapses.iter().enumerate() {
            for input in &synapse.inputs {
                waiters.entry(*input).or_default().push(index);
            }
        }
        let mut this_pass: BinaryHeap<Reverse<usize>> =
            (0..synapses.len()).filter(|index| waiting[*index] == 0).map(Reverse).collect();
        let mut next_pass = BinaryHeap::new();
        let mut done = 0;
        loop {
            while let Some(Reverse(index)) = this_pass.pop() {
                let synapse = &synapses[index];
                if self.failed
                    && !matches!(synapse.action.kind, ActionKind::Pseudo | ActionKind::PseudoFencing { .. })
                    && synapse.priority < INFINITY
                {
                    continue;
                }
                let went_well = self.fire(&synapse.action);
                done += 1;
                for &waiter in waiters.get(&synapse.action.id).into_iter().flatten() {
                    if !went_well && synapses[waiter].priority < INFINITY {
                        continue;
                    }
                    waiting[waiter] -= 1;
                    if waiting[waiter] == 0 {
                        let pass = if waiter > index { &mut this_pass } else { &mut next_pass };
                        pass.push(Reverse(waiter));
                    }
                }
            }
            if next_pass.is_empty() {
                return done == synapses.len() || self.failed;
            }
            std::mem::swap(&mut this_pass, &mut next_pass);
        }
    }

    /// Does one action. False where it was made to fail.
    fn fire(&mut self, action: &Action) -> bool {
        match &action.kind {
            ActionKind::Pseudo => {
                self.steps.push(Step::Pseudo { key: action.key.clone(), node: None });
                true
            }
            ActionKind::PseudoFencing { node } => {
                self.steps.push(Step::Pseudo { key: action.key.clone(), node: Some(node.name.clone()) });
                true
            }
            ActionKind::Cluster { node, .. } if action.task == "stonith" => {
                self.fence(action, node);
                true
            }
            ActionKind::Cluster { node, resource, .. } => {
                self.steps.push(Step::Cluster {
                    task: action.task.clone(),
                    resource: resource.as_ref().map(|resource| resource.id.clone()),
                    node: node.name.clone(),
                });
                true
            }
            ActionKind::Resource { node, router, resource } => self.operate(action, node, router.is_some(), resource),
        }
    }

    /// A fenced node is cleanly down and has forgotten everything; an unfenced one is as before.
    fn fence(&mut self, action: &Action, node: &NodeRef) {
        let how = action.attributes.get("CRM_meta_stonith_action").cloned().unwrap_or_default();
        self.steps.push(Step::Fencing { node: node.name.clone(), action: how.clone() });
        if how.eq_ignore_ascii_case("on") {
            return;
        }
        let state = self.status.state_or_new(&node.name, &node.id);
        for (name, value) in [
            ("in_ccm", "false"),
            ("crmd", "offline"),
            ("join", "down"),
            ("expected", "down"),
            ("crm-debug-origin", record::ORIGIN),
        ] {
            state.set(name, value);
        }
        self.status.clear(&node.name);
    }

    /// An operation has the result that the plan expects, unless somebody asked for another one.
    fn operate(&mut self, action: &Action, node: &NodeRef, routed: bool, resource: &ResourceRef) -> bool {
        if action.task == "probe_complete" {
            return true;
        }
        let name = match &resource.long_id {
            Some(long) if !(self.known)(&resource.id) && (self.known)(long) => long.as_str(),
            _ => resource.id.as_str(),
        };
        if matches!(action.task.as_str(), "delete" | "meta-data") {
            self.steps.push(Step::Resource {
                resource: name.to_owned(),
                operation: action.task.clone(),
                interval_ms: 0,
                node: node.name.clone(),
            });
            return true;
        }
        let number = |name: &str| action.attributes.get(name).and_then(|text| text.parse::<i64>().ok());
        let interval_ms = number("CRM_meta_interval").and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
        let target = number("CRM_meta_op_target_rc").and_then(|code| i32::try_from(code).ok()).unwrap_or(exit_code::OK);
        self.steps.push(Step::Resource {
            resource: name.to_owned(),
            operation: action.task.clone(),
            interval_ms,
            node: node.name.clone(),
        });
        self.status.state_or_new(&node.name, if routed { &node.name } else { &node.id });
        let failure = self.failures.iter().find(|failure| {
            (failure.resource.eq_ignore_ascii_case(name) || failure.resource.eq_ignore_ascii_case(&resource.id))
                && failure.task.eq_ignore_ascii_case(&action.task)
                && failure.interval_ms == interval_ms
                && failure.node.eq_ignore_ascii_case(&node.name)
        });
        if let Some(failure) = failure {
            self.failed = true;
            self.steps.push(Step::Failed { action: action.id, exit_code: failure.exit_code });
            self.count_failure(&node.name, failure);
        }
        let done = Done {
            task: &action.task,
            interval_ms,
            node: &node.name,
            exit_code: failure.map_or(target, |failure| failure.exit_code),
            target,
            exit_reason: "User-injected result",
            attributes: Some(&action.attributes),
            now: self.now,
        };
        if let Some(history) = self.status.history(&node.name, &[name, &resource.id]) {
            record::record(history, &done);
        } else if let Some(history) = self.status.new_history(&node.name, record::empty_history(&resource.id, resource))
        {
            record::record(history, &done);
        }
        failure.is_none()
    }

    fn count_failure(&mut self, node: &str, failure: &OperationResult) {
        let for_good = match failure.task.as_str() {
            "start" => self.start_failure_is_fatal,
            "stop" => true,
            _ => false,
        };
        count_failure(&mut self.status, &mut self.steps, node, failure, for_good, self.now);
    }
}

/// Raises the fail count of an operation, to INFINITY where the failure is one `for_good`.
pub(super) fn count_failure(
    status: &mut Status,
    steps: &mut Vec<Step>,
    node: &str,
    failure: &OperationResult,
    for_good: bool,
    now: i64,
) {
    let harmless =
        failure.exit_code == exit_code::OK || (failure.exit_code == exit_code::NOT_RUNNING && failure.interval_ms == 0);
    if harmless {
        return;
    }
    let (count, last) = record::failure_attributes(&failure.resource, &failure.task, failure.interval_ms);
    let before = status.attribute(node, &count).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
    let value = if for_good { "INFINITY".to_owned() } else { before.saturating_add(1).to_string() };
    for (name, value) in [(count, value), (last, now.to_string())] {
        status.set_attribute(node, &name, &value);
        steps.push(Step::Attribute { name, value, node: status.state_id(node) });
    }
}

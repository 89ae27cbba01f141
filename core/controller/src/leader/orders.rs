//! From the actions of a graph to commands.

use crate::command::{Command, Step};
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::options::WithoutQuorum;
use crate::status::{Digests, Order};
use hakudo_base::{NodeId, Severity};
use hakudo_cib::digest;
use hakudo_scheduler::{Action, ActionKind, ResourceRef};
use std::time::Duration;

impl Controller {
    /// Begins what may begin now, and says it to all.
    pub(super) fn walk_on(&mut self, effects: &mut Vec<Effect>) {
        let mut orders = Vec::new();
        // A step that is done at once makes others ready.
        while self.begin_steps(&mut orders, effects) {}
        if let Some(walk) = self.leader.walk.as_ref().filter(|_| !orders.is_empty()) {
            let (transition, time) = (walk.number, self.time().seconds());
            self.say(Command::Execute { transition, time, orders });
        }
    }

    /// True where anything began.
    fn begin_steps(&mut self, orders: &mut Vec<(NodeId, Order)>, effects: &mut Vec<Effect>) -> bool {
        let Some(walk) = &mut self.leader.walk else { return false };
        let number = walk.number;
        let begun = walk.begin(self.now);
        let delay = Duration::from_millis(walk.transition().cluster_delay_ms);
        let any = !begun.is_empty();
        for id in begun {
            let step = self.step(number, id);
            let Some(action) = self.leader.walk.as_ref().and_then(|walk| walk.action(id)).cloned() else { continue };
            match self.as_order(&action, number) {
                Some(order) => {
                    let patience = Duration::from_millis(order.1.timeout_ms + order.1.start_delay_ms) + delay;
                    if let Some(walk) = &mut self.leader.walk {
                        walk.set_patience(id, patience);
                    }
                    orders.push(order);
                }
                None => self.begin_step(&action, step, effects),
            }
        }
        any
    }

    /// An operation that an executor runs, as an order to its node.
    fn as_order(&self, action: &Action, transition: u64) -> Option<(NodeId, Order)> {
        let ActionKind::Resource { resource, .. } = &action.kind else { return None };
        if matches!(&*action.task, "cancel" | "delete") {
            return None;
        }
        let node = self.performer(action)?;
        let begins = matches!(&*action.task, "start" | "promote" | "migrate_to" | "migrate_from");
        if begins && self.is_stranger(node) {
            return None;
        }
        Some((node, self.order(action, resource, transition)))
    }

    /// A side that lost quorum may go on with what it has (`no-quorum-policy=freeze`), but only on the nodes that it had
    /// then: the quorate side fences those before it recovers their resources. A node that came later may be known there as
    /// fenced already, and so as running nothing.
    fn is_stranger(&self, node: NodeId) -> bool {
        let options = self.replica.options();
        let since = self.replica.status.nodes.get(&node).map_or(0, |status| status.member_since);
        let goes_on = options.without_quorum == WithoutQuorum::GoesOn;
        !self.quorate() && goes_on && options.fencing && since > self.replica.lineage
    }

    pub(crate) fn order(&self, action: &Action, resource: &ResourceRef, transition: u64) -> Order {
        let text = |name: &str| action.attributes.get(name).map(String::as_str);
        let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
        let target_rc = text("CRM_meta_op_target_rc").and_then(|text| text.parse().ok()).unwrap_or(0);
        Order {
            action: action.id,
            resource: resource.id.clone(),
            agent: resource.agent.clone(),
            task: action.task.clone(),
            interval_ms: number("CRM_meta_interval").unwrap_or(0),
            timeout_ms: number("CRM_meta_timeout").unwrap_or(20_000),
            start_delay_ms: number("CRM_meta_start_delay").unwrap_or(0),
            target_rc,
            ignore_failure: text("CRM_meta_on_fail") == Some("ignore"),
            transition_key: format!("{}:{transition}:{target_rc}:{}", action.id, self.leader.key),
            parameters: action.attributes.clone(),
            digests: Digests {
                all: Some(digest::operation(&digest::agent_parameters(&action.attributes))),
                ..Digests::default()
            },
        }
    }

    /// The key of an action that is in no plan, and is expected to end well.
    pub(crate) fn key_of_nobody(&self) -> String {
        format!("0:0:0:{}", self.leader.key)
    }

    /// A resource that is known to run on a node.
    fn runs(&self, node: NodeId) -> Option<String> {
        let resources = &self.replica.status.nodes.get(&node)?.resources;
        resources.iter().find(|(_, history)| history.runs()).map(|(resource, _)| resource.clone())
    }

    /// This plan is to find out what runs on a node.
    fn is_probed(&self, node: NodeId) -> bool {
        self.leader.walk.as_ref().is_some_and(|walk| walk.probes(&self.name(node)))
    }

    /// A node that leaves must run nothing, for the others take it for safe from then on. What nobody may stop (because it
    /// is not managed) keeps it here: the step is passed by, and the next plan has it again.
    fn may_not_leave(&mut self, node: NodeId, resource: &str, step: Step) {
        let name = self.name(node);
        let text = format!(
            "{name} cannot leave the cluster while {resource} runs there unmanaged: end the maintenance or manage the \
             resource, or stop it by hand and refresh it (then {name} leaves by itself)"
        );
        self.say_alert(&format!("leave of {name}"), Some((Severity::Warning, text)));
        self.step_done(step);
    }

    /// An action that no executor is needed for.
    fn begin_step(&mut self, action: &Action, step: Step, effects: &mut Vec<Effect>) {
        let Some(node) = self.target(action) else { return self.step_failed(step) };
        let resource = match &action.kind {
            ActionKind::Pseudo | ActionKind::PseudoFencing { .. } => None,
            ActionKind::Resource { resource, .. } => Some(resource.id.clone()),
            ActionKind::Cluster { resource, .. } => resource.as_ref().map(|resource| resource.id.clone()),
        };
        let text = |name: &str| action.attributes.get(name).cloned();
        let interval_ms = text("CRM_meta_interval").and_then(|text| text.parse().ok()).unwrap_or(0);
        match (&*action.task, resource) {
            ("stonith", _) => self.begin_fencing(node, action, step, effects),
            // An executor that was restarted has forgotten what runs there: the next plan knows, and has this step again.
            ("do_shutdown", _) if self.is_probed(node) => self.step_done(step),
            ("do_shutdown", _) => match self.runs(node) {
                None => {
                    self.say(Command::Shutdown { node, step });
                }
                Some(resource) => self.may_not_leave(node, &resource, step),
            },
            ("cancel", Some(resource)) => {
                let task = text("CRM_meta_operation").unwrap_or_else(|| "monitor".to_owned());
                self.say(Command::Cancel { node, resource, task, interval_ms, step });
            }
            ("delete" | "lrm_delete", Some(resource)) => {
                self.say(Command::Forget { node, resource, step });
            }
            ("clear_failcount", Some(resource)) => {
                let operation = text("CRM_meta_operation").map(|task| (task, interval_ms));
                self.say(Command::ClearFailures { node, resource, operation, step });
            }
            (_, Some(_)) if matches!(action.kind, ActionKind::Resource { .. }) => self.step_failed(step),
            // Requests to refresh what nobody keeps back here.
            _ => self.step_done(step),
        }
    }
}

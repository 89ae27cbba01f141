//! Fencing, as far as it concerns the cluster's state: who asked for it, how it ended, and what follows from that.

use crate::command::Step;
use crate::controller::Controller;
use crate::core_types::Effect;
use hakudo_base::agent::{AgentCall, AgentResult};
use hakudo_base::{Instant, NodeId, Severity};
use hakudo_scheduler::Action;

impl Controller {
    pub(crate) fn begin_fencing(&mut self, _target: NodeId, _action: &Action, step: Step, _effects: &mut Vec<Effect>) {
        self.step_failed(step);
    }

    pub(crate) fn hear_fence_request(&mut self, from: NodeId, number: u64, target: NodeId, action: &str) {
        let _ = (from, number, target, action);
    }

    pub(crate) fn hear_confirm(
        &mut self,
        from: NodeId,
        number: u64,
        target: NodeId,
        user: &str,
        effects: &mut Vec<Effect>,
    ) {
        if self.view.as_ref().is_some_and(|view| view.members.contains(&target)) {
            let reason = format!("{} is a member of the cluster and alive", self.name(target));
            return self.refused(from, number, reason, effects);
        }
        let text = format!("{user} confirmed that {} is down", self.name(target));
        effects.push(Effect::Event(self.event("fenced", Severity::Warning, text)));
        self.is_safe(target, effects);
        self.think_again("a node was confirmed to be down");
        self.finished(from, number, effects);
    }

    pub(crate) fn hear_fence_run(
        &mut self,
        target: NodeId,
        on: NodeId,
        number: u64,
        call: AgentCall,
        effects: &mut Vec<Effect>,
    ) {
        let text = format!("{} fences {} with {}", self.name(on), self.name(target), call.resource);
        let mut event = self.event("fence-start", Severity::Warning, text);
        event.node = Some(self.name(target));
        event.resource = Some(call.resource.clone());
        effects.push(Effect::Event(event));
        if on == self.local {
            self.run_fence_agent(number, call, effects);
        }
    }

    pub(crate) fn hear_fence_result(&mut self, _from: NodeId, _number: u64, _result: AgentResult) {}

    pub(crate) fn hear_fence_done(
        &mut self,
        target: NodeId,
        action: &str,
        failed: Option<String>,
        _time: i64,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.name(target);
        let about = format!("fencing of {name}");
        let (kind, severity, text) = match &failed {
            None => ("fenced", Severity::Warning, format!("{name} was fenced ({action})")),
            Some(reason) => ("fence-failed", Severity::Error, format!("{name} could not be fenced: {reason}")),
        };
        let mut event = self.event(kind, severity, text.clone());
        event.node = Some(name);
        effects.push(Effect::Event(event));
        match failed {
            Some(_) => self.alert(&about, Severity::Error, text),
            None => {
                self.no_alert(&about);
                if action != "on" {
                    self.is_safe(target, effects);
                }
            }
        }
    }

    /// The node runs nothing any more.
    fn is_safe(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        let name = self.name(node);
        self.replica.status.safe(node, &name);
        effects.push(Effect::Fenced(node));
    }

    pub(crate) fn fence_deadline(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn fence_timer(&mut self) {}
}

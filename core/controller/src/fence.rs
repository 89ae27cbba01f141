//! Fencing, as far as it concerns the state of the cluster: who asked for it, how it ended, and what follows from that.
//!
//! Which device does it, where and how often is the [`Fencer`]'s business. Every node has one that knows the configuration
//! and what the agents can do, so that a new leader can fence at once. The leader gives it the fencing steps of its plans
//! and the wishes of people, and has its agents run through the total order. That a node was fenced is said to all: every
//! member forgets what the node ran and writes it into the history, and its membership need not wait for the node.
//!
//! A node that cannot be fenced is asked for again when the fencer says that it may help, not sooner: until then the step
//! stays open, what depends on it does not begin, and an alert says why.

use crate::clients::no_action;
use crate::command::{Command, FenceBegun, FenceDone, Step};
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::node::FenceCaller;
use crate::request::{self, FencingState, Refusal, RefusalKind};
use hakudo_base::agent::{AgentCall, AgentResult, exit_code};
use hakudo_base::{Instant, NodeId, Severity};
use hakudo_cib::values;
use hakudo_fencing as fencing;
use hakudo_fencing::Fencer;
use hakudo_scheduler::Action;
use std::collections::BTreeMap;
use std::time::Duration;

/// A node's fencing.
#[derive(Debug)]
pub(crate) struct Fencing {
    fencer: Fencer,
    /// Added to the fencer's numbers of calls: an answer that this node's former life waited for is not taken for another.
    pub(crate) base: u64,
    /// This node leads.
    leads: bool,
    requests: u64,
    open: BTreeMap<u64, Open>,
    /// Targets for which asking has no sense at the moment, by name, and the steps that wait for them: to be switched on
    /// (true), or to be fenced.
    hopeless: BTreeMap<(String, bool), Vec<(Step, Wish)>>,
    /// The configuration that the fencer knows.
    configured: Option<u64>,
}

/// A fencing that was asked for and has not ended.
#[derive(Debug)]
struct Open {
    wish: Wish,
    step: Option<Step>,
    /// Where a person asked: the node and the number of the command there, and the user.
    asked_by: Option<(NodeId, u64, String)>,
    since: Instant,
    epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    target: NodeId,
    action: fencing::Action,
    delay: Option<Duration>,
    /// Attributes that the target gets when it was switched on: what its devices were configured like.
    digests: Vec<(String, String)>,
}

impl Fencing {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            fencer: Fencer::new(seed),
            base: seed >> 1,
            leads: false,
            requests: 0,
            open: BTreeMap::new(),
            hopeless: BTreeMap::new(),
            configured: None,
        }
    }

    /// Targets for which asking has no sense at the moment.
    #[cfg(test)]
    pub(crate) fn hopeless_targets(&self) -> impl Iterator<Item = &(String, bool)> {
        self.hopeless.keys()
    }

    /// The walk was given up: its steps mean nothing any more, while fencing goes on.
    pub(crate) fn forget_steps(&mut self) {
        self.hopeless.values_mut().for_each(Vec::clear);
        self.open.values_mut().for_each(|open| open.step = None);
    }
}

impl Controller {
    /// The members of a new view agree: the leader sees to fencing now, and all others have done with it.
    pub(crate) fn prepare_fencing(&mut self, effects: &mut Vec<Effect>) {
        let (leads, led) = (self.leads(), self.fencing.leads);
        self.fencing.leads = leads;
        self.fencing.forget_steps();
        if led && !leads {
            self.fencing.open.clear();
            self.fencing.hopeless.clear();
            self.fencer(fencing::Input::Resign, effects);
        }
        self.configure_fencing(effects);
    }

    /// The fencer hears of a new configuration, of the nodes that can run agents, and of where its devices are known to work.
    /// Who does not lead only asks its own agents what they can do.
    fn configure_fencing(&mut self, effects: &mut Vec<Effect>) {
        let mut wanted = Vec::new();
        let generation = self.replica.generation;
        if self.fencing.configured != Some(generation) {
            self.fencing.configured = Some(generation);
            let (cib, now) = (self.cib(), self.time());
            self.fencing.fencer.handle(self.now, fencing::Input::Configure { cib, now }, &mut wanted);
        }
        let leads = self.fencing.leads;
        let agents = |node: &&NodeId| leads || (**node == self.local && self.node.is_connected());
        let members = self.view.iter().flat_map(|view| &view.members);
        let nodes = members.filter(agents).map(|node| self.name(*node)).collect();
        let monitored = if leads { self.monitored_devices() } else { BTreeMap::new() };
        self.fencing.fencer.handle(self.now, fencing::Input::Members { nodes, monitored }, &mut wanted);
        self.carry_out_fencing(wanted, effects);
    }

    /// The configuration changed, or this node's executor came or went.
    pub(crate) fn ready_fencing(&mut self, effects: &mut Vec<Effect>) {
        if self.synced {
            self.configure_fencing(effects);
        }
    }

    /// On which node each fence device is started.
    fn monitored_devices(&self) -> BTreeMap<String, String> {
        let mut devices = BTreeMap::new();
        for status in self.replica.status.nodes.values().filter(|status| status.in_view) {
            for (name, history) in status.resources.iter().filter(|(_, history)| history.agent.class == "stonith") {
                let last = history.operations.get("last_0");
                let works = |o: &crate::status::Operation| o.issued.task != "stop" && o.exit_code == exit_code::OK;
                if last.is_some_and(works) {
                    devices.insert(name.clone(), status.name.clone());
                }
            }
        }
        devices
    }

    fn fencer(&mut self, input: fencing::Input, effects: &mut Vec<Effect>) {
        let mut wanted = Vec::new();
        self.fencing.fencer.handle(self.now, input, &mut wanted);
        self.carry_out_fencing(wanted, effects);
    }

    fn carry_out_fencing(&mut self, wanted: Vec<fencing::Effect>, effects: &mut Vec<Effect>) {
        for effect in wanted {
            match effect {
                fencing::Effect::Run(run) => self.run_somewhere(&run, effects),
                fencing::Effect::Done { id, target, action, result } => self.fencing_ended(id, &target, action, result),
                fencing::Effect::MayTryAgain { target } => self.fence_again(&target, effects),
                // These are told by what all members hear.
                fencing::Effect::Event { kind: "fenced" | "fence-start" | "fence-failed", .. } => {}
                fencing::Effect::Event { severity, kind, target, device, took, text } => {
                    let mut event = self.event(kind, severity, text);
                    event.node = target;
                    event.resource = device;
                    event.took_ms = took.map(milliseconds);
                    effects.push(Effect::Event(event));
                }
            }
        }
    }

    fn run_somewhere(&mut self, run: &fencing::Run, effects: &mut Vec<Effect>) {
        let call = Box::new(run.agent_call(self.epoch()));
        let number = self.fencing.base + run.call;
        if !self.fencing.leads {
            return self.run_fence_agent(FenceCaller::Local(number), *call, effects);
        }
        let Some(on) = self.node_named(&run.on) else {
            let reason = format!("there is no node {}", run.on);
            return self.fencer(fencing::Input::Result(crate::node::never_ran(run.call, &reason)), effects);
        };
        let target = run.target.as_ref().and_then(|name| self.node_named(name));
        self.say(Command::FenceRun { target, on, number, call });
    }

    /// A fencing step of the plan begins.
    pub(crate) fn begin_fencing(&mut self, target: NodeId, action: &Action, step: Step, effects: &mut Vec<Effect>) {
        let text = |name: &str| action.attributes.get(name);
        let word = text("CRM_meta_stonith_action").map_or("reboot", String::as_str);
        let Ok(what) = word.parse() else { return self.step_failed(step) };
        let delay = text("CRM_meta_priority_fencing_delay").and_then(|text| values::milliseconds(text));
        let digest = |name: &str, of: &str| Some((name.to_owned(), text(of)?.clone()));
        let digests =
            [digest("#digests-all", "CRM_meta_digests_all"), digest("#digests-secure", "CRM_meta_digests_secure")];
        let wish = Wish {
            target,
            action: what,
            delay: Some(delay.map_or(Duration::ZERO, Duration::from_millis)),
            digests: digests.into_iter().flatten().collect(),
        };
        self.configure_fencing(effects);
        self.ask_fencer(wish, Some(step), None, effects);
    }

    fn ask_fencer(
        &mut self,
        wish: Wish,
        step: Option<Step>,
        asked_by: Option<(NodeId, u64, String)>,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.name(wish.target);
        let of = (name.clone(), wish.action == fencing::Action::On);
        let (now, epoch, time) = (self.now, self.epoch(), self.time().seconds());
        let life = self.replica.status.nodes.get(&wish.target).map_or(0, |status| status.member_since);
        let fencing = &mut self.fencing;
        let user = asked_by.as_ref().map(|(_, _, user)| user.clone());
        if let Some(waiting) = fencing.hopeless.get_mut(&of).filter(|_| user.is_none()) {
            waiting.extend(step.map(|step| (step, wish)));
            return;
        }
        // Fencing that began in a former life of the node says nothing of this one.
        let going_on =
            |open: &&mut Open| open.wish.target == wish.target && open.wish.action == wish.action && open.epoch >= life;
        if let Some(open) =
            fencing.open.values_mut().find(going_on).filter(|open| user.is_none() && open.step.is_none())
        {
            open.step = step;
            return;
        }
        fencing.requests += 1;
        let id = fencing.requests;
        let request = fencing::Request { id, target: name, life, action: wish.action, delay: wish.delay, user };
        let wanted_by = asked_by.as_ref().map(|(node, _, user)| (*node, user.clone()));
        let begun = FenceBegun { target: wish.target, action: wish.action.name().to_owned(), time, wanted_by };
        fencing.open.insert(id, Open { wish, step, asked_by, since: now, epoch });
        self.say(Command::FenceBegun(Box::new(begun)));
        self.fencer(fencing::Input::Fence(request), effects);
    }

    fn fencing_ended(
        &mut self,
        id: u64,
        name: &str,
        action: fencing::Action,
        result: Result<fencing::Fenced, fencing::Failure>,
    ) {
        let (time, now) = (self.time().seconds(), self.now);
        let fencing = &mut self.fencing;
        let Some(open) = fencing.open.remove(&id) else { return };
        if result.as_ref().is_err_and(|failure| failure.gave_up) {
            fencing.hopeless.entry((name.to_owned(), action == fencing::Action::On)).or_default();
        }
        let attributes = if result.is_ok() && action == fencing::Action::On { open.wish.digests } else { Vec::new() };
        let (by, devices, failed) = match result {
            Ok(fenced) => (Some(fenced.by), fenced.devices, None),
            Err(failure) => (None, Vec::new(), Some(failure.reason)),
        };
        self.say(Command::FenceDone(Box::new(FenceDone {
            target: open.wish.target,
            action: action.name().to_owned(),
            by,
            devices,
            failed,
            time,
            took_ms: milliseconds(now.since(open.since)),
            began: open.epoch,
            step: open.step,
            asked_by: open.asked_by,
            attributes,
        })));
    }

    /// Something changed, and a node that could not be fenced may be tried again.
    fn fence_again(&mut self, name: &str, effects: &mut Vec<Effect>) {
        let waiting = [false, true].map(|on| self.fencing.hopeless.remove(&(name.to_owned(), on)));
        for (step, wish) in waiting.into_iter().flatten().flatten() {
            self.ask_fencer(wish, Some(step), None, effects);
        }
    }

    /// A person wants a node fenced: the leader sees to it.
    pub(crate) fn hear_fence_request(
        &mut self,
        from: NodeId,
        number: u64,
        wish: (NodeId, &str, String),
        effects: &mut Vec<Effect>,
    ) {
        let (target, action, user) = wish;
        let Ok(action) = action.parse() else {
            return self.refused(from, number, no_action(action), effects);
        };
        if self.fencing.leads {
            self.configure_fencing(effects);
            let wish = Wish { target, action, delay: None, digests: Vec::new() };
            self.ask_fencer(wish, None, Some((from, number, user)), effects);
        }
    }

    /// A person says that a node is down.
    pub(crate) fn hear_confirm(
        &mut self,
        (from, number): (NodeId, u64),
        target: NodeId,
        user: &str,
        time: i64,
        effects: &mut Vec<Effect>,
    ) {
        if self.view.as_ref().is_some_and(|view| view.members.contains(&target)) {
            let reason = format!("{} is a member of the cluster and alive", self.name(target));
            return self.refused(from, number, Refusal::new(RefusalKind::Unsafe, reason), effects);
        }
        let name = self.name(target);
        let mut event = self.event("fenced", Severity::Warning, format!("{user} confirmed that {name} is down"));
        event.node = Some(name.clone());
        effects.push(Effect::Event(event));
        self.no_alert(&format!("fencing of {name}"));
        self.is_safe(target, effects);
        self.answer_who_waits_for_death(target, Ok("off"), effects);
        let origin = self.name(from);
        self.replica.status.fencing.note(request::Fencing {
            time,
            target: name.clone(),
            action: "off".to_owned(),
            state: FencingState::Succeeded,
            devices: Vec::new(),
            // As Pacemaker calls it.
            by: Some("a human".to_owned()),
            client: user.to_owned(),
            origin,
            reason: None,
            took_ms: 0,
        });
        self.fencer(fencing::Input::Confirm { target: name, user: user.to_owned() }, effects);
        self.think_again("a node was confirmed to be down");
        self.finished(from, number, effects);
    }

    /// The leader begins to see to a fencing.
    pub(crate) fn hear_fence_begun(&mut self, from: NodeId, begun: FenceBegun) {
        let FenceBegun { target, action, time, wanted_by } = begun;
        let entry = self.history_entry(target, action, time, (from, wanted_by));
        self.replica.status.fencing.note(entry);
    }

    /// A fencing that begins, as the history has it; wanted by a person at a node, or by the leader.
    fn history_entry(
        &self,
        target: NodeId,
        action: String,
        time: i64,
        (leader, wanted_by): (NodeId, Option<(NodeId, String)>),
    ) -> request::Fencing {
        let (origin, client) = wanted_by.unwrap_or_else(|| (leader, "hakudo".to_owned()));
        request::Fencing {
            time,
            target: self.name(target),
            action,
            state: FencingState::Pending,
            devices: Vec::new(),
            by: None,
            client,
            origin: self.name(origin),
            reason: None,
            took_ms: 0,
        }
    }

    pub(crate) fn hear_fence_run(
        &mut self,
        (leader, number): (NodeId, u64),
        target: Option<NodeId>,
        on: NodeId,
        call: AgentCall,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(target) = target.filter(|_| matches!(&*call.operation, "off" | "reboot" | "on")) {
            let text =
                format!("{} fences {} ({}) with {}", self.name(on), self.name(target), call.operation, call.resource);
            let mut event = self.event("fence-start", Severity::Warning, text);
            event.node = Some(self.name(target));
            event.resource = Some(call.resource.clone());
            effects.push(Effect::Event(event));
        }
        if on == self.local {
            self.run_fence_agent(FenceCaller::Leader(leader, number), call, effects);
        }
    }

    /// An agent ended on `from` that a leader asked for: this node in this life, or another one. Only the node that runs an
    /// agent can say how it ended.
    pub(crate) fn hear_fence_result(
        &mut self,
        from: NodeId,
        (leader, number): (NodeId, u64),
        mut result: AgentResult,
        effects: &mut Vec<Effect>,
    ) {
        let Some(call) = number.checked_sub(self.fencing.base).filter(|_| leader == self.local) else { return };
        if self.fencing.fencer.runs_on(call).and_then(|name| self.node_named(name)) != Some(from) {
            return;
        }
        result.call = call;
        self.fencer(fencing::Input::Result(result), effects);
    }

    pub(crate) fn hear_fence_done(&mut self, from: NodeId, done: FenceDone, effects: &mut Vec<Effect>) {
        self.note_fenced(from, &done);
        let FenceDone { target, action, by, failed, time, took_ms, began, step, asked_by, attributes, .. } = done;
        let name = self.name(target);
        let about = format!("fencing of {name}");
        let (kind, severity, text) = match &failed {
            None => {
                let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
                ("fenced", Severity::Warning, format!("{name} was fenced ({action}){by}"))
            }
            Some(reason) => ("fence-failed", Severity::Error, format!("{name} could not be fenced: {reason}")),
        };
        let mut event = self.event(kind, severity, text.clone());
        event.node = Some(name);
        event.took_ms = Some(took_ms);
        effects.push(Effect::Event(event));
        if failed.is_some() {
            self.alert(&about, Severity::Error, text);
            let reason = failed.as_deref().unwrap_or_default();
            self.answer_who_waits_for_death(target, Err(reason), effects);
        } else {
            self.no_alert(&about);
            if action == "on" {
                self.switched_on(target, time, attributes);
            } else if !self.lives_anew(target, began) {
                self.is_safe(target, effects);
                self.answer_who_waits_for_death(target, Ok(&action), effects);
                if target == self.local {
                    self.stop_at_once(effects);
                }
            }
        }
        match (step, &failed) {
            (Some(step), None) => self.step_done(step),
            (Some(step), Some(_)) => self.step_failed(step),
            (None, None) => self.think_again("a node was fenced"),
            (None, Some(_)) => {}
        }
        match (asked_by, failed) {
            (Some((node, number, _)), None) => self.finished(node, number, effects),
            (Some((node, number, _)), Some(reason)) => {
                self.refused(node, number, Refusal::new(RefusalKind::Failed, reason), effects);
            }
            (None, _) => {}
        }
    }

    fn note_fenced(&mut self, from: NodeId, done: &FenceDone) {
        let wanted_by = done.asked_by.as_ref().map(|(node, _, user)| (*node, user.clone()));
        let begun = self.history_entry(done.target, done.action.clone(), done.time, (from, wanted_by));
        self.replica.status.fencing.note(request::Fencing {
            state: if done.failed.is_none() { FencingState::Succeeded } else { FencingState::Failed },
            devices: done.devices.clone(),
            by: done.by.clone(),
            reason: done.failed.clone(),
            took_ms: done.took_ms,
            ..begun
        });
    }

    /// The node became a member after its fencing began: what was fenced was its former life, and what it told when it
    /// came holds, whether it is still here or was lost again. Where it came before the blow fell, it is lost once more, and
    /// fenced once more.
    fn lives_anew(&self, node: NodeId, began: u64) -> bool {
        self.replica.status.nodes.get(&node).is_some_and(|status| status.member_since > began)
    }

    /// This node was fenced, and lives: the device does not do what it says, or only cuts access to what is shared. The
    /// others start elsewhere what runs here, and nothing more may be done here (Pacemaker Explained: `fence-reaction`).
    pub(crate) fn stop_at_once(&self, effects: &mut Vec<Effect>) {
        let name = self.name(self.local);
        let text = format!(
            "{name} was fenced, or confirmed to be down, and is alive: it stops at once (look at its fence device before it \
             is started again)"
        );
        let mut event = self.event("stops-at-once", Severity::Error, text);
        event.node = Some(name);
        effects.push(Effect::Event(event));
        effects.push(Effect::StopAtOnce { reset: self.replica.options().panics });
    }

    /// The node got its access back (unfencing).
    fn switched_on(&mut self, node: NodeId, time: i64, attributes: Vec<(String, String)>) {
        let Some(status) = self.replica.status.known_mut(node) else { return };
        status.set_attribute("#node-unfenced", Some(&time.to_string()));
        for (name, value) in attributes {
            status.set_attribute(&name, Some(&value));
        }
    }

    /// The node runs nothing any more. Where it was the last that might have changed the configuration too, this side has the
    /// word from now on, once its disks know.
    fn is_safe(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        let name = self.name(node);
        self.replica.status.safe(node, &name);
        effects.push(Effect::Fenced(node));
        if self.take_the_word() {
            self.replica.generation += 1;
            self.changes_wait_for(self.replica.generation);
            self.persist(effects);
        }
        self.answer_changes(effects);
    }

    pub(crate) fn fence_deadline(&self) -> Option<Instant> {
        self.fencing.fencer.deadline()
    }

    pub(crate) fn fence_timer(&mut self, effects: &mut Vec<Effect>) {
        if self.fence_deadline().is_some_and(|at| at <= self.now) {
            self.fencer(fencing::Input::Timer, effects);
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

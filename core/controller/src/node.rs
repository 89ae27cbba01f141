//! The part that every node plays for its own executor: it hands orders over, and reports how they ended.

mod note;

use crate::command::Command;
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::status::{Issued, Join, NodeStatus, Order, Report, VERSION, changes_state};
use hakudo_base::agent::{AgentCall, AgentResult, ExecutionStatus, ExecutorInput, Known, exit_code};
use hakudo_base::{Instant, NodeId, Random, Severity};
use note::Note;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Node {
    connected: bool,
    /// The newest epoch that the executor named when it was connected.
    executor_epoch: u64,
    /// When the executor was lost, as long as the others are not told.
    lost_at: Option<Instant>,
    /// Orders that came while the executor was away, with their notes.
    held: BTreeMap<u64, (AgentCall, Vec<u8>)>,
    /// The promotion scores of the copies here that the executor keeps for this node.
    kept_scores: BTreeMap<String, String>,
    /// Results that were not reported yet.
    results: Vec<AgentResult>,
    /// The number of the newest report.
    reported: u64,
    /// Calls of fence agents that have not ended, by our call number.
    fencing: BTreeMap<u64, FenceCaller>,
    /// The newest number of a call of a fence agent.
    fence_call: u64,
}

/// Who wants the result of a fence agent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FenceCaller {
    /// A leader, with its number of the call.
    Leader(NodeId, u64),
    /// This node's own fencer, with its number of the call.
    Local(u64),
}

/// An executor that is back so soon is not missed by anybody.
const RESTART: Duration = Duration::from_secs(1);

/// The first call number of fence agents that run for the leader; those of resources stay far below.
pub(crate) const FENCE_CALLS: u64 = 1 << 48;

impl Node {
    /// Calls of fence agents begin anywhere: what an executor still runs for a former process of this node does not answer
    /// a call of this one.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            kept_scores: BTreeMap::new(),
            connected: false,
            executor_epoch: 0,
            lost_at: None,
            held: BTreeMap::new(),
            results: Vec::new(),
            reported: 0,
            fencing: BTreeMap::new(),
            fence_call: FENCE_CALLS + (Random::new(seed).next_u64() >> 17),
        }
    }

    /// When the others are to be told that the executor is away.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lost_at.map(|at| at + RESTART)
    }

    /// Orders of a former view: an executor would refuse them, and nobody expects their results.
    pub(crate) fn drop_held(&mut self) {
        self.held.clear();
    }

    /// Nobody expects the result of this order any more.
    pub(crate) fn give_up(&mut self, call: u64) {
        self.held.remove(&call);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }
}

impl Controller {
    pub(crate) fn executor(&mut self, input: ExecutorInput, effects: &mut Vec<Effect>) {
        match input {
            ExecutorInput::Connected { known, newest_epoch, first_call } => {
                self.node.executor_epoch = newest_epoch;
                self.executor_connected(&known, first_call, effects);
                self.compare_epochs(effects);
            }
            ExecutorInput::Memory(memory) => {
                // What another version wrote is as good as nothing.
                self.node.kept_scores = postcard::from_bytes(&memory).unwrap_or_default();
            }
            ExecutorInput::Lost => {
                self.node.connected = false;
                self.node.kept_scores.clear();
                self.ready_fencing(effects);
                self.alert_executor_away(self.local);
                self.node.lost_at = Some(self.now);
            }
            ExecutorInput::Acted { known, own } => self.executor_acted(&known, &own, effects),
            ExecutorInput::Unguarded { ticket, reason } => self.executor_does_not_guard(&ticket, &reason, effects),
            ExecutorInput::Result(result) => match self.node.fencing.remove(&result.call) {
                Some(caller) => self.fence_agent_ended(caller, result, effects),
                None => self.node.results.push(result),
            },
        }
    }

    /// The executor is there: what it remembers is what this node runs. Orders that came meanwhile go to it now; those
    /// from before that it does not know are lost.
    fn executor_connected(&mut self, known: &[Known], first_call: u64, effects: &mut Vec<Effect>) {
        self.node.connected = true;
        self.node.lost_at = None;
        self.no_alert(&self.about_executor(self.local));
        let newest = known.iter().map(|known| known.call.call).max().unwrap_or_default();
        self.node.fence_call = self.node.fence_call.max(newest);
        for caller in std::mem::take(&mut self.node.fencing).into_values() {
            self.fence_agent_ended(caller, never_ran(0, "the executor was restarted"), effects);
        }
        self.ready_fencing(effects);
        self.guarding.executor_connected();
        let last_call = self.replica.status.nodes.get(&self.local).map_or(0, |status| status.last_call);
        let through = self.node.held.keys().next().map_or(last_call, |first| first - 1);
        for (call, note) in std::mem::take(&mut self.node.held).into_values() {
            effects.push(Effect::Execute { call, note });
        }
        self.tell_what_executor_knows(known, through, first_call);
        self.keep_promotion_scores(effects);
    }

    /// The executor keeps the promotion scores of the copies here: their agents may not say them again for long, and all who hear
    /// of them may be lost before that. A process that is started anew must not have a promoted copy demoted, or leave all of them
    /// unpromoted, only because nobody knows a score.
    pub(crate) fn keep_promotion_scores(&mut self, effects: &mut Vec<Effect>) {
        let Some(status) = self.replica.status.nodes.get(&self.local).filter(|_| self.node.connected) else { return };
        let scores = status.promotion_scores();
        if scores == self.node.kept_scores {
            return;
        }
        if let Ok(memory) = postcard::to_stdvec(&scores) {
            self.node.kept_scores = scores;
            effects.push(Effect::Remember { memory });
        }
    }

    /// Says to all what the executor remembers. Calls up to `through` that it does not know are lost, and none gets a number below
    /// `first_call` any more.
    pub(crate) fn tell_what_executor_knows(&mut self, known: &[Known], through: u64, first_call: u64) {
        let name = self.name(self.local);
        let old = self.replica.status.node_mut(self.local, &name);
        let mut status = NodeStatus::default();
        status.attributes = old.attributes.clone();
        VERSION.clone_into(&mut status.version);
        (status.name, status.reported) = (name, self.node.reported);
        status.last_call = old.last_call.max(first_call.saturating_sub(1));
        let mut known: Vec<&Known> = known.iter().collect();
        known.sort_by_key(|known| known.call.call);
        if status.attributes.is_empty() {
            status.attributes.clone_from(&self.node.kept_scores);
        }
        for known in known {
            remember(&mut status, known);
        }
        // What was ordered later the executor may have answered without remembering it.
        self.node.results.retain(|result| result.call > through);
        if self.synced || self.view.is_some() {
            self.say(Command::Executor { status: Box::new(status), through });
        } else {
            self.replica.status.nodes.insert(self.local, status);
        }
    }

    /// An order for this node was delivered.
    pub(crate) fn run(&mut self, call: u64, order: &Order, before: Vec<u64>, effects: &mut Vec<Effect>) {
        let epoch = self.epoch();
        for recurring in before {
            effects.push(Effect::Cancel { call: recurring, epoch });
        }
        if order.agent.class == "stonith"
            && let Some(result) = self.fence_device_answer(call, order)
        {
            self.node.results.push(result);
            return;
        }
        let agent_call = order.call(call, epoch);
        let note = note_of(order);
        if self.node.connected {
            effects.push(Effect::Execute { call: agent_call, note });
        } else {
            self.node.held.insert(call, (agent_call, note));
        }
    }

    /// What a fence device answers without its agent: a node that is to use it only has to know it. It is started once
    /// its agent says that it works, stopped by forgetting it, and a probe asks whether it was started here.
    fn fence_device_answer(&self, call: u64, order: &Order) -> Option<AgentResult> {
        let exit_code = match (&*order.task, order.interval_ms) {
            ("stop" | "notify", _) => exit_code::OK,
            ("monitor", 0) if self.device_started(&order.resource, call) => exit_code::OK,
            ("monitor", 0) => exit_code::NOT_RUNNING,
            _ => return None,
        };
        Some(AgentResult { exit_code, finished: self.time().seconds(), ..never_ran(call, "") }.done())
    }

    fn device_started(&self, resource: &str, before: u64) -> bool {
        let history = self.replica.status.nodes.get(&self.local).and_then(|node| node.resources.get(resource));
        let last = history.and_then(|history| history.operations.get("last_0")).filter(|last| last.call < before);
        last.is_some_and(|last| last.issued.task != "stop" && last.exit_code == exit_code::OK)
    }

    /// Recurring operations that are not wanted any more.
    pub(crate) fn stop_recurring(&mut self, calls: Vec<u64>, effects: &mut Vec<Effect>) {
        let epoch = self.epoch();
        for call in calls {
            self.node.held.remove(&call);
            effects.push(Effect::Cancel { call, epoch });
        }
    }

    /// Runs a fence agent.
    pub(crate) fn run_fence_agent(&mut self, caller: FenceCaller, mut call: AgentCall, effects: &mut Vec<Effect>) {
        if !self.node.connected {
            let result = never_ran(call.call, "the executor is away");
            return self.fence_agent_ended(caller, result, effects);
        }
        self.node.fence_call += 1;
        call.call = self.node.fence_call;
        call.epoch = self.epoch();
        self.node.fencing.insert(call.call, caller);
        effects.push(Effect::Execute { call, note: Vec::new() });
    }

    fn fence_agent_ended(&mut self, caller: FenceCaller, result: AgentResult, effects: &mut Vec<Effect>) {
        match caller {
            FenceCaller::Leader(leader, number) => {
                self.say(Command::FenceResult { leader, number, result });
            }
            FenceCaller::Local(number) => {
                self.hear_fence_result(self.local, (self.local, number), result, effects);
            }
        }
    }

    /// Reports what ended since the last report, in one message with all that came meanwhile.
    pub(crate) fn report_results(&mut self) {
        if self.node.results.is_empty() || !self.synced || self.outbox.is_under_way() {
            return;
        }
        let mut reports = Vec::new();
        for result in std::mem::take(&mut self.node.results) {
            self.node.reported += 1;
            reports.push(Report { number: self.node.reported, result });
        }
        self.say(Command::Results(reports));
    }

    /// An executor that was told of a newer view than this node ever had refuses its orders. That happens where the node's
    /// memory of epochs was lost (its folder was removed, or brought back from a backup).
    pub(crate) fn compare_epochs(&mut self, effects: &mut Vec<Effect>) {
        let (own, executors, name) = (self.epoch(), self.node.executor_epoch, self.name(self.local));
        let about = format!("epoch of {name}");
        if self.view.is_none() || executors <= own {
            return self.no_alert(&about);
        }
        let text = format!(
            "the executor of {name} was told of epoch {executors}, and this node is in {own}: it refuses this node's orders \
             (was the node's folder removed or restored? restart the executor when nothing runs on {name})"
        );
        if !self.alerts.contains_key(&about) {
            let mut event = self.event("executor-refuses", Severity::Error, text.clone());
            event.node = Some(name);
            effects.push(Effect::Event(event));
        }
        self.alert(&about, Severity::Error, text);
    }

    fn about_executor(&self, node: NodeId) -> String {
        format!("executor of {}", self.name(node))
    }

    pub(crate) fn alert_executor_away(&mut self, node: NodeId) {
        let text = format!("the executor of {} is away: nothing can be done there", self.name(node));
        self.alert(&self.about_executor(node), Severity::Error, text);
    }

    /// The others hear that this node's executor is away.
    pub(crate) fn tell_of_executor(&mut self) {
        if self.node.deadline().is_some_and(|at| at <= self.now) {
            self.node.lost_at = None;
            if self.view.is_some() {
                self.say(Command::ExecutorAway);
            }
        }
    }

    /// A member's executor is away: it may be back in a moment, and is waited for.
    pub(crate) fn hear_executor_away(&mut self, from: NodeId) {
        self.away.entry(from).or_insert(self.now);
        self.alert_executor_away(from);
    }

    /// A member's executor is away for too long: the node counts as failed, until its executor is back.
    pub(crate) fn hear_node_failed(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        if self.away.remove(&node).is_none() {
            return;
        }
        let Some(status) = self.replica.status.known_mut(node) else { return };
        status.online = false;
        status.join = Join::Down;
        let name = self.name(node);
        let text = format!("{name} counts as failed: its executor is away for too long");
        let mut event = self.event("node-failed", Severity::Error, text);
        event.node = Some(name);
        effects.push(Effect::Event(event));
        self.think_again("the executor of a node is away");
    }

    /// A node's executor told anew what it knows.
    pub(crate) fn executor_is_back(&mut self, from: NodeId, mut status: NodeStatus, through: u64) {
        let name = self.name(from);
        let fatal_start = self.replica.options().start_failure_is_fatal;
        let old = self.replica.status.node_mut(from, &name);
        let since: Vec<(u64, Issued, i64)> = old
            .issued
            .iter()
            .filter(|(call, _)| **call > through)
            .map(|(call, issued)| (*call, issued.clone(), old.pending_since(*call)))
            .collect();
        for (call, issued, time) in since {
            status.note_issued(call, issued, time);
        }
        let remembered = std::mem::replace(&mut status.attributes, std::mem::take(&mut old.attributes));
        status.learn_attributes(&remembered);
        status.last_call = status.last_call.max(old.last_call);
        let member_since = old.member_since;
        status.count_unheard_failures(Some(old), fatal_start);
        *old = status;
        self.away.remove(&from);
        self.no_alert(&self.about_executor(from));
        self.replica.status.joined(from, &name, true, member_since);
    }
}

/// Adds what an executor remembers of a call to the status of its node.
fn remember(status: &mut NodeStatus, known: &Known) {
    let Some(note) = Note::read(&known.note) else { return };
    let asked = known.result.as_ref().map_or(0, |result| result.finished);
    status.note_issued(known.call.call, note.issued(&known.call), asked);
    if let Some(result) = &known.result {
        // Whether a failure was counted already, only those know who heard of it.
        let attributes = status.attributes.clone();
        status.result(result, false);
        status.attributes = attributes;
    }
}

/// What goes with an order to this node's executor.
pub(crate) fn note_of(order: &Order) -> Vec<u8> {
    Note::of(order).write()
}

/// The result of a call that never ran.
pub(crate) fn never_ran(call: u64, reason: &str) -> AgentResult {
    AgentResult {
        exit_reason: reason.to_owned(),
        ..AgentResult::new(call, ExecutionStatus::NotConnected, exit_code::ERROR)
    }
}

trait Done {
    fn done(self) -> Self;
}

impl Done for AgentResult {
    fn done(mut self) -> Self {
        self.status = ExecutionStatus::Done;
        self
    }
}

/// Recurring calls that an order puts an end to.
pub(crate) fn ended_by(status: &NodeStatus, order: &Order) -> Vec<u64> {
    if changes_state(&order.task, order.interval_ms) { status.recurring(&order.resource) } else { Vec::new() }
}

//! The leader: it asks for a plan, walks it, and asks again until nothing is left to be done.
//!
//! There is one reason to ask: *something is new* ([`Controller::think_again`]). What is new stops the walk; what is on its
//! way ends, and then the scheduler is asked. No timer lies between. A walk that came to its end is followed by one more
//! question, whose answer must be empty: then the cluster is settled. Plans that go in circles (`rounds`) are carried out no
//! more.
//!
//! All that the leader wants done it says in the total order, and it believes that something is done when it hears it.
//! When the view changes, a leader forgets all this: the status tells the next one what is on its way.

mod orders;
mod rounds;

use crate::command::{Command, Step};
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::status::{NodeStatus, Outcome};
use crate::walk::{EVERYTHING, Walk};
use hakudo_base::{Instant, NodeId, Random, Severity};
use hakudo_cib::Document;
use hakudo_scheduler::{Action, ActionKind, Transition};
use rounds::Rounds;
use std::collections::BTreeMap;
use std::time::Duration;

/// So often a plan may fail in a row before the leader becomes slower with it, and how slow it becomes at most.
const PATIENT_AFTER: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A member whose executor is away for longer counts as failed.
const EXECUTOR_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Leader {
    random: Random,
    /// The last part of transition keys: it tells this leader's orders from all others.
    key: String,
    /// Something is new since the scheduler was asked last, and what.
    news: Option<String>,
    asked: Option<Asked>,
    tokens: u64,
    walk: Option<Walk>,
    transitions: u64,
    /// Which step a call on a node belongs to.
    calls: BTreeMap<(NodeId, u64), Step>,
    /// The plans that were carried out in a row without failure and news.
    rounds: Rounds,
    /// The plan that failed last, and how often in a row.
    failed: Option<(Vec<(String, String)>, u32)>,
    /// When to look again although nothing happened.
    look_again: Option<Instant>,
    /// All were told to read the options anew because of this moment.
    options_told: Option<i64>,
}

#[derive(Debug)]
struct Asked {
    token: u64,
    at: Instant,
}

impl Leader {
    pub(crate) fn new(mut random: Random) -> Self {
        let key = leader_key(&mut random);
        Self {
            random,
            key,
            news: None,
            asked: None,
            tokens: 0,
            walk: None,
            transitions: 0,
            calls: BTreeMap::new(),
            rounds: Rounds::default(),
            failed: None,
            look_again: None,
            options_told: None,
        }
    }

    /// A new view: what was on its way is in the status.
    pub(crate) fn forget_everything(&mut self) {
        self.news = None;
        self.asked = None;
        self.walk = None;
        self.calls.clear();
        self.rounds = Rounds::default();
        self.failed = None;
        self.look_again = None;
        self.options_told = None;
        self.key = leader_key(&mut self.random);
    }

    /// An order was delivered and has a call number now.
    pub(crate) fn order_heard(&mut self, node: NodeId, call: u64, step: Step) {
        if self.walk.is_some() {
            self.calls.insert((node, call), step);
        }
    }

    /// A number for a question to the scheduler.
    pub(crate) fn next_token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    /// A seed for what the leader makes.
    pub(crate) fn seed(&mut self) -> u64 {
        self.random.next_u64()
    }
}

/// A random UUID (RFC 9562, version 4).
fn leader_key(random: &mut Random) -> String {
    let (a, b) = (random.next_u64(), random.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        (b >> 48) & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

impl Controller {
    /// Something is new that may change the plan: the walk stops, and the scheduler is asked once it has.
    pub(crate) fn think_again(&mut self, why: &str) {
        self.settled = false;
        if !self.leads() || !self.synced {
            return;
        }
        self.leader.rounds = Rounds::default();
        self.leader.news.get_or_insert_with(|| why.to_owned());
        if let Some(walk) = &mut self.leader.walk {
            walk.abort(EVERYTHING);
        }
    }

    /// Does what a leader can do now: begins steps, ends a walk, asks for a plan.
    pub(crate) fn lead(&mut self, effects: &mut Vec<Effect>) {
        if !self.leads() || !self.synced || self.waits_until().is_some_and(|until| self.now < until) {
            return;
        }
        if self.lease_runs_out() || !self.unclaimed_tickets().is_empty() {
            return;
        }
        self.walk_on(effects);
        if self.leader.walk.as_ref().is_some_and(|walk| walk.finished() || self.only_fencing_flies(walk)) {
            self.end_walk();
        }
        if self.leader.walk.is_none() && self.leader.asked.is_none() && self.leader.news.take().is_some() {
            let token = self.leader.next_token();
            self.leader.asked = Some(Asked { token, at: self.now });
            self.leader.look_again = None;
            let cib = self.cib_to_decide_on();
            effects.push(Effect::Plan { token, cib, now: self.wall_time() });
        }
    }

    /// What the scheduler is asked about. With `no-quorum-policy=fence`, a side that has lost quorum ends, while one that has
    /// never had it since it was started only stops what it runs. Which of them this is only the leader knows, of itself, and
    /// so it stands in no other document (Pacemaker's controller does the same).
    fn cib_to_decide_on(&mut self) -> Document {
        let mut cib = self.cib();
        if self.first_quorate.is_some() && !self.quorate() {
            cib.root_mut().set("no-quorum-panic", "1");
        }
        cib
    }

    /// Until when nothing is planned yet.
    fn waits_until(&self) -> Option<Instant> {
        [self.unseen_until(), self.unready_until(), self.leases_untold_until()].into_iter().flatten().max()
    }

    /// Members whose executor is not there are waited for, for a while: what they run is not known.
    fn unready_until(&self) -> Option<Instant> {
        let unready = |status: &NodeStatus| status.in_view && status.expected && !status.online;
        let since = self.agreed_at.filter(|_| self.replica.status.nodes.values().any(unready))?;
        Some(since + EXECUTOR_PATIENCE)
    }

    /// A starting cluster waits for nodes that nobody has seen yet, for a while: they would be fenced otherwise.
    fn unseen_until(&self) -> Option<Instant> {
        if self.started {
            return None;
        }
        let unseen = |name: &str| !self.replica.status.nodes.values().any(|status| status.name == name);
        let listed = self.names.values().map(String::as_str);
        let missing = listed.chain(self.replica.configured_nodes()).any(unseen);
        let since = self.first_quorate.filter(|_| missing && self.quorate())?;
        Some(since + self.replica.options().dc_deadtime)
    }

    /// An aborted walk does not wait for fencing to end: it goes on by itself, and the next plan finds it going on.
    fn only_fencing_flies(&self, walk: &Walk) -> bool {
        walk.aborted() && walk.flying().all(|action| action.task == "stonith")
    }

    fn end_walk(&mut self) {
        let Some(walk) = self.leader.walk.take() else { return };
        self.leader.calls.clear();
        self.fencing.forget_steps();
        if walk.failed() {
            return self.walk_failed(walk.fingerprint());
        }
        self.leader.failed = None;
        if walk.aborted() {
            self.leader.news.get_or_insert_with(|| "the plan was not carried out in full".to_owned());
            return;
        }
        self.leader.rounds.carried_out(walk.fingerprint());
        self.leader.news = Some("the plan was carried out".to_owned());
    }

    /// A failure is answered by a new plan at once; but where the same plan fails again and again, by and by later, so
    /// that the cluster does not wear itself out.
    fn walk_failed(&mut self, plan: Vec<(String, String)>) {
        let times = match self.leader.failed.take() {
            Some((before, times)) if before == plan => times + 1,
            _ => 1,
        };
        self.leader.failed = Some((plan, times));
        if times < PATIENT_AFTER || self.leader.news.is_some() {
            self.leader.news.get_or_insert_with(|| "the plan failed".to_owned());
            return;
        }
        let pause = Duration::from_millis(100) * 2u32.saturating_pow(times - PATIENT_AFTER);
        self.leader.look_again = Some(self.now + pause.min(LONGEST_PAUSE));
    }

    pub(crate) fn planned(&mut self, token: u64, result: Result<Box<Transition>, String>, effects: &mut Vec<Effect>) {
        if self.what_if_answered(token, &result, effects) {
            return;
        }
        let Some(asked) = self.leader.asked.take_if(|asked| asked.token == token) else { return };
        let took_ms = u64::try_from(self.now.since(asked.at).as_millis()).unwrap_or(u64::MAX);
        let transition = match result {
            Ok(transition) => transition,
            Err(reason) => return self.no_plan(&reason, effects),
        };
        self.leader.look_again = self.when_to_look_again(&transition);
        if self.leader.news.is_some() {
            return;
        }
        self.look_at_tickets(&transition, effects);
        self.leader.transitions += 1;
        let walk = Walk::new(self.leader.transitions, transition, self.replica.options().node_action_limit);
        if self.goes_in_circles(&walk, effects) {
            return;
        }
        self.say_alert("plan", None);
        if walk.transition().synapses.is_empty() {
            self.leader.rounds = Rounds::default();
            if !self.settled {
                self.say(Command::Settled);
            }
            return;
        }
        self.say(Command::Planned { transition: walk.number, actions: walk.size(), took_ms });
        self.leader.walk = Some(walk);
    }

    fn no_plan(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        let text = format!("there is no plan, and nothing is done until something changes: {reason}");
        effects.push(Effect::Event(self.event("plan-failed", Severity::Error, text.clone())));
        self.say_alert("plan", Some((Severity::Error, text)));
        self.leader.look_again = self.replica.options().recheck_interval.map(|interval| self.now + interval);
    }

    /// Plans that were carried out come back: the scheduler and reality do not understand each other, or the configuration
    /// wants what cannot last. Services are left where they are then.
    fn goes_in_circles(&mut self, walk: &Walk, effects: &mut Vec<Effect>) -> bool {
        let Some(circle) = self.leader.rounds.circle(&walk.fingerprint()) else { return false };
        let text = format!("{circle}: nothing is done until something changes");
        if self.alerts.get("plan").is_none_or(|(_, known)| *known != text) {
            effects.push(Effect::Event(self.event("plan-circles", Severity::Error, text.clone())));
            self.say_alert("plan", Some((Severity::Error, text)));
        }
        true
    }

    pub(crate) fn say_alert(&mut self, about: &str, alert: Option<(Severity, String)>) {
        if alert.is_some() || self.alerts.contains_key(about) {
            self.say(Command::Alert { about: about.to_owned(), alert });
        }
    }

    fn when_to_look_again(&self, transition: &Transition) -> Option<Instant> {
        let by = transition.recheck_by.map(|by| {
            let seconds = u64::try_from(by.saturating_sub(self.time().seconds())).unwrap_or(0);
            self.now + Duration::from_secs(seconds.max(1))
        });
        let interval = self.replica.options().recheck_interval.map(|interval| self.now + interval);
        [by, interval].into_iter().flatten().min()
    }

    pub(crate) fn lead_deadline(&self) -> Option<Instant> {
        if !self.leads() || !self.synced {
            return None;
        }
        let start = self.waits_until().filter(|_| self.leader.news.is_some());
        let idle = self.leader.walk.is_none() && self.leader.asked.is_none();
        let again = self.leader.look_again.filter(|_| idle);
        let walk = self.leader.walk.as_ref().and_then(Walk::deadline);
        let away = self.away.values().min().map(|since| *since + EXECUTOR_PATIENCE);
        [start.filter(|at| *at > self.now), again, walk, away, self.options_last_until()].into_iter().flatten().min()
    }

    pub(crate) fn lead_timer(&mut self) {
        if self.leader.look_again.is_some_and(|at| at <= self.now) && self.leader.walk.is_none() {
            self.leader.look_again = None;
            self.tell_the_time();
            // Time alone makes no new plan of an old one: a circle is not walked once more because of it.
            let rounds = std::mem::take(&mut self.leader.rounds);
            self.think_again("it was time to look again");
            self.leader.rounds = rounds.after_a_pause();
        }
        self.tell_of_old_options();
        self.give_up_overdue();
        self.give_up_nodes();
    }

    /// Until when the cluster options are those that rules make of the configuration; none where all were told already that
    /// they are no more.
    fn options_last_until(&self) -> Option<Instant> {
        let until = self.replica.options().until.filter(|until| self.leader.options_told != Some(*until))?;
        let left = until.saturating_mul(1000).saturating_sub(self.time().millis());
        Some(self.now + Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    fn tell_of_old_options(&mut self) {
        if self.leads() && self.synced && self.options_last_until().is_some_and(|until| until <= self.now) {
            self.leader.options_told = self.replica.options().until;
            self.tell_the_time();
        }
    }

    /// The clock shows another time, or summer time.
    pub(crate) fn clock_was_set(&mut self) {
        self.leader.options_told = None;
        self.tell_the_time();
    }

    /// What rules make of the cluster options is read again by all members: some rules do not say when they will mean something
    /// else.
    fn tell_the_time(&mut self) {
        if self.leads() && self.synced {
            let time = self.wall_time();
            self.say(Command::ReadOptions { time });
        }
    }

    /// Nodes whose executors are away for too long.
    fn give_up_nodes(&mut self) {
        if !self.leads() || !self.synced {
            return;
        }
        let (now, mut late) = (self.now, Vec::new());
        for (node, since) in self.away.iter_mut().filter(|(_, since)| **since + EXECUTOR_PATIENCE <= now) {
            // Waited for once more, in case even this is not heard.
            *since = now;
            late.push(*node);
        }
        for node in late {
            self.say(Command::NodeFailed { node });
        }
    }

    fn give_up_overdue(&mut self) {
        let Some(walk) = &mut self.leader.walk else { return };
        let number = walk.number;
        let overdue = walk.overdue(self.now);
        for id in overdue {
            let step = self.step(number, id);
            let call = self.leader.calls.iter().find(|(_, of)| **of == step).map(|(call, _)| *call);
            match call {
                Some((node, call)) => {
                    // Waited for once more, in case even this is not heard.
                    if let Some(walk) = &mut self.leader.walk {
                        walk.wait_again(id, self.now);
                    }
                    let time = self.time().seconds();
                    self.say(Command::GiveUp { node, call, time });
                }
                None => self.step_failed(step),
            }
        }
    }

    /// A call ended (or a recurring operation's outcome changed): as the walk expected it, or not.
    pub(crate) fn call_ended(&mut self, node: NodeId, call: u64, outcome: &Outcome) {
        if !self.leads() {
            return;
        }
        let step = self.leader.calls.remove(&(node, call));
        let name = self.name(node);
        if let Some(walk) = &mut self.leader.walk {
            walk.heard_from(&name, self.now);
        }
        match step {
            Some(step) if !outcome.failed || outcome.issued.ignore_failure => self.step_done(step),
            Some(step) => self.step_failed(step),
            None => {
                let issued = &outcome.issued;
                self.think_again(&format!("{} {} on {name} ended unexpectedly", issued.resource, issued.task));
            }
        }
    }

    /// Calls on a node up to `through` whose executor does not know them will not be answered.
    pub(crate) fn calls_lost(&mut self, node: NodeId, through: u64) {
        let lost = self.leader.calls.range((node, 0)..=(node, through)).map(|(key, step)| (*key, *step));
        for (key, step) in lost.collect::<Vec<_>>() {
            let alive = |status: &NodeStatus| status.issued.contains_key(&key.1);
            if !self.replica.status.nodes.get(&node).is_some_and(alive) {
                self.leader.calls.remove(&key);
                self.step_failed(step);
            }
        }
    }

    /// A step of a plan that was made in this view.
    pub(crate) fn step(&self, transition: u64, action: u32) -> Step {
        Step { view: self.view_id(), transition, action }
    }

    /// The walk that `step` belongs to.
    fn walk_of(&mut self, step: Step) -> Option<&mut Walk> {
        let here = step.view == self.view_id();
        self.leader.walk.as_mut().filter(|walk| here && walk.number == step.transition)
    }

    /// A step of the walk ended well.
    pub(crate) fn step_done(&mut self, step: Step) {
        match self.walk_of(step) {
            Some(walk) => {
                walk.confirm(step.action);
            }
            None => self.think_again("a step of an earlier plan ended"),
        }
    }

    /// A step of the walk failed: nothing of its priority or less begins any more.
    pub(crate) fn step_failed(&mut self, step: Step) {
        let Some(walk) = self.walk_of(step) else { return self.think_again("a step of an earlier plan failed") };
        let priority = walk.priority(step.action);
        walk.fail(step.action);
        walk.abort(priority);
        self.leader.rounds = Rounds::default();
    }

    pub(crate) fn hear_plan(
        &mut self,
        from: NodeId,
        number: u64,
        actions: u32,
        took_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.started |= self.quorate();
        self.settled = false;
        self.actions_left = actions;
        let text = format!("{} made plan {number} of {actions} actions", self.name(from));
        let mut event = self.event("plan", Severity::Info, text);
        event.took_ms = Some(took_ms);
        effects.push(Effect::Event(event));
    }

    /// The node that carries an action out, where it is a member.
    pub(crate) fn performer(&self, action: &Action) -> Option<NodeId> {
        let node = self.node_named(&action.performer()?.name)?;
        self.view.as_ref()?.members.contains(&node).then_some(node)
    }

    /// The node that an action is about.
    fn target(&self, action: &Action) -> Option<NodeId> {
        match &action.kind {
            ActionKind::Pseudo | ActionKind::PseudoFencing { .. } => None,
            ActionKind::Resource { node, .. } | ActionKind::Cluster { node, .. } => self.node_named(&node.name),
        }
    }
}

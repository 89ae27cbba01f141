//! The engine of one node: it joins sealing, detection, view changes, order and quorum.
//!
//! Each input passes in the same way: is this process late? — take the input — deliver what became complete — look whether
//! another view should be — send what can be sent. Nothing is sent from anywhere else, so effects come out in an order that
//! can be read off [`Engine::handle`].

mod changes;

use crate::config::{Config, ConfigError, LinkMode, MAX_DATAGRAM, MAX_PAYLOAD, PersistedState};
use crate::core_types::{Effect, Event, Input, QuorumOverride, Undelivered};
use crate::detector::{Detector, Plan, Standing};
use crate::order::{Order, Outgoing};
use crate::quorum::{Decision, Quorum};
use crate::view::{Delivered, View, ViewId};
use crate::wire::{
    Assembly, Blob, FRAGMENT, Heartbeat, Item, Kind, MAX_MESSAGE, Message, Packet, QuorumStep, Run, decode,
};
use changes::{Pending, Proposal};
use hakudo_base::{Instant, NodeId};
use hakudo_seal::{Entropy, Opened, Rejection, Sealing, Sessions};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Lateness below this is the normal course of a machine.
const UNNOTICED_LATENESS: Duration = Duration::from_millis(10);
/// Changes of what a heartbeat says are told at once, but not more often than this.
const SHORTEST_ROUND: Duration = Duration::from_millis(5);
/// Broadcasts may wait up to this size in all.
const OUTBOX_BYTES: usize = 2 * MAX_PAYLOAD;
/// Datagrams of a view that is about to be installed here are kept, up to this many.
const STASHED_MESSAGES: usize = 1024;
/// Counts of refused datagrams are reported at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A silent peer is asked for a new session every so many heartbeats.
const ROUNDS_BETWEEN_OPENINGS: u64 = 10;

/// A broadcast of this node that it was not delivered yet.
#[derive(Clone, Debug)]
struct Outbound {
    number: u64,
    kind: Kind,
    payload: Vec<u8>,
}

/// How many datagrams changed nothing, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Not made with the cluster's key.
    pub forged: u64,
    /// Authentic, and seen before.
    pub replayed: u64,
    /// Not of this protocol, or damaged.
    pub malformed: u64,
    /// Of a session that is over.
    pub unknown_session: u64,
    /// Of a cluster with another name.
    pub foreign: u64,
}

/// The native membership engine of one node.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    persisted: PersistedState,
    /// The disk says that epochs up to this one may be used.
    secured: u64,
    sessions: Sessions,
    detector: Detector,
    quorum: Quorum,
    counters: Counters,
    reported: (Option<Instant>, Option<Instant>),
    started: Option<Instant>,
    left: bool,
    /// When the goodbye was asked for, and whether it is being said.
    leave: Option<(Instant, bool)>,

    next_round: Instant,
    last_round: Instant,
    round_is_due: bool,
    answers_due: BTreeSet<(NodeId, u8)>,

    view: Option<View>,
    runs: Vec<Run>,
    order: Option<Order>,
    /// The order of the view before, for members that still miss some of it.
    old_order: Option<Order>,
    /// The newest proposal that this node follows; the id of its view, when all is quiet.
    promised: ViewId,
    promised_at: Instant,
    proposal: Option<Proposal>,
    pending: Option<Pending>,
    plan: Option<(Plan, Instant)>,
    /// Something changed that the plan depends on.
    plan_is_due: bool,
    change_at: Option<Instant>,
    assemblies: BTreeMap<NodeId, Assembly>,
    stash: Vec<(NodeId, Message)>,

    /// The last message of each run that was delivered here.
    delivered: BTreeMap<NodeId, (u64, u64)>,
    outbox: VecDeque<Outbound>,
    outbox_bytes: usize,
    /// The message of the outbox, and the byte of it, that comes next into the order.
    cursor: (usize, usize),
    last_number: u64,
}

impl Engine {
    /// An engine that starts with the first call of [`Engine::handle`]. `seed` must be fresh entropy in production: the
    /// keys of all sessions follow from it.
    ///
    /// # Errors
    /// What [`Config::check`] finds.
    pub fn new(config: Config, persisted: PersistedState, seed: [u8; 32]) -> Result<Self, ConfigError> {
        Self::with_sealing(config, persisted, seed, Sealing::Noise)
    }

    /// Like [`Engine::new`], without the cipher: datagrams carry a checksum only. For simulations that study other
    /// things; no configuration leads here.
    ///
    /// # Errors
    /// What [`Config::check`] finds.
    pub fn new_unsealed(config: Config, persisted: PersistedState, seed: [u8; 32]) -> Result<Self, ConfigError> {
        Self::with_sealing(config, persisted, seed, Sealing::Checksum)
    }

    fn with_sealing(
        config: Config,
        mut persisted: PersistedState,
        seed: [u8; 32],
        sealing: Sealing,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        if persisted.epoch_limit > ViewId::LAST_EPOCH {
            return Err(ConfigError::EpochOutOfRange(persisted.epoch_limit));
        }
        persisted.runs = persisted.runs.wrapping_add(1);
        // No id up to the limit comes again: to promise it makes all others use higher ones.
        let promised = ViewId { epoch: persisted.epoch_limit, leader: 0 };
        persisted.epoch_limit = persisted.epoch_limit.saturating_add(changes::EPOCHS_AHEAD);
        let entropy = Entropy::new(seed, persisted.runs);
        let sessions = Sessions::new(sealing, config.local, config.credentials(), entropy, MAX_DATAGRAM);
        let detector = Detector::new(Instant::ZERO, &config, config.digest(), sessions.boot());
        let quorum = Quorum::new(&config.quorum, config.local, &config.votes(), persisted.quorum)?;
        let mut engine = Self {
            config,
            persisted,
            secured: 0,
            sessions,
            detector,
            quorum,
            counters: Counters::default(),
            reported: (None, None),
            started: None,
            left: false,
            leave: None,
            next_round: Instant::ZERO,
            last_round: Instant::ZERO,
            round_is_due: false,
            answers_due: BTreeSet::new(),
            view: None,
            runs: Vec::new(),
            order: None,
            old_order: None,
            promised,
            promised_at: Instant::ZERO,
            proposal: None,
            pending: None,
            plan: None,
            plan_is_due: true,
            change_at: None,
            assemblies: BTreeMap::new(),
            stash: Vec::new(),
            delivered: BTreeMap::new(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            cursor: (0, 0),
            last_number: 0,
        };
        engine.sessions.set_peers(engine.detector.others().into_iter());
        Ok(engine)
    }

    /// Takes one input. Effects are appended, to be carried out in order.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        if self.left {
            return;
        }
        self.start_or_notice_lateness(now, effects);
        self.take(now, input, effects);
        self.keep_time(now, effects);
        self.feed_and_deliver(now, effects);
        self.consider_change(now, effects);
        self.feed_and_deliver(now, effects);
        self.send_heartbeats(now, effects);
        self.send_order(now, effects);
        self.consider_leaving(now, effects);
    }

    /// When [`Input::Timer`] is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        if self.started.is_none() {
            return Some(Instant::ZERO);
        }
        let soon = self.round_is_due.then(|| self.last_round + SHORTEST_ROUND);
        [
            Some(self.next_round),
            soon,
            self.detector.deadline(),
            self.order.as_ref().and_then(Order::deadline),
            self.proposal.as_ref().map(Proposal::deadline),
            self.pending.as_ref().map(Pending::deadline),
            self.change_deadline(),
            self.quorum_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The view that was installed last.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The quorum rule's answer for the current view, with its reason.
    pub fn quorum(&self) -> Decision {
        self.quorum.decision()
    }

    /// How many datagrams changed nothing, by reason.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes of broadcasts that this node was not delivered yet.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes
    }

    /// The measured round trip to a node.
    pub fn round_trip(&self, node: NodeId) -> Option<Duration> {
        self.detector.round_trip(node)
    }

    /// The links to a node that are up.
    pub fn links_up(&self, node: NodeId) -> Vec<u8> {
        self.detector.links_up(node)
    }

    #[cfg(test)]
    pub(crate) fn seal_for_test(&mut self, to: NodeId, payload: &[u8]) -> Option<Vec<u8>> {
        self.sessions.seal(to, payload)
    }

    fn local(&self) -> Run {
        Run { node: self.config.local, boot: self.sessions.boot() }
    }

    fn view_id(&self) -> ViewId {
        self.view.as_ref().map(|view| view.id).unwrap_or_default()
    }

    fn is_leaving(&self) -> bool {
        self.leave.is_some_and(|(_, said)| said)
    }

    fn standing(&self) -> Standing {
        Standing { view: self.view_id(), promised: self.promised, leaving: self.is_leaving() }
    }

    fn start_or_notice_lateness(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.started.is_none() {
            self.started = Some(now);
            self.next_round = now;
            self.last_round = now.saturating_sub(SHORTEST_ROUND);
            self.persist(effects);
            return;
        }
        let late = self.deadline().map(|deadline| now.since(deadline)).unwrap_or_default();
        if late < UNNOTICED_LATENESS {
            return;
        }
        self.detector.paused(now, late);
        if let Some((_, since)) = &mut self.plan {
            *since = (*since + late).min(now);
        }
        if late >= self.config.heartbeat {
            let pause_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
            effects.push(Effect::Event(Event::Paused { pause_ms }));
        }
    }

    fn take(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Timer => {}
            Input::Reserved(limit) => self.secured = self.secured.max(limit.min(self.persisted.epoch_limit)),
            Input::Packet { link, bytes } => self.take_datagram(now, link, &bytes, effects),
            Input::Packets(packets) => {
                for (link, bytes) in packets {
                    self.take_datagram(now, link, &bytes, effects);
                    // The next one may end the view: what is complete belongs into this one.
                    self.feed_and_deliver(now, effects);
                }
            }
            Input::Broadcast(payload) => self.broadcast(Kind::User, payload, effects),
            Input::Configure(config) => self.configure(now, *config, effects),
            Input::Fenced(node) => self.detector.fenced(now, node),
            Input::Quorum(wish) => {
                let step = match wish {
                    QuorumOverride::SetExpectedVotes(votes) => QuorumStep::SetExpectedVotes(votes),
                    QuorumOverride::CancelWaitForAll => QuorumStep::CancelWaitForAll,
                };
                self.broadcast_step(step, effects);
            }
            Input::Device { votes } => {
                if let Some(word) = self.quorum.hear_device(votes) {
                    self.broadcast_step(QuorumStep::Device(word), effects);
                }
            }
            Input::Leave => {
                self.leave.get_or_insert((now, false));
            }
        }
    }

    fn keep_time(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut events = Vec::new();
        if self.detector.check(now, &mut events) {
            self.round_is_due = true;
            self.plan_is_due = true;
        }
        effects.extend(events.into_iter().map(Effect::Event));
        if let Some(order) = &mut self.order {
            order.timer(now);
        }
        if self.quorum_deadline().is_some_and(|deadline| now >= deadline) {
            self.broadcast_step(QuorumStep::WindowOver, effects);
        }
    }

    /// The leader keeps the time of the quorum rule for all: so all apply it at the same place in the order.
    fn quorum_deadline(&self) -> Option<Instant> {
        // Who leaves says nothing more: the next leader will.
        let due = self.quorum.deadline().filter(|_| self.leave.is_none())?;
        let leads = self.view.as_ref().is_some_and(|view| view.leader() == self.config.local);
        let step = postcard::to_stdvec(&QuorumStep::WindowOver).ok()?;
        let is_step = |waiting: &Outbound| waiting.kind == Kind::Quorum && waiting.payload == step;
        (leads && !self.outbox.iter().any(is_step)).then_some(due)
    }

    fn configure(&mut self, now: Instant, config: Config, effects: &mut Vec<Effect>) {
        let checked = match config.local == self.config.local {
            true => config.check(),
            false => Err(ConfigError::LocalChanged),
        };
        let checked = checked.and_then(|()| {
            let changed = config.quorum != self.config.quorum || config.votes() != self.config.votes();
            if changed {
                self.quorum.reconfigure(&config.quorum, config.local, &config.votes())?;
            }
            Ok(())
        });
        if let Err(error) = checked {
            effects.push(Effect::Event(Event::ConfigRefused { reason: error.to_string() }));
            return;
        }
        if config.cluster_name != self.config.cluster_name {
            self.sessions.forget();
        }
        self.sessions.use_credentials(config.credentials());
        self.detector.configure(now, &config, config.digest());
        self.delivered.retain(|node, _| config.node(*node).is_some());
        self.config = config;
        self.sessions.set_peers(self.detector.others().into_iter());
        self.round_is_due = true;
        self.plan_is_due = true;
    }

    // ---------------------------------------------------------------- what comes in

    fn take_datagram(&mut self, now: Instant, link: u8, bytes: &[u8], effects: &mut Vec<Effect>) {
        let opened = self.sessions.open(now, bytes, &self.config.cluster_name);
        match opened {
            Opened::Answer { to, bytes } => effects.push(Effect::Transmit { to, link, bytes }),
            Opened::Established { from, boot } => {
                self.heard(now, Run { node: from, boot }, link, effects);
                self.round_is_due = true;
            }
            Opened::Payload { from, boot, confirms, bytes } => {
                let Some(packet) = Packet::decode(&bytes) else {
                    self.counters.malformed += 1;
                    return;
                };
                if packet.link != link {
                    self.counters.malformed += 1;
                    return;
                }
                self.heard(now, Run { node: from, boot }, link, effects);
                self.round_is_due |= confirms;
                self.take_message(now, from, link, packet.message, effects);
            }
            Opened::Rejected(rejection) => self.refuse(now, rejection, effects),
        }
    }

    fn refuse(&mut self, now: Instant, rejection: Rejection, effects: &mut Vec<Effect>) {
        let due = |last: &mut Option<Instant>| {
            let due = last.is_none_or(|last| now.since(last) >= REPORT_INTERVAL);
            if due {
                *last = Some(now);
            }
            due
        };
        match rejection {
            Rejection::Malformed => self.counters.malformed += 1,
            Rejection::UnknownSession => self.counters.unknown_session += 1,
            Rejection::Replayed => self.counters.replayed += 1,
            Rejection::Forged { claimed } => {
                self.counters.forged += 1;
                if due(&mut self.reported.0) {
                    effects.push(Effect::Event(Event::Forged { total: self.counters.forged, claimed }));
                }
            }
            Rejection::Foreign { node, cluster_name } => {
                self.counters.foreign += 1;
                if due(&mut self.reported.1) {
                    effects.push(Effect::Event(Event::ForeignCluster { node, cluster_name }));
                }
            }
        }
    }

    fn heard(&mut self, now: Instant, from: Run, link: u8, effects: &mut Vec<Effect>) {
        let mut events = Vec::new();
        let changed = self.detector.heard(now, from, link, &mut events);
        self.round_is_due |= changed;
        self.plan_is_due |= changed;
        effects.extend(events.into_iter().map(Effect::Event));
    }

    fn take_message(&mut self, now: Instant, from: NodeId, link: u8, message: Message, effects: &mut Vec<Effect>) {
        if self.belongs_to_coming_view(&message) {
            if self.stash.len() < STASHED_MESSAGES {
                self.stash.push((from, message));
            }
            return;
        }
        match message {
            Message::Heartbeat(heartbeat) => self.take_heartbeat(now, from, link, &heartbeat, effects),
            Message::Part(part) => {
                if let Some(message) = self.assemblies.entry(from).or_default().take(part) {
                    self.take_view_message(now, from, message, effects);
                }
            }
            Message::Fetch { view, first, last } => {
                let orders = [&self.order, &self.old_order];
                let found = orders.into_iter().flatten().find(|order| order.view() == view);
                for outgoing in found.map(|order| order.fetch(from, first, last)).unwrap_or_default() {
                    self.send(now, &outgoing, effects);
                }
            }
            Message::Fetched(batch) => self.take_fetched(now, batch, effects),
            Message::Submit(batch) => {
                if let Some(order) = self.order_with(from) {
                    order.take_submitted(from, batch);
                }
            }
            Message::Ordered(batch) => {
                if let Some(order) = self.order_with(from) {
                    order.take_ordered(from, batch);
                }
            }
            Message::Ack(ack) => {
                if let Some(order) = self.order_with(from) {
                    order.take_ack(now, from, &ack);
                }
            }
        }
    }

    fn belongs_to_coming_view(&self, message: &Message) -> bool {
        let view = match message {
            Message::Submit(batch) | Message::Ordered(batch) => batch.view,
            Message::Ack(ack) => ack.view,
            _ => return false,
        };
        view == self.promised && view > self.view_id()
    }

    /// The order, for datagrams of that run of a node that is a member of the view.
    fn order_with(&mut self, from: NodeId) -> Option<&mut Order> {
        let run = self.detector.living_run(from)?;
        if self.runs.contains(&run) { self.order.as_mut() } else { None }
    }

    fn take_heartbeat(
        &mut self,
        now: Instant,
        from: NodeId,
        link: u8,
        heartbeat: &Heartbeat,
        effects: &mut Vec<Effect>,
    ) {
        let mut events = Vec::new();
        let changed = self.detector.take(now, from, link, heartbeat, &mut events);
        self.plan_is_due |= changed;
        self.hurry_proposal(now, from, changed);
        effects.extend(events.into_iter().map(Effect::Event));
        let view = self.view_id();
        let is_leader = from.0 == view.leader && self.detector.standing_of(from).is_some_and(|said| said.view == view);
        let (round_trip, patience) = (self.detector.round_trip(from), self.detector.patience(from));
        if let Some(order) = &mut self.order {
            order.set_round_trip(from, round_trip, patience);
            if is_leader {
                order.learn_stable(heartbeat.stable);
            }
        }
    }

    // ---------------------------------------------------------------- broadcasts

    fn broadcast(&mut self, kind: Kind, payload: Vec<u8>, effects: &mut Vec<Effect>) {
        let reason = if self.leave.is_some() {
            Some(Undelivered::Leaving)
        } else if payload.len() > MAX_PAYLOAD {
            Some(Undelivered::TooLarge)
        } else if kind == Kind::User && self.outbox_bytes + payload.len() > OUTBOX_BYTES {
            Some(Undelivered::QueueFull)
        } else {
            None
        };
        match reason {
            Some(reason) if kind == Kind::User => effects.push(Effect::Undelivered { payload, reason }),
            Some(_) => {}
            None => {
                self.last_number += 1;
                self.outbox_bytes += payload.len();
                self.outbox.push_back(Outbound { number: self.last_number, kind, payload });
            }
        }
    }

    fn broadcast_step(&mut self, step: QuorumStep, effects: &mut Vec<Effect>) {
        if let Ok(payload) = postcard::to_stdvec(&step) {
            self.broadcast(Kind::Quorum, payload, effects);
        }
    }

    /// Moves broadcasts into the order as far as there is room, and delivers what is complete.
    fn feed_and_deliver(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        loop {
            self.feed();
            let complete = self.order.as_mut().map(Order::take_delivered).unwrap_or_default();
            if complete.is_empty() {
                return;
            }
            for message in complete {
                let boot = self.runs.iter().find(|run| run.node == message.origin).map_or(0, |run| run.boot);
                self.delivered.insert(message.origin, (boot, message.number));
                if message.origin == self.config.local {
                    self.drop_outbox_up_to(message.number);
                }
                match message.kind {
                    Kind::User => {
                        let delivered = Delivered { from: message.origin, payload: message.payload };
                        effects.push(Effect::Deliver(delivered));
                    }
                    Kind::Quorum => self.take_quorum_step(now, message.origin, &message.payload, effects),
                }
            }
        }
    }

    fn feed(&mut self) {
        let origin = self.config.local;
        let Some(order) = &mut self.order else { return };
        while order.has_room()
            && let Some(outbound) = self.outbox.get(self.cursor.0)
        {
            let start = self.cursor.1;
            let end = outbound.payload.len().min(start + FRAGMENT);
            let more = end < outbound.payload.len();
            let bytes = Blob(outbound.payload.get(start..end).unwrap_or_default().to_vec());
            order.submit(Item { origin, number: outbound.number, kind: outbound.kind, more, bytes });
            self.cursor = if more { (self.cursor.0, end) } else { (self.cursor.0 + 1, 0) };
        }
    }

    /// Removes own broadcasts up to a number, and gives them.
    fn drop_outbox_up_to(&mut self, number: u64) -> Vec<Outbound> {
        let mut dropped = Vec::new();
        while self.outbox.front().is_some_and(|front| front.number <= number)
            && let Some(front) = self.outbox.pop_front()
        {
            self.outbox_bytes -= front.payload.len();
            self.cursor = if self.cursor.0 == 0 { (0, 0) } else { (self.cursor.0 - 1, self.cursor.1) };
            dropped.push(front);
        }
        dropped
    }

    fn take_quorum_step(&mut self, now: Instant, from: NodeId, payload: &[u8], effects: &mut Vec<Effect>) {
        let before = self.quorum.decision();
        let refused = match decode::<QuorumStep>(payload) {
            Some(QuorumStep::WindowOver) => {
                let due = self.quorum.deadline().unwrap_or(now);
                self.quorum.timer(due.max(now));
                None
            }
            Some(QuorumStep::SetExpectedVotes(votes)) => self.quorum.set_expected_votes(votes).err(),
            Some(QuorumStep::CancelWaitForAll) => self.quorum.cancel_wait_for_all().err(),
            Some(QuorumStep::Device(word)) => {
                self.quorum.device_said(from, word);
                None
            }
            None => None,
        };
        if let Some(error) = refused.filter(|_| from == self.config.local) {
            effects.push(Effect::Event(Event::QuorumRefused { reason: error.to_string() }));
        }
        let decision = self.quorum.decision();
        self.plan_is_due = true;
        if decision != before {
            effects.push(Effect::Event(Event::Quorum { decision }));
            self.persist_if_changed(effects);
        }
    }

    fn persist_if_changed(&mut self, effects: &mut Vec<Effect>) {
        if self.persisted.quorum != self.quorum.persisted() {
            self.persisted.quorum = self.quorum.persisted();
            self.persist(effects);
        }
    }

    /// Writes the state to disk before anything else is done.
    fn persist(&mut self, effects: &mut Vec<Effect>) {
        self.secured = self.persisted.epoch_limit;
        effects.push(Effect::Persist(self.persisted.clone()));
    }

    // ---------------------------------------------------------------- what goes out

    fn send_heartbeats(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let answers = std::mem::take(&mut self.answers_due);
        let regular = now >= self.next_round;
        if regular || self.round_is_due && now >= self.last_round + SHORTEST_ROUND {
            self.detector.next_round();
            self.last_round = now;
            self.round_is_due = false;
            if regular {
                self.next_round = now + self.config.heartbeat;
                self.plan_is_due = true;
            }
            for node in self.detector.others() {
                self.open_session(now, node, regular, effects);
                for link in self.detector.links(node) {
                    self.send_heartbeat(now, node, link, effects);
                }
            }
        } else if !answers.is_empty() {
            self.detector.next_round();
            for (node, link) in answers {
                self.send_heartbeat(now, node, link, effects);
            }
        }
    }

    /// Tells everybody at once what this node has to say of itself.
    fn announce(&mut self, now: Instant) {
        self.round_is_due = true;
        self.last_round = now.saturating_sub(SHORTEST_ROUND);
    }

    fn open_session(&mut self, now: Instant, node: NodeId, regular: bool, effects: &mut Vec<Effect>) {
        let is_silent = self.detector.living_run(node).is_none();
        let ask = is_silent && regular && self.detector.round().is_multiple_of(ROUNDS_BETWEEN_OPENINGS);
        let opening = self.sessions.opening(now, node, ask, &self.config.cluster_name);
        let Some(bytes) = opening else { return };
        for link in self.detector.links(node) {
            effects.push(Effect::Transmit { to: node, link, bytes: bytes.clone() });
        }
    }

    fn send_heartbeat(&mut self, now: Instant, node: NodeId, link: u8, effects: &mut Vec<Effect>) {
        let stable = self.order.as_ref().map_or(0, Order::stable);
        let heartbeat = self.detector.make(now, node, link, self.standing(), stable);
        self.send_on(node, link, &Message::Heartbeat(heartbeat), effects);
    }

    fn send_order(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        if let Some(order) = &mut self.order {
            order.pump(now, &mut out);
        }
        for outgoing in out {
            self.send(now, &outgoing, effects);
        }
    }

    fn send(&mut self, now: Instant, outgoing: &Outgoing, effects: &mut Vec<Effect>) {
        let mut links = if outgoing.repeated {
            self.detector.links(outgoing.to)
        } else {
            self.detector.working_links(now, outgoing.to)
        };
        if !outgoing.repeated && self.config.link_mode == LinkMode::Passive {
            links.truncate(1);
        }
        for link in links {
            self.send_on(outgoing.to, link, &outgoing.message, effects);
        }
    }

    fn send_on(&mut self, to: NodeId, link: u8, message: &Message, effects: &mut Vec<Effect>) {
        // A packet is its link and its message; written as a pair so that the message need not be copied.
        let Ok(payload) = postcard::to_stdvec(&(link, message)) else { return };
        debug_assert!(payload.len() <= MAX_MESSAGE, "{} bytes: {message:?}", payload.len());
        if let Some(bytes) = self.sessions.seal(to, &payload) {
            effects.push(Effect::Transmit { to, link, bytes });
        }
    }

    // ---------------------------------------------------------------- goodbye

    fn consider_leaving(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some((asked, said)) = self.leave else { return };
        let patience_is_over = now >= asked + self.config.dead_after * 2;
        let view = self.view_id();
        let others: Vec<NodeId> =
            self.runs.iter().map(|run| run.node).filter(|node| *node != self.config.local).collect();
        // Everybody who is still heard, and stays, is in a view without this node.
        let mut stay = others.iter().filter_map(|node| self.detector.standing_of(*node)).filter(|other| !other.leaving);
        if said && (patience_is_over || stay.all(|other| other.view > view))
            || others.is_empty() && self.outbox.is_empty()
        {
            self.left = true;
            effects.push(Effect::Left);
            return;
        }
        let all_is_said = self.outbox.is_empty() && self.order.as_ref().is_none_or(Order::is_settled);
        if !said && (all_is_said || now >= asked + self.config.dead_after) {
            for outbound in self.drop_outbox_up_to(u64::MAX).into_iter().filter(|outbound| outbound.kind == Kind::User)
            {
                let (payload, reason) = (outbound.payload, Undelivered::Leaving);
                effects.push(Effect::Undelivered { payload, reason });
            }
            self.leave = Some((asked, true));
            self.proposal = None;
            self.announce(now);
            self.send_heartbeats(now, effects);
        }
    }
}

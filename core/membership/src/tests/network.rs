//! A network of engines in virtual time, with every fault that a network and a machine can have, all from one seed.

use super::checks::History;
use crate::{ClusterKey, Config, Effect, Engine, Input, NodeEntry, PersistedState, View};
use hakudo_base::{Instant, NodeId, Random};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Of 100 datagrams, so many get lost, and so many come twice.
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    /// Microseconds on the way; different delays reorder.
    pub(crate) fastest: u64,
    pub(crate) slowest: u64,
    /// Of 1000 datagrams, so many are ten times as slow.
    pub(crate) stragglers: u64,
}

impl Weather {
    pub(crate) const FINE: Weather = Weather { loss: 0, duplicates: 0, fastest: 80, slowest: 150, stragglers: 0 };
}

/// One machine.
pub(crate) struct Machine {
    pub(crate) engine: Option<Engine>,
    pub(crate) persisted: PersistedState,
    pub(crate) runs: u64,
    pub(crate) config: Config,
    paused_until: Instant,
    /// What came in while the process did not run.
    socket: VecDeque<(u8, Vec<u8>)>,
    said: u64,
}

impl Machine {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            engine: None,
            persisted: PersistedState::default(),
            runs: 0,
            config,
            paused_until: Instant::ZERO,
            socket: VecDeque::new(),
            said: 0,
        }
    }
}

/// More steps than this in one moment mean that a core does not move its deadline.
const MOST_STEPS_A_MOMENT: u32 = 100_000;

pub(crate) struct Network {
    pub(crate) now: Instant,
    steps_in_moment: u32,
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    pub(crate) sealed: bool,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) history: History,
    pub(crate) events: Vec<(Instant, NodeId, crate::Event)>,
    on_the_wire: BTreeMap<(Instant, u64), (NodeId, u8, Vec<u8>)>,
    /// Nothing passes from the first to the second on these links.
    pub(crate) cuts: BTreeSet<(NodeId, NodeId, u8)>,
    sent: u64,
    /// Datagrams are kept here, for attackers.
    pub(crate) recording: Option<Vec<(NodeId, u8, Vec<u8>)>>,
    /// How many times an engine waited for its disk.
    pub(crate) waited_for_disks: usize,
    /// What is to be written beside other work never is.
    pub(crate) disks_are_late: bool,
}

pub(crate) fn config(local: NodeId, nodes: u32, links: u8) -> Config {
    let entry = |id| NodeEntry { id: NodeId(id), name: format!("node{id}"), links: (0..links).collect(), votes: 1 };
    Config::new(local, "test", ClusterKey::new([7; 32]), (1..=nodes).map(entry).collect())
}

impl Network {
    pub(crate) fn new(seed: u64, nodes: u32, links: u8) -> Self {
        let machine = |id| Machine::new(config(NodeId(id), nodes, links));
        Self {
            now: Instant::from_millis(1_000_000),
            steps_in_moment: 0,
            random: Random::new(seed),
            weather: Weather::FINE,
            sealed: false,
            machines: (1..=nodes).map(|id| (NodeId(id), machine(id))).collect(),
            history: History::default(),
            events: Vec::new(),
            on_the_wire: BTreeMap::new(),
            cuts: BTreeSet::new(),
            sent: 0,
            recording: None,
            waited_for_disks: 0,
            disks_are_late: false,
        }
    }

    /// All nodes, started.
    pub(crate) fn started(seed: u64, nodes: u32, links: u8) -> Self {
        let mut network = Self::new(seed, nodes, links);
        (1..=nodes).for_each(|id| network.start(NodeId(id)));
        network
    }

    pub(crate) fn start(&mut self, node: NodeId) {
        let seed = self.random.next_u64();
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let make = if self.sealed { Engine::new } else { Engine::new_unsealed };
        machine.engine = Some(make(machine.config.clone(), machine.persisted.clone(), bytes).unwrap());
        machine.runs += 1;
        machine.said = 0;
        machine.socket.clear();
        machine.paused_until = Instant::ZERO;
        self.history.start(node, machine.runs);
        self.give(node, Input::Timer);
    }

    pub(crate) fn crash(&mut self, node: NodeId) {
        if let Some(machine) = self.machines.get_mut(&node) {
            machine.engine = None;
            self.history.end(node);
        }
    }

    /// Its process does not run for this long, unless it did not run just before.
    pub(crate) fn pause(&mut self, node: NodeId, length: Duration) {
        let now = self.now;
        let rested = |machine: &&mut Machine| machine.paused_until + Duration::from_millis(20) < now;
        if let Some(machine) = self.machines.get_mut(&node).filter(rested) {
            machine.paused_until = now + length;
        }
    }

    /// Cuts both ways on all links between the two groups.
    pub(crate) fn split(&mut self, left: &[u32], right: &[u32]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (NodeId(*a), NodeId(*b)))) {
            self.cuts.extend((0..8).flat_map(|link| [(a, b, link), (b, a, link)]));
        }
    }

    pub(crate) fn is_running(&self, node: NodeId) -> bool {
        self.machines.get(&node).is_some_and(|machine| machine.engine.is_some())
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.machines.iter().filter(|(_, machine)| machine.engine.is_some()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn view(&self, node: NodeId) -> Option<&View> {
        self.machines.get(&node)?.engine.as_ref()?.view()
    }

    /// Says something new, at least `length` bytes.
    pub(crate) fn say(&mut self, node: NodeId, length: usize) {
        let Some(machine) = self.machines.get_mut(&node).filter(|machine| machine.engine.is_some()) else { return };
        if machine.paused_until > self.now {
            return;
        }
        machine.said += 1;
        let mut payload = postcard::to_stdvec(&(node.0, machine.runs, machine.said)).unwrap();
        payload.resize(length.max(payload.len()), machine.said as u8);
        self.history.said(node, &payload);
        self.give(node, Input::Broadcast(payload));
    }

    pub(crate) fn give(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(engine) = &mut machine.engine else { return };
        let mut effects = Vec::new();
        engine.handle(now, input, &mut effects);
        let mut left = false;
        let mut reserved = None;
        for effect in effects {
            match effect {
                Effect::Transmit { to, link, bytes } => {
                    assert!(bytes.len() <= crate::MAX_DATAGRAM, "{} bytes", bytes.len());
                    self.transmit(node, to, link, bytes);
                }
                Effect::Persist(state) => {
                    self.waited_for_disks += 1;
                    if let Some(machine) = self.machines.get_mut(&node) {
                        machine.persisted = state;
                    }
                    reserved = None;
                }
                Effect::Reserve(state) if !self.disks_are_late => reserved = Some(state),
                Effect::Reserve(_) => {}
                Effect::View(view) => self.history.view(node, view),
                Effect::Deliver(delivered) => self.history.delivered(node, delivered),
                Effect::Undelivered { payload, reason } => self.history.undelivered(node, payload, reason),
                Effect::Event(event) => self.events.push((now, node, event)),
                Effect::Left => left = true,
            }
        }
        if let Some((machine, state)) = self.machines.get_mut(&node).zip(reserved) {
            let limit = state.epoch_limit;
            machine.persisted = state;
            self.give(node, Input::Reserved(limit));
        }
        if left {
            self.crash(node);
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, link: u8, bytes: Vec<u8>) {
        if let Some(recording) = &mut self.recording {
            recording.push((to, link, bytes.clone()));
        }
        if self.cuts.contains(&(from, to, link)) {
            return;
        }
        let copies = if self.random.percent(self.weather.duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            if self.random.percent(self.weather.loss) {
                continue;
            }
            let mut delay = self.random.between(self.weather.fastest, self.weather.slowest);
            if self.random.below(1000) < self.weather.stragglers {
                delay *= 10;
            }
            self.inject(Duration::from_micros(delay), to, link, bytes.clone());
        }
    }

    /// Puts a datagram on the wire.
    pub(crate) fn inject(&mut self, delay: Duration, to: NodeId, link: u8, bytes: Vec<u8>) {
        self.sent += 1;
        self.on_the_wire.insert((self.now + delay, self.sent), (to, link, bytes));
    }

    /// What is on its way to a node is taken off the wire.
    pub(crate) fn take_from_the_wire(&mut self, to: NodeId) -> Vec<(u8, Vec<u8>)> {
        let all = std::mem::take(&mut self.on_the_wire);
        let (taken, left) = all.into_iter().partition(|(_, (receiver, ..))| *receiver == to);
        self.on_the_wire = left;
        let taken: BTreeMap<_, _> = taken;
        taken.into_values().map(|(_, link, bytes)| (link, bytes)).collect()
    }

    /// Carries out the next thing that happens until `end`; false if there is none.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.on_the_wire.first_key_value().map(|((at, _), _)| *at);
        let timers = self.machines.iter().filter_map(|(id, machine)| {
            let deadline = machine.engine.as_ref()?.deadline()?;
            let has_mail = !machine.socket.is_empty();
            let at = if has_mail { machine.paused_until } else { deadline.max(machine.paused_until) };
            Some((at.max(self.now), *id))
        });
        let timer = timers.min();
        let at = arrival.into_iter().chain(timer.map(|(at, _)| at)).min();
        let Some(at) = at.filter(|at| *at <= end) else { return false };
        self.steps_in_moment = if at > self.now { 0 } else { self.steps_in_moment + 1 };
        assert!(self.steps_in_moment < MOST_STEPS_A_MOMENT, "{:?} do not move their deadline", timer.map(|(_, id)| id));
        self.now = self.now.max(at);
        if let Some((when, node)) = timer
            && arrival.is_none_or(|arrival| when <= arrival)
        {
            // What came meanwhile is taken one by one, or several at once.
            let most = if self.random.percent(50) { 1 } else { 64 };
            let machine = self.machines.get_mut(&node);
            let mut mail: Vec<_> = machine
                .map(|machine| machine.socket.drain(..machine.socket.len().min(most)).collect())
                .unwrap_or_default();
            let input = match mail.len() {
                0 => Input::Timer,
                1 => {
                    let (link, bytes) = mail.remove(0);
                    Input::Packet { link, bytes }
                }
                _ => Input::Packets(mail),
            };
            self.give(node, input);
        } else if let Some((_, (to, link, bytes))) = self.on_the_wire.pop_first() {
            let Some(machine) = self.machines.get_mut(&to).filter(|machine| machine.engine.is_some()) else {
                return true;
            };
            if machine.paused_until > self.now || !machine.socket.is_empty() {
                machine.socket.push_back((link, bytes));
            } else {
                self.give(to, Input::Packet { link, bytes });
            }
        }
        true
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until something is true, and gives how long that took.
    pub(crate) fn run_until(&mut self, limit: Duration, is_true: impl Fn(&Network) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        while !is_true(self) {
            if !self.step(end) {
                self.now = end;
                return None;
            }
        }
        Some(self.now.since(start))
    }

    /// All running nodes, and no others, are in one view.
    pub(crate) fn is_whole(&self) -> bool {
        let running = self.running();
        let mut views = running.iter().map(|node| self.view(*node));
        let Some(Some(first)) = views.next() else { return running.is_empty() };
        first.members == running && views.all(|view| view.is_some_and(|view| view.id == first.id))
    }
}

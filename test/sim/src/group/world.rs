//! The world: members with their clocks, stores and clusters, the network between them, and what happens next.

mod admin;
mod booth;
mod end;

use super::agree::Agreement;
use super::check::Checker;
use super::clock::Clock;
use super::cluster::{Cluster, Next};
use super::core::Core;
use super::guard::Executor;
use super::queue::Queued;
use super::script::{Act, Script};
use super::store::Store;
use super::{Mutation, Outcome, Rule};
use hakudo_base::Random;
use hakudo_tickets::{
    Effect, Event as CoreEvent, Holding, Input, MemberId, MemberKind, Protocol, Readiness, Request, TicketWord,
};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

const MS: u64 = 1_000_000;
/// How long after the last fault all must be well, in nanoseconds.
const PATIENCE: u64 = 600 * 1000 * MS;
/// No history needs more events than this.
const MOST_EVENTS: u64 = 400_000;
/// How far a clock of the mutation that drifts too much is off, in millionths.
const WILD_DRIFT: i64 = 300_000;

/// One run of a member's process.
struct Process {
    core: Core,
    clock: Clock,
    run: u64,
    wakes_at: Option<u64>,
    next_request: u64,
}

/// A member: who speaks for it, what it has stored, and its cluster if it is a site.
struct Place {
    id: MemberId,
    kind: MemberKind,
    powered: bool,
    process: Option<Process>,
    ghost: Option<Process>,
    /// Up to where the next speaker found what the former one was storing.
    ghost_stored: Option<u64>,
    store: Store,
    cluster: Cluster,
    executor: Executor,
    paused_until: u64,
    store_hangs_until: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Act(usize),
    Heal,
    Look,
    Wake { member: usize, run: u64 },
    Deliver { to: usize, from: MemberId, message: Vec<u8> },
    Stored { member: usize, run: u64, seq: u64 },
    Checked { member: usize, run: u64, check: u64, result: Result<Readiness, String> },
    LeaseEnds { site: usize, ticket: String, version: u64 },
    GuardDue { site: usize },
    HasStopped { site: usize, ticket: String, version: u64 },
    HasStarted { site: usize, ticket: String, version: u64 },
    GhostEnds { member: usize, run: u64 },
    PowerBack(MemberId),
    AskAgain { at: MemberId, request: Request },
    LooksAtServices { site: usize, ticket: String },
}

pub(crate) struct World {
    script: Script,
    mutation: Option<Mutation>,
    random: Random,
    now: u64,
    order: u64,
    queue: BinaryHeap<Queued>,
    places: Vec<Place>,
    cut: BTreeSet<(MemberId, MemberId)>,
    network: (u64, u64, u64),
    runs: u64,
    healed: bool,
    asked: BTreeMap<(u64, u64), Request>,
    /// Members that were switched off so that an order was safe, until when they are at least, and whom it was given to.
    off: BTreeMap<MemberId, (u64, usize)>,
    /// Attributes that were acknowledged: ticket, site, name, value.
    kept: BTreeSet<(String, MemberId, String, String)>,
    /// The newest acknowledged grant of each ticket.
    granted: BTreeMap<String, u64>,
    /// Runs at which a takeover was ordered.
    takeovers: BTreeSet<u64>,
    checker: Checker,
    agreement: Agreement,
    /// Since when all is well.
    calm_since: Option<u64>,
    reached: BTreeMap<&'static str, u64>,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(script: Script, mutation: Option<Mutation>, trace: bool) -> Self {
        let seed = script.seed;
        let random = Random::new(seed ^ 0x7469_636b_6574);
        let answers_all = script.protocol == Protocol::Booth;
        let place = |member: &hakudo_tickets::MemberEntry| Place {
            id: member.id,
            kind: member.kind,
            powered: true,
            process: None,
            ghost: None,
            ghost_stored: None,
            store: Store::default(),
            cluster: Cluster { answers_all, ..Cluster::default() },
            executor: Executor::default(),
            paused_until: 0,
            store_hangs_until: 0,
        };
        let places = script.group.members.iter().map(place).collect();
        Self {
            script,
            mutation,
            random,
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            places,
            cut: BTreeSet::new(),
            network: (0, 0, 20),
            runs: 0,
            healed: false,
            asked: BTreeMap::new(),
            off: BTreeMap::new(),
            kept: BTreeSet::new(),
            granted: BTreeMap::new(),
            takeovers: BTreeSet::new(),
            checker: Checker::default(),
            agreement: Agreement::new(seed),
            calm_since: None,
            reached: BTreeMap::new(),
            trace: trace.then(Vec::new),
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        for member in 0..self.places.len() {
            self.start(member);
        }
        for act in 0..self.script.acts.len() {
            self.at(self.script.acts[act].0 * MS, Event::Act(act));
        }
        self.at(self.script.heal_at * MS, Event::Heal);
        let end = self.script.end * MS + if self.script.settles { PATIENCE } else { 0 };
        while let Some(next) = self.queue.pop() {
            if next.at > end {
                break;
            }
            self.now = self.now.max(next.at);
            if self.order > MOST_EVENTS {
                self.checker.breaks(Rule::Settles, self.now, format!("it never rests: {:?}", next.event));
            }
            if self.happen(next.event) || self.checker.violation.is_some() {
                break;
            }
        }
        if self.script.settles && self.checker.violation.is_none() && self.now >= self.script.heal_at * MS {
            self.judge_the_end();
        }
        self.checker.close(self.now);
        Outcome {
            violation: self.checker.violation,
            reached: self.reached,
            trace: self.trace.unwrap_or_default(),
            margin: self.checker.margin,
            services: self.checker.services,
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn mutation(&self) -> Option<Mutation> {
        self.mutation
    }

    pub(super) fn executor(&mut self, site: usize) -> &mut Executor {
        &mut self.places[site].executor
    }

    fn hangs(&self, member: usize) -> bool {
        self.places[member].paused_until > self.now
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Queued { at: at.max(self.now), order: self.order, event });
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    fn reach(&mut self, place: &'static str) {
        *self.reached.entry(place).or_default() += 1;
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.3} {}", self.now as f64 / 1e6, what()));
        }
    }

    fn index(&self, id: MemberId) -> Option<usize> {
        self.places.iter().position(|place| place.id == id)
    }

    // ---- processes -------------------------------------------------------------------------------------------------

    /// Starts a process of a member from what is stored.
    fn start(&mut self, member: usize) {
        self.runs += 1;
        let run = self.runs;
        let drift = if self.mutation == Some(Mutation::DriftIgnored) { WILD_DRIFT } else { 20_000 };
        let millionths = self.random.between(0, 2 * drift as u64) as i64 - drift;
        let millionths =
            if self.random.percent(30) { drift * (1 - 2 * self.random.below(2) as i64) } else { millionths };
        let offset = if self.random.percent(20) { 0 } else { self.random.below(1 << 55) } + 7_200_000 * MS;
        let clock = Clock { offset, millionths };
        let now = clock.local(self.now);
        let remembered = match self.mutation {
            Some(Mutation::AckForgotten) => now.saturating_sub(Duration::from_secs(3600)),
            _ => now,
        };
        if self.mutation == Some(Mutation::OldCopyRestored) {
            self.places[member].store.restore_old();
        }
        let place = &self.places[member];
        let seed = self.random.next_u64();
        let core = Core::new(&self.script, place.id, clock, seed, place.store.state(), remembered);
        let core = match core {
            Ok(core) => core,
            Err(error) => return self.checker.breaks(Rule::Settles, self.now, format!("member {}: {error}", place.id)),
        };
        let known: Vec<(String, u64, Option<u64>)> = place
            .cluster
            .services
            .iter()
            .filter_map(|(name, service)| service.grant.as_ref().map(|g| (name.clone(), g.generation, g.until)))
            .collect();
        let is_site = place.kind == MemberKind::Site;
        self.places[member].process = Some(Process { core, clock, run, wakes_at: None, next_request: 0 });
        for (ticket, generation, until) in known {
            if self.random.percent(80) {
                let until = until.map(|until| clock.local(until));
                self.feed(member, run, Input::KnownLease { ticket, generation, until });
            }
        }
        if is_site {
            self.tell_abilities(member, run);
            let services = &self.places[member].cluster.services;
            let running = services.iter().filter(|(_, service)| service.active && service.stops_at.is_none());
            let running =
                running.filter_map(|(name, s)| s.grant.as_ref().map(|grant| (name.clone(), grant.generation)));
            for (ticket, generation) in running.collect::<Vec<_>>() {
                self.feed(member, run, Input::Started { ticket, generation });
            }
        }
        self.feed(member, run, Input::Timer);
    }

    fn tell_abilities(&mut self, member: usize, run: u64) {
        let stop = self.places[member].cluster.stop_ms.unwrap_or(self.script.stop_ms);
        let stop = if self.mutation == Some(Mutation::StopTimeDenied) { 0 } else { stop };
        let tickets: Vec<String> = self.script.group.tickets.iter().map(|ticket| ticket.name.clone()).collect();
        for ticket in &tickets {
            self.tell_activity(member, ticket);
        }
        for ticket in tickets {
            let stop_time = Duration::from_millis(stop);
            self.feed(member, run, Input::StopTime { ticket: ticket.clone(), stop_time });
            let able = self.places[member].cluster.able.get(&ticket).copied().unwrap_or(true);
            let able = if able { Ok(()) } else { Err("its services fail".to_owned()) };
            self.feed(member, run, Input::Able { ticket, able });
        }
    }

    /// The site tells its speaker whether services are active.
    fn tell_activity(&mut self, member: usize, ticket: &str) {
        let active = self.places[member].cluster.service(ticket).active;
        if let Some(run) = self.places[member].process.as_ref().map(|process| process.run) {
            self.feed(member, run, Input::Active { ticket: ticket.to_owned(), active });
        }
    }

    /// A run of a member is told something; what it does is done.
    fn feed(&mut self, member: usize, run: u64, input: Input) {
        let place = &mut self.places[member];
        let id = place.id;
        let ghost = place.ghost.as_ref().is_some_and(|ghost| ghost.run == run);
        let process = if ghost { &mut place.ghost } else { &mut place.process };
        let Some(process) = process.as_mut().filter(|process| process.run == run) else { return };
        let mut effects = Vec::new();
        let now = process.clock.local(self.now);
        process.core.handle(now, input, &mut effects);
        // What a ghost makes of answers to its successor nobody hears.
        if let (false, Core::Hakudo(member)) = (ghost, &process.core) {
            self.agreement.looks_at(self.now, (id, run), member, &mut self.checker);
        }
        let clock = process.clock;
        // A moment that has come already is taken up a little later, as a process would.
        let wake = process.core.deadline().map(|deadline| clock.truth(deadline).max(self.now + 1000));
        if wake.is_some_and(|wake| process.wakes_at.is_none_or(|known| wake < known || known < self.now)) {
            process.wakes_at = wake;
            if let Some(wake) = wake {
                self.at(wake, Event::Wake { member, run });
            }
        }
        for effect in effects {
            self.carry_out(member, run, clock, ghost, effect);
        }
    }

    fn carry_out(&mut self, member: usize, run: u64, clock: Clock, ghost: bool, effect: Effect) {
        let id = self.places[member].id;
        match effect {
            Effect::Send { to, message } => self.transmit(id, to, message),
            Effect::Persist { seq, state } => self.store(member, run, ghost, seq, Some(state)),
            Effect::Confirm { seq } => self.store(member, run, ghost, seq, None),
            // Nodes that are in a new view do not listen to a speaker of an old one.
            Effect::Ticket(_) | Effect::Lease { .. } | Effect::Check(_) | Effect::Reply { .. } if ghost => {}
            Effect::Ticket(word) => self.word(member, clock, &word),
            Effect::Lease { ticket, generation, until } => {
                let service = self.places[member].cluster.service(&ticket);
                if let Some(grant) = service.grant.clone().filter(|grant| grant.generation == generation) {
                    let holding = Holding::Held { until, stop_time: grant.stop_time };
                    let attributes = BTreeMap::new();
                    let holder = Some(id);
                    let (standby, revoked) = (false, false);
                    self.word(
                        member,
                        clock,
                        &TicketWord { ticket, generation, holding, holder, standby, revoked, attributes },
                    );
                }
            }
            Effect::WouldHold { ticket, .. } => {
                self.reach("an observer would hold");
                self.note(|| format!("{id} would hold {ticket}"));
            }
            Effect::Check(check) => {
                if self.mutation == Some(Mutation::OffersIgnored) {
                    return;
                }
                let result = if self.places[member].cluster.handler_fails {
                    Err("its handler failed".to_owned())
                } else {
                    let late = !self.healed && self.random.percent(30);
                    let lag = Duration::from_secs(if late { 60 } else { 0 });
                    Ok(Readiness { lag: check.lag.map(|_| lag) })
                };
                let delay = self.random.below(100 * MS);
                self.after(delay, Event::Checked { member, run, check: check.check, result });
            }
            Effect::Reply { id: request, reply } => self.replied(member, run, request, &reply),
            Effect::Event(event) => {
                if let (CoreEvent::Coordinates { epoch, number }, false) = (&event, ghost) {
                    self.agreement.coordinates(self.now, id, (*epoch, *number), &mut self.checker);
                }
                self.count(&event);
                self.note(|| format!("{id} ({run}): {event}"));
            }
        }
    }

    fn count(&mut self, event: &CoreEvent) {
        match event {
            CoreEvent::Coordinates { .. } => self.reach("elected"),
            CoreEvent::Expired { .. } => self.reach("lease expired"),
            CoreEvent::NobodyCan { .. } => self.reach("nobody could take a ticket"),
            CoreEvent::Granted { cause, .. } => {
                self.calm_since = None;
                self.reach(match cause {
                    hakudo_tickets::Cause::Administrator => "grant by the administrator applied",
                    hakudo_tickets::Cause::Move => "grant of a move applied",
                    hakudo_tickets::Cause::Lost => "grant after a loss applied",
                    hakudo_tickets::Cause::Failure => "grant after a failure applied",
                    hakudo_tickets::Cause::Preference => "grant by preference applied",
                    hakudo_tickets::Cause::RollBack => "grant by roll-back applied",
                    hakudo_tickets::Cause::Force => "grant by force applied",
                })
            }
            CoreEvent::Released { .. } => self.reach("release applied"),
            CoreEvent::Booth { text, .. } => self.booth_member_says(text),
            _ => {}
        }
    }

    fn store(&mut self, member: usize, run: u64, ghost: bool, seq: u64, state: Option<Vec<u8>>) {
        if ghost && self.mutation != Some(Mutation::GhostsPromise) {
            return;
        }
        let longest = if self.random.percent(5) { 400 * MS } else { 15 * MS };
        let hangs = self.places[member].store_hangs_until.saturating_sub(self.now);
        let delay = hangs + self.random.below(longest);
        if ghost {
            return self.after(delay, Event::Stored { member, run, seq });
        }
        self.places[member].store.begin(seq, state);
        if self.mutation == Some(Mutation::StoreLies) {
            self.feed_later(member, run, seq);
            return self.after(delay + 3000 * MS, Event::Stored { member, run, seq });
        }
        self.after(delay, Event::Stored { member, run, seq });
    }

    /// The lie of a store: it says that it is done at once.
    fn feed_later(&mut self, member: usize, run: u64, seq: u64) {
        self.after(1000, Event::Checked { member, run, check: u64::MAX - seq, result: Ok(Readiness::default()) });
    }

    fn transmit(&mut self, from: MemberId, to: MemberId, message: Vec<u8>) {
        let Some(target) = self.index(to) else { return };
        let (loss, doubled, delay) = self.network;
        if self.cut.contains(&(from, to)) || self.random.percent(loss) {
            return;
        }
        let copies = if self.random.percent(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let longest = if self.random.percent(95) { delay.min(50) } else { delay };
            let delay = 200_000 + self.random.below(longest * MS + 1);
            self.after(delay, Event::Deliver { to: target, from, message: message.clone() });
        }
    }

    // ---- the clusters of the sites ---------------------------------------------------------------------------------

    fn word(&mut self, member: usize, clock: Clock, word: &TicketWord) {
        let id = self.places[member].id;
        let until = match word.holding {
            Holding::Held { until: Some(until), .. } => Some(clock.truth(until)),
            _ => None,
        };
        let until = until.map(|until| {
            let expire = self.script.group.ticket(&word.ticket).map_or(Duration::ZERO, |config| config.expire);
            let from_now = self.now + expire.as_nanos() as u64;
            if self.mutation == Some(Mutation::LeaseFromAnswer) { from_now } else { until }
        });
        let known = self.places[member].cluster.service(&word.ticket).grant.as_ref().map(|grant| grant.generation);
        if known != Some(word.generation) || !matches!(word.holding, Holding::Held { .. }) {
            self.note(|| format!("{id}: ticket {} {}: {:?}", word.ticket, word.generation, word.holding));
        }
        match self.places[member].cluster.hear(word, until) {
            Next::Run => self.begin(member, &word.ticket, until),
            Next::Stop(within) => self.stop(member, &word.ticket, within),
            Next::Stopped => {
                let version = self.places[member].cluster.service(&word.ticket).version;
                self.after(2 * MS, Event::HasStopped { site: member, ticket: word.ticket.clone(), version });
            }
            Next::Nothing => {}
        }
    }

    fn begin(&mut self, site: usize, ticket: &str, until: Option<u64>) {
        let (now, id) = (self.now, self.places[site].id);
        let service = self.places[site].cluster.service(ticket);
        let fresh = !service.active;
        if let Some(grant) = service.grant.as_ref().filter(|_| until.is_some_and(|until| until <= now)) {
            // The end has passed on the way. What stops already stops as it did.
            let stop_time = grant.stop_time;
            if service.active && service.stops_at.is_none() {
                self.stop(site, ticket, stop_time);
            }
            return;
        }
        let stopping = service.stops_at.take().is_some();
        service.active = true;
        service.version += 1;
        let version = service.version;
        let stop_time = service.grant.as_ref().map_or(Duration::ZERO, |grant| grant.stop_time);
        self.tell_executor(site, ticket, until.map(|until| (until, stop_time)));
        if fresh {
            self.checker.begins(now, ticket, id);
            self.after(MS, Event::LooksAtServices { site, ticket: ticket.to_owned() });
            self.reach("services began");
            self.note(|| format!("{id}: services of {ticket} begin"));
        }
        if let Some(until) = until.filter(|_| self.mutation != Some(Mutation::ClusterDoesNotEnforce)) {
            self.at(until, Event::LeaseEnds { site, ticket: ticket.to_owned(), version });
        }
        if fresh || stopping {
            let delay = self.random.below(300 * MS);
            self.after(delay, Event::HasStarted { site, ticket: ticket.to_owned(), version });
        }
    }

    /// The executor stops services, which may be stopping already.
    pub(super) fn guard_stops(&mut self, site: usize, ticket: &str) {
        let service = self.places[site].cluster.service(ticket);
        match (service.active, service.stops_at) {
            (true, None) => {
                let stop_time = service.grant.as_ref().map_or(Duration::ZERO, |grant| grant.stop_time);
                self.reach("an executor ended a lease");
                self.stop(site, ticket, stop_time);
            }
            (true, Some(_)) => {}
            (false, _) => self.tell_guard_of_stop(site, ticket),
        }
    }

    fn stop(&mut self, site: usize, ticket: &str, within: Duration) {
        let within = match self.mutation {
            Some(Mutation::StopTimeDenied) => Duration::from_millis(self.script.stop_ms),
            _ => within,
        };
        // The slowest clock of a node measures it.
        let longest = within.as_nanos() as u64 * 100 / 98;
        let takes = match self.random.below(3) {
            0 => longest,
            1 => self.random.below(longest + 1),
            _ => self.random.below(longest / 8 + 1),
        };
        let now = self.now;
        let service = self.places[site].cluster.service(ticket);
        service.version += 1;
        service.stops_at = Some(now + takes);
        let (version, owes, run) =
            (service.version, service.owes, self.places[site].process.as_ref().map(|process| process.run));
        self.after(takes, Event::HasStopped { site, ticket: ticket.to_owned(), version });
        if let (Some(Mutation::StopLies), Some(generation), Some(run)) = (self.mutation, owes, run) {
            self.feed(site, run, Input::Stopped { ticket: ticket.to_owned(), generation });
        }
    }

    fn has_stopped(&mut self, site: usize, ticket: String, version: u64) {
        let (now, id) = (self.now, self.places[site].id);
        let service = self.places[site].cluster.service(&ticket);
        if service.version != version || service.active && service.stops_at.is_none() {
            return;
        }
        if service.active {
            service.active = false;
            service.stops_at = None;
            self.checker.ends(now, &ticket, id);
            self.note(|| format!("{id}: services of {ticket} have stopped"));
            self.tell_guard_of_stop(site, &ticket);
        }
        if self.hangs(site) {
            let until = self.places[site].paused_until;
            return self.at(until, Event::HasStopped { site, ticket, version });
        }
        self.tell_executor(site, &ticket, None);
        self.tell_activity(site, &ticket);
        let owes = self.places[site].cluster.service(&ticket).owes;
        let run = self.places[site].process.as_ref().map(|process| process.run);
        if let (Some(generation), Some(run)) = (owes, run) {
            self.feed(site, run, Input::Stopped { ticket, generation });
        }
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    /// Something happens; true if the history is over.
    fn happen(&mut self, event: Event) -> bool {
        if let Some(member) = concerns(&event)
            && self.hangs(member)
        {
            let until = self.places[member].paused_until;
            self.at(until, event);
            return false;
        }
        match event {
            Event::Act(act) => self.act(self.script.acts[act].1.clone()),
            Event::Heal => self.heal(),
            Event::Look => {
                if self.has_come_to_rest() {
                    return true;
                }
                self.after(1000 * MS, Event::Look);
            }
            Event::Wake { member, run } => {
                let place = &mut self.places[member];
                let processes = [&mut place.process, &mut place.ghost].into_iter().flatten();
                let due = processes.filter(|process| process.run == run);
                // An earlier moment may have taken the place of this one.
                let due = due.filter(|process| process.wakes_at.is_some_and(|at| at <= self.now));
                if due.map(|process| process.wakes_at = None).count() > 0 {
                    self.feed(member, run, Input::Timer);
                }
            }
            Event::Deliver { to, from, message } => {
                let place = &self.places[to];
                let runs: Vec<u64> = [&place.process, &place.ghost].into_iter().flatten().map(|p| p.run).collect();
                if let Some(forgery) = self.agreement.forgery(&message, self.mutation) {
                    self.forge(to, from, forgery);
                }
                let message =
                    if self.mutation == Some(Mutation::ValuesBent) && to == 0 { bent(message) } else { message };
                for run in runs {
                    self.feed(to, run, Input::Received { from, message: message.clone() });
                }
            }
            Event::Stored { member, run, seq } => {
                let place = &mut self.places[member];
                if place.process.as_ref().is_some_and(|process| process.run == run) {
                    place.store.finish(seq);
                } else if self.mutation != Some(Mutation::GhostsPromise)
                    && place.ghost_stored.is_none_or(|last| seq > last)
                {
                    // What the next speaker did not find was not stored by all nodes, and nobody says that it was.
                    return false;
                }
                self.feed(member, run, Input::Done(seq));
            }
            Event::Checked { member, run, check, result } => {
                if self.mutation == Some(Mutation::StoreLies) && check > u64::MAX / 2 {
                    self.feed(member, run, Input::Done(u64::MAX - check));
                } else {
                    self.feed(member, run, Input::Checked { check, result });
                }
            }
            Event::LeaseEnds { site, ticket, version } => {
                if self.hangs(site) {
                    return false;
                }
                let service = self.places[site].cluster.service(&ticket);
                let ends = service.version == version && service.active && service.stops_at.is_none();
                if let Some(grant) = service.grant.clone().filter(|_| ends) {
                    self.reach("the cluster ended a lease");
                    self.stop(site, &ticket, grant.stop_time);
                }
            }
            Event::GuardDue { site } => self.guard_is_due(site),
            Event::HasStopped { site, ticket, version } => self.has_stopped(site, ticket, version),
            Event::HasStarted { site, ticket, version } => {
                let able = self.places[site].cluster.able.get(&ticket).copied().unwrap_or(true);
                let run = self.places[site].process.as_ref().map(|process| process.run);
                let service = self.places[site].cluster.service(&ticket);
                let generation = service.grant.as_ref().map(|grant| grant.generation);
                if let (Some(generation), Some(run), true) = (generation, run, able && service.active) {
                    if service.version != version {
                        // A renewal came while it started.
                        let version = service.version;
                        self.after(50 * MS, Event::HasStarted { site, ticket: ticket.clone(), version });
                    }
                    self.feed(site, run, Input::Started { ticket: ticket.clone(), generation });
                    if self.healed && self.mutation == Some(Mutation::TicketsBounce) {
                        let at = self.places[site].id;
                        let to = self.places.iter().find(|place| place.kind == MemberKind::Site && place.id != at);
                        let to = to.map_or(at, |place| place.id);
                        self.ask(at, Request::Move { ticket, to, dry_run: false });
                    }
                }
            }
            Event::PowerBack(id) => self.act(Act::PowerBack(id)),
            Event::AskAgain { at, request } => self.ask_again(at, request),
            Event::LooksAtServices { site, ticket } => self.tell_activity(site, &ticket),
            Event::GhostEnds { member, run } => {
                if self.places[member].ghost.as_ref().is_some_and(|ghost| ghost.run == run) {
                    self.places[member].ghost = None;
                }
            }
        }
        false
    }

    /// Bytes arrive that are no message.
    fn forge(&mut self, to: usize, from: MemberId, message: Vec<u8>) {
        let Some(run) = self.places[to].process.as_ref().map(|process| process.run) else { return };
        // What time alone brings is not taken for an effect of what comes now.
        self.feed(to, run, Input::Timer);
        let Some(process) = &mut self.places[to].process else { return };
        let local = process.clock.local(self.now);
        if let Err(what) = process.core.ignores(local, from, message) {
            self.checker.breaks(Rule::ForgedChangesNothing, self.now, what);
        }
        self.reach("what is no message");
    }

    fn act(&mut self, act: Act) {
        self.note(|| format!("{act:?}"));
        match act {
            Act::Cut { from, to } => _ = self.cut.insert((from, to)),
            Act::Mend { from, to } => _ = self.cut.remove(&(from, to)),
            Act::Network { loss, doubled, delay_ms } => self.network = (loss, doubled, delay_ms),
            Act::PowerLoss(id) => self.lose_power(id),
            Act::Replaced(id) => {
                self.lose_power(id);
                if let Some(member) = self.index(id) {
                    self.reach("replaced");
                    self.places[member].store.forget();
                    self.loses_its_attributes(id);
                }
            }
            // Whoever ordered something by force waits for the answer before the others may run again.
            Act::PowerBack(id) if self.is_kept_off(id) => self.after(1000 * MS, Event::PowerBack(id)),
            Act::PowerBack(id) => {
                let Some(member) = self.index(id).filter(|member| !self.places[*member].powered) else { return };
                self.places[member].powered = true;
                self.off.remove(&id);
                self.start(member);
            }
            Act::NewSpeaker { member, ghost_ms } => self.new_speaker(member, ghost_ms),
            Act::Pause { member, ms } => {
                let Some(member) = self.index(member) else { return };
                self.reach("paused");
                self.places[member].paused_until = self.now + ms * MS;
            }
            Act::Able { site, ticket, able } => {
                let Some(member) = self.index(site) else { return };
                self.places[member].cluster.able.insert(ticket, able);
                if let Some(run) = self.places[member].process.as_ref().map(|process| process.run) {
                    self.tell_abilities(member, run);
                }
            }
            Act::StopTakes { site, ms } => {
                let Some(member) = self.index(site) else { return };
                self.places[member].cluster.stop_ms = Some(ms);
                if let Some(run) = self.places[member].process.as_ref().map(|process| process.run) {
                    self.tell_abilities(member, run);
                }
            }
            Act::StoreHangs { member, ms } => {
                if let Some(member) = self.index(member) {
                    self.places[member].store_hangs_until = self.now + ms * MS;
                }
            }
            Act::Handler { site, fails } => {
                if let Some(member) = self.index(site) {
                    self.places[member].cluster.handler_fails = fails;
                }
            }
            Act::Ask { at, request } => self.ask(at, request),
        }
    }

    fn lose_power(&mut self, id: MemberId) {
        let Some(member) = self.index(id).filter(|member| self.places[*member].powered) else { return };
        self.reach("power lost");
        let kept = self.random.below(self.places[member].store.pending() as u64 + 1) as usize;
        let place = &mut self.places[member];
        place.powered = false;
        place.ghost = None;
        place.paused_until = 0;
        place.executor = Executor::default();
        let run = place.process.take().map(|process| process.run);
        // A disk may have written some of what it did not confirm.
        place.store.cut(if self.mutation == Some(Mutation::StoreLies) { 0 } else { kept });
        for ticket in place.cluster.lose_power() {
            self.checker.ends(self.now, &ticket, id);
        }
        self.nobody_answers(id, run);
    }

    fn new_speaker(&mut self, id: MemberId, ghost_ms: u64) {
        let Some(member) = self.index(id).filter(|member| self.places[*member].powered) else { return };
        self.reach("another speaker");
        let kept = self.random.below(self.places[member].store.pending() as u64 + 1) as usize;
        let place = &mut self.places[member];
        let stored = place.store.cut(if self.mutation == Some(Mutation::StoreLies) { 0 } else { kept });
        place.paused_until = 0;
        let old = place.process.take();
        let run = old.as_ref().map(|process| process.run);
        self.nobody_answers(id, run);
        // An arbitrator is one process on one disk: it has no ghosts.
        if let (Some(old), true, MemberKind::Site) = (old, ghost_ms > 0, self.places[member].kind) {
            self.reach("a ghost");
            self.after(ghost_ms * MS, Event::GhostEnds { member, run: old.run });
            self.places[member].ghost = Some(old);
            self.places[member].ghost_stored = stored;
        }
        self.start(member);
    }
}

/// The member whose process an event is for.
fn concerns(event: &Event) -> Option<usize> {
    match event {
        Event::Wake { member, .. } | Event::Stored { member, .. } | Event::Checked { member, .. } => Some(*member),
        Event::Deliver { to, .. } | Event::LooksAtServices { site: to, .. } => Some(*to),
        _ => None,
    }
}

/// The message with other values of attributes.
fn bent(mut message: Vec<u8>) -> Vec<u8> {
    let names: Vec<usize> = message
        .windows(2)
        .enumerate()
        .filter(|(_, w)| w[0] == b'v' && w[1].is_ascii_digit())
        .map(|(at, _)| at)
        .collect();
    names.into_iter().for_each(|at| message[at] = b'w');
    message
}

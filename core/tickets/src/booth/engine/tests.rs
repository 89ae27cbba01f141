//! Groups of engines in a simulated world: lost, doubled, late messages; restarts that lose what was not yet on disk;
//! clocks that run 2 % apart; and an arbitrator that behaves as boothd does, and forgets.

use super::*;
use crate::booth::config::{self as booth_config, Group};
use crate::booth::wire::{Flags, Outcome, Reason};
use crate::drift;
use expect_test::expect;

mod manual;
mod memory;
mod stops;

const SITES: usize = 2;

/// What an arbitrator of boothd does, as far as it matters here: it keeps nothing over a restart, follows any heartbeat
/// that is not of a lower term, and votes for whoever comes when its copy of the lease has run out, by whole seconds.
#[derive(Debug, Default)]
struct Boothd {
    term: u32,
    leader: Option<SiteId>,
    expires: Option<Instant>,
    voted: Option<SiteId>,
}

impl Boothd {
    fn answer(&mut self, local: SiteId, now: Instant, message: &Message) -> Option<Message> {
        let Body::Ticket(asked) = &message.body else { return None };
        let valid = self.expires.map_or(0, |at| at.since(now).as_secs() as u32);
        let mut outcome = Outcome::Success;
        let command = match message.command {
            Command::Status => Command::MyIndex,
            Command::Heartbeat | Command::Update => {
                let owned = self.leader.is_some_and(|leader| leader != message.from);
                if owned && (asked.term < self.term || message.command == Command::Update) {
                    outcome = Outcome::TermOutdated;
                    Command::Reject
                } else {
                    self.term = asked.term;
                    self.leader = Some(message.from);
                    self.expires = Some(now + Duration::from_secs(u64::from(asked.valid_for)));
                    self.voted = None;
                    Command::Ack
                }
            }
            Command::RequestVote if self.leader != Some(message.from) && valid > 0 => {
                outcome = Outcome::TermStillValid;
                Command::Reject
            }
            Command::RequestVote if asked.term < self.term => {
                outcome = Outcome::TermOutdated;
                Command::Reject
            }
            Command::RequestVote => {
                if valid == 0 {
                    self.leader = None;
                }
                if asked.term > self.term || self.voted.is_none() {
                    self.voted = Some(message.from);
                    self.term = asked.term;
                }
                Command::VoteFor
            }
            Command::VoteFor if asked.leader == Leader::Nobody && self.leader == Some(message.from) => {
                *self = Boothd { term: self.term, ..Boothd::default() };
                return None;
            }
            Command::RevokeTicket if self.leader == Some(message.from) => {
                *self = Boothd { term: self.term, ..Boothd::default() };
                Command::Ack
            }
            _ => return None,
        };
        let valid = self.expires.map_or(0, |at| at.since(now).as_secs() as u32);
        let leader = match command {
            Command::VoteFor => self.voted.map_or(Leader::Nobody, Leader::Site),
            _ => self.leader.or(self.voted).map_or(Leader::Nobody, Leader::Site),
        };
        let flags = Flags::default();
        let body = super::body(&asked.ticket, leader, self.term, valid);
        Some(Message {
            from: local,
            command,
            request: Some(message.command),
            flags,
            reason: Reason::JustSo,
            outcome,
            body,
        })
    }
}

/// The cluster of a site: what its nodes do by themselves.
#[derive(Clone, Copy, Debug, Default)]
struct Cluster {
    /// The service runs by the word of the engine, up to this moment of the local clock.
    until: Option<Instant>,
    /// It is being stopped, and has stopped at that moment of the world.
    stops: Option<u64>,
    /// Which grant, and the time to stop that the nodes make sure of.
    grant: u32,
    bound: Duration,
}

#[derive(Debug)]
enum Member {
    Engine(Box<Engine>),
    Boothd(Boothd),
    Dead,
}

#[derive(Debug)]
enum Happens {
    Datagram(usize, Vec<u8>),
    Persisted(usize, u32, u64, Stored),
}

struct World {
    configs: Vec<Config>,
    members: Vec<Member>,
    lives: Vec<u32>,
    disks: Vec<Stored>,
    clusters: Vec<Cluster>,
    /// Thousandths that a clock runs fast.
    drift: Vec<i64>,
    cut: BTreeSet<(usize, usize)>,
    /// Nanoseconds.
    time: u64,
    queue: BTreeMap<(u64, u64), Happens>,
    sequence: u64,
    random: Random,
    loss: u64,
    late: u64,
    answers: Vec<(Outcome, bool)>,
    log: Vec<String>,
    grants: Vec<(u64, usize)>,
    last_active: [u64; SITES],
    written: u64,
    /// How long stopping may take at each member.
    stop_times: [Duration; 3],
    /// Stops take all of their time.
    slow: bool,
    /// Bounds that were said with a grant or a new bound.
    bounds: Vec<(usize, Duration)>,
    /// Runs of handlers.
    runs: Vec<(usize, u64)>,
}

const TICKET: &str = "ticketA";
const MS: u64 = 1_000_000;

fn group(options: &str) -> Group {
    let text = format!("site=10.0.0.1\nsite=10.0.0.2\narbitrator=10.0.0.3\nticket={TICKET}\n{options}");
    booth_config::read(&text).group.unwrap()
}

const OPTIONS: &str = "expire=10\ntimeout=1\nretries=3\n";

impl World {
    fn new(seed: u64, options: &str, stop_time: Duration, boothd: bool, key: bool) -> Self {
        let group = group(options);
        let addresses: Vec<IpAddr> = (1..=3).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let key = key.then(|| Key::from_file(b"a key of the group").unwrap());
        let config = |local: &IpAddr| {
            let config = Config::new(&group, &addresses, *local, key.clone(), stop_time).unwrap();
            Config { stop_time: None, ..config }
        };
        let configs: Vec<Config> = addresses.iter().map(config).collect();
        let mut random = Random::new(seed);
        let drift = (0..3).map(|_| random.between(0, 40) as i64 - 20).collect();
        let mut world = Self {
            configs,
            members: (0..3).map(|_| Member::Dead).collect(),
            lives: vec![0; 3],
            disks: vec![Stored::default(); 3],
            clusters: vec![Cluster::default(); 3],
            drift,
            cut: BTreeSet::new(),
            time: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            random,
            loss: 0,
            late: 0,
            answers: Vec::new(),
            log: Vec::new(),
            grants: Vec::new(),
            last_active: [0; SITES],
            written: 0,
            stop_times: [stop_time; 3],
            slow: false,
            bounds: Vec::new(),
            runs: Vec::new(),
        };
        for member in 0..3 {
            world.start(member, boothd && member == 2);
        }
        world
    }

    fn now(&self, member: usize) -> Now {
        let local = (self.time as i128 * i128::from(1000 + self.drift[member]) / 1000) as u64;
        let monotonic = Instant::from_nanos(local + 1_000_000_000 * (member as u64 + 1));
        Now { monotonic, calendar: UnixTime::from_millis(1_795_000_000_000 + (self.time / MS) as i64) }
    }

    fn world_time(&self, member: usize, local: Instant) -> u64 {
        let local = local.as_nanos().saturating_sub(1_000_000_000 * (member as u64 + 1));
        // Rounded up, so that the clock has really come that far.
        (i128::from(local) * 1000 / i128::from(1000 + self.drift[member])) as u64 + 1001
    }

    fn start(&mut self, member: usize, boothd: bool) {
        self.lives[member] += 1;
        if boothd {
            self.members[member] = Member::Boothd(Boothd::default());
            let from = self.configs[member].local;
            let body = super::body(TICKET, Leader::Nobody, 0, 0);
            let message = Message {
                from,
                command: Command::Status,
                request: None,
                flags: Flags::default(),
                reason: Reason::JustSo,
                outcome: Outcome::Success,
                body,
            };
            (0..2).for_each(|to| self.send_message(member, to, &message));
            return;
        }
        let seed = self.random.next_u64();
        let now = self.now(member);
        let engine = Engine::new(self.configs[member].clone(), seed, &self.disks[member], now);
        self.members[member] = Member::Engine(Box::new(engine));
        let Cluster { until, grant, bound, .. } = self.clusters[member];
        if let Some(until) = until {
            self.input(member, Input::KnownLease { ticket: TICKET.into(), grant, until });
        }
        if member < SITES {
            // What the nodes were told may be longer than what is true by now.
            self.stop_time(member, bound.max(self.stop_times[member]));
        }
        self.input(member, Input::Start);
        if member < SITES {
            self.able(member, true);
        }
    }

    fn able(&mut self, member: usize, able: bool) {
        let able = if able { Ok(()) } else { Err("no node can".to_owned()) };
        self.input(member, Input::Able { ticket: TICKET.into(), able });
    }

    fn stop_time(&mut self, member: usize, stop_time: Duration) {
        self.input(member, Input::StopTime { ticket: TICKET.into(), stop_time });
    }

    fn send_message(&mut self, from: usize, to: usize, message: &Message) {
        let calendar = self.now(from).calendar.seconds() as u32;
        self.sequence += 1;
        let stamp = Stamp { seconds: calendar, microseconds: self.sequence as u32 };
        let bytes = seal::write(message, self.configs[from].key.as_ref(), stamp).unwrap();
        self.send(from, to, bytes);
    }

    fn send(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.cut.contains(&(from.min(to), from.max(to))) {
            return;
        }
        let copies = if self.random.percent(self.loss) { 0 } else { 1 + u64::from(self.random.percent(self.loss / 2)) };
        for _ in 0..copies {
            let longest = if self.random.percent(5) { self.late.max(2) } else { 20 };
            let delay = self.random.between(1, longest) * MS;
            self.sequence += 1;
            self.queue.insert((self.time + delay, self.sequence), Happens::Datagram(to, bytes.clone()));
        }
    }

    fn input(&mut self, member: usize, input: Input) {
        let now = self.now(member);
        let mut effects = Vec::new();
        match &mut self.members[member] {
            Member::Engine(engine) => engine.handle(now, input, &mut effects),
            Member::Boothd(boothd) => {
                let Input::Datagram(bytes) = input else { return };
                let key = self.configs[member].key.as_ref();
                let message = seal::read(&bytes, key, false).unwrap();
                let (local, from) = (self.configs[member].local, message.from);
                if let Some(answer) = boothd.answer(local, now.monotonic, &message) {
                    let to = self.configs.iter().position(|config| config.local == from).unwrap();
                    self.send_message(member, to, &answer);
                }
                return;
            }
            Member::Dead => return,
        }
        for effect in effects {
            self.carry_out(member, effect);
        }
    }

    fn carry_out(&mut self, member: usize, effect: Effect) {
        match effect {
            Effect::Persist(number, stored) => {
                self.written += 1;
                let delay = self.random.between(1, 30) * MS;
                self.sequence += 1;
                let written = Happens::Persisted(member, self.lives[member], number, stored);
                self.queue.insert((self.time + delay, self.sequence), written);
            }
            Effect::Send(to, bytes) => {
                let to = self.configs.iter().position(|config| config.local == to).unwrap();
                self.send(member, to, bytes);
            }
            Effect::Answer { bytes, last, .. } => {
                let message = seal::read(&bytes, self.configs[member].key.as_ref(), false).unwrap();
                self.answers.push((message.outcome, last));
            }
            Effect::Ticket { word: Word::Held { until, stop_time, grant, .. }, .. } => {
                let now = self.now(member).monotonic;
                let config = &self.configs[member].tickets[0];
                let cluster = &mut self.clusters[member];
                if cluster.until.is_none() && cluster.stops.is_none() {
                    self.grants.push((self.time / MS, member));
                }
                // Nodes do not take back what they were told of a grant.
                let until = if cluster.grant == grant { until.max(cluster.until) } else { until };
                let new_bound = cluster.grant != grant || cluster.bound != stop_time;
                *cluster = Cluster { until, stops: None, grant, bound: stop_time };
                if new_bound {
                    self.bounds.push((member, stop_time));
                }
                if let Some(until) = until {
                    let others_wait = drift::shorten(config.expire) + drift::shorten(config.acquire_after);
                    assert!(until + stop_time <= now + others_wait, "the end is too late for the time to stop");
                }
            }
            Effect::Ticket { word: Word::NotHeld { .. }, .. } => self.stop(member),
            Effect::RunHandler { run, .. } => self.runs.push((member, run)),
            Effect::Attribute { .. } | Effect::Standby { .. } | Effect::Asked { .. } => {}
            Effect::Event { text, .. } => self.log.push(format!("{:6} {member}: {text}", self.time / MS)),
        }
    }

    /// The nodes of the site stop the service, which takes at most its time.
    fn stop(&mut self, member: usize) {
        let longest = self.clusters[member].bound.as_millis() as u64;
        // A second by a slow clock is longer than a second: the site measures its bound by its own clock.
        let longest = longest * 97 / 100;
        let takes = if self.slow { longest } else { self.random.between(0, longest) } * MS;
        let cluster = &mut self.clusters[member];
        if cluster.stops.is_none() {
            let active = cluster.until.take().is_some();
            cluster.stops = Some(self.time + if active { takes } else { 0 });
        }
    }

    /// Lets the world run for some milliseconds.
    fn run(&mut self, milliseconds: u64) {
        let end = self.time + milliseconds * MS;
        loop {
            let mut next = end;
            if let Some(((at, _), _)) = self.queue.first_key_value() {
                next = next.min(*at);
            }
            for member in 0..3 {
                if let Member::Engine(engine) = &self.members[member]
                    && let Some(deadline) = engine.deadline()
                {
                    next = next.min(self.world_time(member, deadline));
                }
                let cluster = self.clusters[member];
                let ends = cluster.until.map(|until| self.world_time(member, until));
                next = ends.into_iter().chain(cluster.stops).fold(next, u64::min);
            }
            self.time = next.max(self.time + 1000);
            self.step();
            self.check();
            if self.time >= end {
                return;
            }
        }
    }

    fn step(&mut self) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.time) {
            match entry.remove() {
                Happens::Datagram(to, bytes) => self.input(to, Input::Datagram(bytes)),
                Happens::Persisted(member, life, number, stored) => {
                    if self.lives[member] == life && !matches!(self.members[member], Member::Dead) {
                        self.disks[member] = stored;
                        self.input(member, Input::Persisted(number));
                    }
                }
            }
        }
        for member in 0..3 {
            let due = matches!(&self.members[member], Member::Engine(engine)
                if engine.deadline().is_some_and(|deadline| deadline <= self.now(member).monotonic));
            if due {
                self.input(member, Input::Timer);
            }
            if self.clusters[member].until.is_some_and(|until| until <= self.now(member).monotonic) {
                self.stop(member);
            }
            if self.clusters[member].stops.is_some_and(|at| at <= self.time) {
                self.clusters[member].stops = None;
                self.input(member, Input::Stopped { ticket: TICKET.into() });
            }
        }
    }

    fn is_active(&self, member: usize) -> bool {
        self.clusters[member].until.is_some() || self.clusters[member].stops.is_some_and(|at| at > self.time)
    }

    /// A ticket is held by at most one site, counting the time that it needs to stop.
    fn check(&mut self) {
        let active: Vec<usize> = (0..SITES).filter(|site| self.is_active(*site)).collect();
        assert!(active.len() < 2, "both sites are active at {}:\n{}", self.time / MS, self.log.join("\n"));
        for member in &self.members {
            let Member::Engine(engine) = member else { continue };
            let ticket = &engine.tickets[TICKET];
            let works = ticket.granting
                || matches!(&ticket.role, ticket::Role::Leading(leading) if leading.giving_up.is_some());
            let waits = engine.requests.get(TICKET).is_some_and(|requests| !requests.is_empty());
            assert!(works || !waits, "a client waits for nothing at {}:\n{}", self.time / MS, self.log.join("\n"));
        }
        active.into_iter().for_each(|site| self.last_active[site] = self.time);
    }

    fn holder(&self) -> Option<usize> {
        (0..SITES).find(|site| self.clusters[*site].until.is_some())
    }

    fn ask(&mut self, member: usize, command: Command, flags: Flags) {
        let body = super::body(TICKET, Leader::Unknown, 0, 0);
        let message = Message {
            from: self.configs[member].local,
            command,
            request: None,
            flags,
            reason: Reason::JustSo,
            outcome: Outcome::Success,
            body,
        };
        self.sequence += 1;
        let stamp = Stamp { seconds: self.now(member).calendar.seconds() as u32, microseconds: self.sequence as u32 };
        let bytes = seal::write(&message, self.configs[member].key.as_ref(), stamp).unwrap();
        self.input(member, Input::Client(ClientId(self.sequence), bytes));
    }

    fn crash(&mut self, member: usize) {
        self.members[member] = Member::Dead;
    }

    /// Cuts a member off from all others, or joins it again.
    fn isolate(&mut self, member: usize, cut: bool) {
        for other in (0..3).filter(|other| *other != member) {
            let path = (member.min(other), member.max(other));
            if cut {
                self.cut.insert(path)
            } else {
                self.cut.remove(&path)
            };
        }
    }
}

fn world(boothd: bool) -> World {
    World::new(1, OPTIONS, Duration::from_millis(500), boothd, true)
}

#[test]
fn a_grant_is_renewed_without_a_write_and_moves_when_the_holder_is_lost() {
    for boothd in [false, true] {
        let mut world = world(boothd);
        world.run(2000);
        world.ask(0, Command::Grant, Flags::default());
        world.run(1000);
        assert_eq!(world.holder(), Some(0), "{:#?}", world.log);
        assert_eq!(world.answers, [(Outcome::More, false), (Outcome::Success, true)]);
        let written = world.written;
        world.run(25_000);
        // The newest stamps are written now and then, renewals are not.
        assert!(world.written - written <= 3, "{} writes", world.written - written);
        world.isolate(0, true);
        world.run(30_000);
        assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
        let (at, _) = world.grants[1];
        assert!(at > world.last_active[0] / MS, "granted before the loser stopped");
        assert!(at < 28_000 + 17_000, "granted late, at {at}: {:#?}", world.log);
        world.isolate(0, false);
        world.run(20_000);
        assert_eq!(world.holder(), Some(1));
        world.ask(0, Command::Revoke, Flags::default());
        assert_eq!(world.answers.pop(), Some((Outcome::Redirect, true)));
        world.ask(1, Command::Revoke, Flags::default());
        world.run(2000);
        assert_eq!((world.holder(), world.answers.last()), (None, Some(&(Outcome::Success, true))));
        world.run(60_000);
        assert_eq!(world.holder(), None);
        world.ask(0, Command::Grant, Flags::default());
        world.run(1000);
        assert_eq!(world.holder(), Some(0));
    }
}

#[test]
fn a_short_cut_moves_nothing() {
    let mut world = world(false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(10_000);
    world.isolate(0, true);
    world.run(3000);
    world.isolate(0, false);
    world.run(40_000);
    assert_eq!((world.holder(), world.grants.len()), (Some(0), 1));
}

#[test]
fn a_restarted_holder_goes_on() {
    let mut world = world(false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(10_000);
    world.crash(0);
    world.run(300);
    world.start(0, false);
    world.run(40_000);
    assert_eq!((world.holder(), world.grants.len()), (Some(0), 1), "{:#?}", world.log);
}

#[test]
fn everything_loses_power_and_the_ticket_comes_back() {
    let mut world = world(false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(10_000);
    (0..3).for_each(|member| world.crash(member));
    world.clusters[0] = Cluster::default();
    world.run(60_000);
    (0..3).for_each(|member| world.start(member, false));
    world.run(30_000);
    assert!(world.holder().is_some(), "{:#?}", world.log);
}

/// The arbitrator forgets while the holder and the other site do not hear each other.
#[test]
fn a_forgetful_arbitrator_does_not_help_a_second_site_to_the_ticket() {
    for heard in [true, false] {
        let mut world = world(true);
        world.run(2000);
        world.ask(0, Command::Grant, Flags::default());
        world.run(10_000);
        world.cut.insert((0, 1));
        // Long enough for the copy of the other site to run out; the arbitrator's answers keep the holder.
        world.run(30_000);
        assert_eq!(world.holder(), Some(0));
        world.cut.insert((0, 2));
        world.loss = if heard { 0 } else { 100 };
        world.start(2, true);
        world.run(50);
        world.loss = 0;
        world.run(60_000);
        assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
    }
}

#[test]
fn a_site_that_cannot_serve_hands_over_after_it_stopped() {
    let mut world = world(false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(10_000);
    world.able(0, false);
    world.run(2500);
    assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
    assert!(world.grants[1].0 > world.last_active[0] / MS);
}

#[test]
fn an_unreachable_site_delays_a_grant() {
    let mut world = world(false);
    world.run(2000);
    world.crash(1);
    world.ask(0, Command::Grant, Flags { wait_commit: true, ..Flags::default() });
    world.run(5000);
    assert_eq!(world.holder(), None);
    assert_eq!(world.answers, [(Outcome::More, false), (Outcome::CibPending, false)]);
    world.run(8000);
    assert_eq!((world.holder(), world.answers.last()), (Some(0), Some(&(Outcome::Success, true))));
    world.ask(0, Command::Grant, Flags::default());
    assert_eq!(world.answers.last(), Some(&(Outcome::Overgrant, true)));
    let mut world = self::world(false);
    world.run(2000);
    world.crash(1);
    world.ask(0, Command::Grant, Flags { immediate: true, ..Flags::default() });
    world.run(1000);
    assert_eq!(world.holder(), Some(0));
}

#[test]
fn without_a_majority_a_grant_fails() {
    let mut world = world(false);
    world.run(2000);
    world.isolate(0, true);
    world.ask(0, Command::Grant, Flags { wait: true, ..Flags::default() });
    world.run(20_000);
    assert_eq!((world.holder(), world.answers.last()), (None, Some(&(Outcome::SyncFail, true))));
}

#[test]
fn manual_tickets() {
    let mut world = World::new(1, "mode=manual\n", Duration::from_millis(500), false, false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(1000);
    assert!(matches!(world.carried_manual(), [true, false]), "{:#?}", world.log);
    world.ask(1, Command::Grant, Flags::default());
    assert_eq!(world.answers.last(), Some(&(Outcome::Overgrant, true)));
    let Member::Engine(engine) = &world.members[1] else { panic!() };
    expect!["ticket: ticketA, leader: 10.0.0.1, expires: INF [manual mode]\n"]
        .assert_eq(&text::list(&engine.list(), 0));
}

impl World {
    fn carried_manual(&self) -> [bool; 2] {
        [0, 1].map(|site| {
            matches!(&self.members[site], Member::Engine(engine)
            if matches!(engine.tickets[TICKET].role, ticket::Role::Leading(_)))
        })
    }
}

#[test]
fn what_is_not_authentic_or_comes_twice_changes_nothing() {
    let mut world = world(false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(5000);
    let from = world.configs[0].local;
    let message = Message {
        from,
        command: Command::RevokeTicket,
        request: None,
        flags: Flags::default(),
        reason: Reason::Admin,
        outcome: Outcome::Success,
        body: super::body(TICKET, Leader::Nobody, 1 << 20, 0),
    };
    let stamp = Stamp { seconds: world.now(0).calendar.seconds() as u32, microseconds: 0 };
    let forged = seal::write(&message, None, stamp).unwrap();
    world.input(1, Input::Datagram(forged));
    let known = |world: &World| match &world.members[1] {
        Member::Engine(engine) => (engine.tickets[TICKET].known, engine.peers()[0].1.not_authentic),
        _ => panic!(),
    };
    assert_eq!(known(&world), (Leader::Site(from), 1));
    let sealed = seal::write(&message, world.configs[0].key.as_ref(), stamp).unwrap();
    world.input(1, Input::Datagram(sealed.clone()));
    assert_eq!(known(&world), (Leader::Nobody, 1));
    world.input(1, Input::Datagram(sealed));
    assert_eq!(known(&world), (Leader::Nobody, 2));
}

#[test]
fn attributes_are_kept_and_asked() {
    let mut world = World::new(1, &format!("{OPTIONS}attr-prereq=manual state eq ok\n"), Duration::ZERO, false, false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    assert_eq!(world.answers.last(), Some(&(Outcome::PrerequisiteFailed, true)));
    let mut set = |command, name: &str, value: &str| {
        let body = wire::AttributeBody { ticket: TICKET.into(), name: name.into(), value: value.into() };
        let message = Message {
            from: world.configs[0].local,
            command,
            request: None,
            flags: Flags::default(),
            reason: Reason::JustSo,
            outcome: Outcome::Success,
            body: Body::Attribute(body),
        };
        let bytes = seal::write(&message, None, Stamp::default()).unwrap();
        world.input(0, Input::Client(ClientId(1), bytes));
        world.run(100);
        world.answers.last().map(|(outcome, _)| *outcome)
    };
    assert_eq!(set(Command::SetAttribute, "state", "it's ok"), Some(Outcome::Success));
    assert_eq!(set(Command::SetAttribute, "granted", "true"), Some(Outcome::SyncFail));
    assert_eq!(set(Command::SetAttribute, "a b", "true"), Some(Outcome::SyncFail));
    assert_eq!(set(Command::DeleteAttribute, "nosuch", ""), Some(Outcome::NoSuchAttribute));
    assert_eq!(set(Command::SetAttribute, "state", "ok"), Some(Outcome::Success));
    world.crash(0);
    world.start(0, false);
    world.answers.clear();
    world.ask(0, Command::Grant, Flags::default());
    world.run(100);
    assert_eq!(world.answers.first(), Some(&(Outcome::More, false)));
}

use crate::booth::wire;

/// A world of its own for each seed, with all faults at once.
fn torment(seed: u64, boothd: bool) -> World {
    let mut dice = Random::new(seed ^ 0xB007);
    let acquire_after = dice.below(3);
    let stop_time = Duration::from_millis(dice.between(0, 4000));
    let options = format!("{OPTIONS}acquire-after={acquire_after}\n");
    let mut world = World::new(seed, &options, stop_time, boothd, dice.percent(50));
    world.loss = dice.below(25);
    // A boothd believes a heartbeat whenever it comes; the others do not mind how late anything is.
    world.late = if boothd { 300 } else { dice.between(20, 20_000) };
    world.run(3000);
    for _ in 0..60 {
        match dice.below(12) {
            0 => {
                let site = dice.below(2) as usize;
                world.ask(site, Command::Grant, Flags::default());
            }
            1 if dice.percent(30) => {
                let site = dice.below(2) as usize;
                world.ask(site, Command::Revoke, Flags::default());
            }
            2 | 3 => {
                let member = dice.below(3) as usize;
                world.isolate(member, true);
            }
            4 => {
                let path = dice.choose(&[(0, 1), (0, 2), (1, 2)]).copied().unwrap();
                world.cut.insert(path);
            }
            5 | 6 => world.cut.clear(),
            7 => {
                let member = dice.below(3) as usize;
                world.crash(member);
                world.run(dice.below(4000));
                world.start(member, boothd && member == 2);
            }
            8 if dice.percent(40) => {
                let site = dice.below(2) as usize;
                let able = dice.percent(50);
                world.able(site, able);
            }
            9 => {
                let site = dice.below(2) as usize;
                // Some do not fit the lease.
                world.stop_times[site] = Duration::from_millis(dice.below(12_000));
                world.stop_time(site, world.stop_times[site]);
            }
            _ => {}
        }
        world.run(dice.below(12_000));
    }
    // All faults end: whoever can, holds it.
    world.cut.clear();
    world.loss = 0;
    world.late = 0;
    for site in 0..SITES {
        world.able(site, true);
        world.stop_times[site] = stop_time;
        world.stop_time(site, stop_time);
    }
    world.run(60_000);
    if world.holder().is_none() {
        world.ask(0, Command::Grant, Flags { wait_commit: true, ..Flags::default() });
        world.run(40_000);
    }
    assert!(world.holder().is_some(), "seed {seed}: nobody holds it:\n{}", world.log.join("\n"));
    world
}

#[test]
fn no_two_sites_whatever_happens() {
    let seeds: u64 = option_env!("BOOTH_SEEDS").and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    let mut grants = 0;
    for seed in 0..seeds {
        grants += torment(seed, false).grants.len();
    }
    assert!(grants as u64 > seeds * 2, "the worlds are too quiet: {grants} grants");
}

#[test]
fn no_two_sites_with_a_boothd_as_arbitrator() {
    let seeds: u64 = option_env!("BOOTH_SEEDS").and_then(|seeds| seeds.parse().ok()).unwrap_or(200);
    let mut grants = 0;
    for seed in 0..seeds {
        grants += torment(seed, true).grants.len();
    }
    assert!(grants as u64 > seeds * 2, "the worlds are too quiet: {grants} grants");
}

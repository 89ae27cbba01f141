//! A group of members that hear each other at once, and what each of them is told.

use super::super::wire::{Body, Flags, Message, Stamp, TicketBody};
use super::*;
use crate::booth::config as booth_config;
use crate::config::{MemberEntry, MemberKind, TicketConfig};
use crate::request::Outcome as Did;
use hakudo_base::UnixTime;

const TEXT: &str = "site=10.0.0.1\nsite=10.0.0.2\narbitrator=10.0.0.3\nticket=T\nexpire=10\ntimeout=1\nretries=3\n";

fn address(index: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, index as u8 + 1])
}

struct World {
    now: Now,
    members: Vec<BoothMember>,
    /// What was stored last.
    disks: Vec<Option<Vec<u8>>>,
    words: Vec<(usize, TicketWord)>,
    leases: Vec<(usize, u64)>,
    replies: Vec<(u64, Reply)>,
    /// Confirmations at these are never answered.
    unsure: Vec<usize>,
    dead: Vec<usize>,
    confirmed: usize,
}

fn make(index: usize, stored: Option<&[u8]>, now: Now) -> BoothMember {
    let file = booth_config::read(TEXT).group.unwrap();
    let addresses: Vec<IpAddr> = (0..3).map(address).collect();
    let members = addresses.iter().zip(&file.members).map(|(address, member)| MemberEntry {
        id: BoothSetup::member_id(*address),
        name: address.to_string(),
        kind: if member.kind == booth_config::Kind::Site { MemberKind::Site } else { MemberKind::Arbitrator },
        addresses: Vec::new(),
        key: None,
    });
    let group = Group {
        name: "g".into(),
        members: members.collect(),
        tickets: vec![TicketConfig::new("T")],
        ..Group::default()
    };
    let setup = BoothSetup { file, addresses, local: address(index), key: None, utc_offset: 0 };
    BoothMember::new(&setup, group, index as u64, stored, now).unwrap()
}

impl World {
    fn new() -> Self {
        let now = Now { monotonic: Instant::from_millis(5000), calendar: UnixTime::from_seconds(1_795_000_000) };
        let mut nothing_promised = MARK.to_vec();
        nothing_promised.extend(postcard::to_stdvec(&Stored::default()).unwrap());
        let members = (0..3).map(|index| make(index, Some(&nothing_promised), now)).collect();
        let mut world = Self {
            now,
            members,
            disks: vec![None; 3],
            words: Vec::new(),
            leases: Vec::new(),
            replies: Vec::new(),
            unsure: Vec::new(),
            dead: Vec::new(),
            confirmed: 0,
        };
        (0..3).for_each(|index| world.begin(index));
        world
    }

    fn begin(&mut self, index: usize) {
        self.tell(index, Input::Timer);
        if index < 2 {
            self.tell(index, Input::Able { ticket: "T".into(), able: Ok(()) });
            self.tell(index, Input::StopTime { ticket: "T".into(), stop_time: Duration::from_secs(1) });
        }
    }

    fn tell(&mut self, index: usize, input: Input) {
        let mut inputs = VecDeque::from([(index, input)]);
        while let Some((index, input)) = inputs.pop_front() {
            if self.dead.contains(&index) {
                continue;
            }
            let mut wanted = Vec::new();
            self.members[index].handle(self.now, Told::Input(input), &mut wanted);
            for wanted in wanted {
                let Wanted::Effect(effect) = wanted else { continue };
                match effect {
                    Effect::Send { to, message } => {
                        let from = BoothSetup::member_id(address(index));
                        let to = (0..3).find(|other| BoothSetup::member_id(address(*other)) == to).unwrap();
                        inputs.push_back((to, Input::Received { from, message }));
                    }
                    Effect::Persist { seq, state } => {
                        self.disks[index] = Some(state);
                        inputs.push_back((index, Input::Done(seq)));
                    }
                    Effect::Confirm { seq } => {
                        self.confirmed += 1;
                        if !self.unsure.contains(&index) {
                            inputs.push_back((index, Input::Done(seq)));
                        }
                    }
                    Effect::Ticket(word) => self.words.push((index, word)),
                    Effect::Lease { generation, .. } => self.leases.push((index, generation)),
                    Effect::Reply { id, reply } => self.replies.push((id, reply)),
                    Effect::WouldHold { .. } | Effect::Check(_) | Effect::Event(_) => {}
                }
            }
        }
    }

    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 10 {
            self.now.monotonic += Duration::from_millis(10);
            self.now.calendar = UnixTime::from_millis(self.now.calendar.millis() + 10);
            for index in 0..3 {
                if self.members[index].deadline().is_some_and(|deadline| deadline <= self.now.monotonic) {
                    self.tell(index, Input::Timer);
                }
            }
        }
    }

    fn ask(&mut self, index: usize, id: u64, request: Request) {
        let request = RequestEnvelope { who: "root".into(), at: self.now.calendar, request };
        self.tell(index, Input::Request { id, request });
    }

    fn grant(&mut self, index: usize, id: u64) {
        let site = BoothSetup::member_id(address(index));
        self.ask(index, id, Request::Grant { ticket: "T".into(), site, force: false });
    }

    fn holdings(&self, index: usize) -> Vec<(u64, bool)> {
        let of_it = self.words.iter().filter(|(of, _)| *of == index);
        of_it.map(|(_, word)| (word.generation, matches!(word.holding, Holding::Held { .. }))).collect()
    }
}

#[test]
fn a_grant_is_one_word_and_a_renewal_only_a_lease() {
    let mut world = World::new();
    world.grant(0, 7);
    assert_eq!(world.holdings(0), [(0, false), (1, true)]);
    let Some((7, Reply::Done(Did::Granted { generation: 1, .. }))) = world.replies.first() else {
        panic!("{:?}", world.replies)
    };
    world.run(11_000);
    assert_eq!(world.holdings(0), [(0, false), (1, true)], "a renewal is no news");
    assert!(world.leases.len() >= 2 && world.leases.iter().all(|lease| *lease == (0, 1)), "{:?}", world.leases);
    world.ask(0, 8, Request::Status);
    let Some((8, Reply::Done(Did::Status(status)))) = world.replies.last() else { panic!("{:?}", world.replies) };
    assert_eq!(status.tickets[0].holder, Some(BoothSetup::member_id(address(0))));
    assert_eq!(status.protocol, crate::Protocol::Booth);
}

#[test]
fn a_new_speaker_goes_on_with_the_same_grant() {
    let mut world = World::new();
    world.grant(0, 1);
    let (_, word) = world.words.iter().rfind(|(of, _)| *of == 0).unwrap().clone();
    let Holding::Held { until, .. } = word.holding else { panic!("{word:?}") };
    // The other site is away: nothing but the known lease says that nobody else can have had the ticket.
    world.dead = vec![1];
    world.members[0] = make(0, world.disks[0].as_deref(), world.now);
    world.words.clear();
    world.tell(0, Input::KnownLease { ticket: "T".into(), generation: word.generation, until });
    world.begin(0);
    world.run(4000);
    assert_eq!(world.holdings(0), [(word.generation, true)]);
    // Where no majority follows, the lease ends; a grant after that is another one, once all of this one is stopped.
    world.run(1000);
    world.dead = vec![1, 2];
    world.run(30_000);
    assert_eq!(world.holdings(0), [(word.generation, true), (word.generation, false)]);
    world.dead.clear();
    world.tell(0, Input::Stopped { ticket: "T".into(), generation: 99 });
    world.tell(0, Input::Stopped { ticket: "T".into(), generation: word.generation });
    world.run(10_000);
    let held: Vec<_> = world.words.iter().filter(|(_, word)| matches!(word.holding, Holding::Held { .. })).collect();
    assert_eq!(held.len(), 2, "{held:?}");
}

#[test]
fn a_speaker_that_is_not_confirmed_says_nothing() {
    let mut world = World::new();
    world.unsure = vec![1];
    // Its vote would count: the arbitrator is away.
    world.dead = vec![2];
    world.grant(0, 1);
    world.run(2000);
    assert!(world.holdings(0).iter().all(|(_, held)| !held));
    assert!(world.confirmed > 0);
    world.unsure.clear();
    world.run(5000);
    assert_eq!(world.holdings(0).last().map(|(_, held)| *held), Some(true));
}

#[test]
fn an_arbitrator_that_has_lost_its_memory_keeps_still_for_a_lease() {
    let mut world = World::new();
    world.members[2] = make(2, None, world.now);
    world.begin(2);
    world.dead = vec![0];
    let site = BoothSetup::member_id(address(1));
    let grant = Request::Grant { ticket: "T".into(), site, force: true };
    world.ask(1, 1, grant.clone());
    world.run(10_000);
    assert!(world.holdings(1).iter().all(|(_, held)| !held), "it may have promised the ticket to the other site");
    world.run(1_000);
    world.ask(1, 2, grant);
    world.run(2_000);
    assert_eq!(world.holdings(1).last().map(|(_, held)| *held), Some(true));
    // It is stored that this is over.
    world.dead.push(1);
    world.members[2] = make(2, world.disks[2].as_deref(), world.now);
    assert_eq!(world.members[2].keeps_still_until, None);
}

#[test]
fn what_booth_does_not_know_is_refused_with_words() {
    let mut world = World::new();
    let there = BoothSetup::member_id(address(1));
    world.ask(0, 1, Request::Move { ticket: "T".into(), to: there, dry_run: false });
    world.ask(0, 2, Request::Grant { ticket: "T".into(), site: there, force: false });
    world.ask(0, 3, Request::Revoke { ticket: "T".into(), force: false });
    world.ask(0, 4, Request::Grant { ticket: "U".into(), site: there, force: false });
    let refused = |reply: &Reply| match reply {
        Reply::Refused(refusal) => refusal.to_string(),
        other => format!("{other:?}"),
    };
    let told: Vec<String> = world.replies.iter().map(|(_, reply)| refused(reply)).collect();
    assert!(told[0].contains("which does not know moving a ticket"), "{}", told[0]);
    assert_eq!(told[1], format!("member {there} decides on this: ask it there"));
    assert_eq!(told[2..], ["Done(NotHeld)", "ticket \"U\" does not exist"]);
}

#[test]
fn an_attribute_and_a_standby_are_told_to_the_cluster() {
    let mut world = World::new();
    world.grant(0, 1);
    let site = BoothSetup::member_id(address(0));
    let (ticket, name, value) = ("T".to_owned(), "state".to_owned(), Some("ACTIVE".to_owned()));
    world.ask(0, 2, Request::Attribute { ticket: ticket.clone(), site, name, value });
    world.ask(0, 3, Request::Standby { ticket, on: true });
    let (_, word) = world.words.last().unwrap();
    assert_eq!((word.attributes.get("state").map(String::as_str), word.standby), (Some("ACTIVE"), true));
    assert!(matches!(word.holding, Holding::Held { .. }));
    assert!(world.replies.iter().all(|(_, reply)| matches!(reply, Reply::Done(_))), "{:?}", world.replies);
}

#[test]
fn what_a_site_cannot_do_is_told_with_its_reason() {
    let mut world = World::new();
    world.tell(0, Input::Able { ticket: "T".into(), able: Err("no node has the data".into()) });
    world.grant(0, 1);
    let Some((1, Reply::Refused(Refusal::Declined { reason, .. }))) = world.replies.last() else {
        panic!("{:?}", world.replies)
    };
    assert_eq!(reason, "no node has the data");
    world.ask(0, 2, Request::Status);
    let Some((2, Reply::Done(Did::Status(status)))) = world.replies.last() else { panic!("{:?}", world.replies) };
    let told = status.explain("T").unwrap();
    assert!(told.contains("10.0.0.1 could not take it: no node has the data."), "{told}");
}

#[test]
fn an_attribute_that_cannot_be_is_refused_with_words() {
    let mut world = World::new();
    let site = BoothSetup::member_id(address(0));
    let mut refused = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), Some(value.to_owned()));
        world.ask(0, 1, Request::Attribute { ticket: "T".into(), site, name, value });
        match world.replies.last() {
            Some((1, Reply::Refused(refusal))) => refusal.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(refused("granted", "true"), Refusal::AttributeName(_)));
    assert!(matches!(refused("owner", "1"), Refusal::AttributeName(_)));
    assert!(matches!(refused("a b", "1"), Refusal::AttributeName(_)));
    assert!(matches!(refused("a", "1\n2"), Refusal::GivenUp(_)));
    assert_eq!(refused("", "1"), Refusal::AttributeSize);
    assert_eq!(refused("a", &"x".repeat(MAX_VALUE + 1)), Refusal::AttributeSize);
}

#[test]
fn a_new_bound_of_stopping_is_one_word_with_its_end() {
    let mut world = World::new();
    world.grant(0, 1);
    world.words.clear();
    world.tell(0, Input::StopTime { ticket: "T".into(), stop_time: Duration::from_secs(3) });
    let told = |world: &World| {
        let of_it = world.words.iter().filter_map(|(of, word)| match word.holding {
            Holding::Held { until, stop_time } if *of == 0 => Some((until.unwrap(), stop_time)),
            _ => None,
        });
        of_it.collect::<Vec<_>>()
    };
    assert_eq!(told(&world), [], "the end that the nodes know does not allow for it");
    world.run(6000);
    let [(until, stop_time)] = told(&world)[..] else { panic!("{:?}", world.words) };
    assert_eq!(stop_time, Duration::from_secs(3));
    assert!(until + stop_time <= world.now.monotonic + Duration::from_secs(10));
}

#[test]
fn a_site_that_has_lost_its_memory_helps_nobody_to_a_lost_ticket_for_a_lease() {
    let asked = |reason, stamp: u32| {
        let message = Message {
            from: SiteId(BoothSetup::member_id(address(0)).0),
            command: Command::RequestVote,
            request: None,
            flags: Flags { durable: true, ..Flags::default() },
            reason,
            outcome: Said::Success,
            body: Body::Ticket(TicketBody {
                ticket: "T".into(),
                leader: Leader::Site(SiteId(BoothSetup::member_id(address(0)).0)),
                term: stamp,
                valid_for: 0,
            }),
        };
        seal::write(&message, None, Stamp { seconds: stamp, microseconds: 0 }).unwrap()
    };
    let votes = |member: &mut BoothMember, now: Now, bytes: Vec<u8>| {
        let mut wanted = Vec::new();
        let from = BoothSetup::member_id(address(0));
        member.handle(now, Told::Input(Input::Received { from, message: bytes }), &mut wanted);
        for sequence in 1..100 {
            member.handle(now, Told::Input(Input::Done(sequence)), &mut wanted);
        }
        wanted.iter().any(|wanted| match wanted {
            Wanted::Effect(Effect::Send { message, .. }) => {
                seal::read(message, None, false).is_ok_and(|message| message.command == Command::VoteFor)
            }
            _ => false,
        })
    };
    let mut now = World::new().now;
    let mut member = make(1, None, now);
    member.handle(now, Told::Input(Input::Timer), &mut Vec::new());
    assert!(!votes(&mut member, now, asked(Reason::TicketLost, 10)), "another site may have its promise");
    // Who grants as an administrator waits for what may have been promised.
    assert!(votes(&mut member, now, asked(Reason::Admin, 20)));
    let mut member = make(1, None, now);
    member.handle(now, Told::Input(Input::Timer), &mut Vec::new());
    now.monotonic += Duration::from_secs(11);
    assert!(votes(&mut member, now, asked(Reason::TicketLost, 30)));
    let mut member = make(1, Some(&[MARK, &postcard::to_stdvec(&Stored::default()).unwrap()].concat()), now);
    member.handle(now, Told::Input(Input::Timer), &mut Vec::new());
    assert!(votes(&mut member, now, asked(Reason::TicketLost, 40)));
}

/// What it promises in that time must outlast the end of it, and a restart in the middle of it.
#[test]
fn what_a_site_without_memory_promises_meanwhile_stays_written() {
    let mut world = World::new();
    world.members[1] = make(1, None, world.now);
    world.begin(1);
    world.grant(0, 1);
    world.run(4_000);
    assert_eq!(world.holdings(0).last().map(|(_, held)| *held), Some(true));
    let written = |world: &World| world.disks[1].clone().unwrap();
    let in_between = written(&world);
    assert!(in_between.starts_with(STILL));
    assert!(BoothMember::is_booths(&in_between));
    assert!(make(1, Some(&in_between), world.now).keeps_still_until.is_some(), "begun anew, it waits anew");
    world.run(20_000);
    let afterwards = written(&world);
    assert_eq!(world.members[1].keeps_still_until, None);
    let stored: Stored = postcard::from_bytes(afterwards.strip_prefix(MARK).unwrap()).unwrap();
    assert_eq!(stored, *world.members[1].engine.stored());
    assert_ne!(stored.tickets, Stored::default().tickets);
    assert_eq!(make(1, Some(&afterwards), world.now).keeps_still_until, None);
}

#[test]
fn what_is_written_before_the_end_of_keeping_still_is_done_with_it() {
    let mut now = World::new().now;
    let mut member = make(1, None, now);
    let mut wanted = Vec::new();
    member.handle(now, Told::Input(Input::Timer), &mut wanted);
    let site = BoothSetup::member_id(address(1));
    let (ticket, name, value) = ("T".to_owned(), "state".to_owned(), Some("ok".to_owned()));
    let request = Request::Attribute { ticket, site, name, value };
    let request = RequestEnvelope { who: "root".into(), at: now.calendar, request };
    member.handle(now, Told::Input(Input::Request { id: 1, request }), &mut wanted);
    now.monotonic += Duration::from_secs(11);
    member.handle(now, Told::Input(Input::Timer), &mut wanted);
    let writes = wanted.iter().filter_map(|wanted| match wanted {
        Wanted::Effect(Effect::Persist { seq, .. }) => Some(*seq),
        _ => None,
    });
    let writes: Vec<u64> = writes.collect();
    assert_eq!(writes.len(), 2, "{wanted:?}");
    // A slow disk: both are done in the same moment.
    member.handle(now, Told::Input(Input::Done(writes[1])), &mut wanted);
    assert!(wanted.contains(&Wanted::Effect(Effect::Reply { id: 1, reply: Reply::Done(Did::Done) })), "{wanted:?}");
}

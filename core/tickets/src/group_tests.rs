//! Two sites and an arbitrator that hear each other at once, but for what a test takes away.

mod takeovers;

use crate::config::tests::group;
use crate::core_types::{Check, Holding, Input, Readiness};
use crate::message::{Message, Packet};
use crate::request::{Outcome, Progress, Refusal, Reply, Request, RequestEnvelope};
use crate::status::{LeaseStatus, Status, TicketStatus};
use crate::{Effect, Event, Group, Member, MemberId, TicketConfig};
use hakudo_base::{Instant, UnixTime};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

const A: u32 = 1;
const B: u32 = 2;
const W: u32 = 3;

/// Which messages are lost.
type Lost = Box<dyn Fn(u32, u32, &Message) -> bool>;

struct World {
    now: Instant,
    members: BTreeMap<u32, Member>,
    stored: BTreeMap<u32, Vec<u8>>,
    on_way: VecDeque<(u32, u32, Vec<u8>)>,
    lost: Lost,
    /// Members whose processes are gone.
    dead: BTreeSet<u32>,
    /// Whose store hangs, and what waits for it, in order.
    hung: Option<u32>,
    waiting: VecDeque<(u64, Option<Vec<u8>>)>,
    /// Checks that are not answered at once.
    slow_checks: bool,
    checks: Vec<(u32, Check)>,
    replies: Vec<(u32, u64, Reply)>,
    events: Vec<(u32, Event)>,
    held: BTreeMap<u32, Holding>,
    requests: u64,
}

fn file() -> Group {
    let mut ticket = TicketConfig::new("t");
    (ticket.expire, ticket.timeout, ticket.retries) = (Duration::from_secs(10), Duration::from_secs(1), 3);
    group(vec![ticket])
}

impl World {
    /// A group that has begun.
    fn new() -> Self {
        Self::of(file())
    }

    fn of(group: Group) -> Self {
        let mut world = Self {
            now: Instant::from_millis(100_000),
            members: BTreeMap::new(),
            stored: BTreeMap::new(),
            on_way: VecDeque::new(),
            lost: Box::new(|_, _, _| false),
            dead: BTreeSet::new(),
            hung: None,
            waiting: VecDeque::new(),
            slow_checks: false,
            checks: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            held: BTreeMap::new(),
            requests: 0,
        };
        [A, B, W].into_iter().for_each(|id| world.start(id, group.clone()));
        world.pass(15);
        world
    }

    fn start(&mut self, id: u32, group: Group) {
        let stored = self.stored.get(&id).map(Vec::as_slice);
        let member = Member::new(MemberId(id), group, u64::from(id) + self.now.as_millis(), stored, self.now).unwrap();
        self.members.insert(id, member);
        self.dead.remove(&id);
        if id != W {
            self.tell(id, Input::Active { ticket: "t".into(), active: false });
            self.tell(id, Input::Able { ticket: "t".into(), able: Ok(()) });
            self.tell(id, Input::StopTime { ticket: "t".into(), stop_time: Duration::from_secs(1) });
        }
        self.tell(id, Input::Timer);
    }

    fn tell(&mut self, id: u32, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if self.dead.contains(&id) {
                return;
            }
            let mut effects = Vec::new();
            self.members.get_mut(&id).unwrap().handle(self.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Send { to, message } => self.on_way.push_back((id, to.0, message)),
                    Effect::Persist { seq, state } if self.hung == Some(id) => {
                        self.waiting.push_back((seq, Some(state)))
                    }
                    Effect::Confirm { seq } if self.hung == Some(id) => self.waiting.push_back((seq, None)),
                    Effect::Persist { seq, state } => {
                        self.stored.insert(id, state);
                        inputs.push_back(Input::Done(seq));
                    }
                    Effect::Confirm { seq } => inputs.push_back(Input::Done(seq)),
                    Effect::Check(check) if self.slow_checks => self.checks.push((id, check)),
                    Effect::Check(check) => {
                        inputs.push_back(Input::Checked { check: check.check, result: Ok(Readiness::default()) });
                    }
                    Effect::Ticket(word) => {
                        let ticket_is_t = word.ticket == "t";
                        let (ticket, generation) = (word.ticket, word.generation);
                        if matches!(word.holding, Holding::NotHeld(_)) {
                            inputs.push_back(Input::Active { ticket: ticket.clone(), active: false });
                            inputs.push_back(Input::Stopped { ticket, generation });
                        } else {
                            inputs.push_back(Input::Started { ticket, generation });
                        }
                        if ticket_is_t {
                            self.held.insert(id, word.holding);
                        }
                    }
                    Effect::Reply { id: request, reply } => self.replies.push((id, request, reply)),
                    Effect::Event(event) => self.events.push((id, event)),
                    Effect::Lease { .. } | Effect::WouldHold { .. } => {}
                }
            }
        }
    }

    /// Lets seconds pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 50 {
            self.now += Duration::from_millis(20);
            for (from, to, bytes) in std::mem::take(&mut self.on_way) {
                let message = Packet::decode(&bytes).unwrap().message;
                if self.members.contains_key(&to) && !(self.lost)(from, to, &message) {
                    self.tell(to, Input::Received { from: MemberId(from), message: bytes });
                }
            }
            for id in self.members.keys().copied().filter(|id| !self.dead.contains(id)).collect::<Vec<_>>() {
                let mut tries = 0;
                while self.members[&id].deadline().is_some_and(|at| at <= self.now) {
                    assert!(tries < 10, "member {id} does not move its deadline");
                    tries += 1;
                    self.tell(id, Input::Timer);
                }
            }
        }
    }

    /// Nothing gets from or to this member.
    fn cut_off(&mut self, member: u32) {
        self.lost = Box::new(move |from, to, _| from == member || to == member);
    }

    fn ask(&mut self, at: u32, request: Request) -> u64 {
        self.ask_as("admin", at, request)
    }

    fn ask_as(&mut self, who: &str, at: u32, request: Request) -> u64 {
        self.requests += 1;
        let request = RequestEnvelope { who: who.into(), at: UnixTime::default(), request };
        self.tell(at, Input::Request { id: self.requests, request });
        self.requests
    }

    fn grant(&mut self, at: u32, site: u32, force: bool) -> u64 {
        self.ask(at, Request::Grant { ticket: "t".into(), site: MemberId(site), force })
    }

    fn answer(&self, request: u64) -> Option<&Reply> {
        self.replies.iter().find(|(_, id, reply)| *id == request && reply.is_final()).map(|(_, _, reply)| reply)
    }

    fn coordinator(&self) -> u32 {
        let mut all = self.members.iter().filter(|(id, member)| member.is_coordinator() && !self.dead.contains(*id));
        *all.next().expect("somebody coordinates").0
    }

    fn status(&self) -> Status {
        self.members[&self.coordinator()].status(self.now)
    }

    fn ticket(&self) -> TicketStatus {
        self.status().tickets[0].clone()
    }

    fn holds(&self, site: u32) -> bool {
        matches!(self.held.get(&site), Some(Holding::Held { .. }))
    }

    fn explain(&self) -> String {
        self.status().explain("t").unwrap()
    }
}

#[test]
fn what_an_earlier_coordinator_did_is_not_done_again() {
    let mut world = World::new();
    let first = world.coordinator();
    let (holder, asked) = if first == B { (A, W) } else { (B, if first == A { W } else { A }) };
    world.grant(holder, holder, false);
    world.pass(2);
    assert!(world.holds(holder));
    // What the coordinator answers is lost, and it dies.
    world.lost =
        Box::new(move |from, to, message| (from, to) == (first, asked) && matches!(message, Message::Told { .. }));
    let revoked = world.ask(asked, Request::Revoke { ticket: "t".into(), force: false });
    world.pass(1);
    assert!(!world.holds(holder) && world.answer(revoked).is_none());
    world.dead.insert(first);
    // The other one of the two that are left coordinates, and hears of the new grant first.
    world.lost = Box::new(move |from, _, message| {
        from == asked && matches!(message, Message::PreVote { .. } | Message::Vote { .. } | Message::Ask { .. })
    });
    // Long before whoever asks gives up.
    while !world.members[&holder].is_coordinator() {
        world.pass(1);
    }
    world.pass(1);
    let granted = world.grant(holder, holder, false);
    world.pass(1);
    assert!(matches!(world.answer(granted), Some(Reply::Done(Outcome::Granted { .. }))), "{:?}", world.replies);
    world.lost = Box::new(|_, _, _| false);
    world.pass(3);
    assert_eq!(world.answer(revoked), Some(&Reply::Done(Outcome::Done)));
    assert!(world.holds(holder), "it was granted after it was revoked: {}", world.explain());
}

#[test]
fn a_ticket_is_not_granted_beside_what_still_runs_elsewhere() {
    let mut world = World::new();
    world.tell(A, Input::Active { ticket: "t".into(), active: true });
    let granted = world.grant(B, B, false);
    world.pass(5);
    assert!(!world.holds(B) && world.answer(granted).is_none());
    let waits = Reply::Progress(Progress::Stopping { site: MemberId(A) });
    assert!(world.replies.contains(&(B, granted, waits)), "{:?}", world.replies);
    world.tell(A, Input::Active { ticket: "t".into(), active: false });
    world.pass(3);
    assert!(world.holds(B) && matches!(world.answer(granted), Some(Reply::Done(Outcome::Granted { .. }))));
}

#[test]
fn checks_that_take_long_run_once() {
    let mut world = World::new();
    world.slow_checks = true;
    let granted = world.grant(A, B, false);
    // Longer than the patience of the ticket, and with another coordinator on the way.
    world.pass(6);
    let first = world.coordinator();
    if first != B {
        world.dead.insert(first);
    }
    world.pass(20);
    assert_eq!(world.checks.len(), 1, "{:?}", world.checks);
    if first != A {
        assert_eq!(world.answer(granted), None, "{:?}", world.replies);
    }
    let (site, check) = world.checks.remove(0);
    assert_eq!(site, B);
    world.tell(B, Input::Checked { check: check.check, result: Ok(Readiness::default()) });
    world.pass(3);
    if first != A {
        assert!(matches!(world.answer(granted), Some(Reply::Done(Outcome::Granted { .. }))), "{:?}", world.replies);
        assert!(world.holds(B));
    }
}

fn move_to(site: u32, dry_run: bool) -> Request {
    Request::Move { ticket: "t".into(), to: MemberId(site), dry_run }
}

fn disclaim(site: u32, on: bool) -> Request {
    Request::Disclaim { site: MemberId(site), ticket: None, on }
}

#[test]
fn a_lease_gets_no_end_as_long_as_a_node_is_lost_that_could_not_hear_of_it() {
    let mut world = World::new();
    world.grant(A, A, false);
    world.ask(B, disclaim(B, true));
    world.pass(3);
    assert_eq!(world.ticket().lease, LeaseStatus::Unlimited);
    world.tell(A, Input::Lost(true));
    world.ask(B, disclaim(B, false));
    world.pass(5);
    assert_eq!(world.ticket().lease, LeaseStatus::Unlimited);
    world.cut_off(A);
    world.pass(60);
    assert!(!world.holds(B), "{}", world.explain());
    world.lost = Box::new(|_, _, _| false);
    world.tell(A, Input::Lost(false));
    world.pass(5);
    assert!(matches!(world.ticket().lease, LeaseStatus::Ends(_)), "{}", world.explain());
    world.cut_off(A);
    world.pass(60);
    assert!(world.holds(B), "{}", world.explain());
}

#[test]
fn nobody_takes_over_by_itself_what_the_holder_does_not_stop() {
    let mut world = World::new();
    world.grant(A, A, false);
    world.pass(3);
    world.tell(A, Input::Stays { ticket: "t".into(), what: Some("web is not managed".into()) });
    world.pass(3);
    world.cut_off(A);
    world.pass(60);
    assert!(!world.holds(B));
    let told = world.explain();
    assert!(
        told.contains("does not stop all of it by itself: web is not managed. Nobody else gets it but by force."),
        "{told}"
    );
    let refused = world.grant(B, B, false);
    world.pass(3);
    assert!(
        matches!(world.answer(refused), Some(Reply::Refused(Refusal::AlreadyGranted { .. }))),
        "{:?}",
        world.replies
    );
    world.grant(B, B, true);
    world.pass(3);
    assert!(world.holds(B));
    // Where it is stopped again, a loss moves the ticket as ever.
    world.lost = Box::new(|_, _, _| false);
    world.pass(5);
    world.tell(B, Input::Stays { ticket: "t".into(), what: None });
    world.cut_off(B);
    world.pass(60);
    assert!(world.holds(A), "{}", world.explain());
}

#[test]
fn a_changed_file_is_noticed_and_becomes_what_the_group_goes_by() {
    let mut world = World::new();
    world.grant(A, A, false);
    world.pass(3);
    let mut changed = file();
    changed.tickets[0].expire = Duration::from_secs(20);
    changed.tickets.push(TicketConfig::new("more"));
    world.events.clear();
    world.start(B, changed.clone());
    world.pass(3);
    let notice = Event::ConfigDiffers { member: MemberId(B) };
    assert!(world.events.contains(&(B, notice.clone())), "{:?}", world.events);
    assert!(world.explain().contains("osaka was started with another configuration"), "{}", world.explain());
    let shown = world.ask(B, Request::Adopt { dry_run: true });
    let differences = ["ticket t: expire is 10s, and becomes 20s", "ticket more is added"].map(str::to_owned);
    assert_eq!(world.answer(shown), Some(&Reply::Done(Outcome::Differences(differences.to_vec()))));
    let adopted = world.ask(B, Request::Adopt { dry_run: false });
    world.pass(2);
    assert_eq!(world.answer(adopted), Some(&Reply::Done(Outcome::Done)));
    let status = world.status();
    let known: Vec<(&str, Duration)> = status.tickets.iter().map(|t| (t.name.as_str(), t.expire)).collect();
    assert_eq!(known, [("t", Duration::from_secs(20)), ("more", Duration::from_secs(600))]);
    assert!(world.holds(A));
    // Now the files of the others are the old ones, and they say so.
    assert!(world.events.contains(&(A, Event::ConfigDiffers { member: MemberId(A) })), "{:?}", world.events);
    world.start(A, changed.clone());
    world.pass(3);
    let again = world.ask(A, Request::Adopt { dry_run: false });
    assert_eq!(world.answer(again), Some(&Reply::Done(Outcome::Differences(Vec::new()))));
}

#[test]
fn an_arbitrator_is_replaced_by_another_one_in_one_step() {
    const NEW: u32 = 4;
    let mut world = World::new();
    world.grant(A, A, false);
    world.pass(3);
    let mut changed = file();
    (changed.members[2].id, changed.members[2].name) = (MemberId(NEW), "judge".into());
    world.dead.insert(W);
    world.start(A, changed.clone());
    world.start(B, changed.clone());
    world.start(NEW, changed.clone());
    world.pass(15);
    let adopted = world.ask(A, Request::Adopt { dry_run: false });
    world.pass(10);
    assert_eq!(world.answer(adopted), Some(&Reply::Done(Outcome::Done)), "{:?}", world.replies);
    assert!(world.events.iter().any(|(_, event)| *event == Event::Welcomed { member: MemberId(NEW) }));
    world.cut_off(A);
    world.pass(60);
    assert!(world.holds(B), "{}", world.explain());
    // Who votes is not taken away two at a time.
    world.lost = Box::new(|_, _, _| false);
    world.pass(15);
    let mut less = changed;
    less.members.truncate(1);
    let (removed, at) = (less.members[0].id.0, world.coordinator());
    let refused = world.ask(at, Request::Configure { group: Box::new(less) });
    world.pass(3);
    assert_eq!(world.answer(refused), Some(&Reply::Refused(Refusal::OneMemberAtATime)), "{removed}");
}

#[test]
fn a_manual_ticket_taken_by_force_is_given_up_by_whoever_had_it_once_he_hears_of_it() {
    let mut world = World::new();
    let mut manual = file();
    manual.tickets[0].mode = crate::TicketMode::Manual;
    world.ask(A, Request::Configure { group: Box::new(manual) });
    world.pass(2);
    world.grant(A, A, false);
    world.pass(2);
    world.cut_off(A);
    world.pass(60);
    assert!(world.holds(A), "nobody but the administrator takes it away");
    let refused = world.grant(B, B, false);
    world.pass(2);
    assert!(matches!(world.answer(refused), Some(Reply::Refused(Refusal::AlreadyGranted { .. }))));
    world.grant(B, B, true);
    world.pass(3);
    assert!(world.holds(B));
    world.lost = Box::new(|_, _, _| false);
    world.pass(5);
    assert!(!world.holds(A) && world.holds(B));
    let history = world.ticket().history;
    let forced = |what: &crate::Happened| matches!(what, crate::Happened::Granted { cause: crate::Cause::Force, .. });
    assert!(history.last().is_some_and(|last| forced(&last.what) && last.who == "admin"), "{history:?}");
}

#[test]
fn a_file_with_another_unit_or_length_changes_no_lease() {
    let mut world = World::new();
    let mut other = file();
    other.tickets.push(TicketConfig { expire: Duration::from_millis(2500), ..TicketConfig::new("more") });
    other.tickets[0].expire = Duration::from_secs(10_000);
    world.start(B, other);
    world.pass(10);
    world.grant(A, A, false);
    world.pass(3);
    world.cut_off(A);
    world.pass(25);
    assert!(world.holds(B), "all go by what was agreed: {}", world.explain());
}

/// Who coordinated from then on, each time that it was somebody else.
fn coordinators(world: &World) -> Vec<u32> {
    world.events.iter().filter(|(_, event)| matches!(event, Event::Coordinates { .. })).map(|(id, _)| *id).collect()
}

/// A group that a site coordinates, and its other site, which holds the ticket.
fn coordinated_by_a_site() -> (World, u32, u32) {
    let mut world = World::new();
    world.dead.insert(W);
    world.pass(15);
    let first = world.coordinator();
    let holder = A + B - first;
    world.start(W, file());
    world.grant(holder, holder, false);
    world.pass(3);
    assert!(world.holds(holder) && world.coordinator() == first);
    world.events.clear();
    (world, first, holder)
}

#[test]
fn who_hears_more_members_coordinates() {
    let (mut world, first, holder) = coordinated_by_a_site();
    // In one direction, then in both.
    for both in [false, true] {
        world.lost =
            Box::new(move |from, to, _| (from, to) == (first, holder) || both && (from, to) == (holder, first));
        world.pass(60);
        assert!(world.holds(holder), "{}", world.explain());
        assert_eq!(coordinators(&world), [W], "it goes to who hears all, and stays there");
    }
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::Expired { .. })), "{:?}", world.events);
    world.lost = Box::new(|_, _, _| false);
    world.pass(20);
    assert_eq!(coordinators(&world), [W]);
}

#[test]
fn a_member_that_nobody_hears_changes_no_coordinator() {
    let (mut world, _, holder) = coordinated_by_a_site();
    world.cut_off(holder);
    world.pass(40);
    assert_eq!(coordinators(&world), [0u32; 0]);
}

#[test]
fn a_member_without_a_vote_notices_that_nobody_coordinates() {
    let mut world = World::new();
    let first = world.coordinator();
    let (new, rest) = if first == A { (B, W) } else { (A, B + W - first) };
    // It has forgotten everything, and is not taken in.
    world.stored.remove(&new);
    world.lost = Box::new(move |from, _, message| {
        from == new && matches!(message, Message::Appended(_) | Message::PreVoted { .. })
    });
    world.start(new, file());
    world.pass(5);
    assert_eq!(world.members[&new].status(world.now).coordinator, Some(MemberId(first)));
    [first, rest].into_iter().for_each(|member| _ = world.dead.insert(member));
    world.pass(10);
    assert_eq!(world.members[&new].status(world.now).coordinator, None);
    let asked = world.ask(new, Request::Status);
    assert!(world.answer(asked).is_some(), "who asks waits for a member that is not there");
}

#[test]
fn nothing_is_moved_that_the_holder_does_not_stop() {
    let mut preferred = file();
    (preferred.tickets[0].preferred, preferred.tickets[0].fail_back) = (Some(MemberId(B)), Some(Duration::ZERO));
    for group in [file(), preferred] {
        let mut world = World::of(file());
        world.grant(A, A, false);
        world.pass(3);
        world.tell(A, Input::Stays { ticket: "t".into(), what: Some("web is not managed".into()) });
        world.pass(3);
        for dry_run in [true, false] {
            let refused = world.ask(B, move_to(B, dry_run));
            world.pass(3);
            let reason = Refusal::Stays { ticket: "t".into(), site: MemberId(A), what: "web is not managed".into() };
            assert_eq!(world.answer(refused), Some(&Reply::Refused(reason)));
        }
        // Nor does the group by itself.
        world.ask(A, Request::Configure { group: Box::new(group) });
        world.pass(3);
        world.tell(A, Input::Able { ticket: "t".into(), able: Err("web failed".into()) });
        world.pass(20);
        assert!(world.holds(A) && world.ticket().moving.is_none(), "{}", world.explain());
        world.tell(A, Input::Stays { ticket: "t".into(), what: None });
        world.pass(5);
        assert!(world.holds(B), "{}", world.explain());
    }
}

#[test]
fn nothing_is_moved_beside_what_runs_at_a_third_site_and_nobody_asks_all_the_time() {
    let mut group = file();
    group.members[2].kind = crate::MemberKind::Site;
    let mut world = World::of(group);
    let active = |active| Input::Active { ticket: "t".into(), active };
    world.tell(W, active(false));
    world.pass(1);
    world.grant(A, A, false);
    world.pass(3);
    world.tell(W, active(true));
    world.pass(1);
    let refused = world.ask(B, move_to(B, false));
    world.pass(3);
    let reason = Refusal::RunsElsewhere { ticket: "t".into(), site: MemberId(W) };
    assert_eq!(world.answer(refused), Some(&Reply::Refused(reason)));
    assert!(world.holds(A) && world.ticket().moving.is_none(), "{}", world.explain());
    // It begins to run there while the ticket is on its way.
    world.tell(W, active(false));
    world.pass(1);
    world.slow_checks = true;
    world.ask(B, move_to(B, false));
    world.pass(1);
    world.slow_checks = false;
    world.tell(W, active(true));
    let offers = Rc::new(Cell::new(0));
    let counter = Rc::clone(&offers);
    world.lost = Box::new(move |_, _, message| {
        counter.set(counter.get() + u32::from(matches!(message, Message::Offer(_))));
        false
    });
    let (site, check) = world.checks.remove(0);
    world.tell(site, Input::Checked { check: check.check, result: Ok(Readiness::default()) });
    world.pass(10);
    assert!(offers.get() < 20, "{} offers", offers.get());
    world.tell(W, active(false));
    world.pass(10);
    assert!(world.holds(A) || world.holds(B), "{}", world.explain());
}

#[test]
fn who_asked_for_something_else_is_not_named_as_who_ordered_a_grant() {
    let mut world = World::new();
    world.grant(A, A, false);
    world.pass(3);
    world.slow_checks = true;
    world.ask_as("eve", A, move_to(B, true));
    world.pass(1);
    world.slow_checks = false;
    world.grant(A, B, true);
    world.pass(1);
    for (site, check) in std::mem::take(&mut world.checks) {
        world.tell(site, Input::Checked { check: check.check, result: Ok(Readiness::default()) });
    }
    world.pass(3);
    assert!(world.holds(B), "{}", world.explain());
    let history = world.ticket().history;
    assert_eq!(history.last().map(|last| last.who.as_str()), Some("admin"), "{history:?}");
}

#[test]
fn no_member_has_more_requests_open_than_the_group_remembers() {
    let mut world = World::new();
    let at = if world.coordinator() == A { B } else { A };
    let asked = Rc::new(RefCell::new(BTreeSet::new()));
    let known = Rc::clone(&asked);
    let silent = Rc::new(Cell::new(true));
    let answers_are_lost = Rc::clone(&silent);
    world.lost = Box::new(move |from, to, message| {
        if let (Message::Ask { id, .. }, true) = (message, from == at) {
            known.borrow_mut().insert(*id);
        }
        to == at && answers_are_lost.get() && matches!(message, Message::Told { .. })
    });
    let request = |number: u32| Request::Attribute {
        ticket: "t".into(),
        site: MemberId(A),
        name: format!("a{number}"),
        value: Some("v".into()),
    };
    let all: Vec<u64> = (0..100).map(|number| world.ask(at, request(number))).collect();
    world.pass(5);
    assert!(asked.borrow().len() <= 64, "{} requests may be repeated", asked.borrow().len());
    silent.set(false);
    world.pass(5);
    assert!(all.iter().all(|id| world.answer(*id) == Some(&Reply::Done(Outcome::Done))));
    assert_eq!(world.ticket().attributes.len(), 100);
}

#[test]
fn a_request_that_takes_long_holds_up_later_ones_for_a_while_only() {
    let mut world = World::new();
    let at = if world.coordinator() == A { B } else { A };
    world.slow_checks = true;
    let long = world.grant(at, at, false);
    world.pass(1);
    let request = |number: u32| Request::Attribute {
        ticket: "t".into(),
        site: MemberId(at),
        name: format!("a{number}"),
        value: Some("v".into()),
    };
    let later: Vec<u64> = (0..70).map(|number| world.ask(at, request(number))).collect();
    let done =
        |world: &World| later.iter().filter(|id| world.answer(**id) == Some(&Reply::Done(Outcome::Done))).count();
    world.pass(3);
    assert_eq!((done(&world), world.answer(long)), (63, None), "the group remembers 64 requests of a member");
    world.pass(15);
    assert_eq!((done(&world), world.answer(long)), (70, Some(&Reply::Refused(Refusal::NoAnswer))));
}

#[test]
fn who_remembers_an_older_group_and_keeps_this_one_from_beginning_is_named() {
    let mut world = World::new();
    [A, B].iter().for_each(|id| _ = world.stored.remove(id));
    [A, B, W].into_iter().for_each(|id| world.start(id, file()));
    world.events.clear();
    world.pass(30);
    for id in [A, B] {
        let of_it = world.events.iter().filter(|(at, event)| *at == id && matches!(event, Event::OlderGroup { .. }));
        assert_eq!(
            of_it.map(|(_, event)| event.clone()).collect::<Vec<_>>(),
            [Event::OlderGroup { member: MemberId(W) }]
        );
        let told = world.members[&id].status(world.now).explain("t").unwrap();
        assert!(told.contains("witness remembers an older group"), "{told}");
    }
    // What is to be done helps.
    world.ask(W, Request::TakeOver { members: vec![MemberId(W)] });
    world.pass(15);
    assert!(world.status().members.iter().all(|member| !member.older_group && !member.forgetful));
    assert!(!world.explain().contains("older group"), "{}", world.explain());
}

/// The older group had been taken over once, so that its epoch is not the first: those who are new have heard of that, and begin
/// nevertheless once nobody remembers anything.
#[test]
fn a_new_group_begins_whatever_epoch_its_members_have_heard_of() {
    let mut world = World::new();
    [A, W].into_iter().for_each(|id| _ = world.dead.insert(id));
    world.ask(B, Request::TakeOver { members: vec![MemberId(B)] });
    world.pass(15);
    world.dead.clear();
    world.pass(60);
    [A, W].iter().for_each(|id| _ = world.stored.remove(id));
    [A, B, W].into_iter().for_each(|id| world.start(id, file()));
    world.pass(30);
    world.stored.remove(&B);
    world.start(B, file());
    world.pass(30);
    assert!(world.status().coordinator.is_some());
    world.grant(A, A, false);
    world.pass(3);
    assert!(world.ticket().holder.is_some());
}

#[test]
fn who_has_only_heard_that_the_others_went_on_without_it_coordinates_nothing() {
    let mut world = World::new();
    world.grant(A, A, false);
    world.pass(3);
    [A, B].into_iter().for_each(|id| _ = world.dead.insert(id));
    world.pass(30);
    let taken_over = world.ask(W, Request::TakeOver { members: vec![MemberId(W)] });
    world.pass(3);
    assert_eq!(world.answer(taken_over), Some(&Reply::Done(Outcome::Done)));
    // A hears who took over, which does not hear A; then both sites hear only each other.
    world.lost = Box::new(|from, _, _| from == A);
    world.start(A, file());
    world.pass(2);
    world.cut_off(W);
    world.start(B, file());
    world.pass(40);
    assert!(!world.members[&A].is_coordinator() && !world.members[&B].is_coordinator(), "{:?}", world.events);
    let missed = world.events.iter().filter(|(_, event)| *event == Event::MissedTakeover { epoch: 1 });
    assert_eq!(missed.map(|(id, _)| *id).collect::<Vec<_>>(), [A, B], "each says it once");
    let explained = world.members[&A].status(world.now).explain("t").unwrap();
    assert!(explained.contains("went on without the others"), "{explained}");
    world.lost = Box::new(|_, _, _| false);
    world.pass(30);
    assert!(world.holds(A) || world.holds(B), "{}", world.explain());
}

/// A group of which only A and W have votes, W coordinates, and B is not there; and its configuration without W.
fn two_with_votes() -> (World, Group) {
    let mut world = World::new();
    [A, B].into_iter().for_each(|id| _ = world.dead.insert(id));
    world.pass(15);
    world.ask(W, Request::TakeOver { members: vec![MemberId(W)] });
    world.pass(3);
    world.start(A, file());
    world.pass(15);
    assert_eq!(world.coordinator(), W);
    let mut less = file();
    less.members.retain(|member| member.id != MemberId(W));
    (world, less)
}

#[test]
fn a_coordinator_that_is_removed_sees_its_removal_through() {
    let (mut world, less) = two_with_votes();
    // Nobody but A is left without W: it must have the word of it before W is gone.
    world.lost =
        Box::new(|from, _, message| from == W && matches!(message, Message::Append(sent) if !sent.entries.is_empty()));
    let removed = world.ask(W, Request::Configure { group: Box::new(less.clone()) });
    world.pass(1);
    // The group looks at all again when a member is heard.
    world.start(B, less.clone());
    world.pass(2);
    world.lost = Box::new(|_, _, _| false);
    world.pass(10);
    assert_eq!(world.answer(removed), Some(&Reply::Done(Outcome::Done)), "{:?}", world.events);
    world.dead.insert(W);
    world.pass(15);
    assert_ne!(world.coordinator(), W);
    world.grant(A, B, false);
    world.pass(3);
    assert!(world.holds(B), "{}", world.explain());
}

#[test]
fn nobody_is_removed_where_too_few_would_be_left_that_are_heard() {
    let mut world = World::new();
    world.dead.insert(B);
    world.pass(15);
    let (at, mut less) = (world.coordinator(), file());
    less.members.retain(|member| member.id != MemberId(W));
    let refused = world.ask(at, Request::Configure { group: Box::new(less) });
    world.pass(3);
    let too_few = Refusal::TooFewLeft { heard: 1, voters: 2 };
    assert_eq!(world.answer(refused), Some(&Reply::Refused(too_few)));
}

#[test]
fn a_removed_member_stands_once_more_where_nobody_else_knows_of_it() {
    let (mut world, less) = two_with_votes();
    world.cut_off(W);
    world.ask(W, Request::Configure { group: Box::new(less) });
    world.pass(30);
    assert!(!world.members[&W].is_coordinator() && !world.members[&A].is_coordinator());
    world.lost = Box::new(|_, _, _| false);
    world.pass(30);
    assert_eq!(world.coordinator(), A);
    assert!(world.status().members.iter().all(|member| member.id != MemberId(W)));
}

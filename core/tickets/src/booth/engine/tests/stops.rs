//! What stops slowly, what was given up, and what nobody answered: the narrow ways between two holders.

use super::*;

fn engine(world: &World, member: usize) -> &Engine {
    let Member::Engine(engine) = &world.members[member] else { panic!("member {member} is no engine") };
    engine
}

fn ticket(world: &World, member: usize) -> &ticket::Ticket {
    &engine(world, member).tickets[TICKET]
}

/// A world in which site 0 has held the ticket for a while.
fn held(options: &str, stop_time: Duration, boothd: bool) -> World {
    let mut world = World::new(1, options, stop_time, boothd, true);
    world.slow = true;
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(10_000);
    assert_eq!(world.holder(), Some(0), "{:#?}", world.log);
    world
}

#[test]
fn nothing_is_taken_before_the_time_to_stop_is_known() {
    let mut world = World::new(1, OPTIONS, Duration::ZERO, false, false);
    let restart = |world: &mut World| {
        let now = world.now(0);
        let engine = Engine::new(world.configs[0].clone(), 7, &world.disks[0], now);
        world.members[0] = Member::Engine(Box::new(engine));
        world.input(0, Input::Start);
        world.able(0, true);
    };
    restart(&mut world);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    assert_eq!(world.answers.last(), Some(&(Outcome::HandlerFailed, true)));
    let obstacle = engine(&world, 0).obstacle(TICKET).unwrap();
    assert!(obstacle.contains("how long stopping"), "{obstacle}");
    world.stop_time(0, Duration::from_secs(3));
    world.ask(0, Command::Grant, Flags::default());
    world.run(1000);
    assert_eq!(world.bounds, [(0, Duration::from_secs(3))]);
    // A new speaker that is told later goes on later.
    restart(&mut world);
    world.run(3000);
    assert_eq!(world.bounds.len(), 1);
    assert!(matches!(ticket(&world, 0).role, ticket::Role::Idle));
    world.stop_time(0, Duration::from_secs(4));
    world.run(3000);
    assert_eq!(world.bounds[1..], [(0, Duration::from_secs(4))], "{:#?}", world.log);
}

#[test]
fn a_longer_time_to_stop_is_told_with_an_end_that_allows_for_it() {
    let mut world = held(OPTIONS, Duration::from_millis(500), false);
    // World::carry_out looks at every end.
    world.stop_time(0, Duration::from_secs(4));
    assert_eq!(world.bounds, [(0, Duration::from_millis(500))], "not before a round says so");
    world.run(5000);
    assert_eq!(world.bounds[1..], [(0, Duration::from_secs(4))]);
    // What is shorter than a bound that was not told yet may be longer than the one that was.
    for seconds in [5, 4] {
        world.stop_time(0, Duration::from_millis(seconds * 1000 + 500));
        assert_eq!(world.bounds.len(), 2);
    }
    world.run(5000);
    assert_eq!(world.bounds[2..], [(0, Duration::from_millis(4500))]);
    // A shorter one is told before its longer end.
    let before = world.clusters[0].until;
    world.stop_time(0, Duration::from_millis(200));
    assert_eq!((world.bounds.last(), world.clusters[0].until), (Some(&(0, Duration::from_millis(200))), before));
    // One that the lease has no room for: it goes on by the bound before, and is not taken anew.
    world.stop_time(0, Duration::from_secs(30));
    world.run(30_000);
    assert_eq!((world.bounds.len(), world.grants.len(), world.holder()), (4, 1, Some(0)), "{:#?}", world.log);
    assert!(world.log.iter().any(|line| line.contains("not taken here: stopping")), "{:#?}", world.log);
}

#[test]
fn a_new_speaker_that_knows_a_longer_time_to_stop_tells_it_in_time_and_nothing_is_interrupted() {
    for after in [0, 1000, 2000, 3000, 4000] {
        let mut world = held(OPTIONS, Duration::from_millis(500), false);
        world.run(after);
        world.crash(0);
        world.stop_times[0] = Duration::from_secs(4);
        world.start(0, false);
        world.run(20_000);
        assert_eq!((world.grants.len(), world.holder()), (1, Some(0)), "{:#?}", world.log);
        assert_eq!(world.bounds.last(), Some(&(0, Duration::from_secs(4))));
    }
}

#[test]
fn a_site_that_still_stops_says_that_it_does() {
    // The other site does not take it by itself.
    let options = "expire=10\ntimeout=1\nretries=3\nacquire-after=20\nattr-prereq=auto state eq ok\n";
    let mut world = held(options, Duration::from_secs(20), false);
    world.isolate(0, true);
    world.run(11_000);
    // The others know it as lost, and it is stopping.
    assert!(world.clusters[0].stops.is_some());
    world.isolate(0, false);
    world.run(1000);
    world.ask(1, Command::Grant, Flags { wait_commit: true, ..Flags::default() });
    world.run(60_000);
    assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
    // Once it has stopped, nothing is waited for any longer.
    let idle = world.grants[1].0 - world.last_active[0] / MS;
    assert!(idle < 3000, "{idle} ms: {:#?}", world.log);
}

#[test]
fn a_holder_that_was_restarted_keeps_its_promise_while_its_cluster_runs() {
    let mut world = held("expire=10\ntimeout=1\nretries=3\nacquire-after=20\n", Duration::from_secs(20), false);
    world.crash(0);
    world.start(0, false);
    while !matches!(&ticket(&world, 0).role, ticket::Role::Leading(_)) {
        world.run(1);
    }
    // Nobody answers its first round.
    world.isolate(0, true);
    world.run(4500);
    assert!(matches!(&ticket(&world, 0).role, ticket::Role::Idle), "{:#?}", world.log);
    let own = world.configs[0].local;
    assert_eq!(ticket(&world, 0).promise.map(|promise| promise.leader), Some(own));
    world.isolate(0, false);
    world.ask(1, Command::Grant, Flags::default());
    world.run(40_000);
}

#[test]
fn a_release_counts_for_the_next_election_only() {
    let mut world = held(&format!("{OPTIONS}acquire-after=10\n"), Duration::from_secs(9), false);
    world.able(0, false);
    while ticket(&world, 1).released.is_none() {
        world.run(1);
    }
    // The other site hears the release and then nothing, until the ticket was taken again and lost.
    world.isolate(1, true);
    world.able(0, true);
    world.run(30_000);
    assert_eq!(world.holder(), Some(0), "{:#?}", world.log);
    // The arbitrator's promise runs out, and the loser still stops, when the other site is heard again.
    world.isolate(2, true);
    world.run(11_000);
    world.cut.remove(&(1, 2));
    world.run(60_000);
    assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
}

#[test]
fn each_grant_that_is_asked_for_is_answered() {
    for seed in 0..30 {
        let mut world = World::new(seed, OPTIONS, Duration::from_millis(500), seed % 2 == 0, false);
        world.run(2000);
        for site in 0..SITES {
            world.ask(site, Command::Grant, Flags { wait: true, ..Flags::default() });
        }
        world.run(30_000);
        let ends: Vec<Outcome> = world.answers.iter().filter(|(_, last)| *last).map(|(outcome, _)| *outcome).collect();
        assert_eq!(ends.len(), 2, "seed {seed}: {:?} {:#?}", world.answers, world.log);
        assert!(ends.iter().filter(|outcome| **outcome == Outcome::Success).count() == 1, "{ends:?}");
    }
}

#[test]
fn a_grant_that_ends_otherwise_is_answered() {
    // The site learns on the way that it cannot, or has to wait and is revoked, or is told of another holder.
    let pending = || {
        let mut world = World::new(1, OPTIONS, Duration::from_millis(500), false, false);
        world.run(2000);
        world.crash(1);
        world.ask(0, Command::Grant, Flags { wait_commit: true, ..Flags::default() });
        world.run(500);
        world.answers.clear();
        world
    };
    let mut world = pending();
    world.able(0, false);
    world.run(100);
    assert_eq!(world.answers, [(Outcome::HandlerFailed, true)]);
    let mut world = pending();
    world.ask(0, Command::Revoke, Flags::default());
    world.run(100);
    let mut answers = world.answers.clone();
    answers.sort_by_key(|(outcome, _)| *outcome == Outcome::Success);
    assert_eq!(answers, [(Outcome::More, false), (Outcome::SyncFail, true), (Outcome::Success, true)]);
    let mut world = World::new(1, OPTIONS, Duration::from_millis(500), false, false);
    world.run(2000);
    world.isolate(0, true);
    world.ask(0, Command::Grant, Flags { wait: true, ..Flags::default() });
    world.ask(0, Command::Grant, Flags { wait: true, ..Flags::default() });
    world.run(100);
    assert_eq!(world.answers.last(), Some(&(Outcome::Overgrant, true)));
    world.able(0, false);
    world.run(100);
    assert_eq!(world.answers.last(), Some(&(Outcome::HandlerFailed, true)));
    assert!(!ticket(&world, 0).granting);
}

#[test]
fn what_was_stopped_before_a_grant_is_not_what_runs_by_it() {
    let mut world = held(OPTIONS, Duration::from_secs(3), false);
    world.input(0, Input::Stopped { ticket: TICKET.into() });
    assert!(ticket(&world, 0).running);
    world.ask(0, Command::Revoke, Flags::default());
    world.run(2000);
    assert_eq!(world.answers.last(), Some(&(Outcome::More, false)), "it waits for the stop");
    world.run(2000);
    assert_eq!(world.answers.last(), Some(&(Outcome::Success, true)));
}

#[test]
fn a_run_of_the_handler_answers_its_own_question() {
    let mut world = World::new(1, &format!("{OPTIONS}before-acquire-handler=/x\n"), Duration::ZERO, false, false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    let (0, first) = world.runs[0] else { panic!("{:?}", world.runs) };
    let ended = |world: &mut World, run, result| {
        world.input(0, Input::Handler { ticket: TICKET.into(), run, result });
    };
    ended(&mut world, first, Err("not now".to_owned()));
    assert_eq!(world.answers.pop(), Some((Outcome::HandlerFailed, true)));
    let obstacle = engine(&world, 0).obstacle(TICKET);
    assert_eq!(obstacle.as_deref(), Some("the handler did not agree: not now"));
    world.ask(0, Command::Grant, Flags::default());
    let (0, second) = world.runs[1] else { panic!("{:?}", world.runs) };
    ended(&mut world, first, Ok(()));
    world.run(1000);
    assert_eq!(world.holder(), None);
    ended(&mut world, second, Ok(()));
    world.run(1000);
    assert_eq!(world.holder(), Some(0));
    // An answer of before this lead takes nothing away; one to a renewal does.
    ended(&mut world, second, Err("late".to_owned()));
    assert_eq!(world.holder(), Some(0));
    world.run(6000);
    let (0, renewal) = world.runs[2] else { panic!("{:?}", world.runs) };
    ended(&mut world, renewal, Err("broken".to_owned()));
    assert_eq!(world.holder(), None);
}

#[test]
fn a_member_whose_clock_was_set_back_is_named() {
    let mut world = held(OPTIONS, Duration::ZERO, false);
    let message = |world: &World, back: i64| {
        let message = Message {
            from: world.configs[0].local,
            command: Command::Status,
            request: None,
            flags: Flags { durable: true, ..Flags::default() },
            reason: Reason::JustSo,
            outcome: Outcome::Success,
            body: super::super::body(TICKET, Leader::Nobody, 0, 0),
        };
        let seconds = (world.now(0).calendar.seconds() - back) as u32;
        seal::write(&message, world.configs[0].key.as_ref(), Stamp { seconds, microseconds: 5 }).unwrap()
    };
    world.isolate(0, true);
    world.run(3000);
    let told = |world: &World| world.log.iter().filter(|line| line.contains("are refused")).count();
    // One that comes late is nothing special.
    let old = message(&world, 60);
    world.input(1, Input::Datagram(old));
    assert_eq!(told(&world), 0);
    world.run(6000);
    for back in [60, 59, 58] {
        let old = message(&world, back);
        world.input(1, Input::Datagram(old));
    }
    assert_eq!(told(&world), 1, "{:#?}", world.log);
}

/// Site 1 waits for site 0, which is slow to stop, and gives up what it did not have yet.
#[test]
fn what_was_not_taken_yet_is_given_up_without_a_word_for_an_earlier_holder() {
    let mut world = held(&format!("{OPTIONS}acquire-after=8\n"), Duration::from_secs(8), false);
    world.isolate(0, true);
    while !matches!(&ticket(&world, 1).role, ticket::Role::Leading(_)) {
        world.run(1);
    }
    world.able(1, false);
    world.run(100);
    assert!(world.clusters[0].stops.is_some(), "{:#?}", world.log);
    world.able(1, true);
    // World::check looks whether it has stopped.
    world.run(30_000);
    assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
}

#[test]
fn a_ticket_that_was_lost_is_taken_again_where_nobody_else_speaks() {
    let mut world = World::new(1, OPTIONS, Duration::from_millis(500), false, true);
    // The other site never hears of it.
    world.cut.insert((0, 1));
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(20_000);
    assert_eq!(world.holder(), Some(0), "{:#?}", world.log);
    world.isolate(0, true);
    while world.holder().is_some() {
        world.run(1);
    }
    world.run(2000);
    world.isolate(0, false);
    world.run(60_000);
    assert_eq!(world.holder(), Some(0), "{:#?}", world.log);
}

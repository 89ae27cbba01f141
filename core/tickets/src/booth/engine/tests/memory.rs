//! What a member that was restarted still knows, and what it cannot.

use super::*;

fn ticket(world: &World, member: usize) -> &ticket::Ticket {
    let Member::Engine(engine) = &world.members[member] else { panic!("member {member} is no engine") };
    &engine.tickets[TICKET]
}

/// A world without a key, in which anything may come late, and site 0 has held the ticket for a while.
fn held() -> World {
    let mut world = World::new(1, OPTIONS, Duration::from_millis(500), false, false);
    world.run(2000);
    world.ask(0, Command::Grant, Flags::default());
    world.run(20_000);
    assert_eq!(world.holder(), Some(0), "{:#?}", world.log);
    world
}

/// What the holder said in an earlier term comes to the arbitrator now.
fn comes_late(world: &mut World, command: Command, leader: Leader, term: u32) {
    let message = Message {
        from: world.configs[0].local,
        command,
        request: None,
        flags: Flags { durable: true, ..Flags::default() },
        reason: Reason::JustSo,
        outcome: Outcome::Success,
        body: super::body(TICKET, leader, term, if leader == Leader::Nobody { 0 } else { 10 }),
    };
    world.input(2, Input::Datagram(seal::write(&message, None, Stamp::default()).unwrap()));
}

#[test]
fn a_release_of_before_frees_nothing_that_was_promised_since_also_after_a_restart() {
    let mut world = held();
    let holder = world.configs[0].local;
    let term = ticket(&world, 0).term;
    assert!(term > 3, "{term}");
    for restarts in [false, true] {
        if restarts {
            world.crash(2);
            world.start(2, false);
        }
        for command in [Command::VoteFor, Command::RevokeTicket] {
            comes_late(&mut world, command, Leader::Nobody, 2);
            comes_late(&mut world, Command::Heartbeat, Leader::Site(holder), 1);
            comes_late(&mut world, command, Leader::Nobody, 2);
            assert_eq!(
                ticket(&world, 2).promise.map(|promise| promise.leader),
                Some(holder),
                "{command:?}, {restarts}"
            );
        }
    }
    // The holder is told to go on above all that may have been promised, and is followed again.
    world.run(8000);
    let promise = ticket(&world, 2).promise.unwrap();
    assert_eq!((promise.leader, promise.newest), (holder, promise.term));
    assert_eq!((world.holder(), world.grants.len()), (Some(0), 1), "{:#?}", world.log);
    // What it gives up then is free at once.
    world.able(0, false);
    world.run(2500);
    assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
}

#[test]
fn a_ticket_that_no_site_can_take_is_taken_once_one_can_also_after_a_restart_of_all() {
    let mut world = held();
    (0..SITES).for_each(|site| world.able(site, false));
    world.run(3000);
    assert_eq!(world.holder(), None);
    (0..3).for_each(|member| world.crash(member));
    world.run(1000);
    (0..3).for_each(|member| world.start(member, false));
    world.run(15_000);
    assert!(world.holder().is_some(), "{:#?}", world.log);
}

#[test]
fn who_missed_a_grant_after_a_revocation_does_not_revoke_it_once_more() {
    let mut world = held();
    world.ask(0, Command::Revoke, Flags::default());
    world.run(2000);
    assert_eq!((world.holder(), ticket(&world, 2).known), (None, Leader::Nobody));
    // The arbitrator does not hear of the grant.
    world.isolate(2, true);
    world.ask(0, Command::Grant, Flags::default());
    world.run(5000);
    assert_eq!(world.holder(), Some(0), "{:#?}", world.log);
    world.cut.insert((0, 1));
    world.cut.remove(&(1, 2));
    world.run(30_000);
    assert_eq!(world.holder(), Some(1), "{:#?}", world.log);
}

#[test]
fn who_missed_a_revocation_is_told_of_it() {
    let mut world = held();
    world.isolate(1, true);
    world.ask(0, Command::Revoke, Flags::default());
    world.run(20_000);
    world.cut.remove(&(1, 2));
    world.run(30_000);
    assert_eq!((world.holder(), ticket(&world, 1).known), (None, Leader::Nobody), "{:#?}", world.log);
}

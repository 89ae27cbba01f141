//! Manual tickets: nobody votes on them, so that each site must be asked whether it holds one.

use super::*;

fn world(seed: u64) -> World {
    let mut world = World::new(seed, "mode=manual\n", Duration::from_millis(500), false, false);
    world.run(2000);
    world
}

#[test]
fn of_two_grants_in_the_same_moment_one_at_most_is_done() {
    for seed in 0..30 {
        let mut world = world(seed);
        world.ask(0, Command::Grant, Flags::default());
        world.run(seed % 3 * 10);
        world.ask(1, Command::Grant, Flags::default());
        world.run(20_000);
        assert_ne!(world.carried_manual(), [true, true], "seed {seed}: {:#?}", world.log);
        assert_eq!(world.answers.iter().filter(|(_, last)| *last).count(), 2, "both are answered");
        if world.carried_manual() == [false, false] {
            // Nothing stands in the way of another try.
            world.ask(0, Command::Grant, Flags::default());
            world.run(1000);
            assert_eq!(world.carried_manual(), [true, false], "seed {seed}: {:#?}", world.log);
        }
    }
}

#[test]
fn an_answer_to_an_earlier_question_does_not_say_that_nobody_holds_it() {
    let mut world = world(1);
    world.isolate(0, true);
    world.ask(0, Command::Grant, Flags::default());
    let message = Message {
        from: world.configs[1].local,
        command: Command::MyIndex,
        request: Some(Command::Status),
        flags: Flags { durable: true, ..Flags::default() },
        reason: Reason::JustSo,
        outcome: Outcome::Success,
        body: super::body(TICKET, Leader::Nobody, 0, 0),
    };
    world.input(0, Input::Datagram(seal::write(&message, None, Stamp::default()).unwrap()));
    world.run(10_000);
    assert_eq!(world.carried_manual(), [false, false], "{:#?}", world.log);
    assert_eq!(world.answers.last(), Some(&(Outcome::SyncFail, true)));
}

#[test]
fn what_a_site_cannot_serve_it_gives_up_and_waits_for_a_grant() {
    let mut world = world(1);
    world.ask(0, Command::Grant, Flags::default());
    world.run(1000);
    world.able(0, false);
    world.input(0, Input::Stopped { ticket: TICKET.into() });
    assert_eq!(world.carried_manual(), [false, false], "{:#?}", world.log);
    world.run(600_000);
    let Member::Engine(engine) = &world.members[0] else { panic!("it runs") };
    assert_eq!(engine.deadline(), None);
    world.able(0, true);
    world.ask(0, Command::Grant, Flags::default());
    world.run(1000);
    assert_eq!(world.carried_manual(), [true, false], "{:#?}", world.log);
}

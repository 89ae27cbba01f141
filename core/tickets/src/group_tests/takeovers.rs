//! Takeovers that do not come into force at once.

use super::*;

/// A group that has begun and of which only A is there, which is told to go on with these members.
fn told_to_go_on_with(members: &[u32], hung: bool) -> (World, u64) {
    let mut world = World::new();
    [B, W].into_iter().for_each(|id| _ = world.dead.insert(id));
    world.pass(15);
    world.hung = hung.then_some(A);
    let members = members.iter().map(|id| MemberId(*id)).collect();
    let request = world.ask(A, Request::TakeOver { members });
    world.pass(60);
    (world, request)
}

impl World {
    /// The store goes on.
    fn recover(&mut self) {
        let Some(id) = self.hung.take() else { return };
        while let Some((seq, state)) = self.waiting.pop_front() {
            state.into_iter().for_each(|state| _ = self.stored.insert(id, state));
            self.tell(id, Input::Done(seq));
        }
    }
}

#[test]
fn those_who_can_decide_without_a_takeover_get_none() {
    let (mut world, request) = told_to_go_on_with(&[A, W], false);
    assert_eq!(world.answer(request), Some(&Reply::Refused(Refusal::TakeOverByMajority)));
    world.start(W, file());
    world.pass(15);
    assert_eq!((world.status().term.0, world.members[&A].status(world.now).coordinator.is_some()), (0, true));
}

/// Both know that there is a newer epoch, and not who has a vote in it: they could not elect anybody.
#[test]
fn those_who_have_only_heard_of_a_lost_takeover_go_on_by_another_one() {
    let mut world = World::new();
    [A, B].into_iter().for_each(|id| _ = world.dead.insert(id));
    world.pass(30);
    world.ask(W, Request::TakeOver { members: vec![MemberId(W)] });
    world.pass(3);
    world.lost = Box::new(|from, _, _| from == A);
    world.start(A, file());
    world.pass(2);
    world.dead.insert(W);
    world.lost = Box::new(|_, _, _| false);
    world.start(B, file());
    world.pass(40);
    let request = world.ask(A, Request::TakeOver { members: vec![MemberId(A), MemberId(B)] });
    world.pass(15);
    assert_eq!(world.answer(request), Some(&Reply::Done(Outcome::Done)), "{:?}", world.events);
    world.grant(A, B, false);
    world.pass(3);
    assert!(world.holds(B), "{}", world.explain());
}

#[test]
fn what_the_others_decided_after_a_takeover_was_withdrawn_is_not_lost() {
    let (mut world, request) = told_to_go_on_with(&[A], true);
    assert!(matches!(world.answer(request), Some(Reply::Refused(Refusal::GivenUp(_)))), "{:?}", world.replies);
    [B, W].into_iter().for_each(|id| world.start(id, file()));
    world.pass(15);
    let granted = world.grant(W, B, false);
    world.pass(3);
    assert!(matches!(world.answer(granted), Some(Reply::Done(Outcome::Granted { .. }))), "{:?}", world.replies);
    world.recover();
    world.pass(30);
    assert!(world.holds(B), "{}", world.explain());
    assert_eq!(world.status().term.0, 0);
}

//! Messages and states that nobody of this group wrote.

use crate::config::tests::group;
use crate::log::{Position, Term};
use crate::message::{Appended, Message, Packet};
use crate::{Effect, Input, Member, MemberId, StartError, TicketConfig};
use hakudo_base::Instant;
use proptest::prelude::*;
use std::time::Duration;

fn member() -> Member {
    Member::new(MemberId(1), group(vec![TicketConfig::new("t")]), 1, None, Instant::ZERO).unwrap()
}

/// A state as it is given out to be stored, of a member that stands for election.
fn state() -> Vec<u8> {
    let mut member = member();
    let mut effects = Vec::new();
    let now = Instant::from_millis(60_000);
    member.handle(now, Input::Timer, &mut effects);
    let voted = Packet::new((7, 8), (0, 0), Message::PreVoted { term: Term { epoch: 0, number: 1 }, granted: true });
    member.handle(now, Input::Done(1), &mut effects);
    member.handle(now, Input::Received { from: MemberId(2), message: voted.encode() }, &mut effects);
    let state = effects.iter().rev().find_map(|effect| match effect {
        Effect::Persist { state, .. } => Some(state.clone()),
        _ => None,
    });
    state.expect("a candidate stores its vote")
}

fn messages() -> Vec<Vec<u8>> {
    let term = Term { epoch: 0, number: 3 };
    let last = Position { term, index: 9 };
    let age = Duration::from_secs(1);
    let messages = [
        Message::Vote { term, last },
        Message::PreVote { term, last },
        Message::Voted { term, granted: true, age },
        Message::Appended(Appended { term, round: 4, agrees: true, index: 9 }),
        Message::Released { generation: 3, failed: false },
    ];
    messages.into_iter().map(|message| Packet::new((7, 8), (0, 0), message).encode()).collect()
}

#[test]
fn a_damaged_state_is_an_error() {
    let good = state();
    let start = |bytes: &[u8]| {
        Member::new(MemberId(1), group(vec![TicketConfig::new("t")]), 1, Some(bytes), Instant::ZERO).map(|_| ())
    };
    assert_eq!(start(&good), Ok(()));
    assert!(matches!(start(&good[..good.len() - 1]), Err(StartError::Stored(_))));
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(start(&longer), Err(StartError::Stored("1 bytes follow it".to_owned())));
}

#[test]
fn a_state_of_another_format_is_an_error_that_says_so() {
    let mut other = state();
    for (format, what) in [(1, "format 1"), (77, "format 77")] {
        other[0] = format;
        for state in [&other[..], &[format]] {
            let started = Member::new(MemberId(1), group(Vec::new()), 1, Some(state), Instant::ZERO).map(|_| ());
            let why = started.unwrap_err().to_string();
            assert!(why.contains(what), "{why}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_member_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut effects = Vec::new();
        member().handle(Instant::from_millis(5), Input::Received { from: MemberId(2), message: bytes }, &mut effects);
    }

    #[test]
    fn no_bent_message_makes_a_member_panic(which in 0..5usize, at in any::<usize>(), byte in any::<u8>(), ms in 0..100_000u64) {
        let mut message = messages()[which].clone();
        let at = at % message.len();
        message[at] = byte;
        let mut member = member();
        let mut effects = Vec::new();
        member.handle(Instant::from_millis(ms), Input::Received { from: MemberId(2), message }, &mut effects);
        member.handle(Instant::from_millis(ms + 60_000), Input::Timer, &mut effects);
        prop_assert!(member.deadline().is_some());
    }

    #[test]
    fn no_bent_state_makes_a_member_panic(at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = state();
        let at = at % bytes.len();
        bytes[at] = byte;
        let group = group(vec![TicketConfig::new("t")]);
        if let Ok(mut member) = Member::new(MemberId(1), group, 1, Some(&bytes), Instant::ZERO) {
            member.handle(Instant::from_millis(60_000), Input::Timer, &mut Vec::new());
        }
    }
}

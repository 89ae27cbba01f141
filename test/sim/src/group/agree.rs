//! What members let be seen of themselves, held against each other: who coordinates in which term, what each takes for decided, and
//! that what is no message changes nothing.

use super::check::Checker;
use super::{Mutation, Rule};
use hakudo_base::{Instant, Random};
use hakudo_tickets::{Decided, Effect, Event, Input, Member, MemberId};
use std::collections::BTreeMap;

/// About every so many messages one comes that is none.
const FORGED: u64 = 200;

/// What was seen of all members, and the chance that forges messages.
#[derive(Debug)]
pub(crate) struct Agreement {
    random: Random,
    /// Who began to coordinate in each term: epoch and number.
    terms: BTreeMap<(u32, u32), MemberId>,
    /// What was decided up to each place, and who said so first.
    tables: BTreeMap<Decided, (u64, MemberId)>,
    /// Up to where each run was looked at.
    seen: BTreeMap<u64, Decided>,
}

impl Agreement {
    pub(crate) fn new(seed: u64) -> Self {
        let random = Random::new(seed ^ 0x666f_7267_6564);
        Self { random, terms: BTreeMap::new(), tables: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// A member begins to coordinate. What a replaced speaker takes itself for nobody hears. Two runs of one member may both say so:
    /// who is alone with its vote says it before it is stored, and nobody hears it where that never comes about.
    pub(crate) fn coordinates(&mut self, now: u64, member: MemberId, term: (u32, u32), checker: &mut Checker) {
        let first = *self.terms.entry(term).or_insert(member);
        if first != member {
            let what = format!("members {first} and {member} both coordinate in term {}.{}", term.0, term.1);
            checker.breaks(Rule::OneCoordinator, now, what);
        }
    }

    /// A run of a member may have learned what was decided.
    pub(crate) fn looks_at(&mut self, now: u64, (id, run): (MemberId, u64), member: &Member, checker: &mut Checker) {
        let decided = member.decided();
        if self.seen.insert(run, decided) == Some(decided) {
            return;
        }
        let digest = member.decided_digest();
        let (first, by) = *self.tables.entry(decided).or_insert((digest, id));
        if first != digest {
            let Decided { epoch, number, index } = decided;
            let what = format!("members {by} and {id} know different things of entry {index} of term {epoch}.{number}");
            checker.breaks(Rule::SameTable, now, what);
        }
    }

    /// What a network might make of a message, now and then: a part of it, or more than it.
    pub(crate) fn forgery(&mut self, message: &[u8], mutation: Option<Mutation>) -> Option<Vec<u8>> {
        if self.random.below(FORGED) != 0 || message.is_empty() {
            return None;
        }
        if mutation == Some(Mutation::ForgedAccepted) {
            return Some(message.to_vec());
        }
        let mut bytes = message.to_vec();
        if self.random.percent(70) {
            bytes.truncate(self.random.below(message.len() as u64) as usize);
        } else {
            bytes.push(self.random.next_u64() as u8);
        }
        Some(bytes)
    }
}

/// A member is told what is no message: it may count it and say so, and nothing else.
pub(crate) fn ignores(member: &mut Member, local: Instant, from: MemberId, message: Vec<u8>) -> Result<(), String> {
    // Where something is due at this very moment, its effects could not be told apart.
    if member.deadline().is_some_and(|deadline| deadline <= local) {
        return Ok(());
    }
    let seen =
        |member: &Member| (member.decided(), member.decided_digest(), member.is_coordinator(), member.deadline());
    let (before, mut effects) = (seen(member), Vec::new());
    member.handle(local, Input::Received { from, message }, &mut effects);
    let harmless = |effect: &Effect| matches!(effect, Effect::Event(Event::Malformed { .. }));
    if effects.iter().all(harmless) && seen(member) == before {
        return Ok(());
    }
    Err(format!("what is no message of member {from} had an effect: {effects:?}"))
}

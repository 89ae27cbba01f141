//! Who hears more members coordinates.
//!
//! Two sites that do not hear each other may both hear an arbitrator. Where one of them coordinates, the other one's leases end
//! without need: the arbitrator stays with a coordinator that it hears. So a coordinator that misses somebody asks those it hears
//! whom they reach; and where one of them reaches all that the coordinator reaches itself, *and more*, it leaves its office in
//! favour of that one, which stands for election as anybody does. As each hand-over leads to who hears strictly more, the office
//! does not go back and forth; where the two ways of hearing differ (the coordinator is answered rounds, the others questions), or
//! the network changes all the time, who has given up its office waits ever longer before it does so once more.
//!
//! Nothing here is needed for safety, which is the election's: a hand-over only lets members choose before they would.

use crate::config::MemberId;
use crate::core_types::{Effect, Event};
use crate::log::Term;
use crate::member::Member;
use crate::message::Message;
use crate::office::Office;
use hakudo_base::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// After so many election timeouts an office may be given up once more by the same member, at first and at most.
const PAUSE: u32 = 20;
const LONGEST_PAUSE: u32 = 1280;

/// When this member last gave up its office.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenUp {
    at: Instant,
    /// In election timeouts, until it may do so again.
    pause: u32,
}

/// Whom a member reaches, which it finds out for a coordinator that misses somebody.
#[derive(Clone, Debug)]
pub(crate) struct Looking {
    since: Instant,
    answered: BTreeSet<MemberId>,
}

impl Member {
    // ---- at the coordinator ----------------------------------------------------------------------------------------

    /// Leaves the office to a member that hears more, or asks whether there is one where somebody is missed.
    pub(crate) fn mind_hand_over(&mut self) {
        if !self.is_ready() {
            return;
        }
        let (now, timeout) = (self.now, self.election_timeout());
        if self.given_up.is_some_and(|last| now.since(last.at) < timeout * last.pause) {
            return;
        }
        if let Some(to) = self.who_hears_more() {
            return self.hand_over(to);
        }
        let Some(office) = self.office.as_ref() else { return };
        let asked_lately = office.looked_at.is_some_and(|at| now.since(at) < timeout);
        // Before it is missed for certain, so that the others' answers are there when it is.
        let heard = self.reached(office, timeout / 2);
        if asked_lately || heard.len() == self.group().members.len() {
            return;
        }
        if let Some(office) = self.office.as_mut() {
            office.looked_at = Some(now);
        }
        let (term, local) = (self.stored.term, self.local);
        heard
            .into_iter()
            .filter(|member| *member != local)
            .for_each(|member| self.send(member, Message::Look { term }));
    }

    /// The members that acked a round of this coordinator lately, itself among them.
    fn reached(&self, office: &Office, within: Duration) -> BTreeSet<MemberId> {
        let members = self.group().members.iter().map(|member| member.id);
        let lately = |member: &MemberId| *member == self.local || self.now.since(office.heard(*member)) < within;
        members.filter(lately).collect()
    }

    /// A member that could coordinate at once, and hears all that this coordinator hears, and more.
    fn who_hears_more(&self) -> Option<MemberId> {
        let office = self.office.as_ref().filter(|office| !office.reached_by.is_empty())?;
        let timeout = self.election_timeout();
        let (own, last) = (self.reached(office, timeout), self.stored.log.last().index);
        let could = |member: MemberId| {
            let follower = office.followers.get(&member).filter(|follower| follower.matched >= last);
            self.voters.contains(&member) && follower.is_some_and(|follower| self.counts(member, follower.memory))
        };
        let lately = office.reached_by.iter().filter(|(_, (at, _))| self.now.since(*at) < timeout);
        let more = lately.filter(|(_, (_, reached))| reached.is_superset(&own) && reached.len() > own.len());
        more.filter(|(member, _)| could(**member))
            .max_by_key(|(_, (_, reached))| reached.len())
            .map(|(member, _)| *member)
    }

    fn hand_over(&mut self, to: MemberId) {
        let (now, term) = (self.now, self.stored.term);
        // Long after the pause was over, the last time has nothing to do with this one.
        let last = self.given_up.filter(|last| now.since(last.at) < self.election_timeout() * (4 * last.pause));
        let pause = last.map_or(PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        self.given_up = Some(GivenUp { at: now, pause });
        let others = self.group().members.iter().map(|member| member.id).filter(|member| *member != self.local);
        for member in others.collect::<Vec<_>>() {
            self.send(member, Message::HandOver { term, to });
        }
        self.out.push(Effect::Event(Event::HandsOver { to }));
        // What it followed before it coordinated binds it no more either.
        self.coordinator_heard = None;
        self.step_down();
    }

    pub(crate) fn on_reaches(&mut self, from: MemberId, term: Term, reached: BTreeSet<MemberId>) {
        if term != self.stored.term {
            return;
        }
        let members: BTreeSet<MemberId> = self.group().members.iter().map(|member| member.id).collect();
        if let Some(office) = &mut self.office {
            office.reached_by.insert(from, (self.now, reached.intersection(&members).copied().collect()));
        }
    }

    // ---- at the others ---------------------------------------------------------------------------------------------

    /// The coordinator wants to know whom this member reaches: all are asked for what none of them grants.
    pub(crate) fn on_look(&mut self, from: MemberId, term: Term) {
        if self.coordinator != Some(from) || term != self.stored.term || !self.may_vote() {
            return;
        }
        self.looking = Some(Looking { since: self.now, answered: BTreeSet::from([from, self.local]) });
        let last = self.stored.log.last();
        let others = self.group().members.iter().map(|member| member.id);
        for member in others.filter(|member| *member != from && *member != self.local).collect::<Vec<_>>() {
            self.send(member, Message::PreVote { term, last });
        }
    }

    /// A member has answered a question: the coordinator that wanted to know is told.
    pub(crate) fn reaches(&mut self, member: MemberId) {
        let (now, timeout, term) = (self.now, self.election_timeout(), self.stored.term);
        let Some(coordinator) = self.coordinator.filter(|coordinator| *coordinator != self.local) else { return };
        let Some(looking) = self.looking.as_mut().filter(|looking| now.since(looking.since) < timeout) else { return };
        if looking.answered.insert(member) {
            let reached = looking.answered.clone();
            self.send(coordinator, Message::Reaches { term, reached });
        }
    }

    /// The coordinator leaves its office: nobody owes it anything any more, and the one it names asks for votes first.
    pub(crate) fn on_hand_over(&mut self, from: MemberId, term: Term, to: MemberId) {
        if self.coordinator != Some(from) || term != self.stored.term || self.office.is_some() {
            return;
        }
        (self.coordinator, self.coordinator_heard) = (None, None);
        self.left_office = Some(term);
        self.site.coordinator_changed();
        self.set_election_timer();
        if to == self.local {
            self.election_at = self.now;
        }
    }
}

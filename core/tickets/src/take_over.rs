//! Takeovers: an administrator lets some members go on without the others.
//!
//! A takeover is the one thing that a member decides without a majority, so nothing of it may leave the member before it is
//! stored, and whoever ordered it must know what came of it. Where it cannot be stored in time it is withdrawn: the others may
//! have come back by then and decided more, which it would undo when it came into force at last.
//!
//! That is as far as it goes: a member that is started anew, or another node that speaks for its site, may find it stored, and
//! does not know that it was given up. So whoever was not told that it is done must look before the others come back.

use crate::config::MemberId;
use crate::core_types::Effect;
use crate::log::{Author, Command, Position, Term};
use crate::member::Member;
use crate::message::Message;
use crate::request::{Outcome, Refusal, Reply, RequestEnvelope};
use hakudo_base::Instant;
use std::collections::BTreeSet;

/// A takeover that was ordered at this member and is not in force yet.
#[derive(Clone, Debug)]
pub(crate) struct TakingOver {
    /// The request.
    id: u64,
    since: Instant,
    /// Its entry.
    at: Position,
    /// The number of the persist that stores it.
    stored_by: u64,
    /// The term before, and for whom this member had voted in it.
    before: (Term, Option<MemberId>),
}

impl Member {
    pub(crate) fn ask_take_over(&mut self, id: u64, request: &RequestEnvelope, members: &[MemberId]) {
        let author = Author { who: request.who.clone(), at: request.at, request: None };
        let before = (self.stored.term, self.stored.voted_for);
        match self.take_over(author, members) {
            Ok(at) => {
                let (since, stored_by) = (self.now, self.next_persist());
                self.taking_over.push(TakingOver { id, since, at, stored_by, before });
            }
            Err(refusal) => self.refuse_take_over(id, refusal),
        }
    }

    fn refuse_take_over(&mut self, id: u64, refusal: Refusal) {
        self.out.push(Effect::Reply { id, reply: Reply::Refused(refusal) });
    }

    /// The administrator declares all voters but `members` dead.
    ///
    /// A new epoch begins with an entry in this member's log that leaves them without votes. What the old epoch decided
    /// and this member did not hear of is lost; whoever still lives in the old epoch gives in as soon as it hears of the
    /// new one.
    fn take_over(&mut self, author: Author, members: &[MemberId]) -> Result<Position, Refusal> {
        // Who is not part of the newest configuration that it knows has no vote, and could not finish what it began.
        let newest = self.stored.log.after(self.applied).iter().rev().find_map(|entry| match &entry.command {
            Command::Configure(group) => Some(group.as_ref()),
            _ => None,
        });
        let group = newest.unwrap_or(self.group());
        if !members.contains(&self.local) || members.iter().any(|member| group.member(*member).is_none()) {
            return Err(Refusal::TakeOverMembers);
        }
        if self.stays_with_coordinator() {
            return Err(Refusal::TakeOverNotNeeded);
        }
        // They might decide something before they hear of the new epoch, which would begin without it.
        // Who does not know the newest epoch, or has forgotten what it promised, cannot tell who has a vote.
        let named = self.voters.iter().filter(|voter| members.contains(voter)).count();
        let knows_voters = self.has_begun() && self.knows_epoch() && self.may_vote();
        if knows_voters && self.is_majority(named) {
            return Err(Refusal::TakeOverByMajority);
        }
        let all: BTreeSet<MemberId> = group.members.iter().map(|member| member.id).collect();
        let absent = all.into_iter().filter(|member| !members.contains(member)).collect();
        // Where both sides of a split are told to go on alone, one of them has the later term, and the other gives in when
        // they meet.
        let number = u32::try_from(self.random.between(1, 1 << 31)).unwrap_or(1);
        self.stored.term = Term { epoch: self.stored.term.epoch.saturating_add(1), number };
        self.stored.voted_for = Some(self.local);
        self.propose(author, Command::TakeOver { absent, by: (self.local, self.stored.memory) });
        let at = self.stored.log.last();
        self.set_election_timer();
        let term = self.stored.term;
        self.stand(false, |last| Message::Vote { term, last });
        self.count_votes();
        Ok(at)
    }

    /// An entry is in the table: a takeover that it was is done.
    pub(crate) fn taken_over(&mut self, at: Position) {
        for done in self.taking_over.extract_if(.., |taking| taking.at == at) {
            self.out.push(Effect::Reply { id: done.id, reply: Reply::Done(Outcome::Done) });
        }
    }

    /// Gives up takeovers that did not come into force in time.
    pub(crate) fn mind_takeovers(&mut self) {
        let (now, patience) = (self.now, self.no_answer_after());
        let is_late = |taking: &TakingOver| now.since(taking.since) >= patience;
        // One that was ordered after another goes with it.
        while self.taking_over.iter().any(|taking| is_late(taking) && !self.is_stored(taking.stored_by))
            && let Some(newest) = self.taking_over.last().cloned()
            && self.withdraw(&newest)
        {
            self.taking_over.pop();
            let why = "it could not be stored in time, and was taken back. Where this member is started anew before it can store again, \
                       it may come into force all the same";
            self.refuse_take_over(newest.id, Refusal::GivenUp(why.to_owned()));
        }
        let late: Vec<TakingOver> = self.taking_over.extract_if(.., |taking| is_late(taking)).collect();
        late.iter().for_each(|lost| self.refuse_take_over(lost.id, Refusal::NoAnswer));
    }

    /// When [`Self::mind_takeovers`] has something to do next.
    pub(crate) fn takeovers_deadline(&self) -> Option<Instant> {
        self.taking_over.iter().map(|taking| taking.since + self.no_answer_after()).min()
    }

    /// Takes a takeover back as if it had never been ordered; false where it may be stored, so that others may know of it.
    fn withdraw(&mut self, taking: &TakingOver) -> bool {
        let TakingOver { at, stored_by, before, .. } = taking;
        let is_newest = self.stored.term == at.term && self.stored.log.position(at.index) == Some(*at);
        if self.is_stored(*stored_by) || !is_newest || self.stored.commit >= at.index {
            return false;
        }
        // Whatever speaks of it waits until it is stored, and is never sent now.
        self.forget_unsent(*stored_by);
        self.candidacy = None;
        self.step_down();
        self.stored.log.truncate(at.index);
        (self.stored.term, self.stored.voted_for) = *before;
        self.dirty = true;
        self.refresh_voters();
        self.set_election_timer();
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::group;
    use crate::request::{Outcome, Refusal, Reply, Request, RequestEnvelope};
    use crate::{Effect, Input, Member, MemberId, TicketConfig};
    use hakudo_base::{Instant, UnixTime};
    use std::collections::VecDeque;

    const OWN: MemberId = MemberId(1);

    /// A member, and what it wants stored, which is stored when a test says so.
    struct Alone {
        member: Member,
        now: Instant,
        stores: VecDeque<(u64, Option<Vec<u8>>)>,
        on_disk: Option<Vec<u8>>,
        sent: usize,
        replies: Vec<Reply>,
    }

    impl Alone {
        fn new() -> Self {
            let now = Instant::from_millis(5000);
            let member = Member::new(OWN, group(vec![TicketConfig::new("t")]), 1, None, Instant::ZERO).unwrap();
            let stores = VecDeque::new();
            let mut alone = Self { member, now, stores, on_disk: None, sent: 0, replies: Vec::new() };
            alone.tell(Input::Timer);
            alone.store_all();
            alone
        }

        fn tell(&mut self, input: Input) {
            let mut effects = Vec::new();
            self.member.handle(self.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Persist { seq, state } => self.stores.push_back((seq, Some(state))),
                    Effect::Confirm { seq } => self.stores.push_back((seq, None)),
                    Effect::Send { .. } => self.sent += 1,
                    Effect::Reply { reply, .. } => self.replies.push(reply),
                    _ => {}
                }
            }
        }

        fn store_all(&mut self) {
            while let Some((seq, state)) = self.stores.pop_front() {
                self.on_disk = state.or(self.on_disk.take());
                self.tell(Input::Done(seq));
            }
        }

        fn take_over(&mut self) {
            let request = Request::TakeOver { members: vec![OWN] };
            let request = RequestEnvelope { who: "admin".into(), at: UnixTime::default(), request };
            self.tell(Input::Request { id: 7, request });
        }

        fn pass(&mut self, seconds: u64) {
            let end = self.now + std::time::Duration::from_secs(seconds);
            while let Some(due) = self.member.deadline().filter(|due| *due <= end) {
                self.now = self.now.max(due);
                self.tell(Input::Timer);
            }
            self.now = end;
        }
    }

    #[test]
    fn a_takeover_is_answered_once_it_is_stored() {
        let mut alone = Alone::new();
        alone.take_over();
        assert_eq!(alone.replies, []);
        alone.store_all();
        assert_eq!((alone.replies, alone.member.is_coordinator()), (vec![Reply::Done(Outcome::Done)], true));
    }

    #[test]
    fn a_takeover_that_could_not_be_stored_in_time_never_comes_into_force() {
        let mut alone = Alone::new();
        alone.take_over();
        // Who is alone coordinates at once, as far as it can tell.
        alone.take_over();
        assert_eq!(alone.replies, [Reply::Refused(Refusal::TakeOverNotNeeded)]);
        let before = alone.sent;
        alone.pass(60);
        assert_eq!(alone.sent, before, "nobody hears of what is not stored");
        assert!(matches!(alone.replies[..], [_, Reply::Refused(Refusal::GivenUp(_))]), "{:?}", alone.replies);
        alone.store_all();
        assert!(!alone.member.is_coordinator());
        // Nor after a restart.
        let group = group(vec![TicketConfig::new("t")]);
        let again = Member::new(OWN, group, 2, alone.on_disk.as_deref(), alone.now).unwrap();
        assert_eq!((again.stored.term.epoch, again.stored.log.last().index), (0, 0));
    }
}

//! Who coordinates, and how logs come to agree: Raft, with a question before each election, voters that stay with a
//! coordinator they hear, and a coordinator that gives up when it does not hear a majority.

use crate::config::{MemberId, MemberKind};
use crate::core_types::{Effect, Event};
use crate::drift;
use crate::log::{Command, Log, Position, Term};
use crate::member::{Candidacy, Member};
use crate::message::{Append, Appended, Install, Message};
use crate::office::Office;
use std::collections::BTreeMap;
use std::time::Duration;

/// Who asks so often on behalf of a group that has begun is taken to remember an older one.
const OLDER: u32 = 3;

impl Member {
    // ---- following -------------------------------------------------------------------------------------------------

    pub(crate) fn on_append(&mut self, from: MemberId, append: Append) {
        if self.left_office == Some(append.term) {
            // It was on its way when who sent it gave up its office.
            return;
        }
        if append.term < self.stored.term {
            return self.refuse_round(from, append.round, self.stored.commit);
        }
        if !self.follow(from, append.term) {
            return;
        }
        self.report_seen(append.report_seen);
        let last = self.stored.log.last();
        let base = self.stored.log.base();
        let previous = append.previous;
        // What is before the base is committed; of one epoch, all logs agree up to there.
        let (skip, agrees) = if previous.index < base {
            (base - previous.index, true)
        } else {
            (0, self.stored.log.position(previous.index) == Some(previous))
        };
        if !agrees {
            let below = previous.index.saturating_sub(1).min(last.index);
            let hint = if previous.index <= self.stored.commit { 0 } else { below.min(self.stored.commit) };
            return self.refuse_round(from, append.round, hint);
        }
        let mut index = previous.index.max(base);
        for entry in append.entries.into_iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            index += 1;
            match self.stored.log.entry(index).map(|known| known.term == entry.term) {
                Some(true) => continue,
                // Only a log of another epoch can contradict what is committed: it must come as a whole.
                Some(false) if index <= self.stored.commit => return self.refuse_round(from, append.round, 0),
                Some(false) => self.stored.log.truncate(index),
                None => {}
            }
            self.stored.log.push(entry);
            self.dirty = true;
        }
        let commit = append.commit.min(index);
        if commit > self.stored.commit {
            self.stored.commit = commit;
            self.dirty = true;
        }
        self.refresh_voters();
        self.ack(from, append.round, index);
    }

    pub(crate) fn on_install(&mut self, from: MemberId, install: Install) {
        if install.term < self.stored.term {
            return self.refuse_round(from, install.round, self.stored.commit);
        }
        if !self.follow(from, install.term) {
            return;
        }
        let known = self.stored.log.position(install.last.index) == Some(install.last);
        let behind = install.last.index < self.stored.log.base() && install.last.term <= self.stored.log.last().term;
        // What an older epoch decided gives way, also where it is longer than what the one who took over knows.
        let outdated = install.term.epoch > self.stored.log.last().term.epoch;
        if outdated || !known && !behind {
            self.stored.log = Log::installed(install.last, install.table.clone());
            self.stored.commit = install.last.index;
            self.applied = install.last.index;
            self.table = install.table;
            self.refresh_configs();
            self.compare_own_config();
            self.forget_unknown();
            self.site.touch_all(&self.table);
            self.dirty = true;
        } else if known && install.last.index > self.stored.commit {
            self.stored.commit = install.last.index;
            self.dirty = true;
        }
        self.refresh_voters();
        self.ack(from, install.round, install.last.index);
    }

    /// Takes `from` for the coordinator of `term`, which is not older than this member's.
    fn follow(&mut self, from: MemberId, term: Term) -> bool {
        if term == self.stored.term && self.office.is_some() {
            // There is one coordinator a term: this is this member's own.
            return from == self.local;
        }
        self.enter(term);
        self.candidacy = None;
        self.coordinator_heard = Some(self.now);
        self.last_ack = self.now;
        if !self.may_vote() && !std::mem::replace(&mut self.said_forgetful, true) {
            self.out.push(Effect::Event(Event::NoMemory));
        }
        self.set_election_timer();
        if self.coordinator.replace(from) != Some(from) {
            self.site.coordinator_changed();
            self.out.push(Effect::Event(Event::Follows { coordinator: from }));
        }
        true
    }

    fn ack(&mut self, to: MemberId, round: u64, index: u64) {
        let term = self.stored.term;
        self.promise(to, Message::Appended(Appended { term, round, agrees: true, index }));
        self.report(to);
    }

    fn refuse_round(&mut self, to: MemberId, round: u64, index: u64) {
        let term = self.stored.term;
        self.promise(to, Message::Appended(Appended { term, round, agrees: false, index }));
    }

    /// Enters a term, if it is newer than the one this member is in.
    fn enter(&mut self, term: Term) {
        if term > self.stored.term {
            self.stored.term = term;
            self.stored.voted_for = None;
            self.dirty = true;
            self.step_down();
            self.candidacy = None;
        }
    }

    /// Leaves the office of coordinator.
    pub(crate) fn step_down(&mut self) {
        if self.office.take().is_some() {
            self.coordinator = None;
            self.set_election_timer();
            self.site.coordinator_changed();
            self.out.push(Effect::Event(Event::CoordinatesNoMore));
        }
    }

    // ---- electing --------------------------------------------------------------------------------------------------

    pub(crate) fn set_election_timer(&mut self) {
        if self.is_founding() && self.candidacy.as_ref().is_none_or(|candidacy| candidacy.pre) {
            // There is nobody to be let go first; but votes are stored by all before they are given.
            self.election_at = self.now + self.retry * 2;
            return;
        }
        let timeout = u64::try_from(self.election_timeout().as_nanos()).unwrap_or(u64::MAX / 4);
        self.election_at = self.now + Duration::from_nanos(self.random.between(timeout, 2 * timeout));
    }

    /// True while this member owes a coordinator that it elects no other.
    pub(crate) fn stays_with_coordinator(&self) -> bool {
        let timeout = self.election_timeout();
        self.office.is_some() || self.coordinator_heard.is_some_and(|heard| self.now.since(heard) < timeout)
    }

    pub(crate) fn mind_election(&mut self) {
        if let Some(office) = &self.office {
            if !self.hears_majority(office) {
                self.step_down();
                self.out.push(Effect::Event(Event::NoCoordinator));
            }
            return;
        }
        if self.now < self.election_at {
            return;
        }
        if self.coordinator.take().is_some() {
            self.site.coordinator_changed();
            self.out.push(Effect::Event(Event::NoCoordinator));
        }
        self.set_election_timer();
        if !self.knows_epoch() {
            return self.tell_of_missed_takeover();
        }
        if !self.may_stand() {
            return;
        }
        if self.is_founding() && self.founder() != Some(self.local) {
            return self.greet();
        }
        let term = self.next_term();
        self.stand(true, |last| Message::PreVote { term, last });
        self.count_votes();
    }

    /// False where this member has only heard that a new epoch began: who votes in it stands in a log that it has yet to get.
    pub(crate) fn knows_epoch(&self) -> bool {
        self.is_founding() || self.is_of_epoch(self.stored.log.last(), self.stored.term)
    }

    fn tell_of_missed_takeover(&mut self) {
        let epoch = self.stored.term.epoch;
        if self.said_missed.replace(epoch) != Some(epoch) {
            self.out.push(Effect::Event(Event::MissedTakeover { epoch }));
        }
    }

    /// True where a log that ends so says who votes in a term. To begin a group takes all of its members, who may have heard of an
    /// epoch of a group that is gone.
    fn is_of_epoch(&self, last: Position, term: Term) -> bool {
        last.term.epoch == term.epoch || last.index == 0 && self.is_founding()
    }

    /// Asks all others for what none of them grants, so that everybody can say who is heard: the one who asks them to begin may
    /// be the one who is missing.
    fn greet(&mut self) {
        // Often enough for nobody to count as silent in between.
        self.election_at = self.now + self.election_timeout() / 3;
        let (term, last) = (self.stored.term, self.stored.log.last());
        for voter in self.voters.clone() {
            if voter != self.local {
                self.send(voter, Message::PreVote { term, last });
            }
        }
    }

    /// Who asks the others to begin: as all must be there, one of them is enough. An arbitrator, if there is one: it stays where
    /// it is.
    fn founder(&self) -> Option<MemberId> {
        let members = self.group().members.iter();
        members.max_by_key(|member| (member.kind == MemberKind::Arbitrator, member.id)).map(|member| member.id)
    }

    fn next_term(&self) -> Term {
        Term { number: self.stored.term.number.saturating_add(1), ..self.stored.term }
    }

    pub(crate) fn stand(&mut self, pre: bool, message: impl Fn(Position) -> Message) {
        self.candidacy =
            Some(Candidacy { pre, votes: BTreeMap::from([(self.local, (self.stored.memory, self.last_ack))]) });
        let last = self.stored.log.last();
        for voter in self.voters.clone() {
            if voter != self.local {
                self.promise(voter, message(last));
            }
        }
    }

    pub(crate) fn count_votes(&mut self) {
        let Some(candidacy) = &self.candidacy else { return };
        let founding = self.is_founding();
        let counts = |voter: MemberId, memory| self.voters.contains(&voter) && (founding || self.counts(voter, memory));
        let votes = candidacy.votes.iter().filter(|(voter, (memory, _))| counts(**voter, *memory)).count();
        let enough = if founding { votes == self.voters.len() } else { self.is_majority(votes) };
        if !enough || !self.may_stand() {
            return;
        }
        if candidacy.pre {
            self.stored.term = self.next_term();
            self.stored.voted_for = Some(self.local);
            self.dirty = true;
            let term = self.stored.term;
            self.stand(false, |last| Message::Vote { term, last });
            self.set_election_timer();
            self.count_votes();
        } else {
            // A lease that an earlier coordinator renewed was backed by a majority; one of it voted here. So none was backed
            // by a round begun after the latest of these moments.
            let bound = candidacy.votes.values().map(|(_, at)| *at).max().unwrap_or(self.now);
            let memories = candidacy.votes.iter().map(|(voter, (memory, _))| (*voter, *memory)).collect();
            self.take_office(bound, founding.then_some(memories));
        }
    }

    /// `founders`: of a group that begins, all members and their memories.
    fn take_office(&mut self, bound: hakudo_base::Instant, founders: Option<BTreeMap<MemberId, u64>>) {
        self.candidacy = None;
        self.coordinator = Some(self.local);
        self.site.coordinator_changed();
        self.office = Some(Box::new(Office::new(self.now, bound, self.stored.log.last().index)));
        let Term { epoch, number } = self.stored.term;
        self.out.push(Effect::Event(Event::Coordinates { epoch, number }));
        if let Some(memories) = founders {
            self.decide(Command::Welcome { memories });
        }
        let index = self.decide(Command::Office);
        if let Some(office) = &mut self.office {
            office.ready_at = index;
        }
    }

    /// A member that has something in its log, and asks again and again while this one knows of nothing, remembers a group that
    /// the others have no part in. Once or twice is no sign of it: the group may have begun this very moment.
    fn notice_older_group(&mut self, member: MemberId, last: Position) {
        if last.index == 0 || !self.is_founding() {
            self.older.remove(&member);
            return;
        }
        let asked = self.older.entry(member).or_default();
        *asked = asked.saturating_add(1);
        if *asked == OLDER {
            self.out.push(Effect::Event(Event::OlderGroup { member }));
        }
    }

    /// True where a member keeps this group from beginning, because it remembers an older one.
    pub(crate) fn is_of_older_group(&self, member: MemberId) -> bool {
        self.is_founding() && self.older.get(&member).is_some_and(|asked| *asked >= OLDER)
    }

    pub(crate) fn on_pre_vote(&mut self, from: MemberId, term: Term, last: Position) {
        self.notice_older_group(from, last);
        let current = last >= self.stored.log.last() && self.is_of_epoch(last, term);
        let granted = term > self.stored.term && current && !self.stays_with_coordinator();
        let term = if granted { term } else { self.stored.term };
        self.promise(from, Message::PreVoted { term, granted });
    }

    pub(crate) fn on_pre_voted(&mut self, from: MemberId, memory: u64, term: Term, granted: bool) {
        self.reaches(from);
        if !granted {
            // A member that has seen a later term does not follow this one; nobody is disturbed by knowing of it.
            if self.office.is_none() && self.candidacy.is_some() {
                self.enter(term);
            }
            return;
        }
        let next = self.next_term();
        let now = self.now;
        if let Some(candidacy) = self.candidacy.as_mut().filter(|candidacy| candidacy.pre && term == next) {
            candidacy.votes.insert(from, (memory, now));
            self.count_votes();
        }
    }

    pub(crate) fn on_vote(&mut self, from: MemberId, term: Term, last: Position) {
        // An epoch that the administrator began is stronger than any coordinator.
        if term.epoch == self.stored.term.epoch && self.stays_with_coordinator() {
            return self.vote(from, false);
        }
        self.enter(term);
        let free = self.stored.voted_for.is_none_or(|voted| voted == from);
        // Of an older epoch, a log does not say who votes in this one.
        let current = last >= self.stored.log.last() && self.is_of_epoch(last, term);
        let granted = term == self.stored.term && free && current && self.office.is_none();
        if granted && self.stored.voted_for.is_none() {
            self.stored.voted_for = Some(from);
            self.dirty = true;
            self.set_election_timer();
        }
        self.vote(from, granted);
    }

    fn vote(&mut self, to: MemberId, granted: bool) {
        let term = self.stored.term;
        let age = self.now.since(self.last_ack);
        self.promise(to, Message::Voted { term, granted, age });
    }

    pub(crate) fn on_voted(&mut self, (from, memory): (MemberId, u64), term: Term, granted: bool, age: Duration) {
        if term > self.stored.term {
            return self.enter(term);
        }
        let at = self.now.saturating_sub(drift::shorten(age));
        let current = term == self.stored.term && granted;
        if let Some(candidacy) = self.candidacy.as_mut().filter(|candidacy| !candidacy.pre && current) {
            candidacy.votes.insert(from, (memory, at));
            self.count_votes();
        }
    }
}

//! What a coordinator does as such: it numbers rounds, brings the logs of the others up to its own, sees what a majority
//! has, and backs the renewal of leases.
//!
//! A *round* is a set of messages to all members, begun at one moment. When a majority has acked a round, no other
//! coordinator was elected before that moment, nor can one be elected later that does not hear of it: whoever elects one says
//! when it acked last. So a lease may be renewed with the answer to a round that was begun after the renewal was asked
//! for, and the time at which the round was begun is what the lease is counted from, on both sides: the holder counts from
//! when it asked, which is earlier; this member and all that follow it count from then or later.

use crate::config::MemberId;
use crate::core_types::{Effect, Event};
use crate::log::{Command, Entry, Position};
use crate::member::Member;
use crate::message::{Append, Appended, ENTRY_BYTES, Install, Message, Renew, Renewed, Report};
use crate::table::Table;
use crate::tend::Duty;
use hakudo_base::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A member as the coordinator sees it.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// The memory that all of this is about; 0 before it said anything.
    pub(crate) memory: u64,
    /// The first entry that it might not have; 0 where it needs the whole table.
    next: u64,
    /// It has all up to this entry.
    pub(crate) matched: u64,
    /// It was told that a majority has all up to this entry.
    told: u64,
    /// Entries up to this one are on their way, since then.
    in_flight: Option<(u64, Instant)>,
    round: u64,
    heard: Option<Instant>,
    pub(crate) report: Option<(u64, Report)>,
}

impl Follower {
    fn new(next: u64) -> Self {
        Self { memory: 0, next, matched: 0, told: 0, in_flight: None, round: 0, heard: None, report: None }
    }
}

/// A holder that asked for its leases.
#[derive(Clone, Debug)]
struct Pending {
    from: MemberId,
    instance: u64,
    renew: Renew,
    /// The round that must be acked, and when it was begun.
    round: Option<(u64, Instant)>,
}

/// A lease that the acceptance of an offer begins.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) instance: u64,
    pub(crate) stamp: Instant,
    /// When the grant was proposed.
    pub(crate) proposed: Instant,
}

/// What a member keeps only as long as it coordinates.
#[derive(Debug)]
pub(crate) struct Office {
    since: Instant,
    /// No lease was backed by a round of an earlier coordinator that was begun after this.
    pub(crate) bound: Instant,
    /// The entry with which this office begins: before it is applied, nothing is known for certain.
    pub(crate) ready_at: u64,
    round: u64,
    round_begun: Option<Instant>,
    /// A round is to be begun at once; or soon, together with others who want one.
    pub(crate) urgent: bool,
    wanted: bool,
    pub(crate) followers: BTreeMap<MemberId, Follower>,
    renewals: Vec<Pending>,
    /// When the last round was begun that backed a lease of this grant.
    pub(crate) backed: BTreeMap<u64, Instant>,
    pub(crate) accepted: BTreeMap<String, Accepted>,
    pub(crate) duties: BTreeMap<String, Duty>,
    pub(crate) asks: Vec<crate::asks::Ask>,
    pub(crate) answered: Vec<crate::asks::Answered>,
    pub(crate) next_offer: u64,
    pub(crate) tend_at: Option<Instant>,
    first_entry: u64,
    /// When the others were last asked whom they reach, and what they said.
    pub(crate) looked_at: Option<Instant>,
    pub(crate) reached_by: BTreeMap<MemberId, (Instant, BTreeSet<MemberId>)>,
}

impl Office {
    pub(crate) fn new(now: Instant, bound: Instant, last: u64) -> Self {
        Self {
            since: now,
            bound,
            ready_at: u64::MAX,
            round: 0,
            round_begun: None,
            urgent: true,
            wanted: false,
            followers: BTreeMap::new(),
            renewals: Vec::new(),
            backed: BTreeMap::new(),
            accepted: BTreeMap::new(),
            duties: BTreeMap::new(),
            asks: Vec::new(),
            answered: Vec::new(),
            next_offer: 1,
            tend_at: None,
            first_entry: last + 1,
            looked_at: None,
            reached_by: BTreeMap::new(),
        }
    }

    /// Since when this member coordinates.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// When a member last acked a round, or this office began.
    pub(crate) fn heard(&self, member: MemberId) -> Instant {
        self.followers.get(&member).and_then(|follower| follower.heard).unwrap_or(self.since)
    }

    fn follower(&mut self, member: MemberId) -> &mut Follower {
        let next = self.first_entry;
        self.followers.entry(member).or_insert_with(|| Follower::new(next))
    }

    /// The highest number that more than half of the voters have reached, where a memory counts.
    fn majority(
        &self,
        voters: &BTreeSet<MemberId>,
        counts: impl Fn(MemberId, u64) -> bool,
        of: impl Fn(&Follower) -> u64,
    ) -> u64 {
        let followers = voters.iter().map(|voter| (*voter, self.followers.get(voter)));
        let counted = followers.map(|(voter, follower)| follower.filter(|follower| counts(voter, follower.memory)));
        let mut reached: Vec<u64> = counted.map(|follower| follower.map_or(0, &of)).collect();
        reached.sort_unstable_by(|a, b| b.cmp(a));
        reached.get(voters.len() / 2).copied().unwrap_or(0)
    }
}

impl Member {
    /// True where this coordinator has heard more than half of the voters lately, of those whose word counts.
    pub(crate) fn hears_majority(&self, office: &Office) -> bool {
        let (now, silence) = (self.now, self.silence());
        let recent = |member: &MemberId| match office.followers.get(member).filter(|follower| follower.memory != 0) {
            _ if *member == self.local => true,
            Some(follower) => {
                let heard = follower.heard.unwrap_or(office.since);
                self.counts(*member, follower.memory) && now.since(heard) <= silence
            }
            None => now.since(office.since) <= silence,
        };
        2 * self.voters.iter().filter(|member| recent(member)).count() > self.voters.len()
    }

    /// True while this member coordinates and knows all that was decided before.
    pub(crate) fn is_ready(&self) -> bool {
        self.office.as_ref().is_some_and(|office| self.applied >= office.ready_at)
    }

    pub(crate) fn office_deadline(&self) -> Option<Instant> {
        let office = self.office.as_ref()?;
        let begun = office.round_begun.unwrap_or(office.since);
        let round = begun + if office.wanted { self.retry / 8 } else { self.heartbeat };
        Some(office.tend_at.map_or(round, |tend| tend.min(round)))
    }

    /// Begins a round when it is time for one.
    pub(crate) fn mind_rounds(&mut self) {
        let (heartbeat, soon) = (self.heartbeat, self.retry / 8);
        let Some(office) = &mut self.office else { return };
        let age = office.round_begun.map(|begun| self.now.since(begun));
        let due = age.is_none_or(|age| age >= heartbeat || office.wanted && age >= soon);
        if !due && !office.urgent {
            return;
        }
        (office.urgent, office.wanted) = (false, false);
        office.round += 1;
        office.round_begun = Some(self.now);
        self.last_ack = self.now;
        let round = office.round;
        for pending in office.renewals.iter_mut().filter(|pending| pending.round.is_none()) {
            pending.round = Some((round, self.now));
        }
        let mut members: BTreeSet<MemberId> = self.group().members.iter().map(|member| member.id).collect();
        members.extend(&self.voters);
        members.remove(&self.local);
        for member in members {
            self.append_to(member);
        }
        let (term, index) = (self.stored.term, self.stored.log.last().index);
        // The own ack counts once it is stored, and this member is still its site's speaker.
        self.promise(self.local, Message::Appended(Appended { term, round, agrees: true, index }));
    }

    fn append_to(&mut self, to: MemberId) {
        let retry = self.retry;
        let (term, commit, now) = (self.stored.term, self.stored.commit, self.now);
        let last = self.stored.log.last().index;
        let Some(office) = &mut self.office else { return };
        let round = office.round;
        let follower = office.follower(to);
        let waits = follower.in_flight.is_some_and(|(_, since)| now.since(since) < retry);
        let report_seen = follower.report.as_ref().map(|(instance, report)| (*instance, report.version));
        let whole = follower.next <= self.stored.log.base() && (follower.next == 0 || self.stored.log.base() > 0);
        if whole && !waits {
            let Some(at) = self.stored.log.position(self.applied) else { return };
            follower.in_flight = Some((at.index, now));
            let install = Install { term, round, last: at, table: self.table.clone() };
            return self.send(to, Message::Install(install));
        }
        // While entries are on their way, a sign of life speaks of a place that all logs have.
        let next = if whole { last + 1 } else { follower.next };
        let Some(previous) = self.stored.log.position(next - 1) else { return };
        let entries = if waits || whole { Vec::new() } else { some_of(self.stored.log.after(previous.index)) };
        if !entries.is_empty() {
            follower.in_flight = Some((previous.index + entries.len() as u64, now));
        }
        let commit = if whole { 0 } else { commit };
        follower.told = commit.min(previous.index + entries.len() as u64);
        let append = Append { term, round, previous, entries, commit, report_seen };
        self.send(to, Message::Append(append));
    }

    pub(crate) fn on_appended(&mut self, from: MemberId, memory: u64, appended: &Appended) {
        let counts = self.counts(from, memory);
        if appended.term > self.stored.term {
            if self.voters.contains(&from) && counts {
                // Somebody was elected, or asked for it: the others must choose again.
                return self.learn_term(appended.term);
            }
            // It is heard, and only that: who else hears it hears no more than this coordinator.
            let now = self.now;
            if let Some(office) = &mut self.office {
                office.follower(from).heard = Some(now);
            }
            return;
        }
        let (term, last, now) = (self.stored.term, self.stored.log.last().index, self.now);
        let Some(office) = self.office.as_mut().filter(|_| appended.term == term) else { return };
        if appended.index > last || appended.round > office.round {
            return;
        }
        let first = office.first_entry;
        let follower = office.follower(from);
        if follower.memory != memory {
            if follower.memory != 0 {
                // It has forgotten all that it acked.
                *follower = Follower { report: follower.report.take(), ..Follower::new(first) };
            }
            follower.memory = memory;
            self.tend_now = true;
        }
        follower.heard = Some(now);
        follower.round = follower.round.max(appended.round);
        if appended.agrees {
            follower.matched = follower.matched.max(appended.index);
            follower.next = follower.next.max(follower.matched + 1).max(1);
            if follower.in_flight.is_some_and(|(index, _)| index <= follower.matched) {
                follower.in_flight = None;
            }
        } else if follower.next > 0 || follower.in_flight.is_none() || appended.index > 0 {
            follower.next = if appended.index == 0 && follower.matched == 0 { 0 } else { appended.index + 1 };
            follower.in_flight = None;
        }
        self.commit_what_most_have();
        self.renew_what_is_backed();
        let commit = self.stored.commit;
        let Some(follower) = self.office.as_ref().and_then(|office| office.followers.get(&from)) else { return };
        // Whoever was slow with an entry need not wait for the next round to hear that it counts.
        let lacks = follower.next <= last || follower.told < commit.min(follower.matched);
        if from != self.local && follower.in_flight.is_none() && lacks {
            self.append_to(from);
        }
    }

    fn commit_what_most_have(&mut self) {
        let Some(office) = &self.office else { return };
        let counts = |member, memory| self.counts(member, memory);
        let index = office.majority(&self.voters, counts, |follower| follower.matched);
        // What an earlier term wrote is committed by something of this term that follows it.
        let of_this_term = self.stored.log.position(index).is_some_and(|at| at.term == self.stored.term);
        if index > self.stored.commit && of_this_term {
            self.stored.commit = index;
            self.dirty = true;
            self.apply_committed(true);
            // The others learn of it at once.
            if let Some(office) = &mut self.office {
                office.urgent = true;
            }
        }
    }

    /// What follows for the coordinator from an entry that is in the table now.
    pub(crate) fn office_applied(&mut self, index: u64, entry: &Entry) {
        let Some(office) = &mut self.office else { return };
        if let Command::Grant { ticket, site, .. } = &entry.command {
            let generation = Table::generation(Position { term: entry.term, index });
            let accepted = office.accepted.remove(ticket).filter(|_| entry.term == self.stored.term);
            if let Some(duty) = office.duties.get_mut(ticket) {
                duty.granted(self.now);
            }
            if let (Some(accepted), Some(config)) = (accepted, self.configs.get(ticket)) {
                // A majority has acked this entry, and with it a round that was begun after the acceptance.
                office.backed.insert(generation, accepted.proposed);
                let Accepted { instance, stamp, .. } = accepted;
                let renewed = Renewed { instance, stamp, grants: vec![(generation, config.expire)] };
                let site = *site;
                self.send(site, Message::Renewed(renewed));
            }
        }
        self.committed_ask(index, entry);
    }

    pub(crate) fn on_renew(&mut self, from: MemberId, instance: u64, renew: Renew) {
        if self.office.is_none() {
            return;
        }
        if self.is_ready() {
            for grant in &renew.grants {
                let held = self.table.held_by(grant.generation);
                let Some((ticket, hold)) = held.and_then(|(name, t)| Some((name.clone(), t.hold.clone()?))) else {
                    continue;
                };
                if hold.site != from || self.is_pending(&ticket) {
                    continue;
                }
                let generation = grant.generation;
                if let Some(stop_time) = grant.stop_time.filter(|stop_time| *stop_time > hold.stop_time) {
                    self.decide(Command::StopTime { ticket: ticket.clone(), generation, stop_time });
                }
                if let Some(what) = grant.stays.as_ref().filter(|what| **what != hold.stays) {
                    self.decide(Command::Stays { ticket: ticket.clone(), generation, what: what.clone() });
                }
                if grant.started && hold.from.is_some() {
                    self.decide(Command::Started { ticket: ticket.clone(), generation });
                }
                if let Some(office) = &mut self.office
                    && grant.finite
                    && hold.unlimited
                {
                    // Whatever end the holder took on itself, it did so before now.
                    office.backed.insert(generation, self.now);
                }
                if grant.finite && hold.unlimited {
                    self.decide(Command::Limited { ticket, generation });
                }
            }
        }
        if let Some(office) = &mut self.office {
            office.renewals.retain(|pending| pending.from != from || pending.round.is_some());
            if office.renewals.iter().filter(|pending| pending.from == from).count() < 8 {
                office.renewals.push(Pending { from, instance, renew, round: None });
            }
            office.wanted = true;
        }
    }

    fn renew_what_is_backed(&mut self) {
        if !self.is_ready() {
            return;
        }
        let Some(office) = &self.office else { return };
        let counts = |member, memory| self.counts(member, memory);
        let reached = office.majority(&self.voters, counts, |follower| follower.round);
        let Some(office) = &mut self.office else { return };
        let mut backed = Vec::new();
        office.renewals.retain(|pending| match pending.round {
            Some((round, begun)) if round <= reached => {
                backed.push((pending.clone(), begun));
                false
            }
            _ => true,
        });
        for (pending, begun) in backed {
            let mut grants = Vec::new();
            for grant in &pending.renew.grants {
                if let Some(expire) = self.renewable(pending.from, grant.generation) {
                    grants.push((grant.generation, expire));
                }
            }
            if grants.is_empty() {
                continue;
            }
            if let Some(office) = &mut self.office {
                for (generation, _) in &grants {
                    let last = office.backed.entry(*generation).or_insert(begun);
                    *last = begun.max(*last);
                }
            }
            let renewed = Renewed { instance: pending.instance, stamp: pending.renew.stamp, grants };
            self.send(pending.from, Message::Renewed(renewed));
            self.tend_now = true;
        }
    }

    /// The length of the lease of a grant, if it may be renewed.
    fn renewable(&self, from: MemberId, generation: u64) -> Option<Duration> {
        let (name, ticket) = self.table.held_by(generation)?;
        let config = self.config(name)?;
        let holds = ticket.hold.as_ref().is_some_and(|hold| hold.site == from);
        (holds && ticket.may_go_on() && !self.is_pending(name)).then_some(config.expire)
    }

    pub(crate) fn on_report(&mut self, from: MemberId, instance: u64, report: Report) {
        let Some(office) = &mut self.office else { return };
        let follower = office.follower(from);
        let newer =
            follower.report.as_ref().is_none_or(|(known, old)| *known != instance || old.version < report.version);
        if newer {
            follower.report = Some((instance, report));
            self.tend_now = true;
        }
    }

    /// What a site said of a ticket.
    pub(crate) fn reported(&self, site: MemberId, ticket: &str) -> Option<&Result<(), String>> {
        let (_, report) = self.office.as_ref()?.followers.get(&site)?.report.as_ref()?;
        report.able.get(ticket)
    }

    fn learn_term(&mut self, term: crate::log::Term) {
        self.stored.term = term;
        self.stored.voted_for = None;
        self.dirty = true;
        self.candidacy = None;
        if self.office.is_some() {
            self.step_down();
            self.out.push(Effect::Event(Event::NoCoordinator));
        }
    }
}

/// As many of the first entries as fit a datagram, at least one.
fn some_of(entries: &[Entry]) -> Vec<Entry> {
    let mut size = 0;
    let fits = entries.iter().take_while(|entry| {
        let first = size == 0;
        size += postcard::experimental::serialized_size(*entry).unwrap_or(ENTRY_BYTES).max(1);
        first || size <= ENTRY_BYTES
    });
    fits.cloned().collect()
}

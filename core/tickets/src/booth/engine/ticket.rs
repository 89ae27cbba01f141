//! One ticket: what is promised to whom, votes, and the way to the lead.

mod election;
mod site;
mod time;

use super::leading::Leading;
use super::{Config, Context, Effect, Members, Out, StoredTicket, Word, body};
use crate::booth::config::{self, Kind, Mode};
use crate::booth::text;
use crate::booth::wire::{Body, Command, Flags, Leader, Message, Outcome, Reason, SiteId, TicketBody};
use crate::drift;
use hakudo_base::{Instant, Severity, UnixTime};
use std::collections::BTreeMap;
use std::time::Duration;

/// A message whose term is further ahead than this is not believed: terms must not run out.
const FARTHEST_TERM: u32 = 1 << 30;
/// Terms reserved on disk at a time.
const TERMS: u32 = 64;

/// A geo attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) value: String,
    /// When it was set in this life.
    pub(super) set: Option<UnixTime>,
}

/// To whom the ticket is promised: nobody else gets a vote or an answer to a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) leader: SiteId,
    pub(super) term: u32,
    pub(super) until: Instant,
    /// It was made in this term at the latest: on disk is only in which block that was.
    pub(super) newest: u32,
}

/// What the ticket is doing here.
#[derive(Debug)]
pub(super) enum Role {
    Idle,
    /// Others are asked what they know, before anything is risked.
    Asking {
        reason: Reason,
        silent: Members,
        until: Instant,
        /// The question about a manual ticket, which members of hakudo repeat in their answers: an answer to an earlier question
        /// says nothing about now.
        number: u32,
    },
    /// The handler was asked.
    Checking {
        reason: Reason,
        run: u64,
    },
    Candidate {
        reason: Reason,
        term: u32,
        votes: Members,
        answered: Members,
        /// Members that were asked what they remember, and did not say.
        doubted: Members,
        until: Instant,
    },
    Leading(Leading),
}

/// The word of a holder that it has stopped and gives the ticket up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    /// Its last term.
    pub(super) term: u32,
    /// When it was heard.
    pub(super) at: Instant,
}

/// A message that is repeated to those who did not answer.
#[derive(Debug)]
pub(super) struct Farewell {
    message: Message,
    silent: Members,
    left: u32,
    next: Instant,
}

#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) config: config::Ticket,
    /// The highest term that was seen or used.
    pub(super) term: u32,
    /// Terms up to here are reserved on disk.
    reserved: u32,
    pub(super) vote: Option<(u32, SiteId)>,
    pub(super) promise: Option<Promise>,
    /// Who holds it, as far as is known; `Nobody` where it was revoked.
    pub(super) known: Leader,
    /// Where it was revoked: the last term in which it was held before. Whoever knows that it was held in a later one has heard of
    /// a grant since, which was not heard of here.
    revoked_in: u32,
    /// The last term in which somebody is known to have held it.
    pub(super) held_in: u32,
    pub(super) attributes: BTreeMap<String, Attribute>,
    pub(super) role: Role,
    /// Whether the site can run what depends on it, or why not, once that is known.
    able: Option<Result<(), String>>,
    /// How long stopping it may take, once that is known: the last bound with which the lease leaves enough for use.
    pub(super) stop_time: Option<Duration>,
    /// Stopping takes too long for the lease now.
    misfit: Option<String>,
    /// What the nodes know of the present grant: its end, and the time to stop from there on.
    pub(super) told: Option<(Instant, Duration)>,
    /// Runs of the handler so far, and how many there were before this lead.
    runs: u64,
    runs_before: u64,
    /// What the handler said when it did not agree last.
    pub(super) declined: Option<String>,
    /// The number of the last grant to this site.
    pub(super) grant: u32,
    /// The cluster was not told that this grant is over.
    keeps_grant: bool,
    /// By the word of an earlier life the lease lasts so long.
    still_held: Option<Instant>,
    /// It is set aside here.
    pub(super) standby: bool,
    /// The cluster was told that it holds the ticket, and has not said since that all is stopped.
    pub(super) running: bool,
    /// The ticket was granted and not revoked: if nobody holds it, some site should.
    pub(super) wanted: bool,
    /// Why it is free.
    lost: Reason,
    /// The one who gave it up had stopped, and by what is known here nobody had it since.
    pub(super) released: Option<Release>,
    next_try: Option<Instant>,
    /// An administrator's grant is under way.
    pub(super) granting: bool,
    /// Elections of an administrator's grant that had no winner.
    failed_elections: u32,
    /// The administrator does not want to wait for sites that cannot be reached.
    pub(super) immediate: bool,
    farewell: Option<Farewell>,
    /// For those that asked for a grant, or a revocation, and wait.
    pub(super) outcomes: Vec<(Command, Outcome)>,
    /// Sites that say they hold this manual ticket.
    claims: Members,
}

/// Renewals raise the term of a promise; what is on disk stays the same in a block of terms, so that a renewal writes nothing.
fn block_of(term: u32) -> u32 {
    term - term % TERMS
}

impl Ticket {
    pub(super) fn new(ticket: config::Ticket, config: &Config, stored: &StoredTicket, now: Instant) -> Self {
        // A promise was made at some time before; it counts from now on.
        let wait = drift::lengthen(ticket.expire + ticket.timeout + Duration::from_secs(1));
        let promise = stored.promise.map(|(term, leader)| {
            let newest = block_of(term).saturating_add(TERMS - 1);
            Promise { leader, term, until: now + wait, newest }
        });
        let known = match promise {
            Some(promise) => Leader::Site(promise.leader),
            None if stored.revoked.is_some() => Leader::Nobody,
            None => Leader::Unknown,
        };
        let attribute = |value: &String| Attribute { value: value.clone(), set: None };
        let ours = stored.promise.is_some_and(|(_, leader)| leader == config.local);
        Self {
            attributes: stored.attributes.iter().map(|(name, value)| (name.clone(), attribute(value))).collect(),
            config: ticket,
            term: stored.term,
            reserved: stored.term,
            vote: stored.vote,
            promise,
            known,
            revoked_in: stored.revoked.unwrap_or(0),
            held_in: stored.held,
            role: Role::Idle,
            able: None,
            stop_time: config.stop_time,
            misfit: None,
            told: None,
            runs: 0,
            runs_before: 0,
            declined: None,
            grant: stored.grant,
            keeps_grant: ours,
            still_held: None,
            standby: stored.standby,
            // What ran by the word of an earlier life may still run, or be stopping. Where it is promised to another one, all
            // had stopped before.
            running: ours || (stored.grant > 0 && stored.promise.is_none()),
            wanted: ours || stored.wanted,
            lost: if ours { Reason::Reacquire } else { Reason::TicketLost },
            released: None,
            next_try: None,
            granting: false,
            failed_elections: 0,
            immediate: false,
            farewell: None,
            outcomes: Vec::new(),
            claims: Members::new(),
        }
    }

    pub(super) fn stored(&self) -> StoredTicket {
        StoredTicket {
            term: self.reserved.max(self.vote.map_or(0, |(term, _)| term)),
            vote: self.vote,
            promise: self.promise.map(|promise| (block_of(promise.term), promise.leader)),
            revoked: (self.known == Leader::Nobody).then_some(self.revoked_in),
            held: self.held_in,
            grant: self.grant,
            standby: self.standby,
            wanted: self.wanted,
            attributes: self
                .attributes
                .iter()
                .map(|(name, attribute)| (name.clone(), attribute.value.clone()))
                .collect(),
        }
    }

    pub(super) fn is_manual(&self) -> bool {
        self.config.mode == Mode::Manual
    }

    pub(super) fn expire(&self) -> Duration {
        self.config.expire
    }

    /// A term that was never used here.
    pub(super) fn next_term(&mut self, context: &mut Context) -> u32 {
        self.term = self.term.saturating_add(1);
        if self.term > self.reserved {
            self.reserved = self.term.saturating_add(TERMS);
            context.outs.push(Out::Persist);
        }
        self.term
    }

    /// Whom it is promised to, now.
    pub(super) fn promised(&self, now: Instant) -> Option<Promise> {
        self.promise.filter(|promise| now < promise.until)
    }

    pub(super) fn start(&mut self, context: &mut Context) {
        self.broadcast(context, Command::Status, Reason::JustSo);
        let ours = self.known == Leader::Site(context.config.local);
        if !ours {
            self.tell_not_held(context);
        } else {
            // The others may know better; they have this long to say so.
            self.next_try = Some(context.now.monotonic + self.config.timeout);
        }
    }

    // What is said.

    pub(super) fn message_of(&self, context: &Context, command: Command, request: Option<Command>) -> Message {
        let now = context.now.monotonic;
        let (leader, valid) = match (&self.role, self.promised(now)) {
            // Always the whole time: what comes late or twice must not make it shorter for anybody.
            (Role::Leading(_), _) => (Leader::Site(context.config.local), self.expire()),
            (_, Some(promise)) => (Leader::Site(promise.leader), promise.until.since(now)),
            // boothd takes no message with 0 for the holder.
            _ => (Leader::Nobody, Duration::ZERO),
        };
        let valid = if self.is_manual() { 0 } else { context.to_wire(valid) };
        let term = if let Role::Leading(leading) = &self.role { leading.term } else { self.term };
        Message {
            from: context.config.local,
            command,
            request,
            flags: Flags { durable: true, ..Flags::default() },
            reason: Reason::JustSo,
            outcome: Outcome::Success,
            body: body(&self.config.name, leader, term, valid),
        }
    }

    pub(super) fn broadcast(&self, context: &mut Context, command: Command, reason: Reason) {
        let message = Message { reason, ..self.message_of(context, command, None) };
        self.send_all(context, &message);
    }

    pub(super) fn send_all(&self, context: &mut Context, message: &Message) {
        let others: Vec<SiteId> = context.others().map(|peer| peer.id).collect();
        others.into_iter().for_each(|to| context.send(to, message.clone()));
    }

    pub(super) fn answer(&self, context: &mut Context, to: SiteId, command: Command, request: Command) {
        let message = self.message_of(context, command, Some(request));
        context.send(to, message);
    }

    pub(super) fn reject(&self, context: &mut Context, to: SiteId, request: Command, outcome: Outcome) {
        let message = Message { outcome, ..self.message_of(context, Command::Reject, Some(request)) };
        context.send(to, message);
    }

    pub(super) fn say_farewell(&mut self, context: &mut Context, message: Message) {
        self.send_all(context, &message);
        let silent = context.others().map(|peer| peer.id).collect();
        let next = context.now.monotonic + self.config.timeout;
        self.farewell = Some(Farewell { message, silent, left: self.config.retries, next });
    }

    pub(super) fn tell_not_held(&mut self, context: &mut Context) {
        (self.keeps_grant, self.still_held, self.told) = (false, None, None);
        let (ticket, revoked) = (self.config.name.clone(), self.known == Leader::Nobody);
        let word = Word::NotHeld { owner: self.known, revoked, grant: self.grant };
        context.outs.push(Out::Effect(Effect::Ticket { ticket, word }));
    }

    pub(super) fn event(&self, context: &mut Context, severity: Severity, text: impl Into<String>) {
        context.event(severity, &self.config.name, text.into());
    }

    // What is heard.

    pub(super) fn message(&mut self, context: &mut Context, message: &Message, body: &TicketBody) {
        let from = message.from;
        if body.term > self.term.saturating_add(FARTHEST_TERM) {
            return;
        }
        if let Some(farewell) = &mut self.farewell
            && (message.request == Some(farewell.message.command) || message.command == Command::RequestVote)
        {
            farewell.silent.remove(&from);
        }
        match (message.command, message.request) {
            (Command::Status, _) => self.on_status(context, from, body),
            (Command::MyIndex, _) => self.on_index(context, from, body),
            (Command::RequestVote, _) => self.on_request(context, from, body, message.reason),
            (Command::VoteFor, None) if body.leader == Leader::Nobody => self.on_release(context, from, body),
            (Command::VoteFor, _) => self.on_vote(context, from, body),
            (Command::Heartbeat | Command::Update, _) => self.on_heartbeat(context, from, body, message.command),
            (Command::Ack, request) => self.on_ack(context, from, body, request),
            (Command::RevokeTicket, _) => self.on_revoke(context, from, body),
            (Command::Reject, _) => self.on_reject(context, from, body, message.outcome),
            _ => {}
        }
    }

    /// Somebody asks how things are. Who is about to take a manual ticket does not know it himself: of two that ask each other,
    /// neither is answered.
    fn on_status(&mut self, context: &mut Context, from: SiteId, asked: &TicketBody) {
        let repeats = self.is_manual() && context.is_durable(from);
        if repeats && matches!(self.role, Role::Asking { .. }) {
            return;
        }
        let mut answer = self.message_of(context, Command::MyIndex, Some(Command::Status));
        if let (Body::Ticket(body), true) = (&mut answer.body, repeats) {
            body.valid_for = asked.valid_for;
        }
        context.send(from, answer);
    }

    /// How long a lease that `from` just spoke of can last at most, by the clock here.
    pub(super) fn lease_of(&self, context: &mut Context, from: SiteId, wire: u32) -> Duration {
        let durable = context.is_durable(from);
        let mut valid = context.at_most(wire);
        if valid > self.expire() * 20 {
            let text = format!("{} names a lease of {wire}: does it count in another unit?", context.name(from));
            self.event(context, Severity::Warning, text);
            valid = self.expire();
        }
        // A lease of hakudo began before its heartbeat was sent; boothd's begins with the last answer that it needs.
        let longest = if durable {
            if valid > self.expire() + Duration::from_secs(1) { valid } else { self.expire() }
        } else {
            valid.max(self.expire()) + self.config.timeout + Duration::from_secs(1)
        };
        drift::lengthen(longest)
    }

    /// Promises the ticket to `leader` until then, or for longer.
    pub(super) fn promise_to(&mut self, context: &mut Context, leader: SiteId, term: u32, until: Instant) {
        let before = self.promise.filter(|promise| promise.leader == leader);
        let until = before.map_or(until, |promise| promise.until.max(until));
        let term = before.map_or(term, |promise| promise.term.max(term));
        let newest = before.map_or(term, |promise| promise.newest.max(term));
        let is_new = before.is_none_or(|promise| block_of(promise.term) != block_of(term));
        self.promise = Some(Promise { leader, term, until, newest });
        if is_new || self.known != Leader::Site(leader) {
            self.known = Leader::Site(leader);
            context.outs.push(Out::Persist);
            if leader != context.config.local {
                let text = format!("held by {}", context.name(leader));
                self.event(context, Severity::Info, text);
                self.tell_not_held(context);
            }
        }
        self.wanted = true;
        self.next_try = None;
        if leader != context.config.local {
            self.end_grant(Outcome::Overgrant);
        }
    }

    /// What `from` said of a term before this one may be older than what it was promised. A boothd keeps one term as long as it
    /// holds the ticket, and a manual ticket is held by nobody's promise.
    fn newest_of(&self, context: &Context, promise: Promise, from: SiteId) -> u32 {
        let counts = promise.leader == from && context.is_durable(from) && !self.is_manual();
        if counts { promise.newest } else { promise.term }
    }

    /// A grant of an administrator has come to an end.
    pub(super) fn end_grant(&mut self, outcome: Outcome) {
        if self.granting {
            (self.granting, self.immediate) = (false, false);
            self.outcomes.push((Command::Grant, outcome));
        }
    }

    /// True where another site must wait, whatever this one has promised: what ran here may still run, or be stopping.
    /// A site that promises, or answers a heartbeat, says by it that nothing runs.
    fn may_run_beside(&self, from: SiteId, context: &Context) -> bool {
        self.running && from != context.config.local
    }

    pub(super) fn on_heartbeat(&mut self, context: &mut Context, from: SiteId, body: &TicketBody, command: Command) {
        let now = context.now.monotonic;
        if body.leader != Leader::Site(from) || context.kind(from) != Some(Kind::Site) {
            return;
        }
        if self.is_manual() {
            self.manual_heartbeat(context, from, body, command);
            return;
        }
        if self.may_run_beside(from, context) {
            self.reject(context, from, command, Outcome::TermStillValid);
            return;
        }
        if let Role::Leading(leading) = &self.role {
            // Without a lease nothing was said to anybody that could not be taken back.
            if leading.has_lease() || leading.committed || body.term < leading.term {
                self.reject(context, from, command, Outcome::TermStillValid);
                return;
            }
            self.role = Role::Idle;
            self.promise = None;
        }
        if self.promised(now).is_some_and(|promise| promise.leader != from) {
            self.reject(context, from, command, Outcome::TermStillValid);
            return;
        }
        if let Some(promise) = self.promise
            && body.term < promise.term.max(self.newest_of(context, promise, from))
        {
            // A holder of hakudo takes the next one: then all that it says of this lead is newer than what it said before.
            let mut answer = self.message_of(context, Command::Reject, Some(command));
            answer.outcome = Outcome::TermOutdated;
            if let Body::Ticket(body) = &mut answer.body {
                body.term = body.term.max(self.newest_of(context, promise, from));
            }
            context.send(from, answer);
            return;
        }
        self.role = Role::Idle;
        self.term = self.term.max(body.term);
        self.held_in = self.held_in.max(body.term);
        self.farewell = None;
        let until = now + self.lease_of(context, from, body.valid_for);
        self.promise_to(context, from, body.term, until);
        let mut answer = self.message_of(context, Command::Ack, Some(command));
        // The holder knows its round by the term.
        answer.body = super::body(&self.config.name, Leader::Site(from), body.term, body.valid_for);
        context.send(from, answer);
    }

    pub(super) fn on_request(&mut self, context: &mut Context, from: SiteId, body: &TicketBody, reason: Reason) {
        let now = context.now.monotonic;
        if context.kind(from) != Some(Kind::Site) || self.is_manual() {
            return;
        }
        let request = Command::RequestVote;
        if self.known == Leader::Nobody && matches!(reason, Reason::TicketLost | Reason::StepDown | Reason::Reacquire) {
            if !context.is_durable(from) || body.valid_for <= self.revoked_in {
                let mut answer = self.message_of(context, Command::Reject, Some(request));
                answer.outcome = Outcome::YouOutdated;
                if context.is_durable(from) {
                    answer.body = super::body(&self.config.name, Leader::Nobody, self.revoked_in, 0);
                }
                return context.send(from, answer);
            }
            // It was granted since.
            self.known = Leader::Unknown;
            self.wanted = true;
            context.outs.push(Out::Persist);
        }
        let promised = self.promised(now).is_some_and(|promise| promise.leader != from);
        if promised || self.may_run_beside(from, context) || matches!(self.role, Role::Leading(_)) {
            return self.reject(context, from, request, Outcome::TermStillValid);
        }
        if body.term < self.term {
            return self.reject(context, from, request, Outcome::TermOutdated);
        }
        let voted = match self.vote {
            Some((term, candidate)) if term == body.term => candidate,
            _ => {
                self.vote = Some((body.term, from));
                self.term = body.term;
                context.outs.push(Out::Persist);
                if matches!(self.role, Role::Candidate { .. }) {
                    // Another one is ahead; it gets the time to win.
                    self.role = Role::Idle;
                }
                let pause = self.config.timeout + self.random_delay(context);
                self.next_try = Some(now + pause);
                from
            }
        };
        let mut answer = self.message_of(context, Command::VoteFor, Some(request));
        answer.body = super::body(&self.config.name, Leader::Site(voted), body.term, 0);
        context.send(from, answer);
    }

    /// True where `voter` may have forgotten a promise that still holds.
    pub(super) fn is_forgetful(&self, context: &Context, voter: SiteId) -> bool {
        let longest = drift::lengthen(self.expire() + self.config.timeout + Duration::from_secs(1));
        context
            .peers
            .get(&voter)
            .is_some_and(|peer| !peer.durable && peer.forgot_at.is_some_and(|at| context.now.monotonic < at + longest))
    }

    pub(super) fn on_vote(&mut self, context: &mut Context, from: SiteId, body: &TicketBody) {
        self.term = self.term.max(body.term);
        let forgetful = self.is_forgetful(context, from);
        let local = context.config.local;
        let Role::Candidate { reason, term, votes, answered, doubted, .. } = &mut self.role else { return };
        if body.term != *term {
            return;
        }
        answered.insert(from);
        // A grant of an administrator waits for the longest lease that may have been forgotten.
        let safe = *reason == Reason::Admin;
        let counts = safe || !(forgetful || doubted.contains(&from));
        if body.leader == Leader::Site(local) && counts {
            votes.insert(from);
        }
        if context.is_majority(votes.len()) {
            let reason = *reason;
            self.win(context, reason);
        } else if answered.len() == context.config.members.len() {
            self.election_failed(context);
        }
    }

    pub(super) fn on_index(&mut self, context: &mut Context, from: SiteId, body: &TicketBody) {
        let now = context.now.monotonic;
        self.term = self.term.max(body.term);
        if matches!(self.role, Role::Leading(_)) {
            return self.on_index_leading(context, from, body);
        }
        if self.is_manual() {
            if let Leader::Site(holder) = body.leader
                && holder == from
            {
                self.claims.insert(holder);
                self.known = body.leader;
            }
        } else if let (Leader::Site(holder), true) = (body.leader, body.valid_for > 0) {
            self.learn(context, from, holder, body);
        } else if let Some(promise) = self.promise
            && body.term < promise.term
            && !context.is_durable(from)
            && let Some(peer) = context.peers.get_mut(&from)
        {
            // It does not know what it must have known: it was restarted, and its question was not heard here.
            peer.forgot_at = Some(now);
        }
        let (manual, durable) = (self.is_manual(), context.is_durable(from));
        if let Role::Asking { silent, number, .. } = &mut self.role
            && (!(manual && durable) || body.valid_for == *number)
        {
            silent.remove(&from);
        }
    }

    /// Somebody says that `holder` has a lease.
    pub(super) fn learn(&mut self, context: &mut Context, from: SiteId, holder: SiteId, body: &TicketBody) {
        let now = context.now.monotonic;
        if holder == context.config.local {
            // Held here before a restart of this process.
            if self.promised(now).is_none() && self.known != Leader::Nobody {
                self.wanted = true;
                self.lost = Reason::Reacquire;
            }
            return;
        }
        if self.promised(now).is_some_and(|promise| promise.leader != holder)
            || context.kind(holder) != Some(Kind::Site)
        {
            return;
        }
        if self.promise.is_some_and(|promise| body.term < promise.term && promise.leader != holder) {
            return;
        }
        // A promise says that nothing runs here.
        if self.may_run_beside(holder, context) {
            return;
        }
        self.role = Role::Idle;
        // What others know of a lease is not longer than the lease: only the sender's rounding and the clocks are allowed for.
        let wire = context.at_most(body.valid_for);
        let lease = if wire > self.expire() * 20 {
            self.lease_of(context, from, body.valid_for)
        } else {
            drift::lengthen(wire)
        };
        self.promise_to(context, holder, body.term, now + lease);
    }

    pub(super) fn on_release(&mut self, context: &mut Context, from: SiteId, body: &TicketBody) {
        let Some(promise) = self.promise else { return };
        if promise.leader != from || body.term < self.newest_of(context, promise, from) {
            return;
        }
        let text = format!("{} gives the ticket up", context.name(from));
        self.event(context, Severity::Warning, text);
        self.term = self.term.max(body.term);
        self.promise = None;
        self.known = Leader::Unknown;
        self.wanted = true;
        self.lost = Reason::StepDown;
        let at = context.now.monotonic;
        self.released = (context.is_durable(from) && body.valid_for == 0).then_some(Release { term: body.term, at });
        self.next_try = None;
        context.outs.push(Out::Persist);
        self.tell_not_held(context);
    }

    pub(super) fn on_revoke(&mut self, context: &mut Context, from: SiteId, body: &TicketBody) {
        self.claims.remove(&from);
        let is_holder = match self.promise {
            Some(promise) => promise.leader == from && body.term >= self.newest_of(context, promise, from),
            None => self.is_manual() && self.known == Leader::Site(from),
        };
        if is_holder {
            self.term = self.term.max(body.term);
            self.revoked(context, body.term);
        } else if !(self.known == Leader::Nobody || self.is_manual()) {
            return;
        }
        self.answer(context, from, Command::Ack, Command::RevokeTicket);
    }

    /// Notes that an administrator has revoked the ticket, which was held in this term last.
    pub(super) fn revoked(&mut self, context: &mut Context, term: u32) {
        self.revoked_in = term;
        self.role = Role::Idle;
        self.promise = None;
        self.known = Leader::Nobody;
        self.end_grant(Outcome::SyncFail);
        self.wanted = false;
        self.next_try = None;
        context.outs.push(Out::Persist);
        self.event(context, Severity::Info, "revoked");
        self.tell_not_held(context);
    }

    pub(super) fn on_reject(&mut self, context: &mut Context, from: SiteId, body: &TicketBody, outcome: Outcome) {
        self.term = self.term.max(body.term);
        match &mut self.role {
            Role::Leading(leading) => leading.rejected(context.now.monotonic, self.config.timeout),
            Role::Candidate { answered, .. } => {
                answered.insert(from);
                let all_answered = answered.len() == context.config.members.len();
                match body.leader {
                    Leader::Site(holder) if holder != context.config.local && body.valid_for > 0 => {
                        self.learn(context, from, holder, body);
                    }
                    // What was refused earlier, before the ticket was granted once more, counts no longer.
                    Leader::Nobody
                        if outcome == Outcome::YouOutdated
                            && (!context.is_durable(from) || self.held_in <= body.term) =>
                    {
                        self.revoked(context, body.term);
                    }
                    _ if all_answered || outcome == Outcome::TermOutdated => self.election_failed(context),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    pub(super) fn manual_heartbeat(
        &mut self,
        context: &mut Context,
        from: SiteId,
        body: &TicketBody,
        command: Command,
    ) {
        self.claims.insert(from);
        self.term = self.term.max(body.term);
        if matches!(self.role, Role::Leading(_)) {
            let text = format!("held here, and {} says that it holds it too", context.name(from));
            self.event(context, Severity::Error, text);
            return;
        }
        self.role = Role::Idle;
        let now = context.now.monotonic;
        self.promise_to(context, from, body.term, now);
        let mut answer = self.message_of(context, Command::Ack, Some(command));
        answer.body = super::body(&self.config.name, Leader::Site(from), body.term, 0);
        context.send(from, answer);
    }

    // What is shown.

    pub(super) fn listed(&self, context: &Context) -> text::Ticket {
        let (now, calendar) = (context.now.monotonic, context.now.calendar);
        let at = |instant: Instant| UnixTime::from_millis(calendar.millis() + instant.since(now).as_millis() as i64);
        let holder = match self.known {
            Leader::Unknown => text::Holder::Nobody,
            Leader::Nobody => text::Holder::Revoked,
            Leader::Site(id) => text::Holder::Site(context.name(id)),
        };
        let (expires, pending) = match &self.role {
            Role::Leading(leading) => (leading.lease_end(), leading.pending().filter(|at| *at > now)),
            _ => (self.promise.map(|promise| promise.until), None),
        };
        let claims = context.config.members.iter().filter(|member| self.claims.contains(&member.id));
        text::Ticket {
            name: self.config.name.clone(),
            holder,
            expires: if self.is_manual() { None } else { expires.map(at) },
            pending_until: pending.map(at),
            manual: self.is_manual(),
            claims: claims.map(|member| member.address.to_string()).collect(),
        }
    }
}

//! The holder: rounds of heartbeats, the lease that follows from them, and the ways out.

use super::ticket::{Promise, Role, Ticket};
use super::{Context, Effect, Members, Out, Word};
use crate::booth::config::{self, Kind, Mode};
use crate::booth::wire::{Command, Leader, Outcome, Reason, SiteId, TicketBody};
use crate::drift;
use hakudo_base::{Instant, Severity};
use std::time::Duration;

/// A site that leads the ticket.
#[derive(Debug)]
pub(super) struct Leading {
    /// The term of the present round: its number.
    pub(super) term: u32,
    reason: Reason,
    since: Instant,
    /// When the present round began: the lease that it backs begins here.
    begun: Instant,
    sent: Instant,
    tries: u32,
    acked: Members,
    /// The time to stop when it began.
    stop_time: Duration,
    /// Sites that answered a heartbeat of any round: they do not hold the ticket.
    sites_acked: Members,
    next_round: Instant,
    lease_end: Option<Instant>,
    until: Option<Instant>,
    /// Another holder may have been waited for long enough from then on.
    commit_at: Instant,
    pub(super) committed: bool,
    told_pending: bool,
    /// When the first round was backed.
    backed: Option<Instant>,
    /// When members that follow anybody were asked last whom they follow.
    asked: Option<Instant>,
    /// The lead depends on such members.
    doubtful: bool,
    /// Those that said: this one.
    confirmed: Members,
    /// It shall be given up once all is stopped; true: an administrator revokes it.
    pub(super) giving_up: Option<bool>,
}

/// How much of a lease is left for use: without the drift of clocks, and without the time to stop where others do not wait
/// for it.
pub(super) fn usable(ticket: &config::Ticket, stop_time: Duration) -> Duration {
    let waited_for = drift::shorten(ticket.acquire_after);
    drift::shorten(ticket.expire).saturating_sub(stop_time.saturating_sub(waited_for))
}

impl Leading {
    pub(super) fn new(reason: Reason, commit_at: Instant, now: Instant) -> Self {
        Self {
            term: 0,
            reason,
            since: now,
            begun: now,
            sent: now,
            tries: 0,
            acked: Members::new(),
            stop_time: Duration::ZERO,
            sites_acked: Members::new(),
            next_round: now,
            lease_end: None,
            until: None,
            commit_at,
            committed: false,
            told_pending: false,
            backed: None,
            asked: None,
            doubtful: false,
            confirmed: Members::new(),
            giving_up: None,
        }
    }

    pub(super) fn has_lease(&self) -> bool {
        self.lease_end.is_some()
    }

    pub(super) fn lease_end(&self) -> Option<Instant> {
        self.lease_end
    }

    /// When the grant counts, where it does not yet.
    pub(super) fn pending(&self) -> Option<Instant> {
        (!self.committed).then_some(self.commit_at)
    }

    /// A member knows a higher term: the next round has to be above it.
    pub(super) fn rejected(&mut self, now: Instant, timeout: Duration) {
        self.next_round = self.next_round.min(now + timeout / 2);
    }

    pub(super) fn deadline(&self, ticket: &config::Ticket) -> Option<Instant> {
        let waits = !self.committed && self.giving_up.is_none() && self.has_lease();
        let pending = if self.told_pending { self.commit_at } else { self.commit_at.min(self.since + ticket.timeout) };
        let commit = (waits && !self.doubtful).then_some(pending);
        let resend = (self.tries < ticket.retries).then_some(self.sent + ticket.timeout);
        let give_up_trying = (!self.has_lease()).then_some(self.since + ticket.timeout * (ticket.retries + 1));
        // When followers are to be asked, for the first time or again.
        let asks = self.asked.or(self.backed).filter(|_| waits && self.doubtful).map(|at| at + ticket.timeout);
        let times = [commit, resend, self.until, Some(self.next_round), asks];
        let automatic = (ticket.mode == Mode::Automatic).then_some(give_up_trying).flatten();
        times.into_iter().flatten().chain(automatic).min()
    }
}

impl Ticket {
    /// How long after an election another holder may still be active, or stopping.
    pub(super) fn commit_delay(&self, reason: Reason, now: Instant) -> Duration {
        // In the term after the release nobody else was elected; and a boothd that forgot another election since has
        // forgotten its vote in that term too, but not for as long as a lease lasts without its being noticed.
        let is_next = |term: u32| matches!(self.vote, Some((own, _)) if own == term.saturating_add(1));
        let nobody_since = self.released.is_some_and(|release| is_next(release.term) && self.is_fresh(release, now));
        match reason {
            _ if self.immediate => Duration::ZERO,
            Reason::Admin => drift::lengthen(self.config.expire + self.config.acquire_after),
            Reason::StepDown if nobody_since => Duration::ZERO,
            _ => drift::lengthen(self.config.acquire_after),
        }
    }

    pub(super) fn new_round(&mut self, context: &mut Context) {
        let now = context.now.monotonic;
        let term = self.next_term(context);
        // What the time to stop leaves of the lease has to last until the next round is backed.
        let stop_time = self.stop_time.unwrap_or_default();
        let renewal = self.config.renewal.min(usable(&self.config, stop_time) / 2);
        let Role::Leading(leading) = &mut self.role else { return };
        leading.term = term;
        self.held_in = term;
        leading.begun = now;
        leading.stop_time = stop_time;
        leading.sent = now;
        leading.tries = 0;
        leading.acked.clear();
        let manual = Duration::from_secs(60);
        leading.next_round =
            now + if self.config.mode == Mode::Manual { manual } else { renewal.max(Duration::from_millis(1)) };
        self.broadcast(context, Command::Heartbeat, Reason::JustSo);
        if context.is_majority(1) {
            self.round_backed(context);
        }
    }

    pub(super) fn on_ack(&mut self, context: &mut Context, from: SiteId, body: &TicketBody, request: Option<Command>) {
        let local = context.config.local;
        let Role::Leading(leading) = &mut self.role else { return };
        if request != Some(Command::Heartbeat) || body.term != leading.term || body.leader != Leader::Site(local) {
            self.term = self.term.max(body.term);
            return;
        }
        if !leading.acked.insert(from) {
            return;
        }
        if context.kind(from) == Some(Kind::Site) {
            leading.sites_acked.insert(from);
        }
        if self.config.mode == Mode::Manual {
            return;
        }
        let backed = leading.acked.len() + 1;
        if context.is_majority(backed) && !context.is_majority(backed - 1) {
            self.round_backed(context);
        } else {
            self.commit_if_due(context);
        }
    }

    /// A majority follows: the lease runs from the beginning of this round.
    fn round_backed(&mut self, context: &mut Context) {
        let stop_time = self.stop_time.unwrap_or_default();
        let Role::Leading(leading) = &mut self.role else { return };
        // Where it became shorter since, the nodes may not know that yet.
        let stop_time = stop_time.max(leading.stop_time);
        let first = leading.lease_end.is_none();
        leading.backed.get_or_insert(context.now.monotonic);
        leading.lease_end = Some(leading.begun + drift::shorten(self.config.expire));
        leading.until = Some(leading.begun + usable(&self.config, stop_time));
        let end = leading.begun + drift::lengthen(self.config.expire);
        let term = leading.term;
        self.promise = Some(Promise { leader: context.config.local, term, until: end, newest: term });
        self.broadcast(context, Command::Update, Reason::JustSo);
        if first {
            self.event(context, Severity::Info, "a majority follows");
        }
        self.commit_if_due(context);
        self.tell_held(context);
    }

    fn commit_if_due(&mut self, context: &mut Context) {
        let (now, timeout) = (context.now.monotonic, self.config.timeout);
        let sites = context.others().filter(|peer| peer.kind == Kind::Site);
        let unbroken = self.is_unbroken(now);
        let Role::Leading(leading) = &mut self.role else { return };
        let all_sites = sites.into_iter().all(|peer| leading.sites_acked.contains(&peer.id));
        if leading.committed || leading.giving_up.is_some() || !leading.has_lease() || !self.is_confirmed(context) {
            return;
        }
        let Role::Leading(leading) = &mut self.role else { return };
        // A site that follows does not hold it. What it runs may still be stopping, unless nobody held it.
        let nobody_else = all_sites && matches!(leading.reason, Reason::Admin | Reason::Reacquire);
        let nobody_else = nobody_else || leading.reason == Reason::Reacquire && unbroken;
        if now >= leading.commit_at || nobody_else {
            self.commit(context);
        } else if !leading.told_pending && now >= leading.since + timeout {
            leading.told_pending = true;
            self.outcomes.push((Command::Grant, Outcome::CibPending));
        }
    }

    /// A boothd follows whoever sends the next heartbeat. Where the lead depends on one, it is asked a while later whether it
    /// still follows this one: of two that won in the same moment, all but one learn that they did not.
    fn is_confirmed(&mut self, context: &mut Context) -> bool {
        let (now, timeout) = (context.now.monotonic, self.config.timeout);
        let ask = self.message_of(context, Command::Status, None);
        let Role::Leading(leading) = &mut self.role else { return false };
        let sure = leading.acked.iter().filter(|id| context.is_durable(**id) || leading.confirmed.contains(id)).count();
        leading.doubtful = !context.is_majority(sure + 1);
        if !leading.doubtful {
            return true;
        }
        let last = leading.asked.or(leading.backed).unwrap_or(now);
        if now >= last + timeout {
            leading.asked = Some(now);
            let doubtful: Members = leading.acked.iter().copied().filter(|id| !context.is_durable(*id)).collect();
            doubtful.into_iter().for_each(|to| context.send(to, ask.clone()));
        }
        false
    }

    /// A member says whom it follows.
    pub(super) fn on_index_leading(&mut self, context: &mut Context, from: SiteId, body: &TicketBody) {
        let local = context.config.local;
        let Role::Leading(leading) = &mut self.role else { return };
        if leading.committed {
            if body.term < leading.term {
                let update = self.message_of(context, Command::Update, None);
                context.send(from, update);
            }
        } else if leading.asked.is_some() && !context.is_durable(from) {
            if body.leader == Leader::Site(local) {
                leading.confirmed.insert(from);
                self.commit_if_due(context);
            } else if self.config.mode == Mode::Automatic {
                let text = format!("{} follows another one", context.name(from));
                self.event(context, Severity::Warning, text);
                self.lose_lead(context);
            }
        }
    }

    pub(super) fn commit(&mut self, context: &mut Context) {
        let Role::Leading(leading) = &mut self.role else { return };
        leading.committed = true;
        self.end_grant(Outcome::Success);
        self.running = true;
        self.immediate = false;
        self.declined = None;
        self.event(context, Severity::Info, "granted here");
        self.tell_held(context);
    }

    /// Tells the cluster how long the lease lasts by now.
    fn tell_held(&mut self, context: &mut Context) {
        let now = context.now.monotonic;
        let stop_time = self.stop_time.unwrap_or_default();
        let Role::Leading(leading) = &mut self.role else { return };
        if !leading.committed || leading.giving_up.is_some() {
            return;
        }
        if let (Some(until), Some((end, known))) = (leading.until, self.told)
            && until < end
            && stop_time > known
        {
            // The nodes keep the later end, which does not allow for the longer time to stop. The next round does.
            let wait = end.since(now).saturating_sub(usable(&self.config, stop_time));
            leading.next_round = leading.next_round.min(now + wait.max(Duration::from_millis(1)));
            return;
        }
        let until = leading.until;
        self.say_held(context, until);
    }

    pub(super) fn say_held(&mut self, context: &mut Context, until: Option<Instant>) {
        let stop_time = self.stop_time.unwrap_or_default();
        let Role::Leading(leading) = &self.role else { return };
        self.told = until.map(|until| (self.told.map_or(until, |(end, _)| end.max(until)), stop_time));
        let word = Word::Held { until, stop_time, term: leading.term, grant: self.grant };
        context.outs.push(Out::Effect(Effect::Ticket { ticket: self.config.name.clone(), word }));
    }

    /// Has what depends on the ticket stopped, and then gives the ticket up.
    pub(super) fn give_up(&mut self, context: &mut Context, revoke: bool) {
        let Role::Leading(leading) = &mut self.role else { return };
        let before = leading.giving_up.replace(revoke || leading.giving_up == Some(true));
        self.end_grant(if revoke { Outcome::SyncFail } else { Outcome::HandlerFailed });
        if before.is_some() {
            return;
        }
        if self.running {
            self.tell_not_held(context);
        } else {
            self.stopped(context);
        }
    }

    pub(super) fn tick_leading(&mut self, context: &mut Context) {
        let now = context.now.monotonic;
        let (timeout, retries, manual) = (self.config.timeout, self.config.retries, self.config.mode == Mode::Manual);
        let members = context.config.members.len();
        let Role::Leading(leading) = &mut self.role else { return };
        let hopeless = !leading.has_lease() && now >= leading.since + timeout * (retries + 1);
        if !manual && (hopeless || leading.until.is_some_and(|until| now >= until)) {
            self.lose_lead(context);
            return;
        }
        if now >= leading.next_round {
            let (held, giving_up, end) = (leading.committed, leading.giving_up.is_some(), leading.lease_end);
            if held && !giving_up && !self.config.handler.is_empty() {
                let rest = end.unwrap_or(now).since(now).as_secs() as i64;
                self.run_handler(context, Some(context.now.calendar.seconds() + rest));
            }
            self.new_round(context);
        } else if now >= leading.sent + timeout && leading.tries < retries && leading.acked.len() + 1 < members {
            leading.tries += 1;
            leading.sent = now;
            let acked = leading.acked.clone();
            let silent: Members = context.others().map(|peer| peer.id).filter(|id| !acked.contains(id)).collect();
            let message = self.message_of(context, Command::Heartbeat, None);
            for to in silent {
                context.peers.entry(to).or_default().counters.resends += 1;
                context.send(to, message.clone());
            }
        } else if now >= leading.sent + timeout && leading.tries < retries {
            // All have answered: nothing is to be repeated in this round.
            leading.tries = retries;
        }
        self.commit_if_due(context);
    }

    fn lose_lead(&mut self, context: &mut Context) {
        let Role::Leading(leading) = &self.role else { return };
        let (reason, revoke) = (leading.reason, leading.giving_up == Some(true));
        let had_lease = leading.has_lease();
        self.role = Role::Idle;
        self.event(context, Severity::Warning, "no majority follows any longer");
        self.end_grant(Outcome::SyncFail);
        if revoke {
            self.outcomes.push((Command::Revoke, Outcome::SyncFail));
        }
        if !(had_lease || self.running) {
            // Nothing was held: no promise to itself is left.
            self.promise = None;
        }
        self.lost_by(context, Reason::TicketLost);
        if revoke || (reason == Reason::Admin && !had_lease) {
            self.wanted = false;
            context.outs.push(Out::Persist);
        }
        self.immediate = false;
    }
}

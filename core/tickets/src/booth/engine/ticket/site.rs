//! What the site says: whether it can, how long stopping takes, that all is stopped; and why it would not take the ticket.

use super::super::{Context, Out, body, fulfilled};
use super::{Release, Role, Ticket};
use crate::booth::config::When;
use crate::booth::wire::{Command, Leader, Outcome, Reason};
use hakudo_base::{Instant, Severity};
use std::time::Duration;

/// In place of the length of a lease, in the release of a site that gives up what it did not have yet: an earlier holder may still be
/// stopping.
const NOT_WAITED: u32 = 1;

impl Ticket {
    pub(in super::super) fn able(&mut self, context: &mut Context, able: Result<(), String>) {
        let reason = able.as_ref().err().cloned();
        self.able = Some(able);
        let Some(reason) = reason else { return };
        if matches!(self.role, Role::Leading(_)) {
            self.event(context, Severity::Warning, format!("cannot be served here any longer, giving it up: {reason}"));
            self.give_up(context, false);
        } else {
            self.take_no_more(context);
        }
    }

    /// What is not held here is not taken either.
    fn take_no_more(&mut self, context: &mut Context) {
        if self.granting {
            let why = self.obstacle().unwrap_or_default();
            self.event(context, Severity::Warning, format!("not granted here: {why}"));
        }
        self.role = Role::Idle;
        self.end_grant(Outcome::HandlerFailed);
    }

    pub(in super::super) fn is_able(&self) -> bool {
        self.able == Some(Ok(())) && self.misfit.is_none() && self.knows_stop_time()
    }

    /// What was held goes on until the site says that it cannot.
    pub(in super::super) fn may_go_on(&self) -> bool {
        !matches!(self.able, Some(Err(_))) && self.knows_stop_time()
    }

    /// No lease can be counted before.
    fn knows_stop_time(&self) -> bool {
        self.is_manual() || self.stop_time.is_some()
    }

    /// Why this site would not take the ticket; none if it would.
    pub(in super::super) fn obstacle(&self) -> Option<String> {
        let words = |text: &str| Some(text.to_owned());
        match &self.able {
            Some(Err(reason)) => return Some(reason.clone()),
            None => return words("it is not known yet whether this site can run what depends on it"),
            Some(Ok(())) => {}
        }
        if self.misfit.is_some() {
            self.misfit.clone()
        } else if !self.knows_stop_time() {
            words("it is not known yet how long stopping what depends on it may take")
        } else if self.running && !matches!(self.role, Role::Leading(_)) {
            words("what ran by an earlier grant has not stopped")
        } else if let Some(reason) = &self.declined {
            Some(format!("the handler did not agree: {reason}"))
        } else if !fulfilled(&self.config.prerequisites, When::Auto, &self.attributes) {
            words("an attribute is not what attr-prereq asks for")
        } else {
            None
        }
    }

    /// Stopping may take that long from now on. A lease that is held counts by the longer of two bounds: a longer one is said
    /// to the nodes only with an end that allows for it, and an end that allows for a shorter one only after it.
    pub(in super::super) fn stop_time(&mut self, context: &mut Context, stop_time: Duration) {
        let usable = super::super::leading::usable(&self.config, stop_time);
        if !self.is_manual() && usable < self.config.timeout * 2 {
            return self.does_not_fit(context, stop_time);
        }
        self.misfit = None;
        let before = self.stop_time.replace(stop_time);
        let Role::Leading(leading) = &self.role else { return };
        if before == Some(stop_time) || self.is_manual() || leading.giving_up.is_some() {
            return;
        }
        // What counts is what the nodes know, not what was said here and has not got to them.
        match self.told {
            Some((end, known)) if stop_time < known && leading.committed => self.say_held(context, Some(end)),
            Some((_, known)) if stop_time <= known => {}
            _ => self.new_round(context),
        }
    }

    /// Where it is held, it is held on by the bound before, of which the nodes make sure.
    fn does_not_fit(&mut self, context: &mut Context, stop_time: Duration) {
        let (stop, wait) = (stop_time.as_secs(), self.config.acquire_after.as_secs());
        let text = format!(
            "stopping what depends on it may take {stop} s, and the others wait for {wait} s of it only, which leaves too \
             little of the lease; make acquire-after or expire longer, or the timeouts of the stops shorter"
        );
        if self.misfit.is_none() {
            self.event(context, Severity::Error, format!("not taken here: {text}"));
        }
        self.misfit = Some(text);
        if !matches!(self.role, Role::Leading(_)) {
            self.take_no_more(context);
        }
    }

    pub(in super::super) fn known_lease(&mut self, grant: u32, until: Instant) {
        if self.keeps_grant && self.grant == grant && !self.is_manual() {
            self.still_held = self.still_held.max(Some(until));
            // Which bound they know is not said: any may be longer.
            let end = self.told.map_or(until, |(end, _)| end.max(until));
            self.told = Some((end, self.told.map_or(Duration::ZERO, |(_, bound)| bound)));
        }
    }

    /// The lease of the same grant never ended: nobody else can have held the ticket since.
    pub(in super::super) fn is_unbroken(&self, now: Instant) -> bool {
        self.keeps_grant && self.still_held.is_some_and(|until| now < until)
    }

    /// Which grant this is: the one that was never taken back, or a new one.
    pub(in super::super) fn number_grant(&mut self, reason: Reason) {
        if !(self.keeps_grant && reason == Reason::Reacquire) {
            (self.grant, self.still_held, self.told) = (self.term, None, None);
        }
        self.keeps_grant = true;
        self.runs_before = self.runs;
    }

    pub(in super::super) fn stopped(&mut self, context: &mut Context) {
        if let Role::Leading(leading) = &self.role
            && leading.committed
            && leading.giving_up.is_none()
        {
            // That was an earlier grant: the nodes have yet to hear of this one.
            return;
        }
        self.running = false;
        let Role::Leading(leading) = &self.role else { return };
        let Some(revoke) = leading.giving_up else { return };
        let (term, committed) = (leading.term, leading.committed);
        let local = context.config.local;
        self.claims.remove(&local);
        self.role = Role::Idle;
        self.promise = None;
        self.immediate = false;
        if revoke {
            self.revoked(context, term);
            self.outcomes.push((Command::Revoke, Outcome::Success));
        } else {
            self.end_grant(Outcome::HandlerFailed);
            self.known = Leader::Unknown;
            self.wanted = true;
            // Who has not waited for an earlier holder yet must not let others count on its having stopped.
            self.lost = if committed { Reason::StepDown } else { Reason::TicketLost };
            self.released = committed.then_some(Release { term, at: context.now.monotonic });
            // The others first.
            self.next_try = Some(context.now.monotonic + self.config.renewal);
            context.outs.push(Out::Persist);
        }
        let command = if revoke { Command::RevokeTicket } else { Command::VoteFor };
        let mut message = self.message_of(context, command, None);
        message.reason = if revoke { Reason::Admin } else { Reason::JustSo };
        message.body = body(&self.config.name, Leader::Nobody, term, if committed { 0 } else { NOT_WAITED });
        self.say_farewell(context, message);
    }
}

//! What time brings: the end of waiting, of leases, of promises.

use super::super::{Context, Members, Out};
use super::{Release, Role, Ticket};
use crate::booth::wire::{Leader, Outcome, Reason};
use crate::drift;
use hakudo_base::{Instant, Severity};

impl Ticket {
    pub(in super::super) fn tick(&mut self, context: &mut Context) {
        let now = context.now.monotonic;
        self.tick_farewell(context);
        match &self.role {
            Role::Leading(_) => return self.tick_leading(context),
            Role::Asking { reason, silent, until, .. } if silent.is_empty() || now >= *until => {
                let (reason, all, silent) = (*reason, silent.is_empty(), silent.clone());
                if !self.is_manual() {
                    self.stand(context, reason, silent);
                } else if all && self.claims.is_empty() {
                    self.lead_manually(context, Reason::Admin);
                } else {
                    self.role = Role::Idle;
                    self.end_grant(if all { Outcome::Overgrant } else { Outcome::SyncFail });
                }
            }
            Role::Candidate { until, .. } if now >= *until => self.election_failed(context),
            _ => {}
        }
        if self.is_manual() {
            let ours = self.known == Leader::Site(context.config.local);
            // What was given up is taken again by a grant only.
            self.next_try = self.next_try.filter(|_| ours);
            if matches!(self.role, Role::Idle) && self.next_try.is_some_and(|at| now >= at) {
                self.next_try = None;
                self.lead_manually(context, Reason::Reacquire);
            }
            return;
        }
        if let (Leader::Site(holder), None) = (self.known, self.promised(now)) {
            let text = if holder == context.config.local {
                "lost".to_owned()
            } else {
                format!("lost at {}", context.name(holder))
            };
            self.event(context, Severity::Warning, text);
            self.lost_by(context, if holder == context.config.local { Reason::Reacquire } else { Reason::TicketLost });
        }
        if !(self.wanted || self.granting) || !matches!(self.role, Role::Idle) || !self.may_take(context) {
            self.next_try = None;
            return;
        }
        // The end of a promise may come without a word of anybody.
        let local = context.config.local;
        let goes_on = self.granting || self.known == Leader::Site(local);
        let promised = self.promised(now).filter(|promise| !(promise.leader == local && goes_on));
        let free_at = promised.map(|promise| promise.until);
        match (self.next_try, free_at) {
            (Some(at), Some(free_at)) if at >= free_at => {}
            (None, _) | (_, Some(_)) => {
                let delay = self.random_delay(context) + self.precedence(context);
                self.next_try = Some(free_at.unwrap_or(now) + delay);
            }
            (Some(at), None) if now < at => {}
            (Some(_), None) => {
                if self.granting {
                    self.next_try = None;
                    self.stand(context, Reason::Admin, Members::new());
                } else {
                    let reason = self.lost_for(now);
                    self.acquire(context, reason);
                }
            }
        }
    }

    /// Nobody holds it any longer.
    pub(in super::super) fn lost_by(&mut self, context: &mut Context, reason: Reason) {
        self.known = Leader::Unknown;
        self.lost = reason;
        self.released = None;
        self.next_try = None;
        self.wanted = true;
        self.tell_not_held(context);
    }

    pub(in super::super) fn tick_farewell(&mut self, context: &mut Context) {
        let now = context.now.monotonic;
        let Some(farewell) = &mut self.farewell else { return };
        if now < farewell.next {
            return;
        }
        if farewell.left == 0 || farewell.silent.is_empty() {
            self.farewell = None;
            return;
        }
        farewell.left -= 1;
        farewell.next = now + self.config.timeout;
        for to in farewell.silent.clone() {
            context.peers.entry(to).or_default().counters.resends += 1;
            context.outs.push(Out::Send(to, farewell.message.clone()));
        }
    }

    pub(in super::super) fn deadline(&self) -> Option<Instant> {
        let farewell = self.farewell.as_ref().map(|farewell| farewell.next);
        let role = match &self.role {
            Role::Leading(leading) => leading.deadline(&self.config),
            Role::Asking { until, .. } | Role::Candidate { until, .. } => Some(*until),
            Role::Idle | Role::Checking { .. } => match self.known {
                Leader::Site(_) if !self.is_manual() => {
                    let promise = self.promise.map(|promise| promise.until);
                    promise.into_iter().chain(self.next_try).min()
                }
                _ if self.is_manual() => self.next_try,
                _ if (self.wanted || self.granting) && self.may_go_on() => self.next_try,
                _ => None,
            },
        };
        farewell.into_iter().chain(role).min()
    }

    /// Why it is free, now. A release says so of the moment: who gave it up may have taken it again, and lost it since.
    fn lost_for(&mut self, now: Instant) -> Reason {
        if self.lost == Reason::StepDown && self.released.is_none_or(|release| !self.is_fresh(release, now)) {
            (self.lost, self.released) = (Reason::TicketLost, None);
        }
        self.lost
    }

    /// Whoever took the ticket after that release would still have its first lease.
    pub(in super::super) fn is_fresh(&self, release: Release, now: Instant) -> bool {
        now < release.at + drift::shorten(self.expire())
    }
}

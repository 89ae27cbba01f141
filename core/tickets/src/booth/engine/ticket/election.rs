//! The way to the lead: who may stand when, and what becomes of votes.

use super::super::leading::Leading;
use super::super::{Context, Effect, Members, Out, body, fulfilled};
use super::{Role, Ticket};
use crate::booth::config::{Kind, When};
use crate::booth::wire::{Body, Command, Leader, Outcome, Reason};
use crate::drift;
use hakudo_base::Severity;
use std::time::Duration;

impl Ticket {
    pub(in super::super) fn random_delay(&self, context: &mut Context) -> Duration {
        let longest = self.config.timeout.min(Duration::from_secs(1));
        Duration::from_millis(context.random.below(longest.as_millis() as u64))
    }

    /// How long others are let go first: those of higher weight, and after a loss all others.
    pub(in super::super) fn precedence(&self, context: &Context) -> Duration {
        let weight = |id| {
            context.config.members.iter().position(|member| member.id == id).map_or(0, |at| self.config.weight(at))
        };
        let own = weight(context.config.local);
        let sites = context.others().filter(|peer| peer.kind == Kind::Site);
        let before = sites.filter(|peer| weight(peer.id) > own).count();
        self.config.timeout.min(Duration::from_secs(1)) * before as u32
    }

    /// True where this site could take a lost ticket now.
    pub(in super::super) fn may_take(&self, context: &Context) -> bool {
        let prerequisites = self.granting
            || self.lost == Reason::Reacquire
            || fulfilled(&self.config.prerequisites, When::Auto, &self.attributes);
        let idle = !self.running || self.lost == Reason::Reacquire;
        let able = if self.lost == Reason::Reacquire { self.may_go_on() } else { self.is_able() };
        context.is_site() && !self.is_manual() && able && idle && prerequisites
    }

    /// Begins to acquire the ticket.
    pub(in super::super) fn acquire(&mut self, context: &mut Context, reason: Reason) {
        self.next_try = None;
        self.failed_elections = 0;
        self.granting = reason == Reason::Admin;
        if self.config.handler.is_empty() || reason == Reason::Reacquire {
            self.agreed(context, reason);
        } else {
            let run = self.run_handler(context, None);
            self.role = Role::Checking { reason, run };
        }
    }

    /// Has the handler run; gives the number of the run.
    pub(in super::super) fn run_handler(&mut self, context: &mut Context, expires: Option<i64>) -> u64 {
        self.runs += 1;
        let (ticket, run) = (self.config.name.clone(), self.runs);
        context.outs.push(Out::Effect(Effect::RunHandler { ticket, run, expires }));
        run
    }

    /// What ran before the question, or before this lead, answers neither.
    pub(in super::super) fn handler_ended(&mut self, context: &mut Context, run: u64, result: Result<(), String>) {
        match (&self.role, result) {
            (Role::Checking { reason, run: asked }, result) if *asked == run => {
                let reason = *reason;
                self.declined = result.err();
                match &self.declined {
                    None => self.agreed(context, reason),
                    Some(why) => {
                        let text = format!("the handler did not agree: {why}");
                        self.event(context, Severity::Warning, text);
                        self.role = Role::Idle;
                        self.end_grant(Outcome::HandlerFailed);
                        self.next_try = Some(context.now.monotonic + self.config.renewal);
                    }
                }
            }
            (Role::Leading(_), Err(why)) if run > self.runs_before => {
                let text = format!("the handler did not agree, giving the ticket up: {why}");
                self.event(context, Severity::Warning, text);
                self.declined = Some(why);
                self.give_up(context, false);
            }
            _ => {}
        }
    }

    pub(in super::super) fn agreed(&mut self, context: &mut Context, reason: Reason) {
        let now = context.now.monotonic;
        if self.is_manual() && self.immediate {
            return self.lead_manually(context, Reason::Admin);
        }
        // Before a takeover, members that do not keep their promises are asked whether they remember.
        let doubtful = |peer: &&super::super::Peer| match reason {
            Reason::TicketLost | Reason::StepDown | Reason::Reacquire => !context.is_durable(peer.id),
            _ => self.is_manual() && peer.kind == Kind::Site,
        };
        let silent: Members = context.others().filter(doubtful).map(|peer| peer.id).collect();
        if silent.is_empty() {
            return if self.is_manual() {
                self.lead_manually(context, Reason::Admin)
            } else {
                self.stand(context, reason, silent)
            };
        }
        self.claims.clear();
        let number = if self.is_manual() { self.next_term(context) } else { 0 };
        self.role = Role::Asking { reason, silent, until: now + self.config.timeout, number };
        let mut question = self.message_of(context, Command::Status, None);
        if let (Body::Ticket(body), true) = (&mut question.body, self.is_manual()) {
            body.valid_for = number;
        }
        self.send_all(context, &question);
    }

    /// Asks for votes.
    pub(in super::super) fn stand(&mut self, context: &mut Context, reason: Reason, doubted: Members) {
        let local = context.config.local;
        let term = self.next_term(context);
        self.vote = Some((term, local));
        context.outs.push(Out::Persist);
        let votes = Members::from([local]);
        let until = context.now.monotonic + self.config.timeout;
        self.role = Role::Candidate { reason, term, answered: votes.clone(), votes, doubted, until };
        let mut message = self.message_of(context, Command::RequestVote, None);
        message.reason = reason;
        // To members of hakudo it says, too, up to when the ticket was held as far as is known here.
        message.body = body(&self.config.name, Leader::Site(local), term, self.held_in);
        self.send_all(context, &message);
        if context.is_majority(1) {
            self.win(context, reason);
        }
    }

    pub(in super::super) fn election_failed(&mut self, context: &mut Context) {
        let Role::Candidate { reason, .. } = self.role else { return };
        self.role = Role::Idle;
        self.failed_elections += 1;
        if reason == Reason::Admin && self.failed_elections > self.config.retries {
            self.event(context, Severity::Error, "no majority for the grant");
            self.end_grant(Outcome::SyncFail);
            return;
        }
        if reason == Reason::Admin {
            self.outcomes.push((Command::Grant, Outcome::More));
        } else {
            self.lost = reason;
        }
        let delay = self.random_delay(context) + Duration::from_millis(10);
        self.next_try = Some(context.now.monotonic + delay);
    }

    pub(in super::super) fn win(&mut self, context: &mut Context, reason: Reason) {
        let (now, local) = (context.now.monotonic, context.config.local);
        self.farewell = None;
        let commit_at = now + self.commit_delay(reason, now);
        self.role = Role::Leading(Leading::new(reason, commit_at, now));
        // The promise to itself: whatever comes, it is on disk before the first heartbeat.
        self.promise = None;
        self.number_grant(reason);
        self.promise_to(context, local, self.term, now + drift::lengthen(self.expire()));
        self.new_round(context);
    }

    pub(in super::super) fn lead_manually(&mut self, context: &mut Context, reason: Reason) {
        let (now, local) = (context.now.monotonic, context.config.local);
        self.next_term(context);
        self.number_grant(reason);
        self.role = Role::Leading(Leading::new(reason, now, now));
        self.claims.insert(local);
        self.promise_to(context, local, self.term, now);
        self.new_round(context);
        self.commit(context);
    }
}

//! The guard of leases: it stops what needs a ticket once the lease has ended, also when the node that should do it hangs,
//! is gone, or cannot agree with others.
//!
//! A node tells the guard, which lives in another process, until when each lease lasts, and what would have to be stopped
//! here then, in which order. Each renewal moves the end. Where the end comes and was not moved, the guard asks for the
//! stops by itself. What was not stopped in the time that the group was promised resets the machine, where that may be.
//!
//! Nobody is asked then, so the guard must never do too little; what it does too much, the cluster finds in the history and
//! starts again.
//!
//! Invariants:
//! - From the end of a lease on, nothing of it is started or promoted here until a node gives the guard a later end; what
//!   is being started then is ended early.
//! - What was ordered before the guard acted is not started after it: who ordered it did not know.
//! - The calls of the guard have numbers that no node gives: above all that were given when the end was told last.
//! - One stop that fails keeps back no other.

mod armed;
mod core_types;

pub use core_types::{Effect, Guard, Order, Step};

use armed::Armed;
use hakudo_base::Instant;
use hakudo_base::agent::{AgentCall, AgentResult};
use std::collections::BTreeMap;
use std::time::Duration;

/// More steps than this no guard has.
const ROOM: u64 = 1 << 16;

/// All guards of a machine.
#[derive(Debug)]
pub struct Guards {
    /// The machine may be reset.
    may_reset: bool,
    /// By ticket.
    armed: BTreeMap<String, Armed>,
    /// The guard's calls that have not ended: the ticket, the round, and the place of the step.
    calls: BTreeMap<u64, (String, u64, usize)>,
    /// The next number of a call, where nobody asks for a greater one.
    next_call: u64,
    /// Resources that the guard has acted on: orders below this number were given before.
    floors: BTreeMap<String, u64>,
}

impl Guards {
    /// Nothing is guarded yet. `may_reset` where the machine is to be reset when nothing else helps.
    pub fn new(may_reset: bool) -> Self {
        Self { may_reset, armed: BTreeMap::new(), calls: BTreeMap::new(), next_call: 0, floors: BTreeMap::new() }
    }

    /// The node says something.
    pub fn order(&mut self, now: Instant, order: Order, effects: &mut Vec<Effect>) {
        match order {
            Order::Arm(guard) => match self.armed.get_mut(&guard.ticket) {
                Some(armed) => armed.arm(now, *guard),
                None => _ = self.armed.insert(guard.ticket.clone(), Armed::new(now, *guard)),
            },
            Order::Extend { ticket, until, first_call } => {
                if let Some(armed) = self.armed.get_mut(&ticket) {
                    armed.extend(now, until, first_call);
                }
            }
            Order::Disarm { ticket } => _ = self.armed.remove(&ticket),
            Order::Only { tickets } => self.armed.retain(|ticket, _| tickets.contains(ticket)),
        }
        self.timer(now, effects);
    }

    /// One of the guard's calls has ended; any other call is of no interest.
    pub fn ended(&mut self, now: Instant, result: &AgentResult, effects: &mut Vec<Effect>) {
        let Some((ticket, round, step)) = self.calls.remove(&result.call) else { return };
        if let Some(armed) = self.armed.get_mut(&ticket) {
            armed.ended(round, step, result);
        }
        self.run_what_is_ready(&ticket, effects);
        if self.calls.is_empty() {
            effects.push(Effect::Acted);
        }
        self.timer(now, effects);
    }

    /// [`Guards::deadline`] has come.
    pub fn timer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let due: Vec<String> =
            self.armed.iter().filter(|(_, armed)| armed.is_due(now)).map(|(ticket, _)| ticket.clone()).collect();
        for ticket in due {
            self.fire(&ticket, effects);
        }
        for (ticket, armed) in &mut self.armed {
            if self.may_reset && armed.is_lost(now) {
                let left = armed.left().join(", ");
                let reason = format!("the lease of ticket {ticket} is over, and {left} did not stop in time");
                effects.push(Effect::Reset { reason });
            }
        }
    }

    /// When [`Guards::timer`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.armed.values().filter_map(|armed| armed.deadline(self.may_reset)).min()
    }

    /// The guard gives numbers below this one, and refuses what it has acted on where the number is below its own. A node that was
    /// started anew does not know how far numbers have come.
    pub fn first_call(&self) -> u64 {
        // Steps that still wait for others get theirs later.
        if self.next_call == 0 { 0 } else { self.next_call + ROOM }
    }

    /// Any lease is guarded.
    pub fn is_armed(&self) -> bool {
        !self.armed.is_empty()
    }

    /// Why this order must not be carried out now.
    pub fn refuses(&self, now: Instant, call: &AgentCall) -> Option<String> {
        if self.floors.get(&call.resource).is_some_and(|floor| begins(call) && call.call < *floor) {
            let resource = &call.resource;
            return Some(format!("refused: it was asked for before a lease ended, for which {resource} was stopped"));
        }
        let forbids = |armed: &&Armed| armed.is_over(now) && armed.forbids(call);
        let over = self.armed.values().find(forbids)?;
        Some(format!("refused: the lease of ticket {} is over", over.ticket()))
    }

    /// Until when a watchdog may be fed that resets the machine `timeout` after it was fed last: it fires when the last of
    /// the time is over in which all must have stopped. A lease for which it is too slow ([`Guards::not_covered`]) counts
    /// for nothing.
    pub fn feed_until(&self, timeout: Duration) -> Option<Instant> {
        let covered = self.armed.values().filter(|armed| armed.time_to_stop() >= timeout);
        covered.filter_map(Armed::must_be_stopped_by).min().map(|end| end.saturating_sub(timeout))
    }

    /// The tickets for which a watchdog that takes this long is too slow: it would fire although their leases are renewed.
    pub fn not_covered(&self, timeout: Duration) -> impl Iterator<Item = &str> {
        self.armed.values().filter(move |armed| armed.time_to_stop() < timeout).map(Armed::ticket)
    }

    fn fire(&mut self, ticket: &str, effects: &mut Vec<Effect>) {
        let Some(armed) = self.armed.get_mut(ticket) else { return };
        let first = armed.fire();
        self.next_call = self.next_call.max(first);
        let resources = armed.resources();
        for resource in &resources {
            self.floors.insert(resource.clone(), self.next_call);
        }
        effects.push(Effect::Over { ticket: ticket.to_owned(), resources });
        if self.may_reset && armed.resets_at_once() {
            effects.push(Effect::Reset { reason: format!("the lease of ticket {ticket} is over") });
        }
        self.run_what_is_ready(ticket, effects);
    }

    fn run_what_is_ready(&mut self, ticket: &str, effects: &mut Vec<Effect>) {
        let Some(armed) = self.armed.get_mut(ticket) else { return };
        let round = armed.round();
        for (place, mut call, note) in armed.begin_ready() {
            call.call = self.next_call;
            self.next_call += 1;
            self.calls.insert(call.call, (ticket.to_owned(), round, place));
            effects.push(Effect::Run { call, note });
        }
    }
}

/// The call makes its resource active, or more active.
fn begins(call: &AgentCall) -> bool {
    matches!(call.operation.as_str(), "start" | "promote" | "migrate_from")
}

#[cfg(test)]
mod tests;

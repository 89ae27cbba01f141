//! Until when: each node knows the end of every lease by its own clock, and acts on it by itself.
//!
//! Nodes' clocks have nothing to do with each other, and a message takes nobody knows how long. So a node says what its
//! own clock shows (its *stamp*), and is answered how much of a lease was left when its stamp was heard: the sum is never
//! later than the lease's end. It asks again long before the end. The leader knows the ends from the group's member, which
//! it runs; a new leader asks the others what they know.
//!
//! A grant counts only when every node of the view was told until when. When a node's clock reaches the end, it says so,
//! and all take the ticket as lost, whatever anybody else hoped for.

use crate::command::Command;
use crate::controller::Controller;
use crate::core_types::Effect;
use hakudo_base::{Instant, NodeId, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A leader that does not know the end of a lease hears it from others within this time, or takes the ticket as lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is said of a lease's end is said again so much later, until it is heard.
const SAY_AGAIN: Duration = Duration::from_secs(1);
/// How often the end of a lease is asked for at most, and how often where there is no end.
const OFTEN: Duration = Duration::from_millis(50);
const SELDOM: Duration = Duration::from_secs(10);

/// The lease of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) generation: u64,
    /// The end by this node's clock; none where there is no end.
    pub(crate) until: Option<Instant>,
}

impl Lease {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// What this node knows of leases. It is not replicated: the times are of its own clock.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    known: BTreeMap<String, Lease>,
    /// When this node says its stamp next.
    ask_at: Option<Instant>,
    /// When it says again that a lease is over.
    over_at: Option<Instant>,
    /// On the leader: members that were not told of the leases in force in this view.
    untold: BTreeSet<NodeId>,
    /// On the leader: until when it waits for what it does not know.
    patience: Option<Instant>,
}

impl Leases {
    pub(crate) fn know(&mut self, ticket: &str, lease: Lease) {
        let known = self.known.entry(ticket.to_owned()).or_insert(lease);
        // A lease is never taken back, only made longer; one without an end may get one.
        let longer = match (known.until, lease.until) {
            (Some(known), Some(new)) => new > known,
            _ => true,
        };
        if lease.generation > known.generation || lease.generation == known.generation && longer {
            *known = lease;
        }
    }

    /// The lease of exactly this grant.
    pub(crate) fn of(&self, ticket: &str, generation: u64) -> Option<Lease> {
        self.known.get(ticket).copied().filter(|lease| lease.generation == generation)
    }
}

impl Controller {
    /// Names and grants of the tickets that the group counts on this cluster to hold.
    fn held_tickets(&self) -> Vec<(String, u64)> {
        let all = self.replica.status.tickets.iter();
        all.filter(|(_, ticket)| ticket.is_held()).map(|(name, ticket)| (name.clone(), ticket.generation)).collect()
    }

    /// The members of a new view agree: who does not know of a lease asks.
    pub(crate) fn leases_in_new_view(&mut self) {
        let held = self.held_tickets();
        self.leases.known.retain(|name, lease| held.contains(&(name.clone(), lease.generation)));
        (self.leases.untold, self.leases.patience) = (BTreeSet::new(), None);
        (self.leases.ask_at, self.leases.over_at) = (None, None);
        if held.is_empty() {
            return;
        }
        if self.leads() {
            let others = self.view.iter().flat_map(|view| &view.members).copied();
            self.leases.untold = others.filter(|node| *node != self.local).collect();
            self.leases.patience = Some(self.now + PATIENCE);
        }
        self.say_stamp();
    }

    pub(crate) fn say_stamp(&mut self) {
        self.leases.ask_at = None;
        self.say(Command::TicketStamp { stamp_ms: self.now.as_millis() });
    }

    /// A node's stamp was delivered: the leader tells it what is left, and whoever knows tells a leader.
    pub(crate) fn hear_stamp(&mut self, from: NodeId, stamp_ms: u64) {
        let leader = self.view.as_ref().map(hakudo_membership::View::leader);
        let local = self.local;
        if from == local || (leader != Some(local) && leader != Some(from)) {
            return;
        }
        let now = self.now;
        let left = |lease: Lease| lease.until.map(|until| millis(until.since(now)));
        let held = self.held_tickets().into_iter();
        let leases: Vec<(String, u64, Option<u64>)> = held
            .filter_map(|(name, generation)| {
                let lease = self.leases.of(&name, generation).filter(|lease| !lease.is_over(now))?;
                Some((name, generation, left(lease)))
            })
            .collect();
        if !leases.is_empty() || leader == Some(local) {
            self.say(Command::TicketLeases { to: from, stamp_ms, leases });
        }
    }

    /// Somebody was told what is left of leases.
    pub(crate) fn hear_leases(
        &mut self,
        from: NodeId,
        to: NodeId,
        stamp_ms: u64,
        leases: &[(String, u64, Option<u64>)],
        effects: &mut Vec<Effect>,
    ) {
        if to == self.local {
            // Only the leader knows for certain that there is no end: others may not have heard of one yet.
            let of_leader = self.view.as_ref().is_some_and(|view| view.leader() == from);
            for (name, generation, left) in leases.iter().filter(|(_, _, left)| of_leader || left.is_some()) {
                let until = left.map(|left| Instant::from_millis(stamp_ms) + Duration::from_millis(left));
                let lease = Lease { generation: *generation, until };
                self.leases.know(name, lease);
                self.tell_speaker_of_lease(name, lease, effects);
            }
            self.ask_again_in_time();
        }
        if !self.leads() {
            return;
        }
        if from == self.local {
            self.leases.untold.remove(&to);
            for (name, generation, _) in leases {
                self.told_of_grant(name, *generation, to);
            }
        }
    }

    /// The next time to ask, long before the first lease ends.
    pub(crate) fn ask_again_in_time(&mut self) {
        let now = self.now;
        let wait = |(name, generation): (String, u64)| match self.leases.of(&name, generation) {
            Some(Lease { until: Some(until), .. }) => (until.since(now) / 5).clamp(OFTEN, SELDOM),
            Some(Lease { until: None, .. }) => SELDOM,
            None => SAY_AGAIN,
        };
        let soonest = self.held_tickets().into_iter().map(wait).min();
        self.leases.ask_at = soonest.filter(|_| !self.leads()).map(|wait| now + wait);
    }

    /// What the leader waits for before it plans: that all know of the leases in force.
    pub(crate) fn leases_untold_until(&self) -> Option<Instant> {
        let unknown = || self.held_tickets().iter().any(|(name, grant)| self.leases.of(name, *grant).is_none());
        self.leases.patience.filter(|_| !self.leases.untold.is_empty() || unknown())
    }

    /// A lease is over by this node's clock, and all will hear so in a moment: until then nothing is begun that would count on
    /// it.
    pub(crate) fn lease_runs_out(&self) -> bool {
        self.held_tickets().iter().any(|(name, grant)| match self.leases.of(name, *grant) {
            Some(lease) => lease.is_over(self.now),
            None => self.leases.over_at.is_some(),
        })
    }

    pub(crate) fn lease_deadline(&self) -> Option<Instant> {
        if !self.synced {
            return None;
        }
        let ends = self.held_tickets().into_iter().filter_map(|(name, grant)| self.leases.of(&name, grant)?.until);
        let over = ends.min().map(|end| self.leases.over_at.map_or(end, |again| again.max(end)));
        [self.leases.ask_at, over, self.leases.patience].into_iter().flatten().min()
    }

    pub(crate) fn lease_timer(&mut self) {
        if !self.synced {
            return;
        }
        if self.leases.ask_at.is_some_and(|at| at <= self.now) {
            self.say_stamp();
            self.leases.ask_at = Some(self.now + SAY_AGAIN);
        }
        let nobody_knows = self.leases.patience.take_if(|until| *until <= self.now).is_some();
        if nobody_knows {
            self.leases.untold.clear();
        }
        if !nobody_knows && self.leases.over_at.is_some_and(|again| again > self.now) {
            return;
        }
        let (now, mut over) = (self.now, Vec::new());
        for (ticket, generation) in self.held_tickets() {
            match self.leases.of(&ticket, generation) {
                Some(lease) if !lease.is_over(now) => {}
                None if !nobody_knows => {}
                _ => over.push((ticket, generation)),
            }
        }
        self.leases.over_at = (!over.is_empty()).then(|| now + SAY_AGAIN);
        for (ticket, generation) in over {
            self.say(Command::TicketOver { ticket, generation });
        }
    }

    /// A node's clock reached the end of a lease, or nobody knows of one: the ticket is lost.
    pub(crate) fn hear_over(&mut self, from: NodeId, ticket: &str, generation: u64, effects: &mut Vec<Effect>) {
        let Some(state) = self.replica.status.tickets.get_mut(ticket) else { return };
        if state.generation != generation || !state.is_held() {
            return;
        }
        (state.granted, state.awaited) = (false, false);
        let text = format!("ticket {ticket} is lost: its lease ended on {} without being renewed", self.name(from));
        effects.push(Effect::Event(self.event("ticket-lost", Severity::Warning, text)));
        self.think_again(&format!("ticket {ticket} was lost"));
    }
}

/// Whole milliseconds, never more than there are.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

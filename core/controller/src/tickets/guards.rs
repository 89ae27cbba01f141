//! The guards of leases: what the executor of each node stops by itself when a lease ends and its node says nothing.
//!
//! With each plan the leader says what depends on each ticket on each node, before anything of the plan is begun. Each node
//! gives its part to its executor, with the end of the lease by its own clock, and moves the end as the lease is renewed. A
//! ticket that is lost stays guarded until nothing that needs it is active any more.

use crate::command::Command;
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::node::note_of;
use crate::status::Order;
use hakudo_base::agent::{AgentCall, Known};
use hakudo_base::{Instant, NodeId, Severity};
use hakudo_guard::{Guard, Order as GuardOrder, Step};
use hakudo_scheduler::{ActionKind, TicketGuard, Transition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Calls of a guard begin at a multiple of this, one block further than the next of the leader's.
const BLOCK: u64 = 1 << 16;

/// What is to be done on all nodes when the lease of a ticket ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuardPlan {
    /// The nodes are to be fenced.
    fence: bool,
    /// Node, stop or demotion, and the places of the steps on the same node that come before.
    steps: Vec<(NodeId, Order, Vec<u32>)>,
}

/// By ticket; none where what was said of it before stays. Tickets that are not in it need no guard.
pub(crate) type GuardTable = BTreeMap<String, Option<GuardPlan>>;

/// What this node's executor is to do.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    fence: bool,
    steps: Vec<Step>,
    /// Tells it from what was said before.
    number: u64,
}

/// What the executor was told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    number: u64,
    until: Instant,
    stop_time: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Guarding {
    /// On the leader: what was said last in this view.
    said: GuardTable,
    /// By ticket.
    own: BTreeMap<String, Own>,
    told: BTreeMap<String, Told>,
    numbers: u64,
    /// Tickets of which this process was not told what depends on them, while something that does may be active: what its
    /// executor was told by a former process stays in force.
    inherited: BTreeSet<String>,
    /// What was said last to depend on each ticket, whether a constraint says so still or not.
    needed: BTreeMap<String, BTreeSet<String>>,
    /// The leader of this view has said what is guarded.
    heard: bool,
    /// The executor was told that nothing else is.
    told_only: bool,
}

impl Guarding {
    /// In a new view everything is said anew: who comes may not have heard it.
    pub(crate) fn new_view(&mut self) {
        (self.said, self.heard, self.told_only) = (GuardTable::new(), false, false);
    }

    /// An executor was connected to, perhaps a new one.
    pub(crate) fn executor_connected(&mut self) {
        self.told.clear();
        self.told_only = false;
    }
}

impl Controller {
    /// Says to all nodes what depends on tickets, where that is new. `active` says whether anything that needs a ticket may
    /// still be active.
    pub(crate) fn say_guards(&mut self, transition: &Transition, active: impl Fn(&str) -> bool) {
        let mut table = GuardTable::new();
        for (ticket, state) in &self.replica.status.tickets {
            let guard = transition.guards.iter().find(|guard| guard.ticket == *ticket);
            match guard.filter(|guard| state.granted && !guard.steps.is_empty()) {
                Some(guard) => _ = table.insert(ticket.clone(), Some(self.guard_plan(guard))),
                None if !state.granted && active(ticket) => _ = table.insert(ticket.clone(), None),
                None => {}
            }
        }
        let news = self.guarding.said != table || !self.guarding.heard && !self.replica.status.tickets.is_empty();
        if news {
            self.guarding.said.clone_from(&table);
            self.say(Command::TicketGuards(table));
        }
    }

    /// No constraint names the ticket any more, and what needed it goes on: another site that gets the ticket would start it
    /// once more.
    pub(crate) fn runs_without_its_constraint(&self, ticket: &str) -> bool {
        let runs = |resource: &String| {
            let nodes = self.replica.status.nodes.values();
            nodes.filter_map(|node| node.resources.get(resource)).any(crate::status::History::runs)
        };
        self.guarding.needed.get(ticket).is_some_and(|resources| resources.iter().any(runs))
    }

    fn guard_plan(&self, guard: &TicketGuard) -> GuardPlan {
        // What is not to be done by a member keeps its place: others name the places.
        let nobody = NodeId(0);
        let step = |step: &hakudo_scheduler::GuardStep| {
            let ActionKind::Resource { resource, .. } = &step.action.kind else { return None };
            let mut order = self.order(&step.action, resource, 0);
            // It belongs to no plan that anybody walks, and must be the same as long as nothing changes.
            order.action = 0;
            order.transition_key = self.key_of_nobody();
            Some((self.performer(&step.action).unwrap_or(nobody), order, step.after.clone()))
        };
        GuardPlan { fence: guard.fence, steps: guard.steps.iter().filter_map(step).collect() }
    }

    /// The leader said what depends on tickets.
    pub(crate) fn hear_guards(&mut self, table: &GuardTable, effects: &mut Vec<Effect>) {
        self.guarding.heard = true;
        let local = self.local;
        self.guarding.own.retain(|ticket, _| table.contains_key(ticket));
        let unsaid = table.iter().filter(|(_, plan)| plan.is_none()).map(|(ticket, _)| ticket);
        let inherited: BTreeSet<String> = unsaid.filter(|it| !self.guarding.own.contains_key(*it)).cloned().collect();
        let before = std::mem::replace(&mut self.guarding.inherited, inherited);
        if !before.is_subset(&self.guarding.inherited) {
            self.guarding.told_only = false;
        }
        for (ticket, plan) in table.iter().filter_map(|(ticket, plan)| Some((ticket, plan.as_ref()?))) {
            let needed = plan.steps.iter().map(|(_, order, _)| order.resource.clone()).collect();
            self.guarding.needed.insert(ticket.clone(), needed);
            let here: Vec<usize> = (0..plan.steps.len()).filter(|place| plan.steps[*place].0 == local).collect();
            let place = |of: &u32| here.iter().position(|here| u32::try_from(*here) == Ok(*of));
            let steps: Vec<Step> = here
                .iter()
                .map(|at| {
                    let (_, order, after) = &plan.steps[*at];
                    let after = after.iter().filter_map(place).filter_map(|place| u32::try_from(place).ok());
                    Step {
                        call: AgentCall { start_delay_ms: 0, ..order.call(0, self.epoch()) },
                        note: note_of(order),
                        after: after.collect(),
                    }
                })
                .collect();
            if steps.is_empty() {
                self.guarding.own.remove(ticket);
                continue;
            }
            let before = self.guarding.own.get(ticket);
            let same = |before: &Own| before.fence == plan.fence && same_steps(&before.steps, &steps);
            if !before.is_some_and(same) {
                self.guarding.numbers += 1;
                let own = Own { fence: plan.fence, steps, number: self.guarding.numbers };
                self.guarding.own.insert(ticket.clone(), own);
            }
        }
        self.tend_guards(effects);
    }

    /// Tells the executor what is new of leases and of what depends on them.
    pub(crate) fn tend_guards(&mut self, effects: &mut Vec<Effect>) {
        if !self.node.is_connected() {
            return;
        }
        if self.guarding.heard && !std::mem::replace(&mut self.guarding.told_only, true) && self.has_tickets() {
            let tickets = self.guarding.own.keys().chain(&self.guarding.inherited).cloned().collect();
            effects.push(Effect::Guard(GuardOrder::Only { tickets }));
        }
        let over: Vec<String> =
            self.guarding.told.keys().filter(|ticket| self.needs_no_guard(ticket)).cloned().collect();
        for ticket in over {
            self.guarding.told.remove(&ticket);
            effects.push(Effect::Guard(GuardOrder::Disarm { ticket }));
        }
        let own: Vec<String> = self.guarding.own.keys().cloned().collect();
        for ticket in own {
            self.tend_guard(ticket, effects);
        }
    }

    /// Nothing runs here any more, and this node leaves: its executor has nothing to guard.
    pub(crate) fn end_guards(&mut self, effects: &mut Vec<Effect>) {
        self.guarding.own.clear();
        let inherited = !std::mem::take(&mut self.guarding.inherited).is_empty();
        if !std::mem::take(&mut self.guarding.told).is_empty() || inherited {
            effects.push(Effect::Guard(GuardOrder::Only { tickets: BTreeSet::new() }));
        }
    }

    fn has_tickets(&self) -> bool {
        !self.replica.status.tickets.is_empty()
    }

    /// Nothing depends on it here, or its lease has no end.
    fn needs_no_guard(&self, ticket: &str) -> bool {
        let endless = |generation| self.leases.of(ticket, generation).is_some_and(|lease| lease.until.is_none());
        let state = self.replica.status.tickets.get(ticket).filter(|state| state.is_held());
        !self.guarding.own.contains_key(ticket) || state.is_some_and(|state| endless(state.generation))
    }

    fn tend_guard(&mut self, ticket: String, effects: &mut Vec<Effect>) {
        let state = self.replica.status.tickets.get(&ticket).filter(|state| state.is_held());
        let Some(state) = state else { return };
        let stop_time = Duration::from_millis(state.stop_time_ms);
        let Some(until) = self.leases.of(&ticket, state.generation).and_then(|lease| lease.until) else { return };
        let Some(own) = self.guarding.own.get(&ticket) else { return };
        let told = Told { number: own.number, until, stop_time };
        let before = self.guarding.told.get(&ticket);
        if before == Some(&told) {
            return;
        }
        let same = |before: &Told| before.number == told.number && before.stop_time == told.stop_time;
        let order = if before.is_some_and(same) {
            GuardOrder::Extend { ticket: ticket.clone(), until, first_call: self.first_guard_call() }
        } else {
            GuardOrder::Arm(Box::new(Guard {
                ticket: ticket.clone(),
                until,
                stop_time,
                reset: own.fence,
                first_call: self.first_guard_call(),
                steps: own.steps.clone(),
            }))
        };
        self.guarding.told.insert(ticket, told);
        effects.push(Effect::Guard(order));
    }

    /// Far above all numbers that a leader gives until this is said again.
    fn first_guard_call(&self) -> u64 {
        let last = self.replica.status.nodes.get(&self.local).map_or(0, |status| status.last_call);
        (last / BLOCK + 2) * BLOCK
    }

    /// As long as this node is well, it still ends the lease by itself.
    pub(crate) fn executor_does_not_guard(&mut self, ticket: &str, reason: &str, effects: &mut Vec<Effect>) {
        let what = format!("does not guard the lease of ticket {ticket}: {reason}");
        self.tell_of_guard(Severity::Error, &what, effects);
    }

    fn tell_of_guard(&self, severity: Severity, what: &str, effects: &mut Vec<Effect>) {
        let name = self.name(self.local);
        let mut event = self.event("lease-guard", severity, format!("the executor of {name} {what}"));
        event.node = Some(name);
        effects.push(Effect::Event(event));
    }

    /// The executor has stopped what needed a lease: all must know what it knows.
    pub(crate) fn executor_acted(&mut self, known: &[Known], own: &[u64], effects: &mut Vec<Effect>) {
        self.tell_of_guard(Severity::Warning, "has stopped what needed a lease that nobody renewed", effects);
        // Its own calls are among them, and numbers go on above those.
        self.tell_what_executor_knows(known, newest_order(known, own), 0);
    }
}

/// The newest call that the executor was told to run and remembers: what was ordered later is on its way to it, or it has
/// answered that already.
fn newest_order(known: &[Known], own: &[u64]) -> u64 {
    let orders = known.iter().map(|known| known.call.call).filter(|call| !own.contains(call));
    orders.filter(|call| *call < crate::node::FENCE_CALLS).max().unwrap_or_default()
}

/// Views and promotion scores make no other guard.
fn same_steps(some: &[Step], others: &[Step]) -> bool {
    let same =
        |(a, b): (&Step, &Step)| a.after == b.after && AgentCall { epoch: b.call.epoch, ..a.call.clone() } == b.call;
    some.len() == others.len() && some.iter().zip(others).all(same)
}

//! The executors of a site: what ends a lease where the node processes hang. One stands for all of a site, and the production
//! core decides in it.

use super::Mutation;
use super::world::{Event, World};
use hakudo_base::Instant;
use hakudo_base::agent::{AgentCall, AgentName, AgentResult, ExecutionStatus, exit_code};
use hakudo_guard::{Effect, Guard, Guards, Order, Step};
use std::collections::BTreeMap;
use std::time::Duration;

/// The guard of a site, and the calls that it has made: which ticket's services they stop.
#[derive(Debug)]
pub(crate) struct Executor {
    guards: Guards,
    calls: BTreeMap<u64, String>,
    /// What it was told of each ticket beside the end of the lease.
    told: BTreeMap<String, Duration>,
    /// When it looks at the time next.
    due_at: Option<u64>,
}

impl Default for Executor {
    fn default() -> Self {
        Self { guards: Guards::new(false), calls: BTreeMap::new(), told: BTreeMap::new(), due_at: None }
    }
}

impl World {
    /// The node says until when a lease lasts; none where it has no end, or nothing is active any more.
    pub(super) fn tell_executor(&mut self, site: usize, ticket: &str, lease: Option<(u64, Duration)>) {
        let ticket = ticket.to_owned();
        let told = &mut self.executor(site).told;
        let before = match lease {
            None => told.remove(&ticket),
            Some((_, stop_time)) => told.insert(ticket.clone(), stop_time),
        };
        let order = match lease {
            None => Order::Disarm { ticket },
            Some((until, stop_time)) if before == Some(stop_time) => {
                Order::Extend { ticket, until: Instant::from_nanos(until), first_call: 1 }
            }
            Some((until, stop_time)) => Order::Arm(Box::new(Guard {
                until: Instant::from_nanos(until),
                stop_time,
                reset: false,
                first_call: 1,
                steps: vec![Step { call: stop_of(&ticket), note: Vec::new(), after: Vec::new() }],
                ticket,
            })),
        };
        self.guard(site, |guards, now, effects| guards.order(now, order, effects));
    }

    pub(super) fn guard_is_due(&mut self, site: usize) {
        self.executor(site).due_at = None;
        self.guard(site, |guards, now, effects| guards.timer(now, effects));
    }

    /// Services have stopped, whoever stopped them.
    pub(super) fn tell_guard_of_stop(&mut self, site: usize, ticket: &str) {
        let calls = &mut self.executor(site).calls;
        let of_it: Vec<u64> = calls.iter().filter(|(_, of)| *of == ticket).map(|(call, _)| *call).collect();
        for call in of_it {
            self.executor(site).calls.remove(&call);
            let result = stopped(call);
            self.guard(site, |guards, now, effects| guards.ended(now, &result, effects));
        }
    }

    fn guard(&mut self, site: usize, tell: impl FnOnce(&mut Guards, Instant, &mut Vec<Effect>)) {
        // Then it takes no notice of the time.
        let sleeps = matches!(self.mutation(), Some(Mutation::GuardSleeps | Mutation::ClusterDoesNotEnforce));
        let now = if sleeps { Instant::ZERO } else { Instant::from_nanos(self.now()) };
        let mut effects = Vec::new();
        let executor = self.executor(site);
        tell(&mut executor.guards, now, &mut effects);
        let due = executor.guards.deadline().map(Instant::as_nanos).filter(|_| !sleeps);
        if let Some(due) = due.filter(|due| executor.due_at.is_none_or(|known| *due < known)) {
            executor.due_at = Some(due);
            self.at(due, Event::GuardDue { site });
        }
        for effect in effects {
            if let Effect::Run { call, .. } = effect {
                self.executor(site).calls.insert(call.call, call.resource.clone());
                self.guard_stops(site, &call.resource);
            }
        }
    }
}

fn stop_of(ticket: &str) -> AgentCall {
    AgentCall {
        call: 0,
        epoch: 0,
        resource: ticket.to_owned(),
        agent: AgentName { class: "ocf".into(), provider: None, kind: "Service".into() },
        operation: "stop".into(),
        interval_ms: 0,
        timeout_ms: 0,
        start_delay_ms: 0,
        parameters: BTreeMap::new(),
    }
}

fn stopped(call: u64) -> AgentResult {
    AgentResult::new(call, ExecutionStatus::Done, exit_code::OK)
}

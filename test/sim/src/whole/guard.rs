//! The guard of leases in the executor of a machine: the production core of guards, joined as the real executor joins it,
//! and the watchdog that resets the machine.

use super::Mutation;
use crate::executor::{Doing, Executor, Order, not_run};
use crate::world::{AgentEnd, Happening, World};
use hakudo_base::Instant;
use hakudo_base::agent::{AgentCall, AgentResult, ExecutionStatus, ExecutorInput, exit_code};
use hakudo_controller::Input as ControllerInput;
use hakudo_guard::{Effect, Guards, Order as GuardOrder};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an agent has to end itself after TERM, in milliseconds.
const GRACE_MS: u64 = 1000;

/// The guard of an executor. It is gone when the executor dies.
#[derive(Debug)]
pub(crate) struct GuardHost {
    guards: Guards,
    /// Calls of the guard that are remembered.
    own: BTreeSet<u64>,
    /// When it is looked at the time next.
    due: Option<Instant>,
    /// Calls whose runs are to end early.
    ending: BTreeSet<u64>,
    /// Calls whose runs did: the end that was planned for them comes to nothing.
    ended: BTreeSet<u64>,
}

impl GuardHost {
    fn new(may_reset: bool) -> Self {
        Self {
            guards: Guards::new(may_reset),
            own: BTreeSet::new(),
            due: None,
            ending: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    pub(crate) fn first_call(&self) -> u64 {
        self.guards.first_call()
    }
}

impl World {
    pub(crate) fn new_executor(&self) -> Executor {
        let guard = self.outside.as_ref().map(|outside| Box::new(GuardHost::new(outside.watchdog.is_some())));
        let mut executor = Executor::default();
        executor.guard = guard;
        executor
    }

    fn host(&mut self, node: usize) -> Option<&mut GuardHost> {
        self.machines[node].executor.as_mut()?.guard.as_deref_mut()
    }

    /// How long an agent may take, in true milliseconds.
    pub(crate) fn timeout_of(&self, node: usize, call: &AgentCall) -> u64 {
        let timeout = self.machines[node].true_time(Duration::from_millis(call.timeout_ms));
        u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// What is meant for the guard goes there, and what it refuses goes nowhere; the rest is the executor's.
    pub(crate) fn past_the_guard(&mut self, node: usize, order: Order) -> Option<Order> {
        let local = self.machines[node].monotonic(self.now);
        let dropped = self.group_mutation() == Some(Mutation::GuardsDropped);
        let Some(host) = self.host(node) else { return Some(order) };
        match order {
            Order::Guard(_) if dropped => None,
            Order::Guard(order) => {
                self.say(|| format!("n{}'s executor is told: {}", node + 1, described(&order)));
                self.guard(node, |guards, now, effects| guards.order(now, order, effects));
                None
            }
            Order::Execute(call, note) => {
                let Some(reason) = host.guards.refuses(local, &call) else { return Some(Order::Execute(call, note)) };
                self.sites.reach("a start after the end of a lease refused");
                self.say(|| {
                    format!("n{}'s executor does not {} {}: {reason}", node + 1, call.operation, call.resource)
                });
                let result = not_run(call.call, ExecutionStatus::Refused, reason);
                self.carry_out(node, vec![Doing::Report(result)]);
                None
            }
            order => Some(order),
        }
    }

    /// Tells the guard something, and does what it asks for.
    fn guard(&mut self, node: usize, tell: impl FnOnce(&mut Guards, Instant, &mut Vec<Effect>)) {
        let local = self.machines[node].monotonic(self.now);
        let mut effects = Vec::new();
        let Some(host) = self.host(node) else { return };
        tell(&mut host.guards, local, &mut effects);
        let armed = host.guards.is_armed();
        let boots = self.machines[node].boots;
        if armed {
            // It was opened by this executor, or the one before, and is fed.
            self.machines[node].hungry_watchdog = false;
        }
        for effect in effects {
            if self.machines[node].boots != boots {
                return;
            }
            match effect {
                Effect::Over { ticket, resources } => {
                    self.sites.reach("an executor ended a lease");
                    self.checks.plans.disturb();
                    self.say(|| format!("n{}'s executor ends the lease of {ticket}", node + 1));
                    for resource in resources {
                        self.executor_does(node, |executor| executor.make_way(&resource));
                    }
                }
                Effect::Run { call, note } => {
                    if let Some(host) = self.host(node) {
                        host.own.insert(call.call);
                    }
                    self.executor_does(node, |executor| executor.insist(call, note));
                }
                Effect::Acted => self.tell_what_was_done(node),
                Effect::Reset { reason } => self.reset(node, &reason),
            }
        }
        self.plan_guard(node);
    }

    fn executor_does(&mut self, node: usize, what: impl FnOnce(&mut Executor) -> Vec<Doing>) {
        let doing = self.machines[node].executor.as_mut().map(what);
        self.carry_out(node, doing.unwrap_or_default());
    }

    fn plan_guard(&mut self, node: usize) {
        let (now, executor_run) = (self.now, self.machines[node].executor_run);
        let Some(deadline) = self.host(node).and_then(|host| host.guards.deadline()) else { return };
        let at = self.machines[node].simulated(deadline).max(now);
        let Some(host) = self.host(node) else { return };
        if host.due.is_none_or(|due| at < due) {
            host.due = Some(at);
            self.queue.push(at, Happening::LeaseDue { node, executor_run });
        }
    }

    pub(crate) fn lease_is_due(&mut self, node: usize, executor_run: u64) {
        let now = self.now;
        if self.machines[node].executor_run != executor_run {
            return;
        }
        let Some(host) = self.host(node).filter(|host| host.due == Some(now)) else { return };
        host.due = None;
        self.guard(node, |guards, now, effects| guards.timer(now, effects));
    }

    pub(crate) fn is_guards_own(&self, node: usize, call: u64) -> bool {
        let executor = self.machines[node].executor.as_ref();
        executor.and_then(|executor| executor.guard.as_ref()).is_some_and(|host| host.own.contains(&call))
    }

    pub(crate) fn guards_call_ended(&mut self, node: usize, result: &AgentResult) {
        self.guard(node, |guards, now, effects| guards.ended(now, result, effects));
    }

    /// The node hears what the guard did, a little later, as it hears all words of its executor.
    fn tell_what_was_done(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(executor) = &mut machine.executor else { return };
        let known = executor.known();
        let Some(host) = &mut executor.guard else { return };
        host.own.retain(|call| known.iter().any(|known| known.call.call == *call));
        let own = host.own.iter().copied().collect();
        let run = machine.run;
        self.checks.plans.disturb();
        let at = self.now + Duration::from_micros(100);
        let input = Box::new(ControllerInput::Executor(ExecutorInput::Acted { known, own }));
        self.queue.push(at, Happening::Told { node, run, input });
    }

    // ---- the ends of agents before their time ----------------------------------------------------------------------

    /// The run of a call is to end: it is given a moment to do so by itself, and is killed then.
    pub(crate) fn terminate(&mut self, node: usize, number: u64) {
        let (took, executor_run) = (self.random.between(1, GRACE_MS), self.machines[node].executor_run);
        let Some(executor) = &mut self.machines[node].executor else { return };
        let Some(call) = executor.running(number).cloned() else { return };
        let Some(host) = &mut executor.guard else { return };
        if !host.ending.insert(number) {
            return;
        }
        let result = AgentResult::new(number, ExecutionStatus::Cancelled, exit_code::UNKNOWN);
        let end = Box::new(AgentEnd { call, result, effective: false, early: true });
        self.queue.push(self.now + Duration::from_millis(took), Happening::AgentEnds { node, executor_run, end });
    }

    /// Whether this is the end of the run, and not one that another end was before.
    pub(crate) fn ends_now(&mut self, node: usize, end: &AgentEnd) -> bool {
        let number = end.call.call;
        let Some(host) = self.host(node) else { return true };
        if end.early {
            let runs = host.ending.remove(&number);
            if runs {
                host.ended.insert(number);
            }
            return runs;
        }
        host.ending.remove(&number);
        !host.ended.remove(&number)
    }

    // ---- the watchdog ----------------------------------------------------------------------------------------------

    /// The executor dies. A watchdog that it had open goes on, and resets the machine unless the next executor feeds it.
    pub(crate) fn leave_watchdog(&mut self, node: usize) {
        let Some(timeout) = self.outside.as_ref().and_then(|outside| outside.watchdog) else { return };
        let local = self.machines[node].monotonic(self.now);
        let boots = self.machines[node].boots;
        let Some(host) = self.host(node).filter(|host| host.guards.is_armed()) else { return };
        // It was not fed for longer than it could be sure to fire in time.
        let fed = host.guards.feed_until(timeout).map_or(local, |end| end.min(local));
        let at = self.machines[node].simulated(fed + timeout).max(self.now);
        self.machines[node].hungry_watchdog = true;
        self.queue.push(at, Happening::WatchdogDue { node, boots });
    }

    pub(crate) fn watchdog_is_due(&mut self, node: usize, boots: u64) {
        if self.machines[node].boots == boots && self.machines[node].hungry_watchdog {
            self.reset(node, "nobody fed the watchdog");
        }
    }

    /// The machine loses all that it runs, and is started again.
    fn reset(&mut self, node: usize, reason: &str) {
        self.sites.reach("a machine reset itself");
        self.say(|| format!("n{} is reset: {reason}", node + 1));
        self.power_off(node);
        let at = self.now + Duration::from_millis(self.random.between(1500, 5000));
        self.queue.push(at, Happening::Act(crate::script::Act::Boot(node + 1)));
    }
}

fn described(order: &GuardOrder) -> String {
    match order {
        GuardOrder::Arm(guard) => {
            let steps: Vec<String> =
                guard.steps.iter().map(|step| format!("{} {}", step.call.operation, step.call.resource)).collect();
            format!("at {} {} for {}", guard.until, steps.join(", "), guard.ticket)
        }
        GuardOrder::Extend { ticket, until, .. } => format!("{ticket} until {until}"),
        GuardOrder::Disarm { ticket } => format!("{ticket} needs no guard"),
        GuardOrder::Only { tickets } => format!("only {tickets:?}"),
    }
}

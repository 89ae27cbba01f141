//! The state machine: requests come in, agents are run, answers go out.
//!
//! Here is what is done for a request, step after step. What must be asked before a device can be used, and where it runs,
//! is in `asking`; what the answers of agents mean, and when a target is given up, in `judging`.

mod asking;
mod judging;

use crate::config::Configuration;
use crate::core_types::{Action, Effect, Failure, Input, Request};
use crate::operation::{Half, Operation, Route, Step};
use asking::{Known, List, REMEMBERED, Verdict};
use hakudo_base::agent::{AgentName, ExecutionStatus};
use hakudo_base::{Instant, Random, Severity};
use judging::{Failures, no_answer};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The fencing core of one node. Only the leader's is given requests; those of the others already learn what the agents can
/// do, so that a new leader need not ask first.
#[derive(Debug)]
pub struct Fencer {
    random: Random,
    config: Configuration,
    nodes: BTreeSet<String>,
    monitored: BTreeMap<String, String>,
    agents: BTreeMap<AgentName, Known>,
    lists: BTreeMap<String, List>,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    /// In the order of their requests.
    operations: BTreeMap<u64, Operation>,
    next_operation: u64,
    /// By target, and whether it was to be switched on: that it cannot be says nothing of whether it can be fenced.
    failures: BTreeMap<(String, bool), Failures>,
}

/// A run of an agent that has not ended.
#[derive(Debug)]
struct Call {
    purpose: Purpose,
    on: String,
    device: String,
    /// Nothing will be heard of it after this moment.
    until: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    Metadata(AgentName),
    List,
    Status { operation: u64 },
    Fence { operation: u64, target: String },
}

/// What is next in an operation.
enum Next {
    Step(String, Action),
    Wait,
    Exhausted,
}

impl Fencer {
    /// A core that knows no configuration and no members yet.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            config: Configuration::default(),
            nodes: BTreeSet::new(),
            monitored: BTreeMap::new(),
            agents: BTreeMap::new(),
            lists: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 1,
            operations: BTreeMap::new(),
            next_operation: 1,
            failures: BTreeMap::new(),
        }
    }

    /// Takes one input and appends what is to be done, in order.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Timer => {}
            Input::Configure { cib, now: time } => self.configure(Configuration::read(&cib, time), effects),
            Input::Members { nodes, monitored } => self.set_members(now, nodes, monitored, effects),
            Input::Resign => self.resign(),
            Input::Fence(request) => self.request(now, request, effects),
            Input::Confirm { target, user } => self.confirm(now, &target, &user, effects),
            Input::Result(result) => self.result(now, &result, effects),
        }
        self.time_passed(now, effects);
        self.learn_agents(now, effects);
        self.progress(now, effects);
    }

    /// The node whose executor was asked for a call that has not ended, by name.
    pub fn runs_on(&self, call: u64) -> Option<&str> {
        self.calls.get(&call).map(|call| call.on.as_str())
    }

    /// When [`Input::Timer`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        // An operation that waits for another one has no time of its own.
        let free = self.operations.iter().filter(|(number, _)| !self.must_wait(**number));
        let operations = free.filter_map(|(_, operation)| match &operation.step {
            None => operation.not_before,
            Some(step) => step.not_before,
        });
        let calls = self.calls.values().map(|call| call.until);
        let failures = self.failures.values().filter_map(|f| f.gave_up.as_ref().map(|gave_up| gave_up.until));
        operations.chain(calls).chain(failures).min()
    }

    /// Requests are the next leader's business. What was learnt of agents and devices stays.
    fn resign(&mut self) {
        self.operations.clear();
        self.failures.clear();
        self.calls.retain(|_, call| matches!(call.purpose, Purpose::Metadata(_)));
    }

    fn configure(&mut self, config: Configuration, effects: &mut Vec<Effect>) {
        for note in config.notes.difference(&self.config.notes) {
            effects.push(Effect::Event {
                severity: Severity::Warning,
                kind: "fence-config",
                target: None,
                device: None,
                took: None,
                text: note.clone(),
            });
        }
        if config != self.config {
            let devices = &config.devices;
            self.lists.retain(|id, _| devices.get(id) == self.config.devices.get(id));
            self.config = config;
            self.forgive(effects);
        }
    }

    fn set_members(
        &mut self,
        now: Instant,
        nodes: BTreeSet<String>,
        monitored: BTreeMap<String, String>,
        effects: &mut Vec<Effect>,
    ) {
        let joined = nodes.difference(&self.nodes).next().is_some();
        let lost: Vec<u64> =
            self.calls.iter().filter(|(_, call)| !nodes.contains(&call.on)).map(|(number, _)| *number).collect();
        self.nodes = nodes;
        self.monitored = monitored;
        for call in lost {
            self.result(now, &no_answer(call, ExecutionStatus::NotConnected, "the node was lost"), effects);
        }
        if joined {
            // Agents that nobody could run may be there.
            self.agents.retain(|_, known| matches!(known, Known::Metadata(_)));
            self.forgive(effects);
        }
    }

    fn request(&mut self, now: Instant, request: Request, effects: &mut Vec<Effect>) {
        let same = |operation: &&mut Operation| {
            operation.target == request.target
                && operation.life == request.life
                && operation.action == request.action
                && !operation.is_answered()
        };
        if let Some(operation) = self.operations.values_mut().find(same) {
            operation.requests.push(request);
            return;
        }
        let failures = self.failures.get(&(request.target.clone(), request.action == Action::On));
        if request.user.is_none()
            && let Some(gave_up) = failures.and_then(|failures| failures.gave_up.as_ref())
        {
            effects.push(Effect::Done {
                id: request.id,
                target: request.target,
                action: request.action,
                result: Err(Failure { reason: gave_up.reason.clone(), gave_up: true }),
            });
            return;
        }
        let pause = failures.filter(|_| request.user.is_none()).map(|failures| failures.last + failures.pause());
        let mut operation = Operation::new(request, Vec::new());
        operation.not_before = pause.filter(|until| now < *until);
        self.operations.insert(self.next_operation, operation);
        self.next_operation += 1;
    }

    /// Takes every operation as far as it gets.
    fn progress(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let numbers: Vec<u64> = self.operations.keys().copied().collect();
        for number in numbers {
            if self.must_wait(number) {
                continue;
            }
            let Some(mut operation) = self.operations.remove(&number) else { continue };
            if self.drive(now, number, &mut operation, effects) {
                self.operations.insert(number, operation);
            }
        }
    }

    /// One target has one operation at a time, and none while an agent still works on it for an earlier one; without
    /// `concurrent-fencing` there is one at a time in all.
    fn must_wait(&self, number: u64) -> bool {
        let Some(operation) = self.operations.get(&number) else { return true };
        let ahead =
            |other: &Operation| other.target == operation.target || (!self.config.concurrent && !other.is_answered());
        let at_work = |call: &Call| match &call.purpose {
            Purpose::Fence { operation: by, target } => *by != number && *target == operation.target,
            _ => false,
        };
        self.operations.range(..number).any(|(_, other)| ahead(other)) || self.calls.values().any(at_work)
    }

    /// Returns whether the operation goes on.
    fn drive(&mut self, now: Instant, number: u64, operation: &mut Operation, effects: &mut Vec<Effect>) -> bool {
        if operation.not_before.is_some_and(|moment| now < moment) {
            return true;
        }
        operation.not_before = None;
        if operation.began.is_none() {
            self.begin(now, operation, effects);
        }
        loop {
            if operation.step.is_none() {
                match self.next(now, number, operation, effects) {
                    Next::Step(device, action) => {
                        let not_before = self.delay(now, operation, &device, action);
                        operation.step = Some(Step::new(&device, action, not_before));
                    }
                    Next::Wait => return true,
                    Next::Exhausted => {
                        if !operation.is_answered() {
                            let failure = self.give_reason(now, operation);
                            self.answer(now, operation, Some(failure), effects);
                        }
                        return false;
                    }
                }
            }
            match self.try_step(now, number, operation, effects) {
                Ok(()) => return true,
                Err((device, reason)) => {
                    operation.complain(format!("{device}: {reason}"));
                    operation.failed(&device);
                }
            }
        }
    }

    fn begin(&mut self, now: Instant, operation: &mut Operation, effects: &mut Vec<Effect>) {
        operation.began = Some(now);
        let requests = std::mem::take(&mut operation.requests);
        let levels = self.config.topology(&operation.target);
        if let Some(first) = requests.first().cloned() {
            *operation = Operation { began: Some(now), requests, ..Operation::new(first, levels) };
        }
        if let Route::Any { until, .. } = &mut operation.route {
            let all = self.config.devices.values().map(|device| self.timeout(device, operation.action.name()));
            *until = Some(now + all.sum::<Duration>().max(self.config.timeout));
        }
        self.agents.retain(|_, known| !matches!(known, Known::Failed { at } if now - *at >= REMEMBERED));
        self.learn_agents(now, effects);
        effects.push(Effect::Event {
            severity: Severity::Info,
            kind: "fence-start",
            target: Some(operation.target.clone()),
            device: None,
            took: None,
            text: format!("{} of {} begins", operation.action, operation.target),
        });
    }

    /// The next device and what it is to do.
    fn next(&mut self, now: Instant, number: u64, operation: &mut Operation, effects: &mut Vec<Effect>) -> Next {
        loop {
            let (device, action) = match &operation.route {
                Route::Any { .. } => return self.next_of_any(now, number, operation, effects),
                Route::Levels { levels, level, at, half } => {
                    let Some(device) = levels.get(*level).and_then(|devices| devices.get(*at)) else {
                        return Next::Exhausted;
                    };
                    let action = match half {
                        Half::Whole => operation.action,
                        Half::Off => Action::Off,
                        Half::On => Action::On,
                    };
                    (device.clone(), action)
                }
            };
            match self.verdict(now, number, &device, action, operation) {
                Verdict::Yes => return Next::Step(device, action),
                Verdict::Ask(purpose) => {
                    if self.ask(now, &device, purpose, operation, effects) {
                        return Next::Wait;
                    }
                }
                Verdict::No(reason) => {
                    operation.complain(format!("{device}: {reason}"));
                    operation.failed(&device);
                }
            }
        }
    }

    /// Without topology: the device of the highest priority that can do it. A device that is known to be able need not
    /// wait for what others of its priority answer.
    fn next_of_any(&mut self, now: Instant, number: u64, operation: &mut Operation, effects: &mut Vec<Effect>) -> Next {
        let mut devices: Vec<(i32, String)> =
            self.config.devices.values().map(|d| (-d.priority, d.id.clone())).collect();
        devices.sort();
        loop {
            let mut asking: Option<i32> = None;
            for (rank, device) in &devices {
                let Route::Any { through, again, .. } = &operation.route else { return Next::Exhausted };
                if through.contains(device) || (*again && self.candidates(device, operation).is_empty()) {
                    continue;
                }
                loop {
                    match self.verdict(now, number, device, operation.action, operation) {
                        Verdict::Yes if asking.is_some_and(|earlier| earlier < *rank) => return Next::Wait,
                        Verdict::Yes => return Next::Step(device.clone(), operation.action),
                        Verdict::Ask(purpose) => {
                            if self.ask(now, device, purpose, operation, effects) {
                                asking = asking.or(Some(*rank));
                                break;
                            }
                        }
                        Verdict::No(reason) => {
                            operation.complain(format!("{device}: {reason}"));
                            operation.failed(device);
                            // What it could when it was tried, it cannot any more: no further round is for it.
                            operation.tried.remove(device);
                            break;
                        }
                    }
                }
            }
            if asking.is_some() {
                return Next::Wait;
            }
            // Those that failed on one node may do better on another.
            let untried = devices.iter().any(|(_, device)| {
                operation.tried.contains_key(device) && !self.candidates(device, operation).is_empty()
            });
            let Route::Any { through, again, until } = &mut operation.route else { return Next::Exhausted };
            if !untried || until.is_none_or(|until| until <= now) {
                return Next::Exhausted;
            }
            *again = true;
            through.retain(|device| !operation.tried.contains_key(device));
        }
    }

    /// Runs the present step if its time has come and its device is free; an error is the device and why nobody can run it.
    fn try_step(
        &mut self,
        now: Instant,
        number: u64,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> Result<(), (String, String)> {
        let Some(step) = operation.step.as_ref() else { return Ok(()) };
        if step.running.is_some() || step.not_before.is_some_and(|moment| now < moment) {
            return Ok(());
        }
        let id = step.device.clone();
        let Some(device) = self.config.devices.get(&id).cloned() else {
            return Err((id, "it was removed from the configuration".into()));
        };
        let goes_on = step.on.clone().filter(|on| step.started.is_some() && self.nodes.contains(on));
        let Some(on) = goes_on.or_else(|| self.candidates(&id, operation).into_iter().next()) else {
            return Err((id, "no node is left that could run it".into()));
        };
        if self.is_busy(&device) {
            if let Some(step) = operation.step.as_mut() {
                step.not_before = None;
            }
            return Ok(());
        }
        let name = self.operation_name(&device, step.action);
        let started = step.started.unwrap_or(now);
        let timeout = self.timeout(&device, name).saturating_sub(now - started).max(Duration::from_secs(1));
        effects.push(Effect::Event {
            severity: Severity::Info,
            kind: "fence-try",
            target: Some(operation.target.clone()),
            device: Some(id.clone()),
            took: None,
            text: format!("{on} runs {name} of {} with {id}", operation.target),
        });
        let target = operation.target.clone();
        let purpose = Purpose::Fence { operation: number, target: target.clone() };
        let call = self.run(now, &device, name, Some(&target), purpose, on.clone(), timeout, effects);
        if !operation.used.contains(&id) {
            operation.used.push(id);
        }
        if let Some(step) = operation.step.as_mut() {
            (step.running, step.started, step.on, step.not_before) = (Some(call), Some(started), Some(on), None);
        }
        Ok(())
    }

    /// Until when a device waits. What the request asks for counts for the first device only.
    fn delay(&mut self, now: Instant, operation: &mut Operation, device: &str, action: Action) -> Option<Instant> {
        let asked = operation.delay?;
        operation.delay = Some(Duration::ZERO);
        let (least, most) = match self.config.devices.get(device) {
            Some(device) if action != Action::On => device.delay(&operation.target),
            _ => (Duration::ZERO, Duration::ZERO),
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let drawn = if most > least { self.random.between(millis(least), millis(most)) } else { millis(least) };
        let delay = asked + Duration::from_millis(drawn);
        (!delay.is_zero()).then_some(now + delay)
    }
}

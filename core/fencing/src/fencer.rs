//! The state machine: requests come in, agents are run, answers go out.

use crate::agent::{self, Metadata};
use crate::config::{Configuration, Device, HostCheck};
use crate::core_types::{Action, Effect, Failure, Fenced, HistoryEntry, Input, Request, Run};
use crate::operation::{Half, Operation, Progress, Route, Step};
use hakudo_base::agent::{AgentName, AgentResult, ExecutionStatus};
use hakudo_base::{Instant, Random, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an answer of `list`, and a failure to get metadata, count.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long an agent may take for its metadata.
const METADATA_TIMEOUT: Duration = Duration::from_secs(20);
/// After some failures the next try waits this long, then twice as long, up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
    failures: BTreeMap<String, Failures>,
}

/// What is known of an agent.
#[derive(Debug)]
enum Known {
    Asked { tried: BTreeSet<String> },
    Metadata(Metadata),
    Failed { at: Instant },
}

/// The newest answer of a device's `list`.
#[derive(Debug, Default)]
struct List {
    hosts: Option<BTreeSet<String>>,
    at: Option<Instant>,
    failure: Option<String>,
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

/// The failures of a target since something last changed.
#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
    gave_up: Option<GaveUp>,
}

#[derive(Debug)]
struct GaveUp {
    reason: String,
    until: Instant,
}

/// Whether a device can fence a target.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    No(String),
    /// That must be asked first.
    Ask(Purpose),
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
            Input::NodeLost { name } => {
                let nodes = self.nodes.iter().filter(|node| **node != name).cloned().collect();
                let monitored = std::mem::take(&mut self.monitored);
                self.set_members(now, nodes, monitored, effects);
            }
            Input::Fence(request) => self.request(now, request, effects),
            Input::Confirm { target, user } => self.confirm(now, &target, &user, effects),
            Input::Result(result) => self.result(now, &result, effects),
        }
        self.time_passed(now, effects);
        self.learn_agents(now, effects);
        self.progress(now, effects);
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

    /// Targets that could not be fenced, with the reason, for people.
    pub fn unfenced(&self) -> impl Iterator<Item = (&str, &str)> {
        self.failures.iter().filter_map(|(target, f)| f.gave_up.as_ref().map(|g| (target.as_str(), g.reason.as_str())))
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
            self.agents.retain(|_, known| !matches!(known, Known::Failed { .. }));
            self.forgive(effects);
        }
    }

    /// Something changed: what could not be fenced may be tried again.
    fn forgive(&mut self, effects: &mut Vec<Effect>) {
        for (target, failures) in std::mem::take(&mut self.failures) {
            if failures.gave_up.is_some() {
                effects.push(Effect::MayTryAgain { target });
            }
        }
    }

    fn request(&mut self, now: Instant, request: Request, effects: &mut Vec<Effect>) {
        let same = |operation: &&mut Operation| {
            operation.target == request.target && operation.action == request.action && !operation.is_answered()
        };
        if let Some(operation) = self.operations.values_mut().find(same) {
            operation.requests.push(request);
            return;
        }
        let failures = self.failures.get(&request.target).filter(|_| request.action != Action::On);
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

    fn confirm(&mut self, now: Instant, target: &str, user: &str, effects: &mut Vec<Effect>) {
        let settled = |o: &Operation| o.target == target && o.action != Action::On && !o.is_answered();
        let numbers: Vec<u64> = self.operations.iter().filter(|(_, o)| settled(o)).map(|(number, _)| *number).collect();
        effects.push(Effect::Event {
            severity: Severity::Warning,
            kind: "fenced",
            target: Some(target.to_owned()),
            device: None,
            took: None,
            text: format!("{user} says that {target} is down and runs nothing: it counts as fenced"),
        });
        for number in numbers {
            if let Some(mut operation) = self.operations.remove(&number) {
                operation.done.clear();
                operation.by = Some(user.to_owned());
                self.answer(now, &mut operation, None, effects);
            }
        }
        if self.failures.remove(target).is_some_and(|failures| failures.gave_up.is_some()) {
            effects.push(Effect::MayTryAgain { target: target.to_owned() });
        }
    }

    /// Ends what the time has ended.
    fn time_passed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let silent: Vec<u64> = self.calls.iter().filter(|(_, call)| call.until <= now).map(|(n, _)| *n).collect();
        for call in silent {
            let reason = "nothing was heard of it, not even that it took too long";
            self.result(now, &no_answer(call, ExecutionStatus::Timeout, reason), effects);
        }
        let over = |failures: &Failures| failures.gave_up.as_ref().is_some_and(|gave_up| gave_up.until <= now);
        let again: Vec<String> = self.failures.iter().filter(|(_, f)| over(f)).map(|(t, _)| t.clone()).collect();
        for target in again {
            self.failures.remove(&target);
            effects.push(Effect::MayTryAgain { target });
        }
    }

    fn result(&mut self, now: Instant, result: &AgentResult, effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.remove(&result.call) else { return };
        match call.purpose {
            Purpose::Metadata(agent) => self.metadata_answered(now, agent, &call.on, result),
            Purpose::List => self.list_answered(now, call.device, result),
            Purpose::Status { operation } => {
                if let Some(operation) = self.operations.get_mut(&operation) {
                    operation.statuses.insert(call.device, agent::status_knows(result));
                }
            }
            Purpose::Fence { operation, .. } => {
                if let Some(mut fencing) = self.operations.remove(&operation)
                    && self.fence_answered(now, &mut fencing, &call.on, result, effects)
                {
                    self.operations.insert(operation, fencing);
                }
            }
        }
    }

    fn metadata_answered(&mut self, now: Instant, agent: AgentName, on: &str, result: &AgentResult) {
        let known = match (agent::succeeded(result), self.agents.remove(&agent)) {
            (true, _) => match Metadata::parse(&result.output) {
                Ok(metadata) => Known::Metadata(metadata),
                Err(_) => Known::Failed { at: now },
            },
            (false, Some(Known::Asked { mut tried })) if agent::could_not_run(result) => {
                tried.insert(on.to_owned());
                Known::Asked { tried }
            }
            (false, _) => Known::Failed { at: now },
        };
        self.agents.insert(agent, known);
    }

    fn list_answered(&mut self, now: Instant, device: String, result: &AgentResult) {
        for operation in self.operations.values_mut() {
            operation.lists_asked.insert(device.clone());
        }
        let list = self.lists.entry(device).or_default();
        if agent::succeeded(result) {
            *list = List { hosts: Some(agent::listed(&result.output)), at: Some(now), failure: None };
        } else {
            list.failure = Some(agent::complaint(result));
        }
    }

    /// Returns whether the operation goes on.
    fn fence_answered(
        &mut self,
        now: Instant,
        operation: &mut Operation,
        on: &str,
        result: &AgentResult,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(step) = operation.step.as_mut() else { return true };
        step.running = None;
        if agent::succeeded(result) {
            return match operation.succeeded() {
                Progress::More => true,
                Progress::Fenced => {
                    self.answer(now, operation, None, effects);
                    true
                }
                Progress::Finished => {
                    self.answer(now, operation, None, effects);
                    false
                }
            };
        }
        let complaint = format!("{} on {on}: {}", step.device, agent::complaint(result));
        effects.push(Effect::Event {
            severity: Severity::Warning,
            kind: "fence-failed",
            target: Some(operation.target.clone()),
            device: Some(step.device.clone()),
            took: Some(Duration::from_millis(result.exec_time_ms)),
            text: format!("{} of {} failed: {complaint}", step.action, operation.target),
        });
        step.tries += 1;
        let (device, action) = (step.device.clone(), step.action);
        let cannot_run = agent::could_not_run(result);
        let time = self.config.devices.get(&device).map(|device| {
            let name = self.operation_name(device, action);
            (device.tries(name), self.timeout(device, name))
        });
        // As Pacemaker: another run only if a good part of the time is left.
        let again = !cannot_run
            && result.status != ExecutionStatus::Timeout
            && time.is_some_and(|(tries, timeout)| {
                step.tries < tries && step.started.is_some_and(|started| (now - started) * 10 < timeout * 7)
            });
        if again {
            return true;
        }
        (step.tries, step.started) = (0, None);
        operation.complain(complaint);
        operation.tried.entry(device.clone()).or_default().insert(on.to_owned());
        if !cannot_run {
            operation.failed(&device);
        }
        true
    }

    /// Asks agents for their metadata as soon as they are known, so that nothing need be asked when it matters.
    fn learn_agents(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let devices: Vec<Device> = self.config.devices.values().cloned().collect();
        for device in devices {
            let tried = match self.agents.get(&device.agent) {
                None => BTreeSet::new(),
                Some(Known::Asked { tried }) => tried.clone(),
                Some(_) => continue,
            };
            let purpose = Purpose::Metadata(device.agent.clone());
            if self.is_asked(&purpose, &device.id) || self.nodes.is_empty() {
                continue;
            }
            let Some(on) = self.node_for(&device, None, &tried) else {
                self.agents.insert(device.agent.clone(), Known::Failed { at: now });
                continue;
            };
            self.agents.insert(device.agent.clone(), Known::Asked { tried });
            self.run(now, &device, "metadata", None, purpose, on, METADATA_TIMEOUT, effects);
        }
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

    /// Whether a device can fence the target of an operation.
    fn verdict(&self, now: Instant, number: u64, id: &str, action: Action, operation: &Operation) -> Verdict {
        let Some(device) = self.config.devices.get(id) else {
            let why = self.config.disabled.get(id).map_or("there is no such device", String::as_str);
            return Verdict::No(why.to_owned());
        };
        let metadata = match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) => Some(metadata),
            Some(Known::Failed { .. }) => None,
            _ => return Verdict::Ask(Purpose::Metadata(device.agent.clone())),
        };
        let supports = |name| metadata.is_some_and(|metadata| metadata.supports(name));
        if action == Action::On && metadata.is_some() && !supports("on") {
            return Verdict::No("its agent cannot switch on".into());
        }
        let list = self.lists.get(id);
        let failed_list = list.filter(|list| list.hosts.is_none()).and_then(|list| list.failure.as_ref());
        let check = match device.check {
            Some(check) => check,
            None if device.has_list() => HostCheck::StaticList,
            None if supports("list") && failed_list.is_none() => HostCheck::DynamicList,
            None if supports("status") => HostCheck::Status,
            None => HostCheck::None,
        };
        let target = operation.target.as_str();
        match check {
            HostCheck::None => Verdict::Yes,
            HostCheck::StaticList => {
                let named =
                    device.port(target).is_some() || device.hosts.iter().any(|h| h.eq_ignore_ascii_case(target));
                if named {
                    Verdict::Yes
                } else {
                    Verdict::No(format!("its pcmk_host_list and pcmk_host_map do not name {target}"))
                }
            }
            HostCheck::DynamicList => {
                let fresh = list.and_then(|list| list.at).is_some_and(|at| now - at < REMEMBERED);
                if !fresh && !operation.lists_asked.contains(id) {
                    return Verdict::Ask(Purpose::List);
                }
                let name = device.port(target).unwrap_or(target).to_ascii_lowercase();
                match list.and_then(|list| list.hosts.as_ref()) {
                    Some(hosts) if hosts.contains(&name) => Verdict::Yes,
                    Some(_) => Verdict::No(format!("its list does not name {name}")),
                    None => {
                        let why = list.and_then(|list| list.failure.as_deref()).unwrap_or("it could not be asked");
                        Verdict::No(format!("its list failed: {why}"))
                    }
                }
            }
            HostCheck::Status => match operation.statuses.get(id) {
                Some(Ok(true)) => Verdict::Yes,
                Some(Ok(false)) => Verdict::No(format!("its status does not know {target}")),
                Some(Err(why)) => Verdict::No(format!("its status failed: {why}")),
                None => Verdict::Ask(Purpose::Status { operation: number }),
            },
        }
    }

    /// Asks what a verdict depends on. Returns whether there is something to wait for; else the verdict is another now.
    fn ask(
        &mut self,
        now: Instant,
        id: &str,
        purpose: Purpose,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if self.is_asked(&purpose, id) {
            return true;
        }
        let Some(device) = self.config.devices.get(id).cloned() else { return false };
        let (name, target) = match &purpose {
            Purpose::Metadata(agent) => {
                // It is asked in any case, if there is anybody to ask.
                self.learn_agents(now, effects);
                if !self.is_asked(&purpose, id) {
                    self.agents.insert(agent.clone(), Known::Failed { at: now });
                    return false;
                }
                return true;
            }
            Purpose::List => ("list", None),
            _ => ("status", Some(operation.target.as_str())),
        };
        let on = self.node_for(&device, Some(&operation.target), &BTreeSet::new());
        let Some(on) = on else {
            let why = "no node is left that could ask".to_owned();
            if purpose == Purpose::List {
                operation.lists_asked.insert(id.to_owned());
                self.lists.entry(id.to_owned()).or_default().failure = Some(why);
            } else {
                operation.statuses.insert(id.to_owned(), Err(why));
            }
            return false;
        };
        if self.is_busy(&device) {
            return true;
        }
        let timeout = self.timeout(&device, name);
        self.run(now, &device, name, target, purpose, on, timeout, effects);
        true
    }

    fn is_asked(&self, purpose: &Purpose, device: &str) -> bool {
        self.calls.values().any(|call| match (&call.purpose, purpose) {
            (Purpose::Metadata(asked), Purpose::Metadata(wanted)) => asked == wanted,
            (asked, wanted) => asked == wanted && call.device == device,
        })
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

    /// The nodes that may run a device for an operation, best first: those where its monitor runs, then the others. A target
    /// runs its own fencing only if nobody else is left.
    fn candidates(&self, id: &str, operation: &Operation) -> Vec<String> {
        let Some(device) = self.config.devices.get(id) else { return Vec::new() };
        let action = operation.step.as_ref().map_or(operation.action, |step| step.action);
        let name = self.operation_name(device, action);
        let target = operation.target.as_str();
        let free = |node: &&String| !operation.has_tried(id, node);
        let on_target = match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) => metadata.is_on_target(name),
            _ => false,
        };
        let alone = self.nodes.iter().all(|node| node == target);
        if on_target || (alone && operation.action != Action::On) {
            return self.nodes.get(target).into_iter().filter(free).cloned().collect();
        }
        let monitored = self.monitored.get(id);
        let mut nodes: Vec<&String> = self.nodes.iter().filter(|node| *node != target).filter(free).collect();
        nodes.sort_by_key(|node| Some(*node) != monitored);
        nodes.into_iter().cloned().collect()
    }

    /// A node to ask something of a device, best the one where its monitor runs, and the target only if nobody else is left.
    fn node_for(&self, device: &Device, target: Option<&str>, tried: &BTreeSet<String>) -> Option<String> {
        let monitored = self.monitored.get(&device.id);
        let key = |node: &&String| (Some(node.as_str()) == target, Some(*node) != monitored);
        self.nodes.iter().filter(|node| !tried.contains(*node)).min_by_key(key).cloned()
    }

    /// `pcmk_action_limit` is reached.
    fn is_busy(&self, device: &Device) -> bool {
        let counts = |call: &&Call| call.device == device.id && !matches!(call.purpose, Purpose::Metadata(_));
        device.limit.is_some_and(|limit| self.calls.values().filter(counts).count() >= limit)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing, and there is no smaller whole among them"
    )]
    fn run(
        &mut self,
        now: Instant,
        device: &Device,
        operation: &str,
        target: Option<&str>,
        purpose: Purpose,
        on: String,
        timeout: Duration,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        let call = self.next_call;
        self.next_call += 1;
        let metadata = match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) => Some(metadata),
            _ => None,
        };
        let parameters = match purpose {
            Purpose::Metadata(_) => BTreeMap::new(),
            _ => agent::parameters(device, metadata, target),
        };
        effects.push(Effect::Run(Run {
            call,
            on: on.clone(),
            device: device.id.clone(),
            agent: device.agent.clone(),
            operation: operation.to_owned(),
            target: target.map(str::to_owned),
            parameters,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        }));
        // The executor stops it in time. Where not even that is heard, something is wrong with the node.
        let until = now + timeout + timeout / 5 + Duration::from_secs(2);
        self.calls.insert(call, Call { purpose, on, device: device.id.clone(), until });
        call
    }

    /// `reboot` is `off` for an agent that knows no reboot.
    fn operation_name(&self, device: &Device, action: Action) -> &'static str {
        match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) if action == Action::Reboot && !metadata.supports("reboot") => "off",
            _ => action.name(),
        }
    }

    fn timeout(&self, device: &Device, operation: &str) -> Duration {
        device.timeout(operation).unwrap_or(self.config.timeout)
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

    /// What is to be said of an operation that failed, and whether it is given up.
    fn give_reason(&mut self, now: Instant, operation: &Operation) -> Failure {
        let (target, action) = (&operation.target, operation.action);
        let mut complaints = operation.complaints.clone();
        let what_to_do = "configure a device for it, or confirm that it is down";
        let reason = if operation.used.is_empty() {
            let disabled = self.config.disabled.iter().map(|(device, why)| format!("{device}: {why}"));
            complaints.extend(disabled);
            if complaints.is_empty() {
                complaints.push("none is configured".into());
            }
            format!("no fence device can fence {target}: {}; {what_to_do}", complaints.join("; "))
        } else {
            format!("{action} of {target} failed: {}", complaints.join("; "))
        };
        if action == Action::On {
            // That a node cannot be switched on says nothing of whether it can be switched off.
            return Failure { reason, gave_up: operation.used.is_empty() };
        }
        let failures = self.failures.entry(target.clone()).or_insert(Failures { count: 0, last: now, gave_up: None });
        failures.count += 1;
        failures.last = now;
        let too_many = self.config.attempts.is_some_and(|most| failures.count >= most);
        if !operation.used.is_empty() && !too_many {
            return Failure { reason, gave_up: false };
        }
        let reason = if operation.used.is_empty() {
            reason
        } else {
            format!(
                "{reason}; that was attempt {} (fencing-max-attempts), mend the device or confirm that it is down",
                failures.count
            )
        };
        failures.gave_up = Some(GaveUp { reason: reason.clone(), until: now + self.config.recheck });
        Failure { reason, gave_up: true }
    }

    /// Answers all requests of an operation.
    fn answer(&mut self, now: Instant, operation: &mut Operation, failure: Option<Failure>, effects: &mut Vec<Effect>) {
        let requests = std::mem::take(&mut operation.requests);
        if requests.is_empty() {
            return;
        }
        let (target, action) = (operation.target.clone(), operation.action);
        let took = operation.began.map(|began| now - began).unwrap_or_default();
        let by = operation.by.clone();
        let text = match &failure {
            None => format!(
                "{target} was fenced ({action}) by {} with {}",
                by.as_deref().unwrap_or("nobody"),
                if operation.done.is_empty() { "their word".to_owned() } else { operation.done.join(", ") }
            ),
            Some(failure) => failure.reason.clone(),
        };
        effects.push(Effect::Event {
            severity: if failure.is_none() { Severity::Info } else { Severity::Error },
            kind: if failure.is_none() { "fenced" } else { "fence-failed" },
            target: Some(target.clone()),
            device: None,
            took: Some(took),
            text,
        });
        effects.push(Effect::History(HistoryEntry {
            target: target.clone(),
            action,
            devices: if failure.is_none() { operation.done.clone() } else { operation.used.clone() },
            by: by.clone().filter(|_| failure.is_none()),
            user: requests.iter().find_map(|request| request.user.clone()),
            failure: failure.as_ref().map(|failure| failure.reason.clone()),
            took,
        }));
        if failure.is_none() && action != Action::On {
            self.failures.remove(&target);
        }
        for request in requests {
            let result = match &failure {
                Some(failure) => Err(failure.clone()),
                None => Ok(Fenced { devices: operation.done.clone(), by: by.clone().unwrap_or_default(), took }),
            };
            effects.push(Effect::Done { id: request.id, target: target.clone(), action, result });
        }
    }
}

impl Failures {
    /// How long the next try waits: not at all after the first failure.
    fn pause(&self) -> Duration {
        match self.count {
            0 | 1 => Duration::ZERO,
            count => SHORTEST_PAUSE.saturating_mul(1 << (count - 2).min(10)).min(LONGEST_PAUSE),
        }
    }
}

/// A result made here, where none will come.
fn no_answer(call: u64, status: ExecutionStatus, reason: &str) -> AgentResult {
    AgentResult {
        call,
        status,
        exit_code: hakudo_base::agent::exit_code::ERROR,
        exit_reason: reason.to_owned(),
        output: String::new(),
        exec_time_ms: 0,
        queue_time_ms: 0,
        finished: 0,
    }
}

//! The simulated executor of a node: which call runs when, and what is remembered. It follows the rules of the real one —
//! one operation at a time for a resource, recurring operations report changes, calls of older views are refused — in the
//! simplest way, and leaves to the world what an agent does.

use crate::whole::GuardHost;
use hakudo_base::agent::{AgentCall, AgentResult, ExecutionStatus, Known, exit_code};
use hakudo_guard::Order as GuardOrder;
use std::collections::{BTreeMap, VecDeque};

/// What a node asks of its executor.
#[derive(Debug)]
pub(crate) enum Order {
    Execute(AgentCall, Vec<u8>),
    Cancel { call: u64, epoch: u64 },
    Remember(Vec<u8>),
    Forget(String),
    Guard(GuardOrder),
}

/// What the executor wants.
#[derive(Debug)]
pub(crate) enum Doing {
    /// Run the agent now.
    Run(AgentCall),
    /// Come back to this call after so many milliseconds.
    Later(u64, u64),
    /// Tell the node.
    Report(AgentResult),
    /// End the run of this call early.
    Terminate(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    /// Runs, but its outcome counts no more.
    Ending,
    Over,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    state: State,
    /// The executor itself wants it: nothing cancels it.
    insisted: bool,
}

/// The memory of an executor. It is gone when the executor dies.
#[derive(Debug, Default)]
pub(crate) struct Executor {
    newest_epoch: u64,
    entries: BTreeMap<u64, Entry>,
    queues: BTreeMap<String, VecDeque<u64>>,
    /// What the node gave to be kept.
    memory: Vec<u8>,
    /// What ends leases, where the cluster is a site of a group.
    pub(crate) guard: Option<Box<GuardHost>>,
}

impl Executor {
    /// What is remembered, oldest call first.
    pub(crate) fn known(&self) -> Vec<Known> {
        self.entries.values().filter(|entry| entry.state != State::Ending).map(|entry| entry.known.clone()).collect()
    }

    /// The least number that a call may have.
    pub(crate) fn first_call(&self) -> u64 {
        self.guard.as_ref().map_or(0, |guard| guard.first_call())
    }

    /// What the node gave to be kept, if anything.
    pub(crate) fn memory(&self) -> Option<Vec<u8>> {
        Some(self.memory.clone()).filter(|memory| !memory.is_empty())
    }

    /// Takes an order.
    pub(crate) fn obey(&mut self, order: Order) -> Vec<Doing> {
        match order {
            Order::Execute(call, note) => self.execute(call, note),
            Order::Cancel { call, epoch } => self.cancel(call, epoch),
            Order::Remember(memory) => {
                self.memory = memory;
                Vec::new()
            }
            Order::Forget(resource) => self.forget(&resource),
            // Whoever passes orders on gives these to the guard.
            Order::Guard(_) => Vec::new(),
        }
    }

    /// What was seen of epochs is forgotten: the next order is taken, whatever its epoch.
    pub(crate) fn forget_epochs(&mut self) {
        self.newest_epoch = 0;
    }

    fn accepts(&mut self, epoch: u64) -> bool {
        self.newest_epoch = self.newest_epoch.max(epoch);
        epoch >= self.newest_epoch
    }

    fn execute(&mut self, call: AgentCall, note: Vec<u8>) -> Vec<Doing> {
        let (number, delay) = (call.call, call.start_delay_ms);
        if !self.accepts(call.epoch) {
            let reason =
                format!("refused: asked for in epoch {}, but epoch {} was seen", call.epoch, self.newest_epoch);
            return vec![Doing::Report(not_run(number, ExecutionStatus::Refused, reason))];
        }
        if self.entries.get(&number).is_some_and(|entry| entry.state != State::Over) {
            return vec![Doing::Report(not_run(number, ExecutionStatus::Invalid, "refused: the call is known".into()))];
        }
        let replaces = |old: &AgentCall| {
            old.resource == call.resource
                && old.interval_ms > 0
                && match call.interval_ms {
                    0 => !matches!(
                        call.operation.as_str(),
                        "monitor" | "notify" | "off" | "on" | "reboot" | "status" | "list"
                    ),
                    interval => old.operation == call.operation && old.interval_ms == interval,
                }
        };
        let replaced: Vec<u64> = self
            .entries
            .values()
            .map(|entry| &entry.known.call)
            .filter(|old| replaces(old))
            .map(|old| old.call)
            .collect();
        let mut doing: Vec<Doing> = replaced.into_iter().filter_map(|old| self.end(old)).collect();
        let fence = call.agent.class == "stonith" && matches!(call.operation.as_str(), "off" | "on" | "reboot");
        let state = if fence { State::Running } else { State::Waiting };
        let known = Known { call: call.clone(), note, result: None };
        self.entries.insert(number, Entry { known, state, insisted: false });
        if fence {
            doing.push(Doing::Run(call));
        } else if delay > 0 {
            doing.push(Doing::Later(number, delay));
        } else {
            doing.extend(self.due(number));
        }
        doing
    }

    /// A call that waited for its time wants to run.
    pub(crate) fn due(&mut self, number: u64) -> Vec<Doing> {
        let Some(entry) = self.entries.get(&number).filter(|entry| entry.state == State::Waiting) else {
            return Vec::new();
        };
        let resource = entry.known.call.resource.clone();
        let queue = self.queues.entry(resource.clone()).or_default();
        queue.push_back(number);
        if queue.len() > 1 { Vec::new() } else { self.run_next(&resource) }
    }

    /// The head of the queue is what runs; whoever was taken from `entries` meanwhile is passed over.
    fn run_next(&mut self, resource: &str) -> Vec<Doing> {
        while let Some(queue) = self.queues.get_mut(resource) {
            let Some(number) = queue.front() else {
                self.queues.remove(resource);
                break;
            };
            match self.entries.get_mut(number).filter(|entry| entry.state == State::Waiting) {
                Some(entry) => {
                    entry.state = State::Running;
                    return vec![Doing::Run(entry.known.call.clone())];
                }
                None => queue.pop_front(),
            };
        }
        Vec::new()
    }

    fn cancel(&mut self, number: u64, epoch: u64) -> Vec<Doing> {
        if self.accepts(epoch) { self.end(number).into_iter().collect() } else { Vec::new() }
    }

    fn end(&mut self, number: u64) -> Option<Doing> {
        let entry = self.entries.get_mut(&number).filter(|entry| !entry.insisted)?;
        match entry.state {
            State::Waiting => {
                self.entries.remove(&number);
                Some(Doing::Report(not_run(number, ExecutionStatus::Cancelled, String::new())))
            }
            State::Running if entry.known.call.interval_ms > 0 => {
                entry.state = State::Ending;
                None
            }
            State::Running | State::Ending | State::Over => None,
        }
    }

    fn forget(&mut self, resource: &str) -> Vec<Doing> {
        let of_it = |entry: &&Entry| entry.known.call.resource == resource;
        let numbers: Vec<u64> = self.entries.values().filter(of_it).map(|entry| entry.known.call.call).collect();
        let mut doing = Vec::new();
        for number in numbers {
            doing.extend(self.end(number));
            if self.entries.get(&number).is_some_and(|entry| entry.state == State::Over) {
                self.entries.remove(&number);
            }
        }
        doing
    }

    /// Of the executor itself: this must be done whoever asks, and soon.
    pub(crate) fn insist(&mut self, mut call: AgentCall, note: Vec<u8>) -> Vec<Doing> {
        let mut doing = self.make_way(&call.resource);
        let number = call.call;
        call.epoch = self.newest_epoch;
        doing.extend(self.execute(call, note));
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.insisted = true;
        }
        doing
    }

    /// Of the executor itself: this resource will have to stop. What waits does not begin any more, and what runs is ended
    /// early, except stops and demotions.
    pub(crate) fn make_way(&mut self, resource: &str) -> Vec<Doing> {
        let ends = |entry: &&Entry| {
            entry.known.call.resource == resource && !takes_away(&entry.known.call) && entry.state != State::Over
        };
        let numbers: Vec<u64> = self.entries.values().filter(ends).map(|entry| entry.known.call.call).collect();
        let mut doing = Vec::new();
        for number in numbers {
            doing.extend(self.end(number));
            if self.entries.get(&number).is_some_and(|entry| matches!(entry.state, State::Running | State::Ending)) {
                doing.push(Doing::Terminate(number));
            }
        }
        doing
    }

    /// The call of this number, as long as it runs.
    pub(crate) fn running(&self, number: u64) -> Option<&AgentCall> {
        let runs = |entry: &&Entry| matches!(entry.state, State::Running | State::Ending);
        self.entries.get(&number).filter(runs).map(|entry| &entry.known.call)
    }

    /// What the executor insists on, and a node's own call has just done, is not done again.
    fn fulfil(&mut self, done: &AgentCall, result: &AgentResult) -> Vec<Doing> {
        let mut doing = Vec::new();
        let same = |call: &AgentCall| call.resource == done.resource && call.operation == done.operation;
        let waits = |entry: &&mut Entry| entry.insisted && entry.state == State::Waiting && same(&entry.known.call);
        for entry in self.entries.values_mut().filter(waits) {
            let result = AgentResult { call: entry.known.call.call, ..result.clone() };
            (entry.state, entry.known.result) = (State::Over, Some(result.clone()));
            doing.push(Doing::Report(result));
        }
        doing
    }

    /// An agent ended.
    pub(crate) fn ended(&mut self, mut result: AgentResult) -> Vec<Doing> {
        let number = result.call;
        let Some(entry) = self.entries.get_mut(&number) else { return Vec::new() };
        let (call, mut doing) = (entry.known.call.clone(), Vec::new());
        let entry_result = result.clone();
        let before = entry.known.result.replace(result.clone());
        if entry.state == State::Ending {
            result.status = ExecutionStatus::Cancelled;
            self.entries.remove(&number);
            doing.push(Doing::Report(result));
        } else {
            if before.is_none_or(|old| (old.status, old.exit_code) != (result.status, result.exit_code)) {
                doing.push(Doing::Report(result));
            }
            if call.interval_ms > 0 {
                entry.state = State::Waiting;
                doing.push(Doing::Later(number, call.interval_ms));
            } else {
                entry.state = State::Over;
                self.entries.retain(|other, entry| {
                    let old = &entry.known.call;
                    *other == number
                        || entry.state != State::Over
                        || old.resource != call.resource
                        || old.operation != call.operation
                });
            }
        }
        if takes_away(&call) && result_is_good(&entry_result) {
            doing.extend(self.fulfil(&call, &entry_result));
        }
        if let Some(queue) = self.queues.get_mut(&call.resource)
            && queue.front() == Some(&number)
        {
            queue.pop_front();
            doing.extend(self.run_next(&call.resource));
        }
        doing
    }
}

fn takes_away(call: &AgentCall) -> bool {
    matches!(call.operation.as_str(), "stop" | "demote")
}

fn result_is_good(result: &AgentResult) -> bool {
    result.status == ExecutionStatus::Done && result.exit_code == exit_code::OK
}

pub(crate) fn not_run(call: u64, status: ExecutionStatus, exit_reason: String) -> AgentResult {
    AgentResult { exit_reason, ..AgentResult::new(call, status, exit_code::UNKNOWN) }
}

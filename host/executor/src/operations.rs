//! Which call runs when: the part of the executor that decides, as a machine without clock or process.
//!
//! - One resource's operations run one after the other, in the order in which they were asked for.
//! - At most `limit` agents run at once; resources take turns. Looks at a resource, and what takes it away (stop, demote),
//!   need no place: others wait for them, and a stop that comes too late costs its node. For who asked counts the time from
//!   the order on, so nothing else waits for a place longer than [`LONGEST_WAIT`] either: the limit spreads a burst, and
//!   agents that take long do not make others fail.
//! - A recurring operation runs again `interval` after the end of its last run. Its first outcome is reported, then only
//!   a different one.
//! - An operation that changes a resource ends what recurs of it (Pacemaker's controller does the same before it starts
//!   anything but a monitor or a notification): the scheduler asks for the monitors of the new state.
//! - A fence action goes before everything else of its device and needs no free place, because a cluster waits for it;
//!   a monitor of the device that happens to run gives way and runs again later.
//! - A call in the name of an older view than the newest seen is refused: its sender has been left behind.
//! - What the executor itself insists on, and is under way already in the same form, is not done a second time: if that one
//!   ends well, both have.
//!
//! Everything that was asked for and not cancelled is remembered with its newest result, until a newer call of the same
//! operation ends or the resource is forgotten.

use hakudo_base::Instant;
use hakudo_base::agent::{AgentCall, AgentResult, ExecutionStatus, Known, exit_code};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long a call waits for a free place at most. Well below what is granted for the way of an order on top of its timeout
/// (the cluster option `cluster-delay`, 60 s by default).
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What the machine is told.
#[derive(Debug)]
pub(crate) enum Input {
    Execute {
        call: AgentCall,
        note: Vec<u8>,
    },
    /// Of the executor itself: what is to be stopped whoever asks, and soon. Nothing cancels it, and nothing else of the
    /// resource keeps it back. One that was asked for before, and is under way, counts for it if it ends well.
    Insist {
        call: AgentCall,
        note: Vec<u8>,
    },
    /// Of the executor itself: this resource will have to stop. What waits does not begin any more, and what runs is ended
    /// early, except stops and demotions.
    MakeWay {
        resource: String,
    },
    Cancel {
        call: u64,
        epoch: u64,
    },
    Forget {
        resource: String,
    },
    /// The run of a call ended; the result's queue time is filled in here.
    Ended {
        result: AgentResult,
    },
    /// The deadline has come.
    Timer,
}

/// What the machine asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Run the agent; answered by [`Input::Ended`]. `active` is whether the resource was started here and not stopped
    /// since, as far as is remembered.
    Run { call: AgentCall, active: bool },
    /// End the run of this call early; it still ends with [`Input::Ended`].
    Terminate { call: u64 },
    /// Tell the client.
    Report(AgentResult),
}

#[derive(Debug)]
pub(crate) struct Operations {
    limit: usize,
    /// How many calls run that need a place.
    places_taken: usize,
    newest_epoch: u64,
    /// Seconds since 1970, for results that are made here.
    calendar: i64,
    calls: BTreeMap<u64, Entry>,
    resources: BTreeMap<String, Resource>,
    /// Resources with a call that may run as soon as there is a place, and since when.
    waiting: VecDeque<(Instant, String)>,
    timers: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Entry {
    call: AgentCall,
    note: Vec<u8>,
    result: Option<AgentResult>,
    state: State,
    /// See [`Input::Insist`].
    insisted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A timer will queue it.
    Until(Instant),
    Queued {
        since: Instant,
    },
    Running {
        queued: Duration,
        fate: Fate,
    },
    /// It has run, and will not again.
    Over,
}

/// What becomes of the outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Reported,
    /// Reported and not remembered.
    Forgotten,
    /// The run was ended early and is reported as cancelled.
    Cancelled,
    /// The run was ended early to let a fence action go first.
    RunAgain,
}

#[derive(Debug, Default)]
struct Resource {
    calls: BTreeSet<u64>,
    queue: VecDeque<u64>,
    running: BTreeSet<u64>,
    /// Listed in [`Operations::waiting`].
    waiting: bool,
    /// The last start or stop that ended well was a start.
    active: bool,
}

impl Operations {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            places_taken: 0,
            newest_epoch: 0,
            calendar: 0,
            calls: BTreeMap::new(),
            resources: BTreeMap::new(),
            waiting: VecDeque::new(),
            timers: BTreeSet::new(),
        }
    }

    pub(crate) fn newest_epoch(&self) -> u64 {
        self.newest_epoch
    }

    /// When [`Input::Timer`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.timers.first().map(|&(at, _)| at);
        let waited_long = self.waiting.front().map(|&(since, _)| since + LONGEST_WAIT);
        due.into_iter().chain(waited_long).min()
    }

    /// What is remembered, oldest call first.
    pub(crate) fn known(&self) -> Vec<Known> {
        let remembered =
            |entry: &&Entry| !matches!(entry.state, State::Running { fate: Fate::Cancelled | Fate::Forgotten, .. });
        let known =
            |entry: &Entry| Known { call: entry.call.clone(), note: entry.note.clone(), result: entry.result.clone() };
        self.calls.values().filter(remembered).map(known).collect()
    }

    /// `calendar` is the time in seconds since 1970.
    pub(crate) fn handle(&mut self, now: Instant, calendar: i64, input: Input, effects: &mut Vec<Effect>) {
        self.calendar = calendar;
        match input {
            Input::Execute { call, note } => self.execute(now, call, note, effects),
            Input::Insist { call, note } => self.insist(now, call, note, effects),
            Input::MakeWay { resource } => self.make_way(&resource, effects),
            Input::Cancel { call, epoch } => {
                if self.accept(epoch) {
                    self.cancel(call, effects);
                }
            }
            Input::Forget { resource } => self.forget(&resource, effects),
            Input::Ended { result } => self.ended(now, result, effects),
            Input::Timer => self.queue_what_is_due(now, effects),
        }
        self.fill_free_places(now, effects);
    }

    /// The node is in a view of this epoch now: what was asked before in the name of an older one comes too late.
    pub(crate) fn hear_epoch(&mut self, epoch: u64) {
        self.newest_epoch = self.newest_epoch.max(epoch);
    }

    fn accept(&mut self, epoch: u64) -> bool {
        self.hear_epoch(epoch);
        epoch >= self.newest_epoch
    }

    fn execute(&mut self, now: Instant, call: AgentCall, note: Vec<u8>, effects: &mut Vec<Effect>) {
        if !self.accept(call.epoch) {
            let reason =
                format!("refused: asked for in epoch {}, but epoch {} was seen", call.epoch, self.newest_epoch);
            effects.push(Effect::Report(self.not_run(call.call, ExecutionStatus::Refused, reason)));
            return;
        }
        match self.calls.get(&call.call) {
            Some(old) if old.state == State::Over => self.drop_entry(call.call),
            Some(old) => {
                let reason = format!("refused: call {} is {} of {}", call.call, old.call.operation, old.call.resource);
                effects.push(Effect::Report(self.not_run(call.call, ExecutionStatus::Invalid, reason)));
                return;
            }
            None => {}
        }
        for replaced in self.recurring_ended_by(&call) {
            self.cancel(replaced, effects);
        }
        let number = call.call;
        let state = match call.start_delay_ms {
            0 => State::Queued { since: now },
            delay => State::Until(now + Duration::from_millis(delay)),
        };
        self.resources.entry(call.resource.clone()).or_default().calls.insert(number);
        self.calls.insert(number, Entry { call, note, result: None, state, insisted: false });
        match state {
            State::Until(at) => {
                self.timers.insert((at, number));
            }
            _ => self.enqueue(now, number, effects),
        }
    }

    fn insist(&mut self, now: Instant, mut call: AgentCall, note: Vec<u8>, effects: &mut Vec<Effect>) {
        self.make_way(&call.resource, effects);
        let number = call.call;
        call.epoch = self.newest_epoch;
        self.execute(now, call, note, effects);
        if let Some(entry) = self.calls.get_mut(&number) {
            entry.insisted = true;
        }
    }

    fn make_way(&mut self, resource: &str, effects: &mut Vec<Effect>) {
        let ends = |entry: &&Entry| !takes_away(&entry.call) && entry.state != State::Over;
        let numbers: Vec<u64> = self.calls_of(resource).filter(ends).map(|entry| entry.call.call).collect();
        for number in numbers {
            self.cancel(number, effects);
            if let Some(Entry { state: State::Running { fate: Fate::Reported | Fate::Forgotten, .. }, .. }) =
                self.calls.get(&number)
            {
                effects.push(Effect::Terminate { call: number });
            }
        }
    }

    /// The recurring calls that must end before `call` takes its place.
    fn recurring_ended_by(&self, call: &AgentCall) -> Vec<u64> {
        let ends = |old: &AgentCall| {
            old.interval_ms > 0
                && match call.interval_ms {
                    0 => changes_the_resource(call),
                    interval => old.operation == call.operation && old.interval_ms == interval,
                }
        };
        self.calls_of(&call.resource).filter(|entry| ends(&entry.call)).map(|entry| entry.call.call).collect()
    }

    fn calls_of(&self, resource: &str) -> impl Iterator<Item = &Entry> {
        let numbers = self.resources.get(resource).into_iter().flat_map(|resource| &resource.calls);
        numbers.filter_map(|number| self.calls.get(number))
    }

    /// Ends a recurring call, or a call that has not begun.
    fn cancel(&mut self, number: u64, effects: &mut Vec<Effect>) {
        let Some(entry) = self.calls.get_mut(&number).filter(|entry| !entry.insisted) else { return };
        match &mut entry.state {
            State::Until(_) | State::Queued { .. } => {
                self.drop_entry(number);
                effects.push(Effect::Report(self.not_run(number, ExecutionStatus::Cancelled, String::new())));
            }
            // What was begun once is brought to its end: half a start is worse than a start.
            State::Running { .. } if entry.call.interval_ms == 0 => {}
            State::Running { fate: Fate::Cancelled, .. } | State::Over => {}
            State::Running { fate, .. } => {
                *fate = Fate::Cancelled;
                effects.push(Effect::Terminate { call: number });
            }
        }
    }

    fn forget(&mut self, resource: &str, effects: &mut Vec<Effect>) {
        let numbers: Vec<u64> = self.calls_of(resource).map(|entry| entry.call.call).collect();
        for number in numbers {
            self.cancel(number, effects);
            match self.calls.get_mut(&number).map(|entry| &mut entry.state) {
                Some(State::Over) => self.drop_entry(number),
                Some(State::Running { fate: fate @ Fate::Reported, .. }) => *fate = Fate::Forgotten,
                _ => {}
            }
        }
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.active = false;
        }
        self.drop_empty(resource);
    }

    fn ended(&mut self, now: Instant, mut result: AgentResult, effects: &mut Vec<Effect>) {
        let number = result.call;
        let Some(entry) = self.calls.get_mut(&number) else { return };
        let State::Running { queued, fate } = entry.state else { return };
        result.queue_time_ms = u64::try_from(queued.as_millis()).unwrap_or(u64::MAX);
        let again = now + Duration::from_millis(entry.call.interval_ms);
        let name = entry.call.resource.clone();
        if needs_a_place(&entry.call) {
            self.places_taken -= 1;
        }
        if let Some(resource) = self.resources.get_mut(&name) {
            resource.running.remove(&number);
            if fate == Fate::Reported && result.status == ExecutionStatus::Done && result.exit_code == exit_code::OK {
                match entry.call.operation.as_str() {
                    "start" => resource.active = true,
                    "stop" => resource.active = false,
                    _ => {}
                }
            }
        }
        let ended_well = result.status == ExecutionStatus::Done && result.exit_code == exit_code::OK;
        let done = (ended_well && takes_away(&entry.call)).then(|| (entry.call.clone(), result.clone()));
        match fate {
            Fate::Cancelled => {
                result.status = ExecutionStatus::Cancelled;
                result.exit_reason.clear();
                self.drop_entry(number);
                effects.push(Effect::Report(result));
            }
            Fate::Forgotten => {
                self.drop_entry(number);
                effects.push(Effect::Report(result));
            }
            Fate::RunAgain => {
                entry.state = State::Until(again);
                self.timers.insert((again, number));
            }
            Fate::Reported => {
                let same = |old: &AgentResult| (old.status, old.exit_code) == (result.status, result.exit_code);
                if !entry.result.as_ref().is_some_and(same) {
                    effects.push(Effect::Report(result.clone()));
                }
                entry.result = Some(result);
                if entry.call.interval_ms > 0 {
                    entry.state = State::Until(again);
                    self.timers.insert((again, number));
                } else {
                    entry.state = State::Over;
                    self.forget_older_than(number);
                }
            }
        }
        if let Some((call, result)) = done {
            self.fulfil(now, &call, &result, effects);
        }
        self.wait_for_a_place(now, &name);
    }

    /// What the executor insists on and `done`, which took the resource away, has just done is not done again. Nothing can have come between them: starts
    /// that waited were cancelled.
    fn fulfil(&mut self, now: Instant, done: &AgentCall, result: &AgentResult, effects: &mut Vec<Effect>) {
        let fulfilled = |entry: &Entry| match entry.state {
            State::Queued { since } if entry.insisted && does_the_same(&entry.call, done) => Some(since),
            _ => None,
        };
        let waiting: Vec<(u64, Instant)> =
            self.calls_of(&done.resource).filter_map(|entry| Some((entry.call.call, fulfilled(entry)?))).collect();
        for (number, since) in waiting {
            let queue_time_ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
            let result = AgentResult { call: number, queue_time_ms, ..result.clone() };
            if let Some(entry) = self.calls.get_mut(&number) {
                entry.state = State::Over;
                entry.result = Some(result.clone());
            }
            if let Some(resource) = self.resources.get_mut(&done.resource) {
                resource.queue.retain(|queued| *queued != number);
            }
            self.forget_older_than(number);
            effects.push(Effect::Report(result));
        }
    }

    /// Forgets the earlier results of the operation that `number` did.
    fn forget_older_than(&mut self, number: u64) {
        let Some(newest) = self.calls.get(&number) else { return };
        let older = |entry: &&Entry| {
            entry.state == State::Over && entry.call.call != number && entry.call.operation == newest.call.operation
        };
        let older: Vec<u64> = self.calls_of(&newest.call.resource).filter(older).map(|entry| entry.call.call).collect();
        for old in older {
            self.drop_entry(old);
        }
    }

    fn queue_what_is_due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while let Some(&(at, number)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(entry) = self.calls.get_mut(&number) {
                entry.state = State::Queued { since: now };
                self.enqueue(now, number, effects);
            }
        }
    }

    fn enqueue(&mut self, now: Instant, number: u64, effects: &mut Vec<Effect>) {
        let Some(entry) = self.calls.get(&number) else { return };
        let name = entry.call.resource.clone();
        let Some(resource) = self.resources.get_mut(&name) else { return };
        if !is_fence_action(&entry.call) {
            resource.queue.push_back(number);
            self.wait_for_a_place(now, &name);
            return;
        }
        for other in resource.running.clone() {
            if let Some(Entry { call, state: State::Running { fate: fate @ Fate::Reported, .. }, .. }) =
                self.calls.get_mut(&other)
                && call.interval_ms > 0
            {
                *fate = Fate::RunAgain;
                effects.push(Effect::Terminate { call: other });
            }
        }
        self.start(now, number, effects);
    }

    fn wait_for_a_place(&mut self, now: Instant, name: &str) {
        let Some(resource) = self.resources.get_mut(name) else { return };
        if resource.running.is_empty() && !resource.waiting && !resource.queue.is_empty() {
            resource.waiting = true;
            self.waiting.push_back((now, name.to_owned()));
        }
        self.drop_empty(name);
    }

    fn fill_free_places(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (since, name) in std::mem::take(&mut self.waiting) {
            let has_place = self.places_taken < self.limit || now >= since + LONGEST_WAIT;
            let Some(resource) = self.resources.get_mut(&name) else { continue };
            let next = resource.queue.front().copied().filter(|_| resource.running.is_empty());
            let is_limited = next.and_then(|next| self.calls.get(&next)).is_some_and(|next| needs_a_place(&next.call));
            if is_limited && !has_place {
                self.waiting.push_back((since, name));
                continue;
            }
            resource.waiting = false;
            if let Some(number) = next {
                resource.queue.pop_front();
                self.start(now, number, effects);
            }
            self.drop_empty(&name);
        }
    }

    fn start(&mut self, now: Instant, number: u64, effects: &mut Vec<Effect>) {
        let Some(entry) = self.calls.get_mut(&number) else { return };
        let State::Queued { since } = entry.state else { return };
        let Some(resource) = self.resources.get_mut(&entry.call.resource) else { return };
        entry.state = State::Running { queued: now.since(since), fate: Fate::Reported };
        resource.running.insert(number);
        if needs_a_place(&entry.call) {
            self.places_taken += 1;
        }
        effects.push(Effect::Run { call: entry.call.clone(), active: resource.active });
    }

    fn drop_entry(&mut self, number: u64) {
        let Some(entry) = self.calls.remove(&number) else { return };
        if let State::Until(at) = entry.state {
            self.timers.remove(&(at, number));
        }
        if let Some(resource) = self.resources.get_mut(&entry.call.resource) {
            resource.calls.remove(&number);
            resource.queue.retain(|&queued| queued != number);
        }
    }

    fn drop_empty(&mut self, name: &str) {
        if self.resources.get(name).is_some_and(|resource| resource.calls.is_empty() && !resource.active) {
            self.resources.remove(name);
        }
    }

    pub(crate) fn not_run(&self, call: u64, status: ExecutionStatus, exit_reason: String) -> AgentResult {
        AgentResult { exit_reason, finished: self.calendar, ..AgentResult::new(call, status, exit_code::UNKNOWN) }
    }
}

/// Whether a call may bring its resource into another state.
pub(crate) fn changes_the_resource(call: &AgentCall) -> bool {
    match call.agent.class.as_str() {
        "stonith" => matches!(call.operation.as_str(), "start" | "stop"),
        _ => !matches!(call.operation.as_str(), "monitor" | "status" | "notify" | "meta-data" | "validate-all"),
    }
}

fn takes_away(call: &AgentCall) -> bool {
    matches!(call.operation.as_str(), "stop" | "demote")
}

/// Whoever did `done` has done `call`: the same by the same agent, with the same parameters of its own.
fn does_the_same(call: &AgentCall, done: &AgentCall) -> bool {
    fn own(call: &AgentCall) -> impl Iterator<Item = (&String, &String)> {
        call.parameters.iter().filter(|(name, _)| !name.starts_with("CRM_meta_"))
    }
    call.operation == done.operation && call.agent == done.agent && own(call).eq(own(done))
}

fn needs_a_place(call: &AgentCall) -> bool {
    !is_fence_action(call) && !takes_away(call) && !matches!(call.operation.as_str(), "monitor" | "status")
}

fn is_fence_action(call: &AgentCall) -> bool {
    call.agent.class == "stonith" && matches!(call.operation.as_str(), "off" | "on" | "reboot")
}

#[cfg(test)]
mod tests;

//! The guard of one ticket.

use crate::core_types::{Guard, Step};
use hakudo_base::Instant;
use hakudo_base::agent::{AgentCall, AgentResult, ExecutionStatus, exit_code};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Armed {
    guard: Guard,
    /// From when the end was told on: about as long as each renewal makes the lease last.
    lasts: Duration,
    state: State,
    /// Tells calls of former steps from those of these.
    round: u64,
}

#[derive(Debug)]
enum State {
    /// The lease lasts.
    Waiting,
    /// It has ended.
    Over {
        /// How each step stands.
        steps: Vec<Progress>,
        /// A reset was asked for.
        reset: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waits,
    Runs,
    Stopped,
    Failed,
}

impl Progress {
    fn has_ended(self) -> bool {
        matches!(self, Progress::Stopped | Progress::Failed)
    }
}

impl Armed {
    pub(crate) fn new(now: Instant, guard: Guard) -> Self {
        Self { lasts: guard.until.since(now), guard, state: State::Waiting, round: 0 }
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    pub(crate) fn ticket(&self) -> &str {
        &self.guard.ticket
    }

    /// From a renewal that is the last one until all must have stopped.
    pub(crate) fn time_to_stop(&self) -> Duration {
        self.lasts + self.guard.stop_time
    }

    /// A node says anew what is to be guarded. An end that comes too late to help changes nothing of what the guard does,
    /// but what it did not know of is stopped, too.
    pub(crate) fn arm(&mut self, now: Instant, guard: Guard) {
        let before = match &self.state {
            State::Over { steps, reset } if !self.revives(now, guard.until) => Some((steps.clone(), *reset)),
            _ => None,
        };
        let old = std::mem::replace(self, Self::new(now, guard));
        self.round = old.round + 1;
        if self.guard.until == old.guard.until {
            self.lasts = old.lasts;
        }
        let Some((progress, reset)) = before else { return };
        (self.guard.until, self.lasts) = (old.guard.until, old.lasts);
        let same = |step: &Step, other: &Step| {
            step.call.resource == other.call.resource && step.call.operation == other.call.operation
        };
        let known = |step: &Step| old.guard.steps.iter().position(|other| same(step, other));
        let stopped = |step: &Step| known(step).is_some_and(|place| progress[place] == Progress::Stopped);
        let standing = |step: &Step| if stopped(step) { Progress::Stopped } else { Progress::Waits };
        self.state = State::Over { steps: self.guard.steps.iter().map(standing).collect(), reset };
    }

    pub(crate) fn extend(&mut self, now: Instant, until: Instant, first_call: u64) {
        self.guard.first_call = self.guard.first_call.max(first_call);
        match self.state {
            State::Waiting => {}
            State::Over { .. } if self.revives(now, until) => {
                (self.state, self.round) = (State::Waiting, self.round + 1)
            }
            State::Over { .. } => return,
        }
        (self.guard.until, self.lasts) = (until, until.since(now));
    }

    /// After this lease has ended, one with this end is another one.
    fn revives(&self, now: Instant, until: Instant) -> bool {
        until > now && until > self.guard.until
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Over { .. }) || self.guard.until <= now
    }

    /// The end has come.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        match &self.state {
            State::Waiting => self.guard.until <= now,
            // What was said of it after the end.
            State::Over { steps, .. } => (0..steps.len()).any(|place| self.is_ready(place, steps)),
        }
    }

    /// The end has come; the first number that a call may have.
    pub(crate) fn fire(&mut self) -> u64 {
        if let State::Waiting = self.state {
            self.state = State::Over { steps: vec![Progress::Waits; self.guard.steps.len()], reset: false };
        }
        self.guard.first_call
    }

    pub(crate) fn resources(&self) -> BTreeSet<String> {
        self.guard.steps.iter().map(|step| step.call.resource.clone()).collect()
    }

    /// The machine must not go on at all. Said once.
    pub(crate) fn resets_at_once(&mut self) -> bool {
        let wanted = self.guard.reset && !self.guard.steps.is_empty();
        wanted && self.ask_for_reset()
    }

    fn is_ready(&self, place: usize, steps: &[Progress]) -> bool {
        let before = self.guard.steps[place].after.iter();
        steps[place] == Progress::Waits
            && before.filter_map(|before| steps.get(*before as usize)).all(|before| before.has_ended())
    }

    /// The steps that wait for nothing any more begin.
    pub(crate) fn begin_ready(&mut self) -> Vec<(usize, AgentCall, Vec<u8>)> {
        let State::Over { steps, .. } = &self.state else { return Vec::new() };
        let ready: Vec<usize> = (0..steps.len()).filter(|place| self.is_ready(*place, steps)).collect();
        let State::Over { steps, .. } = &mut self.state else { return Vec::new() };
        let begin = |place: usize| {
            steps[place] = Progress::Runs;
            let step = &self.guard.steps[place];
            (place, step.call.clone(), step.note.clone())
        };
        ready.into_iter().map(begin).collect()
    }

    /// A call of the guard has ended that began in this round.
    pub(crate) fn ended(&mut self, round: u64, place: usize, result: &AgentResult) {
        let State::Over { steps, .. } = &mut self.state else { return };
        if let Some(step) = steps.get_mut(place).filter(|_| round == self.round) {
            let done = result.status == ExecutionStatus::Done
                && matches!(result.exit_code, exit_code::OK | exit_code::NOT_RUNNING);
            *step = if done { Progress::Stopped } else { Progress::Failed };
        }
    }

    /// When all must be stopped, as long as it is not.
    pub(crate) fn must_be_stopped_by(&self) -> Option<Instant> {
        let stopped = match &self.state {
            State::Waiting => self.guard.steps.is_empty(),
            State::Over { steps, .. } => steps.iter().all(|step| *step == Progress::Stopped),
        };
        (!stopped).then_some(self.guard.until + self.guard.stop_time)
    }

    /// Not all was stopped in time. Said once.
    pub(crate) fn is_lost(&mut self, now: Instant) -> bool {
        let late = self.must_be_stopped_by().is_some_and(|end| end <= now);
        late && self.ask_for_reset()
    }

    /// True the first time after the end.
    fn ask_for_reset(&mut self) -> bool {
        match &mut self.state {
            State::Waiting => false,
            State::Over { reset, .. } => !std::mem::replace(reset, true),
        }
    }

    /// The resources that are not known to have stopped.
    pub(crate) fn left(&self) -> Vec<&str> {
        let State::Over { steps, .. } = &self.state else { return Vec::new() };
        let left = self.guard.steps.iter().zip(steps).filter(|(_, progress)| **progress != Progress::Stopped);
        left.map(|(step, _)| step.call.resource.as_str()).collect()
    }

    pub(crate) fn deadline(&self, may_reset: bool) -> Option<Instant> {
        match &self.state {
            State::Waiting => Some(self.guard.until),
            State::Over { reset, .. } if may_reset && !reset => self.must_be_stopped_by(),
            State::Over { .. } => None,
        }
    }

    /// The call would make active what this guard stopped, or promote what it demoted.
    pub(crate) fn forbids(&self, call: &AgentCall) -> bool {
        let of_it = |step: &&Step| step.call.resource == call.resource;
        self.guard.steps.iter().filter(of_it).any(|step| match step.call.operation.as_str() {
            "demote" => call.operation == "promote",
            _ => super::begins(call),
        })
    }
}

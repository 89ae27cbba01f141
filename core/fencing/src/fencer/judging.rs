//! What the answers of agents mean: what is tried once more, what has failed, and when a target is given up.

use super::{Fencer, Purpose};
use crate::agent;
use crate::core_types::{Action, Effect, Failure, Fenced};
use crate::operation::{Operation, Progress};
use hakudo_base::agent::{AgentResult, ExecutionStatus};
use hakudo_base::{Instant, Severity};
use std::time::Duration;

/// After some failures the next try waits this long, then twice as long, up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The failures of a target since something last changed.
#[derive(Debug)]
pub(super) struct Failures {
    pub(super) count: u32,
    pub(super) last: Instant,
    pub(super) gave_up: Option<GaveUp>,
}

#[derive(Debug)]
pub(super) struct GaveUp {
    pub(super) reason: String,
    pub(super) until: Instant,
}

impl Fencer {
    /// Ends what the time has ended.
    pub(super) fn time_passed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let silent: Vec<u64> = self.calls.iter().filter(|(_, call)| call.until <= now).map(|(n, _)| *n).collect();
        for call in silent {
            let reason = "nothing was heard of it, not even that it took too long";
            self.result(now, &no_answer(call, ExecutionStatus::Timeout, reason), effects);
        }
        let over = |failures: &Failures| failures.gave_up.as_ref().is_some_and(|gave_up| gave_up.until <= now);
        let again: Vec<_> = self.failures.iter().filter(|(_, f)| over(f)).map(|(of, _)| of.clone()).collect();
        for of in again {
            self.failures.remove(&of);
            effects.push(Effect::MayTryAgain { target: of.0 });
        }
    }

    pub(super) fn result(&mut self, now: Instant, result: &AgentResult, effects: &mut Vec<Effect>) {
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

    /// Returns whether the operation goes on.
    pub(super) fn fence_answered(
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

    pub(super) fn confirm(&mut self, now: Instant, target: &str, user: &str, effects: &mut Vec<Effect>) {
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
        if self.failures.remove(&(target.to_owned(), false)).is_some_and(|failures| failures.gave_up.is_some()) {
            effects.push(Effect::MayTryAgain { target: target.to_owned() });
        }
    }

    /// What is to be said of an operation that failed, and whether it is given up.
    pub(super) fn give_reason(&mut self, now: Instant, operation: &Operation) -> Failure {
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
        let of = (target.clone(), action == Action::On);
        let failures = self.failures.entry(of).or_insert(Failures { count: 0, last: now, gave_up: None });
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
    pub(super) fn answer(
        &mut self,
        now: Instant,
        operation: &mut Operation,
        failure: Option<Failure>,
        effects: &mut Vec<Effect>,
    ) {
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
        if failure.is_none() {
            self.failures.remove(&(target.clone(), action == Action::On));
        }
        for request in requests {
            let result = match &failure {
                Some(failure) => Err(failure.clone()),
                None => Ok(Fenced { devices: operation.done.clone(), by: by.clone().unwrap_or_default(), took }),
            };
            effects.push(Effect::Done { id: request.id, target: target.clone(), action, result });
        }
    }

    /// Something changed: what could not be fenced may be tried again.
    pub(super) fn forgive(&mut self, effects: &mut Vec<Effect>) {
        for ((target, _), failures) in std::mem::take(&mut self.failures) {
            if failures.gave_up.is_some() {
                effects.push(Effect::MayTryAgain { target });
            }
        }
    }
}

impl Failures {
    /// How long the next try waits: not at all after the first failure.
    pub(super) fn pause(&self) -> Duration {
        match self.count {
            0 | 1 => Duration::ZERO,
            count => SHORTEST_PAUSE.saturating_mul(1 << (count - 2).min(10)).min(LONGEST_PAUSE),
        }
    }
}

/// A result made here, where none will come.
pub(super) fn no_answer(call: u64, status: ExecutionStatus, reason: &str) -> AgentResult {
    AgentResult {
        exit_reason: reason.to_owned(),
        ..AgentResult::new(call, status, hakudo_base::agent::exit_code::ERROR)
    }
}

//! What is known of the operations of a resource on a node: `<lrm_resource>` and its `<lrm_rsc_op>`s.
//!
//! An entry a kind of outcome, as Pacemaker keeps them: `…_last_0` for the newest operation that is not recurring,
//! `…_last_failure_0` for the newest failure, `…_monitor_10000` for a recurring one, `…_migrate_to_0`. An operation that
//! has not ended yet has an entry of its own (`…_pending_0`): what was known before it stays known until its result is here.
//! Where several are on their way to a resource, the scheduler is shown the first of them: a stop that waits for a start to
//! end must not make it forget the start.

use super::{FailCount, NodeStatus, Written};
use hakudo_base::agent::{AgentCall, AgentName, AgentResult, ExecutionStatus, ParameterDigests, exit_code};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything known of a resource on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Its agent.
    pub(crate) agent: AgentName,
    /// By the end of the entry's id: `last_0`, `last_failure_0`, `monitor_10000`, …; what is on its way by its call
    /// ([`pending_entry`]).
    pub(crate) operations: BTreeMap<String, Operation>,
    #[serde(skip)]
    pub(super) written: Written,
}

/// Digests of the parameters that an operation was run with, by which the scheduler notices that they were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digests {
    /// `op-digest`.
    pub(crate) all: Option<String>,
    /// `op-force-restart` (or `op-restart…`): the parameters whose change needs a restart, and their digest.
    pub(crate) restart: Option<(String, String)>,
    /// `op-secure-params` and `op-secure-digest`.
    pub(crate) secure: Option<(String, String)>,
}

impl Digests {
    /// Takes over what the executor made of the agent's meta-data.
    fn add(&mut self, made: &ParameterDigests) {
        self.restart = made.restart.clone().or(self.restart.take());
        self.secure = made.secure.clone().or(self.secure.take());
    }
}

/// An operation that the leader wants on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The action's number in the leader's graph.
    pub(crate) action: u32,
    /// The resource as agents know it.
    pub(crate) resource: String,
    /// The agent.
    pub(crate) agent: AgentName,
    /// The operation.
    pub(crate) task: String,
    /// Milliseconds, 0 for one run.
    pub(crate) interval_ms: u64,
    /// Milliseconds.
    pub(crate) timeout_ms: u64,
    /// Milliseconds.
    pub(crate) start_delay_ms: u64,
    /// The exit code that is expected.
    pub(crate) target_rc: i32,
    /// A failure does not count (`on-fail=ignore`).
    pub(crate) ignore_failure: bool,
    /// `action:transition:target:leader`, as in `transition-key`.
    pub(crate) transition_key: String,
    /// What the agent gets.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Digests of the parameters.
    pub(crate) digests: Digests,
}

/// What stays known of an order until its results are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    /// The resource.
    pub(crate) resource: String,
    /// The agent.
    pub(crate) agent: AgentName,
    /// The operation.
    pub(crate) task: String,
    /// Milliseconds, 0 for one run.
    pub(crate) interval_ms: u64,
    /// The exit code that is expected.
    pub(crate) target_rc: i32,
    /// A failure does not count.
    pub(crate) ignore_failure: bool,
    /// As in `transition-key`.
    pub(crate) transition_key: String,
    /// Digests of the parameters.
    pub(crate) digests: Digests,
    /// `migrate_source` and `migrate_target`.
    pub(crate) migration: Option<(String, String)>,
    /// There was a result already.
    pub(crate) answered: bool,
}

/// An entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// What was asked.
    pub(crate) issued: Issued,
    /// `call-id`.
    pub(crate) call: u64,
    /// `op-status`.
    pub(crate) status: ExecutionStatus,
    /// `rc-code`.
    pub(crate) exit_code: i32,
    /// `exit-reason`.
    pub(crate) exit_reason: String,
    /// Seconds since 1970.
    pub(crate) last_rc_change: i64,
    /// Milliseconds.
    pub(crate) exec_time_ms: u64,
    /// Milliseconds.
    pub(crate) queue_time_ms: u64,
}

/// A result as a node reports it to all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Grows with every report of the node.
    pub(crate) number: u64,
    /// The result; its call says what it is about.
    pub(crate) result: AgentResult,
}

/// What a report meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What had been asked.
    pub(crate) issued: Issued,
    /// It did not end as expected.
    pub(crate) failed: bool,
    /// The first answer to the order (a recurring operation answers again and again).
    pub(crate) first: bool,
}

/// Operations that leave no history.
fn leaves_history(task: &str) -> bool {
    !matches!(task, "notify" | "cancel" | "delete" | "meta-data")
}

/// The entry of an operation that does not recur and is on its way: in the order of calls.
fn pending_entry(call: u64) -> String {
    format!("{PENDING}{call:020}")
}

/// How the entries of operations that are on their way begin.
pub(super) const PENDING: &str = "pending_";

/// Operations after which recurring ones of the same resource have to be ordered anew.
pub(crate) fn changes_state(task: &str, interval_ms: u64) -> bool {
    interval_ms == 0 && !matches!(task, "monitor" | "notify" | "meta-data" | "cancel" | "delete" | "validate-all")
}

/// `start_0`, `monitor_10000`: the operation as part of a key.
pub(crate) fn operation_name(task: &str, interval_ms: u64) -> String {
    format!("{task}_{interval_ms}")
}

/// The result is not what was expected. The degraded codes count as their healthy ones (Pacemaker 2.1). A recurring operation
/// is cancelled when it is not wanted any more; one that was to run once did not do what it was to do.
fn failed(status: ExecutionStatus, rc: i32, target: i32, interval_ms: u64) -> bool {
    let effective = match rc {
        exit_code::DEGRADED => exit_code::OK,
        exit_code::DEGRADED_PROMOTED => exit_code::RUNNING_PROMOTED,
        other => other,
    };
    match status {
        ExecutionStatus::Pending => false,
        ExecutionStatus::Cancelled => interval_ms == 0,
        ExecutionStatus::Done => target >= 0 && effective != target,
        _ => true,
    }
}

impl Order {
    /// As the executor is to run it, for a node in a view of this epoch.
    pub(crate) fn call(&self, call: u64, epoch: u64) -> AgentCall {
        AgentCall {
            call,
            epoch,
            resource: self.resource.clone(),
            agent: self.agent.clone(),
            operation: self.task.clone(),
            interval_ms: self.interval_ms,
            timeout_ms: self.timeout_ms,
            start_delay_ms: self.start_delay_ms,
            parameters: self.parameters.clone(),
        }
    }

    fn issued(&self) -> Issued {
        let of = |name: &str| self.parameters.get(name).cloned();
        let migration = match (of("CRM_meta_migrate_source"), of("CRM_meta_migrate_target")) {
            (Some(source), Some(target)) => Some((source, target)),
            _ => None,
        };
        Issued {
            resource: self.resource.clone(),
            agent: self.agent.clone(),
            task: self.task.clone(),
            interval_ms: self.interval_ms,
            target_rc: self.target_rc,
            ignore_failure: self.ignore_failure,
            transition_key: self.transition_key.clone(),
            digests: self.digests.clone(),
            migration,
            answered: false,
        }
    }
}

impl History {
    fn new(agent: AgentName) -> Self {
        Self { agent, operations: BTreeMap::new(), written: Written::default() }
    }

    fn put(&mut self, entry: String, operation: Operation) {
        self.written = Written::default();
        self.operations.insert(entry, operation);
    }

    fn drop_entry(&mut self, entry: &str) -> bool {
        self.written = Written::default();
        self.operations.remove(entry).is_some()
    }

    pub(super) fn clear_failure(&mut self, operation: Option<(&str, u64)>) -> bool {
        let fits = self.operations.get("last_failure_0").is_some_and(|failure| {
            operation.is_none_or(|(task, interval)| {
                failure.issued.task == task && (interval == 0 || failure.issued.interval_ms == interval)
            })
        });
        fits && self.drop_entry("last_failure_0")
    }

    /// It is a service, and the newest that is known says that it runs.
    pub(crate) fn runs(&self) -> bool {
        let healthy = |code| {
            matches!(
                code,
                exit_code::OK | exit_code::RUNNING_PROMOTED | exit_code::DEGRADED | exit_code::DEGRADED_PROMOTED
            )
        };
        let last = self.operations.get("last_0");
        self.agent.class != "stonith" && last.is_some_and(|last| last.issued.task != "stop" && healthy(last.exit_code))
    }

    /// The newest that is known says that it does not run.
    pub(super) fn is_stopped(&self) -> bool {
        self.operations.get("last_0").is_some_and(|last| match &*last.issued.task {
            "stop" => last.exit_code == exit_code::OK,
            "monitor" => last.exit_code == exit_code::NOT_RUNNING,
            _ => false,
        })
    }

    /// The call of the recurring operation that failed last and did not end well since.
    pub(super) fn failing_call(&self) -> Option<u64> {
        let failure = self.operations.get("last_failure_0").filter(|failure| failure.issued.interval_ms > 0)?;
        let same = self.operations.get(&operation_name(&failure.issued.task, failure.issued.interval_ms));
        let well_since = same.is_some_and(|ok| ok.call > failure.call || ok.last_rc_change > failure.last_rc_change);
        (!well_since).then_some(failure.call)
    }

    /// Something failed here. A probe that found the resource in another state than expected is kept as Pacemaker keeps it,
    /// beside the failures, but it did what it was to do: it is nothing to clean up, or each clean-up would look again.
    pub(super) fn has_failure(&self) -> bool {
        self.operations.get("last_failure_0").is_some_and(|failure| !failure.is_probe_that_answered())
    }
}

impl Operation {
    /// It was a probe, and its agent knew the state of the resource.
    fn is_probe_that_answered(&self) -> bool {
        let states = [
            exit_code::OK,
            exit_code::NOT_RUNNING,
            exit_code::RUNNING_PROMOTED,
            exit_code::DEGRADED,
            exit_code::DEGRADED_PROMOTED,
        ];
        self.issued.task == "monitor"
            && self.issued.interval_ms == 0
            && self.status == ExecutionStatus::Done
            && states.contains(&self.exit_code)
    }
}

impl NodeStatus {
    /// Takes note of an order, and gives its call number.
    pub(crate) fn issue(&mut self, order: &Order, time: i64) -> u64 {
        self.last_call += 1;
        let call = self.last_call;
        self.note_issued(call, order.issued(), time);
        call
    }

    /// Takes note of a call whose number is known already.
    pub(crate) fn note_issued(&mut self, call: u64, issued: Issued, time: i64) {
        self.last_call = self.last_call.max(call);
        if changes_state(&issued.task, issued.interval_ms) {
            let recurs = |_: &u64, other: &mut Issued| other.resource == issued.resource && other.interval_ms > 0;
            let ended: Vec<(u64, Issued)> = self.issued.extract_if(.., recurs).collect();
            // One that did not answer yet never will.
            ended.into_iter().for_each(|(call, ended)| self.drop_pending(&ended, call));
        }
        if leaves_history(&issued.task) {
            let entry = match issued.interval_ms {
                0 => pending_entry(call),
                interval => operation_name(&issued.task, interval),
            };
            let pending = Operation {
                issued: issued.clone(),
                call,
                status: ExecutionStatus::Pending,
                exit_code: exit_code::UNKNOWN,
                exit_reason: String::new(),
                last_rc_change: time,
                exec_time_ms: 0,
                queue_time_ms: 0,
            };
            let history =
                self.resources.entry(issued.resource.clone()).or_insert_with(|| History::new(issued.agent.clone()));
            history.agent = issued.agent.clone();
            history.put(entry, pending);
        }
        self.issued.insert(call, issued);
        self.touch();
    }

    /// When a call that did not answer yet was ordered, in seconds since 1970.
    pub(crate) fn pending_since(&self, call: u64) -> i64 {
        let Some(issued) = self.issued.get(&call) else { return 0 };
        let entries = self.resources.get(&issued.resource).map(|history| history.operations.values());
        entries.into_iter().flatten().find(|operation| operation.call == call).map_or(0, |found| found.last_rc_change)
    }

    /// Takes a result over; nothing where the call is not known (any more). `fatal_start` makes a failed start count as
    /// INFINITY (`start-failure-is-fatal`).
    pub(crate) fn result(&mut self, result: &AgentResult, fatal_start: bool) -> Option<Outcome> {
        self.touch();
        let known = self.issued.get_mut(&result.call)?;
        let first = !known.answered;
        known.answered = true;
        known.digests.add(&result.digests);
        let issued = known.clone();
        let never_ran = matches!(result.status, ExecutionStatus::Cancelled | ExecutionStatus::Refused);
        if issued.interval_ms == 0 || never_ran {
            self.issued.remove(&result.call);
        }
        let failed = failed(result.status, result.exit_code, issued.target_rc, issued.interval_ms);
        if never_ran {
            self.drop_pending(&issued, result.call);
            return Some(Outcome { issued, failed, first });
        }
        if leaves_history(&issued.task) {
            self.record(&issued, result, failed);
            if failed {
                self.count(&issued, result.finished, fatal_start);
            }
        }
        Some(Outcome { issued, failed, first })
    }

    fn drop_pending(&mut self, issued: &Issued, call: u64) {
        let Some(history) = self.resources.get_mut(&issued.resource) else { return };
        let entry = match issued.interval_ms {
            0 => pending_entry(call),
            interval => operation_name(&issued.task, interval),
        };
        let waiting = |o: &Operation| o.call == call && o.status == ExecutionStatus::Pending;
        if history.operations.get(&entry).is_some_and(waiting) {
            history.drop_entry(&entry);
        }
    }

    fn record(&mut self, issued: &Issued, result: &AgentResult, failed: bool) {
        self.drop_pending(issued, result.call);
        let history =
            self.resources.entry(issued.resource.clone()).or_insert_with(|| History::new(issued.agent.clone()));
        let operation = Operation {
            issued: issued.clone(),
            call: result.call,
            status: result.status,
            exit_code: result.exit_code,
            exit_reason: result.exit_reason.clone(),
            last_rc_change: result.finished,
            exec_time_ms: result.exec_time_ms,
            queue_time_ms: result.queue_time_ms,
        };
        let migration = matches!(&*issued.task, "migrate_to" | "migrate_from");
        // A fence device is stopped by forgetting it, even while its start is on its way, whose end then says nothing.
        let overtaken = history.operations.get("last_0").is_some_and(|last| last.call > result.call);
        if overtaken && issued.interval_ms == 0 && !migration {
            return;
        }
        match (migration, failed, issued.interval_ms) {
            (true, _, _) => history.put(operation_name(&issued.task, 0), operation),
            (false, true, 0) => {
                history.put("last_0".to_owned(), operation.clone());
                history.put("last_failure_0".to_owned(), operation);
            }
            (false, true, _) => history.put("last_failure_0".to_owned(), operation),
            (false, false, 0) => history.put("last_0".to_owned(), operation),
            (false, false, interval) => history.put(operation_name(&issued.task, interval), operation),
        }
    }

    /// Which failures count, and how much: those of starts, stops, promotions, demotions and recurring operations; not
    /// those of probes and notifications.
    fn count(&mut self, issued: &Issued, time: i64, fatal_start: bool) {
        let count = match (&*issued.task, issued.interval_ms) {
            _ if issued.ignore_failure => FailCount::Unchanged,
            ("start", 0) if fatal_start => FailCount::Infinity,
            ("stop", 0) => FailCount::Infinity,
            ("start" | "promote" | "demote", 0) => FailCount::More,
            (_, 0) => return,
            _ => FailCount::More,
        };
        let operation = operation_name(&issued.task, issued.interval_ms);
        self.count_failure(&issued.resource, &operation, count, time);
    }

    /// Counts the failures that an executor remembers and that nobody has heard of: they happened while it was alone. `before`
    /// is what was known of the node until now.
    pub(crate) fn count_unheard_failures(&mut self, before: Option<&NodeStatus>, fatal_start: bool) {
        let failures = self.resources.values().filter_map(|history| history.operations.get("last_failure_0"));
        let unheard = failures.filter(|failure| match before {
            Some(before) => !before.has_heard_of(failure),
            None => failure.issued.interval_ms > 0,
        });
        for failure in unheard.cloned().collect::<Vec<_>>() {
            self.count(&failure.issued, failure.last_rc_change, fatal_start);
        }
    }

    /// This failure was reported, or what was reported of the operation later is known to have ended the same way. One that
    /// runs only once is reported once: where nobody waits for it, it was.
    fn has_heard_of(&self, failure: &Operation) -> bool {
        if failure.issued.interval_ms == 0 && !self.issued.contains_key(&failure.call) {
            return true;
        }
        let history = self.resources.get(&failure.issued.resource);
        let of_call =
            history.into_iter().flat_map(|history| history.operations.values().filter(|o| o.call == failure.call));
        let newest = of_call.max_by_key(|operation| operation.last_rc_change);
        newest.is_some_and(|newest| (newest.status, newest.exit_code) == (failure.status, failure.exit_code))
    }

    /// A recurring operation is no longer wanted: forgets it, and gives its calls.
    pub(crate) fn cancel(&mut self, resource: &str, task: &str, interval_ms: u64) -> Vec<u64> {
        self.touch();
        if let Some(history) = self.resources.get_mut(resource) {
            history.drop_entry(&operation_name(task, interval_ms));
        }
        let fits = |i: &Issued| i.resource == resource && i.task == task && i.interval_ms == interval_ms;
        let calls: Vec<u64> = self.issued.iter().filter(|(_, i)| fits(i)).map(|(call, _)| *call).collect();
        for call in &calls {
            self.issued.remove(call);
        }
        calls
    }

    /// Forgets all about a resource; true where anything was known.
    pub(crate) fn forget(&mut self, resource: &str) -> bool {
        self.touch();
        self.issued.retain(|_, issued| issued.resource != resource);
        self.resources.remove(resource).is_some()
    }

    /// Calls of a resource that recur.
    pub(crate) fn recurring(&self, resource: &str) -> Vec<u64> {
        let fits = |i: &Issued| i.resource == resource && i.interval_ms > 0;
        self.issued.iter().filter(|(_, i)| fits(i)).map(|(call, _)| *call).collect()
    }
}

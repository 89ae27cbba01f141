//! A call of an agent and its result: what the controller asks of an executor.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Which program looks after a resource: `class:provider:type`, as in `<primitive>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentName {
    /// `ocf`, `systemd`, `lsb`, `service` or `stonith`.
    pub class: String,
    /// The vendor's folder, only for class `ocf`.
    pub provider: Option<String>,
    /// The agent's own name, for instance `IPaddr2`.
    pub kind: String,
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provider {
            Some(provider) => write!(f, "{}:{}:{}", self.class, provider, self.kind),
            None => write!(f, "{}:{}", self.class, self.kind),
        }
    }
}

/// One operation on one resource, to be run on the executor's own machine.
///
/// For class `stonith`, `operation` is the action that the fence agent gets (`monitor`, `off`, `reboot`, `on`, `list`,
/// `status`, `metadata`), and the parameters are written to its standard input as `key=value` lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCall {
    /// Chosen by the caller, never used twice by it; the result carries it.
    pub call: u64,
    /// The epoch of the view in whose name this is asked. An executor refuses an epoch older than the newest it saw.
    pub epoch: u64,
    /// The resource as the agent knows it: `OCF_RESOURCE_INSTANCE` (for an anonymous clone without its number).
    pub resource: String,
    /// The program.
    pub agent: AgentName,
    /// `start`, `stop`, `monitor`, `promote`, `demote`, `notify`, `migrate_to`, `migrate_from`, `reload`, `reload-agent`,
    /// `meta-data`, `validate-all`, or a fence action.
    pub operation: String,
    /// Milliseconds between two runs of a recurring operation; 0 for one run.
    pub interval_ms: u64,
    /// Milliseconds until TERM (and KILL a little later) ends the whole process group.
    pub timeout_ms: u64,
    /// Milliseconds to wait before the first run.
    pub start_delay_ms: u64,
    /// Instance attributes and `CRM_meta_…`: given to OCF agents as `OCF_RESKEY_name`.
    pub parameters: BTreeMap<String, String>,
}

/// How the run of an agent ended, apart from what the agent said (Pacemaker's `PCMK_EXEC_*`, the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i8)]
pub enum ExecutionStatus {
    /// Not ended yet.
    Pending = -1,
    /// The agent ran and said something: see the exit code.
    Done = 0,
    /// Cancelled before it ended.
    Cancelled = 1,
    /// Stopped because it took too long.
    Timeout = 2,
    /// The agent does not know this operation.
    NotSupported = 3,
    /// It could not be run, or failed.
    Error = 4,
    /// Failed for good on this node.
    ErrorHard = 5,
    /// Failed for good on every node.
    ErrorFatal = 6,
    /// There is no such agent here.
    NotInstalled = 7,
    /// The executor cannot be reached.
    NotConnected = 8,
    /// The parameters are wrong.
    Invalid = 9,
    /// Not run: it was asked for in the name of an older view than the newest that the executor was told of. (Pacemaker has
    /// no such status; it never comes into a history.)
    Refused = 100,
}

/// The exit codes of OCF resource agents (OCF 1.1 §3.4), by their Pacemaker names.
pub mod exit_code {
    /// Success; for a monitor: running.
    pub const OK: i32 = 0;
    /// Failed, unspecified.
    pub const ERROR: i32 = 1;
    /// Wrong parameters for this node.
    pub const INVALID_PARAM: i32 = 2;
    /// The operation is not implemented.
    pub const UNIMPLEMENT_FEATURE: i32 = 3;
    /// Not allowed.
    pub const INSUFFICIENT_PRIV: i32 = 4;
    /// The agent, or what it needs, is missing on this node.
    pub const NOT_INSTALLED: i32 = 5;
    /// The configuration is wrong everywhere.
    pub const NOT_CONFIGURED: i32 = 6;
    /// Safely stopped.
    pub const NOT_RUNNING: i32 = 7;
    /// Running in the promoted role.
    pub const RUNNING_PROMOTED: i32 = 8;
    /// Promoted and failed.
    pub const FAILED_PROMOTED: i32 = 9;
    /// Running, degraded.
    pub const DEGRADED: i32 = 190;
    /// Running promoted, degraded.
    pub const DEGRADED_PROMOTED: i32 = 191;
    /// Not known (pending).
    pub const UNKNOWN: i32 = 193;
}

/// The result of one run of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentResult {
    /// [`AgentCall::call`] of the call that this answers. A recurring call answers many times.
    pub call: u64,
    /// How the run ended.
    pub status: ExecutionStatus,
    /// What the agent returned, in OCF codes (lsb and systemd are mapped to these).
    pub exit_code: i32,
    /// One line that the agent or the executor gives as the reason of a failure; empty if none.
    pub exit_reason: String,
    /// The end of what the agent printed, standard output then standard error; kept only when it failed or was asked for output.
    pub output: String,
    /// Milliseconds of the run.
    pub exec_time_ms: u64,
    /// Milliseconds it waited for a free place.
    pub queue_time_ms: u64,
    /// Seconds since 1970 when this run's outcome was known.
    pub finished: i64,
    /// What the agent's meta-data makes of the call's parameters.
    pub digests: ParameterDigests,
}

impl AgentResult {
    /// A result of which nothing else is known: nothing was printed, and no time was taken.
    pub fn new(call: u64, status: ExecutionStatus, exit_code: i32) -> Self {
        Self {
            call,
            status,
            exit_code,
            exit_reason: String::new(),
            output: String::new(),
            exec_time_ms: 0,
            queue_time_ms: 0,
            finished: 0,
            digests: ParameterDigests::default(),
        }
    }
}

/// Digests of some of a call's parameters, by which the scheduler notices what kind of change was made to them. The
/// executor makes them, because only it can ask the agent for its meta-data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterDigests {
    /// Of an agent that can reload: the parameters whose change needs a restart (`op-force-restart`, names between
    /// blanks), and the digest of their values (`op-restart-digest`).
    pub restart: Option<(String, String)>,
    /// Of an agent with secrets: their names (`op-secure-params`), and the digest of all others (`op-secure-digest`).
    pub secure: Option<(String, String)>,
}

/// What an executor tells its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutorInput {
    /// The connection is there. `known` is what the executor remembers from before: the newest results of each resource
    /// and the recurring operations that still run, so that a restarted node process takes up where the old one was.
    Connected {
        /// The calls with their newest results.
        known: Vec<Known>,
        /// The newest epoch that the executor was told of: calls of older ones are refused.
        newest_epoch: u64,
        /// The least number that a call may have: of lower ones some are refused, because the executor has acted by itself
        /// since they would have been given.
        first_call: u64,
    },
    /// What a node gave to the executor to keep; it comes before [`ExecutorInput::Connected`], where there is anything.
    Memory(Vec<u8>),
    /// The connection is lost; the executor is being restarted.
    Lost,
    /// An agent ended, or a recurring operation's outcome changed.
    Result(AgentResult),
    /// The executor has acted by itself, because the lease of a ticket ended and was not renewed.
    Acted {
        /// As in [`ExecutorInput::Connected`].
        known: Vec<Known>,
        /// The numbers of its own calls among them.
        own: Vec<u64>,
    },
    /// The executor cannot be told what to stop when the lease of a ticket ends.
    Unguarded {
        /// The ticket.
        ticket: String,
        /// Why not.
        reason: String,
    },
}

/// A call that an executor remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The call.
    pub call: AgentCall,
    /// The caller's own note of it, given with the call and kept as it is.
    pub note: Vec<u8>,
    /// Its newest result; none while it runs for the first time.
    pub result: Option<AgentResult>,
}

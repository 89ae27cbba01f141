//! What the fencing core is told, and what it asks for.

use hakudo_base::agent::{AgentCall, AgentName, AgentResult};
use hakudo_base::{Severity, UnixTime};
use hakudo_cib::Document;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Its power is cut, or its access to what it could harm.
    Off,
    /// Off, and on again.
    Reboot,
    /// It gets power or access back (unfencing).
    On,
}

impl Action {
    /// As fence agents and configurations call it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Off => "off",
            Action::Reboot => "reboot",
            Action::On => "on",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no fence action.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a fence action: off, reboot or on")]
pub struct UnknownAction(String);

impl FromStr for Action {
    type Err = UnknownAction;

    /// `poweroff` is an old word for `off`.
    fn from_str(word: &str) -> Result<Self, UnknownAction> {
        match word {
            "off" | "poweroff" => Ok(Action::Off),
            "reboot" => Ok(Action::Reboot),
            "on" => Ok(Action::On),
            _ => Err(UnknownAction(word.into())),
        }
    }
}

/// A wish to have a node fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the caller, never used twice by it; [`Effect::Done`] carries it.
    pub id: u64,
    /// The node, by name.
    pub target: String,
    /// Which of the node's lives is meant: a number that grows whenever the node begins anew. What is done to one life says
    /// nothing of the next.
    pub life: u64,
    /// What is to be done.
    pub action: Action,
    /// How long to wait before the first device, besides the delays of the devices (`priority-fencing-delay`). `None` is no
    /// waiting at all, neither for the devices' own delays (`-1` in Pacemaker).
    pub delay: Option<Duration>,
    /// The user who asked, where it is not the cluster itself. People may try again as often as they like.
    pub user: Option<String>,
}

/// What the fencing core is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come.
    Timer,
    /// The configuration (of which devices, topology, properties and node attributes count), whenever it changed.
    Configure {
        /// Configuration and status.
        cib: Document,
        /// The time, for rules.
        now: UnixTime,
    },
    /// Which nodes can run agents, whenever that changed.
    Members {
        /// The members, by name.
        nodes: BTreeSet<String>,
        /// On which node the monitor of a device runs, by the device's id: there its agent is known to work.
        monitored: BTreeMap<String, String>,
    },
    /// This node leads no longer: what it was asked for is another's business now. Its agents are not stopped.
    Resign,
    /// A node is to be fenced.
    Fence(Request),
    /// The administrator's word that a node is down and runs nothing (`stonith_admin --confirm`).
    Confirm {
        /// The node, by name.
        target: String,
        /// Who said it.
        user: String,
    },
    /// A call of [`Effect::Run`] ended.
    Result(AgentResult),
}

/// A run of a fence agent, to be carried out by a node's executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Comes back as [`AgentResult::call`].
    pub call: u64,
    /// The node whose executor runs it, by name.
    pub on: String,
    /// The device's id in the configuration.
    pub device: String,
    /// The agent.
    pub agent: AgentName,
    /// `off`, `reboot`, `on`, `status`, `list` or `metadata`. A device's `pcmk_…_action` is among the parameters, and the
    /// executor uses it.
    pub operation: String,
    /// The node that it is about.
    pub target: Option<String>,
    /// The device's parameters, and how the agent is told of the target.
    pub parameters: BTreeMap<String, String>,
    /// Milliseconds that the run may take.
    pub timeout_ms: u64,
}

impl Run {
    /// The call for an executor, in the name of the view with this epoch.
    pub fn agent_call(&self, epoch: u64) -> AgentCall {
        AgentCall {
            call: self.call,
            epoch,
            resource: self.device.clone(),
            agent: self.agent.clone(),
            operation: self.operation.clone(),
            interval_ms: 0,
            timeout_ms: self.timeout_ms,
            start_delay_ms: 0,
            parameters: self.parameters.clone(),
        }
    }
}

/// A node was fenced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// The devices that did it.
    pub devices: Vec<String>,
    /// The node whose executor did it; the user where one confirmed it by hand.
    pub by: String,
    /// How long it took, from the request on.
    pub took: Duration,
}

/// A node could not be fenced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong, and what to do next.
    pub reason: String,
    /// There is no sense in asking again before [`Effect::MayTryAgain`]: requests of the cluster are refused until then.
    pub gave_up: bool,
}

/// What the fencing core asks for, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run an agent; answered by [`Input::Result`].
    Run(Run),
    /// A request has ended.
    Done {
        /// [`Request::id`].
        id: u64,
        /// The node, by name.
        target: String,
        /// What was to be done.
        action: Action,
        /// Whether it was.
        result: Result<Fenced, Failure>,
    },
    /// A target that could not be fenced may be tried again: something changed, or enough time has gone by.
    MayTryAgain {
        /// The node, by name.
        target: String,
    },
    /// Something happened that people may want to know.
    Event {
        /// How grave.
        severity: Severity,
        /// `fence-start`, `fence-try`, `fence-failed`, `fenced` or `fence-config`.
        kind: &'static str,
        /// The node that it is about.
        target: Option<String>,
        /// The device that it is about.
        device: Option<String>,
        /// How long it took, where something ended.
        took: Option<Duration>,
        /// A sentence.
        text: String,
    },
}

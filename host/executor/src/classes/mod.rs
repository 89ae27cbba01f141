//! The classes of agents: which program a call means, and what its end means in OCF terms.

mod fence;
mod lsb;
mod ocf;
mod plugin;
mod systemd;

pub(crate) use systemd::bus::UnitCall;

use crate::Config;
use crate::process::{End, Program, Run};
use hakudo_base::agent::{AgentCall, AgentName, ExecutionStatus, exit_code};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: ExecutionStatus,
    pub(crate) exit_code: i32,
    pub(crate) exit_reason: String,
    pub(crate) output: String,
}

impl Outcome {
    fn new(status: ExecutionStatus, exit_code: i32, exit_reason: impl Into<String>) -> Self {
        Self { status, exit_code, exit_reason: exit_reason.into(), output: String::new() }
    }

    fn done(exit_code: i32) -> Self {
        Self::new(ExecutionStatus::Done, exit_code, "")
    }

    /// It took longer than it may.
    pub(crate) fn timed_out(call: &AgentCall) -> Self {
        let seconds = call.timeout_ms / 1000;
        let reason = match call.timeout_ms % 1000 {
            0 => format!("{} did not end within {seconds}s", call.operation),
            rest => format!("{} did not end within {seconds}.{rest:03}s", call.operation),
        };
        Self::new(ExecutionStatus::Timeout, exit_code::ERROR, reason)
    }

    /// It was ended early, as was asked for.
    pub(crate) fn cancelled() -> Self {
        Self::new(ExecutionStatus::Cancelled, exit_code::UNKNOWN, "")
    }

    fn with_output(self, output: String) -> Self {
        Self { output, ..self }
    }

    fn not_installed(reason: impl Into<String>) -> Self {
        Self::new(ExecutionStatus::NotInstalled, exit_code::NOT_INSTALLED, reason)
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Self::new(ExecutionStatus::Invalid, exit_code::NOT_CONFIGURED, reason)
    }

    fn not_implemented(call: &AgentCall) -> Self {
        let reason = format!("agents of class {} have no operation {}", call.agent.class, call.operation);
        Self::new(ExecutionStatus::Done, exit_code::UNIMPLEMENT_FEATURE, reason)
    }
}

/// How a call is carried out.
#[derive(Debug)]
pub(crate) enum Launch {
    /// The outcome is known without running anything.
    Answer(Outcome),
    /// Run this, and read its end so.
    Run(Program, Reading),
    /// Ask systemd on the bus.
    Unit(UnitCall),
}

/// How the end of a program is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The exit code is an OCF code.
    Ocf,
    /// An init script's exit code of an action that is not `status`.
    LsbAction,
    /// An init script's exit code of `status`.
    LsbStatus,
    /// systemctl's exit code.
    Systemctl,
    /// The state of a unit, as `systemctl show` prints it.
    UnitState,
    /// The description of a unit, to be put into meta-data.
    UnitDescription,
    /// The exit code of a fence agent.
    Fence,
    /// The exit code of a fence agent's `status`: 0 on, 2 off.
    FenceStatus,
    /// The parameters of a fencing plugin, to be put into meta-data.
    PluginParameters,
}

/// How to carry out `call`. `active` is whether the resource was started here and not stopped since.
pub(crate) fn launch(config: &Config, call: &AgentCall, active: bool) -> Launch {
    if let Err(outcome) = check_name(&call.agent) {
        return Launch::Answer(outcome);
    }
    match call.agent.class.as_str() {
        "ocf" => ocf::launch(config, call),
        "lsb" => lsb::launch(config, call),
        "systemd" => systemd::launch(config, call),
        // Pacemaker Explained, "Resource Classes": the first of lsb and systemd that has a service of this name.
        "service" if lsb::exists(config, &call.agent.kind) => lsb::launch(config, call),
        "service" => systemd::launch(config, call),
        "stonith" => fence::launch(config, call, active),
        other => Launch::Answer(Outcome::invalid(format!("there is no class of agents called {other:?}"))),
    }
}

/// How often the agent of a call is run, as long as it fails and there is time.
pub(crate) fn tries(call: &AgentCall) -> u32 {
    if call.agent.class == "stonith" { fence::tries(call) } else { 1 }
}

/// Whether another run may end better: the agent itself said that it failed. (2 is what `status` says of a node that is off.)
pub(crate) fn may_end_better(outcome: &Outcome) -> bool {
    outcome.status == ExecutionStatus::Done && !matches!(outcome.exit_code, exit_code::OK | exit_code::INVALID_PARAM)
}

/// What the end of a run means; nothing where the resource is still on its way to a state, and must be asked again.
pub(crate) fn read_end(call: &AgentCall, reading: Reading, run: io::Result<Run>) -> Option<Outcome> {
    let run = match run {
        Ok(run) => run,
        Err(error) => return Some(could_not_run(&call.agent, &error)),
    };
    let (status, exit_code, reason) = match run.end {
        End::Exited(code) if reading == Reading::UnitState => {
            return systemd::read_state(code, &run.output).map(|outcome| explained(outcome, &run));
        }
        End::Exited(0) if reading == Reading::UnitDescription => {
            return Some(Outcome::done(0).with_output(systemd::metadata(&call.agent.kind, &run.output)));
        }
        End::Exited(0) if reading == Reading::PluginParameters => {
            return Some(Outcome::done(0).with_output(plugin::metadata(&call.agent.kind, &run.output)));
        }
        End::Exited(code) => (ExecutionStatus::Done, to_ocf(reading, code), run.reason.clone()),
        End::Killed(signal) => {
            (ExecutionStatus::Error, exit_code::ERROR, format!("the agent was killed by signal {signal}"))
        }
        End::TimedOut => return Some(explained(Outcome::timed_out(call), &run)),
        End::Terminated => return Some(explained(Outcome::cancelled(), &run)),
    };
    Some(explained(Outcome::new(status, exit_code, reason), &run))
}

fn to_ocf(reading: Reading, code: i32) -> i32 {
    match reading {
        Reading::Ocf => code,
        Reading::LsbAction => lsb::action_to_ocf(code),
        Reading::LsbStatus => lsb::status_to_ocf(code),
        Reading::Systemctl | Reading::UnitState | Reading::UnitDescription => systemd::to_ocf(code),
        Reading::Fence | Reading::PluginParameters => fence::to_ocf(code),
        Reading::FenceStatus => fence::status_to_ocf(code),
    }
}

/// Adds what the agent printed, where it is of use: people get it for a failure, programs for an answer.
fn explained(outcome: Outcome, run: &Run) -> Outcome {
    const EXPECTED: [i32; 5] = [
        exit_code::OK,
        exit_code::NOT_RUNNING,
        exit_code::RUNNING_PROMOTED,
        exit_code::DEGRADED,
        exit_code::DEGRADED_PROMOTED,
    ];
    let well = outcome.status == ExecutionStatus::Done && EXPECTED.contains(&outcome.exit_code);
    if well && !run.answers {
        return outcome;
    }
    let mut output = String::from_utf8_lossy(&run.output).into_owned();
    if !well {
        output.push_str(&String::from_utf8_lossy(&run.errors));
    }
    outcome.with_output(output)
}

fn could_not_run(agent: &AgentName, error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::NotFound => Outcome::not_installed(format!("{agent} or its interpreter is not installed")),
        io::ErrorKind::PermissionDenied => Outcome::new(
            ExecutionStatus::Error,
            exit_code::INSUFFICIENT_PRIV,
            format!("{agent} is not executable: {error}"),
        ),
        _ => Outcome::new(ExecutionStatus::Error, exit_code::ERROR, format!("{agent} could not be run: {error}")),
    }
}

/// Names become parts of paths and arguments of programs: they must be plain.
fn check_name(agent: &AgentName) -> Result<(), Outcome> {
    // The one kind of agent that is named with its folder.
    let kind = match agent.kind.strip_prefix(plugin::PREFIX) {
        Some(plugin) if agent.class == "stonith" => plugin,
        _ => &agent.kind,
    };
    for name in std::iter::once(kind).chain(agent.provider.as_deref()) {
        if !is_plain(name) {
            return Err(Outcome::invalid(format!("{name:?} is not the name of an agent or provider")));
        }
    }
    Ok(())
}

fn is_plain(name: &str) -> bool {
    let odd = |c: char| c == '/' || c.is_control() || c.is_whitespace();
    !name.is_empty() && !name.starts_with(['.', '-']) && !name.contains(odd)
}

/// What every agent gets, whatever its class; nothing else of this process's own environment gets through.
fn environment(config: &Config) -> Vec<(String, String)> {
    let mut environment = vec![
        ("PATH".to_owned(), config.path.clone()),
        ("LC_ALL".to_owned(), "C".to_owned()),
        ("HOME".into(), "/".into()),
    ];
    environment.extend(config.environment.iter().cloned());
    environment
}

/// The agents of a class, sorted.
pub(crate) fn list(config: &Config, class: &str, provider: Option<&str>) -> Result<Vec<String>, String> {
    let names = match class {
        "ocf" => ocf::list(config, provider),
        "lsb" => executables(&config.init_directory),
        "systemd" => systemd::list(),
        "service" => executables(&config.init_directory).into_iter().chain(systemd::list()).collect(),
        "stonith" => fence::list(config),
        other => return Err(format!("there is no class of agents called {other:?}")),
    };
    Ok(names.into_iter().collect())
}

/// The names of the executable files in a directory; a directory that is not there has none.
fn executables(directory: &Path) -> BTreeSet<String> {
    entries(directory, |metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn entries(directory: &Path, wanted: impl Fn(&fs::Metadata) -> bool) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeSet::new() };
    entries
        .filter_map(Result::ok)
        // Through symbolic links: agents are often links to others.
        .filter(|entry| fs::metadata(entry.path()).is_ok_and(|metadata| wanted(&metadata)))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// Text in the place of XML character data or an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(class: &str, provider: Option<&str>, kind: &str) -> AgentName {
        AgentName { class: class.into(), provider: provider.map(Into::into), kind: kind.into() }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["../../bin/sh", "", ".hidden", "a b", "a\nb", "-x", "a\0b"] {
            assert!(check_name(&agent("ocf", Some("heartbeat"), bad)).is_err(), "{bad:?}");
            assert!(check_name(&agent("ocf", Some(bad), "Dummy")).is_err(), "{bad:?}");
        }
        for bad in ["external/", "external/../sh", "external/a/b", "internal/x"] {
            assert!(check_name(&agent("stonith", None, bad)).is_err(), "{bad:?}");
        }
        assert!(check_name(&agent("stonith", None, "external/ipmi")).is_ok());
        assert!(check_name(&agent("lsb", None, "external/ipmi")).is_err());
        assert!(check_name(&agent("systemd", None, "getty@tty1.service")).is_ok());
    }

    #[test]
    fn exit_codes_of_init_scripts_and_fence_agents() {
        let map = |reading| [0, 1, 2, 3, 4, 5, 6, 7, 150].map(|code| to_ocf(reading, code));
        assert_eq!(map(Reading::LsbAction), [0, 1, 2, 3, 4, 5, 6, 7, 1]);
        assert_eq!(map(Reading::LsbStatus), [0, 7, 7, 7, 1, 1, 1, 1, 5]);
        assert_eq!(map(Reading::Fence), [0, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(map(Reading::FenceStatus), [0, 1, 2, 1, 1, 1, 1, 1, 1]);
    }
}

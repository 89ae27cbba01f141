//! Class `stonith`: fence agents (FenceAgentAPI), which read `key=value` lines from standard input, and plugins of
//! cluster-glue.
//!
//! A stonith *resource* is no process that could run or not: to start it is to see that its device answers, and it is
//! running as long as it was started here and not stopped.

use super::{Launch, Outcome, Reading, environment, executables, plugin};
use crate::Config;
use crate::process::Program;
use hakudo_base::agent::{AgentCall, exit_code};
use std::collections::BTreeSet;
use std::fmt::Write;

pub(super) fn launch(config: &Config, call: &AgentCall, active: bool) -> Launch {
    let operation = match call.operation.as_str() {
        "stop" => return Launch::Answer(Outcome::done(exit_code::OK)),
        "monitor" if call.interval_ms == 0 && !active => {
            return Launch::Answer(Outcome::done(exit_code::NOT_RUNNING));
        }
        other => operation_of_device(other),
    };
    // An agent may call an action otherwise: pcmk_reboot_action=cycle, pcmk_monitor_action=status, ….
    let action = call.parameters.get(&format!("pcmk_{operation}_action")).map_or(operation, String::as_str);
    let name = &call.agent.kind;
    if name.starts_with(plugin::PREFIX) {
        return plugin::launch(config, call, operation, action);
    }
    if !name.starts_with("fence_") {
        let reason = format!("{} is not a fence agent: their names begin with fence_ or external/", call.agent);
        return Launch::Answer(Outcome::not_installed(reason));
    }
    let Some(path) = config.fence_directories.iter().map(|place| place.join(name)).find(|path| path.exists()) else {
        let places: Vec<_> = config.fence_directories.iter().map(|place| place.display().to_string()).collect();
        let reason = format!("{} is not installed: there is no {name} in {}", call.agent, places.join(", "));
        return Launch::Answer(Outcome::not_installed(reason));
    };
    let program = Program {
        path,
        environment: environment(config),
        input: Some(input(call, action).into_bytes()),
        answers: matches!(operation, "list" | "list-status" | "metadata" | "status"),
        ..Program::default()
    };
    Launch::Run(program, if operation == "status" { Reading::FenceStatus } else { Reading::Fence })
}

/// What an operation of the cluster is for a device.
fn operation_of_device(operation: &str) -> &str {
    match operation {
        "start" => "monitor",
        "meta-data" => "metadata",
        other => other,
    }
}

/// How often a device is asked, if it fails: `pcmk_…_retries`, which is the number of all tries and not that of further ones.
/// A device may be busy with somebody else. Who fences tries again by itself, on this node or another.
pub(super) fn tries(call: &AgentCall) -> u32 {
    let operation = operation_of_device(&call.operation);
    if !matches!(operation, "monitor" | "list" | "status") {
        return 1;
    }
    let text = call.parameters.get(&format!("pcmk_{operation}_retries"));
    let number = text.and_then(|text| hakudo_cib::values::integer(text)).unwrap_or(2);
    u32::try_from(number.clamp(1, 100)).unwrap_or(1)
}

fn input(call: &AgentCall, action: &str) -> String {
    let mut input = format!("action={action}\n");
    for (name, value) in &call.parameters {
        // A line end would let a value name another parameter.
        if !is_for_the_cluster(name) && !name.contains(['\n', '=']) && !value.contains('\n') {
            let _ = writeln!(input, "{name}={value}");
        }
    }
    input
}

/// Whether a parameter is the cluster's own, and not one of the agent.
pub(super) fn is_for_the_cluster(name: &str) -> bool {
    matches!(name, "action" | "crm_feature_set" | "provides")
        || name.starts_with("pcmk_")
        || name.starts_with("CRM_meta_")
}

/// The node that is meant, as its device knows it.
pub(super) fn host_of(call: &AgentCall) -> Option<&str> {
    ["plug", "nodename"].into_iter().find_map(|name| call.parameters.get(name)).map(String::as_str)
}

pub(super) fn to_ocf(code: i32) -> i32 {
    if code == 0 { exit_code::OK } else { exit_code::ERROR }
}

/// `status` says 0 for on and 2 for off, and these are kept.
pub(super) fn status_to_ocf(code: i32) -> i32 {
    if matches!(code, 0 | 2) { code } else { exit_code::ERROR }
}

pub(super) fn list(config: &Config) -> BTreeSet<String> {
    let names = config.fence_directories.iter().flat_map(|place| executables(place));
    names.filter(|name| name.starts_with("fence_")).chain(plugin::list(config)).collect()
}

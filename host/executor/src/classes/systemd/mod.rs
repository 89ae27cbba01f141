//! Class `systemd`: units, by way of the system bus ([`bus`]). On a machine without one (a container, a rescue system) they
//! are had by way of `systemctl`, which speaks with systemd directly.
//!
//! While the cluster has a service, systemd must not restart it by itself: two would decide. So each unit that is started
//! gets a drop-in that says `Restart=no`, which is taken away when it is stopped; it is under `/run`, and gone with a reboot.

pub(super) mod bus;
#[cfg(test)]
mod tests;

use super::{Launch, Outcome, Reading, entries, environment, lsb};
use crate::Config;
use crate::process::Program;
use hakudo_base::agent::{AgentCall, ExecutionStatus, exit_code};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The name of systemd on the bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// The drop-in of a unit that the cluster runs, in the unit's folder of drop-ins.
const DROP_IN: &str = "50-hakudo.conf";
/// Starts the unit `$1`: with systemctl `$0`, and the drop-in `$2` in its place.
const START: &str = r#"
mkdir -p "${2%/*}" && printf '%s\n' '[Unit]' "Description=Cluster controlled $1" "$3" "$4" > "$2" || exit 1
"$0" --no-ask-password daemon-reload && exec "$0" --no-ask-password start "$1"
"#;
/// Stops the unit `$1`, and takes the drop-in `$2` away.
const STOP: &str = r#"
"$0" --no-ask-password stop "$1"; code=$?
# What systemd does not know (5) does not run.
[ $code = 0 ] || [ $code = 5 ] || exit $code
[ -e "$2" ] || exit 0
rm -f "$2" && rmdir --ignore-fail-on-non-empty "${2%/*}"
"$0" --no-ask-password daemon-reload
"#;
/// Where unit files are, in systemd's own order of precedence.
const UNIT_DIRECTORIES: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system"];
/// What a unit's name may end with; a name without such an end is a service.
const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

pub(super) fn launch(config: &Config, call: &AgentCall) -> Launch {
    // systemd itself says so: `sd_booted(3)`.
    if !config.systemd_directory.is_dir() {
        let reason = format!("{} can not be used: this machine was not started by systemd", call.agent);
        return Launch::Answer(Outcome::not_installed(reason));
    }
    let unit = unit_name(&call.agent.kind);
    if config.system_bus.exists() {
        return match bus_operation(config, &call.operation, &unit) {
            Some(operation) => {
                let (bus, name) = (config.system_bus.clone(), call.agent.kind.clone());
                Launch::Unit(bus::UnitCall { bus, name, unit, operation })
            }
            None => Launch::Answer(Outcome::not_implemented(call)),
        };
    }
    let (arguments, reading): (&[&str], _) = match call.operation.as_str() {
        "start" => return Launch::Run(script(config, START, &unit), Reading::Systemctl),
        "stop" => return Launch::Run(script(config, STOP, &unit), Reading::Systemctl),
        "reload" => (&["reload"], Reading::Systemctl),
        "monitor" | "status" => (&["show", "--property=LoadState,ActiveState,Job"], Reading::UnitState),
        "meta-data" => (&["show", "--property=Description", "--value"], Reading::UnitDescription),
        _ => return Launch::Answer(Outcome::not_implemented(call)),
    };
    let program = Program {
        path: find_systemctl(config),
        arguments: ["--no-ask-password"].iter().chain(arguments).map(|&word| word.to_owned()).chain([unit]).collect(),
        environment: environment(config),
        answers: call.operation == "meta-data",
        ..Program::default()
    };
    Launch::Run(program, reading)
}

fn bus_operation(config: &Config, operation: &str, unit: &str) -> Option<bus::Operation> {
    let drop_in = drop_in(config, unit);
    Some(match operation {
        "start" => {
            let (section, setting) = no_restart(unit);
            let text = format!("[Unit]\nDescription=Cluster controlled {unit}\n{section}\n{setting}\n");
            bus::Operation::Start { drop_in, text }
        }
        "stop" => bus::Operation::Stop { drop_in },
        "reload" => bus::Operation::Reload,
        "monitor" | "status" => bus::Operation::Look,
        "meta-data" => bus::Operation::Describe,
        _ => return None,
    })
}

fn drop_in(config: &Config, unit: &str) -> PathBuf {
    config.systemd_directory.join(format!("{unit}.d")).join(DROP_IN)
}

/// What a drop-in says of a service, which others than services have no word for.
fn no_restart(unit: &str) -> (&'static str, &'static str) {
    if unit.ends_with(".service") { ("[Service]", "Restart=no") } else { ("", "") }
}

/// A script of ours with systemctl, the unit, its drop-in, and what the drop-in says of a service.
fn script(config: &Config, text: &str, unit: &str) -> Program {
    let drop_in = drop_in(config, unit);
    let (section, setting) = no_restart(unit);
    let words = [find_systemctl(config).display().to_string(), unit.to_owned(), drop_in.display().to_string()];
    let arguments = ["-c", text].map(str::to_owned).into_iter().chain(words);
    Program {
        path: PathBuf::from("/bin/sh"),
        arguments: arguments.chain([section, setting].map(str::to_owned)).collect(),
        environment: environment(config),
        ..Program::default()
    }
}

fn unit_name(name: &str) -> String {
    match SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        true => name.to_owned(),
        false => format!("{name}.service"),
    }
}

fn find_systemctl(config: &Config) -> PathBuf {
    let mut candidates = config.path.split(':').map(|directory| Path::new(directory).join("systemctl"));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("/usr/bin/systemctl"))
}

/// systemctl exits as an LSB init script does; 5 is "unit not loaded".
pub(super) fn to_ocf(code: i32) -> i32 {
    match code {
        0 => exit_code::OK,
        4 => exit_code::INSUFFICIENT_PRIV,
        5 => exit_code::NOT_INSTALLED,
        _ => exit_code::ERROR,
    }
}

/// The state of a unit from `systemctl show`; nothing while it is on its way.
pub(super) fn read_state(code: i32, output: &[u8]) -> Option<Outcome> {
    if code != 0 {
        let reason = format!("systemctl show failed with exit code {code}");
        return Some(Outcome::new(ExecutionStatus::Error, exit_code::ERROR, reason));
    }
    let text = String::from_utf8_lossy(output);
    let property = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("");
    state_of(property("LoadState"), property("ActiveState"), !matches!(property("Job"), "" | "0"))
}

/// What systemd's words for a unit mean; nothing while it is on its way.
fn state_of(loaded: &str, active: &str, has_job: bool) -> Option<Outcome> {
    match (loaded, active) {
        ("not-found", "inactive" | "") => Some(Outcome::not_installed("systemd has no such unit")),
        (_, "active" | "reloading" | "refreshing") => Some(Outcome::done(exit_code::OK)),
        (_, "activating" | "deactivating") => None,
        // A job that waits for others: a start whose call was given up goes on without it.
        _ if has_job => None,
        _ => Some(Outcome::done(exit_code::NOT_RUNNING)),
    }
}

pub(super) fn metadata(name: &str, description: &[u8]) -> String {
    let description = String::from_utf8_lossy(description);
    let description = description.trim();
    lsb::simple_metadata(name, description, &format!("The systemd unit {}: {description}", unit_name(name)))
}

/// The services for which there is a unit file, without `.service`; templates can not be run as they are.
pub(super) fn list() -> BTreeSet<String> {
    let files = UNIT_DIRECTORIES.iter().flat_map(|directory| entries(Path::new(directory), |file| file.is_file()));
    files
        .filter_map(|file| file.strip_suffix(".service").filter(|name| !name.ends_with('@')).map(str::to_owned))
        .collect()
}

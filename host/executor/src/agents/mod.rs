//! The agents that ship with hakudo: `hakudo agent NAME ACTION`, called by small scripts of the agents' names.
//!
//! They need no package and, but for the address, no privilege: the demo and the tests use them, and they are examples
//! of what an OCF 1.1 agent has to do. Every agent is a table (its meta-data) and a function from an action to an exit
//! code; parameters come as `OCF_RESKEY_…` as for any other agent.

mod address;
mod dummy;
mod fence_process;
mod http;
mod stateful;

use hakudo_base::agent::exit_code;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where agents keep what has to survive until the next start of the machine, unless a parameter says otherwise.
const STATE_DIRECTORY: &str = "HAKUDO_AGENT_STATE";
const DEFAULT_STATE_DIRECTORY: &str = "/run/hakudo/agents";

/// What an agent says of itself: the source of its meta-data, and of the defaults of its parameters.
struct Description {
    name: &'static str,
    short: &'static str,
    long: &'static str,
    parameters: &'static [Parameter],
    /// Name, timeout in seconds, interval in seconds where it recurs, role of a monitor.
    actions: &'static [Action],
}

struct Parameter {
    name: &'static str,
    short: &'static str,
    /// `string`, `integer`, `boolean` or `second`.
    kind: &'static str,
    default: Option<&'static str>,
    required: bool,
    unique: bool,
    reloadable: bool,
}

impl Parameter {
    const fn optional(
        name: &'static str,
        kind: &'static str,
        default: Option<&'static str>,
        short: &'static str,
    ) -> Self {
        Self { name, short, kind, default, required: false, unique: false, reloadable: false }
    }
}

struct Action {
    name: &'static str,
    timeout: u32,
    interval: Option<u32>,
    role: Option<&'static str>,
}

const fn action(name: &'static str, timeout: u32) -> Action {
    Action { name, timeout, interval: None, role: None }
}

const fn monitor(interval: u32, role: Option<&'static str>) -> Action {
    Action { name: "monitor", timeout: 20, interval: Some(interval), role }
}

/// Why an action did not succeed: an exit code of OCF, and a sentence for people.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    code: i32,
    reason: String,
}

fn failure(code: i32, reason: impl Into<String>) -> Failure {
    Failure { code, reason: reason.into() }
}

/// The exit code of an action that came to an end as it should; a monitor tells the state so.
type ActionResult = Result<i32, Failure>;

/// What an agent was called with.
struct Surroundings {
    instance: String,
    parameters: BTreeMap<String, String>,
    state_directory: PathBuf,
}

impl Surroundings {
    fn of_this_process() -> Self {
        let variables = || std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let parameters = variables()
            .filter_map(|(name, value)| Some((name.strip_prefix("OCF_RESKEY_")?.to_owned(), value.into_string().ok()?)))
            .collect();
        Self {
            instance: std::env::var("OCF_RESOURCE_INSTANCE").unwrap_or_else(|_| "default".to_owned()),
            parameters,
            state_directory: std::env::var_os(STATE_DIRECTORY)
                .map_or_else(|| PathBuf::from(DEFAULT_STATE_DIRECTORY), PathBuf::from),
        }
    }

    /// A parameter as it is set, or its default; an empty value counts as not set.
    fn get(&self, description: &Description, name: &str) -> Option<&str> {
        let set = self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty());
        set.or_else(|| description.parameters.iter().find(|parameter| parameter.name == name)?.default)
    }

    fn required(&self, description: &Description, name: &str) -> Result<&str, Failure> {
        let missing = || failure(exit_code::NOT_CONFIGURED, format!("the parameter {name} is not set"));
        self.get(description, name).ok_or_else(missing)
    }

    fn seconds(&self, description: &Description, name: &str) -> Result<Duration, Failure> {
        let text = self.get(description, name).unwrap_or("0");
        let number: Option<f64> = text.trim_end_matches('s').parse().ok();
        number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| {
            failure(exit_code::NOT_CONFIGURED, format!("the parameter {name} is {text:?}, not a number of seconds"))
        })
    }

    /// A file of this resource: the parameter `name`, or one in the state directory.
    fn file(&self, description: &Description, name: &str, suffix: &str) -> PathBuf {
        match self.get(description, name) {
            Some(path) => PathBuf::from(path),
            None => {
                let instance = self.instance.replace(['/', '\0'], "_");
                self.state_directory.join(format!("{}-{instance}.{suffix}", description.name))
            }
        }
    }
}

/// Runs `hakudo agent ARGUMENTS…`: the agent's name and the action; the exit code. A fence agent takes its action from standard input.
pub fn main(arguments: &[String]) -> u8 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["fence_hakudo_process", rest @ ..] => return fence_process::main(rest),
        [address::ANNOUNCER] => return address::announce_again(),
        [http::SERVER, rest @ ..] => return http::serve(rest),
        _ => {}
    }
    let [name, action] = words.as_slice() else { return usage() };
    let (description, run): (&Description, fn(&Surroundings, &str) -> ActionResult) = match *name {
        "Dummy" => (&dummy::DESCRIPTION, dummy::run),
        "Stateful" => (&stateful::DESCRIPTION, stateful::run),
        "Address" => (&address::DESCRIPTION, address::run),
        "Http" => (&http::DESCRIPTION, http::run),
        _ => return usage(),
    };
    if *action == "meta-data" {
        print_line(&metadata(description));
        return 0;
    }
    if !description.actions.iter().any(|known| known.name == *action) {
        return exit(Err(failure(exit_code::UNIMPLEMENT_FEATURE, format!("{name} has no action {action:?}"))));
    }
    exit(run(&Surroundings::of_this_process(), action))
}

fn usage() -> u8 {
    eprint_line("usage: hakudo agent {Dummy|Stateful|Address|Http} ACTION, or hakudo agent fence_hakudo_process");
    code(exit_code::UNIMPLEMENT_FEATURE)
}

fn exit(result: ActionResult) -> u8 {
    match result {
        Ok(exit_code) => code(exit_code),
        Err(Failure { code: exit_code, reason }) => {
            let prefix = std::env::var("OCF_EXIT_REASON_PREFIX");
            let prefix = prefix.as_deref().unwrap_or(crate::process::REASON_PREFIX);
            eprint_line(&format!("{prefix}{}", reason.replace('\n', " ")));
            code(exit_code)
        }
    }
}

fn code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(1)
}

/// The program by which agents call themselves: as the executor says, or this one.
fn program() -> io::Result<PathBuf> {
    std::env::var_os("HAKUDO").map_or_else(std::env::current_exe, |program| Ok(PathBuf::from(program)))
}

/// Prints; a reader that went away is no reason to fail.
fn print_line(text: &str) {
    let _ = io::Write::write_all(&mut io::stdout(), format!("{}\n", text.trim_end()).as_bytes());
}

fn eprint_line(text: &str) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("{text}\n").as_bytes());
}

/// The meta-data of an agent, as OCF 1.1 §5 has it.
fn metadata(description: &Description) -> String {
    let Description { name, short, long, parameters, actions } = description;
    let mut xml = format!(
        "<?xml version=\"1.0\"?>\n<resource-agent name=\"{name}\" version=\"1.0\">\n  <version>1.1</version>\n  \
         <longdesc lang=\"en\">{long}</longdesc>\n  <shortdesc lang=\"en\">{short}</shortdesc>\n  <parameters>\n"
    );
    for Parameter { name, short, kind, default, required, unique, reloadable } in *parameters {
        let group = if *unique { format!(" unique-group=\"{name}\"") } else { String::new() };
        let (required, reloadable) = (u8::from(*required), u8::from(*reloadable));
        let default = default.map(|value| format!(" default=\"{value}\"")).unwrap_or_default();
        let _ = write!(
            xml,
            "    <parameter name=\"{name}\"{group} required=\"{required}\" reloadable=\"{reloadable}\">\n      \
             <longdesc lang=\"en\">{short}</longdesc>\n      <shortdesc lang=\"en\">{short}</shortdesc>\n      \
             <content type=\"{kind}\"{default}/>\n    </parameter>\n"
        );
    }
    xml.push_str("  </parameters>\n  <actions>\n");
    for Action { name, timeout, interval, role } in *actions {
        let interval = interval.map(|seconds| format!(" interval=\"{seconds}s\" depth=\"0\"")).unwrap_or_default();
        let role = role.map(|role| format!(" role=\"{role}\"")).unwrap_or_default();
        let _ = writeln!(xml, "    <action name=\"{name}\" timeout=\"{timeout}s\"{interval}{role}/>");
    }
    xml.push_str("  </actions>\n</resource-agent>");
    xml
}

/// Writes a small state file whole or not at all.
fn write_state(path: &PathBuf, text: &str) -> Result<(), Failure> {
    let broken =
        |error: io::Error| failure(exit_code::ERROR, format!("{} can not be written: {error}", path.display()));
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(broken)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, text).map_err(broken)?;
    fs::rename(&fresh, path).map_err(broken)
}

/// Removes a file; one that is not there is as good.
fn remove_state(path: &PathBuf) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failure(exit_code::ERROR, format!("{} can not be removed: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// What a state file holds; nothing where there is none.
fn read_state(path: &PathBuf) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(exit_code::ERROR, format!("{} can not be read: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests;

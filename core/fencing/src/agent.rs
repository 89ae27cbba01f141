//! What is known of fence agents: their metadata, and what `list` and `status` answer (FenceAgentAPI).

use crate::config::{Device, words};
use hakudo_base::agent::{AgentResult, ExecutionStatus};
use hakudo_cib::{Element, values};
use std::collections::{BTreeMap, BTreeSet};

/// What an agent's metadata say, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// The parameter that names the target: `plug` or `port`, whichever there is.
    host_argument: Option<&'static str>,
    actions: BTreeSet<String>,
    /// Actions that only the target itself can run.
    on_target: BTreeSet<String>,
}

impl Metadata {
    /// Reads what an agent printed. Complaints around the document are passed over.
    pub(crate) fn parse(output: &str) -> Result<Self, String> {
        let start = output.find("<resource-agent").ok_or("it printed no <resource-agent>")?;
        let end = output.rfind("</resource-agent>").ok_or("its <resource-agent> has no end")?;
        let text =
            output.get(start..end + "</resource-agent>".len()).ok_or("its <resource-agent> ends before it begins")?;
        let root = Element::parse(text).map_err(|error| error.to_string())?;
        let parameters: Vec<&str> =
            named(&root, "parameters", "parameter").filter_map(|p| p.attribute("name")).collect();
        let actions: Vec<&Element> = named(&root, "actions", "action").collect();
        let names = |fits: &dyn Fn(&Element) -> bool| -> BTreeSet<String> {
            actions.iter().filter(|a| fits(a)).filter_map(|a| a.attribute("name")).map(str::to_owned).collect()
        };
        let is_on_target = |action: &Element| action.attribute("on_target").and_then(values::boolean) == Some(true);
        Ok(Self {
            host_argument: ["plug", "port"].into_iter().find(|name| parameters.contains(name)),
            actions: names(&|_| true),
            on_target: names(&is_on_target),
        })
    }

    pub(crate) fn supports(&self, action: &str) -> bool {
        self.actions.contains(action)
    }

    pub(crate) fn is_on_target(&self, action: &str) -> bool {
        self.on_target.contains(action)
    }
}

fn named<'a>(root: &'a Element, list: &str, item: &'a str) -> impl Iterator<Item = &'a Element> {
    root.child(list).into_iter().flat_map(move |all| all.children_named(item))
}

/// The nodes that `list` printed: the first word of a line, or several between commas and spaces, without what agents print
/// beside them.
pub(crate) fn listed(output: &str) -> BTreeSet<String> {
    output
        .replace("\\n", "\n")
        .lines()
        // Some agents complain of parameters that they do not know.
        .filter(|line| !line.contains("invalid") && !line.contains("variable"))
        .flat_map(|line| words(line).map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| !word.eq_ignore_ascii_case("on") && !word.eq_ignore_ascii_case("off"))
        .map(|word| word.to_ascii_lowercase())
        .collect()
}

/// Whether `status` says that the device knows the target: on (0) or off (2).
pub(crate) fn status_knows(result: &AgentResult) -> Result<bool, String> {
    match (result.status, result.exit_code) {
        (ExecutionStatus::Done, 0 | 2) => Ok(true),
        (ExecutionStatus::Done, 1) => Ok(false),
        _ => Err(complaint(result)),
    }
}

pub(crate) fn succeeded(result: &AgentResult) -> bool {
    result.status == ExecutionStatus::Done && result.exit_code == 0
}

/// Whether it is the node's fault and not the device's: another node may do better.
pub(crate) fn could_not_run(result: &AgentResult) -> bool {
    matches!(
        result.status,
        ExecutionStatus::NotInstalled
            | ExecutionStatus::NotConnected
            | ExecutionStatus::Cancelled
            | ExecutionStatus::Refused
            | ExecutionStatus::ErrorHard
    )
}

/// What went wrong, in a few words for people.
pub(crate) fn complaint(result: &AgentResult) -> String {
    let what = match result.status {
        ExecutionStatus::Timeout => "it took too long and was stopped".to_owned(),
        ExecutionStatus::NotInstalled => "the agent is not installed there".to_owned(),
        ExecutionStatus::NotConnected => "the executor there cannot be reached".to_owned(),
        ExecutionStatus::Cancelled => "it was cancelled".to_owned(),
        ExecutionStatus::Refused => "the executor there refuses this node's orders".to_owned(),
        ExecutionStatus::NotSupported => "the agent does not know the action".to_owned(),
        ExecutionStatus::Invalid => "the parameters are wrong".to_owned(),
        _ => format!("exit code {}", result.exit_code),
    };
    let said = if result.exit_reason.is_empty() {
        result.output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
    } else {
        result.exit_reason.as_str()
    };
    let said: String = said.chars().take(200).collect();
    if said.is_empty() { what } else { format!("{what}: {said}") }
}

/// The parameters of a call: the device's own, and how the agent is told of the target.
pub(crate) fn parameters(
    device: &Device,
    metadata: Option<&Metadata>,
    target: Option<&str>,
) -> BTreeMap<String, String> {
    let mut all = device.parameters.clone();
    let Some(target) = target else { return all };
    all.insert("nodename".into(), target.to_owned());
    let configured = device.parameters.get("pcmk_host_argument").map(String::as_str);
    let argument = configured.or(metadata.and_then(|metadata| metadata.host_argument));
    if let Some(argument) = argument.filter(|argument| !argument.eq_ignore_ascii_case("none")) {
        // A port that is configured for the device as a whole stays, unless it says "dynamic".
        let fixed = device.parameters.get(argument).is_some_and(|value| !value.eq_ignore_ascii_case("dynamic"));
        if !fixed {
            all.insert(argument.to_owned(), device.port(target).unwrap_or(target).to_owned());
        }
    }
    all
}

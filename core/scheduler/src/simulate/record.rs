//! How the result of an operation is written into the history of a resource.

use crate::decide::digest::digest_of_action;
use crate::transition::ResourceRef;
use hakudo_base::agent::ExecutionStatus;
use hakudo_cib::Element;
use std::collections::BTreeMap;

/// The feature set whose form of the history is written.
const FEATURE_SET: &str = "3.20.5";

/// Who wrote an entry, as it says itself.
pub(super) const ORIGIN: &str = "crm_simulate";

/// What stands in place of a transition's UUID where there was none.
const NO_TRANSITION: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// The result of an operation as `crm_simulate` takes it: `RESOURCE_TASK_INTERVAL@NODE=EXIT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationResult {
    /// The resource; for an anonymous clone with or without instance number.
    pub resource: String,
    /// `start`, `monitor`, ….
    pub task: String,
    /// Milliseconds; 0 for one run.
    pub interval_ms: u64,
    /// The node by name.
    pub node: String,
    /// What the agent returned.
    pub exit_code: i32,
}

impl OperationResult {
    /// Reads `RESOURCE_TASK_INTERVAL@NODE=EXIT`.
    ///
    /// # Errors
    /// With a sentence that says which part is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form =
            "an operation result is written RESOURCE_TASK_INTERVAL@NODE=EXIT, for instance web_monitor_10000@node1=7";
        let (key, rest) = text.split_once('@').ok_or_else(|| format!("'{text}' has no @NODE: {form}"))?;
        let (node, exit_code) = rest.rsplit_once('=').ok_or_else(|| format!("'{text}' has no =EXIT: {form}"))?;
        let exit_code =
            exit_code.parse().map_err(|_| format!("'{exit_code}' in '{text}' is not an exit code: {form}"))?;
        let (resource, task, interval_ms) = parse_operation_key(key)
            .ok_or_else(|| format!("'{key}' in '{text}' is not RESOURCE_TASK_INTERVAL: {form}"))?;
        Ok(Self { resource, task, interval_ms, node: node.to_owned(), exit_code })
    }
}

/// The parts of an operation key: resource, task and interval in milliseconds.
pub fn parse_operation_key(key: &str) -> Option<(String, String, u64)> {
    let (rest, interval) = key.rsplit_once('_')?;
    let interval = interval.parse().ok()?;
    for task in ["migrate_to", "migrate_from"] {
        if let Some(resource) = rest.strip_suffix(task).and_then(|rest| rest.strip_suffix('_')) {
            return (!resource.is_empty()).then(|| (resource.to_owned(), task.to_owned(), interval));
        }
    }
    let (resource, task) = rest.rsplit_once('_')?;
    let notified = ["_pre_notify", "_post_notify"].iter().find_map(|suffix| resource.strip_suffix(suffix));
    let (resource, task) = notified.map_or((resource, task), |resource| (resource, "notify"));
    (!resource.is_empty()).then(|| (resource.to_owned(), task.to_owned(), interval))
}

/// What an operation did.
pub(super) struct Done<'a> {
    pub(super) task: &'a str,
    pub(super) interval_ms: u64,
    pub(super) node: &'a str,
    pub(super) exit_code: i32,
    /// What the plan expected.
    pub(super) target: i32,
    pub(super) exit_reason: &'a str,
    /// The attributes of the action, where a graph asked for it.
    pub(super) attributes: Option<&'a BTreeMap<String, String>>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// An empty history of a resource.
pub(super) fn empty_history(id: &str, resource: &ResourceRef) -> Element {
    let mut history = Element::new("lrm_resource").with("id", id).with("class", &resource.agent.class);
    if let Some(provider) = &resource.agent.provider {
        history.set("provider", provider);
    }
    history.with("type", &resource.agent.kind)
}

/// Writes a result into the history of a resource, with a call number above all that are there.
pub(super) fn record(history: &mut Element, done: &Done<'_>) {
    let resource = history.id().to_owned();
    let call = history
        .children()
        .filter_map(|entry| entry.attribute("call-id"))
        .filter_map(|call| call.parse::<i64>().ok())
        .fold(0, i64::max)
        .saturating_add(1);
    // A reload that went well makes the resource what a start would make it.
    let task = if matches!(done.task, "reload" | "reload-agent") { "start" } else { done.task };
    let key = format!("{resource}_{task}_{}", done.interval_ms);
    let migration = matches!(done.task, "migrate_to" | "migrate_from");
    let notification = task == "notify";
    let failed = !notification && !migration && done.exit_code != done.target;
    let mut ids = Vec::new();
    if notification {
        let meta = |name: &str| done.attributes.and_then(|all| all.get(name)).map_or("", String::as_str);
        let (when, what) = (meta("CRM_meta_notify_type"), meta("CRM_meta_notify_operation"));
        ids.push(format!("{resource}_{when}_notify_{what}_0"));
    } else if migration || (done.interval_ms > 0 && !failed) {
        ids.push(key.clone());
    } else if failed {
        ids.push(format!("{resource}_last_failure_0"));
        if done.interval_ms == 0 {
            ids.push(format!("{resource}_last_0"));
        }
    } else {
        ids.push(format!("{resource}_last_0"));
    }
    let exit_code = if notification { 0 } else { done.exit_code };
    let transition_key = format!("{call}:-1:{}:{NO_TRANSITION}", done.target);
    for id in ids {
        let is_it = |entry: &Element| entry.name() == "lrm_rsc_op" && entry.id() == id;
        if !history.children().any(is_it) {
            history.push(Element::new("lrm_rsc_op").with("id", &id));
        }
        let Some(entry) = history.find_child_mut(is_it) else { continue };
        for (name, value) in [
            ("operation_key", key.as_str()),
            ("operation", task),
            ("crm-debug-origin", ORIGIN),
            ("crm_feature_set", FEATURE_SET),
            ("transition-key", &transition_key),
            ("transition-magic", &format!("{}:{exit_code};{transition_key}", ExecutionStatus::Done as i8)),
            ("exit-reason", if failed { done.exit_reason } else { "" }),
            ("on_node", done.node),
            ("call-id", &call.to_string()),
            ("rc-code", &exit_code.to_string()),
            ("op-status", &(ExecutionStatus::Done as i8).to_string()),
            ("interval", &done.interval_ms.to_string()),
            ("last-rc-change", &done.now.to_string()),
            ("exec-time", "0"),
            ("queue-time", "0"),
        ] {
            entry.set(name, value);
        }
        if let Some(attributes) = done.attributes {
            entry.set("op-digest", &digest_of_action(attributes));
        }
        if migration {
            for name in ["migrate_source", "migrate_target"] {
                if let Some(node) = done.attributes.and_then(|all| all.get(&format!("CRM_meta_{name}"))) {
                    entry.set(name, node);
                }
            }
        }
    }
}

/// The names of the fail count and of the time of the newest failure.
pub(super) fn failure_attributes(resource: &str, task: &str, interval_ms: u64) -> (String, String) {
    let of = format!("{resource}#{task}_{interval_ms}");
    (format!("fail-count-{of}"), format!("last-failure-{of}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart() {
        let parts =
            |key| parse_operation_key(key).map(|(resource, task, interval)| format!("{resource} {task} {interval}"));
        for (key, expected) in [
            ("web_monitor_10000", Some("web monitor 10000")),
            ("my_web_migrate_to_0", Some("my_web migrate_to 0")),
            ("web:1_reload-agent_0", Some("web:1 reload-agent 0")),
            ("web_post_notify_start_0", Some("web notify 0")),
            ("web_monitor", None),
            ("_start_0", None),
        ] {
            assert_eq!(parts(key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn an_operation_result_names_what_is_wrong_with_it() {
        assert_eq!(
            OperationResult::parse("web_monitor_10000@node1=7"),
            Ok(OperationResult {
                resource: "web".to_owned(),
                task: "monitor".to_owned(),
                interval_ms: 10_000,
                node: "node1".to_owned(),
                exit_code: 7
            })
        );
        assert!(OperationResult::parse("web_monitor_10000").unwrap_err().contains("has no @NODE"));
        assert!(OperationResult::parse("web_monitor_10000@n=x").unwrap_err().contains("not an exit code"));
    }
}

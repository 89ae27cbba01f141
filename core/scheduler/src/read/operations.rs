//! Configured operations, and what they say about an action.

use super::attributes::{RuleInput, shared_children};
use crate::decide::action::{OpKey, Requires, Task};
use crate::model::{NodeIndex, ResourceId, Role};
use crate::planner::Planner;
use crate::values;
use hakudo_cib::Element;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An `<op>`.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) element: Arc<Element>,
    pub(crate) name: String,
    pub(crate) interval_ms: u32,
    pub(crate) enabled: bool,
    /// Configured in another resource, to which `<operations id-ref="…"/>` refers.
    pub(crate) elsewhere: bool,
}

impl Operation {
    /// What the blocks in it may refer to: what is in its resource; anything where it is configured elsewhere.
    pub(crate) fn scope<'a>(&self, resource: &'a Element) -> Option<&'a Element> {
        (!self.elsewhere).then_some(resource)
    }
}

/// What happens when an action fails (`on-fail`), mildest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OnFail {
    #[default]
    Ignore,
    Demote,
    Restart,
    ResetRemote,
    RestartContainer,
    Ban,
    Block,
    Stop,
    Standby,
    Fence,
}

/// The timeout of an action that has none configured, in milliseconds.
const DEFAULT_TIMEOUT_MS: i64 = 20_000;

impl Planner {
    pub(crate) fn read_operations(&mut self, element: &Element) -> Arc<Vec<Operation>> {
        let Some(section) = shared_children(element, "operations").next() else { return Arc::default() };
        let elsewhere = section.attribute("id-ref").is_some();
        let Some(section) = self.resolve(section) else { return Arc::default() };
        let operations = shared_children(&section, "op").map(|op| Operation {
            element: Arc::clone(op),
            name: op.attribute("name").unwrap_or_default().to_owned(),
            interval_ms: interval_of(op),
            enabled: op.attribute("enabled").is_none_or(|text| values::boolean(text) != Some(false)),
            elsewhere,
        });
        Arc::new(operations.collect())
    }

    /// The operation configured for a task at an interval.
    pub(crate) fn find_operation(
        &self,
        resource: ResourceId,
        task: &str,
        interval_ms: u32,
        also_disabled: bool,
    ) -> Option<usize> {
        let operations = &self.sources[resource.index()].operations;
        let find = |name: &str, interval: u32| {
            operations.iter().position(|operation| {
                (also_disabled || operation.enabled) && operation.interval_ms == interval && operation.name == name
            })
        };
        find(task, interval_ms)
            .or_else(|| if matches!(task, "migrate_to" | "migrate_from") { find("migrate", 0) } else { None })
    }

    /// The meta-attributes of an action: of its operation, the defaults, and what follows from them.
    pub(crate) fn operation_meta(
        &mut self,
        resource: ResourceId,
        node: Option<NodeIndex>,
        task: &str,
        interval_ms: u32,
        operation: Option<usize>,
    ) -> BTreeMap<String, String> {
        let operations = Arc::clone(&self.sources[resource.index()].operations);
        let configured = operation.and_then(|place| operations.get(place));
        let agent = self.resource(resource).agent.clone();
        let input = RuleInput {
            agent: agent.as_ref(),
            operation: Some((task, u64::from(interval_ms))),
            ..RuleInput::default()
        };
        let mut meta = BTreeMap::new();
        if let Some(operation) = configured {
            let source = Arc::clone(&self.sources[resource.index()].element);
            let input = RuleInput { scope: operation.scope(&source), ..input };
            self.read_blocks(&operation.element, "meta_attributes", None, &input, &mut meta);
            for attribute in operation.element.attributes() {
                meta.insert(attribute.name.to_string(), attribute.value.to_string());
            }
        }
        let probe = task == "monitor" && interval_ms == 0;
        if probe
            && !meta.contains_key("timeout")
            && let Some(frequent) = most_frequent_monitor(&operations)
            && let Some(timeout) = frequent.element.attribute("timeout")
        {
            meta.insert("timeout".to_owned(), timeout.to_owned());
        }
        if let Some(defaults) = self.operation_defaults.clone() {
            self.read_blocks(&defaults, "meta_attributes", None, &input, &mut meta);
        }
        meta.remove("id");
        if interval_ms > 0 {
            meta.insert("interval".to_owned(), interval_ms.to_string());
        } else {
            meta.remove("interval");
        }
        let is_device = agent.as_ref().is_some_and(|agent| agent.class.eq_ignore_ascii_case("stonith"));
        if is_device && (task == "start" || probe) {
            let parameters = self.parameters(resource, node);
            if let Some(timeout) = parameters.get("pcmk_monitor_timeout") {
                meta.insert("timeout".to_owned(), timeout.clone());
            }
        }
        let timeout = meta.get("timeout").and_then(|text| values::milliseconds(text)).filter(|ms| *ms > 0);
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT_MS).min(i64::from(i32::MAX));
        meta.insert("timeout".to_owned(), timeout.to_string());
        self.validate_on_fail(resource, task, configured, &mut meta);
        if let Some(text) = meta.get("start-delay") {
            let delay = values::milliseconds(text).unwrap_or(0).clamp(0, i64::from(i32::MAX));
            meta.insert("start-delay".to_owned(), delay.to_string());
        } else if let Some(delay) = self.delay_from_origin(meta.get("interval-origin"), interval_ms) {
            meta.insert("start-delay".to_owned(), delay.to_string());
        }
        meta
    }

    /// Milliseconds until the next multiple of the interval after `interval-origin`.
    fn delay_from_origin(&self, origin: Option<&String>, interval_ms: u32) -> Option<i64> {
        let interval = i64::from(interval_ms / 1000);
        if interval == 0 {
            return None;
        }
        let origin = crate::rules::moment(origin?, self.model.now)?;
        let past = (self.model.now.seconds() - origin) % interval;
        Some(if past <= 0 { -past * 1000 } else { (interval - past) * 1000 })
    }

    /// Removes values of `on-fail` that the action cannot have, and finds the one of a demote that has none.
    fn validate_on_fail(
        &mut self,
        resource: ResourceId,
        task: &str,
        configured: Option<&Operation>,
        meta: &mut BTreeMap<String, String>,
    ) {
        let value = meta.get("on-fail").map(|text| text.to_ascii_lowercase());
        let id = self.resource(resource).id.clone();
        match (task, value.as_deref()) {
            ("stop", Some("standby" | "demote" | "stop")) => {
                self.problem(&id, "this on-fail is not possible for stop; the default is used");
                meta.remove("on-fail");
            }
            ("demote", None) => {
                let operations = Arc::clone(&self.sources[resource.index()].operations);
                for operation in operations.iter().filter(|op| is_promoted_monitor(op) && op.enabled) {
                    if let Some(on_fail) = operation.element.attribute("on-fail")
                        && !on_fail.eq_ignore_ascii_case("demote")
                    {
                        meta.insert("on-fail".to_owned(), on_fail.to_owned());
                    }
                }
            }
            ("lrm_delete", value) if value != Some("ignore") => {
                meta.insert("on-fail".to_owned(), "ignore".to_owned());
            }
            (_, Some("demote")) => {
                let possible = configured.is_some_and(|op| op.name == "promote" || is_promoted_monitor(op));
                if !possible {
                    self.problem(&id, format!("on-fail=demote is not possible for {task}; the default is used"));
                    meta.remove("on-fail");
                }
            }
            _ => {}
        }
    }

    /// What a failure of the action leads to.
    pub(crate) fn on_fail(
        &mut self,
        resource: ResourceId,
        task: &str,
        interval_ms: u32,
        value: Option<&str>,
    ) -> OnFail {
        let fencing = self.model.options.fencing_enabled;
        let subject = self.model.resource(resource);
        let (id, managed, launched) = (subject.id.clone(), subject.managed, subject.launcher.is_some());
        let remote_node = subject.remote_connection
            && self.model.node_named(&subject.id).is_some_and(|node| self.model.node(node).is_remote());
        let resets = remote_node && !(task == "monitor" && interval_ms == 0) && task != "start";
        let explicit = match value.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("block") => Some(OnFail::Block),
            Some("fence") if fencing => Some(OnFail::Fence),
            Some("fence") => {
                self.problem(&id, format!("on-fail=fence of {task} becomes 'stop' because fencing is disabled"));
                Some(OnFail::Stop)
            }
            Some("standby") => Some(OnFail::Standby),
            Some("ignore" | "nothing") => Some(OnFail::Ignore),
            Some("migrate") => Some(OnFail::Ban),
            Some("stop") => Some(OnFail::Stop),
            Some("restart") => Some(OnFail::Restart),
            Some("restart-container") => launched.then_some(OnFail::RestartContainer),
            Some("demote") => Some(OnFail::Demote),
            Some(other) => {
                self.problem(&id, format!("on-fail '{other}' of {task} is not valid; the default is used"));
                None
            }
        };
        match explicit {
            Some(chosen) if !resets || managed => chosen,
            _ if launched => OnFail::RestartContainer,
            _ if resets && managed => OnFail::ResetRemote,
            _ if resets => OnFail::Stop,
            _ if task == "stop" && fencing => OnFail::Fence,
            _ if task == "stop" => OnFail::Block,
            _ => OnFail::Restart,
        }
    }

    /// The role to be taken after a failure.
    pub(crate) fn role_after_failure(&self, resource: ResourceId, task: &str, on_fail: OnFail) -> Role {
        match on_fail {
            OnFail::Stop => Role::Stopped,
            OnFail::ResetRemote if self.resource(resource).reconnect_ms != 0 => Role::Stopped,
            _ if task == "promote" => Role::Unpromoted,
            _ => Role::Started,
        }
    }

    /// What must be so for an action to run.
    pub(crate) fn requirement(&self, resource: ResourceId, task: Task) -> Requires {
        let subject = self.resource(resource);
        match task {
            Task::Start | Task::Promote if subject.needs_fencing => Requires::Fencing,
            Task::Start | Task::Promote if subject.needs_quorum => Requires::Quorum,
            _ => Requires::Nothing,
        }
    }

    /// The place of the operation that an action of this key belongs to.
    pub(crate) fn operation_of(&self, resource: ResourceId, key: OpKey, task: Task) -> Option<usize> {
        let name = self.task_name(task);
        self.find_operation(resource, name, key.interval_ms, true)
            .or_else(|| if key.notify.is_some() { self.find_operation(resource, "notify", 0, true) } else { None })
    }
}

/// The interval of an operation in milliseconds.
fn interval_of(operation: &Element) -> u32 {
    let text = operation.attribute("interval").unwrap_or("0");
    u32::try_from(values::interval(text).unwrap_or(0)).unwrap_or(u32::MAX)
}

fn is_promoted_monitor(operation: &Operation) -> bool {
    operation.name == "monitor"
        && operation.interval_ms > 0
        && operation.element.attribute("role").is_some_and(|role| Role::parse(role) == Role::Promoted)
}

/// The enabled recurring monitor of the smallest interval.
fn most_frequent_monitor(operations: &[Operation]) -> Option<&Operation> {
    operations
        .iter()
        .filter(|operation| operation.name == "monitor" && operation.interval_ms > 0 && operation.enabled)
        .min_by_key(|operation| operation.interval_ms)
}

/// Whether the meta-attributes below an element may depend on rules.
pub(crate) fn has_rules(element: &Element) -> bool {
    element.children().any(|block| block.attribute("id-ref").is_some() || block.child("rule").is_some())
}

//! What agents and devices are asked before they can be used: metadata, lists, status; and where they run.

use super::{Call, Fencer, Purpose};
use crate::agent::{self, Metadata};
use crate::config::{Device, HostCheck};
use crate::core_types::{Action, Effect, Run};
use crate::operation::Operation;
use hakudo_base::Instant;
use hakudo_base::agent::{AgentName, AgentResult};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an answer of `list`, and a failure to get metadata, count.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);
/// How long an agent may take for its metadata.
const METADATA_TIMEOUT: Duration = Duration::from_secs(20);

/// What is known of an agent.
#[derive(Debug)]
pub(super) enum Known {
    Asked { tried: BTreeSet<String> },
    Metadata(Metadata),
    Failed { at: Instant },
}

/// The newest answer of a device's `list`.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) hosts: Option<BTreeSet<String>>,
    pub(super) at: Option<Instant>,
    pub(super) failure: Option<String>,
}

/// Whether a device can fence a target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    No(String),
    /// That must be asked first.
    Ask(Purpose),
}

impl Fencer {
    /// Asks agents for their metadata as soon as they are known, so that nothing need be asked when it matters.
    pub(super) fn learn_agents(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let devices: Vec<Device> = self.config.devices.values().cloned().collect();
        for device in devices {
            let tried = match self.agents.get(&device.agent) {
                None => BTreeSet::new(),
                Some(Known::Asked { tried }) => tried.clone(),
                Some(_) => continue,
            };
            let purpose = Purpose::Metadata(device.agent.clone());
            if self.is_asked(&purpose, &device.id) || self.nodes.is_empty() {
                continue;
            }
            let Some(on) = self.node_for(&device, None, &tried) else {
                self.agents.insert(device.agent.clone(), Known::Failed { at: now });
                continue;
            };
            self.agents.insert(device.agent.clone(), Known::Asked { tried });
            self.run(now, &device, "metadata", None, purpose, on, METADATA_TIMEOUT, effects);
        }
    }

    pub(super) fn metadata_answered(&mut self, now: Instant, agent: AgentName, on: &str, result: &AgentResult) {
        let known = match (agent::succeeded(result), self.agents.remove(&agent)) {
            (true, _) => match Metadata::parse(&result.output) {
                Ok(metadata) => Known::Metadata(metadata),
                Err(_) => Known::Failed { at: now },
            },
            (false, known) if agent::could_not_run(result) => {
                let mut tried = if let Some(Known::Asked { tried }) = known { tried } else { BTreeSet::new() };
                tried.insert(on.to_owned());
                Known::Asked { tried }
            }
            (false, _) => Known::Failed { at: now },
        };
        self.agents.insert(agent, known);
    }

    pub(super) fn list_answered(&mut self, now: Instant, device: String, result: &AgentResult) {
        for operation in self.operations.values_mut() {
            operation.lists_asked.insert(device.clone());
        }
        let list = self.lists.entry(device).or_default();
        if agent::succeeded(result) {
            *list = List { hosts: Some(agent::listed(&result.output)), at: Some(now), failure: None };
        } else {
            list.failure = Some(agent::complaint(result));
        }
    }

    /// Whether a device can fence the target of an operation.
    pub(super) fn verdict(
        &self,
        now: Instant,
        number: u64,
        id: &str,
        action: Action,
        operation: &Operation,
    ) -> Verdict {
        let Some(device) = self.config.devices.get(id) else {
            let why = self.config.disabled.get(id).map_or("there is no such device", String::as_str);
            return Verdict::No(why.to_owned());
        };
        let metadata = match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) => Some(metadata),
            Some(Known::Failed { .. }) => None,
            _ => return Verdict::Ask(Purpose::Metadata(device.agent.clone())),
        };
        let supports = |name| metadata.is_some_and(|metadata| metadata.supports(name));
        if action == Action::On && metadata.is_some() && !supports("on") {
            return Verdict::No("its agent cannot switch on".into());
        }
        let list = self.lists.get(id);
        let failed_list = list.filter(|list| list.hosts.is_none()).and_then(|list| list.failure.as_ref());
        let check = match device.check {
            Some(check) => check,
            None if device.has_list() => HostCheck::StaticList,
            None if supports("list") && failed_list.is_none() => HostCheck::DynamicList,
            None if supports("status") => HostCheck::Status,
            None => HostCheck::None,
        };
        let target = operation.target.as_str();
        match check {
            HostCheck::None => Verdict::Yes,
            HostCheck::StaticList => {
                let named =
                    device.port(target).is_some() || device.hosts.iter().any(|h| h.eq_ignore_ascii_case(target));
                if named {
                    Verdict::Yes
                } else {
                    Verdict::No(format!("its pcmk_host_list and pcmk_host_map do not name {target}"))
                }
            }
            HostCheck::DynamicList => {
                let fresh = list.and_then(|list| list.at).is_some_and(|at| now - at < REMEMBERED);
                if !fresh && !operation.lists_asked.contains(id) {
                    return Verdict::Ask(Purpose::List);
                }
                let name = device.port(target).unwrap_or(target).to_ascii_lowercase();
                match list.and_then(|list| list.hosts.as_ref()) {
                    Some(hosts) if hosts.contains(&name) => Verdict::Yes,
                    Some(_) => Verdict::No(format!("its list does not name {name}")),
                    None => {
                        let why = list.and_then(|list| list.failure.as_deref()).unwrap_or("it could not be asked");
                        Verdict::No(format!("its list failed: {why}"))
                    }
                }
            }
            HostCheck::Status => match operation.statuses.get(id) {
                Some(Ok(true)) => Verdict::Yes,
                Some(Ok(false)) => Verdict::No(format!("its status does not know {target}")),
                Some(Err(why)) => Verdict::No(format!("its status failed: {why}")),
                None => Verdict::Ask(Purpose::Status { operation: number }),
            },
        }
    }

    /// Asks what a verdict depends on. Returns whether there is something to wait for; else the verdict is another now.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        id: &str,
        purpose: Purpose,
        operation: &mut Operation,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if self.is_asked(&purpose, id) {
            return true;
        }
        let Some(device) = self.config.devices.get(id).cloned() else { return false };
        let (name, target) = match &purpose {
            Purpose::Metadata(agent) => {
                // It is asked in any case, if there is anybody to ask.
                self.learn_agents(now, effects);
                if !self.is_asked(&purpose, id) {
                    self.agents.insert(agent.clone(), Known::Failed { at: now });
                    return false;
                }
                return true;
            }
            Purpose::List => ("list", None),
            _ => ("status", Some(operation.target.as_str())),
        };
        let on = self.node_for(&device, Some(&operation.target), &BTreeSet::new());
        let Some(on) = on else {
            let why = "no node is left that could ask".to_owned();
            if purpose == Purpose::List {
                operation.lists_asked.insert(id.to_owned());
                self.lists.entry(id.to_owned()).or_default().failure = Some(why);
            } else {
                operation.statuses.insert(id.to_owned(), Err(why));
            }
            return false;
        };
        if self.is_busy(&device) {
            return true;
        }
        let timeout = self.timeout(&device, name);
        self.run(now, &device, name, target, purpose, on, timeout, effects);
        true
    }

    pub(super) fn is_asked(&self, purpose: &Purpose, device: &str) -> bool {
        self.calls.values().any(|call| match (&call.purpose, purpose) {
            (Purpose::Metadata(asked), Purpose::Metadata(wanted)) => asked == wanted,
            (asked, wanted) => asked == wanted && call.device == device,
        })
    }

    /// The nodes that may run a device for an operation, best first: those where its monitor runs, then the others. A target
    /// runs its own fencing only if nobody else is left.
    pub(super) fn candidates(&self, id: &str, operation: &Operation) -> Vec<String> {
        let Some(device) = self.config.devices.get(id) else { return Vec::new() };
        let action = operation.step.as_ref().map_or(operation.action, |step| step.action);
        let name = self.operation_name(device, action);
        let target = operation.target.as_str();
        let free = |node: &&String| !operation.has_tried(id, node);
        let on_target = match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) => metadata.is_on_target(name),
            _ => false,
        };
        let alone = self.nodes.iter().all(|node| node == target);
        if on_target || (alone && operation.action != Action::On) {
            return self.nodes.get(target).into_iter().filter(free).cloned().collect();
        }
        let monitored = self.monitored.get(id);
        let mut nodes: Vec<&String> = self.nodes.iter().filter(|node| *node != target).filter(free).collect();
        nodes.sort_by_key(|node| Some(*node) != monitored);
        nodes.into_iter().cloned().collect()
    }

    /// A node to ask something of a device, best the one where its monitor runs, and the target only if nobody else is left.
    pub(super) fn node_for(&self, device: &Device, target: Option<&str>, tried: &BTreeSet<String>) -> Option<String> {
        let monitored = self.monitored.get(&device.id);
        let key = |node: &&String| (Some(node.as_str()) == target, Some(*node) != monitored);
        self.nodes.iter().filter(|node| !tried.contains(*node)).min_by_key(key).cloned()
    }

    /// `pcmk_action_limit` is reached.
    pub(super) fn is_busy(&self, device: &Device) -> bool {
        let counts = |call: &&Call| call.device == device.id && !matches!(call.purpose, Purpose::Metadata(_));
        device.limit.is_some_and(|limit| self.calls.values().filter(counts).count() >= limit)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing, and there is no smaller whole among them"
    )]
    pub(super) fn run(
        &mut self,
        now: Instant,
        device: &Device,
        operation: &str,
        target: Option<&str>,
        purpose: Purpose,
        on: String,
        timeout: Duration,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        let call = self.next_call;
        self.next_call += 1;
        let metadata = match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) => Some(metadata),
            _ => None,
        };
        let parameters = match purpose {
            Purpose::Metadata(_) => BTreeMap::new(),
            _ => agent::parameters(device, metadata, target),
        };
        effects.push(Effect::Run(Run {
            call,
            on: on.clone(),
            device: device.id.clone(),
            agent: device.agent.clone(),
            operation: operation.to_owned(),
            target: target.map(str::to_owned),
            parameters,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        }));
        // The executor stops it in time. Where not even that is heard, something is wrong with the node.
        let until = now + timeout + timeout / 5 + Duration::from_secs(2);
        self.calls.insert(call, Call { purpose, on, device: device.id.clone(), until });
        call
    }

    /// `reboot` is `off` for an agent that knows no reboot.
    pub(super) fn operation_name(&self, device: &Device, action: Action) -> &'static str {
        match self.agents.get(&device.agent) {
            Some(Known::Metadata(metadata)) if action == Action::Reboot && !metadata.supports("reboot") => "off",
            _ => action.name(),
        }
    }

    pub(super) fn timeout(&self, device: &Device, operation: &str) -> Duration {
        device.timeout(operation).unwrap_or(self.config.timeout)
    }
}

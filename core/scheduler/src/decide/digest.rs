//! Digests of parameters: whether an operation in the history ran with the parameters of today.

use crate::model::{NodeIndex, ResourceId};
use crate::planner::Planner;
use crate::read::attributes::RuleInput;
use crate::read::history::EntryPlace;
use crate::values;
use md5::{Digest as _, Md5};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How today's parameters compare to those of an operation in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DigestState {
    /// The same.
    Match,
    /// Others.
    Mismatch,
    /// Others that need a restart.
    Restart,
    /// The history does not say.
    Unknown,
}

impl DigestState {
    pub(crate) fn is_changed(self) -> bool {
        matches!(self, DigestState::Mismatch | DigestState::Restart)
    }
}

/// The digests of today's parameters for an operation of a resource on a node.
///
/// They are calculated once, for the first history entry of the operation that is looked at: it decides whether there is
/// one for restarts, and over which parameters; without it, later entries are compared as a whole only (as by Pacemaker).
#[derive(Clone, Debug)]
pub(crate) struct KnownDigests {
    all: String,
    restart: Option<String>,
    /// That first entry.
    first: EntryPlace,
    /// How the last comparison ended.
    state: DigestState,
}

type Parameters = BTreeMap<String, String>;

impl Planner {
    /// A resource whose address is known only once its container is placed.
    pub(crate) fn needs_remote_name(&mut self, resource: ResourceId) -> bool {
        if !self.resource(resource).remote_connection {
            return false;
        }
        let parameters = self.parameters(resource, None);
        parameters.get("addr").is_some_and(|addr| addr.eq_ignore_ascii_case("#uname"))
    }

    /// The parameters that count for an operation, and whether the operation has some of its own.
    fn digest_parameters(
        &mut self,
        resource: ResourceId,
        node: NodeIndex,
        task: &str,
        interval_ms: u32,
    ) -> (Parameters, bool) {
        let mut all: Parameters = self.parameters(resource, Some(node)).as_ref().clone();
        let operation = self.find_operation(resource, task, interval_ms, true);
        let own = self.operation_parameters(resource, operation, node);
        let has_own = !own.is_empty();
        for (name, value) in own {
            all.entry(name).or_insert(value);
        }
        let meta = self.operation_meta(resource, Some(node), task, interval_ms, operation);
        if let Some(host) = self.container_host_name(resource) {
            all.insert("addr".to_owned(), host);
        }
        all.retain(|name, _| is_parameter(name));
        if interval_ms != 0
            && let Some(timeout) = meta.get("timeout")
        {
            all.insert("CRM_meta_timeout".to_owned(), timeout.clone());
        }
        (all, has_own)
    }

    /// The instance attributes of an operation.
    pub(crate) fn operation_parameters(
        &mut self,
        resource: ResourceId,
        operation: Option<usize>,
        node: NodeIndex,
    ) -> Parameters {
        let mut own = Parameters::new();
        let operations = Arc::clone(&self.sources[resource.index()].operations);
        if let Some(operation) = operation.and_then(|place| operations.get(place))
            && operation.element.child("instance_attributes").is_some()
        {
            let attributes = self.model.node(node).attributes.clone();
            let source = Arc::clone(&self.sources[resource.index()].element);
            let scope = operation.scope(&source);
            let input = RuleInput { node_attributes: Some(&attributes), scope, ..RuleInput::default() };
            self.read_blocks(&operation.element, "instance_attributes", None, &input, &mut own);
        }
        own
    }

    /// How the parameters compare to those at the time of a history entry.
    pub(crate) fn digest_state(&mut self, resource: ResourceId, node: NodeIndex, place: EntryPlace) -> DigestState {
        let entry = self.entry(place);
        let key = (resource, node, entry.task.clone(), entry.interval_ms);
        let mut known = match self.digests.remove(&key) {
            Some(known) => known,
            None => self.calculate_digests(resource, node, place),
        };
        let entry = self.entry(place);
        let restart_matches = match (&known.restart, &entry.restart_digest) {
            (Some(now), Some(recorded)) => **now == **recorded,
            _ => true,
        };
        known.state = match entry.attribute("op-digest") {
            _ if !restart_matches => DigestState::Restart,
            None => DigestState::Unknown,
            Some(recorded) if recorded == known.all => DigestState::Match,
            Some(_) if entry.interval_ms == 0 && known.state == DigestState::Restart => DigestState::Restart,
            Some(_) => DigestState::Mismatch,
        };
        let state = known.state;
        self.digests.insert(key, known);
        state
    }

    /// The digests of today's parameters for the operation of a history entry.
    fn calculate_digests(&mut self, resource: ResourceId, node: NodeIndex, place: EntryPlace) -> KnownDigests {
        let entry = self.entry(place).clone();
        let (all, has_own) = self.digest_parameters(resource, node, &entry.task, entry.interval_ms);
        let restart = entry.restart_digest.is_some().then(|| {
            let wanted: Option<Vec<&str>> = entry.attribute("op-force-restart").map(|names| names.split(' ').collect());
            digest(all.iter().filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(&name.as_str()))))
        });
        let needs_restart = has_own && entry.interval_ms == 0;
        KnownDigests {
            all: digest(&all),
            restart,
            first: place,
            state: if needs_restart { DigestState::Restart } else { DigestState::Match },
        }
    }

    /// The digest of today's parameters without those that a history entry names as private.
    fn digest_without_secrets(&mut self, resource: ResourceId, node: NodeIndex, place: EntryPlace) -> String {
        let entry = self.entry(place).clone();
        let (mut open, _) = self.digest_parameters(resource, node, &entry.task, entry.interval_ms);
        let private: Vec<&str> = entry.attribute("op-secure-params").unwrap_or_default().split(' ').collect();
        let version = entry.attribute("crm_feature_set").map(str::to_owned).or_else(|| self.feature_set.clone());
        let older = version.is_some_and(|set| values::compare_versions(&set, "3.16.0").is_lt());
        if older {
            let own = self.parameters(resource, Some(node));
            let fence_device = self.resource(resource).fence_device;
            open.retain(|name, _| own.contains_key(name) && !(fence_device && is_fence_parameter(name)));
        }
        open.retain(|name, _| !private.contains(&name.as_str()));
        digest(&open)
    }

    /// Whether nothing but private parameters differs from those of a history entry; only the digest without them
    /// is meaningful where a configuration was stored without its secrets.
    pub(crate) fn matches_without_secrets(&mut self, resource: ResourceId, node: NodeIndex, place: EntryPlace) -> bool {
        let entry = self.entry(place);
        let Some(recorded) = entry.attribute("op-secure-digest").map(str::to_owned) else { return false };
        let known = self.digests.get(&(resource, node, entry.task.clone(), entry.interval_ms));
        let first = known.map(|known| known.first);
        first.is_some_and(|first| self.digest_without_secrets(resource, node, first) == recorded)
    }

    /// Adds the digests of the devices that unfence to a fencing; true where one changed since.
    pub(crate) fn add_device_digests(&mut self, action: super::action::ActionIndex, node: NodeIndex) -> bool {
        let mut devices = Vec::new();
        for &top in &self.model.top {
            self.unfencing_devices(top, &mut devices);
        }
        let (mut all, mut secure, mut changed) = (String::new(), String::new(), false);
        for device in devices.into_iter().rev() {
            let subject = self.resource(device);
            let name = format!("{}:{}:", subject.id, subject.meta("type").unwrap_or_default());
            let (parameters, _) = self.digest_parameters(device, node, "stonith-on", 0);
            let older = self.feature_set.as_deref().is_some_and(|set| values::compare_versions(set, "3.16.0").is_lt());
            let private = ["passwd", "password", "user"];
            let public = parameters
                .iter()
                .filter(|(name, _)| !(private.contains(&name.as_str()) || older && is_fence_parameter(name)));
            let (full, open) = (format!("{name}{}", digest(&parameters)), format!("{name}{}", digest(public)));
            let peer = self.model.node(node);
            if let Some(recorded) = peer.attribute("#digests-all")
                && !recorded.contains(&full)
                && !peer.attribute("#digests-secure").is_some_and(|recorded| recorded.contains(&open))
            {
                changed = true;
            }
            all.push_str(&full);
            all.push(',');
            secure.push_str(&open);
            secure.push(',');
        }
        let meta = &mut self.action_mut(action).meta;
        meta.insert("digests-all".to_owned(), all);
        meta.insert("digests-secure".to_owned(), secure);
        changed
    }

    fn unfencing_devices(&self, resource: ResourceId, found: &mut Vec<ResourceId>) {
        let subject = self.resource(resource);
        for &child in &subject.children {
            self.unfencing_devices(child, found);
        }
        let provides = subject.meta("provides").is_some_and(|word| word.eq_ignore_ascii_case("unfencing"));
        if subject.children.is_empty() && subject.fence_device && (subject.needs_unfencing || provides) {
            found.push(resource);
        }
    }
}

/// Parameters of the fencer, not of the device.
fn is_fence_parameter(name: &str) -> bool {
    if matches!(name, "provides" | "stonith-timeout") {
        return true;
    }
    let Some(rest) = name.strip_prefix("pcmk_") else { return false };
    matches!(
        rest,
        "action_limit" | "delay_base" | "delay_max" | "host_argument" | "host_check" | "host_list" | "host_map"
    ) || rest.find('_').is_some_and(|at| matches!(&rest[at..], "_action" | "_timeout" | "_retries"))
}

/// Whether an attribute of an action is a parameter of the resource, not a word of the cluster's own.
fn is_parameter(name: &str) -> bool {
    !name.starts_with("CRM_meta_")
        && !matches!(name, "id" | "crm_feature_set" | "op-digest" | "on_node" | "on_node_uuid" | "pcmk_external_ip")
}

/// The digest that a node records for an action of a graph with these attributes.
pub(crate) fn digest_of_action(attributes: &Parameters) -> String {
    let mut counted: Parameters = attributes
        .iter()
        .filter(|(name, _)| is_parameter(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let recurring = attributes.get("CRM_meta_interval").is_some_and(|interval| interval != "0");
    if let Some(timeout) = attributes.get("CRM_meta_timeout").filter(|_| recurring) {
        counted.insert("CRM_meta_timeout".to_owned(), timeout.clone());
    }
    digest(&counted)
}

/// The digest that Pacemaker's nodes write into their histories.
fn digest<'a>(parameters: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut text = String::from(" <parameters");
    for (name, value) in parameters {
        text.push(' ');
        text.push_str(name);
        text.push_str("=\"");
        crate::transition::escape_into(value, &mut text);
        text.push('"');
    }
    text.push_str("/>\n");
    let hexadecimal = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or_default();
    Md5::digest(text.as_bytes()).iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hexadecimal).collect()
}

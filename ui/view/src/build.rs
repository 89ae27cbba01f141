//! From a CIB as the scheduler understands it, and what a node says of itself, to the status.

use crate::status::{
    Ban, Bundle, CloneSet, ClusterStatus, Counts, FailedProbe, Failure, Group, LastChange, Node, NodeAttribute,
    NodeHistory, NodeKind, NodeName, Operation, Options, Primitive, Replica, Resource, ResourceHistory, Summary,
    Ticket,
};
use hakudo_cib::{Document, Element, values};
use hakudo_scheduler::model::{self, HealthStrategy, Kind, Location, Model, NoQuorumPolicy};
use hakudo_scheduler::simulate::parse_operation_key;
use hakudo_scheduler::{NodeIndex, ResourceId, Role, ShownRole};
use std::collections::BTreeMap;

/// Makes the status of a cluster. `model` is what the scheduler reads from `cib`, not yet changed by a decision.
pub fn cluster_status(cib: &Document, model: &Model) -> ClusterStatus {
    let builder = Builder { cib, model };
    ClusterStatus {
        summary: builder.summary(),
        nodes: model.nodes().map(|node| builder.node(node)).collect(),
        resources: model.top_resources().iter().map(|resource| builder.resource(*resource)).collect(),
        failures: builder.failures(),
        history: builder.history(),
        tickets: builder.tickets(),
        bans: builder.bans(),
        // These only a running node can add.
        alerts: Vec::new(),
        fencing: Vec::new(),
    }
}

struct Builder<'a> {
    cib: &'a Document,
    model: &'a Model,
}

impl Builder<'_> {
    fn name(&self, node: NodeIndex) -> String {
        self.model.node(node).name.clone()
    }

    fn names(&self, nodes: &[NodeIndex]) -> Vec<String> {
        nodes.iter().map(|node| self.name(*node)).collect()
    }

    fn summary(&self) -> Summary {
        let root = self.cib.root();
        let attribute = |name: &str| root.attribute(name).map(str::to_owned);
        let options = &self.model.options;
        let mut feature_sets: Vec<String> =
            self.model.nodes().filter_map(|node| feature_set(self.model.node(node))).collect();
        feature_sets.sort();
        feature_sets.dedup();
        Summary {
            stack: options.written.get("cluster-infrastructure").cloned().unwrap_or_else(|| "unknown".to_owned()),
            dc: self.model.dc.map(|dc| {
                let dc = self.model.node(dc);
                NodeName { name: dc.name.clone(), id: dc.id.clone() }
            }),
            dc_version: options.written.get("dc-version").cloned(),
            quorate: root.attribute("have-quorum").and_then(values::boolean).unwrap_or(false),
            mixed_version: feature_sets.len() > 1,
            local: None,
            updated: self.model.now.seconds(),
            last_change: LastChange {
                time: attribute("cib-last-written"),
                user: attribute("update-user"),
                client: attribute("update-client"),
                origin: attribute("update-origin"),
            },
            counts: self.counts(),
            options: Options {
                fencing_enabled: options.fencing_enabled,
                fencing_timeout_ms: values::milliseconds(&options.fencing_timeout).unwrap_or(60_000),
                symmetric: options.symmetric_cluster,
                no_quorum_policy: match options.no_quorum_policy {
                    NoQuorumPolicy::Freeze => "freeze",
                    NoQuorumPolicy::Stop => "stop",
                    NoQuorumPolicy::Ignore => "ignore",
                    NoQuorumPolicy::Fence => "fence",
                    NoQuorumPolicy::Demote => "demote",
                }
                .to_owned(),
                maintenance_mode: options.maintenance_mode,
                stop_all_resources: options.stop_all_resources,
                priority_fencing_delay_ms: options.priority_fencing_delay_ms,
            },
        }
    }

    /// Instances count as long as they are configured or run.
    fn counts(&self) -> Counts {
        let mut counts = Counts { nodes: self.model.nodes().count(), ..Counts::default() };
        for (id, resource) in self.model.resources() {
            if resource.is_primitive() && (!resource.removed || resource.role > Role::Stopped) {
                counts.resources += 1;
                counts.disabled += usize::from(self.model.is_disabled(id));
                counts.blocked += usize::from(resource.blocked);
            }
        }
        counts
    }

    fn node(&self, index: NodeIndex) -> Node {
        let node = self.model.node(index);
        let kind = match (node.is_guest(), node.is_remote()) {
            (true, _) => NodeKind::Guest {
                container: node.launcher.map(|l| self.model.resource(l).id.clone()).unwrap_or_default(),
                host: node.launcher.and_then(|l| self.model.current_node(l)).map(|host| self.name(host)),
            },
            (_, true) => NodeKind::Remote,
            _ => NodeKind::Member,
        };
        Node {
            name: node.name.clone(),
            id: node.id.clone(),
            kind,
            online: node.online,
            standby: node.standby,
            standby_on_fail: node.fail_standby,
            maintenance: node.maintenance,
            pending: node.pending,
            unclean: node.unclean,
            health: health(self.model, node),
            feature_set: feature_set(node),
            shutdown: node.shutdown,
            expected_up: node.expected_up,
            dc: self.model.dc == Some(index),
            running: node.running.iter().map(|r| self.model.resource(*r).id.clone()).collect(),
            attributes: self.attributes(node),
        }
    }

    /// The attributes that are not the cluster's own.
    fn attributes(&self, node: &model::Node) -> Vec<NodeAttribute> {
        const OWN: [&str; 6] = ["fail-count-", "last-failure-", "shutdown", "terminate", "standby", "#"];
        let pings = self.pings(node);
        node.attributes
            .iter()
            .filter(|(name, _)| !OWN.iter().any(|own| name.starts_with(own)))
            .map(|(name, value)| NodeAttribute {
                name: name.clone(),
                value: value.clone(),
                expected: pings.get(name).copied(),
            })
            .collect()
    }

    /// The full score of each attribute that a `ping` resource on the node sets.
    fn pings(&self, node: &model::Node) -> BTreeMap<String, i64> {
        let mut expected = BTreeMap::new();
        for resource in &node.running {
            let resource = self.model.resource(*resource);
            let is_ping = |kind: &str| kind.eq_ignore_ascii_case("ping") || kind.eq_ignore_ascii_case("pingd");
            if !resource.agent.as_ref().is_some_and(|agent| is_ping(&agent.kind)) {
                continue;
            }
            let Some(primitive) = self.cib.section(&["configuration", "resources"]).and_then(|resources| {
                resources.descendants().find(|e| e.name() == "primitive" && e.id() == resource.config_id)
            }) else {
                continue;
            };
            let parameter = |name: &str| {
                primitive
                    .children_named("instance_attributes")
                    .flat_map(Element::children)
                    .find(|pair| pair.attribute("name") == Some(name))
                    .and_then(|pair| pair.attribute("value"))
            };
            let hosts = parameter("host_list").map_or(0, |hosts| hosts.split(' ').count());
            let multiplier = parameter("multiplier").and_then(|text| text.parse().ok()).unwrap_or(1);
            let score = i64::try_from(hosts).unwrap_or(i64::MAX).saturating_mul(multiplier);
            expected.insert(parameter("name").unwrap_or("pingd").to_owned(), score);
        }
        expected
    }

    fn resource(&self, id: ResourceId) -> Resource {
        let resource = self.model.resource(id);
        match &resource.kind {
            Kind::Primitive => Resource::Primitive(self.primitive(id)),
            Kind::Group(_) => Resource::Group(Group {
                id: resource.id.clone(),
                name: printable(resource),
                disabled: self.model.is_disabled(id),
                managed: resource.managed,
                maintenance: resource.maintenance,
                removed: resource.removed,
                description: resource.description.clone(),
                members: resource.children.iter().map(|child| self.resource(*child)).collect(),
            }),
            Kind::Clone(settings) => Resource::Clone(self.clone_set(id, settings)),
            Kind::Bundle(settings) => Resource::Bundle(Bundle {
                id: resource.id.clone(),
                engine: settings.technology.clone(),
                image: settings.image.clone(),
                unique: resource.unique,
                managed: resource.managed,
                maintenance: resource.maintenance,
                failed: resource.failed,
                description: resource.description.clone(),
                replicas: settings.replicas.iter().map(|replica| self.replica(replica)).collect(),
            }),
        }
    }

    fn replica(&self, replica: &model::Replica) -> Replica {
        let part = |id: Option<ResourceId>| id.map(|id| Box::new(self.resource(id)));
        Replica {
            number: replica.offset as usize,
            host: self.model.current_node(replica.container).map(|node| self.name(node)),
            address: replica.ip_address.clone(),
            ip: part(replica.ip),
            child: part(replica.child),
            container: part(Some(replica.container)),
            remote: part(replica.remote),
        }
    }

    fn clone_set(&self, id: ResourceId, settings: &model::CloneSettings) -> CloneSet {
        let resource = self.model.resource(id);
        let first = resource.children.first().map(|child| self.model.resource(*child));
        let target_role = resource.meta("target-role").or_else(|| first.and_then(|child| child.meta("target-role")));
        let mut possible: Vec<NodeIndex> = resource.allowed.nodes().collect();
        if possible.is_empty() {
            possible = resource.known_on.iter().copied().collect();
        }
        CloneSet {
            id: resource.id.clone(),
            child: settings.child_id.clone(),
            promotable: resource.promotable,
            unique: resource.unique,
            disabled: self.model.is_disabled(id),
            managed: resource.managed,
            maintenance: resource.maintenance,
            failed: resource.failed,
            failure_ignored: resource.failure_ignored,
            removed: resource.removed,
            target_role: target_role.map(str::to_owned),
            description: resource.description.clone(),
            clone_max: usize::try_from(settings.max).unwrap_or(0),
            instances: resource.children.iter().map(|child| self.resource(*child)).collect(),
            possible_nodes: self.names(&possible),
            active_on: self.names(&self.model.locations(id, Location::Current)),
            failed_probes: self.failed_probes(id),
        }
    }

    fn primitive(&self, id: ResourceId) -> Primitive {
        let resource = self.model.resource(id);
        Primitive {
            id: resource.id.clone(),
            name: printable(resource),
            config_id: resource.config_id.clone(),
            agent: resource.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
            role: shown(resource.role),
            promotable: self.model.resource(self.model.top_of(id)).promotable,
            target_role: resource.meta("target-role").map(str::to_owned),
            managed: resource.managed,
            maintenance: resource.maintenance,
            blocked: resource.blocked,
            failed: resource.failed,
            failure_ignored: resource.failure_ignored,
            removed: resource.removed,
            internal: resource.meta("internal_rsc") == Some("true"),
            pending: resource.pending_task.clone(),
            pending_on: resource.pending_on.map(|node| self.name(node)),
            active_on: self.names(&resource.active_on),
            locked_to: resource.lock_node.map(|node| self.name(node)),
            description: resource.description.clone(),
            failed_probes: self.failed_probes(id),
        }
    }

    /// Probes are told by the id in the configuration for everything in a clone.
    fn failed_probes(&self, id: ResourceId) -> Vec<FailedProbe> {
        let top = self.model.resource(self.model.top_of(id));
        let name = match &top.kind {
            Kind::Clone(settings) => &settings.child_id,
            _ => &self.model.resource(id).id,
        };
        self.model
            .failures
            .iter()
            .filter(|failure| failure.masked_probe)
            .filter(|failure| parse_operation_key(&failure.key).is_some_and(|(resource, ..)| resource == *name))
            .map(|failure| FailedProbe { node: failure.node.clone(), exit_code: failure.exit_code })
            .collect()
    }

    fn failures(&self) -> Vec<Failure> {
        let failures = self.model.failures.iter().filter(|failure| !failure.masked_probe);
        failures
            .filter_map(|failure| {
                let (resource, task, interval_ms) = parse_operation_key(&failure.key)?;
                Some(Failure {
                    key: failure.key.clone(),
                    resource,
                    task,
                    interval_ms,
                    node: failure.node.clone(),
                    exit_code: failure.exit_code,
                    status: failure.status,
                    exit_reason: Some(failure.exit_reason.clone()).filter(|reason| !reason.is_empty()),
                    call: Some(failure.call_id.to_string()),
                    last_change: failure.last_change,
                    queued_ms: Some(failure.queue_time_ms.to_string()),
                    exec_ms: Some(failure.exec_time_ms.to_string()),
                })
            })
            .collect()
    }

    fn history(&self) -> Vec<NodeHistory> {
        let mut by_id: BTreeMap<&str, ResourceId> = BTreeMap::new();
        for (id, resource) in self.model.resources() {
            by_id.entry(&resource.id).or_insert(id);
        }
        for (id, resource) in self.model.resources() {
            if let Some(history_id) = &resource.history_id {
                by_id.entry(history_id).or_insert(id);
            }
        }
        let Some(status) = self.cib.section(&["status"]) else { return Vec::new() };
        let nodes: BTreeMap<&str, &model::Node> =
            self.model.nodes().map(|node| self.model.node(node)).map(|node| (node.id.as_str(), node)).collect();
        let online = |state: &&Element| nodes.get(state.id()).is_some_and(|node| node.online);
        status
            .children_named("node_state")
            .filter(online)
            .map(|state| {
                let node = nodes[state.id()];
                let resources = state
                    .child("lrm")
                    .and_then(|lrm| lrm.child("lrm_resources"))
                    .into_iter()
                    .flat_map(|resources| resources.children_named("lrm_resource"))
                    .filter_map(|entry| by_id.get(entry.id()).map(|id| self.resource_history(node, *id, entry)))
                    .collect();
                NodeHistory { node: node.name.clone(), resources }
            })
            .collect()
    }

    fn resource_history(&self, node: &model::Node, id: ResourceId, entry: &Element) -> ResourceHistory {
        let resource = self.model.resource(id);
        let (fail_count, last_failure) = self.fail_count(node, resource);
        let mut operations: Vec<(i64, Operation)> = entry
            .children_named("lrm_rsc_op")
            .filter_map(operation)
            .map(|operation| (operation.call.parse().unwrap_or(0), operation))
            .collect();
        operations.sort_by_key(|(call, _)| *call);
        ResourceHistory {
            resource: printable(resource),
            history_id: entry.id().to_owned(),
            migration_threshold: resource.migration_threshold,
            fail_count,
            last_failure,
            operations: operations.into_iter().map(|(_, operation)| operation).collect(),
        }
    }

    /// The failures that count, all operations together, and the time of the newest.
    fn fail_count(&self, node: &model::Node, resource: &model::Resource) -> (i32, Option<i64>) {
        let name = printable(resource);
        let of_resource = |attribute: &str, prefix: &str| {
            attribute
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix(name.as_str()))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
        };
        let mut count: i32 = 0;
        let mut last: Option<i64> = None;
        for (attribute, value) in &node.attributes {
            if of_resource(attribute, "fail-count-") {
                let failures = if value.ends_with("INFINITY") { 1_000_000 } else { value.parse().unwrap_or(0) };
                count = count.saturating_add(failures).min(1_000_000);
            } else if of_resource(attribute, "last-failure-") {
                last = last.max(value.parse().ok());
            }
        }
        let timeout = i64::try_from(resource.failure_timeout_ms / 1000).unwrap_or(i64::MAX);
        let expired = timeout > 0 && last.is_some_and(|last| last.saturating_add(timeout) <= self.model.now.seconds());
        if expired { (0, last) } else { (count, last) }
    }

    fn tickets(&self) -> Vec<Ticket> {
        let ticket = |(id, ticket): (&String, &model::Ticket)| Ticket {
            id: id.clone(),
            granted: ticket.granted,
            standby: ticket.standby,
            last_granted: ticket.last_granted,
            attributes: ticket.state.clone(),
        };
        self.model.tickets.iter().map(ticket).collect()
    }

    /// Constraints that say a node and a negative score outright; those with rules are not listed.
    fn bans(&self) -> Vec<Ban> {
        let Some(constraints) = self.cib.section(&["configuration", "constraints"]) else { return Vec::new() };
        constraints
            .children_named("rsc_location")
            .filter_map(|constraint| {
                let score = values::score(constraint.attribute("score")?)?;
                (score < 0).then_some(Ban {
                    id: constraint.id().to_owned(),
                    resource: constraint.attribute("rsc")?.to_owned(),
                    node: constraint.attribute("node")?.to_owned(),
                    score,
                    promoted_only: constraint.attribute("role").map(Role::parse) == Some(Role::Promoted),
                })
            })
            .collect()
    }
}

/// The name that people see: an instance of an anonymous clone has no number.
fn printable(resource: &model::Resource) -> String {
    if resource.unique { resource.id.clone() } else { resource.config_id.clone() }
}

fn shown(role: Role) -> ShownRole {
    match role {
        Role::Unknown => ShownRole::Unknown,
        Role::Stopped => ShownRole::Stopped,
        Role::Started => ShownRole::Started,
        Role::Unpromoted => ShownRole::Unpromoted,
        Role::Promoted => ShownRole::Promoted,
    }
}

/// The feature set of a node that is fully up. Nodes before 3.15.1 do not say theirs.
fn feature_set(node: &model::Node) -> Option<String> {
    (node.online && node.expected_up && !node.is_remote_or_guest())
        .then(|| node.attribute("#feature-set").unwrap_or("<3.15.1").to_owned())
}

/// Negative where any health attribute is red, 0 where one is yellow.
fn health(model: &Model, node: &model::Node) -> i32 {
    if model.options.health_strategy == HealthStrategy::None {
        return 1;
    }
    let scores = model.options.health_scores;
    let colours = node.attributes.iter().filter(|(name, _)| name.starts_with("#health")).filter_map(|(_, value)| {
        match value.to_ascii_lowercase().as_str() {
            "red" => Some(-1),
            "yellow" => Some(0),
            "green" => Some(1),
            number => number.parse::<i32>().ok().map(|number| {
                if number <= scores.red.0 {
                    -1
                } else if number <= scores.yellow.0 && scores.yellow != scores.green {
                    0
                } else {
                    1
                }
            }),
        }
    });
    colours.min().unwrap_or(1)
}

fn operation(entry: &Element) -> Option<Operation> {
    let number = |name: &str| entry.attribute(name).and_then(|text| text.parse::<i64>().ok());
    let task = entry.attribute("operation").unwrap_or_default();
    let interval_ms = number("interval").and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
    let exit_code = number("rc-code").and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
    let probe = task == "monitor" && interval_ms == 0;
    if task == "notify" || (probe && exit_code == hakudo_base::agent::exit_code::NOT_RUNNING) {
        return None;
    }
    let text = |name: &str| entry.attribute(name).map(str::to_owned);
    Some(Operation {
        call: text("call-id").unwrap_or_default(),
        task: if probe { "probe".to_owned() } else { task.to_owned() },
        interval_ms,
        exit_code,
        last_change: number("last-rc-change"),
        exec_ms: text("exec-time"),
        queued_ms: text("queue-time"),
    })
}

//! The status of a cluster as one value. Every renderer reads this and nothing else.
//!
//! The names of the fields are the documented schema of `--output-as=json` (`schema/status.json`): a field may be added, none
//! is renamed or removed.

use hakudo_scheduler::ShownRole;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is known of a cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClusterStatus {
    /// Who is here, who leads, what the configuration says as a whole.
    pub summary: Summary,
    /// All nodes in the order of the configuration, then remote and guest nodes.
    pub nodes: Vec<Node>,
    /// All resources in the order of the configuration.
    pub resources: Vec<Resource>,
    /// Operations that failed and are not cleaned up, in the order of the status.
    pub failures: Vec<Failure>,
    /// What each resource did on each online node.
    pub history: Vec<NodeHistory>,
    /// Tickets, by name.
    pub tickets: Vec<Ticket>,
    /// Location constraints with a negative score.
    pub bans: Vec<Ban>,
    /// What people should know first: links that are down, nodes that cannot be fenced. Only from a running node.
    pub alerts: Vec<Alert>,
    /// What was fenced and is being fenced, newest first. Only from a running node.
    pub fencing: Vec<Fencing>,
}

/// The cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// What carries the messages (`cluster-infrastructure`), or `unknown`.
    pub stack: String,
    /// The node that leads.
    pub dc: Option<NodeName>,
    /// The version that the leader runs (`dc-version`).
    pub dc_version: Option<String>,
    /// This side may run services.
    pub quorate: bool,
    /// Nodes of different feature sets are online.
    pub mixed_version: bool,
    /// The node that answered; none where a file was read.
    pub local: Option<String>,
    /// Seconds since 1970 at which this status was made.
    pub updated: i64,
    /// The newest change of the configuration.
    pub last_change: LastChange,
    /// Nodes and resource instances.
    pub counts: Counts,
    /// The cluster options that decide how the cluster behaves as a whole.
    pub options: Options,
}

/// A node by its name and its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeName {
    /// The name.
    pub name: String,
    /// `id` in the CIB.
    pub id: String,
}

/// Who changed the configuration last, as the CIB records it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LastChange {
    /// When (`cib-last-written`).
    pub time: Option<String>,
    /// Which user.
    pub user: Option<String>,
    /// With which program.
    pub client: Option<String>,
    /// On which node.
    pub origin: Option<String>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Nodes of all kinds.
    pub nodes: usize,
    /// Instances of resources.
    pub resources: usize,
    /// Instances that shall not run.
    pub disabled: usize,
    /// Instances that nothing is done with because of a failure.
    pub blocked: usize,
}

/// Options of the cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Options {
    /// `fencing-enabled`.
    pub fencing_enabled: bool,
    /// `fencing-timeout` in milliseconds.
    pub fencing_timeout_ms: u64,
    /// `symmetric-cluster`.
    pub symmetric: bool,
    /// `no-quorum-policy`.
    pub no_quorum_policy: String,
    /// `maintenance-mode`.
    pub maintenance_mode: bool,
    /// `stop-all-resources`.
    pub stop_all_resources: bool,
    /// `priority-fencing-delay` in milliseconds.
    pub priority_fencing_delay_ms: u64,
}

/// What kind of node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A full member of the cluster.
    #[default]
    Member,
    /// A remote node.
    Remote,
    /// A guest node, living in a resource.
    Guest {
        /// The resource whose container it is.
        container: String,
        /// The node that the container is on.
        host: Option<String>,
    },
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Node {
    /// The name.
    pub name: String,
    /// `id` in the CIB.
    pub id: String,
    /// What kind of node.
    pub kind: NodeKind,
    /// Takes part.
    pub online: bool,
    /// Shall run nothing.
    pub standby: bool,
    /// Shall run nothing because an operation failed with `on-fail=standby`.
    pub standby_on_fail: bool,
    /// Is left alone.
    pub maintenance: bool,
    /// Is joining.
    pub pending: bool,
    /// Must be fenced before its resources run elsewhere.
    pub unclean: bool,
    /// Health score: negative is red, 0 yellow, above green.
    pub health: i32,
    /// The feature set that it runs, where it is fully up.
    pub feature_set: Option<String>,
    /// Asked to leave.
    pub shutdown: bool,
    /// Supposed to be up.
    pub expected_up: bool,
    /// Leads.
    pub dc: bool,
    /// Resources active here, in the order in which the status names them: their place among [`ClusterStatus::resources`] is
    /// found by their id.
    pub running: Vec<String>,
    /// Its attributes by name, without those that only the cluster itself uses.
    pub attributes: Vec<NodeAttribute>,
}

/// An attribute of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeAttribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// For a connectivity attribute of a `ping` resource that is active here: the value with full connectivity.
    pub expected: Option<i64>,
}

/// A resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resource {
    /// One service, or one instance of one.
    Primitive(Primitive),
    /// Several that run together in order.
    Group(Group),
    /// Many instances of one.
    Clone(CloneSet),
    /// Containers.
    Bundle(Bundle),
}

impl Resource {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Resource::Primitive(primitive) => &primitive.id,
            Resource::Group(group) => &group.id,
            Resource::Clone(clone) => &clone.id,
            Resource::Bundle(bundle) => &bundle.id,
        }
    }

    /// The resources directly inside.
    pub fn children(&self) -> Vec<&Resource> {
        match self {
            Resource::Primitive(_) => Vec::new(),
            Resource::Group(group) => group.members.iter().collect(),
            Resource::Clone(clone) => clone.instances.iter().collect(),
            Resource::Bundle(bundle) => bundle.replicas.iter().flat_map(Replica::resources).collect(),
        }
    }

    /// This resource and all inside, the outer before the inner.
    pub fn walk(&self) -> Vec<&Resource> {
        let mut found = vec![self];
        for child in self.children() {
            found.extend(child.walk());
        }
        found
    }

    /// The primitives inside, this one included.
    pub fn primitives(&self) -> Vec<&Primitive> {
        self.walk()
            .into_iter()
            .filter_map(|resource| match resource {
                Resource::Primitive(primitive) => Some(primitive),
                _ => None,
            })
            .collect()
    }

    /// It is in the status but no longer in the configuration.
    pub fn removed(&self) -> bool {
        match self {
            Resource::Primitive(primitive) => primitive.removed,
            Resource::Group(group) => group.removed,
            Resource::Clone(clone) => clone.removed,
            Resource::Bundle(_) => false,
        }
    }
}

/// One service or one instance of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Primitive {
    /// The id, for an instance with its number: `rsc:0`.
    pub id: String,
    /// The name that people see: for an instance of an anonymous clone without its number.
    pub name: String,
    /// The id of the `<primitive>` in the configuration.
    pub config_id: String,
    /// `class:provider:type`.
    pub agent: String,
    /// Its role now.
    pub role: ShownRole,
    /// The instance of a clone that can be promoted.
    pub promotable: bool,
    /// `target-role` as configured.
    pub target_role: Option<String>,
    /// The cluster may start and stop it.
    pub managed: bool,
    /// It is left alone altogether.
    pub maintenance: bool,
    /// Nothing is done with it because of a failure.
    pub blocked: bool,
    /// An operation failed.
    pub failed: bool,
    /// An operation failed, and this is ignored.
    pub failure_ignored: bool,
    /// In the status, but no longer in the configuration.
    pub removed: bool,
    /// Made by the cluster itself for a bundle or a guest node.
    pub internal: bool,
    /// The operation in flight (`start`, `monitor`, …).
    pub pending: Option<String>,
    /// The node where it is in flight.
    pub pending_on: Option<String>,
    /// The nodes where it is active; more than one is a fault.
    pub active_on: Vec<String>,
    /// The node that it is locked to while that node is down for a shutdown.
    pub locked_to: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// Probes that found that it cannot run on a node.
    pub failed_probes: Vec<FailedProbe>,
}

/// A probe that found that a resource cannot run on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedProbe {
    /// The node.
    pub node: String,
    /// What the agent returned.
    pub exit_code: i32,
}

/// Several resources that run together in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Group {
    /// The id.
    pub id: String,
    /// The name that people see: as instance of an anonymous clone without its number.
    pub name: String,
    /// `target-role` is Stopped.
    pub disabled: bool,
    /// The cluster may start and stop it.
    pub managed: bool,
    /// It is left alone altogether.
    pub maintenance: bool,
    /// No longer in the configuration.
    pub removed: bool,
    /// `description`.
    pub description: Option<String>,
    /// Its members in order.
    pub members: Vec<Resource>,
}

/// Many instances of one resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CloneSet {
    /// The id.
    pub id: String,
    /// The id of the resource that is cloned.
    pub child: String,
    /// Instances can be promoted.
    pub promotable: bool,
    /// Instances differ from each other.
    pub unique: bool,
    /// `target-role` is Stopped.
    pub disabled: bool,
    /// The cluster may start and stop it.
    pub managed: bool,
    /// It is left alone altogether.
    pub maintenance: bool,
    /// An operation failed.
    pub failed: bool,
    /// A failure is ignored.
    pub failure_ignored: bool,
    /// No longer in the configuration.
    pub removed: bool,
    /// `target-role` of the clone, or else of its instances.
    pub target_role: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `clone-max`.
    pub clone_max: usize,
    /// The instances.
    pub instances: Vec<Resource>,
    /// Nodes where an instance may be, as far as is known.
    pub possible_nodes: Vec<String>,
    /// Nodes where an instance is.
    pub active_on: Vec<String>,
    /// Probes that found that it cannot run on a node.
    pub failed_probes: Vec<FailedProbe>,
}

/// Containers with a service in each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bundle {
    /// The id.
    pub id: String,
    /// `docker` or `podman`.
    pub engine: String,
    /// The container image.
    pub image: String,
    /// Replicas differ from each other.
    pub unique: bool,
    /// The cluster may start and stop it.
    pub managed: bool,
    /// It is left alone altogether.
    pub maintenance: bool,
    /// An operation failed.
    pub failed: bool,
    /// `description`.
    pub description: Option<String>,
    /// The replicas.
    pub replicas: Vec<Replica>,
}

/// One container of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Replica {
    /// Its number from 0.
    pub number: usize,
    /// The node where the container runs; of several the one that counts.
    pub host: Option<String>,
    /// The address, where it has one.
    pub address: Option<String>,
    /// The resource for the address.
    pub ip: Option<Box<Resource>>,
    /// The service inside.
    pub child: Option<Box<Resource>>,
    /// The container.
    pub container: Option<Box<Resource>>,
    /// The connection to the executor in the container.
    pub remote: Option<Box<Resource>>,
}

impl Replica {
    /// The resources that it consists of, in the order in which they are shown.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        [&self.ip, &self.child, &self.container, &self.remote].into_iter().filter_map(|part| part.as_deref())
    }
}

/// An operation that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// `rsc_monitor_10000`.
    pub key: String,
    /// The resource in the key.
    pub resource: String,
    /// The operation in the key.
    pub task: String,
    /// Milliseconds between two runs, 0 for one run.
    pub interval_ms: u64,
    /// The node.
    pub node: String,
    /// What the agent returned.
    pub exit_code: i32,
    /// How the run ended (the numbers of `op-status`).
    pub status: i32,
    /// What the agent gave as the reason.
    pub exit_reason: Option<String>,
    /// The number of the call.
    pub call: Option<String>,
    /// Seconds since 1970 of the newest change of the result.
    pub last_change: Option<i64>,
    /// Milliseconds in the queue.
    pub queued_ms: Option<String>,
    /// Milliseconds of the run.
    pub exec_ms: Option<String>,
}

/// What the resources did on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeHistory {
    /// The node.
    pub node: String,
    /// By resource.
    pub resources: Vec<ResourceHistory>,
}

/// What a resource did on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResourceHistory {
    /// The resource as people see it.
    pub resource: String,
    /// The id under which the history has it.
    pub history_id: String,
    /// `migration-threshold`; 1000000 is INFINITY.
    pub migration_threshold: i32,
    /// Failures that count.
    pub fail_count: i32,
    /// Seconds since 1970 of the newest failure.
    pub last_failure: Option<i64>,
    /// The operations by their call numbers, without notifications and probes that found nothing.
    pub operations: Vec<Operation>,
}

/// An operation of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// The number of the call.
    pub call: String,
    /// `start`, `monitor`, …; `probe` for a monitor that runs once.
    pub task: String,
    /// Milliseconds between two runs, 0 for one run.
    pub interval_ms: u64,
    /// What the agent returned.
    pub exit_code: i32,
    /// Seconds since 1970 of the newest change of the result.
    pub last_change: Option<i64>,
    /// Milliseconds of the run.
    pub exec_ms: Option<String>,
    /// Milliseconds in the queue.
    pub queued_ms: Option<String>,
}

/// A ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ticket {
    /// Its name.
    pub id: String,
    /// This site has it.
    pub granted: bool,
    /// It is being given up in order.
    pub standby: bool,
    /// Seconds since 1970 when it was granted last.
    pub last_granted: Option<i64>,
    /// Other attributes of its state.
    pub attributes: BTreeMap<String, String>,
}

/// A location constraint that keeps a resource from a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ban {
    /// The id of the constraint.
    pub id: String,
    /// The resource.
    pub resource: String,
    /// The node.
    pub node: String,
    /// The score; -1000000 is -INFINITY.
    pub score: i32,
    /// Only the promoted role is kept away.
    pub promoted_only: bool,
}

/// One fencing of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fencing {
    /// The node.
    pub target: String,
    /// `off`, `reboot` or `on`.
    pub action: String,
    /// How it stands.
    pub state: FencingState,
    /// The node whose executor did it, or who confirmed it by hand.
    pub delegate: Option<String>,
    /// The devices that did it.
    pub devices: Vec<String>,
    /// Who wanted it.
    pub client: String,
    /// The node on which it was wanted.
    pub origin: String,
    /// When it ended, in seconds since 1970.
    pub completed: Option<i64>,
    /// Why it failed.
    pub exit_reason: Option<String>,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// How a fencing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FencingState {
    /// It goes on.
    Pending,
    /// The node was fenced.
    Success,
    /// The node could not be fenced.
    Failed,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// How grave.
    pub severity: hakudo_base::Severity,
    /// A sentence.
    pub text: String,
}

impl ClusterStatus {
    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// A resource anywhere in the tree, by its id, by the name that people see, or by the id in the configuration.
    pub fn resource(&self, id: &str) -> Option<&Resource> {
        let all = || self.resources.iter().flat_map(Resource::walk);
        all().find(|resource| resource.id() == id).or_else(|| {
            all().find(|resource| match resource {
                Resource::Primitive(primitive) => primitive.name == id || primitive.config_id == id,
                Resource::Group(group) => group.name == id,
                _ => false,
            })
        })
    }
}

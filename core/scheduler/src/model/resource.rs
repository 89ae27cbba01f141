//! A resource: its configuration as far as decisions need it, what the history says of it, and what the plan does with it.

use super::{Location, NodeIndex, NodeTable, ResourceId, Score};
use hakudo_base::agent::AgentName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a resource does on a node, from nothing to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not known, or not decided.
    #[default]
    Unknown,
    /// Not running.
    Stopped,
    /// Running.
    Started,
    /// Running, of a promotable clone, not promoted.
    Unpromoted,
    /// Running and promoted.
    Promoted,
}

impl Role {
    /// The role that a configuration word names, in any case and with the older names; `Unknown` for any other word.
    pub fn parse(word: &str) -> Role {
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        if is("Stopped") {
            Role::Stopped
        } else if is("Started") {
            Role::Started
        } else if is("Unpromoted") || is("Slave") {
            Role::Unpromoted
        } else if is("Promoted") || is("Master") {
            Role::Promoted
        } else {
            Role::Unknown
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Unknown => "Unknown",
            Role::Stopped => "Stopped",
            Role::Started => "Started",
            Role::Unpromoted => "Unpromoted",
            Role::Promoted => "Promoted",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What kind of resource, with what is special to the kind.
#[derive(Clone, Debug)]
pub enum Kind {
    /// One agent.
    Primitive,
    /// Primitives that belong together.
    Group(GroupSettings),
    /// Instances of one primitive or group.
    Clone(CloneSettings),
    /// Containers with a primitive inside.
    Bundle(Box<BundleSettings>),
}

/// How the members of a group hang together.
#[derive(Clone, Copy, Debug)]
pub struct GroupSettings {
    /// They start one after the other.
    pub ordered: bool,
    /// They run on the same node.
    pub colocated: bool,
}

/// How many instances a clone has, and where.
#[derive(Clone, Debug)]
pub struct CloneSettings {
    /// `clone-max`.
    pub max: i32,
    /// `clone-node-max`.
    pub node_max: i32,
    /// `promoted-max`.
    pub promoted_max: i32,
    /// `promoted-node-max`.
    pub promoted_node_max: i32,
    /// `ordered`.
    pub ordered: bool,
    /// `interleave`.
    pub interleave: bool,
    /// `id` of the cloned resource.
    pub child_id: String,
    /// Instances made so far, removed ones included.
    pub(crate) total: u32,
    pub(crate) promotion_scores_added: bool,
    pub(crate) promotion_constrained: bool,
}

/// A bundle's containers.
#[derive(Clone, Debug, Default)]
pub struct BundleSettings {
    /// `docker` or `podman`.
    pub technology: String,
    /// `image`.
    pub image: String,
    /// `replicas`.
    pub replicas_max: i32,
    /// `replicas-per-host`.
    pub replicas_per_host: i32,
    /// `promoted-max`.
    pub promoted_max: i32,
    /// The clone of the primitive inside.
    pub child: Option<ResourceId>,
    /// The replicas.
    pub replicas: Vec<Replica>,
}

/// One container of a bundle with what belongs to it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its number.
    pub offset: u32,
    /// The instance inside.
    pub child: Option<ResourceId>,
    /// The container itself.
    pub container: ResourceId,
    /// Its address.
    pub ip: Option<ResourceId>,
    /// The connection to the executor inside.
    pub remote: Option<ResourceId>,
    /// The address as configured.
    pub ip_address: Option<String>,
    /// The node that the container is.
    pub node: Option<NodeIndex>,
}

/// What happens to a resource that is active on more nodes than it may be (`multiple-active`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultipleActive {
    /// Stop all, start one.
    #[default]
    StopStart,
    /// Stop all, start none.
    StopOnly,
    /// Leave it to a person.
    Block,
    /// Stop those where it should not be.
    StopUnexpected,
}

/// A resource, or an instance of one.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "states that come and go independently of each other")]
pub struct Resource {
    /// The id, for an instance of a clone with its number (`web:0`).
    pub id: String,
    /// `id` in the configuration: without instance number.
    pub config_id: String,
    /// The id under which a node's history knows it, where that is another one.
    pub history_id: Option<String>,
    /// What kind.
    pub kind: Kind,
    /// The instance number in a clone.
    pub instance: Option<u32>,
    /// The group, clone or bundle that it is in.
    pub parent: Option<ResourceId>,
    /// What is in it.
    pub children: Vec<ResourceId>,
    /// Its agent; none for groups and clones.
    pub agent: Option<AgentName>,
    /// `description`.
    pub description: Option<String>,
    /// Meta-attributes after inheritance and defaults, and the attributes of its element.
    pub meta: BTreeMap<String, String>,
    /// Needed capacity.
    pub utilization: BTreeMap<String, i64>,
    /// `priority`.
    pub priority: Score,
    /// `resource-stickiness`.
    pub stickiness: Score,
    /// `migration-threshold`; 0 for none.
    pub migration_threshold: i32,
    /// `failure-timeout` in milliseconds, 0 for none.
    pub failure_timeout_ms: u64,
    /// `reconnect_interval` of a remote connection in milliseconds.
    pub reconnect_ms: u64,
    /// `multiple-active`.
    pub multiple_active: MultipleActive,

    /// The cluster may act on it.
    pub managed: bool,
    /// In maintenance mode.
    pub maintenance: bool,
    /// Nothing may be done until a person mends something.
    pub blocked: bool,
    /// Something failed.
    pub failed: bool,
    /// What failed needs a stop (and not only a demote).
    pub stop_if_failed: bool,
    /// A failure was ignored (`on-fail=ignore`).
    pub failure_ignored: bool,
    /// Not in the configuration any more ("orphan").
    pub removed: bool,
    /// Each instance is another thing (or it is no clone at all).
    pub unique: bool,
    /// Of a promotable clone.
    pub promotable: bool,
    /// Agents are told about the others (`notify`).
    pub notify: bool,
    /// `critical`.
    pub critical: bool,
    /// May be moved live (`allow-migrate`).
    pub migratable: bool,
    /// A fence device.
    pub fence_device: bool,
    /// The connection to a remote or guest node.
    pub remote_connection: bool,
    /// `requires=quorum`.
    pub needs_quorum: bool,
    /// `requires=fencing`.
    pub needs_fencing: bool,
    /// `requires=unfencing`.
    pub needs_unfencing: bool,
    /// Only looked for where a location constraint says so.
    pub exclusive_discovery: bool,
    /// A start was under way when the history was written.
    pub start_pending: bool,
    /// Is to be reloaded.
    pub reload: bool,
    /// Was launched by a resource that is configured no more.
    pub removed_launched: bool,
    /// A remote connection that may run on a guest node (of a bundle).
    pub remote_nesting_allowed: bool,
    /// The container of a bundle's replica.
    pub replica_container: bool,
    /// Only stop where it should not be.
    pub stop_unexpected: bool,
    /// Its stop and start are one restart.
    pub(crate) restarting: bool,
    /// No node was chosen yet.
    pub(crate) unassigned: bool,
    pub(crate) assigning: bool,
    pub(crate) updating_nodes: bool,

    /// The role that the history says.
    pub role: Role,
    /// The role after the plan.
    pub next_role: Role,
    /// Where the history says it is active.
    pub active_on: Vec<NodeIndex>,
    /// Where the plan puts it.
    pub assigned_to: Option<NodeIndex>,
    /// What the node was worth when it was chosen; of a resource that is not managed, what the node itself is worth.
    pub(crate) assigned_score: Score,
    /// An operation that was under way: its name.
    pub pending_task: Option<String>,
    /// Where.
    pub pending_on: Option<NodeIndex>,
    /// Where its state is known.
    pub known_on: BTreeSet<NodeIndex>,
    /// The node that it is locked to during that node's shutdown.
    pub lock_node: Option<NodeIndex>,
    /// Since when, in seconds since 1970.
    pub lock_time: i64,
    /// Where a live migration that was under way came from.
    pub migration_source: Option<NodeIndex>,
    /// Where a live migration that was under way goes to.
    pub migration_target: Option<NodeIndex>,
    /// Nodes where a migration left something behind.
    pub dangling_sources: Vec<NodeIndex>,
    /// The resource that it runs in (`container`).
    pub launcher: Option<ResourceId>,
    /// The resources that run in it.
    pub launched: Vec<ResourceId>,
    /// What each node is worth to it.
    pub allowed: NodeTable,
    /// How much an instance should be promoted.
    pub promotion_score: Score,
}

impl Resource {
    pub(crate) fn new(id: String, config_id: &str, kind: Kind, parent: Option<ResourceId>) -> Self {
        Self {
            id,
            config_id: config_id.to_owned(),
            history_id: None,
            kind,
            instance: None,
            parent,
            children: Vec::new(),
            agent: None,
            description: None,
            meta: BTreeMap::new(),
            utilization: BTreeMap::new(),
            priority: Score::ZERO,
            stickiness: Score::ZERO,
            migration_threshold: Score::INFINITY.0,
            failure_timeout_ms: 0,
            reconnect_ms: 0,
            multiple_active: MultipleActive::StopStart,
            managed: true,
            maintenance: false,
            blocked: false,
            failed: false,
            stop_if_failed: false,
            failure_ignored: false,
            removed: false,
            unique: true,
            promotable: false,
            notify: false,
            critical: true,
            migratable: false,
            fence_device: false,
            remote_connection: false,
            needs_quorum: false,
            needs_fencing: false,
            needs_unfencing: false,
            exclusive_discovery: false,
            start_pending: false,
            reload: false,
            removed_launched: false,
            remote_nesting_allowed: false,
            replica_container: false,
            stop_unexpected: false,
            restarting: false,
            unassigned: true,
            assigning: false,
            updating_nodes: false,
            role: Role::Stopped,
            next_role: Role::Unknown,
            active_on: Vec::new(),
            assigned_to: None,
            assigned_score: Score::ZERO,
            pending_task: None,
            pending_on: None,
            known_on: BTreeSet::new(),
            lock_node: None,
            lock_time: 0,
            migration_source: None,
            migration_target: None,
            dangling_sources: Vec::new(),
            launcher: None,
            launched: Vec::new(),
            allowed: NodeTable::default(),
            promotion_score: Score::ZERO,
        }
    }

    /// One agent, not a collection.
    pub fn is_primitive(&self) -> bool {
        matches!(self.kind, Kind::Primitive)
    }

    /// A group.
    pub fn is_group(&self) -> bool {
        matches!(self.kind, Kind::Group(_))
    }

    /// A clone.
    pub fn is_clone(&self) -> bool {
        matches!(self.kind, Kind::Clone(_))
    }

    /// A bundle.
    pub fn is_bundle(&self) -> bool {
        matches!(self.kind, Kind::Bundle(_))
    }

    /// A clone or a bundle: a collection of like instances.
    pub fn is_collective(&self) -> bool {
        self.is_clone() || self.is_bundle()
    }

    /// A clone whose instances are all the same thing.
    pub fn is_anonymous_clone(&self) -> bool {
        self.is_clone() && !self.unique
    }

    /// The rank of the kind: primitive, group, clone, bundle.
    pub(crate) fn rank(&self) -> u8 {
        match self.kind {
            Kind::Primitive => 1,
            Kind::Group(_) => 2,
            Kind::Clone(_) => 3,
            Kind::Bundle(_) => 4,
        }
    }

    /// The settings of a clone.
    pub fn clone_settings(&self) -> Option<&CloneSettings> {
        match &self.kind {
            Kind::Clone(settings) => Some(settings),
            Kind::Primitive | Kind::Group(_) | Kind::Bundle(_) => None,
        }
    }

    /// The nodes of a resource that has nothing in it.
    pub(crate) fn own_locations(&self, of: Location) -> impl Iterator<Item = NodeIndex> + '_ {
        let (active, other) = match of {
            Location::Current => (&self.active_on[..], None),
            Location::CurrentOrPending => (&self.active_on[..], self.pending_on),
            Location::Assigned => (&[][..], self.assigned_to),
        };
        active.iter().copied().chain(other)
    }

    /// A meta-attribute.
    pub fn meta(&self, name: &str) -> Option<&str> {
        self.meta.get(name).map(String::as_str)
    }
}

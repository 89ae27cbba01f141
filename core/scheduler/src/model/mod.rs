//! The typed model of a cluster: options, nodes, resources, and what the history says. Built once from the document;
//! everything in it is reached by index.

mod node;
mod options;
mod resource;
mod score;

pub use node::{Node, NodeKind};
pub use options::{ClusterOptions, HealthScores, HealthStrategy, NoQuorumPolicy, PlacementStrategy};
pub use resource::{BundleSettings, CloneSettings, GroupSettings, Kind, MultipleActive, Replica, Resource, Role};
pub use score::{Discovery, NodeEntry, NodeTable, Score};

use hakudo_base::WallTime;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A node's place in [`Model::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(u32);

impl NodeIndex {
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A resource's place in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(u32);

impl ResourceId {
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something in the configuration or the status that could not be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The id of the object that it is about.
    pub id: String,
    /// What is wrong, and what is done instead.
    pub message: String,
}

/// An operation that failed, as a node's history tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedOperation {
    /// `operation_key`.
    pub key: String,
    /// `id` of the history entry.
    pub entry_id: String,
    /// The resource, by id.
    pub resource: String,
    /// The node, by name.
    pub node: String,
    /// `operation`.
    pub task: String,
    /// Milliseconds; 0 for one that runs once.
    pub interval_ms: u64,
    /// `rc-code`.
    pub exit_code: i32,
    /// `op-status`.
    pub status: i32,
    /// `call-id`.
    pub call_id: i64,
    /// `exit-reason`.
    pub exit_reason: String,
    /// `last-rc-change`, seconds since 1970.
    pub last_change: Option<i64>,
    /// `exec-time` in milliseconds.
    pub exec_time_ms: i64,
    /// `queue-time` in milliseconds.
    pub queue_time_ms: i64,
    /// A probe that found no agent, or wrong parameters: it only says that the resource cannot run there.
    pub masked_probe: bool,
}

/// A ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// Granted to this site.
    pub granted: bool,
    /// To be given up in good order.
    pub standby: bool,
    /// When it was last granted, seconds since 1970.
    pub last_granted: Option<i64>,
    /// All attributes of its state.
    pub state: BTreeMap<String, String>,
}

/// A cluster: what is configured, and what is known of its state.
#[derive(Clone, Debug)]
pub struct Model {
    /// The cluster options.
    pub options: ClusterOptions,
    /// The cluster has quorum.
    pub quorate: bool,
    /// The leader.
    pub dc: Option<NodeIndex>,
    /// The time of the decision.
    pub now: WallTime,
    /// All tickets by name.
    pub tickets: BTreeMap<String, Ticket>,
    /// Failed operations in the order in which they were found.
    pub failures: Vec<FailedOperation>,
    /// When to look again although nothing happened, seconds since 1970.
    pub recheck_by: Option<i64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) node_order: Vec<NodeIndex>,
    /// The nodes of a name, and those of an id, in lower case; hardly ever more than one.
    pub(crate) nodes_named: BTreeMap<String, Vec<NodeIndex>>,
    pub(crate) nodes_with_id: BTreeMap<String, Vec<NodeIndex>>,
    /// What [`Model::everywhere`] found, until a node changes.
    pub(crate) everywhere: Option<NodeTable>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) top: Vec<ResourceId>,
    /// The resources that were ever known by an id: their own, or that of their history.
    pub(crate) known_as: BTreeMap<String, Vec<ResourceId>>,
    /// How often an id was added to them.
    pub(crate) ids_noted: u64,
    pub(crate) templates: BTreeMap<String, Vec<String>>,
    pub(crate) tags: BTreeMap<String, Vec<String>>,
    pub(crate) have_remote_nodes: bool,
}

impl Model {
    /// The nodes, sorted by name.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeIndex> + '_ {
        self.node_order.iter().copied()
    }

    /// A node.
    pub fn node(&self, node: NodeIndex) -> &Node {
        &self.nodes[node.index()]
    }

    /// The node of a name, in any case.
    pub fn node_named(&self, name: &str) -> Option<NodeIndex> {
        self.first_of(self.nodes_named.get(&name.to_ascii_lowercase())?)
    }

    /// The node of an id, in any case.
    pub(crate) fn node_with_id(&self, id: &str) -> Option<NodeIndex> {
        self.first_of(self.nodes_with_id.get(&id.to_ascii_lowercase())?)
    }

    fn first_of(&self, nodes: &[NodeIndex]) -> Option<NodeIndex> {
        match nodes {
            [one] => Some(*one),
            several => self.nodes().find(|node| several.contains(node)),
        }
    }

    /// Adds a node; where it stands in `node_order` is for the caller to say.
    pub(crate) fn push_node(&mut self, node: Node) -> NodeIndex {
        let index = NodeIndex::new(self.nodes.len());
        self.nodes_named.entry(node.name.to_ascii_lowercase()).or_default().push(index);
        self.nodes_with_id.entry(node.id.to_ascii_lowercase()).or_default().push(index);
        self.nodes.push(node);
        self.everywhere = None;
        index
    }

    /// The table of a resource that may run everywhere, except on nodes that are made for certain resources.
    pub(crate) fn everywhere(&mut self) -> NodeTable {
        if let Some(known) = &self.everywhere {
            return known.clone();
        }
        let mut table = NodeTable::default();
        for &node in &self.node_order {
            let base = self.node(node).base;
            if base.discovery != Discovery::Never {
                table.insert(node, base);
            }
        }
        self.everywhere.insert(table).clone()
    }

    /// The resources that are in no other, in the order of decision: by priority, then as configured.
    pub fn top_resources(&self) -> &[ResourceId] {
        &self.top
    }

    /// A resource.
    pub fn resource(&self, resource: ResourceId) -> &Resource {
        &self.resources[resource.index()]
    }

    /// Every resource, instance and member.
    pub fn resources(&self) -> impl Iterator<Item = (ResourceId, &Resource)> {
        self.resources.iter().enumerate().map(|(i, resource)| (ResourceId::new(i), resource))
    }

    /// The resource of an id (an instance's with its number), or that a node's history knows by this id.
    pub fn resource_with_id(&self, id: &str) -> Option<ResourceId> {
        let has_id = |resource: &Resource| resource.id == id || resource.history_id.as_deref() == Some(id);
        let mut fitting = self.known_as.get(id)?.iter().copied().filter(|known| {
            let resource = self.resources.get(known.index());
            resource.is_some_and(has_id)
        });
        let first = fitting.next()?;
        let top = self.top_of(first);
        let mut lowest = first;
        for other in fitting {
            if self.top_of(other) != top {
                return self.top.iter().find_map(|top| self.find_below(*top, &has_id));
            }
            lowest = lowest.min(other);
        }
        Some(lowest)
    }

    /// Remembers that a resource is known by an id.
    pub(crate) fn note_id(&mut self, id: &str, resource: ResourceId) {
        match self.known_as.get_mut(id) {
            Some(known) if known.contains(&resource) => return,
            Some(known) => known.push(resource),
            None => {
                self.known_as.insert(id.to_owned(), vec![resource]);
            }
        }
        self.ids_noted += 1;
    }

    /// The resource of an id that no other resource was ever known by.
    pub(crate) fn sole_with_id(&self, id: &str) -> Option<ResourceId> {
        match self.known_as.get(id)?.as_slice() {
            [only] if self.is_id_of(id, *only) => Some(*only),
            _ => None,
        }
    }

    /// The resource is there, and this is its own id.
    pub(crate) fn is_id_of(&self, id: &str, resource: ResourceId) -> bool {
        self.resources.get(resource.index()).is_some_and(|resource| resource.id == id)
    }

    /// The first in `root` and below that fits, a collection before what is in it.
    pub(crate) fn find_below(&self, root: ResourceId, fits: &dyn Fn(&Resource) -> bool) -> Option<ResourceId> {
        if fits(self.resource(root)) {
            return Some(root);
        }
        self.resource(root).children.iter().find_map(|child| self.find_below(*child, fits))
    }

    /// The outermost resource that this is in, itself if none; a bundle does not count.
    pub fn top_of(&self, resource: ResourceId) -> ResourceId {
        let mut top = resource;
        while let Some(parent) = self.resource(top).parent {
            if self.resource(parent).is_bundle() {
                break;
            }
            top = parent;
        }
        top
    }

    /// True where the resource is a bundle, or in one.
    pub fn is_bundled(&self, resource: ResourceId) -> bool {
        let top = self.resource(self.top_of(resource));
        top.is_bundle() || top.parent.is_some()
    }

    /// The node where the resource is active, the best of several, with how many there are, and how many of them are clean.
    pub fn active_node(&self, resource: ResourceId) -> (Option<NodeIndex>, usize, usize) {
        let subject = self.resource(resource);
        let (mut chosen, mut clean) = (None::<NodeIndex>, 0);
        let active_on = self.active_nodes(resource);
        for &node in active_on.iter() {
            let happy = self.node(node).online && !self.node(node).unclean;
            clean += usize::from(happy);
            if let Some(source) = subject.migration_source {
                if node == source {
                    chosen = Some(node);
                }
            } else if !subject.needs_fencing
                && happy
                && chosen.is_none_or(|c| !self.node(c).online || self.node(c).unclean)
            {
                chosen = Some(node);
            }
            chosen.get_or_insert(node);
        }
        (chosen, active_on.len(), clean)
    }

    /// Where a resource is active; a bundle is where its containers are.
    fn active_nodes(&self, resource: ResourceId) -> Cow<'_, [NodeIndex]> {
        let subject = self.resource(resource);
        let Kind::Bundle(bundle) = &subject.kind else { return Cow::Borrowed(&subject.active_on) };
        let mut nodes = Vec::new();
        for container in bundle.replicas.iter().map(|replica| self.resource(replica.container)) {
            for node in &container.active_on {
                if !nodes.contains(node) {
                    nodes.push(*node);
                }
            }
        }
        Cow::Owned(nodes)
    }

    /// The node where the resource is active now, the best of several.
    pub fn current_node(&self, resource: ResourceId) -> Option<NodeIndex> {
        self.active_node(resource).0
    }

    /// Where the members or instances of a resource are active, each node once.
    pub fn locations(&self, resource: ResourceId, of: Location) -> Vec<NodeIndex> {
        let mut found = Vec::new();
        self.collect_locations(resource, of, &mut found);
        found
    }

    fn collect_locations(&self, resource: ResourceId, of: Location, found: &mut Vec<NodeIndex>) {
        let subject = self.resource(resource);
        if !subject.children.is_empty() {
            for &child in &subject.children {
                self.collect_locations(child, of, found);
            }
            return;
        }
        for node in subject.own_locations(of) {
            if !found.contains(&node) {
                found.push(node);
            }
        }
    }

    /// The one node of a resource; none where it has none or several.
    pub(crate) fn sole_location(&self, resource: ResourceId, of: Location) -> Option<NodeIndex> {
        let subject = self.resource(resource);
        if !subject.children.is_empty() {
            return match self.locations(resource, of).as_slice() {
                [one] => Some(*one),
                _ => None,
            };
        }
        let mut nodes = subject.own_locations(of);
        let first = nodes.next()?;
        nodes.all(|node| node == first).then_some(first)
    }

    /// The role now: of a group or clone the highest in it.
    pub fn role_now(&self, resource: ResourceId) -> Role {
        self.highest_role(resource, &|r| r.role)
    }

    /// The role after the plan: of a group or clone the highest in it.
    pub fn role_next(&self, resource: ResourceId) -> Role {
        self.highest_role(resource, &|r| r.next_role)
    }

    fn highest_role(&self, resource: ResourceId, role: &dyn Fn(&Resource) -> Role) -> Role {
        let subject = self.resource(resource);
        if subject.is_primitive() {
            return role(subject);
        }
        if subject.is_bundle() {
            // Neither its containers nor what runs in them has a say in the role of a bundle.
            return Role::Unknown;
        }
        subject.children.iter().map(|child| self.highest_role(*child, role)).max().unwrap_or_default()
    }

    /// True where the resource counts as active: somewhere for a primitive, everywhere (`all`) or anywhere in a collection.
    pub fn is_active(&self, resource: ResourceId, all: bool) -> bool {
        let subject = self.resource(resource);
        if subject.is_primitive() {
            return subject.active_on.iter().any(|node| {
                let node = self.node(*node);
                node.unclean || node.online || !subject.managed
            });
        }
        let mut children = subject.children.iter().map(|child| self.is_active(*child, all));
        if subject.is_group() && all {
            let states: Vec<bool> = children.collect();
            states.iter().any(|active| *active) && states.iter().all(|active| *active)
        } else if all {
            children.all(|active| active)
        } else {
            children.any(|active| active)
        }
    }

    /// True where `target-role` keeps the resource from running (or, of a promotable clone, from being promoted).
    pub fn is_disabled(&self, resource: ResourceId) -> bool {
        let role = self.resource(resource).meta("target-role").map(Role::parse);
        let promotable = self.resource(self.top_of(resource)).promotable;
        role == Some(Role::Stopped) || (role == Some(Role::Unpromoted) && promotable)
    }

    /// True where any of the resource and what is in it fulfils the condition.
    pub(crate) fn any_below(&self, resource: ResourceId, fits: &dyn Fn(&Resource) -> bool) -> bool {
        self.find_below(resource, fits).is_some()
    }

    /// The value of a node attribute as a resource sees it: with `target=host`, that of the host of a guest node.
    pub(crate) fn node_attribute(
        &self,
        node: NodeIndex,
        name: &str,
        target: Option<&str>,
        of: Location,
    ) -> Option<&str> {
        let subject = self.node(node);
        match subject.launcher {
            Some(launcher) if target.is_some_and(|t| t.eq_ignore_ascii_case("host")) => {
                let host = match of {
                    Location::Assigned => self.resource(launcher).assigned_to,
                    Location::Current | Location::CurrentOrPending => {
                        self.resource(launcher).active_on.first().copied()
                    }
                };
                host.and_then(|host| self.node(host).attribute(name))
            }
            _ => subject.attribute(name),
        }
    }

    pub(crate) fn node_mut(&mut self, node: NodeIndex) -> &mut Node {
        self.everywhere = None;
        &mut self.nodes[node.index()]
    }

    pub(crate) fn resource_mut(&mut self, resource: ResourceId) -> &mut Resource {
        &mut self.resources[resource.index()]
    }

    /// Remembers that the answer may be another one at `time` (seconds since 1970).
    pub(crate) fn look_again_at(&mut self, time: i64) {
        if time > self.now.seconds() && self.recheck_by.is_none_or(|earlier| earlier > time) {
            self.recheck_by = Some(time);
        }
    }
}

/// Which of a resource's nodes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Where it is active.
    Current,
    /// Where it is active, or an operation is under way.
    CurrentOrPending,
    /// Where the plan puts it.
    Assigned,
}

//! A node as the scheduler sees it.

use super::{NodeEntry, ResourceId};
use std::collections::BTreeMap;

/// What kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Runs the cluster itself.
    Cluster,
    /// Reached through a connection that is a resource (`type="remote"`): a remote node, or, where that connection lives in
    /// a container resource, a guest node.
    Remote,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// `id`.
    pub id: String,
    /// `uname`.
    pub name: String,
    /// What kind of node.
    pub kind: NodeKind,
    /// The connection resource of a remote or guest node.
    pub connection: Option<ResourceId>,
    /// The resource that the guest node lives in.
    pub launcher: Option<ResourceId>,
    /// Takes part in the cluster now.
    pub online: bool,
    /// Its state is not known, or something on it failed that only fencing mends.
    pub unclean: bool,
    /// In the membership, but not yet a full member.
    pub pending: bool,
    /// Asked to stop.
    pub shutdown: bool,
    /// Runs no resources, by request or by a failure.
    pub standby: bool,
    /// Put in standby by a failed operation with `on-fail=standby`.
    pub fail_standby: bool,
    /// Its resources are left alone.
    pub maintenance: bool,
    /// Was in the membership and is expected to be.
    pub expected_up: bool,
    /// Its status is in the CIB.
    pub seen: bool,
    /// Its connection must be reset by fencing (remote) or by recovery of its resource (guest).
    pub remote_reset: bool,
    /// The history says that a remote node was fenced.
    pub remote_fenced: bool,
    /// The history says that a remote node was in maintenance.
    pub remote_maintenance: bool,
    /// Its resource history was read.
    pub(crate) history_read: bool,
    /// Resources may be looked for there.
    pub probes_allowed: bool,
    /// Node attributes, permanent and transient, with the built-in ones (`#uname`, `#kind`, …).
    pub attributes: BTreeMap<String, String>,
    /// Capacity left; as configured before planning.
    pub utilization: BTreeMap<String, i64>,
    /// Primitives that the history says are active there, in the order of the history.
    pub running: Vec<ResourceId>,
    /// Primitives that the plan puts there.
    pub assigned: Vec<ResourceId>,
    /// Sum of the priorities of what runs there (`priority-fencing-delay`).
    pub priority: i32,
    /// What the node is worth before any resource has a say.
    pub(crate) base: NodeEntry,
}

impl Node {
    pub(crate) fn new(id: &str, name: &str, kind: NodeKind) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            connection: None,
            launcher: None,
            online: false,
            unclean: false,
            pending: false,
            shutdown: false,
            standby: false,
            fail_standby: false,
            maintenance: false,
            expected_up: false,
            seen: false,
            remote_reset: false,
            remote_fenced: false,
            remote_maintenance: false,
            history_read: false,
            probes_allowed: true,
            attributes: BTreeMap::new(),
            utilization: BTreeMap::new(),
            running: Vec::new(),
            assigned: Vec::new(),
            priority: 0,
            base: NodeEntry::default(),
        }
    }

    /// Reached through a connection resource.
    pub fn is_remote_or_guest(&self) -> bool {
        self.kind == NodeKind::Remote
    }

    /// Lives in a container resource.
    pub fn is_guest(&self) -> bool {
        self.is_remote_or_guest() && self.launcher.is_some()
    }

    /// A remote node that is no guest node.
    pub fn is_remote(&self) -> bool {
        self.is_remote_or_guest() && self.launcher.is_none()
    }

    /// Could run resources now, whatever the scores.
    pub fn is_usable(&self) -> bool {
        self.online && !self.shutdown && !self.unclean && !self.standby && !self.maintenance
    }

    /// Any failure of a resource is counted there.
    pub(crate) fn has_failures(&self) -> bool {
        let first = self.attributes.range("fail-count-".to_owned()..).next();
        first.is_some_and(|(name, _)| name.starts_with("fail-count-"))
    }

    /// The value of a node attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

//! The transition graph: what is to be done, and what each step waits for. Made by the scheduler, never changed after.
//!
//! A *synapse* fires once all of its inputs are done; firing it starts its actions. The controller walks the graph and
//! decides nothing: every choice was made when the plan was made.

use hakudo_base::agent::AgentName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The number of an action in its graph, from 1 (Pacemaker's action `id`).
pub type ActionId = u32;

/// The whole graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// `cluster-delay` in milliseconds: how long a message to a node may take beyond an action's own timeout.
    pub cluster_delay_ms: u64,
    /// `cluster-delay` as the configuration writes it.
    pub cluster_delay: String,
    /// `fencing-timeout` in milliseconds.
    pub fencing_timeout_ms: u64,
    /// `fencing-timeout` as the configuration writes it.
    pub fencing_timeout: String,
    /// A failed start counts as INFINITY failures (`start-failure-is-fatal`).
    pub failed_start_is_fatal: bool,
    /// Actions in flight at once in the whole cluster; 0 leaves it to the controller (`batch-limit`).
    pub batch_limit: u32,
    /// Migrations in flight at once on a node; none means any number (`migration-limit`).
    pub migration_limit: Option<u32>,
    /// Seconds since 1970 at which the cluster must be looked at again although nothing happened, for instance because
    /// a rule or a failure-timeout changes the answer then.
    pub recheck_by: Option<i64>,
    /// What depends on each ticket that a constraint names, and how that stands.
    pub tickets: BTreeMap<String, TicketUse>,
    /// What nodes must do by themselves when the lease of a ticket ends, of each ticket that a group granted here and that a
    /// constraint names. Only in a plan that is made to be carried out.
    pub guards: Vec<TicketGuard>,
    /// The steps in the order of their numbers.
    pub synapses: Vec<Synapse>,
}

/// How the resources stand that depend on a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketUse {
    /// One of them is active in the role that needs the ticket, or may be.
    pub active: bool,
    /// All of them are.
    pub started: bool,
    /// All of them will be once the plan is carried out, or are stopped because somebody wants that; or why not.
    pub able: Result<(), String>,
    /// A constraint that names it is wrong and is ignored: what it means runs without the ticket, and counts as active.
    pub unread: bool,
    /// The first of them that stays active in that role whatever the plan says, and why: in a plan made as if the ticket were lost,
    /// it is what a loss does not stop.
    pub stays: Option<String>,
    /// The primitives that need it, by [`ResourceRef::id`].
    pub resources: BTreeSet<String>,
    /// The nodes on which they are active are to be fenced when the ticket is lost (`loss-policy="fence"`).
    pub fence: bool,
}

/// What has to stop when the lease of a ticket ends, as long as this plan is the last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketGuard {
    /// The ticket.
    pub ticket: String,
    /// See [`TicketUse::fence`].
    pub fence: bool,
    /// What is to be done, each step after those that come before it on its node.
    pub steps: Vec<GuardStep>,
}

/// A stop or demotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStep {
    /// What, and where.
    pub action: Action,
    /// The places in the list of steps on the same node that must have ended before.
    pub after: Vec<u32>,
}

/// One step: actions that start together once the inputs are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synapse {
    /// Its number in the graph, from 0.
    pub id: u32,
    /// Steps of higher priority fire first where only some may.
    pub priority: i32,
    /// What it does. Pacemaker's graphs have one action a synapse.
    pub action: Action,
    /// The actions that must have ended well before.
    pub inputs: Vec<ActionId>,
}

/// One action of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its number.
    pub id: ActionId,
    /// `rsc_start_0`, `rsc_monitor_10000`, `stonith-node1-reboot`, `load_stopped_node1`, …: unique with the node.
    pub key: String,
    /// The task: `start`, `stop`, `monitor`, `promote`, `stonith`, `do_shutdown`, `clear_failcount`, `cancel`, ….
    pub task: String,
    /// What kind of action it is.
    pub kind: ActionKind,
    /// The key by which the scheduler knows the action, where the node's history names the resource differently
    /// (`internal_operation_key`).
    pub internal_key: Option<String>,
    /// The `<attributes>` of the action as in Pacemaker's graph: instance attributes, and `CRM_meta_…`.
    pub attributes: BTreeMap<String, String>,
    /// Nodes (by `id`) that are down once this is done: what a fencing, a shutdown, or the end of a remote connection takes away.
    pub downed: Vec<String>,
    /// Remote nodes (by `id`) whose maintenance mode is to be recorded, and whether they are in it.
    pub maintenance: Vec<(String, bool)>,
    /// Since when (seconds since 1970) the resource is locked to the node because that one shuts down (`shutdown-lock`).
    pub shutdown_lock: Option<i64>,
    /// Why: a sentence for people, naming configuration ids. Empty only for plain bookkeeping.
    pub reason: String,
}

/// What kind of action, and what carries it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    /// Needs no doing: a point that others wait for (`<pseudo_event>`).
    Pseudo,
    /// The fencing of a guest node, which is done by stopping its resource: nothing more to do, but it is about a node.
    PseudoFencing {
        /// The guest node.
        node: NodeRef,
    },
    /// An operation on a resource (`<rsc_op>`), or one of the controller's own on a resource (`cancel`, `lrm_delete`).
    Resource {
        /// On which node, by `id` and `uname`.
        node: NodeRef,
        /// The node whose executor runs it where that is another one (remote and guest nodes: `router_node`).
        router: Option<NodeRef>,
        /// The resource (`<primitive id>`).
        resource: ResourceRef,
    },
    /// An action of the cluster on a node (`<crm_event>`): `stonith`, `do_shutdown`, `clear_failcount`, `lrm_refresh`, ….
    Cluster {
        /// The node that it is about.
        node: NodeRef,
        /// The node that carries it out where that is another one.
        router: Option<NodeRef>,
        /// The resource that it is about, for `clear_failcount`.
        resource: Option<ResourceRef>,
    },
}

/// A node as a graph names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeRef {
    /// `id` in the CIB.
    pub id: String,
    /// `uname`.
    pub name: String,
}

/// A resource as a graph names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRef {
    /// `id` of the `<primitive>` in the graph: for an anonymous clone the name without instance number.
    pub id: String,
    /// `long-id`: the instance (`rsc:0`), where it differs.
    pub long_id: Option<String>,
    /// The agent.
    pub agent: AgentName,
}

impl Action {
    /// The node that the action is about.
    pub fn node(&self) -> Option<&NodeRef> {
        match &self.kind {
            ActionKind::Pseudo => None,
            ActionKind::Resource { node, .. }
            | ActionKind::Cluster { node, .. }
            | ActionKind::PseudoFencing { node } => Some(node),
        }
    }

    /// The node whose executor or controller does the work.
    pub fn performer(&self) -> Option<&NodeRef> {
        match &self.kind {
            ActionKind::Pseudo | ActionKind::PseudoFencing { .. } => None,
            ActionKind::Resource { node, router, .. } | ActionKind::Cluster { node, router, .. } => {
                Some(router.as_ref().unwrap_or(node))
            }
        }
    }
}

/// Writes a text as an attribute's value.
pub(crate) fn escape_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
}

/// Writes elements one after the other.
struct Writer {
    out: String,
}

impl Writer {
    fn open(&mut self, name: &str, attributes: &[(&str, &str)], empty: bool) {
        self.out.push('<');
        self.out.push_str(name);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape_into(value, &mut self.out);
            self.out.push('"');
        }
        self.out.push_str(if empty { "/>\n" } else { ">\n" });
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }
}

impl Transition {
    /// The graph as Pacemaker writes it.
    pub fn to_xml(&self) -> String {
        let mut writer = Writer { out: String::new() };
        let text = |number: Option<String>| number.unwrap_or_default();
        let (batch, limit) = (self.batch_limit.to_string(), text(self.migration_limit.map(|n| n.to_string())));
        let recheck = text(self.recheck_by.map(|time| time.to_string()));
        let start_offset = if self.failed_start_is_fatal { "INFINITY" } else { "1" };
        let mut head = vec![
            ("cluster-delay", self.cluster_delay.as_str()),
            ("fencing-timeout", self.fencing_timeout.as_str()),
            ("failed-stop-offset", "INFINITY"),
            ("failed-start-offset", start_offset),
            ("batch-limit", batch.as_str()),
            ("transition_id", "1"),
        ];
        if self.migration_limit.is_some() {
            head.push(("migration-limit", limit.as_str()));
        }
        if self.recheck_by.is_some() {
            head.push(("recheck-by", recheck.as_str()));
        }
        writer.open("transition_graph", &head, self.synapses.is_empty());
        let by_id: BTreeMap<ActionId, &Action> = self.synapses.iter().map(|s| (s.action.id, &s.action)).collect();
        for synapse in &self.synapses {
            let (id, priority) = (synapse.id.to_string(), synapse.priority.to_string());
            let mut attributes = vec![("id", id.as_str())];
            if synapse.priority > 0 {
                attributes.push(("priority", priority.as_str()));
            }
            writer.open("synapse", &attributes, false);
            writer.open("action_set", &[], false);
            synapse.action.write(&mut writer, true);
            writer.close("action_set");
            writer.open("inputs", &[], synapse.inputs.is_empty());
            for input in synapse.inputs.iter().filter_map(|input| by_id.get(input)) {
                writer.open("trigger", &[], false);
                input.write(&mut writer, false);
                writer.close("trigger");
            }
            if !synapse.inputs.is_empty() {
                writer.close("inputs");
            }
            writer.close("synapse");
        }
        if !self.synapses.is_empty() {
            writer.close("transition_graph");
        }
        writer.out
    }
}

impl Action {
    fn write(&self, writer: &mut Writer, details: bool) {
        let tag = match &self.kind {
            ActionKind::Pseudo | ActionKind::PseudoFencing { .. } => "pseudo_event",
            ActionKind::Resource { .. } => "rsc_op",
            ActionKind::Cluster { .. } => "crm_event",
        };
        let id = self.id.to_string();
        let lock = self.shutdown_lock.map(|time| time.to_string()).unwrap_or_default();
        let mut attributes: Vec<(&str, &str)> = Vec::new();
        if self.task == "lrm_delete" {
            attributes.push(("mode", "cib"));
        }
        attributes.extend([("id", id.as_str()), ("operation", &self.task), ("operation_key", &self.key)]);
        if let Some(key) = &self.internal_key {
            attributes.push(("internal_operation_key", key));
        }
        if let Some(node) = self.node() {
            attributes.extend([("on_node", node.name.as_str()), ("on_node_uuid", node.id.as_str())]);
        }
        let (router, resource) = match &self.kind {
            ActionKind::Resource { router, resource, .. } => (router.as_ref(), Some(resource)),
            ActionKind::Cluster { router, resource, .. } => (router.as_ref(), resource.as_ref()),
            ActionKind::Pseudo | ActionKind::PseudoFencing { .. } => (None, None),
        };
        if let Some(router) = router {
            attributes.push(("router_node", &router.name));
        }
        if details && self.shutdown_lock.is_some() {
            attributes.push(("shutdown-lock", &lock));
        }
        writer.open(tag, &attributes, !details);
        if !details {
            return;
        }
        if let Some(resource) = resource {
            let mut attributes = vec![("id", resource.id.as_str())];
            if let Some(long_id) = &resource.long_id {
                attributes.push(("long-id", long_id));
            }
            attributes.push(("class", &resource.agent.class));
            if let Some(provider) = &resource.agent.provider {
                attributes.push(("provider", provider));
            }
            attributes.push(("type", &resource.agent.kind));
            writer.open("primitive", &attributes, true);
        }
        // A name that begins with a digit cannot be an attribute's.
        let numbered = |name: &str| name.starts_with(|c: char| c.is_ascii_digit());
        let plain: Vec<(&str, &str)> =
            self.attributes.iter().filter(|(name, _)| !numbered(name)).map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let special: Vec<_> = self.attributes.iter().filter(|(name, _)| numbered(name)).collect();
        writer.open("attributes", &plain, special.is_empty());
        for (name, value) in &special {
            writer.open("param", &[("name", name), ("value", value)], true);
        }
        if !special.is_empty() {
            writer.close("attributes");
        }
        if !self.downed.is_empty() {
            writer.open("downed", &[], false);
            for id in &self.downed {
                writer.open("node", &[("id", id)], true);
            }
            writer.close("downed");
        }
        if !self.maintenance.is_empty() {
            writer.open("maintenance", &[], false);
            for (id, is_in) in &self.maintenance {
                writer.open("node", &[("id", id), ("node_in_maintenance", if *is_in { "1" } else { "0" })], true);
            }
            writer.close("maintenance");
        }
        writer.close(tag);
    }
}

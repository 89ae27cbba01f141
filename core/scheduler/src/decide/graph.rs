//! The graph: the actions that are to be done, with what each waits for.

use super::action::{ActionFlags, ActionIndex, Relation, Task};
use crate::model::{Kind, NoQuorumPolicy, NodeIndex, ResourceId};
use crate::planner::Planner;
use crate::transition::{Action, ActionKind, NodeRef, ResourceRef, Synapse, Transition};
use crate::values;
use hakudo_base::agent::AgentName;
use std::collections::{BTreeMap, BTreeSet};

impl Planner {
    pub(crate) fn create_graph(&mut self) -> Transition {
        let options = &self.model.options;
        let ms = |text: &str| values::interval(text).unwrap_or(0);
        let migration_limit = values::integer(&options.migration_limit).filter(|limit| *limit > 0);
        let mut transition = Transition {
            cluster_delay_ms: ms(&options.cluster_delay),
            cluster_delay: options.cluster_delay.clone(),
            fencing_timeout_ms: ms(&options.fencing_timeout),
            fencing_timeout: options.fencing_timeout.clone(),
            failed_start_is_fatal: options.start_failure_is_fatal,
            batch_limit: values::integer(&options.batch_limit).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            migration_limit: migration_limit.and_then(|limit| u32::try_from(limit).ok()),
            recheck_by: self.model.recheck_by,
            tickets: self.ticket_uses(),
            guards: Vec::new(),
            synapses: Vec::new(),
        };
        self.fill_in_addresses();
        for resource in self.model.top.clone() {
            self.finish_collections(resource);
        }
        self.note_maintenance();
        let mut included = Vec::new();
        for resource in self.model.top.clone() {
            self.include_actions_of(resource, &mut included);
        }
        for index in (0..u32::try_from(self.actions.len()).unwrap_or(u32::MAX)).rev() {
            self.include(ActionIndex(index), &mut included);
        }
        // The graph is the largest part of a plan: what no later step looks at makes room for it.
        self.relations = BTreeMap::new();
        self.orderings = Vec::new();
        if !self.for_inspection() && included.iter().all(|action| self.is_mere_point(*action)) {
            // Points that nothing real comes before or after are no work. Pacemaker's plan has those of a group whose members
            // cannot be reached, again and again.
            included.clear();
        }
        transition.synapses = (0u32..).zip(included).map(|(id, action)| self.synapse(id, action)).collect();
        transition
    }

    /// Nothing is done for it, and nothing is known by it.
    fn is_mere_point(&self, action: ActionIndex) -> bool {
        let subject = self.action(action);
        subject.is(ActionFlags::PSEUDO) && subject.task != Task::Fence
    }

    /// Clones sum up what their instances do, and tell them about each other.
    fn finish_collections(&mut self, resource: ResourceId) {
        if !self.resource(resource).is_clone() {
            for child in self.resource(resource).children.clone() {
                self.finish_collections(child);
            }
            return;
        }
        for action in self.actions_of[resource.index()].clone().into_iter().rev() {
            self.action_flags(action, None);
        }
        self.create_clone_notifications(resource);
    }

    /// Remote nodes whose maintenance mode is to be recorded.
    fn note_maintenance(&mut self) {
        if self.maintenance_changes().is_empty() {
            return;
        }
        let action = self.milestone("maintenance_nodes");
        self.action_mut(action).flags.set(ActionFlags::ALWAYS_IN_GRAPH);
    }

    fn maintenance_changes(&self) -> Vec<(String, bool)> {
        self.model
            .nodes()
            .map(|node| self.model.node(node))
            .filter(|node| node.is_remote_or_guest() && node.maintenance != node.remote_maintenance)
            .map(|node| (node.id.clone(), node.maintenance))
            .collect()
    }

    /// A clone's own actions stand behind those of its instances, a group's before those of its members: the order in which
    /// steps that are ready together are done.
    fn include_actions_of(&mut self, resource: ResourceId, included: &mut Vec<ActionIndex>) {
        if self.resource(resource).is_bundle() {
            // What runs inside before the containers; the bundle's own points stand behind everything.
            for part in self.inside_first(resource) {
                self.include_actions_of(part, included);
            }
            return;
        }
        let children = self.resource(resource).children.clone();
        let children_first = self.resource(resource).is_clone();
        if children_first {
            children.iter().for_each(|child| self.include_actions_of(*child, included));
        }
        for action in self.actions_of[resource.index()].clone().into_iter().rev() {
            self.include(action, included);
        }
        if !children_first {
            children.iter().for_each(|child| self.include_actions_of(*child, included));
        }
    }

    fn include(&mut self, action: ActionIndex, included: &mut Vec<ActionIndex>) {
        self.deduplicate_inputs(action);
        if self.action(action).is(ActionFlags::IN_GRAPH) || !self.belongs_in_graph(action) {
            return;
        }
        self.action_mut(action).flags.set(ActionFlags::IN_GRAPH);
        included.push(action);
    }

    fn deduplicate_inputs(&mut self, action: ActionIndex) {
        let subject = self.action_mut(action);
        if subject.is(ActionFlags::DEDUPLICATED) {
            return;
        }
        subject.flags.set(ActionFlags::DEDUPLICATED);
        let mut inputs = std::mem::take(&mut subject.before);
        inputs.sort_by_key(|input| input.action);
        inputs.dedup_by(|next, kept| {
            let same = next.action == kept.action;
            if same {
                kept.flags = kept.flags | next.flags;
            }
            same
        });
        subject.before = inputs;
    }

    fn belongs_in_graph(&self, action: ActionIndex) -> bool {
        let subject = self.action(action);
        if !subject.is(ActionFlags::RUNNABLE)
            || (subject.is(ActionFlags::OPTIONAL) && !subject.is(ActionFlags::ALWAYS_IN_GRAPH))
        {
            return false;
        }
        let unmanaged = subject.resource.is_some_and(|resource| !self.resource(resource).managed);
        if unmanaged && subject.task != Task::Monitor {
            let recurring = subject.key.interval_ms > 0;
            if !recurring {
                return false;
            }
        }
        if subject.is(ActionFlags::PSEUDO) || matches!(subject.task, Task::Fence | Task::Shutdown) {
            return true;
        }
        let Some(node) = subject.node else { return false };
        let peer = self.model.node(node);
        subject.is(ActionFlags::ON_DC) || (peer.is_guest() && !peer.remote_reset) || (peer.online && !peer.unclean)
    }

    /// Whether an action waits in the graph for one of those before it.
    fn input_counts(&mut self, action: ActionIndex, at: usize) -> bool {
        let input = self.action(action).before[at];
        if input.graphed {
            return true;
        }
        let flags = input.flags;
        if flags == Relation::NONE || self.is_left_to_others(input.action, action) {
            return false;
        }
        let weak = Relation::THEN_IMPLIES_FIRST_GRAPHED | Relation::FIRST_IMPLIES_THEN_GRAPHED | Relation::ORDERED;
        let first = self.action(input.action);
        let runnable = first.is(ActionFlags::RUNNABLE);
        let strong = flags.without(weak) != Relation::NONE;
        if !runnable && (!strong || flags.has(Relation::MIN_RUNNABLE) || flags.has(Relation::UNMIGRATABLE_THEN_BLOCKS))
        {
            return false;
        }
        let migratable = first.is(ActionFlags::MIGRATABLE);
        if flags.has(Relation::IF_FIRST_UNMIGRATABLE) && migratable {
            return false;
        }
        let is_stop = first.key == Task::Stop.into() && first.resource.is_some();
        if flags == Relation::ORDERED && migratable && is_stop {
            return false;
        }
        let then = self.action(action);
        let drop = if flags == Relation::IF_ON_SAME_NODE_OR_TARGET {
            let place = match then.resource {
                Some(resource) if then.task == Task::MigrateTo => self.resource(resource).assigned_to,
                _ => then.node,
            };
            let migrating = then.task == Task::MigrateTo && then.resource.is_some();
            Some(first.node.is_none() || first.node != place || (!migrating && first.is(ActionFlags::OPTIONAL)))
        } else if flags == Relation::IF_REQUIRED_ON_SAME_NODE {
            let apart = first.node.is_some() && then.node.is_some() && first.node != then.node;
            Some(apart || first.is(ActionFlags::OPTIONAL))
        } else {
            None
        };
        if let Some(drop) = drop {
            if drop {
                self.action_mut(action).before[at].flags = Relation::NONE;
            }
            return !drop;
        }
        let stuck = first.resource.is_some_and(|resource| {
            let subject = self.resource(resource);
            then.resource != Some(resource) && subject.failed && !subject.managed
        });
        if stuck && is_stop && then.resource.is_some_and(|resource| self.resource(resource).is_clone()) {
            return false;
        }
        !(first.is(ActionFlags::OPTIONAL)
            && !first.flags.any(ActionFlags::ALWAYS_IN_GRAPH | ActionFlags::IN_GRAPH)
            && !self.belongs_in_graph(input.action))
    }

    /// A side that stops because it has no quorum stops without waiting for what may run on nodes that are not here: nobody
    /// can make sure of those before there is quorum again. To Pacemaker the stop of what they ran comes first, and so what
    /// that needs runs on here.
    fn is_left_to_others(&self, first: ActionIndex, then: ActionIndex) -> bool {
        let goes_down = |action: ActionIndex| matches!(self.task_behind(action), Task::Stop | Task::Demote);
        goes_down(first)
            && goes_down(then)
            && self.action(then).key.notify.is_none()
            && !self.action(first).is(ActionFlags::RUNNABLE)
            && self.is_out_of_reach(first)
    }

    /// The task of primitives that an action stands for, or that a notification is about.
    fn task_behind(&self, action: ActionIndex) -> Task {
        let subject = self.action(action);
        if subject.key.notify.is_some() { subject.key.task.of_primitive() } else { subject.task.of_primitive() }
    }

    /// It would have to be done where nobody is, all of it, and this side of the cluster stops for lack of quorum.
    pub(crate) fn is_out_of_reach(&self, action: ActionIndex) -> bool {
        let stops = matches!(
            self.model.options.no_quorum_policy,
            NoQuorumPolicy::Stop | NoQuorumPolicy::Demote | NoQuorumPolicy::Fence
        );
        if self.for_inspection() || self.model.quorate || !stops {
            return false;
        }
        let subject = self.action(action);
        let (Some(resource), task) = (subject.resource, self.task_behind(action)) else { return false };
        let (mut unseen, mut any) = (vec![resource], false);
        while let Some(resource) = unseen.pop() {
            unseen.extend(&self.resource(resource).children);
            let parts = self.actions_with_key.get(&(resource, task.into())).into_iter().flatten();
            let of =
                |part: &ActionIndex| self.action(*part).node.filter(|_| !self.action(*part).is(ActionFlags::OPTIONAL));
            for node in
                parts.filter(|part| subject.node.is_none() || self.action(**part).node == subject.node).filter_map(of)
            {
                let peer = self.model.node(node);
                if peer.online || peer.is_remote_or_guest() {
                    return false;
                }
                any = true;
            }
        }
        any
    }

    /// True where what the input at `at` waits for, and so on, is the action itself.
    pub(crate) fn has_loop(&mut self, origin: ActionIndex, at: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut unseen = vec![(origin, at)];
        while let Some((action, at)) = unseen.pop() {
            let input = self.action(action).before[at].action;
            if seen.contains(&input) || !self.input_counts(action, at) {
                continue;
            }
            if input == origin {
                return true;
            }
            seen.insert(input);
            unseen.extend((0..self.action(input).before.len()).map(|next| (input, next)));
        }
        false
    }

    fn synapse(&mut self, id: u32, action: ActionIndex) -> Synapse {
        let mut inputs = Vec::new();
        for at in 0..self.action(action).before.len() {
            if self.input_counts(action, at) {
                self.action_mut(action).before[at].graphed = true;
                inputs.push(self.action(action).before[at].action.0 + 1);
            }
        }
        let subject = self.action(action);
        let priority = subject.resource.map_or(0, |resource| self.resource(resource).priority.0);
        let priority = priority.max(subject.priority).max(0);
        Synapse { id, priority, action: self.graph_action(action), inputs }
    }

    fn node_ref(&self, node: NodeIndex) -> NodeRef {
        let node = self.model.node(node);
        NodeRef { id: node.id.clone(), name: node.name.clone() }
    }

    pub(crate) fn resource_ref(&self, resource: ResourceId) -> ResourceRef {
        let subject = self.resource(resource);
        let (id, long_id) = if let Some(history_id) = subject.history_id.clone().filter(|_| subject.removed) {
            (history_id, Some(subject.id.clone()))
        } else if !subject.unique {
            let other = subject.history_id.clone().filter(|id| *id != subject.config_id);
            (subject.config_id.clone(), Some(other.unwrap_or_else(|| subject.id.clone())))
        } else {
            (subject.id.clone(), None)
        };
        let text = |name: &str| subject.meta(name).unwrap_or_default().to_owned();
        let provider = subject.meta("provider").map(str::to_owned);
        ResourceRef { id, long_id, agent: AgentName { class: text("class"), provider, kind: text("type") } }
    }

    /// The meta-attributes of an action: of its operation, with its own in place of them.
    pub(crate) fn action_meta(&mut self, action: ActionIndex) -> BTreeMap<String, String> {
        let subject = self.action(action);
        let (resource, key, task, node, operation) =
            (subject.resource, subject.key, subject.task, subject.node, subject.operation);
        let own = subject.meta.clone();
        let mut meta = match resource {
            Some(resource) => {
                let task = if key.notify.is_some() { task } else { subject.cancels.map_or(task, |_| Task::Cancel) };
                let name = self.task_name(task).to_owned();
                self.operation_meta(resource, node, &name, key.interval_ms, operation)
            }
            None => BTreeMap::new(),
        };
        meta.extend(own);
        meta
    }

    fn graph_action(&mut self, action: ActionIndex) -> Action {
        let mut meta = self.action_meta(action);
        let subject = self.action(action);
        let (resource, task, key, node) = (subject.resource, subject.task, subject.key, subject.node);
        let pseudo = subject.is(ActionFlags::PSEUDO);
        let reason = subject.reason.clone().unwrap_or_default();
        let router = self.router(action);
        let place = node.map(|node| self.node_ref(node)).unwrap_or(NodeRef { id: String::new(), name: String::new() });
        let router = router.map(|router| self.node_ref(router));
        let reference = resource.map(|resource| self.resource_ref(resource));
        let kind = match (task, reference) {
            (Task::Fence, _) if pseudo => ActionKind::PseudoFencing { node: place },
            (Task::Fence | Task::Shutdown, _) => ActionKind::Cluster { node: place, router, resource: None },
            (Task::ClearFailcount | Task::LrmDelete, reference) => {
                ActionKind::Cluster { node: place, router, resource: reference }
            }
            (_, Some(reference)) if !pseudo => ActionKind::Resource { node: place, router, resource: reference },
            _ => ActionKind::Pseudo,
        };
        if let Some(node) = node.filter(|_| !matches!(kind, ActionKind::Pseudo)) {
            let peer = self.model.node(node);
            meta.insert("on_node".to_owned(), peer.name.clone());
            meta.insert("on_node_uuid".to_owned(), peer.id.clone());
        }
        let own_key = match resource {
            Some(resource) => self.key_text(&self.resource(resource).id, key),
            None => self.action(action).name.clone(),
        };
        let history_id = resource.and_then(|resource| self.resource(resource).history_id.clone());
        let (key_text, internal_key) = match history_id {
            Some(id) => (self.history_key(action, &id, &meta), Some(own_key)),
            None => (own_key, None),
        };
        let lock = if matches!(kind, ActionKind::Pseudo) { None } else { self.lock_of(action) };
        let maintenance = if task == Task::MaintenanceNodes { self.maintenance_changes() } else { Vec::new() };
        Action {
            id: action.0 + 1,
            key: key_text,
            task: self.task_name(task).to_owned(),
            downed: if matches!(kind, ActionKind::Pseudo) { Vec::new() } else { self.downed(action, &meta) },
            kind,
            internal_key,
            attributes: self.graph_attributes(action, meta),
            maintenance,
            shutdown_lock: lock,
            reason,
        }
    }

    /// The key of an action under the name by which the history knows its resource.
    pub(crate) fn history_key(&self, action: ActionIndex, id: &str, meta: &BTreeMap<String, String>) -> String {
        let subject = self.action(action);
        if subject.task == Task::Notify {
            let word = |name: &str| meta.get(name).map(String::as_str).unwrap_or_default();
            return format!("{id}_{}_notify_{}_0", word("notify_type"), word("notify_operation"));
        }
        let task = subject.cancels.unwrap_or(subject.task);
        format!("{id}_{}_{}", self.task_name(task), subject.key.interval_ms)
    }

    /// Since when the resource is locked to the action's node.
    fn lock_of(&self, action: ActionIndex) -> Option<i64> {
        let subject = self.action(action);
        let resource = self.resource(subject.resource?);
        let node = subject.node.filter(|node| resource.lock_node == Some(*node))?;
        let leaving = self.model.node(node).shutdown && subject.task != Task::Stop;
        (!leaving).then_some(resource.lock_time)
    }

    /// What an action takes down.
    fn downed(&self, action: ActionIndex, meta: &BTreeMap<String, String>) -> Vec<String> {
        let subject = self.action(action);
        let Some(node) = subject.node else { return Vec::new() };
        let id = self.model.node(node).id.clone();
        match (subject.task, subject.resource) {
            (Task::Shutdown, _) => vec![id],
            (Task::Fence, _) if matches!(meta.get("stonith_action").map(String::as_str), Some("off" | "reboot")) => {
                let guests = self.model.node(node).running.iter().filter_map(|resource| {
                    let subject = self.resource(*resource);
                    let guest = subject.remote_connection && subject.launcher.is_some();
                    guest.then(|| self.model.node_named(&subject.id)).flatten()
                });
                std::iter::once(id).chain(guests.map(|guest| self.model.node(guest).id.clone())).collect()
            }
            (Task::Stop, Some(resource)) if self.resource(resource).remote_connection => {
                let migrating = subject.before.iter().any(|input| {
                    let first = self.action(input.action);
                    first.resource == Some(resource) && first.task == Task::MigrateFrom
                });
                if migrating { Vec::new() } else { vec![self.resource(resource).id.clone()] }
            }
            _ => Vec::new(),
        }
    }

    /// What the executor needs to know: parameters, and the meta-attributes as `CRM_meta_…`.
    fn graph_attributes(&mut self, action: ActionIndex, meta: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let subject = self.action(action);
        let (resource, node, operation) = (subject.resource, subject.node, subject.operation);
        let notified = meta.get("notify_operation").cloned();
        let mut attributes = BTreeMap::new();
        if let (Some(resource), Some(node)) = (resource, node) {
            attributes = self.operation_parameters(resource, operation, node);
        }
        if let Some(resource) = resource.filter(|resource| node.is_some() || self.resource(*resource).is_primitive()) {
            let mut parameters = self.parameters(resource, node).as_ref().clone();
            if parameters.get("addr").is_some_and(|address| address == "#uname")
                && let Some(address) = self.parameters(resource, None).get("addr")
            {
                parameters.insert("addr".to_owned(), address.clone());
            }
            for (name, value) in parameters {
                attributes.entry(name).or_insert(value);
            }
        }
        for (name, value) in meta {
            if !name.contains(['#', ':']) {
                attributes.entry(meta_name(&name)).or_insert(value);
            }
        }
        let mut next = resource;
        while let Some(current) = next {
            self.add_kind_attributes(current, &mut attributes);
            next = self.resource(current).parent;
        }
        self.add_guest_attributes(action, notified.as_deref().unwrap_or_default(), &mut attributes);
        attributes
    }

    fn add_kind_attributes(&self, resource: ResourceId, attributes: &mut BTreeMap<String, String>) {
        let subject = self.resource(resource);
        let mut set = |name: &str, value: String| {
            attributes.insert(meta_name(name), value);
        };
        match &subject.kind {
            Kind::Primitive => {
                for name in ["clone", "remote-node"] {
                    if let Some(value) = subject.meta(name) {
                        set(name, value.to_owned());
                    }
                }
                let mut next = Some(resource);
                while let Some(current) = next {
                    if let Some(launcher) = self.resource(current).launcher {
                        set("container", self.resource(launcher).id.clone());
                    }
                    next = self.resource(current).parent;
                }
                if let Some(address) = subject.meta("external-ip") {
                    attributes.insert("pcmk_external_ip".to_owned(), address.to_owned());
                }
            }
            Kind::Clone(settings) => {
                set("globally-unique", subject.unique.to_string());
                set("notify", subject.notify.to_string());
                set("clone-max", settings.max.to_string());
                set("clone-node-max", settings.node_max.to_string());
                if subject.promotable {
                    set("promoted-max", settings.promoted_max.to_string());
                    set("promoted-node-max", settings.promoted_node_max.to_string());
                    set("master-max", settings.promoted_max.to_string());
                    set("master-node-max", settings.promoted_node_max.to_string());
                }
            }
            Kind::Group(_) | Kind::Bundle(_) => {}
        }
    }

    /// On a guest node, which host it is on; `notified` is the task that a notification is about.
    fn add_guest_attributes(&self, action: ActionIndex, notified: &str, attributes: &mut BTreeMap<String, String>) {
        let subject = self.action(action);
        let Some(launcher) = subject.node.and_then(|node| self.model.node(node).launcher) else { return };
        let Some(resource) = subject.resource else { return };
        let task = match subject.task {
            Task::Notify | Task::Notified => notified,
            task => self.task_name(task),
        };
        let host = match task {
            "stop" | "stopped" | "demote" | "demoted" => self.model.current_node(launcher),
            "start" | "running" | "monitor" | "promote" | "promoted" => self.resource(launcher).assigned_to,
            _ => None,
        };
        let Some(host) = host else { return };
        if let Some(target) = self.resource(resource).meta("container-attribute-target") {
            attributes.entry(meta_name("container-attribute-target")).or_insert_with(|| target.to_owned());
        }
        let name = self.model.node(host).name.clone();
        attributes.entry(meta_name("physical-host")).or_insert(name);
    }
}

/// The name of a meta-attribute in a graph.
fn meta_name(name: &str) -> String {
    const PREFIX: &str = "CRM_meta_";
    let mut text = String::with_capacity(PREFIX.len() + name.len());
    text.push_str(PREFIX);
    for (at, part) in name.split('-').enumerate() {
        if at > 0 {
            text.push('_');
        }
        text.push_str(part);
    }
    text
}

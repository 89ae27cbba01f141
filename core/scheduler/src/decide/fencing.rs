//! Fencing: which nodes, and what waits for it.

use super::action::{ActionFlags, ActionIndex, OpKey, Relation, Requires, Task};
use crate::model::{NoQuorumPolicy, NodeIndex, NodeKind, ResourceId};
use crate::planner::Planner;
use crate::read::failures::seconds;

impl Planner {
    /// True where the cluster could fence the node: a guest node where all hosts of its resource are there, or can be fenced.
    pub(crate) fn can_fence(&self, node: NodeIndex) -> bool {
        let mut seen = vec![node];
        let mut at = 0;
        while let Some(&node) = seen.get(at) {
            at += 1;
            let peer = self.model.node(node);
            match peer.launcher.filter(|_| peer.is_guest()) {
                None if !self.can_fence_itself(node) => return false,
                None => {}
                Some(launcher) => {
                    for &host in &self.resource(launcher).active_on {
                        if !self.model.node(host).online && !seen.contains(&host) {
                            seen.push(host);
                        }
                    }
                }
            }
        }
        true
    }

    fn can_fence_itself(&self, node: NodeIndex) -> bool {
        let options = &self.model.options;
        let peer = self.model.node(node);
        if !options.fencing_enabled || !options.have_fencing {
            return false;
        }
        if self.model.quorate || options.no_quorum_policy == NoQuorumPolicy::Ignore {
            return true;
        }
        if !peer.online {
            return false;
        }
        match peer.connection {
            Some(connection) if peer.is_remote_or_guest() && !options.fence_remote_without_quorum => {
                self.resource(connection).allowed.nodes().all(|node| self.model.node(node).online)
            }
            _ => true,
        }
    }

    /// The node's state can be trusted no more: it is to be fenced if that is possible.
    pub(crate) fn fence_node(&mut self, node: NodeIndex, reason: &str, priority_delay: bool) {
        let peer = self.model.node(node);
        let connection = peer.connection;
        if let Some(launcher) = peer.launcher.filter(|_| peer.is_guest()) {
            let container = self.resource(launcher);
            if !container.failed && container.managed {
                self.model.node_mut(node).remote_reset = true;
                self.mark_failed(launcher);
            }
        } else if peer.is_remote_or_guest()
            && connection.is_some_and(|connection| self.resource(connection).removed_launched)
        {
            if let Some(connection) = connection {
                self.mark_failed(connection);
            }
        } else if peer.is_remote() {
            let managed = connection.is_none_or(|connection| self.resource(connection).managed);
            let peer = self.model.node_mut(node);
            if managed {
                peer.remote_reset = true;
            }
            peer.unclean = true;
            self.fence_action(node, None, true, Some(reason), false);
        } else if !peer.unclean {
            self.model.node_mut(node).unclean = true;
            self.fence_action(node, None, true, Some(reason), priority_delay);
        }
    }

    /// The fencing of a node, optional until `optional` is false and it can be done.
    pub(crate) fn fence_action(
        &mut self,
        node: NodeIndex,
        operation: Option<&str>,
        optional: bool,
        reason: Option<&str>,
        priority_delay: bool,
    ) -> ActionIndex {
        let operation = operation.unwrap_or(&self.model.options.fencing_action).to_owned();
        let peer = self.model.node(node);
        let (name, id) = (peer.name.clone(), peer.id.clone());
        let key = format!("stonith-{name}-{operation}");
        let mut optional = optional;
        let action = match self.singletons.get(&key) {
            Some(known) => *known,
            None => {
                let action = self.node_action(key, Task::Fence, node, true);
                let meta = &mut self.action_mut(action).meta;
                meta.insert("on_node".to_owned(), name);
                meta.insert("on_node_uuid".to_owned(), id);
                meta.insert("stonith_action".to_owned(), operation);
                if self.model.options.unfencing {
                    optional &= !self.add_device_digests(action, node);
                }
                action
            }
        };
        let delayed = self.action(action).meta.contains_key("priority-fencing-delay");
        if self.model.options.priority_fencing_delay_ms > 0 && (priority_delay || delayed) {
            let delay = self.priority_fencing_delay(node).to_string();
            self.action_mut(action).meta.insert("priority-fencing-delay".to_owned(), delay);
        }
        if !optional && self.can_fence(node) {
            self.action_mut(action).flags.clear(ActionFlags::OPTIONAL);
            if let Some(reason) = reason {
                self.set_reason(action, reason, false);
            }
        } else if let Some(reason) = reason {
            self.set_reason(action, reason, false);
        }
        action
    }

    /// The delay in seconds that lets the node with the more important resources win a duel.
    fn priority_fencing_delay(&self, node: NodeIndex) -> i64 {
        let peer = self.model.node(node);
        if peer.kind != NodeKind::Cluster || peer.online {
            return 0;
        }
        let members: Vec<_> =
            self.model.nodes().map(|n| self.model.node(n)).filter(|n| n.kind == NodeKind::Cluster).collect();
        let online = members.iter().filter(|n| n.online).count();
        let top = members.iter().map(|n| n.priority).max().unwrap_or(0);
        let lowest = members.iter().map(|n| n.priority).min().unwrap_or(0);
        if online > members.len() / 2 || lowest == top || peer.priority < top {
            return 0;
        }
        seconds(self.model.options.priority_fencing_delay_ms)
    }

    /// A node that lacks unfencing gets it.
    pub(crate) fn trigger_unfencing(&mut self, resource: Option<ResourceId>, node: Option<NodeIndex>, reason: &str) {
        if !self.model.options.unfencing || resource.is_some_and(|resource| !self.resource(resource).fence_device) {
            return;
        }
        let fit = |planner: &Planner, node: NodeIndex| {
            let peer = planner.model.node(node);
            peer.online && !peer.unclean && !peer.shutdown
        };
        match (node.filter(|node| fit(self, *node)), resource) {
            (Some(node), _) => {
                self.fence_action(node, Some("on"), false, Some(reason), false);
            }
            (None, Some(resource)) => {
                let nodes: Vec<_> = self.resource(resource).allowed.nodes().filter(|node| fit(self, *node)).collect();
                for node in nodes {
                    self.fence_action(node, Some("on"), false, Some(reason), false);
                }
            }
            (None, None) => {}
        }
    }

    /// The node was not unfenced since it joined.
    pub(crate) fn is_unfenced(&self, node: NodeIndex) -> bool {
        self.model.node(node).attribute("#node-unfenced").is_some_and(|value| value != "0")
    }

    /// Puts an action after the unfencing of its node, where the resource wants it.
    pub(crate) fn order_vs_unfencing(
        &mut self,
        resource: ResourceId,
        node: NodeIndex,
        action: ActionIndex,
        relation: Relation,
    ) {
        let subject = self.resource(resource);
        if !(subject.needs_unfencing || subject.fence_device && self.model.options.unfencing) {
            return;
        }
        let unfencing = self.fence_action(node, Some("on"), true, None, false);
        self.relate(unfencing, action, relation);
        if !self.is_unfenced(node) {
            let task = self.task_name(self.action(action).task);
            let reason = format!("required by {} {task}", self.resource(resource).id);
            self.trigger_unfencing(None, Some(node), &reason);
        }
    }

    /// Stops come before an unfencing that is due, and starts after it.
    pub(crate) fn order_restart_vs_unfencing(&mut self, resource: ResourceId, node: NodeIndex) {
        let unfencing = self.fence_action(node, Some("on"), true, None, false);
        self.order_key_then_action(
            resource,
            Task::Stop.into(),
            unfencing,
            Relation::ORDERED | Relation::IF_ON_SAME_NODE,
        );
        self.order_action_then_key(
            unfencing,
            resource,
            Task::Start.into(),
            Relation::FIRST_IMPLIES_SAME_NODE_THEN | Relation::IF_ON_SAME_NODE,
        );
    }

    /// A failure count of a remote connection is cleared only after its node was fenced.
    pub(crate) fn order_after_remote_fencing(&mut self, action: ActionIndex, connection: ResourceId) {
        if let Some(node) = self.model.node_named(&self.resource(connection).id) {
            let fencing = self.fence_action(node, None, true, None, false);
            self.relate(fencing, action, Relation::FIRST_IMPLIES_THEN);
        }
    }

    /// What must wait for the fencing of a node, and what it does by itself.
    pub(crate) fn order_vs_fencing(&mut self, fencing: ActionIndex) {
        for at in 0..self.model.top.len() {
            self.order_resource_vs_fencing(self.model.top[at], fencing);
        }
    }

    fn order_resource_vs_fencing(&mut self, resource: ResourceId, fencing: ActionIndex) {
        let children = self.resource(resource).children.clone();
        if !children.is_empty() {
            for child in children {
                self.order_resource_vs_fencing(child, fencing);
            }
        } else if self.resource(resource).managed {
            self.order_start_vs_fencing(resource, fencing);
            self.order_stop_vs_fencing(resource, fencing);
        }
    }

    fn order_start_vs_fencing(&mut self, resource: ResourceId, fencing: ActionIndex) {
        let Some(target) = self.action(fencing).node else { return };
        for index in self.actions_of[resource.index()].clone().into_iter().rev() {
            let action = self.action(index);
            match action.requires {
                Requires::Nothing => {}
                Requires::Fencing => {
                    self.relate(fencing, index, Relation::ORDERED);
                }
                Requires::Quorum => {
                    if action.task == Task::Start
                        && self.resource(resource).allowed.contains(target)
                        && !self.is_known_on(resource, target)
                    {
                        self.relate(fencing, index, Relation::ORDERED | Relation::UNRUNNABLE_FIRST_BLOCKS);
                    }
                }
            }
        }
    }

    fn is_known_on(&self, resource: ResourceId, node: NodeIndex) -> bool {
        let subject = self.resource(resource);
        subject.known_on.contains(&node)
            || (subject.is_primitive()
                && subject.parent.is_some_and(|parent| {
                    let parent = self.resource(parent);
                    parent.is_anonymous_clone() && parent.known_on.contains(&node)
                }))
    }

    /// Fencing stops everything on the node: real stops and demotes there need no doing, but wait for it.
    fn order_stop_vs_fencing(&mut self, resource: ResourceId, fencing: ActionIndex) {
        let Some(target) = self.action(fencing).node else { return };
        let top = self.uber_parent(resource);
        let stops = self.find_actions(resource, Task::Stop.into(), Some(target));
        let implied = self.resource(resource).needs_fencing || self.model.node(target).is_guest();
        let bundled = self.model.is_bundled(resource);
        let top_stop = if implied { self.newest_action(top, Task::Stop, None) } else { None };
        for stop in stops {
            self.action_mut(stop).flags.set(ActionFlags::PSEUDO | ActionFlags::RUNNABLE);
            if implied {
                if !bundled {
                    self.relate(fencing, stop, Relation::GUEST_ALLOWED);
                }
                if let Some(top_stop) = top_stop {
                    self.relate(fencing, top_stop, Relation::GUEST_ALLOWED);
                }
            }
            if self.resource(resource).notify {
                self.notify_after_fencing(resource, stop, fencing);
            }
        }
        for demote in self.find_actions(resource, OpKey::from(Task::Demote), Some(target)) {
            let Some(peer) = self.action(demote).node.map(|node| self.model.node(node)) else { continue };
            if !peer.online || peer.unclean || self.resource(resource).failed {
                self.action_mut(demote).flags.set(ActionFlags::PSEUDO | ActionFlags::RUNNABLE);
                if !bundled && implied {
                    self.relate(fencing, demote, Relation::GUEST_ALLOWED | Relation::ORDERED);
                }
            }
        }
    }

    /// Fences unclean nodes and shuts down those that asked for it, the leader last.
    pub(crate) fn schedule_fencing_and_shutdowns(&mut self) {
        let managed = self.model.top.iter().any(|top| self.model.any_below(*top, &|resource| resource.managed));
        let concurrent = self.model.options.concurrent_fencing;
        let mut last: Option<ActionIndex> = None;
        let (mut fencings, mut shutdowns): (Vec<ActionIndex>, Vec<ActionIndex>) = (Vec::new(), Vec::new());
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            let peer = self.model.node(node);
            let is_dc = self.model.dc == Some(node);
            if peer.is_guest() {
                if peer.remote_reset && managed && self.can_fence(node) {
                    self.fence_guest(node);
                }
                continue;
            }
            let (unclean, online, shutdown, remote) =
                (peer.unclean, peer.online, peer.shutdown, peer.is_remote_or_guest());
            if managed && unclean && self.can_fence(node) {
                let fencing = self.fence_action(node, None, false, Some("node is unclean"), false);
                self.order_vs_fencing(fencing);
                if is_dc {
                    last = Some(fencing);
                } else {
                    if let Some(previous) = fencings.last().filter(|_| !concurrent) {
                        self.relate(*previous, fencing, Relation::ORDERED);
                    }
                    fencings.push(fencing);
                }
            } else {
                if online && shutdown && !remote {
                    let action = self.shutdown_action(node);
                    if is_dc {
                        last = Some(action);
                    } else {
                        shutdowns.push(action);
                    }
                }
                if unclean {
                    let name = self.model.node(node).name.clone();
                    self.problem(&name, "the node is unclean but cannot be fenced");
                }
            }
        }
        let Some(last) = last else { return };
        if self.action(last).task == Task::Shutdown {
            for shutdown in shutdowns {
                self.relate(shutdown, last, Relation::ORDERED);
            }
        }
        if concurrent {
            for fencing in fencings {
                self.relate(fencing, last, Relation::ORDERED);
            }
        } else if let Some(newest) = fencings.last() {
            self.relate(*newest, last, Relation::ORDERED);
        }
    }

    /// A guest node is fenced by stopping the resource that it lives in.
    fn fence_guest(&mut self, node: NodeIndex) {
        let launcher = self.model.node(node).launcher;
        let stop = launcher.and_then(|launcher| self.newest_action(launcher, Task::Stop, None));
        let restarts = launcher.is_some_and(|launcher| self.newest_action(launcher, Task::Start, None).is_some());
        let operation = if restarts { "reboot" } else { "off" };
        let fencing = self.fence_action(node, Some(operation), false, Some("guest is unclean"), false);
        self.action_mut(fencing).flags.set(ActionFlags::PSEUDO | ActionFlags::RUNNABLE);
        let strong = Relation::UNRUNNABLE_FIRST_BLOCKS | Relation::FIRST_IMPLIES_THEN;
        match stop {
            Some(stop) if self.action(stop).is(ActionFlags::PSEUDO) => {
                if let Some(host) = self.action(stop).node {
                    let host_fencing = self.fence_action(host, None, false, None, false);
                    self.relate(host_fencing, fencing, strong);
                }
            }
            Some(stop) => {
                self.relate(stop, fencing, strong);
            }
            None => {
                let connection = self.model.node(node).connection;
                if let Some(stop) = connection.and_then(|c| self.newest_action(c, Task::Stop, None)) {
                    self.relate(stop, fencing, Relation::ORDERED);
                }
            }
        }
        self.order_vs_fencing(fencing);
    }

    fn shutdown_action(&mut self, node: NodeIndex) -> ActionIndex {
        let name = format!("do_shutdown-{}", self.model.node(node).name);
        let shutdown = self.node_action(name, Task::Shutdown, node, false);
        for index in (0..self.actions.len()).rev() {
            let index = ActionIndex(u32::try_from(index).unwrap_or(u32::MAX));
            let action = self.action(index);
            let Some(resource) = action.resource.filter(|_| action.task == Task::Stop && action.node == Some(node))
            else {
                continue;
            };
            let subject = self.resource(resource);
            if subject.maintenance || self.model.node(node).maintenance || !(subject.managed || subject.blocked) {
                continue;
            }
            self.action_mut(index).flags.clear(ActionFlags::OPTIONAL);
            self.order_actions_later(index, shutdown, Relation::ORDERED | Relation::UNRUNNABLE_FIRST_BLOCKS);
        }
        self.action_mut(shutdown).meta.insert("op_no_wait".to_owned(), "true".to_owned());
        shutdown
    }
}

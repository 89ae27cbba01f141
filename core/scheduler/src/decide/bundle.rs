//! A bundle: containers are placed like the instances of a clone; what belongs to a container follows it, and what runs
//! inside has a guest node of its own.
//!
//! Who wants to be with a bundle wants to be with its containers. A role is one of what runs inside.

use super::action::{ActionIndex, OpKey, Relation, Task};
use super::colocation::Colocation;
use crate::model::{Location, NodeIndex, Replica, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use std::sync::Arc;

impl Planner {
    fn replicas(&self, bundle: ResourceId) -> Vec<Replica> {
        self.bundle(bundle).map(|settings| settings.replicas.clone()).unwrap_or_default()
    }

    /// The clone of what runs in a bundle's containers.
    fn bundled_clone(&self, bundle: ResourceId) -> Option<ResourceId> {
        self.bundle(bundle).and_then(|settings| settings.child)
    }

    /// How many of a collection's instances may be on one node.
    pub(crate) fn max_per_node(&self, collection: ResourceId) -> i32 {
        match (self.bundle(collection), self.resource(collection).clone_settings()) {
            (Some(bundle), _) => bundle.replicas_per_host,
            (None, Some(clone)) => clone.node_max,
            (None, None) => 1,
        }
    }

    pub(crate) fn assign_bundle(
        &mut self,
        bundle: ResourceId,
        prefer: Option<NodeIndex>,
        stop_if_fail: bool,
    ) -> Option<NodeIndex> {
        self.resource_mut(bundle).assigning = true;
        self.show_scores(bundle, "pcmk__bundle_assign");
        let mut containers = self.instances(bundle);
        crate::values::sort_with(&mut containers, &mut |a, b| self.compare_instances(*a, *b));
        let (max, per_node) = self.bundle(bundle).map_or((0, 0), |b| (b.replicas_max, b.replicas_per_host));
        self.assign_instances(bundle, &containers, max, per_node);
        for replica in self.replicas(bundle) {
            self.assign_around_container(&replica, prefer, stop_if_fail);
        }
        if let Some(clone) = self.bundled_clone(bundle) {
            let own: Vec<NodeIndex> = self.replicas(bundle).iter().filter_map(|replica| replica.node).collect();
            let share = Share::new(Source::Collection, &self.resource(bundle).id);
            for node in self.resource(clone).allowed.nodes().collect::<Vec<_>>() {
                let score = if own.contains(&node) { Score::ZERO } else { Score::MINUS_INFINITY };
                self.set_score(clone, node, score, &share);
            }
            self.assign(clone, prefer, stop_if_fail);
        }
        let subject = self.resource_mut(bundle);
        subject.assigning = false;
        subject.unassigned = false;
        None
    }

    /// Once it is known where a container goes: its address, its connection, and what runs inside.
    fn assign_around_container(&mut self, replica: &Replica, prefer: Option<NodeIndex>, stop_if_fail: bool) {
        if let Some(ip) = replica.ip {
            self.assign(ip, prefer, stop_if_fail);
        }
        if let Some(remote) = replica.remote {
            let host = self.resource(replica.container).assigned_to.map(|host| self.model.node(host));
            if let Some(through) = host.filter(|host| host.is_remote_or_guest()).and_then(|host| host.connection) {
                let id = "#replica-remote-with-host-remote";
                self.add_colocation(id, None, Score::INFINITY, remote, through, (None, None), false, true);
            }
            self.assign(remote, prefer, stop_if_fail);
        }
        let (Some(child), Some(own)) = (replica.child, replica.node) else { return };
        let share = Share::new(Source::Collection, &self.resource(replica.container).id);
        for node in self.resource(child).allowed.nodes().collect::<Vec<_>>() {
            let score = if node != own {
                Some(Score::MINUS_INFINITY)
            } else if self.threshold_reached(child, node).is_none() {
                Some(Score::INFINITY)
            } else {
                None
            };
            if let Some(score) = score {
                self.set_score(child, node, score, &share);
            }
        }
        let Some(clone) = self.resource(child).parent else { return };
        self.resource_mut(clone).assigning = true;
        self.assign(child, Some(own), stop_if_fail);
        self.resource_mut(clone).assigning = false;
    }

    pub(crate) fn create_bundle_actions(&mut self, bundle: ResourceId) {
        for replica in self.replicas(bundle) {
            for part in [replica.ip, Some(replica.container), replica.remote].into_iter().flatten() {
                self.create_actions(part);
            }
        }
        let containers = self.instances(bundle);
        self.create_instance_actions(bundle, &containers);
        let Some(clone) = self.bundled_clone(bundle) else { return };
        self.create_actions(clone);
        if self.resource(clone).promotable {
            for (task, done) in [(Task::Promote, Task::Promoted), (Task::Demote, Task::Demoted)] {
                self.pseudo_action(bundle, task, true, true);
                let done = self.pseudo_action(bundle, done, true, true);
                self.action_mut(done).priority = Score::INFINITY.0;
            }
        }
    }

    pub(crate) fn add_bundle_constraints(&mut self, bundle: ResourceId) {
        let down = Relation::THEN_IMPLIES_FIRST_GRAPHED;
        let up = Relation::FIRST_IMPLIES_THEN_GRAPHED;
        for replica in self.replicas(bundle) {
            let container = replica.container;
            self.add_internal_constraints(container);
            let blocks = Relation::UNRUNNABLE_FIRST_BLOCKS;
            self.order_tasks(bundle, Task::Start, container, Task::Start, blocks | down);
            if let Some(child) = replica.child {
                self.order_tasks(bundle, Task::Stop, child, Task::Stop, down);
            }
            self.order_tasks(bundle, Task::Stop, container, Task::Stop, down);
            self.order_tasks(container, Task::Start, bundle, Task::Running, up);
            self.order_tasks(container, Task::Stop, bundle, Task::Stopped, up);
            if let Some(ip) = replica.ip {
                self.add_internal_constraints(ip);
                let guest = Relation::GUEST_ALLOWED;
                self.order_tasks(ip, Task::Start, container, Task::Start, blocks | guest);
                self.order_tasks(container, Task::Stop, ip, Task::Stop, Relation::THEN_IMPLIES_FIRST | guest);
                let roles = (None, None);
                self.add_colocation("#ip-with-container", None, Score::INFINITY, ip, container, roles, false, true);
            }
            if let Some(remote) = replica.remote {
                self.add_internal_constraints(remote);
            }
        }
        let Some(clone) = self.bundled_clone(bundle) else { return };
        self.order_tasks(bundle, Task::Start, clone, Task::Start, down);
        self.order_tasks(clone, Task::Running, bundle, Task::Running, up);
        self.order_tasks(bundle, Task::Stop, clone, Task::Stop, down);
        self.order_tasks(clone, Task::Stopped, bundle, Task::Stopped, up);
        self.add_internal_constraints(clone);
        if !self.resource(clone).promotable {
            return;
        }
        self.order_promotable_restart(bundle);
        self.order_tasks(bundle, Task::Demote, clone, Task::Demote, down);
        self.order_tasks(clone, Task::Demoted, bundle, Task::Demoted, up);
        self.order_tasks(bundle, Task::Promote, clone, Task::Promote, down);
        self.order_tasks(clone, Task::Promoted, bundle, Task::Promoted, up);
    }

    /// Whether the colocations of a bundle are those of something in it: always of its containers; of what is promoted
    /// inside once it has a place.
    pub(crate) fn shares_colocations(&self, bundle: ResourceId, original: ResourceId) -> bool {
        if original == bundle || self.resource(original).replica_container {
            return true;
        }
        let Some(clone) = self.bundled_clone(bundle).filter(|clone| self.resource(*clone).promotable) else {
            return false;
        };
        if original == clone {
            return self.resource(clone).clone_settings().is_some_and(|settings| settings.promotion_constrained);
        }
        self.model.top_of(original) == clone && !self.resource(original).unassigned
    }

    /// What is with a bundle: with the container on the same node for instances, else wherever a container is.
    pub(crate) fn colocate_with_bundle(
        &mut self,
        dependent: ResourceId,
        bundle: ResourceId,
        colocation: &Colocation,
    ) -> Score {
        if self.resource(bundle).unassigned {
            return Score::ZERO;
        }
        let mandatory = colocation.score >= Score::INFINITY;
        if self.resource(colocation.dependent).is_collective() {
            if let Some(container) = self.compatible_container(dependent, bundle) {
                return self.apply_colocation(dependent, container, colocation, true);
            }
            if mandatory {
                self.assign_to(dependent, None, true, true);
            }
            return Score::ZERO;
        }
        let replicas = self.replicas(bundle);
        if !mandatory {
            return replicas.into_iter().fold(Score::ZERO, |delta, replica| {
                let change = self.apply_colocation(dependent, replica.container, colocation, false);
                delta.plus(change)
            });
        }
        let hosts: Vec<(NodeIndex, Score)> = replicas
            .iter()
            .filter(|replica| {
                let fits = |child: ResourceId| self.resource(child).next_role >= Role::Promoted;
                !self.resource(replica.container).blocked
                    && (colocation.primary_role < Role::Promoted || replica.child.is_some_and(fits))
            })
            .filter_map(|replica| self.resource(replica.container).assigned_to)
            .map(|host| (host, Score::ZERO))
            .collect();
        self.intersect_nodes(dependent, colocation, &hosts, false);
        Score::ZERO
    }

    /// The container on the node of a resource, or on the best of its nodes that has one.
    fn compatible_container(&self, dependent: ResourceId, bundle: ResourceId) -> Option<ResourceId> {
        let containers = self.instances(bundle);
        let on = |node: NodeIndex| {
            let host = self.host_of_replica_node(node)?;
            containers.iter().copied().find(|c| self.instance_matches(*c, host, Role::Unknown, false, None))
        };
        match self.model.sole_location(dependent, Location::Assigned).and_then(|n| self.host_of_replica_node(n)) {
            Some(host) => on(host),
            None => {
                self.sorted_nodes(&self.resource(dependent).allowed, None).into_iter().find_map(|(node, _)| on(node))
            }
        }
    }

    /// The node that is a bundle's container.
    pub(crate) fn is_replica_node(&self, node: NodeIndex) -> bool {
        let peer = self.model.node(node);
        peer.is_guest() && peer.connection.is_some_and(|connection| self.model.is_bundled(connection))
    }

    /// For the node that a bundle's container is, where the container will run; any other node itself.
    fn host_of_replica_node(&self, node: NodeIndex) -> Option<NodeIndex> {
        match self.model.node(node).launcher {
            Some(container) if self.is_replica_node(node) => self.resource(container).assigned_to,
            _ => Some(node),
        }
    }

    /// The resources whose actions make up an action of a collection: what runs inside for promotion and notification, else
    /// the containers of a bundle.
    pub(crate) fn instances_behind(&self, collection: ResourceId, action: ActionIndex) -> Vec<ResourceId> {
        let Some(clone) = self.bundled_clone(collection) else { return self.instances(collection) };
        match self.action(action).task {
            Task::Notify | Task::Notified | Task::Promote | Task::Promoted | Task::Demote | Task::Demoted => {
                self.resource(clone).children.clone()
            }
            _ => self.instances(collection),
        }
    }

    /// The action of an instance in an interleaved order. Of a container it is that of what runs inside: as the first except
    /// for stops, as the second only for promotion.
    pub(crate) fn interleaved_action(
        &self,
        collection_task: Task,
        instance: ResourceId,
        task: Task,
        node: Option<NodeIndex>,
        is_first: bool,
    ) -> Option<ActionIndex> {
        let inside = if is_first {
            !matches!(collection_task, Task::Stop | Task::Stopped)
        } else {
            matches!(collection_task, Task::Promote | Task::Promoted | Task::Demote | Task::Demoted)
        };
        let child = self.replica_of(instance).filter(|replica| inside && replica.container == instance);
        match child.and_then(|replica| replica.child) {
            Some(child) => self.newest_action(child, task, None),
            None => self.newest_action(instance, task, node),
        }
    }

    /// Looks for what belongs to a bundle on a node.
    pub(crate) fn probe_bundle(&mut self, bundle: ResourceId, node: NodeIndex) -> bool {
        let mut any = false;
        let replicas = self.replicas(bundle);
        for replica in &replicas {
            if let Some(ip) = replica.ip {
                any |= self.create_probe(ip, node);
            }
            if let Some(child) = replica.child.filter(|_| replica.node == Some(node)) {
                any |= self.create_probe(child, node);
            }
            if self.create_probe(replica.container, node) {
                any = true;
                if self.max_per_node(bundle) == 1 {
                    self.order_other_containers(replica.container, &replicas);
                }
            }
            if let Some(remote) = replica.remote
                && self.create_probe(remote, node)
                && let Some(&probe) = self.find_actions_on(remote, OpKey::from(Task::Monitor), node).last()
            {
                any = true;
                self.order_key_then_action(replica.container, Task::Start.into(), probe, Relation::NESTED_REMOTE_PROBE);
            }
        }
        any
    }

    /// A container that may turn out to be active where another one wants to start.
    fn order_other_containers(&mut self, probed: ResourceId, replicas: &[Replica]) {
        for other in replicas.iter().map(|replica| replica.container).filter(|other| *other != probed) {
            let flags = Relation::ORDERED | Relation::IF_ON_SAME_NODE;
            self.order_tasks(probed, Task::Monitor, other, Task::Start, flags);
        }
    }

    /// The address of a connection into a container without an address of its own: the host on which the container runs.
    pub(crate) fn container_host_name(&mut self, connection: ResourceId) -> Option<String> {
        if !self.needs_remote_name(connection) {
            return None;
        }
        let container = self.replica_of(connection)?.container;
        let host = self.resource(container).assigned_to.or_else(|| self.model.current_node(container))?;
        Some(self.model.node(host).name.clone())
    }

    /// Once all containers have a place, the connections into them have an address.
    pub(crate) fn fill_in_addresses(&mut self) {
        for top in self.model.top.clone() {
            for remote in self.replicas(top).into_iter().filter_map(|replica| replica.remote) {
                let Some(host) = self.container_host_name(remote) else { continue };
                let mut parameters = self.parameters(remote, None).as_ref().clone();
                parameters.insert("addr".to_owned(), host);
                self.parameter_cache.insert((remote, None), Arc::new(parameters));
            }
        }
    }

    /// The clone inside a bundle, then the parts of each replica.
    pub(crate) fn inside_first(&self, bundle: ResourceId) -> Vec<ResourceId> {
        let parts = |replica: Replica| [replica.ip, Some(replica.container), replica.remote];
        let replicas = self.replicas(bundle).into_iter().flat_map(parts);
        std::iter::once(self.bundled_clone(bundle)).chain(replicas).flatten().collect()
    }

    /// The parts of a bundle in the order in which changes are told.
    pub(crate) fn parts_in_order(&self, bundle: ResourceId) -> Vec<ResourceId> {
        let parts = |replica: Replica| [replica.ip, Some(replica.container), replica.remote, replica.child];
        self.replicas(bundle).into_iter().flat_map(parts).flatten().collect()
    }
}

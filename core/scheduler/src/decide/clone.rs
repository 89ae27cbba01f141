//! A clone: instances of one thing on several nodes.

use super::action::{Relation, Task};
use super::colocation::Colocation;
use crate::model::{Location, NodeIndex, Resource, ResourceId, Role, Score};
use crate::planner::Planner;

impl Planner {
    pub(crate) fn assign_clone(
        &mut self,
        clone: ResourceId,
        prefer: Option<NodeIndex>,
        stop_if_fail: bool,
    ) -> Option<NodeIndex> {
        let subject = self.resource(clone);
        if !subject.unassigned || subject.assigning {
            return None;
        }
        let promotable = subject.promotable;
        self.resource_mut(clone).assigning = true;
        if promotable {
            self.add_promotion_scores(clone);
        }
        for index in self.this_with_colocations(clone) {
            let primary = self.colocations[index.index()].primary;
            self.assign(primary, prefer, stop_if_fail);
        }
        for index in self.with_this_colocations(clone) {
            self.add_dependent_scores(index, clone);
        }
        self.show_scores(clone, "pcmk__clone_assign");
        let mut children = self.resource(clone).children.clone();
        crate::values::sort_with(&mut children, &mut |a, b| self.compare_instances(*a, *b));
        self.resource_mut(clone).children.clone_from(&children);
        let (max, node_max) = match self.resource(clone).clone_settings() {
            Some(settings) => (settings.max, settings.node_max),
            None => (0, 0),
        };
        self.assign_instances(clone, &children, max, node_max);
        if promotable {
            self.set_instance_roles(clone);
        }
        let subject = self.resource_mut(clone);
        subject.unassigned = false;
        subject.assigning = false;
        None
    }

    pub(crate) fn create_clone_actions(&mut self, clone: ResourceId) {
        let children = self.resource(clone).children.clone();
        self.create_instance_actions(clone, &children);
        if self.resource(clone).promotable {
            self.create_promotable_actions(clone);
        }
    }

    pub(crate) fn add_clone_constraints(&mut self, clone: ResourceId) {
        let blocks = Relation::UNRUNNABLE_FIRST_BLOCKS;
        self.order_tasks(clone, Task::Stopped, clone, Task::Start, Relation::ORDERED);
        self.order_tasks(clone, Task::Start, clone, Task::Running, blocks);
        self.order_tasks(clone, Task::Stop, clone, Task::Stopped, blocks);
        let promotable = self.resource(clone).promotable;
        if promotable {
            self.order_tasks(clone, Task::Demoted, clone, Task::Stop, Relation::ORDERED);
            self.order_tasks(clone, Task::Running, clone, Task::Promote, blocks);
        }
        let ordered = self.resource(clone).clone_settings().is_some_and(|settings| settings.ordered);
        if ordered {
            self.sort_by_number(clone);
        }
        let instances = self.resource(clone).children.clone();
        let graphed_first = Relation::THEN_IMPLIES_FIRST_GRAPHED;
        let graphed_then = Relation::FIRST_IMPLIES_THEN_GRAPHED;
        for (at, &instance) in instances.iter().enumerate() {
            self.add_internal_constraints(instance);
            self.order_tasks(clone, Task::Start, instance, Task::Start, blocks | graphed_first);
            self.order_tasks(instance, Task::Start, clone, Task::Running, graphed_then);
            self.order_tasks(clone, Task::Stop, instance, Task::Stop, graphed_first);
            self.order_tasks(instance, Task::Stop, clone, Task::Stopped, graphed_then);
            if ordered {
                for &later in &instances[at + 1..] {
                    self.order_tasks(instance, Task::Start, later, Task::Start, Relation::ORDERED);
                    self.order_tasks(later, Task::Stop, instance, Task::Stop, Relation::ORDERED);
                }
            }
        }
        if promotable {
            self.order_promotable_instances(clone);
        }
    }

    pub(crate) fn sort_by_number(&mut self, clone: ResourceId) {
        let number = |child: &ResourceId| self.resource(*child).instance;
        if !self.resource(clone).children.is_sorted_by_key(number) {
            let mut children = self.resource(clone).children.clone();
            children.sort_by_key(number);
            self.resource_mut(clone).children = children;
        }
    }

    /// What is with a clone: with the instance on the same node (interleaved), or wherever an instance is.
    pub(crate) fn colocate_with_clone(
        &mut self,
        dependent: ResourceId,
        clone: ResourceId,
        colocation: &Colocation,
    ) -> Score {
        let subject = self.resource(clone);
        if subject.unassigned {
            return Score::ZERO;
        }
        if subject.promotable && colocation.primary_role != Role::Unknown {
            if self.resource(dependent).unassigned {
                self.place_with_promotable(dependent, clone, colocation);
                return Score::ZERO;
            }
            if colocation.dependent_role == Role::Promoted {
                return self.prioritize_with_promotable(dependent, clone, colocation);
            }
        }
        if self.can_interleave(colocation) {
            if let Some(instance) = self.find_compatible_instance(dependent, clone, Role::Unknown, false, None) {
                return self.apply_colocation(dependent, instance, colocation, true);
            }
            if colocation.score >= Score::INFINITY {
                self.assign_to(dependent, None, true, true);
            }
            return Score::ZERO;
        }
        let instances = self.resource(clone).children.clone();
        if colocation.score >= Score::INFINITY {
            let nodes: Vec<_> = instances
                .iter()
                .filter(|instance| !self.model.any_below(**instance, &|resource| resource.blocked))
                .filter_map(|instance| self.model.sole_location(*instance, Location::Assigned))
                .map(|node| (node, Score::ZERO))
                .collect();
            self.intersect_nodes(dependent, colocation, &nodes, false);
            return Score::ZERO;
        }
        instances.into_iter().fold(Score::ZERO, |delta, instance| {
            let change = self.apply_colocation(dependent, instance, colocation, false);
            delta.plus(change)
        })
    }

    fn can_interleave(&mut self, colocation: &Colocation) -> bool {
        let dependent = self.resource(colocation.dependent);
        if !dependent.is_collective() || !crate::values::is_true(dependent.meta("interleave")) {
            return false;
        }
        if self.max_per_node(colocation.dependent) == self.max_per_node(colocation.primary) {
            return true;
        }
        self.problem(&colocation.id.clone(), "clones with different instances a node cannot be interleaved");
        false
    }

    /// Looks for a clone on a node.
    pub(crate) fn probe_clone(&mut self, clone: ResourceId, node: NodeIndex) -> bool {
        let subject = self.resource(clone);
        if subject.exclusive_discovery {
            let entry = subject.allowed.get(node);
            if entry.is_none_or(|entry| entry.discovery != crate::model::Discovery::Exclusive) {
                self.resource_mut(clone).allowed.remove(node);
                return false;
            }
        }
        self.sort_by_number(clone);
        let instances = self.resource(clone).children.clone();
        if self.resource(clone).unique {
            let mut any = false;
            for instance in instances {
                any |= self.create_probe(instance, node);
            }
            return any;
        }
        let known = |instance: &&ResourceId| {
            let knows = |resource: &Resource| resource.children.is_empty() && resource.known_on.contains(&node);
            self.model.any_below(**instance, &knows)
        };
        let assigned = |instance: &&ResourceId| self.model.sole_location(**instance, Location::Assigned) == Some(node);
        let chosen =
            instances.iter().find(known).or_else(|| instances.iter().find(assigned)).or(instances.first()).copied();
        chosen.is_some_and(|instance| self.create_probe(instance, node))
    }
}

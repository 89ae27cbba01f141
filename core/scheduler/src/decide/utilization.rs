//! Utilization: what nodes have, what resources need.

use super::action::{ActionFlags, ActionIndex, OpKey, Relation, Task};
use crate::model::{Kind, NodeIndex, PlacementStrategy, ResourceId, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use std::cmp::Ordering as Order;
use std::collections::{BTreeMap, BTreeSet};

impl Planner {
    /// The node with more free capacity first.
    pub(crate) fn compare_capacity(&self, a: NodeIndex, b: NodeIndex) -> Order {
        let (x, y) = (&self.model.node(a).utilization, &self.model.node(b).utilization);
        let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
        let more = names.into_iter().fold(0i32, |sum, name| {
            let amount = |table: &BTreeMap<String, i64>| table.get(name).copied().unwrap_or(0);
            match amount(x).cmp(&amount(y)) {
                Order::Greater => sum - 1,
                Order::Less => sum + 1,
                Order::Equal => sum,
            }
        });
        more.cmp(&0)
    }

    pub(crate) fn consume_capacity(&mut self, resource: ResourceId, node: NodeIndex) {
        self.change_capacity(resource, node, -1);
    }

    pub(crate) fn release_capacity(&mut self, resource: ResourceId, node: NodeIndex) {
        self.change_capacity(resource, node, 1);
    }

    fn change_capacity(&mut self, resource: ResourceId, node: NodeIndex, sign: i64) {
        let needed = &self.model.resources[resource.index()].utilization;
        let table = &mut self.model.nodes[node.index()].utilization;
        for (name, amount) in needed {
            let left = table.entry(name.clone()).or_insert(0);
            *left = (*left + sign * amount).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        }
    }

    fn has_room(&self, node: NodeIndex, needed: &BTreeMap<String, i64>) -> bool {
        let free = &self.model.node(node).utilization;
        needed.iter().all(|(name, amount)| *amount <= free.get(name).copied().unwrap_or(0))
    }

    /// Adds what a resource and what is in it still need.
    fn add_needed(&self, resource: ResourceId, all: &[ResourceId], sum: &mut BTreeMap<String, i64>) {
        let subject = self.resource(resource);
        if !subject.unassigned {
            return;
        }
        match subject.kind {
            Kind::Primitive => {
                for (name, amount) in &subject.utilization {
                    *sum.entry(name.clone()).or_insert(0) += amount;
                }
            }
            Kind::Group(group) => {
                let whole = group.colocated || subject.parent.is_some_and(|parent| self.resource(parent).is_clone());
                let members =
                    if whole { &subject.children[..] } else { &subject.children[..1.min(subject.children.len())] };
                for &member in members {
                    if self.resource(member).unassigned && !all.contains(&member) {
                        self.add_needed(member, all, sum);
                    }
                }
            }
            Kind::Clone(_) => {
                let mut existing = false;
                for &child in &subject.children {
                    if all.contains(&child) {
                        existing = true;
                    } else if self.resource(child).children.iter().any(|member| all.contains(member)) {
                        self.add_needed(child, all, sum);
                        existing = true;
                    }
                }
                if let Some(&first) = subject.children.first().filter(|_| !existing) {
                    self.add_needed(first, all, sum);
                }
            }
            Kind::Bundle(ref bundle) => {
                if let Some(first) = bundle.replicas.first() {
                    self.add_needed(first.container, all, sum);
                }
            }
        }
    }

    /// Forbids nodes without room for a resource and what must be with it; if none has, those without room for it alone.
    /// Then the node with most room is preferred.
    pub(crate) fn ban_insufficient_capacity(&mut self, resource: ResourceId) -> Option<NodeIndex> {
        if self.model.options.placement_strategy == PlacementStrategy::Default {
            return None;
        }
        let mut together = self.colocated_resources(resource);
        if !together.contains(&resource) {
            together.push(resource);
        }
        let mut needed = BTreeMap::new();
        for &other in &together {
            self.add_needed(other, &together, &mut needed);
        }
        let mut usable: Vec<NodeIndex> = self
            .resource(resource)
            .allowed
            .iter()
            .filter(|(node, entry)| self.is_available(*node, Some(entry.score)))
            .map(|(node, _)| node)
            .collect();
        usable.sort_by_key(|node| self.node_ranks.in_table(*node));
        let any_room = usable.iter().any(|node| self.has_room(*node, &needed));
        let most_room = usable
            .iter()
            .copied()
            .reduce(|best, node| if self.compare_capacity(node, best) == Order::Less { node } else { best });
        if !any_room {
            needed.clone_from(&self.resource(resource).utilization);
        }
        let share = Share::new(Source::Utilization, "utilization");
        for node in usable {
            if !self.has_room(node, &needed) {
                self.add_score(resource, Some(node), Score::MINUS_INFINITY, &share);
            }
        }
        if any_room { None } else { most_room }
    }

    fn load_stopped(&mut self, node: NodeIndex) -> ActionIndex {
        let name = format!("load_stopped_{}", self.model.node(node).name);
        let action = self.milestone(&name);
        let subject = self.action_mut(action);
        if subject.node.is_none() {
            subject.node = Some(node);
            subject.flags.clear(ActionFlags::OPTIONAL);
        }
        action
    }

    /// What comes to a node comes after what leaves it, so that there is room.
    pub(crate) fn order_vs_load(&mut self, resource: ResourceId, allowed: &[NodeIndex]) {
        let same = Relation::IF_ON_SAME_NODE_OR_TARGET;
        for node in self.resource(resource).active_on.clone() {
            let stopped = self.load_stopped(node);
            self.order_key_then_action(resource, OpKey::from(Task::Stop), stopped, same);
        }
        for &node in allowed {
            let stopped = self.load_stopped(node);
            self.order_action_then_key(stopped, resource, Task::Start.into(), same);
            self.order_action_then_key(stopped, resource, Task::MigrateTo.into(), same);
        }
    }

    /// With capacity in play, resources are placed by priority and by how much they like their nodes.
    pub(crate) fn sort_resources_by_preference(&mut self) {
        if self.model.options.placement_strategy == PlacementStrategy::Default {
            return;
        }
        let mut nodes: Vec<_> = self.model.node_order.iter().map(|n| (*n, self.model.node(*n).base.score)).collect();
        crate::values::sort_with(&mut nodes, &mut |a, b| self.compare_nodes(*a, *b, None));
        let nodes: Vec<NodeIndex> = nodes.into_iter().map(|(node, _)| node).collect();
        let mut worth: BTreeMap<ResourceId, Vec<Score>> = BTreeMap::new();
        for resource in self.model.top.clone() {
            let mut table = None;
            let collect = super::colocated_scores::Collect { this_with: true, ..Default::default() };
            self.add_colocated_scores(resource, None, &mut table, None, 1.0, collect);
            let table = table.unwrap_or_default();
            let score = |node: NodeIndex| table.get(node).map_or(Score::MINUS_INFINITY, |entry| entry.score);
            let current = self.model.current_node(resource).map_or(Score::MINUS_INFINITY, score);
            worth.insert(resource, std::iter::once(current).chain(nodes.iter().map(|node| score(*node))).collect());
        }
        let mut top = self.model.top.clone();
        top.sort_by(|a, b| {
            let (x, y) = (self.resource(*a), self.resource(*b));
            y.priority.cmp(&x.priority).then_with(|| worth[b].cmp(&worth[a]))
        });
        self.model.top = top;
    }
}

//! Instances of a clone (or containers of a bundle): which goes where, and how their actions add up.

use super::action::{ActionFlags, ActionIndex, Changed, Relation, Task};
use super::colocated_scores::Collect;
use crate::model::{Location, NodeIndex, NodeTable, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use std::cmp::Ordering as Order;
use std::collections::BTreeMap;

impl Planner {
    /// The entry of a node in the table that counts instances: the parent's.
    fn parent_entry(&self, instance: ResourceId, node: NodeIndex) -> Option<&crate::model::NodeEntry> {
        let subject = self.resource(instance);
        self.resource(subject.parent.unwrap_or(instance)).allowed.get(node)
    }

    /// Why a node can take no more of these instances, if so.
    fn refusal(&self, instance: ResourceId, node: NodeIndex, per_node: i32) -> Option<Share> {
        if self.resource(instance).removed {
            return Some(Share::new(Source::State, "removed"));
        }
        if !self.is_available(node, None) {
            return Some(Share::new(Source::State, "node"));
        }
        let worth_it = |entry: &&crate::model::NodeEntry| entry.score >= Score::ZERO;
        let Some(entry) = self.parent_entry(instance, node).filter(worth_it) else {
            let parent = self.resource(instance).parent.unwrap_or(instance);
            return Some(Share::new(Source::Collection, &self.resource(parent).id));
        };
        let full = i32::try_from(entry.count).unwrap_or(i32::MAX) >= per_node;
        full.then(|| Share::new(Source::CloneLimit, "clone-node-max"))
    }

    fn ban_full_nodes(&mut self, instance: ResourceId, per_node: i32) {
        let nodes = self.resource(instance).allowed.nodes();
        let banned: Vec<(NodeIndex, Share)> =
            nodes.filter_map(|node| Some((node, self.refusal(instance, node, per_node)?))).collect();
        let members = self.resource(instance).children.clone();
        for (node, share) in banned {
            for &resource in std::iter::once(&instance).chain(&members) {
                self.set_score(resource, node, Score::MINUS_INFINITY, &share);
            }
        }
    }

    fn did_fail(&self, resource: ResourceId) -> bool {
        self.model.any_below(resource, &|resource| resource.failed)
    }

    /// The instance to be placed first: active where it may be, more important, on nodes with fewer, not failed, with
    /// better company, and then by number.
    pub(crate) fn compare_instances(&mut self, a: ResourceId, b: ResourceId) -> Order {
        let (mut node_a, count_a, _) = self.model.active_node(a);
        let (mut node_b, count_b, _) = self.model.active_node(b);
        if count_a > 0 && count_b > 0 && count_a != count_b {
            return count_a.cmp(&count_b);
        }
        let allowed = |resource: ResourceId, node: &mut Option<NodeIndex>| match *node {
            Some(current) => {
                let fine = self.resource(resource).allowed.get(current).is_some_and(|entry| entry.score >= Score::ZERO);
                if !fine {
                    *node = None;
                }
                fine
            }
            None => true,
        };
        let (can_a, can_b) = (allowed(a, &mut node_a), allowed(b, &mut node_b));
        if can_a != can_b {
            return can_b.cmp(&can_a);
        }
        let by_priority = self.resource(b).priority.cmp(&self.resource(a).priority);
        if by_priority != Order::Equal {
            return by_priority;
        }
        let (node_a, node_b) = match (node_a, node_b) {
            (None, None) => return Order::Equal,
            (None, _) => return Order::Greater,
            (_, None) => return Order::Less,
            (Some(x), Some(y)) => (x, y),
        };
        let usable = |node: NodeIndex| self.is_available(node, None);
        let by_use = usable(node_b).cmp(&usable(node_a));
        if by_use != Order::Equal {
            return by_use;
        }
        let by_count = match (self.parent_entry(a, node_a), self.parent_entry(b, node_b)) {
            (None, None) => return Order::Equal,
            (None, _) => Order::Greater,
            (_, None) => Order::Less,
            (Some(x), Some(y)) => x.count.cmp(&y.count),
        };
        let by_failure = by_count.then_with(|| self.did_fail(a).cmp(&self.did_fail(b)));
        if by_failure != Order::Equal {
            return by_failure;
        }
        let by_company = self.company_score(b).cmp(&self.company_score(a));
        by_company.then_with(|| self.resource(a).instance.cmp(&self.resource(b).instance))
    }

    /// What its node is worth to an instance with its colocations.
    fn company_score(&mut self, instance: ResourceId) -> Score {
        let Some(node) = self.model.current_node(instance) else { return Score::MINUS_INFINITY };
        let mut table = NodeTable::default();
        table.insert(node, self.model.node(node).base);
        let mut table = Some(table);
        for index in self.this_with_colocations(instance) {
            let colocation = self.colocations[index.index()].clone();
            let factor = colocation.factor();
            let other = colocation.primary;
            let collect = Collect::default();
            self.add_colocated_scores(other, Some(instance), &mut table, Some(&colocation), factor, collect);
        }
        for index in self.with_this_colocations(instance) {
            let colocation = self.colocations[index.index()].clone();
            if !self.has_influence(&colocation, Some(instance)) {
                continue;
            }
            let factor = colocation.factor();
            let other = colocation.dependent;
            let collect = Collect { nonnegative: true, ..Collect::default() };
            self.add_colocated_scores(other, Some(instance), &mut table, Some(&colocation), factor, collect);
        }
        table.and_then(|table| table.get(node).map(|entry| entry.score)).unwrap_or_default()
    }

    /// Puts instances on nodes: first those that may stay where they are, then the others.
    pub(crate) fn assign_instances(
        &mut self,
        collection: ResourceId,
        instances: &[ResourceId],
        max: i32,
        per_node: i32,
    ) {
        let mut available = 0;
        let nodes: Vec<NodeIndex> = self.resource(collection).allowed.nodes().collect();
        for node in nodes {
            if let Some(entry) = self.resource_mut(collection).allowed.get_mut(node) {
                entry.count = 0;
            }
            available += i32::from(self.is_available(node, None));
        }
        let optimal = if available > 0 { (max / available).max(1) } else { 1 };
        let mut assigned = 0;
        for &instance in instances {
            if assigned >= max {
                break;
            }
            if !self.resource(instance).unassigned {
                continue;
            }
            if let Some(current) = self.preferred_node(instance, optimal)
                && self.assign_early(instance, current, per_node, max - assigned)
            {
                assigned += 1;
            }
        }
        let share = Share::new(Source::CloneLimit, "clone-max");
        for &instance in instances {
            if !self.resource(instance).unassigned {
                continue;
            }
            if assigned >= max {
                self.add_score(instance, None, Score::MINUS_INFINITY, &share);
            } else if self.assign_instance(instance, None, per_node).is_some() {
                assigned += 1;
            }
        }
    }

    fn preferred_node(&self, instance: ResourceId, optimal: i32) -> Option<NodeIndex> {
        let subject = self.resource(instance);
        if subject.active_on.is_empty() || !subject.unassigned || subject.failed {
            return None;
        }
        let node = self.model.current_node(instance)?;
        if !self.is_available(node, Some(self.model.node(node).base.score)) {
            return None;
        }
        let full = self
            .parent_entry(instance, node)
            .is_some_and(|entry| i32::try_from(entry.count).unwrap_or(i32::MAX) >= optimal);
        (!full).then_some(node)
    }

    fn assign_instance(&mut self, instance: ResourceId, prefer: Option<NodeIndex>, per_node: i32) -> Option<NodeIndex> {
        if self.resource(instance).assigning {
            return None;
        }
        self.ban_full_nodes(instance, per_node);
        let chosen = self.assign(instance, prefer, prefer.is_none());
        self.count_instance(instance, chosen);
        chosen
    }

    fn count_instance(&mut self, instance: ResourceId, node: Option<NodeIndex>) {
        let parent = self.resource(instance).parent.unwrap_or(instance);
        if let Some(node) = node
            && let Some(entry) = self.resource_mut(parent).allowed.get_mut(node)
        {
            entry.count += 1;
        }
    }

    fn save_tables(&self, resource: ResourceId, saved: &mut BTreeMap<ResourceId, NodeTable>) {
        saved.insert(resource, self.resource(resource).allowed.clone());
        for &child in &self.resource(resource).children {
            self.save_tables(child, saved);
        }
    }

    /// Tries to leave an instance where it is; true if it stays.
    fn assign_early(&mut self, instance: ResourceId, current: NodeIndex, per_node: i32, available: i32) -> bool {
        let Some(parent) = self.resource(instance).parent else { return false };
        let entry = self.resource(instance).allowed.get(current).copied();
        if !entry.is_some_and(|entry| self.is_available(current, Some(entry.score))) {
            return false;
        }
        let mut saved = BTreeMap::new();
        self.save_tables(instance, &mut saved);
        let mark = self.placements.mark();
        let parent_table = self.resource(parent).allowed.clone();
        let mut chosen = None;
        let mut reserved = 0;
        while reserved < available {
            chosen = self.assign_instance(instance, Some(current), per_node);
            if chosen == Some(current) {
                break;
            }
            for (resource, table) in &saved {
                self.resource_mut(*resource).allowed = table.clone();
            }
            self.placements.forget_after(mark, |resource| saved.contains_key(&resource));
            if chosen.is_none() {
                self.resource_mut(instance).unassigned = true;
                break;
            }
            // What it would rather have is left for another one, and counts as taken.
            reserved += 1;
            self.unassign(instance);
            chosen = None;
        }
        self.resource_mut(parent).allowed = parent_table;
        if chosen.is_none() {
            return false;
        }
        self.count_instance(instance, chosen);
        true
    }

    /// The actions of instances, and the points at which all of them are done.
    pub(crate) fn create_instance_actions(&mut self, collection: ResourceId, instances: &[ResourceId]) {
        let mut state = InstanceState::default();
        for &instance in instances {
            self.create_actions(instance);
            self.note_instance_state(instance, &mut state);
        }
        let start = self.pseudo_action(collection, Task::Start, !state.starting, true);
        let started = self.pseudo_action(collection, Task::Running, !state.starting, false);
        self.action_mut(started).priority = Score::INFINITY.0;
        if state.active || state.starting {
            self.action_mut(started).flags.set(ActionFlags::RUNNABLE);
        }
        let stop = self.pseudo_action(collection, Task::Stop, !state.stopping, true);
        let stopped = self.pseudo_action(collection, Task::Stopped, !state.stopping, true);
        self.action_mut(stopped).priority = Score::INFINITY.0;
        if !state.restarting {
            self.action_mut(stop).flags.set(ActionFlags::MIGRATABLE);
        }
        if self.resource(collection).is_clone() {
            self.create_start_stop_notifications(collection, (start, started), (stop, stopped));
        }
    }

    fn note_instance_state(&self, instance: ResourceId, state: &mut InstanceState) {
        let subject = self.resource(instance);
        if !subject.is_primitive() {
            for &child in &subject.children {
                self.note_instance_state(child, state);
            }
            return;
        }
        let (mut starting, mut stopping) = (false, false);
        for &index in &self.actions_of[instance.index()] {
            let action = self.action(index);
            if action.is(ActionFlags::OPTIONAL) {
                continue;
            }
            starting |= action.task == Task::Start && action.is(ActionFlags::RUNNABLE);
            stopping |= action.task == Task::Stop && action.flags.any(ActionFlags::RUNNABLE | ActionFlags::PSEUDO);
        }
        state.active |= !subject.active_on.is_empty();
        state.starting |= starting;
        state.stopping |= stopping;
        state.restarting |= starting && stopping;
    }

    pub(crate) fn instance_matches(
        &self,
        instance: ResourceId,
        node: NodeIndex,
        role: Role,
        current: bool,
        attribute: Option<&str>,
    ) -> bool {
        let of = if current { Location::Current } else { Location::Assigned };
        let Some(place) = self.model.sole_location(instance, of) else { return false };
        let together = match attribute {
            Some(name) => {
                let value = |node| self.colocation_attribute(node, name, instance).map(str::to_ascii_lowercase);
                value(place) == value(node)
            }
            None => place == node,
        };
        let has = || if current { self.model.role_now(instance) } else { self.model.role_next(instance) };
        together
            && (role == Role::Unknown || role == has())
            && !self.model.any_below(instance, &|resource| resource.blocked)
    }

    /// The instance of a collection that shares the node (or the value of an attribute) with a resource.
    pub(crate) fn find_compatible_instance(
        &self,
        with: ResourceId,
        collection: ResourceId,
        role: Role,
        current: bool,
        attribute: Option<&str>,
    ) -> Option<ResourceId> {
        let on = |node: NodeIndex| {
            let mut instances = self.instances_of(collection);
            instances.find(|instance| self.instance_matches(*instance, node, role, current, attribute))
        };
        let of = if current { Location::Current } else { Location::Assigned };
        match self.model.sole_location(with, of) {
            Some(node) => on(node),
            None => self.sorted_nodes(&self.resource(with).allowed, None).into_iter().find_map(|(node, _)| on(node)),
        }
    }

    /// The instances of a clone; of a bundle, its containers.
    pub(crate) fn instances(&self, collection: ResourceId) -> Vec<ResourceId> {
        self.instances_of(collection).collect()
    }

    fn instances_of(&self, collection: ResourceId) -> impl Iterator<Item = ResourceId> + '_ {
        let subject = self.resource(collection);
        let (replicas, children) = match &subject.kind {
            crate::model::Kind::Bundle(bundle) => (&bundle.replicas[..], &[][..]),
            _ => (&[][..], &subject.children[..]),
        };
        replicas.iter().map(|replica| replica.container).chain(children.iter().copied())
    }

    /// The task that a collection's action stands for in its instances.
    fn instance_task(&self, action: ActionIndex) -> Task {
        let subject = self.action(action);
        let task = if subject.key.notify.is_some() { subject.key.task } else { subject.task };
        let first = subject.resource.and_then(|resource| self.resource(resource).children.first().copied());
        if first.is_some_and(|first| self.resource(first).is_primitive()) { task.of_primitive() } else { task }
    }

    /// Applies a relation to a collection that comes after: instance by instance where they are interleaved.
    pub(crate) fn update_collective(
        &mut self,
        first: ActionIndex,
        then: ActionIndex,
        node: Option<NodeIndex>,
        flags: ActionFlags,
        filter: ActionFlags,
        kind: Relation,
    ) -> Changed {
        let Some(then_resource) = self.action(then).resource else { return Changed::NONE };
        if self.interleaves(first, then) {
            return self.update_interleaved(first, then, node, filter, kind);
        }
        let mut changed = self.update_pair(first, then, flags, filter, kind);
        if kind == Relation::ORDERED && self.has_primitive_instances(then_resource) {
            // An order alone changes no primitive's action.
            return changed;
        }
        let task = self.action(then).task;
        let question = Question { then, node, flags, first: self.action(first).flags, filter, kind };
        if self.instance_actions.unchanged.is_answered(self.action_changes, &question) {
            return changed;
        }
        let before = self.action_changes;
        for instance in self.instances(then_resource) {
            let Some(action) = self.newest_action(instance, task, node) else { continue };
            if !self.action_flags(action, node).has(ActionFlags::RUNNABLE) {
                continue;
            }
            let change = self.update_related(instance, first, action, node, flags, filter, kind);
            if change.has(Changed::THEN) {
                for at in (0..self.action(action).after.len()).rev() {
                    let after = self.action(action).after[at].action;
                    self.update_for_relations(after);
                }
            }
            changed = changed | change;
        }
        if before == self.action_changes && Question::KINDS.contains(&kind) {
            self.instance_actions.unchanged.note_answered(before, question);
        }
        changed
    }

    fn interleaves(&self, first: ActionIndex, then: ActionIndex) -> bool {
        let (Some(a), Some(b)) = (self.action(first).resource, self.action(then).resource) else { return false };
        if a == b || !self.resource(a).is_collective() || !self.resource(b).is_collective() {
            return false;
        }
        let down = matches!(self.action(then).key.task, Task::Stop | Task::Demote);
        let decides = if down { a } else { b };
        crate::values::is_true(self.resource(decides).meta("interleave"))
    }

    fn update_interleaved(
        &mut self,
        first: ActionIndex,
        then: ActionIndex,
        node: Option<NodeIndex>,
        filter: ActionFlags,
        kind: Relation,
    ) -> Changed {
        let mut changed = Changed::NONE;
        let (Some(first_resource), Some(then_resource)) = (self.action(first).resource, self.action(then).resource)
        else {
            return changed;
        };
        let first_task = self.instance_task(first);
        let then_task = self.action(then).task;
        // Also where it is the notification of this: what goes down is with what is there now.
        let current = matches!(self.action(first).key.task, Task::Stopped | Task::Demoted);
        for instance in self.instances(then_resource) {
            let partner = self.find_compatible_instance(instance, first_resource, Role::Unknown, current, None);
            let Some(partner) = partner else {
                let mandatory = kind.any(Relation::UNRUNNABLE_FIRST_BLOCKS | Relation::FIRST_IMPLIES_THEN);
                if !current && mandatory && self.assign_to(instance, None, true, true) {
                    changed.set(Changed::THEN);
                }
                continue;
            };
            let whole = self.action(first).task;
            let Some(first_action) = self.interleaved_action(whole, partner, first_task, node, true) else { continue };
            let Some(then_action) = self.interleaved_action(then_task, instance, then_task, node, false) else {
                continue;
            };
            if self.relate(first_action, then_action, kind) {
                changed = changed | Changed::FIRST | Changed::THEN;
            }
            let flags = self.action_flags(first_action, node);
            changed = changed | self.update_related(instance, first_action, then_action, node, flags, filter, kind);
        }
        changed
    }

    /// The flags of a collection's action, as its instances have them: required if any is, possible if any is.
    pub(crate) fn collective_action_flags(
        &mut self,
        collection: ResourceId,
        action: ActionIndex,
        node: Option<NodeIndex>,
    ) -> ActionFlags {
        let task = self.instance_task(action);
        let (mut optional, mut runnable) = (true, false);
        if self.resource(collection).is_clone() && self.has_primitive_instances(collection) {
            (optional, runnable) = self.primitive_instance_flags(collection, task, node);
        } else if let Some(known) = self.instance_actions.unchanged.flags(self.action_changes, action, node) {
            (optional, runnable) = known;
        } else {
            let before = self.action_changes;
            for instance in self.instances_behind(collection, action) {
                let on = if self.resource(instance).is_primitive() { node } else { None };
                let Some(instance_action) = self.newest_action(instance, task, on) else { continue };
                let instance_flags = self.action_flags(instance_action, node);
                optional &= instance_flags.has(ActionFlags::OPTIONAL);
                runnable |= instance_flags.has(ActionFlags::RUNNABLE);
            }
            if before == self.action_changes && self.resource(collection).is_clone() {
                self.instance_actions.unchanged.note_flags(before, (action, node), (optional, runnable));
            }
        }
        let mut flags = ActionFlags::PSEUDO;
        if optional {
            flags.set(ActionFlags::OPTIONAL);
        } else if self.action(action).is(ActionFlags::OPTIONAL) {
            self.action_mut(action).flags.clear(ActionFlags::OPTIONAL);
        }
        if runnable {
            flags.set(ActionFlags::RUNNABLE);
        } else if node.is_none() && self.action(action).is(ActionFlags::RUNNABLE) {
            self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
        }
        flags
    }

    fn has_primitive_instances(&self, collection: ResourceId) -> bool {
        let first = match &self.resource(collection).kind {
            crate::model::Kind::Bundle(_) => return true,
            _ => self.resource(collection).children.first(),
        };
        first.is_some_and(|first| self.resource(*first).is_primitive())
    }

    /// Whether all actions of a clone's primitive instances are optional, and whether any is runnable; on a node if one is
    /// given. Every relation of the clone asks for it, so that it is counted again only once something has changed.
    fn primitive_instance_flags(&mut self, clone: ResourceId, task: Task, node: Option<NodeIndex>) -> (bool, bool) {
        let (of_actions, of_nodes_given) = (self.actions.len(), self.instance_actions.nodes_given);
        let place = self.instance_actions.place(clone, task);
        let known = &self.instance_actions.of_clone[clone.index()][place].1;
        if known.of_actions != of_actions || known.of_nodes_given != of_nodes_given {
            let found = self.find_instance_actions(clone, task);
            self.instance_actions.of_clone[clone.index()][place].1 = found;
        }
        let known = &self.instance_actions.of_clone[clone.index()][place].1;
        let of = |actions: &mut dyn Iterator<Item = ActionIndex>| {
            let (mut optional, mut runnable) = (true, false);
            for action in actions {
                optional &= self.action(action).is(ActionFlags::OPTIONAL);
                runnable |= self.action(action).is(ActionFlags::RUNNABLE);
            }
            (optional, runnable)
        };
        match (node, known.sum) {
            (Some(node), _) => {
                let first = known.on_nodes.partition_point(|(on, _)| *on < node);
                let here = known.on_nodes[first..].iter().take_while(|(on, _)| *on == node);
                of(&mut here.map(|(_, action)| *action))
            }
            (None, Some((changes, sum))) if changes == self.action_changes => sum,
            (None, _) => {
                let sum = of(&mut known.newest.iter().copied());
                let known = &mut self.instance_actions.of_clone[clone.index()][place].1;
                known.sum = Some((self.action_changes, sum));
                sum
            }
        }
    }

    fn find_instance_actions(&self, clone: ResourceId, task: Task) -> KnownInstanceActions {
        let (mut newest, mut on_nodes) = (Vec::new(), Vec::new());
        for (place, &instance) in self.resource(clone).children.iter().enumerate() {
            newest.extend(self.newest_action(instance, task, None));
            for &action in self.actions_of[instance.index()].iter().rev() {
                let subject = self.action(action);
                if let Some(node) = subject.node.filter(|_| subject.task == task) {
                    on_nodes.push((node, place, action));
                }
            }
        }
        // Of an instance's on a node, the newest counts, which stands first.
        on_nodes.sort_by_key(|(node, place, _)| (*node, *place));
        on_nodes.dedup_by_key(|(node, place, _)| (*node, *place));
        KnownInstanceActions {
            of_actions: self.actions.len(),
            of_nodes_given: self.instance_actions.nodes_given,
            newest,
            on_nodes: on_nodes.into_iter().map(|(node, _, action)| (node, action)).collect(),
            sum: None,
        }
    }
}

/// The actions of the primitive instances of clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct InstanceActions {
    /// By clone, those of each task of the instances that was asked for, which are a few.
    of_clone: Vec<Vec<(Task, KnownInstanceActions)>>,
    /// How often an action was given a node after it was made.
    pub(crate) nodes_given: usize,
    unchanged: Unchanged,
}

/// What was found out of instances, for as long as no action changes. Each instance's action is related to that of the whole, and for
/// each of these relations all instances would be looked at again.
#[derive(Clone, Debug, Default)]
struct Unchanged {
    /// The count of changes at which all of it was found.
    at: u64,
    /// Whether all actions behind the whole's one are optional, and whether any is runnable.
    flags: BTreeMap<(ActionIndex, Option<NodeIndex>), (bool, bool)>,
    /// Relations that changed nothing.
    answered: Vec<Question>,
}

/// What a relation of the given kinds does to the instances of `then` depends on nothing else, as long as nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    then: ActionIndex,
    node: Option<NodeIndex>,
    flags: ActionFlags,
    /// The flags that the first action has by itself.
    first: ActionFlags,
    filter: ActionFlags,
    kind: Relation,
}

impl Question {
    /// Kinds that look at the first action's flags and at nothing else of it.
    const KINDS: [Relation; 3] = [Relation::ORDERED, Relation::FIRST_IMPLIES_THEN, Relation::UNRUNNABLE_FIRST_BLOCKS];
}

impl Unchanged {
    /// Forgets what was found before something changed.
    fn up_to(&mut self, changes: u64) -> &mut Self {
        if self.at != changes {
            self.at = changes;
            self.flags.clear();
            self.answered.clear();
        }
        self
    }

    fn flags(&self, changes: u64, action: ActionIndex, node: Option<NodeIndex>) -> Option<(bool, bool)> {
        self.flags.get(&(action, node)).copied().filter(|_| self.at == changes)
    }

    fn note_flags(&mut self, changes: u64, of: (ActionIndex, Option<NodeIndex>), found: (bool, bool)) {
        self.up_to(changes).flags.insert(of, found);
    }

    fn is_answered(&self, changes: u64, question: &Question) -> bool {
        self.at == changes && self.answered.contains(question)
    }

    fn note_answered(&mut self, changes: u64, question: Question) {
        // A few relations ask the same again and again; of many different ones, none need be kept.
        let answered = &mut self.up_to(changes).answered;
        if answered.len() >= 8 {
            answered.clear();
        }
        answered.push(question);
    }
}

impl InstanceActions {
    /// Where what is known of a clone and a task stands; nothing is known at first.
    fn place(&mut self, clone: ResourceId, task: Task) -> usize {
        if self.of_clone.len() <= clone.index() {
            self.of_clone.resize_with(clone.index() + 1, Vec::new);
        }
        let of_tasks = &mut self.of_clone[clone.index()];
        of_tasks.iter().position(|(known, _)| *known == task).unwrap_or_else(|| {
            of_tasks.push((task, KnownInstanceActions::default()));
            of_tasks.len() - 1
        })
    }
}

/// Those of one clone and task.
#[derive(Clone, Debug, Default)]
struct KnownInstanceActions {
    /// How many actions there were, and how many nodes had been given, when this was found.
    of_actions: usize,
    of_nodes_given: usize,
    /// The newest of each instance.
    newest: Vec<ActionIndex>,
    /// The newest of each instance on each node, by node.
    on_nodes: Vec<(NodeIndex, ActionIndex)>,
    /// What the newest have in common, with the count of changes at which it was summed up.
    sum: Option<(u64, (bool, bool))>,
}

/// What the instances of a collection are doing.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "any of these may be so at once")]
struct InstanceState {
    active: bool,
    starting: bool,
    stopping: bool,
    restarting: bool,
}

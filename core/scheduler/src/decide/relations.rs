//! What related actions mean for each other: a required one makes others required, an impossible one makes others
//! impossible, until nothing changes any more.

use super::action::{ActionFlags, ActionIndex, Changed, NotifyPhase, OpKey, Relation, Task};
use crate::model::{Location, NodeIndex, ResourceId, Role};
use crate::planner::Planner;
use std::collections::{BTreeSet, VecDeque};

/// How deep updates go into each other. What lies deeper waits until those on the way to it are done, so that a long chain
/// of orderings needs no more of the stack than a short one.
const DEEPEST: usize = 96;

/// Something to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Update {
    /// An action, for what it is related to.
    Relations(ActionIndex),
    /// An action that became impossible, for what must be with its resource.
    Dependents(ActionIndex),
}

/// The updates that are under way, and those that wait for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Updates {
    depth: usize,
    waiting: VecDeque<Update>,
    known: BTreeSet<Update>,
}

impl Planner {
    /// Lets what comes before an action have its effect on it, and it on what is before and after.
    pub(crate) fn update_for_relations(&mut self, then: ActionIndex) {
        self.update(Update::Relations(then));
    }

    /// What must be with something that cannot start or be promoted cannot either.
    pub(crate) fn block_colocation_dependents(&mut self, action: ActionIndex) {
        self.update(Update::Dependents(action));
    }

    fn update(&mut self, what: Update) {
        if self.updates.depth >= DEEPEST {
            if self.updates.known.insert(what) {
                self.updates.waiting.push_back(what);
            }
            return;
        }
        self.update_now(what);
        while self.updates.depth == 0
            && let Some(next) = self.updates.waiting.pop_front()
        {
            self.updates.known.remove(&next);
            self.update_now(next);
        }
    }

    fn update_now(&mut self, what: Update) {
        self.updates.depth += 1;
        match what {
            Update::Relations(then) => self.update_relations_of(then),
            Update::Dependents(action) => self.block_dependents_of(action),
        }
        self.updates.depth -= 1;
    }

    fn update_relations_of(&mut self, then: ActionIndex) {
        let before_flags = self.action(then).flags;
        let counts = self.action(then).required_runnable_before > 0;
        let mut changed = Changed::NONE;
        if counts {
            let subject = self.action_mut(then);
            subject.runnable_before = 0;
            subject.flags.clear(ActionFlags::RUNNABLE);
        }
        for at in (0..self.action(then).before.len()).rev() {
            let related = self.action(then).before[at];
            let original = related.action;
            if related.flags.has(Relation::IF_ON_SAME_NODE)
                && let (Some(a), Some(b)) = (self.node_for_relation(original), self.node_for_relation(then))
                && a != b
            {
                self.action_mut(then).before[at].flags = Relation::NONE;
                continue;
            }
            changed.clear(Changed::FIRST);
            if self.action(original).resource.is_some()
                && related.flags.has(Relation::THEN_CANCELS_FIRST)
                && !self.action(then).is(ActionFlags::OPTIONAL)
            {
                self.action_mut(original).flags.set(ActionFlags::OPTIONAL);
                if self.action(original).task == Task::ReloadAgent
                    && let Some(resource) = self.action(original).resource
                {
                    self.resource_mut(resource).reload = false;
                }
            }
            let first = self.remap_to_completion(original, then);
            if first == original {
                let first_flags = self.flags_for_relation(first, then);
                let then_flags = self.flags_for_relation(then, original);
                changed = changed | self.apply_relation(first, then, first_flags, then_flags, at);
            } else if self.relate(first, then, related.flags) {
                changed.set(Changed::THEN);
                self.action_mut(then).before[at].flags = Relation::NONE;
            }
            if changed.has(Changed::FIRST) {
                for other in (0..self.action(first).after.len()).rev() {
                    let after = self.action(first).after[other].action;
                    self.update_for_relations(after);
                }
                self.update_for_relations(first);
            }
        }
        if counts {
            if before_flags == self.action(then).flags {
                changed.clear(Changed::THEN);
            } else {
                changed.set(Changed::THEN);
            }
        }
        if changed.has(Changed::THEN) {
            if before_flags.has(ActionFlags::RUNNABLE) && !self.action(then).is(ActionFlags::RUNNABLE) {
                self.block_colocation_dependents(then);
            }
            self.update_for_relations(then);
            for other in (0..self.action(then).after.len()).rev() {
                let after = self.action(then).after[other].action;
                self.update_for_relations(after);
            }
        }
    }

    /// The node of an action; of a group's start, the one node of its members.
    fn node_for_relation(&self, action: ActionIndex) -> Option<NodeIndex> {
        let subject = self.action(action);
        match subject.resource {
            Some(resource) if subject.task == Task::Start && self.resource(resource).is_group() => {
                self.model.sole_location(resource, Location::Assigned)
            }
            _ => subject.node,
        }
    }

    /// What waits for a collection's action of another resource waits for the point at which all of it is done.
    fn remap_to_completion(&self, first: ActionIndex, then: ActionIndex) -> ActionIndex {
        let subject = self.action(first);
        let (Some(resource), Some(then_resource)) = (subject.resource, self.action(then).resource) else {
            return first;
        };
        if resource == then_resource
            || self.is_below(then_resource, resource)
            || self.resource(resource).is_primitive()
            || subject.key.notify.is_some()
            || subject.key.interval_ms > 0
        {
            return first;
        }
        let Some(completion) = subject.key.task.completion() else { return first };
        let collection = self.resource(resource);
        let key = if collection.notify && (collection.is_clone() || self.model.is_bundled(resource)) {
            OpKey::notification(NotifyPhase::ConfirmedPost, completion)
        } else {
            completion.into()
        };
        self.actions_of[resource.index()]
            .iter()
            .rev()
            .copied()
            .find(|index| self.action(*index).key == key)
            .unwrap_or(first)
    }

    /// True where `inner` is somewhere in `outer`.
    pub(crate) fn is_below(&self, inner: ResourceId, outer: ResourceId) -> bool {
        let mut next = self.resource(inner).parent;
        while let Some(parent) = next {
            if parent == outer {
                return true;
            }
            next = self.resource(parent).parent;
        }
        false
    }

    /// The flags of an action, of a collection's as its members have them.
    pub(crate) fn action_flags(&mut self, action: ActionIndex, node: Option<NodeIndex>) -> ActionFlags {
        match self.action(action).resource {
            Some(resource) if self.resource(resource).is_group() => self.group_action_flags(resource, action, node),
            Some(resource) if self.resource(resource).is_collective() => {
                self.collective_action_flags(resource, action, node)
            }
            _ => self.action(action).flags,
        }
    }

    /// The flags of an action; of a clone's, as they are where the other action of a relation is.
    fn flags_for_relation(&mut self, action: ActionIndex, other: ActionIndex) -> ActionFlags {
        let Some(resource) = self.action(action).resource else { return self.action(action).flags };
        let flags = self.action_flags(action, None);
        if !self.resource(resource).is_clone() {
            return flags;
        }
        let node = self.node_for_relation(other);
        if node.is_none() {
            return flags;
        }
        let runnable = flags.has(ActionFlags::RUNNABLE);
        let mut on_node = self.action_flags(action, node);
        if runnable {
            on_node.set(ActionFlags::RUNNABLE);
        }
        on_node
    }

    /// Applies one relation, by its flags in turn.
    fn apply_relation(
        &mut self,
        first: ActionIndex,
        then: ActionIndex,
        first_flags: ActionFlags,
        then_flags: ActionFlags,
        at: usize,
    ) -> Changed {
        const OPTIONAL: ActionFlags = ActionFlags::OPTIONAL;
        const RUNNABLE: ActionFlags = ActionFlags::RUNNABLE;
        let mut changed = Changed::NONE;
        let mut flags = self.action(then).before[at].flags;
        let mut node = self.action(then).node;
        if flags.has(Relation::FIRST_IMPLIES_SAME_NODE_THEN) {
            flags.clear(Relation::FIRST_IMPLIES_SAME_NODE_THEN);
            flags.set(Relation::FIRST_IMPLIES_THEN);
            self.action_mut(then).before[at].flags = flags;
            node = self.action(first).node;
        }
        let then_resource = self.action(then).resource;
        let first_resource = self.action(first).resource;
        let optional = first_flags & OPTIONAL;
        if flags.has(Relation::FIRST_IMPLIES_THEN) {
            match then_resource {
                Some(resource) => {
                    let kind = Relation::FIRST_IMPLIES_THEN;
                    changed = changed | self.update_related(resource, first, then, node, optional, OPTIONAL, kind);
                }
                None if !first_flags.has(OPTIONAL) && self.action(then).is(OPTIONAL) => {
                    self.action_mut(then).flags.clear(OPTIONAL);
                    changed.set(Changed::THEN);
                }
                None => {}
            }
        }
        if let Some(resource) = then_resource.filter(|_| flags.has(Relation::INTERMEDIATE_STOP)) {
            let kind = Relation::INTERMEDIATE_STOP;
            let both = OPTIONAL | RUNNABLE;
            changed = changed | self.update_related(resource, first, then, node, first_flags, both, kind);
        }
        if flags.has(Relation::THEN_IMPLIES_FIRST) {
            match first_resource {
                Some(resource) => {
                    let kind = Relation::THEN_IMPLIES_FIRST;
                    changed = changed | self.update_related(resource, first, then, node, first_flags, OPTIONAL, kind);
                }
                None if !first_flags.has(OPTIONAL) && self.action(first).is(RUNNABLE) => {
                    self.action_mut(first).flags.clear(RUNNABLE);
                    changed.set(Changed::FIRST);
                }
                None => {}
            }
        }
        if let Some(resource) = then_resource.filter(|_| flags.has(Relation::PROMOTED_THEN_IMPLIES_FIRST)) {
            let kind = Relation::PROMOTED_THEN_IMPLIES_FIRST;
            changed = changed | self.update_related(resource, first, then, node, optional, OPTIONAL, kind);
        }
        if flags.has(Relation::MIN_RUNNABLE) {
            match then_resource {
                Some(resource) => {
                    let kind = Relation::MIN_RUNNABLE;
                    changed = changed | self.update_related(resource, first, then, node, first_flags, RUNNABLE, kind);
                }
                None if first_flags.has(RUNNABLE) => {
                    let subject = self.action_mut(then);
                    subject.runnable_before += 1;
                    if subject.runnable_before >= subject.required_runnable_before && !subject.is(RUNNABLE) {
                        subject.flags.set(RUNNABLE);
                        changed.set(Changed::THEN);
                    }
                }
                None => {}
            }
        }
        if let Some(resource) = then_resource.filter(|_| flags.has(Relation::NESTED_REMOTE_PROBE)) {
            let active = first_resource.is_some_and(|first| !self.resource(first).active_on.is_empty());
            if !first_flags.has(RUNNABLE) && active {
                flags = Relation::NONE;
                self.action_mut(then).before[at].flags = flags;
            } else {
                let kind = Relation::UNRUNNABLE_FIRST_BLOCKS;
                changed = changed | self.update_related(resource, first, then, node, first_flags, RUNNABLE, kind);
            }
        }
        if flags.has(Relation::UNRUNNABLE_FIRST_BLOCKS) {
            match then_resource {
                Some(resource) => {
                    let kind = Relation::UNRUNNABLE_FIRST_BLOCKS;
                    changed = changed | self.update_related(resource, first, then, node, first_flags, RUNNABLE, kind);
                }
                None if !first_flags.has(RUNNABLE) && self.action(then).is(RUNNABLE) => {
                    self.action_mut(then).flags.clear(RUNNABLE);
                    changed.set(Changed::THEN);
                }
                None => {}
            }
        }
        for (kind, filter) in [
            (Relation::UNMIGRATABLE_THEN_BLOCKS, OPTIONAL),
            (Relation::FIRST_ELSE_THEN, OPTIONAL),
            (Relation::ORDERED, RUNNABLE),
            (Relation::ASYMMETRIC, RUNNABLE),
        ] {
            if let Some(resource) = then_resource.filter(|_| flags.has(kind)) {
                changed = changed | self.update_related(resource, first, then, node, first_flags, filter, kind);
            }
        }
        if self.action(first).is(RUNNABLE)
            && flags.has(Relation::FIRST_IMPLIES_THEN_GRAPHED)
            && !first_flags.has(OPTIONAL)
        {
            self.set_flag(then, ActionFlags::ALWAYS_IN_GRAPH);
        }
        if flags.has(Relation::THEN_IMPLIES_FIRST_GRAPHED) && !then_flags.has(OPTIONAL) {
            self.set_flag(first, ActionFlags::ALWAYS_IN_GRAPH);
        }
        let strong = Relation::FIRST_IMPLIES_THEN | Relation::THEN_IMPLIES_FIRST | Relation::INTERMEDIATE_STOP;
        if flags.any(strong)
            && self.action(then).is(RUNNABLE)
            && (self.is_stuck(first) || self.is_stuck_in(first, then))
        {
            self.action_mut(then).flags.clear(RUNNABLE);
            changed.set(Changed::THEN);
        }
        changed
    }

    /// A stop that failed, and may not be tried again.
    fn is_stuck(&self, stop: ActionIndex) -> bool {
        let subject = self.action(stop);
        subject.task == Task::Stop
            && !subject.is(ActionFlags::RUNNABLE)
            && subject
                .resource
                .is_some_and(|resource| !self.resource(resource).managed && self.resource(resource).blocked)
    }

    /// What must stop after all of a collection cannot where a part of that is stuck, whether or not another part is still to
    /// be stopped. To Pacemaker a collection in which nothing else runs has stopped.
    fn is_stuck_in(&self, first: ActionIndex, then: ActionIndex) -> bool {
        let alone = self.action(then).resource.is_some_and(|resource| self.resource(resource).is_primitive());
        let (collection, task) = (self.action(first).resource, self.action(first).task);
        let Some(collection) = collection.filter(|_| alone && task == Task::Stopped && !self.for_inspection()) else {
            return false;
        };
        let mut unseen = vec![collection];
        while let Some(resource) = unseen.pop() {
            unseen.extend(&self.resource(resource).children);
            let stops = self.actions_with_key.get(&(resource, OpKey::from(Task::Stop)));
            if stops.into_iter().flatten().any(|stop| self.is_stuck(*stop)) {
                return true;
            }
        }
        false
    }

    /// Applies one kind of relation in the way of the resource's kind.
    #[expect(clippy::too_many_arguments, reason = "a relation has this many sides")]
    pub(crate) fn update_related(
        &mut self,
        resource: ResourceId,
        first: ActionIndex,
        then: ActionIndex,
        node: Option<NodeIndex>,
        flags: ActionFlags,
        filter: ActionFlags,
        kind: Relation,
    ) -> Changed {
        let subject = self.resource(resource);
        if subject.is_group() {
            let mut changed = self.update_pair(first, then, flags, filter, kind);
            if kind == Relation::ORDERED {
                // An order alone changes no primitive's action.
                return changed;
            }
            let Some(group) = self.action(then).resource else { return changed };
            let task = self.action(then).task;
            for member in self.resource(group).children.clone() {
                if let Some(action) = self.newest_action(member, task, node) {
                    changed = changed | self.update_related(member, first, action, node, flags, filter, kind);
                }
            }
            changed
        } else if subject.is_collective() {
            self.update_collective(first, then, node, flags, filter, kind)
        } else {
            self.update_pair(first, then, flags, filter, kind)
        }
    }

    /// Clears a flag of an action because of another one, which becomes its reason.
    fn clear_because(&mut self, action: ActionIndex, flag: ActionFlags, because: ActionIndex) {
        if !self.action(action).is(flag) {
            return;
        }
        self.action_mut(action).flags.clear(flag);
        if self.action(action).resource == self.action(because).resource {
            return;
        }
        let change = if flag == ActionFlags::RUNNABLE {
            "unrunnable"
        } else if flag == ActionFlags::MIGRATABLE {
            "unmigrateable"
        } else {
            "required"
        };
        let task = self.task_name(self.action(because).task);
        let id = self.action_resource_id(because);
        let space = if id.is_empty() { "" } else { " " };
        let reason = format!("{change}{space}{id} {task}");
        self.set_reason(action, &reason, false);
    }

    /// Applies one kind of relation to two actions.
    pub(crate) fn update_pair(
        &mut self,
        first: ActionIndex,
        then: ActionIndex,
        flags: ActionFlags,
        filter: ActionFlags,
        kind: Relation,
    ) -> Changed {
        const OPTIONAL: ActionFlags = ActionFlags::OPTIONAL;
        const RUNNABLE: ActionFlags = ActionFlags::RUNNABLE;
        const MIGRATABLE: ActionFlags = ActionFlags::MIGRATABLE;
        let (first_before, then_before) = (self.action(first).flags, self.action(then).flags);
        if kind.has(Relation::ASYMMETRIC) {
            self.apply_asymmetric(first, then);
        }
        if kind.has(Relation::THEN_IMPLIES_FIRST) && !then_before.has(OPTIONAL) {
            if filter.has(OPTIONAL) && !flags.has(OPTIONAL) && first_before.has(OPTIONAL) {
                self.clear_because(first, OPTIONAL, then);
            }
            if flags.has(MIGRATABLE) && !self.action(then).is(MIGRATABLE) {
                self.clear_because(first, MIGRATABLE, then);
            }
        }
        let promoted =
            self.action(then).resource.is_some_and(|resource| self.resource(resource).role == Role::Promoted);
        if kind.has(Relation::PROMOTED_THEN_IMPLIES_FIRST)
            && promoted
            && filter.has(OPTIONAL)
            && !self.action(then).is(OPTIONAL)
        {
            self.clear_because(first, OPTIONAL, then);
            if self.action(first).is(MIGRATABLE) && !self.action(then).is(MIGRATABLE) {
                self.clear_because(first, MIGRATABLE, then);
            }
        }
        if kind.has(Relation::UNMIGRATABLE_THEN_BLOCKS) && filter.has(OPTIONAL) {
            if !self.action(then).is(MIGRATABLE | RUNNABLE) {
                self.clear_because(first, RUNNABLE, then);
            }
            if !self.action(then).is(OPTIONAL) {
                self.clear_because(first, OPTIONAL, then);
            }
        }
        if kind.has(Relation::FIRST_ELSE_THEN) && filter.has(OPTIONAL) && !self.action(first).is(RUNNABLE) {
            self.clear_because(then, MIGRATABLE, first);
            self.action_mut(then).flags.clear(ActionFlags::PSEUDO);
        }
        if kind.has(Relation::UNRUNNABLE_FIRST_BLOCKS)
            && filter.has(RUNNABLE)
            && self.action(then).is(RUNNABLE)
            && !flags.has(RUNNABLE)
        {
            self.clear_because(then, RUNNABLE, first);
            self.clear_because(then, MIGRATABLE, first);
        }
        if kind.has(Relation::FIRST_IMPLIES_THEN)
            && filter.has(OPTIONAL)
            && self.action(then).is(OPTIONAL)
            && !flags.has(OPTIONAL)
            && !self.action(first).is(MIGRATABLE)
        {
            self.clear_because(then, OPTIONAL, first);
        }
        if kind.has(Relation::INTERMEDIATE_STOP) {
            self.apply_restart(first, then, filter);
        }
        let mut changed = Changed::NONE;
        if self.action(then).flags != then_before {
            changed.set(Changed::THEN);
            if self.action(then).resource.is_some_and(|resource| self.resource(resource).parent.is_some()) {
                self.update_for_relations(then);
            }
        }
        if self.action(first).flags != first_before {
            changed.set(Changed::FIRST);
        }
        changed
    }

    /// Configured in one direction only: where the first cannot be done, the second is not.
    fn apply_asymmetric(&mut self, first: ActionIndex, then: ActionIndex) {
        let Some(resource) = self.action(then).resource.filter(|_| !self.action(first).is(ActionFlags::RUNNABLE))
        else {
            return;
        };
        if self.action(then).is(ActionFlags::OPTIONAL) {
            let role = self.model.role_now(resource);
            let then_action = self.action(then);
            let at_home = then_action.node.is_some_and(|node| self.resource(resource).active_on == [node]);
            if (role == Role::Stopped && then_action.task == Task::Stop)
                || (role >= Role::Started && then_action.task == Task::Start && at_home)
            {
                return;
            }
        }
        self.clear_because(then, ActionFlags::OPTIONAL, first);
        self.clear_because(then, ActionFlags::RUNNABLE, first);
    }

    /// A stop before a start: a required start needs the stop, an impossible stop makes the start impossible.
    fn apply_restart(&mut self, first: ActionIndex, then: ActionIndex, filter: ActionFlags) {
        const OPTIONAL: ActionFlags = ActionFlags::OPTIONAL;
        const RUNNABLE: ActionFlags = ActionFlags::RUNNABLE;
        let then_action = self.action(then);
        let same = self.action(first).resource == then_action.resource;
        let managed = then_action.resource.is_some_and(|resource| self.resource(resource).managed);
        let restart = filter.has(OPTIONAL) && !then_action.is(OPTIONAL);
        let stop = filter.has(RUNNABLE) && !then_action.is(RUNNABLE) && managed && same;
        if !restart && !stop {
            return;
        }
        if self.action(first).is(RUNNABLE) {
            self.clear_because(first, OPTIONAL, then);
        }
        if !self.action(then).is(OPTIONAL) {
            self.clear_because(first, OPTIONAL, then);
        }
        if !self.action(then).is(ActionFlags::MIGRATABLE) {
            self.clear_because(first, ActionFlags::MIGRATABLE, then);
        }
        if !self.action(first).is(OPTIONAL) && !self.action(first).is(RUNNABLE) {
            self.clear_because(then, RUNNABLE, first);
        }
    }
}

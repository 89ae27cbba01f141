//! Orderings: which action comes before which. Collected first, as resources and keys, because the actions are made later;
//! applied once all actions are there.

use super::action::{ActionFlags, ActionIndex, OpKey, Relation, Task};
use crate::model::{ResourceId, Role};
use crate::planner::Planner;

/// One side of an ordering: a certain action, or what a resource has of a key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    pub(crate) resource: Option<ResourceId>,
    pub(crate) key: Option<OpKey>,
    pub(crate) action: Option<ActionIndex>,
}

/// An ordering.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordering {
    pub(crate) first: End,
    pub(crate) then: End,
    pub(crate) flags: Relation,
}

impl Planner {
    fn end_of(&self, action: ActionIndex) -> End {
        let subject = self.action(action);
        End { resource: subject.resource, key: Some(subject.key), action: Some(action) }
    }

    /// Remembers an ordering, and what it means for migrations.
    pub(crate) fn order(&mut self, first: End, then: End, flags: Relation) {
        let ordering = Ordering { first, then, flags };
        self.orderings.push(ordering);
        self.order_migration_equivalents(&ordering);
    }

    /// A task of one resource before a task of another.
    pub(crate) fn order_tasks(
        &mut self,
        first: ResourceId,
        first_task: Task,
        then: ResourceId,
        then_task: Task,
        flags: Relation,
    ) {
        let end = |resource, task: Task| End { resource: Some(resource), key: Some(task.into()), action: None };
        self.order(end(first, first_task), end(then, then_task), flags);
    }

    /// What a resource has of a key before an action.
    pub(crate) fn order_key_then_action(&mut self, first: ResourceId, key: OpKey, then: ActionIndex, flags: Relation) {
        let then = self.end_of(then);
        self.order(End { resource: Some(first), key: Some(key), action: None }, then, flags);
    }

    /// An action before what a resource has of a key.
    pub(crate) fn order_action_then_key(&mut self, first: ActionIndex, then: ResourceId, key: OpKey, flags: Relation) {
        let first = self.end_of(first);
        self.order(first, End { resource: Some(then), key: Some(key), action: None }, flags);
    }

    /// An action before another, together with all other orderings.
    pub(crate) fn order_actions_later(&mut self, first: ActionIndex, then: ActionIndex, flags: Relation) {
        let (first, then) = (self.end_of(first), self.end_of(then));
        self.order(first, then, flags);
    }

    /// Turns orderings into relations of actions, and lets these change what is required and possible.
    pub(crate) fn apply_orderings(&mut self) {
        let orderings = std::mem::take(&mut self.orderings);
        for ordering in &orderings {
            if let Some(resource) = ordering.first.resource {
                self.apply_from(resource, ordering);
            } else if let Some(resource) = ordering.then.resource {
                self.apply_to(ordering.first.action, resource, ordering);
            } else if let (Some(first), Some(then)) = (ordering.first.action, ordering.then.action) {
                self.relate(first, then, ordering.flags);
            }
        }
        let added = std::mem::replace(&mut self.orderings, orderings);
        self.orderings.extend(added);
        let all = |planner: &Planner| (0..u32::try_from(planner.actions.len()).unwrap_or(u32::MAX)).rev();
        for index in all(self) {
            self.block_colocation_dependents(ActionIndex(index));
        }
        self.order_probes();
        for index in all(self) {
            self.update_for_relations(ActionIndex(index));
        }
        self.disable_invalid_relations();
    }

    fn apply_from(&mut self, resource: ResourceId, ordering: &Ordering) {
        let then_resource =
            ordering.then.resource.or_else(|| ordering.then.action.and_then(|action| self.action(action).resource));
        let mut firsts = match (ordering.first.action, ordering.first.key) {
            (Some(action), _) => vec![action],
            (None, Some(key)) => self.find_actions(resource, key, None),
            (None, None) => Vec::new(),
        };
        if firsts.is_empty() && ordering.then.resource != Some(resource) {
            let Some(key) = ordering.first.key else { return };
            let role = self.model.role_now(resource);
            let pointless = (role == Role::Stopped && key.task == Task::Stop)
                || (role == Role::Unpromoted && key.task == Task::Demote);
            if !pointless {
                firsts.push(self.custom_action(resource, key, key.task, None, true));
            }
        }
        for first in firsts {
            match (then_resource, ordering.then.action) {
                (Some(then), _) => self.apply_to(Some(first), then, ordering),
                (None, Some(then)) => {
                    self.relate(first, then, ordering.flags);
                }
                (None, None) => return,
            }
        }
    }

    fn apply_to(&mut self, first: Option<ActionIndex>, resource: ResourceId, ordering: &Ordering) {
        let mut flags = ordering.flags;
        let thens = match (ordering.then.action, ordering.then.key) {
            (Some(action), _) => vec![action],
            (None, Some(key)) => self.find_actions(resource, key, None),
            (None, None) => return,
        };
        if let Some(first) = first.map(|first| self.action(first))
            && first.resource == Some(resource)
            && first.is(ActionFlags::MIGRATION_ABORT)
        {
            flags.clear(Relation::FIRST_IMPLIES_THEN);
        }
        if first.is_none() && !flags.has(Relation::FIRST_IMPLIES_THEN) {
            return;
        }
        for then in thens {
            match first {
                Some(first) => {
                    self.relate(first, then, flags);
                }
                None => self.action_mut(then).flags.clear(ActionFlags::RUNNABLE),
            }
        }
    }

    /// Relations that cannot be kept: a container cannot wait for what runs on the node that it makes, and a loop cannot start.
    fn disable_invalid_relations(&mut self) {
        for index in (0..self.actions.len()).rev() {
            let Some(resource) = self.actions[index].resource else { continue };
            for at in (0..self.actions[index].before.len()).rev() {
                let input = self.actions[index].before[at];
                let other = self.action(input.action);
                let inside = !input.flags.has(Relation::GUEST_ALLOWED)
                    && other.resource.is_some()
                    && other.node.is_some_and(|node| self.model.node(node).launcher == Some(resource));
                let action = ActionIndex(u32::try_from(index).unwrap_or(u32::MAX));
                let loops = !inside
                    && input.flags == Relation::IF_ON_SAME_NODE_OR_TARGET
                    && self.actions[index].task == Task::MigrateTo
                    && self.has_loop(action, at);
                if inside || loops {
                    self.actions[index].before[at].flags = Relation::NONE;
                }
            }
        }
    }
}

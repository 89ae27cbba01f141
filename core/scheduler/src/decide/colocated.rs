//! What a colocation spreads: an action that cannot run, and who must be with whom.

use super::action::{ActionFlags, ActionIndex, Task};
use super::colocation_effect::Affects;
use crate::model::{Kind, ResourceId, Role, Score};
use crate::planner::Planner;
use std::collections::BTreeSet;

impl Planner {
    /// Blocks what must be with the resource of an action, where nothing of that resource can start or be promoted.
    pub(crate) fn block_dependents_of(&mut self, action: ActionIndex) {
        let subject = self.action(action);
        let task = subject.task;
        if subject.is(ActionFlags::RUNNABLE) || !matches!(task, Task::Start | Task::Promote) {
            return;
        }
        let Some(own) = subject.resource else { return };
        let mut resource = self.uber_parent(own);
        if let Some(bundle) = self.resource(resource).parent {
            resource = bundle;
        }
        let any_possible = self.resource(resource).children.iter().any(|child| {
            self.newest_action(*child, task, None).is_none_or(|action| self.action(action).is(ActionFlags::RUNNABLE))
        });
        if any_possible {
            return;
        }
        for index in self.with_this_colocations(resource) {
            let colocation = &self.colocations[index.index()];
            if colocation.score < Score::INFINITY || (task != Task::Start && colocation.primary_role != Role::Promoted)
            {
                continue;
            }
            let blocked = if colocation.dependent_role == Role::Promoted { Task::Promote } else { Task::Start };
            let reason = format!("colocation with {}", self.resource(own).id);
            self.block(colocation.dependent, blocked, &reason);
        }
    }

    fn block(&mut self, resource: ResourceId, task: Task, reason: &str) {
        for action in self.actions_of[resource.index()].clone().into_iter().rev() {
            if self.action(action).is(ActionFlags::RUNNABLE) && self.action(action).task == task {
                self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
                self.set_reason(action, reason, false);
                self.block_colocation_dependents(action);
                self.update_for_relations(action);
            }
        }
        for child in self.resource(resource).children.clone() {
            self.block(child, task, reason);
        }
    }

    /// The primitives that must be together with a resource, itself included; the last found first.
    pub(crate) fn colocated_resources(&self, original: ResourceId) -> Vec<ResourceId> {
        let mut found = Vec::new();
        let mut known = BTreeSet::new();
        let mut unseen = vec![original];
        while let Some(resource) = unseen.pop() {
            let subject = self.resource(resource);
            let first = known.insert(resource);
            if let Kind::Group(group) = subject.kind
                && (group.colocated || subject.parent.is_some_and(|parent| self.resource(parent).is_clone()))
            {
                found.push(resource);
                unseen.extend(subject.children.iter().rev());
            } else if first {
                found.push(resource);
                let mut with = self.must_be_with(resource, original);
                with.reverse();
                unseen.extend(with);
            }
        }
        found.reverse();
        found
    }

    /// What a resource must be with, and what must be with it; not `original`, where the search began.
    fn must_be_with(&self, resource: ResourceId, original: ResourceId) -> Vec<ResourceId> {
        let mut with = Vec::new();
        for index in self.this_with_colocations(resource) {
            let colocation = &self.colocations[index.index()];
            let primary = colocation.primary;
            if primary != original
                && colocation.score == Score::INFINITY
                && self.affects(resource, primary, colocation, true) == Affects::Location
            {
                with.push(primary);
            }
        }
        let clone = self.resource(resource).is_clone();
        for index in self.with_this_colocations(resource) {
            let colocation = &self.colocations[index.index()];
            let dependent = colocation.dependent;
            if dependent != original
                && (!clone || self.resource(dependent).is_clone())
                && colocation.score == Score::INFINITY
                && self.affects(dependent, resource, colocation, true) == Affects::Location
            {
                with.push(dependent);
            }
        }
        with
    }
}

//! Recurring operations: those that shall run, and those that shall not any more.

use super::action::{ActionFlags, ActionIndex, OpKey, Relation, Task};
use crate::model::{NodeIndex, ResourceId, Role};
use crate::planner::Planner;
use crate::read::operations::Operation;
use hakudo_base::agent::exit_code;
use std::sync::Arc;

/// A configured recurring operation.
#[derive(Clone, Copy, Debug)]
struct Recurring {
    key: OpKey,
    /// The role in which it runs; `Unknown` for the default.
    role: Role,
}

impl Planner {
    pub(crate) fn create_recurring_actions(&mut self, resource: ResourceId) {
        let subject = self.resource(resource);
        if subject.blocked || subject.maintenance {
            return;
        }
        let node = subject.assigned_to;
        let runs = subject.next_role != Role::Stopped || !subject.managed;
        let start = match node {
            Some(node) if runs && !self.model.node(node).maintenance => {
                Some(self.resource_action(resource, Task::Start, Some(node), true))
            }
            _ => None,
        };
        let operations = Arc::clone(&self.sources[resource.index()].operations);
        for operation in operations.iter().filter(|operation| operation.interval_ms > 0) {
            let Some(recurring) = self.recurring(resource, operation, &operations) else { continue };
            if let (Some(start), Some(node)) = (start, node) {
                self.recur_where_active(resource, start, node, recurring);
            }
            self.recur_where_inactive(resource, node, recurring);
        }
    }

    fn recurring(&mut self, resource: ResourceId, operation: &Operation, all: &[Operation]) -> Option<Recurring> {
        let id = operation.element.id().to_owned();
        if id.is_empty() {
            return None;
        }
        let impossible = ["stop", "start", "demote", "promote", "reload-agent", "migrate_to", "migrate_from"];
        if impossible.contains(&operation.name.as_str()) {
            self.problem(&id, format!("{} cannot be recurring; ignored", operation.name));
            return None;
        }
        let same = |other: &&Operation| {
            other.name == operation.name && other.interval_ms == operation.interval_ms && !other.element.id().is_empty()
        };
        if all.iter().filter(same).count() > 1 {
            self.problem(&id, "another operation has the same name and interval");
            return None;
        }
        let role = match operation.element.attribute("role") {
            None => Role::Unknown,
            Some(text) => match Role::parse(text) {
                Role::Unknown => {
                    self.problem(&id, format!("the role '{text}' is not valid; the operation is ignored"));
                    return None;
                }
                role => role,
            },
        };
        self.find_operation(resource, &operation.name, operation.interval_ms, false)?;
        let task = self.task(&operation.name);
        Some(Recurring { key: OpKey::recurring(task, operation.interval_ms), role })
    }

    fn recur_where_active(&mut self, resource: ResourceId, start: ActionIndex, node: NodeIndex, recurring: Recurring) {
        if recurring.role == Role::Stopped {
            return;
        }
        let running = self.find_actions_on(resource, recurring.key, node);
        let optional = self.action(start).is(ActionFlags::OPTIONAL)
            && !running.is_empty()
            && !running.iter().any(|action| self.action(*action).is(ActionFlags::RESCHEDULE));
        let subject = self.resource(resource);
        let (role, next, managed) = (subject.role, subject.next_role, subject.managed);
        let matches = match recurring.role {
            Role::Unknown => next != Role::Promoted,
            wanted => next == wanted,
        };
        if !matches {
            if optional {
                self.cancel_before_role_change(resource, recurring.key, node, role, next);
            }
            return;
        }
        let action = self.custom_action(resource, recurring.key, recurring.key.task, Some(node), optional);
        let peer = self.model.node(node);
        if !self.action(start).is(ActionFlags::RUNNABLE) || !peer.online || peer.unclean {
            self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
        }
        if next == Role::Promoted {
            let code = exit_code::RUNNING_PROMOTED.to_string();
            self.action_mut(action).meta.insert("op_target_rc".to_owned(), code);
        }
        if managed {
            let strong = Relation::FIRST_IMPLIES_THEN | Relation::UNRUNNABLE_FIRST_BLOCKS;
            self.order_key_then_action(resource, Task::Start.into(), action, strong);
            self.order_key_then_action(resource, Task::ReloadAgent.into(), action, strong);
            let weak = Relation::ORDERED | Relation::UNRUNNABLE_FIRST_BLOCKS;
            if next == Role::Promoted {
                self.order_key_then_action(resource, Task::Promote.into(), action, weak);
            } else if role == Role::Promoted {
                self.order_key_then_action(resource, Task::Demote.into(), action, weak);
            }
        }
    }

    fn cancel_before_role_change(&mut self, resource: ResourceId, key: OpKey, node: NodeIndex, role: Role, next: Role) {
        let cancel = self.cancel_action(resource, key, node);
        let before = match (role, next) {
            (Role::Unpromoted | Role::Started, Role::Promoted) => Some(Task::Promote),
            (Role::Unpromoted | Role::Started, Role::Stopped) => Some(Task::Stop),
            (Role::Promoted, _) => Some(Task::Demote),
            _ => None,
        };
        if let Some(task) = before {
            self.order_action_then_key(cancel, resource, task.into(), Relation::UNRUNNABLE_FIRST_BLOCKS);
        }
    }

    /// Operations with role `Stopped` run where the resource is not.
    fn recur_where_inactive(&mut self, resource: ResourceId, node: Option<NodeIndex>, recurring: Recurring) {
        if recurring.role != Role::Stopped || !self.resource(resource).unique {
            return;
        }
        for at in 0..self.model.node_order.len() {
            let stopped_on = self.model.node_order[at];
            if node == Some(stopped_on) {
                if !self.find_actions_on(resource, recurring.key, stopped_on).is_empty() {
                    let cancel = self.cancel_action(resource, recurring.key, stopped_on);
                    if matches!(self.resource(resource).next_role, Role::Started | Role::Unpromoted) {
                        let blocks = Relation::UNRUNNABLE_FIRST_BLOCKS;
                        self.order_action_then_key(cancel, resource, Task::Start.into(), blocks);
                    }
                }
                continue;
            }
            let optional = !self.find_actions_on(resource, recurring.key, stopped_on).is_empty();
            let key = recurring.key;
            let action = self.custom_action(resource, key, key.task, Some(stopped_on), optional);
            let code = exit_code::NOT_RUNNING.to_string();
            self.action_mut(action).meta.insert("op_target_rc".to_owned(), code);
            let managed = self.resource(resource).managed;
            if managed {
                for probe in self.find_actions(resource, Task::Monitor.into(), Some(stopped_on)) {
                    self.relate(probe, action, Relation::UNRUNNABLE_FIRST_BLOCKS);
                }
            }
            for stop in self.find_actions_on(resource, Task::Stop.into(), stopped_on) {
                let required = |action: ActionIndex| !self.action(action).is(ActionFlags::OPTIONAL);
                if required(stop) && required(action) && !managed {
                    self.action_mut(action).flags.set(ActionFlags::OPTIONAL);
                }
                if !self.action(stop).is(ActionFlags::RUNNABLE) {
                    self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
                }
                if managed {
                    let strong = Relation::FIRST_IMPLIES_THEN | Relation::UNRUNNABLE_FIRST_BLOCKS;
                    self.order_actions_later(stop, action, strong);
                }
            }
            let peer = self.model.node(stopped_on);
            if !peer.online || peer.unclean {
                self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
            }
        }
    }

    /// The end of a recurring operation; takes the place of the operation itself.
    pub(crate) fn cancel_action(&mut self, resource: ResourceId, key: OpKey, node: NodeIndex) -> ActionIndex {
        let cancel = self.custom_action(resource, key, Task::Cancel, Some(node), false);
        let task = self.task_name(key.task).to_owned();
        let subject = self.action_mut(cancel);
        subject.task = Task::Cancel;
        subject.cancels = Some(key.task);
        subject.meta.insert("operation".to_owned(), task);
        subject.meta.insert("interval".to_owned(), key.interval_ms.to_string());
        cancel
    }

    pub(crate) fn schedule_cancel(&mut self, resource: ResourceId, call_id: Option<&str>, key: OpKey, node: NodeIndex) {
        let cancel = self.cancel_action(resource, key, node);
        if let Some(call_id) = call_id {
            self.action_mut(cancel).meta.insert("call-id".to_owned(), call_id.to_owned());
        }
        self.order_key_then_action(resource, Task::Stop.into(), cancel, Relation::ORDERED);
    }
}

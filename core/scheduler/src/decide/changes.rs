//! What a plan changes, in the words in which people think of it.

use super::action::{ActionFlags, ActionIndex, OpKey, Task};
use crate::model::{NodeIndex, ResourceId, Role};
use crate::planner::Planner;
use crate::summary::{Change, ResourceVerb, ShownRole};

impl From<Role> for ShownRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Unknown => ShownRole::Unknown,
            Role::Stopped => ShownRole::Stopped,
            Role::Started => ShownRole::Started,
            Role::Unpromoted => ShownRole::Unpromoted,
            Role::Promoted => ShownRole::Promoted,
        }
    }
}

impl Planner {
    pub(crate) fn list_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for action in self.actions.iter().rev() {
            if action.resource.is_some() || action.is(ActionFlags::OPTIONAL) {
                continue;
            }
            let task = match action.task {
                Task::Shutdown => "Shutdown".to_owned(),
                Task::Fence => {
                    format!("Fence ({})", action.meta.get("stonith_action").map_or("", String::as_str))
                }
                _ => continue,
            };
            let Some(node) = action.node.map(|node| self.model.node(node)) else { continue };
            let node = match node.launcher.filter(|_| node.is_guest()) {
                Some(launcher) => format!("{} (resource: {})", node.name, self.model.resource(launcher).id),
                None => node.name.clone(),
            };
            changes.push(Change::Node { task, node, reason: action.reason.clone() });
        }
        for resource in self.model.top.clone() {
            self.list_changes_of(resource, &mut changes);
        }
        changes
    }

    fn list_changes_of(&mut self, resource: ResourceId, changes: &mut Vec<Change>) {
        let children = if self.resource(resource).is_bundle() {
            self.parts_in_order(resource)
        } else {
            self.resource(resource).children.clone()
        };
        if !children.is_empty() {
            for child in children {
                self.list_changes_of(child, changes);
            }
            return;
        }
        let mut current = None;
        if !self.resource(resource).active_on.is_empty() {
            current = self.model.current_node(resource);
            let subject = self.resource_mut(resource);
            if subject.role == Role::Stopped {
                subject.role = Role::Started;
            }
        }
        let subject = self.resource(resource);
        let next = subject.assigned_to;
        if (current.is_none() && (subject.removed || next.is_none())) || !subject.managed {
            return;
        }
        self.list_change(resource, current, next, changes);
    }

    fn oldest(&mut self, resource: ResourceId, task: Task, node: Option<NodeIndex>) -> Option<ActionIndex> {
        self.find_actions(resource, OpKey::from(task), node).first().copied()
    }

    fn list_change(
        &mut self,
        resource: ResourceId,
        current: Option<NodeIndex>,
        next: Option<NodeIndex>,
        changes: &mut Vec<Change>,
    ) {
        const OPTIONAL: ActionFlags = ActionFlags::OPTIONAL;
        let moving = current.is_some() && next.is_some() && current != next;
        let start = self.oldest(resource, Task::Start, next);
        let can_start = start.is_some_and(|start| self.action(start).is(ActionFlags::RUNNABLE));
        let stop_node = if can_start { current } else { None };
        let mut stop = self.oldest(resource, Task::Stop, stop_node);
        if stop.is_none() && self.resource(resource).stop_unexpected {
            stop = self.oldest(resource, Task::Stop, None);
        }
        let promote = self.oldest(resource, Task::Promote, next);
        let demote = self.oldest(resource, Task::Demote, next);
        let subject = self.resource(resource);
        let (role, next_role) = (subject.role, subject.next_role);
        let (failed, stop_if_failed, reload) = (subject.failed, subject.stop_if_failed, subject.reload);
        let required = |action: Option<ActionIndex>| action.is_some_and(|action| !self.action(action).is(OPTIONAL));
        let mut say = |planner: &Planner,
                       verb: ResourceVerb,
                       from: Option<NodeIndex>,
                       to: Option<NodeIndex>,
                       action: Option<ActionIndex>,
                       reason: Option<ActionIndex>| {
            let name = |node: Option<NodeIndex>| node.map(|node| planner.model.node(node).name.clone());
            let reason = reason.or(action).and_then(|action| planner.action(action).reason.clone());
            changes.push(Change::Resource {
                verb,
                resource: planner.resource(resource).id.clone(),
                role: role.into(),
                next_role: next_role.into(),
                origin: name(from),
                destination: name(to),
                reason,
                blocked: action.is_some_and(|action| !planner.action(action).is(ActionFlags::RUNNABLE)),
            });
        };
        if role == next_role {
            let (start_required, demote_required, promote_required) =
                (required(start), required(demote), required(promote));
            let migrates = self
                .oldest(resource, Task::MigrateFrom, next)
                .is_some_and(|action| self.action(action).is(ActionFlags::RUNNABLE));
            if migrates && current.is_some() {
                say(self, ResourceVerb::Migrate, current, next, start, None);
            } else if reload {
                say(self, ResourceVerb::Reload, current, next, start, None);
            } else if !start_required {
                if demote_required && promote_required {
                    say(self, ResourceVerb::RePromote, current, next, promote, demote);
                }
            } else if !can_start {
                let reason = stop.filter(|stop| self.action(*stop).reason.is_some()).or(start);
                say(self, ResourceVerb::Stop, current, None, stop, reason);
            } else if moving {
                let verb = if failed { ResourceVerb::Recover } else { ResourceVerb::Move };
                say(self, verb, current, next, stop, None);
            } else if failed {
                say(self, ResourceVerb::Recover, current, None, stop, None);
            } else {
                say(self, ResourceVerb::Restart, current, next, start, None);
            }
            return;
        }
        let stop_required = required(stop);
        if stop.is_some() && (next_role == Role::Stopped || (start.is_some() && !can_start)) {
            for node in self.resource(resource).active_on.clone() {
                let stop = self.oldest(resource, Task::Stop, Some(node));
                let reason = stop.filter(|stop| self.action(*stop).reason.is_some()).or(start);
                say(self, ResourceVerb::Stop, Some(node), None, stop, reason);
            }
        } else if stop.is_some() && failed && stop_if_failed {
            say(self, ResourceVerb::Recover, current, next, stop, start);
        } else if moving {
            say(self, ResourceVerb::Move, current, next, stop, None);
        } else if reload {
            say(self, ResourceVerb::Reload, current, next, start, None);
        } else if stop_required {
            say(self, ResourceVerb::Restart, current, next, start, None);
        } else if role == Role::Promoted {
            say(self, ResourceVerb::Demote, current, next, demote, None);
        } else if next_role == Role::Promoted {
            say(self, ResourceVerb::Promote, current, next, promote, None);
        } else if role == Role::Stopped && next_role > Role::Stopped {
            say(self, ResourceVerb::Start, current, next, start, None);
        }
    }
}

//! Remote and guest nodes: what runs on them waits for the connection, and the connection for it.

use super::action::{ActionFlags, ActionIndex, Relation, Task};
use crate::model::{NodeIndex, ResourceId, Role};
use crate::planner::Planner;

/// The state of a connection to a remote node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Unknown,
    Alive,
    Resting,
    Failed,
    Stopped,
}

impl Planner {
    fn connection_state(&self, node: NodeIndex) -> Option<Connection> {
        let peer = self.model.node(node);
        let subject = self.resource(peer.connection?);
        let host = self.model.current_node(peer.connection?).map(|host| self.model.node(host));
        let stops = subject.next_role == Role::Stopped;
        Some(if stops || subject.assigned_to.is_none() {
            if host.is_some_and(|host| host.unclean) {
                Connection::Failed
            } else if !subject.failed {
                Connection::Stopped
            } else if stops && subject.reconnect_ms > 0 && peer.remote_fenced && !self.is_shutdown_requested(node) {
                Connection::Unknown
            } else {
                Connection::Failed
            }
        } else {
            match host {
                None => Connection::Unknown,
                Some(host) if host.unclean || !host.online => Connection::Resting,
                _ if subject.active_on.len() > 1
                    && subject.migration_source.is_some()
                    && subject.migration_target.is_some() =>
                {
                    Connection::Resting
                }
                _ => Connection::Alive,
            }
        })
    }

    pub(crate) fn is_failed_remote_node(&self, node: NodeIndex) -> bool {
        self.model.node(node).is_remote() && self.connection_state(node) == Some(Connection::Failed)
    }

    fn order_after_connection(&mut self, connection: ResourceId, action: ActionIndex, extra: Relation) {
        let flags = Relation::GUEST_ALLOWED | Relation::UNRUNNABLE_FIRST_BLOCKS | extra;
        self.order_key_then_action(connection, Task::Start.into(), action, flags);
    }

    fn order_before_disconnection(&mut self, action: ActionIndex, connection: ResourceId, extra: Relation) {
        self.order_action_then_key(action, connection, Task::Stop.into(), Relation::GUEST_ALLOWED | extra);
    }

    pub(crate) fn order_remote_actions(&mut self) {
        if !self.model.have_remote_nodes {
            return;
        }
        for index in (0..self.actions.len()).rev() {
            let index = ActionIndex(u32::try_from(index).unwrap_or(u32::MAX));
            let action = self.action(index);
            let Some(resource) = action.resource else { continue };
            let task = action.task;
            if self.resource(resource).remote_connection && task == Task::ClearFailcount {
                self.order_action_then_key(index, resource, Task::Start.into(), Relation::ORDERED);
                continue;
            }
            let Some(node) = action.node else { continue };
            let peer = self.model.node(node);
            if !peer.is_remote_or_guest() || action.is(ActionFlags::PSEUDO) {
                continue;
            }
            let Some(connection) = peer.connection else { continue };
            if task == Task::Start {
                let stops: Vec<ActionIndex> = self.actions_of[resource.index()]
                    .iter()
                    .rev()
                    .copied()
                    .filter(|other| {
                        let other = self.action(*other);
                        other.task == Task::Stop && other.node != Some(node)
                    })
                    .collect();
                for stop in stops {
                    self.order_key_then_action(connection, Task::Start.into(), stop, Relation::ORDERED);
                }
            }
            match self.resource(connection).launcher {
                Some(launcher) => self.order_guest_action(index, node, connection, launcher),
                None => self.order_remote_action(index, node, connection),
            }
        }
    }

    fn order_guest_action(
        &mut self,
        action: ActionIndex,
        node: NodeIndex,
        connection: ResourceId,
        launcher: ResourceId,
    ) {
        let failed = self.resource(launcher).failed;
        if failed {
            self.fence_node(node, "container failed", false);
        }
        let subject = self.action(action);
        let recurring = subject.key.interval_ms > 0;
        match subject.task {
            Task::Start | Task::Promote => {
                self.order_after_connection(launcher, action, Relation::FIRST_IMPLIES_THEN);
                self.order_after_connection(connection, action, Relation::NONE);
            }
            Task::Stop | Task::Demote | Task::MigrateTo | Task::MigrateFrom => {
                if !failed {
                    self.order_before_disconnection(action, connection, Relation::NONE);
                }
            }
            Task::Monitor if recurring => {
                self.order_after_connection(connection, action, Relation::FIRST_IMPLIES_THEN);
            }
            _ if recurring => {}
            _ => self.order_after_connection(connection, action, Relation::NONE),
        }
    }

    fn order_remote_action(&mut self, action: ActionIndex, node: NodeIndex, connection: ResourceId) {
        let Some(state) = self.connection_state(node) else { return };
        let subject = self.action(action);
        let (task, recurring) = (subject.task, subject.key.interval_ms > 0);
        match task {
            Task::Start | Task::Promote => {
                let extra = if state == Connection::Failed { Relation::FIRST_IMPLIES_THEN } else { Relation::NONE };
                self.order_after_connection(connection, action, extra);
            }
            Task::Stop | Task::MigrateTo | Task::MigrateFrom => {
                if state == Connection::Failed {
                    self.fence_node(node, "resources are active but connection is unrecoverable", false);
                } else if state == Connection::Alive || self.resource(connection).next_role == Role::Stopped {
                    self.order_before_disconnection(action, connection, Relation::THEN_IMPLIES_FIRST);
                } else {
                    self.order_after_connection(connection, action, Relation::NONE);
                }
            }
            Task::Demote => {
                if matches!(state, Connection::Resting | Connection::Unknown) {
                    self.order_after_connection(connection, action, Relation::NONE);
                }
            }
            _ if recurring => {
                self.order_after_connection(connection, action, Relation::FIRST_IMPLIES_THEN);
            }
            _ => {
                if task == Task::Monitor && state == Connection::Failed {
                    let reason = "resources are in unknown state and connection is unrecoverable";
                    self.fence_node(node, reason, false);
                }
                if self.model.current_node(connection).is_some() && state == Connection::Stopped {
                    self.order_before_disconnection(action, connection, Relation::UNRUNNABLE_FIRST_BLOCKS);
                } else {
                    self.order_after_connection(connection, action, Relation::NONE);
                }
            }
        }
    }

    /// The node whose executor carries out an action on a remote or guest node.
    pub(crate) fn router(&self, action: ActionIndex) -> Option<NodeIndex> {
        let subject = self.action(action);
        if subject.task == Task::Fence {
            return None;
        }
        let connection = self.model.node(subject.node?).connection?;
        let remote = self.resource(connection);
        let (began, ends) = (self.model.current_node(connection), remote.assigned_to);
        let (Some(before), Some(after)) = (began, ends) else { return began.or(ends) };
        let task = if subject.task == Task::Notify { subject.key.task } else { subject.task };
        let partial = remote.launcher.is_none() && remote.migration_target.is_some();
        let down = matches!(task, Task::Cancel | Task::Stop | Task::Demote | Task::MigrateFrom | Task::MigrateTo);
        Some(if down && !partial { before } else { after })
    }
}

//! Making actions, and finding those that were made.

use super::action::{Action, ActionFlags, ActionIndex, OpKey, Related, Relation, Requires, Task};
use crate::model::{NoQuorumPolicy, NodeIndex, ResourceId, Role};
use crate::planner::Planner;
use crate::read::operations::has_rules;
use std::collections::BTreeMap;

impl Planner {
    /// The action of a resource with this key on this node, made if it is not there. An action without node is taken for
    /// any node, and gets it.
    pub(crate) fn custom_action(
        &mut self,
        resource: ResourceId,
        key: OpKey,
        task: Task,
        node: Option<NodeIndex>,
        optional: bool,
    ) -> ActionIndex {
        let action = match self.find_actions(resource, key, node).first() {
            Some(existing) => *existing,
            None => self.new_action(Some(resource), String::new(), key, task, node, optional),
        };
        let managed = self.resource(resource).managed;
        let subject = self.action_mut(action);
        let recurring = subject.key.interval_ms > 0 || subject.meta.contains_key("interval");
        if subject.node.is_some() && !subject.is(ActionFlags::PSEUDO) && !managed && !recurring {
            subject.flags.set(ActionFlags::OPTIONAL);
        } else if !optional {
            subject.flags.clear(ActionFlags::OPTIONAL);
        }
        self.note_parameter_rules(action, resource);
        self.judge_runnable(action, resource);
        action
    }

    /// An action that runs once.
    pub(crate) fn resource_action(
        &mut self,
        resource: ResourceId,
        task: Task,
        node: Option<NodeIndex>,
        optional: bool,
    ) -> ActionIndex {
        self.custom_action(resource, task.into(), task, node, optional)
    }

    /// An action of a collection that needs no doing.
    pub(crate) fn pseudo_action(
        &mut self,
        resource: ResourceId,
        task: Task,
        optional: bool,
        runnable: bool,
    ) -> ActionIndex {
        let action = self.resource_action(resource, task, None, optional);
        let subject = self.action_mut(action);
        subject.flags.set(ActionFlags::PSEUDO);
        if runnable {
            subject.flags.set(ActionFlags::RUNNABLE);
        }
        action
    }

    /// A point that others wait for, of no resource.
    pub(crate) fn milestone(&mut self, name: &str) -> ActionIndex {
        if let Some(known) = self.singletons.get(name) {
            return *known;
        }
        let task = self.task(name);
        let action = self.new_action(None, name.to_owned(), task.into(), task, None, true);
        self.action_mut(action).flags.set(ActionFlags::PSEUDO | ActionFlags::RUNNABLE);
        action
    }

    /// An action of the cluster on a node.
    pub(crate) fn node_action(&mut self, name: String, task: Task, node: NodeIndex, optional: bool) -> ActionIndex {
        let action = match self.singletons.get(&name) {
            Some(known) => *known,
            None => self.new_action(None, name, task.into(), task, Some(node), optional),
        };
        if !optional {
            self.action_mut(action).flags.clear(ActionFlags::OPTIONAL);
        }
        action
    }

    fn new_action(
        &mut self,
        resource: Option<ResourceId>,
        name: String,
        key: OpKey,
        task: Task,
        node: Option<NodeIndex>,
        optional: bool,
    ) -> ActionIndex {
        let action = ActionIndex(u32::try_from(self.actions.len()).unwrap_or(u32::MAX));
        let mut flags = ActionFlags::RUNNABLE;
        if task == Task::LrmDelete {
            flags.set(ActionFlags::ON_DC);
        }
        if optional {
            flags.set(ActionFlags::OPTIONAL);
        }
        let (operation, requires) = match resource {
            Some(resource) => (self.operation_of(resource, key, task), self.requirement(resource, task)),
            None => (None, Requires::Nothing),
        };
        self.action_changes += 1;
        self.actions.push(Action {
            resource,
            name: name.clone(),
            key,
            task,
            node,
            flags,
            requires,
            reason: None,
            meta: BTreeMap::new(),
            operation,
            before: Vec::new(),
            after: Vec::new(),
            priority: 0,
            required_runnable_before: 0,
            runnable_before: 0,
            cancels: None,
        });
        match resource {
            Some(resource) => {
                self.actions_of[resource.index()].push(action);
                self.actions_with_key.entry((resource, key)).or_default().push(action);
                match node {
                    Some(node) => self.actions_on_node.insert((resource, key, node), action),
                    None => self.nodeless_actions.insert((resource, key), action),
                };
                self.note_rules(resource, node, task, key, operation);
            }
            None => {
                self.singletons.insert(name, action);
            }
        }
        action
    }

    /// Evaluates the rules on an action's meta-attributes, for the moment at which they may change.
    fn note_rules(
        &mut self,
        resource: ResourceId,
        node: Option<NodeIndex>,
        task: Task,
        key: OpKey,
        operation: Option<usize>,
    ) {
        let own = operation.and_then(|place| self.sources[resource.index()].operations.get(place));
        if self.operation_rules || own.is_some_and(|own| has_rules(&own.element)) {
            let name = self.task_name(task).to_owned();
            self.operation_meta(resource, node, &name, key.interval_ms, operation);
        }
    }

    /// As [`Self::note_rules`], of the rules on the parameters that the operation has for itself, once the node is known.
    fn note_parameter_rules(&mut self, action: ActionIndex, resource: ResourceId) {
        let subject = self.action(action);
        let (Some(node), Some(place)) = (subject.node, subject.operation) else { return };
        let operation = self.sources[resource.index()].operations.get(place);
        if operation.is_some_and(|operation| has_rules(&operation.element)) {
            self.operation_parameters(resource, Some(place), node);
        }
    }

    /// Whether an action can run as things are: its node is there, and there is quorum where it needs that.
    fn judge_runnable(&mut self, action: ActionIndex, resource: ResourceId) {
        let subject = self.action(action);
        if subject.is(ActionFlags::PSEUDO) {
            return;
        }
        let on_dc = subject.is(ActionFlags::ON_DC);
        let (task, requires) = (subject.task, subject.requires);
        let Some(node) = subject.node else {
            self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
            return;
        };
        let peer = self.model.node(node);
        if !on_dc && !peer.online && (!peer.is_guest() || peer.remote_reset) {
            let fence = self.resource(resource).managed && task == Task::Stop && !peer.unclean;
            self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
            if fence {
                self.fence_node(node, "stop is unrunnable", false);
            }
        } else if !on_dc && peer.pending {
            self.action_mut(action).flags.clear(ActionFlags::RUNNABLE);
        } else if requires == Requires::Nothing {
            let stuck = peer.is_guest() && !self.can_fence(node);
            let subject = self.action_mut(action);
            subject.reason = None;
            if stuck {
                subject.flags.clear(ActionFlags::RUNNABLE);
            } else {
                subject.flags.set(ActionFlags::RUNNABLE);
            }
        } else {
            match self.quorum_policy_for(resource) {
                NoQuorumPolicy::Stop => {
                    let subject = self.action_mut(action);
                    subject.flags.clear(ActionFlags::RUNNABLE);
                    subject.reason = Some("no quorum".to_owned());
                }
                NoQuorumPolicy::Freeze => {
                    let subject = self.resource(resource);
                    if !self.model.is_active(resource, true) || subject.next_role > subject.role {
                        let subject = self.action_mut(action);
                        subject.flags.clear(ActionFlags::RUNNABLE);
                        subject.reason = Some("quorum freeze".to_owned());
                    }
                }
                _ => self.action_mut(action).flags.set(ActionFlags::RUNNABLE),
            }
        }
    }

    /// What missing quorum means for a resource; `Ignore` where there is quorum.
    fn quorum_policy_for(&mut self, resource: ResourceId) -> NoQuorumPolicy {
        let policy = self.model.options.no_quorum_policy;
        if self.model.quorate {
            return NoQuorumPolicy::Ignore;
        }
        if policy != NoQuorumPolicy::Demote {
            return policy;
        }
        let subject = self.resource_mut(resource);
        if matches!(subject.role, Role::Promoted | Role::Unpromoted) {
            if subject.next_role > Role::Unpromoted {
                subject.next_role = Role::Unpromoted;
            }
            NoQuorumPolicy::Ignore
        } else {
            NoQuorumPolicy::Stop
        }
    }

    /// The actions of a resource with this key, oldest first; with a node, the one on it, or one that has no node yet and
    /// gets it.
    pub(crate) fn find_actions(
        &mut self,
        resource: ResourceId,
        key: OpKey,
        node: Option<NodeIndex>,
    ) -> Vec<ActionIndex> {
        let Some(node) = node else {
            return self.actions_with_key.get(&(resource, key)).cloned().unwrap_or_default();
        };
        if let Some(waiting) = self.nodeless_actions.remove(&(resource, key)) {
            self.action_mut(waiting).node = Some(node);
            self.instance_actions.nodes_given += 1;
            self.actions_on_node.insert((resource, key, node), waiting);
        }
        self.find_actions_on(resource, key, node)
    }

    /// The actions of a resource with this key that are on this node.
    pub(crate) fn find_actions_on(&self, resource: ResourceId, key: OpKey, node: NodeIndex) -> Vec<ActionIndex> {
        self.actions_on_node.get(&(resource, key, node)).copied().into_iter().collect()
    }

    /// The newest action of a resource of this task, on this node if one is given.
    pub(crate) fn newest_action(
        &self,
        resource: ResourceId,
        task: Task,
        node: Option<NodeIndex>,
    ) -> Option<ActionIndex> {
        self.actions_of[resource.index()].iter().rev().copied().find(|index| {
            let action = self.action(*index);
            action.task == task && (node.is_none() || action.node == node)
        })
    }

    /// Relates two actions; false where the relation was there.
    pub(crate) fn relate(&mut self, first: ActionIndex, then: ActionIndex, flags: Relation) -> bool {
        if flags == Relation::NONE || first == then {
            return false;
        }
        let known = self.relations.entry((first, then)).or_default();
        if known.any(flags) {
            return false;
        }
        known.set(flags);
        self.action_mut(first).after.push(Related { action: then, flags, graphed: false });
        self.action_mut(then).before.push(Related { action: first, flags, graphed: false });
        true
    }

    /// Gives an action its reason, if it has none, or in place of it.
    pub(crate) fn set_reason(&mut self, action: ActionIndex, reason: &str, overwrite: bool) {
        let subject = self.action_mut(action);
        if overwrite || subject.reason.is_none() {
            subject.reason = Some(reason.to_owned());
        }
    }

    /// The id of an action's resource, or nothing.
    pub(crate) fn action_resource_id(&self, action: ActionIndex) -> &str {
        self.action(action).resource.map_or("", |resource| self.resource(resource).id.as_str())
    }

    /// Forgets the failures of a resource on a node.
    pub(crate) fn clear_fail_count(&mut self, resource: ResourceId, node: NodeIndex, reason: &str) -> ActionIndex {
        let action = self.resource_action(resource, Task::ClearFailcount, Some(node), false);
        let subject = self.action_mut(action);
        subject.meta.insert("op_no_wait".to_owned(), "true".to_owned());
        subject.reason.get_or_insert_with(|| reason.to_owned());
        action
    }

    /// Forgets the history of a resource on a node.
    pub(crate) fn clear_history(&mut self, resource: ResourceId, node: NodeIndex) {
        self.resource_action(resource, Task::LrmDelete, Some(node), false);
    }
}

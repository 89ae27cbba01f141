//! Probes: asking whether a resource is active where nothing is known of it, before anything is started.

use super::action::{ActionFlags, ActionIndex, OpKey, Related, Relation, Task};
use crate::model::{Discovery, NodeIndex, ResourceId, Role};
use crate::planner::Planner;
use hakudo_base::agent::exit_code;
use std::collections::BTreeSet;

impl Planner {
    pub(crate) fn schedule_probes(&mut self) {
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            let peer = self.model.node(node);
            if !peer.online {
                if self.is_failed_remote_node(node) {
                    self.fence_node(node, "the connection is unrecoverable", false);
                }
                continue;
            }
            if peer.unclean || !peer.probes_allowed {
                continue;
            }
            for resource in self.model.top.clone() {
                self.create_probe(resource, node);
            }
        }
    }

    /// Looks for a resource, or what is in it, on a node; true if anything is to be asked.
    pub(crate) fn create_probe(&mut self, resource: ResourceId, node: NodeIndex) -> bool {
        let subject = self.resource(resource);
        if subject.is_clone() {
            return self.probe_clone(resource, node);
        }
        if subject.is_bundle() {
            return self.probe_bundle(resource, node);
        }
        if !self.model.options.startup_probes {
            return false;
        }
        let peer = self.model.node(node);
        if peer.is_remote_or_guest()
            && (subject.fence_device
                || subject.remote_connection
                || (peer.is_guest() && self.guest_connection_in(resource).is_some()))
        {
            return false;
        }
        if !subject.children.is_empty() {
            let mut any = false;
            for child in subject.children.clone() {
                any |= self.create_probe(child, node);
            }
            return any;
        }
        if (subject.launcher.is_some() && !subject.remote_connection)
            || subject.removed
            || subject.known_on.contains(&node)
        {
            return false;
        }
        let top = self.uber_parent(resource);
        let entry = subject.allowed.get(node);
        let exclusive = subject.exclusive_discovery || self.resource(top).exclusive_discovery;
        if exclusive && entry.is_none_or(|entry| entry.discovery != Discovery::Exclusive) {
            return false;
        }
        if entry.map_or(peer.base.discovery, |entry| entry.discovery) == Discovery::Never {
            return false;
        }
        if let Some(launcher) = peer.launcher.filter(|_| peer.is_guest()) {
            if self.resource(launcher).role == Role::Stopped {
                self.order_probe_then_start(launcher, top);
                return false;
            }
            if self.guest_will_stop(node, launcher) {
                self.order_tasks(launcher, Task::Stop, top, Task::Start, Relation::ORDERED);
                return false;
            }
        }
        let probe = self.resource_action(resource, Task::Monitor, Some(node), false);
        self.action_mut(probe).flags.clear(ActionFlags::OPTIONAL);
        self.order_vs_unfencing(resource, node, probe, Relation::ORDERED);
        let subject = self.resource(resource);
        let expected = if !subject.active_on.contains(&node) {
            Some(exit_code::NOT_RUNNING)
        } else if subject.role == Role::Promoted {
            Some(exit_code::RUNNING_PROMOTED)
        } else {
            None
        };
        if let Some(expected) = expected {
            self.action_mut(probe).meta.insert("op_target_rc".to_owned(), expected.to_string());
        }
        let top = if self.resource(top).is_clone() { top } else { resource };
        let mut flags = Relation::ORDERED;
        if !self.action(probe).is(ActionFlags::RUNNABLE) && self.resource(top).active_on.is_empty() {
            flags.set(Relation::UNRUNNABLE_FIRST_BLOCKS);
        }
        self.order_action_then_key(probe, top, Task::Start.into(), flags);
        self.order_action_then_key(probe, top, Task::ReloadAgent.into(), Relation::ORDERED);
        if !self.for_inspection() && self.resource(top).promotable {
            // A copy may be promoted already where nothing is known of it. Pacemaker promotes another one without looking.
            self.order_action_then_key(probe, top, Task::Promote.into(), Relation::ORDERED);
        }
        true
    }

    fn order_probe_then_start(&mut self, first: ResourceId, then: ResourceId) {
        let subject = self.resource(first);
        if subject.assigned_to.is_some_and(|node| !subject.known_on.contains(&node)) {
            self.order_tasks(first, Task::Monitor, then, Task::Start, Relation::ORDERED);
        }
    }

    fn guest_will_stop(&self, node: NodeIndex, launcher: ResourceId) -> bool {
        let (peer, subject) = (self.model.node(node), self.resource(launcher));
        peer.remote_reset
            || peer.unclean
            || subject.failed
            || subject.next_role == Role::Stopped
            || (subject.role > Role::Stopped
                && subject.assigned_to.is_some_and(|host| !subject.active_on.contains(&host)))
    }

    /// Puts probes before what must not happen while it is not known where a resource is active.
    pub(crate) fn order_probes(&mut self) {
        let towards_restarts = self.towards_restarts();
        for resource in self.model.top.clone() {
            self.order_probes_of(resource, &towards_restarts);
        }
        self.order_probes_before_stops();
    }

    /// The actions from which relations lead to what is stopped or demoted where it is restarted. Hardly anything is, and
    /// the way from each probe through all that comes after it is long.
    fn towards_restarts(&self) -> Vec<bool> {
        let indices = || (0..u32::try_from(self.actions.len()).unwrap_or(u32::MAX)).map(ActionIndex);
        let mut unseen: Vec<ActionIndex> =
            indices().filter(|after| self.undone_before(*after).next().is_some()).collect();
        if !unseen.is_empty() {
            // What is ordered on the way comes after a probe.
            unseen.extend(indices().filter(|action| self.action(*action).task == Task::Monitor));
        }
        let mut towards = vec![false; self.actions.len()];
        while let Some(action) = unseen.pop() {
            if !std::mem::replace(&mut towards[action.index()], true) {
                unseen.extend(self.action(action).before.iter().map(|input| input.action));
            }
        }
        towards
    }

    fn order_probes_of(&mut self, resource: ResourceId, towards_restarts: &[bool]) {
        if !self.resource(resource).is_primitive() {
            for child in self.resource(resource).children.clone() {
                self.order_probes_of(child, towards_restarts);
            }
            return;
        }
        for probe in self.find_actions(resource, Task::Monitor.into(), None) {
            for at in (0..self.action(probe).after.len()).rev() {
                let after = self.action(probe).after[at];
                self.order_probe_before_starts(probe, after);
                self.order_probe_before_restarts(probe, after.action, towards_restarts);
            }
        }
    }

    /// An impossible probe before a clone's start is before the starts of its instances.
    fn order_probe_before_starts(&mut self, probe: ActionIndex, after: Related) {
        let then = self.action(after.action);
        let Some(collection) = then.resource else { return };
        let own = self.action(probe).resource.map(|resource| self.model.top_of(resource));
        if !self.resource(collection).is_collective()
            || self.action(probe).is(ActionFlags::RUNNABLE)
            || after.flags.has(Relation::UNRUNNABLE_FIRST_BLOCKS)
            || own != Some(collection)
            || then.task != Task::Start
        {
            return;
        }
        for at in (0..self.action(after.action).after.len()).rev() {
            let later = self.action(after.action).after[at].action;
            let Some(resource) = self.action(later).resource else { continue };
            if self.resource(resource).active_on.is_empty()
                && self.model.top_of(resource) == collection
                && self.action(later).task == Task::Start
            {
                self.relate(probe, later, Relation::ORDERED | Relation::UNRUNNABLE_FIRST_BLOCKS);
            }
        }
    }

    /// Where a start waits for a probe, so does the stop of what will be restarted because of it, and so on from there.
    fn order_probe_before_restarts(&mut self, probe: ActionIndex, after: ActionIndex, towards_restarts: &[bool]) {
        let mut seen = BTreeSet::new();
        let mut unseen = vec![after];
        while let Some(after) = unseen.pop() {
            if towards_restarts.get(after.index()).is_none_or(|towards| *towards) && seen.insert(after) {
                self.order_probe_before_restart(probe, after);
                self.add_chained_restarts(probe, after, &mut unseen);
            }
        }
    }

    fn order_probe_before_restart(&mut self, probe: ActionIndex, after: ActionIndex) {
        if self.action(after).resource == self.action(probe).resource {
            return;
        }
        for then in self.undone_before(after).collect::<Vec<_>>() {
            self.relate(probe, then, Relation::ORDERED);
        }
    }

    /// The real stops of what a start of a primitive starts, the demotions of what a promotion promotes.
    fn undone_before(&self, action: ActionIndex) -> impl Iterator<Item = ActionIndex> + '_ {
        let subject = self.action(action);
        let undone = match subject.task {
            Task::Start => Some(Task::Stop),
            Task::Promote => Some(Task::Demote),
            _ => None,
        };
        let primitive = subject.resource.filter(|resource| self.resource(*resource).is_primitive());
        let key = primitive.zip(undone).map(|(resource, undone)| (resource, OpKey::from(undone)));
        let all = key.and_then(|key| self.actions_with_key.get(&key)).into_iter().flatten().copied();
        all.filter(|action| !self.action(*action).is(ActionFlags::PSEUDO))
    }

    /// What is restarted after an action: what its relations imply, and the instances of what it is of. Those related last
    /// are looked at first.
    fn add_chained_restarts(&self, probe: ActionIndex, after: ActionIndex, unseen: &mut Vec<ActionIndex>) {
        let Some(own) = self.action(probe).resource else { return };
        let after_resource = self.action(after).resource;
        let collective = after_resource.filter(|resource| self.resource(*resource).is_collective());
        let interleave =
            collective.is_some_and(|resource| crate::values::is_true(self.resource(resource).meta("interleave")));
        let compatible = collective
            .filter(|_| interleave)
            .and_then(|resource| self.find_compatible_instance(own, resource, Role::Unknown, false, None));
        for next in &self.action(after).after {
            if !next.flags.has(Relation::FIRST_IMPLIES_THEN) {
                let (Some(after_resource), Some(chained)) = (after_resource, self.action(next.action).resource) else {
                    continue;
                };
                if self.resource(after_resource).is_primitive()
                    || self.resource(own).parent == Some(after_resource)
                    || self.resource(chained).is_collective()
                    || self.resource(chained).parent != Some(after_resource)
                    || (collective.is_some() && interleave && compatible != Some(chained))
                {
                    continue;
                }
            }
            unseen.push(next.action);
        }
    }

    /// What waits for a stop waits for the probes too, because these may find something to stop.
    fn order_probes_before_stops(&mut self) {
        let orderings = std::mem::take(&mut self.orderings);
        for ordering in &orderings {
            let (Some(first), flags) = (ordering.first.resource, ordering.flags) else { continue };
            if flags == Relation::NONE || ordering.then.resource == Some(first) {
                continue;
            }
            let is_stop = |planner: &Planner, end: &super::ordering::End| match end.action {
                Some(action) => planner.action(action).task == Task::Stop,
                None => end.key == Some(Task::Stop.into()),
            };
            if !is_stop(self, &ordering.first) {
                continue;
            }
            if ordering.then.resource.is_some()
                && self.resource(first).launcher == ordering.then.resource
                && is_stop(self, &ordering.then)
            {
                continue;
            }
            let mut order = Relation::ORDERED;
            for condition in [Relation::IF_FIRST_UNMIGRATABLE, Relation::IF_ON_SAME_NODE] {
                if flags.has(condition) {
                    order.set(condition);
                }
            }
            if flags == Relation::IF_REQUIRED_ON_SAME_NODE || flags == Relation::IF_ON_SAME_NODE_OR_TARGET {
                order = flags;
            }
            let probes = self.find_actions(first, OpKey::from(Task::Monitor), None);
            if probes.is_empty() {
                continue;
            }
            let thens = match (ordering.then.action, ordering.then.resource, ordering.then.key) {
                (Some(action), _, _) => vec![action],
                (None, Some(resource), Some(key)) => self.find_actions(resource, key, None),
                _ => continue,
            };
            for &probe in &probes {
                for &then in &thens {
                    if self.probe_matters_for(probe, then) {
                        self.relate(probe, then, order);
                    }
                }
            }
        }
        let added = std::mem::replace(&mut self.orderings, orderings);
        self.orderings.extend(added);
    }

    fn probe_matters_for(&self, probe: ActionIndex, then: ActionIndex) -> bool {
        let (probe, then) = (self.action(probe), self.action(then));
        match then.task {
            Task::Fence if probe.node == then.node => {
                then.meta.get("stonith_action").is_none_or(|operation| !operation.eq_ignore_ascii_case("on"))
            }
            Task::Shutdown => probe.node.is_none() || then.node.is_none() || probe.node == then.node,
            _ => true,
        }
    }
}

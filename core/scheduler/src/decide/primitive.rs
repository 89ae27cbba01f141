//! A primitive: where it goes, and the actions that bring it there.

use super::action::{ActionFlags, OpKey, Relation, Task};
use crate::model::{Kind, NoQuorumPolicy, NodeIndex, PlacementStrategy, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::scores::ScoreLine;
use std::collections::BTreeSet;

/// A chain of resources of which each is with the next may be so long before it is placed piece by piece.
const LONGEST_CHAIN: usize = 100;

/// The next role on the way from one role to another.
fn step(from: Role, to: Role) -> Role {
    use Role::{Promoted, Started, Stopped, Unknown, Unpromoted};
    match (from, to) {
        (Unknown, Unknown) => Unknown,
        (Unknown, _) | (_, Unknown) => Stopped,
        (Promoted, Promoted) => Promoted,
        (Promoted, _) => Unpromoted,
        (_, Stopped) => Stopped,
        (Stopped, Started) | (Started, Started) => Started,
        (Unpromoted, Started) => Stopped,
        (Stopped, Unpromoted | Promoted) => Unpromoted,
        (Started | Unpromoted, to) => to,
    }
}

/// The task that goes from one role to the next; nothing where none is needed.
fn task_between(from: Role, to: Role) -> Option<Task> {
    use Role::{Promoted, Started, Stopped, Unpromoted};
    match (from, to) {
        (Role::Unknown | Started | Unpromoted, Stopped) | (Unpromoted, Started) => Some(Task::Stop),
        (Stopped, Started | Unpromoted) => Some(Task::Start),
        (Started | Unpromoted, Promoted) => Some(Task::Promote),
        (Promoted, Stopped | Started | Unpromoted) => Some(Task::Demote),
        _ => None,
    }
}

impl Planner {
    /// Chooses a node for a resource of any kind. `prefer` is a node to take if it is as good as any; without
    /// `stop_if_fail` it is only a trial.
    pub(crate) fn assign(
        &mut self,
        resource: ResourceId,
        prefer: Option<NodeIndex>,
        stop_if_fail: bool,
    ) -> Option<NodeIndex> {
        if self.assignments_under_way >= 3 * LONGEST_CHAIN {
            return None;
        }
        self.assignments_under_way += 1;
        let chosen = match self.resource(resource).kind {
            Kind::Primitive => self.assign_primitive(resource, prefer, stop_if_fail),
            Kind::Group(_) => self.assign_group(resource, prefer, stop_if_fail),
            Kind::Clone(_) => self.assign_clone(resource, prefer, stop_if_fail),
            Kind::Bundle(_) => self.assign_bundle(resource, prefer, stop_if_fail),
        };
        self.assignments_under_way -= 1;
        chosen
    }

    /// Chooses a node for a resource that is in no other. Before a resource is placed, what it is with is; where that is a
    /// long chain of resources, these are placed one by one from its end.
    pub(crate) fn assign_top(&mut self, top: ResourceId) {
        if self.colocations.len() > LONGEST_CHAIN {
            let mut order = Vec::new();
            if self.primaries_first(top, &mut order) > LONGEST_CHAIN {
                for primary in order {
                    self.assign(primary, None, true);
                }
            }
        }
        self.assign(top, None, true);
    }

    /// What a resource is with and what that is with, each behind all that it is with itself; gives the longest way there.
    fn primaries_first(&self, top: ResourceId, order: &mut Vec<ResourceId>) -> usize {
        let mut seen = BTreeSet::from([top]);
        let mut way = vec![(top, self.primaries_of(top))];
        let mut longest = 0;
        while let Some((resource, primaries)) = way.last_mut() {
            match primaries.pop() {
                Some(next) => {
                    if self.resource(next).unassigned && seen.insert(next) {
                        let more = self.primaries_of(next);
                        way.push((next, more));
                        longest = longest.max(way.len());
                    }
                }
                None => {
                    order.push(*resource);
                    way.pop();
                }
            }
        }
        longest
    }

    /// What a resource, or anything in it, is with.
    fn primaries_of(&self, resource: ResourceId) -> Vec<ResourceId> {
        let mut found = Vec::new();
        let mut below = vec![resource];
        while let Some(resource) = below.pop() {
            let with = self.this_with.get(&resource).into_iter().flatten();
            found.extend(with.map(|index| self.model.top_of(self.colocations[index.index()].primary)));
            below.extend(&self.resource(resource).children);
        }
        found
    }

    fn assign_primitive(
        &mut self,
        resource: ResourceId,
        prefer: Option<NodeIndex>,
        stop_if_fail: bool,
    ) -> Option<NodeIndex> {
        if let Some(parent) = self.resource(resource).parent.filter(|parent| !self.resource(*parent).assigning) {
            self.assign(parent, prefer, stop_if_fail);
        }
        let subject = self.resource(resource);
        if !subject.unassigned {
            return subject.assigned_to;
        }
        if subject.assigning {
            return None;
        }
        self.resource_mut(resource).assigning = true;
        let this_with = self.this_with_colocations(resource);
        let with_this = self.with_this_colocations(resource);
        for mandatory in [true, false] {
            for &colocation in &this_with {
                if self.colocations[colocation.index()].score.is_mandatory() == mandatory {
                    self.apply_this_with(colocation, resource);
                }
            }
            for &colocation in &with_this {
                if self.colocations[colocation.index()].score.is_mandatory() == mandatory {
                    self.add_dependent_scores(colocation, resource);
                }
            }
        }
        let freeze = !self.model.quorate && self.model.options.no_quorum_policy == NoQuorumPolicy::Freeze;
        let subject = self.resource(resource);
        if subject.next_role == Role::Stopped {
            let share = Share::new(Source::TargetRole, "target-role");
            self.add_score(resource, None, Score::MINUS_INFINITY, &share);
        } else if subject.next_role > subject.role && freeze {
            let subject = self.resource_mut(resource);
            subject.next_role = subject.role;
        }
        self.show_scores(resource, "pcmk__primitive_assign");
        if self.model.options.fencing_enabled && !self.model.options.have_fencing {
            self.resource_mut(resource).managed = false;
        }
        if !self.resource(resource).managed {
            let node = self.model.current_node(resource);
            let subject = self.resource_mut(resource);
            subject.next_role = subject.role;
            self.assign_to(resource, node, true, stop_if_fail);
        } else if self.model.options.stop_all_resources {
            self.assign_to(resource, None, true, stop_if_fail);
        } else {
            self.assign_best_node(resource, prefer, stop_if_fail);
        }
        self.resource_mut(resource).assigning = false;
        if self.resource(resource).remote_connection {
            self.note_connection_assigned(resource);
        }
        self.resource(resource).assigned_to
    }

    fn note_connection_assigned(&mut self, connection: ResourceId) {
        let subject = self.resource(connection);
        let comes = subject.assigned_to.is_some() && subject.next_role != Role::Stopped;
        let Some(node) = self.model.node_named(&subject.id) else { return };
        let peer = self.model.node_mut(node);
        if comes {
            peer.online = true;
            if !peer.seen {
                peer.unclean = false;
            }
        } else {
            peer.shutdown = true;
        }
    }

    fn assign_best_node(&mut self, resource: ResourceId, prefer: Option<NodeIndex>, stop_if_fail: bool) {
        let most_free = self.ban_insufficient_capacity(resource);
        let prefer = prefer.or(most_free);
        if !self.resource(resource).unassigned {
            return;
        }
        let running = self.model.current_node(resource);
        let nodes = self.best_nodes_first(&self.resource(resource).allowed, running);
        let best = nodes.first().copied();
        let chosen = prefer.zip(best).and_then(|(prefer, best)| {
            let score = self.resource(resource).allowed.get(prefer)?.score;
            (score >= best.1 && self.is_available(prefer, Some(score))).then_some(prefer)
        });
        let chosen = chosen.or_else(|| {
            let (node, score) = best?;
            let in_unique_clone = self.resource(resource).parent.is_some_and(|parent| {
                let parent = self.resource(parent);
                parent.is_clone() && parent.unique
            });
            let stays = running.filter(|running| {
                !in_unique_clone
                    && score > Score::ZERO
                    && self.is_available(node, None)
                    && self.is_available(*running, Some(self.model.node(*running).base.score))
                    && nodes.iter().any(|(other, worth)| other == running && *worth == score)
            });
            Some(stays.unwrap_or(node))
        });
        self.note_choice(resource, chosen, &nodes, running);
        self.assign_to(resource, chosen, false, stop_if_fail);
    }

    /// Puts a resource, or all that is in it, on a node; true if that is a change.
    pub(crate) fn assign_to(
        &mut self,
        resource: ResourceId,
        node: Option<NodeIndex>,
        force: bool,
        stop_if_fail: bool,
    ) -> bool {
        let children = self.resource(resource).children.clone();
        if !children.is_empty() {
            let mut changed = false;
            for child in children {
                changed |= self.assign_to(child, node, force, stop_if_fail);
            }
            return changed;
        }
        let mut node = node;
        let mut worth = node.map_or(Score::ZERO, |node| self.model.node(node).base.score);
        if let Some(wanted) = node.filter(|_| !force) {
            let score = self.resource(resource).allowed.get(wanted).map_or(worth, |entry| entry.score);
            worth = score;
            if score < Score::ZERO || (!self.is_available(wanted, Some(score)) && !self.model.node(wanted).is_guest()) {
                if stop_if_fail {
                    self.resource_mut(resource).next_role = Role::Stopped;
                }
                node = None;
            }
        }
        let changed = self.resource(resource).assigned_to != node;
        self.unassign(resource);
        self.resource_mut(resource).unassigned = false;
        let Some(node) = node else {
            if stop_if_fail {
                self.resource_mut(resource).next_role = Role::Stopped;
                self.stop_actions_of(resource);
            }
            return changed;
        };
        let subject = self.resource_mut(resource);
        subject.assigned_to = Some(node);
        subject.assigned_score = worth;
        self.model.node_mut(node).assigned.push(resource);
        self.consume_capacity(resource, node);
        if self.for_inspection() {
            self.scores.push(ScoreLine::Utilization {
                function: "pcmk__assign_resource",
                resource: self.resource(resource).id.clone(),
                node: self.model.node(node).name.clone(),
                amounts: self.resource(resource).utilization.clone(),
            });
        }
        changed
    }

    /// What is assigned nowhere stops, does not start, and has nothing monitored.
    fn stop_actions_of(&mut self, resource: ResourceId) {
        let is_carried_out = !self.for_inspection();
        for at in 0..self.actions_of[resource.index()].len() {
            let index = self.actions_of[resource.index()][at];
            let action = self.action_mut(index);
            match action.task {
                Task::Stop => action.flags.clear(ActionFlags::OPTIONAL),
                Task::Start => action.flags.clear(ActionFlags::RUNNABLE),
                // A monitor may end. To Pacemaker its end is as impossible as the monitor; a demotion that comes after it is so,
                // too, and the stop waits for the demotion for ever.
                Task::Cancel if is_carried_out => {}
                _ => {
                    let recurring = action.key.interval_ms > 0;
                    let for_stopped = action.meta.get("op_target_rc").is_some_and(|code| code == "7");
                    if recurring && !for_stopped {
                        action.flags.clear(ActionFlags::RUNNABLE);
                    }
                }
            }
        }
    }

    /// Takes a resource, and all that is in it, off its node.
    pub(crate) fn unassign(&mut self, resource: ResourceId) {
        self.resource_mut(resource).unassigned = true;
        let children = self.resource(resource).children.clone();
        if children.is_empty() {
            if let Some(node) = self.resource_mut(resource).assigned_to.take() {
                self.model.node_mut(node).assigned.retain(|other| *other != resource);
                self.release_capacity(resource, node);
            }
        } else {
            for child in children {
                self.unassign(child);
            }
        }
    }

    /// Makes the actions of a resource of any kind.
    pub(crate) fn create_actions(&mut self, resource: ResourceId) {
        match self.resource(resource).kind {
            Kind::Primitive => self.create_primitive_actions(resource),
            Kind::Group(_) => self.create_group_actions(resource),
            Kind::Clone(_) => self.create_clone_actions(resource),
            Kind::Bundle(_) => self.create_bundle_actions(resource),
        }
    }

    fn create_primitive_actions(&mut self, resource: ResourceId) {
        let subject = self.resource_mut(resource);
        if subject.next_role == Role::Unknown {
            subject.next_role = if subject.assigned_to.is_some() { Role::Started } else { Role::Stopped };
        }
        let (current, all, clean) = self.model.active_node(resource);
        for source in self.resource(resource).dangling_sources.clone() {
            let stop = self.resource_action(resource, Task::Stop, Some(source), false);
            self.action_mut(stop).flags.set(ActionFlags::MIGRATION_ABORT);
        }
        let subject = self.resource(resource);
        let assigned = subject.assigned_to;
        let moving =
            current.is_some() && assigned.is_some() && current != assigned && subject.next_role >= Role::Started;
        let mut migrates = moving && self.can_migrate(resource, current);
        let mut need_stop = moving;
        let mut need_promote = false;
        let (source, target) = (subject.migration_source, subject.migration_target);
        let partial = source.is_some() && target.is_some() && migrates && all == 2 && current == source;
        let mut multiply_active = false;
        if partial && assigned == target {
        } else if source.is_some() || target.is_some() {
            need_stop = true;
            migrates = false;
            let subject = self.resource_mut(resource);
            subject.migration_source = None;
            subject.migration_target = None;
        } else {
            multiply_active = if subject.needs_fencing { all > 1 } else { clean > 1 };
        }
        self.resource_mut(resource).stop_unexpected = false;
        if multiply_active {
            use crate::model::MultipleActive;
            match self.resource(resource).multiple_active {
                MultipleActive::StopStart => need_stop = true,
                MultipleActive::StopUnexpected => {
                    need_stop = true;
                    self.resource_mut(resource).stop_unexpected = true;
                }
                MultipleActive::StopOnly | MultipleActive::Block => {}
            }
        }
        if self.resource(resource).start_pending {
            let start = self.resource_action(resource, Task::Start, assigned, true);
            self.action_mut(start).flags.set(ActionFlags::ALWAYS_IN_GRAPH);
        }
        let subject = self.resource(resource);
        if moving {
        } else if subject.failed {
            if subject.stop_if_failed {
                need_stop = true;
            } else if subject.next_role == Role::Promoted {
                need_promote = true;
            }
        } else if subject.blocked {
            need_stop = true;
        } else if subject.role > Role::Started && current.is_some() && assigned.is_some() {
            let start = self.resource_action(resource, Task::Start, assigned, true);
            if !self.action(start).is(ActionFlags::OPTIONAL) {
                need_stop = true;
            }
        }
        self.schedule_restart(resource, current, need_stop, need_promote);
        self.schedule_role_change(resource);
        self.create_recurring_actions(resource);
        if let Some(current) = current.filter(|_| migrates) {
            self.create_migration_actions(resource, current);
        }
    }

    /// Down to stopped and up again to the role it has.
    fn schedule_restart(
        &mut self,
        resource: ResourceId,
        current: Option<NodeIndex>,
        need_stop: bool,
        need_promote: bool,
    ) {
        self.resource_mut(resource).restarting = true;
        let now = self.resource(resource).role;
        let mut role = now;
        while role != Role::Stopped {
            let next = step(role, Role::Stopped);
            let Some(task) = task_between(role, next) else { break };
            self.do_task(resource, task, current, !need_stop);
            role = next;
        }
        loop {
            let subject = self.resource(resource);
            if now > subject.next_role || role == now || subject.blocked {
                break;
            }
            let next = step(role, now);
            let required = need_stop || (next == Role::Promoted && need_promote);
            let Some(task) = task_between(role, next) else { break };
            let assigned = subject.assigned_to;
            self.do_task(resource, task, assigned, !required);
            role = next;
        }
        self.resource_mut(resource).restarting = false;
    }

    fn schedule_role_change(&mut self, resource: ResourceId) {
        let mut role = self.resource(resource).role;
        loop {
            let subject = self.resource(resource);
            if role == subject.next_role {
                break;
            }
            let next = step(role, subject.next_role);
            let Some(task) = task_between(role, next) else { break };
            let assigned = subject.assigned_to;
            self.do_task(resource, task, assigned, false);
            role = next;
        }
    }

    fn do_task(&mut self, resource: ResourceId, task: Task, node: Option<NodeIndex>, optional: bool) {
        match task {
            Task::Stop => self.stop_everywhere(resource, optional),
            Task::Start => self.start_on(resource, node, optional),
            Task::Promote => self.promote_on(resource, node, optional),
            Task::Demote => {
                for active in self.resource(resource).active_on.clone() {
                    if !self.is_expected_node(resource, Some(active)) {
                        self.resource_action(resource, Task::Demote, Some(active), optional);
                    }
                }
            }
            _ => {}
        }
    }

    /// The resource is where it shall be, and only elsewhere it must stop.
    fn is_expected_node(&self, resource: ResourceId, node: Option<NodeIndex>) -> bool {
        let subject = self.resource(resource);
        subject.stop_unexpected
            && subject.restarting
            && subject.next_role > Role::Stopped
            && subject.assigned_to.is_some()
            && subject.assigned_to == node
    }

    fn stop_everywhere(&mut self, resource: ResourceId, optional: bool) {
        let mut optional = optional;
        for active in self.resource(resource).active_on.clone() {
            if self.is_expected_node(resource, Some(active)) {
                continue;
            }
            let subject = self.resource(resource);
            if let Some(target) = subject.migration_target {
                if active == target && subject.assigned_to == Some(active) {
                    continue;
                }
                optional = false;
            }
            let stop = self.resource_action(resource, Task::Stop, Some(active), optional);
            let subject = self.resource(resource);
            let reason = if subject.assigned_to.is_none() {
                Some("node availability")
            } else if subject.restarting && subject.stop_unexpected {
                Some("being multiply active")
            } else {
                None
            };
            let (managed, needs_unfencing) = (subject.managed, subject.needs_unfencing);
            if let Some(reason) = reason {
                self.set_reason(stop, reason, true);
            }
            if !managed {
                self.action_mut(stop).flags.clear(ActionFlags::RUNNABLE);
            }
            if needs_unfencing {
                let unfencing = self.fence_action(active, Some("on"), true, None, false);
                self.relate(stop, unfencing, Relation::THEN_IMPLIES_FIRST);
            }
        }
    }

    fn start_on(&mut self, resource: ResourceId, node: Option<NodeIndex>, optional: bool) {
        let start = self.resource_action(resource, Task::Start, node, true);
        if let Some(node) = node {
            self.order_vs_unfencing(resource, node, start, Relation::FIRST_IMPLIES_THEN);
        }
        if self.action(start).is(ActionFlags::RUNNABLE) && !optional {
            self.action_mut(start).flags.clear(ActionFlags::OPTIONAL);
        }
        if self.is_expected_node(resource, node) {
            self.action_mut(start).flags.set(ActionFlags::PSEUDO);
        }
    }

    fn promote_on(&mut self, resource: ResourceId, node: Option<NodeIndex>, optional: bool) {
        let on = |planner: &Planner, task: Task| match node {
            Some(node) => planner.find_actions_on(resource, task.into(), node),
            None => Vec::new(),
        };
        let runnable = on(self, Task::Start).iter().all(|start| self.action(*start).is(ActionFlags::RUNNABLE));
        if runnable {
            let promote = self.resource_action(resource, Task::Promote, node, optional);
            if self.is_expected_node(resource, node) {
                self.action_mut(promote).flags.set(ActionFlags::PSEUDO);
            }
        } else {
            for promote in on(self, Task::Promote) {
                self.action_mut(promote).flags.clear(ActionFlags::RUNNABLE);
            }
        }
    }

    /// The orderings and colocations that follow from what a resource is.
    pub(crate) fn add_internal_constraints(&mut self, resource: ResourceId) {
        match self.resource(resource).kind {
            Kind::Primitive => self.add_primitive_constraints(resource),
            Kind::Group(_) => self.add_group_constraints(resource),
            Kind::Clone(_) => self.add_clone_constraints(resource),
            Kind::Bundle(_) => self.add_bundle_constraints(resource),
        }
    }

    fn add_primitive_constraints(&mut self, resource: ResourceId) {
        if !self.resource(resource).managed {
            return;
        }
        let restart = Relation::ORDERED | Relation::FIRST_IMPLIES_THEN | Relation::INTERMEDIATE_STOP;
        self.order_tasks(resource, Task::Stop, resource, Task::Start, restart);
        let promotable = self.resource(self.model.top_of(resource)).promotable;
        if promotable || self.resource(resource).role > Role::Unpromoted {
            let implies = Relation::PROMOTED_THEN_IMPLIES_FIRST;
            self.order_tasks(resource, Task::Demote, resource, Task::Stop, implies);
            let mut blocks = Relation::UNRUNNABLE_FIRST_BLOCKS;
            if !self.for_inspection() {
                // What is restarted for something else is promoted again. Pacemaker leaves that to the next transition,
                // after a monitor that finds the instance unpromoted.
                blocks.set(Relation::FIRST_IMPLIES_THEN);
            }
            self.order_tasks(resource, Task::Start, resource, Task::Promote, blocks);
        }
        let cancels = Relation::IF_ON_SAME_NODE | Relation::THEN_CANCELS_FIRST;
        self.order_tasks(resource, Task::LrmDelete, resource, Task::Monitor, cancels);
        let subject = self.resource(resource);
        let unfencing = !subject.fence_device && self.model.options.unfencing && subject.needs_unfencing;
        let utilization =
            !subject.utilization.is_empty() && self.model.options.placement_strategy != PlacementStrategy::Default;
        let allowed: Vec<NodeIndex> = self.model.nodes().filter(|node| subject.allowed.contains(*node)).collect();
        if unfencing {
            for &node in &allowed {
                self.order_restart_vs_unfencing(resource, node);
            }
        }
        if utilization {
            self.order_vs_load(resource, &allowed);
        }
        if let Some(launcher) = self.resource(resource).launcher {
            self.add_launcher_constraints(resource, launcher, &allowed);
        }
        let subject = self.resource(resource);
        if subject.remote_connection || subject.fence_device {
            self.avoid_remote_nodes(resource);
        }
    }

    fn add_launcher_constraints(&mut self, resource: ResourceId, launcher: ResourceId, allowed: &[NodeIndex]) {
        let subject = self.resource(resource);
        let nested = subject.remote_nesting_allowed;
        let connection = if subject.remote_connection {
            if !nested {
                self.avoid_remote_nodes(launcher);
            }
            self.order_tasks(launcher, Task::Monitor, resource, Task::Stop, Relation::ORDERED);
            None
        } else if self.resource(launcher).remote_connection {
            Some(launcher)
        } else {
            self.guest_connection_in(launcher)
        };
        if let Some(connection) = connection {
            let share = Share { with: Some(launcher), ..Share::new(Source::Container, "container") };
            for &node in allowed {
                if self.model.node(node).connection != Some(connection) {
                    self.set_score(resource, node, Score::MINUS_INFINITY, &share);
                }
            }
            return;
        }
        let strong = Relation::FIRST_IMPLIES_THEN | Relation::UNRUNNABLE_FIRST_BLOCKS;
        self.order_tasks(launcher, Task::Start, resource, Task::Start, strong);
        self.order_tasks(resource, Task::Stop, launcher, Task::Stop, Relation::THEN_IMPLIES_FIRST);
        let score = if nested { Score(10_000) } else { Score::INFINITY };
        self.add_colocation("#resource-with-container", None, score, resource, launcher, (None, None), false, true);
    }

    /// The connection to the guest node that a resource is.
    pub(crate) fn guest_connection_in(&self, resource: ResourceId) -> Option<ResourceId> {
        if !self.model.have_remote_nodes {
            return None;
        }
        self.resource(resource).launched.iter().copied().find(|launched| self.resource(*launched).remote_connection)
    }

    fn avoid_remote_nodes(&mut self, resource: ResourceId) {
        let remote: Vec<NodeIndex> = self
            .resource(resource)
            .allowed
            .nodes()
            .filter(|node| self.model.node(*node).connection.is_some())
            .collect();
        let share = Share::new(Source::Container, "remote-node");
        for node in remote {
            self.set_score(resource, node, Score::MINUS_INFINITY, &share);
        }
    }

    /// Forgets that a resource was on a node, with what must come before and after.
    pub(crate) fn schedule_cleanup(&mut self, resource: ResourceId, node: NodeIndex, optional: bool) {
        let peer = self.model.node(node);
        if self.resource(resource).failed || peer.unclean || !peer.online {
            return;
        }
        self.custom_action(resource, OpKey::from(Task::Delete), Task::Delete, Some(node), optional);
        let flag = if optional { Relation::FIRST_IMPLIES_THEN } else { Relation::ORDERED };
        self.order_tasks(resource, Task::Stop, resource, Task::Delete, flag);
        self.order_tasks(resource, Task::Delete, resource, Task::Start, flag);
    }
}

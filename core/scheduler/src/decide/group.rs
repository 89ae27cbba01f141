//! A group: members that run on one node, and start one after the other.

use super::action::{ActionFlags, ActionIndex, Relation, Task};
use super::colocation::Colocation;
use crate::model::{Kind, NodeIndex, ResourceId, Score};
use crate::planner::Planner;

impl Planner {
    fn group_settings(&self, group: ResourceId) -> crate::model::GroupSettings {
        match self.resource(group).kind {
            Kind::Group(settings) => settings,
            _ => crate::model::GroupSettings { ordered: true, colocated: true },
        }
    }

    pub(crate) fn assign_group(
        &mut self,
        group: ResourceId,
        prefer: Option<NodeIndex>,
        stop_if_fail: bool,
    ) -> Option<NodeIndex> {
        let subject = self.resource(group);
        if !subject.unassigned {
            return subject.assigned_to;
        }
        if subject.assigning {
            return None;
        }
        let members = subject.children.clone();
        let Some(&first) = members.first() else {
            self.resource_mut(group).unassigned = false;
            return None;
        };
        let role = self.resource(first).role;
        let subject = self.resource_mut(group);
        subject.assigning = true;
        subject.role = role;
        self.show_scores(group, "pcmk__group_assign");
        let mut place = None;
        for member in members {
            let node = self.assign(member, prefer, stop_if_fail);
            place = place.or(node);
        }
        let next = self.resource(first).next_role;
        let colocated = self.group_settings(group).colocated;
        let subject = self.resource_mut(group);
        subject.next_role = next;
        subject.assigning = false;
        subject.unassigned = false;
        if colocated { place } else { None }
    }

    pub(crate) fn create_group_actions(&mut self, group: ResourceId) {
        for member in self.resource(group).children.clone() {
            self.create_actions(member);
        }
        let promotable = crate::values::is_true(self.resource(group).meta("promotable"));
        let mut tasks = vec![Task::Start, Task::Running, Task::Stop, Task::Stopped];
        if promotable {
            tasks.extend([Task::Demote, Task::Demoted, Task::Promote, Task::Promoted]);
        }
        for task in tasks {
            self.pseudo_action(group, task, true, true);
        }
    }

    pub(crate) fn add_group_constraints(&mut self, group: ResourceId) {
        let blocks = Relation::UNRUNNABLE_FIRST_BLOCKS;
        self.order_tasks(group, Task::Stop, group, Task::Stopped, blocks);
        self.order_tasks(group, Task::Stopped, group, Task::Start, Relation::ORDERED);
        self.order_tasks(group, Task::Start, group, Task::Running, blocks);
        let promotable = self.resource(self.model.top_of(group)).promotable;
        let (mut previous, mut last_active) = (None, None);
        for member in self.resource(group).children.clone() {
            self.add_member_constraints(group, member, previous, &mut last_active, promotable);
            previous = Some(member);
        }
    }

    fn add_member_constraints(
        &mut self,
        group: ResourceId,
        member: ResourceId,
        previous: Option<ResourceId>,
        last_active: &mut Option<ResourceId>,
        promotable: bool,
    ) {
        let settings = self.group_settings(group);
        let ordered = settings.ordered;
        let graphed_down = Relation::THEN_IMPLIES_FIRST_GRAPHED;
        let (mut down, mut after_down) = (graphed_down, Relation::FIRST_IMPLIES_THEN_GRAPHED);
        self.add_internal_constraints(member);
        match previous {
            None if ordered => {
                down = down | Relation::ORDERED;
                after_down = Relation::FIRST_IMPLIES_THEN;
            }
            Some(previous) if settings.colocated => {
                let influence = self.resource(member).critical;
                let roles = (None, None);
                self.add_colocation("#group-members", None, Score::INFINITY, member, previous, roles, false, influence);
            }
            _ => {}
        }
        let strong = Relation::UNRUNNABLE_FIRST_BLOCKS | Relation::FIRST_IMPLIES_THEN;
        let up = strong | Relation::FIRST_IMPLIES_THEN_GRAPHED;
        if promotable {
            self.order_tasks(group, Task::Demote, member, Task::Demote, down);
            self.order_tasks(member, Task::Demote, group, Task::Demoted, after_down);
            self.order_tasks(member, Task::Promote, group, Task::Promoted, up);
            self.order_tasks(group, Task::Promote, member, Task::Promote, graphed_down);
        }
        self.order_tasks(group, Task::Stop, member, Task::Stop, down);
        self.order_tasks(member, Task::Stop, group, Task::Stopped, after_down);
        self.order_tasks(group, Task::Start, member, Task::Start, graphed_down);
        self.order_tasks(member, Task::Start, group, Task::Running, up);
        match previous {
            _ if !ordered => {
                self.order_tasks(group, Task::Start, member, Task::Start, strong | graphed_down);
                if promotable {
                    self.order_tasks(group, Task::Promote, member, Task::Promote, strong | graphed_down);
                }
            }
            None => {
                self.order_tasks(group, Task::Start, member, Task::Start, Relation::NONE);
                if promotable {
                    self.order_tasks(group, Task::Promote, member, Task::Promote, Relation::NONE);
                }
            }
            Some(previous) => {
                self.order_tasks(previous, Task::Start, member, Task::Start, strong);
                let stops = Relation::ORDERED | Relation::INTERMEDIATE_STOP;
                self.order_tasks(member, Task::Stop, previous, Task::Stop, stops);
                let active = |resource: ResourceId| !self.resource(resource).active_on.is_empty();
                if active(member) && !active(previous) {
                    let gap = Relation::THEN_IMPLIES_FIRST | Relation::UNRUNNABLE_FIRST_BLOCKS;
                    self.order_tasks(member, Task::Stop, previous, Task::Start, gap);
                }
                if promotable {
                    self.order_tasks(previous, Task::Promote, member, Task::Promote, strong);
                    self.order_tasks(member, Task::Demote, previous, Task::Demote, Relation::ORDERED);
                }
            }
        }
        let active = |planner: &Planner, resource: ResourceId| !planner.resource(resource).active_on.is_empty();
        if active(self, member) {
            if let (true, Some(previous), Some(last)) = (ordered, previous, *last_active)
                && !active(self, previous)
                && active(self, last)
            {
                self.order_tasks(member, Task::Stop, last, Task::Stop, Relation::ORDERED);
            }
            *last_active = Some(member);
        }
    }

    /// The flags of a group's action, as its members have them.
    pub(crate) fn group_action_flags(
        &mut self,
        group: ResourceId,
        action: ActionIndex,
        node: Option<NodeIndex>,
    ) -> ActionFlags {
        let mut flags = ActionFlags::OPTIONAL | ActionFlags::RUNNABLE | ActionFlags::PSEUDO;
        let own = self.action(action).task;
        let task = own.of_primitive();
        for at in 0..self.resource(group).children.len() {
            let member = self.resource(group).children[at];
            let Some(member_action) = self.newest_action(member, task, node) else {
                if !matches!(task, Task::Stop | Task::Demote) {
                    flags.clear(ActionFlags::RUNNABLE);
                }
                continue;
            };
            let member_flags = self.action_flags(member_action, node);
            if flags.has(ActionFlags::OPTIONAL) && !member_flags.has(ActionFlags::OPTIONAL) {
                flags.clear(ActionFlags::OPTIONAL);
                self.clear_flag(action, ActionFlags::OPTIONAL);
            }
            let impossible = !member_flags.has(ActionFlags::RUNNABLE) && !self.is_out_of_reach(member_action);
            if task != own && flags.has(ActionFlags::RUNNABLE) && impossible {
                flags.clear(ActionFlags::RUNNABLE);
                self.clear_flag(action, ActionFlags::RUNNABLE);
            }
        }
        flags
    }

    /// A group follows a primary by its first member; one that is not colocated, by all.
    pub(crate) fn colocate_group(&mut self, group: ResourceId, primary: ResourceId, colocation: &Colocation) -> Score {
        let members = self.resource(group).children.clone();
        let mut delta = Score::ZERO;
        if self.group_settings(group).colocated {
            if let Some(&first) = members.first() {
                delta = self.apply_colocation(first, primary, colocation, true);
            }
        } else if colocation.score >= Score::INFINITY {
            self.problem(&colocation.id.clone(), "a group that is not colocated cannot be with something");
            return delta;
        } else {
            for member in members {
                let change = self.apply_colocation(member, primary, colocation, false);
                delta = delta.plus(change);
            }
        }
        if delta != Score::ZERO {
            let subject = self.resource_mut(group);
            subject.priority = delta.plus(subject.priority);
        }
        delta
    }

    /// What must be with a group is with its last member, because only then is all of it there.
    pub(crate) fn colocate_with_group(
        &mut self,
        dependent: ResourceId,
        group: ResourceId,
        colocation: &Colocation,
    ) -> Score {
        let subject = self.resource(group);
        if subject.unassigned {
            return Score::ZERO;
        }
        let members = subject.children.clone();
        let mandatory = colocation.score >= Score::INFINITY;
        if self.group_settings(group).colocated {
            let member = if mandatory { members.last() } else { members.first() };
            return member.map_or(Score::ZERO, |member| self.apply_colocation(dependent, *member, colocation, false));
        }
        if mandatory {
            self.problem(&colocation.id.clone(), "nothing can be with a group that is not colocated");
            return Score::ZERO;
        }
        members.into_iter().fold(Score::ZERO, |delta, member| {
            let change = self.apply_colocation(dependent, member, colocation, false);
            delta.plus(change)
        })
    }
}

//! `<rsc_order>`: what an administrator wants in a certain order.

use super::action::{OpKey, Relation, Task};
use super::ordering::End;
use super::sets::ResourceSet;
use crate::model::ResourceId;
use crate::planner::Planner;
use crate::values;
use hakudo_cib::Element;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderKind {
    Optional,
    Mandatory,
    Serialize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symmetry {
    /// The only direction.
    Asymmetric,
    /// The way up of both.
    Symmetric,
    /// The way down.
    Inverse,
}

impl Planner {
    pub(crate) fn read_order_constraint(&mut self, constraint: &Element) {
        let kind = self.order_kind(constraint.id(), constraint.attribute("kind"), constraint.attribute("score"));
        let own_symmetry = constraint.attribute("symmetrical").and_then(values::boolean);
        let symmetry = symmetry_of(kind, own_symmetry);
        let Some(mut sets) = self.read_sets(constraint) else { return };
        if sets.is_empty() {
            match self.order_sets_of_tags(constraint) {
                Ok(found) => sets = found,
                Err(()) => return,
            }
        }
        if sets.is_empty() {
            self.read_simple_order(constraint, kind, symmetry);
            return;
        }
        let mut last: Option<ResourceSet> = None;
        for set in sets {
            if self
                .order_within(&set, kind, constraint.attribute("symmetrical").map(|t| values::is_true(Some(t))))
                .is_none()
            {
                return;
            }
            if let Some(last) = &last {
                if self.order_sets(last, &set, kind, symmetry).is_none() {
                    return;
                }
                if symmetry == Symmetry::Symmetric && self.order_sets(&set, last, kind, Symmetry::Inverse).is_none() {
                    return;
                }
            }
            last = Some(set);
        }
    }

    fn order_kind(&mut self, id: &str, kind: Option<&str>, score: Option<&str>) -> OrderKind {
        match kind {
            Some("Mandatory") => OrderKind::Mandatory,
            Some("Optional") => OrderKind::Optional,
            Some("Serialize") => OrderKind::Serialize,
            Some(other) => {
                self.problem(id, format!("the kind '{other}' is not valid; Mandatory is used"));
                OrderKind::Mandatory
            }
            None => {
                let colours = self.model.options.health_scores;
                let worth = score.map(|text| values::score(text, &colours).unwrap_or_default().0);
                if worth == Some(0) { OrderKind::Optional } else { OrderKind::Mandatory }
            }
        }
    }

    fn order_sets_of_tags(&mut self, constraint: &Element) -> Result<Vec<ResourceSet>, ()> {
        let (Some(first), Some(then)) = (constraint.attribute("first"), constraint.attribute("then")) else {
            return Ok(Vec::new());
        };
        if self.constraint_resource(first).is_some() && self.constraint_resource(then).is_some() {
            return Ok(Vec::new());
        }
        let mut sets = Vec::new();
        for (attribute, action) in [("first", "first-action"), ("then", "then-action")] {
            if let Some(mut set) = self.as_set(constraint, attribute, true)? {
                set.action = constraint.attribute(action).map(str::to_owned);
                sets.push(set);
            }
        }
        Ok(sets)
    }

    fn read_simple_order(&mut self, constraint: &Element, kind: OrderKind, symmetry: Symmetry) {
        let mut ends = Vec::new();
        for attribute in ["first", "then"] {
            let id = constraint.attribute(attribute).unwrap_or_default();
            match self.constraint_resource(id) {
                Some(resource) => ends.push(resource),
                None => {
                    let message = format!("there is no resource '{id}'; the constraint is ignored");
                    return self.problem(constraint.id(), message);
                }
            }
        }
        let (first, then) = (ends[0], ends[1]);
        let first_action = constraint.attribute("first-action").unwrap_or("start");
        let then_action = constraint.attribute("then-action").unwrap_or(first_action);
        let (first_task, then_task) = (self.task(first_action), self.task(then_action));
        if (first, first_task) == (then, then_task) {
            let message = "nothing can come after itself; the constraint is ignored".to_owned();
            return self.problem(constraint.id(), message);
        }
        let flags = relation_of(kind, first_task, symmetry);
        let minimum = self.minimum_instances(first, constraint);
        if minimum > 0 {
            let milestone = self.milestone(&format!("clone-one-or-more:{}", constraint.id()));
            self.action_mut(milestone).required_runnable_before = minimum;
            for child in self.resource(first).children.clone() {
                let enough = Relation::MIN_RUNNABLE | Relation::FIRST_IMPLIES_THEN_GRAPHED;
                self.order_key_then_action(child, first_task.into(), milestone, enough);
            }
            let blocks = flags | Relation::UNRUNNABLE_FIRST_BLOCKS;
            self.order_action_then_key(milestone, then, then_task.into(), blocks);
        } else {
            self.order_tasks(first, first_task, then, then_task, flags);
        }
        if symmetry == Symmetry::Symmetric {
            match (inverse(first_task), inverse(then_task)) {
                (Some(first_down), Some(then_down)) => {
                    let flags = relation_of(kind, first_down, Symmetry::Inverse);
                    self.order_tasks(then, then_down, first, first_down, flags);
                }
                _ => self.problem(constraint.id(), "the inverse of the actions is not known"),
            }
        }
    }

    /// How many instances of a clone must be possible before what follows; 0 for all.
    fn minimum_instances(&self, first: ResourceId, constraint: &Element) -> i32 {
        let subject = self.resource(first);
        if !subject.is_clone() {
            return 0;
        }
        if let Some(text) = subject.meta("clone-min") {
            return values::integer_from(text, 0).unwrap_or(0);
        }
        match constraint.attribute("require-all") {
            Some(text) if values::boolean(text) != Some(true) => 1,
            _ => 0,
        }
    }

    /// Orders the members of one set.
    fn order_within(&mut self, set: &ResourceSet, parent_kind: OrderKind, parent: Option<bool>) -> Option<()> {
        let kind = match &set.kind {
            Some(kind) => self.order_kind(&set.id, Some(kind), None),
            None => parent_kind,
        };
        let symmetry_kind = if set.kind.is_some() || set.score.is_some() {
            self.order_kind(&set.id, set.kind.as_deref(), set.score.as_deref())
        } else {
            parent_kind
        };
        let symmetry = symmetry_of(symmetry_kind, set.symmetrical.or(parent));
        let task = self.task(set.action.as_deref().unwrap_or("start"));
        let sequential = set.sequential != Some(false);
        let members = self.members(set)?;
        if members.len() == 1 {
            return Some(());
        }
        let flags = relation_of(kind, task, symmetry);
        if kind == OrderKind::Serialize {
            for (at, &first) in members.iter().enumerate() {
                for &then in &members[at + 1..] {
                    self.order_tasks(first, task, then, task, flags);
                }
            }
        } else if sequential {
            for pair in members.windows(2) {
                self.order_tasks(pair[0], task, pair[1], task, flags);
            }
        }
        if symmetry == Symmetry::Asymmetric || !sequential {
            return Some(());
        }
        if let Some(down) = inverse(task) {
            let flags = relation_of(kind, down, Symmetry::Inverse);
            for pair in members.windows(2) {
                self.order_tasks(pair[1], down, pair[0], down, flags);
            }
        }
        Some(())
    }

    /// Orders one set before another.
    fn order_sets(
        &mut self,
        first: &ResourceSet,
        then: &ResourceSet,
        kind: OrderKind,
        symmetry: Symmetry,
    ) -> Option<()> {
        let mut first_task = self.task(first.action.as_deref().unwrap_or("start"));
        let mut then_task = self.task(then.action.as_deref().unwrap_or("start"));
        if symmetry == Symmetry::Inverse {
            (first_task, then_task) = (inverse(first_task)?, inverse(then_task)?);
        }
        let require_all = first.require_all.unwrap_or(true) || matches!(first_task, Task::Stop | Task::Demote);
        let flags = relation_of(kind, first_task, symmetry);
        if !require_all {
            let milestone = self.milestone(&format!("one-or-more:{}", first.id));
            self.action_mut(milestone).required_runnable_before = 1;
            for member in self.members(first)? {
                let enough = Relation::MIN_RUNNABLE | Relation::FIRST_IMPLIES_THEN_GRAPHED;
                self.order_key_then_action(member, first_task.into(), milestone, enough);
            }
            for member in self.members(then)? {
                let blocks = flags | Relation::UNRUNNABLE_FIRST_BLOCKS;
                self.order_action_then_key(milestone, member, OpKey::from(then_task), blocks);
            }
            return Some(());
        }
        let ends = |members: Vec<ResourceId>, set: &ResourceSet, last: bool| match set.sequential {
            Some(true) => {
                let one = if last { members.last() } else { members.first() };
                one.copied().into_iter().collect()
            }
            _ => members,
        };
        let inverse = symmetry == Symmetry::Inverse;
        let firsts = ends(self.members(first)?, first, !inverse);
        let thens = ends(self.members(then)?, then, inverse);
        for &first in &firsts {
            for &then in &thens {
                let end =
                    |resource, task: Task| End { resource: Some(resource), key: Some(OpKey::from(task)), action: None };
                self.order(end(first, first_task), end(then, then_task), flags);
            }
        }
        Some(())
    }
}

fn symmetry_of(kind: OrderKind, symmetrical: Option<bool>) -> Symmetry {
    match symmetrical {
        Some(true) if kind != OrderKind::Serialize => Symmetry::Symmetric,
        Some(_) => Symmetry::Asymmetric,
        None if kind == OrderKind::Serialize => Symmetry::Asymmetric,
        None => Symmetry::Symmetric,
    }
}

fn relation_of(kind: OrderKind, first: Task, symmetry: Symmetry) -> Relation {
    match kind {
        OrderKind::Optional => Relation::ORDERED,
        OrderKind::Serialize => Relation::SERIALIZE,
        OrderKind::Mandatory => {
            let more = match symmetry {
                Symmetry::Asymmetric => Relation::ASYMMETRIC,
                Symmetry::Symmetric if first.is_up() => {
                    Relation::FIRST_IMPLIES_THEN | Relation::UNRUNNABLE_FIRST_BLOCKS
                }
                Symmetry::Symmetric => Relation::FIRST_IMPLIES_THEN,
                Symmetry::Inverse => Relation::THEN_IMPLIES_FIRST,
            };
            Relation::ORDERED | more
        }
    }
}

/// The task that undoes a task.
fn inverse(task: Task) -> Option<Task> {
    Some(match task {
        Task::Start => Task::Stop,
        Task::Stop => Task::Start,
        Task::Promote => Task::Demote,
        Task::Demote => Task::Promote,
        Task::Promoted => Task::Demoted,
        Task::Demoted => Task::Promoted,
        Task::Running => Task::Stopped,
        Task::Stopped => Task::Running,
        _ => return None,
    })
}

//! `<rsc_colocation>`: resources that want to be together, or apart.

use super::action::{Relation, Task};
use super::sets::ResourceSet;
use crate::model::{Kind, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::values;
use hakudo_cib::Element;
use std::cmp::Ordering as Order;
use std::sync::Arc;

/// A colocation's place in the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ColocationIndex(pub(crate) u32);

impl ColocationIndex {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The dependent wants to be where the primary is (or, with a negative score, is not).
#[derive(Clone, Debug)]
pub(crate) struct Colocation {
    pub(crate) id: Arc<str>,
    pub(crate) dependent: ResourceId,
    pub(crate) primary: ResourceId,
    pub(crate) score: Score,
    pub(crate) dependent_role: Role,
    pub(crate) primary_role: Role,
    /// What must be equal: `#uname` for the node itself.
    pub(crate) attribute: Arc<str>,
    /// Configured, and not implied by what a resource is.
    pub(crate) explicit: bool,
    /// The dependent has a say in where the primary goes.
    pub(crate) influence: bool,
}

impl Colocation {
    /// Its score as a share of INFINITY.
    #[expect(clippy::cast_precision_loss, reason = "scores are below 2^24")]
    pub(crate) fn factor(&self) -> f32 {
        self.score.0 as f32 / Score::INFINITY.0 as f32
    }

    /// What it adds to the scores of `resource`, one of its two sides or a part of one.
    pub(crate) fn share_for(&self, resource: ResourceId) -> Share {
        let other = if resource == self.primary { self.dependent } else { self.primary };
        Share { source: Source::Colocation, id: Arc::clone(&self.id), with: Some(other) }
    }
}

impl Planner {
    pub(crate) fn read_colocation_constraint(&mut self, constraint: &Element) {
        let id = constraint.id();
        let Some(mut sets) = self.read_sets(constraint) else { return };
        if sets.is_empty() {
            match self.colocation_sets_of_tags(constraint) {
                Ok(found) => sets = found,
                Err(()) => return,
            }
        }
        let score = match constraint.attribute("score") {
            None => Score::ZERO,
            Some(text) => match values::score(text, &self.model.options.health_scores) {
                Some(score) => score,
                None => return self.problem(id, format!("'{text}' is no score; the constraint is ignored")),
            },
        };
        let influence = constraint.attribute("influence").map(str::to_owned);
        if sets.is_empty() {
            self.read_simple_colocation(constraint, score, influence.as_deref());
            return;
        }
        let mut last: Option<ResourceSet> = None;
        for set in sets {
            if set.id.is_empty() {
                self.problem(id, "a resource set without id is ignored");
                continue;
            }
            self.colocate_within(&set, score, influence.as_deref());
            if let Some(last) = &last {
                self.colocate_sets(id, last, &set, score, influence.as_deref());
            }
            last = Some(set);
        }
    }

    fn colocation_sets_of_tags(&mut self, constraint: &Element) -> Result<Vec<ResourceSet>, ()> {
        let (Some(dependent), Some(primary)) = (constraint.attribute("rsc"), constraint.attribute("with-rsc")) else {
            return Ok(Vec::new());
        };
        let known = |planner: &Planner, id: &str| planner.constraint_resource(id).is_some();
        let (dependent_known, primary_known) = (known(self, dependent), known(self, primary));
        if dependent_known && primary_known {
            return Ok(Vec::new());
        }
        let mut sets = Vec::new();
        for (attribute, role) in [("rsc", "rsc-role"), ("with-rsc", "with-rsc-role")] {
            if let Some(mut set) = self.as_set(constraint, attribute, true)? {
                set.role = constraint.attribute(role).map(str::to_owned);
                sets.push(set);
            }
        }
        if !dependent_known && !primary_known {
            self.problem(constraint.id(), "two templates or tags cannot be colocated; the constraint is ignored");
            return Err(());
        }
        Ok(sets)
    }

    fn read_simple_colocation(&mut self, constraint: &Element, score: Score, influence: Option<&str>) {
        let mut ends = Vec::new();
        for attribute in ["rsc", "with-rsc"] {
            let id = constraint.attribute(attribute).unwrap_or_default();
            match self.constraint_resource(id) {
                Some(resource) => ends.push(resource),
                None => {
                    let message = format!("there is no resource '{id}'; the constraint is ignored");
                    return self.problem(constraint.id(), message);
                }
            }
        }
        let roles = (constraint.attribute("rsc-role"), constraint.attribute("with-rsc-role"));
        let influence = self.influence(constraint.id(), ends[0], influence);
        let attribute = constraint.attribute("node-attribute");
        self.add_colocation(constraint.id(), attribute, score, ends[0], ends[1], roles, true, influence);
    }

    /// Whether the dependent has a say: as configured, else whether it is critical.
    fn influence(&mut self, id: &str, dependent: ResourceId, configured: Option<&str>) -> bool {
        match configured.map(values::boolean) {
            Some(Some(influence)) => influence,
            Some(None) => {
                self.problem(id, "the value of influence is not valid; the default is used");
                self.resource(dependent).critical
            }
            None => self.resource(dependent).critical,
        }
    }

    fn colocate_within(&mut self, set: &ResourceSet, score: Score, influence: Option<&str>) {
        let score = match &set.score {
            None => score,
            Some(text) => match values::score(text, &self.model.options.health_scores) {
                Some(score) => score,
                None => return self.problem(&set.id, format!("'{text}' is no score; the set is ignored")),
            },
        };
        if score == Score::ZERO || set.sequential == Some(false) {
            return;
        }
        let with_previous = set.ordering.as_deref().is_none_or(|word| word.eq_ignore_ascii_case("group"));
        let role = set.role.as_deref();
        let mut previous = None;
        for id in &set.members {
            let Some(member) = self.member(set, id) else { return };
            let influence = self.influence(&set.id, member, influence);
            if score > Score::ZERO {
                if let Some(previous) = previous {
                    let (dependent, primary) = if with_previous { (member, previous) } else { (previous, member) };
                    self.add_colocation(&set.id, None, score, dependent, primary, (role, role), true, influence);
                }
            } else {
                // Apart from all before it. A clone that is named by what is in it is not found by its own name, so that it
                // counts as apart from all that the set names, itself included.
                for other in
                    set.members.iter().take_while(|other| **other != self.resource(member).id).collect::<Vec<_>>()
                {
                    let Some(other) = self.constraint_resource(other) else { continue };
                    self.add_colocation(&set.id, None, score, member, other, (role, role), true, influence);
                }
            }
            previous = Some(member);
        }
    }

    fn colocate_sets(
        &mut self,
        id: &str,
        dependents: &ResourceSet,
        primaries: &ResourceSet,
        score: Score,
        influence: Option<&str>,
    ) {
        if score == Score::ZERO {
            return;
        }
        let sequential = |set: &ResourceSet| set.sequential != Some(false);
        let mut known = |set: &ResourceSet, ids: Vec<&String>| -> Vec<ResourceId> {
            let mut found = Vec::new();
            for member in ids {
                match self.constraint_resource(member) {
                    Some(resource) => found.push(resource),
                    None => self.problem(&set.id, format!("there is no resource '{member}'")),
                }
            }
            found
        };
        let first = if sequential(dependents) {
            dependents.members.first().into_iter().collect()
        } else {
            dependents.members.iter().collect()
        };
        let second = if sequential(primaries) {
            primaries.members.last().into_iter().collect()
        } else {
            primaries.members.iter().collect()
        };
        let first = known(dependents, first);
        let second = known(primaries, second);
        let roles = (dependents.role.as_deref(), primaries.role.as_deref());
        for &dependent in &first {
            let influence = self.influence(id, dependent, influence);
            for &primary in &second {
                self.add_colocation(id, None, score, dependent, primary, roles, true, influence);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a colocation has this many properties")]
    pub(crate) fn add_colocation(
        &mut self,
        id: &str,
        attribute: Option<&str>,
        score: Score,
        dependent: ResourceId,
        primary: ResourceId,
        roles: (Option<&str>, Option<&str>),
        explicit: bool,
        influence: bool,
    ) {
        let Some(dependent_role) = self.constraint_role(id, roles.0) else { return };
        let Some(primary_role) = self.constraint_role(id, roles.1) else { return };
        if score == Score::ZERO {
            return;
        }
        let index = ColocationIndex(u32::try_from(self.colocations.len()).unwrap_or(u32::MAX));
        self.colocations.push(Colocation {
            id: id.into(),
            dependent,
            primary,
            score,
            dependent_role,
            primary_role,
            attribute: attribute.unwrap_or("#uname").into(),
            explicit,
            influence,
        });
        for (list, by_dependent) in [(&mut self.this_with, false), (&mut self.with_this, true)] {
            let owner = if by_dependent { primary } else { dependent };
            let mut entries = std::mem::take(list.entry(owner).or_default());
            insert_colocation(&self.model, &self.colocations, &mut entries, index, by_dependent);
            list.insert(owner, entries);
        }
        if score <= Score::MINUS_INFINITY {
            self.order_apart(dependent, dependent_role, primary, primary_role);
            self.order_apart(primary, primary_role, dependent, dependent_role);
        }
    }

    /// What must be apart leaves before the other comes.
    fn order_apart(&mut self, first: ResourceId, first_role: Role, then: ResourceId, then_role: Role) {
        let leave: &[Task] = match first_role {
            Role::Promoted => &[Task::Demote],
            Role::Unpromoted => &[Task::Stop, Task::Promote],
            _ => &[Task::Stop],
        };
        let come: &[Task] = match then_role {
            Role::Promoted => &[Task::Promote],
            Role::Unpromoted => &[Task::Start, Task::Demote],
            _ => &[Task::Start],
        };
        for &first_task in leave {
            for &then_task in come {
                self.order_tasks(first, first_task, then, then_task, Relation::IF_REQUIRED_ON_SAME_NODE);
            }
        }
    }

    fn insert_sorted(&self, list: &mut Vec<ColocationIndex>, colocation: ColocationIndex, by_dependent: bool) {
        insert_colocation(&self.model, &self.colocations, list, colocation, by_dependent);
    }

    fn own_colocations(&self, resource: ResourceId, with_this: bool) -> Vec<ColocationIndex> {
        let table = if with_this { &self.with_this } else { &self.this_with };
        table.get(&resource).cloned().unwrap_or_default()
    }

    /// Those that are with this resource, the most important dependent first.
    pub(crate) fn with_this_colocations(&self, resource: ResourceId) -> Vec<ColocationIndex> {
        let mut list = Vec::new();
        self.collect_with_this(resource, resource, &mut list);
        list
    }

    /// Those that this resource is with, the most important primary first.
    pub(crate) fn this_with_colocations(&self, resource: ResourceId) -> Vec<ColocationIndex> {
        let mut list = Vec::new();
        self.collect_this_with(resource, resource, &mut list);
        list
    }

    fn add_all(&self, list: &mut Vec<ColocationIndex>, more: Vec<ColocationIndex>, with_this: bool) {
        if list.is_empty() {
            *list = more;
        } else if let Some(&first) = more.first() {
            // Each of the further ones counts as the first of them does.
            for _ in &more {
                self.insert_sorted(list, first, with_this);
            }
        }
    }

    fn collect_with_this(&self, resource: ResourceId, original: ResourceId, list: &mut Vec<ColocationIndex>) {
        let subject = self.resource(resource);
        let own = || self.own_colocations(resource, true);
        match &subject.kind {
            Kind::Primitive if resource == original => {
                self.add_all(list, own(), true);
                if let Some(parent) = subject.parent {
                    self.collect_with_this(parent, original, list);
                }
            }
            Kind::Primitive => {
                for colocation in own() {
                    if self.colocations[colocation.index()].explicit {
                        self.insert_sorted(list, colocation, true);
                    }
                }
            }
            Kind::Group(group) => {
                if original != resource && subject.children.last() != Some(&original) {
                    return;
                }
                self.add_all(list, own(), true);
                if let Some(parent) = subject.parent {
                    self.collect_with_this(parent, original, list);
                }
                if group.colocated {
                    for &member in subject.children.iter().filter(|member| **member != original) {
                        self.collect_with_this(member, original, list);
                    }
                }
            }
            Kind::Bundle(_) => {
                if self.shares_colocations(resource, original) {
                    self.add_all(list, own(), true);
                }
            }
            Kind::Clone(_) => {
                self.add_all(list, own(), true);
                if let Some(parent) = subject.parent {
                    self.collect_with_this(parent, original, list);
                }
            }
        }
    }

    fn collect_this_with(&self, resource: ResourceId, original: ResourceId, list: &mut Vec<ColocationIndex>) {
        let subject = self.resource(resource);
        let own = || self.own_colocations(resource, false);
        match &subject.kind {
            Kind::Primitive if resource == original => {
                self.add_all(list, own(), false);
                if let Some(parent) = subject.parent {
                    self.collect_this_with(parent, original, list);
                }
            }
            Kind::Primitive => {
                for colocation in own() {
                    if self.colocations[colocation.index()].explicit {
                        self.insert_sorted(list, colocation, false);
                    }
                }
            }
            Kind::Group(group) if original == resource || subject.children.first() == Some(&original) => {
                self.add_all(list, own(), false);
                if let Some(parent) = subject.parent {
                    self.collect_this_with(parent, original, list);
                }
                if group.colocated {
                    for &member in subject.children.iter().filter(|member| **member != original) {
                        self.collect_this_with(member, original, list);
                    }
                }
            }
            Kind::Group(_) => {
                // Behind a member that is not managed, the others still follow what the group must be with.
                let before = subject.children.iter().take_while(|member| **member != original);
                if before.into_iter().any(|member| !self.resource(*member).managed) {
                    for colocation in own() {
                        if self.colocations[colocation.index()].score == Score::INFINITY {
                            self.insert_sorted(list, colocation, false);
                        }
                    }
                }
            }
            Kind::Bundle(_) => {
                if self.shares_colocations(resource, original) {
                    self.add_all(list, own(), false);
                }
            }
            Kind::Clone(_) => {
                self.add_all(list, own(), false);
                if let Some(parent) = subject.parent {
                    self.collect_this_with(parent, original, list);
                }
            }
        }
    }
}

/// Inserts before the first that is not more important.
fn insert_colocation(
    model: &crate::model::Model,
    colocations: &[Colocation],
    list: &mut Vec<ColocationIndex>,
    colocation: ColocationIndex,
    by_dependent: bool,
) {
    let other = |index: ColocationIndex| {
        let colocation = &colocations[index.index()];
        model.resource(if by_dependent { colocation.dependent } else { colocation.primary })
    };
    let compare = |a: ColocationIndex, b: ColocationIndex| {
        let (x, y) = (other(a), other(b));
        let by_promotable = if x.is_clone() { y.promotable.cmp(&x.promotable) } else { Order::Equal };
        y.priority.cmp(&x.priority).then(y.rank().cmp(&x.rank())).then(by_promotable).then_with(|| x.id.cmp(&y.id))
    };
    let place = list.iter().position(|known| compare(colocation, *known).is_le()).unwrap_or(list.len());
    list.insert(place, colocation);
}

//! `<rsc_colocation>`: resources that want to be together, or apart.

use super::action::{Relation, Task};
use super::sets::ResourceSet;
use crate::model::{Kind, Location, NodeIndex, NodeTable, ResourceId, Role, Score};
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
    pub(crate) attribute: String,
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

/// What a colocation decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affects {
    Nothing,
    Location,
    Role,
}

/// How the wishes of colocated resources are collected.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Collect {
    /// Those that this one is with, instead of those that are with it.
    pub(crate) this_with: bool,
    /// A wish never makes a node forbidden.
    pub(crate) nonnegative: bool,
    /// Not if that leaves no node.
    pub(crate) active: bool,
}

/// Stands for a node that a wish would have made forbidden: worth 1 at the end.
const SPOILED: Score = Score(-100_000_000);

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
        let mut members: Vec<ResourceId> = Vec::new();
        for id in &set.members {
            let Some(member) = self.constraint_resource(id) else {
                self.problem(&set.id, format!("there is no resource '{id}'; it and those after it are ignored"));
                return;
            };
            let influence = self.influence(&set.id, member, influence);
            if score > Score::ZERO {
                if let Some(&previous) = members.last() {
                    let (dependent, primary) = if with_previous { (member, previous) } else { (previous, member) };
                    self.add_colocation(&set.id, None, score, dependent, primary, (role, role), true, influence);
                }
            } else {
                for &other in &members {
                    if other == member {
                        break;
                    }
                    self.add_colocation(&set.id, None, score, member, other, (role, role), true, influence);
                }
            }
            members.push(member);
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
            attribute: attribute.unwrap_or("#uname").to_owned(),
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

    /// The dependent has a say in where the primary (or what takes its place) goes.
    pub(crate) fn has_influence(&self, colocation: &Colocation, primary: Option<ResourceId>) -> bool {
        let primary = self.resource(primary.unwrap_or(colocation.primary));
        if self.resource(colocation.dependent).remote_nesting_allowed && !primary.failed && primary.active_on.len() == 1
        {
            return false;
        }
        colocation.influence || primary.active_on.is_empty()
    }

    /// What a colocation decides for two resources now (`preview`: once they are assigned).
    pub(crate) fn affects(
        &self,
        dependent: ResourceId,
        primary: ResourceId,
        colocation: &Colocation,
        preview: bool,
    ) -> Affects {
        if !preview && self.resource(primary).unassigned {
            return Affects::Nothing;
        }
        let dependent_role = self.resource(self.with_role(dependent));
        let primary_role = self.resource(self.with_role(primary));
        let in_promotable = dependent_role.parent.is_some_and(|parent| self.resource(parent).promotable);
        if colocation.dependent_role >= Role::Unpromoted && in_promotable && !dependent_role.unassigned {
            return Affects::Role;
        }
        if !preview && !self.resource(dependent).unassigned {
            return Affects::Nothing;
        }
        let differs = |wanted: Role, is: Role| wanted != Role::Unknown && wanted != is;
        if differs(colocation.dependent_role, dependent_role.next_role)
            || differs(colocation.primary_role, primary_role.next_role)
        {
            return Affects::Nothing;
        }
        Affects::Location
    }

    /// The value of a colocation's attribute on a node.
    pub(crate) fn colocation_attribute(&self, node: NodeIndex, attribute: &str, resource: ResourceId) -> Option<&str> {
        // What is with a bundle cannot run on the bundle's own nodes, only on their hosts.
        let inside = self
            .model
            .is_bundled(resource)
            .then(|| self.bundle_around(resource).and_then(|bundle| self.bundle(bundle)))
            .flatten()
            .is_some_and(|bundle| bundle.child == Some(self.model.top_of(resource)));
        let target = if inside && self.is_replica_node(node) {
            Some("host")
        } else {
            self.resource(resource).meta("container-attribute-target")
        };
        self.model.node_attribute(node, attribute, target, Location::Assigned)
    }

    pub(crate) fn apply_this_with(&mut self, index: ColocationIndex, resource: ResourceId) {
        let colocation = self.colocations[index.index()].clone();
        let careful = colocation.dependent_role >= Role::Promoted
            || (colocation.score < Score::ZERO && colocation.score > Score::MINUS_INFINITY);
        let saved = careful.then(|| self.resource(resource).allowed.clone());
        if self.resource(colocation.primary).unassigned {
            self.assign(colocation.primary, None, true);
        }
        self.apply_colocation(resource, colocation.primary, &colocation, true);
        if let Some(saved) = saved
            && !self.any_available(&self.resource(resource).allowed)
        {
            self.resource_mut(resource).allowed = saved;
        }
    }

    /// Applies a colocation to scores or priority, first in the way of the dependent's kind, then of the primary's. Gives
    /// the change of the dependent's priority.
    pub(crate) fn apply_colocation(
        &mut self,
        dependent: ResourceId,
        primary: ResourceId,
        colocation: &Colocation,
        for_dependent: bool,
    ) -> Score {
        let kind = if for_dependent { &self.resource(dependent).kind } else { &self.resource(primary).kind };
        match (kind, for_dependent) {
            (Kind::Primitive, true) => self.apply_colocation(dependent, primary, colocation, false),
            (Kind::Primitive, false) => match self.affects(dependent, primary, colocation, false) {
                Affects::Role => self.apply_to_priority(dependent, primary, colocation),
                Affects::Location => {
                    self.apply_to_scores(dependent, primary, colocation);
                    Score::ZERO
                }
                Affects::Nothing => Score::ZERO,
            },
            (Kind::Group(_), true) => self.colocate_group(dependent, primary, colocation),
            (Kind::Group(_), false) => self.colocate_with_group(dependent, primary, colocation),
            (Kind::Clone(_) | Kind::Bundle(_), true) => Score::ZERO,
            (Kind::Clone(_), false) => self.colocate_with_clone(dependent, primary, colocation),
            (Kind::Bundle(_), false) => self.colocate_with_bundle(dependent, primary, colocation),
        }
    }

    fn apply_to_scores(&mut self, dependent: ResourceId, primary: ResourceId, colocation: &Colocation) {
        let place = self.resource(primary).assigned_to;
        if place.is_none() && colocation.score < Score::ZERO {
            return;
        }
        let wanted = place
            .and_then(|node| self.colocation_attribute(node, &colocation.attribute, primary))
            .map(str::to_ascii_lowercase);
        let share = colocation.share_for(dependent);
        let mut work = self.resource(dependent).allowed.clone();
        let mut shares = Vec::new();
        for (node, entry) in work.iter_mut() {
            let change = if place.is_none() {
                colocation.score.negated()
            } else {
                let value = self.colocation_attribute(node, &colocation.attribute, dependent);
                let same = value.map(str::to_ascii_lowercase) == wanted;
                match (same, colocation.score >= Score::INFINITY) {
                    (true, false) => colocation.score,
                    (false, true) => Score::MINUS_INFINITY,
                    _ => continue,
                }
            };
            entry.score = entry.score.plus(change);
            shares.push((node, change));
        }
        if colocation.score.is_mandatory() || self.any_available(&work) {
            self.resource_mut(dependent).allowed = work;
            for (node, change) in shares {
                self.placements.note(dependent, node, change, &share);
            }
        }
    }

    fn apply_to_priority(&mut self, dependent: ResourceId, primary: ResourceId, colocation: &Colocation) -> Score {
        let Some(dependent_node) = self.resource(dependent).assigned_to else { return Score::ZERO };
        let primary_node = self.resource(primary).assigned_to;
        if primary_node.is_some()
            && colocation.primary_role != Role::Unknown
            && colocation.primary_role != self.resource(self.with_role(primary)).next_role
        {
            return Score::ZERO;
        }
        let lower = |text: Option<&str>| text.map(str::to_ascii_lowercase);
        let here = lower(self.colocation_attribute(dependent_node, &colocation.attribute, dependent));
        let there =
            lower(primary_node.and_then(|node| self.colocation_attribute(node, &colocation.attribute, primary)));
        let delta = if here != there {
            if colocation.score == Score::INFINITY && colocation.dependent_role == Role::Promoted {
                colocation.score.negated()
            } else {
                return Score::ZERO;
            }
        } else if colocation.dependent_role == Role::Unpromoted {
            colocation.score.negated()
        } else {
            colocation.score
        };
        let subject = self.resource_mut(dependent);
        subject.priority = delta.plus(subject.priority);
        delta
    }

    /// The wishes of a dependent for where the primary should go.
    pub(crate) fn add_dependent_scores(&mut self, index: ColocationIndex, primary: ResourceId) {
        let colocation = self.colocations[index.index()].clone();
        if !self.has_influence(&colocation, None) {
            return;
        }
        let factor = colocation.factor();
        let collect = Collect { active: true, nonnegative: self.resource(primary).is_clone(), ..Collect::default() };
        let table = std::mem::take(&mut self.resource_mut(primary).allowed);
        let before = table.clone();
        // What is being decided keeps its table while others look at it.
        self.resource_mut(primary).allowed = before;
        let mut table = Some(table);
        self.add_colocated_scores(colocation.dependent, Some(primary), &mut table, Some(&colocation), factor, collect);
        if let Some(table) = table {
            self.note_shares(primary, &table, &colocation);
            self.resource_mut(primary).allowed = table;
        }
    }

    pub(crate) fn note_shares(&mut self, resource: ResourceId, table: &NodeTable, colocation: &Colocation) {
        let share = colocation.share_for(resource);
        let changes: Vec<_> = table
            .iter()
            .filter_map(|(node, entry)| {
                let before = self.resource(resource).allowed.get(node)?.score;
                (before != entry.score).then(|| (node, Score(entry.score.0.saturating_sub(before.0))))
            })
            .collect();
        for (node, change) in changes {
            self.placements.note(resource, node, change, &share);
        }
    }

    /// Adds to a table what nodes are worth to a resource and, through it, to those colocated with it. Without a table,
    /// begins with what they are worth to the resource itself.
    pub(crate) fn add_colocated_scores(
        &mut self,
        source: ResourceId,
        target: Option<ResourceId>,
        table: &mut Option<NodeTable>,
        colocation: Option<&Colocation>,
        factor: f32,
        collect: Collect,
    ) {
        if self.resource(source).updating_nodes {
            return;
        }
        if self.resource(source).is_group() {
            self.resource_mut(source).updating_nodes = true;
            let children = &self.resource(source).children;
            let member = if table.is_none() { children.last() } else { children.first() }.copied();
            if let Some(member) = member {
                self.add_colocated_scores(member, target, table, colocation, factor, collect);
                self.resource_mut(source).updating_nodes = false;
            }
            return;
        }
        self.resource_mut(source).updating_nodes = true;
        let mut collect = collect;
        let (mut work, target) = match (&*table, colocation) {
            (Some(table), Some(colocation)) => {
                let mut work = table.clone();
                self.add_matching_scores(&mut work, source, target, colocation, factor, collect.nonnegative);
                (work, target)
            }
            _ => (self.resource(source).allowed.clone(), Some(source)),
        };
        if self.any_available(&work) {
            let colocations =
                if collect.this_with { self.this_with_colocations(source) } else { self.with_this_colocations(source) };
            collect.active = true;
            for index in colocations {
                let constraint = self.colocations[index.index()].clone();
                #[expect(clippy::cast_precision_loss, reason = "scores are below 2^24")]
                let other_factor = factor * constraint.score.0 as f32 / Score::INFINITY.0 as f32;
                let other = if collect.this_with {
                    constraint.primary
                } else if self.has_influence(&constraint, None) {
                    constraint.dependent
                } else {
                    continue;
                };
                let mut next = Some(work);
                self.add_colocated_scores(other, target, &mut next, Some(&constraint), other_factor, collect);
                work = next.unwrap_or_default();
            }
        } else if collect.active {
            self.resource_mut(source).updating_nodes = false;
            return;
        }
        if collect.nonnegative {
            for (_, entry) in work.iter_mut() {
                if entry.score == SPOILED {
                    entry.score = Score(1);
                }
            }
        }
        *table = Some(work);
        self.resource_mut(source).updating_nodes = false;
    }

    fn add_matching_scores(
        &mut self,
        work: &mut NodeTable,
        source: ResourceId,
        target: Option<ResourceId>,
        colocation: &Colocation,
        factor: f32,
        only_positive: bool,
    ) {
        let nodes: Vec<NodeIndex> = work.nodes().collect();
        let source_table = self.table_for_matching(source, colocation);
        // A guest node may stand for its host: then the names of the nodes themselves say nothing.
        let by_name = colocation.attribute == "#uname"
            && [Some(source), target].into_iter().flatten().all(|resource| {
                !self.model.is_bundled(resource) && self.resource(resource).meta("container-attribute-target").is_none()
            });
        for node in nodes {
            // A remote node of which no status is known yet has no name to compare.
            let score = if by_name && self.model.node(node).attribute("#uname").is_some() {
                source_table
                    .get(node)
                    .filter(|_| self.model.node(node).is_usable())
                    .map_or(Score::MINUS_INFINITY, |entry| entry.score.max(Score::MINUS_INFINITY))
            } else {
                let value = self.colocation_attribute(node, &colocation.attribute, target.unwrap_or(source));
                let value = value.map(str::to_ascii_lowercase);
                self.best_score(&source_table, source, &colocation.attribute, value.as_deref())
            };
            if factor < 0.0 && score < Score::ZERO {
                let primary = self.resource(colocation.primary);
                let stays = primary.stickiness.0 >= -score.0;
                if stays || !self.has_influence(colocation, None) || !self.allowed_on_one(colocation.dependent) {
                    continue;
                }
            }
            let Some(entry) = work.get_mut(node) else { continue };
            if entry.score == SPOILED {
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "scores are below 2^24")]
            let wish = f64::from(factor * score.0 as f32);
            #[expect(clippy::cast_possible_truncation, reason = "the product is within the range of scores")]
            let mut delta = if wish < 0.0 { (wish - 0.5) as i32 } else { (wish + 0.5) as i32 };
            if delta == 0 && score != Score::ZERO {
                delta = if factor > 0.0 { 1 } else { -i32::from(factor < 0.0) };
            }
            let new = Score(delta).plus(entry.score);
            if only_positive && new < Score::ZERO && entry.score > Score::ZERO {
                entry.score = SPOILED;
            } else if !(only_positive && new < Score::ZERO && entry.score == Score::ZERO) {
                entry.score = new;
            }
        }
    }

    /// A later member of a group that has a colocation of its own stands for the group's location constraints too.
    fn table_for_matching(&mut self, source: ResourceId, colocation: &Colocation) -> NodeTable {
        let subject = self.resource(source);
        let group = subject.parent.filter(|parent| {
            let parent = self.resource(*parent);
            parent.is_group() && parent.children.first() != Some(&source)
        });
        let Some(group) = group.filter(|_| source == colocation.dependent && colocation.explicit) else {
            return subject.allowed.clone();
        };
        let saved = subject.allowed.clone();
        let exclusive = subject.exclusive_discovery;
        let placements = std::mem::take(&mut self.placements);
        for constraint in self.locations.clone().iter().rev().filter(|constraint| constraint.resource == group) {
            self.apply_location_to(source, constraint, false);
        }
        self.placements = placements;
        let subject = self.resource_mut(source);
        subject.exclusive_discovery = exclusive;
        std::mem::replace(&mut subject.allowed, saved)
    }

    fn best_score(&self, table: &NodeTable, source: ResourceId, attribute: &str, value: Option<&str>) -> Score {
        let fits = |node: NodeIndex| {
            let own = self.colocation_attribute(node, attribute, source).map(str::to_ascii_lowercase);
            self.model.node(node).is_usable() && own.as_deref() == value
        };
        table
            .iter()
            .filter(|(node, _)| fits(*node))
            .map(|(_, entry)| entry.score)
            .max()
            .unwrap_or(Score::MINUS_INFINITY)
            .max(Score::MINUS_INFINITY)
    }

    fn allowed_on_one(&self, resource: ResourceId) -> bool {
        self.resource(resource).allowed.iter().filter(|(_, entry)| entry.score >= Score::ZERO).count() == 1
    }

    /// Forbids the dependent all nodes but these.
    pub(crate) fn intersect_nodes(
        &mut self,
        dependent: ResourceId,
        colocation: &Colocation,
        nodes: &[(NodeIndex, Score)],
        merge: bool,
    ) {
        let share = colocation.share_for(dependent);
        let mut changes = Vec::new();
        for (node, entry) in self.model.resource_mut(dependent).allowed.iter_mut() {
            let change = match nodes.iter().find(|(other, _)| *other == node) {
                None => Score::MINUS_INFINITY,
                Some((_, score)) if merge => *score,
                Some(_) => continue,
            };
            entry.score = entry.score.plus(change);
            changes.push((node, change));
        }
        for (node, change) in changes {
            self.placements.note(dependent, node, change, &share);
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

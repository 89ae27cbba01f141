//! What colocations do to the dependent once the primary is placed: to its scores, or to its chance to be promoted.

use super::colocation::{Colocation, ColocationIndex};
use crate::model::{Kind, Location, NodeIndex, ResourceId, Role, Score};
use crate::planner::Planner;

/// What a colocation decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affects {
    Nothing,
    Location,
    Role,
}

impl Planner {
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
        let mark = self.placements.mark();
        if self.resource(colocation.primary).unassigned {
            self.assign(colocation.primary, None, true);
        }
        self.apply_colocation(resource, colocation.primary, &colocation, true);
        if let Some(saved) = saved
            && !self.any_available(&self.resource(resource).allowed)
        {
            self.resource_mut(resource).allowed = saved;
            self.placements.forget_after(mark, |other| other == resource);
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

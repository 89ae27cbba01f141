//! What those that are colocated with a resource wish for it: before it is placed, the nodes that they like count for it too,
//! and the nodes that those like that are colocated with them, and so on.

use super::colocation::{Colocation, ColocationIndex};
use crate::model::{NodeEntry, NodeIndex, NodeTable, ResourceId, Score};
use crate::planner::Planner;
use std::collections::BTreeMap;

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

/// One resource on the way through those that are colocated.
struct Visit {
    source: ResourceId,
    /// The group for which the source stands.
    group: Option<ResourceId>,
    target: Option<ResourceId>,
    table: NodeTable,
    factor: f32,
    collect: Collect,
    colocations: Vec<ColocationIndex>,
    /// The place of the colocation that comes next.
    next: usize,
}

/// Stands for a node that a wish would have made forbidden: worth 1 at the end.
const SPOILED: Score = Score(-100_000_000);

impl Planner {
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

    /// Notes by how much a colocation changed what nodes are worth to a resource. Nothing that is added brings a score back from
    /// infinity: where a colocation did (it may not ban a node altogether), what the node is worth now stands in place of all before it.
    pub(crate) fn note_shares(&mut self, resource: ResourceId, table: &NodeTable, colocation: &Colocation) {
        let share = colocation.share_for(resource);
        for (node, entry) in table.iter() {
            let Some(before) = self.model.resource(resource).allowed.get(node).map(|entry| entry.score) else {
                continue;
            };
            if before == entry.score {
                continue;
            }
            let change = Score(entry.score.0.saturating_sub(before.0));
            if before.plus(change) == entry.score {
                self.placements.note(resource, node, change, &share);
            } else {
                self.placements.note_instead(resource, node, entry.score, &share);
            }
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
        let mut under_way = match self.begin_visit(source, target, table.take(), colocation, factor, collect) {
            Ok(visit) => vec![visit],
            Err(unchanged) => {
                *table = unchanged;
                return;
            }
        };
        while let Some(visit) = under_way.last_mut() {
            let Some(&index) = visit.colocations.get(visit.next) else {
                let done = under_way.pop().map(|visit| self.end_visit(visit));
                match under_way.last_mut() {
                    Some(outer) => outer.table = done.unwrap_or_default(),
                    None => *table = done,
                }
                continue;
            };
            visit.next += 1;
            let constraint = self.colocations[index.index()].clone();
            let other = if visit.collect.this_with {
                constraint.primary
            } else if self.has_influence(&constraint, None) {
                constraint.dependent
            } else {
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "scores are below 2^24")]
            let factor = visit.factor * constraint.score.0 as f32 / Score::INFINITY.0 as f32;
            let collect = Collect { active: true, ..visit.collect };
            let so_far = Some(std::mem::take(&mut visit.table));
            match self.begin_visit(other, visit.target, so_far, Some(&constraint), factor, collect) {
                Ok(next) => under_way.push(next),
                Err(unchanged) => visit.table = unchanged.unwrap_or_default(),
            }
        }
    }

    /// Adds what nodes are worth to one resource; of a group, to the member that stands for it. `Err` with the table as it
    /// was where the resource is being looked at already, or is not to leave the target without a node.
    fn begin_visit(
        &mut self,
        source: ResourceId,
        target: Option<ResourceId>,
        table: Option<NodeTable>,
        colocation: Option<&Colocation>,
        factor: f32,
        collect: Collect,
    ) -> Result<Visit, Option<NodeTable>> {
        if self.resource(source).updating_nodes {
            return Err(table);
        }
        let (mut source, mut group) = (source, None);
        if self.resource(source).is_group() {
            let children = &self.resource(source).children;
            let member = if table.is_none() { children.last() } else { children.first() }.copied();
            let Some(member) = member.filter(|member| !self.resource(*member).updating_nodes) else {
                return Err(table);
            };
            self.resource_mut(source).updating_nodes = true;
            (source, group) = (member, Some(source));
        }
        let (sum, target) = match (&table, colocation) {
            (Some(table), Some(colocation)) => {
                let mut sum = table.clone();
                self.add_matching_scores(&mut sum, source, target, colocation, factor, collect.nonnegative);
                (sum, target)
            }
            _ => (self.resource(source).allowed.clone(), Some(source)),
        };
        let mut colocations = Vec::new();
        if self.any_available(&sum) {
            colocations =
                if collect.this_with { self.this_with_colocations(source) } else { self.with_this_colocations(source) };
        } else if collect.active {
            if let Some(group) = group {
                self.resource_mut(group).updating_nodes = false;
            }
            return Err(table);
        }
        self.resource_mut(source).updating_nodes = true;
        Ok(Visit { source, group, target, table: sum, factor, collect, colocations, next: 0 })
    }

    fn end_visit(&mut self, mut visit: Visit) -> NodeTable {
        let spoiled = |(_, entry): (NodeIndex, &NodeEntry)| entry.score == SPOILED;
        if visit.collect.nonnegative && visit.table.iter().any(spoiled) {
            for (_, entry) in visit.table.iter_mut() {
                if entry.score == SPOILED {
                    entry.score = Score(1);
                }
            }
        }
        for resource in [Some(visit.source), visit.group].into_iter().flatten() {
            self.resource_mut(resource).updating_nodes = false;
        }
        visit.table
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
        let by_name = &*colocation.attribute == "#uname"
            && (!self.model.have_remote_nodes
                || [Some(source), target].into_iter().flatten().all(|resource| {
                    !self.model.is_bundled(resource)
                        && self.resource(resource).meta("container-attribute-target").is_none()
                }));
        let mut by_value = None;
        for node in nodes {
            let score = if by_name && self.node_ranks.has_name(node) {
                source_table
                    .get(node)
                    .filter(|_| self.model.node(node).is_usable())
                    .map_or(Score::MINUS_INFINITY, |entry| entry.score.max(Score::MINUS_INFINITY))
            } else {
                let best =
                    by_value.get_or_insert_with(|| self.best_scores(&source_table, source, &colocation.attribute));
                let value = self.colocation_attribute(node, &colocation.attribute, target.unwrap_or(source));
                best.get(&value.map(str::to_ascii_lowercase)).copied().unwrap_or(Score::MINUS_INFINITY)
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

    /// The best score of a usable node by the value of an attribute (in any case; none for nodes without it).
    fn best_scores(&self, table: &NodeTable, source: ResourceId, attribute: &str) -> BTreeMap<Option<String>, Score> {
        let mut best = BTreeMap::new();
        for (node, entry) in table.iter().filter(|(node, _)| self.model.node(*node).is_usable()) {
            let value = self.colocation_attribute(node, attribute, source).map(str::to_ascii_lowercase);
            let known = best.entry(value).or_insert(Score::MINUS_INFINITY);
            *known = entry.score.max(*known);
        }
        best
    }

    fn allowed_on_one(&self, resource: ResourceId) -> bool {
        self.resource(resource).allowed.iter().filter(|(_, entry)| entry.score >= Score::ZERO).count() == 1
    }
}

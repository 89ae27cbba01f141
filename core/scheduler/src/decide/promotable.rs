//! A promotable clone: which of its instances are promoted.

use super::action::{ActionFlags, Relation, Task};
use super::colocated_scores::Collect;
use super::colocation::Colocation;
use crate::ScoreLine;
use crate::model::{Kind, Location, NoQuorumPolicy, NodeIndex, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::values;
use std::cmp::Ordering as Order;

impl Planner {
    /// The agent's wish to be promoted on a node, and whether it has any. The sum of a group's members.
    fn promotion_score(&self, resource: ResourceId, node: NodeIndex) -> (Score, bool) {
        let subject = self.resource(resource);
        if !subject.children.is_empty() {
            let wishes = subject.children.iter().map(|child| self.promotion_score(*child, node));
            return wishes.fold((Score::ZERO, false), |(sum, any), (score, given)| {
                (Score(sum.0.saturating_add(score.0)), any || given)
            });
        }
        if !self.promotion_score_applies(resource, node) {
            return (Score::ZERO, false);
        }
        let name = subject.history_id.as_deref().unwrap_or(&subject.id);
        let of = if subject.unassigned { Location::Current } else { Location::Assigned };
        let target = subject.meta("container-attribute-target");
        let wish = |name: &str| self.model.node_attribute(node, &format!("master-{name}"), target, of);
        let base = values::without_instance(&subject.id);
        let value = wish(name).or_else(|| if !subject.unique && base != subject.id { wish(base) } else { None });
        match value {
            Some(text) => (values::score(text, &self.model.options.health_scores).unwrap_or_default(), true),
            None => (Score::ZERO, false),
        }
    }

    /// The wish on a node counts for this instance: it is active there, or nobody is, and it is known there.
    fn promotion_score_applies(&self, resource: ResourceId, node: NodeIndex) -> bool {
        let subject = self.resource(resource);
        let top = self.model.top_of(resource);
        let base = values::without_instance(&subject.id);
        let allowed = subject.allowed.get(node).is_some_and(|entry| entry.score >= Score::ZERO);
        if !subject.unique {
            let instances = &self.resource(top).children;
            let below = |instance: &ResourceId| self.find_in_instance_where(*instance, base, &|_| true);
            let active = instances.iter().find_map(|instance| {
                self.find_in_instance_where(*instance, base, &|found| found.active_on.contains(&node))
            });
            if active == Some(resource) {
                return allowed;
            }
            let known = instances.iter().filter_map(below).any(|found| self.resource(found).known_on.contains(&node));
            if active.is_none() && known {
                return allowed;
            }
        }
        if subject.active_on.is_empty() && subject.known_on.is_empty() {
            return allowed;
        }
        (subject.known_on.contains(&node) || subject.active_on.contains(&node)) && allowed
    }

    fn find_in_instance_where(
        &self,
        instance: ResourceId,
        id: &str,
        fits: &dyn Fn(&crate::model::Resource) -> bool,
    ) -> Option<ResourceId> {
        self.model.find_below(instance, &|resource| (resource.id == id || resource.config_id == id) && fits(resource))
    }

    /// Adds the agents' wishes to what nodes are worth to the instances.
    pub(crate) fn add_promotion_scores(&mut self, clone: ResourceId) {
        match &mut self.resource_mut(clone).kind {
            Kind::Clone(settings) if !settings.promotion_scores_added => settings.promotion_scores_added = true,
            _ => return,
        }
        for instance in self.resource(clone).children.clone() {
            let nodes: Vec<NodeIndex> = self.resource(instance).allowed.nodes().collect();
            let share = Share::new(Source::Promotion, &self.resource(instance).id);
            for node in nodes {
                if !self.is_available(node, None) {
                    continue;
                }
                let (score, _) = self.promotion_score(instance, node);
                let subject = self.model.resource_mut(instance);
                if score > Score::ZERO
                    && let Some(entry) = subject.allowed.get_mut(node)
                {
                    entry.score = entry.score.plus(score);
                    self.placements.note(instance, node, score, &share);
                }
                subject.priority = subject.priority.max(score);
            }
        }
    }

    /// Decides which instances are promoted.
    pub(crate) fn set_instance_roles(&mut self, clone: ResourceId) {
        for (_, entry) in self.resource_mut(clone).allowed.iter_mut() {
            entry.count = 0;
        }
        for instance in self.resource(clone).children.clone() {
            self.set_promotion_priority(clone, instance);
        }
        self.sort_promotable(clone);
        let mut promoted = 0;
        for instance in self.resource(clone).children.clone() {
            self.set_instance_role(clone, instance, &mut promoted);
        }
    }

    fn set_promotion_priority(&mut self, clone: ResourceId, instance: ResourceId) {
        if self.model.role_now(instance) == Role::Started {
            self.set_now_unpromoted(instance);
        }
        let places = self.model.locations(instance, Location::Assigned);
        if places.len() > 1 {
            let id = self.resource(instance).id.clone();
            self.problem(&id, "a group that is not colocated cannot be promoted");
        }
        let [chosen] = places[..] else { return };
        let next = self.model.role_next(instance);
        match next {
            Role::Started | Role::Unknown => {
                let (score, given) = self.promotion_score(instance, chosen);
                self.resource_mut(instance).priority = if given { score } else { Score(-1) };
            }
            Role::Unpromoted | Role::Stopped => self.resource_mut(instance).priority = Score::MINUS_INFINITY,
            Role::Promoted => {}
        }
        for owner in [Some(instance), Some(clone), self.resource(clone).parent].into_iter().flatten() {
            let matching: Vec<Score> = self
                .locations
                .iter()
                .rev()
                .filter(|constraint| constraint.resource == owner && constraint.role == Role::Promoted)
                .filter_map(|constraint| constraint.nodes.iter().find(|(node, _)| *node == chosen))
                .map(|(_, score)| *score)
                .collect();
            for score in matching {
                let subject = self.resource_mut(instance);
                subject.priority = subject.priority.plus(score);
            }
        }
        for index in self.this_with_colocations(instance) {
            let colocation = self.colocations[index.index()].clone();
            self.apply_colocation(instance, colocation.primary, &colocation, true);
        }
        let subject = self.resource_mut(instance);
        subject.promotion_score = if next == Role::Promoted { Score::INFINITY } else { subject.priority };
    }

    fn set_now_unpromoted(&mut self, resource: ResourceId) {
        let subject = self.resource_mut(resource);
        if subject.role == Role::Started {
            subject.role = Role::Unpromoted;
        }
        for child in subject.children.clone() {
            self.set_now_unpromoted(child);
        }
    }

    fn sort_promotable(&mut self, clone: ResourceId) {
        match &mut self.resource_mut(clone).kind {
            Kind::Clone(settings) if !settings.promotion_constrained => settings.promotion_constrained = true,
            _ => return,
        }
        self.resource_mut(clone).updating_nodes = true;
        let instances = self.resource(clone).children.clone();
        for &instance in &instances {
            let wish = self.resource(instance).promotion_score;
            if wish >= Score::ZERO
                && let Some(node) = self.model.sole_location(instance, Location::Assigned)
                && let Some(entry) = self.model.resource_mut(clone).allowed.get_mut(node)
            {
                entry.score = wish.plus(entry.score);
                let share = Share::new(Source::Promotion, &self.resource(instance).id);
                self.placements.note(clone, node, wish, &share);
            }
        }
        for index in self.with_this_colocations(clone) {
            let colocation = self.colocations[index.index()].clone();
            if colocation.primary_role != Role::Promoted || !self.has_influence(&colocation, None) {
                continue;
            }
            let mut table = Some(self.resource(clone).allowed.clone());
            let collect = Collect { active: true, nonnegative: true, ..Collect::default() };
            let (other, factor) = (colocation.dependent, colocation.factor());
            self.add_colocated_scores(other, Some(clone), &mut table, Some(&colocation), factor, collect);
            if let Some(table) = table {
                self.note_shares(clone, &table, &colocation);
                self.resource_mut(clone).allowed = table;
            }
        }
        self.require_promotion_tickets(clone);
        for &instance in &instances {
            let chosen = self.model.sole_location(instance, Location::Assigned);
            let worth = chosen.and_then(|node| self.resource(clone).allowed.get(node)).map(|entry| entry.score);
            let subject = self.resource_mut(instance);
            if !subject.managed && subject.next_role == Role::Promoted {
                subject.promotion_score = Score::INFINITY;
            } else if chosen.is_none() {
                subject.promotion_score = Score::MINUS_INFINITY;
            } else if subject.promotion_score >= Score::ZERO
                && let Some(worth) = worth
            {
                subject.promotion_score = worth;
            }
        }
        let mut sorted = instances;
        values::sort_with(&mut sorted, &mut |a, b| self.compare_promotable(*a, *b));
        let subject = self.resource_mut(clone);
        subject.children = sorted;
        subject.updating_nodes = false;
    }

    fn compare_promotable(&mut self, a: ResourceId, b: ResourceId) -> Order {
        let by_score = self.resource(b).promotion_score.cmp(&self.resource(a).promotion_score);
        let by_role = by_score.then_with(|| self.model.role_now(b).cmp(&self.model.role_now(a)));
        if by_role == Order::Equal { self.compare_instances(a, b) } else { by_role }
    }

    /// The node where an instance may be promoted.
    fn promotion_node(&self, clone: ResourceId, instance: ResourceId) -> Option<NodeIndex> {
        let subject = self.resource(instance);
        for &child in &subject.children {
            self.promotion_node(clone, child)?;
        }
        let node = self.model.sole_location(instance, Location::Assigned)?;
        if !subject.managed {
            if self.model.role_now(instance) != Role::Promoted {
                return None;
            }
        } else if subject.priority < Score::ZERO || !self.is_available(node, None) || !self.guest_has_host(node) {
            return None;
        }
        let entry = self.resource(clone).allowed.get(node)?;
        let limit = self.resource(clone).clone_settings().map_or(1, |settings| settings.promoted_node_max);
        let full = i32::try_from(entry.count).unwrap_or(i32::MAX) >= limit;
        if full && subject.managed { None } else { Some(node) }
    }

    fn set_instance_role(&mut self, clone: ResourceId, instance: ResourceId, promoted: &mut i32) {
        let node = self.model.sole_location(instance, Location::Assigned);
        let subject = self.resource(instance);
        self.scores.push(ScoreLine::Promotion {
            resource: subject.id.clone(),
            node: node.map(|node| self.model.node(node).name.clone()),
            score: subject.promotion_score,
        });
        let subject = self.resource(instance);
        let limit = self.resource(clone).clone_settings().map_or(1, |settings| settings.promoted_max);
        let may = subject.promotion_score >= Score::ZERO && (*promoted < limit || !self.resource(clone).managed);
        let chosen = if may { self.promotion_node(clone, instance) } else { None };
        let frozen = subject.role < Role::Promoted
            && !self.model.quorate
            && self.model.options.no_quorum_policy == NoQuorumPolicy::Freeze;
        let Some(chosen) = chosen.filter(|_| !frozen) else {
            self.set_next_unpromoted(instance);
            return;
        };
        if let Some(entry) = self.resource_mut(clone).allowed.get_mut(chosen) {
            entry.count += 1;
        }
        self.set_next_promoted(instance);
        *promoted += 1;
    }

    fn set_next_unpromoted(&mut self, resource: ResourceId) {
        let anywhere = !self.model.locations(resource, Location::Assigned).is_empty();
        let subject = self.resource_mut(resource);
        subject.next_role = if anywhere { Role::Unpromoted } else { Role::Stopped };
        for child in subject.children.clone() {
            self.set_next_unpromoted(child);
        }
    }

    fn set_next_promoted(&mut self, resource: ResourceId) {
        let subject = self.resource_mut(resource);
        if subject.next_role == Role::Unknown {
            subject.next_role = Role::Promoted;
        }
        for child in subject.children.clone() {
            self.set_next_promoted(child);
        }
    }

    /// The actions of a promotable clone beside those of every clone.
    pub(crate) fn create_promotable_actions(&mut self, clone: ResourceId) {
        let (mut promoting, mut demoting) = (false, false);
        for instance in self.resource(clone).children.clone() {
            self.create_actions(instance);
            self.note_role_change(instance, &mut promoting, &mut demoting);
        }
        let promote = self.pseudo_action(clone, Task::Promote, !promoting, true);
        let promoted = self.pseudo_action(clone, Task::Promoted, !promoting, true);
        self.action_mut(promoted).priority = Score::INFINITY.0;
        let demote = self.pseudo_action(clone, Task::Demote, !demoting, true);
        let demoted = self.pseudo_action(clone, Task::Demoted, !demoting, true);
        self.action_mut(demoted).priority = Score::INFINITY.0;
        self.create_promotion_notifications(clone, (promote, promoted), (demote, demoted));
        let priority = self.resource(clone).priority;
        for instance in self.resource(clone).children.clone() {
            self.resource_mut(instance).priority = priority;
        }
    }

    fn note_role_change(&self, resource: ResourceId, promoting: &mut bool, demoting: &mut bool) {
        let subject = self.resource(resource);
        for &child in &subject.children {
            self.note_role_change(child, promoting, demoting);
        }
        if subject.children.is_empty() {
            for &index in &self.actions_of[resource.index()] {
                let action = self.action(index);
                if !action.is(ActionFlags::OPTIONAL) {
                    *promoting |= action.task == Task::Promote;
                    *demoting |= action.task == Task::Demote;
                }
            }
        }
    }

    /// What goes down as a whole goes down before anything of it comes up again.
    pub(crate) fn order_promotable_restart(&mut self, collection: ResourceId) {
        for (first, then) in [
            (Task::Stopped, Task::Start),
            (Task::Stopped, Task::Promote),
            (Task::Demoted, Task::Stop),
            (Task::Demoted, Task::Start),
            (Task::Demoted, Task::Promote),
            (Task::Running, Task::Promote),
            (Task::Demote, Task::Demoted),
        ] {
            self.order_tasks(collection, first, collection, then, Relation::ORDERED);
        }
    }

    pub(crate) fn order_promotable_instances(&mut self, clone: ResourceId) {
        let ordered = Relation::ORDERED;
        self.order_promotable_restart(clone);
        let in_order = self.resource(clone).clone_settings().is_some_and(|settings| settings.ordered);
        let mut previous = None;
        for instance in self.resource(clone).children.clone() {
            self.order_tasks(instance, Task::Demote, instance, Task::Promote, ordered);
            self.order_tasks(clone, Task::Promote, instance, Task::Promote, ordered);
            self.order_tasks(instance, Task::Promote, clone, Task::Promoted, ordered);
            if let Some(previous) = previous.filter(|_| in_order) {
                self.order_tasks(previous, Task::Promote, instance, Task::Promote, ordered);
            }
            let (first, then) = (Relation::THEN_IMPLIES_FIRST_GRAPHED, Relation::FIRST_IMPLIES_THEN_GRAPHED);
            self.order_tasks(clone, Task::Demote, instance, Task::Demote, first);
            self.order_tasks(instance, Task::Demote, clone, Task::Demoted, then);
            if let Some(previous) = previous.filter(|_| in_order) {
                self.order_tasks(instance, Task::Demote, previous, Task::Demote, ordered);
            }
            previous = Some(instance);
        }
    }

    /// Where instances of the wanted role are, the dependent may go.
    pub(crate) fn place_with_promotable(&mut self, dependent: ResourceId, clone: ResourceId, colocation: &Colocation) {
        let mandatory = colocation.score >= Score::INFINITY;
        let mut nodes = Vec::new();
        for instance in self.resource(clone).children.clone() {
            let Some(node) = self.model.sole_location(instance, Location::Assigned) else { continue };
            if self.model.role_next(instance) != colocation.primary_role {
                continue;
            }
            if !mandatory {
                let wanted = self.colocation_attribute(node, &colocation.attribute, clone).map(str::to_ascii_lowercase);
                let share = colocation.share_for(dependent);
                let candidates: Vec<NodeIndex> = self.resource(dependent).allowed.nodes().collect();
                for candidate in candidates {
                    let value = self.colocation_attribute(candidate, &colocation.attribute, dependent);
                    if value.map(str::to_ascii_lowercase) == wanted
                        && let Some(entry) = self.model.resource_mut(dependent).allowed.get_mut(candidate)
                    {
                        entry.score = entry.score.plus(colocation.score);
                        self.placements.note(dependent, candidate, colocation.score, &share);
                    }
                }
            }
            let placed = self.model.find_below(instance, &|resource| resource.assigned_to.is_some());
            let score = placed.map_or(Score::ZERO, |placed| self.resource(placed).assigned_score);
            nodes.insert(0, (node, score));
        }
        if mandatory && (colocation.dependent_role != Role::Promoted || colocation.primary_role != Role::Promoted) {
            self.intersect_nodes(dependent, colocation, &nodes, true);
        }
    }

    /// A promoted dependent is the more likely promoted where the primary is.
    pub(crate) fn prioritize_with_promotable(
        &mut self,
        dependent: ResourceId,
        clone: ResourceId,
        colocation: &Colocation,
    ) -> Score {
        let attribute = Some(&*colocation.attribute);
        let partner = self.find_compatible_instance(dependent, clone, colocation.primary_role, false, attribute);
        let mandatory = colocation.score >= Score::INFINITY;
        let subject = self.resource_mut(dependent);
        if partner.is_some() {
            subject.priority = subject.priority.plus(colocation.score);
            colocation.score
        } else if mandatory {
            subject.priority = Score::MINUS_INFINITY;
            Score::MINUS_INFINITY
        } else {
            Score::ZERO
        }
    }
}

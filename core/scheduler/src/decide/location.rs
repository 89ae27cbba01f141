//! `<rsc_location>`: which nodes a resource likes.

use crate::model::{Discovery, Location, NodeIndex, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::read::attributes::RuleInput;
use crate::values;
use hakudo_cib::Element;
use std::sync::Arc;

/// What a constraint, or a rule in one, says of nodes.
#[derive(Clone, Debug)]
pub(crate) struct LocationConstraint {
    pub(crate) id: Arc<str>,
    pub(crate) source: Source,
    pub(crate) resource: ResourceId,
    /// Only for this role; `Unknown` for any.
    pub(crate) role: Role,
    pub(crate) discovery: Discovery,
    pub(crate) nodes: Vec<(NodeIndex, Score)>,
}

impl Planner {
    pub(crate) fn read_location_constraint(&mut self, constraint: &Element) {
        let Some(mut sets) = self.read_sets(constraint) else { return };
        if sets.is_empty()
            && let Some(id) = constraint.attribute("rsc")
            && self.constraint_resource(id).is_none()
        {
            match self.as_set(constraint, "rsc", false) {
                Ok(set) => {
                    sets.extend(set.map(|mut set| {
                        set.role = constraint.attribute("role").map(str::to_owned);
                        set
                    }));
                }
                Err(()) => return,
            }
        }
        if !sets.is_empty() {
            for set in sets {
                for id in &set.members {
                    let Some(member) = self.member(&set, id) else { return };
                    self.locate(constraint, member, set.role.as_deref(), set.score.as_deref(), &[]);
                }
            }
            return;
        }
        if let Some(id) = constraint.attribute("rsc") {
            match self.constraint_resource(id) {
                Some(resource) => self.locate(constraint, resource, None, None, &[]),
                None => {
                    let message = format!("there is no resource '{id}'; the constraint is ignored");
                    self.problem(constraint.id(), message);
                }
            }
        }
        if let Some(pattern) = constraint.attribute("rsc-pattern") {
            self.locate_by_pattern(constraint, pattern);
        }
    }

    fn locate_by_pattern(&mut self, constraint: &Element, pattern: &str) {
        let (pattern, inverted) = match pattern.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        let Some(pattern) = crate::pattern::Pattern::new(pattern) else {
            return self.problem(constraint.id(), "rsc-pattern is no valid pattern; the constraint is ignored");
        };
        for at in 0..self.model.top.len() {
            let resource = self.model.top[at];
            let matched = pattern.find(&self.resource(resource).id);
            match matched {
                Some(parts) if !inverted => self.locate(constraint, resource, None, None, &parts),
                None if inverted => self.locate(constraint, resource, None, None, &[]),
                _ => {}
            }
        }
    }

    /// What the constraint says for one resource: a node and a score, or a rule.
    fn locate(
        &mut self,
        constraint: &Element,
        resource: ResourceId,
        role: Option<&str>,
        score: Option<&str>,
        submatches: &[String],
    ) {
        let id = constraint.id();
        let discovery = self.discovery(id, constraint.attribute("resource-discovery"));
        let score = score.or_else(|| constraint.attribute("score"));
        let (Some(node), Some(score)) = (constraint.attribute("node"), score) else {
            if let Some(rule) = crate::read::attributes::shared_children(constraint, "rule").next()
                && let Some(rule) = self.resolve(rule)
            {
                self.locate_by_rule(&rule, resource, discovery, submatches);
            }
            return;
        };
        let Some(node) = self.model.node_named(node) else { return };
        let Some(score) = values::score(score, &self.model.options.health_scores) else {
            return self.problem(id, format!("'{score}' is no score; the constraint is ignored"));
        };
        let Some(role) = self.location_role(id, role.or_else(|| constraint.attribute("role"))) else { return };
        self.add_location(id, Source::Location, resource, role, discovery, vec![(node, score)]);
    }

    fn locate_by_rule(&mut self, rule: &Element, resource: ResourceId, discovery: Discovery, submatches: &[String]) {
        let id = rule.id();
        let Some(role) = self.location_role(id, rule.attribute("role")) else { return };
        let colours = self.model.options.health_scores;
        let attribute = rule.attribute("score-attribute").map(|name| crate::pattern::fill_in(name, submatches));
        let fixed = match (&attribute, rule.attribute("score")) {
            (Some(_), _) => Score::ZERO,
            (None, Some(text)) => match values::score(text, &colours) {
                Some(score) => score,
                None => return self.problem(id, format!("'{text}' is no score; the rule is ignored")),
            },
            (None, None) => return self.problem(id, "a location rule without score is ignored"),
        };
        let meta = self.resource(resource).meta.clone();
        let target = meta.get("container-attribute-target").map(String::as_str);
        let mut nodes = Vec::new();
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            let attributes = self.model.node(node).attributes.clone();
            let parameters = self.parameters(resource, Some(node));
            let input = RuleInput {
                node_attributes: Some(&attributes),
                parameters: Some(&parameters),
                meta: Some(&meta),
                submatches,
                ..RuleInput::default()
            };
            if !self.rule_passes(rule, &input) {
                continue;
            }
            let score = match &attribute {
                None => Some(fixed),
                Some(name) => self
                    .model
                    .node_attribute(node, name, target, Location::Current)
                    .filter(|text| !text.is_empty())
                    .and_then(|text| values::score(text, &colours)),
            };
            nodes.extend(score.map(|score| (node, score)));
        }
        nodes.reverse();
        self.add_location(id, Source::Location, resource, role, discovery, nodes);
    }

    fn discovery(&mut self, id: &str, text: Option<&str>) -> Discovery {
        match text.map(str::to_ascii_lowercase).as_deref() {
            None | Some("always") => Discovery::Always,
            Some("never") => Discovery::Never,
            Some("exclusive") => Discovery::Exclusive,
            Some(other) => {
                self.problem(id, format!("resource-discovery '{other}' is not valid"));
                Discovery::Always
            }
        }
    }

    /// The role that a location constraint is for; one that is for running resources is for all.
    fn location_role(&mut self, id: &str, role: Option<&str>) -> Option<Role> {
        let Some(text) = role else { return Some(Role::Unknown) };
        match Role::parse(text) {
            Role::Unknown => {
                self.problem(id, format!("the role '{text}' is not valid; the constraint is ignored"));
                None
            }
            Role::Started | Role::Unpromoted => Some(Role::Unknown),
            role => Some(role),
        }
    }

    pub(crate) fn add_location(
        &mut self,
        id: &str,
        source: Source,
        resource: ResourceId,
        role: Role,
        discovery: Discovery,
        nodes: Vec<(NodeIndex, Score)>,
    ) {
        if discovery == Discovery::Exclusive {
            self.resource_mut(resource).exclusive_discovery = true;
        }
        self.locations.push(LocationConstraint { id: id.into(), source, resource, role, discovery, nodes });
    }

    /// Applies all location constraints, the last one first.
    pub(crate) fn apply_locations(&mut self) {
        for constraint in self.locations.clone().iter().rev() {
            self.apply_location(constraint.resource, constraint, false);
        }
    }

    /// Applies a constraint to a resource and what is in it. Of a colocated group, only the first member takes the score,
    /// because the others follow it.
    pub(crate) fn apply_location(&mut self, resource: ResourceId, constraint: &LocationConstraint, reset: bool) {
        self.apply_location_to(resource, constraint, reset);
        if let Some(bundle) = self.bundle(resource) {
            let parts = bundle.replicas.iter().flat_map(|replica| [Some(replica.container), replica.ip]);
            let inside = bundle.child.filter(|_| constraint.role > Role::Started);
            for part in parts.chain([inside]).flatten().collect::<Vec<_>>() {
                self.apply_location(part, constraint, reset);
            }
            return;
        }
        let subject = self.resource(resource);
        let colocated = matches!(subject.kind, crate::model::Kind::Group(group) if group.colocated);
        for (at, child) in subject.children.clone().into_iter().enumerate() {
            self.apply_location(child, constraint, reset || (colocated && at > 0));
        }
    }

    /// Applies a constraint to one resource.
    pub(crate) fn apply_location_to(&mut self, resource: ResourceId, constraint: &LocationConstraint, reset: bool) {
        if constraint.role > Role::Unknown && constraint.role != self.resource(resource).next_role {
            return;
        }
        let share = Share::new(constraint.source, &constraint.id);
        for &(node, score) in &constraint.nodes {
            let score = if reset { Score::ZERO } else { score };
            let base = self.model.node(node).base;
            let subject = self.model.resource_mut(resource);
            match subject.allowed.get_mut(node) {
                Some(entry) => entry.score = entry.score.plus(score),
                None => subject.allowed.insert(node, crate::model::NodeEntry { score, ..base }),
            }
            if let Some(entry) = subject.allowed.get_mut(node)
                && entry.discovery < constraint.discovery
            {
                entry.discovery = constraint.discovery;
                subject.exclusive_discovery |= constraint.discovery == Discovery::Exclusive;
            }
            if score != Score::ZERO {
                self.placements.note(resource, node, score, &share);
            }
        }
    }
}

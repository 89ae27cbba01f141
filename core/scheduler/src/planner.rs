//! The workplace of one decision: the model, and beside it what is known only while deciding.

use crate::decide::action::{Action, ActionFlags, ActionIndex, OpKey, Relation, Task};
use crate::decide::colocation::{Colocation, ColocationIndex};
use crate::decide::config_changes::DeferredCheck;
use crate::decide::digest::KnownDigests;
use crate::decide::instances::InstanceActions;
use crate::decide::location::LocationConstraint;
use crate::decide::node_order::NodeRanks;
use crate::decide::notify::CloneNotifications;
use crate::decide::ordering::Ordering;
use crate::decide::relations::Updates;
use crate::decide::tickets::TicketConstraint;
use crate::model::{Model, NodeIndex, Problem, Resource, ResourceId, Score};
use crate::placement::{Placements, Share};
use crate::read::history::{NodeHistory, RecordedIds};
use crate::read::resources::Source;
use crate::{Purpose, ScoreLine};
use hakudo_cib::Element;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The parameters of each resource on each node (or on none), once they were needed.
type ParameterCache = BTreeMap<(ResourceId, Option<NodeIndex>), Arc<BTreeMap<String, String>>>;

/// Everything that a decision works on.
#[derive(Debug)]
pub(crate) struct Planner {
    pub(crate) model: Model,
    /// The configuration of each resource, in parallel to the model's resources.
    pub(crate) sources: Vec<Source>,
    /// Elements that others refer to by `id-ref`, by element name and id.
    pub(crate) referenced: BTreeMap<(String, String), Arc<Element>>,
    pub(crate) resource_defaults: Option<Arc<Element>>,
    pub(crate) operation_defaults: Option<Arc<Element>>,
    /// Whether the defaults of operations depend on rules.
    pub(crate) operation_rules: bool,
    pub(crate) template_elements: BTreeMap<String, Arc<Element>>,
    pub(crate) histories: Vec<NodeHistory>,
    pub(crate) recorded_ids: RecordedIds,
    /// The failures that the model has, by node (in lower case) and operation key.
    pub(crate) recorded_failures: BTreeSet<(String, String)>,
    /// The places of the histories of a node, by its name.
    pub(crate) histories_of: BTreeMap<String, Vec<usize>>,
    pub(crate) feature_set: Option<String>,
    pub(crate) purpose: Purpose,

    pub(crate) actions: Vec<Action>,
    /// How often an action may have been changed or added.
    pub(crate) action_changes: u64,
    /// The actions of each resource, oldest first, in parallel to the model's resources.
    pub(crate) actions_of: Vec<Vec<ActionIndex>>,
    /// Those of a key, oldest first.
    pub(crate) actions_with_key: BTreeMap<(ResourceId, OpKey), Vec<ActionIndex>>,
    /// The one of a key on a node.
    pub(crate) actions_on_node: BTreeMap<(ResourceId, OpKey, NodeIndex), ActionIndex>,
    /// The one of a key that is on no node yet.
    pub(crate) nodeless_actions: BTreeMap<(ResourceId, OpKey), ActionIndex>,
    pub(crate) singletons: BTreeMap<String, ActionIndex>,
    /// The union of all relations between two actions.
    pub(crate) relations: BTreeMap<(ActionIndex, ActionIndex), Relation>,
    pub(crate) task_names: Vec<String>,
    pub(crate) updates: Updates,
    pub(crate) instance_actions: InstanceActions,
    /// How many resources are being placed, each for the one before.
    pub(crate) assignments_under_way: usize,

    pub(crate) orderings: Vec<Ordering>,
    pub(crate) locations: Vec<LocationConstraint>,
    pub(crate) colocations: Vec<Colocation>,
    /// The colocations in which a resource is the dependent.
    pub(crate) this_with: BTreeMap<ResourceId, Vec<ColocationIndex>>,
    /// The colocations in which it is the primary.
    pub(crate) with_this: BTreeMap<ResourceId, Vec<ColocationIndex>>,
    pub(crate) ticket_constraints: Vec<TicketConstraint>,
    /// Constraints that name a ticket and are ignored because they are wrong, by ticket.
    pub(crate) wrong_ticket_constraints: BTreeMap<String, String>,
    /// Bundle containers that must stop because of what failed inside.
    pub(crate) stop_needed: Vec<ResourceId>,
    /// Comparisons of today's parameters with those of the history that must wait until containers have a place.
    pub(crate) deferred_checks: Vec<DeferredCheck>,
    pub(crate) notifications: BTreeMap<ResourceId, CloneNotifications>,
    pub(crate) parameter_cache: ParameterCache,
    /// By resource, node, operation and interval.
    pub(crate) digests: BTreeMap<(ResourceId, NodeIndex, Arc<str>, u32), KnownDigests>,

    pub(crate) node_ranks: NodeRanks,

    pub(crate) scores: Vec<ScoreLine>,
    pub(crate) placements: Placements,
    pub(crate) problems: BTreeSet<Problem>,
}

impl Planner {
    /// The plan is only to be looked at; the configuration may lack its secrets.
    pub(crate) fn for_inspection(&self) -> bool {
        self.purpose == Purpose::Inspection
    }

    pub(crate) fn resource(&self, resource: ResourceId) -> &Resource {
        self.model.resource(resource)
    }

    pub(crate) fn resource_mut(&mut self, resource: ResourceId) -> &mut Resource {
        self.model.resource_mut(resource)
    }

    pub(crate) fn action(&self, action: ActionIndex) -> &Action {
        &self.actions[action.index()]
    }

    pub(crate) fn action_mut(&mut self, action: ActionIndex) -> &mut Action {
        self.action_changes += 1;
        &mut self.actions[action.index()]
    }

    /// Takes a flag from an action; where it is not set, nothing changes, and nothing need be looked at again.
    pub(crate) fn clear_flag(&mut self, action: ActionIndex, flag: ActionFlags) {
        if self.action(action).is(flag) {
            self.action_mut(action).flags.clear(flag);
        }
    }

    /// Gives an action a flag; where it has it, nothing changes, and nothing need be looked at again.
    pub(crate) fn set_flag(&mut self, action: ActionIndex, flag: ActionFlags) {
        if !self.action(action).is(flag) {
            self.action_mut(action).flags.set(flag);
        }
    }

    /// Notes something that could not be used as it is.
    pub(crate) fn problem(&mut self, id: &str, message: impl Into<String>) {
        self.problems.insert(Problem { id: id.to_owned(), message: message.into() });
    }

    /// The task of a name.
    pub(crate) fn task(&mut self, name: &str) -> Task {
        if let Some(task) = Task::FIXED.into_iter().find(|task| task.fixed_name() == Some(name)) {
            return task;
        }
        let place = self.task_names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.task_names.push(name.to_owned());
            self.task_names.len() - 1
        });
        Task::Custom(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// The name of a task.
    pub(crate) fn task_name(&self, task: Task) -> &str {
        match task {
            Task::Custom(place) => self.task_names.get(place as usize).map_or("", String::as_str),
            fixed => fixed.fixed_name().unwrap_or_default(),
        }
    }

    /// The text of a key for a resource of this id.
    pub(crate) fn key_text(&self, id: &str, key: OpKey) -> String {
        let task = self.task_name(key.task);
        match key.notify {
            Some(phase) => format!("{id}_{}_notify_{task}_0", phase.name()),
            None => format!("{id}_{task}_{}", key.interval_ms),
        }
    }

    /// Adds to what nodes are worth to a resource and to what is in it; to all nodes where none is named.
    pub(crate) fn add_score(&mut self, resource: ResourceId, node: Option<NodeIndex>, score: Score, share: &Share) {
        match node {
            Some(node) => self.add_score_on(resource, node, score, share),
            None => {
                for at in 0..self.model.node_order.len() {
                    let node = self.model.node_order[at];
                    self.add_score_on(resource, node, score, share);
                }
                if score == Score::MINUS_INFINITY && self.resource(resource).assigned_to.is_some() {
                    self.resource_mut(resource).assigned_to = None;
                }
            }
        }
    }

    /// A node is worth to a resource what is said here, whatever it was worth before; nothing where it is not in the table.
    pub(crate) fn set_score(&mut self, resource: ResourceId, node: NodeIndex, score: Score, share: &Share) {
        if let Some(entry) = self.model.resource_mut(resource).allowed.get_mut(node) {
            entry.score = score;
            self.placements.note_instead(resource, node, score, share);
        }
    }

    fn add_score_on(&mut self, resource: ResourceId, node: NodeIndex, score: Score, share: &Share) {
        for at in 0..self.resource(resource).children.len() {
            let child = self.resource(resource).children[at];
            self.add_score_on(child, node, score, share);
        }
        let base = self.model.node(node).base;
        let subject = self.model.resource_mut(resource);
        if !subject.allowed.contains(node) {
            subject.allowed.insert(node, base);
            if base.score != Score::ZERO {
                self.placements.note(resource, node, base.score, &Share::of_node());
            }
        }
        if score == Score::ZERO {
            return;
        }
        if let Some(entry) = subject.allowed.get_mut(node) {
            entry.score = entry.score.plus(score);
        }
        self.placements.note(resource, node, score, share);
    }

    /// Remembers the scores of a resource, and of what is in it, as `crm_simulate -s` shows them.
    pub(crate) fn show_scores(&mut self, resource: ResourceId, function: &'static str) {
        let subject = self.model.resource(resource);
        if subject.removed || !self.for_inspection() {
            return;
        }
        for &node in &self.model.node_order {
            if let Some(entry) = subject.allowed.get(node) {
                self.scores.push(ScoreLine::Allocation {
                    function,
                    resource: subject.id.clone(),
                    node: self.model.node(node).name.clone(),
                    score: entry.score,
                });
            }
        }
        for at in 0..self.resource(resource).children.len() {
            let child = self.resource(resource).children[at];
            self.show_scores(child, function);
        }
    }

    /// A node of a table is usable, and worth at least nothing where `with_score`.
    pub(crate) fn is_available(&self, node: NodeIndex, score: Option<Score>) -> bool {
        self.model.node(node).is_usable() && score.is_none_or(|score| score >= Score::ZERO)
    }

    /// A guest node whose resource the plan puts nowhere cannot be used either.
    pub(crate) fn guest_has_host(&self, node: NodeIndex) -> bool {
        match self.model.node(node).launcher {
            Some(launcher) => self.model.sole_location(launcher, crate::model::Location::Assigned).is_some(),
            None => true,
        }
    }

    /// Any node in the table is usable and worth at least nothing.
    pub(crate) fn any_available(&self, table: &crate::model::NodeTable) -> bool {
        table.iter().any(|(node, entry)| self.is_available(node, Some(entry.score)))
    }
}

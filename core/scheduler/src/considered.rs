//! Everything that a decision thought of, also what is not to be done: for pictures of a plan.

use crate::decide::action::{Action, ActionFlags, ActionIndex, Relation, Task};
use crate::planner::Planner;

/// Whether an action is done, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the graph.
    Planned,
    /// Its resource is not managed.
    Unmanaged,
    /// It need not be done.
    Optional,
    /// It should be done but cannot.
    Blocked,
}

/// An action that the decision thought of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsideredAction {
    /// Its number: in the graph the `id`.
    pub number: u32,
    /// Its name as Pacemaker draws it: key or task, and node.
    pub name: String,
    /// It is only a point that others wait for.
    pub pseudo: bool,
    /// What became of it.
    pub fate: Fate,
}

/// One action comes after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsideredOrder {
    /// The first, by its place in the list of actions.
    pub first: usize,
    /// The second, by its place.
    pub then: usize,
    /// The graph says so.
    pub planned: bool,
    /// It would matter only where both are on one node.
    pub only_on_one_node: bool,
}

/// All actions, newest first, and all orders between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Considered {
    /// The actions.
    pub actions: Vec<ConsideredAction>,
    /// The orders, by the second action.
    pub orders: Vec<ConsideredOrder>,
}

impl Planner {
    /// Looks back at a decision whose graph is made.
    pub(crate) fn considered(&mut self) -> Considered {
        let newest_first: Vec<ActionIndex> =
            (0..u32::try_from(self.actions.len()).unwrap_or(u32::MAX)).rev().map(ActionIndex).collect();
        let place = |action: ActionIndex| newest_first.len() - 1 - action.index();
        let mut orders = Vec::new();
        for &then in &newest_first {
            for input in &self.action(then).before {
                if input.graphed || input.flags != Relation::NONE {
                    orders.push(ConsideredOrder {
                        first: place(input.action),
                        then: place(then),
                        planned: input.graphed,
                        only_on_one_node: input.flags == Relation::IF_ON_SAME_NODE_OR_TARGET,
                    });
                }
            }
        }
        let actions = newest_first
            .iter()
            .map(|&index| {
                let action = self.action(index);
                let (pseudo, fate) = (action.is(ActionFlags::PSEUDO), self.fate(action));
                ConsideredAction { number: index.0 + 1, name: self.drawn_name(index), pseudo, fate }
            })
            .collect();
        Considered { actions, orders }
    }

    fn fate(&self, action: &Action) -> Fate {
        if action.is(ActionFlags::IN_GRAPH) {
            Fate::Planned
        } else if action.resource.is_some_and(|resource| !self.resource(resource).managed) {
            Fate::Unmanaged
        } else if action.is(ActionFlags::OPTIONAL) {
            Fate::Optional
        } else {
            Fate::Blocked
        }
    }

    fn drawn_name(&mut self, index: ActionIndex) -> String {
        let meta = self.action_meta(index);
        let action = self.action(index);
        let node = match action.node {
            Some(node) => Some(self.model.node(node).name.as_str()),
            None if action.is(ActionFlags::PSEUDO) => None,
            None => Some("<none>"),
        };
        let own_key = match action.resource {
            Some(resource) => self.key_text(&self.resource(resource).id, action.key),
            None => action.name.clone(),
        };
        let history_id = action.resource.and_then(|resource| self.resource(resource).history_id.as_deref());
        let name = match (history_id, node) {
            (Some(id), _) => self.history_key(index, id, &meta),
            (None, Some(_)) if action.task == Task::Fence => {
                format!("stonith '{}'", meta.get("stonith_action").map_or("", String::as_str))
            }
            (None, Some(_)) if action.resource.is_none() => self.task_name(action.task).to_owned(),
            (None, _) => own_key,
        };
        let cancel = if action.task == Task::Cancel { "Cancel " } else { "" };
        match node {
            Some(node) => format!("{cancel}{name} {node}"),
            None => format!("{cancel}{name}"),
        }
    }
}

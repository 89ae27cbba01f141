//! Which steps of a plan that follows another one the ties between resources explain.
//!
//! What makes Pacemaker want more than one plan, or never comes to rest (each seen in crm_simulate 3.0.2 too, on the documents of
//! simulated clusters):
//! - *Colocation.* A resource that only now runs somewhere, or is promoted there, adds to or takes from the scores of others. Copies of
//!   a clone may change places with each other for ever: then each is stopped and started on the same node, and the next
//!   plan is the same once more.
//! - *Order.* What is to start after a clone is started again with every start of the clone that is announced, even where all
//!   copies that are to start are blocked; and again once another plan announces it.
//! - *Balance.* Where scores are equal, the node with fewer resources is taken, and those count, too, that are assigned to a node
//!   while their start is blocked by an order, or that a colocation moves. So a resource that is tied to nothing may move, but
//!   only if it does not hold on to its place.
//!
//! A resource that is not tied and sticks is never explained; neither is a restart of anything on its node by a colocation or by balance
//! (but for copies that change places), nor a recurring monitor by itself: it belongs into the plan that starts what it looks
//! at.

use crate::check::{changes, possible};
use hakudo_cib::{Document, Element};
use hakudo_scheduler::{Action, ActionKind, Transition};
use std::collections::BTreeSet;

/// The steps of a plan that are explained, and whether these are all.
pub(super) fn explained<'a>(cib: &Document, plan: &'a Transition) -> (Vec<&'a Action>, bool) {
    let steps: Vec<&Action> = possible(plan).into_iter().filter(|action| changes(action)).collect();
    let ties = Ties::new(cib, plan, &steps);
    let explained: Vec<&Action> = steps.iter().filter(|step| ties.explain(step)).copied().collect();
    let all = explained.len() == steps.len();
    (explained, all)
}

/// A change of a primitive on a node: primitive, node, operation.
type Change<'a> = (&'a str, &'a str, &'a str);

struct Ties<'a> {
    /// All resources that are not part of others.
    resources: Vec<&'a Element>,
    /// (id, id) of those whose places depend on each other.
    colocations: Vec<(&'a str, &'a str)>,
    /// (first, then).
    orders: Vec<(&'a str, &'a str)>,
    /// What the plan does that changes the state of a primitive.
    changes: BTreeSet<Change<'a>>,
    /// Resources whose start the plan announces.
    announced: BTreeSet<&'a str>,
}

impl<'a> Ties<'a> {
    fn new(cib: &'a Document, plan: &'a Transition, steps: &[&'a Action]) -> Self {
        let section = |name| cib.section(&["configuration", name]).into_iter().flat_map(Element::children);
        let resources: Vec<&Element> = section("resources").collect();
        let top =
            |id: Option<&str>| resources.iter().find(|top| id.is_some_and(|id| is_in(top, id))).map(|top| top.id());
        let pairs = |element: &'static str, one: &'static str, other: &'static str| {
            section("constraints")
                .filter(move |constraint| constraint.name() == element)
                .filter_map(move |constraint| Some((constraint.attribute(one)?, constraint.attribute(other)?)))
        };
        let between = |(one, other)| Some((top(Some(one))?, top(Some(other))?)).filter(|(one, other)| one != other);
        let change = |action: &&'a Action| {
            let ActionKind::Resource { node, resource, .. } = &action.kind else { return None };
            let task = action.task.as_str();
            matches!(task, "start" | "stop" | "promote" | "demote").then_some((
                resource.id.as_str(),
                node.name.as_str(),
                task,
            ))
        };
        let pseudo = plan.synapses.iter().map(|synapse| &synapse.action).filter(|a| a.kind == ActionKind::Pseudo);
        Self {
            colocations: pairs("rsc_colocation", "rsc", "with-rsc").filter_map(between).collect(),
            orders: pairs("rsc_order", "first", "then").filter_map(between).collect(),
            changes: steps.iter().filter_map(change).collect(),
            announced: pseudo.filter_map(|action| action.key.strip_suffix("_start_0")).collect(),
            resources,
        }
    }

    fn explain(&self, action: &Action) -> bool {
        let ActionKind::Resource { node, resource, .. } = &action.kind else { return false };
        let Some(top) = self.resources.iter().find(|top| is_in(top, &resource.id)) else { return false };
        let does = |task| self.changes.contains(&(resource.id.as_str(), node.name.as_str(), task));
        if !["start", "stop", "promote", "demote"].into_iter().any(does) {
            return false;
        }
        let restarted = does("start") && does("stop");
        let may_move = if restarted { is_clone(top) && self.is_colocated(top) } else { self.may_move(top) };
        may_move || self.follows(top, &mut BTreeSet::new())
    }

    fn is_colocated(&self, top: &Element) -> bool {
        self.colocations.iter().any(|(one, other)| [*one, *other].contains(&top.id()))
    }

    fn may_move(&self, top: &Element) -> bool {
        let others_are_tied = !self.colocations.is_empty() || !self.orders.is_empty();
        self.is_colocated(top) || (others_are_tied && !holds_on(top))
    }

    /// An order makes it start, or start again: something before it changes, or its start is announced at least.
    fn follows(&self, top: &'a Element, seen: &mut BTreeSet<&'a str>) -> bool {
        if !seen.insert(top.id()) {
            return false;
        }
        let before = self.orders.iter().filter(|(_, then)| *then == top.id()).map(|(first, _)| *first);
        before.filter_map(|id| self.resources.iter().find(|first| first.id() == id)).any(|first| {
            let moves = self.changes.iter().any(|(primitive, ..)| is_in(first, primitive));
            (is_clone(first) && self.announced.contains(first.id()))
                || (moves && (self.may_move(first) || self.follows(first, seen)))
        })
    }
}

fn is_clone(top: &Element) -> bool {
    top.name() == "clone"
}

/// Pacemaker Explained, "Clone Options": copies hold on to their node by 1 where nothing else is said.
fn holds_on(top: &Element) -> bool {
    let mut said = top
        .descendants()
        .filter(|pair| pair.name() == "nvpair" && pair.attribute("name") == Some("resource-stickiness"))
        .filter_map(|pair| pair.attribute("value"))
        .peekable();
    if said.peek().is_none() { is_clone(top) } else { said.any(|value| value != "0") }
}

/// An element or one in it has this id.
fn is_in(element: &Element, id: &str) -> bool {
    element.id() == id || element.descendants().any(|inner| inner.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hakudo_base::agent::AgentName;
    use hakudo_scheduler::{NodeRef, ResourceRef, Synapse};

    /// `a`, which sticks, and `b`, which does not; the clones `c` of `x` and `d` of `y`.
    const RESOURCES: &str = "<primitive id='a'><meta_attributes id='m'><nvpair id='s' name='resource-stickiness' value='9'/>\
                             </meta_attributes></primitive><primitive id='b'/><clone id='c'><primitive id='x'/></clone>\
                             <clone id='d'><primitive id='y'/></clone>";

    fn action(id: u32, text: &str) -> Action {
        let words: Vec<&str> = text.split(' ').collect();
        let (task, of, node) = (words[0], words[1], words.get(2));
        let kind = match node {
            None => ActionKind::Pseudo,
            Some(node) => ActionKind::Resource {
                node: NodeRef { id: (*node).into(), name: (*node).into() },
                router: None,
                resource: ResourceRef {
                    id: of.into(),
                    long_id: None,
                    agent: AgentName { class: "ocf".into(), provider: None, kind: "Dummy".into() },
                },
            },
        };
        Action {
            id,
            key: format!("{of}_{task}_0"),
            task: task.into(),
            kind,
            internal_key: None,
            attributes: std::collections::BTreeMap::new(),
            downed: Vec::new(),
            maintenance: Vec::new(),
            shutdown_lock: None,
            reason: String::new(),
        }
    }

    /// Constraints as `rsc>with-rsc` and `first then`; steps as `start a n1`, `start c` where it is announced only. What is
    /// not explained.
    fn unexplained(constraints: &str, steps: &str) -> Vec<String> {
        let of = |(number, text): (usize, &str)| match text.split_once('>') {
            Some((one, other)) => format!("<rsc_colocation id='t{number}' rsc='{one}' with-rsc='{other}' score='1'/>"),
            None => text.split_once(' ').map_or_else(String::new, |(one, other)| {
                format!("<rsc_order id='t{number}' first='{one}' then='{other}'/>")
            }),
        };
        let constraints: String = constraints.split(", ").enumerate().map(of).collect();
        let cib = Document::parse(&format!(
            "<cib><configuration><crm_config/><nodes/><resources>{RESOURCES}</resources>\
             <constraints>{constraints}</constraints></configuration></cib>"
        ))
        .unwrap();
        let synapse =
            |(id, text): (u32, &str)| Synapse { id, priority: 0, action: action(id, text), inputs: Vec::new() };
        let plan =
            Transition { synapses: (0..).zip(steps.split(", ")).map(synapse).collect(), ..Transition::default() };
        let (explained, all) = explained(&cib, &plan);
        let is_left = |action: &&Action| changes(action) && !explained.contains(action);
        let left: Vec<&Action> = plan.synapses.iter().map(|synapse| &synapse.action).filter(is_left).collect();
        assert_eq!(all, left.is_empty());
        left.into_iter().map(|action| action.key.clone()).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn nothing_is_explained_where_nothing_is_tied() {
        assert_eq!(unexplained("", "stop b n1, start b n2"), ["b_stop_0", "b_start_0"]);
        assert_eq!(unexplained("b>b, b b", "start b n2"), ["b_start_0"]);
    }

    #[test]
    fn what_is_colocated_moves_and_what_does_not_stick_makes_room() {
        assert_eq!(unexplained("a>c", "stop a n1, start a n2, monitor a n2"), NOTHING);
        assert_eq!(unexplained("c>d", "stop b n1, start b n2"), NOTHING);
        assert_eq!(unexplained("c>d", "stop a n1, start a n2"), ["a_stop_0", "a_start_0"]);
    }

    #[test]
    fn a_restart_in_place_is_no_colocations_doing() {
        assert_eq!(unexplained("a>c", "stop a n1, start a n1"), ["a_stop_0", "a_start_0"]);
        assert_eq!(unexplained("c>d", "stop b n1, start b n1"), ["b_stop_0", "b_start_0"]);
        assert_eq!(unexplained("c>d", "stop x n1, start x n2, stop x n2, start x n1"), NOTHING);
    }

    #[test]
    fn an_order_starts_anew_what_follows_a_start() {
        assert_eq!(unexplained("c a", "start c, stop a n1, start a n1"), NOTHING);
        assert_eq!(unexplained("c a", "stop a n1, start a n1"), ["a_stop_0", "a_start_0"]);
        assert_eq!(unexplained("a c", "start c, stop a n1, start a n1"), ["a_stop_0", "a_start_0"]);
        assert_eq!(unexplained("d>c, d a", "stop y n1, start y n2, stop a n1, start a n1"), NOTHING);
    }

    #[test]
    fn monitors_and_what_is_done_to_nodes_are_never_left_for_later() {
        assert_eq!(unexplained("a>c", "monitor a n1"), ["a_monitor_0"]);
        let fencing = Action {
            kind: ActionKind::Cluster {
                node: NodeRef { id: "n1".into(), name: "n1".into() },
                router: None,
                resource: None,
            },
            ..action(1, "stonith n1 n1")
        };
        let plan = Transition {
            synapses: vec![Synapse { id: 0, priority: 0, action: fencing, inputs: Vec::new() }],
            ..Transition::default()
        };
        let cib = Document::parse("<cib/>").unwrap();
        assert_eq!(explained(&cib, &plan), (Vec::new(), false));
    }
}

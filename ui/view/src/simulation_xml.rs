//! What a simulation tells, as crm_simulate's XML.

use crate::simulation::score_lines;
use crate::status::ClusterStatus;
use crate::text::{Sections, Show};
use crate::xml::{self, list};
use hakudo_cib::{Element, Node};
use hakudo_scheduler::simulate::Step;
use hakudo_scheduler::{Amounts, Change, Plan, ScoreLine, ShownRole};

/// A status as an element of this name.
pub fn status(name: &str, status: &ClusterStatus, sections: Sections, show: &Show) -> Element {
    list(name, xml::sections(status, sections, show).into_iter())
}

/// What was changed before planning.
pub fn modifications(steps: &[Step]) -> Element {
    let mut element = Element::new("modifications");
    for step in steps {
        match step {
            Step::Quorum(quorum) => element.set("quorum", quorum),
            Step::Watchdog(watchdog) => element.set("watchdog", watchdog),
            step => self::step(step).into_iter().for_each(|step| element.push(step)),
        }
    }
    element
}

/// What was done.
pub fn execution(steps: &[Step]) -> Element {
    list("transition", steps.iter().filter_map(step))
}

/// A step as an element; none for what is no element of its own.
fn step(step: &Step) -> Option<Element> {
    Some(match step {
        Step::Pseudo { key, node } => {
            let element = Element::new("pseudo_action").with("task", key);
            match node {
                Some(node) => element.with("node", node),
                None => element,
            }
        }
        Step::Resource { resource, operation, interval_ms, node } => {
            let element =
                Element::new("rsc_action").with("resource", resource).with("op", operation).with("node", node);
            if *interval_ms > 0 { element.with("interval", interval_ms.to_string()) } else { element }
        }
        Step::Cluster { task, resource, node } => {
            let element = Element::new("cluster_action").with("task", task).with("node", node);
            match resource {
                Some(resource) => element.with("id", resource),
                None => element,
            }
        }
        Step::Fencing { node, action } => Element::new("fencing_action").with("target", node).with("op", action),
        Step::Attribute { name, value, node } => Element::new("inject_attr")
            .with("name", name)
            .with("value", value)
            .with("node_path", "/node_state")
            .with("cib_node", node),
        Step::NodeUp(node) => node_change("Online", node),
        Step::NodeDown(node) => node_change("Offline", node),
        Step::NodeFail(node) => node_change("Failing", node),
        Step::Ticket { change, ticket } => Element::new("modify_ticket").with("action", change).with("ticket", ticket),
        Step::Injected(text) => Element::new("inject_spec").with("spec", text),
        Step::Failed { .. } | Step::Quorum(_) | Step::Watchdog(_) => return None,
    })
}

fn node_change(action: &str, node: &str) -> Element {
    Element::new("modify_node").with("action", action).with("node", node)
}

/// The lines of scores, and of what nodes have and resources need.
pub fn scores(plan: &Plan, scores: bool, utilization: bool) -> Element {
    let name = match (scores, utilization) {
        (true, true) => "allocations_utilizations",
        (false, true) => "utilizations",
        (_, false) => "allocations",
    };
    list(name, score_lines(plan, scores, utilization).map(score_line))
}

fn score_line(line: &ScoreLine) -> Element {
    match line {
        ScoreLine::Allocation { function, resource, node, score } => Element::new("node_weight")
            .with("function", function)
            .with("node", node)
            .with("score", score.to_string())
            .with("id", resource),
        ScoreLine::Promotion { resource, node, score } => {
            let element = Element::new("promotion_score").with("id", resource).with("score", score.to_string());
            match node {
                Some(node) => element.with("node", node),
                None => element,
            }
        }
        ScoreLine::Capacity { when, node, amounts } => {
            with_amounts(Element::new("capacity").with("node", node).with("comment", when), amounts)
        }
        ScoreLine::Utilization { function, resource, node, amounts } => {
            let element = Element::new("utilization").with("resource", resource).with("node", node);
            with_amounts(element.with("function", function), amounts)
        }
    }
}

fn with_amounts(mut element: Element, amounts: &Amounts) -> Element {
    for (name, amount) in amounts {
        let mut child = Element::new(name.as_str());
        child.nodes_mut().push(Node::Text(amount.to_string().into()));
        element.push(child);
    }
    element
}

/// What a plan changes.
pub fn changes(changes: &[Change]) -> Element {
    list("actions", changes.iter().filter_map(change))
}

fn change(change: &Change) -> Option<Element> {
    match change {
        Change::Node { task, node, reason } => {
            Some(Element::new("node_action").with("task", task).with("node", node).with("reason", reason.as_deref()?))
        }
        Change::Resource { verb, resource, role, next_role, origin, destination, reason, blocked } => {
            let mut element = Element::new("rsc_action")
                .with("action", verb.as_str().to_ascii_lowercase())
                .with("resource", resource);
            places(&mut element, (*role, *next_role), origin.as_deref(), destination.as_deref());
            if let Some(reason) = reason {
                element.set("reason", reason);
            }
            if *blocked {
                element.set("blocked", "true");
            }
            Some(element)
        }
    }
}

/// Where a change happens, with the roles where these say something.
fn places(element: &mut Element, roles: (ShownRole, ShownRole), origin: Option<&str>, destination: Option<&str>) {
    let (role, next_role) = roles;
    let with_roles = role > ShownRole::Started || next_role > ShownRole::Unpromoted;
    let mut attributes: Vec<(&str, &str)> = Vec::new();
    match (origin, destination) {
        (None, None) => {}
        (None, Some(to)) if with_roles => {
            attributes.extend([("role", role.as_str()), ("next-role", next_role.as_str()), ("dest", to)]);
        }
        (None, Some(node)) => attributes.push(("node", node)),
        (Some(node), None) if with_roles => attributes.extend([("role", role.as_str()), ("node", node)]),
        (Some(node), None) => attributes.push(("node", node)),
        (Some(from), Some(to)) => match (role == next_role, from == to) {
            (true, true) if with_roles => attributes.extend([("role", role.as_str()), ("source", from)]),
            (true, true) => attributes.push(("source", from)),
            (true, false) => {
                attributes.extend([("source", from), ("dest", to)]);
                if with_roles {
                    attributes.push(("role", role.as_str()));
                }
            }
            (false, true) => {
                attributes.extend([("role", role.as_str()), ("next-role", next_role.as_str()), ("source", from)]);
            }
            (false, false) => attributes.extend([
                ("role", role.as_str()),
                ("source", from),
                ("next-role", next_role.as_str()),
                ("dest", to),
            ]),
        },
    }
    attributes.into_iter().for_each(|(name, value)| element.set(name, value));
}

/// How long planning took for files, in seconds.
pub fn timings(timings: &[(String, f64)]) -> Element {
    let timing = |(file, seconds): &(String, f64)| {
        Element::new("timing").with("file", file).with("duration", format!("{seconds:.6}"))
    };
    list("timings", timings.iter().map(timing))
}

//! A transition graph as XML, in the form of Pacemaker's.

use hakudo_cib::Element;
use hakudo_scheduler::{
    Action, ActionId, ActionKind, Considered, ConsideredAction, Fate, NodeRef, ResourceRef, Transition,
};
use std::collections::BTreeMap;

/// The graph as an element `<transition_graph>`.
pub fn graph(transition: &Transition) -> Element {
    let by_id: BTreeMap<ActionId, &Action> =
        transition.synapses.iter().map(|synapse| (synapse.action.id, &synapse.action)).collect();
    let mut root = Element::new("transition_graph")
        .with("cluster-delay", &transition.cluster_delay)
        .with("fencing-timeout", &transition.fencing_timeout)
        .with("failed-stop-offset", "INFINITY")
        .with("failed-start-offset", if transition.failed_start_is_fatal { "INFINITY" } else { "1" })
        .with("batch-limit", transition.batch_limit.to_string())
        .with("transition_id", "1");
    if let Some(limit) = transition.migration_limit {
        root.set("migration-limit", &limit.to_string());
    }
    if let Some(time) = transition.recheck_by {
        root.set("recheck-by", &time.to_string());
    }
    for synapse in &transition.synapses {
        let mut element = Element::new("synapse").with("id", synapse.id.to_string());
        if synapse.priority > 0 {
            element.set("priority", &synapse.priority.to_string());
        }
        element.push(Element::new("action_set").with_child(details(action(&synapse.action), &synapse.action)));
        let mut inputs = Element::new("inputs");
        for input in synapse.inputs.iter().filter_map(|input| by_id.get(input)) {
            inputs.push(Element::new("trigger").with_child(action(input)));
        }
        root.push(element.with_child(inputs));
    }
    root
}

/// What identifies an action.
fn action(action: &Action) -> Element {
    let (name, node, router) = match &action.kind {
        ActionKind::Pseudo => ("pseudo_event", None, None),
        ActionKind::PseudoFencing { node } => ("pseudo_event", Some(node), None),
        ActionKind::Resource { node, router, .. } => ("rsc_op", Some(node), router.as_ref()),
        ActionKind::Cluster { node, router, .. } => ("crm_event", Some(node), router.as_ref()),
    };
    let mut element = Element::new(name);
    if name == "crm_event" && action.task == "lrm_delete" {
        element.set("mode", "cib");
    }
    let mut element =
        element.with("id", action.id.to_string()).with("operation", &action.task).with("operation_key", &action.key);
    if let Some(key) = &action.internal_key {
        element.set("internal_operation_key", key);
    }
    if let Some(NodeRef { id, name }) = node {
        element.set("on_node", name);
        element.set("on_node_uuid", id);
    }
    if let Some(router) = router {
        element.set("router_node", &router.name);
    }
    element
}

/// What else is to be known for doing it.
fn details(mut element: Element, action: &Action) -> Element {
    if let Some(since) = action.shutdown_lock {
        element.set("shutdown-lock", &since.to_string());
    }
    let resource = match &action.kind {
        ActionKind::Resource { resource, .. } => Some(resource),
        ActionKind::Cluster { resource, .. } => resource.as_ref(),
        ActionKind::Pseudo | ActionKind::PseudoFencing { .. } => None,
    };
    if let Some(resource) = resource {
        element.push(primitive(resource));
    }
    let mut attributes = Element::new("attributes");
    for (name, value) in &action.attributes {
        // A name that begins with a digit cannot be an attribute's.
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            attributes.push(Element::new("param").with("name", name).with("value", value));
        } else {
            attributes.set(name, value);
        }
    }
    element.push(attributes);
    let node = |id: &String| Element::new("node").with("id", id);
    if !action.downed.is_empty() {
        let mut downed = Element::new("downed");
        action.downed.iter().for_each(|id| downed.push(node(id)));
        element.push(downed);
    }
    if !action.maintenance.is_empty() {
        let mut maintenance = Element::new("maintenance");
        for (id, on) in &action.maintenance {
            maintenance.push(node(id).with("node_in_maintenance", if *on { "1" } else { "0" }));
        }
        element.push(maintenance);
    }
    element
}

fn primitive(resource: &ResourceRef) -> Element {
    let mut element = Element::new("primitive").with("id", &resource.id);
    if let Some(long_id) = &resource.long_id {
        element.set("long-id", long_id);
    }
    element.set("class", &resource.agent.class);
    if let Some(provider) = &resource.agent.provider {
        element.set("provider", provider);
    }
    element.with("type", &resource.agent.kind)
}

/// A plan for Graphviz: an oval an action, an arrow from each that comes before it.
///
/// What is in the graph is green. What should be done but cannot is red; with `every`, also what need not be done (blue) and
/// what concerns unmanaged resources is drawn. With `numbers`, each oval has its action's number.
pub fn dot(considered: &Considered, every: bool, numbers: bool) -> String {
    let name = |action: &ConsideredAction| match numbers {
        true => format!("{} ({})", action.name, action.number),
        false => action.name.clone(),
    };
    let drawn = |fate: Fate| every || matches!(fate, Fate::Planned | Fate::Blocked);
    let mut text = String::from(" digraph \"g\" {\n");
    for action in considered.actions.iter().filter(|action| drawn(action.fate)) {
        let (style, color) = match action.fate {
            Fate::Planned => ("bold", "green"),
            Fate::Optional => ("dashed", "blue"),
            Fate::Unmanaged | Fate::Blocked => ("dashed", "red"),
        };
        let font = match (action.fate, action.pseudo) {
            (Fate::Unmanaged, _) => "purple",
            (_, true) => "orange",
            (_, false) => "black",
        };
        text.push_str(&format!("\"{}\" [ style={style} color=\"{color}\" fontcolor=\"{font}\"]\n", name(action)));
    }
    for order in &considered.orders {
        let (first, then) = (&considered.actions[order.first], &considered.actions[order.then]);
        let matters = order.planned || (drawn(first.fate) && drawn(then.fate) && !order.only_on_one_node);
        if every || matters {
            let style = if order.planned { "bold" } else { "dashed" };
            text.push_str(&format!("\"{}\" -> \"{}\" [ style = {style}]\n", name(first), name(then)));
        }
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use hakudo_scheduler::ConsideredOrder;

    #[test]
    fn a_picture_shows_what_is_done_and_what_cannot_be() {
        let action =
            |number, name: &str, fate| ConsideredAction { number, name: name.to_owned(), pseudo: number == 1, fate };
        let order = |first, then, planned| ConsideredOrder { first, then, planned, only_on_one_node: false };
        let considered = Considered {
            actions: vec![
                action(3, "web_start_0 alpha", Fate::Blocked),
                action(2, "disk_start_0 alpha", Fate::Planned),
                action(1, "disk_stop_0", Fate::Optional),
            ],
            orders: vec![order(1, 0, false), order(2, 1, false)],
        };
        expect![[r#"
             digraph "g" {
            "web_start_0 alpha" [ style=dashed color="red" fontcolor="black"]
            "disk_start_0 alpha" [ style=bold color="green" fontcolor="black"]
            "disk_start_0 alpha" -> "web_start_0 alpha" [ style = dashed]
            }
        "#]]
        .assert_eq(&dot(&considered, false, false));
        expect![[r#"
             digraph "g" {
            "web_start_0 alpha (3)" [ style=dashed color="red" fontcolor="black"]
            "disk_start_0 alpha (2)" [ style=bold color="green" fontcolor="black"]
            "disk_stop_0 (1)" [ style=dashed color="blue" fontcolor="orange"]
            "disk_start_0 alpha (2)" -> "web_start_0 alpha (3)" [ style = dashed]
            "disk_stop_0 (1)" -> "disk_start_0 alpha (2)" [ style = dashed]
            }
        "#]]
        .assert_eq(&dot(&considered, true, true));
    }
}

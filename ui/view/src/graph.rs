//! A transition graph as XML, in the form of Pacemaker's.

use hakudo_cib::Element;
use hakudo_scheduler::{Action, ActionId, ActionKind, NodeRef, ResourceRef, Transition};
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

/// The graph for Graphviz: an oval an action, an arrow from each input.
pub fn dot(transition: &Transition) -> String {
    let by_id: BTreeMap<ActionId, &Action> =
        transition.synapses.iter().map(|synapse| (synapse.action.id, &synapse.action)).collect();
    let mut text = String::from(" digraph \"g\" {\n");
    for synapse in &transition.synapses {
        let pseudo = matches!(synapse.action.kind, ActionKind::Pseudo | ActionKind::PseudoFencing { .. });
        let font = if pseudo { "orange" } else { "black" };
        text.push_str(&format!(
            "\"{}\" [ style=bold color=\"green\" fontcolor=\"{font}\"]\n",
            dot_name(&synapse.action)
        ));
    }
    for synapse in &transition.synapses {
        for input in synapse.inputs.iter().filter_map(|input| by_id.get(input)) {
            text.push_str(&format!("\"{}\" -> \"{}\" [ style = bold]\n", dot_name(input), dot_name(&synapse.action)));
        }
    }
    text.push_str("}\n");
    text
}

fn dot_name(action: &Action) -> String {
    let node = action.node().map(|node| format!(" {}", node.name)).unwrap_or_default();
    let name = match &action.kind {
        _ if action.task == "stonith" => {
            let how = action.attributes.get("CRM_meta_stonith_action").map_or("", String::as_str);
            return format!("stonith '{how}'{node}").replace('"', "'");
        }
        ActionKind::Resource { .. } if action.task == "cancel" => format!("Cancel {}", action.key),
        ActionKind::Cluster { resource: None, .. } => action.task.clone(),
        _ => action.key.clone(),
    };
    format!("{name}{node}").replace('"', "'")
}

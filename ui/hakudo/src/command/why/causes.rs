//! What made the plan do something with a resource, what it waits for, and which element of the configuration gave a share.

use hakudo_cib::{Document, Element};
use hakudo_scheduler::model::Resource;
use hakudo_scheduler::{Action, ActionId, Plan, ResourceId, Role, Source, Synapse};

/// What required an action: another one that the plan noted, or else where the resource is and where it shall be.
pub(super) fn cause(plan: &Plan, id: ResourceId, action: &Action) -> String {
    if !action.reason.is_empty() {
        return action.reason.clone();
    }
    let resource = plan.model.resource(id);
    let name = |node| plan.model.node(node).name.as_str();
    let here = action.node().map_or("", |node| node.name.as_str());
    let active: Vec<&str> = resource.active_on.iter().map(|node| name(*node)).collect();
    let target = resource.assigned_to.map(name);
    match (action.task.as_str(), interval(action)) {
        ("monitor", 0) => "whether it is active there is to be found out".to_owned(),
        ("monitor", interval) => format!("where it is {}, it is looked at every {interval} ms", resource.next_role),
        ("start", _) if active.contains(&here) => "it is restarted".to_owned(),
        ("start", _) if active.is_empty() => "this is its place".to_owned(),
        ("start", _) => format!("it moves there from {}", active.join(", ")),
        ("stop", _) => why_stopped(plan, id, here, &active, target),
        ("promote", _) => "it shall be promoted there".to_owned(),
        ("demote", _) if resource.next_role == Role::Promoted && target == Some(here) => {
            "it is promoted anew".to_owned()
        }
        ("demote", _) => "it shall not stay promoted there".to_owned(),
        ("migrate_to" | "migrate_from", _) => format!("it moves live to {}", target.unwrap_or("another node")),
        ("notify", _) => "it wants to hear what happens to the instances of its clone".to_owned(),
        ("cancel", _) => "the operation is not configured like this any more".to_owned(),
        ("delete" | "lrm_delete", _) => "what the node knows of it is not needed any more".to_owned(),
        ("clear_failcount", _) => "its failures count no more".to_owned(),
        _ => "it is configured so".to_owned(),
    }
}

fn why_stopped(plan: &Plan, id: ResourceId, here: &str, active: &[&str], target: Option<&str>) -> String {
    let resource = plan.model.resource(id);
    match target {
        _ if resource.removed => "it is not configured any more".to_owned(),
        _ if plan.model.is_disabled(id) => "target-role keeps it from running".to_owned(),
        None => "no node may run it".to_owned(),
        Some(_) if active.len() > 1 => format!("it is active on {} nodes", active.len()),
        Some(target) if target == here => "it is restarted".to_owned(),
        Some(target) => format!("it moves to {target}"),
    }
}

/// The interval of an action, in milliseconds: the end of its key.
fn interval(action: &Action) -> u64 {
    action.key.rsplit_once('_').and_then(|(_, interval)| interval.parse().ok()).unwrap_or(0)
}

/// What an action waits for, each by its key and node.
pub(super) fn awaited(plan: &Plan, synapse: &Synapse) -> Vec<String> {
    let named = |id: &ActionId| {
        let action = plan.transition.synapses.iter().map(|other| &other.action).find(|action| action.id == *id)?;
        let node = action.node().map(|node| format!(" on {}", node.name)).unwrap_or_default();
        Some(format!("{}{node}", action.key))
    };
    synapse.inputs.iter().filter_map(named).collect()
}

/// The id of the element that gave a share, where the share only says which meta-attribute it was.
pub(super) fn element(cib: &Document, plan: &Plan, id: ResourceId, source: Source, said: &str) -> String {
    let attribute = match source {
        Source::Stickiness => "resource-stickiness",
        Source::TargetRole | Source::Failure | Source::State => said,
        _ => return said.to_owned(),
    };
    meta_attribute(cib, plan, id, attribute).unwrap_or_else(|| said.to_owned())
}

/// The `<nvpair>` that a resource has a meta-attribute from: its own, that of its template, of what it is in, or the default.
fn meta_attribute(cib: &Document, plan: &Plan, id: ResourceId, name: &str) -> Option<String> {
    let resources = cib.section(&["configuration", "resources"])?;
    let element = |resource: &Resource| resources.descendants().find(|element| element.id() == resource.config_id);
    let mut owners: Vec<&Element> = Vec::new();
    let mut next = Some(id);
    while let Some(owner) = next.map(|id| plan.model.resource(id)) {
        let own = element(owner);
        owners.extend(own);
        let template = own.and_then(|own| own.attribute("template"));
        owners.extend(template.and_then(|template| resources.children().find(|element| element.id() == template)));
        next = owner.parent;
    }
    owners.extend(cib.section(&["configuration", "rsc_defaults"]));
    let mut pairs =
        owners.into_iter().flat_map(|owner| owner.children_named("meta_attributes")).flat_map(Element::children);
    pairs.find(|pair| pair.attribute("name") == Some(name)).map(|pair| pair.id().to_owned())
}

//! 2.x to 3.0: options that were renamed, moved or dropped. Everything to know is in the tables.

use super::{Work, extract, for_all, nvpair, take};
use crate::document::{Element, Node};
use std::sync::Arc;

/// What became of a cluster property.
#[derive(Clone, Copy)]
enum Fate {
    /// It has another name.
    Renamed(&'static str),
    /// It is a meta attribute in `op_defaults` or `rsc_defaults`.
    Moved(&'static str, &'static str),
    /// It is gone, for this reason.
    Gone(&'static str),
}

const THRESHOLD: &str = "migration-threshold in rsc_defaults can be set instead";
const ALERTS: &str = "alerts can be configured instead";

const PROPERTIES: &[(&str, Fate)] = &[
    ("cluster_recheck_interval", Fate::Renamed("cluster-recheck-interval")),
    ("dc_deadtime", Fate::Renamed("dc-deadtime")),
    ("default-action-timeout", Fate::Moved("op_defaults", "timeout")),
    ("default_action_timeout", Fate::Moved("op_defaults", "timeout")),
    ("default-migration-threshold", Fate::Gone(THRESHOLD)),
    ("default_migration_threshold", Fate::Gone(THRESHOLD)),
    ("default-resource-stickiness", Fate::Moved("rsc_defaults", "resource-stickiness")),
    ("default_resource_stickiness", Fate::Moved("rsc_defaults", "resource-stickiness")),
    ("default-resource-failure-stickiness", Fate::Moved("rsc_defaults", "migration-threshold")),
    ("default_resource_failure_stickiness", Fate::Moved("rsc_defaults", "migration-threshold")),
    ("election_timeout", Fate::Renamed("election-timeout")),
    ("expected-quorum-votes", Fate::Gone("the membership layer counts the votes")),
    ("is-managed-default", Fate::Moved("rsc_defaults", "is-managed")),
    ("is_managed_default", Fate::Moved("rsc_defaults", "is-managed")),
    ("no_quorum_policy", Fate::Renamed("no-quorum-policy")),
    ("notification-agent", Fate::Gone(ALERTS)),
    ("notification-recipient", Fate::Gone(ALERTS)),
    ("remove_after_stop", Fate::Renamed("remove-after-stop")),
    ("shutdown_escalation", Fate::Renamed("shutdown-escalation")),
    ("startup_fencing", Fate::Renamed("startup-fencing")),
    ("stonith_action", Fate::Renamed("stonith-action")),
    ("stonith_enabled", Fate::Renamed("stonith-enabled")),
    ("stop_orphan_actions", Fate::Renamed("stop-orphan-actions")),
    ("stop_orphan_resources", Fate::Renamed("stop-orphan-resources")),
    ("symmetric_cluster", Fate::Renamed("symmetric-cluster")),
    ("transition_idle_timeout", Fate::Renamed("cluster-delay")),
];

/// Values of `cluster-infrastructure` that are not supported any more.
const OLD_INFRASTRUCTURE: &[&str] =
    &["heartbeat", "openais", "classic openais", "classic openais (with plugin)", "cman"];

/// Parameters of fence devices with other names.
const DEVICE_PARAMETERS: &[(&str, &str)] = &[
    ("pcmk_list_cmd", "pcmk_list_action"),
    ("pcmk_monitor_cmd", "pcmk_monitor_action"),
    ("pcmk_off_cmd", "pcmk_off_action"),
    ("pcmk_on_cmd", "pcmk_on_action"),
    ("pcmk_reboot_cmd", "pcmk_reboot_action"),
    ("pcmk_status_cmd", "pcmk_status_action"),
];

/// What stood among the parameters of an operation although it is about the operation itself.
const OPERATION_OPTIONS: &[&str] =
    &["interval-origin", "start-delay", "enabled", "on-fail", "record-pending", "role", "timeout"];

pub(super) fn upgrade(configuration: &mut Element, work: &mut Work) {
    properties(configuration, work);
    for_all(configuration, &mut |element| match element.name() {
        "node" if element.attribute("type") == Some("normal") => {
            element.set("type", "member");
            work.changed(element.id(), "the node type normal is called member now");
        }
        "primitive" | "template" => resource(element, work),
        "rsc_colocation" => {
            for attribute in ["score-attribute", "score-attribute-mangle"] {
                if element.unset(attribute) {
                    let message = format!("{attribute} of a colocation is gone: it never had an effect");
                    work.lost(element.id(), message);
                }
            }
        }
        _ => {}
    });
}

/// A pair that is to stand in a section of defaults, and the rule of the set it comes from.
struct Move {
    section: &'static str,
    pair: Element,
    was: String,
    rule: Option<Arc<Element>>,
}

fn properties(configuration: &mut Element, work: &mut Work) {
    let mut moves = Vec::new();
    if let Some(properties) = configuration.child_mut("crm_config") {
        for set in properties.children_mut() {
            let rule = set.nodes().iter().find_map(|node| match node {
                Node::Element(child) if child.name() == "rule" => Some(Arc::clone(child)),
                _ => None,
            });
            set.nodes_mut().retain_mut(|node| match node {
                Node::Element(pair) if pair.name() == "nvpair" => {
                    property(Arc::make_mut(pair), rule.as_ref(), &mut moves, work)
                }
                _ => true,
            });
        }
    }
    for moved in moves {
        move_to_defaults(configuration, moved, work);
    }
}

/// Sees to one property; false where it is to go from here.
fn property(pair: &mut Element, rule: Option<&Arc<Element>>, moves: &mut Vec<Move>, work: &mut Work) -> bool {
    let name = pair.attribute("name").unwrap_or_default().to_owned();
    let value = pair.attribute("value").unwrap_or_default();
    if name == "cluster-infrastructure" && OLD_INFRASTRUCTURE.contains(&value) {
        let message = format!("{name} '{value}' is gone: no such infrastructure is supported any more");
        work.lost(pair.id(), message);
        return false;
    }
    let failure_stickiness = name.ends_with("failure-stickiness") || name.ends_with("failure_stickiness");
    let Some((_, fate)) = PROPERTIES.iter().find(|(old, _)| *old == name) else { return true };
    match *fate {
        Fate::Moved(..) if failure_stickiness && value != "-INFINITY" => {
            work.lost(pair.id(), format!("{name} is gone: {THRESHOLD}"));
            false
        }
        Fate::Renamed(new) => {
            pair.set("name", new);
            work.changed(pair.id(), format!("the property {name} is called {new} now"));
            true
        }
        Fate::Gone(why) => {
            work.lost(pair.id(), format!("{name} is gone: {why}"));
            false
        }
        Fate::Moved(section, new) => {
            pair.set("name", new);
            if failure_stickiness {
                pair.set("value", "1");
            }
            moves.push(Move { section, pair: pair.clone(), was: name, rule: rule.cloned() });
            false
        }
    }
}

/// Puts a pair into a section of defaults, unless it is set there already.
fn move_to_defaults(configuration: &mut Element, moved: Move, work: &mut Work) {
    let Move { section, pair, was, rule } = moved;
    let name = pair.attribute("name").unwrap_or_default().to_owned();
    let defaults = configuration.child_or_new(section);
    if rule.is_none() && is_set(defaults, &name) {
        work.lost(pair.id(), format!("{was} is gone: {name} is set in {section} already"));
        return;
    }
    work.changed(pair.id(), format!("the property {was} is {name} in {section} now"));
    match rule {
        None => plain_set(defaults, "meta_attributes", section, work).push(pair),
        Some(rule) => {
            let id = work.fresh_id(&format!("{section}-meta_attributes"));
            let rule = work.with_fresh_ids(&rule);
            defaults.push(Element::new("meta_attributes").with("id", id).with_child(rule).with_child(pair));
        }
    }
}

/// True where a set of meta attributes without a rule has this name.
fn is_set(parent: &Element, name: &str) -> bool {
    parent
        .children_named("meta_attributes")
        .filter(|set| set.child("rule").is_none())
        .any(|set| set.children_named("nvpair").any(|pair| pair.attribute("name") == Some(name)))
}

/// The first set of this kind without a rule, made if there is none.
fn plain_set<'a>(parent: &'a mut Element, kind: &str, owner: &str, work: &mut Work) -> &'a mut Element {
    let fits =
        |child: &Element| child.name() == kind && child.child("rule").is_none() && child.attribute("id-ref").is_none();
    if !parent.children().any(fits) {
        let id = work.fresh_id(&format!("{owner}-{kind}"));
        let set = Node::Element(Element::new(kind).with("id", id).into());
        // In front of the operations, where people look for it.
        let at = parent.nodes().iter().position(|n| matches!(n, Node::Element(e) if e.name() == "operations"));
        let at = at.unwrap_or(parent.nodes().len());
        parent.nodes_mut().insert(at, set);
    }
    let found = parent.find_child_mut(fits);
    found.unwrap_or_else(|| unreachable!("it was there or has just been made"))
}

fn resource(resource: &mut Element, work: &mut Work) {
    for set in resource.children_mut() {
        match set.name() {
            "instance_attributes" => {
                set.nodes_mut().retain_mut(|node| match node {
                    Node::Element(pair) if pair.name() == "nvpair" => parameter(Arc::make_mut(pair), work),
                    _ => true,
                });
            }
            "meta_attributes" => meta_attributes(set, work),
            _ => {}
        }
    }
    let mut required = None;
    if let Some(operations) = resource.child_mut("operations") {
        for operation in operations.children_mut() {
            required = self::operation(operation, work).or(required);
        }
    }
    if let Some((id, requires)) = required
        && !is_set(resource, "requires")
    {
        let id = work.fresh_id(&format!("{id}-requires"));
        let owner = resource.id().to_owned();
        plain_set(resource, "meta_attributes", &owner, work).push(nvpair(&id, "requires", &requires));
    }
}

/// Sees to one parameter of a resource; false where it is to go.
fn parameter(pair: &mut Element, work: &mut Work) -> bool {
    let name = pair.attribute("name").unwrap_or_default().to_owned();
    if name == "pcmk_arg_map" {
        let Some(argument) = pair.attribute("value").and_then(|map| map.strip_prefix("port:")).map(str::to_owned)
        else {
            work.lost(pair.id(), "pcmk_arg_map is gone: pcmk_host_argument can be set instead");
            return false;
        };
        pair.set("name", "pcmk_host_argument");
        pair.set("value", &argument);
        work.changed(pair.id(), "pcmk_arg_map is pcmk_host_argument now");
    } else if let Some((_, new)) = DEVICE_PARAMETERS.iter().find(|(old, _)| *old == name) {
        pair.set("name", new);
        work.changed(pair.id(), format!("{name} is called {new} now"));
    }
    true
}

fn meta_attributes(set: &mut Element, work: &mut Work) {
    let mut stopped = set.children_named("nvpair").any(|pair| pair.attribute("name") == Some("target-role"));
    set.nodes_mut().retain_mut(|node| {
        let Node::Element(pair) = node else { return true };
        let name = pair.attribute("name").unwrap_or_default().to_owned();
        match &*name {
            "isolation" | "isolation-host" | "isolation-instance" | "isolation-wrapper" => {
                let why = "is gone: bundles do this now; the resource is stopped by target-role";
                work.lost(pair.id(), format!("{name} {why}"));
                let pair = Arc::make_mut(pair);
                pair.set("name", "target-role");
                pair.set("value", "Stopped");
                !std::mem::replace(&mut stopped, true)
            }
            "resource-failure-stickiness" | "resource_failure_stickiness" => {
                if pair.attribute("value") != Some("-INFINITY") {
                    work.lost(pair.id(), format!("{name} is gone: migration-threshold can be set instead"));
                    return false;
                }
                let pair = Arc::make_mut(pair);
                pair.set("name", "migration-threshold");
                pair.set("value", "1");
                work.changed(pair.id(), format!("{name} is migration-threshold now"));
                true
            }
            _ => true,
        }
    });
}

/// Sees to one operation; gives the id and the value of a `requires` that is the resource's own now.
fn operation(operation: &mut Element, work: &mut Work) -> Option<(String, String)> {
    let name = operation.attribute("name").unwrap_or_default().to_owned();
    let id = operation.id().to_owned();
    let mut requires = take(operation, "requires");
    let mut options = Vec::new();
    for set in operation.children_mut() {
        if set.name() != "instance_attributes" && set.name() != "meta_attributes" {
            continue;
        }
        for pair in extract(set, |pair| pair.attribute("name") == Some("requires")) {
            requires = requires.or_else(|| pair.attribute("value").map(str::to_owned));
        }
        if set.name() == "instance_attributes" {
            let named = |pair: &Element| pair.attribute("name").is_some_and(|name| OPERATION_OPTIONS.contains(&name));
            options.extend(extract(set, named));
        }
    }
    operation.remove_children(|set| set.name() == "instance_attributes" && set.id() != "" && set.nodes().is_empty());
    for pair in options {
        let option = pair.attribute("name").unwrap_or_default();
        if operation.attribute(option).is_some() || is_set(operation, option) {
            work.lost(pair.id(), format!("{option} is gone: the operation has it already"));
            continue;
        }
        work.changed(pair.id(), format!("{option} is a meta attribute of the operation now"));
        plain_set(operation, "meta_attributes", &id, work).push(pair);
    }
    let requires = requires?;
    if name == "start" || name == "promote" {
        work.changed(&id, format!("requires of the operation {name} is the resource's own now"));
        return Some((id, requires));
    }
    work.lost(&id, format!("requires of the operation {name} is gone: only that of start and promote counted"));
    None
}

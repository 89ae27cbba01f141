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
    Gone(Instead),
}

/// What can be done instead, in our words and in Pacemaker's.
type Instead = (&'static str, &'static str);

/// How Pacemaker's commands name the tables of this upgrade.
mod table {
    pub(super) const PROPERTIES: &str = "Cluster properties";
    pub(super) const NODE: &str = "Cluster node";
    pub(super) const PARAMETERS: &str = "Resource instance_attributes";
    pub(super) const META: &str = "Resource meta_attributes";
    pub(super) const OPERATION: &str = "Resources-operation";
    pub(super) const OPERATION_PARAMETERS: &str = "Resources-operation instance_attributes";
    pub(super) const COLOCATION: &str = "Constraints-colocation";
}

/// The lines in which Pacemaker's commands announce a change of something: what they do to it, and more about that.
fn lines(severity: &str, table: &str, context: &str, what: &str, more: Option<&str>) -> Vec<String> {
    let more = more.map(|more| format!("{severity}: {table}: ... {more}"));
    std::iter::once(format!("{severity}: {table}: {context}: {what}")).chain(more).collect()
}

const THRESHOLD: Instead = (
    "migration-threshold in rsc_defaults can be set instead",
    "migration-threshold in rsc_defaults can be configured instead",
);
const ALERTS: Instead = ("alerts can be configured instead", "standalone alerts can be configured instead");
const VOTES: Instead =
    ("the membership layer counts the votes", "corosync (2+) infrastructure tracks quorum on its own");

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
    ("expected-quorum-votes", Fate::Gone(VOTES)),
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
            let context = format!("{} (id={})", element.attribute("uname").unwrap_or_default(), element.id());
            let what = "keeping type as type, redefined as member, for matching normal";
            work.announce_all(lines("DEBUG", table::NODE, &context, what, None));
        }
        "primitive" | "template" => resource(element, work),
        "rsc_colocation" => {
            for attribute in ["score-attribute", "score-attribute-mangle"] {
                if element.unset(attribute) {
                    let message = format!("{attribute} of a colocation is gone: it never had an effect");
                    work.lost(element.id(), message);
                    let (what, more) = (format!("dropping {attribute}"), Some("was actually never in effect"));
                    work.announce_all(lines("INFO", table::COLOCATION, element.id(), &what, more));
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
        let what = format!("dropping {name} for matching {}", OLD_INFRASTRUCTURE.join("|"));
        let more = "corosync (2+) infrastructure can be used instead, though the value is not of significance";
        work.announce_all(lines("INFO", table::PROPERTIES, pair.id(), &what, Some(more)));
        return false;
    }
    let failure_stickiness = name.ends_with("failure-stickiness") || name.ends_with("failure_stickiness");
    let Some((_, fate)) = PROPERTIES.iter().find(|(old, _)| *old == name) else { return true };
    match *fate {
        Fate::Moved(..) if failure_stickiness && value != "-INFINITY" => {
            drop_property(pair.id(), &name, THRESHOLD, work);
            false
        }
        Fate::Renamed(new) => {
            pair.set("name", new);
            work.changed(pair.id(), format!("the property {name} is called {new} now"));
            let what = format!("renaming {name} as {new}");
            work.announce_all(lines("DEBUG", table::PROPERTIES, pair.id(), &what, None));
            true
        }
        Fate::Gone(why) => {
            drop_property(pair.id(), &name, why, work);
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

fn drop_property(id: &str, name: &str, why: Instead, work: &mut Work) {
    work.lost(id, format!("{name} is gone: {}", why.0));
    work.announce_all(lines("INFO", table::PROPERTIES, id, &format!("dropping {name}"), Some(why.1)));
}

/// Puts a pair into a section of defaults, unless it is set there already.
fn move_to_defaults(configuration: &mut Element, moved: Move, work: &mut Work) {
    let Move { section, pair, was, rule } = moved;
    let name = pair.attribute("name").unwrap_or_default().to_owned();
    let defaults = configuration.child_or_new(section);
    let redefined = if name == "migration-threshold" { ", redefined as 1, for matching -INFINITY" } else { "" };
    let what = format!("moving {was} under {section} as {name} unless already defined there{redefined}");
    let announced = lines("DEBUG", table::PROPERTIES, pair.id(), &what, None);
    if rule.is_none() && is_set(defaults, &name) {
        work.lost(pair.id(), format!("{was} is gone: {name} is set in {section} already"));
        work.announce_all(announced);
        return;
    }
    work.changed(pair.id(), format!("the property {was} is {name} in {section} now"));
    work.announce_all(announced);
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
    let owner = resource.id().to_owned();
    for set in resource.children_mut() {
        match set.name() {
            "instance_attributes" => {
                set.nodes_mut().retain_mut(|node| match node {
                    Node::Element(pair) if pair.name() == "nvpair" => parameter(Arc::make_mut(pair), work),
                    _ => true,
                });
            }
            "meta_attributes" => meta_attributes(&owner, set, work),
            _ => {}
        }
    }
    let mut required = None;
    if let Some(operations) = resource.child_mut("operations") {
        for operation in operations.children_mut() {
            required = self::operation(&owner, operation, work).or(required);
        }
    }
    if let Some((id, requires)) = required
        && !is_set(resource, "requires")
    {
        let id = work.fresh_id(&format!("{id}-requires"));
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
            work.announce_all(lines("DEBUG", table::PARAMETERS, pair.id(), "dropping pcmk_arg_map", None));
            return false;
        };
        pair.set("name", "pcmk_host_argument");
        pair.set("value", &argument);
        work.changed(pair.id(), "pcmk_arg_map is pcmk_host_argument now");
        let what =
            "renaming pcmk_arg_map as pcmk_host_argument for matching port: prefix that will, meanwhile, get dropped";
        work.announce_all(lines("DEBUG", table::PARAMETERS, pair.id(), what, None));
    } else if let Some((_, new)) = DEVICE_PARAMETERS.iter().find(|(old, _)| *old == name) {
        pair.set("name", new);
        work.changed(pair.id(), format!("{name} is called {new} now"));
        let what = format!("renaming {name} as {new}");
        work.announce_all(lines("DEBUG", table::PARAMETERS, pair.id(), &what, None));
    }
    true
}

fn meta_attributes(owner: &str, set: &mut Element, work: &mut Work) {
    let context = format!("{owner} (meta={})", set.id());
    let mut stopped = set.children_named("nvpair").any(|pair| pair.attribute("name") == Some("target-role"));
    set.nodes_mut().retain_mut(|node| {
        let Node::Element(pair) = node else { return true };
        let name = pair.attribute("name").unwrap_or_default().to_owned();
        match &*name {
            "isolation" | "isolation-host" | "isolation-instance" | "isolation-wrapper" => {
                let why = "is gone: bundles do this now; the resource is stopped by target-role";
                work.lost(pair.id(), format!("{name} {why}"));
                let what = format!("renaming {name} as target-role, redefined as Stopped");
                let more = "i.e. resource at hand disabled; isolation wrappers obsoleted with bundle resources";
                work.announce_all(lines("WARNING", table::META, &context, &what, Some(more)));
                let pair = Arc::make_mut(pair);
                pair.set("name", "target-role");
                pair.set("value", "Stopped");
                !std::mem::replace(&mut stopped, true)
            }
            "resource-failure-stickiness" | "resource_failure_stickiness" => {
                if pair.attribute("value") != Some("-INFINITY") {
                    work.lost(pair.id(), format!("{name} is gone: migration-threshold can be set instead"));
                    let more = Some("migration-threshold can be configured instead");
                    work.announce_all(lines("INFO", table::META, &context, &format!("dropping {name}"), more));
                    return false;
                }
                let pair = Arc::make_mut(pair);
                pair.set("name", "migration-threshold");
                pair.set("value", "1");
                work.changed(pair.id(), format!("{name} is migration-threshold now"));
                let what = format!("renaming {name} as migration-threshold, redefined as 1, for matching -INFINITY");
                work.announce_all(lines("DEBUG", table::META, &context, &what, None));
                true
            }
            _ => true,
        }
    });
}

/// Sees to one operation; gives the id and the value of a `requires` that is the resource's own now.
fn operation(owner: &str, operation: &mut Element, work: &mut Work) -> Option<(String, String)> {
    let name = operation.attribute("name").unwrap_or_default().to_owned();
    let id = operation.id().to_owned();
    let counts = name == "start" || name == "promote";
    let required = |table: &str, context: &str, place: &str| match counts {
        true => {
            let what = format!(
                "moving requires under {place} as requires unless already defined there for matching start|promote"
            );
            lines("DEBUG", table, context, &what, None)
        }
        false => {
            let more = Some("only start/promote operation taken into account");
            lines("INFO", table, context, "dropping requires", more)
        }
    };
    let mut announced = Vec::new();
    let mut requires = take(operation, "requires");
    if requires.is_some() {
        announced.extend(required(table::OPERATION, &format!("{id} (rsc={owner})"), "meta_attributes"));
    }
    let mut options = Vec::new();
    for set in operation.children_mut() {
        if set.name() != "instance_attributes" && set.name() != "meta_attributes" {
            continue;
        }
        let context = format!("{id} (rsc={owner}, meta={})", set.id());
        for pair in extract(set, |pair| pair.attribute("name") == Some("requires")) {
            announced.extend(match set.name() {
                "meta_attributes" => required(table::OPERATION, &context, "meta_attributes"),
                _ => required(table::OPERATION_PARAMETERS, &context, "per-resource-meta_attributes"),
            });
            requires = requires.or_else(|| pair.attribute("value").map(str::to_owned));
        }
        if set.name() == "instance_attributes" {
            let named = |pair: &Element| pair.attribute("name").is_some_and(|name| OPERATION_OPTIONS.contains(&name));
            options.extend(extract(set, named).into_iter().map(|pair| (pair, context.clone())));
        }
    }
    operation.remove_children(|set| set.name() == "instance_attributes" && set.id() != "" && set.nodes().is_empty());
    for (pair, context) in options {
        let option = pair.attribute("name").unwrap_or_default();
        let what = format!("moving {option} under meta_attributes as {option} unless already defined there");
        let lines = lines("DEBUG", table::OPERATION_PARAMETERS, &context, &what, None);
        if operation.attribute(option).is_some() || is_set(operation, option) {
            work.lost(pair.id(), format!("{option} is gone: the operation has it already"));
            work.announce_all(lines);
            continue;
        }
        work.changed(pair.id(), format!("{option} is a meta attribute of the operation now"));
        work.announce_all(lines);
        plain_set(operation, "meta_attributes", &id, work).push(pair);
    }
    let requires = requires?;
    if counts {
        work.changed(&id, format!("requires of the operation {name} is the resource's own now"));
    } else {
        work.lost(&id, format!("requires of the operation {name} is gone: only that of start and promote counted"));
    }
    work.announce_all(announced);
    counts.then_some((id, requires))
}

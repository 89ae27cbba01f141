//! Resources as text.

use crate::outline::{Outline, Section};
use crate::status::{Bundle, CloneSet, Group, Node, Primitive, Replica, Resource};
use crate::text::{Context, Show};
use crate::words;
use hakudo_scheduler::ShownRole;
use std::collections::{BTreeMap, BTreeSet};

/// How a resource stands in its surroundings.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Under its node, so that the node need not be said.
    under_node: bool,
    /// Also what the cluster makes itself.
    implicit: bool,
}

pub(crate) fn resources(outline: &mut Outline, context: &Context<'_>, blank_before: bool) -> bool {
    let show = context.show;
    if show.by_node && !show.inactive {
        return false;
    }
    let title = if show.by_node {
        "Inactive Resources"
    } else if show.inactive {
        "Full List of Resources"
    } else {
        "Active Resources"
    };
    let mut section = Section::new(title, blank_before);
    let mut something = false;
    if show.brief && !show.by_node {
        section.begin(outline);
        something |= brief(outline, context, context.status.resources.iter(), show.inactive, false);
    }
    for resource in &context.status.resources {
        let (active, partially) = (is_active(context, resource, true), is_active(context, resource, false));
        let shown = if resource.removed() && !active {
            false
        } else if show.by_node {
            !active
        } else if show.brief && matches!(resource, Resource::Primitive(_)) {
            false
        } else {
            partially || show.inactive
        };
        if shown {
            section.begin(outline);
            let place = Place { implicit: show.implicit, ..Place::default() };
            something |= write_resource(outline, context, resource, place);
        }
    }
    if !something {
        section.begin(outline);
        outline.item(if show.by_node {
            "No inactive resources"
        } else if show.inactive {
            "No resources"
        } else {
            "No active resources"
        });
    }
    section.end(outline);
    something
}

/// A node's line, with what runs there under it.
pub(crate) fn node_with_resources(outline: &mut Outline, context: &Context<'_>, node: &Node, line: &str) {
    let running: Vec<&Resource> = node.running.iter().filter_map(|id| context.status.resource(id)).collect();
    if context.show.brief {
        if !running.is_empty() {
            outline.open(line);
            outline.open("Resources");
            brief(outline, context, running.into_iter(), false, true);
            outline.close();
            outline.close();
        }
        return;
    }
    outline.open(line);
    outline.open("Resources");
    for resource in running {
        write_resource(outline, context, resource, Place { under_node: true, implicit: context.show.implicit });
    }
    outline.close();
    outline.close();
}

fn write_resource(outline: &mut Outline, context: &Context<'_>, resource: &Resource, place: Place) -> bool {
    match resource {
        Resource::Primitive(primitive) => {
            let node = primitive.active_on.first().or(primitive.pending_on.as_ref()).map(String::as_str);
            write_primitive(outline, context, primitive, &primitive.name, node, place)
        }
        Resource::Group(group) => write_group(outline, context, group, place),
        Resource::Clone(clone) => write_clone(outline, context, clone, place),
        Resource::Bundle(bundle) => write_bundle(outline, context, bundle, place),
    }
}

/// Whether all (or any) of a resource counts as active: a managed resource on a node that is cleanly gone does not.
fn is_active(context: &Context<'_>, resource: &Resource, all: bool) -> bool {
    match resource {
        Resource::Primitive(primitive) => primitive
            .active_on
            .iter()
            .any(|node| !primitive.managed || context.node(node).is_some_and(|node| node.unclean || node.online)),
        Resource::Group(group) => {
            let mut members = group.members.iter().map(|member| is_active(context, member, all));
            if all { !group.members.is_empty() && members.all(|active| active) } else { members.any(|active| active) }
        }
        Resource::Clone(clone) => {
            let mut instances = clone.instances.iter().map(|instance| is_active(context, instance, all));
            if all { instances.all(|active| active) } else { instances.any(|active| active) }
        }
        Resource::Bundle(bundle) => {
            let parts: Vec<bool> = bundle
                .replicas
                .iter()
                .flat_map(Replica::resources)
                .map(|resource| is_active(context, resource, all))
                .collect();
            if all { parts.iter().all(|active| *active) } else { parts.contains(&true) }
        }
    }
}

fn description(show: &Show, place: Place, text: Option<&String>) -> Option<String> {
    text.filter(|_| show.descriptions || place.under_node).map(|text| format!(" ({text})"))
}

fn write_primitive(
    outline: &mut Outline,
    context: &Context<'_>,
    primitive: &Primitive,
    name: &str,
    node: Option<&str>,
    place: Place,
) -> bool {
    if primitive.internal && !place.implicit {
        return false;
    }
    outline.item(&primitive_line(context, primitive, name, node, place));
    true
}

/// The role as people see it: of a promotable clone, started means unpromoted.
fn shown_role(primitive: &Primitive) -> ShownRole {
    if primitive.role == ShownRole::Started && primitive.promotable { ShownRole::Unpromoted } else { primitive.role }
}

fn pending_state(primitive: &Primitive) -> Option<&'static str> {
    match primitive.pending.as_deref()? {
        "start" => Some("Starting"),
        "stop" => Some("Stopping"),
        "migrate_to" | "migrate_from" => Some("Migrating"),
        "promote" => Some("Promoting"),
        "demote" => Some("Demoting"),
        _ => None,
    }
}

fn primitive_line(
    context: &Context<'_>,
    primitive: &Primitive,
    name: &str,
    node: Option<&str>,
    place: Place,
) -> String {
    let show = context.show;
    let several = primitive.active_on.len() > 1;
    let node = node.or(primitive.locked_to.as_deref()).filter(|_| !place.under_node && !several);
    let mut line = format!("{name}\t({}):\t", primitive.agent);
    let role = shown_role(primitive);
    if primitive.removed {
        line.push_str(" ORPHANED");
    }
    if primitive.failed {
        line.push_str(" FAILED");
        if role > ShownRole::Unpromoted {
            line.push_str(&format!(" {role}"));
        }
    } else {
        let state = pending_state(primitive).filter(|_| show.pending).unwrap_or(role.as_str());
        line.push_str(&format!(" {state}"));
    }
    if let Some(node) = node {
        line.push_str(&format!(" {node}"));
    }
    if role == ShownRole::Stopped {
        let probe = match node {
            Some(node) => primitive.failed_probes.iter().find(|probe| probe.node.eq_ignore_ascii_case(node)),
            None => primitive.failed_probes.first(),
        };
        if let Some(probe) = probe {
            line.push_str(&format!(" ({}) ", words::exit_code(probe.exit_code)));
        }
    }
    let flags = primitive_flags(context, primitive, node);
    if !flags.is_empty() {
        line.push_str(&format!(" ({})", flags.join(", ")));
    }
    if (show.descriptions || place.under_node || several)
        && let Some(text) = &primitive.description
    {
        line.push_str(&format!(" ({text})"));
    }
    if several && !place.under_node {
        line.push_str(&format!(" [ {} ]", primitive.active_on.join(" ")));
    }
    line
}

fn primitive_flags(context: &Context<'_>, primitive: &Primitive, node: Option<&str>) -> Vec<String> {
    let mut flags = Vec::new();
    let mut flag = |text: &str| flags.push(text.to_owned());
    if node.and_then(|node| context.node(node)).is_some_and(|node| !node.online && node.unclean) {
        flag("UNCLEAN");
    }
    if node.is_some() && node == primitive.locked_to.as_deref() {
        flag("LOCKED");
    }
    if context.show.pending && primitive.pending.as_deref() == Some("monitor") {
        flag("Monitoring");
    }
    match primitive.target_role.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("stopped") => flag("disabled"),
        Some("unpromoted" | "slave") if primitive.promotable => {
            flag(&format!("target-role:{}", primitive.target_role.as_deref().unwrap_or_default()));
        }
        _ => {}
    }
    if primitive.blocked {
        flag("blocked");
    } else if primitive.maintenance {
        flag("maintenance");
    } else if !primitive.managed {
        flag("unmanaged");
    }
    if primitive.failure_ignored {
        flag("failure ignored");
    }
    flags
}

/// The words in brackets behind the name of a group or clone.
fn remarks(first: Vec<&str>, disabled: bool, maintenance: bool, managed: bool) -> String {
    let mut words: Vec<&str> = first;
    if disabled {
        words.push("disabled");
    }
    if maintenance {
        words.push("maintenance");
    } else if !managed {
        words.push("unmanaged");
    }
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn write_group(outline: &mut Outline, context: &Context<'_>, group: &Group, place: Place) -> bool {
    let show = context.show;
    let active: Vec<bool> = group.members.iter().map(|member| is_active(context, member, false)).collect();
    let inactive = active.iter().filter(|active| !**active).count();
    let count;
    let mut first = Vec::new();
    if inactive > 0 && inactive < active.len() && !show.inactive {
        count = format!("{inactive} member{} inactive", words::plural(inactive));
        first.push(count.as_str());
    }
    let title = format!(
        "Resource Group: {}{}{}",
        group.id,
        remarks(first, group.disabled, group.maintenance, group.managed),
        description(show, place, group.description.as_ref()).unwrap_or_default()
    );
    let mut section = Section::new(title, false);
    if show.brief {
        if !group.members.is_empty() {
            section.begin(outline);
            brief(outline, context, group.members.iter(), true, place.under_node);
        }
    } else {
        for (member, active) in group.members.iter().zip(active) {
            if active || show.inactive {
                section.begin(outline);
                write_resource(outline, context, member, place);
            }
        }
    }
    section.end(outline)
}

/// What the instances of a clone have in common, collected for the short lists.
#[derive(Default)]
struct Lists<'a> {
    promoted: Vec<&'a str>,
    started: Vec<&'a str>,
    stopped: BTreeMap<String, Vec<&'a str>>,
}

fn write_clone(outline: &mut Outline, context: &Context<'_>, clone: &CloneSet, place: Place) -> bool {
    let show = context.show;
    let mut first = Vec::new();
    if clone.promotable {
        first.push("promotable");
    }
    if clone.unique {
        first.push("unique");
    }
    let title = format!(
        "Clone Set: {} [{}]{}{}",
        clone.id,
        clone.child,
        remarks(first, clone.disabled, clone.maintenance, clone.managed),
        description(show, place, clone.description.as_ref()).unwrap_or_default()
    );
    let mut section = Section::new(title, false);
    let mut lists = Lists::default();
    for instance in &clone.instances {
        if stands_alone(context, clone, instance, &mut lists) {
            section.begin(outline);
            write_resource(outline, context, instance, place);
        }
    }
    if show.clone_detail {
        section.end(outline);
        return true;
    }
    let active = lists.promoted.len() + lists.started.len();
    lists.promoted.sort_by(|a, b| words::by_name(a, b));
    lists.started.sort_by(|a, b| words::by_name(a, b));
    if !lists.promoted.is_empty() {
        section.begin(outline);
        outline.item(&format!("Promoted: [ {} ]", lists.promoted.join(" ")));
    }
    if !lists.started.is_empty() {
        section.begin(outline);
        let limited = clone
            .target_role
            .as_deref()
            .is_some_and(|role| role.eq_ignore_ascii_case("Unpromoted") || role.eq_ignore_ascii_case("Slave"));
        let title = match (clone.promotable, limited) {
            (true, true) => "Unpromoted (target-role)",
            (true, false) => "Unpromoted",
            (false, _) => "Started",
        };
        outline.item(&format!("{title}: [ {} ]", lists.started.join(" ")));
    }
    if show.inactive {
        if !clone.unique && clone.clone_max > active {
            lists.stopped = stopped_nodes(clone);
        }
        for (state, mut names) in std::mem::take(&mut lists.stopped) {
            section.begin(outline);
            names.sort_by(|a, b| words::by_name(a, b));
            outline.item(&format!("{state}: [ {} ]", names.join(" ")));
        }
        if active == 0 {
            section.begin(outline);
        }
    }
    section.end(outline)
}

/// Whether an instance gets lines of its own. One that does not is put in a list, if it is to be shown at all.
fn stands_alone<'a>(context: &Context<'_>, clone: &CloneSet, instance: &'a Resource, lists: &mut Lists<'a>) -> bool {
    let show = context.show;
    let partially = is_active(context, instance, false);
    let primitives = instance.primitives();
    if show.clone_detail {
        return true;
    }
    if clone.unique {
        return partially || !clone.removed;
    }
    let pending = match instance {
        Resource::Primitive(primitive) => primitive.pending.as_deref(),
        _ => None,
    };
    if show.pending && pending.is_some_and(|task| task != "probe") {
        return true;
    }
    if !partially {
        if !instance.removed() && show.inactive {
            lists.stopped.entry("Stopped".to_owned()).or_default().push(instance.id());
        }
        return false;
    }
    let unusual = |resource: &Resource| match resource {
        Resource::Primitive(primitive) => primitive.removed || !primitive.managed || primitive.failed,
        Resource::Group(group) => group.removed || !group.managed,
        Resource::Clone(_) | Resource::Bundle(_) => false,
    };
    if instance.walk().into_iter().any(unusual) || !is_active(context, instance, true) {
        return true;
    }
    let places: BTreeSet<&str> =
        primitives.iter().flat_map(|primitive| primitive.active_on.iter().map(String::as_str)).collect();
    let mut places = places.into_iter();
    let (Some(place), None) = (places.next(), places.next()) else { return true };
    if context.node(place).is_some_and(|node| !node.online && node.unclean) {
        return true;
    }
    if primitives.iter().any(|primitive| primitive.role > ShownRole::Unpromoted) {
        lists.promoted.push(place);
    } else {
        lists.started.push(place);
    }
    false
}

/// The nodes without an instance, by why.
fn stopped_nodes(clone: &CloneSet) -> BTreeMap<String, Vec<&str>> {
    let disabled = clone.target_role.as_deref().is_some_and(|role| role.eq_ignore_ascii_case("Stopped"));
    let mut stopped: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for node in clone.possible_nodes.iter().filter(|node| !clone.active_on.contains(node)) {
        let state = match clone.failed_probes.iter().find(|probe| probe.node.eq_ignore_ascii_case(node)) {
            Some(probe) => format!("Stopped ({})", words::exit_code(probe.exit_code)),
            None if disabled => "Stopped (disabled)".to_owned(),
            None => "Stopped".to_owned(),
        };
        stopped.entry(state).or_default().push(node);
    }
    stopped
}

fn write_bundle(outline: &mut Outline, context: &Context<'_>, bundle: &Bundle, place: Place) -> bool {
    let show = context.show;
    let unmanaged = if bundle.maintenance {
        " (maintenance)"
    } else if bundle.managed {
        ""
    } else {
        " (unmanaged)"
    };
    let several = bundle.replicas.len() > 1;
    let title = format!(
        "Container bundle{}: {} [{}]{}{}{unmanaged}",
        if several { " set" } else { "" },
        bundle.id,
        bundle.image,
        if bundle.unique { " (unique)" } else { "" },
        description(show, place, bundle.description.as_ref()).unwrap_or_default()
    );
    let mut section = Section::new(title, false);
    for replica in &bundle.replicas {
        section.begin(outline);
        if show.implicit {
            if several {
                outline.item(&format!("Replica[{}]", replica.number));
            }
            outline.indent();
            for resource in replica.resources() {
                write_resource(outline, context, resource, Place { implicit: true, ..place });
            }
            outline.close();
        } else {
            write_replica(outline, context, replica, place);
        }
    }
    section.end(outline)
}

fn write_replica(outline: &mut Outline, context: &Context<'_>, replica: &Replica, place: Place) {
    let container = primitive_of(replica.container.as_deref());
    let Some(service) = primitive_of(replica.child.as_deref()).or(container) else { return };
    let named = primitive_of(replica.remote.as_deref()).or(container).unwrap_or(service);
    let mut name = named.name.clone();
    if let Some(address) = &replica.address {
        name.push_str(&format!(" ({address})"));
    }
    write_primitive(outline, context, service, &name, replica.host.as_deref(), place);
}

fn primitive_of(resource: Option<&Resource>) -> Option<&Primitive> {
    match resource {
        Some(Resource::Primitive(primitive)) => Some(primitive),
        _ => None,
    }
}

/// How many primitives of each agent are active, by node.
fn brief<'a>(
    outline: &mut Outline,
    context: &Context<'_>,
    resources: impl Iterator<Item = &'a Resource>,
    inactive: bool,
    under_node: bool,
) -> bool {
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    let mut active: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for resource in resources {
        let Resource::Primitive(primitive) = resource else { continue };
        *totals.entry(&primitive.agent).or_default() += 1;
        for node in &primitive.active_on {
            if !primitive.managed || context.node(node).is_some_and(|node| node.unclean || node.online) {
                *active.entry(&primitive.agent).or_default().entry(node).or_default() += 1;
            }
        }
    }
    let mut something = false;
    for (agent, total) in &totals {
        let total = if inactive { format!("/{total}") } else { String::new() };
        let mut by_node: Vec<(&str, usize)> =
            active.get(agent).map(|nodes| nodes.iter().map(|(n, c)| (*n, *c)).collect()).unwrap_or_default();
        by_node.sort_by(|a, b| words::by_name(a.0, b.0));
        for (node, count) in &by_node {
            let node = if under_node { "" } else { node };
            outline.item(&format!("{count}{total}\t({agent}):\tActive {node}"));
            something = true;
        }
        if by_node.is_empty() && inactive {
            outline.item(&format!("0{total}\t({agent}):\tActive"));
            something = true;
        }
    }
    something
}

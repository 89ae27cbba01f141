//! 3.x to 4.0: constructs that are gone. What can be said otherwise is said otherwise; the rest goes, with all that
//! refers to it.

use super::{Work, extract, for_all, nvpair, take};
use crate::document::{Element, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Cluster properties with other names.
const PROPERTIES: &[(&str, &str)] = &[
    ("crmd-finalization-timeout", "join-finalization-timeout"),
    ("crmd-integration-timeout", "join-integration-timeout"),
    ("crmd-transition-delay", "transition-delay"),
];

pub(super) fn upgrade(configuration: &mut Element, work: &mut Work) {
    let before = configuration.clone();
    let defined: BTreeMap<&str, &Element> =
        before.descendants().filter_map(|element| Some((element.attribute("id")?, element))).collect();
    // What has none of it stays as it is, shared with whoever has it too.
    if before.descendants().any(|element| has_old_pairs(element) || has_old_values(element)) {
        for_all(configuration, &mut |element| {
            pairs(element, &defined, work);
            values(element, work);
        });
    }
    fencing_levels(configuration, work);
    ping_nodes(configuration, work);
    masters(configuration, work);
    location_rules(configuration, work);
    lifetimes(configuration, work);
    unsupported(configuration, &defined, work);
    definitions(configuration, &defined);
    warn_of_paths(configuration, work);
    permissions(configuration);
}

/// Whether an element is a set in which [`pairs`] may find something to do.
fn has_old_pairs(set: &Element) -> bool {
    let concerns_properties = set.name() == "cluster_property_set";
    let old = |pair: &Element| {
        let property = |name: &str| {
            matches!(name, "remove-after-stop" | "stonith-action") || PROPERTIES.iter().any(|(old, _)| *old == name)
        };
        pair.name() == "nvpair"
            && (pair.attribute("id-ref").is_some()
                || pair.attribute("value").is_none()
                || (concerns_properties && pair.attribute("name").is_some_and(property)))
    };
    is_set_of_pairs(set) && set.children().any(old)
}

fn is_set_of_pairs(element: &Element) -> bool {
    matches!(element.name(), "cluster_property_set" | "meta_attributes" | "instance_attributes" | "utilization")
}

/// Whether [`values`] has something to do for an element.
fn has_old_values(element: &Element) -> bool {
    match element.name() {
        "date_spec" => element.attribute("moon").is_some(),
        "docker" | "podman" | "rkt" => element.attribute("masters").is_some(),
        _ => false,
    }
}

/// Name/value pairs that are gone or have other names.
fn pairs(element: &mut Element, defined: &BTreeMap<&str, &Element>, work: &mut Work) {
    for set in element.children_mut() {
        if !is_set_of_pairs(set) {
            continue;
        }
        let (kind, set_id) = (set.name().to_owned(), set.id().to_owned());
        set.nodes_mut().retain_mut(|node| {
            let Node::Element(pair) = node else { return true };
            if pair.name() != "nvpair" {
                return true;
            }
            if let Some(reference) = pair.attribute("id-ref") {
                if let (Some(name), Some(referred)) = (pair.attribute("name"), defined.get(reference)) {
                    let id = work.fresh_id(&format!("{reference}-{name}"));
                    let made = nvpair(&id, name, referred.attribute("value").unwrap_or_default());
                    work.changed(&set_id, format!("the reference to {reference} under the name {name} is a pair now"));
                    *pair = made.into();
                }
                return true;
            }
            pair_stays(pair, &kind, work)
        });
    }
}

/// Sees to one pair of a set of this kind; false where it is to go.
fn pair_stays(pair: &mut Arc<Element>, kind: &str, work: &mut Work) -> bool {
    let Some(value) = pair.attribute("value") else {
        work.changed(pair.id(), "a pair without a value is gone: it had no effect");
        return false;
    };
    let name = pair.attribute("name").unwrap_or_default().to_owned();
    match (kind, &*name) {
        ("cluster_property_set", "remove-after-stop") => {
            work.lost(pair.id(), "remove-after-stop is gone: it is not supported any more");
            work.announce(format!(
                "WARNING: Dropping nvpair {} because the remove-after-stop property is unsupported",
                pair.id()
            ));
            false
        }
        ("cluster_property_set", "stonith-action") if value == "poweroff" => {
            Arc::make_mut(pair).set("value", "off");
            work.attributes_changed = true;
            work.changed(pair.id(), "the value poweroff of stonith-action is called off now");
            true
        }
        ("cluster_property_set", _) => {
            if let Some((_, new)) = PROPERTIES.iter().find(|(old, _)| *old == name) {
                Arc::make_mut(pair).set("name", new);
                work.attributes_changed = true;
                work.changed(pair.id(), format!("the property {name} is called {new} now"));
            }
            true
        }
        _ => true,
    }
}

/// Attributes that are gone or have other names.
fn values(element: &mut Element, work: &mut Work) {
    if element.name() == "date_spec" && element.unset("moon") {
        work.attributes_changed = true;
        work.lost(element.id(), "the phase of the moon in a date specification is gone");
        work.announce(format!(
            "WARNING: Dropping moon attribute from date spec {} because moon phase is no longer supported",
            element.id()
        ));
    }
    if matches!(element.name(), "docker" | "podman" | "rkt") {
        work.attributes_changed |= element.attribute("masters").is_some();
        element.rename_attribute("masters", "promoted-max");
    }
}

fn fencing_levels(configuration: &mut Element, work: &mut Work) {
    let Some(topology) = configuration.child_mut("fencing-topology") else { return };
    let beyond =
        |level: &Element| level.attribute("index").and_then(crate::values::integer).is_some_and(|index| index > 9);
    for level in extract(topology, beyond) {
        work.lost(level.id(), "a fencing level with an index above 9 is gone: it was never used");
    }
}

/// Ping nodes are members that run nothing.
fn ping_nodes(configuration: &mut Element, work: &mut Work) {
    let mut names = Vec::new();
    for node in configuration.child_mut("nodes").into_iter().flat_map(Element::children_mut) {
        if node.attribute("type") == Some("ping") {
            node.set("type", "member");
            work.attributes_changed = true;
            work.changed(node.id(), "a ping node is a member now, on which no resource may run");
            names.extend(node.attribute("uname").map(str::to_owned));
        }
    }
    for name in names {
        let id = work.fresh_id(&format!("ping-node-ban-{name}"));
        let ban = Element::new("rsc_location")
            .with("id", id)
            .with("rsc-pattern", ".*")
            .with("node", name)
            .with("score", "-INFINITY")
            .with("resource-discovery", "never");
        configuration.child_or_new("constraints").push(ban);
    }
}

/// `<master>` is `<clone>` with `promotable`.
fn masters(configuration: &mut Element, work: &mut Work) {
    let Some(resources) = configuration.child_mut("resources") else { return };
    for resource in resources.children_mut().filter(|resource| resource.name() == "master") {
        resource.rename("clone");
        work.attributes_changed = true;
        let id = work.fresh_id(&format!("promotable-{}", resource.id()));
        let pair = nvpair(&work.fresh_id(&format!("promotable-{}-pair", resource.id())), "promotable", "true");
        let set = Element::new("meta_attributes").with("id", id).with("score", "INFINITY").with_child(pair);
        resource.nodes_mut().insert(0, Node::Element(set.into()));
        work.changed(resource.id(), "a master resource is a clone with promotable=true now");
    }
}

/// A location constraint has at most one rule: one with several becomes several constraints.
fn location_rules(configuration: &mut Element, work: &mut Work) {
    let Some(constraints) = configuration.child_mut("constraints") else { return };
    let mut parts = BTreeMap::new();
    let nodes = std::mem::take(constraints.nodes_mut());
    for node in nodes {
        let several = |e: &Element| e.name() == "rsc_location" && e.children_named("rule").count() > 1;
        match node {
            Node::Element(constraint) if several(&constraint) => {
                let mut ids = Vec::new();
                for number in 0..constraint.children_named("rule").count() {
                    let mut part = (*constraint).clone();
                    let id = work.fresh_id(&format!("{}-{}", constraint.id(), number + 1));
                    part.set("id", &id);
                    let mut rules = 0;
                    part.nodes_mut().retain(|node| match node {
                        Node::Element(child) if child.name() == "rule" => {
                            rules += 1;
                            rules - 1 == number
                        }
                        Node::Element(_) => true,
                        Node::Comment(_) | Node::Text(_) => number == 0,
                    });
                    if number > 0 {
                        for child in part.children_mut().filter(|child| child.name() != "rule") {
                            refer_to_first(child);
                        }
                    }
                    ids.push(id);
                    constraints.push(part);
                }
                work.changed(constraint.id(), format!("each rule has a constraint of its own now: {}", ids.join(", ")));
                parts.insert(constraint.id().to_owned(), ids);
            }
            node => constraints.nodes_mut().push(node),
        }
    }
    if parts.is_empty() {
        return;
    }
    for_all(configuration, &mut |element| {
        if element.name() == "acl_permission"
            && let Some(ids) = element.attribute("reference").and_then(|reference| parts.get(reference))
        {
            let any: Vec<String> = ids.iter().map(|id| format!("@id='{id}'")).collect();
            element.unset("reference");
            work.attributes_changed = true;
            element.set("xpath", &format!("//*[{}]", any.join(" or ")));
        }
    });
}

/// A second copy of a resource set, or of a lifetime's rules, refers to the first one.
fn refer_to_first(element: &mut Element) {
    match element.attribute("id").map(str::to_owned) {
        Some(id) => *element = Element::new(Arc::clone(element.shared_name())).with("id-ref", id),
        None => element.children_mut().for_each(refer_to_first),
    }
}

/// A lifetime of a location constraint is part of its rule; other constraints have none.
fn lifetimes(configuration: &mut Element, work: &mut Work) {
    let Some(constraints) = configuration.child_mut("constraints") else { return };
    let mut loose = Vec::new();
    for constraint in constraints.children_mut() {
        let lifetimes = extract(constraint, |child| child.name() == "lifetime");
        let Some(lifetime) = lifetimes.into_iter().next() else { continue };
        let id = constraint.id().to_owned();
        let mut rules = extract(&mut Arc::unwrap_or_clone(lifetime), |child| child.name() == "rule");
        if constraint.name() != "rsc_location" {
            work.lost(&id, "the lifetime of a colocation or an ordering is gone: the constraint holds always now");
            work.announce(format!(
                "WARNING: Dropping lifetime element from constraint {id} because lifetime elements are no longer supported. \
                 Any rules contained there will no longer apply to the constraint"
            ));
            loose.append(&mut rules);
            continue;
        }
        let limit = match &rules[..] {
            [rule] => Arc::clone(rule),
            _ => {
                let mut any = Element::new("rule")
                    .with("id", work.fresh_id(&format!("{id}-lifetime-or-rule")))
                    .with("boolean-op", "or");
                any.nodes_mut().extend(rules.into_iter().map(Node::Element));
                any.into()
            }
        };
        let own = extract(constraint, |child| child.name() == "rule").into_iter().next();
        let own = own.unwrap_or_else(|| node_rule(constraint, work).into());
        constraint.unset("node");
        constraint.unset("score");
        let mut both = Element::new("rule")
            .with("id", work.fresh_id(&format!("{id}-lifetime-and-rule")))
            .with("boolean-op", "and");
        both.push(own);
        both.push(limit);
        constraint.push(both);
        work.changed(&id, "the lifetime of a location constraint is part of its rule now");
    }
    keep_loose_rules(configuration, loose, work);
}

/// The rule that says what the attributes `node` and `score` of a location constraint say.
fn node_rule(constraint: &Element, work: &mut Work) -> Element {
    let id = work.fresh_id(&format!("{}-node-score-rule", constraint.id()));
    let mut rule = Element::new("rule").with("id", &id);
    if let Some(score) = constraint.attribute("score") {
        rule.set("score", score);
    }
    let expression = Element::new("expression")
        .with("id", work.fresh_id(&format!("{}-node-score-expression", constraint.id())))
        .with("attribute", "#uname")
        .with("operation", "eq")
        .with("value", constraint.attribute("node").unwrap_or_default());
    rule.with_child(expression)
}

/// Rules that are still referred to although their place is gone live on in a constraint that fits no resource.
fn keep_loose_rules(configuration: &mut Element, loose: Vec<Arc<Element>>, work: &mut Work) {
    let needed: Vec<Arc<Element>> = {
        let referred: BTreeSet<&str> =
            configuration.descendants().filter_map(|element| element.attribute("id-ref")).collect();
        loose.into_iter().filter(|rule| referred.contains(rule.id())).collect()
    };
    if needed.is_empty() {
        return;
    }
    let mut rule = Element::new("rule").with("id", work.fresh_id("lifetime-rules-rule")).with("score", "-INFINITY");
    rule.nodes_mut().extend(needed.into_iter().map(Node::Element));
    let holder = Element::new("rsc_location")
        .with("id", work.fresh_id("lifetime-rules"))
        .with("rsc-pattern", "a^")
        .with_child(rule);
    configuration.child_or_new("constraints").push(holder);
}

/// Drops what is not supported any more: resources of some kinds with all that refers to them, and options.
fn unsupported(configuration: &mut Element, defined: &BTreeMap<&str, &Element>, work: &mut Work) {
    let classes = unsupported_classes(configuration);
    if classes.is_empty() && !configuration.descendants().any(may_be_unsupported) {
        return;
    }
    let mut dropper = Dropper { classes, defined, gone: BTreeSet::new(), work };
    dropper.inside(configuration);
    let gone = dropper.gone;
    if !gone.is_empty() {
        drop_references(configuration, &gone, work);
    }
}

/// Whether there is something in an element that is not supported any more, or that refers to what may be.
fn may_be_unsupported(element: &Element) -> bool {
    match element.name() {
        "rkt" => true,
        "meta_attributes" => element.attribute("id-ref").is_some(),
        "nvpair" => element.attribute("name").is_some_and(|name| OPERATION.contains(&name) || RESOURCE.contains(&name)),
        _ => false,
    }
}

/// Options of operations, and of resources, that are gone.
const OPERATION: &[&str] = &["can_fail", "role_after_failure"];
const RESOURCE: &[&str] = &["restart-type"];

/// The class of each template and primitive that is not supported any more, by id.
fn unsupported_classes(configuration: &Element) -> BTreeMap<String, String> {
    let mut classes = BTreeMap::new();
    let Some(resources) = configuration.child("resources") else { return classes };
    let gone = |class: &str| class.eq_ignore_ascii_case("nagios") || class.eq_ignore_ascii_case("upstart");
    for kind in ["template", "primitive"] {
        for element in resources.descendants().filter(|element| element.name() == kind) {
            let own = element.attribute("class").filter(|class| gone(class)).map(str::to_owned);
            let of_template = || element.attribute("template").and_then(|template| classes.get(template).cloned());
            if let Some(class) = own.or_else(of_template) {
                classes.insert(element.id().to_owned(), class);
            }
        }
    }
    classes
}

/// Drops unsupported resources and options, and remembers the ids of those resources.
struct Dropper<'a> {
    /// The class of each unsupported template and primitive, by id.
    classes: BTreeMap<String, String>,
    defined: &'a BTreeMap<&'a str, &'a Element>,
    gone: BTreeSet<String>,
    work: &'a mut Work,
}

impl Dropper<'_> {
    /// Drops below `parent`, in document order.
    fn inside(&mut self, parent: &mut Element) {
        let owner = parent.name().to_owned();
        parent.nodes_mut().retain_mut(|node| {
            let Node::Element(child) = node else { return true };
            if self.resource_goes(child) {
                self.gone.extend(child.descendants().filter_map(|e| e.attribute("id")).map(str::to_owned));
                return false;
            }
            if child.name() == "meta_attributes" {
                self.options(&owner, child);
            } else if child.children().next().is_some() {
                self.inside(Arc::make_mut(child));
            }
            true
        });
    }

    /// Whether a resource is to go: of a class or kind that is gone, or with nothing left in it.
    fn resource_goes(&mut self, resource: &Element) -> bool {
        let id = resource.id();
        match resource.name() {
            "template" | "primitive" => {
                let Some(class) = self.classes.get(id) else { return false };
                let (lost, kind) = match resource.name() {
                    "template" => {
                        (format!("the template is gone: {class} resources are not supported any more"), "template")
                    }
                    _ => ("the resource is gone: its class is not supported any more".to_owned(), "resource"),
                };
                self.work.lost(id, lost);
                self.work.announce(format!(
                    "WARNING: Dropping {kind} {id} because {class} resources are no longer supported"
                ));
                true
            }
            "bundle" if resource.child("rkt").is_some() => {
                self.work.lost(id, "the resource is gone: rkt containers are not supported any more");
                self.work.announce(format!(
                    "WARNING: Dropping bundle resource {id} because rkt containers are no longer supported"
                ));
                true
            }
            kind @ ("group" | "clone") => {
                let mut primitives = resource.descendants().filter(|e| e.name() == "primitive").peekable();
                let empties = primitives.peek().is_some() && primitives.all(|e| self.classes.contains_key(e.id()));
                if empties {
                    self.work.lost(id, "the resource is gone: it would be empty");
                    self.work.announce(format!("INFO: Dropping {kind} {id} because it would become empty"));
                }
                empties
            }
            _ => false,
        }
    }

    /// Drops options from a set of meta attributes in an element of this name. A reference to a set is as the set itself.
    fn options(&mut self, owner: &str, set: &mut Arc<Element>) {
        let (names, instead): (&[&str], _) = match owner {
            "op" | "op_defaults" => (OPERATION, ON_FAIL),
            "template" | "primitive" | "group" | "clone" | "bundle" | "rsc_defaults" => (RESOURCE, KIND),
            _ => return,
        };
        let is_gone = |pair: &Element| {
            pair.name() == "nvpair" && pair.attribute("name").is_some_and(|name| names.contains(&name))
        };
        let work = &mut *self.work;
        let mut drop = |pair: &Element, set: &str| {
            let name = pair.attribute("name").unwrap_or_default();
            work.lost(pair.id(), format!("{name} is gone: {} can be set instead", instead.0));
            work.announce(format!(
                "WARNING: Dropping {name} meta-attribute from {set} because it is no longer supported. Consider setting the {}",
                instead.1
            ));
        };
        if let Some(reference) = set.attribute("id-ref") {
            let referred = self.defined.get(reference).into_iter().flat_map(|set| set.children());
            referred.filter(|pair| is_gone(pair)).for_each(|pair| drop(pair, reference));
        } else if set.children().any(is_gone) {
            let set = Arc::make_mut(set);
            let id = set.id().to_owned();
            extract(set, is_gone).iter().for_each(|pair| drop(pair, &id));
        }
    }
}

/// What can be set instead of an operation's options that are gone, in our words and in Pacemaker's.
const ON_FAIL: (&str, &str) = ("on-fail", "\"on-fail\" operation attribute instead");

/// What can be set instead of a resource's option that is gone.
const KIND: (&str, &str) = ("the kind of an ordering", "\"kind\" attribute for relevant constraints");

/// Drops what refers to resources that are gone.
fn drop_references(configuration: &mut Element, gone: &BTreeSet<String>, work: &mut Work) {
    let refers = |element: &Element, attributes: &[&str]| {
        attributes.iter().any(|attribute| element.attribute(attribute).is_some_and(|id| gone.contains(id)))
    };
    if let Some(constraints) = configuration.child_mut("constraints") {
        let dropped = extract(constraints, |constraint| refers(constraint, &["rsc", "with-rsc", "first", "then"]));
        for constraint in dropped {
            work.lost(constraint.id(), "the constraint is gone with its resource");
        }
        for constraint in constraints.children_mut() {
            for set in constraint.children_mut().filter(|child| child.name() == "resource_set") {
                set.remove_children(|child| child.name() == "resource_ref" && refers(child, &["id"]));
            }
        }
        let empty_set = |e: &Element| {
            e.name() == "resource_set" && e.attribute("id-ref").is_none() && e.child("resource_ref").is_none()
        };
        let only_empty_sets = |constraint: &Element| {
            let mut sets = constraint.children_named("resource_set").peekable();
            sets.peek().is_some() && sets.all(empty_set)
        };
        for constraint in extract(constraints, only_empty_sets) {
            work.lost(constraint.id(), "the constraint is gone with its resources");
        }
        for constraint in constraints.children_mut() {
            constraint.remove_children(empty_set);
        }
    }
    if let Some(tags) = configuration.child_mut("tags") {
        for tag in tags.children_mut() {
            tag.remove_children(|child| refers(child, &["id"]));
        }
        for tag in extract(tags, |tag| tag.children().next().is_none()) {
            work.lost(tag.id(), "the tag is gone with all that it marked");
        }
    }
}

/// Where a reference's definition went away with its place, the first reference becomes the definition.
fn definitions(configuration: &mut Element, defined: &BTreeMap<&str, &Element>) {
    if !configuration.descendants().any(|element| element.attribute("id-ref").is_some()) {
        return;
    }
    let mut present: BTreeSet<String> =
        configuration.descendants().filter_map(|element| element.attribute("id")).map(str::to_owned).collect();
    for_all(configuration, &mut |element| {
        if let Some(reference) = element.attribute("id-ref")
            && !present.contains(reference)
            && let Some(definition) = defined.get(reference)
            && definition.name() == element.name()
        {
            present.extend(definition.descendants().filter_map(|e| e.attribute("id")).map(str::to_owned));
            *element = (*definition).clone();
        }
    });
}

/// Permissions for what is gone are for nothing.
fn permissions(configuration: &mut Element) {
    if configuration.child("acls").is_none() {
        return;
    }
    let present: BTreeSet<String> =
        configuration.descendants().filter_map(|element| element.attribute("id")).map(str::to_owned).collect();
    let Some(acls) = configuration.child_mut("acls") else { return };
    for_all(acls, &mut |element| {
        if element.name() == "acl_permission"
            && element.attribute("reference").is_some_and(|reference| !present.contains(reference))
        {
            take(element, "reference");
            element.set("xpath", "/*[false()]");
        }
    });
}

/// Permissions by path may not fit what was changed.
fn warn_of_paths(configuration: &Element, work: &mut Work) {
    let by_path =
        |acls: &Element| acls.descendants().any(|e| e.name() == "acl_permission" && e.attribute("xpath").is_some());
    if work.attributes_changed && configuration.child("acls").is_some_and(by_path) {
        work.lost("", "permissions by xpath may no longer fit the configuration: look at them");
        work.announce(
            "WARNING: CIB syntax changes may invalidate ACLs that use \"xpath\". It is strongly recommended to run \
             \"cibadmin --upgrade\" and then examine the updated CIB carefully to ensure ACLs still match the desired intent."
                .to_owned(),
        );
    }
}

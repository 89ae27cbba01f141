//! Changes a CIB as the tree that it is, so that most of what comes out can be read and reaches the decisions. What stands
//! for itself in XML (quotes, entities, nesting) is left to the mutator of bytes.

use hakudo_base::Random;
use hakudo_cib::{Document, Element};

const ELEMENTS: &[&str] = &[
    "primitive",
    "group",
    "clone",
    "master",
    "bundle",
    "podman",
    "docker",
    "network",
    "storage",
    "port-mapping",
    "storage-mapping",
    "template",
    "meta_attributes",
    "instance_attributes",
    "utilization",
    "nvpair",
    "operations",
    "op",
    "rsc_order",
    "rsc_colocation",
    "rsc_location",
    "rsc_ticket",
    "resource_set",
    "resource_ref",
    "rule",
    "expression",
    "date_expression",
    "duration",
    "date_spec",
    "rsc_expression",
    "op_expression",
    "node",
    "tag",
    "obj_ref",
    "tags",
    "fencing-topology",
    "fencing-level",
    "rsc_defaults",
    "op_defaults",
    "node_state",
    "transient_attributes",
    "lrm",
    "lrm_resources",
    "lrm_resource",
    "lrm_rsc_op",
    "tickets",
    "ticket_state",
    "cluster_property_set",
    "constraints",
];

const ATTRIBUTES: &[&str] = &[
    "id",
    "id-ref",
    "name",
    "value",
    "class",
    "provider",
    "type",
    "template",
    "rsc",
    "with-rsc",
    "node",
    "score",
    "score-attribute",
    "rsc-pattern",
    "rsc-role",
    "with-rsc-role",
    "role",
    "action",
    "first",
    "then",
    "first-action",
    "then-action",
    "kind",
    "symmetrical",
    "sequential",
    "require-all",
    "influence",
    "node-attribute",
    "resource-discovery",
    "ticket",
    "loss-policy",
    "boolean-op",
    "attribute",
    "operation",
    "start",
    "end",
    "hours",
    "interval",
    "timeout",
    "on-fail",
    "enabled",
    "start-delay",
    "interval-origin",
    "uname",
    "in_ccm",
    "crmd",
    "join",
    "expected",
    "remote-id",
    "operation_key",
    "transition-key",
    "transition-magic",
    "call-id",
    "rc-code",
    "op-status",
    "on_node",
    "migrate_source",
    "migrate_target",
    "exit-reason",
    "last-rc-change",
    "container",
    "shutdown-lock",
    "image",
    "replicas",
    "replicas-per-host",
    "promoted-max",
    "masters",
    "ip-range-start",
    "control-port",
    "port",
    "range",
    "internal-port",
    "source-dir",
    "source-dir-root",
    "target-dir",
    "host-netmask",
    "have-quorum",
    "dc-uuid",
    "validate-with",
    "crm_feature_set",
    "execution-date",
    "granted",
    "standby",
    "target",
    "index",
    "devices",
];

const NAMES: &[&str] = &[
    "clone-max",
    "clone-node-max",
    "clone-min",
    "interleave",
    "ordered",
    "notify",
    "globally-unique",
    "promotable",
    "promoted-max",
    "promoted-node-max",
    "target-role",
    "is-managed",
    "maintenance",
    "resource-stickiness",
    "migration-threshold",
    "failure-timeout",
    "multiple-active",
    "priority",
    "requires",
    "allow-migrate",
    "critical",
    "remote-node",
    "remote-addr",
    "remote-port",
    "container",
    "allow-unhealthy-nodes",
    "no-quorum-policy",
    "stonith-enabled",
    "symmetric-cluster",
    "maintenance-mode",
    "placement-strategy",
    "stop-all-resources",
    "start-failure-is-fatal",
    "concurrent-fencing",
    "startup-fencing",
    "enable-startup-probes",
    "stop-orphan-resources",
    "stop-orphan-actions",
    "node-health-strategy",
    "node-health-base",
    "priority-fencing-delay",
    "shutdown-lock",
    "shutdown-lock-limit",
    "have-watchdog",
    "stonith-watchdog-timeout",
    "stonith-action",
    "cluster-recheck-interval",
    "batch-limit",
    "standby",
    "#health-cpu",
    "shutdown",
    "terminate",
    "master-a",
    "fail-count-a#monitor_10000",
    "last-failure-a#monitor_10000",
    "cpu",
    "resource-discovery-enabled",
];

const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "3",
    "7",
    "8",
    "9",
    "193",
    "-1",
    "10",
    "100",
    "1000000",
    "2147483648",
    "-9223372036854775808",
    "99999999999999999999",
    "INFINITY",
    "-INFINITY",
    "true",
    "false",
    "Started",
    "Stopped",
    "Promoted",
    "Unpromoted",
    "Master",
    "Slave",
    "start",
    "stop",
    "promote",
    "demote",
    "monitor",
    "notify",
    "migrate_to",
    "migrate_from",
    "reload",
    "Mandatory",
    "Optional",
    "Serialize",
    "ignore",
    "block",
    "restart",
    "standby",
    "fence",
    "restart-container",
    "freeze",
    "suicide",
    "nothing",
    "quorum",
    "fencing",
    "unfencing",
    "stop_start",
    "stop_only",
    "stop_unexpected",
    "utilization",
    "minimal",
    "balanced",
    "progressive",
    "custom",
    "only-green",
    "migrate-on-red",
    "red",
    "yellow",
    "never",
    "exclusive",
    "PT1M",
    "P1D",
    "1s",
    "10s",
    "2024-01-01",
    "1700000000",
    "lt",
    "gt",
    "eq",
    "ne",
    "defined",
    "not_defined",
    "in_range",
    "date_spec",
    "#uname",
    "#kind",
    "remote",
    "stonith",
    "ocf",
    "pacemaker",
    "Dummy",
    "255.255.255.254",
    "192.0.2.1",
    "fe80::1",
    "%",
    "a:0",
    "member",
    "down",
    "online",
    "offline",
    "pending",
    "0:0;1:1:0:00000000-0000-4000-8000-000000000000",
];

/// The text of the tree after a few changes; nothing where the text is no tree.
pub fn changed(text: &str, seed: u64) -> Option<String> {
    let mut document = Document::parse(text).ok()?;
    let mut random = Random::new(seed);
    for _ in 0..=random.below(4) {
        change(&mut document, &mut random);
    }
    Some(document.to_xml())
}

fn change(document: &mut Document, random: &mut Random) {
    let count = document.root().descendants().count();
    let at = |random: &mut Random| usize::try_from(random.below(count as u64)).unwrap_or_default();
    let any = |document: &Document, place: usize| document.root().descendants().nth(place).cloned();
    let (here, there) = (at(random), at(random));
    let Some(other) = any(document, there) else { return };
    let value = any_value(document, random);
    let Some(element) = nth(document.root_mut(), here) else { return };
    let kids = element.nodes().len();
    let kid = usize::try_from(random.below(kids.max(1) as u64)).unwrap_or_default();
    match random.below(10) {
        0 if kids > 0 => {
            element.nodes_mut().remove(kid);
        }
        1 if kids > 0 => {
            let twin = element.nodes()[kid].clone();
            element.nodes_mut().insert(kid, twin);
        }
        2 if kids > 1 => element.nodes_mut().swap(0, kid),
        3 if other.descendants().nth(60).is_none() => element.push(other),
        4 => element.push(Element::new(word(ELEMENTS, random)).with("id", &value)),
        5 => element.rename(word(ELEMENTS, random)),
        6 => {
            let name = word(NAMES, random);
            element.push(Element::new("nvpair").with("id", name).with("name", name).with("value", value));
        }
        7 => {
            let name = random.choose(element.attributes()).map(|attribute| attribute.name.to_string());
            name.map(|name| element.unset(&name));
        }
        8 => element.set(word(ATTRIBUTES, random), &value),
        _ => {
            let name = random.choose(element.attributes()).map(|attribute| attribute.name.to_string());
            name.into_iter().for_each(|name| element.set(&name, &value));
        }
    }
}

/// A word of the language, or a value from somewhere else in the document: often an id, so that things refer to each other.
fn any_value(document: &Document, random: &mut Random) -> String {
    if random.percent(40) {
        return word(VALUES, random).to_owned();
    }
    let ids: Vec<&str> = document.root().descendants().filter_map(|element| element.attribute("id")).collect();
    random.choose(&ids).map_or_else(String::new, |id| (*id).to_owned())
}

fn word(words: &'static [&'static str], random: &mut Random) -> &'static str {
    random.choose(words).copied().unwrap_or_default()
}

/// The element of a place in document order.
fn nth(root: &mut Element, place: usize) -> Option<&mut Element> {
    fn find<'a>(element: &'a mut Element, left: &mut usize) -> Option<&'a mut Element> {
        if *left == 0 {
            return Some(element);
        }
        *left -= 1;
        element.children_mut().find_map(|child| find(child, left))
    }
    find(root, &mut { place })
}

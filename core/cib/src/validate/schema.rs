//! What belongs into a configuration: one entry for each element, as `pacemaker-4.0` has it.

/// What an attribute's value must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Anything.
    Text,
    /// An XML name that no other element has.
    Id,
    /// Truth.
    Boolean,
    /// A whole number.
    Integer,
    /// A whole number from 0.
    Natural,
    /// A whole number from 1 to 9.
    Level,
    /// A whole number or infinity.
    Score,
    /// A length of time.
    Time,
    /// A moment.
    Date,
    /// A number or a range of numbers.
    Range,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// The id of an element of one of these names.
    Of(&'static [&'static str]),
    /// The id of another element of the same name.
    Same,
    /// The id of any element.
    Any,
    /// The name of a node.
    Node,
    /// Ids of fence devices, joined with commas.
    Devices,
    /// An XPath.
    XPath,
}

/// An attribute of an element.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttributeRule {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// An element.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElementRule {
    pub(super) name: &'static str,
    pub(super) attributes: &'static [AttributeRule],
    pub(super) children: &'static [&'static str],
    /// Of each of these lists of alternatives, exactly one must be there. An alternative is a list of attributes, or of
    /// children where a name starts with `<`.
    pub(super) choices: &'static [&'static [&'static [&'static str]]],
}

const fn must(name: &'static str, kind: Kind) -> AttributeRule {
    AttributeRule { name, kind, required: true }
}

const fn may(name: &'static str, kind: Kind) -> AttributeRule {
    AttributeRule { name, kind, required: false }
}

const fn element(
    name: &'static str,
    attributes: &'static [AttributeRule],
    children: &'static [&'static str],
) -> ElementRule {
    ElementRule { name, attributes, children, choices: &[] }
}

impl ElementRule {
    const fn choose(self, choices: &'static [&'static [&'static [&'static str]]]) -> Self {
        Self { choices, ..self }
    }
}

use Kind::{
    Any, Boolean, Date, Devices, Id, Integer, Level, Natural, Node, Of, OneOf, Range, Same, Score, Text, Time, XPath,
};

const CLASSES: Kind = OneOf(&["ocf", "lsb", "heartbeat", "stonith", "service", "systemd"]);
const ROLES: Kind = OneOf(&["Stopped", "Started", "Promoted", "Unpromoted", "Master", "Slave"]);
const ACTIONS: Kind = OneOf(&["start", "promote", "demote", "stop"]);
const ORDER_KINDS: Kind = OneOf(&["Optional", "Mandatory", "Serialize"]);
/// What a constraint may be about.
const RESOURCES: Kind = Of(&["primitive", "group", "clone", "bundle", "template", "tag"]);
/// Sets of values of a resource.
const RESOURCE_SETS: [&str; 2] = ["instance_attributes", "meta_attributes"];

/// A set of name/value pairs.
const SET: &[AttributeRule] = &[must("id", Id), may("id-ref", Same), may("score", Score)];
const SET_CHILDREN: &[&str] = &["rule", "nvpair"];
const CONTAINER: &[AttributeRule] = &[
    must("image", Text),
    may("replicas", Integer),
    may("replicas-per-host", Integer),
    may("promoted-max", Integer),
    may("run-command", Text),
    may("network", Text),
    may("options", Text),
];
const PARTS_OF_TIME: &[AttributeRule] = &[
    must("id", Id),
    may("years", Range),
    may("months", Range),
    may("monthdays", Range),
    may("hours", Range),
    may("minutes", Range),
    may("seconds", Range),
    may("yeardays", Range),
    may("weekyears", Range),
    may("weeks", Range),
    may("weekdays", Range),
];

/// All elements of the configuration.
pub(super) const ELEMENTS: &[ElementRule] = &[
    element(
        "cib",
        &[
            may("validate-with", Text),
            may("admin_epoch", Natural),
            may("epoch", Natural),
            may("num_updates", Natural),
            may("crm_feature_set", Text),
            may("remote-tls-port", Natural),
            may("remote-clear-port", Natural),
            may("have-quorum", Boolean),
            may("dc-uuid", Text),
            may("cib-last-written", Text),
            may("no-quorum-panic", Boolean),
            may("update-origin", Text),
            may("update-client", Text),
            may("update-user", Text),
            may("execution-date", Text),
        ],
        &["configuration", "status"],
    )
    // A file need not hold the status: no person writes it.
    .choose(&[&[&["<configuration"]]]),
    element(
        "configuration",
        &[],
        &[
            "crm_config",
            "nodes",
            "resources",
            "constraints",
            "rsc_defaults",
            "op_defaults",
            "fencing-topology",
            "acls",
            "tags",
            "alerts",
        ],
    ),
    // Options.
    element("crm_config", &[], &["cluster_property_set"]),
    element("rsc_defaults", &[], &["meta_attributes"]),
    element("op_defaults", &[], &["meta_attributes"]),
    element("cluster_property_set", SET, SET_CHILDREN),
    element("instance_attributes", SET, SET_CHILDREN),
    element("meta_attributes", SET, SET_CHILDREN),
    element("utilization", SET, SET_CHILDREN),
    element("nvpair", &[must("id", Id), may("id-ref", Same), must("name", Text), must("value", Text)], &[]),
    // Nodes.
    element("nodes", &[], &["node"]),
    element(
        "node",
        &[
            must("id", Text),
            must("uname", Text),
            may("type", OneOf(&["member", "remote"])),
            may("description", Text),
            may("score", Score),
        ],
        &["instance_attributes", "utilization"],
    ),
    // Resources.
    element("resources", &[], &["primitive", "template", "group", "clone", "bundle"]),
    element(
        "primitive",
        &[
            must("id", Id),
            may("class", CLASSES),
            may("provider", Text),
            may("type", Text),
            may("template", Of(&["template"])),
            may("description", Text),
        ],
        &["instance_attributes", "meta_attributes", "utilization", "operations"],
    )
    .choose(&[&[&["class", "type"], &["template"]]]),
    element(
        "template",
        &[must("id", Id), must("class", CLASSES), may("provider", Text), must("type", Text), may("description", Text)],
        &["instance_attributes", "meta_attributes", "utilization", "operations"],
    ),
    element("operations", &[may("id", Id), may("id-ref", Same)], &["op"]),
    element(
        "op",
        &[
            must("id", Id),
            must("name", Text),
            must("interval", Time),
            may("description", Text),
            may("start-delay", Time),
            may("interval-origin", Date),
            may("timeout", Time),
            may("enabled", Boolean),
            may("record-pending", Boolean),
            may("role", ROLES),
            may(
                "on-fail",
                OneOf(&["ignore", "block", "demote", "stop", "restart", "standby", "fence", "restart-container"]),
            ),
        ],
        &RESOURCE_SETS,
    ),
    element(
        "group",
        &[must("id", Id), may("description", Text)],
        &["instance_attributes", "meta_attributes", "primitive"],
    )
    .choose(&[&[&["<primitive"]]]),
    element(
        "clone",
        &[must("id", Id), may("description", Text)],
        &["instance_attributes", "meta_attributes", "primitive", "group"],
    )
    .choose(&[&[&["<primitive"], &["<group"]]]),
    element(
        "bundle",
        &[must("id", Id), may("description", Text)],
        &["instance_attributes", "meta_attributes", "docker", "podman", "network", "storage", "primitive"],
    )
    .choose(&[&[&["<docker"], &["<podman"]]]),
    element("docker", CONTAINER, &[]),
    element("podman", CONTAINER, &[]),
    element(
        "network",
        &[
            may("ip-range-start", Text),
            may("control-port", Integer),
            may("host-interface", Text),
            may("host-netmask", Integer),
            may("add-host", Boolean),
        ],
        &["port-mapping"],
    ),
    element(
        "port-mapping",
        &[must("id", Id), may("port", Integer), may("internal-port", Integer), may("range", Range)],
        &[],
    )
    .choose(&[&[&["port"], &["range"]]]),
    element("storage", &[], &["storage-mapping"]),
    element(
        "storage-mapping",
        &[
            must("id", Id),
            may("source-dir", Text),
            may("source-dir-root", Text),
            must("target-dir", Text),
            may("options", Text),
        ],
        &[],
    )
    .choose(&[&[&["source-dir"], &["source-dir-root"]]]),
    // Constraints.
    element("constraints", &[], &["rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket"]),
    element(
        "rsc_location",
        &[
            must("id", Id),
            may("rsc", RESOURCES),
            may("rsc-pattern", Text),
            may("role", ROLES),
            may("node", Node),
            may("score", Score),
            may("resource-discovery", OneOf(&["always", "never", "exclusive"])),
        ],
        &["resource_set", "rule"],
    )
    .choose(&[&[&["rsc"], &["rsc-pattern"], &["<resource_set"]], &[&["node", "score"], &["<rule"]]]),
    element(
        "rsc_colocation",
        &[
            must("id", Id),
            may("score", Score),
            may("influence", Boolean),
            may("rsc", RESOURCES),
            may("with-rsc", RESOURCES),
            may("node-attribute", Text),
            may("rsc-role", ROLES),
            may("with-rsc-role", ROLES),
        ],
        &["resource_set"],
    )
    .choose(&[&[&["rsc", "with-rsc"], &["<resource_set"]]]),
    element(
        "rsc_order",
        &[
            must("id", Id),
            may("symmetrical", Boolean),
            may("require-all", Boolean),
            may("score", Score),
            may("kind", ORDER_KINDS),
            may("first", RESOURCES),
            may("then", RESOURCES),
            may("first-action", ACTIONS),
            may("then-action", ACTIONS),
        ],
        &["resource_set"],
    )
    .choose(&[&[&["first", "then"], &["<resource_set"]]]),
    element(
        "rsc_ticket",
        &[
            must("id", Id),
            may("rsc", RESOURCES),
            may("rsc-role", ROLES),
            must("ticket", Text),
            may("loss-policy", OneOf(&["stop", "demote", "fence", "freeze"])),
        ],
        &["resource_set"],
    )
    .choose(&[&[&["rsc"], &["<resource_set"]]]),
    element(
        "resource_set",
        &[
            must("id", Id),
            may("id-ref", Same),
            may("sequential", Boolean),
            may("require-all", Boolean),
            may("ordering", OneOf(&["group", "listed"])),
            may("action", ACTIONS),
            may("role", ROLES),
            may("score", Score),
            may("kind", ORDER_KINDS),
        ],
        &["resource_ref"],
    )
    .choose(&[&[&["<resource_ref"]]]),
    element("resource_ref", &[must("id", RESOURCES)], &[]),
    // Rules.
    element(
        "rule",
        &[
            must("id", Id),
            may("id-ref", Same),
            may("boolean-op", OneOf(&["and", "or"])),
            may("role", ROLES),
            may("score", Score),
            may("score-attribute", Text),
        ],
        &["expression", "date_expression", "rsc_expression", "op_expression", "rule"],
    ),
    element(
        "expression",
        &[
            must("id", Id),
            must("attribute", Text),
            must("operation", OneOf(&["lt", "gt", "lte", "gte", "eq", "ne", "defined", "not_defined"])),
            may("value", Text),
            may("type", OneOf(&["string", "integer", "number", "version"])),
            may("value-source", OneOf(&["literal", "param", "meta"])),
        ],
        &[],
    ),
    element(
        "date_expression",
        &[
            must("id", Id),
            may("operation", OneOf(&["in_range", "gt", "lt", "date_spec"])),
            may("start", Date),
            may("end", Date),
        ],
        &["duration", "date_spec"],
    ),
    element("date_spec", PARTS_OF_TIME, &[]),
    element(
        "duration",
        &[
            must("id", Id),
            may("years", Integer),
            may("months", Integer),
            may("weeks", Integer),
            may("days", Integer),
            may("hours", Integer),
            may("minutes", Integer),
            may("seconds", Integer),
        ],
        &[],
    ),
    element("rsc_expression", &[must("id", Id), may("class", Text), may("provider", Text), may("type", Text)], &[]),
    element("op_expression", &[must("id", Id), must("name", Text), may("interval", Time)], &[]),
    // Fencing.
    element("fencing-topology", &[], &["fencing-level"]),
    element(
        "fencing-level",
        &[
            must("id", Id),
            may("target", Text),
            may("target-pattern", Text),
            may("target-attribute", Text),
            may("target-value", Text),
            must("index", Level),
            must("devices", Devices),
        ],
        &[],
    )
    .choose(&[&[&["target"], &["target-pattern"], &["target-attribute", "target-value"]]]),
    // Access.
    element("acls", &[], &["acl_target", "acl_group", "acl_role"]),
    element("acl_target", &[must("id", Text), may("name", Text)], &["role"]),
    element("acl_group", &[must("id", Id), may("name", Text)], &["role"]),
    element("role", &[must("id", Of(&["acl_role"]))], &[]),
    element("acl_role", &[must("id", Id), may("description", Text)], &["acl_permission"]),
    element(
        "acl_permission",
        &[
            must("id", Id),
            must("kind", OneOf(&["read", "write", "deny"])),
            may("xpath", XPath),
            may("reference", Any),
            may("object-type", Text),
            may("attribute", Text),
            may("description", Text),
        ],
        &[],
    )
    .choose(&[&[&["xpath"], &["reference"], &["object-type"]]]),
    // Tags and alerts.
    element("tags", &[], &["tag"]),
    element("tag", &[must("id", Id)], &["obj_ref"]).choose(&[&[&["<obj_ref"]]]),
    element("obj_ref", &[must("id", Any)], &[]),
    element("alerts", &[], &["alert"]),
    element(
        "alert",
        &[must("id", Id), may("description", Text), must("path", Text)],
        &["instance_attributes", "meta_attributes", "select", "recipient"],
    ),
    element(
        "recipient",
        &[must("id", Id), may("description", Text), must("value", Text)],
        &["instance_attributes", "meta_attributes"],
    ),
    element("select", &[], &["select_attributes", "select_fencing", "select_nodes", "select_resources"]),
    element("select_attributes", &[], &["attribute"]),
    element("attribute", &[must("id", Id), must("name", Text)], &[]),
    element("select_fencing", &[], &[]),
    element("select_nodes", &[], &[]),
    element("select_resources", &[], &[]),
];

/// The entry of an element.
pub(super) fn rule_of(name: &str) -> Option<&'static ElementRule> {
    ELEMENTS.iter().find(|rule| rule.name == name)
}

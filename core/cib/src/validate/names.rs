//! The names that pairs of name and value have where the cluster itself reads them, and what their values must be.

/// What a value must be. Words count in any case of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Anything.
    Text,
    /// Truth.
    Boolean,
    /// A length of time.
    Time,
    /// A length of time, or a negative number, which stands for one that the cluster finds itself.
    TimeOrOwn,
    /// A whole number.
    Integer,
    /// A whole number from 0.
    Natural,
    /// A whole number from 1, or infinity.
    Attempts,
    /// A whole number or infinity.
    Score,
    /// A part of a hundred.
    Percentage,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// At least one word.
    List,
    /// Pairs of a node and what its device calls it.
    HostMap,
    /// A length of time, or pairs of a node and one.
    Delays,
}

/// A name and what its values must be.
pub(super) type Name = (&'static str, Value);

use Value::{
    Attempts, Boolean, Delays, HostMap, Integer, List, Natural, OneOf, Percentage, Score, Text, Time, TimeOrOwn,
};

const ROLES: Value = OneOf(&["Stopped", "Started", "Promoted", "Unpromoted", "Master", "Slave"]);

/// Cluster properties of Pacemaker 3.0.2, and their older names (Pacemaker Explained: "Cluster Options").
pub(super) const PROPERTIES: &[Name] = &[
    ("dc-version", Text),
    ("cluster-infrastructure", Text),
    ("cluster-name", Text),
    ("have-watchdog", Boolean),
    ("last-lrm-refresh", Text),
    ("dc-deadtime", Time),
    ("cluster-recheck-interval", Time),
    ("cluster-delay", Time),
    ("fencing-reaction", OneOf(&["stop", "panic"])),
    ("fence-reaction", OneOf(&["stop", "panic"])),
    ("enable-acl", Boolean),
    ("batch-limit", Integer),
    ("migration-limit", Integer),
    ("node-action-limit", Integer),
    ("no-quorum-policy", OneOf(&["stop", "freeze", "ignore", "demote", "fence", "suicide"])),
    ("shutdown-lock", Boolean),
    ("shutdown-lock-limit", Time),
    ("symmetric-cluster", Boolean),
    ("maintenance-mode", Boolean),
    ("start-failure-is-fatal", Boolean),
    ("enable-startup-probes", Boolean),
    ("fencing-enabled", Boolean),
    ("stonith-enabled", Boolean),
    ("fencing-action", OneOf(&["reboot", "off"])),
    ("stonith-action", OneOf(&["reboot", "off"])),
    ("fencing-timeout", Time),
    ("stonith-timeout", Time),
    ("fencing-max-attempts", Attempts),
    ("stonith-max-attempts", Attempts),
    ("concurrent-fencing", Boolean),
    ("startup-fencing", Boolean),
    ("priority-fencing-delay", Time),
    ("node-pending-timeout", Time),
    ("fence-remote-without-quorum", Boolean),
    ("stop-all-resources", Boolean),
    ("stop-removed-resources", Boolean),
    ("stop-orphan-resources", Boolean),
    ("cancel-removed-actions", Boolean),
    ("stop-orphan-actions", Boolean),
    ("node-health-strategy", OneOf(&["none", "migrate-on-red", "only-green", "progressive", "custom"])),
    ("node-health-base", Score),
    ("node-health-green", Score),
    ("node-health-yellow", Score),
    ("node-health-red", Score),
    ("placement-strategy", OneOf(&["default", "utilization", "minimal", "balanced"])),
];

/// Cluster properties that Pacemaker knows and that have no effect here, with what takes their place.
pub(super) const WITHOUT_EFFECT: &[(Name, &str)] = &[
    (("election-timeout", Time), "nobody is elected: the members of a view agree on their leader with it"),
    (("join-integration-timeout", Time), "nodes join with the view that they are in"),
    (("join-finalization-timeout", Time), "nodes join with the view that they are in"),
    (("shutdown-escalation", Time), "a node that leaves waits for its resources to stop, however long that takes"),
    (("transition-delay", Time), "what happens at the same time is thought about once anyway"),
    (("load-threshold", Percentage), "how many actions run at once is set by node-action-limit and batch-limit"),
    (("cluster-ipc-limit", Natural), "there are no queues between daemons"),
    (("pe-error-series-max", Integer), "plans are in the recordings of the nodes"),
    (("pe-warn-series-max", Integer), "plans are in the recordings of the nodes"),
    (("pe-input-series-max", Integer), "plans are in the recordings of the nodes"),
    (("fencing-watchdog-timeout", TimeOrOwn), "a node without quorum does not fence itself by a watchdog"),
    (("stonith-watchdog-timeout", TimeOrOwn), "a node without quorum does not fence itself by a watchdog"),
    (("remove-after-stop", Boolean), "it is no property any more"),
];

/// Meta attributes of resources, and their older names (Pacemaker Explained: "Resource Meta-Attributes"). All of them may stand
/// in any resource and in the defaults: what is inside takes them over from what is around it.
pub(super) const RESOURCE: &[Name] = &[
    ("priority", Score),
    ("critical", Boolean),
    ("target-role", ROLES),
    ("is-managed", Boolean),
    ("maintenance", Boolean),
    ("resource-stickiness", Score),
    ("requires", OneOf(&["nothing", "quorum", "fencing", "unfencing"])),
    ("migration-threshold", Score),
    ("failure-timeout", Time),
    ("multiple-active", OneOf(&["block", "stop_only", "stop_start", "stop_unexpected"])),
    ("allow-migrate", Boolean),
    ("allow-unhealthy-nodes", Boolean),
    ("container-attribute-target", Text),
    ("container", Text),
    ("provides", Text),
    ("restart-type", OneOf(&["ignore", "restart"])),
    ("remote-node", Text),
    ("remote-addr", Text),
    ("remote-port", Natural),
    ("remote-connect-timeout", Time),
    ("remote-allow-migrate", Boolean),
    // Of groups.
    ("ordered", Boolean),
    ("collocated", Boolean),
    // Of clones.
    ("clone-max", Natural),
    ("clone-min", Natural),
    ("clone-node-max", Natural),
    ("promoted-max", Natural),
    ("promoted-node-max", Natural),
    ("master-max", Natural),
    ("master-node-max", Natural),
    ("promotable", Boolean),
    ("notify", Boolean),
    ("globally-unique", Boolean),
    ("interleave", Boolean),
];

/// Meta attributes of operations (Pacemaker Explained: "Operation Properties").
pub(super) const OPERATION: &[Name] = &[
    ("interval", Time),
    ("timeout", Time),
    ("start-delay", Time),
    ("interval-origin", Text),
    ("enabled", Boolean),
    ("record-pending", Boolean),
    ("role", ROLES),
    (
        "on-fail",
        OneOf(&[
            "ignore",
            "block",
            "demote",
            "stop",
            "restart",
            "standby",
            "fence",
            "restart-container",
            "nothing",
            "migrate",
        ]),
    ),
];

/// Meta attributes of alerts and their recipients (Pacemaker Explained: "Alert Meta-Attributes").
pub(super) const ALERT: &[Name] = &[("enabled", Boolean), ("timeout", Time), ("timestamp-format", Text)];

/// Attributes of nodes that the cluster itself reads.
pub(super) const NODE: &[Name] = &[("standby", Boolean), ("maintenance", Boolean)];

/// What the parameters of fence devices begin with that are for the cluster and not for the agent.
pub(super) const FOR_THE_CLUSTER: &str = "pcmk_";

/// These parameters (Pacemaker Explained: "Special Meta-Attributes for Fencing Resources").
pub(super) const DEVICE: &[Name] = &[
    ("pcmk_host_argument", Text),
    ("pcmk_host_map", HostMap),
    ("pcmk_host_list", List),
    ("pcmk_host_check", OneOf(&["dynamic-list", "static-list", "status", "none"])),
    ("pcmk_delay_max", Time),
    ("pcmk_delay_base", Delays),
    ("pcmk_action_limit", Integer),
];

/// Those of one action of a device: `pcmk_reboot_timeout`.
pub(super) const OF_AN_ACTION: [Name; 3] = [("action", Text), ("timeout", Time), ("retries", Natural)];

/// The actions that have such.
pub(super) const ACTIONS: [&str; 8] = ["reboot", "off", "on", "list", "status", "monitor", "metadata", "validate-all"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_name_has_one_meaning() {
        let without = WITHOUT_EFFECT.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let properties = [PROPERTIES, &without].concat();
        for table in [&properties[..], RESOURCE, OPERATION, ALERT, NODE, DEVICE] {
            let names: BTreeSet<&str> = table.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.len(), table.len(), "{table:?}");
        }
    }
}

//! The status as text, line by line as crm_mon and crm_simulate print it.

use crate::outline::{Outline, Section};
use crate::status::{ClusterStatus, Failure, Node, NodeHistory, NodeKind, Operation, ResourceHistory, Summary, Ticket};
use crate::words;
use crate::{text_fencing, text_resources};
use std::collections::BTreeMap;

/// Which sections are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub struct Sections {
    /// What carries the messages.
    pub stack: bool,
    /// Who leads, and quorum.
    pub dc: bool,
    /// When and by whom the configuration was changed.
    pub times: bool,
    /// Numbers of nodes and resources.
    pub counts: bool,
    /// The options of the cluster as a whole.
    pub options: bool,
    /// A notice where the cluster leaves everything alone.
    pub maintenance: bool,
    /// Nodes.
    pub nodes: bool,
    /// Resources.
    pub resources: bool,
    /// Node attributes.
    pub attributes: bool,
    /// Fail counts.
    pub failcounts: bool,
    /// The history of operations, fail counts included.
    pub operations: bool,
    /// Failed operations.
    pub failures: bool,
    /// Tickets.
    pub tickets: bool,
    /// Negative location constraints.
    pub bans: bool,
    /// Fencing that failed.
    pub fencing_failed: bool,
    /// Fencing that goes on.
    pub fencing_pending: bool,
    /// Fencing that succeeded.
    pub fencing_succeeded: bool,
}

impl Sections {
    /// What a status shows where nothing else is asked for.
    pub fn usual() -> Self {
        Self {
            stack: true,
            dc: true,
            times: true,
            counts: true,
            maintenance: true,
            nodes: true,
            resources: true,
            failures: true,
            fencing_failed: true,
            fencing_pending: true,
            ..Self::default()
        }
    }

    /// Every section.
    pub fn all() -> Self {
        Self {
            options: true,
            attributes: true,
            failcounts: true,
            operations: true,
            tickets: true,
            bans: true,
            fencing_succeeded: true,
            ..Self::usual()
        }
    }
}

/// How things are shown.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub struct Show {
    /// Also resources that are not active.
    pub inactive: bool,
    /// Failed operations and fencing with all technical details.
    pub failed_detail: bool,
    /// Operations in flight.
    pub pending: bool,
    /// Resources under their nodes.
    pub by_node: bool,
    /// Only how many resources of each agent are active.
    pub brief: bool,
    /// Every instance of a clone.
    pub clone_detail: bool,
    /// When operations ran and how long.
    pub timing: bool,
    /// Node ids.
    pub node_ids: bool,
    /// Feature sets.
    pub feature_sets: bool,
    /// Descriptions.
    pub descriptions: bool,
    /// Resources that the cluster makes for bundles and guest nodes.
    pub implicit: bool,
    /// Only bans whose id begins with this.
    pub ban_prefix: String,
    /// The zone in which times are shown.
    pub zone: jiff::tz::TimeZone,
}

impl Default for Show {
    fn default() -> Self {
        Self {
            inactive: false,
            failed_detail: false,
            pending: true,
            by_node: false,
            brief: false,
            clone_detail: false,
            timing: false,
            node_ids: false,
            feature_sets: false,
            descriptions: false,
            implicit: false,
            ban_prefix: String::new(),
            zone: jiff::tz::TimeZone::UTC,
        }
    }
}

/// Everything that a line may need to look up.
pub(crate) struct Context<'a> {
    pub(crate) status: &'a ClusterStatus,
    pub(crate) show: &'a Show,
    nodes: BTreeMap<&'a str, &'a Node>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(status: &'a ClusterStatus, show: &'a Show) -> Self {
        Self { status, show, nodes: status.nodes.iter().map(|node| (node.name.as_str(), node)).collect() }
    }

    pub(crate) fn node(&self, name: &str) -> Option<&'a Node> {
        self.nodes.get(name).copied()
    }
}

/// The status as crm_mon prints it, without a title.
pub fn render(status: &ClusterStatus, sections: Sections, show: &Show) -> String {
    let mut outline = Outline::new();
    write_status(&mut outline, status, sections, show);
    outline.finish()
}

/// The status under a title, as crm_simulate prints it.
pub fn render_titled(title: &str, status: &ClusterStatus, sections: Sections, show: &Show) -> String {
    let mut outline = Outline::new();
    outline.open(title);
    write_status(&mut outline, status, sections, show);
    outline.finish()
}

fn write_status(outline: &mut Outline, status: &ClusterStatus, sections: Sections, show: &Show) {
    let context = Context::new(status, show);
    let mut something = summary(outline, &context, sections);
    if sections.maintenance
        && let Some(notice) = maintenance_notice(status)
    {
        outline.plain(&notice);
        something = true;
    }
    if sections.nodes {
        something |= nodes(outline, &context, something);
    }
    if sections.resources {
        something |= text_resources::resources(outline, &context, something);
    }
    if sections.attributes {
        something |= attributes(outline, &context, something);
    }
    if sections.operations || sections.failcounts {
        something |= history(outline, &context, sections.operations, something);
    }
    if sections.failures {
        something |= failures(outline, &context, something);
    }
    if sections.fencing_failed {
        something |= text_fencing::failed(outline, status, sections, show);
    }
    if sections.tickets {
        something |= tickets(outline, &context, something);
    }
    if sections.bans {
        something |= bans(outline, &context, something);
    }
    if sections.fencing_pending || sections.fencing_succeeded {
        something |= text_fencing::others(outline, status, sections, show);
    }
    alerts(outline, status, something);
}

/// The notice that the cluster leaves everything alone or keeps everything stopped; none where it does neither.
pub fn maintenance_notice(status: &ClusterStatus) -> Option<String> {
    if status.summary.options.maintenance_mode {
        Some(
            "\n              *** Resource management is DISABLED ***\n  \
             The cluster will not attempt to start, stop or recover services"
                .to_owned(),
        )
    } else if status.summary.options.stop_all_resources {
        Some("\n    *** Resource management is DISABLED ***\n  The cluster will keep all resources stopped".to_owned())
    } else {
        None
    }
}

fn summary(outline: &mut Outline, context: &Context<'_>, sections: Sections) -> bool {
    let summary = &context.status.summary;
    let mut section = Section::new("Cluster Summary", false);
    let mut item = |outline: &mut Outline, line: &str| {
        section.begin(outline);
        outline.item(line);
    };
    if sections.stack {
        item(outline, &format!("Stack: {}", summary.stack));
    }
    if sections.dc {
        item(outline, &format!("Current DC: {}", dc(summary, context.show)));
    }
    if sections.times {
        let on = summary.local.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        item(outline, &format!("Last updated: {}{on}", words::moment(summary.updated, &context.show.zone)));
        item(outline, &format!("Last change:  {}", last_change(summary)));
    }
    if sections.counts {
        let counts = summary.counts;
        item(outline, &format!("{} node{} configured", counts.nodes, words::plural(counts.nodes)));
        let details = match (counts.disabled, counts.blocked) {
            (0, 0) => String::new(),
            (disabled, 0) => format!(" ({disabled} DISABLED)"),
            (0, blocked) => format!(" ({blocked} BLOCKED from further action due to failure)"),
            (disabled, blocked) => {
                format!(" ({disabled} DISABLED, {blocked} BLOCKED from further action due to failure)")
            }
        };
        let plural = words::plural(counts.resources);
        item(outline, &format!("{} resource instance{plural} configured{details}", counts.resources));
    }
    if sections.options {
        let options = &summary.options;
        let enabled = |value| if value { "enabled" } else { "disabled" };
        item(outline, &format!("Fencing of failed nodes {}", enabled(options.fencing_enabled)));
        item(outline, &format!("Cluster is {}", if options.symmetric { "symmetric" } else { "asymmetric" }));
        item(
            outline,
            match options.no_quorum_policy.as_str() {
                "freeze" => "No quorum policy: Freeze resources",
                "demote" => "No quorum policy: Demote promotable resources and stop all other resources",
                "ignore" => "No quorum policy: Ignore",
                "fence" => "No quorum policy: Fence nodes in partition",
                _ => "No quorum policy: Stop ALL resources",
            },
        );
    }
    section.end(outline)
}

fn dc(summary: &Summary, show: &Show) -> String {
    let Some(dc) = &summary.dc else { return "NONE".to_owned() };
    let name = if show.node_ids { format!("{} ({})", dc.name, dc.id) } else { dc.name.clone() };
    let version = summary.dc_version.as_deref().unwrap_or("unknown");
    let mixed = if summary.mixed_version { "MIXED-VERSION " } else { "" };
    let quorum = if summary.quorate { "with" } else { "WITHOUT" };
    format!("{name} (version {version}) - {mixed}partition {quorum} quorum")
}

fn last_change(summary: &Summary) -> String {
    let change = &summary.last_change;
    let mut text = change.time.clone().unwrap_or_default();
    for (word, value) in [("by", &change.user), ("via", &change.client), ("on", &change.origin)] {
        if let Some(value) = value {
            text.push_str(&format!(" {word} {value}"));
        }
    }
    text
}

fn display_name(node: &Node, show: &Show) -> String {
    let mut name = node.name.clone();
    if let NodeKind::Guest { host, .. } = &node.kind
        && show.node_ids
    {
        name.push_str(&format!("@{}", host.as_deref().unwrap_or_default()));
    }
    if show.node_ids && node.id != node.name {
        name.push_str(&format!(" ({})", node.id));
    }
    name
}

fn nodes(outline: &mut Outline, context: &Context<'_>, blank_before: bool) -> bool {
    let mut section = Section::new("Node List", blank_before);
    let mut lists: [(&str, Vec<String>); 5] = [
        ("Online", Vec::new()),
        ("OFFLINE", Vec::new()),
        ("RemoteOnline", Vec::new()),
        ("RemoteOFFLINE", Vec::new()),
        ("GuestOnline", Vec::new()),
    ];
    for node in &context.status.nodes {
        section.begin(outline);
        let alone = node.unclean
            || node.pending
            || (node.standby_on_fail && node.online)
            || node.standby
            || node.maintenance
            || context.show.by_node
            || context.show.feature_sets
            || node.health <= 0;
        if alone {
            node_line(outline, context, node);
            continue;
        }
        let list = match (&node.kind, node.online) {
            (NodeKind::Member, true) => 0,
            (NodeKind::Member, false) => 1,
            (NodeKind::Remote, true) => 2,
            (NodeKind::Remote, false) => 3,
            (NodeKind::Guest { .. }, true) => 4,
            (NodeKind::Guest { .. }, false) => continue,
        };
        lists[list].1.push(display_name(node, context.show));
    }
    for (title, names) in lists {
        if !names.is_empty() {
            outline.item(&format!("{title}: [ {} ]", names.join(" ")));
        }
    }
    section.end(outline)
}

fn node_line(outline: &mut Outline, context: &Context<'_>, node: &Node) {
    let kind = match node.kind {
        NodeKind::Member => "Node",
        NodeKind::Remote => "RemoteNode",
        NodeKind::Guest { .. } => "GuestNode",
    };
    let health = match node.health {
        i32::MIN..=-1 => " (health is RED)",
        0 => " (health is YELLOW)",
        _ => "",
    };
    let mut line = format!("{kind} {}: {}{health}", display_name(node, context.show), node_state(node));
    if context.show.feature_sets
        && let Some(feature_set) = &node.feature_set
    {
        line.push_str(&format!(", feature set {feature_set}"));
    }
    if context.show.by_node {
        text_resources::node_with_resources(outline, context, node, &line);
    } else {
        outline.item(&line);
    }
}

/// A node's state in words.
pub fn node_state(node: &Node) -> &'static str {
    if node.unclean {
        match (node.online, node.pending) {
            (true, _) => "UNCLEAN (online)",
            (false, true) => "UNCLEAN (pending)",
            (false, false) => "UNCLEAN (offline)",
        }
    } else if node.pending {
        "pending"
    } else if node.standby_on_fail && node.online {
        "standby (on-fail)"
    } else if node.standby {
        match (node.online, node.running.is_empty()) {
            (false, _) => "OFFLINE (standby)",
            (true, true) => "standby",
            (true, false) => "standby (with active resources)",
        }
    } else if node.maintenance {
        if node.online { "maintenance" } else { "OFFLINE (maintenance)" }
    } else if node.online {
        "online"
    } else {
        "OFFLINE"
    }
}

fn attributes(outline: &mut Outline, context: &Context<'_>, blank_before: bool) -> bool {
    let mut section = Section::new("Node Attributes", blank_before);
    for node in context.status.nodes.iter().filter(|node| node.online && !node.attributes.is_empty()) {
        section.begin(outline);
        outline.open(&format!("Node: {}", display_name(node, context.show)));
        for attribute in &node.attributes {
            let line = format!("{:<32}\t: {:<10}", attribute.name, attribute.value);
            let value = attribute.value.parse::<i64>().unwrap_or(0);
            match attribute.expected {
                Some(_) if value <= 0 => outline.item(&format!("{line}\t: Connectivity is lost")),
                Some(expected) if value < expected => {
                    outline.item(&format!("{line}\t: Connectivity is degraded (Expected={expected})"));
                }
                _ => outline.item(&line),
            }
        }
        outline.close();
    }
    section.end(outline)
}

fn history(outline: &mut Outline, context: &Context<'_>, operations: bool, blank_before: bool) -> bool {
    let title = if operations { "Operations" } else { "Migration Summary" };
    let mut section = Section::new(title, blank_before);
    for NodeHistory { node, resources } in &context.status.history {
        section.begin(outline);
        let name = context.node(node).map_or_else(|| node.clone(), |node| display_name(node, context.show));
        let mut of_node = Section::new(format!("Node: {name}"), false);
        for resource in resources {
            if operations && !resource.operations.is_empty() {
                of_node.begin(outline);
                outline.open(&resource_history(resource, &resource.resource, true, context.show));
                for operation in &resource.operations {
                    outline.item(&operation_line(operation, context.show));
                }
                outline.close();
            } else if !operations && resource.fail_count > 0 {
                of_node.begin(outline);
                outline.item(&resource_history(resource, &resource.history_id, false, context.show));
            }
        }
        of_node.end(outline);
    }
    section.end(outline)
}

fn resource_history(history: &ResourceHistory, name: &str, all: bool, show: &Show) -> String {
    if !all && history.fail_count == 0 && history.last_failure.is_none() {
        return format!("{name}:");
    }
    let mut line = format!("{name}: migration-threshold={}", history.migration_threshold);
    if history.fail_count > 0 {
        line.push_str(&format!(" fail-count={}", history.fail_count));
    }
    if let Some(time) = history.last_failure.filter(|time| *time > 0) {
        line.push_str(&format!(" last-failure='{}'", words::moment(time, &show.zone)));
    }
    line
}

fn operation_line(operation: &Operation, show: &Show) -> String {
    let interval = match operation.interval_ms {
        0 => String::new(),
        interval => format!(" interval={interval}ms"),
    };
    if !show.timing {
        let colon = if interval.is_empty() { "" } else { ":" };
        return format!("({}) {}{colon}{interval}", operation.call, operation.task);
    }
    let mut line = format!("({}) {}:{interval}", operation.call, operation.task);
    if let Some(time) = operation.last_change.filter(|time| *time > 0) {
        line.push_str(&format!(" last-rc-change=\"{}\"", words::moment(time, &show.zone)));
    }
    for (name, value) in [("exec-time", &operation.exec_ms), ("queue-time", &operation.queued_ms)] {
        if let Some(value) = value {
            line.push_str(&format!(" {name}={value}ms"));
        }
    }
    line.push_str(&format!(" rc={} ({})", operation.exit_code, words::exit_code(operation.exit_code)));
    line
}

fn failures(outline: &mut Outline, context: &Context<'_>, blank_before: bool) -> bool {
    let mut section = Section::new("Failed Resource Actions", blank_before);
    for failure in &context.status.failures {
        section.begin(outline);
        if context.show.failed_detail {
            outline.item(&failure_in_detail(failure, context.show));
        } else {
            outline.item(&failure_for_people(failure, context.show));
        }
    }
    section.end(outline)
}

fn failure_for_people(failure: &Failure, show: &Show) -> String {
    let task = if failure.task == "monitor" && failure.interval_ms == 0 { "probe" } else { &failure.task };
    let recurring = match failure.interval_ms {
        0 => String::new(),
        interval => format!("{}-interval ", words::interval(interval)),
    };
    let mut line = format!("{} {recurring}{task} on {}", failure.resource, failure.node);
    let reason = failure.exit_reason.as_deref().filter(|reason| !reason.is_empty());
    if failure.status == 0 {
        line.push_str(&format!(" returned '{}'", words::exit_code(failure.exit_code)));
        if let Some(reason) = reason {
            line.push_str(&format!(" ({reason})"));
        }
    } else {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        line.push_str(&format!(" could not be executed ({}{reason})", words::execution_status(failure.status)));
    }
    if let Some(time) = failure.last_change {
        line.push_str(&format!(" at {}", words::moment(time, &show.zone)));
    }
    if let Some(milliseconds) = failure.exec_ms.as_ref().and_then(|text| text.parse().ok()).filter(|ms| *ms > 0) {
        line.push_str(&format!(" after {}", words::interval(milliseconds)));
    }
    line
}

fn failure_in_detail(failure: &Failure, show: &Show) -> String {
    let mut line = format!(
        "{} on {} '{}' ({}): call={}, status='{}'",
        failure.key,
        failure.node,
        words::exit_code(failure.exit_code),
        failure.exit_code,
        failure.call.as_deref().unwrap_or("unknown"),
        words::execution_status(failure.status)
    );
    if let Some(reason) = failure.exit_reason.as_deref().filter(|reason| !reason.is_empty()) {
        line.push_str(&format!(", exitreason='{reason}'"));
    }
    if let Some(time) = failure.last_change {
        line.push_str(&format!(", last-rc-change='{}'", words::moment(time, &show.zone)));
    }
    for (name, value) in [("queued", &failure.queued_ms), ("exec", &failure.exec_ms)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            line.push_str(&format!(", {name}={value}ms"));
        }
    }
    line
}

fn tickets(outline: &mut Outline, context: &Context<'_>, blank_before: bool) -> bool {
    let mut section = Section::new("Tickets", blank_before);
    for Ticket { id, granted, standby, last_granted, .. } in &context.status.tickets {
        section.begin(outline);
        let granted = if *granted { "granted" } else { "revoked" };
        let standby = if *standby { " [standby]" } else { "" };
        let last = last_granted
            .map(|time| format!(" last-granted=\"{}\"", words::moment(time, &context.show.zone)))
            .unwrap_or_default();
        outline.item(&format!("{id}\t{granted}{standby}{last}"));
    }
    section.end(outline)
}

fn bans(outline: &mut Outline, context: &Context<'_>, blank_before: bool) -> bool {
    let mut section = Section::new("Negative Location Constraints", blank_before);
    for ban in context.status.bans.iter().filter(|ban| ban.id.starts_with(&context.show.ban_prefix)) {
        section.begin(outline);
        let role = if ban.promoted_only { "in Promoted role " } else { "" };
        let node = context.node(&ban.node).map_or_else(|| ban.node.clone(), |node| display_name(node, context.show));
        outline.item(&format!("{}\tprevents {} from running {role}on {node}", ban.id, ban.resource));
    }
    section.end(outline)
}

fn alerts(outline: &mut Outline, status: &ClusterStatus, blank_before: bool) {
    let mut section = Section::new("Attention", blank_before);
    for alert in &status.alerts {
        section.begin(outline);
        outline.item(&alert.text);
    }
    section.end(outline);
}

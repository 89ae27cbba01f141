//! The status as crm_mon's XML (`--output-as=xml`), with the elements of Pacemaker's API result.

use crate::status::{
    self, Bundle, CloneSet, ClusterStatus, Failure, Fencing, FencingState, Group, NodeKind, Operation, Primitive,
    Resource, ResourceHistory, Summary,
};
use crate::text::{Sections, Show};
use crate::text_fencing;
use crate::words::{self, truth};
use hakudo_cib::{Element, Node};
use hakudo_scheduler::ShownRole;
use std::collections::BTreeMap;

/// The version of Pacemaker's API schema whose elements are written.
const API_VERSION: &str = "2.41";

/// The status as an API result. `request` is the command line that asked for it.
pub fn crm_mon(status: &ClusterStatus, sections: Sections, show: &Show, request: &str) -> String {
    let mut parts = Vec::new();
    let summary = summary(&status.summary, sections, show);
    if summary.children().next().is_some() {
        parts.push(summary);
    }
    parts.extend(self::sections(status, sections, show));
    result(request, parts, 0, &[])
}

/// A whole API result: the command line that asked for it, its parts, and how the command ended.
pub fn result(request: &str, parts: Vec<Element>, exit_code: u8, errors: &[String]) -> String {
    let mut root = Element::new("pacemaker-result").with("api-version", API_VERSION).with("request", request);
    parts.into_iter().for_each(|part| root.push(part));
    let message = words::exit_code(i32::from(exit_code));
    let mut status = Element::new("status").with("code", exit_code.to_string()).with("message", message);
    if !errors.is_empty() {
        let error = |text: &String| {
            let mut error = Element::new("error");
            error.nodes_mut().push(Node::Text(text.as_str().into()));
            error
        };
        status.push(list("errors", errors.iter().map(error)));
    }
    root.push(status);
    format!("<?xml version=\"1.0\"?>\n{}", root.to_xml())
}

/// The status apart from its summary, an element a section.
pub(crate) fn sections(status: &ClusterStatus, sections: Sections, show: &Show) -> Vec<Element> {
    let mut parts = Vec::new();
    if sections.nodes {
        parts.push(list("nodes", status.nodes.iter().map(|node| self::node(status, node, show))));
    }
    if sections.resources {
        let shown = status.resources.iter().filter(|r| !r.removed() || is_active(status, r, true));
        let shown = shown.filter(|r| show.inactive || is_active(status, r, false));
        parts.push(list("resources", shown.map(|r| resource(status, r, show))));
    }
    if sections.attributes {
        parts.push(list("node_attributes", status.nodes.iter().filter(|n| n.online).filter_map(attributes)));
    }
    if sections.operations || sections.failcounts {
        parts.push(history(status, sections.operations, show));
    }
    if sections.failures && !status.failures.is_empty() {
        parts.push(list("failures", status.failures.iter().map(|f| failure(f, show))));
    }
    // A file knows nothing of it.
    let fenced = sections.fencing_failed || sections.fencing_pending || sections.fencing_succeeded;
    if fenced && status.summary.local.is_some() {
        parts.push(fencing(status, sections, show));
    }
    if sections.tickets && !status.tickets.is_empty() {
        parts.push(tickets(status, show));
    }
    if sections.bans {
        parts.push(bans(status, show));
    }
    parts
}

pub(crate) fn list(name: &str, children: impl Iterator<Item = Element>) -> Element {
    let mut element = Element::new(name);
    children.for_each(|child| element.push(child));
    element
}

fn set_some(element: &mut Element, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        element.set(name, value);
    }
}

fn summary(summary: &Summary, sections: Sections, show: &Show) -> Element {
    let mut element = Element::new("summary");
    if sections.stack {
        element.push(Element::new("stack").with("type", &summary.stack));
    }
    if sections.dc {
        element.push(match &summary.dc {
            Some(dc) => Element::new("current_dc")
                .with("present", "true")
                .with("version", summary.dc_version.as_deref().unwrap_or_default())
                .with("name", &dc.name)
                .with("id", &dc.id)
                .with("with_quorum", truth(summary.quorate))
                .with("mixed_version", truth(summary.mixed_version)),
            None => Element::new("current_dc").with("present", "false"),
        });
    }
    if sections.times {
        let mut update = Element::new("last_update").with("time", words::moment(summary.updated, &show.zone));
        set_some(&mut update, "origin", summary.local.as_ref());
        element.push(update);
        let change = &summary.last_change;
        let mut last = Element::new("last_change");
        for (name, value) in
            [("time", &change.time), ("user", &change.user), ("client", &change.client), ("origin", &change.origin)]
        {
            last.set(name, value.as_deref().unwrap_or_default());
        }
        element.push(last);
    }
    if sections.counts {
        let counts = summary.counts;
        element.push(Element::new("nodes_configured").with("number", counts.nodes.to_string()));
        element.push(
            Element::new("resources_configured")
                .with("number", counts.resources.to_string())
                .with("disabled", counts.disabled.to_string())
                .with("blocked", counts.blocked.to_string()),
        );
    }
    if sections.options || sections.counts {
        let options = &summary.options;
        element.push(
            Element::new("cluster_options")
                .with("fencing-enabled", truth(options.fencing_enabled))
                .with("fencing-timeout-ms", options.fencing_timeout_ms.to_string())
                .with("symmetric-cluster", truth(options.symmetric))
                .with("no-quorum-policy", &options.no_quorum_policy)
                .with("maintenance-mode", truth(options.maintenance_mode))
                .with("stop-all-resources", truth(options.stop_all_resources))
                .with("priority-fencing-delay-ms", options.priority_fencing_delay_ms.to_string())
                .with("stonith-enabled", truth(options.fencing_enabled))
                .with("stonith-timeout-ms", options.fencing_timeout_ms.to_string()),
        );
    }
    element
}

fn node(status: &ClusterStatus, node: &status::Node, show: &Show) -> Element {
    let health = match node.health {
        i32::MIN..=-1 => "red",
        0 => "yellow",
        _ => "green",
    };
    let mut element = Element::new("node")
        .with("name", &node.name)
        .with("id", &node.id)
        .with("online", truth(node.online))
        .with("standby", truth(node.standby))
        .with("standby_onfail", truth(node.standby_on_fail))
        .with("maintenance", truth(node.maintenance))
        .with("pending", truth(node.pending))
        .with("unclean", truth(node.unclean))
        .with("health", health);
    set_some(&mut element, "feature_set", node.feature_set.as_ref());
    let mut element = element
        .with("shutdown", truth(node.shutdown))
        .with("expected_up", truth(node.expected_up))
        .with("is_dc", truth(node.dc))
        .with("resources_running", node.running.len().to_string())
        .with("type", if node.kind == NodeKind::Member { "member" } else { "remote" });
    if let NodeKind::Guest { container, .. } = &node.kind {
        element.set("id_as_resource", container);
    }
    if show.by_node {
        for running in node.running.iter().filter_map(|id| status.resource(id)) {
            element.push(resource(status, running, show));
        }
    }
    element
}

fn is_active(status: &ClusterStatus, resource: &Resource, all: bool) -> bool {
    let active = |primitive: &&Primitive| {
        primitive
            .active_on
            .iter()
            .any(|node| !primitive.managed || status.node(node).is_some_and(|node| node.unclean || node.online))
    };
    let primitives = resource.primitives();
    let count = primitives.iter().filter(|primitive| active(primitive)).count();
    if all { count == primitives.len() } else { count > 0 }
}

fn resource(status: &ClusterStatus, resource: &Resource, show: &Show) -> Element {
    match resource {
        Resource::Primitive(primitive) => self::primitive(status, primitive, show),
        Resource::Group(group) => self::group(status, group, show),
        Resource::Clone(clone) => clone_set(status, clone, show),
        Resource::Bundle(bundle) => self::bundle(status, bundle, show),
    }
}

fn primitive(status: &ClusterStatus, primitive: &Primitive, show: &Show) -> Element {
    let role = if primitive.role == ShownRole::Started && primitive.promotable {
        ShownRole::Unpromoted
    } else {
        primitive.role
    };
    let mut element = Element::new("resource")
        .with("id", &primitive.name)
        .with("resource_agent", &primitive.agent)
        .with("role", role.as_str());
    set_some(&mut element, "target_role", primitive.target_role.as_ref());
    let whole = Resource::Primitive(primitive.clone());
    let mut element = element
        .with("active", truth(is_active(status, &whole, false)))
        .with("orphaned", truth(primitive.removed))
        .with("removed", truth(primitive.removed))
        .with("blocked", truth(primitive.blocked))
        .with("maintenance", truth(primitive.maintenance))
        .with("managed", truth(primitive.managed))
        .with("failed", truth(primitive.failed))
        .with("failure_ignored", truth(primitive.failure_ignored))
        .with("nodes_running_on", primitive.active_on.len().to_string());
    if show.pending && primitive.pending.as_deref() == Some("monitor") {
        element.set("pending", "Monitoring");
    }
    set_some(&mut element, "locked_to", primitive.locked_to.as_ref());
    if show.descriptions {
        set_some(&mut element, "description", primitive.description.as_ref());
    }
    for name in &primitive.active_on {
        let node = status.node(name);
        element.push(
            Element::new("node")
                .with("name", name)
                .with("id", node.map_or("", |node| node.id.as_str()))
                .with("cached", truth(node.is_some_and(|node| node.online))),
        );
    }
    element
}

fn group(status: &ClusterStatus, group: &Group, show: &Show) -> Element {
    let mut element = Element::new("group")
        .with("id", &group.id)
        .with("number_resources", group.members.len().to_string())
        .with("maintenance", truth(group.maintenance))
        .with("managed", truth(group.managed))
        .with("disabled", truth(group.disabled));
    if show.descriptions {
        set_some(&mut element, "description", group.description.as_ref());
    }
    for member in &group.members {
        if show.inactive || is_active(status, member, false) {
            element.push(resource(status, member, show));
        }
    }
    element
}

fn clone_set(status: &ClusterStatus, clone: &CloneSet, show: &Show) -> Element {
    let mut element = Element::new("clone")
        .with("id", &clone.id)
        .with("multi_state", truth(clone.promotable))
        .with("unique", truth(clone.unique))
        .with("maintenance", truth(clone.maintenance))
        .with("managed", truth(clone.managed))
        .with("disabled", truth(clone.disabled))
        .with("failed", truth(clone.failed))
        .with("failure_ignored", truth(clone.failure_ignored));
    set_some(&mut element, "target_role", clone.target_role.as_ref());
    if show.descriptions {
        set_some(&mut element, "description", clone.description.as_ref());
    }
    clone.instances.iter().for_each(|instance| element.push(resource(status, instance, show)));
    element
}

fn bundle(status: &ClusterStatus, bundle: &Bundle, show: &Show) -> Element {
    let mut element = Element::new("bundle")
        .with("id", &bundle.id)
        .with("type", &bundle.engine)
        .with("image", &bundle.image)
        .with("unique", truth(bundle.unique))
        .with("maintenance", truth(bundle.maintenance))
        .with("managed", truth(bundle.managed))
        .with("failed", truth(bundle.failed));
    if show.descriptions {
        set_some(&mut element, "description", bundle.description.as_ref());
    }
    for replica in &bundle.replicas {
        let parts = replica.resources().map(|part| resource(status, part, show));
        element.push(list("replica", parts).with("id", replica.number.to_string()));
    }
    element
}

fn attributes(node: &status::Node) -> Option<Element> {
    if node.attributes.is_empty() {
        return None;
    }
    let attributes = node.attributes.iter().map(|attribute| {
        let mut element = Element::new("attribute").with("name", &attribute.name).with("value", &attribute.value);
        if let Some(expected) = attribute.expected {
            element.set("expected", &expected.to_string());
        }
        element
    });
    Some(list("node", attributes).with("name", &node.name))
}

fn history(status: &ClusterStatus, operations: bool, show: &Show) -> Element {
    let nodes = status.history.iter().filter_map(|of_node| {
        let resources = of_node
            .resources
            .iter()
            .filter(|resource| if operations { !resource.operations.is_empty() } else { resource.fail_count > 0 });
        let element = list("node", resources.map(|resource| resource_history(resource, operations, show)));
        element.children().next().is_some().then(|| element.clone().with("name", &of_node.node))
    });
    list("node_history", nodes)
}

fn resource_history(history: &ResourceHistory, operations: bool, show: &Show) -> Element {
    let mut element = Element::new("resource_history")
        .with("id", if operations { &history.resource } else { &history.history_id })
        .with("orphan", "false")
        .with("removed", "false")
        .with("migration-threshold", history.migration_threshold.to_string());
    if history.fail_count > 0 {
        element.set("fail-count", &history.fail_count.to_string());
    }
    if let Some(time) = history.last_failure {
        element.set("last-failure", &words::moment(time, &show.zone));
    }
    if operations {
        history.operations.iter().for_each(|done| element.push(operation(done, show)));
    }
    element
}

fn operation(operation: &Operation, show: &Show) -> Element {
    let mut element = Element::new("operation_history")
        .with("call", &operation.call)
        .with("task", &operation.task)
        .with("rc", operation.exit_code.to_string())
        .with("rc_text", words::exit_code(operation.exit_code));
    if operation.interval_ms > 0 {
        element.set("interval", &format!("{}ms", operation.interval_ms));
    }
    if show.timing {
        if let Some(time) = operation.last_change {
            element.set("last-rc-change", &words::moment(time, &show.zone));
        }
        for (name, value) in [("exec-time", &operation.exec_ms), ("queue-time", &operation.queued_ms)] {
            set_some(&mut element, name, value.as_ref().map(|value| format!("{value}ms")).as_ref());
        }
    }
    element
}

fn failure(failure: &Failure, show: &Show) -> Element {
    let mut element = Element::new("failure")
        .with("op_key", &failure.key)
        .with("node", &failure.node)
        .with("exitstatus", words::exit_code(failure.exit_code))
        .with("exitreason", failure.exit_reason.as_deref().unwrap_or("none"))
        .with("exitcode", failure.exit_code.to_string());
    set_some(&mut element, "call", failure.call.as_ref());
    element.set("status", words::execution_status(failure.status));
    if let Some(time) = failure.last_change.filter(|time| *time > 0) {
        element.set("last-rc-change", &dated(time, show));
        set_some(&mut element, "queued", failure.queued_ms.as_ref());
        set_some(&mut element, "exec", failure.exec_ms.as_ref());
        element.set("interval", &failure.interval_ms.to_string());
        element.set("task", &failure.task);
    }
    element
}

fn fencing(status: &ClusterStatus, sections: Sections, show: &Show) -> Element {
    let wanted = |fencing: &&Fencing| match fencing.state {
        FencingState::Failed => sections.fencing_failed,
        FencingState::Pending => sections.fencing_pending,
        FencingState::Success => sections.fencing_succeeded,
    };
    let mut history =
        list("fence_history", status.fencing.iter().filter(wanted).map(|fencing| fence_event(fencing, show)));
    history.set("status", "0");
    history
}

fn fence_event(fencing: &Fencing, show: &Show) -> Element {
    let mut element = Element::new("fence_event")
        .with("action", &fencing.action)
        .with("target", &fencing.target)
        .with("client", &fencing.client)
        .with("origin", &fencing.origin);
    match fencing.state {
        FencingState::Failed => {
            element.set("status", "failed");
            set_some(&mut element, "exit-reason", fencing.exit_reason.as_ref());
        }
        FencingState::Success => element.set("status", "success"),
        FencingState::Pending => {
            element.set("status", "pending");
            // That of a query for devices and a fencing under way in Pacemaker.
            element.set("extended-status", "1");
        }
    }
    set_some(&mut element, "delegate", fencing.delegate.as_ref());
    if let Some(time) = fencing.completed {
        element.set("completed", &text_fencing::moment(time, show));
    }
    element
}

/// A moment with its zone.
fn dated(seconds: i64, show: &Show) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |time| time.to_zoned(show.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
    )
}

fn tickets(status: &ClusterStatus, show: &Show) -> Element {
    let tickets = status.tickets.iter().map(|ticket| {
        let mut element = Element::new("ticket")
            .with("id", &ticket.id)
            .with("status", if ticket.granted { "granted" } else { "revoked" })
            .with("standby", truth(ticket.standby));
        if let Some(time) = ticket.last_granted {
            element.set("last-granted", &words::moment(time, &show.zone));
        }
        let others: BTreeMap<&String, &String> = ticket
            .attributes
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "id" | "last-granted" | "expires" | "standby"))
            .collect();
        others.into_iter().for_each(|(name, value)| element.set(name, value));
        element
    });
    list("tickets", tickets)
}

fn bans(status: &ClusterStatus, show: &Show) -> Element {
    let bans = status.bans.iter().filter(|ban| ban.id.starts_with(&show.ban_prefix)).map(|ban| {
        Element::new("ban")
            .with("id", &ban.id)
            .with("resource", &ban.resource)
            .with("node", &ban.node)
            .with("weight", ban.score.to_string())
            .with("promoted-only", truth(ban.promoted_only))
            .with("master_only", truth(ban.promoted_only))
    });
    list("bans", bans)
}

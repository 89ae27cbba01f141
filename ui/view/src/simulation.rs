//! What a simulation tells, as crm_simulate prints it.

use crate::outline::Outline;
use crate::status::ClusterStatus;
use crate::text::maintenance_notice;
use hakudo_scheduler::simulate::Step;
use hakudo_scheduler::{Plan, ScoreLine};

/// What is said before the status: that nothing is managed, and what is disabled or blocked. Empty where there is nothing to say.
pub fn head(status: &ClusterStatus) -> String {
    let mut outline = Outline::new();
    let notice = maintenance_notice(status).filter(|_| status.summary.options.maintenance_mode);
    if let Some(notice) = &notice {
        outline.plain(notice);
    }
    let counts = status.summary.counts;
    if counts.disabled > 0 || counts.blocked > 0 {
        if notice.is_some() {
            outline.blank();
        }
        outline.plain(&format!(
            "{} of {} resource instances DISABLED and {} BLOCKED from further action due to failure",
            counts.disabled, counts.resources, counts.blocked
        ));
    }
    outline.finish()
}

/// What was changed before planning.
pub fn modifications(steps: &[Step]) -> String {
    let mut outline = Outline::new();
    outline.open("Performing Requested Modifications");
    steps.iter().for_each(|step| write_step(&mut outline, step));
    outline.finish()
}

/// What was done.
pub fn execution(steps: &[Step]) -> String {
    let mut outline = Outline::new();
    outline.open("Executing Cluster Transition");
    steps.iter().for_each(|step| write_step(&mut outline, step));
    outline.finish()
}

fn write_step(outline: &mut Outline, step: &Step) {
    match step {
        Step::Pseudo { key, node: None } => outline.item(&format!("Pseudo action:   {key}")),
        Step::Pseudo { key, node: Some(node) } => outline.item(&format!("Pseudo action:   {key} on {node}")),
        Step::Resource { resource, operation, interval_ms: 0, node } => {
            outline.item(&format!("Resource action: {resource:<15} {operation} on {node}"));
        }
        Step::Resource { resource, operation, interval_ms, node } => {
            outline.item(&format!("Resource action: {resource:<15} {operation}={interval_ms} on {node}"));
        }
        Step::Cluster { task, resource: Some(resource), node } => {
            outline.item(&format!("Cluster action:  {task} for {resource} on {node}"));
        }
        Step::Cluster { task, resource: None, node } => outline.item(&format!("Cluster action:  {task} on {node}")),
        Step::Fencing { node, action } => outline.item(&format!("Fencing {node} ({action})")),
        Step::Failed { action, exit_code } => {
            outline.plain(&format!("Pretending action {action} failed with rc={exit_code}"));
        }
        Step::Attribute { name, value, node } => {
            outline.item(&format!("Injecting attribute {name}={value} into /node_state '{node}'"));
        }
        Step::Quorum(quorum) => outline.item(&format!("Setting quorum: {quorum}")),
        Step::Watchdog(watchdog) => outline.item(&format!("Setting watchdog: {watchdog}")),
        Step::NodeUp(node) => outline.item(&format!("Bringing node {node} online")),
        Step::NodeDown(node) => outline.item(&format!("Taking node {node} offline")),
        Step::NodeFail(node) => outline.item(&format!("Failing node {node}")),
        Step::Ticket { change: "Standby", ticket } => outline.item(&format!("Making ticket {ticket} standby")),
        Step::Ticket { change, ticket } => outline.item(&format!("{change} ticket {ticket}")),
        Step::Injected(text) => outline.item(&format!("Injecting {text} into the configuration")),
    }
}

/// The lines of scores, and of what nodes have and resources need, where these are asked for.
pub fn score_lines(plan: &Plan, scores: bool, utilization: bool) -> impl Iterator<Item = &ScoreLine> {
    plan.scores.iter().filter(move |line| if line.is_about_capacity() { utilization } else { scores })
}

/// A moment as crm_simulate writes it, in UTC.
pub fn utc(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => seconds.to_string(),
    }
}

//! Fail counts: how often a resource failed on a node, and whether that still counts.

use crate::model::{NodeIndex, ResourceId, Score};
use crate::planner::Planner;
use crate::read::history::Entry;
use crate::values;
use std::sync::Arc;

/// Which failures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failures {
    All,
    /// Those that have not expired.
    Effective,
}

impl Planner {
    /// How often a resource failed on a node, and when last (0 if that is not known). `entry` is the failure for which it is
    /// asked, if it is for one.
    pub(crate) fn fail_count(
        &mut self,
        resource: ResourceId,
        node: NodeIndex,
        which: Failures,
        entry: Option<&Entry>,
    ) -> (i32, i64) {
        let subject = self.model.resource(resource);
        let name = subject.history_id.as_deref().unwrap_or(&subject.id);
        let name = if subject.unique { name } else { values::without_instance(name) };
        let (mut failures, mut last) = (Score::ZERO, 0i64);
        for prefix in ["fail-count-", "last-failure-"] {
            let start = format!("{prefix}{name}");
            for (attribute, value) in self.model.node(node).attributes.range(start.clone()..) {
                let Some(rest) = attribute.strip_prefix(&start) else { break };
                if !names_operation(rest, subject.unique) {
                    continue;
                }
                if prefix == "fail-count-" {
                    let amount = values::score(value, &self.model.options.health_scores).unwrap_or_default();
                    failures = failures.plus(amount);
                } else if let Some(time) = values::integer(value) {
                    last = last.max(time);
                }
            }
        }
        let mut failures = failures.0;
        if failures > 0 && self.resource(resource).failure_timeout_ms > 0 && self.blocks(resource, node, entry) {
            let id = self.resource(resource).id.clone();
            self.problem(&id, "failure-timeout is ignored because it conflicts with on-fail=block");
            self.resource_mut(resource).failure_timeout_ms = 0;
        }
        let timeout_ms = self.resource(resource).failure_timeout_ms;
        if which == Failures::Effective && failures > 0 && last > 0 && timeout_ms > 0 {
            let expiry = last.saturating_add(seconds(timeout_ms));
            if self.model.now.seconds() > expiry {
                failures = 0;
            }
        }
        (failures, if failures > 0 { last } else { 0 })
    }

    /// As [`Planner::fail_count`], with the failures of what runs in the resource.
    fn fail_count_with_launched(&mut self, resource: ResourceId, node: NodeIndex) -> i32 {
        let mut counted = vec![resource];
        let mut at = 0;
        let mut failures = 0i32;
        while let Some(&resource) = counted.get(at) {
            at += 1;
            failures = failures.saturating_add(self.fail_count(resource, node, Failures::Effective, None).0);
            if !self.model.is_bundled(resource) {
                for launched in &self.resource(resource).launched {
                    if !counted.contains(launched) {
                        counted.push(*launched);
                    }
                }
            }
        }
        failures
    }

    /// A failed operation of the resource is configured with `on-fail=block`.
    fn blocks(&self, resource: ResourceId, node: NodeIndex, entry: Option<&Entry>) -> bool {
        let subject = self.resource(resource);
        let name = values::without_instance(&subject.id);
        let operations = Arc::clone(&self.sources[resource.index()].operations);
        let blocking = operations.iter().filter(|op| op.element.attribute("on-fail") == Some("block"));
        blocking.into_iter().any(|operation| {
            let matches = |entry: &Entry| {
                operation.interval_ms == entry.interval_ms
                    && operation.name.eq_ignore_ascii_case(&entry.task)
                    && (entry.id().eq_ignore_ascii_case(&format!("{name}_last_failure_0"))
                        || (entry
                            .id()
                            .eq_ignore_ascii_case(&format!("{name}_{}_{}", operation.name, operation.interval_ms))
                            && entry.exit_code.unwrap_or(0) != entry.expected))
            };
            match entry {
                Some(entry) => matches(entry),
                None => self
                    .resource_history(name, &self.model.node(node).name)
                    .is_some_and(|history| history.entries.iter().any(matches)),
            }
        })
    }

    /// Why a resource may not run on a node any more: the resource that is banned, where it failed too often.
    pub(crate) fn threshold_reached(&mut self, resource: ResourceId, node: NodeIndex) -> Option<ResourceId> {
        let subject = self.resource(resource);
        let threshold = subject.migration_threshold;
        if threshold == 0 || subject.failure_ignored {
            return None;
        }
        let banned = if subject.unique { resource } else { self.uber_parent(resource) };
        let failures = self.fail_count_with_launched(resource, node);
        (failures > 0 && threshold - failures <= 0).then_some(banned)
    }
}

/// Whole seconds of a duration, rounded to the nearest, but at least one of any.
pub(crate) fn seconds(ms: u64) -> i64 {
    match ms {
        0 => 0,
        1..1000 => 1,
        _ => i64::try_from(ms.saturating_add(500) / 1000).unwrap_or(i64::MAX),
    }
}

/// What follows the resource's name in an attribute's: `#operation_interval`, for anonymous instances after their number.
fn names_operation(rest: &str, unique: bool) -> bool {
    let rest = match rest.strip_prefix(':') {
        Some(instance) if !unique => match instance.split_once('#') {
            Some((number, operation)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => operation,
            _ => return false,
        },
        _ => match rest.strip_prefix('#') {
            Some(operation) => operation,
            None => return false,
        },
    };
    matches!(rest.rsplit_once('_'), Some((operation, interval))
        if !operation.is_empty() && !interval.is_empty() && interval.bytes().all(|b| b.is_ascii_digit()))
}

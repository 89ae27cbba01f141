//! What speaks for and against nodes before anything is placed: locks, location, stickiness, failures, discovery.

use crate::decide::action::Task;
use crate::model::{Discovery, NodeIndex, ResourceId, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::read::failures::seconds;

impl Planner {
    pub(crate) fn apply_node_criteria(&mut self) {
        if self.model.options.shutdown_lock {
            for at in 0..self.model.top.len() {
                self.apply_shutdown_lock(self.model.top[at]);
            }
        }
        self.apply_locations();
        for at in 0..self.model.top.len() {
            self.apply_stickiness(self.model.top[at]);
        }
        let exclusive = |top: &ResourceId| self.model.any_below(*top, &|resource| resource.exclusive_discovery);
        let exclusive: Vec<ResourceId> = self.model.top.iter().copied().filter(exclusive).collect();
        for node_at in 0..self.model.node_order.len() {
            let node = self.model.node_order[node_at];
            if self.model.node(node).has_failures() {
                for at in 0..self.model.top.len() {
                    self.apply_threshold(self.model.top[at], node);
                }
            }
            for &resource in &exclusive {
                self.apply_exclusive_discovery(resource, node);
            }
        }
    }

    /// A resource on a node that shuts down stays bound to it.
    fn apply_shutdown_lock(&mut self, resource: ResourceId) {
        let subject = self.resource(resource);
        if subject.is_group() {
            for member in subject.children.clone() {
                self.apply_shutdown_lock(member);
            }
            return;
        }
        if !subject.is_primitive() || subject.fence_device || subject.remote_connection {
            return;
        }
        if let Some(lock) = subject.lock_node {
            if !subject.active_on.is_empty() {
                self.clear_history(resource, lock);
                let subject = self.resource_mut(resource);
                subject.lock_node = None;
                subject.lock_time = 0;
            }
        } else if let [node] = subject.active_on[..] {
            let peer = self.model.node(node);
            if peer.shutdown && !peer.unclean {
                let since = peer.attribute("shutdown").and_then(crate::values::integer).unwrap_or(0);
                let since = if since == 0 { self.model.now.seconds() } else { since };
                let subject = self.resource_mut(resource);
                subject.lock_node = Some(node);
                subject.lock_time = since;
            }
        }
        let subject = self.resource(resource);
        let Some(lock) = subject.lock_node else { return };
        let limit = self.model.options.shutdown_lock_limit_ms;
        if limit > 0 {
            let until = subject.lock_time.saturating_add(seconds(limit)).saturating_add(1);
            self.model.look_again_at(until);
        }
        let share = Share::new(Source::ShutdownLock, "shutdown-lock");
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            if node != lock {
                self.add_score(resource, Some(node), Score::MINUS_INFINITY, &share);
            }
        }
    }

    fn apply_stickiness(&mut self, resource: ResourceId) {
        let subject = self.resource(resource);
        if !subject.children.is_empty() {
            for child in subject.children.clone() {
                self.apply_stickiness(child);
            }
            return;
        }
        let [node] = subject.active_on[..] else { return };
        if !subject.managed || subject.stickiness.0 < 1 {
            return;
        }
        if !self.model.options.symmetric_cluster && !subject.allowed.contains(node) {
            return;
        }
        let share = Share::new(Source::Stickiness, &subject.config_id);
        let stickiness = subject.stickiness;
        self.add_score(resource, Some(node), stickiness, &share);
    }

    /// What failed too often on a node may not run there any more.
    fn apply_threshold(&mut self, resource: ResourceId, node: NodeIndex) {
        let children = self.resource(resource).children.clone();
        if !children.is_empty() {
            for child in children {
                self.apply_threshold(child, node);
            }
            return;
        }
        if !self.find_actions(resource, Task::ClearFailcount.into(), Some(node)).is_empty() {
            return;
        }
        if let Some(banned) = self.threshold_reached(resource, node) {
            let share = Share::new(Source::Failure, "migration-threshold");
            self.add_score(banned, Some(node), Score::MINUS_INFINITY, &share);
        }
    }

    fn apply_exclusive_discovery(&mut self, resource: ResourceId, node: NodeIndex) {
        let top = self.model.top_of(resource);
        if !self.resource(resource).exclusive_discovery && !self.resource(top).exclusive_discovery {
            return;
        }
        for child in self.resource(resource).children.clone() {
            self.apply_exclusive_discovery(child, node);
        }
        let entry = self.resource(resource).allowed.get(node);
        if entry.is_some_and(|entry| entry.discovery != Discovery::Exclusive) {
            let share = Share::new(Source::Location, "resource-discovery=exclusive");
            self.set_score(resource, node, Score::MINUS_INFINITY, &share);
        }
    }
}

//! What the history did with another configuration than today's: recurring operations to be ended or started anew,
//! reloads, restarts.

use super::action::{ActionFlags, OpKey, Relation, Task};
use super::digest::DigestState;
use crate::model::{NodeIndex, ResourceId};
use crate::planner::Planner;
use crate::read::failures::Failures;
use crate::read::history::{AGENT, EntryPlace, active_range};
use std::sync::Arc;

/// A history entry whose parameters are to be compared with today's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeferredCheck {
    pub(crate) resource: ResourceId,
    pub(crate) node: NodeIndex,
    pub(crate) entry: EntryPlace,
    /// The entry is of a failure, which other parameters make void.
    pub(crate) of_failure: bool,
}

impl Planner {
    pub(crate) fn handle_config_changes(&mut self) {
        let mut by_id = vec![Vec::new(); self.recorded_ids.len()];
        for top in self.model.top.clone() {
            self.index_ids(top, &mut by_id);
        }
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            let peer = self.model.node(node);
            if !peer.maintenance && !peer.is_usable() {
                continue;
            }
            let Some(place) = self.histories_of.get(&peer.name).and_then(|places| places.first()).copied() else {
                continue;
            };
            for resource_at in 0..self.histories[place].resources.len() {
                let history = &self.histories[place].resources[resource_at];
                if history.entries.is_empty() {
                    continue;
                }
                for resource in by_id[history.id.index()].iter().rev() {
                    self.check_history(*resource, node, place, resource_at);
                }
            }
        }
    }

    /// Puts each primitive below a resource to every id under which histories know it.
    fn index_ids(&self, resource: ResourceId, by_id: &mut [Vec<ResourceId>]) {
        let subject = self.resource(resource);
        if subject.is_primitive() {
            let other = subject.history_id.as_ref().filter(|id| **id != subject.id);
            for id in std::iter::once(&subject.id).chain(other).filter_map(|id| self.recorded_ids.find(id)) {
                by_id[id.index()].push(resource);
            }
        }
        for &child in &subject.children {
            self.index_ids(child, by_id);
        }
    }

    fn check_history(&mut self, resource: ResourceId, node: NodeIndex, place: usize, at: usize) {
        let top = self.model.top_of(resource);
        if self.resource(resource).removed {
            if !self.resource(top).is_anonymous_clone() {
                self.schedule_cleanup(resource, node, false);
            }
            return;
        }
        let active = self.resource(resource).active_on.contains(&node);
        if self.agent_changed(resource, node, place, at, active) {
            self.schedule_cleanup(resource, node, false);
        }
        if !active {
            return;
        }
        let history = &self.histories[place].resources[at];
        let sorted = history.sorted();
        let entries: Vec<_> = sorted.iter().map(|entry| &history.entries[*entry]).collect();
        let (start, stop) = active_range(&entries);
        if start < stop {
            return;
        }
        let relevant: Vec<usize> =
            (0i64..).zip(&sorted).filter(|(offset, _)| *offset >= start).map(|(_, entry)| *entry).collect();
        for entry_at in relevant {
            let entry_place = EntryPlace { node: place, resource: at, entry: entry_at };
            let entry = self.entry(entry_place).clone();
            let maintenance = self.resource(resource).maintenance || self.model.node(node).maintenance;
            if entry.interval_ms > 0 && maintenance {
                let task = self.task(&entry.task);
                let key = OpKey::recurring(task, entry.interval_ms);
                self.schedule_cancel(resource, entry.attribute("call-id"), key, node);
                continue;
            }
            let counts =
                entry.interval_ms > 0 || matches!(&*entry.task, "monitor" | "start" | "promote" | "migrate_from");
            if counts {
                let check = DeferredCheck { resource, node, entry: entry_place, of_failure: false };
                if self.needs_remote_name(resource) {
                    self.deferred_checks.push(check);
                } else {
                    self.check_parameters(check);
                }
            }
        }
    }

    /// Makes up for the checks that needed to know where containers run.
    pub(crate) fn make_deferred_checks(&mut self) {
        for check in std::mem::take(&mut self.deferred_checks) {
            self.check_parameters(check);
        }
    }

    fn check_parameters(&mut self, check: DeferredCheck) {
        let DeferredCheck { resource, node, entry, of_failure } = check;
        if of_failure {
            if self.digest_state(resource, node, entry).is_changed() {
                self.clear_fail_count(resource, node, "resource parameters have changed");
            }
        } else if self.check_entry(resource, node, entry)
            && self.fail_count(resource, node, Failures::Effective, None).0 != 0
        {
            self.clear_fail_count(resource, node, "action definition changed");
        }
    }

    /// Another agent than the one that the history knows.
    fn agent_changed(&mut self, resource: ResourceId, node: NodeIndex, place: usize, at: usize, active: bool) -> bool {
        let recorded = &*self.histories[place].resources[at].agent;
        let configured = &self.sources[resource.index()].element;
        let differs = |(name, recorded): &(&str, &Option<Arc<str>>)| recorded.as_deref() != configured.attribute(name);
        let changed = AGENT.into_iter().zip(recorded).filter(differs).count();
        for _ in 0..changed {
            self.trigger_unfencing(Some(resource), Some(node), "Device definition changed");
        }
        if changed > 0 && active {
            self.resource_action(resource, Task::Stop, Some(node), false);
            self.resource_mut(resource).start_pending = true;
        }
        changed > 0
    }

    /// Whether an operation in the history must be done anew; does what is needed for it.
    fn check_entry(&mut self, resource: ResourceId, node: NodeIndex, place: EntryPlace) -> bool {
        let entry = self.entry(place).clone();
        let task = self.task(&entry.task);
        let key = OpKey::recurring(task, entry.interval_ms);
        if entry.interval_ms > 0 && self.find_operation(resource, &entry.task, entry.interval_ms, false).is_none() {
            if self.model.options.cancel_removed_actions {
                self.schedule_cancel(resource, entry.attribute("call-id"), key, node);
            }
            return true;
        }
        let restart_task = match task {
            Task::Monitor | Task::MigrateFrom | Task::Promote if entry.interval_ms == 0 => Task::Start,
            other => other,
        };
        let state = self.digest_state(resource, node, place);
        if self.for_inspection() && state != DigestState::Match && self.matches_without_secrets(resource, node, place) {
            return false;
        }
        match state {
            DigestState::Match => return false,
            DigestState::Restart => {
                self.force_restart(resource, OpKey { task: restart_task, ..key }, node);
            }
            DigestState::Unknown | DigestState::Mismatch => {
                if entry.interval_ms > 0 {
                    let reason = "Device parameters changed (reschedule)";
                    self.trigger_unfencing(Some(resource), Some(node), reason);
                    let action = self.custom_action(resource, key, task, Some(node), true);
                    self.action_mut(action).flags.set(ActionFlags::RESCHEDULE);
                } else if entry.restart_digest.is_some() {
                    self.trigger_unfencing(Some(resource), Some(node), "Device parameters changed (reload)");
                    self.schedule_reload(resource, node);
                } else {
                    self.force_restart(resource, OpKey { task: restart_task, ..key }, node);
                }
            }
        }
        true
    }

    fn force_restart(&mut self, resource: ResourceId, key: OpKey, node: NodeIndex) {
        let action = self.custom_action(resource, key, key.task, None, false);
        self.set_reason(action, "resource definition change", true);
        self.trigger_unfencing(Some(resource), Some(node), "Device parameters changed");
    }

    fn schedule_reload(&mut self, resource: ResourceId, node: NodeIndex) {
        let subject = self.resource(resource);
        if !subject.managed || subject.failed {
            return;
        }
        if subject.start_pending {
            self.resource_action(resource, Task::Stop, Some(node), false);
            return;
        }
        self.resource_mut(resource).reload = true;
        let reload = self.resource_action(resource, Task::ReloadAgent, Some(node), false);
        self.set_reason(reload, "resource definition change", false);
        let flags = Relation::ORDERED | Relation::THEN_CANCELS_FIRST;
        self.order_action_then_key(reload, resource, Task::Stop.into(), flags);
        self.order_action_then_key(reload, resource, Task::Demote.into(), flags);
    }
}

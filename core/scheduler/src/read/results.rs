//! What a result in a history means for its resource: the role that it shows, and what a failure leads to.

use super::history::{DONE, Entry, EntryPlace, PENDING};
use super::operations::OnFail;
use crate::decide::action::Task;
use crate::decide::config_changes::DeferredCheck;
use crate::model::{FailedOperation, NodeIndex, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::read::failures::{Failures, seconds};
use hakudo_base::agent::exit_code;
use std::sync::Arc;

const STATUS_CANCELLED: i32 = 1;
const STATUS_NOT_SUPPORTED: i32 = 3;
const STATUS_ERROR: i32 = 4;
const STATUS_ERROR_HARD: i32 = 5;
const STATUS_ERROR_FATAL: i32 = 6;
const STATUS_NOT_INSTALLED: i32 = 7;
const STATUS_NOT_CONNECTED: i32 = 8;
const STATUS_NO_FENCE_DEVICE: i32 = 10;
const STATUS_NO_SECRETS: i32 = 11;
const STATUS_LARGEST: i32 = STATUS_NO_SECRETS;

/// What reading a resource's history on a node, entry by entry, has led to so far.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The last failure.
    pub(crate) last_failure: Option<EntryPlace>,
    /// What is to be done about failures.
    pub(crate) on_fail: OnFail,
}

/// One entry on its way through.
struct Result<'a> {
    resource: ResourceId,
    node: NodeIndex,
    place: EntryPlace,
    entry: &'a Entry,
    exit_code: i32,
    status: i32,
}

impl Planner {
    /// Takes in one entry.
    pub(crate) fn take_in(&mut self, resource: ResourceId, node: NodeIndex, place: EntryPlace, reading: &mut Reading) {
        let entries = Arc::clone(&self.histories[place.node].resources[place.resource].entries);
        let entry = &entries[place.entry];
        if !entry.is_named() {
            let id = self.resource(resource).id.clone();
            self.problem(&id, "a history entry without id or operation is ignored");
            return;
        }
        if !matches!(
            &*entry.task,
            "monitor" | "start" | "stop" | "promote" | "demote" | "migrate_to" | "migrate_from" | "asyncmon"
        ) {
            return;
        }
        let (Some(status), Some(exit_code)) = (
            entry.status.filter(|s| (PENDING..=STATUS_LARGEST).contains(s) && *s != STATUS_CANCELLED),
            entry.exit_code.filter(|code| (0..=255).contains(code)),
        ) else {
            self.problem(entry.id(), "a history entry with an invalid op-status or rc-code is ignored");
            return;
        };
        let mut result = Result { resource, node, place, entry, exit_code, status };
        let expired = self.is_expired(&result);
        self.interpret(&mut result, reading, expired);
        if expired && self.forget_expired(&result, exit_code) {
            return;
        }
        let bundled = self.model.is_bundled(resource);
        if !bundled && entry.is_masked_probe() {
            self.mask_probe(&result, exit_code, reading);
            return;
        }
        let banned = if self.resource(resource).unique { resource } else { self.uber_parent(resource) };
        let hard = || Share::new(Source::Failure, entry.id());
        match result.status {
            PENDING => return self.note_pending(&result, reading),
            DONE => return self.update_role(&result, result.exit_code, reading),
            STATUS_NOT_INSTALLED => {
                let (on_fail, role) = self.failure_handling(&result);
                if on_fail == OnFail::Ignore {
                    reading.on_fail = OnFail::Ban;
                }
                self.add_score(banned, Some(node), Score::MINUS_INFINITY, &hard());
                return self.note_failure(&result, on_fail, role, reading);
            }
            STATUS_NOT_CONNECTED => {
                if let Some(connection) = self.model.node(node).connection
                    && self.resource(connection).managed
                {
                    self.mark_failed(connection);
                }
            }
            _ => {}
        }
        let (on_fail, role) = self.failure_handling(&result);
        if on_fail == OnFail::Ignore || (on_fail == OnFail::RestartContainer && &*entry.task == "stop") {
            self.update_role(&result, entry.expected, reading);
            self.resource_mut(resource).failure_ignored = true;
            self.record_failure(&result);
            if on_fail == OnFail::RestartContainer && reading.on_fail <= OnFail::Restart {
                reading.on_fail = on_fail;
            }
            return;
        }
        self.note_failure(&result, on_fail, role, reading);
        if result.status == STATUS_ERROR_HARD {
            self.add_score(banned, Some(node), Score::MINUS_INFINITY, &hard());
        } else if result.status == STATUS_ERROR_FATAL {
            self.add_score(banned, None, Score::MINUS_INFINITY, &hard());
        }
    }

    pub(crate) fn mark_failed(&mut self, resource: ResourceId) {
        let subject = self.resource_mut(resource);
        subject.failed = true;
        subject.stop_if_failed = true;
    }

    /// Active, as far as a monitor can tell.
    fn set_active(&mut self, resource: ResourceId) {
        let promotable = self.resource(self.model.top_of(resource)).promotable;
        self.resource_mut(resource).role = if promotable { Role::Unpromoted } else { Role::Started };
    }

    /// The failure lies so far back that it does not count any more. Decides also whether the fail count goes.
    fn is_expired(&mut self, result: &Result<'_>) -> bool {
        if result.status == STATUS_NOT_INSTALLED {
            return false;
        }
        let (resource, node, entry) = (result.resource, result.node, result.entry);
        let timeout = seconds(self.resource(resource).failure_timeout_ms);
        let now = self.model.now.seconds();
        let (mut expired, mut unexpired) = (false, 0);
        if timeout > 0
            && let Some(last_run) = entry.last_change
        {
            expired = now >= last_run.saturating_add(timeout) && !self.waits_for_fencing(result);
            let (count, last) = self.fail_count(resource, node, Failures::Effective, Some(entry));
            unexpired = count;
            let until = last.saturating_add(timeout).saturating_add(1);
            if count != 0 && now < until {
                self.model.look_again_at(until);
            }
        }
        let mut clear = None;
        if expired {
            if self.fail_count(resource, node, Failures::All, Some(entry)).0 != 0 {
                if unexpired == 0 {
                    clear = Some("it expired");
                } else {
                    expired = false;
                }
            } else if entry.is_last_failure && self.resource(resource).reconnect_ms > 0 {
                clear = Some("reconnect interval is set");
            }
        }
        if !expired && entry.is_last_failure && self.parameters_changed_since(resource, node, result.place) {
            clear = Some("resource parameters have changed");
        }
        if let Some(reason) = clear {
            let action = self.clear_fail_count(resource, node, reason);
            if self.model.options.fencing_enabled && self.resource(resource).reconnect_ms > 0 {
                self.order_after_remote_fencing(action, resource);
            }
        }
        if expired && entry.is_probe() {
            return !matches!(
                result.exit_code,
                exit_code::OK
                    | exit_code::NOT_RUNNING
                    | exit_code::RUNNING_PROMOTED
                    | exit_code::DEGRADED
                    | exit_code::DEGRADED_PROMOTED
            );
        }
        expired
    }

    /// A failed monitor of a remote connection counts until its node was fenced.
    fn waits_for_fencing(&self, result: &Result<'_>) -> bool {
        let subject = self.resource(result.resource);
        subject.reconnect_ms > 0
            && self.model.options.fencing_enabled
            && result.entry.interval_ms != 0
            && &*result.entry.task == "monitor"
            && self.model.node_named(&subject.id).is_some_and(|node| !self.model.node(node).remote_fenced)
    }

    /// Gives the result the status that its exit code means.
    fn interpret(&mut self, result: &mut Result<'_>, reading: &mut Reading, expired: bool) {
        let original = result.exit_code;
        result.exit_code = match original {
            exit_code::DEGRADED => exit_code::OK,
            exit_code::DEGRADED_PROMOTED => exit_code::RUNNING_PROMOTED,
            other => other,
        };
        let node = self.model.node(result.node);
        if result.exit_code != original && !expired && (!node.shutdown || node.online) {
            self.record_failure(result);
        }
        let entry = result.entry;
        if !self.model.is_bundled(result.resource)
            && entry.is_masked_probe()
            && (result.status != DONE || result.exit_code != exit_code::NOT_RUNNING)
        {
            (result.status, result.exit_code) = (DONE, exit_code::NOT_RUNNING);
        }
        match result.status {
            DONE | STATUS_ERROR => {}
            STATUS_NO_FENCE_DEVICE | STATUS_NO_SECRETS => {
                result.status = STATUS_ERROR_HARD;
                return;
            }
            _ => return,
        }
        let probe = entry.is_probe();
        if entry.expected < 0 {
            result.status = STATUS_ERROR;
            self.problem(entry.id(), "the history does not say which result was expected");
        } else if result.exit_code == entry.expected {
            result.status = DONE;
        } else {
            result.status = STATUS_ERROR;
        }
        match result.exit_code {
            exit_code::OK => {
                if probe && entry.expected == exit_code::NOT_RUNNING {
                    result.status = DONE;
                }
            }
            exit_code::NOT_RUNNING => {
                if probe || entry.expected == result.exit_code || !self.resource(result.resource).managed {
                    result.status = DONE;
                    reading.on_fail = OnFail::Ignore;
                    let subject = self.resource_mut(result.resource);
                    subject.role = Role::Stopped;
                    subject.next_role = Role::Unknown;
                }
            }
            exit_code::RUNNING_PROMOTED => {
                if probe && result.exit_code != entry.expected {
                    result.status = DONE;
                }
                if !expired || result.exit_code == entry.expected {
                    self.resource_mut(result.resource).role = Role::Promoted;
                }
            }
            exit_code::FAILED_PROMOTED => {
                if !expired {
                    self.resource_mut(result.resource).role = Role::Promoted;
                }
                result.status = STATUS_ERROR;
            }
            exit_code::NOT_CONFIGURED => result.status = STATUS_ERROR_FATAL,
            exit_code::UNIMPLEMENT_FEATURE if entry.interval_ms > 0 => result.status = STATUS_NOT_SUPPORTED,
            exit_code::UNIMPLEMENT_FEATURE
            | exit_code::NOT_INSTALLED
            | exit_code::INVALID_PARAM
            | exit_code::INSUFFICIENT_PRIV => {
                if !expired {
                    self.block_if_unrecoverable(result);
                }
                result.status = STATUS_ERROR_HARD;
            }
            _ => {
                if result.status == DONE {
                    result.status = STATUS_ERROR;
                }
            }
        }
    }

    /// A failed stop that no fencing can mend is for a person to mend.
    fn block_if_unrecoverable(&mut self, result: &Result<'_>) {
        if &*result.entry.task == "stop" && !self.can_fence(result.node) {
            let subject = self.resource_mut(result.resource);
            subject.managed = false;
            subject.blocked = true;
        }
    }

    /// True where nothing more is to be learned from an expired entry.
    fn forget_expired(&mut self, result: &Result<'_>, original: i32) -> bool {
        let entry = result.entry;
        if !self.model.is_bundled(result.resource) && entry.is_masked_probe() && original != entry.expected {
            let subject = self.resource_mut(result.resource);
            if subject.role <= Role::Stopped {
                subject.role = Role::Unknown;
            }
            return true;
        }
        if result.exit_code == entry.expected {
            return false;
        }
        if entry.interval_ms == 0 {
            return true;
        }
        let node = self.model.node(result.node);
        if node.online && !node.unclean {
            // The recurring operation is to be started anew: no digest is equal to this one.
            let place = result.place;
            let history = &mut self.histories[place.node].resources[place.resource];
            Arc::make_mut(&mut history.entries)[place.entry].restart_digest = Some("calculated-failure-timeout".into());
            return true;
        }
        false
    }

    /// A probe that shows only that the resource cannot run there.
    fn mask_probe(&mut self, result: &Result<'_>, _original: i32, reading: &mut Reading) {
        let banned =
            if self.resource(result.resource).unique { result.resource } else { self.uber_parent(result.resource) };
        self.update_role(result, result.entry.expected, reading);
        self.record_failure(result);
        let share = Share::new(Source::Failure, result.entry.id());
        self.add_score(banned, Some(result.node), Score::MINUS_INFINITY, &share);
    }

    fn note_pending(&mut self, result: &Result<'_>, reading: &Reading) {
        let entry = result.entry;
        if let Some(failure) = reading.last_failure.map(|place| self.entry(place)) {
            // Seconds do not tell what came first; numbers of calls do, where there are any.
            let called_before = failure.call_id > 0 && entry.call_id > failure.call_id;
            let newer = failure.task == entry.task
                && failure.interval_ms == entry.interval_ms
                && !called_before
                && matches!((entry.last_change, failure.last_change), (Some(this), Some(failed)) if failed >= this);
            if newer {
                return;
            }
        }
        let (resource, node) = (result.resource, result.node);
        match &*entry.task {
            "start" => {
                self.resource_mut(resource).start_pending = true;
                self.set_active(resource);
            }
            "promote" => self.resource_mut(resource).role = Role::Promoted,
            "migrate_to" if self.model.node(node).unclean => {
                let target = entry.attribute("migrate_target").and_then(|name| self.model.node_named(name));
                if let Some(target) = target {
                    self.resource_action(resource, Task::Stop, Some(target), false);
                }
            }
            _ => {}
        }
        let subject = self.resource_mut(resource);
        if subject.pending_task.is_none() && !entry.is_probe() {
            subject.pending_task = Some(entry.task.to_string());
            subject.pending_on = Some(node);
        }
    }

    fn failure_handling(&mut self, result: &Result<'_>) -> (OnFail, Role) {
        let (resource, entry) = (result.resource, result.entry);
        let operation = self.find_operation(resource, &entry.task, entry.interval_ms, true);
        let meta = self.operation_meta(resource, Some(result.node), &entry.task, entry.interval_ms, operation);
        let value = meta.get("on-fail").map(String::as_str);
        let on_fail = self.on_fail(resource, &entry.task, entry.interval_ms, value);
        (on_fail, self.role_after_failure(resource, &entry.task, on_fail))
    }

    fn note_failure(&mut self, result: &Result<'_>, on_fail: OnFail, role: Role, reading: &mut Reading) {
        let (resource, node, entry) = (result.resource, result.node, result.entry);
        reading.last_failure = Some(result.place);
        let asymmetric = !self.model.options.symmetric_cluster;
        if !(asymmetric && result.exit_code == exit_code::NOT_INSTALLED) {
            self.record_failure(result);
        }
        reading.on_fail = reading.on_fail.max(on_fail);
        match &*entry.task {
            "stop" => {
                let share = Share::new(Source::Failure, entry.id());
                self.add_score(resource, Some(node), Score::MINUS_INFINITY, &share);
            }
            "migrate_to" => self.note_failed_migrate_to(resource, node, entry),
            "migrate_from" => self.note_failed_migrate_from(resource, node, entry),
            "promote" => self.resource_mut(resource).role = Role::Promoted,
            "demote" => {
                let subject = self.resource_mut(resource);
                if on_fail == OnFail::Block {
                    subject.role = Role::Promoted;
                    subject.next_role = Role::Stopped;
                } else if result.exit_code == exit_code::NOT_RUNNING {
                    subject.role = Role::Stopped;
                } else {
                    subject.role = Role::Unpromoted;
                }
            }
            _ => {}
        }
        if entry.is_probe() && result.exit_code == exit_code::NOT_INSTALLED {
            self.resource_mut(resource).role = Role::Stopped;
        } else if self.resource(resource).role < Role::Started {
            self.set_active(resource);
        }
        if role != Role::Started && self.resource(resource).next_role < role {
            self.resource_mut(resource).next_role = role;
        }
        if role == Role::Stopped {
            self.ban_everywhere(resource);
        }
    }

    fn ban_everywhere(&mut self, resource: ResourceId) {
        let top = self.uber_parent(resource);
        let banned = if self.resource(top).is_anonymous_clone() { top } else { resource };
        self.set_all_scores(banned, Score::MINUS_INFINITY);
    }

    /// Allows every node again, at one score.
    pub(crate) fn set_all_scores(&mut self, resource: ResourceId, score: Score) {
        let share = Share::new(Source::Failure, &self.resource(resource).id);
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            let entry = crate::model::NodeEntry { score, ..self.model.node(node).base };
            self.resource_mut(resource).allowed.insert(node, entry);
            self.placements.note_instead(resource, node, score, &share);
        }
    }

    /// What a result that is as it should be says of the role.
    fn update_role(&mut self, result: &Result<'_>, exit: i32, reading: &mut Reading) {
        let (resource, entry) = (result.resource, result.entry);
        let mut clear = false;
        if exit == exit_code::NOT_INSTALLED || (!self.model.is_bundled(resource) && entry.is_masked_probe()) {
            self.resource_mut(resource).role = Role::Stopped;
        } else if exit == exit_code::NOT_RUNNING {
            clear = true;
        } else {
            match &*entry.task {
                "monitor" => {
                    clear = reading.last_failure.is_some_and(|place| self.entry(place).key() == entry.key());
                    if self.resource(resource).role < Role::Started {
                        self.set_active(resource);
                    }
                }
                "start" | "migrate_from" => {
                    self.resource_mut(resource).role = Role::Started;
                    clear = true;
                }
                "stop" => {
                    self.resource_mut(resource).role = Role::Stopped;
                    clear = true;
                }
                "promote" => {
                    self.resource_mut(resource).role = Role::Promoted;
                    clear = true;
                }
                "demote" => {
                    clear = reading.on_fail == OnFail::Demote;
                    self.resource_mut(resource).role = Role::Unpromoted;
                }
                "migrate_to" => self.note_migrate_to(resource, result.node, entry),
                _ => {
                    if self.resource(resource).role < Role::Started {
                        self.set_active(resource);
                    }
                }
            }
        }
        let forgettable = match reading.on_fail {
            OnFail::Stop | OnFail::Ban | OnFail::Standby | OnFail::Fence => false,
            OnFail::ResetRemote => self.resource(resource).reconnect_ms == 0,
            _ => true,
        };
        if clear && forgettable {
            reading.on_fail = OnFail::Ignore;
            self.resource_mut(resource).next_role = Role::Unknown;
        }
    }

    fn record_failure(&mut self, result: &Result<'_>) {
        let entry = result.entry;
        let node = self.model.node(result.node);
        if !node.online || !self.recorded_failures.insert((node.name.to_ascii_lowercase(), entry.key().to_owned())) {
            return;
        }
        let number = |name: &str| entry.attribute(name).and_then(crate::values::integer);
        let failure = FailedOperation {
            key: entry.key().to_owned(),
            entry_id: entry.id().to_owned(),
            resource: self.resource(result.resource).id.clone(),
            node: node.name.clone(),
            task: entry.task.to_string(),
            interval_ms: u64::from(entry.interval_ms),
            exit_code: entry.exit_code.unwrap_or(1),
            status: entry.status.unwrap_or(STATUS_ERROR),
            call_id: entry.call_id,
            exit_reason: entry.attribute("exit-reason").unwrap_or_default().to_owned(),
            last_change: entry.last_change,
            exec_time_ms: number("exec-time").unwrap_or(0),
            queue_time_ms: number("queue-time").unwrap_or(0),
            masked_probe: entry.is_masked_probe(),
        };
        self.model.failures.push(failure);
    }

    /// A migration away that ended well; whether the resource arrived is for the target's history to say.
    fn note_migrate_to(&mut self, resource: ResourceId, node: NodeIndex, entry: &Entry) {
        let Some((source, target)) = self.migration_nodes(entry, Some(node), None) else { return };
        let id = self.resource(resource).id.clone();
        let source_acted = self.acted_after(&id, &source, entry);
        let arrival = self.find_entry(&id, "migrate_from", &target, Some(&source), None).cloned();
        if arrival.is_some() && source_acted {
            return;
        }
        let target_newer = self.is_newer_after_migration(&id, &target, Some(entry), arrival.as_ref());
        if source_acted && target_newer {
            return;
        }
        let (code, status) = arrival
            .as_ref()
            .map_or((exit_code::OK, PENDING), |a| (a.exit_code.unwrap_or(0), a.status.unwrap_or(PENDING)));
        if code == exit_code::OK && status == DONE {
            let subject = self.resource_mut(resource);
            subject.role = Role::Stopped;
            subject.dangling_sources.insert(0, node);
            return;
        }
        self.resource_mut(resource).role = Role::Started;
        let target_node = self.model.node_named(&target);
        let target_online = target_node.filter(|node| self.model.node(*node).online);
        let active = target_online.filter(|_| !target_newer);
        if status != PENDING {
            match active {
                Some(target) => self.add_active(resource, target, true),
                None => {
                    self.mark_failed(resource);
                    self.resource_mut(resource).migratable = false;
                }
            }
            return;
        }
        if target_online.is_some() && self.is_unknown_on(&id, &target) {
            return;
        }
        if let Some(target) = active {
            self.add_active(resource, target, false);
            if let Some(source) = self.model.node_named(&source).filter(|node| self.model.node(*node).online) {
                let subject = self.resource_mut(resource);
                subject.migration_target = Some(target);
                subject.migration_source = Some(source);
            }
        } else if !source_acted {
            self.mark_failed(resource);
            self.resource_mut(resource).migratable = false;
        }
    }

    fn note_failed_migrate_to(&mut self, resource: ResourceId, node: NodeIndex, entry: &Entry) {
        let Some((source, target)) = self.migration_nodes(entry, Some(node), None) else { return };
        let id = self.resource(resource).id.clone();
        self.resource_mut(resource).role = Role::Started;
        let arrival = self.find_entry(&id, "migrate_from", &target, Some(&source), Some(exit_code::OK)).cloned();
        if !self.is_unknown_on(&id, &target)
            && !self.is_newer_after_migration(&id, &target, Some(entry), arrival.as_ref())
        {
            if let Some(target) = self.model.node_named(&target).filter(|node| self.model.node(*node).online) {
                self.add_active(resource, target, false);
            }
        } else if !self.acted_after(&id, &source, entry) {
            self.resource_mut(resource).dangling_sources.insert(0, node);
        }
    }

    fn note_failed_migrate_from(&mut self, resource: ResourceId, node: NodeIndex, entry: &Entry) {
        let Some((source, target)) = self.migration_nodes(entry, None, Some(node)) else { return };
        let id = self.resource(resource).id.clone();
        self.resource_mut(resource).role = Role::Started;
        let departure = self.find_entry(&id, "migrate_to", &source, Some(&target), Some(exit_code::OK)).cloned();
        if !self.is_unknown_on(&id, &source)
            && !self.is_newer_after_migration(&id, &source, departure.as_ref(), Some(entry))
            && let Some(source) = self.model.node_named(&source).filter(|node| self.model.node(*node).online)
        {
            self.add_active(resource, source, true);
        }
    }

    /// Source and target of a migration, if the entry names both and they fit.
    fn migration_nodes(
        &mut self,
        entry: &Entry,
        source: Option<NodeIndex>,
        target: Option<NodeIndex>,
    ) -> Option<(String, String)> {
        let fits = |name: &str, node: Option<NodeIndex>| {
            node.is_none_or(|node| self.model.node(node).name.eq_ignore_ascii_case(name))
        };
        let names = entry.attribute("migrate_source").zip(entry.attribute("migrate_target"));
        match names {
            Some((from, to)) if fits(from, source) && fits(to, target) => Some((from.to_owned(), to.to_owned())),
            _ => {
                self.problem(entry.id(), "a migration in the history does not name its nodes; ignored");
                None
            }
        }
    }

    /// The resource is active on the node.
    pub(crate) fn add_active(&mut self, resource: ResourceId, node: NodeIndex, failed: bool) {
        if self.resource(resource).active_on.contains(&node) {
            return;
        }
        self.resource_mut(resource).active_on.push(node);
        if self.resource(resource).is_primitive() {
            self.model.node_mut(node).running.push(resource);
            self.add_priority(resource, node, failed);
            if self.model.node(node).maintenance {
                let subject = self.resource_mut(resource);
                subject.managed = false;
                subject.maintenance = true;
            }
        }
        let parent = self.resource(resource).parent;
        if !self.resource(resource).managed {
            let share = Share::new(Source::State, "is-managed");
            self.add_score(resource, Some(node), Score::INFINITY, &share);
            let mut above = parent;
            while let Some(collection) = above {
                self.resource_mut(collection).active_on.push(node);
                above = self.resource(collection).parent;
            }
            return;
        }
        self.handle_multiple_activity(resource);
        if let Some(parent) = parent {
            self.add_active(parent, node, false);
        }
    }

    fn handle_multiple_activity(&mut self, resource: ResourceId) {
        use crate::model::MultipleActive;
        let subject = self.resource(resource);
        let (_, all, clean) = self.model.active_node(resource);
        let active = if subject.needs_fencing { all } else { clean };
        if !subject.is_primitive() || active < 2 {
            return;
        }
        let parent = subject.parent;
        match subject.multiple_active {
            MultipleActive::StopOnly => {
                self.resource_mut(resource).allowed = crate::model::NodeTable::default();
                self.set_all_scores(resource, Score::MINUS_INFINITY);
            }
            MultipleActive::Block => {
                let mut blocked = vec![resource];
                if let Some(parent) = parent.map(|parent| self.resource(parent))
                    && (parent.is_group() || parent.is_bundle())
                    && parent.multiple_active == MultipleActive::Block
                {
                    blocked.extend(&parent.children);
                }
                for resource in blocked {
                    let subject = self.resource_mut(resource);
                    subject.managed = false;
                    subject.blocked = true;
                }
            }
            MultipleActive::StopStart | MultipleActive::StopUnexpected => {}
        }
    }

    /// What runs on a node makes fencing it costlier.
    fn add_priority(&mut self, resource: ResourceId, node: NodeIndex, failed: bool) {
        let subject = self.resource(resource);
        if subject.priority == Score::ZERO || failed {
            return;
        }
        let priority = subject.priority.0 + i32::from(subject.role == Role::Promoted);
        self.model.node_mut(node).priority += priority;
        if let Some(launcher) = self.model.node(node).launcher {
            for host in self.resource(launcher).active_on.clone() {
                self.model.node_mut(host).priority += priority;
            }
        }
    }

    /// The digest of the parameters is another one than at the time of the entry.
    fn parameters_changed_since(&mut self, resource: ResourceId, node: NodeIndex, place: EntryPlace) -> bool {
        let entry = self.entry(place);
        if !matches!(&*entry.task, "start" | "monitor") {
            return false;
        }
        if self.needs_remote_name(resource) {
            let check = DeferredCheck { resource, node, entry: place, of_failure: true };
            self.deferred_checks.push(check);
            return false;
        }
        self.digest_state(resource, node, place).is_changed()
    }
}

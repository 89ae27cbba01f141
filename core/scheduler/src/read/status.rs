//! The status section: which nodes are there, and what their histories say of the resources.

use super::history::{EntryPlace, RecordedId, active_range};
use super::operations::OnFail;
use super::results::Reading;
use crate::decide::action::{ActionFlags, OpKey, Task};
use crate::model::{Location, NoQuorumPolicy, NodeIndex, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::read::failures::seconds;
use crate::values;
use hakudo_cib::{Document, Element};
use std::sync::Arc;

impl Planner {
    /// Reads the status.
    pub(crate) fn read_status(&mut self, cib: &Document) {
        self.read_histories(cib);
        let Some(status) = cib.root().child("status") else { return };
        for section in status.children() {
            match section.name() {
                "tickets" => section.children_named("ticket_state").for_each(|state| self.read_ticket(state)),
                "node_state" => self.read_node_state(cib.root().attribute("dc-uuid"), section),
                _ => {}
            }
        }
        while self.read_node_histories(cib, false) {}
        self.read_node_histories(cib, self.model.options.fencing_enabled);
        for container in std::mem::take(&mut self.stop_needed) {
            if let Some(node) = self.model.current_node(container) {
                self.resource_action(container, Task::Stop, Some(node), false);
            }
        }
        for at in 0..self.model.node_order.len() {
            let node = self.model.node_order[at];
            let subject = self.model.node(node);
            if !subject.is_remote_or_guest() {
                continue;
            }
            let unread = !subject.history_read;
            if let Some(connection) = subject.connection.filter(|_| subject.shutdown) {
                self.resource_mut(connection).next_role = Role::Stopped;
            }
            if unread {
                self.judge_remote_node(node);
            }
        }
    }

    fn read_ticket(&mut self, element: &Element) {
        if element.id().is_empty() {
            return;
        }
        let ticket = self.model.tickets.entry(element.id().to_owned()).or_default();
        for attribute in element.attributes().iter().filter(|a| &*a.name != "id") {
            ticket.state.insert(attribute.name.to_string(), attribute.value.to_string());
        }
        ticket.granted = values::is_true(ticket.state.get("granted").map(String::as_str));
        ticket.standby = values::is_true(ticket.state.get("standby").map(String::as_str));
        ticket.last_granted = ticket.state.get("last-granted").and_then(|text| values::integer(text));
    }

    fn read_node_state(&mut self, dc_id: Option<&str>, state: &Element) {
        let Some(node) = self.node_of_state(state) else {
            if state.attribute("id").is_none() {
                self.problem("node_state", "a <node_state> without id is ignored");
            }
            return;
        };
        if self.model.node(node).is_remote_or_guest() {
            let fenced = state.attribute("node_fenced").and_then(values::integer).unwrap_or(0) > 0;
            self.model.node_mut(node).remote_fenced = fenced;
            return;
        }
        self.read_node_attributes(dc_id, state.child("transient_attributes"), node, true);
        let subject = self.model.node_mut(node);
        subject.standby |= values::is_true(subject.attributes.get("standby").map(String::as_str));
        subject.maintenance |= values::is_true(subject.attributes.get("maintenance").map(String::as_str));
        subject.unclean = false;
        subject.seen = true;
        self.judge_cluster_node(node, state);
        if !self.model.quorate
            && self.model.node(node).online
            && self.model.options.no_quorum_policy == NoQuorumPolicy::Fence
        {
            self.fence_node(node, "cluster does not have quorum", false);
        }
    }

    /// A node that was asked to stop.
    pub(crate) fn is_shutdown_requested(&self, node: NodeIndex) -> bool {
        self.model.node(node).attribute("shutdown").is_some_and(|value| value != "0")
    }

    fn judge_cluster_node(&mut self, node: NodeIndex, state: &Element) {
        let shutdown = self.is_shutdown_requested(node);
        let expected_member = state.attribute("expected").is_some_and(|e| e.eq_ignore_ascii_case("member"));
        let subject = self.model.node_mut(node);
        subject.shutdown = shutdown;
        if !shutdown && expected_member {
            subject.expected_up = true;
        }
        let online = if self.model.options.fencing_enabled {
            self.is_online_with_fencing(node, state)
        } else {
            self.is_online_without_fencing(node, state)
        };
        let subject = self.model.node_mut(node);
        if online {
            subject.online = true;
        }
        if !online || subject.shutdown {
            subject.base.score = Score::MINUS_INFINITY;
        }
    }

    /// Since when the node is a member (0 for not at all, -1 for not known), and its process there.
    fn membership(&self, state: &Element) -> (i64, i64) {
        let member = match state.attribute("in_ccm") {
            None => -1,
            Some(text) => match values::boolean(text) {
                Some(true) => self.model.now.seconds(),
                Some(false) => 0,
                None => values::integer(text).filter(|when| *when >= 0).unwrap_or(-1),
            },
        };
        let process = match state.attribute("crmd") {
            None => 0,
            Some(text) if text.eq_ignore_ascii_case("offline") => 0,
            Some(text) if text.eq_ignore_ascii_case("online") => 1,
            Some(text) => values::integer(text).filter(|when| *when >= 0).unwrap_or(0),
        };
        (member, process)
    }

    fn is_online_without_fencing(&mut self, node: NodeIndex, state: &Element) -> bool {
        let (member, process) = self.membership(state);
        let joined = state.attribute("join").is_some_and(|join| join.eq_ignore_ascii_case("member"));
        if member <= 0 {
            return false;
        }
        if process > 0 {
            return joined;
        }
        if self.model.node(node).expected_up {
            self.fence_node(node, "peer is unexpectedly down", false);
        }
        false
    }

    fn is_online_with_fencing(&mut self, node: NodeIndex, state: &Element) -> bool {
        let (member, process) = self.membership(state);
        let join = state.attribute("join");
        if self.model.node(node).shutdown {
            return process > 0;
        }
        if member < 0 {
            self.fence_node(node, "peer has not been seen by the cluster", false);
            return false;
        }
        let terminate = self.model.node(node).attribute("terminate");
        let terminate =
            terminate.is_some_and(|t| values::boolean(t).unwrap_or_else(|| values::integer(t).is_some_and(|n| n > 0)));
        let expected_down = state.attribute("expected").is_none_or(|e| e == "down");
        if join == Some("banned") {
            self.fence_node(node, "peer failed Pacemaker membership criteria", false);
        } else if terminate {
            if member <= 0 && process <= 0 && join == Some("down") {
                return false;
            }
            self.fence_node(node, "fencing was requested", false);
        } else if expected_down {
            if self.is_pending_too_long(member, process) {
                self.fence_node(node, "peer pending timed out on joining the process group", false);
            } else if member > 0 || process > 0 {
                let subject = self.model.node_mut(node);
                subject.standby = true;
                subject.pending = true;
            }
        } else if member <= 0 {
            self.fence_node(node, "peer is no longer part of the cluster", true);
        } else if process <= 0 {
            self.fence_node(node, "peer process is no longer available", false);
        } else if join == Some("member") {
        } else if matches!(join, Some("pending" | "down")) {
            let subject = self.model.node_mut(node);
            subject.standby = true;
            subject.pending = true;
        } else {
            self.fence_node(node, "peer was in an unknown state", false);
        }
        member > 0
    }

    fn is_pending_too_long(&mut self, member: i64, process: i64) -> bool {
        let timeout = self.model.options.node_pending_timeout_ms;
        if timeout == 0 || member <= 0 || process > 0 {
            return false;
        }
        let until = member.saturating_add(seconds(timeout));
        if self.model.now.seconds() >= until {
            return true;
        }
        self.model.look_again_at(until);
        false
    }

    /// Whether a remote or guest node is there follows from its connection.
    fn judge_remote_node(&mut self, node: NodeIndex) {
        let Some(connection) = self.model.node(node).connection else {
            self.model.node_mut(node).online = false;
            return;
        };
        let subject = self.resource(connection);
        let launcher = subject.launcher.map(|launcher| self.resource(launcher));
        let host = match subject.active_on.as_slice() {
            [host] if launcher.is_some() => Some(self.model.node(*host)),
            _ => None,
        };
        let started = subject.role == Role::Started;
        let stopping = started && subject.next_role == Role::Stopped;
        let launcher_failed = launcher.is_some_and(|launcher| launcher.failed);
        let failed = subject.failed;
        let stopped = subject.role == Role::Stopped || launcher.is_some_and(|launcher| launcher.role == Role::Stopped);
        let host_lost = host.is_some_and(|host| !host.online && host.unclean);
        let peer = self.model.node_mut(node);
        peer.online |= started;
        peer.shutdown |= stopping;
        if launcher_failed {
            peer.online = false;
            peer.remote_reset = true;
        } else if failed {
            peer.online = false;
        } else if stopped {
            peer.online = false;
            peer.remote_reset = false;
        } else if host_lost {
            peer.online = false;
            peer.remote_reset = true;
        }
    }

    fn read_remote_attributes(&mut self, dc_id: Option<&str>, node: NodeIndex, state: &Element) {
        let in_maintenance = state.attribute("node_in_maintenance").and_then(values::integer).unwrap_or(0) > 0;
        let subject = self.model.node_mut(node);
        subject.remote_maintenance = in_maintenance;
        if !subject.remote_reset {
            subject.unclean = false;
            subject.seen = true;
        }
        self.read_node_attributes(dc_id, state.child("transient_attributes"), node, true);
        let shutdown = self.is_shutdown_requested(node);
        let unmanaged = self.model.node(node).connection.is_some_and(|connection| !self.resource(connection).managed);
        let fencing = self.model.options.fencing_enabled;
        let subject = self.model.node_mut(node);
        subject.shutdown |= shutdown;
        subject.standby |= values::is_true(subject.attributes.get("standby").map(String::as_str));
        subject.maintenance |= unmanaged || values::is_true(subject.attributes.get("maintenance").map(String::as_str));
        let discovery = subject.attributes.get("resource-discovery-enabled").map(String::as_str);
        if discovery.is_some() && !values::is_true(discovery) && (fencing || !subject.is_remote()) {
            subject.probes_allowed = false;
        }
    }

    /// Reads the histories of those nodes of which enough is known; true if that made more known.
    fn read_node_histories(&mut self, cib: &Document, all: bool) -> bool {
        let mut any = false;
        for place in 0..self.histories.len() {
            let state = Arc::clone(&self.histories[place].state);
            if state.attribute("id").is_none() || state.attribute("uname").is_none() {
                continue;
            }
            let Some(node) = self.node_of_state(&state) else { continue };
            let subject = self.model.node(node);
            if subject.history_read {
                continue;
            }
            let options = &self.model.options;
            let started = |resource: Option<ResourceId>| {
                resource.is_some_and(|resource| self.resource(resource).role == Role::Started)
            };
            let ready = if all {
                true
            } else if subject.is_guest() {
                started(subject.connection) && started(subject.launcher)
            } else if subject.is_remote() {
                subject.connection.is_some() && (options.shutdown_lock || started(subject.connection))
            } else {
                options.fencing_enabled || options.shutdown_lock || subject.online
            };
            if !ready {
                continue;
            }
            if self.model.node(node).is_remote_or_guest() {
                self.judge_remote_node(node);
                self.read_remote_attributes(cib.root().attribute("dc-uuid"), node, &state);
            }
            self.model.node_mut(node).history_read = true;
            self.read_node_history(node, place);
            any = true;
        }
        any
    }

    fn read_node_history(&mut self, node: NodeIndex, place: usize) {
        let mut removed_launched = false;
        for at in 0..self.histories[place].resources.len() {
            if let Some(resource) = self.read_resource_history(node, place, at) {
                removed_launched |= self.resource(resource).removed_launched;
            }
        }
        if !removed_launched {
            return;
        }
        for at in 0..self.histories[place].resources.len() {
            let history = &self.histories[place].resources[at];
            let launcher = history.element.attribute("container").and_then(|id| self.model.resource_with_id(id));
            let resource = self.model.resource_with_id(self.recorded_ids.text(history.id));
            if let (Some(launcher), Some(resource)) = (launcher, resource)
                && self.resource(resource).launcher.is_none()
                && self.resource(resource).removed_launched
            {
                self.resource_mut(resource).launcher = Some(launcher);
                self.resource_mut(launcher).launched.push(resource);
                self.note_guest_launcher(resource, launcher);
            }
        }
    }

    /// A remote node whose connection turns out to have been launched by a resource is a guest node.
    fn note_guest_launcher(&mut self, connection: ResourceId, launcher: ResourceId) {
        for peer in &mut self.model.nodes {
            if peer.connection == Some(connection) {
                peer.launcher = Some(launcher);
            }
        }
    }

    fn read_resource_history(&mut self, node: NodeIndex, place: usize, at: usize) -> Option<ResourceId> {
        let history = &self.histories[place].resources[at];
        let recorded_id = history.id;
        let id = Arc::clone(self.recorded_ids.text(recorded_id));
        if id.is_empty() {
            self.problem("lrm_resource", "a <lrm_resource> without id is ignored");
            return None;
        }
        let locks = self.model.options.shutdown_lock;
        if history.entries.is_empty() && !locks {
            return None;
        }
        let empty = history.entries.is_empty();
        let resource = match self.resource_of_history(node, recorded_id) {
            Some(resource) => resource,
            None if empty => return None,
            None => {
                let element = Arc::clone(&self.histories[place].resources[at].element);
                self.create_removed_resource(&id, &element)?
            }
        };
        if locks {
            let element = Arc::clone(&self.histories[place].resources[at].element);
            self.read_shutdown_lock(resource, node, &element);
        }
        let role_before = self.resource(resource).role;
        self.resource_mut(resource).role = Role::Unknown;
        let sorted = self.histories[place].resources[at].sorted();
        let mut reading = Reading::default();
        for &entry in &sorted {
            self.take_in(resource, node, EntryPlace { node: place, resource: at, entry }, &mut reading);
        }
        self.note_recurring(resource, node, place, at, &sorted);
        self.settle(resource, node, reading.on_fail);
        if let Some(role) = self.target_role(resource) {
            let subject = self.resource_mut(resource);
            if subject.next_role == Role::Unknown || role < subject.next_role {
                subject.next_role = role;
            }
        }
        let subject = self.resource_mut(resource);
        subject.role = subject.role.max(role_before);
        Some(resource)
    }

    fn read_shutdown_lock(&mut self, resource: ResourceId, node: NodeIndex, element: &Element) {
        let since = element.attribute("shutdown-lock").and_then(values::integer).unwrap_or(0);
        if since == 0 {
            return;
        }
        let limit = self.model.options.shutdown_lock_limit_ms;
        if limit > 0 && self.model.now.seconds() > since.saturating_add(seconds(limit)) {
            self.clear_history(resource, node);
        } else {
            let subject = self.resource_mut(resource);
            subject.lock_node = Some(node);
            subject.lock_time = since;
        }
    }

    /// The resource that a history entry on a node is of; for an anonymous clone, the instance that fits best.
    fn resource_of_history(&mut self, node: NodeIndex, id: RecordedId) -> Option<ResourceId> {
        let recorded = self.recorded_resource(id);
        let id = &*Arc::clone(self.recorded_ids.text(id));
        let (resource, parent) = match recorded {
            Some(resource) if !self.resource(resource).is_primitive() => return None,
            Some(resource) => (Some(resource), Some(self.uber_parent(resource))),
            None => {
                let first = format!("{}:0", values::without_instance(id));
                let first = self.model.resource_with_id(&first).filter(|first| !self.resource(*first).unique);
                (first, first.map(|first| self.uber_parent(first)))
            }
        };
        let resource = match parent {
            Some(parent) if self.resource(parent).is_anonymous_clone() && self.model.is_bundled(parent) => {
                self.replica_instance_on(parent, node)
            }
            Some(parent) if self.resource(parent).is_anonymous_clone() => {
                let base = values::without_instance(id).to_owned();
                self.anonymous_instance(node, parent, &base)
            }
            _ => resource,
        };
        if let Some(resource) = resource {
            let subject = self.resource_mut(resource);
            if subject.id != id && subject.history_id.as_deref() != Some(id) {
                subject.history_id = Some(id.to_owned());
                self.model.note_id(id, resource);
            }
        }
        resource
    }

    /// The instance in the container that is this guest node.
    fn replica_instance_on(&self, clone: ResourceId, node: NodeIndex) -> Option<ResourceId> {
        let bundle = self.bundle(self.bundle_around(clone)?)?;
        bundle.replicas.iter().find(|replica| replica.node == Some(node)).and_then(|replica| replica.child)
    }

    /// Below an instance of a clone, what is configured under this id.
    pub(crate) fn find_in_instance(&self, instance: ResourceId, id: &str) -> Option<ResourceId> {
        self.model.find_below(instance, &|resource| resource.id == id || resource.config_id == id)
    }

    fn anonymous_instance(&mut self, node: NodeIndex, clone: ResourceId, id: &str) -> Option<ResourceId> {
        let (mut found, mut inactive, mut skip_inactive) = (None, None, false);
        for &child in &self.resource(clone).children {
            let locations = self.model.locations(child, Location::CurrentOrPending);
            match locations.first() {
                Some(&first) if first == node => {
                    if let Some(instance) = self.find_in_instance(child, id) {
                        if self.resource(instance).active_on.is_empty() {
                            found = Some(instance);
                        } else {
                            skip_inactive = true;
                        }
                    }
                }
                Some(_) => {}
                None if !skip_inactive && inactive.is_none() && !self.resource(child).blocked => {
                    inactive = self
                        .find_in_instance(child, id)
                        .filter(|instance| self.resource(*instance).pending_on.is_none_or(|pending| pending == node));
                }
                None => {}
            }
            if found.is_some() {
                break;
            }
        }
        let mut found = found.or(inactive.filter(|_| !skip_inactive));
        let peer = self.model.node(node);
        if let Some(instance) = found
            && !self.resource(instance).needs_fencing
            && (!peer.online || peer.unclean)
            && !peer.is_guest()
            && !self.is_universal(clone)
        {
            found = None;
        }
        found.or_else(|| {
            let instance = self.create_instance(clone)?;
            self.find_in_instance(instance, id)
        })
    }

    /// A clone that runs on every node.
    fn is_universal(&self, clone: ResourceId) -> bool {
        let nodes = i32::try_from(self.model.nodes.len()).unwrap_or(i32::MAX);
        self.resource(clone).clone_settings().is_some_and(|settings| settings.max == nodes)
    }

    /// A resource that only a history knows.
    fn create_removed_resource(&mut self, id: &str, entry: &Element) -> Option<ResourceId> {
        let mut element = Element::new("primitive");
        for attribute in entry.attributes() {
            element.set(&attribute.name, &attribute.value);
        }
        element.set("id", id);
        element.unset("template");
        let element = Arc::new(element);
        let resource = self.read_resource(&element, None, None)?;
        if self.resource(resource).remote_connection {
            if self.model.node_named(id).is_none() {
                self.create_node(id, id, Some("remote"), Score::ZERO);
            }
            self.connect_remote_node(resource);
            if let Some(node) = self.model.node_named(id) {
                self.model.node_mut(node).shutdown = true;
            }
        }
        let subject = self.resource_mut(resource);
        subject.removed_launched = entry.attribute("container").is_some();
        subject.removed = true;
        self.model.top.push(resource);
        if self.model.options.stop_removed_resources {
            let share = Share::new(Source::State, "stop-removed-resources");
            self.add_score(resource, None, Score::MINUS_INFINITY, &share);
        } else {
            self.resource_mut(resource).managed = false;
        }
        Some(resource)
    }

    /// Recurring operations that the history says are running.
    fn note_recurring(&mut self, resource: ResourceId, node: NodeIndex, place: usize, at: usize, sorted: &[usize]) {
        if !self.model.node(node).online {
            return;
        }
        let entries = &self.histories[place].resources[at].entries;
        if entries.iter().all(|entry| entry.interval_ms == 0) {
            return;
        }
        let entries: Vec<_> = sorted.iter().map(|entry| &entries[*entry]).collect();
        let (start, stop) = active_range(&entries);
        let running: Vec<(Arc<str>, u32)> = (0i64..)
            .zip(&entries)
            .filter(|(place, _)| !(start < stop && *place <= stop) && *place >= start)
            .filter(|(_, entry)| entry.interval_ms > 0 && entry.status != Some(super::history::PENDING))
            .map(|(_, entry)| (entry.task.clone(), entry.interval_ms))
            .collect();
        for (task, interval_ms) in running {
            let task = self.task(&task);
            self.custom_action(resource, OpKey::recurring(task, interval_ms), task, Some(node), true);
        }
    }

    /// What the whole history of a resource on a node leads to.
    fn settle(&mut self, resource: ResourceId, node: NodeIndex, on_fail: OnFail) {
        let known_active = self.resource(resource).role > Role::Stopped;
        if self.resource(resource).role != Role::Unknown {
            let mut next = Some(resource);
            while let Some(current) = next {
                let subject = self.resource_mut(current);
                subject.known_on.insert(node);
                next = if subject.unique { None } else { subject.parent };
            }
        }
        let peer = self.model.node(node);
        if known_active && !peer.online && !peer.maintenance && self.resource(resource).managed {
            self.fence_for_active(resource, node);
        }
        let recorded = on_fail;
        let on_fail = if self.model.node(node).unclean { OnFail::Ignore } else { on_fail };
        self.react(resource, node, on_fail, known_active);
        let subject = self.resource(resource);
        if subject.failed
            && subject.remote_connection
            && let Some(peer) = self.model.node_named(&subject.id)
            && self.model.node(peer).unclean
        {
            self.model.node_mut(peer).seen = true;
        }
        if known_active {
            self.add_active(resource, node, recorded != OnFail::Ignore);
            let subject = self.resource_mut(resource);
            match on_fail {
                OnFail::Ignore => {}
                OnFail::Demote | OnFail::Block => subject.failed = true,
                _ => (subject.failed, subject.stop_if_failed) = (true, true),
            }
        } else if self.resource(resource).history_id.as_ref().is_some_and(|id| id.contains(':')) {
            self.resource_mut(resource).history_id = None;
        } else {
            for stop in self.find_actions(resource, Task::Stop.into(), Some(node)) {
                self.action_mut(stop).flags.set(ActionFlags::OPTIONAL);
            }
        }
        let subject = self.resource_mut(resource);
        if subject.role == Role::Stopped
            && !subject.active_on.is_empty()
            && subject.migration_target.is_some()
            && subject.migration_source == Some(node)
        {
            subject.role = Role::Started;
        }
    }

    /// A resource that may be active on a node that is not there needs the node fenced.
    fn fence_for_active(&mut self, resource: ResourceId, node: NodeIndex) {
        let id = self.resource(resource).id.clone();
        let peer = self.model.node(node);
        if peer.is_guest() {
            self.mark_failed(resource);
        } else if !self.model.options.fencing_enabled {
            return;
        } else if peer.is_remote() && peer.connection.is_some_and(|connection| !self.resource(connection).failed) {
            self.model.node_mut(node).seen = false;
            let reason = format!(
                "{id} is active there (fencing will be revoked if remote connection can be re-established elsewhere)"
            );
            self.fence_node(node, &reason, false);
            return;
        }
        self.fence_node(node, &format!("{id} is thought to be active there"), false);
    }

    /// Does what a failure asks for.
    fn react(&mut self, resource: ResourceId, node: NodeIndex, on_fail: OnFail, known_active: bool) {
        match on_fail {
            OnFail::Ignore => {}
            OnFail::Demote => {
                self.resource_mut(resource).failed = true;
                self.resource_action(resource, Task::Demote, Some(node), false);
            }
            OnFail::Fence => {
                let reason = format!("{} failed there", self.resource(resource).id);
                self.fence_node(node, &reason, false);
            }
            OnFail::Standby => {
                let peer = self.model.node_mut(node);
                peer.standby = true;
                peer.fail_standby = true;
            }
            OnFail::Block => {
                let subject = self.resource_mut(resource);
                subject.managed = false;
                subject.blocked = true;
            }
            OnFail::Ban => {
                let share = Share::new(Source::Failure, "on-fail=migrate");
                self.add_score(resource, Some(node), Score::MINUS_INFINITY, &share);
            }
            OnFail::Stop => self.resource_mut(resource).next_role = Role::Stopped,
            OnFail::Restart => {
                if known_active {
                    self.mark_failed(resource);
                    self.resource_action(resource, Task::Stop, Some(node), false);
                }
            }
            OnFail::RestartContainer => {
                self.mark_failed(resource);
                match self.resource(resource).launcher {
                    Some(launcher) if self.model.is_bundled(resource) => self.stop_needed.insert(0, launcher),
                    Some(launcher) => {
                        self.resource_action(launcher, Task::Stop, Some(node), false);
                    }
                    None if known_active => {
                        self.resource_action(resource, Task::Stop, Some(node), false);
                    }
                    None => {}
                }
            }
            OnFail::ResetRemote => {
                self.mark_failed(resource);
                let subject = self.resource(resource);
                let peer = subject.remote_connection.then(|| self.model.node_named(&subject.id)).flatten();
                if self.model.options.fencing_enabled
                    && let Some(peer) = peer
                    && self.model.node(peer).is_remote()
                    && !self.model.node(peer).remote_fenced
                {
                    self.fence_node(peer, "remote connection is unrecoverable", false);
                }
                if known_active {
                    self.resource_action(resource, Task::Stop, Some(node), false);
                }
                if self.resource(resource).reconnect_ms > 0 {
                    self.resource_mut(resource).next_role = Role::Stopped;
                }
            }
        }
    }
}

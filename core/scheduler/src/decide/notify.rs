//! Notifications: telling the instances of a clone what happens to the others, before and after.

use super::action::{ActionFlags, ActionIndex, NotifyPhase, OpKey, Relation, Task};
use crate::model::{NodeIndex, ResourceId, Role, Score};
use crate::planner::Planner;
use std::collections::BTreeMap;

/// The points around one kind of action of a clone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    task: Task,
    pre: Option<ActionIndex>,
    pre_done: Option<ActionIndex>,
    post: Option<ActionIndex>,
    post_done: Option<ActionIndex>,
}

/// The notifications of a clone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloneNotifications {
    start: Option<Notification>,
    stop: Option<Notification>,
    promote: Option<Notification>,
    demote: Option<Notification>,
}

type Entries = Vec<(ResourceId, Option<NodeIndex>)>;

/// Who is what, and what happens to whom.
#[derive(Clone, Debug, Default)]
struct Census {
    active: Entries,
    inactive: Entries,
    promoted: Entries,
    unpromoted: Entries,
    start: Entries,
    stop: Entries,
    promote: Entries,
    demote: Entries,
}

impl Planner {
    pub(crate) fn create_start_stop_notifications(
        &mut self,
        clone: ResourceId,
        start: (ActionIndex, ActionIndex),
        stop: (ActionIndex, ActionIndex),
    ) {
        let mut known = self.notifications.get(&clone).copied().unwrap_or_default();
        if known.start.is_none() {
            known.start = self.notification(clone, Task::Start, Some(start.0), Some(start.1));
        }
        if known.stop.is_none() {
            known.stop = self.notification(clone, Task::Stop, Some(stop.0), Some(stop.1));
            if let (Some(stop), Some(start)) = (known.stop, known.start) {
                self.relate_points(stop.post_done, start.pre);
            }
        }
        self.notifications.insert(clone, known);
    }

    pub(crate) fn create_promotion_notifications(
        &mut self,
        clone: ResourceId,
        promote: (ActionIndex, ActionIndex),
        demote: (ActionIndex, ActionIndex),
    ) {
        let mut known = self.notifications.get(&clone).copied().unwrap_or_default();
        if known.promote.is_none() {
            known.promote = self.notification(clone, Task::Promote, Some(promote.0), Some(promote.1));
        }
        if known.demote.is_none() {
            known.demote = self.notification(clone, Task::Demote, Some(demote.0), Some(demote.1));
            if let (Some(promote), Some(demote), Some(start), Some(stop)) =
                (known.promote, known.demote, known.start, known.stop)
            {
                self.relate_points(stop.post_done, promote.pre);
                self.relate_points(start.post_done, promote.pre);
                self.relate_points(demote.post_done, promote.pre);
                self.relate_points(demote.post_done, start.pre);
                self.relate_points(demote.post_done, stop.pre);
            }
        }
        self.notifications.insert(clone, known);
    }

    fn relate_points(&mut self, first: Option<ActionIndex>, then: Option<ActionIndex>) {
        if let (Some(first), Some(then)) = (first, then) {
            self.relate(first, then, Relation::ORDERED);
        }
    }

    fn point(
        &mut self,
        resource: ResourceId,
        around: ActionIndex,
        about: Task,
        phase: NotifyPhase,
        task: Task,
    ) -> ActionIndex {
        let around_task = self.action(around).task;
        let optional = self.action(around).is(ActionFlags::OPTIONAL);
        let key = OpKey::notification(phase, around_task);
        let action = self.custom_action(resource, key, task, None, optional);
        let (around_name, about_name) = (self.task_name(around_task).to_owned(), self.task_name(about).to_owned());
        let kind = if matches!(phase, NotifyPhase::Pre | NotifyPhase::ConfirmedPre) { "pre" } else { "post" };
        let subject = self.action_mut(action);
        subject.flags.set(ActionFlags::PSEUDO);
        for (name, value) in [
            ("notify_key_type", phase.name().to_owned()),
            ("notify_key_operation", around_name),
            ("notify_type", kind.to_owned()),
            ("notify_operation", about_name),
        ] {
            subject.meta.insert(name.to_owned(), value);
        }
        action
    }

    fn notification(
        &mut self,
        resource: ResourceId,
        task: Task,
        action: Option<ActionIndex>,
        complete: Option<ActionIndex>,
    ) -> Option<Notification> {
        if !self.resource(resource).notify {
            return None;
        }
        let mut found = Notification { task, pre: None, pre_done: None, post: None, post_done: None };
        if let Some(action) = action {
            let pre = self.point(resource, action, task, NotifyPhase::Pre, Task::Notify);
            let done = self.point(resource, action, task, NotifyPhase::ConfirmedPre, Task::Notified);
            for point in [pre, done] {
                self.action_mut(point).flags.set(ActionFlags::RUNNABLE);
            }
            self.relate(pre, done, Relation::ORDERED);
            self.relate(done, action, Relation::ORDERED);
            (found.pre, found.pre_done) = (Some(pre), Some(done));
        }
        if let Some(complete) = complete {
            let post = self.point(resource, complete, task, NotifyPhase::Post, Task::Notify);
            let done = self.point(resource, complete, task, NotifyPhase::ConfirmedPost, Task::Notified);
            let runnable = self.action(complete).is(ActionFlags::RUNNABLE);
            for point in [post, done] {
                let subject = self.action_mut(point);
                subject.priority = Score::INFINITY.0;
                if runnable {
                    subject.flags.set(ActionFlags::RUNNABLE);
                } else {
                    subject.flags.clear(ActionFlags::RUNNABLE);
                }
            }
            self.relate(complete, post, Relation::FIRST_IMPLIES_THEN);
            self.relate(post, done, Relation::FIRST_IMPLIES_THEN);
            (found.post, found.post_done) = (Some(post), Some(done));
        }
        if let (Some(pre_done), Some(post)) = (found.pre_done, found.post) {
            self.relate(pre_done, post, Relation::ORDERED);
        }
        Some(found)
    }

    /// Once all is decided: tells the instances of a clone.
    pub(crate) fn create_clone_notifications(&mut self, clone: ResourceId) {
        let Some(known) = self.notifications.remove(&clone) else { return };
        for notification in [known.start, known.stop, known.promote, known.demote].into_iter().flatten() {
            let mut census = Census::default();
            self.take_census(clone, true, &mut census);
            let keys = self.notification_keys(clone, &notification, &mut census);
            self.tell_instances(clone, &notification, &census, &keys);
        }
    }

    /// The fencing that stops an instance is told like its stop.
    pub(crate) fn notify_after_fencing(&mut self, resource: ResourceId, stop: ActionIndex, fencing: ActionIndex) {
        let Some(notification) = self.notification(resource, Task::Stop, None, Some(fencing)) else { return };
        let mut census = Census::default();
        self.take_census(resource, false, &mut census);
        let node = self.action(stop).node.map(|node| self.model.node(node).name.clone()).unwrap_or_default();
        let keys = BTreeMap::from([
            ("notify_stop_resource".to_owned(), self.resource(resource).id.clone()),
            ("notify_stop_uname".to_owned(), node),
        ]);
        let top = self.uber_parent(resource);
        self.tell_instances(top, &notification, &census, &keys);
    }

    fn take_census(&self, resource: ResourceId, activity: bool, census: &mut Census) {
        let subject = self.resource(resource);
        if !subject.children.is_empty() {
            for &child in &subject.children {
                self.take_census(child, activity, census);
            }
            return;
        }
        let entry = (resource, subject.active_on.first().copied());
        match subject.role {
            Role::Stopped => census.inactive.push(entry),
            Role::Started => census.active.push(entry),
            Role::Unpromoted => {
                census.unpromoted.push(entry);
                census.active.push(entry);
            }
            Role::Promoted => {
                census.promoted.push(entry);
                census.active.push(entry);
            }
            Role::Unknown => {}
        }
        if !activity {
            return;
        }
        for &index in &self.actions_of[resource.index()] {
            let action = self.action(index);
            let Some(node) = action.node.filter(|_| !action.is(ActionFlags::OPTIONAL)) else { continue };
            let fenced = action.task == Task::Stop && self.model.node(node).unclean;
            if !fenced && !action.is(ActionFlags::RUNNABLE) {
                continue;
            }
            match action.task {
                Task::Start => census.start.push((resource, Some(node))),
                Task::Stop => census.stop.push((resource, Some(node))),
                Task::Promote => census.promote.push((resource, Some(node))),
                Task::Demote => census.demote.push((resource, Some(node))),
                _ => {}
            }
        }
    }

    /// The ids and nodes of a list, sorted, each resource once.
    fn names(&self, entries: &mut Entries, with_nodes: bool) -> (String, String) {
        entries.sort_by(|a, b| {
            let node_id = |node: Option<NodeIndex>| node.map(|node| self.model.node(node).id.as_str());
            let by_id = self.resource(a.0).id.cmp(&self.resource(b.0).id);
            by_id.then_with(|| match (node_id(a.1), node_id(b.1)) {
                (Some(x), Some(y)) => x.cmp(y),
                (x, y) => y.is_some().cmp(&x.is_some()),
            })
        });
        let (mut resources, mut nodes): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for &(resource, node) in entries.iter() {
            let id = self.resource(resource).id.as_str();
            if (with_nodes && node.is_none()) || resources.last() == Some(&id) {
                continue;
            }
            resources.push(id);
            nodes.extend(node.map(|node| self.model.node(node).name.as_str()));
        }
        (words(&resources), words(&nodes))
    }

    /// The environment of a notification; makes it required where something happens.
    fn notification_keys(
        &mut self,
        clone: ResourceId,
        notification: &Notification,
        census: &mut Census,
    ) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        let mut add = |name: &str, (resources, nodes): (String, String)| {
            keys.insert(format!("notify_{name}_resource"), resources);
            keys.insert(format!("notify_{name}_uname"), nodes);
        };
        let required = match notification.task {
            Task::Start => !census.start.is_empty(),
            Task::Stop => !census.stop.is_empty(),
            Task::Promote => !census.promote.is_empty(),
            Task::Demote => !census.demote.is_empty(),
            _ => false,
        };
        add("stop", self.names(&mut census.stop, true));
        add("start", self.names(&mut census.start, true));
        add("demote", self.names(&mut census.demote, true));
        add("promote", self.names(&mut census.promote, true));
        add("active", self.names(&mut census.active, true));
        let unpromoted = self.names(&mut census.unpromoted, true);
        add("unpromoted", unpromoted.clone());
        add("slave", unpromoted);
        let promoted = self.names(&mut census.promoted, true);
        add("promoted", promoted.clone());
        add("master", promoted);
        keys.insert("notify_inactive_resource".to_owned(), self.names(&mut census.inactive, false).0);
        let allowed = &self.resource(clone).allowed;
        let available: Vec<&str> = self
            .model
            .nodes()
            .filter(|node| allowed.contains(*node))
            .map(|node| self.model.node(node).name.as_str())
            .collect();
        let all: Vec<&str> = self.model.nodes().map(|node| self.model.node(node).name.as_str()).collect();
        keys.insert("notify_available_uname".to_owned(), words(&available));
        keys.insert("notify_all_uname".to_owned(), words(&all));
        if self.resource(clone).meta("container-attribute-target") == Some("host") {
            let hosts: Vec<&str> = self
                .model
                .nodes()
                .map(|node| {
                    let host = self.model.node(node).launcher.and_then(|launcher| self.model.current_node(launcher));
                    self.model.node(host.unwrap_or(node)).name.as_str()
                })
                .collect();
            keys.insert("notify_all_hosts".to_owned(), words(&hosts));
        }
        if required {
            let points = [notification.pre, notification.pre_done, notification.post, notification.post_done];
            for point in points.into_iter().flatten() {
                self.action_mut(point).flags.clear(ActionFlags::OPTIONAL);
            }
        }
        keys
    }

    fn tell_instances(
        &mut self,
        resource: ResourceId,
        notification: &Notification,
        census: &Census,
        keys: &BTreeMap<String, String>,
    ) {
        let children = self.resource(resource).children.clone();
        if !children.is_empty() {
            for child in children {
                self.tell_instances(child, notification, census, keys);
            }
            return;
        }
        for index in self.actions_of[resource.index()].clone() {
            let action = self.action_mut(index);
            let told = matches!(action.task, Task::Start | Task::Stop | Task::Promote | Task::Demote);
            if told && !action.is(ActionFlags::OPTIONAL) && action.node.is_some() {
                action.meta.extend(keys.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        let nothing = match notification.task {
            Task::Start => census.start.is_empty(),
            Task::Promote => census.promote.is_empty(),
            Task::Demote => census.demote.is_empty(),
            _ => false,
        };
        if nothing {
            return;
        }
        let subject = self.resource(resource);
        let (role, next, assigned) = (subject.role, subject.next_role, subject.assigned_to);
        if role != Role::Stopped && matches!(notification.task, Task::Stop | Task::Demote) {
            let stop = self.newest_action(resource, Task::Stop, None);
            for node in self.resource(resource).active_on.clone() {
                let peer = self.model.node(node);
                let fenced = stop.is_some_and(|stop| self.action(stop).is(ActionFlags::PSEUDO));
                if fenced && (peer.unclean || peer.remote_reset) {
                    continue;
                }
                self.tell(resource, node, notification.pre, notification.pre_done, keys);
                let stays = stop.is_none_or(|stop| self.action(stop).is(ActionFlags::OPTIONAL));
                if notification.task == Task::Demote || stays {
                    self.tell_after(resource, node, notification, keys);
                }
            }
        }
        if next != Role::Stopped && matches!(notification.task, Task::Start | Task::Promote) {
            let start = self.newest_action(resource, Task::Start, None);
            let connection = start
                .and_then(|start| self.action(start).node)
                .and_then(|node| self.model.node(node).connection)
                .and_then(|connection| self.newest_action(connection, Task::Start, None));
            if connection.is_some_and(|start| !self.action(start).is(ActionFlags::RUNNABLE)) {
                return;
            }
            let Some(node) = assigned else { return };
            let runs = start.is_none_or(|start| self.action(start).is(ActionFlags::OPTIONAL));
            if notification.task != Task::Start || runs {
                self.tell(resource, node, notification.pre, notification.pre_done, keys);
            }
            self.tell_after(resource, node, notification, keys);
        }
    }

    fn tell(
        &mut self,
        resource: ResourceId,
        node: NodeIndex,
        point: Option<ActionIndex>,
        done: Option<ActionIndex>,
        keys: &BTreeMap<String, String>,
    ) -> Option<ActionIndex> {
        let (point, done) = (point?, done?);
        if !self.model.node(node).online || !self.action(point).is(ActionFlags::RUNNABLE) {
            return None;
        }
        let meta = self.action_meta(point);
        let phase = if meta.get("notify_type").is_some_and(|kind| kind == "pre") {
            NotifyPhase::Pre
        } else {
            NotifyPhase::Post
        };
        let about = meta.get("notify_operation").cloned().unwrap_or_default();
        let key = OpKey::notification(phase, self.task(&about));
        let optional = self.action(point).is(ActionFlags::OPTIONAL);
        let action = self.custom_action(resource, key, Task::Notify, Some(node), optional);
        let mut own = self.action_meta(action);
        for (name, value) in meta {
            own.entry(name).or_insert(value);
        }
        own.extend(keys.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.action_mut(action).meta = own;
        self.relate(point, action, Relation::ORDERED);
        self.relate(action, done, Relation::ORDERED);
        Some(action)
    }

    fn tell_after(
        &mut self,
        resource: ResourceId,
        node: NodeIndex,
        notification: &Notification,
        keys: &BTreeMap<String, String>,
    ) {
        if let Some(told) = self.tell(resource, node, notification.post, notification.post_done, keys) {
            self.action_mut(told).priority = Score::INFINITY.0;
        }
        let Some(done) = notification.post_done else { return };
        for index in self.actions_of[resource.index()].clone().into_iter().rev() {
            let action = self.action(index);
            if action.key.interval_ms > 0 && action.task != Task::Cancel {
                self.relate(done, index, Relation::ORDERED);
            }
        }
    }
}

/// Words with blanks between them; one blank for none.
fn words(list: &[&str]) -> String {
    if list.is_empty() { " ".to_owned() } else { list.join(" ") }
}

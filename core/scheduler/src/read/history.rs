//! The resource histories in the status section, as entries that can be compared and searched.

use super::attributes::shared_children;
use crate::model::{NodeIndex, ResourceId};
use crate::planner::Planner;
use crate::values;
use hakudo_cib::{Attribute, Document, Element};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `op-status` of an operation that did what it should.
pub(crate) const DONE: i32 = 0;
/// `op-status` of one that is under way.
pub(crate) const PENDING: i32 = -1;

/// A `<lrm_rsc_op>`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) element: Arc<Element>,
    pub(crate) task: Arc<str>,
    pub(crate) interval_ms: u32,
    pub(crate) call_id: i64,
    pub(crate) exit_code: Option<i32>,
    pub(crate) status: Option<i32>,
    /// The exit code that was expected; -1 if the history does not say.
    pub(crate) expected: i32,
    pub(crate) last_change: Option<i64>,
    pub(crate) restart_digest: Option<Arc<str>>,
    /// Its id is not empty.
    has_id: bool,
    /// Its id is that of the last failure, which is kept beside the last results.
    pub(crate) is_last_failure: bool,
}

/// Transition and its owner, as far as they can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Magic<'a> {
    Missing,
    Unreadable,
    Read { owner: &'a str, transition: i64 },
}

/// An id by which histories know a resource, as a number: the same ids come on node after node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordedId(usize);

/// The ids in all histories.
#[derive(Debug, Default)]
pub(crate) struct RecordedIds {
    texts: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, RecordedId>,
    /// The resource that is meant, where that is beyond doubt: as long as no more ids of resources become known.
    meant: Vec<Option<ResourceId>>,
    ids_of_resources: u64,
}

/// `class`, `provider` and `type`.
pub(crate) type RecordedAgent = [Option<Arc<str>>; 3];
pub(crate) const AGENT: [&str; 3] = ["class", "provider", "type"];

/// A `<lrm_resource>`.
#[derive(Clone, Debug)]
pub(crate) struct ResourceHistory {
    pub(crate) element: Arc<Element>,
    pub(crate) id: RecordedId,
    /// Of which agent it is the history; shared with the other nodes.
    pub(crate) agent: Arc<RecordedAgent>,
    /// In the order of the document.
    pub(crate) entries: Arc<[Entry]>,
}

/// A `<node_state>` with the histories in it.
#[derive(Clone, Debug)]
pub(crate) struct NodeHistory {
    pub(crate) state: Arc<Element>,
    pub(crate) resources: Vec<ResourceHistory>,
    /// The places of the resources in the order of their ids.
    by_id: Vec<usize>,
}

/// Where an entry stands: node state, resource, entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryPlace {
    pub(crate) node: usize,
    pub(crate) resource: usize,
    pub(crate) entry: usize,
}

impl Entry {
    /// Reads an entry that may say much of what another, `similar` one says. There are as many of these as of everything else
    /// together: text that the other has too, in the same place, is not read again, and text that hardly any other has is
    /// left in the document.
    fn read(element: &Arc<Element>, similar: Option<&Self>) -> Self {
        let attributes = element.attributes();
        let similar = similar.filter(|similar| {
            let names = attributes.iter().zip(similar.element.attributes());
            attributes.len() == similar.element.attributes().len()
                && names.into_iter().all(|(attribute, known)| Arc::ptr_eq(&attribute.name, &known.name))
        });
        let Some(similar) = similar else {
            let mut entry = Self::without_text(element);
            attributes.iter().for_each(|attribute| entry.take(attribute));
            return entry;
        };
        let mut entry = Self { element: Arc::clone(element), ..similar.clone() };
        for (attribute, known) in attributes.iter().zip(similar.element.attributes()) {
            if !Arc::ptr_eq(&attribute.value, &known.value) {
                entry.take(attribute);
            }
        }
        entry
    }

    /// An entry of which nothing was read.
    fn without_text(element: &Arc<Element>) -> Self {
        Self {
            element: Arc::clone(element),
            task: Arc::default(),
            interval_ms: 0,
            call_id: -1,
            exit_code: None,
            status: None,
            expected: -1,
            last_change: None,
            restart_digest: None,
            has_id: false,
            is_last_failure: false,
        }
    }

    /// Takes in what an attribute says.
    fn take(&mut self, attribute: &Attribute) {
        let value = &attribute.value;
        let number = || values::integer(value);
        let small = || number().and_then(|number| i32::try_from(number).ok());
        match &*attribute.name {
            "id" => (self.has_id, self.is_last_failure) = (!value.is_empty(), value.ends_with("_last_failure_0")),
            "operation" => self.task = Arc::clone(value),
            "interval" => self.interval_ms = number().and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
            "call-id" => self.call_id = number().unwrap_or(-1),
            "rc-code" => self.exit_code = small(),
            "op-status" => self.status = small(),
            "transition-key" => self.expected = decode_key(value).map_or(-1, |(_, expected, _)| expected),
            "last-rc-change" => self.last_change = number(),
            "op-restart-digest" => self.restart_digest = Some(Arc::clone(value)),
            _ => {}
        }
    }

    /// It has an id and an operation.
    pub(crate) fn is_named(&self) -> bool {
        self.has_id && !self.task.is_empty()
    }

    pub(crate) fn id(&self) -> &str {
        self.element.id()
    }

    /// `operation_key`, or the id.
    pub(crate) fn key(&self) -> &str {
        self.attribute("operation_key").unwrap_or_else(|| self.id())
    }

    fn magic(&self) -> Magic<'_> {
        match self.attribute("transition-magic") {
            None => Magic::Missing,
            Some(text) => match text.split_once(';').and_then(|(_, key)| decode_key(key)) {
                Some((transition, _, owner)) => Magic::Read { owner, transition },
                None => Magic::Unreadable,
            },
        }
    }

    /// Runs once, and asks whether the resource is active.
    pub(crate) fn is_probe(&self) -> bool {
        &*self.task == "monitor" && self.interval_ms == 0
    }

    /// A probe whose failure only says that the resource cannot run on the node (OCF: not installed, wrong parameters).
    pub(crate) fn is_masked_probe(&self) -> bool {
        const NOT_INSTALLED: i32 = 5;
        const INVALID_PARAMETERS: i32 = 2;
        const STATUS_NOT_INSTALLED: i32 = 7;
        self.is_probe()
            && (matches!(self.exit_code, Some(NOT_INSTALLED | INVALID_PARAMETERS))
                || self.status == Some(STATUS_NOT_INSTALLED))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.element.attribute(name)
    }
}

/// Transition, expected exit code and owner of `action:transition:expected:owner`.
fn decode_key(key: &str) -> Option<(i64, i32, &str)> {
    let mut parts = key.splitn(4, ':');
    let mut number = || parts.next().and_then(values::integer);
    let (_, transition, expected) = (number()?, number()?, number()?);
    let owner = parts.next()?.split_whitespace().next()?;
    Some((transition, i32::try_from(expected).unwrap_or(-1), owner.get(..36).unwrap_or(owner)))
}

/// Which of two entries is the older: by call id on one node, else by time or transition.
pub(crate) fn compare_age(a: &Entry, b: &Entry) -> Ordering {
    let same = |x: Option<&str>, y: Option<&str>| match (x, y) {
        (Some(x), Some(y)) => x.eq_ignore_ascii_case(y),
        (None, None) => true,
        _ => false,
    };
    let same_node = same(a.attribute("on_node"), b.attribute("on_node"));
    if same_node && a.id() == b.id() {
        return Ordering::Equal;
    }
    let (x, y) = (a.call_id, b.call_id);
    if x == -1 && y == -1 {
        Ordering::Equal
    } else if same_node && x >= 0 && x < y {
        Ordering::Less
    } else if same_node && y >= 0 && x > y {
        Ordering::Greater
    } else if x >= 0 && y >= 0 && (!same_node || x == y) {
        let (x, y) = (a.last_change.unwrap_or(-1), b.last_change.unwrap_or(-1));
        if x >= 0 && x < y {
            Ordering::Less
        } else if y >= 0 && x > y {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    } else {
        compare_transitions(a, b)
    }
}

fn compare_transitions(a: &Entry, b: &Entry) -> Ordering {
    let (Magic::Read { owner: owner_a, transition: at_a }, Magic::Read { owner: owner_b, transition: at_b }) =
        (a.magic(), b.magic())
    else {
        return Ordering::Equal;
    };
    if !owner_a.eq_ignore_ascii_case(owner_b) || at_a == at_b {
        if b.call_id == -1 {
            Ordering::Less
        } else if a.call_id == -1 {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    } else if (at_a >= 0 && at_a < at_b) || at_b == -1 {
        Ordering::Less
    } else if (at_b >= 0 && at_a > at_b) || at_a == -1 {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

/// The places of the entries from which a resource counts as started, and stopped; -1 for none.
pub(crate) fn active_range(entries: &[&Entry]) -> (i64, i64) {
    let (mut start, mut stop, mut implied_by_monitor, mut implied_by_role) = (-1i64, -1i64, -1i64, -1i64);
    for (place, entry) in (0i64..).zip(entries) {
        let is = |task: &str| entry.task.eq_ignore_ascii_case(task);
        if is("stop") && entry.status == Some(DONE) {
            stop = place;
        } else if is("start") || is("migrate_from") {
            start = place;
        } else if implied_by_monitor <= stop && is("monitor") {
            if matches!(entry.attribute("rc-code"), Some("0" | "8")) {
                implied_by_monitor = place;
            }
        } else if is("promote") || is("demote") {
            implied_by_role = place;
        }
    }
    if start == -1 {
        start = if implied_by_role != -1 { implied_by_role } else { implied_by_monitor };
    }
    (start, stop)
}

impl ResourceHistory {
    /// Reads a history that may be of the same resource as another, `similar` one.
    fn read(element: &Arc<Element>, similar: Option<&Self>, ids: &mut RecordedIds) -> Self {
        let id = element.id();
        let known = similar.map(|similar| similar.id).filter(|known| **ids.text(*known) == *id);
        let agent = AGENT.map(|name| element.shared_attribute(name));
        let known_agent =
            similar.map(|similar| &similar.agent).filter(|known| known.each_ref().map(Option::as_ref) == agent);
        let known_entries = similar.map_or(&[][..], |similar| &similar.entries);
        let entries = shared_children(element, "lrm_rsc_op").enumerate();
        let entries = entries.map(|(at, element)| Entry::read(element, known_entries.get(at))).collect();
        Self {
            element: Arc::clone(element),
            id: known.unwrap_or_else(|| ids.note(id)),
            agent: known_agent.map_or_else(|| Arc::new(agent.map(Option::<&_>::cloned)), Arc::clone),
            entries,
        }
    }

    /// The places of the entries, oldest first.
    pub(crate) fn sorted(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.entries.len()).rev().collect();
        values::sort_with(&mut places, &mut |a, b| compare_age(&self.entries[*a], &self.entries[*b]));
        places
    }
}

impl RecordedId {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

impl RecordedIds {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn text(&self, id: RecordedId) -> &Arc<str> {
        &self.texts[id.0]
    }

    pub(crate) fn find(&self, text: &str) -> Option<RecordedId> {
        self.numbers.get(text).copied()
    }

    fn note(&mut self, text: &str) -> RecordedId {
        self.find(text).unwrap_or_else(|| {
            let (id, text) = (RecordedId(self.texts.len()), Arc::<str>::from(text));
            self.texts.push(Arc::clone(&text));
            self.numbers.insert(text, id);
            id
        })
    }
}

impl NodeHistory {
    /// The first history of a resource of this id.
    fn of(&self, id: RecordedId) -> Option<&ResourceHistory> {
        let first = self.by_id.partition_point(|place| self.resources[*place].id.0 < id.0);
        self.by_id.get(first).map(|place| &self.resources[*place]).filter(|history| history.id == id)
    }
}

impl Planner {
    /// Reads the histories of all nodes.
    pub(crate) fn read_histories(&mut self, cib: &Document) {
        let Some(status) = cib.root().child("status") else { return };
        for state in shared_children(status, "node_state") {
            let place = self.histories.len();
            let section = state.child("lrm").and_then(|lrm| lrm.child("lrm_resources"));
            let resources = section.into_iter().flat_map(|section| shared_children(section, "lrm_resource"));
            // Mostly the node before has the same resources in the same order.
            let before = self.histories.last().map_or(&[][..], |before| &before.resources);
            let recorded_ids = &mut self.recorded_ids;
            let resources =
                resources.enumerate().map(|(at, element)| ResourceHistory::read(element, before.get(at), recorded_ids));
            let resources: Vec<ResourceHistory> = resources.collect();
            let mut by_id: Vec<usize> = (0..resources.len()).collect();
            // Mostly they are in order already.
            by_id.sort_by_key(|place| resources[*place].id.0);
            self.histories.push(NodeHistory { state: Arc::clone(state), resources, by_id });
            let name = state.attribute("uname").unwrap_or_default().to_owned();
            self.histories_of.entry(name).or_default().push(place);
        }
    }

    pub(crate) fn entry(&self, place: EntryPlace) -> &Entry {
        &self.histories[place.node].resources[place.resource].entries[place.entry]
    }

    /// The resource that a history's id stands for, as [`crate::Model::resource_with_id`] says.
    pub(crate) fn recorded_resource(&mut self, id: RecordedId) -> Option<ResourceId> {
        let ids = &mut self.recorded_ids;
        if ids.meant.len() != ids.len() || ids.ids_of_resources != self.model.ids_noted {
            ids.ids_of_resources = self.model.ids_noted;
            ids.meant = vec![None; ids.len()];
        }
        let (text, meant) = (&ids.texts[id.0], &mut ids.meant[id.0]);
        if !meant.is_some_and(|resource| self.model.is_id_of(text, resource)) {
            *meant = self.model.sole_with_id(text);
        }
        meant.or_else(|| self.model.resource_with_id(text))
    }

    /// The history of a resource on a node, by name and id.
    pub(crate) fn resource_history(&self, id: &str, node: &str) -> Option<&ResourceHistory> {
        let id = self.recorded_ids.find(id)?;
        self.histories_of.get(node)?.iter().find_map(|place| self.histories[*place].of(id))
    }

    /// The first entry of an operation in a history; a migration's only with the other node given. With `exit_code`, only
    /// if it ended so.
    pub(crate) fn find_entry(
        &self,
        id: &str,
        task: &str,
        node: &str,
        other_node: Option<&str>,
        exit_code: Option<i32>,
    ) -> Option<&Entry> {
        let entry = self.resource_history(id, node)?.entries.iter().find(|entry| {
            &*entry.task == task
                && match (task, other_node) {
                    ("migrate_to", Some(other)) => entry.attribute("migrate_target") == Some(other),
                    ("migrate_from", Some(other)) => entry.attribute("migrate_source") == Some(other),
                    _ => true,
                }
        })?;
        match exit_code {
            Some(code) if entry.exit_code.unwrap_or(1) != code || entry.status.unwrap_or(4) != DONE => None,
            _ => Some(entry),
        }
    }

    /// Nothing, or nothing certain, is known of the resource on the node.
    pub(crate) fn is_unknown_on(&self, id: &str, node: &str) -> bool {
        const UNKNOWN: &str = "193";
        self.resource_history(id, node).is_none_or(|history| {
            !history.entries.iter().any(|entry| entry.attribute("rc-code").is_some_and(|code| code != UNKNOWN))
        })
    }

    /// A start, stop or migration is in the history after the entry.
    pub(crate) fn acted_after(&self, id: &str, node: &str, entry: &Entry) -> bool {
        self.resource_history(id, node).is_some_and(|history| {
            history.entries.iter().any(|other| {
                !Arc::ptr_eq(&other.element, &entry.element)
                    && matches!(&*other.task, "start" | "stop" | "migrate_to" | "migrate_from")
                    && compare_age(other, entry).is_gt()
            })
        })
    }

    /// The history shows what the node's state is after a migration.
    pub(crate) fn is_newer_after_migration(
        &self,
        id: &str,
        node: &str,
        migrate_to: Option<&Entry>,
        migrate_from: Option<&Entry>,
    ) -> bool {
        const NOT_RUNNING: i32 = 7;
        let Some(mut entry) = migrate_from.or(migrate_to) else { return false };
        let source = entry.attribute("migrate_source");
        if let (Some(to), Some(_)) = (migrate_to, migrate_from)
            && source.is_some_and(|source| source.eq_ignore_ascii_case(node))
        {
            entry = to;
        }
        self.acted_after(id, node, entry)
            || self
                .find_entry(id, "monitor", node, None, Some(NOT_RUNNING))
                .is_some_and(|monitor| compare_age(monitor, entry).is_gt())
    }

    /// The node of a history.
    pub(crate) fn node_of_state(&self, state: &Element) -> Option<NodeIndex> {
        let id = state.attribute("id")?;
        let named = || state.attribute("uname").and_then(|name| self.model.node_named(name));
        self.model.node_with_id(id).or_else(named)
    }
}

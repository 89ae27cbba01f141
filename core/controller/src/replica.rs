//! The replica: configuration and status as every member of a view holds them, byte for byte the same.
//!
//! It changes only by commands of the total order, and by views.

use crate::change;
use crate::command::{Standing, Sync};
use crate::core_types::PersistedState;
use crate::options::{Options, WithoutQuorum};
use crate::request::{Change, Refusal};
use crate::status::{FEATURE_SET, NodeStatus, Status};
use crate::tickets::Tickets;
use hakudo_base::{NodeId, UnixTime, WallTime};
use hakudo_cib::change::Version;
use hakudo_cib::{Document, Element, values};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) configuration: Document,
    /// [`PersistedState::lineage`].
    pub(crate) lineage: u64,
    /// Counts configurations: every change and every synchronisation makes a new one.
    pub(crate) generation: u64,
    pub(crate) status: Status,
    tickets: Tickets,
    options: Options,
    /// What time it was when the options were read, as all members were told.
    read_at: WallTime,
    ids: BTreeMap<String, String>,
}

impl Replica {
    /// From what the disk holds. An unreadable configuration counts as none; it is given back, to be kept aside.
    pub(crate) fn new(persisted: Option<PersistedState>) -> (Self, Option<(String, String)>) {
        let (tickets, read) = match persisted {
            None => (Tickets::default(), Ok((empty(), 0))),
            Some(PersistedState { configuration, lineage, tickets }) => {
                let read = change::read(&configuration).map(|document| (document, lineage));
                (tickets, read.map_err(|reason| (configuration, reason)))
            }
        };
        let ((document, lineage), unreadable) = match read {
            Ok(read) => (read, None),
            Err(unreadable) => ((empty(), 0), Some(unreadable)),
        };
        let mut replica = Self {
            options: Options::read(&document, WallTime::default()),
            read_at: WallTime::default(),
            ids: BTreeMap::new(),
            configuration: document,
            lineage,
            generation: 0,
            status: Status::default(),
            tickets,
        };
        replica.look_at_configuration();
        (replica, unreadable)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Reads the options as rules make them at `now`; true where they are others. All members do so at the same place in the
    /// total order.
    pub(crate) fn read_options(&mut self, now: WallTime) -> bool {
        self.read_at = now;
        let options = Options::read(&self.configuration, now);
        std::mem::replace(&mut self.options, options.clone()) != options
    }

    /// Configuration and status as one document.
    pub(crate) fn cib(&mut self, quorate: bool, leader: Option<(NodeId, &str)>) -> Document {
        let ids = &self.ids;
        let newcomers_wait = !quorate && self.newcomers_wait();
        let lineage = self.lineage;
        let waits = |status: &NodeStatus| newcomers_wait && status.is_idle_newcomer(lineage);
        let mut status = self.status.write(|node, name| cib_id(ids, node, name), waits);
        if let Some(tickets) = self.tickets.write(&self.status.tickets) {
            status.push(tickets);
        }
        let mut document = self.configuration.clone();
        let root = document.root_mut();
        root.set("have-quorum", if quorate { "1" } else { "0" });
        if let Some((node, name)) = leader {
            root.set("dc-uuid", &cib_id(ids, node, name));
        }
        root.push(status);
        document
    }

    /// A side that takes over without quorum does so with the nodes that it had, until nobody is left on the other side: a
    /// node that came later may be known there as fenced already, and so as running nothing.
    fn newcomers_wait(&self) -> bool {
        let takes_over = self.options.without_quorum == WithoutQuorum::TakesOver;
        takes_over && self.options.fencing && self.status.unsafe_nodes().next().is_some()
    }

    /// There is more than the empty configuration of a node that was never part of a cluster.
    pub(crate) fn has_configuration(&self) -> bool {
        self.version() != Version::default()
    }

    /// There is anything to be lost.
    pub(crate) fn has_anything(&self) -> bool {
        self.has_configuration() || self.tickets.number > 0
    }

    /// The node that the configuration knows under `name`.
    pub(crate) fn configures(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    /// Names of the configuration's nodes.
    pub(crate) fn configured_nodes(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(String::as_str)
    }

    pub(crate) fn version(&self) -> Version {
        Version::of(&self.configuration)
    }

    pub(crate) fn standing(&self) -> Standing {
        let tickets = self.tickets.write(&BTreeMap::new()).map(|tickets| tickets.to_compact_xml()).unwrap_or_default();
        let written = self.configuration.root().to_compact_xml() + &tickets;
        let digest = written
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let Version { admin_epoch, epoch, num_updates } = self.version();
        let version = (admin_epoch, epoch, num_updates);
        Standing { lineage: self.lineage, version, tickets: self.tickets.number, digest }
    }

    pub(crate) fn persisted(&self) -> PersistedState {
        PersistedState {
            configuration: self.configuration.to_xml(),
            lineage: self.lineage,
            tickets: self.tickets.clone(),
        }
    }

    /// What the others need in order to have what this node has.
    pub(crate) fn as_sync(&self, time: WallTime) -> Sync {
        Sync {
            time,
            configuration: self.configuration.to_xml(),
            lineage: self.lineage,
            tickets: self.tickets.clone(),
            generation: self.generation,
            status: self.status.clone(),
        }
    }

    /// Takes over what the winner has; the own configuration comes back where it was another one.
    pub(crate) fn adopt(&mut self, sync: Sync) -> Result<Option<String>, String> {
        let document = change::read(&sync.configuration)?;
        let own = (document != self.configuration && self.has_configuration()).then(|| self.configuration.to_xml());
        self.configuration = document;
        self.lineage = sync.lineage;
        self.tickets = sync.tickets;
        self.generation = sync.generation;
        self.status = sync.status;
        self.look_at_configuration();
        Ok(own)
    }

    /// Changes the configuration, or says why not and changes nothing. False where there was nothing to change.
    pub(crate) fn change(&mut self, change: &Change, origin: &str, user: &str, time: i64) -> Result<bool, Refusal> {
        let Some(mut document) = change::apply(&self.configuration, change)? else { return Ok(false) };
        let root = document.root_mut();
        root.set("cib-last-written", &values::last_written(UnixTime::from_seconds(time)));
        root.set("update-origin", origin);
        root.set("update-user", user);
        self.configuration = document;
        self.generation += 1;
        // The clock of who asked for the change may be behind that of the leader, by which the options were read.
        self.read_at.time = self.read_at.time.max(UnixTime::from_seconds(time));
        self.look_at_configuration();
        Ok(true)
    }

    /// Changes the tickets, or says why not and changes nothing. False where there was nothing to change.
    pub(crate) fn change_tickets(
        &mut self,
        change: impl FnOnce(&mut Tickets) -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        let changed = change(&mut self.tickets)?;
        self.generation += u64::from(changed);
        Ok(changed)
    }

    /// Keeps what the member of the ticket group must not forget.
    pub(crate) fn store_member(&mut self, state: Vec<u8>) {
        self.tickets.store_member(state);
        self.generation += 1;
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    fn look_at_configuration(&mut self) {
        self.read_options(self.read_at);
        let nodes = self.configuration.section(&["configuration", "nodes"]);
        self.ids = nodes
            .into_iter()
            .flat_map(|nodes| nodes.children_named("node"))
            .filter_map(|node| Some((node.attribute("uname")?.to_owned(), node.id().to_owned())))
            .collect();
    }
}

fn cib_id(ids: &BTreeMap<String, String>, node: NodeId, name: &str) -> String {
    ids.get(name).cloned().unwrap_or_else(|| node.to_string())
}

/// The configuration of a cluster that has none yet.
fn empty() -> Document {
    let configuration = Element::new("configuration")
        .with_child(Element::new("crm_config"))
        .with_child(Element::new("nodes"))
        .with_child(Element::new("resources"))
        .with_child(Element::new("constraints"));
    Document::new(
        Element::new("cib")
            .with("crm_feature_set", FEATURE_SET)
            .with("validate-with", "pacemaker-4.0")
            .with("admin_epoch", "0")
            .with("epoch", "0")
            .with("num_updates", "0")
            .with_child(configuration),
    )
}

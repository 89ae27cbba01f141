//! The state machine of one node: it takes an input, lets the part that it concerns deal with it, and then does what has
//! become possible.

use crate::clients::Clients;
use crate::command::{Command, Hello, Message};
use crate::core_types::{Config, Effect, Input};
use crate::disk::Disk;
use crate::fence::Fencing;
use crate::leader::Leader;
use crate::missed::Missed;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::replica::Replica;
use crate::request::Event;
use crate::tickets::guards::Guarding;
use crate::tickets::leases::Leases;
use crate::tickets::speaker::Speaker;
use hakudo_base::{Instant, NodeId, Random, Severity, UnixTime, WallTime};
use hakudo_membership::{View, ViewId};
use std::collections::BTreeMap;

/// The controller of one node.
#[derive(Debug)]
pub struct Controller {
    pub(crate) local: NodeId,
    pub(crate) names: BTreeMap<NodeId, String>,
    pub(crate) now: Instant,
    clock: (Instant, WallTime),
    pub(crate) replica: Replica,
    pub(crate) view: Option<View>,
    /// The members of the view agreed on configuration and status.
    pub(crate) synced: bool,
    /// The cluster has begun to act: nodes that were never seen are not waited for any more.
    pub(crate) started: bool,
    /// The epoch of the first view in which this process agreed with the members.
    pub(crate) alive_since: Option<u64>,
    /// The view in which this process last agreed with the members.
    pub(crate) agreed_in: Option<ViewId>,
    /// When this node was first part of a quorate view that agreed.
    pub(crate) first_quorate: Option<Instant>,
    /// When the members of the view agreed.
    pub(crate) agreed_at: Option<Instant>,
    pub(crate) hellos: BTreeMap<NodeId, Hello>,
    pub(crate) missed: Missed,
    pub(crate) outbox: Outbox,
    pub(crate) disk: Disk,
    pub(crate) node: Node,
    /// Members whose executors are away, and since when; not those that already count as failed for it.
    pub(crate) away: BTreeMap<NodeId, Instant>,
    pub(crate) leader: Leader,
    /// Ready on every node, at work only on the leader.
    pub(crate) fencing: Box<Fencing>,
    /// At work only on the leader.
    pub(crate) speaker: Box<Speaker>,
    pub(crate) leases: Leases,
    pub(crate) guarding: Guarding,
    pub(crate) clients: Clients,
    pub(crate) alerts: BTreeMap<String, (Severity, String)>,
    /// Actions of the running plan that did not end yet, as far as this node heard.
    pub(crate) actions_left: u32,
    pub(crate) settled: bool,
    pub(crate) revision: u64,
    retry_broadcast: Option<Instant>,
    unreadable: Option<(String, String)>,
}

/// After a refused broadcast it is tried again this much later.
const BROADCAST_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

impl Controller {
    /// A controller that knows no view yet.
    pub fn new(config: Config, seed: u64) -> Self {
        let (replica, unreadable) = Replica::new(config.persisted);
        let mut leader = Leader::new(Random::new(seed));
        let fencing = Box::new(Fencing::new(leader.seed()));
        Self {
            local: config.node,
            names: config.nodes,
            now: Instant::ZERO,
            clock: (Instant::ZERO, WallTime::default()),
            replica,
            view: None,
            synced: false,
            started: false,
            alive_since: None,
            agreed_in: None,
            first_quorate: None,
            agreed_at: None,
            hellos: BTreeMap::new(),
            missed: Missed::default(),
            outbox: Outbox::default(),
            disk: Disk::default(),
            node: Node::new(seed),
            away: BTreeMap::new(),
            leader,
            fencing,
            speaker: Box::default(),
            leases: Leases::default(),
            guarding: Guarding::default(),
            clients: Clients::default(),
            alerts: BTreeMap::new(),
            actions_left: 0,
            settled: false,
            revision: 1,
            retry_broadcast: None,
            unreadable,
        }
    }

    /// Takes one input and appends what is to be done, in order.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        if let Some((configuration, reason)) = self.unreadable.take() {
            self.alert(
                "configuration",
                Severity::Error,
                format!("the configuration on disk was not readable: {reason}"),
            );
            effects.push(Effect::KeepAside { configuration, reason });
        }
        match input {
            Input::Timer => self.timer(effects),
            Input::Clock(time) => {
                self.clock = (self.now, time);
                self.clock_was_set();
            }
            Input::Nodes(nodes) => {
                self.names = nodes;
                self.changed();
                self.add_missing_nodes();
                self.think_again("the node list changed");
            }
            Input::View(view) => self.enter(view, effects),
            Input::Deliver(delivered) => self.deliver(delivered, effects),
            Input::Undelivered => {
                self.outbox.refused();
                self.retry_broadcast = Some(self.now + BROADCAST_AGAIN);
            }
            Input::Executor(input) => self.executor(input, effects),
            Input::Tickets(input) => self.tickets(input, effects),
            Input::Planned { token, result } => self.planned(token, result, effects),
            Input::Persisted { token, result } => self.persisted(token, result),
            Input::Gone { client } => self.clients.gone(client),
            Input::Request { client, user, request } => self.request(client, user, request, effects),
        }
        self.do_what_is_possible(effects);
    }

    /// When [`Input::Timer`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let parts = [
            self.retry_broadcast,
            self.disk.deadline(),
            self.node.deadline(),
            self.fence_deadline(),
            self.lead_deadline(),
            self.lease_deadline(),
            self.speaker.deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    fn timer(&mut self, effects: &mut Vec<Effect>) {
        if self.retry_broadcast.is_some_and(|at| at <= self.now) {
            self.retry_broadcast = None;
        }
        self.look_at_disk(effects);
        self.tell_of_executor();
        self.fence_timer(effects);
        self.lead_timer();
        self.lease_timer();
    }

    fn do_what_is_possible(&mut self, effects: &mut Vec<Effect>) {
        self.report_results();
        self.tend_speaker(effects);
        self.tend_guards(effects);
        self.lead(effects);
        self.broadcast(effects);
        self.answer_waiting(effects);
    }

    fn broadcast(&mut self, effects: &mut Vec<Effect>) {
        let Some(view) = &self.view else { return };
        if self.retry_broadcast.is_some() {
            return;
        }
        let Some(message) = self.outbox.next(view.id, self.synced) else { return };
        match postcard::to_stdvec(&message) {
            Ok(payload) => effects.push(Effect::Broadcast(payload)),
            Err(error) => self.alert("encoding", Severity::Error, format!("a message could not be written: {error}")),
        }
    }

    /// Takes a message apart; one that is no message, or of another view, says nothing.
    pub(crate) fn read_message(&self, payload: &[u8]) -> Option<Message> {
        let message: Message = postcard::from_bytes(payload).ok()?;
        let current = self.view.as_ref().is_some_and(|view| view.id == message.view);
        (current && message.numbers.len() == message.commands.len()).then_some(message)
    }

    /// Says something to all members.
    pub(crate) fn say(&mut self, command: Command) -> u64 {
        self.outbox.say(command)
    }

    /// The calendar's time now.
    pub(crate) fn time(&self) -> UnixTime {
        let passed = i64::try_from(self.now.since(self.clock.0).as_millis()).unwrap_or(i64::MAX);
        UnixTime::from_millis(self.clock.1.time.millis().saturating_add(passed))
    }

    /// The same as clocks on the wall show it.
    pub(crate) fn wall_time(&self) -> WallTime {
        WallTime { time: self.time(), ..self.clock.1 }
    }

    /// Something that clients can see changed.
    pub(crate) fn changed(&mut self) {
        self.revision += 1;
    }

    /// The name of a node: of the node list, else of the status, else its number.
    pub(crate) fn name(&self, node: NodeId) -> String {
        let known = || self.replica.status.nodes.get(&node).map(|status| status.name.clone());
        self.names.get(&node).cloned().or_else(known).unwrap_or_else(|| node.to_string())
    }

    /// The node of a name.
    pub(crate) fn node_named(&self, name: &str) -> Option<NodeId> {
        let listed = self.names.iter().find(|(_, listed)| *listed == name).map(|(node, _)| *node);
        let known = || self.replica.status.nodes.iter().find(|(_, status)| status.name == name).map(|(node, _)| *node);
        listed.or_else(known)
    }

    /// This node leads the view.
    pub(crate) fn leads(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.leader() == self.local)
    }

    /// The view is there and has the right to run services.
    pub(crate) fn quorate(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.quorate)
    }

    /// The name of the view.
    pub(crate) fn view_id(&self) -> ViewId {
        self.view.as_ref().map(|view| view.id).unwrap_or_default()
    }

    /// The node is in the view.
    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.view.as_ref().is_some_and(|view| view.members.contains(&node))
    }

    /// The epoch of the view; 0 before the first.
    pub(crate) fn epoch(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.id.epoch)
    }

    /// Tells people something until it is taken back. Only this node shows it.
    pub(crate) fn alert(&mut self, about: &str, severity: Severity, text: String) {
        self.alerts.insert(about.to_owned(), (severity, text));
        self.changed();
    }

    /// Takes an alert back.
    pub(crate) fn no_alert(&mut self, about: &str) {
        if self.alerts.remove(about).is_some() {
            self.changed();
        }
    }

    /// Reports that something happened.
    pub(crate) fn event(&self, kind: &str, severity: Severity, text: String) -> Event {
        Event {
            number: 0,
            time_ms: self.time().millis(),
            severity,
            kind: kind.to_owned(),
            node: None,
            resource: None,
            took_ms: None,
            text,
        }
    }
}

//! Requests of local clients and their answers.

use crate::command::Command;
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::request::{
    Change, ChangeOperation, ClusterState, NodeState, QuorumOverride, Refusal, RefusalKind, Reply, Request,
};
use crate::tickets::TicketOrder;
use hakudo_base::{NodeId, Severity};
use hakudo_cib::Element;
use hakudo_tickets::RequestEnvelope;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// Who waits for a command of this node to be carried out, by its number.
    waiting: BTreeMap<u64, Waiting>,
    /// Clients whose change has to reach all disks.
    changes: BTreeMap<u64, MadeChange>,
    /// Who wants to know of another state than the one with this revision. (A greater one than this node's is of its former
    /// life.)
    watching: BTreeMap<u64, u64>,
    /// Who wants this node to leave.
    leaving: BTreeSet<u64>,
    /// Who wanted the leader fenced, which is lost now, and how: what was asked for is done once it was fenced, whoever did so.
    until_dead: BTreeMap<u64, Wish>,
}

/// A change that is in force here and not acknowledged yet.
#[derive(Debug)]
struct MadeChange {
    /// The number of the configuration that holds it.
    generation: u64,
    /// The client takes it upon itself that another side may undo it.
    forced: bool,
}

/// The refusal of a word that is no fencing action.
pub(crate) fn no_action(word: &str) -> Refusal {
    Refusal::new(RefusalKind::Usage, format!("{word} is no fencing action: off, reboot or on"))
}

/// A client that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    client: u64,
    /// It wants to hear of the steps on the way, too.
    progress: bool,
    /// It wants this node down.
    fences: Option<Wish>,
}

/// A node, and whether it is to stay off, and not only to be reset.
type Wish = (NodeId, bool);

impl Clients {
    /// A client waits no more. Its command goes on.
    pub(crate) fn gone(&mut self, client: u64) {
        self.waiting.retain(|_, waiting| waiting.client != client);
        self.changes.remove(&client);
        self.watching.remove(&client);
        self.until_dead.remove(&client);
        // A node that was asked to leave leaves, whoever waits for it.
    }
}

fn reply(effects: &mut Vec<Effect>, client: u64, reply: Reply) {
    effects.push(Effect::Reply { client, reply: Box::new(reply) });
}

fn members_changed(client: u64, effects: &mut Vec<Effect>) {
    let reason = "the members changed on the way: look whether it was done".to_owned();
    reply(effects, client, Reply::Unknown { reason });
}

impl Controller {
    pub(crate) fn request(&mut self, client: u64, user: String, request: Request, effects: &mut Vec<Effect>) {
        let answer = match request {
            Request::Cib => Ok(Some(Reply::Cib { xml: self.cib().to_xml() })),
            Request::Cluster => Ok(Some(Reply::Cluster(Box::new(self.cluster_state())))),
            Request::Watch { after } => {
                self.clients.watching.insert(client, after);
                Ok(None)
            }
            Request::Quorum(QuorumOverride::CancelWaitForAll) if self.misses_somebody() => {
                self.want(client, Ok(Command::NobodyIsMissed { user, nodes: self.missed.nodes() }))
            }
            Request::Events { .. } | Request::Quorum(_) | Request::Reload => {
                let reason = "this is answered by the daemon of the node, and not by its controller";
                Err(Refusal::new(RefusalKind::Usage, reason))
            }
            Request::Change(change) => {
                self.want(client, Ok(Command::Change { user, time: self.time().seconds(), change }))
            }
            Request::Cleanup { resource, node, refresh } => {
                let node = node.map(|name| self.find(&name)).transpose();
                self.want(client, node.map(|node| Command::Cleanup { resource, node, refresh }))
            }
            Request::Ticket { ticket, change, force } => {
                let time = self.time().seconds();
                self.want(client, Ok(Command::Ticket(Box::new(TicketOrder { ticket, change, force, user, time }))))
            }
            Request::Tickets { ask, progress } => {
                let envelope = RequestEnvelope { who: user, at: self.time(), request: *ask };
                self.want_of(Waiting { client, progress, fences: None }, Ok(Command::TicketAsk(Box::new(envelope))))
            }
            Request::SetAttribute { node, name, value } => {
                let node = self.find(&node);
                self.want(client, node.map(|node| Command::Attribute { node, name, value }))
            }
            Request::Fence { node, action } => {
                let target = self.find(&node);
                let known = matches!(&*action, "off" | "reboot" | "on");
                let target = if known { target } else { Err(no_action(&action)) };
                let fences = target.as_ref().ok().filter(|_| action != "on").map(|target| (*target, action == "off"));
                let command = target.map(|target| Command::FenceRequest { target, action, user });
                self.want_of(Waiting { client, progress: false, fences }, command)
            }
            Request::ConfirmFenced { node } => {
                let target = self.find(&node);
                let time = self.time().seconds();
                self.want(client, target.map(|target| Command::Confirm { target, user, time }))
            }
            Request::Leave if self.view.is_none() => {
                effects.push(Effect::Leave);
                Ok(Some(Reply::Done))
            }
            Request::Leave => {
                self.clients.leaving.insert(client);
                let value = Some(self.time().seconds().to_string());
                self.say(Command::Attribute { node: self.local, name: "shutdown".to_owned(), value });
                Ok(None)
            }
        };
        match answer {
            Ok(Some(answer)) => reply(effects, client, answer),
            Ok(None) => {}
            Err(refusal) => reply(effects, client, refusal.into()),
        }
    }

    fn find(&self, name: &str) -> Result<NodeId, Refusal> {
        let known = || self.names.values().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.node_named(name).ok_or_else(|| {
            Refusal::new(RefusalKind::NoSuch, format!("there is no node {name}; the nodes are {}", known()))
        })
    }

    /// Says a command for a client, who is answered once it was carried out.
    fn want(&mut self, client: u64, command: Result<Command, Refusal>) -> Result<Option<Reply>, Refusal> {
        self.want_of(Waiting { client, progress: false, fences: None }, command)
    }

    fn want_of(&mut self, waiting: Waiting, command: Result<Command, Refusal>) -> Result<Option<Reply>, Refusal> {
        let command = command?;
        if self.view.is_none() {
            let reason = "this node is not part of a cluster yet: wait until it has joined";
            return Err(Refusal::new(RefusalKind::NotConnected, reason));
        }
        let number = self.say(command);
        self.clients.waiting.insert(number, waiting);
        Ok(None)
    }

    /// Commands of this node that were delivered and left to a leader that leads no longer: nobody will answer.
    pub(crate) fn leader_gone(&mut self, leader: Option<NodeId>, effects: &mut Vec<Effect>) {
        let unheard = self.outbox.numbers();
        let lost: Vec<u64> = self.clients.waiting.keys().copied().filter(|number| !unheard.contains(number)).collect();
        self.commands_dropped(&lost, leader, effects);
    }

    /// A command was carried out.
    pub(crate) fn finished(&mut self, from: NodeId, number: u64, effects: &mut Vec<Effect>) {
        if let Some(client) = self.client_of(from, number) {
            reply(effects, client, Reply::Done);
        }
    }

    /// The ticket group answered.
    pub(crate) fn hear_ticket_answer(
        &mut self,
        node: NodeId,
        number: u64,
        answer: Box<hakudo_tickets::Reply>,
        effects: &mut Vec<Effect>,
    ) {
        let reply_of = Reply::Tickets { answer };
        if reply_of.is_final() {
            if let Some(client) = self.client_of(node, number) {
                reply(effects, client, reply_of);
            }
            return;
        }
        let waiting = self.clients.waiting.get(&number).filter(|waiting| node == self.local && waiting.progress);
        if let Some(waiting) = waiting {
            reply(effects, waiting.client, reply_of);
        }
    }

    /// A command was refused by all alike.
    pub(crate) fn refused(&mut self, from: NodeId, number: u64, refusal: Refusal, effects: &mut Vec<Effect>) {
        if let Some(client) = self.client_of(from, number) {
            reply(effects, client, refusal.into());
        }
    }

    fn client_of(&mut self, from: NodeId, number: u64) -> Option<u64> {
        let waiting = if from == self.local { self.clients.waiting.remove(&number) } else { None };
        waiting.map(|waiting| waiting.client)
    }

    /// Commands of this node will not be carried out here; what became of them elsewhere is not known. Who wants the leader down, which
    /// is lost, needs nobody's word of it: it is dead soon, or why not is known.
    pub(crate) fn commands_dropped(&mut self, numbers: &[u64], leader: Option<NodeId>, effects: &mut Vec<Effect>) {
        for number in numbers {
            let Some(waiting) = self.clients.waiting.remove(number) else { continue };
            let is_lost = |target: NodeId| self.replica.status.unsafe_nodes().any(|(lost, _)| lost == target);
            let fences = self.fences_the_lost();
            match waiting.fences.filter(|(target, _)| fences && leader == Some(*target) && is_lost(*target)) {
                Some(wish) => {
                    self.clients.until_dead.insert(waiting.client, wish);
                }
                None => members_changed(waiting.client, effects),
            }
        }
    }

    /// This side fences nodes that are lost.
    fn fences_the_lost(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.quorate) && self.replica.options().fencing
    }

    /// A node was fenced by an action (a person's word counts as `off`), or why it could not be.
    pub(crate) fn answer_who_waits_for_death(
        &mut self,
        node: NodeId,
        result: Result<&str, &str>,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.name(node);
        for (client, (_, stays_off)) in self.clients.until_dead.extract_if(.., |_, (of, _)| *of == node) {
            let answer = match result {
                Ok(action) if stays_off && action != "off" => {
                    let reason = format!("{name} was fenced, but by {action}: ask once more if it is to stay off");
                    Refusal::new(RefusalKind::Failed, reason).into()
                }
                Ok(_) => Reply::Done,
                Err(reason) => Refusal::new(RefusalKind::Failed, reason).into(),
            };
            reply(effects, client, answer);
        }
    }

    /// Whose death the members of a view told each other of, who came back, and all of them where this side fences nobody: what became
    /// of the wish is not known.
    pub(crate) fn nobody_waits_for_deaths_in_vain(&mut self, effects: &mut Vec<Effect>) {
        let fences = self.fences_the_lost();
        let lost: BTreeSet<NodeId> = self.replica.status.unsafe_nodes().map(|(lost, _)| lost).collect();
        for (client, _) in self.clients.until_dead.extract_if(.., |_, (of, _)| !fences || !lost.contains(of)) {
            members_changed(client, effects);
        }
    }

    pub(crate) fn hear_change(
        &mut self,
        from: NodeId,
        number: u64,
        user: &str,
        time: i64,
        change: &Change,
        effects: &mut Vec<Effect>,
    ) {
        let origin = self.name(from);
        let changed = self.may_change(change.force).and_then(|()| self.replica.change(change, &origin, user, time));
        let changed = match changed {
            Ok(changed) => changed,
            Err(refusal) => return self.refused(from, number, refusal, effects),
        };
        self.change_made(from, number, change.force);
        if !changed {
            return self.answer_changes(effects);
        }
        self.take_the_word();
        let text = format!("{user} on {origin} changed the configuration to version {}", self.replica.version());
        effects.push(Effect::Event(self.event("config", Severity::Info, text)));
        self.persist(effects);
        self.ready_fencing(effects);
        self.add_missing_nodes();
        self.think_again("the configuration changed");
    }

    /// A command of `from` changed what is on disk; its client is answered once all disks have it.
    pub(crate) fn change_made(&mut self, from: NodeId, number: u64, forced: bool) {
        if let Some(client) = self.client_of(from, number) {
            let made = MadeChange { generation: self.replica.generation, forced };
            self.clients.changes.insert(client, made);
        }
    }

    /// From now on this side has the word, if no other side can: its configuration counts where it meets another one. True
    /// where that is new.
    pub(crate) fn take_the_word(&mut self) -> bool {
        let newer = self.epoch() > self.replica.lineage;
        let takes = newer && self.replica.has_anything() && self.may_change(false).is_ok();
        if takes {
            self.replica.lineage = self.epoch();
        }
        takes
    }

    /// The configuration may change where no other side can change it at the same time.
    pub(crate) fn may_change(&self, force: bool) -> Result<(), Refusal> {
        if force {
            return Ok(());
        }
        let Some(view) = self.view.as_ref().filter(|view| view.quorate) else {
            return Err(Refusal::new(
                RefusalKind::NoQuorum,
                "this side of the cluster is not quorate, and its changes would give way to the other side's: \
                 bring more nodes back, or force the change",
            ));
        };
        if view.exclusive || !self.replica.options().fencing {
            return Ok(());
        }
        let lost = self.rivals();
        if lost.is_empty() {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::Unsafe,
            format!(
                "{} may be alive and may change the configuration too: wait until fencing confirmed its death, confirm \
                 it by hand, or force the change",
                lost.join(", ")
            ),
        ))
    }

    /// No other part of this cluster can be quorate now, whatever the administrator said of fencing.
    pub(crate) fn is_alone_in_its_right(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.exclusive) || self.rivals().is_empty()
    }

    /// Nodes that are not here and may be alive: lost ones, and members of former times that were not seen since this side was
    /// started.
    pub(crate) fn rivals(&self) -> Vec<String> {
        let status = &self.replica.status;
        let lost = status.unsafe_nodes().map(|(node, _)| self.name(node));
        let unseen =
            |(node, name): &(&NodeId, &String)| !status.nodes.contains_key(node) && self.replica.configures(name);
        lost.chain(self.names.iter().filter(unseen).map(|(_, name)| name.clone())).collect()
    }

    /// Answers changes that are on the disks of all members now, once no other side can undo them any more: a change that
    /// was on its way when members were lost stands only when they are known to be dead.
    pub(crate) fn answer_changes(&mut self, effects: &mut Vec<Effect>) {
        let Some(view) = self.view.as_ref().filter(|_| !self.clients.changes.is_empty()) else { return };
        if !view.quorate {
            return self.changes_lost(effects);
        }
        let stands = self.may_change(false).is_ok();
        let disk = &self.disk;
        self.clients.changes.retain(|client, change| {
            let done = (stands || change.forced) && disk.all_hold(&view.members, change.generation);
            if done {
                reply(effects, *client, Reply::Done);
            }
            !done
        });
    }

    /// Changes that were made and not acknowledged yet are safe only with configuration number `generation`.
    pub(crate) fn changes_wait_for(&mut self, generation: u64) {
        self.clients.changes.values_mut().for_each(|change| change.generation = generation);
    }

    /// A member's disk refused the configuration with number `generation`.
    pub(crate) fn changes_uncertain(&mut self, generation: u64, why: &str, effects: &mut Vec<Effect>) {
        self.clients.changes.retain(|client, change| {
            if change.generation <= generation {
                let reason = format!("the change is in force, but not safe on every member's disk: {why}");
                reply(effects, *client, Reply::Unknown { reason });
            }
            change.generation > generation
        });
    }

    /// Changes that were made and not acknowledged when this side gave way to another.
    pub(crate) fn changes_lost(&mut self, effects: &mut Vec<Effect>) {
        for client in std::mem::take(&mut self.clients.changes).into_keys() {
            let reason = "this side of the cluster lost the right to change the configuration on the way; it may be \
                          undone when the members are together again"
                .to_owned();
            reply(effects, client, Reply::Unknown { reason });
        }
    }

    /// The leader writes nodes into the configuration that are not there yet.
    pub(crate) fn add_missing_nodes(&mut self) {
        if !self.leads() || !self.quorate() || !self.replica.has_configuration() {
            return;
        }
        let missing = self.names.iter().filter(|(_, name)| !self.replica.configures(name));
        let operations: Vec<ChangeOperation> = missing
            .map(|(node, name)| ChangeOperation::Create {
                parent: "/cib/configuration/nodes".to_owned(),
                xml: Element::new("node").with("id", node.to_string()).with("uname", name).to_compact_xml(),
            })
            .collect();
        if !operations.is_empty() {
            let change = Change { operations, if_version: None, force: false };
            self.say(Command::Change { user: "hakudo".to_owned(), time: self.time().seconds(), change });
        }
    }

    /// The version that runs on a node, as it said when it came.
    fn version(&self, node: NodeId) -> Option<String> {
        let status = self.replica.status.nodes.get(&node)?;
        Some(status.version.clone()).filter(|version| !version.is_empty())
    }

    /// What a node that is to leave waits for.
    fn leave_waits_for(&self) -> Option<String> {
        let view = self.view.as_ref().filter(|_| !self.clients.leaving.is_empty())?;
        let name = self.name(self.local);
        if self.synced {
            let leader = self.name(view.leader());
            return Some(format!("{name} leaves once {leader}, which leads, has stopped what runs here"));
        }
        let silent = view.members.iter().filter(|node| !self.hellos.contains_key(node));
        let silent: Vec<String> = silent.map(|node| self.name(*node)).collect();
        Some(match silent.is_empty() {
            true => format!("{name} leaves once the members agree: the configuration that counts is on its way"),
            false => {
                format!("{name} leaves once the members agree: {} did not say yet what they have", silent.join(", "))
            }
        })
    }

    /// This node may go.
    pub(crate) fn leaving_done(&mut self, effects: &mut Vec<Effect>) {
        for client in std::mem::take(&mut self.clients.leaving) {
            reply(effects, client, Reply::Done);
        }
    }

    pub(crate) fn answer_waiting(&mut self, effects: &mut Vec<Effect>) {
        let due: Vec<u64> =
            self.clients.watching.iter().filter(|(_, after)| self.revision != **after).map(|(c, _)| *c).collect();
        if due.is_empty() {
            return;
        }
        let state = self.cluster_state();
        for client in due {
            self.clients.watching.remove(&client);
            reply(effects, client, Reply::Cluster(Box::new(state.clone())));
        }
    }

    /// Configuration and status as this node knows them.
    pub(crate) fn cib(&mut self) -> hakudo_cib::Document {
        let leader = self.view.as_ref().map(|view| view.leader());
        let leader = leader.map(|node| (node, self.name(node)));
        self.replica.cib(self.quorate(), leader.as_ref().map(|(node, name)| (*node, &**name)))
    }

    /// Configuration and status as this node holds them; none while the members of its view have not agreed on them yet.
    pub fn document(&mut self) -> Option<hakudo_cib::Document> {
        self.synced.then(|| self.cib())
    }

    /// The configuration as this node holds it, and its version; none while the members of its view have not agreed on one.
    pub fn configuration(&self) -> Option<(u64, hakudo_cib::change::Version, &hakudo_cib::Document)> {
        self.synced.then(|| (self.replica.lineage, self.replica.version(), &self.replica.configuration))
    }

    /// The configuration asks for access control lists, which nobody enforces: who is not above them all may do nothing.
    pub fn has_access_lists(&self) -> bool {
        hakudo_cib::access::is_asked_for(&self.replica.configuration, self.wall_time())
    }

    /// What this node knows of the cluster. Links and votes are membership's, and filled in by the daemon.
    pub fn cluster_state(&self) -> ClusterState {
        let members = self.view.as_ref().map(|view| view.members.clone()).unwrap_or_default();
        let known: BTreeSet<NodeId> = self.names.keys().chain(self.replica.status.nodes.keys()).copied().collect();
        let mut alerts: Vec<(Severity, String)> = self.alerts.values().cloned().collect();
        alerts.extend(self.leave_waits_for().map(|text| (Severity::Info, text)));
        alerts.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        ClusterState {
            revision: self.revision,
            local: self.name(self.local),
            stack: "hakudo".to_owned(),
            view: self.view.as_ref().map(|view| view.id),
            leader: self.view.as_ref().map(|view| self.name(view.leader())),
            quorate: self.quorate(),
            ready: self.synced,
            nodes: known
                .into_iter()
                .map(|node| NodeState {
                    id: node.0,
                    name: self.name(node),
                    member: members.contains(&node),
                    version: self.version(node).filter(|_| members.contains(&node)),
                    links: Vec::new(),
                })
                .collect(),
            votes: (0, 0),
            actions_left: self.actions_left,
            settled: self.settled,
            alerts,
            fencing: self.replica.status.fencing.newest_first(),
        }
    }
}

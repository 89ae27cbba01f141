//! A cluster for tests: controllers joined by an ideal total order, with executors and disks that do what a script says.

use crate::command::{Command, Message};
use crate::core_types::{Config, Effect, Input, PersistedState, TicketEffect};
use crate::request::{Change, ChangeOperation, Reply, Request};
use crate::{Controller, ExecutorInput, Known};
use hakudo_base::agent::{AgentCall, AgentName, AgentResult, ExecutionStatus};
use hakudo_base::{Instant, NodeId, UnixTime};
use hakudo_cib::Document;
use hakudo_guard::{Effect as GuardEffect, Guards};
use hakudo_membership::{Delivered, View, ViewId};
use hakudo_scheduler::{Action, ActionKind, NodeRef, ResourceRef, Synapse, Transition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::time::Duration;

/// Asks for a plan: with the snapshot, gives the graph.
pub(crate) type Planner = Box<dyn FnMut(&Document) -> Result<Transition, String>>;

pub(crate) struct Machine {
    pub(crate) controller: Controller,
    pub(crate) disk: Option<PersistedState>,
    pub(crate) disk_refuses: Option<String>,
    /// Resources that run here.
    pub(crate) running: BTreeSet<String>,
    pub(crate) known: BTreeMap<u64, Known>,
    pub(crate) view: Option<View>,
    /// What the executor keeps for the node.
    memory: Vec<u8>,
    /// The executor's.
    pub(crate) guards: Guards,
    /// Its calls.
    own: BTreeSet<u64>,
    /// Inputs of a node process that hangs.
    hung: Option<Vec<Input>>,
}

pub(crate) struct Cluster {
    pub(crate) machines: BTreeMap<u32, Machine>,
    pub(crate) now: Instant,
    epoch: u64,
    /// What each view has still to deliver.
    order: BTreeMap<ViewId, VecDeque<Delivered>>,
    plans: VecDeque<Transition>,
    pub(crate) planner: Option<Planner>,
    /// Exit codes of operations: `rsc start n1`.
    pub(crate) exit_codes: BTreeMap<String, i32>,
    /// Operations that never end: `rsc start n1`.
    pub(crate) hanging: BTreeSet<String>,
    /// Nodes whose disks are slow: writes wait until [`Cluster::release_disks`].
    pub(crate) slow_disks: BTreeSet<u32>,
    /// Nodes whose program cannot read the configuration of others.
    pub(crate) illiterate: BTreeSet<u32>,
    written: Vec<(u32, u64, PersistedState)>,
    /// Executors do not look at the ends of leases.
    pub(crate) guards_sleep: bool,
    /// What was sent to other members of the ticket group.
    pub(crate) sent: Vec<(u32, Vec<u8>)>,
    /// What clients of booth were answered: the node, its client, the bytes, and whether they were the last.
    pub(crate) answers: Vec<(u32, u64, Vec<u8>, bool)>,
    /// How many messages to the ticket group were passed on to the node that speaks.
    pub(crate) passed_on: usize,
    pub(crate) log: String,
    clients: u64,
}

/// A resource's operation and node as scripts write them.
fn spelled(call: &AgentCall, node: u32) -> String {
    match call.interval_ms {
        0 => format!("{} {} n{node}", call.resource, call.operation),
        interval => format!("{} {}/{interval} n{node}", call.resource, call.operation),
    }
}

impl Cluster {
    /// Machines n1…, with nothing on their disks and no view yet.
    pub(crate) fn new(count: u32) -> Self {
        let mut cluster = Self {
            machines: BTreeMap::new(),
            now: Instant::from_millis(1000),
            epoch: 0,
            order: BTreeMap::new(),
            plans: VecDeque::new(),
            planner: None,
            exit_codes: BTreeMap::new(),
            hanging: BTreeSet::new(),
            slow_disks: BTreeSet::new(),
            illiterate: BTreeSet::new(),
            written: Vec::new(),
            guards_sleep: false,
            sent: Vec::new(),
            answers: Vec::new(),
            passed_on: 0,
            log: String::new(),
            clients: 0,
        };
        for number in 1..=count {
            cluster.boot(number, count, None);
        }
        cluster
    }

    /// Machines with an agreed configuration, in one view, everything settled; nothing of that in the log.
    pub(crate) fn settled(count: u32) -> Self {
        let mut cluster = Self::new(count);
        for machine in cluster.machines.values_mut() {
            let state = PersistedState { configuration: configuration(count), lineage: 1, tickets: Default::default() };
            machine.disk = Some(state);
        }
        cluster.epoch = 1;
        for number in 1..=count {
            let disk = cluster.machines.remove(&number).and_then(|machine| machine.disk);
            cluster.boot(number, count, disk);
        }
        let all: Vec<u32> = (1..=count).collect();
        cluster.view(&all);
        cluster.log.clear();
        cluster
    }

    fn boot(&mut self, number: u32, count: u32, disk: Option<PersistedState>) {
        let nodes = (1..=count.max(number)).map(|n| (NodeId(n), format!("n{n}"))).collect();
        let config = Config { node: NodeId(number), nodes, persisted: disk.clone() };
        let machine = Machine {
            controller: Controller::new(config, u64::from(number)),
            disk,
            disk_refuses: None,
            running: BTreeSet::new(),
            known: BTreeMap::new(),
            view: None,
            memory: Vec::new(),
            guards: Guards::new(true),
            own: BTreeSet::new(),
            hung: None,
        };
        self.machines.insert(number, machine);
        self.input(number, Input::Clock(UnixTime::from_seconds(1_700_000_000).into()));
        self.input(
            number,
            Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 0, first_call: 0 }),
        );
    }

    /// The node process starts again; with `keep`, its executor lived on and remembers.
    pub(crate) fn restart(&mut self, number: u32, keep: bool) {
        let count = u32::try_from(self.machines.len()).unwrap();
        let old = self.machines.remove(&number).unwrap();
        let (known, running) = if keep { (old.known, old.running) } else { Default::default() };
        self.boot(number, count, old.disk);
        let machine = self.machines.get_mut(&number).unwrap();
        if keep {
            machine.guards = old.guards;
            machine.memory.clone_from(&old.memory);
        }
        machine.known = known.clone();
        machine.running = running;
        if keep && !old.memory.is_empty() {
            self.input(number, Input::Executor(ExecutorInput::Memory(old.memory)));
        }
        self.input(
            number,
            Input::Executor(ExecutorInput::Connected {
                known: known.into_values().collect(),
                newest_epoch: 0,
                first_call: 0,
            }),
        );
    }

    /// The executor of a node dies and comes back without memory; what runs there runs on.
    pub(crate) fn executor_crash(&mut self, number: u32) {
        let machine = self.machines.get_mut(&number).unwrap();
        machine.known.clear();
        machine.memory.clear();
        machine.guards = Guards::new(true);
        self.input(number, Input::Executor(ExecutorInput::Lost));
        self.input(
            number,
            Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 0, first_call: 0 }),
        );
        self.run();
    }

    pub(crate) fn input(&mut self, number: u32, input: Input) {
        let mut effects = Vec::new();
        let machine = self.machines.get_mut(&number).unwrap();
        if let Some(inputs) = &mut machine.hung {
            return inputs.push(input);
        }
        machine.controller.handle(self.now, input, &mut effects);
        for effect in effects {
            self.carry_out(number, effect);
        }
    }

    /// The process of a node hangs: it hears nothing, and its executor goes on alone.
    pub(crate) fn hang(&mut self, number: u32) {
        self.machines.get_mut(&number).unwrap().hung = Some(Vec::new());
    }

    /// It goes on, and hears what it did not hear.
    pub(crate) fn go_on(&mut self, number: u32) {
        for input in self.machines.get_mut(&number).unwrap().hung.take().unwrap_or_default() {
            self.input(number, input);
        }
    }

    /// The members get a new view, quorate where they are more than half of all; then all runs until nothing moves.
    pub(crate) fn view(&mut self, members: &[u32]) {
        let quorate = members.len() * 2 > self.machines.len();
        self.view_as(members, &[], quorate, true);
        self.run();
    }

    pub(crate) fn view_as(&mut self, members: &[u32], left: &[u32], quorate: bool, exclusive: bool) {
        self.epoch += 1;
        let id = ViewId { epoch: self.epoch, leader: members[0] };
        let former = |number: &u32| self.machines[number].view.as_ref().map(|view| view.id);
        let together = |number: &u32| match former(number) {
            Some(view) => members.iter().filter(|other| former(other) == Some(view)).map(|n| NodeId(*n)).collect(),
            None => vec![NodeId(*number)],
        };
        let view = |number: &u32| View {
            id,
            members: members.iter().map(|n| NodeId(*n)).collect(),
            together: together(number),
            left: left.iter().map(|n| NodeId(*n)).collect(),
            quorate,
            exclusive,
        };
        let views: Vec<(u32, View)> = members.iter().map(|number| (*number, view(number))).collect();
        for (number, view) in &views {
            self.machines.get_mut(number).unwrap().view = Some(view.clone());
        }
        for (number, view) in views {
            self.input(number, Input::View(view));
        }
    }

    /// Delivers until nothing moves.
    pub(crate) fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.deliver_one() {
                return;
            }
        }
        panic!("the cluster never comes to rest:\n{}", self.log);
    }

    /// Delivers the next message of the newest view; false where there is none.
    pub(crate) fn deliver_one(&mut self) -> bool {
        let mut views: BTreeSet<ViewId> = BTreeSet::new();
        views.extend(self.machines.values().filter_map(|machine| machine.view.as_ref().map(|view| view.id)));
        for id in views.into_iter().rev() {
            let Some(delivered) = self.order.get_mut(&id).and_then(VecDeque::pop_front) else { continue };
            let in_view = |machine: &Machine| machine.view.as_ref().is_some_and(|view| view.id == id);
            let members: Vec<u32> =
                self.machines.iter().filter(|(_, machine)| in_view(machine)).map(|(number, _)| *number).collect();
            self.now += Duration::from_millis(1);
            for number in members {
                let mut delivered = delivered.clone();
                if self.illiterate.contains(&number) {
                    delivered.payload = from_the_future(delivered.payload);
                }
                self.input(number, Input::Deliver(delivered));
            }
            return true;
        }
        false
    }

    /// Lets time pass, with every timer that falls due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            self.run();
            let all = self.machines.iter();
            let awake = all.clone().filter(|(_, machine)| machine.hung.is_none());
            let due = awake.filter_map(|(number, m)| Some((m.controller.deadline()?, *number, false)));
            let guards = all.filter(|_| !self.guards_sleep);
            let guards = guards.filter_map(|(number, m)| Some((m.guards.deadline()?, *number, true)));
            let Some((at, number, of_guard)) = due.chain(guards).min().filter(|(at, ..)| *at <= end) else {
                self.now = self.now.max(end);
                return;
            };
            self.now = self.now.max(at);
            if of_guard {
                self.guard(number, |guards, now, effects| guards.timer(now, effects));
            } else {
                self.input(number, Input::Timer);
            }
        }
        panic!("timers never end:\n{}", self.log);
    }

    fn carry_out(&mut self, number: u32, effect: Effect) {
        match effect {
            Effect::Broadcast(payload) => {
                let is_passed_on =
                    |command: &&Command| matches!(command, Command::TicketHeard(_) | Command::TicketClient { .. });
                let commands = postcard::from_bytes::<Message>(&payload).map(|message| message.commands);
                self.passed_on += commands.iter().flatten().filter(is_passed_on).count();
                let view = self.machines[&number].view.as_ref().map(|view| view.id);
                if let Some(view) = view {
                    self.order.entry(view).or_default().push_back(Delivered { from: NodeId(number), payload });
                }
            }
            Effect::Persist { token, state } if self.slow_disks.contains(&number) => {
                self.written.push((number, token, state));
            }
            Effect::Persist { token, state } => {
                let machine = self.machines.get_mut(&number).unwrap();
                let result = machine.disk_refuses.clone().map_or(Ok(()), Err);
                if result.is_ok() {
                    machine.disk = Some(state);
                }
                self.input(number, Input::Persisted { token, result });
            }
            Effect::KeepAside { reason, .. } => {
                self.line(format_args!("n{number} keeps its configuration aside: {reason}"))
            }
            Effect::Execute { call, note } => self.execute(number, call, note),
            Effect::Guard(order) => {
                let sleeps = self.guards_sleep;
                self.guard(number, |guards, now, effects| {
                    guards.order(if sleeps { Instant::ZERO } else { now }, order, effects)
                });
            }
            Effect::Cancel { call, .. } => {
                if let Some(known) = self.machines.get_mut(&number).unwrap().known.remove(&call) {
                    self.line(format_args!("n{number} cancels {}", spelled(&known.call, number)));
                }
            }
            Effect::Remember { memory } => self.machines.get_mut(&number).unwrap().memory = memory,
            Effect::Forget { resource } => {
                self.machines.get_mut(&number).unwrap().known.retain(|_, known| known.call.resource != resource);
            }
            Effect::Plan { token, cib, .. } => {
                let result = match &mut self.planner {
                    Some(planner) => planner(&cib),
                    None => Ok(self.plans.pop_front().unwrap_or_default()),
                };
                self.input(number, Input::Planned { token, result: result.map(Box::new) });
            }
            Effect::Reply { client, reply } => {
                let text = match *reply {
                    Reply::Done => "done".to_owned(),
                    Reply::Refused { kind, reason } => format!("refused ({kind:?}): {reason}"),
                    Reply::Unknown { reason } => format!("not known: {reason}"),
                    other => format!("{other:?}"),
                };
                self.line(format_args!("n{number} answers client {client}: {text}"));
            }
            Effect::Tickets(TicketEffect::Send { to, bytes }) => self.sent.push((to, bytes)),
            Effect::Tickets(TicketEffect::Speak(speaks)) => {
                let word = if speaks { "speaks for the site" } else { "does not speak any more" };
                self.line(format_args!("n{number} {word}"));
            }
            Effect::Tickets(TicketEffect::Answer { client, bytes, last }) => {
                self.answers.push((number, client, bytes, last));
            }
            Effect::Tickets(TicketEffect::Check(_)) => {}
            Effect::Fenced(node) => self.line(format_args!("n{number} tells membership that n{node} is dead")),
            Effect::StopAtOnce { reset } => self.line(format_args!("n{number} stops at once, reset: {reset}")),
            Effect::Leave => self.line(format_args!("n{number} leaves")),
            Effect::Event(event) if number == self.witness() => {
                self.line(format_args!("[{}] {}", event.kind, event.text));
            }
            Effect::Event(_) => {}
        }
    }

    /// The executor's guard is told something, and does what it must.
    fn guard(&mut self, number: u32, tell: impl FnOnce(&mut Guards, Instant, &mut Vec<GuardEffect>)) {
        let mut effects = Vec::new();
        tell(&mut self.machines.get_mut(&number).unwrap().guards, self.now, &mut effects);
        for effect in effects {
            match effect {
                GuardEffect::Over { ticket, .. } => {
                    self.line(format_args!("the guard of n{number} ends the lease of {ticket}"))
                }
                GuardEffect::Run { call, note } => {
                    self.machines.get_mut(&number).unwrap().own.insert(call.call);
                    self.execute(number, call, note);
                }
                GuardEffect::Acted => {
                    let known: Vec<Known> = self.machines[&number].known.values().cloned().collect();
                    let own = self.machines[&number].own.iter().copied().collect();
                    self.input(number, Input::Executor(ExecutorInput::Acted { known, own }));
                }
                GuardEffect::Reset { reason } => self.line(format_args!("n{number} is reset: {reason}")),
            }
        }
    }

    /// The node whose events go into the log: all nodes have the same.
    fn witness(&self) -> u32 {
        let newest = self.machines.values().filter_map(|m| m.view.as_ref()).max_by_key(|view| view.id);
        newest.map_or(1, |view| view.id.leader)
    }

    pub(crate) fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.log, "{text}");
    }

    fn execute(&mut self, number: u32, call: AgentCall, note: Vec<u8>) {
        let name = spelled(&call, number);
        let machine = self.machines.get_mut(&number).unwrap();
        if let Some(reason) = machine.guards.refuses(self.now, &call).filter(|_| !self.guards_sleep) {
            let result = refused(call.call, &reason);
            self.line(format_args!("n{number} does not run {name}: {reason}"));
            return self.input(number, Input::Executor(ExecutorInput::Result(result)));
        }
        let machine = self.machines.get_mut(&number).unwrap();
        // Calls of fence agents have no note, and none of them ends another.
        if call.interval_ms == 0 && !note.is_empty() {
            machine.known.retain(|_, known| known.call.resource != call.resource || known.call.interval_ms > 0);
        }
        machine.known.insert(call.call, Known { call: call.clone(), note, result: None });
        if self.hanging.contains(&name) {
            return;
        }
        let runs = machine.running.contains(&call.resource);
        let exit_code = self.exit_codes.get(&name).copied().unwrap_or(match &*call.operation {
            "monitor" if !runs && call.agent.class != "stonith" => 7,
            _ => 0,
        });
        match &*call.operation {
            "start" if exit_code == 0 => {
                machine.running.insert(call.resource.clone());
            }
            "stop" if exit_code == 0 => {
                machine.running.remove(&call.resource);
            }
            _ => {}
        }
        self.line(format_args!("n{number} runs {name}: {exit_code}"));
        self.answer(number, call.call, exit_code);
    }

    /// A call ends (or a recurring one ends differently).
    pub(crate) fn answer(&mut self, number: u32, call: u64, exit_code: i32) {
        let result = AgentResult {
            exec_time_ms: 5,
            finished: 1_700_000_000 + i64::try_from(self.now.as_millis() / 1000).unwrap(),
            ..AgentResult::new(call, ExecutionStatus::Done, exit_code)
        };
        let machine = self.machines.get_mut(&number).unwrap();
        if let Some(known) = machine.known.get_mut(&call) {
            known.result = Some(result.clone());
        }
        if machine.own.contains(&call) {
            return self.guard(number, |guards, now, effects| guards.ended(now, &result, effects));
        }
        self.input(number, Input::Executor(ExecutorInput::Result(result)));
    }

    /// The recurring operation of a resource on a node ends differently.
    pub(crate) fn recurring(&mut self, number: u32, resource: &str, exit_code: i32) {
        let fits = |known: &&Known| known.call.resource == resource && known.call.interval_ms > 0;
        let call = self.machines[&number].known.values().find(fits).map(|known| known.call.call);
        self.answer(number, call.expect("the resource has a recurring operation"), exit_code);
        self.run();
    }

    /// What hangs ends at last.
    pub(crate) fn unhang(&mut self, name: &str, exit_code: i32) {
        self.hanging.remove(name);
        let open: Vec<(u32, u64)> = self
            .machines
            .iter()
            .flat_map(|(number, m)| m.known.values().filter(|k| k.result.is_none()).map(|k| (*number, k.call.clone())))
            .filter(|(number, call)| spelled(call, *number) == name)
            .map(|(number, call)| (number, call.call))
            .collect();
        for (number, call) in open {
            self.answer(number, call, exit_code);
        }
        self.run();
    }

    /// The oldest call that hangs under this name ends at last, and that alone.
    pub(crate) fn end_oldest(&mut self, name: &str, exit_code: i32) {
        let hangs = |number: u32, known: &Known| known.result.is_none() && spelled(&known.call, number) == name;
        let mut calls = self.machines.iter().flat_map(|(number, m)| m.known.values().map(|known| (*number, known)));
        let found =
            calls.find(|(number, known)| hangs(*number, known)).map(|(number, known)| (number, known.call.call));
        let (number, call) = found.expect("something hangs");
        self.answer(number, call, exit_code);
        self.run();
    }

    /// What slow disks were given is on them at last.
    pub(crate) fn release_disks(&mut self) {
        self.slow_disks.clear();
        for (number, token, state) in std::mem::take(&mut self.written) {
            self.machines.get_mut(&number).unwrap().disk = Some(state);
            self.input(number, Input::Persisted { token, result: Ok(()) });
        }
    }

    /// The oldest call that hangs under this name: its number at its executor.
    pub(crate) fn hanging_call(&self, number: u32, name: &str) -> u64 {
        let hangs = |known: &&Known| known.result.is_none() && spelled(&known.call, number) == name;
        self.machines[&number].known.values().find(hangs).expect("something hangs").call.call
    }

    /// A member of the view says something that this node's own program would not say.
    pub(crate) fn forge(&mut self, from: u32, to: &[u32], command: Command) {
        let view = self.machines[&from].view.as_ref().map(|view| view.id).unwrap_or_default();
        let message = Message { view, numbers: vec![u64::MAX], commands: vec![command] };
        let payload = postcard::to_stdvec(&message).unwrap();
        for number in to {
            self.input(*number, Input::Deliver(Delivered { from: NodeId(from), payload: payload.clone() }));
        }
    }

    /// Every node's configuration gets a fence device for all nodes, and a view after that knows it.
    pub(crate) fn add_fence_device(&mut self) {
        let hosts = self.machines.keys().map(|n| format!("n{n}")).collect::<Vec<_>>().join(" ");
        let xml = format!(
            "<primitive id='fence1' class='stonith' type='fence_dummy'><instance_attributes id='f'>\
             <nvpair id='f-hosts' name='pcmk_host_list' value='{hosts}'/></instance_attributes></primitive>"
        );
        let operations = vec![ChangeOperation::Create { parent: "/cib/configuration/resources".to_owned(), xml }];
        self.ask(1, Request::Change(Change { operations, if_version: None, force: false }));
        self.run();
        self.log.clear();
    }

    /// A client of a node asks.
    pub(crate) fn ask(&mut self, number: u32, request: Request) {
        self.clients += 1;
        self.input(number, Input::Request { client: self.clients, user: "root".to_owned(), request });
    }

    /// The next plans of the leader, each a graph with a line a step: `1 start A n1`, `2 monitor/10000 A n1 after 1`.
    pub(crate) fn plans(&mut self, plans: &[&str]) {
        self.plans.extend(plans.iter().map(|text| graph(text)));
    }

    /// Something changes that makes the leader think again.
    pub(crate) fn nudge(&mut self) {
        let node = *self.machines.keys().next().unwrap();
        let leader = self.machines[&node].controller.view.as_ref().map_or(node, |view| view.id.leader);
        let nodes = self.machines[&leader].controller.names.clone();
        self.input(leader, Input::Nodes(nodes));
        self.run();
    }

    /// The members of each view hold the same document; that of the newest view.
    pub(crate) fn same_document(&mut self) -> String {
        let mut views: BTreeMap<Option<ViewId>, BTreeSet<String>> = BTreeMap::new();
        for machine in self.machines.values_mut() {
            let view = machine.view.as_ref().map(|view| view.id);
            if !machine.controller.synced {
                continue;
            }
            views.entry(view).or_default().insert(machine.controller.cib().to_xml());
        }
        for (view, documents) in &views {
            let alone = view.is_none();
            assert!(alone || documents.len() == 1, "members of {view:?} hold different documents: {documents:#?}");
        }
        views.into_values().next_back().and_then(|documents| documents.into_iter().next()).unwrap_or_default()
    }

    pub(crate) fn take_log(&mut self) -> String {
        std::mem::take(&mut self.log)
    }
}

fn refused(call: u64, reason: &str) -> AgentResult {
    AgentResult { exit_reason: reason.to_owned(), ..AgentResult::new(call, ExecutionStatus::Refused, 193) }
}

/// A message in which the configuration to be taken over is one of a later program.
fn from_the_future(payload: Vec<u8>) -> Vec<u8> {
    let Ok(mut message) = postcard::from_bytes::<Message>(&payload) else { return payload };
    for command in &mut message.commands {
        if let Command::Sync(sync) = command {
            sync.configuration = sync.configuration.replace("pacemaker-4.0", "pacemaker-9.0");
        }
    }
    postcard::to_stdvec(&message).unwrap()
}

/// A configuration of `count` nodes.
pub(crate) fn configuration(count: u32) -> String {
    let nodes: String = (1..=count).map(|n| format!("<node id='{n}' uname='n{n}'/>")).collect();
    format!(
        "<cib validate-with='pacemaker-4.0' admin_epoch='0' epoch='1' num_updates='0'><configuration><crm_config/>\
         <nodes>{nodes}</nodes><resources/><constraints/></configuration></cib>"
    )
}

/// A change that adds a resource.
pub(crate) fn add(id: &str) -> Request {
    let xml = format!("<primitive id='{id}' class='ocf' provider='hakudo' type='Dummy'/>");
    let operations = vec![ChangeOperation::Create { parent: "/cib/configuration/resources".to_owned(), xml }];
    Request::Change(Change { operations, if_version: None, force: false })
}

/// A change that adds a resource with a recurring monitor.
pub(crate) fn add_monitored(id: &str) -> Request {
    let xml = format!(
        "<primitive id='{id}' class='ocf' provider='hakudo' type='Dummy'>\
         <operations><op id='{id}-monitor' name='monitor' interval='10s'/></operations></primitive>"
    );
    let operations = vec![ChangeOperation::Create { parent: "/cib/configuration/resources".to_owned(), xml }];
    Request::Change(Change { operations, if_version: None, force: false })
}

/// A graph from a line a step: `1 start A n1 [name=value …] [after 2 3]`.
pub(crate) fn graph(text: &str) -> Transition {
    let steps = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let synapses = steps.enumerate().map(|(id, line)| step(u32::try_from(id).unwrap(), line)).collect();
    Transition { cluster_delay_ms: 60_000, synapses, ..Transition::default() }
}

fn step(id: u32, line: &str) -> Synapse {
    let (words, inputs) = line.split_once(" after ").unwrap_or((line, ""));
    let mut words = words.split_whitespace();
    let number = words.next().unwrap().parse().unwrap();
    let (task, interval) = words.next().map(|word| word.split_once('/').unwrap_or((word, "0"))).unwrap();
    let mut attributes = BTreeMap::from([("CRM_meta_timeout".to_owned(), "20000".to_owned())]);
    if interval != "0" {
        attributes.insert("CRM_meta_interval".to_owned(), interval.to_owned());
    }
    let mut names = Vec::new();
    let mut priority = 0;
    for word in words {
        match word.split_once('=') {
            Some(("priority", value)) => priority = value.parse().unwrap(),
            Some((name, value)) => {
                attributes.insert(name.to_owned(), value.to_owned());
            }
            None => names.push(word.to_owned()),
        }
    }
    let node = |name: &str| NodeRef { id: name.trim_start_matches('n').to_owned(), name: name.to_owned() };
    let resource = |name: &str| ResourceRef {
        id: name.to_owned(),
        long_id: None,
        agent: AgentName {
            class: if name.starts_with("fence") { "stonith" } else { "ocf" }.to_owned(),
            provider: (!name.starts_with("fence")).then(|| "hakudo".to_owned()),
            kind: "Dummy".to_owned(),
        },
    };
    let kind = match (task, &names[..]) {
        ("stonith" | "do_shutdown", [at]) => ActionKind::Cluster { node: node(at), router: None, resource: None },
        ("clear_failcount", [of, at]) => {
            ActionKind::Cluster { node: node(at), router: None, resource: Some(resource(of)) }
        }
        (_, [of, at]) => ActionKind::Resource { node: node(at), router: None, resource: resource(of) },
        _ => ActionKind::Pseudo,
    };
    let key = format!("{}_{task}_{interval}", names.first().map_or("", String::as_str));
    let action = Action {
        id: number,
        key,
        task: task.to_owned(),
        kind,
        internal_key: None,
        attributes,
        downed: Vec::new(),
        maintenance: Vec::new(),
        shutdown_lock: None,
        reason: String::new(),
    };
    let inputs = inputs.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Synapse { id, priority, action, inputs }
}

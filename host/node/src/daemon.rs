//! The node: drives the controller, and carries its effects between membership, executor, disk, scheduler and clients.
//!
//! There is one loop. It takes one input at a time, hands it to the controller, and carries out what the controller asks
//! for, in order. Nothing in it waits: disk, scheduler, membership and executor are other threads or processes, whose
//! answers come back as inputs.

use crate::clock;
use crate::config::NodeConfig;
use crate::disk::{self, Job, Persisted};
use crate::history::History;
use crate::links::Links;
use crate::local::{self, Asked};
use crate::planner::{self, Answer, Question};
use crate::recording::{Draft, Header, Recorder};
use crate::storage::Storage;
use crate::tickets::Tickets;
use crate::wire::{self, Membership, Told};
use anyhow::{Context, Result, bail};
use hakudo_base::agent::ExecutorInput;
use hakudo_base::{NodeId, Severity};
use hakudo_controller::request::{Event, QuorumOverride, Refusal, RefusalKind, Reply, Request};
use hakudo_controller::{Controller, Effect, Input, TicketInput};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The calendar clock was set if it moved this much against the monotonic one.
const CLOCK_JUMP_MS: u64 = 100;

/// The name of the file whose lock tells that a node runs here.
const LOCK: &str = "node.lock";

/// Runs a node until it has left the cluster (on TERM or INT, or because a client asked it to).
///
/// # Errors
/// Where it cannot start, or cannot go on.
pub fn run(config: &NodeConfig) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (node, inbox) = Node::start(config)?;
        node.run(inbox).await
    })
}

/// Where inputs come from.
struct Inbox {
    told: mpsc::UnboundedReceiver<Told>,
    executor: mpsc::UnboundedReceiver<ExecutorInput>,
    asked: mpsc::UnboundedReceiver<Asked>,
    persisted: mpsc::UnboundedReceiver<Persisted>,
    answers: mpsc::UnboundedReceiver<Answer>,
    tickets: mpsc::UnboundedReceiver<TicketInput>,
}

struct Node {
    config: NodeConfig,
    controller: Controller,
    membership: Membership,
    executor: hakudo_executor::Client,
    disk: Sender<Job>,
    planner: Sender<Question>,
    links: Links,
    tickets: Tickets,
    clients: BTreeMap<u64, mpsc::UnboundedSender<Reply>>,
    next_client: u64,
    effects: Vec<Effect>,
    /// Lineage and version of the configuration in which the group of tickets was looked for.
    looked_at: Option<(u64, hakudo_cib::change::Version)>,
    /// What the calendar clock showed more than the monotonic one when the controller was last told, in milliseconds.
    clock_offset: Option<(i64, i32)>,
    /// The zone of this machine. It is in files, which are not looked at while the node works.
    zone: TimeZone,
    /// Held as long as the node runs.
    _lock: File,
}

/// How the loop goes on after an input.
enum Next {
    Go,
    Stop,
}

impl Node {
    fn start(config: &NodeConfig) -> Result<(Self, Inbox)> {
        config.make_runtime_dir()?;
        let lock = lock(config)?;
        let storage = Storage::open(&config.state_dir)?;
        let history = History::open(&config.state_dir.join("events.redb"))?;
        let persisted = storage.load(disk::CONFIGURATION)?;
        let (told_to, told) = mpsc::unbounded_channel();
        let (asked_to, asked) = mpsc::unbounded_channel();
        let (persisted_to, persisted_queue) = mpsc::unbounded_channel();
        let (answers_to, answers) = mpsc::unbounded_channel();
        let membership = wire::start(config, storage.clone(), told_to)?;
        let header = Header {
            program: env!("CARGO_PKG_VERSION").into(),
            node: NodeId(config.local().id),
            nodes: config.nodes.iter().map(|node| (NodeId(node.id), node.name.clone())).collect(),
            persisted,
            seed: u64::from(std::process::id()) ^ clock::now().as_nanos(),
            begun_ms: clock::unix_time().millis(),
        };
        let recorder = Recorder::begin(&config.state_dir.join("recordings"), &header);
        let disk = disk::start(storage, history, recorder, persisted_to)?;
        let planner = planner::start(answers_to)?;
        let (executor, executor_inputs) = hakudo_executor::Client::start(&config.executor_socket());
        local::serve(&config.socket(), &config.admin_group, asked_to)?;
        let (tickets, ticket_inputs) = Tickets::start(config)?;
        let node = Self {
            config: config.clone(),
            controller: header.controller(),
            membership,
            executor,
            disk,
            planner,
            links: Links::new(config),
            tickets,
            clients: BTreeMap::new(),
            next_client: 0,
            effects: Vec::new(),
            looked_at: None,
            clock_offset: None,
            zone: TimeZone::system(),
            _lock: lock,
        };
        let inbox = Inbox {
            told,
            executor: executor_inputs,
            asked,
            persisted: persisted_queue,
            answers,
            tickets: ticket_inputs,
        };
        Ok((node, inbox))
    }

    async fn run(mut self, mut inbox: Inbox) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut reload = signal(SignalKind::hangup())?;
        let mut leaving = false;
        loop {
            self.tell_clock();
            let timer = self.controller.deadline().map(|deadline| deadline.since(clock::now()));
            let next = tokio::select! {
                biased;
                told = inbox.told.recv() => self.told(told.context(ended("membership"))?)?,
                input = inbox.executor.recv() => self.handle(Input::Executor(input.context(ended("executor"))?)),
                persisted = inbox.persisted.recv() => {
                    let Persisted { token, result } = persisted.context(ended("disk"))?;
                    self.handle(Input::Persisted { token, result })
                }
                answer = inbox.answers.recv() => {
                    let Answer { token, result } = answer.context(ended("planner"))?;
                    self.handle(Input::Planned { token, result })
                }
                input = inbox.tickets.recv() => self.handle(Input::Tickets(input.context(ended("tickets"))?)),
                asked = inbox.asked.recv() => self.asked(asked.context(ended("local socket"))?),
                () = tokio::time::sleep(timer.unwrap_or(Duration::MAX)), if timer.is_some() => self.handle(Input::Timer),
                _ = reload.recv() => {
                    if let Err(error) = self.reload() {
                        tracing::error!("the configuration stays as it is: {error:#}");
                    }
                    Next::Go
                }
                _ = terminate.recv() => self.told_to_end(&mut leaving)?,
                _ = interrupt.recv() => self.told_to_end(&mut leaving)?,
            };
            if matches!(next, Next::Stop) {
                return Ok(());
            }
        }
    }

    /// The first signal asks for a clean stop, the second one ends the node as it is.
    fn told_to_end(&mut self, leaving: &mut bool) -> Result<Next> {
        if *leaving {
            bail!("told to end again before the resources of this node were stopped: they go on");
        }
        *leaving = true;
        tracing::info!("stopping the resources of this node, then leaving; a second signal ends it at once");
        Ok(self.leave())
    }

    /// A clean stop, as if a client had asked for it.
    fn leave(&mut self) -> Next {
        let (answer, _) = mpsc::unbounded_channel();
        self.asked(Asked { user: "root".into(), above_lists: true, request: Request::Leave, answer })
    }

    fn tell_clock(&mut self) {
        let wall = clock::wall_time(&self.zone);
        let offset = wall.time.millis() - i64::try_from(clock::now().as_millis()).unwrap_or(i64::MAX);
        let stays = |(known, zone): (i64, i32)| known.abs_diff(offset) <= CLOCK_JUMP_MS && zone == wall.utc_offset;
        if !self.clock_offset.is_some_and(stays) {
            self.clock_offset = Some((offset, wall.utc_offset));
            self.handle(Input::Clock(wall));
        }
    }

    fn told(&mut self, told: Told) -> Result<Next> {
        match told {
            Told::View(view) => {
                self.executor.enter_epoch(view.id.epoch);
                Ok(self.handle(Input::View(view)))
            }
            Told::Deliver(delivered) => Ok(self.handle(Input::Deliver(delivered))),
            Told::Undelivered => Ok(self.handle(Input::Undelivered)),
            Told::Event(event) => {
                self.links.note(&event);
                let event = self.links.tell(&event, clock::unix_time());
                self.record(event);
                Ok(Next::Go)
            }
            Told::Left => Ok(Next::Stop),
            Told::Failed(reason) => bail!("membership cannot go on: {reason}"),
        }
    }

    fn asked(&mut self, asked: Asked) -> Next {
        if !asked.above_lists
            && self.controller.has_access_lists()
            && let Some(refusal) = local::refused_by_lists(&asked)
        {
            // The client may have gone.
            let _ = asked.answer.send(refusal);
            return Next::Go;
        }
        if let Request::Events { after, limit } = asked.request {
            self.to_disk(Job::Read { after, limit, answer: asked.answer });
            return Next::Go;
        }
        let direct = match asked.request {
            Request::Reload => Some(self.reload()),
            Request::Quorum(rule)
                if !(rule == QuorumOverride::CancelWaitForAll && self.controller.misses_somebody()) =>
            {
                self.membership.ask(hakudo_membership::Input::Quorum(overriding(rule)));
                Some(Ok(()))
            }
            _ => None,
        };
        if let Some(result) = direct {
            let refused = |error: anyhow::Error| Refusal::new(RefusalKind::Malformed, format!("{error:#}")).into();
            let reply = result.map_or_else(refused, |()| Reply::Done);
            // The client may have gone.
            let _ = asked.answer.send(reply);
            return Next::Go;
        }
        self.forget_who_is_gone();
        self.next_client += 1;
        self.clients.insert(self.next_client, asked.answer);
        self.handle(Input::Request { client: self.next_client, user: asked.user, request: asked.request })
    }

    /// Takes the node list, votes, quorum options and times from the configuration file as it is now.
    fn reload(&mut self) -> Result<()> {
        let config = self.config.reload()?;
        self.zone = TimeZone::system();
        self.membership.configure(config.membership()?, wire::addresses(&config)?);
        self.links.configure(&config);
        self.tickets.configure(&config)?;
        let names = config.nodes.iter().map(|node| (NodeId(node.id), node.name.clone())).collect();
        tracing::info!("{} was read again: {} nodes", config.file.display(), config.nodes.len());
        self.config = config;
        self.handle(Input::Nodes(names));
        Ok(())
    }

    /// Clients that closed their end wait for nothing any more.
    fn forget_who_is_gone(&mut self) {
        let is_gone = |(client, answer): (&u64, &mpsc::UnboundedSender<Reply>)| answer.is_closed().then_some(*client);
        let gone: Vec<u64> = self.clients.iter().filter_map(is_gone).collect();
        for client in gone {
            self.clients.remove(&client);
            self.handle(Input::Gone { client });
        }
    }

    fn handle(&mut self, input: Input) -> Next {
        let mut effects = std::mem::take(&mut self.effects);
        let now = clock::now();
        let draft = Draft::new(now, &input);
        self.controller.handle(now, input, &mut effects);
        if let Some(record) = draft.finish(&effects) {
            self.to_disk(Job::Record(record));
        }
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
        self.look_for_tickets();
        Next::Go
    }

    /// Takes the group of tickets from the configuration, whenever that is another one.
    fn look_for_tickets(&mut self) {
        let Some((lineage, version, configuration)) = self.controller.configuration() else { return };
        if self.looked_at.replace((lineage, version)) == Some((lineage, version)) {
            return;
        }
        if let Err(error) = self.tickets.take_from_cib(&self.config, configuration) {
            self.record(Event {
                number: 0,
                time_ms: clock::unix_time().millis(),
                severity: Severity::Error,
                kind: "ticket-group".to_owned(),
                node: None,
                resource: None,
                took_ms: None,
                text: format!("the group of tickets stays as it is: {error:#}"),
            });
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Broadcast(payload) => self.membership.ask(hakudo_membership::Input::Broadcast(payload)),
            Effect::Persist { token, state } => self.to_disk(Job::Persist { token, state }),
            Effect::KeepAside { configuration, reason } => self.to_disk(Job::SetAside { configuration, reason }),
            Effect::Execute { call, note } => self.executor.execute(call, note),
            Effect::Cancel { call, epoch } => self.executor.cancel(call, epoch),
            Effect::Remember { memory } => self.executor.remember(memory),
            Effect::Forget { resource } => self.executor.forget(resource),
            Effect::Guard(order) => self.executor.guard(order),
            Effect::Plan { token, cib, now } => {
                // The thread ends only with the node.
                let _ = self.planner.send(Question { token, cib, now });
            }
            Effect::Reply { client, reply } => {
                let waiting =
                    if reply.is_final() { self.clients.remove(&client) } else { self.clients.get(&client).cloned() };
                if let Some(answer) = waiting {
                    let reply = self.links.complete(*reply);
                    // The client may have gone.
                    let _ = answer.send(reply);
                }
            }
            Effect::Fenced(node) => self.membership.ask(hakudo_membership::Input::Fenced(node)),
            Effect::StopAtOnce { reset } => stop_at_once(reset),
            Effect::Leave => self.membership.ask(hakudo_membership::Input::Leave),
            Effect::Tickets(effect) => self.tickets.carry_out(effect),
            Effect::Event(event) => self.record(event),
        }
    }

    fn record(&self, event: Event) {
        match event.severity {
            Severity::Info => tracing::info!(kind = event.kind, "{}", event.text),
            Severity::Warning => tracing::warn!(kind = event.kind, "{}", event.text),
            Severity::Error => tracing::error!(kind = event.kind, "{}", event.text),
        }
        self.to_disk(Job::Event(event));
    }

    fn to_disk(&self, job: Job) {
        // The thread ends only with the node.
        let _ = self.disk.send(job);
    }
}

fn overriding(rule: QuorumOverride) -> hakudo_membership::QuorumOverride {
    match rule {
        QuorumOverride::ExpectedVotes { votes } => hakudo_membership::QuorumOverride::SetExpectedVotes(votes),
        QuorumOverride::CancelWaitForAll => hakudo_membership::QuorumOverride::CancelWaitForAll,
    }
}

/// Why the node ends when a part of it does: without one of them it would only seem to work, and a service manager
/// starts it again.
fn ended(part: &str) -> String {
    format!("the thread of {part} ended")
}

/// The exit code of a node that was fenced and is alive (Pacemaker's `CRM_EX_FATAL`): a service manager must not start it again.
const FENCED: i32 = 100;

/// Ends the process as it is; resets the machine before, where that is wanted and this process may.
fn stop_at_once(reset: bool) {
    if reset && let Err(error) = std::fs::write("/proc/sysrq-trigger", "b") {
        tracing::error!("the machine cannot be reset, and only the node ends: {error}");
    }
    std::process::exit(FENCED);
}

/// Makes sure that this is the only node that runs here.
fn lock(config: &NodeConfig) -> Result<File> {
    let place = config.runtime_dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&place)
        .with_context(|| format!("cannot open {}", place.display()))?;
    file.try_lock().with_context(|| format!("another node runs already: it holds {}", place.display()))?;
    Ok(file)
}

//! The executor's one thread: clients, running agents and the clock, all brought to [`Operations`].

use crate::classes::{self, Launch, Outcome, UnitCall};
use crate::clock;
use crate::declared::Declarations;
use crate::journal::Journal;
use crate::operations::{Effect, Input, Operations};
use crate::process;
use crate::protocol::{self, Command, Message};
use crate::watchdog::Watchdog;
use crate::{Config, unix_seconds};
use anyhow::Context;
use hakudo_base::agent::{AgentCall, AgentName, AgentResult, ExecutionStatus, ExecutorInput, exit_code};
use hakudo_guard::{Effect as GuardEffect, Guards};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a group has to end itself after TERM.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks at a resource that is on its way to a state.
const POLL: Duration = Duration::from_millis(250);
/// How long meta-data that a client asks for may take.
const METADATA_TIMEOUT_MS: u64 = 30_000;
/// Messages that may wait for a client to read them; one that lets more wait is cut off, and gets all of it anew when it
/// connects again.
const CLIENT_QUEUE: usize = 4096;
/// Stands for "no limit": a timeout of 0, or one that nobody will live to see.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes the socket: only its owner may connect.
///
/// # Errors
/// Another executor listens there, or the place can not be used.
pub(crate) fn bind(config: &Config) -> anyhow::Result<StdListener> {
    let path = &config.socket;
    let place = || format!("the executor's socket {}", path.display());
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another executor listens on {}: stop it first, or configure another socket", path.display());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(place),
        _ => {}
    }
    let listener = StdListener::bind(path).with_context(place)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(place)?;
    if let Some(user) = config.node_user
        && user != rustix::process::getuid().as_raw()
    {
        std::os::unix::fs::chown(path, Some(user), None).with_context(place)?;
    }
    listener.set_nonblocking(true).with_context(place)?;
    Ok(listener)
}

/// Serves clients for ever.
pub(crate) async fn serve(listener: StdListener, config: Config, journal: Arc<Journal>) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let (happenings, mut queue) = mpsc::unbounded_channel();
    let limit = config.action_limit.unwrap_or_else(default_action_limit);
    let watchdog = Watchdog::new(config.watchdog.clone(), config.reset_trigger.clone());
    let mut server = Server {
        runner: Arc::new(Runner { config, journal }),
        operations: Operations::new(limit),
        declarations: Arc::default(),
        guards: Guards::new(watchdog.may_reset()),
        watchdog,
        own: BTreeSet::new(),
        runs: BTreeMap::new(),
        attached: None,
        memory: Vec::new(),
        happenings,
        clients: 0,
    };
    loop {
        server.look_at_leases();
        let due = server.sleep();
        tokio::select! {
            Some(happening) = queue.recv() => server.take(happening),
            () = due => server.timer(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => server.welcome(stream),
                Err(error) => {
                    // Out of descriptors, most likely: others must end first.
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(POLL).await;
                }
            },
        }
    }
}

fn default_action_limit() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).saturating_mul(2).max(4)
}

enum Happening {
    Said(Speaker, Command),
    Gone(u64),
    Ended(AgentResult),
}

/// A client, and the way to answer it.
#[derive(Clone)]
struct Speaker {
    number: u64,
    messages: mpsc::Sender<Message>,
    /// Ends the connection.
    cut: Arc<Notify>,
}

struct Server {
    runner: Arc<Runner>,
    operations: Operations,
    declarations: Arc<Declarations>,
    guards: Guards,
    watchdog: Watchdog,
    /// Calls of the guard that are remembered.
    own: BTreeSet<u64>,
    /// How to end each running call.
    runs: BTreeMap<u64, oneshot::Sender<()>>,
    attached: Option<Speaker>,
    /// What the node gave to be kept for its next process.
    memory: Vec<u8>,
    happenings: mpsc::UnboundedSender<Happening>,
    clients: u64,
}

impl Server {
    /// Until something is due. As long as leases are guarded, no longer than a suspended machine or a watchdog allows.
    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        let now = clock::now();
        let due = [self.operations.deadline(), self.guards.deadline()].into_iter().flatten().min();
        let due = due.map(|due| due.since(now));
        let look = self.guards.is_armed().then(|| self.watchdog.pause());
        let time = due.into_iter().chain(look).min();
        async move {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        }
    }

    fn timer(&mut self) {
        self.guard(|guards, now, effects| guards.timer(now, effects));
        self.handle(Input::Timer);
    }

    /// However much is said, the end of a lease does not wait for a pause.
    fn look_at_leases(&mut self) {
        if self.guards.deadline().is_some_and(|due| due <= clock::now()) {
            self.guard(|guards, now, effects| guards.timer(now, effects));
        }
    }

    /// Tells the guard of leases something, and does what it asks for.
    fn guard(&mut self, tell: impl FnOnce(&mut Guards, hakudo_base::Instant, &mut Vec<GuardEffect>)) {
        let mut effects = Vec::new();
        tell(&mut self.guards, clock::now(), &mut effects);
        self.watchdog.tend(&self.guards);
        for effect in effects {
            match effect {
                GuardEffect::Over { ticket, resources } => {
                    tracing::error!(
                        "the lease of ticket {ticket} has ended and was not renewed: what needs it is stopped"
                    );
                    for resource in resources {
                        self.handle(Input::MakeWay { resource });
                    }
                }
                GuardEffect::Run { call, note } => {
                    self.own.insert(call.call);
                    self.handle(Input::Insist { call, note });
                }
                GuardEffect::Acted => self.tell_what_was_done(),
                GuardEffect::Reset { reason } => self.watchdog.reset(&reason),
            }
        }
    }

    fn tell_what_was_done(&mut self) {
        let known = self.operations.known();
        let remembered: BTreeSet<u64> = known.iter().map(|known| known.call.call).collect();
        self.own.retain(|call| remembered.contains(call));
        let Some(attached) = self.attached.clone() else { return };
        for message in protocol::acted(known, self.own.iter().copied().collect()) {
            self.say(&attached, message);
        }
    }

    /// Why the guard of leases does not let this be done.
    fn refuses(&self, call: &AgentCall) -> Option<AgentResult> {
        let reason = self.guards.refuses(clock::now(), call)?;
        Some(self.operations.not_run(call.call, ExecutionStatus::Refused, reason))
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Said(speaker, command) => self.obey(speaker, command),
            Happening::Gone(number) => {
                self.attached.take_if(|attached| attached.number == number);
            }
            Happening::Ended(result) => {
                self.runs.remove(&result.call);
                self.handle(Input::Ended { result });
            }
        }
    }

    fn obey(&mut self, speaker: Speaker, command: Command) {
        match command {
            Command::Hello { .. } => {
                let newest_epoch = self.operations.newest_epoch();
                self.say(&speaker, Message::Welcome { version: protocol::VERSION, newest_epoch });
            }
            Command::Attach { epoch } => {
                self.operations.hear_epoch(epoch);
                let known = self.operations.known();
                self.attached = Some(speaker.clone());
                if !self.memory.is_empty() {
                    self.say(&speaker, Message::Input(ExecutorInput::Memory(self.memory.clone())));
                }
                for message in protocol::connected(known, self.operations.newest_epoch(), self.guards.first_call()) {
                    self.say(&speaker, message);
                }
            }
            Command::Execute { .. }
            | Command::Cancel { .. }
            | Command::Remember { .. }
            | Command::Forget { .. }
            | Command::Guard(_)
                if self.is_replaced(&speaker) =>
            {
                tracing::warn!("an order of a node process that another one has replaced is not carried out");
            }
            Command::Guard(order) => self.guard(|guards, now, effects| guards.order(now, order, effects)),
            Command::Execute { call, note } => match self.refuses(&call) {
                Some(result) => self.say(&speaker, Message::Input(ExecutorInput::Result(result))),
                None => self.handle(Input::Execute { call, note }),
            },
            Command::Cancel { call, epoch } => self.handle(Input::Cancel { call, epoch }),
            Command::Remember { memory } => self.memory = memory,
            Command::Forget { resource } => self.handle(Input::Forget { resource }),
            Command::Metadata { query, agent } => {
                let runner = self.runner.clone();
                tokio::spawn(async move {
                    let result = runner.metadata(agent, METADATA_TIMEOUT_MS).await;
                    let _ = speaker.messages.send(Message::Answer { query, result }).await;
                });
            }
            Command::ListAgents { query, class, provider } => {
                let names = classes::list(&self.runner.config, &class, provider.as_deref());
                self.say(&speaker, Message::Answer { query, result: names.map(|names| names.join("\n")) });
            }
        }
    }

    /// A later client has attached since: it was told what is known here, and what this one still says it cannot know of.
    fn is_replaced(&self, speaker: &Speaker) -> bool {
        self.attached.as_ref().is_some_and(|attached| attached.number > speaker.number)
    }

    fn say(&mut self, speaker: &Speaker, message: Message) {
        if speaker.messages.try_send(message).is_err() {
            tracing::warn!("a client that does not read what it is told is cut off");
            speaker.cut.notify_one();
            self.attached.take_if(|attached| attached.number == speaker.number);
        }
    }

    fn handle(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.operations.handle(clock::now(), unix_seconds(), input, &mut effects);
        let mut own = Vec::new();
        for effect in effects {
            match effect {
                Effect::Run { call, active } => self.run(call, active),
                Effect::Terminate { call } => {
                    if let Some(terminate) = self.runs.remove(&call) {
                        let _ = terminate.send(());
                    }
                }
                // Nobody but the guard asked for it by this number; a node is told of all that it did as a whole.
                Effect::Report(result) if self.own.contains(&result.call) => own.push(result),
                Effect::Report(result) => {
                    if let Some(attached) = self.attached.clone() {
                        self.say(&attached, Message::Input(ExecutorInput::Result(result)));
                    }
                }
            }
        }
        // What the guard wants next comes after all that was wanted here.
        for result in own {
            self.guard(|guards, now, effects| guards.ended(now, &result, effects));
        }
    }

    fn run(&mut self, call: AgentCall, active: bool) {
        let (terminate, terminated) = oneshot::channel();
        self.runs.insert(call.call, terminate);
        let (runner, declarations, happenings) =
            (self.runner.clone(), self.declarations.clone(), self.happenings.clone());
        tokio::spawn(async move {
            let run = runner.carry_out(&call, active, terminated);
            let (mut result, digests) = tokio::join!(run, declarations.digests(&runner, &call));
            result.digests = digests;
            let _ = happenings.send(Happening::Ended(result));
        });
    }

    fn welcome(&mut self, stream: UnixStream) {
        let user = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => {
                tracing::warn!(%error, "a client without credentials");
                return;
            }
        };
        if user != 0 && user != rustix::process::getuid().as_raw() && Some(user) != self.runner.config.node_user {
            tracing::warn!(user, "a client that may not use the executor");
            return;
        }
        self.clients += 1;
        let (reader, writer) = stream.into_split();
        let (messages, queue) = mpsc::channel(CLIENT_QUEUE);
        let cut = Arc::new(Notify::new());
        let speaker = Speaker { number: self.clients, messages, cut: cut.clone() };
        let happenings = self.happenings.clone();
        tokio::spawn(async move {
            let number = speaker.number;
            tokio::select! {
                ended = listen(reader, speaker, &happenings) => if let Err(error) = ended {
                    tracing::warn!(%error, "a client is cut off");
                },
                _ = answer(writer, queue) => {}
                () = cut.notified() => {}
            }
            let _ = happenings.send(Happening::Gone(number));
        });
    }
}

async fn listen(
    mut reader: OwnedReadHalf,
    speaker: Speaker,
    happenings: &mpsc::UnboundedSender<Happening>,
) -> io::Result<()> {
    let mut greeted = false;
    while let Some(command) = protocol::read_frame::<Command>(&mut reader).await? {
        match command {
            Command::Hello { version } if version != protocol::VERSION => {
                let _ = speaker.messages.send(Message::Welcome { version: protocol::VERSION, newest_epoch: 0 }).await;
                let reason = format!("it speaks version {version}, this is version {}", protocol::VERSION);
                tokio::time::sleep(POLL).await;
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            }
            Command::Hello { .. } => greeted = true,
            _ if !greeted => return Err(io::Error::new(io::ErrorKind::InvalidData, "it did not greet")),
            _ => {}
        }
        if happenings.send(Happening::Said(speaker.clone(), command)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn answer(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Message>) -> io::Result<()> {
    while let Some(message) = queue.recv().await {
        protocol::write_frame(&mut writer, &message).await?;
    }
    Ok(())
}

/// Asks until the unit is not on its way any more.
async fn outcome_of_unit(unit: &UnitCall) -> Outcome {
    loop {
        if let Some(outcome) = unit.carry_out().await {
            return outcome;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What it takes to run agents.
pub(crate) struct Runner {
    pub(crate) config: Config,
    pub(crate) journal: Arc<Journal>,
}

impl Runner {
    /// Runs the agent of a call to its end.
    pub(crate) async fn carry_out(
        &self,
        call: &AgentCall,
        active: bool,
        mut terminated: oneshot::Receiver<()>,
    ) -> AgentResult {
        let started = Instant::now();
        let outcome = self.outcome_of(call, active, started, &mut terminated).await;
        AgentResult {
            exit_reason: outcome.exit_reason,
            output: outcome.output,
            exec_time_ms: process::milliseconds_since(started),
            finished: unix_seconds(),
            ..AgentResult::new(call.call, outcome.status, outcome.exit_code)
        }
    }

    async fn outcome_of(
        &self,
        call: &AgentCall,
        active: bool,
        started: Instant,
        terminated: &mut oneshot::Receiver<()>,
    ) -> Outcome {
        let timeout = match call.timeout_ms {
            0 => FOR_EVER,
            milliseconds => Duration::from_millis(milliseconds).min(FOR_EVER),
        };
        let (program, reading) = match classes::launch(&self.config, call, active) {
            Launch::Answer(outcome) => return outcome,
            Launch::Run(program, reading) => (program, reading),
            Launch::Unit(unit) => {
                return tokio::select! {
                    outcome = outcome_of_unit(&unit) => outcome,
                    () = tokio::time::sleep(timeout) => Outcome::timed_out(call),
                    // A sender that is gone will never ask.
                    Ok(()) = terminated => Outcome::cancelled(),
                };
            }
        };
        let mut tries = classes::tries(call);
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            let run = match self.journal.begin(call) {
                Ok(begun) => process::run(&program, begun, left, GRACE, terminated).await,
                // Not the kind of the error: the agent is neither missing nor locked.
                Err(error) => Err(io::Error::other(error)),
            };
            if let Some(outcome) = classes::read_end(call, reading, run) {
                tries -= 1;
                // As Pacemaker: another run only if a good part of the time is left.
                let is_time = started.elapsed() * 10 < timeout * 7;
                if tries == 0 || !is_time || !classes::may_end_better(&outcome) {
                    return outcome;
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What an agent says of itself.
    ///
    /// # Errors
    /// It said nothing: why, for people.
    pub(crate) async fn metadata(&self, agent: AgentName, timeout_ms: u64) -> Result<String, String> {
        let call = metadata_call(agent, timeout_ms);
        let (_never, terminated) = oneshot::channel();
        let result = self.carry_out(&call, false, terminated).await;
        if result.status == ExecutionStatus::Done && result.exit_code == exit_code::OK {
            return Ok(result.output);
        }
        match result.exit_reason.as_str() {
            "" => Err(format!("{} gave no meta-data: it ended with exit code {}", call.agent, result.exit_code)),
            reason => Err(reason.to_owned()),
        }
    }
}

/// The call that asks an agent for its meta-data.
pub(crate) fn metadata_call(agent: AgentName, timeout_ms: u64) -> AgentCall {
    AgentCall {
        call: 0,
        epoch: 0,
        resource: agent.kind.clone(),
        agent,
        operation: "meta-data".to_owned(),
        interval_ms: 0,
        timeout_ms,
        start_delay_ms: 0,
        parameters: BTreeMap::new(),
    }
}

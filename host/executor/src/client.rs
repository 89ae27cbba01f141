//! The node's end of the socket: sends commands, gets [`ExecutorInput`]s, and connects again whenever the executor was
//! away. What was asked while it was away is answered with [`ExecutionStatus::NotConnected`].

use crate::protocol::{self, Command, Message};
use hakudo_base::agent::{AgentCall, AgentName, AgentResult, ExecutionStatus, ExecutorInput, Known, exit_code};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// How long to wait before the next attempt to connect.
const RETRY: Duration = Duration::from_millis(100);

type Answer = Result<String, String>;

enum Order {
    Send(Command),
    Ask(Question, oneshot::Sender<Answer>),
}

enum Question {
    Metadata(AgentName),
    ListAgents { class: String, provider: Option<String> },
}

/// A handle to the executor of this machine. Dropping all clones of it ends the connection.
#[derive(Clone, Debug)]
pub struct Client {
    orders: mpsc::UnboundedSender<Order>,
    epoch: Arc<AtomicU64>,
}

impl Client {
    /// Starts to connect to the socket at `path`, and goes on until the handle is dropped. The receiver gets
    /// `Connected` at each connection, `Lost` at the end of each, and results in between.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(path: &Path) -> (Client, mpsc::UnboundedReceiver<ExecutorInput>) {
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (inputs, input_queue) = mpsc::unbounded_channel();
        let epoch = Arc::new(AtomicU64::new(0));
        let link = Link {
            path: path.to_owned(),
            epoch: epoch.clone(),
            orders: order_queue,
            inputs,
            remembered: Vec::new(),
            questions: BTreeMap::new(),
            asked: 0,
        };
        tokio::spawn(link.run());
        (Client { orders, epoch }, input_queue)
    }

    /// The node is in a view of this epoch now: the next executor that is connected to is told.
    pub fn enter_epoch(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Runs an agent; the result comes as [`ExecutorInput::Result`].
    pub fn execute(&self, call: AgentCall, note: Vec<u8>) {
        self.send(Command::Execute { call, note });
    }

    /// Stops a recurring operation.
    pub fn cancel(&self, call: u64, epoch: u64) {
        self.send(Command::Cancel { call, epoch });
    }

    /// Has this kept for the next node process, in place of what was kept; it comes back as [`ExecutorInput::Memory`].
    pub fn remember(&self, memory: Vec<u8>) {
        self.send(Command::Remember { memory });
    }

    /// Stops what recurs of a resource and forgets its results.
    pub fn forget(&self, resource: String) {
        self.send(Command::Forget { resource });
    }

    /// Says what to do when the lease of a ticket ends. An executor that is connected to later must be told again.
    pub fn guard(&self, order: hakudo_guard::Order) {
        self.send(Command::Guard(order));
    }

    /// The meta-data of an agent as XML.
    ///
    /// # Errors
    /// Says why there is none: no such agent, it failed, or the executor is away.
    pub async fn metadata(&self, agent: AgentName) -> Result<String, String> {
        self.ask(Question::Metadata(agent)).await
    }

    /// The agents of a class, sorted; `provider:type` for class `ocf` without a provider.
    ///
    /// # Errors
    /// Says why there is no list: an unknown class, or the executor is away.
    pub async fn list_agents(&self, class: String, provider: Option<String>) -> Result<Vec<String>, String> {
        let text = self.ask(Question::ListAgents { class, provider }).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn send(&self, command: Command) {
        // The link lives as long as this handle does.
        let _ = self.orders.send(Order::Send(command));
    }

    async fn ask(&self, question: Question) -> Answer {
        let (answer, wait) = oneshot::channel();
        let _ = self.orders.send(Order::Ask(question, answer));
        wait.await.unwrap_or_else(|_| Err("the executor cannot be reached".to_owned()))
    }
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

struct Link {
    path: PathBuf,
    epoch: Arc<AtomicU64>,
    orders: mpsc::UnboundedReceiver<Order>,
    inputs: mpsc::UnboundedSender<ExecutorInput>,
    /// What this connection's executor remembers, as far as it was told.
    remembered: Vec<Known>,
    questions: BTreeMap<u64, oneshot::Sender<Answer>>,
    asked: u64,
}

impl Link {
    async fn run(mut self) {
        let mut last_error = None;
        loop {
            match connect(&self.path, &self.epoch).await {
                Ok(stream) => {
                    last_error = None;
                    let (reader, writer) = stream.into_split();
                    match self.serve(reader, writer).await {
                        Ok(()) => return,
                        Err(error) => tracing::warn!(path = %self.path.display(), %error, "the executor is lost"),
                    }
                    self.questions.clear();
                    self.remembered.clear();
                    if self.inputs.send(ExecutorInput::Lost).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if last_error.replace(error.kind()) != Some(error.kind()) {
                        tracing::warn!(path = %self.path.display(), %error, "no executor yet");
                    }
                }
            }
            if !self.refuse_until_retry().await {
                return;
            }
        }
    }

    /// Carries commands out and messages in; `Ok` once nobody holds the handle any more.
    async fn serve(&mut self, reader: OwnedReadHalf, mut writer: OwnedWriteHalf) -> io::Result<()> {
        // Frames are read in a task of their own, because a read that is given up half way loses its place.
        let (messages, mut message_queue) = mpsc::channel(64);
        let reading = Reading(tokio::spawn(read_all(reader, messages)));
        loop {
            tokio::select! {
                biased;
                message = message_queue.recv() => match message {
                    Some(Ok(message)) => self.take(message),
                    Some(Err(error)) => return Err(error),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
                order = self.orders.recv() => match order {
                    Some(order) => {
                        let command = self.command_of(order);
                        match protocol::encode_frame(&command) {
                            Ok(frame) if frame.len() <= protocol::LONGEST_COMMAND => writer.write_all(&frame).await?,
                            Ok(frame) => self.refuse(command, frame.len()),
                            Err(error) => {
                                tracing::error!(%error, "a command cannot be written");
                                self.refuse(command, usize::MAX);
                            }
                        }
                    }
                    None => {
                        drop(reading);
                        return Ok(());
                    }
                },
            }
        }
    }

    /// Answers a command that is too long for the executor.
    fn refuse(&mut self, command: Command, length: usize) {
        let size = match length >> 20 {
            megabytes if length < usize::MAX => format!("{megabytes} MiB"),
            _ => format!("more than {} MiB", protocol::MAX_FRAME >> 20),
        };
        let longest = protocol::LONGEST_COMMAND >> 20;
        match command {
            Command::Execute { call, .. } => {
                let reason = format!(
                    "not run: {} of {} has {size} of parameters, and an executor takes at most {longest} MiB",
                    call.operation, call.resource
                );
                let result = not_run(&call, ExecutionStatus::Invalid, reason);
                let _ = self.inputs.send(ExecutorInput::Result(result));
            }
            Command::Metadata { query, .. } | Command::ListAgents { query, .. } => {
                if let Some(answer) = self.questions.remove(&query) {
                    let _ = answer
                        .send(Err(format!("the question has {size}, and an executor takes at most {longest} MiB")));
                }
            }
            Command::Guard(hakudo_guard::Order::Arm(guard)) => {
                let reason =
                    format!("its steps have {size} of parameters, and an executor takes at most {longest} MiB");
                let _ = self.inputs.send(ExecutorInput::Unguarded { ticket: guard.ticket, reason });
            }
            Command::Hello { .. }
            | Command::Attach { .. }
            | Command::Cancel { .. }
            | Command::Remember { .. }
            | Command::Forget { .. }
            | Command::Guard(_) => {
                tracing::error!("a command of {size} is not sent: an executor takes at most {longest} MiB");
            }
        }
    }

    fn command_of(&mut self, order: Order) -> Command {
        match order {
            Order::Send(command) => command,
            Order::Ask(question, answer) => {
                self.asked += 1;
                let query = self.asked;
                self.questions.insert(query, answer);
                match question {
                    Question::Metadata(agent) => Command::Metadata { query, agent },
                    Question::ListAgents { class, provider } => Command::ListAgents { query, class, provider },
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Welcome { .. } => {}
            Message::Remembered(part) => self.remembered.extend(part),
            Message::Input(ExecutorInput::Connected { known, newest_epoch, first_call }) => {
                let mut all = std::mem::take(&mut self.remembered);
                all.extend(known);
                let _ = self.inputs.send(ExecutorInput::Connected { known: all, newest_epoch, first_call });
            }
            Message::Input(ExecutorInput::Acted { known, own }) => {
                let mut all = std::mem::take(&mut self.remembered);
                all.extend(known);
                let _ = self.inputs.send(ExecutorInput::Acted { known: all, own });
            }
            Message::Input(input) => {
                let _ = self.inputs.send(input);
            }
            Message::Answer { query, result } => {
                if let Some(answer) = self.questions.remove(&query) {
                    let _ = answer.send(result);
                }
            }
        }
    }

    /// Waits a little, answering what is asked meanwhile; false once nobody holds the handle any more.
    async fn refuse_until_retry(&mut self) -> bool {
        let retry = tokio::time::sleep(RETRY);
        tokio::pin!(retry);
        loop {
            tokio::select! {
                () = &mut retry => return true,
                order = self.orders.recv() => match order {
                    None => return false,
                    Some(Order::Send(Command::Execute { call, .. })) => {
                        let _ = self.inputs.send(ExecutorInput::Result(not_connected(&call, &self.path)));
                    }
                    // There is nothing to cancel or to forget in an executor that is away; a question's sender is dropped.
                    Some(Order::Send(_) | Order::Ask(..)) => {}
                },
            }
        }
    }
}

/// Stops the reading task when the connection is given up.
struct Reading(tokio::task::JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read_all(mut reader: OwnedReadHalf, messages: mpsc::Sender<io::Result<Message>>) {
    loop {
        let message = match protocol::read_frame(&mut reader).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the executor ended")),
            Err(error) => Err(error),
        };
        let last = message.is_err();
        if messages.send(message).await.is_err() || last {
            return;
        }
    }
}

async fn connect(path: &Path, epoch: &AtomicU64) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path).await?;
    protocol::write_frame(&mut stream, &Command::Hello { version: protocol::VERSION }).await?;
    match protocol::read_frame(&mut stream).await? {
        Some(Message::Welcome { version: protocol::VERSION, .. }) => {}
        Some(Message::Welcome { version, .. }) => {
            let reason = format!("the executor speaks version {version}, this is version {}", protocol::VERSION);
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "no greeting")),
        None => return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the executor does not accept this user")),
    }
    protocol::write_frame(&mut stream, &Command::Attach { epoch: epoch.load(Ordering::Relaxed) }).await?;
    Ok(stream)
}

fn not_connected(call: &AgentCall, path: &Path) -> AgentResult {
    let reason = format!("the executor at {} cannot be reached", path.display());
    not_run(call, ExecutionStatus::NotConnected, reason)
}

fn not_run(call: &AgentCall, status: ExecutionStatus, exit_reason: String) -> AgentResult {
    AgentResult {
        exit_reason,
        finished: crate::unix_seconds(),
        ..AgentResult::new(call.call, status, exit_code::UNKNOWN)
    }
}

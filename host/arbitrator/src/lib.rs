//! The arbitrator: a member of a ticket group that is no site. It has a vote and no service, needs no privilege, and may
//! coordinate the group like any other member.
//!
//! It is one loop around a member, which speaks hakudo's own protocol or booth's: messages, a timer, and requests of
//! clients go in; messages, answers and one small file come out. What the member promises is in that file, synced, before
//! anybody hears of it.

mod client;
mod member;
pub mod pid_file;
mod storage;

use anyhow::{Context, Result, ensure};
use client::Asked;
use hakudo_base::{Instant, Severity, UnixTime};
use hakudo_link::setup::{self, Own};
use hakudo_tickets::booth::engine::Now;
use hakudo_tickets::booth::member::Told;
use hakudo_tickets::{Effect, Input, Reply, RequestEnvelope, StartError};
use member::Running;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use storage::Storage;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Where an arbitrator keeps what it must not forget, unless said otherwise.
pub const STATE_DIR: &str = "/var/lib/hakudo-arbitrator";
/// Where clients ask it, unless said otherwise.
pub const SOCKET: &str = "/run/hakudo/arbitrator.sock";

/// What an arbitrator is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The group, and which member this is.
    #[serde(flatten)]
    pub own: Own,
    /// Where it keeps what it must not forget.
    pub state_dir: PathBuf,
    /// Where clients ask.
    pub socket: PathBuf,
    /// Where the process says that it runs, as boothd does; only in booth's protocol.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
}

/// Runs until TERM or INT.
///
/// # Errors
/// Where it cannot start, or cannot store what it must not forget.
pub fn run(config: &Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let arbitrator = Arbitrator::start(config)?;
        // A task like those of the links, which wake it: before the runtime's first future goes on, the system is asked for
        // events once more.
        tokio::spawn(arbitrator.run()).await?
    })
}

/// A client that waits.
struct Waiting {
    progress: bool,
    answer: mpsc::UnboundedSender<Reply>,
}

struct Arbitrator {
    member: Running,
    asked: mpsc::UnboundedReceiver<Asked>,
    storage: Storage,
    clients: BTreeMap<u64, Waiting>,
    requests: u64,
    /// Held as long as the process lives.
    _pid_file: Option<pid_file::PidFile>,
}

impl Arbitrator {
    fn start(config: &Config) -> Result<Self> {
        let setup = setup::read(&config.own)?;
        let name = setup.group.name_of(setup.local);
        ensure!(!setup.group.is_site(setup.local), "{name} is a site of the group, and no arbitrator");
        let storage = Storage::open(&config.state_dir, Running::memory(&setup.wire))?;
        let stored = storage.load()?;
        let mut seed = [0u8; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).context("no randomness")?;
        let mut pid_file = config.pid_file.as_deref().map(|path| pid_file::PidFile::write(path, &setup)).transpose()?;
        let member = Running::start(setup, u64::from_ne_bytes(seed), stored.as_deref(), both_clocks());
        let member = member.map_err(|error| match error.downcast_ref() {
            Some(StartError::Format { .. } | StartError::Stored(_)) => {
                error.context(format!("{} is of another version, or damaged", storage.file().display()))
            }
            _ => error,
        })?;
        let asked = client::serve(&config.socket)?;
        for address in member.listens() {
            tracing::info!("{name}, of the group {}, listens at {address}", member.group().name);
        }
        if let Some(file) = &mut pid_file {
            file.started()?;
        }
        Ok(Self { member, asked, storage, clients: BTreeMap::new(), requests: 0, _pid_file: pid_file })
    }

    async fn run(mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // One timer for all of its life, moved only where the deadline did: to make one anew wakes the process once more.
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut deadline = None;
        loop {
            let next = self.member.deadline();
            if let Some(next) = next.filter(|_| next != deadline) {
                timer.as_mut().reset(tokio::time::Instant::now() + next.since(now()));
            }
            deadline = next;
            tokio::select! {
                told = self.member.heard() => self.tell(told?)?,
                asked = self.asked.recv() => self.ask(asked.context("the socket ended")?)?,
                () = &mut timer, if deadline.is_some() => {
                    // It must be set again, wherever the next deadline is.
                    deadline = None;
                    self.tell(Told::Input(Input::Timer))?;
                }
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    }

    fn ask(&mut self, asked: Asked) -> Result<()> {
        self.clients.retain(|_, waiting| !waiting.answer.is_closed());
        self.requests += 1;
        self.clients.insert(self.requests, Waiting { progress: asked.progress, answer: asked.answer });
        let request = RequestEnvelope { who: asked.user, at: time(), request: asked.request };
        self.tell(Told::Input(Input::Request { id: self.requests, request }))
    }

    fn tell(&mut self, told: Told) -> Result<()> {
        let mut all = vec![told];
        while let Some(told) = all.pop() {
            for effect in self.member.tell(both_clocks(), told) {
                all.extend(self.carry_out(effect)?.map(Told::Input));
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<Option<Input>> {
        match effect {
            Effect::Send { to, message } => self.member.send(to, message),
            Effect::Persist { seq, state } => {
                // Without its promises on disk it must not go on: a service manager starts it again.
                self.storage.store(&state)?;
                return Ok(Some(Input::Done(seq)));
            }
            Effect::Confirm { seq } => return Ok(Some(Input::Done(seq))),
            // The client may have gone.
            Effect::Reply { id, reply } if reply.is_final() => {
                if let Some(waiting) = self.clients.remove(&id) {
                    let _ = waiting.answer.send(reply);
                }
            }
            Effect::Reply { id, reply } => {
                if let Some(waiting) = self.clients.get(&id).filter(|waiting| waiting.progress) {
                    let _ = waiting.answer.send(reply);
                }
            }
            Effect::Event(event) => match event.severity() {
                Severity::Info => tracing::info!("{event}"),
                Severity::Warning => tracing::warn!("{event}"),
                Severity::Error => tracing::error!("{event}"),
            },
            // It holds no ticket and runs no service.
            Effect::Ticket(_) | Effect::Lease { .. } | Effect::WouldHold { .. } | Effect::Check(_) => {}
        }
        Ok(None)
    }
}

fn both_clocks() -> Now {
    Now { monotonic: now(), calendar: time() }
}

/// The clock that goes on while the machine sleeps.
fn now() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    Instant::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

fn time() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

//! The arbitrator: a member of a ticket group that is no site. It has a vote and no service, needs no privilege, and may
//! coordinate the group like any other member.
//!
//! It is one loop around [`Member`]: messages, a timer, and requests of local clients go in; messages, answers and one
//! small file come out. What the member promises is in that file, synced, before anybody hears of it.

mod client;
mod storage;

use anyhow::{Context, Result, ensure};
use client::Asked;
use hakudo_base::{Instant, NodeId, Severity, UnixTime};
use hakudo_link::setup::{self, Own, Setup};
use hakudo_link::{Link, Received};
use hakudo_tickets::{Effect, Input, Member, MemberId, Reply, RequestEnvelope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use storage::Storage;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

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
}

/// Runs until TERM or INT.
///
/// # Errors
/// Where it cannot start, or cannot store what it must not forget.
pub fn run(config: &Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Arbitrator::start(config)?.run().await })
}

struct Arbitrator {
    member: Member,
    link: Link,
    received: mpsc::UnboundedReceiver<Received>,
    asked: mpsc::UnboundedReceiver<Asked>,
    storage: Storage,
    clients: BTreeMap<u64, oneshot::Sender<Reply>>,
    requests: u64,
}

impl Arbitrator {
    fn start(config: &Config) -> Result<Self> {
        let Setup { local, group, settings, .. } = setup::read(&config.own)?;
        ensure!(!group.is_site(local), "{} is a site of the group, and no arbitrator", group.name_of(local));
        let storage = Storage::open(&config.state_dir)?;
        let stored = storage.load()?;
        let mut seed = [0u8; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).context("no randomness")?;
        let member = Member::new(local, group, u64::from_ne_bytes(seed), stored.as_deref(), now())?;
        let (link, received) = Link::start(settings, true)?;
        let asked = client::serve(&config.socket)?;
        for address in link.listens() {
            tracing::info!("{} listens at {address}", member.group().name_of(local));
        }
        Ok(Self { member, link, received, asked, storage, clients: BTreeMap::new(), requests: 0 })
    }

    async fn run(mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            let timer = self.member.deadline().map(|deadline| deadline.since(now()));
            tokio::select! {
                received = self.received.recv() => {
                    let Received { from, bytes } = received.context("the links ended")?;
                    self.tell(Input::Received { from: MemberId(from.0), message: bytes })?;
                }
                asked = self.asked.recv() => self.ask(asked.context("the socket ended")?)?,
                () = tokio::time::sleep(timer.unwrap_or(Duration::MAX)), if timer.is_some() => self.tell(Input::Timer)?,
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    }

    fn ask(&mut self, asked: Asked) -> Result<()> {
        self.clients.retain(|_, answer| !answer.is_closed());
        self.requests += 1;
        self.clients.insert(self.requests, asked.answer);
        let request = RequestEnvelope { who: asked.user, at: time(), request: asked.request };
        self.tell(Input::Request { id: self.requests, request })
    }

    fn tell(&mut self, input: Input) -> Result<()> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.member.handle(now(), input, &mut effects);
            for effect in effects {
                inputs.extend(self.carry_out(effect)?);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<Option<Input>> {
        match effect {
            Effect::Send { to, message } => self.link.send(NodeId(to.0), message),
            Effect::Persist { seq, state } => {
                // Without its promises on disk it must not go on: a service manager starts it again.
                self.storage.store(&state)?;
                return Ok(Some(Input::Done(seq)));
            }
            Effect::Confirm { seq } => return Ok(Some(Input::Done(seq))),
            Effect::Reply { id, reply } if reply.is_final() => {
                if let Some(answer) = self.clients.remove(&id) {
                    // The client may have gone.
                    let _ = answer.send(reply);
                }
            }
            Effect::Event(event) => match event.severity() {
                Severity::Info => tracing::info!("{event}"),
                Severity::Warning => tracing::warn!("{event}"),
                Severity::Error => tracing::error!("{event}"),
            },
            // It holds no ticket and runs no service.
            Effect::Reply { .. }
            | Effect::Ticket(_)
            | Effect::Lease { .. }
            | Effect::WouldHold { .. }
            | Effect::Check(_) => {}
        }
        Ok(None)
    }
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

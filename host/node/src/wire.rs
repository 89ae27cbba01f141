//! The thread of membership: the engine, and one UDP socket a link. It does nothing else, so that heartbeats go out in
//! time however busy the rest of the node is.

use crate::clock;
use crate::config::NodeConfig;
use crate::storage::Storage;
use anyhow::{Context, Result};
use hakudo_base::NodeId;
use hakudo_membership::{Config, Delivered, Effect, Engine, Event, Input, PersistedState, Undelivered, View};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketFlags, SocketType, sendmmsg, sockopt,
};
use rustix::time::Timespec;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::mpsc;

/// The name under which the engine's state is stored.
const STATE: &str = "membership.json";

/// So many datagrams are taken from a socket, and so many requests of the node, before the timers are looked at again.
const BATCH: usize = 64;

/// The size of a socket's buffer, in bytes.
const RECEIVED_BYTES: usize = 4 << 20;

/// What membership tells the node.
#[derive(Debug)]
pub enum Told {
    /// A view was installed.
    View(View),
    /// The next message of the view.
    Deliver(Delivered),
    /// Something that people may want to know.
    Event(Event),
    /// The newest broadcast found the engine's queue full: it must be said again.
    Undelivered,
    /// The goodbye was said.
    Left,
    /// The engine cannot go on: it cannot keep what it must.
    Failed(String),
}

/// Where each node listens on each link.
type Addresses = BTreeMap<(NodeId, u8), SocketAddr>;

/// What the node asks of the thread.
enum Asked {
    Input(Input),
    Configure(Box<Config>, Addresses),
}

/// Where the nodes of a configuration listen.
///
/// # Errors
/// Where a node has no address on a link.
pub(crate) fn addresses(config: &NodeConfig) -> Result<Addresses> {
    let mut addresses = BTreeMap::new();
    for link in 0..config.links() {
        for node in &config.nodes {
            let address = config.address(node.id, link).context("every node has an address a link")?;
            addresses.insert((NodeId(node.id), u8::try_from(link)?), address);
        }
    }
    Ok(addresses)
}

/// The node's end: what it asks of membership.
#[derive(Clone, Debug)]
pub struct Membership {
    asked: Sender<Asked>,
    wake: Arc<UnixDatagram>,
    /// The thread was woken and has not looked into its queue since.
    woken: Arc<AtomicBool>,
}

impl Membership {
    /// Hands an input to the engine.
    pub fn ask(&self, input: Input) {
        self.send(Asked::Input(input));
    }

    /// Uses another node list, other votes and times from now on.
    pub(crate) fn configure(&self, config: Config, addresses: Addresses) {
        self.send(Asked::Configure(Box::new(config), addresses));
    }

    fn send(&self, asked: Asked) {
        // Both ends are gone only after the engine failed or left, and that was told.
        let _ = self.asked.send(asked);
        // One call wakes for all that is asked until the thread looks.
        if !self.woken.swap(true, Ordering::SeqCst) {
            let _ = self.wake.send(&[0]);
        }
    }
}

/// Membership alone, as a node of this configuration has it, with its state in the node's folder.
///
/// # Errors
/// Where the folder cannot be used, an address of this node cannot be bound, or the state cannot be read.
pub fn join(config: &NodeConfig) -> Result<(Membership, mpsc::UnboundedReceiver<Told>)> {
    let (told_to, told) = mpsc::unbounded_channel();
    Ok((start(config, Storage::open(&config.state_dir)?, told_to)?, told))
}

/// Opens the sockets and starts the thread.
///
/// # Errors
/// Where an address of this node cannot be bound, or the state cannot be read.
pub(crate) fn start(config: &NodeConfig, storage: Storage, told: mpsc::UnboundedSender<Told>) -> Result<Membership> {
    let persisted: PersistedState = storage.load(STATE)?.unwrap_or_default();
    let mut seed = [0u8; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).context("no randomness")?;
    let engine = Engine::new(config.membership()?, persisted, seed).context("the membership configuration is wrong")?;
    let mut sockets = Vec::new();
    let addresses = addresses(config)?;
    for link in 0..config.links() {
        let own = config.address(config.local().id, link).context("every node has an address a link")?;
        sockets.push(open(own, link).with_context(|| format!("cannot use address {own} of link {link}"))?);
    }
    let (wake, woken) = UnixDatagram::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let (asked, queue) = channel();
    let flag = Arc::new(AtomicBool::new(false));
    let membership = Membership { asked, wake: Arc::new(wake), woken: flag.clone() };
    let (states, to_write) = channel();
    let writer = Writer { storage, to_write, membership: membership.clone() };
    std::thread::Builder::new().name("epochs".into()).spawn(move || writer.run())?;
    let wire = Wire { engine, sockets, addresses, woken, flag, more: false, queue, states, told, effects: Vec::new() };
    std::thread::Builder::new().name("membership".into()).spawn(move || wire.run())?;
    Ok(membership)
}

/// Opens the socket of a link. An address that this machine has not got may come later (a cable that is out, a slow DHCP
/// server): until then the link is down, and the others serve.
fn open(own: SocketAddr, link: usize) -> Result<UdpSocket> {
    let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    // Beyond the system's limit only where this process may; within it, otherwise.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVED_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVED_BYTES)?;
    }
    match rustix::net::bind(&socket, &own) {
        Err(Errno::ADDRNOTAVAIL) => {
            tracing::warn!("link {link} is down: {own} is no address of this machine yet");
            match own {
                SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
                SocketAddr::V6(_) => sockopt::set_ipv6_freebind(&socket, true)?,
            }
            rustix::net::bind(&socket, &own)?;
        }
        bound => bound?,
    }
    Ok(UdpSocket::from(socket))
}

struct Wire {
    engine: Engine,
    sockets: Vec<UdpSocket>,
    addresses: Addresses,
    woken: UnixDatagram,
    flag: Arc<AtomicBool>,
    /// Not all of the queue was taken last time.
    more: bool,
    queue: Receiver<Asked>,
    states: Sender<ToWrite>,
    told: mpsc::UnboundedSender<Told>,
    effects: Vec<Effect>,
}

/// The thread has nothing more to do.
struct Ended;

/// The engine's state, and who waits until it is on disk.
type ToWrite = (PersistedState, Option<Sender<Result<()>>>);

/// Writes the engine's states one after the other, so that heartbeats do not wait for the disk.
struct Writer {
    storage: Storage,
    to_write: Receiver<ToWrite>,
    membership: Membership,
}

impl Writer {
    fn run(self) {
        while let Ok((state, waiting)) = self.to_write.recv() {
            let written = self.storage.store(STATE, &state);
            match (waiting, written) {
                (Some(waiting), written) => {
                    // Who does not wait any more has ended.
                    let _ = waiting.send(written);
                }
                (None, Ok(())) => self.membership.ask(Input::Reserved(state.epoch_limit)),
                (None, Err(error)) => tracing::warn!("no epochs are reserved: {error:#}"),
            }
        }
    }
}

impl Wire {
    fn run(mut self) {
        // Where the system allows it, heartbeats go before other work; without it, pauses are noticed and allowed for.
        if rustix::process::setpriority_process(None, -10).is_err() {
            tracing::debug!("no permission to raise the priority");
        }
        let mut buffer = vec![0u8; 65536];
        while self.round(&mut buffer).is_ok() {}
    }

    fn round(&mut self, buffer: &mut [u8]) -> Result<(), Ended> {
        self.wait();
        self.take_datagrams(buffer)?;
        self.take_requests(buffer)?;
        if self.engine.deadline().is_some_and(|deadline| deadline <= clock::now()) {
            self.handle(Input::Timer)?;
        }
        Ok(())
    }

    fn wait(&mut self) {
        let now = clock::now();
        let deadline = if std::mem::take(&mut self.more) { Some(now) } else { self.engine.deadline() };
        let timeout = deadline.map(|deadline| deadline.since(now)).map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let mut files: Vec<PollFd<'_>> = self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        files.push(PollFd::new(&self.woken, PollFlags::IN));
        // An interruption by a signal is a round in which nothing came.
        let _ = poll(&mut files, timeout.as_ref());
    }

    fn take_datagrams(&mut self, buffer: &mut [u8]) -> Result<(), Ended> {
        for link in 0..self.sockets.len() {
            let mut packets = Vec::new();
            for _ in 0..BATCH {
                // Errors are those of single datagrams (an unreachable port, a link that is down): the next one counts.
                match self.sockets[link].recv(buffer) {
                    Ok(length) => packets.push((u8::try_from(link).unwrap_or(u8::MAX), buffer[..length].to_vec())),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
            if !packets.is_empty() {
                self.handle(Input::Packets(packets))?;
            }
        }
        Ok(())
    }

    fn take_requests(&mut self, buffer: &mut [u8]) -> Result<(), Ended> {
        while self.woken.recv(buffer).is_ok() {}
        // Before the queue is looked into: what comes later wakes again.
        self.flag.store(false, Ordering::SeqCst);
        for _ in 0..BATCH {
            match self.queue.try_recv() {
                Ok(Asked::Input(input)) => self.handle(input)?,
                Ok(Asked::Configure(config, addresses)) => {
                    self.addresses = addresses;
                    self.handle(Input::Configure(config))?;
                }
                Err(_) => return Ok(()),
            }
        }
        // There may be more: the next wait ends at once.
        self.more = true;
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), Ended> {
        let mut effects = std::mem::take(&mut self.effects);
        self.engine.handle(clock::now(), input, &mut effects);
        let mut outgoing = Vec::new();
        for effect in effects.drain(..) {
            if let Effect::Transmit { to, link, bytes } = effect {
                outgoing.push((to, link, bytes));
                continue;
            }
            self.transmit(&mut outgoing);
            self.carry_out(effect)?;
        }
        self.transmit(&mut outgoing);
        self.effects = effects;
        Ok(())
    }

    /// Sends datagrams, those of a link that follow each other in one go. What cannot be sent is lost, as any datagram may be.
    fn transmit(&self, outgoing: &mut Vec<(NodeId, u8, Vec<u8>)>) {
        for of_a_link in outgoing.chunk_by(|(_, a, _), (_, b, _)| a == b) {
            let Some(socket) = of_a_link.first().and_then(|(_, link, _)| self.sockets.get(usize::from(*link))) else {
                continue;
            };
            let known = of_a_link.iter().filter_map(|(to, link, bytes)| {
                let address = self.addresses.get(&(*to, *link))?;
                Some((SocketAddrAny::from(*address), [IoSlice::new(bytes)], SendAncillaryBuffer::default()))
            });
            let mut known: Vec<_> = known.collect();
            let mut messages: Vec<MMsgHdr<'_>> =
                known.iter_mut().map(|(to, bytes, none)| MMsgHdr::new_with_addr(to, bytes, none)).collect();
            let mut left = &mut messages[..];
            while !left.is_empty() {
                // An error is that of the first.
                let done = sendmmsg(socket, left, SendFlags::empty()).unwrap_or(0).max(1);
                left = left.get_mut(done..).unwrap_or_default();
            }
        }
        outgoing.clear();
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), Ended> {
        match effect {
            Effect::Transmit { to, link, bytes } => {
                self.transmit(&mut vec![(to, link, bytes)]);
                Ok(())
            }
            Effect::Persist(state) => match self.write_now(state) {
                Ok(()) => Ok(()),
                Err(error) => {
                    // To go on would mean to use an epoch that could be used again after a restart.
                    self.tell(Told::Failed(format!("{error:#}")))?;
                    Err(Ended)
                }
            },
            Effect::Reserve(state) => self.states.send((state, None)).map_err(|_| Ended),
            Effect::View(view) => self.tell(Told::View(view)),
            Effect::Deliver(delivered) => self.tell(Told::Deliver(delivered)),
            Effect::Undelivered { reason: Undelivered::QueueFull, .. } => self.tell(Told::Undelivered),
            Effect::Undelivered { reason: Undelivered::TooLarge, payload } => {
                // Said again, it would be refused again; kept, it would stand in the way of all that follows.
                let size = payload.len() >> 20;
                self.tell(Told::Failed(format!("configuration and status are too large for one message: {size} MiB")))?;
                Err(Ended)
            }
            Effect::Undelivered { reason, .. } => {
                tracing::debug!("a broadcast was not delivered: {reason:?}");
                Ok(())
            }
            Effect::Event(event) => self.tell(Told::Event(event)),
            Effect::Left => {
                self.tell(Told::Left)?;
                Err(Ended)
            }
        }
    }

    fn write_now(&self, state: PersistedState) -> Result<()> {
        let (waiting, written) = channel();
        self.states.send((state, Some(waiting)))?;
        written.recv()?
    }

    fn tell(&self, told: Told) -> Result<(), Ended> {
        self.told.send(told).map_err(|_| Ended)
    }
}

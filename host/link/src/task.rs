//! The task: sockets, sessions, and which way a message goes.

use crate::datagrams::{Datagrams, listen};
use crate::parts::{self, Gathering, SEALED};
use crate::stream::{self, Frame, Outgoing};
use crate::{Asked, Received, Settings, resolve};
use anyhow::{Context, Result};
use hakudo_base::{Instant, NodeId};
use hakudo_seal::{Credentials, Entropy, Opened, Sealing, Sessions};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

/// The longest datagram: it fits every path without fragments.
const DATAGRAM: usize = 1200;
/// A member of which no datagram came for so long is spoken to by stream too.
const QUIET: Duration = Duration::from_secs(2);
/// A session that does not come about is asked for again so often.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// So many messages wait for a session; the oldest go first.
const WAITING: usize = 64;
/// They are of no use any more after this.
const STALE: Duration = Duration::from_secs(2);
/// So many streams from outside are served at an address, and so many of their messages wait.
const STREAMS: usize = 64;
const FRAMES: usize = 64;
/// Names are looked up again so often.
const LOOK_UP: Duration = Duration::from_secs(60);

/// What is known of another member.
#[derive(Default)]
struct Peer {
    /// Where it may be, as far as the names were found.
    addresses: BTreeSet<SocketAddr>,
    /// Streams that we make.
    streams: BTreeMap<SocketAddr, Outgoing>,
    /// The stream over which it spoke last.
    back: Option<Outgoing>,
    /// When a datagram of it came, and from where.
    datagram: Option<(StdInstant, SocketAddr)>,
    /// When something of it came.
    heard: Option<StdInstant>,
    /// When a session was asked for.
    asked: Option<StdInstant>,
    waiting: VecDeque<(StdInstant, Vec<u8>)>,
    gathering: Gathering,
}

impl Peer {
    fn is_quiet(&self) -> bool {
        self.datagram.is_none_or(|(at, _)| at.elapsed() > QUIET)
    }

    fn is_silent(&self) -> bool {
        self.heard.is_none_or(|at| at.elapsed() > QUIET)
    }
}

pub(crate) struct Task {
    settings: Settings,
    queue: mpsc::UnboundedReceiver<Asked>,
    received: mpsc::UnboundedSender<Received>,
    sockets: Vec<Arc<Datagrams>>,
    listeners: Vec<TcpListener>,
    /// None while another node speaks for this member.
    sessions: Option<Sessions>,
    peers: BTreeMap<NodeId, Peer>,
    frames: mpsc::Sender<Frame>,
    found: mpsc::UnboundedSender<(NodeId, BTreeSet<SocketAddr>)>,
    came: (mpsc::Receiver<Frame>, mpsc::UnboundedReceiver<(NodeId, BTreeSet<SocketAddr>)>),
    begun: StdInstant,
    /// The number of the newest message; those of one run begin anywhere, so that parts of two runs do not meet.
    messages: u32,
}

/// Where a datagram came from, to answer it there.
enum Way<'a> {
    Socket(&'a Datagrams, SocketAddr),
    Stream(Outgoing),
}

impl Task {
    pub(crate) fn open(
        settings: Settings,
        queue: mpsc::UnboundedReceiver<Asked>,
        received: mpsc::UnboundedSender<Received>,
    ) -> Result<(Self, Vec<SocketAddr>)> {
        let (mut sockets, mut listeners, mut listens) = (Vec::new(), Vec::new(), Vec::new());
        for address in &settings.listen {
            let (socket, listener) = listen(*address).with_context(|| format!("cannot listen at {address}"))?;
            listens.push(socket.local());
            sockets.push(Arc::new(socket));
            listeners.push(listener);
        }
        let (frames, frames_came) = mpsc::channel(FRAMES);
        let (found, found_came) = mpsc::unbounded_channel();
        let task = Self {
            settings,
            queue,
            received,
            sockets,
            listeners,
            sessions: None,
            peers: BTreeMap::new(),
            frames,
            found,
            came: (frames_came, found_came),
            begun: StdInstant::now(),
            messages: first_number(),
        };
        Ok((task, listens))
    }

    pub(crate) async fn run(mut self, speaks: bool) {
        self.speak(speaks);
        self.take_peers();
        let mut look_up = tokio::time::interval(LOOK_UP);
        // Not begun anew with each event: where many come, nothing else would be asked again.
        let mut ask_again = tokio::time::interval(ASK_AGAIN);
        ask_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (datagrams, mut came) = mpsc::channel(256);
        for socket in &self.sockets {
            tokio::spawn(read(socket.clone(), datagrams.clone()));
        }
        for listener in std::mem::take(&mut self.listeners) {
            tokio::spawn(accept(listener, self.frames.clone()));
        }
        loop {
            tokio::select! {
                asked = self.queue.recv() => match asked {
                    None => return,
                    Some(Asked::Send(to, bytes)) => self.send(to, bytes),
                    Some(Asked::Speak(speaks)) => self.speak(speaks),
                    Some(Asked::Use(settings)) => self.configure(*settings),
                },
                Some((socket, from, bytes)) = came.recv() => {
                    self.take(&bytes, &Way::Socket(&socket, from));
                }
                Some(Frame { bytes, back }) = self.came.0.recv() => self.take(&bytes, &Way::Stream(back)),
                Some((peer, addresses)) = self.came.1.recv() => self.take_addresses(peer, addresses),
                _ = look_up.tick() => self.look_up(),
                _ = ask_again.tick(), if self.something_waits() => self.ask_again(),
            }
            if self.received.is_closed() {
                return;
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.begun.elapsed()
    }

    /// Whoever speaks anew is another run to its peers.
    fn speak(&mut self, speaks: bool) {
        if speaks == self.sessions.is_some() {
            return;
        }
        self.sessions = None;
        let mut seed = [0u8; 32];
        if !speaks || rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).is_err() {
            return;
        }
        let Settings { local, credentials, peers, .. } = &self.settings;
        let entropy = Entropy::new(seed, 0);
        let mut sessions = Sessions::new(Sealing::Noise, *local, credentials.clone(), entropy, SEALED);
        sessions.set_peers(peers.keys().copied());
        self.sessions = Some(sessions);
    }

    fn configure(&mut self, settings: Settings) {
        let renamed = settings.group != self.settings.group || settings.local != self.settings.local;
        self.settings = settings;
        let Settings { credentials, peers, .. } = &self.settings;
        if let Some(sessions) = &mut self.sessions {
            sessions.set_peers(peers.keys().copied());
            sessions.use_credentials(Credentials::clone(credentials));
        }
        if renamed && self.sessions.is_some() {
            self.speak(false);
            self.speak(true);
        }
        self.take_peers();
        self.look_up();
    }

    fn take_peers(&mut self) {
        self.peers.retain(|peer, _| self.settings.peers.contains_key(peer));
        for peer in self.settings.peers.keys() {
            self.peers.entry(*peer).or_default();
        }
    }

    /// Has the names of all members looked up; what is found comes later.
    fn look_up(&self) {
        for (peer, names) in self.settings.peers.clone() {
            let found = self.found.clone();
            tokio::spawn(async move {
                let mut addresses = BTreeSet::new();
                for name in names {
                    match resolve(&name).await {
                        Ok(resolved) => addresses.extend(resolved),
                        Err(error) => tracing::warn!("{error:#}"),
                    }
                }
                // Nobody waits for it where the task has ended.
                let _ = found.send((peer, addresses));
            });
        }
    }

    fn take_addresses(&mut self, peer: NodeId, addresses: BTreeSet<SocketAddr>) {
        let Some(known) = self.peers.get_mut(&peer).filter(|_| !addresses.is_empty()) else { return };
        known.streams.retain(|address, _| addresses.contains(address));
        known.addresses = addresses;
        known.asked = None;
        if !known.waiting.is_empty() {
            self.ask_for_session(peer);
        }
    }

    fn send(&mut self, to: NodeId, bytes: Vec<u8>) {
        self.messages = self.messages.wrapping_add(1);
        for part in parts::cut(self.messages, &bytes) {
            self.send_part(to, part);
        }
        self.ask_for_session(to);
    }

    fn send_part(&mut self, to: NodeId, part: Vec<u8>) {
        let (Some(sessions), Some(peer)) = (&mut self.sessions, self.peers.get_mut(&to)) else { return };
        match sessions.seal(to, &part) {
            Some(sealed) => self.transmit(to, &sealed, parts::is_piece(&part)),
            None => {
                peer.waiting.push_back((StdInstant::now(), part));
                if peer.waiting.len() > WAITING {
                    peer.waiting.pop_front();
                }
            }
        }
    }

    /// Opens a session where there is none that serves.
    fn ask_for_session(&mut self, to: NodeId) {
        let now = self.now();
        let (Some(sessions), Some(peer)) = (&mut self.sessions, self.peers.get_mut(&to)) else { return };
        if peer.asked.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            return;
        }
        if let Some(opening) = sessions.opening(now, to, peer.is_silent(), &self.settings.group) {
            peer.asked = Some(StdInstant::now());
            self.transmit(to, &opening, false);
        }
    }

    fn something_waits(&self) -> bool {
        self.sessions.is_some() && self.peers.values().any(|peer| !peer.waiting.is_empty())
    }

    /// What asked for a session may have been lost.
    fn ask_again(&mut self) {
        for peer in self.peers.values_mut() {
            peer.waiting.retain(|(at, _)| at.elapsed() < STALE);
        }
        let waits = self.peers.iter().filter(|(_, peer)| !peer.waiting.is_empty()).map(|(peer, _)| *peer);
        for peer in waits.collect::<Vec<_>>() {
            self.ask_for_session(peer);
        }
    }

    /// Sends something sealed by all ways that may be needed. Parts of a message go by stream alone: one that is lost costs
    /// all of it.
    fn transmit(&mut self, to: NodeId, sealed: &[u8], in_parts: bool) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let long = in_parts || sealed.len() > DATAGRAM;
        if !long {
            let spoke_from = peer.datagram.iter().map(|(_, from)| from).filter(|from| !peer.addresses.contains(from));
            for address in peer.addresses.iter().chain(spoke_from) {
                for socket in self.sockets.iter().filter(|socket| socket.fits(*address)) {
                    let _ = socket.send(sealed, *address);
                }
            }
        }
        if long || peer.is_quiet() {
            for address in &peer.addresses {
                let stream = peer.streams.entry(*address).or_insert_with(|| stream::to(*address, self.frames.clone()));
                let _ = stream.try_send(sealed.to_vec());
            }
            if let Some(back) = &peer.back {
                let _ = back.try_send(sealed.to_vec());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], way: &Way<'_>) {
        let now = self.now();
        let Some(sessions) = &mut self.sessions else { return };
        match sessions.open(now, bytes, &self.settings.group) {
            Opened::Payload { from, bytes, .. } => {
                self.heard(from, way);
                if let Some(bytes) = self.peers.get_mut(&from).and_then(|peer| peer.gathering.take(bytes)) {
                    // The other end is gone only with the process.
                    let _ = self.received.send(Received { from, bytes });
                }
                self.send_waiting(from);
            }
            Opened::Answer { bytes, .. } => match way {
                Way::Socket(socket, from) => {
                    let _ = socket.send(&bytes, *from);
                }
                Way::Stream(back) => {
                    let _ = back.try_send(bytes);
                }
            },
            Opened::Established { from, .. } => {
                self.heard(from, way);
                self.send_waiting(from);
            }
            Opened::Rejected(reason) => tracing::debug!("a datagram changes nothing: {reason:?}"),
        }
    }

    fn heard(&mut self, from: NodeId, way: &Way<'_>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let now = StdInstant::now();
        peer.heard = Some(now);
        match way {
            Way::Socket(_, from) => peer.datagram = Some((now, *from)),
            Way::Stream(back) => peer.back = Some(back.clone()),
        }
    }

    fn send_waiting(&mut self, to: NodeId) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let waiting = std::mem::take(&mut peer.waiting);
        let fresh = waiting.into_iter().filter(|(at, _)| at.elapsed() < STALE);
        for (_, bytes) in fresh.collect::<Vec<_>>() {
            if let Some(sealed) = self.sessions.as_mut().and_then(|sessions| sessions.seal(to, &bytes)) {
                self.transmit(to, &sealed, parts::is_piece(&bytes));
            }
        }
    }
}

fn first_number() -> u32 {
    let mut bytes = [0; 4];
    // Without it, parts of this run may meet those of another, and what they make is no message.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_be_bytes(bytes)
}

async fn read(socket: Arc<Datagrams>, datagrams: mpsc::Sender<(Arc<Datagrams>, SocketAddr, Vec<u8>)>) {
    let mut buffer = vec![0; 65536];
    loop {
        // An error is that of a datagram sent before (nobody listens there): it says nothing of the next one.
        let came = match socket.receive(&mut buffer).await {
            Ok((length, from)) => (socket.clone(), from, buffer[..length].to_vec()),
            Err(_) => continue,
        };
        if datagrams.send(came).await.is_err() {
            return;
        }
    }
}

async fn accept(listener: TcpListener, frames: mpsc::Sender<Frame>) {
    let places = Arc::new(Semaphore::new(STREAMS));
    while !frames.is_closed() {
        match listener.accept().await {
            // One too many is closed at once: members that are heard by datagrams need none.
            Ok((stream, _)) => {
                if let Ok(place) = places.clone().try_acquire_owned() {
                    stream::from(stream, frames.clone(), place);
                }
            }
            Err(error) => {
                tracing::warn!("a connection could not be taken: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

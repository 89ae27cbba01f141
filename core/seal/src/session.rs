//! Sessions: each pair of running processes agrees on keys of its own.
//!
//! They do so by a Noise handshake: `NNpsk0` where all share a key, `KK` where each has its own pair. Who does not have the
//! key can neither open nor make a single message. A handshake is one datagram each way,
//! repeated until it is answered; both sides may begin at once, and then both sessions work until one falls out of use.
//! A datagram names its session by a number that the receiver chose, and carries a counter that is the nonce, so it may
//! be lost, late or doubled. Each counter is accepted once.
//!
//! The answering side of a handshake cannot know that the question was not a recording, until the first datagram comes
//! in under the new keys. Only then does the session count, and only then is a new run of the peer believed. So a
//! recording changes nothing, and a peer that was restarted is taken up after one and a half round trips. What was answered
//! is remembered for each run by itself, so that recordings of ended runs do not take the place of the one that lives.

use crate::handshake::{Entropy, Handshake, Keys, Sealing};
use crate::keys::{Credentials, MAX_NAME, Secret};
use crate::replay::ReplayWindow;
use hakudo_base::{Instant, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const VERSION: u8 = 0x68;
const OPEN: u8 = 1;
const ANSWER: u8 = 2;
const DATA: u8 = 3;
/// Version, kind, session, counter.
const DATA_HEADER: usize = 14;
/// Version, kind, from, to.
const OPEN_HEADER: usize = 10;
/// A session is replaced after this long, or this many datagrams.
const REKEY_AFTER: Duration = Duration::from_secs(3600);
const REKEY_PACKETS: u64 = 1 << 28;
/// The same opening message is repeated for this long.
const HANDSHAKE_LIFETIME: Duration = Duration::from_secs(10);
/// Openings of so many runs of a peer may wait for their first datagram at once. It comes a round trip after the answer: to
/// crowd out a live run takes recordings of as many others within that time.
const ANSWERED_RUNS: usize = 32;
/// How many ended runs of a peer are remembered, so that recordings of their handshakes are not even answered.
const RETIRED_RUNS: usize = 16;

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// It says something.
    Payload {
        /// The peer.
        from: NodeId,
        /// The name of its run.
        boot: u64,
        /// It is the first of its session.
        confirms: bool,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// It opens a session: send this back.
    Answer {
        /// The peer.
        to: NodeId,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// It answers our opening: the session stands.
    Established {
        /// The peer.
        from: NodeId,
        /// The name of its run.
        boot: u64,
    },
    /// It changes nothing.
    Rejected(Rejection),
}

/// Why a datagram changes nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Not a datagram of this protocol.
    Malformed,
    /// Not made with a key that counts.
    Forged {
        /// Whom it says to be from.
        claimed: Option<NodeId>,
    },
    /// Seen before, or too old to tell.
    Replayed,
    /// Its session is not known here: it is over, or of another run.
    UnknownSession,
    /// The right key, and another cluster's name.
    Foreign {
        /// The peer.
        node: NodeId,
        /// The name that it gives.
        cluster_name: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Opening {
    boot: u64,
    /// Grows with every opening of this run.
    attempt: u64,
    session: u32,
    cluster_name: String,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    boot: u64,
    session: u32,
    cluster_name: String,
}

struct Session {
    keys: Keys,
    /// Our number for it, which the peer writes on its datagrams, and the peer's number.
    ours: u32,
    theirs: u32,
    boot: u64,
    opened_here: bool,
    /// What it was opened with.
    secret: Secret,
    sent: u64,
    window: ReplayWindow,
    born: Instant,
}

struct Pending {
    handshake: Handshake,
    secret: Secret,
    session: u32,
    bytes: Vec<u8>,
    born: Instant,
}

/// The newest opening of a run that was answered.
struct Answered {
    boot: u64,
    attempt: u64,
    /// The answer.
    bytes: Vec<u8>,
    born: Instant,
    /// We wait for its first datagram; then it counts.
    session: Option<Session>,
}

/// What is known of one peer.
#[derive(Default)]
struct Peer {
    /// We send with this one.
    current: Option<Session>,
    /// We still listen to this one.
    previous: Option<Session>,
    /// We opened, and wait for the answer.
    pending: Option<Pending>,
    /// What we answered, an entry a run, the oldest first.
    answered: VecDeque<Answered>,
    retired: VecDeque<u64>,
}

impl Peer {
    fn sessions(&mut self) -> impl Iterator<Item = &mut Session> {
        let waiting = self.answered.iter_mut().map(|answered| &mut answered.session);
        [&mut self.current, &mut self.previous].into_iter().chain(waiting).filter_map(Option::as_mut)
    }

    /// Whether one of the sessions has this number.
    fn has(&self, number: u32) -> bool {
        let waiting = self.answered.iter().map(|answered| &answered.session);
        [&self.current, &self.previous].into_iter().chain(waiting).flatten().any(|session| session.ours == number)
    }

    /// Whether this session waits for its first datagram.
    fn awaits(&self, number: u32) -> bool {
        self.answered.iter().filter_map(|answered| answered.session.as_ref()).any(|session| session.ours == number)
    }

    /// The session whose first datagram came.
    fn take_answered(&mut self, number: u32) -> Option<Session> {
        self.answered.iter_mut().find_map(|answered| answered.session.take_if(|session| session.ours == number))
    }

    /// Remembers what was answered, in the place of what was answered to the same run before.
    fn remember(&mut self, answered: Answered) {
        self.answered.retain(|older| older.boot != answered.boot);
        if self.answered.len() >= ANSWERED_RUNS {
            self.answered.pop_front();
        }
        self.answered.push_back(answered);
    }

    /// Makes `session` the one to send with. Its run was alive after the session was begun, so that all others which were
    /// answered before have ended.
    fn adopt(&mut self, session: Session) {
        self.answered.retain(|answered| answered.boot == session.boot || answered.born > session.born);
        let old = self.current.replace(session);
        let boot = self.current.as_ref().map(|current| current.boot);
        if let Some(ended) = old.as_ref().map(|old| old.boot).filter(|ended| Some(*ended) != boot) {
            self.retired.push_back(ended);
            if self.retired.len() > RETIRED_RUNS {
                self.retired.pop_front();
            }
        }
        self.previous = old.filter(|old| Some(old.boot) == boot);
    }
}

/// The sessions of this run with all peers.
pub struct Sessions {
    sealing: Sealing,
    local: NodeId,
    boot: u64,
    attempts: u64,
    entropy: Entropy,
    peers: BTreeMap<NodeId, Peer>,
    rekey_packets: u64,
    credentials: Credentials,
    /// Longer datagrams are not taken, in bytes.
    longest: usize,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions of `local`, which takes datagrams of up to `longest` bytes.
    pub fn new(
        sealing: Sealing,
        local: NodeId,
        credentials: Credentials,
        mut entropy: Entropy,
        longest: usize,
    ) -> Self {
        let boot = entropy.next_u64();
        let peers = BTreeMap::new();
        Self { sealing, local, boot, attempts: 0, entropy, peers, rekey_packets: REKEY_PACKETS, credentials, longest }
    }

    /// The name of this run.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Speak with these nodes, and no others.
    pub fn set_peers(&mut self, peers: impl Iterator<Item = NodeId>) {
        let mut old = std::mem::take(&mut self.peers);
        self.peers = peers.map(|id| (id, old.remove(&id).unwrap_or_default())).collect();
    }

    /// Only these count from now on: sessions that rest on others end. Those that rest on one that still counts go on until
    /// they are replaced.
    pub fn use_credentials(&mut self, credentials: Credentials) {
        if credentials == self.credentials {
            return;
        }
        for (id, peer) in &mut self.peers {
            let secrets = credentials.secrets(*id);
            for session in [&mut peer.current, &mut peer.previous] {
                session.take_if(|session| !secrets.contains(&session.secret));
            }
            if peer.pending.as_ref().is_some_and(|pending| secrets.first() != Some(&pending.secret)) {
                peer.pending = None;
            }
            // An answer of which nothing else is known may have been made with a key that counts no more.
            let counts = |session: &Session| secrets.contains(&session.secret);
            peer.answered.retain(|answered| answered.session.as_ref().is_some_and(counts));
        }
        self.credentials = credentials;
    }

    /// Forgets all sessions: the cluster's name changed.
    pub fn forget(&mut self) {
        self.peers.values_mut().for_each(|peer| *peer = Peer::default());
    }

    /// Seals a payload for a peer; nothing if there is no session yet.
    pub fn seal(&mut self, to: NodeId, payload: &[u8]) -> Option<Vec<u8>> {
        let session = self.peers.get_mut(&to)?.current.as_mut()?;
        let counter = session.sent;
        let mut out = Vec::with_capacity(DATA_HEADER + payload.len() + 16);
        out.extend([VERSION, DATA]);
        out.extend(session.theirs.to_le_bytes());
        out.extend(counter.to_le_bytes());
        session.keys.seal(counter, payload, &mut out)?;
        session.sent += 1;
        Some(out)
    }

    /// The datagram that opens a session, if one is needed: there is none, it is worn out, or the peer is silent (`silent`)
    /// and may have lost it.
    pub fn opening(&mut self, now: Instant, to: NodeId, silent: bool, cluster_name: &str) -> Option<Vec<u8>> {
        let (rekey_packets, secret) = (self.rekey_packets, self.credentials.secrets(to).into_iter().next()?);
        let peer = self.peers.get_mut(&to)?;
        let worn_out = |session: &Session| {
            let old = session.sent >= rekey_packets || now.since(session.born) >= REKEY_AFTER;
            session.opened_here && (old || session.secret != secret)
        };
        if !silent && peer.current.as_ref().is_some_and(|session| !worn_out(session)) {
            return None;
        }
        if peer.pending.as_ref().is_none_or(|pending| now.since(pending.born) >= HANDSHAKE_LIFETIME) {
            let session = self.free_number();
            self.attempts += 1;
            let entropy = self.entropy.fork();
            let header = header(OPEN, self.local, to);
            let mut handshake = Handshake::new(self.sealing, &secret, &header, entropy, true)?;
            let cluster_name = cluster_name.to_owned();
            let opening = Opening { boot: self.boot, attempt: self.attempts, session, cluster_name };
            let message = handshake.write(&postcard::to_stdvec(&opening).ok()?)?;
            let bytes = [&header[..], &message].concat();
            self.peers.get_mut(&to)?.pending = Some(Pending { handshake, secret, session, bytes, born: now });
        }
        Some(self.peers.get(&to)?.pending.as_ref()?.bytes.clone())
    }

    /// Opens a datagram from anywhere.
    pub fn open(&mut self, now: Instant, bytes: &[u8], cluster_name: &str) -> Opened {
        let result = match bytes {
            _ if bytes.len() > self.longest => Err(Rejection::Malformed),
            [VERSION, DATA, ..] => self.open_data(bytes),
            [VERSION, OPEN, ..] => self.open_opening(now, bytes, cluster_name),
            [VERSION, ANSWER, ..] => self.open_answer(bytes, cluster_name),
            _ => Err(Rejection::Malformed),
        };
        result.unwrap_or_else(Opened::Rejected)
    }

    fn open_data(&mut self, bytes: &[u8]) -> Result<Opened, Rejection> {
        let (session, rest) = bytes.get(2..).and_then(<[u8]>::split_first_chunk).ok_or(Rejection::Malformed)?;
        let (counter, sealed) = rest.split_first_chunk().ok_or(Rejection::Malformed)?;
        let (number, counter) = (u32::from_le_bytes(*session), u64::from_le_bytes(*counter));
        let mut peers = self.peers.iter_mut();
        let found = peers.find_map(|(id, peer)| if peer.has(number) { Some((*id, peer)) } else { None });
        let (from, peer) = found.ok_or(Rejection::UnknownSession)?;
        let session = peer.sessions().find(|session| session.ours == number).ok_or(Rejection::UnknownSession)?;
        if !session.window.is_new(counter) {
            return Err(Rejection::Replayed);
        }
        let payload = session.keys.open(counter, sealed).ok_or(Rejection::Forged { claimed: Some(from) })?;
        session.window.mark(counter);
        let boot = session.boot;
        let confirms = peer.awaits(number);
        if confirms && let Some(session) = peer.take_answered(number) {
            peer.adopt(session);
        }
        Ok(Opened::Payload { from, boot, confirms, bytes: payload })
    }

    fn open_opening(&mut self, now: Instant, bytes: &[u8], cluster_name: &str) -> Result<Opened, Rejection> {
        let (from, to, message) = addresses(bytes).ok_or(Rejection::Malformed)?;
        if to != self.local || !self.peers.contains_key(&from) {
            return Err(Rejection::Forged { claimed: None });
        }
        let claimed = Some(from);
        let (sealing, entropy) = (self.sealing, &mut self.entropy);
        let read = self.credentials.secrets(from).into_iter().find_map(|secret| {
            let mut handshake = Handshake::new(sealing, &secret, &header(OPEN, from, to), entropy.fork(), false)?;
            let payload = handshake.read(message)?;
            Some((secret, handshake, payload))
        });
        let (secret, mut handshake, payload) = read.ok_or(Rejection::Forged { claimed })?;
        let opening: Opening = decode(&payload).ok_or(Rejection::Malformed)?;
        if opening.cluster_name != cluster_name {
            return Err(foreign(from, opening.cluster_name));
        }
        let ours = self.free_number();
        let boot = self.boot;
        let peer = self.peers.get_mut(&from).ok_or(Rejection::Malformed)?;
        if peer.retired.contains(&opening.boot) {
            return Err(Rejection::Replayed);
        }
        if let Some(answered) = peer.answered.iter().find(|answered| answered.boot == opening.boot) {
            if answered.attempt == opening.attempt {
                return Ok(Opened::Answer { to: from, bytes: answered.bytes.clone() });
            }
            if answered.attempt > opening.attempt {
                return Err(Rejection::Replayed);
            }
        }
        let answer = Answer { boot, session: ours, cluster_name: cluster_name.to_owned() };
        let answer = postcard::to_stdvec(&answer).map_err(|_| Rejection::Malformed)?;
        let message = handshake.write(&answer).ok_or(Rejection::Malformed)?;
        let keys = handshake.finish().ok_or(Rejection::Malformed)?;
        let bytes = [&header(ANSWER, to, from)[..], &opening.session.to_le_bytes(), &message].concat();
        let session = Session {
            keys,
            ours,
            theirs: opening.session,
            boot: opening.boot,
            opened_here: false,
            secret,
            sent: 0,
            window: ReplayWindow::new(),
            born: now,
        };
        peer.remember(Answered {
            boot: opening.boot,
            attempt: opening.attempt,
            bytes: bytes.clone(),
            born: now,
            session: Some(session),
        });
        Ok(Opened::Answer { to: from, bytes })
    }

    fn open_answer(&mut self, bytes: &[u8], cluster_name: &str) -> Result<Opened, Rejection> {
        let (from, to, rest) = addresses(bytes).ok_or(Rejection::Malformed)?;
        let (session, message) = rest.split_first_chunk().ok_or(Rejection::Malformed)?;
        if to != self.local {
            return Err(Rejection::Forged { claimed: None });
        }
        let peer = self.peers.get_mut(&from).ok_or(Rejection::Forged { claimed: None })?;
        let number = u32::from_le_bytes(*session);
        if peer.pending.as_ref().is_none_or(|pending| pending.session != number) {
            return Err(Rejection::UnknownSession);
        }
        let pending = peer.pending.as_mut().ok_or(Rejection::UnknownSession)?;
        let payload = pending.handshake.read(message).ok_or(Rejection::Forged { claimed: Some(from) })?;
        let pending = peer.pending.take().ok_or(Rejection::UnknownSession)?;
        let answer: Answer = decode(&payload).ok_or(Rejection::Malformed)?;
        if answer.cluster_name != cluster_name {
            return Err(foreign(from, answer.cluster_name));
        }
        let keys = pending.handshake.finish().ok_or(Rejection::Malformed)?;
        peer.adopt(Session {
            keys,
            ours: number,
            theirs: answer.session,
            boot: answer.boot,
            opened_here: true,
            secret: pending.secret,
            sent: 0,
            window: ReplayWindow::new(),
            born: pending.born,
        });
        Ok(Opened::Established { from, boot: answer.boot })
    }

    /// A session number that is not in use.
    fn free_number(&mut self) -> u32 {
        loop {
            let number = self.entropy.next_u64() as u32;
            let used = self
                .peers
                .values()
                .any(|peer| peer.has(number) || peer.pending.as_ref().is_some_and(|pending| pending.session == number));
            if !used {
                return number;
            }
        }
    }
}

fn header(kind: u8, from: NodeId, to: NodeId) -> [u8; OPEN_HEADER] {
    let ([a, b, c, d], [e, f, g, h]) = (from.0.to_le_bytes(), to.0.to_le_bytes());
    [VERSION, kind, a, b, c, d, e, f, g, h]
}

fn addresses(bytes: &[u8]) -> Option<(NodeId, NodeId, &[u8])> {
    let (from, rest) = bytes.get(2..)?.split_first_chunk()?;
    let (to, rest) = rest.split_first_chunk()?;
    Some((NodeId(u32::from_le_bytes(*from)), NodeId(u32::from_le_bytes(*to)), rest))
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

fn foreign(node: NodeId, cluster_name: String) -> Rejection {
    Rejection::Foreign { node, cluster_name: cluster_name.chars().take(MAX_NAME).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{PrivateKey, SharedKey};

    const KEY: SharedKey = SharedKey::new([3; 32]);
    const NOW: Instant = Instant::from_millis(1);
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn sessions(local: NodeId, seed: u8) -> Sessions {
        with(local, seed, Credentials::Shared(vec![KEY]))
    }

    fn with(local: NodeId, seed: u8, credentials: Credentials) -> Sessions {
        let mut sessions = Sessions::new(Sealing::Noise, local, credentials, Entropy::new([seed; 32], 1), 1200);
        sessions.set_peers([A, B].into_iter().filter(|id| *id != local));
        sessions
    }

    fn opening(from: &mut Sessions, to: NodeId) -> Vec<u8> {
        from.opening(NOW, to, false, "c").unwrap()
    }

    fn open(by: &mut Sessions, bytes: &[u8]) -> Opened {
        by.open(NOW, bytes, "c")
    }

    fn answer(by: &mut Sessions, bytes: &[u8]) -> Vec<u8> {
        match open(by, bytes) {
            Opened::Answer { bytes, .. } => bytes,
            other => panic!("{other:?}"),
        }
    }

    /// Says something and gives whether it is understood.
    fn says(from: &mut Sessions, to: &mut Sessions) -> bool {
        let sealed = from.seal(to.local, b"word").unwrap();
        let understood = matches!(open(to, &sealed), Opened::Payload { bytes, .. } if bytes == b"word");
        assert_eq!(open(to, &sealed), Opened::Rejected(Rejection::Replayed));
        understood
    }

    #[test]
    fn both_may_open_at_once() {
        let (mut a, mut b) = (sessions(A, 1), sessions(B, 2));
        let (from_a, from_b) = (opening(&mut a, B), opening(&mut b, A));
        let (by_b, by_a) = (answer(&mut b, &from_a), answer(&mut a, &from_b));
        assert_eq!(answer(&mut b, &from_a), by_b, "a doubled opening gets the same answer");
        assert!(matches!(open(&mut a, &by_b), Opened::Established { from: B, .. }));
        assert!(matches!(open(&mut b, &by_a), Opened::Established { from: A, .. }));
        assert_eq!(open(&mut a, &by_b), Opened::Rejected(Rejection::UnknownSession));
        for _ in 0..3 {
            assert!(says(&mut a, &mut b) && says(&mut b, &mut a));
        }
    }

    #[test]
    fn a_worn_out_session_is_replaced_without_a_gap() {
        let (mut a, mut b) = (sessions(A, 1), sessions(B, 2));
        a.rekey_packets = 5;
        let by_b = answer(&mut b, &opening(&mut a, B));
        open(&mut a, &by_b);
        for _ in 0..5 {
            assert!(a.opening(NOW, B, false, "c").is_none());
            assert!(says(&mut a, &mut b));
        }
        let late = a.seal(B, b"late").unwrap();
        let by_b = answer(&mut b, &opening(&mut a, B));
        assert!(says(&mut b, &mut a), "the old session serves until the new one stands");
        open(&mut a, &by_b);
        assert!(says(&mut a, &mut b) && says(&mut b, &mut a));
        assert!(matches!(open(&mut b, &late), Opened::Payload { .. }), "what was on its way is still understood");
    }

    #[test]
    fn a_restarted_peer_is_believed_only_with_its_first_word() {
        let (mut a, mut b) = (sessions(A, 1), sessions(B, 2));
        let recorded = opening(&mut a, B);
        let by_b = answer(&mut b, &recorded);
        open(&mut a, &by_b);
        assert!(says(&mut a, &mut b) && says(&mut b, &mut a));
        let mut again = sessions(A, 9);
        let by_b = answer(&mut b, &opening(&mut again, B));
        assert!(says(&mut a, &mut b), "the old run still counts");
        open(&mut again, &by_b);
        let word = again.seal(B, b"here").unwrap();
        let expected = Opened::Payload { from: A, boot: again.boot(), confirms: true, bytes: b"here".to_vec() };
        assert_eq!(open(&mut b, &word), expected);
        assert_eq!(open(&mut b, &recorded), Opened::Rejected(Rejection::Replayed), "the old run is over");
        let old = a.seal(B, b"old").unwrap();
        assert_eq!(open(&mut b, &old), Opened::Rejected(Rejection::UnknownSession));
    }

    #[test]
    fn recordings_of_ended_runs_do_not_crowd_out_the_live_one() {
        let mut b = sessions(B, 2);
        let recorded: Vec<Vec<u8>> = (10..20).map(|seed| opening(&mut sessions(A, seed), B)).collect();
        let mut a = sessions(A, 1);
        let from_a = opening(&mut a, B);
        let by_b = answer(&mut b, &from_a);
        for ended in &recorded {
            answer(&mut b, ended);
        }
        assert_eq!(answer(&mut b, &from_a), by_b, "a doubled opening gets the same answer");
        open(&mut a, &by_b);
        assert!(says(&mut a, &mut b) && says(&mut b, &mut a));
        for ended in &recorded {
            open(&mut b, ended);
        }
        assert!(says(&mut a, &mut b) && says(&mut b, &mut a));
        assert!(b.peers[&A].answered.len() <= ANSWERED_RUNS);
    }

    /// Opens a session where one is due, and gives whether both understand each other then.
    fn meet(a: &mut Sessions, b: &mut Sessions) -> bool {
        if let Some(opening) = a.opening(NOW, b.local, false, "c")
            && let Opened::Answer { bytes, .. } = open(b, &opening)
        {
            open(a, &bytes);
        }
        a.peers[&b.local].current.is_some() && says(a, b) && says(b, a)
    }

    #[test]
    fn the_key_changes_while_the_session_serves() {
        const NEW: SharedKey = SharedKey::new([4; 32]);
        let (mut a, mut b) = (sessions(A, 1), sessions(B, 2));
        assert!(meet(&mut a, &mut b));
        // One node after the other is given the new key as its second, then as its first, then alone.
        for keys in [vec![KEY, NEW], vec![NEW, KEY], vec![NEW]] {
            a.use_credentials(Credentials::Shared(keys.clone()));
            assert!(says(&mut a, &mut b) && says(&mut b, &mut a), "{keys:?} at one");
            assert!(meet(&mut a, &mut b) && meet(&mut b, &mut a));
            b.use_credentials(Credentials::Shared(keys.clone()));
            assert!(says(&mut a, &mut b) && says(&mut b, &mut a), "{keys:?} at both");
            assert!(meet(&mut a, &mut b) && meet(&mut b, &mut a));
        }
        let mut old = sessions(A, 3);
        assert!(matches!(open(&mut b, &opening(&mut old, B)), Opened::Rejected(Rejection::Forged { .. })));
        a.use_credentials(Credentials::Shared(vec![KEY]));
        assert!(a.seal(B, b"word").is_none(), "a session of a key that counts no more is over");
        assert!(!meet(&mut a, &mut b));
    }

    /// What node `number` knows: its own pair, made from `own`, and others' public keys, made from what they are said to be.
    fn pairs(own: u8, others: &[(NodeId, u8)]) -> Credentials {
        let public = |seed: u8| PrivateKey::new([seed; 32]).public().unwrap();
        let peers = others.iter().map(|(id, seed)| (*id, public(*seed))).collect();
        Credentials::Own { private: PrivateKey::new([own; 32]), peers }
    }

    #[test]
    fn each_peer_is_known_by_its_own_pair() {
        let mut a = with(A, 1, pairs(11, &[(B, 12)]));
        let mut b = with(B, 2, pairs(12, &[(A, 11)]));
        assert!(meet(&mut a, &mut b));
        let mut thief = with(A, 3, pairs(13, &[(B, 12)]));
        assert!(matches!(open(&mut b, &opening(&mut thief, B)), Opened::Rejected(Rejection::Forged { .. })));
        assert!(says(&mut a, &mut b), "the session with the real one goes on");
        b.use_credentials(pairs(12, &[(A, 13)]));
        assert!(b.seal(A, b"word").is_none(), "who has another pair now is another one");
        assert!(meet(&mut thief, &mut b));
    }
}

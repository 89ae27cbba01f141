//! A member of a booth group: how a hakudo site or arbitrator serves beside boothd.
//!
//! booth decides on each ticket by itself, with votes and terms, and gives leases by the word of a majority. This engine
//! says booth's messages, but its safety does not rest on votes. It rests on a **promise**: a member that answers a
//! heartbeat promises its ticket to that holder alone until the lease has run out by the member's own clock, or the holder
//! said that it stopped. A holder counts a lease only from the start of a round of heartbeats that a majority answered. Any
//! two majorities have a member in common, and a member has one promise at a time: so there is one holder at a time.
//!
//! What makes this true here and not in boothd:
//!
//! - **Promises are on disk before they are answered.** After a restart a promise counts as if it were made just then.
//! - **A round has a number.** Each round of heartbeats raises the term, so an answer to an earlier round is not taken for
//!   one to this. boothd answers with the term that it was sent, and needs no change. Numbers are reserved on disk in
//!   blocks: a renewal writes nothing.
//! - **A holder says the whole time of its lease** in each message, never the rest rounded down, so that no message makes a
//!   lease shorter at others than it is here.
//! - **The holder counts down, others count up.** The lease ends early by the drift of two clocks (boothd allows for none),
//!   and earlier by what stopping takes beyond `acquire-after`. Waiters wait that much longer; after a heartbeat of
//!   a boothd, which counts its lease from the answers on, another `timeout` and a second.
//! - **A restarted boothd has forgotten its promises**, and says so by asking for the state. Until they have run out, its
//!   answers do not count towards a takeover.
//! - **A ticket is given up only after the stop**: on revocation, and when the site can no longer run what depends on it.
//! - **Who may still run something neither votes nor follows**: a site that promises, or answers a heartbeat, says by it that
//!   nothing runs there by an earlier grant. Others that have a majority without it wait for the longest time instead.
//! - **No lease is counted before the time to stop is known**, and a longer time is told to the nodes only with an end that
//!   allows for it.
//!
//! What no member can mend: a boothd that holds a ticket enforces nothing if it hangs, and one that is sent an old heartbeat
//! late follows it. Groups of hakudo members only have no reason for this protocol.
//!
//! Effects are to be carried out in order. Those behind an [`Effect::Persist`] that depend on it come only after
//! [`Input::Persisted`].

pub(super) mod client;
mod leading;
mod status;
mod ticket;

use super::config::{self, Kind, Mode, Prerequisite};
use super::seal::{self, Key, Replays, Stale};
use super::text;
use super::wire::{Body, Command, Leader, Message, Outcome, SiteId, Stamp, TicketBody};
use hakudo_base::{Instant, Random, Severity, UnixTime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;
use ticket::Ticket;

/// A member, its address known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number on the wire.
    pub id: SiteId,
    /// Site or arbitrator.
    pub kind: Kind,
    /// Its address, which is its name too.
    pub address: IpAddr,
}

/// What an engine must know.
#[derive(Clone, Debug)]
pub struct Config {
    /// All members, in the order of the file.
    pub members: Vec<Peer>,
    /// Who this is.
    pub local: SiteId,
    /// The tickets.
    pub tickets: Vec<config::Ticket>,
    /// Leases are counted in milliseconds on the wire.
    pub milliseconds: bool,
    /// The common key.
    pub key: Option<Key>,
    /// How far calendar clocks may be apart.
    pub max_time_skew: Duration,
    /// How long this site may need to stop what depends on a ticket; it makes sure of that bound. Where it is not known
    /// yet, no ticket is taken before [`Input::StopTime`].
    pub stop_time: Option<Duration>,
    /// Seconds that the zone of the machine is ahead of UTC, for times in lists.
    pub utc_offset: i32,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There are not as many addresses as members.
    #[error("{0} addresses for {1} members")]
    Addresses(usize, usize),
    /// No member has the address of this one.
    #[error("no member of the group has the address {0}")]
    NotAMember(IpAddr),
    /// Two members would be the same on the wire.
    #[error("{0} and {1} have the same number on the wire")]
    SameId(IpAddr, IpAddr),
    /// The name of a ticket has no room in messages.
    #[error("the name of the ticket {0} is too long for booth's messages")]
    LongName(String),
    /// A lease too short to be renewed in time, the time to stop being taken off.
    #[error(
        "the lease of ticket {ticket} is usable for {usable:?} only, but is renewed every {renewal:?}: stopping takes too long for it"
    )]
    StopTime {
        /// The ticket.
        ticket: String,
        /// The lease without drift and time to stop.
        usable: Duration,
        /// `renewal-freq`.
        renewal: Duration,
    },
}

impl Config {
    /// The configuration of the member with the address `local`; `addresses` are those of all members of `group`, in order.
    ///
    /// # Errors
    /// Where the group cannot be served.
    pub fn new(
        group: &config::Group,
        addresses: &[IpAddr],
        local: IpAddr,
        key: Option<Key>,
        stop_time: Duration,
    ) -> Result<Self, ConfigError> {
        if addresses.len() != group.members.len() {
            return Err(ConfigError::Addresses(addresses.len(), group.members.len()));
        }
        let mut members: Vec<Peer> = Vec::new();
        for (member, &address) in group.members.iter().zip(addresses) {
            let id = SiteId::of(address);
            if let Some(same) = members.iter().find(|other| other.id == id) {
                return Err(ConfigError::SameId(same.address, address));
            }
            members.push(Peer { id, kind: member.kind, address });
        }
        if !members.iter().any(|member| member.address == local) {
            return Err(ConfigError::NotAMember(local));
        }
        for ticket in &group.tickets {
            if ticket.name.len() > config::LONGEST_NAME {
                return Err(ConfigError::LongName(ticket.name.clone()));
            }
            let usable = leading::usable(ticket, stop_time);
            if ticket.mode == Mode::Automatic && usable <= ticket.renewal {
                return Err(ConfigError::StopTime { ticket: ticket.name.clone(), usable, renewal: ticket.renewal });
            }
        }
        Ok(Self {
            members,
            local: SiteId::of(local),
            tickets: group.tickets.clone(),
            milliseconds: group.counts_milliseconds(),
            key,
            max_time_skew: group.max_time_skew,
            stop_time: Some(stop_time),
            utc_offset: 0,
        })
    }
}

/// Both clocks of the machine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// What durations are measured with.
    pub monotonic: Instant,
    /// What stamps on messages and times in lists are made of; no lease depends on it.
    pub calendar: UnixTime,
}

/// The connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// What happens to an engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// The engine begins: it asks the others for the state.
    Start,
    /// The deadline has come.
    Timer,
    /// A datagram came in.
    Datagram(Vec<u8>),
    /// A client sent a whole message.
    Client(ClientId, Vec<u8>),
    /// A client closed its connection.
    ClientGone(ClientId),
    /// What was to be written is on disk, up to that number.
    Persisted(u64),
    /// The handler of a ticket has ended.
    Handler {
        /// The ticket.
        ticket: String,
        /// The number of the run.
        run: u64,
        /// It agrees, or why not.
        result: Result<(), String>,
    },
    /// The site can run what depends on the ticket, or not any longer. A site of which nothing was said takes no ticket, but
    /// goes on with what it held.
    Able {
        /// The ticket.
        ticket: String,
        /// Whether it can, or why not.
        able: Result<(), String>,
    },
    /// All that depends on the ticket is stopped here.
    Stopped {
        /// The ticket.
        ticket: String,
    },
    /// How long stopping what depends on the ticket may take from now on, in place of [`Config::stop_time`]. Said before
    /// [`Input::Start`] where it is known.
    StopTime {
        /// The ticket.
        ticket: String,
        /// The bound.
        stop_time: Duration,
    },
    /// What the site knows of a lease that it had before this engine was made. Said before [`Input::Start`], or soon after.
    KnownLease {
        /// The ticket.
        ticket: String,
        /// The grant.
        grant: u32,
        /// The end by the clock of this engine.
        until: Instant,
    },
    /// Somebody at this site asks, and not by booth's messages; answered by [`Effect::Asked`].
    Ask {
        /// Comes back with the answers.
        id: u64,
        /// The ticket.
        ticket: String,
        /// What is asked.
        ask: Ask,
    },
}

/// What can be asked of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Grant it to this site.
    Grant {
        /// Without waiting for sites that cannot be reached.
        immediate: bool,
    },
    /// Revoke it from this site.
    Revoke,
    /// Set it aside here, or use it again: nothing that the group hears of.
    Standby(bool),
    /// Set or remove a geo attribute.
    Attribute {
        /// The attribute.
        name: String,
        /// Its value; nothing removes it.
        value: Option<String>,
    },
}

/// What an engine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this to disk, in place of what was written before, and answer with [`Input::Persisted`].
    Persist(u64, Stored),
    /// Send a datagram to a member.
    Send(SiteId, Vec<u8>),
    /// Send bytes to a client, and close its connection where they are the last.
    Answer {
        /// The client.
        client: ClientId,
        /// A whole message.
        bytes: Vec<u8>,
        /// Nothing follows.
        last: bool,
    },
    /// The ticket is held here, or not.
    Ticket {
        /// The ticket.
        ticket: String,
        /// What is known of it.
        word: Word,
    },
    /// Run the handler of the ticket, and answer with [`Input::Handler`].
    RunHandler {
        /// The ticket.
        ticket: String,
        /// Comes back with the answer.
        run: u64,
        /// `BOOTH_TICKET_EXPIRES`: when the lease ends, where it is held; seconds since 1970.
        expires: Option<i64>,
    },
    /// An attribute of the ticket has changed here.
    Attribute {
        /// The ticket.
        ticket: String,
        /// The attribute.
        name: String,
        /// Its value, or nothing where it was removed.
        value: Option<String>,
    },
    /// The ticket was set aside here, or is used again.
    Standby {
        /// The ticket.
        ticket: String,
        /// Aside or not.
        on: bool,
    },
    /// What came of [`Input::Ask`].
    Asked {
        /// The question.
        id: u64,
        /// The answer.
        outcome: Outcome,
        /// Nothing follows.
        last: bool,
    },
    /// Something that people should know.
    Event {
        /// How grave it is.
        severity: Severity,
        /// The ticket; empty where it is about a member.
        ticket: String,
        /// What happened.
        text: String,
    },
}

/// What the cluster is told of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is held here.
    Held {
        /// Up to this moment; everything that depends on it is stopped within the time to stop from there on. Nothing:
        /// without end (manual tickets).
        until: Option<Instant>,
        /// The time to stop that this end allows for.
        stop_time: Duration,
        /// The term, for the CIB.
        term: u32,
        /// The number of the grant: the same as long as the ticket is held without a break, over restarts too, and never the
        /// same again at this site.
        grant: u32,
    },
    /// It is not held here (any longer): stop what depends on it, and answer with [`Input::Stopped`].
    NotHeld {
        /// Who holds it, as far as is known.
        owner: Leader,
        /// An administrator revoked it.
        revoked: bool,
        /// The number of the last grant here; 0 where there was none.
        grant: u32,
    },
}

/// What must outlive the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// By ticket.
    pub tickets: BTreeMap<String, StoredTicket>,
    /// The newest second that was seen in stamps of each sender.
    pub seen: BTreeMap<SiteId, u32>,
}

/// What must outlive the process, of a ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTicket {
    /// No term up to here is used again.
    pub term: u32,
    /// Whom this member voted for, and in which term.
    pub vote: Option<(u32, SiteId)>,
    /// Whom the ticket is promised to, and since which term.
    pub promise: Option<(u32, SiteId)>,
    /// An administrator revoked it, and has not granted it since: the last term in which it was held before.
    pub revoked: Option<u32>,
    /// The geo attributes.
    pub attributes: BTreeMap<String, String>,
    /// The number of the last grant to this site.
    pub grant: u32,
    /// It is set aside here.
    pub standby: bool,
    /// It was granted and not revoked: if nobody holds it, some site should.
    pub wanted: bool,
    /// It was held in this term, or later.
    pub held: u32,
}

/// Counters of the datagrams exchanged with a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sent.
    pub sent: u64,
    /// Not sent, because they could not be written.
    pub send_errors: u64,
    /// Sent again.
    pub resends: u64,
    /// Received and taken.
    pub received: u64,
    /// Received, but were no messages.
    pub receive_errors: u64,
    /// Not authentic, or taken before.
    pub not_authentic: u64,
    /// Of no ticket of this group, or with an unknown holder.
    pub invalid: u64,
    /// When the last one was taken.
    pub last: Option<UnixTime>,
}

/// What a ticket's rules want done; becomes effects once all of it is known.
#[derive(Debug)]
enum Out {
    Persist,
    Send(SiteId, Message),
    Answer { client: ClientId, message: Message, last: bool },
    Effect(Effect),
}

/// What the rules of all tickets share.
#[derive(Debug)]
struct Context {
    config: Config,
    now: Now,
    random: Random,
    outs: Vec<Out>,
    peers: BTreeMap<SiteId, PeerState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PeerState {
    counters: Counters,
    /// It keeps its promises over restarts.
    durable: bool,
    /// It forgot its promises then.
    forgot_at: Option<Instant>,
    /// When a message of it was taken last.
    taken: Option<Instant>,
    /// It was said that its messages are refused.
    refusal_told: bool,
}

impl Context {
    fn others(&self) -> impl Iterator<Item = &Peer> {
        self.config.members.iter().filter(|member| member.id != self.config.local)
    }

    fn kind(&self, id: SiteId) -> Option<Kind> {
        self.config.members.iter().find(|member| member.id == id).map(|member| member.kind)
    }

    fn is_site(&self) -> bool {
        self.kind(self.config.local) == Some(Kind::Site)
    }

    fn is_majority(&self, count: usize) -> bool {
        count * 2 > self.config.members.len()
    }

    fn is_durable(&self, id: SiteId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.durable)
    }

    fn name(&self, id: SiteId) -> String {
        let found = self.config.members.iter().find(|member| member.id == id);
        found.map_or_else(|| id.to_string(), |member| member.address.to_string())
    }

    /// A duration on the wire: never less than it is.
    fn to_wire(&self, duration: Duration) -> u32 {
        let unit = if self.config.milliseconds { 1_000_000 } else { 1_000_000_000 };
        u32::try_from(duration.as_nanos().div_ceil(unit)).unwrap_or(u32::MAX)
    }

    /// What the sender may have meant at most: boothd rounds down.
    fn at_most(&self, wire: u32) -> Duration {
        let wire = u64::from(wire);
        if self.config.milliseconds { Duration::from_millis(wire + 1) } else { Duration::from_secs(wire + 1) }
    }

    fn event(&mut self, severity: Severity, ticket: &str, text: String) {
        self.outs.push(Out::Effect(Effect::Event { severity, ticket: ticket.to_owned(), text }));
    }

    fn send(&mut self, to: SiteId, message: Message) {
        self.outs.push(Out::Send(to, message));
    }
}

/// A member of a booth group.
#[derive(Debug)]
pub struct Engine {
    context: Context,
    tickets: BTreeMap<String, Ticket>,
    /// Requests of clients that wait for an outcome, by ticket.
    requests: BTreeMap<String, Vec<client::Request>>,
    replays: Replays,
    /// Clients have clocks of their own under the id of their site.
    clients: Replays,
    asked_to_persist: u64,
    persisted: u64,
    /// What waits for the disk.
    waiting: VecDeque<(u64, Out)>,
    last_stored: Stored,
    stored_seen_at: Instant,
}

/// How often the newest stamps are written, where nothing else is.
const SEEN_EVERY: Duration = Duration::from_secs(30);

impl Engine {
    /// An engine that knows what it `stored` in an earlier life. It does nothing before [`Input::Start`].
    pub fn new(config: Config, seed: u64, stored: &Stored, now: Now) -> Self {
        let mut replays = Replays::default();
        replays.restore(&stored.seen);
        let clients = Replays::of_many(config.max_time_skew, now.calendar);
        let none = StoredTicket::default();
        let tickets = config.tickets.iter().map(|ticket| {
            let stored = stored.tickets.get(&ticket.name).unwrap_or(&none);
            (ticket.name.clone(), Ticket::new(ticket.clone(), &config, stored, now.monotonic))
        });
        let tickets = tickets.collect();
        let random = Random::new(seed);
        Self {
            context: Context { config, now, random, outs: Vec::new(), peers: BTreeMap::new() },
            tickets,
            requests: BTreeMap::new(),
            replays,
            clients,
            asked_to_persist: 0,
            persisted: 0,
            waiting: VecDeque::new(),
            last_stored: stored.clone(),
            stored_seen_at: now.monotonic,
        }
    }

    /// Takes an input at a moment; what is to be done is added to `effects`.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.context.now = now;
        match input {
            Input::Start => self.tickets.values_mut().for_each(|ticket| ticket.start(&mut self.context)),
            Input::Timer => {}
            Input::Datagram(bytes) => self.datagram(&bytes),
            Input::Client(client, bytes) => self.client(client, &bytes),
            Input::ClientGone(client) => self.client_gone(client),
            Input::Persisted(number) => {
                self.persisted = self.persisted.max(number);
                while self.waiting.front().is_some_and(|(needed, _)| *needed <= self.persisted) {
                    if let Some((_, out)) = self.waiting.pop_front() {
                        self.carry_out(out, effects);
                    }
                }
            }
            Input::Handler { ticket, run, result } => {
                self.with(&ticket, |ticket, context| ticket.handler_ended(context, run, result))
            }
            Input::Able { ticket, able } => self.with(&ticket, |ticket, context| ticket.able(context, able)),
            Input::Stopped { ticket } => self.with(&ticket, |ticket, context| ticket.stopped(context)),
            Input::StopTime { ticket, stop_time } => {
                self.with(&ticket, |ticket, context| ticket.stop_time(context, stop_time));
            }
            Input::KnownLease { ticket, grant, until } => {
                self.with(&ticket, |ticket, _| ticket.known_lease(grant, until));
            }
            Input::Ask { id, ticket, ask } => self.ask(id, &ticket, ask),
        }
        for ticket in self.tickets.values_mut() {
            ticket.tick(&mut self.context);
        }
        self.answer_requests();
        self.flush(effects);
    }

    /// When [`Input::Timer`] is to come next.
    pub fn deadline(&self) -> Option<Instant> {
        self.tickets.values().filter_map(Ticket::deadline).min()
    }

    /// What `booth list` shows.
    pub fn list(&self) -> Vec<text::Ticket> {
        self.tickets_in_order().map(|ticket| ticket.listed(&self.context)).collect()
    }

    /// What `booth peers` shows: the other members.
    pub fn peers(&self) -> Vec<(Peer, Counters)> {
        let counters = |id| self.context.peers.get(&id).map(|peer| peer.counters).unwrap_or_default();
        self.context.others().map(|peer| (peer.clone(), counters(peer.id))).collect()
    }

    fn tickets_in_order(&self) -> impl Iterator<Item = &Ticket> {
        self.context.config.tickets.iter().filter_map(|ticket| self.tickets.get(&ticket.name))
    }

    fn with(&mut self, name: &str, action: impl FnOnce(&mut Ticket, &mut Context)) {
        if let Some(ticket) = self.tickets.get_mut(name) {
            action(ticket, &mut self.context);
        }
    }

    fn datagram(&mut self, bytes: &[u8]) {
        let key = self.context.config.key.as_ref();
        let read = seal::read(bytes, key, false);
        // Who sent what is not authentic is unknown; the counter is that of whom it claims to be.
        let claimed =
            SiteId(bytes.get(20..24).map_or(0, |id| id.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))));
        if self.context.kind(claimed).is_none() || claimed == self.context.config.local {
            return;
        }
        let state = self.context.peers.entry(claimed).or_default();
        let message = match read {
            Ok(message) => message,
            Err(seal::WireError::Forged | seal::WireError::Authentication(_)) => {
                state.counters.not_authentic += 1;
                return;
            }
            Err(_) => {
                state.counters.receive_errors += 1;
                return;
            }
        };
        let (calendar, skew) = (self.context.now.calendar, self.context.config.max_time_skew);
        if key.is_some()
            && let Err(stale) = self.replays.take(claimed, bytes, calendar, skew)
        {
            state.counters.not_authentic += 1;
            return self.refused(claimed, stale);
        }
        (state.taken, state.refusal_told) = (Some(self.context.now.monotonic), false);
        let Body::Ticket(body) = &message.body else {
            state.counters.invalid += 1;
            return;
        };
        let leader_known = match body.leader {
            Leader::Site(id) => self.context.config.members.iter().any(|member| member.id == id),
            Leader::Unknown | Leader::Nobody => true,
        };
        let Some(ticket) = self.tickets.get_mut(&body.ticket).filter(|_| leader_known) else {
            state.counters.invalid += 1;
            return;
        };
        state.counters.received += 1;
        state.counters.last = Some(calendar);
        state.durable = message.flags.durable;
        if message.command == Command::Status && !message.flags.durable {
            // boothd asks for the state when it starts, knowing nothing.
            state.forgot_at = Some(self.context.now.monotonic);
        }
        ticket.message(&mut self.context, &message, body);
    }

    /// An authentic message was refused. One now and then came late; where nothing else comes of a member, people should know.
    fn refused(&mut self, member: SiteId, stale: Stale) {
        let now = self.context.now.monotonic;
        let longest = Duration::from_secs(u64::from(seal::LATE));
        let Some(peer) = self.context.peers.get_mut(&member) else { return };
        let silent = peer.taken.is_none_or(|taken| now.since(taken) >= longest);
        if peer.refusal_told || !silent || !matches!(stale, Stale::Late(_) | Stale::Skew(_)) {
            return;
        }
        peer.refusal_told = true;
        let text = format!(
            "messages of {} are refused: {stale}; was its calendar clock set back, or is one of the two wrong?",
            self.context.name(member)
        );
        self.context.event(Severity::Warning, "", text);
    }

    /// Makes effects of what the rules want, those behind a write after it.
    fn flush(&mut self, effects: &mut Vec<Effect>) {
        if self.context.now.monotonic.since(self.stored_seen_at) >= SEEN_EVERY
            && self.replays.floor() != self.last_stored.seen
        {
            self.context.outs.push(Out::Persist);
        }
        for out in std::mem::take(&mut self.context.outs) {
            match out {
                Out::Persist => self.persist(effects),
                // Losing waits for nothing, and nothing that was held back may come behind it.
                Out::Effect(Effect::Ticket { ref ticket, word: Word::NotHeld { .. } }) => {
                    self.waiting.retain(
                        |(_, out)| !matches!(out, Out::Effect(Effect::Ticket { ticket: other, .. }) if other == ticket),
                    );
                    self.carry_out(out, effects);
                }
                Out::Effect(event @ Effect::Event { .. }) => effects.push(event),
                out if self.asked_to_persist > self.persisted => self.waiting.push_back((self.asked_to_persist, out)),
                out => self.carry_out(out, effects),
            }
        }
    }

    /// What was written last, or is being written.
    pub fn stored(&self) -> &Stored {
        &self.last_stored
    }

    fn persist(&mut self, effects: &mut Vec<Effect>) {
        let tickets = self.tickets.iter().map(|(name, ticket)| (name.clone(), ticket.stored())).collect();
        let stored = Stored { tickets, seen: self.replays.floor() };
        if stored != self.last_stored {
            self.asked_to_persist += 1;
            self.stored_seen_at = self.context.now.monotonic;
            self.last_stored = stored.clone();
            effects.push(Effect::Persist(self.asked_to_persist, stored));
        }
    }

    fn carry_out(&mut self, out: Out, effects: &mut Vec<Effect>) {
        let written =
            |message: &Message| seal::write(message, self.context.config.key.as_ref(), stamp(self.context.now));
        match out {
            Out::Persist => {}
            Out::Effect(effect) => effects.push(effect),
            Out::Send(to, message) => {
                let bytes = written(&message);
                let counters = &mut self.context.peers.entry(to).or_default().counters;
                match bytes {
                    Ok(bytes) => {
                        counters.sent += 1;
                        effects.push(Effect::Send(to, bytes));
                    }
                    Err(_) => counters.send_errors += 1,
                }
            }
            Out::Answer { client, message, last } => match written(&message) {
                Ok(bytes) => effects.push(Effect::Answer { client, bytes, last }),
                Err(_) => effects.push(Effect::Answer { client, bytes: Vec::new(), last: true }),
            },
        }
    }
}

/// The stamp of what is sent then.
fn stamp(now: Now) -> Stamp {
    Stamp {
        seconds: u32::try_from(now.calendar.seconds()).unwrap_or_default(),
        microseconds: (now.monotonic.as_nanos() / 1000 % 1_000_000) as u32,
    }
}

/// True where all prerequisites of that occasion are fulfilled.
fn fulfilled(all: &[Prerequisite], when: config::When, attributes: &BTreeMap<String, ticket::Attribute>) -> bool {
    let value = |name: &str| attributes.get(name).map(|attribute| attribute.value.as_str());
    all.iter().filter(|one| one.when == when).all(|one| one.is_fulfilled_by(value(&one.attribute)))
}

/// The body of a message about a ticket.
fn body(ticket: &str, leader: Leader, term: u32, valid_for: u32) -> Body {
    Body::Ticket(TicketBody { ticket: ticket.to_owned(), leader, term, valid_for })
}

/// Members, by number.
type Members = BTreeSet<SiteId>;

#[cfg(test)]
mod tests;

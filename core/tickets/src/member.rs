//! One member: what it keeps, and how inputs become effects.
//!
//! Everything that a member does happens in [`Member::handle`], in four steps: the input is taken in; what follows from it
//! is done, until nothing follows any more; what must outlive this run is given out to be stored; and messages that promise
//! something wait in the `outbox` until it is.

use crate::config::{Group, GroupError, MemberId, TicketConfig, fnv1a};
use crate::core_types::{Effect, Event, Input, StartError, TicketWord};
use crate::hand_over::{GivenUp, Looking};
use crate::log::{Author, Command, Entry, Log, Position, Term};
use crate::message::{Message, Packet};
use crate::office::Office;
use crate::request::RequestEnvelope;
use crate::site::Site;
use crate::table::Table;
use crate::take_over::TakingOver;
use hakudo_base::{Instant, Random};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What must outlive a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    format: u8,
    /// Chosen at random where nothing was stored: who has another one does not know what this one promised.
    pub(crate) memory: u64,
    pub(crate) term: Term,
    pub(crate) voted_for: Option<MemberId>,
    pub(crate) log: Log,
    pub(crate) commit: u64,
    /// Grants of this site that it has given up for good.
    pub(crate) released: BTreeSet<u64>,
    /// Grants of this site that the log calls unlimited and that this site takes for ones with an end.
    pub(crate) finite: BTreeSet<u64>,
}

/// The format of [`Stored`].
const FORMAT: u8 = 2;

/// What is known of another member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) heard: Option<Instant>,
    /// Since when it is heard without a break.
    pub(crate) since: Instant,
    pub(crate) is_heard: bool,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) malformed: u64,
    pub(crate) config_differs: bool,
}

/// The votes for this member.
#[derive(Clone, Debug)]
pub(crate) struct Candidacy {
    /// Only asking whether it would be elected.
    pub(crate) pre: bool,
    /// Who is for it, by which memory, and a moment by this member's clock that is not before the voter's last ack to any
    /// coordinator.
    pub(crate) votes: BTreeMap<MemberId, (u64, Instant)>,
}

/// A request of somebody at this member.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The shell's number.
    pub(crate) id: u64,
    pub(crate) request: RequestEnvelope,
    /// When it was asked.
    pub(crate) since: Instant,
    pub(crate) heard: Instant,
    pub(crate) sent: Option<(Instant, MemberId)>,
    pub(crate) last: Option<crate::request::Progress>,
}

/// A message on its way out.
#[derive(Clone, Debug)]
struct Outgoing {
    to: MemberId,
    message: Message,
    /// It waits for this number of [`Effect::Persist`] or [`Effect::Confirm`].
    gate: u64,
}

/// A place in the log of a group: all members whose log has it have the same entries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decided {
    /// The epoch in which the entry was written: it grows with each takeover.
    pub epoch: u32,
    /// The term in that epoch.
    pub number: u32,
    /// The number of the entry.
    pub index: u64,
}

/// A member of a group: a site's speaker, or an arbitrator.
pub struct Member {
    pub(crate) local: MemberId,
    pub(crate) instance: u64,
    pub(crate) random: Random,
    pub(crate) now: Instant,
    /// The configuration that this member was started with.
    pub(crate) initial: Group,
    pub(crate) stored: Stored,
    pub(crate) table: Table,
    pub(crate) applied: u64,
    pub(crate) voters: BTreeSet<MemberId>,
    /// By which memory each of them votes; empty before the group began.
    memories: BTreeMap<MemberId, u64>,
    /// The tickets of the configuration in force, by name.
    pub(crate) configs: BTreeMap<String, TicketConfig>,
    /// Time between two signs of life of a coordinator.
    pub(crate) heartbeat: Duration,
    /// How long an answer is waited for before something is asked again, and what else takes a moment is measured in it.
    pub(crate) retry: Duration,
    /// The digests of the configuration at the start and of the one in force.
    digests: (u64, u64),
    pub(crate) peers: BTreeMap<MemberId, Peer>,
    pub(crate) coordinator: Option<MemberId>,
    /// When a coordinator was heard last in this run.
    pub(crate) coordinator_heard: Option<Instant>,
    /// When this member last acked a coordinator, or backed itself as one; not before its start.
    pub(crate) last_ack: Instant,
    pub(crate) election_at: Instant,
    pub(crate) candidacy: Option<Candidacy>,
    pub(crate) looking: Option<Looking>,
    /// When this member last gave up an office.
    pub(crate) given_up: Option<GivenUp>,
    /// The term in which a coordinator last gave up its office.
    pub(crate) left_office: Option<crate::log::Term>,
    pub(crate) office: Option<Box<Office>>,
    pub(crate) site: Site,
    /// By their numbers in this run.
    pub(crate) asked: BTreeMap<u64, Asked>,
    pub(crate) next_asked: u64,
    /// Takeovers that were ordered here and are not decided yet.
    pub(crate) taking_over: Vec<TakingOver>,
    /// Where the group has yet to begin: who asked for votes on behalf of one that has, and how often.
    pub(crate) older: BTreeMap<MemberId, u32>,
    /// Something changed by which tickets might have to move.
    pub(crate) tend_now: bool,
    /// Something is to be stored.
    pub(crate) dirty: bool,
    /// It was said that this member's own configuration is not the agreed one.
    said_differs: bool,
    /// The epoch of which it was said that this member has only heard.
    pub(crate) said_missed: Option<u32>,
    /// It was said that this member has forgotten what it promised.
    pub(crate) said_forgetful: bool,
    failed: bool,
    greeted: bool,
    seq: u64,
    done: u64,
    /// The last persist; messages may speak of what it stores.
    persist: u64,
    /// Messages of this call, and whether they promise something.
    sends: Vec<(MemberId, Message, bool)>,
    outbox: VecDeque<Outgoing>,
    /// Messages of this member to itself.
    pub(crate) own: VecDeque<Message>,
    pub(crate) out: Vec<Effect>,
}

impl Member {
    /// The member `local` of a group. `stored` is the last state that was given out to be stored, `seed` must be fresh
    /// entropy. Once the group agreed on a configuration, that one counts and not `group`.
    ///
    /// # Errors
    /// If the group is not one, or what was stored is damaged.
    pub fn new(
        local: MemberId,
        group: Group,
        seed: u64,
        stored: Option<&[u8]>,
        now: Instant,
    ) -> Result<Self, StartError> {
        group.check()?;
        if group.member(local).is_none() {
            return Err(GroupError::LocalMissing(local).into());
        }
        let mut random = Random::new(seed);
        let fresh = stored.is_none();
        let stored = match stored {
            Some(bytes) => Stored::read(bytes)?,
            None => Stored { format: FORMAT, memory: random.next_u64(), ..Stored::default() },
        };
        let table = stored.log.snapshot().clone();
        let applied = stored.log.base();
        let mut member = Self {
            local,
            instance: random.next_u64(),
            random,
            now,
            initial: group,
            stored,
            table,
            applied,
            voters: BTreeSet::new(),
            memories: BTreeMap::new(),
            configs: BTreeMap::new(),
            heartbeat: Duration::ZERO,
            retry: Duration::ZERO,
            digests: (0, 0),
            peers: BTreeMap::new(),
            coordinator: None,
            coordinator_heard: None,
            last_ack: now,
            election_at: now,
            candidacy: None,
            looking: None,
            given_up: None,
            left_office: None,
            office: None,
            site: Site::default(),
            asked: BTreeMap::new(),
            next_asked: 0,
            taking_over: Vec::new(),
            older: BTreeMap::new(),
            tend_now: false,
            dirty: fresh,
            said_differs: false,
            said_missed: None,
            said_forgetful: false,
            failed: false,
            greeted: false,
            seq: 0,
            done: 0,
            persist: 0,
            sends: Vec::new(),
            outbox: VecDeque::new(),
            own: VecDeque::new(),
            out: Vec::new(),
        };
        member.refresh_configs();
        member.apply_committed(false);
        member.site.inherit(&member.table, local);
        member.refresh_voters();
        member.set_election_timer();
        Ok(member)
    }

    /// Takes in what happened at `now`, and says what is to be done.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        if self.failed {
            return;
        }
        let first = !std::mem::replace(&mut self.greeted, true);
        if first {
            self.compare_own_config();
            self.site.touch_all(&self.table);
        }
        self.take_in(input);
        while !self.failed {
            self.advance();
            if let Some(message) = self.own.pop_front() {
                self.understand((self.local, self.instance, self.stored.memory), message);
            } else if !self.store_and_send() {
                break;
            }
        }
        effects.append(&mut self.out);
    }

    /// When [`Member::handle`] must be called with [`Input::Timer`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        if self.failed {
            return None;
        }
        let own = if self.greeted { None } else { Some(self.now) };
        let minds = self.may_stand() || self.coordinator.is_some();
        let election = (self.office.is_none() && minds).then_some(self.election_at);
        [own, election, self.office_deadline(), self.site_deadline(), self.asked_deadline()].into_iter().flatten().min()
    }

    /// The group's configuration: as agreed, or else as this member was started.
    pub fn group(&self) -> &Group {
        self.table.group.as_ref().unwrap_or(&self.initial)
    }

    /// Which member this is.
    pub fn local(&self) -> MemberId {
        self.local
    }

    /// True while this member coordinates the group.
    pub fn is_coordinator(&self) -> bool {
        self.office.is_some()
    }

    /// How far this member knows what the group has decided.
    pub fn decided(&self) -> Decided {
        let Position { term, index } = self.stored.log.position(self.applied).unwrap_or_default();
        Decided { epoch: term.epoch, number: term.number, index }
    }

    /// A digest of all that was decided up to [`Self::decided`]: members that know the same have the same.
    pub fn decided_digest(&self) -> u64 {
        fnv1a(&postcard::to_stdvec(&self.table).unwrap_or_default())
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Timer => {}
            Input::Received { from, message } => self.receive(from, &message),
            Input::Done(seq) => {
                self.done = self.done.max(seq.min(self.seq));
                self.flush();
            }
            Input::StorageFailed => {
                self.failed = true;
                self.out.push(Effect::Event(Event::StorageFailed));
            }
            Input::Request { id, request } => self.ask(id, request),
            Input::Able { ticket, able } => self.set_able(ticket, able),
            Input::Active { ticket, active } => self.set_active(ticket, active),
            Input::Lost(lost) => self.set_lost(lost),
            Input::Stays { ticket, what } => self.set_stays(ticket, what),
            Input::StopTime { ticket, stop_time } => self.set_stop_time(ticket, stop_time),
            Input::Checked { check, result } => self.checked(check, result),
            Input::Stopped { ticket, generation } => self.stopped(&ticket, generation),
            Input::Started { ticket, generation } => self.started(&ticket, generation),
            Input::KnownLease { ticket, generation, until } => self.known_lease(&ticket, generation, until),
        }
    }

    fn receive(&mut self, from: MemberId, bytes: &[u8]) {
        if self.group().member(from).is_none() && self.initial.member(from).is_none() || from == self.local {
            return;
        }
        let configs = self.digests;
        let timeout = self.silence();
        let now = self.now;
        let is_told = self.tells_who_is_heard(from);
        let peer = self.peers.entry(from).or_default();
        let Some(packet) = Packet::decode(bytes) else {
            peer.malformed += 1;
            if peer.malformed.is_power_of_two() {
                self.out.push(Effect::Event(Event::Malformed { from }));
            }
            return;
        };
        peer.received += 1;
        if peer.heard.is_none_or(|heard| now.since(heard) > timeout) {
            peer.since = now;
        }
        peer.heard = Some(now);
        if !std::mem::replace(&mut peer.is_heard, true) {
            if is_told {
                self.out.push(Effect::Event(Event::Heard { member: from }));
            }
            self.tend_now = true;
        }
        let (own, agreed) = configs;
        let differs = packet.configs.0 != if agreed == 0 { own } else { agreed };
        if std::mem::replace(&mut peer.config_differs, differs) != differs && differs {
            self.out.push(Effect::Event(Event::ConfigDiffers { member: from }));
        }
        self.understand((from, packet.instance, packet.memory), packet.message);
    }

    fn understand(&mut self, (from, instance, memory): (MemberId, u64, u64), message: Message) {
        let counts = self.counts(from, memory);
        match message {
            Message::Append(append) => self.on_append(from, append),
            Message::Appended(appended) => self.on_appended(from, memory, &appended),
            Message::Install(install) => self.on_install(from, install),
            Message::PreVote { term, last } => self.on_pre_vote(from, term, last),
            Message::PreVoted { term, granted } => self.on_pre_voted(from, memory, term, granted),
            Message::Vote { term, last } => self.on_vote(from, term, last),
            Message::Voted { term, granted, age } => self.on_voted((from, memory), term, granted, age),
            Message::Renewed(renewed) => self.on_renewed(renewed),
            Message::Offer(offer) => self.on_offer(from, offer),
            // A site that has forgotten what it released must not go on with it before its older words count no more.
            Message::Renew(_) | Message::Answer(_) | Message::Released { .. } if !counts => {}
            Message::Renew(renew) => self.on_renew(from, instance, renew),
            Message::Answer(answer) => self.on_answer(from, instance, answer),
            Message::Checking { term, offer } => self.on_checking(from, term, offer),
            Message::Released { generation, failed } => self.on_released(from, generation, failed),
            Message::Report(report) => self.on_report(from, instance, report),
            Message::Ask { id, again, request } => self.on_ask(from, instance, id, again, request),
            Message::Told { instance, id, reply } => self.on_told(instance, id, reply),
            Message::Look { term } => self.on_look(from, term),
            Message::Reaches { term, reached } => self.on_reaches(from, term, reached),
            Message::HandOver { term, to } => self.on_hand_over(from, term, to),
        }
    }

    /// Does what follows from the state and the time.
    fn advance(&mut self) {
        self.notice_silence();
        self.mind_hand_over();
        self.mind_election();
        self.apply_committed(true);
        self.tend();
        if self.office.is_some() {
            self.report_to_self();
        }
        self.mind_site();
        self.mind_asked();
        self.mind_rounds();
    }

    fn notice_silence(&mut self) {
        let timeout = self.silence();
        let fell_silent = |peer: &Peer| peer.is_heard && peer.heard.is_none_or(|heard| self.now.since(heard) > timeout);
        let silent: Vec<MemberId> =
            self.peers.iter().filter(|(_, peer)| fell_silent(peer)).map(|(member, _)| *member).collect();
        for member in silent {
            if let Some(peer) = self.peers.get_mut(&member) {
                peer.is_heard = false;
            }
            self.tend_now = true;
            if self.tells_who_is_heard(member) {
                self.out.push(Effect::Event(Event::Silent { member }));
            }
        }
    }

    /// Members that do not coordinate say nothing to each other once the group has begun: no news is no news then.
    fn tells_who_is_heard(&self, member: MemberId) -> bool {
        let follows_another = self.coordinator.is_some_and(|coordinator| coordinator != member);
        self.office.is_some() || !self.has_begun() || !follows_another
    }

    /// Silence of the coordinator after which others stand for election.
    pub(crate) fn election_timeout(&self) -> Duration {
        self.heartbeat * 3
    }

    /// The parameters of a ticket.
    pub(crate) fn config(&self, ticket: &str) -> Option<&TicketConfig> {
        self.configs.get(ticket)
    }

    /// Goes by the configuration in force.
    pub(crate) fn refresh_configs(&mut self) {
        let group = self.group();
        let configs = group.tickets.iter().map(|ticket| (ticket.name.clone(), ticket.clone())).collect();
        self.heartbeat = group.heartbeat();
        self.retry = self.heartbeat / 2;
        self.digests = (self.initial.digest(), self.table.group.as_ref().map_or(0, Group::digest));
        self.configs = configs;
    }

    /// True where this member was started with something else than what the group goes by.
    pub(crate) fn own_config_differs(&self) -> bool {
        let (own, agreed) = self.digests;
        agreed != 0 && own != agreed
    }

    /// Says so where this member's own configuration is, or is not any more, what the group goes by.
    pub(crate) fn compare_own_config(&mut self) {
        let differs = self.own_config_differs();
        if std::mem::replace(&mut self.said_differs, differs) != differs && differs {
            self.out.push(Effect::Event(Event::ConfigDiffers { member: self.local }));
        }
    }

    /// Silence of a member after which it counts as not heard.
    pub(crate) fn silence(&self) -> Duration {
        self.election_timeout() * 2
    }

    /// Sends a message that promises nothing.
    pub(crate) fn send(&mut self, to: MemberId, message: Message) {
        self.sends.push((to, message, false));
    }

    /// Sends a message that is a promise of this member: only the true speaker of a site may make it.
    pub(crate) fn promise(&mut self, to: MemberId, message: Message) {
        self.sends.push((to, message, true));
    }

    /// Gives out what must be stored, and sends what need not wait for it; true if this member has told itself something.
    fn store_and_send(&mut self) -> bool {
        if std::mem::take(&mut self.dirty) {
            self.seq += 1;
            self.persist = self.seq;
            self.out.push(Effect::Persist { seq: self.seq, state: self.stored.write() });
        } else if self.sends.iter().any(|(_, _, promise)| *promise) {
            self.seq += 1;
            self.out.push(Effect::Confirm { seq: self.seq });
        }
        for (to, message, promise) in std::mem::take(&mut self.sends) {
            let gate = if promise { self.seq } else { self.persist };
            self.outbox.push_back(Outgoing { to, message, gate });
        }
        self.flush();
        !self.own.is_empty()
    }

    /// Sends what waited for what is done.
    fn flush(&mut self) {
        let configs = self.digests;
        for outgoing in std::mem::take(&mut self.outbox) {
            if outgoing.gate > self.done {
                self.outbox.push_back(outgoing);
            } else if outgoing.to == self.local {
                self.own.push_back(outgoing.message);
            } else {
                self.peers.entry(outgoing.to).or_default().sent += 1;
                let message = Packet::new((self.instance, self.stored.memory), configs, outgoing.message).encode();
                self.out.push(Effect::Send { to: outgoing.to, message });
            }
        }
    }

    /// The number of the persist that stores what was changed just now.
    pub(crate) fn next_persist(&self) -> u64 {
        self.seq + 1
    }

    pub(crate) fn is_stored(&self, persist: u64) -> bool {
        self.done >= persist
    }

    /// Messages that wait for this persist, or for a later one, are lost on their way.
    pub(crate) fn forget_unsent(&mut self, persist: u64) {
        self.sends.clear();
        self.outbox.retain(|outgoing| outgoing.gate < persist);
    }

    /// Brings the table to where a majority's log is.
    pub(crate) fn apply_committed(&mut self, live: bool) {
        let mut configured = false;
        while self.applied < self.stored.commit {
            let index = self.applied + 1;
            let Some(entry) = self.stored.log.entry(index).cloned() else { break };
            self.table.apply(index, &entry);
            self.applied = index;
            if entry.command.changes_voters() {
                configured = true;
                self.refresh_configs();
            }
            if live {
                self.after_apply(index, &entry);
            }
        }
        if configured {
            self.refresh_voters();
        }
        if live && self.stored.log.compact(self.applied) {
            self.dirty = true;
        }
    }

    fn after_apply(&mut self, index: u64, entry: &Entry) {
        self.taken_over(Position { term: entry.term, index });
        self.site_applied(&entry.command);
        self.office_applied(index, entry);
        self.tend_now = true;
        let ticket = entry.command.ticket().unwrap_or_default().to_owned();
        let event = match &entry.command {
            Command::Configure(_) => return self.compare_own_config(),
            Command::Grant { site, cause, .. } => Event::Granted { ticket, site: *site, cause: *cause },
            Command::WouldGrant { site, cause, .. } => Event::WouldGrant { ticket, site: *site, cause: *cause },
            Command::Released { .. } => match self.table.tickets.get(&ticket).and_then(|t| t.last) {
                Some(site) => Event::Released { ticket, site },
                None => return,
            },
            Command::Welcome { memories } if memories.len() == 1 => match memories.keys().next() {
                Some(member) => Event::Welcomed { member: *member },
                None => return,
            },
            Command::TakeOver { .. } => {
                Event::TakenOver { members: self.voters.iter().copied().collect(), who: entry.author.who.clone() }
            }
            _ => return,
        };
        self.out.push(Effect::Event(event));
    }

    /// Who may vote: by the newest configuration in the log, committed or not. Only that another memory of a member counts from
    /// now on must be committed first, without the vote of this member: what it has forgotten, others of that majority know.
    pub(crate) fn refresh_voters(&mut self) {
        let members = |group: &Group| group.members.iter().map(|member| member.id).collect::<BTreeSet<_>>();
        let mut all = members(self.group());
        let mut absent = self.table.absent.clone();
        let mut memories = self.table.memories.clone();
        for entry in self.stored.log.after(self.applied) {
            match &entry.command {
                Command::Configure(group) => all = members(group),
                Command::TakeOver { absent: more, by: (member, memory) } => {
                    absent.extend(more);
                    memories.insert(*member, *memory);
                    memories.retain(|member, _| !more.contains(member));
                }
                Command::Welcome { memories: more } => {
                    for (member, memory) in more {
                        memories.entry(*member).or_insert(*memory);
                    }
                }
                Command::Readmit { member } => {
                    absent.remove(member);
                }
                _ => {}
            }
        }
        let known = |member: &MemberId| memories.is_empty() || memories.contains_key(member);
        self.voters = all.difference(&absent).copied().filter(known).collect();
        self.memories = memories;
    }

    /// True where the group has not begun as far as is known here: then all of its members must be heard, and none of them may
    /// know of anything that was decided before.
    pub(crate) fn is_founding(&self) -> bool {
        self.memories.is_empty() && self.stored.log.last().index == 0
    }

    /// True where the word of a member with this memory counts: it knows all that it ever promised.
    pub(crate) fn counts(&self, member: MemberId, memory: u64) -> bool {
        self.memories.get(&member) == Some(&memory)
    }

    /// True where the group has come together once, as far as is known here.
    pub(crate) fn has_begun(&self) -> bool {
        !self.memories.is_empty()
    }

    /// True where a member is known to come with another memory than the one by which it has a vote.
    pub(crate) fn is_forgetful(&self, member: MemberId) -> bool {
        if member == self.local {
            return self.has_begun() && !self.counts(self.local, self.stored.memory);
        }
        let follower = self.office.as_ref().and_then(|office| office.followers.get(&member));
        let memory = follower.map(|follower| follower.memory).filter(|memory| *memory != 0);
        self.has_begun() && memory.is_some_and(|memory| !self.counts(member, memory))
    }

    /// True where this member's vote counts.
    pub(crate) fn may_vote(&self) -> bool {
        let remembers = self.memories.is_empty() || self.counts(self.local, self.stored.memory);
        self.voters.contains(&self.local) && remembers
    }

    /// True where this member may ask for votes: it has one itself, or had one before a change that only it may know of. Whoever
    /// was removed must be able to bring the others the word of it (Raft, Ongaro's thesis, 4.2.2).
    pub(crate) fn may_stand(&self) -> bool {
        let not_applied = || self.stored.log.after(self.applied).iter().map(|entry| &entry.command);
        let is_removed = not_applied()
            .any(|command| matches!(command, Command::Configure(group) if group.member(self.local).is_none()));
        let had_vote = self.table.memories.get(&self.local) == Some(&self.stored.memory)
            && !self.table.absent.contains(&self.local)
            && !not_applied().any(|command| matches!(command, Command::TakeOver { .. }));
        self.may_vote() || is_removed && had_vote
    }

    /// True where these are more than half of the voters.
    pub(crate) fn is_majority(&self, count: usize) -> bool {
        2 * count > self.voters.len()
    }

    /// What this site must know of a ticket now; nothing where there is no such ticket.
    pub fn ticket(&self, ticket: &str) -> Option<TicketWord> {
        self.word(ticket)
    }

    /// Puts an entry at the end of the coordinator's log.
    pub(crate) fn propose(&mut self, author: Author, command: Command) -> u64 {
        let changes_voters = command.changes_voters();
        self.stored.log.push(Entry { term: self.stored.term, author, command });
        self.dirty = true;
        if changes_voters {
            self.refresh_voters();
        }
        if let Some(office) = &mut self.office {
            office.urgent = true;
        }
        self.stored.log.last().index
    }

    /// An entry that the group decides on by itself.
    pub(crate) fn decide(&mut self, command: Command) -> u64 {
        self.propose(Author::default(), command)
    }

    /// True where an entry that changes who votes is not applied yet.
    pub(crate) fn voters_change(&self) -> bool {
        self.stored.log.after(self.applied).iter().any(|entry| entry.command.changes_voters())
    }

    /// True where an entry about this ticket is not applied yet, so that it must be left alone.
    pub(crate) fn is_pending(&self, ticket: &str) -> bool {
        self.stored.log.after(self.applied).iter().any(|entry| {
            entry.command.ticket() == Some(ticket)
                || matches!(entry.command, Command::Configure(_) | Command::TakeOver { .. })
        })
    }
}

impl Stored {
    fn read(bytes: &[u8]) -> Result<Self, StartError> {
        // Looked at first: what another format means is not known.
        if let Some(found) = bytes.first().copied().filter(|format| *format != FORMAT) {
            return Err(StartError::Format { found, known: FORMAT });
        }
        let (stored, rest) =
            postcard::take_from_bytes::<Stored>(bytes).map_err(|error| StartError::Stored(error.to_string()))?;
        if !rest.is_empty() {
            return Err(StartError::Stored(format!("{} bytes follow it", rest.len())));
        }
        if !stored.log.is_sound() || stored.commit > stored.log.last().index || stored.commit < stored.log.base() {
            return Err(StartError::Stored("its log contradicts itself".to_owned()));
        }
        Ok(stored)
    }

    fn write(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }
}

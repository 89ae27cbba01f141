//! A member of a booth group in the shape of [`crate::Member`], so that an arbitrator and a cluster run it in the same way.
//!
//! What is different: clients of booth connect by themselves ([`Told::Client`]), and messages are sealed by the engine, not
//! by the links. A site's messages wait until all nodes of its view said that they still are in it, as those of
//! [`crate::Member`] do, so that a speaker that was replaced without knowing promises nothing and counts no vote.

use super::config;
use super::engine::{self, Ask, ClientId, Engine, Now, Stored, Word};
use super::seal;
use super::wire::{Command, Leader, Outcome as Said, Reason, SiteId};
use crate::attribute::check_group_attribute_name;
use crate::config::{Group, MAX_NAME, MAX_VALUE, MemberId};
use crate::core_types::{Check, Effect, Event, Holding, Input, StartError, TicketWord, WhyNot};
use crate::drift;
use crate::request::{Outcome, Refusal, Reply, Request, RequestEnvelope};
use crate::status::Status;
use hakudo_base::Instant;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// What a member of a booth group is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoothSetup {
    /// The group in booth's words.
    pub file: config::Group,
    /// The addresses of its members, in order.
    pub addresses: Vec<IpAddr>,
    /// The address of this member.
    pub local: IpAddr,
    /// The common key.
    pub key: Option<seal::Key>,
    /// Seconds that the zone of the machine is ahead of UTC, for times in lists.
    pub utc_offset: i32,
}

impl BoothSetup {
    /// What the engine is given. The time to stop is told to it later.
    ///
    /// # Errors
    /// Where the group cannot be served.
    pub fn config(&self) -> Result<engine::Config, engine::ConfigError> {
        let config = engine::Config::new(&self.file, &self.addresses, self.local, self.key.clone(), Duration::ZERO)?;
        Ok(engine::Config { utc_offset: self.utc_offset, stop_time: None, ..config })
    }

    /// What a client is answered whose message is none of the group's; nothing where its member must see it.
    pub fn refusal_of(&self, bytes: &[u8], now: Now) -> Option<Vec<u8>> {
        engine::client::refusal_of(bytes, SiteId::of(self.local), self.key.as_ref(), now)
    }

    /// The number of the member with that address in [`Group`]s: that of booth's messages.
    pub fn member_id(address: IpAddr) -> MemberId {
        MemberId(SiteId::of(address).0)
    }
}

/// What such a member is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// As any member.
    Input(Input),
    /// A client of booth sent a whole message.
    Client(ClientId, Vec<u8>),
    /// It closed its connection.
    ClientGone(ClientId),
}

/// What such a member wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// As of any member.
    Effect(Effect),
    /// Send bytes to a client of booth, and close its connection where they are the last.
    Answer {
        /// The client.
        client: ClientId,
        /// A whole message.
        bytes: Vec<u8>,
        /// Nothing follows.
        last: bool,
    },
}

/// A member of a booth group.
#[derive(Debug)]
pub struct BoothMember {
    engine: Engine,
    group: Group,
    local: MemberId,
    started: bool,
    /// A site's messages wait for a confirmation.
    confirms: bool,
    silent: bool,
    /// Who finds nothing stored may have promised a ticket. Until then an arbitrator says nothing to the others; a site neither
    /// votes for who would take over a lost ticket nor asks for votes to do so, but can be granted a ticket: an administrator's
    /// grant waits for what may have been promised.
    keeps_still_until: Option<Instant>,
    key: Option<seal::Key>,
    sequence: u64,
    /// Writes under way: our number, and the engine's.
    writes: VecDeque<(u64, u64)>,
    /// Messages that wait.
    waiting: VecDeque<(u64, Vec<Effect>)>,
    /// What was said last of each ticket.
    words: BTreeMap<String, TicketWord>,
    /// Checks that go on: their tickets, and the engine's number of the run.
    checks: BTreeMap<u64, (String, u64)>,
    checked: u64,
    /// Requests that are not answered yet, and their tickets.
    requests: BTreeMap<u64, Request>,
}

/// What is stored begins with this: the state of a member that speaks hakudo's own protocol is another thing.
const MARK: &[u8] = b"booth 2\n";
/// In its place while what an earlier life may have promised is waited for: who is started again in that time waits once more.
const STILL: &[u8] = b"booth 2 still\n";

impl BoothMember {
    /// A member that knows what it `stored` in an earlier life; `group` is the same group, its members numbered as in booth.
    ///
    /// # Errors
    /// Where the configuration cannot be served, or what was stored is damaged.
    pub fn new(
        setup: &BoothSetup,
        group: Group,
        seed: u64,
        stored: Option<&[u8]>,
        now: Now,
    ) -> Result<Self, StartError> {
        let config = setup.config().map_err(|error| StartError::Booth(error.to_string()))?;
        let longest = setup.file.tickets.iter().map(|ticket| ticket.expire + ticket.acquire_after).max();
        let keeps_still = stored.is_none_or(|bytes| bytes.starts_with(STILL));
        let keeps_still_until = longest.filter(|_| keeps_still).map(|longest| now.monotonic + drift::lengthen(longest));
        let stored = match stored {
            None => Stored::default(),
            Some(bytes) => {
                let rest = bytes.strip_prefix(MARK).or_else(|| bytes.strip_prefix(STILL));
                let rest = rest.ok_or_else(|| StartError::Stored("it is not booth's".into()))?;
                postcard::from_bytes(rest).map_err(|error| StartError::Stored(error.to_string()))?
            }
        };
        let local = BoothSetup::member_id(setup.local);
        Ok(Self {
            confirms: group.is_site(local),
            engine: Engine::new(config, seed, &stored, now),
            group,
            local,
            started: false,
            silent: false,
            keeps_still_until,
            key: setup.key.clone(),
            sequence: 0,
            writes: VecDeque::new(),
            waiting: VecDeque::new(),
            words: BTreeMap::new(),
            checks: BTreeMap::new(),
            checked: 0,
            requests: BTreeMap::new(),
        })
    }

    /// True where this was stored by a member of a booth group.
    pub fn is_booths(stored: &[u8]) -> bool {
        stored.starts_with(MARK) || stored.starts_with(STILL)
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The group as this member sees it at `now`.
    pub fn status(&self, now: Now) -> Status {
        self.engine.status(now, &self.group.name)
    }

    /// When [`Input::Timer`] is to come next.
    pub fn deadline(&self) -> Option<Instant> {
        if self.silent {
            None
        } else if self.started {
            self.engine.deadline().into_iter().chain(self.keeps_still_until).min()
        } else {
            Some(Instant::default())
        }
    }

    /// Takes an input at a moment; what is to be done is added to `wanted`.
    pub fn handle(&mut self, now: Now, told: Told, wanted: &mut Vec<Wanted>) {
        if self.silent {
            return;
        }
        if self.keeps_still(now, wanted)
            && let Told::Input(Input::Received { message, .. }) = &told
            && (!self.confirms || self.asks_for_lost_ticket(message))
        {
            return;
        }
        let input = match told {
            Told::Client(client, bytes) => engine::Input::Client(client, bytes),
            Told::ClientGone(client) => engine::Input::ClientGone(client),
            Told::Input(Input::Done(sequence)) => return self.done(now, sequence, wanted),
            Told::Input(Input::Request { id, request }) => return self.request(now, id, request, wanted),
            Told::Input(Input::StorageFailed) => {
                self.silent = true;
                return wanted.push(Wanted::Effect(Effect::Event(Event::StorageFailed)));
            }
            Told::Input(input) => match self.translated(input) {
                Some(input) => input,
                None => return,
            },
        };
        self.tell(now, input, wanted);
    }

    /// True while what an earlier life may have promised is waited for; the end of that is stored, so that a restart does not
    /// wait once more.
    fn keeps_still(&mut self, now: Now, wanted: &mut Vec<Wanted>) -> bool {
        if self.keeps_still_until.take_if(|until| *until <= now.monotonic).is_some() {
            let stored = self.engine.stored().clone();
            self.carry_out(engine::Effect::Persist(0, stored), wanted);
        }
        self.keeps_still_until.is_some()
    }

    /// True where somebody asks for votes, and not because an administrator wants it.
    fn asks_for_lost_ticket(&self, message: &[u8]) -> bool {
        let read = seal::read(message, self.key.as_ref(), false);
        read.is_ok_and(|message| message.command == Command::RequestVote && message.reason != Reason::Admin)
    }

    fn translated(&mut self, input: Input) -> Option<engine::Input> {
        Some(match input {
            Input::Timer if !self.started => {
                self.started = true;
                engine::Input::Start
            }
            Input::Timer => engine::Input::Timer,
            Input::Received { message, .. } => engine::Input::Datagram(message),
            Input::Able { ticket, able } => engine::Input::Able { ticket, able },
            Input::StopTime { ticket, stop_time } => engine::Input::StopTime { ticket, stop_time },
            Input::Checked { check, result } => {
                let (ticket, run) = self.checks.remove(&check)?;
                engine::Input::Handler { ticket, run, result: result.map(|_| ()) }
            }
            Input::Stopped { ticket, generation } => {
                // What is stopped must be the grant that was taken back, not one that the nodes have not heard of yet.
                let word = self.words.get(&ticket)?;
                let meant = word.generation == generation && matches!(word.holding, Holding::NotHeld(_));
                return meant.then_some(engine::Input::Stopped { ticket });
            }
            Input::KnownLease { ticket, generation, until: Some(until) } => {
                engine::Input::KnownLease { ticket, grant: u32::try_from(generation).ok()?, until }
            }
            // boothd's members have no word for them.
            Input::KnownLease { .. }
            | Input::Active { .. }
            | Input::Stays { .. }
            | Input::Lost(_)
            | Input::Started { .. }
            | Input::Done(_)
            | Input::Request { .. }
            | Input::StorageFailed => return None,
        })
    }

    fn tell(&mut self, now: Now, input: engine::Input, wanted: &mut Vec<Wanted>) {
        let mut effects = Vec::new();
        self.engine.handle(now, input, &mut effects);
        let mut sent = Vec::new();
        for effect in effects {
            match effect {
                engine::Effect::Send(_, message)
                    if self.keeps_still_until.is_some() && self.asks_for_lost_ticket(&message) => {}
                engine::Effect::Send(to, message) => sent.push(Effect::Send { to: MemberId(to.0), message }),
                engine::Effect::Answer { client, bytes, last } => wanted.push(Wanted::Answer { client, bytes, last }),
                other => self.carry_out(other, wanted),
            }
        }
        if sent.is_empty() {
            return;
        }
        if self.confirms {
            self.sequence += 1;
            self.waiting.push_back((self.sequence, sent));
            wanted.push(Wanted::Effect(Effect::Confirm { seq: self.sequence }));
        } else {
            wanted.extend(sent.into_iter().map(Wanted::Effect));
        }
    }

    fn done(&mut self, now: Now, sequence: u64, wanted: &mut Vec<Wanted>) {
        let mut written = None;
        while self.writes.front().is_some_and(|(number, _)| *number <= sequence) {
            // What is written of this member's own accord has no number of the engine's.
            written = written.max(self.writes.pop_front().map(|(_, of_engine)| of_engine));
        }
        while self.waiting.front().is_some_and(|(number, _)| *number <= sequence) {
            let sent = self.waiting.pop_front().map(|(_, sent)| sent).unwrap_or_default();
            wanted.extend(sent.into_iter().map(Wanted::Effect));
        }
        if let Some(number) = written {
            self.tell(now, engine::Input::Persisted(number), wanted);
        }
    }

    fn carry_out(&mut self, effect: engine::Effect, wanted: &mut Vec<Wanted>) {
        let effect = match effect {
            engine::Effect::Persist(number, stored) => {
                self.sequence += 1;
                self.writes.push_back((self.sequence, number));
                let mut state = if self.keeps_still_until.is_some() { STILL.to_vec() } else { MARK.to_vec() };
                // A state of numbers and texts can always be written.
                state.extend(postcard::to_stdvec(&stored).unwrap_or_default());
                Effect::Persist { seq: self.sequence, state }
            }
            engine::Effect::Ticket { ticket, word } => self.ticket_said(ticket, word),
            engine::Effect::RunHandler { ticket, run, expires } => {
                self.checked += 1;
                self.checks.insert(self.checked, (ticket.clone(), run));
                let handler = self.group.ticket(&ticket).and_then(|ticket| ticket.handler.clone());
                Effect::Check(Check { check: self.checked, ticket, handler, lag: None, expires })
            }
            engine::Effect::Attribute { ticket, .. } | engine::Effect::Standby { ticket, .. } => {
                self.facts_changed(ticket)
            }
            engine::Effect::Asked { id, outcome, last: true } => {
                let Some(request) = self.requests.remove(&id) else { return };
                Effect::Reply { id, reply: self.reply(&request, outcome) }
            }
            engine::Effect::Event { severity, ticket, text } => Effect::Event(Event::Booth { severity, ticket, text }),
            engine::Effect::Asked { .. } | engine::Effect::Send(..) | engine::Effect::Answer { .. } => return,
        };
        wanted.push(Wanted::Effect(effect));
    }

    fn ticket_said(&mut self, ticket: String, word: Word) -> Effect {
        let (generation, holding, holder, revoked) = match word {
            Word::Held { until, stop_time, grant, .. } => {
                let generation = u64::from(grant);
                if let Some(word) = self.words.get_mut(&ticket)
                    && word.generation == generation
                    && let Holding::Held { until: known, stop_time: allowed } = &mut word.holding
                    && *allowed == stop_time
                {
                    *known = until;
                    return Effect::Lease { ticket, generation, until };
                }
                (generation, Holding::Held { until, stop_time }, Some(self.local), false)
            }
            Word::NotHeld { owner, revoked, grant } => {
                let why = if revoked { WhyNot::Revoked } else { WhyNot::Elsewhere };
                let owner = match owner {
                    Leader::Site(id) => Some(MemberId(id.0)),
                    Leader::Unknown | Leader::Nobody => None,
                };
                (u64::from(grant), Holding::NotHeld(why), owner, revoked)
            }
        };
        let (attributes, standby) = self.engine.local_facts(&ticket);
        let word = TicketWord { ticket: ticket.clone(), generation, holding, holder, standby, revoked, attributes };
        self.words.insert(ticket, word.clone());
        Effect::Ticket(word)
    }

    fn facts_changed(&mut self, ticket: String) -> Effect {
        let (attributes, standby) = self.engine.local_facts(&ticket);
        let (holder, grant) = self.engine.holder(&ticket);
        let holder = match holder {
            Leader::Site(id) => Some(MemberId(id.0)),
            Leader::Unknown | Leader::Nobody => None,
        };
        // Where nothing was said yet, what an earlier speaker said still counts.
        let word = self.words.entry(ticket.clone()).or_insert(TicketWord {
            ticket,
            generation: u64::from(grant),
            holding: Holding::Unknown,
            holder,
            standby,
            revoked: false,
            attributes: BTreeMap::new(),
        });
        (word.attributes, word.standby) = (attributes, standby);
        Effect::Ticket(word.clone())
    }

    fn request(&mut self, now: Now, id: u64, envelope: RequestEnvelope, wanted: &mut Vec<Wanted>) {
        let request = envelope.request;
        let asked = self.asked(now, &request);
        match (asked, request.ticket()) {
            (Ok(Asked::Engine(ask)), Some(ticket)) => {
                let ticket = ticket.to_owned();
                self.requests.insert(id, request);
                self.tell(now, engine::Input::Ask { id, ticket, ask }, wanted);
            }
            (Ok(Asked::Known(outcome)), _) => {
                wanted.push(Wanted::Effect(Effect::Reply { id, reply: Reply::Done(outcome) }));
            }
            (Ok(Asked::Engine(_)), None) => {}
            (Err(refusal), _) => {
                wanted.push(Wanted::Effect(Effect::Reply { id, reply: Reply::Refused(refusal) }));
            }
        }
    }

    fn asked(&self, now: Now, request: &Request) -> Result<Asked, Refusal> {
        if let Some(ticket) = request.ticket()
            && self.group.ticket(ticket).is_none()
        {
            return Err(Refusal::NoSuchTicket(ticket.to_owned()));
        }
        let unknown = |what: &str| Err(Refusal::NotInBooth(what.to_owned()));
        Ok(Asked::Engine(match request {
            Request::Status => {
                return Ok(Asked::Known(Outcome::Status(Box::new(self.status(now)))));
            }
            Request::Grant { site, force, .. } => {
                self.is_here(*site)?;
                Ask::Grant { immediate: *force }
            }
            Request::Revoke { force: true, .. } => {
                return unknown(
                    "revoking without waiting for the holder: what a boothd holds it gives up only by itself",
                );
            }
            Request::Revoke { .. } => Ask::Revoke,
            Request::Standby { on, .. } => {
                self.is_here(self.local)?;
                Ask::Standby(*on)
            }
            Request::Attribute { site, name, value, .. } => {
                self.is_here(*site)?;
                check_attribute(name, value.as_deref())?;
                Ask::Attribute { name: name.clone(), value: value.clone() }
            }
            Request::Move { .. } => {
                return unknown(
                    "moving a ticket: revoke it, which waits until all is stopped, and grant it at the other site",
                );
            }
            Request::Disclaim { .. } => return unknown("disclaiming tickets"),
            Request::Observe { .. } => return unknown("drills"),
            Request::Adopt { .. } | Request::Configure { .. } => {
                return unknown("a common configuration: change the file at each member");
            }
            Request::TakeOver { .. } => return unknown("going on with fewer members"),
        }))
    }

    /// Grants and attributes are the business of each site.
    fn is_here(&self, site: MemberId) -> Result<(), Refusal> {
        if self.group.member(site).is_none() {
            Err(Refusal::NoSuchMember(site))
        } else if !self.group.is_site(site) {
            Err(Refusal::Arbitrator(site))
        } else if site != self.local {
            Err(Refusal::AskThere(site))
        } else {
            Ok(())
        }
    }

    fn reply(&self, request: &Request, outcome: Said) -> Reply {
        let ticket = request.ticket().unwrap_or_default().to_owned();
        let (leader, grant) = self.engine.holder(&ticket);
        let holder = match leader {
            Leader::Site(id) => MemberId(id.0),
            Leader::Unknown | Leader::Nobody => self.local,
        };
        let declined =
            |reason: &str| Refusal::Declined { ticket: ticket.clone(), site: self.local, reason: reason.into() };
        Reply::Refused(match outcome {
            Said::Success | Said::SyncSuccess => {
                return Reply::Done(match request {
                    Request::Grant { site, .. } => Outcome::Granted { site: *site, generation: u64::from(grant) },
                    _ => Outcome::Done,
                });
            }
            Said::TicketIdle => return Reply::Done(Outcome::NotHeld),
            Said::InvalidArgument => Refusal::NoSuchTicket(ticket),
            Said::Overgrant => Refusal::AlreadyGranted { ticket, holder },
            Said::Redirect => Refusal::AskThere(holder),
            Said::HandlerFailed => {
                let known = self.engine.obstacle(&ticket);
                declined(&known.unwrap_or_else(|| "this site cannot run what depends on it".to_owned()))
            }
            Said::PrerequisiteFailed => declined("an attribute is not what attr-prereq asks for"),
            Said::Busy => Refusal::Busy(ticket),
            Said::NoSuchAttribute => Refusal::GivenUp("there is no such attribute".into()),
            Said::SyncFail => Refusal::GivenUp("no majority of the group answered".into()),
            other => Refusal::GivenUp(format!("the group says {other}")),
        })
    }
}

/// What asks through booth's messages is short by their nature; what asks here is measured.
fn check_attribute(name: &str, value: Option<&str>) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME || value.is_some_and(|value| value.len() > MAX_VALUE) {
        return Err(Refusal::AttributeSize);
    }
    let Some(value) = value else { return Ok(()) };
    check_group_attribute_name(name)?;
    if value.chars().any(char::is_control) {
        return Err(Refusal::GivenUp("booth's clients could not show a value with control characters".to_owned()));
    }
    Ok(())
}

enum Asked {
    Engine(Ask),
    Known(Outcome),
}

#[cfg(test)]
mod tests;

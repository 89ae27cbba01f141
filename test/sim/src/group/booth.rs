//! A member of a booth group in the simulated world: its configuration, its calendar clock, and its number.
//!
//! On the wire a member's number follows from its address. The world keeps the numbers of the script, so that the same stories
//! can be told of both protocols; here one becomes the other.

use super::clock::Clock;
use super::script::Script;
use hakudo_base::{Instant, Random, UnixTime};
use hakudo_tickets::booth::config::{self, Host, Kind, Mode, Owner, When};
use hakudo_tickets::booth::engine::Now;
use hakudo_tickets::booth::member::{BoothMember, BoothSetup, Told, Wanted};
use hakudo_tickets::booth::seal::Key;
use hakudo_tickets::{
    Comparison, Effect, Group, Input, MemberId, MemberKind, PrerequisiteWhen, Request, RequestEnvelope, StartError,
    Status, TicketConfig, TicketMode,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How far calendar clocks may be apart where messages are authenticated: `maxtimeskew`, as it is unless given.
const MAX_TIME_SKEW: Duration = Duration::from_secs(600);

/// A calendar clock, which goes as the other clock of its machine does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    /// Milliseconds that it is ahead of the other clock.
    ahead: i64,
}

impl Calendar {
    /// The calendar clock of a member's process. Without a key nobody looks at it, and it may show anything. With a key, what is
    /// stamped too far from a receiver's clock is refused (`maxtimeskew`), and so is what is stamped more than a few seconds before
    /// what came already: a new speaker whose clock is behind is not heard until its clock has come to where the old one's was.
    pub(crate) fn of(script: &Script, local: MemberId, clock: Clock, seed: u64) -> Self {
        let mut of_process = Random::new(seed ^ 0x0063_616c_656e_6461);
        let shown = if key(script).is_some() {
            let mut of_member = Random::new(script.seed ^ (u64::from(local.0) << 32));
            let apart = if of_process.percent(10) { 60_000 } else { 3000 };
            1_795_000_000_000 + of_member.between(0, 400_000) + of_process.between(0, apart)
        } else {
            of_process.below(1 << 42)
        };
        Self { ahead: shown as i64 - (clock.offset / 1_000_000) as i64 }
    }

    fn at(self, now: Instant) -> Now {
        Now { monotonic: now, calendar: UnixTime::from_millis(now.as_millis() as i64 + self.ahead) }
    }
}

/// A member, and what the world's words are in its own.
pub(crate) struct Booth {
    member: BoothMember,
    calendar: Calendar,
    /// The members' numbers in the script, by those on the wire.
    numbers: BTreeMap<MemberId, MemberId>,
}

impl Booth {
    pub(crate) fn new(
        script: &Script,
        local: MemberId,
        calendar: Calendar,
        seed: u64,
        stored: Option<&[u8]>,
        remembered: Instant,
    ) -> Result<Self, StartError> {
        let mut group = script.group.clone();
        let file = file(&group);
        for member in &mut group.members {
            member.id = on_wire(member.id);
        }
        let members = || script.group.members.iter().map(|member| member.id);
        let setup = BoothSetup {
            file,
            addresses: members().map(address).collect(),
            local: address(local),
            key: key(script),
            utc_offset: 0,
        };
        let member = BoothMember::new(&setup, group, seed, stored, calendar.at(remembered))?;
        Ok(Self { member, calendar, numbers: members().map(|id| (on_wire(id), id)).collect() })
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        let input = match input {
            Input::Request { id, request: RequestEnvelope { who, at, request } } => {
                Input::Request { id, request: RequestEnvelope { who, at, request: with_numbers_of_wire(request) } }
            }
            other => other,
        };
        let mut wanted = Vec::new();
        self.member.handle(self.calendar.at(now), Told::Input(input), &mut wanted);
        effects.extend(wanted.into_iter().filter_map(|wanted| match wanted {
            Wanted::Effect(effect) => Some(self.with_numbers_of_script(effect)),
            // No client of booth asks here.
            Wanted::Answer { .. } => None,
        }));
    }

    /// It is told what is no message.
    pub(crate) fn ignores(&mut self, local: Instant, from: MemberId, message: Vec<u8>) -> Result<(), String> {
        if self.deadline().is_some_and(|deadline| deadline <= local) {
            return Ok(());
        }
        let seen = |booth: &Self| (booth.status(local).tickets, booth.deadline());
        let (before, mut effects) = (seen(self), Vec::new());
        self.handle(local, Input::Received { from, message }, &mut effects);
        if effects.is_empty() && seen(self) == before {
            return Ok(());
        }
        Err(format!("what is no message of member {from} had an effect: {effects:?}"))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.member.deadline()
    }

    /// How things are by what this member knows.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let mut status = self.member.status(self.calendar.at(now));
        for ticket in &mut status.tickets {
            ticket.holder = ticket.holder.map(|holder| self.in_script(holder));
        }
        status
    }

    fn with_numbers_of_script(&self, effect: Effect) -> Effect {
        match effect {
            Effect::Send { to, message } => Effect::Send { to: self.in_script(to), message },
            Effect::Ticket(mut word) => {
                word.holder = word.holder.map(|holder| self.in_script(holder));
                Effect::Ticket(word)
            }
            other => other,
        }
    }

    fn in_script(&self, on_wire: MemberId) -> MemberId {
        self.numbers.get(&on_wire).copied().unwrap_or(on_wire)
    }
}

/// What names other members in other requests is refused, whoever they are.
fn with_numbers_of_wire(request: Request) -> Request {
    match request {
        Request::Grant { ticket, site, force } => Request::Grant { ticket, site: on_wire(site), force },
        Request::Attribute { ticket, site, name, value } => {
            Request::Attribute { ticket, site: on_wire(site), name, value }
        }
        other => other,
    }
}

fn on_wire(id: MemberId) -> MemberId {
    BoothSetup::member_id(address(id))
}

fn address(id: MemberId) -> IpAddr {
    IpAddr::from([10, 0, (id.0 >> 8) as u8, id.0 as u8])
}

/// Half of all groups have a key.
fn key(script: &Script) -> Option<Key> {
    if script.seed.is_multiple_of(2) { Key::from_file(b"the key of a simulated group").ok() } else { None }
}

/// The group in booth's words.
fn file(group: &Group) -> config::Group {
    let member = |id: MemberId, kind: MemberKind| config::Member {
        kind: match kind {
            MemberKind::Site => Kind::Site,
            MemberKind::Arbitrator => Kind::Arbitrator,
        },
        host: Host::Address(address(id)),
        addresses: Vec::new(),
    };
    config::Group {
        name: Some(group.name.clone()),
        port: config::PORT,
        key_file: None,
        max_time_skew: MAX_TIME_SKEW,
        site_owner: Owner::default(),
        arbitrator_owner: Owner::default(),
        debug: None,
        members: group.members.iter().map(|entry| member(entry.id, entry.kind)).collect(),
        tickets: group.tickets.iter().map(|ticket| self::ticket(group, ticket)).collect(),
    }
}

fn ticket(group: &Group, ticket: &TicketConfig) -> config::Ticket {
    let weight = |id| ticket.weights.get(&id).copied().unwrap_or_default();
    let program = ticket.handler.iter().flat_map(|handler| [&handler.path].into_iter().chain(&handler.arguments));
    let prerequisites = ticket.prerequisites.iter().map(|known| config::Prerequisite {
        when: match known.when {
            PrerequisiteWhen::Auto => When::Auto,
            PrerequisiteWhen::Manual => When::Manual,
        },
        attribute: known.attribute.clone(),
        comparison: match known.comparison {
            Comparison::Eq => config::Comparison::Equal,
            Comparison::Ne => config::Comparison::NotEqual,
            Comparison::Lt => config::Comparison::Less,
            Comparison::Le => config::Comparison::LessOrEqual,
            Comparison::Gt => config::Comparison::Greater,
            Comparison::Ge => config::Comparison::GreaterOrEqual,
        },
        value: known.value.clone(),
    });
    config::Ticket {
        name: ticket.name.clone(),
        expire: ticket.expire,
        acquire_after: ticket.acquire_after,
        renewal: ticket.renewal_freq.unwrap_or(ticket.expire / 2),
        timeout: ticket.timeout,
        retries: ticket.retries,
        weights: group.members.iter().map(|member| u32::try_from(weight(member.id)).unwrap_or(0)).collect(),
        handler: program.cloned().collect(),
        prerequisites: prerequisites.collect(),
        mode: match ticket.mode {
            TicketMode::Automatic => Mode::Automatic,
            TicketMode::Manual => Mode::Manual,
        },
        stop_time: None,
        lag: None,
        preferred: None,
        fail_back: None,
    }
}

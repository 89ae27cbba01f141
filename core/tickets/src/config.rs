//! What a group is: its members and its tickets.

use crate::drift;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// The most members of a group.
pub const MAX_MEMBERS: usize = 16;
/// The most tickets of a group.
pub const MAX_TICKETS: usize = 4096;
/// The longest name of a group, a member, a ticket or an attribute, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest value of an attribute, in bytes.
pub const MAX_VALUE: usize = 64 << 10;
/// The longest time that a configuration may name.
pub const MAX_TIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// The number of a member in its group: never 0, never given to another member later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId(pub u32);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the members of a group say to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// hakudo's own: one log, and a lease for each ticket.
    #[default]
    Hakudo,
    /// booth's, for groups with boothd in them ([`crate::booth`]).
    Booth,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberKind {
    /// A whole cluster, which can hold tickets.
    Site,
    /// A single process, which only votes.
    Arbitrator,
}

/// One member of a group. Each has one vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Its number.
    pub id: MemberId,
    /// Its name, for people; unique.
    pub name: String,
    /// Site or arbitrator.
    pub kind: MemberKind,
    /// Where it can be reached, all tried at once: `host`, `host:port` or `[v6]:port`. The core only keeps them.
    pub addresses: Vec<String>,
    /// Its public key (X25519), where members have keys of their own.
    pub key: Option<[u8; 32]>,
}

/// Who decides where a ticket goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TicketMode {
    /// The group: a ticket that was granted once is held by some site as long as any can.
    #[default]
    Automatic,
    /// Only the administrator (booth: `mode = manual`): no expiry, and no other site takes it by itself.
    Manual,
}

/// When a prerequisite is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrerequisiteWhen {
    /// Before a site takes a ticket by itself.
    Auto,
    /// Before a site is granted a ticket by the administrator.
    Manual,
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Comparison {
    /// The attribute is there and has this value.
    Eq,
    /// The attribute is missing or has another value.
    Ne,
    /// The attribute is a lower number.
    Lt,
    /// The attribute is a lower number or the same.
    Le,
    /// The attribute is a higher number.
    Gt,
    /// The attribute is a higher number or the same.
    Ge,
}

/// A condition on an attribute of a ticket at the site that would take it (booth: `attr-prereq`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prerequisite {
    /// When it is asked.
    pub when: PrerequisiteWhen,
    /// The attribute.
    pub attribute: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: String,
}

impl Prerequisite {
    /// True where an attribute with this value meets it; none where it is not set.
    pub fn is_met_by(&self, actual: Option<&str>) -> bool {
        use crate::booth::config as booth;
        let comparison = match self.comparison {
            Comparison::Eq => booth::Comparison::Equal,
            Comparison::Ne => booth::Comparison::NotEqual,
            Comparison::Lt => booth::Comparison::Less,
            Comparison::Le => booth::Comparison::LessOrEqual,
            Comparison::Gt => booth::Comparison::Greater,
            Comparison::Ge => booth::Comparison::GreaterOrEqual,
        };
        comparison.holds(actual, &self.value)
    }
}

/// A program, or a folder of programs, that must agree before a site takes a ticket (booth: `before-acquire-handler`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// A file, or a folder whose files are run in the order of their names until one fails.
    pub path: String,
    /// Its arguments. No shell is between.
    pub arguments: Vec<String>,
}

/// How fresh the copy of the data at a site must be before it takes a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LagRule {
    /// The copy may be behind by at most this.
    pub at_most: Duration,
    /// The program that measures it when it is asked for: it prints seconds.
    pub program: Handler,
}

/// One ticket and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketConfig {
    /// Its name; unique.
    pub name: String,
    /// How long a lease lasts without being renewed. Not asked of manual tickets.
    pub expire: Duration,
    /// What is waited beyond the end of a lost lease and the time to stop.
    pub acquire_after: Duration,
    /// Time between two renewals; a fifth of `expire` unless given.
    pub renewal_freq: Option<Duration>,
    /// How long an answer of another member is waited for.
    pub timeout: Duration,
    /// How often a question is repeated.
    pub retries: u32,
    /// Preference of sites: higher first; 0 for those that are not named.
    pub weights: BTreeMap<MemberId, i64>,
    /// Who decides.
    pub mode: TicketMode,
    /// Conditions on attributes, all of which must be met.
    pub prerequisites: Vec<Prerequisite>,
    /// What must agree at the site.
    pub handler: Option<Handler>,
    /// How long the holder may need to stop what depends on the ticket once its lease has ended. The site enforces it: a
    /// node that has not stopped by then resets itself. Without it, the site's own word counts.
    pub stop_time: Option<Duration>,
    /// How fresh the data must be.
    pub lag: Option<LagRule>,
    /// The site where the ticket belongs.
    pub preferred: Option<MemberId>,
    /// The preferred site gets the ticket back once it could have held it for this long without a break; never by itself
    /// unless given.
    pub fail_back: Option<Duration>,
}

impl TicketConfig {
    /// A ticket with booth's defaults: `expire` 600 s, `timeout` 5 s, `retries` 10.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            expire: Duration::from_secs(600),
            acquire_after: Duration::ZERO,
            renewal_freq: None,
            timeout: Duration::from_secs(5),
            retries: 10,
            weights: BTreeMap::new(),
            mode: TicketMode::Automatic,
            prerequisites: Vec::new(),
            handler: None,
            stop_time: None,
            lag: None,
            preferred: None,
            fail_back: None,
        }
    }

    /// Time between two renewals.
    pub fn renewal(&self) -> Duration {
        self.renewal_freq.unwrap_or(self.expire / 5)
    }

    /// How long nobody else may be granted the ticket after the start of the last round that backed a renewal, by the
    /// clock of another member: the lease and the time to stop, lengthened for the drift of both clocks.
    pub fn bound(expire: Duration, stop_time: Duration) -> Duration {
        drift::lengthen(expire.saturating_add(stop_time))
    }
}

/// A group of members that share tickets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Grows by one with each change that the group agreed to; 0 as written by the administrator.
    pub version: u64,
    /// The members.
    pub members: Vec<MemberEntry>,
    /// The tickets.
    pub tickets: Vec<TicketConfig>,
    /// Time between two signs of life of the coordinator; follows from the shortest lease unless given.
    pub heartbeat: Option<Duration>,
}

impl Group {
    /// The member with this number.
    pub fn member(&self, id: MemberId) -> Option<&MemberEntry> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The member with this name or address.
    pub fn member_named(&self, name: &str) -> Option<&MemberEntry> {
        let by_name = self.members.iter().find(|member| member.name == name);
        by_name.or_else(|| self.members.iter().find(|member| member.addresses.iter().any(|address| address == name)))
    }

    /// The name of a member, or its number where it is none of this group.
    pub fn name_of(&self, id: MemberId) -> String {
        self.member(id).map_or_else(|| format!("member {id}"), |member| member.name.clone())
    }

    /// The ticket with this name.
    pub fn ticket(&self, name: &str) -> Option<&TicketConfig> {
        self.tickets.iter().find(|ticket| ticket.name == name)
    }

    /// The sites, in order.
    pub fn sites(&self) -> impl Iterator<Item = &MemberEntry> {
        self.members.iter().filter(|member| member.kind == MemberKind::Site)
    }

    /// True where `id` is a site of this group.
    pub fn is_site(&self, id: MemberId) -> bool {
        self.member(id).is_some_and(|member| member.kind == MemberKind::Site)
    }

    /// Time between two signs of life of the coordinator: a tenth of the shortest lease, 100 ms to 2 s.
    pub fn heartbeat(&self) -> Duration {
        let automatic = self.tickets.iter().filter(|ticket| ticket.mode == TicketMode::Automatic);
        let shortest = automatic.map(|ticket| ticket.expire).min().unwrap_or(Duration::from_secs(20));
        self.heartbeat.unwrap_or_else(|| (shortest / 10).clamp(Duration::from_millis(100), Duration::from_secs(2)))
    }

    /// Silence of the coordinator after which others stand for election: three of its signs of life.
    pub fn election_timeout(&self) -> Duration {
        self.heartbeat() * 3
    }

    /// Names everything that members must agree on; `version` is not part of it.
    pub fn digest(&self) -> u64 {
        let content = (&self.name, &self.members, &self.tickets, &self.heartbeat);
        fnv1a(&postcard::to_stdvec(&content).unwrap_or_default())
    }

    /// Checks everything that the core relies on.
    ///
    /// # Errors
    /// The first thing that is wrong, by name.
    pub fn check(&self) -> Result<(), GroupError> {
        self.check_members()?;
        if self.tickets.len() > MAX_TICKETS {
            return Err(GroupError::TooManyTickets(self.tickets.len()));
        }
        let mut names = BTreeSet::new();
        for ticket in &self.tickets {
            if !names.insert(&ticket.name) {
                return Err(GroupError::DoubleTicket(ticket.name.clone()));
            }
            self.check_ticket(ticket).map_err(|wrong| GroupError::Ticket { ticket: ticket.name.clone(), wrong })?;
        }
        let (shortest, longest) = (Duration::from_millis(10), Duration::from_secs(60));
        if self.heartbeat.is_some_and(|heartbeat| heartbeat < shortest || heartbeat > longest) {
            return Err(GroupError::Heartbeat);
        }
        Ok(())
    }

    fn check_members(&self) -> Result<(), GroupError> {
        if self.members.is_empty() || self.members.len() > MAX_MEMBERS {
            return Err(GroupError::MemberCount(self.members.len()));
        }
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for member in &self.members {
            check_name(&member.name).map_err(|_| GroupError::BadName(member.name.clone()))?;
            if member.id.0 == 0 {
                return Err(GroupError::ZeroId(member.name.clone()));
            }
            if !ids.insert(member.id) {
                return Err(GroupError::DoubleId(member.id));
            }
            if !names.insert(&member.name) {
                return Err(GroupError::DoubleMember(member.name.clone()));
            }
            if member.addresses.iter().any(|address| address.len() > MAX_NAME) || member.addresses.len() > MAX_MEMBERS {
                return Err(GroupError::Addresses(member.name.clone()));
            }
        }
        check_name(&self.name).map_err(|_| GroupError::BadName(self.name.clone()))
    }

    fn check_ticket(&self, ticket: &TicketConfig) -> Result<(), TicketError> {
        check_name(&ticket.name)?;
        if ticket.expire < Duration::from_millis(500) {
            return Err(TicketError::ShortExpire);
        }
        let times = [Some(ticket.expire), Some(ticket.acquire_after), ticket.stop_time, ticket.fail_back];
        if times.into_iter().flatten().any(|time| time > MAX_TIME) {
            return Err(TicketError::LongTime);
        }
        if ticket.renewal().is_zero() || ticket.renewal() > ticket.expire / 2 {
            return Err(TicketError::Renewal);
        }
        if ticket.timeout.is_zero() {
            return Err(TicketError::Timeout);
        }
        if let Some(id) = ticket.weights.keys().chain(&ticket.preferred).find(|id| !self.is_site_or_arbitrator(**id)) {
            return Err(TicketError::UnknownMember(*id));
        }
        if ticket.preferred.is_some_and(|id| !self.is_site(id)) {
            return Err(TicketError::PreferredArbitrator);
        }
        Ok(())
    }

    fn is_site_or_arbitrator(&self, id: MemberId) -> bool {
        self.member(id).is_some()
    }
}

fn check_name(name: &str) -> Result<(), TicketError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(TicketError::Name);
    }
    Ok(())
}

/// FNV-1a, 64 bit: tells apart what nobody forges.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Why a group is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum GroupError {
    /// See [`MAX_MEMBERS`].
    #[error("the group has {0} members; 1 to {MAX_MEMBERS} are possible")]
    MemberCount(usize),
    /// See [`MAX_TICKETS`].
    #[error("the group has {0} tickets, at most {MAX_TICKETS} are possible")]
    TooManyTickets(usize),
    /// Names are 1 to [`MAX_NAME`] bytes without control characters.
    #[error("\"{0}\" is not a name: it must have 1 to {MAX_NAME} bytes and no control characters")]
    BadName(String),
    /// Numbers start at 1.
    #[error("member \"{0}\" has the number 0; numbers start at 1")]
    ZeroId(String),
    /// Numbers are unique.
    #[error("two members have the number {0}")]
    DoubleId(MemberId),
    /// Names are unique.
    #[error("two members have the name \"{0}\"")]
    DoubleMember(String),
    /// Addresses are limited.
    #[error("member \"{0}\" has more than {MAX_MEMBERS} addresses, or one longer than {MAX_NAME} bytes")]
    Addresses(String),
    /// Names are unique.
    #[error("two tickets have the name \"{0}\"")]
    DoubleTicket(String),
    /// The heartbeat has limits.
    #[error("the heartbeat must lie between 10 ms and 60 s")]
    Heartbeat,
    /// Something of one ticket.
    #[error("ticket \"{ticket}\": {wrong}")]
    Ticket {
        /// Which.
        ticket: String,
        /// What.
        wrong: TicketError,
    },
    /// The member that is to run is not part of the group.
    #[error("member {0} is not among the members of the group")]
    LocalMissing(MemberId),
}

/// What is wrong with one ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum TicketError {
    /// See [`GroupError::BadName`].
    #[error("its name must have 1 to {MAX_NAME} bytes and no control characters")]
    Name,
    /// Shorter leases cannot be renewed in time.
    #[error("expire must be at least 500 ms")]
    ShortExpire,
    /// See [`MAX_TIME`].
    #[error("a time is longer than a year")]
    LongTime,
    /// One lost renewal must not end the lease.
    #[error("renewal-freq must be more than 0 and at most half of expire")]
    Renewal,
    /// An answer needs some time.
    #[error("timeout must be more than 0")]
    Timeout,
    /// Weights and preferences are of members.
    #[error("member {0} is not among the members of the group")]
    UnknownMember(MemberId),
    /// An arbitrator holds no tickets.
    #[error("the preferred member is an arbitrator, which cannot hold tickets")]
    PreferredArbitrator,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Sites 1 and 2 and arbitrator 3 with these tickets.
    pub(crate) fn group(tickets: Vec<TicketConfig>) -> Group {
        let member = |id, name: &str, kind| MemberEntry {
            id: MemberId(id),
            name: name.to_owned(),
            kind,
            addresses: vec![format!("10.0.0.{id}")],
            key: None,
        };
        Group {
            name: "test".to_owned(),
            version: 0,
            members: vec![
                member(1, "berlin", MemberKind::Site),
                member(2, "osaka", MemberKind::Site),
                member(3, "witness", MemberKind::Arbitrator),
            ],
            tickets,
            heartbeat: None,
        }
    }

    #[test]
    fn mistakes_are_named() {
        let good = group(vec![TicketConfig::new("a")]);
        assert_eq!(good.check(), Ok(()));
        let wrong = |change: fn(&mut Group), expected: &str| {
            let mut group = good.clone();
            change(&mut group);
            assert_eq!(group.check().unwrap_err().to_string(), expected);
        };
        wrong(|g| g.members.clear(), "the group has 0 members; 1 to 16 are possible");
        wrong(|g| g.members[1].id = MemberId(1), "two members have the number 1");
        wrong(|g| g.members[1].id = MemberId(0), "member \"osaka\" has the number 0; numbers start at 1");
        wrong(|g| g.members[1].name = "berlin".into(), "two members have the name \"berlin\"");
        wrong(|g| g.tickets.push(TicketConfig::new("a")), "two tickets have the name \"a\"");
        wrong(|g| g.tickets[0].expire = Duration::ZERO, "ticket \"a\": expire must be at least 500 ms");
        wrong(
            |g| g.tickets[0].preferred = Some(MemberId(9)),
            "ticket \"a\": member 9 is not among the members of the group",
        );
        wrong(
            |g| g.tickets[0].preferred = Some(MemberId(3)),
            "ticket \"a\": the preferred member is an arbitrator, which cannot hold tickets",
        );
        wrong(
            |g| g.tickets[0].renewal_freq = Some(Duration::from_secs(301)),
            "ticket \"a\": renewal-freq must be more than 0 and at most half of expire",
        );
    }
}

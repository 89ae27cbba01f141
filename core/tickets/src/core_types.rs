//! What goes into a member, and what comes out of it.

use crate::config::{GroupError, Handler, LagRule, MemberId};
use crate::request::{Reply, RequestEnvelope};
use crate::table::Cause;
use hakudo_base::{Instant, Severity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// [`Member::deadline`](crate::Member::deadline) has come.
    Timer,
    /// A message of another member. The shell has made sure that it is from this member and was not sent before.
    Received {
        /// The sender.
        from: MemberId,
        /// What came.
        message: Vec<u8>,
    },
    /// All of [`Effect::Persist`] and [`Effect::Confirm`] up to this number is done.
    Done(u64),
    /// The state could not be stored. The member says nothing any more: it must be started again from what is stored.
    StorageFailed,
    /// Somebody at this member asks for something.
    Request {
        /// Chosen by the shell, never used twice in the life of this member; the replies carry it.
        id: u64,
        /// What is asked, and by whom.
        request: RequestEnvelope,
    },
    /// What this site thinks of a ticket: `Ok` if it could run what depends on it, or does; or why not. A site of which
    /// nothing was said takes no ticket by itself.
    Able {
        /// The ticket.
        ticket: String,
        /// Whether it can, or why not.
        able: Result<(), String>,
    },
    /// Whether anything that depends on a ticket may be active at this site. Said before the site says whether it can run it: nobody
    /// else is granted a ticket that is active somewhere.
    Active {
        /// The ticket.
        ticket: String,
        /// Whether it is, or nobody has looked.
        active: bool,
    },
    /// Whether nodes of this site are lost that are not known to be dead. They may not hear that a lease without an end has got
    /// one: until they are dead or back, it gets none. Said before anything else where it is so.
    Lost(bool),
    /// What stays active at this site when it loses a ticket, because the cluster does not stop it by itself; nothing where it
    /// stops all.
    Stays {
        /// The ticket.
        ticket: String,
        /// What, and why.
        what: Option<String>,
    },
    /// How long this site may need to stop what depends on a ticket.
    StopTime {
        /// The ticket.
        ticket: String,
        /// The bound.
        stop_time: Duration,
    },
    /// The answer to [`Effect::Check`].
    Checked {
        /// [`Check::check`].
        check: u64,
        /// What was found, or why the site must not take the ticket.
        result: Result<Readiness, String>,
    },
    /// Nothing that depends on this grant is active at this site any more, nor will be by this grant.
    Stopped {
        /// The ticket.
        ticket: String,
        /// The grant.
        generation: u64,
    },
    /// Everything that depends on this grant is active at this site. A new speaker is told again.
    Started {
        /// The ticket.
        ticket: String,
        /// The grant.
        generation: u64,
    },
    /// What the nodes of this site know of a lease that was held before this member was started: it lasts until then. Said
    /// before anything else.
    KnownLease {
        /// The ticket.
        ticket: String,
        /// The grant.
        generation: u64,
        /// Its end by the clock of this member; none where it has no end.
        until: Option<Instant>,
    },
}

/// What a site found out before it takes a ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// How far the copy of the data is behind, where it was measured.
    pub lag: Option<Duration>,
}

/// What the shell of a member must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to a member. It may be lost, doubled, late; it is at most [`MAX_MESSAGE`](crate::MAX_MESSAGE) bytes long,
    /// and almost always fits a datagram.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        message: Vec<u8>,
    },
    /// Store this state instead of the one before, so that it outlives a loss of power; then [`Input::Done`]. An arbitrator
    /// writes a file. A site stores it at all nodes of its quorate view, and says so only if all of them are still in this
    /// view, so that the next speaker of this site has it.
    Persist {
        /// Grows by one with each of these and of [`Effect::Confirm`].
        seq: u64,
        /// What the next [`Member::new`](crate::Member::new) is to be given.
        state: Vec<u8>,
    },
    /// Make sure that this member still is the speaker of its site: all nodes of the quorate view still are in this view.
    /// Then [`Input::Done`]. An arbitrator always is.
    Confirm {
        /// See [`Effect::Persist`].
        seq: u64,
    },
    /// What this site must know of a ticket now. Given out when anything of it changes, but not for a renewal.
    Ticket(TicketWord),
    /// A lease was renewed: the grant lasts until then.
    Lease {
        /// The ticket.
        ticket: String,
        /// The grant.
        generation: u64,
        /// The end by the clock of this member; none where it has no end.
        until: Option<Instant>,
    },
    /// This site observes only: it would have been granted the ticket now. Nothing is started.
    WouldHold {
        /// The ticket.
        ticket: String,
        /// Why.
        cause: Cause,
    },
    /// Find out whether this site may take a ticket, then [`Input::Checked`].
    Check(Check),
    /// An answer to a request. Progress may come many times; then one that is [final](Reply::is_final).
    Reply {
        /// The request.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// Something that people should know.
    Event(Event),
}

/// A question to this site, asked before it takes a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its number.
    pub check: u64,
    /// The ticket.
    pub ticket: String,
    /// The programs to run first (booth's `before-acquire-handler`), with booth's environment.
    pub handler: Option<Handler>,
    /// Set where the lag of the data must be measured. The core compares it.
    pub lag: Option<LagRule>,
    /// When the lease ends, in seconds since 1970, where this site holds the ticket already (booth: a handler is asked at each
    /// renewal too).
    pub expires: Option<i64>,
}

/// Whether this site holds a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holding {
    /// It does.
    Held {
        /// Every node must act as if the ticket were lost from this moment of this member's clock on; none where the lease
        /// has no end.
        until: Option<Instant>,
        /// So long after `until`, or after the ticket was taken away, all must be stopped, or the node resets itself.
        stop_time: Duration,
    },
    /// It does not.
    NotHeld(WhyNot),
    /// It did before this member was started, and the group may still think so: what is running goes on until the end that
    /// the nodes know, and nothing is started.
    Unknown,
}

/// Why a ticket is not held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyNot {
    /// Another site has it, or nobody.
    Elsewhere,
    /// The lease ended without being renewed.
    Expired,
    /// The administrator took it away.
    Revoked,
    /// It is on its way to another site.
    Moving,
    /// This site said that it has stopped everything.
    Released,
    /// There is no such ticket any more.
    Removed,
}

/// What a site must know of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketWord {
    /// The ticket.
    pub ticket: String,
    /// The grant that this speaks of: this site's newest one, 0 if it never had one. Grows with every grant in the group.
    pub generation: u64,
    /// Whether this site holds it.
    pub holding: Holding,
    /// The site that holds it, as far as is known here.
    pub holder: Option<MemberId>,
    /// The administrator set it aside: what depends on it is stopped in good order, and it stays granted.
    pub standby: bool,
    /// The administrator took it away, and nobody gets it by itself.
    pub revoked: bool,
    /// This site's own attributes of the ticket.
    pub attributes: BTreeMap<String, String>,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// This member leads the group's decisions now.
    Coordinates {
        /// The term's epoch and number.
        epoch: u32,
        /// See `epoch`.
        number: u32,
    },
    /// This member does not lead any more.
    CoordinatesNoMore,
    /// This member leaves it to another one, which hears more members, to lead.
    HandsOver {
        /// To which.
        to: MemberId,
    },
    /// Another member leads.
    Follows {
        /// Which.
        coordinator: MemberId,
    },
    /// Nobody was heard who leads.
    NoCoordinator,
    /// A member is heard.
    Heard {
        /// Which.
        member: MemberId,
    },
    /// A member is not heard any more.
    Silent {
        /// Which.
        member: MemberId,
    },
    /// A group is there, and this member is new in it or has forgotten what it promised.
    NoMemory,
    /// A member that was new, or had forgotten what it promised, votes from now on.
    Welcomed {
        /// Which.
        member: MemberId,
    },
    /// A ticket was granted.
    Granted {
        /// The ticket.
        ticket: String,
        /// To whom.
        site: MemberId,
        /// Why.
        cause: Cause,
    },
    /// The holder said that all is stopped.
    Released {
        /// The ticket.
        ticket: String,
        /// Who held it.
        site: MemberId,
    },
    /// The lease of this site's ticket ended without being renewed.
    Expired {
        /// The ticket.
        ticket: String,
    },
    /// A ticket has no holder and nobody can take it.
    NobodyCan {
        /// The ticket.
        ticket: String,
        /// Why each site cannot.
        reasons: Vec<(MemberId, String)>,
    },
    /// A ticket would have been granted to a site that only observes.
    WouldGrant {
        /// The ticket.
        ticket: String,
        /// To whom.
        site: MemberId,
        /// Why.
        cause: Cause,
    },
    /// The configuration that a member was started with is not the one that the group has agreed to.
    ConfigDiffers {
        /// The member.
        member: MemberId,
    },
    /// The group cannot begin: this member knows of a group that the others know nothing of.
    OlderGroup {
        /// Which.
        member: MemberId,
    },
    /// Others went on without a majority, by the administrator's order, and this member knows only that.
    MissedTakeover {
        /// The epoch that they began.
        epoch: u32,
    },
    /// A message could not be understood.
    Malformed {
        /// Who sent it.
        from: MemberId,
    },
    /// The state could not be stored: this member is silent until it is started again.
    StorageFailed,
    /// What a member of a booth group says of a ticket.
    Booth {
        /// How grave it is.
        severity: Severity,
        /// The ticket; empty where it is about a member.
        ticket: String,
        /// What happened.
        text: String,
    },
    /// The administrator declared members dead and went on without them.
    TakenOver {
        /// Who goes on.
        members: Vec<MemberId>,
        /// Who ordered it.
        who: String,
    },
}

impl Event {
    /// How grave it is.
    pub fn severity(&self) -> Severity {
        match self {
            Event::Booth { severity, .. } => *severity,
            Event::StorageFailed | Event::NobodyCan { .. } => Severity::Error,
            Event::NoCoordinator
            | Event::NoMemory
            | Event::Silent { .. }
            | Event::Expired { .. }
            | Event::ConfigDiffers { .. }
            | Event::OlderGroup { .. }
            | Event::MissedTakeover { .. }
            | Event::Malformed { .. }
            | Event::TakenOver { .. } => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Coordinates { epoch, number } => {
                write!(f, "this member coordinates the group in term {epoch}.{number}")
            }
            Event::CoordinatesNoMore => f.write_str("this member coordinates the group no more"),
            Event::HandsOver { to } => {
                write!(f, "member {to} hears more members than this one, and is to coordinate the group")
            }
            Event::Follows { coordinator } => write!(f, "member {coordinator} coordinates the group"),
            Event::NoCoordinator => f.write_str("no member is heard that coordinates the group"),
            Event::Heard { member } => write!(f, "member {member} is heard"),
            Event::Silent { member } => write!(f, "member {member} is not heard any more"),
            Event::NoMemory => f.write_str(
                "this member finds nothing stored, or something of another group, and has no vote until the group has taken it in",
            ),
            Event::Welcomed { member } => write!(f, "member {member} was taken in, and votes from now on"),
            Event::Granted { ticket, site, cause } => {
                write!(f, "ticket \"{ticket}\" is granted to member {site}: {cause}")
            }
            Event::Released { ticket, site } => {
                write!(f, "member {site} has stopped all of ticket \"{ticket}\" and released it")
            }
            Event::Expired { ticket } => write!(f, "the lease of ticket \"{ticket}\" ended without being renewed"),
            Event::NobodyCan { ticket, reasons } => {
                write!(f, "ticket \"{ticket}\" has no holder, and nobody can take it")?;
                reasons.iter().try_for_each(|(site, reason)| write!(f, "; member {site}: {reason}"))
            }
            Event::WouldGrant { ticket, site, cause } => {
                write!(f, "ticket \"{ticket}\" would be granted to member {site}, which only observes: {cause}")
            }
            Event::ConfigDiffers { member } => write!(
                f,
                "the configuration that member {member} was started with differs from the one that the group has agreed to, \
                 which counts: hakudo ticket configure --dry-run at that member shows in what"
            ),
            Event::OlderGroup { member } => write!(
                f,
                "the group cannot begin, because member {member} remembers an older one. Where other members of that are only away, bring \
                 them back, and nothing else is to be done. Where they are lost for good, to go on with what it remembers: hakudo \
                 ticket take-over at that member. Where that group is gone: stop that member, remove what it stored, and start it \
                 again"
            ),
            Event::MissedTakeover { epoch } => write!(
                f,
                "by order of the administrator some members went on without the others (epoch {epoch}), and what they decided has not \
                 come here: this member has no part in any decision until it hears one of them. Where all that know of it are lost for \
                 good: hakudo ticket take-over with those that are left"
            ),
            Event::Malformed { from } => write!(f, "a message of member {from} could not be understood"),
            Event::StorageFailed => f.write_str(
                "the state of the group could not be stored; this member is silent until it is started again",
            ),
            Event::Booth { ticket, text, .. } if ticket.is_empty() => f.write_str(text),
            Event::Booth { ticket, text, .. } => write!(f, "ticket \"{ticket}\": {text}"),
            Event::TakenOver { members, who } => {
                write!(f, "by order of {who} the group goes on with")?;
                members.iter().try_for_each(|member| write!(f, " member {member}"))?;
                f.write_str(" alone")
            }
        }
    }
}

/// Why a member could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The configuration is refused.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The group cannot be served by booth's protocol.
    #[error("{0}")]
    Booth(String),
    /// The stored state is of another version.
    #[error(
        "the stored state of the group is of format {found}, and this version of hakudo reads format {known}: start the version \
         that wrote it; or remove it, then this member has no vote until the others have taken it in"
    )]
    Format {
        /// Its format.
        found: u8,
        /// The one that is read.
        known: u8,
    },
    /// The stored state is not one.
    #[error("the stored state of the group is damaged: {0}")]
    Stored(String),
}

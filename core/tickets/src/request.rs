//! What people ask of a group, and what they are answered.

use crate::config::{Group, GroupError, MemberId};
use crate::status::Status;
use hakudo_base::UnixTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// A request and who asks, which is recorded with what comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEnvelope {
    /// The user, for the record.
    pub who: String,
    /// When, by the calendar of whoever asks; only for the record.
    pub at: UnixTime,
    /// What.
    pub request: Request,
}

/// What can be asked, at any member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Give a ticket that nobody holds to a site. If it was lost and the loser may still run, this waits until he has
    /// certainly stopped.
    Grant {
        /// The ticket.
        ticket: String,
        /// To whom.
        site: MemberId,
        /// Do not wait, and take it from whoever holds it: the administrator has made sure that nothing runs there.
        force: bool,
    },
    /// Take a ticket away; nobody gets it by itself afterwards. Ends when the holder has stopped all.
    Revoke {
        /// The ticket.
        ticket: String,
        /// Do not wait for the holder: the administrator has made sure that nothing runs there.
        force: bool,
    },
    /// Set a ticket aside, or use it again.
    Standby {
        /// The ticket.
        ticket: String,
        /// Aside or not.
        on: bool,
    },
    /// Set or delete an attribute of a ticket at a site.
    Attribute {
        /// The ticket.
        ticket: String,
        /// The site whose attribute it is.
        site: MemberId,
        /// The attribute.
        name: String,
        /// Its value; none deletes it.
        value: Option<String>,
    },
    /// Move a held ticket to another site: check there, stop here, wait for the data, grant there, and go back if it does
    /// not start there.
    Move {
        /// The ticket.
        ticket: String,
        /// To whom.
        to: MemberId,
        /// Only say what would happen.
        dry_run: bool,
    },
    /// A site will not take a ticket, or all tickets; or will again.
    Disclaim {
        /// The site.
        site: MemberId,
        /// The ticket; none means all.
        ticket: Option<String>,
        /// Will not, or will again.
        on: bool,
    },
    /// A site decides and records, but starts nothing; or acts again.
    Observe {
        /// The site.
        site: MemberId,
        /// Observes only, or acts.
        on: bool,
    },
    /// The group shall be configured as the member that is asked was started: as its file says, or its CIB.
    Adopt {
        /// Only say what would change.
        dry_run: bool,
    },
    /// The group shall be configured so. At most one member that votes is removed at a time.
    Configure {
        /// The new configuration.
        group: Box<Group>,
    },
    /// The last resort, when most members are lost for good: this member goes on with those named (itself among them), the
    /// others are declared dead. The administrator has made sure that nothing runs there. They are taken in again, one by
    /// one, when they are heard, and then do as the group says.
    TakeOver {
        /// Who goes on.
        members: Vec<MemberId>,
    },
    /// How things are.
    Status,
}

impl Request {
    /// The ticket that this is about, if it is about one.
    pub fn ticket(&self) -> Option<&str> {
        match self {
            Request::Grant { ticket, .. }
            | Request::Revoke { ticket, .. }
            | Request::Standby { ticket, .. }
            | Request::Attribute { ticket, .. }
            | Request::Move { ticket, .. } => Some(ticket),
            Request::Disclaim { ticket, .. } => ticket.as_deref(),
            Request::Observe { .. }
            | Request::Adopt { .. }
            | Request::Configure { .. }
            | Request::TakeOver { .. }
            | Request::Status => None,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It goes on; more will come.
    Progress(Progress),
    /// Done: it is in the log of a majority.
    Done(Outcome),
    /// Not done.
    Refused(Refusal),
}

impl Reply {
    /// False where more will come.
    pub fn is_final(&self) -> bool {
        !matches!(self, Reply::Progress(_))
    }
}

/// A step on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// The coordinator has the request.
    Accepted,
    /// The one who had the ticket may still run: waiting until he has certainly stopped.
    WaitingForBound {
        /// How long at most.
        wait: Duration,
    },
    /// The site is asked whether it can.
    Checking {
        /// The site.
        site: MemberId,
    },
    /// The holder stops.
    Stopping {
        /// The holder.
        site: MemberId,
    },
    /// The holder has stopped; nothing runs anywhere.
    Stopped {
        /// The one who held it.
        site: MemberId,
    },
    /// The site has the ticket and starts.
    Starting {
        /// The site.
        site: MemberId,
    },
    /// It did not work out: the ticket goes back.
    RollingBack {
        /// To whom.
        to: MemberId,
        /// Why.
        reason: String,
    },
    /// There is no coordinator now; the request is kept until there is one.
    NoCoordinator,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::Accepted => f.write_str("the group works on it"),
            Progress::WaitingForBound { wait } => {
                write!(f, "waiting up to {:.1} s until the last holder has certainly stopped", wait.as_secs_f64())
            }
            Progress::Checking { site } => write!(f, "asking member {site} whether it can take the ticket"),
            Progress::Stopping { site } => write!(f, "member {site} stops"),
            Progress::Stopped { site } => write!(f, "member {site} has stopped"),
            Progress::Starting { site } => write!(f, "member {site} has the ticket and starts"),
            Progress::RollingBack { to, reason } => write!(f, "going back to member {to}: {reason}"),
            Progress::NoCoordinator => f.write_str("no member coordinates the group now; waiting"),
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// As asked.
    Done,
    /// The ticket is granted.
    Granted {
        /// To whom.
        site: MemberId,
        /// The grant.
        generation: u64,
    },
    /// The ticket was moved.
    Moved {
        /// To whom.
        to: MemberId,
        /// From the moment when the old site had stopped until the new one had started, by the coordinator's clock; none
        /// where the new site has not said that it started.
        interruption: Option<Duration>,
    },
    /// A dry run: this would be done, and could be.
    Would(Vec<Progress>),
    /// In what the configuration of the member that was asked differs from the one that the group agreed to.
    Differences(Vec<String>),
    /// The ticket was not held by anybody.
    NotHeld,
    /// How things are.
    Status(Box<Status>),
}

/// Why a request was refused. Nothing was changed, except where the words say so.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// No such ticket.
    #[error("ticket \"{0}\" does not exist")]
    NoSuchTicket(String),
    /// No such member.
    #[error("member {0} is not part of the group")]
    NoSuchMember(MemberId),
    /// Arbitrators hold no tickets.
    #[error("member {0} is just an arbitrator, which cannot hold tickets")]
    Arbitrator(MemberId),
    /// Somebody holds it.
    #[error("ticket \"{ticket}\" is held by member {holder}; move it instead, or revoke it first")]
    AlreadyGranted {
        /// The ticket.
        ticket: String,
        /// Who.
        holder: MemberId,
    },
    /// Nobody holds it, so that it cannot be moved.
    #[error("ticket \"{0}\" is not held by anybody; grant it instead")]
    NotHeld(String),
    /// It is there already.
    #[error("ticket \"{ticket}\" is at member {site} already")]
    AlreadyThere {
        /// The ticket.
        ticket: String,
        /// Where.
        site: MemberId,
    },
    /// The site said no.
    #[error("member {site} cannot take ticket \"{ticket}\": {reason}")]
    Declined {
        /// The ticket.
        ticket: String,
        /// The site.
        site: MemberId,
        /// Its reason.
        reason: String,
    },
    /// The ticket went back to where it was.
    #[error("ticket \"{ticket}\" was moved back to member {site}: {reason}")]
    RolledBack {
        /// The ticket.
        ticket: String,
        /// Where it is again.
        site: MemberId,
        /// Why.
        reason: String,
    },
    /// Something else is going on with this ticket.
    #[error("ticket \"{0}\" is on its way already")]
    Busy(String),
    /// The configuration is refused.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// More than one member would change.
    #[error("only one member that votes can be removed at a time")]
    OneMemberAtATime,
    /// Nothing was agreed yet.
    #[error(
        "the group has yet to begin: all of its members must be heard once, and then it goes by what they were started with"
    )]
    NotBegun,
    /// A change of the configuration is under way.
    #[error("another change of the configuration is under way")]
    ConfigureBusy,
    /// A member that holds a ticket cannot be removed.
    #[error("member {site} holds ticket \"{ticket}\": move or revoke it first")]
    HolderRemoved {
        /// The member.
        site: MemberId,
        /// The ticket.
        ticket: String,
    },
    /// Without the member that would be removed too few are left that are heard.
    #[error(
        "of the members that would be left and have a vote, too few are heard to decide anything ({heard} of {voters}): wait until more \
         of them are back, or remove those that are not"
    )]
    TooFewLeft {
        /// Of those that would be left, so many are heard.
        heard: usize,
        /// So many votes there would be.
        voters: usize,
    },
    /// The members named for a takeover are no group that this member could lead.
    #[error("a takeover must name members of the group, this member among them")]
    TakeOverMembers,
    /// There is a majority.
    #[error("most members of the group are heard: a takeover is not needed, use a forced grant")]
    TakeOverNotNeeded,
    /// A name or value is too long, or empty.
    #[error(
        "the name of an attribute must have 1 to {} bytes and its value at most {}",
        crate::config::MAX_NAME,
        crate::config::MAX_VALUE
    )]
    AttributeSize,
    /// The coordinator could not be reached, or lost its office. The request may or may not have been carried out.
    #[error("no answer from the group: what came of the request is not known")]
    NoAnswer,
    /// Another member decides on it, and booth's members do not ask for each other.
    #[error("member {0} decides on this: ask it there")]
    AskThere(MemberId),
    /// The group speaks booth's protocol, which has no word for it.
    #[error("the group speaks booth's protocol, which does not know {0}")]
    NotInBooth(String),
    /// It took too long, and was given up.
    #[error("given up: {0}")]
    GivenUp(String),
    /// An attribute cannot have this name; why.
    #[error("{0}")]
    AttributeName(String),
    /// The holder would not stop all of it.
    #[error(
        "ticket \"{ticket}\" cannot be moved: member {site} does not stop all of it by itself: {what}. Let the cluster stop it \
         there first, or stop it yourself"
    )]
    Stays {
        /// The ticket.
        ticket: String,
        /// The holder.
        site: MemberId,
        /// What stays active there, and why.
        what: String,
    },
    /// Something of it is active at a site that does not hold it.
    #[error(
        "ticket \"{ticket}\" cannot be moved: member {site}, which does not hold it, runs something of it. Stop it there first"
    )]
    RunsElsewhere {
        /// The ticket.
        ticket: String,
        /// That site.
        site: MemberId,
    },
    /// A takeover is to leave nobody out who is needed.
    #[error(
        "the members that were named are most of those with a vote, and decide without a takeover as soon as they hear each other: a takeover \
         would undo what they decide until it is in force. Where one of them has forgotten what it promised, name only the others: it \
         is taken in by them"
    )]
    TakeOverByMajority,
}

impl From<crate::AttributeNameError> for Refusal {
    fn from(error: crate::AttributeNameError) -> Self {
        Self::AttributeName(error.to_string())
    }
}

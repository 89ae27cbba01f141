//! How things are, for people and programs: one view, from which every output is made.

use crate::config::{MemberId, MemberKind, TicketMode};
use crate::request::Progress;
use crate::table::{History, Move};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A group as one member sees it; the coordinator sees most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The group's name.
    pub group: String,
    /// The version of its configuration.
    pub version: u64,
    /// Digest of its configuration.
    pub config: u64,
    /// Who tells this.
    pub local: MemberId,
    /// Who coordinates, as far as is known.
    pub coordinator: Option<MemberId>,
    /// Epoch and number of the term.
    pub term: (u32, u32),
    /// The number of log entries that a majority has.
    pub committed: u64,
    /// The members, the teller among them.
    pub members: Vec<MemberStatus>,
    /// The tickets.
    pub tickets: Vec<TicketStatus>,
}

/// One member as the teller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its number.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Site or arbitrator.
    pub kind: MemberKind,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// How long ago it was heard; zero for the teller, none where it was never heard.
    pub heard: Option<Duration>,
    /// Messages that came from it and went to it.
    pub received: u64,
    /// See `received`.
    pub sent: u64,
    /// Messages from it that could not be understood.
    pub malformed: u64,
    /// It was started with another configuration than the one that the group has agreed to.
    pub config_differs: bool,
    /// It was declared dead by the administrator, and has no vote until it is taken in again.
    pub absent: bool,
    /// It decides and records, but starts nothing.
    pub observes: bool,
    /// It takes no ticket.
    pub disclaims: bool,
}

/// What is known of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseStatus {
    /// Nobody holds the ticket.
    None,
    /// It has no end: manual, or nobody else would take it.
    Unlimited,
    /// It ends in this time unless it is renewed.
    Ends(Duration),
    /// It was not renewed in time, and the holder may still be stopping: nobody else gets it for this time.
    Lost(Duration),
    /// It was not renewed, and the holder has certainly stopped.
    Ended,
    /// The teller does not know.
    Unknown,
}

/// Whether a site could take a ticket over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The site.
    pub site: MemberId,
    /// Why not; none if it could.
    pub obstacle: Option<String>,
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeStatus {
    /// Whose.
    pub site: MemberId,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// When it was set, in milliseconds since 1970, by the calendar of who set it.
    pub set: i64,
}

/// One ticket as the teller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketStatus {
    /// Its name.
    pub name: String,
    /// Who decides where it goes.
    pub mode: TicketMode,
    /// Who holds it.
    pub holder: Option<MemberId>,
    /// The grant.
    pub generation: u64,
    /// The lease.
    pub lease: LeaseStatus,
    /// True once it was granted and not taken away since: then the group gives it to whoever can.
    pub wanted: bool,
    /// The administrator took it away.
    pub revoked: bool,
    /// Set aside.
    pub standby: bool,
    /// Where it is going.
    pub moving: Option<Move>,
    /// What the coordinator is doing with it.
    pub progress: Option<Progress>,
    /// The sites but the holder.
    pub candidates: Vec<Candidate>,
    /// Attributes of all sites.
    pub attributes: Vec<AttributeStatus>,
    /// How often in a row each site gave it up because of a failure.
    pub failures: BTreeMap<MemberId, u32>,
    /// What happened to it, oldest first.
    pub history: Vec<History>,
    /// Its parameters, for display.
    pub expire: Duration,
}

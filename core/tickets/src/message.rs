//! What members say to each other, once the shell has shown that it is from a member of this group.
//!
//! In postcard's format. Decoding is bounded by the message's length and refuses what does not fit exactly. Times of the
//! sender's clock ([`Instant`]) only ever come back to whoever sent them.

use crate::config::MemberId;
use crate::core_types::Readiness;
use crate::log::{Entry, Position, Term};
use crate::request::{Reply, RequestEnvelope};
use crate::table::{Cause, Table};
use hakudo_base::Instant;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest message, in bytes: a snapshot of a large group.
pub const MAX_MESSAGE: usize = 16 << 20;
/// About how many bytes of entries go into one message, so that it fits a datagram if none of them is larger.
pub(crate) const ENTRY_BYTES: usize = 1000;
/// The version of this protocol.
const VERSION: u8 = 3;

/// What is inside a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packet {
    version: u8,
    /// The run of the sender, chosen at random at its start: a new speaker of a site is another run.
    pub(crate) instance: u64,
    /// What the sender remembers: chosen at random where it found nothing stored.
    pub(crate) memory: u64,
    /// Digest of the configuration that the sender was started with, and of the one that it goes by.
    pub(crate) configs: (u64, u64),
    pub(crate) message: Message,
}

impl Packet {
    pub(crate) fn new((instance, memory): (u64, u64), configs: (u64, u64), message: Message) -> Self {
        Self { version: VERSION, instance, memory, configs, message }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// What these bytes say; nothing if they are not exactly one message of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_MESSAGE {
            return None;
        }
        let (packet, rest) = postcard::take_from_bytes::<Packet>(bytes).ok()?;
        (packet.version == VERSION && rest.is_empty()).then_some(packet)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    Append(Append),
    Appended(Appended),
    Install(Install),
    /// Would you vote for me in this term, with a log that ends here?
    PreVote {
        term: Term,
        last: Position,
    },
    PreVoted {
        term: Term,
        granted: bool,
    },
    Vote {
        term: Term,
        last: Position,
    },
    /// `age`: how long ago the sender last acked any coordinator, or was started.
    Voted {
        term: Term,
        granted: bool,
        age: Duration,
    },
    Renew(Renew),
    Renewed(Renewed),
    Offer(Offer),
    Answer(Answer),
    /// The offer is being looked at: what must agree at the site has not ended yet.
    Checking {
        term: Term,
        offer: u64,
    },
    /// Nothing that depends on this grant is active any more, nor will be.
    Released {
        generation: u64,
        failed: bool,
    },
    Report(Report),
    /// A request of a user at the sender, for the coordinator.
    Ask {
        id: u64,
        /// It was sent before, and may have been carried out by an earlier coordinator.
        again: bool,
        request: RequestEnvelope,
    },
    /// To the run that asked.
    Told {
        instance: u64,
        id: u64,
        reply: Reply,
    },
    /// The coordinator misses somebody: whom do you reach?
    Look {
        term: Term,
    },
    /// These members answered, the sender and the coordinator among them.
    Reaches {
        term: Term,
        reached: BTreeSet<MemberId>,
    },
    /// The coordinator leaves its office to a member that reaches more.
    HandOver {
        term: Term,
        to: MemberId,
    },
}

/// The coordinator's sign of life, with what the receiver's log lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Append {
    pub(crate) term: Term,
    /// The coordinator counts its rounds.
    pub(crate) round: u64,
    /// The entries follow this place.
    pub(crate) previous: Position,
    pub(crate) entries: Vec<Entry>,
    pub(crate) commit: u64,
    /// The newest report of the receiver's run that the coordinator has.
    pub(crate) report_seen: Option<(u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Appended {
    pub(crate) term: Term,
    pub(crate) round: u64,
    /// The receiver's log agrees with the coordinator's up to `index`; or else it does not reach beyond it.
    pub(crate) agrees: bool,
    pub(crate) index: u64,
}

/// Instead of entries that the coordinator no longer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Install {
    pub(crate) term: Term,
    pub(crate) round: u64,
    pub(crate) last: Position,
    pub(crate) table: Table,
}

/// The holder asks for its leases to be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renew {
    /// The holder's clock: its leases will end so long after this.
    pub(crate) stamp: Instant,
    pub(crate) grants: Vec<RenewGrant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RenewGrant {
    pub(crate) generation: u64,
    /// The holder takes this lease for one that ends, also after a restart.
    pub(crate) finite: bool,
    /// The time that the holder needs for stopping, where it is more than the group knows of.
    pub(crate) stop_time: Option<Duration>,
    /// What the holder does not stop by itself, where it knows.
    pub(crate) stays: Option<Option<String>>,
    /// All that depends on this grant is active.
    pub(crate) started: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renewed {
    /// The run that asked.
    pub(crate) instance: u64,
    pub(crate) stamp: Instant,
    /// Grants and how long after `stamp` their leases end.
    pub(crate) grants: Vec<(u64, Duration)>,
}

/// Would you take this ticket?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) term: Term,
    /// Chosen by the coordinator.
    pub(crate) offer: u64,
    pub(crate) ticket: String,
    pub(crate) cause: Cause,
}

/// The answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) term: Term,
    pub(crate) offer: u64,
    /// The sender's clock: a lease that follows ends so long after this.
    pub(crate) stamp: Instant,
    pub(crate) answer: Result<Acceptance, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acceptance {
    pub(crate) stop_time: Duration,
    pub(crate) readiness: Readiness,
}

/// What a site thinks of all tickets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Grows with each change in one run.
    pub(crate) version: u64,
    /// Tickets of which the site spoke: able, or why not.
    pub(crate) able: BTreeMap<String, Result<(), String>>,
    /// Tickets of which something may be active there.
    pub(crate) active: BTreeSet<String>,
    /// Tickets of which it is known whether something is active there.
    pub(crate) looked: BTreeSet<String>,
}

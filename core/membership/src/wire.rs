//! What nodes say to each other, once sealing has shown that it is from a member of this cluster.
//!
//! Every datagram holds one [`Message`] in postcard's format. Decoding is bounded by the datagram's length, and refuses
//! what does not fit exactly. Messages of a view change can be longer than a datagram: they go as numbered parts, and are
//! repeated as a whole until they are answered, so that a part that came once need not come again.

use crate::quorum;
use crate::view::ViewId;
use hakudo_base::NodeId;
use hakudo_seal::fnv1a;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The longest message inside a datagram, before sealing.
pub(crate) const MAX_MESSAGE: usize = 1150;
/// How many bytes of a payload go into one item of a batch.
pub(crate) const FRAGMENT: usize = 1050;
/// How many bytes of a long message of a view change go into one part.
pub(crate) const PART: usize = 1080;
/// A message of a view change with more parts than this is nonsense.
pub(crate) const MAX_PARTS: u8 = 64;

/// Bytes, copied as one piece.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A run of a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) node: NodeId,
    /// Chosen at random at the start.
    pub(crate) boot: u64,
}

/// What is inside a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packet {
    /// The link on which it was sent; one that comes in elsewhere is refused.
    pub(crate) link: u8,
    pub(crate) message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    Heartbeat(Heartbeat),
    /// A part of a [`ViewMessage`].
    Part(Part),
    /// From a member to the leader, to be put in order.
    Submit(Batch),
    /// From the leader: the order.
    Ordered(Batch),
    Ack(Ack),
    /// Give me these items of the order of a view that ends.
    Fetch {
        view: ViewId,
        first: u64,
        last: u64,
    },
    /// The answer.
    Fetched(Batch),
}

/// I am here, this is whom I hear, and what I was told of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    /// The sender's clock, in nanoseconds; means nothing to others.
    pub(crate) sent: u64,
    /// The receiver's `sent` that came last on this link, and how many nanoseconds it lay here.
    pub(crate) echo: Option<(u64, u64)>,
    /// On which links the sender hears the receiver, a bit each.
    pub(crate) links: u8,
    /// Digest of the configuration.
    pub(crate) config: u64,
    /// How often the sender's process was paused, and for how long the last time.
    pub(crate) pauses: u32,
    pub(crate) pause_ms: u32,
    /// All items of the sender's view up to here are at all members; only the leader knows.
    pub(crate) stable: u64,
    /// The nodes that the masks below speak of.
    pub(crate) nodes: Vec<NodeId>,
    /// The row of the sender, then those of others, if they differ.
    pub(crate) rows: Vec<WireRow>,
}

/// What one node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireRow {
    /// An index into [`Heartbeat::nodes`].
    pub(crate) node: u8,
    pub(crate) boot: u64,
    /// Grows with each heartbeat of that run.
    pub(crate) number: u64,
    /// Milliseconds since it was said.
    pub(crate) age_ms: u32,
    /// Whom it hears.
    pub(crate) hears: u32,
    pub(crate) view: ViewId,
    pub(crate) promised: ViewId,
    pub(crate) leaving: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Names the whole among those of this sender.
    pub(crate) whole: u64,
    pub(crate) index: u8,
    pub(crate) count: u8,
    pub(crate) bytes: Blob,
}

/// Consecutive items of an order, or of what one member submits to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) view: ViewId,
    /// All items of the order up to here are at all members.
    pub(crate) stable: u64,
    /// The number of the first item; they count from 1.
    pub(crate) first: u64,
    pub(crate) items: Vec<Item>,
}

/// A message, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) origin: NodeId,
    /// The message's number among those of this run of its origin.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// More pieces of the same message follow.
    pub(crate) more: bool,
    pub(crate) bytes: Blob,
}

impl Item {
    /// No more bytes than this in postcard's format.
    pub(crate) fn size_bound(&self) -> usize {
        self.bytes.0.len() + 20
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// For the users of the engine.
    User,
    /// For the quorum rule of every member: a [`QuorumStep`].
    Quorum,
}

/// What every member does to its quorum rule at the same place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum QuorumStep {
    /// The leader's window of `last_man_standing` is over.
    WindowOver,
    SetExpectedVotes(u32),
    CancelWaitForAll,
    /// What the quorum device said to the sender.
    Device(quorum::DeviceWord),
}

/// Everything before `next` is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ack {
    pub(crate) view: ViewId,
    /// Of what was submitted, not of the order.
    pub(crate) submitted: bool,
    pub(crate) next: u64,
    /// First and last of what is not here though later items are.
    pub(crate) missing: Vec<(u64, u64)>,
}

/// The messages of a view change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ViewMessage {
    /// Let us be these; say nothing more in your view, and tell me how far you are.
    Propose { id: ViewId, members: Vec<Run> },
    /// I am in none of your and no older proposal's views any more; this is what I have.
    Flush { id: ViewId, flush: Flush },
    /// All have answered: this is the view.
    Install(Install),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flush {
    /// The view that the node comes from.
    pub(crate) previous: Option<ViewId>,
    /// How many items of its order the node has, without a gap.
    pub(crate) received: u64,
    /// The last message of each run that the node was delivered.
    pub(crate) delivered: Vec<(Run, u64)>,
    pub(crate) report: quorum::Report,
    /// Members of the previous view that said goodbye.
    pub(crate) leaving: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Install {
    pub(crate) id: ViewId,
    pub(crate) members: Vec<Joined>,
    /// The last message of each member that some other member was delivered.
    pub(crate) delivered: Vec<(Run, u64)>,
    pub(crate) leaving: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) run: Run,
    pub(crate) previous: Option<ViewId>,
    pub(crate) received: u64,
    pub(crate) report: quorum::Report,
}

impl Packet {
    /// The packet in these bytes, if they hold one and nothing else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Packet> {
        decode(bytes)
    }
}

impl ViewMessage {
    /// The parts in which it travels. The same message has the same parts.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let bytes = postcard::to_stdvec(self).unwrap_or_default();
        let whole = fnv1a(&bytes);
        let count = bytes.len().div_ceil(PART);
        let Some(count) = u8::try_from(count).ok().filter(|count| *count <= MAX_PARTS) else { return Vec::new() };
        let chunks = bytes.chunks(PART).zip(0..);
        chunks.map(|(bytes, index)| Part { whole, index, count, bytes: Blob(bytes.to_vec()) }).collect()
    }
}

/// Puts the parts of one sender together, one message at a time: the newest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assembly {
    whole: u64,
    parts: Vec<Option<Vec<u8>>>,
}

impl Assembly {
    /// Takes a part, and gives the message once all parts are here.
    pub(crate) fn take(&mut self, part: Part) -> Option<ViewMessage> {
        if part.count == 0 || part.count > MAX_PARTS || part.index >= part.count {
            return None;
        }
        if self.whole != part.whole || self.parts.len() != usize::from(part.count) {
            *self = Self { whole: part.whole, parts: vec![None; usize::from(part.count)] };
        }
        *self.parts.get_mut(usize::from(part.index))? = Some(part.bytes.0);
        let bytes: Vec<&[u8]> = self.parts.iter().map(Option::as_deref).collect::<Option<_>>()?;
        let bytes = bytes.concat();
        *self = Self::default();
        (fnv1a(&bytes) == part.whole).then(|| decode(&bytes)).flatten()
    }
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

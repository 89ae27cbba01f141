//! What the engine is told, what it asks for, and what it tells people.

use crate::config::{Config, PersistedState};
use crate::quorum::Decision;
use crate::view::{Delivered, View};
use hakudo_base::{NodeId, Severity};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the engine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come.
    Timer,
    /// A datagram came in on a link. It may be anything, from anyone.
    Packet {
        /// The number of the link whose socket it came from.
        link: u8,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Datagrams that were there at once, with their links, in the order in which they came. They are answered together: one
    /// acknowledgement does for all.
    Packets(Vec<(u8, Vec<u8>)>),
    /// Say this to all members, in the total order. See the crate's documentation for what the sender may assume.
    Broadcast(Vec<u8>),
    /// Use this configuration from now on. One that [`Config::check`] refuses changes nothing and is reported.
    Configure(Box<Config>),
    /// This node is confirmed dead: if it stays silent, it is lost after two heartbeats instead of `dead_after`.
    Fenced(NodeId),
    /// An operator overrides the quorum rule. It takes effect at every member, at the same place in the order; where the
    /// answer changes, a new view with the same members follows.
    Quorum(QuorumOverride),
    /// The quorum device says whether it votes for this node's side. A shell that does not hear the device any more says
    /// `false`. Counts at every member, at the same place in the order.
    Device {
        /// It votes for this side.
        votes: bool,
    },
    /// Say goodbye: this node runs nothing any more. [`Effect::Left`] follows.
    Leave,
    /// What [`Effect::Reserve`] asked for is on disk, with this [`PersistedState::epoch_limit`].
    Reserved(u64),
}

/// An operator's override of the quorum rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumOverride {
    /// So many votes are expected from now on (`corosync-quorumtool -e`).
    SetExpectedVotes(u32),
    /// Nobody else is alive: stop waiting (`quorum.cancel_wait_for_all`).
    CancelWaitForAll,
}

/// What the engine asks for, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a datagram to the address of a node on a link. It may get lost.
    Transmit {
        /// To whom.
        to: NodeId,
        /// On which link.
        link: u8,
        /// What.
        bytes: Vec<u8>,
    },
    /// Write this to disk, with a sync, before any later effect is carried out.
    Persist(PersistedState),
    /// Write this to disk, with a sync, after what was to be written before and in place of it, while later effects are
    /// carried out; then say [`Input::Reserved`]. Where the disk refuses, nothing is said.
    Reserve(PersistedState),
    /// A view was installed.
    View(View),
    /// The next message of the view.
    Deliver(Delivered),
    /// A broadcast of this node that it will never be delivered; the reason says whether others were.
    Undelivered {
        /// What was to be said.
        payload: Vec<u8>,
        /// Why not.
        reason: Undelivered,
    },
    /// Something that people may want to know.
    Event(Event),
    /// The goodbye is known to the others, or nobody is there to hear it. The engine has stopped.
    Left,
}

/// Why a broadcast is not delivered to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// Members with which this node is not together any more were delivered it, in a view that this node lost. Its
    /// outcome is part of their state.
    Elsewhere,
    /// Nobody was delivered it: too much is waiting already. Say it again later.
    QueueFull,
    /// Nobody was delivered it: it is longer than [`MAX_PAYLOAD`](crate::MAX_PAYLOAD).
    TooLarge,
    /// This node is leaving. Others may have been delivered it, if it was said before the goodbye and they were slow.
    Leaving,
}

/// Something that people may want to know. Its text is [`Event`]'s `Display`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A link to a node works, or works again.
    LinkUp {
        /// The node.
        node: NodeId,
        /// The link's number.
        link: u8,
    },
    /// Nothing came over this link for `dead_after`.
    LinkDown {
        /// The node.
        node: NodeId,
        /// The link's number.
        link: u8,
    },
    /// A node is heard, for the first time or after silence.
    NodeHeard {
        /// The node.
        node: NodeId,
        /// It is another run of its process than the one heard before.
        restarted: bool,
    },
    /// A node has been silent for `warn_after`.
    NodeLate {
        /// The node.
        node: NodeId,
        /// Milliseconds since its last sign of life.
        silent_ms: u64,
    },
    /// A node has been silent for `dead_after` on all links.
    NodeLost {
        /// The node.
        node: NodeId,
        /// Milliseconds since its last sign of life; the time this process itself slept is not counted.
        silent_ms: u64,
    },
    /// A node says goodbye.
    NodeLeaving {
        /// The node.
        node: NodeId,
    },
    /// This process did not run when it should have; other nodes were given that much longer.
    Paused {
        /// Milliseconds.
        pause_ms: u64,
    },
    /// Another node says that its process did not run.
    NodePaused {
        /// The node.
        node: NodeId,
        /// Milliseconds.
        pause_ms: u64,
    },
    /// A node cannot hear this node, though this node hears it.
    OneWay {
        /// The node.
        node: NodeId,
    },
    /// Datagrams that claim to be of this cluster could not be authenticated.
    Forged {
        /// How many since the start.
        total: u64,
        /// Which node they claim to come from, if they say. Where this is a real node, its key differs.
        claimed: Option<NodeId>,
    },
    /// Authenticated datagrams came again.
    Replayed {
        /// How many since the start.
        total: u64,
    },
    /// A node with the right key belongs to another cluster.
    ForeignCluster {
        /// The node's number there.
        node: NodeId,
        /// The name of its cluster.
        cluster_name: String,
    },
    /// A node's membership configuration differs from that of this node.
    ConfigDiffers {
        /// The node.
        node: NodeId,
    },
    /// A node's membership configuration is that of this node again.
    ConfigAgrees {
        /// The node.
        node: NodeId,
    },
    /// The quorum rule's answer in a new view, or after something changed it.
    Quorum {
        /// The answer, with its reason.
        decision: Decision,
    },
    /// An override of the quorum rule was refused.
    QuorumRefused {
        /// Why.
        reason: String,
    },
    /// A configuration was refused; the previous one stays.
    ConfigRefused {
        /// What is wrong with it.
        reason: String,
    },
}

impl Event {
    /// How grave it is.
    pub fn severity(&self) -> Severity {
        match self {
            Event::LinkUp { .. }
            | Event::NodeHeard { .. }
            | Event::NodeLeaving { .. }
            | Event::Replayed { .. }
            | Event::ConfigAgrees { .. } => Severity::Info,
            Event::Quorum { decision } => {
                if decision.quorate {
                    Severity::Info
                } else {
                    Severity::Error
                }
            }
            Event::LinkDown { .. }
            | Event::NodeLate { .. }
            | Event::Paused { .. }
            | Event::NodePaused { .. }
            | Event::OneWay { .. }
            | Event::Forged { .. }
            | Event::QuorumRefused { .. }
            | Event::ConfigDiffers { .. } => Severity::Warning,
            Event::NodeLost { .. } | Event::ForeignCluster { .. } | Event::ConfigRefused { .. } => Severity::Error,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::LinkUp { node, link } => write!(f, "link {link} to node {node} is up"),
            Event::LinkDown { node, link } => write!(f, "link {link} to node {node} is down"),
            Event::NodeHeard { node, restarted: false } => write!(f, "node {node} is heard"),
            Event::NodeHeard { node, restarted: true } => write!(f, "node {node} was restarted and is heard"),
            Event::NodeLate { node, silent_ms } => write!(f, "node {node} is late: silent for {silent_ms} ms"),
            Event::NodeLost { node, silent_ms } => write!(f, "node {node} is lost: silent for {silent_ms} ms"),
            Event::NodeLeaving { node } => write!(f, "node {node} says goodbye"),
            Event::Paused { pause_ms } => {
                write!(f, "this process did not run for {pause_ms} ms; the other nodes get that much longer")
            }
            Event::NodePaused { node, pause_ms } => write!(f, "node {node} did not run for {pause_ms} ms"),
            Event::OneWay { node } => write!(f, "node {node} is heard but does not hear this node"),
            Event::Forged { total, claimed: Some(node) } => write!(
                f,
                "{total} datagrams could not be authenticated, one says it is from node {node}: \
                 is the cluster key the same on both nodes?"
            ),
            Event::Forged { total, claimed: None } => write!(f, "{total} datagrams could not be authenticated"),
            Event::Replayed { total } => write!(f, "{total} datagrams came more than once"),
            Event::ForeignCluster { node, cluster_name } => {
                write!(f, "node {node} belongs to another cluster, \"{cluster_name}\", but has this cluster's key")
            }
            Event::ConfigDiffers { node } => {
                write!(f, "the membership configuration of node {node} differs from that of this node")
            }
            Event::ConfigAgrees { node } => {
                write!(f, "the membership configuration of node {node} agrees with that of this node again")
            }
            Event::Quorum { decision } => decision.fmt(f),
            Event::QuorumRefused { reason } => write!(f, "the quorum rule is not changed: {reason}"),
            Event::ConfigRefused { reason } => write!(f, "the new membership configuration is refused: {reason}"),
        }
    }
}

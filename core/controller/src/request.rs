//! What a local client may ask of a node, and the answers: the protocol of the node's socket. One request and one reply,
//! both as JSON behind a 4-byte big-endian length; a `Watch` is answered again and again.

use hakudo_base::Severity;
use hakudo_membership::ViewId;
use serde::{Deserialize, Serialize};

/// A request of a client on the same machine. The daemon knows the client's user from the socket (`SO_PEERCRED`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The whole CIB with status, as XML.
    Cib,
    /// Members, links, quorum, leader, state of the transition.
    Cluster,
    /// The newest events, at most `limit`, of at least `after`, oldest first.
    Events {
        /// Only events with a greater number.
        after: u64,
        /// At most so many.
        limit: u32,
    },
    /// Answered when something changed since the state with number `after` ([`ClusterState::revision`]), by `Cluster`.
    Watch {
        /// The revision that the client knows.
        after: u64,
    },
    /// Changes the configuration.
    Change(Change),
    /// Forgets failures and history of a resource (or of all), on a node (or on all); it is probed anew.
    Cleanup {
        /// The resource, or all.
        resource: Option<String>,
        /// The node by name, or all.
        node: Option<String>,
        /// Also where nothing failed (`refresh`).
        refresh: bool,
    },
    /// Changes a ticket of this cluster (`crm_ticket`).
    Ticket {
        /// The ticket.
        ticket: String,
        /// What to do.
        change: TicketChange,
        /// Also without quorum, and where it may do harm.
        #[serde(default)]
        force: bool,
    },
    /// Asks the ticket group (`hakudo ticket`).
    Tickets {
        /// What.
        ask: Box<hakudo_tickets::Request>,
        /// The steps on the way are told too: several replies come, and the last one is [final](Reply::is_final).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        progress: bool,
    },
    /// Sets or removes a transient node attribute.
    SetAttribute {
        /// The node by name.
        node: String,
        /// The attribute.
        name: String,
        /// The value; none removes it.
        value: Option<String>,
    },
    /// Fences a node.
    Fence {
        /// The node by name.
        node: String,
        /// `off`, `reboot` or `on`.
        action: String,
    },
    /// The administrator's word that a node is down and will run nothing (`stonith_admin --confirm`).
    ConfirmFenced {
        /// The node by name.
        node: String,
    },
    /// Stops all resources of this node, then leaves the cluster cleanly.
    Leave,
    /// Overrides the quorum rule, at every member.
    Quorum(QuorumOverride),
    /// Reads the node's configuration file again: its node list, votes, quorum options and times.
    Reload,
}

/// What an administrator can do to a ticket of the own cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TicketChange {
    /// It is granted here.
    Grant,
    /// It is granted here no longer: the loss policies of its constraints apply.
    Revoke,
    /// What needs it stops (or is demoted) in good order, although it stays granted.
    Standby,
    /// The end of standby.
    Activate,
    /// Sets an attribute.
    Set {
        /// The attribute.
        name: String,
        /// Its value.
        value: String,
    },
    /// Removes an attribute.
    Remove {
        /// The attribute.
        name: String,
    },
    /// Forgets the ticket and all its attributes.
    Forget,
}

/// An operator's override of the quorum rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum QuorumOverride {
    /// So many votes are expected from now on (`corosync-quorumtool -e`).
    ExpectedVotes {
        /// How many.
        votes: u32,
    },
    /// Those that are not here are down and run nothing: stop waiting for them (`quorum.cancel_wait_for_all`).
    CancelWaitForAll,
}

/// A change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What to do, in order; all of it or nothing.
    pub operations: Vec<ChangeOperation>,
    /// Only if the version is still this one (`admin_epoch`, `epoch`, `num_updates`).
    pub if_version: Option<(u64, u64, u64)>,
    /// Also without quorum, where lost nodes are not fenced yet, and where references lead nowhere.
    pub force: bool,
}

/// One step of a change, as cibadmin's commands. (Members send it to each other as postcard, which knows no inner tags.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeOperation {
    /// Puts `xml` in the place of the element with the same name and id (or the whole `<configuration>` or `<cib>`).
    Replace {
        /// The element as text.
        xml: String,
    },
    /// Adds `xml` under the parent that `parent` (an XPath) finds.
    Create {
        /// XPath of the one parent.
        parent: String,
        /// The element as text.
        xml: String,
    },
    /// Merges attributes and children of `xml` into the element with the same name and id; `create` makes it if missing.
    Modify {
        /// The element as text.
        xml: String,
        /// XPath of the parent in which to make it where it is missing.
        create_in: Option<String>,
    },
    /// Removes what `xpath` finds.
    Delete {
        /// The place.
        xpath: String,
        /// Finding nothing is no error.
        or_nothing: bool,
    },
}

impl ChangeOperation {
    /// The length of its texts in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            ChangeOperation::Replace { xml } => xml.len(),
            ChangeOperation::Create { parent, xml } => parent.len() + xml.len(),
            ChangeOperation::Modify { xml, create_in } => xml.len() + create_in.as_ref().map_or(0, String::len),
            ChangeOperation::Delete { xpath, .. } => xpath.len(),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Done: for a change, it is on the disks of all members.
    Done,
    /// The CIB.
    Cib {
        /// As XML.
        xml: String,
    },
    /// The state of the cluster.
    Cluster(Box<ClusterState>),
    /// Events.
    Events {
        /// Oldest first.
        events: Vec<Event>,
    },
    /// What the ticket group answers.
    Tickets {
        /// The answer.
        answer: Box<hakudo_tickets::Reply>,
    },
    /// Not done, and nothing was changed.
    Refused {
        /// What sort of refusal it is, for programs.
        #[serde(default)]
        kind: RefusalKind,
        /// What is wrong, where, why, and what to do next.
        reason: String,
    },
    /// It cannot be known whether this was done: the view changed on the way.
    Unknown {
        /// Why.
        reason: String,
    },
}

impl Reply {
    /// No other reply to the same request follows.
    pub fn is_final(&self) -> bool {
        !matches!(self, Reply::Tickets { answer } if !answer.is_final())
    }
}

/// Why something was refused. Each has an exit code of Pacemaker's tools (`crm_error --list --exit`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// It was tried and did not work.
    #[default]
    Failed,
    /// The request makes no sense.
    Usage,
    /// The client's user may not do this.
    Denied,
    /// This node is not part of a cluster at the moment.
    NotConnected,
    /// There is no quorum.
    NoQuorum,
    /// It is not safe now: a node may be alive.
    Unsafe,
    /// What was named does not exist.
    NoSuch,
    /// What was to be made exists already.
    Exists,
    /// What was sent cannot be read.
    Malformed,
    /// The configuration would be wrong.
    Invalid,
    /// The configuration is a newer one than the change was made for.
    Outdated,
}

/// A refusal: its sort, and what people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub kind: RefusalKind,
    /// What is wrong, where, why, and what to do next.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl From<Refusal> for Reply {
    fn from(Refusal { kind, reason }: Refusal) -> Self {
        Self::Refused { kind, reason }
    }
}

/// What this node knows of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Grows with every change of anything that a client can see.
    pub revision: u64,
    /// The node that answers, by name.
    pub local: String,
    /// What carries the messages: `hakudo`, its own engine.
    #[serde(default)]
    pub stack: String,
    /// The view, once there is one.
    pub view: Option<ViewId>,
    /// Who leads, by name.
    pub leader: Option<String>,
    /// Quorate.
    pub quorate: bool,
    /// The configuration is agreed in this view and the cluster acts.
    pub ready: bool,
    /// Members and others of the node list.
    pub nodes: Vec<NodeState>,
    /// Votes present and needed.
    pub votes: (u32, u32),
    /// Actions of the running transition that are not done yet; 0 and `settled` when idle.
    pub actions_left: u32,
    /// Nothing is to be done.
    pub settled: bool,
    /// What people should know, gravest first: unfenceable nodes, lost links, disks, plans that failed.
    pub alerts: Vec<(Severity, String)>,
    /// What was fenced and is being fenced, newest first.
    #[serde(default)]
    pub fencing: Vec<Fencing>,
}

/// One fencing of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fencing {
    /// When it ended, or when it began while it goes on: seconds since 1970.
    pub time: i64,
    /// The node, by name.
    pub target: String,
    /// `off`, `reboot` or `on`.
    pub action: String,
    /// How it stands.
    pub state: FencingState,
    /// The devices that did it.
    pub devices: Vec<String>,
    /// The node whose executor did it, or the person who confirmed it by hand.
    pub by: Option<String>,
    /// Who wanted it: a user, or `hakudo` for the cluster itself.
    pub client: String,
    /// The node on which it was wanted.
    pub origin: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// How a fencing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FencingState {
    /// It goes on.
    Pending,
    /// The node was fenced.
    Succeeded,
    /// The node could not be fenced.
    Failed,
}

/// A node and the links to it as this node sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The number.
    pub id: u32,
    /// The name.
    pub name: String,
    /// Member of the view.
    pub member: bool,
    /// The version that runs there, if it is a member.
    #[serde(default)]
    pub version: Option<String>,
    /// By link: address, up or not.
    pub links: Vec<LinkState>,
}

/// One link to one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// The other side's address.
    pub address: String,
    /// Something was heard over it lately.
    pub up: bool,
    /// Mean round trip in microseconds, 0 if not known.
    pub round_trip_us: u64,
}

/// Something that happened, for `hakudo events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number on this node, growing.
    pub number: u64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// How grave.
    pub severity: Severity,
    /// A word for programs: `view`, `link-down`, `link-up`, `node-lost`, `fence-start`, `fenced`, `fence-failed`, `plan`,
    /// `action-start`, `action-done`, `action-failed`, `config`, `settled`, ….
    pub kind: String,
    /// The node that it is about, by name.
    pub node: Option<String>,
    /// The resource that it is about.
    pub resource: Option<String>,
    /// How long it took, where that is known.
    pub took_ms: Option<u64>,
    /// A sentence for people.
    pub text: String,
}

//! What the nodes say to each other through the total order.
//!
//! A message names the view that it was said in. One that is delivered in another view is ignored by everybody alike; its
//! sender notices, and says again what still matters there.

use crate::request::{Change, ChangeOperation};
use crate::status::{FencingHistory, NodeStatus, Order, Report, Status};
use crate::tickets::guards::GuardTable;
use crate::tickets::{TicketOrder, Tickets};
use hakudo_base::agent::AgentCall;
use hakudo_base::{NodeId, Severity, WallTime};
use hakudo_membership::ViewId;
use hakudo_tickets::RequestEnvelope;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A message: commands that are carried out one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// The view in which it was said.
    pub(crate) view: ViewId,
    /// The sender's own numbers of the commands.
    pub(crate) numbers: Vec<u64>,
    /// The commands.
    pub(crate) commands: Vec<Command>,
}

/// The configuration's place in history, by which the members of a new view find out whose is the one that counts.
/// Compared from the first field to the last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// [`PersistedState::lineage`](crate::PersistedState::lineage).
    pub(crate) lineage: u64,
    /// `admin_epoch`, `epoch`, `num_updates`.
    pub(crate) version: (u64, u64, u64),
    /// The number of the version of the tickets.
    pub(crate) tickets: u64,
    /// Any order will do between equals that differ: that of their digests.
    pub(crate) digest: u64,
}

/// Said by every member of a view whose members do not all come from the same view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The speaker's name.
    pub(crate) name: String,
    /// Its configuration.
    pub(crate) standing: Standing,
    /// The view in which it last agreed with the members; none where it was started since.
    pub(crate) former: Option<ViewId>,
    /// What it knows of itself.
    pub(crate) status: NodeStatus,
    /// What it knows of nodes that are lost and may still run something.
    pub(crate) lost: BTreeMap<NodeId, NodeStatus>,
    /// Its executor is there.
    pub(crate) ready: bool,
    /// The cluster it comes from had begun to act.
    pub(crate) started: bool,
    /// Its process was never part of a cluster: what happened before, only its executor knows.
    pub(crate) restarted: bool,
    /// What was fenced there.
    pub(crate) fencing: FencingHistory,
    /// Whom it missed since its start; none where it knows all (`missed`).
    pub(crate) missed: Option<BTreeSet<NodeId>>,
}

/// Said by the member whose configuration counts, once all have said hello: what all take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sync {
    /// The speaker's time: rules that choose cluster options go by it.
    pub(crate) time: WallTime,
    /// As XML.
    pub(crate) configuration: String,
    /// [`PersistedState::lineage`](crate::PersistedState::lineage).
    pub(crate) lineage: u64,
    /// The tickets.
    pub(crate) tickets: Tickets,
    /// The number of the configuration among all that were agreed.
    pub(crate) generation: u64,
    /// Of the nodes that are not here, and of those that are, as the speaker saw them.
    pub(crate) status: Status,
}

/// What the group says of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketWordOrder {
    /// The ticket.
    pub(crate) ticket: String,
    /// The grant.
    pub(crate) generation: u64,
    /// This site holds it; none where the group must be asked first.
    pub(crate) held: Option<bool>,
    /// How long this site may take to stop what depends on it, in milliseconds; none where it is not held.
    pub(crate) stop_time_ms: Option<u64>,
    /// The longest that a lease of it lasts, in milliseconds; none where it has no end.
    pub(crate) lease_ms: Option<u64>,
    /// It is set aside.
    pub(crate) standby: bool,
    /// Who holds it, by name.
    pub(crate) holder: Option<String>,
    /// This site's attributes of it.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// A step of the plan that the leader walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The view in which the plan was made: its leader makes no other plan of the same number, and no plan outlives it.
    pub(crate) view: ViewId,
    /// The plan's number among the leader's.
    pub(crate) transition: u64,
    /// The action's number in its graph.
    pub(crate) action: u32,
}

/// Fencing of a node begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FenceBegun {
    /// The node.
    pub(crate) target: NodeId,
    /// `off`, `reboot` or `on`.
    pub(crate) action: String,
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// The node on which a person wanted it, and that person.
    pub(crate) wanted_by: Option<(NodeId, String)>,
}

/// How fencing of a node ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FenceDone {
    /// The node.
    pub(crate) target: NodeId,
    /// `off`, `reboot` or `on`.
    pub(crate) action: String,
    /// The node whose executor did it, or who confirmed it by hand.
    pub(crate) by: Option<String>,
    /// The devices that did it.
    pub(crate) devices: Vec<String>,
    /// Why it failed.
    pub(crate) failed: Option<String>,
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// Milliseconds since it was asked for.
    pub(crate) took_ms: u64,
    /// The epoch of the view in which it was asked for.
    pub(crate) began: u64,
    /// The step that this was.
    pub(crate) step: Option<Step>,
    /// Where a person asked: the node and the number of the command there, and the user.
    pub(crate) asked_by: Option<(NodeId, u64, String)>,
    /// Attributes that the node gets with it.
    pub(crate) attributes: Vec<(String, String)>,
}

impl Command {
    /// About how many bytes it has in a message; never 0.
    pub(crate) fn weight(&self) -> usize {
        const SMALL: usize = 1024;
        match self {
            Command::Sync(sync) => SMALL + sync.configuration.len(),
            Command::Change { change, .. } => {
                SMALL + change.operations.iter().map(ChangeOperation::weight).sum::<usize>()
            }
            Command::TicketStore(state) => SMALL + state.len(),
            Command::TicketClientAnswer { bytes, .. } => SMALL + bytes.len(),
            Command::Results(reports) => SMALL * (1 + reports.len()),
            Command::Execute { orders, .. } => SMALL * (1 + orders.len()),
            _ => SMALL,
        }
    }
}

/// What a node can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// See [`Hello`].
    Hello(Box<Hello>),
    /// See [`Sync`].
    Sync(Box<Sync>),
    /// The speaker cannot take over what it was told to: it leaves the cluster instead of going on with something else.
    Unfit {
        /// Why.
        reason: String,
        /// It runs nothing, and says goodbye. Otherwise it ends at once, and is lost.
        clean: bool,
    },
    /// Change the configuration.
    Change {
        /// By whom.
        user: String,
        /// Seconds since 1970.
        time: i64,
        /// What.
        change: Change,
    },
    /// Change a ticket that is in no group.
    Ticket(Box<TicketOrder>),
    /// The speaker's member of the ticket group must not forget this.
    TicketStore(Vec<u8>),
    /// Are all still here? The leader asks before it speaks for the site.
    TicketConfirm,
    /// The speaker is still here, and heard this question of the leader.
    TicketConfirmed {
        /// The leader's number of the command.
        number: u64,
    },
    /// What the group says of a ticket.
    TicketWord(Box<TicketWordOrder>),
    /// The speaker's clock; it wants to know how long leases last.
    TicketStamp {
        /// Milliseconds.
        stamp_ms: u64,
    },
    /// What was left of leases when a stamp was heard.
    TicketLeases {
        /// Whose stamp.
        to: NodeId,
        /// Which.
        stamp_ms: u64,
        /// Ticket, grant, milliseconds; none where there is no end.
        leases: Vec<(String, u64, Option<u64>)>,
    },
    /// All nodes know until when a grant lasts: it counts.
    TicketGranted {
        /// The ticket.
        ticket: String,
        /// The grant.
        generation: u64,
        /// Seconds since 1970.
        time: i64,
    },
    /// What nodes do by themselves when leases end.
    TicketGuards(GuardTable),
    /// By the speaker's clock the lease of a grant is over.
    TicketOver {
        /// The ticket.
        ticket: String,
        /// The grant.
        generation: u64,
    },
    /// A client asks the group.
    TicketAsk(Box<RequestEnvelope>),
    /// A message of a booth group that came to a node that does not speak for this site.
    TicketHeard(Vec<u8>),
    /// A client of booth asks at the speaker's node.
    TicketClient {
        /// Its number there.
        client: u64,
        /// Its message.
        bytes: Vec<u8>,
    },
    /// It closed its connection.
    TicketClientGone {
        /// Its number there.
        client: u64,
    },
    /// What a client of booth is to be answered.
    TicketClientAnswer {
        /// Where it is.
        node: NodeId,
        /// Its number there.
        client: u64,
        /// The answer.
        bytes: Vec<u8>,
        /// Nothing follows.
        last: bool,
    },
    /// The group's answer.
    TicketAnswer {
        /// Where the client is.
        node: NodeId,
        /// That node's number of the command.
        number: u64,
        /// The answer.
        reply: Box<hakudo_tickets::Reply>,
    },
    /// The group could not be asked.
    TicketRefused {
        /// Where the client is.
        node: NodeId,
        /// That node's number of the command.
        number: u64,
        /// Why.
        reason: String,
    },
    /// By the leader's clock, rules may make other cluster options of the same configuration.
    ReadOptions {
        /// What it shows.
        time: WallTime,
    },
    /// The speaker's disk holds the configuration with this number, or refuses to.
    OnDisk {
        /// See [`Sync::generation`].
        generation: u64,
        /// The disk's reason.
        failed: Option<String>,
    },
    /// The leader's plan begins.
    Planned {
        /// Its number.
        transition: u64,
        /// Actions in it.
        actions: u32,
        /// Milliseconds that the scheduler took.
        took_ms: u64,
    },
    /// Run these on the nodes named.
    Execute {
        /// The plan's number among the leader's.
        transition: u64,
        /// Seconds since 1970.
        time: i64,
        /// What, where.
        orders: Vec<(NodeId, Order)>,
    },
    /// How calls on the speaker's node ended.
    Results(Vec<Report>),
    /// The leader does not wait for this call any longer.
    GiveUp {
        /// The node.
        node: NodeId,
        /// The call.
        call: u64,
        /// Seconds since 1970.
        time: i64,
    },
    /// End a recurring operation.
    Cancel {
        /// The node.
        node: NodeId,
        /// The resource.
        resource: String,
        /// The operation.
        task: String,
        /// Milliseconds.
        interval_ms: u64,
        /// The step that this is.
        step: Step,
    },
    /// Forget the history of a resource on a node.
    Forget {
        /// The node.
        node: NodeId,
        /// The resource.
        resource: String,
        /// The step that this is.
        step: Step,
    },
    /// Forget the failures of a resource on a node.
    ClearFailures {
        /// The node.
        node: NodeId,
        /// The resource.
        resource: String,
        /// Only those of this operation: its task and milliseconds.
        operation: Option<(String, u64)>,
        /// The step that this is.
        step: Step,
    },
    /// See [`Request::Cleanup`](crate::request::Request::Cleanup).
    Cleanup {
        /// The resource, or all.
        resource: Option<String>,
        /// The node, or all.
        node: Option<NodeId>,
        /// Also where nothing failed.
        refresh: bool,
    },
    /// Set or remove a transient attribute.
    Attribute {
        /// The node.
        node: NodeId,
        /// Which.
        name: String,
        /// The value; none removes it.
        value: Option<String>,
    },
    /// The speaker's executor is there (again), and this is all that it knows.
    Executor {
        /// The speaker's own part of the status.
        status: Box<NodeStatus>,
        /// Calls up to this one that are not in it are lost; later ones were ordered since.
        through: u64,
    },
    /// The speaker's executor is away.
    ExecutorAway,
    /// The node's executor is away for too long: it counts as failed.
    NodeFailed {
        /// The node.
        node: NodeId,
    },
    /// The node has nothing left to do and leaves.
    Shutdown {
        /// The node.
        node: NodeId,
        /// The step that this is.
        step: Step,
    },
    /// A client wants a node fenced; the leader sees to it.
    FenceRequest {
        /// The node.
        target: NodeId,
        /// `off`, `reboot` or `on`.
        action: String,
        /// Who wants it.
        user: String,
    },
    /// A client's word that the node is down.
    Confirm {
        /// The node.
        target: NodeId,
        /// Who said it.
        user: String,
        /// Seconds since 1970.
        time: i64,
    },
    /// Run a fence agent.
    FenceRun {
        /// The node that it is about.
        target: Option<NodeId>,
        /// The node that runs the agent.
        on: NodeId,
        /// The leader's number of the call, which no other leader gives.
        number: u64,
        /// The call; its number and epoch are given by the node that runs it.
        call: Box<AgentCall>,
    },
    /// How a fence agent ended.
    FenceResult {
        /// The leader that asked for it.
        leader: NodeId,
        /// Its number of the call.
        number: u64,
        /// The result.
        result: hakudo_base::agent::AgentResult,
    },
    /// Fencing of a node begins.
    FenceBegun(Box<FenceBegun>),
    /// Fencing of a node ended.
    FenceDone(Box<FenceDone>),
    /// Nothing is left to be done.
    Settled,
    /// Something that people should know, until it is taken back.
    Alert {
        /// What it is about.
        about: String,
        /// How grave, and what; none takes it back.
        alert: Option<(Severity, String)>,
    },
    /// An operator says that members that were missed are gone for good.
    NobodyIsMissed {
        /// Who.
        user: String,
        /// The members.
        nodes: BTreeSet<NodeId>,
    },
}

impl Command {
    /// It still has to be said in the next view where the view ended before it was delivered.
    pub(crate) fn outlives_a_view(&self) -> bool {
        matches!(
            self,
            Command::Change { .. }
                | Command::Ticket(_)
                | Command::TicketOver { .. }
                | Command::TicketAnswer { .. }
                | Command::TicketRefused { .. }
                | Command::Results(_)
                | Command::Cleanup { .. }
                | Command::Attribute { .. }
                | Command::FenceRequest { .. }
                | Command::Confirm { .. }
                | Command::OnDisk { .. }
                | Command::Executor { .. }
                | Command::ExecutorAway
                | Command::FenceRun { .. }
                | Command::FenceResult { .. }
                | Command::FenceDone(_)
        )
    }
}

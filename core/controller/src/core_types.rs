//! What the controller is told, and what it asks for.

use crate::request::{Event, Reply, Request};
use crate::tickets::Tickets;
use hakudo_base::agent::{AgentCall, ExecutorInput};
use hakudo_base::{NodeId, WallTime};
use hakudo_cib::Document;
use hakudo_guard::Order as GuardOrder;
use hakudo_membership::{Delivered, View};
use hakudo_scheduler::Transition;
use hakudo_tickets::booth::member::BoothSetup;
use hakudo_tickets::{Check, Group, Readiness};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a controller is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// The nodes of the cluster's node list by name, this one among them.
    pub nodes: BTreeMap<NodeId, String>,
    /// What this node's disk holds; none on a first start.
    pub persisted: Option<PersistedState>,
}

/// What the controller is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come.
    Timer,
    /// What the calendar clock shows at this very `now`. Given first of all, and again whenever the two clocks have moved
    /// against each other (the calendar clock was set) or the time zone's offset is another one (summer time); in between the
    /// controller reckons with the monotonic clock.
    Clock(WallTime),
    /// The cluster's node list became another one: all of it, by name.
    Nodes(BTreeMap<NodeId, String>),
    /// A view was installed.
    View(View),
    /// A message in the total order.
    Deliver(Delivered),
    /// The newest broadcast of this node will not be delivered although the view stays (the engine's queue is full).
    Undelivered,
    /// From the executor of this node.
    Executor(ExecutorInput),
    /// Of tickets that sites share.
    Tickets(TicketInput),
    /// The answer to [`Effect::Plan`]; `Err` where the scheduler panicked, with what it said.
    Planned {
        /// The token of the question.
        token: u64,
        /// The graph, or why there is none.
        result: Result<Box<Transition>, String>,
    },
    /// The answer to [`Effect::Persist`].
    Persisted {
        /// The token of the question.
        token: u64,
        /// `Err` where the disk refused, with its reason.
        result: Result<(), String>,
    },
    /// A client of this machine is gone: what it asked for is done, but not answered.
    Gone {
        /// The client.
        client: u64,
    },
    /// A client of this machine asks; the daemon has checked that it may.
    Request {
        /// Names the client for the reply.
        client: u64,
        /// Its user name, for the record.
        user: String,
        /// What it asks.
        request: Request,
    },
}

/// What is on the disk of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistedState {
    /// The configuration as XML, without status.
    pub configuration: String,
    /// The newest epoch in which this side alone had the right to change the configuration: which side of a split has the
    /// word. A view gives that right where no other can be quorate beside it (`exclusive`), or once all others are known to
    /// be dead; so of two sides that may both be quorate only the survivor gets a new one.
    pub lineage: u64,
    /// The tickets of this cluster.
    #[serde(default)]
    pub tickets: Tickets,
}

/// This cluster's place in a ticket group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketSetup {
    /// The number of this site among the members.
    pub local: u32,
    /// The group.
    pub group: Group,
    /// How long this site needs at most to stop what depends on a ticket, in milliseconds, where somebody knows better than
    /// the timeouts of its resources.
    pub stop_time_ms: BTreeMap<String, u64>,
    /// A watchdog resets a node that has not stopped in time. Without one it takes fencing where a stop fails.
    pub watchdog: bool,
    /// Where the group speaks booth's protocol: the same group in booth's words, and its key.
    pub booth: Option<Box<BoothSetup>>,
}

/// What the controller is told of tickets that sites share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketInput {
    /// The configuration of the group; none where this cluster is in no group (any more).
    Group(Option<Box<TicketSetup>>),
    /// A message of another member.
    Message {
        /// The member; 0 where the message tells it itself (booth's protocol).
        from: u32,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// A client of booth sent a message to this node.
    Client {
        /// Its number at this node.
        client: u64,
        /// The message.
        bytes: Vec<u8>,
    },
    /// It closed its connection.
    ClientGone {
        /// Its number.
        client: u64,
    },
    /// The answer to [`TicketEffect::Check`].
    Checked {
        /// The number of the question.
        check: u64,
        /// What was found, or why this site must not take the ticket.
        result: Result<Readiness, String>,
    },
}

/// What the controller asks for, for tickets that sites share.
#[derive(Clone, Debug)]
pub enum TicketEffect {
    /// Send this to a member. It may be lost, doubled, late.
    Send {
        /// The member.
        to: u32,
        /// What.
        bytes: Vec<u8>,
    },
    /// Send this to a client of booth at this node.
    Answer {
        /// Its number.
        client: u64,
        /// What; nothing where nobody speaks for the site.
        bytes: Vec<u8>,
        /// Nothing follows: the connection is closed.
        last: bool,
    },
    /// This node speaks for the site from now on, or does not any more.
    Speak(bool),
    /// Find out whether this site may take a ticket.
    Check(Box<Check>),
}

/// What the controller asks for, to be carried out in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// To all members through the total order, this node included.
    Broadcast(Vec<u8>),
    /// To disk, synced; answered by [`Input::Persisted`].
    Persist {
        /// Comes back with the answer.
        token: u64,
        /// What must be on disk.
        state: PersistedState,
    },
    /// A losing side's configuration, to be kept aside for people.
    KeepAside {
        /// The configuration as XML.
        configuration: String,
        /// Why it lost.
        reason: String,
    },
    /// Run an agent. The executor keeps `note` and hands it back in [`Known`](hakudo_base::agent::Known).
    Execute {
        /// The call.
        call: AgentCall,
        /// The caller's note.
        note: Vec<u8>,
    },
    /// Stop a recurring operation.
    Cancel {
        /// [`AgentCall::call`].
        call: u64,
        /// The epoch of the view in whose name this is asked.
        epoch: u64,
    },
    /// Have the executor keep this for the next process of this node, in place of what it kept; it comes back as
    /// [`ExecutorInput::Memory`].
    Remember {
        /// What.
        memory: Vec<u8>,
    },
    /// Forget what is remembered of a resource.
    Forget {
        /// The resource.
        resource: String,
    },
    /// Tell the executor what it is to do by itself when a lease ends.
    Guard(GuardOrder),
    /// Ask the scheduler; answered by [`Input::Planned`], later and maybe from another thread.
    Plan {
        /// Comes back with the answer.
        token: u64,
        /// Configuration and status.
        cib: Document,
        /// The time as the plan should see it.
        now: WallTime,
    },
    /// Answer a client.
    Reply {
        /// The client.
        client: u64,
        /// The answer.
        reply: Box<Reply>,
    },
    /// Tell membership that a node is known to be dead (or has left): its vote and its view no longer matter.
    Fenced(NodeId),
    /// This node heard that it was fenced (or confirmed to be down) and is nevertheless alive, so that the others start
    /// elsewhere what it runs; or it cannot take part and may run something. The node process ends at once, without cleaning up, and is not started again by itself.
    StopAtOnce {
        /// The whole machine is reset first, where that is possible (`fencing-reaction=panic`).
        reset: bool,
    },
    /// Tell membership to leave cleanly.
    Leave,
    /// For tickets that sites share.
    Tickets(TicketEffect),
    /// Something happened that people may want to know.
    Event(Event),
}

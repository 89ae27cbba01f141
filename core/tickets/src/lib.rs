//! Which site may run what: tickets, held by one site at a time, counting the time that the loser needs to stop.
//!
//! A *group* has up to 16 members: *sites*, which are whole clusters, and *arbitrators*, which are single processes and only
//! vote. [`Member`] is one of them, a pure state machine: it is told what happens ([`Input`]) at which moment of its own
//! monotonic clock, and says what is to be done ([`Effect`]). A site's member runs at one of its nodes, the *speaker*;
//! another node goes on from what was stored when the speaker is lost.
//!
//! # One log
//!
//! What lasts is in one replicated log (`log`, `consensus`): who holds which ticket by which grant, what the administrator
//! took away, set aside, moved, which sites disclaim, attributes, and the configuration itself. It is Raft: terms, votes and
//! entries are stored before they are spoken of; a question comes before each election, so that a member that returns
//! disturbs nobody; voters stay with a coordinator that they hear; a coordinator that does not hear a majority gives up, and
//! one that is heard by fewer members than another leaves it to that one (`hand_over`).
//! Members are added and removed one at a time. What the entries come to is the `table`, a pure function of them.
//!
//! # Leases
//!
//! That a ticket is held is lasting; that it may be used is a *lease*, which no log entry renews (`office`, `site`):
//!
//! - The holder asks at `h`, by its clock. The coordinator answers after a round of signs of life, begun after it was asked,
//!   was acked by a majority. The lease ends at `h + expire`, by the holder's clock.
//! - So a lease ends at most `expire` after the beginning of a round that a majority acked. Nobody else is granted the ticket
//!   before that beginning plus `expire` plus the holder's stop time, lengthened for the drift of two clocks (`drift`), has
//!   passed; or the holder has said that all is stopped; or the administrator takes the responsibility.
//! - A new coordinator was not there. But whoever elects it says how long ago he acked any coordinator, and a round that was
//!   acked by a majority was acked by one of them: the latest of these moments counts for all tickets. A member that was
//!   restarted says that it acked when it started.
//! - An ack is a promise, and only the true speaker of a site may make it: before each one the site confirms that all nodes
//!   of its view still are in this view ([`Effect::Confirm`]), so that a speaker that was replaced without knowing promises
//!   nothing.
//! - The stop time that counts is the one in the log, and the site enforces it ([`Holding::Held`]).
//! - Where all other sites disclaim, the lease has no end, and needs nobody. It gets one again only when the holder itself
//!   has stored that it knows.
//!
//! # Invariants
//!
//! - A grant's number ([`TicketWord::generation`]) is never used twice, and grows.
//! - A site that said "released" never uses that grant again, whoever speaks for it.
//! - No time of one member's clock is compared with another's.
//! - A lease without an end is used only if, in this run, the group or the site's nodes have confirmed it.
//! - Nothing in a message makes a member panic; what is not understood changes nothing.
//!
//! # What the shell must do
//!
//! Carry out effects in order. Answer [`Effect::Persist`] and [`Effect::Confirm`] with [`Input::Done`] only as they say.
//! Give each member's messages only after it is sure who sent them, and each at most once. Tell a new speaker first what the
//! nodes know of leases ([`Input::KnownLease`]). After each [`Effect::Ticket`] that says that a grant is not held, say
//! [`Input::Stopped`] once all is stopped, at once if nothing runs; after one that says that it is held, [`Input::Started`]
//! once all runs. At a site, act on the end of a lease at every node without waiting for the member.

mod asks;
mod attribute;
pub mod booth;
mod config;
mod consensus;
mod core_types;
mod differences;
mod drift;
mod hand_over;
mod log;
mod member;
mod message;
mod office;
mod request;
mod site;
mod status;
mod table;
mod take_over;
mod tend;

pub use attribute::{AttributeNameError, check_attribute_name, check_group_attribute_name};
pub use config::{
    Comparison, Group, GroupError, Handler, LagRule, MAX_MEMBERS, MAX_NAME, MAX_TICKETS, MAX_TIME, MAX_VALUE,
    MemberEntry, MemberId, MemberKind, Prerequisite, PrerequisiteWhen, Protocol, TicketConfig, TicketError, TicketMode,
};
pub use core_types::{Check, Effect, Event, Holding, Input, Readiness, StartError, TicketWord, WhyNot};
pub use member::{Decided, Member};
pub use message::MAX_MESSAGE;
pub use request::{Outcome, Progress, Refusal, Reply, Request, RequestEnvelope};
pub use status::{AttributeStatus, Candidate, LeaseStatus, MemberStatus, Status, TicketStatus};
pub use table::{Cause, Happened, History, Move};

#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod tests;

//! Which site may run what.

mod asks;
pub mod booth;
mod config;
mod consensus;
mod core_types;
mod drift;
mod log;
mod member;
mod message;
mod office;
mod request;
mod site;
mod status;
mod table;
mod tend;

pub use config::{
    Comparison, Group, GroupError, Handler, LagRule, MAX_MEMBERS, MAX_NAME, MAX_TICKETS, MAX_TIME, MAX_VALUE,
    MemberEntry, MemberId, MemberKind, Prerequisite, PrerequisiteWhen, TicketConfig, TicketError, TicketMode,
};
pub use core_types::{Check, Effect, Event, Holding, Input, Readiness, StartError, TicketWord, WhyNot};
pub use member::Member;
pub use message::MAX_MESSAGE;
pub use request::{Outcome, Progress, Refusal, Reply, Request, RequestEnvelope};
pub use status::{AttributeStatus, Candidate, LeaseStatus, MemberStatus, Status, TicketStatus};
pub use table::{Cause, Happened, History, Move};

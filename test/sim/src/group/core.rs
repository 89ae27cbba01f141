//! The member that a process runs: of hakudo's own protocol, or of booth's. Both are told and obeyed in the same way, as where
//! they run in production.

use super::agree;
use super::booth::{self, Booth};
use super::clock::Clock;
use super::script::Script;
use hakudo_base::Instant;
use hakudo_tickets::{Effect, Input, Member, MemberId, Protocol, StartError, Status};

pub(crate) enum Core {
    Hakudo(Box<Member>),
    Booth(Box<Booth>),
}

impl Core {
    /// The member with this number, which knows what it stored; it counts what it remembers from the moment `remembered` on.
    pub(crate) fn new(
        script: &Script,
        local: MemberId,
        clock: Clock,
        seed: u64,
        stored: Option<&[u8]>,
        remembered: Instant,
    ) -> Result<Self, StartError> {
        Ok(match script.protocol {
            Protocol::Hakudo => {
                Self::Hakudo(Box::new(Member::new(local, script.group.clone(), seed, stored, remembered)?))
            }
            Protocol::Booth => {
                let calendar = booth::Calendar::of(script, local, clock, seed);
                Self::Booth(Box::new(Booth::new(script, local, calendar, seed, stored, remembered)?))
            }
        })
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        match self {
            Self::Hakudo(member) => member.handle(now, input, effects),
            Self::Booth(booth) => booth.handle(now, input, effects),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Hakudo(member) => member.deadline(),
            Self::Booth(booth) => booth.deadline(),
        }
    }

    /// It is told what is no message: it may count it and say so, and nothing else.
    pub(crate) fn ignores(&mut self, local: Instant, from: MemberId, message: Vec<u8>) -> Result<(), String> {
        match self {
            Self::Hakudo(member) => agree::ignores(member, local, from, message),
            Self::Booth(booth) => booth.ignores(local, from, message),
        }
    }

    /// No member of a booth group does: each ticket is decided on by itself.
    pub(crate) fn is_coordinator(&self) -> bool {
        match self {
            Self::Hakudo(member) => member.is_coordinator(),
            Self::Booth(_) => false,
        }
    }

    pub(crate) fn status(&self, now: Instant) -> Status {
        match self {
            Self::Hakudo(member) => member.status(now),
            Self::Booth(booth) => booth.status(now),
        }
    }
}

//! The member that speaks for the site: of hakudo's own protocol, or of booth's.

use crate::core_types::TicketSetup;
use crate::tickets::Tickets;
use hakudo_base::Instant;
use hakudo_tickets::booth::engine::Now;
use hakudo_tickets::booth::member::{BoothMember, Told, Wanted};
use hakudo_tickets::{Group, Member, MemberId, StartError};

pub(crate) enum Voice {
    Hakudo(Box<Member>),
    Booth(Box<BoothMember>),
}

impl Voice {
    /// The member of this group that knows what it stored last.
    ///
    /// # Errors
    /// Where the group cannot be served, or what was stored is damaged.
    pub(crate) fn new(setup: &TicketSetup, seed: u64, stored: &Tickets, now: Now) -> Result<Self, StartError> {
        let group = setup.group.clone();
        Ok(match &setup.booth {
            None => {
                let member = Member::new(MemberId(setup.local), group, seed, stored.member(), now.monotonic)?;
                Self::Hakudo(Box::new(member))
            }
            Some(booth) => Self::Booth(Box::new(BoothMember::new(booth, group, seed, stored.booth_member(), now)?)),
        })
    }

    pub(crate) fn group(&self) -> &Group {
        match self {
            Self::Hakudo(member) => member.group(),
            Self::Booth(member) => member.group(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Hakudo(member) => member.deadline(),
            Self::Booth(member) => member.deadline(),
        }
    }

    pub(crate) fn handle(&mut self, now: Now, told: Told, wanted: &mut Vec<Wanted>) {
        match (self, told) {
            (Self::Hakudo(member), Told::Input(input)) => {
                let mut effects = Vec::new();
                member.handle(now.monotonic, input, &mut effects);
                wanted.extend(effects.into_iter().map(Wanted::Effect));
            }
            // Clients of booth are asked to go before they get here.
            (Self::Hakudo(_), Told::Client(..) | Told::ClientGone(_)) => {}
            (Self::Booth(member), told) => member.handle(now, told, wanted),
        }
    }
}

//! Tickets as this cluster knows them: which are granted here, on standby, and their attributes.
//!
//! Tickets that an administrator grants by hand are replicated like the configuration, and like it they are on disk: a cluster that loses power everywhere comes back
//! knowing which tickets it held. They are shown as `<tickets>` of the status, where the scheduler reads them (Pacemaker
//! Explained: "Multi-Site Clusters and Tickets").
//!
//! Tickets of a group are granted by the group alone ([`speaker`], [`leases`], [`guards`]), and they are status; what the group's member here must
//! not forget is on disk beside the others.

pub(crate) mod gateway;
pub(crate) mod guards;
pub(crate) mod leases;
pub(crate) mod outlook;
pub(crate) mod speaker;
pub(crate) mod voice;

use crate::controller::Controller;
use crate::core_types::Effect;
use crate::request::{Refusal, RefusalKind, TicketChange};
use crate::status::{GroupTicket, ticket_state};
use hakudo_base::{NodeId, Severity};
use hakudo_cib::Element;
use hakudo_tickets::booth::member::BoothMember;
use hakudo_tickets::check_attribute_name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tickets of a cluster, as they are on every disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tickets {
    /// Counts changes: of two versions of the same lineage, the one with the greater number is the newer.
    pub(crate) number: u64,
    /// By name.
    states: BTreeMap<String, TicketState>,
    /// What this cluster's member of the ticket group must not forget.
    #[serde(default)]
    member: Option<Vec<u8>>,
    /// The same of a member of a booth group: what was promised in the one protocol is not known in the other.
    #[serde(default)]
    booth: Option<Vec<u8>>,
}

/// One ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketState {
    granted: bool,
    standby: bool,
    /// When it was granted last, in seconds since 1970.
    last_granted: Option<i64>,
    attributes: BTreeMap<String, String>,
}

/// A change of a ticket as it is said to all members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketOrder {
    /// The ticket.
    pub(crate) ticket: String,
    /// What changes.
    pub(crate) change: TicketChange,
    /// Also where this may do harm.
    pub(crate) force: bool,
    /// By whom.
    pub(crate) user: String,
    /// Seconds since 1970.
    pub(crate) time: i64,
}

impl Tickets {
    /// `<tickets>`, where the group's word goes before what was done by hand; none where there is no ticket.
    pub(crate) fn write(&self, of_group: &BTreeMap<String, GroupTicket>) -> Option<Element> {
        let own = self.states.iter().filter(|(name, _)| !of_group.contains_key(*name));
        let mut written: BTreeMap<&String, Element> = own.map(|(name, state)| (name, state.write(name))).collect();
        written.extend(of_group.iter().map(|(name, state)| (name, state.write(name))));
        if written.is_empty() {
            return None;
        }
        let mut tickets = Element::new("tickets");
        written.into_values().for_each(|ticket| tickets.push(ticket));
        Some(tickets)
    }

    /// What the member of the group stored last.
    pub(crate) fn member(&self) -> Option<&[u8]> {
        self.member.as_deref()
    }

    /// What the member of the booth group stored last.
    pub(crate) fn booth_member(&self) -> Option<&[u8]> {
        self.booth.as_deref()
    }

    /// Keeps what the member of the group must not forget.
    pub(crate) fn store_member(&mut self, state: Vec<u8>) {
        let place = if BoothMember::is_booths(&state) { &mut self.booth } else { &mut self.member };
        *place = Some(state);
        self.number += 1;
    }

    /// What was done by hand to a ticket counts no more, because a group decides on it. False where nothing was done.
    pub(crate) fn leave_to_group(&mut self, ticket: &str) -> bool {
        let known = self.states.remove(ticket).is_some();
        self.number += u64::from(known);
        known
    }

    /// Carries a change out; false where there was nothing to change.
    ///
    /// # Errors
    /// Where it makes no sense, or may do harm and is not forced; nothing was changed then.
    fn apply(&mut self, order: &TicketOrder) -> Result<bool, Refusal> {
        let TicketOrder { ticket, change, force, time, .. } = order;
        check_ticket(ticket)?;
        let before = self.states.get(ticket);
        let changed = change.apply(ticket, before, *force, *time)?;
        if before == changed.as_ref() {
            return Ok(false);
        }
        match changed {
            Some(state) => self.states.insert(ticket.clone(), state),
            None => self.states.remove(ticket),
        };
        self.number += 1;
        Ok(true)
    }
}

impl TicketState {
    fn write(&self, name: &str) -> Element {
        ticket_state(name, self.granted, self.standby, self.last_granted, &self.attributes)
    }
}

impl TicketChange {
    /// What becomes of a ticket.
    fn apply(
        &self,
        ticket: &str,
        before: Option<&TicketState>,
        force: bool,
        time: i64,
    ) -> Result<Option<TicketState>, Refusal> {
        let mut state = before.cloned().unwrap_or_default();
        match self {
            Self::Grant => {
                if !state.granted {
                    state.last_granted = Some(time);
                }
                state.granted = true;
            }
            Self::Revoke => state.granted = false,
            Self::Standby => state.standby = true,
            Self::Activate => state.standby = false,
            Self::Set { name, value } => {
                check_attribute(name)?;
                state.attributes.insert(name.clone(), value.clone());
            }
            Self::Remove { name } => {
                check_attribute(name)?;
                state.attributes.remove(name);
            }
            Self::Forget if before.is_none() => return Err(no_such(ticket)),
            Self::Forget if state.granted && !force => {
                let reason = format!("ticket {ticket} is granted here: revoke it first, or force this");
                return Err(Refusal::new(RefusalKind::Unsafe, reason));
            }
            Self::Forget => return Ok(None),
        }
        Ok(Some(state))
    }

    /// What was done to a ticket.
    fn told(&self, ticket: &str) -> String {
        match self {
            Self::Grant => format!("granted ticket {ticket} to this cluster"),
            Self::Revoke => format!("revoked ticket {ticket} from this cluster"),
            Self::Standby => format!("put ticket {ticket} on standby"),
            Self::Activate => format!("ended the standby of ticket {ticket}"),
            Self::Set { name, value } => format!("set {name} of ticket {ticket} to '{value}'"),
            Self::Remove { name } => format!("removed {name} of ticket {ticket}"),
            Self::Forget => format!("removed ticket {ticket}"),
        }
    }
}

fn no_such(ticket: &str) -> Refusal {
    Refusal::new(RefusalKind::NoSuch, format!("there is no ticket {ticket}"))
}

fn check_attribute(name: &str) -> Result<(), Refusal> {
    check_attribute_name(name).map_err(|error| Refusal::new(RefusalKind::Usage, error.to_string()))
}

fn check_ticket(name: &str) -> Result<(), Refusal> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !name.is_empty() && name.chars().all(fits) {
        return Ok(());
    }
    let reason = format!("'{name}' is no name of a ticket: letters, digits, '-', '_', '.' and '/' make one");
    Err(Refusal::new(RefusalKind::Usage, reason))
}

impl Controller {
    /// What the group decides nobody decides by hand.
    fn not_of_group(&self, ticket: &str) -> Result<(), Refusal> {
        if !self.replica.status.tickets.contains_key(ticket) {
            return Ok(());
        }
        let reason = format!("ticket {ticket} belongs to a ticket group, which decides on it: use hakudo ticket");
        Err(Refusal::new(RefusalKind::Usage, reason))
    }

    /// A change of a ticket was delivered.
    pub(crate) fn hear_ticket(&mut self, from: NodeId, number: u64, order: &TicketOrder, effects: &mut Vec<Effect>) {
        let changed = self
            .may_change(order.force)
            .and_then(|()| self.not_of_group(&order.ticket))
            .and_then(|()| self.replica.change_tickets(|all| all.apply(order)));
        let changed = match changed {
            Ok(changed) => changed,
            Err(refusal) => return self.refused(from, number, refusal, effects),
        };
        self.change_made(from, number, order.force);
        if !changed {
            return self.answer_changes(effects);
        }
        self.take_the_word();
        let text = format!("{} on {} {}", order.user, self.name(from), order.change.told(&order.ticket));
        effects.push(Effect::Event(self.event("ticket", Severity::Info, text)));
        self.persist(effects);
        self.think_again(&format!("ticket {} changed", order.ticket));
    }
}

//! A booth group as `hakudo ticket` shows it.

use super::ticket::Role;
use super::{Engine, Now};
use crate::booth::config::{Kind, Mode};
use crate::booth::wire::Leader;
use crate::config::{MemberId, MemberKind, Protocol, TicketMode};
use crate::status::{AttributeStatus, Candidate, LeaseStatus, MemberStatus, Status, TicketStatus};
use std::collections::BTreeMap;
use std::time::Duration;

impl Engine {
    /// The group as this member sees it at `now`.
    pub fn status(&self, now: Now, group: &str) -> Status {
        Status {
            group: group.to_owned(),
            protocol: Protocol::Booth,
            version: 0,
            config: 0,
            local: MemberId(self.context.config.local.0),
            coordinator: None,
            term: (0, self.tickets.values().map(|ticket| ticket.term).max().unwrap_or(0)),
            begun: true,
            missed_takeover: false,
            committed: 0,
            members: self.member_statuses(now),
            tickets: self.tickets_in_order().map(|ticket| self.ticket_status(ticket, now)).collect(),
        }
    }

    fn member_statuses(&self, now: Now) -> Vec<MemberStatus> {
        let status = |peer: &super::Peer| {
            let counters = self.context.peers.get(&peer.id).map(|state| state.counters).unwrap_or_default();
            let ago = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
            let heard = counters.last.map(|last| ago(now.calendar.millis() - last.millis()));
            let is_local = peer.id == self.context.config.local;
            MemberStatus {
                id: MemberId(peer.id.0),
                name: peer.address.to_string(),
                kind: match peer.kind {
                    Kind::Site => MemberKind::Site,
                    Kind::Arbitrator => MemberKind::Arbitrator,
                },
                addresses: vec![peer.address.to_string()],
                heard: if is_local { Some(Duration::ZERO) } else { heard },
                received: counters.received,
                sent: counters.sent,
                malformed: counters.receive_errors + counters.not_authentic + counters.invalid,
                config_differs: false,
                absent: false,
                forgetful: false,
                older_group: false,
                observes: false,
                disclaims: false,
            }
        };
        self.context.config.members.iter().map(status).collect()
    }

    fn ticket_status(&self, ticket: &super::Ticket, now: Now) -> TicketStatus {
        let local = self.context.config.local;
        let holder = match ticket.known {
            Leader::Site(id) => Some(id),
            Leader::Unknown | Leader::Nobody => None,
        };
        let end = match &ticket.role {
            Role::Leading(leading) => leading.lease_end(),
            _ => ticket.promised(now.monotonic).map(|promise| promise.until),
        };
        let lease = match (holder, end) {
            (None, _) => LeaseStatus::None,
            (Some(_), _) if ticket.is_manual() => LeaseStatus::Unlimited,
            (Some(_), Some(end)) if end > now.monotonic => LeaseStatus::Ends(end.since(now.monotonic)),
            _ => LeaseStatus::Unknown,
        };
        let attributes = ticket.attributes.iter().map(|(name, attribute)| AttributeStatus {
            site: MemberId(local.0),
            name: name.clone(),
            value: attribute.value.clone(),
            set: attribute.set.map_or(0, |set| set.millis()),
        });
        // Of the others nothing is known here but whether they were heard: booth has no word for it.
        let site = MemberId(local.0);
        let here = self.context.is_site() && holder != Some(local);
        let candidate = here.then(|| Candidate { site, obstacle: ticket.obstacle() });
        TicketStatus {
            name: ticket.config.name.clone(),
            mode: if ticket.config.mode == Mode::Manual { TicketMode::Manual } else { TicketMode::Automatic },
            holder: holder.map(|id| MemberId(id.0)),
            generation: if holder == Some(local) { u64::from(ticket.grant) } else { 0 },
            lease,
            wanted: ticket.wanted,
            revoked: ticket.known == Leader::Nobody,
            standby: ticket.standby,
            moving: None,
            candidates: candidate.into_iter().collect(),
            attributes: attributes.collect(),
            failures: BTreeMap::new(),
            history: Vec::new(),
            expire: ticket.config.expire,
        }
    }

    /// The attributes of a ticket here, and whether it is set aside.
    pub fn local_facts(&self, ticket: &str) -> (BTreeMap<String, String>, bool) {
        let Some(ticket) = self.tickets.get(ticket) else { return Default::default() };
        let attributes = ticket.attributes.iter().map(|(name, attribute)| (name.clone(), attribute.value.clone()));
        (attributes.collect(), ticket.standby)
    }

    /// Why this site would not take a ticket.
    pub fn obstacle(&self, ticket: &str) -> Option<String> {
        self.tickets.get(ticket)?.obstacle()
    }

    /// Who holds a ticket, and the number of the last grant to this site.
    pub fn holder(&self, ticket: &str) -> (Leader, u32) {
        self.tickets.get(ticket).map_or((Leader::Unknown, 0), |ticket| (ticket.known, ticket.grant))
    }
}

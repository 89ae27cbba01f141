//! The end of a story: all is mended, and then the group must come to rest.

use super::super::Rule;
use super::super::generate::FRESH;
use super::super::script::Act;
use super::{Event, MS, World};
use hakudo_tickets::{LeaseStatus, MemberId, MemberKind, Request, Status, TicketMode};

/// So long nothing may move before a history is over, in nanoseconds: as long as the longest lease.
const CALM: u64 = 20_000 * MS;

impl World {
    pub(super) fn heal(&mut self) {
        self.note(|| "all is mended".to_owned());
        self.healed = true;
        self.cut.clear();
        self.network = (0, 0, 20);
        for member in 0..self.places.len() {
            let place = &mut self.places[member];
            place.paused_until = 0;
            place.cluster.handler_fails = false;
            place.cluster.able.clear();
            place.cluster.stop_ms = None;
            let id = place.id;
            match place.process.as_ref().map(|process| process.run) {
                Some(run) => self.tell_abilities(member, run),
                None if self.script.settles => self.act(Act::PowerBack(id)),
                None => {}
            }
        }
        if self.script.settles {
            let sites: Vec<MemberId> =
                self.places.iter().filter(|p| p.kind == MemberKind::Site).map(|p| p.id).collect();
            for site in sites {
                // Where a site is still kept off, another member is asked.
                let awake = |place: &&super::Place| place.process.is_some();
                let own = self.places.iter().filter(awake).find(|place| place.id == site);
                let Some(at) = own.or_else(|| self.places.iter().find(awake)).map(|place| place.id) else { continue };
                for ticket in
                    self.script.group.tickets.clone().into_iter().filter(|ticket| !ticket.prerequisites.is_empty())
                {
                    let (ticket, name, value) = (ticket.name, FRESH.to_owned(), Some("yes".to_owned()));
                    self.ask(at, Request::Attribute { ticket, site, name, value });
                }
                self.ask(at, Request::Disclaim { site, ticket: None, on: false });
                self.ask(at, Request::Observe { site, on: false });
                for ticket in self.script.group.tickets.clone() {
                    self.ask(at, Request::Disclaim { site, ticket: Some(ticket.name), on: false });
                }
            }
            self.after(1000 * MS, Event::Look);
        }
    }

    pub(super) fn coordinator_status(&self) -> Option<Status> {
        let processes = self.places.iter().filter_map(|place| place.process.as_ref());
        let coordinators = processes.filter(|process| process.core.is_coordinator());
        let told = coordinators.map(|process| process.core.status(process.clock.local(self.now)));
        // One that has not heard yet that another was elected is of an earlier term.
        told.max_by_key(|status| status.term)
    }

    /// Whether all is well, or what is not.
    pub(super) fn is_settled(&self) -> Result<(), String> {
        if self.speaks_booth() {
            return self.is_booth_group_settled();
        }
        if let Some(request) = self.asked.values().next() {
            return Err(format!("{request:?} was not answered"));
        }
        let status = self.coordinator_status().ok_or("nobody coordinates")?;
        for ticket in &status.tickets {
            let name = &ticket.name;
            let sites = self.checker.sites_of(name);
            if ticket.mode == TicketMode::Manual && ticket.holder.is_none() && ticket.moving.is_none() {
                continue;
            }
            match (ticket.wanted, ticket.holder) {
                (true, Some(holder)) if sites == [holder] && ticket.moving.is_none() => {}
                (false, None) if sites.is_empty() => {}
                _ => return Err(format!("ticket {name} runs at {sites:?}: {:?}", status.explain(name))),
            }
            if matches!(ticket.lease, LeaseStatus::Lost(_) | LeaseStatus::Ended | LeaseStatus::Unknown) {
                return Err(format!("the lease of ticket {name} is {:?}", ticket.lease));
            }
        }
        Ok(())
    }

    /// Whether all is well, and has been for long enough: what a plan wanted was done, and nothing follows from it.
    pub(super) fn has_come_to_rest(&mut self) -> bool {
        if self.is_settled().is_err() {
            self.calm_since = None;
            return false;
        }
        let since = *self.calm_since.get_or_insert(self.now);
        self.now - since >= CALM
    }

    pub(super) fn judge_the_end(&mut self) {
        if self.speaks_booth() {
            return self.judge_the_end_of_booth_group();
        }
        if let Err(what) = self.is_settled() {
            return self.checker.breaks(Rule::Settles, self.now, what);
        }
        if !self.has_come_to_rest() {
            return self.checker.breaks(Rule::Settles, self.now, "tickets still move".to_owned());
        }
        let Some(status) = self.coordinator_status() else { return };
        for (ticket, site, name, value) in self.kept.clone() {
            let known = status.tickets.iter().find(|known| known.name == ticket);
            let there = known.is_some_and(|known| {
                known.attributes.iter().any(|a| a.site == site && a.name == name && a.value == value)
            });
            if !there {
                let what = format!("attribute {name} of ticket {ticket} at site {site} was acknowledged and is lost");
                self.checker.breaks(Rule::NothingLost, self.now, what);
            }
        }
        for (ticket, generation) in self.granted.clone() {
            let known = status.tickets.iter().find(|known| known.name == ticket);
            if known.is_none_or(|known| known.history.iter().all(|h| h.index < (generation & ((1 << 40) - 1)))) {
                let what = format!("grant {generation} of ticket {ticket} was acknowledged and is lost");
                self.checker.breaks(Rule::NothingLost, self.now, what);
            }
        }
    }
}

//! What a booth group promises at the end.
//!
//! Each ticket is decided on by itself, and nobody coordinates. So each site is asked what it knows, and all must know the same.
//! Two things are not asked for: attributes are the site's own, and a ticket whose holder forgot everything may be nobody's
//! until it is granted again, because those who still know of it may be arbitrators, which take no tickets.

use super::super::Rule;
use super::super::script::Act;
use super::World;
use hakudo_tickets::{MemberId, MemberKind, Protocol, Request, TicketMode, TicketStatus};

/// What a member says when it has a ticket.
const GRANTED: &str = "granted here";

/// Where a history has come to, by what a member says.
fn place_of(text: &str) -> Option<&'static str> {
    const PLACES: [(&str, &str); 9] = [
        (GRANTED, "granted in a booth group"),
        ("gives the ticket up", "a release was heard"),
        ("lost at", "a ticket was lost"),
        ("no majority follows", "a lead was lost"),
        ("revoked", "a revocation was heard"),
        ("no majority for the grant", "a grant had no majority"),
        ("not taken here: stopping", "stopping takes too long for a lease"),
        ("the handler did not agree", "a handler did not agree"),
        ("are refused", "messages were refused"),
    ];
    PLACES.into_iter().find(|(word, _)| text.contains(word)).map(|(_, place)| place)
}

impl World {
    pub(super) fn speaks_booth(&self) -> bool {
        self.script.protocol == Protocol::Booth
    }

    pub(super) fn booth_member_says(&mut self, text: &str) {
        if text.contains(GRANTED) {
            self.calm_since = None;
        }
        if let Some(place) = place_of(text) {
            self.reach(place);
        }
    }

    /// What each site that runs knows of a ticket.
    fn views(&self, ticket: &str) -> Vec<(MemberId, TicketStatus)> {
        let sites = self.places.iter().filter(|place| place.kind == MemberKind::Site);
        let running = sites.filter_map(|place| place.process.as_ref().map(|process| (place.id, process)));
        running
            .filter_map(|(site, process)| {
                let status = process.core.status(process.clock.local(self.now));
                let of_it = status.tickets.into_iter().find(|known| known.name == ticket)?;
                Some((site, of_it))
            })
            .collect()
    }

    /// Whether all is well in a booth group, or what is not.
    pub(super) fn is_booth_group_settled(&self) -> Result<(), String> {
        if let Some(request) = self.asked.values().next() {
            return Err(format!("{request:?} was not answered"));
        }
        let replaced = self.script.acts.iter().any(|(_, act)| matches!(act, Act::Replaced(_)));
        for ticket in &self.script.group.tickets {
            let (name, sites) = (&ticket.name, self.checker.sites_of(&ticket.name));
            let views = self.views(name);
            let told = || {
                let views = views.iter().map(|(site, known)| {
                    let TicketStatus { holder, wanted, lease, revoked, candidates, .. } = known;
                    format!("{site} says {holder:?}, {wanted}, {revoked}, {lease:?}, {candidates:?}")
                });
                format!("ticket {name} runs at {sites:?}: {}", views.collect::<Vec<_>>().join("; "))
            };
            let own = |site: MemberId, known: &TicketStatus| known.holder == Some(site);
            if views.iter().any(|(site, known)| own(*site, known) != sites.contains(site)) {
                return Err(told());
            }
            if ticket.mode == TicketMode::Manual {
                continue;
            }
            let granted = self.granted.contains_key(name) && !replaced;
            let wanted = granted || views.iter().any(|(_, known)| known.wanted);
            let at_one = sites.len() == 1 && views.iter().all(|(_, known)| known.holder.as_ref() == sites.first());
            let nowhere = sites.is_empty() && views.iter().all(|(_, known)| known.holder.is_none());
            if !(if wanted { at_one } else { nowhere }) {
                return Err(told());
            }
        }
        Ok(())
    }

    pub(super) fn judge_the_end_of_booth_group(&mut self) {
        if let Err(what) = self.is_booth_group_settled() {
            return self.checker.breaks(Rule::Settles, self.now, what);
        }
        if !self.has_come_to_rest() {
            return self.checker.breaks(Rule::Settles, self.now, "tickets still move".to_owned());
        }
        for (ticket, site, name, value) in self.kept.clone() {
            let views = self.views(&ticket);
            // A site that is kept off cannot be asked.
            let known = views.iter().find(|(asked, _)| *asked == site).map(|(_, known)| &known.attributes);
            if known.is_some_and(|known| !known.iter().any(|known| known.name == name && known.value == value)) {
                let what = format!("attribute {name} of ticket {ticket} at site {site} was acknowledged and is lost");
                self.checker.breaks(Rule::NothingLost, self.now, what);
            }
        }
    }

    /// A site was made anew, with none of the attributes that it alone knew.
    pub(super) fn loses_its_attributes(&mut self, id: MemberId) {
        if self.speaks_booth() {
            self.kept.retain(|(_, site, _, _)| *site != id);
        }
    }

    /// From the moment at which somebody wants a ticket revoked, it need not be granted any longer.
    pub(super) fn may_be_revoked(&mut self, request: &Request) {
        if let (Request::Revoke { ticket, .. }, true) = (request, self.speaks_booth()) {
            self.granted.remove(ticket);
        }
    }
}

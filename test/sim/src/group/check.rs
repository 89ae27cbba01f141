//! What is watched. Nothing here asks a core for its opinion but for what was acknowledged.

use super::{Rule, Violation};
use hakudo_tickets::MemberId;
use std::collections::BTreeMap;

/// Where each ticket's services are active.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// By ticket and site: since when.
    active: BTreeMap<(String, MemberId), u64>,
    /// By ticket: where services ended last, and when.
    ended: BTreeMap<String, (MemberId, u64)>,
    pub(crate) margin: Option<u64>,
    pub(crate) services: Vec<(String, u32, u64, u64)>,
    pub(crate) violation: Option<Violation>,
}

impl Checker {
    pub(crate) fn breaks(&mut self, rule: Rule, now: u64, what: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at: now / 1_000_000, what });
        }
    }

    /// Services begin at a site.
    pub(crate) fn begins(&mut self, now: u64, ticket: &str, site: MemberId) {
        let others = self.active.keys().filter(|(name, other)| name == ticket && *other != site);
        let others: Vec<MemberId> = others.map(|(_, other)| *other).collect();
        if let Some(other) = others.first() {
            let what =
                format!("services of ticket {ticket} begin at site {site} while they are active at site {other}");
            self.breaks(Rule::OneHolder, now, what);
        }
        if let Some((other, ended)) = self.ended.get(ticket)
            && *other != site
        {
            let margin = (now - ended) / 1000;
            self.margin = Some(self.margin.map_or(margin, |least| least.min(margin)));
        }
        self.active.entry((ticket.to_owned(), site)).or_insert(now);
    }

    pub(crate) fn ends(&mut self, now: u64, ticket: &str, site: MemberId) {
        if let Some(since) = self.active.remove(&(ticket.to_owned(), site)) {
            self.ended.insert(ticket.to_owned(), (site, now));
            self.services.push((ticket.to_owned(), site.0, since / 1_000_000, now / 1_000_000));
        }
    }

    pub(crate) fn sites_of(&self, ticket: &str) -> Vec<MemberId> {
        self.active.keys().filter(|(name, _)| name == ticket).map(|(_, site)| *site).collect()
    }

    /// The history is over.
    pub(crate) fn close(&mut self, now: u64) {
        for ((ticket, site), since) in std::mem::take(&mut self.active) {
            self.services.push((ticket, site.0, since / 1_000_000, now / 1_000_000));
        }
    }
}

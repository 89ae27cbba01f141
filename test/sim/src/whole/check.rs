//! What is watched across sites: what really runs where, who says that it coordinates, and what was acknowledged. Nothing here
//! asks a core for its opinion.

use super::{Rule, Violation};
use hakudo_base::Instant;
use hakudo_tickets::Status;
use std::collections::{BTreeMap, BTreeSet};

/// A grant's number in the log is in these bits of its generation.
const INDEX: u64 = (1 << 40) - 1;

/// The checker of a whole group.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// By ticket: the sites at which anything runs that needs it.
    active: BTreeMap<String, BTreeSet<usize>>,
    /// By ticket: where something ended last, and when.
    ended: BTreeMap<String, (usize, Instant)>,
    /// Who said that it coordinates in a term.
    coordinators: BTreeMap<String, String>,
    /// The newest acknowledged grant of each ticket.
    granted: BTreeMap<String, u64>,
    /// The least time from the end of a service at one site to its start at another, in microseconds.
    pub(super) margin: Option<u64>,
    pub(super) violation: Option<Violation>,
}

impl Checker {
    pub(super) fn breaks(&mut self, rule: Rule, at: Instant, text: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at, text });
        }
    }

    /// The tickets of which something runs at a site now; true where that is news.
    pub(super) fn runs(&mut self, now: Instant, site: usize, ticket: &str, active: bool) -> bool {
        let sites = self.active.entry(ticket.to_owned()).or_default();
        if sites.contains(&site) == active {
            return false;
        }
        if !active {
            sites.remove(&site);
            self.ended.insert(ticket.to_owned(), (site, now));
            return true;
        }
        let other = sites.iter().next().copied();
        sites.insert(site);
        if let Some(other) = other {
            let text =
                format!("what needs ticket {ticket} begins at site {} while it runs at site {}", site + 1, other + 1);
            self.breaks(Rule::OneHolder, now, text);
        }
        if let Some((_, ended)) = self.ended.get(ticket).filter(|(last, _)| *last != site) {
            let margin = u64::try_from(now.since(*ended).as_micros()).unwrap_or(u64::MAX);
            self.margin = Some(self.margin.map_or(margin, |least| least.min(margin)));
        }
        true
    }

    /// The sites at which anything runs that needs a ticket.
    pub(super) fn sites_of(&self, ticket: &str) -> Vec<usize> {
        self.active.get(ticket).into_iter().flatten().copied().collect()
    }

    /// A process of a member says that it coordinates in a term: nobody else does, nor did.
    pub(super) fn coordinates(&mut self, now: Instant, term: String, who: String) {
        if let Some(other) = self.coordinators.insert(term.clone(), who.clone()) {
            self.breaks(Rule::OneCoordinator, now, format!("{other} and {who} both coordinate in term {term}"));
        }
    }

    /// A client was told that a ticket is granted.
    pub(super) fn acknowledged(&mut self, ticket: &str, generation: u64) {
        let newest = self.granted.entry(ticket.to_owned()).or_default();
        *newest = (*newest).max(generation);
    }

    /// In the end, what was acknowledged is still known.
    pub(super) fn ends(&mut self, now: Instant, status: &Status) {
        for (ticket, generation) in self.granted.clone() {
            let known = status.tickets.iter().find(|known| known.name == ticket);
            let is_there = known.is_some_and(|known| {
                known.generation >= generation || known.history.iter().any(|past| past.index >= generation & INDEX)
            });
            if !is_there {
                let text = format!("grant {generation} of ticket {ticket} was acknowledged and is lost");
                self.breaks(Rule::NothingLost, now, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sites_and_two_coordinators_are_caught() {
        let at = Instant::from_millis;
        let mut checker = Checker::default();
        assert!(checker.runs(at(1), 0, "t", true) && !checker.runs(at(2), 0, "t", true));
        assert!(checker.runs(at(3), 0, "t", false) && checker.runs(at(5), 1, "t", true));
        assert_eq!((checker.margin, checker.violation.clone()), (Some(2000), None));
        checker.runs(at(6), 0, "t", true);
        assert_eq!(checker.violation.as_ref().map(|violation| violation.rule), Some(Rule::OneHolder));

        let mut checker = Checker::default();
        checker.coordinates(at(1), "0.1".into(), "a".into());
        checker.coordinates(at(2), "0.2".into(), "b".into());
        assert_eq!(checker.violation, None);
        checker.coordinates(at(3), "0.2".into(), "a".into());
        assert_eq!(checker.violation.map(|violation| violation.rule), Some(Rule::OneCoordinator));
    }
}

//! What a site does with the tickets that the log gives to it: it asks for its leases, says to its cluster what it holds
//! and until when, and says to the group when it has stopped.
//!
//! The end of a lease is counted from the moment when its renewal was asked for, by the clock of this member. Nothing here
//! needs an answer to end it: the cluster was told the end beforehand.

use crate::config::MemberId;
use crate::core_types::{Check, Effect, Event, Holding, Readiness, TicketWord, WhyNot};
use crate::log::Command;
use crate::member::{Member, Stored};
use crate::message::{Acceptance, Answer, Message, Offer, Renew, RenewGrant, Renewed, Report};
use crate::table::{Hold, Table};
use hakudo_base::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a site keeps beyond the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    /// The known ends of leases, by grant.
    leases: BTreeMap<u64, Instant>,
    /// Grants that were held before this run, of which no end is known yet.
    inherited: BTreeSet<u64>,
    /// Grants that the group or the nodes of this site have confirmed in this run. Only these may run without an end: what
    /// a log says that is behind may have been overtaken, by force.
    confirmed: BTreeSet<u64>,
    /// When each lease was last asked for with success, by grant.
    renewed: BTreeMap<u64, Instant>,
    asked_at: Option<Instant>,
    ask_now: bool,
    started: BTreeSet<u64>,
    stop_times: BTreeMap<String, Duration>,
    /// What is not stopped by itself, by ticket, where it is known.
    stays: BTreeMap<String, Option<String>>,
    report: Report,
    /// The version of the report that the coordinator has.
    reported: u64,
    /// What was last said of each ticket.
    said: BTreeMap<String, TicketWord>,
    touched: BTreeSet<String>,
    /// Checks that go on: their tickets, and which offer they answer by now.
    checks: BTreeMap<u64, (String, Option<(MemberId, Offer)>)>,
    /// Nodes are lost that are not known to be dead.
    lost: bool,
    next_check: u64,
    /// When it was last said that grants are released.
    released_at: Option<Instant>,
}

/// How many offers a site considers at the same time.
const MAX_CHECKS: usize = 8192;

impl Site {
    /// Takes up what the stored log says this site held.
    pub(crate) fn inherit(&mut self, table: &Table, local: MemberId) {
        let held = table.tickets.values().filter_map(|ticket| ticket.hold.as_ref());
        self.inherited = held.filter(|hold| hold.site == local).map(|hold| hold.generation).collect();
    }

    pub(crate) fn touch_all(&mut self, table: &Table) {
        self.touched.extend(table.tickets.keys().cloned());
        self.touched.extend(self.said.keys().cloned());
    }

    pub(crate) fn coordinator_changed(&mut self) {
        self.reported = 0;
        self.ask_now = true;
        self.released_at = None;
        // What runs goes on, and may answer another offer: nothing is run twice at the same time.
        self.checks.values_mut().for_each(|(_, offer)| *offer = None);
    }

    /// Forgets promises about grants that are not in force any more.
    pub(crate) fn forget_unknown(&mut self, table: &Table, local: MemberId, applied: u64, stored: &mut Stored) {
        let held: BTreeSet<u64> = grants(table, local).map(|(_, hold)| hold.generation).collect();
        stored.released.retain(|generation| held.contains(generation));
        stored.finite.retain(|generation| held.contains(generation));
        // The first lease of a grant may come before the entry.
        self.leases.retain(|generation, _| held.contains(generation) || *generation > applied);
        self.renewed.retain(|generation, _| held.contains(generation) || *generation > applied);
        self.confirmed.retain(|generation| held.contains(generation) || *generation > applied);
        self.inherited.retain(|generation| held.contains(generation));
        self.started.retain(|generation| held.contains(generation));
    }
}

/// The tickets that a site holds, and its grants.
fn grants(table: &Table, site: MemberId) -> impl Iterator<Item = (&String, &Hold)> {
    let held = table.tickets.iter().filter_map(|(name, ticket)| Some((name, ticket.hold.as_ref()?)));
    held.filter(move |(_, hold)| hold.site == site)
}

impl Member {
    // ---- what the cluster says -------------------------------------------------------------------------------------

    pub(crate) fn set_able(&mut self, ticket: String, able: Result<(), String>) {
        if self.site.report.able.get(&ticket) != Some(&able) {
            self.site.report.able.insert(ticket, able);
            self.site.report.version += 1;
            self.tell_report();
        }
    }

    pub(crate) fn set_active(&mut self, ticket: String, active: bool) {
        let report = &mut self.site.report;
        let first = report.looked.insert(ticket.clone());
        if first | if active { report.active.insert(ticket) } else { report.active.remove(&ticket) } {
            report.version += 1;
            self.tell_report();
        }
    }

    pub(crate) fn set_lost(&mut self, lost: bool) {
        self.site.lost = lost;
    }

    pub(crate) fn set_stays(&mut self, ticket: String, what: Option<String>) {
        let before = self.site.stays.insert(ticket, what.clone());
        self.site.ask_now |= before != Some(what);
    }

    pub(crate) fn set_stop_time(&mut self, ticket: String, stop_time: Duration) {
        self.site.stop_times.insert(ticket, stop_time);
        self.site.ask_now = true;
    }

    pub(crate) fn stopped(&mut self, ticket: &str, generation: u64) {
        let gives_up = self.word(ticket).is_some_and(|word| {
            let why = matches!(word.holding, Holding::NotHeld(WhyNot::Revoked | WhyNot::Moving | WhyNot::Removed));
            why && word.generation == generation
        });
        let held = grants(&self.table, self.local).any(|(_, hold)| hold.generation == generation);
        if gives_up && held && self.stored.released.insert(generation) {
            self.dirty = true;
            self.site.released_at = None;
            self.site.touched.insert(ticket.to_owned());
        }
    }

    pub(crate) fn started(&mut self, ticket: &str, generation: u64) {
        if self.table.tickets.get(ticket).is_some_and(|t| t.grant(generation).is_some()) {
            self.site.ask_now |= self.site.started.insert(generation);
        }
    }

    pub(crate) fn known_lease(&mut self, ticket: &str, generation: u64, until: Option<Instant>) {
        if self.site.inherited.remove(&generation) {
            match until {
                Some(until) => _ = self.site.leases.insert(generation, until),
                None => _ = self.site.confirmed.insert(generation),
            }
            self.site.touched.insert(ticket.to_owned());
        }
    }

    // ---- what the cluster is told ----------------------------------------------------------------------------------

    /// What this site must know of a ticket.
    pub(crate) fn word(&self, name: &str) -> Option<TicketWord> {
        let config = self.config(name);
        let Some(ticket) = self.table.tickets.get(name) else {
            let said = self.site.said.get(name)?;
            let holding = Holding::NotHeld(WhyNot::Removed);
            return Some(TicketWord { holding, holder: None, attributes: BTreeMap::new(), ..said.clone() });
        };
        let before = self.site.said.get(name).map_or(0, |word| word.generation);
        let own = ticket.hold.as_ref().filter(|hold| hold.site == self.local);
        let holding = match own {
            None => Holding::NotHeld(WhyNot::Elsewhere),
            Some(hold) if self.stored.released.contains(&hold.generation) => Holding::NotHeld(WhyNot::Released),
            Some(_) if config.is_none() => Holding::NotHeld(WhyNot::Removed),
            Some(_) if !ticket.wanted => Holding::NotHeld(WhyNot::Revoked),
            Some(_) if ticket.moving.is_some() => Holding::NotHeld(WhyNot::Moving),
            Some(hold) => self.holding(hold),
        };
        Some(TicketWord {
            ticket: name.to_owned(),
            generation: own.map_or(before, |hold| hold.generation),
            holding,
            holder: ticket.hold.as_ref().map(|hold| hold.site),
            standby: ticket.standby,
            revoked: ticket.revoked,
            attributes: ticket.attributes_of(self.local).map(|(name, a)| (name.clone(), a.value.clone())).collect(),
        })
    }

    fn holding(&self, hold: &Hold) -> Holding {
        let stop_time = hold.stop_time;
        if self.site.inherited.contains(&hold.generation) {
            return Holding::Unknown;
        }
        if hold.unlimited && !self.stored.finite.contains(&hold.generation) {
            let confirmed = self.site.confirmed.contains(&hold.generation);
            return if confirmed {
                Holding::Held { until: None, stop_time }
            } else {
                Holding::NotHeld(WhyNot::Elsewhere)
            };
        }
        match self.site.leases.get(&hold.generation) {
            Some(until) if self.now < *until => Holding::Held { until: Some(*until), stop_time },
            Some(_) => Holding::NotHeld(WhyNot::Expired),
            // Granted, but the lease has not come yet.
            None => Holding::NotHeld(WhyNot::Elsewhere),
        }
    }

    /// Forgets what belonged to grants that are not in force any more.
    pub(crate) fn forget_unknown(&mut self) {
        let applied = Table::generation(self.stored.log.position(self.applied).unwrap_or_default());
        self.site.forget_unknown(&self.table, self.local, applied, &mut self.stored);
    }

    /// Tells the cluster what has changed.
    fn tell_cluster(&mut self) {
        for name in std::mem::take(&mut self.site.touched) {
            let Some(word) = self.word(&name) else { continue };
            let gone = !self.table.tickets.contains_key(&name);
            let before = self.site.said.get(&name);
            if before == Some(&word) {
                continue;
            }
            let until = |word: &TicketWord| match word.holding {
                Holding::Held { until, .. } => Some(until),
                _ => None,
            };
            match (before.and_then(until), until(&word)) {
                // That there is an end, or none any more, is a word of its own.
                (Some(known), Some(until))
                    if known.is_some() == until.is_some()
                        && before.is_some_and(|before| same_but_for_the_end(before, &word)) =>
                {
                    self.out.push(Effect::Lease { ticket: name.clone(), generation: word.generation, until });
                }
                _ => {
                    if word.holding == Holding::NotHeld(WhyNot::Expired) {
                        self.out.push(Effect::Event(Event::Expired { ticket: name.clone() }));
                    }
                    self.out.push(Effect::Ticket(word.clone()));
                }
            }
            if gone {
                self.site.said.remove(&name);
            } else {
                self.site.said.insert(name, word);
            }
        }
    }

    /// What follows for this site from an entry that is in the table now.
    pub(crate) fn site_applied(&mut self, command: &Command) {
        match command {
            Command::Configure(_) | Command::TakeOver { .. } => {
                self.site.touch_all(&self.table);
            }
            Command::Unlimited { generation, .. } => self.dirty |= self.stored.finite.remove(generation),
            Command::WouldGrant { ticket, site, cause } if *site == self.local => {
                self.out.push(Effect::WouldHold { ticket: ticket.clone(), cause: *cause });
            }
            _ => {}
        }
        if let Some(ticket) = command.ticket() {
            self.site.touched.insert(ticket.to_owned());
        }
        if matches!(
            command,
            Command::Grant { .. } | Command::Released { .. } | Command::Freed { .. } | Command::TakeOver { .. }
        ) {
            self.forget_unknown();
            self.site.ask_now = true;
        }
    }

    // ---- leases ----------------------------------------------------------------------------------------------------

    /// The grants whose leases this site wants to be renewed, or of which the group does not know yet how they can be stopped, and
    /// how often. The latter also where the ticket is on its way: it is given away only after this site has stopped.
    fn wanted_leases(&self) -> Vec<(String, Hold, Duration)> {
        let wanted = grants(&self.table, self.local).filter_map(|(name, hold)| {
            let config = self.config(name)?;
            let goes_on = self.table.tickets.get(name).is_some_and(|ticket| ticket.may_go_on());
            let released = self.stored.released.contains(&hold.generation);
            let stays = self.site.stays.get(name).is_some_and(|what| *what != hold.stays);
            let untold = stays || self.stop_time(name) > hold.stop_time;
            ((goes_on || untold) && !released).then(|| (name.clone(), hold.clone(), config.renewal()))
        });
        wanted.collect()
    }

    pub(crate) fn mind_site(&mut self) {
        self.take_ends_on();
        let ended = self.site.leases.iter().filter(|(_, until)| self.now >= **until);
        let ended: Vec<u64> = ended.map(|(generation, _)| *generation).collect();
        for (name, hold) in grants(&self.table, self.local) {
            if ended.contains(&hold.generation) {
                self.site.touched.insert(name.clone());
            }
        }
        self.ask_for_leases();
        self.say_released();
        self.tell_cluster();
    }

    /// A lease that had no end because no other site would have taken the ticket gets one when this site learns that another
    /// site would. It is counted from now, once, and the group is told that this site knows. As long as there are nodes that
    /// cannot be told, and may run what needs the ticket, it stays without an end.
    fn take_ends_on(&mut self) {
        if self.site.lost {
            return;
        }
        let now = self.now;
        let mut ends = Vec::new();
        for (name, hold) in grants(&self.table, self.local) {
            let known = self.stored.finite.contains(&hold.generation);
            if hold.unlimited
                && !known
                && !self.table.is_manual(name)
                && !self.table.all_others_disclaim(self.local, name)
            {
                let Some(config) = self.config(name) else { continue };
                ends.push((name.clone(), hold.generation, now + config.expire));
            }
        }
        for (name, generation, until) in ends {
            self.stored.finite.insert(generation);
            self.dirty = true;
            if self.site.confirmed.contains(&generation) {
                self.site.leases.insert(generation, until);
            }
            self.site.touched.insert(name);
            self.site.ask_now = true;
        }
    }

    fn ask_for_leases(&mut self) {
        let Some(coordinator) = self.coordinator else { return };
        let retry = self.retry;
        if self.site.asked_at.is_some_and(|asked| self.now.since(asked) < retry) && !self.site.ask_now {
            return;
        }
        let wanted = self.wanted_leases();
        let due = |hold: &Hold, every: &Duration| {
            self.site.renewed.get(&hold.generation).is_none_or(|stamp| self.now.since(*stamp) >= *every)
        };
        let any_due = wanted.iter().any(|(_, hold, every)| due(hold, every));
        if wanted.is_empty() || !any_due && !self.site.ask_now {
            self.site.ask_now = false;
            return;
        }
        self.site.ask_now = false;
        self.site.asked_at = Some(self.now);
        let grants = wanted.iter().map(|(name, hold, _)| RenewGrant {
            generation: hold.generation,
            finite: !hold.unlimited || self.stored.finite.contains(&hold.generation),
            stop_time: Some(self.stop_time(name)).filter(|stop_time| *stop_time > hold.stop_time),
            stays: self.site.stays.get(name).cloned(),
            started: self.site.started.contains(&hold.generation),
        });
        let renew = Renew { stamp: self.now, grants: grants.collect() };
        self.send(coordinator, Message::Renew(renew));
    }

    /// How long this site may need to stop what depends on a ticket: what the configuration allows, or else its own word.
    fn stop_time(&self, ticket: &str) -> Duration {
        let configured = self.config(ticket).and_then(|config| config.stop_time);
        configured.unwrap_or_else(|| self.site.stop_times.get(ticket).copied().unwrap_or_default())
    }

    pub(crate) fn on_renewed(&mut self, renewed: Renewed) {
        // Stamps of another run are by another clock.
        if renewed.instance != self.instance || renewed.stamp > self.now {
            return;
        }
        for (generation, expire) in renewed.grants {
            if self.stored.released.contains(&generation) {
                continue;
            }
            let until = renewed.stamp + expire;
            let held = self.table.held_by(generation).map(|(name, _)| name.clone());
            // The answer may come before the entry that it speaks of.
            if held.is_none()
                && generation <= Table::generation(self.stored.log.position(self.applied).unwrap_or_default())
            {
                continue;
            }
            let known = self.site.leases.entry(generation).or_insert(until);
            *known = until.max(*known);
            let stamp = self.site.renewed.entry(generation).or_insert(renewed.stamp);
            *stamp = renewed.stamp.max(*stamp);
            self.site.inherited.remove(&generation);
            self.site.confirmed.insert(generation);
            self.site.touched.extend(held);
        }
    }

    fn say_released(&mut self) {
        let Some(coordinator) = self.coordinator else { return };
        let retry = self.retry * 2;
        if self.stored.released.is_empty() || self.site.released_at.is_some_and(|at| self.now.since(at) < retry) {
            return;
        }
        let mut said = false;
        for generation in self.stored.released.clone() {
            let Some((_, ticket)) = self.table.held_by(generation) else { continue };
            let failed = ticket.moving.as_ref().is_some_and(|moving| moving.cause == crate::table::Cause::Failure);
            self.promise(coordinator, Message::Released { generation, failed });
            said = true;
        }
        // What the table does not know any more needs no word, and no time to say it again.
        self.site.released_at = said.then_some(self.now);
    }

    pub(crate) fn site_deadline(&self) -> Option<Instant> {
        let mut first: Option<Instant> = None;
        let mut at = |moment: Instant| first = Some(first.map_or(moment, |first| first.min(moment)));
        for (name, hold) in grants(&self.table, self.local) {
            let said = self.site.said.get(name).map(|word| (word.generation, &word.holding));
            if let (Some(until), Some((generation, Holding::Held { until: Some(_), .. }))) =
                (self.site.leases.get(&hold.generation), said)
                && generation == hold.generation
            {
                at(*until);
            }
        }
        if self.coordinator.is_some() {
            let retry = self.retry;
            for (_, hold, every) in self.wanted_leases() {
                let due = self.site.renewed.get(&hold.generation).map_or(self.now, |stamp| *stamp + every);
                at(self.site.asked_at.map_or(due, |asked| due.max(asked + retry)));
            }
            if let Some(released) = self.site.released_at.filter(|_| !self.stored.released.is_empty()) {
                at(released + retry * 2);
            }
        }
        first
    }

    // ---- reports and offers ----------------------------------------------------------------------------------------

    /// Tells the coordinator what this site thinks of its tickets, where it does not know.
    pub(crate) fn report(&mut self, to: MemberId) {
        if self.site.report.version > self.site.reported {
            self.send(to, Message::Report(self.site.report.clone()));
        }
    }

    fn tell_report(&mut self) {
        if let Some(coordinator) = self.coordinator {
            self.report(coordinator);
        }
    }

    pub(crate) fn report_seen(&mut self, seen: Option<(u64, u64)>) {
        self.site.reported = seen.filter(|(instance, _)| *instance == self.instance).map_or(0, |(_, version)| version);
    }

    pub(crate) fn report_to_self(&mut self) {
        if self.site.report.version > self.site.reported {
            self.site.reported = self.site.report.version;
            self.send(self.local, Message::Report(self.site.report.clone()));
        }
    }

    pub(crate) fn on_offer(&mut self, from: MemberId, offer: Offer) {
        if offer.term != self.stored.term || self.coordinator != Some(from) {
            return;
        }
        if let Some((_, known)) = self.site.checks.values_mut().find(|(ticket, _)| *ticket == offer.ticket) {
            let checking = Message::Checking { term: offer.term, offer: offer.offer };
            *known = Some((from, offer));
            return self.send(from, checking);
        }
        let Some(config) = self.config(&offer.ticket).filter(|_| self.site.checks.len() < MAX_CHECKS) else { return };
        let (handler, lag) = (config.handler.clone(), config.lag.clone());
        self.site.next_check += 1;
        let check = self.site.next_check;
        let ticket = offer.ticket.clone();
        self.site.checks.insert(check, (ticket.clone(), Some((from, offer))));
        self.out.push(Effect::Check(Check { check, ticket, handler, lag, expires: None }));
    }

    pub(crate) fn checked(&mut self, check: u64, result: Result<Readiness, String>) {
        let Some((_, Some((from, offer)))) = self.site.checks.remove(&check) else { return };
        let answer = result.map(|readiness| Acceptance { stop_time: self.stop_time(&offer.ticket), readiness });
        // A lease that follows is counted from now.
        let answer = Answer { term: offer.term, offer: offer.offer, stamp: self.now, answer };
        self.promise(from, Message::Answer(answer));
    }
}

fn same_but_for_the_end(a: &TicketWord, b: &TicketWord) -> bool {
    let Holding::Held { until, .. } = &b.holding else { return false };
    let Holding::Held { stop_time, .. } = a.holding else { return false };
    TicketWord { holding: Holding::Held { until: *until, stop_time }, ..a.clone() } == *b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TicketConfig;
    use crate::config::tests::group;

    #[test]
    fn a_grant_that_is_gone_is_not_waited_for() {
        let now = Instant::from_millis(60_000);
        let mut member = Member::new(MemberId(1), group(vec![TicketConfig::new("t")]), 1, None, Instant::ZERO).unwrap();
        member.now = now;
        member.coordinator = Some(MemberId(2));
        member.stored.released.insert(77);
        member.site.released_at = Some(Instant::ZERO);
        member.mind_site();
        assert!(member.site_deadline().is_none_or(|at| at > now), "{:?}", member.site_deadline());
    }
}

//! What the coordinator does for each ticket: it sees that a ticket that somebody should have is held, where it can be.
//!
//! All lasting decisions are entries of the log; what is here is only on the way to one, and may be lost with the office.
//!
//! A ticket goes to a site in the same way whatever the cause: the site is offered it, looks whether it can, accepts, and
//! the grant is written to the log. That another site had it before is dealt with first: it has released the ticket, or its
//! lease and its time to stop have certainly passed ([`Member::free_at`]).

use crate::config::{MemberId, PrerequisiteWhen, TicketConfig, TicketMode};
use crate::core_types::{Effect, Event, Readiness};
use crate::drift;
use crate::log::{Author, Command, Term};
use crate::member::Member;
use crate::message::{Acceptance, Answer, Message, Offer};
use crate::office::Accepted;
use crate::request::Refusal;
use crate::table::{Cause, Hold, Ticket};
use hakudo_base::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest time for which a site that gave a ticket up is left alone.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(3600);

/// What an offer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To grant the ticket, that nobody holds.
    Grant,
    /// To take it from a holder that goes on until then.
    Move,
    /// To say what would happen.
    DryRun,
}

/// An offer that was not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    offer: u64,
    pub(crate) site: MemberId,
    cause: Cause,
    purpose: Purpose,
    since: Instant,
    sent: Instant,
}

/// What the coordinator remembers of a ticket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Duty {
    pub(crate) offered: Option<Offered>,
    /// Sites that said no, why, and until when they are not asked again.
    declined: BTreeMap<MemberId, (String, Instant)>,
    /// When this coordinator saw that a site gave the ticket up because of a failure, or took office.
    gave_up: BTreeMap<MemberId, Instant>,
    pub(crate) granted_at: Option<Instant>,
    /// When the holder had stopped.
    pub(crate) stopped_at: Option<Instant>,
    /// Observers for which it was recorded that they would have got the ticket, since the last grant.
    observed: BTreeSet<MemberId>,
    /// It was said that nobody can take the ticket.
    nobody: bool,
    /// The site that could take it back, and since when it could without a break.
    could_go_back: Option<(MemberId, Instant)>,
}

impl Duty {
    pub(crate) fn granted(&mut self, now: Instant) {
        self.offered = None;
        self.declined.clear();
        self.observed.clear();
        self.nobody = false;
        self.granted_at = Some(now);
        self.could_go_back = None;
    }
}

/// Why a site is not asked.
struct Obstacle(String);

/// Which conditions count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The group decides.
    Group,
    /// The administrator has chosen the site.
    Administrator,
}

impl Ask {
    fn of(cause: Cause) -> Self {
        match cause {
            Cause::Administrator | Cause::Move | Cause::Force => Ask::Administrator,
            Cause::Lost | Cause::Failure | Cause::Preference | Cause::RollBack => Ask::Group,
        }
    }
}

impl Member {
    /// Sees to all tickets, if anything may have changed or a moment has come.
    pub(crate) fn tend(&mut self) {
        if !self.is_ready() {
            return;
        }
        let due = self.office.as_ref().and_then(|office| office.tend_at).is_some_and(|at| self.now >= at);
        if !std::mem::take(&mut self.tend_now) && !due {
            return;
        }
        self.set_tend_at(None);
        if !self.may_vote() {
            // This member was removed from the group. It stays until those who remain have the word of it: where they need its
            // vote for anything else, nobody could bring it to them.
            if !self.voters_change() {
                self.step_down();
            }
            return;
        }
        self.mind_group();
        let names: Vec<String> = self.table.tickets.keys().cloned().collect();
        for name in names {
            self.tend_ticket(&name);
        }
        self.tend_asks();
        let table = &self.table;
        if let Some(office) = &mut self.office {
            office.duties.retain(|name, _| table.tickets.contains_key(name));
            office.accepted.retain(|name, _| table.tickets.contains_key(name));
            let held: BTreeSet<u64> =
                table.tickets.values().filter_map(|t| t.hold.as_ref().map(|hold| hold.generation)).collect();
            office.backed.retain(|generation, _| held.contains(generation));
        }
    }

    fn set_tend_at(&mut self, at: Option<Instant>) {
        if let Some(office) = &mut self.office {
            office.tend_at = at;
        }
    }

    /// Tickets are looked at again at this moment.
    pub(crate) fn look_again(&mut self, at: Instant) {
        if let Some(office) = &mut self.office {
            office.tend_at = Some(office.tend_at.map_or(at, |known| known.min(at)));
        }
    }

    /// Sees that the group has a configuration, and that members declared dead come back when they live.
    fn mind_group(&mut self) {
        if self.voters_change() {
            return;
        }
        if self.table.group.is_none() {
            let mut group = self.initial.clone();
            group.version = 1;
            self.decide(Command::Configure(Box::new(group)));
            return;
        }
        let caught_up = |member: &MemberId| {
            let matched = self.office.as_ref().and_then(|office| office.followers.get(member)).map(|f| f.matched);
            self.is_heard(*member) && matched.is_some_and(|matched| matched >= self.applied)
        };
        let memory = |member: &MemberId| Some(self.office.as_ref()?.followers.get(member)?.memory);
        // Also one that was declared dead and lives: it gets a vote only once it is known what it remembers.
        let forgetful =
            |member: &MemberId| *member != self.local && self.table.memories.get(member).copied() != memory(member);
        let members = self.group().members.iter().map(|member| member.id);
        let unknown: Vec<MemberId> = members.filter(forgetful).filter(|member| self.is_heard(*member)).collect();
        let new = unknown.iter().copied().find(caught_up).and_then(|member| Some((member, memory(&member)?)));
        let back = self.table.absent.iter().copied().find(|member| caught_up(member) && !forgetful(member));
        if let Some(welcome) = new {
            self.decide(Command::Welcome { memories: BTreeMap::from([welcome]) });
        } else if let Some(member) = back {
            self.decide(Command::Readmit { member });
        } else if !unknown.is_empty() || !self.table.absent.is_empty() {
            self.look_again(self.now + self.retry * 4);
        }
    }

    pub(crate) fn is_heard(&self, member: MemberId) -> bool {
        member == self.local || self.peers.get(&member).is_some_and(|peer| peer.is_heard)
    }

    pub(crate) fn duty(&mut self, ticket: &str) -> Option<&mut Duty> {
        let office = self.office.as_mut()?;
        if !office.duties.contains_key(ticket) {
            office.duties.insert(ticket.to_owned(), Duty::default());
        }
        office.duties.get_mut(ticket)
    }

    fn duty_of(&self, ticket: &str) -> Option<&Duty> {
        self.office.as_ref()?.duties.get(ticket)
    }

    /// How long other members' answers are waited for in all.
    pub(crate) fn patience(config: &TicketConfig) -> Duration {
        config.timeout.saturating_mul(config.retries.saturating_add(1))
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// When whoever holds a ticket has certainly stopped, if its lease is not renewed any more; none if it has no end, or not all
    /// is stopped at its end.
    pub(crate) fn free_at(&self, config: Option<&TicketConfig>, hold: &Hold) -> Option<Instant> {
        if hold.unlimited || hold.stays.is_some() {
            return None;
        }
        let wait = TicketConfig::bound(hold.expire, hold.stop_time);
        Some(self.backed_at(hold)? + wait + config.map_or(Duration::ZERO, |config| config.acquire_after))
    }

    /// No round that backed a lease of this grant was begun after this.
    pub(crate) fn backed_at(&self, hold: &Hold) -> Option<Instant> {
        let office = self.office.as_ref()?;
        Some(office.backed.get(&hold.generation).copied().unwrap_or(office.bound).max(office.bound))
    }

    /// True where the lease may be running: it was renewed lately, or it is not known yet.
    pub(crate) fn may_be_live(&self, hold: &Hold) -> bool {
        let ends = self.backed_at(hold).map(|at| at + drift::lengthen(hold.expire));
        hold.unlimited || ends.is_some_and(|ends| self.now < ends)
    }

    // ---- one ticket ------------------------------------------------------------------------------------------------

    fn tend_ticket(&mut self, name: &str) {
        if self.is_pending(name) {
            return;
        }
        let Some(ticket) = self.table.tickets.get(name).cloned() else { return };
        let config = self.config(name).cloned();
        self.repeat_offer(name, config.as_ref());
        match (&ticket.hold, &config) {
            (Some(hold), _) => self.tend_held(name, &ticket, hold, config.as_ref()),
            (None, Some(config)) if ticket.wanted => self.tend_free(name, &ticket, config),
            _ => {}
        }
    }

    fn tend_held(&mut self, name: &str, ticket: &Ticket, hold: &Hold, config: Option<&TicketConfig>) {
        if let Some(duty) = self.duty(name) {
            duty.stopped_at = None;
        }
        if let Some(free_at) = self.free_at(config, hold) {
            if self.now >= free_at {
                return self.tend_lost(name, ticket, hold, config);
            }
            self.look_again(free_at);
        }
        let Some(config) = config.filter(|_| ticket.may_go_on()) else { return };
        if config.mode == TicketMode::Automatic && !hold.unlimited && self.table.all_others_disclaim(hold.site, name) {
            self.decide(Command::Unlimited { ticket: name.to_owned(), generation: hold.generation });
        } else if config.mode == TicketMode::Automatic || hold.from.is_some() {
            self.consider_moving(name, ticket, hold, config);
        }
    }

    /// The holder has certainly stopped, and did not say so.
    fn tend_lost(&mut self, name: &str, ticket: &Ticket, hold: &Hold, config: Option<&TicketConfig>) {
        let freed = Command::Freed { ticket: name.to_owned(), generation: hold.generation };
        let Some(config) = config.filter(|_| ticket.may_go_on()) else {
            self.decide(freed);
            return;
        };
        // It may have it again when it comes back and nobody else has taken it.
        self.choose(name, ticket, config, Purpose::Grant, Cause::Lost, &|site| site != hold.site);
    }

    /// Nobody holds the ticket, and somebody should.
    fn tend_free(&mut self, name: &str, ticket: &Ticket, config: &TicketConfig) {
        let now = self.now;
        let Some(duty) = self.duty(name) else { return };
        let stopped_at = *duty.stopped_at.get_or_insert(now);
        let Some(moving) = &ticket.moving else {
            if config.mode == TicketMode::Automatic {
                self.choose(name, ticket, config, Purpose::Grant, Cause::Lost, &|_| true);
            }
            return;
        };
        let give_up = stopped_at + Self::patience(config);
        let obstacle = self.obstacle(moving.to, name, ticket, config, Ask::Administrator);
        if now < give_up && obstacle.is_none() {
            self.look_again(give_up);
            self.offer_on_its_way(name, moving.to, moving.cause);
        } else if now < give_up + Self::patience(config) && self.is_heard(moving.from) {
            self.look_again(give_up + Self::patience(config));
            self.offer_on_its_way(name, moving.from, Cause::RollBack);
        } else if config.mode == TicketMode::Automatic {
            self.decide(Command::MoveEnded { ticket: name.to_owned() });
        } else {
            // A manual ticket goes where the administrator said, or back, whichever can first.
            self.look_again(now + self.retry * 4);
            let to = if self.is_heard(moving.to) { moving.to } else { moving.from };
            self.offer_on_its_way(name, to, moving.cause);
        }
    }

    /// Offers a ticket on its way, unless something of it runs at another site: nobody could be granted it then.
    fn offer_on_its_way(&mut self, name: &str, site: MemberId, cause: Cause) {
        if self.runs_beside(name, site).is_some() {
            self.look_again(self.now + self.retry * 4);
        } else {
            self.offer(name, site, cause, Purpose::Grant);
        }
    }

    /// Why a ticket cannot be moved from its holder: not all would stop, or something of it runs where it was not granted.
    pub(crate) fn cannot_leave(&self, name: &str, hold: &Hold, to: Option<MemberId>) -> Option<Refusal> {
        let ticket = name.to_owned();
        if let Some(what) = hold.stays.clone() {
            return Some(Refusal::Stays { ticket, site: hold.site, what });
        }
        let parties = [Some(hold.site), to];
        let site = self.active_sites(name).into_iter().find(|site| !parties.contains(&Some(*site)))?;
        Some(Refusal::RunsElsewhere { ticket, site })
    }

    /// A move is not even offered where it could not be carried out; the entry or report that changes this looks at it again.
    fn stay_where_it_is(&mut self, name: &str, holder: MemberId, why: &Refusal, unable: bool) {
        let Some(duty) = self.duty(name) else { return };
        duty.offered.take_if(|offered| offered.purpose == Purpose::Move);
        duty.could_go_back = None;
        if unable && !std::mem::replace(&mut duty.nobody, true) {
            let reasons = vec![(holder, why.to_string())];
            self.out.push(Effect::Event(Event::NobodyCan { ticket: name.to_owned(), reasons }));
        }
    }

    /// The holder goes on; perhaps the ticket should be elsewhere.
    fn consider_moving(&mut self, name: &str, ticket: &Ticket, hold: &Hold, config: &TicketConfig) {
        if let Some(why) = self.cannot_leave(name, hold, None) {
            let unable = self.reported(hold.site, name).is_some_and(|able| able.is_err());
            return self.stay_where_it_is(name, hold.site, &why, unable);
        }
        let Some(office) = &self.office else { return };
        let granted_at = self.duty_of(name).and_then(|duty| duty.granted_at).unwrap_or(office.since());
        let unable = self.reported(hold.site, name).is_some_and(|able| able.is_err());
        let late = granted_at + Self::patience(config);
        if let (Cause::Move | Cause::Preference, Some(from)) = (hold.cause, hold.from) {
            if unable || self.now >= late {
                if self.obstacle(from, name, ticket, config, Ask::Administrator).is_none() {
                    return self.offer(name, from, Cause::RollBack, Purpose::Move);
                }
            } else {
                self.look_again(late);
            }
        }
        if config.mode == TicketMode::Manual {
            return;
        }
        if unable {
            return self.choose(name, ticket, config, Purpose::Move, Cause::Failure, &|site| site != hold.site);
        }
        let offered = self.duty_of(name).and_then(|duty| duty.offered.as_ref());
        if offered.is_some_and(|offered| offered.cause == Cause::Failure)
            && let Some(duty) = self.duty(name)
        {
            duty.offered = None;
        }
        self.consider_going_back(name, ticket, hold, config);
    }

    fn consider_going_back(&mut self, name: &str, ticket: &Ticket, hold: &Hold, config: &TicketConfig) {
        let (Some(preferred), Some(delay)) = (config.preferred, config.fail_back) else { return };
        let could = preferred != hold.site
            && self.obstacle(preferred, name, ticket, config, Ask::Group).is_none()
            && !self.table.observers.contains(&preferred);
        let now = self.now;
        let Some(duty) = self.duty(name) else { return };
        if !could {
            duty.could_go_back = None;
            return;
        }
        let since = match duty.could_go_back {
            Some((site, since)) if site == preferred => since,
            _ => now,
        };
        duty.could_go_back = Some((preferred, since));
        if now >= since + delay {
            self.offer(name, preferred, Cause::Preference, Purpose::Move);
        } else {
            self.look_again(since + delay);
        }
    }

    // ---- choosing --------------------------------------------------------------------------------------------------

    /// Offers the ticket to the best site that can take it.
    fn choose(
        &mut self,
        name: &str,
        ticket: &Ticket,
        config: &TicketConfig,
        purpose: Purpose,
        cause: Cause,
        may: &dyn Fn(MemberId) -> bool,
    ) {
        if let Some(offered) = self.duty_of(name).and_then(|duty| duty.offered.as_ref()) {
            let still = self.obstacle(offered.site, name, ticket, config, Ask::of(offered.cause)).is_none();
            if still && offered.purpose == purpose {
                return;
            }
        }
        let mut sites: Vec<MemberId> = self.group().sites().map(|site| site.id).filter(|site| may(*site)).collect();
        sites.sort_by_key(|site| {
            let weight = config.weights.get(site).copied().unwrap_or(0);
            (config.preferred != Some(*site), std::cmp::Reverse(weight), ticket.last != Some(*site), *site)
        });
        let mut reasons = Vec::new();
        for site in sites {
            let beside = self.runs_beside(name, site).filter(|_| purpose == Purpose::Grant);
            if let Some(Obstacle(reason)) = self.obstacle(site, name, ticket, config, Ask::Group) {
                reasons.push((site, reason));
            } else if let Some(other) = beside {
                reasons
                    .push((site, format!("member {other} has not stopped yet, or has not looked whether it runs it")));
            } else if self.table.observers.contains(&site) {
                self.record_observer(name, site, cause);
                reasons.push((site, "it only observes".to_owned()));
            } else {
                return self.offer(name, site, cause, purpose);
            }
        }
        let now = self.now;
        let Some(duty) = self.duty(name) else { return };
        duty.offered = None;
        let times = duty.declined.values().map(|(_, until)| *until).filter(|until| *until > now).min();
        if !std::mem::replace(&mut duty.nobody, true) {
            self.out.push(Effect::Event(Event::NobodyCan { ticket: name.to_owned(), reasons }));
        }
        if let Some(until) = times {
            self.look_again(until);
        }
        for site in ticket.failures.keys() {
            if let Some(until) = self.backs_off_until(*site, name, ticket, config).filter(|until| *until > now) {
                self.look_again(until);
            }
        }
    }

    fn record_observer(&mut self, name: &str, site: MemberId, cause: Cause) {
        if self.duty(name).is_some_and(|duty| duty.observed.insert(site)) {
            self.decide(Command::WouldGrant { ticket: name.to_owned(), site, cause });
        }
    }

    /// Why a site cannot be asked to take a ticket.
    fn obstacle(
        &self,
        site: MemberId,
        name: &str,
        ticket: &Ticket,
        config: &TicketConfig,
        ask: Ask,
    ) -> Option<Obstacle> {
        let because = |reason: String| Some(Obstacle(reason));
        if !self.group().is_site(site) {
            return because("it is no site".to_owned());
        }
        if self.table.absent.contains(&site) {
            return because("it was declared dead".to_owned());
        }
        if !self.is_heard(site) {
            let heard = self.peers.get(&site).and_then(|peer| peer.heard);
            return because(match heard {
                Some(heard) => format!("it was not heard for {:.1} s", self.now.since(heard).as_secs_f64()),
                None => "it was never heard".to_owned(),
            });
        }
        if self.table.disclaims(site, name) {
            return because("it takes no tickets now".to_owned());
        }
        match self.reported(site, name) {
            Some(Err(reason)) => return because(reason.clone()),
            None if ask == Ask::Group => return because("it has not said whether it can run it".to_owned()),
            _ => {}
        }
        let when = if ask == Ask::Group { PrerequisiteWhen::Auto } else { PrerequisiteWhen::Manual };
        for condition in config.prerequisites.iter().filter(|condition| condition.when == when) {
            let value = ticket.attributes.get(&(site, condition.attribute.clone())).map(|a| a.value.as_str());
            if !condition.is_met_by(value) {
                let is = value.map_or_else(|| "not set".to_owned(), |value| format!("\"{value}\""));
                return because(format!("its attribute \"{}\" is {is}", condition.attribute));
            }
        }
        if ask == Ask::Administrator {
            return None;
        }
        if let Some((reason, _)) =
            self.duty_of(name).and_then(|duty| duty.declined.get(&site)).filter(|(_, until)| self.now < *until)
        {
            return because(format!("it declined: {reason}"));
        }
        let until = self.backs_off_until(site, name, ticket, config).filter(|until| self.now < *until)?;
        let wait = until.since(self.now).as_secs_f64();
        because(format!("it could not run it before, and is left alone for another {wait:.0} s"))
    }

    /// Until when a site is left alone that gave a ticket up, twice as long each time.
    fn backs_off_until(&self, site: MemberId, name: &str, ticket: &Ticket, config: &TicketConfig) -> Option<Instant> {
        let failures = *ticket.failures.get(&site)?;
        let gave_up = self.duty_of(name).and_then(|duty| duty.gave_up.get(&site)).copied();
        let since = gave_up.or_else(|| self.office.as_ref().map(|office| office.since()))?;
        Some(since + back_off(config, failures))
    }

    /// Why a site could not take a ticket now; for people.
    pub(crate) fn why_not(&self, site: MemberId, name: &str) -> Option<String> {
        let (ticket, config) = (self.table.tickets.get(name)?, self.config(name)?);
        if self.table.observers.contains(&site) {
            return Some("it only observes".to_owned());
        }
        self.obstacle(site, name, ticket, config, Ask::Group).map(|Obstacle(reason)| reason)
    }

    /// Why the administrator cannot give a ticket to this site.
    pub(crate) fn why_not_ordered(&self, site: MemberId, name: &str) -> Option<String> {
        let (ticket, config) = (self.table.tickets.get(name)?, self.config(name)?);
        if self.table.observers.contains(&site) {
            return Some("it only observes".to_owned());
        }
        self.obstacle(site, name, ticket, config, Ask::Administrator).map(|Obstacle(reason)| reason)
    }

    // ---- offers ----------------------------------------------------------------------------------------------------

    /// Offers a ticket to a site, unless just that is under way.
    pub(crate) fn offer(&mut self, name: &str, site: MemberId, cause: Cause, purpose: Purpose) {
        let (now, term) = (self.now, self.stored.term);
        let retry = self.retry;
        let Some(office) = &mut self.office else { return };
        let offer = office.next_offer;
        let Some(duty) = self.duty(name) else { return };
        let same = |offered: &Offered| offered.site == site && offered.cause == cause && offered.purpose == purpose;
        if duty.offered.as_ref().is_some_and(same) {
            return;
        }
        let declined = duty.declined.get(&site).map(|(_, until)| *until).filter(|until| now < *until);
        if let Some(until) = declined.filter(|_| Ask::of(cause) == Ask::Group || purpose == Purpose::Grant) {
            // It said no a moment ago.
            return self.look_again(until);
        }
        duty.offered = Some(Offered { offer, site, cause, purpose, since: now, sent: now });
        if let Some(office) = &mut self.office {
            office.next_offer += 1;
        }
        self.look_again(now + retry * 2);
        self.send(site, Message::Offer(Offer { term, offer, ticket: name.to_owned(), cause }));
    }

    fn repeat_offer(&mut self, name: &str, config: Option<&TicketConfig>) {
        let (now, term, retry) = (self.now, self.stored.term, self.retry);
        let patience = config.map_or(Duration::ZERO, Self::patience);
        let Some(offered) = self.duty(name).and_then(|duty| duty.offered.as_mut()) else { return };
        if now >= offered.since + patience {
            let site = offered.site;
            return self.declined(name, site, "it did not answer".to_owned());
        }
        if now >= offered.sent + retry * 2 {
            offered.sent = now;
            let offer = Offer { term, offer: offered.offer, ticket: name.to_owned(), cause: offered.cause };
            let site = offered.site;
            self.send(site, Message::Offer(offer));
        }
        self.look_again(now + retry * 2);
    }

    /// A site is still looking whether it can.
    pub(crate) fn on_checking(&mut self, from: MemberId, term: Term, offer: u64) {
        let now = self.now;
        let Some(office) = self.office.as_mut().filter(|_| term == self.stored.term) else { return };
        let offered = office.duties.values_mut().filter_map(|duty| duty.offered.as_mut());
        for offered in offered.filter(|offered| offered.offer == offer && offered.site == from) {
            offered.since = now;
        }
    }

    /// Another site than this one where the ticket's services are active, or may be because nobody of it has looked since the
    /// group came to decide on the ticket. Only sites that are heard can say so.
    pub(crate) fn runs_beside(&self, name: &str, site: MemberId) -> Option<MemberId> {
        let office = self.office.as_ref()?;
        let new = self.table.tickets.get(name).is_some_and(|ticket| ticket.last.is_none());
        let may_run = |other: &MemberId| {
            let report = office.followers.get(other).and_then(|follower| follower.report.as_ref());
            report.map_or(new, |(_, report)| report.active.contains(name) || (new && !report.looked.contains(name)))
        };
        let others = self.group().sites().map(|other| other.id).filter(|other| *other != site && self.is_heard(*other));
        others.into_iter().find(may_run)
    }

    /// The sites that are heard and say that something of the ticket is active there.
    fn active_sites(&self, name: &str) -> Vec<MemberId> {
        let Some(office) = &self.office else { return Vec::new() };
        let runs = |site: &MemberId| {
            let report = office.followers.get(site).and_then(|follower| follower.report.as_ref());
            report.is_some_and(|(_, report)| report.active.contains(name))
        };
        self.group().sites().map(|site| site.id).filter(|site| self.is_heard(*site) && runs(site)).collect()
    }

    /// A site will not take a ticket now.
    fn declined(&mut self, name: &str, site: MemberId, reason: String) {
        let now = self.now;
        let wait = self.config(name).map_or(Duration::from_secs(1), |config| config.timeout);
        let Some(duty) = self.duty(name) else { return };
        let Some(offered) = duty.offered.take() else { return };
        // On the way, a site that is not ready yet is asked again soon: its data may still be coming.
        let wait = if offered.purpose == Purpose::Grant && Ask::of(offered.cause) == Ask::Administrator {
            wait / 8
        } else {
            wait
        };
        duty.declined.insert(site, (reason.clone(), now + wait));
        self.tend_now = true;
        self.look_again(now + wait);
        self.ask_declined(name, site, reason);
    }

    pub(crate) fn on_answer(&mut self, from: MemberId, instance: u64, answer: Answer) {
        if answer.term != self.stored.term || !self.is_ready() {
            return;
        }
        let Some(office) = &self.office else { return };
        let fits = |duty: &Duty| {
            duty.offered.as_ref().is_some_and(|offered| offered.offer == answer.offer && offered.site == from)
        };
        let Some(name) = office.duties.iter().find(|(_, duty)| fits(duty)).map(|(name, _)| name.clone()) else {
            return;
        };
        let (Some(ticket), Some(config)) = (self.table.tickets.get(&name).cloned(), self.config(&name).cloned()) else {
            return;
        };
        let Some(offered) = self.duty_of(&name).and_then(|duty| duty.offered.clone()) else { return };
        let acceptance = match answer.answer {
            Ok(acceptance) => acceptance,
            Err(reason) => return self.declined(&name, from, reason),
        };
        if offered.cause != Cause::Force
            && let Some(reason) = too_late(&config, &acceptance.readiness)
        {
            return self.declined(&name, from, reason);
        }
        if self.is_pending(&name) {
            return;
        }
        self.tend_now = true;
        match offered.purpose {
            Purpose::DryRun => {
                if let Some(duty) = self.duty(&name) {
                    duty.offered = None;
                }
                self.ask_would(&name, from);
            }
            Purpose::Move => {
                let Some(hold) = ticket.hold.as_ref().filter(|hold| hold.site != from) else { return };
                if self.cannot_leave(&name, hold, Some(from)).is_some() {
                    if let Some(duty) = self.duty(&name) {
                        duty.offered = None;
                    }
                    return;
                }
                let author = match Ask::of(offered.cause) {
                    Ask::Administrator => self.ask_author(&name, from, offered.cause),
                    Ask::Group => Author::default(),
                };
                let (generation, cause) = (hold.generation, offered.cause);
                if let Some(duty) = self.duty(&name) {
                    duty.offered = None;
                }
                self.propose(author, Command::Move { ticket: name, generation, to: from, cause });
            }
            Purpose::Grant => {
                let accepted = Accepted { instance, stamp: answer.stamp, proposed: self.now };
                self.accept(&name, &ticket, &config, &offered, &acceptance, accepted);
            }
        }
    }

    fn accept(
        &mut self,
        name: &str,
        ticket: &Ticket,
        config: &TicketConfig,
        offered: &Offered,
        acceptance: &Acceptance,
        accepted: Accepted,
    ) {
        let free = match &ticket.hold {
            _ if offered.cause == Cause::Force => true,
            _ if self.runs_beside(name, offered.site).is_some() => false,
            None => true,
            Some(hold) => self.free_at(Some(config), hold).is_some_and(|free_at| self.now >= free_at),
        };
        if let Some(duty) = self.duty(name) {
            duty.offered = None;
        }
        if !free {
            // It is offered again, but not at once: what is in the way may stay for long.
            let until = self.now + self.retry * 4;
            if let Some(duty) = self.duty(name) {
                duty.declined.insert(offered.site, ("something of it still runs elsewhere".to_owned(), until));
            }
            return self.look_again(until);
        }
        let author = match Ask::of(offered.cause) {
            Ask::Administrator => self.ask_author(name, offered.site, offered.cause),
            Ask::Group => Author::default(),
        };
        let stop_time = config.stop_time.unwrap_or(acceptance.stop_time);
        let (site, expire, cause) = (offered.site, config.expire, offered.cause);
        self.propose(author, Command::Grant { ticket: name.to_owned(), site, expire, stop_time, cause });
        if let Some(office) = &mut self.office {
            office.accepted.insert(name.to_owned(), accepted);
        }
    }

    pub(crate) fn on_released(&mut self, from: MemberId, generation: u64, failed: bool) {
        if !self.is_ready() {
            return;
        }
        let Some((name, ticket)) = self.table.held_by(generation) else { return };
        if ticket.hold.as_ref().is_none_or(|hold| hold.site != from) || self.is_pending(name) {
            return;
        }
        let (name, before) = (name.clone(), ticket.failures.get(&from).copied().unwrap_or(0));
        let config = self.config(&name).cloned();
        let now = self.now;
        let mut failures = before;
        if failed {
            let granted_at = self.duty_of(&name).and_then(|duty| duty.granted_at);
            let ran = granted_at.map(|at| now.since(at));
            // What ran for longer than it was left alone before has failed anew.
            let anew = config.as_ref().zip(ran).is_some_and(|(config, ran)| ran > back_off(config, before.max(1)) * 2);
            failures = if anew { 1 } else { before.saturating_add(1) };
        }
        if let Some(duty) = self.duty(&name) {
            if failed {
                duty.gave_up.insert(from, now);
            }
            duty.stopped_at = Some(now);
        }
        self.decide(Command::Released { ticket: name, generation, failed, failures });
    }
}

/// How long a site is left alone after its failures in a row: a lease, then twice that, and so on.
fn back_off(config: &TicketConfig, failures: u32) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    config.expire.saturating_mul(doubled).min(LONGEST_BACK_OFF.max(config.expire))
}

/// Why the copy of the data is not fresh enough.
fn too_late(config: &TicketConfig, readiness: &Readiness) -> Option<String> {
    let rule = config.lag.as_ref()?;
    let Some(lag) = readiness.lag else {
        return Some("how far its data is behind is not known".to_owned());
    };
    let (behind, at_most) = (lag.as_secs_f64(), rule.at_most.as_secs_f64());
    (lag > rule.at_most).then(|| format!("its data is {behind:.1} s behind, and at most {at_most:.1} s are allowed"))
}

//! Requests: from whoever asked, through the member he asked, to the coordinator, and the answers back.
//!
//! The member that was asked repeats the request until it has the last answer, to whoever coordinates by then. So a request
//! may reach two coordinators. What is done for one is written down with its number, so that the second coordinator knows that
//! it was done, or begun, and does not do it once more after others have asked for something else.

use crate::attribute::check_group_attribute_name;
use crate::config::{Group, GroupError, MAX_NAME, MAX_VALUE, MemberId, MemberKind};
use crate::core_types::Effect;
use crate::log::{Author, Command, Entry, Position, RequestId};
use crate::member::{Asked, Member};
use crate::message::Message;
use crate::request::{Outcome, Progress, Refusal, Reply, Request, RequestEnvelope};
use crate::table::{CARRIED_OUT, Cause, Table};
use crate::tend::Purpose;
use hakudo_base::Instant;
use std::time::Duration;

/// How many requests the coordinator works on at the same time.
const MAX_ASKS: usize = 1024;
/// Numbers from here on are those of questions.
const QUESTION: u64 = 1 << 63;
/// How many last answers it remembers.
const MAX_ANSWERED: usize = 256;

/// A request at the coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    request: RequestId,
    /// It may have been carried out by an earlier coordinator.
    again: bool,
    envelope: RequestEnvelope,
    stage: Stage,
    progress: Progress,
}

impl Ask {
    fn author(&self) -> Author {
        Author { who: self.envelope.who.clone(), at: self.envelope.at, request: Some(self.request) }
    }
}

/// An answer that may have been lost.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    request: RequestId,
    reply: Reply,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    New,
    /// An entry is on its way; this is the answer when it is in the table.
    Committing(u64, Outcome),
    /// A site is offered the ticket.
    Granting(MemberId),
    /// The holder is to stop.
    Revoking,
    /// The target is asked whether it could.
    Checking(MemberId),
    /// The ticket is on its way.
    Moving {
        from: MemberId,
        to: MemberId,
        stopped: Option<Instant>,
    },
}

/// What comes of looking at a request.
type Step = Result<Option<Outcome>, Refusal>;

impl Member {
    // ---- at the member that was asked ------------------------------------------------------------------------------

    pub(crate) fn ask(&mut self, id: u64, request: RequestEnvelope) {
        if let Request::TakeOver { members } = &request.request {
            return self.ask_take_over(id, &request, members);
        }
        if request.request == Request::Status && (self.office.is_some() || self.coordinator.is_none()) {
            let status = Outcome::Status(Box::new(self.status(self.now)));
            self.out.push(Effect::Reply { id, reply: Reply::Done(status) });
            return;
        }
        let request = match &request.request {
            Request::Adopt { dry_run } => match self.adopt(*dry_run) {
                Ok(adopted) => RequestEnvelope { request: adopted, ..request },
                Err(reply) => return self.out.push(Effect::Reply { id, reply }),
            },
            _ => request,
        };
        // Questions are not remembered by the group, and take no number from what is.
        let number = if request.request == Request::Status { id | QUESTION } else { self.next_asked };
        self.next_asked += u64::from(number == self.next_asked);
        self.asked.insert(number, Asked { id, request, since: self.now, heard: self.now, sent: None, last: None });
    }

    /// What is to be asked of the group so that it goes by this member's configuration; or the answer, where nothing is.
    fn adopt(&self, dry_run: bool) -> Result<Request, Reply> {
        let Some(agreed) = &self.table.group else {
            // It will agree on the configuration of whoever begins it.
            return Err(Reply::Refused(Refusal::NotBegun));
        };
        let differences = agreed.differences(&self.initial);
        if dry_run || differences.is_empty() {
            return Err(Reply::Done(Outcome::Differences(differences)));
        }
        Ok(Request::Configure { group: Box::new(self.initial.clone()) })
    }

    pub(crate) fn mind_asked(&mut self) {
        let (now, retry) = (self.now, self.retry * 4);
        let patience = self.no_answer_after();
        self.mind_takeovers();
        let coordinator = self.coordinator;
        let mut replies = Vec::new();
        let mut questions = Vec::new();
        let oldest = self.asked.keys().next().copied().unwrap_or_default();
        let waits = |number: u64| number < QUESTION && number >= oldest.saturating_add(CARRIED_OUT as u64);
        let any_waits = self.asked.keys().any(|number| waits(*number));
        self.asked.retain(|number, asked| {
            let id = asked.id;
            // The group might forget the oldest one before it is answered: others wait for it, but not for ever.
            let holds_up = any_waits && *number == oldest && now.since(asked.since) >= patience;
            if waits(*number) && now.since(asked.heard) < patience {
                return true;
            }
            if holds_up || now.since(asked.heard) >= patience {
                let status = asked.request.request == Request::Status;
                replies.push((id, if status { None } else { Some(Reply::Refused(Refusal::NoAnswer)) }));
                return false;
            }
            let Some(coordinator) = coordinator else {
                if asked.last != Some(Progress::NoCoordinator) {
                    asked.last = Some(Progress::NoCoordinator);
                    replies.push((id, Some(Reply::Progress(Progress::NoCoordinator))));
                }
                return true;
            };
            if asked.sent.is_none_or(|(sent, to)| to != coordinator || now.since(sent) >= retry) {
                let again = asked.sent.is_some();
                asked.sent = Some((now, coordinator));
                questions.push(Message::Ask { id: *number, again, request: asked.request.clone() });
            }
            true
        });
        for (id, reply) in replies {
            // Who asks how things are is told what this member knows.
            let reply = reply.unwrap_or_else(|| Reply::Done(Outcome::Status(Box::new(self.status(now)))));
            self.out.push(Effect::Reply { id, reply });
        }
        if let Some(coordinator) = coordinator {
            questions.into_iter().for_each(|question| self.send(coordinator, question));
        }
    }

    pub(crate) fn no_answer_after(&self) -> Duration {
        (self.election_timeout() * 4).max(Duration::from_secs(10))
    }

    pub(crate) fn asked_deadline(&self) -> Option<Instant> {
        let (retry, patience) = (self.retry * 4, self.no_answer_after());
        let moments = self.asked.values().map(|asked| {
            let repeat = asked.sent.map_or(asked.heard + patience, |(sent, _)| sent + retry);
            if self.coordinator.is_some() { repeat.min(asked.heard + patience) } else { asked.heard + patience }
        });
        moments.chain(self.takeovers_deadline()).min()
    }

    pub(crate) fn on_told(&mut self, instance: u64, number: u64, reply: Reply) {
        if instance != self.instance {
            return;
        }
        let Some(asked) = self.asked.get_mut(&number) else { return };
        let id = asked.id;
        asked.heard = self.now;
        match &reply {
            Reply::Progress(progress) if asked.last.as_ref() == Some(progress) => return,
            Reply::Progress(progress) => asked.last = Some(progress.clone()),
            _ => {
                self.asked.remove(&number);
            }
        }
        let reply = match reply {
            Reply::Done(Outcome::Status(status)) => Reply::Done(Outcome::Status(Box::new(self.as_seen_here(*status)))),
            reply => reply,
        };
        self.out.push(Effect::Reply { id, reply });
    }

    // ---- at the coordinator ----------------------------------------------------------------------------------------

    pub(crate) fn on_ask(&mut self, from: MemberId, instance: u64, id: u64, again: bool, envelope: RequestEnvelope) {
        if self.office.is_none() {
            return;
        }
        if envelope.request == Request::Status {
            let reply = Reply::Done(Outcome::Status(Box::new(self.status(self.now))));
            return self.send(from, Message::Told { instance, id, reply });
        }
        let Some(office) = &mut self.office else { return };
        let request = RequestId { from, instance, id };
        let answered = office.answered.iter().find(|answered| answered.request == request);
        let known = office.asks.iter().find(|ask| ask.request == request);
        let reply = match (answered, known) {
            (Some(answered), _) => answered.reply.clone(),
            (None, Some(ask)) => Reply::Progress(ask.progress.clone()),
            (None, None) if office.asks.len() >= MAX_ASKS => return,
            (None, None) => {
                let (stage, progress) = (Stage::New, Progress::Accepted);
                office.asks.push(Ask { request, again, envelope, stage, progress });
                self.tend_now = true;
                return;
            }
        };
        self.send(from, Message::Told { instance, id, reply });
    }

    /// Goes on with all requests.
    pub(crate) fn tend_asks(&mut self) {
        let Some(office) = &mut self.office else { return };
        let asks = std::mem::take(&mut office.asks);
        for mut ask in asks {
            let before = ask.progress.clone();
            let step = self.step(&mut ask);
            let reply = match step {
                Ok(None) => {
                    if ask.progress != before {
                        self.tell(&ask, Reply::Progress(ask.progress.clone()));
                    }
                    if let Some(office) = &mut self.office {
                        office.asks.push(ask);
                    }
                    continue;
                }
                Ok(Some(outcome)) => Reply::Done(outcome),
                Err(refusal) => Reply::Refused(refusal),
            };
            self.answer(&ask, reply);
        }
    }

    fn tell(&mut self, ask: &Ask, reply: Reply) {
        let RequestId { from, instance, id } = ask.request;
        self.send(from, Message::Told { instance, id, reply });
    }

    fn answer(&mut self, ask: &Ask, reply: Reply) {
        if let Some(office) = &mut self.office {
            if office.answered.len() >= MAX_ANSWERED {
                office.answered.remove(0);
            }
            office.answered.push(Answered { request: ask.request, reply: reply.clone() });
        }
        self.tell(ask, reply);
    }

    /// Answers all requests that `which` picks.
    fn answer_those(&mut self, which: impl Fn(&Ask) -> Option<Reply>) {
        let Some(office) = &mut self.office else { return };
        let mut answers = Vec::new();
        office.asks.retain(|ask| match which(ask) {
            Some(reply) => {
                answers.push((ask.clone(), reply));
                false
            }
            None => true,
        });
        for (ask, reply) in answers {
            self.answer(&ask, reply);
        }
    }

    /// An entry is in the table.
    pub(crate) fn committed_ask(&mut self, index: u64, entry: &Entry) {
        self.answer_those(|ask| match &ask.stage {
            Stage::Committing(at, outcome) if *at == index => Some(Reply::Done(outcome.clone())),
            _ => None,
        });
        if let Command::Grant { ticket, site, .. } = &entry.command {
            let generation = Table::generation(Position { term: entry.term, index });
            let granted = Outcome::Granted { site: *site, generation };
            self.answer_those(|ask| {
                let this = ask.stage == Stage::Granting(*site) && ask.envelope.request.ticket() == Some(ticket);
                this.then(|| Reply::Done(granted.clone()))
            });
        }
    }

    /// A site will not take a ticket that somebody asked it to take.
    pub(crate) fn ask_declined(&mut self, ticket: &str, site: MemberId, reason: String) {
        let refusal = Refusal::Declined { ticket: ticket.to_owned(), site, reason };
        self.answer_those(|ask| {
            let this = ask.stage == Stage::Granting(site) || ask.stage == Stage::Checking(site);
            (this && ask.envelope.request.ticket() == Some(ticket)).then(|| Reply::Refused(refusal.clone()))
        });
    }

    /// A dry run has found out that a move would work.
    pub(crate) fn ask_would(&mut self, ticket: &str, to: MemberId) {
        let Some(from) = self.table.tickets.get(ticket).and_then(|t| t.hold.as_ref()).map(|hold| hold.site) else {
            return;
        };
        let steps =
            vec![Progress::Stopping { site: from }, Progress::Stopped { site: from }, Progress::Starting { site: to }];
        self.answer_those(|ask| {
            let dry = matches!(&ask.envelope.request, Request::Move { dry_run: true, .. });
            let this = dry && ask.stage == Stage::Checking(to) && ask.envelope.request.ticket() == Some(ticket);
            this.then(|| Reply::Done(Outcome::Would(steps.clone())))
        });
    }

    /// Who ordered that a ticket goes to a site, for this cause.
    pub(crate) fn ask_author(&self, ticket: &str, site: MemberId, cause: Cause) -> Author {
        let asks = self.office.iter().flat_map(|office| &office.asks);
        let mut of_it = asks.filter(|ask| ask.envelope.request.ticket() == Some(ticket));
        let ordered = |ask: &Ask| match (&ask.stage, &ask.envelope.request) {
            (Stage::Granting(to), Request::Grant { force, .. }) => {
                *to == site && cause == if *force { Cause::Force } else { Cause::Administrator }
            }
            (Stage::Checking(to) | Stage::Moving { to, .. }, Request::Move { dry_run: false, .. }) => {
                *to == site && cause == Cause::Move
            }
            _ => false,
        };
        of_it.find(|ask| ordered(ask)).map(Ask::author).unwrap_or_default()
    }

    fn step(&mut self, ask: &mut Ask) -> Step {
        let request = ask.envelope.request.clone();
        if self.table.group.is_none() {
            // The group has yet to agree on what it is.
            return Ok(None);
        }
        if let Some(name) = request.ticket() {
            if !self.table.tickets.contains_key(name) {
                return Err(Refusal::NoSuchTicket(name.to_owned()));
            }
            if self.is_pending(name) {
                return Ok(None);
            }
        }
        let carried_out = self.table.carried_out(ask.request).filter(|_| ask.stage == Stage::New);
        if let Some(generation) = carried_out.map(|known| known.generation) {
            return self.step_again(ask, &request, generation);
        }
        match &request {
            Request::Grant { ticket, site, force } => self.step_grant(ask, ticket, *site, *force),
            Request::Revoke { ticket, force } => self.step_revoke(ask, ticket, *force),
            Request::Move { ticket, to, dry_run } => self.step_move(ask, ticket, *to, *dry_run),
            _ if ask.stage != Stage::New => Ok(None),
            Request::Standby { ticket, on } => {
                Ok(self.commit(ask, Command::Standby { ticket: ticket.clone(), on: *on }))
            }
            Request::Attribute { ticket, site, name, value } => {
                self.is_site(*site)?;
                let long = value.as_ref().is_some_and(|value| value.len() > MAX_VALUE);
                if name.is_empty() || name.len() > MAX_NAME || long {
                    return Err(Refusal::AttributeSize);
                }
                // What should never have been set can be removed.
                if value.is_some() {
                    check_group_attribute_name(name)?;
                }
                let (ticket, site, name, value) = (ticket.clone(), *site, name.clone(), value.clone());
                Ok(self.commit(ask, Command::Attribute { ticket, site, name, value }))
            }
            Request::Disclaim { site, ticket, on } => {
                self.is_site(*site)?;
                Ok(self.commit(ask, Command::Disclaim { site: *site, ticket: ticket.clone(), on: *on }))
            }
            Request::Observe { site, on } => {
                self.is_site(*site)?;
                Ok(self.commit(ask, Command::Observe { site: *site, on: *on }))
            }
            Request::Configure { group } => self.configure(ask, group),
            Request::Adopt { .. } | Request::TakeOver { .. } | Request::Status => Err(Refusal::TakeOverNotNeeded),
        }
    }

    /// An earlier coordinator has carried it out, or begun to; others may have asked for something else since.
    fn step_again(&mut self, ask: &mut Ask, request: &Request, generation: u64) -> Step {
        match request {
            Request::Grant { site, .. } => Ok(Some(Outcome::Granted { site: *site, generation })),
            Request::Revoke { ticket, force } => {
                let stops = self.table.tickets.get(ticket).filter(|known| !known.wanted);
                if stops.is_none_or(|known| known.grant(generation).is_none()) {
                    return Ok(Some(Outcome::Done));
                }
                self.step_revoke(ask, ticket, *force)
            }
            Request::Move { ticket, to, .. } => {
                let known = self.table.tickets.get(ticket);
                let moving = known.and_then(|known| known.moving.as_ref()).map(|moving| moving.from);
                let from = moving.or(known.and_then(|known| known.hold.as_ref()?.from)).unwrap_or(*to);
                ask.stage = Stage::Moving { from, to: *to, stopped: None };
                self.follow_move(ask, ticket, *to)
            }
            _ => Ok(Some(Outcome::Done)),
        }
    }

    fn commit(&mut self, ask: &mut Ask, command: Command) -> Option<Outcome> {
        let index = self.propose(ask.author(), command);
        ask.stage = Stage::Committing(index, Outcome::Done);
        None
    }

    fn is_site(&self, id: MemberId) -> Result<(), Refusal> {
        match self.group().member(id).map(|member| member.kind) {
            None => Err(Refusal::NoSuchMember(id)),
            Some(MemberKind::Arbitrator) => Err(Refusal::Arbitrator(id)),
            Some(MemberKind::Site) => Ok(()),
        }
    }

    fn step_grant(&mut self, ask: &mut Ask, name: &str, site: MemberId, force: bool) -> Step {
        self.is_site(site)?;
        let Some(ticket) = self.table.tickets.get(name).cloned() else { return Ok(None) };
        let config = self.config(name).cloned();
        let Some(config) = config else { return Err(Refusal::NoSuchTicket(name.to_owned())) };
        if let Some(hold) = &ticket.hold {
            let there = hold.site == site && ticket.may_go_on() && self.may_be_live(hold);
            if there && (ask.again || ask.stage == Stage::Granting(site)) {
                return Ok(Some(Outcome::Granted { site, generation: hold.generation }));
            }
            if !force || there {
                if ticket.may_go_on() && self.is_live(hold) {
                    return Err(Refusal::AlreadyGranted { ticket: name.to_owned(), holder: hold.site });
                }
                match self.free_at(Some(&config), hold) {
                    None if ticket.may_go_on() => {
                        return Err(Refusal::AlreadyGranted { ticket: name.to_owned(), holder: hold.site });
                    }
                    None => {
                        ask.progress = Progress::Stopping { site: hold.site };
                        return Ok(None);
                    }
                    Some(free_at) if self.now < free_at => {
                        if !matches!(ask.progress, Progress::WaitingForBound { .. }) {
                            ask.progress = Progress::WaitingForBound { wait: free_at.since(self.now) };
                        }
                        self.look_again(free_at);
                        return Ok(None);
                    }
                    Some(_) => {}
                }
            }
        }
        if let Some(other) = self.runs_beside(name, site).filter(|_| !force) {
            ask.progress = Progress::Stopping { site: other };
            self.look_again(self.now + self.retry * 4);
            return Ok(None);
        }
        if let Some(reason) = self.why_not_ordered(site, name).filter(|_| !force || !self.is_heard(site)) {
            return Err(Refusal::Declined { ticket: name.to_owned(), site, reason });
        }
        let cause = if force { Cause::Force } else { Cause::Administrator };
        ask.stage = Stage::Granting(site);
        ask.progress = Progress::Checking { site };
        self.offer(name, site, cause, Purpose::Grant);
        Ok(None)
    }

    /// True where the lease was renewed in this office and is running, or has no end.
    fn is_live(&self, hold: &crate::table::Hold) -> bool {
        let backed = self.office.as_ref().is_some_and(|office| office.backed.contains_key(&hold.generation));
        hold.unlimited || backed && self.may_be_live(hold)
    }

    fn step_revoke(&mut self, ask: &mut Ask, name: &str, force: bool) -> Step {
        let Some(ticket) = self.table.tickets.get(name).cloned() else { return Ok(None) };
        let Some(hold) = &ticket.hold else {
            if ticket.wanted {
                return Ok(self.commit(ask, Command::Revoke { ticket: name.to_owned() }));
            }
            return Ok(Some(if ask.stage == Stage::Revoking || ask.again { Outcome::Done } else { Outcome::NotHeld }));
        };
        ask.stage = Stage::Revoking;
        ask.progress = Progress::Stopping { site: hold.site };
        if ticket.wanted || ticket.moving.is_some() {
            self.propose(ask.author(), Command::Revoke { ticket: name.to_owned() });
        }
        if force {
            self.propose(ask.author(), Command::Freed { ticket: name.to_owned(), generation: hold.generation });
        }
        Ok(None)
    }

    fn step_move(&mut self, ask: &mut Ask, name: &str, to: MemberId, dry_run: bool) -> Step {
        self.is_site(to)?;
        let Some(ticket) = self.table.tickets.get(name).cloned() else { return Ok(None) };
        match ask.stage.clone() {
            Stage::New => match (&ticket.hold, &ticket.moving) {
                (_, Some(moving)) if moving.to == to && ask.again && !dry_run => {
                    ask.stage = Stage::Moving { from: moving.from, to, stopped: None };
                    self.follow_move(ask, name, to)
                }
                (_, Some(_)) => Err(Refusal::Busy(name.to_owned())),
                (None, None) => Err(Refusal::NotHeld(name.to_owned())),
                (Some(hold), None) if hold.site == to && ask.again && !dry_run => {
                    ask.stage = Stage::Moving { from: hold.from.unwrap_or(to), to, stopped: None };
                    self.follow_move(ask, name, to)
                }
                (Some(hold), None) if hold.site == to => {
                    Err(Refusal::AlreadyThere { ticket: name.to_owned(), site: to })
                }
                (Some(_), None) if !ticket.wanted => Err(Refusal::Busy(name.to_owned())),
                (Some(hold), None) => {
                    if let Some(reason) = self.why_not_ordered(to, name) {
                        return Err(Refusal::Declined { ticket: name.to_owned(), site: to, reason });
                    }
                    if let Some(refusal) = self.cannot_leave(name, hold, Some(to)) {
                        return Err(refusal);
                    }
                    ask.stage = Stage::Checking(to);
                    ask.progress = Progress::Checking { site: to };
                    self.offer(name, to, Cause::Move, if dry_run { Purpose::DryRun } else { Purpose::Move });
                    Ok(None)
                }
            },
            Stage::Checking(_) => {
                if let Some(moving) = ticket.moving.as_ref().filter(|_| !dry_run) {
                    ask.stage = Stage::Moving { from: moving.from, to, stopped: None };
                    return self.follow_move(ask, name, to);
                }
                match &ticket.hold {
                    Some(hold) if ticket.wanted => {
                        if let Some(refusal) = self.cannot_leave(name, hold, Some(to)) {
                            return Err(refusal);
                        }
                        self.offer(name, to, Cause::Move, if dry_run { Purpose::DryRun } else { Purpose::Move });
                        Ok(None)
                    }
                    _ => Err(Refusal::NotHeld(name.to_owned())),
                }
            }
            _ => self.follow_move(ask, name, to),
        }
    }

    /// Says how far a move has come.
    fn follow_move(&mut self, ask: &mut Ask, name: &str, to: MemberId) -> Step {
        let Stage::Moving { from, stopped, .. } = ask.stage.clone() else { return Ok(None) };
        let Some(ticket) = self.table.tickets.get(name).cloned() else { return Ok(None) };
        let now = self.now;
        match &ticket.hold {
            None if !ticket.wanted => return Err(Refusal::GivenUp("the ticket was revoked on its way".to_owned())),
            None => {
                let at = self.duty(name).and_then(|duty| duty.stopped_at).unwrap_or(now);
                ask.stage = Stage::Moving { from, to, stopped: Some(stopped.unwrap_or(at)) };
                ask.progress = Progress::Stopped { site: from };
                if let Some(offered) = self.duty(name).and_then(|duty| duty.offered.as_ref())
                    && offered.site == from
                {
                    let reason = format!("member {to} did not take it");
                    ask.progress = Progress::RollingBack { to: from, reason };
                }
            }
            Some(hold) if hold.site == to && ticket.moving.is_none() => {
                ask.progress = Progress::Starting { site: to };
                if hold.from.is_none() {
                    let interruption = stopped.map(|stopped| now.since(stopped));
                    return Ok(Some(Outcome::Moved { to, interruption }));
                }
            }
            Some(hold) if ticket.moving.is_some() => {
                let rolls_back = hold.site == to;
                ask.progress = if rolls_back {
                    Progress::RollingBack { to: from, reason: format!("it did not start at member {to}") }
                } else {
                    Progress::Stopping { site: hold.site }
                };
            }
            Some(hold) => {
                let reason = format!("member {to} did not take it, or it did not start there");
                return Err(Refusal::RolledBack { ticket: name.to_owned(), site: hold.site, reason });
            }
        }
        Ok(None)
    }

    fn configure(&mut self, ask: &mut Ask, group: &Group) -> Step {
        group.check()?;
        let now = self.group();
        if self.voters_change() {
            return Err(Refusal::ConfigureBusy);
        }
        // Who is added votes only once it was taken in.
        let removed = now.members.iter().filter(|member| group.member(member.id).is_none());
        if removed.filter(|member| self.voters.contains(&member.id)).count() > 1 {
            return Err(Refusal::OneMemberAtATime);
        }
        let stay = self.voters.iter().filter(|voter| group.member(**voter).is_some());
        let (heard, voters) = (stay.clone().filter(|voter| self.is_heard(**voter)).count(), stay.count());
        if voters < self.voters.len() && 2 * heard <= voters && voters > 0 {
            return Err(Refusal::TooFewLeft { heard, voters });
        }
        for (name, ticket) in &self.table.tickets {
            let parties = ticket.hold.iter().map(|hold| hold.site).chain(ticket.moving.iter().map(|moving| moving.to));
            if let Some(site) = parties.into_iter().find(|site| !group.is_site(*site)) {
                return Err(Refusal::HolderRemoved { site, ticket: name.clone() });
            }
        }
        if !group.members.iter().any(|member| self.voters.contains(&member.id)) {
            return Err(Refusal::Group(GroupError::MemberCount(0)));
        }
        let mut group = group.clone();
        group.version = now.version + 1;
        if group.digest() == now.digest() && self.table.group.is_some() {
            return Ok(Some(Outcome::Done));
        }
        Ok(self.commit(ask, Command::Configure(Box::new(group))))
    }
}

//! View changes: from one view to the next in two round trips.
//!
//! The coordinator of a plan (see the detector) gives the new view its id and *proposes* it. A node that computed the same
//! plan *promises* to follow: it freezes the order of its view, and answers with what it has of it (the *flush*). When all
//! have answered, the coordinator tells all what everybody has (the *install*): each node fetches what it misses of its old
//! view from a member that has it, delivers it, and is in the new view. So those who come from the same view have delivered
//! the same messages, and the old view ends at the same item for all of them.
//!
//! Proposals are ordered by their ids, and a node follows the highest it was asked to. A proposal whose coordinator dies, or
//! whose members change, is replaced by a higher one; a frozen node never thaws by itself. Any node's promise is in its
//! heartbeats, so a coordinator sees who is frozen and for what, and proposes until all are in the same view and quiet.
//!
//! Ids never repeat: the epoch is above every epoch that any member heard of, and each node writes a bound of the epochs it
//! used to disk before it uses one.

use super::Engine;
use crate::core_types::{Effect, Event, Undelivered};
use crate::detector::{Plan, Standing};
use crate::order::Order;
use crate::quorum::Report;
use crate::view::{View, ViewId};
use crate::wire::{Batch, Flush, Install, Joined, Kind, Message, Run, ViewMessage};
use hakudo_base::{Instant, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time until a question of a view change is asked again.
const REPEAT_AFTER: Duration = Duration::from_millis(20);
/// How many epochs are written to disk ahead of use. Once fewer than half of them are left, the next ones are.
pub(super) const EPOCHS_AHEAD: u64 = 64;
/// A plan that tears apart who still hear each other must stand for this many heartbeats.
const SETTLING_HEARTBEATS: u32 = 3;

/// What this node proposes.
#[derive(Debug)]
pub(super) struct Proposal {
    id: ViewId,
    members: Vec<Run>,
    flushes: BTreeMap<NodeId, Flush>,
    install: Option<Install>,
    repeat_at: Instant,
}

impl Proposal {
    pub(super) fn deadline(&self) -> Instant {
        self.repeat_at
    }
}

/// A view that will be installed as soon as the last items of the old one are here.
#[derive(Debug)]
pub(super) struct Pending {
    install: Install,
    /// The item with which the old view ends.
    last: u64,
    holders: Vec<NodeId>,
    asked: usize,
    repeat_at: Instant,
}

impl Pending {
    pub(super) fn deadline(&self) -> Instant {
        self.repeat_at
    }
}

impl Engine {
    pub(super) fn consider_change(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_leaving() {
            (self.proposal, self.pending, self.change_at) = (None, None, None);
            return;
        }
        self.repeat_questions(now, effects);
        if !self.plan_is_due && self.change_deadline().is_none_or(|at| now < at) {
            return;
        }
        self.plan_is_due = false;
        self.reserve_epochs(effects);
        let plan = self.detector.plan(now, self.standing());
        if self.plan.as_ref().is_none_or(|(old, _)| *old != plan) {
            self.plan = Some((plan.clone(), now));
        }
        self.forget_finished_proposal();
        let is_wanted = !self.waits_for_coordinator(now) && self.change_is_wanted(&plan);
        self.change_at = if is_wanted { self.not_before(&plan) } else { None };
        if is_wanted && self.change_at.is_none_or(|at| now >= at) {
            self.change_at = None;
            self.propose(now, plan.members, effects);
        }
    }

    /// When a change that is wanted may begin.
    pub(super) fn change_deadline(&self) -> Option<Instant> {
        self.change_at
    }

    fn change_is_wanted(&mut self, plan: &Plan) -> bool {
        if plan.coordinator != self.config.local || self.leader_is_only_late() {
            self.proposal = self.proposal.take().filter(|proposal| proposal.install.is_some());
            return false;
        }
        let others = plan.members.iter().filter(|run| run.node != self.config.local);
        let standings: Vec<_> = others.map(|run| self.detector.standing_of(run.node)).collect();
        if let Some(proposal) = &self.proposal {
            let overtaken = standings.iter().flatten().any(|standing| standing.promised > proposal.id);
            return proposal.members != plan.members || overtaken || self.promised != proposal.id;
        }
        let Some(view) = &self.view else { return true };
        let is_quiet = |standing: &Option<Standing>| {
            standing.is_some_and(|standing| standing.view == view.id && standing.promised == view.id)
        };
        let decision = self.quorum.decision();
        let quiet = self.promised == view.id && self.runs == plan.members && standings.iter().all(is_quiet);
        if quiet {
            self.old_order = None;
        }
        !quiet || (decision.quorate, decision.exclusive) != (view.quorate, view.exclusive)
    }

    /// The leader of this view lives, as all its members do, and just did not say yet that it is in it: what is to be done
    /// is its matter.
    fn leader_is_only_late(&self) -> bool {
        let Some(view) = &self.view else { return false };
        let leader = view.leader();
        // It waits for the last items of its old view, which may be lost with a member that is lost.
        let mut others = self.runs.iter().filter(|run| run.node != self.config.local);
        let lives = others.all(|run| self.detector.living_run(run.node) == Some(*run));
        let is_late = |said: Standing| said.view < view.id && said.promised <= view.id;
        lives && leader != self.config.local && self.detector.standing_of(leader).is_none_or(is_late)
    }

    /// This node promised to follow a living coordinator a moment ago: it would not help to propose something else.
    fn waits_for_coordinator(&self, now: Instant) -> bool {
        let coordinator = NodeId(self.promised.leader);
        let is_waiting = self.promised > self.view_id() && coordinator != self.config.local;
        is_waiting && now < self.promised_at + REPEAT_AFTER * 5 && self.detector.living_run(coordinator).is_some()
    }

    /// The time before which a plan is not carried out, if there is one.
    fn not_before(&self, plan: &Plan) -> Option<Instant> {
        let (_, since) = self.plan.as_ref()?;
        let started = self.started?;
        if plan.newborn && plan.members.len() < self.config.nodes.len() {
            Some(started + self.config.dead_after)
        } else if plan.disruptive {
            Some(*since + self.config.heartbeat * SETTLING_HEARTBEATS)
        } else {
            None
        }
    }

    /// A proposal is over when everybody who lives has installed it, or follows another one.
    fn forget_finished_proposal(&mut self) {
        let Some(proposal) = self.proposal.as_ref().filter(|proposal| proposal.install.is_some()) else { return };
        if self.view_id() >= proposal.id && self.still_to_install(proposal).next().is_none() {
            self.proposal = None;
        }
    }

    fn still_to_install<'a>(&'a self, proposal: &'a Proposal) -> impl Iterator<Item = NodeId> + 'a {
        let local = self.config.local;
        proposal
            .members
            .iter()
            .filter(move |run| run.node != local && self.detector.living_run(run.node) == Some(**run))
            .filter_map(|run| {
                let standing = self.detector.standing_of(run.node);
                let done = standing.is_some_and(|said| said.view >= proposal.id || said.promised > proposal.id);
                (!done).then_some(run.node)
            })
    }

    // ---------------------------------------------------------------- proposing

    fn propose(&mut self, now: Instant, members: Vec<Run>, effects: &mut Vec<Effect>) {
        let epoch = self.newest_epoch().saturating_add(1);
        let id = ViewId { epoch, leader: self.config.local.0 };
        self.secure_epoch(epoch, effects);
        self.follow(now, id);
        let flushes = BTreeMap::from([(self.config.local, self.flush())]);
        self.proposal = Some(Proposal { id, members, flushes, install: None, repeat_at: now });
        self.repeat_proposal(now, effects);
        self.conclude_if_complete(now, effects);
    }

    /// The newest epoch that anybody spoke of, this node among them.
    fn newest_epoch(&self) -> u64 {
        self.detector.newest_epoch().max(self.promised.epoch).max(self.view_id().epoch)
    }

    /// Has the next epochs written to disk while enough are left, so that no view change waits for it. Who was started anew
    /// speaks of the last of its own: all others have to have more, and hear of it before it is a member.
    fn reserve_epochs(&mut self, effects: &mut Vec<Effect>) {
        let newest = self.newest_epoch();
        if newest.saturating_add(EPOCHS_AHEAD / 2) > self.persisted.epoch_limit {
            self.persisted.epoch_limit = newest.saturating_add(EPOCHS_AHEAD);
            effects.push(Effect::Reserve(self.persisted.clone()));
        }
    }

    /// Writes to disk that epochs up to this one may be used, unless that was done. The disk is waited for only where it did
    /// not keep up with what was to be reserved.
    fn secure_epoch(&mut self, epoch: u64, effects: &mut Vec<Effect>) {
        if epoch > self.secured {
            self.persisted.epoch_limit = self.persisted.epoch_limit.max(epoch.saturating_add(EPOCHS_AHEAD));
            self.persist(effects);
        }
    }

    /// Promises to follow a proposal: the order of the current view ends here, as far as this node is concerned.
    fn follow(&mut self, now: Instant, id: ViewId) {
        self.promised = id;
        self.promised_at = now;
        self.pending = None;
        self.stash.clear();
        if let Some(order) = &mut self.order {
            order.freeze();
        }
    }

    fn flush(&self) -> Flush {
        let members = |node: &NodeId| self.runs.iter().any(|run| run.node == *node);
        Flush {
            previous: self.view.as_ref().map(|view| view.id),
            received: self.order.as_ref().map_or(0, Order::received),
            delivered: self
                .delivered
                .iter()
                .map(|(node, (boot, number))| (Run { node: *node, boot: *boot }, *number))
                .collect(),
            report: self.quorum.report(),
            leaving: self.detector.leaving().into_iter().filter(members).collect(),
        }
    }

    fn repeat_questions(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.proposal.as_ref().is_some_and(|proposal| now >= proposal.repeat_at) {
            self.repeat_proposal(now, effects);
            self.plan_is_due = true;
        }
        if self.pending.as_ref().is_some_and(|pending| now >= pending.repeat_at) {
            self.fetch(now, effects);
        }
    }

    fn repeat_proposal(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(proposal) = &mut self.proposal else { return };
        proposal.repeat_at = now + REPEAT_AFTER;
        let Some(proposal) = &self.proposal else { return };
        let (message, to): (_, Vec<NodeId>) = match &proposal.install {
            Some(install) => (ViewMessage::Install(install.clone()), self.still_to_install(proposal).collect()),
            None => {
                let members = proposal.members.clone();
                let silent = members.iter().map(|run| run.node).filter(|node| !proposal.flushes.contains_key(node));
                let silent = silent.collect();
                (ViewMessage::Propose { id: proposal.id, members }, silent)
            }
        };
        for node in to {
            self.send_view_message(node, &message, effects);
        }
    }

    /// A member that has not answered yet learned something: it may agree now.
    pub(super) fn hurry_proposal(&mut self, now: Instant, from: NodeId, changed: bool) {
        if let Some(proposal) = &mut self.proposal
            && changed
            && proposal.install.is_none()
            && !proposal.flushes.contains_key(&from)
        {
            proposal.repeat_at = proposal.repeat_at.min(now);
        }
    }

    fn send_view_message(&mut self, to: NodeId, message: &ViewMessage, effects: &mut Vec<Effect>) {
        let links = self.detector.links(to);
        for part in message.parts() {
            let message = Message::Part(part);
            for link in &links {
                self.send_on(to, *link, &message, effects);
            }
        }
    }

    fn conclude_if_complete(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(proposal) = self.proposal.as_mut() else { return };
        let flushes = &proposal.flushes;
        if proposal.install.is_some() || proposal.members.iter().any(|run| !flushes.contains_key(&run.node)) {
            return;
        }
        let joined = proposal.members.iter().filter_map(|run| {
            let flush = flushes.get(&run.node)?;
            let (previous, received, report) = (flush.previous, flush.received, flush.report.clone());
            Some(Joined { run: *run, previous, received, report })
        });
        let last_of = |run: &Run| {
            let said = flushes.values().flat_map(|flush| &flush.delivered);
            said.filter(|(of, _)| of == run).map(|(_, number)| *number).max().map(|number| (*run, number))
        };
        let mut leaving: Vec<NodeId> = flushes.values().flat_map(|flush| flush.leaving.iter().copied()).collect();
        leaving.sort();
        leaving.dedup();
        let install = Install {
            id: proposal.id,
            members: joined.collect(),
            delivered: proposal.members.iter().filter_map(last_of).collect(),
            leaving,
        };
        proposal.install = Some(install.clone());
        self.repeat_proposal(now, effects);
        self.take_install(now, install, effects);
    }

    // ---------------------------------------------------------------- following

    pub(super) fn take_view_message(
        &mut self,
        now: Instant,
        from: NodeId,
        message: ViewMessage,
        effects: &mut Vec<Effect>,
    ) {
        self.plan_is_due = true;
        match message {
            ViewMessage::Propose { id, members } => self.take_proposal(now, from, id, members, effects),
            ViewMessage::Flush { id, flush } => {
                let expected = |proposal: &&mut Proposal| {
                    proposal.id == id
                        && proposal.install.is_none()
                        && proposal.members.iter().any(|run| run.node == from)
                };
                if let Some(proposal) = self.proposal.as_mut().filter(expected) {
                    proposal.flushes.insert(from, flush);
                    self.conclude_if_complete(now, effects);
                }
            }
            ViewMessage::Install(install) => {
                if install.id.leader == from.0 {
                    self.take_install(now, install, effects);
                }
            }
        }
    }

    fn take_proposal(&mut self, now: Instant, from: NodeId, id: ViewId, members: Vec<Run>, effects: &mut Vec<Effect>) {
        if self.is_leaving() || id.leader != from.0 {
            return;
        }
        if id > self.promised {
            let plan = self.detector.plan(now, self.standing());
            if plan.members != members {
                // What this node knows differs: say what it is.
                self.answer_with_heartbeat(from);
                return;
            }
            self.proposal = None;
            self.follow(now, id);
        }
        if id == self.promised && self.view_id() < id && self.pending.is_none() {
            let flush = ViewMessage::Flush { id, flush: self.flush() };
            self.send_view_message(from, &flush, effects);
        } else {
            self.answer_with_heartbeat(from);
        }
    }

    fn answer_with_heartbeat(&mut self, to: NodeId) {
        let links = self.detector.links(to);
        self.answers_due.extend(links.into_iter().map(|link| (to, link)));
    }

    fn take_install(&mut self, now: Instant, install: Install, effects: &mut Vec<Effect>) {
        let local = self.local();
        let is_ours = install.id == self.promised && self.view_id() < install.id;
        let Some(mine) = install.members.iter().find(|joined| joined.run == local).filter(|_| is_ours) else {
            if self.view_id() == install.id {
                self.answer_with_heartbeat(NodeId(install.id.leader));
            }
            return;
        };
        if self.pending.is_some() {
            return;
        }
        let group =
            || install.members.iter().filter(|joined| joined.previous.is_some() && joined.previous == mine.previous);
        let last = group().map(|joined| joined.received).max().unwrap_or(0);
        if self.order.as_ref().map_or(0, Order::received) >= last {
            self.install(now, install, effects);
            return;
        }
        let holders = group().filter(|joined| joined.received == last).map(|joined| joined.run.node).collect();
        self.pending = Some(Pending { install, last, holders, asked: 0, repeat_at: now });
        self.fetch(now, effects);
    }

    /// Asks one of those who have it for what is missing of the old view.
    fn fetch(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (Some(pending), Some(order)) = (&mut self.pending, &self.order) else { return };
        pending.repeat_at = now + REPEAT_AFTER;
        let holder = pending.holders.get(pending.asked % pending.holders.len().max(1)).copied();
        pending.asked += 1;
        let message = Message::Fetch { view: order.view(), first: order.received() + 1, last: pending.last };
        for link in holder.map(|holder| self.detector.links(holder)).unwrap_or_default() {
            if let Some(holder) = holder {
                self.send_on(holder, link, &message, effects);
            }
        }
    }

    pub(super) fn take_fetched(&mut self, now: Instant, batch: Batch, effects: &mut Vec<Effect>) {
        let (Some(pending), Some(order)) = (&self.pending, &mut self.order) else { return };
        let before = order.received();
        order.take_fetched(batch, pending.last);
        if order.received() >= pending.last {
            if let Some(pending) = self.pending.take() {
                self.install(now, pending.install, effects);
            }
        } else if order.received() / 1024 > before / 1024 {
            self.fetch(now, effects);
        }
    }

    // ---------------------------------------------------------------- installing

    fn install(&mut self, now: Instant, install: Install, effects: &mut Vec<Effect>) {
        self.feed_and_deliver(now, effects);
        let local = self.local();
        self.settle_own_broadcasts(&install, effects);
        self.secure_epoch(install.id.epoch, effects);

        let previous = self.view.take();
        let before = self.quorum.decision();
        let reports: BTreeMap<NodeId, Report> =
            install.members.iter().map(|joined| (joined.run.node, joined.report.clone())).collect();
        self.quorum.members_changed(now, &reports, &install.leaving);
        self.persist_if_changed(effects);
        let decision = self.quorum.decision();
        if decision != before {
            effects.push(Effect::Event(Event::Quorum { decision: decision.clone() }));
        }

        let previous_id = previous.as_ref().map(|view| view.id);
        let came_along =
            |joined: &&Joined| joined.run == local || previous_id.is_some() && joined.previous == previous_id;
        let members: Vec<NodeId> = install.members.iter().map(|joined| joined.run.node).collect();
        let were_here = previous.map(|view| view.members).unwrap_or_default();
        let left = |node: &NodeId| were_here.contains(node) && !members.contains(node);
        let view = View {
            id: install.id,
            together: install.members.iter().filter(came_along).map(|joined| joined.run.node).collect(),
            left: install.leaving.iter().copied().filter(left).collect(),
            members,
            quorate: decision.quorate,
            exclusive: decision.exclusive,
        };
        self.runs = install.members.iter().map(|joined| joined.run).collect();
        self.old_order = self.order.take();
        let mut order = Order::new(view.id, local.node, view.members.iter().copied());
        for node in &view.members {
            order.set_round_trip(*node, self.detector.round_trip(*node), self.detector.patience(*node));
        }
        self.order = Some(order);
        self.cursor = (0, 0);
        effects.push(Effect::View(view.clone()));
        self.view = Some(view);
        self.plan_is_due = true;
        self.announce(now);

        for (from, message) in std::mem::take(&mut self.stash) {
            self.take_message(now, from, 0, message, effects);
        }
    }

    /// Broadcasts of this node that others were delivered in a view that this node lost are not said again.
    fn settle_own_broadcasts(&mut self, install: &Install, effects: &mut Vec<Effect>) {
        let local = self.local();
        for (run, number) in &install.delivered {
            if *run == local {
                for outbound in self.drop_outbox_up_to(*number) {
                    if outbound.kind == Kind::User {
                        let (payload, reason) = (outbound.payload, Undelivered::Elsewhere);
                        effects.push(Effect::Undelivered { payload, reason });
                    }
                }
            }
            match self.delivered.get_mut(&run.node) {
                Some((boot, known)) if *boot == run.boot => *known = (*known).max(*number),
                _ => {
                    self.delivered.insert(run.node, (run.boot, *number));
                }
            }
        }
    }
}

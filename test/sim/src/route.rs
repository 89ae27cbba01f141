//! What passes between the cores of a node, in exactly the order of the daemon: effects are carried out one after the
//! other, and what they mean for the other core of the node is queued behind what is already waiting for it.

use crate::check::{Order as Orders, Resting, Rule, changes, possible};
use crate::executor::Order;
use crate::machine::{CoreInput, Process};
use crate::mutation::{Mutation, wrong};
use crate::world::{Happening, World};
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_controller::{Effect as ControllerEffect, Input as ControllerInput};
use hakudo_membership::{Delivered, Effect as MembershipEffect, Input as MembershipInput, Undelivered, View, ViewId};
use hakudo_scheduler::Transition;
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

impl World {
    pub(crate) fn feed_core(&mut self, node: usize, input: CoreInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let run = self.machines[node].run;
            let Some(mut process) = self.machines[node].process.take() else { return };
            if process.paused_until.is_some() {
                process.held.push(input);
                self.machines[node].process = Some(process);
                continue;
            }
            let local = self.machines[node].monotonic(self.now);
            let outcome = match input {
                CoreInput::Membership(input) => {
                    let mut effects = Vec::new();
                    let result = catch_unwind(AssertUnwindSafe(|| process.engine.handle(local, input, &mut effects)));
                    self.machines[node].process = Some(process);
                    result.map(|()| self.carry_out_membership(node, run, effects, &mut inputs))
                }
                CoreInput::Controller(input) => {
                    let mut effects = Vec::new();
                    let replicated = note_applied(&mut process, &input);
                    let panics = self.mutation == Some(Mutation::CorePanics) && self.random.below(500) == 0;
                    let handle = || {
                        assert!(!panics, "a mutation");
                        process.controller.handle(local, *input, &mut effects);
                    };
                    let result = catch_unwind(AssertUnwindSafe(handle));
                    self.machines[node].process = Some(process);
                    result.map(|()| {
                        if replicated {
                            self.compare_document(node);
                        }
                        self.carry_out_controller(node, run, effects, &mut inputs);
                    })
                }
            };
            if let Err(panic) = outcome {
                self.fail(Rule::NoPanic, format!("n{}: {}", node + 1, panic_text(&*panic)));
                return;
            }
            if self.machines[node].run != run || self.violation.is_some() {
                return;
            }
        }
        if self.process(node).is_some_and(|process| process.left) {
            self.say(|| format!("n{} has left", node + 1));
            self.sites.reach("node left cleanly");
            self.end_process(node);
        }
    }

    pub(crate) fn process(&self, node: usize) -> Option<&Process> {
        self.machines[node].process.as_ref()
    }

    fn carry_out_membership(
        &mut self,
        node: usize,
        run: u64,
        effects: Vec<MembershipEffect>,
        inputs: &mut VecDeque<CoreInput>,
    ) {
        for effect in self.mutate_order(effects) {
            if self.machines[node].run != run {
                return;
            }
            match effect {
                MembershipEffect::Transmit { to, link, bytes } => self.transmit(node, to.0 as usize - 1, link, bytes),
                MembershipEffect::Persist(epochs) => {
                    if !self.persist_epochs(node, epochs) {
                        return;
                    }
                }
                MembershipEffect::Reserve(epochs) if self.mutation == Some(Mutation::ReserveLies) => {
                    inputs.push_back(MembershipInput::Reserved(epochs.epoch_limit).into());
                }
                MembershipEffect::Reserve(epochs) => {
                    let took = Duration::from_millis(2 + self.machines[node].configuration.slow_ms);
                    self.queue.push(self.now + took, Happening::Reserved { node, run, epochs });
                }
                MembershipEffect::View(view) => self.view(node, view, inputs),
                MembershipEffect::Deliver(message) => {
                    let verdict = self.checks.order.delivered(node, &message);
                    self.judge(verdict);
                    let message = self.mutate_message(node, message);
                    inputs.push_back(ControllerInput::Deliver(message).into());
                }
                MembershipEffect::Undelivered { payload, reason } => {
                    self.sites.reach("broadcast not delivered");
                    self.say(|| format!("n{} is not heard: {} bytes ({reason:?})", node + 1, payload.len()));
                    // Where the view was lost, the next one tells the controller all that can be known.
                    if reason == Undelivered::QueueFull {
                        inputs.push_back(ControllerInput::Undelivered.into());
                    }
                }
                MembershipEffect::Event(event) => self.say(|| format!("n{} membership: {event}", node + 1)),
                MembershipEffect::Left => {
                    if let Some(process) = &mut self.machines[node].process {
                        process.left = true;
                    }
                }
            }
        }
    }

    fn transmit(&mut self, node: usize, to: usize, link: u8, bytes: Vec<u8>) {
        if to >= self.machines.len() {
            return;
        }
        if self.random.below(50) == 0 && !bytes.is_empty() {
            self.overheard.push((to, link, bytes.clone()));
            if self.overheard.len() > 64 {
                let drop = self.random.below(64) as usize;
                self.overheard.swap_remove(drop);
            }
        }
        let arrivals: Vec<Duration> = self.network.travel(node, to, link).collect();
        for delay in arrivals {
            self.queue.push(self.now + delay, Happening::Packet { to, link, bytes: bytes.clone() });
        }
    }

    fn view(&mut self, node: usize, mut view: View, inputs: &mut VecDeque<CoreInput>) {
        if self.mutation == Some(Mutation::QuorumClaimed) {
            (view.quorate, view.exclusive) = (true, true);
        }
        self.say(|| {
            let members: Vec<String> = view.members.iter().map(|id| format!("n{id}")).collect();
            let quorate = if view.quorate { "quorate" } else { "not quorate" };
            let exclusive = if view.exclusive { "" } else { ", not exclusive" };
            format!(
                "n{} view {}.{}: {} ({quorate}{exclusive})",
                node + 1,
                view.id.epoch,
                view.id.leader,
                members.join(" ")
            )
        });
        self.sites.reach("view installed");
        if !view.left.is_empty() {
            self.sites.reach("view after a clean leave");
        }
        let own = self.machines[node].id;
        self.judge(Orders::reserved(node, view.id.epoch, self.machines[node].epochs.epoch_limit));
        let former = self.checks.order.view_of(node).map(|view| view.members.clone()).unwrap_or_default();
        let verdict = self.checks.order.installed(node, own, &view);
        self.judge(verdict);
        self.checks.sides.enters(node, view.quorate);
        self.checks.plans.disturb();
        match self.mutation {
            Some(Mutation::EveryoneLeads) => view.id.leader = own.0,
            Some(Mutation::LossCalledLeave) => {
                view.left.extend(former.into_iter().filter(|id| !view.members.contains(id)));
            }
            _ => {}
        }
        inputs.push_back(ControllerInput::View(view).into());
    }

    fn mutate_order(&mut self, mut effects: Vec<MembershipEffect>) -> Vec<MembershipEffect> {
        let is_message = |effect: &MembershipEffect| matches!(effect, MembershipEffect::Deliver(_));
        if self.mutation == Some(Mutation::OrderSwapped)
            && let Some(at) = effects.windows(2).position(|pair| pair.iter().all(is_message))
        {
            effects.swap(at, at + 1);
        }
        effects
    }

    /// What a wrong membership or a wrong controller would make of a message.
    fn mutate_message(&mut self, node: usize, mut message: Delivered) -> Delivered {
        match self.mutation {
            Some(Mutation::MessageBent) if node == 0 && self.random.percent(2) => message.payload.clear(),
            Some(Mutation::ReplicaDiverges) if node == 0 => {
                let notes: Vec<usize> =
                    message.payload.windows(5).enumerate().filter(|(_, w)| *w == b"note-").map(|(at, _)| at).collect();
                notes.into_iter().for_each(|at| message.payload[at + 2] = b's');
            }
            Some(Mutation::EveryoneLeads) => {
                // A message begins with the view in which it was said.
                let epoch = self.checks.order.view_of(node).map_or(0, |view| view.id.epoch);
                let named = |leader: u32| postcard::to_stdvec(&ViewId { epoch, leader }).unwrap_or_default();
                if let Some(rest) = message.payload.strip_prefix(&*named(message.from.0)) {
                    message.payload = [&*named(self.machines[node].id.0), rest].concat();
                }
            }
            _ => {}
        }
        message
    }

    fn carry_out_controller(
        &mut self,
        node: usize,
        run: u64,
        effects: Vec<ControllerEffect>,
        inputs: &mut VecDeque<CoreInput>,
    ) {
        for effect in effects {
            if self.machines[node].run != run {
                return;
            }
            match effect {
                ControllerEffect::Broadcast(payload) => inputs.push_back(MembershipInput::Broadcast(payload).into()),
                ControllerEffect::Fenced(id) => inputs.push_back(MembershipInput::Fenced(id).into()),
                ControllerEffect::Leave => {
                    self.checks.sides.leaves(node);
                    inputs.push_back(MembershipInput::Leave.into());
                }
                ControllerEffect::Persist { token, state } => {
                    self.sites.reach("configuration written");
                    let mut at = self.machines[node].configuration.write(self.now, state, &mut self.random);
                    if self.mutation == Some(Mutation::DiskLies) {
                        at += Duration::from_secs(5);
                        inputs.push_back(ControllerInput::Persisted { token, result: Ok(()) }.into());
                    }
                    self.queue.push(at, Happening::Written { node, run, token });
                }
                ControllerEffect::StopAtOnce { .. } => {
                    self.say(|| {
                        format!("n{} hears of its own fencing; its process ends and is started again", node + 1)
                    });
                    self.end_process(node);
                    self.start_process(node);
                }
                ControllerEffect::KeepAside { configuration, reason } => {
                    self.sites.reach("configuration kept aside");
                    self.checks.edits.aside(crate::cib::notes(&configuration));
                    self.say(|| format!("n{} keeps a configuration aside: {reason}", node + 1));
                }
                ControllerEffect::Execute { call, note } => self.order(node, Order::Execute(call, note)),
                ControllerEffect::Cancel { call, epoch } => self.order(node, Order::Cancel { call, epoch }),
                ControllerEffect::Remember { memory } => self.order(node, Order::Remember(memory)),
                ControllerEffect::Forget { resource } => self.order(node, Order::Forget(resource)),
                ControllerEffect::Plan { token, cib, now } => self.plan(node, run, token, cib, now.time.seconds()),
                ControllerEffect::Reply { client, reply } => self.replied(node, client, *reply),
                ControllerEffect::Tickets(effect) => self.group_effect(node, run, effect),
                ControllerEffect::Guard(order) if self.outside.is_some() => self.order(node, Order::Guard(order)),
                // Without a group nothing is guarded.
                ControllerEffect::Guard(_) => {}
                ControllerEffect::Event(event) => {
                    self.overhear(node, &event);
                    self.say(|| format!("n{} {}: {}", node + 1, event.kind, event.text));
                }
            }
        }
    }

    /// A leader asks the scheduler; the answer takes a while.
    fn plan(&mut self, node: usize, run: u64, token: u64, mut cib: Document, now: i64) {
        let own = self.machines[node].id;
        let verdict = self.checks.order.leads(node, own);
        self.judge(verdict);
        self.sites.reach("plan made");
        let acts_with_quorum = cib.root().attribute("have-quorum") == Some("1");
        let view = self.checks.order.view_of(node).map(|view| (view.id, view.quorate, view.exclusive));
        match view {
            Some((view, true, _)) if acts_with_quorum => {
                self.checks.sides.leads_with_quorum(node);
                let who = format!("n{}, quorate,", node + 1);
                let verdict = self.checks.edits.agreed_in(view, &who, &crate::cib::noted(&cib));
                self.judge(verdict);
            }
            Some((_, true, exclusive)) => {
                self.sites.reach("quorum not used");
                let verdict = self.checks.sides.leads_without_quorum(node, exclusive);
                self.judge(verdict);
            }
            Some((view, false, _)) => self.checks.sides.plans_without_quorum(node, view, &cib),
            None => {}
        }
        match self.mutation {
            Some(Mutation::LimitIgnored) => cib = wrong::allow_two_promoted(&cib),
            Some(Mutation::QuorumAssumed) => cib.root_mut().set("have-quorum", "1"),
            Some(Mutation::QuorumLossForgotten) => drop(cib.root_mut().unset("no-quorum-panic")),
            _ => {}
        }
        if self.only_asks(node, &cib) {
            let result = decide(&cib, now, self.mutation).map(Box::new);
            let at = self.now + Duration::from_micros(self.random.between(200, 8000));
            return self.queue.push(at, Happening::Planned { node, run, token, result });
        }
        self.bend_tickets(&mut cib);
        let on_its_way = cib.root().descendants().any(|element| element.attribute("op-status") == Some("-1"))
            || self.an_executor_forgot_more_than(&cib)
            || self.word_of_a_guard_is_on_its_way();
        if self.trace.is_some() {
            self.snapshots.push((self.now, cib.clone()));
        }
        let mut result = decide(&cib, now, self.mutation);
        if let Err(text) = &result {
            let text = format!("n{}: the scheduler panicked: {text}", node + 1);
            return self.fail(Rule::NoPanic, text);
        }
        match self.mutation {
            Some(Mutation::PlansDropped) => result = Ok(Transition::default()),
            Some(Mutation::PlanNeverDone) => wrong::repeat_the_first_start(&cib, &mut result),
            _ => {}
        }
        if let Ok(plan) = &result {
            self.say(|| describe(node, plan));
            if let Some(view) = self.checks.order.view_of(node).map(|view| view.id) {
                let verdict = self.checks.plans.made(view, now, &cib, plan, self.mutation);
                self.judge(verdict);
                // The end of what is on its way is news to whoever planned without it.
                if on_its_way {
                    self.checks.plans.disturb();
                }
            }
            if !on_its_way && !possible(plan).into_iter().any(changes) {
                self.at_rest(node, &cib);
            }
        }
        let at = self.now + Duration::from_micros(self.random.between(200, 8000));
        self.queue.push(at, Happening::Planned { node, run, token, result: result.map(Box::new) });
    }

    /// The leader of a side wants nothing more.
    fn at_rest(&mut self, leader: usize, cib: &Document) {
        let Some(view) = self.checks.order.view_of(leader).filter(|view| !view.quorate) else { return };
        self.sites.reach("side without quorum at rest");
        // Who is on the way to another view, or without executor, has not heard of all that was wanted.
        let here = |node: &usize| {
            let machine = &self.machines[*node];
            let applied = machine.process.as_ref().and_then(|process| process.applied);
            machine.executor.is_some() && applied.is_some_and(|(id, _)| id == view.id)
        };
        let members = view.members.iter().map(|id| id.0 as usize - 1);
        let side: Vec<(usize, Resting<'_>)> = members
            .filter(here)
            .map(|node| {
                let machine = &self.machines[node];
                (node, Resting { name: &machine.name, services: &machine.services })
            })
            .collect();
        let verdict = self.checks.sides.at_rest(leader, cib, &side);
        self.judge(verdict);
    }

    /// An executor does not remember what stands in the document of its node: the word that it forgot is on its way.
    fn an_executor_forgot_more_than(&self, cib: &Document) -> bool {
        let states = cib.section(&["status"]).into_iter().flat_map(|status| status.children_named("node_state"));
        states.filter(|state| state.attribute("crmd") == Some("online")).any(|state| {
            let machine = self.machines.iter().find(|machine| Some(machine.name.as_str()) == state.attribute("uname"));
            let Some(executor) = machine.and_then(|machine| machine.executor.as_ref()) else { return false };
            let known: BTreeSet<String> = executor.known().into_iter().map(|known| known.call.resource).collect();
            // Fence devices are started and stopped without their executor.
            let agents = state
                .descendants()
                .filter(|element| element.name() == "lrm_resource" && element.attribute("class") != Some("stonith"));
            agents.filter(|agent| agent.children().next().is_some()).any(|agent| !known.contains(agent.id()))
        })
    }

    /// Holds the document of a node against those of the others.
    fn compare_document(&mut self, node: usize) {
        let Some(process) = self.machines[node].process.as_mut() else { return };
        let Some(((view, count), document)) = process.applied.zip(process.controller.document()) else { return };
        let verdict = self.checks.order.holds(node, view, count, &document);
        self.judge(verdict);
    }

    /// Bytes arrive that no member sent: garbage, a cut or bent packet, a packet from before. They may be counted and
    /// reported, and must change nothing else.
    pub(crate) fn forge(&mut self, node: usize) {
        let Some((link, bytes)) = self.forgery(node) else { return };
        let local = self.machines[node].monotonic(self.now);
        let Some(process) = &mut self.machines[node].process else { return };
        // Where something else is due at this very moment, its effects could not be told apart.
        if process.paused_until.is_some() || process.engine.deadline().is_some_and(|deadline| deadline <= local) {
            return;
        }
        let mut effects = Vec::new();
        let before = process.engine.view().cloned();
        let input = MembershipInput::Packet { link, bytes: bytes.clone() };
        let result = catch_unwind(AssertUnwindSafe(|| process.engine.handle(local, input, &mut effects)));
        if let Err(panic) = result {
            return self.fail(Rule::NoPanic, format!("n{}: {} on {bytes:02x?}", node + 1, panic_text(&*panic)));
        }
        let changed = process.engine.view() != before.as_ref();
        if self.mutation == Some(Mutation::ForgedAccepted) {
            let from = self.machines[node].id;
            effects.push(MembershipEffect::Deliver(Delivered { from, payload: bytes.clone() }));
        }
        self.sites.reach("forged packet");
        let harmless = |effect: &MembershipEffect| {
            matches!(effect, MembershipEffect::Event(_) | MembershipEffect::Transmit { .. })
        };
        if changed || !effects.iter().all(harmless) {
            return self.fail(Rule::ForgedChangesNothing, format!("n{}: {effects:?} after {bytes:02x?}", node + 1));
        }
        let mut inputs = VecDeque::new();
        let run = self.machines[node].run;
        self.carry_out_membership(node, run, effects, &mut inputs);
        self.plan_wake(node);
    }

    fn forgery(&mut self, node: usize) -> Option<(u8, Vec<u8>)> {
        let random_bytes = |random: &mut hakudo_base::Random| {
            let length = random.below(300) as usize;
            (0..length).map(|_| random.next_u64() as u8).collect::<Vec<u8>>()
        };
        let kind = self.random.below(4);
        let link = self.random.below(u64::from(self.script.setup.links)) as u8;
        if kind == 0 || self.overheard.is_empty() {
            return Some((link, random_bytes(&mut self.random)));
        }
        let index = self.random.below(self.overheard.len() as u64) as usize;
        let (to, link, mut bytes) = self.overheard[index].clone();
        match kind {
            1 => bytes.truncate(self.random.below(bytes.len() as u64) as usize),
            2 => {
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
            }
            // As it was, once more: for its receiver or, where packets are encrypted, for anyone. The network doubles
            // packets anyway, so this is told apart only where it can never be the first arrival.
            _ if self.script.setup.sealed && to != node => {}
            _ => return None,
        }
        Some((link, bytes))
    }
}

/// Counts what the controller is told of the total order; true where this input is part of it, so that the document may
/// become another one.
fn note_applied(process: &mut Process, input: &ControllerInput) -> bool {
    match input {
        ControllerInput::View(view) => {
            process.applied = Some((view.id, 0));
            process.members.clone_from(&view.members);
        }
        ControllerInput::Deliver(_) => {
            if let Some((_, count)) = &mut process.applied {
                *count += 1;
            }
        }
        _ => return false,
    }
    true
}

/// The scheduler's answer, or what it said when it panicked.
pub(crate) fn decide(cib: &Document, now: i64, mutation: Option<Mutation>) -> Result<Transition, String> {
    let bent = match mutation {
        Some(Mutation::DigestsMistaken) => Some(wrong::with_other_digests(cib)),
        Some(Mutation::NowhereGoodEnough) => Some(wrong::with_every_place_spoilt(cib)),
        _ => None,
    };
    let plan = || hakudo_scheduler::plan(bent.as_ref().unwrap_or(cib), UnixTime::from_seconds(now)).transition;
    let mut result = catch_unwind(AssertUnwindSafe(plan)).map_err(|panic| panic_text(&*panic));
    if let (Some(Mutation::MonitorsLater), Ok(plan)) = (mutation, &mut result) {
        wrong::leave_monitors_for_later(plan);
    }
    result
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}

fn describe(node: usize, plan: &Transition) -> String {
    let keys: Vec<String> = plan
        .synapses
        .iter()
        .filter_map(|synapse| Some(format!("{}@{}", synapse.action.key, synapse.action.node()?.name)))
        .collect();
    if keys.is_empty() {
        format!("n{} plans nothing", node + 1)
    } else {
        format!("n{} plans {}", node + 1, keys.join(" "))
    }
}

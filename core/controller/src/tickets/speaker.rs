//! The speaker: where this cluster's member of the ticket group runs.
//!
//! The member is one state machine ([`hakudo_tickets::Member`]), and the leader of a quorate view that no other side can
//! be beside runs it. What it must not forget is stored at all nodes of the view before it is said to the group, so that
//! the next leader goes on with it. With each view it is made anew: like a member that was restarted, it promises nothing
//! that it does not find stored, and asks the nodes until when the leases last.

use super::gateway::Gateway;
use super::leases::Lease;
use super::voice::Voice;
use crate::command::{Command, TicketWordOrder};
use crate::controller::Controller;
use crate::core_types::{Effect, TicketEffect, TicketInput, TicketSetup};
use crate::request::{Refusal, RefusalKind};
use hakudo_base::{Instant, NodeId};
use hakudo_tickets::booth::engine::Now;
use hakudo_tickets::booth::member::{Told, Wanted};
use hakudo_tickets::{Effect as MemberEffect, Holding, Input as MemberInput, MemberId, RequestEnvelope, TicketWord};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a member waits for.
#[derive(Debug)]
enum Gate {
    /// That this command of ours is delivered, by which all store its state.
    Said(u64),
    /// That all disks hold the configuration with this number.
    Stored(u64),
    /// That all nodes of the view answer this command of ours.
    Confirmed(u64, BTreeSet<NodeId>),
}

#[derive(Default)]
pub(crate) struct Speaker {
    pub(crate) setup: Option<TicketSetup>,
    member: Option<Voice>,
    /// What belongs to booth's protocol alone.
    pub(super) gateway: Gateway,
    gates: VecDeque<(u64, Gate)>,
    /// Requests that the group has not answered: the node and its number of the command.
    asked: BTreeMap<u64, (NodeId, u64)>,
    requests: u64,
    /// Checks that go on, by our number of them: the member's.
    checking: BTreeMap<u64, u64>,
    checks: u64,
    /// What the member said last of each ticket.
    words: BTreeMap<String, TicketWord>,
    /// Which nodes know until when a new grant lasts.
    told: BTreeMap<(String, u64), BTreeSet<NodeId>>,
    /// The member was told that nodes are lost.
    lost: bool,
    pub(crate) outlook: super::outlook::Outlook,
}

impl std::fmt::Debug for Speaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speaker").field("speaks", &self.member.is_some()).finish_non_exhaustive()
    }
}

impl Speaker {
    pub(crate) fn speaks(&self) -> bool {
        self.member.is_some()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.member.as_ref().and_then(Voice::deadline)
    }
}

impl Controller {
    pub(crate) fn tickets(&mut self, input: TicketInput, effects: &mut Vec<Effect>) {
        match input {
            TicketInput::Group(setup) => {
                self.silence(effects);
                self.speaker.setup = setup.map(|setup| *setup);
            }
            TicketInput::Message { bytes, .. } if self.speaks_booth() => self.booth_message(bytes, effects),
            TicketInput::Client { client, bytes } => self.client_asks(client, bytes, effects),
            TicketInput::ClientGone { client } => self.client_went(client, effects),
            TicketInput::Message { from, bytes } => {
                self.tell_member(MemberInput::Received { from: MemberId(from), message: bytes }, effects);
            }
            TicketInput::Checked { check, result } => {
                if let Some(check) = self.speaker.checking.remove(&check) {
                    self.tell_member(MemberInput::Checked { check, result }, effects);
                }
            }
        }
    }

    /// Nothing is said to the group any more, until a new member is made.
    pub(crate) fn silence(&mut self, effects: &mut Vec<Effect>) {
        if self.speaker.member.take().is_some() {
            effects.push(Effect::Tickets(TicketEffect::Speak(false)));
        }
        for (node, number) in std::mem::take(&mut self.speaker.asked).into_values() {
            let reason = "the members of this cluster changed on the way: look whether it was done".to_owned();
            self.say(Command::TicketRefused { node, number, reason });
        }
        self.forget_clients(effects);
        let setup = self.speaker.setup.take();
        let Speaker { requests, checks, .. } = *self.speaker;
        let gateway = std::mem::take(&mut self.speaker.gateway);
        *self.speaker = Speaker { setup, requests, checks, gateway, ..Speaker::default() };
    }

    /// Begins to speak, or ends it, as it is this node's turn or not; and goes on with what was waited for.
    pub(crate) fn tend_speaker(&mut self, effects: &mut Vec<Effect>) {
        let turn = self.leads() && self.synced && self.quorate() && self.is_alone_in_its_right();
        match (&self.speaker.setup, turn) {
            // What a former member has to store may be on its way: the next one must not begin with what was before.
            (Some(_), true) if self.outbox.holds(|command| matches!(command, Command::TicketStore(_))) => {}
            (Some(setup), true) if !self.speaker.speaks() => {
                let setup = setup.clone();
                self.begin_to_speak(&setup, effects);
            }
            (_, false) if self.speaker.speaks() => self.silence(effects),
            _ => {}
        }
        self.tell_of_lost_nodes(effects);
        while let Some(seq) = self.next_gate_passed() {
            self.tell_member(MemberInput::Done(seq), effects);
        }
        if self.speaker.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.tell_member(MemberInput::Timer, effects);
        }
    }

    fn begin_to_speak(&mut self, setup: &TicketSetup, effects: &mut Vec<Effect>) {
        let seed = self.leader.seed();
        match Voice::new(setup, seed, self.replica.tickets(), self.both_clocks()) {
            Ok(member) => {
                self.speaker.member = Some(member);
                self.no_alert("tickets");
                effects.push(Effect::Tickets(TicketEffect::Speak(true)));
                self.tell_of_lost_nodes(effects);
                for (ticket, lease) in self.known_leases() {
                    self.tell_speaker_of_lease(&ticket, lease, effects);
                }
                for (ticket, stop_time) in self.known_stop_times() {
                    self.tell_member(MemberInput::StopTime { ticket, stop_time }, effects);
                }
                self.tell_member(MemberInput::Timer, effects);
                self.claim_tickets();
            }
            Err(error) => {
                // Tried again with another configuration, or in another view.
                self.speaker.setup = None;
                let text = format!("this cluster takes no part in the ticket group: {error}");
                self.alert("tickets", hakudo_base::Severity::Error, text);
            }
        }
    }

    /// Nodes that are lost and not known to be dead do not hear what the group says.
    fn tell_of_lost_nodes(&mut self, effects: &mut Vec<Effect>) {
        let lost = !self.rivals().is_empty();
        if self.speaker.speaks() && std::mem::replace(&mut self.speaker.lost, lost) != lost {
            self.tell_member(MemberInput::Lost(lost), effects);
        }
    }

    /// The tickets of the group are its own from now on, also those of which it has said nothing yet.
    fn claim_tickets(&mut self) {
        for ticket in self.unclaimed_tickets() {
            if !self.speaker.words.contains_key(&ticket) {
                let nothing = TicketWordOrder {
                    ticket,
                    generation: 0,
                    held: None,
                    stop_time_ms: None,
                    lease_ms: None,
                    standby: false,
                    holder: None,
                    attributes: BTreeMap::new(),
                };
                self.say(Command::TicketWord(Box::new(nothing)));
            }
        }
    }

    /// Tickets of the group of which no word was delivered yet.
    pub(crate) fn unclaimed_tickets(&self) -> Vec<String> {
        let setup = self.speaker.setup.as_ref().filter(|_| self.speaker.speaks());
        let names = setup.into_iter().flat_map(|setup| &setup.group.tickets).map(|ticket| ticket.name.clone());
        names.filter(|name| !self.replica.status.tickets.contains_key(name)).collect()
    }

    /// How long stopping may take by what is configured and by what the nodes were told last: until plans say more, the
    /// longer of both.
    fn known_stop_times(&self) -> Vec<(String, Duration)> {
        let Some(setup) = &self.speaker.setup else { return Vec::new() };
        let known = |ticket: &str| {
            let configured = setup.stop_time_ms.get(ticket).copied();
            let told = self.replica.status.tickets.get(ticket).map(|state| state.stop_time_ms);
            configured.max(told.filter(|ms| *ms > 0)).map(Duration::from_millis)
        };
        let names = setup.group.tickets.iter().map(|ticket| ticket.name.clone());
        names.filter_map(|name| known(&name).map(|stop_time| (name, stop_time))).collect()
    }

    fn known_leases(&self) -> Vec<(String, Lease)> {
        let all = self.replica.status.tickets.iter();
        all.filter_map(|(name, state)| Some((name.clone(), self.leases.of(name, state.generation)?))).collect()
    }

    /// A lease that was held before the member was made.
    pub(crate) fn tell_speaker_of_lease(&mut self, ticket: &str, lease: Lease, effects: &mut Vec<Effect>) {
        let (ticket, Lease { generation, until }) = (ticket.to_owned(), lease);
        self.tell_member(MemberInput::KnownLease { ticket, generation, until }, effects);
    }

    /// The first thing that was waited for and has come about.
    fn next_gate_passed(&mut self) -> Option<u64> {
        let view = self.view.as_ref()?;
        let passed = match &self.speaker.gates.front()?.1 {
            Gate::Said(_) => false,
            Gate::Stored(generation) => self.disk.all_hold(&view.members, *generation),
            Gate::Confirmed(_, by) => view.members.iter().all(|member| by.contains(member)),
        };
        if passed { self.speaker.gates.pop_front().map(|(seq, _)| seq) } else { None }
    }

    /// Tells the member something and does what it asks for.
    pub(crate) fn tell_member(&mut self, input: MemberInput, effects: &mut Vec<Effect>) {
        self.tell_voice(Told::Input(input), effects);
    }

    /// Tells the member something, or has it asked by a client of booth.
    pub(super) fn tell_voice(&mut self, told: Told, effects: &mut Vec<Effect>) {
        let now = self.both_clocks();
        let mut all = VecDeque::from([told]);
        while let Some(told) = all.pop_front() {
            let Some(member) = &mut self.speaker.member else { return };
            let mut wanted = Vec::new();
            member.handle(now, told, &mut wanted);
            // What is answered at once is told after all of this is under way: the member counts on the order.
            for wanted in wanted {
                match wanted {
                    Wanted::Effect(effect) => all.extend(self.member_wants(effect, effects).map(Told::Input)),
                    Wanted::Answer { client, bytes, last } => self.answer_client(client, bytes, last, effects),
                }
            }
        }
    }

    pub(super) fn both_clocks(&self) -> Now {
        Now { monotonic: self.now, calendar: self.time() }
    }

    /// Does what the member asks for, or begins to; an answer that is there already is given back.
    fn member_wants(&mut self, wanted: MemberEffect, effects: &mut Vec<Effect>) -> Option<MemberInput> {
        match wanted {
            MemberEffect::Send { to, message } => {
                effects.push(Effect::Tickets(TicketEffect::Send { to: to.0, bytes: message }));
            }
            MemberEffect::Persist { seq, state } => {
                let said = self.say(Command::TicketStore(state));
                self.speaker.gates.push_back((seq, Gate::Said(said)));
            }
            MemberEffect::Confirm { seq } => {
                let said = self.say(Command::TicketConfirm);
                self.speaker.gates.push_back((seq, Gate::Confirmed(said, BTreeSet::new())));
            }
            MemberEffect::Ticket(word) => self.group_says(word),
            MemberEffect::Lease { ticket, generation, until } => {
                self.leases.know(&ticket, Lease { generation, until });
                self.say_words_again();
            }
            MemberEffect::WouldHold { ticket, cause } => {
                let text = format!("only observing: ticket {ticket} would be used here now ({cause})");
                effects.push(Effect::Event(self.event("ticket", hakudo_base::Severity::Info, text)));
            }
            MemberEffect::Check(check) => {
                if check.handler.is_none() && check.lag.is_none() {
                    let ready = Ok(hakudo_tickets::Readiness::default());
                    return Some(MemberInput::Checked { check: check.check, result: ready });
                }
                // A check that a former member asked for must not answer this one.
                self.speaker.checks += 1;
                self.speaker.checking.insert(self.speaker.checks, check.check);
                let check = hakudo_tickets::Check { check: self.speaker.checks, ..check };
                effects.push(Effect::Tickets(TicketEffect::Check(Box::new(check))));
            }
            MemberEffect::Reply { id, reply } => {
                let asked = &mut self.speaker.asked;
                let asked = if reply.is_final() { asked.remove(&id) } else { asked.get(&id).copied() };
                if let Some((node, number)) = asked {
                    self.say(Command::TicketAnswer { node, number, reply: Box::new(reply) });
                }
            }
            MemberEffect::Event(event) => {
                let (severity, text) = (event.severity(), self.in_names(&event));
                effects.push(Effect::Event(self.event("ticket-group", severity, text)));
            }
        }
        None
    }

    /// An event with the members' names instead of their numbers.
    fn in_names(&self, event: &hakudo_tickets::Event) -> String {
        let mut text = event.to_string();
        let members = self.speaker.member.iter().flat_map(|member| &member.group().members);
        let mut members: Vec<_> = members.collect();
        // Longer numbers first: one may begin with another.
        members.sort_by_key(|member| std::cmp::Reverse(member.id));
        for member in members {
            text = text.replace(&format!("member {}", member.id), &member.name);
        }
        text
    }

    /// What the group says of a ticket now, to all nodes.
    fn group_says(&mut self, word: TicketWord) {
        let held = match &word.holding {
            Holding::Held { until, .. } => {
                self.leases.know(&word.ticket, Lease { generation: word.generation, until: *until });
                Some(true)
            }
            Holding::NotHeld(_) => Some(false),
            // What runs goes on until the end that the nodes know.
            Holding::Unknown => None,
        };
        let config = self.speaker.member.as_ref().and_then(|member| member.group().ticket(&word.ticket));
        let limited = matches!(word.holding, Holding::Held { until: Some(_), .. });
        let lease_ms = config.filter(|_| limited).and_then(|config| u64::try_from(config.expire.as_millis()).ok());
        let holder = word.holder.and_then(|holder| {
            let member = self.speaker.member.as_ref()?;
            Some(member.group().name_of(holder))
        });
        let stop_time_ms = match &word.holding {
            Holding::Held { stop_time, .. } => u64::try_from(stop_time.as_millis()).ok(),
            Holding::NotHeld(_) | Holding::Unknown => None,
        };
        self.say(Command::TicketWord(Box::new(TicketWordOrder {
            ticket: word.ticket.clone(),
            generation: word.generation,
            held,
            stop_time_ms,
            lease_ms,
            standby: word.standby,
            holder,
            attributes: word.attributes.clone(),
        })));
        self.speaker.words.insert(word.ticket.clone(), word);
    }

    /// The group's word on a ticket was delivered.
    pub(crate) fn hear_group_word(&mut self, order: TicketWordOrder, effects: &mut Vec<Effect>) {
        let TicketWordOrder { ticket, generation, held, stop_time_ms, lease_ms, standby, holder, attributes } = order;
        // After a restart it would count again, until the group has spoken.
        let left = self.replica.change_tickets(|all| Ok(all.leave_to_group(&ticket))) == Ok(true);
        if left {
            self.take_the_word();
            self.persist(effects);
        }
        let state = self.replica.status.tickets.entry(ticket.clone()).or_default();
        let before = state.clone();
        if held.is_some() || state.generation != generation {
            let granted = state.granted && state.generation == generation && held == Some(true);
            (state.granted, state.awaited) = (granted, held == Some(true) && !granted);
        }
        (state.generation, state.standby, state.holder, state.attributes) = (generation, standby, holder, attributes);
        state.stop_time_ms = stop_time_ms.unwrap_or(state.stop_time_ms);
        let (lost, awaited) = (before.granted && !state.granted, state.awaited);
        let differs = *state != before;
        if lost {
            let text = format!("ticket {ticket} is not granted to this cluster any more");
            effects.push(Effect::Event(self.event("ticket-lost", hakudo_base::Severity::Warning, text)));
        }
        let unlimited = |lease: Lease| lease.until.is_none();
        if let Some(length) = lease_ms.filter(|_| self.leases.of(&ticket, generation).is_some_and(unlimited)) {
            // It had no end, and gets one. The group counts from a later moment than this one.
            let until = Some(self.now + Duration::from_millis(length));
            self.leases.know(&ticket, Lease { generation, until });
            self.say_stamp();
        }
        if awaited {
            self.say_stamp();
            self.told_of_grant(&ticket, generation, self.local);
        }
        // Whoever does not hold it is asked whether all is stopped, as often as it is said.
        if differs || left || held == Some(false) {
            self.think_again(&format!("the group spoke of ticket {ticket}"));
        }
    }

    /// A node knows until when a grant lasts; once all do, the grant counts.
    pub(crate) fn told_of_grant(&mut self, ticket: &str, generation: u64, node: NodeId) {
        let awaited = |state: &crate::status::GroupTicket| state.awaited && state.generation == generation;
        if !self.leads() || !self.replica.status.tickets.get(ticket).is_some_and(awaited) {
            return;
        }
        let told = self.speaker.told.entry((ticket.to_owned(), generation)).or_default();
        told.insert(node);
        if self.view.iter().flat_map(|view| &view.members).all(|member| told.contains(member)) {
            self.speaker.told.remove(&(ticket.to_owned(), generation));
            let (ticket, time) = (ticket.to_owned(), self.time().seconds());
            self.say(Command::TicketGranted { ticket, generation, time });
        }
    }

    pub(crate) fn hear_granted(&mut self, ticket: &str, generation: u64, time: i64, effects: &mut Vec<Effect>) {
        let Some(state) = self.replica.status.tickets.get_mut(ticket) else { return };
        if !state.awaited || state.generation != generation {
            return;
        }
        (state.granted, state.awaited, state.last_granted) = (true, false, Some(time));
        let text = format!("ticket {ticket} is granted to this cluster");
        effects.push(Effect::Event(self.event("ticket-granted", hakudo_base::Severity::Info, text)));
        self.ask_again_in_time();
        self.think_again(&format!("ticket {ticket} was granted"));
    }

    /// Where the nodes took a ticket as lost and the group did not, it is granted once more.
    pub(crate) fn say_words_again(&mut self) {
        let lost = |word: &&TicketWord| {
            let state = self.replica.status.tickets.get(&word.ticket);
            let gone = state.is_some_and(|state| state.generation == word.generation && !state.is_held());
            let lease = self.leases.of(&word.ticket, word.generation);
            gone && matches!(word.holding, Holding::Held { .. })
                && lease.is_some_and(|lease| lease.until.is_none_or(|until| until > self.now))
        };
        let again: Vec<TicketWord> = self.speaker.words.values().filter(lost).cloned().collect();
        for word in again {
            self.group_says(word);
        }
    }

    /// All nodes keep what the member must not forget.
    pub(crate) fn hear_store(&mut self, from: NodeId, number: u64, state: Vec<u8>, effects: &mut Vec<Effect>) {
        self.replica.store_member(state);
        self.take_the_word();
        if from == self.local {
            let generation = self.replica.generation;
            for (_, gate) in &mut self.speaker.gates {
                if matches!(gate, Gate::Said(said) if *said == number) {
                    *gate = Gate::Stored(generation);
                }
            }
        }
        self.persist(effects);
    }

    pub(crate) fn hear_confirm_question(&mut self, from: NodeId, number: u64) {
        if from == self.local {
            return self.hear_confirmed(self.local, number);
        }
        self.say(Command::TicketConfirmed { number });
    }

    pub(crate) fn hear_confirmed(&mut self, from: NodeId, number: u64) {
        for (_, gate) in &mut self.speaker.gates {
            if let Gate::Confirmed(said, by) = gate
                && *said == number
            {
                by.insert(from);
            }
        }
    }

    /// A request of a client anywhere in the cluster: the speaker asks the group.
    pub(crate) fn hear_ticket_request(
        &mut self,
        (from, number): (NodeId, u64),
        request: RequestEnvelope,
        effects: &mut Vec<Effect>,
    ) {
        if !self.leads() {
            return;
        }
        if !self.speaker.speaks() {
            return self.refuse_ticket_request(from, number);
        }
        self.speaker.requests += 1;
        let id = self.speaker.requests;
        self.speaker.asked.insert(id, (from, number));
        self.tell_member(MemberInput::Request { id, request }, effects);
    }

    fn refuse_ticket_request(&mut self, node: NodeId, number: u64) {
        let reason = match &self.speaker.setup {
            None => "this cluster is part of no ticket group: its booth.conf or the CIB would name it".to_owned(),
            Some(_) => self.may_change(false).err().map_or_else(String::new, |refusal| refusal.reason),
        };
        self.say(Command::TicketRefused { node, number, reason });
    }

    pub(crate) fn hear_ticket_refused(&mut self, node: NodeId, number: u64, reason: String, effects: &mut Vec<Effect>) {
        self.refused(node, number, Refusal::new(RefusalKind::NotConnected, reason), effects);
    }
}

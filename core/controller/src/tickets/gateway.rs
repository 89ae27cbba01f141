//! booth's protocol at a site of several nodes: what comes to a node that does not speak for the site is passed on.
//!
//! boothd knows one address of a site, and any node may have it: usually it is a resource of the cluster, and the node that
//! has it need not be the leader. So all nodes listen, and pass on to the leader what is a message of the group; the leader
//! speaks from its own address, since boothd looks at the number in a message and not at where it came from. Clients of
//! booth stay connected to the node that they found, which passes question and answer on.

use crate::command::Command;
use crate::controller::Controller;
use crate::core_types::{Effect, TicketEffect};
use hakudo_base::{Instant, NodeId};
use hakudo_tickets::Input as MemberInput;
use hakudo_tickets::booth::engine::ClientId;
use hakudo_tickets::booth::member::Told;
use hakudo_tickets::booth::seal;
use hakudo_tickets::booth::wire::{Message, SiteId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many datagrams of others are passed on in a second, and so many more for each ticket and other member, so that a
/// renewal fits twice a second with room to spare: a flood at one node must not become one for the cluster.
const MOST_DATAGRAMS: u32 = 200;
const OF_A_TICKET: u32 = 2;
/// So many questions of clients.
const MOST_CLIENTS: u32 = 50;

/// What is passed on in a second.
#[derive(Debug, Default)]
struct Budget {
    /// When the present second began, and what went in it.
    since: Instant,
    count: u32,
}

impl Budget {
    /// Takes one out, where one is left of `most`.
    fn take(&mut self, now: Instant, most: u32) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}

#[derive(Debug, Default)]
pub(crate) struct Gateway {
    /// Clients that the member has not answered for good, by our number: the node, and its number of the client.
    clients: BTreeMap<u64, (NodeId, u64)>,
    numbers: u64,
    /// Clients of this node whose question was passed on, and who were not answered for good.
    waiting: BTreeSet<u64>,
    datagrams: Budget,
    /// Clients have a budget of their own: they must not starve the members.
    questions: Budget,
}

impl Controller {
    pub(super) fn speaks_booth(&self) -> bool {
        self.speaker.setup.as_ref().is_some_and(|setup| setup.booth.is_some())
    }

    /// A datagram came to this node.
    pub(super) fn booth_message(&mut self, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
        if self.speaker.speaks() {
            return self
                .tell_member(MemberInput::Received { from: hakudo_tickets::MemberId(0), message: bytes }, effects);
        }
        let booth = self.speaker.setup.as_ref().and_then(|setup| setup.booth.as_ref());
        let is_genuine = booth.is_some_and(|booth| {
            let known = |message: &Message| booth.addresses.iter().any(|it| SiteId::of(*it) == message.from);
            seal::read(&bytes, booth.key.as_ref(), false).is_ok_and(|message| known(&message))
        });
        if is_genuine && self.synced && self.speaker.gateway.datagrams.take(self.now, self.most_datagrams()) {
            self.say(Command::TicketHeard(bytes));
        }
    }

    fn most_datagrams(&self) -> u32 {
        let group = self.speaker.setup.as_ref().map(|setup| &setup.group);
        let leases = group.map_or(0, |group| group.tickets.len() * group.members.len().saturating_sub(1));
        MOST_DATAGRAMS.saturating_add(u32::try_from(leases).unwrap_or(u32::MAX).saturating_mul(OF_A_TICKET))
    }

    pub(crate) fn hear_passed_on(&mut self, from: NodeId, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
        if from != self.local && self.speaker.speaks() && self.speaks_booth() {
            self.tell_member(MemberInput::Received { from: hakudo_tickets::MemberId(0), message: bytes }, effects);
        }
    }

    /// A client of booth asks at this node.
    pub(super) fn client_asks(&mut self, client: u64, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
        if self.speaker.speaks() && self.speaks_booth() {
            self.ask_for_client(self.local, client, bytes, effects);
            return;
        }
        let booth = self.speaker.setup.as_ref().and_then(|setup| setup.booth.as_ref());
        let refusal = booth.map_or_else(|| Some(Vec::new()), |booth| booth.refusal_of(&bytes, self.both_clocks()));
        let answer = match refusal {
            None if self.synced && self.speaker.gateway.questions.take(self.now, MOST_CLIENTS) => {
                self.speaker.gateway.waiting.insert(client);
                self.say(Command::TicketClient { client, bytes });
                return;
            }
            None => Vec::new(),
            Some(refusal) => refusal,
        };
        effects.push(Effect::Tickets(TicketEffect::Answer { client, bytes: answer, last: true }));
    }

    fn ask_for_client(&mut self, node: NodeId, client: u64, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
        let gateway = &mut self.speaker.gateway;
        gateway.numbers += 1;
        let number = gateway.numbers;
        gateway.clients.insert(number, (node, client));
        self.tell_voice(Told::Client(ClientId(number), bytes), effects);
    }

    pub(super) fn client_went(&mut self, client: u64, effects: &mut Vec<Effect>) {
        self.speaker.gateway.waiting.remove(&client);
        if self.speaker.speaks() {
            self.hear_client_gone(self.local, client, effects);
        } else if self.speaks_booth() && self.synced {
            self.say(Command::TicketClientGone { client });
        }
    }

    pub(crate) fn hear_client(&mut self, from: NodeId, client: u64, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
        if self.speaker.speaks() && self.speaks_booth() {
            self.ask_for_client(from, client, bytes, effects);
        } else if self.leads() {
            self.say(Command::TicketClientAnswer { node: from, client, bytes: Vec::new(), last: true });
        }
    }

    pub(crate) fn hear_client_gone(&mut self, from: NodeId, client: u64, effects: &mut Vec<Effect>) {
        let known = &self.speaker.gateway.clients;
        let number = known.iter().find(|(_, known)| **known == (from, client)).map(|(number, _)| *number);
        if let Some(number) = number {
            self.speaker.gateway.clients.remove(&number);
            self.tell_voice(Told::ClientGone(ClientId(number)), effects);
        }
    }

    /// The member answers a client.
    pub(super) fn answer_client(&mut self, client: ClientId, bytes: Vec<u8>, last: bool, effects: &mut Vec<Effect>) {
        let clients = &mut self.speaker.gateway.clients;
        let found = if last { clients.remove(&client.0) } else { clients.get(&client.0).copied() };
        let Some((node, client)) = found else { return };
        if node == self.local {
            effects.push(Effect::Tickets(TicketEffect::Answer { client, bytes, last }));
        } else {
            self.say(Command::TicketClientAnswer { node, client, bytes, last });
        }
    }

    pub(crate) fn hear_client_answer(
        &mut self,
        node: NodeId,
        client: u64,
        bytes: Vec<u8>,
        last: bool,
        effects: &mut Vec<Effect>,
    ) {
        if node != self.local {
            return;
        }
        let waiting = &mut self.speaker.gateway.waiting;
        let waits = if last { waiting.remove(&client) } else { waiting.contains(&client) };
        if waits {
            effects.push(Effect::Tickets(TicketEffect::Answer { client, bytes, last }));
        }
    }

    /// Nobody answers them any more.
    pub(super) fn forget_clients(&mut self, effects: &mut Vec<Effect>) {
        for number in self.speaker.gateway.clients.keys().copied().collect::<Vec<_>>() {
            self.answer_client(ClientId(number), Vec::new(), true, effects);
        }
        // Who speaks in the next view has not heard of them.
        for client in std::mem::take(&mut self.speaker.gateway.waiting) {
            effects.push(Effect::Tickets(TicketEffect::Answer { client, bytes: Vec::new(), last: true }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_for_a_second() {
        let mut budget = Budget::default();
        let mut taken = |ms| budget.take(Instant::from_millis(ms), 3);
        assert_eq!([5000, 5100, 5200, 5300, 5999].map(&mut taken), [true, true, true, false, false]);
        assert_eq!([6001, 6002].map(&mut taken), [true, true]);
    }
}

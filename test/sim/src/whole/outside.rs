//! What a cluster that is a site of a ticket group has to do with the world outside: what leaves it is gathered here, and
//! the federation takes it from here on.

use super::Mutation;
use crate::machine::CoreInput;
use crate::world::World;
use hakudo_base::Instant;
use hakudo_cib::{Document, Element};
use hakudo_controller::request::{Event, Reply};
use hakudo_controller::{Input as ControllerInput, TicketEffect, TicketInput, TicketSetup};
use hakudo_tickets::Check;
use std::time::Duration;

/// Something that leaves a site.
#[derive(Debug)]
pub(crate) enum Leaves {
    /// A node says something to a member of the group.
    Message { node: usize, to: u32, bytes: Vec<u8> },
    /// A node has something looked at before the site takes a ticket.
    Check { node: usize, run: u64, check: Check },
    /// A client is answered.
    Answer { node: usize, client: u64, reply: Reply },
    /// A node says that it coordinates the group in this term.
    Coordinates { node: usize, term: String },
}

/// The group that a cluster is a site of.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) setup: TicketSetup,
    /// After how long without food a watchdog resets a machine; none where there is none.
    pub(crate) watchdog: Option<Duration>,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) left: Vec<Leaves>,
    /// The tickets of the last plan's document.
    planned_with: Option<Element>,
    /// When a node last heard that its executor had acted by itself.
    acted_at: Option<Instant>,
}

/// So long the word of what an executor did by itself may be on its way to the leader of its cluster.
const WORD: Duration = Duration::from_secs(5);

impl Outside {
    pub(crate) fn new(setup: TicketSetup, watchdog: Option<Duration>, mutation: Option<Mutation>) -> Self {
        Self { setup, watchdog, mutation, left: Vec::new(), planned_with: None, acted_at: None }
    }

    /// What a node process is told when it is started.
    pub(crate) fn joins(&self) -> CoreInput {
        ControllerInput::Tickets(TicketInput::Group(Some(Box::new(self.setup.clone())))).into()
    }
}

impl World {
    /// The mutation of the group, if there is one.
    pub(super) fn group_mutation(&self) -> Option<Mutation> {
        self.outside.as_ref().and_then(|outside| outside.mutation)
    }

    fn leave(&mut self, what: Leaves) {
        if let Some(outside) = &mut self.outside {
            outside.left.push(what);
        }
    }

    /// The controller asks for something of the group. Without a group that is nothing.
    pub(crate) fn group_effect(&mut self, node: usize, run: u64, effect: TicketEffect) {
        match effect {
            TicketEffect::Speak(speaks) => {
                self.say(|| format!("n{} {} for the site", node + 1, if speaks { "speaks" } else { "speaks no more" }));
                if let Some(process) = &mut self.machines[node].process {
                    process.speaks = speaks;
                }
            }
            // What a node says that does not speak goes nowhere.
            TicketEffect::Send { to, bytes } if self.process(node).is_some_and(|process| process.speaks) => {
                self.leave(Leaves::Message { node, to, bytes });
            }
            TicketEffect::Check(check) => self.leave(Leaves::Check { node, run, check: *check }),
            // Nobody speaks booth's protocol here.
            TicketEffect::Send { .. } | TicketEffect::Answer { .. } => {}
        }
    }

    /// A message of another member comes to a node. Only the one that speaks can read it.
    pub(super) fn hear_member(&mut self, node: usize, from: u32, bytes: Vec<u8>) {
        if self.process(node).is_some_and(|process| process.speaks) {
            self.feed(node, ControllerInput::Tickets(TicketInput::Message { from, bytes }));
        }
    }

    /// Somebody is answered whose request no script has.
    pub(crate) fn answered(&mut self, node: usize, client: u64, reply: Reply) {
        self.leave(Leaves::Answer { node, client, reply });
    }

    /// What a node tells people about the group.
    pub(crate) fn overhear(&mut self, node: usize, event: &Event) {
        const COORDINATES: &str = "this member coordinates the group in term ";
        if let Some(outside) = self.outside.as_mut().filter(|_| event.kind == "lease-guard") {
            outside.acted_at = Some(self.now);
        }
        if let Some(term) = event.text.strip_prefix(COORDINATES).filter(|_| event.kind == "ticket-group") {
            self.leave(Leaves::Coordinates { node, term: term.to_owned() });
        }
    }

    /// The question of a leader to the scheduler is what would be if the tickets were others; nobody carries the answer out.
    /// Otherwise it is noted what tickets there are: other ones are news to whoever planned without them.
    pub(crate) fn only_asks(&mut self, node: usize, cib: &Document) -> bool {
        if self.outside.is_none() {
            return false;
        }
        let tickets = |cib: &Document| cib.section(&["status", "tickets"]).cloned();
        let held = self.machines[node].process.as_mut().and_then(|process| process.controller.document());
        let asked = tickets(cib);
        if held.as_ref().and_then(tickets) != asked {
            return true;
        }
        let before = self.outside.as_mut().map(|outside| std::mem::replace(&mut outside.planned_with, asked.clone()));
        if before != Some(asked) {
            self.checks.plans.disturb();
        }
        false
    }

    /// A leader may not have heard of what an executor did by itself. With that word its node says anew all that the executor
    /// knows, and what the node itself had answered (a probe of a fence device) is asked once more.
    pub(crate) fn word_of_a_guard_is_on_its_way(&self) -> bool {
        let acted_at = self.outside.as_ref().and_then(|outside| outside.acted_at);
        acted_at.is_some_and(|at| self.now.since(at) < WORD)
    }

    /// All nodes know that this site holds a ticket.
    pub(super) fn holds(&mut self, ticket: &str) -> bool {
        let granted = |state: &Element| state.id() == ticket && state.attribute("granted") == Some("true");
        self.machines.iter_mut().all(|machine| {
            let document = machine.process.as_mut().and_then(|process| process.controller.document());
            let tickets = document.as_ref().and_then(|document| document.section(&["status", "tickets"]));
            tickets.is_some_and(|tickets| tickets.children().any(granted))
        })
    }

    /// A mutation tells the scheduler that no ticket that was ever granted here is lost.
    pub(crate) fn bend_tickets(&mut self, cib: &mut Document) {
        if self.group_mutation() != Some(Mutation::LossesHidden) {
            return;
        }
        let tickets = cib.root_mut().child_mut("status").and_then(|status| status.child_mut("tickets"));
        for state in tickets.into_iter().flat_map(Element::children_mut) {
            if state.attribute("last-granted").is_some() {
                state.set("granted", "true");
            }
        }
    }
}

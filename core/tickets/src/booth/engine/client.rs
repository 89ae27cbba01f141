//! Clients: `booth` and `geostore` ask over TCP.

use super::ticket::{Attribute, Role, Ticket};
use super::{Ask, ClientId, Effect, Engine, Now, Out, body, fulfilled};
use crate::attribute::check_group_attribute_name;
use crate::booth::config::{Mode, When};
use crate::booth::seal::{self, Key};
use crate::booth::text;
use crate::booth::wire::{AttributeBody, Body, Command, Flags, Leader, Message, Outcome, Reason, SiteId};

/// A request whose outcome is not known yet.
#[derive(Debug)]
pub(super) struct Request {
    asker: Asker,
    /// A grant or a revocation.
    command: Command,
    flags: Flags,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// A client of booth.
    Client(ClientId),
    /// Somebody at this site.
    Local(u64),
}

/// More clients than these do not wait for one ticket.
const MOST_REQUESTS: usize = 100;

impl Engine {
    pub(super) fn client(&mut self, client: ClientId, bytes: &[u8]) {
        let read = seal::read(bytes, self.context.config.key.as_ref(), false);
        let message = match read {
            Ok(message) => message,
            Err(error) => return self.result(client, "", outcome_of(&error), true),
        };
        let (now, skew) = (self.context.now.calendar, self.context.config.max_time_skew);
        if self.context.config.key.is_some() && self.clients.take(message.from, bytes, now, skew).is_err() {
            return self.result(client, "", Outcome::Auth, true);
        }
        match (message.command, &message.body) {
            (Command::List, _) => {
                let list = text::list(&self.list(), self.context.config.utc_offset);
                self.text(client, Command::List, list);
            }
            (Command::Peers, _) => {
                let peers = text::peers(&self.peers(), self.context.config.utc_offset);
                self.text(client, Command::Peers, peers);
            }
            (Command::Grant | Command::Revoke, Body::Ticket(body)) => {
                self.request(Asker::Client(client), &body.ticket, message.command, message.flags);
            }
            (command, Body::Attribute(attribute)) => self.attribute(client, command, attribute),
            _ => self.result(client, "", Outcome::InvalidArgument, true),
        }
    }

    pub(super) fn client_gone(&mut self, client: ClientId) {
        let gone = Asker::Client(client);
        self.requests.values_mut().for_each(|requests| requests.retain(|request| request.asker != gone));
    }

    fn request(&mut self, asker: Asker, ticket: &str, command: Command, flags: Flags) {
        let outcome = self.decide(ticket, command, flags);
        let waits = outcome == Outcome::More;
        match asker {
            Asker::Client(client) => self.result(client, ticket, outcome, !waits),
            Asker::Local(id) => self.context.outs.push(Out::Effect(Effect::Asked { id, outcome, last: !waits })),
        }
        if waits {
            self.requests.entry(ticket.to_owned()).or_default().push(Request { asker, command, flags });
        }
    }

    /// Somebody at this site asks.
    pub(super) fn ask(&mut self, id: u64, ticket: &str, ask: Ask) {
        let flags = Flags { wait: true, wait_commit: true, ..Flags::default() };
        let (command, flags) = match ask {
            Ask::Grant { immediate } => (Command::Grant, Flags { immediate, ..flags }),
            Ask::Revoke => (Command::Revoke, flags),
            Ask::Standby(on) => {
                let outcome = self.set_standby(ticket, on);
                return self.context.outs.push(Out::Effect(Effect::Asked { id, outcome, last: true }));
            }
            Ask::Attribute { name, value } => {
                let outcome = self.change_attribute(ticket, &name, value);
                return self.context.outs.push(Out::Effect(Effect::Asked { id, outcome, last: true }));
            }
        };
        self.request(Asker::Local(id), ticket, command, flags);
    }

    fn set_standby(&mut self, name: &str, on: bool) -> Outcome {
        let Some(ticket) = self.tickets.get_mut(name) else { return Outcome::InvalidArgument };
        if !self.context.is_site() {
            return Outcome::SyncFail;
        }
        ticket.standby = on;
        self.context.outs.push(Out::Persist);
        self.context.outs.push(Out::Effect(Effect::Standby { ticket: name.to_owned(), on }));
        Outcome::Success
    }

    /// Begins a grant or a revocation; [`Outcome::More`] where its end is not known yet.
    fn decide(&mut self, name: &str, command: Command, flags: Flags) -> Outcome {
        let context = &mut self.context;
        let Some(ticket) = self.tickets.get_mut(name) else { return Outcome::InvalidArgument };
        if !context.is_site() {
            return Outcome::SyncFail;
        }
        if self.requests.get(name).is_some_and(|requests| requests.len() >= MOST_REQUESTS) {
            return Outcome::Busy;
        }
        let owned = matches!(ticket.known, Leader::Site(_)) || !matches!(ticket.role, Role::Idle);
        let forced = ticket.config.mode == Mode::Manual && flags.immediate;
        match command {
            Command::Revoke
                if ticket.known == Leader::Site(context.config.local) && matches!(ticket.role, Role::Leading(_)) =>
            {
                ticket.give_up(context, true);
                Outcome::More
            }
            // It was held before a restart, and that is being looked into.
            Command::Revoke if ticket.known == Leader::Site(context.config.local) => Outcome::Busy,
            Command::Revoke if matches!(ticket.known, Leader::Site(_)) => Outcome::Redirect,
            Command::Revoke => Outcome::TicketIdle,
            _ if matches!(ticket.role, Role::Leading(_)) || (owned && !forced) => Outcome::Overgrant,
            _ if !fulfilled(&ticket.config.prerequisites, When::Manual, &ticket.attributes) => {
                Outcome::PrerequisiteFailed
            }
            _ if !ticket.is_able() => Outcome::HandlerFailed,
            _ if ticket.running => Outcome::Busy,
            // One is under way.
            _ if ticket.granting => Outcome::Busy,
            _ => {
                ticket.immediate = flags.immediate;
                ticket.acquire(context, Reason::Admin);
                Outcome::More
            }
        }
    }

    /// Tells clients that wait what has become of their tickets.
    pub(super) fn answer_requests(&mut self) {
        let mut news: Vec<(String, Vec<(Command, Outcome)>)> = Vec::new();
        for (name, ticket) in &mut self.tickets {
            if !ticket.outcomes.is_empty() {
                news.push((name.clone(), std::mem::take(&mut ticket.outcomes)));
            }
        }
        for (name, outcomes) in news {
            let mut requests = self.requests.remove(&name).unwrap_or_default();
            for (command, outcome) in outcomes {
                requests.retain(|request| {
                    if request.command != command {
                        return true;
                    }
                    let more =
                        outcome == Outcome::More || (outcome == Outcome::CibPending && request.flags.wait_commit);
                    let out = match request.asker {
                        Asker::Client(client) => {
                            let message = Self::result_of(&self.context, self.tickets.get(&name), &name, outcome);
                            Out::Answer { client, message, last: !more }
                        }
                        Asker::Local(id) => Out::Effect(Effect::Asked { id, outcome, last: !more }),
                    };
                    self.context.outs.push(out);
                    more
                });
            }
            if !requests.is_empty() {
                self.requests.insert(name, requests);
            }
        }
    }

    fn result(&mut self, client: ClientId, ticket: &str, outcome: Outcome, last: bool) {
        let message = Self::result_of(&self.context, self.tickets.get(ticket), ticket, outcome);
        self.context.outs.push(Out::Answer { client, message, last });
    }

    fn result_of(context: &super::Context, ticket: Option<&Ticket>, name: &str, outcome: Outcome) -> Message {
        let (leader, term) = ticket.map_or((Leader::Unknown, 0), |ticket| (ticket.known, ticket.term));
        // A client finds the holder by this field.
        let body = body(name, leader, term, 0);
        Message { outcome, ..header(context.config.local, Command::Result, body) }
    }

    fn text(&mut self, client: ClientId, command: Command, text: String) {
        let body = if text.is_empty() { Body::Empty } else { Body::Text(text) };
        let message = header(self.context.config.local, command, body);
        self.context.outs.push(Out::Answer { client, message, last: true });
    }

    fn attribute(&mut self, client: ClientId, command: Command, wanted: &AttributeBody) {
        let AttributeBody { ticket: ticket_name, name, value } = wanted;
        let outcome = match self.tickets.get_mut(ticket_name) {
            None => Outcome::InvalidArgument,
            Some(ticket) => match command {
                Command::ListAttributes => {
                    let all = ticket.attributes.iter().map(|(name, a)| (name.as_str(), a.value.as_str(), a.set));
                    let list = text::attributes(all, self.context.config.utc_offset);
                    return self.text(client, command, list);
                }
                Command::GetAttribute => match ticket.attributes.get(name) {
                    Some(attribute) => {
                        let value = format!("{}\n", attribute.value);
                        return self.text(client, command, value);
                    }
                    None => Outcome::NoSuchAttribute,
                },
                Command::SetAttribute => self.change_attribute(ticket_name, name, Some(value.clone())),
                Command::DeleteAttribute => self.change_attribute(ticket_name, name, None),
                _ => Outcome::InvalidArgument,
            },
        };
        let message = Message { outcome, ..header(self.context.config.local, Command::Result, Body::Empty) };
        self.context.outs.push(Out::Answer { client, message, last: true });
    }

    fn change_attribute(&mut self, ticket_name: &str, name: &str, value: Option<String>) -> Outcome {
        let Some(ticket) = self.tickets.get_mut(ticket_name) else { return Outcome::InvalidArgument };
        match &value {
            Some(value) if check_group_attribute_name(name).is_err() || value.chars().any(char::is_control) => {
                return Outcome::SyncFail;
            }
            Some(value) => {
                let set = Some(self.context.now.calendar);
                ticket.attributes.insert(name.to_owned(), Attribute { value: value.clone(), set });
            }
            None if ticket.attributes.remove(name).is_none() => return Outcome::NoSuchAttribute,
            None => {}
        }
        changed(&mut self.context, ticket_name, name, value)
    }
}

/// What a client is told whose message cannot be read.
fn outcome_of(error: &seal::WireError) -> Outcome {
    match error {
        seal::WireError::Forged | seal::WireError::Authentication(_) => Outcome::Auth,
        _ => Outcome::InvalidArgument,
    }
}

/// The answer to a client whose message no member of the group needs to see; none where one does.
pub(in super::super) fn refusal_of(bytes: &[u8], local: SiteId, key: Option<&Key>, now: Now) -> Option<Vec<u8>> {
    let outcome = outcome_of(&seal::read(bytes, key, false).err()?);
    let body = body("", Leader::Unknown, 0, 0);
    let message = Message { outcome, ..header(local, Command::Result, body) };
    // A message without a name has room for it.
    Some(seal::write(&message, key, super::stamp(now)).unwrap_or_default())
}

/// Has the attribute written here and in the cluster, before the client is answered.
fn changed(context: &mut super::Context, ticket: &str, name: &str, value: Option<String>) -> Outcome {
    context.outs.push(Out::Persist);
    let (ticket, name) = (ticket.to_owned(), name.to_owned());
    context.outs.push(Out::Effect(Effect::Attribute { ticket, name, value }));
    Outcome::Success
}

fn header(local: SiteId, command: Command, body: Body) -> Message {
    Message {
        from: local,
        command,
        request: None,
        flags: Flags::default(),
        reason: Reason::JustSo,
        outcome: Outcome::Success,
        body,
    }
}

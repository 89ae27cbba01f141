//! The same questions to the member of this machine, through its socket: it knows its group in more words than booth has.

use super::{Options, flags, offset, refuse, say, told_of_attribute};
use crate::command::ticket::Group;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_tickets::booth::config::Kind;
use hakudo_tickets::booth::engine::{Counters, Peer};
use hakudo_tickets::booth::text::{self, Conversation, Holder, Next, Unasked};
use hakudo_tickets::booth::wire::{Command as Sent, Outcome as Answer, SiteId};
use hakudo_tickets::{
    LeaseStatus, MemberId, MemberKind, MemberStatus, Outcome as Did, Refusal, Reply, Request as Ask, TicketMode,
};
use std::time::Duration;

/// Whoever waits hears after this time that it takes longer.
const AT_ONCE: Duration = Duration::from_millis(300);
/// And again after this one; who was not to wait goes then.
const LONGER: Duration = Duration::from_secs(5);
/// So often it is looked whether the cluster knows of a grant.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn ask(command: Sent, options: &Options, group: &mut Group, world: &mut World) -> Outcome {
    match command {
        Sent::List => {
            let shown = text::list(&tickets(group, world), offset(world));
            write!(world.out, "{shown}")?;
            Ok(Exit::OK)
        }
        Sent::Peers => {
            let others = group.status.members.iter().filter(|member| member.id != group.status.local);
            let peers: Vec<(Peer, Counters)> = others.filter_map(|member| peer(member, world)).collect();
            write!(world.out, "{}", text::peers(&peers, offset(world)))?;
            Ok(Exit::OK)
        }
        Sent::Grant | Sent::Revoke => converse(command, options, group, world),
        _ => attribute(command, options, group, world),
    }
}

fn tickets(group: &Group, world: &World) -> Vec<text::Ticket> {
    let shown = |ticket: &hakudo_tickets::TicketStatus| {
        let expires = match ticket.lease {
            LeaseStatus::Ends(left) => {
                i64::try_from(left.as_secs()).ok().map(|left| UnixTime::from_seconds(world.now + left))
            }
            _ => None,
        };
        text::Ticket {
            name: ticket.name.clone(),
            holder: match ticket.holder {
                Some(holder) => Holder::Site(group.name(holder)),
                None if ticket.revoked => Holder::Revoked,
                None => Holder::Nobody,
            },
            expires,
            pending_until: None,
            manual: ticket.mode == TicketMode::Manual,
            claims: Vec::new(),
        }
    };
    group.status.tickets.iter().map(shown).collect()
}

/// A member as booth shows it; none where its name is no address.
fn peer(member: &MemberStatus, world: &World) -> Option<(Peer, Counters)> {
    let kind = match member.kind {
        MemberKind::Site => Kind::Site,
        MemberKind::Arbitrator => Kind::Arbitrator,
    };
    let last = member.heard.and_then(|ago| i64::try_from(ago.as_secs()).ok());
    let counters = Counters {
        sent: member.sent,
        received: member.received,
        invalid: member.malformed,
        last: last.map(|ago| UnixTime::from_seconds(world.now - ago)),
        ..Counters::default()
    };
    Some((Peer { id: SiteId(member.id.0), kind, address: member.name.parse().ok()? }, counters))
}

/// The ticket that is meant: the only one, where none is named.
fn ticket(named: Option<&String>, group: &Group) -> Option<String> {
    match (named, &group.status.tickets[..]) {
        (Some(name), _) => Some(name.clone()),
        (None, [only]) => Some(only.name.clone()),
        _ => None,
    }
}

/// The site that is meant; `other` is the other one of two.
fn site<'a>(named: Option<&'a str>, group: &Group) -> Result<MemberId, Unasked<'a>> {
    let local = group.status.local;
    let Some(name) = named else {
        let kind = group.status.members.iter().find(|member| member.id == local).map(|member| member.kind);
        return if kind == Some(MemberKind::Arbitrator) { Err(Unasked::LocalArbitrator) } else { Ok(local) };
    };
    let sites = group.status.members.iter().filter(|member| member.kind == MemberKind::Site);
    let others: Vec<&MemberStatus> = sites.filter(|member| member.id != local).collect();
    if let ("other", [other]) = (name, &others[..]) {
        return Ok(other.id);
    }
    let id = group.member(Some(name)).map_err(|_| Unasked::UnknownSite(name))?;
    let arbitrator = |member: &&MemberStatus| member.id == id && member.kind == MemberKind::Arbitrator;
    if group.status.members.iter().any(|member| arbitrator(&member)) { Err(Unasked::Arbitrator(name)) } else { Ok(id) }
}

fn converse(command: Sent, options: &Options, group: &mut Group, world: &mut World) -> Outcome {
    let Some(ticket) = ticket(options.ticket.as_ref(), group) else { return refuse(Unasked::NoTicket, world) };
    let site = match site(options.site.as_deref(), group) {
        Ok(site) => site,
        Err(why) => return refuse(why, world),
    };
    let flags = flags(options);
    let mut conversation = Conversation::new(command, &ticket, flags);
    let ask = match command {
        Sent::Grant => Ask::Grant { ticket: ticket.clone(), site, force: options.immediate },
        _ => Ask::Revoke { ticket: ticket.clone(), force: false },
    };
    group.begin(ask)?;
    let mut patience = AT_ONCE;
    loop {
        let mut said = if group.answers_within(patience)? {
            match group.next()? {
                Reply::Done(did) => answer(Ok(did)),
                Reply::Refused(refusal) => answer(Err(refusal)),
                // Steps are no news to booth's users.
                Reply::Progress(_) => continue,
            }
        } else {
            Answer::More
        };
        patience = LONGER;
        let here = site == group.status.local;
        if said == Answer::SyncSuccess && flags.wait_commit && here && !is_in_cib(group, &ticket)? {
            said = Answer::CibPending;
        }
        let (lines, next) = conversation.answer(said);
        for line in &lines {
            say(line, world)?;
        }
        match next {
            Next::End(code) => return Ok(Exit(code)),
            Next::Read | Next::Redirect if said == Answer::CibPending => {
                while !is_in_cib(group, &ticket)? {
                    std::thread::sleep(LOOK);
                }
                return super::end_of(conversation.answer(Answer::SyncSuccess), world);
            }
            Next::Read | Next::Redirect => {}
        }
    }
}

/// The cluster has the ticket.
fn is_in_cib(group: &mut Group, ticket: &str) -> Result<bool, Failure> {
    let text = group.cib()?;
    let cib = Document::parse(&text).map_err(|error| Failure::new(Exit::DATA, error.to_string()))?;
    let tickets = cib.section(&["status", "tickets"]);
    let mut states = tickets.into_iter().flat_map(|tickets| tickets.children_named("ticket_state"));
    Ok(states.any(|state| state.id() == ticket && state.attribute("granted") == Some("true")))
}

/// booth's word for what the group says.
fn answer(said: Result<Did, Refusal>) -> Answer {
    match said {
        Ok(Did::NotHeld) => Answer::TicketIdle,
        Ok(_) => Answer::SyncSuccess,
        Err(Refusal::NoSuchTicket(_)) => Answer::InvalidArgument,
        Err(Refusal::AlreadyGranted { .. } | Refusal::AlreadyThere { .. }) => Answer::Overgrant,
        Err(Refusal::Declined { reason, .. }) if reason.contains("the check ") => Answer::HandlerFailed,
        Err(Refusal::Declined { reason, .. }) if reason.contains("attribute") => Answer::PrerequisiteFailed,
        Err(_) => Answer::SyncFail,
    }
}

fn attribute(command: Sent, options: &Options, group: &mut Group, world: &mut World) -> Outcome {
    let Some(ticket) = ticket(options.ticket.as_ref(), group) else { return refuse(Unasked::NoTicket, world) };
    let site = match site(options.site.as_deref(), group) {
        Ok(site) => site,
        Err(why) => return refuse(why, world),
    };
    let name = options.attribute.clone().unwrap_or_default();
    let known = group.status.tickets.iter().find(|known| known.name == ticket);
    let all: Vec<_> = known.iter().flat_map(|ticket| &ticket.attributes).filter(|a| a.site == site).cloned().collect();
    let said = match command {
        _ if known.is_none() => Answer::InvalidArgument,
        Sent::ListAttributes => {
            let all = all.iter().map(|a| (&*a.name, &*a.value, Some(UnixTime::from_millis(a.set))));
            write!(world.out, "{}", text::attributes(all, offset(world)))?;
            Answer::Success
        }
        Sent::GetAttribute => match all.iter().find(|attribute| attribute.name == name) {
            Some(attribute) => {
                writeln!(world.out, "{}", attribute.value)?;
                Answer::Success
            }
            None => Answer::NoSuchAttribute,
        },
        Sent::DeleteAttribute if !all.iter().any(|attribute| attribute.name == name) => Answer::NoSuchAttribute,
        _ => {
            let value = (command == Sent::SetAttribute).then(|| options.value.clone().unwrap_or_default());
            answer(group.ask(Ask::Attribute { ticket: ticket.clone(), site, name: name.clone(), value })?)
        }
    };
    told_of_attribute(command, &ticket, &name, said, world)
}

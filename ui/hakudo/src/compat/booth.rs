//! `booth` and `geostore`: the clients of booth, for a group of hakudo's members. The member of this machine is asked
//! through its socket; the words and exit codes are booth's.

use crate::command::ticket::Group;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::world::World;
use clap::{Args, Parser, Subcommand};
use hakudo_base::UnixTime;
use hakudo_tickets::booth::engine::{Counters, Peer};
use hakudo_tickets::booth::text::{self, Conversation, Holder, Line, Next, Unasked};
use hakudo_tickets::booth::wire::{Command as Sent, Flags, Outcome as Answer, SiteId};
use hakudo_tickets::{
    LeaseStatus, MemberId, MemberKind, MemberStatus, Outcome as Did, Refusal, Request as Ask, TicketMode,
};
use std::ffi::OsString;

/// Ask the ticket group, as booth's client does.
#[derive(Debug, Parser)]
#[command(name = "booth", version, disable_help_subcommand = true)]
pub(super) struct Booth {
    #[command(subcommand)]
    command: BoothCommand,
}

#[derive(Debug, Subcommand)]
enum BoothCommand {
    /// List tickets
    List(Where),
    /// List the other members
    Peers(Where),
    /// Grant a ticket
    Grant(Which),
    /// Revoke a ticket
    Revoke(Which),
}

/// What is understood and changes nothing here: the member of this machine is asked, and knows the group.
#[derive(Debug, Args)]
struct Where {
    /// The configuration
    #[arg(short, value_name = "CONF")]
    config: Option<String>,
    /// The site
    #[arg(short, value_name = "SITE")]
    site: Option<String>,
}

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    place: Where,
    /// The ticket
    #[arg(short, value_name = "TICKET")]
    ticket: Option<String>,
    /// Do not wait for who held it last
    #[arg(short = 'F')]
    force: bool,
    /// Wait for the outcome
    #[arg(short)]
    wait: bool,
    /// Wait until the cluster has it
    #[arg(short = 'C')]
    wait_commit: bool,
    /// The ticket
    #[arg(value_name = "TICKET", conflicts_with = "ticket")]
    named: Option<String>,
}

/// Ask for the attributes of tickets, as booth's geostore does.
#[derive(Debug, Parser)]
#[command(name = "geostore", version, disable_help_subcommand = true)]
pub(super) struct Geostore {
    #[command(subcommand)]
    command: GeostoreCommand,
}

#[derive(Debug, Subcommand)]
enum GeostoreCommand {
    /// Set an attribute
    Set(Attribute),
    /// Show an attribute
    Get(Attribute),
    /// Delete an attribute
    Delete(Attribute),
    /// List the attributes
    List(Attribute),
}

#[derive(Debug, Args)]
struct Attribute {
    #[command(flatten)]
    place: Where,
    /// The ticket
    #[arg(short, value_name = "TICKET")]
    ticket: Option<String>,
    /// The attribute
    name: Option<String>,
    /// Its value
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
}

/// The word `client` may stand before the command.
pub(super) fn without_client(arguments: &[OsString]) -> Vec<OsString> {
    let client = arguments.get(1).is_some_and(|word| word == "client");
    arguments.iter().take(1).chain(arguments.iter().skip(if client { 2 } else { 1 })).cloned().collect()
}

/// Says a line as booth does, on standard error.
fn say(line: &Line, world: &mut World) -> Result<(), Failure> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let now = UnixTime::from_seconds(world.now);
    let text = text::log_line(now, offset(world), &host, std::process::id(), line);
    Ok(write!(world.err, "{text}")?)
}

fn offset(world: &World) -> i32 {
    let now = jiff::Timestamp::from_second(world.now).unwrap_or_default();
    world.zone.to_offset(now).seconds()
}

fn refuse(why: Unasked<'_>, world: &mut World) -> Outcome {
    say(&text::unasked(why), world)?;
    Ok(Exit::ERROR)
}

fn group(world: &World) -> Result<Group, Failure> {
    Group::at(&Source::Live(world.socket.clone()))
}

pub(super) fn booth(options: &Booth, world: &mut World) -> Outcome {
    let mut group = group(world)?;
    match &options.command {
        BoothCommand::List(_) => {
            let shown = text::list(&tickets(&group, world), offset(world));
            write!(world.out, "{shown}")?;
            Ok(Exit::OK)
        }
        BoothCommand::Peers(_) => {
            let others = group.status.members.iter().filter(|member| member.id != group.status.local);
            let peers: Vec<(Peer, Counters)> = others.filter_map(|member| peer(member, world)).collect();
            write!(world.out, "{}", text::peers(&peers, offset(world)))?;
            Ok(Exit::OK)
        }
        BoothCommand::Grant(which) => converse(Sent::Grant, which, &mut group, world),
        BoothCommand::Revoke(which) => converse(Sent::Revoke, which, &mut group, world),
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
        MemberKind::Site => hakudo_tickets::booth::config::Kind::Site,
        MemberKind::Arbitrator => hakudo_tickets::booth::config::Kind::Arbitrator,
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

fn converse(command: Sent, which: &Which, group: &mut Group, world: &mut World) -> Outcome {
    let Some(ticket) = ticket(which.ticket.as_ref().or(which.named.as_ref()), group) else {
        return refuse(Unasked::NoTicket, world);
    };
    let site = match site(which.place.site.as_deref(), group) {
        Ok(site) => site,
        Err(why) => return refuse(why, world),
    };
    let flags = Flags { immediate: which.force, wait: which.wait, wait_commit: which.wait_commit, ..Flags::default() };
    let mut conversation = Conversation::new(command, &ticket, flags);
    let ask = match command {
        Sent::Grant => Ask::Grant { ticket, site, force: which.force },
        _ => Ask::Revoke { ticket, force: which.force },
    };
    let (lines, next) = conversation.answer(answer(group.ask(ask)?));
    for line in &lines {
        say(line, world)?;
    }
    match next {
        Next::End(code) => Ok(Exit(code)),
        Next::Read | Next::Redirect => Ok(Exit::OK),
    }
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

pub(super) fn geostore(options: &Geostore, world: &mut World) -> Outcome {
    let mut group = group(world)?;
    let (command, arguments) = match &options.command {
        GeostoreCommand::Set(arguments) => (Sent::SetAttribute, arguments),
        GeostoreCommand::Get(arguments) => (Sent::GetAttribute, arguments),
        GeostoreCommand::Delete(arguments) => (Sent::DeleteAttribute, arguments),
        GeostoreCommand::List(arguments) => (Sent::ListAttributes, arguments),
    };
    let Some(ticket) = ticket(arguments.ticket.as_ref(), &group) else { return refuse(Unasked::NoTicket, world) };
    let site = match site(arguments.place.site.as_deref(), &group) {
        Ok(site) => site,
        Err(why) => return refuse(why, world),
    };
    let name = arguments.name.clone().unwrap_or_default();
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
            let value = (command == Sent::SetAttribute).then(|| arguments.value.clone().unwrap_or_default());
            answer(group.ask(Ask::Attribute { ticket: ticket.clone(), site, name: name.clone(), value })?)
        }
    };
    let (line, code) = text::geostore(command, &ticket, &name, said);
    if let Some(line) = line {
        say(&line, world)?;
    }
    Ok(Exit(code))
}

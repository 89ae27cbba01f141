//! `hakudo ticket`: tickets that sites share. A ticket says which site may run what depends on it.
//!
//! The node of this machine answers for its site, and an arbitrator for itself (`--socket`): any member can be asked
//! anything, and the group decides.

use crate::cli::Global;
use crate::client::{Client, unexpected};
use crate::command::ticket_check;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::output;
use crate::world::World;
use clap::{Args, Subcommand, ValueEnum};
use hakudo_controller::request::{Reply, Request};
use hakudo_tickets::{
    LeaseStatus, MemberId, MemberKind, Outcome as Did, Protocol, Refusal, Reply as Answer, Request as Ask, Status,
    TicketMode, TicketStatus,
};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// What to do with tickets.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List tickets: who holds them, and until when
    List(Shown),
    /// List the members of the group
    Peers(Shown),
    /// Tell in sentences who holds a ticket, until when, and who could take it over
    Explain(Explain),
    /// Give a ticket to a site; waits where the last holder may still run something
    Grant(Grant),
    /// Take a ticket away; nobody gets it by itself afterwards
    Revoke(Forced),
    /// Move a ticket: check there, stop here, grant there; and back if it does not start there
    Move(Move),
    /// Set a ticket aside: what depends on it stops in good order
    Standby(Named),
    /// Use a ticket again
    Activate(Named),
    /// Show, set and delete the attributes of a ticket at a site
    Attr(Attr),
    /// A site takes no tickets any more, or takes them again
    Disclaim(Switch),
    /// A site only decides and records, and starts nothing; or acts again
    Drill(Switch),
    /// Check booth.conf: all that is wrong in it is shown at its place
    Check(ticket_check::Check),
    /// The last resort when most members are lost for good: go on with these alone
    TakeOver(TakeOver),
}

/// Arguments of `list` and `peers`.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// The form of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output_as: Form,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The ticket
    ticket: String,
    #[command(flatten)]
    shown: Shown,
}

/// Arguments of `grant`.
#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// The ticket
    ticket: String,
    /// The site; this one if none is named
    #[arg(long, value_name = "SITE")]
    to: Option<String>,
    /// Do not wait, and take it from whoever holds it: somebody made sure that nothing runs there
    #[arg(long)]
    force: bool,
}

/// A ticket, maybe by force.
#[derive(Debug, Args)]
pub(crate) struct Forced {
    /// The ticket
    ticket: String,
    /// Do not wait for the holder: somebody made sure that nothing runs there
    #[arg(long)]
    force: bool,
}

/// Arguments of `move`.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// The ticket
    ticket: String,
    /// The site
    #[arg(long, value_name = "SITE")]
    to: String,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

/// A ticket.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The ticket
    ticket: String,
}

/// Arguments of `attr`.
#[derive(Debug, Args)]
pub(crate) struct Attr {
    /// The ticket
    ticket: String,
    /// The site; this one if none is named
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// The attribute; all are shown if none is named
    name: Option<String>,
    /// Its new value; it is shown if none is given
    #[arg(conflicts_with = "delete")]
    value: Option<String>,
    /// Delete the attribute
    #[arg(long, requires = "name")]
    delete: bool,
}

/// Something of a site, on or off.
#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// On, or off again
    #[arg(value_enum)]
    state: OnOff,
    /// The site; this one if none is named
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// From now on
    On,
    /// Not any more
    Off,
}

/// Arguments of `take-over`.
#[derive(Debug, Args)]
pub(crate) struct TakeOver {
    /// The members that go on
    #[arg(required = true, value_name = "MEMBER")]
    members: Vec<String>,
    /// Yes, somebody made sure that nothing runs at the others: if it does, data may be lost
    #[arg(long, required = true)]
    the_others_are_down: bool,
}

/// The group, as the member that is asked sees it.
pub(crate) struct Group {
    client: Client,
    pub(crate) status: Status,
}

impl Group {
    fn of(global: &Global, world: &World) -> Result<Self, Failure> {
        Self::at(&global.source(world))
    }

    /// The group as the member at this socket sees it.
    pub(crate) fn at(source: &Source) -> Result<Self, Failure> {
        let mut client = source.client("ticket")?;
        let status = match ask(&mut client, Ask::Status)? {
            Did::Status(status) => *status,
            other => {
                return Err(Failure::new(
                    Exit::PROTOCOL,
                    format!("the group answers {other:?} to a question for its status"),
                ));
            }
        };
        Ok(Self { client, status })
    }

    /// Asks the group, whose refusal is an answer.
    pub(crate) fn ask(&mut self, what: Ask) -> Result<Result<Did, Refusal>, Failure> {
        answered(&mut self.client, what)
    }

    pub(crate) fn name(&self, member: MemberId) -> String {
        let known = self.status.members.iter().find(|known| known.id == member);
        known.map_or_else(|| format!("member {member}"), |member| member.name.clone())
    }

    /// The member of this name or address; the one that is asked where none is named.
    pub(crate) fn member(&self, name: Option<&str>) -> Result<MemberId, Failure> {
        let Some(name) = name else { return Ok(self.status.local) };
        let is = |address: &String| address == name || address.rsplit_once(':').is_some_and(|(host, _)| host == name);
        let found = self.status.members.iter().find(|member| member.name == name || member.addresses.iter().any(is));
        found.map(|member| member.id).ok_or_else(|| {
            let names: Vec<&str> = self.status.members.iter().map(|member| member.name.as_str()).collect();
            Failure::no_such(format!("there is no member {name}; the members are {}", names.join(", ")))
        })
    }

    fn ticket(&self, name: &str) -> Result<&TicketStatus, Failure> {
        self.status.tickets.iter().find(|ticket| ticket.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.status.tickets.iter().map(|ticket| ticket.name.as_str()).collect();
            Failure::no_such(format!("there is no ticket {name}; the tickets are {}", names.join(", ")))
        })
    }

    /// Has something done and tells what came of it.
    fn does(&mut self, what: Ask, world: &mut World) -> Outcome {
        let did = ask(&mut self.client, what).map_err(|failure| self.renamed(failure))?;
        let told = self.told(&did);
        writeln!(world.out, "{told}")?;
        Ok(Exit::OK)
    }

    /// The same, with each step as it is taken, on standard error.
    fn does_in_steps(&mut self, what: Ask, shown: &Shown, world: &mut World) -> Outcome {
        let begun = Instant::now();
        let request = Request::Tickets { ask: Box::new(what), progress: true };
        let mut reply = self.client.ask(&request)?;
        let did = loop {
            match reply {
                Reply::Tickets { answer } => match *answer {
                    Answer::Done(did) => break did,
                    Answer::Refused(refusal) => {
                        return Err(self.renamed(Failure::new(exit(&refusal), refusal.to_string())));
                    }
                    Answer::Progress(step) => {
                        let (after, step) = (begun.elapsed().as_secs_f64(), self.in_names(&step.to_string()));
                        writeln!(world.err, "{after:6.2} s  {step}")?;
                        world.err.flush()?;
                    }
                },
                other => return Err(unexpected(&other)),
            }
            reply = self.client.answer()?;
        };
        match shown.output_as {
            Form::Text => writeln!(world.out, "{}", self.told(&did))?,
            Form::Json => write!(world.out, "{}", output::json(&did)?)?,
        }
        Ok(Exit::OK)
    }

    fn renamed(&self, mut failure: Failure) -> Failure {
        failure.message = self.in_names(&failure.message);
        failure
    }

    fn told(&self, did: &Did) -> String {
        match did {
            Did::Done => "done".to_owned(),
            Did::NotHeld => "nobody holds the ticket".to_owned(),
            Did::Granted { site, .. } => format!("granted to {}", self.name(*site)),
            Did::Moved { to, interruption: Some(time) } => {
                format!("moved to {}: the service was away for {} ms", self.name(*to), time.as_millis())
            }
            Did::Moved { to, interruption: None } => {
                format!("moved to {}, which has not said yet that the service is there", self.name(*to))
            }
            Did::Would(steps) => {
                let steps: Vec<String> = steps.iter().map(|step| self.in_names(&step.to_string())).collect();
                format!("this would happen: {}", steps.join("; "))
            }
            Did::Status(_) => String::new(),
        }
    }

    /// A text of the core, which knows members by number.
    fn in_names(&self, text: &str) -> String {
        let by_length = |member: &&hakudo_tickets::MemberStatus| std::cmp::Reverse(member.id.to_string().len());
        let mut members: Vec<_> = self.status.members.iter().collect();
        members.sort_by_key(by_length);
        members.into_iter().fold(text.to_owned(), |text, m| text.replace(&format!("member {}", m.id), &m.name))
    }
}

/// Asks the group and waits for its last word, which is no refusal.
fn ask(client: &mut Client, ask: Ask) -> Result<Did, Failure> {
    answered(client, ask)?.map_err(|refusal| Failure::new(exit(&refusal), refusal.to_string()))
}

fn answered(client: &mut Client, ask: Ask) -> Result<Result<Did, Refusal>, Failure> {
    let answer = match client.ask(&Request::Tickets { ask: Box::new(ask), progress: false })? {
        Reply::Tickets { answer } => *answer,
        other => return Err(unexpected(&other)),
    };
    match answer {
        Answer::Done(did) => Ok(Ok(did)),
        Answer::Refused(refusal) => Ok(Err(refusal)),
        Answer::Progress(step) => Err(Failure::new(Exit::PROTOCOL, format!("the group answers only: {step}"))),
    }
}

fn exit(refusal: &Refusal) -> Exit {
    match refusal {
        Refusal::NoSuchTicket(_) | Refusal::NoSuchMember(_) => Exit::NO_SUCH,
        Refusal::NoAnswer => Exit::INDETERMINATE,
        Refusal::Group(_) => Exit::CONFIG,
        Refusal::Arbitrator(_)
        | Refusal::AskThere(_)
        | Refusal::NotInBooth(_)
        | Refusal::TakeOverMembers
        | Refusal::AttributeSize
        | Refusal::AttributeName(_) => Exit::USAGE,
        _ => Exit::ERROR,
    }
}

pub(crate) fn run(command: &Command, global: &Global, world: &mut World) -> Outcome {
    if let Command::Check(arguments) = command {
        return ticket_check::run(arguments, world);
    }
    let mut group = Group::of(global, world)?;
    match command {
        // It needs no group.
        Command::Check(_) => Ok(Exit::OK),
        Command::List(shown) => show(&group, shown, list, world),
        Command::Peers(shown) => show(&group, shown, peers, world),
        Command::Explain(Explain { ticket, shown }) => {
            group.ticket(ticket)?;
            group.status.tickets.retain(|known| known.name == *ticket);
            show(
                &group,
                shown,
                |group| group.status.tickets.iter().map(|ticket| explain(group, ticket)).collect(),
                world,
            )
        }
        Command::Grant(Grant { ticket, to, force }) => {
            let site = group.member(to.as_deref())?;
            group.does(Ask::Grant { ticket: ticket.clone(), site, force: *force }, world)
        }
        Command::Revoke(Forced { ticket, force }) => {
            group.does(Ask::Revoke { ticket: ticket.clone(), force: *force }, world)
        }
        Command::Move(Move { ticket, to, dry_run, shown }) => {
            let to = group.member(Some(to))?;
            group.does_in_steps(Ask::Move { ticket: ticket.clone(), to, dry_run: *dry_run }, shown, world)
        }
        Command::Standby(Named { ticket }) => group.does(Ask::Standby { ticket: ticket.clone(), on: true }, world),
        Command::Activate(Named { ticket }) => group.does(Ask::Standby { ticket: ticket.clone(), on: false }, world),
        Command::Attr(arguments) => attr(&mut group, arguments, world),
        Command::Disclaim(Switch { state, site }) => {
            let site = group.member(site.as_deref())?;
            group.does(Ask::Disclaim { site, ticket: None, on: *state == OnOff::On }, world)
        }
        Command::Drill(Switch { state, site }) => {
            let site = group.member(site.as_deref())?;
            group.does(Ask::Observe { site, on: *state == OnOff::On }, world)
        }
        Command::TakeOver(TakeOver { members, .. }) => {
            let members = members.iter().map(|name| group.member(Some(name))).collect::<Result<_, _>>()?;
            group.does(Ask::TakeOver { members }, world)
        }
    }
}

fn show(group: &Group, shown: &Shown, text: impl FnOnce(&Group) -> String, world: &mut World) -> Outcome {
    let text = match shown.output_as {
        Form::Text => text(group),
        Form::Json => output::json(&group.status)?,
    };
    write!(world.out, "{text}")?;
    Ok(Exit::OK)
}

fn list(group: &Group) -> String {
    let mut text = String::new();
    for ticket in &group.status.tickets {
        let holder = match ticket.holder {
            Some(holder) => format!("held by {}, {}", group.name(holder), lease(&ticket.lease)),
            None if ticket.revoked => "revoked".to_owned(),
            None => "held by nobody".to_owned(),
        };
        let standby = if ticket.standby { ", on standby" } else { "" };
        let moving = ticket.moving.as_ref().map_or_else(String::new, |to| format!(", moving to {}", group.name(to.to)));
        // Writing into a string does not fail.
        let _ = writeln!(text, "{}: {holder}{standby}{moving}", ticket.name);
    }
    text
}

fn lease(lease: &LeaseStatus) -> String {
    match lease {
        LeaseStatus::None => "no lease".to_owned(),
        LeaseStatus::Unlimited => "without end".to_owned(),
        LeaseStatus::Ends(time) => format!("for {} unless it is renewed", seconds(*time)),
        LeaseStatus::Lost(time) => format!("not renewed: nobody else gets it for {}", seconds(*time)),
        LeaseStatus::Ended => "not renewed, and certainly stopped".to_owned(),
        LeaseStatus::Unknown => "until when is not known here".to_owned(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn peers(group: &Group) -> String {
    let mut text = String::new();
    for member in &group.status.members {
        let kind = match member.kind {
            MemberKind::Site => "site",
            MemberKind::Arbitrator => "arbitrator",
        };
        let heard = match member.heard {
            _ if member.id == group.status.local => "answers".to_owned(),
            Some(time) => format!("heard {} ago", seconds(time)),
            None => "never heard".to_owned(),
        };
        let mut notes = Vec::new();
        if group.status.coordinator == Some(member.id) {
            notes.push("coordinates the group");
        }
        for (is, note) in [
            (member.disclaims, "takes no tickets"),
            (member.observes, "only observes"),
            (member.absent, "declared dead"),
            (member.config_differs, "was started with another configuration"),
        ] {
            notes.extend(is.then_some(note));
        }
        let notes = if notes.is_empty() { String::new() } else { format!("; {}", notes.join(", ")) };
        let _ = writeln!(text, "{kind} {} ({}): {heard}{notes}", member.name, member.addresses.join(", "));
    }
    text
}

fn explain(group: &Group, ticket: &TicketStatus) -> String {
    let mut text = format!("Ticket {} ", ticket.name);
    match ticket.holder {
        Some(holder) => {
            let _ = write!(text, "is held by {}, {}.", group.name(holder), lease(&ticket.lease));
        }
        None if ticket.revoked => text.push_str("was revoked: nobody gets it until somebody grants it."),
        None if ticket.wanted => text.push_str("is held by nobody, and whoever can gets it."),
        None => text.push_str("was never granted: nobody gets it until somebody grants it."),
    }
    if ticket.mode == TicketMode::Manual {
        text.push_str(" Only an administrator decides where it goes.");
    }
    if ticket.standby {
        text.push_str(" It is on standby: what depends on it does not run.");
    }
    if let Some(moving) = &ticket.moving {
        let _ = write!(text, " It is on its way from {} to {}.", group.name(moving.from), group.name(moving.to));
    }
    text.push('\n');
    for candidate in &ticket.candidates {
        let name = group.name(candidate.site);
        let _ = match &candidate.obstacle {
            None => writeln!(text, "{name} could take it."),
            Some(reason) => writeln!(text, "{name} could not take it: {}.", group.in_names(reason)),
        };
    }
    for (site, times) in &ticket.failures {
        let _ = writeln!(text, "{} gave it up {times} times in a row because it could not run it.", group.name(*site));
    }
    match group.status.coordinator {
        Some(coordinator) => {
            let _ = writeln!(text, "{} coordinates the group.", group.name(coordinator));
        }
        // In booth's protocol each site decides for itself.
        None if group.status.protocol == Protocol::Booth => {}
        None => text.push_str("No member is heard that coordinates the group: nothing changes until one is.\n"),
    }
    text.push_str(&peers(group));
    text
}

fn attr(group: &mut Group, arguments: &Attr, world: &mut World) -> Outcome {
    let Attr { ticket, site, name, value, delete } = arguments;
    let site = group.member(site.as_deref())?;
    if let Some(name) = name.as_ref().filter(|_| *delete || value.is_some()) {
        let (ticket, name, value) = (ticket.clone(), name.clone(), value.clone());
        return group.does(Ask::Attribute { ticket, site, name, value }, world);
    }
    let all = group.ticket(ticket)?.attributes.iter().filter(|attribute| attribute.site == site);
    let shown: Vec<_> = all.filter(|attribute| name.as_ref().is_none_or(|name| attribute.name == *name)).collect();
    if let (Some(name), true) = (name, shown.is_empty()) {
        return Err(Failure::no_such(format!("{} has no attribute {name} of ticket {ticket}", group.name(site))));
    }
    for attribute in shown {
        match name {
            Some(_) => writeln!(world.out, "{}", attribute.value)?,
            None => writeln!(world.out, "{} = {}", attribute.name, attribute.value)?,
        }
    }
    Ok(Exit::OK)
}

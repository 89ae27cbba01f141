//! `hakudo ticket`: tickets that sites share. A ticket says which site may run what depends on it.
//!
//! The node of this machine answers for its site, and an arbitrator for itself (`--socket`): any member can be asked
//! anything, and the group decides.

use crate::cli::Global;
use crate::client::{Client, unexpected};
use crate::command::{ticket_check, ticket_key, ticket_text};
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::output;
use crate::world::World;
use clap::{Args, Subcommand, ValueEnum};
use hakudo_controller::request::{Reply, Request};
use hakudo_tickets::{MemberId, Outcome as Did, Refusal, Reply as Answer, Request as Ask, Status, TicketStatus};
use serde::Serialize;
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
    /// A site takes a ticket, or any, no more; or takes them again
    Disclaim(Disclaim),
    /// A site only decides and records, and starts nothing; or acts again
    Drill(Switch),
    /// Check booth.conf: all that is wrong in it is shown at its place
    Check(ticket_check::Check),
    /// Make a key pair for this member, and print the public key; or print that of a pair that is there
    Key(ticket_key::Key),
    /// Make the group go by the configuration of the member that is asked
    Configure(Configure),
    /// The last resort when most members are lost for good: go on with these alone
    ///
    /// What the others decided and these have not heard of is lost; an order that was not answered may still come into force. Make sure
    /// that nothing runs at the others, and that they do not come back where they do not hear these.
    TakeOver(TakeOver),
}

/// In which form the output is.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Shown {
    /// The form of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output_as: Form,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[default]
    Text,
    /// For programs: schema/ticket.json says how it is built
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
    #[command(flatten)]
    shown: Shown,
}

/// A ticket, maybe by force.
#[derive(Debug, Args)]
pub(crate) struct Forced {
    /// The ticket
    ticket: String,
    /// Do not wait for the holder: somebody made sure that nothing runs there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    shown: Shown,
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
    #[command(flatten)]
    shown: Shown,
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
    #[command(flatten)]
    shown: Shown,
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
    #[command(flatten)]
    shown: Shown,
}

/// Arguments of `disclaim`.
#[derive(Debug, Args)]
pub(crate) struct Disclaim {
    /// Only this ticket; all of them if none is named
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    #[command(flatten)]
    switch: Switch,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// From now on
    On,
    /// Not any more
    Off,
}

/// Arguments of `configure`.
#[derive(Debug, Args)]
pub(crate) struct Configure {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Arguments of `take-over`.
#[derive(Debug, Args)]
pub(crate) struct TakeOver {
    /// The members that go on
    #[arg(required = true, value_name = "MEMBER")]
    members: Vec<String>,
    /// Yes, somebody made sure that nothing runs at the others: if it does, data may be lost. Where the answer is not that it was done, it
    /// may come into force later: they stay down until that is known
    #[arg(long, required = true)]
    the_others_are_down: bool,
    #[command(flatten)]
    shown: Shown,
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

    /// Begins to ask the group, with all steps on the way.
    pub(crate) fn begin(&mut self, what: Ask) -> Result<(), Failure> {
        self.client.begin(&Request::Tickets { ask: Box::new(what), progress: true })
    }

    /// Whether the group says more in this time.
    pub(crate) fn answers_within(&self, time: Duration) -> Result<bool, Failure> {
        self.client.answers_within(time)
    }

    /// What the group says next.
    pub(crate) fn next(&mut self) -> Result<Answer, Failure> {
        match self.client.answer()? {
            Reply::Tickets { answer } => Ok(*answer),
            other => Err(unexpected(&other)),
        }
    }

    /// The CIB of the member that is asked.
    pub(crate) fn cib(&mut self) -> Result<String, Failure> {
        self.client.cib()
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

    /// Has something done and tells what came of it; each step on the way is told on standard error as it is taken.
    fn does(&mut self, what: Ask, shown: Shown, world: &mut World) -> Outcome {
        let begun = Instant::now();
        self.begin(what)?;
        let mut steps = Vec::new();
        let did = loop {
            match self.next()? {
                Answer::Done(did) => break did,
                Answer::Refused(refusal) => {
                    return Err(self.renamed(Failure::new(exit(&refusal), refusal.to_string())));
                }
                Answer::Progress(step) => {
                    let (after, step) = (begun.elapsed().as_secs_f64(), self.in_names(&step.to_string()));
                    writeln!(world.err, "{after:6.2} s  {step}")?;
                    world.err.flush()?;
                    steps.push(step);
                }
            }
        };
        match shown.output_as {
            Form::Text => writeln!(world.out, "{}", self.told(&did))?,
            Form::Json => write!(world.out, "{}", output::json(&self.done(&did, steps))?)?,
        }
        Ok(Exit::OK)
    }

    /// What came of it, for programs.
    fn done(&self, did: &Did, steps: Vec<String>) -> Done {
        let (outcome, site, generation, interruption) = match did {
            Did::Done | Did::Status(_) => ("done", None, None, None),
            Did::NotHeld => ("not-held", None, None, None),
            Did::Granted { site, generation } => ("granted", Some(*site), Some(*generation), None),
            Did::Moved { to, interruption } => ("moved", Some(*to), None, *interruption),
            Did::Would(_) => ("would", None, None, None),
            Did::Differences(_) => ("differences", None, None, None),
        };
        let steps = match did {
            Did::Would(steps) => steps.iter().map(|step| self.in_names(&step.to_string())).collect(),
            Did::Differences(differences) => differences.iter().map(|line| self.in_names(line)).collect(),
            _ => steps,
        };
        Done {
            outcome,
            text: self.told(did),
            site: site.map(|site| self.name(site)),
            generation,
            interruption_seconds: interruption.map(|time| time.as_secs_f64()),
            steps,
        }
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
            Did::Differences(differences) if differences.is_empty() => {
                "the group goes by the configuration of this member already".to_owned()
            }
            Did::Differences(differences) => self.in_names(&differences.join("\n")),
            Did::Status(_) => String::new(),
        }
    }

    /// A text of the core, which knows members by number.
    pub(crate) fn in_names(&self, text: &str) -> String {
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
        | Refusal::TakeOverByMajority
        | Refusal::AttributeSize
        | Refusal::AttributeName(_) => Exit::USAGE,
        _ => Exit::ERROR,
    }
}

pub(crate) fn run(command: &Command, global: &Global, world: &mut World) -> Outcome {
    match command {
        Command::Check(arguments) => ticket_check::run(arguments, global, world),
        Command::Key(arguments) => ticket_key::run(arguments, world),
        _ => ask_group(command, &mut Group::of(global, world)?, world),
    }
}

fn ask_group(command: &Command, group: &mut Group, world: &mut World) -> Outcome {
    match command {
        // They need no group.
        Command::Check(_) | Command::Key(_) => Ok(Exit::OK),
        Command::List(shown) => show(group, *shown, ticket_text::list, world),
        Command::Peers(shown) => show(group, *shown, ticket_text::peers, world),
        Command::Explain(Explain { ticket, shown }) => {
            let explanation = ticket_text::explain(group, group.ticket(ticket)?);
            let text = match shown.output_as {
                Form::Text => explanation.text + "\n",
                Form::Json => output::json(&explanation)?,
            };
            write!(world.out, "{text}")?;
            Ok(Exit::OK)
        }
        Command::Grant(Grant { ticket, to, force, shown }) => {
            let site = group.member(to.as_deref())?;
            group.does(Ask::Grant { ticket: ticket.clone(), site, force: *force }, *shown, world)
        }
        Command::Revoke(Forced { ticket, force, shown }) => {
            group.does(Ask::Revoke { ticket: ticket.clone(), force: *force }, *shown, world)
        }
        Command::Move(Move { ticket, to, dry_run, shown }) => {
            let to = group.member(Some(to))?;
            group.does(Ask::Move { ticket: ticket.clone(), to, dry_run: *dry_run }, *shown, world)
        }
        Command::Standby(Named { ticket, shown }) => {
            group.does(Ask::Standby { ticket: ticket.clone(), on: true }, *shown, world)
        }
        Command::Activate(Named { ticket, shown }) => {
            group.does(Ask::Standby { ticket: ticket.clone(), on: false }, *shown, world)
        }
        Command::Attr(arguments) => attr(group, arguments, world),
        Command::Disclaim(Disclaim { ticket, switch: Switch { state, site, shown } }) => {
            let site = group.member(site.as_deref())?;
            if let Some(ticket) = ticket {
                group.ticket(ticket)?;
            }
            group.does(Ask::Disclaim { site, ticket: ticket.clone(), on: *state == OnOff::On }, *shown, world)
        }
        Command::Drill(Switch { state, site, shown }) => {
            let site = group.member(site.as_deref())?;
            group.does(Ask::Observe { site, on: *state == OnOff::On }, *shown, world)
        }
        Command::Configure(Configure { dry_run, shown }) => group.does(Ask::Adopt { dry_run: *dry_run }, *shown, world),
        Command::TakeOver(TakeOver { members, shown, .. }) => {
            let members = members.iter().map(|name| group.member(Some(name))).collect::<Result<_, _>>()?;
            group.does(Ask::TakeOver { members }, *shown, world)
        }
    }
}

fn show(group: &Group, shown: Shown, text: impl FnOnce(&Group) -> String, world: &mut World) -> Outcome {
    let text = match shown.output_as {
        Form::Text => text(group),
        Form::Json => output::json(&group.status)?,
    };
    write!(world.out, "{text}")?;
    Ok(Exit::OK)
}

/// What came of a request, as JSON (schema/ticket.json).
#[derive(Debug, Serialize)]
struct Done {
    outcome: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interruption_seconds: Option<f64>,
    steps: Vec<String>,
}

/// An attribute, as JSON (schema/ticket.json).
#[derive(Debug, Serialize)]
struct ShownAttribute {
    site: String,
    name: String,
    value: String,
    set: Option<String>,
}

fn attr(group: &mut Group, arguments: &Attr, world: &mut World) -> Outcome {
    let Attr { ticket, site, name, value, delete, shown: form } = arguments;
    let site = group.member(site.as_deref())?;
    if let Some(name) = name.as_ref().filter(|_| *delete || value.is_some()) {
        let (ticket, name, value) = (ticket.clone(), name.clone(), value.clone());
        return group.does(Ask::Attribute { ticket, site, name, value }, *form, world);
    }
    let all = group.ticket(ticket)?.attributes.iter().filter(|attribute| attribute.site == site);
    let shown: Vec<_> = all.filter(|attribute| name.as_ref().is_none_or(|name| attribute.name == *name)).collect();
    if let (Some(name), true) = (name, shown.is_empty()) {
        return Err(Failure::no_such(format!("{} has no attribute {name} of ticket {ticket}", group.name(site))));
    }
    if form.output_as == Form::Json {
        let all = shown.into_iter().map(|attribute| ShownAttribute {
            site: group.name(attribute.site),
            name: attribute.name.clone(),
            value: attribute.value.clone(),
            set: jiff::Timestamp::from_millisecond(attribute.set).ok().map(|time| time.to_string()),
        });
        write!(world.out, "{}", output::json(&all.collect::<Vec<_>>())?)?;
        return Ok(Exit::OK);
    }
    for attribute in shown {
        match name {
            Some(_) => writeln!(world.out, "{}", attribute.value)?,
            None => writeln!(world.out, "{} = {}", attribute.name, attribute.value)?,
        }
    }
    Ok(Exit::OK)
}

#[cfg(test)]
mod tests;

//! `crm_ticket`: tickets of this cluster, as Pacemaker's tool shows and changes them. boothd calls it at a site.

use super::Cluster;
use crate::exit::{Exit, Outcome};
use crate::input::Source;
use crate::world::World;
use clap::{Parser, ValueEnum};
use hakudo_cib::{Document, Element};
use hakudo_controller::request::{Request, TicketChange};
use hakudo_tickets::booth::text;
use hakudo_view::xml;
use std::ffi::OsString;

/// Show and change tickets of this cluster.
#[derive(Debug, Parser)]
#[command(name = "crm_ticket", disable_version_flag = true)]
pub(super) struct Options {
    /// Show tickets
    #[arg(short = 'l', long, group = "command")]
    info: bool,
    /// Show tickets with all their attributes
    #[arg(short = 'L', long, group = "command")]
    details: bool,
    /// Show the names of tickets
    #[arg(short = 'w', long, group = "command")]
    raw: bool,
    /// Show tickets as XML
    #[arg(short = 'q', long, group = "command")]
    query_xml: bool,
    /// Show the constraints that need a ticket, as XML
    #[arg(short = 'c', long, group = "command")]
    constraints: bool,
    /// Show an attribute
    #[arg(short = 'G', long, group = "command", value_name = "ATTRIBUTE")]
    get_attr: Option<String>,
    /// Forget a ticket and all its attributes
    #[arg(short = 'C', long, group = "command")]
    cleanup: bool,
    /// Grant a ticket to this cluster
    #[arg(short = 'g', long, conflicts_with_all = ["command", "revoke"])]
    grant: bool,
    /// Revoke a ticket from this cluster
    #[arg(short = 'r', long, conflicts_with = "command")]
    revoke: bool,
    /// Set a ticket aside: what depends on it stops in good order
    #[arg(short = 's', long, conflicts_with_all = ["command", "activate"])]
    standby: bool,
    /// Use a ticket again
    #[arg(short = 'a', long, conflicts_with = "command")]
    activate: bool,
    /// Set an attribute; several with a value each, and together with what changes the ticket
    #[arg(short = 'S', long, value_name = "ATTRIBUTE", conflicts_with = "command")]
    set_attr: Vec<String>,
    /// Delete an attribute; several too
    #[arg(short = 'D', long, value_name = "ATTRIBUTE", conflicts_with = "command")]
    delete_attr: Vec<String>,
    /// The value for --set-attr
    #[arg(short = 'v', long, value_name = "VALUE", allow_hyphen_values = true)]
    attr_value: Vec<String>,
    /// What to show where the attribute is not there
    #[arg(short = 'd', long, value_name = "VALUE", allow_hyphen_values = true)]
    default: Option<String>,
    /// Really
    #[arg(short, long)]
    force: bool,
    /// The ticket
    #[arg(short, long)]
    ticket: Option<String>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output_as: Form,
    /// Show the version
    #[arg(short = '$', long)]
    version: bool,
    /// Say more
    #[arg(short = 'V', long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Means nothing: the element of a ticket needs no name
    #[arg(short = 'n', long, value_name = "ID", hide = true)]
    set_name: Option<String>,
    /// Means nothing: the element of an attribute needs no name
    #[arg(short = 'i', long, value_name = "ID", hide = true)]
    nvpair: Option<String>,
    /// Obsolete: output is quiet
    #[arg(short = 'Q', long, hide = true)]
    quiet: bool,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Text,
    /// For programs: the API result of Pacemaker's tools
    Xml,
}

impl Options {
    fn shows(&self) -> bool {
        self.info || self.details || self.raw || self.query_xml || self.constraints || self.get_attr.is_some()
    }

    fn changes(&self) -> bool {
        let attributes = !self.set_attr.is_empty() || !self.delete_attr.is_empty();
        self.grant || self.revoke || self.standby || self.activate || attributes
    }
}

/// An error of this tool, as it says it.
fn fails(exit: Exit, text: &str, world: &mut World) -> Outcome {
    writeln!(world.err, "crm_ticket: {text}")?;
    Ok(exit)
}

pub(super) fn run(options: &Options, arguments: &[OsString], world: &mut World) -> Outcome {
    if options.version {
        super::version(world)?;
        return Ok(Exit::OK);
    }
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let request = words.join(" ");
    if options.shows() {
        show(options, &request, world)
    } else if options.cleanup {
        clean_up(options, &request, world)
    } else if options.changes() {
        alter(options, &request, world)
    } else {
        fails(Exit::USAGE, "Must supply a command", world)
    }
}

const WHICH: &str = "Must supply ticket ID with -t";

/// A change that was made: nothing is said of it in words.
fn done(options: &Options, request: &str, world: &mut World) -> Outcome {
    if options.output_as == Form::Xml {
        write!(world.out, "{}", xml::result(request, Vec::new(), Exit::OK.0, &[]))?;
    }
    Ok(Exit::OK)
}

/// Pacemaker's words for true.
fn is_true(value: &str) -> bool {
    ["true", "on", "yes", "y", "1"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// What is to be changed, or why nothing is: what takes the ticket away comes first, what gives it last.
fn wanted(options: &Options) -> Result<Vec<TicketChange>, String> {
    if let Some(name) = options.set_attr.get(options.attr_value.len()) {
        return Err(format!("Must supply value with -v for -S {name}"));
    }
    let mut changes = Vec::new();
    for (given, change) in [
        (options.grant, TicketChange::Grant),
        (options.revoke, TicketChange::Revoke),
        (options.standby, TicketChange::Standby),
        (options.activate, TicketChange::Activate),
    ] {
        changes.extend(given.then_some(change));
    }
    let set =
        options.set_attr.iter().zip(&options.attr_value).map(|(name, value)| match (name.as_str(), is_true(value)) {
            ("granted", true) => TicketChange::Grant,
            ("granted", false) => TicketChange::Revoke,
            ("standby", true) => TicketChange::Standby,
            ("standby", false) => TicketChange::Activate,
            _ => TicketChange::Set { name: name.clone(), value: value.clone() },
        });
    changes.extend(set);
    changes.extend(options.delete_attr.iter().map(|name| match name.as_str() {
        "granted" => TicketChange::Revoke,
        "standby" => TicketChange::Activate,
        _ => TicketChange::Remove { name: name.clone() },
    }));
    changes.sort_by_key(|change| match change {
        TicketChange::Revoke => 0,
        TicketChange::Grant => 2,
        _ => 1,
    });
    Ok(changes)
}

fn alter(options: &Options, request: &str, world: &mut World) -> Outcome {
    let Some(ticket) = &options.ticket else { return fails(Exit::USAGE, WHICH, world) };
    let changes = match wanted(options) {
        Ok(changes) => changes,
        Err(why) => return fails(Exit::USAGE, &why, world),
    };
    let question = if changes.contains(&TicketChange::Revoke) {
        Some(text::revoke_needs_force(ticket))
    } else {
        changes.contains(&TicketChange::Grant).then(|| text::grant_needs_force(ticket))
    };
    if let Some(question) = question.filter(|_| !options.force) {
        write!(world.out, "{question}")?;
        return fails(Exit::INSUFFICIENT_PRIVILEGES, "Ticket modification not allowed", world);
    }
    let mut cluster = Cluster::connect(world)?;
    for change in changes {
        // The force of this tool says that the ticket is nowhere else; it may not override the safety of this cluster.
        cluster.client.command(&Request::Ticket { ticket: ticket.clone(), change, force: false })?;
    }
    done(options, request, world)
}

fn clean_up(options: &Options, request: &str, world: &mut World) -> Outcome {
    let Some(ticket) = &options.ticket else { return fails(Exit::USAGE, WHICH, world) };
    let mut cluster = Cluster::connect(world)?;
    let cib = cluster.cib()?;
    let Some(state) = states(&cib).find(|state| state.id() == ticket) else { return no_such(ticket, world) };
    if state.attribute("granted").is_some_and(is_true) && !options.force {
        write!(world.out, "{}", text::revoke_needs_force(ticket))?;
        return Ok(Exit::INSUFFICIENT_PRIVILEGES);
    }
    let change = TicketChange::Forget;
    cluster.client.command(&Request::Ticket { ticket: ticket.clone(), change, force: options.force })?;
    if options.output_as == Form::Text {
        writeln!(world.out, "Cleaned up {ticket}")?;
    }
    done(options, request, world)
}

fn no_such(ticket: &str, world: &mut World) -> Outcome {
    fails(Exit::NO_SUCH, &format!("No such ticket '{ticket}'"), world)
}

fn show(options: &Options, request: &str, world: &mut World) -> Outcome {
    let (cib, _) = Source::of(None, None, world).cib()?;
    let ticket = options.ticket.as_deref();
    let is_meant = |name: Option<&str>| ticket.is_none() || name == ticket;
    if options.constraints {
        let meant = constraints(&cib).filter(|constraint| is_meant(constraint.attribute("ticket")));
        let meant = all(meant, if options.output_as == Form::Xml { "constraints" } else { "xpath-query" });
        let as_text = |shown: &Element| {
            let found = shown.name() == "rsc_ticket" || shown.children().next().is_some();
            text::ticket_constraints(&if found { shown.to_xml() } else { String::new() })
        };
        return print(options, request, meant, as_text, world);
    }
    if let Some(name) = &options.get_attr {
        let Some(ticket) = ticket else { return fails(Exit::NO_SUCH, WHICH, world) };
        let state = states(&cib).find(|state| state.id() == ticket);
        let value = state.and_then(|state| state.attribute(name)).or(options.default.as_deref());
        let Some(value) = value else { return Ok(Exit::NO_SUCH) };
        let attribute = Element::new("attribute").with("name", name.as_str()).with("value", value);
        let mut shown = Element::new("ticket").with("id", ticket);
        shown.push(attribute);
        let line = format!("{value}\n");
        return print(options, request, parent("tickets", [shown]), |_| line.clone(), world);
    }
    if options.query_xml {
        let meant = states(&cib).filter(|state| is_meant(Some(state.id())));
        let meant = all(meant, "tickets");
        if let (Some(ticket), true) = (ticket, states(&cib).all(|state| Some(state.id()) != options.ticket.as_deref()))
        {
            return no_such(ticket, world);
        }
        return print(options, request, meant, |shown| text::ticket_xml(&shown.to_xml()), world);
    }
    // A ticket that only constraints name is one that is not granted.
    let mut known: Vec<Element> = states(&cib).cloned().collect();
    for name in constraints(&cib).filter_map(|constraint| constraint.attribute("ticket")) {
        if known.iter().all(|state| state.id() != name) {
            known.push(Element::new("ticket_state").with("id", name));
        }
    }
    known.retain(|state| is_meant(Some(state.id())));
    if let (Some(ticket), true) = (ticket, known.is_empty()) {
        return no_such(ticket, world);
    }
    let now = jiff::Timestamp::from_second(world.now).unwrap_or_default();
    let offset = world.zone.to_offset(now).seconds();
    let line = |state: &Element| match options {
        Options { raw: true, .. } => format!("{}\n", state.id()),
        Options { details: true, .. } if state.attributes().len() > 1 => text::ticket_details(state, offset),
        _ => text::ticket_line(state, offset),
    };
    let lines: String = known.iter().map(line).collect();
    let shown = parent("tickets", known.iter().map(|state| as_xml(state, options)));
    print(options, request, shown, |_| lines.clone(), world)
}

/// The elements as they are shown: one alone is itself, several have a parent.
fn all<'a>(elements: impl Iterator<Item = &'a Element>, name: &'static str) -> Element {
    let mut elements: Vec<Element> = elements.cloned().collect();
    if elements.len() == 1 { elements.remove(0) } else { parent(name, elements) }
}

fn parent(name: &'static str, children: impl IntoIterator<Item = Element>) -> Element {
    let mut parent = Element::new(name);
    children.into_iter().for_each(|child| parent.push(child));
    parent
}

fn print(
    options: &Options,
    request: &str,
    shown: Element,
    as_text: impl FnOnce(&Element) -> String,
    world: &mut World,
) -> Outcome {
    let text = match options.output_as {
        Form::Text => as_text(&shown),
        Form::Xml => {
            let single = matches!(shown.name(), "rsc_ticket" | "ticket_state");
            let name = if options.constraints { "constraints" } else { "tickets" };
            xml::result(request, vec![if single { parent(name, [shown]) } else { shown }], Exit::OK.0, &[])
        }
    };
    write!(world.out, "{text}")?;
    Ok(Exit::OK)
}

/// A ticket in an API result.
fn as_xml(state: &Element, options: &Options) -> Element {
    let ticket = Element::new("ticket").with("id", state.id());
    if options.raw {
        return ticket;
    }
    let is = |name: &str| state.attribute(name).is_some_and(is_true);
    let status = if is("granted") { "granted" } else { "revoked" };
    let mut ticket = ticket.with("status", status).with("standby", is("standby").to_string());
    for attribute in state.attributes() {
        let known = matches!(&*attribute.name, "id" | "granted" | "standby");
        if !known && (options.details || &*attribute.name == "last-granted") {
            ticket = ticket.with(&attribute.name, &*attribute.value);
        }
    }
    ticket
}

fn states(cib: &Document) -> impl Iterator<Item = &Element> {
    cib.section(&["status", "tickets"]).into_iter().flat_map(|tickets| tickets.children_named("ticket_state"))
}

fn constraints(cib: &Document) -> impl Iterator<Item = &Element> {
    cib.section(&["configuration", "constraints"]).into_iter().flat_map(|all| all.children_named("rsc_ticket"))
}

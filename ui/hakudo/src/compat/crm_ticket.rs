//! `crm_ticket`: tickets of this cluster, as Pacemaker's tool shows and changes them.

use super::Cluster;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::world::World;
use clap::Parser;
use hakudo_cib::{Document, Element};
use hakudo_controller::request::{Request, TicketChange};
use hakudo_tickets::booth::text;

/// Show and change tickets of this cluster.
#[derive(Debug, Parser)]
#[command(name = "crm_ticket", version)]
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
    /// Show a ticket as XML
    #[arg(short = 'q', long, group = "command")]
    query_xml: bool,
    /// Show the constraints that need a ticket, as XML
    #[arg(short = 'c', long, group = "command")]
    constraints: bool,
    /// Grant a ticket to this cluster
    #[arg(short = 'g', long, group = "command")]
    grant: bool,
    /// Revoke a ticket from this cluster
    #[arg(short = 'r', long, group = "command")]
    revoke: bool,
    /// Set a ticket aside: what depends on it stops in good order
    #[arg(short = 's', long, group = "command")]
    standby: bool,
    /// Use a ticket again
    #[arg(short = 'a', long, group = "command")]
    activate: bool,
    /// Show an attribute
    #[arg(short = 'G', long, group = "command", value_name = "ATTRIBUTE")]
    get_attr: Option<String>,
    /// Set an attribute
    #[arg(short = 'S', long, group = "command", value_name = "ATTRIBUTE", requires = "attr_value")]
    set_attr: Option<String>,
    /// Delete an attribute
    #[arg(short = 'D', long, group = "command", value_name = "ATTRIBUTE")]
    delete_attr: Option<String>,
    /// Forget a ticket and all its attributes
    #[arg(short = 'C', long, group = "command")]
    cleanup: bool,
    /// The value for --set-attr
    #[arg(short = 'v', long, value_name = "VALUE", allow_hyphen_values = true)]
    attr_value: Option<String>,
    /// What to show where the attribute is not there
    #[arg(short = 'd', long, value_name = "VALUE", allow_hyphen_values = true)]
    default: Option<String>,
    /// Really
    #[arg(short, long)]
    force: bool,
    /// The ticket
    #[arg(short, long)]
    ticket: Option<String>,
    /// Obsolete: output is quiet
    #[arg(short = 'Q', long, hide = true)]
    quiet: bool,
}

pub(super) fn run(options: &Options, world: &mut World) -> Outcome {
    match change(options)? {
        Some(change) => alter(options, change, world),
        None => show(options, world),
    }
}

/// What is to be changed, if anything.
fn change(options: &Options) -> Result<Option<TicketChange>, Failure> {
    let value = || options.attr_value.clone().unwrap_or_default();
    let change = match options {
        Options { grant: true, .. } => TicketChange::Grant,
        Options { revoke: true, .. } => TicketChange::Revoke,
        Options { standby: true, .. } => TicketChange::Standby,
        Options { activate: true, .. } => TicketChange::Activate,
        Options { cleanup: true, .. } => TicketChange::Forget,
        Options { set_attr: Some(name), .. } => TicketChange::Set { name: name.clone(), value: value() },
        Options { delete_attr: Some(name), .. } => TicketChange::Remove { name: name.clone() },
        _ => return Ok(None),
    };
    Ok(Some(change))
}

fn named(options: &Options) -> Result<&str, Failure> {
    options.ticket.as_deref().ok_or_else(|| Failure::usage("which ticket? Name it with --ticket"))
}

fn alter(options: &Options, change: TicketChange, world: &mut World) -> Outcome {
    let ticket = named(options)?;
    let question = match change {
        TicketChange::Grant => Some(text::grant_needs_force(ticket)),
        TicketChange::Revoke => Some(text::revoke_needs_force(ticket)),
        _ => None,
    };
    if let Some(question) = question.filter(|_| !options.force) {
        return Err(Failure::new(Exit::INSUFFICIENT_PRIVILEGES, question.trim_end()));
    }
    // The force of this tool says that the ticket is nowhere else; what it may not override is the safety of this cluster.
    let force = options.force && change == TicketChange::Forget;
    let mut cluster = Cluster::connect(world)?;
    cluster.client.command(&Request::Ticket { ticket: ticket.to_owned(), change, force })?;
    Ok(Exit::OK)
}

fn show(options: &Options, world: &mut World) -> Outcome {
    let (cib, _) = Source::of(None, None, world).cib()?;
    let now = jiff::Timestamp::from_second(world.now).unwrap_or_default();
    let offset = world.zone.to_offset(now).seconds();
    if options.constraints {
        let shown: String = constraints(&cib, options.ticket.as_deref()).map(Element::to_xml).collect();
        write!(world.out, "{}", text::ticket_constraints(&shown))?;
        return Ok(Exit::OK);
    }
    let all =
        cib.section(&["status", "tickets"]).into_iter().flat_map(|tickets| tickets.children_named("ticket_state"));
    let states: Vec<&Element> =
        all.filter(|state| options.ticket.as_deref().is_none_or(|name| state.id() == name)).collect();
    if states.is_empty() && options.ticket.is_some() {
        return Err(Failure::no_such(format!("there is no ticket {}", named(options)?)));
    }
    if let Some(name) = &options.get_attr {
        named(options)?;
        let value = states.first().and_then(|state| state.attribute(name)).or(options.default.as_deref());
        let value = value.ok_or_else(|| Failure::no_such(format!("there is no attribute {name}")))?;
        writeln!(world.out, "{value}")?;
        return Ok(Exit::OK);
    }
    for state in states {
        let shown = match options {
            Options { details: true, .. } => text::ticket_details(state, offset),
            Options { raw: true, .. } => format!("{}\n", state.id()),
            Options { query_xml: true, .. } => text::ticket_xml(&state.to_xml()),
            _ => text::ticket_line(state, offset),
        };
        write!(world.out, "{shown}")?;
    }
    Ok(Exit::OK)
}

fn constraints<'a>(cib: &'a Document, ticket: Option<&'a str>) -> impl Iterator<Item = &'a Element> {
    let all =
        cib.section(&["configuration", "constraints"]).into_iter().flat_map(|all| all.children_named("rsc_ticket"));
    all.filter(move |constraint| ticket.is_none_or(|name| constraint.attribute("ticket") == Some(name)))
}

//! `hakudo replay`: what a node was told and what it did about it, from its recording.

use crate::command::events;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::Args;
use hakudo_controller::{Effect, GuardOrder, TicketEffect};
use hakudo_node::recording::{Replay, Step};
use std::path::PathBuf;

/// Arguments of `hakudo replay`.
#[derive(Debug, Args)]
#[command(after_help = "A node records its inputs in /var/lib/hakudo/recordings; the newest has the highest number. \
A recording holds the configuration with its passwords. What the cluster looked like at a moment:\n\n  \
hakudo replay FILE --until '2026-05-01 12:30:00' --cib > then.xml\n  hakudo status --file then.xml")]
pub(crate) struct Arguments {
    /// The recording
    recording: PathBuf,
    /// Stop at this time (as events show it, or in any form of ISO 8601)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show also every input, and not only the events
    #[arg(long)]
    inputs: bool,
    /// Write configuration and status at the end instead, as XML
    #[arg(long, conflicts_with = "inputs")]
    cib: bool,
}

pub(crate) fn run(arguments: &Arguments, world: &mut World) -> Outcome {
    let damaged = |error: anyhow::Error| Failure::new(Exit::DATA, format!("{error:#}"));
    let until = arguments.until.as_deref().map(|text| moment(text, world)).transpose()?;
    let mut replay = Replay::open(&arguments.recording).map_err(damaged)?;
    let mut other = None;
    while let Some(step) = replay.step().map_err(damaged)? {
        if until.is_some_and(|until| step.time.millis() > until) {
            break;
        }
        if !step.same && other.is_none() {
            other = Some(step.number);
        }
        if !arguments.cib {
            show(&step, arguments.inputs, world)?;
        }
    }
    if arguments.cib {
        let cib = replay.cib().ok_or_else(|| Failure::new(Exit::SOFTWARE, "the replay gave no CIB".to_owned()))?;
        writeln!(world.out, "{}", cib.trim_end())?;
    }
    match other {
        None => Ok(Exit::OK),
        Some(number) => Err(Failure::new(
            Exit::ERROR,
            format!(
                "from input {number} on, the replay did something else than node {} did: it was recorded by version {}, \
                 this is version {}",
                replay.header.node,
                replay.header.program,
                env!("CARGO_PKG_VERSION")
            ),
        )),
    }
}

fn show(step: &Step, inputs: bool, world: &mut World) -> Result<(), Failure> {
    if inputs {
        let changed = if step.same { "" } else { "  (what follows differs from what was done)" };
        writeln!(world.out, "{}  <- {}{changed}", events::time(step.time.millis(), world), step.told)?;
    }
    for effect in &step.effects {
        match effect {
            Effect::Event(event) => writeln!(world.out, "{}", events::line(event, world))?,
            other if inputs => writeln!(world.out, "{:>23}  -> {}", "", words(other))?,
            _ => {}
        }
    }
    Ok(())
}

fn words(effect: &Effect) -> String {
    match effect {
        Effect::Broadcast(payload) => format!("tells all ({} bytes)", payload.len()),
        Effect::Persist { token, .. } => format!("writes state {token}"),
        Effect::KeepAside { reason, .. } => format!("keeps the losing configuration aside: {reason}"),
        Effect::Execute { call, .. } => format!("call {}: {} of {}", call.call, call.operation, call.resource),
        Effect::Cancel { call, .. } => format!("cancels call {call}"),
        Effect::Remember { memory } => format!("has the promotion scores kept ({} bytes)", memory.len()),
        Effect::Forget { resource } => format!("forgets {resource}"),
        Effect::Guard(GuardOrder::Arm(guard)) => {
            format!("has ticket {} guarded: {} steps at the end of its lease", guard.ticket, guard.steps.len())
        }
        Effect::Guard(GuardOrder::Extend { ticket, .. }) => {
            format!("has the end of the lease of ticket {ticket} moved")
        }
        Effect::Guard(GuardOrder::Disarm { ticket }) => format!("has ticket {ticket} guarded no more"),
        Effect::Guard(GuardOrder::Only { tickets }) => format!("has at most {} tickets guarded", tickets.len()),
        Effect::Plan { token, .. } => format!("asks for plan {token}"),
        Effect::Reply { client, .. } => format!("answers client {client}"),
        Effect::Fenced(node) => format!("node {node} is known to be dead"),
        Effect::StopAtOnce { .. } => "stops at once: it was fenced".into(),
        Effect::Leave => "leaves".into(),
        Effect::Tickets(TicketEffect::Send { to, bytes }) => {
            format!("tells member {to} of the ticket group ({} bytes)", bytes.len())
        }
        Effect::Tickets(TicketEffect::Answer { client, bytes, .. }) => {
            format!("answers client {client} of booth ({} bytes)", bytes.len())
        }
        Effect::Tickets(TicketEffect::Speak(true)) => "speaks for the site".into(),
        Effect::Tickets(TicketEffect::Speak(false)) => "does not speak for the site any more".into(),
        Effect::Tickets(TicketEffect::Check(check)) => {
            format!("has ticket {} checked before it is taken", check.ticket)
        }
        Effect::Event(event) => event.text.clone(),
    }
}

/// Milliseconds since 1970 of a time that a person wrote.
fn moment(text: &str, world: &World) -> Result<i64, Failure> {
    let local = || text.parse::<jiff::civil::DateTime>()?.to_zoned(world.zone.clone()).map(|zoned| zoned.timestamp());
    text.parse::<jiff::Timestamp>()
        .or_else(|_| local())
        .map(|time| time.as_millisecond())
        .map_err(|error| Failure::usage(format!("'{text}' is no time: {error}")))
}

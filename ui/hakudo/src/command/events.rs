//! `hakudo events`: what happened, as this node saw it; and how long each interruption was, by phase.

use crate::cli::Global;
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Format;
use crate::phases::{Interruption, Reader};
use crate::world::World;
use clap::Args;
use hakudo_base::Severity;
use hakudo_controller::request::{Event, Reply, Request};
use std::time::Duration;

/// Arguments of `hakudo events`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Go on and show what happens, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// The newest so many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    lines: u32,
    /// Only events about this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only events about this resource
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// The form of the output; JSON has one event a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output_as: Format,
}

impl Arguments {
    fn wanted(&self, event: &Event) -> bool {
        let fits = |filter: &Option<String>, value: &Option<String>| filter.is_none() || filter == value;
        fits(&self.node, &event.node) && fits(&self.resource, &event.resource)
    }

    /// An interruption concerns the node or resource that failed, and what was started because of it.
    fn concerns(&self, interruption: &Interruption) -> bool {
        let node = self.node.is_none() || self.node == interruption.node;
        let of_resource =
            |name: &String| Some(name) == interruption.resource.as_ref() || interruption.started.contains(name);
        node && self.resource.as_ref().is_none_or(of_resource)
    }
}

pub(crate) fn run(arguments: &Arguments, global: &Global, world: &mut World) -> Outcome {
    if arguments.output_as == Format::Xml {
        return Err(Failure::usage("events are written as text or as JSON: use --output-as=json"));
    }
    let mut client = global.source(world).client("events")?;
    let mut reader = Reader::default();
    let mut after = show(arguments, &mut client, 0, arguments.lines, &mut reader, world)?;
    if !arguments.follow {
        return Ok(Exit::OK);
    }
    loop {
        world.out.flush()?;
        std::thread::sleep(Duration::from_millis(200));
        after = show(arguments, &mut client, after, 1000, &mut reader, world)?;
    }
}

/// Shows events after a number, and each interruption once it is over; the number of the newest.
fn show(
    arguments: &Arguments,
    client: &mut Client,
    after: u64,
    limit: u32,
    reader: &mut Reader,
    world: &mut World,
) -> Result<u64, Failure> {
    let events = match client.ask(&Request::Events { after, limit })? {
        Reply::Events { events } => events,
        other => return Err(unexpected(&other)),
    };
    let newest = events.last().map_or(after, |event| event.number);
    for event in &events {
        if arguments.wanted(event) {
            let text = match arguments.output_as {
                Format::Json => json_line(event)?,
                Format::Text | Format::Xml => line(event, world),
            };
            writeln!(world.out, "{text}")?;
        }
        for interruption in reader.read(event).iter().filter(|i| arguments.concerns(i)) {
            let text = match arguments.output_as {
                Format::Json => json_line(interruption)?,
                Format::Text | Format::Xml => {
                    format!("{}  {:<14} {}", time(interruption.time_ms, world), "interruption", interruption.text)
                }
            };
            writeln!(world.out, "{text}")?;
        }
    }
    Ok(newest)
}

fn json_line(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::SOFTWARE, format!("cannot write an event as JSON: {error}")))
}

/// An event in one line: when, how grave, what, and how long it took.
pub(crate) fn line(event: &Event, world: &World) -> String {
    let time = time(event.time_ms, world);
    let severity = match event.severity {
        Severity::Info => "",
        Severity::Warning => "warning: ",
        Severity::Error => "error: ",
    };
    let took = event.took_ms.map(|ms| format!(" ({ms} ms)")).unwrap_or_default();
    format!("{time}  {:<14} {severity}{}{took}", event.kind, event.text)
}

/// A time with its milliseconds, in this machine's time zone.
pub(crate) fn time(milliseconds: i64, world: &World) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).map_or_else(
        |_| milliseconds.to_string(),
        |time| time.to_zoned(world.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn an_event_is_one_line() {
        let (world, _) = testing::world();
        let event = Event {
            number: 7,
            time_ms: 1_700_000_000_123,
            severity: Severity::Error,
            kind: "action-failed".to_owned(),
            node: Some("node1".to_owned()),
            resource: Some("web".to_owned()),
            took_ms: Some(250),
            text: "web could not be stopped on node1".to_owned(),
        };
        assert_eq!(
            line(&event, &world),
            "2023-11-14 22:13:20.123  action-failed  error: web could not be stopped on node1 (250 ms)"
        );
    }
}

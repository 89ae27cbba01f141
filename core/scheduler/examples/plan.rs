//! Writes the graph and the scores for a CIB, as `crm_simulate -x FILE -G GRAPH -sSQ` does.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "a tool, and no core"
)]

use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_cib::iso8601::LocalTime;
use hakudo_scheduler::Purpose;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut input, mut graph, mut scores, mut now, mut why) = (None, None, false, None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-x" => input = arguments.next(),
            "-G" => graph = arguments.next(),
            "-sSQ" => scores = true,
            "-t" => now = arguments.next(),
            "--why" => why = true,
            _ => {}
        }
    }
    let text = std::fs::read_to_string(input.ok_or("-x FILE is missing")?)?;
    let cib = Document::parse(&text)?;
    let executed = cib.root().attribute("execution-date").and_then(|date| date.parse().ok());
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs());
    let seconds = match now {
        Some(text) => LocalTime::parse(&text, LocalTime::at(UnixTime::from_seconds(0), 0))?.unix_seconds(),
        None => executed.unwrap_or(i64::try_from(clock()?)?),
    };
    let plan = hakudo_scheduler::plan_for(&cib, UnixTime::from_seconds(seconds), Purpose::Inspection);
    if let Some(graph) = graph {
        std::fs::write(graph, plan.transition.to_xml())?;
    }
    if scores {
        plan.scores.iter().for_each(|line| println!("{line}"));
    }
    if why {
        plan.problems.iter().for_each(|problem| println!("{}: {}", problem.id, problem.message));
        plan.changes.iter().for_each(|change| println!("{change:?}"));
    }
    Ok(())
}

//! Writes the graph and the scores for a CIB, as `crm_simulate -x FILE -G GRAPH -sSQ` does; with `--time N`, only measures.
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
    let (mut input, mut graph, mut scores, mut now, mut why, mut repeat) = (None, None, false, None, false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-x" => input = arguments.next(),
            "-G" => graph = arguments.next(),
            "-sSQ" => scores = true,
            "-t" => now = arguments.next(),
            "--why" => why = true,
            "--time" => repeat = arguments.next().map(|text| text.parse::<u32>()).transpose()?,
            _ => {}
        }
    }
    let text = std::fs::read_to_string(input.ok_or("-x FILE is missing")?)?;
    let began = std::time::Instant::now();
    let cib = Document::parse(&text)?;
    let read = began.elapsed();
    let executed = cib.root().attribute("execution-date").and_then(|date| date.parse().ok());
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs());
    let seconds = match now {
        Some(text) => LocalTime::parse(&text, LocalTime::at(UnixTime::from_seconds(0), 0))?.unix_seconds(),
        None => executed.unwrap_or(i64::try_from(clock()?)?),
    };
    if let Some(repeat) = repeat {
        return time(&cib, UnixTime::from_seconds(seconds), repeat, read);
    }
    let plan = hakudo_scheduler::plan_for(&cib, UnixTime::from_seconds(seconds), Purpose::Inspection);
    if let Some(graph) = graph {
        std::fs::write(graph, plan.transition.to_xml())?;
    }
    if scores {
        plan.scores.iter().filter(|line| !line.is_about_capacity()).for_each(|line| println!("{line}"));
    }
    if why {
        plan.problems.iter().for_each(|problem| println!("{}: {}", problem.id, problem.message));
        plan.changes.iter().for_each(|change| println!("{change:?}"));
    }
    Ok(())
}

/// Plans again and again as for the cluster itself, and prints how long reading and the median of the plans took in
/// milliseconds, how many actions there are, and the largest size of the process in KiB.
fn time(
    cib: &Document,
    now: UnixTime,
    repeat: u32,
    read: std::time::Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut times = Vec::new();
    let mut actions = 0;
    for _ in 0..repeat.max(1) {
        let began = std::time::Instant::now();
        let plan = hakudo_scheduler::plan(cib, now);
        times.push(began.elapsed());
        actions = plan.transition.synapses.len();
    }
    times.sort_unstable();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let peak = peak.trim().trim_end_matches(" kB");
    let median = times[times.len() / 2];
    println!("{:.2} {:.2} {actions} {peak}", read.as_secs_f64() * 1e3, median.as_secs_f64() * 1e3);
    Ok(())
}

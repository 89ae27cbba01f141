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

/// That of the program, so that what is measured here is what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let cib = Document::parse(&text)?;
    let executed = cib.root().attribute("execution-date").and_then(|date| date.parse().ok());
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs());
    let seconds = match now {
        Some(text) => LocalTime::parse(&text, LocalTime::at(UnixTime::from_seconds(0), 0))?.unix_seconds(),
        None => executed.unwrap_or(i64::try_from(clock()?)?),
    };
    if let Some(repeat) = repeat {
        drop(cib);
        return time(&text, UnixTime::from_seconds(seconds), repeat);
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

/// Reads and plans again and again as for the cluster itself, and prints in milliseconds of processor time how long the best of each took, how many actions there are, the largest size of the process in KiB until the first plan was made,
/// and then each phase of the best plan with its time, `name=time`.
fn time(text: &str, now: UnixTime, repeat: u32) -> Result<(), Box<dyn std::error::Error>> {
    let mut read = f64::INFINITY;
    let (mut best, mut phases_of_best, mut actions, mut peak) = (f64::INFINITY, Vec::new(), 0, None);
    for _ in 0..repeat.max(1) {
        let began = processor_seconds();
        let cib = Document::parse(text)?;
        read = read.min(processor_seconds() - began);
        let mut phases = Vec::new();
        let began = processor_seconds();
        let mut last = began;
        let plan = hakudo_scheduler::plan_watched(&cib, now, Purpose::Execution, &mut |phase| {
            let now = processor_seconds();
            phases.push((phase, now - last));
            last = now;
        });
        if last - began < best {
            (best, phases_of_best) = (last - began, phases);
        }
        actions = plan.transition.synapses.len();
        peak.get_or_insert_with(largest_size);
    }
    let peak = peak.unwrap_or_default();
    print!("{:.2} {:.2} {actions} {peak}", read * 1e3, best * 1e3);
    phases_of_best.iter().for_each(|(phase, took)| print!(" {}={:.3}", phase.replace(' ', "-"), took * 1e3));
    println!();
    Ok(())
}

/// The largest size of this process so far, in KiB.
fn largest_size() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    size.trim().trim_end_matches(" kB").to_owned()
}

/// The time that this process has computed for, so that what else the machine does counts little.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

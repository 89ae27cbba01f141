//! `cargo xtask bench scheduler`: how long a plan takes, for reference cases and for large clusters, beside Debian's
//! `crm_simulate` on the same files in the same run, and how that grows with the cluster.
//!
//! All times are processor time, so that what else the machine does counts little; the shortest of several runs is taken.

use super::growth;
use super::large::{Cluster, SERIES, SIMULATED, TARGETS, Target};
use crate::{packages, process};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The scheduler alone: reads a file, plans, and says how long that took.
const PLANNER: &str = "target/release/examples/plan";
/// The whole command.
const HAKUDO: &str = "target/release/hakudo";
const PEER: &str = "crm_simulate";
/// No program is waited for any longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Seconds for one of the reference cases, as a process.
const CASE_TARGET: f64 = 0.005;
/// How many times faster than the peer on the cases that take it longest.
const RATIO_TARGET: f64 = 10.0;
/// Seconds for the plan of the simulated cluster with all that `-S` prints.
const SIMULATED_TARGET: f64 = 1.0;

/// Measures all of it, large clusters and reference cases.
pub(crate) fn run(runs: usize) -> Result<()> {
    process::run(&["cargo", "build", "--release", "--quiet", "--package", "hakudo-scheduler", "--example", "plan"])?;
    process::run(&["cargo", "build", "--release", "--quiet", "--package", "hakudo"])?;
    if process::is_root() {
        packages::install_peer()?;
    }
    let folder = std::env::temp_dir().join(format!("hakudo-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    println!("\n| | hakudo | target | | crm_simulate of Debian | 3.0.2, elsewhere |\n|---|---|---|---|---|---|");
    for target in TARGETS {
        large(target, &folder, runs)?;
    }
    simulated(&folder, runs)?;
    corpus(&folder, runs)?;
    println!("\nGrowth, milliseconds by phase; the exponent is that of the number that doubles.");
    for series in SERIES {
        let figures = series.clusters().map(|(count, cluster)| Ok((count, plan(&write(&folder, &cluster)?, runs)?)));
        growth::report(series, &figures.collect::<Result<Vec<_>>>()?);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// What the planner says of a file.
pub(super) struct Figures {
    /// Milliseconds for the text to become a document.
    pub(super) read: f64,
    /// Milliseconds for the document to become a plan.
    pub(super) plan: f64,
    actions: u64,
    /// MiB at most.
    peak: u64,
    /// Milliseconds of each phase of the plan.
    pub(super) phases: Vec<(String, f64)>,
}

fn plan(file: &Path, runs: usize) -> Result<Figures> {
    let printed = process::output(&[PLANNER, "-x", text(file)?, "--time", &runs.to_string()])?;
    let mut words = printed.split_whitespace();
    let mut next = || words.next().context("the planner printed too little");
    let (read, plan, actions, peak) =
        (next()?.parse()?, next()?.parse()?, next()?.parse()?, next()?.parse::<u64>()? / 1024);
    let phases = words.map(|word| {
        let (phase, took) = word.split_once('=').context("the planner printed a phase without its time")?;
        Ok((phase.to_owned(), took.parse()?))
    });
    Ok(Figures { read, plan, actions, peak, phases: phases.collect::<Result<_>>()? })
}

fn large(target: &Target, folder: &Path, runs: usize) -> Result<()> {
    let file = write(folder, &target.cluster)?;
    let Figures { read, plan, actions, peak, .. } = plan(&file, runs)?;
    let seconds = (read + plan) / 1e3;
    let met = seconds <= target.seconds && target.memory.is_none_or(|memory| peak <= memory);
    let memory = target.memory.map_or_else(String::new, |memory| format!(", {memory} MiB"));
    row(
        &format!("{}: {actions} actions", target.cluster.name()),
        &format!("{seconds:.2} s (reading {read:.0} ms, plan {plan:.0} ms), {peak} MiB"),
        &format!("{} s{memory}", target.seconds),
        met,
        &if target.paired { peer(&file, &["-R", "-Q"], seconds)? } else { "not asked".to_owned() },
        target.reference,
    );
    Ok(())
}

fn simulated(folder: &Path, runs: usize) -> Result<()> {
    let file = write(folder, &SIMULATED)?;
    let ours = fastest(runs, || took(&[HAKUDO, "simulate", "-x", text(&file)?, "-S"]))?;
    row(
        &format!("{}, simulate -S as a process", SIMULATED.name()),
        &seconds(ours),
        &format!("{SIMULATED_TARGET} s"),
        ours.is_some_and(|ours| ours <= SIMULATED_TARGET),
        &peer(&file, &["-S"], ours.unwrap_or(f64::INFINITY))?,
        "150 s",
    );
    Ok(())
}

fn row(what: &str, ours: &str, target: &str, met: bool, peer: &str, reference: &str) {
    println!("| {what} | {ours} | {target} | {} | {peer} | {reference} |", if met { "met" } else { "**missed**" });
}

/// The reference cases: each as a process, and the slowest of the peer in process.
fn corpus(folder: &Path, runs: usize) -> Result<()> {
    let Some(place) = std::env::var_os("HAKUDO_REFERENCE_CASES").map(PathBuf::from) else {
        println!("\nHAKUDO_REFERENCE_CASES does not say where reference cases are: these are left out.");
        return Ok(());
    };
    let cases = place.join("pacemaker-scheduler/xml");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&cases)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let installed = process::is_installed(PEER);
    let mean = |program: &[&str]| -> Result<Option<f64>> {
        let before = processor_seconds_of_children()?;
        for file in &files {
            let mut words = program.to_vec();
            words.extend(["-x", text(file)?, "-S"]);
            took(&words)?;
        }
        Ok(Some((processor_seconds_of_children()? - before) / files.len().max(1) as f64))
    };
    let runs = runs.min(3);
    let ours = fastest(runs, || mean(&[HAKUDO, "simulate"]))?.unwrap_or_default();
    let theirs = if installed { fastest(runs, || mean(&[PEER]))? } else { None };
    row(
        &format!("{} reference cases, -S as a process each, mean", files.len()),
        &format!("{:.1} ms", ours * 1e3),
        &format!("{:.0} ms", CASE_TARGET * 1e3),
        ours <= CASE_TARGET,
        &theirs.map_or("not asked".to_owned(), |theirs| format!("{:.1} ms: {:.1} times", theirs * 1e3, theirs / ours)),
        "97 ms",
    );
    if installed { slowest(&cases, folder) } else { Ok(()) }
}

/// The ten cases that take the peer longest, planned in process by both.
fn slowest(cases: &Path, folder: &Path) -> Result<()> {
    let longest_first = |times: &mut Vec<(String, f64)>| times.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut all = profile(&[PEER], cases, 1)?;
    longest_first(&mut all);
    let candidates = folder.join("slow");
    std::fs::create_dir_all(&candidates)?;
    // One look at each may be wrong about some of them.
    for (name, _) in all.iter().take(20) {
        std::fs::copy(cases.join(name), candidates.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    const REPEAT: u32 = 20;
    let mut theirs = profile(&[PEER], &candidates, REPEAT)?;
    longest_first(&mut theirs);
    theirs.truncate(10);
    let mut ours = profile(&[HAKUDO, "simulate"], &candidates, REPEAT)?;
    ours.retain(|(name, _)| theirs.iter().any(|(slow, _)| slow == name));
    let sum = |times: &[(String, f64)]| times.iter().map(|(_, seconds)| seconds).sum::<f64>() / f64::from(REPEAT);
    let (own, other) = (sum(&ours), sum(&theirs));
    row(
        "its ten slowest of them, in process, together",
        &format!("{:.1} ms: {:.1} times faster", own * 1e3, other / own),
        &format!("{RATIO_TARGET:.0} times faster"),
        other / own >= RATIO_TARGET,
        &format!("{:.1} ms", other * 1e3),
        "",
    );
    for (name, seconds) in &theirs {
        let Some((_, own)) = ours.iter().find(|(other, _)| other == name) else { continue };
        let (own, other) = (own / f64::from(REPEAT), seconds / f64::from(REPEAT));
        println!("| … {name} | {:.2} ms: {:.1} times faster | | | {:.2} ms | |", own * 1e3, other / own, other * 1e3);
    }
    Ok(())
}

/// What `--profile` says of the files of a folder: name and seconds.
fn profile(program: &[&str], folder: &Path, repeat: u32) -> Result<Vec<(String, f64)>> {
    let repeat = repeat.to_string();
    let mut words = program.to_vec();
    words.extend(["--profile", text(folder)?, "--repeat", &repeat]);
    let printed = process::command(&words).stderr(Stdio::null()).output()?.stdout;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let timing = |line: &str| {
        let (file, took) = line.trim().strip_prefix("* Testing ")?.split_once(" ... ")?;
        Some((file.rsplit('/').next()?.to_owned(), took.split_whitespace().next()?.parse().ok()?))
    };
    Ok(printed.lines().filter_map(timing).collect())
}

fn write(folder: &Path, cluster: &Cluster) -> Result<PathBuf> {
    let file = folder.join("cib.xml");
    std::fs::write(&file, cluster.cib()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The time that the peer needs, and how many times ours that is.
fn peer(file: &Path, options: &[&str], ours: f64) -> Result<String> {
    if !process::is_installed(PEER) {
        return Ok("not installed".into());
    }
    let mut words = vec![PEER, "-x", text(file)?];
    words.extend(options);
    let theirs = took(&words)?;
    let times = theirs.unwrap_or(PATIENCE.as_secs_f64()) / ours;
    Ok(format!("{}: {times:.0} times", seconds(theirs)))
}

/// The processor time that a program needs, in seconds; nothing if we do not wait for it that long.
fn took(words: &[&str]) -> Result<Option<f64>> {
    let mut command = process::command(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env("CIB_shadow", "");
    let before = processor_seconds_of_children()?;
    let mut child = command.spawn().with_context(|| format!("cannot start {}", words[0]))?;
    let ended = is_over(&mut child, Instant::now())?;
    Ok(if ended { Some(processor_seconds_of_children()? - before) } else { None })
}

/// The processor time of all processes that this one started and that are over.
fn processor_seconds_of_children() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // proc(5): the fields behind the name in parentheses; 16 and 17 are those of children, in hundredths of a second.
    let behind = stat.rsplit_once(')').context("/proc/self/stat has no name")?.1;
    let ticks = behind.split_whitespace().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

fn is_over(child: &mut Child, began: Instant) -> Result<bool> {
    while child.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(true)
}

/// The shortest of several runs.
fn fastest(runs: usize, measure: impl Fn() -> Result<Option<f64>>) -> Result<Option<f64>> {
    let mut best = None;
    for _ in 0..runs.max(1) {
        let Some(time) = measure()? else { return Ok(None) };
        best = Some(best.map_or(time, |best: f64| best.min(time)));
    }
    Ok(best)
}

fn seconds(time: Option<f64>) -> String {
    match time {
        Some(time) => format!("{time:.2} s"),
        None => format!("more than {} s", PATIENCE.as_secs()),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

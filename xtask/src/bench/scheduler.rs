//! `cargo xtask bench scheduler`: how long a plan takes, for reference cases and for large clusters, beside Debian's
//! `crm_simulate` on the same file in the same run.

use super::large::{CLUSTERS, Cluster, GROWTH, SIMULATED};
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
/// The peer is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures all of it, large clusters and reference cases.
pub(crate) fn run(runs: usize) -> Result<()> {
    process::run(&["cargo", "build", "--release", "--quiet", "--package", "hakudo-scheduler", "--example", "plan"])?;
    process::run(&["cargo", "build", "--release", "--quiet", "--package", "hakudo"])?;
    if process::is_root() {
        packages::install_peer()?;
    }
    let folder = std::env::temp_dir().join(format!("hakudo-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    println!(
        "\n| cluster | read (ms) | plan (ms) | actions | peak (MiB) | crm_simulate (ms) |\n|---|---|---|---|---|---|"
    );
    for cluster in CLUSTERS.iter().chain(GROWTH) {
        let file = write(&folder, cluster)?;
        let figures = plan(&file, runs)?;
        println!("| {} | {figures} | {} |", cluster.name, peer(cluster, &file, &["-R", "-Q"])?);
    }
    let file = write(&folder, &SIMULATED)?;
    let ours = fastest(runs, || took(&[HAKUDO, "simulate", "-x", text(&file)?, "-S"]))?;
    println!("| {} | | {} | | | {} |", SIMULATED.name, millis(ours), peer(&SIMULATED, &file, &["-S"])?);
    corpus(runs)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The mean of a case of the reference cases, as a process each.
fn corpus(runs: usize) -> Result<()> {
    let Some(place) = std::env::var_os("HAKUDO_REFERENCE_CASES").map(PathBuf::from) else { return Ok(()) };
    let mut files: Vec<PathBuf> = std::fs::read_dir(place.join("pacemaker-scheduler/xml"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    for program in [&[HAKUDO, "simulate"][..], &[PEER][..]] {
        let all = fastest(runs.min(3), || {
            let mut sum = Duration::ZERO;
            for file in &files {
                let mut words = program.to_vec();
                words.extend(["-x", text(file)?, "-S"]);
                sum += took(&words)?.unwrap_or_default();
            }
            Ok(Some(sum))
        })?;
        let mean = all.map(|all| all / u32::try_from(files.len().max(1)).unwrap_or(u32::MAX));
        println!("{} reference cases as processes: {}: {} ms a case", files.len(), program.join(" "), millis(mean));
    }
    Ok(())
}

fn write(folder: &Path, cluster: &Cluster) -> Result<PathBuf> {
    let file = folder.join("cib.xml");
    std::fs::write(&file, cluster.cib()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// What the planner says of a file, as cells of the table.
fn plan(file: &Path, runs: usize) -> Result<String> {
    let printed = process::output(&[PLANNER, "-x", text(file)?, "--time", &runs.to_string()])?;
    let mut figures: Vec<String> = printed.split_whitespace().map(str::to_owned).collect();
    if let Some(peak) = figures.get_mut(3) {
        *peak = (peak.parse::<u64>()? / 1024).to_string();
    }
    Ok(figures.join(" | "))
}

fn peer(cluster: &Cluster, file: &Path, options: &[&str]) -> Result<String> {
    if !cluster.paired || !process::is_installed(PEER) {
        return Ok("not asked".into());
    }
    let mut words = vec![PEER, "-x", text(file)?];
    words.extend(options);
    Ok(millis(took(&words)?))
}

/// How long a program takes; nothing if that is longer than we wait.
fn took(words: &[&str]) -> Result<Option<Duration>> {
    let mut command = process::command(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env("CIB_shadow", "");
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", words[0]))?;
    Ok(if is_over(&mut child, began)? { Some(began.elapsed()) } else { None })
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
fn fastest(runs: usize, measure: impl Fn() -> Result<Option<Duration>>) -> Result<Option<Duration>> {
    let mut best = None;
    for _ in 0..runs.max(1) {
        let Some(time) = measure()? else { return Ok(None) };
        best = Some(best.map_or(time, |best: Duration| best.min(time)));
    }
    Ok(best)
}

fn millis(time: Option<Duration>) -> String {
    match time {
        Some(time) => format!("{:.1}", time.as_secs_f64() * 1e3),
        None => format!("more than {}", PATIENCE.as_millis()),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

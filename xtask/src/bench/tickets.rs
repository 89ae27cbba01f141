//! `cargo xtask bench tickets`: what a group of two sites and an arbitrator takes and costs, beside two of booth's daemons in
//! the same run. The lab plays it (`test/lab/src/scenarios/figures.rs`).
//!
//! Both takeovers at a lease of 10 s are played at the same time: they mostly wait, and whatever else the machine does
//! happens to both. booth's daemon is given the time to stop as `acquire-after`: without it, it starts the service before
//! the loser has stopped.

use super::figure::Figure;
use crate::{packages, process};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const LAB: &str = "target/debug/hakudo-lab";
/// The lease and the time to stop of the takeovers, and what may be lost beside them, in seconds.
const LONG_LEASE: f64 = 10.0 + 2.0 + 1.0;
const SHORT_LEASE: f64 = 4.0;
const MOVE: f64 = 1.0;
/// Of an idle arbitrator: percent of a core, and MiB.
const SHARE: f64 = 0.1;
const RESIDENT: f64 = 8.0;

/// A takeover of booth's daemons at a lease of 10 s that was measured on another machine, with nothing but the link cut.
const ELSEWHERE: &str = "7.6 (5.5–10.4), with acquire-after=5 12.7 (10.6–14.3), elsewhere";

/// Measures all of it, the takeovers so often.
pub(super) fn run(runs: usize, program: Option<&Path>) -> Result<()> {
    ensure!(process::is_root(), "the lab makes network namespaces with real services in them, which needs root");
    packages::install_peer()?;
    let program = match program {
        Some(program) => program.to_owned(),
        None => {
            process::run(&["cargo", "build", "--release", "--quiet", "-p", "hakudo", "-p", "hakudo-arbitrator"])?;
            PathBuf::from("target/release/hakudo")
        }
    };
    let program = program.canonicalize().with_context(|| format!("there is no {}", program.display()))?;
    process::run(&["cargo", "build", "--quiet", "--package", "hakudo-lab"])?;
    let lab = Lab { program };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs.max(1) {
        let (own, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| lab.play("figure-takeover-boothd"));
            let own = lab.play("figure-takeover");
            (own, other.join())
        });
        ours.push(own?.context("the takeover was left out")?.get("takeover_seconds")?);
        match other {
            Ok(Ok(Some(figures))) => theirs.push(figures.get("takeover_seconds")?),
            // Where booth's daemon is not there, or does not start here.
            Ok(Ok(None)) => {}
            Ok(Err(error)) => println!("booth's daemons were not measured: {error:#}"),
            Err(_) => bail!("the thread that measures booth's daemons died"),
        }
    }
    let several = |name: &str, figure: &str| -> Result<Vec<f64>> {
        (0..runs.max(1)).map(|_| lab.play(name)?.context("it was left out")?.get(figure)).collect()
    };
    let short = several("figure-takeover-short-lease", "takeover_seconds")?;
    let moved = several("figure-move", "interruption_seconds")?;
    let idle = lab.play("figure-idle")?.context("the idle group was left out")?;
    let often = lab.play("figure-idle-short-lease")?.context("the idle group was left out")?;

    println!("\n| | hakudo | target | | booth of Debian |\n|---|---|---|---|---|");
    let peer = if theirs.is_empty() { ELSEWHERE.to_owned() } else { Figure::of(theirs)?.to_string() };
    row("power loss of the holder's site, lease 10 s, 2 s to stop, to running elsewhere, s", ours, LONG_LEASE, &peer)?;
    row("the same, lease 2 s, 1 s to stop, s", short, SHORT_LEASE, "")?;
    row("planned move of a Dummy, interruption, s", moved, MOVE, "")?;
    row("idle arbitrator, lease 10 s, % of a core", vec![idle.get("share_percent")?], SHARE, "")?;
    row("… lease 2 s, % of a core", vec![often.get("share_percent")?], SHARE, "")?;
    row("… resident memory, MiB", vec![idle.get("resident_mib")?, often.get("resident_mib")?], RESIDENT, "")?;
    let writes = vec![idle.get("writes")?, often.get("writes")?];
    row("writes of the cluster's configuration and status for renewals, in 2 min", writes, 0.0, "")
}

fn row(what: &str, values: Vec<f64>, at_most: f64, peer: &str) -> Result<()> {
    let met = values.iter().all(|value| *value <= at_most);
    let (figure, met) = (Figure::of(values)?, if met { "met" } else { "**missed**" });
    println!("| {what} | {figure} | at most {at_most} | {met} | {peer} |");
    Ok(())
}

/// The program that plays, and the one that is measured.
struct Lab {
    program: PathBuf,
}

/// The figures of one scenario.
#[derive(Debug, PartialEq)]
struct Figures(BTreeMap<String, f64>);

impl Figures {
    fn get(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("the lab does not say {name}"))
    }
}

impl Lab {
    /// Plays one scenario; nothing where this machine cannot.
    fn play(&self, name: &str) -> Result<Option<Figures>> {
        let mut command = process::command(&[LAB, name]);
        let output = command.env("HAKUDO", &self.program).stderr(Stdio::inherit()).output().context("no lab")?;
        let said = String::from_utf8_lossy(&output.stdout);
        said.lines().for_each(|line| println!("{line}"));
        if !output.status.success() {
            bail!("{name} failed");
        }
        read(&said, name)
    }
}

/// The figures in what the lab says of a scenario.
fn read(said: &str, name: &str) -> Result<Option<Figures>> {
    let begin = format!("ok   {name} ");
    let Some(line) = said.lines().find_map(|line| line.strip_prefix(&begin)) else { return Ok(None) };
    let note = line.split_once("): ").with_context(|| format!("no figures: {line}"))?.1;
    let figure = |word: &str| {
        let (name, number) = word.split_once('=')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    let figures = note.split_whitespace().map(|word| figure(word).with_context(|| format!("no figure: {word}")));
    Ok(Some(Figures(figures.collect::<Result<_>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_lab_says() {
        let said = "ok   figure-idle (131.0 s): share_percent=0.080 resident_mib=7.1 writes=0\nlab: 1 passed, 0 failed, 0 skipped\n";
        let figures = read(said, "figure-idle").unwrap().unwrap();
        assert_eq!((figures.get("writes").unwrap(), figures.get("resident_mib").unwrap()), (0.0, 7.1));
        assert!(figures.get("nothing").is_err());
        assert_eq!(read("skip figure-idle: there is no x\n", "figure-idle").unwrap(), None);
        assert!(read("ok   figure-idle (1.0 s): nonsense\n", "figure-idle").is_err());
    }
}

//! Holds the scheduler against reference cases that lie outside of the project.

use crate::process;
use crate::test::Done;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The environment variable that says where the reference cases are.
const PLACE: &str = "HAKUDO_REFERENCE_CASES";

/// How many cases of each kind must agree in graph, scores and summary. Raised as the scheduler grows, never lowered.
const FLOORS: &[(&str, usize)] = &[("pacemaker-scheduler", 527), ("generated-scheduler", 1200)];

/// Runs `tools/compare-scheduler` of the reference cases over both kinds.
pub(crate) fn run(only: &str) -> Result<Done> {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        println!("reference cases: skipped: {PLACE} is not set");
        return Ok(Done::Skipped);
    };
    let program = "target/debug/hakudo";
    if !Path::new(program).exists() {
        process::run(&["cargo", "build", "--quiet", "--package", "hakudo"])?;
    }
    let tool = place.join("tools/compare-scheduler");
    let mut short = Vec::new();
    for (kind, floor) in FLOORS {
        let cases = place.join(kind);
        let words = ["python3", text(&tool)?, "--cases", text(&cases)?, "--only", only, "--", program, "simulate"];
        println!("\n== {}", words.join(" "));
        // It ends with 1 where any case differs; what counts is the number in its last line.
        let output = process::command(&words).output().context("cannot start python3")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = printed.lines().last().context("compare-scheduler printed nothing")?;
        println!("{kind}: {last}");
        let agreeing = agreeing(last).with_context(|| format!("cannot read the counts in {last:?}"))?;
        if only == "*" && agreeing < *floor {
            short.push(format!("{kind}: {agreeing} cases agree, {floor} did before"));
        }
    }
    if !short.is_empty() {
        bail!("{}", short.join("; "));
    }
    Ok(Done::Wholly)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The number behind `all three` in the last line of compare-scheduler.
fn agreeing(line: &str) -> Option<usize> {
    line.split("all three ").nth(1)?.split_whitespace().next()?.parse().ok()
}

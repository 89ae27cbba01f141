//! `cargo xtask test`: everything that must hold.

use crate::{corpus, dependencies, packages, process};
use anyhow::{Result, bail};

/// What to leave out, for a quick look.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the lab (real nodes in namespaces).
    #[arg(long)]
    no_lab: bool,
    /// Leave out the simulator.
    #[arg(long)]
    no_sim: bool,
}

/// Seeds of a test run.
const SEEDS: &str = "500";

/// Runs all tests, the cheapest first; goes on after a failure, so that one run shows them all.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    packages::install()?;
    let mut failures = Vec::new();
    let mut step = |name: &'static str, result: Result<()>| {
        if let Err(error) = result {
            println!("FAILED: {name}: {error:#}");
            failures.push(name);
        }
    };
    step("dependency directions", dependencies::check_directions());
    step("unit and integration tests", process::run(&["cargo", "test", "--quiet", "--workspace", "--no-fail-fast"]));
    step("the programs", process::run(&["cargo", "build", "--quiet", "--workspace"]));
    step("reference cases", corpus::run("*"));
    if !arguments.no_sim {
        step("simulator", process::run(&["target/debug/xtask", "sim", "--count", SEEDS]));
    }
    if !arguments.no_lab {
        step("lab", lab(None));
    }
    if failures.is_empty() {
        println!("\nAll tests passed.");
        Ok(())
    } else {
        bail!("failed: {}", failures.join(", "))
    }
}

/// Runs the lab, or says why it cannot.
pub(crate) fn lab(only: Option<&str>) -> Result<()> {
    if !process::is_root() {
        println!("lab: skipped: network namespaces with real services need root (try: sudo -E cargo xtask lab)");
        return Ok(());
    }
    packages::install()?;
    process::run(&["cargo", "build", "--quiet", "--package", "hakudo", "--package", "hakudo-lab"])?;
    let mut words = vec!["target/debug/hakudo-lab"];
    words.extend(only);
    process::run(&words)
}

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

/// How much of a step was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All of it.
    Wholly,
    /// Nothing: something that it needs is not here, as was said.
    Skipped,
}

/// Runs all tests, the cheapest first; goes on after a failure, so that one run shows them all.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    packages::install()?;
    let (mut failures, mut skipped) = (Vec::new(), Vec::new());
    let mut step = |name: &'static str, result: Result<Done>| match result {
        Ok(Done::Wholly) => {}
        Ok(Done::Skipped) => skipped.push(name),
        Err(error) => {
            println!("FAILED: {name}: {error:#}");
            failures.push(name);
        }
    };
    let wholly = |words: &[&str]| process::run(words).map(|()| Done::Wholly);
    step("dependency directions", dependencies::check_directions().map(|()| Done::Wholly));
    step("unit and integration tests", unit_and_integration_tests().map(|()| Done::Wholly));
    step("the programs", wholly(&["cargo", "build", "--quiet", "--workspace"]));
    step("reference cases", corpus::run("*"));
    step(
        "simulator",
        if arguments.no_sim { Ok(Done::Skipped) } else { wholly(&["target/debug/xtask", "sim", "--count", SEEDS]) },
    );
    step("lab", if arguments.no_lab { Ok(Done::Skipped) } else { lab(None) });
    println!("\n{}", verdict(&failures, &skipped));
    if failures.is_empty() { Ok(()) } else { bail!("failed: {}", failures.join(", ")) }
}

/// Whether a run passes depends on the code alone: property tests draw the same cases each time. (`cargo test` draws new ones; so do the
/// simulator's and the fuzzer's longer runs, which are there to find what is not known yet.)
const SEED_OF_PROPERTIES: &str = "2026";

fn unit_and_integration_tests() -> Result<()> {
    let seed = std::env::var("PROPTEST_RNG_SEED").unwrap_or_else(|_| SEED_OF_PROPERTIES.to_owned());
    process::run(&[
        "env",
        &format!("PROPTEST_RNG_SEED={seed}"),
        "cargo",
        "test",
        "--quiet",
        "--workspace",
        "--no-fail-fast",
    ])
}

/// The last line: nobody may take for tested what was not.
fn verdict(failures: &[&str], skipped: &[&str]) -> String {
    let left_out = match skipped {
        [] => String::new(),
        skipped => format!("; NOT RUN: {}", skipped.join(", ")),
    };
    match (failures, skipped) {
        ([], []) => "All tests passed.".to_owned(),
        ([], _) => format!("What was run passed{left_out}."),
        (failures, _) => format!("FAILED: {}{left_out}.", failures.join(", ")),
    }
}

/// Runs the lab, or says why it cannot.
pub(crate) fn lab(only: Option<&str>) -> Result<Done> {
    if !process::is_root() {
        println!("lab: skipped: network namespaces with real services need root (try: sudo -E cargo xtask lab)");
        return Ok(Done::Skipped);
    }
    packages::install()?;
    let packages = ["--package", "hakudo", "--package", "hakudo-arbitrator", "--package", "hakudo-lab"];
    process::run(&[&["cargo", "build", "--quiet"], packages.as_slice()].concat())?;
    let mut words = vec!["target/debug/hakudo-lab"];
    words.extend(only);
    process::run(&words).map(|()| Done::Wholly)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_named() {
        assert_eq!(verdict(&[], &[]), "All tests passed.");
        assert_eq!(verdict(&[], &["lab", "simulator"]), "What was run passed; NOT RUN: lab, simulator.");
        assert_eq!(verdict(&["lab"], &["simulator"]), "FAILED: lab; NOT RUN: simulator.");
        assert_eq!(verdict(&["lab"], &[]), "FAILED: lab.");
    }
}

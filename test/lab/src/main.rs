//! Real nodes, real agents and real software in network namespaces of one machine, and what happens to them.
//!
//! `hakudo-lab [PART OF A NAME]` runs the scenarios whose names contain the word, one after the other, each with a
//! cluster of its own. It needs root. The program under test is `hakudo` beside this one, or `$HAKUDO`.

mod boothd;
mod lab;
mod machine;
mod network;
mod scenarios;
mod shell;

use anyhow::{Context, Result, bail};
use lab::Lab;
use scenarios::{FIGURES, SCENARIOS, Scenario, Skipped};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hakudo-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    if !rustix::process::getuid().is_root() {
        bail!("network namespaces with real services need root");
    }
    let only = std::env::args().nth(1).unwrap_or_default();
    let program = program()?;
    let figure = FIGURES.iter().filter(|scenario| scenario.name == only);
    let chosen: Vec<&Scenario> =
        SCENARIOS.iter().filter(|scenario| scenario.name.contains(&only)).chain(figure).collect();
    if chosen.is_empty() {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("no scenario's name contains {only:?}; there are: {}", names.join(", "));
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for scenario in chosen {
        let missing: Vec<&str> = scenario.needs.iter().copied().filter(|file| !Path::new(file).exists()).collect();
        if !missing.is_empty() {
            println!("skip {}: there is no {}", scenario.name, missing.join(", "));
            skipped += 1;
            continue;
        }
        let started = Instant::now();
        match play(scenario, &program) {
            Ok(note) => {
                println!("ok   {} ({:.1} s){note}", scenario.name, started.elapsed().as_secs_f32());
                passed += 1;
            }
            Err(error) if error.is::<Skipped>() => {
                println!("skip {}: {error:#}", scenario.name);
                skipped += 1;
            }
            Err(error) => {
                println!("FAIL {} ({:.1} s): {error:#}", scenario.name, started.elapsed().as_secs_f32());
                failed += 1;
            }
        }
    }
    println!("lab: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}

/// Plays one scenario; a note with what it measured.
fn play(scenario: &Scenario, program: &Path) -> Result<String> {
    let mut lab = Lab::start(program, &scenario.plan).context("the cluster does not come up")?;
    let result = (scenario.play)(&mut lab);
    if result.as_ref().is_err_and(|error| !error.is::<Skipped>()) {
        eprintln!("{}", lab.report());
    }
    let note = result?;
    Ok(if note.is_empty() { note } else { format!(": {note}") })
}

fn program() -> Result<PathBuf> {
    let program = match std::env::var_os("HAKUDO") {
        Some(program) => PathBuf::from(program),
        None => std::env::current_exe()?.with_file_name("hakudo"),
    };
    program.canonicalize().with_context(|| format!("there is no program {}", program.display()))
}

//! `cargo xtask bench`: what matters to users, in figures, beside the same figures of Pacemaker and Corosync measured in the
//! same run on the same machine with the same configuration. Ratios are to be trusted, single figures are this machine's.
//!
//! Measurements that mostly wait are made of all peers at once, those that keep the machine busy one after the other, and of
//! the last of the peers only.

mod agents;
mod bare;
mod cluster;
mod figure;
mod growth;
mod large;
mod machine;
mod measure;
mod messages;
mod power;
mod record;
mod scheduler;
mod site;
mod systems;
mod tickets;

use crate::{packages, process};
use anyhow::{Context, Result, bail, ensure};
use figure::Table;
use measure::{Measurement, Runs};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;
use systems::System;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these measurements: three, idle, two, sixteen, many, membership; or `scheduler` for that of plans alone, or
    /// `tickets` for that of a group of sites.
    only: Vec<String>,
    /// Runs of each failover of hakudo.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Runs of each failover of a peer.
    #[arg(long, default_value_t = 3)]
    peer_runs: usize,
    /// Only these: hakudo, pacemaker (default tuning), pacemaker-1000 (token=1000).
    #[arg(long, value_delimiter = ',', default_value = "hakudo,pacemaker,pacemaker-1000")]
    systems: Vec<String>,
    /// Measure this program instead of building one.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Measures, and prints a table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.only == ["scheduler"] {
        return scheduler::run(arguments.runs.min(5));
    }
    if arguments.only == ["tickets"] {
        return tickets::run(arguments.peer_runs, arguments.program.as_deref());
    }
    if !process::is_root() {
        bail!("the benchmark makes network namespaces with real services in them, which needs root");
    }
    let systems: Vec<System> = arguments.systems.iter().map(|name| System::named(name)).collect::<Result<_>>()?;
    let measurements = chosen(&arguments.only)?;
    // Two at once would measure each other.
    let lock = File::create(std::env::temp_dir().join("hakudo-bench.lock"))?;
    lock.try_lock().context("another benchmark runs")?;
    packages::install_peer()?;
    systems.iter().try_for_each(|system| system.check_available())?;
    if systems.contains(&System::Hakudo) {
        if arguments.program.is_none() {
            process::run(&["cargo", "build", "--release", "--quiet", "--package", "hakudo"])?;
        }
        systems::choose_program(arguments.program.as_deref().unwrap_or(Path::new("target/release/hakudo")))?;
    }
    site::sweep()?;
    let _agents = agents::Installed::install()?;

    let began = Instant::now();
    let (table, runs) = (Table::default(), Runs { ours: arguments.runs, peers: arguments.peer_runs });
    let mut failures = 0;
    let measure = &|measurement: &Measurement, system: System| -> usize {
        match (measurement.measure)(&table, system, runs) {
            Ok(()) => 0,
            Err(error) => {
                println!("{}: {} failed: {error:#}", system.title(), measurement.name);
                1
            }
        }
    };
    let at_once = |systems: &[System], names: &[&str]| -> usize {
        let chosen: Vec<&Measurement> = measurements.iter().copied().filter(|m| names.contains(&m.name)).collect();
        std::thread::scope(|scope| {
            let pairs = systems.iter().flat_map(|system| chosen.iter().map(|measurement| (*measurement, *system)));
            let threads: Vec<_> = pairs.map(|(m, system)| scope.spawn(move || measure(m, system))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(1)).sum()
        })
    };
    let (ours, peers): (Vec<System>, Vec<System>) = systems.iter().partition(|system| **system == System::Hakudo);
    for names in [&["three"][..], &["two", "idle"], &["sixteen"]] {
        failures += at_once(&ours, names);
    }
    // The peers mostly wait for their timers: what is measured of them at once does not disturb.
    for names in [&["three", "two", "idle"][..], &["sixteen"]] {
        failures += at_once(&peers, names);
    }
    // What keeps the machine busy is done alone; the tuning of a peer, which is about time, makes no difference to it.
    for measurement in measurements.iter().filter(|measurement| measurement.busy) {
        failures += ours.iter().chain(peers.last()).map(|system| measure(measurement, *system)).sum::<usize>();
    }
    println!("\n{}\n\nmeasured in {:.0} s", table.write(&systems), began.elapsed().as_secs_f64());
    ensure!(failures == 0, "{failures} measurements failed");
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Measurement>> {
    for name in names {
        ensure!(
            measure::ALL.iter().any(|measurement| measurement.name == name),
            "there is no measurement {name}: {}",
            measure::ALL.iter().map(|measurement| measurement.name).collect::<Vec<_>>().join(", ")
        );
    }
    let is_chosen = |measurement: &&Measurement| names.is_empty() || names.iter().any(|name| name == measurement.name);
    Ok(measure::ALL.iter().filter(is_chosen).collect())
}

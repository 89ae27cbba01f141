//! `cargo xtask bench`: what matters to users, in figures, beside the same figures of Pacemaker and Corosync measured in the
//! same run on the same machine with the same configuration. Ratios are to be trusted, single figures are this machine's.

mod measure;
mod record;
mod site;
mod systems;

use crate::{packages, process};
use anyhow::{Result, bail};
use measure::Figure;
use std::collections::BTreeMap;
use systems::System;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs of each failover.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Only measurements whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Only these: hakudo, pacemaker (default tuning), pacemaker-1000 (token=1000).
    #[arg(long, value_delimiter = ',', default_value = "hakudo,pacemaker,pacemaker-1000")]
    systems: Vec<String>,
}

/// Measures, and prints a table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !process::is_root() {
        bail!("the benchmark makes network namespaces with real services in them, which needs root");
    }
    packages::install_peer()?;
    let systems: Vec<System> = arguments.systems.iter().map(|name| System::named(name)).collect::<Result<_>>()?;
    if systems.contains(&System::Hakudo) {
        process::run(&["cargo", "build", "--release", "--quiet", "--package", "hakudo"])?;
    }
    let mut table: BTreeMap<&str, Vec<Option<Figure>>> = BTreeMap::new();
    for (at, measurement) in measure::ALL.iter().enumerate() {
        if arguments.only.as_deref().is_some_and(|only| !measurement.name.contains(only)) {
            continue;
        }
        for system in &systems {
            let figure = system.is_available().and_then(|()| (measurement.measure)(*system, arguments.runs));
            let figure = match figure {
                Ok(figure) => Some(figure),
                Err(error) => {
                    println!("{} of {}: {error:#}", measurement.name, system.title());
                    None
                }
            };
            println!("[{}/{}] {}: {}: {}", at + 1, measure::ALL.len(), measurement.name, system.title(), show(figure));
            table.entry(measurement.name).or_default().push(figure);
        }
    }
    print_table(&systems, &table);
    Ok(())
}

fn show(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "not measured".into(), |f| f.to_string())
}

fn print_table(systems: &[System], table: &BTreeMap<&str, Vec<Option<Figure>>>) {
    let mut head = String::from("| |");
    let mut line = String::from("|---|");
    for system in systems {
        head += &format!(" {} |", system.title());
        line += "---|";
    }
    println!("\n{head}\n{line}");
    for measurement in measure::ALL {
        let Some(figures) = table.get(measurement.name) else { continue };
        let ours = figures.first().copied().flatten();
        let cells: Vec<String> = figures
            .iter()
            .enumerate()
            .map(|(at, figure)| match (at, ours, figure) {
                (1.., Some(ours), Some(theirs)) if ours.median > 0.0 => {
                    format!("{theirs} ({:.1}×)", theirs.median / ours.median)
                }
                _ => show(*figure),
            })
            .collect();
        println!("| {} | {} |", measurement.name, cells.join(" | "));
    }
}

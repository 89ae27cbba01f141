//! What a contributor runs: `cargo xtask test` and its parts.

mod bench;
mod corpus;
mod dependencies;
mod packages;
mod process;
mod sim;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The tasks of a contributor.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what the tests need, then runs all of them: dependency directions, unit tests, reference cases, simulator, lab.
    Test(test::Arguments),
    /// Runs real nodes and real agents in network namespaces (needs root).
    Lab {
        /// Only scenarios whose name contains this.
        only: Option<String>,
    },
    /// Runs whole clusters under simulated faults; its last line says how many seeds broke a rule.
    Sim(sim::Arguments),
    /// Holds the scheduler against reference cases, where HAKUDO_REFERENCE_CASES says where they are.
    Corpus {
        /// Only cases that match this glob.
        #[arg(long, default_value = "*")]
        only: String,
    },
    /// Measures failover, start, move and idle cost, beside Pacemaker and Corosync in the same run (needs root).
    Bench(bench::Arguments),
    /// Checks that crates depend on each other only in the directions of the design.
    Directions,
    /// Checks that the licence of every dependency is compatible with GPL-2.0-or-later.
    Licences,
}

fn main() -> Result<()> {
    process::enter_workspace()?;
    match Arguments::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Lab { only } => test::lab(only.as_deref()).map(drop),
        Task::Sim(arguments) => sim::run(&arguments),
        Task::Corpus { only } => corpus::run(&only).map(drop),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Directions => dependencies::check_directions(),
        Task::Licences => dependencies::check_licences(),
    }
}

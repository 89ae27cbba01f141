//! `hakudo completion`: what a shell needs to complete the command line.

use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::world::World;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Arguments of `hakudo completion`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell; for bash, put the output into /etc/bash_completion.d/hakudo
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, world: &mut World) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "hakudo", &mut script);
    world.out.write_all(&script)?;
    Ok(Exit::OK)
}

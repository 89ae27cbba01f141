//! `hakudo agent`: the agents that ship with hakudo. Small scripts of the agents' names call it.

use crate::exit::{Exit, Outcome};
use clap::Args;

/// Arguments of `hakudo agent`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The agent, and what it is asked to do
    #[arg(value_name = "NAME ACTION", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    Ok(Exit(hakudo_executor::agents::main(&arguments.words)))
}

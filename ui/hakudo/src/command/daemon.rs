//! `hakudo daemon`: the processes of a node, as a service manager starts them.

use crate::exit::{Exit, Failure, Outcome};
use clap::Subcommand;
use hakudo_node::config::{DEFAULT_FILE, NodeConfig};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// The processes of a node.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The process that decides: membership, configuration, transitions
    Node {
        /// The file that says which cluster this machine belongs to
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
    },
    /// The process that runs agents
    Executor {
        /// The file that says which cluster this machine belongs to
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
    },
}

/// Runs until the process is told to end. What happens is told on standard error; `HAKUDO_LOG` chooses how much.
pub(crate) fn run(command: &Command) -> Outcome {
    let filter = EnvFilter::try_from_env("HAKUDO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let (Command::Node { config } | Command::Executor { config }) = command;
    let wrong = |error: anyhow::Error| Failure::new(Exit::CONFIG, format!("{error:#}"));
    let configured = NodeConfig::load(config).map_err(wrong)?;
    let ended = match command {
        Command::Node { .. } => hakudo_node::run(&configured),
        Command::Executor { .. } => {
            configured.make_runtime_dir().and_then(|()| hakudo_executor::run(configured.executor()))
        }
    };
    ended.map(|()| Exit::OK).map_err(|error| Failure::new(Exit::ERROR, format!("{error:#}")))
}

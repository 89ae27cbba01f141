//! `hakudo daemon`: the processes of a node, as a service manager starts them.

use crate::exit::{Exit, Failure, Outcome};
use clap::{Args, Subcommand, ValueEnum};
use hakudo_link::setup;
use hakudo_node::config::{DEFAULT_FILE, NodeConfig};
use hakudo_tickets::Protocol;
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

/// A member of a ticket group that is no site.
#[derive(Debug, Args)]
pub(crate) struct Arbitrator {
    /// The file that names the members and tickets of the group
    #[arg(short, long, value_name = "FILE", default_value = setup::BOOTH_CONF)]
    config: PathBuf,
    /// What the members say to each other: booth's protocol where some of them are boothd; the same for all members
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Speech>,
    /// The member that this is, as the file names it; found by the addresses of this machine otherwise
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Where it keeps what it must not forget
    #[arg(long, value_name = "FOLDER", default_value = hakudo_arbitrator::STATE_DIR)]
    state_dir: PathBuf,
    /// Where `hakudo ticket --socket` asks it
    #[arg(long, value_name = "PATH", default_value = hakudo_arbitrator::SOCKET)]
    listen: PathBuf,
    /// A JSON file with what else this machine knows: further addresses, and keys of members
    #[arg(long, value_name = "FILE")]
    own: Option<PathBuf>,
}

/// What the members of a group say to each other.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speech {
    /// hakudo's own
    Hakudo,
    /// booth's
    Booth,
}

/// Runs an arbitrator until it is told to end.
pub(crate) fn arbitrate(arguments: &Arbitrator) -> Outcome {
    tell_on_standard_error("info");
    let wrong = |error: &dyn std::fmt::Display| Failure::new(Exit::CONFIG, error.to_string());
    let own = match &arguments.own {
        None => setup::Own::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| wrong(&format!("{}: {error}", file.display())))?;
            serde_json::from_str(&text).map_err(|error| wrong(&format!("{}: {error}", file.display())))?
        }
    };
    let protocol = match arguments.protocol {
        None => own.protocol,
        Some(Speech::Hakudo) => Protocol::Hakudo,
        Some(Speech::Booth) => Protocol::Booth,
    };
    let member = arguments.member.clone().or(own.member);
    let own = setup::Own { config: Some(arguments.config.clone()), protocol, member, ..own };
    let (state_dir, socket) = (arguments.state_dir.clone(), arguments.listen.clone());
    serve(&hakudo_arbitrator::Config { own, state_dir, socket, pid_file: None })
}

/// Runs an arbitrator that is described so.
pub(crate) fn serve(config: &hakudo_arbitrator::Config) -> Outcome {
    let wrong = |error: &dyn std::fmt::Display| Failure::new(Exit::CONFIG, error.to_string());
    hakudo_arbitrator::run(config).map(|()| Exit::OK).map_err(|error| wrong(&format!("{error:#}")))
}

/// What happens is told on standard error; `HAKUDO_LOG` chooses how much.
pub(crate) fn tell_on_standard_error(usual: &str) {
    let filter = EnvFilter::try_from_env("HAKUDO_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
}

/// Runs until the process is told to end. What happens is told on standard error; `HAKUDO_LOG` chooses how much.
pub(crate) fn run(command: &Command) -> Outcome {
    tell_on_standard_error("info");
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

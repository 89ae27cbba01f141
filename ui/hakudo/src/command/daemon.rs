//! `hakudo daemon`: the processes of a node, as a service manager starts them.

use crate::exit::{Exit, Failure, Outcome};
use clap::{Args, Subcommand, ValueEnum};
use hakudo_executor::pages;
use hakudo_link::setup;
use hakudo_node::config::{DEFAULT_FILE, NodeConfig};
use hakudo_tickets::Protocol;
use std::ffi::OsString;
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
    serve(&hakudo_arbitrator::Config { own, state_dir, socket, pid_file: None }, "info")
}

/// The word behind the program's name that begins an arbitrator; what describes it, as JSON, comes after it where this
/// program calls itself.
const ARBITRATOR: &str = "arbitrator";

/// The program that is nothing but an arbitrator.
const SMALL: &str = "hakudo-arbitrator";

/// Becomes the arbitrator that is described so, which tells so much (`HAKUDO_LOG` chooses otherwise).
///
/// Reading a command line is done once and takes the code and the memory of every command there is. An arbitrator that went
/// on behind it would keep these pages for years, and they are more than all that it needs itself. So the process becomes the
/// small program that lies beside this one, or where there is none begins this one anew, with all that was read in one word
/// ([`described`]): its number and its standard error stay.
pub(crate) fn serve(config: &hakudo_arbitrator::Config, usual: &str) -> Outcome {
    use std::os::unix::process::CommandExt;
    let text = serde_json::to_string(config)
        .map_err(|error| Failure::new(Exit::CONFIG, format!("the arbitrator cannot be described: {error}")))?;
    let here = std::env::current_exe()
        .map_err(|error| Failure::new(Exit::ERROR, format!("the place of this program is not known: {error}")))?;
    let small = here.with_file_name(SMALL);
    let mut command = std::process::Command::new(if small.is_file() { small } else { here });
    // The small program is given the word, too: who looks for the process finds the same command line.
    command.args([ARBITRATOR, &text]);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    if std::env::var_os(LOG).is_none() {
        command.env(LOG, usual);
    }
    let error = command.exec();
    Err(Failure::new(Exit::ERROR, format!("this program cannot begin anew: {error}")))
}

/// The arbitrator that these arguments describe, if this program called itself so.
pub(crate) fn described(arguments: &[OsString]) -> Option<hakudo_arbitrator::Config> {
    match arguments {
        [_, word, text] if word == ARBITRATOR => serde_json::from_str(text.to_str()?).ok(),
        _ => None,
    }
}

/// Runs an arbitrator that is described so.
pub(crate) fn run_arbitrator(config: &hakudo_arbitrator::Config) -> Outcome {
    tell_on_standard_error("info");
    let wrong = |error: anyhow::Error| Failure::new(Exit::CONFIG, format!("{error:#}"));
    hakudo_arbitrator::run(config).map(|()| Exit::OK).map_err(wrong)
}

/// Set for a process that began itself anew without huge pages.
const SMALL_PAGES: &str = "HAKUDO_SMALL_PAGES";

/// A daemon does without huge pages ([`pages`]), and begins anew, before it has taken any. Its number and its words stay.
pub(crate) fn begin_small(arguments: &[OsString]) {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(SMALL_PAGES).is_some() {
        return pages::only_this_process_does_without();
    }
    let Ok(here) = std::env::current_exe() else { return };
    if let ([name, words @ ..], true) = (arguments, pages::do_without_huge_pages()) {
        // Where this fails the process goes on as it is, and is somewhat larger.
        let _ = std::process::Command::new(here).arg0(name).args(words).env(SMALL_PAGES, "1").exec();
    }
}

/// True where these arguments begin a process that goes on for years.
pub(crate) fn is_daemon(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, word, ..] if word == "daemon") || described(arguments).is_some()
}

/// The variable that chooses how much is told.
const LOG: &str = "HAKUDO_LOG";

/// What happens is told on standard error; `HAKUDO_LOG` chooses how much.
fn tell_on_standard_error(usual: &str) {
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new(usual));
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

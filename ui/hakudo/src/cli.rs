//! The command line as a whole. Each command declares its own part.

use crate::command::{
    agent, cluster, completion, config, daemon, events, node, replay, resource, simulate, status, ticket, why,
};
use crate::demo;
use crate::exit::Outcome;
use crate::input::Source;
use crate::world::World;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Keeps services running when processes, nodes, links and sites fail.
#[derive(Debug, Parser)]
#[command(name = "hakudo", version, disable_help_subcommand = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Where the cluster is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// Talk to the node at this socket [default: $HAKUDO_SOCKET or /run/hakudo/node.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Work on this CIB file instead of on the cluster; - is standard input [default: $CIB_file]
    #[arg(long, global = true, value_name = "CIB")]
    pub(crate) file: Option<PathBuf>,
}

impl Global {
    /// Where to read the CIB.
    pub(crate) fn source(&self, world: &World) -> Source {
        Source::of(self.file.as_deref(), self.socket.as_deref(), world)
    }

    /// Where to read the CIB if a command names a file of its own.
    pub(crate) fn source_or(&self, file: Option<&Path>, world: &World) -> Source {
        Source::of(file.or(self.file.as_deref()), self.socket.as_deref(), world)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show nodes, resources and failures
    Status(Box<status::Arguments>),
    /// Show, edit, load, compare and check the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// List, start, stop, move and clean up resources
    #[command(subcommand)]
    Resource(resource::Command),
    /// List nodes, put them in standby or maintenance, fence them
    #[command(subcommand)]
    Node(node::Command),
    /// Show what the cluster would do, and what came of it
    Simulate(Box<simulate::Arguments>),
    /// Explain where a resource runs and why
    Why(why::Arguments),
    /// Show what happened
    Events(events::Arguments),
    /// Replay the recording of a node, to see what it knew and did
    Replay(replay::Arguments),
    /// List, grant, move and explain tickets that sites share
    #[command(subcommand)]
    Ticket(ticket::Command),
    /// Make a cluster of machines, join one, leave it
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Run a cluster on this one machine, and make it fail
    Demo(demo::Arguments),
    /// Vote on the tickets of sites, without being one
    Arbitrator(daemon::Arbitrator),
    /// Run a process of a node (for service managers)
    #[command(subcommand)]
    Daemon(daemon::Command),
    /// Run an agent that ships with hakudo (for executors)
    #[command(hide = true, disable_help_flag = true)]
    Agent(agent::Arguments),
    /// Print the completion script of a shell
    Completion(completion::Arguments),
}

impl Cli {
    /// Does what the command line says.
    pub(crate) fn run(self, world: &mut World) -> Outcome {
        let global = &self.global;
        match self.command {
            Command::Status(arguments) => status::run(&arguments, global, world),
            Command::Config(command) => config::run(&command, global, world),
            Command::Resource(command) => resource::run(&command, global, world),
            Command::Node(command) => node::run(&command, global, world),
            Command::Simulate(arguments) => simulate::run(&arguments, global, world),
            Command::Why(arguments) => why::run(&arguments, global, world),
            Command::Events(arguments) => events::run(&arguments, global, world),
            Command::Replay(arguments) => replay::run(&arguments, world),
            Command::Ticket(command) => ticket::run(&command, global, world),
            Command::Cluster(command) => cluster::run(&command, global, world),
            Command::Demo(arguments) => demo::run(&arguments),
            Command::Arbitrator(arguments) => daemon::arbitrate(&arguments),
            Command::Daemon(command) => daemon::run(&command),
            Command::Agent(arguments) => agent::run(&arguments),
            Command::Completion(arguments) => completion::run(&arguments, world),
        }
    }
}

/// The command line that an old name stands for: `crm_simulate -L` is `hakudo simulate -L`.
pub(crate) fn by_old_name(arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments
        .first()
        .and_then(|path| Path::new(path).file_name())
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if name != "crm_simulate" {
        return arguments;
    }
    if arguments.get(1).is_some_and(|first| first == "--version" || first == "-$") {
        return vec![OsString::from("hakudo"), OsString::from("--version")];
    }
    // What crm_simulate does where no source is named; a source that is named later wins.
    let words = ["hakudo", "simulate", "--xml-pipe"].map(OsString::from);
    words.into_iter().chain(arguments.into_iter().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn old_names_are_known() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            by_old_name(words(&["/usr/sbin/crm_simulate", "-L"])),
            words(&["hakudo", "simulate", "--xml-pipe", "-L"])
        );
        assert_eq!(by_old_name(words(&["crm_simulate", "--version"])), words(&["hakudo", "--version"]));
        assert_eq!(by_old_name(words(&["hakudo", "why", "web"])), words(&["hakudo", "why", "web"]));
    }
}

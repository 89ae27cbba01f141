//! `hakudo demo`: a cluster on this one machine, and the failures that it survives.
//!
//! The demo lives in namespaces of its own (user, network, process, mount), so that it needs no privilege, can be seen by
//! nothing outside, and is gone when it ends. In them, every node has a network namespace, and is joined to the others
//! by a virtual switch. A client asks the clustered service for its page every 10 ms and measures how long it is away.
//!
//! Where this user may not make namespaces, the nodes share the machine's loopback network: each has an address of its own
//! there, and is a tree of processes. Then no address moves, and no cable can be cut.
//!
//! With `--sites` there are two clusters, each behind a switch of its own, and an arbitrator: the service depends on a ticket, which
//! goes from site to site.

mod client;
mod cluster;
mod control;
mod layout;
mod machine;
mod machines;
mod network;
mod phases;
mod sites;
mod story;
mod story_of_sites;

use crate::exit::{Exit, Failure, Outcome};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use hakudo_executor::tree::take_in_orphans;
use layout::{Layout, Shape};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// What `hakudo demo` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Plays the whole story unattended, prints each interruption, and fails if the service did not come back each time.
    #[arg(long)]
    auto: bool,
    /// With --auto: only power cuts of the node with the service, so many, and their median.
    #[arg(long, value_name = "N", requires = "auto")]
    power_cuts: Option<u32>,
    /// So many nodes; of each site, where there are sites [default: 3, or 2 of each site].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    nodes: Option<u8>,
    /// Two sites, each a cluster, and an arbitrator: the service runs at the site that has the ticket.
    #[arg(long, conflicts_with = "power_cuts")]
    sites: bool,
    /// On the loopback network, without namespaces, even where they are allowed.
    #[arg(long)]
    loopback: bool,
    #[arg(long, hide = true)]
    inside: Option<String>,
    #[command(subcommand)]
    order: Option<Order>,
}

/// Orders to a running demo.
#[derive(Debug, Subcommand)]
enum Order {
    /// Pulls the plug of a node, or of a whole site: all processes end at once, the network cable goes dead.
    Kill {
        /// The node, for instance n1; or the site, for instance east.
        node: String,
    },
    /// Cuts the network cable of a node, or the one between a site and all others.
    Cut {
        /// The node, or the site.
        node: String,
    },
    /// Mends a cable.
    Heal {
        /// The node, or the site.
        node: String,
    },
    /// Switches a node, or a site, on that lost its power.
    Start {
        /// The node, or the site.
        node: String,
    },
    /// Lets the cluster fence a node.
    Fence {
        /// The node.
        node: String,
    },
    /// Moves the ticket to a site.
    Move {
        /// The site.
        site: String,
    },
    /// Ends the demo.
    Stop,
}

/// Runs the demo, or gives an order to the one that runs.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    demo(arguments).map_err(|error| Failure::new(Exit::ERROR, format!("{error:#}")))
}

fn demo(arguments: &Arguments) -> Result<Exit> {
    if let Some(place) = &arguments.inside {
        return inside(place, &Layout::that_was_written()?, arguments);
    }
    let nodes = arguments.nodes.unwrap_or(if arguments.sites { 2 } else { 3 });
    let shape = Shape { nodes, sites: arguments.sites, loopback: arguments.loopback };
    let layout = Layout::of_this_user(shape)?;
    let words = match &arguments.order {
        None => return begin(&layout, arguments),
        Some(Order::Stop) => vec!["stop"],
        Some(Order::Kill { node }) => vec!["kill", node],
        Some(Order::Cut { node }) => vec!["cut", node],
        Some(Order::Heal { node }) => vec!["heal", node],
        Some(Order::Start { node }) => vec!["start", node],
        Some(Order::Fence { node }) => vec!["fence", node],
        Some(Order::Move { site }) => vec!["move", site],
    };
    print!("{}", control::order(&layout, &words)?);
    Ok(Exit::OK)
}

/// The options of unshare(1) for namespaces without privilege, and with root's.
const WAYS_IN: &[&[&str]] = &[
    &["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"],
    &["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"],
];

/// Goes into the namespaces.
fn begin(layout: &Layout, arguments: &Arguments) -> Result<Exit> {
    if control::is_running(layout) {
        bail!("a demo runs already; end it with: hakudo demo stop");
    }
    let way = WAYS_IN.iter().find(|way| !arguments.loopback && is_allowed(way));
    let Some(way) = way else { return on_loopback(layout, arguments) };
    layout.write()?;
    let mut command = Command::new("unshare");
    command.args(*way).arg("--").arg(&layout.program).args(["demo", "--inside", "init"]);
    if arguments.auto {
        command.arg("--auto");
    }
    if let Some(count) = arguments.power_cuts {
        command.args(["--power-cuts", &count.to_string()]);
    }
    // From within, this program's user looks like root: the folder is named by who began.
    command.env("HAKUDO_DEMO", &layout.folder);
    let status = command.status().context("cannot run unshare")?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(Exit(u8::try_from(code).unwrap_or(1)))
}

/// The demo without namespaces: in this process.
fn on_loopback(layout: &Layout, arguments: &Arguments) -> Result<Exit> {
    let layout = Layout { shape: Shape { loopback: true, ..layout.shape }, ..layout.clone() };
    if !arguments.loopback {
        println!(
            "This machine does not allow namespaces to this user: the nodes share its loopback network instead. (To have \
             networks of their own, run it as root, or allow them: sysctl kernel.unprivileged_userns_clone=1 \
             kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=10000)"
        );
    }
    println!(
        "What is missing then: the service's address does not move, since all nodes have it; and no cable can be cut."
    );
    layout.write()?;
    take_in_orphans().context("cannot take in orphans")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(story::run(&layout, arguments.auto, arguments.power_cuts));
    // The machines end before this process does, however the story ended.
    machines::clear_away()?;
    told
}

fn is_allowed(way: &[&str]) -> bool {
    Command::new("unshare")
        .args(way)
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn inside(place: &str, layout: &Layout, arguments: &Arguments) -> Result<Exit> {
    match place {
        "init" => init(layout, arguments),
        "main" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(story::run(layout, arguments.auto, arguments.power_cuts))
        }
        "machine" => {
            let node = std::env::var("HAKUDO_DEMO_NODE").context("which node?")?;
            machine::run(layout, &node)?;
            Ok(Exit::OK)
        }
        other => bail!("there is no such place: {other}"),
    }
}

/// The first process of the demo's process namespace: it only buries orphans, until the demo's main process ends.
fn init(layout: &Layout, arguments: &Arguments) -> Result<Exit> {
    use rustix::process::{WaitOptions, wait};
    let mut command = Command::new(&layout.program);
    command.args(["demo", "--inside", "main"]);
    if arguments.auto {
        command.arg("--auto");
    }
    if let Some(count) = arguments.power_cuts {
        command.args(["--power-cuts", &count.to_string()]);
    }
    let main = command.spawn().context("cannot start the demo")?;
    loop {
        let Some((ended, status)) = wait(WaitOptions::empty())? else { continue };
        if u32::try_from(ended.as_raw_nonzero().get()).is_ok_and(|pid| pid == main.id()) {
            return Ok(Exit(status.exit_status().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
        }
    }
}

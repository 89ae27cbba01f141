//! `attrd_updater`: transient node attributes.

use super::{Cluster, transient_attribute};
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::Parser;
use hakudo_controller::request::Request;

/// Query and update transient attributes of nodes.
#[derive(Debug, Parser)]
#[command(name = "attrd_updater", version)]
pub(super) struct Options {
    /// The attribute
    #[arg(short, long)]
    name: Option<String>,
    /// Set the value
    #[arg(short = 'U', long, short_alias = 'v', alias = "update-value", group = "command", allow_hyphen_values = true)]
    update: Option<String>,
    /// Set the value and the delay
    #[arg(short = 'B', long, group = "command", allow_hyphen_values = true)]
    update_both: Option<String>,
    /// Set only the delay
    #[arg(short = 'Y', long, group = "command")]
    update_delay: bool,
    /// Show the value
    #[arg(short = 'Q', long, group = "command")]
    query: bool,
    /// Remove the attribute
    #[arg(short = 'D', long, group = "command")]
    delete: bool,
    /// Write all attributes again
    #[arg(short = 'R', long, group = "command")]
    refresh: bool,
    /// How long changes may be gathered: accepted, and not needed here
    #[arg(short, long)]
    delay: Option<String>,
    /// The node (default: this one)
    #[arg(short = 'N', long)]
    node: Option<String>,
    /// All nodes
    #[arg(short = 'A', long)]
    all: bool,
    /// Accepted: attributes of this cluster are never written elsewhere
    #[arg(short, long)]
    private: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// Lifetime: accepted as older agents give it
    #[arg(short, long, hide = true)]
    lifetime: Option<String>,
}

pub(super) fn run(options: &Options, world: &mut World) -> Outcome {
    if options.refresh || options.update_delay {
        // Every member holds every attribute: there is nothing to write again, and nothing is delayed.
        return Ok(Exit::OK);
    }
    let name = options.name.clone().ok_or_else(|| Failure::usage("which attribute? Give its name with --name"))?;
    let mut cluster = Cluster::connect(world)?;
    let value = options.update.as_ref().or(options.update_both.as_ref());
    if value.is_some() || options.delete {
        let node = cluster.node(options.node.as_deref())?;
        cluster.client.command(&Request::SetAttribute { node, name, value: value.cloned() })?;
        return Ok(Exit::OK);
    }
    if !options.query {
        return Err(Failure::usage("what is to be done? --update, --delete or --query"));
    }
    let nodes = match options.all {
        true => cluster.client.cluster()?.nodes.into_iter().map(|node| node.name).collect(),
        false => vec![cluster.node(options.node.as_deref())?],
    };
    let cib = cluster.cib()?;
    let found: Vec<_> = nodes.iter().filter_map(|node| Some((node, transient_attribute(&cib, node, &name)?))).collect();
    if found.is_empty() {
        return Err(Failure::no_such(format!("there is no attribute {name} of {}", nodes.join(", "))));
    }
    for (node, value) in found {
        writeln!(world.out, "name=\"{name}\" host=\"{node}\" value=\"{value}\"")?;
    }
    Ok(Exit::OK)
}

//! `crm_node`: who is in the cluster.

use super::Cluster;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::Parser;

/// Show the nodes of the cluster.
#[derive(Debug, Parser)]
#[command(name = "crm_node", version)]
pub(super) struct Options {
    /// The name of this node
    #[arg(short = 'n', long, group = "command")]
    name: bool,
    /// The name of the node with this number
    #[arg(short = 'N', long, group = "command", value_name = "ID")]
    name_for_id: Option<u32>,
    /// The number of this node
    #[arg(short = 'i', long, group = "command")]
    cluster_id: bool,
    /// All members
    #[arg(short = 'l', long, group = "command")]
    list: bool,
    /// The names of the members
    #[arg(short = 'p', long, group = "command")]
    partition: bool,
    /// 1 if this part of the cluster has quorum, 0 if not
    #[arg(short = 'q', long, group = "command")]
    quorum: bool,
}

pub(super) fn run(options: &Options, world: &mut World) -> Outcome {
    let mut cluster = Cluster::connect(world)?;
    if options.name {
        let name = cluster.node(None)?;
        writeln!(world.out, "{name}")?;
        return Ok(Exit::OK);
    }
    let state = cluster.client.cluster()?;
    let members = || state.nodes.iter().filter(|node| node.member);
    if let Some(id) = options.name_for_id {
        let node = state.nodes.iter().find(|node| node.id == id);
        let node = node.ok_or_else(|| Failure::no_such(format!("there is no node with the number {id}")))?;
        writeln!(world.out, "{}", node.name)?;
    } else if options.cluster_id {
        let node = state.nodes.iter().find(|node| node.name == state.local);
        let node = node.ok_or_else(|| Failure::no_such("this node has no number yet"))?;
        writeln!(world.out, "{}", node.id)?;
    } else if options.list {
        for node in members() {
            writeln!(world.out, "{} {} member", node.id, node.name)?;
        }
    } else if options.partition {
        let names: Vec<_> = members().map(|node| node.name.as_str()).collect();
        writeln!(world.out, "{}", names.join(" "))?;
    } else if options.quorum {
        writeln!(world.out, "{}", u8::from(state.quorate))?;
    } else {
        return Err(Failure::usage(
            "what is to be shown? --name, --list, --partition, --quorum, --cluster-id or --name-for-id",
        ));
    }
    Ok(Exit::OK)
}

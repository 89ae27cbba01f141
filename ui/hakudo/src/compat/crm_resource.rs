//! `crm_resource --ban` and `--clear`, as agents call them for the resource that they are. For people there is `hakudo resource`.

use super::Cluster;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::Parser;
use hakudo_cib::{Document, Element};
use hakudo_controller::request::ChangeOperation;

/// Ban a resource from a node.
#[derive(Debug, Parser)]
#[command(name = "crm_resource", version)]
pub(super) struct Options {
    /// Keep the resource away from the node
    #[arg(short = 'B', long, group = "command")]
    ban: bool,
    /// Take a ban back
    #[arg(short = 'U', long, group = "command")]
    clear: bool,
    /// The resource
    #[arg(short = 'r', long)]
    resource: String,
    /// The node (default: this one)
    #[arg(short = 'N', long, alias = "host", short_alias = 'H')]
    node: Option<String>,
    /// Accepted: the constraint is the same
    #[arg(short = 'Q', long, short_alias = 'q')]
    quiet: bool,
}

pub(super) fn run(options: &Options, world: &mut World) -> Outcome {
    if !options.ban && !options.clear {
        return Err(Failure::usage("what is to be done? --ban or --clear; everything else is in `hakudo resource`"));
    }
    let mut cluster = Cluster::connect(world)?;
    let node = cluster.node(options.node.as_deref())?;
    let cib = cluster.cib()?;
    let resource = whole(&cib, &options.resource)
        .ok_or_else(|| Failure::no_such(format!("there is no resource {}", options.resource)))?;
    let id = format!("cli-ban-{resource}-on-{node}");
    let operation = if options.ban {
        let constraint = Element::new("rsc_location")
            .with("id", &id)
            .with("rsc", &resource)
            .with("role", "Started")
            .with("node", &node)
            .with("score", "-INFINITY");
        ChangeOperation::Modify {
            xml: constraint.to_compact_xml(),
            create_in: Some("/cib/configuration/constraints".to_owned()),
        }
    } else {
        ChangeOperation::Delete { xpath: format!("//rsc_location[@id=\"{id}\"]"), or_nothing: true }
    };
    cluster.client.change(vec![operation], None, false)?;
    Ok(Exit::OK)
}

/// The resource as the configuration moves it: the clone or bundle of which it is an instance, or itself.
fn whole(cib: &Document, resource: &str) -> Option<String> {
    let name = resource.split(':').next().unwrap_or(resource);
    let resources = cib.section(&["configuration", "resources"])?;
    let holds = |element: &&Element| element.id() == name || element.descendants().any(|inner| inner.id() == name);
    let top = resources.children().find(holds)?;
    let moves_whole = matches!(top.name(), "clone" | "master" | "bundle");
    Some(if moves_whole { top.id() } else { name }.to_owned())
}

//! The commands that resource agents call, by their own names: `crm_attribute`, `crm_master`, `attrd_updater`,
//! `crm_node`, and of `crm_resource` the ban; and `crm_ticket`, `booth`, `boothd` and `geostore`,
//! which people call.
//!
//! Agents of resource-agents find these in their `PATH` or under `HA_SBIN_DIR`: a directory with links of these names to
//! this program serves them all. Options and outputs are those of Pacemaker 2.1 and 3.

mod attrd_updater;
mod booth;
mod boothd;
mod crm_attribute;
mod crm_mon;
mod crm_node;
mod crm_resource;
mod crm_ticket;

use crate::client::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::Parser;
use hakudo_cib::{Document, Element};
use std::ffi::OsString;
use std::path::Path;

/// The version of Pacemaker whose commands these are.
const PACEMAKER_VERSION: &str = "3.0.2";

/// Runs the command of the name by which this program was called, if it is one of these.
pub(crate) fn run(arguments: &[OsString], world: &mut World) -> Option<Outcome> {
    let name = Path::new(arguments.first()?).file_name()?.to_str()?;
    Some(match name {
        "crm_attribute" => parsed(arguments, |options| crm_attribute::run(&options, world)),
        "crm_master" => parsed(arguments, |options: crm_attribute::Master| crm_attribute::run(&options.into(), world)),
        "attrd_updater" => parsed(arguments, |options| attrd_updater::run(&options, world)),
        "crm_mon" => parsed(arguments, |options| crm_mon::run(&options, world)),
        "crm_node" => parsed(arguments, |options| crm_node::run(&options, world)),
        "crm_resource" => parsed(arguments, |options| crm_resource::run(&options, world)),
        "booth" | "boothd" => booths(booth::Name::Booth, arguments, world),
        "geostore" => booths(booth::Name::Geostore, arguments, world),
        "crm_ticket" => parsed(arguments, |options| crm_ticket::run(&options, arguments, world)),
        // Agents ask for the version to know which commands they may call.
        "pacemakerd" => pacemakerd(arguments, world),
        _ => return None,
    })
}

/// A command of booth, which reads its command line in its own way.
fn booths(name: booth::Name, arguments: &[OsString], world: &mut World) -> Outcome {
    match booth::read(name, arguments) {
        Err(why) => booth::wrong(name, why, world),
        Ok(booth::Call::Help) => booth::usage(name, world).map(|()| Exit::OK),
        Ok(booth::Call::Version) => booth::version(name, world),
        Ok(booth::Call::Daemon(options)) => boothd::run(&options, world),
        Ok(booth::Call::Status(options)) => boothd::status(&options, world),
        Ok(booth::Call::Ask(command, options)) => booth::ask(command, &options, world),
    }
}

fn parsed<Options: Parser>(arguments: &[OsString], run: impl FnOnce(Options) -> Outcome) -> Outcome {
    match Options::try_parse_from(arguments) {
        Ok(options) => run(options),
        Err(error) if error.use_stderr() => Err(Failure::usage(error.to_string().trim_end())),
        Err(error) => {
            // Help, or the version: asked for, and not an error.
            let _ = error.print();
            Ok(Exit::OK)
        }
    }
}

fn version(world: &mut World) -> Result<(), Failure> {
    Ok(writeln!(world.out, "Pacemaker {PACEMAKER_VERSION}\nhakudo {}", env!("CARGO_PKG_VERSION"))?)
}

fn pacemakerd(arguments: &[OsString], world: &mut World) -> Outcome {
    match arguments.get(1).and_then(|option| option.to_str()) {
        Some("-$" | "--version") => {
            version(world)?;
            Ok(Exit::OK)
        }
        _ => Err(Failure::usage(
            "the cluster's daemon is `hakudo daemon`; pacemakerd only tells the version (--version)",
        )),
    }
}

/// A node and its status.
struct Cluster {
    client: Client,
}

impl Cluster {
    fn connect(world: &World) -> Result<Self, Failure> {
        Ok(Self { client: Client::connect(&world.socket)? })
    }

    fn cib(&mut self) -> Result<Document, Failure> {
        let text = self.client.cib()?;
        Document::parse(&text)
            .map_err(|error| Failure::new(Exit::DATA, format!("the node's CIB can not be read: {error}")))
    }

    /// The node that is meant: as given, or the one on which an agent runs, or this one.
    fn node(&mut self, given: Option<&str>) -> Result<String, Failure> {
        match given {
            // Old names for "this node".
            Some("auto" | "localhost") | None => {}
            Some(name) => return Ok(name.to_owned()),
        }
        match std::env::var("OCF_RESKEY_CRM_meta_on_node") {
            Ok(name) if !name.is_empty() => Ok(name),
            _ => Ok(self.client.cluster()?.local),
        }
    }
}

/// The transient attribute of a node; names of nodes are compared without case, as agents write them.
fn transient_attribute<'a>(cib: &'a Document, node: &str, name: &str) -> Option<&'a str> {
    let states = cib.section(&["status"])?.children_named("node_state");
    let state = states.into_iter().find(|state| is_node(state, node))?;
    let sets = state.child("transient_attributes")?.children_named("instance_attributes");
    sets.flat_map(|set| set.children_named("nvpair"))
        .find(|pair| pair.attribute("name") == Some(name))?
        .attribute("value")
}

fn is_node(element: &Element, name: &str) -> bool {
    element.attribute("uname").is_some_and(|uname| uname.eq_ignore_ascii_case(name))
}

#[cfg(test)]
pub(crate) mod tests;

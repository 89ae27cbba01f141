//! `hakudo node`: list nodes, put them in standby or maintenance, fence them.

use crate::change::{self, PairSet};
use crate::cli::Global;
use crate::command::resource::suggestion;
use crate::command::status;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::output::{self, Format};
use crate::pair;
use crate::world::World;
use clap::{Args, Subcommand, ValueEnum};
use hakudo_cib::{Document, Element};
use hakudo_controller::request::{ChangeOperation, Request};
use hakudo_view::text;

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List nodes with their states
    #[command(visible_alias = "show")]
    List(List),
    /// Move everything away from nodes, and let nothing start there
    Standby(Named),
    /// End standby
    Online(Named),
    /// Leave everything on nodes as it is
    Maintenance(Named),
    /// End maintenance
    Ready(Named),
    /// Fence a node
    Fence(Fence),
    /// Confirm that a node is down and will run nothing, where fencing cannot
    ConfirmFenced(Confirm),
    /// Show or change a node attribute
    Attribute(Attribute),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output_as: Format,
}

/// Nodes.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The nodes; the node of this machine if none is named
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

/// How to fence.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FenceAction {
    /// Off and on again
    Reboot,
    /// Off
    Off,
    /// On
    On,
}

/// Arguments of `fence`.
#[derive(Debug, Args)]
pub(crate) struct Fence {
    /// The node
    node: String,
    /// How
    #[arg(long, value_enum, default_value_t = FenceAction::Reboot)]
    action: FenceAction,
}

/// Arguments of `confirm-fenced`.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// The node
    node: String,
    /// Yes, somebody made sure that it is down: if it is not, data may be lost
    #[arg(long, required = true)]
    it_is_down: bool,
}

/// Arguments of `attribute`.
#[derive(Debug, Args)]
pub(crate) struct Attribute {
    /// The node
    node: String,
    /// Until the node restarts, instead of for good
    #[arg(long, global = true)]
    transient: bool,
    #[command(subcommand)]
    action: pair::Action,
}

pub(crate) fn run(command: &Command, global: &Global, world: &mut World) -> Outcome {
    let source = global.source(world);
    match command {
        Command::List(arguments) => list(arguments, &source, world),
        Command::Standby(arguments) => set_all(arguments, "standby", "on", &source, world),
        Command::Online(arguments) => set_all(arguments, "standby", "off", &source, world),
        Command::Maintenance(arguments) => set_all(arguments, "maintenance", "true", &source, world),
        Command::Ready(arguments) => set_all(arguments, "maintenance", "false", &source, world),
        Command::Fence(arguments) => fence(arguments, &source, world),
        Command::ConfirmFenced(arguments) => {
            check(&source.cib()?.0, &arguments.node)?;
            let mut client = source.client("confirm-fenced")?;
            client.command(&Request::ConfirmFenced { node: arguments.node.clone() })?;
            writeln!(world.out, "{} counts as fenced", arguments.node)?;
            Ok(Exit::OK)
        }
        Command::Attribute(arguments) => attribute(arguments, &source, world),
    }
}

fn list(arguments: &List, source: &Source, world: &mut World) -> Outcome {
    let status = status::read(source, world.now)?;
    match arguments.output_as {
        Format::Text => {
            let width = status.nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
            for node in &status.nodes {
                let leader = if node.dc { "  DC" } else { "" };
                writeln!(world.out, "{:<width$}  {}{leader}", node.name, text::node_state(node))?;
            }
        }
        Format::Json => write!(world.out, "{}", output::json(&status.nodes)?)?,
        Format::Xml => {
            let sections = text::Sections { nodes: true, ..text::Sections::default() };
            let show = text::Show::default();
            write!(world.out, "{}", hakudo_view::xml::crm_mon(&status, sections, &show, "hakudo node list"))?;
        }
    }
    Ok(Exit::OK)
}

fn configured(cib: &Document) -> impl Iterator<Item = &Element> {
    cib.section(&["configuration", "nodes"]).into_iter().flat_map(|nodes| nodes.children_named("node"))
}

fn check<'a>(cib: &'a Document, name: &str) -> Result<&'a Element, Failure> {
    configured(cib).find(|node| node.attribute("uname") == Some(name)).ok_or_else(|| {
        let known: Vec<&str> = configured(cib).filter_map(|node| node.attribute("uname")).collect();
        Failure::no_such(format!("there is no node '{name}' in the configuration{}", suggestion(name, &known)))
    })
}

fn set_all(arguments: &Named, name: &str, value: &str, source: &Source, world: &mut World) -> Outcome {
    let (cib, cluster) = source.cib()?;
    let nodes = match (arguments.nodes.is_empty(), cluster) {
        (false, _) => arguments.nodes.clone(),
        (true, Some(cluster)) => vec![cluster.local],
        (true, None) => return Err(Failure::usage("name the node: a file has no node of its own")),
    };
    let operations =
        nodes.iter().map(|node| Ok(set(check(&cib, node)?, name, value))).collect::<Result<Vec<_>, Failure>>()?;
    change::apply(source, operations, world)?;
    Ok(Exit::OK)
}

fn set(node: &Element, name: &str, value: &str) -> ChangeOperation {
    let id = format!("nodes-{}", node.id());
    change::set(node, PairSet { kind: "instance_attributes", id: &id }, name, value)
}

fn fence(arguments: &Fence, source: &Source, world: &mut World) -> Outcome {
    check(&source.cib()?.0, &arguments.node)?;
    let action = match arguments.action {
        FenceAction::Reboot => "reboot",
        FenceAction::Off => "off",
        FenceAction::On => "on",
    };
    let mut client = source.client("fence")?;
    client.command(&Request::Fence { node: arguments.node.clone(), action: action.to_owned() })?;
    writeln!(world.out, "{}: {action} done", arguments.node)?;
    Ok(Exit::OK)
}

fn attribute(arguments: &Attribute, source: &Source, world: &mut World) -> Outcome {
    let (cib, _) = source.cib()?;
    let node = check(&cib, &arguments.node)?;
    let missing = |name: &str| Failure::no_such(format!("{} has no attribute '{name}'", arguments.node));
    if arguments.transient {
        return transient(arguments, &cib, missing, source, world);
    }
    let id = format!("nodes-{}", node.id());
    let set = PairSet { kind: "instance_attributes", id: &id };
    pair::run(&arguments.action, node, set, missing, source, world)
}

/// Attributes that the status holds, until the node restarts.
fn transient(
    arguments: &Attribute,
    cib: &Document,
    missing: impl Fn(&str) -> Failure,
    source: &Source,
    world: &mut World,
) -> Outcome {
    let (name, value) = match &arguments.action {
        pair::Action::Get { name } => {
            let states = cib.section(&["status"]).into_iter().flat_map(|status| status.children_named("node_state"));
            let value = states
                .filter(|state| state.attribute("uname") == Some(&arguments.node))
                .filter_map(|state| state.child("transient_attributes"))
                .find_map(|holder| change::value(holder, "instance_attributes", name));
            writeln!(world.out, "{}", value.ok_or_else(|| missing(name))?)?;
            return Ok(Exit::OK);
        }
        pair::Action::Set { name, value } => (name, Some(value.clone())),
        pair::Action::Delete { name } => (name, None),
    };
    let request = Request::SetAttribute { node: arguments.node.clone(), name: name.clone(), value };
    source.client("--transient")?.command(&request)?;
    Ok(Exit::OK)
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::expect;

    #[test]
    fn standby_is_a_node_attribute() {
        let cib = TemporaryFile::new(TWO_NODES);
        assert_eq!(testing::hakudo(&["--file", cib.name(), "node", "standby", "alpha"]), "");
        assert!(cib.text().contains(r#"name="standby" value="on""#), "{}", cib.text());
        expect![[r#"
            alpha  standby (with active resources)  DC
            beta   online
        "#]]
        .assert_eq(&testing::hakudo(&["--file", cib.name(), "node", "list"]));
        assert_eq!(testing::hakudo(&["--file", cib.name(), "node", "online", "alpha"]), "");
        assert_eq!(testing::hakudo(&["--file", cib.name(), "node", "attribute", "alpha", "get", "standby"]), "off\n");
    }

    #[test]
    fn an_unknown_node_is_named() {
        let cib = TemporaryFile::new(TWO_NODES);
        let said = testing::hakudo(&["--file", cib.name(), "node", "standby", "alfa"]);
        assert!(said.contains("did you mean 'alpha'?") && said.ends_with("[exit 105]\n"), "{said}");
    }
}

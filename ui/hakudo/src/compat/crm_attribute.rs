//! `crm_attribute` and `crm_master`: node attributes, promotion scores and cluster options.

use super::{Cluster, is_node, transient_attribute};
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::{Parser, ValueEnum};
use hakudo_cib::{Document, Element};
use hakudo_controller::request::{ChangeOperation, Request};

/// Manage attributes of nodes and options of the cluster.
#[derive(Debug, Default, Parser)]
#[command(name = "crm_attribute", version)]
pub(super) struct Options {
    /// The attribute
    #[arg(short, long)]
    name: Option<String>,
    /// The promotion score of a resource (default: the one whose agent calls)
    #[arg(short, long, num_args = 0..=1, default_missing_value = "", conflicts_with = "name")]
    promotion: Option<String>,
    /// Show the value
    #[arg(short = 'G', long, group = "command")]
    query: bool,
    /// Set the value
    #[arg(short = 'v', long, alias = "attr-value", group = "command", allow_hyphen_values = true)]
    update: Option<String>,
    /// Remove the attribute
    #[arg(short = 'D', long, group = "command")]
    delete: bool,
    /// The node (default: this one)
    #[arg(short = 'N', long, alias = "uname", short_alias = 'U')]
    node: Option<String>,
    /// Until when: reboot or forever
    #[arg(short, long, value_enum)]
    lifetime: Option<Lifetime>,
    /// The part of the CIB: nodes, status or crm_config
    #[arg(short, long, value_enum)]
    r#type: Option<Part>,
    /// The set in which a cluster option is kept
    #[arg(short, long)]
    set_name: Option<String>,
    /// What to show where there is no value
    #[arg(short, long, allow_hyphen_values = true)]
    default: Option<String>,
    /// Only the value
    #[arg(short, long, short_alias = 'Q')]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lifetime {
    #[value(alias = "reboot,", alias = "transient")]
    Reboot,
    Forever,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Nodes,
    Status,
    #[value(name = "crm_config")]
    CrmConfig,
}

/// Manage the promotion score of the resource whose agent calls.
#[derive(Debug, Parser)]
#[command(name = "crm_master", version)]
pub(super) struct Master {
    /// The resource
    #[arg(short, long)]
    resource: Option<String>,
    /// Show the score
    #[arg(short = 'G', long, group = "command")]
    query: bool,
    /// Set the score
    #[arg(short = 'v', long, group = "command", allow_hyphen_values = true)]
    update: Option<String>,
    /// Remove the score
    #[arg(short = 'D', long, group = "command")]
    delete: bool,
    /// The node (default: this one)
    #[arg(short = 'N', long, alias = "uname", short_alias = 'U')]
    node: Option<String>,
    /// Until when: reboot or forever
    #[arg(short, long, value_enum)]
    lifetime: Option<Lifetime>,
    /// Only the value
    #[arg(short, long, short_alias = 'Q')]
    quiet: bool,
}

impl From<Master> for Options {
    fn from(master: Master) -> Self {
        let Master { resource, query, update, delete, node, lifetime, quiet } = master;
        let promotion = Some(resource.unwrap_or_default());
        Self { promotion, query, update, delete, node, lifetime, quiet, ..Self::default() }
    }
}

/// Where the attribute is.
enum Place {
    /// In the status of a node: gone when the node leaves.
    Transient { node: String },
    /// In the configuration of a node.
    Permanent { node: String },
    /// A cluster option.
    Cluster { set: String },
}

pub(super) fn run(options: &Options, world: &mut World) -> Outcome {
    let name = name_of(options)?;
    let mut cluster = Cluster::connect(world)?;
    let place = place_of(options, &mut cluster)?;
    if let Some(value) = &options.update {
        update(&mut cluster, &place, &name, value)?;
    } else if options.delete {
        delete(&mut cluster, &place, &name)?;
    } else {
        let cib = cluster.cib()?;
        let value = value_of(&cib, &place, &name).map(str::to_owned).or_else(|| options.default.clone());
        let value =
            value.ok_or_else(|| Failure::no_such(format!("there is no attribute {name}{}", place.of_whom())))?;
        if options.quiet {
            writeln!(world.out, "{value}")?;
        } else {
            writeln!(world.out, "scope={}  name={name} value={value}", place.scope())?;
        }
    }
    Ok(Exit::OK)
}

/// The name of the attribute that holds a resource's promotion score.
fn promotion_score(resource: &str) -> String {
    format!("master-{resource}")
}

fn name_of(options: &Options) -> Result<String, Failure> {
    match (&options.name, options.promotion.as_deref()) {
        (Some(name), _) => Ok(name.clone()),
        (None, Some("")) => match std::env::var("OCF_RESOURCE_INSTANCE") {
            Ok(resource) if !resource.is_empty() => Ok(promotion_score(&resource)),
            _ => Err(Failure::usage(
                "the promotion score of which resource? An agent has it in OCF_RESOURCE_INSTANCE; name it otherwise",
            )),
        },
        (None, Some(resource)) => Ok(promotion_score(resource)),
        (None, None) => Err(Failure::usage("which attribute? Give its name with --name, or --promotion")),
    }
}

fn place_of(options: &Options, cluster: &mut Cluster) -> Result<Place, Failure> {
    let for_node = options.node.is_some() || options.lifetime.is_some() || options.promotion.is_some();
    let part = options.r#type.unwrap_or(match options.lifetime {
        Some(Lifetime::Forever) => Part::Nodes,
        Some(Lifetime::Reboot) => Part::Status,
        None if options.promotion.is_some() => Part::Status,
        None if for_node => Part::Nodes,
        None => Part::CrmConfig,
    });
    Ok(match part {
        Part::CrmConfig => {
            let set = options.set_name.clone().unwrap_or_else(|| "cib-bootstrap-options".to_owned());
            Place::Cluster { set }
        }
        Part::Status => Place::Transient { node: cluster.node(options.node.as_deref())? },
        Part::Nodes => Place::Permanent { node: cluster.node(options.node.as_deref())? },
    })
}

impl Place {
    fn scope(&self) -> &'static str {
        match self {
            Place::Transient { .. } => "status",
            Place::Permanent { .. } => "nodes",
            Place::Cluster { .. } => "crm_config",
        }
    }

    fn of_whom(&self) -> String {
        match self {
            Place::Transient { node } | Place::Permanent { node } => format!(" of node {node}"),
            Place::Cluster { .. } => String::new(),
        }
    }
}

fn value_of<'a>(cib: &'a Document, place: &Place, name: &str) -> Option<&'a str> {
    match place {
        Place::Transient { node } => transient_attribute(cib, node, name),
        _ => pair_of(cib, place, name)?.attribute("value"),
    }
}

/// The pair that holds a configured value.
fn pair_of<'a>(cib: &'a Document, place: &Place, name: &str) -> Option<&'a Element> {
    let (holder, sets) = match place {
        Place::Transient { .. } => return None,
        Place::Permanent { node } => (configured_node(cib, node)?, "instance_attributes"),
        Place::Cluster { .. } => (cib.section(&["configuration", "crm_config"])?, "cluster_property_set"),
    };
    let pairs = holder.children_named(sets).flat_map(|set| set.children_named("nvpair"));
    pairs.into_iter().find(|pair| pair.attribute("name") == Some(name))
}

fn configured_node<'a>(cib: &'a Document, name: &str) -> Option<&'a Element> {
    cib.section(&["configuration", "nodes"])?.children_named("node").find(|node| is_node(node, name))
}

fn update(cluster: &mut Cluster, place: &Place, name: &str, value: &str) -> Result<(), Failure> {
    if let Place::Transient { node } = place {
        let (node, name, value) = (node.clone(), name.to_owned(), Some(value.to_owned()));
        return cluster.client.command(&Request::SetAttribute { node, name, value });
    }
    let cib = cluster.cib()?;
    let operation = match pair_of(&cib, place, name) {
        Some(pair) => {
            let xml =
                Element::new("nvpair").with("id", pair.id()).with("name", name).with("value", value).to_compact_xml();
            ChangeOperation::Modify { xml, create_in: None }
        }
        None => new_pair(&cib, place, name, value)?,
    };
    cluster.client.change(vec![operation], None, false)
}

/// What adds a pair, in a set that may not be there yet.
fn new_pair(cib: &Document, place: &Place, name: &str, value: &str) -> Result<ChangeOperation, Failure> {
    let pair = |set: &str| {
        Element::new("nvpair").with("id", format!("{set}-{}", identifier(name))).with("name", name).with("value", value)
    };
    let (parent, set) = match place {
        Place::Permanent { node } => {
            let found = configured_node(cib, node);
            let id = found.ok_or_else(|| Failure::no_such(format!("there is no node {node}")))?.id().to_owned();
            let set = format!("nodes-{id}");
            (
                format!("/cib/configuration/nodes/node[@id=\"{id}\"]"),
                Element::new("instance_attributes").with("id", &set),
            )
        }
        _ => {
            let Place::Cluster { set } = place else { return Err(Failure::usage("only configured values have sets")) };
            ("/cib/configuration/crm_config".to_owned(), Element::new("cluster_property_set").with("id", set))
        }
    };
    let (kind, id) = (set.name().to_owned(), set.id().to_owned());
    let there = cib.ids().get(id.as_str()).is_some_and(|element| element.name() == kind);
    Ok(match there {
        true => ChangeOperation::Create { parent: format!("//{kind}[@id=\"{id}\"]"), xml: pair(&id).to_compact_xml() },
        false => ChangeOperation::Create { parent, xml: set.with_child(pair(&id)).to_compact_xml() },
    })
}

fn delete(cluster: &mut Cluster, place: &Place, name: &str) -> Result<(), Failure> {
    if let Place::Transient { node } = place {
        let (node, name) = (node.clone(), name.to_owned());
        return cluster.client.command(&Request::SetAttribute { node, name, value: None });
    }
    let cib = cluster.cib()?;
    let Some(pair) = pair_of(&cib, place, name) else { return Ok(()) };
    let xpath = format!("//nvpair[@id=\"{}\"]", pair.id());
    cluster.client.change(vec![ChangeOperation::Delete { xpath, or_nothing: true }], None, false)
}

fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

//! `hakudo status`: nodes, resources and failures, as `crm_mon` shows them.

use crate::cli::Global;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::output::{self, Format};
use crate::planning;
use crate::world::World;
use clap::Args;
use hakudo_controller::request::ClusterState;
use hakudo_view::status::{Alert, ClusterStatus};
use hakudo_view::text::{self, Sections, Show};
use hakudo_view::xml;
use std::time::Duration;

/// Arguments of `hakudo status`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of crm_mon")]
pub(crate) struct Arguments {
    /// Show the status once and end (the default)
    #[arg(short = '1', long)]
    one_shot: bool,
    /// Show the status again whenever it changes
    #[arg(short = 'w', long, conflicts_with = "one_shot")]
    watch: bool,
    /// Also resources that are not active
    #[arg(short = 'r', long)]
    inactive: bool,
    /// Resources under their nodes
    #[arg(short = 'n', long)]
    group_by_node: bool,
    /// How many resources of each agent are active, instead of each resource
    #[arg(short = 'b', long)]
    brief: bool,
    /// Fail counts
    #[arg(short = 'f', long)]
    failcounts: bool,
    /// The history of operations
    #[arg(short = 'o', long)]
    operations: bool,
    /// The history of operations with times
    #[arg(short = 't', long)]
    timing_details: bool,
    /// Tickets
    #[arg(short = 'c', long)]
    tickets: bool,
    /// Node attributes
    #[arg(short = 'A', long)]
    show_node_attributes: bool,
    /// Location constraints that keep resources away, of this id prefix or all
    #[arg(short = 'L', long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "", require_equals = true)]
    neg_locations: Option<String>,
    /// Node ids, every instance of a clone, and resources that the cluster makes itself
    #[arg(short = 'R', long)]
    show_detail: bool,
    /// Descriptions of resources
    #[arg(long)]
    show_description: bool,
    /// No summary of the cluster
    #[arg(short = 'D', long)]
    hide_headers: bool,
    /// Accepted for scripts: operations under way are always shown
    #[arg(short = 'j', long, hide = true)]
    pending: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output_as: Format,
}

impl Arguments {
    fn sections(&self) -> Sections {
        let usual = Sections::usual();
        let header = !self.hide_headers;
        Sections {
            stack: header,
            dc: header,
            times: header,
            counts: header,
            attributes: self.show_node_attributes,
            failcounts: self.failcounts,
            operations: self.operations || self.timing_details,
            tickets: self.tickets,
            bans: self.neg_locations.is_some(),
            ..usual
        }
    }

    fn show(&self, world: &World) -> Show {
        Show {
            inactive: self.inactive,
            by_node: self.group_by_node,
            brief: self.brief,
            timing: self.timing_details,
            node_ids: self.show_detail,
            clone_detail: self.show_detail,
            implicit: self.show_detail,
            failed_detail: self.show_detail,
            feature_sets: self.show_detail,
            descriptions: self.show_description,
            ban_prefix: self.neg_locations.clone().unwrap_or_default(),
            zone: world.zone.clone(),
            ..Show::default()
        }
    }
}

pub(crate) fn run(arguments: &Arguments, global: &Global, world: &mut World) -> Outcome {
    let source = global.source(world);
    if arguments.watch {
        return watch(arguments, &source, world);
    }
    let status = read(&source, world.now)?;
    let text = render(arguments, &status, world)?;
    write!(world.out, "{text}")?;
    Ok(Exit::OK)
}

/// The status of the cluster or of a file.
pub(crate) fn read(source: &Source, now: i64) -> Result<ClusterStatus, Failure> {
    let (cib, cluster) = source.cib()?;
    let moment = if cluster.is_some() { now } else { planning::execution_date(&cib).unwrap_or(now) };
    let model = planning::model(&cib, moment)?;
    let mut status = hakudo_view::cluster_status(&cib, &model);
    status.summary.updated = now;
    if let Some(cluster) = cluster {
        add_cluster(&mut status, &cluster);
    }
    Ok(status)
}

/// What only a running node knows.
fn add_cluster(status: &mut ClusterStatus, cluster: &ClusterState) {
    status.summary.local = Some(cluster.local.clone());
    status.summary.quorate = cluster.quorate;
    status
        .alerts
        .extend(cluster.alerts.iter().map(|(severity, text)| Alert { severity: *severity, text: text.clone() }));
    if !cluster.ready {
        let text =
            "the configuration is not agreed yet: the cluster does nothing until enough nodes are here".to_owned();
        status.alerts.push(Alert { severity: hakudo_base::Severity::Warning, text });
    }
    for node in &cluster.nodes {
        for (number, link) in node.links.iter().enumerate().filter(|(_, link)| !link.up && node.member) {
            let text = format!("link {number} to {} ({}) is down", node.name, link.address);
            if !status.alerts.iter().any(|alert| alert.text == text) {
                status.alerts.push(Alert { severity: hakudo_base::Severity::Warning, text });
            }
        }
    }
}

fn render(arguments: &Arguments, status: &ClusterStatus, world: &World) -> Result<String, Failure> {
    match arguments.output_as {
        Format::Text => Ok(text::render(status, arguments.sections(), &arguments.show(world))),
        Format::Json => output::json(status),
        Format::Xml => Ok(xml::crm_mon(status, arguments.sections(), &arguments.show(world), "hakudo status")),
    }
}

/// Shows the status again whenever something changed, until the output or the node goes away.
fn watch(arguments: &Arguments, source: &Source, world: &mut World) -> Outcome {
    let mut client = source.client("--watch")?;
    client.set_timeout(Some(Duration::from_secs(30)))?;
    let mut revision = client.cluster()?.revision;
    loop {
        world.now = jiff::Timestamp::now().as_second();
        let text = render(arguments, &read(source, world.now)?, world)?;
        if world.terminal {
            // Back to the corner, and clear what was there.
            write!(world.out, "\x1b[H\x1b[2J")?;
        }
        writeln!(world.out, "{text}")?;
        world.out.flush()?;
        loop {
            match client.watch(revision) {
                Ok(state) if state.revision != revision => {
                    revision = state.revision;
                    break;
                }
                Ok(_) => {}
                Err(failure) if failure.exit == Exit::TIMEOUT => {
                    client = source.client("--watch")?;
                    client.set_timeout(Some(Duration::from_secs(30)))?;
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

//! `hakudo status`: nodes, resources and failures, as `crm_mon` shows them.

use crate::cli::Global;
use crate::client::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::output::{self, Format};
use crate::planning;
use crate::world::{World, zone};
use clap::Args;
use hakudo_base::Severity;
use hakudo_cib::{Document, Element, access};
use hakudo_controller::request::{self, ClusterState, NodeState};
use hakudo_view::status::{Alert, ClusterStatus, Fencing, FencingState};
use hakudo_view::text::{self, Sections, Show};
use hakudo_view::xml;
use std::time::Duration;

/// Arguments of `hakudo status`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Show the status once and end (the default)
    #[arg(short = '1', long)]
    one_shot: bool,
    /// Show the status again whenever it changes
    #[arg(short = 'w', long, conflicts_with = "one_shot")]
    watch: bool,
    #[command(flatten)]
    shown: Shown,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output_as: Format,
}

/// What is shown.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of crm_mon")]
pub(crate) struct Shown {
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
    /// The history of fencing: 0 nothing, 1 what failed or goes on, 2 and 3 everything [default: 1, and 2 with -m alone]
    #[arg(short = 'm', long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u8).range(0..=3))]
    fence_history: Option<u8>,
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
    /// These sections, too (list: which ones there are)
    #[arg(short = 'I', long, value_name = "SECTION", value_delimiter = ',')]
    include: Vec<String>,
    /// Not these sections
    #[arg(short = 'U', long, value_name = "SECTION", value_delimiter = ',')]
    exclude: Vec<String>,
    /// Only what is about this node, or about those with this tag
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only what is about this resource, or about those with this tag
    #[arg(long, value_name = "RSC")]
    resource: Option<String>,
    /// Accepted for scripts: operations under way are always shown
    #[arg(short = 'j', long, hide = true)]
    pending: bool,
}

/// The names of sections, as crm_mon has them.
const SECTIONS: &str = "all, attributes, bans[:PREFIX], counts, dc, default, failcounts, failures, fencing, fencing-failed, \
     fencing-pending, fencing-succeeded, maint-mode, nodes, none, operations, options, resources, stack, summary, tickets, times";

impl Shown {
    fn sections(&self, form: Format) -> Result<Sections, Failure> {
        let usual = Sections::usual();
        let header = !self.hide_headers;
        // For programs, all of the history is told unless less is asked for.
        let fencing = self.fence_history.unwrap_or(if form == Format::Text { 1 } else { 2 });
        let mut sections = Sections {
            stack: header,
            dc: header,
            times: header,
            counts: header,
            attributes: self.show_node_attributes,
            failcounts: self.failcounts,
            operations: self.operations || self.timing_details,
            tickets: self.tickets,
            bans: self.neg_locations.is_some(),
            fencing_failed: fencing >= 1,
            fencing_pending: fencing >= 1,
            fencing_succeeded: fencing >= 2,
            ..usual
        };
        let usual = sections;
        let change = |sections: &mut Sections, names: &[String], on: bool| {
            let option = if on { "--include" } else { "--exclude" };
            names.iter().try_for_each(|name| switch(sections, name, on, usual, option))
        };
        // Who takes everything away means what is asked for besides to be left, wherever that stands.
        if self.exclude.iter().any(|name| name == "all") {
            change(&mut sections, &self.exclude, false)?;
            change(&mut sections, &self.include, true)?;
        } else {
            change(&mut sections, &self.include, true)?;
            change(&mut sections, &self.exclude, false)?;
        }
        Ok(sections)
    }

    fn show(&self, world: &World) -> Show {
        let prefix = self.include.iter().find_map(|name| name.strip_prefix("bans:"));
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
            ban_prefix: self.neg_locations.as_deref().or(prefix).unwrap_or_default().to_owned(),
            zone: world.zone.clone(),
            ..Show::default()
        }
    }

    /// The status as the command `request` shows it.
    pub(crate) fn render(
        &self,
        status: &ClusterStatus,
        form: Format,
        request: &str,
        world: &World,
    ) -> Result<String, Failure> {
        let sections = self.sections(form)?;
        match form {
            Format::Text => Ok(text::render(status, sections, &self.show(world))),
            Format::Json => output::json(status),
            Format::Xml => Ok(xml::crm_mon(status, sections, &self.show(world), request)),
        }
    }
}

/// Shows a section, or does not.
fn switch(sections: &mut Sections, name: &str, on: bool, usual: Sections, option: &str) -> Result<(), Failure> {
    let of_summary: [fn(&mut Sections) -> &mut bool; 6] = [
        |all| &mut all.stack,
        |all| &mut all.dc,
        |all| &mut all.times,
        |all| &mut all.counts,
        |all| &mut all.options,
        |all| &mut all.maintenance,
    ];
    let of_fencing: [fn(&mut Sections) -> &mut bool; 3] =
        [|all| &mut all.fencing_failed, |all| &mut all.fencing_pending, |all| &mut all.fencing_succeeded];
    let one = match name {
        "all" => {
            *sections = if on { Sections::all() } else { Sections::default() };
            return Ok(());
        }
        "none" => {
            *sections = if on { Sections::default() } else { Sections::all() };
            return Ok(());
        }
        "default" | "defaults" if on => {
            *sections = usual;
            return Ok(());
        }
        "summary" => {
            of_summary.iter().for_each(|section| *section(sections) = on);
            return Ok(());
        }
        "fencing" => {
            of_fencing.iter().for_each(|section| *section(sections) = on);
            return Ok(());
        }
        "stack" => &mut sections.stack,
        "dc" => &mut sections.dc,
        "times" => &mut sections.times,
        "counts" => &mut sections.counts,
        "options" => &mut sections.options,
        "maint-mode" => &mut sections.maintenance,
        "nodes" => &mut sections.nodes,
        "resources" => &mut sections.resources,
        "attributes" => &mut sections.attributes,
        "failcounts" => &mut sections.failcounts,
        "operations" => &mut sections.operations,
        "failures" => &mut sections.failures,
        "tickets" => &mut sections.tickets,
        "fencing-failed" => &mut sections.fencing_failed,
        "fencing-pending" => &mut sections.fencing_pending,
        "fencing-succeeded" => &mut sections.fencing_succeeded,
        name if name == "bans" || name.starts_with("bans:") => &mut sections.bans,
        "list" => return Err(Failure::usage(format!("{option} options: {SECTIONS}"))),
        other => return Err(Failure::usage(format!("there is no section '{other}': {option} options: {SECTIONS}"))),
    };
    *one = on;
    Ok(())
}

pub(crate) fn run(arguments: &Arguments, global: &Global, world: &mut World) -> Outcome {
    let source = global.source(world);
    let shown = &arguments.shown;
    let render =
        |status: &ClusterStatus, world: &World| shown.render(status, arguments.output_as, "hakudo status", world);
    if arguments.watch {
        return watch(shown, &source, world, render, show_again);
    }
    let status = read_shown(shown, &source, world.now)?;
    let text = render(&status, world)?;
    write!(world.out, "{text}")?;
    Ok(Exit::OK)
}

/// The status, of which only a part may be wanted.
pub(crate) fn read_shown(shown: &Shown, source: &Source, now: i64) -> Result<ClusterStatus, Failure> {
    let (cib, cluster) = source.cib()?;
    let mut status = status_of(&cib, cluster.as_ref(), now)?;
    if let Some(node) = &shown.node {
        status.only_nodes(&meant_by(&cib, node));
    }
    if let Some(resource) = &shown.resource {
        status.only_resources(&meant_by(&cib, resource));
    }
    Ok(status)
}

/// What a name stands for: itself, or what has the tag of that name.
fn meant_by(cib: &Document, name: &str) -> Vec<String> {
    let tags = cib.section(&["configuration", "tags"]).into_iter().flat_map(Element::children);
    let tagged = tags.filter(|tag| tag.id() == name).flat_map(Element::children).map(|object| object.id().to_owned());
    std::iter::once(name.to_owned()).chain(tagged).collect()
}

/// The status of the cluster or of a file.
pub(crate) fn read(source: &Source, now: i64) -> Result<ClusterStatus, Failure> {
    let (cib, cluster) = source.cib()?;
    status_of(&cib, cluster.as_ref(), now)
}

fn status_of(cib: &Document, cluster: Option<&ClusterState>, now: i64) -> Result<ClusterStatus, Failure> {
    let moment = if cluster.is_some() { now } else { planning::execution_date(cib).unwrap_or(now) };
    let model = planning::model(cib, planning::wall_time(moment, &zone()))?;
    let mut status = hakudo_view::cluster_status(cib, &model);
    status.summary.updated = now;
    if let Some(cluster) = cluster {
        add_cluster(&mut status, cluster);
    }
    if access::is_asked_for(cib, planning::wall_time(now, &zone())) {
        status.alerts.push(Alert { severity: Severity::Warning, text: access::NOT_ENFORCED.to_owned() });
    }
    Ok(status)
}

/// What only a running node knows.
fn add_cluster(status: &mut ClusterStatus, cluster: &ClusterState) {
    let summary = &mut status.summary;
    if summary.stack == "unknown" {
        summary.stack.clone_from(&cluster.stack);
    }
    let mut versions: Vec<&String> = cluster.nodes.iter().filter_map(|node| node.version.as_ref()).collect();
    versions.dedup();
    summary.mixed_version |= versions.len() > 1;
    let leads = |node: &&NodeState| Some(&node.name) == cluster.leader.as_ref();
    summary.dc_version = cluster.nodes.iter().find(leads).and_then(|node| node.version.clone());
    status.fencing = cluster.fencing.iter().map(fencing).collect();
    status.summary.local = Some(cluster.local.clone());
    status.summary.quorate = cluster.quorate;
    status
        .alerts
        .extend(cluster.alerts.iter().map(|(severity, text)| Alert { severity: *severity, text: text.clone() }));
    if !cluster.ready {
        let text =
            "the configuration is not agreed yet: the cluster does nothing until enough nodes are here".to_owned();
        status.alerts.push(Alert { severity: Severity::Warning, text });
    }
    for node in &cluster.nodes {
        for (number, link) in node.links.iter().enumerate().filter(|(_, link)| !link.up && node.member) {
            let text = format!("link {number} to {} ({}) is down", node.name, link.address);
            if !status.alerts.iter().any(|alert| alert.text == text) {
                status.alerts.push(Alert { severity: Severity::Warning, text });
            }
        }
    }
}

fn fencing(known: &request::Fencing) -> Fencing {
    let state = match known.state {
        request::FencingState::Pending => FencingState::Pending,
        request::FencingState::Succeeded => FencingState::Success,
        request::FencingState::Failed => FencingState::Failed,
    };
    Fencing {
        target: known.target.clone(),
        action: known.action.clone(),
        state,
        delegate: known.by.clone(),
        devices: known.devices.clone(),
        client: known.client.clone(),
        origin: known.origin.clone(),
        completed: (state != FencingState::Pending).then_some(known.time),
        exit_reason: known.reason.clone(),
        took_ms: known.took_ms,
    }
}

/// Writes a status in the place of the one before, where somebody looks.
pub(crate) fn show_again(text: &str, world: &mut World) -> Result<(), Failure> {
    if world.terminal {
        // Back to the corner, and clear what was there.
        write!(world.out, "\x1b[H\x1b[2J")?;
    }
    writeln!(world.out, "{text}")?;
    Ok(world.out.flush()?)
}

/// How long after a failure the node is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows the status again whenever something changed, until the output goes away. A node that is restarted is waited for.
pub(crate) fn watch(
    shown: &Shown,
    source: &Source,
    world: &mut World,
    render: impl Fn(&ClusterStatus, &World) -> Result<String, Failure>,
    put: impl Fn(&str, &mut World) -> Result<(), Failure>,
) -> Outcome {
    // Who begins to watch wants to know that there is nothing to watch.
    let mut watcher = Watcher::new(source)?;
    loop {
        world.now = jiff::Timestamp::now().as_second();
        match read_shown(shown, source, world.now) {
            Ok(status) => put(&render(&status, world)?, world)?,
            Err(failure) => wait_out(failure, world)?,
        }
        loop {
            match watcher.changed() {
                Ok(true) => break,
                Ok(false) => {}
                Err(failure) => {
                    wait_out(failure, world)?;
                    if let Ok(anew) = Watcher::new(source) {
                        watcher = anew;
                        break;
                    }
                }
            }
        }
    }
}

/// Waits where the node is only away; other failures are the end.
fn wait_out(failure: Failure, world: &mut World) -> Result<(), Failure> {
    match failure.exit {
        Exit::TIMEOUT => Ok(()),
        Exit::DISCONNECTED => {
            writeln!(world.err, "hakudo: {failure} (trying again)")?;
            std::thread::sleep(PAUSE);
            Ok(())
        }
        _ => Err(failure),
    }
}

/// Asks a node whether something changed.
struct Watcher {
    client: Client,
    revision: u64,
}

impl Watcher {
    fn new(source: &Source) -> Result<Self, Failure> {
        let mut client = source.client("--watch")?;
        client.set_timeout(Some(Duration::from_secs(30)))?;
        let revision = client.cluster()?.revision;
        Ok(Self { client, revision })
    }

    /// Whether the state is another than at the last look.
    fn changed(&mut self) -> Result<bool, Failure> {
        let before = self.revision;
        self.revision = self.client.watch(before)?.revision;
        Ok(self.revision != before)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::{Expect, expect};

    fn check(words: &[&str], expected: &Expect) {
        let cib = TemporaryFile::new(TWO_NODES);
        expected.assert_eq(&testing::hakudo(&[&["--file", cib.name(), "status"], words].concat()));
    }

    #[test]
    fn a_status_is_that_of_crm_mon() {
        check(
            &["-1"],
            &expect![[r#"
            Cluster Summary:
              * Stack: unknown
              * Current DC: alpha (version unknown) - partition with quorum
              * Last updated: Thu Jan  1 00:00:00 2026
              * Last change:  
              * 2 nodes configured
              * 2 resource instances configured

            Node List:
              * Online: [ alpha beta ]

            Active Resources:
              * address	(ocf:hakudo:Address):	 Started alpha
              * web	(ocf:hakudo:Http):	 Started alpha
        "#]],
        );
        check(
            &["-D", "-n", "-o", "-L"],
            &expect![[r#"
            Node List:
              * Node alpha: online:
                * Resources:
                  * address	(ocf:hakudo:Address):	 Started
                  * web	(ocf:hakudo:Http):	 Started
              * Node beta: online:
                * Resources:

            Operations:
              * Node: alpha:
                * address: migration-threshold=1000000:
                  * (5) start
                  * (6) monitor: interval=10000ms
                * web: migration-threshold=1000000:
                  * (7) start
        "#]],
        );
        check(
            &["-D", "-b", "-r"],
            &expect![[r#"
            Node List:
              * Online: [ alpha beta ]

            Full List of Resources:
              * 1/1	(ocf:hakudo:Address):	Active alpha
              * 1/1	(ocf:hakudo:Http):	Active alpha
        "#]],
        );
    }

    #[test]
    fn xml_is_the_api_result() {
        check(
            &["--output-as=xml"],
            &expect![[r#"
            <?xml version="1.0"?>
            <pacemaker-result api-version="2.41" request="hakudo status">
              <summary>
                <stack type="unknown"/>
                <current_dc present="true" version="" name="alpha" id="1" with_quorum="true" mixed_version="false"/>
                <last_update time="Thu Jan  1 00:00:00 2026"/>
                <last_change time="" user="" client="" origin=""/>
                <nodes_configured number="2"/>
                <resources_configured number="2" disabled="0" blocked="0"/>
                <cluster_options fencing-enabled="false" fencing-timeout-ms="60000" symmetric-cluster="true" no-quorum-policy="stop" maintenance-mode="false" stop-all-resources="false" priority-fencing-delay-ms="0" stonith-enabled="false" stonith-timeout-ms="60000"/>
              </summary>
              <nodes>
                <node name="alpha" id="1" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" health="green" feature_set="&lt;3.15.1" shutdown="false" expected_up="true" is_dc="true" resources_running="2" type="member"/>
                <node name="beta" id="2" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" health="green" feature_set="&lt;3.15.1" shutdown="false" expected_up="true" is_dc="false" resources_running="0" type="member"/>
              </nodes>
              <resources>
                <resource id="address" resource_agent="ocf:hakudo:Address" role="Started" active="true" orphaned="false" removed="false" blocked="false" maintenance="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1">
                  <node name="alpha" id="1" cached="true"/>
                </resource>
                <resource id="web" resource_agent="ocf:hakudo:Http" role="Started" active="true" orphaned="false" removed="false" blocked="false" maintenance="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1">
                  <node name="alpha" id="1" cached="true"/>
                </resource>
              </resources>
              <status code="0" message="OK"/>
            </pacemaker-result>
        "#]],
        );
    }

    #[test]
    fn json_has_all_sections() {
        let cib = TemporaryFile::new(TWO_NODES);
        let text = testing::hakudo(&["--file", cib.name(), "status", "--output-as=json"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["alerts", "bans", "failures", "fencing", "history", "nodes", "resources", "summary", "tickets"]
        );
        assert_eq!(value["resources"][1]["active_on"][0], "alpha");
    }

    #[test]
    fn a_missing_cluster_is_explained() {
        expect![[r#"
            hakudo: cannot reach the node at /nonexistent/node.sock: No such file or directory (os error 2): no node runs on this machine, or it has another socket (--socket, HAKUDO_SOCKET); a CIB file is read with --file
            [exit 102]
        "#]].assert_eq(&testing::hakudo(&["status"]));
    }
}

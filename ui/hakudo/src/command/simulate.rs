//! `hakudo simulate`: what the cluster would do, as `crm_simulate` tells it.

use crate::cli::Global;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::output::Format;
use crate::planning;
use crate::world::World;
use clap::{Args, ValueEnum};
use hakudo_base::WallTime;
use hakudo_cib::Document;
use hakudo_scheduler::simulate::{Injections, OperationResult, carry_out, inject};
use hakudo_scheduler::{Model, Plan};
use hakudo_view::text::{Sections, Show};
use hakudo_view::{graph, simulation};
use report::{Report, Stage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

mod report;

/// Arguments of `hakudo simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "An OPSPEC is RESOURCE_TASK_INTERVAL@NODE=EXIT with the interval in milliseconds, for instance \
web_monitor_10000@node1=7: the monitor that runs every 10 seconds finds web not running on node1."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of crm_simulate")]
pub(crate) struct Arguments {
    /// Show which actions the cluster would take
    #[arg(short = 'R', long)]
    run: bool,
    /// Like --run, and take those actions on paper and show the status afterwards
    #[arg(short = 'S', long)]
    simulate: bool,
    /// Like --simulate, and store the result in the input file
    #[arg(short = 'X', long)]
    in_place: bool,
    /// Show node attributes
    #[arg(short = 'A', long)]
    show_attrs: bool,
    /// Show fail counts and failures
    #[arg(short = 'c', long)]
    show_failcounts: bool,
    /// Show what each node is worth to each resource
    #[arg(short = 's', long)]
    show_scores: bool,
    /// Show the capacity that nodes have left
    #[arg(short = 'U', long)]
    show_utilization: bool,
    /// Plan for each XML file of a folder and show how long that takes
    #[arg(short = 'P', long, value_name = "DIR")]
    profile: Option<PathBuf>,
    /// With --profile: plan so many times
    #[arg(short = 'N', long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// Accepted for scripts: operations under way are always shown
    #[arg(short = 'j', long, hide = true)]
    pending: bool,

    /// Let a node come online
    #[arg(short = 'u', long, value_name = "NODE")]
    node_up: Vec<String>,
    /// Let a node leave cleanly
    #[arg(short = 'd', long, value_name = "NODE")]
    node_down: Vec<String>,
    /// Let a node be lost
    #[arg(short = 'f', long, value_name = "NODE")]
    node_fail: Vec<String>,
    /// Put the result of an operation into the history
    #[arg(short = 'i', long, value_name = "OPSPEC")]
    op_inject: Vec<String>,
    /// Let an operation of the plan have this result; the rest of the plan is given up then
    #[arg(short = 'F', long, value_name = "OPSPEC")]
    op_fail: Vec<String>,
    /// Plan for this moment instead of now (ISO 8601)
    #[arg(short = 't', long, value_name = "DATETIME")]
    set_datetime: Option<String>,
    /// Give (1 or true) or take (0 or false) quorum
    #[arg(short = 'q', long, value_name = "QUORUM")]
    quorum: Option<String>,
    /// Say that there is (1 or true) or is not (0 or false) a watchdog
    #[arg(short = 'w', long, value_name = "DEVICE")]
    watchdog: Option<String>,
    /// Grant a ticket
    #[arg(short = 'g', long, value_name = "TICKET")]
    ticket_grant: Vec<String>,
    /// Revoke a ticket
    #[arg(short = 'r', long, value_name = "TICKET")]
    ticket_revoke: Vec<String>,
    /// Put a ticket in standby
    #[arg(short = 'b', long, value_name = "TICKET")]
    ticket_standby: Vec<String>,
    /// Take a ticket out of standby
    #[arg(short = 'e', long, value_name = "TICKET")]
    ticket_activate: Vec<String>,

    /// Save the CIB with all changes asked for, before planning
    #[arg(short = 'I', long, value_name = "FILE")]
    save_input: Option<PathBuf>,
    /// Save the CIB as it is after the actions
    #[arg(short = 'O', long, value_name = "FILE")]
    save_output: Option<PathBuf>,
    /// Save the transition graph as XML
    #[arg(short = 'G', long, value_name = "FILE")]
    save_graph: Option<PathBuf>,
    /// Save the transition graph for Graphviz
    #[arg(short = 'D', long, value_name = "FILE")]
    save_dotfile: Option<PathBuf>,
    /// With --save-dotfile: also the actions that need not be done
    #[arg(short = 'a', long)]
    all_actions: bool,

    /// Take the CIB of the running cluster (the default)
    #[arg(short = 'L', long, overrides_with_all = ["xml_file", "xml_pipe"])]
    live_check: bool,
    /// Take the CIB from a file
    #[arg(short = 'x', long, value_name = "FILE", overrides_with_all = ["live_check", "xml_pipe"])]
    xml_file: Option<PathBuf>,
    /// Take the CIB from standard input
    #[arg(short = 'p', long, overrides_with_all = ["live_check", "xml_file"])]
    xml_pipe: bool,

    /// Only scores, if these are asked for
    #[arg(short = 'Q', long)]
    quiet: bool,
    /// With --save-dotfile: the numbers of actions
    #[arg(short = 'V', long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Form::Text, value_name = "FORMAT")]
    output_as: Form,
    /// Write the output to a file
    #[arg(long, value_name = "FILE")]
    output_to: Option<PathBuf>,
    /// Accepted for scripts: text has titles and bullets
    #[arg(long, hide = true)]
    text_fancy: bool,
}

impl Arguments {
    fn source(&self, global: &Global, world: &World) -> Source {
        if self.live_check {
            Source::Live(global.socket.clone().unwrap_or_else(|| world.socket.clone()))
        } else if self.xml_pipe {
            Source::Standard
        } else {
            global.source_or(self.xml_file.as_deref(), world)
        }
    }

    /// Whether a plan is to be made, and whether it is to be carried out.
    fn depth(&self) -> (bool, bool) {
        let simulate = self.simulate || self.in_place || !self.op_fail.is_empty();
        let artefacts = self.save_graph.is_some() || self.save_dotfile.is_some();
        (simulate || self.run || self.show_scores || self.show_utilization || artefacts, simulate)
    }

    fn sections(&self) -> Sections {
        Sections {
            nodes: true,
            resources: true,
            attributes: self.show_attrs,
            failcounts: self.show_failcounts,
            failures: self.show_failcounts,
            ..Sections::default()
        }
    }

    fn injections(&self) -> Result<Injections, Failure> {
        let operations = self.op_inject.iter().map(|text| Ok((text.clone(), operation_result(text)?)));
        Ok(Injections {
            quorum: self.quorum.clone(),
            watchdog: self.watchdog.clone(),
            nodes_up: self.node_up.clone(),
            nodes_down: self.node_down.clone(),
            nodes_fail: self.node_fail.clone(),
            grant: self.ticket_grant.clone(),
            revoke: self.ticket_revoke.clone(),
            standby: self.ticket_standby.clone(),
            activate: self.ticket_activate.clone(),
            operations: operations.collect::<Result<_, Failure>>()?,
        })
    }
}

/// The form of a simulation's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people, in crm_simulate's words
    Text,
    /// For programs: the schema is documented
    Json,
    /// For programs made for Pacemaker's tools: the API result of these
    Xml,
    /// Nothing: who asks for files only, or for the exit code
    None,
}

impl Form {
    fn format(self) -> Format {
        match self {
            Self::Text | Self::None => Format::Text,
            Self::Json => Format::Json,
            Self::Xml => Format::Xml,
        }
    }
}

fn operation_result(text: &str) -> Result<OperationResult, Failure> {
    OperationResult::parse(text).map_err(Failure::usage)
}

pub(crate) fn run(arguments: &Arguments, global: &Global, world: &mut World) -> Outcome {
    if let Some(file) = arguments.output_to.as_deref().filter(|file| file.as_os_str() != "-") {
        let file = std::fs::File::create(file).map_err(|error| cannot_write(file, &error))?;
        world.out = Box::new(std::io::BufWriter::new(file));
    }
    if arguments.output_as == Form::None {
        world.out = Box::new(std::io::sink());
    }
    let mut report =
        Report::new(arguments.output_as.format(), arguments.quiet, arguments.quiet && arguments.show_scores);
    if let Some(folder) = &arguments.profile {
        let timings = profile(arguments, folder, world)?;
        report.timings(&timings, world)?;
        return report.finish(Exit::OK, &request(), world);
    }
    let source = arguments.source(global, world);
    if arguments.in_place && !matches!(source, Source::File(_)) {
        return Err(Failure::usage("--in-place stores the result in the input file: name one with --xml-file"));
    }
    let injections = arguments.injections()?;
    let failures = arguments.op_fail.iter().map(|text| operation_result(text)).collect::<Result<Vec<_>, _>>()?;
    let mut notes = Vec::new();
    let (cib, _) = source.cib_with_notes(&mut notes)?;
    for line in notes.iter().flat_map(|note| &note.announced) {
        writeln!(world.err, "{line}")?;
    }
    let mut session = Session::new(arguments, &cib, report, world)?;
    let exit = session.go(cib, &source, &injections, &failures, world)?;
    session.report.finish(exit, &request(), world)
}

/// The command line, as an API result repeats it.
fn request() -> String {
    std::env::args().collect::<Vec<_>>().join(" ")
}

/// One simulation.
struct Session<'a> {
    arguments: &'a Arguments,
    /// The moment at which everything happens.
    now: WallTime,
    /// What is said about the moment, wherever a status is made.
    date_notice: Option<String>,
    report: Report,
}

impl<'a> Session<'a> {
    fn new(arguments: &'a Arguments, cib: &Document, report: Report, world: &World) -> Result<Self, Failure> {
        let (now, date_notice) = match (&arguments.set_datetime, planning::execution_date(cib)) {
            (Some(text), _) => {
                (planning::parse_moment(text, world)?, Some(format!("Setting effective cluster time: {text}")))
            }
            (None, Some(date)) => (
                planning::wall_time(date, &world.zone),
                Some(format!("Using the original execution date of: {}", simulation::utc(date))),
            ),
            (None, None) => (planning::wall_time(world.now, &world.zone), None),
        };
        Ok(Self { arguments, now, date_notice, report })
    }

    fn say_date(&self, world: &mut World) -> Result<(), Failure> {
        match &self.date_notice {
            Some(notice) => self.report.notice(notice, world),
            None => Ok(()),
        }
    }

    fn go(
        &mut self,
        mut cib: Document,
        source: &Source,
        injections: &Injections,
        failures: &[OperationResult],
        world: &mut World,
    ) -> Outcome {
        let (make_plan, simulate) = self.arguments.depth();
        self.say_date(world)?;
        let mut model = planning::model(&cib, self.now)?;
        self.status(Stage::Current, &cib, &model, world)?;
        if !injections.is_empty() {
            let (changed, steps) =
                inject(cib, injections, &model, world.now).map_err(|error| Failure::no_such(error.to_string()))?;
            cib = changed;
            self.report.modifications(&steps, world)?;
            self.say_date(world)?;
            model = planning::model(&cib, self.now)?;
        }
        if let Some(file) = &self.arguments.save_input {
            save(file, &cib.to_xml())?;
        }
        if !make_plan {
            return Ok(Exit::OK);
        }
        let plan = self.plan(&cib)?;
        self.report.scores(&plan, self.arguments.show_scores, self.arguments.show_utilization, world)?;
        self.report.changes(&plan, world)?;
        if !simulate {
            return Ok(Exit::OK);
        }
        let (after, exit) = self.carry_out(cib, &model, &plan, failures, world)?;
        if let Some(file) = &self.arguments.save_output {
            save(file, &after.to_xml())?;
        }
        if let (true, Source::File(file)) = (self.arguments.in_place, source) {
            save(file, &after.to_xml())?;
        }
        Ok(exit)
    }

    /// The plan; its pictures are saved where they are asked for.
    fn plan(&self, cib: &Document) -> Result<Plan, Failure> {
        let plan = match &self.arguments.save_dotfile {
            None => planning::plan(cib, self.now)?,
            Some(file) => {
                let (plan, considered) = planning::plan_with_considered(cib, self.now)?;
                save(file, &graph::dot(&considered, self.arguments.all_actions, self.arguments.verbose > 0))?;
                plan
            }
        };
        if let Some(file) = &self.arguments.save_graph {
            save(file, &graph::graph(&plan.transition).to_xml())?;
        }
        Ok(plan)
    }

    /// The status of the cluster. Operations under way concern only the present one.
    fn status(&mut self, stage: Stage, cib: &Document, model: &Model, world: &mut World) -> Result<(), Failure> {
        if self.report.is_quiet() {
            return Ok(());
        }
        let status = hakudo_view::cluster_status(cib, model);
        let show = Show {
            inactive: true,
            failed_detail: true,
            pending: stage == Stage::Current,
            zone: world.zone.clone(),
            ..Show::default()
        };
        self.report.status(stage, &status, self.arguments.sections(), &show, world)
    }

    fn carry_out(
        &mut self,
        cib: Document,
        model: &Model,
        plan: &Plan,
        failures: &[OperationResult],
        world: &mut World,
    ) -> Result<(Document, Exit), Failure> {
        let names: BTreeSet<&str> = model
            .resources()
            .flat_map(|(_, resource)| [Some(resource.id.as_str()), resource.history_id.as_deref()])
            .flatten()
            .collect();
        let outcome = carry_out(cib, &plan.transition, &|id| names.contains(id), failures, world.now);
        self.report.steps(&outcome.steps, world)?;
        if !outcome.complete {
            self.report.error("Transition failed: terminated", world)?;
            self.report.error("An invalid transition was produced", world)?;
        }
        if !self.report.is_quiet() {
            self.say_date(world)?;
            let model = planning::model(&outcome.document, self.now)?;
            self.status(Stage::Revised, &outcome.document, &model, world)?;
        }
        Ok((outcome.document, if outcome.complete { Exit::OK } else { Exit::ERROR }))
    }
}

/// How long planning takes for each file of a folder.
fn profile(arguments: &Arguments, folder: &Path, world: &mut World) -> Result<Vec<(String, f64)>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(Exit::NO_INPUT, format!("cannot read the folder {}: {error}", folder.display()))
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "xml") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut timings = Vec::new();
    for file in files {
        let cib = match Source::File(file.clone()).cib() {
            Ok((cib, _)) => cib,
            Err(failure) => {
                writeln!(world.err, "hakudo: {failure}")?;
                continue;
            }
        };
        let now = match &arguments.set_datetime {
            Some(text) => planning::parse_moment(text, world)?,
            None => planning::wall_time(planning::execution_date(&cib).unwrap_or(world.now), &world.zone),
        };
        // Processor time, and the upgrade to today's schema once for all, as crm_simulate measures.
        let start = processor_seconds();
        let cib = hakudo_cib::upgrade::upgrade(&cib).map_or(cib, |upgraded| upgraded.document);
        for _ in 0..arguments.repeat {
            planning::plan(&cib, now)?;
        }
        timings.push((file.display().to_string(), processor_seconds() - start));
    }
    Ok(timings)
}

fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn save(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| cannot_write(file, &error))
}

fn cannot_write(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::CANNOT_CREATE, format!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::{Expect, expect};

    fn check(words: &[&str], expected: &Expect) {
        let cib = TemporaryFile::new(TWO_NODES);
        let text = testing::hakudo(&[&["simulate", "-x", cib.name()], words].concat());
        expected.assert_eq(&without_request(&text).replace(cib.name(), "CIB"));
    }

    /// An API result repeats the command line, which is that of the tests.
    fn without_request(text: &str) -> String {
        match text.split_once("request=\"").and_then(|(before, rest)| Some((before, rest.split_once('"')?.1))) {
            Some((before, after)) => format!("{before}request=\"…\"{after}"),
            None => text.to_owned(),
        }
    }

    #[test]
    fn xml_has_the_elements_of_an_api_result() {
        check(
            &["-S", "-d", "alpha", "--output-as=xml"],
            &expect![[r#"
            <?xml version="1.0"?>
            <pacemaker-result api-version="2.41" request="…">
              <cluster_status>
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
              </cluster_status>
              <modifications>
                <modify_node action="Offline" node="alpha"/>
              </modifications>
              <actions>
                <rsc_action action="start" resource="address" node="beta"/>
                <rsc_action action="start" resource="web" node="beta"/>
              </actions>
              <transition>
                <rsc_action resource="address" op="start" node="beta"/>
                <rsc_action resource="web" op="start" node="beta"/>
                <rsc_action resource="address" op="monitor" node="beta" interval="10000"/>
              </transition>
              <revised_cluster_status>
                <nodes>
                  <node name="alpha" id="1" online="false" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" health="green" shutdown="false" expected_up="false" is_dc="true" resources_running="0" type="member"/>
                  <node name="beta" id="2" online="true" standby="false" standby_onfail="false" maintenance="false" pending="false" unclean="false" health="green" feature_set="&lt;3.15.1" shutdown="false" expected_up="true" is_dc="false" resources_running="2" type="member"/>
                </nodes>
                <resources>
                  <resource id="address" resource_agent="ocf:hakudo:Address" role="Started" active="true" orphaned="false" removed="false" blocked="false" maintenance="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1">
                    <node name="beta" id="2" cached="true"/>
                  </resource>
                  <resource id="web" resource_agent="ocf:hakudo:Http" role="Started" active="true" orphaned="false" removed="false" blocked="false" maintenance="false" managed="true" failed="false" failure_ignored="false" nodes_running_on="1">
                    <node name="beta" id="2" cached="true"/>
                  </resource>
                </resources>
              </revised_cluster_status>
              <status code="0" message="OK"/>
            </pacemaker-result>
        "#]],
        );
    }

    #[test]
    fn json_has_a_member_for_each_section() {
        let cib = TemporaryFile::new(TWO_NODES);
        let text = testing::hakudo(&["simulate", "-x", cib.name(), "-SUd", "alpha", "--output-as=json"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let members: Vec<&String> = value.as_object().unwrap().keys().collect();
        expect![[r#"
            ["changes", "current", "modifications", "revised", "scores", "steps"]
            {"blocked":false,"destination":"beta","kind":"resource","next_role":"Started","origin":null,"reason":null,"resource":"address","role":"Stopped","verb":"Start"}
            {"resource":{"interval_ms":0,"node":"beta","operation":"start","resource":"address"}}"#]].assert_eq(&format!("{members:?}\n{}\n{}", value["changes"][0], value["steps"][0]));
    }

    #[test]
    fn capacities_are_shown_before_and_after() {
        check(
            &["-QU"],
            &expect![[r#"
            Utilization Information:
              * Original: alpha capacity:
              * Original: beta capacity:
              * pcmk__assign_resource: address utilization on alpha:
              * pcmk__assign_resource: web utilization on alpha:
              * Remaining: alpha capacity:
              * Remaining: beta capacity:
        "#]],
        );
        check(
            &["-QsU"],
            &expect![[r#"
            Original: alpha capacity:
            Original: beta capacity:
            pcmk__primitive_assign: address allocation score on alpha: 0
            pcmk__primitive_assign: address allocation score on beta: 0
            pcmk__assign_resource: address utilization on alpha:
            pcmk__primitive_assign: web allocation score on alpha: 0
            pcmk__primitive_assign: web allocation score on beta: -INFINITY
            pcmk__assign_resource: web utilization on alpha:
            Remaining: alpha capacity:
            Remaining: beta capacity:
        "#]],
        );
    }

    #[test]
    fn a_picture_can_have_everything_that_was_considered() {
        let (cib, picture) = (TemporaryFile::new(TWO_NODES), TemporaryFile::new(""));
        testing::hakudo(&["simulate", "-x", cib.name(), "-Q", "-d", "alpha", "-D", picture.name()]);
        expect![[r#"
             digraph "g" {
            "web_start_0 beta" [ style=bold color="green" fontcolor="black"]
            "address_monitor_10000 beta" [ style=bold color="green" fontcolor="black"]
            "address_start_0 beta" [ style=bold color="green" fontcolor="black"]
            "address_start_0 beta" -> "web_start_0 beta" [ style = bold]
            "address_start_0 beta" -> "address_monitor_10000 beta" [ style = bold]
            }
        "#]]
        .assert_eq(&picture.text());
        testing::hakudo(&["simulate", "-x", cib.name(), "-Q", "-a", "-V", "-D", picture.name()]);
        expect![[r#"
             digraph "g" {
            "web_start_0 alpha (5)" [ style=dashed color="blue" fontcolor="black"]
            "web_stop_0 alpha (4)" [ style=dashed color="blue" fontcolor="black"]
            "address_start_0 alpha (3)" [ style=dashed color="blue" fontcolor="black"]
            "address_stop_0 alpha (2)" [ style=dashed color="blue" fontcolor="black"]
            "address_monitor_10000 alpha (1)" [ style=dashed color="blue" fontcolor="black"]
            "address_start_0 alpha (3)" -> "web_start_0 alpha (5)" [ style = dashed]
            "web_stop_0 alpha (4)" -> "web_start_0 alpha (5)" [ style = dashed]
            "address_stop_0 alpha (2)" -> "address_start_0 alpha (3)" [ style = dashed]
            "web_stop_0 alpha (4)" -> "address_stop_0 alpha (2)" [ style = dashed]
            "address_start_0 alpha (3)" -> "address_monitor_10000 alpha (1)" [ style = dashed]
            }
        "#]]
        .assert_eq(&picture.text());
    }

    #[test]
    fn simulated_operations_are_recorded_with_their_digests() {
        let (cib, after) = (TemporaryFile::new(TWO_NODES), TemporaryFile::new(""));
        let words =
            ["simulate", "-x", cib.name(), "-QS", "-i", "web_monitor_5000@beta=1", "-d", "alpha", "-O", after.name()];
        testing::hakudo(&words);
        let document = hakudo_cib::Document::parse(&after.text()).unwrap();
        let entries = document.root().descendants().filter(|entry| entry.name() == "lrm_rsc_op");
        let shown: String = entries
            .filter(|entry| entry.attribute("crm-debug-origin").is_some())
            .map(|entry| {
                let value = |name: &str| entry.attribute(name).unwrap_or("-").to_owned();
                format!("{} {} {} {}\n", entry.id(), value("rc-code"), value("op-digest"), value("exit-reason"))
            })
            .collect();
        expect![[r#"
            address_last_0 0 f2317cad3d54cec5d7d7aa7d0bf35cf8 
            address_monitor_10000 0 4811cef7f7f94e3a35a70be7916cb2fd 
            web_last_0 0 f2317cad3d54cec5d7d7aa7d0bf35cf8 
            web_last_failure_0 1 - Simulated action result
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_quiet_cluster_has_nothing_to_do() {
        check(
            &["-S"],
            &expect![[r#"
            Using the original execution date of: 2026-01-01 00:00:00Z
            Current cluster status:
              * Node List:
                * Online: [ alpha beta ]

              * Full List of Resources:
                * address	(ocf:hakudo:Address):	 Started alpha
                * web	(ocf:hakudo:Http):	 Started alpha

            Transition Summary:

            Executing Cluster Transition:
            Using the original execution date of: 2026-01-01 00:00:00Z

            Revised Cluster Status:
              * Node List:
                * Online: [ alpha beta ]

              * Full List of Resources:
                * address	(ocf:hakudo:Address):	 Started alpha
                * web	(ocf:hakudo:Http):	 Started alpha
        "#]],
        );
    }

    #[test]
    fn a_node_that_leaves_hands_its_services_over() {
        check(
            &["-S", "-d", "alpha"],
            &expect![[r#"
            Using the original execution date of: 2026-01-01 00:00:00Z
            Current cluster status:
              * Node List:
                * Online: [ alpha beta ]

              * Full List of Resources:
                * address	(ocf:hakudo:Address):	 Started alpha
                * web	(ocf:hakudo:Http):	 Started alpha

            Performing Requested Modifications:
              * Taking node alpha offline
            Using the original execution date of: 2026-01-01 00:00:00Z

            Transition Summary:
              * Start      address     (  beta )
              * Start      web         (  beta )

            Executing Cluster Transition:
              * Resource action: address         start on beta
              * Resource action: web             start on beta
              * Resource action: address         monitor=10000 on beta
            Using the original execution date of: 2026-01-01 00:00:00Z

            Revised Cluster Status:
              * Node List:
                * Online: [ beta ]
                * OFFLINE: [ alpha ]

              * Full List of Resources:
                * address	(ocf:hakudo:Address):	 Started beta
                * web	(ocf:hakudo:Http):	 Started beta
        "#]],
        );
    }

    #[test]
    fn a_failure_on_the_way_stops_the_plan() {
        check(
            &["-d", "alpha", "-F", "web_start_0@beta=1"],
            &expect![[r#"
            Using the original execution date of: 2026-01-01 00:00:00Z
            Current cluster status:
              * Node List:
                * Online: [ alpha beta ]

              * Full List of Resources:
                * address	(ocf:hakudo:Address):	 Started alpha
                * web	(ocf:hakudo:Http):	 Started alpha

            Performing Requested Modifications:
              * Taking node alpha offline
            Using the original execution date of: 2026-01-01 00:00:00Z

            Transition Summary:
              * Start      address     (  beta )
              * Start      web         (  beta )

            Executing Cluster Transition:
              * Resource action: address         start on beta
              * Resource action: web             start on beta
            Pretending action 3 failed with rc=1
              * Injecting attribute fail-count-web#start_0=INFINITY into /node_state '2'
              * Injecting attribute last-failure-web#start_0=1767225600 into /node_state '2'
            Using the original execution date of: 2026-01-01 00:00:00Z

            Revised Cluster Status:
              * Node List:
                * Online: [ beta ]
                * OFFLINE: [ alpha ]

              * Full List of Resources:
                * address	(ocf:hakudo:Address):	 Started beta
                * web	(ocf:hakudo:Http):	 FAILED beta
        "#]],
        );
    }

    #[test]
    fn nothing_is_told_where_nothing_is_wanted() {
        check(&["-S", "-d", "alpha", "--output-as=none"], &expect![[""]]);
        check(
            &["-i", "nothing_monitor_10000@alpha=7", "--output-as=none"],
            &expect![[r#"
            hakudo: there is no resource 'nothing' that runs an agent: check the resource of the operation result
            [exit 105]
        "#]],
        );
    }

    #[test]
    fn mistakes_are_explained() {
        check(
            &["-i", "web_monitor_10000@alpha"],
            &expect![[r#"
            hakudo: 'web_monitor_10000@alpha' has no =EXIT: an operation result is written RESOURCE_TASK_INTERVAL@NODE=EXIT, for instance web_monitor_10000@node1=7
            [exit 64]
        "#]],
        );
        check(
            &["-i", "nothing_monitor_10000@alpha=7"],
            &expect![[r#"
            Using the original execution date of: 2026-01-01 00:00:00Z
            Current cluster status:
              * Node List:
                * Online: [ alpha beta ]

              * Full List of Resources:
                * address	(ocf:hakudo:Address):	 Started alpha
                * web	(ocf:hakudo:Http):	 Started alpha
            hakudo: there is no resource 'nothing' that runs an agent: check the resource of the operation result
            [exit 105]
        "#]],
        );
        check(
            &["-t", "yesterday"],
            &expect![[r#"
            hakudo: 'yesterday' is not an ISO 8601 date and time: it starts with none of YYYY-MM-DD, YYYYMMDD, YYYY-DDD, YYYY-Www-D
            [exit 64]
        "#]],
        );
    }
}

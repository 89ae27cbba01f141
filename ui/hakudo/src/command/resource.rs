//! `hakudo resource`: list, start, stop, move and clean up resources, as `crm_resource` does.

use crate::change::{self, PairSet};
use crate::cli::Global;
use crate::command::status;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::output::{self, Format};
use crate::pair;
use crate::planning;
use crate::settle;
use crate::world::World;
use clap::{Args, Subcommand};
use hakudo_base::suggestion::nearest;
use hakudo_cib::{Document, Element};
use hakudo_controller::request::{ChangeOperation, Request};
use hakudo_scheduler::ShownRole;
use hakudo_view::status::{ClusterStatus, Resource};
use hakudo_view::text::{self, Sections, Show};

/// What to do with resources.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all resources
    #[command(visible_alias = "status")]
    List(List),
    /// Let a resource run (target-role=Started)
    Start(Lifecycle),
    /// Stop a resource and keep it stopped (target-role=Stopped)
    Stop(Lifecycle),
    /// Stop a resource, wait, and let it run again
    Restart(Restart),
    /// Run a resource on another node, by a constraint that stays until `clear`
    Move(Move),
    /// Keep a resource away from a node, by a constraint that stays until `clear`
    Ban(Move),
    /// Remove the constraints of `move` and `ban`
    Clear(Clear),
    /// Forget the failures of a resource, or of all
    Cleanup(Cleanup),
    /// Forget all that is known of a resource, or of all, and look anew
    Refresh(Cleanup),
    /// Let the cluster start and stop a resource
    Manage(Lifecycle),
    /// Leave a resource as it is
    Unmanage(Lifecycle),
    /// Show or change a meta-attribute
    Meta(Pair),
    /// Show or change a parameter of the agent
    Param(Pair),
    /// Show where a resource runs
    Locate(Named),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output_as: Format,
}

/// A resource.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The resource
    resource: String,
}

/// Arguments of `start`, `stop`, `manage`, `unmanage`.
#[derive(Debug, Args)]
pub(crate) struct Lifecycle {
    /// The resources
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// The resource
    resource: String,
    /// Seconds to wait for each half
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// Whether to wait.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Wait until the cluster has nothing more to do
    #[arg(short, long)]
    wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// Arguments of `move` and `ban`.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// The resource
    resource: String,
    /// Where to, or where not; by default away from where it runs
    node: Option<String>,
    /// Only its promoted role
    #[arg(long)]
    promoted: bool,
    /// When the constraint ends: a duration like PT30M, or a moment
    #[arg(long, value_name = "LIFETIME")]
    lifetime: Option<String>,
    /// Do not wait until the cluster has nothing more to do
    #[arg(long = "async")]
    asynchronous: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// Arguments of `clear`.
#[derive(Debug, Args)]
pub(crate) struct Clear {
    /// The resource
    resource: String,
    /// Only the constraints about this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

/// Arguments of `cleanup` and `refresh`.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// The resource; all if none is named
    resource: Option<String>,
    /// Only on this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

/// Arguments of `meta` and `param`.
#[derive(Debug, Args)]
pub(crate) struct Pair {
    /// The resource
    resource: String,
    #[command(subcommand)]
    action: pair::Action,
}

pub(crate) fn run(command: &Command, global: &Global, world: &mut World) -> Outcome {
    let source = global.source(world);
    match command {
        Command::List(arguments) => list(arguments, &source, world),
        Command::Start(arguments) => set_meta(arguments, "target-role", "Started", &source, world),
        Command::Stop(arguments) => set_meta(arguments, "target-role", "Stopped", &source, world),
        Command::Restart(arguments) => restart(arguments, &source, world),
        Command::Move(arguments) => relocate(arguments, false, &source, world),
        Command::Ban(arguments) => relocate(arguments, true, &source, world),
        Command::Clear(arguments) => clear(arguments, &source, world),
        Command::Cleanup(arguments) => cleanup(arguments, false, &source, world),
        Command::Refresh(arguments) => cleanup(arguments, true, &source, world),
        Command::Manage(arguments) => set_meta(arguments, "is-managed", "true", &source, world),
        Command::Unmanage(arguments) => set_meta(arguments, "is-managed", "false", &source, world),
        Command::Meta(arguments) => pair(arguments, "meta_attributes", &source, world),
        Command::Param(arguments) => pair(arguments, "instance_attributes", &source, world),
        Command::Locate(arguments) => locate(&arguments.resource, &source, world),
    }
}

/// The resource of this id in the configuration. An instance of a clone is meant by the name without number.
pub(crate) fn find<'a>(cib: &'a Document, name: &str) -> Result<&'a Element, Failure> {
    let resources = cib.section(&["configuration", "resources"]);
    let is_resource = |element: &&Element| {
        matches!(element.name(), "primitive" | "group" | "clone" | "master" | "bundle" | "template")
    };
    let by_id = |id: &str| resources.and_then(|r| r.descendants().filter(is_resource).find(|e| e.id() == id));
    let without_number = name.rsplit_once(':').filter(|(_, number)| number.parse::<u32>().is_ok());
    by_id(name).or_else(|| without_number.and_then(|(id, _)| by_id(id))).ok_or_else(|| {
        let known: Vec<&str> =
            resources.into_iter().flat_map(|r| r.descendants().filter(is_resource).map(Element::id)).collect();
        Failure::no_such(format!("there is no resource '{name}' in the configuration{}", suggestion(name, &known)))
    })
}

/// What was probably meant.
pub(crate) fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!(": did you mean '{near}'?"),
        _ if known.is_empty() => ": there is none at all".to_owned(),
        _ if known.len() <= 10 => format!(": there are {}", known.join(", ")),
        _ => format!(": there are {} others", known.len()),
    }
}

fn list(arguments: &List, source: &Source, world: &mut World) -> Outcome {
    let status = status::read(source, world.now)?;
    match arguments.output_as {
        Format::Text => {
            let sections = Sections { resources: true, ..Sections::default() };
            let show = Show { inactive: true, zone: world.zone.clone(), ..Show::default() };
            let status = ClusterStatus { alerts: Vec::new(), ..status };
            write!(world.out, "{}", text::render(&status, sections, &show))?;
        }
        Format::Json => write!(world.out, "{}", output::json(&status.resources)?)?,
        Format::Xml => {
            let sections = Sections { resources: true, ..Sections::default() };
            let show = Show { inactive: true, zone: world.zone.clone(), ..Show::default() };
            write!(world.out, "{}", hakudo_view::xml::crm_mon(&status, sections, &show, "hakudo resource list"))?;
        }
    }
    Ok(Exit::OK)
}

fn set_meta(arguments: &Lifecycle, name: &str, value: &str, source: &Source, world: &mut World) -> Outcome {
    let (cib, _) = source.cib()?;
    let operations = arguments
        .resources
        .iter()
        .map(|resource| Ok(meta(find(&cib, resource)?, name, value)))
        .collect::<Result<Vec<_>, Failure>>()?;
    change::apply(source, operations, world)?;
    if arguments.waiting.wait {
        settle::wait(source, arguments.waiting.timeout, world)?;
    }
    Ok(Exit::OK)
}

fn meta(element: &Element, name: &str, value: &str) -> ChangeOperation {
    let id = format!("{}-meta_attributes", element.id());
    change::set(element, PairSet { kind: "meta_attributes", id: &id }, name, value)
}

fn restart(arguments: &Restart, source: &Source, world: &mut World) -> Outcome {
    source.client("restart")?;
    let (before, _) = source.cib()?;
    let element = find(&before, &arguments.resource)?;
    let role = change::value(element, "meta_attributes", "target-role").map(str::to_owned);
    change::apply(source, vec![meta(element, "target-role", "Stopped")], world)?;
    let stopped = settle::wait(source, arguments.timeout, world);
    // Whatever came of stopping, the resource gets its old role back.
    let (now, _) = source.cib()?;
    let element = find(&now, &arguments.resource)?;
    let restore = match &role {
        Some(role) => Some(meta(element, "target-role", role)),
        None => change::unset(element, "meta_attributes", "target-role"),
    };
    change::apply(source, restore.into_iter().collect(), world)?;
    stopped?;
    settle::wait(source, arguments.timeout, world)?;
    Ok(Exit::OK)
}

fn pair(arguments: &Pair, kind: &str, source: &Source, world: &mut World) -> Outcome {
    let (cib, _) = source.cib()?;
    let element = find(&cib, &arguments.resource)?;
    let missing = |name: &str| {
        let what = if kind == "meta_attributes" { "meta-attribute" } else { "parameter" };
        Failure::no_such(format!("{} has no {what} '{name}' of its own", arguments.resource))
    };
    let id = format!("{}-{kind}", element.id());
    pair::run(&arguments.action, element, PairSet { kind, id: &id }, missing, source, world)
}

/// The resource whose constraints place a resource: for a member of a clone or bundle the clone or bundle.
fn placed<'a>(cib: &'a Document, name: &str) -> Result<&'a Element, Failure> {
    let found = find(cib, name)?;
    let outer = cib
        .section(&["configuration", "resources"])
        .into_iter()
        .flat_map(Element::children)
        .filter(|top| matches!(top.name(), "clone" | "master" | "bundle"))
        .find(|top| top.descendants().any(|inside| inside.id() == found.id() && inside.name() == found.name()));
    Ok(outer.unwrap_or(found))
}

/// Moves a resource to a node, or away from one.
fn relocate(arguments: &Move, ban: bool, source: &Source, world: &mut World) -> Outcome {
    let (cib, _) = source.cib()?;
    let resource = placed(&cib, &arguments.resource)?.id().to_owned();
    let status = status::read(source, world.now)?;
    let here = active_on(&status, &resource, arguments.promoted);
    if let Some(node) = &arguments.node {
        check_node(&status, node)?;
    }
    let end = arguments.lifetime.as_deref().map(|text| lifetime(text, world)).transpose()?;
    let (prefer, target) = match (&arguments.node, ban) {
        (Some(node), false) if here == [node.clone()] => {
            return Err(Failure::new(Exit::EXISTS, format!("{resource} is already active on {node}")));
        }
        (Some(node), false) => (true, node.clone()),
        (Some(node), true) => (false, node.clone()),
        (None, _) => match here.as_slice() {
            [one] => (false, one.clone()),
            [] => {
                return Err(Failure::no_such(format!("{resource} is not active anywhere: name the node")));
            }
            several => {
                return Err(Failure::new(
                    Exit(109),
                    format!("{resource} is active on {}: name the node", several.join(", ")),
                ));
            }
        },
    };
    let mut operations = Vec::new();
    if prefer {
        operations.extend(clearing(&cib, &resource, Some(&target)));
    }
    let constraint = constraint(&resource, &target, prefer, arguments.promoted, end.as_deref());
    operations.retain(|operation| !matches!(operation, ChangeOperation::Delete { xpath, .. } if xpath.contains(&change::literal(constraint.id()))));
    operations.push(put(&cib, constraint));
    change::apply(source, operations, world)?;
    if !prefer {
        writeln!(
            world.err,
            "{resource} will not run on {target} until the constraint cli-ban-{resource}-on-{target} is removed: hakudo resource clear {resource}"
        )?;
    }
    if arguments.asynchronous || !matches!(source, Source::Live(_)) {
        return Ok(Exit::OK);
    }
    settle::wait(source, arguments.timeout, world)?;
    let there = active_on(&status::read(source, world.now)?, &resource, arguments.promoted);
    let list = |nodes: &[String]| if nodes.is_empty() { "nowhere".to_owned() } else { nodes.join(" ") };
    writeln!(world.out, "{resource}: {} -> {}", list(&here), list(&there))?;
    if prefer && !there.contains(&target) {
        return Err(Failure::new(
            Exit::ERROR,
            format!("{resource} did not come to {target}: `hakudo why {resource} --node {target}` tells why"),
        ));
    }
    Ok(Exit::OK)
}

fn check_node(status: &ClusterStatus, node: &str) -> Result<(), Failure> {
    if status.node(node).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = status.nodes.iter().map(|node| node.name.as_str()).collect();
    Err(Failure::no_such(format!("there is no node '{node}'{}", suggestion(node, &known))))
}

/// The end of a constraint: from now on for a duration, or at a moment.
fn lifetime(text: &str, world: &World) -> Result<String, Failure> {
    let end = if text.starts_with('P') {
        let duration = hakudo_cib::iso8601::Duration::parse(text).map_err(|error| Failure::usage(error.to_string()))?;
        world.now.saturating_add(duration.approximate_seconds())
    } else {
        planning::parse_moment(text, world)?.seconds()
    };
    if end <= world.now {
        return Err(Failure::usage(format!("the lifetime '{text}' is over already")));
    }
    Ok(hakudo_view::simulation::utc(end))
}

/// The constraint of `move` and `ban`, with the ids that `crm_resource` gives.
fn constraint(resource: &str, node: &str, prefer: bool, promoted: bool, end: Option<&str>) -> Element {
    let score = if prefer { "INFINITY" } else { "-INFINITY" };
    let (kind, id) = if prefer {
        ("prefer", format!("cli-prefer-{resource}"))
    } else {
        ("ban", format!("cli-ban-{resource}-on-{node}"))
    };
    let element = Element::new("rsc_location")
        .with("id", &id)
        .with("rsc", resource)
        .with("role", if promoted { "Promoted" } else { "Started" });
    let Some(end) = end else { return element.with("node", node).with("score", score) };
    let rule = Element::new("rule")
        .with("id", format!("cli-{kind}-rule-{resource}"))
        .with("score", score)
        .with("boolean-op", "and")
        .with_child(
            Element::new("expression")
                .with("id", format!("cli-{kind}-expr-{resource}"))
                .with("attribute", "#uname")
                .with("operation", "eq")
                .with("value", node)
                .with("type", "string"),
        )
        .with_child(
            Element::new("date_expression")
                .with("id", format!("cli-{kind}-lifetime-end-{resource}"))
                .with("operation", "lt")
                .with("end", end),
        );
    element.with_child(rule)
}

/// Puts a constraint in the place of one with its id, or to the others.
fn put(cib: &Document, constraint: Element) -> ChangeOperation {
    let there = constraints(cib).any(|other| other.id() == constraint.id());
    if there {
        ChangeOperation::Replace { xml: constraint.to_xml() }
    } else {
        ChangeOperation::Create { parent: "/cib/configuration/constraints".to_owned(), xml: constraint.to_xml() }
    }
}

fn constraints(cib: &Document) -> impl Iterator<Item = &Element> {
    cib.section(&["configuration", "constraints"]).into_iter().flat_map(Element::children)
}

/// What removes the constraints of `move` and `ban`: the preference, and bans from one node or all.
fn clearing(cib: &Document, resource: &str, node: Option<&str>) -> Vec<ChangeOperation> {
    let prefix = format!("cli-ban-{resource}-on-");
    constraints(cib)
        .filter(|constraint| {
            let id = constraint.id();
            let about = constraint
                .attribute("node")
                .or_else(|| constraint.child("rule")?.children_named("expression").find_map(|e| e.attribute("value")));
            let named = id == format!("cli-prefer-{resource}") || id.starts_with(&prefix);
            named && node.is_none_or(|node| about == Some(node) || id == format!("{prefix}{node}"))
        })
        .map(|constraint| ChangeOperation::Delete {
            xpath: format!("//{}[@id={}]", constraint.name(), change::literal(constraint.id())),
            or_nothing: true,
        })
        .collect()
}

fn clear(arguments: &Clear, source: &Source, world: &mut World) -> Outcome {
    let (cib, _) = source.cib()?;
    let resource = placed(&cib, &arguments.resource)?.id().to_owned();
    let operations = clearing(&cib, &resource, arguments.node.as_deref());
    let removed = operations.len();
    if removed > 0 {
        change::apply(source, operations, world)?;
    }
    writeln!(world.out, "{removed} constraint{} removed", if removed == 1 { "" } else { "s" })?;
    Ok(Exit::OK)
}

fn cleanup(arguments: &Cleanup, refresh: bool, source: &Source, world: &mut World) -> Outcome {
    let what = if refresh { "refresh" } else { "cleanup" };
    let mut client = source.client(what)?;
    if let Some(resource) = &arguments.resource {
        find(&source.cib()?.0, resource)?;
    }
    client.command(&Request::Cleanup {
        resource: arguments.resource.clone(),
        node: arguments.node.clone(),
        refresh,
    })?;
    let of = arguments.resource.as_deref().unwrap_or("all resources");
    let on = arguments.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let done = if refresh { "Refreshed" } else { "Cleaned up" };
    writeln!(world.out, "{done} {of}{on}")?;
    Ok(Exit::OK)
}

/// The nodes where a resource is active, or where it is promoted.
fn active_on(status: &ClusterStatus, resource: &str, promoted: bool) -> Vec<String> {
    let primitives = status.resource(resource).map(Resource::primitives).unwrap_or_default();
    let mut nodes: Vec<String> = primitives
        .into_iter()
        .filter(|primitive| !promoted || primitive.role == ShownRole::Promoted)
        .flat_map(|primitive| primitive.active_on.clone())
        .collect();
    nodes.sort_by(|a, b| hakudo_view::words::by_name(a, b));
    nodes.dedup();
    nodes
}

fn locate(name: &str, source: &Source, world: &mut World) -> Outcome {
    let status = status::read(source, world.now)?;
    let Some(resource) = status.resource(name) else {
        find(&source.cib()?.0, name)?;
        return Err(Failure::no_such(format!(
            "'{name}' is configured, but no resource of its own: a template runs nowhere"
        )));
    };
    let mut somewhere = false;
    for primitive in resource.primitives() {
        for node in &primitive.active_on {
            somewhere = true;
            let role = if primitive.role == ShownRole::Promoted { " Promoted" } else { "" };
            writeln!(world.out, "resource {} is running on: {node}{role}", primitive.name)?;
        }
    }
    if !somewhere {
        writeln!(world.out, "resource {name} is NOT running")?;
    }
    Ok(Exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::{Expect, expect};

    /// What a command says, and how it changes the configuration.
    fn check(words: &[&str], expected: &Expect) {
        let cib = TemporaryFile::new(TWO_NODES);
        let said = testing::hakudo(&[&["--file", cib.name(), "resource"], words].concat());
        let changes = crate::difference::unified(
            &Document::parse(TWO_NODES).unwrap().to_xml(),
            &Document::parse(&cib.text()).unwrap().to_xml(),
            "before",
            "after",
        );
        let changed = changes.lines().filter(|line| line.starts_with(['+', '-']) && !line.contains("<cib "));
        let changed: String = changed.skip(2).map(|line| format!("{line}\n")).collect();
        expected.assert_eq(&(said.replace(cib.name(), "CIB") + &changed));
    }

    #[test]
    fn stopping_sets_the_target_role() {
        check(
            &["stop", "web"],
            &expect![[r#"
            -      <primitive id="web" class="ocf" provider="hakudo" type="Http"/>
            +      <primitive id="web" class="ocf" provider="hakudo" type="Http">
            +        <meta_attributes id="web-meta_attributes">
            +          <nvpair id="web-meta_attributes-target-role" name="target-role" value="Stopped"/>
            +        </meta_attributes>
            +      </primitive>
        "#]],
        );
    }

    #[test]
    fn a_move_prefers_a_node() {
        check(
            &["move", "web", "beta"],
            &expect![[r#"
            +      <rsc_location id="cli-prefer-web" rsc="web" role="Started" node="beta" score="INFINITY"/>
        "#]],
        );
        check(
            &["move", "web", "alpha"],
            &expect![[r#"
            hakudo: web is already active on alpha
            [exit 108]
        "#]],
        );
        check(
            &["move", "web", "gamma"],
            &expect![[r#"
            hakudo: there is no node 'gamma': there are alpha, beta
            [exit 105]
        "#]],
        );
    }

    #[test]
    fn a_ban_keeps_away_and_may_end() {
        check(
            &["ban", "web"],
            &expect![[r#"
            web will not run on alpha until the constraint cli-ban-web-on-alpha is removed: hakudo resource clear web
            +      <rsc_location id="cli-ban-web-on-alpha" rsc="web" role="Started" node="alpha" score="-INFINITY"/>
        "#]],
        );
        check(
            &["ban", "web", "alpha", "--lifetime", "PT1H"],
            &expect![[r##"
            web will not run on alpha until the constraint cli-ban-web-on-alpha is removed: hakudo resource clear web
            +      <rsc_location id="cli-ban-web-on-alpha" rsc="web" role="Started">
            +        <rule id="cli-ban-rule-web" score="-INFINITY" boolean-op="and">
            +          <expression id="cli-ban-expr-web" attribute="#uname" operation="eq" value="alpha" type="string"/>
            +          <date_expression id="cli-ban-lifetime-end-web" operation="lt" end="2026-01-01 01:00:00Z"/>
            +        </rule>
            +      </rsc_location>
        "##]],
        );
    }

    #[test]
    fn parameters_are_set_shown_and_missing() {
        check(
            &["param", "web", "set", "port", "8080"],
            &expect![[r#"
            -      <primitive id="web" class="ocf" provider="hakudo" type="Http"/>
            +      <primitive id="web" class="ocf" provider="hakudo" type="Http">
            +        <instance_attributes id="web-instance_attributes">
            +          <nvpair id="web-instance_attributes-port" name="port" value="8080"/>
            +        </instance_attributes>
            +      </primitive>
        "#]],
        );
        check(
            &["param", "web", "get", "port"],
            &expect![[r#"
            hakudo: web has no parameter 'port' of its own
            [exit 105]
        "#]],
        );
    }

    #[test]
    fn resources_are_listed_and_located() {
        check(
            &["list"],
            &expect![[r#"
            Full List of Resources:
              * address	(ocf:hakudo:Address):	 Started alpha
              * web	(ocf:hakudo:Http):	 Started alpha
        "#]],
        );
        check(
            &["locate", "web"],
            &expect![[r#"
            resource web is running on: alpha
        "#]],
        );
        check(
            &["locate", "wbe"],
            &expect![[r#"
            hakudo: there is no resource 'wbe' in the configuration: did you mean 'web'?
            [exit 105]
        "#]],
        );
    }

    #[test]
    fn what_needs_a_cluster_says_so() {
        check(
            &["cleanup", "web"],
            &expect![[r#"
            hakudo: cleanup needs a running cluster, and CIB is only a file: leave --file and CIB_file away
            [exit 64]
        "#]],
        );
    }

    #[test]
    fn near_names_are_suggested() {
        assert_eq!(suggestion("wbe", &["web", "address"]), ": did you mean 'web'?");
        assert_eq!(suggestion("database", &["web", "address"]), ": there are web, address");
        assert_eq!(suggestion("web", &["b"]), ": there are b");
        assert_eq!(suggestion("web", &[]), ": there is none at all");
    }
}

//! `hakudo why`: where a resource runs, and what made it so.

mod causes;

use crate::cli::Global;
use crate::command::resource;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{self, Format};
use crate::planning;
use crate::world::World;
use clap::Args;
use hakudo_cib::Document;
use hakudo_scheduler::{Choice, Plan, ResourceId, Score, Share, Source};
use serde::Serialize;

/// Arguments of `hakudo why`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The resource, or an instance of one (web:0)
    resource: String,
    /// Only what is said of this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output_as: Format,
}

/// Why one resource is where it is.
#[derive(Debug, Serialize)]
struct Explanation {
    resource: String,
    role: String,
    active_on: Vec<String>,
    next_role: String,
    assigned_to: Option<String>,
    /// What set that node apart from the next best.
    chosen_for: Option<&'static str>,
    /// Whether and why nothing is done with it.
    notes: Vec<String>,
    nodes: Vec<OfNode>,
    actions: Vec<OfAction>,
}

/// What a node is worth.
#[derive(Debug, Serialize)]
struct OfNode {
    node: String,
    /// None where the resource is not allowed there at all.
    score: Option<String>,
    /// Why it can run nothing now, whatever the score.
    unusable: Option<&'static str>,
    shares: Vec<OfShare>,
}

/// One addition to what a node is worth.
#[derive(Debug, Serialize)]
struct OfShare {
    score: String,
    source: &'static str,
    /// Of the element of the configuration, or of what else it comes from.
    id: String,
    /// The other resource of a colocation.
    with: Option<String>,
    /// The whole in words.
    text: String,
}

/// One action of the plan.
#[derive(Debug, Serialize)]
struct OfAction {
    action: String,
    node: Option<String>,
    /// What required it.
    reason: String,
    /// The keys of the actions that must be done before.
    after: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, global: &Global, world: &mut World) -> Outcome {
    if arguments.output_as == Format::Xml {
        return Err(Failure::usage("why is told as text or as JSON: use --output-as=json"));
    }
    let (cib, cluster) = global.source(world).cib()?;
    let saved = planning::execution_date(&cib).filter(|_| cluster.is_none());
    let plan = planning::plan(&cib, planning::wall_time(saved.unwrap_or(world.now), &world.zone))?;
    if let Some(node) = &arguments.node
        && plan.model.node_named(node).is_none()
    {
        let known: Vec<&str> = plan.model.nodes().map(|node| plan.model.node(node).name.as_str()).collect();
        return Err(Failure::no_such(format!("there is no node '{node}'{}", resource::suggestion(node, &known))));
    }
    let mut ids: Vec<ResourceId> = plan.model.resource_with_id(&arguments.resource).into_iter().collect();
    if ids.is_empty() {
        let of_config = |(id, r): (ResourceId, &hakudo_scheduler::model::Resource)| {
            (r.config_id == arguments.resource).then_some(id)
        };
        ids = plan.model.resources().filter_map(of_config).collect();
    }
    if ids.is_empty() {
        resource::find(&cib, &arguments.resource)?;
        return Err(Failure::no_such(format!("'{}' has no instance that could run", arguments.resource)));
    }
    let mut primitives = Vec::new();
    ids.iter().for_each(|id| collect(&plan, *id, &mut primitives));
    let explanations: Vec<Explanation> =
        primitives.into_iter().map(|id| explain(&cib, &plan, id, arguments.node.as_deref())).collect();
    if arguments.output_as == Format::Json {
        write!(world.out, "{}", output::json(&explanations)?)?;
    } else {
        for (number, explanation) in explanations.iter().enumerate() {
            if number > 0 {
                writeln!(world.out)?;
            }
            write!(world.out, "{}", text(explanation))?;
        }
    }
    Ok(Exit::OK)
}

/// The primitives in a resource.
fn collect(plan: &Plan, id: ResourceId, found: &mut Vec<ResourceId>) {
    let resource = plan.model.resource(id);
    if resource.is_primitive() {
        found.push(id);
    }
    resource.children.iter().for_each(|child| collect(plan, *child, found));
}

fn explain(cib: &Document, plan: &Plan, id: ResourceId, only: Option<&str>) -> Explanation {
    let model = &plan.model;
    let resource = model.resource(id);
    let name = |node| model.node(node).name.clone();
    let mut notes = Vec::new();
    let mut note = |fits: bool, text: &str| {
        if fits {
            notes.push(text.to_owned());
        }
    };
    note(resource.blocked, "blocked: a failure must be mended and cleaned up first (hakudo resource cleanup)");
    note(resource.maintenance, "in maintenance: the cluster leaves it alone");
    note(!resource.managed && !resource.blocked && !resource.maintenance, "not managed: the cluster leaves it alone");
    note(model.is_disabled(id), "target-role keeps it from running");
    note(resource.removed, "no longer in the configuration");
    let nodes = model
        .nodes()
        .filter(|node| only.is_none_or(|only| model.node(*node).name.eq_ignore_ascii_case(only)))
        .map(|index| {
            let node = model.node(index);
            OfNode {
                node: node.name.clone(),
                score: resource.allowed.get(index).map(|entry| entry.score.to_string()),
                unusable: unusable(node),
                shares: plan
                    .placements
                    .shares(id, index)
                    .into_iter()
                    .map(|placement| {
                        let share = &placement.share;
                        let element = causes::element(cib, plan, id, share.source, &share.id);
                        OfShare {
                            score: signed(placement.score),
                            source: source(share.source),
                            with: share.with.map(|with| model.resource(with).id.clone()),
                            text: told(share, &element, plan),
                            id: element,
                        }
                    })
                    .collect(),
            }
        })
        .collect();
    let actions = plan
        .transition
        .synapses
        .iter()
        .filter(|synapse| {
            let of = match &synapse.action.kind {
                hakudo_scheduler::ActionKind::Resource { resource, .. } => Some(resource),
                hakudo_scheduler::ActionKind::Cluster { resource, .. } => resource.as_ref(),
                _ => None,
            };
            of.is_some_and(|of| of.id == resource.id || of.long_id.as_deref() == Some(&resource.id))
        })
        .map(|synapse| OfAction {
            action: synapse.action.task.clone(),
            node: synapse.action.node().map(|node| node.name.clone()),
            reason: causes::cause(plan, id, &synapse.action),
            after: causes::awaited(plan, synapse),
        })
        .collect();
    Explanation {
        resource: resource.id.clone(),
        role: resource.role.to_string(),
        active_on: resource.active_on.iter().map(|node| name(*node)).collect(),
        next_role: resource.next_role.to_string(),
        assigned_to: resource.assigned_to.map(name),
        chosen_for: plan.placements.choice(id).map(chosen_for),
        notes,
        nodes,
        actions,
    }
}

/// Why a node can run nothing.
fn unusable(node: &hakudo_scheduler::model::Node) -> Option<&'static str> {
    if node.unclean {
        Some("must be fenced first")
    } else if !node.online {
        Some("offline")
    } else if node.standby {
        Some("in standby")
    } else if node.maintenance {
        Some("in maintenance")
    } else if node.shutdown {
        Some("shutting down")
    } else {
        None
    }
}

fn signed(score: Score) -> String {
    if score > Score::ZERO { format!("+{score}") } else { score.to_string() }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Location => "location constraint",
        Source::Colocation => "colocation constraint",
        Source::Stickiness => "stickiness",
        Source::Failure => "failure",
        Source::TargetRole => "target-role",
        Source::Ticket => "ticket",
        Source::Utilization => "utilization",
        Source::Health => "node health",
        Source::State => "state",
        Source::CloneLimit => "clone limit",
        Source::ShutdownLock => "shutdown lock",
        Source::Promotion => "promotion score",
        Source::Collection => "its clone or bundle",
        Source::Container => "container",
        Source::Default => "default",
    }
}

/// One share in words, with the id of the configuration's element.
fn told(share: &Share, element: &str, plan: &Plan) -> String {
    let with = share.with.map(|with| plan.model.resource(with).id.as_str());
    match (share.source, element, with) {
        (Source::Colocation, GROUP_MEMBERS, Some(with)) => format!("in one group with {with}"),
        (Source::Colocation, id, Some(with)) => format!("colocation with {with}  {id}"),
        (Source::Container, _, Some(with)) => format!("it runs only inside {with}"),
        (Source::Container, "remote-node", None) => "guest nodes cannot run on guest nodes".to_owned(),
        (Source::Container, id, None) => format!("only what is inside runs on {id}"),
        (Source::Collection, id, _) => format!("as part of {id}"),
        (Source::State, "node", _) => "the node can run nothing now".to_owned(),
        (Source::State, "removed", _) => "not configured any more".to_owned(),
        (source_of, id, _) => format!("{}  {id}", source(source_of)),
    }
}

/// The id of the colocation that a group is.
const GROUP_MEMBERS: &str = "#group-members";

fn chosen_for(choice: Choice) -> &'static str {
    match choice {
        Choice::OnlyOne => "no other node can run it",
        Choice::Score => "it has the highest score",
        Choice::FreeCapacity => "scores are equal, and it has the most free capacity",
        Choice::FewerResources => "scores are equal, and it has fewer resources than the others",
        Choice::ActiveThere => "scores and load are equal, and it is there already",
        Choice::Name => "all nodes are equal, and its name is the first",
    }
}

fn text(explanation: &Explanation) -> String {
    let places = |nodes: &[String]| if nodes.is_empty() { String::new() } else { format!(" on {}", nodes.join(", ")) };
    let mut text = format!("{} is {}{}", explanation.resource, explanation.role, places(&explanation.active_on));
    let next = explanation.assigned_to.clone().into_iter().collect::<Vec<_>>();
    if explanation.next_role != "Unknown"
        && (explanation.next_role != explanation.role || next != explanation.active_on)
    {
        text.push_str(&format!(", and will be {}{}", explanation.next_role, places(&next)));
    }
    text.push('\n');
    if let (Some(node), Some(reason)) = (&explanation.assigned_to, explanation.chosen_for) {
        text.push_str(&format!("  {node} was chosen: {reason}\n"));
    }
    for note in &explanation.notes {
        text.push_str(&format!("  {note}\n"));
    }
    for node in &explanation.nodes {
        let score = node.score.as_deref().unwrap_or("not allowed");
        let unusable = node.unusable.map(|why| format!(" ({why})")).unwrap_or_default();
        text.push_str(&format!("  {}: {score}{unusable}\n", node.node));
        for share in &node.shares {
            text.push_str(&format!("    {:>10}  {}\n", share.score, share.text));
        }
    }
    if !explanation.actions.is_empty() {
        text.push_str("  to do:\n");
    }
    for action in &explanation.actions {
        let node = action.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        text.push_str(&format!("    {}{node}: {}\n", action.action, action.reason));
        if !action.after.is_empty() {
            text.push_str(&format!("      after {}\n", action.after.join(", ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, TWO_NODES, TemporaryFile};
    use expect_test::expect;

    #[test]
    fn a_placement_is_explained() {
        let cib = TemporaryFile::new(TWO_NODES);
        expect![[r#"
            web is Started on alpha
              alpha was chosen: no other node can run it
              alpha: 0
              beta: -INFINITY
                 -INFINITY  colocation with address  web-with-address
        "#]]
        .assert_eq(&testing::hakudo(&["--file", cib.name(), "why", "web"]));
    }

    #[test]
    fn what_is_to_be_done_is_explained_and_the_elements_are_named() {
        let stopped = r#"type="Address"><meta_attributes id="m"><nvpair id="role" name="target-role" value="Stopped"/>
            <nvpair id="loyal" name="resource-stickiness" value="7"/></meta_attributes>"#;
        let cib = TemporaryFile::new(&TWO_NODES.replacen("type=\"Address\">", stopped, 1));
        expect![[r#"
            address is Started on alpha, and will be Stopped
              target-role keeps it from running
              alpha: -INFINITY
                        +7  stickiness  loyal
                 -INFINITY  target-role  role
              beta: -INFINITY
                 -INFINITY  target-role  role
              to do:
                stop on alpha: node availability
                  after web_stop_0 on alpha
        "#]]
        .assert_eq(&testing::hakudo(&["--file", cib.name(), "why", "address"]));
    }

    #[test]
    fn an_unknown_resource_is_named() {
        let cib = TemporaryFile::new(TWO_NODES);
        let said = testing::hakudo(&["--file", cib.name(), "why", "wbe"]);
        assert!(said.contains("did you mean 'web'?") && said.ends_with("[exit 105]\n"), "{said}");
    }
}

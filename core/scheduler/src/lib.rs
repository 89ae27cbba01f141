//! From a configuration and a status to a plan: what should run where, and the way there.
//!
//! [`plan`] reads the document into a typed [`Model`], decides, and gives the [`Transition`] that leads from what is to what
//! should be, with the scores that decided and the reason of each. It is a pure function of the document and the time.
//! The decisions are those of Pacemaker 3.0.2.

mod considered;
mod decide;
mod guards;
pub mod model;
mod pattern;
mod placement;
mod planner;
mod read;
mod rules;
mod scores;
pub mod simulate;
mod summary;
mod transition;
mod values;

pub use considered::{Considered, ConsideredAction, ConsideredOrder, Fate};
pub use model::{Model, NodeIndex, Problem, ResourceId, Role, Score};
pub use placement::{Choice, Placement, Placements, Share, Source};
pub use scores::{Amounts, ScoreLine};
pub use summary::{Change, ResourceVerb, ShownRole};
pub use transition::{
    Action, ActionId, ActionKind, GuardStep, NodeRef, ResourceRef, Synapse, TicketGuard, TicketUse, Transition,
};

use hakudo_base::WallTime;
use hakudo_cib::Document;
use planner::Planner;

/// What should run where, the way there, and why.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cluster with the decisions in it: where each resource goes, and in which role.
    pub model: Model,
    /// The actions and their order.
    pub transition: Transition,
    /// What each node was worth to each resource; empty in a plan that is made to be carried out.
    pub scores: Vec<ScoreLine>,
    /// What changes, told for people.
    pub changes: Vec<Change>,
    /// The same as it looked before the graph was made, which may still have taken some of it back. Only the columns of a
    /// text summary depend on it: they are as wide as this list and the final one need.
    pub foreseen: Vec<Change>,
    /// What made up those worths.
    pub placements: Placements,
    /// What could not be used of configuration and status, each once.
    pub problems: Vec<Problem>,
}

/// Decides what a cluster should do, and what its nodes should do by themselves when leases end. A document of an older
/// schema is upgraded first. A `UnixTime` as `now` is a machine in UTC.
pub fn plan(cib: &Document, now: impl Into<WallTime>) -> Plan {
    let now = now.into();
    let mut plan = plan_for(cib, now, Purpose::Execution);
    plan.transition.guards = guards::guards(cib, now, &plan);
    plan
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be carried out by the cluster itself.
    Execution,
    /// To be looked at, from a stored configuration that may lack its secrets: a parameter that differs from the
    /// history only by a secret counts as unchanged.
    Inspection,
}

/// As [`plan`], for one purpose.
pub fn plan_for(cib: &Document, now: impl Into<WallTime>, purpose: Purpose) -> Plan {
    decide(cib, now.into(), purpose, &mut |_| (), |_| ()).0
}

/// As [`plan_for`], with all that was thought of on the way, which may be much more than the plan.
pub fn plan_with_considered(cib: &Document, now: impl Into<WallTime>, purpose: Purpose) -> (Plan, Considered) {
    decide(cib, now.into(), purpose, &mut |_| (), Planner::considered)
}

/// As [`plan_for`]; `done` hears the name of each phase when it is over. For those who measure.
pub fn plan_watched(
    cib: &Document,
    now: impl Into<WallTime>,
    purpose: Purpose,
    done: &mut dyn FnMut(&'static str),
) -> Plan {
    decide(cib, now.into(), purpose, done, |_| ()).0
}

fn decide<T>(
    cib: &Document,
    now: WallTime,
    purpose: Purpose,
    done: &mut dyn FnMut(&'static str),
    look_back: impl FnOnce(&mut Planner) -> T,
) -> (Plan, T) {
    let cib = &current_schema(cib);
    let mut planner = Planner::new(cib, now);
    planner.purpose = purpose;
    done("schema");
    let mut phase = |name, run: fn(&mut Planner, &Document)| {
        run(&mut planner, cib);
        done(name);
    };
    phase("resources", Planner::read_resources);
    phase("status", Planner::read_status);
    phase("constraints", Planner::read_constraints);
    phase("criteria", |planner, _| planner.apply_node_criteria());
    phase("internal constraints", |planner, _| planner.add_all_internal_constraints());
    phase("changed definitions", |planner, _| planner.handle_config_changes());
    phase("places", |planner, _| planner.assign_all());
    phase("actions", |planner, _| planner.create_all_actions());
    phase("remote nodes", |planner, _| planner.order_remote_actions());
    phase("fencing", |planner, _| planner.schedule_fencing_and_shutdowns());
    phase("relations", |planner, _| planner.apply_orderings());
    let foreseen = planner.list_changes();
    let transition = planner.create_graph();
    done("graph");
    let changes = planner.list_changes();
    let seen = look_back(&mut planner);
    let plan = Plan {
        model: planner.model,
        transition,
        scores: planner.scores,
        changes,
        foreseen,
        placements: planner.placements,
        problems: planner.problems.into_iter().collect(),
    };
    done("list of changes");
    (plan, seen)
}

/// What is known of a cluster, without deciding anything.
pub fn status(cib: &Document, now: impl Into<WallTime>) -> (Model, Vec<Problem>) {
    let planner = read_cluster(&current_schema(cib), now.into());
    (planner.model, planner.problems.into_iter().collect())
}

/// The cluster options at `now`, and when rules may make others of them, in seconds since 1970.
pub fn cluster_options(cib: &Document, now: impl Into<WallTime>) -> (model::ClusterOptions, Option<i64>) {
    let model = Planner::with_options(&current_schema(cib), now.into()).model;
    (model.options, model.recheck_by)
}

/// The document in today's schema; as it is where its schema is not known.
fn current_schema(cib: &Document) -> Document {
    hakudo_cib::upgrade::upgrade(cib).map_or_else(|_| cib.clone(), |upgraded| upgraded.document)
}

fn read_cluster(cib: &Document, now: WallTime) -> Planner {
    let mut planner = Planner::new(cib, now);
    planner.read_resources(cib);
    planner.read_status(cib);
    planner
}

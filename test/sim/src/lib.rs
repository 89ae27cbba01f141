//! Whole clusters under simulated faults, and checkers of the safety rules.
//!
//! A cluster of one to nine nodes runs in one thread under virtual time. Its nodes are the production cores — membership,
//! controller, scheduler — joined exactly as the daemon joins them (`route`); everything around them is simulated: the
//! network, disks, clocks, processes, agents, services, fence devices, clients (`network`, `disk`, `machine`, `executor`,
//! `agents`, `acts`). A seed becomes a script of faults and requests ([`generate::script`]); the script is run
//! ([`run`]) and the checkers (`check`) look on. A script that breaks a rule is made small ([`shrink::shrink`]) and printed.
//!
//! Invariants:
//! - The same script gives the same history, to the byte: no clock, no thread, no hash order.
//! - The checkers see what really happens and never ask a core for its opinion.
//! - After [`script::Script::heal_at`] nothing is broken any more, so that whatever does not settle is the cluster's fault.

mod acts;
mod agents;
mod check;
mod cib;
mod disk;
mod executor;
pub mod generate;
pub mod group;
mod machine;
mod many;
mod mutation;
mod network;
mod paper;
mod queue;
mod route;
pub mod script;
pub mod shrink;
mod sites;
pub mod whole;
mod world;

pub use check::{Rule, Violation};
pub use many::{Total, run_seeds};
pub use mutation::Mutation;
pub use sites::Sites;

use hakudo_base::Instant;
use script::Script;
use std::cell::Cell;
use std::sync::Once;

/// What came of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rule that was broken first, if any.
    pub violation: Option<Violation>,
    /// What was reached on the way.
    pub sites: Sites,
    /// What happened, line by line; empty unless asked for.
    pub trace: Vec<String>,
    /// What the scheduler was given for each plan, as XML, and when; empty unless asked for.
    pub snapshots: Vec<(Instant, String)>,
}

/// Runs a script.
pub fn run(script: &Script, mutation: Option<Mutation>) -> Outcome {
    play(script, mutation, false)
}

/// Runs a script and tells what happened.
pub fn run_traced(script: &Script, mutation: Option<Mutation>) -> Outcome {
    play(script, mutation, true)
}

fn play(script: &Script, mutation: Option<Mutation>, trace: bool) -> Outcome {
    let _quiet = Quiet::begin();
    let mut world = world::World::new(script.clone(), mutation, trace);
    world.run();
    let snapshots = world.snapshots.iter().map(|(at, cib)| (*at, cib.to_xml())).collect();
    Outcome { violation: world.violation, sites: world.sites, trace: world.trace.unwrap_or_default(), snapshots }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, panics of this thread print nothing: they are caught and become violations.
struct Quiet(bool);

impl Quiet {
    fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !QUIET.get() {
                    usual(info);
                }
            }));
        });
        Self(QUIET.replace(true))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(self.0);
    }
}

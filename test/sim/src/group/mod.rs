//! Groups of sites and arbitrators under simulated faults, and checkers of the safety rules as far as they are about groups: above
//! all that a ticket is held by at most one site, counting the time that the loser needs to stop.
//!
//! The members are the production cores of tickets: that of hakudo's own protocol, or in one group of five that of booth's, in
//! which all members then are. Around them is simulated what the core relies on: each member's own clock
//! (with any offset, and up to 2 % too fast or slow), its store, the network between members, and of each site the cluster
//! that enforces a lease (`cluster`): services run from the word "held" until the end of the lease and as long as the site
//! was allowed for stopping, whatever the speaker does meanwhile. Where a site hangs, only its executors (`guard`) live, and the
//! production core of guards ends the lease. A speaker that was replaced may live on for a while as a
//! ghost, which hears and says everything but can store nothing.
//!
//! The checker of services (`check`) looks at nothing else; another one (`agree`) holds against each other what members let be seen of
//! themselves. What they check of the eight safety rules: one coordinator a term (1); services begin nowhere where others may
//! still run (2, 6), and at one site only (3); nothing that was acknowledged is lost (4); whoever knows the same entries has the same table
//! (5); at the end all comes to rest (7); what is no message changes nothing (8).

mod agree;
mod booth;
mod check;
mod clock;
mod cluster;
mod core;
pub mod generate;
mod guard;
mod mutation;
mod queue;
pub mod script;
mod store;
#[cfg(test)]
mod tests;
mod world;

pub use hakudo_tickets::Protocol;
pub use mutation::Mutation;
pub use script::{Act, Script};

use std::collections::BTreeMap;
use std::fmt;

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A ticket's service was active at two sites.
    OneHolder,
    /// Two members coordinated in one term.
    OneCoordinator,
    /// Members that know the same entries make different things of them.
    SameTable,
    /// What is no message had an effect.
    ForgedChangesNothing,
    /// What was acknowledged is not there.
    NothingLost,
    /// A ticket that some site could hold is not held, or tickets still move, or a request was not answered, long after the last fault.
    Settles,
}

/// A rule, and how it was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Milliseconds of virtual time.
    pub at: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms: {}", self.rule, self.at, self.what)
    }
}

/// What came of a history.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The rule that was broken first, if any.
    pub violation: Option<Violation>,
    /// How often places that matter were reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// What happened, line by line; empty unless asked for.
    pub trace: Vec<String>,
    /// The smallest time from the end of a service at one site to its start at another, in microseconds.
    pub margin: Option<u64>,
    /// The services as they came and went: ticket, site, from and until in milliseconds.
    pub services: Vec<(String, u32, u64, u64)>,
}

/// Runs a script.
pub fn run(script: &Script, mutation: Option<Mutation>) -> Outcome {
    world::World::new(script.clone(), mutation, false).run()
}

/// Runs a script and tells what happened.
pub fn run_traced(script: &Script, mutation: Option<Mutation>) -> Outcome {
    world::World::new(script.clone(), mutation, true).run()
}

/// Leaves out what is not needed to break the same rule.
pub fn shrink(script: &Script, rule: Rule, mutation: Option<Mutation>) -> Script {
    let mut small = script.clone();
    let mut size = small.acts.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < small.acts.len() {
            let mut trial = small.clone();
            trial.acts.drain(at..(at + size).min(small.acts.len()));
            if run(&trial, mutation).violation.is_some_and(|violation| violation.rule == rule) {
                small = trial;
            } else {
                at += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    small
}

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// How many were run.
    pub seeds: u64,
    /// Those that broke a rule, by seed.
    pub violations: Vec<(u64, Violation)>,
    /// What they reached, added up.
    pub reached: BTreeMap<&'static str, u64>,
    /// The smallest margin of all, in microseconds.
    pub margin: Option<u64>,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.seeds += other.seeds;
        self.violations.extend(other.violations);
        for (name, count) in other.reached {
            *self.reached.entry(name).or_default() += count;
        }
        self.margin = [self.margin, other.margin].into_iter().flatten().min();
    }
}

/// Runs seeds from `from` on until `enough` says so (it is given the number of seeds that were begun).
///
/// With a protocol, all groups speak it; otherwise each seed says which.
pub fn run_seeds(
    from: u64,
    threads: usize,
    mutation: Option<Mutation>,
    protocol: Option<Protocol>,
    enough: impl Fn(u64) -> bool + Sync,
) -> Total {
    let script = |seed| match protocol {
        None => generate::script(seed),
        Some(protocol) => generate::script_of(seed, protocol),
    };
    let run = |seed| {
        let Outcome { violation, reached, margin, .. } = run(&script(seed), mutation);
        let violations = violation.map(|violation| (seed, violation)).into_iter().collect();
        Total { seeds: 1, violations, reached, margin }
    };
    let mut total = crate::many::add_up(from, threads, enough, run, Total::add);
    total.violations.sort_by_key(|(seed, _)| *seed);
    total
}

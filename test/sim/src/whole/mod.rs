//! Whole sites: two or three clusters and arbitrators that share tickets, under simulated faults, in one virtual time.
//!
//! Each site is a whole simulated cluster ([`World`](crate::world::World)) with all its checkers: production membership,
//! controller and scheduler on every node, and with them the real speaker of the site for the group, the leases that each
//! node ends by its own clock, and the guards that the executors act on when their node does not (`guard`). The arbitrators
//! are the production members of the group (`arbitrator`). Nothing of a site is modelled but what surrounds the cores.
//!
//! The `federation` joins them: it lets happen whatever comes first anywhere, carries messages from one member to another
//! (lost, doubled, late, cut in one direction or both, to a single node of a site or to all), and gives clocks a speed of
//! their own. `check` looks at what really runs on all machines of all sites, from the moment when an agent begins to start
//! it until its stop has ended or its machine has lost power, and at what members and clients say. Each site by itself is
//! held against all rules of a cluster.
//!
//! What is drawn (`generate`) is what the product promises to survive. A stop that fails or hangs is promised to do no harm
//! only where a watchdog resets the machine: where nodes have none it takes another node that fences, and the group counts
//! on that only as long as such a node is there. An executor that dies while its node process is dead or hangs leaves nobody
//! but a watchdog to end a lease. So without a watchdog neither is drawn.

mod arbitrator;
mod check;
mod federation;
pub mod generate;
mod guard;
mod mutation;
mod outside;
pub mod script;
mod shrink;
#[cfg(test)]
mod tests;

pub(crate) use guard::GuardHost;
pub use mutation::Mutation;
pub(crate) use outside::Outside;
pub use script::Script;
pub use shrink::shrink;

use crate::check::Rule as ClusterRule;
use crate::sites::Sites;
use hakudo_base::Instant;
use std::fmt;

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What needs a ticket ran at two sites.
    OneHolder,
    /// Two processes coordinated in one term.
    OneCoordinator,
    /// A grant that was acknowledged is not known any more.
    NothingLost,
    /// Long after the last fault a ticket is not where it could be, or a site or a request is not done.
    Settles,
    /// A rule of a cluster alone.
    Cluster(ClusterRule),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::OneHolder => f.write_str("a ticket is held by one site"),
            Rule::OneCoordinator => f.write_str("one coordinator a term"),
            Rule::NothingLost => f.write_str("an acknowledged grant is never lost"),
            Rule::Settles => f.write_str("the group settles after the faults"),
            Rule::Cluster(rule) => rule.fmt(f),
        }
    }
}

/// A rule, and how it was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// When, in virtual time.
    pub at: Instant,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} s: {}: {}", self.at, self.rule, self.text)
    }
}

/// What came of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rule that was broken first, if any.
    pub violation: Option<Violation>,
    /// What was reached on the way.
    pub sites: Sites,
    /// What happened, line by line; empty unless asked for.
    pub trace: Vec<String>,
    /// The smallest time from the end of a service at one site to its start at another, in microseconds.
    pub margin: Option<u64>,
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
    let _quiet = crate::Quiet::begin();
    federation::Federation::new(script.clone(), mutation, trace).run()
}

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// How many were run.
    pub seeds: u64,
    /// Those that broke a rule, by seed.
    pub violations: Vec<(u64, Violation)>,
    /// What they reached, added up.
    pub sites: Sites,
    /// The smallest margin of all, in microseconds.
    pub margin: Option<u64>,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.seeds += other.seeds;
        self.violations.extend(other.violations);
        self.sites.add(&other.sites);
        self.margin = [self.margin, other.margin].into_iter().flatten().min();
    }
}

/// Runs seeds from `from` on until `enough` says so (it is given the number of seeds that were begun).
pub fn run_seeds(from: u64, threads: usize, mutation: Option<Mutation>, enough: impl Fn(u64) -> bool + Sync) -> Total {
    let run = |seed| {
        let Outcome { violation, sites, margin, .. } = run(&generate::script(seed), mutation);
        let violations = violation.map(|violation| (seed, violation)).into_iter().collect();
        Total { seeds: 1, violations, sites, margin }
    };
    let mut total = crate::many::add_up(from, threads, enough, run, Total::add);
    total.violations.sort_by_key(|(seed, _)| *seed);
    total
}

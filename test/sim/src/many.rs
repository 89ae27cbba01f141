//! Many seeds, on several threads: each thread takes the next seed, and nothing else is shared.

use crate::check::Violation;
use crate::mutation::Mutation;
use crate::sites::Sites;
use crate::{generate, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// How many were run.
    pub seeds: u64,
    /// Those that broke a rule, by seed.
    pub violations: Vec<(u64, Violation)>,
    /// What they reached, added up.
    pub sites: Sites,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.seeds += other.seeds;
        self.sites.add(&other.sites);
        self.violations.extend(other.violations);
    }
}

/// Runs seeds from `from` on until `enough` says so (it is given the number of seeds that were begun).
pub fn run_seeds(from: u64, threads: usize, mutation: Option<Mutation>, enough: impl Fn(u64) -> bool + Sync) -> Total {
    let run = |seed| {
        let outcome = run(&generate::script(seed), mutation);
        let violations = outcome.violation.map(|violation| (seed, violation)).into_iter().collect();
        Total { seeds: 1, violations, sites: outcome.sites }
    };
    let mut total = add_up(from, threads, enough, run, Total::add);
    total.violations.sort_by_key(|(seed, _)| *seed);
    total
}

/// What comes of all seeds from `from` on until it is `enough`, added up in no certain order.
pub(crate) fn add_up<T: Default + Send>(
    from: u64,
    threads: usize,
    enough: impl Fn(u64) -> bool + Sync,
    run: impl Fn(u64) -> T + Sync,
    add: impl Fn(&mut T, T) + Sync,
) -> T {
    let next = AtomicU64::new(0);
    let total = Mutex::new(T::default());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut mine = T::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if enough(number) {
                        break;
                    }
                    add(&mut mine, run(from + number));
                }
                add(&mut total.lock().unwrap_or_else(std::sync::PoisonError::into_inner), mine);
            });
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

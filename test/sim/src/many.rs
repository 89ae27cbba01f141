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

/// Runs seeds from `from` on until `enough` says so (it is given the number of seeds that were begun).
pub fn run_seeds(from: u64, threads: usize, mutation: Option<Mutation>, enough: impl Fn(u64) -> bool + Sync) -> Total {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Total::default());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut mine = Total::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if enough(number) {
                        break;
                    }
                    let outcome = run(&generate::script(from + number), mutation);
                    mine.seeds += 1;
                    mine.sites.add(&outcome.sites);
                    mine.violations.extend(outcome.violation.map(|violation| (from + number, violation)));
                }
                let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                total.seeds += mine.seeds;
                total.sites.add(&mine.sites);
                total.violations.extend(mine.violations);
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    total.violations.sort_by_key(|(seed, _)| *seed);
    total
}

//! Every deliberate fault is caught by the checker of the rule that it breaks.
//!
//! A checker that never says anything proves nothing. So each rule is broken on purpose, at a place where a wrong core or a
//! wrong daemon would break it, and the histories of the first seeds are run until the checker of that rule has spoken.

use hakudo_sim::{Mutation, Rule, generate, run};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// At most so many seeds are tried until a fault must have been seen.
const SEEDS: u64 = 150;

/// Nothing that was broken on purpose may be taken for sound: None where it is.
fn caught_at(mutation: Mutation) -> Option<u64> {
    (0..SEEDS).find(|seed| {
        let violation = run(&generate::script(*seed), Some(mutation)).violation;
        violation.is_some_and(|violation| mutation.breaks().contains(&violation.rule))
    })
}

#[test]
fn every_deliberate_fault_is_caught() {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let escaped: Vec<Mutation> = thread::scope(|scope| {
        let work = || {
            let mine = || Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed)).copied();
            std::iter::from_fn(mine).filter(|mutation| caught_at(*mutation).is_none()).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(escaped, [], "nobody notices these within {SEEDS} seeds");
}

#[test]
fn every_rule_is_broken_by_a_fault() {
    for rule in Rule::ALL {
        assert!(Mutation::ALL.iter().any(|mutation| mutation.breaks().contains(&rule)), "{rule} is never broken");
    }
}

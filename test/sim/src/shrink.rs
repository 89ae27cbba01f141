//! Makes a failing script small: leaves out what is not needed for the same rule to be broken, again and again.

use crate::check::Rule;
use crate::mutation::Mutation;
use crate::script::{Script, Weather};

/// At most so many runs are spent on one script.
const RUNS: usize = 600;

/// The smallest script found that still breaks `rule`.
pub fn shrink(script: &Script, rule: Rule, mutation: Option<Mutation>) -> Script {
    let mut runs = 0;
    let mut still_fails = |candidate: &Script| {
        runs += 1;
        runs <= RUNS && crate::run(candidate, mutation).violation.is_some_and(|violation| violation.rule == rule)
    };
    let mut best = script.clone();
    loop {
        let before = best.clone();
        shrink_events(&mut best, &mut still_fails);
        for candidate in simpler(&best) {
            if still_fails(&candidate) {
                best = candidate;
            }
        }
        if best == before {
            return best;
        }
    }
}

/// Removes runs of events, first long ones and then short ones.
fn shrink_events(best: &mut Script, still_fails: &mut impl FnMut(&Script) -> bool) {
    let mut length = best.events.len();
    while length > 0 {
        let mut at = 0;
        while at < best.events.len() {
            let mut candidate = best.clone();
            candidate.events.drain(at..(at + length).min(candidate.events.len()));
            if still_fails(&candidate) {
                *best = candidate;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
}

/// Scripts that are simpler in one thing each.
fn simpler(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Script)| {
        let mut candidate = script.clone();
        change(&mut candidate);
        if candidate != *script {
            all.push(candidate);
        }
    };
    for index in (0..script.setup.constraints.len()).rev() {
        add(&|s| drop(s.setup.constraints.remove(index)));
    }
    for index in (0..script.setup.resources.len()).rev() {
        let name = &script.setup.resources[index].name;
        let refers =
            |constraint: &crate::script::Constraint| constraint.to_string().split(' ').any(|word| word == name);
        add(&|s| {
            s.setup.resources.remove(index);
            s.setup.constraints.retain(|constraint| !refers(constraint));
        });
        add(&|s| s.setup.resources[index].meta.clear());
        add(&|s| s.setup.resources[index].monitor_ms = 0);
    }
    for index in (0..script.setup.options.len()).rev() {
        add(&|s| drop(s.setup.options.remove(index)));
    }
    add(&|s| s.setup.quorum.clear());
    add(&|s| s.setup.links = 1);
    add(&|s| s.setup.sealed = false);
    add(&|s| s.setup.network = Weather { delay_min_us: 100, delay_max_us: 200, loss: 0, twice: 0 });
    if script.setup.votes.len() > 1 {
        add(&|s| s.setup.votes.truncate(s.setup.votes.len() - 1));
    }
    add(&|s| s.heal_at = s.events.last().map_or(0, |(at, _)| at + 500).min(s.heal_at));
    all
}

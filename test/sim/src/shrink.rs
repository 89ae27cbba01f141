//! Makes a failing script small: leaves out what is not needed for the same rule to be broken, again and again.

use crate::check::Rule;
use crate::mutation::Mutation;
use crate::script::{Script, Weather};

/// At most so many runs are spent on one script.
const RUNS: usize = 600;

/// The smallest script found that still breaks `rule`.
pub fn shrink(script: &Script, rule: Rule, mutation: Option<Mutation>) -> Script {
    let breaks =
        |script: &Script| crate::run(script, mutation).violation.is_some_and(|violation| violation.rule == rule);
    smallest(script, RUNS, breaks, |script| &mut script.events, simpler)
}

/// The smallest script found that still `breaks` a rule, in so many runs: with fewer of its `events`, and `simpler` in one thing after
/// another.
pub(crate) fn smallest<S: Clone + PartialEq, E>(
    script: &S,
    runs: usize,
    breaks: impl Fn(&S) -> bool,
    events: impl Fn(&mut S) -> &mut Vec<E>,
    simpler: impl Fn(&S) -> Vec<S>,
) -> S {
    let mut run = 0;
    let mut still_fails = |candidate: &S| {
        run += 1;
        run <= runs && breaks(candidate)
    };
    let mut best = script.clone();
    loop {
        let before = best.clone();
        shrink_events(&mut best, &events, &mut still_fails);
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
fn shrink_events<S: Clone, E>(
    best: &mut S,
    events: &impl Fn(&mut S) -> &mut Vec<E>,
    still_fails: &mut impl FnMut(&S) -> bool,
) {
    let mut length = events(best).len();
    while length > 0 {
        let mut at = 0;
        while at < events(best).len() {
            let mut candidate = best.clone();
            let these = events(&mut candidate);
            these.drain(at..(at + length).min(these.len()));
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

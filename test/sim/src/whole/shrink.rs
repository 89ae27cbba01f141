//! Makes a failing history small: leaves out what is not needed for the same rule to be broken.

use super::script::{Script, Ticket};
use super::{Mutation, Rule, run};

/// At most so many runs are spent on one script.
const RUNS: usize = 300;

/// The smallest script found that still breaks `rule`.
pub fn shrink(script: &Script, rule: Rule, mutation: Option<Mutation>) -> Script {
    let breaks = |script: &Script| run(script, mutation).violation.is_some_and(|violation| violation.rule == rule);
    crate::shrink::smallest(script, RUNS, breaks, |script| &mut script.events, simpler)
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
    add(&|s| s.arbitrators.iter_mut().for_each(|drift| *drift = 0));
    add(&|s| s.arbitrators.truncate(s.arbitrators.len().saturating_sub(1)));
    if script.tickets.len() > 1 {
        let last = script.tickets.last().map(|ticket: &Ticket| ticket.name.clone()).unwrap_or_default();
        add(&|s| {
            s.tickets.pop();
            let word = |text: &str| text.split(' ').any(|word| word == last);
            s.events.retain(|(_, act)| !word(&act.to_string()));
            for site in &mut s.sites {
                site.setup.constraints.retain(|constraint| !word(&constraint.to_string()));
            }
        });
    }
    add(&|s| s.tickets.iter_mut().for_each(|ticket| (ticket.acquire_ms, ticket.checked) = (0, false)));
    for index in 0..script.sites.len() {
        add(&|s| s.sites[index].drifts.iter_mut().for_each(|drift| *drift = 0));
        add(&|s| s.sites[index].setup.options.clear());
        add(&|s| s.sites[index].setup.resources.iter_mut().for_each(|resource| resource.monitor_ms = 0));
        for place in (0..script.sites[index].setup.resources.len()).rev() {
            add(&|s| {
                let name = s.sites[index].setup.resources.remove(place).name;
                let refers = |text: String| text.split(' ').any(|word| word == name);
                s.sites[index].setup.constraints.retain(|constraint| !refers(constraint.to_string()));
            });
        }
        if script.sites[index].setup.votes.len() > 1 {
            add(&|s| {
                s.sites[index].setup.votes.pop();
                s.sites[index].drifts.pop();
                if s.sites[index].setup.votes.len() == 1 {
                    s.sites[index].setup.quorum.clear();
                }
            });
        }
    }
    add(&|s| s.heal_at = s.events.last().map_or(0, |(at, _)| at + 500).min(s.heal_at));
    all
}

use super::{Mutation, Script, generate, run, run_seeds, run_traced};

/// Two sites of a node each, an arbitrator, a ticket that site 1 is granted at second 4.
fn story(events: &str) -> Script {
    let site = "site watchdog 0 drift 0\nvotes 1\nlinks 1\nfencing off\nprimitive r0 monitor 1000\nneeds r0 t0 stop\n";
    format!(
        "seed 1\narbitrator drift 0\nticket t0 expire 4000 stop 3000\n{site}{site}at 4000 ask s1 n1 grant t0 s1\n{events}"
    )
    .parse()
    .unwrap()
}

/// Runs it, and says when what needs the ticket ran where, in seconds.
fn told(script: &Script) -> Vec<String> {
    let outcome = run_traced(script, None);
    assert!(outcome.violation.is_none(), "{:?}\n{}", outcome.violation, outcome.trace.join("\n"));
    outcome.trace.into_iter().filter(|line| line.contains("what needs t0")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_ticket_goes_to_the_other_site_when_the_first_one_loses_power() {
    let told = told(&story("at 10000 site-off s1\nheal 40000\n"));
    assert_eq!(told.len(), 3, "{told:#?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..5 {
        let script = generate::script(seed);
        let (one, two) = (run_traced(&script, None), run_traced(&script, None));
        assert_eq!(one.trace, two.trace);
    }
}

#[test]
fn seeds_break_no_rule() {
    let total = run_seeds(0, 1, None, |number| number >= 200);
    assert!(total.violations.is_empty(), "{:?}", total.violations.first());
}

#[test]
fn every_mutation_is_caught() {
    for mutation in Mutation::ALL {
        let caught = (0..400).any(|seed| {
            let violation = run(&generate::script(seed), Some(mutation)).violation;
            violation.is_some_and(|violation| mutation.breaks().contains(&violation.rule))
        });
        assert!(caught, "{mutation:?}");
    }
}

//! Histories of whole sites that once broke a rule.

use hakudo_sim::whole::{Script, run};

fn check(script: &str) {
    let outcome = script.parse::<Script>().ok().map(|script| run(&script, None).violation);
    assert_eq!(outcome, Some(None), "{script}");
}

/// A site of one node with a primitive that needs `t0`.
const SITE: &str = "site\nvotes 1\nlinks 1\nfencing off\nprimitive r0\nneeds r0 t0 stop\n";

#[test]
fn a_process_that_is_started_anew_starts_what_a_guard_stopped_before() {
    check(&format!(
        "seed 339\narbitrator\nticket t0 expire 2000 stop 5353\n{SITE}{SITE}at 5815 ask s2 n1 grant t0 s2\n\
         at 40091 s2 pause n1 29912\nat 47643 arbitrator-off m3\nat 68338 s1 kill-process n1\nheal 68838\n"
    ));
}

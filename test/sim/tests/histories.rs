//! Histories that once broke a rule, or were taken for breaking one.

use hakudo_sim::run;
use hakudo_sim::script::Script;

fn check(script: &str) {
    let script: Script = script.parse().unwrap();
    assert_eq!(run(&script, None).violation, None, "{script}");
}

#[test]
fn what_an_executor_forgot_is_planned_for_once_it_is_back() {
    check(
        "seed 7\nvotes 1 1\nlinks 1\nfencing each\nprimitive r1\nprimitive r2 monitor 2000\n\
         network delay 100 200 loss 0 twice 0\nat 7981 kill-executor n2\n\
         at 7981 ask n1 option maintenance-mode true\nat 8085 ask n1 option maintenance-mode false\nheal 8585\n",
    );
}

//! Histories that once broke a rule, or were taken for breaking one.

use hakudo_sim::run;
use hakudo_sim::script::Script;

fn check(script: &str) {
    let outcome = script.parse::<Script>().ok().map(|script| run(&script, None).violation);
    assert_eq!(outcome, Some(None), "{script}");
}

#[test]
fn what_an_executor_forgot_is_planned_for_once_it_is_back() {
    check(
        "seed 7\nvotes 1 1\nlinks 1\nfencing each\nprimitive r1\nprimitive r2 monitor 2000\n\
         network delay 100 200 loss 0 twice 0\nat 7981 kill-executor n2\n\
         at 7981 ask n1 option maintenance-mode true\nat 8085 ask n1 option maintenance-mode false\nheal 8585\n",
    );
}

#[test]
fn a_change_that_is_acknowledged_just_before_the_next_view_is_on_the_disks_of_the_former_one() {
    check(
        "seed 392\nvotes 1 1 1\nlinks 1\nfencing each\nprimitive r0 monitor 1000 migration-threshold=1\n\
         network delay 288 1969 loss 0 twice 0\nat 1119 kill-executor n3\nat 1119 ask n1 leave\nat 2115 split n1 n2\n\
         at 2616 start-process n1\nat 2790 join\nat 2833 mute n1 n3\nat 3064 network delay 465 7701 loss 1 twice 2\n\
         at 3323 join\nat 3713 network delay 279 17824 loss 22 twice 12\nat 4265 ask n1 remove r0\nheal 4660\n",
    );
}

#[test]
fn a_node_whose_executor_forgot_what_runs_there_does_not_leave() {
    check(
        "seed 2496\nvotes 1 1 1\nlinks 1\nfencing each\nprimitive r0\ngroup r1 of 3\nprimitive r2\n\
         network delay 100 200 loss 0 twice 0\nat 5695 kill-process n1\nat 5976 kill-executor n3\nat 5976 ask n3 leave\n\
         at 5992 start-process n1\nheal 6492\n",
    );
}

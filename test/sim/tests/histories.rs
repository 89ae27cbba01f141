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

#[test]
fn what_one_side_began_just_before_the_sides_met_is_its_own_affair_where_nobody_fences() {
    check(
        "seed 3918\nvotes 1 1 1 1 1\nlinks 2\noption no-quorum-policy ignore\nfencing off\nprimitive r0\ngroup r1 of 3\n\
         location r1 n4 -100\nnetwork delay 100 200 loss 0 twice 0\nat 6878 network delay 260 28521 loss 8 twice 7\n\
         at 7469 split n2 n3 n6\nat 8316 join\nheal 8816\n",
    );
}

#[test]
fn a_leader_that_stood_still_knows_nothing_of_what_the_others_changed_meanwhile() {
    check(
        "seed 63319\nvotes 1 1 1 1\nlinks 1\nfencing off\nnetwork delay 100 200 loss 0 twice 0\nat 6565 pause n1 2259\n\
         at 6565 ask n2 add clone x1 monitor 2000 failure-timeout=4s\nat 8530 ask n4 note\nheal 9030\n",
    );
}

#[test]
fn a_promoted_copy_stays_so_when_only_the_process_of_its_node_is_started_anew() {
    check(
        "seed 6303\nvotes 1 1 1\nlinks 1\noption start-failure-is-fatal false\nfencing each\nprimitive r0 monitor 500\n\
         network delay 362 1198 loss 0 twice 0\nat 1604 ask n1 add promotable x1 clone-max=1 notify=true\n\
         at 4663 kill-process n2\nat 5916 boot n2\nat 6042 kill-process n1\nat 6217 start-process n1\n\
         at 6461 kill-process n1\nheal 6914\n",
    );
}

#[test]
fn a_resource_that_is_to_start_after_itself_is_recovered_all_the_same() {
    check(
        "seed 61482\nvotes 1 1 1\nlinks 1\noption no-quorum-policy ignore\nfencing off\nprimitive r0\n\
         network delay 100 200 loss 0 twice 0\nat 10372 cut n3 n1\nat 10372 ask n2 nonsense loop r0\nheal 10983\n",
    );
}

#[test]
fn a_failure_that_expires_before_anything_was_done_about_it_is_looked_at_anew() {
    check(
        "seed 60945\nvotes 2 2 0\nlinks 1\nfencing shared\nclone r0 failure-timeout=10s clone-max=2 interleave=true\n\
         clone r1\nprimitive r3 monitor 2000 failure-timeout=2s resource-stickiness=167\norder r0 r1\n\
         colocation r1 r0 INFINITY\nnetwork delay 100 200 loss 0 twice 0\nat 2520 crash n1 r3\n\
         at 2803 agent all r1-1 start hangs\nat 2803 ask n3 node-option n3 standby on\nheal 9166\n",
    );
}

#[test]
fn a_node_that_saw_another_die_does_not_outweigh_what_the_majority_did_later() {
    check(
        "seed 12345\nvotes 1 1 1\nlinks 1\nfencing shared\nprimitive r0\nnetwork delay 100 200 loss 0 twice 0\n\
         at 5808 power-off n1\nat 6428 power-off n3\nat 7166 power-off n2\nat 7294 boot n1\nat 7605 boot n3\n\
         at 8193 ask n3 meta r0 target-role Started\nheal 8620\n",
    );
}

#[test]
fn what_runs_already_becomes_no_second_copy_by_being_started_once_more() {
    check(
        "seed 70147\nvotes 1 1 1 1 1 1 1\nlinks 1\noption batch-limit 5\nfencing off\nclone r0 monitor 2000 clone-max=2\n\
         clone r1 monitor 2000 migration-threshold=3 clone-max=3 interleave=true\ncolocation r1 r0 -50\n\
         network delay 241 1822 loss 0 twice 0\nat 255 power-off n1\nat 255 ask n5 move r0 n3 -INFINITY\n\
         at 1857 split n2 n4 n6\nat 1857 ask n7 note\nat 2791 power-off n5\nat 2961 join\nat 3402 boot n5\n\
         at 3580 cut n2 n7 link 0\nat 3580 cut n7 n2 link 0\nheal 4137\n",
    );
}

#[test]
fn a_plan_made_while_a_change_waits_for_its_disks_is_another_ones() {
    check(
        "seed 12303\nvotes 1 1 1\nlinks 1\nfencing shared\npromotable r0 monitor 2000\nprimitive r1 monitor 1000\n\
         network delay 438 1262 loss 0 twice 0\nat 5731 forge n2\nat 5738 forge n2\n\
         at 6026 network delay 134 37307 loss 27 twice 9\nat 6172 forge n3\nat 6253 forge n1\nat 6260 forge n1\n\
         at 6267 forge n1\nat 7253 forge n1\nat 7253 ask n3 meta r1 target-role Stopped\nat 8534 split n1\n\
         at 8534 ask n3 node-option n3 standby on\nat 8707 join\nat 9007 ask n3 node-option n3 standby off\nheal 9033\n",
    );
}

#[test]
fn a_circle_of_plans_is_left_alone_once_what_nobody_noticed_was_looked_at() {
    check(
        "seed 18831\nvotes 1 1 1 1\nlinks 1\nfencing shared\nclone r1\n\
         promotable r2 resource-stickiness=25 clone-max=3 interleave=true notify=true\ncolocation r2 r1 -INFINITY\n\
         network delay 100 200 loss 0 twice 0\nat 2020 crash n4 r2-1\nheal 2520\n",
    );
}

#[test]
fn a_start_that_has_not_ended_does_not_expire_like_a_failure() {
    check(
        "seed 402582\nvotes 1 1\nlinks 2\nfencing shared\n\
         promotable r0 monitor 1000 failure-timeout=2s clone-max=1 interleave=true\nprimitive r2 monitor 500\n\
         group r3 of 2 resource-stickiness=156\norder r0 r2\ncolocation r2 r0 INFINITY\n\
         network delay 100 200 loss 0 twice 0\nat 2723 ask n2 leave\nat 2789 agent n1 r0-1 start hangs\nheal 6633\n",
    );
}

#[test]
fn who_was_fenced_before_a_split_may_run_something_on_the_other_side() {
    check(
        "seed 52377\nvotes 1 1 1 1 1 1 1 1\nlinks 1\noption no-quorum-policy ignore\nfencing each\n\
         primitive r0 monitor 1000\nnetwork delay 359 1185 loss 0 twice 0\nat 2122 cut n5 n1 link 0\n\
         at 6583 split n2 n3 n5 n9\nheal 9880\n",
    );
}

#[test]
fn a_node_in_maintenance_stays_though_what_runs_there_died_unseen() {
    check(
        "seed 52478\nvotes 1 1 1 1\nlinks 1\nfencing shared\nclone r2 monitor 2000\n\
         network delay 100 200 loss 0 twice 0\nat 1396 ask n4 option maintenance-mode true\nat 3017 ask n3 leave\n\
         at 4727 crash n3 r2-1\nheal 5227\n",
    );
}

#[test]
fn a_removed_resource_that_failed_is_deleted_after_it_was_stopped() {
    check(
        "seed 52802\nvotes 1 1 1\nlinks 2\nfencing shared\nprimitive r0\nnetwork delay 487 931 loss 0 twice 0\n\
         at 2021 ask n2 fence n1\nat 2351 agent n1 r0 monitor hangs\nat 4847 ask n2 remove r0\nheal 5174\n",
    );
}

#[test]
fn the_word_of_an_executor_that_forgot_may_come_after_the_plan_of_a_new_view() {
    check(
        "seed 57880\nvotes 1 1 1 1 1 1 1 1 1\nlinks 1\nfencing off\nprimitive r0\n\
         network delay 424 1792 loss 0 twice 0\nat 3880 kill-process n9\nat 3932 power-off n3\nat 3969 start-process n9\n\
         at 4048 kill-executor n6\nheal 4434\n",
    );
}

#[test]
fn what_loses_its_partner_is_demoted_though_its_monitor_must_end_first() {
    check(
        "seed 68816\nvotes 1 1\nlinks 1\noption no-quorum-policy ignore\nfencing off\n\
         promotable r0 resource-stickiness=128 clone-max=1\npromotable r3 monitor 2000 clone-max=2 interleave=true\n\
         order r0 r3\nnetwork delay 100 200 loss 0 twice 0\nat 3201 split n1\nheal 4174\n",
    );
    check(
        "seed 69224\nvotes 1 1 1 1 1\nlinks 1\noption no-quorum-policy ignore\nfencing off\npromotable r0 clone-max=2\n\
         promotable r1 monitor 1000 resource-stickiness=27 interleave=true\norder r0 r1\n\
         network delay 100 200 loss 0 twice 0\nat 2978 split n2 n3 n4\nat 3206 power-off n1\nheal 9531\n",
    );
}

#[test]
fn nothing_is_promoted_before_it_is_known_what_an_executor_that_forgot_runs() {
    check(
        "seed 65991\nvotes 1 1 1 1\nlinks 1\noption no-quorum-policy ignore\nfencing off\n\
         promotable r0 clone-max=1 interleave=true\nprimitive r1\nlocation r1 n3 50\ncolocation r1 r0 INFINITY\n\
         network delay 100 200 loss 0 twice 0\nat 4790 pause n4 1506\nat 5913 power-off n3\nat 8014 pause n2 2186\n\
         at 10141 kill-executor n4\nheal 10641\n",
    );
}

#[test]
fn what_a_group_needs_does_not_stop_once_only_a_part_that_cannot_be_stopped_is_left() {
    check(
        "seed 69409\nvotes 1 1\nlinks 1\nquorum two_node\nfencing off\nprimitive r0\ngroup r1 of 3\norder r0 r1\n\
         network delay 100 200 loss 0 twice 0\nat 4489 agent all r1-1 stop fails\nat 6293 split n1\nheal 8930\n",
    );
}

#[test]
fn a_side_without_quorum_stops_also_what_something_on_a_lost_node_needs() {
    check(
        "seed 171\nvotes 1 1 1\nlinks 1\nfencing shared\npromotable r0\nprimitive r1\norder r0 r1\n\
         network delay 100 200 loss 0 twice 0\nat 3706 ask n2 fence n2\nat 5034 power-off n3\nheal 7916\n",
    );
    check(
        "seed 425\nvotes 1 1 1 1\nlinks 1\nfencing each\ngroup r0 of 2\nprimitive r1\ngroup r3 of 3\norder r0 r3\n\
         network delay 100 200 loss 0 twice 0\nat 3445 cut n3 n2\nat 3672 split n1 n2 n3\nheal 7560\n",
    );
}

#[test]
fn a_side_without_quorum_does_not_wait_for_the_notifications_of_a_lost_node_either() {
    check(
        "seed 90145\nvotes 1 1\nlinks 1\nfencing each\ngroup r1 of 3\n\
         promotable r2 migration-threshold=2 clone-max=1 interleave=true notify=true\norder r1 r2\n\
         network delay 100 200 loss 0 twice 0\nat 4261 cut n2 n1\nheal 8335\n",
    );
}

#[test]
fn a_node_that_hung_may_not_know_yet_that_the_others_went_on_without_it_where_nobody_fences() {
    check(
        "seed 645\nvotes 1 1 1 1\nlinks 1\nfencing off\nprimitive r0\nprimitive r1\n\
         network delay 100 200 loss 0 twice 0\nat 6385 kill-process n4\nat 6385 ask n1 move r1 n2 -INFINITY\n\
         at 6403 pause n3 2431\nheal 6867\n",
    );
}

#[test]
fn a_node_that_has_left_need_not_be_fenced_for_want_of_quorum() {
    check(
        "seed 1003\nvotes 1 1 1\nlinks 1\noption no-quorum-policy fence\nfencing shared\nprimitive r0\ngroup r1 of 3\n\
         location r1 n3 -INFINITY\nnetwork delay 274 1283 loss 0 twice 0\nat 2341 power-off n2\nat 3152 clock n1 90420\n\
         at 3153 ask n1 leave\nat 3357 power-off n3\nheal 5469\n",
    );
}

#[test]
fn a_side_without_quorum_keeps_what_is_stopped_only_after_a_stop_that_failed() {
    check(
        "seed 43039\nvotes 1 1 1\nlinks 1\nquorum expected_votes=4\nfencing off\ngroup r1 of 3\n\
         network delay 100 200 loss 0 twice 0\nat 396 agent n1 r1-3 stop fails\nat 2395 power-off n3\nheal 5437\n",
    );
}

#[test]
fn a_node_that_lost_who_knows_more_before_it_was_told_is_without_quorum() {
    check(
        "seed 45122\nvotes 1 1\nlinks 1\nquorum two_node\nfencing each\nprimitive r0\n\
         network delay 417 2279 loss 0 twice 0\nat 1370 ask n1 option maintenance-mode true\n\
         at 2834 ask n1 option maintenance-mode false\nat 4704 split n2\nat 4704 ask n2 node-option n2 standby on\n\
         at 7064 join\nat 8714 network delay 444 43407 loss 19 twice 3\nat 8714 ask n2 note\nat 10380 split n2\n\
         heal 10904\n",
    );
}

#[test]
fn a_promotion_score_that_no_node_remembers_is_remembered_by_the_executor() {
    check(
        "seed 61852\nvotes 1 1 1 1\nlinks 1\nfencing shared\npromotable r0 clone-max=1\nclone r1\npromotable r2\n\
         primitive r3 monitor 500\ncolocation r2 r1 100\nnetwork delay 100 200 loss 0 twice 0\nat 2691 power-off n2\n\
         at 3348 power-off n3\nat 3693 ask n4 option no-quorum-policy fence\nat 4000 boot n2\nat 4055 boot n3\n\
         at 4715 kill-process n2\nheal 9374\n",
    );
}

#[test]
fn a_frozen_side_goes_on_with_a_start_that_was_ordered_before() {
    check(
        "seed 93093\nvotes 1 3 0\nlinks 1\noption no-quorum-policy freeze\nfencing off\ngroup r0 of 3\nprimitive r1\n\
         network delay 100 200 loss 0 twice 0\nat 2111 kill-executor n3\nat 2111 ask n2 leave\nheal 2611\n",
    );
    check(
        "seed 57450\n\
         votes 1 1 1 1\n\
         links 1\n\
         option no-quorum-policy freeze\n\
         fencing shared\n\
         primitive r0 migration-threshold=3 failure-timeout=8s\n\
         primitive r1 failure-timeout=13s\n\
         network delay 100 200 loss 0 twice 0\n\
         at 4458 power-off n2\n\
         at 6949 kill-executor n1\n\
         at 6991 ask n4 leave\n\
         heal 7491\n",
    );
}

#[test]
fn a_start_whose_outcome_is_not_known_is_tried_again_after_the_sides_met_where_nobody_fences() {
    check(
        "seed 55135\nvotes 1 1 1 1 1 1 1\nlinks 1\nfencing off\n\
         promotable r0 resource-stickiness=101 clone-max=3 interleave=true\nlocation r0 n4 50\n\
         network delay 316 2235 loss 0 twice 0\nat 2308 agent all r0-1 start hangs\nat 3184 pause n4 1505\nheal 4427\n",
    );
}

#[test]
fn a_monitor_that_a_stop_ended_before_its_first_answer_is_not_waited_for() {
    check(
        "seed 26629\nvotes 1 1 1 1 1 1 1\nlinks 1\nfencing shared\n\
         promotable r0 migration-threshold=2 clone-max=3 interleave=true\n\
         promotable r1 monitor 1000 failure-timeout=14s clone-max=2 interleave=true\npromotable r2\nlocation r1 n7 100\n\
         colocation r2 r0 INFINITY\nnetwork delay 100 200 loss 0 twice 0\nat 983 split n3 n4 n5 n7\nat 6612 split n5\n\
         at 6612 ask n7 fence n7\nheal 7112\n",
    );
}

#[test]
fn a_leader_that_leaves_while_a_loss_is_about_to_be_forgotten_does_not_run_in_circles() {
    check(
        "seed 18769\nvotes 1 1 1\nlinks 1\nquorum last_man_standing last_man_standing_window=500\nfencing off\n\
         network delay 100 200 loss 0 twice 0\nat 2075 power-off n2\nat 2393 boot n2\nat 2461 power-off n3\n\
         at 2461 ask n1 leave\nheal 2961\n",
    );
}

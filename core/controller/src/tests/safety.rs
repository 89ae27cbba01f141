//! What must not happen, whatever fails at the wrong moment: cases that once did.

use super::cluster::{Cluster, add};
use super::{check, part};
use crate::command::{Command, FenceDone};
use crate::request::{Change, ChangeOperation, QuorumOverride, Request};
use crate::{ExecutorInput, core_types::Input};
use expect_test::expect;
use hakudo_base::{NodeId, UnixTime};

#[test]
fn who_outlived_the_other_has_the_word_whatever_epochs_the_dead_came_to() {
    let mut cluster = Cluster::settled(2);
    cluster.view_as(&[1], &[], true, false);
    cluster.view_as(&[2], &[], true, false);
    cluster.run();
    cluster.ask(1, Request::ConfirmFenced { node: "n2".to_owned() });
    cluster.run();
    cluster.ask(1, add("A"));
    cluster.run();
    cluster.restart(1, true);
    cluster.restart(2, false);
    cluster.log.clear();
    cluster.view(&[1, 2]);
    check(
        &mut cluster,
        expect![[r#"
            [view] view 5 of n1, n2 is quorate
            n2 keeps its configuration aside: the configuration of n1 is the newer agreed one
            [settled] nothing is left to be done
        "#]],
    );
    assert!(cluster.same_document().contains("id=\"A\""));
}

#[test]
fn who_alone_heard_of_fencings_does_not_win_over_a_later_majority() {
    let mut cluster = Cluster::settled(5);
    cluster.view(&[1, 2, 3]);
    // A leader delivers what it says before anybody else does, and may be lost right then.
    for target in [4, 5] {
        let done = FenceDone {
            target: NodeId(target),
            action: "off".to_owned(),
            by: Some("n1".to_owned()),
            devices: Vec::new(),
            failed: None,
            time: 0,
            took_ms: 0,
            began: 2,
            step: None,
            asked_by: None,
            attributes: Vec::new(),
        };
        cluster.forge(1, &[1], Command::FenceDone(Box::new(done)));
        cluster.restart(target, false);
    }
    cluster.view(&[2, 3, 4, 5]);
    cluster.ask(2, add("B"));
    cluster.run();
    cluster.ask(2, Request::ConfirmFenced { node: "n1".to_owned() });
    cluster.run();
    assert!(cluster.log.contains("n2 answers client 1: done"), "{}", cluster.log);
    cluster.restart(1, false);
    cluster.view(&[1, 2, 3, 4, 5]);
    assert!(cluster.same_document().contains("id=\"B\""), "{}", cluster.log);
}

#[test]
fn an_order_that_waited_for_the_executor_is_void_in_the_next_view() {
    let mut cluster = Cluster::settled(3);
    cluster.input(1, Input::Executor(ExecutorInput::Lost));
    cluster.plans(&["1 start A n1"]);
    cluster.nudge();
    cluster.view(&[1, 2]);
    cluster.input(1, Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 0, first_call: 0 }));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
            [plan] n1 made plan 2 of 1 actions
            [action-start] A start on n1 begins
            [node-lost] n3 is lost and not known to be dead
            [view] view 3 of n1, n2 is quorate; without n3
            [settled] nothing is left to be done
            [settled] nothing is left to be done
        "#]],
    );
}

#[test]
fn of_several_operations_on_their_way_the_first_is_shown() {
    let mut cluster = Cluster::settled(2);
    cluster.hanging.insert("A start n2".to_owned());
    cluster.hanging.insert("A stop n2".to_owned());
    cluster.plans(&["1 start A n2"]);
    cluster.nudge();
    cluster.plans(&["1 stop A n2"]);
    cluster.view(&[1, 2]);
    let shown = part(&mut cluster, "lrm_resource", "A");
    assert!(shown.contains("operation=\"start\"") && !shown.contains("operation=\"stop\""), "{shown}");
    cluster.answer(2, 1, 0);
    cluster.run();
    let shown = part(&mut cluster, "lrm_resource", "A");
    assert!(shown.contains("A_last_0\" operation_key=\"A_start_0\""), "{shown}");
    assert!(shown.contains("A_pending_0\" operation_key=\"A_stop_0\""), "{shown}");
}

#[test]
fn a_node_does_not_leave_while_something_runs_there_that_nobody_may_stop() {
    let mut cluster = Cluster::settled(2);
    cluster.plans(&["1 start A n2", "", "1 do_shutdown n2", ""]);
    cluster.nudge();
    cluster.log.clear();
    cluster.ask(2, Request::Leave);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
            [plan] n1 made plan 4 of 1 actions
            [settled] nothing is left to be done
        "#]],
    );
    let alerts = cluster.machines[&1].controller.cluster_state().alerts;
    assert!(alerts.iter().any(|(_, text)| text.contains("n2 cannot leave the cluster while A runs")), "{alerts:?}");
}

#[test]
fn a_node_that_lost_who_knows_more_before_it_was_told_is_without_quorum() {
    let mut cluster = Cluster::settled(2);
    cluster.view_as(&[2], &[], true, false);
    cluster.run();
    cluster.ask(2, Request::ConfirmFenced { node: "n1".to_owned() });
    cluster.run();
    cluster.ask(2, add("B"));
    cluster.run();
    assert!(cluster.log.contains("n2 answers client 2: done"), "{}", cluster.log);
    cluster.restart(1, false);
    // They meet, and lose each other before a word is delivered; then n1 is alone, where the rule lets it go on.
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    let state = cluster.machines[&1].controller.cluster_state();
    assert!(
        !state.quorate && state.alerts.iter().any(|(_, text)| text.contains("n2 may know of changes")),
        "{state:?}"
    );
    cluster.ask(1, add("C"));
    cluster.run();
    assert!(cluster.log.contains("n1 answers client 3: refused"), "{}", cluster.log);
    // Who knows all goes on by the rule.
    cluster.view_as(&[2], &[], true, false);
    cluster.run();
    assert!(cluster.machines[&2].controller.cluster_state().quorate);
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.run();
    assert!(cluster.same_document().contains("id=\"B\"") && cluster.machines[&1].controller.cluster_state().quorate);
}

#[test]
fn an_operator_says_that_who_is_missed_is_gone_for_good() {
    let mut cluster = Cluster::settled(2);
    cluster.restart(1, false);
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    assert!(cluster.machines[&1].controller.misses_somebody());
    cluster.ask(1, Request::Quorum(QuorumOverride::CancelWaitForAll));
    cluster.run();
    let state = cluster.machines[&1].controller.cluster_state();
    assert!(state.quorate && !state.alerts.iter().any(|(_, text)| text.contains("may know")), "{state:?}");
}

#[test]
fn in_the_only_quorate_view_nobody_is_missed() {
    let mut cluster = Cluster::settled(3);
    (1..=2).for_each(|node| cluster.restart(node, false));
    cluster.view_as(&[1, 3], &[], true, true);
    cluster.view_as(&[1], &[], false, false);
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.run();
    assert!(cluster.machines[&1].controller.cluster_state().quorate);
}

#[test]
fn promotion_scores_that_came_after_the_last_order_outlive_all_node_processes() {
    let mut cluster = Cluster::settled(3);
    cluster.plans(&["1 start A n2"]);
    cluster.nudge();
    let (name, value) = ("master-A".to_owned(), Some("10".to_owned()));
    cluster.ask(2, Request::SetAttribute { node: "n2".to_owned(), name, value });
    cluster.run();
    (1..=3).for_each(|node| cluster.restart(node, true));
    cluster.view(&[1, 2, 3]);
    let shown = part(&mut cluster, "nvpair", "status-2-master-A");
    assert!(shown.contains("value=\"10\""), "{shown}");
}

#[test]
fn who_got_quorum_in_a_view_that_it_had_agreed_to_misses_nobody() {
    let mut cluster = Cluster::settled(2);
    (1..=2).for_each(|node| cluster.restart(node, false));
    // n1 is alone and waits for n2, until an operator gives it quorum.
    cluster.view_as(&[1], &[], false, false);
    cluster.run();
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    cluster.ask(1, Request::ConfirmFenced { node: "n2".to_owned() });
    cluster.run();
    // n2 comes, and is lost before a word of it is delivered.
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    assert!(cluster.machines[&1].controller.cluster_state().quorate);
}

fn without_quorum(cluster: &mut Cluster, policy: &str) {
    let option = format!(
        "<crm_config><cluster_property_set id=\"cib-bootstrap-options\"><nvpair id=\"policy\" \
         name=\"no-quorum-policy\" value=\"{policy}\"/></cluster_property_set></crm_config>"
    );
    let operations = vec![ChangeOperation::Modify { xml: option, create_in: None }];
    cluster.ask(1, Request::Change(Change { operations, if_version: None, force: false }));
    cluster.run();
}

#[test]
fn a_side_that_takes_over_without_quorum_believes_in_no_former_death() {
    let mut cluster = Cluster::settled(4);
    without_quorum(&mut cluster, "ignore");
    cluster.view_as(&[1, 2, 3], &[], true, true);
    cluster.run();
    cluster.ask(1, Request::ConfirmFenced { node: "n4".into() });
    cluster.run();
    cluster.log.clear();
    cluster.view_as(&[1, 2], &[], false, false);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [node-lost] n3 is lost and not known to be dead
        [node-lost] n4 may have come back to n3, lost without quorum: it counts as lost, too
        [view] view 4 of n1, n2 is not quorate; without n3
        [settled] nothing is left to be done
    "#]],
    );
    // It came back to this side, which is to do nothing with it until n3 is dead.
    cluster.restart(4, false);
    cluster.view_as(&[1, 2, 4], &[], false, false);
    cluster.run();
    let join = |cluster: &mut Cluster| {
        let cib = cluster.machines.get_mut(&1).unwrap().controller.document().unwrap();
        let states = cib.section(&["status"]).unwrap().children_named("node_state");
        states.map(|state| state.attribute("join").unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(join(&mut cluster), ["member", "member", "down", "pending"]);
    cluster.ask(1, Request::ConfirmFenced { node: "n3".into() });
    cluster.run();
    assert_eq!(join(&mut cluster), ["member", "member", "down", "member"]);
}

#[test]
fn a_frozen_side_starts_nothing_on_a_node_that_came_after_quorum_was_lost() {
    let mut cluster = Cluster::settled(5);
    without_quorum(&mut cluster, "freeze");
    cluster.view_as(&[1, 2], &[], false, false);
    cluster.run();
    cluster.restart(3, false);
    cluster.log.clear();
    cluster.plans(&["1 start A n3\n2 start B n2"]);
    cluster.view_as(&[1, 2, 3], &[], false, false);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
            [view] view 4 of n1, n2, n3 is not quorate
            [plan] n1 made plan 4 of 2 actions
            [action-start] B start on n2 begins
            n2 runs B start n2: 0
            [action-done] B start on n2 is done
            [settled] nothing is left to be done
        "#]],
    );
}

/// The scheduler decides, on `now` of the machines' clocks.
fn decide(cluster: &mut Cluster) {
    let now = UnixTime::from_seconds(1_700_000_000);
    cluster.planner = Some(Box::new(move |cib| Ok(hakudo_scheduler::plan(cib, now).transition)));
}

#[test]
fn a_side_that_loses_quorum_fences_its_members_where_the_policy_says_so() {
    let mut cluster = Cluster::settled(5);
    without_quorum(&mut cluster, "fence");
    cluster.add_fence_device();
    cluster.run();
    decide(&mut cluster);
    cluster.log.clear();
    cluster.view_as(&[1, 2], &[], false, false);
    cluster.run();
    let log = cluster.take_log();
    let place = |what: &str| log.find(what).unwrap_or_else(|| panic!("no '{what}' in {log}"));
    assert!(place("n2 was fenced (reboot)") < place("n1 was fenced (reboot)"), "{log}");
}

#[test]
fn a_side_that_never_had_quorum_fences_nobody() {
    let mut cluster = Cluster::settled(5);
    without_quorum(&mut cluster, "fence");
    cluster.add_fence_device();
    cluster.run();
    decide(&mut cluster);
    cluster.restart(1, false);
    cluster.restart(2, false);
    cluster.log.clear();
    cluster.view_as(&[1, 2], &[], false, false);
    cluster.run();
    let log = cluster.take_log();
    assert!(log.contains("is not quorate") && !log.contains("fenced") && !log.contains("fences"), "{log}");
}

#[test]
fn a_node_does_not_leave_before_it_is_known_what_runs_there() {
    let mut cluster = Cluster::settled(2);
    cluster.plans(&["1 start A n2", ""]);
    cluster.nudge();
    cluster.log.clear();
    cluster.plans(&["1 monitor A n2\n2 do_shutdown n2", "1 stop A n2", ""]);
    cluster.executor_crash(2);
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 4 of 2 actions
        n2 runs A monitor n2: 0
        [plan] n1 made plan 5 of 1 actions
        [action-start] A stop on n2 begins
        n2 runs A stop n2: 0
        [action-done] A stop on n2 is done
        [settled] nothing is left to be done
    "#]],
    );
}

//! What comes at the wrong moment: from a former view, a former leader, a former life of a node, or too late. None of it
//! may be taken for something of today, and nothing that may still run may be forgotten.

use super::cluster::{Cluster, add, add_monitored};
use super::part;
use crate::ExecutorInput;
use crate::command::Command;
use crate::core_types::Input;
use crate::node::never_ran;
use crate::request::{Change, ChangeOperation, Request};
use hakudo_base::NodeId;
use hakudo_base::agent::{AgentResult, ExecutionStatus, exit_code};
use std::time::Duration;

/// The node is gone, and may still run what it ran.
fn may_run(cluster: &mut Cluster, node: &str) -> bool {
    let state = part(cluster, "node_state", node);
    state.contains(r#"in_ccm="false""#) && state.contains(r#"expected="member""#)
}

/// Whether anything started on a machine.
fn runs(cluster: &Cluster, number: u32, resource: &str) -> bool {
    cluster.machines[&number].running.contains(resource)
}

/// What people are told on a node.
fn alerts(cluster: &Cluster, number: u32) -> String {
    let alerts = cluster.machines[&number].controller.cluster_state().alerts;
    alerts.into_iter().map(|(_, text)| text + "\n").collect()
}

#[test]
fn only_the_node_that_runs_an_agent_says_how_it_ended() {
    let mut cluster = Cluster::settled(4);
    cluster.add_fence_device();
    cluster.plans(&["1 start fence1 n2"]);
    cluster.nudge();
    cluster.hanging.insert("fence1 off n2".to_owned());
    cluster.plans(&["1 stonith n4 CRM_meta_stonith_action=off\n2 start A n3 after 1"]);
    cluster.view(&[1, 2, 3]);
    let first = cluster.machines[&1].controller.fencing.base;
    for number in first..first + 100 {
        let mut result = never_ran(0, "");
        (result.status, result.exit_code) = (ExecutionStatus::Done, exit_code::OK);
        cluster.forge(3, &[1, 2, 3], Command::FenceResult { leader: NodeId(1), number, result });
    }
    cluster.run();
    assert!(may_run(&mut cluster, "4") && !runs(&cluster, 3, "A"));
    cluster.unhang("fence1 off n2", 0);
    assert!(!may_run(&mut cluster, "4") && runs(&cluster, 3, "A"));
}

#[test]
fn numbers_of_calls_go_on_above_what_an_executor_refuses() {
    let mut cluster = Cluster::settled(1);
    // The executor acted by itself, and remembers no call of that.
    cluster.input(1, Input::Executor(ExecutorInput::Lost));
    cluster.input(1, Input::Executor(ExecutorInput::Connected { known: vec![], newest_epoch: 0, first_call: 1 << 17 }));
    cluster.plans(&["1 start A n1"]);
    cluster.nudge();
    assert!(runs(&cluster, 1, "A"));
    assert_eq!(cluster.machines[&1].known.keys().copied().collect::<Vec<_>>(), [1 << 17]);
}

#[test]
fn an_agent_that_runs_since_before_a_restart_does_not_answer_for_another() {
    let mut cluster = Cluster::settled(4);
    cluster.add_fence_device();
    cluster.plans(&["1 start fence1 n2"]);
    cluster.nudge();
    cluster.hanging.insert("fence1 off n2".to_owned());
    cluster.plans(&["1 stonith n4 CRM_meta_stonith_action=off"]);
    cluster.view(&[1, 2, 3]);
    let old = cluster.hanging_call(2, "fence1 off n2");
    cluster.restart(2, true);
    cluster.exit_codes.insert("fence1 off n1".to_owned(), 1);
    cluster.exit_codes.insert("fence1 off n3".to_owned(), 1);
    cluster.view_as(&[1, 3], &[], true, true);
    cluster.pass(Duration::from_secs(5));
    cluster.plans(&["1 stonith n4 CRM_meta_stonith_action=off"]);
    cluster.view(&[1, 2, 3]);
    cluster.pass(Duration::from_secs(5));
    let calls = || cluster.machines[&2].known.values().filter(|known| known.call.operation == "off");
    let numbers: Vec<u64> = calls().map(|known| known.call.call).collect();
    assert!(numbers.len() == 2 && numbers[0] == old && numbers[1] != old, "{numbers:?}");
    cluster.answer(2, old, 0);
    cluster.run();
    assert!(may_run(&mut cluster, "4"), "{}", cluster.log);
}

#[test]
fn a_step_of_another_leader_is_not_a_step_of_ones_own() {
    let mut cluster = Cluster::settled(4);
    cluster.add_fence_device();
    cluster.hanging.insert("fence1 off n2".to_owned());
    cluster.hanging.insert("A stop n1".to_owned());
    cluster.view_as(&[4, 1], &[], false, true);
    cluster.run();
    cluster.plans(&["", "1 stonith n1 CRM_meta_stonith_action=off"]);
    cluster.view_as(&[3, 2], &[], true, true);
    cluster.run();
    let nodes = cluster.machines[&3].controller.names.clone();
    cluster.input(3, Input::Nodes(nodes));
    cluster.run();
    let call = cluster.hanging_call(2, "fence1 off n2");
    cluster.answer(2, call, 0);
    cluster.deliver_one();
    // n3 has to say still that its step 1 is done, when the first step of n4's plan is another one.
    cluster.plans(&["1 stop A n1\n2 start A n3 after 1"]);
    cluster.view_as(&[4, 1, 3], &[], true, true);
    cluster.run();
    assert!(!runs(&cluster, 3, "A"), "A is not stopped on n1 yet:\n{}", cluster.log);
}

#[test]
fn fencing_of_a_former_life_is_not_that_of_the_present_one() {
    let mut cluster = Cluster::settled(3);
    cluster.add_fence_device();
    cluster.hanging.insert("fence1 off n1".to_owned());
    cluster.plans(&["1 stonith n3 CRM_meta_stonith_action=off"]);
    cluster.view(&[1, 2]);
    let old = cluster.hanging_call(1, "fence1 off n1");
    cluster.restart(3, false);
    cluster.plans(&["1 start A n3"]);
    cluster.view(&[1, 2, 3]);
    let plan = "1 stonith n3 CRM_meta_stonith_action=off\n2 start A n2 after 1";
    cluster.plans(&[plan, plan]);
    cluster.view(&[1, 2]);
    cluster.answer(1, old, 0);
    cluster.run();
    assert!(may_run(&mut cluster, "3") && !runs(&cluster, 2, "A"), "{}", cluster.log);
    // The second fencing, which began when the agent of the first had ended, is that of this life.
    cluster.unhang("fence1 off n1", 0);
    assert!(!may_run(&mut cluster, "3") && runs(&cluster, 2, "A"), "{}", cluster.log);
}

#[test]
fn a_node_that_was_reset_between_two_views_lives_anew() {
    let mut cluster = Cluster::settled(3);
    cluster.add_fence_device();
    cluster.hanging.insert("fence1 off n1".to_owned());
    cluster.plans(&["1 stonith n3 CRM_meta_stonith_action=off"]);
    cluster.nudge();
    cluster.restart(3, false);
    cluster.plans(&["1 start A n3"]);
    cluster.view(&[1, 2, 3]);
    cluster.unhang("fence1 off n1", 0);
    let state = part(&mut cluster, "node_state", "3");
    assert!(state.contains(r#"in_ccm="true""#) && state.contains(r#"id="A_last_0""#), "{state}");
}

#[test]
fn what_was_cancelled_or_refused_is_not_done() {
    let mut cluster = Cluster::settled(3);
    cluster.plans(&["1 start A n1"]);
    cluster.nudge();
    cluster.hanging.insert("A stop n1".to_owned());
    cluster.plans(&["1 stop A n1\n2 start A n2 after 1"]);
    cluster.nudge();
    let call = cluster.hanging_call(1, "A stop n1");
    let result = AgentResult {
        status: ExecutionStatus::Refused,
        exit_code: exit_code::UNKNOWN,
        exit_reason: "refused: asked for in epoch 2, but epoch 70 was seen".to_owned(),
        ..never_ran(call, "")
    };
    cluster.input(1, Input::Executor(ExecutorInput::Result(result)));
    cluster.run();
    assert!(!runs(&cluster, 2, "A"), "{}", cluster.log);
    assert!(cluster.log.contains("A stop on n1 failed: "), "{}", cluster.log);
}

#[test]
fn an_executor_of_a_newer_epoch_is_told_of() {
    let mut cluster = Cluster::settled(2);
    let told = |cluster: &Cluster| alerts(cluster, 1).contains("was told of epoch 4, and this node is in ");
    cluster.input(1, Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 4, first_call: 0 }));
    cluster.run();
    assert!(told(&cluster) && cluster.log.contains("[executor-refuses] "), "{}", cluster.log);
    cluster.view(&[1, 2]);
    assert!(told(&cluster));
    cluster.view(&[1, 2]);
    assert!(!told(&cluster));
}

#[test]
fn what_a_disk_holds_counts_for_the_configuration_that_was_written() {
    let mut cluster = Cluster::settled(3);
    for resource in ["A", "B", "C", "D"] {
        cluster.ask(1, add(resource));
        cluster.run();
    }
    cluster.view(&[1, 2]);
    cluster.slow_disks.insert(2);
    cluster.restart(1, true);
    cluster.view_as(&[2], &[], false, true);
    cluster.run();
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.release_disks();
    cluster.slow_disks.insert(2);
    cluster.run();
    cluster.take_log();
    cluster.ask(1, add("E"));
    cluster.run();
    assert!(!cluster.log.contains("answers client"), "n2 has nothing of E on its disk:\n{}", cluster.log);
    cluster.release_disks();
    cluster.run();
    assert!(cluster.log.contains("n1 answers client 5: done"), "{}", cluster.log);
}

#[test]
fn what_a_lost_node_runs_is_not_forgotten_by_those_who_meet_again() {
    for first in [1, 2] {
        let other = 3 - first;
        let mut cluster = Cluster::settled(3);
        cluster.plans(&["1 start A n3"]);
        cluster.nudge();
        cluster.view(&[1, 2]);
        assert!(may_run(&mut cluster, "3"));
        cluster.restart(first, true);
        cluster.view_as(&[other], &[], false, true);
        cluster.run();
        cluster.view(&[1, 2]);
        let state = part(&mut cluster, "node_state", "3");
        assert!(may_run(&mut cluster, "3") && state.contains("A_last_0"), "n{first} began anew: {state}");
    }
}

#[test]
fn what_a_lost_node_runs_is_known_though_the_newest_configuration_is_elsewhere() {
    let mut cluster = Cluster::settled(3);
    cluster.plans(&["1 start A n3"]);
    cluster.nudge();
    // n1 was in a newer quorate view than n2, and remembers nothing but its disk.
    cluster.restart(1, true);
    cluster.machines.get_mut(&1).unwrap().disk.as_mut().unwrap().lineage = 9;
    cluster.restart(1, true);
    cluster.view(&[1, 2]);
    let state = part(&mut cluster, "node_state", "3");
    assert!(may_run(&mut cluster, "3") && state.contains("A_last_0"), "{state}");
}

#[test]
fn who_was_fenced_is_not_unsafe_again_because_somebody_did_not_hear_of_it() {
    let mut cluster = Cluster::settled(5);
    cluster.plans(&["1 start A n5"]);
    cluster.nudge();
    cluster.view_as(&[1, 2, 3, 4], &[], true, true);
    cluster.run();
    cluster.view_as(&[4], &[], false, true);
    cluster.view_as(&[1, 2, 3], &[], true, true);
    cluster.run();
    cluster.ask(1, Request::ConfirmFenced { node: "n5".to_owned() });
    cluster.run();
    cluster.view_as(&[1, 2, 3, 4], &[], true, true);
    cluster.run();
    assert!(!may_run(&mut cluster, "5"), "{}", part(&mut cluster, "node_state", "5"));
}

#[test]
fn a_clean_up_does_not_forget_what_a_lost_node_runs() {
    let mut cluster = Cluster::settled(3);
    cluster.plans(&["1 start A n3"]);
    cluster.nudge();
    cluster.view(&[1, 2]);
    for node in [None, Some("n3".to_owned())] {
        cluster.ask(1, Request::Cleanup { resource: Some("A".into()), node, refresh: true });
        cluster.run();
        let state = part(&mut cluster, "node_state", "3");
        assert!(state.contains("A_last_0"), "{state}");
    }
    assert!(cluster.log.contains("refused"), "{}", cluster.log);
}

#[test]
fn orders_that_waited_for_an_executor_end_with_their_view() {
    let mut cluster = Cluster::settled(3);
    cluster.input(3, Input::Executor(ExecutorInput::Lost));
    cluster.plans(&["1 start A n3"]);
    cluster.nudge();
    cluster.view_as(&[3], &[], false, true);
    cluster.run();
    cluster.input(3, Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 0, first_call: 0 }));
    cluster.run();
    assert!(!runs(&cluster, 3, "A"), "{}", cluster.log);
}

#[test]
fn orders_that_were_given_up_are_not_carried_out_later() {
    let mut cluster = Cluster::settled(3);
    cluster.input(3, Input::Executor(ExecutorInput::Lost));
    cluster.plans(&["1 start A n3"]);
    cluster.nudge();
    cluster.pass(Duration::from_secs(200));
    cluster.input(3, Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 0, first_call: 0 }));
    cluster.run();
    assert!(!runs(&cluster, 3, "A"), "{}", cluster.log);
}

#[test]
fn a_node_without_executor_counts_as_failed_and_all_know() {
    let mut cluster = Cluster::settled(3);
    cluster.input(3, Input::Executor(ExecutorInput::Lost));
    cluster.pass(Duration::from_secs(5));
    assert!(part(&mut cluster, "node_state", "3").contains(r#"crmd="online""#));
    for number in [1, 2, 3] {
        assert!(alerts(&cluster, number).contains("the executor of n3 is away"), "{}", alerts(&cluster, number));
    }
    cluster.pass(Duration::from_secs(7));
    let state = part(&mut cluster, "node_state", "3");
    assert!(state.contains(r#"in_ccm="true" crmd="offline" join="down" expected="member""#), "{state}");
    cluster.input(3, Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 0, first_call: 0 }));
    cluster.run();
    assert!(part(&mut cluster, "node_state", "3").contains(r#"crmd="online" join="member""#));
    assert_eq!([1, 2, 3].map(|number| alerts(&cluster, number)), [""; 3]);
}

#[test]
fn a_node_without_executor_counts_as_failed_after_a_change_of_the_leader() {
    let mut cluster = Cluster::settled(4);
    cluster.input(3, Input::Executor(ExecutorInput::Lost));
    cluster.pass(Duration::from_secs(5));
    cluster.view_as(&[2, 3, 4], &[1], true, true);
    cluster.pass(Duration::from_secs(4));
    assert!(part(&mut cluster, "node_state", "3").contains(r#"crmd="online""#));
    assert!(alerts(&cluster, 2).contains("the executor of n3 is away"));
    cluster.pass(Duration::from_secs(3));
    assert!(part(&mut cluster, "node_state", "3").contains(r#"crmd="offline""#));
}

#[test]
fn a_disk_that_does_not_answer_is_told() {
    let mut cluster = Cluster::settled(3);
    cluster.slow_disks.insert(2);
    cluster.ask(1, add("A"));
    cluster.pass(Duration::from_secs(10));
    assert!(cluster.log.contains("n1 answers client 1: not known: "), "{}", cluster.log);
    assert!(alerts(&cluster, 3).contains("cannot be written on n2: no answer"), "{}", alerts(&cluster, 3));
    cluster.release_disks();
    cluster.run();
    assert_eq!(alerts(&cluster, 3), "");
}

#[test]
fn that_a_node_cannot_be_fenced_is_told_as_long_as_it_is_so() {
    let mut cluster = Cluster::settled(4);
    cluster.add_fence_device();
    cluster.planner = Some(Box::new(|cib| {
        let dangerous = |e: &hakudo_cib::Element| {
            e.name() == "node_state" && e.id() == "4" && e.attribute("expected") == Some("member")
        };
        let dangerous = cib.root().descendants().any(dangerous);
        let plan = if dangerous { "1 stonith n4 CRM_meta_stonith_action=off\n2 start A n2 after 1" } else { "" };
        Ok(super::cluster::graph(plan))
    }));
    for node in ["n1", "n2", "n3"] {
        cluster.exit_codes.insert(format!("fence1 off {node}"), 1);
    }
    cluster.view(&[1, 2, 3]);
    cluster.pass(Duration::from_secs(200));
    let told = |cluster: &Cluster, number| alerts(cluster, number).contains("n4 could not be fenced");
    assert!(told(&cluster, 2));
    cluster.view_as(&[1, 2], &[3], true, true);
    cluster.run();
    assert!(told(&cluster, 1) && told(&cluster, 2), "{}", alerts(&cluster, 2));
    // Who comes hears of it, too.
    cluster.restart(3, false);
    cluster.view_as(&[1, 2, 3], &[], true, true);
    cluster.run();
    assert!(told(&cluster, 3), "{}", alerts(&cluster, 3));
    cluster.ask(1, Request::ConfirmFenced { node: "n4".to_owned() });
    cluster.run();
    assert_eq!([1, 2, 3].map(|number| told(&cluster, number)), [false; 3]);
}

#[test]
fn what_people_asked_for_is_not_done_twice() {
    for request in [
        Request::Fence { node: "n3".to_owned(), action: "reboot".to_owned() },
        Request::ConfirmFenced { node: "n3".to_owned() },
    ] {
        let mut cluster = Cluster::settled(4);
        cluster.add_fence_device();
        cluster.view(&[1, 2, 4]);
        cluster.take_log();
        // n1 may have heard it and acted when n2 did not hear it itself.
        cluster.ask(2, request);
        cluster.view_as(&[2, 4], &[], true, true);
        cluster.run();
        assert!(cluster.log.contains("n2 answers client 2: not known"), "{}", cluster.log);
        assert!(!cluster.log.contains("[fence"), "{}", cluster.log);
    }
}

#[test]
fn a_node_that_hears_of_its_own_fencing_stops_at_once() {
    for (reaction, reset) in [("stop", false), ("panic", true)] {
        let mut cluster = Cluster::settled(3);
        cluster.add_fence_device();
        let xml = format!(
            "<crm_config><cluster_property_set id='cib-bootstrap-options'>\
             <nvpair id='r' name='fence-reaction' value='{reaction}'/></cluster_property_set></crm_config>"
        );
        let operations = vec![ChangeOperation::Modify { xml, create_in: None }];
        cluster.ask(1, Request::Change(Change { operations, if_version: None, force: false }));
        cluster.run();
        cluster.ask(1, Request::Fence { node: "n3".to_owned(), action: "off".to_owned() });
        cluster.run();
        let stops: Vec<&str> = cluster.log.lines().filter(|line| line.contains("stops at once, ")).collect();
        assert_eq!(stops, [format!("n3 stops at once, reset: {reset}")], "{}", cluster.log);
    }
}

#[test]
fn a_node_that_was_fenced_while_it_was_away_stops_when_it_is_back() {
    for (restarted, stops) in [(false, 1), (true, 0)] {
        let mut cluster = Cluster::settled(3);
        cluster.view_as(&[3], &[], false, false);
        cluster.view(&[1, 2]);
        cluster.ask(1, Request::ConfirmFenced { node: "n3".to_owned() });
        cluster.run();
        if restarted {
            cluster.restart(3, false);
        }
        cluster.view(&[1, 2, 3]);
        assert_eq!(cluster.log.matches("n3 stops at once, ").count(), stops, "{}", cluster.log);
        assert_eq!(cluster.machines[&3].controller.cluster_state().ready, restarted);
    }
}

#[test]
fn failures_that_only_the_executor_saw_are_counted_once() {
    for (restarts, in_time) in [(true, true), (false, true), (false, false)] {
        let mut cluster = Cluster::settled(2);
        cluster.ask(1, add_monitored("A"));
        cluster.run();
        cluster.plans(&["1 start A n2\n2 monitor/10000 A n2 after 1"]);
        cluster.nudge();
        cluster.input(2, Input::Executor(ExecutorInput::Lost));
        let known = &mut cluster.machines.get_mut(&2).unwrap().known;
        let monitor = known.values_mut().find(|known| known.call.interval_ms > 0).unwrap();
        let result = monitor.result.as_mut().unwrap();
        (result.exit_code, result.finished) = (7, result.finished + 60);
        let known: Vec<_> = known.values().cloned().collect();
        if restarts {
            cluster.restart(2, true);
            cluster.view(&[1, 2]);
        }
        for _ in 0..2 {
            let known = if in_time { known.clone() } else { Vec::new() };
            cluster.input(2, Input::Executor(ExecutorInput::Connected { known, newest_epoch: 0, first_call: 0 }));
            cluster.run();
        }
        let state = part(&mut cluster, "node_state", "2");
        let counted = state.contains(r#"name="fail-count-A#monitor_10000" value="1""#);
        assert_eq!(counted, in_time, "{state}");
    }
}

#[test]
fn who_cannot_read_the_configuration_says_so_and_leaves() {
    // A node that left before, one that was not seen yet, and one that runs something.
    for (left, keep, word) in [(true, false, "leaves"), (false, false, "stops at once"), (true, true, "stops at once")]
    {
        let mut cluster = Cluster::settled(3);
        if keep {
            cluster.plans(&["1 start A n3"]);
            cluster.nudge();
        }
        cluster.view_as(&[1, 2], if left { &[3] } else { &[] }, true, true);
        cluster.run();
        cluster.restart(3, keep);
        cluster.illiterate.insert(3);
        cluster.log.clear();
        cluster.view(&[1, 2, 3]);
        let said = "[node-unfit] n3 leaves the cluster: the configuration of n1 cannot be taken over: ";
        assert!(cluster.log.contains(said), "{}", cluster.log);
        assert!(cluster.log.contains(&format!("\nn3 {word}")), "{}", cluster.log);
        let state = part(&mut cluster, "node_state", "3");
        assert_eq!(state.contains("expected=\"down\""), word == "leaves", "{state}");
    }
}

#[test]
fn a_node_that_is_to_leave_says_what_it_waits_for() {
    let mut cluster = Cluster::settled(3);
    cluster.restart(3, true);
    cluster.view_as(&[1, 2, 3], &[], true, true);
    cluster.ask(3, Request::Leave);
    let told = alerts(&cluster, 3);
    assert!(told.contains("n3 leaves once the members agree: n1, n2, n3 did not say yet what they have"), "{told}");
    cluster.hanging.insert("A stop n3".to_owned());
    cluster.plans(&["1 stop A n3\n2 do_shutdown n3 after 1"]);
    cluster.run();
    let told = alerts(&cluster, 3);
    assert!(told.contains("n3 leaves once n1, which leads, has stopped what runs here"), "{told}");
}

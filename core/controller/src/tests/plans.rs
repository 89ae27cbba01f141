//! Plans, how they are walked, and what stops them.

use super::cluster::{self, Cluster, add};
use super::{check, part};
use crate::request::Request;
use expect_test::expect;
use std::time::Duration;

#[test]
fn a_cluster_forms_and_a_resource_starts() {
    let mut cluster = Cluster::new(3);
    cluster.ask(1, add("A"));
    cluster.view(&[1, 2, 3]);
    check(
        &mut cluster,
        expect![[r#"
            n1 answers client 1: refused (NotConnected): this node is not part of a cluster yet: wait until it has joined
            [view] view 1 of n1, n2, n3 is quorate
            [settled] nothing is left to be done
        "#]],
    );
    cluster.plans(&["1 start A n2\n2 monitor/10000 A n2 after 1"]);
    cluster.ask(2, add("A"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [config] root on n2 changed the configuration to version 0.1.0
        [config] hakudo on n1 changed the configuration to version 0.2.0
        [plan] n1 made plan 2 of 2 actions
        [action-start] A start on n2 begins
        n2 answers client 2: done
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_failed_start_ends_the_plan_and_is_counted() {
    let mut cluster = Cluster::settled(2);
    cluster.exit_codes.insert("A start n1".to_owned(), 1);
    cluster.plans(&["1 start A n1\n2 start B n2 after 1\n3 start C n2", "1 stop A n1\n2 start A n2 after 1"]);
    cluster.nudge();
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 3 actions
        [action-start] A start on n1 begins
        n1 runs A start n1: 1
        [action-start] C start on n2 begins
        n2 runs C start n2: 0
        [action-failed] A start on n1 failed: 'Error occurred' (1)
        [action-done] C start on n2 is done
        [plan] n1 made plan 3 of 2 actions
        [action-start] A stop on n1 begins
        n1 runs A stop n1: 0
        [action-done] A stop on n1 is done
        [action-start] A start on n2 begins
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <transient_attributes id="1">
          <instance_attributes id="status-1">
            <nvpair id="status-1-fail-count-A.start_0" name="fail-count-A#start_0" value="INFINITY"/>
            <nvpair id="status-1-last-failure-A.start_0" name="last-failure-A#start_0" value="1700000001"/>
          </instance_attributes>
        </transient_attributes>
    "#]]
    .assert_eq(&part(&mut cluster, "transient_attributes", "1"));
}

#[test]
fn news_stop_the_walk_and_what_is_on_its_way_ends_first() {
    let mut cluster = Cluster::settled(2);
    cluster.hanging.insert("A start n1".to_owned());
    cluster.plans(&["1 start A n1\n2 start B n1 after 1", "1 start C n1"]);
    cluster.nudge();
    cluster.ask(2, Request::SetAttribute { node: "n2".to_owned(), name: "x".to_owned(), value: Some("1".to_owned()) });
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 2 actions
        [action-start] A start on n1 begins
        n2 answers client 1: done
    "#]],
    );
    cluster.unhang("A start n1", 0);
    check(
        &mut cluster,
        expect![[r#"
        [action-done] A start on n1 is done
        [plan] n1 made plan 3 of 1 actions
        [action-start] C start on n1 begins
        n1 runs C start n1: 0
        [action-done] C start on n1 is done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn the_leader_dies_in_the_middle_of_a_plan() {
    let mut cluster = Cluster::settled(3);
    cluster.hanging.insert("A start n2".to_owned());
    cluster.plans(&["1 start A n2\n2 monitor/10000 A n2 after 1"]);
    cluster.nudge();
    cluster.plans(&["1 start B n3", "1 monitor/10000 A n2"]);
    cluster.view(&[2, 3]);
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 2 actions
        [action-start] A start on n2 begins
        [node-lost] n1 is lost and not known to be dead
        [view] view 3 of n2, n3 is quorate; without n1
        [plan] n2 made plan 1 of 1 actions
        [action-start] B start on n3 begins
        n3 runs B start n3: 0
        [action-done] B start on n3 is done
        [plan] n2 made plan 2 of 1 actions
        n2 runs A monitor/10000 n2: 7
        [action-failed] A monitor on n2 failed: 'Not running' (7)
        [settled] nothing is left to be done
    "#]],
    );
    cluster.unhang("A start n2", 0);
    check(
        &mut cluster,
        expect![[r#"
        [action-done] A start on n2 is done
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <node_state id="1" uname="n1" in_ccm="false" crmd="offline" join="down" expected="member"/>
    "#]]
    .assert_eq(&part(&mut cluster, "node_state", "1"));
}

#[test]
fn a_plan_that_never_helps_is_given_up() {
    let mut cluster = Cluster::settled(1);
    cluster.planner = Some(Box::new(|_| Ok(cluster::graph("1 start A n1"))));
    cluster.nudge();
    check(
        &mut cluster,
        expect![[r#"
            [plan] n1 made plan 2 of 1 actions
            [action-start] A start on n1 begins
            n1 runs A start n1: 0
            [action-done] A start on n1 is done
            [plan] n1 made plan 3 of 1 actions
            [action-start] A start on n1 begins
            n1 runs A start n1: 0
            [action-done] A start on n1 is done
            [plan] n1 made plan 4 of 1 actions
            [action-start] A start on n1 begins
            n1 runs A start n1: 0
            [action-done] A start on n1 is done
            [plan-circles] the same plan of 1 steps (A_start_0 on n1, …) was carried out 3 times and is still wanted: nothing is done until something changes
        "#]],
    );
    expect![[r#"[(Error, "the same plan of 1 steps (A_start_0 on n1, …) was carried out 3 times and is still wanted: nothing is done until something changes")]"#]].assert_eq(&format!("{:?}", cluster.machines[&1].controller.cluster_state().alerts));
}

#[test]
fn plans_that_undo_each_other_are_given_up() {
    let mut cluster = Cluster::settled(2);
    let mut turn = 0u32;
    cluster.planner = Some(Box::new(move |_| {
        turn += u32::from(turn < 7);
        Ok(cluster::graph(if turn % 2 == 1 {
            "1 stop A n1\n2 start A n2 after 1"
        } else {
            "1 stop A n2\n2 start A n1 after 1"
        }))
    }));
    cluster.nudge();
    let log = cluster.take_log();
    expect!["6"].assert_eq(&log.matches("[plan]").count().to_string());
    expect!["[plan-circles] plans go in circles: one of 2 steps (A_start_0 on n2, …) was carried out 3 times, by turns with another one that undoes it: nothing is done until something changes"].assert_eq(log.lines().last().unwrap_or_default());
    expect![[r#"[(Error, "plans go in circles: one of 2 steps (A_start_0 on n2, …) was carried out 3 times, by turns with another one that undoes it: nothing is done until something changes")]"#]].assert_eq(&format!("{:?}", cluster.machines[&1].controller.cluster_state().alerts));
    // Time alone does not begin it anew; something new does.
    cluster.pass(Duration::from_secs(3600));
    expect![[""]].assert_eq(&cluster.take_log());
    cluster.planner = None;
    cluster.nudge();
    expect![["[]"]].assert_eq(&format!("{:?}", cluster.machines[&1].controller.cluster_state().alerts));
}

#[test]
fn a_scheduler_that_fails_gives_no_plan_and_an_alert() {
    let mut cluster = Cluster::settled(1);
    cluster.planner = Some(Box::new(|_| Err("index out of bounds".to_owned())));
    cluster.nudge();
    check(
        &mut cluster,
        expect![[r#"
        [plan-failed] there is no plan, and nothing is done until something changes: index out of bounds
    "#]],
    );
    cluster.planner = None;
    cluster.nudge();
    check(
        &mut cluster,
        expect![[r#"
        [settled] nothing is left to be done
    "#]],
    );
    expect![["[]"]].assert_eq(&format!("{:?}", cluster.machines[&1].controller.cluster_state().alerts));
}

#[test]
fn a_silent_node_is_given_up_in_time() {
    let mut cluster = Cluster::settled(2);
    cluster.hanging.insert("A start n2".to_owned());
    cluster.plans(&["1 start A n2"]);
    cluster.nudge();
    cluster.pass(Duration::from_secs(79));
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 1 actions
        [action-start] A start on n2 begins
    "#]],
    );
    cluster.pass(Duration::from_secs(2));
    check(
        &mut cluster,
        expect![[r#"
        [action-failed] A start on n2 failed: Timed out: no answer in time
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_plan_that_fails_again_and_again_is_tried_ever_more_slowly() {
    let mut cluster = Cluster::settled(2);
    cluster.planner = Some(Box::new(|_| Ok(cluster::graph("1 start A n9"))));
    cluster.nudge();
    let at_once = cluster.take_log().matches("[plan]").count();
    cluster.pass(Duration::from_secs(60));
    let in_a_minute = cluster.take_log().matches("[plan]").count();
    expect!["5 at once, 9 in a minute"].assert_eq(&format!("{at_once} at once, {in_a_minute} in a minute"));
}

#[test]
fn what_is_forgotten_on_its_way_is_not_waited_for() {
    let mut cluster = Cluster::settled(2);
    cluster.hanging.insert("A start n2".to_owned());
    cluster.plans(&["1 start A n2", "1 start B n1"]);
    cluster.nudge();
    cluster.take_log();
    cluster.ask(1, Request::Cleanup { resource: None, node: None, refresh: true });
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        n1 answers client 1: done
        [plan] n1 made plan 3 of 1 actions
        [action-start] B start on n1 begins
        n1 runs B start n1: 0
        [action-done] B start on n1 is done
        [settled] nothing is left to be done
    "#]],
    );
}

/// The real scheduler decides.
fn scheduled(cluster: &mut Cluster) {
    cluster.planner = Some(Box::new(|cib| {
        Ok(hakudo_scheduler::plan(cib, hakudo_base::UnixTime::from_seconds(1_700_000_100)).transition)
    }));
}

#[test]
fn with_the_real_scheduler_services_survive_a_lost_node() {
    let mut cluster = Cluster::settled(3);
    scheduled(&mut cluster);
    cluster.add_fence_device();
    cluster.ask(1, cluster::add_monitored("A"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [config] root on n1 changed the configuration to version 0.3.0
        n1 answers client 2: done
        [plan] n1 made plan 4 of 5 actions
        n1 runs A monitor n1: 7
        n2 runs A monitor n2: 7
        n3 runs A monitor n3: 7
        [action-start] A start on n2 begins
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        n2 runs A monitor/10000 n2: 0
        [settled] nothing is left to be done
    "#]],
    );
    let lost = *cluster.machines.iter().find(|(_, machine)| machine.running.contains("A")).unwrap().0;
    let rest: Vec<u32> = [1, 2, 3].into_iter().filter(|node| *node != lost).collect();
    cluster.view(&rest);
    check(
        &mut cluster,
        expect![[r#"
        [node-lost] n2 is lost and not known to be dead
        [view] view 3 of n1, n3 is quorate; without n2
        [fence-try] n1 runs reboot of n2 with fence1
        [plan] n1 made plan 6 of 3 actions
        [fence-start] n1 fences n2 (reboot) with fence1
        n1 runs fence1 reboot n1: 0
        [fenced] n2 was fenced (reboot) by n1
        n1 tells membership that n2 is dead
        n3 tells membership that n2 is dead
        [action-start] A start on n3 begins
        n3 runs A start n3: 0
        [action-done] A start on n3 is done
        n3 runs A monitor/10000 n3: 0
        [settled] nothing is left to be done
    "#]],
    );
    assert!(cluster.machines[&rest[0]].controller.cluster_state().settled);
    let running = |node: &u32| cluster.machines[node].running.contains("A");
    assert_eq!(rest.iter().filter(|node| running(node)).count(), 1);
}

#[test]
fn with_the_real_scheduler_a_failed_resource_recovers_and_a_node_leaves() {
    let mut cluster = Cluster::settled(2);
    scheduled(&mut cluster);
    cluster.add_fence_device();
    cluster.ask(1, cluster::add_monitored("A"));
    cluster.run();
    cluster.take_log();
    let on = *cluster.machines.iter().find(|(_, machine)| machine.running.contains("A")).unwrap().0;
    cluster.recurring(on, "A", 7);
    check(
        &mut cluster,
        expect![[r#"
        [action-failed] A monitor on n2 failed: 'Not running' (7)
        [plan] n1 made plan 6 of 3 actions
        [action-start] A stop on n2 begins
        n2 cancels A monitor/10000 n2
        n2 runs A stop n2: 0
        [action-done] A stop on n2 is done
        [action-start] A start on n2 begins
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        n2 runs A monitor/10000 n2: 0
        [settled] nothing is left to be done
    "#]],
    );
    cluster.ask(on, Request::Leave);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 8 of 4 actions
        [action-start] A stop on n2 begins
        n2 cancels A monitor/10000 n2
        n2 runs A stop n2: 0
        [action-done] A stop on n2 is done
        [node-leaves] n2 has nothing left to do and leaves
        [action-start] A start on n1 begins
        n1 runs A start n1: 0
        n2 answers client 3: done
        n2 leaves
        [action-done] A start on n1 is done
        n1 runs A monitor/10000 n1: 0
        [settled] nothing is left to be done
    "#]],
    );
}

//! Scripts: what a few controllers do when this and that happens, to be read aloud.

mod cluster;
mod replicas;

use crate::request::{Change, ChangeOperation, Request};
use cluster::{Cluster, add};
use expect_test::{Expect, expect};
use std::time::Duration;

fn check(cluster: &mut Cluster, expected: Expect) {
    cluster.same_document();
    expected.assert_eq(&cluster.take_log());
}

/// The part of the document that begins with `<name id="id"`.
fn part(cluster: &mut Cluster, name: &str, id: &str) -> String {
    let document = hakudo_cib::Document::parse(&cluster.same_document()).unwrap();
    let found = document.root().descendants().find(|e| e.name() == name && e.id() == id).map(|e| e.to_xml());
    found.unwrap_or_default()
}

#[test]
fn a_cluster_forms_and_a_resource_starts() {
    let mut cluster = Cluster::new(3);
    cluster.ask(1, add("A"));
    cluster.view(&[1, 2, 3]);
    check(
        &mut cluster,
        expect![[r#"
        n1 answers client 1: refused: this node is not part of a cluster yet: wait until it has joined
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
fn history_is_written_as_the_scheduler_reads_it() {
    let mut cluster = Cluster::settled(2);
    cluster.plans(&["1 monitor A n2 CRM_meta_op_target_rc=7\n2 start A n2 after 1\n3 monitor/10000 A n2 after 2"]);
    cluster.nudge();
    expect![[r#"
        <node_state id="2" uname="n2" in_ccm="true" crmd="online" join="member" expected="member">
          <lrm id="2">
            <lrm_resources>
              <lrm_resource id="A" class="ocf" provider="hakudo" type="Dummy">
                <lrm_rsc_op id="A_last_0" operation_key="A_start_0" operation="start" crm_feature_set="3.20.5" transition-key="2:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:0;2:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="2" rc-code="0" op-status="0" interval="0" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
                <lrm_rsc_op id="A_monitor_10000" operation_key="A_monitor_10000" operation="monitor" crm_feature_set="3.20.5" transition-key="3:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:0;3:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="10000" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="4811cef7f7f94e3a35a70be7916cb2fd"/>
              </lrm_resource>
            </lrm_resources>
          </lrm>
        </node_state>
    "#]].assert_eq(&part(&mut cluster, "node_state", "2"));
    cluster.recurring(2, "A", 7);
    expect![[r#"
        <node_state id="2" uname="n2" in_ccm="true" crmd="online" join="member" expected="member">
          <transient_attributes id="2">
            <instance_attributes id="status-2">
              <nvpair id="status-2-fail-count-A.monitor_10000" name="fail-count-A#monitor_10000" value="1"/>
              <nvpair id="status-2-last-failure-A.monitor_10000" name="last-failure-A#monitor_10000" value="1700000001"/>
            </instance_attributes>
          </transient_attributes>
          <lrm id="2">
            <lrm_resources>
              <lrm_resource id="A" class="ocf" provider="hakudo" type="Dummy">
                <lrm_rsc_op id="A_last_0" operation_key="A_start_0" operation="start" crm_feature_set="3.20.5" transition-key="2:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:0;2:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="2" rc-code="0" op-status="0" interval="0" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
                <lrm_rsc_op id="A_last_failure_0" operation_key="A_monitor_10000" operation="monitor" crm_feature_set="3.20.5" transition-key="3:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:7;3:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="3" rc-code="7" op-status="0" interval="10000" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="4811cef7f7f94e3a35a70be7916cb2fd"/>
                <lrm_rsc_op id="A_monitor_10000" operation_key="A_monitor_10000" operation="monitor" crm_feature_set="3.20.5" transition-key="3:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:0;3:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="10000" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="4811cef7f7f94e3a35a70be7916cb2fd"/>
              </lrm_resource>
            </lrm_resources>
          </lrm>
        </node_state>
    "#]].assert_eq(&part(&mut cluster, "node_state", "2"));
}

#[test]
fn what_is_on_its_way_is_in_the_status() {
    let mut cluster = Cluster::settled(2);
    cluster.hanging.insert("A stop n2".to_owned());
    cluster.plans(&["1 start A n2", "1 stop A n2"]);
    cluster.nudge();
    expect![[r#"
        <lrm_resource id="A" class="ocf" provider="hakudo" type="Dummy">
          <lrm_rsc_op id="A_last_0" operation_key="A_start_0" operation="start" crm_feature_set="3.20.5" transition-key="1:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:0;1:2:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="1" rc-code="0" op-status="0" interval="0" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
          <lrm_rsc_op id="A_pending_0" operation_key="A_stop_0" operation="stop" crm_feature_set="3.20.5" transition-key="1:3:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="-1:193;1:3:0:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="2" rc-code="193" op-status="-1" interval="0" last-rc-change="1700000000" exec-time="0" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
        </lrm_resource>
    "#]].assert_eq(&part(&mut cluster, "lrm_resource", "A"));
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
fn the_primary_side_has_the_word_when_partitions_merge() {
    let mut cluster = Cluster::settled(3);
    cluster.view_as(&[3], &[], false, true);
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.run();
    cluster.ask(1, add("A"));
    cluster.ask(3, add("B"));
    let Request::Change(change) = add("C") else { unreachable!() };
    cluster.ask(3, Request::Change(Change { force: true, ..change }));
    cluster.run();
    check_without_comparing(
        &mut cluster,
        expect![[r#"
        [node-lost] n1 is lost and not known to be dead
        [node-lost] n2 is lost and not known to be dead
        [view] view 3 of n3 is not quorate; without n1, n2
        [node-lost] n3 is lost and not known to be dead
        [view] view 4 of n1, n2 is quorate; without n3
        [settled] nothing is left to be done
        [config] root on n1 changed the configuration to version 0.2.0
        n1 answers client 1: done
        [settled] nothing is left to be done
        n3 answers client 2: refused: this side of the cluster is not quorate, and its changes would give way to the other side's: bring more nodes back, or force the change
        n3 answers client 3: not known: this side of the cluster lost the right to change the configuration on the way; it may be undone when the members are together again
    "#]],
    );
    cluster.view(&[1, 2, 3]);
    check(
        &mut cluster,
        expect![[r#"
        [view] view 5 of n1, n2, n3 is quorate
        n3 keeps its configuration aside: the configuration of n1 is the newer agreed one
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <resources>
          <primitive id="A" class="ocf" provider="hakudo" type="Dummy"/>
        </resources>
    "#]]
    .assert_eq(&part(&mut cluster, "resources", ""));
}

fn check_without_comparing(cluster: &mut Cluster, expected: Expect) {
    expected.assert_eq(&cluster.take_log());
}

#[test]
fn a_disk_that_refuses_leaves_the_change_in_force_and_not_acknowledged() {
    let mut cluster = Cluster::settled(2);
    cluster.machines.get_mut(&2).unwrap().disk_refuses = Some("no space left on device".to_owned());
    cluster.ask(1, add("A"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [config] root on n1 changed the configuration to version 0.2.0
        [disk] the configuration cannot be written on n2: no space left on device
        n1 answers client 1: not known: the change is in force, but not safe on every member's disk: the configuration cannot be written on n2: no space left on device
        [settled] nothing is left to be done
    "#]],
    );
    cluster.machines.get_mut(&2).unwrap().disk_refuses = None;
    cluster.pass(Duration::from_secs(6));
    expect![["[]"]].assert_eq(&format!("{:?}", cluster.machines[&1].controller.cluster_state().alerts));
    cluster.ask(1, add("B"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [config] root on n1 changed the configuration to version 0.3.0
        n1 answers client 2: done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_wrong_change_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::settled(2);
    let before = cluster.same_document();
    let delete = ChangeOperation::Delete { xpath: "//primitive[@id='A']".to_owned(), or_nothing: false };
    let change = Change { operations: vec![delete], if_version: None, force: false };
    cluster.ask(2, Request::Change(change.clone()));
    cluster.ask(2, Request::Change(Change { if_version: Some((0, 0, 7)), ..change }));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
            n2 answers client 1: refused: //primitive[@id='A'] finds nothing
            n2 answers client 2: refused: the configuration is now version 0.1.0, and the change was made for 0.0.7: read it again and repeat
        "#]],
    );
    assert_eq!(cluster.same_document(), before);
}

#[test]
fn a_view_that_is_not_exclusive_takes_no_changes_before_the_lost_are_fenced() {
    let mut cluster = Cluster::settled(2);
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    cluster.ask(1, add("A"));
    cluster.run();
    cluster.ask(1, Request::ConfirmFenced { node: "n2".to_owned() });
    cluster.run();
    cluster.ask(1, add("A"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [node-lost] n2 is lost and not known to be dead
        [view] view 3 of n1 is quorate; without n2
        [settled] nothing is left to be done
        n1 answers client 1: refused: n2 may be alive and may change the configuration too: wait until fencing confirmed its death, confirm it by hand, or force the change
        [fenced] root confirmed that n2 is down
        n1 tells membership that n2 is dead
        n1 answers client 2: done
        [settled] nothing is left to be done
        [config] root on n1 changed the configuration to version 0.2.0
        n1 answers client 3: done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_change_on_its_way_is_not_acknowledged_while_the_lost_may_change_the_configuration_too() {
    let mut cluster = Cluster::settled(2);
    cluster.ask(1, add("A"));
    cluster.deliver_one();
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [config] root on n1 changed the configuration to version 0.2.0
        [node-lost] n2 is lost and not known to be dead
        [view] view 3 of n1 is quorate; without n2
        [settled] nothing is left to be done
    "#]],
    );
    cluster.ask(1, Request::ConfirmFenced { node: "n2".to_owned() });
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [fenced] root confirmed that n2 is down
        n1 tells membership that n2 is dead
        n1 answers client 1: done
        n1 answers client 2: done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_change_that_the_lost_may_have_made_is_neither_refused_nor_made_again() {
    let mut cluster = Cluster::settled(3);
    cluster.ask(2, add("A"));
    cluster.view_as(&[2], &[], false, false);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [node-lost] n1 is lost and not known to be dead
        [node-lost] n3 is lost and not known to be dead
        [view] view 3 of n2 is not quorate; without n1, n3
        n2 answers client 1: not known: the members changed on the way: look whether it was done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_member_dies_before_a_change_is_on_its_disk() {
    let mut cluster = Cluster::settled(3);
    cluster.ask(1, add("A"));
    // The change is delivered; what is on which disk is not known yet.
    cluster.deliver_one();
    cluster.view(&[1, 2]);
    check(
        &mut cluster,
        expect![[r#"
        [config] root on n1 changed the configuration to version 0.2.0
        [node-lost] n3 is lost and not known to be dead
        [view] view 3 of n1, n2 is quorate; without n3
        n1 answers client 1: done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_node_leaves_cleanly() {
    let mut cluster = Cluster::settled(2);
    cluster.plans(&["1 start A n2", "", "1 stop A n2\n2 start A n1 after 1\n3 do_shutdown n2 after 1"]);
    cluster.nudge();
    cluster.ask(2, Request::Leave);
    cluster.run();
    cluster.view_as(&[1], &[2], true, false);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 1 actions
        [action-start] A start on n2 begins
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        [settled] nothing is left to be done
        [plan] n1 made plan 4 of 3 actions
        [action-start] A stop on n2 begins
        n2 runs A stop n2: 0
        [action-done] A stop on n2 is done
        [node-leaves] n2 has nothing left to do and leaves
        [action-start] A start on n1 begins
        n1 runs A start n1: 0
        n2 answers client 1: done
        n2 leaves
        [action-done] A start on n1 is done
        [settled] nothing is left to be done
        [view] view 3 of n1 is quorate; without n2
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <node_state id="2" uname="n2" in_ccm="false" crmd="offline" join="down" expected="down"/>
    "#]]
    .assert_eq(&part(&mut cluster, "node_state", "2"));
}

#[test]
fn an_executor_that_lost_its_memory_is_probed_again() {
    let mut cluster = Cluster::settled(2);
    cluster.plans(&["1 start A n2\n2 monitor/10000 A n2 after 1", "", "1 monitor A n2 CRM_meta_op_target_rc=7"]);
    cluster.nudge();
    cluster.executor_crash(2);
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 2 actions
        [action-start] A start on n2 begins
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        n2 runs A monitor/10000 n2: 0
        [settled] nothing is left to be done
        [plan] n1 made plan 4 of 1 actions
        n2 runs A monitor n2: 0
        [action-done] A is found running on n2
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <lrm_resource id="A" class="ocf" provider="hakudo" type="Dummy">
          <lrm_rsc_op id="A_last_0" operation_key="A_monitor_0" operation="monitor" crm_feature_set="3.20.5" transition-key="1:4:7:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:0;1:4:7:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="0" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
          <lrm_rsc_op id="A_last_failure_0" operation_key="A_monitor_0" operation="monitor" crm_feature_set="3.20.5" transition-key="1:4:7:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:0;1:4:7:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="0" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
        </lrm_resource>
    "#]].assert_eq(&part(&mut cluster, "lrm_resource", "A"));
}

#[test]
fn a_restarted_node_takes_up_what_its_executor_remembers() {
    let mut cluster = Cluster::settled(3);
    cluster.plans(&["1 start A n3\n2 monitor/10000 A n3 after 1"]);
    cluster.nudge();
    let before = part(&mut cluster, "lrm_resource", "A");
    cluster.view(&[1, 2]);
    cluster.restart(3, true);
    cluster.view(&[1, 2, 3]);
    assert_eq!(part(&mut cluster, "lrm_resource", "A"), before);
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 2 actions
        [action-start] A start on n3 begins
        n3 runs A start n3: 0
        [action-done] A start on n3 is done
        n3 runs A monitor/10000 n3: 0
        [settled] nothing is left to be done
        [node-lost] n3 is lost and not known to be dead
        [view] view 3 of n1, n2 is quorate; without n3
        [settled] nothing is left to be done
        [view] view 4 of n1, n2, n3 is quorate
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_starting_cluster_waits_for_nodes_that_nobody_has_seen() {
    let mut cluster = Cluster::new(3);
    cluster.view(&[1, 2]);
    check(
        &mut cluster,
        expect![[r#"
        [view] view 1 of n1, n2 is quorate
    "#]],
    );
    cluster.pass(Duration::from_secs(21));
    check(
        &mut cluster,
        expect![[r#"
        [settled] nothing is left to be done
    "#]],
    );
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
    "#]],
    );
    expect![[r#"[(Error, "the same plan of 1 steps (A_start_0 on n1, …) was carried out 3 times and is still wanted: nothing is done until something changes")]"#]].assert_eq(&format!("{:?}", cluster.machines[&1].controller.cluster_state().alerts));
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
fn failures_are_cleaned_up() {
    let mut cluster = Cluster::settled(2);
    cluster.exit_codes.insert("A start n1".to_owned(), 1);
    cluster.plans(&["1 start A n1", "", "1 monitor A n1 CRM_meta_op_target_rc=7"]);
    cluster.nudge();
    cluster.ask(2, Request::Cleanup { resource: Some("A".to_owned()), node: None, refresh: false });
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [plan] n1 made plan 2 of 1 actions
        [action-start] A start on n1 begins
        n1 runs A start n1: 1
        [action-failed] A start on n1 failed: 'Error occurred' (1)
        [settled] nothing is left to be done
        n2 answers client 1: done
        [plan] n1 made plan 4 of 1 actions
        n1 runs A monitor n1: 7
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member">
          <lrm id="1">
            <lrm_resources>
              <lrm_resource id="A" class="ocf" provider="hakudo" type="Dummy">
                <lrm_rsc_op id="A_last_0" operation_key="A_monitor_0" operation="monitor" crm_feature_set="3.20.5" transition-key="1:4:7:f893a2ee-fb32-455e-b1c1-8690ee42c90b" transition-magic="0:7;1:4:7:f893a2ee-fb32-455e-b1c1-8690ee42c90b" exit-reason="" on_node="n1" call-id="2" rc-code="7" op-status="0" interval="0" last-rc-change="1700000001" exec-time="5" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
              </lrm_resource>
            </lrm_resources>
          </lrm>
        </node_state>
    "#]].assert_eq(&part(&mut cluster, "node_state", "1"));
}

#[test]
fn a_lost_node_is_fenced_before_its_resources_start_elsewhere() {
    let mut cluster = Cluster::settled(3);
    cluster.add_fence_device();
    cluster.plans(&["1 stonith n3 CRM_meta_stonith_action=reboot\n2 start A n2 after 1"]);
    cluster.view(&[1, 2]);
    check(
        &mut cluster,
        expect![[r#"
        [node-lost] n3 is lost and not known to be dead
        [view] view 3 of n1, n2 is quorate; without n3
        [fence-try] n1 runs reboot of n3 with fence1
        [plan] n1 made plan 3 of 2 actions
        [fence-start] n1 fences n3 (reboot) with fence1
        n1 runs fence1 reboot n1: 0
        [fenced] n3 was fenced (reboot) by n1
        n1 tells membership that n3 is dead
        n2 tells membership that n3 is dead
        [action-start] A start on n2 begins
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <node_state id="3" uname="n3" in_ccm="false" crmd="offline" join="down" expected="down"/>
    "#]]
    .assert_eq(&part(&mut cluster, "node_state", "3"));
}

#[test]
fn a_node_that_cannot_be_fenced_blocks_recovery_visibly_until_something_changes() {
    let mut cluster = Cluster::settled(3);
    cluster.add_fence_device();
    cluster.planner = Some(Box::new(|cib| {
        let dangerous = cib
            .root()
            .descendants()
            .any(|e| e.name() == "node_state" && e.id() == "3" && e.attribute("expected") == Some("member"));
        let plan = if dangerous { "1 stonith n3 CRM_meta_stonith_action=off\n2 start A n2 after 1" } else { "" };
        Ok(cluster::graph(plan))
    }));
    for node in ["n1", "n2"] {
        cluster.exit_codes.insert(format!("fence1 off {node}"), 1);
    }
    cluster.view(&[1, 2]);
    cluster.pass(Duration::from_secs(200));
    let log = cluster.take_log();
    let tries = log.matches("runs fence1 off").count();
    expect!["40 tries, the last words: [plan] n1 made plan 13 of 2 actions"]
        .assert_eq(&format!("{tries} tries, the last words: {}", log.lines().last().unwrap_or_default()));
    let state = cluster.machines[&2].controller.cluster_state();
    expect![[r#"settled false, alerts [(Error, "n3 could not be fenced: off of n3 failed: fence1 on n1: exit code 1; fence1 on n2: exit code 1; that was attempt 10 (fencing-max-attempts), mend the device or confirm that it is down")]"#]].assert_eq(&format!("settled {}, alerts {:?}", state.settled, state.alerts));
    cluster.exit_codes.clear();
    cluster.ask(2, Request::Fence { node: "n3".to_owned(), action: "off".to_owned() });
    cluster.pass(Duration::from_secs(10));
    check(
        &mut cluster,
        expect![[r#"
        n1 runs fence1 metadata n1: 0
        [fence-try] n1 runs off of n3 with fence1
        [fence-start] n1 fences n3 (off) with fence1
        n1 runs fence1 off n1: 0
        [fenced] n3 was fenced (off) by n1
        n1 tells membership that n3 is dead
        n2 tells membership that n3 is dead
        n2 answers client 2: done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn a_person_confirms_what_no_device_can() {
    let mut cluster = Cluster::settled(2);
    cluster.plans(&["1 stonith n2 CRM_meta_stonith_action=off\n2 start A n1 after 1"]);
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    cluster.plans(&["1 start A n1"]);
    cluster.ask(1, Request::ConfirmFenced { node: "n2".to_owned() });
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
            [node-lost] n2 is lost and not known to be dead
            [view] view 3 of n1 is quorate; without n2
            [plan] n1 made plan 2 of 2 actions
            [fence-failed] n2 could not be fenced: no fence device can fence n2: none is configured; configure a device for it, or confirm that it is down
            [settled] nothing is left to be done
            [fenced] root confirmed that n2 is down
            n1 tells membership that n2 is dead
            n1 answers client 1: done
            [plan] n1 made plan 4 of 1 actions
            [action-start] A start on n1 begins
            n1 runs A start n1: 0
            [action-done] A start on n1 is done
            [settled] nothing is left to be done
        "#]],
    );
}

#[test]
fn the_leader_dies_while_it_fences() {
    let mut cluster = Cluster::settled(3);
    cluster.add_fence_device();
    cluster.hanging.insert("fence1 off n1".to_owned());
    cluster.plans(&["1 stonith n3 CRM_meta_stonith_action=off\n2 start A n2 after 1"]);
    cluster.view(&[1, 2]);
    cluster.hanging.clear();
    cluster.plans(&[
        "1 stonith n1 CRM_meta_stonith_action=off\n2 stonith n3 CRM_meta_stonith_action=off\n3 start A n2 after 1 2",
    ]);
    cluster.view_as(&[2], &[], true, false);
    cluster.pass(Duration::from_secs(1));
    check(
        &mut cluster,
        expect![[r#"
            [node-lost] n3 is lost and not known to be dead
            [view] view 3 of n1, n2 is quorate; without n3
            [fence-try] n1 runs off of n3 with fence1
            [plan] n1 made plan 3 of 2 actions
            [fence-start] n1 fences n3 (off) with fence1
            [node-lost] n1 is lost and not known to be dead
            [view] view 4 of n2 is quorate; without n1
            n2 runs fence1 metadata n2: 0
            [plan] n2 made plan 1 of 3 actions
            [fence-try] n2 runs off of n1 with fence1
            [fence-start] n2 fences n1 (off) with fence1
            n2 runs fence1 off n2: 0
            [fence-try] n2 runs off of n3 with fence1
            [fenced] n1 was fenced (off) by n2
            n2 tells membership that n1 is dead
            [fence-start] n2 fences n3 (off) with fence1
            n2 runs fence1 off n2: 0
            [fenced] n3 was fenced (off) by n2
            n2 tells membership that n3 is dead
            [action-start] A start on n2 begins
            n2 runs A start n2: 0
            [action-done] A start on n2 is done
            [settled] nothing is left to be done
        "#]],
    );
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

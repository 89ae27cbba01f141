//! Nodes that start, leave, and lose their memory; and what the status says of them.

use super::cluster::Cluster;
use super::{check, part};
use crate::request::Request;
use expect_test::expect;
use std::time::Duration;

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
                <lrm_rsc_op id="A_last_0" operation_key="A_start_0" operation="start" crm_feature_set="3.20.5" transition-key="2:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:0;2:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="2" rc-code="0" op-status="0" interval="0" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
                <lrm_rsc_op id="A_monitor_10000" operation_key="A_monitor_10000" operation="monitor" crm_feature_set="3.20.5" transition-key="3:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:0;3:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="10000" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="4811cef7f7f94e3a35a70be7916cb2fd"/>
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
                <lrm_rsc_op id="A_last_0" operation_key="A_start_0" operation="start" crm_feature_set="3.20.5" transition-key="2:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:0;2:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="2" rc-code="0" op-status="0" interval="0" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
                <lrm_rsc_op id="A_last_failure_0" operation_key="A_monitor_10000" operation="monitor" crm_feature_set="3.20.5" transition-key="3:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:7;3:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="3" rc-code="7" op-status="0" interval="10000" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="4811cef7f7f94e3a35a70be7916cb2fd"/>
                <lrm_rsc_op id="A_monitor_10000" operation_key="A_monitor_10000" operation="monitor" crm_feature_set="3.20.5" transition-key="3:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:0;3:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="10000" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="4811cef7f7f94e3a35a70be7916cb2fd"/>
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
          <lrm_rsc_op id="A_last_0" operation_key="A_start_0" operation="start" crm_feature_set="3.20.5" transition-key="1:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:0;1:2:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="1" rc-code="0" op-status="0" interval="0" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
          <lrm_rsc_op id="A_pending_0" operation_key="A_stop_0" operation="stop" crm_feature_set="3.20.5" transition-key="1:3:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="-1:193;1:3:0:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="2" rc-code="193" op-status="-1" interval="0" exec-time="0" queue-time="0" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
        </lrm_resource>
    "#]].assert_eq(&part(&mut cluster, "lrm_resource", "A"));
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
                <lrm_rsc_op id="A_last_0" operation_key="A_monitor_0" operation="monitor" crm_feature_set="3.20.5" transition-key="1:4:7:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:7;1:4:7:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n1" call-id="2" rc-code="7" op-status="0" interval="0" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
              </lrm_resource>
            </lrm_resources>
          </lrm>
        </node_state>
    "#]].assert_eq(&part(&mut cluster, "node_state", "1"));
}

#[test]
fn a_probe_that_finds_something_running_is_no_failure_to_clean_up() {
    let mut cluster = Cluster::settled(2);
    cluster.plans(&["1 start A n2", "", "1 monitor A n2 CRM_meta_op_target_rc=7"]);
    cluster.nudge();
    cluster.executor_crash(2);
    cluster.log.clear();
    cluster.plans(&["1 monitor A n2 CRM_meta_op_target_rc=7"]);
    cluster.ask(1, Request::Cleanup { resource: None, node: None, refresh: false });
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        n1 answers client 1: done
    "#]],
    );
    cluster.ask(1, Request::Cleanup { resource: None, node: None, refresh: true });
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        n1 answers client 2: done
        [plan] n1 made plan 6 of 1 actions
        n2 runs A monitor n2: 0
        [action-done] A is found running on n2
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
          <lrm_rsc_op id="A_last_0" operation_key="A_monitor_0" operation="monitor" crm_feature_set="3.20.5" transition-key="1:4:7:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:0;1:4:7:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="0" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
          <lrm_rsc_op id="A_last_failure_0" operation_key="A_monitor_0" operation="monitor" crm_feature_set="3.20.5" transition-key="1:4:7:71c18690-ee42-490b-b1bb-54d8d101b5b9" transition-magic="0:0;1:4:7:71c18690-ee42-490b-b1bb-54d8d101b5b9" exit-reason="" on_node="n2" call-id="3" rc-code="0" op-status="0" interval="0" exec-time="5" queue-time="0" last-rc-change="1700000001" op-digest="f2317cad3d54cec5d7d7aa7d0bf35cf8"/>
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

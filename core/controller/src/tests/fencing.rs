//! Fencing: before anything of a lost node starts elsewhere.

use super::cluster::{self, Cluster};
use super::{check, part};
use crate::request::Request;
use expect_test::expect;
use std::time::Duration;

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

/// A client of n2 wants n1 off, which leads, and the device has not answered yet.
fn leader_being_fenced() -> Cluster {
    let mut cluster = Cluster::settled(3);
    cluster.add_fence_device();
    cluster.hanging.insert("fence1 off n2".to_owned());
    cluster.ask(2, Request::Fence { node: "n1".to_owned(), action: "off".to_owned() });
    cluster.run();
    cluster.take_log();
    cluster
}

/// The leader is to be fenced and sees to it itself; whoever asked, asked a node that goes on, and wants to know of the death and not of
/// a change of members.
#[test]
fn who_wants_the_leader_fenced_hears_of_its_death() {
    for (exit, action, answer) in
        [(0, "off", "done"), (1, "off", "refused"), (0, "reboot", "ask once more if it is to stay off")]
    {
        let mut cluster = leader_being_fenced();
        cluster.plans(&[&format!("1 stonith n1 CRM_meta_stonith_action={action}")]);
        cluster.hanging.clear();
        for node in ["n2", "n3"] {
            cluster.exit_codes.insert(format!("fence1 {action} {node}"), exit);
        }
        cluster.view(&[2, 3]);
        cluster.pass(Duration::from_secs(5));
        let log = cluster.take_log();
        let answers: Vec<&str> = log.lines().filter(|line| line.contains("answers client")).collect();
        assert!(matches!(&*answers, [one] if one.contains(answer)), "{log}");
    }
}

#[test]
fn without_quorum_nobody_waits_for_the_leaders_death() {
    let mut cluster = leader_being_fenced();
    cluster.view_as(&[2], &[], false, false);
    cluster.run();
    assert!(cluster.log.contains("n2 answers client 2: not known"), "{}", cluster.log);
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
            [fence-try] n2 runs off of n1 with fence1
            [plan] n2 made plan 1 of 3 actions
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

/// The history of fencing as a node tells it, oldest first.
fn history(cluster: &Cluster, number: u32) -> String {
    let mut entries = cluster.machines[&number].controller.cluster_state().fencing;
    entries.reverse();
    let line = |e: &crate::request::Fencing| {
        let by = e.by.as_deref().unwrap_or("nobody");
        format!(
            "{} of {} for {}@{}: {:?} by {by} with {:?}\n",
            e.action, e.target, e.client, e.origin, e.state, e.devices
        )
    };
    entries.iter().map(line).collect()
}

#[test]
fn an_answer_to_the_former_leader_is_not_one_to_its_successor() {
    let mut cluster = Cluster::settled(5);
    cluster.add_fence_device();
    // The device works on n3: both leaders have it run there.
    cluster.plans(&["1 start fence1 n3"]);
    cluster.nudge();
    cluster.hanging.insert("fence1 off n3".to_owned());
    cluster.plans(&["1 stonith n4 CRM_meta_stonith_action=off"]);
    cluster.view(&[1, 2, 3, 5]);
    cluster.plans(&["1 stonith n1 CRM_meta_stonith_action=off\n2 start A n2 after 1"]);
    cluster.view(&[2, 3, 5]);
    cluster.take_log();
    cluster.end_oldest("fence1 off n3", 0);
    check(&mut cluster, expect![[r#""#]]);
    assert!(
        cluster.same_document().contains(r#"uname="n1" in_ccm="false" crmd="offline" join="down" expected="member""#)
    );
    cluster.end_oldest("fence1 off n3", 0);
    check(
        &mut cluster,
        expect![[r#"
        [fenced] n1 was fenced (off) by n3
        n2 tells membership that n1 is dead
        n3 tells membership that n1 is dead
        n5 tells membership that n1 is dead
        [action-start] A start on n2 begins
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        [settled] nothing is left to be done
    "#]],
    );
}

#[test]
fn the_history_outlives_leaders_and_comes_to_those_who_join() {
    let mut cluster = Cluster::settled(4);
    cluster.add_fence_device();
    cluster.hanging.insert("fence1 reboot n1".to_owned());
    cluster.plans(&["1 stonith n4 CRM_meta_stonith_action=reboot"]);
    cluster.view(&[1, 2, 3]);
    let before = history(&cluster, 3);
    cluster.unhang("fence1 reboot n1", 0);
    cluster.ask(2, Request::Fence { node: "n9".to_owned(), action: "off".to_owned() });
    cluster.exit_codes.insert("fence1 off n2".to_owned(), 1);
    cluster.view_as(&[2, 3], &[], true, true);
    cluster.ask(3, Request::Fence { node: "n1".to_owned(), action: "off".to_owned() });
    cluster.pass(Duration::from_secs(5));
    cluster.restart(4, false);
    cluster.view(&[2, 3, 4]);
    let all = [2, 3, 4].map(|number| history(&cluster, number));
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    expect![[r#"
        reboot of n4 for hakudo@n1: Pending by nobody with []
        --
        off of n1 for root@n3: Succeeded by n3 with ["fence1"]
        reboot of n4 for hakudo@n1: Succeeded by n1 with ["fence1"]
    "#]]
    .assert_eq(&format!("{before}--\n{}", all[0]));
}

#[test]
fn a_fencing_that_ends_late_is_not_that_of_the_node_s_new_life() {
    let mut cluster = Cluster::settled(3);
    cluster.add_fence_device();
    cluster.hanging.insert("fence1 off n1".to_owned());
    cluster.plans(&["1 stonith n3 CRM_meta_stonith_action=off"]);
    cluster.view(&[1, 2]);
    cluster.restart(3, false);
    cluster.plans(&["1 start A n3"]);
    cluster.view(&[1, 2, 3]);
    cluster.take_log();
    cluster.unhang("fence1 off n1", 0);
    check(
        &mut cluster,
        expect![[r#"
        [fenced] n3 was fenced (off) by n1
        [settled] nothing is left to be done
    "#]],
    );
    // What the node runs in its new life is still known.
    let state = part(&mut cluster, "node_state", "3");
    assert!(state.contains(r#"in_ccm="true""#) && state.contains(r#"id="A_last_0""#), "{state}");
}

#[test]
fn what_cannot_be_switched_on_may_still_be_switched_off() {
    let mut cluster = Cluster::settled(3);
    // Nothing can fence n3 at all, so that asking again has no sense; but a wish to switch it on says nothing of off.
    cluster.plans(&["1 stonith n3 CRM_meta_stonith_action=on", "1 stonith n3 CRM_meta_stonith_action=off"]);
    cluster.nudge();
    cluster.nudge();
    let before = cluster.take_log();
    let known: Vec<&(String, bool)> = cluster.machines[&1].controller.fencing.hopeless_targets().collect();
    expect![[r#"
        [plan] n1 made plan 2 of 1 actions
        [fence-failed] n3 could not be fenced: no fence device can fence n3: none is configured; configure a device for it, or confirm that it is down
        [plan] n1 made plan 3 of 1 actions
        [fence-failed] n3 could not be fenced: no fence device can fence n3: none is configured; configure a device for it, or confirm that it is down
        [settled] nothing is left to be done
        [settled] nothing is left to be done
        hopeless: [("n3", false), ("n3", true)]"#]].assert_eq(&format!("{before}hopeless: {known:?}"));
    // A device comes: both are asked for again.
    cluster.add_fence_device();
    cluster.plans(&["1 stonith n3 CRM_meta_stonith_action=off"]);
    cluster.nudge();
    check(
        &mut cluster,
        expect![[r#"
            [fence-try] n1 runs off of n3 with fence1
            [plan] n1 made plan 7 of 1 actions
            [fence-start] n1 fences n3 (off) with fence1
            n1 runs fence1 off n1: 0
            [fenced] n3 was fenced (off) by n1
            n1 tells membership that n3 is dead
            n2 tells membership that n3 is dead
            n3 tells membership that n3 is dead
            n3 stops at once, reset: false
            [settled] nothing is left to be done
        "#]],
    );
}

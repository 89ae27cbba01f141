//! Nodes that are told to leave: they are safe once membership says that they left, and not a moment before.

use super::check;
use super::cluster::{Cluster, add};
use crate::command::{Command, Step};
use crate::request::Request;
use crate::{ExecutorInput, core_types::Input};
use expect_test::expect;
use hakudo_base::{NodeId, UnixTime};
use std::time::Duration;

#[test]
fn who_did_not_hear_that_it_may_go_is_lost_like_any_other() {
    let mut cluster = Cluster::settled(2);
    let step = Step { view: cluster.machines[&1].controller.view_id(), transition: 1, action: 1 };
    // A leader delivers what it says before anybody else does.
    cluster.forge(1, &[1], Command::Shutdown { node: NodeId(2), step });
    cluster.view_as(&[1], &[], true, false);
    cluster.run();
    cluster.ask(1, add("A"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
            [node-leaves] n2 has nothing left to do and leaves
            [node-lost] n2 is lost and not known to be dead
            [view] view 3 of n1 is quorate; without n2
            [settled] nothing is left to be done
            n1 answers client 1: refused (Unsafe): n2 may be alive and may change the configuration too: wait until fencing confirmed its death, confirm it by hand, or force the change
        "#]],
    );
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.run();
    assert!(!cluster.log.contains("stops at once"), "{}", cluster.log);
    assert!(cluster.machines[&2].controller.cluster_state().ready);
}

#[test]
fn who_may_have_agreed_with_others_before_it_was_lost_is_lost() {
    let mut cluster = Cluster::settled(2);
    cluster.view_as(&[1], &[2], true, false);
    cluster.run();
    cluster.restart(2, false);
    cluster.view_as(&[1, 2], &[], true, true);
    // Nothing of this view is delivered to n1; n2 may have heard all.
    cluster.log.clear();
    cluster.view_as(&[1], &[], true, false);
    cluster.ask(1, add("A"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
            [node-lost] n2 is lost and not known to be dead
            [view] view 5 of n1 is quorate; without n2
            n1 answers client 1: refused (Unsafe): n2 may be alive and may change the configuration too: wait until fencing confirmed its death, confirm it by hand, or force the change
            [settled] nothing is left to be done
        "#]],
    );
}

/// The real scheduler decides.
fn scheduled(cluster: &mut Cluster) {
    cluster.planner =
        Some(Box::new(|cib| Ok(hakudo_scheduler::plan(cib, UnixTime::from_seconds(1_700_000_100)).transition)));
}

/// A runs on the node that is given back, which is asked to leave and does not come to stop A.
fn leaves_and_cannot_stop() -> (Cluster, u32) {
    let mut cluster = Cluster::settled(3);
    scheduled(&mut cluster);
    cluster.add_fence_device();
    cluster.ask(1, add("A"));
    cluster.run();
    let on = *cluster.machines.iter().find(|(_, machine)| machine.running.contains("A")).unwrap().0;
    cluster.hanging.insert(format!("A stop n{on}"));
    cluster.ask(on, Request::Leave);
    cluster.run();
    cluster.log.clear();
    (cluster, on)
}

/// A starts elsewhere, and not before its node was fenced.
fn fenced_first(cluster: &Cluster) -> bool {
    let fenced = cluster.log.find("[fenced]");
    let started = cluster.log.find("[action-start] A start");
    fenced.zip(started).is_some_and(|(fenced, started)| fenced < started)
}

#[test]
fn who_is_lost_while_it_stops_what_runs_there_is_fenced() {
    let (mut cluster, on) = leaves_and_cannot_stop();
    let rest: Vec<u32> = [1, 2, 3].into_iter().filter(|node| *node != on).collect();
    cluster.view(&rest);
    cluster.pass(Duration::from_secs(30));
    assert!(fenced_first(&cluster), "{}", cluster.log);
}

#[test]
fn who_fails_while_it_stops_what_runs_there_is_fenced() {
    let (mut cluster, on) = leaves_and_cannot_stop();
    cluster.input(on, Input::Executor(ExecutorInput::Lost));
    cluster.pass(Duration::from_secs(100));
    assert!(fenced_first(&cluster), "{}", cluster.log);
}

#[test]
fn who_is_lost_before_it_may_go_is_fenced_although_it_runs_nothing() {
    let mut cluster = Cluster::settled(3);
    scheduled(&mut cluster);
    cluster.add_fence_device();
    cluster.ask(3, Request::Leave);
    cluster.deliver_one();
    cluster.view(&[1, 2]);
    cluster.pass(Duration::from_secs(30));
    assert!(cluster.log.contains("[fenced] n3 was fenced"), "{}", cluster.log);
}

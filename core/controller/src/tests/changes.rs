//! Changes of the configuration: who may make them, and when they stand.

use super::cluster::{Cluster, add};
use super::{check, part};
use crate::Input;
use crate::request::{Change, ChangeOperation, Request};
use expect_test::{Expect, expect};
use hakudo_base::{UnixTime, WallTime};
use std::time::Duration;

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
            n3 answers client 2: refused (NoQuorum): this side of the cluster is not quorate, and its changes would give way to the other side's: bring more nodes back, or force the change
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
            n2 answers client 1: refused (NoSuch): //primitive[@id='A'] finds nothing
            n2 answers client 2: refused (Outdated): the configuration is now version 0.1.0, and the change was made for 0.0.7: read it again and repeat
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
            n1 answers client 1: refused (Unsafe): n2 may be alive and may change the configuration too: wait until fencing confirmed its death, confirm it by hand, or force the change
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
        n1 answers client 2: done
        n1 answers client 1: done
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
fn rules_that_choose_options_are_read_by_all_at_the_same_moment() {
    let mut cluster = Cluster::settled(2);
    // From 100 s on by the clocks of the machines, nobody is fenced.
    let sets = "<crm_config><cluster_property_set id='later' score='5'>\
                <rule id='r'><date_expression id='e' operation='gt' start='2023-11-14 22:15:00Z'/></rule>\
                <nvpair id='off' name='fencing-enabled' value='false'/></cluster_property_set></crm_config>";
    let operations = vec![ChangeOperation::Modify { xml: sets.to_owned(), create_in: None }];
    cluster.ask(1, Request::Change(Change { operations, if_version: None, force: false }));
    cluster.run();
    cluster.log.clear();
    cluster.view_as(&[1], &[], true, false);
    cluster.ask(1, add("A"));
    cluster.run();
    let log = cluster.take_log();
    assert!(log.contains("n2 may be alive"), "{log}");
    cluster.pass(Duration::from_secs(101));
    cluster.ask(1, add("A"));
    cluster.run();
    let log = cluster.take_log();
    assert!(log.contains("answers client 3: done"), "{log}");
}

/// Nobody is fenced from 23 to 24 h by the clocks on the wall, where it is 22:13 now in UTC.
fn late_at_night() -> Cluster {
    let mut cluster = Cluster::settled(2);
    let sets = "<crm_config><cluster_property_set id='late' score='5'><rule id='r'>\
                <date_expression id='e' operation='date_spec'><date_spec id='d' hours='23'/></date_expression></rule>\
                <nvpair id='off' name='fencing-enabled' value='false'/></cluster_property_set></crm_config>";
    let operations = vec![ChangeOperation::Modify { xml: sets.to_owned(), create_in: None }];
    cluster.ask(1, Request::Change(Change { operations, if_version: None, force: false }));
    cluster.run();
    cluster
}

fn may_change_alone(cluster: &mut Cluster) -> bool {
    cluster.view_as(&[1], &[], true, false);
    cluster.log.clear();
    cluster.ask(1, add("A"));
    cluster.run();
    let log = cluster.take_log();
    assert!(log.contains("n2 may be alive") || log.contains(": done"), "{log}");
    log.contains(": done")
}

#[test]
fn options_that_depend_on_the_hour_are_read_again_from_time_to_time() {
    let mut cluster = late_at_night();
    assert!(!may_change_alone(&mut cluster));
    let mut cluster = late_at_night();
    // The next look is a quarter of an hour after the last one, at the latest.
    cluster.pass(Duration::from_secs(63 * 60));
    assert!(may_change_alone(&mut cluster));
}

#[test]
fn options_that_depend_on_the_hour_are_read_again_where_the_clocks_are_set() {
    let mut cluster = late_at_night();
    let time = UnixTime::from_seconds(1_700_000_000);
    for node in [1, 2] {
        cluster.input(node, Input::Clock(WallTime { time, utc_offset: 3600 }));
    }
    cluster.run();
    assert!(may_change_alone(&mut cluster));
}

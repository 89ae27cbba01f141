//! Remote and guest nodes: connections, what runs behind them, and what is done where they are lost.

mod common;

use common::{Cluster, check};
use expect_test::expect;

const FAR: &str = r#"
    <primitive id="far" class="ocf" provider="pacemaker" type="remote">
      <instance_attributes id="far-p"><nvpair id="far-addr" name="server" value="10.0.0.7"/></instance_attributes>
      <operations><op id="far-m" name="monitor" interval="20s"/></operations>
    </primitive>
    <primitive id="job" class="ocf" provider="heartbeat" type="Dummy"/>"#;

const ON_FAR: &str = r#"<rsc_location id="there" rsc="job" node="far" score="INFINITY"/>"#;

const VM: &str = r#"
    <primitive id="vm" class="ocf" provider="heartbeat" type="VirtualDomain">
      <meta_attributes id="vm-meta"><nvpair id="vm-guest" name="remote-node" value="guest"/></meta_attributes>
    </primitive>
    <primitive id="job" class="ocf" provider="heartbeat" type="Dummy"/>"#;

const ON_GUEST: &str = r#"<rsc_location id="there" rsc="job" node="guest" score="INFINITY"/>"#;

#[test]
fn what_runs_behind_a_connection_starts_after_it() {
    let cluster = Cluster { resources: FAR, constraints: ON_FAR, ..Cluster::default() };
    check(
        &cluster,
        expect![[r#"
        Start far - -> a Started
        Start job - -> far Started
        far_start_0@a
        job_start_0@far after far_start_0@a
    "#]],
    );
}

#[test]
fn a_connection_moves_without_stopping_what_is_behind_it() {
    let cluster = Cluster {
        resources: FAR,
        constraints: ON_FAR,
        histories: vec![("a", "far ocf:pacemaker:remote start 0"), ("far", "job ocf:heartbeat:Dummy start 0")],
        standby: vec!["a"],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Migrate far a -> b Started
        far_migrate_from_0@b after far_migrate_to_0@a
        far_migrate_to_0@a
        far_start_0 after far_migrate_from_0@b, far_stop_0@a
        far_stop_0@a after far_migrate_from_0@b
    "#]],
    );
}

#[test]
fn a_remote_node_whose_connection_failed_is_fenced_before_its_resources_run_elsewhere() {
    let cluster = Cluster {
        resources: FAR,
        histories: vec![
            (
                "a",
                "far ocf:pacemaker:remote start 0
                 far ocf:pacemaker:remote monitor=20000 1",
            ),
            ("far", "job ocf:heartbeat:Dummy start 0"),
        ],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
            Fence (reboot) far: remote connection is unrecoverable
            Recover far a -> - Started
            Move job far -> b Started
            far_start_0@a after far_stop_0@a, stonith-far-reboot@far
            far_stop_0@a after job_stop_0
            job_start_0@b after job_stop_0, stonith-far-reboot@far
            job_stop_0 after stonith-far-reboot@far
            stonith-far-reboot@far
        "#]],
    );
}

#[test]
fn the_host_of_a_guest_is_lost() {
    let cluster = Cluster {
        resources: VM,
        constraints: ON_GUEST,
        histories: vec![
            (
                "a",
                "vm ocf:heartbeat:VirtualDomain start 0
                 guest ocf:pacemaker:remote start 0",
            ),
            ("guest", "job ocf:heartbeat:Dummy start 0"),
        ],
        lost: vec!["a"],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Fence (reboot) guest (resource: vm): guest is unclean
        Fence (reboot) a: peer is no longer part of the cluster
        Recover vm a -> b Started
        Recover job guest -> - Started
        Move guest a -> b Started
        guest_start_0@b after guest_stop_0, stonith-guest-reboot@guest, vm_start_0@b
        guest_stop_0
        job_start_0@guest after guest_start_0@b, job_stop_0, stonith-a-reboot@a, stonith-guest-reboot@guest, vm_start_0@b
        job_stop_0 after stonith-guest-reboot@guest
        stonith-a-reboot@a
        stonith-guest-reboot@guest after stonith-a-reboot@a
        vm_start_0@b after stonith-a-reboot@a, stonith-guest-reboot@guest, vm_stop_0
        vm_stop_0 after guest_stop_0, stonith-a-reboot@a
    "#]],
    );
}

#[test]
fn a_guest_that_failed_is_recovered_with_what_runs_on_it() {
    let cluster = Cluster {
        resources: VM,
        constraints: ON_GUEST,
        histories: vec![
            (
                "b",
                "vm ocf:heartbeat:VirtualDomain start 0
                 vm ocf:heartbeat:VirtualDomain monitor=10000 1
                 guest ocf:pacemaker:remote start 0",
            ),
            ("guest", "job ocf:heartbeat:Dummy start 0"),
        ],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
            Fence (reboot) guest (resource: vm): guest is unclean
            Recover vm b -> - Started
            Recover job guest -> - Started
            Restart guest b -> b Started
            guest_start_0@b after guest_stop_0@b, stonith-guest-reboot@guest, vm_start_0@b
            guest_stop_0@b
            job_start_0@guest after guest_start_0@b, job_stop_0, stonith-guest-reboot@guest, vm_start_0@b
            job_stop_0 after stonith-guest-reboot@guest
            stonith-guest-reboot@guest after vm_stop_0@b
            vm_monitor_10000@b after vm_stop_0@b
            vm_start_0@b after stonith-guest-reboot@guest, vm_stop_0@b
            vm_stop_0@b after guest_stop_0@b
        "#]],
    );
}

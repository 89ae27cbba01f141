//! Bundles: what is made for them, where it goes, in which order, and what a failure inside leads to.

mod common;

use common::{Cluster, check};
use expect_test::expect;

const WEB: &str = r#"
    <bundle id="web">
      <docker image="web:1" replicas="2" replicas-per-host="1" options="--log-driver=journald"/>
      <network ip-range-start="10.0.0.9" host-interface="eth0" host-netmask="24">
        <port-mapping id="web-http" port="80" internal-port="8080"/>
      </network>
      <storage>
        <storage-mapping id="web-conf" source-dir="/srv/conf" target-dir="/etc/web" options="ro"/>
        <storage-mapping id="web-data" source-dir-root="/srv/data" target-dir="/var/www" options="rw"/>
      </storage>
      <primitive id="server" class="ocf" provider="heartbeat" type="nginx"/>
    </bundle>"#;

const DB: &str = r#"
    <bundle id="db">
      <podman image="db:1" replicas="2" promoted-max="1"/>
      <network control-port="3333"/>
      <primitive id="store" class="ocf" provider="heartbeat" type="pgsql">
        <operations><op id="store-m" name="monitor" interval="10s" role="Promoted"/></operations>
      </primitive>
    </bundle>"#;

/// Parameters of the start of a resource.
fn parameters(cluster: &Cluster, resource: &str) -> String {
    let plan = cluster.plan();
    let key = format!("{resource}_start_0");
    let start = plan.transition.synapses.iter().map(|synapse| &synapse.action).find(|action| action.key == key);
    let own = start.expect("it is started").attributes.iter().filter(|(name, _)| !name.starts_with("CRM_meta_"));
    own.map(|(name, value)| format!("{name}={value}\n")).collect()
}

#[test]
fn a_container_has_its_ports_mounts_and_the_executor() {
    let cluster = Cluster { resources: WEB, ..Cluster::default() };
    expect![[r#"
        allow_pull=true
        force_kill=false
        image=web:1
        monitor_cmd=/bin/true
        mount_points=/srv/data/web-1,/var/log/pacemaker/bundles/web-1
        reuse=false
        run_cmd=/usr/sbin/pacemaker-remoted
        run_opts= --restart=no -h web-1 -e PCMK_stderr=1 -e PCMK_remote_port=3121 -v /srv/conf:/etc/web:ro -v /srv/data/web-1:/var/www:rw -v /etc/pacemaker/authkey:/etc/pacemaker/authkey -v /var/log/pacemaker/bundles/web-1:/var/log -p 10.0.0.10:80:8080 -p 10.0.0.10:3121:3121 --log-driver=journald  --add-host=web-0:10.0.0.9 --add-host=web-1:10.0.0.10
    "#]].assert_eq(&parameters(&cluster, "web-docker-1"));
}

#[test]
fn an_address_is_one_of_the_range() {
    let cluster = Cluster { resources: WEB, ..Cluster::default() };
    expect![[r#"
        cidr_netmask=24
        ip=10.0.0.10
        nic=eth0
    "#]]
    .assert_eq(&parameters(&cluster, "web-ip-10.0.0.10"));
}

#[test]
fn a_connection_without_address_goes_to_the_host_of_the_container() {
    let cluster = Cluster { resources: DB, ..Cluster::default() };
    expect![[r#"
        addr=a
        port=3333
    "#]]
    .assert_eq(&parameters(&cluster, "db-0"));
}

#[test]
fn address_container_connection_and_server_start_in_this_order() {
    let cluster = Cluster { resources: WEB, ..Cluster::default() };
    check(
        &cluster,
        expect![[r#"
        Start web-ip-10.0.0.9 - -> a Started
        Start web-docker-0 - -> a Started
        Start web-0 - -> a Started
        Start server:0 - -> web-0 Started
        Start web-ip-10.0.0.10 - -> b Started
        Start web-docker-1 - -> b Started
        Start web-1 - -> b Started
        Start server:1 - -> web-1 Started
        server:0_start_0@web-0 after web-0_start_0@a, web-clone_start_0, web-docker-0_start_0@a
        server:1_start_0@web-1 after server:0_start_0@web-0, web-1_start_0@b, web-clone_start_0, web-docker-1_start_0@b
        web-0_start_0@a after web-docker-0_start_0@a
        web-1_start_0@b after web-docker-1_start_0@b
        web-clone_running_0 after server:0_start_0@web-0, server:1_start_0@web-1, web-clone_start_0
        web-clone_start_0 after web_start_0
        web-docker-0_start_0@a after web-ip-10.0.0.9_start_0@a, web_start_0
        web-docker-1_start_0@b after web-ip-10.0.0.10_start_0@b, web_start_0
        web-ip-10.0.0.10_start_0@b
        web-ip-10.0.0.9_start_0@a
        web_running_0 after web-clone_running_0, web-docker-0_start_0@a, web-docker-1_start_0@b
        web_start_0
    "#]],
    );
}

const DB_RUNS: [(&str, &str); 4] = [
    (
        "a",
        "db-podman-0 ocf:heartbeat:podman start 0
         db-0 ocf:pacemaker:remote start 0",
    ),
    (
        "b",
        "db-podman-1 ocf:heartbeat:podman start 0
         db-1 ocf:pacemaker:remote start 0",
    ),
    ("db-0", "store ocf:heartbeat:pgsql promote 0"),
    ("db-1", "store ocf:heartbeat:pgsql start 0"),
];

/// What the agent says of how much each replica should be promoted.
const WISHES: [(&str, &str, &str); 2] = [("db-0", "master-store", "20"), ("db-1", "master-store", "10")];

#[test]
fn nothing_changes_where_all_replicas_run() {
    let cluster =
        Cluster { resources: DB, histories: DB_RUNS.to_vec(), attributes: WISHES.to_vec(), ..Cluster::default() };
    check(&cluster, expect![""]);
}

#[test]
fn what_was_promoted_on_a_lost_node_is_promoted_elsewhere_after_fencing() {
    let cluster = Cluster {
        resources: DB,
        histories: DB_RUNS.to_vec(),
        attributes: WISHES.to_vec(),
        lost: vec!["a"],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
            Fence (off) db-0 (resource: db-podman-0): guest is unclean
            Fence (reboot) a: peer is no longer part of the cluster
            Stop db-podman-0 a -> - Stopped
            Stop db-0 a -> - Started
            Stop store:0 db-0 -> - Unpromoted
            Promote store:1 db-1 -> db-1 Promoted
            db-0_stop_0
            db-master_demote_0 after db_demote_0
            db-master_demoted_0 after db-master_demote_0, store_demote_0
            db-master_promote_0 after db-master_demoted_0, db-master_running_0, db-master_stopped_0, db_promote_0
            db-master_promoted_0 after store_promote_0@db-1
            db-master_running_0 after db-master_start_0
            db-master_start_0 after db-master_demoted_0, db-master_stopped_0
            db-master_stop_0 after db-master_demoted_0, db_stop_0, stonith-db-0-off@db-0
            db-master_stopped_0 after db-master_stop_0, store_stop_0
            db-podman-0_stop_0 after db-0_stop_0, db_stop_0, stonith-a-reboot@a
            db_demote_0
            db_demoted_0 after db-master_demoted_0, db_demote_0
            db_promote_0 after db_demoted_0, db_running_0, db_stopped_0
            db_promoted_0 after db-master_promoted_0
            db_running_0 after db-master_running_0
            db_stop_0 after db_demoted_0
            db_stopped_0 after db-master_stopped_0, db-podman-0_stop_0
            stonith-a-reboot@a
            stonith-db-0-off@db-0 after stonith-a-reboot@a
            store_demote_0 after db-master_demote_0
            store_promote_0@db-1 after db-master_promote_0, stonith-a-reboot@a, stonith-db-0-off@db-0
            store_stop_0 after db-master_stop_0, db_stop_0, store_demote_0
        "#]],
    );
}

#[test]
fn a_node_in_standby_lets_its_container_go() {
    let cluster = Cluster {
        resources: DB,
        histories: DB_RUNS.to_vec(),
        attributes: WISHES.to_vec(),
        standby: vec!["a"],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
            Stop db-podman-0 a -> - Stopped
            Stop db-0 a -> - Started
            Stop store:0 db-0 -> - Unpromoted
            Promote store:1 db-1 -> db-1 Promoted
            db-0_stop_0@a after store_demote_0@db-0, store_stop_0@db-0
            db-master_demote_0 after db_demote_0
            db-master_demoted_0 after db-master_demote_0, store_demote_0@db-0
            db-master_promote_0 after db-master_demoted_0, db-master_running_0, db-master_stopped_0, db_promote_0
            db-master_promoted_0 after store_promote_0@db-1
            db-master_running_0 after db-master_start_0
            db-master_start_0 after db-master_demoted_0, db-master_stopped_0
            db-master_stop_0 after db-master_demoted_0, db_stop_0
            db-master_stopped_0 after db-master_stop_0, store_stop_0@db-0
            db-podman-0_stop_0@a after db-0_stop_0@a, db_stop_0
            db_demote_0
            db_demoted_0 after db-master_demoted_0, db_demote_0
            db_promote_0 after db_demoted_0, db_running_0, db_stopped_0
            db_promoted_0 after db-master_promoted_0
            db_running_0 after db-master_running_0
            db_stop_0 after db_demoted_0
            db_stopped_0 after db-master_stopped_0, db-podman-0_stop_0@a
            store_demote_0@db-0 after db-master_demote_0
            store_promote_0@db-1 after db-master_promote_0
            store_stop_0@db-0 after db-master_stop_0, db_stop_0, store_demote_0@db-0
        "#]],
    );
}

#[test]
fn a_failed_container_takes_its_node_down_and_comes_back() {
    let mut histories = DB_RUNS.to_vec();
    histories[1].1 = "db-podman-1 ocf:heartbeat:podman start 0
                      db-podman-1 ocf:heartbeat:podman monitor=60000 1
                      db-1 ocf:pacemaker:remote start 0";
    let cluster = Cluster { resources: DB, histories, attributes: WISHES.to_vec(), ..Cluster::default() };
    check(
        &cluster,
        expect![[r#"
            Fence (reboot) db-1 (resource: db-podman-1): guest is unclean
            Recover db-podman-1 b -> - Started
            Restart db-1 b -> b Started
            Recover store:1 db-1 -> - Unpromoted
            db-1_start_0@b after db-1_stop_0@b, db-podman-1_start_0@b
            db-1_stop_0@b
            db-master_running_0 after db-master_start_0, store_start_0@db-1
            db-master_start_0 after db-master_stopped_0, db_start_0
            db-master_stop_0 after db_stop_0, stonith-db-1-reboot@db-1
            db-master_stopped_0 after db-master_stop_0, store_stop_0
            db-podman-1_start_0@b after db-podman-1_stop_0@b, db_start_0, stonith-db-1-reboot@db-1
            db-podman-1_stop_0@b after db-1_stop_0@b, db_stop_0
            db_running_0 after db-master_running_0, db-podman-1_start_0@b
            db_start_0 after db_stopped_0
            db_stop_0
            db_stopped_0 after db-master_stopped_0, db-podman-1_stop_0@b
            stonith-db-1-reboot@db-1 after db-podman-1_stop_0@b
            store_start_0@db-1 after db-1_start_0@b, db-master_start_0, db-podman-1_start_0@b, stonith-db-1-reboot@db-1, store_stop_0
            store_stop_0 after db-master_stop_0, db_stop_0
        "#]],
    );
}

#[test]
fn what_is_with_the_promoted_replica_runs_on_its_host() {
    let cluster = Cluster {
        resources: r#"
            <bundle id="db">
              <podman image="db:1" replicas="2" promoted-max="1"/>
              <network control-port="3333"/>
              <primitive id="store" class="ocf" provider="heartbeat" type="pgsql"/>
            </bundle>
            <primitive id="address" class="ocf" provider="heartbeat" type="IPaddr2"/>"#,
        constraints: r#"
            <rsc_colocation id="together" rsc="address" with-rsc="db" with-rsc-role="Promoted" score="INFINITY"/>
            <rsc_order id="first" first="db" first-action="promote" then="address" then-action="start"/>"#,
        histories: DB_RUNS.to_vec(),
        attributes: WISHES.to_vec(),
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
            Start address - -> a Started
            address_start_0@a
        "#]],
    );
}

#[test]
fn a_primitive_that_nobody_could_reach_makes_the_bundle_invalid() {
    let cluster = Cluster {
        resources: r#"
            <bundle id="web">
              <docker image="web:1"/>
              <primitive id="server" class="ocf" provider="heartbeat" type="nginx"/>
            </bundle>"#,
        ..Cluster::default()
    };
    let plan = cluster.plan();
    let problems: Vec<String> =
        plan.problems.iter().map(|problem| format!("{}: {}\n", problem.id, problem.message)).collect();
    expect![[r#"
        web: server inside needs ip-range-start or control-port; ignored
        web: the resource is ignored because its configuration is invalid
    "#]]
    .assert_eq(&problems.concat());
}

#[test]
fn the_range_of_addresses_has_an_end() {
    let cluster = Cluster {
        resources: r#"
            <bundle id="web">
              <docker image="web:1" replicas="3"/>
              <network ip-range-start="10.0.254.9"/>
              <primitive id="server" class="ocf" provider="heartbeat" type="nginx"/>
            </bundle>"#,
        ..Cluster::default()
    };
    let plan = cluster.plan();
    let problems: Vec<String> =
        plan.problems.iter().map(|problem| format!("{}: {}", problem.id, problem.message)).collect();
    expect!["web: there are no addresses after 10.0.254.9 for replica 1 and those behind it"]
        .assert_eq(&problems.join("\n"));
    let addresses: Vec<&str> =
        plan.model.resources().map(|(_, resource)| resource.id.as_str()).filter(|id| id.contains("-ip-")).collect();
    assert_eq!(addresses, ["web-ip-10.0.254.9"]);
}

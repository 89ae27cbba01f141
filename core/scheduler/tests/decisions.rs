//! What follows from a configuration and a history, a rule a test.

mod common;

use common::{Cluster, check};
use expect_test::expect;

/// A service, and a promotable database that needs it.
const DATABASE: &str = r#"
    <primitive id="disk" class="ocf" provider="pacemaker" type="Dummy"/>
    <clone id="db">
      <meta_attributes id="db-m"><nvpair id="db-p" name="promotable" value="true"/></meta_attributes>
      <primitive id="data" class="ocf" provider="pacemaker" type="Stateful"/>
    </clone>"#;

/// The disk failed under a promoted instance.
fn failed_disk() -> Cluster {
    Cluster {
        resources: DATABASE,
        constraints: r#"<rsc_order id="disk-then-db" first="disk" then="db"/>"#,
        histories: vec![
            (
                "a",
                "disk ocf:pacemaker:Dummy start 0
                 disk ocf:pacemaker:Dummy monitor=10000 7
                 data ocf:pacemaker:Stateful promote 0",
            ),
            ("b", "disk ocf:pacemaker:Dummy monitor 7\n data ocf:pacemaker:Stateful start 0"),
        ],
        attributes: vec![("a", "master-data", "10")],
        ..Cluster::default()
    }
}

#[test]
fn what_is_restarted_for_something_else_is_promoted_again_in_the_same_plan() {
    check(
        &failed_disk(),
        expect![[r#"
        Recover disk a -> - Started
        Restart data:0 a -> a Promoted
        Restart data:1 b -> b Unpromoted
        data_demote_0@a after db_demote_0
        data_promote_0@a after data_demote_0@a, data_start_0@a, db_promote_0
        data_start_0@a after data_stop_0@a, db_start_0
        data_start_0@b after data_stop_0@b, db_start_0
        data_stop_0@a after data_demote_0@a, db_stop_0
        data_stop_0@b after db_stop_0
        db_demote_0
        db_demoted_0 after data_demote_0@a, db_demote_0
        db_promote_0 after db_demoted_0, db_running_0, db_stopped_0
        db_promoted_0 after data_promote_0@a
        db_running_0 after data_start_0@a, data_start_0@b, db_start_0
        db_start_0 after db_demoted_0, db_stopped_0, disk_start_0@a
        db_stop_0 after db_demoted_0
        db_stopped_0 after data_stop_0@a, data_stop_0@b, db_stop_0
        disk_monitor_10000@a after disk_stop_0@a
        disk_start_0@a after disk_stop_0@a
        disk_stop_0@a after db_stopped_0
    "#]],
    );
}

#[test]
fn blocks_of_a_resource_refer_only_to_blocks_of_the_same_resource() {
    let cluster = Cluster {
        resources: r#"
            <primitive id="one" class="ocf" provider="pacemaker" type="Dummy">
              <meta_attributes id="stopped"><nvpair id="n1" name="target-role" value="Stopped"/></meta_attributes>
            </primitive>
            <primitive id="two" class="ocf" provider="pacemaker" type="Dummy">
              <meta_attributes id-ref="stopped"/>
            </primitive>"#,
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Start two - -> a Started
        two_start_0@a
    "#]],
    );
    let problems = cluster.plan().problems;
    assert!(problems.iter().any(|problem| problem.id == "stopped"), "{problems:?}");
}

#[test]
fn an_instance_stops_after_the_one_on_its_node_also_where_that_is_notified() {
    let clone = |id: &str, child: &str, meta: &str| {
        format!(
            "<clone id='{id}'><meta_attributes id='{id}-m'>{meta}</meta_attributes>\
             <primitive id='{child}' class='ocf' provider='pacemaker' type='Dummy'/></clone>"
        )
    };
    let upper = "<nvpair id='u1' name='notify' value='true'/><nvpair id='u2' name='interleave' value='true'/>\
                 <nvpair id='u3' name='target-role' value='Stopped'/>";
    let lower = "<nvpair id='l1' name='target-role' value='Stopped'/>";
    let resources = clone("upper", "top", upper) + &clone("lower", "base", lower);
    let history = "top ocf:pacemaker:Dummy start 0\n base ocf:pacemaker:Dummy start 0";
    let cluster = Cluster {
        resources: Box::leak(resources.into_boxed_str()),
        constraints: r#"<rsc_order id="base-then-top" first="lower" then="upper"/>"#,
        histories: vec![("a", history), ("b", history)],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Stop top:0 a -> - Stopped
        Stop top:1 b -> - Stopped
        Stop base:0 a -> - Stopped
        Stop base:1 b -> - Stopped
        base_stop_0@a after lower_stop_0, top_stop_0@a
        base_stop_0@b after lower_stop_0, top_stop_0@b
        lower_stop_0 after upper_confirmed-post_notify_stopped_0
        lower_stopped_0 after base_stop_0@a, base_stop_0@b, lower_stop_0
        top_pre_notify_stop_0@a after upper_pre_notify_stop_0
        top_pre_notify_stop_0@b after upper_pre_notify_stop_0
        top_stop_0@a after upper_stop_0
        top_stop_0@b after upper_stop_0
        upper_confirmed-post_notify_stopped_0 after upper_post_notify_stopped_0
        upper_confirmed-pre_notify_stop_0 after top_pre_notify_stop_0@a, top_pre_notify_stop_0@b, upper_pre_notify_stop_0
        upper_post_notify_stopped_0 after upper_confirmed-pre_notify_stop_0, upper_stopped_0
        upper_pre_notify_stop_0
        upper_stop_0 after upper_confirmed-pre_notify_stop_0
        upper_stopped_0 after top_stop_0@a, top_stop_0@b, upper_stop_0
    "#]],
    );
}

#[test]
fn what_is_with_a_promoted_instance_that_is_not_managed_stays_with_it() {
    let cluster = Cluster {
        options: r#"<nvpair id="mm" name="maintenance-mode" value="true"/>"#,
        resources: r#"
            <clone id="db">
              <meta_attributes id="db-m"><nvpair id="db-p" name="promotable" value="true"/></meta_attributes>
              <primitive id="data" class="ocf" provider="pacemaker" type="Stateful"/>
            </clone>
            <primitive id="address" class="ocf" provider="pacemaker" type="Dummy"/>"#,
        constraints: r#"
            <rsc_location id="not-on-a" rsc="db" node="a" score="-INFINITY"/>
            <rsc_colocation id="with" rsc="address" with-rsc="db" with-rsc-role="Promoted" score="INFINITY"/>"#,
        histories: vec![
            ("a", "data ocf:pacemaker:Stateful promote 0\n address ocf:pacemaker:Dummy start 0"),
            ("b", "data ocf:pacemaker:Stateful start 0\n address ocf:pacemaker:Dummy monitor 7"),
        ],
        ..Cluster::default()
    };
    let plan = cluster.plan();
    let address = plan.model.resource_with_id("address").expect("it is configured");
    let place = plan.model.resource(address).assigned_to.map(|node| plan.model.node(node).name.clone());
    assert_eq!(place.as_deref(), Some("a"));
}

#[test]
fn a_start_on_its_way_counts_although_an_earlier_one_failed_in_the_same_second() {
    check(
        &Cluster {
            resources: r#"<primitive id="web" class="ocf" provider="pacemaker" type="Dummy"/>"#,
            constraints: r#"<rsc_location id="l" rsc="web" node="b" score="200"/>"#,
            options: r#"<nvpair id="f" name="start-failure-is-fatal" value="false"/>"#,
            histories: vec![(
                "a",
                "web ocf:pacemaker:Dummy start 1
                 web ocf:pacemaker:Dummy stop 0
                 web ocf:pacemaker:Dummy start pending",
            )],
            ..Cluster::default()
        },
        expect![[r#"
            Move web a -> b Started
            web_start_0@b after web_stop_0@a
            web_stop_0@a
        "#]],
    );
}

#[test]
fn a_resource_does_not_wait_for_itself() {
    check(
        &Cluster {
            resources: r#"<primitive id="web" class="ocf" provider="pacemaker" type="Dummy"/>"#,
            constraints: r#"<rsc_order id="o" first="web" then="web"/>"#,
            histories: vec![("a", "web ocf:pacemaker:Dummy start 0"), ("b", "web ocf:pacemaker:Dummy start 0")],
            ..Cluster::default()
        },
        expect![[r#"
            Restart web a -> a Started
            web_start_0@a after web_stop_0@a, web_stop_0@b
            web_stop_0@a
            web_stop_0@b
        "#]],
    );
}

#[test]
fn what_has_no_partner_any_more_is_demoted_and_stopped() {
    let cluster = Cluster {
        resources: r#"
            <clone id="base">
              <meta_attributes id="base-m"><nvpair id="base-1" name="promotable" value="true"/>
                <nvpair id="base-2" name="clone-max" value="1"/></meta_attributes>
              <primitive id="one" class="ocf" provider="pacemaker" type="Stateful"/>
            </clone>
            <clone id="above">
              <meta_attributes id="above-m"><nvpair id="above-1" name="promotable" value="true"/>
                <nvpair id="above-2" name="interleave" value="true"/></meta_attributes>
              <primitive id="two" class="ocf" provider="pacemaker" type="Stateful">
                <operations><op id="two-p" name="monitor" interval="11s" role="Promoted"/></operations>
              </primitive>
            </clone>"#,
        constraints: r#"<rsc_order id="o" first="base" then="above"/>"#,
        histories: vec![
            (
                "a",
                "one ocf:pacemaker:Stateful promote 0
                 two ocf:pacemaker:Stateful monitor=11000 0\n two ocf:pacemaker:Stateful promote 0",
            ),
            (
                "b",
                "one ocf:pacemaker:Stateful start 0
                 two ocf:pacemaker:Stateful monitor=11000 0\n two ocf:pacemaker:Stateful promote 0",
            ),
        ],
        attributes: vec![
            ("a", "master-one", "10"),
            ("b", "master-one", "9"),
            ("a", "master-two", "10"),
            ("b", "master-two", "9"),
        ],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Stop one:1 b -> - Stopped
        Stop two:1 b -> - Stopped
        above_demote_0
        above_demoted_0 after above_demote_0, two_demote_0@b
        above_running_0 after above_start_0
        above_start_0 after above_demoted_0, above_stopped_0
        above_stop_0 after above_demoted_0
        above_stopped_0 after above_stop_0, two_stop_0@b
        base_stop_0 after above_stopped_0
        base_stopped_0 after base_stop_0, one_stop_0@b
        one_stop_0@b after base_stop_0, two_stop_0@b
        two_demote_0@b after above_demote_0
        two_stop_0@b after above_stop_0, two_demote_0@b
    "#]],
    );
}

#[test]
fn nothing_is_promoted_before_all_nodes_were_asked_for_promoted_copies() {
    let cluster = Cluster {
        resources: r#"
            <clone id="db">
              <meta_attributes id="db-m"><nvpair id="db-p" name="promotable" value="true"/></meta_attributes>
              <primitive id="data" class="ocf" provider="pacemaker" type="Stateful"/>
            </clone>"#,
        histories: vec![("b", "data ocf:pacemaker:Stateful start 0")],
        attributes: vec![("b", "master-data", "10")],
        ..Cluster::default()
    };
    let synapses = cluster.plan().transition.synapses;
    let waits_for = |key: &str| -> Vec<u32> {
        let of = synapses.iter().filter(|synapse| synapse.action.key == key);
        of.flat_map(|synapse| synapse.inputs.iter().copied()).collect()
    };
    let probe = synapses.iter().find(|synapse| synapse.action.key == "data:1_monitor_0").map(|probe| probe.action.id);
    assert!(waits_for("data_promote_0").iter().any(|input| {
        synapses.iter().any(|synapse| synapse.action.id == *input && synapse.action.key == "db_promote_0")
    }));
    assert!(waits_for("db_promote_0").contains(&probe.expect("the other node is asked")));
}

#[test]
fn what_a_group_needs_stays_while_a_part_of_the_group_cannot_be_stopped() {
    let cluster = Cluster {
        options: r#"<nvpair id="no-fencing" name="fencing-enabled" value="false"/>"#,
        resources: r#"
            <primitive id="disk" class="ocf" provider="pacemaker" type="Dummy"/>
            <group id="web">
              <primitive id="server" class="ocf" provider="pacemaker" type="Dummy"/>
              <primitive id="page" class="ocf" provider="pacemaker" type="Dummy"/>
            </group>"#,
        constraints: r#"<rsc_order id="o" first="disk" then="web"/>"#,
        histories: vec![
            (
                "a",
                "disk ocf:pacemaker:Dummy start 0\n server ocf:pacemaker:Dummy stop 1\n page ocf:pacemaker:Dummy stop 0",
            ),
            (
                "b",
                "disk ocf:pacemaker:Dummy start 0\n server ocf:pacemaker:Dummy stop 1\n page ocf:pacemaker:Dummy stop 0",
            ),
        ],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Stop disk a -> - Started (blocked)
        Start page - -> a Started (blocked)
    "#]],
    );
}

/// A disk, and a group that needs it, of which one part runs on the node that was lost along with quorum.
fn without_quorum(policy: &'static str) -> Cluster {
    Cluster {
        options: policy,
        without_quorum: true,
        resources: r#"
            <clone id="disks"><primitive id="disk" class="ocf" provider="pacemaker" type="Dummy"/></clone>
            <group id="web">
              <primitive id="server" class="ocf" provider="pacemaker" type="Dummy"/>
              <primitive id="page" class="ocf" provider="pacemaker" type="Dummy"/>
            </group>
            <primitive id="log" class="ocf" provider="pacemaker" type="Dummy"/>"#,
        constraints: r#"<rsc_order id="o" first="disks" then="web"/><rsc_order id="p" first="disks" then="log"/>"#,
        histories: vec![
            ("a", "disk ocf:pacemaker:Dummy start 0\n log ocf:pacemaker:Dummy start 0"),
            (
                "b",
                "disk ocf:pacemaker:Dummy start 0\n server ocf:pacemaker:Dummy start 0\n page ocf:pacemaker:Dummy start 0",
            ),
        ],
        lost: vec!["b"],
        ..Cluster::default()
    }
}

#[test]
fn a_side_without_quorum_stops_without_waiting_for_what_may_run_on_the_other() {
    check(
        &without_quorum(""),
        expect![[r#"
        Stop disk:0 a -> - Started
        Stop disk:1 b -> - Stopped (blocked)
        Stop server b -> - Started (blocked)
        Stop page b -> - Started (blocked)
        Stop log a -> - Started
        disk_stop_0@a after disks_stop_0
        disks_stop_0 after log_stop_0@a, web_stopped_0
        disks_stopped_0 after disk_stop_0@a, disks_stop_0
        log_stop_0@a
        web_stop_0
        web_stopped_0 after web_stop_0
    "#]],
    );
}

#[test]
fn a_side_that_goes_on_without_quorum_takes_nothing_from_what_may_run_on_the_other() {
    check(
        &without_quorum(
            r#"<nvpair id="policy" name="no-quorum-policy" value="freeze"/><nvpair id="all" name="stop-all-resources" value="true"/>"#,
        ),
        expect![[r#"
            Stop disk:0 a -> - Stopped
            Stop disk:1 b -> - Stopped (blocked)
            Stop server b -> - Stopped (blocked)
            Stop page b -> - Stopped (blocked)
            Stop log a -> - Stopped
            disk_stop_0@a after disks_stop_0
            disks_stop_0 after log_stop_0@a, what never comes
            disks_stopped_0 after disk_stop_0@a, disks_stop_0
            log_stop_0@a
            web_stop_0
        "#]],
    );
}

/// The members of a group are on a node that this side cannot reach, and has no quorum to fence: there is nothing to do, also
/// not for the points before and after them.
#[test]
fn a_plan_of_points_alone_is_empty() {
    let cluster = Cluster {
        resources: r#"<group id="g"><primitive id="one" class="ocf" provider="pacemaker" type="Dummy"/></group>"#,
        options: "<nvpair id='o-p' name='enable-startup-probes' value='false'/>",
        histories: vec![("b", "one ocf:pacemaker:Dummy start 0")],
        lost: vec!["b"],
        without_quorum: true,
        ..Cluster::default()
    };
    let plan = cluster.plan();
    let steps: Vec<&str> = plan.transition.synapses.iter().map(|synapse| synapse.action.key.as_str()).collect();
    assert!(steps.is_empty(), "{steps:?}");
}

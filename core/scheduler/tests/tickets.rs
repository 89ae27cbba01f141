//! What depends on a ticket, and how it stands: the words by which a site knows whether it can hold it, and has stopped.

mod common;

use common::Cluster;
use expect_test::{Expect, expect};

const WEB: &str = r#"
    <group id="web">
      <primitive id="ip" class="ocf" provider="pacemaker" type="Dummy"/>
      <primitive id="httpd" class="ocf" provider="pacemaker" type="Dummy"/>
    </group>"#;
const DATABASE: &str = r#"
    <clone id="db">
      <meta_attributes id="db-m"><nvpair id="db-p" name="promotable" value="true"/></meta_attributes>
      <primitive id="data" class="ocf" provider="pacemaker" type="Stateful"/>
    </clone>"#;
const NEEDS: &str = r#"<rsc_ticket id="web-T" rsc="web" ticket="T" loss-policy="stop"/>"#;
const PROMOTION_NEEDS: &str = r#"<rsc_ticket id="db-T" rsc="db" rsc-role="Promoted" ticket="T"/>"#;
const GRANTED: &str = r#"<ticket_state id="T" granted="true"/>"#;

fn check(cluster: &Cluster, expected: Expect) {
    let uses = cluster.plan().transition.tickets;
    let line = |(name, of): (&String, &hakudo_scheduler::TicketUse)| {
        format!("{name}: active {}, started {}, able {:?}\n", of.active, of.started, of.able)
    };
    expected.assert_eq(&uses.iter().map(line).collect::<String>());
}

#[test]
fn a_site_can_where_all_of_a_group_can() {
    let mut cluster = Cluster { resources: WEB, constraints: NEEDS, ..Cluster::default() };
    check(
        &cluster,
        expect![[r#"
        T: active false, started false, able Err("web cannot run on any node here")
    "#]],
    );
    cluster.tickets = GRANTED;
    check(
        &cluster,
        expect![[r#"
        T: active false, started false, able Ok(())
    "#]],
    );
    cluster.standby = vec!["a", "b"];
    check(
        &cluster,
        expect![[r#"
        T: active false, started false, able Err("web cannot run on any node here")
    "#]],
    );
}

#[test]
fn a_part_that_runs_is_not_stopped_yet() {
    let mut cluster = Cluster {
        resources: WEB,
        constraints: NEEDS,
        histories: vec![("a", "ip ocf:pacemaker:Dummy start 0\n httpd ocf:pacemaker:Dummy stop 0")],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        T: active true, started false, able Err("web cannot run on any node here")
    "#]],
    );
    cluster.tickets = GRANTED;
    check(
        &cluster,
        expect![[r#"
        T: active true, started false, able Ok(())
    "#]],
    );
    cluster.histories = vec![("a", "ip ocf:pacemaker:Dummy start 0\n httpd ocf:pacemaker:Dummy start 0")];
    check(
        &cluster,
        expect![[r#"
        T: active true, started true, able Ok(())
    "#]],
    );
}

#[test]
fn only_promotion_counts_where_only_promotion_needs_the_ticket() {
    let mut cluster = Cluster {
        resources: DATABASE,
        constraints: PROMOTION_NEEDS,
        histories: vec![("a", "data ocf:pacemaker:Stateful start 0"), ("b", "data ocf:pacemaker:Stateful start 0")],
        attributes: vec![("a", "master-data", "10")],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        T: active false, started false, able Err("db cannot be promoted on any node here")
    "#]],
    );
    cluster.tickets = GRANTED;
    check(
        &cluster,
        expect![[r#"
        T: active false, started false, able Ok(())
    "#]],
    );
    cluster.histories[0].1 = "data ocf:pacemaker:Stateful promote 0";
    check(
        &cluster,
        expect![[r#"
        T: active true, started true, able Ok(())
    "#]],
    );
    cluster.attributes = vec![];
    cluster.histories[0].1 = "data ocf:pacemaker:Stateful start 0";
    check(
        &cluster,
        expect![[r#"
        T: active false, started false, able Err("db cannot be promoted on any node here")
    "#]],
    );
}

#[test]
fn what_somebody_stopped_is_no_reason_to_go_elsewhere() {
    let stopped = r#"<primitive id="web" class="ocf" provider="pacemaker" type="Dummy">
        <meta_attributes id="m"><nvpair id="m-r" name="target-role" value="Stopped"/></meta_attributes></primitive>"#;
    check(
        &Cluster { resources: stopped, constraints: NEEDS, tickets: GRANTED, ..Cluster::default() },
        expect![[r#"
        T: active false, started true, able Ok(())
    "#]],
    );
}

/// The stops that each node would do by itself when the lease ends.
fn check_guards(cluster: &Cluster, expected: Expect) {
    let mut text = String::new();
    for guard in cluster.plan().transition.guards {
        let fence = if guard.fence { ", nodes are fenced" } else { "" };
        text.push_str(&format!("{}{fence}:\n", guard.ticket));
        for (place, step) in guard.steps.iter().enumerate() {
            let node = step.action.performer().map_or("", |node| &node.name);
            text.push_str(&format!("  {place} {} on {node} after {:?}\n", step.action.key, step.after));
        }
    }
    expected.assert_eq(&text);
}

const LEASED: &str =
    r#"<ticket_state id="T" granted="true" owner="a"/><ticket_state id="U" granted="true" owner="a"/>"#;
const PLAIN: &str = r#"<primitive id="x" class="ocf" provider="pacemaker" type="Dummy"/>"#;

#[test]
fn what_will_run_is_guarded_before_it_starts() {
    let mut cluster = Cluster { resources: WEB, constraints: NEEDS, tickets: LEASED, ..Cluster::default() };
    check_guards(
        &cluster,
        expect![[r#"
        T:
          0 httpd_stop_0 on a after []
          1 ip_stop_0 on a after [0]
    "#]],
    );
    // It moves away from b: both places are guarded.
    cluster.standby = vec!["b"];
    cluster.histories = vec![("b", "ip ocf:pacemaker:Dummy start 0\n httpd ocf:pacemaker:Dummy start 0")];
    check_guards(
        &cluster,
        expect![[r#"
        T:
          0 httpd_stop_0 on a after []
          1 ip_stop_0 on a after [0]
          2 httpd_stop_0 on b after []
          3 ip_stop_0 on b after [2]
    "#]],
    );
    // By hand: its lease has no end.
    cluster.tickets = GRANTED;
    check_guards(&cluster, expect![""]);
}

#[test]
fn what_could_not_be_stopped_is_guarded_too() {
    let failed = "x ocf:pacemaker:Dummy start 0\n x ocf:pacemaker:Dummy stop 1";
    let mut cluster = Cluster {
        resources: PLAIN,
        constraints: r#"<rsc_ticket id="x-T" rsc="x" ticket="T" loss-policy="stop"/>"#,
        tickets: LEASED,
        histories: vec![("a", failed)],
        standby: vec!["b"],
        ..Cluster::default()
    };
    // Its node will be fenced, if that works.
    check_guards(
        &cluster,
        expect![[r#"
        T:
          0 x_stop_0 on a after []
    "#]],
    );
    // Nobody fences: it is blocked, and stays where it is.
    cluster.options = "<nvpair id='f' name='fencing-enabled' value='false'/>";
    check_guards(
        &cluster,
        expect![[r#"
        T:
          0 x_stop_0 on a after []
    "#]],
    );
}

#[test]
fn what_depends_on_it_goes_before_it() {
    let resources = r#"<primitive id="db" class="ocf" provider="pacemaker" type="Dummy"/>
        <primitive id="app" class="ocf" provider="pacemaker" type="Dummy"/>
        <primitive id="other" class="ocf" provider="pacemaker" type="Dummy"/>"#;
    let constraints = r#"<rsc_ticket id="db-T" rsc="db" ticket="T" loss-policy="fence"/>
        <rsc_ticket id="other-U" rsc="other" ticket="U" loss-policy="freeze"/>
        <rsc_colocation id="with" rsc="app" with-rsc="db" score="INFINITY"/>
        <rsc_order id="first" first="db" then="app"/>"#;
    let running =
        "db ocf:pacemaker:Dummy start 0\n app ocf:pacemaker:Dummy start 0\n other ocf:pacemaker:Dummy start 0";
    let histories = vec![("a", running)];
    check_guards(
        &Cluster { resources, constraints, histories, tickets: LEASED, ..Cluster::default() },
        expect![[r#"
        T, nodes are fenced:
          0 app_stop_0 on a after []
          1 db_stop_0 on a after [0]
        U:
    "#]],
    );
}

#[test]
fn only_the_promoted_role_is_given_up_where_only_that_needs_the_ticket() {
    let histories = vec![
        ("a", "data ocf:pacemaker:Stateful start 0\n data ocf:pacemaker:Stateful promote 0"),
        ("b", "data ocf:pacemaker:Stateful start 0"),
    ];
    let attributes = vec![("a", "master-data", "10")];
    check_guards(
        &Cluster {
            resources: DATABASE,
            constraints: PROMOTION_NEEDS,
            histories,
            attributes,
            tickets: LEASED,
            ..Cluster::default()
        },
        expect![[r#"
        T:
          0 data_demote_0 on a after []
    "#]],
    );
    check_guards(&Cluster { resources: PLAIN, tickets: LEASED, ..Cluster::default() }, expect![""]);
}

#[test]
fn a_constraint_that_is_wrong_says_nothing_good() {
    let constraints = r#"<rsc_ticket id="web-T" rsc="web" ticket="T" loss-policy="stop"/>
        <rsc_ticket id="wrong-T" rsc="nonsense" ticket="T"/>
        <rsc_ticket id="wrong-U" rsc="web" rsc-role="nonsense" ticket="U"/>"#;
    let cluster = Cluster { resources: WEB, constraints, tickets: GRANTED, ..Cluster::default() };
    check(
        &cluster,
        expect![[r#"
        T: active true, started false, able Err("the constraint wrong-T is wrong and ignored")
        U: active true, started false, able Err("the constraint wrong-U is wrong and ignored")
    "#]],
    );
}

#[test]
fn what_a_loss_does_not_stop_is_named() {
    let runs = "ip ocf:pacemaker:Dummy start 0\n httpd ocf:pacemaker:Dummy start 0";
    let stays = |cluster: &Cluster| cluster.plan().transition.tickets["T"].stays.clone();
    let mut cluster =
        Cluster { resources: WEB, constraints: NEEDS, histories: vec![("a", runs)], ..Cluster::default() };
    assert_eq!(stays(&cluster), None);
    let unmanaged = r#"
    <group id="web">
      <primitive id="ip" class="ocf" provider="pacemaker" type="Dummy"/>
      <primitive id="httpd" class="ocf" provider="pacemaker" type="Dummy">
        <meta_attributes id="m"><nvpair id="m-m" name="is-managed" value="false"/></meta_attributes>
      </primitive>
    </group>"#;
    cluster.resources = unmanaged;
    assert_eq!(stays(&cluster).as_deref(), Some("httpd is not managed"));
    cluster.histories = vec![("a", "ip ocf:pacemaker:Dummy start 0\n httpd ocf:pacemaker:Dummy stop 0")];
    assert_eq!(stays(&cluster), None, "it does not run");
    (cluster.resources, cluster.histories) = (WEB, vec![("a", runs)]);
    cluster.constraints = r#"<rsc_ticket id="web-T" rsc="web" ticket="T" loss-policy="freeze"/>"#;
    assert_eq!(stays(&cluster).as_deref(), Some("ip is not managed"));
    cluster.tickets = GRANTED;
    assert_eq!(stays(&cluster), None, "as long as it is granted nothing is frozen");
}

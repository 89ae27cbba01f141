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

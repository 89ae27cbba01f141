//! Constraints over sets of resources that name something odd.

mod common;

use common::{Cluster, check};
use expect_test::expect;

const TWO: &str = r#"
    <primitive id="one" class="ocf" provider="pacemaker" type="Dummy"/>
    <primitive id="two" class="ocf" provider="pacemaker" type="Dummy"/>"#;

#[test]
fn a_location_means_the_members_before_one_that_does_not_exist() {
    let cluster = Cluster {
        resources: TWO,
        constraints: r#"
            <rsc_location id="away" node="a" score="-INFINITY">
              <resource_set id="set">
                <resource_ref id="one"/><resource_ref id="none"/><resource_ref id="two"/>
              </resource_set>
            </rsc_location>
            <rsc_location id="here" rsc="two" node="a" score="100"/>"#,
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Start one - -> b Started
        Start two - -> a Started
        one_start_0@b
        two_start_0@a
    "#]],
    );
}

#[test]
fn a_ticket_is_needed_by_the_members_before_one_that_does_not_exist() {
    let cluster = Cluster {
        resources: TWO,
        constraints: r#"
            <rsc_ticket id="needs" ticket="T">
              <resource_set id="set">
                <resource_ref id="one"/><resource_ref id="none"/><resource_ref id="two"/>
              </resource_set>
            </rsc_ticket>"#,
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Start two - -> a Started
        two_start_0@a
    "#]],
    );
}

/// A clone named by what is in it is not known by that name where Pacemaker looks for the end of "all before it".
#[test]
fn a_clone_that_is_named_by_what_is_in_it_is_apart_from_the_whole_set() {
    let cluster = Cluster {
        resources: r#"
            <clone id="many"><primitive id="in" class="ocf" provider="pacemaker" type="Dummy"/></clone>
            <primitive id="two" class="ocf" provider="pacemaker" type="Dummy"/>"#,
        constraints: r#"
            <rsc_colocation id="apart" score="-INFINITY">
              <resource_set id="set"><resource_ref id="in"/><resource_ref id="two"/></resource_set>
            </rsc_colocation>"#,
        histories: vec![("a", "in ocf:pacemaker:Dummy start 0"), ("b", "in ocf:pacemaker:Dummy start 0")],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Stop in:0 a -> - Stopped
        Start two - -> a Started
        in_stop_0@a after many_stop_0
        many_stop_0
        many_stopped_0 after in_stop_0@a, many_stop_0
        two_start_0@a after many_stopped_0
    "#]],
    );
}

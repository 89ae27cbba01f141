//! Scripts: what a few controllers do when this and that happens, to be read aloud.

mod cluster;

use cluster::{Cluster, add};
use expect_test::{Expect, expect};

fn check(cluster: &mut Cluster, expected: Expect) {
    cluster.same_document();
    expected.assert_eq(&cluster.take_log());
}

#[test]
fn a_cluster_forms_and_a_resource_starts() {
    let mut cluster = Cluster::new(3);
    cluster.ask(1, add("A"));
    cluster.view(&[1, 2, 3]);
    check(
        &mut cluster,
        expect![[r#"
        n1 answers client 1: refused: this node is not part of a cluster yet: wait until it has joined
        [view] view 1 of n1, n2, n3 is quorate
        [settled] nothing is left to be done
    "#]],
    );
    cluster.plans(&["1 start A n2\n2 monitor/10000 A n2 after 1"]);
    cluster.ask(2, add("A"));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [config] root on n2 changed the configuration to version 0.1.0
        [config] hakudo on n1 changed the configuration to version 0.2.0
        [plan] n1 made plan 2 of 2 actions
        [action-start] A start on n2 begins
        n2 answers client 2: done
        n2 runs A start n2: 0
        [action-done] A start on n2 is done
        [settled] nothing is left to be done
    "#]],
    );
}

//! Whatever happens in whatever order, members of a view hold the same document; and what is no message changes nothing.

use super::cluster::{Cluster, add, graph};
use crate::core_types::Input;
use crate::request::{Change, ChangeOperation, Request};
use hakudo_base::NodeId;
use hakudo_membership::Delivered;
use proptest::prelude::*;
use std::time::Duration;

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Add(u32, u8),
    Remove(u32, u8, bool),
    Attribute(u32, u32, Option<u8>),
    Cleanup(u32, bool),
    Nudge,
    View(Vec<u32>),
    ExecutorCrash(u32),
    Restart(u32, bool),
    Fails(u8, u32),
    Deliver(u8),
    Pass(u16),
    Disk(u32, bool),
}

fn node() -> impl Strategy<Value = u32> {
    1..=4u32
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{Add, Attribute, Cleanup, Deliver, Disk, ExecutorCrash, Fails, Nudge, Pass, Remove, Restart, View};
    prop_oneof![
        (node(), 0..4u8).prop_map(|(n, r)| Add(n, r)),
        (node(), 0..4u8, any::<bool>()).prop_map(|(n, r, force)| Remove(n, r, force)),
        (node(), node(), any::<Option<u8>>()).prop_map(|(n, of, value)| Attribute(n, of, value)),
        (node(), any::<bool>()).prop_map(|(n, refresh)| Cleanup(n, refresh)),
        Just(Nudge),
        proptest::collection::btree_set(node(), 1..=4).prop_map(|members| View(members.into_iter().collect())),
        node().prop_map(ExecutorCrash),
        (node(), any::<bool>()).prop_map(|(n, keep)| Restart(n, keep)),
        (0..4u8, node()).prop_map(|(r, n)| Fails(r, n)),
        (1..6u8).prop_map(Deliver),
        (1..2000u16).prop_map(Pass),
        (node(), any::<bool>()).prop_map(|(n, refuses)| Disk(n, refuses)),
    ]
}

fn happens(cluster: &mut Cluster, happening: &Happening) {
    let resource = |number: u8| format!("R{number}");
    match happening {
        Happening::Add(node, number) => cluster.ask(*node, add(&resource(*number))),
        Happening::Remove(node, number, force) => {
            let xpath = format!("//primitive[@id='{}']", resource(*number));
            let operations = vec![ChangeOperation::Delete { xpath, or_nothing: false }];
            cluster.ask(*node, Request::Change(Change { operations, if_version: None, force: *force }));
        }
        Happening::Attribute(node, of, value) => {
            let value = value.map(|value| value.to_string());
            cluster.ask(*node, Request::SetAttribute { node: format!("n{of}"), name: "x".to_owned(), value });
        }
        Happening::Cleanup(node, refresh) => {
            cluster.ask(*node, Request::Cleanup { resource: None, node: None, refresh: *refresh });
        }
        Happening::Nudge => cluster.nudge(),
        Happening::View(members) => cluster.view_as(members, &[], members.len() > 2, true),
        Happening::ExecutorCrash(node) => cluster.executor_crash(*node),
        Happening::Restart(node, keep) => cluster.restart(*node, *keep),
        Happening::Fails(number, node) => {
            let key = format!("R{number} start n{node}");
            if cluster.exit_codes.remove(&key).is_none() {
                cluster.exit_codes.insert(key, 1);
            }
        }
        Happening::Deliver(count) => {
            for _ in 0..*count {
                cluster.deliver_one();
            }
        }
        Happening::Pass(milliseconds) => cluster.pass(Duration::from_millis(u64::from(*milliseconds))),
        Happening::Disk(node, refuses) => {
            let reason = refuses.then(|| "no space left on device".to_owned());
            if let Some(machine) = cluster.machines.get_mut(node) {
                machine.disk_refuses = reason;
            }
        }
    }
}

/// Starts and stops resources on one node after the other: not a wise plan, but a plan, and an empty one in between.
fn restless(cluster: &mut Cluster) {
    let mut asked = 0u32;
    cluster.planner = Some(Box::new(move |_| {
        asked += 1;
        let (resource, node) = (asked % 4, asked % 3 + 1);
        Ok(match asked % 3 {
            0 => graph(&format!("1 start R{resource} n{node}\n2 monitor/10000 R{resource} n{node} after 1")),
            1 => graph(&format!("1 stop R{resource} n{node}\n2 start R{resource} n2 after 1\n3 start R0 n1")),
            _ => graph(""),
        })
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn members_of_a_view_hold_the_same(happenings in proptest::collection::vec(happening(), 1..40)) {
        let mut cluster = Cluster::settled(4);
        restless(&mut cluster);
        for one in &happenings {
            happens(&mut cluster, one);
            // With messages still on their way, members may be at different places of the same order.
            if !matches!(one, Happening::Deliver(_) | Happening::View(_)) {
                cluster.run();
                cluster.same_document();
            }
        }
        cluster.view(&[1, 2, 3, 4]);
        cluster.same_document();
        for machine in cluster.machines.values() {
            prop_assert!(machine.controller.cluster_state().ready);
        }
    }

    #[test]
    fn what_is_no_message_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), from in 0..9u32) {
        let mut cluster = Cluster::settled(2);
        let before = cluster.same_document();
        cluster.input(1, Input::Deliver(Delivered { from: NodeId(from), payload: bytes }));
        cluster.run();
        prop_assert_eq!(before, cluster.same_document());
        prop_assert_eq!(cluster.take_log(), "");
    }
}

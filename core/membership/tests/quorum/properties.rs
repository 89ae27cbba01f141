//! What holds for every option, every vote and every history.

use crate::cluster::{Cluster, Step};
use hakudo_base::NodeId;
use hakudo_membership::quorum::{Options, TieBreaker};
use proptest::prelude::*;
use std::time::Duration;

fn tie_breaker() -> impl Strategy<Value = Option<TieBreaker>> {
    prop_oneof![
        3 => Just(None),
        2 => Just(Some(TieBreaker::Lowest)),
        1 => Just(Some(TieBreaker::Highest)),
        1 => proptest::collection::vec((1..9_u32).prop_map(NodeId), 1..4).prop_map(|list| Some(TieBreaker::List(list))),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let flag = any::<bool>;
    (proptest::option::weighted(0.2, 1..9_u32), flag(), any::<Option<bool>>(), tie_breaker(), flag(), flag(), flag())
        .prop_map(|(expected_votes, two_node, wait_for_all, auto_tie_breaker, last_man_standing, downscale, track)| {
            Options {
                expected_votes,
                two_node,
                wait_for_all,
                auto_tie_breaker,
                last_man_standing,
                last_man_standing_window: Duration::from_millis(100),
                allow_downscale: downscale,
                expected_votes_tracking: track,
                device: None,
            }
        })
}

fn votes() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        3 => (1..9_usize).prop_map(|n| vec![1; n]),
        1 => proptest::collection::vec(0..4_u32, 1..9),
    ]
}

/// Operators' overrides are left out: they may break what the rule promises, that is what they are for.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..9_u32, 0..4_u32).prop_map(|(node, partition)| Step::Up(node, partition)),
        2 => (1..9_u32).prop_map(Step::Down),
        1 => (1..9_u32).prop_map(Step::Leave),
        3 => proptest::collection::vec((1..9_u32, 0..4_u32), 1..5).prop_map(Step::Move),
        2 => (0..4_u32, 0..4_u32).prop_map(|(into, from)| Step::Join(into, from)),
        1 => (50..150_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn sides_agree_within_and_exclude_each_other(
        options in options(),
        votes in votes(),
        start_together in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..25),
    ) {
        let made = if start_together { Cluster::started(options, &votes) } else { Cluster::new(options, &votes) };
        let Ok(mut cluster) = made else { return Ok(()) };
        for step in &steps {
            if let Step::Up(node, _) = step
                && (cluster.decisions().contains_key(node) || *node as usize > votes.len())
            {
                continue;
            }
            cluster.apply(step);
            let decisions = cluster.decisions();
            for (node, (partition, decision)) in &decisions {
                for (other, (elsewhere, theirs)) in &decisions {
                    if partition == elsewhere {
                        prop_assert_eq!(decision, theirs, "nodes {} and {} are of one view, after {:?}", node, other, step);
                    } else {
                        prop_assert!(
                            !(decision.exclusive && theirs.quorate),
                            "node {node} says exclusive, node {other} is quorate, after {step:?}:\n{cluster}"
                        );
                    }
                }
            }
            cluster.install_again();
            for (node, (_, decision)) in cluster.decisions() {
                prop_assert_eq!(&decisions[&node].1, &decision, "the same view again changed the answer of node {}", node);
            }
        }
    }
}

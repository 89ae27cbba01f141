//! What changes while the rule runs: options and nodes, and the window of `last_man_standing`.

use hakudo_base::{Instant, NodeId};
use hakudo_membership::quorum::{Options, Persisted, Quorum, Report};
use std::collections::BTreeMap;
use std::time::Duration;

/// Nodes 1… with their votes.
fn votes(votes: &[u32]) -> BTreeMap<NodeId, u32> {
    (1..).map(NodeId).zip(votes.iter().copied()).collect()
}

fn rule(options: &Options, nodes: &[u32]) -> Quorum {
    Quorum::new(options, NodeId(1), &votes(nodes), Persisted::default()).unwrap()
}

/// Nodes 1 to `count` are in a view, all of which know what node 1 knows.
fn view(quorum: &mut Quorum, now: Instant, count: u32) {
    let reports: BTreeMap<NodeId, Report> = (1..=count).map(|id| (NodeId(id), quorum.report())).collect();
    quorum.members_changed(now, &reports, &[]);
}

/// Quorate or not, votes present, expected and needed.
fn says(quorum: &Quorum) -> (bool, u32, u32, u32) {
    let decision = quorum.decision();
    (decision.quorate, decision.total_votes, decision.expected_votes, decision.needed)
}

#[test]
fn more_nodes_may_cost_quorum_and_fewer_never_give_it() {
    let mut quorum = rule(&Options::default(), &[1; 3]);
    view(&mut quorum, Instant::ZERO, 2);
    assert_eq!(says(&quorum), (true, 2, 3, 2));
    quorum.reconfigure(&Options::default(), NodeId(1), &votes(&[1; 5])).unwrap();
    assert_eq!(says(&quorum), (false, 2, 5, 3));
    // Two of three would be enough, but whether they may begin is for the next view to say.
    quorum.reconfigure(&Options::default(), NodeId(1), &votes(&[1; 3])).unwrap();
    assert!(!quorum.decision().quorate);
    view(&mut quorum, Instant::ZERO, 2);
    assert_eq!(says(&quorum), (true, 2, 3, 2));
}

#[test]
fn changed_votes_count_at_once() {
    let mut quorum = rule(&Options::default(), &[1; 3]);
    view(&mut quorum, Instant::ZERO, 2);
    let before = quorum.report();
    quorum.reconfigure(&Options::default(), NodeId(1), &votes(&[3, 1, 1])).unwrap();
    assert_eq!(says(&quorum), (true, 4, 5, 3));
    // The others hear of it with the next view.
    assert_ne!(quorum.report(), before);
}

#[test]
fn options_that_make_no_sense_change_nothing() {
    let mut quorum = rule(&Options::default(), &[1; 3]);
    view(&mut quorum, Instant::ZERO, 2);
    let before = (says(&quorum), quorum.report());
    assert!(quorum.reconfigure(&Options::default(), NodeId(1), &votes(&[])).is_err());
    assert!(quorum.reconfigure(&Options::default(), NodeId(1), &votes(&[u32::MAX, 7])).is_err());
    assert_eq!((says(&quorum), quorum.report()), before);
}

#[test]
fn the_window_begins_with_every_loss_and_ends_once() {
    let window = Duration::from_secs(10);
    let options = Options { last_man_standing: true, wait_for_all: Some(true), ..Options::default() };
    let at = |seconds: u64| Instant::from_millis(seconds * 1000);
    let mut quorum = rule(&options, &[1; 5]);
    view(&mut quorum, at(0), 5);
    assert_eq!((quorum.deadline(), says(&quorum)), (None, (true, 5, 5, 3)));
    view(&mut quorum, at(100), 4);
    assert_eq!(quorum.deadline(), Some(at(100) + window));
    view(&mut quorum, at(105), 3);
    assert_eq!(quorum.deadline(), Some(at(105) + window));
    assert!(!quorum.timer(at(110)), "it is not over");
    assert_eq!((quorum.deadline(), says(&quorum)), (Some(at(105) + window), (true, 3, 5, 3)));
    assert!(quorum.timer(at(115)));
    assert_eq!((quorum.deadline(), says(&quorum)), (None, (true, 3, 3, 2)));
    assert!(!quorum.timer(at(200)), "there is no window any more");
    assert_eq!(says(&quorum), (true, 3, 3, 2));
}

#[test]
fn a_window_ends_without_effect_where_quorum_is_lost_meanwhile() {
    let options = Options { last_man_standing: true, wait_for_all: Some(true), ..Options::default() };
    let mut quorum = rule(&options, &[1; 5]);
    view(&mut quorum, Instant::ZERO, 5);
    view(&mut quorum, Instant::from_millis(1), 4);
    view(&mut quorum, Instant::from_millis(2), 2);
    assert!(!quorum.decision().quorate);
    if let Some(deadline) = quorum.deadline() {
        assert!(!quorum.timer(deadline));
    }
    assert_eq!(quorum.decision().expected_votes, 5);
}

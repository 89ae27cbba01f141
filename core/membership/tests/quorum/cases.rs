//! Cases that can be read aloud: options, votes, and what happens; after each step, what each side says.

use crate::cluster::{Cluster, Step};
use expect_test::{Expect, expect};
use hakudo_base::NodeId;
use hakudo_membership::quorum::{DeviceOptions, Options, TieBreaker};
use std::fmt::Write;
use std::time::Duration;

/// Reads `up 3`, `down 1`, `leave 2`, `split 1:3,4`, `join 0 1`, `wait 5`, `expect 0 3`, `cancel 0`, `device yes 1`.
fn step(line: &str) -> Step {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<u32>().expect("a number");
    let place = |word: &str| match word.split_once(':') {
        Some((partition, nodes)) => (number(partition), nodes.split(',').map(number).collect::<Vec<_>>()),
        None => (0, word.split(',').map(number).collect()),
    };
    match words.as_slice() {
        ["up", node] => {
            let (partition, nodes) = place(node);
            Step::Up(nodes[0], partition)
        }
        ["down", node] => Step::Down(number(node)),
        ["leave", node] => Step::Leave(number(node)),
        ["split", places @ ..] => Step::Move(
            places.iter().map(|p| place(p)).flat_map(|(to, nodes)| nodes.into_iter().map(move |n| (n, to))).collect(),
        ),
        ["join", into, from] => Step::Join(number(into), number(from)),
        ["wait", seconds] => Step::Wait(u64::from(number(seconds)) * 1000),
        ["expect", partition, votes] => Step::Expect(number(partition), number(votes)),
        ["device", word @ ("yes" | "no"), node] => Step::Device(number(node), *word == "yes"),
        ["cancel", partition] => Step::Cancel(number(partition)),
        _ => panic!("what is {line:?}?"),
    }
}

fn check(options: Options, votes: &[u32], script: &[&str], expected: Expect) {
    expected.assert_eq(&play(options, votes, script));
}

fn play(options: Options, votes: &[u32], script: &[&str]) -> String {
    let mut cluster = match Cluster::started(options, votes) {
        Ok(cluster) => cluster,
        Err(error) => return format!("{error}\n"),
    };
    let mut text = format!("start\n{cluster}");
    for line in script {
        cluster.apply(&step(line));
        write!(text, "{line}\n{cluster}").expect("a string takes all");
    }
    text
}

#[test]
fn the_majority_goes_on() {
    check(
        Options::default(),
        &[1, 1, 1, 1, 1],
        &["split 1:4,5", "down 3", "join 0 1"],
        expect![[r#"
            start
              1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
            split 1:4,5
              1 2 3: quorate: 3 of 5 votes, 3 needed
              4 5: no quorum: 2 of 5 votes, 3 needed
            down 3
              1 2: no quorum: 2 of 5 votes, 3 needed
              4 5: no quorum: 2 of 5 votes, 3 needed
            join 0 1
              1 2 4 5: quorate: 4 of 5 votes, 3 needed
        "#]],
    );
}

#[test]
fn votes_count_and_not_heads() {
    check(
        Options::default(),
        &[3, 1, 1, 0],
        &["split 1:2,3,4", "down 1"],
        expect![[r#"
        start
          1 2 3 4: quorate: 5 of 5 votes, 3 needed
        split 1:2,3,4
          1: quorate: 3 of 5 votes, 3 needed
          2 3 4: no quorum: 2 of 5 votes, 3 needed
        down 1
          2 3 4: no quorum: 2 of 5 votes, 3 needed
    "#]],
    );
}

#[test]
fn two_nodes_race_and_a_restarted_one_waits() {
    let options = Options { two_node: true, ..Options::default() };
    check(
        options,
        &[1, 1],
        &["split 1:2", "down 2", "up 1:2", "join 0 1"],
        expect![[r#"
        start
          1 2: quorate: 2 of 2 votes, 1 needed
        split 1:2
          1: quorate: 1 of 2 votes, two_node, not exclusive
          2: quorate: 1 of 2 votes, two_node, not exclusive
        down 2
          1: quorate: 1 of 2 votes, two_node, not exclusive
        up 1:2
          1: quorate: 1 of 2 votes, two_node, not exclusive
          2: no quorum: 1 of 2 votes, wait_for_all waits for the others
        join 0 1
          1 2: quorate: 2 of 2 votes, 1 needed
    "#]],
    );
}

#[test]
fn two_node_is_off_with_three() {
    let options = Options { two_node: true, ..Options::default() };
    check(
        options.clone(),
        &[1, 1, 1],
        &["down 3", "down 2"],
        expect![[r#"
        start
          1 2 3: quorate: 3 of 3 votes, 2 needed
        down 3
          1 2: quorate: 2 of 3 votes, 2 needed
        down 2
          1: no quorum: 1 of 3 votes, wait_for_all waits for the others
    "#]],
    );
    check(
        options,
        &[1, 1],
        &["up 3", "down 3", "down 2"],
        expect![[r#"
        start
          1 2: quorate: 2 of 2 votes, 1 needed
        up 3
          1 2 3: quorate: 3 of 3 votes, 2 needed
        down 3
          1 2: quorate: 2 of 3 votes, 2 needed
        down 2
          1: no quorum: 1 of 3 votes, wait_for_all waits for the others
    "#]],
    );
}

#[test]
fn waiting_for_all_begins_again_when_quorum_is_lost() {
    let options = Options { wait_for_all: Some(true), ..Options::default() };
    check(
        options,
        &[1, 1, 1],
        &["down 3", "down 2", "up 2", "cancel 0", "up 1:3", "join 0 1"],
        expect![[r#"
            start
              1 2 3: quorate: 3 of 3 votes, 2 needed
            down 3
              1 2: quorate: 2 of 3 votes, 2 needed
            down 2
              1: no quorum: 1 of 3 votes, wait_for_all waits for the others
            up 2
              1 2: no quorum: 2 of 3 votes, wait_for_all waits for the others
            cancel 0
              1 2: quorate: 2 of 3 votes, 2 needed
            up 1:3
              1 2: quorate: 2 of 3 votes, 2 needed
              3: no quorum: 1 of 3 votes, wait_for_all waits for the others
            join 0 1
              1 2 3: quorate: 3 of 3 votes, 2 needed
        "#]],
    );
}

#[test]
fn the_half_with_the_tie_breaker_goes_on() {
    let with = |rule| Options { auto_tie_breaker: Some(rule), ..Options::default() };
    let script = ["split 1:3,4", "join 1 0", "split 0:1", "split 0:3"];
    check(
        with(TieBreaker::Lowest),
        &[1; 4],
        &script,
        expect![[r#"
        start
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        split 1:3,4
          1 2: quorate: 2 of 4 votes with the auto_tie_breaker node
          3 4: no quorum: 2 of 4 votes, 3 needed
        join 1 0
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        split 0:1
          1: no quorum: 1 of 4 votes, 3 needed
          2 3 4: quorate: 3 of 4 votes, 3 needed
        split 0:3
          1 3: no quorum: 2 of 4 votes, 3 needed
          2 4: quorate: 2 of 4 votes with the auto_tie_breaker node
    "#]],
    );
    check(
        with(TieBreaker::Highest),
        &[1; 4],
        &script,
        expect![[r#"
        start
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        split 1:3,4
          1 2: no quorum: 2 of 4 votes, 3 needed
          3 4: quorate: 2 of 4 votes with the auto_tie_breaker node
        join 1 0
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        split 0:1
          1: no quorum: 1 of 4 votes, 3 needed
          2 3 4: quorate: 3 of 4 votes, 3 needed
        split 0:3
          1 3: no quorum: 2 of 4 votes, 3 needed
          2 4: quorate: 2 of 4 votes with the auto_tie_breaker node
    "#]],
    );
    let list = TieBreaker::List(vec![NodeId(9), NodeId(2), NodeId(4)]);
    check(
        with(list),
        &[1; 4],
        &script,
        expect![[r#"
        start
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        split 1:3,4
          1 2: quorate: 2 of 4 votes with the auto_tie_breaker node
          3 4: no quorum: 2 of 4 votes, 3 needed
        join 1 0
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        split 0:1
          1: no quorum: 1 of 4 votes, 3 needed
          2 3 4: quorate: 3 of 4 votes, 3 needed
        split 0:3
          1 3: no quorum: 2 of 4 votes, 3 needed
          2 4: quorate: 2 of 4 votes with the auto_tie_breaker node
    "#]],
    );
}

#[test]
fn a_tie_is_judged_by_the_last_majority_and_never_by_a_node_without_memory() {
    let options = Options { auto_tie_breaker: Some(TieBreaker::Lowest), ..Options::default() };
    check(
        options,
        &[1; 6],
        &["split 1:1,2", "split 2:6", "down 6", "up 1:6"],
        expect![[r#"
            start
              1 2 3 4 5 6: quorate: 6 of 6 votes, 4 needed
            split 1:1,2
              3 4 5 6: quorate: 4 of 6 votes, 4 needed
              1 2: no quorum: 2 of 6 votes, 4 needed
            split 2:6
              3 4 5: quorate: 3 of 6 votes with the auto_tie_breaker node
              1 2: no quorum: 2 of 6 votes, 4 needed
              6: no quorum: 1 of 6 votes, 4 needed
            down 6
              3 4 5: quorate: 3 of 6 votes with the auto_tie_breaker node
              1 2: no quorum: 2 of 6 votes, 4 needed
            up 1:6
              3 4 5: quorate: 3 of 6 votes with the auto_tie_breaker node
              1 2 6: no quorum: 3 of 6 votes, 4 needed
        "#]],
    );
}

#[test]
fn an_odd_tie_needs_wait_for_all() {
    let options = Options { auto_tie_breaker: Some(TieBreaker::Lowest), ..Options::default() };
    check(
        options.clone(),
        &[1; 5],
        &["split 1:3,4,5"],
        expect![[r#"
        start
          1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
        split 1:3,4,5
          1 2: no quorum: 2 of 5 votes, 3 needed
          3 4 5: quorate: 3 of 5 votes, 3 needed
    "#]],
    );
    let waiting = Options { wait_for_all: Some(true), ..options.clone() };
    check(
        waiting,
        &[1; 5],
        &["down 5", "split 1:3,4", "up 1:5", "join 0 1"],
        expect![[r#"
        start
          1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
        down 5
          1 2 3 4: quorate: 4 of 5 votes, 3 needed
        split 1:3,4
          1 2: quorate: 2 of 5 votes with the auto_tie_breaker node
          3 4: no quorum: 2 of 5 votes, wait_for_all waits for the others
        up 1:5
          1 2: quorate: 2 of 5 votes with the auto_tie_breaker node
          3 4 5: no quorum: 3 of 5 votes, wait_for_all waits for the others
        join 0 1
          1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
    "#]],
    );
    check(
        Options { last_man_standing: true, ..options },
        &[1; 5],
        &[],
        expect![[r#"
        quorum: auto_tie_breaker with last_man_standing and an odd number of votes (5) needs wait_for_all: set wait_for_all, or switch last_man_standing off
    "#]],
    );
}

#[test]
fn the_last_man_stands_if_the_losses_come_slowly() {
    let options = Options { last_man_standing: true, ..Options::default() };
    check(
        options.clone(),
        &[1; 5],
        &["down 5", "wait 9", "down 4", "wait 10", "down 3", "wait 10", "down 2", "up 3"],
        expect![[r#"
            start
              1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
            down 5
              1 2 3 4: quorate: 4 of 5 votes, 3 needed
            wait 9
              1 2 3 4: quorate: 4 of 5 votes, 3 needed
            down 4
              1 2 3: quorate: 3 of 5 votes, 3 needed, not exclusive
            wait 10
              1 2 3: quorate: 3 of 3 votes, 2 needed, not exclusive
            down 3
              1 2: quorate: 2 of 3 votes, 2 needed, not exclusive
            wait 10
              1 2: quorate: 2 of 2 votes, 2 needed, not exclusive
            down 2
              1: no quorum: 1 of 2 votes, 2 needed
            up 3
              1 3: no quorum: 2 of 5 votes, 3 needed
        "#]],
    );
    let to_one = Options { auto_tie_breaker: Some(TieBreaker::Lowest), ..options };
    check(
        to_one,
        &[1; 4],
        &["split 1:3,4", "wait 10", "down 2", "wait 10"],
        expect![[r#"
        start
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        split 1:3,4
          1 2: quorate: 2 of 4 votes with the auto_tie_breaker node, not exclusive
          3 4: no quorum: 2 of 4 votes, 3 needed
        wait 10
          1 2: quorate: 2 of 2 votes, 2 needed, not exclusive
          3 4: no quorum: 2 of 4 votes, 3 needed
        down 2
          1: quorate: 1 of 2 votes with the auto_tie_breaker node, not exclusive
          3 4: no quorum: 2 of 4 votes, 3 needed
        wait 10
          1: quorate: 1 of 1 votes, 1 needed, not exclusive
          3 4: no quorum: 2 of 4 votes, 3 needed
    "#]],
    );
}

#[test]
fn clean_leavers_take_their_votes_with_them() {
    let options = Options { expected_votes: Some(3), allow_downscale: true, ..Options::default() };
    check(
        options,
        &[1; 5],
        &["leave 5", "leave 4", "leave 3", "down 2", "up 2"],
        expect![[r#"
            start
              1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
            leave 5
              1 2 3 4: quorate: 4 of 4 votes, 3 needed
            leave 4
              1 2 3: quorate: 3 of 3 votes, 2 needed, not exclusive
            leave 3
              1 2: quorate: 2 of 3 votes, 2 needed, not exclusive
            down 2
              1: no quorum: 1 of 3 votes, 2 needed
            up 2
              1 2: no quorum: 2 of 5 votes, 3 needed
        "#]],
    );
}

#[test]
fn tracking_remembers_the_most_that_was_expected() {
    let options = Options { expected_votes_tracking: true, ..Options::default() };
    let script = ["up 4", "up 5", "split 1:1,2", "down 1", "down 2", "up 1:1", "up 1:2"];
    check(
        options,
        &[1; 3],
        &script,
        expect![[r#"
        start
          1 2 3: quorate: 3 of 3 votes, 2 needed
        up 4
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        up 5
          1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
        split 1:1,2
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          1 2: no quorum: 2 of 5 votes, 3 needed
        down 1
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          2: no quorum: 1 of 5 votes, 3 needed
        down 2
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
        up 1:1
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          1: no quorum: 1 of 5 votes, 3 needed
        up 1:2
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          1 2: no quorum: 2 of 5 votes, 3 needed
    "#]],
    );
    check(
        Options::default(),
        &[1; 3],
        &script,
        expect![[r#"
        start
          1 2 3: quorate: 3 of 3 votes, 2 needed
        up 4
          1 2 3 4: quorate: 4 of 4 votes, 3 needed
        up 5
          1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
        split 1:1,2
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          1 2: no quorum: 2 of 5 votes, 3 needed
        down 1
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          2: no quorum: 1 of 5 votes, 3 needed
        down 2
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
        up 1:1
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          1: no quorum: 1 of 3 votes, 2 needed
        up 1:2
          3 4 5: quorate: 3 of 5 votes, 3 needed, not exclusive
          1 2: quorate: 2 of 3 votes, 2 needed
    "#]],
    );
}

#[test]
fn an_operator_lowers_what_is_expected() {
    check(
        Options::default(),
        &[1; 5],
        &["down 5", "down 4", "expect 0 3", "down 3", "expect 0 9", "expect 0 0", "up 4", "up 5"],
        expect![[r#"
            start
              1 2 3 4 5: quorate: 5 of 5 votes, 3 needed
            down 5
              1 2 3 4: quorate: 4 of 5 votes, 3 needed
            down 4
              1 2 3: quorate: 3 of 5 votes, 3 needed
            expect 0 3
              1 2 3: quorate: 3 of 3 votes, 2 needed
            down 3
              1 2: quorate: 2 of 3 votes, 2 needed, not exclusive
            expect 0 9
              1 2: quorate: 2 of 3 votes, 2 needed, not exclusive
            expect 0 0
              1 2: quorate: 2 of 3 votes, 2 needed, not exclusive
            up 4
              1 2 4: quorate: 3 of 3 votes, 2 needed
            up 5
              1 2 4 5: quorate: 4 of 4 votes, 3 needed
        "#]],
    );
}

#[test]
fn a_device_votes_for_one_side() {
    // Without a number the device has one vote less than there are nodes: one node with the device is enough.
    check(
        Options { device: Some(DeviceOptions::default()), ..Options::default() },
        &[1, 1, 1, 1],
        &["device yes 2", "split 1:3,4", "down 1", "device no 2", "device yes 4"],
        expect![[r#"
            start
              1 2 3 4: quorate: 4 of 7 votes, 4 needed
            device yes 2
              1 2 3 4: quorate: 7 of 7 votes, 4 needed
            split 1:3,4
              1 2: quorate: 5 of 7 votes, 4 needed
              3 4: no quorum: 2 of 7 votes, 4 needed
            down 1
              2: quorate: 4 of 7 votes, 4 needed
              3 4: no quorum: 2 of 7 votes, 4 needed
            device no 2
              2: no quorum: 1 of 7 votes, 4 needed
              3 4: no quorum: 2 of 7 votes, 4 needed
            device yes 4
              2: no quorum: 1 of 7 votes, 4 needed
              3 4: quorate: 5 of 7 votes, 4 needed
        "#]],
    );
    // With one vote it only decides a tie.
    check(
        Options {
            device: Some(DeviceOptions { votes: Some(1), ..DeviceOptions::default() }),
            wait_for_all: Some(true),
            ..Options::default()
        },
        &[1, 1],
        &["device yes 1", "split 1:2", "device no 1", "device yes 2", "join 0 1", "device yes 1"],
        expect![[r#"
            start
              1 2: no quorum: 2 of 3 votes, wait_for_all waits for the others
            device yes 1
              1 2: quorate: 3 of 3 votes, 2 needed
            split 1:2
              1: quorate: 2 of 3 votes, 2 needed
              2: no quorum: 1 of 3 votes, wait_for_all waits for the others
            device no 1
              1: no quorum: 1 of 3 votes, wait_for_all waits for the others
              2: no quorum: 1 of 3 votes, wait_for_all waits for the others
            device yes 2
              1: no quorum: 1 of 3 votes, wait_for_all waits for the others
              2: no quorum: 2 of 3 votes, wait_for_all waits for the others
            join 0 1
              1 2: quorate: 3 of 3 votes, 2 needed
            device yes 1
              1 2: quorate: 3 of 3 votes, 2 needed
        "#]],
    );
}

#[test]
fn the_side_of_a_device_that_is_master_wins() {
    check(
        Options { device: Some(DeviceOptions { votes: Some(1), master_wins: true }), ..Options::default() },
        &[1, 1, 1, 1],
        &["device yes 4", "split 1:4", "device no 4", "join 0 1"],
        expect![[r#"
            start
              1 2 3 4: quorate: 4 of 5 votes, 3 needed, not exclusive
            device yes 4
              1 2 3 4: quorate: 5 of 5 votes, 3 needed
            split 1:4
              1 2 3: quorate: 3 of 5 votes, 3 needed, not exclusive
              4: quorate: 2 of 5 votes with that of the quorum device, master_wins, not exclusive
            device no 4
              1 2 3: quorate: 3 of 5 votes, 3 needed, not exclusive
              4: no quorum: 1 of 5 votes, 3 needed
            join 0 1
              1 2 3 4: quorate: 4 of 5 votes, 3 needed, not exclusive
        "#]],
    );
}

#[test]
fn options_that_contradict_each_other_are_refused_or_said() {
    let device = Some(DeviceOptions::default());
    let refused = [
        (Options::default(), vec![]),
        (Options { expected_votes: Some(0), ..Options::default() }, vec![1]),
        (Options::default(), vec![u32::MAX, 1]),
        (Options { device: device.clone(), two_node: true, ..Options::default() }, vec![1, 1]),
        (Options { device: device.clone(), last_man_standing: true, ..Options::default() }, vec![1, 1]),
        (Options { device: device.clone(), expected_votes: Some(3), ..Options::default() }, vec![1, 1]),
        (Options { device, ..Options::default() }, vec![1, 2]),
        (
            Options {
                device: Some(DeviceOptions { votes: Some(2), ..DeviceOptions::default() }),
                expected_votes: Some(3),
                last_man_standing_window: Duration::ZERO,
                ..Options::default()
            },
            vec![1, 1],
        ),
    ];
    let text: String = refused.into_iter().map(|(options, votes)| play(options, &votes, &[])).collect();
    expect![[r#"
        quorum: there are no votes: list nodes with votes, or set expected_votes
        quorum: there are no votes: list nodes with votes, or set expected_votes
        quorum: 4294967296 votes are too many (at most 1000000 in all)
        quorum: a quorum device cannot be combined with two_node: remove one of them
        quorum: a quorum device cannot be combined with last_man_standing: remove one of them
        quorum: device.votes must be given where expected_votes is
        quorum: device.votes must be given where not every node has one vote
        quorum: device.votes 2 is too high for expected_votes 3: at least 2 must be left to the nodes
    "#]]
    .assert_eq(&text);
}

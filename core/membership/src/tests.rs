//! Whole clusters of engines on a simulated network.

mod checks;
mod network;

use crate::{Event, Input};
use hakudo_base::{Instant, NodeId, Random};
use network::{Network, Weather};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn three_nodes_form_one_view_at_once() {
    for sealed in [false, true] {
        let mut network = Network::new(1, 3, 2);
        network.sealed = sealed;
        (1..=3).for_each(|id| network.start(NodeId(id)));
        let time = network.run_until(SECOND, Network::is_whole).expect("a view of all");
        assert!(time < ms(200), "{time:?}");
        network.run_for(SECOND);
        assert_eq!(network.history.views(NodeId(2)).len(), 1);
        for _ in 0..10 {
            (1..=3).for_each(|id| network.say(NodeId(id), 10));
        }
        network.say(NodeId(2), 1_000_000);
        network.run_for(SECOND);
        assert_eq!(network.history.deliveries(NodeId(3)), 31);
        network.history.check(true);
    }
}

/// Everything at once: any weather, crashes, restarts, splits, one-way cuts, pauses, goodbyes, and much to say. Then all is
/// mended, and all must be in one view and agree.
fn storm(seed: u64) {
    let mut random = Random::new(seed);
    let nodes = random.between(1, 6) as u32;
    let links = random.between(1, 2) as u8;
    let mut network = Network::new(random.next_u64(), nodes, links);
    network.weather = Weather {
        loss: *random.choose(&[0, 0, 1, 5, 15]).unwrap(),
        duplicates: *random.choose(&[0, 0, 3, 20]).unwrap(),
        fastest: 50,
        slowest: *random.choose(&[100, 1_000, 10_000]).unwrap(),
        stragglers: *random.choose(&[0, 0, 10]).unwrap(),
    };
    network.sealed = seed.is_multiple_of(16);
    let any = |random: &mut Random| NodeId(random.between(1, u64::from(nodes)) as u32);
    for id in 1..=nodes {
        if random.percent(80) {
            network.start(NodeId(id));
        }
    }
    let faults = random.between(0, 12);
    for _ in 0..faults {
        network.run_for(Duration::from_micros(random.between(0, 800_000)));
        let node = any(&mut random);
        match random.below(11) {
            0 | 1 => network.crash(node),
            2 | 3 => {
                if !network.is_running(node) {
                    network.start(node);
                }
            }
            4 => {
                network.crash(node);
                network.start(node);
            }
            5 => {
                let (left, right): (Vec<u32>, Vec<u32>) = (1..=nodes).partition(|_| random.percent(50));
                network.split(&left, &right);
            }
            6 => {
                let (other, link) = (any(&mut random), random.below(u64::from(links)) as u8);
                network.cuts.insert((node, other, link));
            }
            7 => {
                let other = any(&mut random);
                network.cuts.extend((0..8).map(|link| (node, other, link)));
            }
            8 => network.cuts.clear(),
            9 => network.pause(node, ms(random.between(1, 900))),
            _ => network.give(node, Input::Leave),
        }
        for _ in 0..random.below(20) {
            let length = if random.percent(5) { 30_000 } else { random.between(0, 2_000) as usize };
            let node = any(&mut random);
            network.say(node, length);
            if random.percent(30) {
                network.run_for(Duration::from_micros(random.below(3_000)));
            }
        }
        network.history.check(false);
    }
    network.cuts.clear();
    network.weather = Weather { loss: 1, slowest: 2_000, stragglers: 0, ..network.weather };
    for id in 1..=nodes {
        if !network.is_running(NodeId(id)) {
            network.start(NodeId(id));
        }
    }
    let whole = network.run_until(SECOND * 5, Network::is_whole);
    if whole.is_none() {
        for node in network.running() {
            println!("{node}: {:?}", network.machines[&node].engine);
        }
    }
    assert!(whole.is_some(), "one view of all within 5 s");
    (1..=nodes).for_each(|id| network.say(NodeId(id), 20));
    network.run_for(SECOND * 2);
    assert!(network.is_whole(), "the view stays");
    network.history.check(true);
}

#[test]
fn storms() {
    let from: u64 = std::env::var("STORM_FROM").ok().and_then(|from| from.parse().ok()).unwrap_or(0);
    let count: u64 = std::env::var("STORM_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    for seed in from..from + count {
        if let Err(panic) = std::panic::catch_unwind(|| storm(seed)) {
            println!("storm {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

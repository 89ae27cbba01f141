//! Any faults in any order: what must hold, holds, and once they end, all is well soon.

use super::network::{Network, Weather};
use super::{SECOND, ms};
use crate::Input;
use hakudo_base::{NodeId, Random};
use std::time::Duration;

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
    assert!(whole.is_some(), "one view of all within 5 s");
    (1..=nodes).for_each(|id| network.say(NodeId(id), 20));
    network.run_for(SECOND * 2);
    assert!(network.is_whole(), "the view stays");
    network.history.check(true);
}

/// `STORM_FROM` and `STORM_COUNT` choose the seeds.
#[test]
#[expect(clippy::disallowed_methods, reason = "a person chooses which seeds run")]
#[expect(clippy::disallowed_macros, reason = "a person needs the seed to see the failure again")]
fn everything_at_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (from, count) = (number("STORM_FROM").unwrap_or(0), number("STORM_COUNT").unwrap_or(300));
    for seed in from..from + count {
        if let Err(panic) = std::panic::catch_unwind(|| storm(seed)) {
            println!("STORM_FROM={seed} STORM_COUNT=1 shows it again");
            std::panic::resume_unwind(panic);
        }
    }
}

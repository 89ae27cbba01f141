//! How many messages the engine orders in a second, with three members and the cipher, all in this one thread.
//! `cargo run --release -p hakudo-membership --example throughput`
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::disallowed_types,
    reason = "a measurement needs a clock, and says what it found"
)]

use hakudo_base::{Instant, NodeId};
use hakudo_membership::{ClusterKey, Config, Effect, Engine, Input, NodeEntry, PersistedState};
use std::collections::VecDeque;

struct Bench {
    start: std::time::Instant,
    engines: Vec<Engine>,
    /// What is on its way to each node.
    wires: Vec<VecDeque<(u8, Vec<u8>)>>,
    delivered: Vec<usize>,
    datagrams: usize,
}

impl Bench {
    fn give(&mut self, index: usize, input: Input) {
        let now = Instant::from_nanos(1_000_000_000 + self.start.elapsed().as_nanos() as u64);
        let mut effects = Vec::new();
        let Some(engine) = self.engines.get_mut(index) else { return };
        engine.handle(now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Transmit { to, link, bytes } => {
                    self.datagrams += 1;
                    self.wires[to.0 as usize - 1].push_back((link, bytes));
                }
                Effect::Deliver(_) => self.delivered[index] += 1,
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        for index in 0..self.engines.len() {
            self.give(index, Input::Timer);
        }
        while let Some(to) = self.wires.iter().position(|wire| !wire.is_empty()) {
            // As a node takes them from its socket.
            let count = self.wires[to].len().min(64);
            let packets = self.wires[to].drain(..count).collect();
            self.give(to, Input::Packets(packets));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes: Vec<NodeEntry> =
        (1..=3).map(|id| NodeEntry { id: NodeId(id), name: format!("node{id}"), links: vec![0], votes: 1 }).collect();
    let engines = (1..=3u8).map(|id| {
        let config = Config::new(NodeId(u32::from(id)), "bench", ClusterKey::new([1; 32]), nodes.clone());
        Engine::new(config, PersistedState::default(), [id; 32])
    });
    let mut bench = Bench {
        start: std::time::Instant::now(),
        engines: engines.collect::<Result<_, _>>()?,
        wires: vec![VecDeque::new(); 3],
        delivered: vec![0; 3],
        datagrams: 0,
    };
    while bench.engines.iter().any(|engine| engine.view().is_none_or(|view| view.members.len() < 3)) {
        bench.settle();
    }
    for (size, count) in [(100, 100_000), (1_000, 50_000), (1 << 20, 100)] {
        let (begun, datagrams) = (std::time::Instant::now(), bench.datagrams);
        bench.delivered.fill(0);
        let mut said = 0;
        while bench.delivered.iter().any(|delivered| *delivered < count) {
            for index in 0..3 {
                for _ in 0..100.min(count - said) {
                    if bench.engines[index].outbox_bytes() < 4 << 20 {
                        bench.give(index, Input::Broadcast(vec![0; size]));
                        said += 1;
                    }
                }
            }
            bench.settle();
        }
        let seconds = begun.elapsed().as_secs_f64();
        let (rate, datagrams) = (count as f64 / seconds, bench.datagrams - datagrams);
        println!("{size:8} bytes: {rate:9.0} messages/s, {:.1} MB/s, {datagrams} datagrams", rate * size as f64 / 1e6);
    }
    let begun = std::time::Instant::now();
    for _ in 0..1000 {
        bench.give(1, Input::Broadcast(vec![0; 100]));
        bench.settle();
    }
    println!(
        "one at a time: {:.0} µs of processor each, at all three nodes together",
        begun.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

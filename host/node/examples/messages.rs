//! The speed of ordered messages: membership alone, without the rest of a node.
//!
//! `messages CONFIG` listens until it is killed; `messages CONFIG SECONDS` speaks once all nodes are there, and prints what
//! it measured as JSON: milliseconds from saying a message of 200 bytes to its own delivery, one after the other (median and
//! the 99th of 100), then how many messages of 64 and of 8000 bytes a second came through as fast as they go.

use anyhow::{Context, Result, bail};
use hakudo_membership::Input;
use hakudo_node::config::NodeConfig;
use hakudo_node::{Membership, Told, join};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let file = words.get(1).context("the first word is the configuration file")?;
    let config = NodeConfig::load(Path::new(file))?;
    std::fs::create_dir_all(&config.state_dir)?;
    let (membership, told) = join(&config)?;
    let mut node = Node { membership, told };
    match words.get(2) {
        None => loop {
            node.next()?;
        },
        Some(seconds) => node.speak(config.nodes.len(), Duration::from_secs_f64(seconds.parse()?)),
    }
}

struct Node {
    membership: Membership,
    told: UnboundedReceiver<Told>,
}

impl Node {
    fn next(&mut self) -> Result<Told> {
        match self.told.blocking_recv() {
            None | Some(Told::Left) => bail!("membership ended"),
            Some(Told::Failed(reason)) => bail!("membership failed: {reason}"),
            Some(told) => Ok(told),
        }
    }

    fn speak(&mut self, nodes: usize, lasting: Duration) -> Result<()> {
        while !matches!(self.next()?, Told::View(view) if view.members.len() == nodes) {}
        std::thread::sleep(Duration::from_millis(500));
        let mut rounds = self.rounds(lasting)?;
        rounds.sort();
        let of = |percent: usize| rounds[(rounds.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        let (median, late) = (of(50), of(99));
        let small = self.flood(64, 2000, lasting)?;
        let large = self.flood(8000, 200, lasting)?;
        println!(
            r#"{{"round_trip_ms": {median:.4}, "round_trip_late_ms": {late:.4}, "small": {small:.0}, "large": {large:.0}}}"#
        );
        Ok(())
    }

    fn say(&self, size: usize) {
        self.membership.ask(Input::Broadcast(vec![7; size]));
    }

    /// One message after the other.
    fn rounds(&mut self, lasting: Duration) -> Result<Vec<Duration>> {
        let (mut rounds, began) = (Vec::new(), Instant::now());
        while began.elapsed() < lasting {
            let said = Instant::now();
            self.say(200);
            self.delivered()?;
            rounds.push(said.elapsed());
        }
        Ok(rounds)
    }

    /// Messages a second with always so many on their way.
    fn flood(&mut self, size: usize, on_their_way: usize, lasting: Duration) -> Result<f64> {
        let began = Instant::now();
        let (mut said, mut heard) = (0, 0);
        while began.elapsed() < lasting {
            while said < heard + on_their_way {
                self.say(size);
                said += 1;
            }
            self.delivered()?;
            heard += 1;
        }
        let rate = heard as f64 / began.elapsed().as_secs_f64();
        while heard < said {
            self.delivered()?;
            heard += 1;
        }
        Ok(rate)
    }

    fn delivered(&mut self) -> Result<()> {
        loop {
            match self.next()? {
                Told::Deliver(_) => return Ok(()),
                Told::View(view) => bail!("the view changed: {view:?}"),
                _ => {}
            }
        }
    }
}

//! From a seed to a script: a cluster, and a series of faults and requests that it should survive.
//!
//! Most clusters are small and most histories short, because that is where faults are found fastest; each history leans
//! towards a few kinds of trouble (a *theme*), because all kinds at once only ever kill everything.

use crate::script::{Act, Ask, Constraint, Fencing, Mood, Nonsense, Resource, Script, Setup, Shape, Weather};
use hakudo_base::Random;

/// The script of a seed.
pub fn script(seed: u64) -> Script {
    let mut random = Random::new(seed ^ 0x6861_6b75_646f);
    let setup = setup(&mut random);
    let heal_at = random.between(4_000, 12_000);
    let mut generator = Generator { random, setup: &setup, events: Vec::new(), heal_at, added: 0 };
    generator.fill();
    let mut events = generator.events;
    events.sort_by_key(|(at, _)| *at);
    Script { seed, setup, events, heal_at }
}

fn setup(random: &mut Random) -> Setup {
    let size = [1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9][random.below(21) as usize];
    let odd_votes = random.percent(10);
    let votes: Vec<u32> = (0..size).map(|_| if odd_votes { random.between(0, 3) as u32 } else { 1 }).collect();
    let votes = if votes.iter().all(|votes| *votes == 0) { vec![1; size] } else { votes };
    let mut setup = Setup {
        quorum: quorum(random, size, odd_votes),
        links: if random.percent(30) { 2 } else { 1 },
        sealed: random.percent(8),
        fencing: match random.below(10) {
            0..5 => Fencing::Shared,
            5..8 => Fencing::Each,
            _ => Fencing::Off,
        },
        options: options(random),
        network: weather(random, true),
        votes,
        ..Setup::default()
    };
    for index in 0..random.between(1, 4) {
        setup.resources.push(resource(random, &format!("r{index}")));
    }
    constraints(random, &mut setup);
    setup
}

/// Options of quorum that go together.
fn quorum(random: &mut Random, size: usize, odd_votes: bool) -> Vec<String> {
    let mut options: Vec<&str> = Vec::new();
    if size == 2 && !odd_votes && random.percent(75) {
        options.push("two_node");
    } else if random.percent(15) {
        options.push("wait_for_all");
    }
    if size > 2 && size.is_multiple_of(2) && random.percent(30) {
        options.push(if random.percent(50) { "auto_tie_breaker" } else { "auto_tie_breaker=highest" });
    } else if size > 2 && !odd_votes && random.percent(12) {
        options.push("last_man_standing");
        if random.percent(50) {
            options.push(["last_man_standing_window=500", "last_man_standing_window=3000"][random.below(2) as usize]);
        }
    } else if size > 2 && random.percent(8) {
        options.push("allow_downscale");
    }
    // Who waits for all would wait for ever for the vote that nobody has.
    if options.is_empty() && size > 2 && !odd_votes && random.percent(6) {
        return vec![format!("expected_votes={}", size + 1)];
    }
    options.into_iter().map(str::to_owned).collect()
}

fn options(random: &mut Random) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut set = |name: &str, value: &str| options.push((name.to_owned(), value.to_owned()));
    if random.percent(40) {
        let policies = ["stop", "freeze", "demote", "stop", "ignore", "fence"];
        set("no-quorum-policy", policies[random.below(6) as usize]);
    }
    if random.percent(15) {
        set("start-failure-is-fatal", "false");
    }
    if random.percent(15) {
        set("batch-limit", ["1", "2", "5"][random.below(3) as usize]);
    }
    if random.percent(10) {
        set("symmetric-cluster", "true");
    }
    options
}

/// How packets travel: calm ones at the beginning and most of the time.
fn weather(random: &mut Random, calm: bool) -> Weather {
    let delay_min_us = random.between(50, 500);
    if calm {
        return Weather { delay_min_us, delay_max_us: delay_min_us + random.between(0, 2_000), loss: 0, twice: 0 };
    }
    Weather {
        delay_min_us,
        delay_max_us: delay_min_us + random.between(1_000, 60_000),
        loss: random.below(30),
        twice: random.below(20),
    }
}

fn resource(random: &mut Random, name: &str) -> Resource {
    let shape = match random.below(10) {
        0..5 => Shape::Primitive,
        5..7 => Shape::Group(random.between(2, 3) as u32),
        7..8 => Shape::Clone,
        _ => Shape::Promotable,
    };
    let mut meta = Vec::new();
    let mut set = |name: &str, value: String| meta.push((name.to_owned(), value));
    if random.percent(20) {
        set("migration-threshold", random.between(1, 3).to_string());
    }
    if random.percent(15) {
        set("failure-timeout", format!("{}s", random.between(2, 20)));
    }
    if random.percent(30) {
        set("resource-stickiness", random.between(0, 200).to_string());
    }
    if random.percent(5) {
        set("target-role", "Stopped".into());
    }
    if matches!(shape, Shape::Clone | Shape::Promotable) {
        if random.percent(40) {
            set("clone-max", random.between(1, 3).to_string());
        }
        if random.percent(30) {
            set("interleave", "true".into());
        }
        if random.percent(20) {
            set("notify", "true".into());
        }
    }
    Resource { name: name.into(), shape, monitor_ms: [0, 500, 1000, 2000][random.below(4) as usize], meta }
}

fn constraints(random: &mut Random, setup: &mut Setup) {
    let names: Vec<String> = setup.resources.iter().map(|resource| resource.name.clone()).collect();
    let nodes = setup.votes.len() as u64;
    if random.percent(40) {
        let score = ["100", "50", "INFINITY", "-100", "-INFINITY"][random.below(5) as usize];
        let name = names[random.below(names.len() as u64) as usize].clone();
        setup.constraints.push(Constraint::Location(name, random.between(1, nodes) as usize, score.into()));
    }
    for later in 1..names.len() {
        let earlier = random.below(later as u64) as usize;
        let (first, then) = (names[earlier].clone(), names[later].clone());
        match random.below(8) {
            0 => setup.constraints.push(Constraint::Order(first, then)),
            1 => {
                let score = ["INFINITY", "100", "-INFINITY", "-50"][random.below(4) as usize];
                setup.constraints.push(Constraint::Colocation(then, first, score.into()));
            }
            2 => {
                setup.constraints.push(Constraint::Order(first.clone(), then.clone()));
                setup.constraints.push(Constraint::Colocation(then, first, "INFINITY".into()));
            }
            _ => {}
        }
    }
}

struct Generator<'a> {
    random: Random,
    setup: &'a Setup,
    events: Vec<(u64, Act)>,
    heal_at: u64,
    added: u32,
}

impl Generator<'_> {
    fn fill(&mut self) {
        let themes: Vec<u64> = (0..self.random.between(1, 3)).map(|_| self.random.below(8)).collect();
        for _ in 0..self.random.between(1, 9) {
            let earliest = if self.random.percent(25) { 10 } else { 1_500 };
            let at = self.random.between(earliest, self.heal_at - 200);
            match *self.random.choose(&themes).unwrap_or(&0) {
                0 => self.crash(at),
                1 => self.processes(at),
                2 => self.network(at),
                3 => self.agents(at),
                4 => self.fencing(at),
                5 => self.disks_and_clocks(at),
                6 => self.forge(at),
                _ => {}
            }
            if self.random.percent(45) {
                self.request(at);
            }
        }
    }

    fn node(&mut self) -> usize {
        self.random.between(1, self.setup.votes.len() as u64) as usize
    }

    /// Plans an act, unless its time is after everything was mended.
    fn plan(&mut self, at: u64, act: Act) {
        if at < self.heal_at {
            self.events.push((at, act));
        }
    }

    fn later(&mut self, at: u64, longest: u64) -> u64 {
        at + self.random.between(20, longest)
    }

    fn crash(&mut self, at: u64) {
        let node = self.node();
        self.plan(at, Act::PowerOff(node));
        let back = self.later(at, 5_000);
        if self.random.percent(70) {
            self.plan(back, Act::Boot(node));
        }
        if self.random.percent(30) {
            let (second, at) = (self.node(), self.later(at, 1_500));
            self.plan(at, Act::PowerOff(second));
            let back = self.later(at, 3_000);
            self.plan(back, Act::Boot(second));
        }
    }

    fn processes(&mut self, at: u64) {
        let node = self.node();
        match self.random.below(4) {
            0 | 1 => {
                self.plan(at, Act::KillProcess(node));
                let back = if self.random.percent(60) { self.later(at, 400) } else { self.later(at, 4_000) };
                self.plan(back, Act::StartProcess(node));
            }
            2 => self.plan(at, Act::KillExecutor(node)),
            _ => {
                let length = self.random.between(50, 2_500);
                self.plan(at, Act::Pause(node, length));
            }
        }
    }

    fn network(&mut self, at: u64) {
        let nodes = self.setup.votes.len();
        let mended = self.later(at, 4_000);
        match self.random.below(5) {
            0 | 1 if nodes > 1 => {
                let mut side: Vec<usize> = (1..=nodes).filter(|_| self.random.percent(50)).collect();
                if side.is_empty() || side.len() == nodes {
                    side = vec![self.node()];
                }
                let cut = if self.random.percent(25) { Act::Mute(side) } else { Act::Split(side) };
                self.plan(at, cut);
                self.plan(mended, Act::Join);
            }
            2 | 3 if nodes > 1 => {
                let (from, to) = (self.node(), self.node());
                if from == to {
                    return;
                }
                let link = self.random.percent(40).then(|| self.random.below(u64::from(self.setup.links)) as u8);
                self.plan(at, Act::Cut(from, to, link));
                if self.random.percent(50) {
                    self.plan(at, Act::Cut(to, from, link));
                }
                self.plan(mended, Act::Join);
            }
            _ => {
                let storm = weather(&mut self.random, false);
                self.plan(at, Act::Weather(storm));
                self.plan(mended, Act::Weather(self.setup.network));
            }
        }
    }

    fn primitive(&mut self) -> String {
        let all: Vec<String> = self.setup.resources.iter().flat_map(crate::cib::primitives).collect();
        self.random.choose(&all).cloned().unwrap_or_default()
    }

    fn mood(&mut self) -> Mood {
        match self.random.below(4) {
            0 | 1 => Mood::Fails,
            2 => Mood::Hangs,
            _ => Mood::Slow(self.random.between(300, 6_000)),
        }
    }

    fn agents(&mut self, at: u64) {
        let primitive = self.primitive();
        let node = if self.random.percent(25) { 0 } else { self.node() };
        if self.random.percent(40) {
            let node = self.node();
            return self.plan(at, Act::Crash(node, primitive));
        }
        let operation = ["start", "stop", "monitor", "promote", "demote"][self.random.below(5) as usize];
        let mood = self.mood();
        self.plan(at, Act::Agent(node, primitive.clone(), operation.into(), mood));
        let over = self.later(at, 5_000);
        self.plan(over, Act::Agent(node, primitive, operation.into(), Mood::Works));
    }

    fn fencing(&mut self, at: u64) {
        let (target, mood) = (if self.random.percent(40) { 0 } else { self.node() }, self.mood());
        let before = at.saturating_sub(self.random.below(500));
        self.plan(before, Act::Fence(target, mood));
        let over = self.later(at, 5_000);
        self.plan(over, Act::Fence(target, Mood::Works));
        match self.random.below(3) {
            0 => self.crash(at),
            1 => {
                let node = self.node();
                self.plan(at, Act::Ask(node, Ask::Fence(if target == 0 { node } else { target })));
            }
            _ => self.network(at),
        }
    }

    fn disks_and_clocks(&mut self, at: u64) {
        let node = self.node();
        let over = self.later(at, 4_000);
        match self.random.below(7) {
            6 => {
                self.plan(at, Act::DiskRots(node));
                let end = if self.random.percent(50) { Act::PowerOff(node) } else { Act::KillProcess(node) };
                self.plan(at + 1, end);
                self.plan(over, Act::Boot(node));
                self.plan(over + 1, Act::StartProcess(node));
            }
            0 | 3 => {
                self.plan(at, Act::DiskFull(node));
                self.plan(over, Act::DiskWorks(node));
            }
            1 | 4 => {
                let ms = self.random.between(20, 1_500);
                self.plan(at, Act::DiskSlow(node, ms));
                self.plan(over, Act::DiskWorks(node));
            }
            _ => {
                let reach = if self.random.percent(50) { 10 } else { 100_000 };
                let seconds = self.random.between(0, 2 * reach) as i64 - reach as i64;
                self.plan(at, Act::Clock(node, seconds));
            }
        }
        self.request(at + 1);
    }

    fn forge(&mut self, at: u64) {
        let node = self.node();
        for index in 0..self.random.between(1, 8) {
            self.plan(at + index * 7, Act::Forge(node));
        }
    }

    fn request(&mut self, at: u64) {
        let (node, target) = (self.node(), self.node());
        let resource = self.setup.resources[self.random.below(self.setup.resources.len() as u64) as usize].name.clone();
        let text = |text: &str| text.to_owned();
        let ask = match self.random.below(18) {
            0 | 1 => {
                let back = self.later(at, 3_000);
                self.plan(back, Act::Ask(node, Ask::NodeOption(target, text("standby"), text("off"))));
                Ask::NodeOption(target, text("standby"), text("on"))
            }
            2 | 3 => {
                let back = self.later(at, 2_000);
                self.plan(back, Act::Ask(node, Ask::Meta(resource.clone(), text("target-role"), text("Started"))));
                Ask::Meta(resource, text("target-role"), text("Stopped"))
            }
            4 => {
                self.added += 1;
                let added = self::resource(&mut self.random, &format!("x{}", self.added));
                Ask::Add(added)
            }
            5 => Ask::Remove(resource),
            6 | 7 => {
                let score = ["INFINITY", "-INFINITY", "200", "-200"][self.random.below(4) as usize];
                Ask::Move(resource, target, score.into())
            }
            8 => {
                let back = self.later(at, 2_000);
                self.plan(back, Act::Ask(node, Ask::Option(text("maintenance-mode"), text("false"))));
                Ask::Option(text("maintenance-mode"), text("true"))
            }
            9 => Ask::Cleanup,
            10 => Ask::Fence(target),
            11 => {
                let back = self.later(at, 2_000);
                self.plan(back, Act::StartProcess(node));
                Ask::Leave
            }
            12 | 16 => {
                let kind = self.random.choose(&Nonsense::ALL).map_or(Nonsense::CutOff, |(kind, _)| *kind);
                Ask::Nonsense(kind, resource)
            }
            17 => Ask::Confirm(target),
            13 if self.random.percent(30) => Ask::ForceNote,
            14 if self.random.percent(50) => {
                let policies = ["stop", "freeze", "demote", "ignore", "fence"];
                Ask::Option(text("no-quorum-policy"), text(policies[self.random.below(5) as usize]))
            }
            _ => Ask::Note,
        };
        self.plan(at, Act::Ask(node, ask));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_makes_a_script_that_reads_back_as_it_was_written() {
        for seed in 0..2_000 {
            let script = script(seed);
            assert_eq!(script.to_string().parse(), Ok(script), "seed {seed}");
        }
    }
}

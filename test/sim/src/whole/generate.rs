//! From a seed to a history: a group of whole sites, and a series of faults and requests that it should survive.
//!
//! Each history leans towards a few kinds of trouble, because all kinds at once only ever stop everything. What is not drawn,
//! and why, stands at the head of the module above.

use super::script::{Act, Script, Site, Ticket, Weather, Wish};
use crate::script::{
    Act as ClusterAct, Ask, Constraint, Fencing, Mood, Resource, Setup, Shape, Weather as ClusterWeather,
};
use hakudo_base::Random;
use std::collections::BTreeSet;

/// The fastest and the slowest clock that is allowed for, in millionths.
const DRIFT: i64 = 20_000;
/// Kinds of trouble.
const KINDS: u64 = 15;

/// The script of a seed.
pub fn script(seed: u64) -> Script {
    let mut random = Random::new(seed ^ 0x0073_6974_6573);
    let tickets = tickets(&mut random);
    let site_count = if random.percent(70) { 2 } else { 3 };
    let sites: Vec<Site> = (0..site_count).map(|_| site(&mut random, &tickets)).collect();
    let arbitrators = match site_count {
        2 => [1, 1, 1, 1, 1, 1, 0, 2, 3, 1][random.below(10) as usize],
        _ => [0, 0, 0, 1, 2][random.below(5) as usize],
    };
    let arbitrators = (0..arbitrators).map(|_| drift(&mut random)).collect();
    let heal_at = random.between(20_000, 80_000);
    let script = Script { seed, sites, arbitrators, tickets, events: Vec::new(), heal_at };
    let mut generator = Generator { random, script, left_alone: BTreeSet::new(), shot: BTreeSet::new() };
    generator.fill();
    let mut script = generator.script;
    script.events.sort_by_key(|(at, _)| *at);
    script
}

fn drift(random: &mut Random) -> i64 {
    match random.below(4) {
        0 => 0,
        1 => DRIFT * (1 - 2 * random.below(2) as i64),
        _ => random.between(0, 2 * DRIFT as u64) as i64 - DRIFT,
    }
}

fn tickets(random: &mut Random) -> Vec<Ticket> {
    let count = if random.percent(70) { 1 } else { 2 };
    let ticket = |number: u64| Ticket {
        name: format!("t{number}"),
        expire_ms: [2000, 4000, 8000, 15_000][random.below(4) as usize],
        acquire_ms: if random.percent(20) { random.between(1, 3000) } else { 0 },
        stop_ms: random.percent(40).then(|| random.between(3000, 6000)),
        checked: random.percent(20),
    };
    (0..count).map(ticket).collect()
}

fn site(random: &mut Random, tickets: &[Ticket]) -> Site {
    let size = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3][random.below(10) as usize];
    let fencing = match random.below(10) {
        _ if size == 1 => Fencing::Off,
        0..5 => Fencing::Shared,
        5..8 => Fencing::Each,
        _ => Fencing::Off,
    };
    let mut options = Vec::new();
    if random.percent(40) {
        let policies = ["stop", "freeze", "demote", "ignore", "fence"];
        options.push(("no-quorum-policy".to_owned(), policies[random.below(5) as usize].to_owned()));
    }
    if fencing != Fencing::Off {
        options.push(("stonith-timeout".to_owned(), format!("{}s", random.between(4, 10))));
    }
    let delay_min_us = random.between(50, 500);
    let delay_max_us = delay_min_us + random.between(0, 2000);
    let mut setup = Setup {
        votes: vec![1; size],
        links: 1,
        sealed: false,
        quorum: if size == 2 { vec!["two_node".to_owned()] } else { Vec::new() },
        options,
        fencing,
        network: ClusterWeather { delay_min_us, delay_max_us, loss: 0, twice: 0 },
        ..Setup::default()
    };
    for (index, ticket) in tickets.iter().enumerate() {
        let name = format!("r{index}");
        let shape = match random.below(10) {
            0..6 => Shape::Primitive,
            6..8 => Shape::Group(2),
            _ => Shape::Clone,
        };
        setup.resources.push(Resource { name: name.clone(), shape, monitor_ms: monitor(random), meta: Vec::new() });
        setup.constraints.push(Constraint::Ticket(name, ticket.name.clone(), "stop".to_owned()));
    }
    if random.percent(30) {
        let own =
            Resource { name: "own".into(), shape: Shape::Primitive, monitor_ms: monitor(random), meta: Vec::new() };
        setup.resources.push(own);
        if random.percent(40) {
            setup.constraints.push(Constraint::Order("own".into(), "r0".into()));
        }
    }
    let shortest = tickets.iter().map(|ticket| ticket.expire_ms).min().unwrap_or(2000);
    let watchdog_ms = if random.percent(50) { random.between(1000, shortest) } else { 0 };
    Site { setup, drifts: (0..size).map(|_| drift(random)).collect(), watchdog_ms }
}

fn monitor(random: &mut Random) -> u64 {
    [0, 500, 1000, 2000][random.below(4) as usize]
}

struct Generator {
    random: Random,
    script: Script,
    /// Nodes, by site, whose process dies or stands still: their executors are left alone where there is no watchdog.
    left_alone: BTreeSet<(usize, usize)>,
    /// Nodes whose executors die, and their processes are left alone.
    shot: BTreeSet<(usize, usize)>,
}

impl Generator {
    fn fill(&mut self) {
        for ticket in self.script.tickets.clone() {
            let (site, to) = (self.site(), self.site());
            let (node, at) = (self.node(site), self.random.between(2500, 7000));
            self.plan(at, Act::Ask(site, node, Wish::Grant(ticket.name, to)));
        }
        let themes: Vec<u64> = (0..self.random.between(2, 5)).map(|_| self.random.below(KINDS)).collect();
        for _ in 0..self.random.between(2, 14) {
            let at = self.random.between(1500, self.script.heal_at - 200);
            let kind = *self.random.choose(&themes).unwrap_or(&0);
            self.trouble(kind, at);
            if self.random.percent(20) {
                self.request(at);
            }
        }
    }

    fn trouble(&mut self, kind: u64, at: u64) {
        let site = self.site();
        let node = self.node(site);
        let until = self.later(at);
        match kind {
            0 => {
                self.plan(at, Act::SiteOff(site));
                self.plan(until, Act::SiteOn(site));
            }
            1 => {
                self.plan(at, Act::Site(site, ClusterAct::PowerOff(node)));
                self.plan(until, Act::Site(site, ClusterAct::Boot(node)));
            }
            2 => self.isolate(at, until),
            3 => self.cut(at, until),
            4 => self.inside(site, at),
            5 => self.process(site, node, at, until),
            6 => self.executor(site, node, at),
            7 => {
                let delay_ms = if self.random.percent(70) { 2000 } else { 60_000 };
                let delay_ms = self.random.between(1, delay_ms);
                let (loss, twice) = (self.random.below(40), self.random.below(30));
                self.plan(at, Act::Weather(Weather { loss, twice, delay_ms }));
                self.plan(until, Act::Weather(Weather { loss: 0, twice: 0, delay_ms: 10 }));
            }
            8 => {
                self.plan(at, Act::Unplug(site, node));
                self.plan(until, Act::Plug(site, node));
            }
            9 => self.arbitrator(at, until),
            10 => self.agent(site, node, at, until),
            11 => self.disk_or_clock(site, node, at, until),
            12 | 13 => self.at_the_end_of_a_lease(site, node, at),
            _ => self.request(at),
        }
    }

    fn site(&mut self) -> usize {
        self.random.between(1, self.script.sites.len() as u64) as usize
    }

    fn node(&mut self, site: usize) -> usize {
        self.random.between(1, self.script.sites[site - 1].setup.votes.len() as u64) as usize
    }

    fn member(&mut self) -> usize {
        self.random.between(1, (self.script.sites.len() + self.script.arbitrators.len()) as u64) as usize
    }

    /// Plans an act, unless its time is after everything was mended.
    fn plan(&mut self, at: u64, act: Act) {
        if at < self.script.heal_at {
            self.script.events.push((at, act));
        }
    }

    fn in_site(&mut self, at: u64, site: usize, act: ClusterAct) {
        self.plan(at, Act::Site(site, act));
    }

    fn later(&mut self, at: u64) -> u64 {
        let longest = if self.random.percent(70) { 12_000 } else { 60_000 };
        at + self.random.between(100, longest)
    }

    /// A member hears nobody, or is heard by nobody, or both.
    fn isolate(&mut self, at: u64, until: u64) {
        let member = self.member();
        let how = self.random.below(4);
        let all = self.script.sites.len() + self.script.arbitrators.len();
        for other in (1..=all).filter(|other| *other != member) {
            for (from, to, which) in [(member, other, 1), (other, member, 2)] {
                if how != which {
                    self.plan(at, Act::Cut(from, to));
                    self.plan(until, Act::Mend(from, to));
                }
            }
        }
    }

    fn cut(&mut self, at: u64, until: u64) {
        let (from, to) = (self.member(), self.member());
        if from == to {
            return;
        }
        let both = self.random.percent(60);
        for (from, to) in [(from, to), (to, from)].into_iter().take(if both { 2 } else { 1 }) {
            self.plan(at, Act::Cut(from, to));
            self.plan(until, Act::Mend(from, to));
        }
    }

    /// Trouble in the network of a site.
    fn inside(&mut self, site: usize, at: u64) {
        let nodes = self.script.sites[site - 1].setup.votes.len();
        let until = at + self.random.between(200, 15_000);
        if nodes == 1 || self.random.percent(30) {
            let calm = self.script.sites[site - 1].setup.network;
            let storm = ClusterWeather {
                delay_max_us: calm.delay_min_us + self.random.between(1000, 60_000),
                loss: self.random.below(30),
                twice: self.random.below(20),
                ..calm
            };
            self.in_site(at, site, ClusterAct::Weather(storm));
            self.in_site(until, site, ClusterAct::Weather(calm));
            return;
        }
        let side = vec![self.node(site)];
        let act = if self.random.percent(30) { ClusterAct::Mute(side) } else { ClusterAct::Split(side) };
        self.in_site(at, site, act);
        self.in_site(until, site, ClusterAct::Join);
    }

    /// A site is cut off for so long that its leases end, and there is more trouble just then.
    fn at_the_end_of_a_lease(&mut self, site: usize, node: usize, at: u64) {
        let longest = self.script.tickets.iter().map(|ticket| ticket.expire_ms).max().unwrap_or_default();
        let until = at + longest + self.random.between(500, 15_000);
        let all = self.script.sites.len() + self.script.arbitrators.len();
        for other in (1..=all).filter(|other| *other != site) {
            for (from, to) in [(site, other), (other, site)] {
                self.plan(at, Act::Cut(from, to));
                self.plan(until, Act::Mend(from, to));
            }
        }
        if self.has_watchdog(site) && self.random.percent(60) {
            let mood = if self.random.percent(50) { Mood::Fails } else { Mood::Hangs };
            let primitive = self.primitive(site);
            self.in_site(at, site, ClusterAct::Agent(0, primitive.clone(), "stop".into(), mood));
            self.in_site(until, site, ClusterAct::Agent(0, primitive, "stop".into(), Mood::Works));
        }
        for _ in 0..self.random.between(0, 3) {
            let just_then = at + longest.saturating_sub(1000) + self.random.between(0, 2500);
            let soon = just_then + self.random.between(20, 3000);
            match self.random.below(5) {
                0 => self.process(site, node, just_then, soon),
                1 => {
                    let before = at + self.random.between(0, longest.saturating_sub(1000));
                    self.process(site, node, before, soon);
                }
                2 => self.executor(site, node, just_then),
                3 => self.inside(site, just_then),
                _ => {
                    self.in_site(just_then, site, ClusterAct::PowerOff(node));
                    self.in_site(soon, site, ClusterAct::Boot(node));
                }
            }
        }
    }

    fn has_watchdog(&self, site: usize) -> bool {
        self.script.sites[site - 1].watchdog_ms > 0
    }

    fn process(&mut self, site: usize, node: usize, at: u64, until: u64) {
        if !self.has_watchdog(site) && self.shot.contains(&(site, node)) {
            return;
        }
        self.left_alone.insert((site, node));
        match self.random.below(4) {
            0 | 1 => {
                let ms = until - at;
                self.in_site(at, site, ClusterAct::Pause(node, ms));
                // All of a site stands still.
                if self.random.percent(30) {
                    for other in 1..=self.script.sites[site - 1].setup.votes.len() {
                        self.left_alone.insert((site, other));
                        if !self.shot.contains(&(site, other)) || self.has_watchdog(site) {
                            self.in_site(at, site, ClusterAct::Pause(other, ms));
                        }
                    }
                }
            }
            _ => {
                self.in_site(at, site, ClusterAct::KillProcess(node));
                let back = if self.random.percent(60) { at + self.random.between(20, 1000) } else { until };
                self.in_site(back, site, ClusterAct::StartProcess(node));
            }
        }
    }

    fn executor(&mut self, site: usize, node: usize, at: u64) {
        if self.has_watchdog(site) || !self.left_alone.contains(&(site, node)) {
            self.shot.insert((site, node));
            self.in_site(at, site, ClusterAct::KillExecutor(node));
        }
    }

    fn arbitrator(&mut self, at: u64, until: u64) {
        if self.script.arbitrators.is_empty() {
            return;
        }
        let which = self.random.below(self.script.arbitrators.len() as u64) as usize;
        let member = self.script.sites.len() + 1 + which;
        let until = if self.random.percent(40) { at + self.random.between(1, 500) } else { until };
        self.plan(at, Act::ArbitratorOff(member));
        self.plan(until, Act::ArbitratorOn(member));
    }

    fn primitive(&mut self, site: usize) -> String {
        let resources = &self.script.sites[site - 1].setup.resources;
        let all: Vec<String> = resources.iter().flat_map(crate::cib::primitives).collect();
        self.random.choose(&all).cloned().unwrap_or_default()
    }

    fn agent(&mut self, site: usize, node: usize, at: u64, until: u64) {
        let primitive = self.primitive(site);
        if self.random.percent(30) {
            return self.in_site(at, site, ClusterAct::Crash(node, primitive));
        }
        let node = if self.random.percent(30) { 0 } else { node };
        // Where an administrator says how long stopping takes, that has to be true; a watchdog makes it so.
        let is_bound = self.script.tickets.iter().any(|ticket| ticket.stop_ms.is_some());
        let operation = ["start", "monitor", "stop"][self.random.below(3) as usize];
        let mood = match self.random.below(3) {
            _ if operation == "stop" && !self.has_watchdog(site) => {
                if is_bound {
                    return;
                }
                Mood::Slow(self.random.between(300, 3800))
            }
            0 => Mood::Fails,
            1 if !is_bound || self.has_watchdog(site) => Mood::Hangs,
            _ => Mood::Slow(self.random.between(300, if is_bound { 1000 } else { 3800 })),
        };
        self.in_site(at, site, ClusterAct::Agent(node, primitive.clone(), operation.into(), mood));
        self.in_site(until, site, ClusterAct::Agent(node, primitive, operation.into(), Mood::Works));
    }

    fn disk_or_clock(&mut self, site: usize, node: usize, at: u64, until: u64) {
        match self.random.below(4) {
            0 if self.has_watchdog(site) || !self.shot.contains(&(site, node)) => {
                self.left_alone.insert((site, node));
                self.in_site(at, site, ClusterAct::DiskFull(node));
                self.in_site(until, site, ClusterAct::DiskWorks(node));
            }
            0..3 => {
                let ms = self.random.between(20, 2500);
                self.in_site(at, site, ClusterAct::DiskSlow(node, ms));
                self.in_site(until, site, ClusterAct::DiskWorks(node));
            }
            _ => {
                let reach = if self.random.percent(50) { 10 } else { 100_000 };
                let seconds = self.random.between(0, 2 * reach) as i64 - reach as i64;
                self.in_site(at, site, ClusterAct::Clock(node, seconds));
            }
        }
    }

    /// Somebody asks: the group, or a cluster.
    fn request(&mut self, at: u64) {
        let (site, other) = (self.site(), self.site());
        let node = self.node(site);
        let ticket = self.random.choose(&self.script.tickets).map(|ticket| ticket.name.clone()).unwrap_or_default();
        let until = self.later(at).min(self.script.heal_at - 1);
        let kind = self.random.below(10);
        let mut wish = |at, wish| self.plan(at, Act::Ask(site, node, wish));
        match kind {
            0..4 => wish(at, Wish::Move(ticket, other)),
            4 => {
                wish(at, Wish::Revoke(ticket.clone()));
                wish(until, Wish::Grant(ticket, other));
            }
            5 => wish(at, Wish::Grant(ticket, other)),
            6 => {
                wish(at, Wish::Standby(ticket.clone(), true));
                wish(until, Wish::Standby(ticket, false));
            }
            7 => {
                wish(at, Wish::Disclaim(other, true));
                wish(until, Wish::Disclaim(other, false));
            }
            _ => self.ask_cluster(site, node, at, until),
        }
    }

    fn ask_cluster(&mut self, site: usize, node: usize, at: u64, until: u64) {
        let target = self.node(site);
        let text = |text: &str| text.to_owned();
        let ask = |ask| ClusterAct::Ask(node, ask);
        match self.random.below(6) {
            0 => {
                self.in_site(at, site, ask(Ask::NodeOption(target, text("standby"), text("on"))));
                self.in_site(until, site, ask(Ask::NodeOption(target, text("standby"), text("off"))));
            }
            1 => {
                self.in_site(at, site, ask(Ask::Meta(text("r0"), text("target-role"), text("Stopped"))));
                self.in_site(until, site, ask(Ask::Meta(text("r0"), text("target-role"), text("Started"))));
            }
            2 => self.in_site(at, site, ask(Ask::Fence(target))),
            3 => {
                self.in_site(at, site, ask(Ask::Leave));
                self.in_site(until, site, ClusterAct::StartProcess(node));
            }
            4 => self.in_site(at, site, ask(Ask::Cleanup)),
            _ => self.in_site(at, site, ask(Ask::Note)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_makes_a_script_that_reads_back_as_it_was_written() {
        for seed in 0..1_000 {
            let script = script(seed);
            assert_eq!(script.to_string().parse(), Ok(script), "seed {seed}");
        }
    }
}

//! The measurements.

use super::record::{self, now};
use super::site::Site;
use super::systems::{System, Workload};
use anyhow::{Context, Result};
use std::fmt;
use std::time::Duration;

/// The outcome of a measurement, in the unit that its name says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    /// The middle one of all runs.
    pub(super) median: f64,
    least: f64,
    most: f64,
    runs: usize,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runs == 1 {
            write!(f, "{:.2}", self.median)
        } else {
            write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
        }
    }
}

impl Figure {
    fn of(mut values: Vec<f64>) -> Result<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = values.first().zip(values.last()).context("nothing was measured")?;
        Ok(Self { median: values[values.len() / 2], least: *least, most: *most, runs: values.len() })
    }
}

/// A measurement.
pub(super) struct Measurement {
    /// What it is, with its unit.
    pub(super) name: &'static str,
    /// Measures, with so many runs where that makes sense.
    pub(super) measure: fn(System, usize) -> Result<Figure>,
}

/// All of them, in the order of the table.
pub(super) const ALL: &[Measurement] = &[
    Measurement {
        name: "cold start of 3 nodes to a resource running, s",
        measure: |s, runs| cold_start(s, runs.min(5)),
    },
    Measurement {
        name: "power cut, 3 nodes, to running elsewhere, s",
        measure: |s, runs| failover(s, 3, runs, Victim::Follower),
    },
    Measurement { name: "the same, the leader dies, s", measure: |s, runs| failover(s, 3, runs, Victim::Leader) },
    Measurement { name: "the same, 2 nodes, s", measure: |s, runs| failover(s, 2, runs, Victim::Any) },
    Measurement { name: "the same, 16 nodes, s", measure: |s, runs| failover(s, 16, runs.min(3), Victim::Follower) },
    Measurement { name: "a resource vanishes, monitor 1 s, to running again, s", measure: |s, runs| recovery(s, runs) },
    Measurement { name: "resource move, s", measure: |s, runs| move_around(s, runs) },
    Measurement { name: "500 resources, all started, s", measure: |s, _| many(s, Many::Start) },
    Measurement { name: "500 resources, those of a lost node back, s", measure: |s, _| many(s, Many::Recover) },
    Measurement { name: "idle with 10 resources, % of a core a node", measure: |s, _| idle(s, Idle::Processor) },
    Measurement { name: "idle with 10 resources, MiB resident a node", measure: |s, _| idle(s, Idle::Memory) },
];

const START: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(90);
const ONE: Workload = Workload { resources: 1, monitor_seconds: 10 };

enum Victim {
    Leader,
    Follower,
    Any,
}

/// A cluster that runs a workload.
fn running(system: System, count: usize, workload: &Workload) -> Result<Site> {
    let mut site = system.site(count)?;
    site.start(1..=count)?;
    site.wait("nodes up", START, |site| (1..=count).all(|node| system.is_up(site, node)))?;
    // A node answers before its cluster is ready to take a configuration.
    let began = std::time::Instant::now();
    while let Err(error) = system.configure(&site, 1, count, workload) {
        anyhow::ensure!(began.elapsed() < START, "the configuration is not taken: {error:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    all_started(&mut site, workload.resources, 0.0)?;
    Ok(site)
}

/// Waits until so many resources were started since `since`; when the last was.
fn all_started(site: &mut Site, resources: usize, since: f64) -> Result<f64> {
    let mut last = 0.0;
    site.wait("resources started", Duration::from_secs(600), |_| {
        let started: std::collections::BTreeMap<String, f64> = record::read(since)
            .unwrap_or_default()
            .into_iter()
            .filter(|e| e.what == "start")
            .map(|e| (e.resource, e.time))
            .collect();
        last = started.values().copied().fold(0.0, f64::max);
        started.len() >= resources
    })?;
    Ok(last)
}

/// Waits until a resource is started on another node than `not_on`; seconds from `since`.
fn started_elsewhere(site: &mut Site, resource: &str, not_on: usize, since: f64) -> Result<f64> {
    let mut at = 0.0;
    site.wait("started elsewhere", PATIENCE, |_| {
        let entries = record::read(since).unwrap_or_default();
        match entries.iter().find(|e| e.what == "start" && e.resource == resource && e.node != not_on) {
            Some(entry) => {
                at = entry.time;
                true
            }
            None => false,
        }
    })?;
    Ok(at - since)
}

fn failover(system: System, count: usize, runs: usize, victim: Victim) -> Result<Figure> {
    let mut site = running(system, count, &ONE)?;
    let mut took = Vec::new();
    for _ in 0..runs {
        let place = record::place("r1")?.context("r1 never started")?;
        let leader = system.leader(&site, place)?;
        let to_move = match victim {
            Victim::Leader => (place != leader).then_some(leader),
            Victim::Follower => (place == leader).then_some(if leader == 1 { 2 } else { 1 }),
            Victim::Any => None,
        };
        let mut place = place;
        if let Some(to) = to_move {
            let since = now();
            system.move_resource(&site, to, "r1", to)?;
            started_elsewhere(&mut site, "r1", place, since)?;
            place = to;
            std::thread::sleep(Duration::from_secs(2));
        }
        let since = now();
        site.kill(place)?;
        took.push(started_elsewhere(&mut site, "r1", place, since)?);
        site.start([place])?;
        site.wait("the node is back", START, |site| system.is_up(site, place))?;
        site.wait("all know a leader", START, |site| {
            let leaders: Vec<_> = site.running().iter().map(|n| system.leader(site, *n).ok()).collect();
            leaders.iter().all(|l| l.is_some() && *l == leaders[0])
        })?;
        std::thread::sleep(Duration::from_secs(3));
    }
    Figure::of(took)
}

fn cold_start(system: System, runs: usize) -> Result<Figure> {
    let mut took = Vec::new();
    let mut site = running(system, 3, &ONE)?;
    // A later start finds the configuration on disk; the disks of the nodes are in memory, so they are filled again by the
    // first run's means: the figure is from power on to the configuration taken and the resource started.
    for _ in 0..runs {
        for node in site.running() {
            site.kill(node)?;
        }
        let since = now();
        site.start(1..=3)?;
        let began = std::time::Instant::now();
        while system.configure(&site, 1, 3, &ONE).is_err() {
            anyhow::ensure!(began.elapsed() < START, "the configuration is not taken");
            std::thread::sleep(Duration::from_millis(20));
        }
        took.push(all_started(&mut site, 1, since)? - since);
    }
    Figure::of(took)
}

fn recovery(system: System, runs: usize) -> Result<Figure> {
    let mut site = running(system, 3, &Workload { resources: 1, monitor_seconds: 1 })?;
    let mut took = Vec::new();
    for run in 0..runs {
        let place = record::place("r1")?.context("r1 never started")?;
        // Not in step with the monitor.
        std::thread::sleep(Duration::from_millis(2000 + 130 * (run as u64 % 8)));
        let since = now();
        site.inside(place, &["/bin/rm", "/run/hkbench-r1"])?;
        took.push(all_started(&mut site, 1, since)? - since);
    }
    Figure::of(took)
}

fn move_around(system: System, runs: usize) -> Result<Figure> {
    let mut site = running(system, 3, &ONE)?;
    let mut took = Vec::new();
    for _ in 0..runs {
        let place = record::place("r1")?.context("r1 never started")?;
        let to = place % 3 + 1;
        let since = now();
        system.move_resource(&site, to, "r1", to)?;
        took.push(started_elsewhere(&mut site, "r1", place, since)?);
        std::thread::sleep(Duration::from_secs(2));
    }
    Figure::of(took)
}

enum Many {
    Start,
    Recover,
}

fn many(system: System, what: Many) -> Result<Figure> {
    let workload = Workload { resources: 500, monitor_seconds: 60 };
    let since = now();
    let mut site = running(system, 3, &workload)?;
    if let Many::Start = what {
        let first = record::read(since)?.first().map_or(since, |e| e.time);
        return Figure::of(vec![all_started(&mut site, workload.resources, since)? - first]);
    }
    // The first monitors have run, too.
    std::thread::sleep(Duration::from_secs(10));
    let victim = 2;
    let lost = (1..=workload.resources)
        .filter(|n| record::place(&format!("r{n}")).is_ok_and(|place| place == Some(victim)))
        .count();
    let since = now();
    site.kill(victim)?;
    Figure::of(vec![all_started(&mut site, lost, since)? - since])
}

enum Idle {
    Processor,
    Memory,
}

fn idle(system: System, what: Idle) -> Result<Figure> {
    let mut site = running(system, 3, &Workload { resources: 10, monitor_seconds: 10 })?;
    site.wait("quiet", Duration::from_secs(30), {
        let until = std::time::Instant::now() + Duration::from_secs(10);
        move |_| std::time::Instant::now() > until
    })?;
    let mut values = Vec::new();
    for node in site.running() {
        match what {
            Idle::Memory => values.push(site.memory_mib(node, system.processes())?.0),
            Idle::Processor => {
                let before = site.processor_seconds(node)?;
                std::thread::sleep(Duration::from_secs(30));
                values.push((site.processor_seconds(node)? - before) / 30.0 * 100.0);
            }
        }
    }
    Figure::of(values)
}

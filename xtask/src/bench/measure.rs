//! The measurements: each sets up clusters, and notes the figures that it finds.

use super::agents;
use super::bare;
use super::cluster::Cluster;
use super::figure::{Figure, Line, Table};
use super::record::{Entry, now};
use super::systems::{System, Workload};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

/// How many runs each measurement has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    /// Power cuts of hakudo.
    pub(super) ours: usize,
    /// Power cuts of a peer, each of which takes much longer.
    pub(super) peers: usize,
}

impl Runs {
    fn of(self, system: System) -> usize {
        match system {
            System::Hakudo => self.ours,
            System::Pacemaker { .. } => self.peers,
        }
    }
}

/// A measurement.
pub(super) struct Measurement {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// It keeps the machine busy, so that nothing may run beside it.
    pub(super) busy: bool,
    pub(super) measure: fn(&Table, System, Runs) -> Result<()>,
}

/// All of them.
pub(super) const ALL: &[Measurement] = &[
    Measurement { name: "three", busy: false, measure: three_nodes },
    Measurement { name: "idle", busy: false, measure: idle },
    Measurement { name: "two", busy: false, measure: two_nodes },
    Measurement { name: "sixteen", busy: false, measure: sixteen_nodes },
    Measurement { name: "many", busy: true, measure: many },
    Measurement { name: "membership", busy: true, measure: super::messages::measure },
];

/// One resource with a short interval between monitors.
const ONE: Workload = Workload { resources: 1, monitor_seconds: 1, agent: "Record" };

fn three_nodes(table: &Table, system: System, runs: Runs) -> Result<()> {
    let cluster = Cluster::running(system, 3, ONE)?;
    cluster.with_logs(|| {
        let few = if system == System::Hakudo { 10 } else { 5 };
        cold_start(table, &cluster, runs.of(system).min(few / 2))?;
        vanish(table, &cluster, runs.ours.min(few))?;
        move_around(table, &cluster, runs.ours.min(few))?;
        cuts(table, &cluster, runs.of(system), Line::FollowerDies, false)?;
        cuts(table, &cluster, runs.of(system), Line::LeaderDies, true)
    })
}

fn cuts(table: &Table, cluster: &Cluster, runs: usize, line: Line, leads: bool) -> Result<()> {
    let took = (0..runs).map(|_| cut_where(cluster, leads)).collect::<Result<_>>()?;
    table.note_runs(line, cluster.system, took)
}

/// Cuts the power of the node of the resource, after it was moved to where it has to be.
fn cut_where(cluster: &Cluster, leads: bool) -> Result<f64> {
    let (place, leader) = (cluster.place()?, cluster.leader()?);
    if (place == leader) == leads {
        return cluster.cut(place);
    }
    let to = if leads { leader } else { leader % cluster.site.count() + 1 };
    cluster.move_to(to)?;
    cluster.rest();
    cluster.cut(to)
}

fn two_nodes(table: &Table, system: System, runs: Runs) -> Result<()> {
    let cluster = Cluster::running(system, 2, ONE)?;
    cluster.with_logs(|| {
        cuts(table, &cluster, runs.of(system), Line::OneOfTwoDies, false)?;
        cuts(table, &cluster, runs.of(system), Line::LeaderOfTwoDies, true)
    })
}

fn sixteen_nodes(table: &Table, system: System, runs: Runs) -> Result<()> {
    let cluster = Cluster::running(system, 16, ONE)?;
    let runs = if system == System::Hakudo { runs.ours.min(10) } else { 1 };
    cluster.with_logs(|| {
        cuts(table, &cluster, runs, Line::OneOfSixteenDies, false)?;
        cuts(table, &cluster, runs, Line::LeaderOfSixteenDies, true)
    })
}

/// The machines have their configuration on disk, and are switched on together.
fn cold_start(table: &Table, cluster: &Cluster, runs: usize) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..runs {
        cluster.rest();
        for node in cluster.site.running() {
            cluster.site.kill(node)?;
        }
        let since = now();
        cluster.site.start(1..=3)?;
        took.push(cluster.started(since, |_| true)?);
        cluster.wait_until_whole()?;
    }
    table.note_runs(Line::ColdStart, cluster.system, took)
}

fn vanish(table: &Table, cluster: &Cluster, runs: usize) -> Result<()> {
    let mut took = Vec::new();
    for run in 0..runs {
        // Evenly spread over the interval between monitors, so that the median is that of any moment.
        sleep(Duration::from_millis(1500));
        let monitor = cluster.site.find("a monitor", Duration::from_secs(5), |record| {
            record.since(now() - 0.05).into_iter().rfind(|e| e.what == "monitor").map(|e| e.time)
        })?;
        let phase = (run as f64 + 0.5) / runs as f64;
        sleep(Duration::from_secs_f64((monitor + phase - now()).max(0.0)));
        let since = now();
        cluster.site.inside(cluster.place()?, &["/bin/rm", "/run/hkbench-r1"])?;
        took.push(cluster.started(since, |_| true)?);
    }
    table.note_runs(Line::Vanishes, cluster.system, took)
}

fn move_around(table: &Table, cluster: &Cluster, runs: usize) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..runs {
        cluster.rest();
        took.push(cluster.move_to(cluster.place()? % 3 + 1)?);
    }
    table.note_runs(Line::Move, cluster.system, took)
}

/// So long after the last change a cluster is idle, and so long it is watched.
const QUIET: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(30);

fn idle(table: &Table, system: System, _: Runs) -> Result<()> {
    let cluster = Cluster::running(system, 3, Workload { resources: 30, monitor_seconds: 10, agent: "Record" })?;
    cluster.with_logs(|| {
        sleep(QUIET);
        let seconds = || (1..=3).map(|node| cluster.site.processor_seconds(node)).collect::<Result<Vec<_>>>();
        let (before, began) = (seconds()?, now());
        sleep(WATCHED);
        let (after, lasted) = (seconds()?, now() - began);
        let percent = |which: fn(&(f64, f64)) -> f64| {
            let used = before.iter().zip(&after).map(|(before, after)| which(after) - which(before));
            used.map(|seconds| seconds / lasted * 100.0).collect()
        };
        table.note_runs(Line::IdleDaemons, system, percent(|used| used.0))?;
        table.note_runs(Line::IdleAll, system, percent(|used| used.1))?;
        let memory = (1..=3).map(|node| cluster.site.memory_mib(node, system.processes()));
        table.note_runs(Line::Memory, system, memory.collect::<Result<_>>()?)
    })
}

const MANY: Workload = Workload { resources: 500, monitor_seconds: 60, agent: "Dummy" };

fn many(table: &Table, system: System, _: Runs) -> Result<()> {
    let cluster = Cluster::boot(system, 3)?;
    let (start, back) = cluster.with_logs(|| {
        let (since, before) = (now(), processor_seconds(&cluster)?);
        cluster.configure(MANY)?;
        let last = cluster.all_started(MANY.resources, since)?;
        let processor = processor_seconds(&cluster)? - before;
        table.note(Line::ManyStart, system, Figure::one(last - since));
        let start = Burst::between(&cluster.site.record.since(since), last, processor)?;
        // The first monitors run, too. With a peer that took minutes for the starts the next ones follow at once: it is never quiet.
        cluster.site.wait("first monitors", Duration::from_secs(240), || {
            looked_at(&cluster.site.record.since(since)) >= MANY.resources
        })?;
        sleep(Duration::from_secs(3));

        let victim = cluster.leader()? % 3 + 1;
        let lost = places(&cluster, victim).len();
        let since = now();
        cluster.site.kill(victim)?;
        let before = processor_seconds(&cluster)?;
        let last = cluster.all_started(lost, since)?;
        let processor = processor_seconds(&cluster)? - before;
        table.note(Line::ManyReturn, system, Figure::one(last - since));
        let entries = cluster.site.record.since(since);
        let starts = entries.iter().filter(|entry| entry.what == "start").map(|entry| entry.time);
        let began = starts.reduce(f64::min).context("nothing was started")?;
        Ok((start, Burst::between(&cluster.site.record.since(began), last, processor)?))
    })?;
    drop(cluster);
    let lines =
        [(start, Line::ManyStartRatio, Line::ManyStartWork), (back, Line::ManyReturnRatio, Line::ManyReturnWork)];
    for (burst, ratio, work) in lines {
        let bare = bare::cost(&burst.calls, agents::DUMMY_AGENT)?;
        table.note(ratio, system, Figure::one(burst.seconds / bare.seconds));
        table.note(work, system, Figure::one(burst.processor / bare.processor));
    }
    Ok(())
}

/// So many resources had a monitor after they were started.
fn looked_at(entries: &[Entry]) -> usize {
    let (mut started, mut looked_at) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        match entry.what.as_str() {
            "start" => _ = started.insert(entry.resource.as_str()),
            "monitor" if started.contains(entry.resource.as_str()) => _ = looked_at.insert(entry.resource.as_str()),
            _ => {}
        }
    }
    looked_at.len()
}

/// Processor time of all nodes and the agents that they ran.
fn processor_seconds(cluster: &Cluster) -> Result<f64> {
    let nodes = cluster.site.running().into_iter();
    Ok(nodes
        .map(|node| cluster.site.processor_seconds(node))
        .collect::<Result<Vec<_>>>()?
        .iter()
        .map(|used| used.1)
        .sum())
}

/// The resources whose last start was on a node.
fn places(cluster: &Cluster, node: usize) -> Vec<String> {
    let starts = cluster.site.record.since(0.0).into_iter().filter(|e| e.what == "start");
    let last: std::collections::BTreeMap<String, usize> = starts.map(|e| (e.resource, e.node)).collect();
    last.into_iter().filter(|(_, place)| *place == node).map(|(resource, _)| resource).collect()
}

/// Agent calls that were made in one go.
struct Burst {
    /// From the end of the first call to that of the last.
    seconds: f64,
    /// What was called.
    calls: Vec<Entry>,
    /// Seconds of processor time for all of it.
    processor: f64,
}

impl Burst {
    /// The calls up to `last`; all of `entries`, of which some may have come later, used `processor` seconds.
    fn between(entries: &[Entry], last: f64, processor: f64) -> Result<Self> {
        let calls: Vec<Entry> = entries.iter().filter(|entry| entry.time <= last).cloned().collect();
        let first = calls.iter().map(|entry| entry.time).reduce(f64::min).context("no agent was called")?;
        let share = calls.len() as f64 / entries.len() as f64;
        Ok(Self { seconds: last - first, calls, processor: processor * share })
    }
}

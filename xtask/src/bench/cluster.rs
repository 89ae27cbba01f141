//! A running cluster of one of the systems, and what is done to it.

use super::record::now;
use super::site::Site;
use super::systems::{System, Workload};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How long a cluster may take to start.
const START: Duration = Duration::from_secs(120);
/// How long a failure may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster.
pub(super) struct Cluster {
    pub(super) system: System,
    pub(super) site: Site,
}

impl Cluster {
    /// A cluster whose nodes are all there. A configuration that were loaded earlier would have the first node that leads
    /// fence those that it does not see yet.
    pub(super) fn boot(system: System, count: usize) -> Result<Self> {
        let cluster = Self { system, site: system.site(count)? };
        cluster.site.start(1..=count)?;
        cluster.with_logs(|| {
            if system == System::Hakudo {
                // Its status shows the nodes that are configured.
                cluster.configure(Workload { resources: 0, monitor_seconds: 10, agent: "Record" })?;
            }
            cluster.wait_until_whole()
        })?;
        Ok(cluster)
    }

    /// The same, with a workload that runs.
    pub(super) fn running(system: System, count: usize, workload: Workload) -> Result<Self> {
        let cluster = Self::boot(system, count)?;
        cluster.with_logs(|| cluster.load(workload))?;
        Ok(cluster)
    }

    /// Does something; if it fails, what the nodes wrote is kept, and the error says where.
    pub(super) fn with_logs<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        work().map_err(|error| match self.site.keep_logs() {
            Some(place) => error.context(format!("the logs of the nodes are in {}", place.display())),
            None => error,
        })
    }

    /// Loads a configuration, and waits until all that it wants is started.
    pub(super) fn load(&self, workload: Workload) -> Result<()> {
        let since = now();
        self.configure(workload)?;
        self.all_started(workload.resources, since).map(drop)
    }

    /// Loads a configuration. A node answers before its cluster is ready to take one.
    pub(super) fn configure(&self, workload: Workload) -> Result<()> {
        let began = Instant::now();
        while let Err(error) = self.system.configure(&self.site, 1, workload) {
            if began.elapsed() > START {
                return Err(error.context("the configuration is not taken"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Waits until all nodes are there, and agree on who leads.
    pub(super) fn wait_until_whole(&self) -> Result<()> {
        let all: Vec<usize> = (1..=self.site.count()).collect();
        let mut last = None;
        let waited = self.site.wait("all nodes there and agreed", START, || {
            let mut looks = all.iter().map(|node| self.system.look(&self.site, *node));
            let Some(Ok(first)) = looks.next() else { return false };
            let whole = first.leader.is_some() && first.online == all && looks.all(|l| l.is_ok_and(|l| l == first));
            last = Some(first);
            whole
        });
        waited.with_context(|| format!("last seen: {last:?}"))
    }

    /// Waits until so many resources were started since `since`; when the last was.
    pub(super) fn all_started(&self, resources: usize, since: f64) -> Result<f64> {
        let mut last = 0.0;
        self.site.wait("resources started", Duration::from_secs(600), || {
            let mut starts: Vec<(String, f64)> = self.starts(since);
            starts.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
            starts.dedup_by(|a, b| a.0 == b.0);
            last = starts.iter().map(|(_, time)| *time).fold(0.0, f64::max);
            starts.len() >= resources
        })?;
        Ok(last)
    }

    fn starts(&self, since: f64) -> Vec<(String, f64)> {
        let entries = self.site.record.since(since).into_iter();
        entries.filter(|e| e.what == "start").map(|e| (e.resource, e.time)).collect()
    }

    /// Where the first resource runs.
    pub(super) fn place(&self) -> Result<usize> {
        self.site.record.place("r1").context("r1 never started")
    }

    /// When the first resource was started on a node that `fits`, in seconds after `since`.
    pub(super) fn started(&self, since: f64, fits: impl Fn(usize) -> bool) -> Result<f64> {
        let at = self.site.find("r1 started", PATIENCE, |record| record.start_of("r1", since, &fits))?;
        Ok(at - since)
    }

    /// The node that leads.
    pub(super) fn leader(&self) -> Result<usize> {
        let Some(node) = self.site.running().first().copied() else { bail!("no node runs") };
        self.system.look(&self.site, node)?.leader.context("the status names no leader")
    }

    /// Moves the first resource to a node where it is not; how long it took.
    pub(super) fn move_to(&self, node: usize) -> Result<f64> {
        let since = now();
        self.system.move_resource(&self.site, node, "r1", node)?;
        self.started(since, |place| place == node)
    }

    /// Cuts the power of a node with the first resource; how long it was until it ran elsewhere. Then the node comes back.
    pub(super) fn cut(&self, node: usize) -> Result<f64> {
        let since = now();
        self.site.kill(node)?;
        let took = self.started(since, |place| place != node)?;
        self.site.start([node])?;
        self.wait_until_whole()?;
        self.rest();
        Ok(took)
    }

    /// Lets what follows a failure come to its end, so that the next one meets a quiet cluster.
    pub(super) fn rest(&self) {
        std::thread::sleep(match self.system {
            System::Hakudo => Duration::from_millis(700),
            System::Pacemaker { .. } => Duration::from_secs(3),
        });
    }
}

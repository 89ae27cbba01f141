//! What agent calls cost without a cluster around them.

use super::record::Entry;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Where the agent's record goes when no node has it.
const FOLDER: &str = super::machine::INSIDE;

/// What a number of calls took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// From the first to the last, in seconds.
    pub(super) seconds: f64,
    /// Seconds of processor time.
    pub(super) processor: f64,
}

/// What these calls of an agent take on all cores of this machine, as fast as they go: as many at once as executors run, with
/// nothing between. They do what they did in the cluster: each resource has a state of its own on each node, found in the
/// same way.
pub(super) fn cost(calls: &[Entry], agent: &str) -> Result<Cost> {
    ensure!(!Path::new(FOLDER).exists(), "{FOLDER} exists");
    let nodes: BTreeSet<usize> = calls.iter().map(|call| call.node).collect();
    nodes.iter().try_for_each(|node| fs::create_dir_all(state_of(*node)))?;
    let taken = run(calls, agent);
    fs::remove_dir_all(FOLDER)?;
    taken
}

/// What `/var/run` of a node stands for here.
fn state_of(node: usize) -> String {
    format!("{FOLDER}/{node}")
}

fn run(calls: &[Entry], agent: &str) -> Result<Cost> {
    let threads = 2 * std::thread::available_parallelism()?.get();
    let next = AtomicUsize::new(0);
    let (before, began) = (processor_of_children()?, Instant::now());
    std::thread::scope(|scope| {
        let worker = || -> Result<()> {
            while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                let state = state_of(call.node);
                let environment = BTreeMap::from([
                    ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                    ("OCF_ROOT", "/usr/lib/ocf"),
                    ("OCF_RESOURCE_INSTANCE", call.resource.as_str()),
                    ("OCF_RESOURCE_TYPE", "Dummy"),
                    ("OCF_RESOURCE_PROVIDER", "hkbench"),
                    ("OCF_RA_VERSION_MAJOR", "1"),
                    ("OCF_RA_VERSION_MINOR", "1"),
                    ("OCF_RESKEY_CRM_meta_timeout", "20000"),
                    ("HA_VARRUN", state.as_str()),
                ]);
                Command::new(agent)
                    .arg(&call.what)
                    .env_clear()
                    .envs(environment)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .with_context(|| format!("cannot run {agent}"))?;
            }
            Ok(())
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(Cost { seconds: began.elapsed().as_secs_f64(), processor: processor_of_children()? - before })
}

/// Seconds of processor time that children of this process have used, as far as they have ended.
fn processor_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(") ").context("/proc/self/stat has another form")?;
    Ok(rest.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

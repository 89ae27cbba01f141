//! The privileged runner of agents, a process of its own.
//!
//! The node process decides and needs no privilege; this process has the privilege and decides nothing. It runs what the
//! controller asks for, one operation of a resource at a time, repeats monitors, and remembers each call with its newest
//! result, so that a node process that was restarted takes up where the old one was.

pub mod client;
pub mod protocol;

pub use client::Client;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// How an executor is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The socket on which it listens; a left-over of an earlier run is replaced.
    pub socket: PathBuf,
    /// The user under which the node process runs; it may connect beside root and the executor's own user.
    pub node_user: Option<u32>,
    /// The roots under which `resource.d/PROVIDER/TYPE` is looked for; the first is given to agents as `OCF_ROOT`.
    pub ocf_roots: Vec<PathBuf>,
    /// Where `fence_…` programs are.
    pub fence_directories: Vec<PathBuf>,
    /// Where LSB init scripts are.
    pub init_directory: PathBuf,
    /// `PATH` of agents.
    pub path: String,
    /// More environment of every agent.
    pub environment: Vec<(String, String)>,
    /// Agents running at once; none for twice the number of cores (`node-action-limit`).
    pub action_limit: Option<usize>,
}

impl Config {
    /// The customary places of a Linux system, with the socket at `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            node_user: None,
            ocf_roots: vec![PathBuf::from("/usr/lib/ocf")],
            fence_directories: vec![PathBuf::from("/usr/sbin")],
            init_directory: PathBuf::from("/etc/init.d"),
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            environment: Vec::new(),
            action_limit: None,
        }
    }
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

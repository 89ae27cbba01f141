//! The privileged runner of agents, a process of its own.
//!
//! The node process decides and needs no privilege; this process has the privilege and decides nothing. It runs what the
//! controller asks for, one operation of a resource at a time, repeats monitors, and remembers each call with its newest
//! result, so that a node process that was restarted takes up where the old one was. What it runs itself it writes down:
//! an executor that takes the place of one that died ends what that one left half done before any node is served.
//!
//! One thing it does unasked: what needs a ticket is stopped when its lease ends and no node has said that it was renewed
//! ([`hakudo_guard`]); and where that does not help in time and a watchdog is configured, the machine is reset.

pub mod agents;
mod classes;
pub mod client;
mod clock;
mod declared;
mod family;
mod journal;
mod operations;
pub mod pages;
mod process;
pub mod protocol;
mod server;
#[cfg(test)]
mod testing;
pub mod tree;
mod watchdog;

pub use client::Client;

use journal::Journal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};

/// How an executor is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The socket on which it listens; a left-over of an earlier run is replaced.
    pub socket: PathBuf,
    /// The folder for records of what runs: what an executor that died leaves to the next. Made where it is missing.
    pub runs: PathBuf,
    /// The user under which the node process runs; it may connect beside root and the executor's own user.
    pub node_user: Option<u32>,
    /// The roots under which `resource.d/PROVIDER/TYPE` is looked for in this order; the one that has the agent
    /// is its `OCF_ROOT`.
    pub ocf_roots: Vec<PathBuf>,
    /// Where `fence_…` programs are.
    pub fence_directories: Vec<PathBuf>,
    /// Where cluster-glue has its fencing plugins: the folders that hold `external`.
    pub plugin_directories: Vec<PathBuf>,
    /// Where LSB init scripts are.
    pub init_directory: PathBuf,
    /// Where systemd takes units that last until the next boot; it is there exactly on machines that systemd runs.
    pub systemd_directory: PathBuf,
    /// The socket of the system bus, on which systemd is spoken to; where there is none, by `systemctl`.
    pub system_bus: PathBuf,
    /// `PATH` of agents.
    pub path: String,
    /// More environment of every agent.
    pub environment: Vec<(String, String)>,
    /// The watchdog that resets the machine where what needs a lease does not stop in time. Without one nothing does.
    pub watchdog: Option<PathBuf>,
    /// Where the kernel takes the order to reset the machine at once.
    pub reset_trigger: PathBuf,
    /// Agents running at once that change resources, but for those that stop them; none for twice the number of cores.
    pub action_limit: Option<usize>,
}

impl Config {
    /// The customary places of a Linux system, with the socket at `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            runs: socket.with_extension("runs"),
            socket,
            node_user: None,
            ocf_roots: vec![PathBuf::from("/usr/lib/ocf")],
            fence_directories: vec![PathBuf::from("/usr/sbin")],
            plugin_directories: ["/usr/lib/stonith/plugins", "/usr/lib64/stonith/plugins"].map(PathBuf::from).into(),
            init_directory: PathBuf::from("/etc/init.d"),
            systemd_directory: PathBuf::from("/run/systemd/system"),
            system_bus: PathBuf::from("/run/dbus/system_bus_socket"),
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            environment: Vec::new(),
            watchdog: None,
            reset_trigger: PathBuf::from("/proc/sysrq-trigger"),
            action_limit: None,
        }
    }
}

impl Config {
    /// Lets agents find this program, and the commands of Pacemaker that it takes the place of. The shell library of
    /// resource-agents calls these by `HA_SBIN_DIR`.
    fn tell_agents_of_this_program(&mut self) {
        let mut add = |name: &str, value: Option<PathBuf>| {
            let missing = self.environment.iter().all(|(known, _)| known != name);
            if let (true, Some(Ok(value))) = (missing, value.map(|path| path.into_os_string().into_string())) {
                self.environment.push((name.to_owned(), value));
            }
        };
        add("HAKUDO", std::env::current_exe().ok());
        let mut directories = self.path.split(':').map(PathBuf::from);
        add("HA_SBIN_DIR", directories.find(|directory| directory.join("crm_attribute").is_file()));
    }
}

/// How many runs are looked for at once, to end them.
const LOOKS: usize = 16;
/// How long agents that do not end keep an executor that was told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs an executor until it is told to end by SIGTERM or SIGINT. Agents that run then are ended, and so are at first
/// those that an executor before this one left, for nobody would hear of their end; resources go on.
///
/// # Errors
/// The socket or the records can not be made, or another executor uses them.
pub fn run(mut config: Config) -> anyhow::Result<()> {
    config.tell_agents_of_this_program();
    // What an agent creates is readable for all, as under any init system.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Err(error) = family::take_in_orphans() {
        tracing::warn!(%error, "orphans of agents can not be taken in: one that outlives its parents may outlive a timeout");
    }
    let socket = config.socket.clone();
    let journal = Arc::new(Journal::open(&config.runs)?);
    journal.end_left_overs(None)?;
    let listener = server::bind(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKS).build()?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut child = signal(SignalKind::child())?;
        tokio::spawn(async move {
            while child.recv().await.is_some() {
                family::reap_orphans();
            }
        });
        tokio::select! {
            served = server::serve(listener, config, journal.clone()) => served,
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    });
    let _ = std::fs::remove_file(socket);
    runtime.shutdown_background();
    // Here and not only in the next executor: there may be none.
    journal.end_left_overs(Some(PATIENCE))?;
    Ok(result?)
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

//! What the tests of this crate share.

use crate::journal::{Begun, Journal};
use hakudo_base::agent::{AgentCall, AgentName};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory of its own, removed when dropped.
pub(crate) struct Directory(PathBuf);

pub(crate) fn directory(name: &str) -> Directory {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("hakudo-executor-{}-{number}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    Directory(path)
}

impl std::ops::Deref for Directory {
    type Target = PathBuf;

    fn deref(&self) -> &PathBuf {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The record of a run that is about to begin, in a folder of its own.
pub(crate) fn begun(records: &Directory) -> Begun {
    let agent = AgentName { class: "ocf".into(), provider: Some("test".into()), kind: "Test".into() };
    let call = AgentCall { operation: "start".into(), ..crate::server::metadata_call(agent, 1000) };
    Journal::open(records).unwrap().begin(&call).unwrap()
}

/// Fails unless all processes whose numbers stand in `pids`, one a line, are dead or about to be reaped.
pub(crate) fn assert_gone(pids: &str, count: usize) {
    assert_eq!(pids.lines().count(), count, "{pids}");
    let patience = Instant::now() + Duration::from_secs(2);
    for pid in pids.lines() {
        while is_alive(pid) {
            assert!(Instant::now() < patience, "{pid} lives");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub(crate) fn is_alive(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z')
}

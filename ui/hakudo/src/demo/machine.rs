//! A machine of the demo: the process that is all of one node, as the first process of a real machine would be.
//!
//! It lives in network and host name namespaces of its own, adopts every orphan of the node, and starts executor and
//! node again when they end. Killing every process in its network namespace is pulling its plug. On the loopback network, it
//! is killing this process and all its descendants.

use super::layout::Layout;
use super::network::Network;
use super::sites;
use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, wait};
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A part of the node that is kept running.
struct Part {
    words: Vec<String>,
    child: Child,
}

/// Runs the machine of a node until it is killed.
///
/// # Errors
/// Where it cannot begin.
pub(super) fn run(layout: &Layout, node: &str) -> Result<()> {
    set_child_subreaper(Some(rustix::process::getpid())).context("cannot adopt orphans")?;
    if layout.shape.loopback {
        end_with_the_demo();
    } else {
        rustix::system::sethostname(node.as_bytes()).context("cannot take a host name")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { Network::open()?.join(layout.address(node)?).await })?;
    }
    forget_what_was_volatile(layout, node)?;
    let mut parts = Vec::new();
    for words in parts_of(layout, node) {
        parts.push(Part { child: start(layout, node, &words)?, words });
    }
    loop {
        let Some((ended, _)) = wait(WaitOptions::empty()).context("cannot wait for processes")? else { continue };
        for part in &mut parts {
            if is(ended, &part.child) {
                // A part that ends at once, again and again, must not take the whole machine.
                std::thread::sleep(Duration::from_millis(200));
                part.child = start(layout, node, &part.words)?;
            }
        }
    }
}

/// Nothing ends the machine where the demo's process is killed: it looks for itself whether that is still its parent.
fn end_with_the_demo() {
    let demo = rustix::process::getppid();
    std::thread::spawn(move || {
        while rustix::process::getppid() == demo {
            std::thread::sleep(Duration::from_millis(200));
        }
        // What cannot be killed now, nobody can.
        let _ = super::machines::clear_away();
        std::process::exit(1)
    });
}

/// Empties the node's runtime folder, as a boot empties /run: agents keep there what must not outlive the power.
fn forget_what_was_volatile(layout: &Layout, node: &str) -> Result<()> {
    let folder = layout.runtime(node);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot empty {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn is(pid: Pid, child: &Child) -> bool {
    u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == child.id())
}

/// What runs on a machine, each as the words after the program's name.
fn parts_of(layout: &Layout, machine: &str) -> Vec<Vec<String>> {
    if layout.arbitrator.as_deref() == Some(machine) {
        return vec![sites::arbitrate(layout, machine)];
    }
    let config = layout.config(machine).display().to_string();
    let daemon = |part: &str| ["daemon", part, "--config", &config].map(str::to_owned).to_vec();
    vec![daemon("executor"), daemon("node")]
}

fn start(layout: &Layout, node: &str, words: &[String]) -> Result<Child> {
    let log = File::options().create(true).append(true).open(layout.log(node))?;
    Command::new(&layout.program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start on {node}: {}", words.join(" ")))
}

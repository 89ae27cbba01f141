//! Parts of hakudo that fail by themselves: the node process, the executor, the disk.

use super::{FENCING, PAGE, SERVICE, never_twice, web};
use crate::lab::{Lab, PATIENCE};
use crate::shell;
use anyhow::{Result, bail, ensure};
use hakudo_controller::request::{Change, ChangeOperation, Reply, Request};
use std::fs;
use std::time::{Duration, Instant};

fn server_pid(lab: &Lab, node: &str) -> Result<String> {
    Ok(fs::read_to_string(lab.directory.join(node).join("run/agents/Http-server.pid"))?)
}

/// Kills a part of the node with the service and starts it again at once: the service does not notice.
fn kill_and_restart(lab: &mut Lab, part: &str) -> Result<()> {
    lab.configure(FENCING, &web(), "")?;
    let node = lab.holder(SERVICE)?;
    lab.answer(PAGE)?;
    let before = server_pid(lab, &node)?;
    lab.machine(&node)?.kill(part)?;
    lab.machine(&node)?.start(part)?;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        ensure!(lab.page(PAGE).is_some_and(|page| page.trim() == node), "the service was interrupted");
    }
    lab.settled(3)?;
    ensure!(server_pid(lab, &node)? == before, "the service was restarted");
    ensure!(lab.holder(SERVICE)? == node, "the service was moved");
    // It is looked after as before.
    shell::run(&["kill", "-9", before.split(" ").next().unwrap_or_default()])?;
    lab.answer(PAGE)?;
    Ok(())
}

pub(super) fn node_killed(lab: &mut Lab) -> Result<String> {
    kill_and_restart(lab, "node")?;
    Ok(String::new())
}

pub(super) fn executor_killed(lab: &mut Lab) -> Result<String> {
    kill_and_restart(lab, "executor")?;
    Ok(String::new())
}

/// Kills parts of the node with the service for good: however well the service does there, nobody looks after it any more. The node
/// is fenced, and the service answers from elsewhere.
fn kill_for_good(lab: &mut Lab, parts: &[&str]) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let victim = lab.holder(SERVICE)?;
    lab.answer(PAGE)?;
    let took = never_twice(lab, |lab| {
        let started = Instant::now();
        for part in parts {
            lab.machine(&victim)?.kill(part)?;
        }
        shell::wait_for("an answer from elsewhere", PATIENCE, || {
            Ok(lab.page(PAGE).filter(|page| page.trim() != victim))
        })?;
        Ok(started.elapsed())
    })?;
    ensure!(!lab.machine(&victim)?.is_on(), "the service was recovered, and {victim} still has processes");
    lab.reboot_after_fencing(&victim)?;
    lab.settled(3)?;
    Ok(format!("elsewhere after {} ms", took.as_millis()))
}

pub(super) fn node_gone(lab: &mut Lab) -> Result<String> {
    kill_for_good(lab, &["node"])
}

pub(super) fn both_gone(lab: &mut Lab) -> Result<String> {
    kill_for_good(lab, &["executor", "node"])
}

/// The node with little room for its configuration.
pub(super) const SMALL_DISK: &str = "n1";

/// Where the configuration can not be written, no change is said to be done, services live, and it works again with room.
pub(super) fn disk_full(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    lab.answer(PAGE)?;
    let node = SMALL_DISK.to_owned();
    let path = lab.machine(&node)?.directory().join("state").display().to_string();
    // However much is written, in the end there is no room.
    let _ = lab.machine(&node)?.run(&["dd", "if=/dev/zero", &format!("of={path}/filler"), "bs=4k"]);

    let change = |name: &str| Change {
        operations: vec![ChangeOperation::Create {
            parent: "/cib/configuration/crm_config/cluster_property_set".to_owned(),
            xml: format!(r#"<nvpair id="options-{name}" name="{name}" value="1"/>"#),
        }],
        if_version: None,
        force: false,
    };
    match lab.ask(&node, &Request::Change(change("filler"))) {
        Ok(Reply::Done) => bail!("a change was acknowledged that is not on the disk of {node}"),
        Ok(Reply::Refused { .. } | Reply::Unknown { .. }) | Err(_) => {}
        Ok(other) => bail!("an odd answer: {other:?}"),
    }
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        ensure!(lab.page(PAGE).is_some(), "the service was interrupted");
    }
    lab.machine(&node)?.run(&["rm", &format!("{path}/filler")])?;
    let mut last = String::new();
    let done = shell::wait_for("a change with room on the disk", PATIENCE, || {
        match lab.ask(&node, &Request::Change(change("room"))) {
            Ok(Reply::Done) => return Ok(Some(())),
            Ok(other) => last = format!("{other:?}"),
            Err(error) => last = format!("{error:#}"),
        }
        Ok(None)
    });
    done.map_err(|error| error.context(last.clone()))?;
    Ok(String::new())
}

//! Agents that do not do what they should.

use super::{FENCING, PAGE, SERVICE, web};
use crate::lab::{Lab, PATIENCE};
use crate::shell;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

/// An agent that fails or hangs where a file says so: `NODE.hang-ACTION`, `NODE.fail-ACTION`; with `NODE.deaf-ACTION` it hangs
/// and takes no notice of TERM.
const FICKLE: &str = r#"#!/bin/sh
place=PLACE
state=$place/$(hostname).running
[ -e "$place/$(hostname).hang-$1" ] && sleep 1000
[ -e "$place/$(hostname).deaf-$1" ] && { trap '' TERM; sleep 1000; }
[ -e "$place/$(hostname).fail-$1" ] && { echo "ocf-exit-reason:told to fail" >&2; exit 1; }
case $1 in
start) : > "$state";;
stop) rm -f "$state";;
monitor) [ -e "$state" ] || exit 7;;
meta-data) echo '<resource-agent name="Fickle"><parameters/><actions/></resource-agent>';;
*) exit 3;;
esac
exit 0
"#;

const RESOURCE: &str = r#"<primitive id="fickle" class="ocf" provider="lab" type="Fickle">
    <operations>
        <op id="fickle-monitor" name="monitor" interval="500ms" timeout="1s"/>
        <op id="fickle-stop" name="stop" interval="0s" timeout="5s"/>
    </operations>
</primitive>"#;

fn install(lab: &Lab) -> Result<()> {
    let file = lab.directory.join("ocf/resource.d/lab/Fickle");
    fs::create_dir_all(file.parent().context("an agent lies in a directory")?)?;
    fs::write(&file, FICKLE.replace("PLACE", &lab.directory.display().to_string()))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The nodes on which the fickle resource runs.
fn running(lab: &mut Lab) -> Vec<String> {
    let names = lab.names();
    names.into_iter().filter(|node| lab.directory.join(format!("{node}.running")).exists()).collect()
}

fn tell(lab: &Lab, node: &str, what: &str) -> Result<()> {
    Ok(fs::write(lab.directory.join(format!("{node}.{what}")), "")?)
}

/// A monitor that hangs counts as a failure, and the resource is recovered.
pub(super) fn hangs(lab: &mut Lab) -> Result<String> {
    install(lab)?;
    lab.configure(FENCING, RESOURCE, "")?;
    let node = running(lab).pop().context("it runs nowhere")?;
    let switch = format!("{node}.hang-monitor");
    tell(lab, &node, "hang-monitor")?;
    let cib = shell::wait_for("a failure in the status", PATIENCE, || {
        Ok(Some(lab.cib(&node)?).filter(|cib| cib.contains("did not end within")))
    })?;
    ensure!(cib.contains("fail-count-fickle"), "the failure is not counted");
    fs::remove_file(lab.directory.join(switch))?;
    lab.settled(3)?;
    ensure!(running(lab).len() == 1, "it runs on {:?}", running(lab));
    Ok(String::new())
}

/// A start that hangs is ended, undone, and tried on another node.
pub(super) fn start_hangs(lab: &mut Lab) -> Result<String> {
    install(lab)?;
    let first = lab.names().remove(0);
    tell(lab, &first, "hang-start")?;
    let with_start = RESOURCE
        .replace("<operations>", r#"<operations><op id="fickle-start" name="start" interval="0s" timeout="1s"/>"#);
    let there = format!(r#"<rsc_location id="there" rsc="fickle" node="{first}" score="100"/>"#);
    lab.configure(FENCING, &with_start, &there)?;
    let others = running(lab);
    ensure!(others.len() == 1 && others[0] != first, "it runs on {others:?}");
    let cib = lab.cib(&first)?;
    ensure!(cib.contains("start did not end within 1s"), "the status does not say why it is not on {first}");
    ensure!(lab.machine(&first)?.is_on(), "{first} was fenced, although the resource could be stopped");
    Ok(String::new())
}

/// A resource that can not be stopped keeps its node from being trusted: the node is fenced, and only then it starts elsewhere.
pub(super) fn fails_to_stop(lab: &mut Lab) -> Result<String> {
    cannot_stop(lab, "fail-stop")
}

/// The same where the stop does not even end, and takes no notice of being told to.
pub(super) fn stop_hangs(lab: &mut Lab) -> Result<String> {
    cannot_stop(lab, "deaf-stop")
}

fn cannot_stop(lab: &mut Lab, how: &str) -> Result<String> {
    install(lab)?;
    lab.configure(FENCING, RESOURCE, "")?;
    let node = running(lab).pop().context("it runs nowhere")?;
    tell(lab, &node, how)?;
    tell(lab, &node, "fail-monitor")?;
    let switched_on = lab.directory.join(format!("{node}.on"));
    shell::wait_for("fencing of the node", PATIENCE, || Ok(switched_on.exists().then_some(())))?;
    // What ran on the machine is gone with it.
    for file in ["running", how, "fail-monitor"] {
        fs::remove_file(lab.directory.join(format!("{node}.{file}")))?;
    }
    let other = shell::wait_for("the resource elsewhere", PATIENCE, || Ok(running(lab).pop()))?;
    ensure!(other != node, "it runs on a machine without power");
    lab.reboot_after_fencing(&node)?;
    lab.settled(3)?;
    Ok(String::new())
}

/// A server that dies is running again soon, on the same node.
pub(super) fn process_dies(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let node = lab.holder(SERVICE)?;
    lab.answer(PAGE)?;
    let pid = fs::read_to_string(lab.directory.join(&node).join("run/agents/Http-server.pid"))?;
    let started = Instant::now();
    shell::run(&["kill", "-9", pid.split(" ").next().unwrap_or_default()])?;
    lab.answer(PAGE)?;
    let took = started.elapsed();
    ensure!(lab.holder(SERVICE)? == node, "the service left its node for one failure");
    Ok(format!("away for {} ms", took.as_millis()))
}

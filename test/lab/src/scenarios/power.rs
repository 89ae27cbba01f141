//! Machines that lose their power.

use super::{FENCING, PAGE, SERVICE, Skipped, never_twice, web};
use crate::lab::{Lab, PATIENCE};
use crate::shell;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::Instant;

pub(super) fn service_starts(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let holder = lab.holder(SERVICE)?;
    ensure!(lab.answer(PAGE)?.trim() == holder, "the page does not come from {holder}");
    Ok(String::new())
}

pub(super) fn cut(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let victim = lab.holder(SERVICE)?;
    cut_and_look(lab, &victim)
}

pub(super) fn cut_of_the_leader(lab: &mut Lab) -> Result<String> {
    let leader = lab.members(3)?.leader.context("no leader")?;
    let there = format!(r#"<rsc_location id="there" rsc="web" node="{leader}" score="100"/>"#);
    lab.configure(FENCING, &web(), &there)?;
    ensure!(lab.holder(SERVICE)? == leader, "the service is not where the constraint wants it");
    cut_and_look(lab, &leader)
}

/// Pulls the plug of the node with the service: it answers again from elsewhere, and the node comes back.
fn cut_and_look(lab: &mut Lab, victim: &str) -> Result<String> {
    let nodes = lab.names().len();
    let took = never_twice(lab, |lab| {
        lab.answer(PAGE)?;
        let started = Instant::now();
        lab.power_off(victim)?;
        let page = lab.answer(PAGE)?;
        ensure!(page.trim() != victim, "a machine without power answers");
        Ok(started.elapsed())
    })?;
    lab.reboot_after_fencing(victim)?;
    lab.settled(nodes)?;
    lab.answer(PAGE)?;
    Ok(format!("away for {} ms", took.as_millis()))
}

/// nginx of Debian behind an address of ocf:heartbeat:IPaddr2.
pub(super) fn nginx(lab: &mut Lab) -> Result<String> {
    for node in lab.names() {
        let directory = lab.machine(&node)?.directory().to_owned();
        let place = directory.display();
        fs::write(directory.join("index.html"), &node)?;
        let text = format!(
            "user root;\nworker_processes 1;\npid {place}/nginx.pid;\nerror_log {place}/nginx.log;\nevents {{}}\n\
             http {{ access_log off; server {{ listen 8080; root {place}; }} }}\n"
        );
        fs::write(directory.join("nginx.conf"), text)?;
        // The same configuration has to name a place that each node has for itself.
        lab.machine(&node)?.run(&["mkdir", "-p", "/run/lab"])?;
        lab.machine(&node)?.run(&["ln", "-s", &format!("{place}/nginx.conf"), "/run/lab/nginx.conf"])?;
    }
    let resources = format!(
        r#"<group id="web">
            {}
            <primitive id="server" class="ocf" provider="heartbeat" type="nginx">
                <instance_attributes id="server-parameters">
                    <nvpair id="server-file" name="configfile" value="/run/lab/nginx.conf"/>
                    <nvpair id="server-url" name="status10url" value="http://127.0.0.1:8080/"/>
                </instance_attributes>
                <operations>
                    <op id="server-start" name="start" interval="0s" timeout="40s"/>
                    <op id="server-stop" name="stop" interval="0s" timeout="60s"/>
                    <op id="server-monitor" name="monitor" interval="1s" timeout="30s"/>
                </operations>
            </primitive>
        </group>"#,
        super::ipaddr2(1)
    );
    lab.configure(FENCING, &resources, "")?;
    let victim = lab.holder(SERVICE)?;
    ensure!(lab.answer(PAGE)?.trim() == victim, "the page does not come from {victim}");
    let took = never_twice(lab, |lab| {
        let started = Instant::now();
        lab.power_off(&victim)?;
        lab.answer(PAGE)?;
        Ok(started.elapsed())
    })?;
    Ok(format!("away for {} ms", took.as_millis()))
}

/// What was written on the first node is read on the second, which mounts the same device.
pub(super) fn filesystem(lab: &mut Lab) -> Result<String> {
    let image = lab.directory.join("disk");
    let image = image.to_str().context("an odd place")?;
    shell::run(&["truncate", "--size", "32M", image])?;
    shell::run(&["mkfs.ext4", "-q", image])?;
    let device = shell::run(&["losetup", "--find", "--show", image])
        .map_err(|error| Skipped(format!("this machine gives no loop device: {error:#}")))?;
    let result = filesystem_on(lab, device.trim());
    // The machines must let go of it first.
    for node in lab.names() {
        lab.machine(&node)?.power_off()?;
    }
    shell::run(&["losetup", "--detach", device.trim()])?;
    result
}

fn filesystem_on(lab: &mut Lab, device: &str) -> Result<String> {
    let resources = format!(
        r#"<primitive id="data" class="ocf" provider="heartbeat" type="Filesystem">
            <instance_attributes id="data-parameters">
                <nvpair id="data-device" name="device" value="{device}"/>
                <nvpair id="data-directory" name="directory" value="/run/data"/>
                <nvpair id="data-type" name="fstype" value="ext4"/>
            </instance_attributes>
            <operations>
                <op id="data-start" name="start" interval="0s" timeout="60s"/>
                <op id="data-stop" name="stop" interval="0s" timeout="60s"/>
                <op id="data-monitor" name="monitor" interval="2s" timeout="40s"/>
            </operations>
        </primitive>"#
    );
    lab.configure(FENCING, &resources, "")?;
    let first = mounted(lab, None)?;
    lab.machine(&first)?.run(&["sh", "-c", "echo kept > /run/data/file && sync -f /run/data"])?;
    let started = Instant::now();
    lab.power_off(&first)?;
    let second = mounted(lab, Some(&first))?;
    let took = started.elapsed();
    let text = lab.machine(&second)?.run(&["cat", "/run/data/file"])?;
    ensure!(text.trim() == "kept", "{second} reads {text:?}");
    Ok(format!("away for {} ms", took.as_millis()))
}

/// The node that has the file system mounted.
fn mounted(lab: &mut Lab, not_on: Option<&str>) -> Result<String> {
    let names: Vec<String> = lab.names().into_iter().filter(|name| Some(name.as_str()) != not_on).collect();
    shell::wait_for("a mounted file system", PATIENCE, || {
        let mut found = None;
        for node in &names {
            if lab.machine(node)?.run(&["mountpoint", "-q", "/run/data"]).is_ok() {
                found = Some(node.clone());
            }
        }
        Ok(found)
    })
}

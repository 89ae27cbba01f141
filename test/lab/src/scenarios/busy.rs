//! A machine whose cores are all busy.

use super::{FENCING, PAGE, SERVICE, web};
use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Programs that do nothing but use a core, on every core more than one. They are gone with this value.
struct Load(Vec<Child>);

impl Load {
    fn begin() -> Result<Self> {
        let mut load = Self(Vec::new());
        for _ in 0..2 * thread::available_parallelism()?.get() {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            load.0.push(command.spawn().context("no load can be put on the cores")?);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that ended by itself is no load any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// For a minute all cores are fully busy: nobody is taken for dead, and the service stays where it is and answers.
pub(super) fn all_cores(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let holder = lab.holder(SERVICE)?;
    let view = lab.settled(3)?.view;
    let load = Load::begin()?;
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        ensure!(lab.answer(PAGE)?.trim() == holder, "the service moved");
        thread::sleep(Duration::from_millis(200));
    }
    drop(load);
    ensure!(lab.settled(3)?.view == view, "the members changed");
    let mut late = 0;
    for node in lab.names() {
        let events = lab.events(&node)?;
        ensure!(!events.iter().any(|event| event.kind == "node-lost"), "{node} lost another node");
        late += events.iter().filter(|event| event.kind == "node-late").count();
    }
    Ok(format!("{late} times a node was late"))
}

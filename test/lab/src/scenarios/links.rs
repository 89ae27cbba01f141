//! Cables that are cut.

use super::{FENCING, PAGE, SERVICE, never_twice, web};
use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

/// A node without links is fenced before its service starts elsewhere.
pub(super) fn all_cut(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let victim = lab.holder(SERVICE)?;
    let took = never_twice(lab, |lab| {
        let started = Instant::now();
        lab.network.cut_all(&victim)?;
        lab.answer(PAGE)?;
        Ok(started.elapsed())
    })?;
    lab.reboot_after_fencing(&victim)?;
    lab.settled(3)?;
    Ok(format!("away for {} ms", took.as_millis()))
}

/// With another link left nothing happens but a warning.
pub(super) fn one_of_two_cut(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let holder = lab.holder(SERVICE)?;
    let view = lab.settled(3)?.view;
    lab.network.cut(&holder, 1)?;
    let state = lab.wait("a link that is shown as down", |state| {
        state.nodes.iter().any(|node| node.links.iter().any(|link| !link.up))
    })?;
    ensure!(state.view == view, "the loss of one link of two changed the members");
    // Longer than any detection takes.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        ensure!(lab.page(PAGE).is_some_and(|page| page.trim() == holder), "the service was interrupted");
    }
    ensure!(lab.settled(3)?.view == view, "the loss of one link of two changed the members");
    lab.network.heal(&holder)?;
    lab.wait("all links up", |state| state.nodes.iter().all(|node| node.links.iter().all(|link| link.up)))?;
    Ok(String::new())
}

/// The smaller side loses its service to the greater one, which fences it.
pub(super) fn partition(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let alone = lab.holder(SERVICE)?;
    let names = lab.names();
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != alone).collect();
    let new_holder = never_twice(lab, |lab| {
        lab.network.partition(&[&[&alone], &others])?;
        let switched_on = lab.directory.join(format!("{alone}.on"));
        crate::shell::wait_for("fencing of the smaller side", crate::lab::PATIENCE, || {
            Ok(switched_on.exists().then_some(()))
        })?;
        lab.holder(SERVICE)
    })?;
    ensure!(others.contains(&new_holder.as_str()), "the service is still on the smaller side");
    lab.network.join()?;
    lab.reboot_after_fencing(&alone)?;
    let state = lab.settled(3)?;
    state.leader.context("no leader after the parts came together")?;
    Ok(String::new())
}

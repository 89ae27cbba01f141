//! Cables that are cut.

use super::{FENCING, PAGE, SERVICE, never_twice, web};
use crate::lab::{Lab, PATIENCE};
use crate::shell;
use anyhow::{Context, Result, ensure};
use hakudo_controller::request::ChangeOperation;
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
        shell::wait_for("fencing of the smaller side", PATIENCE, || Ok(switched_on.exists().then_some(())))?;
        lab.holder(SERVICE)
    })?;
    ensure!(others.contains(&new_holder.as_str()), "the service is still on the smaller side");
    lab.network.join()?;
    lab.reboot_after_fencing(&alone)?;
    let state = lab.settled(3)?;
    state.leader.context("no leader after the parts came together")?;
    Ok(String::new())
}

/// The service is where most nodes are: the one that is cut off is fenced, and nobody notices.
pub(super) fn partition_without_loss(lab: &mut Lab) -> Result<String> {
    let names = lab.names();
    // Without a wish it might be moved for the balance of the nodes that are left.
    let there = format!(r#"<rsc_location id="there" rsc="web" node="{}" score="100"/>"#, names[1]);
    lab.configure(FENCING, &web(), &there)?;
    let holder = lab.holder(SERVICE)?;
    lab.answer(PAGE)?;
    let alone = names.iter().find(|name| **name != holder).context("a node without the service")?.clone();
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != alone).collect();
    let switched_on = lab.directory.join(format!("{alone}.on"));
    never_twice(lab, |lab| {
        lab.network.partition(&[&[&alone], &others])?;
        // Well after the fencing, as well.
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            ensure!(lab.page(PAGE).is_some_and(|page| page.trim() == holder), "the service was interrupted");
        }
        ensure!(switched_on.exists(), "{alone} is cut off and was not fenced");
        Ok(())
    })?;
    lab.network.join()?;
    lab.reboot_after_fencing(&alone)?;
    lab.settled(3)?;
    ensure!(lab.holder(SERVICE)? == holder, "the service was moved");
    Ok(String::new())
}

/// Two nodes that lose each other fence each other; who is to win is given a start, and then exactly that one is left, with the
/// service.
pub(super) fn split_of_two(lab: &mut Lab) -> Result<String> {
    lab.configure(FENCING, &web(), "")?;
    let names = lab.names();
    let [winner, loser] = names.as_slice() else { anyhow::bail!("two nodes are needed") };
    lab.change(ChangeOperation::Create {
        parent: "//instance_attributes[@id='power-parameters']".to_owned(),
        xml: format!(r#"<nvpair id="power-delay" name="pcmk_delay_base" value="{winner}:2s;{loser}:0s"/>"#),
    })?;
    lab.settled(2)?;
    let file = |node: &str| lab.directory.join(format!("{node}.on"));
    let (winners, losers) = (file(winner), file(loser));
    let took = never_twice(lab, |lab| {
        let started = Instant::now();
        lab.network.partition(&[&[winner], &[loser]])?;
        shell::wait_for("fencing of the other node", PATIENCE, || Ok(losers.exists().then_some(())))?;
        shell::wait_for("the service on the node that is left", PATIENCE, || {
            Ok(lab.page(PAGE).filter(|page| page.trim() == winner))
        })?;
        let took = started.elapsed();
        std::thread::sleep(Duration::from_secs(3));
        ensure!(!winners.exists() && lab.machine(winner)?.is_on(), "{winner} was fenced, too");
        ensure!(!lab.machine(loser)?.is_on(), "{loser} has processes");
        Ok(took)
    })?;
    lab.network.join()?;
    lab.reboot_after_fencing(loser)?;
    lab.settled(2)?;
    Ok(format!("one is left and serves after {} ms", took.as_millis()))
}

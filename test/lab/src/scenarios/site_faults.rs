//! Faults between and within two sites that must not move the ticket, or must move it in good order.

use super::SERVICE;
use super::sites::{self, PATIENCE, Watch, ask, member, prepare, status, taken_over, wait_for_service, watching};
use crate::lab::{ARBITRATOR, Lab, Lease};
use crate::shell;
use anyhow::{Context, Result, bail, ensure};
use hakudo_controller::request::{Reply, Request};
use hakudo_tickets::{Refusal, Reply as Answer, Request as Ask};
use std::thread;
use std::time::{Duration, Instant};

const A: usize = 0;
const B: usize = 1;

/// How long nobody had the service when it went from the first site to the second.
fn interruption(watch: &Watch) -> Result<Duration> {
    let (Some(last), Some(first)) = (watch.at_a, watch.at_b) else { bail!("the service was not seen at both sites") };
    ensure!(first > last, "the margin is negative");
    Ok(first - last)
}

/// The agents of the service fail at both nodes of the site: it gives the ticket up and does not get it back by itself, and
/// after they were mended it can have it again.
pub(super) fn agents_fail(lab: &mut Lab) -> Result<String> {
    lab.make_agent_breakable()?;
    prepare(lab)?;
    let Lease { expire, .. } = lab.lease()?;
    let (took, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        ["a1", "a2"].iter().try_for_each(|node| lab.break_agent(node, true))?;
        wait_for_service(lab, B)?;
        Ok(begun.elapsed())
    })?;
    let away = interruption(&watch)?;
    let (first, site) = (status(lab, "b1")?, member(lab, "a")?);
    let ticket = first.tickets.first().context("no ticket")?;
    ensure!(ticket.failures.get(&site).is_some_and(|times| *times > 0), "the failure of the site is not counted");
    let (_, watch) = watching(lab, |_| {
        thread::sleep(expire * 3);
        Ok(())
    })?;
    ensure!(watch.at_a.is_none(), "the ticket went back to the site that fails");

    ["a1", "a2"].iter().try_for_each(|node| lab.break_agent(node, false))?;
    lab.choose(A);
    lab.clean_up("server")?;
    shell::wait_for("the ticket back at the site that was mended", PATIENCE, || {
        ask(lab, "b1", Ask::Move { ticket: "T".into(), to: site, dry_run: false }).map(Some)
    })?;
    wait_for_service(lab, A)?;
    Ok(format!("moved after {} ms, away for {} ms, and back", took.as_millis(), away.as_millis()))
}

/// Only the link between the sites is cut: the arbitrator hears both, and nothing moves.
pub(super) fn link_between_sites_cut(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let Lease { expire, stop_time, .. } = lab.lease()?;
    let holder = wait_for_service(lab, A)?;
    let (_, watch) = watching(lab, |lab| {
        lab.network.partition(&[&["a1", "a2"], &["b1", "b2"]])?;
        let begun = Instant::now();
        while begun.elapsed() < expire * 3 + stop_time {
            lab.choose(A);
            ensure!(lab.holders(SERVICE)? == [holder.clone()], "the service left its node");
            thread::sleep(Duration::from_millis(50));
        }
        lab.network.join()
    })?;
    ensure!(watch.at_b.is_none(), "the ticket moved");
    Ok(format!("{} s without the link, and nothing moved", (expire * 3 + stop_time).as_secs()))
}

/// The second site looks well and is not: a planned move ends where it began.
pub(super) fn move_rolls_back(lab: &mut Lab) -> Result<String> {
    lab.make_agent_breakable()?;
    prepare(lab)?;
    ["b1", "b2"].iter().try_for_each(|node| lab.break_agent(node, true))?;
    let (to, back_to) = (member(lab, "b")?, member(lab, "a")?);
    let (took, _) = watching(lab, |lab| {
        let begun = Instant::now();
        let question =
            Request::Tickets { ask: Box::new(Ask::Move { ticket: "T".into(), to, dry_run: false }), progress: false };
        let answer = match lab.ask_patiently("a1", &question)? {
            Reply::Tickets { answer } => *answer,
            other => bail!("a1 answers {other:?}"),
        };
        let rolled_back = matches!(&answer, Answer::Refused(Refusal::RolledBack { site, .. }) if *site == back_to);
        ensure!(rolled_back, "the move ended with {answer:?}");
        wait_for_service(lab, A)?;
        Ok(begun.elapsed())
    })?;
    lab.choose(B);
    shell::wait_for("the second site at rest without the service", PATIENCE, || {
        Ok(lab.holders(SERVICE)?.is_empty().then_some(()))
    })?;
    Ok(format!("back after {} ms", took.as_millis()))
}

/// The node processes of the site die and nobody starts them again: the executors end the service with the lease.
pub(super) fn all_nodes_killed(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let (begun, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        ["a1", "a2"].iter().try_for_each(|node| lab.machine(node)?.kill("node"))?;
        wait_for_service(lab, B)?;
        Ok(begun)
    })?;
    taken_over(lab, begun, &watch)
}

/// Each member has an address on either of two links: without the first one nothing moves, and a takeover works.
pub(super) fn several_addresses(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let Lease { expire, stop_time, .. } = lab.lease()?;
    let (_, watch) = watching(lab, |lab| {
        ["b1", "b2", ARBITRATOR].iter().try_for_each(|node| lab.network.cut(node, 0))?;
        thread::sleep(expire * 3 + stop_time);
        Ok(())
    })?;
    ensure!(watch.at_b.is_none(), "the ticket moved, although the members hear each other");
    wait_for_service(lab, A)?;
    let (begun, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        sites::power_off_all_of_it(lab)?;
        wait_for_service(lab, B)?;
        Ok(begun)
    })?;
    taken_over(lab, begun, &watch)
}

/// A service that starts and stops at once, and what it needs.
pub(super) fn dummy() -> (String, &'static str) {
    let resource = r#"<primitive id="web" class="ocf" provider="hakudo" type="Dummy">
        <operations><op id="web-monitor" name="monitor" interval="10s" timeout="10s"/></operations></primitive>"#;
    (resource.to_owned(), r#"<rsc_ticket id="web-T" rsc="web" ticket="T" loss-policy="stop"/>"#)
}

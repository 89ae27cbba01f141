//! What `cargo xtask bench tickets` measures. The note of each of these is its figures, `name=number` with the unit in the name.

use super::site_faults;
use super::sites::{self, PATIENCE, ask, member, prepare, watching};
use crate::lab::{ARBITRATOR, Lab};
use crate::shell;
use anyhow::{Context, Result, bail, ensure};
use hakudo_tickets::{Outcome, Request as Ask};
use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long a group that has nothing to do is looked at.
const IDLE: Duration = Duration::from_secs(120);
/// What begins before it comes to rest is not looked at.
const REST: Duration = Duration::from_secs(5);

/// The first site of hakudo loses its power.
pub(super) fn takeover(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let (begun, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        sites::power_off_all_of_it(lab)?;
        sites::wait_for_service(lab, 1)?;
        Ok(begun)
    })?;
    let (Some(last), Some(first)) = (watch.at_a, watch.at_b) else { bail!("the service was not seen at both sites") };
    ensure!(first > last, "the margin is negative");
    Ok(format!("takeover_seconds={:.3}", (first - begun).as_secs_f64()))
}

/// The same of two sites of boothd: until its cluster would hear of the ticket.
pub(super) fn takeover_of_boothd(lab: &mut Lab) -> Result<String> {
    let first = lab.network.address("a1", 0)?.to_string();
    lab.wait_for_list("a1", |text| text.starts_with("ticket: T, leader: NONE"))?;
    thread::sleep(Duration::from_millis(500));
    lab.booth("a1", &["grant", "-w", "-s", &first, "T"])?;
    // A lease and some of the next, so that it is cut off at any moment of a renewal.
    thread::sleep(lab.lease()?.expire.mul_f64(1.3));
    let cut = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    lab.power_off("a1")?;
    let granted = shell::wait_for("the ticket at the second site", PATIENCE, || {
        let history = lab.history_of("b1")?;
        Ok(history.into_iter().find(|(at, granted)| *at > cut && *granted).map(|(at, _)| at))
    })?;
    let took = Duration::from_nanos(u64::try_from(granted - cut)?);
    Ok(format!("takeover_seconds={:.3}", took.as_secs_f64()))
}

/// A planned move of a service that starts and stops at once, as the group measures it.
pub(super) fn planned_move(lab: &mut Lab) -> Result<String> {
    let (resource, needs) = site_faults::dummy();
    sites::configure_with(lab, &resource, needs)?;
    sites::grant(lab)?;
    let to = member(lab, "b")?;
    for site in [1, 0] {
        lab.choose(site);
        lab.settled(2)?;
    }
    match ask(lab, "a2", Ask::Move { ticket: "T".into(), to, dry_run: false })? {
        Outcome::Moved { interruption: Some(away), .. } => {
            Ok(format!("interruption_seconds={:.3}", away.as_secs_f64()))
        }
        other => bail!("the move ended with {other:?}"),
    }
}

/// What an arbitrator and the renewals cost where nothing happens.
pub(super) fn idle(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    thread::sleep(REST);
    let process = lab.machine(ARBITRATOR)?.process(&["arbitrator"])?.as_raw_nonzero();
    lab.choose(0);
    let (used, written, begun) = (processor_time(process.get())?, version(lab)?, Instant::now());
    thread::sleep(IDLE);
    let share = (processor_time(process.get())? - used).as_secs_f64() / begun.elapsed().as_secs_f64();
    let writes = version(lab)? - written;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident memory")?;
    let resident: f64 = resident.split_whitespace().next().context("no number")?.parse()?;
    Ok(format!("share_percent={:.3} resident_mib={:.2} writes={writes}", share * 100.0, resident / 1024.0))
}

/// The time that a process has run (proc(5): the first number of schedstat, in nanoseconds).
fn processor_time(process: i32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanos = text.split_whitespace().next().context("no time")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// How often the site's configuration and status were written.
fn version(lab: &mut Lab) -> Result<u64> {
    let cib = lab.cib("a1")?;
    let number = |name: &str| -> Result<u64> {
        let begin = format!(" {name}=\"");
        let text = cib.split_once(&begin).with_context(|| format!("no {name}"))?.1;
        Ok(text.split('"').next().unwrap_or_default().parse()?)
    };
    // Each new epoch counts the updates anew; there is none here.
    Ok((number("epoch")? << 32) + number("num_updates")?)
}

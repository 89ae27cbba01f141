//! Groups in which some members are Debian's boothd: what a group looks like while it changes over.

use super::sites;
use crate::lab::{ARBITRATOR, Lab, Lease, PATIENCE};
use crate::shell;
use anyhow::{Result, ensure};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Two sites of hakudo, and a boothd that arbitrates: the ticket is granted, renewed for some leases, and taken over when
/// its site loses its power.
pub(super) fn arbitrator(lab: &mut Lab) -> Result<String> {
    let Lease { expire, .. } = lab.lease()?;
    lab.wait_for_list(ARBITRATOR, |text| text.starts_with("ticket: T"))?;
    sites::prepare(lab)?;
    let holder = lab.network.address("a1", 0)?.to_string();
    let held = |text: &str| text.starts_with(&format!("ticket: T, leader: {holder}, expires: "));
    let first = lab.wait_for_list(ARBITRATOR, held)?;
    let (_, watch) = sites::watching(lab, |_| {
        thread::sleep(expire * 3);
        Ok(())
    })?;
    ensure!(watch.at_b.is_none(), "the second site serves, although the first one renews");
    let later = lab.wait_for_list(ARBITRATOR, held)?;
    ensure!(first != later, "boothd did not hear of a renewal: {later}");
    sites::wait_for_service(lab, 0)?;
    let (begun, watch) = sites::watching(lab, |lab| {
        let begun = Instant::now();
        sites::power_off_all_of_it(lab)?;
        sites::wait_for_service(lab, 1)?;
        Ok(begun)
    })?;
    let note = sites::taken_over(lab, begun, &watch)?;
    let winner = lab.network.address("b1", 0)?.to_string();
    lab.wait_for_list(ARBITRATOR, |text| text.starts_with(&format!("ticket: T, leader: {winner}, ")))?;
    Ok(note)
}

fn now() -> Result<u128> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())
}

/// Two sites of boothd, and hakudo arbitrates: grant, renewal, and takeover when the holder is cut off, which gives the
/// ticket up by itself; the arbitrator is restarted meanwhile.
pub(super) fn sites(lab: &mut Lab) -> Result<String> {
    let Lease { expire, stop_time, .. } = lab.lease()?;
    lab.wait_for_list("a1", |text| text.starts_with("ticket: T, leader: NONE"))?;
    let (a, b) = (lab.network.address("a1", 0)?.to_string(), lab.network.address("b1", 0)?.to_string());
    // The daemons ask each other for the state first.
    thread::sleep(Duration::from_millis(500));
    lab.booth("a1", &["grant", "-w", "-s", &a, "T"])?;
    let held = |by: &str| format!("ticket: T, leader: {by}, expires: ");
    lab.wait_for_list("b1", |text| text.starts_with(&held(&a)))?;
    thread::sleep(expire * 3);
    lab.wait_for_list("b1", |text| text.starts_with(&held(&a)))?;
    let granted = lab.history_of("a1")?;
    let renewals = granted.iter().filter(|(_, granted)| *granted).count();
    ensure!(renewals > 3 && granted.last().is_some_and(|(_, granted)| *granted), "not renewed: {granted:?}");

    let cut = now()?;
    lab.network.partition(&[&["a1"], &["b1", ARBITRATOR]])?;
    lab.machine(ARBITRATOR)?.signal(&["arbitrator"], rustix::process::Signal::KILL)?;
    lab.start_arbitrator()?;
    lab.wait_for_list("b1", |text| text.starts_with(&held(&b)))?;
    let taken = |history: Vec<(u128, bool)>, to| history.into_iter().find(|(at, granted)| *at > cut && *granted == to);
    // boothd says whom it follows before it has told its cluster.
    let seen = |node: &'static str, to| {
        shell::wait_for(&format!("a word of {node} on its ticket"), PATIENCE, || Ok(taken(lab.history_of(node)?, to)))
    };
    let ((lost, _), (got, _)) = (seen("a1", false)?, seen("b1", true)?);
    ensure!(got > lost, "the margin is negative");
    let took = Duration::from_nanos(u64::try_from(got - cut)?);
    // A restarted arbitrator counts its promise from then on; boothd looks at the time by the second.
    let most = (expire + stop_time).mul_f64(1.05) + Duration::from_secs(4);
    ensure!(took <= most, "the takeover took {took:?}, and {most:?} is the most");
    lab.network.join()?;
    lab.wait_for_list("a1", |text| text.starts_with(&held(&b)))?;
    Ok(format!("taken over after {} ms, margin {} ms", took.as_millis(), (got - lost) / 1_000_000))
}

/// Two sites of boothd, each beside a cluster of hakudo: boothd grants and revokes with hakudo's `crm_ticket`, and the service
/// follows. When the holder is cut off, it gives the ticket up and its cluster stops, and the other site takes over.
pub(super) fn clusters(lab: &mut Lab) -> Result<String> {
    let Lease { expire, .. } = lab.lease()?;
    sites::configure(lab)?;
    for node in ["a1", "b1"] {
        lab.start_boothd(node)?;
    }
    let first = lab.network.address("a1", 0)?.to_string();
    lab.wait_for_list("a1", |text| text.starts_with("ticket: T, leader: NONE"))?;
    // The daemons ask each other for the state first.
    thread::sleep(Duration::from_millis(500));
    lab.booth("a1", &["grant", "-w", "-s", &first, "T"])?;
    sites::wait_for_service(lab, 0)?;
    let (_, watch) = sites::watching(lab, |_| {
        thread::sleep(expire * 3);
        Ok(())
    })?;
    ensure!(watch.at_b.is_none(), "the second site serves, although the first one renews");
    lab.choose(0);
    let cib = lab.cib("a1")?;
    let written = ["owner=", "expires=", "term="].iter().all(|attribute| cib.contains(attribute));
    ensure!(written, "boothd's attributes of the ticket are not in the configuration's status");
    let (begun, watch) = sites::watching(lab, |lab| {
        let begun = Instant::now();
        lab.network.partition(&[&["a1"], &["b1", ARBITRATOR]])?;
        sites::wait_for_service(lab, 1)?;
        Ok(begun)
    })?;
    // boothd looks at the time by the second, and asks again before it decides.
    sites::taken_over_with_a_start_of(Duration::from_secs(4), lab, begun, &watch)
}

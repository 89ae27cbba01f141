//! Two sites of two nodes each and an arbitrator: the service runs where the ticket is, and never at both.

use super::{FENCING, SERVICE, database, web};
use crate::lab::{ARBITRATOR, Boothd, Lab, Lease};
use crate::shell;
use anyhow::{Context, Result, bail, ensure};
use hakudo_controller::request::{ChangeOperation, Reply, Request};
use hakudo_tickets::{MemberId, Outcome, Reply as Answer, Request as Ask, Status};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a takeover may cost beyond lease and time to stop.
const SLACK: Duration = Duration::from_secs(1);
pub(super) const PATIENCE: Duration = Duration::from_secs(40);
const NEEDS: &str = r#"<rsc_ticket id="web-T" rsc="web" ticket="T" loss-policy="stop"/>"#;
const A: usize = 0;
const B: usize = 1;

/// Who had the service's address when: the last sight of it at the one site and the first at the other.
pub(super) struct Watch {
    pub(super) at_a: Option<Instant>,
    pub(super) at_b: Option<Instant>,
    both: bool,
}

pub(super) fn ask(lab: &mut Lab, node: &str, ask: Ask) -> Result<Outcome> {
    match lab.ask(node, &Request::Tickets { ask: Box::new(ask), progress: false })? {
        Reply::Tickets { answer } => match *answer {
            Answer::Done(outcome) => Ok(outcome),
            other => bail!("the group answers {other:?}"),
        },
        other => bail!("{node} answers {other:?}"),
    }
}

pub(super) fn status(lab: &mut Lab, node: &str) -> Result<Status> {
    match ask(lab, node, Ask::Status)? {
        Outcome::Status(status) => Ok(*status),
        other => bail!("no status: {other:?}"),
    }
}

/// The number of a site in the group.
pub(super) fn member(lab: &mut Lab, site: &str) -> Result<MemberId> {
    let address = lab.network.address(&format!("{site}1"), 0)?.to_string();
    let status = status(lab, "a1")?;
    let found = status.members.iter().find(|member| member.name == address);
    found.map(|member| member.id).with_context(|| format!("no member {address}"))
}

/// Both sites have the service, and the first has the ticket.
pub(super) fn prepare(lab: &mut Lab) -> Result<()> {
    prepare_with(lab, &web(), NEEDS)
}

fn prepare_with(lab: &mut Lab, resources: &str, constraints: &str) -> Result<()> {
    configure_with(lab, resources, constraints)?;
    grant_to_the_first(lab)
}

pub(super) fn configure_with(lab: &mut Lab, resources: &str, constraints: &str) -> Result<()> {
    [A, B].into_iter().try_for_each(|site| {
        lab.choose(site);
        lab.configure(FENCING, resources, constraints)
    })
}

/// Both sites have the service, which needs the ticket.
pub(super) fn configure(lab: &mut Lab) -> Result<()> {
    configure_with(lab, &web(), NEEDS)
}

fn grant_to_the_first(lab: &mut Lab) -> Result<()> {
    grant(lab)?;
    wait_for_service(lab, A).map(drop)
}

/// The first site has the ticket.
pub(super) fn grant(lab: &mut Lab) -> Result<()> {
    lab.choose(A);
    shell::wait_for("members that hear each other", PATIENCE, || {
        let (of_a, of_b) = (status(lab, "a1")?, status(lab, "b1")?);
        if lab.boothd == Boothd::Nowhere {
            return Ok(of_a.coordinator.and(of_b.coordinator).map(drop));
        }
        let all = of_a.members.iter().chain(&of_b.members).all(|member| member.heard.is_some());
        Ok(all.then_some(()))
    })?;
    let site = member(lab, "a")?;
    shell::wait_for("the ticket at the first site", PATIENCE, || {
        ask(lab, "a1", Ask::Grant { ticket: "T".into(), site, force: false }).map(Some)
    })?;
    Ok(())
}

/// Waits until a node of the site has the address.
pub(super) fn wait_for_service(lab: &mut Lab, site: usize) -> Result<String> {
    lab.choose(site);
    shell::wait_for("the service", PATIENCE, || Ok(lab.holders(SERVICE)?.first().cloned()))
}

/// Watches both sites while something happens.
pub(super) fn watching<T>(lab: &mut Lab, during: impl FnOnce(&mut Lab) -> Result<T>) -> Result<(T, Watch)> {
    let namespaces = |names: [&str; 2]| names.map(|node| lab.network.namespace(node));
    let (of_a, of_b) = (namespaces(["a1", "a2"]), namespaces(["b1", "b2"]));
    let (over, looked) = (AtomicBool::new(false), AtomicBool::new(false));
    let (result, watch) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut watch = Watch { at_a: None, at_b: None, both: false };
            loop {
                let last = over.load(Ordering::Relaxed);
                // First where it should be gone: what is seen there afterwards is later than what is seen here.
                let b = super::holders(&of_b) > 0;
                let a = super::holders(&of_a) > 0;
                if a {
                    watch.at_a = Some(Instant::now());
                }
                if b {
                    watch.at_b.get_or_insert_with(Instant::now);
                }
                watch.both |= a && b;
                looked.store(true, Ordering::Relaxed);
                if last {
                    return watch;
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        while !looked.load(Ordering::Relaxed) && !watcher.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        let result = during(lab);
        over.store(true, Ordering::Relaxed);
        (result, watcher.join())
    });
    let Ok(watch) = watch else { bail!("the watcher died") };
    ensure!(!watch.both, "{SERVICE} was at both sites at the same time");
    Ok((result?, watch))
}

/// The second site takes over, in time, and only after the first has stopped.
pub(super) fn taken_over(lab: &Lab, begun: Instant, watch: &Watch) -> Result<String> {
    taken_over_with_a_start_of(SLACK, lab, begun, watch)
}

/// The same of a service that takes so long to start.
pub(super) fn taken_over_with_a_start_of(start: Duration, lab: &Lab, begun: Instant, watch: &Watch) -> Result<String> {
    let Lease { expire, stop_time, .. } = lab.lease()?;
    let (Some(last), Some(first)) = (watch.at_a, watch.at_b) else { bail!("the service was not seen at both sites") };
    ensure!(first > last, "the margin is negative");
    let took = first - begun;
    let most = (expire + stop_time).mul_f64(1.05) + start;
    ensure!(took <= most, "the takeover took {took:?}, and {most:?} is the most");
    Ok(format!("taken over after {} ms, margin {} ms", took.as_millis(), (first - last).as_millis()))
}

/// The first site burns.
pub(super) fn power_off_all_of_it(lab: &mut Lab) -> Result<()> {
    for node in ["a1", "a2"] {
        lab.power_off(node)?;
        // Its addresses go with its power.
        shell::run(&["sh", "-c", &lab.network.down_command(node)])?;
    }
    Ok(())
}

/// PostgreSQL and its address depend on the ticket: a client is answered by the site that has it, and by the other one
/// when the first has lost its power.
pub(super) fn database_behind_the_ticket(lab: &mut Lab) -> Result<String> {
    for (site, name) in [(A, "a"), (B, "b")] {
        lab.choose(site);
        database::prepare(lab, name)?;
    }
    let needs = r#"<rsc_ticket id="database-T" rsc="database-and-address" ticket="T" loss-policy="stop"/>"#;
    prepare_with(lab, &database::behind_an_address(), needs)?;
    let answered_by = |lab: &Lab, site: &str| Ok((database::answers(lab).as_deref() == Some(site)).then_some(()));
    shell::wait_for("an answer of the first site's database", PATIENCE, || answered_by(lab, "a"))?;
    let ((begun, away), watch) = watching(lab, |lab| {
        let begun = Instant::now();
        power_off_all_of_it(lab)?;
        shell::wait_for("an answer of the second site's database", PATIENCE, || answered_by(lab, "b"))?;
        Ok((begun, begun.elapsed()))
    })?;
    let note = taken_over_with_a_start_of(database::START, lab, begun, &watch)?;
    Ok(format!("{note}, the database answers after {} ms", away.as_millis()))
}

/// The sites find their group in their clusters' configuration, the arbitrator in booth.conf: it is the same.
pub(super) fn group_in_the_configuration(lab: &mut Lab) -> Result<String> {
    for site in [A, B] {
        lab.choose(site);
        lab.configure(FENCING, &web(), NEEDS)?;
        for xml in lab.group_as_sets()? {
            lab.change(ChangeOperation::Create { parent: "//crm_config".into(), xml })?;
        }
    }
    grant_to_the_first(lab)?;
    taken_over_without_power(lab)
}

pub(super) fn power_cut(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    taken_over_without_power(lab)
}

/// The first site, which serves, burns, and the second one takes over.
fn taken_over_without_power(lab: &mut Lab) -> Result<String> {
    let (begun, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        power_off_all_of_it(lab)?;
        wait_for_service(lab, B)?;
        Ok(begun)
    })?;
    taken_over(lab, begun, &watch)
}

/// The link between the sites is cut, and the arbitrator is restarted meanwhile: it must not forget what it promised.
pub(super) fn cut_off(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let (begun, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        lab.network.partition(&[&["a1", "a2"], &["b1", "b2", ARBITRATOR]])?;
        thread::sleep(Duration::from_millis(500));
        lab.machine(ARBITRATOR)?.signal(&["arbitrator"], Signal::KILL)?;
        lab.start_arbitrator()?;
        wait_for_service(lab, B)?;
        Ok(begun)
    })?;
    let note = taken_over(lab, begun, &watch)?;
    lab.network.join()?;
    thread::sleep(lab.lease()?.expire);
    lab.choose(A);
    ensure!(lab.holders(SERVICE)?.is_empty(), "the first site serves again, although the ticket is at the second");
    wait_for_service(lab, B)?;
    Ok(note)
}

/// The process of the node that serves hangs: the other node of the site ends it and goes on, and the ticket stays.
pub(super) fn node_hangs(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let holder = wait_for_service(lab, A)?;
    let (took, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        lab.machine(&holder)?.signal(&["daemon", "node"], Signal::STOP)?;
        shell::wait_for("the service on the other node", PATIENCE, || {
            Ok(lab.holders(SERVICE)?.first().filter(|now| **now != holder).cloned())
        })?;
        let took = begun.elapsed();
        let Lease { expire, stop_time, .. } = lab.lease()?;
        thread::sleep(expire + stop_time);
        Ok(took)
    })?;
    ensure!(watch.at_b.is_none(), "the ticket moved, although its site went on");
    Ok(format!("served by the other node after {} ms", took.as_millis()))
}

/// The processes of all nodes of the site hang, so that nobody there can say anything: the executors stop the service when
/// the lease ends, and the other site goes on with it.
pub(super) fn all_nodes_hang(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let Lease { expire, stop_time, .. } = lab.lease()?;
    let signal = |lab: &mut Lab, signal| -> Result<()> {
        ["a1", "a2"].iter().try_for_each(|node| lab.machine(node)?.signal(&["daemon", "node"], signal))
    };
    let ((begun, after), watch) = watching(lab, |lab| {
        let begun = Instant::now();
        signal(lab, Signal::STOP)?;
        wait_for_service(lab, B)?;
        // They go on, with whatever they were about to do.
        thread::sleep(expire);
        let after = Instant::now();
        signal(lab, Signal::CONT)?;
        thread::sleep(expire + stop_time);
        Ok((begun, after))
    })?;
    ensure!(watch.at_a.is_some_and(|last| last < after), "the first site serves again when its nodes go on");
    let note = taken_over(lab, begun, &watch)?;
    wait_for_service(lab, B)?;
    lab.choose(A);
    shell::wait_for("the first site at rest without the service", PATIENCE, || {
        Ok(lab.holders(SERVICE)?.is_empty().then_some(()))
    })?;
    lab.settled(2)?;
    Ok(note)
}

/// Neither node of the site can run the service any more: the site gives the ticket up by itself.
pub(super) fn cannot_run_it(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let (begun, watch) = watching(lab, |lab| {
        let begun = Instant::now();
        lab.choose(A);
        let ban = r##"<rsc_location id="nowhere" rsc="web"><rule id="nowhere-rule" score="-INFINITY">
            <expression id="nowhere-any" attribute="#uname" operation="defined"/></rule></rsc_location>"##;
        lab.change(ChangeOperation::Create { parent: "//constraints".into(), xml: ban.into() })?;
        wait_for_service(lab, B)?;
        Ok(begun)
    })?;
    taken_over(lab, begun, &watch)
}

pub(super) fn planned_move(lab: &mut Lab) -> Result<String> {
    prepare(lab)?;
    let to = member(lab, "b")?;
    let (outcome, watch) = watching(lab, |lab| {
        let outcome = ask(lab, "a2", Ask::Move { ticket: "T".into(), to, dry_run: false })?;
        wait_for_service(lab, B)?;
        Ok(outcome)
    })?;
    let (Some(last), Some(first)) = (watch.at_a, watch.at_b) else { bail!("the service was not seen at both sites") };
    let Outcome::Moved { interruption: Some(said), .. } = outcome else { bail!("the move ended with {outcome:?}") };
    let away = first - last;
    ensure!(away < Duration::from_secs(1), "the service was away for {away:?}");
    Ok(format!("away for {} ms, said to be {} ms", away.as_millis(), said.as_millis()))
}

//! PostgreSQL with streaming replication under ocf:heartbeat:pgsql.

use super::{FENCING, never_twice};
use crate::lab::{Lab, PATIENCE};
use crate::shell;
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
pub(super) const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";
/// The agent's start of a database may take so long.
pub(super) const START: Duration = Duration::from_secs(60);
/// Under `/run`, which each machine has for itself.
const PLACE: &str = "/run/pgsql";

/// Pulls the plug of the primary while a client writes: a replica is promoted, and every acknowledged row is there.
pub(super) fn replication(lab: &mut Lab) -> Result<String> {
    replicated(lab, |lab, primary| lab.power_off(primary), true)
}

/// Kills the first process of the primary alone, while a client writes: the database is written to again, wherever the agent
/// lets it be promoted, and every acknowledged row is there. Nobody is fenced for it.
pub(super) fn postmaster_killed(lab: &mut Lab) -> Result<String> {
    let kill = |lab: &mut Lab, primary: &str| {
        let script = format!("kill -9 $(head -n 1 {PLACE}/data/postmaster.pid)");
        lab.machine(primary)?.run(&["sh", "-c", &script]).map(drop)
    };
    let told = replicated(lab, kill, false)?;
    for node in lab.names() {
        ensure!(lab.machine(&node)?.is_on(), "{node} was fenced for a process that died");
    }
    Ok(told)
}

/// Lets the primary die in some way while a client writes; `elsewhere` is whether another node must be the next one.
fn replicated(lab: &mut Lab, die: impl FnOnce(&mut Lab, &str) -> Result<()>, elsewhere: bool) -> Result<String> {
    prepare(lab, "lab")?;
    let names = lab.names();
    lab.configure(FENCING, &resources(&names), CONSTRAINTS)?;
    let primary = wait_for_primary(lab, None)?;
    wait_for_replicas(lab, 2)?;
    wait_for_heir(lab)?;
    write(lab, "CREATE TABLE rows (number integer PRIMARY KEY)")?;

    let (acknowledged, took) = never_twice(lab, |lab| while_a_client_writes(lab, |lab| die(lab, &primary)))?;
    wait_for_primary(lab, elsewhere.then_some(primary.as_str()))?;
    let there = write(lab, "SELECT number FROM rows")?;
    let there: BTreeSet<u32> = there.lines().map(str::parse).collect::<Result<_, _>>()?;
    let lost: Vec<_> = acknowledged.iter().filter(|number| !there.contains(number)).collect();
    ensure!(lost.is_empty(), "rows that were acknowledged are lost: {lost:?}");
    Ok(format!("{} acknowledged rows kept, away for {} ms", acknowledged.len(), took.as_millis()))
}

/// Lets the primary die while rows are written: the rows that were acknowledged until some were again, and how long none was.
fn while_a_client_writes(lab: &mut Lab, die: impl FnOnce(&mut Lab) -> Result<()>) -> Result<(Vec<u32>, Duration)> {
    let acknowledged = Mutex::new(Vec::new());
    let over = AtomicBool::new(false);
    let switch = lab.network.switch();
    let count = || acknowledged.lock().map_or(0, |rows| rows.len());
    let wait_for_more = |what: &str, enough: usize| {
        let already = count();
        // The agent's own steps take their time: a replica is promoted only when the primary is stopped.
        shell::wait_for(what, PATIENCE * 3, || Ok((count() >= already + enough).then_some(())))
    };
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                // What ends with an error may have been written or not: nobody was told that it was.
                if statement(&switch, 1, &format!("INSERT INTO rows VALUES ({number})")).is_ok()
                    && let Ok(mut rows) = acknowledged.lock()
                {
                    rows.push(number);
                }
            }
        });
        let result = (|| -> Result<Duration> {
            wait_for_more("rows before the primary dies", 20)?;
            let started = Instant::now();
            die(lab)?;
            wait_for_more("a row after the primary died", 1)?;
            let took = started.elapsed();
            wait_for_more("more rows after the primary died", 5)?;
            Ok(took)
        })();
        over.store(true, Ordering::Relaxed);
        result
    });
    let took = result?;
    let rows = acknowledged.into_inner().map_err(|_| anyhow!("the client panicked"))?;
    Ok((rows, took))
}

/// Makes a database that has this name, and copies of it on the machines of the site that was chosen.
pub(super) fn prepare(lab: &mut Lab, name: &str) -> Result<()> {
    let names = lab.names();
    let master = lab.directory.join(format!("pgsql-{name}"));
    let copy = master.to_str().context("an odd place")?.to_owned();
    fs::create_dir_all(&master)?;
    shell::run(&["chown", "postgres:postgres", &copy])?;
    shell::run(&["chmod", "700", &copy])?;
    let initdb = format!("{BINARIES}/initdb --auth=trust --no-sync -D {copy}/data");
    shell::run(&["su", "postgres", "-s", "/bin/sh", "-c", &initdb])?;
    let settings = "listen_addresses = '*'\nwal_level = replica\nmax_wal_senders = 10\nhot_standby = on\nfsync = on\n\
         restart_after_crash = off\nwal_keep_size = 256MB\nwal_receiver_status_interval = 2\nlogging_collector = off\n\
         unix_socket_directories = '/run/pgsql'\nhot_standby_feedback = on\n";
    append(&master.join("data/postgresql.conf"), &format!("{settings}cluster_name = '{name}'\n"))?;
    append(
        &master.join("data/pg_hba.conf"),
        "host all all 10.77.0.0/24 trust\nhost replication all 10.77.0.0/24 trust\n",
    )?;
    for node in &names {
        let script = format!(
            "mkdir -p {PLACE}/tmp && cp -a {copy}/data {PLACE}/data && chown -R postgres:postgres {PLACE} && chmod 700 {PLACE}/data"
        );
        lab.machine(node)?.run(&["sh", "-c", &script])?;
    }
    Ok(())
}

fn append(file: &std::path::Path, text: &str) -> Result<()> {
    let before = fs::read_to_string(file)?;
    Ok(fs::write(file, before + text)?)
}

/// The address of the primary.
const PRIMARY: &str = super::SERVICE;

const CONSTRAINTS: &str = r#"<rsc_colocation id="address-with-primary" rsc="address" with-rsc="database-clone" with-rsc-role="Promoted" score="INFINITY"/>
    <rsc_order id="promote-before-address" first="database-clone" first-action="promote" then="address" then-action="start" symmetrical="false" kind="Mandatory"/>
    <rsc_order id="demote-before-address" first="database-clone" first-action="demote" then="address" then-action="stop" symmetrical="false" kind="Optional"/>"#;

/// One database without a copy, and then its address: for a site, which as a whole is one of two.
pub(super) fn behind_an_address() -> String {
    format!(
        r#"<group id="database-and-address">
            <primitive id="database" class="ocf" provider="heartbeat" type="pgsql">
                <instance_attributes id="database-parameters">{}</instance_attributes>
                <operations>
                    <op id="database-start" name="start" interval="0s" timeout="{}s"/>
                    <op id="database-stop" name="stop" interval="0s" timeout="60s"/>
                    <op id="database-monitor" name="monitor" interval="3s" timeout="30s"/>
                </operations>
            </primitive>
            {}
        </group>"#,
        places().map(parameter).concat(),
        START.as_secs(),
        super::ipaddr2(2)
    )
}

/// Who answers at the address, if anybody does.
pub(super) fn answers(lab: &Lab) -> Option<String> {
    statement(&lab.network.switch(), 1, "SHOW cluster_name").ok().map(|name| name.trim().to_owned())
}

fn parameter((name, value): (&str, String)) -> String {
    format!(r#"<nvpair id="database-{name}" name="{name}" value="{value}"/>"#)
}

/// The parameters that say where everything is.
fn places() -> [(&'static str, String); 6] {
    [
        ("pgctl", format!("{BINARIES}/pg_ctl")),
        ("psql", format!("{BINARIES}/psql")),
        ("pgdata", format!("{PLACE}/data")),
        ("socketdir", PLACE.to_owned()),
        ("tmpdir", format!("{PLACE}/tmp")),
        ("logfile", format!("{PLACE}/log")),
    ]
}

fn resources(names: &[String]) -> String {
    let replication: String = [
        ("rep_mode", "sync".to_owned()),
        ("node_list", names.join(" ")),
        ("master_ip", PRIMARY.to_owned()),
        ("repuser", "postgres".to_owned()),
        ("primary_conninfo_opt", "keepalives_idle=2 keepalives_interval=1 keepalives_count=3".to_owned()),
        ("restart_on_promote", "false".to_owned()),
    ]
    .map(parameter)
    .concat();
    let (places, address) = (places().map(parameter).concat(), super::ipaddr2(2));
    format!(
        r#"<clone id="database-clone">
            <meta_attributes id="database-clone-meta">
                <nvpair id="database-promotable" name="promotable" value="true"/>
                <nvpair id="database-promoted-max" name="promoted-max" value="1"/>
                <nvpair id="database-notify" name="notify" value="true"/>
            </meta_attributes>
            <primitive id="database" class="ocf" provider="heartbeat" type="pgsql">
                <instance_attributes id="database-parameters">{places}{replication}</instance_attributes>
                <operations>
                    <op id="database-start" name="start" interval="0s" timeout="60s"/>
                    <op id="database-stop" name="stop" interval="0s" timeout="60s"/>
                    <op id="database-promote" name="promote" interval="0s" timeout="60s"/>
                    <op id="database-demote" name="demote" interval="0s" timeout="60s"/>
                    <op id="database-notify-op" name="notify" interval="0s" timeout="60s"/>
                    <op id="database-monitor" name="monitor" interval="3s" timeout="30s"/>
                    <op id="database-monitor-promoted" name="monitor" interval="2s" timeout="30s" role="Promoted"/>
                </operations>
            </primitive>
        </clone>
        {address}"#
    )
}

/// Runs a statement as a client of the primary's address.
fn write(lab: &Lab, text: &str) -> Result<String> {
    statement(&lab.network.switch(), 5, text)
}

/// Runs a statement from where the clients are; it may take so many seconds.
fn statement(switch: &str, seconds: u8, text: &str) -> Result<String> {
    let psql = format!("{BINARIES}/psql");
    let seconds = seconds.to_string();
    shell::run(&[
        "ip", "netns", "exec", switch, "timeout", &seconds, &psql, "-h", PRIMARY, "-U", "postgres", "-At", "-c", text,
    ])
}

fn wait_for_primary(lab: &mut Lab, not_on: Option<&str>) -> Result<String> {
    let names: Vec<String> = lab.names().into_iter().filter(|name| Some(name.as_str()) != not_on).collect();
    shell::wait_for("a primary", PATIENCE * 2, || {
        let mut primaries = Vec::new();
        for node in &names {
            if local(lab, node, "SELECT pg_is_in_recovery()").is_ok_and(|text| text.trim() == "f") {
                primaries.push(node.clone());
            }
        }
        ensure!(primaries.len() < 2, "{} are primaries at the same time", primaries.join(" and "));
        Ok(primaries.pop())
    })
}

fn wait_for_replicas(lab: &mut Lab, count: u32) -> Result<()> {
    shell::wait_for("replicas in step", PATIENCE * 2, || {
        let text = write(lab, "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")?;
        let streaming = write(lab, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")?;
        let enough = text.trim() != "0" && streaming.trim().parse::<u32>()? >= count;
        Ok(enough.then_some(()))
    })
}

/// Waits until the agent has found out which replica is in step with the primary, and made it the one to be promoted.
///
/// It looks at each monitor of the primary; of a primary that dies before, no replica is known to have all rows, and the
/// agent lets none of them be promoted.
fn wait_for_heir(lab: &mut Lab) -> Result<()> {
    let names = lab.names();
    shell::wait_for("a replica that may be promoted", PATIENCE * 2, || {
        let cib = lab.cib(&names[0])?;
        let has = |name: &str, value: &str| cib.contains(&format!(r#"name="{name}" value="{value}""#));
        Ok((has("database-data-status", "STREAMING|SYNC") && has("master-database", "100")).then_some(()))
    })
}

fn local(lab: &mut Lab, node: &str, statement: &str) -> Result<String> {
    let psql = format!("{BINARIES}/psql");
    lab.machine(node)?.run(&["timeout", "5", &psql, "-h", PLACE, "-U", "postgres", "-At", "-c", statement])
}

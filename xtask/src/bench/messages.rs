//! The speed of ordered messages: the native engine, and Corosync's closed process groups.

use super::cluster::Cluster;
use super::figure::{Figure, Line, Table};
use super::machine::{INSIDE, address};
use super::measure::Runs;
use super::site::{Site, name};
use super::systems::System;
use crate::process;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs;
use std::sync::Arc;

/// How long each of the three parts lasts.
const SECONDS: &str = "4";

/// What either program prints.
#[derive(Deserialize)]
struct Measured {
    round_trip_ms: f64,
    round_trip_late_ms: f64,
    small: f64,
    large: f64,
}

/// Measures ordered messages from a node that does not lead, in a cluster of three.
pub(super) fn measure(table: &Table, system: System, _: Runs) -> Result<()> {
    let text = match system {
        System::Hakudo => native()?,
        System::Pacemaker { .. } => corosync(system)?,
    };
    let measured: Measured = serde_json::from_str(&text).with_context(|| format!("what was measured: {text}"))?;
    table.note(Line::RoundTrip, system, Figure::one(measured.round_trip_ms));
    table.note(Line::RoundTripLate, system, Figure::one(measured.round_trip_late_ms));
    table.note(Line::SmallMessages, system, Figure::one(measured.small));
    table.note(Line::LargeMessages, system, Figure::one(measured.large * 8000.0 / 1e6));
    Ok(())
}

fn native() -> Result<String> {
    process::run(&["cargo", "build", "--release", "--quiet", "--package", "hakudo-node", "--example", "messages"])?;
    let program = std::env::current_dir()?.join("target/release/examples/messages");
    let program = program.to_str().context("the path of the program is UTF-8")?.to_owned();
    let listen = program.clone();
    let script = move |site, node| {
        let entry = |n| format!(r#"{{"id": {n}, "name": "{}", "addresses": ["{}"]}}"#, name(n), address(site, n));
        let nodes: Vec<String> = (1..=3).map(entry).collect();
        let nodes = nodes.join(", ");
        let run = if node == 3 { "sleep infinity".to_owned() } else { format!("{listen} /etc/hakudo/cluster.json") };
        format!(
            r#"cat > /etc/hakudo/cluster.json <<JSON
{{"cluster_name": "bench", "node": "$(hostname)", "nodes": [{nodes}]}}
JSON
head -c 32 /dev/zero > /etc/hakudo/key; chmod 600 /etc/hakudo/key
exec {run}
"#
        )
    };
    let site = Site::new(3, Arc::new(script))?;
    site.start(1..=3)?;
    let ready = || site.inside(3, &["/usr/bin/test", "-s", "/etc/hakudo/key"]).is_ok();
    site.wait("the configuration is written", std::time::Duration::from_secs(20), ready)?;
    // Views are led by the member with the lowest number.
    site.inside(3, &[&program, "/etc/hakudo/cluster.json", SECONDS])
}

fn corosync(system: System) -> Result<String> {
    ensure!(process::is_installed("python3"), "python3 calls libcpg, and is missing");
    let cluster = Cluster::boot(system, 3)?;
    fs::write(cluster.site.folder().join("messages.py"), CPG)?;
    cluster.with_logs(|| cluster.site.inside(3, &["python3", &format!("{INSIDE}/messages.py"), SECONDS]))
}

/// Speaks by libcpg. While it measures how many messages come through, the library calls a function of the C library for
/// each delivery, so that Python costs little; flow control keeps the sender from being ahead of the order.
const CPG: &str = r#"
import ctypes, json, sys, time
cpg, libc = ctypes.CDLL("libcpg.so.4"), ctypes.CDLL(None)
seconds = float(sys.argv[1])
class Name(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("value", ctypes.c_char * 128)]
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]
class Callbacks(ctypes.Structure):
    _fields_ = [("deliver", ctypes.c_void_p), ("change", ctypes.c_void_p)]
DELIVER = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t)
TRY_AGAIN = 6
def join(deliver):
    handle, name = ctypes.c_uint64(), Name(5, b"bench")
    callbacks = Callbacks(deliver, ctypes.cast(libc.getpid, ctypes.c_void_p))
    assert cpg.cpg_initialize(ctypes.byref(handle), ctypes.byref(callbacks)) == 1
    assert cpg.cpg_join(handle, ctypes.byref(name)) == 1
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        cpg.cpg_dispatch(handle, 2)
        time.sleep(0.01)
    return handle
def send(handle, size):
    vector = Vector(b"7" * size, size)
    return lambda: cpg.cpg_mcast_joined(handle, 2, ctypes.byref(vector), 1)
heard = [0]
def on_message(*_): heard[0] += 1
callback = DELIVER(on_message)
handle = join(ctypes.cast(callback, ctypes.c_void_p))
say, rounds, end = send(handle, 200), [], time.monotonic() + seconds
while time.monotonic() < end:
    before, said = heard[0], time.perf_counter()
    while say() == TRY_AGAIN: pass
    while heard[0] == before: cpg.cpg_dispatch(handle, 1)
    rounds.append(time.perf_counter() - said)
rounds.sort()
cpg.cpg_finalize(handle)
handle = join(ctypes.cast(libc.getpid, ctypes.c_void_p))
def flood(size):
    say, count, began = send(handle, size), 0, time.monotonic()
    end = began + seconds
    while time.monotonic() < end:
        for _ in range(20):
            if say() == 1: count += 1
            else: break
        cpg.cpg_dispatch(handle, 2)
    return count / (time.monotonic() - began)
print(json.dumps({"round_trip_ms": rounds[len(rounds) // 2] * 1000, "round_trip_late_ms": rounds[len(rounds) * 99 // 100] * 1000,
    "small": flood(64), "large": flood(8000)}))
"#;

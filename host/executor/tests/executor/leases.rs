//! Leases that end while nobody says anything.

use super::*;

/// Now, on the clock of leases.
fn now() -> hakudo_base::Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    hakudo_base::Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// `web` is stopped when the lease ends, and then `db`.
pub(super) fn guard(node: &mut Node, lease: Duration) -> Guard {
    let step = |call: AgentCall, after: &[u32]| Step { call, note: b"guard".to_vec(), after: after.to_vec() };
    Guard {
        ticket: "T".into(),
        until: now() + lease,
        stop_time: Duration::from_secs(1),
        reset: false,
        first_call: 1000,
        steps: vec![
            step(node.call("ocf", "Service", "web", "stop"), &[]),
            step(node.call("ocf", "Service", "db", "stop"), &[0]),
        ],
    }
}

const SERVICE: &str = r#"echo $1 $OCF_RESOURCE_INSTANCE >> $TEST_DIRECTORY/runs
    [ $1 = monitor ] && sleep 0.1
    [ $1$OCF_RESOURCE_INSTANCE = stopweb ] && test -e $TEST_DIRECTORY/slow && sleep 0.6
    [ $1$OCF_RESOURCE_INSTANCE = stopdb ] && test -e $TEST_DIRECTORY/stuck && exit 1
    exit 0"#;

#[tokio::test]
async fn what_needs_a_lease_stops_when_it_ends_and_nobody_says_anything() {
    let lab = Lab::new();
    lab.agent("Service", SERVICE);
    let (mut node, _) = lab.connect().await;
    let start = node.call("ocf", "Service", "web", "start");
    assert_eq!(node.run(start.clone()).await.exit_code, 0);
    let lease = guard(&mut node, Duration::from_secs(2));
    let (ticket, before, until) = ("T".to_owned(), lease.until, lease.until + Duration::from_secs(2));
    node.client.guard(Order::Arm(Box::new(lease)));
    node.client.guard(Order::Extend { ticket, until, first_call: 2000 });
    tokio::time::sleep(before.since(now()) + Duration::from_millis(300)).await;
    assert_eq!(lab.read("runs"), "start web\n", "the lease was renewed");
    let (known, own) = match tokio::time::timeout(Duration::from_secs(20), node.inputs.recv()).await {
        Ok(Some(ExecutorInput::Acted { known, own })) => (known, own),
        other => panic!("{other:?}"),
    };
    assert!(now() >= until);
    assert_eq!(lab.read("runs"), "start web\nstop web\nstop db\n");
    assert_eq!(own, [2000, 2001]);
    let summary: Vec<_> = known
        .iter()
        .map(|known| (known.call.call, known.note.as_slice(), known.result.as_ref().map(|result| result.exit_code)))
        .collect();
    assert_eq!(
        summary,
        [(start.call, &b"note"[..], Some(0)), (2000, &b"guard"[..], Some(0)), (2001, &b"guard"[..], Some(0))]
    );
    // Who ordered this did not know; and later the lease must have been renewed.
    let old = node.call("ocf", "Service", "web", "start");
    assert_eq!(node.run(old).await.status, ExecutionStatus::Refused);
    let new = AgentCall { call: 3000, ..node.call("ocf", "Service", "web", "start") };
    assert_eq!(node.run(new.clone()).await.status, ExecutionStatus::Refused);
    let lease = guard(&mut node, Duration::from_secs(60));
    node.client.guard(Order::Arm(Box::new(lease)));
    assert_eq!(node.run(AgentCall { call: 3001, ..new }).await.exit_code, 0);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(lab.read("reset"), "", "all has stopped in time");
}

#[tokio::test]
async fn a_machine_whose_node_is_gone_is_reset_where_a_lease_outlives_its_time() {
    let lab = Lab::new();
    lab.agent("Service", SERVICE);
    lab.write("stuck", "");
    let (mut node, _) = lab.connect().await;
    let lease = Guard { stop_time: Duration::from_secs(2), ..guard(&mut node, Duration::from_millis(500)) };
    let (until, stopped) = (lease.until, lease.until + lease.stop_time);
    node.client.guard(Order::Arm(Box::new(lease)));
    let heard = node.call("ocf", "Service", "other", "monitor");
    assert_eq!(node.run(heard).await.exit_code, 0);
    drop(node);
    lab.wait_for("runs", "monitor other\nstop web\nstop db\n").await;
    assert!(now() >= until);
    let early = lab.read("reset");
    assert!(now() >= stopped || early.is_empty(), "it still has time");
    lab.wait_for("reset", "b").await;
    assert!(now() >= stopped);
    let (_, known) = lab.connect().await;
    let failed = known.iter().find(|known| known.call.resource == "db").unwrap();
    assert_eq!(failed.result.as_ref().unwrap().exit_code, 1, "who comes later is told");
}

#[tokio::test]
async fn a_stop_that_runs_when_the_lease_ends_is_the_stop_of_the_guard() {
    let lab = Lab::new();
    lab.agent("Service", SERVICE);
    lab.write("slow", "");
    let (mut node, _) = lab.connect().await;
    let lease = guard(&mut node, Duration::from_millis(200));
    node.client.guard(Order::Arm(Box::new(lease)));
    let stop = node.call("ocf", "Service", "web", "stop");
    assert_eq!(node.run(stop.clone()).await.exit_code, 0, "it took longer than the lease");
    let (known, own) = match tokio::time::timeout(Duration::from_secs(20), node.inputs.recv()).await {
        Ok(Some(ExecutorInput::Acted { known, own })) => (known, own),
        other => panic!("{other:?}"),
    };
    assert_eq!(lab.read("runs"), "stop web\nstop db\n");
    assert_eq!(own, [1000, 1001]);
    let summary: Vec<_> =
        known.iter().map(|known| (known.call.call, known.result.as_ref().map(|r| r.exit_code))).collect();
    assert_eq!(summary, [(1000, Some(0)), (1001, Some(0))], "the newest of each resource is remembered");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(lab.read("reset"), "", "all has stopped in time");
}

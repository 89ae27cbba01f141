//! An executor as a process of its own, with real agents that each test writes for itself.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests are tests")]

mod leases;
mod services;

use hakudo_base::agent::{
    AgentCall, AgentName, AgentResult, ExecutionStatus, ExecutorInput, Known, ParameterDigests, exit_code,
};
use hakudo_executor::{Client, Config};
use hakudo_guard::{Guard, Order, Step};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// An executor with a root of its own for agents; both end with it.
struct Lab {
    directory: PathBuf,
    child: Child,
}

/// Where the child process of a test finds its root.
const ROOT: &str = "HAKUDO_EXECUTOR_TEST_ROOT";

/// Not a test: what the child process of the other tests runs. Without its variable it has nothing to do.
#[test]
fn child_process() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let mut config = Config::new(root.join("socket"));
    config.ocf_roots = vec![root.clone()];
    config.fence_directories = vec![root.join("fence")];
    config.plugin_directories = vec![root.join("plugins")];
    config.systemd_directory = root.join("systemd");
    config.system_bus = root.join("no-bus");
    config.path = format!("{}:{}", root.join("bin").display(), config.path);
    config.init_directory = root.join("init.d");
    let variables =
        [("TEST_DIRECTORY", root.to_string_lossy().as_ref()), ("HAKUDO", "/hakudo"), ("HA_SBIN_DIR", "/sbin")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    config.environment = variables.into();
    config.action_limit = Some(3);
    // There is no such device; what would reset this machine is a file.
    config.watchdog = Some(root.join("watchdog"));
    config.reset_trigger = root.join("reset");
    hakudo_executor::run(config).unwrap();
}

impl Lab {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("hakudo-executor-test-{}-{number}", std::process::id()));
        for place in ["resource.d/test", "bin", "systemd", "fence", "plugins/external", "init.d"] {
            std::fs::create_dir_all(directory.join(place)).unwrap();
        }
        let child = start(&directory);
        Self { directory, child }
    }

    fn write(&self, place: &str, text: &str) {
        let path = self.directory.join(place);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An OCF agent whose body is `script`, with the operation in `$1`; its meta-data are in a file beside it.
    fn agent(&self, name: &str, script: &str) {
        let metadata = r#"[ "$1" = meta-data ] && { cat $0.xml 2>/dev/null; exit; }"#;
        self.write(&format!("resource.d/test/{name}"), &format!("#!/bin/sh\n{metadata}\n{script}\n"));
    }

    fn metadata(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(format!("resource.d/test/{name}.xml")), text).unwrap();
    }

    async fn connect(&self) -> (Node, Vec<Known>) {
        let (client, mut inputs) = Client::start(&self.directory.join("socket"));
        match inputs.recv().await {
            Some(ExecutorInput::Connected { known, .. }) => (Node { client, inputs, calls: 100 }, known),
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.join(file)).unwrap_or_default()
    }

    /// Until a file has this text.
    async fn wait_for(&self, file: &str, text: &str) {
        let start = Instant::now();
        while self.read(file) != text {
            assert!(start.elapsed() < Duration::from_secs(30), "{file} is {:?}, not {text:?}", self.read(file));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn start(directory: &PathBuf) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(ROOT, directory)
        .env("SECRET", "of the executor")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The node's side.
struct Node {
    client: Client,
    inputs: UnboundedReceiver<ExecutorInput>,
    calls: u64,
}

impl Node {
    fn call(&mut self, class: &str, kind: &str, resource: &str, operation: &str) -> AgentCall {
        self.calls += 1;
        AgentCall {
            call: self.calls,
            epoch: 1,
            resource: resource.into(),
            agent: AgentName {
                class: class.into(),
                provider: (class == "ocf").then(|| "test".to_owned()),
                kind: kind.into(),
            },
            operation: operation.into(),
            interval_ms: 0,
            timeout_ms: 10_000,
            start_delay_ms: 0,
            parameters: BTreeMap::new(),
        }
    }

    async fn run(&mut self, call: AgentCall) -> AgentResult {
        let number = call.call;
        self.client.execute(call, b"note".to_vec());
        let result = self.result().await;
        assert_eq!(result.call, number);
        result
    }

    async fn ocf(&mut self, kind: &str, operation: &str) -> AgentResult {
        let call = self.call("ocf", kind, "r", operation);
        self.run(call).await
    }

    async fn result(&mut self) -> AgentResult {
        match tokio::time::timeout(Duration::from_secs(20), self.inputs.recv()).await {
            Ok(Some(ExecutorInput::Result(result))) => result,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_ocf_agent_gets_what_the_standard_says_and_nothing_else() {
    let lab = Lab::new();
    lab.agent(
        "Print",
        r#"env | sort | sed "s,$TEST_DIRECTORY,ROOT,"; echo "$@"; readlink /proc/self/fd/0; pwd; exit 1"#,
    );
    let (mut node, _) = lab.connect().await;
    let mut call = node.call("ocf", "Print", "web", "start");
    call.parameters = [("ip", "a b"), ("CRM_meta_timeout", "20000"), ("OCF_CHECK_LEVEL", "10")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    let result = node.run(call).await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::Done, exit_code::ERROR));
    assert_eq!(result.output.lines().filter(|line| line.starts_with("HAKUDO_RUN=")).count(), 1);
    // The shell adds these of its own, but for the mark of the run.
    let own = |line: &&str| {
        !line.starts_with("HAKUDO_RUN=")
            && !line.starts_with("PWD=")
            && !line.starts_with("_=")
            && !line.starts_with("OLDPWD=")
            && !line.starts_with("SHLVL=")
    };
    let output: Vec<&str> = result.output.lines().filter(own).collect();
    expect_test::expect![[r#"
        HAKUDO=/hakudo
        HA_LOGFACILITY=daemon
        HA_SBIN_DIR=/sbin
        HA_cluster_type=corosync
        HA_debug=0
        HA_logfacility=daemon
        HA_quorum_type=corosync
        HOME=/
        LC_ALL=C
        OCF_CHECK_LEVEL=10
        OCF_EXIT_REASON_PREFIX=ocf-exit-reason:
        OCF_RA_VERSION_MAJOR=1
        OCF_RA_VERSION_MINOR=1
        OCF_RESKEY_CRM_meta_timeout=20000
        OCF_RESKEY_ip=a b
        OCF_RESOURCE_INSTANCE=web
        OCF_RESOURCE_PROVIDER=test
        OCF_RESOURCE_TYPE=Print
        OCF_ROOT=ROOT
        PATH=ROOT/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        PCMK_logfacility=daemon
        TEST_DIRECTORY=ROOT
        start
        /dev/null
        /"#]]
    .assert_eq(&output.join("\n"));
}

#[tokio::test]
async fn what_an_agent_says_is_passed_on() {
    let lab = Lab::new();
    lab.agent("Fails", "echo noise; echo 'ocf-exit-reason:the disk is gone' >&2; exit 6");
    lab.agent("Garbage", "head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >&2; exit 1");
    lab.agent("Signal", "kill -SEGV $$");
    lab.agent("Fine", "echo unneeded; exit 0");
    lab.write("resource.d/test/Locked", "#!/bin/sh\n");
    std::fs::set_permissions(lab.directory.join("resource.d/test/Locked"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    lab.write("resource.d/test/Strange", "#!/no/such/interpreter\n");
    lab.write("resource.d/test/Bare", "exit 7\n");
    let (mut node, _) = lab.connect().await;

    let result = node.ocf("Fails", "start").await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::Done, exit_code::NOT_CONFIGURED));
    assert_eq!(result.exit_reason, "the disk is gone");
    assert_eq!(result.output, "noise\nocf-exit-reason:the disk is gone\n");

    assert_eq!(node.ocf("Garbage", "start").await.exit_code, exit_code::ERROR);

    let result = node.ocf("Signal", "start").await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::Error, exit_code::ERROR));
    assert_eq!(result.exit_reason, "the agent was killed by signal 11");

    let result = node.ocf("Fine", "start").await;
    assert_eq!((result.status, result.exit_code, result.output.as_str()), (ExecutionStatus::Done, 0, ""));

    let result = node.ocf("Missing", "monitor").await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::NotInstalled, exit_code::NOT_INSTALLED));
    let result = node.ocf("Locked", "monitor").await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::Error, exit_code::INSUFFICIENT_PRIV));
    let result = node.ocf("Strange", "monitor").await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::NotInstalled, exit_code::NOT_INSTALLED));
    assert_eq!(node.ocf("Bare", "monitor").await.exit_code, exit_code::NOT_RUNNING);
    assert_eq!(node.ocf("../../fence/x", "monitor").await.status, ExecutionStatus::Invalid);
}

#[tokio::test]
async fn an_agent_that_hangs_is_ended_with_all_that_it_started() {
    let lab = Lab::new();
    lab.agent("Hang", r#"sleep 300 & echo $! > $TEST_DIRECTORY/pid; trap '' TERM; sleep 300; sleep 300"#);
    let (mut node, _) = lab.connect().await;
    let mut call = node.call("ocf", "Hang", "r", "stop");
    call.timeout_ms = 300;
    let started = Instant::now();
    let result = node.run(call).await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::Timeout, exit_code::ERROR));
    assert_eq!(result.exit_reason, "stop did not end within 0.300s");
    assert!((1300..5000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let pid = lab.read("pid");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[tokio::test]
async fn operations_of_one_resource_never_meet_and_all_together_keep_the_limit() {
    let lab = Lab::new();
    lab.agent(
        "Count",
        r#"cd $TEST_DIRECTORY
           mkdir lock-$OCF_RESOURCE_INSTANCE || echo meet >> faults
           : > run-$$; ls -d run-* | wc -l >> seen
           sleep 0.1
           rm run-$$; rmdir lock-$OCF_RESOURCE_INSTANCE; exit 0"#,
    );
    let (mut node, _) = lab.connect().await;
    for resource in 0..6 {
        for operation in ["start", "promote", "reload"] {
            let call = node.call("ocf", "Count", &format!("r{resource}"), operation);
            node.client.execute(call, vec![]);
        }
    }
    for _ in 0..18 {
        let result = node.result().await;
        assert_eq!(result.exit_code, 0, "{result:?}");
    }
    assert_eq!(lab.read("faults"), "");
    let most = lab.read("seen").lines().filter_map(|line| line.trim().parse::<u32>().ok()).max();
    assert_eq!(most, Some(3));
}

#[tokio::test]
async fn a_node_that_comes_back_finds_everything_as_it_was() {
    let lab = Lab::new();
    lab.agent("Slow", "sleep 0.5; exit 0");
    lab.agent("Monitored", r#"echo x >> $TEST_DIRECTORY/runs; test ! -e $TEST_DIRECTORY/broken || exit 7"#);
    let (mut node, known) = lab.connect().await;
    assert!(known.is_empty());
    let mut monitor = node.call("ocf", "Monitored", "m", "monitor");
    monitor.interval_ms = 50;
    assert_eq!(node.run(monitor.clone()).await.exit_code, 0);
    let slow = node.call("ocf", "Slow", "s", "start");
    node.client.execute(slow.clone(), b"slow".to_vec());
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(node);

    // The agents go on while nobody listens.
    let runs = lab.read("runs").len();
    std::fs::write(lab.directory.join("broken"), "").unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(lab.read("runs").len() > runs + 6, "{runs} then {}", lab.read("runs").len());

    let (mut node, known) = lab.connect().await;
    let summary: Vec<_> = known
        .iter()
        .map(|known| (&known.call, known.note.as_slice(), known.result.as_ref().map(|result| result.exit_code)))
        .collect();
    assert_eq!(summary, [(&monitor, &b"note"[..], Some(7)), (&slow, &b"slow"[..], Some(0))]);

    // What changes from now on is told to the new node.
    std::fs::remove_file(lab.directory.join("broken")).unwrap();
    let result = node.result().await;
    assert_eq!((result.call, result.exit_code), (monitor.call, 0));
    node.client.cancel(monitor.call, 1);
    assert_eq!(node.result().await.status, ExecutionStatus::Cancelled);
}

/// A lab in which a start that ended well left a daemon, and another start is half way, with a part of it that has left
/// its parents and its process group.
async fn lab_with_a_start_half_way() -> (Lab, Node) {
    let lab = Lab::new();
    lab.agent("Daemon", r#"sleep 300 >/dev/null 2>&1 & echo $! > $TEST_DIRECTORY/daemon; exit 0"#);
    lab.agent(
        "Working",
        r#"cd $TEST_DIRECTORY
           (setsid sh -c 'trap "" TERM; echo $$ > away; sleep 2; echo done >> done' &)
           while [ ! -s away ]; do sleep 0.02; done
           echo $$ > working; sleep 2; echo done >> done"#,
    );
    let (mut node, _) = lab.connect().await;
    assert_eq!(node.ocf("Daemon", "start").await.exit_code, 0);
    let working = node.call("ocf", "Working", "w", "start");
    node.client.execute(working, vec![]);
    while lab.read("working").is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (lab, node)
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// The start that was half way is gone for good, the daemon is not touched.
async fn check_that_only_the_daemon_lives(lab: &Lab) {
    assert!(!lives(&lab.read("working")), "a start goes on");
    assert!(!lives(&lab.read("away")), "a part of a start goes on");
    let daemon = lab.read("daemon");
    assert!(lives(&daemon));
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(lab.read("done"), "");
    assert!(Command::new("kill").arg(daemon.trim()).status().unwrap().success());
}

#[tokio::test]
async fn what_a_node_gave_to_be_kept_comes_back_first() {
    let lab = Lab::new();
    let (node, _) = lab.connect().await;
    for memory in [&b"older"[..], b"newest"] {
        node.client.remember(memory.to_vec());
    }
    // What is asked on the same connection is answered after it was heard.
    let _ = node.client.list_agents("ocf".into(), None).await;
    drop(node);
    let (_client, mut inputs) = Client::start(&lab.directory.join("socket"));
    assert_eq!(inputs.recv().await, Some(ExecutorInput::Memory(b"newest".to_vec())));
    assert!(matches!(inputs.recv().await, Some(ExecutorInput::Connected { .. })));
}

#[tokio::test]
async fn a_node_that_comes_back_is_told_of_more_than_one_frame_holds() {
    let lab = Lab::new();
    lab.agent("Loud", "head -c 8192 /dev/zero | tr '\\0' x; head -c 8192 /dev/zero | tr '\\0' y >&2; exit 1");
    let (mut node, _) = lab.connect().await;
    const RESOURCES: usize = 300;
    for number in 0..RESOURCES {
        let call = node.call("ocf", "Loud", &format!("r{number}"), "monitor");
        node.client.execute(call, vec![]);
    }
    for _ in 0..RESOURCES {
        assert_eq!(node.result().await.output.len(), 16 << 10);
    }
    drop(node);
    let (_node, known) = lab.connect().await;
    assert_eq!(known.len(), RESOURCES);
    assert!(known.iter().all(|known| known.result.as_ref().is_some_and(|result| result.output.len() == 16 << 10)));
    assert!(known.is_sorted_by_key(|known| known.call.call));
}

#[tokio::test]
async fn a_start_whose_executor_died_is_ended_before_a_node_is_served() {
    let (mut lab, mut node) = lab_with_a_start_half_way().await;
    lab.child.kill().unwrap();
    lab.child.wait().unwrap();
    assert_eq!(node.inputs.recv().await, Some(ExecutorInput::Lost));
    let refused = node.ocf("Daemon", "monitor").await;
    assert_eq!(refused.status, ExecutionStatus::NotConnected);
    assert!(lives(&lab.read("working")));

    lab.child = start(&lab.directory);
    assert_eq!(
        node.inputs.recv().await,
        Some(ExecutorInput::Connected { known: vec![], newest_epoch: 0, first_call: 0 })
    );
    check_that_only_the_daemon_lives(&lab).await;
    assert_eq!(std::fs::read_dir(lab.directory.join("socket.runs")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_executor_that_is_told_to_end_ends_what_runs() {
    let (mut lab, mut node) = lab_with_a_start_half_way().await;
    let pid = lab.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(node.inputs.recv().await, Some(ExecutorInput::Lost));
    lab.child.wait().unwrap();
    check_that_only_the_daemon_lives(&lab).await;
}

#[tokio::test]
async fn two_executors_never_have_the_same_records() {
    let lab = Lab::new();
    lab.agent("Working", "echo $$ > $TEST_DIRECTORY/working; sleep 1; exit 0");
    let (mut node, _) = lab.connect().await;
    let working = node.call("ocf", "Working", "w", "start");
    node.client.execute(working, vec![]);
    while lab.read("working").is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!start(&lab.directory).wait().unwrap().success());
    assert_eq!(node.result().await.exit_code, 0);
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_begin() {
    let lab = Lab::new();
    lab.agent("Fine", "echo $1 >> $TEST_DIRECTORY/runs");
    let (mut node, _) = lab.connect().await;
    let records = lab.directory.join("socket.runs");
    std::fs::remove_dir_all(&records).unwrap();
    let result = node.ocf("Fine", "start").await;
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::Error, exit_code::ERROR));
    assert!(result.exit_reason.contains("can not be recorded"), "{}", result.exit_reason);
    assert_eq!(lab.read("runs"), "");
}

#[tokio::test]
async fn an_older_epoch_is_refused() {
    let lab = Lab::new();
    lab.agent("Fine", "echo $1 >> $TEST_DIRECTORY/runs");
    let (mut node, _) = lab.connect().await;
    let newer = AgentCall { epoch: 7, ..node.call("ocf", "Fine", "r", "start") };
    assert_eq!(node.run(newer).await.exit_code, 0);
    let older = AgentCall { epoch: 6, ..node.call("ocf", "Fine", "r", "stop") };
    let result = node.run(older).await;
    assert_eq!(result.status, ExecutionStatus::Refused);
    assert!(result.exit_reason.starts_with("refused"), "{}", result.exit_reason);
    assert_eq!(lab.read("runs"), "start\n");
}

#[tokio::test]
async fn a_call_that_is_too_long_is_refused_and_nothing_else() {
    let lab = Lab::new();
    lab.agent("Fine", "echo $1 >> $TEST_DIRECTORY/runs");
    let (mut node, _) = lab.connect().await;
    for size in [3 << 20, 5 << 20] {
        let mut long = node.call("ocf", "Fine", "r", "start");
        long.parameters.insert("p".into(), "x".repeat(size));
        let result = node.run(long).await;
        assert_eq!(result.status, ExecutionStatus::Invalid);
        assert!(result.exit_reason.contains("takes at most 3 MiB"), "{}", result.exit_reason);
    }
    let mut lease = leases::guard(&mut node, Duration::from_secs(60));
    lease.steps[0].call.parameters.insert("p".into(), "x".repeat(3 << 20));
    node.client.guard(Order::Arm(Box::new(lease)));
    match node.inputs.recv().await {
        Some(ExecutorInput::Unguarded { ticket, reason }) => {
            assert_eq!(ticket, "T");
            assert!(reason.contains("takes at most 3 MiB"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(node.ocf("Fine", "start").await.exit_code, 0);
    assert_eq!(lab.read("runs"), "start\n");
}

#[tokio::test]
async fn an_executor_and_its_node_tell_each_other_their_epochs() {
    let lab = Lab::new();
    lab.agent("Fine", "echo $1 >> $TEST_DIRECTORY/runs");
    let (mut node, _) = lab.connect().await;
    let first = AgentCall { epoch: 7, ..node.call("ocf", "Fine", "r", "start") };
    assert_eq!(node.run(first).await.exit_code, 0);
    drop(node);
    for (told, answered) in [(3, 7), (9, 9)] {
        let (client, mut inputs) = Client::start(&lab.directory.join("socket"));
        client.enter_epoch(told);
        match inputs.recv().await {
            Some(ExecutorInput::Connected { newest_epoch, .. }) => assert_eq!(newest_epoch, answered),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn fence_agents_read_their_parameters_from_standard_input() {
    let lab = Lab::new();
    lab.write(
        "fence/fence_test",
        "#!/bin/sh\ninput=$(cat)\ncase $input in action=metadata*) exit 0;; esac\n\
         echo \"$input\" > $TEST_DIRECTORY/input\ncase $input in action=status*) exit 2;; esac\nexit 0\n",
    );
    let (mut node, _) = lab.connect().await;
    let mut call = node.call("stonith", "fence_test", "f", "reboot");
    call.parameters = [
        ("plug", "node1"),
        ("pcmk_reboot_action", "cycle"),
        ("pcmk_host_list", "node1"),
        ("CRM_meta_timeout", "1"),
        ("evil", "x\naction=on"),
    ]
    .map(|(k, v)| (k.into(), v.into()))
    .into();
    assert_eq!(node.run(call.clone()).await.exit_code, 0);
    assert_eq!(lab.read("input"), "action=cycle\nplug=node1\n");
    let probe = node.call("stonith", "fence_test", "f", "monitor");
    assert_eq!(node.run(probe).await.exit_code, exit_code::NOT_RUNNING);
    let start = node.call("stonith", "fence_test", "f", "start");
    assert_eq!(node.run(start).await.exit_code, 0);
    assert_eq!(lab.read("input"), "action=monitor\n");
    let probe = node.call("stonith", "fence_test", "f", "monitor");
    assert_eq!(node.run(probe).await.exit_code, 0);
    let status = node.call("stonith", "fence_test", "f", "status");
    assert_eq!(node.run(status).await.exit_code, 2);
    let stop = node.call("stonith", "fence_test", "f", "stop");
    assert_eq!(node.run(stop).await.exit_code, 0);
    let probe = node.call("stonith", "fence_test", "f", "monitor");
    assert_eq!(node.run(probe).await.exit_code, exit_code::NOT_RUNNING);
}

#[tokio::test]
async fn a_device_that_fails_is_asked_again() {
    let lab = Lab::new();
    // It fails as long as there is something left in the file, and notes each run.
    lab.write(
        "fence/fence_busy",
        "#!/bin/sh\ninput=$(cat | head -1)\n[ $input = action=metadata ] && exit\necho $input >> $TEST_DIRECTORY/runs\n\
         [ -s $TEST_DIRECTORY/failures ] || exit 0\nsed -i 1d $TEST_DIRECTORY/failures\nexit 1\n",
    );
    let (mut node, _) = lab.connect().await;
    let check = async |node: &mut Node, operation: &str, retries: Option<&str>, failures: usize| {
        lab.write("runs", "");
        lab.write("failures", &"x\n".repeat(failures));
        let mut call = node.call("stonith", "fence_busy", "f", operation);
        let name = if operation == "start" { "monitor" } else { operation };
        call.parameters.extend(retries.map(|number| (format!("pcmk_{name}_retries"), number.to_owned())));
        let code = node.run(call).await.exit_code;
        (code, lab.read("runs").lines().count())
    };
    for operation in ["start", "list", "status"] {
        assert_eq!(check(&mut node, operation, None, 0).await, (0, 1), "{operation}");
        assert_eq!(check(&mut node, operation, None, 1).await, (0, 2), "{operation}");
        assert_eq!(check(&mut node, operation, None, 2).await, (1, 2), "{operation}");
        assert_eq!(check(&mut node, operation, Some("1"), 1).await, (1, 1), "{operation}");
        assert_eq!(check(&mut node, operation, Some("3"), 2).await, (0, 3), "{operation}");
    }
    // The node that leads tries again, or has another one do it.
    assert_eq!(check(&mut node, "off", Some("3"), 1).await, (1, 1));
}

#[tokio::test]
async fn plugins_of_cluster_glue_are_fence_agents_too() {
    let lab = Lab::new();
    lab.write(
        "plugins/external/test",
        r#"#!/bin/sh
[ $1 = getinfo-xml ] || echo "$* hostlist=$hostlist plug=$plug meta=$CRM_meta_timeout" >> $TEST_DIRECTORY/calls
case $1 in
gethosts) for host in $hostlist; do echo $host; done;;
status) [ -n "$hostlist" ] || { echo "no hosts" >&2; exit 1; };;
getinfo-xml) echo '<parameters><parameter name="hostlist"/></parameters>';;
reset|off) [ "$2" = node-one ];;
*) exit 1;;
esac
"#,
    );
    let (mut node, _) = lab.connect().await;
    let call = |node: &mut Node, operation: &str| {
        let mut call = node.call("stonith", "external/test", "f", operation);
        let parameters = [("hostlist", "node-one node-two"), ("CRM_meta_timeout", "1"), ("pcmk_host_check", "none")];
        call.parameters = parameters.map(|(name, value)| (name.into(), value.into())).into();
        call
    };
    let monitor = call(&mut node, "start");
    assert_eq!(node.run(monitor).await.exit_code, 0);
    let list = call(&mut node, "list");
    assert_eq!(node.run(list).await.output, "node-one\nnode-two\n");
    let mut reboot = call(&mut node, "reboot");
    reboot.parameters.insert("plug".into(), "node-one".into());
    assert_eq!(node.run(reboot).await.exit_code, 0);
    let mut off = call(&mut node, "off");
    off.parameters.insert("nodename".into(), "node-two".into());
    assert_eq!(node.run(off).await.exit_code, 1);
    let of_nobody = call(&mut node, "off");
    assert_eq!(node.run(of_nobody).await.status, ExecutionStatus::Invalid);
    let hosts = "hostlist=node-one node-two plug= meta=\n";
    let calls = ["status", "gethosts", "reset node-one", "off node-two"].map(|action| format!("{action} {hosts}"));
    assert_eq!(lab.read("calls"), calls.concat());

    let agent = AgentName { class: "stonith".into(), provider: None, kind: "external/test".into() };
    let metadata = node.client.metadata(agent).await.unwrap();
    assert!(metadata.contains(r#"<parameter name="hostlist"/>"#) && metadata.contains(r#"<action name="reboot"/>"#));
    assert_eq!(node.client.list_agents("stonith".into(), None).await, Ok(vec!["external/test".to_owned()]));
    let missing = node.call("stonith", "external/other", "f", "reboot");
    assert_eq!(node.run(missing).await.status, ExecutionStatus::NotInstalled);
}

#[tokio::test]
async fn a_process_that_left_its_group_ends_with_its_run_and_no_dead_process_stays() {
    let lab = Lab::new();
    lab.agent(
        "Leave",
        r#"setsid sh -c 'echo $$ > $TEST_DIRECTORY/left; sleep 300' & (sleep 0.1 &); sleep 300; sleep 300"#,
    );
    let (mut node, _) = lab.connect().await;
    let mut call = node.call("ocf", "Leave", "r", "start");
    call.timeout_ms = 500;
    assert_eq!(node.run(call).await.status, ExecutionStatus::Timeout);
    let gone = |pid: &str| !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists();
    let patience = Instant::now() + Duration::from_secs(5);
    let left = lab.read("left");
    // Gone altogether, and not only dead: the executor is its parent now, and takes note of its end.
    while !gone(&left) {
        assert!(Instant::now() < patience, "{left} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn metadata_and_lists_of_ocf_agents() {
    let lab = Lab::new();
    lab.agent("Fine", "exit 0");
    lab.metadata("Fine", "<resource-agent/>\n");
    lab.write("resource.d/test/Broken", "#!/bin/sh\necho ocf-exit-reason:no >&2; exit 1\n");
    let (node, _) = lab.connect().await;
    let agent = |kind: &str| AgentName { class: "ocf".into(), provider: Some("test".into()), kind: kind.into() };
    assert_eq!(node.client.metadata(agent("Fine")).await, Ok("<resource-agent/>\n".into()));
    assert_eq!(node.client.metadata(agent("Broken")).await, Err("no".into()));
    assert!(node.client.metadata(agent("Missing")).await.unwrap_err().contains("not installed"));
    let all = node.client.list_agents("ocf".into(), None).await;
    assert_eq!(all, Ok(vec!["test:Broken".into(), "test:Fine".into()]));
    assert!(node.client.list_agents("nonsense".into(), None).await.is_err());
}

#[tokio::test]
async fn results_tell_which_parameters_need_a_restart_and_which_are_secret() {
    let lab = Lab::new();
    lab.agent("Reloads", "exit 0");
    let metadata = |reloadable: &str| {
        format!(
            "<resource-agent><version>1.1</version><parameters><parameter name='state' reloadable='{reloadable}'/>\
             <parameter name='passwd' reloadable='1'/></parameters><actions><action name='reload-agent'/></actions>\
             </resource-agent>"
        )
    };
    lab.metadata("Reloads", &metadata("0"));
    lab.agent("Silent", "exit 0");
    let (mut node, _) = lab.connect().await;
    let mut call = node.call("ocf", "Reloads", "r", "start");
    call.parameters = [("state", "1"), ("passwd", "2")].map(|(name, value)| (name.into(), value.into())).into();
    let digests = node.run(call.clone()).await.digests;
    expect_test::expect![[r#"
        ParameterDigests {
            restart: Some(
                (
                    "  state  ",
                    "ed45cb1d06848c4be31fe154d70e0ebc",
                ),
            ),
            secure: Some(
                (
                    "  passwd  ",
                    "ed45cb1d06848c4be31fe154d70e0ebc",
                ),
            ),
        }
    "#]]
    .assert_debug_eq(&digests);
    let stop = node.call("ocf", "Reloads", "r", "stop");
    assert_eq!(node.run(stop).await.digests, ParameterDigests::default());
    assert_eq!(node.ocf("Silent", "start").await.digests, ParameterDigests::default());

    // Another agent was installed in its place.
    lab.metadata("Reloads", &metadata("1"));
    let file = std::fs::File::options().append(true).open(lab.directory.join("resource.d/test/Reloads")).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(9)).unwrap();
    drop(file);
    call.call += 100;
    assert_eq!(node.run(call).await.digests.restart.map(|(names, _)| names), Some(String::new()));
}

#[tokio::test]
async fn garbage_ends_a_connection_and_nothing_else() {
    let lab = Lab::new();
    lab.agent("Fine", "exit 0");
    let (mut node, _) = lab.connect().await;
    for garbage in [&[0xff; 64][..], b"GET / HTTP/1.0\r\n\r\n", &[0, 0, 0, 1, 1], &[0, 0, 0, 2, 0, 99]] {
        let mut stream = UnixStream::connect(lab.directory.join("socket")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // Closed with or without an answer; a reset is as good.
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    // Half a frame, and then silence.
    let mut silent = UnixStream::connect(lab.directory.join("socket")).unwrap();
    silent.write_all(&[0, 0, 1, 0, 7]).unwrap();
    assert_eq!(node.ocf("Fine", "start").await.exit_code, 0);
}

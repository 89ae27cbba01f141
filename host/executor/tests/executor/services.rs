//! Services that systemd and init scripts run.

use super::*;

/// What stands in for systemctl: a job takes until a file says that it is done, and each call is noted.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd $TEST_DIRECTORY
[ "$1" = --no-ask-password ] && shift
echo "$*" >> systemctl
case $1 in
start) until [ -e job-done ]; do sleep 0.05; done; [ -e broken ] && exit 1; echo active > unit;;
stop) echo inactive > unit;;
show) printf 'LoadState=loaded\nActiveState=%s\n' "$(cat unit 2>/dev/null || echo inactive)";;
esac
exit 0
"#;

#[tokio::test]
async fn the_end_of_a_units_job_is_waited_for_and_systemd_does_not_restart_it() {
    let lab = Lab::new();
    lab.write("bin/systemctl", SYSTEMCTL);
    let (mut node, _) = lab.connect().await;
    let drop_in = lab.directory.join("systemd/web.service.d/50-hakudo.conf");

    let mut early = node.call("systemd", "web", "w", "start");
    early.timeout_ms = 300;
    let result = node.run(early).await;
    assert_eq!(
        (result.status, result.exit_reason.as_str()),
        (ExecutionStatus::Timeout, "start did not end within 0.300s")
    );

    std::fs::write(lab.directory.join("unit"), "activating").unwrap();
    let monitor = node.call("systemd", "web", "w", "monitor");
    node.client.execute(monitor, vec![]);
    // A unit on its way to a state is asked again until it is there.
    let none = tokio::time::timeout(Duration::from_millis(600), node.inputs.recv()).await;
    assert!(none.is_err(), "{none:?}");
    std::fs::write(lab.directory.join("unit"), "failed").unwrap();
    assert_eq!(node.result().await.exit_code, exit_code::NOT_RUNNING);

    let start = node.call("systemd", "web", "w", "start");
    node.client.execute(start, vec![]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    std::fs::write(lab.directory.join("job-done"), "").unwrap();
    assert_eq!(node.result().await.exit_code, 0);
    let text = "[Unit]\nDescription=Cluster controlled web.service\n[Service]\nRestart=no\n";
    assert_eq!(std::fs::read_to_string(&drop_in).unwrap(), text);
    let monitor = node.call("systemd", "web", "w", "monitor");
    assert_eq!(node.run(monitor).await.exit_code, 0);

    std::fs::write(lab.directory.join("systemctl"), "").unwrap();
    let stop = node.call("systemd", "web", "w", "stop");
    assert_eq!(node.run(stop).await.exit_code, 0);
    assert_eq!(lab.read("systemctl"), "stop web.service\ndaemon-reload\n");
    assert!(!drop_in.exists());

    std::fs::write(lab.directory.join("broken"), "").unwrap();
    let start = node.call("systemd", "web", "w", "start");
    assert_eq!(node.run(start).await.exit_code, exit_code::ERROR);
}

#[tokio::test]
async fn init_scripts_and_services() {
    let lab = Lab::new();
    lab.write("init.d/thing", "#!/bin/sh\n# x\n### BEGIN INIT INFO\n# Short-Description: a thing\n### END INIT INFO\n[ $1 = status ] && exit 3\nexit 0\n");
    let (mut node, _) = lab.connect().await;
    for class in ["lsb", "service"] {
        let start = node.call(class, "thing", "t", "start");
        assert_eq!(node.run(start).await.exit_code, 0);
        let monitor = node.call(class, "thing", "t", "monitor");
        assert_eq!(node.run(monitor).await.exit_code, exit_code::NOT_RUNNING);
        let promote = node.call(class, "thing", "t", "promote");
        assert_eq!(node.run(promote).await.exit_code, exit_code::UNIMPLEMENT_FEATURE);
    }
    let missing = node.call("lsb", "other", "t", "start");
    assert_eq!(node.run(missing).await.status, ExecutionStatus::NotInstalled);
    assert_eq!(node.client.list_agents("lsb".into(), None).await, Ok(vec!["thing".to_owned()]));
    let agent = AgentName { class: "lsb".into(), provider: None, kind: "thing".into() };
    assert!(node.client.metadata(agent).await.unwrap().contains("a thing"));
}

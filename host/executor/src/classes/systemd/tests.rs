//! What is said of units, and a stand-in for systemd on a bus of its own.

use super::*;
use crate::journal::Journal;
use crate::server::Runner;
use crate::testing::{Directory, directory};
use futures_util::StreamExt;
use hakudo_base::agent::{AgentName, AgentResult};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, Value};
use zbus::{Connection, Message, MessageStream};

#[test]
fn states_of_units() {
    let code = |text: &str| read_state(0, text.as_bytes()).map(|outcome| outcome.exit_code);
    assert_eq!(code("LoadState=loaded\nActiveState=active\n"), Some(exit_code::OK));
    assert_eq!(code("LoadState=loaded\nActiveState=activating\n"), None);
    assert_eq!(code("LoadState=loaded\nActiveState=failed\n"), Some(exit_code::NOT_RUNNING));
    assert_eq!(code("LoadState=loaded\nActiveState=inactive\nJob=71\n"), None);
    assert_eq!(code("LoadState=loaded\nActiveState=inactive\nJob=\n"), Some(exit_code::NOT_RUNNING));
    assert_eq!(code("LoadState=not-found\nActiveState=inactive\n"), Some(exit_code::NOT_INSTALLED));
    assert_eq!(code("LoadState=not-found\nActiveState=active\n"), Some(exit_code::OK), "its file was removed");
    assert_eq!(read_state(1, b"").map(|outcome| outcome.status), Some(ExecutionStatus::Error));
    assert_eq!((unit_name("nginx"), unit_name("a.timer")), ("nginx.service".into(), "a.timer".into()));
}

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=PLACE</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;

/// How the stand-in ends a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Job {
    /// After it has answered, and others of the unit's jobs before.
    #[default]
    Done,
    /// Before it has answered.
    DoneAtOnce,
    Failed,
    Never,
}

#[derive(Debug, Default)]
struct State {
    active: &'static str,
    /// Looks for which a job is still under way.
    job_for: u32,
    job: Job,
    /// What was asked for, and whether the drop-in was there.
    said: Vec<(String, bool)>,
}

/// A bus with something that answers as systemd does, and an executor's runner that finds both.
struct Lab {
    folder: Directory,
    bus: Child,
    state: Arc<Mutex<State>>,
    runner: Runner,
    _systemd: Connection,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

impl Lab {
    /// Nothing where this machine has no bus daemon.
    async fn new() -> Option<Self> {
        let folder = directory("bus");
        let mut config = Config::new(folder.join("socket"));
        config.systemd_directory = folder.join("systemd");
        config.system_bus = folder.join("bus");
        std::fs::create_dir_all(&config.systemd_directory).unwrap();
        let file = folder.join("bus.conf");
        std::fs::write(&file, BUS.replace("PLACE", &config.system_bus.to_string_lossy())).unwrap();
        let daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nosyslog", "--nopidfile", "--config-file"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn();
        let Ok(bus) = daemon else {
            println!("skipped: dbus-daemon is not installed");
            return None;
        };
        let patience = Instant::now() + Duration::from_secs(20);
        let socket = loop {
            match tokio::net::UnixStream::connect(&config.system_bus).await {
                Ok(socket) => break socket,
                Err(error) => assert!(Instant::now() < patience, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let systemd = zbus::connection::Builder::unix_stream(socket).build().await.unwrap();
        systemd.request_name(SYSTEMD).await.unwrap();
        let state = Arc::new(Mutex::new(State { active: "inactive", ..State::default() }));
        let drop_in = drop_in(&config, "web.service");
        tokio::spawn(answer_as_systemd(systemd.clone(), state.clone(), drop_in));
        let journal = Arc::new(Journal::open(&config.runs).unwrap());
        Some(Self { folder, bus, state, runner: Runner { config, journal }, _systemd: systemd })
    }

    async fn run(&self, unit: &str, operation: &str, timeout_ms: u64) -> AgentResult {
        let (_keep, terminated) = oneshot::channel();
        self.runner.carry_out(&call(unit, operation, timeout_ms), false, terminated).await
    }

    async fn code(&self, unit: &str, operation: &str) -> i32 {
        let result = self.run(unit, operation, 10_000).await;
        assert_ne!(result.status, ExecutionStatus::Timeout, "{result:?}");
        result.exit_code
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn said(&self) -> Vec<String> {
        let said = std::mem::take(&mut self.state.lock().unwrap().said);
        said.into_iter().map(|(what, drop_in)| format!("{what}{}", if drop_in { " with" } else { "" })).collect()
    }
}

fn call(unit: &str, operation: &str, timeout_ms: u64) -> AgentCall {
    let agent = AgentName { class: "systemd".into(), provider: None, kind: unit.into() };
    AgentCall { operation: operation.into(), ..crate::server::metadata_call(agent, timeout_ms) }
}

const WEB: &str = "/org/freedesktop/systemd1/unit/web_2eservice";
const OTHER: &str = "/org/freedesktop/systemd1/unit/other";

async fn answer_as_systemd(connection: Connection, state: Arc<Mutex<State>>, drop_in: PathBuf) {
    let mut messages = MessageStream::from(&connection);
    let mut jobs = 0;
    while let Some(Ok(message)) = messages.next().await {
        let header = message.header();
        let Some(member) = header.member().map(|member| member.to_string()) else { continue };
        if message.message_type() != zbus::message::Type::MethodCall {
            continue;
        }
        if !matches!(member.as_str(), "Subscribe" | "LoadUnit" | "Get") {
            state.lock().unwrap().said.push((member.clone(), drop_in.exists()));
        }
        match member.as_str() {
            "Subscribe" | "Reload" => connection.reply(&header, &()).await.unwrap(),
            "LoadUnit" => {
                let name: String = message.body().deserialize().unwrap();
                let path = ObjectPath::try_from(if name == "web.service" { WEB } else { OTHER }).unwrap();
                connection.reply(&header, &path).await.unwrap();
            }
            "Get" => connection.reply(&header, &property(&message, &state)).await.unwrap(),
            _ => {
                let (unit, mode): (String, String) = message.body().deserialize().unwrap();
                assert_eq!(mode, "replace");
                if unit != "web.service" {
                    let error = "org.freedesktop.systemd1.NoSuchUnit";
                    connection.reply_error(&header, error, &format!("Unit {unit} not found.")).await.unwrap();
                    continue;
                }
                jobs += 10;
                let job = state.lock().unwrap().job;
                let end = async |number: u32, result: &str| {
                    let path = job_path(number);
                    let body = (number, path, &*unit, result);
                    let manager = "org.freedesktop.systemd1.Manager";
                    let place = "/org/freedesktop/systemd1";
                    connection.emit_signal(None::<&str>, place, manager, "JobRemoved", &body).await.unwrap();
                };
                // Many others end while it runs: none of them is it.
                for other in 1..10 {
                    end(jobs + other, "failed").await;
                }
                if job == Job::DoneAtOnce {
                    end(jobs, "done").await;
                }
                connection.reply(&header, &job_path(jobs)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                let mut reached = match member.as_str() {
                    "StopUnit" => "inactive",
                    _ => "active",
                };
                match job {
                    Job::Done => end(jobs, "done").await,
                    Job::Failed => {
                        reached = "failed";
                        end(jobs, "failed").await;
                    }
                    Job::DoneAtOnce | Job::Never => {}
                }
                state.lock().unwrap().active = reached;
            }
        }
    }
}

fn job_path(number: u32) -> OwnedObjectPath {
    ObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{number}")).unwrap().into()
}

fn property(message: &Message, state: &Mutex<State>) -> Value<'static> {
    let known = message.header().path().unwrap().as_str() == WEB;
    let (interface, name): (String, String) = message.body().deserialize().unwrap();
    assert_eq!(interface, "org.freedesktop.systemd1.Unit");
    let mut state = state.lock().unwrap();
    match name.as_str() {
        "LoadState" => Value::from(if known { "loaded" } else { "not-found" }),
        "ActiveState" => Value::from(if known { state.active } else { "inactive" }),
        "Description" => Value::from("A web server"),
        "Job" => {
            let number = u32::from(state.job_for > 0);
            state.job_for = state.job_for.saturating_sub(1);
            Value::from((number, job_path(number)))
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_end_of_a_job_is_waited_for() {
    let Some(lab) = Lab::new().await else { return };
    assert_eq!(lab.code("web", "monitor").await, exit_code::NOT_RUNNING);
    for job in [Job::Done, Job::DoneAtOnce] {
        lab.set(|state| state.job = job);
        assert_eq!(lab.code("web", "start").await, exit_code::OK);
        assert_eq!(lab.said(), ["Reload with", "StartUnit with"]);
        let text = "[Unit]\nDescription=Cluster controlled web.service\n[Service]\nRestart=no\n";
        assert_eq!(std::fs::read_to_string(drop_in(&lab.runner.config, "web.service")).unwrap(), text);
        assert_eq!(lab.code("web", "reload").await, exit_code::OK);
        assert_eq!(lab.code("web", "monitor").await, exit_code::OK);
        assert_eq!(lab.said(), ["ReloadUnit with"]);
        assert_eq!(lab.code("web", "stop").await, exit_code::OK);
        assert_eq!(lab.said(), ["StopUnit with", "Reload"]);
        assert_eq!(lab.code("web", "monitor").await, exit_code::NOT_RUNNING);
        assert!(!lab.folder.join("systemd/web.service.d").exists());
    }
    assert_eq!(lab.code("web", "stop").await, exit_code::OK);
    assert_eq!(lab.said(), ["StopUnit"], "nothing was there to be taken away");
}

#[tokio::test]
async fn a_job_that_fails_or_never_ends() {
    let Some(lab) = Lab::new().await else { return };
    lab.set(|state| state.job = Job::Failed);
    let failed = lab.run("web", "start", 10_000).await;
    assert_eq!((failed.status, failed.exit_code), (ExecutionStatus::Done, exit_code::ERROR));
    assert_eq!(failed.exit_reason, "web.service: systemd gave the job up: failed");
    lab.set(|state| state.job = Job::Never);
    let late = lab.run("web", "start", 300).await;
    assert_eq!((late.status, &*late.exit_reason), (ExecutionStatus::Timeout, "start did not end within 0.300s"));
    let (ask, terminated) = oneshot::channel();
    let call = call("web", "start", 10_000);
    let (ended, ()) = tokio::join!(lab.runner.carry_out(&call, false, terminated), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ask.send(()).unwrap();
    });
    assert_eq!(ended.status, ExecutionStatus::Cancelled);
}

#[tokio::test]
async fn a_unit_on_its_way_is_asked_again() {
    let Some(lab) = Lab::new().await else { return };
    lab.set(|state| (state.active, state.job_for) = ("active", 0));
    assert_eq!(lab.code("web", "monitor").await, exit_code::OK);
    lab.set(|state| (state.active, state.job_for) = ("inactive", 2));
    assert_eq!(lab.code("web", "monitor").await, exit_code::NOT_RUNNING);
    assert_eq!(lab.state.lock().unwrap().job_for, 0, "it was not waited for");
    lab.set(|state| state.active = "activating");
    assert_eq!(lab.run("web", "monitor", 600).await.status, ExecutionStatus::Timeout);
}

#[tokio::test]
async fn a_unit_that_systemd_does_not_know() {
    let Some(lab) = Lab::new().await else { return };
    for operation in ["start", "monitor", "reload"] {
        let result = lab.run("nothing", operation, 10_000).await;
        assert_eq!(result.status, ExecutionStatus::NotInstalled, "{operation}: {result:?}");
    }
    assert_eq!(lab.code("nothing", "stop").await, exit_code::OK);
    assert_eq!(lab.code("web", "promote").await, exit_code::UNIMPLEMENT_FEATURE);
    assert!(lab.run("web", "meta-data", 10_000).await.output.contains("A web server"));
}

#[tokio::test]
async fn a_bus_that_goes_away_is_an_error() {
    let Some(mut lab) = Lab::new().await else { return };
    lab.set(|state| state.job = Job::Never);
    let mut bus = std::mem::replace(&mut lab.bus, Command::new("true").spawn().unwrap());
    let (result, ()) = tokio::join!(lab.run("web", "start", 10_000), async {
        while !lab.state.lock().unwrap().said.iter().any(|(what, _)| what == "StartUnit") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bus.kill().unwrap();
        bus.wait().unwrap();
    });
    assert_eq!((result.status, result.exit_code), (ExecutionStatus::Error, exit_code::ERROR), "{result:?}");
    // Its socket is still there, and nobody behind it.
    assert_eq!(lab.run("web", "monitor", 10_000).await.status, ExecutionStatus::Error);
}

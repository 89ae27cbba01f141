//! The commands against a cluster that runs: the demo on the loopback network, which needs no privilege.
//!
//! One cluster, one test, in the order in which a person would try things; every step says what must be seen.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hakudo");

/// How long the cluster may need for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running demo.
struct Demo {
    folder: PathBuf,
    process: Child,
}

impl Demo {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("hakudo-live-{}", std::process::id()));
        let mut process = Command::new(PROGRAM)
            .args(["demo", "--loopback"])
            .env("HAKUDO_DEMO", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut seen = String::new();
        while !seen.contains("The service answers") {
            let before = seen.len();
            output.read_line(&mut seen).unwrap();
            assert!(seen.len() > before, "the demo ended: {seen}");
        }
        // What it goes on to tell is not waited for, and must not fill the pipe.
        std::thread::spawn(move || output.read_to_string(&mut String::new()));
        Self { folder, process }
    }

    fn run_at(&self, node: &str, words: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(words)
            .env("HAKUDO_SOCKET", self.folder.join(node).join("run/node.sock"))
            .env("HAKUDO_DEMO", &self.folder)
            .env_remove("CIB_file")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command says, and its exit code.
    fn hakudo(&self, words: &[&str]) -> (String, i32) {
        let output = self.run_at("n1", words);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (text.into_owned(), output.status.code().unwrap_or(-1))
    }

    /// A command that must succeed.
    fn ok(&self, words: &[&str]) -> String {
        let (text, code) = self.hakudo(words);
        assert_eq!(code, 0, "{words:?}: {text}");
        text
    }

    /// A command that must fail with this code and these words.
    fn fails(&self, words: &[&str], code: i32, says: &str) {
        let (text, found) = self.hakudo(words);
        assert!(found == code && text.contains(says), "{words:?} ends with {found}: {text}");
    }

    /// A command whose output must hold this sooner or later.
    fn until(&self, words: &[&str], holds: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let (text, _) = self.hakudo(words);
            if holds(&text) {
                return text;
            }
            assert!(began.elapsed() < PATIENCE, "{words:?} never says what it should: {text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn server(&self) -> String {
        let text = self.until(&["resource", "locate", "web-server"], |text| text.contains(" n"));
        ["n1", "n2", "n3"].iter().find(|node| text.contains(**node)).unwrap().to_string()
    }

    fn settled(&self) {
        self.until(&["status", "-m"], |text| {
            text.contains("Online: [ n1 n2 n3 ]") && text.contains("web-server") && !text.contains("pending")
        });
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = Command::new(PROGRAM).args(["demo", "stop"]).env("HAKUDO_DEMO", &self.folder).output();
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn write(folder: &Path, text: &str) -> String {
    let file = folder.join("new.xml");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn the_commands_work_on_a_running_cluster() {
    let demo = Demo::start();
    demo.settled();
    status(&demo);
    configuration(&demo);
    resources(&demo);
    nodes(&demo);
    what_is_refused(&demo);
    power_cut(&demo);
}

fn status(demo: &Demo) {
    let parts =
        ["Stack: hakudo", "partition with quorum", "Online: [ n1 n2 n3 ]", "web-server\t(ocf:hakudo:Http):\t Started"];
    // The cluster answers before all of it has started.
    let text = demo.until(&["status"], |text| parts.iter().all(|part| text.contains(part)));
    assert!(!text.contains("version unknown"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&demo.ok(&["status", "--output-as=json"])).unwrap();
    assert_eq!(json["summary"]["quorate"], true);
    assert!(demo.ok(&["status", "--output-as=xml"]).contains("<fence_history status=\"0\"/>"));
    assert!(demo.ok(&["why", "web-server"]).contains("web-server"));
    assert!(demo.ok(&["events"]).contains("settled"));
    // A watch shows the status again when something changes, and goes on until it is ended.
    let mut watch = Command::new(PROGRAM)
        .args(["status", "--watch"])
        .env("HAKUDO_SOCKET", demo.folder.join("n1/run/node.sock"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = |part: &str| assert!(shown.by_ref().any(|line| line.unwrap().contains(part)), "never {part}");
    until("Online: [ n1 n2 n3 ]");
    demo.ok(&["node", "standby", "n3"]);
    until("Node n3: standby");
    watch.kill().unwrap();
    watch.wait().unwrap();
    demo.ok(&["node", "online", "n3"]);
}

fn configuration(demo: &Demo) {
    let shown = demo.ok(&["config", "show", "configuration"]);
    assert_eq!(demo.ok(&["config", "diff", &write(&demo.folder, &shown)]), "");
    assert!(demo.ok(&["config", "check"]).contains("0 errors"));
    let changed = write(&demo.folder, &shown.replacen("timeout=\"10s\"", "timeout=\"11s\"", 1));
    demo.fails(&["config", "diff", &changed], 1, "timeout=\"11s\"");
    demo.ok(&["config", "load", &changed]);
    assert!(demo.ok(&["config", "show", "resources"]).contains("timeout=\"11s\""));
    let wrong = write(&demo.folder, &shown.replace("type=\"Dummy\"", "typ=\"Dummy\""));
    demo.fails(&["config", "load", &wrong], 78, "is 'type' meant?");
    // Without a terminal, nothing is edited; with one, the editor's work is loaded.
    demo.fails(&["config", "edit"], 64, "no terminal");
}

fn resources(demo: &Demo) {
    let before = demo.server();
    let to = if before == "n2" { "n3" } else { "n2" };
    demo.ok(&["resource", "move", "web", to]);
    demo.until(&["resource", "locate", "web-server"], |text| text.contains(to));
    demo.ok(&["resource", "clear", "web"]);
    demo.ok(&["resource", "ban", "web", to]);
    demo.until(&["resource", "locate", "web-server"], |text| text.contains(" n") && !text.contains(to));
    demo.ok(&["resource", "clear", "web"]);
    demo.ok(&["resource", "stop", "web"]);
    demo.until(&["resource", "list"], |text| text.contains("Stopped (disabled)"));
    demo.ok(&["resource", "start", "web"]);
    demo.server();
    demo.ok(&["resource", "cleanup"]);
    demo.ok(&["resource", "refresh", "web-server"]);
    demo.settled();
}

fn nodes(demo: &Demo) {
    let server = demo.server();
    demo.ok(&["node", "standby", &server]);
    demo.until(&["resource", "locate", "web-server"], |text| text.contains(" n") && !text.contains(&server));
    demo.ok(&["node", "online", &server]);
    demo.ok(&["node", "maintenance", &server]);
    demo.until(&["node", "list"], |text| text.contains("maintenance"));
    demo.ok(&["node", "ready", &server]);
    demo.ok(&["node", "attribute", "n2", "--transient", "set", "rack", "7"]);
    assert_eq!(demo.ok(&["node", "attribute", "n2", "--transient", "get", "rack"]), "7\n");
    demo.settled();
    demo.ok(&["node", "fence", "n3"]);
    demo.settled();
    let text = demo.ok(&["status", "-m"]);
    assert!(text.contains("reboot of n3 by ") && text.contains("@n1 successful at "), "{text}");
    demo.fails(&["demo", "cut", "n1"], 1, "network namespaces");
}

fn what_is_refused(demo: &Demo) {
    demo.fails(&["node", "fence", "n9"], 105, "there is no node 'n9'");
    demo.fails(&["node", "confirm-fenced", "n2", "--it-is-down"], 107, "is a member of the cluster and alive");
    demo.fails(&["resource", "move", "nothing", "n2"], 105, "nothing");
    demo.fails(&["--socket", "/nonexistent/node.sock", "status"], 102, "cannot reach the node");
}

fn power_cut(demo: &Demo) {
    // The node that is asked stays: another one serves.
    if demo.server() == "n1" {
        demo.ok(&["resource", "move", "web", "n2"]);
        demo.until(&["resource", "locate", "web-server"], |text| text.contains("n2"));
        demo.ok(&["resource", "clear", "web"]);
    }
    let server = demo.server();
    demo.ok(&["demo", "kill", &server]);
    demo.until(&["resource", "locate", "web-server"], |text| text.contains(" n") && !text.contains(&server));
    let interruption = format!("loss of {server}: ");
    let events = demo.until(&["events", "-n", "200"], |text| text.contains(&interruption));
    let line = events.lines().find(|line| line.contains(&interruption)).unwrap();
    for phase in [" = detect ", " + fence ", " + decide ", " + start ", "web-server"] {
        assert!(line.contains(phase), "{phase:?} is missing: {line}");
    }
    demo.settled();
    // A node leaves cleanly, and the others go on.
    let left = demo.run_at("n3", &["cluster", "leave"]);
    assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    demo.until(&["status"], |text| text.contains("OFFLINE: [ n3 ]") || text.contains("Online: [ n1 n2 n3 ]"));
}

//! The agents that ship with hakudo, as processes: in network namespaces that the test makes, where it may make some.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests are tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What the agent process of a test is called with, one word a line.
const WORDS: &str = "HAKUDO_AGENT_TEST_WORDS";

/// Not a test: what the child processes of the other tests run. Without its variable it has nothing to do.
#[test]
fn agent_process() {
    let Ok(words) = std::env::var(WORDS) else { return };
    let words: Vec<String> = words.lines().skip(1).map(str::to_owned).collect();
    std::process::exit(hakudo_executor::agents::main(&words).into());
}

struct Directory(PathBuf);

impl Directory {
    /// With a program `hakudo` in it that knows the one verb `agent`.
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hakudo-agents-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let program = path.join("hakudo");
        let test = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\n{WORDS}=$(printf '%s\\n' \"$@\")\nexport {WORDS}\nexec '{}' --exact agent_process --nocapture --quiet\n",
            test.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn program(&self) -> PathBuf {
        self.0.join("hakudo")
    }

    fn agent(&self, name: &str, action: &str, parameters: &[(&str, &str)]) -> (i32, String) {
        let mut command = Command::new(self.program());
        command.args(["agent", name, action]).env("HAKUDO", self.program()).env("HAKUDO_AGENT_STATE", &self.0);
        command.env("OCF_RESOURCE_INSTANCE", "r");
        for (name, value) in parameters {
            command.env(format!("OCF_RESKEY_{name}"), value);
        }
        told(&command.output().unwrap())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn get(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_http_server_answers_until_it_is_stopped() {
    let directory = Directory::new("http");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = port.to_string();
    let parameters = [("address", "127.0.0.1"), ("port", text.as_str()), ("text", "node one")];
    let run = |action| directory.agent("Http", action, &parameters);
    assert_eq!(run("monitor").0, 7);
    assert_eq!(run("start"), (0, String::new()));
    assert_eq!(run("start").0, 0, "it runs already");
    assert_eq!(run("monitor").0, 0);
    assert!(get(port).ends_with("\r\n\r\nnode one\n"));

    // A second one finds the port taken, says so, and does no harm to the first.
    let second = Directory::new("http-second");
    let (code, reason) = second.agent("Http", "start", &parameters);
    assert_eq!(code, 1);
    assert!(reason.contains("in use"), "{reason}");
    assert_eq!(run("monitor").0, 0);

    assert_eq!(run("stop").0, 0);
    assert_eq!(run("stop").0, 0);
    assert_eq!(run("monitor").0, 7);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn unknown_agents_and_actions_are_not_implemented() {
    let directory = Directory::new("unknown");
    assert_eq!(directory.agent("Nothing", "start", &[]).0, 3);
    let (code, reason) = directory.agent("Dummy", "promote", &[]);
    assert_eq!((code, reason.as_str()), (3, "ocf-exit-reason:Dummy has no action \"promote\""));
}

/// A shell in a network namespace of its own, with another one inside for a neighbour. Nothing where that is not allowed.
fn in_namespaces(directory: &Path, script: &str) -> Option<Vec<String>> {
    std::fs::write(directory.join("script"), script).unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", "echo in; . \"$1\"", "sh"])
        .arg(directory.join("script"))
        .env("HAKUDO", directory.join("hakudo"))
        .env("HAKUDO_AGENT_STATE", directory)
        .env("OCF_RESOURCE_INSTANCE", "r")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let mut lines = BufReader::new(output.stdout.as_slice()).lines().map(Result::unwrap);
    if lines.next().as_deref() != Some("in") {
        eprintln!("skipped: no network namespace can be made here");
        return None;
    }
    // The agent is run by a test, which says so.
    let lines = lines.filter(|line| !line.is_empty() && line != "running 1 test").collect();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    Some(lines)
}

#[test]
fn the_address_comes_and_goes_and_the_neighbours_are_told() {
    let directory = Directory::new("address");
    let script = r#"
agent() { action=$1; shift; env "$@" "$HAKUDO" agent Address $action; echo "$action $?"; }
unshare --net sleep 60 & neighbour=$!
until [ "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
in_neighbour() { nsenter --net=/proc/$neighbour/ns/net "$@"; }
ip link set lo up
ip link add eth0 type veth peer name far
ip link set far netns $neighbour
ip address add 192.0.2.1/24 dev eth0 && ip link set eth0 up
in_neighbour ip address add 192.0.2.2/24 dev far && in_neighbour ip link set far up
# The neighbour believes that somebody else has the address, as after a takeover.
in_neighbour ip neighbour add 192.0.2.7 lladdr 02:00:00:00:00:99 dev far nud stale
agent monitor OCF_RESKEY_ip=192.0.2.7
agent start OCF_RESKEY_ip=192.0.2.7
agent monitor OCF_RESKEY_ip=192.0.2.7
agent start OCF_RESKEY_ip=192.0.2.7
ip -o -4 address show dev eth0 | grep -o '192.0.2.7/24'
for try in 1 2 3 4 5 6 7 8 9 10; do
  in_neighbour ip neighbour show 192.0.2.7 | grep -q "$(cat /sys/class/net/eth0/address 2>/dev/null || ip -o link show eth0 | sed 's/.*ether \([^ ]*\).*/\1/')" && break; sleep 0.05
done
mac=$(ip -o link show eth0 | sed 's/.*ether \([^ ]*\).*/\1/')
in_neighbour ip neighbour show 192.0.2.7 | grep -q "lladdr $mac " && echo told
agent stop OCF_RESKEY_ip=192.0.2.7
agent stop OCF_RESKEY_ip=192.0.2.7
agent monitor OCF_RESKEY_ip=192.0.2.7
agent start OCF_RESKEY_ip=2001:db8::7/64 OCF_RESKEY_nic=eth0
agent monitor OCF_RESKEY_ip=2001:db8::7
agent stop OCF_RESKEY_ip=2001:db8::7
ip -6 -o address show dev eth0 | grep -c 2001:db8::7
agent start OCF_RESKEY_ip=198.51.100.7 2>/dev/null
agent start OCF_RESKEY_ip=192.0.2.7 OCF_RESKEY_nic=nowhere 2>/dev/null
agent stop OCF_RESKEY_ip=192.0.2.7 OCF_RESKEY_nic=nowhere
kill $neighbour
"#;
    let Some(lines) = in_namespaces(&directory.0, script) else { return };
    expect_test::expect![[r#"
        monitor 7
        start 0
        monitor 0
        start 0
        192.0.2.7/24
        told
        stop 0
        stop 0
        monitor 7
        start 0
        monitor 0
        stop 0
        0
        start 5
        start 5
        stop 0"#]]
    .assert_eq(&lines.join("\n"));
}

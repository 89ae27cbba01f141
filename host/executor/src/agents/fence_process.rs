//! `fence_hakudo_process`: fences a node that is a network namespace of this machine, or a tree of processes, by killing
//! every process in it.
//!
//! For each node there is a file in the directory `state`, of the node's name, with lines `key=value`:
//!
//! - `netns`: the inode of the node's network namespace (`stat -Lc %i /proc/PID/ns/net`): what is in it is the node;
//! - `tree`, instead of it: `PID:START` of the process whose descendants are the node (see [`Tree`]);
//! - `down`: a command for the shell that cuts the links of the node, run after the kill;
//! - `start`: a command for the shell that starts the node again, run by `on`.
//!
//! `off` leaves `NAME.off` beside the file and `on` takes it away, so that whoever looks after the node knows what is
//! wanted. Success is reported only when two looks at all processes of the machine found none in the namespace.

use super::{eprint_line, print_line};
use crate::tree::Tree;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longer input is no list of parameters.
const MAX_INPUT: u64 = 64 << 10;

/// The exit code of `status` for a node that is off (FenceAgentAPI).
const OFF: u8 = 2;

const METADATA: &str = r#"<?xml version="1.0"?>
<resource-agent name="fence_hakudo_process" shortdesc="Kills the processes of a node that is a network namespace">
  <longdesc>Fences nodes of a demonstration or test cluster that live in network namespaces of one machine.</longdesc>
  <parameters>
    <parameter name="action" unique="0" required="1">
      <content type="string" default="reboot"/>
      <shortdesc lang="en">What to do</shortdesc>
    </parameter>
    <parameter name="plug" unique="0" required="1" obsoletes="port">
      <content type="string"/>
      <shortdesc lang="en">The node</shortdesc>
    </parameter>
    <parameter name="port" unique="0" required="0" deprecated="1">
      <content type="string"/>
      <shortdesc lang="en">The node</shortdesc>
    </parameter>
    <parameter name="state" unique="0" required="1">
      <content type="string"/>
      <shortdesc lang="en">The directory with a file for each node</shortdesc>
    </parameter>
  </parameters>
  <actions>
    <action name="on" automatic="0"/>
    <action name="off"/>
    <action name="reboot"/>
    <action name="status"/>
    <action name="list"/>
    <action name="monitor"/>
    <action name="metadata"/>
  </actions>
</resource-agent>"#;

pub(super) fn main(arguments: &[&str]) -> u8 {
    let parameters = match arguments {
        // As fence agents are called by hand.
        ["-o", action] => Ok(BTreeMap::from([("action".to_owned(), (*action).to_owned())])),
        _ => read_parameters(io::stdin()),
    };
    let result = parameters.and_then(|parameters| run(&parameters));
    match result {
        Ok(code) => code,
        Err(reason) => {
            eprint_line(&reason);
            1
        }
    }
}

fn read_parameters(input: impl Read) -> Result<BTreeMap<String, String>, String> {
    let mut text = String::new();
    input
        .take(MAX_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| format!("the parameters can not be read: {error}"))?;
    Ok(key_values(&text))
}

fn key_values(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn run(parameters: &BTreeMap<String, String>) -> Result<u8, String> {
    let get = |name: &str| parameters.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let action = get("action").unwrap_or("reboot");
    if action == "metadata" {
        print_line(METADATA);
        return Ok(0);
    }
    let state = PathBuf::from(get("state").ok_or("the parameter state is not set")?);
    match action {
        "monitor" => {
            nodes(&state)?;
            return Ok(0);
        }
        "list" => {
            for node in nodes(&state)? {
                print_line(&format!("{node},"));
            }
            return Ok(0);
        }
        _ => {}
    }
    let plug = get("plug").or(get("port")).or(get("nodename")).ok_or("the parameter plug is not set")?;
    let node = Node::read(&state, plug)?;
    match action {
        "off" => node.off()?,
        "on" => node.on()?,
        "reboot" => {
            node.off()?;
            // The node is off, and that is what a cluster waits for: a start that fails does not undo it.
            if let Err(reason) = node.on() {
                eprint_line(&reason);
            }
        }
        "status" => return Ok(if node.is_on()? { 0 } else { OFF }),
        other => return Err(format!("fence_hakudo_process has no action {other:?}")),
    }
    Ok(0)
}

fn nodes(state: &Path) -> Result<Vec<String>, String> {
    let unreadable = |error| format!("the directory {} can not be read: {error}", state.display());
    let entries = fs::read_dir(state).map_err(unreadable)?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && !name.ends_with(".off"))
        .collect();
    names.sort();
    Ok(names)
}

/// What belongs to a node.
#[derive(Clone, Copy, Debug)]
enum Whole {
    /// All processes in the network namespace with this inode.
    Namespace(u64),
    /// A process and its descendants.
    Tree(Tree),
}

struct Node {
    name: String,
    whole: Whole,
    down: Option<String>,
    start: Option<String>,
    off_marker: PathBuf,
}

impl Node {
    fn read(state: &Path, name: &str) -> Result<Self, String> {
        if name.contains('/') || name.starts_with('.') {
            return Err(format!("{name:?} is not the name of a node"));
        }
        let file = state.join(name);
        let text = fs::read_to_string(&file)
            .map_err(|error| format!("nothing is known of the node {name}: {}: {error}", file.display()))?;
        let mut values = key_values(&text);
        let netns = values.get("netns").and_then(|inode| inode.parse().ok()).map(Whole::Namespace);
        let tree = || values.get("tree").and_then(|tree| tree.parse().ok()).map(Whole::Tree);
        let whole = netns.or_else(tree);
        let whole = whole.ok_or_else(|| format!("{} does not say netns=INODE or tree=PID:START", file.display()))?;
        Ok(Self {
            name: name.to_owned(),
            whole,
            down: values.remove("down"),
            start: values.remove("start"),
            off_marker: state.join(format!("{name}.off")),
        })
    }

    fn off(&self) -> Result<(), String> {
        let is_this = match self.whole {
            Whole::Namespace(inode) => namespace_of("self") == Some(inode),
            Whole::Tree(tree) => tree.holds_this_process(),
        };
        if is_this {
            return Err(format!("this is {} itself: its processes can only be killed from another node", self.name));
        }
        fs::write(&self.off_marker, "").map_err(|error| format!("{}: {error}", self.off_marker.display()))?;
        match self.whole {
            Whole::Namespace(inode) => self.kill_all_in(inode)?,
            Whole::Tree(tree) => tree.kill(PATIENCE).map_err(|error| format!("{}: {error}", self.name))?,
        }
        if let Some(command) = &self.down {
            shell(command).map_err(|error| format!("the links of {} could not be cut: {error}", self.name))?;
        }
        Ok(())
    }

    /// Kills until nothing is left. One look is not enough: a process may be born while the list is read.
    fn kill_all_in(&self, namespace: u64) -> Result<(), String> {
        let started = Instant::now();
        let mut empty_looks = 0;
        loop {
            let processes = processes_in(namespace)?;
            empty_looks = if processes.is_empty() { empty_looks + 1 } else { 0 };
            if empty_looks == 2 {
                return Ok(());
            }
            for &pid in &processes {
                kill_in(namespace, pid);
            }
            if started.elapsed() > PATIENCE {
                let numbers: Vec<_> = processes.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
                return Err(format!("processes of {} can not be killed: {}", self.name, numbers.join(" ")));
            }
            if !processes.is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn is_on(&self) -> Result<bool, String> {
        match self.whole {
            Whole::Namespace(inode) => Ok(!processes_in(inode)?.is_empty()),
            Whole::Tree(tree) => Ok(tree.lives()),
        }
    }

    fn on(&self) -> Result<(), String> {
        match fs::remove_file(&self.off_marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", self.off_marker.display()));
            }
            _ => {}
        }
        match &self.start {
            Some(command) => shell(command).map_err(|error| format!("{} could not be started: {error}", self.name)),
            None => Ok(()),
        }
    }
}

/// Kills a process in a namespace and no other: the descriptor holds on to the process while it is looked at again.
fn kill_in(namespace: u64, pid: Pid) {
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
        && namespace_of(&pid.as_raw_nonzero().to_string()) == Some(namespace)
    {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

fn processes_in(namespace: u64) -> Result<Vec<Pid>, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("/proc can not be read: {error}"))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let here = names.filter(|name| name.parse::<i32>().is_ok() && namespace_of(name) == Some(namespace));
    Ok(here.filter_map(|name| name.parse().ok().and_then(Pid::from_raw)).collect())
}

/// The inode of the network namespace of a process; none of one that is gone.
fn namespace_of(process: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/ns/net")).ok().map(|namespace| namespace.ino())
}

/// Runs a command whose children may outlive it.
fn shell(command: &str) -> Result<(), String> {
    let mut child = Command::new("/bin/sh");
    child.args(["-c", command]).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match child.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Child;

    fn call(words: &[(&str, &str)]) -> Result<u8, String> {
        run(&words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// A process in a network namespace of its own, if this machine lets us make one.
    fn node(script: &str) -> Option<(Child, u64)> {
        let mut child = Command::new("unshare")
            .args(["--net", "--map-root-user", "sh", "-c", &format!("echo; {script}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let read = child.stdout.as_mut().map(|out| out.read(&mut [0; 1]));
        if !matches!(read, Some(Ok(1))) {
            let _ = child.wait();
            return None;
        }
        let netns = namespace_of(&child.id().to_string())?;
        Some((child, netns))
    }

    #[test]
    fn a_node_is_killed_with_all_its_processes() {
        let directory = crate::testing::directory("fence");
        let started = directory.join(".started");
        let Some((mut child, netns)) = node("setsid sleep 300 & sleep 300 & sleep 300; sleep 300") else {
            eprintln!("skipped: no network namespace can be made here");
            return;
        };
        assert_ne!(namespace_of("self"), Some(netns));
        let text = format!("# a node\nnetns={netns}\nstart=touch {}\n", started.display());
        fs::write(directory.join("node1"), text).unwrap();
        let state = ("state", directory.to_str().unwrap());
        let plug = ("plug", "node1");
        // The kernel reaps a killed process only when its parent looks.
        let reaper = std::thread::spawn(move || child.wait());
        assert_eq!(call(&[("action", "status"), state, plug]), Ok(0));
        assert_eq!(call(&[("action", "off"), state, plug]), Ok(0));
        assert_eq!(call(&[("action", "status"), state, plug]), Ok(OFF));
        assert!(directory.join("node1.off").exists() && !started.exists());
        assert_eq!(nodes(&directory), Ok(vec!["node1".to_owned()]));
        assert_eq!(call(&[("action", "on"), state, plug]), Ok(0));
        assert!(!directory.join("node1.off").exists() && started.exists());
        assert!(reaper.join().is_ok());
    }

    #[test]
    fn a_node_may_be_a_tree_of_processes() {
        let directory = crate::testing::directory("fence-tree");
        let mut child = Command::new("sh").args(["-c", "sleep 300 & wait"]).spawn().unwrap();
        let tree = Tree::of(child.id()).unwrap();
        fs::write(directory.join("node1"), format!("tree={tree}\n")).unwrap();
        let (state, plug) = (("state", directory.to_str().unwrap()), ("plug", "node1"));
        assert_eq!(call(&[("action", "status"), state, plug]), Ok(0));
        assert_eq!(call(&[("action", "off"), state, plug]), Ok(0));
        assert_eq!(call(&[("action", "status"), state, plug]), Ok(OFF));
        child.wait().unwrap();
        let own = Tree::of(std::process::id()).unwrap();
        fs::write(directory.join("node1"), format!("tree={own}\n")).unwrap();
        assert!(call(&[("action", "off"), state, plug]).unwrap_err().contains("itself"));
    }

    #[test]
    fn what_can_not_be_fenced_is_said() {
        let directory = crate::testing::directory("unfenceable");
        let state = ("state", directory.to_str().unwrap());
        assert_eq!(call(&[("action", "monitor"), state]), Ok(0));
        assert!(call(&[("action", "monitor"), ("state", "/no/such/place")]).is_err());
        assert!(call(&[("action", "off"), state, ("plug", "node9")]).unwrap_err().contains("node9"));
        assert!(call(&[("action", "off"), state, ("plug", "../node9")]).is_err());
        assert!(call(&[("action", "off"), state]).unwrap_err().contains("plug"));
        fs::write(directory.join("node1"), "nonsense\n").unwrap();
        assert!(call(&[("action", "off"), state, ("port", "node1")]).unwrap_err().contains("netns"));
        let own = namespace_of("self").unwrap();
        fs::write(directory.join("node1"), format!("netns={own}\n")).unwrap();
        assert!(call(&[("action", "off"), state, ("port", "node1")]).unwrap_err().contains("itself"));
    }
}

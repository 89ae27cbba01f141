//! A small language: lines of what happens, and what the core does about it.
//!
//! `nodes n1 n2 d1@n2` (members, and where monitors run) · `config` (the configuration again, as given) ·
//! `fence n1 reboot [delay 5|at once] [by alice]` · `confirm n1 alice` · `resign` · `wait 5` (seconds) · and for the
//! oldest run of a device that has not ended: `ok d1 [output]`, `fail d1 [reason]`, `code d1 2`, `hang d1`, `absent d1`.
//! Metadata are answered by themselves, from the agents below.

use hakudo_base::agent::{AgentResult, ExecutionStatus};
use hakudo_base::{Instant, UnixTime};
use hakudo_cib::Document;
use hakudo_fencing::{Effect, Fencer, Input, Request, Run};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

pub(crate) struct Stage {
    fencer: Fencer,
    now: Instant,
    cib: Document,
    /// Runs that have not ended.
    running: Vec<Run>,
    next_id: u64,
    text: String,
}

/// What agents know, by their names.
fn metadata(agent: &str) -> Option<String> {
    let (parameters, actions): (&[&str], &[&str]) = match agent {
        "fence_full" => (&["port", "plug", "ip"], &["on", "off", "reboot", "status", "list", "monitor", "metadata"]),
        "fence_port" => (&["port"], &["on", "off", "reboot", "monitor", "metadata"]),
        "fence_off_only" => (&["plug"], &["on", "off", "monitor", "metadata"]),
        "fence_status" => (&["port"], &["off", "reboot", "status", "monitor", "metadata"]),
        "fence_self" => (&[], &["off", "reboot", "on\" on_target=\"1", "metadata"]),
        _ => return None,
    };
    let list = |item: &str, names: &[&str]| -> String {
        names.iter().map(|name| format!("<{item} name=\"{name}\"/>")).collect()
    };
    Some(format!(
        "warning: something on standard error\n<?xml version=\"1.0\"?>\n<resource-agent name=\"{agent}\"><parameters>{}</parameters>\
         <actions>{}</actions></resource-agent>\n",
        list("parameter", parameters),
        list("action", actions)
    ))
}

impl Stage {
    /// `configuration` is what stands in `<configuration>`.
    pub(crate) fn new(configuration: &str) -> Self {
        let xml = format!("<cib><configuration>{configuration}</configuration><status/></cib>");
        let cib = Document::parse(&xml).expect("a well-formed configuration");
        let mut stage = Self {
            fencer: Fencer::new(1),
            now: Instant::ZERO,
            cib,
            running: Vec::new(),
            next_id: 1,
            text: String::new(),
        };
        stage.line("config");
        stage
    }

    pub(crate) fn play(mut self, script: &str) -> String {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(self.text, "{line}").expect("a string takes all");
            self.line(line);
        }
        self.text
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["config"] => {
                let cib = self.cib.clone();
                self.give(Input::Configure { cib, now: UnixTime::from_seconds(0) });
            }
            ["nodes", rest @ ..] => {
                let (monitors, nodes): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| word.contains('@'));
                self.give(Input::Members {
                    nodes: nodes.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(),
                    monitored: monitors
                        .into_iter()
                        .filter_map(|word| word.split_once('@'))
                        .map(|(device, node)| (device.to_owned(), node.to_owned()))
                        .collect::<BTreeMap<_, _>>(),
                });
            }
            ["fence", target, action, rest @ ..] => {
                let id = self.next_id;
                self.next_id += 1;
                let after = |word| rest.iter().position(|w| *w == word).and_then(|at| rest.get(at + 1));
                let delay = after("delay").map_or(0, |seconds| seconds.parse().expect("seconds"));
                self.give(Input::Fence(Request {
                    id,
                    target: (*target).to_owned(),
                    life: after("life").map_or(0, |life| life.parse().expect("a number")),
                    action: action.parse().expect("an action"),
                    delay: (!rest.contains(&"once")).then_some(Duration::from_secs(delay)),
                    user: after("by").map(|user| (*user).to_owned()),
                }));
            }
            ["confirm", target, user] => {
                self.give(Input::Confirm { target: (*target).to_owned(), user: (*user).to_owned() });
            }
            ["resign"] => self.give(Input::Resign),
            ["wait", seconds] => self.wait(Duration::from_secs_f64(seconds.parse().expect("seconds"))),
            [word, device, rest @ ..] => self.end(word, device, &rest.join(" ")),
            _ => panic!("what is {line:?}?"),
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.fencer.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let before = self.fencer.deadline();
            self.give(Input::Timer);
            assert!(self.fencer.deadline() != before, "the deadline {deadline} stays after it has come");
        }
        self.now = end;
    }

    fn end(&mut self, word: &str, device: &str, said: &str) {
        let Some(at) = self.running.iter().position(|run| run.device == device) else {
            panic!("{device} does not run:\n{}", self.text);
        };
        let run = self.running.remove(at);
        let (status, exit_code) = match word {
            "ok" => (ExecutionStatus::Done, 0),
            "fail" => (ExecutionStatus::Done, 1),
            "code" => (ExecutionStatus::Done, said.parse().expect("a number")),
            "hang" => (ExecutionStatus::Timeout, 1),
            "absent" => (ExecutionStatus::NotInstalled, 5),
            _ => panic!("what is {word:?}?"),
        };
        self.give(Input::Result(result(&run, status, exit_code, said)));
    }

    fn give(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.fencer.handle(self.now, input, &mut effects);
        for effect in effects {
            self.show(effect);
        }
    }

    fn show(&mut self, effect: Effect) {
        let line = match effect {
            Effect::Run(run) if run.operation == "metadata" => {
                let answer = match metadata(&run.agent.kind) {
                    Some(text) => result(&run, ExecutionStatus::Done, 0, &text),
                    None => result(&run, ExecutionStatus::NotInstalled, 5, ""),
                };
                return self.give(Input::Result(answer));
            }
            Effect::Run(run) => {
                let told: Vec<String> = run
                    .parameters
                    .iter()
                    .filter(|(n, _)| !n.starts_with("pcmk_"))
                    .map(|(n, v)| format!("{n}={v}"))
                    .collect();
                let line = format!(
                    "{} on {}: {} {} within {:?}",
                    run.device,
                    run.on,
                    run.operation,
                    told.join(" "),
                    Duration::from_millis(run.timeout_ms)
                );
                self.running.push(run);
                line
            }
            Effect::Done { id, target, action, result } => match result {
                Ok(done) => format!(
                    "done {id}: {action} of {target} by {} with {:?} after {:?}",
                    done.by, done.devices, done.took
                ),
                Err(failure) if failure.gave_up => format!("gave up {id}: {action} of {target}: {}", failure.reason),
                Err(failure) => format!("failed {id}: {action} of {target}: {}", failure.reason),
            },
            Effect::MayTryAgain { target } => format!("{target} may be tried again"),
            Effect::Event { severity, kind: "fence-config", text, .. } => format!("{severity:?}: {text}"),
            Effect::Event { .. } => return,
        };
        writeln!(self.text, "    {} {line}", self.now.as_millis() as f64 / 1000.0).expect("a string takes all");
    }
}

fn result(run: &Run, status: ExecutionStatus, exit_code: i32, output: &str) -> AgentResult {
    AgentResult { output: output.to_owned(), ..AgentResult::new(run.call, status, exit_code) }
}

//! By chance: configurations, members, requests and answers in any order. Whatever happens, agents never work on one target
//! for two different wishes at once, every request is answered once, in bounded time, and only with success that was earned.

use hakudo_base::agent::{AgentResult, ExecutionStatus};
use hakudo_base::{Instant, UnixTime};
use hakudo_cib::Document;
use hakudo_fencing::{Action, Effect, Fencer, Input, Request, Run};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

#[derive(Clone, Debug)]
enum Happening {
    Configure(Vec<DeviceKind>, Vec<(usize, u8, Vec<usize>)>, bool),
    Members(Vec<bool>),
    Lost(usize),
    Fence(usize, Action, Option<u8>, bool),
    Confirm(usize),
    /// The answer to one of the runs, which one and how.
    Answer(usize, u8),
    Wait(u16),
}

#[derive(Clone, Debug)]
struct DeviceKind {
    agent: u8,
    check: u8,
    delay: u8,
    limit: i8,
    priority: i8,
}

fn device() -> impl Strategy<Value = DeviceKind> {
    (0..4_u8, 0..6_u8, 0..3_u8, -1..3_i8, -1..2_i8).prop_map(|(agent, check, delay, limit, priority)| DeviceKind {
        agent,
        check,
        delay,
        limit,
        priority,
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    let action = prop_oneof![4 => Just(Action::Reboot), 3 => Just(Action::Off), 1 => Just(Action::On)];
    let level = (0..4_usize, 1..4_u8, proptest::collection::vec(0..4_usize, 1..4));
    prop_oneof![
        1 => (proptest::collection::vec(device(), 0..4), proptest::collection::vec(level, 0..4), any::<bool>())
            .prop_map(|(devices, levels, concurrent)| Happening::Configure(devices, levels, concurrent)),
        1 => proptest::collection::vec(proptest::bool::weighted(0.7), 4).prop_map(Happening::Members),
        1 => (0..4_usize).prop_map(Happening::Lost),
        4 => (0..4_usize, action, proptest::option::of(0..20_u8), proptest::bool::weighted(0.2))
            .prop_map(|(target, action, delay, user)| Happening::Fence(target, action, delay, user)),
        1 => (0..4_usize).prop_map(Happening::Confirm),
        10 => (any::<usize>(), 0..10_u8).prop_map(|(which, how)| Happening::Answer(which, how)),
        3 => (0..90_u16).prop_map(Happening::Wait),
    ]
}

fn configuration(devices: &[DeviceKind], levels: &[(usize, u8, Vec<usize>)], concurrent: bool) -> Document {
    let devices: String = (0..)
        .zip(devices)
        .map(|(n, kind)| {
            let agent = ["fence_full", "fence_plain", "fence_self", "fence_missing"][usize::from(kind.agent)];
            let check = [
                "pcmk_host_list=n1,n2,n3,n4",
                "pcmk_host_map=n1:1;n2:2",
                "pcmk_host_check=dynamic-list",
                "pcmk_host_check=status",
                "pcmk_host_check=none",
                "",
            ][usize::from(kind.check)];
            let delay = ["", "pcmk_delay_base=3s", "pcmk_delay_max=9s"][usize::from(kind.delay)];
            let more = format!("pcmk_action_limit={} priority={}", kind.limit, kind.priority);
            let pairs: String = [check, delay, more.as_str()]
                .join(" ")
                .split_whitespace()
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| format!("<nvpair id='d{n}-{name}' name='{name}' value='{value}'/>"))
                .collect();
            format!(
                "<primitive id='d{n}' class='stonith' type='{agent}'><instance_attributes id='d{n}-ia'>{pairs}\
                 </instance_attributes></primitive>"
            )
        })
        .collect();
    let levels: String = (0..)
        .zip(levels)
        .map(|(n, (target, index, devices))| {
            let devices: Vec<String> = devices.iter().map(|d| format!("d{d}")).collect();
            let target = NODES[*target];
            format!("<fencing-level id='l{n}' target='{target}' index='{index}' devices='{}'/>", devices.join(","))
        })
        .collect();
    let xml = format!(
        "<cib><configuration><crm_config><cluster_property_set id='p'><nvpair id='p1' name='concurrent-fencing' \
         value='{concurrent}'/></cluster_property_set></crm_config><resources>{devices}</resources>\
         <fencing-topology>{levels}</fencing-topology></configuration><status/></cib>"
    );
    Document::parse(&xml).expect("well-formed")
}

#[derive(Default)]
struct World {
    now: Instant,
    running: Vec<(Run, Instant)>,
    /// Fence actions that ended well, by target.
    earned: BTreeMap<String, u32>,
    open: BTreeMap<u64, (String, Action, bool)>,
    confirmed: BTreeSet<String>,
    answers: u32,
}

impl World {
    fn give(&mut self, fencer: &mut Fencer, input: Input) -> Result<(), TestCaseError> {
        // An executor ends what takes too long.
        let now = self.now;
        self.running.retain(|(run, began)| now.since(*began) < Duration::from_millis(run.timeout_ms));
        let mut effects = Vec::new();
        fencer.handle(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Run(run) => {
                    prop_assert!(run.timeout_ms > 0);
                    if matches!(run.operation.as_str(), "off" | "reboot" | "on") {
                        let other = self.running.iter().find(|(other, _)| {
                            other.target == run.target && matches!(other.operation.as_str(), "off" | "reboot" | "on")
                        });
                        prop_assert!(other.is_none(), "{run:?} begins while {other:?} runs");
                    }
                    self.running.push((run, now));
                }
                Effect::Done { id, target, action, result } => {
                    let asked = self.open.remove(&id);
                    prop_assert_eq!(asked.map(|(t, a, _)| (t, a)), Some((target.clone(), action)), "request {}", id);
                    self.answers += 1;
                    if let Ok(fenced) = result {
                        let confirmed = fenced.devices.is_empty() && self.confirmed.contains(&target);
                        let earned = self.earned.get(&target).copied().unwrap_or(0) > 0;
                        prop_assert!(confirmed || earned, "{target} is said to be fenced, and nobody did it");
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets time pass; the fencer is called when it wants to be, and each deadline is over then.
    fn wait(&mut self, fencer: &mut Fencer, time: Duration) -> Result<(), TestCaseError> {
        let end = self.now + time;
        while let Some(deadline) = fencer.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.give(fencer, Input::Timer)?;
            prop_assert!(fencer.deadline().is_none_or(|next| next > self.now), "a deadline stays after it has come");
        }
        self.now = end;
        Ok(())
    }

    fn answer(&mut self, fencer: &mut Fencer, which: usize, how: u8) -> Result<(), TestCaseError> {
        if self.running.is_empty() {
            return Ok(());
        }
        let (run, _) = self.running.remove(which % self.running.len());
        let (status, exit_code) = match how {
            0..=4 => (ExecutionStatus::Done, 0),
            5 | 6 => (ExecutionStatus::Done, 1),
            7 => (ExecutionStatus::Timeout, 1),
            8 => (ExecutionStatus::NotInstalled, 5),
            _ => (ExecutionStatus::Error, 1),
        };
        let output = match run.operation.as_str() {
            "metadata" => metadata(&run.agent.kind),
            "list" => "n1\nn2,alias\nn3".to_owned(),
            _ => String::new(),
        };
        if let Some(target) = run.target.clone().filter(|_| exit_code == 0 && run.operation != "status") {
            *self.earned.entry(target).or_default() += 1;
        }
        let (call, exit_reason) = (run.call, String::new());
        let result = AgentResult { exit_reason, output, exec_time_ms: 1, ..AgentResult::new(call, status, exit_code) };
        self.give(fencer, Input::Result(result))
    }
}

fn metadata(agent: &str) -> String {
    let actions = match agent {
        "fence_full" => {
            "<action name='on'/><action name='off'/><action name='reboot'/><action name='list'/><action name='status'/>"
        }
        "fence_plain" => "<action name='off'/>",
        _ => "<action name='on' on_target='1'/><action name='reboot'/><action name='off'/>",
    };
    format!(
        "<resource-agent><parameters><parameter name='port'/></parameters><actions>{actions}</actions></resource-agent>"
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_and_no_two_wishes_meet(happenings in proptest::collection::vec(happening(), 1..60)) {
        let (mut fencer, mut world, mut next) = (Fencer::new(1), World::default(), 1);
        let mut members: BTreeSet<String> = BTreeSet::new();
        for happening in happenings {
            match happening {
                Happening::Configure(devices, levels, concurrent) => {
                    let cib = configuration(&devices, &levels, concurrent);
                    world.give(&mut fencer, Input::Configure { cib, now: UnixTime::from_seconds(0) })?;
                }
                Happening::Members(here) => {
                    members = NODES.iter().zip(here).filter(|(_, here)| *here).map(|(node, _)| (*node).to_owned()).collect();
                    world.running.retain(|(run, _)| members.contains(&run.on));
                    let nodes = members.clone();
                    world.give(&mut fencer, Input::Members { nodes, monitored: BTreeMap::new() })?;
                }
                Happening::Lost(node) => {
                    members.remove(NODES[node]);
                    world.running.retain(|(run, _)| run.on != NODES[node]);
                    let nodes = members.clone();
                    world.give(&mut fencer, Input::Members { nodes, monitored: BTreeMap::new() })?;
                }
                Happening::Fence(target, action, delay, user) => {
                    let target = NODES[target].to_owned();
                    world.open.insert(next, (target.clone(), action, user));
                    let user = user.then(|| "alice".to_owned());
                    let delay = delay.map(|seconds| Duration::from_secs(u64::from(seconds)));
                    world.give(&mut fencer, Input::Fence(Request { id: next, target, life: 0, action, delay, user }))?;
                    next += 1;
                }
                Happening::Confirm(target) => {
                    let target = NODES[target].to_owned();
                    world.confirmed.insert(target.clone());
                    world.give(&mut fencer, Input::Confirm { target, user: "bob".into() })?;
                }
                Happening::Answer(which, how) => world.answer(&mut fencer, which, how)?,
                Happening::Wait(seconds) => world.wait(&mut fencer, Duration::from_secs(u64::from(seconds)))?,
            }
        }
        // Nothing more is heard of any agent, and yet every request ends. 3 requests of a target, 3 devices on 4 nodes of
        // up to two minutes each, are less than a day.
        world.running.clear();
        for _ in 0..24 {
            world.wait(&mut fencer, Duration::from_secs(3600))?;
        }
        prop_assert!(world.open.is_empty(), "without an answer: {:?}", world.open);
    }
}

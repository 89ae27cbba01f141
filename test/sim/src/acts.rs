//! Things that are done to a cluster from outside: faults, requests of clients, and the last look at it.

use crate::check::{Rule, Service, is_maintained, possible, settled};
use crate::cib;
use crate::mutation::Mutation;
use crate::script::{Act, Ask, Mood};
use crate::world::World;
use hakudo_cib::{Document, Element};
use hakudo_controller::Input as ControllerInput;
use hakudo_controller::request::{Reply, Request};
use hakudo_scheduler::{Action, ActionKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Services that nobody moved for so long are left alone.
const AT_REST: Duration = Duration::from_secs(10);

impl World {
    pub(crate) fn act(&mut self, act: Act) {
        if self.node_of(&act).is_some_and(|node| node >= self.machines.len()) {
            return;
        }
        self.checks.plans.disturb();
        match act {
            Act::PowerOff(n) => {
                if self.machines[n - 1].powered {
                    self.sites.reach("power loss");
                    self.power_off(n - 1);
                }
            }
            Act::Boot(n) => self.boot(n - 1),
            Act::KillProcess(n) => {
                self.sites.reach("node process killed");
                self.end_process(n - 1);
            }
            Act::StartProcess(n) => self.start_process(n - 1),
            Act::KillExecutor(n) => {
                self.sites.reach("executor killed");
                self.kill_executor(n - 1);
            }
            Act::Pause(n, ms) => {
                self.sites.reach("process paused");
                self.pause(n - 1, Duration::from_millis(ms));
            }
            Act::Clock(n, seconds) => self.set_clock(n - 1, seconds),
            Act::Cut(from, to, link) => self.set_cut(from, to, link, true),
            Act::Mend(from, to, link) => self.set_cut(from, to, link, false),
            Act::Split(side) => self.split(&side, true),
            Act::Mute(side) => self.split(&side, false),
            Act::Join => self.network.mend_all(),
            Act::Weather(weather) => self.network.set_weather(weather),
            Act::DiskFull(n) => self.machines[n - 1].configuration.full = true,
            Act::DiskSlow(n, ms) => self.machines[n - 1].configuration.slow_ms = ms,
            Act::DiskRots(n) => {
                // What only this disk held is lost then, and nobody is to blame.
                self.checks.edits.forgive();
                self.machines[n - 1].configuration.rot(|state| state.configuration.truncate(100));
            }
            Act::DiskWorks(n) => {
                self.machines[n - 1].configuration.full = false;
                self.machines[n - 1].configuration.slow_ms = 0;
            }
            Act::Crash(n, primitive) => {
                self.sites.reach("service crashed");
                self.crash(n - 1, primitive);
            }
            Act::Agent(n, primitive, operation, mood) => {
                if mood == Mood::Works {
                    self.moods.remove(&(n, primitive, operation));
                } else {
                    self.moods.insert((n, primitive, operation), mood);
                }
            }
            Act::Fence(n, mood) => {
                self.fence_moods.insert(n, mood);
            }
            Act::Forge(n) => self.forge(n - 1),
            Act::Ask(n, ask) => self.ask(n - 1, ask),
        }
    }

    /// The greatest node, from 0, that an act is about; shrinking may have removed it.
    fn node_of(&self, act: &Act) -> Option<usize> {
        let number = match act {
            Act::PowerOff(n) | Act::Boot(n) | Act::KillProcess(n) | Act::StartProcess(n) | Act::KillExecutor(n) => *n,
            Act::DiskRots(n) => *n,
            Act::Pause(n, _) | Act::DiskSlow(n, _) | Act::DiskFull(n) | Act::DiskWorks(n) | Act::Crash(n, _) => *n,
            Act::Clock(n, _) | Act::Forge(n) => *n,
            Act::Cut(from, to, _) | Act::Mend(from, to, _) => *from.max(to),
            Act::Ask(
                n,
                Ask::NodeOption(m, ..) | Ask::Move(_, m, _) | Ask::Fence(m) | Ask::Confirm(m) | Ask::Refresh(_, m),
            ) => *n.max(m),
            Act::Ask(n, _) => *n,
            Act::Agent(..) | Act::Fence(..) | Act::Split(_) | Act::Mute(_) | Act::Join | Act::Weather(_) => {
                return None;
            }
        };
        number.checked_sub(1)
    }

    fn set_clock(&mut self, node: usize, seconds: i64) {
        self.sites.reach("calendar clock set");
        self.machines[node].clock_error_ms += seconds * 1000;
        let calendar = self.machines[node].calendar(self.now);
        self.feed(node, ControllerInput::Clock(calendar.into()));
    }

    fn set_cut(&mut self, from: usize, to: usize, link: Option<u8>, cut: bool) {
        let links = link.map_or(0..self.script.setup.links, |link| link..link + 1);
        links.for_each(|link| self.network.set_cut(from - 1, to - 1, link, cut));
    }

    fn split(&mut self, side: &[usize], both_ways: bool) {
        self.sites.reach(if both_ways { "network split" } else { "network split one way" });
        for from in 0..self.machines.len() {
            for to in 0..self.machines.len() {
                let (inside, there) = (side.contains(&(from + 1)), side.contains(&(to + 1)));
                if inside != there && (both_ways || inside) {
                    (0..self.script.setup.links).for_each(|link| self.network.set_cut(from, to, link, true));
                }
            }
        }
    }

    /// A client of a node asks.
    pub(crate) fn ask(&mut self, node: usize, ask: Ask) {
        if self.machines[node].process.is_none() {
            return;
        }
        self.checks.plans.disturb();
        self.asks += 1;
        let number = self.asks;
        let name = |number: usize| cib::node_name(number);
        let request = match &ask {
            Ask::Cleanup => Request::Cleanup { resource: None, node: None, refresh: false },
            Ask::Refresh(primitive, target) => {
                Request::Cleanup { resource: Some(primitive.clone()), node: Some(name(*target)), refresh: true }
            }
            Ask::Fence(target) => Request::Fence { node: name(*target), action: "reboot".into() },
            // Who says so has looked.
            Ask::Confirm(target) if self.machines[*target - 1].powered => return,
            Ask::Confirm(target) => {
                self.sites.reach("death confirmed by hand");
                Request::ConfirmFenced { node: name(*target) }
            }
            Ask::Leave => Request::Leave,
            Ask::Score(primitive) => Request::SetAttribute {
                node: name(node + 1),
                name: format!("master-{primitive}"),
                value: Some((100 - node).to_string()),
            },
            Ask::Nonsense(..) if self.mutation == Some(Mutation::NonsenseTaken) => {
                cib::change(&Ask::Note, number, |_| None).map_or(Request::Cluster, Request::Change)
            }
            _ => match cib::change(&ask, number, |rsc| self.shapes.get(rsc).copied()) {
                Some(change) => Request::Change(change),
                None => return,
            },
        };
        self.expect_from_ask(number, &ask);
        let at_once = self.mutation == Some(Mutation::AcknowledgedAtOnce) && matches!(request, Request::Change(_));
        self.asked.insert(number, ask);
        if at_once {
            self.replied(node, number, Reply::Done);
        }
        self.feed(node, ControllerInput::Request { client: number, user: "root".into(), request });
    }

    /// What an acknowledged change is held against: the quorum rule leaves no doubt which side has the word, or the side
    /// without it is dead before the other changes anything.
    fn strict(&self) -> bool {
        self.checks.exclusive || !self.checks.activity.unfenced
    }

    /// Whatever is asked for may come true, at once or much later.
    fn expect_from_ask(&mut self, number: u64, ask: &Ask) {
        match ask {
            Ask::Add(resource) => self.allow(resource),
            Ask::Option(name, value) if name == "fencing-enabled" && value == "false" => {
                self.checks.activity.unfenced = true;
            }
            Ask::ForceNote => self.checks.edits.force(number),
            _ => {}
        }
    }

    /// A node answers a client.
    pub(crate) fn replied(&mut self, node: usize, client: u64, reply: Reply) {
        let Some(ask) = self.asked.remove(&client) else { return self.answered(node, client, reply) };
        // What was asked for may have come true only now, long after a plan was made without it.
        self.checks.plans.disturb();
        if let (Ask::Refresh(primitive, there), Reply::Done) = (&ask, &reply) {
            self.looked_at(*there, primitive);
        }
        if !matches!(ask, Ask::Score(_)) {
            let text = match &reply {
                Reply::Done => "done".into(),
                Reply::Refused { reason, .. } => format!("refused: {reason}"),
                Reply::Unknown { reason } => format!("unknown: {reason}"),
                _ => "something else".to_owned(),
            };
            self.say(|| format!("n{} answers `{ask}` ({client}): {text}", node + 1));
        }
        let is_change = !matches!(
            ask,
            Ask::Cleanup | Ask::Refresh(..) | Ask::Fence(_) | Ask::Confirm(_) | Ask::Leave | Ask::Score(_)
        );
        match reply {
            Reply::Done if matches!(&ask, Ask::Nonsense(kind, _) if kind.must_be_refused()) => {
                self.fail(Rule::ForgedChangesNothing, format!("n{} accepts a change that is not valid", node + 1));
            }
            Reply::Done if is_change => {
                self.sites.reach("change acknowledged");
                self.acknowledged(node, client);
            }
            Reply::Refused { reason, .. } if is_change => {
                self.sites.reach("change refused");
                self.checks.edits.refuse(client, &reason);
            }
            Reply::Unknown { .. } if is_change => self.sites.reach("change with unknown outcome"),
            _ => {}
        }
    }

    /// A change counts as done: then every member has it on disk, along with all that was done before.
    fn acknowledged(&mut self, node: usize, number: u64) {
        let strict = self.strict();
        let Some(process) = self.process(node) else { return };
        let (members, view) = (process.members.clone(), process.applied.map(|(view, _)| view).unwrap_or_default());
        self.checks.edits.acknowledge(number, view, strict);
        for member in members {
            let machine = &self.machines[member.0 as usize - 1];
            let on_disk = machine.configuration.synced().map(|state| notes(&state.configuration)).unwrap_or_default();
            let who = format!(
                "the disk of {}, a member of the view in which change {number} was acknowledged,",
                machine.name
            );
            let verdict = self.checks.edits.agreed(&who, &on_disk);
            self.judge(verdict);
        }
    }

    /// Why the cluster has not settled, if so.
    pub(crate) fn settled(&mut self) -> Result<(), String> {
        let mut views = self.machines.iter().enumerate().map(|(node, _)| self.checks.order.view_of(node));
        let first = views.next().flatten().ok_or("n1 is in no view")?.clone();
        if views.any(|view| view.is_none_or(|view| view.id != first.id)) || first.members.len() != self.machines.len() {
            return Err(format!("the nodes are not in one view; n1 is in {first:?}"));
        }
        if !first.quorate {
            return Err("all nodes are there, but they are not quorate".into());
        }
        let leader = first.id.leader as usize - 1;
        let document = self.document(leader).ok_or("the leader holds no configuration")?;
        self.check_final_documents(&document)?;
        let now = self.machines[leader].calendar(self.now).seconds();
        let plan = crate::route::decide(&document, now, self.mutation)?;
        // A node that wants to leave stays while something runs there that nobody may stop; or is taken to run, for in
        // maintenance nobody sees it die.
        let stays = |action: &Action| {
            let runs = |name: &str| self.machines.iter().any(|machine| machine.name == name && machine.runs_anything());
            let nodes = document.section(&["configuration", "nodes"]).into_iter().flat_map(Element::children);
            let mut maintained = nodes.filter(|node| is_maintained(&document, node));
            let kept = |name: &str| runs(name) || maintained.any(|node| node.attribute("uname") == Some(name));
            action.task == "do_shutdown" && action.node().map(|node| node.name.as_str()).is_some_and(kept)
        };
        let left = possible(&plan).into_iter().find(|action| action.kind != ActionKind::Pseudo && !stays(action));
        if let Some(action) = left {
            // Where the scheduler alone never comes to rest, whoever carries its plans out has to leave services alone.
            if self.now.since(self.moved_at) >= AT_REST && crate::paper::goes_in_circles(&document, now, self.mutation)
            {
                self.sites.reach("plans in circles left alone");
                return Ok(());
            }
            return Err(format!("the scheduler wants {} ({})", action.key, action.reason));
        }
        let running: BTreeMap<String, BTreeMap<String, Service>> =
            self.machines.iter().map(|machine| (machine.name.clone(), machine.services.clone())).collect();
        settled(&document, &running)
    }

    /// What a node holds; none while it does not agree with others.
    fn document(&mut self, node: usize) -> Option<Document> {
        self.machines[node].process.as_mut()?.controller.document()
    }

    /// In the end all nodes hold the same, in memory and on disk, and no acknowledged change is missing.
    fn check_final_documents(&mut self, document: &Document) -> Result<(), String> {
        let held = cib::noted(document);
        let verdict = self.checks.edits.agreed("the final configuration", &held);
        self.judge(verdict);
        let verdict = self.checks.edits.ended(&held);
        self.judge(verdict);
        for node in 0..self.machines.len() {
            let machine = &self.machines[node];
            let name = machine.name.clone();
            let on_disk = machine.configuration.synced().map(|state| notes(&state.configuration)).unwrap_or_default();
            if on_disk != held {
                return Err(format!("the disk of {name} does not hold the configuration of the leader"));
            }
            let theirs = self.document(node);
            let configuration = |document: &Document| document.root().child("configuration").cloned();
            if theirs.as_ref().and_then(configuration) != configuration(document) {
                return Err(format!("{name} does not hold the configuration of the leader"));
            }
        }
        Ok(())
    }
}

fn notes(configuration: &str) -> BTreeSet<u64> {
    cib::notes(configuration).collect()
}

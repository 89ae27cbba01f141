//! The world: all machines, the network between them, and the one queue of things to come. Everything that happens passes
//! through [`World::step`], one thing at a time, and the checkers look on.

use crate::check::{Activity, Edits, Order as Orders, Plans, Rule, Sides, Verdict, Violation};
use crate::cib;
use crate::executor::{Executor, Order};
use crate::machine::{CoreInput, Machine, Process};
use crate::mutation::Mutation;
use crate::network::Network;
use crate::queue::Queue;
use crate::script::{Act, Ask, Fencing, Mood, Resource, Script, Shape, Weather};
use crate::sites::Sites;
use crate::whole::Outside;
use hakudo_base::agent::{AgentCall, AgentResult, ExecutorInput};
use hakudo_base::{Instant, Random};
use hakudo_cib::Document;
use hakudo_controller::{Controller, Input as ControllerInput, PersistedState};
use hakudo_membership::quorum::TieBreaker;
use hakudo_membership::{ClusterKey, Config, Engine, Input as MembershipInput, LinkMode, NodeEntry};
use hakudo_scheduler::Transition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a cluster may take to settle after everything was mended.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked at then.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// More looks at deadlines than this in one moment mean that a core does not move its deadline.
const MAX_WAKES_A_MOMENT: u32 = 200;

/// A thing to come.
#[derive(Debug)]
pub(crate) enum Happening {
    Act(Act),
    Packet { to: usize, link: u8, bytes: Vec<u8> },
    Wake { node: usize, run: u64 },
    Resume { node: usize, run: u64 },
    Written { node: usize, run: u64, token: u64 },
    Reserved { node: usize, run: u64, epochs: hakudo_membership::PersistedState },
    Planned { node: usize, run: u64, token: u64, result: Result<Box<Transition>, String> },
    Ordered { node: usize, run: u64, executor_run: u64, order: Box<Order> },
    Due { node: usize, executor_run: u64, call: u64 },
    AgentEnds { node: usize, executor_run: u64, end: Box<AgentEnd> },
    Reported { node: usize, run: u64, result: Box<AgentResult> },
    Told { node: usize, run: u64, input: Box<ControllerInput> },
    ExecutorUp { node: usize, boots: u64 },
    LeaseDue { node: usize, executor_run: u64 },
    WatchdogDue { node: usize, boots: u64 },
    Heal,
    Look,
}

/// How the run of an agent will end.
#[derive(Debug)]
pub(crate) struct AgentEnd {
    pub(crate) call: AgentCall,
    pub(crate) result: AgentResult,
    /// Does what it should: what it changes comes true at its end.
    pub(crate) effective: bool,
    /// Its executor ends it before its time.
    pub(crate) early: bool,
}

/// All checkers that keep a memory.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) order: Orders,
    pub(crate) activity: Activity,
    pub(crate) edits: Edits,
    pub(crate) plans: Plans,
    pub(crate) sides: Sides,
    /// The quorum rule leaves no doubt which side has the word.
    pub(crate) exclusive: bool,
}

pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) now: Instant,
    pub(crate) queue: Queue<Happening>,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) machines: Vec<Machine>,
    pub(crate) checks: Checks,
    pub(crate) violation: Option<Violation>,
    pub(crate) sites: Sites,
    /// What happened, in words, if somebody wants to read it.
    pub(crate) trace: Option<Vec<String>>,
    /// What the scheduler was given, if somebody wants to read what happened.
    pub(crate) snapshots: Vec<(Instant, Document)>,
    /// (node or all, primitive, operation) -> what the agent does.
    pub(crate) moods: BTreeMap<(usize, String, String), Mood>,
    /// Target (or all) -> how its fencing goes.
    pub(crate) fence_moods: BTreeMap<usize, Mood>,
    /// Changes and other requests that wait for their answer.
    pub(crate) asked: BTreeMap<u64, Ask>,
    pub(crate) asks: u64,
    /// Shapes of all resources that there ever were.
    pub(crate) shapes: BTreeMap<String, Shape>,
    /// Primitives that were ever configured without a monitor.
    unmonitored: BTreeSet<String>,
    /// Services that died where nothing looks after them: (node, primitive). Whoever mends everything has each looked at
    /// once: a look is news to the leader, which then tries anew even what went in circles before.
    unnoticed: BTreeSet<(usize, String)>,
    /// Packets seen on the wire, for forgeries.
    pub(crate) overheard: Vec<(usize, u8, Vec<u8>)>,
    healed_at: Option<Instant>,
    cleanups: u32,
    /// Found settled at the last look.
    calm: bool,
    /// When an agent last began to do something to a service.
    pub(crate) moved_at: Instant,
    wakes: (Instant, u32),
    finished: bool,
    /// What was missing at the last look until the cluster had settled.
    pub(crate) unsettled: String,
    /// The group of sites that this cluster is one of.
    pub(crate) outside: Option<Box<Outside>>,
}

impl World {
    pub(crate) fn new(script: Script, mutation: Option<Mutation>, trace: bool) -> Self {
        let mut random = Random::new(script.seed);
        let configuration = cib::initial(&script.setup);
        let network = Network::new(script.setup.network, random.fork());
        let machines = (1..=script.setup.votes.len())
            .map(|number| {
                Machine::new(
                    number,
                    PersistedState { configuration: configuration.clone(), lineage: 0, tickets: Default::default() },
                )
            })
            .collect();
        let mut world = Self {
            mutation,
            now: Instant::ZERO,
            queue: Queue::new(),
            random,
            network,
            machines,
            checks: Checks::default(),
            violation: None,
            sites: Sites::default(),
            trace: trace.then(Vec::new),
            snapshots: Vec::new(),
            moods: BTreeMap::new(),
            fence_moods: BTreeMap::new(),
            asked: BTreeMap::new(),
            asks: 0,
            shapes: BTreeMap::new(),
            unmonitored: BTreeSet::new(),
            unnoticed: BTreeSet::new(),
            overheard: Vec::new(),
            healed_at: None,
            cleanups: 0,
            calm: false,
            moved_at: Instant::ZERO,
            wakes: (Instant::ZERO, 0),
            finished: false,
            unsettled: String::new(),
            outside: None,
            script,
        };
        world.expect_from_script();
        let boots = (1..=world.machines.len()).map(|n| (0, Act::Boot(n)));
        for (at, act) in boots.chain(world.script.events.clone()) {
            world.queue.push(Instant::from_millis(at), Happening::Act(act));
        }
        world.queue.push(Instant::from_millis(world.script.heal_at), Happening::Heal);
        world
    }

    /// Tells the checkers what the configuration allows.
    fn expect_from_script(&mut self) {
        let setup = self.script.setup.clone();
        let fencing_off = setup
            .options
            .iter()
            .any(|(name, value)| matches!(name.as_str(), "fencing-enabled" | "startup-fencing") && value == "false");
        self.checks.activity.unfenced = setup.fencing == Fencing::Off || fencing_off;
        let has = |name: &str| setup.quorum.iter().any(|option| option == name);
        self.checks.exclusive = !has("two_node") && !has("allow_downscale") && !has("last_man_standing");
        setup.resources.iter().for_each(|resource| self.allow(resource));
    }

    /// A resource is part of the configuration, or may become so.
    pub(crate) fn allow(&mut self, resource: &Resource) {
        let number = |name: &str, default: usize| {
            resource
                .meta
                .iter()
                .find(|(key, _)| key == name)
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(default)
        };
        let (active, promoted) = match resource.shape {
            Shape::Primitive | Shape::Group(_) => (1, 0),
            Shape::Clone => (number("clone-max", self.machines.len()), 0),
            Shape::Promotable => (number("clone-max", self.machines.len()), number("promoted-max", 1)),
        };
        for primitive in cib::primitives(resource) {
            self.checks.activity.allow(&primitive, active, promoted);
            if resource.monitor_ms == 0 {
                self.unmonitored.insert(primitive);
            }
        }
        self.shapes.insert(resource.name.clone(), resource.shape);
    }

    /// Writes a line into the trace.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} {}", self.now.as_nanos() as f64 / 1e9, line()));
        }
    }

    /// Takes what a checker says.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        if let Err((rule, text)) = verdict {
            self.fail(rule, text);
        }
    }

    pub(crate) fn fail(&mut self, rule: Rule, text: String) {
        if self.violation.is_none() {
            self.say(|| format!("VIOLATION {rule}: {text}"));
            self.violation = Some(Violation { rule, at: self.now, text });
        }
    }

    /// Runs until the end, or until a rule is broken.
    pub(crate) fn run(&mut self) {
        while self.violation.is_none() && !self.finished && self.step() {}
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.queue.next_at()
    }

    /// All was well at the last look.
    pub(crate) fn is_calm(&self) -> bool {
        self.finished && self.calm
    }

    /// Lets the next thing happen; false where nothing is left.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, happening)) = self.queue.pop() else { return false };
        self.now = at;
        match happening {
            Happening::Act(act) => {
                self.say(|| act.to_string());
                self.act(act);
            }
            Happening::Packet { to, link, bytes } => self.feed(to, MembershipInput::Packet { link, bytes }),
            Happening::Wake { node, run } => self.wake(node, run),
            Happening::Resume { node, run } => self.resume(node, run),
            Happening::Reserved { node, run, epochs } => self.reserved(node, run, epochs),
            Happening::Written { node, run, token } => {
                if self.machines[node].run == run {
                    let result = self.machines[node].configuration.finish();
                    self.feed(node, ControllerInput::Persisted { token, result });
                }
            }
            Happening::Planned { node, run, token, result } => {
                if self.machines[node].run == run {
                    self.feed(node, ControllerInput::Planned { token, result });
                }
            }
            Happening::Ordered { node, run, executor_run, order } => self.ordered(node, run, executor_run, *order),
            Happening::Due { node, executor_run, call } => {
                if self.machines[node].executor_run == executor_run {
                    let doing = self.machines[node].executor.as_mut().map(|executor| executor.due(call));
                    self.carry_out(node, doing.unwrap_or_default());
                }
            }
            Happening::AgentEnds { node, executor_run, end } => {
                if self.machines[node].executor_run == executor_run {
                    self.agent_ends(node, *end);
                }
            }
            Happening::Reported { node, run, result } => {
                if self.machines[node].run == run {
                    self.feed(node, ControllerInput::Executor(ExecutorInput::Result(*result)));
                }
            }
            Happening::Told { node, run, input } => {
                if self.machines[node].run == run {
                    self.feed(node, *input);
                }
            }
            Happening::ExecutorUp { node, boots } => self.executor_up(node, boots),
            Happening::LeaseDue { node, executor_run } => self.lease_is_due(node, executor_run),
            Happening::WatchdogDue { node, boots } => self.watchdog_is_due(node, boots),
            Happening::Heal => self.heal(),
            Happening::Look => self.look(),
        }
        true
    }

    /// The node's core may have a deadline that has come.
    fn wake(&mut self, node: usize, run: u64) {
        let now = self.now;
        let machine = &mut self.machines[node];
        let local = machine.monotonic(now);
        let Some(process) = machine.process.as_mut().filter(|_| machine.run == run) else { return };
        if process.wake_at.is_none_or(|at| at > now) {
            return;
        }
        process.wake_at = None;
        if process.paused_until.is_some() {
            return;
        }
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= local);
        let (engine, controller) = (due(process.engine.deadline()), due(process.controller.deadline()));
        self.wakes = if self.wakes.0 == now { (now, self.wakes.1 + 1) } else { (now, 0) };
        if self.wakes.1 > MAX_WAKES_A_MOMENT {
            let which = if engine { "membership" } else { "the controller" };
            return self.fail(Rule::NoPanic, format!("n{}: {which} does not move its deadline {local}", node + 1));
        }
        if engine {
            self.feed(node, MembershipInput::Timer);
        }
        if controller {
            self.feed(node, ControllerInput::Timer);
        }
        self.plan_wake(node);
    }

    /// Plans the next look at the deadlines of a node, unless an early enough one is planned.
    pub(crate) fn plan_wake(&mut self, node: usize) {
        let now = self.now;
        let machine = &mut self.machines[node];
        let run = machine.run;
        let Some(process) = &machine.process else { return };
        let deadline = [process.engine.deadline(), process.controller.deadline()].into_iter().flatten().min();
        let Some(at) = deadline.map(|deadline| machine.simulated(deadline).max(now)) else { return };
        if let Some(process) = &mut machine.process
            && process.wake_at.is_none_or(|planned| at < planned)
        {
            process.wake_at = Some(at);
            self.queue.push(at, Happening::Wake { node, run });
        }
    }

    fn resume(&mut self, node: usize, run: u64) {
        let now = self.now;
        let machine = &mut self.machines[node];
        let Some(process) = machine.process.as_mut().filter(|_| machine.run == run) else { return };
        if process.paused_until.is_none_or(|until| until > now) {
            return;
        }
        process.paused_until = None;
        let held = std::mem::take(&mut process.held);
        // A process that was stopped finds its timers and its sockets ready at once, in no order that counts.
        if self.random.percent(50) {
            self.feed(node, MembershipInput::Timer);
        }
        let at_once = self.random.percent(50);
        for input in if at_once { gathered(held) } else { held } {
            self.feed_core(node, input);
        }
        self.plan_wake(node);
    }

    /// The process of a service dies. Where no monitor looks, the cluster cannot know of it: whoever mends everything must
    /// have it look there.
    pub(crate) fn crash(&mut self, node: usize, primitive: String) {
        self.machines[node].services.remove(&primitive);
        if self.unmonitored.contains(&primitive) {
            self.unnoticed.insert((node + 1, primitive));
        }
    }

    /// The cluster looks anew at what it knows of a service. After the last crash once is enough.
    pub(crate) fn looked_at(&mut self, node: usize, primitive: &str) {
        if self.healed_at.is_some() {
            self.unnoticed.retain(|(there, name)| (*there, name.as_str()) != (node, primitive));
        }
    }

    pub(crate) fn pause(&mut self, node: usize, length: Duration) {
        let (until, run) = (self.now + length, self.machines[node].run);
        if let Some(process) = &mut self.machines[node].process {
            process.paused_until = Some(process.paused_until.map_or(until, |before| before.max(until)));
            self.queue.push(until, Happening::Resume { node, run });
        }
    }

    pub(crate) fn boot(&mut self, node: usize) {
        if self.machines[node].powered {
            return;
        }
        let executor = self.new_executor();
        self.machines[node].power_on(self.now, executor);
        self.start_process(node);
    }

    pub(crate) fn power_off(&mut self, node: usize) {
        self.say(|| format!("n{} is without power", node + 1));
        self.end_process(node);
        let machine = &mut self.machines[node];
        machine.powered = false;
        machine.boots += 1;
        machine.executor = None;
        machine.executor_run += 1;
        machine.hungry_watchdog = false;
        machine.services.clear();
        self.checks.sides.off(node);
        self.checks.activity.ended(node, None, crate::check::Service::Stopped);
        self.checks.plans.disturb();
    }

    /// The node process is gone, and with it what was on its way to the disk.
    pub(crate) fn end_process(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.process = None;
        machine.run += 1;
        machine.configuration.interrupt(&mut self.random);
        self.checks.order.gone(node);
        self.checks.sides.gone(node);
        self.checks.plans.disturb();
    }

    pub(crate) fn start_process(&mut self, node: usize) {
        let machine = &self.machines[node];
        if !machine.powered || machine.process.is_some() {
            return;
        }
        let config = self.membership_config(node);
        let epochs = self.machines[node].epochs.clone();
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.random.next_u64().to_le_bytes()));
        let sealed = self.script.setup.sealed;
        let engine =
            if sealed { Engine::new(config, epochs, seed) } else { Engine::new_unsealed(config, epochs, seed) };
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => return self.fail(Rule::NoPanic, format!("the membership configuration is refused: {error}")),
        };
        let seed = self.random.next_u64();
        let claims = self.mutation == Some(Mutation::LineageClaimed) && self.random.percent(30);
        let claim = |mut state: PersistedState| {
            state.lineage += if claims { 1000 } else { 0 };
            state
        };
        let machine = &mut self.machines[node];
        let config = hakudo_controller::Config {
            node: machine.id,
            nodes: (1..=self.script.setup.votes.len())
                .map(|number| (hakudo_base::NodeId(number as u32), cib::node_name(number)))
                .collect(),
            persisted: machine.configuration.synced().cloned().map(claim),
        };
        machine.process = Some(Process {
            engine,
            controller: Controller::new(config, seed),
            wake_at: None,
            paused_until: None,
            held: Vec::new(),
            applied: None,
            members: Vec::new(),
            left: false,
            speaks: false,
        });
        let calendar = machine.calendar(self.now);
        let known = machine.executor.as_ref().map(|executor| (executor.known(), executor.first_call()));
        let memory = machine.executor.as_ref().and_then(Executor::memory);
        self.checks.plans.disturb();
        self.feed(node, ControllerInput::Clock(calendar.into()));
        if let Some(input) = self.outside.as_ref().map(|outside| outside.joins()) {
            self.feed(node, input);
        }
        if let Some(memory) = memory {
            self.feed(node, ControllerInput::Executor(ExecutorInput::Memory(memory)));
        }
        if let Some((known, first_call)) = known {
            self.feed(node, ControllerInput::Executor(ExecutorInput::Connected { known, newest_epoch: 0, first_call }));
        }
        self.feed(node, MembershipInput::Timer);
    }

    fn membership_config(&self, node: usize) -> Config {
        let setup = &self.script.setup;
        let nodes = setup.votes.iter().enumerate().map(|(index, votes)| NodeEntry {
            id: self.machines[index].id,
            name: self.machines[index].name.clone(),
            links: (0..setup.links).collect(),
            votes: *votes,
        });
        let mut config = Config::new(self.machines[node].id, "sim", ClusterKey::new([7; 32]), nodes.collect());
        let has = |name: &str| setup.quorum.iter().any(|option| option == name);
        config.quorum.two_node = has("two_node");
        config.quorum.wait_for_all = has("wait_for_all").then_some(true);
        let number = |name: &str| setup.quorum.iter().find_map(|option| option.strip_prefix(name)?.parse::<u32>().ok());
        config.quorum.expected_votes = number("expected_votes=");
        config.quorum.auto_tie_breaker = if has("auto_tie_breaker=highest") {
            Some(TieBreaker::Highest)
        } else {
            has("auto_tie_breaker").then_some(TieBreaker::Lowest)
        };
        config.quorum.last_man_standing = has("last_man_standing");
        if let Some(ms) = number("last_man_standing_window=") {
            config.quorum.last_man_standing_window = Duration::from_millis(ms.into());
        }
        config.quorum.allow_downscale = has("allow_downscale");
        config.link_mode = if self.script.seed.is_multiple_of(2) { LinkMode::Passive } else { LinkMode::Active };
        config
    }

    /// The bits that membership needs to outlive it; written with a sync before anything else is done. A node that
    /// cannot write them stops: it must not go on with a promise that it would forget.
    pub(crate) fn persist_epochs(&mut self, node: usize, epochs: hakudo_membership::PersistedState) -> bool {
        let machine = &mut self.machines[node];
        if machine.configuration.full {
            self.say(|| format!("n{} stops: its disk is full", node + 1));
            self.end_process(node);
            self.queue.push(self.now + Duration::from_secs(1), Happening::Act(Act::StartProcess(node + 1)));
            return false;
        }
        machine.epochs = epochs;
        true
    }

    /// Epochs that were to be reserved beside other work are on disk. Where the disk is full, nothing is said.
    fn reserved(&mut self, node: usize, run: u64, epochs: hakudo_membership::PersistedState) {
        let machine = &mut self.machines[node];
        // What was written since is newer, and has the same or a higher limit.
        let newer = epochs.epoch_limit > machine.epochs.epoch_limit;
        if machine.run == run && newer && !machine.configuration.full {
            let limit = epochs.epoch_limit;
            machine.epochs = epochs;
            self.sites.reach("epochs reserved beside other work");
            self.feed(node, MembershipInput::Reserved(limit));
        }
    }

    /// Everything that is broken is mended, and an administrator looks after the rest until the cluster has settled.
    fn heal(&mut self) {
        self.say(|| "everything is mended".into());
        self.healed_at = Some(self.now);
        self.network.mend_all();
        self.network.set_weather(Weather { loss: 0, twice: 0, ..self.script.setup.network });
        self.moods.clear();
        self.fence_moods.clear();
        for machine in &mut self.machines {
            machine.configuration.full = false;
            machine.configuration.slow_ms = 0;
        }
        self.checks.plans.disturb();
        self.look();
    }

    fn look(&mut self) {
        let since = self.now.since(self.healed_at.unwrap_or(self.now));
        let mut missing = false;
        for node in 0..self.machines.len() {
            if !self.machines[node].powered {
                missing = true;
                self.boot(node);
            } else if self.machines[node].process.is_none() {
                missing = true;
                self.start_process(node);
            }
        }
        // Failures of the past keep resources away until somebody has looked at them.
        if since >= Duration::from_secs(u64::from(2 + 15 * self.cleanups)) {
            self.cleanups += 1;
            self.ask(0, Ask::Cleanup);
            for (node, primitive) in self.unnoticed.clone() {
                self.ask(0, Ask::Refresh(primitive, node));
            }
        }
        let state = if missing { Err("a node is missing".to_owned()) } else { self.settled() };
        match state {
            Ok(()) if self.calm && self.cleanups > 0 => {
                self.finished = true;
                self.sites.settled_after_ms = since.as_millis() as u64;
                self.say(|| "settled".into());
            }
            Ok(()) => self.calm = true,
            // Of a site, the group says how long that may take.
            Err(why) if since > SETTLE_WITHIN && self.outside.is_none() => self.fail(Rule::Settles, why),
            Err(why) => (self.calm, self.unsettled) = (false, why),
        }
        self.queue.push(self.now + LOOK_EVERY, Happening::Look);
    }

    /// Gives an input to a core of a node and carries out what follows from it.
    pub(crate) fn feed(&mut self, node: usize, input: impl Into<CoreInput>) {
        self.feed_core(node, input.into());
        self.plan_wake(node);
    }
}

/// Datagrams that follow each other as one input: a node takes what its socket holds.
fn gathered(held: Vec<CoreInput>) -> Vec<CoreInput> {
    let mut all = Vec::new();
    for input in held {
        match (input, all.last_mut()) {
            (
                CoreInput::Membership(MembershipInput::Packet { link, bytes }),
                Some(CoreInput::Membership(MembershipInput::Packets(packets))),
            ) => packets.push((link, bytes)),
            (CoreInput::Membership(MembershipInput::Packet { link, bytes }), _) => {
                all.push(MembershipInput::Packets(vec![(link, bytes)]).into());
            }
            (other, _) => all.push(other),
        }
    }
    all
}

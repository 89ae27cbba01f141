//! What agents do to services, and fence agents to machines. Here lies the truth of the simulated cluster.

use crate::check::{Rule, Service};
use crate::executor::{Doing, Executor, Order};
use crate::mutation::Mutation;
use crate::script::{Act, Ask, Mood};
use crate::world::{AgentEnd, Happening, World};
use hakudo_base::agent::{AgentCall, AgentResult, ExecutionStatus, ExecutorInput, exit_code};
use hakudo_controller::Input as ControllerInput;
use std::time::Duration;

impl World {
    /// Carries out what an executor wants.
    pub(crate) fn carry_out(&mut self, node: usize, doing: Vec<Doing>) {
        let executor_run = self.machines[node].executor_run;
        let mut own = Vec::new();
        for doing in doing {
            match doing {
                Doing::Run(call) => self.agent_begins(node, call),
                Doing::Later(call, ms) => {
                    let at = self.now + Duration::from_millis(ms);
                    self.queue.push(at, Happening::Due { node, executor_run, call });
                }
                Doing::Terminate(call) => self.terminate(node, call),
                Doing::Report(result) if self.is_guards_own(node, result.call) => own.push(result),
                Doing::Report(result) => {
                    // The executor is another process: its words reach the node a little later, in order.
                    if self.machines[node].process.is_some() {
                        self.feed_later(node, result);
                    }
                }
            }
        }
        // What the guard of leases wants next comes after all that was wanted here.
        own.into_iter().for_each(|result| self.guards_call_ended(node, &result));
    }

    /// A node process asks its executor, another process: its words arrive a little later, in order.
    pub(crate) fn order(&mut self, node: usize, order: Order) {
        let (run, executor_run) = (self.machines[node].run, self.machines[node].executor_run);
        let mut delay = Duration::from_micros(100);
        let begins = matches!(&order, Order::Execute(call, _) if call.operation == "start");
        if self.mutation == Some(Mutation::EpochsIgnored) && begins && self.random.percent(30) {
            delay = Duration::from_millis(self.random.between(200, 4_000));
        }
        self.queue.push(self.now + delay, Happening::Ordered { node, run, executor_run, order: Box::new(order) });
    }

    /// An order arrives. What a process said before it died still does, but not once another one took its place.
    pub(crate) fn ordered(&mut self, node: usize, run: u64, executor_run: u64, order: Order) {
        let careless = self.mutation == Some(Mutation::EpochsIgnored);
        let machine = &mut self.machines[node];
        let replaced = machine.process.is_some() && machine.run != run;
        if machine.executor_run != executor_run || (replaced && !careless) {
            return;
        }
        if machine.executor.is_none() {
            return;
        }
        let Some(order) = self.past_the_guard(node, order) else { return };
        let Some(executor) = &mut self.machines[node].executor else { return };
        if careless {
            executor.forget_epochs();
        }
        let doing = executor.obey(order);
        self.carry_out(node, doing);
    }

    pub(crate) fn feed_later(&mut self, node: usize, result: AgentResult) {
        let run = self.machines[node].run;
        let at = self.now + Duration::from_micros(100);
        self.queue.push(at, Happening::Reported { node, run, result: Box::new(result) });
    }

    fn mood(&self, node: usize, call: &AgentCall) -> Mood {
        let of = |node: usize| self.moods.get(&(node, call.resource.clone(), call.operation.clone())).copied();
        of(node + 1).or_else(|| of(0)).unwrap_or_default()
    }

    fn agent_begins(&mut self, node: usize, call: AgentCall) {
        self.say(|| format!("n{} {} {} begins", node + 1, call.resource, operation(&call)));
        if is_fence_action(&call) {
            return self.fencing_begins(node, call);
        }
        if !matches!(call.operation.as_str(), "monitor" | "notify") {
            self.moved_at = self.now;
        }
        let changes = call.agent.class != "stonith" && matches!(call.operation.as_str(), "start" | "promote");
        if changes {
            self.check_begin(node, &call);
        }
        let mood = self.mood(node, &call);
        let usual = if call.operation == "monitor" { (1, 15) } else { (5, 120) };
        let (took, status, effective) = match mood {
            Mood::Works => (self.random.between(usual.0, usual.1), ExecutionStatus::Done, true),
            Mood::Fails => (self.random.between(usual.0, usual.1), ExecutionStatus::Done, false),
            Mood::Slow(ms) if ms < call.timeout_ms => (ms, ExecutionStatus::Done, true),
            Mood::Slow(_) | Mood::Hangs => {
                (self.timeout_of(node, &call), ExecutionStatus::Timeout, self.random.percent(30))
            }
        };
        if effective && changes {
            let becomes = if call.operation == "start" { Service::Started } else { Service::Promoted };
            let service = self.machines[node].services.entry(call.resource.clone()).or_default();
            // Promoting what does not run is an error of the agent.
            if call.operation == "start" || *service > Service::Stopped {
                *service = (*service).max(becomes);
            }
        }
        let fails = mood == Mood::Fails;
        self.agent_will_end(node, call, took, status, effective, fails);
    }

    fn agent_will_end(
        &mut self,
        node: usize,
        call: AgentCall,
        ms: u64,
        status: ExecutionStatus,
        effective: bool,
        fails: bool,
    ) {
        let fails_at_all = fails || status == ExecutionStatus::Timeout;
        let result = AgentResult {
            exit_reason: if fails { "simulated failure".into() } else { String::new() },
            exec_time_ms: ms,
            ..AgentResult::new(call.call, status, if fails_at_all { exit_code::ERROR } else { exit_code::OK })
        };
        let executor_run = self.machines[node].executor_run;
        let end = Box::new(AgentEnd { call, result, effective, early: false });
        self.queue.push(self.now + Duration::from_millis(ms), Happening::AgentEnds { node, executor_run, end });
    }

    /// One more copy is about to be active.
    fn check_begin(&mut self, node: usize, call: &AgentCall) {
        let promotion = call.operation == "promote";
        self.sites.reach(if promotion { "promotion" } else { "start" });
        let becomes = if promotion { Service::Promoted } else { Service::Started };
        self.check_side(node, call, becomes);
        // Where it is active already, it becomes no more by being started once more.
        if self.machines[node].service(&call.resource) >= becomes {
            return;
        }
        // An order is as good as what was known in the view in which it was given: the next one may be there already, and
        // its leader learns of what began before. Who is not in that one any more may have been replaced meanwhile; and so may
        // this node, where it does not know yet that the others went on without it.
        let asked = self.checks.order.members_in(node, call.epoch);
        let view = self.checks.order.view_of(node);
        let own = self.machines[node].id;
        let is_member = |other: usize, id| {
            asked.is_none_or(|members| members.contains(id))
                && view.is_none_or(|view| view.members.contains(id))
                && self.checks.order.view_of(other).is_none_or(|view| view.members.contains(&own))
        };
        let copies: Vec<(usize, Service, bool)> = (0..self.machines.len())
            .filter(|other| *other != node)
            .map(|other| {
                let machine = &self.machines[other];
                (other, machine.service(&call.resource), is_member(other, &machine.id))
            })
            .collect();
        let verdict = self.checks.activity.begins(node, &call.resource, promotion, &copies);
        self.judge(verdict);
    }

    /// It begins in the name of a side that may have no quorum.
    fn check_side(&mut self, node: usize, call: &AgentCall, becomes: Service) {
        let view = self.checks.order.view_of(node).filter(|view| !view.quorate && view.id.epoch == call.epoch);
        let members: Option<Vec<usize>> = view.map(|view| view.members.iter().map(|id| id.0 as usize - 1).collect());
        let document = members.as_ref().and_then(|_| self.machines[node].process.as_mut()?.controller.document());
        let side = members.as_deref().zip(document.as_ref());
        let verdict = self.checks.sides.begins(node, &call.resource, becomes, side);
        self.judge(verdict);
    }

    pub(crate) fn agent_ends(&mut self, node: usize, end: AgentEnd) {
        if !self.ends_now(node, &end) {
            return;
        }
        let AgentEnd { call, mut result, effective, .. } = end;
        result.finished = self.machines[node].calendar(self.now).seconds();
        if is_fence_action(&call) {
            self.fencing_ends(&call, effective);
            // A machine that fenced itself hears no answer.
            if !self.machines[node].powered {
                return;
            }
        } else {
            self.apply(node, &call, effective, &mut result);
        }
        self.say(|| {
            let outcome = match result.status {
                ExecutionStatus::Done => format!("{}", result.exit_code),
                status => format!("{status:?}"),
            };
            format!("n{} {} {} ends: {outcome}", node + 1, call.resource, operation(&call))
        });
        self.note_for_plans(node, &call, &result);
        self.note_for_sides(node, &call, &result);
        let doing = self.machines[node].executor.as_mut().map(|executor| executor.ended(result));
        self.carry_out(node, doing.unwrap_or_default());
        self.tell_promotion_score(node, &call);
    }

    /// Makes true what an agent did, and finds what a monitor says.
    fn apply(&mut self, node: usize, call: &AgentCall, effective: bool, result: &mut AgentResult) {
        // A fence device runs nowhere: its monitor asks whether it can be reached.
        if call.agent.class == "stonith" {
            return;
        }
        let lies = self.mutation == Some(Mutation::StopLies);
        let service = self.machines[node].services.entry(call.resource.clone()).or_default();
        match call.operation.as_str() {
            "stop" if effective && !lies => *service = Service::Stopped,
            "demote" if effective => *service = (*service).min(Service::Started),
            "promote" if effective && *service == Service::Stopped => result.exit_code = exit_code::ERROR,
            "monitor" | "status" if result.status == ExecutionStatus::Done && result.exit_code == exit_code::OK => {
                result.exit_code = match service {
                    Service::Stopped => exit_code::NOT_RUNNING,
                    Service::Started => exit_code::OK,
                    Service::Promoted => exit_code::RUNNING_PROMOTED,
                }
            }
            _ => {}
        }
    }

    /// What the checker of plans must know of the end of an agent.
    fn note_for_plans(&mut self, node: usize, call: &AgentCall, result: &AgentResult) {
        let device = call.agent.class == "stonith";
        let probe = !device && call.operation == "monitor" && call.interval_ms == 0;
        let promoted = self.machines[node].service(&call.resource) == Service::Promoted;
        let expected = match call.operation.as_str() {
            "monitor" if probe => exit_code::NOT_RUNNING,
            "monitor" if promoted => exit_code::RUNNING_PROMOTED,
            _ => exit_code::OK,
        };
        // What a node's copy of a promotable resource says of itself counts for a copy that does not run only once that node
        // was probed: this answer is news, even where it is the usual one.
        if probe && call.agent.kind == "Stateful" {
            self.checks.plans.disturb();
        }
        if result.status == ExecutionStatus::Done && result.exit_code == expected {
            let name = self.machines[node].name.clone();
            self.checks.plans.done(&name, &call.resource, &call.operation, call.interval_ms);
        } else {
            self.sites.reach(if probe { "probe found something" } else { "agent failed" });
            self.checks.plans.disturb();
        }
    }

    /// What the checker of sides without quorum must know of the end of an agent.
    fn note_for_sides(&mut self, node: usize, call: &AgentCall, result: &AgentResult) {
        let leaves = match call.operation.as_str() {
            "stop" => Service::Stopped,
            "demote" => Service::Started,
            _ => return,
        };
        let well = result.status == ExecutionStatus::Done && result.exit_code == exit_code::OK;
        self.checks.sides.ended(node, &call.resource, leaves, well);
        if well {
            self.checks.activity.ended(node, Some(&call.resource), leaves);
        }
    }

    /// Agents of promotable resources say how well their copy would do in the promoted role.
    fn tell_promotion_score(&mut self, node: usize, call: &AgentCall) {
        let tells = call.agent.kind == "Stateful"
            && matches!(call.operation.as_str(), "start" | "monitor" | "demote")
            && self.machines[node].service(&call.resource) > Service::Stopped;
        if tells {
            self.ask(node, Ask::Score(call.resource.clone()));
        }
    }

    fn fencing_begins(&mut self, node: usize, call: AgentCall) {
        let Some(target) = self.fence_target(&call) else {
            let text =
                format!("n{} runs fencing {} without a known target: {:?}", node + 1, call.operation, call.parameters);
            return self.fail(Rule::NoSecondCopy, text);
        };
        self.sites.reach("fencing begins");
        self.say(|| format!("n{} fences n{} ({})", node + 1, target + 1, call.operation));
        let mood =
            self.fence_moods.get(&(target + 1)).or_else(|| self.fence_moods.get(&0)).copied().unwrap_or_default();
        let usual = self.random.between(20, 300);
        match mood {
            Mood::Works => self.agent_will_end(node, call, usual, ExecutionStatus::Done, true, false),
            Mood::Fails => self.agent_will_end(node, call, usual, ExecutionStatus::Done, false, true),
            Mood::Slow(ms) if ms < call.timeout_ms => {
                self.agent_will_end(node, call, ms, ExecutionStatus::Done, true, false);
            }
            Mood::Slow(_) | Mood::Hangs => {
                let effective = self.random.percent(30);
                let ms = call.timeout_ms;
                self.agent_will_end(node, call, ms, ExecutionStatus::Timeout, effective, false);
            }
        }
    }

    /// The device does its work at the very end of the agent's run.
    fn fencing_ends(&mut self, call: &AgentCall, effective: bool) {
        let Some(target) = self.fence_target(call).filter(|_| effective) else {
            self.sites.reach("fencing fails");
            return;
        };
        self.sites.reach("fencing done");
        if self.mutation == Some(Mutation::FencingLies) {
            return;
        }
        if call.operation != "on" {
            self.power_off(target);
        }
        if call.operation != "off" {
            let at = self.now + Duration::from_millis(self.random.between(1500, 5000));
            self.queue.push(at, Happening::Act(Act::Boot(target + 1)));
        }
    }

    fn fence_target(&self, call: &AgentCall) -> Option<usize> {
        let named = |name: &str| {
            call.parameters.get(name).and_then(|value| self.machines.iter().position(|m| m.name == *value))
        };
        ["nodename", "plug", "port"].into_iter().find_map(named)
    }

    /// The executor dies, and whatever it was doing is left where it happened to be.
    pub(crate) fn kill_executor(&mut self, node: usize) {
        self.leave_watchdog(node);
        let machine = &mut self.machines[node];
        if machine.executor.take().is_none() {
            return;
        }
        machine.executor_run += 1;
        let boots = machine.boots;
        self.checks.plans.disturb();
        self.feed(node, ControllerInput::Executor(ExecutorInput::Lost));
        self.queue.push(self.now + Duration::from_millis(150), Happening::ExecutorUp { node, boots });
    }

    pub(crate) fn executor_up(&mut self, node: usize, boots: u64) {
        let executor = self.new_executor();
        let machine = &mut self.machines[node];
        if machine.boots != boots || machine.executor.is_some() {
            return;
        }
        machine.executor = Some(executor);
        let known = machine.executor.as_ref().map(Executor::known).unwrap_or_default();
        // What it does not remember must be probed anew: news to whoever planned while it was away.
        self.checks.plans.disturb();
        self.feed(node, ControllerInput::Executor(ExecutorInput::Connected { known, newest_epoch: 0, first_call: 0 }));
    }
}

fn is_fence_action(call: &AgentCall) -> bool {
    call.agent.class == "stonith" && matches!(call.operation.as_str(), "off" | "on" | "reboot")
}

fn operation(call: &AgentCall) -> String {
    if call.interval_ms == 0 {
        call.operation.clone()
    } else {
        format!("{} every {} ms", call.operation, call.interval_ms)
    }
}

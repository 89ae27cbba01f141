//! Commands of the total order, carried out alike at every member: first on the replica, then for this node's executor,
//! for its clients, and, on the leader, for the plan that is walked.

use crate::command::{Command, Step};
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::node::{ended_by, never_ran};
use crate::request::{Refusal, RefusalKind};
use crate::status::{Order, Outcome, Report};
use hakudo_base::agent::{AgentResult, ExecutionStatus, exit_code};
use hakudo_base::{NodeId, Severity, words};
use hakudo_membership::Delivered;

impl Controller {
    /// A message was delivered.
    pub(crate) fn deliver(&mut self, delivered: Delivered, effects: &mut Vec<Effect>) {
        let from = delivered.from;
        let Some(message) = self.read_message(&delivered.payload) else { return };
        for (number, command) in message.numbers.into_iter().zip(message.commands) {
            self.carry_out_command(from, number, command, effects);
        }
        if from == self.local {
            self.outbox.heard();
        }
    }

    fn carry_out_command(&mut self, from: NodeId, number: u64, command: Command, effects: &mut Vec<Effect>) {
        match command {
            Command::Hello(hello) => return self.hear_hello(from, *hello),
            Command::Sync(sync) => return self.hear_sync(from, *sync, effects),
            Command::Unfit { reason, clean } => return self.hear_unfit(from, &reason, clean, effects),
            // Nobody says anything else before all agree.
            _ if !self.synced => return,
            _ => {}
        }
        self.changed();
        match command {
            Command::Hello(_) | Command::Sync(_) | Command::Unfit { .. } => {}
            Command::NobodyIsMissed { user, nodes } => {
                self.hear_nobody_is_missed(&user, &nodes, effects);
                self.finished(from, number, effects);
            }
            Command::Change { user, time, change } => self.hear_change(from, number, &user, time, &change, effects),
            Command::Ticket(order) => self.hear_ticket(from, number, &order, effects),
            Command::TicketStore(state) => self.hear_store(from, number, state, effects),
            Command::TicketHeard(bytes) => self.hear_passed_on(from, bytes, effects),
            Command::TicketClient { client, bytes } => self.hear_client(from, client, bytes, effects),
            Command::TicketClientGone { client } => self.hear_client_gone(from, client, effects),
            Command::TicketClientAnswer { node, client, bytes, last } => {
                self.hear_client_answer(node, client, bytes, last, effects);
            }
            Command::TicketConfirm => self.hear_confirm_question(from, number),
            Command::TicketConfirmed { number } => self.hear_confirmed(from, number),
            Command::TicketWord(word) => self.hear_group_word(*word, effects),
            Command::TicketStamp { stamp_ms } => self.hear_stamp(from, stamp_ms),
            Command::TicketLeases { to, stamp_ms, leases } => self.hear_leases(from, to, stamp_ms, &leases, effects),
            Command::TicketGranted { ticket, generation, time } => {
                self.hear_granted(&ticket, generation, time, effects);
            }
            Command::TicketGuards(table) => self.hear_guards(&table, effects),
            Command::TicketOver { ticket, generation } => self.hear_over(from, &ticket, generation, effects),
            Command::TicketAsk(request) => self.hear_ticket_request((from, number), *request, effects),
            Command::TicketAnswer { node, number, reply } => self.hear_ticket_answer(node, number, reply, effects),
            Command::TicketRefused { node, number, reason } => {
                self.hear_ticket_refused(node, number, reason, effects);
            }
            Command::ReadOptions { time } => {
                if self.replica.read_options(time) {
                    self.think_again("rules make other cluster options");
                }
            }
            Command::OnDisk { generation, failed } => self.on_disk(from, generation, failed, effects),
            Command::Planned { transition, actions, took_ms } => {
                self.hear_plan(from, transition, actions, took_ms, effects)
            }
            Command::Execute { transition, time, orders } => {
                for (node, order) in orders {
                    self.hear_order(node, transition, time, &order, effects);
                }
            }
            Command::Results(reports) => {
                for report in reports {
                    self.hear_report(from, &report, effects);
                }
            }
            Command::GiveUp { node, call, time } => {
                if node == self.local {
                    self.node.give_up(call);
                }
                let mut result = never_ran(call, "no answer in time");
                result.status = ExecutionStatus::Timeout;
                result.finished = time;
                self.hear_result(node, &result, effects);
            }
            Command::Cancel { node, resource, task, interval_ms, step } => {
                let known = self.replica.status.known_mut(node);
                let calls = known.map(|status| status.cancel(&resource, &task, interval_ms)).unwrap_or_default();
                if node == self.local {
                    self.stop_recurring(calls, effects);
                }
                self.calls_lost(node, u64::MAX);
                self.step_done(step);
            }
            Command::Forget { node, resource, step } => {
                self.forget(node, &resource, effects);
                self.step_done(step);
            }
            Command::ClearFailures { node, resource, operation, step } => {
                let mut unseen = false;
                if let Some(status) = self.replica.status.known_mut(node) {
                    unseen = status.fails_still(&resource);
                    status.clear_failures(&resource, operation.as_ref().map(|(task, interval)| (&**task, *interval)));
                }
                self.step_done(step);
                if unseen {
                    // Its monitor would say the same again, and so nothing.
                    self.forget(node, &resource, effects);
                    self.think_again(&format!(
                        "a failure of {resource} was forgotten before anything was done about it"
                    ));
                }
            }
            Command::Cleanup { resource, node, refresh } => {
                if let Some(lost) = node.filter(|node| !self.is_member(*node)) {
                    return self.refused(from, number, self.not_cleaned_up(lost), effects);
                }
                self.clean_up(resource.as_deref(), node, refresh, effects);
                self.finished(from, number, effects);
            }
            Command::Attribute { node, name, value } => {
                let known = self.replica.status.known_mut(node);
                if known.is_some_and(|status| status.set_attribute(&name, value.as_deref())) {
                    if node == self.local {
                        self.keep_promotion_scores(effects);
                    }
                    self.think_again(&format!("attribute {name} of {}", self.name(node)));
                }
                self.finished(from, number, effects);
            }
            Command::Executor { status, through } => {
                self.executor_is_back(from, *status, through);
                self.calls_lost(from, through);
                self.think_again(&format!("the executor of {} is there", self.name(from)));
            }
            Command::ExecutorAway => self.hear_executor_away(from),
            Command::NodeFailed { node } => self.hear_node_failed(node, effects),
            Command::Shutdown { node, step } => self.hear_shutdown(node, step, effects),
            Command::FenceRequest { target, action, user } => {
                self.hear_fence_request(from, number, (target, &action, user), effects);
            }
            Command::Confirm { target, user, time } => {
                self.hear_confirm((from, number), target, &user, time, effects);
            }
            Command::FenceBegun(begun) => self.hear_fence_begun(from, *begun),
            Command::FenceRun { target, on, number, call } => {
                self.hear_fence_run((from, number), target, on, *call, effects);
            }
            Command::FenceResult { leader, number, result } => {
                self.hear_fence_result(from, (leader, number), result, effects);
            }
            Command::FenceDone(done) => self.hear_fence_done(from, *done, effects),
            Command::Settled => {
                self.started |= self.quorate();
                self.settled = true;
                self.actions_left = 0;
                effects.push(Effect::Event(self.event(
                    "settled",
                    Severity::Info,
                    "nothing is left to be done".to_owned(),
                )));
            }
            Command::Alert { about, alert: Some((severity, text)) } => self.alert(&about, severity, text),
            Command::Alert { about, alert: None } => self.no_alert(&about),
        }
    }

    fn hear_order(&mut self, node: NodeId, transition: u64, time: i64, order: &Order, effects: &mut Vec<Effect>) {
        let Some(status) = self.replica.status.known_mut(node) else { return };
        let ended = ended_by(status, order);
        let call = status.issue(order, time);
        let step = self.step(transition, order.action);
        self.leader.order_heard(node, call, step);
        if shown(&order.task, order.interval_ms) {
            let text = format!("{} {} on {} begins", order.resource, order.task, self.name(node));
            let mut event = self.event("action-start", Severity::Info, text);
            event.node = Some(self.name(node));
            event.resource = Some(order.resource.clone());
            effects.push(Effect::Event(event));
        }
        if node == self.local {
            self.run(call, order, ended, effects);
        }
    }

    fn hear_report(&mut self, from: NodeId, report: &Report, effects: &mut Vec<Effect>) {
        match self.replica.status.known_mut(from) {
            Some(status) if report.number > status.reported => status.reported = report.number,
            _ => return,
        }
        self.hear_result(from, &report.result, effects);
    }

    fn hear_result(&mut self, node: NodeId, result: &AgentResult, effects: &mut Vec<Effect>) {
        let fatal = self.replica.options().start_failure_is_fatal;
        let Some(outcome) = self.replica.status.known_mut(node).and_then(|status| status.result(result, fatal)) else {
            // It was forgotten or cancelled meanwhile.
            return self.calls_lost(node, result.call);
        };
        self.report_result(node, result, &outcome, effects);
        if outcome.first && outcome.issued.interval_ms == 0 {
            self.actions_left = self.actions_left.saturating_sub(1);
        }
        self.call_ended(node, result.call, &outcome);
    }

    fn report_result(&mut self, node: NodeId, result: &AgentResult, outcome: &Outcome, effects: &mut Vec<Effect>) {
        let issued = &outcome.issued;
        let recurring = issued.interval_ms > 0;
        if !outcome.failed && (!shown(&issued.task, issued.interval_ms) || result.status == ExecutionStatus::Cancelled)
        {
            return;
        }
        let probe = issued.task == "monitor" && !recurring && result.status == ExecutionStatus::Done;
        let (kind, severity) = match outcome.failed {
            false => ("action-done", Severity::Info),
            // A probe that finds something running is news, no failure.
            true if probe => ("action-done", Severity::Warning),
            true => ("action-failed", Severity::Error),
        };
        let what = format!("{} {} on {}", issued.resource, issued.task, self.name(node));
        let said = words::exit_code(result.exit_code);
        let mut text = match (outcome.failed, result.status) {
            (false, _) => format!("{what} is done"),
            (true, ExecutionStatus::Done) if probe => match result.exit_code {
                exit_code::OK | exit_code::DEGRADED => {
                    format!("{} is found running on {}", issued.resource, self.name(node))
                }
                exit_code::RUNNING_PROMOTED | exit_code::DEGRADED_PROMOTED => {
                    format!("{} is found promoted on {}", issued.resource, self.name(node))
                }
                code => format!("{what} says '{said}' ({code})"),
            },
            (true, ExecutionStatus::Done) => format!("{what} failed: '{said}' ({})", result.exit_code),
            (true, status) => format!("{what} failed: {}", words::execution_status(status as i32)),
        };
        for more in [&result.exit_reason, &result.output] {
            if outcome.failed && !more.is_empty() {
                text.push_str(": ");
                text.push_str(more.trim_end());
            }
        }
        let mut event = self.event(kind, severity, text);
        event.node = Some(self.name(node));
        event.resource = Some(issued.resource.clone());
        event.took_ms = Some(result.exec_time_ms);
        effects.push(Effect::Event(event));
    }

    fn forget(&mut self, node: NodeId, resource: &str, effects: &mut Vec<Effect>) {
        let Some(status) = self.replica.status.known_mut(node) else { return };
        let calls = status.recurring(resource);
        status.forget(resource);
        if node == self.local {
            self.stop_recurring(calls, effects);
            effects.push(Effect::Forget { resource: resource.to_owned() });
        }
        self.calls_lost(node, u64::MAX);
    }

    /// What a node that is not here may still run is known only from its history, which stays until it is back or fenced.
    fn not_cleaned_up(&self, node: NodeId) -> Refusal {
        let name = self.name(node);
        let reason =
            format!("{name} is not here, and what it may run is not forgotten: clean up when it is back or fenced");
        Refusal::new(RefusalKind::Unsafe, reason)
    }

    /// Forgets failures, and what is known of the resources that failed (all, with `refresh`): they are probed anew. Of
    /// nodes that are not here nothing is forgotten.
    fn clean_up(&mut self, resource: Option<&str>, node: Option<NodeId>, refresh: bool, effects: &mut Vec<Effect>) {
        let nodes: Vec<NodeId> = self
            .view
            .iter()
            .flat_map(|view| &view.members)
            .copied()
            .filter(|here| node.is_none_or(|only| only == *here))
            .collect();
        let mut found = false;
        for node in nodes {
            let Some(status) = self.replica.status.known_mut(node) else { continue };
            let mut resources = status.failed_resources();
            if refresh {
                resources.extend(status.resources.keys().cloned());
                resources.sort();
                resources.dedup();
            }
            resources.retain(|name| resource.is_none_or(|only| only == name));
            for name in resources {
                found = true;
                if let Some(status) = self.replica.status.known_mut(node) {
                    status.clear_failures(&name, None);
                }
                self.forget(node, &name, effects);
            }
        }
        if found {
            self.think_again("failures were cleaned up");
        }
    }

    fn hear_shutdown(&mut self, node: NodeId, step: Step, effects: &mut Vec<Effect>) {
        let name = self.name(node);
        if let Some(status) = self.replica.status.known_mut(node) {
            status.online = false;
            status.join = crate::status::Join::Down;
            status.expected = false;
        }
        let mut event = self.event("node-leaves", Severity::Info, format!("{name} has nothing left to do and leaves"));
        event.node = Some(name);
        effects.push(Effect::Event(event));
        if node == self.local {
            self.leaving_done(effects);
            self.end_guards(effects);
            effects.push(Effect::Leave);
        }
        self.step_done(step);
    }
}

/// Operations that people want to hear of when all is well: not probes, notifications and recurring ones.
fn shown(task: &str, interval_ms: u64) -> bool {
    interval_ms == 0 && !matches!(task, "monitor" | "notify")
}

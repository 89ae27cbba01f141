//! Views: who is lost, and how members that come from different views agree on one configuration and status.
//!
//! Members that come *together* from a view were delivered the same commands and hold the same document: where all
//! members do, there is nothing to agree on, and the leader plans at once. Otherwise everyone says hello, with the
//! standing of its configuration and what it knows of itself. Once all hellos are delivered, everyone sees the same
//! winner: the member whose configuration is of the newest lineage (then: with the highest version; then: that
//! comes from the newest view, for who was started since knows nothing but its disk). It says what it has, and all take that
//! over; what each node runs is taken from the node itself, and what a lost node may run from anybody who knows of it.

use crate::command::{Command, Hello, Standing, Sync};
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::missed;
use crate::options::WithoutQuorum;
use crate::status::{NodeStatus, VERSION};
use hakudo_base::{NodeId, Severity};
use hakudo_membership::{View, ViewId};
use std::cmp::Reverse;
use std::collections::BTreeSet;

impl Controller {
    /// A view was installed.
    pub(crate) fn enter(&mut self, view: View, effects: &mut Vec<Effect>) {
        self.note_who_is_missed(&view);
        let before = self.view.replace(view);
        self.weigh_quorum();
        let Some(view) = self.view.clone() else { return };
        let had_agreed = self.synced;
        let together = self.synced && view.members == view.together;
        self.synced = together;
        self.hellos.clear();
        self.leader.forget_everything();
        self.guarding.new_view();
        self.settled = false;
        self.actions_left = 0;
        self.changed();
        self.node.drop_held();
        self.silence(effects);
        self.away.retain(|node, _| view.members.contains(node));
        let was_quorate = before.as_ref().is_some_and(|view| view.quorate);
        let leader = before.as_ref().map(View::leader);
        let former_view = before.as_ref().map(|view| view.id);
        let former = before.map(|view| view.members).unwrap_or_default();
        self.say_goodbye(&former, former_view.filter(|_| !had_agreed), &view, effects);
        let someone_left = former.iter().any(|node| !view.members.contains(node));
        if !view.quorate && (someone_left || was_quorate) {
            self.doubt_former_deaths(&view, effects);
        }
        self.keep_alerts_that_stand();
        self.tell_who_is_missed(effects);
        self.report_view(&former, &view, effects);
        self.compare_epochs(effects);
        let leads = view.leader() == self.local;
        // Who was lost may have heard what was sent, may have acted on it, and may win where this side cannot be sure to.
        let heard = former.iter().any(|node| !view.together.contains(node));
        let undecided = !(view.quorate && view.exclusive) && heard;
        let dropped = self.outbox.keep(|command, sent| {
            command.outlives_a_view()
                && !(undecided && sent && matches!(command, Command::Change { .. } | Command::Ticket(_)))
                && !(heard && sent && matches!(command, Command::FenceRequest { .. } | Command::Confirm { .. }))
                && (together
                    || !matches!(command, Command::Change { .. } | Command::Ticket(_) | Command::OnDisk { .. }))
                && (leads || !matches!(command, Command::FenceRun { .. }))
        });
        self.nobody_waits_for_deaths_in_vain(effects);
        self.commands_dropped(&dropped, leader, effects);
        if leader != Some(view.leader()) {
            self.replica.status.fencing.leader_gone();
            self.leader_gone(leader, effects);
        }
        self.disk.holds.retain(|node, _| view.members.contains(node));
        if together {
            self.agreed(effects);
        } else {
            self.disk.start_anew();
            let hello = self.hello();
            self.outbox.say_first(Command::Hello(Box::new(hello)));
        }
    }

    /// Alerts whose cause stands in the new view.
    fn keep_alerts_that_stand(&mut self) {
        let lost: BTreeSet<String> = self.replica.status.unsafe_nodes().map(|(node, _)| self.name(node)).collect();
        let members: BTreeSet<String> =
            self.view.iter().flat_map(|view| &view.members).map(|node| self.name(*node)).collect();
        let (synced, local) = (self.synced, self.name(self.local));
        self.alerts.retain(|about, _| match about.split_once(" of ") {
            Some(("fencing", node)) => lost.contains(node),
            Some(("executor", node)) => node == local || (synced && members.contains(node)),
            Some(("disk", node)) => synced && members.contains(node),
            Some(("epoch", node)) => node == local,
            _ => about == "configuration" || about == missed::ALERT,
        });
    }

    /// Members of the former view that are not in this one: they left cleanly, or they are lost. Who is in this one and did
    /// not come along began anew in between. Where the former one ended before its members agreed, as far as is known here, it
    /// is `open`.
    fn say_goodbye(&mut self, former: &[NodeId], open: Option<ViewId>, view: &View, effects: &mut Vec<Effect>) {
        for node in former.iter().filter(|node| view.members.contains(node) && !view.together.contains(node)) {
            self.replica.status.lost(*node);
        }
        for node in former.iter().filter(|node| !view.members.contains(node)) {
            let name = self.name(*node);
            if view.left.contains(node) {
                self.replica.status.safe(*node, &name);
                continue;
            }
            self.replica.status.lost(*node);
            if let Some(open) = open {
                self.replica.status.may_have_joined(*node, &name, open.epoch);
            }
            if self.replica.status.nodes.get(node).is_some_and(|status| status.expected) {
                let mut event =
                    self.event("node-lost", Severity::Error, format!("{name} is lost and not known to be dead"));
                event.node = Some(name);
                effects.push(Effect::Event(event));
            }
        }
    }

    /// Where each side of a split takes over without quorum, a node that was fenced, or left, before the split may have been
    /// started again since and have joined those that are lost. It is not known to be dead any more then. (With quorum no
    /// other side can begin anything with it.)
    fn doubt_former_deaths(&mut self, view: &View, effects: &mut Vec<Effect>) {
        let options = self.replica.options();
        let takes_over = options.without_quorum == WithoutQuorum::TakesOver && options.fencing;
        let lost: Vec<String> = self.replica.status.unsafe_nodes().map(|(node, _)| self.name(node)).collect();
        if !takes_over || lost.is_empty() {
            return;
        }
        let known = self.replica.status.nodes.iter();
        let dead = known.filter(|(node, status)| !status.expected && !view.members.contains(node));
        for node in dead.map(|(node, _)| *node).collect::<Vec<_>>() {
            let name = self.name(node);
            self.replica.status.may_have_joined(node, &name, view.id.epoch);
            let text = format!(
                "{name} may have come back to {}, lost without quorum: it counts as lost, too",
                lost.join(", ")
            );
            let mut event = self.event("node-lost", Severity::Warning, text);
            event.node = Some(name);
            effects.push(Effect::Event(event));
        }
    }

    fn report_view(&mut self, former: &[NodeId], view: &View, effects: &mut Vec<Effect>) {
        let names = |nodes: &[NodeId]| nodes.iter().map(|node| self.name(*node)).collect::<Vec<_>>().join(", ");
        let gone: Vec<NodeId> = former.iter().copied().filter(|node| !view.members.contains(node)).collect();
        let mut text = format!(
            "view {} of {} is {}",
            view.id.epoch,
            names(&view.members),
            if view.quorate { "quorate" } else { "not quorate" }
        );
        if !gone.is_empty() {
            text.push_str(&format!("; without {}", names(&gone)));
        }
        let severity = if view.quorate { Severity::Info } else { Severity::Warning };
        effects.push(Effect::Event(self.event("view", severity, text)));
    }

    fn hello(&mut self) -> Hello {
        let name = self.name(self.local);
        let mut status = self.replica.status.node_mut(self.local, &name).clone();
        VERSION.clone_into(&mut status.version);
        Hello {
            standing: self.replica.standing(),
            former: self.agreed_in,
            status,
            lost: self.replica.status.unsafe_nodes().map(|(node, status)| (node, status.clone())).collect(),
            ready: self.node.is_connected(),
            started: self.started,
            restarted: self.alive_since.is_none(),
            fencing: self.replica.status.fencing.clone(),
            missed: self.missed.told(),
            name,
        }
    }

    pub(crate) fn hear_hello(&mut self, from: NodeId, hello: Hello) {
        if self.synced {
            return;
        }
        self.hellos.insert(from, hello);
        if self.winner() == Some(self.local) {
            let sync = self.replica.as_sync(self.wall_time());
            self.outbox.say_first(Command::Sync(Box::new(sync)));
        }
    }

    /// Whose configuration counts, once all members said hello.
    fn winner(&self) -> Option<NodeId> {
        let view = self.view.as_ref()?;
        let mut candidates: Vec<(&Standing, Option<ViewId>, Reverse<NodeId>)> = Vec::new();
        for node in &view.members {
            let hello = self.hellos.get(node)?;
            candidates.push((&hello.standing, hello.former, Reverse(*node)));
        }
        candidates.into_iter().max().map(|(_, _, Reverse(node))| node)
    }

    pub(crate) fn hear_sync(&mut self, from: NodeId, sync: Sync, effects: &mut Vec<Effect>) {
        let Some(view) = self.view.clone() else { return };
        if self.synced || self.winner() != Some(from) {
            return;
        }
        if self.was_declared_dead(&sync) {
            return self.stop_at_once(effects);
        }
        let time = sync.time;
        if from != self.local {
            let told = sync.status.nodes.get(&self.local).cloned();
            match self.replica.adopt(sync) {
                Err(reason) => return self.unfit(from, &reason, told.as_ref()),
                Ok(None) => {}
                Ok(Some(configuration)) => self.lay_aside(from, configuration, effects),
            }
        }
        self.replica.read_options(time);
        if !view.together.contains(&from) {
            self.changes_lost(effects);
        }
        self.disk.start_anew();
        self.outbox.drop_unsent(|command| matches!(command, Command::OnDisk { .. }));
        self.replica.generation += 1;
        self.away.clear();
        let (mut lost, mut missed) = (Vec::new(), Vec::new());
        let fatal_start = self.replica.options().start_failure_is_fatal;
        for (node, mut hello) in std::mem::take(&mut self.hellos) {
            self.started |= hello.started;
            let known = self.replica.status.nodes.get(&node);
            // A process that was started anew on a machine that goes on: its executor remembers what runs, and the others
            // what agents said and how often they failed.
            let restarted = hello.former.is_none() && !hello.status.resources.is_empty();
            if let Some(known) = known.filter(|_| restarted) {
                hello.status.learn_attributes(&known.attributes);
            }
            if hello.restarted {
                hello.status.count_unheard_failures(known, fatal_start);
            }
            let before = self.replica.status.nodes.insert(node, hello.status).filter(|status| status.in_view);
            let member_since = before.map_or_else(|| self.epoch(), |status| status.member_since);
            self.replica.status.joined(node, &hello.name, hello.ready, member_since);
            if !hello.ready {
                self.alert_executor_away(node);
            }
            lost.push(hello.lost);
            missed.push(hello.missed);
            self.replica.status.fencing.merge(hello.fencing);
        }
        // What may still run is never forgotten, whoever knows of it.
        for (node, told) in lost.into_iter().flatten().filter(|(node, _)| !view.members.contains(node)) {
            self.replica.status.learn_of_lost(node, told);
        }
        self.learn_who_is_missed(&missed);
        self.synced = true;
        self.alive_since.get_or_insert(view.id.epoch);
        self.keep_alerts_that_stand();
        self.agreed(effects);
        self.tell_of_the_unfenced();
    }

    /// This program cannot read what `winner` has: that of another version wrote it, or it is too large. Nobody is to wait for
    /// this node then. Where the winner knew before that nothing runs here, and the executor knows nothing else, it leaves
    /// cleanly; otherwise only fencing makes sure of that.
    fn unfit(&mut self, winner: NodeId, reason: &str, told: Option<&NodeStatus>) {
        let own = self.hellos.get(&self.local);
        let idle = own.is_some_and(|hello| hello.ready && hello.status.runs_nothing());
        let clean = idle && told.is_some_and(|told| !told.expected && !told.in_view);
        let reason = format!("the configuration of {} cannot be taken over: {reason}", self.name(winner));
        self.alert("synchronisation", Severity::Error, reason.clone());
        self.outbox.say_first(Command::Unfit { reason, clean });
    }

    /// A member cannot take part. All others go on without it.
    pub(crate) fn hear_unfit(&mut self, from: NodeId, reason: &str, clean: bool, effects: &mut Vec<Effect>) {
        let name = self.name(from);
        let text = format!("{name} leaves the cluster: {reason} (does it run the same version as the others?)");
        let mut event = self.event("node-unfit", Severity::Error, text.clone());
        event.node = Some(name.clone());
        effects.push(Effect::Event(event));
        if from == self.local {
            effects.push(if clean { Effect::Leave } else { Effect::StopAtOnce { reset: false } });
        } else if self.synced && clean {
            // What was ordered there since it came was not begun.
            self.replica.status.safe(from, &name);
            self.replica.status.node_mut(from, &name).in_view = true;
            self.calls_lost(from, u64::MAX);
            self.changed();
            self.think_again("a node cannot take part");
        }
    }

    /// The winner's side takes this node for dead, fenced or confirmed to be down, and not a former life of it: it was away
    /// and alive meanwhile, while the others started elsewhere what runs here.
    fn was_declared_dead(&self, sync: &Sync) -> bool {
        let stays = self.replica.status.nodes.get(&self.local).is_some_and(|own| own.expected);
        let told = sync.status.nodes.get(&self.local);
        let dead = told.filter(|told| stays && !told.expected);
        dead.zip(self.alive_since).is_some_and(|(told, since)| told.member_since >= since)
    }

    /// Who comes hears of the nodes that cannot be fenced.
    fn tell_of_the_unfenced(&mut self) {
        if self.leads() {
            let known: Vec<_> = self.alerts.iter().filter(|(about, _)| about.starts_with("fencing of ")).collect();
            let known: Vec<_> = known.into_iter().map(|(about, alert)| (about.clone(), alert.clone())).collect();
            for (about, alert) in known {
                self.say(Command::Alert { about, alert: Some(alert) });
            }
        }
    }

    fn lay_aside(&mut self, winner: NodeId, configuration: String, effects: &mut Vec<Effect>) {
        let reason = format!("the configuration of {} is the newer agreed one", self.name(winner));
        let text = format!("this node's configuration gave way: {reason}; it is kept aside");
        effects.push(Effect::KeepAside { configuration, reason });
        effects.push(Effect::Event(self.event("config-aside", Severity::Warning, text)));
    }

    /// All members of the view hold the same now.
    pub(crate) fn agreed(&mut self, effects: &mut Vec<Effect>) {
        self.know_all();
        self.tell_who_is_missed(effects);
        self.take_the_word();
        self.prepare_fencing(effects);
        self.agreed_at = Some(self.now);
        if self.quorate() {
            self.first_quorate.get_or_insert(self.now);
        }
        self.changed();
        self.persist(effects);
        self.answer_changes(effects);
        self.nobody_waits_for_deaths_in_vain(effects);
        self.add_missing_nodes();
        self.leases_in_new_view();
        self.keep_promotion_scores(effects);
        self.agreed_in = self.view.as_ref().map(|view| view.id);
        self.think_again("a new view");
    }
}

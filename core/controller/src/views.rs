//! Views: who is lost, and how members that come from different views agree on one configuration and status.
//!
//! Members that come *together* from a view were delivered the same commands and hold the same document: where all
//! members do, there is nothing to agree on, and the leader plans at once. Otherwise everyone says hello, with the
//! standing of its configuration and what it knows of itself. Once all hellos are delivered, everyone sees the same
//! winner: the member whose configuration was agreed in the newest primary epoch (then: with the highest version). It
//! says what it has, and all take that over; what each node runs is taken from the node itself.

use crate::command::{Command, Hello, Standing, Sync};
use crate::controller::Controller;
use crate::core_types::Effect;
use crate::status::VERSION;
use hakudo_base::{NodeId, Severity};
use hakudo_membership::View;
use std::cmp::Reverse;

impl Controller {
    /// A view was installed.
    pub(crate) fn enter(&mut self, view: View, effects: &mut Vec<Effect>) {
        let before = self.view.replace(view.clone());
        let together = self.synced && view.members == view.together;
        self.synced = together;
        self.hellos.clear();
        self.leader.forget_everything();
        self.settled = false;
        self.actions_left = 0;
        self.alerts.retain(|about, _| about == "configuration");
        self.changed();
        let leader = before.as_ref().map(View::leader);
        let former = before.map(|view| view.members).unwrap_or_default();
        self.say_goodbye(&former, &view, effects);
        self.report_view(&former, &view, effects);
        let leads = view.leader() == self.local;
        // Who was lost may have heard what was sent, and may win where this side cannot be sure to.
        let undecided = !(view.quorate && view.exclusive) && former.iter().any(|node| !view.together.contains(node));
        let dropped = self.outbox.keep(|command, sent| {
            command.outlives_a_view()
                && !(undecided && sent && matches!(command, Command::Change { .. }))
                && (together || !matches!(command, Command::Change { .. } | Command::OnDisk { .. }))
                && (leads || !matches!(command, Command::FenceRun { .. }))
        });
        self.commands_dropped(&dropped, effects);
        if leader != Some(view.leader()) {
            self.replica.status.fencing.leader_gone();
            self.leader_gone(effects);
        }
        self.disk.holds.retain(|node, _| view.members.contains(node));
        if together {
            self.agreed(effects);
        } else {
            let hello = self.hello();
            self.outbox.say_first(Command::Hello(Box::new(hello)));
        }
    }

    /// Members of the former view that are not in this one: they left cleanly, or they are lost.
    fn say_goodbye(&mut self, former: &[NodeId], view: &View, effects: &mut Vec<Effect>) {
        for node in former.iter().filter(|node| !view.members.contains(node)) {
            let name = self.name(*node);
            if view.left.contains(node) {
                self.replica.status.safe(*node, &name);
                continue;
            }
            self.replica.status.lost(*node);
            if self.replica.status.nodes.get(node).is_some_and(|status| status.expected) {
                let mut event =
                    self.event("node-lost", Severity::Error, format!("{name} is lost and not known to be dead"));
                event.node = Some(name);
                effects.push(Effect::Event(event));
            }
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
            status,
            ready: self.node.is_connected(),
            started: self.started,
            fencing: self.replica.status.fencing.clone(),
            name,
        }
    }

    pub(crate) fn hear_hello(&mut self, from: NodeId, hello: Hello) {
        if self.synced {
            return;
        }
        self.hellos.insert(from, hello);
        if self.winner() == Some(self.local) {
            let sync = self.replica.as_sync();
            self.outbox.say_first(Command::Sync(Box::new(sync)));
        }
    }

    /// Whose configuration counts, once all members said hello.
    fn winner(&self) -> Option<NodeId> {
        let view = self.view.as_ref()?;
        let standing = |node: &NodeId| self.hellos.get(node).map(|hello| &hello.standing);
        let mut candidates: Vec<(&Standing, Reverse<NodeId>)> = Vec::new();
        for node in &view.members {
            candidates.push((standing(node)?, Reverse(*node)));
        }
        candidates.into_iter().max().map(|(_, Reverse(node))| node)
    }

    pub(crate) fn hear_sync(&mut self, from: NodeId, sync: Sync, effects: &mut Vec<Effect>) {
        let Some(view) = self.view.clone() else { return };
        if self.synced || self.winner() != Some(from) {
            return;
        }
        if from != self.local {
            match self.replica.adopt(sync) {
                Err(reason) => {
                    let text = format!("the configuration of {} cannot be taken over: {reason}", self.name(from));
                    return self.alert("synchronisation", Severity::Error, text);
                }
                Ok(None) => {}
                Ok(Some(configuration)) => self.lay_aside(from, configuration, effects),
            }
        }
        if !view.together.contains(&from) {
            self.changes_lost(effects);
        }
        self.disk.start_anew();
        self.replica.generation += 1;
        for (node, hello) in std::mem::take(&mut self.hellos) {
            self.started |= hello.started;
            let before = self.replica.status.nodes.insert(node, hello.status).filter(|status| status.in_view);
            let member_since = before.map_or_else(|| self.epoch(), |status| status.member_since);
            self.replica.status.joined(node, &hello.name, hello.ready, member_since);
            self.replica.status.fencing.merge(hello.fencing);
        }
        self.synced = true;
        self.agreed(effects);
    }

    fn lay_aside(&mut self, winner: NodeId, configuration: String, effects: &mut Vec<Effect>) {
        let reason = format!("the configuration of {} is the newer agreed one", self.name(winner));
        let text = format!("this node's configuration gave way: {reason}; it is kept aside");
        effects.push(Effect::KeepAside { configuration, reason });
        effects.push(Effect::Event(self.event("config-aside", Severity::Warning, text)));
    }

    /// All members of the view hold the same now.
    fn agreed(&mut self, effects: &mut Vec<Effect>) {
        let Some(view) = &self.view else { return };
        let epoch = view.id.epoch;
        if view.quorate && self.replica.has_configuration() {
            self.replica.lineage = epoch;
        }
        self.prepare_fencing(effects);
        self.agreed_at = Some(self.now);
        if self.quorate() {
            self.first_quorate.get_or_insert(self.now);
        }
        self.changed();
        self.persist(effects);
        self.answer_changes(effects);
        self.add_missing_nodes();
        self.think_again("a new view");
    }
}

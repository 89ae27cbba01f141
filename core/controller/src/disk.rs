//! The configuration on the disks of the members.
//!
//! A change counts as done once every member of the view has it on disk. A disk that refuses makes that impossible: the
//! change stays in force (all members applied it, and it would be as hard to take back as it was to make), but the client
//! is told that its outcome is not certain and why, an alert stands until the disk takes the configuration, and the write
//! is tried again by itself.

use crate::command::Command;
use crate::controller::Controller;
use crate::core_types::Effect;
use hakudo_base::{Instant, NodeId, Severity};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after a refused write it is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The newest configuration (by its number) that each member's disk is known to hold in this view.
    pub(crate) holds: BTreeMap<NodeId, u64>,
    /// Writes that were asked for and not answered: token and number of the configuration.
    asked: BTreeMap<u64, u64>,
    tokens: u64,
    again: Option<Instant>,
}

impl Disk {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.again
    }

    /// Configurations are numbered anew: what was asked and known before says nothing.
    pub(crate) fn start_anew(&mut self) {
        self.holds.clear();
        self.asked.clear();
        self.again = None;
    }

    /// All of `members` hold configuration number `generation`.
    pub(crate) fn all_hold(&self, members: &[NodeId], generation: u64) -> bool {
        members.iter().all(|member| self.holds.get(member).is_some_and(|held| *held >= generation))
    }
}

impl Controller {
    /// Has the configuration written to this node's disk.
    pub(crate) fn persist(&mut self, effects: &mut Vec<Effect>) {
        self.disk.tokens += 1;
        let token = self.disk.tokens;
        self.disk.asked.insert(token, self.replica.generation);
        effects.push(Effect::Persist { token, state: self.replica.persisted() });
    }

    pub(crate) fn persisted(&mut self, token: u64, result: Result<(), String>) {
        let Some(generation) = self.disk.asked.remove(&token) else { return };
        let failed = result.err();
        self.disk.again = failed.as_ref().map(|_| self.now + WRITE_AGAIN);
        self.say(Command::OnDisk { generation, failed });
    }

    pub(crate) fn write_again(&mut self, effects: &mut Vec<Effect>) {
        if self.disk.again.is_some_and(|at| at <= self.now) {
            self.disk.again = None;
            self.persist(effects);
        }
    }

    pub(crate) fn on_disk(&mut self, from: NodeId, generation: u64, failed: Option<String>, effects: &mut Vec<Effect>) {
        let about = format!("disk of {}", self.name(from));
        match failed {
            None => {
                let held = self.disk.holds.entry(from).or_default();
                *held = generation.max(*held);
                self.no_alert(&about);
                self.answer_changes(effects);
            }
            Some(reason) => {
                let text = format!("the configuration cannot be written on {}: {reason}", self.name(from));
                if !self.alerts.contains_key(&about) {
                    let mut event = self.event("disk", Severity::Error, text.clone());
                    event.node = Some(self.name(from));
                    effects.push(Effect::Event(event));
                }
                self.alert(&about, Severity::Error, text.clone());
                self.changes_uncertain(generation, &text, effects);
            }
        }
    }
}

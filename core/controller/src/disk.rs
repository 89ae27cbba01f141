//! The configuration on the disks of the members.
//!
//! A change counts as done once every member of the view has it on disk. A disk that refuses makes that impossible: the
//! change stays in force (all members applied it, and it would be as hard to take back as it was to make), but the client
//! is told that its outcome is not certain and why, an alert stands until the disk takes the configuration, and the write
//! is tried again by itself. A disk that does not answer for some seconds is told of in the same way; its answer may come yet.

use crate::command::Command;
use crate::controller::Controller;
use crate::core_types::Effect;
use hakudo_base::{Instant, NodeId, Severity};
use std::collections::BTreeMap;
use std::time::Duration;

/// A write that is not answered for so long is told of.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after a refused write it is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The newest configuration (by its number) that each member's disk is known to hold in this view.
    pub(crate) holds: BTreeMap<NodeId, u64>,
    /// Writes that were asked for and not answered, by token.
    asked: BTreeMap<u64, Write>,
    tokens: u64,
    again: Option<Instant>,
}

/// A write that was asked for and not answered.
#[derive(Debug)]
struct Write {
    /// The number of the configuration.
    generation: u64,
    /// When all are told that there is no answer; none once they were.
    patience: Option<Instant>,
}

impl Disk {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asked.values().filter_map(|write| write.patience).chain(self.again).min()
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
        let patience = Some(self.now + PATIENCE);
        self.disk.asked.insert(token, Write { generation: self.replica.generation, patience });
        effects.push(Effect::Persist { token, state: self.replica.persisted() });
    }

    pub(crate) fn persisted(&mut self, token: u64, result: Result<(), String>) {
        let Some(Write { generation, .. }) = self.disk.asked.remove(&token) else { return };
        let failed = result.err();
        self.disk.again = failed.as_ref().map(|_| self.now + WRITE_AGAIN);
        self.say(Command::OnDisk { generation, failed });
    }

    /// Tells of writes that hang, and tries again those that were refused.
    pub(crate) fn look_at_disk(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now;
        let hangs = |write: &mut Write| write.patience.take_if(|until| *until <= now).map(|_| write.generation);
        let hanging = self.disk.asked.values_mut().filter_map(hangs).max();
        if let Some(generation) = hanging {
            let failed = Some(format!("no answer for {} s", PATIENCE.as_secs()));
            self.say(Command::OnDisk { generation, failed });
        }
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

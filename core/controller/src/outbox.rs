//! What this node has to say and has not heard itself say yet.
//!
//! One message is under way at a time; what comes up meanwhile goes with the next one. So results of hundreds of agents
//! become few messages by themselves, the order is kept whatever the engine refuses, and after a change of the view it
//! is known what was never heard.

use crate::command::{Command, Message};
use hakudo_membership::ViewId;
use std::collections::{BTreeSet, VecDeque};

/// More commands than this are not put into one message.
const LARGEST: usize = 2000;

/// Nor more than about this many bytes, if there is more than one command: what membership delivers is bounded.
const HEAVIEST: usize = 16 << 20;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<(u64, Command)>,
    /// The first so many of `waiting` are in the message under way.
    under_way: usize,
    said: u64,
    /// The greatest number that was ever in a message.
    sent: u64,
}

impl Outbox {
    /// Puts a command in; its number comes back.
    pub(crate) fn say(&mut self, command: Command) -> u64 {
        self.said += 1;
        self.waiting.push_back((self.said, command));
        self.said
    }

    /// Puts a command before all others that wait.
    pub(crate) fn say_first(&mut self, command: Command) {
        // Numbers only name commands to their sender, and nobody asks after one of these.
        self.waiting.insert(self.under_way, (0, command));
    }

    /// The next message, if it may be sent now. Before the members agree (`agreed`) only what makes them agree is said.
    pub(crate) fn next(&mut self, view: ViewId, agreed: bool) -> Option<Message> {
        if self.under_way > 0 || self.waiting.is_empty() {
            return None;
        }
        let may = |command: &Command| {
            agreed || matches!(command, Command::Hello(_) | Command::Sync(_) | Command::Unfit { .. })
        };
        let mut weight = 0;
        let mut fits = |command: &Command| {
            let first = weight == 0;
            weight += command.weight();
            first || weight <= HEAVIEST
        };
        let commands: Vec<(u64, Command)> = self
            .waiting
            .iter()
            .take_while(|(_, command)| may(command) && fits(command))
            .take(LARGEST)
            .cloned()
            .collect();
        self.under_way = commands.len();
        self.sent = commands.iter().map(|(number, _)| *number).fold(self.sent, u64::max);
        let numbers = commands.iter().map(|(number, _)| *number).collect();
        let commands: Vec<Command> = commands.into_iter().map(|(_, command)| command).collect();
        (!commands.is_empty()).then_some(Message { view, numbers, commands })
    }

    /// The message under way was heard.
    pub(crate) fn heard(&mut self) {
        self.waiting.drain(..self.under_way);
        self.under_way = 0;
    }

    /// The message under way will not be heard: it is said again.
    pub(crate) fn refused(&mut self) {
        self.under_way = 0;
    }

    /// A new view: what has no meaning there is dropped, the rest is said there. The numbers of what was dropped come back.
    /// `keep` is told of each command whether it was sent already, so that others may have heard it.
    pub(crate) fn keep(&mut self, keep: impl Fn(&Command, bool) -> bool) -> Vec<u64> {
        self.under_way = 0;
        let sent = self.sent;
        let (kept, dropped) =
            self.waiting.drain(..).partition::<VecDeque<_>, _>(|(number, command)| keep(command, *number <= sent));
        self.waiting = kept;
        dropped.into_iter().map(|(number, _)| number).filter(|number| *number != 0).collect()
    }

    /// What was not sent yet and has no meaning any more is not said.
    pub(crate) fn drop_unsent(&mut self, drop: impl Fn(&Command) -> bool) {
        let mut at = 0;
        let under_way = self.under_way;
        self.waiting.retain(|(_, command)| {
            at += 1;
            at <= under_way || !drop(command)
        });
    }

    /// A command of this kind was not heard yet.
    pub(crate) fn holds(&self, fits: impl Fn(&Command) -> bool) -> bool {
        self.waiting.iter().any(|(_, command)| fits(command))
    }

    /// The numbers of what was not heard yet.
    pub(crate) fn numbers(&self) -> BTreeSet<u64> {
        self.waiting.iter().map(|(number, _)| *number).collect()
    }

    /// A message was sent and not heard yet.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way > 0
    }
}

//! The history of fencing, as all members know it. It outlives leaders, and views that merge bring theirs together.

use crate::request::{Fencing, FencingState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// No more than this is remembered, the newest.
const LONGEST: usize = 200;

/// What was fenced and is being fenced, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FencingHistory(Vec<Fencing>);

/// The same wish: what ends it puts an end to what began it.
fn same_wish(a: &Fencing, b: &Fencing) -> bool {
    (&a.target, &a.action, &a.client, &a.origin) == (&b.target, &b.action, &b.client, &b.origin)
}

impl FencingHistory {
    /// A fencing begins or ends. Of equal failures one after the other only the last is kept.
    pub(crate) fn note(&mut self, entry: Fencing) {
        let again = |old: &Fencing| old.state == FencingState::Failed && old.reason == entry.reason;
        self.0.retain(|old| !(same_wish(old, &entry) && (old.state == FencingState::Pending || again(old))));
        self.0.push(entry);
        self.forget_the_oldest();
    }

    /// The leader is another one: what the former one began, nobody will end.
    pub(crate) fn leader_gone(&mut self) {
        self.0.retain(|entry| entry.state != FencingState::Pending);
    }

    /// Brings in what another side knew.
    pub(crate) fn merge(&mut self, other: Self) {
        let ended = |entry: &Fencing| entry.state != FencingState::Pending;
        let pending: Vec<Fencing> = self.0.iter().filter(|entry| !ended(entry)).cloned().collect();
        let all: BTreeSet<Fencing> = std::mem::take(&mut self.0).into_iter().chain(other.0).filter(ended).collect();
        self.0 = all.into_iter().chain(pending).collect();
        self.forget_the_oldest();
    }

    fn forget_the_oldest(&mut self) {
        let too_many = self.0.len().saturating_sub(LONGEST);
        self.0.drain(..too_many);
    }

    /// Newest first.
    pub(crate) fn newest_first(&self) -> Vec<Fencing> {
        self.0.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FencingState::{Failed, Pending, Succeeded};

    fn entry(time: i64, target: &str, state: FencingState) -> Fencing {
        Fencing {
            time,
            target: target.to_owned(),
            action: "off".to_owned(),
            state,
            devices: Vec::new(),
            by: None,
            client: "hakudo".to_owned(),
            origin: "n1".to_owned(),
            reason: (state == Failed).then(|| "broken".to_owned()),
            took_ms: 0,
        }
    }

    fn shown(history: &FencingHistory) -> Vec<(i64, &str, FencingState)> {
        history.0.iter().map(|entry| (entry.time, entry.target.as_str(), entry.state)).collect()
    }

    #[test]
    fn an_end_takes_the_place_of_the_beginning_and_of_equal_failures() {
        let mut history = FencingHistory::default();
        for (time, target, state) in
            [(1, "n2", Pending), (2, "n3", Pending), (3, "n2", Failed), (4, "n2", Failed), (5, "n2", Succeeded)]
        {
            history.note(entry(time, target, state));
        }
        assert_eq!(shown(&history), [(2, "n3", Pending), (4, "n2", Failed), (5, "n2", Succeeded)]);
        history.leader_gone();
        assert_eq!(shown(&history), [(4, "n2", Failed), (5, "n2", Succeeded)]);
    }

    #[test]
    fn two_sides_are_brought_together_in_order() {
        let (mut one, mut other) = (FencingHistory::default(), FencingHistory::default());
        one.note(entry(1, "n2", Succeeded));
        one.note(entry(5, "n2", Succeeded));
        one.note(entry(6, "n9", Pending));
        other.note(entry(1, "n2", Succeeded));
        other.note(entry(3, "n3", Succeeded));
        other.note(entry(4, "n4", Pending));
        one.merge(other);
        assert_eq!(shown(&one), [(1, "n2", Succeeded), (3, "n3", Succeeded), (5, "n2", Succeeded), (6, "n9", Pending)]);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let mut history = FencingHistory::default();
        for time in 0..1000 {
            history.note(entry(time, "n2", Succeeded));
        }
        assert_eq!((history.0.len(), history.0[0].time), (LONGEST, 800));
    }
}

//! Plans that go in circles.
//!
//! Each plan that is carried out in full brings the cluster nearer to what is wanted, and the last one is empty. Not always:
//! two promotable clones that must never be promoted on the same node may each be moved out of the other's way, again and
//! again (Pacemaker's plans do so, too); an agent may say that it did what it did not do. Services that are moved as fast as
//! they can be are worse than services in the wrong place, so the leader remembers the plans that were carried out one
//! after the other while nothing else happened. One that comes back too often is not carried out any more.

use std::collections::BTreeMap;

/// A plan that was carried out so often, with nothing new in between, will not bring anything next time.
const ENOUGH: u32 = 3;

/// So many plans in a row, with nothing new in between, lead nowhere even where no two of them are equal.
const LONGEST: u32 = 60;

/// What tells plans apart: the keys and nodes of their actions.
type Fingerprint = Vec<(String, String)>;

/// The plans that were carried out in full since something happened that may change the scheduler's mind.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    times: BTreeMap<Fingerprint, u32>,
    /// The next plan closed a circle.
    closed: bool,
}

impl Rounds {
    /// A plan was carried out in full.
    pub(super) fn carried_out(&mut self, plan: Fingerprint) {
        *self.times.entry(plan).or_default() += 1;
    }

    /// What to tell people where `plan`, which is wanted now, closes a circle.
    pub(super) fn circle(&mut self, plan: &Fingerprint) -> Option<String> {
        let all: u32 = self.times.values().sum();
        let times = self.times.get(plan).copied().unwrap_or_default();
        if plan.is_empty() || (times < ENOUGH && all < LONGEST) {
            // What is wanted after a pause is no part of the circle that was found before.
            if std::mem::take(&mut self.closed) {
                self.times.clear();
            }
            return None;
        }
        self.closed = true;
        let first = plan.first().map(|(key, node)| format!("{key} on {node}")).unwrap_or_default();
        let steps = plan.len();
        let others = self.times.keys().filter(|other| *other != plan).count();
        Some(match (times >= ENOUGH, others) {
            (false, _) => format!("{all} plans in a row did not bring the cluster to rest, and {first} is wanted next"),
            (true, 0) => {
                format!("the same plan of {steps} steps ({first}, …) was carried out {times} times and is still wanted")
            }
            (true, others) => {
                let them =
                    if others == 1 { "another one that undoes it".to_owned() } else { format!("{others} others") };
                format!(
                    "plans go in circles: one of {steps} steps ({first}, …) was carried out {times} times, by turns with {them}"
                )
            }
        })
    }

    /// What counts once it was time to look again: a circle that was found stands, anything else begins anew.
    pub(super) fn after_a_pause(self) -> Self {
        if self.closed { self } else { Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(name: &str) -> Fingerprint {
        vec![(name.to_owned(), "n1".to_owned())]
    }

    /// Carries out the plans named one after the other until one closes a circle; its place, from 0, and what is said.
    fn walk(rounds: &mut Rounds, plans: &[&str]) -> Option<(usize, String)> {
        for (at, name) in plans.iter().enumerate() {
            if let Some(text) = rounds.circle(&plan(name)) {
                return Some((at, text));
            }
            rounds.carried_out(plan(name));
        }
        None
    }

    #[test]
    fn circles_of_any_length_are_found() {
        let found = |plans: &[&str]| walk(&mut Rounds::default(), plans).map(|(at, _)| at);
        assert_eq!(found(&["a"; 3]), None);
        assert_eq!(found(&["a"; 4]), Some(3));
        assert_eq!(found(&["a", "b", "a", "b", "a", "b", "a"]), Some(6));
        assert_eq!(found(&["x", "a", "b", "c", "a", "b", "c", "a", "b", "c", "a"]), Some(10));
        let ever_new: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(found(&ever_new.iter().map(String::as_str).collect::<Vec<_>>()), Some(60));
    }

    #[test]
    fn a_circle_outlives_a_pause_until_something_else_is_wanted() {
        let mut rounds = Rounds::default();
        walk(&mut rounds, &["a", "a"]);
        rounds = rounds.after_a_pause();
        assert_eq!(walk(&mut rounds, &["a", "a", "a"]), None);
        assert!(walk(&mut rounds, &["a"]).is_some());
        rounds = rounds.after_a_pause();
        assert!(walk(&mut rounds, &["a"]).is_some());
        assert_eq!(walk(&mut rounds, &["b", "a", "a", "a"]), None);
    }
}

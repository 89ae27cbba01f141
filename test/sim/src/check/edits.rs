//! Acknowledged changes are never lost. Every change of a simulated client leaves a note with its number in the
//! configuration; once it was told that the change is done, each configuration that any side agrees on later holds the note.

use super::{Rule, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// The checker of changes.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    acknowledged: BTreeSet<u64>,
    /// Changes made by force, which may lose against another side's.
    forced: BTreeSet<u64>,
    /// Changes that were refused: nothing of them may ever be seen.
    refused: BTreeMap<u64, String>,
}

impl Edits {
    /// A client asked for a change by force.
    pub(crate) fn force(&mut self, number: u64) {
        self.forced.insert(number);
    }

    /// A client was told that its change is done.
    pub(crate) fn acknowledge(&mut self, number: u64) {
        if !self.forced.contains(&number) {
            self.acknowledged.insert(number);
        }
    }

    /// A client was told that its change was refused.
    pub(crate) fn refuse(&mut self, number: u64, reason: &str) {
        self.refused.insert(number, reason.to_owned());
    }

    /// A configuration in which a side that may change it agreed: it holds `notes`.
    pub(crate) fn agreed(&self, who: &str, notes: &BTreeSet<u64>) -> Verdict {
        if let Some(lost) = self.acknowledged.difference(notes).next() {
            return Err((Rule::NoLostChange, format!("{who} lacks change {lost}, which was acknowledged")));
        }
        if let Some((number, reason)) = self.refused.iter().find(|(number, _)| notes.contains(number)) {
            let text = format!("{who} holds change {number}, which was refused: {reason}");
            return Err((Rule::NoLostChange, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_change_and_a_refused_one_are_caught() {
        let mut edits = Edits::default();
        edits.acknowledge(1);
        edits.force(2);
        edits.acknowledge(2);
        edits.refuse(3, "not valid");
        assert_eq!(edits.agreed("n1", &BTreeSet::from([1])), Ok(()));
        assert_eq!(edits.agreed("n1", &BTreeSet::from([2])).unwrap_err().0, Rule::NoLostChange);
        assert_eq!(edits.agreed("n1", &BTreeSet::from([1, 3])).unwrap_err().0, Rule::NoLostChange);
    }
}

//! Acknowledged changes are never lost. Every change of a simulated client leaves a note with its number in the
//! configuration; once it was told that the change is done, each configuration that any side agrees on later holds the note.
//!
//! Where two sides may both be quorate and nobody fences (or the client forced its change), a change may give way to those of
//! the other side. Then it must have been kept aside, for people to see: never is it dropped without a word.

use super::{Rule, Verdict};
use hakudo_membership::ViewId;
use std::collections::{BTreeMap, BTreeSet};

/// The checker of changes.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// With the view in which each was.
    acknowledged: BTreeMap<u64, ViewId>,
    /// Changes made by force, which may lose against another side's.
    forced: BTreeSet<u64>,
    /// Acknowledged changes that may lose against another side's.
    weak: BTreeSet<u64>,
    /// Changes in configurations that were kept aside.
    aside: BTreeSet<u64>,
    /// A disk was destroyed: what was on it alone may be lost.
    forgiven: bool,
    /// Changes that were refused: nothing of them may ever be seen.
    refused: BTreeMap<u64, String>,
}

impl Edits {
    /// A client asked for a change by force.
    pub(crate) fn force(&mut self, number: u64) {
        self.forced.insert(number);
    }

    /// A client was told in `view` that its change is done. `strict`: no other side can undo it.
    pub(crate) fn acknowledge(&mut self, number: u64, view: ViewId, strict: bool) {
        if strict && !self.forced.contains(&number) {
            self.acknowledged.insert(number, view);
        } else {
            self.weak.insert(number);
        }
    }

    /// A node keeps a configuration aside, with these `notes`.
    pub(crate) fn aside(&mut self, notes: impl Iterator<Item = u64>) {
        self.aside.extend(notes);
    }

    /// A disk was destroyed.
    pub(crate) fn forgive(&mut self) {
        self.forgiven = true;
    }

    /// Everything is mended, and all agree on a configuration with `notes`.
    pub(crate) fn ended(&self, notes: &BTreeSet<u64>) -> Verdict {
        let gone = self.weak.iter().find(|number| !notes.contains(number) && !self.aside.contains(number));
        match gone {
            Some(number) if !self.forgiven => {
                let text = format!("change {number}, which was acknowledged, is neither in force nor kept aside");
                Err((Rule::NoLostChange, text))
            }
            _ => Ok(()),
        }
    }

    /// A client was told that its change was refused.
    pub(crate) fn refuse(&mut self, number: u64, reason: &str) {
        self.refused.insert(number, reason.to_owned());
    }

    /// A configuration on which the members of `view` agreed, who may change it: it holds `notes`. A node that stood still
    /// while the others went on knows nothing of what was acknowledged in later views than its own.
    pub(crate) fn agreed_in(&self, view: ViewId, who: &str, notes: &BTreeSet<u64>) -> Verdict {
        let mut known = self.acknowledged.iter().filter(|(_, acknowledged)| **acknowledged <= view);
        self.holds(known.find(|(number, _)| !notes.contains(number)).map(|(number, _)| *number), who, notes)
    }

    /// A configuration that must hold all that was acknowledged until now: it holds `notes`.
    pub(crate) fn agreed(&self, who: &str, notes: &BTreeSet<u64>) -> Verdict {
        self.holds(self.acknowledged.keys().copied().find(|number| !notes.contains(number)), who, notes)
    }

    fn holds(&self, lost: Option<u64>, who: &str, notes: &BTreeSet<u64>) -> Verdict {
        if let Some(lost) = lost.filter(|_| !self.forgiven) {
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
        let view = |epoch| ViewId { epoch, leader: 1 };
        edits.acknowledge(1, view(5), true);
        edits.force(2);
        edits.acknowledge(2, view(5), true);
        edits.refuse(3, "not valid");
        assert_eq!(edits.agreed("n1", &BTreeSet::from([1])), Ok(()));
        assert_eq!(edits.agreed("n1", &BTreeSet::from([2])).unwrap_err().0, Rule::NoLostChange);
        assert_eq!(edits.agreed_in(view(4), "n1", &BTreeSet::new()), Ok(()));
        assert_eq!(edits.agreed_in(view(5), "n1", &BTreeSet::new()).unwrap_err().0, Rule::NoLostChange);
        assert_eq!(edits.agreed_in(view(4), "n1", &BTreeSet::from([3])).unwrap_err().0, Rule::NoLostChange);
        assert_eq!(edits.agreed("n1", &BTreeSet::from([1, 3])).unwrap_err().0, Rule::NoLostChange);
        assert_eq!(edits.ended(&BTreeSet::from([1])).unwrap_err().0, Rule::NoLostChange);
        edits.aside([2].into_iter());
        assert_eq!(edits.ended(&BTreeSet::from([1])), Ok(()));
    }
}

//! Which services really run where, and whether one more may.
//!
//! A service is active from the moment its start begins until its stop ended well, or its machine lost power. What was
//! asked for, reported or believed does not count.

use super::{Rule, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// The true state of a service on one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    /// Does not run.
    #[default]
    Stopped,
    /// Runs.
    Started,
    /// Runs in the promoted role, or is on the way there or back.
    Promoted,
}

/// How many copies of a primitive may be active and promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) active: usize,
    pub(crate) promoted: usize,
}

/// The checker of active copies.
///
/// A limit only ever widens here: where the configuration was changed on the way, whatever it allowed at any time is
/// allowed. So a change never makes a false alarm, and most histories change no limit at all.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    allowed: BTreeMap<String, Allowed>,
    /// Fencing is or was switched off: lost nodes may run what they ran.
    pub(crate) unfenced: bool,
    /// Starts and promotions that were allowed though lost nodes had copies, as nobody fences, and not undone since: once the sides
    /// meet, whoever leads may have them tried again as long as it is not known what became of them.
    beside_lost: BTreeSet<(usize, String, Service)>,
}

impl Activity {
    /// So many copies of a primitive are allowed (too).
    pub(crate) fn allow(&mut self, primitive: &str, active: usize, promoted: usize) {
        let entry = self.allowed.entry(primitive.to_owned()).or_insert(Allowed { active: 0, promoted: 0 });
        entry.active = entry.active.max(active);
        entry.promoted = entry.promoted.max(promoted);
    }

    /// The primitive is no more than `leaves` on `node` (all of them, where its machine lost power): what begins there now begins
    /// anew.
    pub(crate) fn ended(&mut self, node: usize, primitive: Option<&str>, leaves: Service) {
        let other = |name: &str| primitive.is_some_and(|primitive| primitive != name);
        self.beside_lost.retain(|(place, name, service)| *place != node || other(name) || *service <= leaves);
    }

    /// A start or a promotion begins on `node`. `copies` are the copies on all other nodes, and whether that node is in
    /// the view in whose name this was asked.
    pub(crate) fn begins(
        &mut self,
        node: usize,
        primitive: &str,
        promotion: bool,
        copies: &[(usize, Service, bool)],
    ) -> Verdict {
        let Some(allowed) = self.allowed.get(primitive) else { return Ok(()) };
        let (least, limit) =
            if promotion { (Service::Promoted, allowed.promoted) } else { (Service::Started, allowed.active) };
        let counts = |(_, service, member): &&(usize, Service, bool)| *service >= least && (*member || !self.unfenced);
        let others: Vec<&(usize, Service, bool)> = copies.iter().filter(counts).collect();
        let place = (node, primitive.to_owned(), least);
        if others.len() < limit {
            if copies.iter().filter(|(_, service, _)| *service >= least).count() >= limit {
                self.beside_lost.insert(place);
            }
            return Ok(());
        }
        if self.unfenced && self.beside_lost.contains(&place) {
            return Ok(());
        }
        let lost = others.iter().any(|(_, _, member)| !member);
        let places: Vec<String> =
            others.iter().map(|(n, _, member)| format!("n{}{}", n + 1, if *member { "" } else { " (lost)" })).collect();
        let what = if promotion { "promoted" } else { "started" };
        let text = format!("{primitive} is being {what} on n{} while {what} on {}", node + 1, places.join(", "));
        Err((if lost { Rule::NoSecondCopy } else { Rule::CopyCount }, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_is_caught_where_fencing_is_on() {
        let mut activity = Activity::default();
        activity.allow("a", 1, 0);
        let lost = [(1, Service::Started, false)];
        assert_eq!(activity.begins(0, "a", false, &lost).unwrap_err().0, Rule::NoSecondCopy);
        activity.unfenced = true;
        assert_eq!(activity.begins(0, "a", false, &lost), Ok(()));
        // The sides have met, and it is tried again.
        assert_eq!(activity.begins(0, "a", false, &[(1, Service::Started, true)]), Ok(()));
        activity.ended(0, Some("a"), Service::Stopped);
        assert_eq!(activity.begins(0, "a", false, &[(1, Service::Started, true)]).unwrap_err().0, Rule::CopyCount);
        assert_eq!(activity.begins(0, "a", false, &[(1, Service::Stopped, true)]), Ok(()));
    }

    #[test]
    fn a_second_promoted_copy_is_caught() {
        let mut activity = Activity::default();
        activity.allow("p", 3, 1);
        let copies = [(1, Service::Promoted, true), (2, Service::Started, true)];
        assert_eq!(activity.begins(0, "p", false, &copies), Ok(()));
        assert_eq!(activity.begins(0, "p", true, &copies).unwrap_err().0, Rule::CopyCount);
    }
}

//! How often a simulated history came to places that matter: a seed that never fences tests no fencing.

use std::collections::BTreeMap;

/// What was reached, and how often.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    counts: BTreeMap<&'static str, u64>,
    /// Virtual milliseconds from the mending of everything until the cluster had settled.
    pub settled_after_ms: u64,
}

impl Sites {
    /// The place `name` was reached.
    pub(crate) fn reach(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Adds up two histories.
    pub fn add(&mut self, other: &Sites) {
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
        self.settled_after_ms = self.settled_after_ms.max(other.settled_after_ms);
    }

    /// The places by name and how often each was reached.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, *count))
    }
}

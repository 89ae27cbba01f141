//! Scores, and the table of what each node is worth to a resource.

use super::NodeIndex;
use std::fmt;
use std::sync::Arc;

/// A score: an integer between minus and plus INFINITY (±1,000,000), where minus INFINITY always wins
/// (Pacemaker Explained, "Scores").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(pub i32);

impl Score {
    /// Must.
    pub const INFINITY: Score = Score(1_000_000);
    /// Must not.
    pub const MINUS_INFINITY: Score = Score(-1_000_000);
    /// Indifferent.
    pub const ZERO: Score = Score(0);

    /// The sum, in which minus INFINITY wins over everything, and INFINITY over all but that.
    #[must_use]
    pub fn plus(self, other: Score) -> Score {
        if self <= Self::MINUS_INFINITY || other <= Self::MINUS_INFINITY {
            Self::MINUS_INFINITY
        } else if self >= Self::INFINITY || other >= Self::INFINITY {
            Self::INFINITY
        } else {
            Score((self.0 + other.0).clamp(Self::MINUS_INFINITY.0, Self::INFINITY.0))
        }
    }

    /// The score with the other sign.
    #[must_use]
    pub fn negated(self) -> Score {
        Score(self.0.saturating_neg())
    }

    /// True for INFINITY and minus INFINITY, which are rules and not wishes.
    pub fn is_mandatory(self) -> bool {
        self >= Self::INFINITY || self <= Self::MINUS_INFINITY
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self >= Self::INFINITY {
            f.write_str("INFINITY")
        } else if *self <= Self::MINUS_INFINITY {
            f.write_str("-INFINITY")
        } else {
            self.0.fmt(f)
        }
    }
}

/// Whether a node may be asked if a resource runs there (`resource-discovery` of location constraints), weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discovery {
    /// Ask, the default.
    #[default]
    Always,
    /// Do not ask here.
    Never,
    /// Ask here, and only on nodes that say so too.
    Exclusive,
}

/// What one node is worth to one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeEntry {
    /// The sum so far.
    pub score: Score,
    /// How many instances of a clone were assigned to the node.
    pub count: u32,
    /// Whether to look for the resource there.
    pub discovery: Discovery,
}

/// The nodes that a resource may use with what each is worth; a node that is absent is not allowed at all.
///
/// Copies share their entries until one is changed: most resources of a large cluster think alike of most nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTable {
    entries: Arc<Vec<Option<NodeEntry>>>,
}

impl NodeTable {
    /// The entry of a node.
    pub fn get(&self, node: NodeIndex) -> Option<&NodeEntry> {
        self.entries.get(node.index()).and_then(Option::as_ref)
    }

    /// The entry of a node, to be changed.
    pub fn get_mut(&mut self, node: NodeIndex) -> Option<&mut NodeEntry> {
        if !self.contains(node) {
            return None;
        }
        Arc::make_mut(&mut self.entries).get_mut(node.index()).and_then(Option::as_mut)
    }

    /// Puts an entry in, in place of what was there.
    pub fn insert(&mut self, node: NodeIndex, entry: NodeEntry) {
        let entries = Arc::make_mut(&mut self.entries);
        if entries.len() <= node.index() {
            entries.resize(node.index() + 1, None);
        }
        entries[node.index()] = Some(entry);
    }

    /// Puts in what another table has and this one has not.
    pub(crate) fn add_missing(&mut self, other: &NodeTable) {
        if self.entries.is_empty() {
            self.entries = Arc::clone(&other.entries);
        } else if !Arc::ptr_eq(&self.entries, &other.entries) {
            for (node, entry) in other.iter() {
                if !self.contains(node) {
                    self.insert(node, *entry);
                }
            }
        }
    }

    /// Takes a node out.
    pub fn remove(&mut self, node: NodeIndex) {
        if self.contains(node) {
            Arc::make_mut(&mut self.entries)[node.index()] = None;
        }
    }

    /// True where the node is in the table.
    pub fn contains(&self, node: NodeIndex) -> bool {
        self.get(node).is_some()
    }

    /// True where no node is in the table.
    pub fn is_empty(&self) -> bool {
        self.entries.iter().all(Option::is_none)
    }

    /// The nodes in the table, in the order in which the nodes became known.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.iter().map(|(node, _)| node)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (NodeIndex, &NodeEntry)> {
        self.entries.iter().enumerate().filter_map(|(i, entry)| entry.as_ref().map(|e| (NodeIndex::new(i), e)))
    }

    /// All entries, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (NodeIndex, &mut NodeEntry)> {
        Arc::make_mut(&mut self.entries)
            .iter_mut()
            .enumerate()
            .filter_map(|(i, entry)| entry.as_mut().map(|e| (NodeIndex::new(i), e)))
    }
}

#[cfg(test)]
mod tests {
    use super::Score;

    #[test]
    fn minus_infinity_wins_and_infinity_saturates() {
        assert_eq!(Score::INFINITY.plus(Score::MINUS_INFINITY), Score::MINUS_INFINITY);
        assert_eq!(Score(999_999).plus(Score(5)), Score::INFINITY);
        assert_eq!(Score::INFINITY.plus(Score(-5)), Score::INFINITY);
        assert_eq!(Score(3).plus(Score(-5)).to_string(), "-2");
    }
}

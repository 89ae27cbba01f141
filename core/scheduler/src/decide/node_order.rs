//! Which of several nodes is the better one.

use crate::model::{NodeIndex, NodeTable, PlacementStrategy, Score};
use crate::planner::Planner;
use std::cmp::{Ordering as Order, Reverse};

/// The places of all nodes in two orders, by the index of the node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeRanks {
    by_name: Vec<usize>,
    in_table: Vec<usize>,
    /// Whether the node has its name as an attribute: a remote node has none before anything is known of its status.
    named: Vec<bool>,
}

impl NodeRanks {
    fn by_name(&self, node: NodeIndex) -> usize {
        self.by_name.get(node.index()).copied().unwrap_or(usize::MAX)
    }

    /// The name of the node can be compared.
    pub(crate) fn has_name(&self, node: NodeIndex) -> bool {
        self.named.get(node.index()).copied().unwrap_or(false)
    }

    /// The place in Pacemaker's tables of nodes.
    pub(crate) fn in_table(&self, node: NodeIndex) -> usize {
        self.in_table.get(node.index()).copied().unwrap_or(usize::MAX)
    }
}

impl Planner {
    /// Notes the order of all nodes by name, and in Pacemaker's tables.
    pub(crate) fn rank_nodes(&mut self) {
        let count = self.model.nodes.len();
        let mut by_name: Vec<NodeIndex> = self.model.nodes().collect();
        by_name.sort_by(|a, b| self.model.node(*a).name.cmp(&self.model.node(*b).name));
        let mut ranks = NodeRanks {
            by_name: vec![usize::MAX; count],
            in_table: vec![usize::MAX; count],
            named: self.model.nodes.iter().map(|node| node.attribute("#uname").is_some()).collect(),
        };
        for (rank, node) in by_name.into_iter().enumerate() {
            ranks.by_name[node.index()] = rank;
        }
        let places = table_ranks(self.model.nodes().map(|node| self.model.node(node).id.as_str()));
        for (node, place) in self.model.nodes().zip(places) {
            ranks.in_table[node.index()] = place;
        }
        self.node_ranks = ranks;
    }

    /// The better of two nodes first: score, free capacity, fewer resources, the preferred one, name.
    pub(crate) fn compare_nodes(
        &self,
        a: (NodeIndex, Score),
        b: (NodeIndex, Score),
        preferred: Option<NodeIndex>,
    ) -> Order {
        let worth = |(node, score): (NodeIndex, Score)| {
            if self.model.node(node).is_usable() { score } else { Score::MINUS_INFINITY }
        };
        let by_score = worth(b).cmp(&worth(a));
        if by_score != Order::Equal {
            return by_score;
        }
        let (first, second) = (self.model.node(a.0), self.model.node(b.0));
        let strategy = self.model.options.placement_strategy;
        if strategy != PlacementStrategy::Minimal {
            if strategy == PlacementStrategy::Balanced {
                let by_capacity = self.compare_capacity(a.0, b.0);
                if by_capacity != Order::Equal {
                    return by_capacity;
                }
            }
            let by_count = first.assigned.len().cmp(&second.assigned.len());
            if by_count != Order::Equal {
                return by_count;
            }
            match preferred {
                Some(preferred) if preferred == a.0 => return Order::Less,
                Some(preferred) if preferred == b.0 => return Order::Greater,
                _ => {}
            }
        }
        self.node_ranks.by_name(a.0).cmp(&self.node_ranks.by_name(b.0))
    }

    /// What [`Planner::compare_nodes`] compares, where capacities do not count: the best first.
    fn worth_of_node(
        &self,
        (node, score): (NodeIndex, Score),
        preferred: Option<NodeIndex>,
    ) -> (Reverse<Score>, usize, bool, usize) {
        let peer = self.model.node(node);
        let worth = if peer.is_usable() { score } else { Score::MINUS_INFINITY };
        let minimal = self.model.options.placement_strategy == PlacementStrategy::Minimal;
        let (count, other) = if minimal { (0, false) } else { (peer.assigned.len(), preferred != Some(node)) };
        (Reverse(worth), count, other, self.node_ranks.by_name(node))
    }

    /// The allowed nodes, the best first.
    pub(crate) fn sorted_nodes(&self, table: &NodeTable, preferred: Option<NodeIndex>) -> Vec<(NodeIndex, Score)> {
        let mut nodes: Vec<_> = table.iter().map(|(node, entry)| (node, entry.score)).collect();
        if self.model.options.placement_strategy == PlacementStrategy::Balanced {
            // Capacity is no total order: which of several wins depends on how they stood before.
            nodes.sort_by_key(|(node, _)| Reverse(self.node_ranks.in_table(*node)));
            crate::values::sort_with(&mut nodes, &mut |a, b| self.compare_nodes(*a, *b, preferred));
        } else {
            nodes.sort_by_cached_key(|node| self.worth_of_node(*node, preferred));
        }
        nodes
    }

    /// The allowed nodes, the best and the second best in front.
    pub(crate) fn best_nodes_first(&self, table: &NodeTable, preferred: Option<NodeIndex>) -> Vec<(NodeIndex, Score)> {
        if self.model.options.placement_strategy == PlacementStrategy::Balanced {
            return self.sorted_nodes(table, preferred);
        }
        let mut nodes: Vec<_> = table.iter().map(|(node, entry)| (node, entry.score)).collect();
        for place in 0..nodes.len().min(2) {
            let rest = place..nodes.len();
            let best = rest.min_by_key(|at| self.worth_of_node(nodes[*at], preferred));
            nodes.swap(place, best.unwrap_or(place));
        }
        nodes
    }
}

/// The places of nodes, by their ids, in the hash tables in which Pacemaker (with GLib) keeps them. Where capacities cannot
/// decide between nodes, the first in such a table is taken, and so that is part of its decisions.
fn table_ranks<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let hashes: Vec<u32> = ids
        .map(|id| {
            id.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add_signed(i32::from(byte.cast_signed())))
        })
        .map(|hash| hash.max(2).wrapping_mul(11))
        .collect();
    let mut buckets: Vec<Option<usize>> = vec![None; 8];
    for (at, _) in hashes.iter().enumerate() {
        put(&mut buckets, &hashes, at);
        let count = at + 1;
        if buckets.len() <= count + count / 16 {
            let bits = usize::BITS - (count * 1333 / 1000).leading_zeros();
            let old = std::mem::replace(&mut buckets, vec![None; 1 << bits.max(3)]);
            old.into_iter().flatten().for_each(|at| put(&mut buckets, &hashes, at));
        }
    }
    let mut ranks = vec![0; hashes.len()];
    for (rank, at) in buckets.into_iter().flatten().enumerate() {
        ranks[at] = rank;
    }
    ranks
}

fn put(buckets: &mut [Option<usize>], hashes: &[u32], at: usize) {
    let prime = |n: &usize| (2..*n).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    let modulus = (2..=buckets.len()).rev().find(prime).unwrap_or(1);
    let (mut place, mut step) = (hashes[at] as usize % modulus, 0);
    while buckets[place].is_some() {
        step += 1;
        place = (place + step) & (buckets.len() - 1);
    }
    buckets[place] = Some(at);
}

#[cfg(test)]
mod tests {
    use super::table_ranks;

    #[test]
    fn nodes_stand_in_tables_by_the_hash_of_their_ids() {
        assert_eq!(table_ranks(["1", "2", "3", "4"].into_iter()), [0, 2, 1, 3]);
        let many: Vec<String> = (0..100).map(|n| format!("node{n}")).collect();
        let mut ranks = table_ranks(many.iter().map(String::as_str));
        ranks.sort_unstable();
        assert_eq!(ranks, (0..100).collect::<Vec<_>>());
    }
}

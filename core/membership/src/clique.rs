//! Who can be in one view: only nodes that all hear each other.
//!
//! Where connections are broken in part, or one way only, the nodes that hear each other form a graph that is not
//! complete. It is divided: first the best clique, then the best of what remains, and so on. Every node that knows the same
//! graph divides it in the same way, so a node that hears too little puts itself out, and cannot put out others who hear
//! each other well.
//!
//! At most 32 nodes, so that a set of nodes is a word. The search is exhaustive, with 3^(n/3) cliques at worst, and done
//! only for graphs that are not complete.

/// A set of nodes, a bit each.
pub(crate) type Set = u32;

/// The nodes of `set`, ascending.
pub(crate) fn each(set: Set) -> impl Iterator<Item = usize> {
    (0..32).filter(move |node| set & (1 << node) != 0)
}

/// Divides `nodes` into cliques, and gives the one that holds `me`. `heard[i]` is whom node `i` hears and is heard by;
/// `worth` compares cliques: the greater is the better.
pub(crate) fn division_of<W: Ord>(me: usize, nodes: Set, heard: &[Set], worth: impl Fn(Set) -> W) -> Set {
    let mut rest = nodes | 1 << me;
    loop {
        let component = component_of(me, rest, heard);
        if each(component).all(|node| component & !neighbours(heard, node) & !(1 << node) == 0) {
            return component;
        }
        let mut best: Option<(W, Set)> = None;
        cliques(0, component, 0, heard, &mut |clique| {
            let candidate = (worth(clique), clique);
            if best.as_ref().is_none_or(|best| candidate.0 > best.0 || candidate.0 == best.0 && first(clique, best.1)) {
                best = Some(candidate);
            }
        });
        match best {
            Some((_, clique)) if clique & 1 << me != 0 => return clique,
            Some((_, clique)) => rest &= !clique,
            None => return 1 << me,
        }
    }
}

/// Of two sets of the same worth, the one with the lowest node that the other one lacks.
fn first(a: Set, b: Set) -> bool {
    let difference = a ^ b;
    difference != 0 && a & (1 << difference.trailing_zeros()) != 0
}

fn neighbours(heard: &[Set], node: usize) -> Set {
    heard.get(node).copied().unwrap_or(0)
}

fn component_of(me: usize, nodes: Set, heard: &[Set]) -> Set {
    let mut component = 1 << me;
    loop {
        let grown = each(component).fold(component, |set, node| set | neighbours(heard, node) & nodes);
        if grown == component {
            return component;
        }
        component = grown;
    }
}

/// Bron and Kerbosch with a pivot: all maximal cliques that contain `clique`, may contain `candidates`, and cannot be
/// extended by `excluded`.
fn cliques(clique: Set, mut candidates: Set, mut excluded: Set, heard: &[Set], found: &mut impl FnMut(Set)) {
    if candidates == 0 && excluded == 0 {
        found(clique);
        return;
    }
    let pivot = each(candidates | excluded).max_by_key(|node| (neighbours(heard, *node) & candidates).count_ones());
    let covered = pivot.map_or(0, |pivot| neighbours(heard, pivot));
    for node in each(candidates & !covered) {
        let near = neighbours(heard, node) & !(1 << node);
        cliques(clique | 1 << node, candidates & near, excluded & near, heard, found);
        candidates &= !(1 << node);
        excluded |= 1 << node;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph(edges: &[(usize, usize)]) -> Vec<Set> {
        let mut heard = vec![0; 32];
        for (a, b) in edges {
            heard[*a] |= 1 << b;
            heard[*b] |= 1 << a;
        }
        heard
    }

    fn by_size(set: Set) -> u32 {
        set.count_ones()
    }

    #[test]
    fn the_node_that_hears_too_little_is_put_out() {
        let heard = graph(&[(0, 1), (1, 2), (2, 3), (1, 3)]);
        assert_eq!(division_of(0, 0b1111, &heard, by_size), 0b0001);
        assert_eq!(division_of(2, 0b1111, &heard, by_size), 0b1110);
    }

    #[test]
    fn of_equals_the_lower_stays() {
        let heard = graph(&[(0, 2), (1, 2)]);
        assert_eq!(division_of(0, 0b111, &heard, by_size), 0b101);
        assert_eq!(division_of(1, 0b111, &heard, by_size), 0b010);
        assert_eq!(division_of(2, 0b111, &heard, by_size), 0b101);
    }

    proptest! {
        #[test]
        fn the_division_is_the_same_for_all(rows in proptest::collection::vec(any::<u32>(), 9)) {
            let all: Set = (1 << rows.len()) - 1;
            let heard: Vec<Set> = (0..rows.len())
                .map(|a| each(all & rows[a] & !(1 << a)).filter(|b| rows[*b] & 1 << a != 0).map(|b| 1 << b).sum())
                .collect();
            for me in 0..rows.len() {
                let mine = division_of(me, all, &heard, by_size);
                for other in each(mine) {
                    prop_assert_eq!(division_of(other, all, &heard, by_size), mine);
                    prop_assert_eq!(mine & !heard[other], 1 << other);
                }
            }
        }

        #[test]
        fn the_first_is_a_largest_clique(rows in proptest::collection::vec(any::<u32>(), 7)) {
            let all: Set = (1 << rows.len()) - 1;
            let heard: Vec<Set> = (0..rows.len())
                .map(|a| each(all & rows[a] & !(1 << a)).filter(|b| rows[*b] & 1 << a != 0).map(|b| 1 << b).sum())
                .collect();
            let is_clique = |set: Set| each(set).all(|node| set & !heard[node] == 1 << node);
            let largest = (1..=all).filter(|set| is_clique(*set)).map(Set::count_ones).max();
            let found = (0..rows.len()).map(|me| division_of(me, all, &heard, by_size).count_ones()).max();
            prop_assert_eq!(found, largest);
        }
    }
}

//! What must hold of any history, written from the contract alone.

use crate::{Delivered, Undelivered, View, ViewId};
use hakudo_base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What one run of a node was told.
#[derive(Default)]
struct RunHistory {
    number: u64,
    said: Vec<Vec<u8>>,
    /// The views with what was delivered in each.
    views: Vec<(View, Vec<Delivered>)>,
    undelivered: Vec<(Vec<u8>, Undelivered)>,
    ended: bool,
}

#[derive(Default)]
pub(crate) struct History {
    runs: BTreeMap<NodeId, Vec<RunHistory>>,
}

impl History {
    pub(crate) fn start(&mut self, node: NodeId, number: u64) {
        self.runs.entry(node).or_default().push(RunHistory { number, ..RunHistory::default() });
    }

    pub(crate) fn end(&mut self, node: NodeId) {
        if let Some(run) = self.current(node) {
            run.ended = true;
        }
    }

    fn current(&mut self, node: NodeId) -> Option<&mut RunHistory> {
        self.runs.get_mut(&node)?.last_mut()
    }

    pub(crate) fn said(&mut self, node: NodeId, payload: &[u8]) {
        self.current(node).unwrap().said.push(payload.to_vec());
    }

    pub(crate) fn view(&mut self, node: NodeId, view: View) {
        self.current(node).unwrap().views.push((view, Vec::new()));
    }

    pub(crate) fn delivered(&mut self, node: NodeId, delivered: Delivered) {
        let run = self.current(node).unwrap();
        run.views.last_mut().expect("a message comes in a view").1.push(delivered);
    }

    pub(crate) fn undelivered(&mut self, node: NodeId, payload: Vec<u8>, reason: Undelivered) {
        self.current(node).unwrap().undelivered.push((payload, reason));
    }

    pub(crate) fn deliveries(&self, node: NodeId) -> usize {
        self.runs[&node].iter().flat_map(|run| &run.views).map(|(_, delivered)| delivered.len()).sum()
    }

    pub(crate) fn views(&self, node: NodeId) -> Vec<View> {
        self.runs[&node].iter().flat_map(|run| &run.views).map(|(view, _)| view.clone()).collect()
    }

    /// Panics where the contract is broken. `settled`: nothing is on its way any more.
    pub(crate) fn check(&self, settled: bool) {
        self.check_views();
        self.check_orders();
        self.check_together();
        for (node, runs) in &self.runs {
            for run in runs {
                self.check_run(*node, run, settled);
            }
        }
    }

    fn all_runs(&self) -> impl Iterator<Item = (NodeId, &RunHistory)> {
        self.runs.iter().flat_map(|(node, runs)| runs.iter().map(|run| (*node, run)))
    }

    fn check_views(&self) {
        let mut known: BTreeMap<ViewId, &View> = BTreeMap::new();
        for (node, runs) in &self.runs {
            let mut last = ViewId::default();
            for (view, _) in runs.iter().flat_map(|run| &run.views) {
                assert!(view.id > last, "ids grow: {last:?} then {:?} at {node}", view.id);
                last = view.id;
                assert!(view.members.contains(node) && view.together.contains(node), "{node} is in {view:?}");
                assert!(view.members.contains(&view.leader()), "the leader is in {view:?}");
                assert!(view.members.is_sorted() && view.together.iter().all(|one| view.members.contains(one)));
                assert!(view.left.iter().all(|one| !view.members.contains(one)), "{view:?}");
                assert!(!view.exclusive || view.quorate, "{view:?}");
                let first = known.entry(view.id).or_insert(view);
                assert_eq!(first.members, view.members, "one id, one view: {:?}", view.id);
                assert_eq!((first.quorate, first.exclusive), (view.quorate, view.exclusive), "{:?}", view.id);
            }
        }
        let exclusive: Vec<&&View> = known.values().filter(|view| view.exclusive).collect();
        for (a, b) in exclusive.iter().flat_map(|a| exclusive.iter().map(move |b| (a, b))) {
            let shared = a.members.iter().any(|member| b.members.contains(member));
            assert!(shared, "two exclusive views without a common member: {a:?} {b:?}");
        }
    }

    /// In one view, what one member was delivered begins what another was delivered.
    fn check_orders(&self) {
        let mut orders: BTreeMap<ViewId, &Vec<Delivered>> = BTreeMap::new();
        for (node, run) in self.all_runs() {
            for (view, delivered) in &run.views {
                let longest = orders.entry(view.id).or_insert(delivered);
                let common = longest.len().min(delivered.len());
                assert!(longest[..common] == delivered[..common], "order of {:?} at {node}", view.id);
                if delivered.len() > longest.len() {
                    *longest = delivered;
                }
            }
        }
    }

    fn check_together(&self) {
        // View, member -> the view before, and what was delivered in it.
        let mut before = BTreeMap::new();
        for (node, run) in self.all_runs() {
            for pair in run.views.windows(2) {
                before.insert((pair[1].0.id, node), (pair[0].0.id, &pair[0].1, &pair[1].0));
            }
        }
        for ((view, node), (previous, delivered, installed)) in &before {
            for other in &installed.together {
                if let Some((their_previous, theirs, their_view)) = before.get(&(*view, *other)) {
                    assert_eq!(previous, their_previous, "{node} and {other} came together to {view:?}");
                    assert!(
                        delivered == theirs,
                        "{node} and {other} came from {previous:?} to {view:?} with different messages: {} and {}",
                        delivered.len(),
                        theirs.len()
                    );
                    assert_eq!(installed.together, their_view.together);
                    assert_eq!(installed.left, their_view.left);
                }
            }
        }
    }

    fn check_run(&self, node: NodeId, run: &RunHistory, settled: bool) {
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<(u32, u64), u64> = BTreeMap::new();
        for message in run.views.iter().flat_map(|(_, delivered)| delivered) {
            let ((from, of_run, number), _): ((u32, u64, u64), _) =
                postcard::take_from_bytes(&message.payload).unwrap();
            assert_eq!(message.from.0, from, "the sender is named");
            let sender = self.runs[&message.from].iter().find(|run| run.number == of_run).expect("it was said");
            assert_eq!(sender.said.get(number as usize - 1), Some(&message.payload), "what was said");
            assert!(seen.insert(&message.payload), "{node} was delivered {from}/{of_run}/{number} twice");
            let last = last.insert((from, of_run), number).unwrap_or(0);
            assert!(number > last, "{node} was delivered {from}/{of_run}/{number} after {last}");
        }
        for (payload, reason) in &run.undelivered {
            assert!(!seen.contains(payload), "delivered and said not to be");
            assert!(run.said.contains(payload));
            let others = self.all_runs().flat_map(|(_, run)| &run.views).flat_map(|(_, delivered)| delivered);
            let elsewhere = others.into_iter().any(|message| message.payload == *payload);
            let is_possible = *reason == Undelivered::Leaving || elsewhere == (*reason == Undelivered::Elsewhere);
            assert!(is_possible, "{reason:?}");
        }
        if settled && !run.ended {
            for payload in &run.said {
                let fate = usize::from(seen.contains(payload))
                    + run.undelivered.iter().filter(|(undelivered, _)| undelivered == payload).count();
                let what: (u32, u64, u64) = postcard::take_from_bytes(payload).unwrap().0;
                assert_eq!(fate, 1, "the sender learns the fate of {what:?}");
            }
        }
    }
}

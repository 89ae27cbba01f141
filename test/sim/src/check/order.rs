//! Views, leaders and the total order: what membership promised to each node, held against what it promised to the others.

use super::same::Same;
use super::{Rule, Verdict};
use hakudo_base::NodeId;
use hakudo_cib::Document;
use hakudo_membership::{Delivered, View, ViewId};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many documents of a view are kept, one for each of the newest messages: a node that lags further behind than this is
/// not compared until it has caught up.
const KEPT: usize = 64;

/// Everything that was said in one view, as its first hearer heard it.
#[derive(Debug)]
struct ViewLog {
    view: View,
    order: Vec<u64>,
    /// Who acted as leader.
    acted: Option<usize>,
    /// The documents after the newest messages: how many messages, who held it first, and the document.
    documents: VecDeque<(usize, usize, Document)>,
}

/// Where a node process stands.
#[derive(Debug)]
struct Place {
    view: View,
    heard: usize,
    before: Option<(ViewId, usize)>,
}

/// The checker of views, leaders and order.
#[derive(Debug, Default)]
pub(crate) struct Order {
    views: BTreeMap<ViewId, ViewLog>,
    places: BTreeMap<usize, Place>,
    /// For each node the last view it installed, restarts included.
    newest: BTreeMap<usize, ViewId>,
    /// The members of each view that a node was in, by node and epoch, restarts included.
    members: BTreeMap<(usize, u64), Vec<NodeId>>,
    same: Same,
}

impl Order {
    /// The node process ended: it is in no view any more.
    pub(crate) fn gone(&mut self, node: usize) {
        self.places.remove(&node);
    }

    /// The view in which a node is.
    pub(crate) fn view_of(&self, node: usize) -> Option<&View> {
        self.places.get(&node).map(|place| &place.view)
    }

    /// A node is about to install a view, and its disk has epochs up to `limit`: after a restart the node would use one
    /// above it again.
    pub(crate) fn reserved(node: usize, epoch: u64, limit: u64) -> Verdict {
        if epoch <= limit {
            return Ok(());
        }
        Err((Rule::TotalOrder, format!("n{}: view {epoch} while its disk has epochs up to {limit} only", node + 1)))
    }

    /// The members of the view of `epoch` that a node is or was in.
    pub(crate) fn members_in(&self, node: usize, epoch: u64) -> Option<&[NodeId]> {
        self.members.get(&(node, epoch)).map(Vec::as_slice)
    }

    /// A node installed a view. `own` is the node's number in the cluster.
    pub(crate) fn installed(&mut self, node: usize, own: NodeId, view: &View) -> Verdict {
        let broken = |text: String| Err((Rule::TotalOrder, format!("n{}: {text}", node + 1)));
        if !view.members.contains(&own) || !view.members.contains(&view.leader()) || !view.together.contains(&own) {
            return broken(format!("view {:?} without the node itself or its leader: {view:?}", view.id));
        }
        if !view.members.is_sorted() || view.together.iter().any(|id| !view.members.contains(id)) {
            return broken(format!("view with muddled members: {view:?}"));
        }
        if let Some(newest) = self.newest.get(&node)
            && *newest >= view.id
        {
            return broken(format!("view {:?} after {newest:?}", view.id));
        }
        let log = self.views.entry(view.id).or_insert_with(|| ViewLog {
            view: view.clone(),
            order: Vec::new(),
            acted: None,
            documents: VecDeque::new(),
        });
        let same = |a: &View| (a.members.clone(), a.quorate, a.exclusive);
        if same(&log.view) != same(view) {
            return broken(format!("view {:?} is {view:?} here and {:?} elsewhere", view.id, log.view));
        }
        self.newest.insert(node, view.id);
        self.members.insert((node, view.id.epoch), view.members.clone());
        let before = self.places.remove(&node).map(|place| (place.view.id, place.heard));
        self.places.insert(node, Place { view: view.clone(), heard: 0, before });
        self.check_together(node, own)?;
        self.check_exclusive(node)
    }

    /// Nodes that came together from a view heard the same in it.
    fn check_together(&self, node: usize, own: NodeId) -> Verdict {
        let here = &self.places[&node];
        for (other, there) in
            self.places.iter().filter(|(other, there)| **other != node && there.view.id == here.view.id)
        {
            let other_id = NodeId(*other as u32 + 1);
            let claimed = here.view.together.contains(&other_id);
            if claimed != there.view.together.contains(&own) {
                let text = format!(
                    "n{} and n{} disagree on whether they come together into {:?}",
                    node + 1,
                    other + 1,
                    here.view.id
                );
                return Err((Rule::TotalOrder, text));
            }
            if claimed && here.before != there.before {
                let text = format!(
                    "n{} and n{} come together into {:?}, but from {:?} and {:?} (view, messages heard)",
                    node + 1,
                    other + 1,
                    here.view.id,
                    here.before,
                    there.before
                );
                return Err((Rule::TotalOrder, text));
            }
        }
        Ok(())
    }

    /// Two quorate views that call themselves exclusive have a common member.
    fn check_exclusive(&self, node: usize) -> Verdict {
        let here = &self.places[&node].view;
        let exclusive = |view: &View| view.quorate && view.exclusive;
        for (other, there) in &self.places {
            let disjoint = here.members.iter().all(|id| !there.view.members.contains(id));
            if exclusive(here) && exclusive(&there.view) && disjoint {
                let text = format!("n{} is in {here:?}, n{} in {:?}", node + 1, other + 1, there.view);
                return Err((Rule::Quorum, text));
            }
        }
        Ok(())
    }

    /// A message reached a node.
    pub(crate) fn delivered(&mut self, node: usize, message: &Delivered) -> Verdict {
        let Some(place) = self.places.get_mut(&node) else {
            return Err((Rule::TotalOrder, format!("n{} is told something before its first view", node + 1)));
        };
        let mut hasher = DefaultHasher::new();
        (message.from, &message.payload).hash(&mut hasher);
        let digest = hasher.finish();
        let Some(log) = self.views.get_mut(&place.view.id) else { return Ok(()) };
        let number = place.heard;
        place.heard += 1;
        if !log.view.members.contains(&message.from) {
            return Err((
                Rule::TotalOrder,
                format!("n{} hears n{}, no member of {:?}", node + 1, message.from, log.view.id),
            ));
        }
        match log.order.get(number) {
            None => log.order.push(digest),
            Some(first) if *first == digest => {}
            Some(_) => {
                let text =
                    format!("message {number} of {:?} is another one at n{} than elsewhere", log.view.id, node + 1);
                return Err((Rule::TotalOrder, text));
            }
        }
        Ok(())
    }

    /// A node did what only a leader does.
    pub(crate) fn leads(&mut self, node: usize, own: NodeId) -> Verdict {
        let Some(place) = self.places.get(&node) else {
            return Err((Rule::OneLeader, format!("n{} leads without a view", node + 1)));
        };
        let id = place.view.id;
        if place.view.leader() != own {
            return Err((Rule::OneLeader, format!("n{} acts as leader in {id:?}", node + 1)));
        }
        let Some(log) = self.views.get_mut(&id) else { return Ok(()) };
        match log.acted.replace(node) {
            Some(other) if other != node => {
                Err((Rule::OneLeader, format!("n{} and n{} both lead {id:?}", other + 1, node + 1)))
            }
            _ => Ok(()),
        }
    }

    /// A node's document after it applied `count` messages of a view.
    pub(crate) fn holds(&mut self, node: usize, id: ViewId, count: usize, document: &Document) -> Verdict {
        let Some(log) = self.views.get_mut(&id) else { return Ok(()) };
        if let Some((_, other, theirs)) = log.documents.iter().rev().find(|(at, ..)| *at == count) {
            if self.same.documents(theirs, document) {
                return Ok(());
            }
            let text = format!(
                "n{} and n{} applied {count} messages of {id:?}; {}",
                other + 1,
                node + 1,
                first_difference(theirs.root(), document.root(), String::new())
            );
            return Err((Rule::SameDocument, text));
        }
        if log.documents.back().is_none_or(|(newest, ..)| *newest < count) {
            log.documents.push_back((count, node, document.clone()));
            if log.documents.len() > KEPT {
                log.documents.pop_front();
            }
        }
        Ok(())
    }
}

/// Where two elements first differ, as a path.
fn first_difference(a: &hakudo_cib::Element, b: &hakudo_cib::Element, above: String) -> String {
    let path = format!("{above}/{}[{}]", a.name(), a.id());
    if a.name() != b.name() || a.attributes() != b.attributes() {
        let show = |e: &hakudo_cib::Element| {
            e.attributes().iter().map(|a| format!(" {}={:?}", a.name, a.value)).collect::<String>()
        };
        return format!("{path}: <{}{}> against <{}{}>", a.name(), show(a), b.name(), show(b));
    }
    for (left, right) in a.children().zip(b.children()) {
        if left != right {
            return first_difference(left, right, path);
        }
    }
    format!("{path}: {} children against {}", a.nodes().len(), b.nodes().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(epoch: u64, leader: u32, members: &[u32]) -> View {
        let members: Vec<NodeId> = members.iter().copied().map(NodeId).collect();
        let id = ViewId { epoch, leader };
        View { id, together: members.clone(), members, left: Vec::new(), quorate: true, exclusive: true }
    }

    fn message(from: u32, text: &str) -> Delivered {
        Delivered { from: NodeId(from), payload: text.as_bytes().to_vec() }
    }

    #[test]
    fn two_views_of_one_name_are_caught() {
        let mut order = Order::default();
        order.installed(0, NodeId(1), &view(1, 1, &[1, 2])).unwrap();
        assert_eq!(order.installed(1, NodeId(2), &view(1, 1, &[1, 2, 3])).unwrap_err().0, Rule::TotalOrder);
    }

    #[test]
    fn an_epoch_that_is_not_on_the_disk_is_caught() {
        Order::reserved(0, 64, 64).unwrap();
        assert_eq!(Order::reserved(0, 65, 64).unwrap_err().0, Rule::TotalOrder);
    }

    #[test]
    fn messages_in_another_order_are_caught() {
        let mut order = Order::default();
        for node in 0..2 {
            order.installed(node, NodeId(node as u32 + 1), &view(1, 1, &[1, 2])).unwrap();
        }
        order.delivered(0, &message(1, "a")).unwrap();
        order.delivered(0, &message(2, "b")).unwrap();
        order.delivered(1, &message(1, "a")).unwrap();
        assert_eq!(order.delivered(1, &message(2, "c")).unwrap_err().0, Rule::TotalOrder);
    }

    #[test]
    fn a_node_that_missed_a_message_does_not_come_together_with_one_that_heard_it() {
        let mut order = Order::default();
        for node in 0..2 {
            order.installed(node, NodeId(node as u32 + 1), &view(1, 1, &[1, 2])).unwrap();
        }
        order.delivered(0, &message(1, "a")).unwrap();
        order.installed(0, NodeId(1), &view(2, 1, &[1, 2])).unwrap();
        assert_eq!(order.installed(1, NodeId(2), &view(2, 1, &[1, 2])).unwrap_err().0, Rule::TotalOrder);
    }

    #[test]
    fn quorate_views_without_a_common_member_are_caught() {
        let mut order = Order::default();
        order.installed(0, NodeId(1), &view(1, 1, &[1])).unwrap();
        assert_eq!(order.installed(1, NodeId(2), &view(2, 2, &[2])).unwrap_err().0, Rule::Quorum);
    }

    #[test]
    fn a_second_leader_is_caught() {
        let mut order = Order::default();
        for node in 0..2 {
            order.installed(node, NodeId(node as u32 + 1), &view(1, 1, &[1, 2])).unwrap();
        }
        order.leads(0, NodeId(1)).unwrap();
        assert_eq!(order.leads(1, NodeId(2)).unwrap_err().0, Rule::OneLeader);
    }

    #[test]
    fn documents_that_differ_after_the_same_messages_are_caught() {
        let mut order = Order::default();
        let document = |text: &str| Document::parse(text).unwrap();
        for node in 0..2 {
            order.installed(node, NodeId(node as u32 + 1), &view(1, 1, &[1, 2])).unwrap();
        }
        let id = ViewId { epoch: 1, leader: 1 };
        order.holds(0, id, 0, &document("<cib><a id='1'/></cib>")).unwrap();
        order.holds(0, id, 1, &document("<cib><a id='2'/></cib>")).unwrap();
        order.holds(1, id, 0, &document("<cib><a id='1'/></cib>")).unwrap();
        let (rule, text) = order.holds(1, id, 1, &document("<cib><a id='1'/></cib>")).unwrap_err();
        assert_eq!(rule, Rule::SameDocument);
        assert!(text.contains("/cib[]/a[2]"), "{text}");
    }
}

//! What a side without quorum does, by `no-quorum-policy` (Pacemaker Explained, "Cluster Options").
//!
//! A side is *at rest* when its leader wants nothing more. Then
//! - `stop`: nothing is active on it;
//! - `demote`: nothing is promoted, and nothing is active but copies of promotable resources;
//! - `fence`: it had never had quorum since its leader was started, and is as with `stop`: otherwise it does not come to rest,
//!   but to an end;
//! - `freeze`: nothing began on it since it lost quorum that was not active, or promoted, or ordered to be, somewhere on it then.
//!
//! With `ignore` it does as it likes; the other rules look on. Where nobody is ever fenced, `fence` is the same as `stop`.
//!
//! What an agent could not stop is left alone where nobody can fence, with all that is stopped only after it; what is unmanaged or
//! in maintenance always is; and of what the configuration does not name (it was removed, or a disk lost it) nobody can say what it
//! is.

use super::settled::{is_maintained, is_true, value};
use super::{Rule, Service, Verdict};
use hakudo_cib::{Document, Element};
use hakudo_membership::ViewId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Stop,
    Freeze,
    Ignore,
    Demote,
    Fence,
}

fn policy(cib: &Document) -> Policy {
    let options = cib.section(&["configuration", "crm_config"]);
    let option = |name| options.and_then(|options| value(options, "cluster_property_set", name));
    let fences = option("fencing-enabled").is_none_or(|text| is_true(Some(text)));
    match option("no-quorum-policy") {
        Some("freeze") => Policy::Freeze,
        Some("ignore") => Policy::Ignore,
        Some("demote") => Policy::Demote,
        Some("fence" | "suicide") if fences => Policy::Fence,
        _ => Policy::Stop,
    }
}

/// A node of a side that is at rest.
pub(crate) struct Resting<'a> {
    pub(crate) name: &'a str,
    /// What really runs there.
    pub(crate) services: &'a BTreeMap<String, Service>,
}

/// The checker of sides without quorum.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    /// Primitives by node, and what each may be, or soon again be: what was begun there and not ended since.
    begun: BTreeMap<usize, BTreeMap<String, Service>>,
    /// What the primitives of a node were when it lost quorum, or came to a side without it.
    before: BTreeMap<usize, BTreeMap<String, Service>>,
    /// Nodes whose process was part of a quorate side that made plans.
    had_quorum: BTreeSet<usize>,
    /// By leader, the last view without quorum in which it made a plan: what its first one knew to be under way was ordered before.
    planned: BTreeMap<usize, ViewId>,
    /// Nodes whose process has left, and may not have ended yet.
    left: BTreeSet<usize>,
    /// Primitives by node whose last stop or demotion failed.
    stuck: BTreeSet<(usize, String)>,
}

impl Sides {
    /// The machine lost power.
    pub(crate) fn off(&mut self, node: usize) {
        self.begun.remove(&node);
        self.stuck.retain(|(stuck, _)| *stuck != node);
        self.gone(node);
    }

    /// The node process ended.
    pub(crate) fn gone(&mut self, node: usize) {
        self.before.remove(&node);
        self.had_quorum.remove(&node);
        self.left.remove(&node);
    }

    /// The node leaves, with nothing left to do: there is no reason to fence it any more, and nothing may be active on it.
    pub(crate) fn leaves(&mut self, node: usize) {
        self.left.insert(node);
    }

    /// The node is in a view now.
    pub(crate) fn enters(&mut self, node: usize, quorate: bool) {
        if quorate {
            self.before.remove(&node);
        } else if !self.before.contains_key(&node) {
            self.before.insert(node, self.begun.get(&node).cloned().unwrap_or_default());
        }
    }

    /// The node made a plan for a side that has quorum.
    pub(crate) fn leads_with_quorum(&mut self, node: usize) {
        self.had_quorum.insert(node);
    }

    /// A plan is made by `leader` in a view that has quorum by the votes. Where it acts without, it is because it lost, before they
    /// agreed, who may know more: that can be only where another view may have quorum, too, and not once it has led with quorum.
    pub(crate) fn leads_without_quorum(&self, leader: usize, exclusive: bool) -> Verdict {
        if exclusive || self.had_quorum.contains(&leader) {
            let text = format!("n{} acts without quorum in a view that has it", leader + 1);
            return Err((Rule::WithoutQuorum, text));
        }
        Ok(())
    }

    /// A plan is made by `leader` with `cib` in a view without quorum.
    pub(crate) fn plans_without_quorum(&mut self, leader: usize, view: ViewId, cib: &Document) {
        if self.planned.insert(leader, view) == Some(view) {
            return;
        }
        let Some(before) = self.before.get_mut(&leader) else { return };
        let resources = cib.section(&["status"]).into_iter().flat_map(Element::descendants);
        for resource in resources.filter(|element| element.name() == "lrm_resource") {
            let under_way = resource.children().filter(|operation| operation.attribute("op-status") == Some("-1"));
            let becomes = under_way.filter_map(|operation| match operation.attribute("operation") {
                Some("start") => Some(Service::Started),
                Some("promote") => Some(Service::Promoted),
                _ => None,
            });
            if let Some(becomes) = becomes.max() {
                // Wherever it is: what one member had, the side had.
                let service = before.entry(resource.id().to_owned()).or_default();
                *service = (*service).max(becomes);
            }
        }
    }

    /// A start or a promotion begins on a node. `members` are the nodes of the side, where that has no quorum.
    pub(crate) fn begins(
        &mut self,
        node: usize,
        primitive: &str,
        becomes: Service,
        side: Option<(&[usize], &Document)>,
    ) -> Verdict {
        let held = |nodes: &BTreeMap<usize, BTreeMap<String, Service>>, member: &usize| {
            nodes.get(member).and_then(|all| all.get(primitive)).copied().unwrap_or_default()
        };
        let new = side.filter(|(_, cib)| policy(cib) == Policy::Freeze).is_some_and(|(members, _)| {
            !members.iter().any(|member| held(&self.before, member).max(held(&self.begun, member)) >= becomes)
        });
        let service = self.begun.entry(node).or_default().entry(primitive.to_owned()).or_default();
        *service = (*service).max(becomes);
        if !new {
            return Ok(());
        }
        let what = if becomes == Service::Promoted { "promoted" } else { "started" };
        let text = format!("{primitive} is being {what} on n{}, whose side is frozen and had it nowhere", node + 1);
        Err((Rule::WithoutQuorum, text))
    }

    /// A stop or a demotion ended.
    pub(crate) fn ended(&mut self, node: usize, primitive: &str, leaves: Service, well: bool) {
        let place = (node, primitive.to_owned());
        if !well {
            self.stuck.insert(place);
            return;
        }
        self.stuck.remove(&place);
        if let Some(service) = self.begun.get_mut(&node).and_then(|all| all.get_mut(primitive)) {
            *service = (*service).min(leaves);
        }
    }

    /// The side led by `leader` has no quorum, and its leader wants nothing more.
    pub(crate) fn at_rest(&self, leader: usize, cib: &Document, side: &[(usize, Resting<'_>)]) -> Verdict {
        let broken = |text: String| Err((Rule::WithoutQuorum, text));
        let policy = policy(cib);
        if matches!(policy, Policy::Ignore | Policy::Freeze) {
            return Ok(());
        }
        let nodes = cib.section(&["configuration", "nodes"]).into_iter().flat_map(Element::children);
        let maintained: Vec<&str> =
            nodes.filter(|node| is_maintained(cib, node)).filter_map(|node| node.attribute("uname")).collect();
        let has_lost_it = self.had_quorum.contains(&leader) && !self.left.contains(&leader);
        if policy == Policy::Fence && has_lost_it && maintained.is_empty() {
            return broken(format!("n{} lost quorum and is to be fenced, and is at rest", leader + 1));
        }
        let on_side = self.stuck.iter().filter(|(stuck, _)| side.iter().any(|(node, _)| node == stuck));
        let kept = stopped_after(cib, on_side.map(|(node, primitive)| (*node, primitive.as_str())));
        let waits =
            |node: usize, primitive: &str| kept.contains(&(None, primitive)) || kept.contains(&(Some(node), primitive));
        for (node, Resting { name, services }) in side.iter().filter(|(_, node)| !maintained.contains(&node.name)) {
            for (primitive, service) in services.iter().filter(|(primitive, _)| {
                is_managed(cib, primitive) && !self.stuck.contains(&(*node, (*primitive).clone()))
            }) {
                // What must be stopped after something else is demoted all the same.
                let allowed = match policy {
                    _ if waits(*node, primitive) => Service::Started,
                    Policy::Demote if is_promotable(cib, primitive) => Service::Started,
                    _ => Service::Stopped,
                };
                if *service > allowed {
                    let is = if *service == Service::Promoted { "promoted" } else { "active" };
                    return broken(format!("{primitive} is {is} on {name}, whose side has no quorum and is at rest"));
                }
            }
        }
        Ok(())
    }
}

/// The resource, not in any other, that is or has a primitive.
fn top<'a>(cib: &'a Document, primitive: &str) -> Option<&'a Element> {
    let resources = cib.section(&["configuration", "resources"])?;
    resources.children().find(|top| top.id() == primitive || top.descendants().any(|inner| inner.id() == primitive))
}

/// The primitives that are stopped only after one of these, with their nodes: members of its group before it, on the same node, and
/// what an order puts first, on any (none).
fn stopped_after<'a>(
    cib: &'a Document,
    stuck: impl Iterator<Item = (usize, &'a str)>,
) -> BTreeSet<(Option<usize>, &'a str)> {
    let constraints = cib.section(&["configuration", "constraints"]).into_iter().flat_map(Element::children);
    let orders: Vec<(&str, &str)> = constraints
        .filter(|constraint| constraint.name() == "rsc_order")
        .filter_map(|order| Some((order.attribute("first")?, order.attribute("then")?)))
        .filter(|(first, then)| first != then)
        .collect();
    let mut waiting: Vec<(Option<usize>, &str)> = stuck.map(|(node, primitive)| (Some(node), primitive)).collect();
    let mut after = BTreeSet::new();
    while let Some((node, primitive)) = waiting.pop() {
        let Some(top) = top(cib, primitive) else { continue };
        let is_in = |element: &Element| element.children().any(|member| member.id() == primitive);
        let group =
            [top].into_iter().chain(top.descendants()).find(|element| element.name() == "group" && is_in(element));
        let before = group.into_iter().flat_map(Element::children).take_while(|member| member.id() != primitive);
        let first = orders.iter().filter(|(_, then)| *then == top.id()).filter_map(|(first, _)| self::top(cib, first));
        let first = first.flat_map(|first| [first].into_iter().chain(first.descendants()));
        let more = before.map(|element| (node, element)).chain(first.map(|element| (None, element)));
        for (node, element) in more.filter(|(_, element)| element.name() == "primitive") {
            if after.insert((node, element.id())) {
                waiting.push((node, element.id()));
            }
        }
    }
    after
}

fn is_promotable(cib: &Document, primitive: &str) -> bool {
    top(cib, primitive).is_some_and(|top| is_true(value(top, "meta_attributes", "promotable")))
}

fn is_managed(cib: &Document, primitive: &str) -> bool {
    let managed = |top| value(top, "meta_attributes", "is-managed");
    top(cib, primitive).is_some_and(|top| managed(top).is_none_or(|text| is_true(Some(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cib(policy: &str) -> Document {
        Document::parse(&format!(
            "<cib><configuration><crm_config><cluster_property_set id='o'><nvpair id='p' name='no-quorum-policy' \
             value='{policy}'/></cluster_property_set></crm_config><nodes><node id='1' uname='n1'/></nodes><resources>\
             <primitive id='a'/><clone id='c'><meta_attributes id='m'><nvpair id='r' name='promotable' value='true'/>\
             </meta_attributes><primitive id='p'/></clone></resources></configuration></cib>"
        ))
        .unwrap()
    }

    fn rest(sides: &Sides, policy: &str, primitive: &str, service: Service) -> bool {
        let services = BTreeMap::from([(primitive.to_owned(), service)]);
        sides.at_rest(0, &cib(policy), &[(0, Resting { name: "n1", services: &services })]).is_ok()
    }

    #[test]
    fn each_policy_leaves_what_it_may() {
        let mut sides = Sides::default();
        let left = |sides: &Sides, policy| {
            [("a", Service::Started), ("p", Service::Started), ("p", Service::Promoted)]
                .map(|(primitive, service)| rest(sides, policy, primitive, service))
        };
        assert_eq!(left(&sides, "stop"), [false, false, false]);
        assert_eq!(left(&sides, "fence"), [false, false, false]);
        assert_eq!(left(&sides, "demote"), [false, true, false]);
        assert_eq!(left(&sides, "freeze"), [true, true, true]);
        assert_eq!(left(&sides, "ignore"), [true, true, true]);
        assert!(rest(&sides, "fence", "a", Service::Stopped));
        sides.leads_with_quorum(0);
        assert!(!rest(&sides, "fence", "a", Service::Stopped));
        sides.ended(0, "a", Service::Stopped, false);
        assert!(rest(&sides, "stop", "a", Service::Started));
        sides.ended(0, "a", Service::Stopped, true);
        assert!(!rest(&sides, "stop", "a", Service::Started));
    }

    #[test]
    fn what_waits_for_a_stop_that_failed_is_excused_and_nothing_else() {
        let cib = Document::parse(
            "<cib><configuration><resources><primitive id='a'/><clone id='c'><group id='g'><primitive id='g1'/><primitive id='g2'/>\
             <primitive id='g3'/></group></clone><primitive id='z'/></resources><constraints><rsc_order id='o' first='a' \
             then='c'/><rsc_order id='p' first='c' then='z'/></constraints></configuration></cib>",
        )
        .unwrap();
        let after = |stuck: &'static str| stopped_after(&cib, [(7, stuck)].into_iter()).into_iter().collect::<Vec<_>>();
        assert_eq!(after("g2"), [(None, "a"), (Some(7), "g1")]);
        assert_eq!(after("z"), [(None, "a"), (None, "g1"), (None, "g2"), (None, "g3")]);
        assert!(after("a").is_empty());
    }

    #[test]
    fn a_frozen_side_begins_nothing_that_it_did_not_have() {
        let mut sides = Sides::default();
        let frozen = cib("freeze");
        let side = Some((&[0, 1][..], &frozen));
        sides.begins(1, "a", Service::Started, None).unwrap();
        sides.enters(0, false);
        sides.enters(1, false);
        sides.ended(1, "a", Service::Stopped, true);
        sides.begins(0, "a", Service::Started, side).unwrap();
        assert_eq!(sides.begins(0, "p", Service::Started, side).unwrap_err().0, Rule::WithoutQuorum);
        assert_eq!(sides.begins(0, "a", Service::Promoted, side).unwrap_err().0, Rule::WithoutQuorum);
        sides.enters(0, true);
        sides.off(1);
        sides.enters(1, false);
        assert!(sides.begins(1, "a", Service::Started, Some((&[1], &frozen))).is_err());
        assert!(sides.begins(1, "b", Service::Started, Some((&[1], &cib("ignore")))).is_ok());
    }
}

//! Members that may know of more than this node does.
//!
//! A node that was started takes over what the others have. Where it meets them and loses them again before all have agreed, it
//! is left with what its disk holds, which may lack what they acknowledged while it was away. In a view that is the only quorate
//! one that does no harm: somebody there knows it. But a rule that lets both halves of a view go on (`two_node`, or a
//! `last_man_standing` that has forgotten the others) gives quorum to such a node, too. It does not act on that: as long as nobody
//! on its side knows all, the side is without quorum. It waits for those that it missed, as `wait_for_all` waits for nodes that it
//! never saw: to have seen them is not enough, one must know what they know. An operator may say that they are gone for good.
//!
//! Who knew all once goes on from there: nothing is acknowledged without it before it is known to be dead, and then another
//! life of it begins with a start.

use crate::controller::Controller;
use crate::core_types::Effect;
use hakudo_base::{NodeId, Severity};
use hakudo_membership::View;
use std::collections::BTreeSet;

/// What it is called where alerts are kept.
pub(crate) const ALERT: &str = "missed members";

/// Whom this node missed since its start.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    nodes: BTreeSet<NodeId>,
    /// It has agreed, since its start, with members of a quorate view that missed nobody.
    knows_all: bool,
    /// What the quorum rule says of the view: that it is quorate, that it is the only one.
    granted: (bool, bool),
}

impl Missed {
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        self.nodes.clone()
    }

    /// What the others are told: nothing by who knows all.
    pub(crate) fn told(&self) -> Option<BTreeSet<NodeId>> {
        (!self.knows_all).then(|| self.nodes.clone())
    }
}

impl Controller {
    /// True where this side waits for members that may know of more.
    pub fn misses_somebody(&self) -> bool {
        let (quorate, exclusive) = self.missed.granted;
        quorate && !exclusive && !self.missed.nodes.is_empty()
    }

    /// The view gives way to `next`: who is not in that, and was not heard to know no more than this node, is missed.
    pub(crate) fn note_who_is_missed(&mut self, next: &View) {
        self.missed.granted = (next.quorate, next.exclusive);
        self.missed.nodes.retain(|node| !next.members.contains(node));
        if self.synced || self.missed.knows_all {
            return;
        }
        let own = self.replica.standing();
        let may_know_more = |node: &NodeId| self.hellos.get(node).is_none_or(|hello| hello.standing > own);
        let former = self.view.iter().flat_map(|view| &view.members).copied();
        let gone = former.filter(|node| *node != self.local && !next.members.contains(node));
        self.missed.nodes.extend(gone.filter(may_know_more).collect::<Vec<_>>());
    }

    /// The members have agreed: what one knows, all know. `told` is what each of them said of whom it missed.
    pub(crate) fn learn_who_is_missed(&mut self, told: &[Option<BTreeSet<NodeId>>]) {
        let all_told: Option<Vec<&BTreeSet<NodeId>>> = told.iter().map(Option::as_ref).collect();
        let somebody_knows_all = all_told.is_none();
        let missed = all_told.into_iter().flatten().flatten().copied().filter(|node| !self.is_member(*node));
        self.missed.nodes = missed.collect();
        self.missed.knows_all = somebody_knows_all;
        self.know_all();
        self.weigh_quorum();
    }

    /// Who agrees in a quorate view, and misses nobody, knows all from now on, whoever comes and goes later.
    pub(crate) fn know_all(&mut self) {
        self.missed.knows_all |= self.missed.granted.0 && !self.misses_somebody();
        if self.missed.knows_all {
            self.missed.nodes.clear();
        }
    }

    /// The view has quorum only where nobody is missed, or it is the only one.
    pub(crate) fn weigh_quorum(&mut self) {
        let quorate = self.missed.granted.0 && !self.misses_somebody();
        if let Some(view) = &mut self.view {
            view.quorate = quorate;
        }
    }

    fn names_of(&self, nodes: &BTreeSet<NodeId>) -> String {
        nodes.iter().map(|node| self.name(*node)).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn tell_who_is_missed(&mut self, effects: &mut Vec<Effect>) {
        if !self.misses_somebody() {
            return self.no_alert(ALERT);
        }
        let names = self.names_of(&self.missed.nodes);
        let text = format!(
            "{names} may know of changes that nobody here knows of: contact was lost before all had agreed. This side has no \
             quorum before it hears of them; where they are gone for good: hakudo cluster quorum --cancel-wait-for-all"
        );
        if !self.alerts.contains_key(ALERT) {
            effects.push(Effect::Event(self.event("missed-members", Severity::Error, text.clone())));
        }
        self.alert(ALERT, Severity::Error, text);
    }

    /// An operator says that `nodes`, which were missed when he looked, are gone for good.
    pub(crate) fn hear_nobody_is_missed(&mut self, user: &str, nodes: &BTreeSet<NodeId>, effects: &mut Vec<Effect>) {
        if !self.missed.nodes.iter().any(|node| nodes.contains(node)) {
            return;
        }
        let names = self.names_of(nodes);
        let text = format!("{user} says that {names} will not come back: what only they knew is given up");
        effects.push(Effect::Event(self.event("missed-members", Severity::Warning, text)));
        self.missed.nodes.retain(|node| !nodes.contains(node));
        self.weigh_quorum();
        self.agreed(effects);
    }
}

//! The walk through a transition graph: which steps may begin now, which are on their way, what is left.
//!
//! Nothing is decided here. A step begins when all that it waits for ended well, and as many as the limits allow are on
//! their way at once. Once the walk is *aborted* no step begins any more, except those of a higher priority than the
//! reason of the abort (Pacemaker gives notifications that must not be torn apart such a priority).

use hakudo_base::Instant;
use hakudo_scheduler::{Action, ActionId, ActionKind, Transition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Resource actions on their way to one node at once where `batch-limit` leaves it open. More than any executor runs at
/// once, so that none ever waits for its leader; few enough that a new plan does not wait long for the old one.
const PER_NODE: usize = 64;

/// The priority that nothing has: an abort with it stops all.
pub(crate) const EVERYTHING: i32 = i32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Flying,
    Done,
    Failed,
}

#[derive(Debug)]
pub(crate) struct Walk {
    transition: Box<Transition>,
    /// The number of this plan among the leader's.
    pub(crate) number: u64,
    index: BTreeMap<ActionId, usize>,
    dependents: BTreeMap<ActionId, Vec<usize>>,
    missing: Vec<usize>,
    state: Vec<State>,
    lanes: Vec<Lane>,
    /// For each step the lane in which it waits for a place.
    lane: Vec<usize>,
    load: Load,
    per_node: Option<usize>,
    /// Steps that wait for nothing but a free place: higher priority first, then in the order of the graph. Where one of
    /// a lane finds no place, no other of that lane does, so that thousands that wait cost nothing.
    ready: Vec<BTreeSet<Place>>,
    flying: BTreeMap<usize, Flight>,
    /// Only steps with a higher priority than this begin.
    stopped_below: Option<i32>,
    failed: bool,
}

/// A step's place in its lane.
type Place = (std::cmp::Reverse<i32>, usize);

/// An action on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    begun: Instant,
    /// Without a sign of its node for so long it is given up.
    patience: Option<Duration>,
}

impl Walk {
    /// At most `per_node` resource actions are on their way to a node at once.
    pub(crate) fn new(number: u64, transition: Box<Transition>, per_node: Option<usize>) -> Self {
        let steps = &transition.synapses;
        let index: BTreeMap<ActionId, usize> = steps.iter().enumerate().map(|(at, s)| (s.action.id, at)).collect();
        let mut dependents: BTreeMap<ActionId, Vec<usize>> = BTreeMap::new();
        let mut missing = Vec::with_capacity(steps.len());
        let (lanes, lane) = lanes(&transition);
        let mut ready = vec![BTreeSet::new(); lanes.len()];
        for (at, step) in steps.iter().enumerate() {
            let inputs: BTreeSet<ActionId> = step.inputs.iter().copied().collect();
            for input in &inputs {
                dependents.entry(*input).or_default().push(at);
            }
            missing.push(inputs.len());
            if inputs.is_empty() {
                ready[lane[at]].insert((std::cmp::Reverse(step.priority), at));
            }
        }
        let state = vec![State::Waiting; steps.len()];
        Self {
            number,
            index,
            dependents,
            missing,
            state,
            lanes,
            lane,
            load: Load::default(),
            per_node,
            ready,
            flying: BTreeMap::new(),
            stopped_below: None,
            failed: false,
            transition,
        }
    }

    pub(crate) fn transition(&self) -> &Transition {
        &self.transition
    }

    /// The action with this number.
    pub(crate) fn action(&self, id: ActionId) -> Option<&Action> {
        self.index.get(&id).map(|at| &self.transition.synapses[*at].action)
    }

    /// Begins all steps that may begin now; points without work are passed on the way. What is to be done comes back.
    pub(crate) fn begin(&mut self, now: Instant) -> Vec<ActionId> {
        let mut begun = Vec::new();
        let mut full = vec![false; self.ready.len()];
        while let Some((_, at)) = self.next(&full) {
            let action = &self.transition.synapses[at].action;
            let id = action.id;
            if is_point(action) {
                self.leave_lane(at);
                self.end(at, State::Done);
            } else if self.load.admits(self.lanes[self.lane[at]], &self.transition, self.per_node) {
                self.load.add(self.lanes[self.lane[at]]);
                self.leave_lane(at);
                self.state[at] = State::Flying;
                self.flying.insert(at, Flight { begun: now, patience: None });
                begun.push(id);
            } else {
                full[self.lane[at]] = true;
            }
        }
        begun
    }

    /// The step that comes first of those in lanes that are not full.
    fn next(&self, full: &[bool]) -> Option<Place> {
        let open = self.ready.iter().zip(full).filter(|(_, full)| !**full);
        // Within a lane priorities only fall: if its first step may not begin, none may.
        open.filter_map(|(lane, _)| lane.first().copied().filter(|next| self.may_begin(next.1))).min()
    }

    fn leave_lane(&mut self, at: usize) {
        let place = self.place(at);
        self.ready[self.lane[at]].remove(&place);
    }

    fn place(&self, at: usize) -> Place {
        (std::cmp::Reverse(self.transition.synapses[at].priority), at)
    }

    fn may_begin(&self, at: usize) -> bool {
        self.stopped_below.is_none_or(|limit| self.transition.synapses[at].priority > limit)
    }

    /// How long a flying action is waited for.
    pub(crate) fn set_patience(&mut self, id: ActionId, patience: Duration) {
        if let Some(flight) = self.index.get(&id).and_then(|at| self.flying.get_mut(at)) {
            flight.patience = Some(patience);
        }
    }

    /// The node gave a sign of life: its actions are waited for anew.
    pub(crate) fn heard_from(&mut self, node: &str, now: Instant) {
        for (at, flight) in &mut self.flying {
            if self.transition.synapses[*at].action.performer().is_some_and(|performer| performer.name == node) {
                flight.begun = now;
            }
        }
    }

    /// A flying action is waited for once more from now.
    pub(crate) fn wait_again(&mut self, id: ActionId, now: Instant) {
        if let Some(flight) = self.index.get(&id).and_then(|at| self.flying.get_mut(at)) {
            flight.begun = now;
        }
    }

    /// The priority of an action's step.
    pub(crate) fn priority(&self, id: ActionId) -> i32 {
        self.index.get(&id).map_or(0, |at| self.transition.synapses[*at].priority)
    }

    /// When the next flying action is to be given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.flying.values().filter_map(|f| Some(f.begun + f.patience?)).min()
    }

    /// Flying actions that were waited for long enough.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<ActionId> {
        let late = |f: &Flight| f.patience.is_some_and(|patience| f.begun + patience <= now);
        self.flying.iter().filter(|(_, f)| late(f)).map(|(at, _)| self.transition.synapses[*at].action.id).collect()
    }

    /// The action ended well. False where it was not on its way.
    pub(crate) fn confirm(&mut self, id: ActionId) -> bool {
        self.land(id, State::Done)
    }

    /// The action failed: what waits for it will not begin.
    pub(crate) fn fail(&mut self, id: ActionId) -> bool {
        self.failed |= self.index.contains_key(&id);
        self.land(id, State::Failed)
    }

    fn land(&mut self, id: ActionId, state: State) -> bool {
        let Some(at) = self.index.get(&id).copied().filter(|at| self.flying.contains_key(at)) else { return false };
        self.end(at, state);
        true
    }

    fn end(&mut self, at: usize, state: State) {
        if self.flying.remove(&at).is_some() {
            self.load.remove(self.lanes[self.lane[at]]);
        }
        self.state[at] = state;
        if state != State::Done {
            return;
        }
        let id = self.transition.synapses[at].action.id;
        for dependent in self.dependents.get(&id).into_iter().flatten() {
            self.missing[*dependent] -= 1;
            if self.missing[*dependent] == 0 && self.state[*dependent] == State::Waiting {
                let place = (std::cmp::Reverse(self.transition.synapses[*dependent].priority), *dependent);
                self.ready[self.lane[*dependent]].insert(place);
            }
        }
    }

    /// No step of `priority` or less begins any more.
    pub(crate) fn abort(&mut self, priority: i32) {
        self.stopped_below = Some(self.stopped_below.map_or(priority, |old| old.max(priority)));
    }

    pub(crate) fn aborted(&self) -> bool {
        self.stopped_below.is_some()
    }

    /// Some action failed.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// The flying actions.
    pub(crate) fn flying(&self) -> impl Iterator<Item = &Action> {
        self.flying.keys().map(|at| &self.transition.synapses[*at].action)
    }

    /// What runs on the node is not known yet: a probe there has not ended.
    pub(crate) fn probes(&self, node: &str) -> bool {
        let is_probe = |action: &Action| {
            action.task == "monitor"
                && action.attributes.get("CRM_meta_interval").is_none_or(|interval| interval == "0")
        };
        let open = |state: State| matches!(state, State::Waiting | State::Flying);
        self.transition.synapses.iter().zip(&self.state).any(|(step, state)| {
            open(*state) && is_probe(&step.action) && step.action.node().is_some_and(|at| at.name == node)
        })
    }

    /// Nothing is on its way and nothing more will begin.
    pub(crate) fn finished(&self) -> bool {
        self.flying.is_empty() && self.next(&vec![false; self.ready.len()]).is_none()
    }

    /// Real actions of the whole graph.
    pub(crate) fn size(&self) -> u32 {
        let real = self.transition.synapses.iter().filter(|s| !is_point(&s.action));
        u32::try_from(real.count()).unwrap_or(u32::MAX)
    }

    /// The actions by key and node: two plans that want the same have the same.
    pub(crate) fn fingerprint(&self) -> Vec<(String, String)> {
        let key = |a: &Action| (a.key.clone(), a.node().map(|node| node.name.clone()).unwrap_or_default());
        let mut keys: Vec<_> = self.transition.synapses.iter().map(|s| key(&s.action)).collect();
        keys.sort();
        keys
    }
}

/// Steps that are limited alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    /// The node that carries resource actions out, by its number in this walk; none for steps that no limit counts.
    performer: Option<usize>,
    is_migration: bool,
}

/// The lanes of a graph, and the lane of each of its steps.
fn lanes(transition: &Transition) -> (Vec<Lane>, Vec<usize>) {
    let mut performers = BTreeMap::new();
    let mut lanes = BTreeMap::new();
    let mut lane_of = |action: &Action| {
        let next = performers.len();
        let performer = match action.kind {
            ActionKind::Resource { .. } => action.performer(),
            _ => None,
        };
        let performer = performer.map(|performer| *performers.entry(performer.name.clone()).or_insert(next));
        let next = lanes.len();
        *lanes.entry(Lane { performer, is_migration: is_migration(action) }).or_insert(next)
    };
    let lane: Vec<usize> = transition.synapses.iter().map(|step| lane_of(&step.action)).collect();
    let mut by_number: Vec<(usize, Lane)> = lanes.into_iter().map(|(lane, number)| (number, lane)).collect();
    by_number.sort_unstable();
    (by_number.into_iter().map(|(_, lane)| lane).collect(), lane)
}

/// What is on its way, counted as the limits count.
#[derive(Debug, Default)]
struct Load {
    all: usize,
    /// By the performer: all of its actions, and the migrations among them.
    nodes: BTreeMap<usize, (usize, usize)>,
}

impl Load {
    fn add(&mut self, lane: Lane) {
        let Some(performer) = lane.performer else { return };
        let (actions, migrations) = self.nodes.entry(performer).or_default();
        self.all += 1;
        *actions += 1;
        *migrations += usize::from(lane.is_migration);
    }

    fn remove(&mut self, lane: Lane) {
        let Some((actions, migrations)) = lane.performer.and_then(|performer| self.nodes.get_mut(&performer)) else {
            return;
        };
        self.all -= 1;
        *actions -= 1;
        *migrations -= usize::from(lane.is_migration);
    }

    fn admits(&self, lane: Lane, transition: &Transition, per_node: Option<usize>) -> bool {
        let Some(performer) = lane.performer else { return true };
        let (actions, migrations) = self.nodes.get(&performer).copied().unwrap_or_default();
        let room = match transition.batch_limit {
            0 => actions < per_node.unwrap_or(PER_NODE),
            limit => self.all < limit as usize && per_node.is_none_or(|limit| actions < limit),
        };
        room && !(lane.is_migration && transition.migration_limit.is_some_and(|limit| migrations >= limit as usize))
    }
}

/// A point in the graph without work of its own.
fn is_point(action: &Action) -> bool {
    matches!(action.kind, ActionKind::Pseudo | ActionKind::PseudoFencing { .. })
}

fn is_migration(action: &Action) -> bool {
    matches!(&*action.task, "migrate_to" | "migrate_from")
}

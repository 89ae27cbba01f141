//! The right to act: which part of a cluster that may have come apart is the cluster.
//!
//! The rule is that of Corosync's votequorum, with its options and their names. Its shape is our own: the state of the
//! rule belongs to a *view*, and is the same at each of its members.
//!
//! A view change has two halves. First every **group** (the nodes that come from one view) looks at whom it lost, and may
//! lose quorum by that. Then the groups meet. If one of them still is quorate, it is the cluster: the others take over
//! what it knows. If none is, the most careful of what they know counts: the highest number of expected votes, the newest
//! memory of who was there before a split, and no such memory at all if one of them has none. So a node with a stale or
//! an empty memory can hold quorum back, and can never give it.
//!
//! Invariants:
//! - All members of a view that were given the same reports hold the same state and give the same decision.
//! - Quorum is gained only in [`Quorum::members_changed`] and by an operator's word; the passing of time only lowers what
//!   a quorate side expects.
//! - With `wait_for_all`, being without quorum and waiting for all are the same thing; after a start every node waits.
//! - [`Decision::exclusive`] is said only where no view without a common member can be quorate at the same time, with
//!   votes as they are configured, and as long as no operator overrides the rule on the other side.

mod options;

pub use options::{DeviceOptions, MAXIMUM_VOTES, Options, OptionsError, TieBreaker};

use hakudo_base::{Instant, NodeId};
use options::Rules;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// What must survive a restart. That a node waits for all after a start needs no memory: each start begins so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persisted {
    /// The highest number of expected votes that was ever seen; kept and used only with `expected_votes_tracking`.
    pub highest_expected_votes: u32,
    /// The number of the last view with a majority, so that numbers go on growing: the newest memory of who was there
    /// before a split must be known as the newest. Kept and used only with `auto_tie_breaker`.
    pub majority_generation: u64,
}

/// What a node tells the others of itself in a view change: its votes, and the state of the rule in the view it comes
/// from. All members of the new view are given the reports of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    votes: u32,
    device: DeviceWord,
    state: State,
}

/// What the quorum device said to one node last. It goes through the order of messages, so that all members of a view
/// count the same votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWord {
    /// Grows with each word that this run of the node was given: what comes late changes nothing.
    number: u64,
    /// The device votes for the side of this node.
    votes: bool,
}

/// The state of the rule in one view, the same at each member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The members; none before the first view.
    members: Votes,
    /// How many votes there should be.
    expected: u32,
    /// Down to where `allow_downscale` may go: what was configured, or what an operator set.
    floor: u32,
    quorate: bool,
    /// More than two nodes were here: `two_node` is over.
    outgrew_two: bool,
    /// Members were lost that `last_man_standing` has not forgotten yet.
    loss_stands: bool,
    /// The last view that had more than half of the expected votes. Its halves may become rivals, and both remember it.
    majority: Majority,
}

/// Nodes with their votes.
type Votes = BTreeMap<NodeId, u32>;

/// A view with more than half of the expected votes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Majority {
    /// None where a node has no memory of it: since its start, or since it met such a node in a minority.
    members: Votes,
    /// Grows from each such view to the next: any two of them have a member in common, which carries it on.
    generation: u64,
}

/// Why a side has quorum, or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ground {
    /// More than half of the expected votes are here.
    Majority,
    /// One node of two, by `two_node`.
    TwoNode,
    /// Exactly half, with the tie-breaker.
    TieBreaker,
    /// The quorum device votes for this side, by `master_wins`.
    Device,
    /// Too few votes are here.
    TooFewVotes,
    /// `wait_for_all`: not all were seen since the start, or since quorum was lost.
    WaitingForAll,
}

impl Ground {
    /// Whether this gives quorum.
    pub fn grants(self) -> bool {
        matches!(self, Ground::Majority | Ground::TwoNode | Ground::TieBreaker | Ground::Device)
    }
}

/// The answer of the rule for the current view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// This view may run services.
    pub quorate: bool,
    /// No view without a common member can be quorate at the same time.
    pub exclusive: bool,
    /// The votes of the members, those of a device that votes for them among them.
    pub total_votes: u32,
    /// How many votes there should be.
    pub expected_votes: u32,
    /// How many votes are needed.
    pub needed: u32,
    /// Why.
    pub ground: Ground,
    /// What is switched on.
    pub flags: Flags,
}

/// What is switched on and holds, as `corosync-quorumtool -s` shows it in its line `Flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the option of the same name")]
pub struct Flags {
    pub two_node: bool,
    pub wait_for_all: bool,
    pub last_man_standing: bool,
    pub auto_tie_breaker: bool,
    pub allow_downscale: bool,
    pub device: bool,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total_votes: total, expected_votes: expected, needed, .. } = self;
        f.write_str(if self.quorate { "quorate: " } else { "no quorum: " })?;
        match self.ground {
            Ground::Majority => write!(f, "{total} of {expected} votes, {needed} needed"),
            Ground::TwoNode => write!(f, "{total} of {expected} votes, two_node"),
            Ground::TieBreaker => write!(f, "{total} of {expected} votes with the auto_tie_breaker node"),
            Ground::Device => write!(f, "{total} of {expected} votes with that of the quorum device, master_wins"),
            Ground::TooFewVotes => write!(f, "{total} of {expected} votes, {needed} needed"),
            Ground::WaitingForAll => write!(f, "{total} of {expected} votes, wait_for_all waits for the others"),
        }
    }
}

/// An operator's wish that cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OverrideError {
    /// Nothing is expected.
    #[error("expected votes must be at least 1")]
    Zero,
    /// With so many expected votes this side would lose quorum.
    #[error("expected votes {wanted} are too many: {present} votes are here, and {needed} would be needed for quorum")]
    TooMany {
        /// What was asked for.
        wanted: u32,
        /// Votes here.
        present: u32,
        /// What would be needed then.
        needed: u32,
    },
    /// `wait_for_all` is not what holds quorum back.
    #[error("wait_for_all is not waiting")]
    NotWaiting,
}

/// The quorum rule of one node.
#[derive(Clone, Debug)]
pub struct Quorum {
    rules: Rules,
    votes: u32,
    /// What the device said to this node last.
    device: DeviceWord,
    highest_expected: u32,
    state: State,
    /// The votes of the members of the current view.
    present: Votes,
    /// What the device said to the members of the current view.
    devices: BTreeMap<NodeId, DeviceWord>,
    ground: Ground,
    deadline: Option<Instant>,
}

impl Quorum {
    /// The rule for the node `me` of a cluster of `nodes` with their votes. A node outside the list has one vote.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn new(options: &Options, me: NodeId, nodes: &Votes, persisted: Persisted) -> Result<Self, OptionsError> {
        let rules = Rules::new(options, nodes)?;
        let remembered = if rules.tracking { persisted.highest_expected_votes.min(MAXIMUM_VOTES) } else { 0 };
        let expected = rules.expected.max(remembered);
        Ok(Self {
            votes: nodes.get(&me).copied().unwrap_or(1),
            device: DeviceWord::default(),
            highest_expected: expected,
            state: State {
                expected,
                floor: rules.expected,
                majority: Majority { members: Votes::new(), generation: persisted.majority_generation },
                ..State::default()
            },
            present: BTreeMap::new(),
            devices: BTreeMap::new(),
            ground: if rules.wait_for_all { Ground::WaitingForAll } else { Ground::TooFewVotes },
            deadline: None,
            rules,
        })
    }

    /// Takes over changed options or nodes while it runs. Quorum is never gained by this: that is judged in the next view.
    ///
    /// # Errors
    /// Options that contradict each other; then nothing changes.
    pub fn reconfigure(
        &mut self,
        options: &Options,
        me: NodeId,
        nodes: &BTreeMap<NodeId, u32>,
    ) -> Result<(), OptionsError> {
        let rules = Rules::new(options, nodes)?;
        let remembered = if rules.tracking { self.highest_expected } else { 0 };
        self.votes = nodes.get(&me).copied().unwrap_or(1);
        for (id, votes) in &mut self.present {
            *votes = nodes.get(id).copied().unwrap_or(*votes);
        }
        self.state.expected = rules.expected.max(remembered);
        self.state.floor = rules.expected;
        self.rules = rules;
        if self.state.quorate {
            self.judge_again(false);
        }
        self.remember();
        Ok(())
    }

    /// What was asked for and does not hold, with the reason, for people.
    pub fn notes(&self) -> &[String] {
        &self.rules.notes
    }

    /// What this node says of itself in the next view change.
    pub fn report(&self) -> Report {
        Report { votes: self.votes, device: self.device, state: self.state.clone() }
    }

    /// A view was installed: its members with their reports, this node among them, and those nodes that left cleanly.
    pub fn members_changed(&mut self, now: Instant, members: &BTreeMap<NodeId, Report>, left_cleanly: &[NodeId]) {
        let groups = self.groups(members, left_cleanly);
        self.present = members.iter().map(|(id, report)| (*id, report.votes)).collect();
        self.devices = members.iter().map(|(id, report)| (*id, report.device)).collect();

        self.meet(&groups);
        self.state.loss_stands |= self.rules.last_man_standing && self.ground == Ground::TieBreaker;
        // The window begins anew with every view, so that it ends at all members at nearly the same moment.
        self.deadline = self.state.loss_stands.then_some(now + self.rules.window);
        self.remember();
    }

    /// When [`Quorum::timer`] must be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The window of `last_man_standing` is over: who is not here is no longer expected. Returns whether anything changed.
    pub fn timer(&mut self, now: Instant) -> bool {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return false;
        }
        self.deadline = None;
        self.state.loss_stands = false;
        if !self.state.quorate {
            return false;
        }
        let before = self.state.expected;
        self.state.expected = before.min(self.total());
        self.judge_again(false);
        self.state.expected != before
    }

    /// The quorum device said whether it votes for this node's side; one that is silent does not. What comes back is to be
    /// said to all members of the view, where anything changed; [`Quorum::device_said`] applies it there.
    pub fn hear_device(&mut self, votes: bool) -> Option<DeviceWord> {
        if votes == self.device.votes || self.rules.device_votes == 0 {
            return None;
        }
        self.device = DeviceWord { number: self.device.number + 1, votes };
        Some(self.device)
    }

    /// What the device said to a member. Every member of the view must apply it at the same place in the order of messages.
    /// The view has the votes of the device as long as any member is given them.
    pub fn device_said(&mut self, member: NodeId, word: DeviceWord) {
        let Some(known) = self.devices.get_mut(&member).filter(|known| known.number < word.number) else { return };
        *known = word;
        self.judge_again(false);
        self.remember();
    }

    fn device_here(&self) -> u32 {
        self.device_votes_of(self.devices.values().any(|word| word.votes))
    }

    fn device_votes_of(&self, votes: bool) -> u32 {
        if votes { self.rules.device_votes } else { 0 }
    }

    /// An operator sets how many votes are expected (`corosync-quorumtool -e`). Every member of the view must apply it at
    /// the same place in the order of messages.
    ///
    /// # Errors
    /// Zero, or a number for which too few are here.
    pub fn set_expected_votes(&mut self, wanted: u32) -> Result<(), OverrideError> {
        let (present, needed) = (self.total(), majority_of(wanted));
        if wanted == 0 {
            return Err(OverrideError::Zero);
        }
        if needed > present {
            return Err(OverrideError::TooMany { wanted, present, needed });
        }
        self.state.floor = wanted;
        let tracked = if self.rules.tracking { self.highest_expected } else { 0 };
        self.state.expected = wanted.max(tracked).max(present);
        self.judge_again(false);
        self.remember();
        Ok(())
    }

    /// An operator says that nobody else is alive (`quorum.cancel_wait_for_all`). Every member of the view must apply it at
    /// the same place in the order of messages.
    ///
    /// # Errors
    /// `wait_for_all` is not waiting.
    pub fn cancel_wait_for_all(&mut self) -> Result<(), OverrideError> {
        if !self.rules.wait_for_all || self.state.quorate {
            return Err(OverrideError::NotWaiting);
        }
        self.judge_again(true);
        Ok(())
    }

    /// The answer for the current view.
    pub fn decision(&self) -> Decision {
        Decision {
            quorate: self.state.quorate,
            exclusive: self.is_exclusive(),
            total_votes: self.total(),
            expected_votes: self.state.expected,
            needed: self.needed(&self.state, self.present.len()),
            ground: self.ground,
            flags: Flags {
                two_node: self.two_node_holds(&self.state),
                wait_for_all: self.rules.wait_for_all,
                last_man_standing: self.rules.last_man_standing,
                auto_tie_breaker: self.rules.tie_breaker.is_some(),
                allow_downscale: self.rules.allow_downscale,
                device: self.rules.device_votes > 0,
            },
        }
    }

    /// What must be on disk now.
    pub fn persisted(&self) -> Persisted {
        Persisted {
            highest_expected_votes: if self.rules.tracking { self.highest_expected } else { 0 },
            majority_generation: if self.rules.tie_breaker.is_some() { self.state.majority.generation } else { 0 },
        }
    }

    /// The first half of a view change: the groups that meet, after each has looked at whom it lost.
    fn groups(&self, members: &BTreeMap<NodeId, Report>, left_cleanly: &[NodeId]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (id, report) in members {
            match groups.iter_mut().find(|group| group.state.members == report.state.members) {
                Some(group) => group.take(*id, report),
                None => groups.push(Group::of(*id, report)),
            }
        }
        for group in &mut groups {
            self.look_at_losses(group, left_cleanly);
        }
        groups
    }

    fn look_at_losses(&self, group: &mut Group, left_cleanly: &[NodeId]) {
        let lost: Votes = group
            .state
            .members
            .iter()
            .filter(|(id, _)| !group.present.contains_key(id))
            .map(|(i, v)| (*i, *v))
            .collect();
        if lost.is_empty() {
            return;
        }
        if self.rules.allow_downscale && group.state.quorate {
            let gone = sum(&lost.iter().filter(|(id, _)| left_cleanly.contains(id)).map(|(i, v)| (*i, *v)).collect());
            let least = group.state.floor.max(sum(&group.present));
            group.state.expected = group.state.expected.saturating_sub(gone).max(least);
        }
        let ground = self.judge(&group.state, &group.present, self.device_votes_of(group.device));
        group.state.quorate &= ground.grants();
        let enough = group.present.len() as u64 >= u64::from(self.needed(&group.state, group.present.len()));
        group.state.loss_stands |= self.rules.last_man_standing && enough;
    }

    /// The second half of a view change: the groups meet.
    fn meet(&mut self, groups: &[Group]) {
        // A quorate group is the cluster, and the others take over what it knows; else everybody's knowledge counts.
        let quorate = groups.iter().any(|group| group.state.quorate);
        let heard: Vec<&State> = groups.iter().map(|group| &group.state).filter(|s| s.quorate || !quorate).collect();
        let newest = heard.iter().map(|state| &state.majority).max_by_key(|majority| majority.generation);
        let mut majority = newest.cloned().unwrap_or_default();
        if !quorate && heard.iter().any(|state| state.majority.members.is_empty()) {
            majority.members.clear();
        }
        self.state = State {
            members: self.present.clone(),
            expected: heard.iter().map(|state| state.expected).max().unwrap_or(self.state.expected),
            floor: heard.iter().map(|state| state.floor).max().unwrap_or(self.state.floor),
            quorate,
            outgrew_two: self.present.len() > 2 || groups.iter().any(|group| group.state.outgrew_two),
            loss_stands: heard.iter().any(|state| state.loss_stands),
            majority,
        };
        self.judge_again(false);
    }

    /// What the rule says to a set of nodes that share `state`.
    fn judge(&self, state: &State, present: &Votes, device_votes: u32) -> Ground {
        let total = sum(present).saturating_add(device_votes);
        if self.rules.wait_for_all && !state.quorate && total < state.expected {
            return Ground::WaitingForAll;
        }
        self.judge_votes(state, present, device_votes)
    }

    fn judge_votes(&self, state: &State, present: &Votes, device_votes: u32) -> Ground {
        let total = sum(present).saturating_add(device_votes);
        if total >= majority_of(state.expected) {
            Ground::Majority
        } else if total >= self.needed(state, present.len()) {
            Ground::TwoNode
        } else if total == state.expected / 2 && self.has_tie_breaker(state, present) {
            Ground::TieBreaker
        } else if self.rules.master_wins && device_votes > 0 {
            Ground::Device
        } else {
            Ground::TooFewVotes
        }
    }

    /// Whether the node that decides ties is here: the one chosen from the last majority, since the other half remembers
    /// the same majority and so chooses the same node. Where all others of that majority could be quorate without us,
    /// there is no tie.
    fn has_tie_breaker(&self, state: &State, present: &Votes) -> bool {
        let Some(rule) = &self.rules.tie_breaker else { return false };
        let rivals = &state.majority.members;
        let chosen = match rule {
            TieBreaker::Lowest => rivals.keys().next(),
            TieBreaker::Highest => rivals.keys().next_back(),
            TieBreaker::List(list) => list.iter().find(|id| rivals.contains_key(id)),
        };
        let absent =
            rivals.iter().filter(|(id, _)| !present.contains_key(id)).map(|(id, votes)| (*id, *votes)).collect();
        chosen.is_some_and(|id| present.contains_key(id)) && sum(&absent) < majority_of(state.expected)
    }

    /// Judges the current view anew after its state changed.
    fn judge_again(&mut self, without_waiting: bool) {
        self.state.expected = self.state.expected.max(self.total());
        let device = self.device_here();
        self.ground = if without_waiting {
            self.judge_votes(&self.state, &self.present, device)
        } else {
            self.judge(&self.state, &self.present, device)
        };
        self.state.quorate = self.ground.grants();
        if self.ground == Ground::Majority && self.state.majority.members != self.present {
            let generation = self.state.majority.generation.saturating_add(1);
            self.state.majority = Majority { members: self.present.clone(), generation };
        }
    }

    fn is_exclusive(&self) -> bool {
        let all = self.rules.configured.max(self.state.expected);
        // The side that the device votes for may be quorate with a single node.
        let no_rival_by_device = !self.rules.master_wins || self.device_here() > 0;
        self.state.quorate
            && no_rival_by_device
            && (all - self.total().min(all) < self.least_of_a_rival() || self.ties_exclude())
    }

    /// The fewest votes with which another view could be quorate, whatever it may have been through.
    fn least_of_a_rival(&self) -> u32 {
        let rules = &self.rules;
        let expected = if rules.last_man_standing { rules.expected.min(2) } else { rules.expected };
        match rules.tie_breaker {
            _ if self.two_node_holds(&self.state) => 1,
            Some(_) => expected / 2,
            None => majority_of(expected),
        }
    }

    /// Whether the tie-breaker makes every quorate view the only one: the number of expected votes is everywhere the same,
    /// so that a rival could only be the other half, which remembers the same tie-breaker; and where halves are uneven,
    /// the larger one waits for all unless it was quorate all along, and then the smaller one sees no tie.
    fn ties_exclude(&self) -> bool {
        let rules = &self.rules;
        let constant = self.state.expected == rules.expected && rules.configured <= rules.expected;
        let halves_cover = rules.expected.is_multiple_of(2) || rules.wait_for_all;
        rules.tie_breaker.is_some() && !rules.last_man_standing && constant && halves_cover
    }

    fn two_node_holds(&self, state: &State) -> bool {
        self.rules.two_node && !state.outgrew_two
    }

    fn needed(&self, state: &State, nodes: usize) -> u32 {
        if self.two_node_holds(state) && nodes <= 2 { 1 } else { majority_of(state.expected) }
    }

    fn total(&self) -> u32 {
        sum(&self.present).saturating_add(self.device_here())
    }

    fn remember(&mut self) {
        self.highest_expected = self.highest_expected.max(self.state.expected);
    }
}

/// The nodes of a new view that come from the same view.
struct Group {
    state: State,
    present: Votes,
    /// The quorum device votes for one of them.
    device: bool,
}

impl Group {
    fn of(id: NodeId, report: &Report) -> Self {
        Self { state: report.state.clone(), present: BTreeMap::from([(id, report.votes)]), device: report.device.votes }
    }

    /// One more node of the group. States of one view may differ for a moment, where one node's window is over a little
    /// earlier than another's: then the more careful of them holds.
    fn take(&mut self, id: NodeId, report: &Report) {
        self.present.insert(id, report.votes);
        self.device |= report.device.votes;
        let (ours, theirs) = (&mut self.state, &report.state);
        ours.expected = ours.expected.max(theirs.expected);
        ours.floor = ours.floor.max(theirs.floor);
        ours.quorate |= theirs.quorate;
        ours.outgrew_two |= theirs.outgrew_two;
        ours.loss_stands |= theirs.loss_stands;
        if theirs.majority.generation > ours.majority.generation {
            ours.majority = theirs.majority.clone();
        }
    }
}

fn sum(present: &Votes) -> u32 {
    present.values().fold(0, |sum, votes| sum.saturating_add(*votes))
}

/// The smallest number of votes that is more than half of `expected`.
fn majority_of(expected: u32) -> u32 {
    expected / 2 + 1
}

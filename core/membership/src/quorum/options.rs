//! The options of the quorum rule, named as in votequorum(5), and the rules that follow from them.

use hakudo_base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// What an administrator may choose (`quorum { … }` of corosync.conf, under the same names).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// `expected_votes`: how many votes there are in all; without it, the sum over the node list.
    pub expected_votes: Option<u32>,
    /// `two_node`: one vote of two is enough. Fencing decides who survives a split.
    pub two_node: bool,
    /// `wait_for_all`: after a start, and after quorum was lost, no quorum until all votes were seen at once. Not said: on
    /// with `two_node`, else off.
    pub wait_for_all: Option<bool>,
    /// `auto_tie_breaker` with `auto_tie_breaker_node`: exactly half of the votes is enough with this node.
    pub auto_tie_breaker: Option<TieBreaker>,
    /// `last_man_standing`: a quorate side that lost nodes forgets them after the window.
    pub last_man_standing: bool,
    /// `last_man_standing_window`: how long a loss must stand before it is forgotten.
    pub last_man_standing_window: Duration,
    /// `allow_downscale`: nodes that leave cleanly take their votes with them, down to the configured `expected_votes`.
    pub allow_downscale: bool,
    /// `expected_votes_tracking`: the highest number of expected votes ever seen is kept on disk and holds after a restart.
    pub expected_votes_tracking: bool,
    /// `device { … }`: a quorum device.
    pub device: Option<DeviceOptions>,
}

/// Which side of an even split goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TieBreaker {
    /// The one with the lowest node id.
    Lowest,
    /// The one with the highest node id.
    Highest,
    /// The one with the first node of this list that was there before the split.
    List(Vec<NodeId>),
}

/// A quorum device: an arbiter elsewhere that gives its votes to one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceOptions {
    /// Its votes; without a number, one less than there are nodes (each of which must then have one vote).
    pub votes: Option<u32>,
    /// `master_wins`: the side for which the device votes is quorate, however few nodes are there.
    pub master_wins: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            expected_votes: None,
            two_node: false,
            wait_for_all: None,
            auto_tie_breaker: None,
            last_man_standing: false,
            last_man_standing_window: Duration::from_secs(10),
            allow_downscale: false,
            expected_votes_tracking: false,
            device: None,
        }
    }
}

/// Options that contradict each other, or ask for what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// Nobody has a vote.
    #[error("quorum: there are no votes: list nodes with votes, or set expected_votes")]
    NoVotes,
    /// Numbers without sense.
    #[error("quorum: {0} votes are too many (at most {MAXIMUM_VOTES} in all)")]
    TooManyVotes(u64),
    /// `last_man_standing` with an odd tie.
    #[error(
        "quorum: auto_tie_breaker with last_man_standing and an odd number of votes ({0}) needs wait_for_all: set \
         wait_for_all, or switch last_man_standing off"
    )]
    OddTieLastMan(u32),
    /// A device beside an option that it cannot be combined with.
    #[error("quorum: a quorum device cannot be combined with {0}: remove one of them")]
    DeviceWith(&'static str),
    /// `expected_votes` was given, but not how many of them are the device's.
    #[error("quorum: device.votes must be given where expected_votes is")]
    DeviceVotesWithExpected,
    /// Uneven votes, but not how many the device has.
    #[error("quorum: device.votes must be given where not every node has one vote")]
    DeviceVotesUneven,
    /// The device would have the say alone.
    #[error(
        "quorum: device.votes {votes} is too high for expected_votes {expected}: at least 2 must be left to the nodes"
    )]
    DeviceVotesTooHigh {
        /// `device.votes`.
        votes: u32,
        /// `expected_votes`.
        expected: u32,
    },
}

/// More votes than any cluster has, and few enough that sums stay exact.
pub const MAXIMUM_VOTES: u32 = 1_000_000;

/// The options as they hold, after what they imply and exclude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Expected votes of the configuration, those of a device among them.
    pub(super) expected: u32,
    /// All votes that the configuration knows of, those of a device among them.
    pub(super) configured: u32,
    pub(super) two_node: bool,
    pub(super) wait_for_all: bool,
    pub(super) tie_breaker: Option<TieBreaker>,
    pub(super) last_man_standing: bool,
    pub(super) window: Duration,
    pub(super) allow_downscale: bool,
    pub(super) tracking: bool,
    pub(super) device_votes: u32,
    pub(super) master_wins: bool,
    /// What was asked for and does not hold, with the reason, for people.
    pub(super) notes: Vec<String>,
}

impl Rules {
    /// Checks `options` for a cluster of `nodes` with their votes.
    pub(super) fn new(options: &Options, nodes: &BTreeMap<NodeId, u32>) -> Result<Self, OptionsError> {
        let sum: u64 = nodes.values().map(|votes| u64::from(*votes)).sum();
        let listed = bounded(sum)?;
        let device_votes = device_votes(options, nodes, listed)?;
        let configured = bounded(sum + u64::from(device_votes))?;
        let expected = bounded(u64::from(options.expected_votes.unwrap_or(configured)))?;
        if expected == 0 {
            return Err(OptionsError::NoVotes);
        }

        let mut notes = Vec::new();
        // What two_node implies stays implied where two_node itself is then switched off: both need a full start.
        let wait_for_all = options.wait_for_all.unwrap_or(options.two_node);
        let mut two_node = options.two_node;
        let mut tie_breaker = options.auto_tie_breaker.clone();
        if two_node && tie_breaker.is_some() {
            notes
                .push("two_node is off: with auto_tie_breaker a node id decides a split, not the race to fence".into());
            two_node = false;
        }
        if two_node && nodes.len() > 2 {
            notes.push(format!("two_node is off: there are {} nodes", nodes.len()));
            two_node = false;
        }
        if tie_breaker.is_some() && listed % 2 == 1 && !wait_for_all {
            if options.last_man_standing {
                return Err(OptionsError::OddTieLastMan(listed));
            }
            notes
                .push(format!("auto_tie_breaker is off: with an odd number of votes ({listed}) it needs wait_for_all"));
            tie_breaker = None;
        }
        let mut last_man_standing = options.last_man_standing;
        if last_man_standing && nodes.values().any(|votes| *votes > 1) {
            notes.push("last_man_standing is off: it needs nodes of one vote each".into());
            last_man_standing = false;
        }
        Ok(Self {
            expected,
            configured,
            two_node,
            wait_for_all,
            tie_breaker,
            last_man_standing,
            window: options.last_man_standing_window,
            allow_downscale: options.allow_downscale,
            tracking: options.expected_votes_tracking || options.allow_downscale,
            device_votes,
            master_wins: options.device.as_ref().is_some_and(|device| device.master_wins),
            notes,
        })
    }
}

fn bounded(votes: u64) -> Result<u32, OptionsError> {
    u32::try_from(votes).ok().filter(|votes| *votes <= MAXIMUM_VOTES).ok_or(OptionsError::TooManyVotes(votes))
}

fn device_votes(options: &Options, nodes: &BTreeMap<NodeId, u32>, listed: u32) -> Result<u32, OptionsError> {
    let Some(device) = &options.device else { return Ok(0) };
    let excluded = [
        ("two_node", options.two_node),
        ("last_man_standing", options.last_man_standing),
        ("auto_tie_breaker", options.auto_tie_breaker.is_some()),
        ("allow_downscale", options.allow_downscale),
    ];
    if let Some((name, _)) = excluded.iter().find(|(_, on)| *on) {
        return Err(OptionsError::DeviceWith(name));
    }
    match (device.votes, options.expected_votes) {
        (None, Some(_)) => Err(OptionsError::DeviceVotesWithExpected),
        (None, None) if nodes.len() as u64 != u64::from(listed) => Err(OptionsError::DeviceVotesUneven),
        (None, None) => Ok(listed.saturating_sub(1)),
        (Some(votes), Some(expected)) if expected < votes.saturating_add(2) => {
            Err(OptionsError::DeviceVotesTooHigh { votes, expected })
        }
        (Some(votes), _) => Ok(votes),
    }
}

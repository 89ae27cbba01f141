//! A cluster of quorum rules in one process: nodes that start, crash, part and meet.

use hakudo_base::{Instant, NodeId};
use hakudo_membership::quorum::{Decision, Options, OptionsError, Persisted, Quorum, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Something that happens to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A node that is down starts in a partition.
    Up(u32, u32),
    /// A node crashes.
    Down(u32),
    /// A node says goodbye.
    Leave(u32),
    /// Nodes move to a partition, all at once.
    Move(Vec<(u32, u32)>),
    /// All nodes of the second partition move to the first.
    Join(u32, u32),
    /// Milliseconds go by.
    Wait(u64),
    /// An operator sets the expected votes of a partition.
    Expect(u32, u32),
    /// An operator ends waiting for all in a partition.
    Cancel(u32),
    /// The quorum device says to a node whether it votes for its side.
    Device(u32, bool),
}

/// A node that is up.
struct Node {
    partition: u32,
    quorum: Quorum,
}

pub(crate) struct Cluster {
    options: Options,
    votes: BTreeMap<NodeId, u32>,
    nodes: BTreeMap<NodeId, Node>,
    disks: BTreeMap<NodeId, Persisted>,
    now: Instant,
}

impl Cluster {
    /// All listed nodes down.
    pub(crate) fn new(options: Options, votes: &[u32]) -> Result<Self, OptionsError> {
        let votes: BTreeMap<NodeId, u32> = (1..).map(NodeId).zip(votes.iter().copied()).collect();
        Quorum::new(&options, NodeId(1), &votes, Persisted::default())?;
        Ok(Self { options, votes, nodes: BTreeMap::new(), disks: BTreeMap::new(), now: Instant::ZERO })
    }

    /// All listed nodes up, and in one view.
    pub(crate) fn started(options: Options, votes: &[u32]) -> Result<Self, OptionsError> {
        let mut cluster = Self::new(options, votes)?;
        let all: Vec<NodeId> = cluster.votes.keys().copied().collect();
        for id in all {
            cluster.start(id, 0);
        }
        cluster.install(0, &[]);
        Ok(cluster)
    }

    fn start(&mut self, id: NodeId, partition: u32) {
        let disk = self.disks.get(&id).copied().unwrap_or_default();
        let quorum = Quorum::new(&self.options, id, &self.votes, disk).expect("the options were checked");
        self.nodes.insert(id, Node { partition, quorum });
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Up(node, partition) => {
                self.start(NodeId(*node), *partition);
                self.install(*partition, &[]);
            }
            Step::Down(node) | Step::Leave(node) => {
                let Some(gone) = self.nodes.remove(&NodeId(*node)) else { return };
                let left: &[NodeId] = if matches!(step, Step::Leave(_)) { &[NodeId(*node)] } else { &[] };
                self.install(gone.partition, left);
            }
            Step::Move(moves) => {
                let mut touched = BTreeSet::new();
                for (node, to) in moves {
                    if let Some(node) = self.nodes.get_mut(&NodeId(*node)) {
                        touched.extend([node.partition, *to]);
                        node.partition = *to;
                    }
                }
                self.install_all(touched);
            }
            Step::Join(into, from) => {
                for node in self.nodes.values_mut().filter(|node| node.partition == *from) {
                    node.partition = *into;
                }
                self.install_all(BTreeSet::from([*into]));
            }
            Step::Wait(milliseconds) => {
                self.now += Duration::from_millis(*milliseconds);
                for node in self.nodes.values_mut() {
                    node.quorum.timer(self.now);
                }
            }
            Step::Expect(partition, votes) => {
                for node in self.nodes.values_mut().filter(|node| node.partition == *partition) {
                    let _refused = node.quorum.set_expected_votes(*votes);
                }
            }
            Step::Device(node, votes) => {
                let Some(heard) = self.nodes.get_mut(&NodeId(*node)) else { return };
                let (partition, word) = (heard.partition, heard.quorum.hear_device(*votes));
                for other in self.nodes.values_mut().filter(|other| other.partition == partition) {
                    if let Some(word) = word {
                        other.quorum.device_said(NodeId(*node), word);
                    }
                }
                self.install_all(BTreeSet::from([partition]));
            }
            Step::Cancel(partition) => {
                for node in self.nodes.values_mut().filter(|node| node.partition == *partition) {
                    let _refused = node.quorum.cancel_wait_for_all();
                }
            }
        }
        for (id, node) in &self.nodes {
            self.disks.insert(*id, node.quorum.persisted());
        }
    }

    /// Installs the same view again in every partition.
    pub(crate) fn install_again(&mut self) {
        let all: BTreeSet<u32> = self.nodes.values().map(|node| node.partition).collect();
        self.install_all(all);
    }

    fn install_all(&mut self, partitions: BTreeSet<u32>) {
        // All views change at the same moment: the reports are made before any of them.
        let reports: BTreeMap<NodeId, Report> =
            self.nodes.iter().map(|(id, node)| (*id, node.quorum.report())).collect();
        for partition in partitions {
            self.install_with(partition, &[], &reports);
        }
    }

    fn install(&mut self, partition: u32, left: &[NodeId]) {
        let reports = self.nodes.iter().map(|(id, node)| (*id, node.quorum.report())).collect();
        self.install_with(partition, left, &reports);
    }

    fn install_with(&mut self, partition: u32, left: &[NodeId], reports: &BTreeMap<NodeId, Report>) {
        let members: BTreeMap<NodeId, Report> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.partition == partition)
            .map(|(id, _)| (*id, reports[id].clone()))
            .collect();
        for node in self.nodes.values_mut().filter(|node| node.partition == partition) {
            node.quorum.members_changed(self.now, &members, left);
        }
    }

    /// What each node that is up says, with its partition.
    pub(crate) fn decisions(&self) -> BTreeMap<u32, (u32, Decision)> {
        self.nodes.iter().map(|(id, node)| (id.0, (node.partition, node.quorum.decision()))).collect()
    }
}

impl fmt::Display for Cluster {
    /// A line for each partition: its members and what they say; more lines where they do not say the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sides: BTreeMap<(u32, String), Vec<String>> = BTreeMap::new();
        for (id, node) in &self.nodes {
            let decision = node.quorum.decision();
            let exclusive = if decision.quorate && !decision.exclusive { ", not exclusive" } else { "" };
            sides.entry((node.partition, format!("{decision}{exclusive}"))).or_default().push(id.to_string());
        }
        for ((_, answer), nodes) in sides {
            writeln!(f, "  {}: {answer}", nodes.join(" "))?;
        }
        Ok(())
    }
}

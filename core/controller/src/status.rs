//! The status of the cluster: what every node runs, how its operations ended, and its transient attributes.
//!
//! It is kept as values with an index for every question that a result asks (which node, which call, which resource),
//! and written as `<status>` only when somebody wants to see it. What did not change since it was written last is not
//! written again: a result costs a few look-ups, a snapshot after it one new `<lrm_resource>`.
//!
//! Everything here is replicated: a function of the commands delivered, never of a clock or of this node.

mod fencing;
mod history;
mod tickets;
mod write;

pub(crate) use fencing::FencingHistory;
pub(crate) use history::changes_state;
pub(crate) use history::{Digests, History, Issued, Operation, Order, Outcome, Report};

pub(crate) use tickets::{GroupTicket, ticket_state};

use hakudo_base::NodeId;
use hakudo_cib::Element;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version of Pacemaker's way of writing history that is followed here (`crm_feature_set`).
pub(crate) const FEATURE_SET: &str = "3.20.5";

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The status of all nodes that were ever seen and not forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// By node.
    pub(crate) nodes: BTreeMap<NodeId, NodeStatus>,
    /// What was fenced.
    pub(crate) fencing: FencingHistory,
    /// What the ticket group said last.
    pub(crate) tickets: BTreeMap<String, GroupTicket>,
}

/// How far a node came in joining (`join` of `<node_state>`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Join {
    /// Not part of the cluster.
    #[default]
    Down,
    /// A member.
    Member,
}

/// One `<node_state>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// `uname`.
    pub(crate) name: String,
    /// The version of hakudo that it runs.
    pub(crate) version: String,
    /// In the view (`in_ccm`).
    pub(crate) in_view: bool,
    /// Its controller takes part (`crmd`).
    pub(crate) online: bool,
    /// `join`.
    pub(crate) join: Join,
    /// It should be a member: it did not say goodbye and was not fenced (`expected`). Who was told that it may go is not
    /// expected as long as it is still here; where it is lost then, it may not have heard that, and is expected again.
    pub(crate) expected: bool,
    /// The epoch of the view in which it became a member last: its present life, or the one that ended when it was lost. It
    /// grows from life to life. Fencing that began before was that of a former life.
    pub(crate) member_since: u64,
    /// Transient attributes.
    pub(crate) attributes: BTreeMap<String, String>,
    /// What is known of resources here, by the id that agents know.
    pub(crate) resources: BTreeMap<String, History>,
    /// Calls that were ordered here and may still answer.
    pub(crate) issued: BTreeMap<u64, Issued>,
    /// The newest call number given out.
    pub(crate) last_call: u64,
    /// The number of the newest report taken over, so that none counts twice.
    pub(crate) reported: u64,
    /// The element as written last.
    #[serde(skip)]
    written: Written,
}

/// An element as it was written last; says nothing about equality.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Option<Arc<Element>>);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

/// What became of the failures of an operation: the value of `fail-count-…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailCount {
    /// One more.
    More,
    /// `INFINITY`: never again on this node.
    Infinity,
    /// Only the time of the failure is noted.
    Unchanged,
}

impl Status {
    /// The status of a node, made if there is none.
    pub(crate) fn node_mut(&mut self, node: NodeId, name: &str) -> &mut NodeStatus {
        let status = self.nodes.entry(node).or_default();
        if status.name.is_empty() {
            name.clone_into(&mut status.name);
        }
        status.touch();
        status
    }

    /// The status of a known node, to be changed.
    pub(crate) fn known_mut(&mut self, node: NodeId) -> Option<&mut NodeStatus> {
        let status = self.nodes.get_mut(&node)?;
        status.touch();
        Some(status)
    }

    /// The node is a member of the view; once it is `ready`, having told what it runs, it takes part.
    pub(crate) fn joined(&mut self, node: NodeId, name: &str, ready: bool, since: u64) {
        let status = self.node_mut(node, name);
        status.member_since = since;
        status.in_view = true;
        status.online = ready;
        status.join = if ready { Join::Member } else { Join::Down };
        status.expected = true;
    }

    /// The node is gone without a word: it may still run what it ran, until it is fenced.
    pub(crate) fn lost(&mut self, node: NodeId) {
        if let Some(status) = self.known_mut(node) {
            status.expected |= status.in_view;
            status.in_view = false;
            status.online = false;
            status.join = Join::Down;
        }
    }

    /// The node is not here, and may be a member of another view of about this `epoch` and at work there: it was lost before
    /// the members had agreed, as far as is known here, and may have heard more; or it was dead, but may have been started since.
    pub(crate) fn may_have_joined(&mut self, node: NodeId, name: &str, epoch: u64) {
        let status = self.node_mut(node, name);
        status.expected = true;
        status.member_since = status.member_since.max(epoch);
    }

    /// The node runs nothing any more: it was fenced, or it left cleanly.
    pub(crate) fn safe(&mut self, node: NodeId, name: &str) {
        let status = self.node_mut(node, name);
        *status = NodeStatus {
            name: std::mem::take(&mut status.name),
            last_call: status.last_call,
            member_since: status.member_since,
            ..Default::default()
        };
    }

    /// Another member's knowledge of a lost node: taken over where nothing is known here, or only of an earlier life.
    pub(crate) fn learn_of_lost(&mut self, node: NodeId, told: NodeStatus) {
        if self.nodes.get(&node).is_none_or(|known| known.member_since < told.member_since) {
            self.nodes.insert(node, told);
        }
    }

    /// Nodes that are gone and may still run something.
    pub(crate) fn unsafe_nodes(&self) -> impl Iterator<Item = (NodeId, &NodeStatus)> {
        self.nodes.iter().filter(|(_, status)| !status.in_view && status.expected).map(|(id, status)| (*id, status))
    }
}

impl NodeStatus {
    /// The next snapshot writes this node anew.
    fn touch(&mut self) {
        self.written = Written(None);
    }

    /// Sets or removes a transient attribute; true where that changed anything.
    pub(crate) fn set_attribute(&mut self, name: &str, value: Option<&str>) -> bool {
        self.touch();
        match value {
            Some(value) if self.attributes.get(name).is_some_and(|old| old == value) => false,
            Some(value) => {
                self.attributes.insert(name.to_owned(), value.to_owned());
                true
            }
            None => self.attributes.remove(name).is_some(),
        }
    }

    /// The promotion scores of the copies here, as attributes (`crm_master` and `crm_attribute --promotion` name them so).
    pub(crate) fn promotion_scores(&self) -> BTreeMap<String, String> {
        let scores = self.attributes.iter().filter(|(name, _)| name.starts_with("master-"));
        scores.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Attributes that somebody else remembers, of the same life of the node's machine: those that are not known here are
    /// taken over. What was asked of the former process is no business of this one.
    pub(crate) fn learn_attributes(&mut self, remembered: &BTreeMap<String, String>) {
        for (name, value) in remembered.iter().filter(|(name, _)| !matches!(name.as_str(), "shutdown" | "terminate")) {
            self.attributes.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.touch();
    }

    /// Counts a failure of `operation` (`start_0`, `monitor_10000`) of a resource, which happened at `time`, in seconds
    /// since 1970 (Pacemaker Explained: "Failure Handling").
    pub(crate) fn count_failure(&mut self, resource: &str, operation: &str, count: FailCount, time: i64) {
        let name = format!("fail-count-{resource}#{operation}");
        let old = self.attributes.get(&name).map_or(0, |text| score(text));
        match count {
            FailCount::More => {
                let new = old.saturating_add(1);
                let text = if new >= INFINITY { "INFINITY".to_owned() } else { new.to_string() };
                self.attributes.insert(name, text);
            }
            FailCount::Infinity => {
                self.attributes.insert(name, "INFINITY".to_owned());
            }
            FailCount::Unchanged => {}
        }
        self.attributes.insert(format!("last-failure-{resource}#{operation}"), time.to_string());
        self.touch();
    }

    /// Forgets the failures of a resource, or only those of one operation; true where there were any.
    pub(crate) fn clear_failures(&mut self, resource: &str, operation: Option<(&str, u64)>) -> bool {
        self.touch();
        let before = self.attributes.len();
        let only = operation.map(|(task, interval)| format!("{task}_{interval}"));
        self.attributes.retain(|name, _| {
            let Some(rest) = name.strip_prefix("fail-count-").or_else(|| name.strip_prefix("last-failure-")) else {
                return true;
            };
            match rest.rsplit_once('#') {
                Some((of, what)) => of != resource || only.as_ref().is_some_and(|only| only != what),
                None => rest != resource,
            }
        });
        let forgot = self.resources.get_mut(resource).is_some_and(|history| history.clear_failure(operation));
        forgot || before != self.attributes.len()
    }

    /// It came after the newest right to change the configuration (`lineage`), and nothing runs here, as far as is known.
    pub(crate) fn is_idle_newcomer(&self, lineage: u64) -> bool {
        self.member_since > lineage && self.resources.values().all(History::is_stopped)
    }

    /// As far as is known nothing runs here, nothing is on its way, and nothing has to be stopped.
    pub(crate) fn runs_nothing(&self) -> bool {
        self.issued.is_empty() && self.resources.values().all(History::is_stopped)
    }

    /// A recurring operation of the resource failed, goes on, and did not end well since.
    pub(crate) fn fails_still(&self, resource: &str) -> bool {
        self.resources.get(resource).and_then(History::failing_call).is_some_and(|call| self.issued.contains_key(&call))
    }

    /// Resources with failures here.
    pub(crate) fn failed_resources(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .attributes
            .keys()
            .filter_map(|name| name.strip_prefix("fail-count-").or_else(|| name.strip_prefix("last-failure-")))
            .filter_map(|rest| rest.rsplit_once('#').map(|(resource, _)| resource.to_owned()))
            .chain(self.resources.iter().filter(|(_, history)| history.has_failure()).map(|(name, _)| name.clone()))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Pacemaker's INFINITY as a number.
const INFINITY: i64 = 1_000_000;

fn score(text: &str) -> i64 {
    if text.eq_ignore_ascii_case("INFINITY") || text.eq_ignore_ascii_case("+INFINITY") {
        INFINITY
    } else {
        text.parse().unwrap_or(0)
    }
}

//! What this node sees of the links to the others, for the replies to clients; and membership's events for people.

use crate::config::NodeConfig;
use hakudo_base::{NodeId, Severity, UnixTime};
use hakudo_controller::request::{ClusterState, Event, LinkState, NodeState, Reply};
use hakudo_membership::Event as MembershipEvent;
use std::collections::BTreeMap;

/// The links to each node.
pub(crate) struct Links {
    nodes: BTreeMap<NodeId, (String, Vec<LinkState>)>,
    local: NodeId,
    /// Votes here and needed, as the quorum rule said last.
    votes: (u32, u32),
}

impl Links {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        let local = NodeId(config.local().id);
        let nodes = config.nodes.iter().map(|node| {
            let link = |address: &std::net::IpAddr| LinkState {
                address: address.to_string(),
                up: node.id == local.0,
                round_trip_us: 0,
            };
            (NodeId(node.id), (node.name.clone(), node.addresses.iter().map(link).collect()))
        });
        Self { nodes: nodes.collect(), local, votes: (0, 0) }
    }

    /// Takes another node list; what is known of links that stay is kept.
    pub(crate) fn configure(&mut self, config: &NodeConfig) {
        let old = std::mem::replace(self, Self::new(config));
        self.votes = old.votes;
        for (node, (_, links)) in &mut self.nodes {
            for (number, link) in links.iter_mut().enumerate() {
                let known = old.nodes.get(node).and_then(|(_, links)| links.get(number));
                if let Some(known) = known.filter(|known| known.address == link.address) {
                    link.clone_from(known);
                }
            }
        }
    }

    /// Takes what membership says about links and votes.
    pub(crate) fn note(&mut self, event: &MembershipEvent) {
        if let MembershipEvent::Quorum { decision } = event {
            self.votes = (decision.total_votes, decision.needed);
        }
        let (node, link, up) = match event {
            MembershipEvent::LinkUp { node, link } => (node, link, true),
            MembershipEvent::LinkDown { node, link } => (node, link, false),
            _ => return,
        };
        let state = self.nodes.get_mut(node).and_then(|(_, links)| links.get_mut(usize::from(*link)));
        if let Some(state) = state {
            state.up = up;
        }
    }

    /// An event of membership, for people: with names instead of numbers.
    pub(crate) fn tell(&self, event: &MembershipEvent, now: UnixTime) -> Event {
        let (kind, node, took_ms) = match event {
            MembershipEvent::LinkUp { node, .. } => ("link-up", Some(node), None),
            MembershipEvent::LinkDown { node, .. } => ("link-down", Some(node), None),
            MembershipEvent::NodeHeard { node, .. } => ("node-heard", Some(node), None),
            MembershipEvent::NodeLate { node, silent_ms } => ("node-late", Some(node), Some(*silent_ms)),
            MembershipEvent::NodeLost { node, silent_ms } => ("node-lost", Some(node), Some(*silent_ms)),
            MembershipEvent::NodeLeaving { node } => ("node-leaving", Some(node), None),
            MembershipEvent::Paused { pause_ms } => ("paused", None, Some(*pause_ms)),
            MembershipEvent::NodePaused { node, pause_ms } => ("node-paused", Some(node), Some(*pause_ms)),
            MembershipEvent::OneWay { node } => ("one-way", Some(node), None),
            MembershipEvent::Forged { claimed, .. } => ("forged", claimed.as_ref(), None),
            MembershipEvent::Replayed { .. } => ("replayed", None, None),
            MembershipEvent::ForeignCluster { .. } => ("foreign-cluster", None, None),
            MembershipEvent::ConfigDiffers { node } => ("config-differs", Some(node), None),
            MembershipEvent::ConfigAgrees { node } => ("config-agrees", Some(node), None),
            MembershipEvent::Quorum { .. } => ("quorum", None, None),
            MembershipEvent::QuorumRefused { .. } => ("quorum-refused", None, None),
            MembershipEvent::ConfigRefused { .. } => ("config-refused", None, None),
        };
        Event {
            number: 0,
            time_ms: now.millis(),
            severity: event.severity(),
            kind: kind.into(),
            node: node.and_then(|id| self.nodes.get(id)).map(|(name, _)| name.clone()),
            resource: None,
            took_ms,
            text: event.to_string(),
        }
    }

    /// Adds what only the daemon knows to the controller's reply.
    pub(crate) fn complete(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Cluster(state) => Reply::Cluster(Box::new(self.complete_state(*state))),
            other => other,
        }
    }

    fn complete_state(&self, mut state: ClusterState) -> ClusterState {
        state.votes = self.votes;
        for (id, (name, links)) in &self.nodes {
            match state.nodes.iter_mut().find(|node| node.id == id.0) {
                Some(node) => node.links.clone_from(links),
                None => {
                    let (name, links) = (name.clone(), links.clone());
                    state.nodes.push(NodeState { id: id.0, name, member: false, version: None, links });
                }
            }
            if *id == self.local {
                continue;
            }
            let down: Vec<String> = links.iter().filter(|link| !link.up).map(|link| link.address.clone()).collect();
            if !down.is_empty() && down.len() < links.len() {
                let text = format!("to {name}: no answer from {}; its other links work", down.join(", "));
                state.alerts.push((Severity::Warning, text));
            }
        }
        state
    }
}

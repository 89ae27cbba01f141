//! Asking a cluster of the demo, whichever of its nodes answers.

use super::layout::{Layout, Site};
use anyhow::{Context, Result, bail};
use hakudo_controller::request::{Change, ChangeOperation, ClusterState, Event, Reply, Request};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A node that does not answer within this is not asked further.
const PATIENCE: Duration = Duration::from_millis(1000);

/// Asks one node.
pub(super) async fn ask(socket: &Path, request: &Request) -> Result<Reply> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        let body = serde_json::to_vec(request)?;
        stream.write_u32(u32::try_from(body.len())?).await?;
        stream.write_all(&body).await?;
        let length = stream.read_u32().await?;
        let mut reply = Vec::new();
        stream.take(length.into()).read_to_end(&mut reply).await?;
        anyhow::Ok(serde_json::from_slice(&reply)?)
    };
    tokio::time::timeout(PATIENCE, exchange).await.context("the node does not answer")?
}

/// The state of a cluster as one of its members sees it: the one in the largest view.
pub(super) async fn state(layout: &Layout, site: &Site) -> Option<ClusterState> {
    let mut best: Option<ClusterState> = None;
    for node in &site.nodes {
        if let Ok(Reply::Cluster(state)) = ask(&layout.socket(node), &Request::Cluster).await {
            let rank = |s: &ClusterState| (s.quorate, s.view);
            if best.as_ref().is_none_or(|best| rank(&state) > rank(best)) {
                best = Some(*state);
            }
        }
    }
    best
}

/// Waits until all nodes are members, all work is done, and stays done for a moment.
pub(super) async fn settled(layout: &Layout, site: &Site, patience: Duration) -> Result<ClusterState> {
    let members = site.nodes.len();
    let began = Instant::now();
    let mut quiet_since: Option<Instant> = None;
    loop {
        match state(layout, site).await {
            Some(state)
                if state.settled && state.ready && state.nodes.iter().filter(|n| n.member).count() == members =>
            {
                let since = *quiet_since.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_millis(300) {
                    return Ok(state);
                }
            }
            other => {
                quiet_since = None;
                if began.elapsed() > patience {
                    bail!("the cluster has not settled within {} s: {}", patience.as_secs(), describe(other.as_ref()));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn describe(state: Option<&ClusterState>) -> String {
    let Some(state) = state else { return "no node answers".into() };
    let members: Vec<&str> = state.nodes.iter().filter(|n| n.member).map(|n| n.name.as_str()).collect();
    let alerts: Vec<&str> = state.alerts.iter().map(|(_, text)| text.as_str()).collect();
    format!(
        "members {}; {}quorate; {} actions left; {}",
        members.join(" "),
        if state.quorate { "" } else { "not " },
        state.actions_left,
        if alerts.is_empty() { "no alerts".into() } else { alerts.join("; ") }
    )
}

/// Loads a cluster's configuration.
pub(super) async fn configure(layout: &Layout, site: &Site) -> Result<()> {
    let change = Change {
        operations: vec![ChangeOperation::Replace { xml: layout.configuration(site) }],
        if_version: None,
        force: false,
    };
    let mut last = String::new();
    for _ in 0..100 {
        match ask(&layout.socket(&site.nodes[0]), &Request::Change(change.clone())).await {
            Ok(Reply::Done) => return Ok(()),
            Ok(Reply::Refused { reason, .. } | Reply::Unknown { reason }) => last = reason,
            Ok(other) => last = format!("{other:?}"),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the configuration was not taken: {last}")
}

/// The newest events of a node.
pub(super) async fn events(layout: &Layout, node: &str, after: u64) -> Result<Vec<Event>> {
    match ask(&layout.socket(node), &Request::Events { after, limit: 1000 }).await? {
        Reply::Events { events } => Ok(events),
        other => bail!("not events: {other:?}"),
    }
}

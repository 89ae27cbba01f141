//! The phases of a failover, from the events of all nodes that still answer.

use super::cluster;
use super::layout::Layout;
use crate::phases::{self, Phases};
use hakudo_base::UnixTime;

/// The phases of the failover of the service after a failure of `lost` at `start`.
pub(super) async fn of(layout: &Layout, lost: Option<&str>, start: UnixTime) -> Phases {
    let mut events = Vec::new();
    for node in layout.nodes().filter(|node| Some(node.as_str()) != lost) {
        // A node that does not answer adds nothing.
        events.extend(cluster::events(layout, node, 0).await.unwrap_or_default());
    }
    events.retain(|event| event.time_ms >= start.millis());
    events.sort_by_key(|event| event.time_ms);
    phases::since(&events, lost, start.millis(), |resource| resource.starts_with("web"))
}

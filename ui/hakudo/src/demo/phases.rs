//! A failover split into its phases, from the events of the nodes: when was the loss noticed, when was the lost node known
//! to be dead, when was it decided what to do, and when did the last start end.

use super::cluster;
use super::layout::Layout;
use hakudo_base::UnixTime;
use hakudo_controller::request::Event;
use std::fmt;

/// When each phase ended, in milliseconds since the failure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phases {
    detected: Option<i64>,
    fenced: Option<i64>,
    decided: Option<i64>,
    started: Option<i64>,
}

/// The phases of the failover after a failure of `lost` at `start`.
pub(super) async fn of(layout: &Layout, lost: Option<&str>, start: UnixTime) -> Phases {
    let mut events = Vec::new();
    for node in layout.nodes.iter().filter(|node| Some(node.as_str()) != lost) {
        // A node that does not answer adds nothing.
        events.extend(cluster::events(layout, node, 0).await.unwrap_or_default());
    }
    events.retain(|event| event.time_ms >= start.millis());
    events.sort_by_key(|event| event.time_ms);
    Phases::read(&events, lost, start)
}

impl Phases {
    fn read(events: &[Event], lost: Option<&str>, start: UnixTime) -> Self {
        let at = |event: &Event| event.time_ms - start.millis();
        let of_lost = |event: &&Event| lost.is_none() || event.node.as_deref() == lost;
        let detected = events.iter().filter(of_lost).find(|e| e.kind == "node-lost").map(at);
        let fenced = events.iter().filter(of_lost).find(|e| e.kind == "fenced").map(at);
        let after = fenced.or(detected).unwrap_or_default();
        let starts: Vec<&Event> =
            events.iter().filter(|e| e.kind == "action-start" && e.text.contains("start") && at(e) >= after).collect();
        let decided = starts.first().map(|e| at(e));
        let started = events
            .iter()
            .filter(|e| e.kind == "action-done" && e.text.contains("start") && at(e) >= decided.unwrap_or_default())
            .filter(|e| e.resource.as_deref().is_some_and(|r| r.starts_with("web")))
            .map(at)
            .next_back();
        Self { detected, fenced, decided, started: decided.and(started) }
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = 0;
        for (name, end) in
            [("detect", self.detected), ("fence", self.fenced), ("decide", self.decided), ("start", self.started)]
        {
            if let Some(end) = end {
                write!(f, "{}{name} {} ms", if before == 0 { " = " } else { " + " }, (end - before).max(0))?;
                before = end.max(before);
            }
        }
        Ok(())
    }
}

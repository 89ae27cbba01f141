//! Whole clusters of engines on a simulated network.

mod checks;
mod network;

use crate::{Event, Input};
use hakudo_base::{Instant, NodeId, Random};
use network::{Network, Weather};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn three_nodes_form_one_view_at_once() {
    for sealed in [false, true] {
        let mut network = Network::new(1, 3, 2);
        network.sealed = sealed;
        (1..=3).for_each(|id| network.start(NodeId(id)));
        let time = network.run_until(SECOND, Network::is_whole).expect("a view of all");
        assert!(time < ms(200), "{time:?}");
        network.run_for(SECOND);
        assert_eq!(network.history.views(NodeId(2)).len(), 1);
        for _ in 0..10 {
            (1..=3).for_each(|id| network.say(NodeId(id), 10));
        }
        network.say(NodeId(2), 1_000_000);
        network.run_for(SECOND);
        assert_eq!(network.history.deliveries(NodeId(3)), 31);
        network.history.check(true);
    }
}

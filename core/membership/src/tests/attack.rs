//! What is not authentic changes nothing.

use super::network::Network;
use super::{SECOND, ms};
use crate::wire::{Ack, Batch, Blob, Heartbeat, Item, Kind, Message, Packet, Part, WireRow};
use crate::{ClusterKey, Effect, Event, Input, ViewId};
use hakudo_base::{Instant, NodeId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::time::Duration;

fn sealed_cluster(seed: u64) -> Network {
    let mut network = Network::new(seed, 3, 2);
    network.sealed = true;
    network.recording = Some(Vec::new());
    (1..=3).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND);
    network.say(NodeId(2), 5000);
    network.run_for(ms(300));
    network
}

#[test]
fn recordings_forgeries_and_scraps_change_nothing() {
    let mut network = sealed_cluster(1);
    let recorded = network.recording.take().unwrap();
    let mut random = network.random.fork();
    let before = network.history.deliveries(NodeId(1));
    let known = network.events.len();
    for (to, link, bytes) in recorded {
        network.inject(ms(random.between(0, 2000)), to, link, bytes.clone());
        let mut flipped = bytes.clone();
        let at = random.below(flipped.len() as u64) as usize;
        flipped[at] ^= 1 << random.below(8);
        network.inject(ms(random.between(0, 2000)), to, link, flipped);
        let short = random.below(bytes.len() as u64) as usize;
        network.inject(ms(random.between(0, 2000)), to, link, bytes[..short].to_vec());
        network.inject(ms(random.between(0, 2000)), to, (link + 1) % 2, bytes.clone());
        network.inject(ms(random.between(0, 2000)), NodeId(to.0 % 3 + 1), link, bytes);
    }
    network.run_for(SECOND * 3);
    for id in 1..=3 {
        assert_eq!(network.history.views(NodeId(id)).len(), 1);
        assert_eq!(network.history.deliveries(NodeId(id)), before);
        let counters = network.machines[&NodeId(id)].engine.as_ref().unwrap().counters();
        assert!(counters.forged > 0 && counters.replayed > 0 && counters.malformed > 0, "{counters:?}");
    }
    let harmless = |event: &Event| matches!(event, Event::Forged { .. });
    assert!(network.events[known..].iter().all(|(_, _, event)| harmless(event)), "{:?}", &network.events[known..]);
    network.say(NodeId(3), 10);
    network.run_for(SECOND);
    assert_eq!(network.history.deliveries(NodeId(1)), before + 1);
    network.history.check(true);
}

/// The handshakes of an ended run do not bring it back.
#[test]
fn the_dead_do_not_speak() {
    let mut network = sealed_cluster(2);
    network.crash(NodeId(3));
    network.run_for(SECOND * 2);
    let view = network.view(NodeId(1)).unwrap().id;
    let recorded = network.recording.take().unwrap();
    for (to, link, bytes) in recorded.into_iter().filter(|(to, _, _)| *to != NodeId(3)) {
        network.inject(Duration::ZERO, to, link, bytes);
    }
    network.run_for(SECOND * 2);
    assert_eq!(network.view(NodeId(1)).unwrap().id, view);
    let heard = Event::NodeHeard { node: NodeId(3), restarted: true };
    assert!(network.events.iter().all(|(_, _, event)| *event != heard));
}

#[test]
fn another_key_and_another_cluster_are_named() {
    let mut network = Network::new(3, 4, 1);
    network.sealed = true;
    network.machines.get_mut(&NodeId(3)).unwrap().config.key = ClusterKey::new([8; 32]);
    network.machines.get_mut(&NodeId(4)).unwrap().config.cluster_name = "other".into();
    (1..=4).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND * 2);
    assert_eq!(network.view(NodeId(1)).unwrap().members, [NodeId(1), NodeId(2)]);
    let said: Vec<&Event> =
        network.events.iter().filter(|(_, node, _)| *node == NodeId(1)).map(|(_, _, event)| event).collect();
    let foreign = Event::ForeignCluster { node: NodeId(4), cluster_name: "other".into() };
    assert!(said.contains(&&foreign), "{said:?}");
    assert!(said.iter().any(|event| matches!(event, Event::Forged { claimed: Some(NodeId(3)), .. })), "{said:?}");
}

fn item() -> impl Strategy<Value = Item> {
    (any::<u32>(), any::<u64>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
        |(origin, number, more, bytes)| Item {
            origin: NodeId(origin),
            number,
            kind: if more { Kind::User } else { Kind::Quorum },
            more,
            bytes: Blob(bytes),
        },
    )
}

fn view() -> impl Strategy<Value = ViewId> {
    (0..=ViewId::LAST_EPOCH, any::<u32>()).prop_map(|(epoch, leader)| ViewId { epoch, leader })
}

fn message() -> impl Strategy<Value = Message> {
    let batch = (view(), any::<u64>(), any::<u64>(), proptest::collection::vec(item(), 0..4));
    let batch = batch.prop_map(|(view, stable, first, items)| Batch { view, stable, first, items }).boxed();
    let row = (any::<u8>(), any::<u64>(), any::<u32>(), view(), view(), any::<bool>());
    let row = row.prop_map(|(node, number, hears, view, promised, leaving)| WireRow {
        node,
        boot: number,
        number,
        age_ms: hears,
        hears,
        view,
        promised,
        leaving,
    });
    let heartbeat = (any::<u64>(), any::<Option<(u64, u64)>>(), proptest::collection::vec(row, 0..40));
    let heartbeat = heartbeat.prop_map(|(sent, echo, rows)| Heartbeat {
        sent,
        echo,
        links: 3,
        config: sent,
        pauses: 1,
        pause_ms: 2,
        stable: sent,
        nodes: (0..40).map(NodeId).collect(),
        rows,
    });
    let missing = proptest::collection::vec(any::<(u64, u64)>(), 0..9);
    prop_oneof![
        heartbeat.prop_map(Message::Heartbeat),
        batch.clone().prop_map(Message::Submit),
        batch.clone().prop_map(Message::Ordered),
        batch.prop_map(Message::Fetched),
        (view(), any::<u64>(), any::<u64>()).prop_map(|(view, first, last)| Message::Fetch { view, first, last }),
        (view(), any::<bool>(), any::<u64>(), missing)
            .prop_map(|(view, submitted, next, missing)| { Message::Ack(Ack { view, submitted, next, missing }) }),
        (any::<u64>(), any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..90))
            .prop_map(|(whole, index, count, bytes)| Message::Part(Part { whole, index, count, bytes: Blob(bytes) })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(link: u8, message in message()) {
        let packet = Packet { link, message };
        let bytes = postcard::to_stdvec(&packet).unwrap();
        prop_assert_eq!(postcard::to_stdvec(&(packet.link, &packet.message)).unwrap(), bytes.clone());
        for end in 0..bytes.len() {
            prop_assert!(Packet::decode(&bytes[..end]).is_none());
        }
        prop_assert!(Packet::decode(&[&bytes[..], &[0]].concat()).is_none());
        prop_assert_eq!(Packet::decode(&bytes), Some(packet));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let _ = Packet::decode(&bytes);
    }

    #[test]
    fn a_stranger_gets_no_answer(kind in 0u8..5, bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        let mut network = Network::started(1, 2, 1);
        let mut effects = Vec::new();
        let now = network.now;
        let engine = network.machines.get_mut(&NodeId(1)).unwrap().engine.as_mut().unwrap();
        let bytes = [&[0x68, kind][..], &bytes].concat();
        engine.handle(now, Input::Packet { link: 0, bytes }, &mut effects);
        prop_assert!(effects.iter().all(|effect| matches!(effect, Effect::Event(Event::Forged { .. }))), "{:?}", effects);
    }
}

/// A member that has the key and speaks nonsense makes no other member fall.
#[test]
fn nonsense_from_a_member_is_survived() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut network = Network::started(5, 3, 1);
    network.run_for(SECOND);
    for step in 0..3000 {
        let message = message().new_tree(&mut runner).unwrap().current();
        // Nodes 40 and more do not exist; real ones may not be slandered in this test.
        if matches!(message, Message::Heartbeat(_)) {
            continue;
        }
        let bytes = postcard::to_stdvec(&(0u8, &message)).unwrap();
        let machine = network.machines.get_mut(&NodeId(3)).unwrap();
        let sealed = machine.engine.as_mut().unwrap().seal_for_test(NodeId(1), &bytes);
        network.inject(Duration::from_micros(step), NodeId(1), 0, sealed.unwrap());
    }
    network.run_for(SECOND);
    assert!(network.is_whole());
    network.say(NodeId(1), 10);
    network.run_for(SECOND);
    assert_eq!(network.history.deliveries(NodeId(2)), 1);
    assert!(network.now > Instant::ZERO);
}

//! Whole clusters of engines on a simulated network.

mod attack;
mod checks;
mod network;
mod storm;

use crate::quorum::DeviceOptions;
use crate::wire::{Message, Packet};
use crate::{ClusterKey, Config, ConfigError, Engine, Event, Input, PersistedState, QuorumOverride, ViewId};
use hakudo_base::NodeId;
use network::{Network, Weather, config};
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

/// A cluster whose first view stands.
fn cluster(seed: u64, nodes: u32, links: u8) -> Network {
    let mut network = Network::started(seed, nodes, links);
    network.run_until(SECOND * 3, Network::is_whole).expect("a view of all");
    network.run_for(SECOND);
    network
}

#[test]
fn a_dead_node_is_lost_in_time_however_many_there_are() {
    for (nodes, dead) in [(2, 1), (2, 2), (3, 1), (3, 2), (16, 1), (16, 9), (32, 1), (32, 32)] {
        let mut network = cluster(u64::from(nodes * 100 + dead), nodes, 1);
        network.say(NodeId(3.min(nodes)), 10);
        network.run_for(ms(u64::from(37 * dead % 100)));
        network.crash(NodeId(dead));
        let time = network.run_until(SECOND * 2, Network::is_whole).expect("a view without the dead");
        assert!(time >= ms(500) && time < ms(720), "{nodes} nodes, {dead} dies: {time:?}");
        for node in network.running() {
            let views = network.history.views(node);
            assert_eq!(views.len(), 2, "one change: {views:?}");
            assert_eq!(views[1].together, network.running());
        }
        network.history.check(true);
    }
}

#[test]
fn a_fenced_node_is_lost_sooner_and_a_living_one_is_not() {
    let mut network = cluster(5, 3, 1);
    network.crash(NodeId(3));
    network.run_for(ms(20));
    (1..=2).for_each(|id| network.give(NodeId(id), Input::Fenced(NodeId(3))));
    let time = network.run_until(SECOND, Network::is_whole).unwrap();
    assert!(time < ms(300), "{time:?}");
    network.give(NodeId(1), Input::Fenced(NodeId(2)));
    network.run_for(SECOND);
    assert_eq!(network.history.views(NodeId(1)).len(), 2);
}

/// Two busy cores: every process sleeps when it should not, again and again.
#[test]
fn pauses_shorter_than_the_limit_change_nothing() {
    for seed in 0..20 {
        let mut network = cluster(seed, 3, 1);
        let mut random = network.random.fork();
        for _ in 0..60 {
            for id in 1..=3 {
                if random.percent(60) {
                    network.pause(NodeId(id), ms(random.between(0, 450)));
                }
                network.say(NodeId(id), 100);
            }
            network.run_for(ms(random.between(0, 300)));
        }
        network.run_for(SECOND);
        for id in 1..=3 {
            assert_eq!(network.history.views(NodeId(id)).len(), 1, "seed {seed}");
        }
        network.history.check(true);
        assert!(network.events.iter().any(|(_, _, event)| matches!(event, Event::Paused { .. })));
        assert!(network.events.iter().any(|(_, _, event)| matches!(event, Event::NodePaused { .. })));
    }
}

#[test]
fn a_lost_link_is_shown_and_harmless() {
    let mut network = cluster(9, 3, 2);
    for other in [1, 3] {
        network.cuts.insert((NodeId(2), NodeId(other), 0));
        network.cuts.insert((NodeId(other), NodeId(2), 0));
    }
    for _ in 0..100 {
        let before = network.history.deliveries(NodeId(1));
        network.say(NodeId(2), 10);
        let time = network.run_until(SECOND, |network| network.history.deliveries(NodeId(1)) > before).unwrap();
        assert!(time < ms(30), "{time:?}");
        network.run_for(ms(10));
    }
    let down = Event::LinkDown { node: NodeId(2), link: 0 };
    assert!(network.events.iter().any(|(_, node, event)| *node == NodeId(1) && *event == down));
    network.cuts.clear();
    network.run_for(SECOND);
    assert_eq!(network.events.last().map(|(_, _, event)| matches!(event, Event::LinkUp { link: 0, .. })), Some(true));
    assert_eq!(network.history.views(NodeId(1)).len(), 1);
    network.history.check(true);
}

#[test]
fn a_node_that_hears_too_little_puts_itself_out() {
    let mut network = cluster(3, 5, 1);
    for other in [2, 4, 5] {
        network.cuts.insert((NodeId(other), NodeId(1), 0));
    }
    network.run_for(SECOND * 3);
    for id in 2..=5 {
        let views = network.history.views(NodeId(id));
        assert_eq!(views.len(), 2, "{views:?}");
        assert_eq!(views[1].members, (2..=5).map(NodeId).collect::<Vec<_>>());
        assert!(views[1].quorate);
    }
    assert_eq!(network.view(NodeId(1)).unwrap().members, [NodeId(1)]);
    network.cuts.clear();
    network.run_until(SECOND, Network::is_whole).expect("all come together again");
    network.history.check(true);
}

#[test]
fn a_restarted_node_is_another_member_at_once() {
    for sealed in [false, true] {
        let mut network = Network::new(4, 3, 2);
        network.sealed = sealed;
        (1..=3).for_each(|id| network.start(NodeId(id)));
        network.run_for(SECOND);
        let before = network.view(NodeId(1)).unwrap().id;
        network.crash(NodeId(2));
        network.start(NodeId(2));
        let restarted =
            |network: &Network| network.is_whole() && network.view(NodeId(1)).is_some_and(|view| view.id > before);
        let time = network.run_until(SECOND, restarted).unwrap();
        assert!(time < ms(120), "{time:?}");
        assert_eq!(network.view(NodeId(1)).unwrap().together, [NodeId(1), NodeId(3)]);
        assert_eq!(network.view(NodeId(2)).unwrap().together, [NodeId(2)]);
        network.run_for(SECOND);
        network.history.check(true);
    }
}

#[test]
fn a_goodbye_is_known_as_one() {
    for leaver in [1, 2] {
        let mut network = cluster(7, 3, 1);
        (0..50).for_each(|_| network.say(NodeId(leaver), 500));
        network.give(NodeId(leaver), Input::Leave);
        let time = network.run_until(SECOND, |network| network.running().len() == 2 && network.is_whole()).unwrap();
        assert!(time < ms(150), "{time:?}");
        for node in network.running() {
            assert_eq!(network.view(node).unwrap().left, [NodeId(leaver)]);
            assert_eq!(network.history.deliveries(node), 50);
        }
        network.history.check(true);
    }
}

#[test]
fn a_leader_that_leaves_keeps_no_time_for_the_others() {
    let mut network = Network::new(12, 5, 1);
    for machine in network.machines.values_mut() {
        machine.config.quorum.last_man_standing = true;
        machine.config.quorum.last_man_standing_window = ms(500);
    }
    (1..=5).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND);
    network.crash(NodeId(5));
    network.run_until(SECOND, Network::is_whole).expect("a view without the dead");
    network.run_for(ms(300));
    // It is not heard any more, so that it goes only after a while, in which the window is over.
    (2..=4).for_each(|other| _ = network.cuts.insert((NodeId(1), NodeId(other), 0)));
    network.give(NodeId(1), Input::Leave);
    network.run_for(SECOND * 3);
    assert_eq!(network.running(), [NodeId(2), NodeId(3), NodeId(4)]);
    // The others have forgotten who is lost: of five, two would be too few.
    network.crash(NodeId(2));
    network.run_for(SECOND * 2);
    assert!(network.view(NodeId(3)).unwrap().quorate);
}

#[test]
fn the_last_one_leaves_alone() {
    let mut network = cluster(8, 2, 1);
    network.give(NodeId(1), Input::Leave);
    network.give(NodeId(2), Input::Leave);
    network.run_until(SECOND * 2, |network| network.running().is_empty()).expect("both go");
}

#[test]
fn a_word_takes_two_hops() {
    let mut network = cluster(11, 3, 1);
    for (from, hops) in [(1, 1), (2, 2), (3, 2)] {
        let before: Vec<usize> = (1..=3).map(|id| network.history.deliveries(NodeId(id))).collect();
        network.say(NodeId(from), 10);
        let all =
            |network: &Network| (1..=3).all(|id| network.history.deliveries(NodeId(id)) > before[id as usize - 1]);
        let time = network.run_until(SECOND, all).unwrap();
        assert!(time <= Duration::from_micros(150 * hops), "{time:?}");
        network.run_for(ms(50));
    }
}

#[test]
fn long_messages_pass_through_loss() {
    let mut network = cluster(12, 3, 1);
    network.weather = Weather { loss: 2, ..Weather::FINE };
    network.say(NodeId(2), 8 << 20);
    network.say(NodeId(3), 10);
    let all = |network: &Network| (1..=3).all(|id| network.history.deliveries(NodeId(id)) == 2);
    let time = network.run_until(SECOND * 20, all).unwrap();
    assert!(time < SECOND * 5, "{time:?}");
    network.history.check(true);
    let mut effects = Vec::new();
    let now = network.now;
    let engine = network.machines.get_mut(&NodeId(1)).unwrap().engine.as_mut().unwrap();
    engine.handle(now, Input::Broadcast(vec![0; crate::MAX_PAYLOAD + 1]), &mut effects);
    assert!(matches!(effects[..], [crate::Effect::Undelivered { reason: crate::Undelivered::TooLarge, .. }]));
}

#[test]
fn an_operator_can_end_waiting_for_all() {
    let mut network = Network::new(13, 3, 1);
    for machine in network.machines.values_mut() {
        machine.config.quorum.wait_for_all = Some(true);
    }
    (1..=2).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND * 2);
    assert!(!network.view(NodeId(2)).unwrap().quorate);
    network.give(NodeId(2), Input::Quorum(QuorumOverride::CancelWaitForAll));
    network.run_for(ms(100));
    for id in 1..=2 {
        assert!(network.view(NodeId(id)).unwrap().quorate);
        assert_eq!(network.view(NodeId(id)).unwrap().together, [NodeId(1), NodeId(2)]);
    }
    network.give(NodeId(2), Input::Quorum(QuorumOverride::CancelWaitForAll));
    network.run_for(ms(100));
    assert!(network.events.iter().any(|(_, _, event)| matches!(event, Event::QuorumRefused { .. })));
    network.history.check(true);
}

#[test]
fn the_last_man_stands() {
    let mut network = Network::new(14, 5, 1);
    for machine in network.machines.values_mut() {
        machine.config.quorum.last_man_standing = true;
        machine.config.quorum.wait_for_all = Some(true);
        machine.config.quorum.last_man_standing_window = SECOND * 2;
    }
    (1..=5).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND);
    for dead in [1, 5, 2] {
        network.crash(NodeId(dead));
        network.run_for(SECOND * 4);
        assert!(network.is_whole());
        for node in network.running() {
            let decision = network.machines[&node].engine.as_ref().unwrap().quorum();
            assert!(network.view(node).unwrap().quorate, "after {dead}: {decision}");
        }
    }
    network.history.check(true);
}

#[test]
fn the_window_ends_though_the_leader_that_keeps_its_time_dies() {
    let mut network = Network::new(18, 7, 1);
    for machine in network.machines.values_mut() {
        machine.config.quorum.last_man_standing = true;
        machine.config.quorum.wait_for_all = Some(true);
        machine.config.quorum.last_man_standing_window = SECOND * 2;
    }
    (1..=7).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND);
    let expected = |network: &Network| {
        let nodes = network.running().into_iter();
        nodes.map(|node| network.machines[&node].engine.as_ref().unwrap().quorum().expected_votes).collect::<Vec<_>>()
    };
    network.crash(NodeId(7));
    network.run_for(SECOND * 2);
    assert_eq!(expected(&network), [7; 6], "the window is not over");
    network.crash(NodeId(1));
    network.run_for(SECOND * 4);
    assert_eq!(expected(&network), [5; 5]);
    network.history.check(true);
}

#[test]
fn a_node_is_added_while_all_runs() {
    let mut network = cluster(15, 3, 1);
    let larger = |id| config(NodeId(id), 4, 1);
    for id in 1..=3 {
        network.give(NodeId(id), Input::Configure(Box::new(larger(id))));
        network.run_for(ms(150));
    }
    assert!((1..=3).all(|id| network.view(NodeId(id)).unwrap().members.len() == 3));
    assert_eq!(network.history.views(NodeId(1)).len(), 1, "nobody was put out");
    let differs = |event: &Event| matches!(event, Event::ConfigDiffers { .. });
    assert!(network.events.iter().any(|(_, _, event)| differs(event)));
    assert!(network.events.iter().any(|(_, _, event)| matches!(event, Event::ConfigAgrees { .. })));
    let mut refused = larger(1);
    refused.nodes.clear();
    network.give(NodeId(1), Input::Configure(Box::new(refused)));
    assert!(matches!(network.events.last(), Some((_, _, Event::ConfigRefused { .. }))));

    network.machines.insert(NodeId(4), network::Machine::new(larger(4)));
    network.start(NodeId(4));
    let time = network.run_until(SECOND, Network::is_whole).unwrap();
    assert!(time < ms(200), "{time:?}");
    network.history.check(true);
}

#[test]
fn what_comes_at_once_is_answered_at_once() {
    let mut network = cluster(23, 2, 1);
    network.say(NodeId(2), 20_000);
    let packets = network.take_from_the_wire(NodeId(1));
    assert!(packets.len() >= 19, "{} datagrams", packets.len());
    let count = packets.len();
    network.give(NodeId(1), Input::Packets(packets));
    // All of it comes back as part of the order, with one acknowledgement.
    assert_eq!(network.take_from_the_wire(NodeId(2)).len(), count + 1);
    network.run_for(SECOND);
    network.history.check(true);
    assert_eq!(network.history.deliveries(NodeId(2)), 1, "what was lost on the wire came again");
}

#[test]
fn the_key_is_changed_while_all_runs() {
    let mut network = Network::new(17, 3, 1);
    network.sealed = true;
    (1..=3).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND);
    let (old, new) = (config(NodeId(1), 3, 1).key, ClusterKey::new([9; 32]));
    let steps = [(&old, Some(&new)), (&new, Some(&old)), (&new, None)];
    for (key, second) in steps {
        for id in 1..=3 {
            let config = Config { key: key.clone(), second_key: second.cloned(), ..config(NodeId(id), 3, 1) };
            network.give(NodeId(id), Input::Configure(Box::new(config)));
            network.run_for(SECOND);
        }
    }
    for id in 1..=3 {
        assert_eq!(network.history.views(NodeId(id)).len(), 1, "nobody was put out");
        let engine = network.machines[&NodeId(id)].engine.as_ref().unwrap();
        assert_eq!((engine.counters().forged, engine.config().second_key.clone()), (0, None));
    }
    // Who still has the old key alone is not heard any more.
    network.give(NodeId(3), Input::Configure(Box::new(config(NodeId(3), 3, 1))));
    let time = network.run_until(SECOND * 2, |network| network.view(NodeId(1)).unwrap().members.len() == 2).unwrap();
    assert!(time < ms(800), "{time:?}");
    network.history.check(true);
}

#[test]
fn a_device_is_heard_by_all_through_one() {
    let mut network = Network::new(18, 4, 1);
    for machine in network.machines.values_mut() {
        machine.config.quorum.device = Some(DeviceOptions { votes: Some(1), ..DeviceOptions::default() });
    }
    (1..=4).for_each(|id| network.start(NodeId(id)));
    network.run_for(SECOND);
    network.split(&[1, 2], &[3, 4]);
    network.run_for(SECOND * 2);
    let quorate =
        |network: &Network| (1..=4).filter(|id| network.view(NodeId(*id)).unwrap().quorate).collect::<Vec<_>>();
    assert_eq!(quorate(&network), []);
    network.give(NodeId(4), Input::Device { votes: true });
    network.run_for(ms(100));
    assert_eq!(quorate(&network), [3, 4]);
    assert_eq!(network.view(NodeId(3)).unwrap().together, [NodeId(3), NodeId(4)]);
    // Said again it is no news; a device that is not heard any more does not vote.
    let views = network.history.views(NodeId(3)).len();
    network.give(NodeId(4), Input::Device { votes: true });
    network.run_for(ms(100));
    assert_eq!(network.history.views(NodeId(3)).len(), views);
    network.give(NodeId(4), Input::Device { votes: false });
    network.run_for(ms(100));
    assert_eq!(quorate(&network), []);
    network.history.check(true);
}

/// How many times engines waited for their disks while this happened again and again.
fn waits(disks_are_late: bool, happens: impl Fn(&mut Network)) -> usize {
    let mut network = cluster(17, 3, 1);
    network.disks_are_late = disks_are_late;
    network.waited_for_disks = 0;
    for _ in 0..60 {
        happens(&mut network);
        network.run_for(SECOND);
        assert!(network.is_whole());
    }
    network.history.check(true);
    network.waited_for_disks
}

#[test]
fn views_wait_for_no_disk_that_keeps_up() {
    let parts = |network: &mut Network| {
        network.split(&[1, 2], &[3]);
        network.run_for(SECOND);
        network.cuts.clear();
    };
    assert_eq!(waits(false, parts), 0);
    assert!(waits(true, parts) > 0);
}

#[test]
fn who_starts_anew_makes_few_wait_for_their_disks() {
    let restarts = |network: &mut Network| {
        network.crash(NodeId(3));
        network.start(NodeId(3));
    };
    // Itself, once, and at most who proposes the view before it could write what it has just heard of.
    assert!((60..=120).contains(&waits(false, restarts)));
}

#[test]
fn impossible_epochs_are_refused() {
    let damaged = PersistedState { epoch_limit: ViewId::LAST_EPOCH + 1, ..PersistedState::default() };
    let refused = Engine::new(config(NodeId(1), 3, 1), damaged, [0; 32]).unwrap_err();
    assert_eq!(refused, ConfigError::EpochOutOfRange(ViewId::LAST_EPOCH + 1));
    let fetch =
        |epoch| Packet { link: 0, message: Message::Fetch { view: ViewId { epoch, leader: 1 }, first: 1, last: 1 } };
    let read = |packet: &Packet| Packet::decode(&postcard::to_stdvec(packet).unwrap());
    assert_eq!(read(&fetch(ViewId::LAST_EPOCH)), Some(fetch(ViewId::LAST_EPOCH)));
    assert_eq!(read(&fetch(ViewId::LAST_EPOCH + 1)), None);
}

#[test]
fn a_partial_cluster_starts_after_a_short_time() {
    let mut network = Network::new(16, 3, 1);
    (1..=2).for_each(|id| network.start(NodeId(id)));
    let time = network.run_until(SECOND * 2, Network::is_whole).unwrap();
    assert!(time < ms(700), "{time:?}");
    assert!(network.view(NodeId(1)).unwrap().quorate);
    network.start(NodeId(3));
    let time = network.run_until(SECOND, Network::is_whole).unwrap();
    assert!(time < ms(100), "{time:?}");
}

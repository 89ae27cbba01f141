//! A site of two nodes in a group that speaks booth's protocol: what comes to the node that does not speak for the site is
//! passed on to the one that does, and answers come back.

use super::cluster::Cluster;
use crate::core_types::{Input, TicketInput, TicketSetup};
use hakudo_tickets::booth::config;
use hakudo_tickets::booth::member::BoothSetup;
use hakudo_tickets::booth::seal::{self, Key};
use hakudo_tickets::booth::wire::{Body, Command, Flags, Leader, Message, Outcome, Reason, SiteId, Stamp, TicketBody};
use hakudo_tickets::{Group, MemberEntry, MemberKind, TicketConfig};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

const TEXT: &str = "site=10.0.0.1\nsite=10.0.0.2\narbitrator=10.0.0.3\nticket=T\nexpire=10\ntimeout=1\nretries=3\n";
const SPEAKER: u32 = 1;
const OTHER: u32 = 2;

fn address(member: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, member])
}

fn key(seed: u8) -> Key {
    Key::from_file(&[seed; 32]).unwrap()
}

/// The cluster is the first site of the group, and n1 leads it.
fn site() -> Cluster {
    let file = config::read(TEXT).group.unwrap();
    let entry = |member: u8| MemberEntry {
        id: BoothSetup::member_id(address(member)),
        name: address(member).to_string(),
        kind: if member == 3 { MemberKind::Arbitrator } else { MemberKind::Site },
        addresses: Vec::new(),
        key: None,
    };
    let tickets = vec![TicketConfig::new("T")];
    let group = Group { name: "g".into(), members: (1..=3).map(entry).collect(), tickets, ..Group::default() };
    let addresses = (1..=3).map(address).collect();
    let booth = BoothSetup { file, addresses, local: address(1), key: Some(key(7)), utc_offset: 0 };
    let setup = TicketSetup {
        local: BoothSetup::member_id(address(1)).0,
        group,
        stop_time_ms: BTreeMap::new(),
        watchdog: false,
        booth: Some(Box::new(booth)),
    };
    let mut cluster = Cluster::settled(2);
    for node in [SPEAKER, OTHER] {
        cluster.input(node, Input::Tickets(TicketInput::Group(Some(Box::new(setup.clone())))));
    }
    cluster.pass(Duration::from_secs(12));
    assert!(cluster.take_log().contains("n1 speaks for the site"));
    cluster.sent.clear();
    cluster
}

/// A message of a member about the ticket, sealed with its key in the second `second` of the cluster's life.
fn message(command: Command, from: u8, key: &Key, second: u32) -> Vec<u8> {
    let body =
        TicketBody { ticket: "T".into(), leader: Leader::Site(SiteId::of(address(from))), term: 1, valid_for: 0 };
    let message = Message {
        from: SiteId::of(address(from)),
        command,
        request: None,
        flags: Flags::default(),
        reason: Reason::JustSo,
        outcome: Outcome::Success,
        body: Body::Ticket(body),
    };
    seal::write(&message, Some(key), Stamp { seconds: 1_700_000_000 + second, microseconds: 0 }).unwrap()
}

fn arrives(cluster: &mut Cluster, node: u32, bytes: Vec<u8>) {
    cluster.input(node, Input::Tickets(TicketInput::Message { from: 0, bytes }));
    cluster.run();
}

/// What was sent to a member since, by its commands.
fn sent_to(cluster: &mut Cluster, member: u8) -> Vec<Command> {
    let to = SiteId::of(address(member)).0;
    let mut commands = Vec::new();
    for (_, bytes) in std::mem::take(&mut cluster.sent).into_iter().filter(|(peer, _)| *peer == to) {
        commands.push(seal::read(&bytes, Some(&key(7)), false).unwrap().command);
    }
    commands
}

fn asks(cluster: &mut Cluster, node: u32, client: u64, command: Command, second: u32) {
    let bytes = message(command, 1, &key(7), second);
    cluster.input(node, Input::Tickets(TicketInput::Client { client, bytes }));
    cluster.run();
}

/// Who was answered what since: the node, its client, the outcome or the text, and whether that was all.
fn answers(cluster: &mut Cluster) -> Vec<(u32, u64, String, bool)> {
    let answers = std::mem::take(&mut cluster.answers).into_iter();
    answers
        .map(|(node, client, bytes, last)| {
            let is_text = |message: &Message| matches!(message.body, Body::Text(_));
            let read = [true, false].map(|text| seal::read(&bytes, Some(&key(7)), text).ok());
            let said = match read {
                [Some(message), _] if is_text(&message) => match message.body {
                    Body::Text(text) => text,
                    _ => String::new(),
                },
                [_, Some(message)] | [Some(message), _] => message.outcome.to_string(),
                [None, None] => "nothing".to_owned(),
            };
            (node, client, said, last)
        })
        .collect()
}

#[test]
fn a_message_at_the_other_node_reaches_the_speaker_once() {
    let mut cluster = site();
    arrives(&mut cluster, OTHER, message(Command::RequestVote, 2, &key(7), 20));
    assert_eq!(sent_to(&mut cluster, 2), [Command::VoteFor], "the speaker answers, and nobody else");
    // The same at the speaker's own address is a replay.
    arrives(&mut cluster, SPEAKER, message(Command::RequestVote, 2, &key(7), 20));
    assert_eq!(sent_to(&mut cluster, 2), []);
}

#[test]
fn what_is_not_of_the_group_is_not_passed_on() {
    let mut cluster = site();
    for bytes in [
        message(Command::RequestVote, 2, &key(8), 20),
        message(Command::RequestVote, 9, &key(7), 20),
        vec![0; 152],
        Vec::new(),
    ] {
        arrives(&mut cluster, OTHER, bytes);
    }
    assert_eq!(cluster.passed_on, 0, "nothing went through the cluster");
    assert_eq!(sent_to(&mut cluster, 2), []);
}

#[test]
fn a_flood_at_one_node_is_none_for_the_cluster() {
    let mut cluster = site();
    for number in 0..1000 {
        let bytes = message(Command::RequestVote, 2, &key(7), number % 4);
        cluster.input(OTHER, Input::Tickets(TicketInput::Message { from: 0, bytes }));
    }
    cluster.run();
    assert_eq!(cluster.passed_on, 200 + 2 * 2, "in one second: two more for the ticket and each of two others");
    cluster.sent.clear();
    cluster.pass(Duration::from_secs(2));
    cluster.sent.clear();
    arrives(&mut cluster, OTHER, message(Command::RequestVote, 2, &key(7), 30));
    assert_eq!(sent_to(&mut cluster, 2), [Command::VoteFor], "a second later it is served again");
}

#[test]
fn a_client_is_answered_where_it_asked() {
    let mut cluster = site();
    // Numbers of clients are those of their nodes.
    asks(&mut cluster, OTHER, 5, Command::List, 20);
    asks(&mut cluster, SPEAKER, 5, Command::List, 21);
    let list = "ticket: T, leader: NONE\n".to_owned();
    assert_eq!(answers(&mut cluster), [(OTHER, 5, list.clone(), true), (SPEAKER, 5, list, true)]);
    asks(&mut cluster, OTHER, 6, Command::Revoke, 22);
    assert_eq!(answers(&mut cluster), [(OTHER, 6, "Tidl".to_owned(), true)]);
    // One without the key is told so, and what is no message too.
    let bytes = message(Command::List, 1, &key(8), 23);
    cluster.input(OTHER, Input::Tickets(TicketInput::Client { client: 7, bytes }));
    cluster.input(OTHER, Input::Tickets(TicketInput::Client { client: 8, bytes: vec![1; 48] }));
    cluster.run();
    assert_eq!(answers(&mut cluster), [(OTHER, 7, "Auth".to_owned(), true), (OTHER, 8, "IArg".to_owned(), true)]);
}

#[test]
fn a_client_that_went_is_forgotten() {
    let mut cluster = site();
    // Nobody votes, so that the outcome is not known for long.
    asks(&mut cluster, OTHER, 5, Command::Grant, 20);
    assert_eq!(answers(&mut cluster), [(OTHER, 5, "More".to_owned(), false)]);
    cluster.input(OTHER, Input::Tickets(TicketInput::ClientGone { client: 5 }));
    cluster.run();
    cluster.pass(Duration::from_secs(60));
    assert_eq!(answers(&mut cluster), []);
}

#[test]
fn a_client_does_not_wait_for_a_speaker_that_is_lost() {
    let mut cluster = site();
    asks(&mut cluster, OTHER, 5, Command::Grant, 20);
    assert_eq!(answers(&mut cluster), [(OTHER, 5, "More".to_owned(), false)]);
    cluster.view_as(&[OTHER], &[], true, true);
    cluster.run();
    assert_eq!(answers(&mut cluster), [(OTHER, 5, "nothing".to_owned(), true)], "its connection is closed");
    // The node that is left speaks for the site, and serves by itself.
    cluster.pass(Duration::from_secs(12));
    answers(&mut cluster);
    asks(&mut cluster, OTHER, 6, Command::Peers, 40);
    assert!(answers(&mut cluster)[0].2.starts_with("site         10.0.0.2"), "it knows the other members");
}

//! Two sites of two nodes and an arbitrator share a ticket; the sites decide with the real scheduler.

mod bounds;

use super::cluster::Cluster;
use crate::core_types::{Input, TicketInput, TicketSetup};
use crate::request::{Change, ChangeOperation, Request};
use expect_test::{Expect, expect};
use hakudo_base::UnixTime;
use hakudo_tickets::{
    Effect as MemberEffect, Group, Input as MemberInput, Member, MemberEntry, MemberId, MemberKind, TicketConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const A: u32 = 1;
const B: u32 = 2;
const ARBITRATOR: u32 = 3;
/// Between two looks at everybody's clocks.
const STEP: Duration = Duration::from_millis(20);

struct Sites {
    clusters: [Cluster; 2],
    arbitrator: Member,
    /// Members whose links to the others are cut.
    cut: BTreeSet<u32>,
    on_way: Vec<(u32, u32, Vec<u8>)>,
}

fn group() -> Group {
    let member =
        |id, name: &str, kind| MemberEntry { id: MemberId(id), name: name.into(), kind, addresses: vec![], key: None };
    let mut ticket = TicketConfig::new("T");
    ticket.expire = Duration::from_secs(4);
    ticket.stop_time = Some(Duration::from_secs(3));
    Group {
        name: "g".into(),
        members: vec![
            member(A, "a", MemberKind::Site),
            member(B, "b", MemberKind::Site),
            member(ARBITRATOR, "arbitrator", MemberKind::Arbitrator),
        ],
        tickets: vec![ticket],
        ..Group::default()
    }
}

fn site(local: u32) -> Cluster {
    let mut cluster = alone();
    for node in [1, 2] {
        cluster.input(node, joins(local));
    }
    cluster.run();
    cluster.log.clear();
    cluster
}

fn joins(local: u32) -> Input {
    let setup = TicketSetup { local, group: group(), stop_time_ms: BTreeMap::new(), watchdog: false, booth: None };
    Input::Tickets(TicketInput::Group(Some(Box::new(setup))))
}

/// A cluster that is in no group yet.
fn alone() -> Cluster {
    let mut cluster = Cluster::settled(2);
    cluster.planner =
        Some(Box::new(|cib| Ok(hakudo_scheduler::plan(cib, UnixTime::from_seconds(1_700_000_000)).transition)));
    let create = |parent: &str, xml: &str| ChangeOperation::Create { parent: format!("//{parent}"), xml: xml.into() };
    let operations = vec![
        create(
            "crm_config",
            "<cluster_property_set id='o'><nvpair id='o-s' name='stonith-enabled' value='false'/></cluster_property_set>",
        ),
        create("resources", "<primitive id='web' class='ocf' provider='hakudo' type='Dummy'/>"),
        create("constraints", "<rsc_ticket id='web-T' rsc='web' ticket='T' loss-policy='stop'/>"),
    ];
    cluster.ask(1, Request::Change(Change { operations, if_version: None, force: false }));
    cluster.run();
    cluster.run();
    cluster.log.clear();
    cluster
}

impl Sites {
    fn new() -> Self {
        let clusters = [site(A), site(B)];
        let now = clusters[0].now;
        let arbitrator = Member::new(MemberId(ARBITRATOR), group(), 7, None, now).unwrap();
        Self { clusters, arbitrator, cut: BTreeSet::new(), on_way: Vec::new() }
    }

    /// All clocks go on together.
    fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            left -= step;
            for (from, to, bytes) in std::mem::take(&mut self.on_way) {
                if !self.cut.contains(&from) && !self.cut.contains(&to) {
                    self.arrive(from, to, bytes);
                }
            }
            for cluster in &mut self.clusters {
                cluster.pass(step);
            }
            let now = self.clusters[0].now;
            self.tell_arbitrator(now, MemberInput::Timer);
            for (cluster, from) in self.clusters.iter_mut().zip([A, B]) {
                self.on_way.extend(cluster.sent.drain(..).map(|(to, bytes)| (from, to, bytes)));
            }
        }
    }

    fn arrive(&mut self, from: u32, to: u32, bytes: Vec<u8>) {
        if to == ARBITRATOR {
            let now = self.clusters[0].now;
            return self.tell_arbitrator(now, MemberInput::Received { from: MemberId(from), message: bytes });
        }
        let cluster = &mut self.clusters[to as usize - 1];
        let nodes: Vec<u32> = cluster.machines.keys().copied().collect();
        for node in nodes {
            cluster.input(node, Input::Tickets(TicketInput::Message { from, bytes: bytes.clone() }));
        }
    }

    fn tell_arbitrator(&mut self, now: hakudo_base::Instant, input: MemberInput) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.arbitrator.handle(now, input, &mut effects);
            for effect in effects {
                match effect {
                    MemberEffect::Send { to, message } => self.on_way.push((ARBITRATOR, to.0, message)),
                    MemberEffect::Persist { seq, .. } | MemberEffect::Confirm { seq } => {
                        inputs.push(MemberInput::Done(seq))
                    }
                    _ => {}
                }
            }
        }
    }

    fn at(&mut self, site: u32) -> &mut Cluster {
        &mut self.clusters[site as usize - 1]
    }

    fn ask(&mut self, site: u32, node: u32, ask: hakudo_tickets::Request) {
        self.at(site).ask(node, Request::Tickets { ask: Box::new(ask), progress: false });
    }

    fn grant(&mut self, site: u32) {
        self.ask(site, 1, hakudo_tickets::Request::Grant { ticket: "T".into(), site: MemberId(site), force: false });
    }

    fn runs(&self, site: u32) -> bool {
        self.clusters[site as usize - 1].machines.values().any(|machine| machine.running.contains("web"))
    }

    /// What a site tells of tickets and of what needs them.
    fn check(&mut self, site: u32, expected: Expect) {
        let log = self.at(site).take_log();
        let kept = ["ticket", "speaks", "speak", "answers", "web"];
        let lines = log.lines().filter(|line| kept.iter().any(|word| line.contains(word)));
        let told: String = lines.map(|line| format!("{line}\n")).collect();
        expected.assert_eq(&told);
    }
}

#[test]
fn a_ticket_is_granted_and_its_service_starts() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    assert!(!sites.runs(A) && !sites.runs(B));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    assert!(sites.runs(A) && !sites.runs(B));
    sites.check(
        A,
        expect![[r#"
            [ticket-group] arbitrator is heard
            [ticket-group] b is heard
            [ticket-group] arbitrator coordinates the group
            [ticket-group] ticket "T" is granted to a: granted by the administrator
            n1 answers client 2: Tickets { answer: Done(Granted { site: MemberId(1), generation: 4 }) }
            [ticket-granted] ticket T is granted to this cluster
            [action-start] web start on n1 begins
            n1 runs web start n1: 0
            [action-done] web start on n1 is done
        "#]],
    );
    sites.check(
        B,
        expect![[r#"
            [ticket-group] arbitrator is heard
            [ticket-group] a is heard
            [ticket-group] arbitrator coordinates the group
            [ticket-group] ticket "T" is granted to a: granted by the administrator
        "#]],
    );
    sites.pass(Duration::from_secs(60));
    assert!(sites.runs(A), "the lease is renewed");
    sites.check(A, expect![[""]]);
}

#[test]
fn the_other_site_takes_over_after_the_lost_one_has_stopped() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    sites.cut.insert(A);
    let (mut stopped, mut started) = (None, None);
    for step in 0..1000u32 {
        sites.pass(STEP);
        assert!(!(sites.runs(A) && sites.runs(B)), "never both");
        if !sites.runs(A) {
            stopped.get_or_insert(step);
        }
        if sites.runs(B) {
            started.get_or_insert(step);
        }
    }
    let (stopped, started) = (stopped.unwrap() * 20, started.unwrap() * 20);
    assert!(stopped <= 4100, "{stopped} ms: the lease is 4 s");
    assert!((6500..8500).contains(&started), "{started} ms: lease and time to stop, and a little for drift");
    sites.check(
        A,
        expect![[r#"
            [ticket-group] arbitrator is heard
            [ticket-group] b is heard
            [ticket-group] arbitrator coordinates the group
            [ticket-group] ticket "T" is granted to a: granted by the administrator
            n1 answers client 2: Tickets { answer: Done(Granted { site: MemberId(1), generation: 4 }) }
            [ticket-granted] ticket T is granted to this cluster
            [action-start] web start on n1 begins
            n1 runs web start n1: 0
            [action-done] web start on n1 is done
            [ticket-group] no member is heard that coordinates the group
            [ticket-lost] ticket T is lost: its lease ended on n2 without being renewed
            [ticket-group] arbitrator is not heard any more
            [action-start] web stop on n1 begins
            n1 runs web stop n1: 0
            [ticket-group] the lease of ticket "T" ended without being renewed
            [action-done] web stop on n1 is done
        "#]],
    );
    sites.check(
        B,
        expect![[r#"
            [ticket-group] arbitrator is heard
            [ticket-group] a is heard
            [ticket-group] arbitrator coordinates the group
            [ticket-group] ticket "T" is granted to a: granted by the administrator
            [ticket-group] ticket "T" is granted to b: the last holder was lost
            [ticket-granted] ticket T is granted to this cluster
            [action-start] web start on n1 begins
            n1 runs web start n1: 0
            [action-done] web start on n1 is done
        "#]],
    );
    sites.cut.clear();
    sites.pass(Duration::from_secs(10));
    assert!(!sites.runs(A) && sites.runs(B), "it stays where it is");
}

#[test]
fn a_site_goes_on_when_its_speaker_dies() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    sites.at(A).view_as(&[2], &[], true, true);
    sites.pass(Duration::from_secs(20));
    assert!(sites.at(A).machines[&2].running.contains("web"), "the other node serves");
    assert!(!sites.runs(B));
    sites.check(
        A,
        expect![[r#"
            [ticket-group] arbitrator is heard
            [ticket-group] b is heard
            [ticket-group] arbitrator coordinates the group
            [ticket-group] ticket "T" is granted to a: granted by the administrator
            n1 answers client 2: Tickets { answer: Done(Granted { site: MemberId(1), generation: 4 }) }
            [ticket-granted] ticket T is granted to this cluster
            [action-start] web start on n1 begins
            n1 runs web start n1: 0
            [action-done] web start on n1 is done
            n2 speaks for the site
            [action-start] web start on n2 begins
            n2 runs web start n2: 0
            [action-done] web start on n2 is done
            [ticket-group] arbitrator is heard
            [ticket-group] arbitrator coordinates the group
        "#]],
    );
}

#[test]
fn every_node_ends_the_lease_by_itself() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    let holder = if sites.at(A).machines[&1].running.contains("web") { 1 } else { 2 };
    // The node that serves is alone, without quorum, and the policy lets it go on.
    sites.at(A).view_as(&[holder], &[], false, true);
    sites.at(A).run();
    sites.pass(Duration::from_secs(6));
    assert!(!sites.runs(A), "nobody renewed the lease for it");
}

#[test]
fn requests_are_answered_at_any_node() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.ask(B, 2, hakudo_tickets::Request::Status);
    sites.pass(Duration::from_secs(1));
    let log = sites.at(B).take_log();
    assert!(log.contains("n2 answers client") && log.contains("coordinator: Some"), "{log}");
    sites.ask(B, 2, hakudo_tickets::Request::Revoke { ticket: "nonsense".into(), force: false });
    sites.pass(Duration::from_secs(1));
    sites.check(
        B,
        expect![[r#"
        n2 answers client 3: Tickets { answer: Refused(NoSuchTicket("nonsense")) }
    "#]],
    );
}

#[test]
fn the_site_that_is_asked_says_which_one_it_is_whoever_coordinates() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    assert!(sites.arbitrator.is_coordinator());
    for site in [A, B] {
        sites.at(site).take_log();
        sites.ask(site, 2, hakudo_tickets::Request::Status);
        sites.pass(Duration::from_secs(1));
        let log = sites.at(site).take_log();
        assert!(log.contains(&format!("local: MemberId({site}), coordinator: Some(MemberId({ARBITRATOR}))")), "{log}");
        assert!(log.contains(&format!("id: MemberId({site}), name: \"{}\"", ["a", "b"][site as usize - 1])), "{log}");
        let heard: Vec<&str> =
            log.split("heard: ").skip(1).map(|rest| rest.split(", received").next().unwrap()).collect();
        assert_ne!(heard[2 - site as usize], "Some(0ns)", "the other one is not it: {log}");
        assert_eq!(heard[site as usize - 1], "Some(0ns)", "{log}");
    }
}

#[test]
fn who_asks_for_a_move_may_hear_of_its_steps() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    sites.at(B).take_log();
    let ask = |to| Box::new(hakudo_tickets::Request::Move { ticket: "T".into(), to: MemberId(to), dry_run: false });
    // Asked at the node that does not speak, of the site that does not have it.
    sites.at(B).ask(2, Request::Tickets { ask: ask(B), progress: true });
    sites.pass(Duration::from_secs(2));
    sites.at(B).ask(2, Request::Tickets { ask: ask(A), progress: false });
    sites.pass(Duration::from_secs(2));
    let log = sites.at(B).take_log();
    let answers: String = log.lines().filter(|line| line.contains("answers")).map(|line| format!("{line}\n")).collect();
    expect![[r#"
        n2 answers client 2: Tickets { answer: Progress(Checking { site: MemberId(2) }) }
        n2 answers client 2: Tickets { answer: Progress(Stopping { site: MemberId(1) }) }
        n2 answers client 2: Tickets { answer: Progress(Stopped { site: MemberId(1) }) }
        n2 answers client 2: Tickets { answer: Progress(Starting { site: MemberId(2) }) }
        n2 answers client 2: Tickets { answer: Done(Moved { to: MemberId(2), interruption: Some(200ms) }) }
        n2 answers client 3: Tickets { answer: Done(Moved { to: MemberId(1), interruption: Some(200ms) }) }
    "#]]
    .assert_eq(&answers);
}

#[test]
fn without_a_group_nobody_can_be_asked() {
    let mut cluster = Cluster::settled(2);
    cluster.ask(1, Request::Tickets { ask: Box::new(hakudo_tickets::Request::Status), progress: false });
    cluster.run();
    super::check(
        &mut cluster,
        expect![[r#"
        n1 answers client 1: refused (NotConnected): this cluster is part of no ticket group: its booth.conf or the CIB would name it
    "#]],
    );
}

/// All node processes of site a hang, and the other site takes over. When the service was last at the one site and first at
/// the other, in milliseconds from then on; and what the nodes said that hung and went on.
fn all_nodes_hang(sites: &mut Sites, watch: impl Fn(&Sites)) -> (u32, u32) {
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    sites.at(A).take_log();
    for node in [1, 2] {
        sites.at(A).hang(node);
    }
    let (mut last, mut first) = (0, None);
    for step in 0..600u32 {
        sites.pass(STEP);
        watch(sites);
        if sites.runs(A) {
            last = step * 20;
        }
        if sites.runs(B) {
            first.get_or_insert(step * 20);
        }
    }
    (last, first.expect("the other site takes over"))
}

#[test]
fn executors_stop_the_service_where_all_nodes_hang() {
    let mut sites = Sites::new();
    let (last, first) = all_nodes_hang(&mut sites, |sites| assert!(!(sites.runs(A) && sites.runs(B)), "never both"));
    assert!(last <= 4100, "{last} ms: the lease is 4 s");
    assert!((6500..9000).contains(&first), "{first} ms: lease and time to stop, and a little for drift");
    sites.check(
        A,
        expect![[r#"
            n1 runs web stop n1: 0
        "#]],
    );
    for node in [1, 2] {
        sites.at(A).go_on(node);
    }
    sites.pass(Duration::from_secs(10));
    assert!(!sites.runs(A) && sites.runs(B), "it stays where it is");
    let document = sites.at(A).same_document();
    assert!(document.contains("operation=\"stop\""), "the cluster knows that it was stopped: {document}");
    sites.check(
        A,
        expect![[r#"
            [ticket-group] the lease of ticket "T" ended without being renewed
            [ticket-group] ticket "T" is granted to b: the last holder was lost
            [ticket-lost] ticket T is not granted to this cluster any more
            [action-start] web stop on n1 begins
            n1 runs web stop n1: 0
            [action-done] web stop on n1 is done
        "#]],
    );
    // Numbers of calls go on above those of the guard: what it is told later is heard.
    sites.ask(A, 1, hakudo_tickets::Request::Move { ticket: "T".into(), to: MemberId(A), dry_run: false });
    sites.pass(Duration::from_secs(10));
    assert!(sites.runs(A) && !sites.runs(B));
    sites.check(
        A,
        expect![[r#"
            [ticket-group] b has stopped all of ticket "T" and released it
            [ticket-group] ticket "T" is granted to a: moved by the administrator
            [ticket-granted] ticket T is granted to this cluster
            [action-start] web start on n1 begins
            n1 runs web start n1: 0
            [action-done] web start on n1 is done
            n1 answers client 3: Tickets { answer: Done(Moved { to: MemberId(1), interruption: Some(200ms) }) }
        "#]],
    );
}

#[test]
fn without_the_guard_both_sites_would_serve() {
    let mut sites = Sites::new();
    sites.at(A).guards_sleep = true;
    let (last, first) = all_nodes_hang(&mut sites, |_| ());
    assert!(last > first, "what the test above watches for does happen: {last} ms, {first} ms");
}

#[test]
fn a_killed_node_process_is_guarded_too_and_a_new_one_takes_over() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    // It comes back in time: the lease goes on.
    sites.at(A).restart(1, true);
    sites.at(A).view_as(&[2, 1], &[], true, true);
    sites.at(A).input(1, joins(A));
    sites.at(A).take_log();
    sites.pass(Duration::from_secs(20));
    assert!(sites.runs(A) && !sites.runs(B));
    sites.check(
        A,
        expect![[r#"
            n2 speaks for the site
            [ticket-group] arbitrator is heard
            [ticket-group] arbitrator coordinates the group
        "#]],
    );
}

fn modify(xml: String) -> Request {
    let operations = vec![ChangeOperation::Modify { xml, create_in: None }];
    Request::Change(Change { operations, if_version: None, force: true })
}

fn role(role: &str) -> Request {
    modify(format!(
        "<primitive id='web'><meta_attributes id='m'><nvpair id='m-r' name='target-role' value='{role}'/>\
         </meta_attributes></primitive>"
    ))
}

#[test]
fn nothing_begins_when_a_lease_is_over_before_all_have_heard_it() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    let option = "<nvpair id='o-q' name='no-quorum-policy' value='ignore'/>";
    sites.at(A).ask(1, modify(format!("<cluster_property_set id='o'>{option}</cluster_property_set>")));
    sites.at(A).ask(1, role("Stopped"));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    sites.cut.insert(A);
    // Nobody speaks for the site without quorum; the executors would refuse it as well.
    let cluster = sites.at(A);
    cluster.guards_sleep = true;
    cluster.view_as(&[1], &[], false, true);
    cluster.run();
    let generation = cluster.machines[&1].controller.replica.status.tickets["T"].generation;
    cluster.now = cluster.machines[&1].controller.leases.of("T", generation).unwrap().until.unwrap();
    cluster.ask(1, role("Started"));
    cluster.run();
    assert!(!sites.runs(A));
    sites.pass(Duration::from_secs(20));
    let log = sites.at(A).take_log();
    assert!(log.contains("[ticket-lost]") && !log.contains("web start"), "{log}");
    assert!(sites.runs(B));
}

#[test]
fn what_was_granted_by_hand_is_the_groups_business_from_its_first_word_on() {
    let mut cluster = alone();
    let grant = Request::Ticket { ticket: "T".into(), change: crate::request::TicketChange::Grant, force: false };
    cluster.ask(1, grant);
    cluster.run();
    assert!(cluster.machines[&1].running.contains("web"));
    for node in [1, 2] {
        cluster.input(node, joins(A));
    }
    cluster.pass(Duration::from_secs(1));
    assert!(
        !cluster.machines.values().any(|machine| machine.running.contains("web")),
        "nobody of the group granted it"
    );
    // Power is lost everywhere, and the rest of the group is not there.
    for node in [1, 2] {
        cluster.restart(node, false);
    }
    cluster.view(&[1, 2]);
    cluster.pass(Duration::from_secs(1));
    assert!(!cluster.machines.values().any(|machine| machine.running.contains("web")));
}

#[test]
fn a_member_begins_with_all_that_the_former_one_stored() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    let cluster = sites.at(A);
    let speaker = if cluster.machines[&1].controller.speaker.speaks() { 1 } else { 2 };
    let controller = &mut cluster.machines.get_mut(&speaker).unwrap().controller;
    controller.say(crate::command::Command::TicketStore(controller.replica.tickets().member().unwrap().to_vec()));
    cluster.take_log();
    cluster.input(speaker, joins(A));
    let expected = format!("n{speaker} does not speak any more\n");
    assert_eq!(cluster.take_log(), expected, "what is on its way is waited for");
    cluster.run();
    assert!(cluster.take_log().contains("speaks for the site"));
}

#[test]
fn what_a_removed_constraint_left_running_is_not_called_stopped() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    let operations = vec![ChangeOperation::Delete { xpath: "//rsc_ticket".into(), or_nothing: false }];
    sites.at(A).ask(1, Request::Change(Change { operations, if_version: None, force: false }));
    sites.pass(Duration::from_secs(1));
    sites.at(A).take_log();
    sites.ask(A, 1, hakudo_tickets::Request::Revoke { ticket: "T".into(), force: false });
    sites.pass(Duration::from_secs(2));
    let log = sites.at(A).take_log();
    assert!(sites.runs(A) && !log.contains("released"), "{log}");
    sites.at(A).ask(1, role("Stopped"));
    sites.pass(Duration::from_secs(2));
    let log = sites.at(A).take_log();
    assert!(!sites.runs(A) && log.contains("released"), "{log}");
}

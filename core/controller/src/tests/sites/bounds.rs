//! What does not stop in the time that the group counts on, or at all: nobody else may start it.

use super::*;
use crate::request::TicketChange;

fn option(name: &str, value: &str) -> Request {
    let xml = format!("<nvpair id='o-{name}' name='{name}' value='{value}'/>");
    modify(format!("<cluster_property_set id='o'>{xml}</cluster_property_set>"))
}

#[test]
fn what_still_stops_at_a_site_that_joins_is_waited_for() {
    let mut joining = alone();
    joining.ask(1, Request::Ticket { ticket: "T".into(), change: TicketChange::Grant, force: false });
    joining.run();
    let number = if joining.machines[&1].running.contains("web") { 1 } else { 2 };
    assert!(joining.machines[&number].running.contains("web"));
    let stop = format!("web stop n{number}");
    joining.hanging.insert(stop.clone());
    for node in [1, 2] {
        joining.input(node, joins(A));
    }
    let mut sites = Sites::new();
    joining.now = sites.clusters[1].now;
    sites.clusters[0] = joining;
    sites.pass(Duration::from_secs(5));
    assert!(sites.runs(A), "its stop takes long");
    sites.grant(B);
    sites.pass(Duration::from_secs(10));
    assert!(!sites.runs(B), "the other site has not stopped it");
    sites.at(A).machines.get_mut(&number).unwrap().running.remove("web");
    sites.at(A).unhang(&stop, 0);
    sites.pass(Duration::from_secs(5));
    assert!(!sites.runs(A) && sites.runs(B), "{}", sites.at(B).take_log());
}

#[test]
fn what_new_processes_cannot_stop_is_still_guarded() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    let serves = if sites.at(A).machines[&1].running.contains("web") { 1 } else { 2 };
    sites.cut.insert(A);
    // All processes of the site are started anew and do not know the lease, but their executors do.
    sites.at(A).hanging.insert(format!("web stop n{serves}"));
    for node in [1, 2] {
        sites.at(A).restart(node, true);
    }
    sites.at(A).view_as(&[1, 2], &[], true, true);
    for node in [1, 2] {
        sites.at(A).input(node, joins(A));
    }
    sites.at(A).take_log();
    sites.pass(Duration::from_secs(10));
    let log = sites.at(A).take_log();
    let reset = format!("n{serves} is reset: the lease of ticket T is over, and web did not stop in time");
    assert!(log.contains(&reset), "{log}");
}

#[test]
fn an_inherited_guard_ends_when_all_is_stopped() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    sites.cut.insert(A);
    for node in [1, 2] {
        sites.at(A).restart(node, true);
    }
    sites.at(A).view_as(&[1, 2], &[], true, true);
    for node in [1, 2] {
        sites.at(A).input(node, joins(A));
    }
    sites.pass(Duration::from_secs(1));
    assert!(!sites.runs(A), "who does not know of a lease stops");
    assert!(sites.at(A).machines.values().all(|machine| !machine.guards.is_armed()));
}

#[test]
fn what_is_not_stopped_by_itself_is_started_nowhere_else() {
    let maintenance = |sites: &mut Sites, on: &str| {
        sites.at(A).ask(1, option("maintenance-mode", on));
        sites.pass(Duration::from_secs(5));
    };
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(2));
    maintenance(&mut sites, "true");
    sites.cut.insert(A);
    sites.pass(Duration::from_secs(30));
    assert!(sites.runs(A) && !sites.runs(B));
    let status = sites.arbitrator.status(sites.clusters[0].now);
    let told = status.explain("T").unwrap();
    assert!(told.contains("does not stop all of it by itself: web is not managed"), "{told}");
    sites.cut.clear();
    sites.pass(Duration::from_secs(5));
    maintenance(&mut sites, "false");
    sites.cut.insert(A);
    sites.pass(Duration::from_secs(30));
    assert!(!sites.runs(A) && sites.runs(B));
}

#[test]
fn what_is_frozen_is_started_nowhere_else() {
    let mut sites = Sites::new();
    for site in [A, B] {
        let xml = "<rsc_ticket id='web-T' rsc='web' ticket='T' loss-policy='freeze'/>".to_owned();
        sites.at(site).ask(1, modify(xml));
    }
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.pass(Duration::from_secs(5));
    sites.cut.insert(A);
    sites.pass(Duration::from_secs(30));
    assert!(sites.runs(A) && !sites.runs(B));
}

#[test]
fn a_lease_without_an_end_gets_none_as_long_as_a_lost_node_may_be_alive() {
    let mut sites = Sites::new();
    sites.pass(Duration::from_secs(5));
    sites.grant(A);
    sites.ask(B, 1, hakudo_tickets::Request::Disclaim { site: MemberId(B), ticket: None, on: true });
    sites.pass(Duration::from_secs(3));
    let serves = if sites.at(A).machines[&1].running.contains("web") { 1 } else { 2 };
    let other = 3 - serves;
    // The node that serves hangs, and the other one is alone in its right; nobody fences.
    sites.at(A).hang(serves);
    sites.at(A).view_as(&[other], &[], true, true);
    sites.pass(Duration::from_secs(3));
    sites.ask(B, 1, hakudo_tickets::Request::Disclaim { site: MemberId(B), ticket: None, on: false });
    sites.pass(Duration::from_secs(3));
    sites.cut.insert(A);
    sites.pass(Duration::from_secs(30));
    assert!(sites.at(A).machines[&serves].running.contains("web"), "its executor guards a lease without an end");
    assert!(!sites.runs(B), "both sites would serve");
}

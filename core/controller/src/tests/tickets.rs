//! Tickets of one cluster: granted by hand, kept over restarts and splits.

use super::cluster::Cluster;
use super::{check, part};
use crate::request::{Request, TicketChange};
use expect_test::expect;

fn ticket(name: &str, change: TicketChange) -> Request {
    Request::Ticket { ticket: name.to_owned(), change, force: false }
}

fn set(name: &str, value: &str) -> TicketChange {
    TicketChange::Set { name: name.to_owned(), value: value.to_owned() }
}

#[test]
fn an_administrator_grants_and_revokes_by_hand() {
    let mut cluster = Cluster::settled(2);
    cluster.ask(1, ticket("T", TicketChange::Grant));
    cluster.ask(2, ticket("T", set("replica", "fresh")));
    cluster.ask(2, ticket("T", TicketChange::Standby));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [ticket] root on n1 granted ticket T to this cluster
        [ticket] root on n2 set replica of ticket T to 'fresh'
        [ticket] root on n2 put ticket T on standby
        n1 answers client 1: done
        [settled] nothing is left to be done
        [settled] nothing is left to be done
        n2 answers client 2: done
        [settled] nothing is left to be done
        n2 answers client 3: done
    "#]],
    );
    expect![[r#"
        <ticket_state id="T" standby="true" granted="true" last-granted="1700000000" replica="fresh"/>
    "#]]
    .assert_eq(&part(&mut cluster, "ticket_state", "T"));
    cluster.ask(1, ticket("T", TicketChange::Forget));
    cluster.ask(1, ticket("T", TicketChange::Revoke));
    cluster.ask(1, ticket("T", TicketChange::Revoke));
    cluster.ask(1, ticket("T", TicketChange::Forget));
    cluster.ask(1, ticket("T", TicketChange::Forget));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        n1 answers client 4: refused (Unsafe): ticket T is granted here: revoke it first, or force this
        [ticket] root on n1 revoked ticket T from this cluster
        [ticket] root on n1 removed ticket T
        n1 answers client 8: refused (NoSuch): there is no ticket T
        n1 answers client 5: done
        n1 answers client 6: done
        [settled] nothing is left to be done
        n1 answers client 7: done
    "#]],
    );
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut cluster = Cluster::settled(2);
    cluster.ask(1, ticket("T", set("standby", "true")));
    cluster.ask(1, ticket("T", set("9lives", "true")));
    cluster.ask(1, ticket("a b", TicketChange::Grant));
    cluster.ask(1, ticket("", TicketChange::Grant));
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        n1 answers client 1: refused (Usage): 'standby' is no attribute that can be set: grant, revoke, standby and activate change it
        n1 answers client 2: refused (Usage): '9lives' is no name of an attribute: it begins with a letter or _, and letters, digits, '-', '_' and '.' follow
        n1 answers client 3: refused (Usage): 'a b' is no name of a ticket: letters, digits, '-', '_', '.' and '/' make one
        n1 answers client 4: refused (Usage): '' is no name of a ticket: letters, digits, '-', '_', '.' and '/' make one
    "#]],
    );
    assert_eq!(part(&mut cluster, "ticket_state", "T"), "");
}

#[test]
fn a_ticket_is_on_disk() {
    let mut cluster = Cluster::settled(2);
    cluster.ask(1, ticket("T", TicketChange::Grant));
    cluster.run();
    cluster.restart(1, false);
    cluster.restart(2, false);
    cluster.view(&[1, 2]);
    cluster.run();
    cluster.take_log();
    expect![[r#"
        <ticket_state id="T" standby="false" granted="true" last-granted="1700000000"/>
    "#]]
    .assert_eq(&part(&mut cluster, "ticket_state", "T"));
}

#[test]
fn without_quorum_nothing_is_granted() {
    let mut cluster = Cluster::settled(3);
    cluster.view_as(&[3], &[], false, true);
    cluster.view_as(&[1, 2], &[], true, true);
    cluster.run();
    cluster.ask(3, ticket("T", TicketChange::Grant));
    cluster.ask(1, ticket("T", TicketChange::Grant));
    cluster.ask(1, ticket("T", set("side", "primary")));
    cluster.run();
    cluster.view(&[1, 2, 3]);
    cluster.run();
    check(
        &mut cluster,
        expect![[r#"
        [node-lost] n1 is lost and not known to be dead
        [node-lost] n2 is lost and not known to be dead
        [view] view 3 of n3 is not quorate; without n1, n2
        [node-lost] n3 is lost and not known to be dead
        [view] view 4 of n1, n2 is quorate; without n3
        [settled] nothing is left to be done
        [ticket] root on n1 granted ticket T to this cluster
        [ticket] root on n1 set side of ticket T to 'primary'
        n1 answers client 2: done
        [settled] nothing is left to be done
        n1 answers client 3: done
        [settled] nothing is left to be done
        n3 answers client 1: refused (NoQuorum): this side of the cluster is not quorate, and its changes would give way to the other side's: bring more nodes back, or force the change
        [view] view 5 of n1, n2, n3 is quorate
        [settled] nothing is left to be done
    "#]],
    );
    expect![[r#"
        <ticket_state id="T" standby="false" granted="true" last-granted="1700000000" side="primary"/>
    "#]]
    .assert_eq(&part(&mut cluster, "ticket_state", "T"));
}

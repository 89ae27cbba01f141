use super::*;
use crate::booth::config::Kind;
use crate::booth::wire::SiteId;
use expect_test::expect;
use hakudo_cib::Element;

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

#[test]
fn dates_follow_the_calendar() {
    assert_eq!(date_time(at(0), 0), "1970-01-01 00:00:00");
    assert_eq!(date_time(at(951_782_400), 0), "2000-02-29 00:00:00");
    assert_eq!(date_time(at(951_782_400), -1), "2000-02-28 23:59:59");
    assert_eq!(date_time(at(1_795_212_762), 3600), "2026-11-20 23:12:42");
    assert_eq!(c_time(at(1_795_212_762), 0), "Fri Nov 20 22:12:42 2026");
    assert_eq!(c_time(at(1_790_000_000), 0), "Mon Sep 21 14:13:20 2026");
}

#[test]
fn lists() {
    let ticket = |holder: Holder, manual| Ticket {
        name: "ticketA".into(),
        holder,
        expires: Some(at(1_795_213_685)),
        pending_until: None,
        manual,
        claims: Vec::new(),
    };
    let site = || Holder::Site("10.99.0.1".into());
    let mut twice = ticket(site(), true);
    twice.claims = vec!["10.99.0.1".into(), "10.99.0.2".into()];
    let pending = Ticket { pending_until: Some(at(1_795_213_693)), ..ticket(site(), false) };
    let all = [
        ticket(Holder::Nobody, false),
        ticket(Holder::Revoked, false),
        ticket(site(), false),
        pending,
        ticket(Holder::Nobody, true),
        twice,
    ];
    expect![[r#"
        ticket: ticketA, leader: NONE
        ticket: ticketA, leader: none
        ticket: ticketA, leader: 10.99.0.1, expires: 2026-11-20 22:28:05
        ticket: ticketA, leader: 10.99.0.1, expires: 2026-11-20 22:28:05 (commit pending until 2026-11-20 22:28:13)
        ticket: ticketA, leader: NONE [manual mode]
        ticket: ticketA, leader: 10.99.0.1, expires: INF [manual mode]

        WARNING: The ticket ticketA is granted to multiple sites: 10.99.0.1, 10.99.0.2. Revoke the ticket from the faulty sites.
    "#]]
    .assert_eq(&list(&all, 0));
    let peer = |kind, address: &str| Peer { id: SiteId(1), kind, address: address.parse().unwrap() };
    let counters = Counters { sent: 5, received: 5, last: Some(at(1_795_213_676)), ..Counters::default() };
    let shown = peers(&[(peer(Kind::Site, "10.99.0.1"), counters), (peer(Kind::Arbitrator, "10.99.0.3"), counters)], 0);
    assert_eq!(
        shown,
        "site         10.99.0.1, last recv: 2026-11-20 22:27:56\n\tSent pkts:5 error:0 resends:0\n\
         \tRecv pkts:5 error:0 authfail:0 invalid:0\n\narbitrator   10.99.0.3, last recv: 2026-11-20 22:27:56\n\
         \tSent pkts:5 error:0 resends:0\n\tRecv pkts:5 error:0 authfail:0 invalid:0\n\n"
    );
    let set = [("repl_state", "ACTIVE", Some(at(1_795_214_373))), ("x", "1", None)];
    assert_eq!(attributes(set.into_iter(), 0), "repl_state ACTIVE 2026-11-20 22:39:33\nx 1 \n");
}

#[test]
fn a_daemon() {
    let daemon = Daemon {
        pid: 11219,
        started: true,
        kind: "site",
        name: "booth".into(),
        id: 1_785_080_621,
        address: "10.99.0.2".into(),
        port: 9929,
    };
    expect![[r#"
        booth_lockpid=11219 booth_lockfile='/var/run/booth/booth.pid' booth_pid=11219 booth_state=started booth_type=site booth_cfg_name='booth' booth_id=1785080621 booth_addr_string='10.99.0.2' booth_port=9929
    "#]]
    .assert_eq(&status(11219, "/var/run/booth/booth.pid", &pid_file(&daemon)));
}

/// What a client says for answers in that order, and how it ends.
fn talk(command: Command, flags: Flags, answers: &[Outcome]) -> String {
    let mut conversation = Conversation::new(command, "ticketA", flags);
    let mut out = String::new();
    for answer in answers {
        let (lines, next) = conversation.answer(*answer);
        for line in lines {
            out.push_str(&log_line(at(1_795_213_685), 0, "h", 7, &line));
        }
        let _ = writeln!(out, "-> {next:?}");
    }
    out
}

#[test]
fn conversations() {
    expect![[r#"
        Nov 20 22:28:05 h booth: [7]: info: grant request sent, waiting for the result ...
        -> Read
        Nov 20 22:28:05 h booth: [7]: info: grant succeeded!
        -> End(0)
    "#]]
    .assert_eq(&talk(Command::Grant, Flags::default(), &[Outcome::More, Outcome::Success]));
    expect![[r#"
        Nov 20 22:28:05 h booth: [7]: info: grant request sent, waiting for the result ...
        -> Read
        -> Read
        Nov 20 22:28:05 h booth: [7]: info: Giving up on waiting for the definite result. Please use "booth list" later to see the outcome.
        -> End(0)
    "#]]
    .assert_eq(&talk(Command::Grant, Flags::default(), &[Outcome::More, Outcome::More, Outcome::More]));
    expect![[r#"
        Nov 20 22:28:05 h booth: [7]: info: grant request sent, waiting for the result ...
        -> Read
        Nov 20 22:28:05 h booth: [7]: info: grant succeeded (CIB commit pending)
        Nov 20 22:28:05 h booth: [7]: info: waiting for the CIB commit ...
        -> Read
        Nov 20 22:28:05 h booth: [7]: info: grant succeeded!
        -> End(0)
    "#]]
    .assert_eq(&talk(
        Command::Grant,
        Flags { wait_commit: true, ..Flags::default() },
        &[Outcome::More, Outcome::CibPending, Outcome::Success],
    ));
    expect![[r#"
        -> Redirect
        Nov 20 22:28:05 h booth: [7]: info: ticket is not owned
        -> End(0)
    "#]]
    .assert_eq(&talk(Command::Revoke, Flags::default(), &[Outcome::Redirect, Outcome::TicketIdle]));
    expect![[r#"
        Nov 20 22:28:05 h booth: [7]: error: attr-prereq for ticket "ticketA" failed, grant denied
        -> End(1)
    "#]]
    .assert_eq(&talk(Command::Grant, Flags::default(), &[Outcome::PrerequisiteFailed]));
    assert!(talk(Command::Grant, Flags::default(), &[Outcome::Overgrant]).ends_with("-> End(1)\n"));
    let (line, code) = geostore(Command::GetAttribute, "t", "nosuch", Outcome::NoSuchAttribute);
    assert_eq!((line.unwrap().text.as_str(), code), ("attribute \"nosuch\" not set", 1));
}

#[test]
fn tickets_of_the_cib() {
    let state = Element::parse(
        r#"<ticket_state id="ticketA" granted="true" term="3" last-granted="1795212762" owner="1234" expires="1790000000"/>"#,
    )
    .unwrap();
    assert_eq!(ticket_line(&state, 0), "ticketA\tgranted           last-granted='Fri Nov 20 22:12:42 2026'\n");
    assert_eq!(
        ticket_details(&state, 0),
        "ticketA\tgranted           (granted=true, term=3, last-granted='Fri Nov 20 22:12:42 2026', owner=1234, \
         expires='Mon Sep 21 14:13:20 2026')\n"
    );
    let standby = Element::parse(r#"<ticket_state id="b" granted="false" standby="true"/>"#).unwrap();
    assert_eq!(ticket_line(&standby, 0), "b\trevoked [standby]\n");
    expect![[r#"
        Revoking 'b' can trigger the specified 'loss-policy'(s) relating to 'b'.

        You can check that with:
        crm_ticket --ticket b --constraints

        Otherwise before revoking 'b', you may want to make 'b' standby with:
        crm_ticket --ticket b --standby

        If you really want to revoke 'b' from this site now, and you know what you are doing,
        please specify --force.
    "#]]
    .assert_eq(&revoke_needs_force("b"));
}

use super::*;
use crate::client::Client;
use hakudo_controller::request::{ChangeOperation, ClusterState, NodeState, Reply, Request, TicketChange};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;

const CIB: &str = r#"<cib><configuration>
    <crm_config><cluster_property_set id="cib-bootstrap-options">
        <nvpair id="o-x" name="x" value="1"/></cluster_property_set></crm_config>
    <nodes><node id="1" uname="n1"/><node id="2" uname="N2">
        <instance_attributes id="nodes-2"><nvpair id="p" name="data" value="LATEST"/></instance_attributes></node></nodes>
    <resources><clone id="db-clone"><primitive id="db"/></clone></resources>
    <constraints><rsc_ticket id="db-T" rsc="db" ticket="T"/><rsc_ticket id="db-V" rsc="db" ticket="V"/></constraints>
    </configuration><status><node_state id="1" uname="n1"><transient_attributes id="1">
        <instance_attributes id="status-1"><nvpair id="s" name="master-db" value="100"/></instance_attributes>
    </transient_attributes></node_state><tickets><ticket_state id="T" standby="true" granted="true" fresh="yes"/>
    <ticket_state id="U" standby="false" granted="false"/></tickets></status></cib>"#;

#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn send(stream: &mut UnixStream, reply: &Reply) {
    let reply = serde_json::to_vec(reply).unwrap();
    stream.write_all(&u32::try_from(reply.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&reply).unwrap();
}

/// The same, with the only request that changes something.
fn run_line(line: &str) -> (u8, String, Option<Request>) {
    let (exit, text, mut changed) = all_of(line);
    assert!(changed.len() < 2, "{line}: {changed:?}");
    (exit, text, changed.pop())
}

/// Runs a command line against a node that has [`CIB`]: the exit code, the output, and the requests that change something.
pub(crate) fn all_of(line: &str) -> (u8, String, Vec<Request>) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let socket: PathBuf = std::env::temp_dir().join(format!("hakudo-compat-{}-{number}", std::process::id()));
    let listener = UnixListener::bind(&socket).unwrap();
    let node = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut changed = Vec::new();
        let mut length = [0; 4];
        while stream.read_exact(&mut length).is_ok() {
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut body).unwrap();
            let reply = match serde_json::from_slice(&body).unwrap() {
                Request::Cib => Reply::Cib { xml: CIB.into() },
                Request::Cluster => Reply::Cluster(Box::new(state())),
                Request::Tickets { ask, .. } if *ask == hakudo_tickets::Request::Status => {
                    let status = hakudo_tickets::Outcome::Status(Box::new(group()));
                    Reply::Tickets { answer: Box::new(hakudo_tickets::Reply::Done(status)) }
                }
                Request::Tickets { ask, progress } => {
                    let mut answers = answers_of_group(&ask);
                    changed.push(Request::Tickets { ask, progress });
                    let last = answers.pop().unwrap();
                    for answer in answers.into_iter().filter(|_| progress) {
                        send(&mut stream, &Reply::Tickets { answer: Box::new(answer) });
                    }
                    Reply::Tickets { answer: Box::new(last) }
                }
                change => {
                    changed.push(change);
                    Reply::Done
                }
            };
            send(&mut stream, &reply);
        }
        changed
    });
    let written = Written::default();
    let mut world = World { out: Box::new(written.clone()), socket: socket.clone(), ..World::of_process() };
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let exit = match run(&arguments, &mut world) {
        Some(Ok(exit)) => exit,
        Some(Err(failure)) => failure.exit,
        None => crate::run(arguments, &mut world),
    };
    // A command line that is wrong never asks: the node still waits.
    drop(Client::connect(&socket));
    let requests = node.join().unwrap();
    std::fs::remove_file(socket).unwrap();
    let text = String::from_utf8(written.0.borrow().clone()).unwrap();
    (exit.0, text, requests)
}

fn state() -> ClusterState {
    let node = |id, name: &str, member| NodeState { id, name: name.into(), member, ..NodeState::default() };
    ClusterState {
        local: "n1".into(),
        quorate: true,
        nodes: vec![node(1, "n1", true), node(2, "N2", true), node(3, "n3", false)],
        ..ClusterState::default()
    }
}

/// A line that only shows something.
fn shows(line: &str) -> (u8, String) {
    let (exit, text, request) = run_line(line);
    assert_eq!(request, None, "{line}");
    (exit, text)
}

fn sets(line: &str) -> Option<Request> {
    let (exit, text, request) = run_line(line);
    assert_eq!((exit, text.as_str()), (0, ""), "{line}");
    request
}

fn attribute(node: &str, name: &str, value: Option<&str>) -> Option<Request> {
    Some(Request::SetAttribute { node: node.into(), name: name.into(), value: value.map(Into::into) })
}

#[test]
fn the_calls_of_agents_set_what_they_mean() {
    assert_eq!(sets("crm_attribute -l reboot -N n1 -n db-status -v PRI"), attribute("n1", "db-status", Some("PRI")));
    assert_eq!(sets("crm_attribute -l reboot -N n1 -n db-baseline -D"), attribute("n1", "db-baseline", None));
    assert_eq!(sets("crm_attribute -p db -v -INFINITY"), attribute("n1", "master-db", Some("-INFINITY")));
    assert_eq!(sets("crm_master -r db -l reboot -v 1000"), attribute("n1", "master-db", Some("1000")));
    assert_eq!(sets("crm_master -r db -D"), attribute("n1", "master-db", None));
    assert_eq!(sets("attrd_updater -n receiver -v normal"), attribute("n1", "receiver", Some("normal")));
    assert_eq!(sets("attrd_updater -n receiver -U normal -N N2"), attribute("N2", "receiver", Some("normal")));
    assert_eq!(sets("attrd_updater -n receiver -D"), attribute("n1", "receiver", None));
}

#[test]
fn the_calls_of_agents_show_what_is_there() {
    assert_eq!(shows("crm_attribute -l reboot -N n1 -n master-db -G -q"), (0, "100\n".into()));
    assert_eq!(
        shows("crm_attribute -l reboot -N n1 -n master-db -G"),
        (0, "scope=status  name=master-db value=100\n".into())
    );
    assert_eq!(shows("crm_attribute -l forever -N n2 -n data -G -q"), (0, "LATEST\n".into()));
    assert_eq!(shows("crm_attribute -l forever -N n1 -n data -G -q").0, Exit::NO_SUCH.0);
    assert_eq!(shows("crm_attribute -n x -G -q"), (0, "1\n".into()));
    assert_eq!(shows("crm_attribute -n y -G -q -d none"), (0, "none\n".into()));
    assert_eq!(shows("crm_master -r db -G -q"), (0, "100\n".into()));
    assert_eq!(shows("attrd_updater -n master-db -Q"), (0, "name=\"master-db\" host=\"n1\" value=\"100\"\n".into()));
    assert_eq!(shows("attrd_updater -n nothing -Q").0, Exit::NO_SUCH.0);
    assert_eq!(shows("crm_node -n"), (0, "n1\n".into()));
    assert_eq!(shows("crm_node -l"), (0, "1 n1 member\n2 N2 member\n".into()));
    assert_eq!(shows("crm_node -p"), (0, "n1 N2\n".into()));
    assert_eq!(shows("crm_node -q"), (0, "1\n".into()));
    assert_eq!(shows("crm_node -N 3"), (0, "n3\n".into()));
    assert!(shows("pacemakerd --version").1.starts_with("Pacemaker 3."));
}

#[test]
fn what_is_configured_is_changed_in_place_or_made() {
    let operation = |line: &str| match sets(line) {
        Some(Request::Change(change)) => change.operations[0].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        operation("crm_attribute -l forever -N n2 -n data -v OLD"),
        ChangeOperation::Modify { xml: r#"<nvpair id="p" name="data" value="OLD"/>"#.into(), create_in: None }
    );
    assert_eq!(
        operation("crm_attribute -l forever -N n2 -n more -v 1"),
        ChangeOperation::Create {
            parent: r#"//instance_attributes[@id="nodes-2"]"#.into(),
            xml: r#"<nvpair id="nodes-2-more" name="more" value="1"/>"#.into()
        }
    );
    assert!(matches!(
        operation("crm_attribute -l forever -N n1 -n more -v 1"),
        ChangeOperation::Create { parent, .. } if parent == r#"/cib/configuration/nodes/node[@id="1"]"#
    ));
    assert_eq!(
        operation("crm_attribute -n x -D"),
        ChangeOperation::Delete { xpath: r#"//nvpair[@id="o-x"]"#.into(), or_nothing: true }
    );
    assert!(matches!(
        operation("crm_resource -B -r db -N n1 -Q"),
        ChangeOperation::Modify { xml, .. } if xml.contains(r#"id="cli-ban-db-clone-on-n1""#) && xml.contains("-INFINITY")
    ));
}

#[test]
fn wrong_command_lines_are_refused() {
    for line in [
        "crm_attribute -v 1",
        "crm_attribute -n a -v 1 -D",
        "attrd_updater -n a",
        "crm_node",
        "crm_resource -r db",
        "pacemakerd",
    ] {
        assert_eq!(shows(line).0, Exit::USAGE.0, "{line}");
    }
    let mut world = World::of_process();
    assert!(run(&[OsString::from("hakudo")], &mut world).is_none());
}

#[test]
fn tickets_are_shown() {
    // V is named by a constraint only.
    assert_eq!(
        shows("crm_ticket -l"),
        (0, "T\tgranted [standby]\nU\trevoked          \nV\trevoked          \n".into())
    );
    assert_eq!(
        shows("crm_ticket -L -V -t T"),
        (0, "T\tgranted [standby] (standby=true, granted=true, fresh=yes)\n".into())
    );
    assert_eq!(shows("crm_ticket -L -t V"), (0, "V\trevoked          \n".into()));
    assert_eq!(shows("crm_ticket -w"), (0, "T\nU\nV\n".into()));
    assert_eq!(
        shows("crm_ticket -t U -q"),
        (0, "State XML:\n\n<ticket_state id=\"U\" standby=\"false\" granted=\"false\"/>\n".into())
    );
    assert!(shows("crm_ticket -q").1.starts_with("State XML:\n\n<tickets>\n  <ticket_state id=\"T\""));
    assert_eq!(
        shows("crm_ticket -t T -c"),
        (0, "Constraints XML:\n\n<rsc_ticket id=\"db-T\" rsc=\"db\" ticket=\"T\"/>\n".into())
    );
    assert!(shows("crm_ticket -c").1.starts_with("Constraints XML:\n\n<xpath-query>\n  <rsc_ticket "));
    assert_eq!(shows("crm_ticket -t T -G granted"), (0, "true\n".into()));
    assert_eq!(shows("crm_ticket -t T -G nothing -d none"), (0, "none\n".into()));
    assert_eq!(shows("crm_ticket -t T -G nothing"), (Exit::NO_SUCH.0, String::new()));
    for line in ["crm_ticket -t W -q", "crm_ticket -t W -l", "crm_ticket -t W -G granted", "crm_ticket -t W -C"] {
        assert_eq!(shows(line).0, Exit::NO_SUCH.0, "{line}");
    }
    let xml = shows("crm_ticket -L -t T --output-as=xml").1;
    assert!(xml.contains("<ticket id=\"T\" status=\"granted\" standby=\"true\" fresh=\"yes\"/>"), "{xml}");
    assert!(
        xml.contains("request=\"crm_ticket -L -t T --output-as=xml\"") && xml.contains("<status code=\"0\""),
        "{xml}"
    );
    assert!(shows("crm_ticket -$").1.starts_with("Pacemaker 3."));
}

#[test]
fn tickets_are_changed() {
    for line in
        ["crm_ticket", "crm_ticket -t T", "crm_ticket -g", "crm_ticket -C", "crm_ticket -t T -S a", "crm_ticket -x"]
    {
        assert_eq!(shows(line).0, Exit::USAGE.0, "{line}");
    }
    for line in
        ["crm_ticket -t T -r", "crm_ticket -t U -g", "crm_ticket -t U -S granted -v true", "crm_ticket -t T -D granted"]
    {
        let (exit, text) = shows(line);
        assert!(exit == 4 && text.ends_with("please specify --force.\n"), "{line} needs --force: {text}");
    }
    assert_eq!(shows("crm_ticket -t T -C").0, 4, "it is granted");
    let ticket = |ticket: &str, change, force| Request::Ticket { ticket: ticket.into(), change, force };
    let changes = |line: &str| match all_of(line) {
        (0, text, changes) if text.is_empty() => changes,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(changes("crm_ticket -t T -g --force"), [ticket("T", TicketChange::Grant, false)]);
    assert_eq!(changes("crm_ticket -t T -r --force"), [ticket("T", TicketChange::Revoke, false)]);
    assert_eq!(changes("crm_ticket -t T -s -n x -i y"), [ticket("T", TicketChange::Standby, false)]);
    let set = |name: &str, value: &str| TicketChange::Set { name: name.into(), value: value.into() };
    assert_eq!(changes("crm_ticket -t T -S fresh -v no"), [ticket("T", set("fresh", "no"), false)]);
    assert_eq!(changes("crm_ticket -t T -S standby -v false"), [ticket("T", TicketChange::Activate, false)]);
    // As boothd calls it.
    let of_boothd = "-S owner --attr-value=7 -S expires -v8 -S term --attr-value=-1 -D fresh";
    let attributes = |first: &[TicketChange], last: &[TicketChange]| {
        let between =
            [set("owner", "7"), set("expires", "8"), set("term", "-1"), TicketChange::Remove { name: "fresh".into() }];
        let all = first.iter().chain(&between).chain(last).cloned();
        all.map(|change| ticket("T", change, false)).collect::<Vec<_>>()
    };
    assert_eq!(changes(&format!("crm_ticket -t T -g --force {of_boothd}")), attributes(&[], &[TicketChange::Grant]));
    assert_eq!(changes(&format!("crm_ticket -t T -r --force {of_boothd}")), attributes(&[TicketChange::Revoke], &[]));
    let forgotten = all_of("crm_ticket -t T -C -f");
    assert_eq!(forgotten, (0, "Cleaned up T\n".into(), vec![ticket("T", TicketChange::Forget, true)]));
}

/// Two sites and an arbitrator; the first one is asked, and holds T.
fn group() -> hakudo_tickets::Status {
    use hakudo_tickets::{
        AttributeStatus, Candidate, LeaseStatus, MemberId, MemberKind, MemberStatus, Status, TicketMode, TicketStatus,
    };
    let member = |id, name: &str, kind| MemberStatus {
        id: MemberId(id),
        name: name.into(),
        kind,
        addresses: vec![format!("{name}:9929")],
        heard: None,
        received: 5,
        sent: 7,
        malformed: 0,
        config_differs: false,
        absent: false,
        forgetful: false,
        older_group: false,
        observes: false,
        disclaims: false,
    };
    let ticket = |name: &str, holder: Option<u32>| TicketStatus {
        name: name.into(),
        mode: TicketMode::Automatic,
        holder: holder.map(MemberId),
        generation: 1,
        lease: if holder.is_some() { LeaseStatus::Unlimited } else { LeaseStatus::None },
        wanted: holder.is_some(),
        revoked: false,
        standby: false,
        moving: None,
        candidates: vec![Candidate { site: MemberId(2), obstacle: Some("member 2 has no quorum".into()) }],
        attributes: vec![AttributeStatus { site: MemberId(1), name: "fresh".into(), value: "yes".into(), set: 0 }],
        failures: [(MemberId(2), 3)].into(),
        history: Vec::new(),
        expire: std::time::Duration::from_secs(10),
    };
    Status {
        group: "g".into(),
        protocol: Default::default(),
        version: 1,
        config: 1,
        local: MemberId(1),
        coordinator: Some(MemberId(1)),
        term: (0, 1),
        begun: true,
        missed_takeover: false,
        committed: 1,
        members: vec![
            member(1, "192.0.2.1", MemberKind::Site),
            member(2, "192.0.2.2", MemberKind::Site),
            member(3, "192.0.2.3", MemberKind::Arbitrator),
        ],
        tickets: vec![ticket("T", Some(1)), ticket("U", None)],
    }
}

/// What a group says to a request, its last word at the end.
fn answers_of_group(ask: &hakudo_tickets::Request) -> Vec<hakudo_tickets::Reply> {
    use hakudo_tickets::{MemberId, Outcome, Progress, Refusal, Reply as Answer, Request as Ask};
    let checking = |site| Answer::Progress(Progress::Checking { site });
    match ask {
        Ask::Grant { ticket, .. } if ticket == "T" => {
            vec![Answer::Refused(Refusal::AlreadyGranted { ticket: "T".into(), holder: MemberId(1) })]
        }
        Ask::Grant { site, .. } => {
            vec![checking(*site), Answer::Done(Outcome::Granted { site: *site, generation: 2 })]
        }
        Ask::Revoke { ticket, .. } if ticket == "U" => vec![Answer::Done(Outcome::NotHeld)],
        Ask::Move { to, dry_run: true, .. } => {
            vec![Answer::Done(Outcome::Would(vec![Progress::Starting { site: *to }]))]
        }
        Ask::Move { to, .. } => {
            let interruption = Some(std::time::Duration::from_millis(250));
            vec![checking(*to), Answer::Done(Outcome::Moved { to: *to, interruption })]
        }
        _ => vec![Answer::Done(Outcome::Done)],
    }
}

#[test]
fn booths_clients_ask_the_group() {
    use hakudo_tickets::{MemberId, Request as Ask};
    assert_eq!(
        shows("booth list"),
        (0, "ticket: T, leader: 192.0.2.1, expires: INF\nticket: U, leader: NONE\n".into())
    );
    assert!(shows("booth client peers").1.starts_with("site         192.0.2.2, last recv: "));
    assert_eq!(shows("booth grant").0, 1, "no ticket is named, and there are two");
    assert_eq!(shows("booth grant -s 192.0.2.3 T").0, 1, "an arbitrator");
    let asked = |line: &str| {
        let (exit, _, request) = run_line(line);
        match request {
            Some(Request::Tickets { ask, .. }) => (exit, *ask),
            other => panic!("{line}: {other:?}"),
        }
    };
    for line in ["booth list -w", "booth list -x", "booth nonsense", "geostore set a", "booth list -c /nonexistent"] {
        assert_eq!(shows(line).0, 1, "{line}");
    }
    let grant = |ticket: &str, site, force| Ask::Grant { ticket: ticket.into(), site: MemberId(site), force };
    assert_eq!(asked("booth grant -t T"), (1, grant("T", 1, false)));
    assert_eq!(asked("booth grant -F -s other U"), (0, grant("U", 2, true)));
    assert_eq!(asked("booth grant -C T"), (1, grant("T", 1, false)));
    assert_eq!(asked("booth revoke U"), (0, Ask::Revoke { ticket: "U".into(), force: false }));
    assert_eq!(shows("geostore get -t T fresh"), (0, "yes\n".into()));
    assert_eq!(shows("geostore get -t T stale").0, 1);
    assert_eq!(shows("geostore delete -t T stale").0, 1);
    let attribute =
        Ask::Attribute { ticket: "T".into(), site: MemberId(2), name: "fresh".into(), value: Some("no".into()) };
    assert_eq!(asked("geostore set -t T -s 192.0.2.2 fresh no"), (0, attribute));
}

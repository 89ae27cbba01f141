//! The clients of booth against members that are reached by TCP.

use super::super::run;
use crate::world::World;
use hakudo_tickets::booth::seal::{self, Key};
use hakudo_tickets::booth::wire::{
    Body, Command, Flags, HEADER, Leader, Message, Outcome, Reason, SiteId, Stamp, TicketBody,
};
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::JoinHandle;

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

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

/// Runs a command line where no member runs: the exit code, and what it says on both streams, without time and process.
fn booth(line: &str) -> (u8, String, String) {
    let (out, err) = (Written::default(), Written::default());
    let mut world = World {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        socket: "/nonexistent/node.sock".into(),
        ..World::of_process()
    };
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let exit = run(&arguments, &mut world).unwrap().unwrap();
    let said = err
        .text()
        .lines()
        .map(|line| line.split_once("]: ").map_or(line, |(_, said)| said))
        .collect::<Vec<_>>()
        .join("\n");
    (exit.0, out.text(), said)
}

/// A folder with a configuration of two sites and an arbitrator, all of them at this machine.
struct Group {
    folder: PathBuf,
    port: u16,
}

impl Group {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hakudo-booth-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let free = TcpListener::bind("127.0.0.2:0").unwrap();
        let group = Self { folder, port: free.local_addr().unwrap().port() };
        let key = group.folder.join("key");
        std::fs::write(&key, [7; 32]).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "authfile = {}\nport = {}\nsite = 127.0.0.2\nsite = 127.0.0.3\narbitrator = 127.0.0.4\nticket = T\n",
            key.display(),
            group.port
        );
        std::fs::write(group.config(), text).unwrap();
        group
    }

    fn config(&self) -> PathBuf {
        self.folder.join("dr.conf")
    }

    fn booth(&self, line: &str) -> (u8, String, String) {
        booth(&format!("{line} -c {}", self.config().display()))
    }

    /// A site that answers one client with these outcomes and holders; what it was asked.
    fn site(&self, address: &str, answers: Vec<(Outcome, Leader)>) -> JoinHandle<Message> {
        let listener = TcpListener::bind((address, self.port)).unwrap();
        let from = SiteId::of(address.parse().unwrap());
        std::thread::spawn(move || {
            let key = Key::from_file(&[7; 32]).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; HEADER];
            stream.read_exact(&mut bytes).unwrap();
            bytes.resize(u32::from_be_bytes(bytes[24..28].try_into().unwrap()) as usize, 0);
            stream.read_exact(&mut bytes[HEADER..]).unwrap();
            for (outcome, leader) in answers {
                let body = Body::Ticket(TicketBody { ticket: "T".into(), leader, term: 1, valid_for: 0 });
                let (command, request, flags, reason) = (Command::Result, None, Flags::default(), Reason::JustSo);
                let message = Message { from, command, request, flags, reason, outcome, body };
                stream.write_all(&seal::write(&message, Some(&key), Stamp::default()).unwrap()).unwrap();
            }
            seal::read(&bytes, Some(&key), false).unwrap()
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn holder(address: &str) -> Leader {
    Leader::Site(SiteId::of(address.parse().unwrap()))
}

#[test]
fn without_a_configuration_nobody_is_asked() {
    let missing = "error: failed to open /nonexistent: No such file or directory";
    for line in ["booth list", "booth peers", "booth grant T", "booth revoke T", "geostore get a", "geostore list"] {
        let (exit, out, said) = booth(&format!("{line} -c /nonexistent"));
        assert_eq!((exit, out.as_str(), said), (1, "", format!("{missing}\nerror: cannot read config")), "{line}");
    }
    for line in ["boothd daemon -S", "boothd daemon", "booth status"] {
        let (exit, out, said) = booth(&format!("{line} -c /nonexistent"));
        assert_eq!((exit, out.as_str(), said.as_str()), (1, "", missing), "{line}");
    }
    let help = booth("booth");
    assert!(help.0 == 0 && help.1.starts_with("Usage: booth ") && booth("boothd") == help);
    assert!(booth("geostore").1.starts_with("Usage: geostore "));
    assert_eq!(booth("booth -x"), (1, String::new(), "client operation \"-x\" is unknown".into()));
    assert!(booth("booth version").1.starts_with("booth 1."));
}

#[test]
fn a_daemon_is_told_by_the_name_of_its_configuration() {
    let group = Group::new("name");
    let text = std::fs::read_to_string(group.config()).unwrap();
    let (exit, _, said) = group.booth("booth status -S");
    assert_eq!((exit, said.as_str()), (7, "not running: nobody holds /var/run/booth/dr.pid"));
    std::fs::write(group.config(), format!("name = paris\n{text}")).unwrap();
    assert_eq!(group.booth("booth status -S").2, "not running: nobody holds /var/run/booth/paris.pid");
}

#[test]
fn an_arbitrator_lists_its_tickets_to_clients() {
    let group = Group::new("list");
    let own = hakudo_link::setup::Own {
        config: Some(group.config()),
        protocol: hakudo_tickets::Protocol::Booth,
        member: Some("127.0.0.4".into()),
        ..Default::default()
    };
    let (state_dir, socket) = (group.folder.join("state"), group.folder.join("sock"));
    let config = hakudo_arbitrator::Config { own, state_dir, socket: socket.clone(), pid_file: None };
    // It ends with this process.
    std::thread::spawn(move || hakudo_arbitrator::run(&config));
    while !Path::new(&socket).exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let list = (0, "ticket: T, leader: NONE\n".to_owned(), String::new());
    assert_eq!(group.booth("booth list -s 127.0.0.4"), list);
    let (exit, out, _) = group.booth("booth peers -s 127.0.0.4");
    assert!(exit == 0 && out.starts_with("site         127.0.0.2, last recv: "), "{out}");
    assert_eq!(group.booth("geostore get -s 127.0.0.4 a").2, "error: attribute \"a\" not set");
    let refused = group.booth("booth list -s 127.0.0.3");
    assert_eq!(refused.0, 1);
    assert_eq!(refused.2, "error: connect to 127.0.0.3 got an error: Connection refused (os error 111)");
    assert_eq!(group.booth("booth list -s 192.0.2.9").0, 2);
    std::fs::write(group.folder.join("key"), [8; 32]).unwrap();
    let (exit, _, said) = group.booth("booth list -s 127.0.0.4");
    assert!(exit == 1 && said.contains("not authentic"), "{said}");
}

/// A site that answers one client with these bytes.
fn answering(group: &Group, bytes: Vec<u8>) -> JoinHandle<()> {
    let listener = TcpListener::bind(("127.0.0.3", group.port)).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = vec![0; HEADER];
        stream.read_exact(&mut asked).unwrap();
        asked.resize(u32::from_be_bytes(asked[24..28].try_into().unwrap()) as usize, 0);
        stream.read_exact(&mut asked[HEADER..]).unwrap();
        stream.write_all(&bytes).unwrap();
    })
}

#[test]
fn text_that_is_not_authenticated_is_never_shown() {
    let group = Group::new("text");
    let message = Message {
        from: SiteId::of("127.0.0.3".parse().unwrap()),
        command: Command::List,
        request: None,
        flags: Flags::default(),
        reason: Reason::JustSo,
        outcome: Outcome::Success,
        body: Body::Text("ticket: T, leader: evil\n".into()),
    };
    let other = Key::from_file(&[8; 32]).unwrap();
    for key in [None, Some(&other)] {
        let site = answering(&group, seal::write(&message, key, Stamp::default()).unwrap());
        let (exit, out, said) = group.booth("booth list -s 127.0.0.3");
        site.join().unwrap();
        assert_eq!((exit, out.as_str()), (1, ""));
        assert!(said.contains("answer of 127.0.0.3 got an error") && !said.contains("evil"), "{said}");
    }
    // booth's trailer does not cover the text behind it: what is shown cannot be more than text.
    let key = Key::from_file(&[7; 32]).unwrap();
    let bent = Message { body: Body::Text("ticket: \u{1b}[2JT\u{7}\n".into()), ..message };
    let site = answering(&group, seal::write(&bent, Some(&key), Stamp::default()).unwrap());
    let (exit, out, _) = group.booth("booth list -s 127.0.0.3");
    site.join().unwrap();
    assert_eq!((exit, out.as_str()), (0, "ticket: ?[2JT?\n"));
}

#[test]
fn a_grant_is_asked_for_at_its_site() {
    let group = Group::new("grant");
    assert_eq!(group.booth("booth grant -s 192.0.2.9 T").2, "error: Site \"192.0.2.9\" not configured.");
    let (exit, _, said) = group.booth("booth grant -s 127.0.0.4 T");
    assert!(exit == 1 && said.contains("just an arbitrator"), "{said}");
    let site = group.site("127.0.0.3", vec![(Outcome::SyncSuccess, holder("127.0.0.3"))]);
    assert_eq!(group.booth("booth grant -F -s other"), (0, String::new(), "info: grant succeeded!".into()));
    let asked = site.join().unwrap();
    let Body::Ticket(body) = &asked.body else { panic!("{asked:?}") };
    assert_eq!((asked.command, asked.flags.immediate, body.ticket.as_str()), (Command::Grant, true, "T"));
    assert_eq!(asked.from, SiteId::of("127.0.0.2".parse().unwrap()));
}

#[test]
fn who_does_not_wait_gives_up_and_who_does_hears_the_end() {
    let group = Group::new("wait");
    let waiting = "info: grant request sent, waiting for the result ...";
    let more = (Outcome::More, Leader::Unknown);
    let site = group.site("127.0.0.2", vec![more, more, more]);
    let (exit, _, said) = group.booth("booth grant T");
    assert!(exit == 0 && said.starts_with(waiting) && said.contains("Giving up on waiting"), "{said}");
    site.join().unwrap();
    let site = group.site("127.0.0.2", vec![more, more, more, (Outcome::SyncSuccess, Leader::Unknown)]);
    let ended = (0, String::new(), format!("{waiting}\ninfo: grant succeeded!"));
    assert_eq!(group.booth("booth grant -w T"), ended);
    assert!(site.join().unwrap().flags.wait);
    let pending = (Outcome::CibPending, Leader::Unknown);
    let site = group.site("127.0.0.2", vec![more, pending, (Outcome::SyncSuccess, Leader::Unknown)]);
    let (exit, _, said) = group.booth("booth grant -C T");
    let ends =
        "info: grant succeeded (CIB commit pending)\ninfo: waiting for the CIB commit ...\ninfo: grant succeeded!";
    assert_eq!((exit, said), (0, format!("{waiting}\n{ends}")));
    assert!(site.join().unwrap().flags.wait_commit);
}

#[test]
fn a_revocation_goes_on_to_the_holder() {
    let group = Group::new("revoke");
    let first = group.site("127.0.0.2", vec![(Outcome::Redirect, holder("127.0.0.3"))]);
    let second = group.site("127.0.0.3", vec![(Outcome::SyncSuccess, Leader::Nobody)]);
    assert_eq!(group.booth("booth revoke T"), (0, String::new(), "info: revoke succeeded!".into()));
    assert_eq!((first.join().unwrap().command, second.join().unwrap().command), (Command::Revoke, Command::Revoke));
}

//! An arbitrator that speaks booth's protocol, and boothd's side of it written down byte by byte from the description of
//! the protocol: nothing here is shared with the program's own reader and writer of messages.

#![expect(clippy::unwrap_used, reason = "the helpers of these tests are tests")]

use hakudo_arbitrator::{Config, run};
use hakudo_link::setup::Own;
use hakudo_tickets::Protocol;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

const KEY: &[u8] = b"a key that all know";

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hakudo-arbitrator-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The number of an address: its CRC-32 without the highest bit.
fn number(address: Ipv4Addr) -> u32 {
    let mut crc = u32::MAX;
    for byte in address.octets() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc & 0x7FFF_FFFF
}

/// What a boothd says or hears of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    command: [u8; 4],
    request: [u8; 4],
    result: [u8; 4],
    leader: u32,
    term: u32,
    valid: u32,
}

fn say(command: &[u8; 4], leader: u32, term: u32, valid: u32) -> Said {
    Said { command: *command, request: [0; 4], result: [0; 4], leader, term, valid }
}

/// A message: header, ticket, HMAC.
fn message(from: u32, said: Said, stamp: (u32, u32)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut words = |words: &[u32]| words.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    words(&[1, stamp.0, stamp.1, 0x5F1B_A08C, 0x0001_0003, from, 152]);
    let word = u32::from_be_bytes;
    words(&[word(said.command), word(said.request), 0, 0, word(said.result)]);
    let mut ticket = [0; 64];
    ticket[0] = b'T';
    bytes.extend(ticket);
    [said.leader, said.term, said.valid].iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(KEY).unwrap();
    mac.update(&bytes);
    let mac = mac.finalize().into_bytes();
    bytes.extend(2u32.to_be_bytes());
    bytes.extend(mac);
    bytes.extend([0; 4]);
    bytes
}

fn heard(bytes: &[u8]) -> Said {
    assert_eq!(bytes.len(), 152, "{bytes:?}");
    assert_eq!(sealed(bytes[..124].to_vec()), bytes, "the HMAC");
    let at = |place: usize| -> [u8; 4] { bytes[place..place + 4].try_into().unwrap() };
    let word = |place| u32::from_be_bytes(at(place));
    assert_eq!((word(12), word(16), word(24)), (0x5F1B_A08C, 0x0001_0003, 152));
    Said { command: at(28), request: at(32), result: at(44), leader: word(112), term: word(116), valid: word(120) }
}

/// What does not come within this time does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stand-in for the boothd of a site.
struct Site {
    address: Ipv4Addr,
    socket: UdpSocket,
    arbitrator: SocketAddr,
    sent: u32,
}

impl Site {
    fn new(last: u8, arbitrator: Ipv4Addr, port: u16) -> std::io::Result<Self> {
        let address = Ipv4Addr::new(127, 0, 7, last);
        let socket = UdpSocket::bind((address, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { address, socket, arbitrator: (arbitrator, port).into(), sent: 0 })
    }

    fn id(&self) -> u32 {
        number(self.address)
    }

    fn stamp(&mut self) -> (u32, u32) {
        self.sent += 1;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        (u32::try_from(now).unwrap(), self.sent)
    }

    fn send(&mut self, said: Said) -> Vec<u8> {
        let stamp = self.stamp();
        let bytes = message(self.id(), said, stamp);
        self.socket.send_to(&bytes, self.arbitrator).unwrap();
        bytes
    }

    /// The next message.
    fn receive(&self) -> Said {
        let mut bytes = [0; 2048];
        let length = self.socket.recv(&mut bytes).expect("nothing comes");
        heard(&bytes[..length])
    }

    /// What the arbitrator answers to this: its own questions, and answers to what was said before, are passed over.
    fn ask(&mut self, said: Said) -> Said {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 2048]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
        self.send(said);
        loop {
            let answer = self.receive();
            if answer.request == said.command {
                return answer;
            }
        }
    }
}

/// The sites, and the port that all of them have: that of the arbitrator is free when this is given back.
fn sites(arbitrator: Ipv4Addr) -> (Site, Site, u16) {
    for _ in 0..50 {
        let datagrams = UdpSocket::bind((arbitrator, 0)).unwrap();
        let port = datagrams.local_addr().unwrap().port();
        // Datagrams and clients come to the same port.
        let clients = TcpListener::bind((arbitrator, port));
        if let (Ok(_), Ok(a), Ok(b)) = (clients, Site::new(1, arbitrator, port), Site::new(2, arbitrator, port)) {
            return (a, b, port);
        }
    }
    panic!("no port is free at all addresses");
}

/// It ends with the test, however that ends.
struct Process(std::process::Child);

impl Process {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn config(folder: &Path, port: u16) -> Config {
    let key = folder.join("key");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let conf = folder.join("booth.conf");
    let text = format!(
        "port = {port}\nauthfile = {}\nsite = 127.0.7.1\nsite = 127.0.7.2\narbitrator = 127.0.7.3\nticket = T\nexpire = 5\ntimeout = 600ms\nretries = 3\n",
        key.display()
    );
    std::fs::write(&conf, text).unwrap();
    Config {
        own: Own { protocol: Protocol::Booth, config: Some(conf), member: Some("127.0.7.3".into()), ..Own::default() },
        state_dir: folder.join("state"),
        socket: folder.join("socket"),
        pid_file: None,
    }
}

/// The text that a client of booth is answered.
fn list(arbitrator: SocketAddr) -> String {
    let mut stream = TcpStream::connect(arbitrator).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let stamp = (u32::try_from(now.as_secs()).unwrap(), now.subsec_micros());
    let mut bytes = Vec::new();
    let word = |text: &[u8; 4]| u32::from_be_bytes(*text);
    let header = [
        1,
        stamp.0,
        stamp.1,
        0x5F1B_A08C,
        0x0001_0003,
        number(Ipv4Addr::new(127, 0, 7, 1)),
        152,
        word(b"CLst"),
        0,
        0,
        0,
        0,
    ];
    header.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    bytes.extend([0; 76]);
    stream.write_all(&sealed(bytes)).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(sealed(answer[..48].to_vec()), answer[..76], "the HMAC is over the header");
    String::from_utf8(answer[76..].to_vec()).unwrap()
}

fn wait_until_it_listens(arbitrator: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(arbitrator).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody listens");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_boothds_are_served_and_a_promise_outlives_the_process() {
    let folder = folder("booth");
    let arbitrator = Ipv4Addr::new(127, 0, 7, 3);
    let (mut a, mut b, port) = sites(arbitrator);
    let address = SocketAddr::from((arbitrator, port));
    // A process of its own, so that it can be ended.
    let program = std::env::current_exe().unwrap();
    let start = || {
        let mut command = std::process::Command::new(&program);
        command.args(["--exact", "serves", "--nocapture"]).stdout(std::process::Stdio::null());
        command.env("HAKUDO_TEST_ARBITRATOR", format!("{}\n{port}", folder.display()));
        Process(command.spawn().unwrap())
    };
    let mut process = start();
    wait_until_it_listens(address);
    assert_eq!(list(address), "ticket: T, leader: NONE\n");

    let (of_a, of_b) = (a.id(), b.id());
    // It finds nothing stored, and may have promised the ticket in an earlier life: it says nothing for as long as a lease.
    let begun = Instant::now();
    a.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let vote = loop {
        a.send(say(b"RVot", of_a, 1, 0));
        let mut bytes = [0; 2048];
        match a.socket.recv(&mut bytes).map(|length| heard(&bytes[..length])) {
            Ok(answer) if answer.request == *b"RVot" => break answer,
            _ => assert!(begun.elapsed() < PATIENCE, "never"),
        }
    };
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    a.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!((vote.command, vote.leader, vote.term), (*b"VtFr", of_a, 1));
    // Milliseconds, because the file has a time that is no whole second.
    let heartbeat = say(b"HrtB", of_a, 1, 5000);
    let ack = a.ask(heartbeat);
    assert_eq!((ack.command, ack.leader, ack.term, ack.result), (*b"Ack.", of_a, 1, [0; 4]));
    assert_eq!(a.ask(say(b"UpdE", of_a, 1, 5000)).command, *b"Ack.");
    assert!(list(address).starts_with("ticket: T, leader: 127.0.7.1, expires: 20"), "{}", list(address));
    let refused = b.ask(say(b"RVot", of_b, 2, 0));
    assert_eq!((refused.command, refused.result, refused.leader), (*b"RJC!", *b"TVld", of_a));

    // What was sent once is not taken twice, and what has another key is not taken at all.
    let sent = a.send(say(b"HrtB", of_a, 1, 5000));
    while a.receive().request != *b"HrtB" {}
    a.socket.send_to(&sent, a.arbitrator).unwrap();
    let mut forged = sent;
    forged[119] ^= 1;
    a.socket.send_to(&forged, a.arbitrator).unwrap();
    // They are taken in order: the first answer after that is to the question that follows.
    a.send(say(b"Stat", of_a, 1, 0));
    loop {
        let answer = a.receive();
        assert_ne!(answer.request, *b"HrtB", "a replay, or a forgery, is answered");
        if answer.request == *b"Stat" {
            break;
        }
    }

    // It is killed and comes back: the promise to the first site counts from now on.
    process.end();
    let mut process = start();
    wait_until_it_listens(address);
    let again = Instant::now();
    let refused = b.ask(say(b"RVot", of_b, 2, 0));
    assert_eq!((refused.command, refused.result), (*b"RJC!", *b"TVld"), "the promise is forgotten");
    // The first one is silent, and one day the second gets its vote: not before the lease is over.
    let elected = loop {
        let answer = b.ask(say(b"RVot", of_b, 3, 0));
        if answer.command == *b"VtFr" {
            break answer;
        }
        assert!(again.elapsed() < Duration::from_secs(20), "never");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(elected.leader, of_b);
    assert!(again.elapsed() >= Duration::from_secs(5), "{:?}", again.elapsed());
    let ack = b.ask(say(b"HrtB", of_b, 3, 5000));
    assert_eq!((ack.command, ack.leader), (*b"Ack.", of_b));
    assert!(list(address).starts_with("ticket: T, leader: 127.0.7.2, "), "{}", list(address));
    process.end();
    std::fs::remove_dir_all(folder).unwrap();
}

/// Not a test: what the process runs that the test above starts. Without its variable it has nothing to do.
#[test]
fn serves() {
    let Ok(text) = std::env::var("HAKUDO_TEST_ARBITRATOR") else { return };
    let (folder, port) = text.split_once('\n').unwrap();
    run(&config(Path::new(folder), port.parse().unwrap())).unwrap();
}

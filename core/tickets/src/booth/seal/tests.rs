use super::super::wire::*;
use super::*;
use expect_test::expect;
use proptest::prelude::*;

fn heartbeat() -> Message {
    Message {
        from: SiteId::of("10.99.0.2".parse().unwrap()),
        command: Command::Heartbeat,
        request: None,
        flags: Flags::default(),
        reason: Reason::JustSo,
        outcome: Outcome::Success,
        body: Body::Ticket(TicketBody {
            ticket: "ticketA".into(),
            leader: Leader::Site(SiteId::of("10.99.0.2".parse().unwrap())),
            term: 7,
            valid_for: 10,
        }),
    }
}

fn key() -> Key {
    Key::from_file(b"  secret-key-of-a-group\n").unwrap()
}

const STAMP: Stamp = Stamp { seconds: 1_795_212_762, microseconds: 5 };

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n").collect()
}

#[test]
fn the_bytes_of_a_heartbeat() {
    expect![[r#"
        0000000000000000000000005f1ba08c
        000100036a662b2d0000007c48727442
        00000000000000000000000000000000
        7469636b657441000000000000000000
        00000000000000000000000000000000
        00000000000000000000000000000000
        00000000000000000000000000000000
        6a662b2d000000070000000a
    "#]]
    .assert_eq(&hex(&write(&heartbeat(), None, STAMP).unwrap()));
    let sealed = write(&heartbeat(), Some(&key()), STAMP).unwrap();
    assert_eq!((sealed.len(), &sealed[..12]), (152, &[0, 0, 0, 1, 0x6b, 0, 0xc5, 0xda, 0, 0, 0, 5][..]));
    assert_eq!(sealed[124..128], [0, 0, 0, 2]);
    assert_eq!(sealed[148..], [0; 4]);
}

/// The first case of RFC 2202: 20 bytes of 0x0b and "Hi There".
#[test]
fn the_hash_is_hmac_sha1() {
    let mac = Key(vec![0x0b; 20]).mac(b"Hi There");
    assert_eq!(hex(&mac.finalize().into_bytes()), "b617318655057264e28bc0b6fb378c8e\nf146be00\n");
}

/// Ids as `booth status` and the CIB of a group of boothd showed them.
#[test]
fn ids_are_those_of_boothd() {
    assert_eq!(SiteId::of("10.99.0.2".parse().unwrap()), SiteId(1_785_080_621));
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn keys_are_trimmed_only_if_ascii_and_never_none() {
    let length = |content: &[u8]| Key::from_file(content).map(|key| key.0.len()).map_err(|error| error.0);
    assert_eq!(length(b" 12345678\n"), Ok(8));
    assert_eq!(length(b" 1234567\n"), Err(7));
    assert_eq!(length(b" 1234567\xff\n"), Ok(10));
    assert_eq!(length(&[b' '; 70]), Err(0));
    assert_eq!(length(&[b'x'; 65]), Err(65));
    let zero = Key::from_file(&[0, 1, 2, 3, 4, 5, 6, 200, 9]).unwrap();
    assert!(zero.switches_boothd_off());
    let sealed = write(&heartbeat(), Some(&zero), STAMP).unwrap();
    assert_eq!(read(&sealed, Some(&zero), false), Ok(heartbeat()));
    assert_eq!(
        read(&write(&heartbeat(), None, STAMP).unwrap(), Some(&zero), false),
        Err(WireError::Authentication(false))
    );
}

#[test]
fn keys_with_zero_bytes_are_used_in_their_full_length() {
    let with_zeros = |at: usize, last: u8| {
        let mut bytes = vec![0x81; 32];
        (bytes[at], bytes[31]) = (0, last);
        Key::from_file(&bytes).unwrap()
    };
    for at in [0, 1, 15, 30] {
        let (one, other) = (with_zeros(at, 5), with_zeros(at, 6));
        let sealed = write(&heartbeat(), Some(&one), STAMP).unwrap();
        assert_eq!(read(&sealed, Some(&one), false), Ok(heartbeat()));
        assert_eq!(
            read(&sealed, Some(&other), false),
            Err(WireError::Forged),
            "what is behind the zero byte {at} counts"
        );
        assert!(read(&write(&heartbeat(), None, STAMP).unwrap(), Some(&one), false).is_err());
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    let sealed = write(&heartbeat(), Some(&key()), STAMP).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&changed, Some(&key()), false).is_err(), "bit {bit}");
    }
    assert_eq!(read(&sealed, None, false), Err(WireError::Authentication(true)));
}

#[test]
fn texts_stand_behind_the_trailer() {
    let list = Message { command: Command::List, body: Body::Text("ticket: a\n".into()), ..heartbeat() };
    for key in [None, Some(key())] {
        let bytes = write(&list, key.as_ref(), STAMP).unwrap();
        assert_eq!(bytes.len(), 48 + if key.is_some() { 28 } else { 0 } + 10);
        assert!(bytes.ends_with(b"ticket: a\n"));
        assert_eq!(Envelope::read(&bytes).unwrap().length, bytes.len());
        assert_eq!(read(&bytes, key.as_ref(), true).as_ref(), Ok(&list));
        assert!(read(&bytes, key.as_ref(), false).is_err());
    }
}

#[test]
fn a_message_is_taken_once() {
    let (id, skew) = (SiteId(1), Duration::from_secs(600));
    let at = |seconds: i64| UnixTime::from_seconds(i64::from(STAMP.seconds) + seconds);
    let sent = |seconds: u32, microseconds| {
        let stamp = Stamp { seconds: STAMP.seconds + seconds, microseconds };
        write(&heartbeat(), Some(&key()), stamp).unwrap()
    };
    let mut replays = Replays::default();
    let mut take = |bytes: &[u8], now| replays.take(id, bytes, at(now), skew);
    assert_eq!(take(&sent(0, 900), 0), Ok(()));
    assert_eq!(take(&sent(0, 900), 0), Err(Stale::Seen));
    // Earlier in the same second by another clock, and a second that came late.
    assert_eq!(take(&sent(0, 100), 1), Ok(()));
    assert_eq!(take(&sent(4, 0), 4), Ok(()));
    assert_eq!(take(&sent(2, 0), 4), Ok(()));
    assert_eq!(take(&sent(2, 0), 4), Err(Stale::Seen));
    assert_eq!(take(&sent(100, 0), 100), Ok(()));
    assert_eq!(take(&sent(4, 0), 100), Err(Stale::Late(96)));
    assert_eq!(take(&sent(900, 0), 100), Err(Stale::Skew(800)));
    let mut after_restart = Replays::default();
    after_restart.restore(&replays.floor());
    assert_eq!(after_restart.take(id, &sent(100, 0), at(101), skew), Err(Stale::Late(0)));
    assert_eq!(after_restart.take(id, &sent(101, 0), at(101), skew), Ok(()));
}

fn any_message() -> impl Strategy<Value = Message> {
    let name = "[a-zA-Z0-9/-]{0,63}";
    let ticket = (name, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(ticket, leader, term, valid_for)| {
        let leader = match leader % 3 {
            0 => Leader::Unknown,
            1 => Leader::Nobody,
            _ => Leader::Site(SiteId(leader & 0x7FFF_FFFF | 1)),
        };
        Body::Ticket(TicketBody { ticket, leader, term, valid_for })
    });
    let attribute = (name, name, "[ -~]{0,127}")
        .prop_map(|(ticket, name, value)| Body::Attribute(AttributeBody { ticket, name, value }));
    let body = prop_oneof![Just(Body::Empty), ticket, attribute];
    (body, any::<u32>(), 0..4u8).prop_map(|(body, from, bits)| Message {
        from: SiteId(from),
        command: Command::Status,
        request: (bits == 1).then_some(Command::Heartbeat),
        flags: Flags { wait: bits & 1 != 0, durable: bits & 2 != 0, ..Flags::default() },
        reason: Reason::TicketLost,
        outcome: Outcome::Redirect,
        body,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in any_message(), sealed in any::<bool>(), from_key in "[a-z]{8,64}") {
        let key = sealed.then(|| Key::from_file(from_key.as_bytes()).unwrap());
        let bytes = write(&message, key.as_ref(), STAMP).unwrap();
        prop_assert_eq!(read(&bytes, key.as_ref(), false), Ok(message));
    }

    #[test]
    fn anything_is_read_or_refused(
        message in any_message(), cut in 0..400usize, changes in prop::collection::vec((0..400usize, any::<u8>()), 0..6),
        sealed in any::<bool>(), text in any::<bool>(),
    ) {
        let key = sealed.then(key);
        let mut bytes = write(&message, None, STAMP).unwrap();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(cut);
        let _ = read(&bytes, key.as_ref(), text);
        let _ = Envelope::read(&bytes);
    }
}

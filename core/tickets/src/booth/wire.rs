//! The messages of booth 1.x (protocol 1.3): UDP between members, TCP from clients; all numbers big-endian.
//!
//! A message is a header of 48 bytes, a body (of a ticket, 76 bytes; of an attribute, 256 bytes; text, in answers to
//! clients only) and, where the group has a key, a trailer of 28 bytes, which [`super::seal`] sees to. Between header and
//! text the trailer comes first, and the text is not authenticated: that is booth's choice, and cannot be mended.
//!
//! Decoding is strict: whatever is not exactly a message of booth is refused with the reason, and never panics.

use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

/// The length of a header.
pub const HEADER: usize = 48;
/// The length of a message about a ticket, without trailer.
pub const TICKET_MESSAGE: usize = HEADER + TICKET_BODY;
/// The length of a message about an attribute, without trailer.
pub const ATTRIBUTE_MESSAGE: usize = HEADER + ATTRIBUTE_BODY;
/// The longest message that a boothd takes.
pub const LONGEST: usize = 1024;
/// The longest text that is taken from a daemon, for a list of thousands of tickets.
pub const LONGEST_TEXT: usize = 1 << 20;

const TICKET_BODY: usize = 76;
const ATTRIBUTE_BODY: usize = 256;
const NAME: usize = 64;
const VALUE: usize = 128;
const MAGIC: u32 = 0x5F1B_A08C;
const VERSION: u32 = 0x0001_0003;
const AUTHENTICATED: u32 = 1;
const ATTRIBUTE: u32 = 4;

/// Who a member is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SiteId(pub u32);

impl SiteId {
    /// The id of the member with that address: booth takes a checksum (CRC-32) of the bytes of the address.
    pub fn of(address: IpAddr) -> Self {
        let checksum = match address {
            IpAddr::V4(address) => crc32(&address.octets()),
            IpAddr::V6(address) => crc32(&address.octets()),
        };
        Self(checksum & 0x7FFF_FFFF)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// CRC-32 as of zlib and IEEE 802.3.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let of_bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), of_bit))
}

/// Whom a message names as holder (or, in votes, as the one voted for).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leader {
    /// Nobody is known.
    Unknown,
    /// Nobody, as is known; after a revocation and when a holder steps down.
    Nobody,
    /// That member.
    Site(SiteId),
}

impl Leader {
    fn from_wire(number: u32) -> Self {
        match number {
            0 => Leader::Unknown,
            u32::MAX => Leader::Nobody,
            id => Leader::Site(SiteId(id)),
        }
    }

    fn to_wire(self) -> u32 {
        match self {
            Leader::Unknown => 0,
            Leader::Nobody => u32::MAX,
            Leader::Site(id) => id.0,
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$word_doc])* $word,)* }

        impl $name {
            /// The word with that number on the wire.
            pub fn from_wire(number: u32) -> Option<Self> {
                match &number.to_be_bytes() {
                    $($text => Some(Self::$word),)*
                    _ => None,
                }
            }

            /// Its number on the wire.
            pub fn to_wire(self) -> u32 {
                u32::from_be_bytes(match self { $(Self::$word => *$text,)* })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.to_wire() {
                    0 => f.write_str("0"),
                    number => f.write_str(&String::from_utf8_lossy(&number.to_be_bytes())),
                }
            }
        }
    };
}

words! {
    /// What a message is.
    Command {
        /// Client: the list of tickets.
        List = b"CLst",
        /// Client: grant a ticket.
        Grant = b"CGnt",
        /// Client: revoke a ticket.
        Revoke = b"CRvk",
        /// Client: the other members.
        Peers = b"Peer",
        /// Client: set an attribute.
        SetAttribute = b"ASet",
        /// Client: the value of an attribute.
        GetAttribute = b"AGet",
        /// Client: remove an attribute.
        DeleteAttribute = b"ADel",
        /// Client: all attributes of a ticket.
        ListAttributes = b"ALst",
        /// To a client: the result of its request.
        Result = b"Rslt",
        /// To a client: a list. boothd sends lists with the number of the request instead.
        ListResult = b"RLst",
        /// Member: what is known of a ticket?
        Status = b"Stat",
        /// Member: this is known of it.
        MyIndex = b"MIdx",
        /// Member: a candidate asks for votes.
        RequestVote = b"RVot",
        /// Member: a vote; unasked and for nobody: the holder steps down.
        VoteFor = b"VtFr",
        /// Member: the holder asks whether it still is.
        Heartbeat = b"HrtB",
        /// Member: yes.
        Ack = b"Ack.",
        /// Member: the holder has renewed.
        Update = b"UpdE",
        /// Member: the holder was told to give the ticket up.
        RevokeTicket = b"Revk",
        /// Member: no.
        Reject = b"RJC!",
    }
}

words! {
    /// How it went.
    Outcome {
        /// Well.
        Success = b"\0\0\0\0",
        /// The result will be seen later, elsewhere.
        Async = b"Asyn",
        /// Another message follows.
        More = b"More",
        /// Well, now.
        SyncSuccess = b"Sccs",
        /// Not.
        SyncFail = b"Fail",
        /// No such ticket.
        InvalidArgument = b"IArg",
        /// No such attribute.
        NoSuchAttribute = b"NAtr",
        /// Granted; the cluster learns of it later.
        CibPending = b"Pend",
        /// The handler did not agree.
        HandlerFailed = b"XPrg",
        /// A prerequisite is not fulfilled.
        PrerequisiteFailed = b"APrq",
        /// The ticket is not granted to anybody.
        TicketIdle = b"Tidl",
        /// The ticket is granted already.
        Overgrant = b"Over",
        /// Probably well.
        ProbablySuccess = b"Suc?",
        /// Not now.
        Busy = b"Busy",
        /// The message is not authentic.
        Auth = b"Auth",
        /// The term in the message is over.
        TermOutdated = b"TOdt",
        /// The ticket still holds elsewhere.
        TermStillValid = b"TVld",
        /// What the sender knows is outdated.
        YouOutdated = b"Outd",
        /// Another site must be asked: the holder.
        Redirect = b"Redr",
    }
}

words! {
    /// Why votes are asked for.
    Reason {
        /// No reason is given.
        JustSo = b"\0\0\0\0",
        /// As before.
        Again = b"Aaaa",
        /// The ticket was not renewed.
        TicketLost = b"TLst",
        /// It was held here, and shall be again.
        Reacquire = b"Racq",
        /// An administrator grants it.
        Admin = b"Admn",
        /// Something failed locally.
        LocalFail = b"LocF",
        /// The holder stepped down.
        StepDown = b"Spdn",
        /// There were two holders.
        Split = b"Splt",
    }
}

/// What a client wishes beyond its request, and what a member says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Do not wait for sites that cannot be reached.
    pub immediate: bool,
    /// The client waits for the outcome.
    pub wait: bool,
    /// The client waits until the cluster has it.
    pub wait_commit: bool,
    /// The sender keeps its votes and terms over restarts and counts leases from the first question on: it is not boothd.
    /// boothd sends 0 and does not look at it.
    pub durable: bool,
}

const DURABLE: u32 = 0x6861_6B00;

impl Flags {
    fn from_wire(number: u32) -> Self {
        Self {
            immediate: number & 1 != 0,
            wait: number & 2 != 0,
            wait_commit: number & 4 != 0,
            durable: number & 0xFFFF_FF00 == DURABLE,
        }
    }

    fn to_wire(self) -> u32 {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        bit(self.immediate, 1) | bit(self.wait, 2) | bit(self.wait_commit, 4) | bit(self.durable, DURABLE)
    }
}

/// When an authenticated message was sent, by the sender: seconds since 1970, and a fraction from another clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Seconds since 1970.
    pub seconds: u32,
    /// Microseconds of the monotonic clock: two stamps with the same second cannot be compared by them.
    pub microseconds: u32,
}

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: the header says all.
    Empty,
    /// A ticket.
    Ticket(TicketBody),
    /// An attribute of a ticket.
    Attribute(AttributeBody),
    /// Text for a client.
    Text(String),
}

/// A ticket on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketBody {
    /// Its name; empty in requests that concern all tickets.
    pub ticket: String,
    /// Who holds it, or is voted for.
    pub leader: Leader,
    /// The term.
    pub term: u32,
    /// How much longer it holds, in seconds, or in milliseconds in a group whose file says so.
    pub valid_for: u32,
}

/// An attribute on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeBody {
    /// The ticket.
    pub ticket: String,
    /// The attribute.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sends it. Clients give the id of the site whose configuration they read.
    pub from: SiteId,
    /// What it is.
    pub command: Command,
    /// What it answers.
    pub request: Option<Command>,
    /// Wishes.
    pub flags: Flags,
    /// Why.
    pub reason: Reason,
    /// How it went.
    pub outcome: Outcome,
    /// What it is about.
    pub body: Body,
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Fewer bytes than a header has.
    #[error("{0} bytes are too short for a message")]
    Short(usize),
    /// Not booth's.
    #[error("the magic number is {0:#010x}, not booth's")]
    Magic(u32),
    /// Another version.
    #[error("the version is {0:#010x}, only 0x00010003 is known")]
    Version(u32),
    /// The header says another length than there is, or none that a message can have.
    #[error("the length is said to be {said}, but is {found}")]
    Length {
        /// What the header says.
        said: usize,
        /// What there is.
        found: usize,
    },
    /// A number that is not one of the words of a field.
    #[error("{0:#010x} is no {1}")]
    Word(u32, &'static str),
    /// A text without its end, or not in UTF-8.
    #[error("the {0} is no text")]
    Text(&'static str),
    /// It should be authenticated and is not, or the other way round.
    #[error("{}", if *.0 { "the message is authenticated, but there is no key here" } else { "the message is not authenticated" })]
    Authentication(bool),
    /// It is not from somebody with the key.
    #[error("the message is not authentic")]
    Forged,
    /// A name or value that is too long for booth's messages.
    #[error("the {what} has {length} bytes, of which {room} have room")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The room.
        room: usize,
    },
}

/// Bytes, read one after the other.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn number(&mut self) -> u32 {
        let (bytes, rest) = self.0.split_first_chunk().unwrap_or((&[0; 4], &[]));
        self.0 = rest;
        u32::from_be_bytes(*bytes)
    }

    /// A text that ends with a zero byte. What comes behind it in its field is not looked at: boothd sends rests there.
    fn text(&mut self, room: usize, what: &'static str) -> Result<String, WireError> {
        let (field, rest) = self.0.split_at_checked(room).ok_or(WireError::Text(what))?;
        self.0 = rest;
        let end = field.iter().position(|byte| *byte == 0).ok_or(WireError::Text(what))?;
        String::from_utf8(field[..end].to_vec()).map_err(|_| WireError::Text(what))
    }
}

/// What a header says of the whole message, so that a reader of a stream knows how much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Bytes of the whole message, header, trailer and text included.
    pub length: usize,
    /// It has a trailer.
    pub authenticated: bool,
    /// When it was sent, where it is authenticated.
    pub stamp: Stamp,
}

impl Envelope {
    /// Reads the beginning of a message.
    ///
    /// # Errors
    /// Where it is not a header of booth's, or says a length that no message has.
    pub fn read(header: &[u8]) -> Result<Self, WireError> {
        if header.len() < HEADER {
            return Err(WireError::Short(header.len()));
        }
        let mut input = Input(header);
        let options = input.number();
        let stamp = Stamp { seconds: input.number(), microseconds: input.number() };
        let (magic, version, _from, length) = (input.number(), input.number(), input.number(), input.number());
        if magic != MAGIC {
            return Err(WireError::Magic(magic));
        }
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(HEADER..=LONGEST_TEXT).contains(&length) {
            return Err(WireError::Length { said: length, found: header.len() });
        }
        Ok(Self { length, authenticated: options & AUTHENTICATED != 0, stamp })
    }
}

impl Message {
    /// The bytes of the message without trailer; `sealed` is the stamp and the room for a trailer where it gets one.
    pub(super) fn encode(&self, sealed: Option<(Stamp, usize)>) -> Result<(Vec<u8>, Vec<u8>), WireError> {
        let mut body = Vec::new();
        let mut text = Vec::new();
        match &self.body {
            Body::Empty => {}
            Body::Ticket(ticket) => {
                field(&mut body, &ticket.ticket, NAME, "name of the ticket")?;
                for number in [ticket.leader.to_wire(), ticket.term, ticket.valid_for] {
                    body.extend(number.to_be_bytes());
                }
            }
            Body::Attribute(attribute) => {
                field(&mut body, &attribute.ticket, NAME, "name of the ticket")?;
                field(&mut body, &attribute.name, NAME, "name of the attribute")?;
                field(&mut body, &attribute.value, VALUE, "value of the attribute")?;
            }
            Body::Text(content) => text.extend(content.bytes()),
        }
        let (stamp, trailer) = sealed.unwrap_or_default();
        let length = HEADER + body.len() + trailer + text.len();
        if length > LONGEST_TEXT {
            return Err(WireError::TooLong { what: "text", length, room: LONGEST_TEXT });
        }
        let mut options = if sealed.is_some() { AUTHENTICATED } else { 0 };
        if matches!(self.body, Body::Attribute(_)) {
            options |= ATTRIBUTE;
        }
        let header = [
            options,
            stamp.seconds,
            stamp.microseconds,
            MAGIC,
            VERSION,
            self.from.0,
            length as u32,
            self.command.to_wire(),
            self.request.map_or(0, Command::to_wire),
            self.flags.to_wire(),
            self.reason.to_wire(),
            self.outcome.to_wire(),
        ];
        let mut bytes: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
        bytes.append(&mut body);
        Ok((bytes, text))
    }

    /// The message in `bytes` (header and body) and `text`, the trailer between them being taken out.
    pub(super) fn decode(bytes: &[u8], text: &[u8]) -> Result<Self, WireError> {
        let mut input = Input(bytes);
        for _ in 0..5 {
            input.number();
        }
        let from = SiteId(input.number());
        input.number();
        let word = |number, what| WireError::Word(number, what);
        let command = input.number();
        let command = Command::from_wire(command).ok_or(word(command, "command"))?;
        let request = match input.number() {
            0 => None,
            number => Some(Command::from_wire(number).ok_or(word(number, "request"))?),
        };
        let flags = Flags::from_wire(input.number());
        let reason = input.number();
        let reason = Reason::from_wire(reason).ok_or(word(reason, "reason"))?;
        let outcome = input.number();
        let outcome = Outcome::from_wire(outcome).ok_or(word(outcome, "result"))?;
        let body = match input.0.len() {
            0 if text.is_empty() => Body::Empty,
            0 => Body::Text(String::from_utf8(text.to_vec()).map_err(|_| WireError::Text("text"))?),
            TICKET_BODY if text.is_empty() => Body::Ticket(TicketBody {
                ticket: input.text(NAME, "name of the ticket")?,
                leader: Leader::from_wire(input.number()),
                term: input.number(),
                valid_for: input.number(),
            }),
            ATTRIBUTE_BODY if text.is_empty() => Body::Attribute(AttributeBody {
                ticket: input.text(NAME, "name of the ticket")?,
                name: input.text(NAME, "name of the attribute")?,
                value: input.text(VALUE, "value of the attribute")?,
            }),
            _ => return Err(WireError::Length { said: bytes.len() + text.len(), found: bytes.len() }),
        };
        Ok(Self { from, command, request, flags, reason, outcome, body })
    }
}

fn field(body: &mut Vec<u8>, text: &str, room: usize, what: &'static str) -> Result<(), WireError> {
    // One byte is the end.
    if text.len() >= room {
        return Err(WireError::TooLong { what, length: text.len(), room: room - 1 });
    }
    if text.contains('\0') {
        return Err(WireError::Text(what));
    }
    body.extend(text.bytes());
    body.resize(body.len() + room - text.len(), 0);
    Ok(())
}

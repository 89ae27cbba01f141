//! Authentication of booth's messages: HMAC-SHA1 with one key for all, and a guard against replays.
//!
//! A trailer is the number of the hash (2: SHA-1) and 24 bytes, of which the last four are zero. booth checks the stamp of a
//! message against a window of ten minutes, in which anything can be sent a second time. Here every message of a member is
//! taken once: see [`Replays`].

pub use super::wire::WireError;
use super::wire::{Body, Envelope, HEADER, Message, SiteId, Stamp};
use hakudo_base::UnixTime;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// The length of a trailer.
pub const TRAILER: usize = 28;
const MAC: usize = 20;
const SHA1: u32 = 2;
const SHORTEST_KEY: usize = 8;
const LONGEST_KEY: usize = 64;

/// The key of a group.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why the content of a file is no key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a key has 8 to 64 bytes, this one has {0}")]
pub struct KeyError(usize);

impl Key {
    /// The key in the content of a key file. booth reads 64 bytes, and where all are ASCII, white space around them is not
    /// part of the key. A key may begin with a zero byte (boothd takes such a key as none, and authenticates nothing).
    ///
    /// # Errors
    /// Where less than 8 bytes are left, or the file holds more than a key and white space.
    pub fn from_file(content: &[u8]) -> Result<Self, KeyError> {
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0B;
        let (head, tail) = content.split_at(content.len().min(LONGEST_KEY));
        if tail.iter().any(|byte| !is_space(byte)) {
            return Err(KeyError(content.len()));
        }
        let key = if head.is_ascii() {
            let start = head.iter().position(|byte| !is_space(byte)).unwrap_or(head.len());
            let end = head.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
            &head[start..end]
        } else {
            head
        };
        if key.len() < SHORTEST_KEY { Err(KeyError(key.len())) } else { Ok(Self(key.to_vec())) }
    }

    /// True where boothd would take this key as no key at all.
    pub fn switches_boothd_off(&self) -> bool {
        self.0.first() == Some(&0)
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha1> {
        // HMAC takes keys of any length.
        let mut mac =
            <Hmac<Sha1> as KeyInit>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&Default::default()));
        mac.update(bytes);
        mac
    }
}

/// The bytes of a message, with a trailer where there is a key.
///
/// # Errors
/// Where a name or value has no room.
pub fn write(message: &Message, key: Option<&Key>, stamp: Stamp) -> Result<Vec<u8>, WireError> {
    let (mut bytes, text) = message.encode(key.map(|_| (stamp, TRAILER)))?;
    if let Some(key) = key {
        let mac = key.mac(&bytes).finalize().into_bytes();
        bytes.extend(SHA1.to_be_bytes());
        bytes.extend(mac);
        bytes.extend([0; 4]);
    }
    bytes.extend(text);
    Ok(bytes)
}

/// The message in `bytes`, which hold exactly one. `text_expected` is true for an answer to a client, which may have text
/// behind its trailer.
///
/// # Errors
/// Where it is not a message, not authentic, or authenticated without a key here.
pub fn read(bytes: &[u8], key: Option<&Key>, text_expected: bool) -> Result<Message, WireError> {
    let envelope = Envelope::read(bytes)?;
    if envelope.length != bytes.len() {
        return Err(WireError::Length { said: envelope.length, found: bytes.len() });
    }
    if envelope.authenticated != key.is_some() {
        return Err(WireError::Authentication(envelope.authenticated));
    }
    let trailer = if key.is_some() { TRAILER } else { 0 };
    // With text, the trailer stands right behind the header.
    let body_end = if text_expected { HEADER } else { bytes.len().saturating_sub(trailer).max(HEADER) };
    let too_short = WireError::Length { said: envelope.length, found: bytes.len() };
    let (signed, rest) = bytes.split_at_checked(body_end).ok_or(too_short.clone())?;
    let (trailer, text) = rest.split_at_checked(trailer).ok_or(too_short)?;
    if let Some(key) = key {
        let (hash, mac) = trailer.split_at(4);
        let padded = mac[MAC..] == [0; 4];
        if hash != SHA1.to_be_bytes() || !padded || key.mac(signed).verify_slice(&mac[..MAC]).is_err() {
            return Err(WireError::Forged);
        }
    }
    let message = Message::decode(signed, text)?;
    match (&message.body, text_expected) {
        (Body::Text(_), false) => Err(WireError::Text("body")),
        _ => Ok(message),
    }
}

/// Takes each message of a member once.
///
/// Seconds of a stamp come from the sender's calendar clock, microseconds from another one, so that of two messages in one
/// second (or in neighbouring ones, around a turn) the order cannot be told from stamps. Therefore the trailers of the
/// last seconds are remembered and taken once, and what is stamped earlier is refused. So a sender whose calendar clock is
/// set back by more than [`LATE`] is refused until its clock has come back to where it was: whoever could have it taken
/// earlier could send what was said in that time once more.
///
/// What is known here belongs on disk: [`Replays::floor`] says up to where, and [`Replays::restore`] takes it. Without it,
/// a message of the time before a restart could be taken once more.
#[derive(Clone, Debug)]
pub struct Replays {
    senders: BTreeMap<SiteId, Sender>,
    /// How much later than others of its sender a message may be, in seconds.
    late: u32,
    /// Nothing stamped before this second is taken.
    start: u32,
}

impl Default for Replays {
    fn default() -> Self {
        Self { senders: BTreeMap::new(), late: LATE, start: 0 }
    }
}

#[derive(Clone, Debug, Default)]
struct Sender {
    highest: u32,
    /// Nothing stamped in this second or before is taken.
    floor: u32,
    recent: BTreeSet<(u32, [u8; MAC])>,
}

/// How much later than messages that were sent after it a message may come, in seconds of the sender's clock.
pub const LATE: u32 = 5;
/// More messages of one sender in [`LATE`] seconds than these are refused: memory has a bound.
const MOST_RECENT: usize = 20_000;

/// Why an authentic message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Stale {
    /// It was taken before.
    #[error("the message was taken before")]
    Seen,
    /// It is older than messages that were taken.
    #[error("the message is stamped {0} s before one that was taken")]
    Late(u32),
    /// Its stamp is too far from the calendar clock here.
    #[error("the message is stamped {0} s away from the clock here")]
    Skew(u64),
    /// Too many at once.
    #[error("too many messages at once")]
    Flood,
}

impl Replays {
    /// A guard for ids that many senders with clocks of their own use: clients. It remembers all of the last `window`, and
    /// takes nothing from before `start`.
    pub fn of_many(window: Duration, start: UnixTime) -> Self {
        let seconds = |number: i64| u32::try_from(number).unwrap_or_default();
        let late = u32::try_from(window.as_secs().saturating_mul(2)).unwrap_or(u32::MAX);
        Self { senders: BTreeMap::new(), late, start: seconds(start.seconds()) }
    }

    /// Judges an authentic message in `bytes` from `sender`, which came at `now`, and remembers it if it is taken.
    ///
    /// # Errors
    /// Where it is to be refused.
    pub fn take(&mut self, sender: SiteId, bytes: &[u8], now: UnixTime, max_skew: Duration) -> Result<(), Stale> {
        let stamp = Envelope::read(bytes).map(|envelope| envelope.stamp).unwrap_or_default();
        let skew = now.seconds().abs_diff(i64::from(stamp.seconds));
        if skew > max_skew.as_secs() {
            return Err(Stale::Skew(skew));
        }
        let state = self.senders.entry(sender).or_default();
        let oldest = state.highest.saturating_sub(self.late);
        if stamp.seconds < oldest.max(self.start) || stamp.seconds <= state.floor {
            return Err(Stale::Late(state.highest.saturating_sub(stamp.seconds)));
        }
        let mut mac = [0; MAC];
        let end = bytes.len().saturating_sub(TRAILER - 4 - MAC);
        if let Some(found) = end.checked_sub(MAC).and_then(|start| bytes.get(start..end)) {
            mac.copy_from_slice(found);
        }
        if state.recent.contains(&(stamp.seconds, mac)) {
            return Err(Stale::Seen);
        }
        if state.recent.len() >= MOST_RECENT {
            return Err(Stale::Flood);
        }
        state.recent.insert((stamp.seconds, mac));
        if stamp.seconds > state.highest {
            state.highest = stamp.seconds;
            let oldest = state.highest.saturating_sub(self.late);
            state.recent = state.recent.split_off(&(oldest, [0; MAC]));
        }
        Ok(())
    }

    /// For each sender, the second up to which nothing needs to be taken after a restart.
    pub fn floor(&self) -> BTreeMap<SiteId, u32> {
        self.senders.iter().map(|(id, sender)| (*id, sender.highest.max(sender.floor))).collect()
    }

    /// Takes nothing stamped at or before the seconds of `floor`.
    pub fn restore(&mut self, floor: &BTreeMap<SiteId, u32>) {
        for (id, second) in floor {
            let sender = self.senders.entry(*id).or_default();
            sender.floor = sender.floor.max(*second);
            sender.highest = sender.highest.max(*second);
        }
    }
}

#[cfg(test)]
mod tests;

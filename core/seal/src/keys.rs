//! Keys: one for all, or a pair for each.

use hakudo_base::NodeId;
use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};
use std::collections::BTreeMap;
use std::fmt;

/// The longest name of a cluster or group, in bytes.
pub const MAX_NAME: usize = 128;

/// A secret that all members share. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey([u8; 32]);

impl SharedKey {
    /// The key made of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

/// What a member alone knows (X25519). It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// The key made of these bytes, which must be random.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What the others know this member by; none where the cryptography is not there.
    pub fn public(&self) -> Option<PublicKey> {
        let mut curve = DefaultResolver.resolve_dh(&DHChoice::Curve25519)?;
        curve.set(&self.0);
        curve.pubkey().get(..32)?.try_into().ok().map(PublicKey)
    }

    /// The key's bytes, to be kept where nobody else reads them.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// What others know a member by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no public key: 64 hexadecimal digits make one");
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let bytes: Vec<u8> =
            digits.ok_or_else(wrong)?.chunks(2).map(|pair| pair.iter().fold(0, |a, d| a << 4 | d)).collect();
        if text.len() != 64 {
            return Err(wrong());
        }
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

/// By what peers know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Whoever has one of these keys is heard; the first one is used to open sessions.
    Shared(Vec<SharedKey>),
    /// Each peer has a pair of its own.
    Own {
        /// This one's.
        private: PrivateKey,
        /// The others'.
        peers: BTreeMap<NodeId, PublicKey>,
    },
}

/// What a session with one peer rests on.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Shared(SharedKey),
    Pair { private: PrivateKey, peer: PublicKey },
}

impl Credentials {
    /// What counts for a peer, first what is used to open sessions with it.
    pub(crate) fn secrets(&self, peer: NodeId) -> Vec<Secret> {
        match self {
            Self::Shared(keys) => keys.iter().cloned().map(Secret::Shared).collect(),
            Self::Own { private, peers } => {
                let pair = |public: &PublicKey| Secret::Pair { private: private.clone(), peer: *public };
                peers.get(&peer).map(pair).into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_written_and_read() {
        let public = PrivateKey::new([7; 32]).public().unwrap();
        assert_eq!(public.to_string().parse(), Ok(public));
        assert_ne!(PrivateKey::new([8; 32]).public(), Some(public));
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(65), &"0g".repeat(32), &"ä".repeat(32)] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}

//! Handshakes, and the keys that come of them: Noise's, or a checksum for simulations.
//!
//! Randomness follows from the seed: SHA-256 over the seed, the number of the run, and a counter.

use crate::keys::Secret;
use sha2::{Digest, Sha256};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

const PATTERN_SHARED: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PATTERN_PAIRS: &str = "Noise_KK_25519_ChaChaPoly_BLAKE2s";
/// The longest message of a handshake, in bytes.
const LONGEST_HANDSHAKE: usize = 1200;

/// How datagrams are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Encrypted and authenticated.
    Noise,
    /// A checksum. For simulations only.
    Checksum,
}

/// Random bytes that follow from a seed.
#[derive(Clone)]
pub struct Entropy {
    secret: [u8; 32],
    counter: u64,
}

impl Entropy {
    /// The generator of the run with number `runs`.
    pub fn new(seed: [u8; 32], runs: u64) -> Self {
        let secret =
            Sha256::new().chain_update(b"hakudo membership").chain_update(seed).chain_update(runs.to_le_bytes());
        Self { secret: secret.finalize().into(), counter: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        self.counter += 1;
        Sha256::new().chain_update(self.secret).chain_update(self.counter.to_le_bytes()).finalize().into()
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.block();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// A generator that goes its own way.
    pub(crate) fn fork(&mut self) -> Self {
        Self { secret: self.block(), counter: 0 }
    }
}

impl Random for Entropy {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        for chunk in dest.chunks_mut(32) {
            let block = self.block();
            chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// The default primitives, with our randomness.
struct Resolver(Entropy);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(self.0.clone()))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// A handshake on its way, on either side.
pub(crate) enum Handshake {
    Noise(Box<snow::HandshakeState>),
    Checksum,
}

impl Handshake {
    pub(crate) fn new(
        sealing: Sealing,
        secret: &Secret,
        prologue: &[u8],
        entropy: Entropy,
        opens: bool,
    ) -> Option<Self> {
        if sealing == Sealing::Checksum {
            return Some(Handshake::Checksum);
        }
        let pattern = match secret {
            Secret::Shared(_) => PATTERN_SHARED,
            Secret::Pair { .. } => PATTERN_PAIRS,
        };
        let builder = snow::Builder::with_resolver(pattern.parse().ok()?, Box::new(Resolver(entropy)));
        let builder = match secret {
            Secret::Shared(key) => builder.psk(0, key.bytes()).ok()?,
            Secret::Pair { private, peer } => {
                builder.local_private_key(private.bytes()).ok()?.remote_public_key(&peer.0).ok()?
            }
        };
        let builder = builder.prologue(prologue).ok()?;
        let state = if opens { builder.build_initiator() } else { builder.build_responder() };
        state.ok().map(|state| Handshake::Noise(Box::new(state)))
    }

    pub(crate) fn write(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        match self {
            Handshake::Noise(state) => {
                let mut out = vec![0; LONGEST_HANDSHAKE];
                let length = state.write_message(payload, &mut out).ok()?;
                out.truncate(length);
                Some(out)
            }
            Handshake::Checksum => Some([&fnv1a(payload).to_le_bytes(), payload].concat()),
        }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Handshake::Noise(state) => {
                let mut out = vec![0; LONGEST_HANDSHAKE];
                let length = state.read_message(bytes, &mut out).ok()?;
                out.truncate(length);
                Some(out)
            }
            Handshake::Checksum => {
                let (sum, payload) = bytes.split_first_chunk::<8>()?;
                (fnv1a(payload) == u64::from_le_bytes(*sum)).then(|| payload.to_vec())
            }
        }
    }

    pub(crate) fn finish(self) -> Option<Keys> {
        match self {
            Handshake::Noise(state) => {
                state.into_stateless_transport_mode().ok().map(|keys| Keys::Noise(Box::new(keys)))
            }
            Handshake::Checksum => Some(Keys::Checksum),
        }
    }
}

pub(crate) enum Keys {
    Noise(Box<snow::StatelessTransportState>),
    Checksum,
}

impl Keys {
    /// Appends the sealed payload to `out`, which holds the header.
    pub(crate) fn seal(&self, counter: u64, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Keys::Noise(keys) => {
                let header = out.len();
                out.resize(header + payload.len() + 16, 0);
                keys.write_message(counter, payload, out.get_mut(header..)?).ok().map(|_| ())
            }
            Keys::Checksum => {
                out.extend((fnv1a(payload) ^ counter).to_le_bytes());
                out.extend(payload);
                Some(())
            }
        }
    }

    pub(crate) fn open(&self, counter: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        match self {
            Keys::Noise(keys) => {
                let mut out = vec![0; sealed.len()];
                let length = keys.read_message(counter, sealed, &mut out).ok()?;
                out.truncate(length);
                Some(out)
            }
            Keys::Checksum => {
                let (sum, payload) = sealed.split_first_chunk::<8>()?;
                (fnv1a(payload) ^ counter == u64::from_le_bytes(*sum)).then(|| payload.to_vec())
            }
        }
    }
}

/// FNV-1a: tells apart by accident, not by intent.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

//! Sealed datagrams: only who has the keys is heard, and nobody else understands.
//!
//! Nodes of a cluster have one key in common; members of a ticket group, who trust each other less and sit in different
//! places, have a key pair each ([`Credentials`]). All else is the same for both, and is told in `session`.

mod handshake;
mod keys;
mod replay;
mod session;

pub use handshake::{Entropy, Sealing, fnv1a};
pub use keys::{Credentials, MAX_NAME, PrivateKey, PublicKey, SharedKey};
pub use session::{Opened, Rejection, Sessions};

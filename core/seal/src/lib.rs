//! Sealed datagrams: only who has the keys is heard, and nobody else understands.
//!
//! Nodes of a cluster have one key in common; members of a ticket group, who trust each other less and sit in different
//! places, have a key pair each ([`Credentials`]). All else is the same for both, and is told in `session`.

mod keys;
mod session;

pub use keys::{Credentials, MAX_NAME, PrivateKey, PublicKey, SharedKey};
pub use session::{Entropy, Opened, Rejection, Sealing, Sessions, fnv1a};

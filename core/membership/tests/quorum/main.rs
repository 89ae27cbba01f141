//! The quorum rule on whole simulated clusters: cases of our own, properties, and the comparison with Corosync's votequorum.
//!
//! The comparison runs a program and writes its configuration to a temporary folder: input and output are allowed here,
//! in a test, and nowhere in the crate itself.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the comparison runs a program, in threads")]
#![expect(
    clippy::disallowed_macros,
    reason = "a test that is skipped says so, and the comparison says how much it compared"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod cluster;
mod properties;
mod running;
mod vqsim;

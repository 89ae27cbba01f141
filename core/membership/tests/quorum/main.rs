//! The quorum rule on whole simulated clusters: cases of our own, properties, and the comparison with Corosync's votequorum.
//!
//! The comparison runs a program and writes its configuration to a temporary folder: input and output are allowed here,
//! in a test, and nowhere in the crate itself.

mod cases;
mod cluster;
mod properties;

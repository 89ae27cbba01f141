//! The status of a cluster as a value, and its renderings.
//!
//! [`ClusterStatus`] is made once, from the scheduler's model of a CIB and from what a running node says of itself; text, JSON and
//! XML are made from it. No renderer looks anywhere else, so that all formats always tell the same. Nothing here prints: a
//! renderer returns its text.

mod build;
mod filter;
pub mod graph;
pub mod html;
mod outline;
#[cfg(test)]
mod schema_test;
pub mod simulation;
pub mod simulation_xml;
pub mod status;
pub mod text;
mod text_fencing;
mod text_resources;
pub mod transition;
pub mod words;
pub mod xml;

pub use build::cluster_status;
pub use status::ClusterStatus;

//! The cluster information base: configuration and status of a cluster, in one XML document.

mod document;
mod reader;
mod writer;

pub use document::{Attribute, Descendants, Document, Element, Node, Position};
pub use reader::ParseError;

//! The cluster information base: configuration and status of a cluster, in one XML document.

mod document;

pub use document::{Attribute, Document, Element, Node, ParseError, Position};

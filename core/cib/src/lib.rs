//! The cluster information base: configuration and status of a cluster, in one XML document.
//!
//! A document is read ([`Document::parse`]), brought to today's schema ([`upgrade`]), judged ([`validate()`]), asked
//! ([`xpath`], [`rules`]), changed ([`change`]), compared ([`change::diff`], [`digest`]) and written
//! ([`Document::to_xml`]).

pub mod access;
pub mod change;
pub mod digest;
mod document;
pub mod iso8601;
mod reader;
pub mod rules;
pub mod upgrade;
mod validate;
pub mod values;
mod writer;
pub mod xpath;

pub use document::{Attribute, Descendants, Document, Element, Node, Position};
pub use reader::ParseError;
pub use validate::{Problem, known_properties, new_errors, new_warnings, validate};

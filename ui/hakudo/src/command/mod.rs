//! The commands.

pub(crate) mod agent;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod events;
pub(crate) mod node;
pub(crate) mod replay;
pub(crate) mod resource;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod ticket;
mod ticket_check;
mod ticket_key;
mod ticket_text;
pub(crate) mod why;

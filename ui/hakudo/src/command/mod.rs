//! The commands.

pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod events;

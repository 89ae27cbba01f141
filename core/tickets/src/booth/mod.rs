//! Compatibility with booth: its configuration file, its messages, its words, and a member of its groups.
//!
//! - [`config`] reads booth.conf (and the same settings in the CIB) with the place of every mistake, and writes it.
//! - [`wire`] and [`seal`] are the messages of booth 1.x and their authentication.
//! - [`engine`] takes part in a group in which some members still are boothd.
//! - [`member`] is that member in the shape of hakudo's own.
//! - [`text`] has the outputs of booth, geostore and crm_ticket, to the letter.
//!
//! All of it is pure: no address is resolved here, no file opened, no clock read.

pub mod config;
pub mod engine;
pub mod member;
pub mod seal;
pub mod text;
pub mod wire;

//! The daemon: sockets, disk and threads around the cores.

pub mod config;
mod history;
mod storage;

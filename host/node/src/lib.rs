//! The daemon: sockets, disk and threads around the cores.

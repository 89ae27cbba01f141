//! The surroundings of a command: where it writes, and what the environment says. Tests give it others.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Where the node answers unless said otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/hakudo/node.sock";

/// What a command sees of the world.
pub(crate) struct World {
    /// Standard output.
    pub(crate) out: Box<dyn Write>,
    /// Standard error.
    pub(crate) err: Box<dyn Write>,
    /// Somebody looks at the output.
    pub(crate) terminal: bool,
    /// `CIB_file`: work on this file instead of on the cluster.
    pub(crate) cib_file: Option<PathBuf>,
    /// `HAKUDO_SOCKET`, or the default.
    pub(crate) socket: PathBuf,
    /// The zone in which times are shown.
    pub(crate) zone: jiff::tz::TimeZone,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

impl World {
    /// The real one.
    pub(crate) fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            terminal: io::stdout().is_terminal(),
            cib_file: path("CIB_file"),
            socket: path("HAKUDO_SOCKET").unwrap_or_else(|| DEFAULT_SOCKET.into()),
            zone: zone(),
            now: jiff::Timestamp::now().as_second(),
        }
    }
}

/// The zone of the machine. Where nothing but a file says which one it is, the file is read by itself: to find the name of the
/// zone as well, all zones there are would be gone through.
pub(crate) fn zone() -> jiff::tz::TimeZone {
    let file = || jiff::tz::TimeZone::tzif("local", &std::fs::read("/etc/localtime").ok()?).ok();
    let zone = if std::env::var_os("TZ").is_none() { file() } else { None };
    zone.unwrap_or_else(jiff::tz::TimeZone::system)
}

//! How a command ends: exit codes with the meanings that Pacemaker's tools give them, and errors that people can act on.

use std::fmt;
use std::io;

/// An exit code. The numbers are those of Pacemaker's tools (`crm_error --list`), so that scripts written for them go on working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const OK: Exit = Exit(0);
    pub(crate) const ERROR: Exit = Exit(1);
    pub(crate) const INSUFFICIENT_PRIVILEGES: Exit = Exit(4);
    pub(crate) const USAGE: Exit = Exit(64);
    pub(crate) const DATA: Exit = Exit(65);
    pub(crate) const NO_INPUT: Exit = Exit(66);
    pub(crate) const SOFTWARE: Exit = Exit(70);
    pub(crate) const CANNOT_CREATE: Exit = Exit(73);
    pub(crate) const IO: Exit = Exit(74);
    pub(crate) const PROTOCOL: Exit = Exit(76);
    pub(crate) const CONFIG: Exit = Exit(78);
    pub(crate) const DISCONNECTED: Exit = Exit(102);
    pub(crate) const OLD: Exit = Exit(103);
    pub(crate) const NO_SUCH: Exit = Exit(105);
    pub(crate) const QUORUM: Exit = Exit(106);
    pub(crate) const UNSAFE: Exit = Exit(107);
    pub(crate) const EXISTS: Exit = Exit(108);
    pub(crate) const INDETERMINATE: Exit = Exit(112);
    pub(crate) const TIMEOUT: Exit = Exit(124);
}

/// Why a command did not do what it should: what is wrong, where, why, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Something that the user named is not there.
    pub(crate) fn no_such(message: impl Into<String>) -> Self {
        Self::new(Exit::NO_SUCH, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::USAGE, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Output that cannot be written. A reader that went away (`| head`) is no fault: the command ends quietly.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Exit::OK, "")
        } else {
            Self::new(Exit::IO, format!("cannot write the output: {error}"))
        }
    }
}

/// What a command gives back.
pub(crate) type Outcome = Result<Exit, Failure>;

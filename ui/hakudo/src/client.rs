//! Talking to the node of this machine: one request, one reply, each as JSON behind a 4-byte big-endian length.

use crate::exit::{Exit, Failure};
use hakudo_controller::request::{Change, ChangeOperation, ClusterState, Refusal, RefusalKind, Reply, Request};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A reply longer than this is refused: the largest CIB is far below it.
const LONGEST_REPLY: u32 = 256 << 20;

/// A connection to a node.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    path: PathBuf,
}

impl Client {
    /// Connects to the node's socket.
    pub(crate) fn connect(path: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(path).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "root and the members of the group haclient may talk to it"
                }
                _ => "no node runs on this machine, or it has another socket (--socket, HAKUDO_SOCKET); a CIB file is read with --file",
            };
            let exit = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Exit::INSUFFICIENT_PRIVILEGES,
                _ => Exit::DISCONNECTED,
            };
            Failure::new(exit, format!("cannot reach the node at {}: {error}: {hint}", path.display()))
        })?;
        Ok(Self { stream, path: path.to_owned() })
    }

    /// How long to wait for a reply; none waits for ever.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), Failure> {
        self.stream.set_read_timeout(timeout).map_err(|error| self.lost(&error))
    }

    /// Asks, and waits for the answer. A refusal is a failure.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.begin(request)?;
        self.answer()
    }

    /// Asks; the [answer](Client::answer) is to be read.
    pub(crate) fn begin(&mut self, request: &Request) -> Result<(), Failure> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Failure::new(Exit::SOFTWARE, format!("cannot write the request: {error}")))?;
        let length = u32::try_from(body.len())
            .map_err(|_| Failure::new(Exit::DATA, "the request is larger than 4 GiB: split the change"))?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend(body);
        self.stream.write_all(&message).map_err(|error| self.lost(&error))
    }

    /// Whether an answer comes in this time.
    pub(crate) fn answers_within(&self, time: Duration) -> Result<bool, Failure> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let time = Timespec::try_from(time)
            .map_err(|error| Failure::new(Exit::SOFTWARE, format!("nobody waits for so long: {error}")))?;
        let mut waits = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut waits, Some(&time)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(self.lost(&error.into())),
        }
    }

    /// The next reply to what was asked before.
    pub(crate) fn answer(&mut self) -> Result<Reply, Failure> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(|error| self.lost(&error))?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST_REPLY {
            return Err(Failure::new(
                Exit::PROTOCOL,
                format!(
                    "{} answers with {length} bytes, which no node does: is another program listening there?",
                    self.path.display()
                ),
            ));
        }
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body).map_err(|error| self.lost(&error))?;
        let reply = serde_json::from_slice(&body).map_err(|error| {
            Failure::new(
                Exit::PROTOCOL,
                format!("{} answers something else than this version expects ({error}): use the hakudo command of the version that the node runs", self.path.display()),
            )
        })?;
        match reply {
            Reply::Refused { kind, reason } => Err(refused(Refusal { kind, reason })),
            Reply::Unknown { reason } => Err(Failure::new(
                Exit::INDETERMINATE,
                format!(
                    "it cannot be known whether this was done: {reason}: look at `hakudo status` before trying again"
                ),
            )),
            reply => Ok(reply),
        }
    }

    fn lost(&self, error: &std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                Failure::new(Exit::TIMEOUT, format!("the node at {} did not answer in time", self.path.display()))
            }
            _ => Failure::new(
                Exit::DISCONNECTED,
                format!("the connection to the node at {} broke: {error}", self.path.display()),
            ),
        }
    }

    /// The CIB with status, as text.
    pub(crate) fn cib(&mut self) -> Result<String, Failure> {
        match self.ask(&Request::Cib)? {
            Reply::Cib { xml } => Ok(xml),
            other => Err(unexpected(&other)),
        }
    }

    /// What the node knows of the cluster.
    pub(crate) fn cluster(&mut self) -> Result<ClusterState, Failure> {
        match self.ask(&Request::Cluster)? {
            Reply::Cluster(state) => Ok(*state),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for a state newer than `after`.
    pub(crate) fn watch(&mut self, after: u64) -> Result<ClusterState, Failure> {
        match self.ask(&Request::Watch { after })? {
            Reply::Cluster(state) => Ok(*state),
            other => Err(unexpected(&other)),
        }
    }

    /// Has something done.
    pub(crate) fn command(&mut self, request: &Request) -> Result<(), Failure> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes the configuration.
    pub(crate) fn change(
        &mut self,
        operations: Vec<ChangeOperation>,
        if_version: Option<(u64, u64, u64)>,
        force: bool,
    ) -> Result<(), Failure> {
        self.command(&Request::Change(Change { operations, if_version, force }))
    }
}

/// A refusal as the failure of a command, with the exit code that Pacemaker's tools give it.
pub(crate) fn refused(Refusal { kind, reason }: Refusal) -> Failure {
    let exit = match kind {
        RefusalKind::Failed => Exit::ERROR,
        RefusalKind::Usage => Exit::USAGE,
        RefusalKind::Denied => Exit::INSUFFICIENT_PRIVILEGES,
        RefusalKind::NotConnected => Exit::DISCONNECTED,
        RefusalKind::NoQuorum => Exit::QUORUM,
        RefusalKind::Unsafe => Exit::UNSAFE,
        RefusalKind::NoSuch => Exit::NO_SUCH,
        RefusalKind::Exists => Exit::EXISTS,
        RefusalKind::Malformed => Exit::DATA,
        RefusalKind::Invalid => Exit::CONFIG,
        RefusalKind::Outdated => Exit::OLD,
    };
    Failure::new(exit, reason)
}

pub(crate) fn unexpected(reply: &Reply) -> Failure {
    let kind = match reply {
        Reply::Done => "done",
        Reply::Cib { .. } => "a CIB",
        Reply::Cluster(_) => "a cluster state",
        Reply::Events { .. } => "events",
        Reply::Refused { .. } => "a refusal",
        Reply::Unknown { .. } => "uncertainty",
        Reply::Tickets { .. } => "an answer of a ticket group",
    };
    Failure::new(
        Exit::PROTOCOL,
        format!(
            "the node answers with {kind}, which does not fit the question: the node and this command are of different versions"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A reply as the node frames it.
    fn framed(reply: &str) -> Vec<u8> {
        let mut bytes = u32::try_from(reply.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(reply.as_bytes());
        bytes
    }

    /// What a client makes of a node that answers with these bytes.
    fn cib_from(answer: Vec<u8>) -> Result<String, Failure> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hakudo-client-{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let node = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut body).unwrap();
            assert_eq!(body, br#"{"request":"cib"}"#);
            stream.write_all(&answer).unwrap();
        });
        let cib = Client::connect(&path).unwrap().cib();
        node.join().unwrap();
        std::fs::remove_file(path).unwrap();
        cib
    }

    #[test]
    fn replies_are_read_and_refusals_are_failures() {
        assert_eq!(cib_from(framed(r#"{"reply":"cib","xml":"<cib/>"}"#)).unwrap(), "<cib/>");
        let refused = cib_from(framed(r#"{"reply":"refused","kind":"no-quorum","reason":"alone"}"#)).unwrap_err();
        assert_eq!((refused.exit, refused.message.as_str()), (Exit::QUORUM, "alone"));
        // A node of before there were kinds.
        let refused = cib_from(framed(r#"{"reply":"refused","reason":"without quorum"}"#)).unwrap_err();
        assert_eq!((refused.exit, refused.message.as_str()), (Exit::ERROR, "without quorum"));
        assert_eq!(cib_from(framed(r#"{"reply":"done"}"#)).unwrap_err().exit, Exit::PROTOCOL);
        assert_eq!(cib_from(framed("nonsense")).unwrap_err().exit, Exit::PROTOCOL);
    }

    #[test]
    fn a_length_beyond_reason_is_refused_and_a_short_reply_noticed() {
        assert_eq!(cib_from(b"\xff\xff\xff\xff".to_vec()).unwrap_err().exit, Exit::PROTOCOL);
        assert_eq!(cib_from(b"\0\0\0\x09{}".to_vec()).unwrap_err().exit, Exit::DISCONNECTED);
    }

    #[test]
    fn a_missing_node_is_explained() {
        let failure = Client::connect(Path::new("/nonexistent/node.sock")).unwrap_err();
        assert_eq!(failure.exit, Exit::DISCONNECTED);
        assert!(failure.message.contains("--file"));
    }
}

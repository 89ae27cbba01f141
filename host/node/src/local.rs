//! The socket for clients on the same machine: who may ask what, and the framing.
//!
//! A request and a reply are JSON behind a length of four bytes, big-endian. Who a client is, the kernel says
//! (`SO_PEERCRED`): root, the user of the daemon, and members of the administrators' group may do everything; others may
//! see the state of the cluster and its events, but not the configuration, which holds passwords.

use anyhow::{Context, Result, bail};
use hakudo_controller::request::{Refusal, RefusalKind, Reply, Request};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::sync::mpsc;

/// The longest request of an administrator: a whole configuration of a very large cluster.
const LONGEST: u32 = 32 << 20;

/// The longest request of anybody else, who may only ask for what fits into a line.
const LONGEST_OF_OTHERS: u32 = 4096;

/// So many connections may other users than administrators have, each of them and together: what they may use up must
/// leave the daemon its files and its memory.
const CONNECTIONS_OF_ONE: usize = 32;
const CONNECTIONS_OF_OTHERS: usize = 256;

/// A request must be there whole so long after its beginning.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, on its way to the controller.
pub(crate) struct Asked {
    /// The client's user name, or its number where it has none.
    pub(crate) user: String,
    /// No access control list is about it.
    pub(crate) above_lists: bool,
    /// What it asks.
    pub(crate) request: Request,
    /// Where the answers go; nothing comes after one that is final.
    pub(crate) answer: mpsc::UnboundedSender<Reply>,
}

/// Serves clients until the receiver of requests is gone.
///
/// # Errors
/// Where the socket cannot be made.
pub(crate) fn serve(socket: &Path, group: &str, requests: mpsc::UnboundedSender<Asked>) -> Result<()> {
    // A socket that a former run left; one in use by a running daemon was ruled out by the lock on the runtime folder.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the old socket {}", socket.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
    let group = group.to_owned();
    let guests = Guests::default();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (requests, group, guests) = (requests.clone(), group.clone(), guests.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve_client(stream, &group, &guests, &requests).await {
                            tracing::debug!("a client's connection ended: {error:#}");
                        }
                    });
                }
                Err(error) => {
                    // Too many open files, for instance: give others time to close theirs.
                    tracing::warn!("cannot accept a client: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

/// The connections of those who are no administrators, by user.
#[derive(Clone, Default)]
struct Guests {
    connections: Arc<Mutex<BTreeMap<u32, usize>>>,
}

impl Guests {
    /// A place for one more connection; it is free again when the place is dropped.
    fn enter(&self, user: u32) -> Result<Place> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = connections.values().sum();
        let own = connections.entry(user).or_default();
        if *own >= CONNECTIONS_OF_ONE || all >= CONNECTIONS_OF_OTHERS {
            bail!("too many connections");
        }
        *own += 1;
        Ok(Place { guests: self.clone(), user })
    }
}

/// One connection's place among the guests.
struct Place {
    guests: Guests,
    user: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.guests.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = connections.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                connections.remove(&self.user);
            }
        }
    }
}

async fn serve_client(
    mut stream: UnixStream,
    group: &str,
    guests: &Guests,
    requests: &mpsc::UnboundedSender<Asked>,
) -> Result<()> {
    let uid = stream.peer_cred()?.uid();
    // Until it is known who asks, everyone but root and this user counts as a guest.
    let place = if is_own(uid) { None } else { Some(guests.enter(uid)?) };
    let client = Client::of(uid, group).await;
    let _place = if client.administrator { None } else { place };
    loop {
        let length = match stream.read_u32().await {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let longest = if client.administrator { LONGEST } else { LONGEST_OF_OTHERS };
        if length > longest {
            let reason = format!("a request of {length} bytes is longer than {longest}");
            write(&mut stream, &Refusal::new(RefusalKind::Malformed, reason.clone()).into()).await?;
            bail!(reason);
        }
        let mut body = Vec::new();
        tokio::time::timeout(PATIENCE, (&mut stream).take(length.into()).read_to_end(&mut body))
            .await
            .context("a request did not come whole")??;
        if body.len() < length as usize {
            bail!("it ended in the middle of a request");
        }
        let mut answers = match serde_json::from_slice::<Request>(&body) {
            Ok(request) => ask(&client, request, requests),
            Err(error) => {
                let reason = format!("this is not a request that I know: {error}");
                Err(Refusal::new(RefusalKind::Malformed, reason).into())
            }
        };
        loop {
            let reply = tokio::select! {
                reply = next_answer(&mut answers) => reply,
                () = gone(&stream) => return Ok(()),
            };
            write(&mut stream, &reply).await?;
            if reply.is_final() {
                break;
            }
        }
    }
}

/// Returns when the client has closed its end.
async fn gone(stream: &UnixStream) {
    loop {
        match stream.ready(Interest::READABLE).await {
            Ok(ready) if ready.is_read_closed() => return,
            // It sent its next request without waiting: that is read in its turn, and its end noticed then.
            Ok(_) => std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// Root, or the user as which the daemon runs.
fn is_own(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Where the answers come from, or what can be answered at once.
type Answers = Result<mpsc::UnboundedReceiver<Reply>, Reply>;

fn ask(client: &Client, request: Request, requests: &mpsc::UnboundedSender<Asked>) -> Answers {
    client.may(&request).map_err(|reason| Reply::from(Refusal::new(RefusalKind::Denied, reason)))?;
    let (answer, answers) = mpsc::unbounded_channel();
    let asked = Asked { user: client.name.clone(), above_lists: client.is_above_lists(), request, answer };
    requests.send(asked).map_err(|_| Reply::Unknown { reason: "this node is stopping".into() })?;
    Ok(answers)
}

async fn next_answer(answers: &mut Answers) -> Reply {
    match answers {
        Ok(answers) => {
            let stopped = || Reply::Unknown { reason: "this node stopped before it answered".into() };
            answers.recv().await.unwrap_or_else(stopped)
        }
        Err(reply) => reply.clone(),
    }
}

async fn write(stream: &mut UnixStream, reply: &Reply) -> Result<()> {
    let body = serde_json::to_vec(reply)?;
    stream.write_u32(u32::try_from(body.len()).context("a reply is too long")?).await?;
    stream.write_all(&body).await?;
    Ok(())
}

/// Who asks.
struct Client {
    name: String,
    /// Root, or the daemon's own user.
    own: bool,
    administrator: bool,
    group: String,
}

impl Client {
    /// Asks the system for a user's name and groups, which may come from a directory service as well as from files; other
    /// clients are served meanwhile.
    async fn of(uid: u32, group: &str) -> Self {
        let ask = |what: &'static str| id(what, uid);
        if uid == 0 {
            return Self { name: "root".into(), own: true, administrator: true, group: group.into() };
        }
        let name = ask("-nu").await.unwrap_or_else(|| uid.to_string());
        let administrator = is_own(uid) || ask("-nG").await.is_some_and(|groups| is_listed(&groups, group));
        Self { name, own: is_own(uid), administrator, group: group.into() }
    }

    /// Pacemaker Explained, "ACL Prerequisites": root and hacluster have full access in any case.
    fn is_above_lists(&self) -> bool {
        self.own || self.name == "hacluster"
    }

    fn may(&self, request: &Request) -> Result<(), String> {
        match request {
            request if is_open(request) => Ok(()),
            _ if self.administrator => Ok(()),
            _ => Err(format!(
                "user {} may not do this: root and members of group {} may; run it with sudo, or: usermod -aG {} {}",
                self.name, self.group, self.group, self.name
            )),
        }
    }
}

/// Whether everybody may ask this: it tells nothing of the configuration and changes nothing.
fn is_open(request: &Request) -> bool {
    match request {
        Request::Cluster | Request::Watch { .. } | Request::Events { .. } => true,
        Request::Tickets { ask, .. } => matches!(**ask, hakudo_tickets::Request::Status),
        _ => false,
    }
}

/// Why a request is refused where the configuration asks for access control lists. They are not enforced, and without them
/// nobody may do what they might forbid.
pub(crate) fn refused_by_lists(asked: &Asked) -> Option<Reply> {
    if asked.above_lists || is_open(&asked.request) {
        return None;
    }
    let reason = format!(
        "user {} may not do this: {}; run it with sudo, or have root set enable-acl to false",
        asked.user,
        hakudo_cib::access::NOT_ENFORCED
    );
    Some(Refusal::new(RefusalKind::Denied, reason).into())
}

/// What `id` says of a user; none where it knows none with this number.
async fn id(what: &str, uid: u32) -> Option<String> {
    let asked = Command::new("id").args([what, &uid.to_string()]).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Whether a group is among those that `id -nG` lists.
fn is_listed(groups: &str, group: &str) -> bool {
    groups.split_whitespace().any(|one| one == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_listed_by_its_whole_name() {
        assert!(is_listed("ann haclient", "haclient"));
        assert!(!is_listed("ann haclients", "haclient"));
    }

    #[tokio::test]
    async fn the_system_knows_its_users() {
        assert_eq!(id("-nu", 0).await.as_deref(), Some("root"));
        assert_eq!(id("-nu", 4_000_000_001).await, None);
    }

    #[test]
    fn guests_have_so_many_places() {
        let guests = Guests::default();
        let mut places: Vec<Place> = (0..CONNECTIONS_OF_ONE).map(|_| guests.enter(1001).unwrap()).collect();
        assert!(guests.enter(1001).is_err());
        places.push(guests.enter(1002).unwrap());
        places.remove(0);
        assert!(guests.enter(1001).is_ok());
        drop(places);
        assert!(guests.connections.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_client_that_closed_its_end_is_gone() {
        let (stream, client) = UnixStream::pair().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), gone(&stream)).await.is_err());
        drop(client);
        tokio::time::timeout(Duration::from_secs(10), gone(&stream)).await.unwrap();
    }

    #[test]
    fn others_may_look_but_not_touch() {
        let other = Client { name: "eve".into(), own: false, administrator: false, group: "haclient".into() };
        assert!(other.may(&Request::Cluster).is_ok());
        assert!(other.may(&Request::Leave).unwrap_err().contains("usermod -aG haclient eve"));
        assert!(other.may(&Request::Cib).is_err());
    }

    #[test]
    fn access_lists_leave_only_those_above_them() {
        let client = |name: &str, own| Client { name: name.into(), own, administrator: true, group: "haclient".into() };
        let refused = |client: &Client, request: Request| {
            assert!(client.may(&request).is_ok());
            let (answer, _answers) = mpsc::unbounded_channel();
            let asked = Asked { user: client.name.clone(), above_lists: client.is_above_lists(), request, answer };
            refused_by_lists(&asked).map(|reply| match reply {
                Reply::Refused { kind: RefusalKind::Denied, reason } => reason,
                other => panic!("{other:?}"),
            })
        };
        let ann = client("ann", false);
        for request in [Request::Cib, Request::Leave, Request::Reload] {
            let reason = refused(&ann, request.clone()).unwrap();
            assert!(
                reason.contains("access control lists are not enforced") && reason.contains("user ann"),
                "{reason}"
            );
            assert_eq!(refused(&client("root", true), request.clone()), None);
            assert_eq!(refused(&client("hacluster", false), request), None);
        }
        assert_eq!(refused(&ann, Request::Cluster), None);
        assert_eq!(refused(&ann, Request::Events { after: 0, limit: 1 }), None);
    }
}

//! The socket for clients on the same machine: who may ask what, and the framing.
//!
//! A request and a reply are JSON behind a length of four bytes, big-endian. Who a client is, the kernel says
//! (`SO_PEERCRED`): root, the user of the daemon, and members of the administrators' group may do everything; others may
//! see the state of the cluster and its events, but not the configuration, which holds passwords.

use anyhow::{Context, Result, bail};
use hakudo_controller::request::{Refusal, RefusalKind, Reply, Request};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// The longest request: a whole configuration of a very large cluster.
const LONGEST: u32 = 256 << 20;

/// A request, on its way to the controller.
pub(crate) struct Asked {
    /// The client's user name, or its number where it has none.
    pub(crate) user: String,
    /// What it asks.
    pub(crate) request: Request,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Reply>,
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
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (requests, group) = (requests.clone(), group.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve_client(stream, &group, &requests).await {
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

async fn serve_client(mut stream: UnixStream, group: &str, requests: &mpsc::UnboundedSender<Asked>) -> Result<()> {
    let uid = stream.peer_cred()?.uid();
    let client = Client::of(uid, group);
    loop {
        let length = match stream.read_u32().await {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let reply = if length > LONGEST {
            let reason = format!("a request of {length} bytes is longer than {LONGEST}");
            write(&mut stream, &Refusal::new(RefusalKind::Malformed, reason.clone()).into()).await?;
            bail!(reason);
        } else {
            let mut body = Vec::new();
            (&mut stream).take(length.into()).read_to_end(&mut body).await?;
            if body.len() < length as usize {
                bail!("it ended in the middle of a request");
            }
            match serde_json::from_slice::<Request>(&body) {
                Ok(request) => answer(&client, request, requests).await,
                Err(error) => {
                    let reason = format!("this is not a request that I know: {error}");
                    Refusal::new(RefusalKind::Malformed, reason).into()
                }
            }
        };
        write(&mut stream, &reply).await?;
    }
}

async fn answer(client: &Client, request: Request, requests: &mpsc::UnboundedSender<Asked>) -> Reply {
    if let Err(reason) = client.may(&request) {
        return Refusal::new(RefusalKind::Denied, reason).into();
    }
    let (answer, wait) = oneshot::channel();
    if requests.send(Asked { user: client.name.clone(), request, answer }).is_err() {
        return Reply::Unknown { reason: "this node is stopping".into() };
    }
    wait.await.unwrap_or_else(|_| Reply::Unknown { reason: "this node stopped before it answered".into() })
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
    administrator: bool,
    group: String,
}

impl Client {
    fn of(uid: u32, group: &str) -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let (name, primary) = user(&passwd, uid).unwrap_or_else(|| (uid.to_string(), None));
        let own = rustix::process::geteuid().as_raw();
        let administrator = uid == 0 || uid == own || is_member(&groups, group, &name, primary);
        Self { name, administrator, group: group.into() }
    }

    fn may(&self, request: &Request) -> Result<(), String> {
        match request {
            Request::Cluster | Request::Watch { .. } | Request::Events { .. } => Ok(()),
            _ if self.administrator => Ok(()),
            _ => Err(format!(
                "user {} may not do this: root and members of group {} may; run it with sudo, or: usermod -aG {} {}",
                self.name, self.group, self.group, self.name
            )),
        }
    }
}

/// A user's name and primary group, from the text of /etc/passwd.
fn user(passwd: &str, uid: u32) -> Option<(String, Option<u32>)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then(|| (name.to_owned(), fields.next().and_then(|gid| gid.parse().ok())))
    })
}

/// Whether a user belongs to a group, from the text of /etc/group.
fn is_member(groups: &str, group: &str, user: &str, primary: Option<u32>) -> bool {
    groups.lines().any(|line| {
        let mut fields = line.split(':');
        fields.next() == Some(group)
            && (fields.nth(1).and_then(|gid| gid.parse().ok()).is_some_and(|gid: u32| primary == Some(gid))
                || fields.next().is_some_and(|members| members.split(',').any(|member| member == user)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nann:x:1001:1001::/home/ann:/bin/sh\nbob:x:1002:90::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nhaclient:x:90:ann,eve\nann:x:1001:\n";

    #[test]
    fn membership_comes_from_either_list() {
        let member = |uid| {
            let (name, primary) = user(PASSWD, uid).unwrap();
            is_member(GROUP, "haclient", &name, primary)
        };
        assert!(member(1001), "ann is listed in the group");
        assert!(member(1002), "the group is bob's primary one");
        assert!(!is_member(GROUP, "haclient", "an", Some(1)));
        assert!(!is_member(GROUP, "wheel", "ann", None));
        assert_eq!(user(PASSWD, 4), None);
    }

    #[test]
    fn others_may_look_but_not_touch() {
        let other = Client { name: "eve".into(), administrator: false, group: "haclient".into() };
        assert!(other.may(&Request::Cluster).is_ok());
        assert!(other.may(&Request::Leave).unwrap_err().contains("usermod -aG haclient eve"));
        assert!(other.may(&Request::Cib).is_err());
    }
}

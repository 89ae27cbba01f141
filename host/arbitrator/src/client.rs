//! The socket of an arbitrator. It speaks as a node's socket does, of tickets only: one request and one reply, JSON
//! behind a 4-byte big-endian length. Only the user that runs the arbitrator, and root, may ask.

use anyhow::{Context, Result};
use hakudo_tickets::{Reply, Request};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// The longest request, in bytes.
const LONGEST: u32 = 1 << 20;
/// A client that says nothing is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request of a client.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) user: String,
    pub(crate) request: Request,
    /// The steps on the way are told too.
    pub(crate) progress: bool,
    pub(crate) answer: mpsc::UnboundedSender<Reply>,
}

#[derive(Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
enum Question {
    Tickets {
        ask: Box<Request>,
        #[serde(default)]
        progress: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
enum Answer {
    Tickets { answer: Box<Reply> },
    Refused { reason: String },
}

pub(crate) fn serve(socket: &Path) -> Result<mpsc::UnboundedReceiver<Asked>> {
    let cannot = || format!("cannot listen at {}", socket.display());
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder).with_context(cannot)?;
    }
    // The lock on the state tells that nobody serves there any more.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(cannot),
        _ => {}
    }
    let listener = UnixListener::bind(socket).with_context(cannot)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).with_context(cannot)?;
    let (asked, queue) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(answer(stream, asked.clone()));
                }
                Err(error) => {
                    tracing::warn!("a client could not be taken: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(queue)
}

async fn answer(mut stream: UnixStream, asked: mpsc::UnboundedSender<Asked>) -> Result<()> {
    let user = stream.peer_cred()?.uid().to_string();
    loop {
        let length = tokio::time::timeout(PATIENCE, stream.read_u32()).await??;
        if length > LONGEST {
            let reason = format!("a request of {length} bytes is too long");
            return write(&mut stream, &Answer::Refused { reason }).await;
        }
        let mut bytes = vec![0; length as usize];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await??;
        match serde_json::from_slice(&bytes) {
            Err(error) => {
                let reason = format!("the request makes no sense: {error}");
                write(&mut stream, &Answer::Refused { reason }).await?;
            }
            Ok(Question::Tickets { ask, progress }) => {
                let (answer, mut answers) = mpsc::unbounded_channel();
                asked.send(Asked { user: user.clone(), request: *ask, progress, answer })?;
                while let Some(reply) = answers.recv().await {
                    write(&mut stream, &Answer::Tickets { answer: Box::new(reply) }).await?;
                }
            }
        }
    }
}

async fn write(stream: &mut UnixStream, answer: &Answer) -> Result<()> {
    let bytes = serde_json::to_vec(answer)?;
    stream.write_u32(u32::try_from(bytes.len())?).await?;
    stream.write_all(&bytes).await?;
    Ok(())
}

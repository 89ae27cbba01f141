//! Streams: sealed messages behind their length, for what does not go through as datagrams.

use crate::parts::SEALED;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// A connection that could not be made is tried again so much later.
const AGAIN: Duration = Duration::from_secs(1);
/// Nobody waits longer for a connection, or for the other end to take something.
const PATIENCE: Duration = Duration::from_secs(10);
/// A stream over which nothing comes for so long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// So many messages wait for a connection; more are dropped, the newest first.
const WAITING: usize = 512;

/// What came over a stream, and where an answer can go.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) back: Outgoing,
}

/// Takes messages for the other end.
pub(crate) type Outgoing = mpsc::Sender<Vec<u8>>;

/// A stream to an address, made when there is something to send and again when it breaks.
pub(crate) fn to(address: SocketAddr, frames: mpsc::Sender<Frame>) -> Outgoing {
    let (outgoing, mut queue) = mpsc::channel(WAITING);
    let back = outgoing.downgrade();
    tokio::spawn(async move {
        while let Some(first) = queue.recv().await {
            let Some(back) = back.upgrade() else { return };
            match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let ended = serve(stream, Some(first), &mut queue, back, &frames).await;
                    tracing::debug!("the stream to {address} ended: {ended:?}");
                }
                failed => {
                    tracing::debug!("no stream to {address}: {failed:?}");
                    drop(back);
                    tokio::time::sleep(AGAIN).await;
                    while queue.try_recv().is_ok() {}
                }
            }
        }
    });
    outgoing
}

/// A stream that somebody made to here.
pub(crate) fn from(stream: TcpStream, frames: mpsc::Sender<Frame>, place: OwnedSemaphorePermit) {
    let (outgoing, mut queue) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let ended = serve(stream, None, &mut queue, outgoing, &frames).await;
        tracing::debug!("a stream from outside ended: {ended:?}");
        drop(place);
    });
}

/// Carries messages both ways until the stream breaks.
async fn serve(
    stream: TcpStream,
    first: Option<Vec<u8>>,
    queue: &mut mpsc::Receiver<Vec<u8>>,
    back: Outgoing,
    frames: &mpsc::Sender<Frame>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let read = async {
        loop {
            let length = tokio::time::timeout(IDLE, reader.read_u32()).await?? as usize;
            if length > SEALED {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
            }
            let mut bytes = Vec::new();
            // As it comes, and not all of it at once: who names a length has not shown yet that it has so much to say.
            tokio::time::timeout(PATIENCE, (&mut reader).take(length as u64).read_to_end(&mut bytes)).await??;
            if bytes.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if frames.send(Frame { bytes, back: back.clone() }).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        let mut next = first;
        loop {
            let bytes = match next.take() {
                Some(bytes) => bytes,
                None => match queue.recv().await {
                    Some(bytes) => bytes,
                    None => return Ok(()),
                },
            };
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
            let framed = [&length[..], &bytes].concat();
            tokio::time::timeout(PATIENCE, writer.write_all(&framed)).await??;
        }
    };
    tokio::select! { ended = read => ended, ended = write => ended }
}

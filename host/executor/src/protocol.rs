//! The words between an executor and its clients, and how they travel: a frame is the length of its body as four bytes,
//! big-endian, and then the body in postcard.
//!
//! A client first says [`Command::Hello`]; until then nothing else is listened to. A node says [`Command::Attach`] next:
//! it gets everything that is remembered, and from then on every result. Only one client is attached; a newer one takes
//! the place of an older one, as a restarted node process does while the old socket still lingers.

use hakudo_base::agent::{AgentCall, AgentName, ExecutorInput};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of this protocol: a client and an executor with different versions do not talk.
pub const VERSION: u32 = 2;

/// The longest body of a frame, in bytes. The parameters of a resource are the longest that is ever sent, together with
/// the meta-data of an agent.
pub const MAX_FRAME: usize = 4 << 20;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first word of every connection.
    Hello {
        /// [`VERSION`] of the client.
        version: u32,
    },
    /// From now on, tell this client what happens; answered by [`ExecutorInput::Connected`].
    Attach,
    /// Run an agent.
    Execute {
        /// The call.
        call: AgentCall,
        /// The client's own note of it, given back in [`hakudo_base::agent::Known`].
        note: Vec<u8>,
    },
    /// Stop a recurring operation, or drop a call that has not begun.
    Cancel {
        /// [`AgentCall::call`].
        call: u64,
        /// The epoch of the view in whose name this is asked.
        epoch: u64,
    },
    /// Stop the recurring operations of a resource and forget its results.
    Forget {
        /// The resource.
        resource: String,
    },
    /// The meta-data of an agent; answered by [`Message::Answer`].
    Metadata {
        /// Comes back with the answer.
        query: u64,
        /// The agent.
        agent: AgentName,
    },
    /// The agents of a class (and of a provider); answered by [`Message::Answer`] with one name a line.
    ListAgents {
        /// Comes back with the answer.
        query: u64,
        /// `ocf`, `systemd`, `lsb`, `service` or `stonith`.
        class: String,
        /// Only those of this provider, for class `ocf`; without one, each line is `provider:type`.
        provider: Option<String>,
    },
}

/// What an executor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The answer to [`Command::Hello`].
    Welcome {
        /// [`VERSION`] of the executor.
        version: u32,
        /// The newest epoch that it saw: calls of older ones are refused.
        newest_epoch: u64,
    },
    /// To the attached client.
    Input(ExecutorInput),
    /// The answer to a query.
    Answer {
        /// Which query.
        query: u64,
        /// The text, or why there is none.
        result: Result<String, String>,
    },
}

/// Writes one frame.
///
/// # Errors
/// Those of the stream; `InvalidInput` for a message longer than [`MAX_FRAME`].
pub async fn write_frame<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    stream.write_all(&encode_frame(message)?).await
}

/// One frame as bytes.
///
/// # Errors
/// `InvalidInput` for a message longer than [`MAX_FRAME`].
pub fn encode_frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let too_long =
        || io::Error::new(io::ErrorKind::InvalidInput, format!("a message is longer than {MAX_FRAME} bytes"));
    let mut frame = postcard::to_extend(message, vec![0u8; 4])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(too_long());
    }
    let header = u32::try_from(length).map_err(|_| too_long())?.to_be_bytes();
    frame[..4].copy_from_slice(&header);
    Ok(frame)
}

/// Reads one frame; nothing at a clean end of the stream. Must not be given up half way: the stream would lose its place.
///
/// # Errors
/// Those of the stream; `InvalidData` for a length beyond [`MAX_FRAME`] or a body that is no message.
pub async fn read_frame<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    let mut header = [0u8; 4];
    if stream.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[1..]).await?;
    let length = u32::from_be_bytes(header) as usize;
    if length > MAX_FRAME {
        let reason = format!("a frame of {length} bytes is announced, more than {MAX_FRAME}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    // The buffer grows with what really arrives: a length alone, from anyone, takes no memory.
    let mut body = Vec::new();
    stream.take(length as u64).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&body).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<Command>> {
        read_frame(&mut &bytes[..]).await
    }

    #[tokio::test]
    async fn a_frame_comes_back_as_it_was_sent() {
        let command = Command::Forget { resource: "web".into() };
        let bytes = encode_frame(&command).unwrap();
        assert_eq!(read(&bytes).await.unwrap(), Some(command));
        assert_eq!(read(&[]).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error() {
        let whole = encode_frame(&Command::Forget { resource: "web".into() }).unwrap();
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{end}");
        }
        assert_eq!(read(&[0xff; 64]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&[0, 0, 0, 1, 0x77]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&[0, 0, 0, 0]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

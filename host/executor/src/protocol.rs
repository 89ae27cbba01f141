//! The words between an executor and its clients, and how they travel: a frame is the length of its body as four bytes,
//! big-endian, and then the body in postcard.
//!
//! A client first says [`Command::Hello`]; until then nothing else is listened to. A node says [`Command::Attach`] next:
//! it gets everything that is remembered, in parts that fit into frames, and from then on every result. Only one client is attached; a newer one takes
//! the place of an older one, as a restarted node process does while the old socket still lingers.

use hakudo_base::agent::{AgentCall, AgentName, ExecutorInput, Known};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of this protocol: a client and an executor with different versions do not talk.
pub const VERSION: u32 = 7;

/// The longest body of a frame, in bytes. The parameters of a resource are the longest that is ever sent, together with
/// the meta-data of an agent.
pub const MAX_FRAME: usize = 4 << 20;

/// The longest frame of a command, in bytes: what is remembered of a call, with its result, must fit into a frame too.
pub const LONGEST_COMMAND: usize = MAX_FRAME - PART;

/// How much of what is remembered is put into one frame, in bytes; a single call may be longer.
const PART: usize = 1 << 20;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first word of every connection.
    Hello {
        /// [`VERSION`] of the client.
        version: u32,
    },
    /// From now on, tell this client what happens; answered by [`Message::Remembered`] as often as it takes, and then
    /// [`ExecutorInput::Connected`] with the rest.
    Attach {
        /// The epoch of the view that the client is in, 0 before its first: what is asked in the name of an older one is
        /// refused from now on.
        epoch: u64,
    },
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
    /// Keep this for the next client that attaches, in place of what was kept; it comes back as [`ExecutorInput::Memory`].
    Remember {
        /// What.
        memory: Vec<u8>,
    },
    /// Stop the recurring operations of a resource and forget its results.
    Forget {
        /// The resource.
        resource: String,
    },
    /// What to do when the lease of a ticket ends.
    Guard(hakudo_guard::Order),
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
    /// To the client that attaches: calls that come before those of [`ExecutorInput::Connected`], or of
    /// [`ExecutorInput::Acted`] later.
    Remembered(Vec<Known>),
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

/// The answer to [`Command::Attach`], in as many messages as it takes for each to fit into a frame. A call that is too long
/// together with its result loses the output of the result.
pub(crate) fn connected(known: Vec<Known>, newest_epoch: u64, first_call: u64) -> Vec<Message> {
    in_parts(known, |known| ExecutorInput::Connected { known, newest_epoch, first_call })
}

/// What the attached client hears once the executor has acted by itself, in parts like [`connected`].
pub(crate) fn acted(known: Vec<Known>, own: Vec<u64>) -> Vec<Message> {
    in_parts(known, |known| ExecutorInput::Acted { known, own })
}

fn in_parts(known: Vec<Known>, last: impl FnOnce(Vec<Known>) -> ExecutorInput) -> Vec<Message> {
    let mut messages = Vec::new();
    let (mut part, mut length) = (Vec::new(), 0);
    for mut known in known {
        let mut more = encoded_length(&known);
        if more > MAX_FRAME - PART
            && let Some(result) = &mut known.result
        {
            more -= result.output.len();
            result.output.clear();
        }
        if length + more > PART && !part.is_empty() {
            messages.push(Message::Remembered(std::mem::take(&mut part)));
            length = 0;
        }
        part.push(known);
        length += more;
    }
    messages.push(Message::Input(last(part)));
    messages
}

/// In bytes; what can not be encoded has none, and is an error when it is written.
fn encoded_length(message: &impl Serialize) -> usize {
    postcard::to_extend(message, Vec::new()).map_or(0, |bytes| bytes.len())
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
    use hakudo_base::agent::{AgentResult, ExecutionStatus};

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

    fn known(number: u64, parameter: usize, output: usize) -> Known {
        let agent = AgentName { class: "ocf".into(), provider: None, kind: "Test".into() };
        let mut call = crate::server::metadata_call(agent, 1000);
        call.call = number;
        call.parameters.insert("p".into(), "x".repeat(parameter));
        let result = AgentResult { output: "y".repeat(output), ..AgentResult::new(number, ExecutionStatus::Done, 1) };
        Known { call, note: vec![7; 10], result: Some(result) }
    }

    /// What a client has at the end, and in how many frames it came.
    fn told(known: Vec<Known>) -> (Vec<Known>, usize) {
        let messages = connected(known, 5, 7);
        let (mut all, count) = (Vec::new(), messages.len());
        for (at, message) in messages.into_iter().enumerate() {
            assert!(encode_frame(&message).is_ok(), "too long for a frame");
            match message {
                Message::Remembered(part) => all.extend(part),
                Message::Input(ExecutorInput::Connected { known, newest_epoch: 5, first_call: 7 })
                    if at + 1 == count =>
                {
                    all.extend(known)
                }
                other => panic!("{other:?}"),
            }
        }
        (all, count)
    }

    #[test]
    fn what_is_remembered_fits_into_frames() {
        assert_eq!(told(vec![]), (vec![], 1));
        let few: Vec<Known> = (0..10).map(|number| known(number, 100, 100)).collect();
        assert_eq!(told(few.clone()), (few, 1));
        let many: Vec<Known> = (0..1000).map(|number| known(number, 1000, 16 << 10)).collect();
        let (all, count) = told(many.clone());
        assert!(all == many && count > 10, "{count}");
        let long: Vec<Known> = (0..3).map(|number| known(number, 3_500_000, 1 << 20)).collect();
        let without: Vec<Known> = (0..3).map(|number| known(number, 3_500_000, 0)).collect();
        assert!(told(long) == (without, 3));
    }
}

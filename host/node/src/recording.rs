//! The flight recorder: every input of this node's controller, in order, with its time.
//!
//! The controller is a pure function of its inputs, so a recording replays: [`Replay`] feeds the inputs to a new
//! controller, which asks for the same effects again. With each input stands a digest of the effects that it had; where
//! a replay's differ, the recording was made by another version of the program, or something in the controller depends on
//! more than its inputs, which is a bug in itself.
//!
//! A recording begins when the node does. It is not synced (a power loss may cost its end), and it stops at
//! [`LARGEST`] bytes. It holds the configuration with all its secrets: only its owner may read it.

use anyhow::{Context, Result, bail, ensure};
use hakudo_base::agent::ExecutorInput;
use hakudo_base::{Instant, NodeId, UnixTime, WallTime};
use hakudo_cib::Document;
use hakudo_controller::request::Request;
use hakudo_controller::{Config, Controller, Effect, Input, PersistedState, TicketEffect, TicketInput};
use hakudo_membership::{Delivered, View};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How large a recording may become, in bytes.
pub const LARGEST: u64 = 64 << 20;

/// So many recordings are kept, the one that is being made among them.
const KEPT: usize = 4;

/// No record is longer than this many bytes; what claims to be is damaged.
const LONGEST: u32 = 64 << 20;

/// What a recording begins with.
const MAGIC: &[u8; 8] = b"hakudo\0\x03";

/// Where a recording begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the program that made it.
    pub program: String,
    /// The node.
    pub node: NodeId,
    /// The nodes of the cluster's node list by name.
    pub nodes: BTreeMap<NodeId, String>,
    /// What the node's disk held.
    pub persisted: Option<PersistedState>,
    /// The seed of the controller's random numbers.
    pub seed: u64,
    /// What the calendar clock showed, in milliseconds since 1970.
    pub begun_ms: i64,
}

impl Header {
    /// The controller that a recording with this header begins with.
    pub(crate) fn controller(&self) -> Controller {
        let config = Config { node: self.node, nodes: self.nodes.clone(), persisted: self.persisted.clone() };
        Controller::new(config, self.seed)
    }
}

/// An [`Input`] as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Told {
    Timer,
    Clock(WallTime),
    Nodes(BTreeMap<NodeId, String>),
    View(View),
    Deliver(Delivered),
    Undelivered,
    Executor(ExecutorInput),
    Tickets(TicketInput),
    /// The plan itself is left out: the scheduler makes it again.
    Planned {
        token: u64,
        failed: Option<String>,
    },
    Persisted {
        token: u64,
        result: Result<(), String>,
    },
    Gone {
        client: u64,
    },
    /// The request as JSON, as the client sent it.
    Request {
        client: u64,
        user: String,
        request: String,
    },
}

/// An input with its time and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    now: Instant,
    told: Told,
    effects: u64,
}

/// An input on its way into the recording, taken before the controller gets it.
pub(crate) struct Draft {
    now: Instant,
    told: Told,
    only_asks: bool,
}

impl Draft {
    /// The draft of one input.
    pub(crate) fn new(now: Instant, input: &Input) -> Self {
        let only_asks = matches!(input, Input::Request { request: Request::Cib | Request::Cluster, .. });
        Self { now, told: written(input), only_asks }
    }

    /// The bytes to append; none where a client only looked and nothing came of it but the answer.
    pub(crate) fn finish(self, effects: &[Effect]) -> Option<Vec<u8>> {
        if self.only_asks && matches!(effects, [Effect::Reply { .. }]) {
            return None;
        }
        let record = Record { now: self.now, told: self.told, effects: digest(effects) };
        Some(frame(&postcard::to_stdvec(&record).ok()?))
    }
}

fn written(input: &Input) -> Told {
    match input {
        Input::Timer => Told::Timer,
        Input::Clock(time) => Told::Clock(*time),
        Input::Nodes(nodes) => Told::Nodes(nodes.clone()),
        Input::View(view) => Told::View(view.clone()),
        Input::Deliver(delivered) => Told::Deliver(delivered.clone()),
        Input::Undelivered => Told::Undelivered,
        Input::Executor(input) => Told::Executor(input.clone()),
        Input::Tickets(input) => Told::Tickets(input.clone()),
        Input::Planned { token, result } => Told::Planned { token: *token, failed: result.as_ref().err().cloned() },
        Input::Persisted { token, result } => Told::Persisted { token: *token, result: result.clone() },
        Input::Gone { client } => Told::Gone { client: *client },
        Input::Request { client, user, request } => {
            // A request that came as JSON can be written as JSON.
            let request = serde_json::to_string(request).unwrap_or_default();
            Told::Request { client: *client, user: user.clone(), request }
        }
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

/// A digest of what was asked for. Of a question to the scheduler only its number and time count, of a reply only whom it
/// is for: both follow from the state, and would cost more than everything else.
fn digest(effects: &[Effect]) -> u64 {
    let mut digest = Md5::new();
    let mut add = |kind: u8, parts: &[&[u8]]| {
        digest.update([kind]);
        for part in parts {
            digest.update(u64::try_from(part.len()).unwrap_or_default().to_le_bytes());
            digest.update(part);
        }
    };
    for effect in effects {
        match effect {
            Effect::Broadcast(payload) => add(0, &[payload]),
            Effect::Persist { token, state } => {
                add(1, &[&token.to_le_bytes(), state.configuration.as_bytes(), &state.lineage.to_le_bytes()]);
            }
            Effect::KeepAside { configuration, .. } => add(2, &[configuration.as_bytes()]),
            Effect::Execute { call, note } => {
                add(3, &[&call.call.to_le_bytes(), call.resource.as_bytes(), call.operation.as_bytes(), note]);
            }
            Effect::Cancel { call, epoch } => add(4, &[&call.to_le_bytes(), &epoch.to_le_bytes()]),
            Effect::Forget { resource } => add(5, &[resource.as_bytes()]),
            Effect::Remember { memory } => add(18, &[memory]),
            Effect::Guard(order) => add(15, &[&postcard::to_stdvec(order).unwrap_or_default()]),
            Effect::Plan { token, now, .. } => {
                add(6, &[&token.to_le_bytes(), &now.time.millis().to_le_bytes(), &now.utc_offset.to_le_bytes()]);
            }
            Effect::Reply { client, .. } => add(7, &[&client.to_le_bytes()]),
            Effect::Fenced(node) => add(8, &[&node.0.to_le_bytes()]),
            Effect::Leave => add(9, &[]),
            Effect::StopAtOnce { reset } => add(11, &[&[u8::from(*reset)]]),
            Effect::Tickets(TicketEffect::Send { to, bytes }) => add(12, &[&to.to_le_bytes(), bytes]),
            Effect::Tickets(TicketEffect::Answer { client, bytes, last }) => {
                add(16, &[&client.to_le_bytes(), bytes, &[u8::from(*last)]]);
            }
            Effect::Tickets(TicketEffect::Speak(speaks)) => add(13, &[&[u8::from(*speaks)]]),
            Effect::Tickets(TicketEffect::Check(check)) => {
                add(14, &[&check.check.to_le_bytes(), check.ticket.as_bytes()]);
            }
            Effect::Event(event) => add(10, &[event.kind.as_bytes(), event.text.as_bytes()]),
        }
    }
    let bytes: [u8; 16] = digest.finalize().into();
    u64::from_le_bytes(std::array::from_fn(|i| bytes[i]))
}

/// A recording that is being made.
pub(crate) struct Recorder {
    file: Option<File>,
    length: u64,
}

impl Recorder {
    /// Begins a recording in a folder, and removes the oldest ones. Without one, where the disk refuses: a node runs
    /// without its recorder, too.
    pub(crate) fn begin(folder: &Path, header: &Header) -> Self {
        match create(folder, header) {
            Ok((file, length)) => Self { file: Some(file), length },
            Err(error) => {
                tracing::warn!("nothing is recorded: {error:#}");
                Self { file: None, length: 0 }
            }
        }
    }

    /// Appends a record.
    pub(crate) fn append(&mut self, record: &[u8]) {
        let Some(file) = &mut self.file else { return };
        self.length += u64::try_from(record.len()).unwrap_or(u64::MAX);
        let why = if self.length > LARGEST {
            format!("it has {} MiB", LARGEST >> 20)
        } else if let Err(error) = file.write_all(record) {
            error.to_string()
        } else {
            return;
        };
        tracing::warn!("the recording of this node's inputs ends here: {why}; the next start begins another one");
        self.file = None;
    }
}

fn create(folder: &Path, header: &Header) -> Result<(File, u64)> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut numbers: Vec<u64> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".recording")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |newest| newest + 1);
    let name = |number: u64| folder.join(format!("{number:08}.recording"));
    for old in &numbers[..(numbers.len() + 1).saturating_sub(KEPT)] {
        fs::remove_file(name(*old))?;
    }
    let place = name(next);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&place)
        .with_context(|| format!("cannot make {}", place.display()))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(frame(&postcard::to_stdvec(header)?));
    file.write_all(&bytes).with_context(|| format!("cannot write {}", place.display()))?;
    Ok((file, u64::try_from(bytes.len())?))
}

/// One step of a replay.
#[derive(Debug)]
pub struct Step {
    /// Which input of the recording it is, from 1.
    pub number: u64,
    /// What the calendar clock showed.
    pub time: UnixTime,
    /// What the controller was told, in a few words.
    pub told: String,
    /// What it asked for.
    pub effects: Vec<Effect>,
    /// The same as when it was recorded.
    pub same: bool,
}

/// A recording being replayed.
pub struct Replay {
    /// How the recording begins.
    pub header: Header,
    file: BufReader<File>,
    offset: u64,
    number: u64,
    controller: Controller,
    now: Instant,
    clock: (Instant, UnixTime),
    questions: BTreeMap<u64, (Document, WallTime)>,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// Where it cannot be read, or is none.
    pub fn open(place: &Path) -> Result<Self> {
        let file = File::open(place).with_context(|| format!("cannot open {}", place.display()))?;
        let mut file = BufReader::new(file);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).ok().filter(|()| &magic == MAGIC).with_context(|| {
            format!("{} is no recording of this version of hakudo: it does not begin as one", place.display())
        })?;
        let mut offset = MAGIC.len() as u64;
        let header: Header = read_frame(&mut file, &mut offset)?.context("the recording ends within its header")?;
        let begun = UnixTime::from_millis(header.begun_ms);
        let controller = header.controller();
        let (now, questions) = (Instant::ZERO, BTreeMap::new());
        Ok(Self { header, file, offset, number: 0, controller, now, clock: (now, begun), questions })
    }

    /// Replays one input; none at the end, also where the last record is cut short.
    ///
    /// # Errors
    /// Where the recording is damaged.
    pub fn step(&mut self) -> Result<Option<Step>> {
        let Some(record) = read_frame::<Record>(&mut self.file, &mut self.offset)? else { return Ok(None) };
        self.number += 1;
        self.now = record.now;
        if let Told::Clock(time) = record.told {
            self.clock = (record.now, time.time);
        }
        let told = words(&record.told);
        let input = self.input(record.told)?;
        let mut effects = Vec::new();
        self.controller.handle(record.now, input, &mut effects);
        for effect in &effects {
            if let Effect::Plan { token, cib, now } = effect {
                self.questions.insert(*token, (cib.clone(), *now));
            }
        }
        let same = digest(&effects) == record.effects;
        Ok(Some(Step { number: self.number, time: self.time(), told, effects, same }))
    }

    /// Configuration and status at this point, as XML.
    pub fn cib(&mut self) -> Option<String> {
        let mut effects = Vec::new();
        let ask = Input::Request { client: u64::MAX, user: String::new(), request: Request::Cib };
        self.controller.handle(self.now, ask, &mut effects);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { client: u64::MAX, reply } => match *reply {
                hakudo_controller::request::Reply::Cib { xml } => Some(xml),
                _ => None,
            },
            _ => None,
        })
    }

    fn time(&self) -> UnixTime {
        let (at, time) = self.clock;
        let since = i64::try_from(self.now.since(at).as_millis()).unwrap_or_default();
        UnixTime::from_millis(time.millis() + since)
    }

    fn input(&mut self, told: Told) -> Result<Input> {
        Ok(match told {
            Told::Timer => Input::Timer,
            Told::Clock(time) => Input::Clock(time),
            Told::Nodes(nodes) => Input::Nodes(nodes),
            Told::View(view) => Input::View(view),
            Told::Deliver(delivered) => Input::Deliver(delivered),
            Told::Undelivered => Input::Undelivered,
            Told::Executor(input) => Input::Executor(input),
            Told::Tickets(input) => Input::Tickets(input),
            Told::Planned { token, failed: Some(reason) } => Input::Planned { token, result: Err(reason) },
            Told::Planned { token, failed: None } => {
                let asked = self.questions.remove(&token);
                self.questions.retain(|other, _| *other > token);
                let (cib, now) = asked.with_context(|| {
                    format!(
                        "record {} answers a question that the replay never asked: it went another way",
                        self.number
                    )
                })?;
                let plan = hakudo_scheduler::plan(&cib, now);
                Input::Planned { token, result: Ok(Box::new(plan.transition)) }
            }
            Told::Persisted { token, result } => Input::Persisted { token, result },
            Told::Gone { client } => Input::Gone { client },
            Told::Request { client, user, request } => {
                let request = serde_json::from_str(&request)
                    .with_context(|| format!("record {} holds a request of no known form", self.number))?;
                Input::Request { client, user, request }
            }
        })
    }
}

fn words(told: &Told) -> String {
    match told {
        Told::Timer => "a deadline came".into(),
        Told::Clock(_) => "the calendar clock was read".into(),
        Told::Nodes(nodes) => format!("the node list has {} nodes", nodes.len()),
        Told::View(view) => format!("view {} of {} members", view.id.epoch, view.members.len()),
        Told::Deliver(delivered) => format!("a message of node {} ({} bytes)", delivered.from, delivered.payload.len()),
        Told::Undelivered => "a broadcast was refused".into(),
        Told::Executor(ExecutorInput::Connected { .. }) => "the executor is there".into(),
        Told::Executor(ExecutorInput::Acted { .. }) => "the executor acted by itself, because a lease ended".into(),
        Told::Executor(ExecutorInput::Unguarded { ticket, .. }) => {
            format!("the executor does not guard ticket {ticket}")
        }
        Told::Executor(ExecutorInput::Memory(memory)) => {
            format!("the executor gives back what it kept ({} bytes)", memory.len())
        }
        Told::Executor(ExecutorInput::Lost) => "the executor is lost".into(),
        Told::Executor(ExecutorInput::Result(result)) => format!("call {} gave {}", result.call, result.exit_code),
        Told::Tickets(TicketInput::Group(Some(setup))) => format!("it is site {} of a ticket group", setup.local),
        Told::Tickets(TicketInput::Group(None)) => "it is in no ticket group".into(),
        Told::Tickets(TicketInput::Message { from, bytes }) => {
            format!("a message of member {from} of the ticket group ({} bytes)", bytes.len())
        }
        Told::Tickets(TicketInput::Client { client, bytes }) => {
            format!("client {client} of booth asks ({} bytes)", bytes.len())
        }
        Told::Tickets(TicketInput::ClientGone { client }) => format!("client {client} of booth has gone"),
        Told::Tickets(TicketInput::Checked { check, result }) => {
            format!("check {check} before a ticket is taken: {}", if result.is_ok() { "ready" } else { "not ready" })
        }
        Told::Planned { token, failed: None } => format!("plan {token} is made"),
        Told::Planned { token, failed: Some(_) } => format!("plan {token} failed"),
        Told::Persisted { token, result: Ok(()) } => format!("state {token} is on disk"),
        Told::Persisted { token, result: Err(_) } => format!("state {token} is not on disk"),
        Told::Gone { client } => format!("client {client} is gone"),
        Told::Request { user, request, .. } => format!("{user} asks {request}"),
    }
}

/// The next frame; none at the end of the file, also in the middle of a frame.
fn read_frame<T: for<'a> Deserialize<'a>>(file: &mut impl Read, offset: &mut u64) -> Result<Option<T>> {
    let mut length = [0; 4];
    if !read_whole(file, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length);
    ensure!(length <= LONGEST, "the recording is damaged at byte {offset}: a record of {length} bytes");
    let mut bytes = Vec::new();
    file.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() < usize::try_from(length)? {
        return Ok(None);
    }
    let value = match postcard::from_bytes(&bytes) {
        Ok(value) => value,
        Err(error) => bail!("the recording is damaged at byte {offset}: {error}"),
    };
    *offset += 4 + u64::from(length);
    Ok(Some(value))
}

fn read_whole(file: &mut impl Read, bytes: &mut [u8]) -> Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;

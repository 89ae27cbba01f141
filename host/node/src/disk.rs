//! The thread that alone touches the disk, so that a slow disk never delays a heartbeat or a decision.

use crate::history::History;
use crate::recording::Recorder;
use crate::storage::Storage;
use hakudo_controller::PersistedState;
use hakudo_controller::request::{Event, Refusal, RefusalKind, Reply};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The name under which the configuration is stored.
pub(crate) const CONFIGURATION: &str = "configuration.json";

/// How long events may wait for their sync.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// What the disk is asked for.
pub(crate) enum Job {
    /// Store the configuration, and say so.
    Persist { token: u64, state: PersistedState },
    /// Keep a losing configuration.
    SetAside { configuration: String, reason: String },
    /// Remember an event.
    Event(Event),
    /// Append to the recording of this node's inputs.
    Record(Vec<u8>),
    /// Answer with events.
    Read { after: u64, limit: u32, answer: oneshot::Sender<Reply> },
}

/// Storing a configuration ended, well or not.
pub(crate) struct Persisted {
    pub(crate) token: u64,
    pub(crate) result: Result<(), String>,
}

/// Starts the thread.
///
/// # Errors
/// Where the system gives no thread.
pub(crate) fn start(
    storage: Storage,
    history: History,
    mut recorder: Recorder,
    persisted: mpsc::UnboundedSender<Persisted>,
) -> std::io::Result<Sender<Job>> {
    let (jobs, queue) = channel();
    std::thread::Builder::new().name("disk".into()).spawn(move || {
        work(&storage, history, &mut recorder, &queue, &persisted);
    })?;
    Ok(jobs)
}

fn work(
    storage: &Storage,
    mut history: History,
    recorder: &mut Recorder,
    jobs: &Receiver<Job>,
    persisted: &mpsc::UnboundedSender<Persisted>,
) {
    let mut events = Vec::new();
    let mut unsynced = false;
    loop {
        // Events are written in one go where many come at once; everything else sees them written.
        let job = match jobs.try_recv() {
            Ok(Job::Event(event)) => {
                events.push(event);
                continue;
            }
            Ok(Job::Record(record)) => {
                recorder.append(&record);
                continue;
            }
            Ok(job) => Some(job),
            Err(_) => None,
        };
        if !events.is_empty() {
            match history.append(&mut events) {
                Ok(()) => unsynced = true,
                Err(error) => tracing::warn!("{} events are lost: {error:#}", events.len()),
            }
            events.clear();
        }
        let job = match job {
            Some(job) => job,
            None => {
                let next = if unsynced {
                    jobs.recv_timeout(SYNC_AFTER)
                } else {
                    jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
                };
                match next {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        sync(&history);
                        unsynced = false;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        sync(&history);
                        return;
                    }
                }
            }
        };
        match job {
            Job::Event(event) => events.push(event),
            Job::Record(record) => recorder.append(&record),
            Job::Persist { token, state } => {
                let result = storage.store(CONFIGURATION, &state).map_err(|error| format!("{error:#}"));
                if result.is_ok() {
                    // For people only: that it fails changes nothing.
                    if let Err(error) = storage.keep_former(&state.configuration) {
                        tracing::warn!("the configuration is not kept among the former ones: {error:#}");
                    }
                }
                // The receiver is gone only when the node stops.
                let _ = persisted.send(Persisted { token, result });
            }
            Job::SetAside { configuration, reason } => match storage.set_aside(&configuration, &reason) {
                Ok(place) => tracing::warn!("the former configuration of this node is kept in {}", place.display()),
                Err(error) => tracing::error!("the former configuration of this node is lost: {error:#}"),
            },
            Job::Read { after, limit, answer } => {
                let reply = match history.read(after, limit) {
                    Ok(events) => Reply::Events { events },
                    Err(error) => {
                        Refusal::new(RefusalKind::Failed, format!("the history cannot be read: {error:#}")).into()
                    }
                };
                // The client may have gone.
                let _ = answer.send(reply);
            }
        }
    }
}

fn sync(history: &History) {
    if let Err(error) = history.sync() {
        tracing::warn!("the newest events are not on disk: {error:#}");
    }
}

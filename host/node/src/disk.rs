//! The thread that alone touches the disk, so that a slow disk never delays a heartbeat or a decision.

use crate::history::History;
use crate::recording::Recorder;
use crate::storage::Storage;
use anyhow::Context;
use hakudo_controller::PersistedState;
use hakudo_controller::request::{Event, Refusal, RefusalKind, Reply};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::mpsc;

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
    Read { after: u64, limit: u32, answer: mpsc::UnboundedSender<Reply> },
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
    let mut configurations = Configurations::default();
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
                let result = configurations.store(storage, state).map_err(|error| format!("{error:#}"));
                // The receiver is gone only when the node stops.
                let _ = persisted.send(Persisted { token, result });
            }
            Job::SetAside { configuration, reason } => {
                configurations.to_keep.push((configuration, reason));
                if let Err(error) = configurations.keep(storage) {
                    tracing::error!("the losing configuration is kept in memory only: {error:#}");
                }
            }
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

/// What of configurations is on its way to the disk.
#[derive(Default)]
struct Configurations {
    /// The newest that was stored.
    newest: Option<String>,
    /// Losing ones with the reason, not on disk yet. Nothing is stored over them before they are.
    to_keep: Vec<(String, String)>,
}

impl Configurations {
    fn store(&mut self, storage: &Storage, state: PersistedState) -> anyhow::Result<()> {
        self.keep(storage).context("a losing configuration must be kept aside first")?;
        storage.store(CONFIGURATION, &state)?;
        // A view alone changes no configuration: it must not push older ones out.
        if self.newest.as_deref() != Some(&state.configuration) {
            // For people only: that it fails changes nothing.
            if let Err(error) = storage.keep_former(&state.configuration) {
                tracing::warn!("the configuration is not kept among the former ones: {error:#}");
            }
            self.newest = Some(state.configuration);
        }
        Ok(())
    }

    fn keep(&mut self, storage: &Storage) -> anyhow::Result<()> {
        while let Some((configuration, reason)) = self.to_keep.first() {
            let place = storage.set_aside(configuration, reason)?;
            tracing::warn!("the former configuration of this node is kept in {}", place.display());
            self.to_keep.remove(0);
        }
        Ok(())
    }
}

fn sync(history: &History) {
    if let Err(error) = history.sync() {
        tracing::warn!("the newest events are not on disk: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(configuration: &str, lineage: u64) -> PersistedState {
        PersistedState { configuration: configuration.into(), lineage, tickets: Default::default() }
    }

    #[test]
    fn nothing_is_stored_over_what_could_not_be_kept_aside() {
        let folder = std::env::temp_dir().join(format!("hakudo-disk-{}", std::process::id()));
        let storage = Storage::open(&folder).unwrap();
        let mut configurations = Configurations::default();
        configurations.store(&storage, state("<a/>", 1)).unwrap();
        configurations.to_keep.push(("<a/>".into(), "it lost".into()));
        // A file in the place of the folder refuses as a full disk does.
        std::fs::remove_dir(folder.join("set-aside")).unwrap();
        std::fs::write(folder.join("set-aside"), "").unwrap();
        let error = configurations.store(&storage, state("<b/>", 2)).unwrap_err();
        assert!(error.to_string().contains("kept aside first"), "{error:#}");
        assert_eq!(storage.load(CONFIGURATION).unwrap(), Some(state("<a/>", 1)));
        std::fs::remove_file(folder.join("set-aside")).unwrap();
        std::fs::create_dir(folder.join("set-aside")).unwrap();
        configurations.store(&storage, state("<b/>", 2)).unwrap();
        configurations.store(&storage, state("<b/>", 3)).unwrap();
        let files = |name: &str| std::fs::read_dir(folder.join(name)).unwrap().count();
        assert_eq!((files("set-aside"), files("former")), (1, 2));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

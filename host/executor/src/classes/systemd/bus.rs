//! Units by way of the system bus: what systemd itself says when a job is over, and of a unit's state.
//!
//! Each call has a connection of its own: it ends with the call, and nothing of another call gets into its way. A start,
//! stop or reload is a *job* of systemd's. The call listens for the end of jobs before it asks for its own, because the
//! end may be told before the answer is; a job's end is the only thing that counts, not the state of the unit on the way.
//!
//! A call that is given up (its time is over, or the executor dies) does not take its job back: half a start is worse than
//! a start. Whoever looks at the unit next waits for the job.

use super::{SYSTEMD, metadata, state_of};
use crate::classes::Outcome;
use futures_util::StreamExt;
use hakudo_base::agent::{ExecutionStatus, exit_code};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use tokio::net::UnixStream;
use zbus::message::Type;
use zbus::names::ErrorName;
use zbus::zvariant::{DynamicType, OwnedObjectPath, OwnedValue};
use zbus::{Connection, MatchRule, Message, MessageStream};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// What systemd says of a unit that it has no file of.
const UNKNOWN: [&str; 3] = [
    "org.freedesktop.systemd1.NoSuchUnit",
    "org.freedesktop.systemd1.LoadFailed",
    "org.freedesktop.DBus.Error.FileNotFound",
];
const DENIED: [&str; 3] = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.AuthFailed",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];

/// An operation of a unit.
#[derive(Clone, Debug)]
pub(crate) struct UnitCall {
    /// The socket of the system bus.
    pub(super) bus: PathBuf,
    /// What the resource calls it.
    pub(super) name: String,
    /// Its full name.
    pub(super) unit: String,
    pub(super) operation: Operation,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// With this file saying this, which systemd is to read first.
    Start {
        drop_in: PathBuf,
        text: String,
    },
    /// This file goes away afterwards.
    Stop {
        drop_in: PathBuf,
    },
    Reload,
    Look,
    Describe,
}

/// Why a unit is not as was asked for.
#[derive(Debug, Error)]
enum Fault {
    #[error("{}: {}", .path.display(), .error)]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Bus(#[from] zbus::Error),
    #[error("systemd gave the job up: {0}")]
    Job(String),
    #[error("the system bus closed the connection before the job was over")]
    Lost,
}

impl UnitCall {
    /// Carries it out; nothing where the unit is on its way to a state, and must be asked again.
    pub(crate) async fn carry_out(&self) -> Option<Outcome> {
        let done = match &self.operation {
            Operation::Start { drop_in, text } => self.start(drop_in, text).await.map(|()| exit_code::OK),
            Operation::Stop { drop_in } => self.stop(drop_in).await.map(|()| exit_code::OK),
            Operation::Reload => self.reload().await.map(|()| exit_code::OK),
            Operation::Look => match self.look().await {
                Ok(state) => return state,
                Err(fault) => Err(fault),
            },
            Operation::Describe => match self.describe().await {
                Ok(text) => {
                    return Some(Outcome::done(exit_code::OK).with_output(metadata(&self.name, text.as_bytes())));
                }
                Err(fault) => Err(fault),
            },
        };
        Some(done.map_or_else(|fault| fault.outcome(&self.unit), Outcome::done))
    }

    async fn start(&self, drop_in: &PathBuf, text: &str) -> Result<(), Fault> {
        let written = || {
            drop_in.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(drop_in, text)
        };
        written().map_err(|error| Fault::File { path: drop_in.clone(), error })?;
        let manager = self.manager().await?;
        manager.read_files_again().await?;
        manager.job("StartUnit", &self.unit).await
    }

    async fn stop(&self, drop_in: &PathBuf) -> Result<(), Fault> {
        let manager = self.manager().await?;
        match manager.job("StopUnit", &self.unit).await {
            // What systemd does not know does not run.
            Err(Fault::Bus(error)) if is_one_of(&error, &UNKNOWN) => {}
            other => other?,
        }
        match fs::remove_file(drop_in) {
            Ok(()) => {
                // Others may have drop-ins there.
                let _ = drop_in.parent().map(fs::remove_dir);
                manager.read_files_again().await
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Fault::File { path: drop_in.clone(), error }),
        }
    }

    async fn reload(&self) -> Result<(), Fault> {
        self.manager().await?.job("ReloadUnit", &self.unit).await
    }

    async fn look(&self) -> Result<Option<Outcome>, Fault> {
        let manager = self.manager().await?;
        let unit = manager.load(&self.unit).await?;
        let loaded: String = manager.property(&unit, "LoadState").await?;
        let active: String = manager.property(&unit, "ActiveState").await?;
        let (job, _): (u32, OwnedObjectPath) = manager.property(&unit, "Job").await?;
        Ok(state_of(&loaded, &active, job != 0))
    }

    async fn describe(&self) -> Result<String, Fault> {
        let manager = self.manager().await?;
        let unit = manager.load(&self.unit).await?;
        manager.property(&unit, "Description").await
    }

    async fn manager(&self) -> Result<Manager, Fault> {
        let socket = UnixStream::connect(&self.bus).await;
        let socket = socket.map_err(|error| Fault::File { path: self.bus.clone(), error })?;
        Ok(Manager(zbus::connection::Builder::unix_stream(socket).build().await?))
    }
}

/// systemd's manager.
struct Manager(Connection);

impl Manager {
    async fn call<T, B>(&self, method: &str, body: &B) -> Result<T, Fault>
    where
        T: DeserializeOwned + zbus::zvariant::Type,
        B: Serialize + DynamicType,
    {
        let reply = self.0.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), method, body).await?;
        Ok(reply.body().deserialize()?)
    }

    async fn read_files_again(&self) -> Result<(), Fault> {
        self.call("Reload", &()).await
    }

    async fn load(&self, unit: &str) -> Result<OwnedObjectPath, Fault> {
        self.call("LoadUnit", &unit).await
    }

    async fn property<T>(&self, unit: &OwnedObjectPath, name: &str) -> Result<T, Fault>
    where
        T: TryFrom<OwnedValue, Error: Into<zbus::zvariant::Error>>,
    {
        let reply = self.0.call_method(Some(SYSTEMD), unit, Some(PROPERTIES), "Get", &(UNIT, name)).await?;
        let value: OwnedValue = reply.body().deserialize()?;
        Ok(T::try_from(value).map_err(|error| zbus::Error::from(error.into()))?)
    }

    /// Asks for a job, and waits for its end.
    async fn job(&self, method: &str, unit: &str) -> Result<(), Fault> {
        let ends = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SYSTEMD)?
            .path(MANAGER_PATH)?
            .interface(MANAGER)?
            .member("JobRemoved")?
            .build();
        let mut ends = MessageStream::for_match_rule(ends, &self.0, None).await?;
        // Without a subscriber systemd tells nothing.
        self.call::<(), _>("Subscribe", &()).await?;
        let what = (unit, "replace");
        let asked = self.call::<OwnedObjectPath, _>(method, &what);
        tokio::pin!(asked);
        // Ends of jobs are taken while the answer is waited for: it comes behind them.
        let mut ended = BTreeMap::new();
        let job = loop {
            tokio::select! {
                answer = &mut asked => break answer?.to_string(),
                end = ends.next() => {
                    let (job, result) = end_of_job(end)?;
                    ended.insert(job, result);
                }
            }
        };
        let result = loop {
            if let Some(result) = ended.remove(&job) {
                break result;
            }
            let (job, result) = end_of_job(ends.next().await)?;
            ended = BTreeMap::from([(job, result)]);
        };
        match result.as_str() {
            // Skipped: there was nothing to be done, as systemctl sees it too.
            "done" | "skipped" => Ok(()),
            _ => Err(Fault::Job(result)),
        }
    }
}

/// The path of the job that ended, and how.
fn end_of_job(told: Option<zbus::Result<Message>>) -> Result<(String, String), Fault> {
    let told = told.ok_or(Fault::Lost)?.map_err(|_| Fault::Lost)?;
    let (_, job, _, result): (u32, OwnedObjectPath, String, String) = told.body().deserialize()?;
    Ok((job.to_string(), result))
}

fn error_name(error: &zbus::Error) -> Option<&ErrorName<'_>> {
    match error {
        zbus::Error::MethodError(name, ..) => Some(name),
        _ => None,
    }
}

fn is_one_of(error: &zbus::Error, names: &[&str]) -> bool {
    error_name(error).is_some_and(|name| names.contains(&name.as_str()))
}

impl Fault {
    fn outcome(&self, unit: &str) -> Outcome {
        let reason = format!("{unit}: {self}");
        match self {
            Fault::Bus(error) if is_one_of(error, &UNKNOWN) => Outcome::not_installed(reason),
            Fault::Bus(error) if is_one_of(error, &DENIED) => {
                Outcome::new(ExecutionStatus::Error, exit_code::INSUFFICIENT_PRIV, reason)
            }
            Fault::Job(_) => Outcome::new(ExecutionStatus::Done, exit_code::ERROR, reason),
            _ => Outcome::new(ExecutionStatus::Error, exit_code::ERROR, reason),
        }
    }
}

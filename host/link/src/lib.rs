//! Messages between the members of a ticket group.
//!
//! Members sit at different sites, behind firewalls that people forget. So every address of a member is tried at once, by
//! UDP; and a message that is too long for a datagram, or is for a member of which no datagram came lately, goes by TCP
//! too. Each message is sealed once, and whoever gets it twice takes it once. Nothing is repeated here and nothing waits
//! for anybody: what is lost is the group's own business, which asks again.
//!
//! A member that is a whole cluster speaks through one of its nodes at a time. All of them listen, and only the one that
//! [speaks](Link::speak) answers. It begins anew with sessions of its own, so that what was said to another node before is
//! not taken for said to it.

pub mod booth;
mod datagrams;
mod parts;
pub mod setup;
mod stream;
mod task;

use anyhow::{Context, Result};
use hakudo_base::NodeId;
use hakudo_seal::Credentials;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// The port where members listen, both UDP and TCP (booth's).
pub const PORT: u16 = 9929;

/// The longest message, in bytes.
pub const LONGEST: usize = 16 << 20;

/// Who speaks with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The number of this member.
    pub local: NodeId,
    /// The name of the group: members of another one are not heard.
    pub group: String,
    /// The keys.
    pub credentials: Credentials,
    /// Where the other members may be: `host`, `host:port`, `[v6]:port`. All are tried at once.
    pub peers: BTreeMap<NodeId, Vec<String>>,
    /// Where this process listens.
    pub listen: Vec<SocketAddr>,
}

/// A message from a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The member.
    pub from: NodeId,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// What the task is asked for.
#[derive(Debug)]
enum Asked {
    Send(NodeId, Vec<u8>),
    Speak(bool),
    Use(Box<Settings>),
}

/// This end of the links to all other members. They are closed when it is dropped.
#[derive(Debug)]
pub struct Link {
    asked: mpsc::UnboundedSender<Asked>,
    listens: Vec<SocketAddr>,
}

impl Link {
    /// Listens, and answers if it `speaks` already. Needs a tokio runtime.
    ///
    /// # Errors
    /// Where an address cannot be used.
    pub fn start(settings: Settings, speaks: bool) -> Result<(Self, mpsc::UnboundedReceiver<Received>)> {
        let (asked, queue) = mpsc::unbounded_channel();
        let (received_to, received) = mpsc::unbounded_channel();
        let (task, listens) = task::Task::open(settings, queue, received_to)?;
        tokio::spawn(task.run(speaks));
        Ok((Self { asked, listens }, received))
    }

    /// Sends a message, if that is possible now. It may be lost, late or doubled on its way; it arrives once at most.
    pub fn send(&self, to: NodeId, bytes: Vec<u8>) {
        self.ask(Asked::Send(to, bytes));
    }

    /// Speaks for the member from now on, or does not any more.
    pub fn speak(&self, speaks: bool) {
        self.ask(Asked::Speak(speaks));
    }

    /// Other members, addresses or keys from now on. Where it listens stays as it is.
    pub fn configure(&self, settings: Settings) {
        self.ask(Asked::Use(Box::new(settings)));
    }

    /// Where it listens, with the ports that the system chose.
    pub fn listens(&self) -> &[SocketAddr] {
        &self.listens
    }

    fn ask(&self, asked: Asked) {
        // The task ends only after this end is dropped.
        let _ = self.asked.send(asked);
    }
}

/// The addresses that a text may mean, with [`PORT`] where it names none.
async fn resolve(text: &str) -> Result<Vec<SocketAddr>> {
    let unadorned = text.parse().map(|address| SocketAddr::new(address, PORT));
    if let Ok(address) = text.parse().or(unadorned) {
        return Ok(vec![address]);
    }
    let named = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => text.to_owned(),
        _ => format!("{text}:{PORT}"),
    };
    let found = tokio::net::lookup_host(&named).await.with_context(|| format!("the address of {text} is not known"))?;
    Ok(found.collect())
}

#[cfg(test)]
mod tests;

//! The member that is run: one of hakudo's own protocol or one of booth's, told and obeyed in the same way.

use anyhow::{Context, Result};
use hakudo_base::{Instant, NodeId};
use hakudo_link::booth::{BoothLink, Came};
use hakudo_link::setup::{Setup, Wire};
use hakudo_link::{Link, Received};
use hakudo_tickets::booth::engine::Now;
use hakudo_tickets::booth::member::{BoothMember, Told, Wanted};
use hakudo_tickets::{Effect, Group, Input, Member, MemberId};
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// A member and its links.
pub(crate) enum Running {
    Hakudo { member: Box<Member>, link: Link, received: mpsc::UnboundedReceiver<Received> },
    Booth { member: Box<BoothMember>, link: BoothLink, came: mpsc::UnboundedReceiver<Came> },
}

impl Running {
    /// The name of the file with what it must not forget.
    pub(crate) fn memory(wire: &Wire) -> &'static str {
        match wire {
            Wire::Hakudo(_) => "member",
            Wire::Booth(..) => "booth",
        }
    }

    pub(crate) fn start(setup: Setup, seed: u64, stored: Option<&[u8]>, now: Now) -> Result<Self> {
        let Setup { local, group, wire, .. } = setup;
        Ok(match wire {
            Wire::Hakudo(settings) => {
                let member = Box::new(Member::new(local, group, seed, stored, now.monotonic)?);
                let (link, received) = Link::start(settings, true)?;
                Self::Hakudo { member, link, received }
            }
            Wire::Booth(setup, settings) => {
                let member = Box::new(BoothMember::new(&setup, group, seed, stored, now)?);
                let (link, came) = BoothLink::start(settings)?;
                Self::Booth { member, link, came }
            }
        })
    }

    pub(crate) fn group(&self) -> &Group {
        match self {
            Self::Hakudo { member, .. } => member.group(),
            Self::Booth { member, .. } => member.group(),
        }
    }

    pub(crate) fn listens(&self) -> &[SocketAddr] {
        match self {
            Self::Hakudo { link, .. } => link.listens(),
            Self::Booth { link, .. } => link.listens(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Hakudo { member, .. } => member.deadline(),
            Self::Booth { member, .. } => member.deadline(),
        }
    }

    /// What comes next by the links.
    pub(crate) async fn heard(&mut self) -> Result<Told> {
        let ended = "the links ended";
        Ok(match self {
            Self::Hakudo { received, .. } => {
                let Received { from, bytes } = received.recv().await.context(ended)?;
                Told::Input(Input::Received { from: MemberId(from.0), message: bytes })
            }
            Self::Booth { came, .. } => match came.recv().await.context(ended)? {
                // Who sent it stands in it.
                Came::Datagram(bytes) => Told::Input(Input::Received { from: MemberId(0), message: bytes }),
                Came::Client(client, bytes) => Told::Client(client, bytes),
                Came::Gone(client) => Told::ClientGone(client),
            },
        })
    }

    /// Tells the member; clients of booth are answered, what else it wants is given back, in order.
    pub(crate) fn tell(&mut self, now: Now, told: Told) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self {
            Self::Hakudo { member, .. } => {
                if let Told::Input(input) = told {
                    member.handle(now.monotonic, input, &mut effects);
                }
            }
            Self::Booth { member, link, .. } => {
                let mut wanted = Vec::new();
                member.handle(now, told, &mut wanted);
                for wanted in wanted {
                    match wanted {
                        Wanted::Effect(effect) => effects.push(effect),
                        Wanted::Answer { client, bytes, last } => link.answer(client, bytes, last),
                    }
                }
            }
        }
        effects
    }

    pub(crate) fn send(&self, to: MemberId, message: Vec<u8>) {
        match self {
            Self::Hakudo { link, .. } => link.send(NodeId(to.0), message),
            Self::Booth { link, .. } => link.send(to.0, &message),
        }
    }
}

//! The engine that joins the parts.

use crate::config::{Config, ConfigError, PersistedState};
use crate::core_types::{Effect, Event, Input, Undelivered};
use crate::view::{Delivered, View, ViewId};
use hakudo_base::Instant;

/// The native membership engine of one node.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    persisted: PersistedState,
    view: Option<View>,
    start_at: Option<Instant>,
    outbox: Vec<Vec<u8>>,
    left: bool,
}

impl Engine {
    /// An engine with its start still before it: the first call of [`Engine::handle`] starts it. `seed` must be fresh
    /// entropy in production: the keys of all sessions follow from it.
    ///
    /// # Errors
    /// What [`Config::check`] finds.
    pub fn new(config: Config, persisted: PersistedState, seed: [u8; 32]) -> Result<Self, ConfigError> {
        let _ = seed;
        config.check()?;
        Ok(Self { config, persisted, view: None, start_at: None, outbox: Vec::new(), left: false })
    }

    /// Like [`Engine::new`], without the cipher: datagrams carry a checksum only. For simulations that study other
    /// things; no configuration leads here.
    ///
    /// # Errors
    /// What [`Config::check`] finds.
    pub fn new_unsealed(config: Config, persisted: PersistedState, seed: [u8; 32]) -> Result<Self, ConfigError> {
        Self::new(config, persisted, seed)
    }

    /// Takes one input. Effects are appended, to be carried out in order.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        if self.left {
            return;
        }
        let start_at = *self.start_at.get_or_insert(now + self.config.dead_after);
        match input {
            Input::Broadcast(payload) => self.outbox.push(payload),
            Input::Configure(config) => match config.check() {
                Ok(()) => self.config = config,
                Err(error) => effects.push(Effect::Event(Event::ConfigRefused { reason: error.to_string() })),
            },
            Input::Leave => {
                let payloads = std::mem::take(&mut self.outbox);
                effects.extend(
                    payloads.into_iter().map(|payload| Effect::Undelivered { payload, reason: Undelivered::Leaving }),
                );
                effects.push(Effect::Left);
                self.left = true;
            }
            Input::Timer | Input::Packet { .. } | Input::Fenced(_) => {}
        }
        if self.view.is_none() && (now >= start_at || self.config.nodes.len() == 1) {
            self.persisted.epoch_limit += 1;
            effects.push(Effect::Persist(self.persisted.clone()));
            let local = self.config.local;
            let view = View {
                id: ViewId { epoch: self.persisted.epoch_limit, leader: local.0 },
                members: vec![local],
                together: vec![local],
                left: vec![],
                quorate: self.config.nodes.len() == 1,
                exclusive: self.config.nodes.len() == 1,
            };
            effects.push(Effect::View(view.clone()));
            self.view = Some(view);
        }
        if self.view.is_some() {
            let payloads = std::mem::take(&mut self.outbox);
            let from = self.config.local;
            effects.extend(payloads.into_iter().map(|payload| Effect::Deliver(Delivered { from, payload })));
        }
    }

    /// When [`Input::Timer`] is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.view, self.left) {
            (None, false) => Some(self.start_at.unwrap_or(Instant::ZERO)),
            _ => None,
        }
    }

    /// The view that was installed last.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Bytes of broadcasts that are not delivered yet.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.iter().map(Vec::len).sum()
    }
}

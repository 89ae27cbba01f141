//! A site's cluster, as far as tickets need it: it keeps what it was told of each ticket, runs services accordingly, and ends
//! them by itself when the lease ends, whatever its speaker does.

use hakudo_tickets::{Holding, TicketWord, WhyNot};
use std::collections::BTreeMap;
use std::time::Duration;

/// A grant as all nodes of a site know it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) generation: u64,
    /// True time in nanoseconds; none without an end.
    pub(crate) until: Option<u64>,
    pub(crate) stop_time: Duration,
}

/// One ticket at one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) grant: Option<Grant>,
    pub(crate) active: bool,
    /// When the services will have stopped.
    pub(crate) stops_at: Option<u64>,
    /// The grant of which the speaker must hear that it has stopped.
    pub(crate) owes: Option<u64>,
    /// Tells old timers from new ones.
    pub(crate) version: u64,
}

/// What is to be done after a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Services run (on) until then.
    Run,
    /// Services must stop within this time.
    Stop(Duration),
    /// Nothing runs, and the speaker must hear it.
    Stopped,
    Nothing,
}

/// The cluster of one site.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) able: BTreeMap<String, bool>,
    pub(crate) handler_fails: bool,
    /// How long stopping takes at most, in milliseconds, where it is not as the script says.
    pub(crate) stop_ms: Option<u64>,
    /// The speaker waits for its word that nothing runs after each word that a ticket is not held, and not only where it was.
    pub(crate) answers_all: bool,
}

impl Cluster {
    /// Takes in what the speaker says; `until` is the true time of the end.
    pub(crate) fn hear(&mut self, word: &TicketWord, until: Option<u64>) -> Next {
        let service = self.services.entry(word.ticket.clone()).or_default();
        match &word.holding {
            Holding::Held { stop_time, .. } => {
                service.grant = Some(Grant { generation: word.generation, until, stop_time: *stop_time });
                service.owes = None;
                Next::Run
            }
            Holding::Unknown => Next::Nothing,
            Holding::NotHeld(why) => {
                let before = service.grant.take();
                let waited_for = self.answers_all || *why != WhyNot::Elsewhere || before.is_some();
                service.owes = waited_for.then_some(word.generation);
                if service.active && service.stops_at.is_none() {
                    Next::Stop(before.map_or(Duration::ZERO, |grant| grant.stop_time))
                } else if service.active {
                    Next::Nothing
                } else {
                    Next::Stopped
                }
            }
        }
    }

    pub(crate) fn service(&mut self, ticket: &str) -> &mut Service {
        self.services.entry(ticket.to_owned()).or_default()
    }

    /// Power is lost: nothing runs, and what was only in memory is gone.
    pub(crate) fn lose_power(&mut self) -> Vec<String> {
        let active = self.services.iter().filter(|(_, service)| service.active).map(|(name, _)| name.clone()).collect();
        for service in self.services.values_mut() {
            let version = service.version + 1;
            *service = Service { version, ..Service::default() };
        }
        active
    }
}

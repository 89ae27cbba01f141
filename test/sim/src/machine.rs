//! One machine of a simulated cluster: its power, its clocks, its disk, its services, and the processes on it.

use crate::check::Service;
use crate::disk::Disk;
use crate::executor::Executor;
use hakudo_base::{Instant, NodeId, UnixTime};
use hakudo_controller::{Controller, Input as ControllerInput, PersistedState as Configuration};
use hakudo_membership::{Engine, Input as MembershipInput, PersistedState as Epochs, ViewId};
use std::collections::BTreeMap;
use std::time::Duration;

/// When the simulated history begins: 2030-01-01.
const BEGINNING: i64 = 1_893_456_000_000;

/// An input of one of the cores of a node.
#[derive(Debug)]
pub(crate) enum CoreInput {
    Membership(MembershipInput),
    Controller(Box<ControllerInput>),
}

impl From<MembershipInput> for CoreInput {
    fn from(input: MembershipInput) -> Self {
        Self::Membership(input)
    }
}

impl From<ControllerInput> for CoreInput {
    fn from(input: ControllerInput) -> Self {
        Self::Controller(Box::new(input))
    }
}

/// The node process: the cores.
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) controller: Controller,
    /// The moment for which the next look at the deadlines is planned.
    pub(crate) wake_at: Option<Instant>,
    /// The process does not run until then; what comes in meanwhile waits.
    pub(crate) paused_until: Option<Instant>,
    pub(crate) held: Vec<CoreInput>,
    /// The view that the controller knows, and how many messages of it it was told.
    pub(crate) applied: Option<(ViewId, usize)>,
    /// The members of that view. A view that membership installed may still be on its way to the controller.
    pub(crate) members: Vec<NodeId>,
    /// It said goodbye and is about to end.
    pub(crate) left: bool,
    /// It speaks for its site to other members of a ticket group.
    pub(crate) speaks: bool,
}

/// A machine. It keeps its disk and its clocks' quirks when everything else on it dies.
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) powered: bool,
    /// Grows with every loss of power.
    pub(crate) boots: u64,
    booted_at: Instant,
    /// By how many millionths its clocks are too fast.
    pub(crate) rate: i64,
    /// A watchdog was left running by an executor that died.
    pub(crate) hungry_watchdog: bool,
    /// By how much the calendar clock is wrong.
    pub(crate) clock_error_ms: i64,
    pub(crate) process: Option<Process>,
    /// Grows with every end of the node process: what was meant for an earlier one is dropped.
    pub(crate) run: u64,
    /// None while the executor is being restarted.
    pub(crate) executor: Option<Executor>,
    /// Grows with every end of the executor.
    pub(crate) executor_run: u64,
    /// What really runs.
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) configuration: Disk<Configuration>,
    pub(crate) epochs: Epochs,
}

impl Machine {
    pub(crate) fn new(number: usize, configuration: Configuration) -> Self {
        Self {
            id: NodeId(number as u32),
            name: crate::cib::node_name(number),
            powered: false,
            boots: 0,
            booted_at: Instant::ZERO,
            rate: 0,
            hungry_watchdog: false,
            clock_error_ms: 0,
            process: None,
            run: 0,
            executor: None,
            executor_run: 0,
            services: BTreeMap::new(),
            configuration: Disk::with(Some(configuration)),
            epochs: Epochs::default(),
        }
    }

    /// The monotonic clock of this machine, which has nothing to do with that of others.
    pub(crate) fn monotonic(&self, now: Instant) -> Instant {
        self.first_shown() + self.own_time(now.since(self.booted_at))
    }

    fn first_shown(&self) -> Instant {
        Instant::from_millis(10_000 * u64::from(self.id.0))
    }

    /// What its clocks make of a time.
    pub(crate) fn own_time(&self, time: Duration) -> Duration {
        self.scaled(time, 1_000_000, self.speed(), 0)
    }

    /// How long it really takes until its clocks have gone on by this.
    pub(crate) fn true_time(&self, time: Duration) -> Duration {
        self.scaled(time, self.speed(), 1_000_000, self.speed() - 1)
    }

    fn speed(&self) -> u128 {
        u128::try_from(1_000_000 + self.rate).unwrap_or(1)
    }

    fn scaled(&self, time: Duration, from: u128, to: u128, round: u128) -> Duration {
        if self.rate == 0 {
            return time;
        }
        Duration::from_nanos(u64::try_from((time.as_nanos() * to + round) / from).unwrap_or(u64::MAX))
    }

    /// The moment in simulated time at which this machine's monotonic clock shows `local`.
    pub(crate) fn simulated(&self, local: Instant) -> Instant {
        self.booted_at + self.true_time(local.since(self.first_shown()))
    }

    /// The calendar clock of this machine. It goes as the monotonic one does, and was right when the machine was started.
    pub(crate) fn calendar(&self, now: Instant) -> UnixTime {
        let now = self.booted_at + self.own_time(now.since(self.booted_at));
        UnixTime::from_millis(BEGINNING + now.as_millis() as i64 + self.clock_error_ms)
    }

    /// Power is there: the executor starts, and nothing else runs yet.
    pub(crate) fn power_on(&mut self, now: Instant, executor: Executor) {
        self.powered = true;
        self.booted_at = now.saturating_sub(Duration::from_secs(5));
        self.executor = Some(executor);
    }

    /// Any service runs.
    pub(crate) fn runs_anything(&self) -> bool {
        self.services.values().any(|service| *service > Service::Stopped)
    }

    /// What of the services runs.
    pub(crate) fn service(&self, name: &str) -> Service {
        self.services.get(name).copied().unwrap_or_default()
    }
}

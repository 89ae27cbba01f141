//! An arbitrator: the production core of a member with a disk and a clock of its own.

use crate::disk::Disk;
use hakudo_base::{Instant, Random};
use hakudo_tickets::{Effect, Group, Input, Member, MemberId, StartError};
use std::collections::VecDeque;
use std::time::Duration;

/// What an arbitrator wants of the world around it.
#[derive(Debug)]
pub(super) enum Wants {
    /// To say this to a member.
    Send { to: u32, bytes: Vec<u8> },
    /// To hear at this moment that its oldest write is done.
    Written { at: Instant },
    /// To be looked at again at this moment.
    Wake { at: Instant },
    /// It coordinates the group in this term.
    Coordinates { term: String },
    /// For people.
    Tell(String),
}

struct Process {
    core: Member,
    begun: Instant,
    wake_at: Option<Instant>,
    /// What it waits for: the number, and whether its disk has to write for it.
    pending: VecDeque<(u64, bool)>,
}

/// The machine of an arbitrator.
pub(super) struct Arbitrator {
    pub(super) id: MemberId,
    /// By how many millionths its clock is too fast.
    rate: i64,
    /// Grows with every end of its process.
    pub(super) run: u64,
    process: Option<Process>,
    pub(super) disk: Disk<Vec<u8>>,
}

impl Arbitrator {
    pub(super) fn new(id: MemberId, rate: i64) -> Self {
        Self { id, rate, run: 0, process: None, disk: Disk::with(None) }
    }

    pub(super) fn is_on(&self) -> bool {
        self.process.is_some()
    }

    fn local(&self, begun: Instant, now: Instant) -> Instant {
        let passed = now.since(begun).as_nanos() * self.speed() / 1_000_000;
        Instant::from_millis(3_600_000) + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn truth(&self, begun: Instant, local: Instant) -> Instant {
        let shown = local.since(Instant::from_millis(3_600_000)).as_nanos() * 1_000_000;
        let passed = shown.div_ceil(self.speed());
        begun + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn speed(&self) -> u128 {
        u128::try_from(1_000_000 + self.rate).unwrap_or(1)
    }

    /// Starts its process from what is on its disk.
    pub(super) fn start(&mut self, now: Instant, group: Group, random: &mut Random) -> Result<Vec<Wants>, StartError> {
        let local = self.local(now, now);
        let stored = self.disk.synced().map(Vec::as_slice);
        let core = Member::new(self.id, group, random.next_u64(), stored, local)?;
        self.process = Some(Process { core, begun: now, wake_at: None, pending: VecDeque::new() });
        Ok(self.feed(now, Input::Timer, random))
    }

    /// Its process is gone, and what was on the way to the disk.
    pub(super) fn end(&mut self, random: &mut Random) {
        self.process = None;
        self.run += 1;
        self.disk.interrupt(random);
    }

    pub(super) fn wake(&mut self, now: Instant, random: &mut Random) -> Vec<Wants> {
        let Some(process) = self.process.as_mut().filter(|process| process.wake_at == Some(now)) else {
            return Vec::new();
        };
        process.wake_at = None;
        self.feed(now, Input::Timer, random)
    }

    /// What it waits for first is done.
    pub(super) fn written(&mut self, now: Instant, random: &mut Random) -> Vec<Wants> {
        let Some((seq, writes)) = self.process.as_mut().and_then(|process| process.pending.pop_front()) else {
            return Vec::new();
        };
        let result = if writes { self.disk.finish() } else { Ok(()) };
        self.feed(now, if result.is_ok() { Input::Done(seq) } else { Input::StorageFailed }, random)
    }

    pub(super) fn feed(&mut self, now: Instant, input: Input, random: &mut Random) -> Vec<Wants> {
        let Some(begun) = self.process.as_ref().map(|process| process.begun) else { return Vec::new() };
        let mut effects = Vec::new();
        let local = self.local(begun, now);
        let Some(process) = &mut self.process else { return Vec::new() };
        process.core.handle(local, input, &mut effects);
        let deadline = process.core.deadline();
        let mut wants: Vec<Wants> = effects.into_iter().filter_map(|effect| self.wants(now, effect, random)).collect();
        // A deadline that has come already is looked at a little later, as a process would.
        let at = deadline.map(|deadline| self.truth(begun, deadline).max(now + Duration::from_micros(1)));
        if let (Some(at), Some(process)) = (at, &mut self.process)
            && process.wake_at.is_none_or(|planned| at < planned)
        {
            process.wake_at = Some(at);
            wants.push(Wants::Wake { at });
        }
        wants
    }

    fn wants(&mut self, now: Instant, effect: Effect, random: &mut Random) -> Option<Wants> {
        match effect {
            Effect::Send { to, message } => Some(Wants::Send { to: to.0, bytes: message }),
            Effect::Persist { seq, state } => {
                self.process.as_mut()?.pending.push_back((seq, true));
                Some(Wants::Written { at: self.disk.write(now, state, random) })
            }
            Effect::Confirm { seq } => {
                self.process.as_mut()?.pending.push_back((seq, false));
                Some(Wants::Written { at: self.disk.busy_until().max(now) })
            }
            Effect::Event(hakudo_tickets::Event::Coordinates { epoch, number }) => {
                Some(Wants::Coordinates { term: format!("{epoch}.{number}") })
            }
            Effect::Event(event) => Some(Wants::Tell(event.to_string())),
            // An arbitrator holds no tickets, and nobody asks it here.
            Effect::Ticket(_)
            | Effect::Lease { .. }
            | Effect::WouldHold { .. }
            | Effect::Check(_)
            | Effect::Reply { .. } => None,
        }
    }
}

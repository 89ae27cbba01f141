//! The disk of a node: what was asked to be written is safe only once it is synced. Power loss takes the rest, and by chance
//! a write that was on its way got through although nobody heard of it.

use hakudo_base::{Instant, Random};
use std::collections::VecDeque;
use std::time::Duration;

/// A disk that holds one thing of a kind; a write replaces it whole or not at all (the daemon writes aside and renames).
/// Writes are done one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Disk<T> {
    synced: Option<T>,
    on_the_way: VecDeque<T>,
    busy_until: Instant,
    /// There is no room: writes fail.
    pub(crate) full: bool,
    /// Milliseconds that a write takes beyond the usual.
    pub(crate) slow_ms: u64,
}

impl<T> Disk<T> {
    /// A disk with something on it.
    pub(crate) fn with(content: Option<T>) -> Self {
        Self { synced: content, on_the_way: VecDeque::new(), busy_until: Instant::ZERO, full: false, slow_ms: 0 }
    }

    /// What survives a power loss.
    pub(crate) fn synced(&self) -> Option<&T> {
        self.synced.as_ref()
    }

    /// Begins to write; when [`Disk::finish`] is due.
    pub(crate) fn write(&mut self, now: Instant, content: T, random: &mut Random) -> Instant {
        self.on_the_way.push_back(content);
        let took = Duration::from_micros(random.between(50, 3000)) + Duration::from_millis(self.slow_ms);
        self.busy_until = self.busy_until.max(now) + took;
        self.busy_until
    }

    /// When all that was asked for is written.
    pub(crate) fn busy_until(&self) -> Instant {
        self.busy_until
    }

    /// The oldest write that is on its way ends: synced, or refused.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        let content = self.on_the_way.pop_front();
        if self.full {
            return Err("No space left on device".into());
        }
        self.synced = content.or(self.synced.take());
        Ok(())
    }

    /// What is on the disk becomes something else.
    pub(crate) fn rot(&mut self, damage: impl FnOnce(&mut T)) {
        if let Some(content) = &mut self.synced {
            damage(content);
        }
    }

    /// The writer is gone in the middle of its work.
    pub(crate) fn interrupt(&mut self, random: &mut Random) {
        let got_through = random.below(self.on_the_way.len() as u64 + 1) as usize;
        if !self.full
            && let Some(content) = self.on_the_way.drain(..got_through).next_back()
        {
            self.synced = Some(content);
        }
        self.on_the_way.clear();
        self.busy_until = Instant::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_loss_takes_what_was_not_synced_and_never_what_was() {
        let mut survived = [0; 3];
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut disk = Disk::with(Some(0));
            disk.write(Instant::ZERO, 1, &mut random);
            disk.write(Instant::ZERO, 2, &mut random);
            if seed % 2 == 0 {
                disk.finish().unwrap();
                assert_eq!(disk.synced(), Some(&1));
            }
            disk.interrupt(&mut random);
            survived[*disk.synced().unwrap()] += 1;
            assert!(seed % 2 == 1 || disk.synced() > Some(&0));
        }
        assert!(survived.iter().all(|times| *times > 5), "{survived:?}");
    }

    #[test]
    fn a_full_disk_keeps_what_it_has() {
        let mut random = Random::new(1);
        let mut disk = Disk::with(Some(7));
        disk.full = true;
        disk.write(Instant::ZERO, 8, &mut random);
        assert!(disk.finish().is_err());
        disk.write(Instant::ZERO, 9, &mut random);
        disk.interrupt(&mut random);
        assert_eq!(disk.synced(), Some(&7));
    }
}

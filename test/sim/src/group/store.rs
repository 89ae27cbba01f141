//! Where a member's state is kept: a disk, or the nodes of a site.

use std::collections::VecDeque;

/// So many states ago is the copy from which a mutation restores.
const OLD: usize = 12;

/// The stored state, and what is on its way there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    stored: Option<Vec<u8>>,
    /// Some of the states before it, oldest first.
    before: VecDeque<Vec<u8>>,
    /// Number, and the state for one that stores and does not only confirm.
    pending: Vec<(u64, Option<Vec<u8>>)>,
}

impl Store {
    pub(crate) fn state(&self) -> Option<&[u8]> {
        self.stored.as_deref()
    }

    pub(crate) fn begin(&mut self, seq: u64, state: Option<Vec<u8>>) {
        self.pending.push((seq, state));
    }

    /// Everything up to `seq` is stored.
    pub(crate) fn finish(&mut self, seq: u64) {
        self.lose(|number| number <= seq);
    }

    /// Power is lost, or another node takes over: of what was on its way, the first `kept` writes have made it. Returns the number
    /// of the last of them, if any.
    pub(crate) fn cut(&mut self, kept: usize) -> Option<u64> {
        let last = self.pending.get(kept.wrapping_sub(1)).map(|(seq, _)| *seq).filter(|_| kept > 0);
        if let Some(seq) = last {
            self.finish(seq);
        }
        self.pending.clear();
        last
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Somebody brought an old copy back.
    pub(crate) fn restore_old(&mut self) {
        self.stored = self.before.pop_front().or_else(|| self.stored.take());
        self.before.clear();
    }

    fn lose(&mut self, done: impl Fn(u64) -> bool) {
        for (seq, state) in std::mem::take(&mut self.pending) {
            match state {
                Some(state) if done(seq) => {
                    self.before.extend(self.stored.replace(state));
                    if self.before.len() > OLD {
                        self.before.pop_front();
                    }
                }
                _ if done(seq) => {}
                state => self.pending.push((seq, state)),
            }
        }
    }
}

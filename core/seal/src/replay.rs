//! Which datagrams came already: each counter is taken once.

/// How many counters behind the newest one are still told apart.
const REPLAY_WINDOW: u64 = 2048;

/// Which counters were seen: the newest, and a bit for each of those right behind it.
pub(crate) struct ReplayWindow {
    /// One above the newest.
    end: u64,
    seen: [u64; (REPLAY_WINDOW / 64) as usize],
}

impl ReplayWindow {
    pub(crate) fn new() -> Self {
        Self { end: 0, seen: [0; (REPLAY_WINDOW / 64) as usize] }
    }

    fn slot(&mut self, counter: u64) -> (&mut u64, u64) {
        let bit = counter % REPLAY_WINDOW;
        (&mut self.seen[(bit / 64) as usize], 1 << (bit % 64))
    }

    pub(crate) fn is_new(&mut self, counter: u64) -> bool {
        if counter >= self.end {
            return true;
        }
        let (word, bit) = self.slot(counter);
        let unseen = *word & bit == 0;
        unseen && self.end - counter <= REPLAY_WINDOW
    }

    pub(crate) fn mark(&mut self, counter: u64) {
        if counter >= self.end {
            // Forget what falls out of the window.
            let first = self.end.max(counter.saturating_sub(REPLAY_WINDOW - 1));
            for passed in first..=counter {
                let (word, bit) = self.slot(passed);
                *word &= !bit;
            }
            self.end = counter.saturating_add(1);
        }
        let (word, bit) = self.slot(counter);
        *word |= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_takes_each_counter_once() {
        let mut window = ReplayWindow::new();
        for counter in [0, 5, 3, 2047, 2048, 1, 4000, 2500] {
            assert!(window.is_new(counter), "{counter}");
            window.mark(counter);
            assert!(!window.is_new(counter), "{counter}");
        }
        assert!(!window.is_new(6), "too old to tell");
        assert!(window.is_new(3999));
        window.mark(1 << 40);
        assert!(!window.is_new(4000));
        assert!(window.is_new((1 << 40) - 2047));
    }
}

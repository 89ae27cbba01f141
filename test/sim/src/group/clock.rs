//! Clocks of members: each has its own beginning and its own speed.

use hakudo_base::Instant;

/// A clock that started at any number and is a little too fast or slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) offset: u64,
    pub(super) millionths: i64,
}

impl Clock {
    pub(super) fn local(self, truth: u64) -> Instant {
        let passed = i128::from(truth) * i128::from(1_000_000 + self.millionths) / 1_000_000;
        Instant::from_nanos(self.offset + u64::try_from(passed).unwrap_or(0))
    }

    /// The first true moment at which the clock shows this.
    pub(super) fn truth(self, local: Instant) -> u64 {
        let passed = i128::from(local.as_nanos().saturating_sub(self.offset));
        let rate = i128::from(1_000_000 + self.millionths);
        u64::try_from((passed * 1_000_000 + rate - 1) / rate).unwrap_or(u64::MAX)
    }
}

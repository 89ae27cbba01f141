//! The clock of the executor.

use hakudo_base::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Now, on the clock that never jumps and counts the time in suspend: the one on which nodes give the ends of leases.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Instant::from_nanos(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default())
}

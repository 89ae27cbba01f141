//! Clocks that run at different speeds.
//!
//! A clock may run up to 2 % too fast or too slow. So a second of one member is at most 1.02 ⁄ 0.98 seconds of another. Who
//! waits for the end of something that another member measures waits longer by that factor; who was told how long ago
//! something happened believes it only in part. Nobody changes what he measures himself.

use std::time::Duration;

const FAST: u32 = 102;
const SLOW: u32 = 98;

/// What another clock's `duration` is at most by this clock.
pub(crate) fn lengthen(duration: Duration) -> Duration {
    (duration / SLOW).saturating_mul(FAST).saturating_add(Duration::from_nanos(u64::from(FAST)))
}

/// What another clock's `duration` is at least by this clock.
pub(crate) fn shorten(duration: Duration) -> Duration {
    (duration / FAST).saturating_mul(SLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_and_the_slowest_clock_are_allowed_for() {
        for seconds in [0.001, 1.0, 600.0, 86_400.0] {
            let slow_holder_ends = seconds / 0.98;
            let fast_waiter_sees = slow_holder_ends * 1.02;
            assert!(lengthen(Duration::from_secs_f64(seconds)).as_secs_f64() >= fast_waiter_sees);
            let told_by_a_fast_clock = seconds * 1.02;
            let by_a_slow_clock = seconds * 0.98;
            assert!(shorten(Duration::from_secs_f64(told_by_a_fast_clock)).as_secs_f64() <= by_a_slow_clock);
        }
    }
}

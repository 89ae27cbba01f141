//! The clocks of this machine.

use hakudo_base::{Instant, UnixTime, WallTime};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};

/// Now, on a clock that never jumps and counts the time in suspend.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Instant::from_nanos(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Now, on the calendar clock.
pub(crate) fn unix_time() -> UnixTime {
    let time = clock_gettime(ClockId::Realtime);
    UnixTime::from_millis(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

/// Now, as clocks in a zone show it.
pub(crate) fn wall_time(zone: &TimeZone) -> WallTime {
    let time = unix_time();
    let moment = Timestamp::from_millisecond(time.millis()).unwrap_or_default();
    WallTime { time, utc_offset: zone.to_offset(moment).seconds() }
}

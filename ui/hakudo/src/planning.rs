//! The scheduler as commands use it.

use crate::exit::{Exit, Failure};
use crate::world::World;
use hakudo_base::{UnixTime, WallTime};
use hakudo_cib::Document;
use hakudo_cib::iso8601::LocalTime;
use hakudo_scheduler::{Considered, Model, Plan, Purpose, plan_for};

/// `execution-date`: the moment that a saved CIB belongs to.
pub(crate) fn execution_date(cib: &Document) -> Option<i64> {
    cib.root().attribute("execution-date").and_then(|text| text.trim().parse().ok())
}

/// A moment in seconds since 1970, as clocks in a zone show it.
pub(crate) fn wall_time(seconds: i64, zone: &jiff::tz::TimeZone) -> WallTime {
    let utc_offset = jiff::Timestamp::from_second(seconds).map_or(0, |moment| zone.to_offset(moment).seconds());
    WallTime { time: UnixTime::from_seconds(seconds), utc_offset }
}

/// A moment that somebody wrote; in the zone that stands there, else in that of this machine.
pub(crate) fn parse_moment(text: &str, world: &World) -> Result<WallTime, Failure> {
    let now = wall_time(world.now, &world.zone);
    let moment = LocalTime::parse(text, LocalTime::at(now.time, now.utc_offset));
    let moment = moment.map_err(|error| Failure::usage(error.to_string()))?;
    Ok(WallTime { time: moment.moment(), utc_offset: moment.utc_offset() })
}

/// What the scheduler reads from a CIB.
pub(crate) fn model(cib: &Document, now: WallTime) -> Result<Model, Failure> {
    guarded(|| hakudo_scheduler::status(cib, now).0)
}

/// What the scheduler decides, told to somebody who looks on: a stored CIB may lack its secrets.
pub(crate) fn plan(cib: &Document, now: WallTime) -> Result<Plan, Failure> {
    guarded(|| plan_for(cib, now, Purpose::Inspection))
}

/// How much a cluster in this state would do by itself.
pub(crate) fn steps_left(cib: &Document, now: WallTime) -> Result<usize, Failure> {
    guarded(|| plan_for(cib, now, Purpose::Execution).transition.synapses.len())
}

/// The same as [`plan`], with all that was thought of on the way.
pub(crate) fn plan_with_considered(cib: &Document, now: WallTime) -> Result<(Plan, Considered), Failure> {
    guarded(|| hakudo_scheduler::plan_with_considered(cib, now, Purpose::Inspection))
}

/// A fault of the scheduler is an error of the command, told in one line.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Failure::new(
            Exit::SOFTWARE,
            format!(
                "the scheduler failed on this CIB ({message}): this is a fault of hakudo; please report it with the CIB"
            ),
        )
    })
}

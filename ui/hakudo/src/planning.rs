//! The scheduler as commands use it.

use crate::exit::{Exit, Failure};
use crate::world::World;
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_cib::iso8601::LocalTime;
use hakudo_scheduler::{Considered, Model, Plan, Purpose, plan_for};

/// `execution-date`: the moment that a saved CIB belongs to.
pub(crate) fn execution_date(cib: &Document) -> Option<i64> {
    cib.root().attribute("execution-date").and_then(|text| text.trim().parse().ok())
}

/// A moment that somebody wrote, in seconds since 1970.
pub(crate) fn parse_moment(text: &str, world: &World) -> Result<i64, Failure> {
    let offset = jiff::Timestamp::from_second(world.now).map_or(0, |now| world.zone.to_offset(now).seconds());
    let now = LocalTime::at(UnixTime::from_seconds(world.now), offset);
    LocalTime::parse(text, now).map(LocalTime::unix_seconds).map_err(|error| Failure::usage(error.to_string()))
}

/// What the scheduler reads from a CIB.
pub(crate) fn model(cib: &Document, now: i64) -> Result<Model, Failure> {
    guarded(|| hakudo_scheduler::status(cib, UnixTime::from_seconds(now)).0)
}

/// What the scheduler decides, told to somebody who looks on: a stored CIB may lack its secrets.
pub(crate) fn plan(cib: &Document, now: i64) -> Result<Plan, Failure> {
    guarded(|| plan_for(cib, UnixTime::from_seconds(now), Purpose::Inspection))
}

/// The same, with all that was thought of on the way.
pub(crate) fn plan_with_considered(cib: &Document, now: i64) -> Result<(Plan, Considered), Failure> {
    let now = UnixTime::from_seconds(now);
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

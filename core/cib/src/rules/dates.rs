//! What rules say of dates: durations, and the ranges in which parts of a date must be.

use crate::document::Element;
use crate::iso8601::{Duration, LocalTime};
use crate::values;

/// The length that a `<duration>` says.
pub(super) fn read_duration(duration: &Element) -> Option<Duration> {
    let part = |name: &str| match duration.attribute(name) {
        None => Some(0),
        Some(text) => values::integer(text).and_then(|n| i32::try_from(n).ok()).map(i64::from),
    };
    Some(Duration {
        years: part("years")?,
        months: part("months")?,
        days: part("weeks")? * 7 + part("days")?,
        seconds: part("hours")? * 3600 + part("minutes")? * 60 + part("seconds")?,
    })
}

/// The parts of a date specification, those that change rarely first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Years,
    WeekYears,
    Months,
    Weeks,
    YearDays,
    MonthDays,
    WeekDays,
    Hours,
    Minutes,
    Seconds,
}

impl Part {
    const ALL: [(Part, &'static str); 10] = [
        (Part::Years, "years"),
        (Part::WeekYears, "weekyears"),
        (Part::Months, "months"),
        (Part::Weeks, "weeks"),
        (Part::YearDays, "yeardays"),
        (Part::MonthDays, "monthdays"),
        (Part::WeekDays, "weekdays"),
        (Part::Hours, "hours"),
        (Part::Minutes, "minutes"),
        (Part::Seconds, "seconds"),
    ];

    fn of(self, time: LocalTime) -> i64 {
        let date = time.date();
        let (hour, minute, second) = time.time_of_day();
        match self {
            Part::Years => date.year().into(),
            Part::WeekYears => date.iso_week_date().year().into(),
            Part::Months => date.month().into(),
            Part::Weeks => date.iso_week_date().week().into(),
            Part::YearDays => date.day_of_year().into(),
            Part::MonthDays => date.day().into(),
            Part::WeekDays => date.weekday().to_monday_one_offset().into(),
            Part::Hours => hour,
            Part::Minutes => minute,
            Part::Seconds => second,
        }
    }

    /// The next moment at which this part is another.
    fn next(self, time: LocalTime) -> LocalTime {
        let (_, minute, second) = time.time_of_day();
        let midnight = time.midnight_of(time.date());
        match self {
            Part::Years => time.midnight_of(time.date().first_of_year()).plus_years(1),
            Part::Months => time.midnight_of(time.date().first_of_month()).plus_months(1),
            Part::WeekYears | Part::Weeks => midnight.plus_days(8 - Part::WeekDays.of(time)),
            Part::YearDays | Part::MonthDays | Part::WeekDays => midnight.plus_days(1),
            Part::Hours => time.plus_seconds(3600 - minute * 60 - second),
            Part::Minutes => time.plus_seconds(60 - second),
            Part::Seconds => time.plus_seconds(1),
        }
    }
}

/// A `<date_spec>`: the ranges in which parts of the date and time must be.
pub(super) struct DateSpecification {
    ranges: Vec<(Part, Option<i64>, Option<i64>)>,
}

impl DateSpecification {
    /// Steps that the search for the next change takes before it says "look again then".
    const STEPS: usize = 500;

    pub(super) fn read(specification: &Element) -> Option<Self> {
        let mut ranges = Vec::new();
        for (part, name) in Part::ALL {
            if let Some(text) = specification.attribute(name) {
                let (low, high) = read_range(text)?;
                ranges.push((part, low, high));
            }
        }
        Some(Self { ranges })
    }

    /// Whether a time lies in all ranges.
    pub(super) fn holds(&self, time: LocalTime) -> bool {
        self.failing(time).is_none()
    }

    /// The rarest changing part that is not in its range; none where the specification fits.
    fn failing(&self, time: LocalTime) -> Option<Part> {
        self.ranges.iter().find_map(|(part, low, high)| {
            let value = part.of(time);
            let fits = low.is_none_or(|low| low <= value) && high.is_none_or(|high| value <= high);
            (!fits).then_some(*part)
        })
    }

    /// When the answer is another, looking from part to part; or an earlier moment at which to look again, where that is far.
    pub(super) fn next_change(&self, now: LocalTime) -> Option<LocalTime> {
        let passes = self.holds(now);
        let (finest, ..) = self.ranges.last()?;
        let mut time = now;
        for _ in 0..Self::STEPS {
            let next = self.failing(time).unwrap_or(*finest).next(time);
            if next <= time {
                return None; // The end of the calendar.
            }
            time = next;
            if self.failing(time).is_none() != passes {
                return Some(time);
            }
        }
        Some(time)
    }
}

/// `5`, `1-5`, `5-`, `-5`: the ends, both inclusive.
pub(crate) fn read_range(text: &str) -> Option<(Option<i64>, Option<i64>)> {
    let whole = |text: &str| match values::integer_and_rest(text) {
        Some((number, "")) => Some(number),
        _ => None,
    };
    match text.split_once('-') {
        None => whole(text).map(|number| (Some(number), Some(number))),
        Some(("", "")) => None,
        Some((low, "")) => Some((Some(whole(low)?), None)),
        Some(("", high)) => Some((None, Some(whole(high)?))),
        Some((low, high)) => Some((Some(whole(low)?), Some(whole(high)?))),
    }
}

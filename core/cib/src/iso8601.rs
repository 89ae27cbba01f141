//! Dates, times and durations of ISO 8601, as far as Pacemaker reads them and in its way.
//!
//! A moment is a date (`2005-05-31`, `20050531`, ordinal `2005-151`, week `2005-W22-2`), optionally a time of day behind
//! `T` or a blank (`10`, `10:30`, `10:30:15`, `103015`), optionally a zone (`Z`, `+02`, `+02:00`, `-0530`). A date alone is
//! midnight in UTC; a time without a zone is in the zone of the machine, whose offset the caller gives. A time alone is
//! today's. `epoch` is 1970. What follows a complete date without being a time is passed over.
//!
//! Years go from 1 to 9999; arithmetic stops at these ends.

use hakudo_base::UnixTime;
use jiff::civil::{Date, ISOWeekDate, Weekday};
use thiserror::Error;

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{text}' is not an ISO 8601 {what}: {reason}")]
pub struct TimeError {
    text: String,
    what: &'static str,
    reason: &'static str,
}

const DAY: i64 = 86_400;

/// What a clock shows, and how far ahead of UTC it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    date: Date,
    /// Seconds since midnight, below 86,400.
    second: i64,
    /// Seconds that the clock is ahead of UTC.
    offset: i32,
}

impl LocalTime {
    /// What a clock shows at a moment that is `offset` seconds ahead of UTC.
    pub fn at(moment: UnixTime, offset: i32) -> Self {
        let shown = moment.seconds().saturating_add(i64::from(offset));
        let days = shown.div_euclid(DAY);
        Self { date: date_from_days(days), second: shown.rem_euclid(DAY), offset }
    }

    /// Reads a moment. `now` is for what the text leaves out: today's date, and the zone of the machine.
    ///
    /// # Errors
    /// Where the text is no date or time, or one that does not exist.
    pub fn parse(text: &str, now: LocalTime) -> Result<Self, TimeError> {
        Self::read(text, now).map_err(|reason| TimeError { text: text.to_owned(), what: "date and time", reason })
    }

    fn read(text: &str, now: LocalTime) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        if let Some(time) = text.strip_prefix('T').or_else(|| (text.as_bytes().get(2) == Some(&b':')).then_some(text)) {
            return Self { second: 0, ..now }.with_time(time, now.offset);
        }
        if let Some((word, rest)) = text.split_at_checked(5)
            && word.eq_ignore_ascii_case("epoch")
            && (rest.is_empty() || rest.starts_with(['/', ' ', '\t', '\n']))
        {
            return Ok(Self { date: date_from_days(0), second: 0, offset: 0 });
        }
        let midnight = Self { date: read_date(text)?, second: 0, offset: 0 };
        let behind = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-' || c == 'W');
        match behind.strip_prefix([' ', 'T']) {
            Some(time) => midnight.with_time(time, now.offset),
            None => Ok(midnight),
        }
    }

    /// This date at the time of day that the text says.
    fn with_time(self, text: &str, local_offset: i32) -> Result<Self, &'static str> {
        let second = read_time_of_day(text)?;
        let zone = text.find('Z').or_else(|| text.find([' ', '+', '-'])).map(|at| text[at..].trim_start());
        let offset = match zone {
            None => local_offset,
            Some(zone) => read_offset(zone)?,
        };
        Ok(Self { second: 0, offset, ..self }.plus_seconds(second))
    }

    /// The moment, in seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        days_of_date(self.date) * DAY + self.second - i64::from(self.offset)
    }

    /// The moment.
    pub fn moment(self) -> UnixTime {
        UnixTime::from_seconds(self.unix_seconds())
    }

    /// Seconds that the clock is ahead of UTC.
    pub fn utc_offset(self) -> i32 {
        self.offset
    }

    /// The date.
    pub fn date(self) -> Date {
        self.date
    }

    /// Hour, minute and second.
    pub fn time_of_day(self) -> (i64, i64, i64) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }

    /// The first second of another date on the same clock.
    pub fn midnight_of(self, date: Date) -> Self {
        Self { date, second: 0, ..self }
    }

    /// Later (or earlier) by so many seconds.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        let second = self.second.saturating_add(seconds);
        Self { second: second.rem_euclid(DAY), ..self.plus_days(second.div_euclid(DAY)) }
    }

    /// Later by so many days.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Self {
        Self { date: date_from_days(days_of_date(self.date).saturating_add(days)), ..self }
    }

    /// Later by so many months, on the same day of the month or on the last one where the month is shorter.
    #[must_use]
    pub fn plus_months(self, months: i64) -> Self {
        let months = i64::from(self.date.year()) * 12 + i64::from(self.date.month() - 1) + months;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let (Ok(year @ 1..=9999), Ok(month)) = (i16::try_from(year), i8::try_from(month)) else {
            return Self { date: if months > 0 { LAST_DATE } else { FIRST_DATE }, ..self };
        };
        let first = Date::constant(year, month, 1);
        let day = self.date.day().min(first.days_in_month());
        Self { date: Date::constant(year, month, day), ..self }
    }

    /// Later by so many years, on the same day of the year counted from January 1st: so Pacemaker does it, and behind a
    /// leap day that is another day of the month.
    #[must_use]
    pub fn plus_years(self, years: i64) -> Self {
        let year = (i64::from(self.date.year()).saturating_add(years)).clamp(1, 9999);
        let first = Date::constant(i16::try_from(year).unwrap_or(9999), 1, 1);
        let date = date_from_days(days_of_date(first) + i64::from(self.date.day_of_year()) - 1);
        Self { date, ..self }
    }
}

impl PartialOrd for LocalTime {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.unix_seconds().cmp(&other.unix_seconds()))
    }
}

const FIRST_DATE: Date = Date::constant(1, 1, 1);
const LAST_DATE: Date = Date::constant(9999, 12, 31);
const EPOCH: Date = Date::constant(1970, 1, 1);

/// Days since 1970-01-01.
fn days_of_date(date: Date) -> i64 {
    i64::from(EPOCH.until(date).map_or(0, |span| span.get_days()))
}

fn date_from_days(days: i64) -> Date {
    let bounded = days.clamp(days_of_date(FIRST_DATE), days_of_date(LAST_DATE));
    EPOCH.checked_add(jiff::Span::new().days(bounded)).unwrap_or(EPOCH)
}

/// The whole text as an unsigned number.
fn unsigned(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The digits at the start of a text, and what follows.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn read_date(text: &str) -> Result<Date, &'static str> {
    const NO_DATE: &str = "it starts with none of YYYY-MM-DD, YYYYMMDD, YYYY-DDD, YYYY-Www-D";
    let (first, rest) = digits(text);
    if let Some(week) = rest.strip_prefix("-W") {
        let (week, rest) = digits(week);
        let (day, _) = digits(rest.strip_prefix('-').ok_or(NO_DATE)?);
        return week_date(first, week, day).ok_or("there is no such week or day of the week");
    }
    if let Some(second) = rest.strip_prefix('-') {
        let (second, rest) = digits(second);
        let third = rest.strip_prefix('-').map(|third| digits(third).0).filter(|third| !third.is_empty());
        return match third {
            Some(third) => calendar_date(first, second, third).ok_or("there is no such month or day"),
            None => ordinal_date(first, second).ok_or("there is no such day of the year"),
        };
    }
    match (first.get(..4), first.get(4..6), first.get(6..8.min(first.len()))) {
        (Some(year), Some(month), Some(day)) => calendar_date(year, month, day).ok_or("there is no such month or day"),
        _ => Err(NO_DATE),
    }
}

fn year(text: &str) -> Option<i16> {
    unsigned(text).and_then(|year| i16::try_from(year).ok()).filter(|year| (1..=9999).contains(year))
}

fn calendar_date(y: &str, month: &str, day: &str) -> Option<Date> {
    Date::new(year(y)?, i8::try_from(unsigned(month)?).ok()?, i8::try_from(unsigned(day)?).ok()?).ok()
}

fn ordinal_date(y: &str, day: &str) -> Option<Date> {
    let first = Date::new(year(y)?, 1, 1).ok()?;
    let day = unsigned(day)?;
    let days = u32::try_from(first.days_in_year()).ok()?;
    (1..=days).contains(&day).then(|| date_from_days(days_of_date(first) + i64::from(day) - 1))
}

fn week_date(y: &str, week: &str, day: &str) -> Option<Date> {
    let weekday = Weekday::from_monday_one_offset(i8::try_from(unsigned(day)?).ok()?).ok()?;
    Some(ISOWeekDate::new(year(y)?, i8::try_from(unsigned(week)?).ok()?, weekday).ok()?.date())
}

/// Seconds since midnight; 24:00:00 is a whole day.
fn read_time_of_day(text: &str) -> Result<i64, &'static str> {
    let text = text.trim_start();
    let (first, rest) = digits(text);
    let mut parts = [0, 0, 0];
    if rest.starts_with(':') {
        let mut rest = text;
        for part in &mut parts {
            let (number, behind) = digits(rest);
            let Some(number) = unsigned(number) else { break };
            *part = number;
            match behind.strip_prefix(':') {
                Some(next) => rest = next,
                None => break,
            }
        }
    } else {
        if first.is_empty() {
            return Err("the time has no hour");
        }
        for (part, at) in parts.iter_mut().zip([0, 2, 4]) {
            *part = first.get(at..(at + 2).min(first.len())).and_then(unsigned).unwrap_or(0);
        }
    }
    match parts {
        [24, 0, 0] => Ok(DAY),
        [hour, ..] if hour > 23 => Err("there is no such hour"),
        [_, minute, _] if minute > 59 => Err("there is no such minute"),
        [_, _, second] if second > 59 => Err("there is no such second"),
        _ => Ok(parts.iter().fold(0, |seconds, part| seconds * 60 + i64::from(*part))),
    }
}

fn read_offset(zone: &str) -> Result<i32, &'static str> {
    let (sign, time) = match zone.as_bytes().first() {
        Some(b'-') => (-1, &zone[1..]),
        Some(b'+') => (1, &zone[1..]),
        Some(b'0'..=b'9') => (1, zone),
        _ => return Ok(0),
    };
    let seconds = read_time_of_day(time).map_err(|_| "there is no such zone")?;
    Ok(sign * i32::try_from(seconds).unwrap_or(0))
}

/// A length of time in the parts in which it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duration {
    /// Years.
    pub years: i64,
    /// Months.
    pub months: i64,
    /// Days, weeks counted as seven.
    pub days: i64,
    /// Seconds, minutes and hours counted in.
    pub seconds: i64,
}

impl Duration {
    /// Reads a duration such as `P1Y2M3DT4H5M6S` or `P2W`; the parts may come in any order.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        Self::read(text).map_err(|reason| TimeError { text: text.to_owned(), what: "duration", reason })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        let mut rest = text.strip_prefix('P').ok_or("it does not start with P")?;
        rest = &rest[..rest.find(|c: char| c == '/' || c.is_ascii_whitespace()).unwrap_or(rest.len())];
        let mut duration = Self::default();
        let (mut in_time, mut any) = (false, false);
        while !rest.is_empty() {
            if let Some(behind) = rest.strip_prefix('T') {
                (in_time, rest) = (true, behind);
                continue;
            }
            let number_at = rest.strip_prefix([':']).unwrap_or(rest);
            let (number, behind) = crate::values::integer_and_rest(number_at).ok_or("a number is missing")?;
            let number = i64::from(i32::try_from(number).map_err(|_| "a number is too large")?);
            let mut units = behind.chars();
            match units.next() {
                Some('Y') => duration.years = number,
                Some('M') if in_time => duration.seconds += number * 60,
                Some('M') => duration.months = number,
                Some('W') => duration.days += number * 7,
                Some('D') => duration.days += number,
                Some('H') => duration.seconds += number * 3600,
                Some('S') => duration.seconds += number,
                _ => return Err("a number has none of the units Y, M, W, D, H, S"),
            }
            any = true;
            rest = units.as_str();
        }
        if any { Ok(duration) } else { Err("there is nothing behind P") }
    }

    /// The length where it is not known from when on: a year is counted as 365 days and a month as 30.
    pub fn approximate_seconds(self) -> i64 {
        (self.years * 365 + self.months * 30 + self.days) * DAY + self.seconds
    }

    /// The moment so much later, the large parts added before the small ones.
    pub fn after(self, start: LocalTime) -> LocalTime {
        start.plus_years(self.years).plus_months(self.months).plus_days(self.days).plus_seconds(self.seconds)
    }
}

/// A start and an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period {
    /// The start.
    pub start: LocalTime,
    /// The end.
    pub end: LocalTime,
}

impl Period {
    /// Reads `START/END`, `START/DURATION`, `DURATION/END`, or a duration alone that starts now.
    ///
    /// # Errors
    /// Where the text is none of these.
    pub fn parse(text: &str, now: LocalTime) -> Result<Self, TimeError> {
        let wrong = |reason| TimeError { text: text.to_owned(), what: "period", reason };
        let (first, second) = match text.split_once('/') {
            Some((first, second)) => (first, Some(second)),
            None => (text, None),
        };
        match (first.starts_with('P'), second) {
            (true, None) => Ok(Self { start: now, end: Duration::parse(first)?.after(now) }),
            (false, None) => Err(wrong("it has no end")),
            (true, Some(second)) if second.starts_with('P') => Err(wrong("it has two durations")),
            (true, Some(second)) => {
                let (length, end) = (Duration::parse(first)?, LocalTime::parse(second, now)?);
                let back = Duration {
                    years: -length.years,
                    months: -length.months,
                    days: -length.days,
                    seconds: -length.seconds,
                };
                Ok(Self { start: back.after(end), end })
            }
            (false, Some(second)) => {
                let start = LocalTime::parse(first, now)?;
                let end = match second.starts_with('P') {
                    true => Duration::parse(second)?.after(start),
                    false => LocalTime::parse(second, now)?,
                };
                Ok(Self { start, end })
            }
        }
    }
}

/// A moment as Pacemaker prints it: `2024-03-01 10:00:00Z`, or with the offset of the clock behind it.
impl std::fmt::Display for LocalTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (hour, minute, second) = self.time_of_day();
        write!(f, "{} {hour:02}:{minute:02}:{second:02}", self.date)?;
        let minutes = self.offset.abs() / 60;
        match self.offset {
            0 => f.write_str("Z"),
            offset => write!(f, " {}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn now() -> LocalTime {
        // 2024-02-29 22:30:00 UTC, on a machine one hour ahead.
        LocalTime::at(UnixTime::from_seconds(1_709_245_800), 3600)
    }

    fn check(texts: &str, expected: Expect) {
        let show = |text: &str| match LocalTime::parse(text, now()) {
            Ok(time) => format!("{text} = {time}\n"),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&texts.split('|').map(show).collect::<String>());
    }

    #[test]
    fn moments() {
        check(
            "2005-05-31|20050531|2005-151|2005-W22-2|2009-W53-7|2020-W01-1|2005-5-1|epoch|2005-05-31T10|2005-05-31 10:30|2005-05-31T103015Z|2005-05-31 10:30:15 +02:00|2005-05-31T10:30-0530|2005-12-31T24:00:00Z|T12:00|12:00Z|2005-01-01xyz|20050531T23:59:59,7",
            expect![[r#"
                2005-05-31 = 2005-05-31 00:00:00Z
                20050531 = 2005-05-31 00:00:00Z
                2005-151 = 2005-05-31 00:00:00Z
                2005-W22-2 = 2005-05-31 00:00:00Z
                2009-W53-7 = 2010-01-03 00:00:00Z
                2020-W01-1 = 2019-12-30 00:00:00Z
                2005-5-1 = 2005-05-01 00:00:00Z
                epoch = 1970-01-01 00:00:00Z
                2005-05-31T10 = 2005-05-31 10:00:00 +01:00
                2005-05-31 10:30 = 2005-05-31 10:30:00 +01:00
                2005-05-31T103015Z = 2005-05-31 10:30:15Z
                2005-05-31 10:30:15 +02:00 = 2005-05-31 10:30:15 +02:00
                2005-05-31T10:30-0530 = 2005-05-31 10:30:00 -05:30
                2005-12-31T24:00:00Z = 2006-01-01 00:00:00Z
                T12:00 = 2024-02-29 12:00:00 +01:00
                12:00Z = 2024-02-29 12:00:00Z
                2005-01-01xyz = 2005-01-01 00:00:00Z
                20050531T23:59:59,7 = 2005-05-31 23:59:59 +01:00
            "#]],
        );
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        check(
            "|now|2005-13-01|2005-02-29|2005-366|2005-W53-1|2005-W01-8|0000-01-01|2005|200505|2005-01-01T25|2005-01-01T10:60|2005-01-01T10:00+99|2005-01-01T",
            expect![[r#"
                '' is not an ISO 8601 date and time: it is empty
                'now' is not an ISO 8601 date and time: it starts with none of YYYY-MM-DD, YYYYMMDD, YYYY-DDD, YYYY-Www-D
                '2005-13-01' is not an ISO 8601 date and time: there is no such month or day
                '2005-02-29' is not an ISO 8601 date and time: there is no such month or day
                '2005-366' is not an ISO 8601 date and time: there is no such day of the year
                '2005-W53-1' is not an ISO 8601 date and time: there is no such week or day of the week
                '2005-W01-8' is not an ISO 8601 date and time: there is no such week or day of the week
                '0000-01-01' is not an ISO 8601 date and time: there is no such month or day
                '2005' is not an ISO 8601 date and time: it starts with none of YYYY-MM-DD, YYYYMMDD, YYYY-DDD, YYYY-Www-D
                '200505' is not an ISO 8601 date and time: there is no such month or day
                '2005-01-01T25' is not an ISO 8601 date and time: there is no such hour
                '2005-01-01T10:60' is not an ISO 8601 date and time: there is no such minute
                '2005-01-01T10:00+99' is not an ISO 8601 date and time: there is no such zone
                '2005-01-01T' is not an ISO 8601 date and time: the time has no hour
            "#]],
        );
    }

    #[test]
    fn durations_are_added_large_parts_first() {
        let show = |text: &str| match Period::parse(text, now()) {
            Ok(period) => format!("{text}: {} to {}\n", period.start, period.end),
            Err(error) => format!("{error}\n"),
        };
        let texts = "2024-01-31/P1M|2023-01-31/P1M1D|2024-01-01/P2W|2024-02-29/P1Y|2024-01-01T00:00Z/PT36H|P1D/2024-03-01|PT10M|2024-01-01/2024-02-01|P1D/P1D|2024-01-01|2024-01-01/P|2024-01-01/P99999Y";
        expect![[r#"
            2024-01-31/P1M: 2024-01-31 00:00:00Z to 2024-02-29 00:00:00Z
            2023-01-31/P1M1D: 2023-01-31 00:00:00Z to 2023-03-01 00:00:00Z
            2024-01-01/P2W: 2024-01-01 00:00:00Z to 2024-01-15 00:00:00Z
            2024-02-29/P1Y: 2024-02-29 00:00:00Z to 2025-03-01 00:00:00Z
            2024-01-01T00:00Z/PT36H: 2024-01-01 00:00:00Z to 2024-01-02 12:00:00Z
            P1D/2024-03-01: 2024-02-29 00:00:00Z to 2024-03-01 00:00:00Z
            PT10M: 2024-02-29 23:30:00 +01:00 to 2024-02-29 23:40:00 +01:00
            2024-01-01/2024-02-01: 2024-01-01 00:00:00Z to 2024-02-01 00:00:00Z
            'P1D/P1D' is not an ISO 8601 period: it has two durations
            '2024-01-01' is not an ISO 8601 period: it has no end
            'P' is not an ISO 8601 duration: there is nothing behind P
            2024-01-01/P99999Y: 2024-01-01 00:00:00Z to 9999-01-01 00:00:00Z
        "#]]
        .assert_eq(&texts.split('|').map(show).collect::<String>());
    }

    proptest! {
        #[test]
        fn a_moment_is_read_back(seconds in -60_000_000_000i64..250_000_000_000, minutes in -720..720i32) {
            let time = LocalTime::at(UnixTime::from_seconds(seconds), minutes * 60);
            prop_assert_eq!(time.unix_seconds(), seconds);
            prop_assert_eq!(LocalTime::parse(&time.to_string(), now()).unwrap(), time);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZWPYMDHS:/+. é-]{0,24}", years in any::<i32>()) {
            if let Ok(time) = LocalTime::parse(&text, now()) {
                let _ = time.plus_years(years.into()).plus_months(years.into()).plus_days(years.into());
            }
            let _ = Period::parse(&text, now());
        }
    }
}

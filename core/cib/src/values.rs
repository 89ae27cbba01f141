//! What attribute values mean: scores, truth, lengths of time, numbers, versions.
//!
//! These read as Pacemaker 3.0 reads, which is lenient: a number ends where its digits end, whatever follows. Whether a
//! configuration should be written so is the validator's matter.

use crate::iso8601::Duration;
use hakudo_base::UnixTime;
use std::cmp::Ordering;

/// The score that is "always", and its negative "never" (Pacemaker Explained: Scores).
pub const INFINITY: i32 = 1_000_000;

/// The whole number at the start of a text, as C's `strtoll` finds it: white space and a sign may come before the digits.
/// What is too large ends at the ends of the range. Nothing where there is no digit.
pub fn integer(text: &str) -> Option<i64> {
    integer_and_rest(text).map(|(number, _)| number)
}

/// [`integer`], and what follows the digits.
pub(crate) fn integer_and_rest(text: &str) -> Option<(i64, &str)> {
    let text = text.trim_start_matches(is_c_space);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let magnitude = digits[..end].bytes().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let shifted = number.checked_mul(10)?;
        if negative { shifted.checked_sub(digit) } else { shifted.checked_add(digit) }
    });
    Some((magnitude.unwrap_or(if negative { i64::MIN } else { i64::MAX }), &digits[end..]))
}

fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The floating-point number at the start of a text.
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim_start_matches(is_c_space);
    // The longest start that is a number: few characters can be part of one.
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(text.len());
    (1..=end.min(400)).rev().find_map(|end| text[..end].parse().ok())
}

/// A score: a whole number or `INFINITY`, `+INFINITY`, `-INFINITY`, kept within ±[`INFINITY`].
pub fn score(text: &str) -> Option<i32> {
    match text {
        "INFINITY" | "+INFINITY" => Some(INFINITY),
        "-INFINITY" => Some(-INFINITY),
        _ => {
            let clipped = integer(text)?.clamp(i64::from(-INFINITY), i64::from(INFINITY));
            i32::try_from(clipped).ok()
        }
    }
}

/// The sum of two scores: minus infinity wins over infinity, and both over all others (Pacemaker Explained: Infinity math).
pub fn add_scores(a: i32, b: i32) -> i32 {
    if a <= -INFINITY || b <= -INFINITY {
        -INFINITY
    } else if a >= INFINITY || b >= INFINITY {
        INFINITY
    } else {
        (a + b).clamp(-INFINITY, INFINITY)
    }
}

/// A score as people write it.
pub fn score_text(score: i32) -> String {
    match score {
        INFINITY.. => "INFINITY".to_owned(),
        ..=-1_000_000 => "-INFINITY".to_owned(),
        _ => score.to_string(),
    }
}

/// Truth: `true`, `on`, `yes`, `y`, `1` or `false`, `off`, `no`, `n`, `0`, in any case of letters.
pub fn boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "on", "yes", "y", "1"]) {
        Some(true)
    } else if is_one_of(["false", "off", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// A length of time in milliseconds: a number with a unit (`ms`, `msec`, `us`, `usec`, `s`, `sec`, `m`, `min`, `h`, `hr`;
/// seconds where none is given), or an ISO 8601 duration as `PT10S`. Fractions are cut off (`1.5s` is one second); a
/// negative time is none. Longer than 2³²-1 ms is that (about 50 days), as for Pacemaker.
pub fn milliseconds(text: &str) -> Option<u64> {
    const LONGEST: i64 = u32::MAX as i64;
    let milliseconds = if text.starts_with('P') {
        Duration::parse(text).ok()?.approximate_seconds().saturating_mul(1000)
    } else {
        signed_milliseconds(text)?
    };
    u64::try_from(milliseconds.min(LONGEST)).ok()
}

/// As [`milliseconds`] without ISO 8601 durations, and it may be negative and longer.
pub fn signed_milliseconds(text: &str) -> Option<i64> {
    let (number, rest) = integer_and_rest(text)?;
    let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start_matches(is_c_space);
    let unit = unit.to_ascii_lowercase();
    // Only the start of the unit counts: "10 seconds" and "2 minutes" are understood so.
    let (factor, divisor) = match unit.as_bytes() {
        [] | [b's', ..] => (1000, 1),
        [b'm', b's', ..] => (1, 1),
        [b'u', b's', ..] => (1, 1000),
        [b'm', ..] => (60_000, 1),
        [b'h', ..] => (3_600_000, 1),
        _ => return None,
    };
    Some(number.saturating_mul(factor) / divisor)
}

/// A percentage: a whole number from 0 with `%` behind it.
pub fn percentage(text: &str) -> Option<u32> {
    text.trim().strip_suffix('%')?.trim_end().parse().ok()
}

/// Compares versions such as `3.0.14` part by part as numbers. What follows the last number does not count, and a missing
/// part is 0.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (a, b) = (version_parts(a), version_parts(b));
    (0..a.len().max(b.len()))
        .map(|i| a.get(i).unwrap_or(&0).cmp(b.get(i).unwrap_or(&0)))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn version_parts(text: &str) -> Vec<i64> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_c_space);
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let Some((number, behind)) = integer_and_rest(rest) else { break };
        parts.push(number);
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None => break,
        }
    }
    parts
}

/// A moment as `cib-last-written` holds it, in UTC: `Sat Nov 21 02:27:19 2026`.
pub fn last_written(time: UnixTime) -> String {
    jiff::Timestamp::from_second(time.seconds())
        .map(|moment| moment.strftime("%a %b %e %H:%M:%S %Y").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    use expect_test::{Expect, expect};
    use std::fmt::Debug;

    #[test]
    fn a_moment_is_written_as_pacemaker_does() {
        assert_eq!(last_written(UnixTime::from_seconds(1_795_228_039)), "Sat Nov 21 02:27:19 2026");
    }

    fn check<T: Debug>(read: fn(&str) -> Option<T>, texts: &str, expected: Expect) {
        let show = |text: &str| read(text).map_or_else(|| format!("{text:?} no\n"), |v| format!("{text:?} {v:?}\n"));
        expected.assert_eq(&texts.split('|').map(show).collect::<String>());
    }

    #[test]
    fn scores() {
        check(
            score,
            "INFINITY|+INFINITY|-INFINITY|infinity|5|-7|+3|2000000|-99999999999999999999|12x||x",
            expect![[r#"
                "INFINITY" 1000000
                "+INFINITY" 1000000
                "-INFINITY" -1000000
                "infinity" no
                "5" 5
                "-7" -7
                "+3" 3
                "2000000" 1000000
                "-99999999999999999999" -1000000
                "12x" 12
                "" no
                "x" no
            "#]],
        );
        assert_eq!(add_scores(INFINITY, -INFINITY), -INFINITY);
        assert_eq!(add_scores(INFINITY, -5), INFINITY);
        assert_eq!(add_scores(-999_999, -5), -INFINITY);
        assert_eq!(score_text(add_scores(999_999, 1)), "INFINITY");
        assert_eq!(score_text(-1_000_000), "-INFINITY");
        assert_eq!(score_text(-3), "-3");
    }

    #[test]
    fn lengths_of_time() {
        check(
            milliseconds,
            "10|10s|500ms|1h|PT10S|2 min|1.5s|300us|1500usec|2msec|7 seconds|3 fortnights|-5s|P1D|P1DT1H|PT|P1X|100d|99999999h|",
            expect![[r#"
                "10" 10000
                "10s" 10000
                "500ms" 500
                "1h" 3600000
                "PT10S" 10000
                "2 min" 120000
                "1.5s" 1000
                "300us" 0
                "1500usec" 1
                "2msec" 2
                "7 seconds" 7000
                "3 fortnights" no
                "-5s" no
                "P1D" 86400000
                "P1DT1H" 90000000
                "PT" no
                "P1X" no
                "100d" no
                "99999999h" 4294967295
                "" no
            "#]],
        );
    }

    #[test]
    fn truth_and_numbers() {
        check(
            boolean,
            "true|YES|y|On|1|false|off|N|no|0|2|",
            expect![[r#"
                "true" true
                "YES" true
                "y" true
                "On" true
                "1" true
                "false" false
                "off" false
                "N" false
                "no" false
                "0" false
                "2" no
                "" no
            "#]],
        );
        check(
            number,
            "1.5|-2e3x|.5|e|7|1e|+3.|",
            expect![[r#"
                "1.5" 1.5
                "-2e3x" -2000.0
                ".5" 0.5
                "e" no
                "7" 7.0
                "1e" 1.0
                "+3." 3.0
                "" no
            "#]],
        );
        check(
            percentage,
            "80%|0%|-3%|80| 5 %",
            expect![[r#"
                "80%" 80
                "0%" 0
                "-3%" no
                "80" no
                " 5 %" 5
            "#]],
        );
    }

    #[test]
    fn versions() {
        let compare = |a, b| compare_versions(a, b) as i8;
        assert_eq!(compare("3.0.14", "3.0.9"), 1);
        assert_eq!(compare("1.0", "1"), 0);
        assert_eq!(compare(" 1.2-rc1", "1.2"), 0);
        assert_eq!(compare("1.2.", "1.2.1"), -1);
        assert_eq!(compare("x", "0.1"), -1);
    }
}

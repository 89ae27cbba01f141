//! Values as the configuration writes them.

use crate::model::{HealthScores, Score};

/// `true`, `on`, `yes`, `y`, `1`, or their opposites, in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "on", "yes", "y", "1"]) {
        Some(true)
    } else if is(&["false", "off", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// True only for a word that means true.
pub(crate) fn is_true(text: Option<&str>) -> bool {
    text.and_then(boolean) == Some(true)
}

/// The integer that a text begins with, as C's `strtoll` reads it; what follows it is ignored.
pub(crate) fn integer(text: &str) -> Option<i64> {
    leading_integer(text).map(|(number, _)| number)
}

fn leading_integer(text: &str) -> Option<(i64, &str)> {
    let trimmed = text.trim_start();
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let end = digits.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let magnitude =
        digits[..end].bytes().fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some((if negative { magnitude.saturating_neg() } else { magnitude }, &digits[end..]))
}

/// An integer of 32 bits that is at least `minimum`; smaller ones are raised to it.
pub(crate) fn integer_from(text: &str, minimum: i32) -> Option<i32> {
    let value = integer(text)?;
    let value = i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX });
    Some(value.max(minimum))
}

/// A duration in milliseconds: a number with a unit (`ms`, `us`, `s`, `min`, `h`; seconds without one).
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    let (number, rest) = leading_integer(text)?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let unit = rest.to_ascii_lowercase();
    let (multiplier, divisor) = if unit.is_empty() || unit.starts_with('s') {
        (1000, 1)
    } else if unit.starts_with("ms") {
        (1, 1)
    } else if unit.starts_with("us") {
        (1, 1000)
    } else if unit.starts_with('m') {
        (60_000, 1)
    } else if unit.starts_with('h') {
        (3_600_000, 1)
    } else {
        return None;
    };
    Some(number.saturating_mul(multiplier) / divisor)
}

/// An interval in milliseconds: a duration, or an ISO 8601 duration (`PT1M`). Nothing for what cannot be one.
pub(crate) fn interval(text: &str) -> Option<u64> {
    let value = if text.starts_with('P') { iso_duration(text)?.saturating_mul(1000) } else { milliseconds(text)? };
    u64::try_from(value).ok().map(|ms| ms.min(u64::from(u32::MAX)))
}

/// The seconds of an ISO 8601 duration, a year of 365 days and a month of 30.
fn iso_duration(text: &str) -> Option<i64> {
    let mut rest = text.strip_prefix('P')?;
    let (mut seconds, mut in_time, mut any) = (0i64, false, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (rest, in_time) = (after, true);
            continue;
        }
        let (number, after) = leading_integer(rest)?;
        let unit = after.chars().next()?;
        let scale = match (unit, in_time) {
            ('Y', false) => 365 * 86_400,
            ('M', false) => 30 * 86_400,
            ('W', _) => 7 * 86_400,
            ('D', _) => 86_400,
            ('H', _) => 3_600,
            ('M', true) => 60,
            ('S', _) => 1,
            _ => return None,
        };
        seconds = seconds.saturating_add(number.saturating_mul(scale));
        rest = &after[unit.len_utf8()..];
        any = true;
    }
    any.then_some(seconds)
}

/// A score: an integer, `INFINITY` and its opposites, or the colour of a node's health.
pub(crate) fn score(text: &str, colours: &HealthScores) -> Option<Score> {
    Some(match text {
        "INFINITY" | "+INFINITY" => Score::INFINITY,
        "-INFINITY" => Score::MINUS_INFINITY,
        _ if text.eq_ignore_ascii_case("red") => colours.red,
        _ if text.eq_ignore_ascii_case("yellow") => colours.yellow,
        _ if text.eq_ignore_ascii_case("green") => colours.green,
        _ => {
            let value = integer(text)?;
            let bound = i64::from(Score::INFINITY.0);
            Score(i32::try_from(value.clamp(-bound, bound)).unwrap_or_default())
        }
    })
}

/// Names in the order in which people count: digits as numbers, letters without case.
pub(crate) fn compare_names(a: &str, b: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(&x), Some(&y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let take = |text: &[u8]| text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
            let (m, n) = (take(a), take(b));
            let number = |text: &[u8]| {
                text.iter().fold(0i64, |sum, c| sum.saturating_mul(10).saturating_add(i64::from(c - b'0')))
            };
            let order = number(&a[..m]).cmp(&number(&b[..n])).then(m.cmp(&n));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[m..], &b[n..]);
        } else {
            let order = x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase());
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[1..], &b[1..]);
        }
    }
    a.len().min(1).cmp(&b.len().min(1))
}

/// Versions compared number by number (`3.16.0` after `3.9`).
pub(crate) fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    let numbers = |text: &str| text.split('.').map(|part| integer(part).unwrap_or(0)).collect::<Vec<_>>();
    let (mut a, mut b) = (numbers(a), numbers(b));
    let longest = a.len().max(b.len());
    a.resize(longest, 0);
    b.resize(longest, 0);
    a.cmp(&b)
}

/// The name of an instance without its number: `web` of `web:12`.
pub(crate) fn without_instance(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((base, number)) if !base.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => id,
    }
}

/// A stable merge sort that makes something of any comparison, also of one that contradicts itself (as histories with
/// forged numbers make possible), where the standard library's may panic.
pub(crate) fn sort_with<T: Clone>(items: &mut Vec<T>, compare: &mut dyn FnMut(&T, &T) -> std::cmp::Ordering) {
    if items.len() < 2 {
        return;
    }
    let mut right = items.split_off(items.len() / 2);
    sort_with(items, compare);
    sort_with(&mut right, compare);
    let left = std::mem::take(items);
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let take_left = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => compare(l, r) != std::cmp::Ordering::Greater,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        items.extend(if take_left { left.next() } else { right.next() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn durations() {
        for (text, expected) in
            [("10", 10_000), ("10s", 10_000), ("33ms", 33), ("2min", 120_000), ("1h", 3_600_000), ("PT1M", 60_000)]
        {
            assert_eq!(interval(text), Some(expected), "{text}");
        }
        assert_eq!(interval("soon"), None);
        assert_eq!(interval("-5"), None);
    }

    #[test]
    fn names_count_like_people() {
        assert_eq!(compare_names("node2", "node10"), Ordering::Less);
        assert_eq!(compare_names("Node1", "node1"), Ordering::Equal);
        assert_eq!(compare_names("node1", "node1a"), Ordering::Less);
        assert_eq!(without_instance("web:12"), "web");
        assert_eq!(without_instance("web:x"), "web:x");
        assert_eq!(compare_versions("3.16.0", "3.9"), Ordering::Greater);
    }

    #[test]
    fn sorting_survives_contradictions() {
        let mut items = vec![3, 1, 2, 5, 4];
        sort_with(&mut items, &mut |_, _| Ordering::Greater);
        assert_eq!(items.len(), 5);
        let mut items = vec![(1, 'b'), (0, 'x'), (1, 'a')];
        sort_with(&mut items, &mut |x, y| x.0.cmp(&y.0));
        assert_eq!(items, [(0, 'x'), (1, 'b'), (1, 'a')]);
    }
}

//! Words and orders that all renderers share.

use std::cmp::Ordering;

pub use hakudo_base::words::{execution_status, exit_code};

/// Milliseconds as people say them: `1m30s`, `1.500s`, `250ms`.
pub fn interval(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    let mut rest = milliseconds;
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m")] {
        if rest >= unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if rest >= 1000 {
        text.push_str(&(rest / 1000).to_string());
        if !rest.is_multiple_of(1000) {
            text.push_str(&format!(".{:03}", rest % 1000));
        }
        text.push('s');
    } else if rest > 0 {
        text.push_str(&format!("{rest}ms"));
    }
    text
}

/// The order of names in lists: numbers in them by value, letters without regard to case.
pub fn by_name(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        if left[i].is_ascii_digit() && right[j].is_ascii_digit() {
            let (end_i, end_j) = (digits_end(left, i), digits_end(right, j));
            let (number_i, number_j) = (significant(&left[i..end_i]), significant(&right[j..end_j]));
            let order = number_i
                .len()
                .cmp(&number_j.len())
                .then_with(|| number_i.cmp(number_j))
                .then_with(|| (end_i - i).cmp(&(end_j - j)));
            if order != Ordering::Equal {
                return order;
            }
            (i, j) = (end_i, end_j);
        } else {
            let order = left[i].to_ascii_lowercase().cmp(&right[j].to_ascii_lowercase());
            if order != Ordering::Equal {
                return order;
            }
            (i, j) = (i + 1, j + 1);
        }
    }
    (left.len() - i).min(1).cmp(&(right.len() - j).min(1))
}

fn digits_end(text: &[u8], from: usize) -> usize {
    text[from..].iter().position(|b| !b.is_ascii_digit()).map_or(text.len(), |n| from + n)
}

fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    &digits[zeros..]
}

/// A score as people write it.
pub fn score(score: i32) -> String {
    match score {
        i32::MIN..=-1_000_000 => "-INFINITY".to_owned(),
        1_000_000..=i32::MAX => "INFINITY".to_owned(),
        _ => score.to_string(),
    }
}

/// A truth value in XML.
pub(crate) fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// `s` unless there is one.
pub(crate) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A moment as the tools print it, `Thu Jan  1 00:00:00 1970`.
pub fn moment(seconds: i64, zone: &jiff::tz::TimeZone) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(timestamp) => timestamp.to_zoned(zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_as_people_say_them() {
        for (milliseconds, text) in
            [(0, "0s"), (250, "250ms"), (10_000, "10s"), (1500, "1.500s"), (90_000, "1m30s"), (86_400_000, "1d")]
        {
            assert_eq!(interval(milliseconds), text);
        }
    }

    #[test]
    fn names_are_ordered_by_the_numbers_in_them() {
        let mut names = ["node10", "Node2", "node1", "node02", "nod", "node"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["nod", "node", "node1", "Node2", "node02", "node10"]);
    }

    #[test]
    fn moments_are_printed_like_ctime() {
        assert_eq!(moment(0, &jiff::tz::TimeZone::UTC), "Thu Jan  1 00:00:00 1970");
    }
}

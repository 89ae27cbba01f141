//! Words and orders that all renderers share.

use std::cmp::Ordering;

/// What an exit code of an agent means, in the words of Pacemaker's tools.
pub fn exit_code(code: i32) -> &'static str {
    match code {
        0 => "OK",
        1 => "Error occurred",
        2 => "Invalid parameter",
        3 => "Unimplemented",
        4 => "Insufficient privileges",
        5 => "Not installed",
        6 => "Not configured",
        7 => "Not running",
        8 => "Promoted",
        9 => "Failed in promoted role",
        64 => "Incorrect usage",
        65 => "Invalid data given",
        66 => "Input file not available",
        67 => "User does not exist",
        68 => "Host does not exist",
        69 => "Necessary service unavailable",
        70 => "Internal software bug",
        71 => "Operating system error occurred",
        72 => "System file not available",
        73 => "Cannot create output file",
        74 => "I/O error occurred",
        75 => "Temporary failure, try again",
        76 => "Protocol violated",
        77 => "Insufficient privileges",
        78 => "Invalid configuration",
        100 => "Fatal error occurred, will not respawn",
        101 => "System panic required",
        102 => "Not connected",
        103 => "Update was older than existing configuration",
        104 => "Digest mismatch",
        105 => "No such object",
        106 => "Quorum required",
        107 => "Operation not safe",
        108 => "Requested item already exists",
        109 => "Multiple items match request",
        110 => "Requested item has expired",
        111 => "Requested item is not yet in effect",
        112 => "Could not determine status",
        113 => "Not applicable under current conditions",
        114 => "DC is not yet elected",
        124 => "Timeout occurred",
        190 => "Service is active but might fail soon",
        191 => "Service is promoted but might fail soon",
        193 => "No exit status available",
        129..=254 => "Interrupted by signal",
        255 => "Error occurred",
        _ => "Unknown exit status",
    }
}

/// How the run of an agent ended (`op-status`), in the words of Pacemaker's tools.
pub fn execution_status(status: i32) -> &'static str {
    match status {
        -1 => "Pending",
        0 => "Done",
        1 => "Cancelled",
        2 => "Timed out",
        3 => "Unsupported",
        4 => "Error",
        5 => "Hard error",
        6 => "Fatal error",
        7 => "Not installed",
        8 => "Internal communication failure",
        9 => "Cannot execute now",
        10 => "No fence device",
        11 => "CIB secrets unavailable",
        _ => "Unrecognized status",
    }
}

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

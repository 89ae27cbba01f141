//! The record that the benchmark's resource agent writes: who did what when.

use super::site::SHARED;
use anyhow::Result;
use std::fs;

/// One line of the record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Seconds since 1970.
    pub(super) time: f64,
    /// The node's number.
    pub(super) node: usize,
    /// The resource.
    pub(super) resource: String,
    /// `start` or `stop`.
    pub(super) what: String,
}

/// All entries since `since` (seconds since 1970), in the order in which they were written.
pub(super) fn read(since: f64) -> Result<Vec<Entry>> {
    let text = match fs::read_to_string(format!("{SHARED}/record")) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(text.lines().filter_map(parse).filter(|entry| entry.time >= since).collect())
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    Some(Entry {
        time: words.next()?.parse().ok()?,
        node: words.next()?.strip_prefix('n')?.parse().ok()?,
        resource: words.next()?.to_owned(),
        what: words.next()?.to_owned(),
    })
}

/// Where a resource runs, by the record: the node of its last start.
pub(super) fn place(resource: &str) -> Result<Option<usize>> {
    Ok(read(0.0)?.iter().rev().find(|e| e.resource == resource && e.what == "start").map(|e| e.node))
}

/// Now, in seconds since 1970.
pub(super) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let entry = parse("1700000000.250000 n2 r1 start").unwrap();
        assert_eq!((entry.node, entry.resource.as_str(), entry.what.as_str()), (2, "r1", "start"));
        assert_eq!(parse("half a li"), None);
    }
}

//! The record that the benchmark's resource agent writes: who did what when.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// One line of the record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Seconds since 1970.
    pub(super) time: f64,
    /// The node's number.
    pub(super) node: usize,
    /// The resource.
    pub(super) resource: String,
    /// `start`, `stop` or `monitor`.
    pub(super) what: String,
}

/// The record of one site. What was read once is not read again: a look costs next to nothing.
pub(super) struct Record {
    file: PathBuf,
    read: RefCell<(u64, Vec<Entry>)>,
}

impl Record {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, read: RefCell::default() }
    }

    fn read_on(&self) {
        let (read, entries) = &mut *self.read.borrow_mut();
        let Ok(mut file) = File::open(&self.file) else { return };
        let mut text = String::new();
        if file.seek(SeekFrom::Start(*read)).is_err() || file.read_to_string(&mut text).is_err() {
            return;
        }
        // A line that is being written is read next time.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        *read += whole as u64;
        entries.extend(text[..whole].lines().filter_map(parse));
    }

    /// All entries since `since` (seconds since 1970), in the order in which they were written.
    pub(super) fn since(&self, since: f64) -> Vec<Entry> {
        self.read_on();
        // Agents that run at once may write in another order than that of their times, but not by much.
        let (_, entries) = &*self.read.borrow();
        let old = entries.iter().rposition(|entry| entry.time < since - 5.0).map_or(0, |at| at + 1);
        entries[old..].iter().filter(|entry| entry.time >= since).cloned().collect()
    }

    /// Where a resource runs: the node of its last start.
    pub(super) fn place(&self, resource: &str) -> Option<usize> {
        self.since(0.0).iter().rev().find(|e| e.resource == resource && e.what == "start").map(|e| e.node)
    }

    /// The first start of a resource after `since` on a node that `fits`.
    pub(super) fn start_of(&self, resource: &str, since: f64, fits: impl Fn(usize) -> bool) -> Option<f64> {
        let starts = self.since(since).into_iter();
        starts.filter(|e| e.what == "start" && e.resource == resource && fits(e.node)).map(|e| e.time).next()
    }
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

/// Now, in seconds since 1970.
pub(super) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

//! The events of a node, kept on disk and bounded in number, for `hakudo events`.

use anyhow::{Context, Result};
use hakudo_controller::request::Event;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::path::Path;

/// Events by their number, as JSON.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// So many events are kept.
const KEPT: u64 = 20_000;

/// The events of a node.
pub(crate) struct History {
    database: Database,
    next: u64,
}

impl History {
    /// Opens the file, or makes it. A damaged file is moved aside: history must never keep a node from starting.
    ///
    /// # Errors
    /// Where not even a new file can be made.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let database = Self::open_database(file).or_else(|error| {
            tracing::warn!("history {} cannot be used ({error:#}): begun anew", file.display());
            std::fs::rename(file, file.with_extension("damaged")).ok();
            Self::open_database(file)
        })?;
        let next = {
            let read = database.begin_read()?;
            let events = read.open_table(EVENTS)?;
            events.last()?.map_or(1, |(number, _)| number.value() + 1)
        };
        Ok(Self { database, next })
    }

    fn open_database(file: &Path) -> Result<Database> {
        let mut builder = Database::builder();
        builder.set_cache_size(1024 * 1024);
        let database = builder.create(file).with_context(|| format!("cannot open {}", file.display()))?;
        let write = database.begin_write()?;
        write.open_table(EVENTS)?;
        write.commit()?;
        Ok(database)
    }

    /// Writes events, giving them their numbers. Not synced: after a power loss the newest may be missing.
    ///
    /// # Errors
    /// Where the disk refuses; the events are then lost, and their numbers not used.
    pub(crate) fn append(&mut self, events: &mut [Event]) -> Result<()> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        let mut next = self.next;
        {
            let mut table = write.open_table(EVENTS)?;
            for event in events.iter_mut() {
                event.number = next;
                table.insert(next, serde_json::to_vec(event)?.as_slice())?;
                next += 1;
            }
            while table.len()? > KEPT {
                table.pop_first()?;
            }
        }
        write.commit()?;
        self.next = next;
        Ok(())
    }

    /// Makes all of it durable.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        write.commit()?;
        Ok(())
    }

    /// Events with a number greater than `after`: the newest `limit` of them, oldest first.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(crate) fn read(&self, after: u64, limit: u32) -> Result<Vec<Event>> {
        let read = self.database.begin_read()?;
        let table = read.open_table(EVENTS)?;
        let mut events = Vec::new();
        for entry in table.range(after.saturating_add(1)..)?.rev().take(limit as usize) {
            let (_, value) = entry?;
            events.push(serde_json::from_slice(value.value())?);
        }
        events.reverse();
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hakudo_base::Severity;

    fn event(text: &str) -> Event {
        Event {
            number: 0,
            time_ms: 1,
            severity: Severity::Info,
            kind: "plan".into(),
            node: None,
            resource: None,
            took_ms: None,
            text: text.into(),
        }
    }

    #[test]
    fn numbers_go_on_after_a_restart() {
        let file = std::env::temp_dir().join(format!("hakudo-history-{}", std::process::id()));
        let mut history = History::open(&file).unwrap();
        history.append(&mut [event("one"), event("two")]).unwrap();
        history.sync().unwrap();
        drop(history);
        let mut history = History::open(&file).unwrap();
        history.append(&mut [event("three")]).unwrap();
        let read: Vec<(u64, String)> = history.read(1, 10).unwrap().into_iter().map(|e| (e.number, e.text)).collect();
        assert_eq!(read, [(2, "two".into()), (3, "three".into())]);
        assert_eq!(history.read(0, 1).unwrap()[0].text, "three");
        drop(history);
        std::fs::remove_file(file).unwrap();
    }
}

//! A world for tests, and commands run in it.

use crate::world::World;
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What was written, readable while the world that writes it lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Rc<RefCell<Vec<u8>>>);

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A world without cluster, in UTC, on 2026-01-01; and what is written in it, output and errors together.
pub(crate) fn world() -> (World, Written) {
    let written = Written::default();
    let world = World {
        out: Box::new(written.clone()),
        err: Box::new(written.clone()),
        terminal: false,
        cib_file: None,
        socket: PathBuf::from("/nonexistent/node.sock"),
        zone: jiff::tz::TimeZone::UTC,
        now: 1_767_225_600,
    };
    (world, written)
}

/// Runs `hakudo` with these words; the exit code in the last line unless it is 0.
pub(crate) fn hakudo(words: &[&str]) -> String {
    let (mut world, written) = world();
    let arguments = std::iter::once("hakudo").chain(words.iter().copied()).map(OsString::from).collect();
    let exit = crate::run(arguments, &mut world);
    let mut text = written.text();
    if exit.0 != 0 {
        text.push_str(&format!("[exit {}]\n", exit.0));
    }
    text
}

/// A file that goes away with this value.
#[derive(Debug)]
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn new(text: &str) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hakudo-test-{}-{number}.xml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

//! A world for tests, and commands run in it.

use crate::world::World;
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
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

//! A folder that only this user can look into, for what is secret and must stand in a file for a while.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder. It goes away with this value, unless it is kept.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: Option<PathBuf>,
}

impl Scratch {
    /// A new folder with a name that nobody can guess. It is never one that was there: somebody else may have put it there.
    pub(crate) fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        let filled = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        if filled < random.len() {
            return Err(io::Error::other("the kernel gives no random bytes"));
        }
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = std::env::temp_dir().join(format!("hakudo-{name}"));
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { folder: Some(folder) })
    }

    /// Writes a new file in it, and says where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let file = self.folder.as_deref().unwrap_or(Path::new("")).join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?.write_all(text.as_bytes())?;
        Ok(file)
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(mut self) {
        self.folder = None;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Nothing more can be done about it here.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

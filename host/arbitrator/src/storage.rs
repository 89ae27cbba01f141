//! One file: what the member must not forget. It is written beside its place, synced, renamed, and its folder synced, so
//! that after a loss of power there is the old state or the new one, whole.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(crate) struct Storage {
    folder: PathBuf,
    /// The name of the file: a member has one memory for each protocol.
    name: &'static str,
    /// Held as long as the process lives: two arbitrators with one memory would promise everything twice.
    _lock: File,
}

impl Storage {
    pub(crate) fn open(folder: &Path, name: &'static str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = folder.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&lock);
        let file = file.with_context(|| format!("cannot open {}", lock.display()))?;
        file.try_lock().with_context(|| format!("another arbitrator runs already: it holds {}", lock.display()))?;
        Ok(Self { folder: folder.to_owned(), name, _lock: file })
    }

    /// The file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// What was stored last. A file that is there and cannot be read stops the start: to begin without it would be to
    /// forget what was promised.
    pub(crate) fn load(&self) -> Result<Option<Vec<u8>>> {
        let file = self.file();
        match fs::read(&file) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    pub(crate) fn store(&self, state: &[u8]) -> Result<()> {
        let (file, beside) = (self.file(), self.folder.join(format!("{}.new", self.name)));
        let write = || -> std::io::Result<()> {
            let mut new = File::create(&beside)?;
            new.write_all(state)?;
            new.sync_all()?;
            fs::rename(&beside, &file)?;
            File::open(&self.folder)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}

//! The file in which a boothd says that it runs (`booth status` reads it), locked as long as it does.

use anyhow::{Context, Result, bail};
use hakudo_link::setup::{Setup, Wire};
use hakudo_tickets::booth::config::Kind;
use hakudo_tickets::booth::text::{self, Daemon};
use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file of a process that runs. It goes when it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
    daemon: Daemon,
}

impl PidFile {
    pub(crate) fn write(path: &Path, setup: &Setup) -> Result<Self> {
        let Wire::Booth(booth, _) = &setup.wire else { bail!("only in booth's protocol there is a lock file") };
        let cannot = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(cannot)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path).with_context(cannot)?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("another boothd holds {}", path.display()))?;
        let is_site = setup.group.is_site(setup.local);
        let daemon = Daemon {
            pid: std::process::id(),
            started: false,
            kind: if is_site { Kind::Site } else { Kind::Arbitrator }.word(),
            name: setup.group.name.clone(),
            id: setup.local.0,
            address: booth.local.to_string(),
            port: booth.file.port,
        };
        let mut pid_file = Self { path: path.to_owned(), file, daemon };
        pid_file.say().with_context(cannot)?;
        Ok(pid_file)
    }

    /// It serves.
    pub(crate) fn started(&mut self) -> Result<()> {
        self.daemon.started = true;
        self.say().with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn say(&mut self) -> std::io::Result<()> {
        use std::io::Seek;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text::pid_file(&self.daemon).as_bytes())
    }

    /// What a process that runs said in the file at `path`; none where none runs.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn read(path: &Path) -> std::io::Result<Option<String>> {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Nobody holds it; the lock goes with the file.
            Ok(()) => Ok(None),
            Err(error) if error == rustix::io::Errno::AGAIN || error == rustix::io::Errno::ACCESS => {
                fs::read_to_string(path).map(Some)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A file that stays says nothing without its lock.
        let _ = fs::remove_file(&self.path);
    }
}

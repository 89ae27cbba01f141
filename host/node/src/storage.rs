//! The disk of a node: its configuration, what membership must not forget, and configurations that lost a merge.
//!
//! A file is written beside its place, synced, renamed, and its folder synced: after a power loss there is the old file
//! or the new one, whole. A file that is there but cannot be read stops the start, because starting without it could
//! mean to forget an acknowledged change.

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// So many former configurations are kept.
const KEPT: usize = 20;

/// The folder of a node.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    folder: PathBuf,
}

impl Storage {
    /// Opens the folder, making it where it is missing. It is its owner's alone: a configuration holds passwords.
    ///
    /// # Errors
    /// Where it cannot be made or written to.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))
            .with_context(|| format!("cannot make {} its owner's alone", folder.display()))?;
        fs::create_dir_all(folder.join("former")).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::create_dir_all(folder.join("set-aside")).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder: folder.into() })
    }

    /// What was written under this name; none if nothing was.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub(crate) fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let file = self.folder.join(name);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        serde_json::from_str(&text)
            .with_context(|| {
                format!(
                    "{} is damaged; move it away to start without it: the other nodes bring what they have",
                    file.display()
                )
            })
            .map(Some)
    }

    /// Writes a value under a name; it is on disk when this returns.
    ///
    /// # Errors
    /// Where the disk refuses; then the former value is still there.
    pub(crate) fn store<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let text = serde_json::to_vec(value)?;
        self.write(&self.folder, name, &text)
    }

    /// Writes the configuration as a file of its own that people can read, keeping the former ones.
    ///
    /// # Errors
    /// Where the disk refuses; then the former value is still there.
    pub(crate) fn keep_former(&self, xml: &str) -> Result<()> {
        let folder = self.folder.join("former");
        let mut numbers = numbered(&folder)?;
        let next = numbers.last().map_or(1, |n| n + 1);
        self.write(&folder, &format!("{next:08}.xml"), xml.as_bytes())?;
        numbers.push(next);
        let surplus = numbers.len().saturating_sub(KEPT);
        for old in &numbers[..surplus] {
            fs::remove_file(folder.join(format!("{old:08}.xml")))?;
        }
        Ok(())
    }

    /// Keeps a configuration that lost against another side's; returns where.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(crate) fn set_aside(&self, xml: &str, reason: &str) -> Result<PathBuf> {
        let folder = self.folder.join("set-aside");
        let next = numbered(&folder)?.last().map_or(1, |n| n + 1);
        let name = format!("{next:08}.xml");
        let reason = reason.replace("--", "—");
        self.write(&folder, &name, format!("<!-- {reason} -->\n{xml}").as_bytes())?;
        Ok(folder.join(name))
    }

    fn write(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
        let place = folder.join(name);
        let beside = folder.join(format!(".{name}.new"));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &place)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| {
            // What is half written must not fill the disk further; the error that is told is the first one.
            let _ = fs::remove_file(&beside);
            anyhow::Error::from(error).context(format!("cannot write {}", place.display()))
        })
    }
}

/// The numbers of the files `NNNNNNNN.xml` in a folder, ascending.
fn numbered(folder: &Path) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".xml")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded_and_former_ones_are_bounded() {
        let folder = std::env::temp_dir().join(format!("hakudo-storage-{}", std::process::id()));
        let storage = Storage::open(&folder).unwrap();
        assert_eq!(storage.load::<u32>("n").unwrap(), None);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        storage.store("n", &7u32).unwrap();
        storage.store("n", &8u32).unwrap();
        assert_eq!(storage.load::<u32>("n").unwrap(), Some(8));
        for i in 0..KEPT + 5 {
            storage.keep_former(&format!("<cib epoch='{i}'/>")).unwrap();
        }
        let kept = numbered(&folder.join("former")).unwrap();
        assert_eq!((kept.len(), kept.last().copied()), (KEPT, Some(25)));
        fs::write(folder.join("n"), "{").unwrap();
        assert!(storage.load::<u32>("n").unwrap_err().to_string().contains("damaged"));
        fs::remove_dir_all(&folder).unwrap();
    }
}

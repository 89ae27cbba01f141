//! The version of a document.

use crate::document::{Document, Element};
use std::fmt;

/// `admin_epoch`, `epoch`, `num_updates`: of two documents, the greater one is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The administrator's own, above all.
    pub admin_epoch: u64,
    /// Counts changes of the configuration.
    pub epoch: u64,
    /// Counts changes of the status since the last change of the configuration.
    pub num_updates: u64,
}

const NAMES: [&str; 3] = ["admin_epoch", "epoch", "num_updates"];

impl Version {
    /// The version of a document; what is missing is 0.
    pub fn of(document: &Document) -> Self {
        Self::of_element(document.root())
    }

    /// The version in the attributes of an element.
    pub fn of_element(element: &Element) -> Self {
        let [admin_epoch, epoch, num_updates] =
            NAMES.map(|name| element.attribute(name).and_then(|number| number.trim().parse().ok()).unwrap_or_default());
        Self { admin_epoch, epoch, num_updates }
    }

    /// Writes the version into a document.
    pub fn put(self, document: &mut Document) {
        let root = document.root_mut();
        self.write(root);
    }

    /// Writes the version into the attributes of an element.
    pub(crate) fn write(self, element: &mut Element) {
        for (name, number) in NAMES.iter().zip([self.admin_epoch, self.epoch, self.num_updates]) {
            element.set(name, &number.to_string());
        }
    }

    /// The version of a changed document: the one that it says itself, if that is newer, else the next one.
    pub(crate) fn after(old: Version, said: Version, configuration: bool) -> Version {
        if said > old {
            said
        } else if configuration {
            Version { epoch: old.epoch + 1, num_updates: 0, ..old }
        } else {
            Version { num_updates: old.num_updates + 1, ..old }
        }
    }

    /// Carries out `epoch="epoch++"` and the like, which `cibadmin` knows.
    pub(crate) fn count_up(document: &mut Document, old: Version) {
        let root = document.root_mut();
        for (name, number) in NAMES.iter().zip([old.admin_epoch, old.epoch, old.num_updates]) {
            if root.attribute(name).and_then(|value| value.strip_suffix("++")) == Some(name) {
                root.set(name, &(number + 1).to_string());
            }
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.admin_epoch, self.epoch, self.num_updates)
    }
}

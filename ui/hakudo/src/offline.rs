//! Changes of a CIB file, with the rules of a running cluster.

use crate::client::refused;
use crate::exit::Failure;
use hakudo_cib::Document;
use hakudo_controller::request::Change;

/// Makes a change in a CIB: all of it or nothing. The status stays.
pub(crate) fn apply(cib: &mut Document, change: &Change) -> Result<(), Failure> {
    if let Some((after, _)) = hakudo_controller::changed(cib, change).map_err(refused)? {
        *cib = after;
    }
    Ok(())
}

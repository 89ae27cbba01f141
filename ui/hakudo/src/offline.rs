//! Changes of a CIB file, with the rules of a running cluster.

use crate::exit::{Exit, Failure};
use hakudo_cib::Document;
use hakudo_cib::change::{self, ChangeError, Operation, Version};
use hakudo_controller::request::{Change, ChangeOperation};

/// Makes a change in a CIB: all of it or nothing. The status stays.
pub(crate) fn apply(cib: &mut Document, change: &Change) -> Result<(), Failure> {
    let now = Version::of(cib);
    let wanted = change.if_version.map(|(admin_epoch, epoch, num_updates)| Version { admin_epoch, epoch, num_updates });
    if let Some(wanted) = wanted.filter(|wanted| *wanted != now) {
        return Err(Failure::new(
            Exit::ERROR,
            format!(
                "the configuration is now version {now}, and the change was made for {wanted}: read it again and repeat"
            ),
        ));
    }
    let refused = |error: ChangeError| Failure::new(Exit::DATA, format!("nothing was changed: {error}"));
    let operations = change.operations.iter().map(operation).collect::<Result<Vec<_>, _>>().map_err(refused)?;
    change::apply(cib, &operations, change.force).map_err(|(_, error)| refused(error))?;
    Ok(())
}

fn operation(asked: &ChangeOperation) -> Result<Operation, ChangeError> {
    match asked {
        ChangeOperation::Replace { xml } => Operation::replace(xml),
        ChangeOperation::Create { parent, xml } => Operation::create(parent, xml),
        ChangeOperation::Modify { xml, create_in } => Operation::modify(xml, create_in.as_deref()),
        ChangeOperation::Delete { xpath, or_nothing } => Ok(Operation::delete(xpath, *or_nothing)),
    }
}

//! Changes of the configuration: what members accept, all alike.

use crate::request::{Change, ChangeOperation};
use hakudo_cib::change::{self, ChangeError, Operation, Version};
use hakudo_cib::{Document, upgrade};

/// Sections that every configuration has.
const SECTIONS: [&str; 4] = ["crm_config", "nodes", "resources", "constraints"];

/// Reads a configuration and brings it to today's schema; a status in it is left out.
///
/// # Errors
/// Where the text is no configuration, with the place.
pub(crate) fn read(text: &str) -> Result<Document, String> {
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    sound(&document)
}

/// The configuration after a change; nothing where it changes nothing.
///
/// # Errors
/// What is wrong with the change; all of it is refused then.
pub(crate) fn apply(before: &Document, change: &Change) -> Result<Option<Document>, String> {
    let version = Version::of(before);
    if let Some((admin_epoch, epoch, num_updates)) = change.if_version {
        let wanted = Version { admin_epoch, epoch, num_updates };
        if wanted != version {
            return Err(format!(
                "the configuration is now version {version}, and the change was made for {wanted}: read it again and repeat"
            ));
        }
    }
    let place = |number: usize, error: ChangeError| match change.operations.len() {
        1 => error.to_string(),
        count => format!("step {} of {count}: {error}", number + 1),
    };
    let read = |(number, step)| operation(step).map_err(|error| place(number, error));
    let operations = change.operations.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut document = before.clone();
    let changed = change::apply(&mut document, &operations, change.force).map_err(|(at, error)| place(at, error))?;
    if changed.configuration { sound(&document).map(Some) } else { Ok(None) }
}

fn operation(step: &ChangeOperation) -> Result<Operation, ChangeError> {
    match step {
        ChangeOperation::Replace { xml } => Operation::replace(xml),
        ChangeOperation::Create { parent, xml } => Operation::create(parent, xml),
        ChangeOperation::Modify { xml, create_in } => Operation::modify(xml, create_in.as_deref()),
        ChangeOperation::Delete { xpath, or_nothing } => Ok(Operation::delete(xpath, *or_nothing)),
    }
}

/// The document as a configuration of today's schema without status.
fn sound(document: &Document) -> Result<Document, String> {
    let mut document = upgrade::upgrade(document).map_err(|error| error.to_string())?.document;
    let root = document.root_mut();
    if root.name() != "cib" {
        return Err(format!("a configuration begins with <cib>, not with <{}>", root.name()));
    }
    root.remove_children(|child| child.name() == "status");
    let Some(configuration) = root.child_mut("configuration") else {
        return Err("there is no <configuration> in this <cib>".to_owned());
    };
    for section in SECTIONS {
        configuration.child_or_new(section);
    }
    Ok(document)
}

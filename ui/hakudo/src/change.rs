//! Changes of the configuration, made from the CIB as it is now.

use crate::exit::{Exit, Failure};
use crate::input::Source;
use crate::world::World;
use hakudo_cib::{Document, Element, Problem, new_warnings};
use hakudo_controller::request::{Change, ChangeOperation};

/// A text as XPath writes it.
pub(crate) fn literal(text: &str) -> String {
    if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") }
}

/// The XPath of the element with this name and id.
fn place(element: &Element) -> String {
    format!("//{}[@id={}]", element.name(), literal(element.id()))
}

/// The part of a configuration that holds name-value pairs for an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairSet<'a> {
    /// `meta_attributes`, `instance_attributes` or `utilization`.
    pub(crate) kind: &'a str,
    /// The id of a set that has to be made.
    pub(crate) id: &'a str,
}

/// The pairs of a set, with those that the set refers to left out.
fn pair<'a>(holder: &'a Element, kind: &'a str, name: &str) -> Option<&'a Element> {
    holder
        .children_named(kind)
        .flat_map(|set| set.children_named("nvpair"))
        .find(|pair| pair.attribute("name") == Some(name))
}

/// The value of a name in the sets of an object.
pub(crate) fn value<'a>(holder: &'a Element, kind: &'a str, name: &str) -> Option<&'a str> {
    pair(holder, kind, name)?.attribute("value")
}

/// What sets a name to a value.
pub(crate) fn set(holder: &Element, set: PairSet<'_>, name: &str, value: &str) -> ChangeOperation {
    let new = |set_id: &str| {
        Element::new("nvpair")
            .with("id", format!("{set_id}-{}", identifier(name)))
            .with("name", name)
            .with("value", value)
    };
    if let Some(pair) = pair(holder, set.kind, name)
        && !pair.id().is_empty()
    {
        let mut pair = Element::new("nvpair").with("id", pair.id()).with("name", name);
        pair.set("value", value);
        return ChangeOperation::Modify { xml: pair.to_xml(), create_in: None };
    }
    // A set with a rule holds only sometimes: a plain one is meant.
    let plain = holder.children_named(set.kind).find(|set| set.child("rule").is_none() && !set.id().is_empty());
    match plain {
        Some(existing) => ChangeOperation::Create { parent: place(existing), xml: new(existing.id()).to_xml() },
        None => {
            let made = Element::new(set.kind).with("id", set.id).with_child(new(set.id));
            ChangeOperation::Create { parent: place(holder), xml: made.to_xml() }
        }
    }
}

/// What removes a name; none where it is not there.
pub(crate) fn unset(holder: &Element, kind: &str, name: &str) -> Option<ChangeOperation> {
    let pair = pair(holder, kind, name)?;
    Some(ChangeOperation::Delete { xpath: place(pair), or_nothing: true })
}

fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// The version of a CIB: `admin_epoch`, `epoch`, `num_updates`.
pub(crate) fn version(cib: &Document) -> (u64, u64, u64) {
    let number = |name| cib.root().attribute(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    (number("admin_epoch"), number("epoch"), number("num_updates"))
}

/// Makes changes in the running cluster or in a file, all of them or none; what is doubtful in them is told.
pub(crate) fn apply(source: &Source, operations: Vec<ChangeOperation>, world: &mut World) -> Result<(), Failure> {
    let (before, _) = source.cib()?;
    let mut after = before.clone();
    let change = Change { operations: operations.clone(), if_version: None, force: false };
    let foreseen = crate::offline::apply(&mut after, &change);
    make(source, operations, None, false)?;
    if foreseen.is_ok() {
        for Problem { id, message, hint, .. } in new_warnings(&before, &after) {
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            writeln!(world.err, "warning: {id}: {message}{hint}")?;
        }
    }
    Ok(())
}

/// Makes changes without a word.
pub(crate) fn make(
    source: &Source,
    operations: Vec<ChangeOperation>,
    if_version: Option<(u64, u64, u64)>,
    force: bool,
) -> Result<(), Failure> {
    match source {
        Source::Live(_) => source.client("a change")?.change(operations, if_version, force),
        Source::Standard => Err(Failure::usage("standard input cannot be changed: give the CIB as a file with --file")),
        Source::File(file) => {
            let (mut cib, _) = source.cib()?;
            let change = Change { operations, if_version, force };
            crate::offline::apply(&mut cib, &change)?;
            std::fs::write(file, cib.to_xml())
                .map_err(|error| Failure::new(Exit::CANNOT_CREATE, format!("cannot write {}: {error}", file.display())))
        }
    }
}

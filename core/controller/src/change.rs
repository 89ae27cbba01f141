//! Changes of the configuration: what members accept, all alike.

use crate::request::{Change, ChangeOperation, Refusal, RefusalKind};
use hakudo_cib::change::{self, ChangeError, Changed, Operation, Version};
use hakudo_cib::{Document, Problem, new_errors, upgrade};
use hakudo_tickets::booth::config as tickets;

/// Sections that every configuration has.
const SECTIONS: [&str; 4] = ["crm_config", "nodes", "resources", "constraints"];

/// Reads a configuration and brings it to today's schema; a status in it is left out.
///
/// # Errors
/// Where the text is no configuration, with the place.
pub(crate) fn read(text: &str) -> Result<Document, String> {
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    sound(&document).map(without_status)
}

/// The configuration of a cluster after a change; nothing where it changes nothing.
///
/// # Errors
/// As [`changed`].
pub(crate) fn apply(before: &Document, change: &Change) -> Result<Option<Document>, Refusal> {
    let changed = changed(before, change)?.filter(|(_, what)| what.configuration);
    Ok(changed.map(|(after, _)| without_status(after)))
}

/// A document after a change, and what that changed; nothing where it changes nothing. The rules are the same for a running
/// cluster and for a file.
///
/// # Errors
/// What is wrong with the change; all of it is refused then.
pub fn changed(before: &Document, change: &Change) -> Result<Option<(Document, Changed)>, Refusal> {
    let version = Version::of(before);
    if let Some((admin_epoch, epoch, num_updates)) = change.if_version {
        let wanted = Version { admin_epoch, epoch, num_updates };
        if wanted != version {
            return Err(Refusal::new(
                RefusalKind::Outdated,
                format!(
                    "the configuration is now version {version}, and the change was made for {wanted}: read it again and repeat"
                ),
            ));
        }
    }
    let place = |number: usize, error: &ChangeError| {
        let reason = match change.operations.len() {
            1 => error.to_string(),
            count => format!("step {} of {count}: {error}", number + 1),
        };
        Refusal::new(kind(error), reason)
    };
    let read = |(number, step)| operation(step).map_err(|error| place(number, &error));
    let operations = change.operations.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut document = before.clone();
    let changed = change::apply(&mut document, &operations, change.force).map_err(|(at, error)| place(at, &error))?;
    if changed == Changed::default() {
        return Ok(None);
    }
    let after = sound(&document).map_err(|reason| Refusal::new(RefusalKind::Invalid, reason))?;
    no_worse(before, &after, change.force)?;
    Ok(Some((after, changed)))
}

/// A change must not bring errors that were not there before. Who insists may refer to what does not exist (yet), as with
/// Pacemaker's tools; what no schema allows, nobody can insist on.
fn no_worse(before: &Document, after: &Document, force: bool) -> Result<(), Refusal> {
    const MOST: usize = 10;
    let errors = new_errors(before, after).into_iter().filter(|problem| !(force && problem.dangling));
    let errors = errors.map(|Problem { id, message, hint, .. }| (id, message, hint));
    let of_tickets = tickets::new_errors(before, after).into_iter();
    let of_tickets = of_tickets.map(|tickets::Problem { id, message, hint, .. }| (id, message, hint));
    let errors: Vec<(String, String, Option<String>)> = errors.chain(of_tickets).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let mut reason = "the configuration would not be valid, and nothing was changed:".to_owned();
    for (id, message, hint) in errors.iter().take(MOST) {
        reason.push_str("\n  ");
        if !id.is_empty() {
            reason.push_str(&format!("{id}: "));
        }
        reason.push_str(message);
        if let Some(hint) = hint {
            reason.push_str(&format!(" ({hint})"));
        }
    }
    if errors.len() > MOST {
        reason.push_str(&format!("\n  and {} more", errors.len() - MOST));
    }
    Err(Refusal::new(RefusalKind::Invalid, reason))
}

fn kind(error: &ChangeError) -> RefusalKind {
    match error {
        ChangeError::Parse(_) => RefusalKind::Malformed,
        ChangeError::XPath(_) => RefusalKind::Usage,
        ChangeError::Target { .. } => RefusalKind::NoSuch,
        ChangeError::DuplicateId { .. } => RefusalKind::Exists,
        ChangeError::Unsound(_) => RefusalKind::Invalid,
        ChangeError::Old { .. } => RefusalKind::Outdated,
    }
}

fn operation(step: &ChangeOperation) -> Result<Operation, ChangeError> {
    match step {
        ChangeOperation::Replace { xml } => Operation::replace(xml),
        ChangeOperation::Create { parent, xml } => Operation::create(parent, xml),
        ChangeOperation::Modify { xml, create_in } => Operation::modify(xml, create_in.as_deref()),
        ChangeOperation::Delete { xpath, or_nothing } => Ok(Operation::delete(xpath, *or_nothing)),
    }
}

fn without_status(mut document: Document) -> Document {
    document.root_mut().remove_children(|child| child.name() == "status");
    document
}

/// The document in the form of today's schema, with all sections that every configuration has.
fn sound(document: &Document) -> Result<Document, String> {
    let mut document = upgrade::upgrade(document).map_err(|error| error.to_string())?.document;
    let root = document.root_mut();
    if root.name() != "cib" {
        return Err(format!("a configuration begins with <cib>, not with <{}>", root.name()));
    }
    let Some(configuration) = root.child_mut("configuration") else {
        return Err("there is no <configuration> in this <cib>".to_owned());
    };
    for section in SECTIONS {
        configuration.child_or_new(section);
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const BEFORE: &str = "<cib admin_epoch='0' epoch='4' num_updates='0'><configuration><resources>\
        <primitive id='web' class='lsb' type='T'/><primitive id='old' class='lbs' type='T'/></resources><constraints>\
        <rsc_location id='at' rsc='web' node='n1' score='5'/></constraints></configuration></cib>";

    fn create(parent: &str, xml: &str) -> ChangeOperation {
        ChangeOperation::Create { parent: format!("//{parent}"), xml: xml.to_owned() }
    }

    fn delete(xpath: &str) -> ChangeOperation {
        ChangeOperation::Delete { xpath: xpath.to_owned(), or_nothing: false }
    }

    /// What comes of a change, and of the same by force.
    fn check(operations: Vec<ChangeOperation>, expected: Expect) {
        let before = read(BEFORE).unwrap();
        let shown = |force| {
            let change = Change { operations: operations.clone(), if_version: None, force };
            match apply(&before, &change) {
                Ok(after) => format!("{}", Version::of(&after.unwrap())),
                Err(Refusal { kind, reason }) => format!("{kind:?}: {reason}"),
            }
        };
        expected.assert_eq(&format!("{}\nby force: {}\n", shown(false), shown(true)));
    }

    #[test]
    fn what_was_wrong_before_is_no_obstacle() {
        check(
            vec![create("resources", "<primitive id='new' class='lsb' type='T'/>")],
            expect![[r#"
                0.5.0
                by force: 0.5.0
            "#]],
        );
    }

    #[test]
    fn what_no_schema_allows_is_refused() {
        check(
            vec![create("resources", "<primitive id='1new' class='lsb' typ='T' type='T'/>")],
            expect![[r#"
                Invalid: the configuration would not be valid, and nothing was changed:
                  1new: '1new' is no value for 'id': an id starts with a letter or _, and goes on with these, digits, '.' and '-'
                  1new: <primitive> has no attribute 'typ' (is 'type' meant?)
                by force: Invalid: the configuration would not be valid, and nothing was changed:
                  1new: '1new' is no value for 'id': an id starts with a letter or _, and goes on with these, digits, '.' and '-'
                  1new: <primitive> has no attribute 'typ' (is 'type' meant?)
            "#]],
        );
    }

    #[test]
    fn only_force_leaves_references_to_nothing() {
        check(
            vec![delete("//primitive[@id='web']")],
            expect![[r#"
                Invalid: the configuration would not be valid, and nothing was changed:
                  at: 'rsc' refers to 'web', which does not exist
                by force: 0.5.0
            "#]],
        );
        check(
            vec![delete("//primitive[@id='web']"), delete("//rsc_location")],
            expect![[r#"
                0.5.0
                by force: 0.5.0
            "#]],
        );
    }

    #[test]
    fn other_refusals_have_their_sorts() {
        check(
            vec![create("nowhere", "<primitive/>")],
            expect![[r#"
                NoSuch: //nowhere finds nothing
                by force: NoSuch: //nowhere finds nothing
            "#]],
        );
        check(
            vec![delete("//primitive[@id='old']"), create("resources", "<primitive id='web' class='lsb' type='T'/>")],
            expect![[r#"
                Exists: step 2 of 2: the id 'web' would be given twice: there is a <primitive> and a <primitive> with it
                by force: Exists: step 2 of 2: the id 'web' would be given twice: there is a <primitive> and a <primitive> with it
            "#]],
        );
        check(
            vec![create("resources", "<primitive")],
            expect![[r#"
                Malformed: the element is not well-formed XML: 1:1: the document does not have a root node
                by force: Malformed: the element is not well-formed XML: 1:1: the document does not have a root node
            "#]],
        );
    }

    #[test]
    fn a_group_of_tickets_must_make_sense() {
        let set = |id: &str, pairs: &[(&str, &str)]| {
            let pair =
                |(name, value): &(&str, &str)| format!("<nvpair id='{id}-{name}' name='{name}' value='{value}'/>");
            let pairs: String = pairs.iter().map(pair).collect();
            create("crm_config", &format!("<cluster_property_set id='{id}'>{pairs}</cluster_property_set>"))
        };
        check(
            vec![set("hakudo-tickets-ticket-1", &[("ticket", "T"), ("expires", "10"), ("renewal-freq", "soon")])],
            expect![[r#"
                Invalid: the configuration would not be valid, and nothing was changed:
                  hakudo-tickets-ticket-1-expires: unknown keyword `expires` (did you mean `expire`?)
                  hakudo-tickets-ticket-1-renewal-freq: `soon` is no time (seconds have no unit, milliseconds have `ms`: 10 or 10000ms)
                by force: Invalid: the configuration would not be valid, and nothing was changed:
                  hakudo-tickets-ticket-1-expires: unknown keyword `expires` (did you mean `expire`?)
                  hakudo-tickets-ticket-1-renewal-freq: `soon` is no time (seconds have no unit, milliseconds have `ms`: 10 or 10000ms)
            "#]],
        );
        check(
            vec![set("hakudo-tickets-member-1", &[("site", "192.0.2.1"), ("port", "1")])],
            expect![[r#"
            Invalid: the configuration would not be valid, and nothing was changed:
              hakudo-tickets-member-1-port: `port` does not belong in the set `hakudo-tickets-member-1`
            by force: Invalid: the configuration would not be valid, and nothing was changed:
              hakudo-tickets-member-1-port: `port` does not belong in the set `hakudo-tickets-member-1`
        "#]],
        );
        check(
            vec![set("hakudo-tickets-member-1", &[("site", "192.0.2.1")])],
            expect![[r#"
            0.5.0
            by force: 0.5.0
        "#]],
        );
        // One thing after the other: the sites may still come.
        check(
            vec![set("hakudo-tickets-ticket-1", &[("ticket", "T")])],
            expect![[r#"
            0.5.0
            by force: 0.5.0
        "#]],
        );
    }
}

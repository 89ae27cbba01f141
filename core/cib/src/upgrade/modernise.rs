//! Today's spelling for what today's schema also accepts under older names.

use super::{Note, Work, for_all};
use crate::document::{Document, Element};
use std::collections::BTreeSet;

/// Options with other names, cluster properties and meta attributes.
const OPTIONS: &[(&str, &str)] = &[
    ("stonith-action", "fencing-action"),
    ("stonith-enabled", "fencing-enabled"),
    ("stonith-max-attempts", "fencing-max-attempts"),
    ("stonith-timeout", "fencing-timeout"),
    ("stonith-watchdog-timeout", "fencing-watchdog-timeout"),
    ("fence-reaction", "fencing-reaction"),
    ("master-max", "promoted-max"),
    ("master-node-max", "promoted-node-max"),
];

/// Attributes whose value is a role.
const ROLES: &[&str] = &["role", "rsc-role", "with-rsc-role"];

/// Renames options and roles to what they are called today, without a change of meaning. An option that stands anywhere
/// under its new name already keeps its old one, because then the order of the sets decides which of them counts.
pub fn modernise(document: &mut Document) -> Vec<Note> {
    let mut work = Work::new(document.clone());
    let Some(configuration) = document.root_mut().child_mut("configuration") else { return Vec::new() };
    let names: BTreeSet<String> = configuration
        .descendants()
        .filter(|element| element.name() == "nvpair")
        .filter_map(|pair| pair.attribute("name"))
        .map(str::to_owned)
        .collect();
    for_all(configuration, &mut |element| {
        roles(element, &mut work);
        if !matches!(element.name(), "cluster_property_set" | "meta_attributes") {
            return;
        }
        for pair in element.children_mut().filter(|child| child.name() == "nvpair") {
            let name = pair.attribute("name").unwrap_or_default().to_owned();
            if let Some((_, new)) = OPTIONS.iter().find(|(old, _)| *old == name)
                && !names.contains(*new)
            {
                pair.set("name", new);
                work.changed(pair.id(), format!("{name} is called {new} now"));
            }
            if name == "target-role"
                && let Some(new) = pair.attribute("value").and_then(today)
            {
                pair.set("value", new);
                work.changed(pair.id(), format!("the role is called {new} now"));
            }
        }
    });
    work.notes
}

fn roles(element: &mut Element, work: &mut Work) {
    for attribute in ROLES {
        if let Some(new) = element.attribute(attribute).and_then(today) {
            element.set(attribute, new);
            work.changed(element.id(), format!("the role is called {new} now"));
        }
    }
}

fn today(role: &str) -> Option<&'static str> {
    match role {
        "Master" => Some("Promoted"),
        "Slave" => Some("Unpromoted"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn names_of_today() {
        let mut document = Document::parse(
            "<cib><configuration><crm_config><cluster_property_set id='o'><nvpair id='1' name='stonith-enabled' value='1'/>
             <nvpair id='2' name='stonith-timeout' value='9'/><nvpair id='3' name='fencing-timeout' value='8'/>
             </cluster_property_set></crm_config><constraints><rsc_location id='l' role='Master'/></constraints>
             </configuration></cib>",
        )
        .unwrap();
        let notes: Vec<String> = modernise(&mut document).iter().map(|n| format!("{}: {}", n.id, n.message)).collect();
        assert_eq!(notes, ["1: stonith-enabled is called fencing-enabled now", "l: the role is called Promoted now"]);
        expect![[r#"
            <constraints>
              <rsc_location id="l" role="Promoted"/>
            </constraints>
        "#]]
        .assert_eq(&document.section(&["configuration", "constraints"]).unwrap().to_xml());
        assert!(modernise(&mut document).is_empty());
    }
}

//! Changes of a document: operations as `cibadmin`'s, all of a list or none; versions; and patches between two documents.
//!
//! A list of operations works on a snapshot, which takes the place of the document only when everything in the list was
//! done and the result is sound: still a `<cib>`, no deeper than one may be read, no `id` given twice. Then the version
//! goes up, once for the whole list.

mod patch;
mod version;

pub use patch::{Patch, PatchError, diff};
pub use version::Version;

use crate::document::{Document, Element, Node};
use crate::reader::{DEEPEST, ParseError};
use crate::xpath::{self, Match, Way, XPathError};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts the element in the place of the one with the same name and id; also of a whole section or the whole `<cib>`.
    Replace {
        /// The new element.
        element: Element,
    },
    /// Adds the element at the end of the one element that `parent` finds.
    Create {
        /// XPath of the parent.
        parent: String,
        /// The new element.
        element: Element,
    },
    /// Merges attributes and children of the element into the one with the same name and id.
    Modify {
        /// What is to be merged.
        element: Element,
        /// XPath of the parent in which it is made where it is missing; without it, that is an error.
        create_in: Option<String>,
    },
    /// Removes all elements and attributes that `xpath` finds.
    Delete {
        /// What to remove.
        xpath: String,
        /// Finding nothing is no error.
        or_nothing: bool,
    },
    /// Moves the one element that `xpath` finds to another place among its siblings.
    Move {
        /// What to move.
        xpath: String,
        /// How many elements are to be in front of it; the end where there are fewer.
        position: usize,
    },
}

/// What a change changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The configuration, or an attribute of `<cib>`.
    pub configuration: bool,
    /// The status section.
    pub status: bool,
}

/// Why a change was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// The text of an operation is not XML.
    #[error("the element is not well-formed XML: {0}")]
    Parse(#[from] ParseError),
    /// An XPath is wrong.
    #[error(transparent)]
    XPath(#[from] XPathError),
    /// What an operation is about is not there, or is there more than once.
    #[error("{what} {found}")]
    Target {
        /// What was looked for.
        what: String,
        /// What was found instead of one.
        found: String,
    },
    /// An id would be given twice.
    #[error("the id '{id}' would be given twice: there is a <{first}> and a <{second}> with it")]
    DuplicateId {
        /// The id.
        id: String,
        /// The first element's name.
        first: String,
        /// The second one's.
        second: String,
    },
    /// The result would not be a CIB.
    #[error("{0}")]
    Unsound(String),
    /// A whole document would be replaced by an older one.
    #[error(
        "version {offered} is older than the current {current}; a replacement must not be older, unless it is forced"
    )]
    Old {
        /// The version of the replacement.
        offered: Version,
        /// The version of the document.
        current: Version,
    },
}

impl Operation {
    /// [`Operation::Replace`] with the element as text.
    ///
    /// # Errors
    /// Where the text is not XML.
    pub fn replace(xml: &str) -> Result<Self, ChangeError> {
        Ok(Self::Replace { element: Element::parse(xml)? })
    }

    /// [`Operation::Create`] with the element as text.
    ///
    /// # Errors
    /// Where the text is not XML.
    pub fn create(parent: &str, xml: &str) -> Result<Self, ChangeError> {
        Ok(Self::Create { parent: parent.to_owned(), element: Element::parse(xml)? })
    }

    /// [`Operation::Modify`] with the element as text.
    ///
    /// # Errors
    /// Where the text is not XML.
    pub fn modify(xml: &str, create_in: Option<&str>) -> Result<Self, ChangeError> {
        Ok(Self::Modify { element: Element::parse(xml)?, create_in: create_in.map(str::to_owned) })
    }

    /// [`Operation::Delete`].
    pub fn delete(xpath: &str, or_nothing: bool) -> Self {
        Self::Delete { xpath: xpath.to_owned(), or_nothing }
    }
}

/// Carries out the operations, all or none of them, and raises the version: with a change of the configuration `epoch`
/// goes up by one and `num_updates` starts at 0 again, with a change of only the status `num_updates` goes up by one.
/// `admin_epoch` changes only where an operation raises it. `force` lets an older whole document replace a newer one; even
/// then the version goes up.
///
/// # Errors
/// Where any of the operations cannot be carried out, with its place in the list; or where the result is not sound.
pub fn apply(document: &mut Document, operations: &[Operation], force: bool) -> Result<Changed, (usize, ChangeError)> {
    let mut work = document.clone();
    for (number, operation) in operations.iter().enumerate() {
        step(&mut work, operation, force).map_err(|error| (number, error))?;
    }
    let last = operations.len().saturating_sub(1);
    check_sound(document, &work).map_err(|error| (last, error))?;
    let changed = what_changed(document, &work);
    if changed != Changed::default() {
        let next = Version::after(Version::of(document), Version::of(&work), changed.configuration);
        if next < Version::of(document) || Version::of(&work) < Version::of(document) && !force {
            let (offered, current) = (Version::of(&work), Version::of(document));
            return Err((last, ChangeError::Old { offered, current }));
        }
        next.put(&mut work);
        *document = work;
    }
    Ok(changed)
}

fn step(document: &mut Document, operation: &Operation, force: bool) -> Result<(), ChangeError> {
    match operation {
        Operation::Replace { element } if element.name() == "cib" => replace_all(document, element, force),
        Operation::Replace { element } => {
            let way = find_same(document, element)?.ok_or_else(|| missing(element))?;
            let target = way.element_mut(document).ok_or_else(|| missing(element))?;
            *target = element.clone();
            Ok(())
        }
        Operation::Create { parent, element } => create(document, parent, element),
        Operation::Modify { element, create_in } => match (find_same(document, element)?, create_in) {
            (Some(way), _) => {
                let old = Version::of(document);
                if let Some(target) = way.element_mut(document) {
                    merge(target, element);
                }
                if element.name() == "cib" {
                    Version::count_up(document, old);
                }
                Ok(())
            }
            (None, Some(parent)) => create(document, parent, element),
            (None, None) => Err(missing(element)),
        },
        Operation::Delete { xpath, or_nothing } => delete(document, xpath, *or_nothing),
        Operation::Move { xpath, position } => relocate(document, xpath, *position),
    }
}

fn replace_all(document: &mut Document, element: &Element, force: bool) -> Result<(), ChangeError> {
    let (offered, current) = (Version::of_element(element), Version::of(document));
    if offered < current && !force {
        return Err(ChangeError::Old { offered, current });
    }
    let mut element = element.clone();
    // Status is not configuration: a replacement without it keeps what is known.
    if element.child("status").is_none()
        && let Some(status) = document.root().child("status")
    {
        element.push(status.clone());
    }
    *document.root_mut() = element;
    Ok(())
}

fn create(document: &mut Document, parent: &str, element: &Element) -> Result<(), ChangeError> {
    let way = find_one(document, parent)?;
    let target = way.element_mut(document).ok_or_else(|| not_one(parent, 0))?;
    if let Some(id) = element.attribute("id")
        && target.children().any(|child| child.name() == element.name() && child.id() == id)
    {
        let name = element.name().to_owned();
        return Err(ChangeError::DuplicateId { id: id.to_owned(), first: name.clone(), second: name });
    }
    target.push(element.clone());
    Ok(())
}

fn delete(document: &mut Document, xpath: &str, or_nothing: bool) -> Result<(), ChangeError> {
    let found = xpath::query(document, xpath)?;
    if found.is_empty() && !or_nothing {
        return Err(not_one(xpath, 0));
    }
    // The last first, so that the ways to the others stay what they are.
    for Match { way, attribute } in found.into_iter().rev() {
        match (attribute, way.split_last()) {
            (Some(attribute), _) => {
                if let Some(element) = way.element_mut(document) {
                    element.unset(&attribute);
                }
            }
            (None, Some((parent, place))) => {
                if let Some(parent) = parent.element_mut(document) {
                    parent.nodes_mut().remove(place);
                }
            }
            (None, None) => return Err(ChangeError::Unsound("the whole <cib> cannot be deleted".to_owned())),
        }
    }
    Ok(())
}

fn relocate(document: &mut Document, xpath: &str, position: usize) -> Result<(), ChangeError> {
    let way = find_one(document, xpath)?;
    let root = || ChangeError::Unsound("the whole <cib> cannot be moved".to_owned());
    let (parent, place) = way.split_last().ok_or_else(root)?;
    let nodes = parent.element_mut(document).ok_or_else(root)?.nodes_mut();
    let node = nodes.remove(place);
    let mut elements = nodes.iter().enumerate().filter(|(_, node)| matches!(node, Node::Element(_)));
    let to = elements.nth(position).map_or(nodes.len(), |(index, _)| index);
    nodes.insert(to, node);
    Ok(())
}

/// Merges attributes and children. A child is merged into the one of the same name and id, or added where there is none.
fn merge(target: &mut Element, update: &Element) {
    for attribute in update.attributes() {
        target.set(&attribute.name, &attribute.value);
    }
    for child in update.children() {
        let same = |e: &Element| e.name() == child.name() && e.attribute("id") == child.attribute("id");
        match target.find_child_mut(same) {
            Some(found) => merge(found, child),
            None => target.push(child.clone()),
        }
    }
}

/// The way to the one element that an XPath finds.
fn find_one(document: &Document, xpath: &str) -> Result<Way, ChangeError> {
    let mut found = xpath::query(document, xpath)?;
    match (found.pop(), found.len()) {
        (Some(Match { way, attribute: None }), 0) => Ok(way),
        (Some(Match { attribute: Some(_), .. }), 0) => {
            Err(ChangeError::Target { what: xpath.to_owned(), found: "finds an attribute, not an element".to_owned() })
        }
        (None, _) => Err(not_one(xpath, 0)),
        (Some(_), others) => Err(not_one(xpath, others + 1)),
    }
}

fn not_one(xpath: &str, found: usize) -> ChangeError {
    let found = if found == 0 { "finds nothing".to_owned() } else { format!("finds {found} elements, not one") };
    ChangeError::Target { what: xpath.to_owned(), found }
}

fn missing(element: &Element) -> ChangeError {
    ChangeError::Target { what: element.start_tag(), found: "is to change an element that does not exist".to_owned() }
}

/// The way to the element with the same name and id: in the configuration, or if there is none, in the status.
fn find_same(document: &Document, element: &Element) -> Result<Option<Way>, ChangeError> {
    let root = document.root();
    let same = |e: &Element| e.name() == element.name() && e.attribute("id") == element.attribute("id");
    if same(root) {
        return Ok(Some(Way::default()));
    }
    for status in [false, true] {
        let mut found: Vec<Way> = Vec::new();
        let mut waiting = vec![(root, Way::default())];
        while let Some((parent, way)) = waiting.pop() {
            for (place, node) in parent.nodes().iter().enumerate() {
                let Node::Element(child) = node else { continue };
                if way.0.is_empty() && (child.name() == "status") != status {
                    continue;
                }
                let mut to = way.clone();
                to.0.push(place);
                if same(child) {
                    found.push(to.clone());
                }
                if !child.nodes().is_empty() {
                    waiting.push((child, to));
                }
            }
        }
        match found.len() {
            0 => {}
            1 => return Ok(found.pop()),
            several => {
                let found = format!("fits {several} elements: it needs an id, or a way that says which one is meant");
                return Err(ChangeError::Target { what: element.start_tag(), found });
            }
        }
    }
    Ok(None)
}

fn check_sound(old: &Document, new: &Document) -> Result<(), ChangeError> {
    let root = new.root();
    if root.name() != "cib" && old.root().name() == "cib" {
        return Err(ChangeError::Unsound(format!("a <{}> cannot take the place of <cib>", root.name())));
    }
    for section in ["configuration", "status"] {
        if old.root().child(section).is_some() && root.child(section).is_none() {
            return Err(ChangeError::Unsound(format!("the section <{section}> cannot be removed")));
        }
    }
    if root.depth() > DEEPEST {
        return Err(ChangeError::Unsound(format!("elements would be nested more than {DEEPEST} deep")));
    }
    if same_section(old.root(), root, "configuration") {
        return Ok(());
    }
    // What was wrong before may stay, so that it can be mended step by step.
    let before = duplicate_ids(old);
    for (id, (first, second)) in duplicate_ids(new) {
        if !before.contains_key(&id) {
            return Err(ChangeError::DuplicateId { id, first, second });
        }
    }
    Ok(())
}

/// Elements that carry the id of something else; several may carry the same.
const REFERENCES: [&str; 3] = ["resource_ref", "obj_ref", "role"];

/// The ids that are given twice in the configuration, with the names of the first two elements that have them.
fn duplicate_ids(document: &Document) -> BTreeMap<String, (String, String)> {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let mut duplicates = BTreeMap::new();
    for element in document.root().child("configuration").into_iter().flat_map(Element::descendants) {
        let Some(id) = element.attribute("id").filter(|_| !REFERENCES.contains(&element.name())) else { continue };
        match first.get(id) {
            Some(name) => {
                duplicates.entry(id.to_owned()).or_insert_with(|| ((*name).to_owned(), element.name().to_owned()));
            }
            None => {
                first.insert(id, element.name());
            }
        }
    }
    duplicates
}

/// True where both have the same section; quick where they share it.
fn same_section(old: &Element, new: &Element, name: &str) -> bool {
    let section = |root: &Element| {
        root.nodes().iter().find_map(|node| match node {
            Node::Element(child) if child.name() == name => Some(Arc::clone(child)),
            _ => None,
        })
    };
    match (section(old), section(new)) {
        (Some(old), Some(new)) => Arc::ptr_eq(&old, &new) || old == new,
        (old, new) => old.is_none() && new.is_none(),
    }
}

fn what_changed(old: &Document, new: &Document) -> Changed {
    let (old, new) = (old.root(), new.root());
    // Also other sections than the two known ones count as configuration.
    let rest = |root: &Element| -> Vec<Node> {
        let known = |node: &&Node| matches!(node, Node::Element(e) if matches!(e.name(), "configuration" | "status"));
        root.nodes().iter().filter(|node| !known(node)).cloned().collect()
    };
    Changed {
        configuration: old.attributes() != new.attributes()
            || !same_section(old, new, "configuration")
            || rest(old) != rest(new),
        status: !same_section(old, new, "status"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const CIB: &str = "<cib admin_epoch='1' epoch='5' num_updates='3'><configuration>
        <resources><primitive id='a' class='ocf'><meta_attributes id='am'><nvpair id='a1' name='x' value='1'/></meta_attributes></primitive>
        <primitive id='b' class='ocf'/><!-- note --><primitive id='c' class='lsb'/></resources><constraints/></configuration>
        <status><node_state id='1' uname='n1'/><node_state id='2' uname='n2'/></status></cib>";

    fn check(operations: &[Operation], expected: Expect) {
        check_with(operations, false, expected);
    }

    fn check_with(operations: &[Operation], force: bool, expected: Expect) {
        let before = Document::parse(CIB).unwrap();
        let mut document = before.clone();
        let shown = match apply(&mut document, operations, force) {
            Ok(changed) => format!("{changed:?}\n{}", document.to_xml()),
            Err((number, error)) => {
                assert_eq!(document, before, "a refused change changes nothing");
                format!("operation {number}: {error}\n")
            }
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn creating_and_modifying() {
        check(
            &[
                Operation::create("//resources", "<primitive id='d' class='ocf'/>").unwrap(),
                Operation::modify(
                    "<primitive id='a' class='lsb'><meta_attributes id='am'><nvpair id='a1' name='x' value='2'/>
                     <nvpair id='a2' name='y' value='3'/></meta_attributes></primitive>",
                    None,
                )
                .unwrap(),
                Operation::modify("<rsc_order id='o' first='a' then='b'/>", Some("//constraints")).unwrap(),
                Operation::Move { xpath: "//primitive[@id='c']".into(), position: 1 },
            ],
            expect![[r#"
                Changed { configuration: true, status: false }
                <cib admin_epoch="1" epoch="6" num_updates="0">
                  <configuration>
                    <resources>
                      <primitive id="a" class="lsb">
                        <meta_attributes id="am">
                          <nvpair id="a1" name="x" value="2"/>
                          <nvpair id="a2" name="y" value="3"/>
                        </meta_attributes>
                      </primitive>
                      <primitive id="c" class="lsb"/>
                      <primitive id="b" class="ocf"/>
                      <!-- note -->
                      <primitive id="d" class="ocf"/>
                    </resources>
                    <constraints>
                      <rsc_order id="o" first="a" then="b"/>
                    </constraints>
                  </configuration>
                  <status>
                    <node_state id="1" uname="n1"/>
                    <node_state id="2" uname="n2"/>
                  </status>
                </cib>
            "#]],
        );
    }

    #[test]
    fn deleting_and_replacing() {
        check(
            &[
                Operation::delete("//primitive[@class='ocf'] | //primitive[@id='c']/@class", false),
                Operation::delete("//nothing", true),
                Operation::replace("<constraints><rsc_location id='l'/></constraints>").unwrap(),
            ],
            expect![[r#"
                Changed { configuration: true, status: false }
                <cib admin_epoch="1" epoch="6" num_updates="0">
                  <configuration>
                    <resources>
                      <!-- note -->
                      <primitive id="c"/>
                    </resources>
                    <constraints>
                      <rsc_location id="l"/>
                    </constraints>
                  </configuration>
                  <status>
                    <node_state id="1" uname="n1"/>
                    <node_state id="2" uname="n2"/>
                  </status>
                </cib>
            "#]],
        );
    }

    #[test]
    fn status_only_counts_updates() {
        check(
            &[Operation::modify("<node_state id='2' join='member'/>", None).unwrap()],
            expect![[r#"
            Changed { configuration: false, status: true }
            <cib admin_epoch="1" epoch="5" num_updates="4">
              <configuration>
                <resources>
                  <primitive id="a" class="ocf">
                    <meta_attributes id="am">
                      <nvpair id="a1" name="x" value="1"/>
                    </meta_attributes>
                  </primitive>
                  <primitive id="b" class="ocf"/>
                  <!-- note -->
                  <primitive id="c" class="lsb"/>
                </resources>
                <constraints/>
              </configuration>
              <status>
                <node_state id="1" uname="n1"/>
                <node_state id="2" uname="n2" join="member"/>
              </status>
            </cib>
        "#]],
        );
        check(
            &[Operation::modify("<node_state id='2' uname='n2'/>", None).unwrap()],
            expect![[r#"
            Changed { configuration: false, status: false }
            <cib admin_epoch="1" epoch="5" num_updates="3">
              <configuration>
                <resources>
                  <primitive id="a" class="ocf">
                    <meta_attributes id="am">
                      <nvpair id="a1" name="x" value="1"/>
                    </meta_attributes>
                  </primitive>
                  <primitive id="b" class="ocf"/>
                  <!-- note -->
                  <primitive id="c" class="lsb"/>
                </resources>
                <constraints/>
              </configuration>
              <status>
                <node_state id="1" uname="n1"/>
                <node_state id="2" uname="n2"/>
              </status>
            </cib>
        "#]],
        );
    }

    #[test]
    fn whole_documents() {
        let replacement = |version| Operation::replace(&format!("<cib {version}><configuration/></cib>")).unwrap();
        check(
            &[replacement("admin_epoch='1' epoch='4' num_updates='9'")],
            expect![[r#"
            operation 0: version 1.4.9 is older than the current 1.5.3; a replacement must not be older, unless it is forced
        "#]],
        );
        check_with(
            &[replacement("admin_epoch='0' epoch='4' num_updates='9'")],
            true,
            expect![[r#"
            Changed { configuration: true, status: false }
            <cib admin_epoch="1" epoch="6" num_updates="0">
              <configuration/>
              <status>
                <node_state id="1" uname="n1"/>
                <node_state id="2" uname="n2"/>
              </status>
            </cib>
        "#]],
        );
        check(
            &[replacement("admin_epoch='1' epoch='5' num_updates='3'")],
            expect![[r#"
            Changed { configuration: true, status: false }
            <cib admin_epoch="1" epoch="6" num_updates="0">
              <configuration/>
              <status>
                <node_state id="1" uname="n1"/>
                <node_state id="2" uname="n2"/>
              </status>
            </cib>
        "#]],
        );
        check(
            &[replacement("admin_epoch='2' epoch='1' num_updates='0'")],
            expect![[r#"
            Changed { configuration: true, status: false }
            <cib admin_epoch="2" epoch="1" num_updates="0">
              <configuration/>
              <status>
                <node_state id="1" uname="n1"/>
                <node_state id="2" uname="n2"/>
              </status>
            </cib>
        "#]],
        );
        let raise = |text| Operation::modify(text, None).unwrap();
        let raised = |text| {
            let mut document = Document::parse(CIB).unwrap();
            apply(&mut document, &[raise(text)], false).map(|_| Version::of(&document).to_string())
        };
        assert_eq!(raised("<cib admin_epoch='7'/>").unwrap(), "7.5.3");
        assert_eq!(raised("<cib admin_epoch='admin_epoch++'/>").unwrap(), "2.5.3");
        assert_eq!(raised("<cib epoch='epoch++'/>").unwrap(), "1.6.3");
        assert!(raised("<cib admin_epoch='0'/>").is_err());
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_said() {
        let refused = [
            Operation::delete("//nothing", false),
            Operation::delete("/cib", false),
            Operation::delete("//configuration", false),
            Operation::delete("//[", false),
            Operation::create("//primitive", "<x/>").unwrap(),
            Operation::create("//resources", "<primitive id='a'/>").unwrap(),
            Operation::create("//constraints", "<rsc_location id='a1'/>").unwrap(),
            Operation::create("//primitive/@id", "<x/>").unwrap(),
            Operation::modify("<primitive id='z'/>", None).unwrap(),
            Operation::replace("<primitive id='z'/>").unwrap(),
            Operation::modify("<node_state/>", None).unwrap(),
            Operation::replace("<nvpair/>").unwrap(),
        ];
        let mut shown = String::new();
        for operation in refused {
            let mut document = Document::parse(CIB).unwrap();
            let (_, error) = apply(&mut document, &[operation], false).unwrap_err();
            shown += &format!("{error}\n");
        }
        expect![[r#"
            //nothing finds nothing
            the whole <cib> cannot be deleted
            the section <configuration> cannot be removed
            XPath '//[', column 3: a name, * or @ is missing here
            //primitive finds 3 elements, not one
            the id 'a' would be given twice: there is a <primitive> and a <primitive> with it
            the id 'a1' would be given twice: there is a <nvpair> and a <rsc_location> with it
            //primitive/@id finds 3 elements, not one
            <primitive id="z"> is to change an element that does not exist
            <primitive id="z"> is to change an element that does not exist
            <node_state> is to change an element that does not exist
            <nvpair> is to change an element that does not exist
        "#]]
        .assert_eq(&shown);
        assert!(Operation::replace("<a>").is_err());
    }

    #[test]
    fn the_whole_list_or_nothing() {
        check(
            &[Operation::delete("//primitive", false), Operation::delete("//primitive", false)],
            expect![[r#"
            operation 1: //primitive finds nothing
        "#]],
        );
    }

    #[test]
    fn nesting_has_an_end() {
        let mut document = Document::parse(CIB).unwrap();
        let mut deep = Element::new("x");
        for _ in 0..150 {
            deep = Element::new("x").with_child(deep);
        }
        let create = |parent: &str| Operation::Create { parent: parent.into(), element: deep.clone() };
        assert!(apply(&mut document, &[create("//constraints")], false).is_ok());
        assert!(apply(&mut document, &[create("//x[not(x)]")], false).is_err());
    }
}

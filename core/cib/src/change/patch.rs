//! What is different between two documents, in the XML that `crm_diff` prints and takes (`<diff format="2">`).
//!
//! An element is known to a patch by its name and `id` below its parent. A patch is applied in two rounds: the first one
//! deletes and changes in the order of the patch, and puts what moves behind all its siblings; the second one puts each
//! created or moved node to its place, lower places first. When a place's turn comes, everything in front of it is already
//! as it will be, and what did not move follows in its order. So a patch is right if what does not move keeps its order, and
//! the fewest moves are those that leave the longest such row alone.
//!
//! Where children cannot be told apart, their parent is deleted and created anew; where that is the root, the patch has
//! the whole document.

use super::Version;
use crate::document::{Attribute, Document, Element, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The changes that lead from one document to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The version that a document must have for this patch.
    pub source: Version,
    /// The version that it has then.
    pub target: Version,
    changes: Vec<Change>,
}

/// Why a patch is none, or does not fit a document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatchError {
    /// The XML is not that of a patch.
    #[error("this is no patch: {0}")]
    NoPatch(String),
    /// It is for another version.
    #[error("the patch is for version {wanted}, and the document has {found}")]
    Version {
        /// The version that the patch is for.
        wanted: Version,
        /// The version of the document.
        found: Version,
    },
    /// Something that it changes is not there.
    #[error("the patch does not fit: there is no {0}")]
    Missing(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Create {
        parent: Place,
        position: usize,
        node: Node,
    },
    /// A comment is named by its position.
    Delete {
        place: Place,
        comment: Option<usize>,
    },
    Modify {
        place: Place,
        list: Vec<(Arc<str>, Option<Arc<str>>)>,
        result: Vec<Attribute>,
    },
    Move {
        place: Place,
        position: usize,
    },
}

/// A way to an element by names and ids, from the root on. An empty one is in front of the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place(Vec<(Arc<str>, Option<Arc<str>>)>);

/// By what a node is told from its siblings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Element(&'a str, Option<&'a str>),
    Comment(&'a str),
    Text,
}

fn key(node: &Node) -> Key<'_> {
    match node {
        Node::Element(element) => Key::Element(element.name(), element.attribute("id")),
        Node::Comment(text) => Key::Comment(text),
        Node::Text(_) => Key::Text,
    }
}

/// The patch that makes `new` of `old`.
pub fn diff(old: &Document, new: &Document) -> Patch {
    let (source, target) = (Version::of(old), Version::of(new));
    let mut patch = Patch { source, target, changes: Vec::new() };
    if old.root().name() == new.root().name()
        && old.root().id() == new.root().id()
        && can_compare(old.root(), new.root())
    {
        compare(old.root(), new.root(), &Place::default().below(old.root()), &mut patch.changes);
        // A patch that does not do what it is for must never leave.
        let mut check = old.clone();
        if patch.apply(&mut check).is_ok() && check.root() == new.root() {
            return patch;
        }
    }
    let whole = Node::Element(Arc::new(new.root().clone()));
    patch.changes = vec![Change::Create { parent: Place::default(), position: 0, node: whole }];
    patch
}

/// True where all children can be told apart by their keys, in both.
fn can_compare(old: &Element, new: &Element) -> bool {
    [old, new].into_iter().all(|element| {
        let mut keys = BTreeSet::new();
        element.nodes().iter().all(|node| !matches!(node, Node::Text(_)) && keys.insert(key(node)))
    })
}

fn compare(old: &Element, new: &Element, place: &Place, changes: &mut Vec<Change>) {
    if old.attributes() != new.attributes() {
        let unset =
            old.attributes().iter().filter(|a| new.attribute(&a.name).is_none()).map(|a| (a.name.clone(), None));
        let set = new.attributes().iter().filter(|a| old.attribute(&a.name) != Some(&a.value));
        let set = set.map(|a| (a.name.clone(), Some(a.value.clone())));
        let (list, result) = (unset.chain(set).collect(), new.attributes().to_vec());
        changes.push(Change::Modify { place: place.clone(), list, result });
    }
    let old_places: BTreeMap<Key<'_>, (usize, &Node)> =
        old.nodes().iter().enumerate().map(|(index, node)| (key(node), (index, node))).collect();
    // What is in both, and can stay the element that it is.
    let mut kept: BTreeMap<Key<'_>, (usize, usize)> = BTreeMap::new();
    let mut inner = Vec::new();
    for (index, node) in new.nodes().iter().enumerate() {
        let Some((old_index, old_node)) = old_places.get(&key(node)) else { continue };
        match (old_node, node) {
            (Node::Element(old), Node::Element(new)) if !(Arc::ptr_eq(old, new) || old == new) => {
                if !can_compare(old, new) {
                    continue;
                }
                compare(old, new, &place.below(new), &mut inner);
            }
            _ => {}
        }
        kept.insert(key(node), (*old_index, index));
    }
    let unmoved = longest_row(new.nodes().iter().filter_map(|node| kept.get(&key(node)).copied()));
    // A comment cannot be moved, for want of a name.
    kept.retain(|key, (_, index)| matches!(key, Key::Element(..)) || unmoved.contains(index));
    for (index, node) in old.nodes().iter().enumerate().rev() {
        if !kept.contains_key(&key(node)) {
            changes.push(match node {
                Node::Element(element) => Change::Delete { place: place.below(element), comment: None },
                _ => Change::Delete { place: place.clone(), comment: Some(index) },
            });
        }
    }
    changes.append(&mut inner);
    for (position, node) in new.nodes().iter().enumerate() {
        match (kept.contains_key(&key(node)), node) {
            (false, _) => changes.push(Change::Create { parent: place.clone(), position, node: node.clone() }),
            (true, Node::Element(element)) if !unmoved.contains(&position) => {
                changes.push(Change::Move { place: place.below(element), position });
            }
            _ => {}
        }
    }
}

/// Of pairs in the order of their second part, the second parts of the longest row whose first parts grow.
fn longest_row(pairs: impl Iterator<Item = (usize, usize)>) -> BTreeSet<usize> {
    let pairs: Vec<(usize, usize)> = pairs.collect();
    // For each length, the pair that ends the row of this length with the smallest first part; and who comes before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (index, (first, _)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| pairs[*end].0 < *first);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(index);
        } else {
            ends[length] = index;
        }
    }
    let mut row = BTreeSet::new();
    let mut next = ends.last().copied();
    while let Some(index) = next {
        row.insert(pairs[index].1);
        next = before[index];
    }
    row
}

impl Patch {
    /// True where it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Applies the patch, or changes nothing.
    ///
    /// # Errors
    /// Where the patch is for another version, or something that it changes is not there.
    pub fn apply(&self, document: &mut Document) -> Result<(), PatchError> {
        let found = Version::of(document);
        if found != self.source {
            return Err(PatchError::Version { wanted: self.source, found });
        }
        let mut work = document.clone();
        let mut placed = Vec::new();
        for change in &self.changes {
            match change {
                Change::Create { position, .. } => placed.push((*position, change)),
                Change::Move { place, position } => {
                    placed.push((*position, change));
                    let (siblings, index) = place.find(&mut work)?;
                    let node = siblings.nodes_mut().remove(index);
                    siblings.nodes_mut().push(node);
                }
                Change::Delete { place, comment: None } => {
                    let (siblings, index) = place.find(&mut work)?;
                    siblings.nodes_mut().remove(index);
                }
                Change::Delete { place, comment: Some(index) } => {
                    let nodes = place.element(&mut work)?.nodes_mut();
                    if !matches!(nodes.get(*index), Some(Node::Comment(_))) {
                        return Err(PatchError::Missing(format!("comment at place {index} of {place}")));
                    }
                    nodes.remove(*index);
                }
                Change::Modify { place, result, .. } => place.element(&mut work)?.replace_attributes(result.clone()),
            }
        }
        placed.sort_by_key(|(position, _)| *position);
        for (position, change) in placed {
            match change {
                Change::Create { parent, node: Node::Element(root), .. } if parent.0.is_empty() => {
                    *work.root_mut() = (**root).clone();
                }
                Change::Create { parent, node, .. } => {
                    let nodes = parent.element(&mut work)?.nodes_mut();
                    nodes.insert(position.min(nodes.len()), node.clone());
                }
                Change::Move { place, .. } => {
                    let (siblings, index) = place.find(&mut work)?;
                    let nodes = siblings.nodes_mut();
                    let node = nodes.remove(index);
                    nodes.insert(position.min(nodes.len()), node);
                }
                Change::Delete { .. } | Change::Modify { .. } => {}
            }
        }
        if work.root().depth() > crate::reader::DEEPEST {
            return Err(PatchError::NoPatch("it nests elements too deep".to_owned()));
        }
        if Version::of(&work) != self.target {
            self.target.put(&mut work);
        }
        *document = work;
        Ok(())
    }

    /// The patch as XML.
    pub fn to_element(&self) -> Element {
        let version = |name: &str, version: Version| {
            let mut element = Element::new(name);
            version.write(&mut element);
            element
        };
        let versions = Element::new("version")
            .with_child(version("source", self.source))
            .with_child(version("target", self.target));
        let mut diff = Element::new("diff").with("format", "2").with_child(versions);
        for change in &self.changes {
            diff.push(change.to_element());
        }
        diff
    }

    /// Reads a patch.
    ///
    /// # Errors
    /// Where the element is not a `<diff format="2">` with what belongs into it.
    pub fn from_element(diff: &Element) -> Result<Self, PatchError> {
        if diff.name() != "diff" || diff.attribute("format") != Some("2") {
            return Err(PatchError::NoPatch("it must be <diff format=\"2\">".to_owned()));
        }
        let version = |name| diff.child("version").and_then(|v| v.child(name)).map(Version::of_element);
        let (Some(source), Some(target)) = (version("source"), version("target")) else {
            return Err(PatchError::NoPatch("it says no source or no target version".to_owned()));
        };
        let changes = diff.children_named("change").map(Change::from_element).collect::<Result<_, _>>()?;
        Ok(Self { source, target, changes })
    }
}

impl Change {
    fn to_element(&self) -> Element {
        let change =
            |operation: &str, place: &str| Element::new("change").with("operation", operation).with("path", place);
        match self {
            Change::Create { parent, position, node } => {
                let mut element = change("create", &parent.to_string()).with("position", position.to_string());
                element.nodes_mut().push(node.clone());
                element
            }
            Change::Delete { place, comment: None } => change("delete", &place.to_string()),
            Change::Delete { place, comment: Some(index) } => {
                change("delete", &format!("{place}/comment")).with("position", index.to_string())
            }
            Change::Move { place, position } => {
                change("move", &place.to_string()).with("position", position.to_string())
            }
            Change::Modify { place, list, result } => {
                let mut changes = Element::new("change-list");
                for (name, value) in list {
                    let attribute = Element::new("change-attr").with("name", name);
                    changes.push(match value {
                        Some(value) => attribute.with("operation", "set").with("value", value),
                        None => attribute.with("operation", "unset"),
                    });
                }
                let mut after = Element::new(place.0.last().map_or_else(|| Arc::from("cib"), |(name, _)| name.clone()));
                after.replace_attributes(result.clone());
                change("modify", &place.to_string())
                    .with_child(changes)
                    .with_child(Element::new("change-result").with_child(after))
            }
        }
    }

    fn from_element(change: &Element) -> Result<Self, PatchError> {
        let wrong = |what: &str| PatchError::NoPatch(format!("{}: {what}", change.start_tag()));
        let path = change.attribute("path").ok_or_else(|| wrong("there is no path"))?;
        let place = Place::parse(path).ok_or_else(|| wrong("the path is not one of a patch"))?;
        let position = match change.attribute("position") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| wrong("the position is no number"))?),
        };
        let needed = || position.ok_or_else(|| wrong("there is no position"));
        match change.attribute("operation") {
            Some("create") => {
                let node = change.nodes().first().ok_or_else(|| wrong("there is nothing to create"))?.clone();
                Ok(Change::Create { parent: place, position: needed()?, node })
            }
            Some("move") => Ok(Change::Move { place, position: needed()? }),
            Some("delete") => match (place.0.split_last(), position) {
                (Some(((name, None), parent)), Some(index)) if &**name == "comment" => {
                    Ok(Change::Delete { place: Place(parent.to_vec()), comment: Some(index) })
                }
                _ => Ok(Change::Delete { place, comment: None }),
            },
            Some("modify") => {
                let result = change.child("change-result").and_then(|result| result.children().next());
                let result = result.ok_or_else(|| wrong("there is no result"))?.attributes().to_vec();
                let changes = change.child("change-list").into_iter().flat_map(Element::children);
                let list = changes
                    .filter_map(|attr| Some((attr.attribute("name")?.into(), attr.attribute("value").map(Arc::from))))
                    .collect();
                Ok(Change::Modify { place, list, result })
            }
            _ => Err(wrong("the operation must be create, delete, modify or move")),
        }
    }
}

impl Place {
    fn below(&self, element: &Element) -> Self {
        let mut place = self.clone();
        place.0.push((Arc::clone(element.shared_name()), element.attribute("id").map(Arc::from)));
        place
    }

    fn parse(text: &str) -> Option<Self> {
        let mut steps: Vec<(Arc<str>, Option<Arc<str>>)> = Vec::new();
        let mut rest = text;
        while let Some(step) = rest.strip_prefix('/') {
            let end = step.find(['/', '[']).unwrap_or(step.len());
            let (name, behind) = step.split_at(end);
            let (id, behind) = match behind.strip_prefix("[@id=") {
                Some(quoted) => {
                    let quote = quoted.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
                    let end = quoted[1..].find(&format!("{quote}]"))?;
                    (Some(&quoted[1..=end]), &quoted[end + 3..])
                }
                None => (None, behind),
            };
            steps.push((Arc::from(name), id.map(Arc::from)));
            rest = behind;
        }
        (rest.is_empty() && steps.iter().all(|(name, _)| !name.is_empty())).then_some(Self(steps))
    }

    fn missing(&self) -> PatchError {
        PatchError::Missing(self.to_string())
    }

    /// The element at this place.
    fn element<'a>(&self, document: &'a mut Document) -> Result<&'a mut Element, PatchError> {
        let (first, rest) = self.0.split_first().ok_or_else(|| self.missing())?;
        let root = document.root_mut();
        if !is(root, first) {
            return Err(self.missing());
        }
        rest.iter()
            .try_fold(root, |element, step| element.find_child_mut(|child| is(child, step)))
            .ok_or_else(|| self.missing())
    }

    /// The parent of the element at this place, and the element's index in it.
    fn find<'a>(&self, document: &'a mut Document) -> Result<(&'a mut Element, usize), PatchError> {
        let (last, parents) = self.0.split_last().ok_or_else(|| self.missing())?;
        let parent = Place(parents.to_vec()).element(document).map_err(|_| self.missing())?;
        let index = parent.nodes().iter().position(|node| matches!(node, Node::Element(e) if is(e, last)));
        let index = index.ok_or_else(|| self.missing())?;
        Ok((parent, index))
    }
}

fn is(element: &Element, (name, id): &(Arc<str>, Option<Arc<str>>)) -> bool {
    element.name() == &**name && id.as_deref().is_none_or(|id| element.attribute("id") == Some(id))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, id) in &self.0 {
            write!(f, "/{name}")?;
            if let Some(id) = id {
                let quote = if id.contains('\'') { '"' } else { '\'' };
                write!(f, "[@id={quote}{id}{quote}]")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(old: &str, new: &str, expected: Expect) {
        let (old, new) = (Document::parse(old).unwrap(), Document::parse(new).unwrap());
        let written = round_trip(&old, &new);
        expected.assert_eq(&written);
    }

    /// The patch as text, after it has been written, read and applied.
    fn round_trip(old: &Document, new: &Document) -> String {
        let patch = diff(old, new);
        let written = patch.to_element().to_xml();
        let read = Patch::from_element(&Element::parse(&written).unwrap()).unwrap();
        assert_eq!(read, patch);
        let mut patched = old.clone();
        read.apply(&mut patched).unwrap();
        assert_eq!(patched.to_xml(), new.to_xml());
        written
    }

    #[test]
    fn all_kinds_of_changes() {
        check(
            "<cib epoch='1' num_updates='4'><configuration><r><a id='1' x='1'/><a id='2'/><a id='3'/><b id='4'/></r><gone/></configuration></cib>",
            "<cib epoch='2' num_updates='0'><configuration><r><a id='3'/><a id='1' y='2'/><a id='5'><c/></a><a id='2'/></r></configuration></cib>",
            expect![[r#"
                <diff format="2">
                  <version>
                    <source admin_epoch="0" epoch="1" num_updates="4"/>
                    <target admin_epoch="0" epoch="2" num_updates="0"/>
                  </version>
                  <change operation="modify" path="/cib">
                    <change-list>
                      <change-attr name="epoch" operation="set" value="2"/>
                      <change-attr name="num_updates" operation="set" value="0"/>
                    </change-list>
                    <change-result>
                      <cib epoch="2" num_updates="0"/>
                    </change-result>
                  </change>
                  <change operation="delete" path="/cib/configuration/gone"/>
                  <change operation="delete" path="/cib/configuration/r/b[@id='4']"/>
                  <change operation="modify" path="/cib/configuration/r/a[@id='1']">
                    <change-list>
                      <change-attr name="x" operation="unset"/>
                      <change-attr name="y" operation="set" value="2"/>
                    </change-list>
                    <change-result>
                      <a id="1" y="2"/>
                    </change-result>
                  </change>
                  <change operation="move" path="/cib/configuration/r/a[@id='3']" position="0"/>
                  <change operation="create" path="/cib/configuration/r" position="2">
                    <a id="5">
                      <c/>
                    </a>
                  </change>
                </diff>
            "#]],
        );
        check(
            "<cib epoch='1'/>",
            "<cib epoch='1'/>",
            expect![[r#"
            <diff format="2">
              <version>
                <source admin_epoch="0" epoch="1" num_updates="0"/>
                <target admin_epoch="0" epoch="1" num_updates="0"/>
              </version>
            </diff>
        "#]],
        );
        check(
            "<cib><r><!--one--><a id='1'/><!--two--></r></cib>",
            "<cib><r><!--two--><a id='1'/><!--three--></r></cib>",
            expect![[r#"
                <diff format="2">
                  <version>
                    <source admin_epoch="0" epoch="0" num_updates="0"/>
                    <target admin_epoch="0" epoch="0" num_updates="0"/>
                  </version>
                  <change operation="delete" path="/cib/r/comment" position="2"/>
                  <change operation="delete" path="/cib/r/comment" position="0"/>
                  <change operation="create" path="/cib/r" position="0">
                    <!--two-->
                  </change>
                  <change operation="create" path="/cib/r" position="2">
                    <!--three-->
                  </change>
                </diff>
            "#]],
        );
    }

    #[test]
    fn what_cannot_be_told_apart_is_made_anew() {
        check(
            "<cib><r id='r'><m id-ref='1'/><m id-ref='2'/></r><s/></cib>",
            "<cib><r id='r'><m id-ref='2'/><m id-ref='1'/></r><s/></cib>",
            expect![[r#"
                <diff format="2">
                  <version>
                    <source admin_epoch="0" epoch="0" num_updates="0"/>
                    <target admin_epoch="0" epoch="0" num_updates="0"/>
                  </version>
                  <change operation="delete" path="/cib/r[@id='r']"/>
                  <change operation="create" path="/cib" position="0">
                    <r id="r">
                      <m id-ref="2"/>
                      <m id-ref="1"/>
                    </r>
                  </change>
                </diff>
            "#]],
        );
        check(
            "<cib><a/><a/></cib>",
            "<cib><a x='1'/><a/></cib>",
            expect![[r#"
            <diff format="2">
              <version>
                <source admin_epoch="0" epoch="0" num_updates="0"/>
                <target admin_epoch="0" epoch="0" num_updates="0"/>
              </version>
              <change operation="create" path="" position="0">
                <cib>
                  <a x="1"/>
                  <a/>
                </cib>
              </change>
            </diff>
        "#]],
        );
    }

    #[test]
    fn a_patch_that_does_not_fit_changes_nothing() {
        let (old, new) = ("<cib epoch='1'><a id='1'/><b/></cib>", "<cib epoch='2'><a id='1' x='1'/></cib>");
        let patch = diff(&Document::parse(old).unwrap(), &Document::parse(new).unwrap());
        let mut shown = String::new();
        for other in
            ["<cib epoch='2'><a id='1'/><b/></cib>", "<cib epoch='1'><b/></cib>", "<cib epoch='1'><a id='1'/></cib>"]
        {
            let before = Document::parse(other).unwrap();
            let mut document = before.clone();
            shown += &format!("{}\n", patch.apply(&mut document).unwrap_err());
            assert_eq!(document, before);
        }
        expect![[r#"
            the patch is for version 0.1.0, and the document has 0.2.0
            the patch does not fit: there is no /cib/a[@id='1']
            the patch does not fit: there is no /cib/b
        "#]]
        .assert_eq(&shown);
        for no_patch in [
            "<diff/>",
            "<diff format='2'/>",
            "<diff format='2'><version><source/><target/></version><change operation='x' path='/a'/></diff>",
        ] {
            assert!(Patch::from_element(&Element::parse(no_patch).unwrap()).is_err());
        }
    }

    #[test]
    fn few_moves() {
        let list = |ids: &[u32]| {
            let mut root = Element::new("cib");
            ids.iter().for_each(|id| root.push(Element::new("a").with("id", id.to_string())));
            Document::new(root)
        };
        let patch = diff(&list(&[1, 2, 3, 4, 5]), &list(&[2, 3, 4, 5, 1]));
        assert_eq!(patch.changes.len(), 1);
    }

    fn any_document() -> impl Strategy<Value = Document> {
        let leaf = ("[ab]", 0..5u8, "[xy]{0,2}").prop_map(|(name, id, value)| {
            let element = Element::new(name);
            let element = if id > 0 { element.with("id", id.to_string()) } else { element };
            if value.is_empty() { element } else { element.with(&value[..1], &value) }
        });
        let any = leaf.clone().prop_recursive(3, 24, 5, move |inner| {
            let node = prop_oneof![6 => inner.prop_map(|e| Node::Element(e.into())), 1 => "[pq]".prop_map(|t| Node::Comment(t.into()))];
            (leaf.clone(), prop::collection::vec(node, 0..5)).prop_map(|(mut element, nodes)| {
                *element.nodes_mut() = nodes;
                element
            })
        });
        (0..3u32, prop::collection::vec(any, 0..5)).prop_map(|(epoch, children)| {
            let mut root = Element::new("cib");
            Version { epoch: epoch.into(), ..Version::default() }.write(&mut root);
            children.into_iter().for_each(|child| root.push(child));
            Document::new(root)
        })
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_new_of_the_old(old in any_document(), new in any_document()) {
            round_trip(&old, &new);
        }
    }
}

//! The document: an immutable tree whose copies share what they have in common.
//!
//! A snapshot is a clone, and costs one reference count. A change copies only the path from the root to the changed
//! element ([`Element::children_mut`], through [`Arc::make_mut`]), and copies nothing at all where nobody holds a snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A place in the text that a document was read from, both counted from 1. Zero where an element came from no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// An attribute of an element, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute's name.
    pub name: Arc<str>,
    /// Its value, with entities resolved.
    pub value: Arc<str>,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Another element.
    Element(Arc<Element>),
    /// A comment, without its marks.
    Comment(Arc<str>),
    /// Text that is not only white space.
    Text(Arc<str>),
}

/// An element of the document. Equality does not look at positions.
#[derive(Clone, Debug)]
pub struct Element {
    name: Arc<str>,
    attributes: Vec<Attribute>,
    children: Vec<Node>,
    position: Position,
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.attributes == other.attributes && self.children == other.children
    }
}

impl Eq for Element {}

impl Element {
    /// A new element without attributes and children.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), attributes: Vec::new(), children: Vec::new(), position: Position::default() }
    }

    /// This element with one more attribute (or another value of it).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.set(name, value.as_ref());
        self
    }

    /// This element with one more child at its end.
    #[must_use]
    pub fn with_child(mut self, child: Element) -> Self {
        self.push(child);
        self
    }

    /// The element's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `id` attribute, or an empty string.
    pub fn id(&self) -> &str {
        self.attribute("id").unwrap_or_default()
    }

    /// Where the element stood in the text.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| &*a.name == name).map(|a| &*a.value)
    }

    /// The value of an attribute, shared.
    pub fn shared_attribute(&self, name: &str) -> Option<&Arc<str>> {
        self.attributes.iter().find(|a| &*a.name == name).map(|a| &a.value)
    }

    /// All attributes in order.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Sets an attribute, in its place if it is there already, else at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.attributes.iter_mut().find(|a| &*a.name == name) {
            Some(attribute) => attribute.value = value.into(),
            None => self.attributes.push(Attribute { name: name.into(), value: value.into() }),
        }
    }

    /// Removes an attribute; true if it was there.
    pub fn unset(&mut self, name: &str) -> bool {
        let before = self.attributes.len();
        self.attributes.retain(|a| &*a.name != name);
        before != self.attributes.len()
    }

    /// Everything inside, comments and text included.
    pub fn nodes(&self) -> &[Node] {
        &self.children
    }

    /// Everything inside, to be changed.
    pub fn nodes_mut(&mut self) -> &mut Vec<Node> {
        &mut self.children
    }

    /// The elements inside, in order.
    pub fn children(&self) -> impl DoubleEndedIterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(&**element),
            Node::Comment(_) | Node::Text(_) => None,
        })
    }

    /// The elements inside, each made unshared as it is reached.
    pub fn children_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.children.iter_mut().filter_map(|node| match node {
            Node::Element(element) => Some(Arc::make_mut(element)),
            Node::Comment(_) | Node::Text(_) => None,
        })
    }

    /// The elements of one name inside, in order.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Element> {
        self.children().filter(move |child| child.name() == name)
    }

    /// The first element of a name inside.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children().find(|child| child.name() == name)
    }

    /// The first element inside of a name, to be changed.
    pub fn child_mut(&mut self, name: &str) -> Option<&mut Element> {
        self.find_child_mut(|child| child.name() == name)
    }

    /// The first element inside that fits, to be changed. Only this one is made unshared.
    pub fn find_child_mut(&mut self, fits: impl Fn(&Element) -> bool) -> Option<&mut Element> {
        self.children.iter_mut().find_map(|node| match node {
            Node::Element(element) if fits(element) => Some(Arc::make_mut(element)),
            _ => None,
        })
    }

    /// The first element of a name inside, made at the end if there is none.
    pub fn child_or_new(&mut self, name: &str) -> &mut Element {
        let at =
            self.children.iter().position(|node| matches!(node, Node::Element(e) if e.name() == name)).unwrap_or_else(
                || {
                    self.push(Element::new(name));
                    self.children.len() - 1
                },
            );
        match &mut self.children[at] {
            Node::Element(element) => Arc::make_mut(element),
            Node::Comment(_) | Node::Text(_) => unreachable!("the place was chosen because an element is there"),
        }
    }

    /// Adds an element at the end.
    pub fn push(&mut self, child: impl Into<Arc<Element>>) {
        self.children.push(Node::Element(child.into()));
    }

    /// Removes the elements inside that fit; how many there were.
    pub fn remove_children(&mut self, fits: impl Fn(&Element) -> bool) -> usize {
        let before = self.children.len();
        self.children.retain(|node| !matches!(node, Node::Element(e) if fits(e)));
        before - self.children.len()
    }

    /// This element and all elements below it, in document order.
    pub fn descendants(&self) -> Descendants<'_> {
        Descendants { waiting: vec![self] }
    }

    /// How many levels of elements there are, this one counted.
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        let mut waiting = vec![(self, 1)];
        while let Some((element, depth)) = waiting.pop() {
            deepest = deepest.max(depth);
            waiting.extend(element.children().map(|child| (child, depth + 1)));
        }
        deepest
    }

    /// The raw parts, for the reader.
    pub(crate) fn from_parts(name: Arc<str>, attributes: Vec<Attribute>, position: Position) -> Self {
        Self { name, attributes, children: Vec::new(), position }
    }

    /// The element's name, shared.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Gives the element these attributes instead of those it has.
    pub fn replace_attributes(&mut self, attributes: Vec<Attribute>) {
        self.attributes = attributes;
    }

    /// Gives the element another name.
    pub fn rename(&mut self, name: &str) {
        self.name = name.into();
    }

    /// Gives an attribute another name in the same place; where the new name is there already, the old one just goes.
    pub fn rename_attribute(&mut self, from: &str, to: &str) {
        if self.attribute(to).is_some() {
            self.unset(from);
        } else if let Some(attribute) = self.attributes.iter_mut().find(|a| &*a.name == from) {
            attribute.name = to.into();
        }
    }
}

/// The elements of a subtree in document order: [`Element::descendants`].
#[derive(Clone, Debug)]
pub struct Descendants<'a> {
    /// Not given out yet, the next one last.
    waiting: Vec<&'a Element>,
}

impl<'a> Iterator for Descendants<'a> {
    type Item = &'a Element;

    fn next(&mut self) -> Option<&'a Element> {
        let element = self.waiting.pop()?;
        self.waiting.extend(element.children().rev());
        Some(element)
    }
}

/// A whole CIB. Cloning is cheap: the clone is a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    root: Arc<Element>,
    /// Comments in front of the root element and behind it; hardly ever any.
    around: [Arc<[Arc<str>]>; 2],
}

impl Document {
    /// A document with this root element.
    pub fn new(root: Element) -> Self {
        Self::with_comments(root, [Arc::default(), Arc::default()])
    }

    /// A document with comments in front of its root element and behind it.
    pub(crate) fn with_comments(root: Element, around: [Arc<[Arc<str>]>; 2]) -> Self {
        Self { root: Arc::new(root), around }
    }

    /// The comments in front of the root element, and those behind it.
    pub(crate) fn comments_around(&self) -> &[Arc<[Arc<str>]>; 2] {
        &self.around
    }

    /// The root element, `<cib>`.
    pub fn root(&self) -> &Element {
        &self.root
    }

    /// The root element, to be changed; snapshots taken before keep what they had.
    pub fn root_mut(&mut self) -> &mut Element {
        Arc::make_mut(&mut self.root)
    }

    /// The elements along `path` from the root, for instance `["configuration", "resources"]`.
    pub fn section(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self.root(), |element, name| element.child(name))
    }

    /// Every element that has an `id`, by it. Where several have the same, the first one counts.
    pub fn ids(&self) -> BTreeMap<&str, &Element> {
        let mut ids = BTreeMap::new();
        for element in self.root.descendants() {
            if let Some(id) = element.attribute("id") {
                ids.entry(id).or_insert(element);
            }
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_what_it_had() {
        let mut document = Document::parse("<cib epoch='1'><configuration/></cib>").unwrap();
        let snapshot = document.clone();
        document.root_mut().set("epoch", "2");
        assert_eq!(snapshot.root().attribute("epoch"), Some("1"));
        assert_eq!(document.root().attribute("epoch"), Some("2"));
    }

    #[test]
    fn descendants_come_in_document_order() {
        let document = Document::parse("<a><b><c/></b><d><e/><f/></d></a>").unwrap();
        let names: String = document.root().descendants().map(Element::name).collect();
        assert_eq!(names, "abcdef");
        assert_eq!(document.root().depth(), 3);
    }
}

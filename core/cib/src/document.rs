//! The document: an immutable tree whose copies share what they have in common.
//!
//! A snapshot is a clone, and costs one reference count. A change copies only the path from the root to the changed
//! element ([`Element::children_mut`], through [`Arc::make_mut`]), and copies nothing at all where nobody holds a snapshot.

use std::fmt;
use std::sync::Arc;
use thiserror::Error;

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

    /// Remembers where the element stood in the text.
    pub fn set_position(&mut self, position: Position) {
        self.position = position;
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| &*a.name == name).map(|a| &*a.value)
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
    pub fn descendants(&self) -> Box<dyn Iterator<Item = &Element> + '_> {
        Box::new(std::iter::once(self).chain(self.children().flat_map(Element::descendants)))
    }
}

/// A whole CIB. Cloning is cheap: the clone is a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    root: Arc<Element>,
}

/// Why a text is not a document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {message}")]
pub struct ParseError {
    /// Where in the text.
    pub position: Position,
    /// What is wrong there.
    pub message: String,
}

/// More nesting than this is refused: a CIB needs about 15.
const DEEPEST: usize = 200;

impl Document {
    /// A document with this root element.
    pub fn new(root: Element) -> Self {
        Self { root: Arc::new(root) }
    }

    /// Reads XML. Entities that the text itself defines are refused, as is nesting beyond any CIB's.
    ///
    /// # Errors
    /// Where the text is not well-formed XML, with the place.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if let Some(position) = deeper_than(text, DEEPEST) {
            return Err(ParseError { position, message: format!("elements are nested more than {DEEPEST} deep") });
        }
        let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: 20_000_000, ..Default::default() };
        let parsed = roxmltree::Document::parse_with_options(text, options).map_err(|error| {
            let position = error.pos();
            ParseError { position: Position { line: position.row, column: position.col }, message: error.to_string() }
        })?;
        let mut lines = Lines::new(text);
        Ok(Self { root: Arc::new(convert(parsed.root_element(), &mut lines)) })
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
}

/// Where the text first nests elements deeper than `limit`, found before the recursive reader sees it.
fn deeper_than(text: &str, limit: usize) -> Option<Position> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0usize);
    let find =
        |from: usize, what: &str| text.get(from..).and_then(|rest| rest.find(what)).map(|i| from + i + what.len());
    while let Some(open) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'<')).map(|i| at + i) {
        let rest = &bytes[open..];
        if rest.starts_with(b"<!--") {
            at = find(open + 4, "-->")?;
        } else if rest.starts_with(b"<![CDATA[") {
            at = find(open + 9, "]]>")?;
        } else if rest.starts_with(b"<?") || rest.starts_with(b"<!") {
            at = find(open, ">")?;
        } else {
            let closing = rest.starts_with(b"</");
            let mut quote = None;
            let end = open
                + rest.iter().position(|b| match quote {
                    Some(q) => {
                        if *b == q {
                            quote = None;
                        }
                        false
                    }
                    None if *b == b'"' || *b == b'\'' => {
                        quote = Some(*b);
                        false
                    }
                    None => *b == b'>',
                })?;
            if closing {
                depth = depth.saturating_sub(1);
            } else if bytes[end - 1] != b'/' {
                depth += 1;
                if depth > limit {
                    return Some(Lines::new(text).position(open));
                }
            }
            at = end + 1;
        }
    }
    None
}

/// Turns byte offsets into lines and columns, going forward once through the text.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    position: Position,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, offset: 0, position: Position { line: 1, column: 1 } }
    }

    fn position(&mut self, offset: usize) -> Position {
        for c in self.text.get(self.offset..offset).unwrap_or_default().chars() {
            if c == '\n' {
                self.position = Position { line: self.position.line + 1, column: 1 };
            } else {
                self.position.column += 1;
            }
        }
        self.offset = offset;
        self.position
    }
}

fn convert(node: roxmltree::Node<'_, '_>, lines: &mut Lines<'_>) -> Element {
    let mut element = Element::new(node.tag_name().name());
    element.position = lines.position(node.range().start);
    element.attributes =
        node.attributes().map(|a| Attribute { name: a.name().into(), value: a.value().into() }).collect();
    for child in node.children() {
        if child.is_element() {
            element.children.push(Node::Element(Arc::new(convert(child, lines))));
        } else if let Some(text) = child.text() {
            if child.is_comment() {
                element.children.push(Node::Comment(text.into()));
            } else if child.is_text() && !text.trim().is_empty() {
                element.children.push(Node::Text(text.into()));
            }
        }
    }
    element
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
    fn elements_know_their_place() {
        let document = Document::parse("<cib>\n  <a/>\n  <!-- é --><b/></cib>").unwrap();
        let places: Vec<String> = document.root().descendants().map(|e| e.position().to_string()).collect();
        assert_eq!(places, ["1:1", "2:3", "3:13"]);
    }

    #[test]
    fn deep_nesting_and_entities_are_refused() {
        let deep = "<a>".repeat(100_000);
        assert!(Document::parse(&deep).unwrap_err().message.contains("nested"));
        let laughs = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><x>&b;</x>";
        assert!(Document::parse(laughs).is_err());
    }
}

//! From text to a document.
//!
//! The XML is tokenised by `roxmltree`: tag shape by tag shape ([`shapes`]), and as a whole where that does not do, above all
//! to say what is wrong. What that library does not bound is bounded here, before it sees the text:
//! nesting (our own tree is dropped recursively), the number of attributes of one element (the check for doubled ones
//! is quadratic) and the number of name space declarations (each copies all those in scope). Entities of the text's own
//! cannot exist because a document type declaration is refused. All time and memory is then linear in the text.
//!
//! Names and values repeat thousands of times in a CIB. The reader shares equal ones through a table of bounded size, so that
//! a large status section takes about as much memory as its text.

use crate::document::{Attribute, Document, Element, Node, Position};
use std::sync::Arc;
use thiserror::Error;

mod shapes;

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
pub(crate) const DEEPEST: usize = 200;
/// More attributes of one element than this are refused: a CIB needs about 25.
const MOST_ATTRIBUTES: usize = 1000;
/// More name space declarations than this are refused: a CIB needs none.
const MOST_NAMESPACES: usize = 64;
/// More nodes (elements, texts, comments) than this are refused: about a hundred times the largest known CIB.
const MOST_NODES: u32 = 10_000_000;

impl Document {
    /// Reads XML. A document type declaration is refused, as is nesting beyond any CIB's. Processing instructions are
    /// passed over, as is white space between elements.
    ///
    /// # Errors
    /// Where the text is not well-formed XML, with the place.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        shapes::read(text).map_or_else(|| read_whole(text), Ok)
    }

    /// Reads XML from bytes, which must be UTF-8.
    ///
    /// # Errors
    /// As [`Document::parse`], and where the bytes are not UTF-8, with the place of the first wrong one.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text),
            Err(error) => {
                let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
                let position = Lines::new(good).position(good.len());
                let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
                Err(ParseError { position, message: format!("this is not UTF-8 (byte 0x{byte:02x})") })
            }
        }
    }
}

impl Element {
    /// Reads one element and what is in it.
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Document::parse(text).map(|document| document.root().clone())
    }
}

/// Reads a text in one go.
fn read_whole(text: &str) -> Result<Document, ParseError> {
    check_shape(text)?;
    let parsed = roxmltree::Document::parse_with_options(text, options()).map_err(|error| {
        let position = error.pos();
        // The library says the place in its messages too.
        let message = error.to_string().replace(&format!(" at {position}"), "");
        ParseError { position: Position { line: position.row, column: position.col }, message }
    })?;
    let mut builder = Builder { text, lines: Lines::new(text), shared: Shared::new(text) };
    let root = builder.build(parsed.root_element());
    Ok(Document::with_comments(root, comments_around(&parsed)))
}

fn options<'text>() -> roxmltree::ParsingOptions<'text> {
    roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..Default::default() }
}

/// The comments in front of the root element, and those behind it.
fn comments_around(parsed: &roxmltree::Document<'_>) -> [Arc<[Arc<str>]>; 2] {
    let comments = |nodes: &mut dyn Iterator<Item = roxmltree::Node<'_, '_>>| {
        nodes.filter(roxmltree::Node::is_comment).filter_map(|n| n.text().map(Arc::from)).collect()
    };
    let mut top = parsed.root().children();
    let before = comments(&mut top.by_ref().take_while(|node| !node.is_element()));
    [before, comments(&mut top)]
}

/// What is kept of what is not an element: comments, and text that is not only white space.
fn text_or_comment(node: &roxmltree::Node<'_, '_>) -> Option<Node> {
    let text = node.text().unwrap_or_default();
    if node.is_comment() {
        Some(Node::Comment(text.into()))
    } else {
        (node.is_text() && !is_space(text)).then(|| Node::Text(text.into()))
    }
}

/// Refuses what would cost more than the length of the text.
///
/// This follows the lexical structure of XML exactly as far as the text is well-formed. At the first place where it is
/// not, the two readers may part, but there the real one stops with an error.
fn check_shape(text: &str) -> Result<(), ParseError> {
    let refuse = |at: usize, message: String| Err(ParseError { position: Lines::new(text).position(at), message });
    let (mut depth, mut at, mut name_spaces) = (0usize, 0usize, 0usize);
    while let Some(open) = text.get(at..).and_then(|rest| rest.find('<')).map(|found| at + found) {
        let rest = &text[open..];
        let next = if let Some(end) = behind_passage(text, open) {
            end
        } else if rest.starts_with("<!") {
            return refuse(open, "a document type declaration is refused: a CIB has none".to_owned());
        } else if rest.starts_with("</") {
            depth = depth.saturating_sub(1);
            behind(text, open, ">")
        } else {
            match start_tag(&rest.as_bytes()[1..]) {
                Some(tag) if tag.attributes > MOST_ATTRIBUTES => {
                    return refuse(open, format!("an element with more than {MOST_ATTRIBUTES} attributes"));
                }
                Some(tag) => {
                    name_spaces += tag.name_spaces;
                    if name_spaces > MOST_NAMESPACES {
                        return refuse(open, format!("more than {MOST_NAMESPACES} name space declarations"));
                    }
                    depth += usize::from(!tag.empty);
                    if depth > DEEPEST {
                        return refuse(open, format!("elements are nested more than {DEEPEST} deep"));
                    }
                    Some(open + 1 + tag.length)
                }
                None => None,
            }
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(())
}

/// The end of the comment, character data or instruction that begins at a place: what is in it is no tag. The inner one is
/// nothing where there is no end, the outer one where nothing of this kind begins.
fn behind_passage(text: &str, open: usize) -> Option<Option<usize>> {
    let rest = &text[open..];
    if rest.starts_with("<!--") {
        Some(behind(text, open + 4, "-->"))
    } else if rest.starts_with("<![CDATA[") {
        Some(behind(text, open + 9, "]]>"))
    } else {
        rest.starts_with("<?").then(|| behind(text, open + 2, "?>"))
    }
}

/// The place behind the next `what`.
fn behind(text: &str, from: usize, what: &str) -> Option<usize> {
    text.get(from..)?.find(what).map(|found| from + found + what.len())
}

/// What [`check_shape`] wants to know of a start tag.
struct StartTag {
    /// Bytes up to behind `>`.
    length: usize,
    /// How many values in quotes.
    attributes: usize,
    /// At most so many name spaces are declared.
    name_spaces: usize,
    /// It ends with `/>`.
    empty: bool,
}

/// Reads a start tag behind its `<`; nothing where it does not end.
fn start_tag(bytes: &[u8]) -> Option<StartTag> {
    let (mut at, mut attributes, mut name_spaces) = (0, 0, 0);
    loop {
        match *bytes.get(at)? {
            b'>' => {
                let empty = at > 0 && bytes[at - 1] == b'/';
                return Some(StartTag { length: at + 1, attributes, name_spaces, empty });
            }
            quote @ (b'"' | b'\'') => {
                attributes += 1;
                at += 2 + bytes[at + 1..].iter().position(|b| *b == quote)?;
            }
            _ => {
                name_spaces += usize::from(bytes[at..].starts_with(b"xmlns"));
                at += 1;
            }
        }
    }
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
        let passed = self.text.as_bytes().get(self.offset..offset).unwrap_or_default();
        let last_line = match passed.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                let lines = passed.iter().filter(|byte| **byte == b'\n').count();
                self.position.line = self.position.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
                self.position.column = 1;
                &passed[end + 1..]
            }
            None => passed,
        };
        // A byte that continues a character was counted at the character's first.
        let columns = last_line.iter().filter(|byte| !matches!(byte, 0x80..=0xBF)).count();
        self.position.column = self.position.column.saturating_add(u32::try_from(columns).unwrap_or(u32::MAX));
        self.offset = offset;
        self.position
    }
}

/// Equal short strings, shared. A string that meets another one in its place of the table takes the place.
struct Shared {
    table: Vec<Option<Arc<str>>>,
}

impl Shared {
    /// Longer strings hardly ever repeat.
    const LONGEST: usize = 128;

    /// A table for the strings of a text.
    fn new(text: &str) -> Self {
        let places = (text.len() / 128).next_power_of_two().clamp(1 << 7, 1 << 15);
        Self { table: vec![None; places] }
    }

    fn get(&mut self, text: &str) -> Arc<str> {
        if text.len() > Self::LONGEST {
            return text.into();
        }
        let places = self.table.len();
        let place = &mut self.table[hash(text.as_bytes()) as usize % places];
        match place {
            Some(known) if &**known == text => Arc::clone(known),
            _ => Arc::clone(place.insert(text.into())),
        }
    }
}

/// A hash of short texts, eight bytes at a time. Whoever makes texts collide only makes them not be shared.
fn hash(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    let hash = mix(hash, rest);
    hash ^ (hash >> 32)
}

struct Builder<'a> {
    text: &'a str,
    lines: Lines<'a>,
    shared: Shared,
}

impl Builder<'_> {
    /// Builds our tree of the parsed one, without recursion.
    fn build(&mut self, root: roxmltree::Node<'_, '_>) -> Element {
        let mut open = vec![(self.element(root), root.children())];
        loop {
            let Some((element, children)) = open.last_mut() else { unreachable!("the root is returned below") };
            match children.next() {
                Some(child) if child.is_element() => {
                    let made = self.element(child);
                    open.push((made, child.children()));
                }
                Some(child) => element.nodes_mut().extend(text_or_comment(&child)),
                None => {
                    let (mut done, _) = open.pop().unwrap_or_else(|| unreachable!("there was a last one"));
                    done.nodes_mut().shrink_to_fit();
                    match open.last_mut() {
                        Some((parent, _)) => parent.push(done),
                        None => return done,
                    }
                }
            }
        }
    }

    /// The element itself, without what is in it. Names keep their prefixes.
    fn element(&mut self, node: roxmltree::Node<'_, '_>) -> Element {
        let start = node.range().start;
        let tag = &self.text[start + 1..];
        let name = &tag[..tag.find(|c: char| is_xml_space(c) || c == '/' || c == '>').unwrap_or(tag.len())];
        let mut attributes = Vec::with_capacity(node.attributes().len());
        // Declarations that the parent does not have already stand at this element.
        let outer = node.parent_element();
        for namespace in node.namespaces() {
            let prefix = namespace.name();
            if prefix == Some("xml")
                || outer.is_some_and(|o| o.namespaces().any(|n| n.name() == prefix && n.uri() == namespace.uri()))
            {
                continue;
            }
            let name = prefix.map_or_else(|| "xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
            attributes.push(Attribute { name: self.shared.get(&name), value: self.shared.get(namespace.uri()) });
        }
        for attribute in node.attributes() {
            let name = &self.text[attribute.range().start..];
            let name = &name[..name.find(|c: char| is_xml_space(c) || c == '=').unwrap_or(name.len())];
            attributes.push(Attribute { name: self.shared.get(name), value: self.shared.get(attribute.value()) });
        }
        Element::from_parts(self.shared.get(name), attributes, self.lines.position(start))
    }
}

fn is_xml_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Only what XML calls white space.
pub(crate) fn is_space(text: &str) -> bool {
    text.chars().all(is_xml_space)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check_error(text: &[u8], expected: Expect) {
        expected.assert_eq(&Document::parse_bytes(text).expect_err("this is wrong").to_string());
    }

    #[test]
    fn elements_know_their_place() {
        let document = Document::parse("<cib>\n  <a/>\n  <!-- é --><b/></cib>").unwrap();
        let places: Vec<String> = document.root().descendants().map(|e| e.position().to_string()).collect();
        assert_eq!(places, ["1:1", "2:3", "3:13"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        check_error(b"", expect!["1:1: the document does not have a root node"]);
        check_error(b"<cib>\n <a></b></cib>", expect!["2:5: expected 'a' tag, not 'b'"]);
        check_error(b"<cib>\n\xc3\xa9 \xff</cib>", expect!["2:3: this is not UTF-8 (byte 0xff)"]);
        check_error(b"<cib><a x='1' x='2'/></cib>", expect!["1:15: attribute 'x' is already defined"]);
        check_error(b"<cib><a x='&nix;'/></cib>", expect!["1:12: unknown entity reference 'nix'"]);
        check_error(b"<cib>&nix;</cib>", expect!["1:6: unknown entity reference 'nix'"]);
        check_error(b"<cib/><cib/>", expect!["1:7: unknown token"]);
        check_error(b"<cib>\0</cib>", expect!["1:6: a non-XML character '\\0' found"]);
    }

    #[test]
    fn a_document_type_is_refused() {
        let laughs = b"<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><x>&b;</x>";
        check_error(laughs, expect!["1:1: a document type declaration is refused: a CIB has none"]);
    }

    #[test]
    fn nothing_hides_deep_nesting() {
        let deep = "<a>".repeat(100_000);
        for prefix in ["", "<x>", "<?a > <!-- ?>", "<!-- <![CDATA[ -->", "<x y='>' z=\"'\"/>", "<x><![CDATA[ <!-- ]]>"]
        {
            let error = Document::parse(&format!("{prefix}{deep}")).unwrap_err();
            assert!(error.message.contains("nested"), "{prefix}: {error}");
        }
        let unclosed = Document::parse(&format!("<x y='1{deep}")).unwrap_err();
        assert_eq!(unclosed.position.line, 1);
    }

    #[test]
    fn what_costs_more_than_its_length_is_refused() {
        let attributes: String = (0..1001).map(|i| format!(" a{i}=''")).collect();
        check_error(
            format!("<cib{attributes}/>").as_bytes(),
            expect!["1:1: an element with more than 1000 attributes"],
        );
        let spaces: String = (0..65).map(|i| format!("<a xmlns:a{i}='u'/>")).collect();
        assert!(
            Document::parse(&format!("<cib a='{}'/>", "xmlns ".repeat(65))).is_ok(),
            "a word in a value declares nothing"
        );
        check_error(format!("<cib>{spaces}</cib>").as_bytes(), expect!["1:1148: more than 64 name space declarations"]);
    }
}

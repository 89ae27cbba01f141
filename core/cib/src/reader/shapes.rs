//! Reading fast what repeats.
//!
//! A status section has a hundred thousand tags, and a few dozen shapes of them: what stands outside of their values is the
//! same, byte for byte. `roxmltree` reads the first tag of each shape; a later one is recognised, and only cut at the quotes.
//! What is not that plain (a value with an entity, comments, text) is given to `roxmltree` piece by piece.
//!
//! So the grammar of XML is known in one place only. This reader gives up where it does not understand, and then the text is
//! read as a whole, which also finds the words for what is wrong.

use super::{
    DEEPEST, Lines, MOST_ATTRIBUTES, MOST_NODES, Shared, behind_passage, comments_around, is_space, options, start_tag,
    text_or_comment,
};
use crate::document::{Attribute, Document, Element, Node, Position};
use std::sync::Arc;

/// So many shapes are remembered; known CIBs have up to about 60. A tag is compared with each of them at worst.
const MOST_SHAPES: usize = 96;

/// Reads a whole text, or nothing if there is something in it that only the other reader understands.
pub(super) fn read(text: &str) -> Option<Document> {
    let mut reader = Reader {
        text,
        at: 0,
        lines: Lines::new(text),
        shared: Shared::new(text),
        shapes: Vec::new(),
        previous: 0,
        values: Vec::new(),
        open: Vec::new(),
        nodes: Vec::new(),
        seen: 0,
    };
    let start = reader.end_of_content()?;
    let root = reader.element_at(start)?;
    let around = format!("{}<x/>{}", &text[..start], &text[reader.at..]);
    Some(Document::with_comments(root, read_alone(&around, comments_around)?))
}

/// What there is to `find` in a piece that `roxmltree` can read by itself.
fn read_alone<T>(piece: &str, find: impl FnOnce(&roxmltree::Document<'_>) -> T) -> Option<T> {
    roxmltree::Document::parse_with_options(piece, options()).ok().map(|document| find(&document))
}

/// What tags have in common that differ only in their values.
struct Shape<'a> {
    /// What stands in front of each value, the quote that opens it included and the one that closes the value before.
    in_front: Vec<&'a [u8]>,
    /// What stands behind the last value.
    behind: &'a [u8],
    name: Arc<str>,
    /// For each value the name of its attribute, and what this value was in the tag before: many hardly ever change.
    attributes: Vec<Attribute>,
    /// The tag ends with `/>`.
    empty: bool,
    /// The place of the shape that came next the last time.
    next: usize,
}

impl Shape<'_> {
    /// The end of a tag of this shape, with the places of its values put into `values`; nothing if the tag is another.
    fn recognise(&self, text: &[u8], start: usize, values: &mut Vec<(usize, usize)>) -> Option<usize> {
        values.clear();
        let mut at = start;
        for (in_front, before) in self.in_front.iter().zip(&self.attributes) {
            at = behind_same(text, at, in_front)?;
            let end = self.end_of_value(text, at, *in_front.last()?, &before.value)?;
            values.push((at, end));
            at = end;
        }
        behind_same(text, at, self.behind)
    }

    /// Where the plain value ends that begins at a place. Mostly it is the one that the tag `before` had.
    fn end_of_value(&self, text: &[u8], at: usize, quote: u8, before: &str) -> Option<usize> {
        if let Some(end) = behind_same(text, at, before.as_bytes())
            && text.get(end) == Some(&quote)
        {
            return Some(end);
        }
        let end = at + text.get(at..)?.iter().position(|byte| *byte == quote || !is_plain(*byte))?;
        (text[end] == quote).then_some(end)
    }
}

/// The place behind `same`, if that is what stands at a place.
fn behind_same(text: &[u8], at: usize, same: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(same).then_some(at + same.len())
}

/// A byte that stands for itself in a value, whatever is around it.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'<' && byte != b'&'
}

/// An element whose end was not read yet.
struct Open {
    element: Element,
    /// Where in the list of nodes those inside begin.
    first: usize,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    lines: Lines<'a>,
    shared: Shared,
    shapes: Vec<Shape<'a>>,
    /// The shape of the tag before.
    previous: usize,
    /// The places of the values of the tag at hand.
    values: Vec<(usize, usize)>,
    open: Vec<Open>,
    /// What is in open elements.
    nodes: Vec<Node>,
    /// How many nodes there were.
    seen: usize,
}

impl<'a> Reader<'a> {
    /// The element whose tag starts at a place, with all that is in it.
    fn element_at(&mut self, start: usize) -> Option<Element> {
        self.at = start;
        loop {
            if let Some(done) = self.tag()? {
                if self.open.is_empty() {
                    return Some(done);
                }
                self.nodes.push(Node::Element(Arc::new(done)));
            }
            self.content()?;
        }
    }

    /// Reads a tag. It may be the last one of an element.
    fn tag(&mut self) -> Option<Option<Element>> {
        if self.text.as_bytes().get(self.at + 1) == Some(&b'/') {
            return self.end_tag().map(Some);
        }
        self.count(1)?;
        let position = self.lines.position(self.at);
        let (element, empty) = match self.known_shape() {
            Some((shape, end)) => {
                self.at = end;
                (self.element_of(shape, position), self.shapes[shape].empty)
            }
            None => self.learn(position)?,
        };
        if empty {
            return Some(Some(element));
        }
        self.open.push(Open { element, first: self.nodes.len() });
        (self.open.len() <= DEEPEST).then_some(None)
    }

    /// Nothing more is read where there is too much.
    fn count(&mut self, nodes: usize) -> Option<()> {
        self.seen += nodes;
        (self.seen <= MOST_NODES as usize).then_some(())
    }

    fn end_tag(&mut self) -> Option<Element> {
        let Open { mut element, first } = self.open.pop()?;
        let name_end = behind_same(self.text.as_bytes(), self.at + 2, element.name().as_bytes())?;
        let end = name_end + self.text.get(name_end..)?.find('>')?;
        if !is_space(&self.text[name_end..end]) {
            return None;
        }
        self.at = end + 1;
        if first < self.nodes.len() {
            *element.nodes_mut() = self.nodes.drain(first..).collect();
        }
        Some(element)
    }

    /// The shape of the tag at hand, and where the tag ends.
    fn known_shape(&mut self) -> Option<(usize, usize)> {
        let text = self.text.as_bytes();
        let expected = self.shapes.get(self.previous)?.next;
        let places = std::iter::once(expected).chain((0..self.shapes.len()).filter(|place| *place != expected));
        for place in places {
            if let Some(end) = self.shapes[place].recognise(text, self.at + 1, &mut self.values) {
                self.shapes[self.previous].next = place;
                self.previous = place;
                return Some((place, end));
            }
        }
        None
    }

    /// An element of a shape with the values at hand.
    fn element_of(&mut self, shape: usize, position: Position) -> Element {
        let Shape { name, attributes: known, .. } = &mut self.shapes[shape];
        let attributes = known.iter_mut().zip(&self.values).map(|(attribute, (start, end))| {
            let value = &self.text[*start..*end];
            if *attribute.value != *value {
                attribute.value = self.shared.get(value);
            }
            attribute.clone()
        });
        Element::from_parts(Arc::clone(name), attributes.collect(), position)
    }

    /// Reads a tag of a shape that is not known, or one with values that are not plain; also says whether it ends the element.
    fn learn(&mut self, position: Position) -> Option<(Element, bool)> {
        let start = self.at + 1;
        let tag = start_tag(&self.text.as_bytes()[start..])?;
        let end = start + tag.length;
        if tag.attributes > MOST_ATTRIBUTES {
            return None;
        }
        let open_end = end - if tag.empty { 2 } else { 1 };
        let alone = format!("{}/>", &self.text[self.at..open_end]);
        let element = read_alone(&alone, |document| self.element_alone(document.root_element(), position))??;
        if self.shapes.len() < MOST_SHAPES {
            self.shapes.extend(self.shape(start, end, &element, tag.empty));
        }
        self.at = end;
        Some((element, tag.empty))
    }

    /// The element that stood for itself in a text; nothing where name spaces matter.
    fn element_alone(&mut self, node: roxmltree::Node<'_, '_>, position: Position) -> Option<Element> {
        let (name, attributes) = (node.tag_name(), node.attributes());
        let behind_mark = &node.document().input_text()[node.range().start + 1..];
        let has_space = node.namespaces().next().is_some()
            || !behind_mark.starts_with(name.name())
            || attributes.clone().any(|attribute| attribute.range_qname().len() != attribute.name().len());
        if has_space {
            return None;
        }
        let attributes = attributes
            .map(|a| Attribute { name: self.shared.get(a.name()), value: self.shared.get(a.value()) })
            .collect();
        Some(Element::from_parts(self.shared.get(name.name()), attributes, position))
    }

    /// The shape of the tag between two places, if its values are plain.
    fn shape(&self, start: usize, end: usize, element: &Element, empty: bool) -> Option<Shape<'a>> {
        let tag = &self.text.as_bytes()[start..end];
        let (mut in_front, mut piece, mut at) = (Vec::new(), 0, 0);
        while let Some(opening) = tag[at..].iter().position(|byte| matches!(byte, b'"' | b'\'')).map(|found| at + found)
        {
            let closing = opening + 1 + tag[opening + 1..].iter().position(|byte| *byte == tag[opening])?;
            if !tag[opening + 1..closing].iter().all(|byte| is_plain(*byte)) {
                return None;
            }
            in_front.push(&tag[piece..=opening]);
            (piece, at) = (closing, closing + 1);
        }
        let (name, attributes) = (Arc::clone(element.shared_name()), element.attributes().to_vec());
        // A declaration of a name space is no attribute.
        (attributes.len() == in_front.len()).then_some(Shape {
            in_front,
            behind: &tag[piece..],
            name,
            attributes,
            empty,
            next: 0,
        })
    }

    /// Reads what stands in front of the next tag; mostly it is nothing but white space.
    fn content(&mut self) -> Option<()> {
        let end = self.end_of_content()?;
        let content = &self.text[self.at..end];
        self.at = end;
        if is_space(content) {
            return self.count(usize::from(!content.is_empty()));
        }
        let nodes = read_alone(&format!("<x>{content}</x>"), |document| {
            let nodes: Vec<_> = document.root_element().children().collect();
            self.nodes.extend(nodes.iter().filter_map(text_or_comment));
            nodes.len()
        });
        self.count(nodes?)
    }

    /// Where the next tag starts; comments, instructions and character data may hold what looks like one.
    fn end_of_content(&self) -> Option<usize> {
        let mut at = self.at;
        loop {
            at += self.text.get(at..)?.find('<')?;
            match behind_passage(self.text, at) {
                Some(end) => at = end?,
                None => return Some(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_whole;
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "<?xml version='1.0'?>\n<!-- before --><cib a='1'>\n <b id=\"x&amp;y\" c='>'/><b id=\"z\" c='\"'/>\
         <d>text<!-- <e> -->more<![CDATA[<f>]]></d >\r\n<b id=\"é\"\tc='2'/> <?i <g>?>\n<b id=\"a\" c='b'/><d/></cib> <!-- behind -->\n";

    /// Everything that a document is, with all places.
    fn told(document: &Document) -> String {
        format!("{document:?}")
    }

    #[test]
    fn both_readers_read_the_same() {
        assert_eq!(read(TEXT).map(|document| told(&document)), read_whole(TEXT).ok().map(|document| told(&document)));
        assert!(read(TEXT).is_some());
    }

    #[test]
    fn name_spaces_and_errors_are_left_to_the_other_reader() {
        for text in [
            "<a xmlns='u'/>",
            "<a xmlns:x='u'><x:b/></a>",
            "<a xml:lang='en'/>",
            "<a :b='1'/>",
            "<:a/>",
            "<a><b c='1'/><b c='<'/></a>",
            "<a><b c='1'/><b c='&x;'/></a>",
            "<a><b c='1'/><b c='1'></a>",
            "<a b='1' b='2'/>",
            "<a>]]></a>",
            "<a/><a/>",
            "<!DOCTYPE a><a/>",
            "<a></b>",
            "</a>",
            "<a",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_text_is_read_differently(
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, prop::sample::select(vec![
                "<", ">", "/", "'", "\"", "=", " ", "&", ";", "a", "b", ":", "xml", "xmlns", "xmlns:xml", "!", "?", "-", "--",
                "]]>", "\n", "\r", "\t", "\0", "\u{fffe}", "é", "<b id=\"q\" c='r'/>", "<d>", "</d>", "<!--", "-->",
                "<![CDATA[", "<?", "?>", "&#10;", "&lt;", "<a:b/>", "</cib>", "http://www.w3.org/XML/1998/namespace",
            ])), 0..6)
        ) {
            let mut text: Vec<char> = TEXT.chars().collect();
            for (place, removed, inserted) in changes {
                let place = place.index(text.len());
                let end = (place + removed).min(text.len() - 1);
                text.splice(place..end.max(place), inserted.chars());
            }
            let text: String = text.into_iter().collect();
            if let Some(document) = read(&text) {
                let whole = read_whole(&text).map(|document| told(&document));
                prop_assert_eq!(Ok(told(&document)), whole);
            }
        }
    }
}

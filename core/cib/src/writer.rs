//! From a document to text.
//!
//! Two spaces a level, attributes in their order, comments and text kept: what is read back is the same document. An
//! element that holds text is written on one line with all that is in it, because there white space would count.

use crate::document::{Attribute, Document, Element, Node};
use std::fmt;

impl Document {
    /// The document as XML, ending with a newline.
    pub fn to_xml(&self) -> String {
        let [before, behind] = self.comments_around();
        let mut out = String::new();
        for text in before.iter() {
            comment(text, &mut out);
            out.push('\n');
        }
        element(self.root(), 0, &mut out);
        for text in behind.iter() {
            comment(text, &mut out);
            out.push('\n');
        }
        out
    }
}

impl Element {
    /// The element and what is in it as XML, ending with a newline.
    pub fn to_xml(&self) -> String {
        let mut out = String::new();
        element(self, 0, &mut out);
        out
    }

    /// The element as XML on one line without any white space between elements and without a newline.
    pub fn to_compact_xml(&self) -> String {
        compact(self, &|_| true)
    }

    /// Only the start tag, for messages.
    pub fn start_tag(&self) -> String {
        let mut out = String::new();
        open_tag(self.name(), self.attributes(), &mut out);
        out.push('>');
        out
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_xml())
    }
}

/// The element on one line, with those attributes whose names are to be kept.
pub(crate) fn compact(this: &Element, keep: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::new();
    on_one_line(this, keep, &mut out);
    out
}

fn element(this: &Element, level: usize, out: &mut String) {
    indent(level, out);
    if this.nodes().is_empty() || this.nodes().iter().any(|node| matches!(node, Node::Text(_))) {
        on_one_line(this, &|_| true, out);
        out.push('\n');
        return;
    }
    open_tag(this.name(), this.attributes(), out);
    out.push_str(">\n");
    for node in this.nodes() {
        match node {
            Node::Element(child) => element(child, level + 1, out),
            Node::Comment(text) => {
                indent(level + 1, out);
                comment(text, out);
                out.push('\n');
            }
            Node::Text(_) => {}
        }
    }
    indent(level, out);
    close_tag(this.name(), out);
    out.push('\n');
}

fn on_one_line(this: &Element, keep: &dyn Fn(&str) -> bool, out: &mut String) {
    open_tag(this.name(), this.attributes().iter().filter(|attribute| keep(&attribute.name)), out);
    if this.nodes().is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for node in this.nodes() {
        match node {
            Node::Element(child) => on_one_line(child, keep, out),
            Node::Comment(text) => comment(text, out),
            Node::Text(text) => escape(text, false, out),
        }
    }
    close_tag(this.name(), out);
}

fn indent(level: usize, out: &mut String) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

/// `<name a="1"`, without its end.
fn open_tag<'a>(name: &str, attributes: impl IntoIterator<Item = &'a Attribute>, out: &mut String) {
    out.push('<');
    out.push_str(name);
    for attribute in attributes {
        out.push(' ');
        out.push_str(&attribute.name);
        out.push_str("=\"");
        escape(&attribute.value, true, out);
        out.push('"');
    }
}

fn close_tag(name: &str, out: &mut String) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// A comment; as XML allows no `--` inside, such dashes are parted.
fn comment(text: &str, out: &mut String) {
    out.push_str("<!--");
    let mut last = ' ';
    for c in text.chars().map(allowed) {
        let c = if c == '\r' { '\n' } else { c };
        if c == '-' && last == '-' {
            out.push(' ');
        }
        out.push(c);
        last = c;
    }
    if last == '-' {
        out.push(' ');
    }
    out.push_str("-->");
}

/// What XML cannot say at all (control characters, as an agent may print them) becomes the replacement character.
fn allowed(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{1_0000}'.. => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Writes text so that a reader gets exactly it: white space inside values would be changed to blanks, and a carriage
/// return anywhere to a newline, if they were written as they are. The forms are Pacemaker's, because digests depend on
/// them.
pub(crate) fn escape(text: &str, in_attribute: bool, out: &mut String) {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let replaced = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\r' => "&#x0D;",
            '\u{7F}' => "&#x7F;",
            '"' if in_attribute => "&quot;",
            '\n' if in_attribute => "&#x0A;",
            '\t' if in_attribute => "&#x09;",
            _ if allowed(c) != c => "\u{FFFD}",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        out.push_str(replaced);
        from = at + c.len_utf8();
    }
    out.push_str(&text[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::is_space;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(text: &str, expected: Expect) {
        let document = Document::parse(text).unwrap();
        let written = document.to_xml();
        assert_eq!(Document::parse(&written).unwrap(), document);
        expected.assert_eq(&written);
    }

    #[test]
    fn it_is_indented_and_nothing_is_lost() {
        check(
            "<?xml version='1.0'?><!-- top --><cib b='2' a='\"&lt;&#10;&amp;'><x  /><!-- in --><y>t &lt; <z/></y></cib><!--end-->",
            expect![[r#"
                <!-- top -->
                <cib b="2" a="&quot;&lt;&#x0A;&amp;">
                  <x/>
                  <!-- in -->
                  <y>t &lt; <z/></y>
                </cib>
                <!--end-->
            "#]],
        );
        check(
            "<cib xmlns:x='urn:x' a='1'><x:y x:b='2' b='3' xmlns='urn:d'/><z/></cib>",
            expect![[r#"
                <cib xmlns:x="urn:x" a="1">
                  <x:y xmlns="urn:d" x:b="2" b="3"/>
                  <z/>
                </cib>
            "#]],
        );
    }

    #[test]
    fn what_xml_cannot_say_is_replaced() {
        let mut made = Element::new("a").with("reason", "bell\u{7} and \u{FFFE}");
        made.nodes_mut().push(Node::Comment("a--b-".into()));
        let read = Element::parse(&made.to_xml()).unwrap();
        assert_eq!(read.attribute("reason"), Some("bell\u{FFFD} and \u{FFFD}"));
        assert_eq!(read.nodes(), [Node::Comment("a- -b- ".into())]);
    }

    fn any_element() -> impl Strategy<Value = Element> {
        let name = "[a-zA-Z_][a-zA-Z0-9_.-]{0,6}";
        let value = "[ -\u{7F}\t\n\réあ\u{1F600}]{0,12}";
        let leaf = (name, prop::collection::btree_map(name, value, 0..4)).prop_map(|(name, attributes)| {
            attributes.into_iter().fold(Element::new(name), |element, (name, value)| element.with(&name, value))
        });
        leaf.clone().prop_recursive(4, 40, 6, move |inner| {
            let node = prop_oneof![
                4 => inner.prop_map(|e| Node::Element(e.into())),
                1 => "( [a-z<&>]{0,8}(-[a-z ]{1,3})?)?".prop_map(|t| Node::Comment(t.into())),
                1 => value.prop_filter("text that is only white space is not kept", |t| !is_space(t))
                    .prop_map(|t| Node::Text(t.into())),
            ];
            (leaf.clone(), prop::collection::vec(node, 0..6)).prop_map(|(mut element, nodes)| {
                for node in nodes {
                    let follows_text = matches!(element.nodes().last(), Some(Node::Text(_)));
                    if !(follows_text && matches!(node, Node::Text(_))) {
                        element.nodes_mut().push(node);
                    }
                }
                element
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(element in any_element()) {
            prop_assert_eq!(&Element::parse(&element.to_xml()).unwrap(), &element);
            prop_assert_eq!(&Element::parse(&element.to_compact_xml()).unwrap(), &element);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(<|>|/|!|--|\\[CDATA\\[|\\]\\]|\\?|=|'|\"|&|;|#|a|b| |\n|é){0,60}") {
            if let Ok(document) = Document::parse(&text) {
                prop_assert_eq!(Document::parse(&document.to_xml()).unwrap(), document);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Document::parse_bytes(&bytes);
        }
    }
}

//! XPath, as much of it as `cibadmin`, patches and access lists use.
//!
//! Paths are absolute or start anywhere (`//primitive[@id='db']`, `/cib/configuration/nodes/node`); steps are names, `*`,
//! `.`, `..`, and `@name` at the end; several paths may be joined with `|`. Predicates know `and`, `or`, `not(…)`, `=`,
//! `!=`, `<`, `<=`, `>`, `>=` of attributes, paths, texts and numbers; positions (`[2]`, `position()`, `last()`);
//! `starts-with`, `contains`, `count`, `true()`, `false()`. What is not known is an error that points to its column.
//!
//! An evaluation lays all elements out in document order first, so that the descendants of an element are a range; sets of
//! elements are sorted numbers. The work is counted, and a query that needs too much ends with an error.

mod evaluate;
mod parse;

use crate::document::{Document, Element, Node};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// What is wrong with an expression, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("XPath '{expression}', column {column}: {message}")]
pub struct XPathError {
    /// The expression.
    pub expression: String,
    /// The column in it, in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// An expression that was read and can be evaluated many times.
#[derive(Clone, Debug)]
pub struct XPath {
    text: String,
    paths: Vec<parse::Path>,
}

/// The way to an element: for each level, its place among the nodes of its parent. The way to the root is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way(pub Vec<usize>);

/// Something that an expression found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// The element.
    pub way: Way,
    /// The attribute, where the path ends with one.
    pub attribute: Option<Arc<str>>,
}

impl XPath {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is not one of those that this module knows.
    pub fn parse(expression: &str) -> Result<Self, XPathError> {
        let paths = parse::parse(expression).map_err(|(at, message)| Self::error(expression, at, message))?;
        Ok(Self { text: expression.to_owned(), paths })
    }

    /// All that the expression finds, in document order, each once.
    ///
    /// # Errors
    /// Where finding it takes too much work.
    pub fn select(&self, document: &Document) -> Result<Vec<Match>, XPathError> {
        let layout = evaluate::Layout::new(document.root());
        evaluate::select(&layout, &self.paths).map_err(|message| Self::error(&self.text, 0, message))
    }

    fn error(expression: &str, at: usize, message: String) -> XPathError {
        let column = expression.get(..at).map_or(0, |before| before.chars().count()) + 1;
        XPathError { expression: expression.to_owned(), column, message }
    }
}

impl fmt::Display for XPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All that an expression finds in a document, in document order.
///
/// # Errors
/// Where the expression is wrong, or takes too much work.
pub fn query(document: &Document, expression: &str) -> Result<Vec<Match>, XPathError> {
    XPath::parse(expression)?.select(document)
}

/// The elements that an expression finds in a document, in document order; those of which it finds attributes, too.
///
/// # Errors
/// As [`query`].
pub fn elements<'a>(document: &'a Document, expression: &str) -> Result<Vec<&'a Element>, XPathError> {
    let mut ways: Vec<Way> = query(document, expression)?.into_iter().map(|found| found.way).collect();
    ways.dedup();
    Ok(ways.iter().filter_map(|way| way.element(document)).collect())
}

impl Way {
    /// The element at the end of this way.
    pub fn element<'a>(&self, document: &'a Document) -> Option<&'a Element> {
        self.0.iter().try_fold(document.root(), |element, place| match element.nodes().get(*place)? {
            Node::Element(child) => Some(&**child),
            Node::Comment(_) | Node::Text(_) => None,
        })
    }

    /// The element at the end of this way, to be changed.
    pub fn element_mut<'a>(&self, document: &'a mut Document) -> Option<&'a mut Element> {
        self.0.iter().try_fold(document.root_mut(), |element, place| match element.nodes_mut().get_mut(*place)? {
            Node::Element(child) => Some(Arc::make_mut(child)),
            Node::Comment(_) | Node::Text(_) => None,
        })
    }

    /// The way to the parent, and the place in it; none for the root.
    pub fn split_last(&self) -> Option<(Way, usize)> {
        let (last, parents) = self.0.split_last()?;
        Some((Way(parents.to_vec()), *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    const CIB: &str = "<cib><configuration>
        <crm_config><cluster_property_set id='o'><nvpair id='o1' name='x' value='1'/><nvpair id='o2' name='y' value='2'/></cluster_property_set></crm_config>
        <resources>
          <!-- one -->
          <group id='g'><primitive id='a' class='ocf'/><primitive id='b' class='lsb'><meta_attributes id='bm'><nvpair id='b1' name='x' value='9'/></meta_attributes></primitive></group>
          <primitive id='c' class='ocf'/>
        </resources></configuration><status/></cib>";

    fn check(expressions: &str, expected: Expect) {
        let document = Document::parse(CIB).unwrap();
        let mut shown = String::new();
        for expression in expressions.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let found = match query(&document, expression) {
                Ok(found) => found
                    .iter()
                    .map(|found| {
                        let element = found.way.element(&document).unwrap();
                        let id = if element.id().is_empty() { element.name() } else { element.id() };
                        found.attribute.as_ref().map_or_else(|| id.to_owned(), |attribute| format!("{id}@{attribute}"))
                    })
                    .collect::<Vec<_>>()
                    .join(" "),
                Err(error) => format!("column {}: {}", error.column, error.message),
            };
            shown += &format!("{expression} => {found}\n");
        }
        expected.assert_eq(&shown);
    }

    #[test]
    fn paths() {
        check(
            "
            /
            /cib
            /cib/configuration/*
            //primitive
            //*[@id]
            /cib//nvpair/@name
            //nvpair/@*
            //meta_attributes/..
            //group/primitive | //nvpair | //group
            resources
            /cib/./status
            //resources//nvpair
            ",
            expect![[r#"
                / => cib
                /cib => cib
                /cib/configuration/* => crm_config resources
                //primitive => a b c
                //*[@id] => o o1 o2 g a b bm b1 c
                /cib//nvpair/@name => o1@name o2@name b1@name
                //nvpair/@* => o1@id o1@name o1@value o2@id o2@name o2@value b1@id b1@name b1@value
                //meta_attributes/.. => b
                //group/primitive | //nvpair | //group => o1 o2 g a b b1
                resources => 
                /cib/./status => status
                //resources//nvpair => b1
            "#]],
        );
    }

    #[test]
    fn predicates() {
        check(
            "
            //primitive[@id='b']
            //primitive[@id=\"b\" or @id='c']
            //primitive[@class='ocf' and not(@id='a')]
            //primitive[meta_attributes]
            //primitive[meta_attributes/nvpair[@name='x' and @value='9']]
            //primitive[1]
            (//primitive)[1]
            //primitive[last()]
            //nvpair[position()=2]
            //nvpair[position() > 1]
            //*[starts-with(@id,'o')]
            //*[contains(@id, '1')]
            //*[../@id='g']
            //nvpair[@value>1]
            //group[count(primitive)=2]
            //primitive[.//nvpair]
            //primitive[@class!='ocf']
            /*[false()]
            //primitive[@id='a'][@class='lsb']
            //group[primitive/@id='b']/@id
            //nvpair[@name=../../../nvpair/@name]
            //nvpair[@name=//meta_attributes/nvpair/@name]
            ",
            expect![[r#"
                //primitive[@id='b'] => b
                //primitive[@id="b" or @id='c'] => b c
                //primitive[@class='ocf' and not(@id='a')] => c
                //primitive[meta_attributes] => b
                //primitive[meta_attributes/nvpair[@name='x' and @value='9']] => b
                //primitive[1] => a c
                (//primitive)[1] => a
                //primitive[last()] => b c
                //nvpair[position()=2] => o2
                //nvpair[position() > 1] => o2
                //*[starts-with(@id,'o')] => o o1 o2
                //*[contains(@id, '1')] => o1 b1
                //*[../@id='g'] => a b
                //nvpair[@value>1] => o2 b1
                //group[count(primitive)=2] => g
                //primitive[.//nvpair] => b
                //primitive[@class!='ocf'] => b
                /*[false()] => 
                //primitive[@id='a'][@class='lsb'] => 
                //group[primitive/@id='b']/@id => g@id
                //nvpair[@name=../../../nvpair/@name] => 
                //nvpair[@name=//meta_attributes/nvpair/@name] => o1 b1
            "#]],
        );
    }

    #[test]
    fn what_is_not_understood_is_shown() {
        check(
            "
            //primitive[@id='b'
            //primitive[@id='b]
            //é[@id=?]
            //a/@id/b
            //a[magic(@id)]
            //a[
            a//
            ancestor::b
            //a]
            //a[text()='x']
            |
            //a[@id=]
            ",
            expect![[r#"
                //primitive[@id='b' => column 20: ] is missing here
                //primitive[@id='b] => column 17: the closing ' is missing
                //é[@id=?] => column 9: a name, * or @ is missing here
                //a/@id/b => column 8: nothing can follow an attribute
                //a[magic(@id)] => column 5: the function magic() is not supported
                //a[ => column 5: the expression ends here too early
                a// => column 4: a name, * or @ is missing here
                ancestor::b => column 1: the axis ancestor is not supported
                //a] => column 4: this does not belong to the path
                //a[text()='x'] => column 5: the function text() is not supported
                | => column 1: a name, * or @ is missing here
                //a[@id=] => column 9: a name, * or @ is missing here
            "#]],
        );
    }

    #[test]
    fn too_much_is_refused() {
        let mut root = Element::new("cib");
        for _ in 0..8000 {
            root.push(Element::new("a"));
        }
        let document = Document::new(root);
        assert!(query(&document, "//a[count(//a)=8000]").unwrap_err().message.contains("work"));
        let deep = format!("//a{}", "[a".repeat(5000));
        assert!(XPath::parse(&deep).unwrap_err().message.contains("nested"));
        assert!(XPath::parse(&format!("//a[{}]", "not(".repeat(5000))).is_err());
    }

    proptest! {
        #[test]
        fn no_expression_makes_it_panic(parts in prop::collection::vec(
            prop::sample::select(vec!["/", "//", "*", "a", "@", "[", "]", "(", ")", "'", "\"", "=", "!", "<", "1", ".", "..", "|", "and", "or",
                "not", " ", "é", "last()", "nvpair", "primitive", "@id", "'b'", "count(", "contains(", ","]), 0..16)) {
            let _ = query(&Document::parse(CIB).unwrap(), &parts.concat());
        }
    }
}

//! Whether documents are equal, found out without looking twice at parts that were compared before.
//!
//! Documents of two nodes share nothing, but what a message did not change is in the next document the very same part as in
//! the one before. So a pair of parts that were equal once is remembered by their addresses, and held, so that no other part
//! ever comes to have the same address.

use hakudo_cib::{Document, Element, Node};
use std::collections::BTreeMap;
use std::sync::Arc;

/// More pairs than this are not remembered: then it begins anew.
const KEPT: usize = 4096;

/// Parts that are so deep in the document are small, and compared as they are.
const DEPTH: u32 = 6;

/// Addresses of a pair of parts.
type Addresses = (*const Element, *const Element);

/// Pairs of parts that are known to be equal.
#[derive(Debug, Default)]
pub(super) struct Same {
    known: BTreeMap<Addresses, (Arc<Element>, Arc<Element>)>,
}

impl Same {
    /// Exactly what `a == b` says.
    pub(super) fn documents(&mut self, a: &Document, b: &Document) -> bool {
        if self.known.len() > KEPT {
            self.known.clear();
        }
        self.elements(a.root(), b.root(), 0)
    }

    fn elements(&mut self, a: &Element, b: &Element, depth: u32) -> bool {
        if depth >= DEPTH {
            return a == b;
        }
        a.name() == b.name()
            && a.attributes() == b.attributes()
            && a.nodes().len() == b.nodes().len()
            && a.nodes().iter().zip(b.nodes()).all(|(a, b)| self.nodes(a, b, depth + 1))
    }

    fn nodes(&mut self, a: &Node, b: &Node, depth: u32) -> bool {
        let (Node::Element(a), Node::Element(b)) = (a, b) else { return a == b };
        let pair = (Arc::as_ptr(a), Arc::as_ptr(b));
        if Arc::ptr_eq(a, b) || self.known.contains_key(&pair) {
            return true;
        }
        let equal = self.elements(a, b, depth);
        if equal && depth < DEPTH {
            self.known.insert(pair, (a.clone(), b.clone()));
        }
        equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last element of the last element of … `element`.
    fn deepest(element: &mut Element) -> &mut Element {
        let last = element.nodes().iter().rposition(|node| matches!(node, Node::Element(_)));
        let Some(at) = last else { return element };
        match &mut element.nodes_mut()[at] {
            Node::Element(child) => deepest(Arc::make_mut(child)),
            Node::Comment(_) | Node::Text(_) => unreachable!("it is an element"),
        }
    }

    #[test]
    fn a_difference_is_found_however_deep_it_is_and_whatever_was_equal_before() {
        let text = |value: &str| {
            format!("<a><b><c/><c><d><e><f><g><h><i v='{value}'/></h></g></f></e></d></c></b><!--x--></a>")
        };
        let read = |text: &str| Document::parse(text).unwrap();
        let (mut same, one, other) = (Same::default(), read(&text("1")), read(&text("1")));
        assert!(same.documents(&one, &other) && same.documents(&one, &other));
        let mut changed = other.clone();
        deepest(changed.root_mut()).set("v", "2");
        assert!(!same.documents(&one, &changed));
        assert!(!same.documents(&one, &read(&text("3"))));
        assert!(!same.documents(&one, &read("<a><b/></a>")));
        assert!(same.documents(&one, &other));
    }
}

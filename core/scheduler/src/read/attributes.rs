//! Blocks of name-value pairs: which of them apply, and in which order.
//!
//! Among blocks the highest score comes first, and of equal ones the later; the first value of a name wins
//! (Pacemaker Explained, "Nvpair Sets").

use crate::planner::Planner;
use crate::values;
use hakudo_base::agent::AgentName;
use hakudo_cib::Element;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the rules of a block may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleInput<'a> {
    pub(crate) node_attributes: Option<&'a BTreeMap<String, String>>,
    pub(crate) agent: Option<&'a AgentName>,
    pub(crate) operation: Option<(&'a str, u64)>,
    pub(crate) parameters: Option<&'a BTreeMap<String, String>>,
    pub(crate) meta: Option<&'a BTreeMap<String, String>>,
    /// What the parentheses of a resource pattern matched, for `%1` in a rule.
    pub(crate) submatches: &'a [String],
    /// Where blocks and rules that are referred to are looked for: in this element, or in the whole configuration.
    pub(crate) scope: Option<&'a Element>,
}

/// The child elements of a name, shared.
pub(crate) fn shared_children<'a>(
    element: &'a Element,
    name: &'a str,
) -> impl DoubleEndedIterator<Item = &'a Arc<Element>> {
    element.nodes().iter().filter_map(move |node| match node {
        hakudo_cib::Node::Element(child) if child.name() == name => Some(child),
        _ => None,
    })
}

impl Planner {
    /// The element itself, or the one that its `id-ref` names.
    pub(crate) fn resolve(&mut self, element: &Arc<Element>) -> Option<Arc<Element>> {
        self.resolve_within(element, None)
    }

    /// As [`Planner::resolve`], where only what is in `scope` can be referred to. The blocks of a resource refer only to
    /// blocks of the same resource (Pacemaker 3.0 looks no further).
    fn resolve_within(&mut self, element: &Arc<Element>, scope: Option<&Element>) -> Option<Arc<Element>> {
        let Some(reference) = element.attribute("id-ref") else { return Some(Arc::clone(element)) };
        let found = match scope {
            None => self.referenced.get(&(element.name().to_owned(), reference.to_owned())).cloned(),
            Some(scope) => sole_descendant(scope, element.name(), reference),
        };
        if found.is_none() {
            let place = if scope.is_some() { "in the same resource" } else { "anywhere" };
            let message = format!("refers to <{}> '{reference}', which is not found {place}; ignored", element.name());
            self.problem(reference, message);
        }
        found
    }

    /// Adds to `values` what the blocks named `block` in `parent` say, where it has no value yet.
    pub(crate) fn read_blocks(
        &mut self,
        parent: &Element,
        block: &str,
        always_first: Option<&str>,
        input: &RuleInput<'_>,
        values: &mut BTreeMap<String, String>,
    ) {
        let mut blocks: Vec<Arc<Element>> = Vec::new();
        for child in shared_children(parent, block).rev() {
            blocks.extend(self.resolve_within(child, input.scope));
        }
        if blocks.len() > 1 {
            let colours = self.model.options.health_scores;
            let rank = |element: &Element| {
                let score = element.attribute("score").and_then(|text| values::score(text, &colours));
                let first = always_first.is_some_and(|id| element.id() == id);
                (!first, std::cmp::Reverse(score.unwrap_or_default()))
            };
            blocks.sort_by_cached_key(|element| rank(element));
        }
        for element in blocks {
            if let Some(rule) = element.child("rule")
                && !self.rule_passes(rule, input)
            {
                continue;
            }
            let pairs = element.child("attributes").unwrap_or(&element);
            for pair in shared_children(pairs, "nvpair") {
                let Some(pair) = self.resolve(pair) else { continue };
                let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) else { continue };
                if value.eq_ignore_ascii_case("#default") {
                    values.remove(name);
                } else if !values.contains_key(name) {
                    values.insert(name.to_owned(), value.to_owned());
                }
            }
        }
    }

    /// True where a rule passes now; remembers when that may change.
    pub(crate) fn rule_passes(&mut self, rule: &Element, input: &RuleInput<'_>) -> bool {
        crate::rules::passes(self, rule, input)
    }
}

/// The one element of this name and id below another.
fn sole_descendant(scope: &Element, name: &str, id: &str) -> Option<Arc<Element>> {
    let mut found = None;
    let mut unseen = vec![scope];
    while let Some(element) = unseen.pop() {
        for node in element.nodes() {
            let hakudo_cib::Node::Element(child) = node else { continue };
            if child.name() == name && child.id() == id && found.replace(Arc::clone(child)).is_some() {
                return None;
            }
            unseen.push(child);
        }
    }
    found
}

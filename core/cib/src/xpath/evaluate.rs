//! From the tree of an expression to what it finds.

use super::parse::{Comparison, Expression, Name, Path, Step};
use super::{Match, Way};
use crate::document::{Element, Node};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Elements that one evaluation may look at.
const BUDGET: u64 = 30_000_000;

/// All elements in document order, behind the document itself, which is number 0.
pub(super) struct Layout<'a> {
    places: Vec<Place<'a>>,
}

struct Place<'a> {
    /// None for the document.
    element: Option<&'a Element>,
    parent: usize,
    /// Among the nodes of the parent.
    among: usize,
    /// The first number behind this element and all below it.
    end: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(root: &'a Element) -> Self {
        let mut places = vec![Place { element: None, parent: 0, among: 0, end: 0 }];
        // What is still to be laid out: an element with its parent and place, or the end of one.
        let mut waiting = vec![(Some((root, 0, 0)), 0)];
        while let Some((next, ended)) = waiting.pop() {
            let Some((element, parent, among)) = next else {
                places[ended].end = places.len();
                continue;
            };
            let number = places.len();
            places.push(Place { element: Some(element), parent, among, end: 0 });
            waiting.push((None, number));
            for (among, node) in element.nodes().iter().enumerate().rev() {
                if let Node::Element(child) = node {
                    waiting.push((Some((&**child, number, among)), 0));
                }
            }
        }
        places[0].end = places.len();
        Self { places }
    }

    fn way(&self, mut number: usize) -> Way {
        let mut way = Vec::new();
        while self.places[number].parent != 0 {
            way.push(self.places[number].among);
            number = self.places[number].parent;
        }
        way.reverse();
        Way(way)
    }
}

/// What all paths together find, in document order.
pub(super) fn select(layout: &Layout<'_>, paths: &[Path]) -> Result<Vec<Match>, String> {
    let mut evaluation = Evaluation { layout, budget: BUDGET };
    let mut found = BTreeSet::new();
    for path in paths {
        match evaluation.path(path, 0)? {
            Found::Elements(numbers) => {
                // The document itself stands for its root element.
                found.extend(numbers.into_iter().map(|number| (number.max(1), None)));
            }
            Found::Attributes(attributes) => {
                found.extend(attributes.into_iter().map(|(number, index)| (number, Some(index))));
            }
        }
    }
    let attribute = |number: usize, index: usize| {
        layout.places[number].element.map(|element| Arc::clone(&element.attributes()[index].name))
    };
    Ok(found
        .into_iter()
        .map(|(number, index)| Match {
            way: layout.way(number),
            attribute: index.and_then(|index| attribute(number, index)),
        })
        .collect())
}

enum Found {
    /// Sorted, each once.
    Elements(Vec<usize>),
    /// Elements with the places of attributes.
    Attributes(Vec<(usize, usize)>),
}

/// The element that a predicate is asked about.
#[derive(Clone, Copy)]
struct At {
    number: usize,
    position: usize,
    last: usize,
}

enum Value {
    Texts(Vec<String>),
    Number(f64),
    Truth(bool),
}

struct Evaluation<'l, 'a> {
    layout: &'l Layout<'a>,
    budget: u64,
}

impl Evaluation<'_, '_> {
    fn work(&mut self, amount: usize) -> Result<(), String> {
        self.budget = self.budget.checked_sub(amount as u64).ok_or("this would take too much work")?;
        Ok(())
    }

    fn path(&mut self, path: &Path, from: usize) -> Result<Found, String> {
        let mut numbers = vec![if path.absolute { 0 } else { from }];
        for step in &path.steps {
            numbers = self.step(step, &numbers)?;
        }
        for pick in &path.picks {
            numbers = self.filter(pick, numbers)?;
        }
        let Some(name) = &path.attribute else { return Ok(Found::Elements(numbers)) };
        let mut attributes = Vec::new();
        for number in numbers {
            self.work(1)?;
            let of = self.layout.places[number].element.map_or(&[][..], Element::attributes);
            let fitting = of.iter().enumerate().filter(|(_, attribute)| name.fits(&attribute.name));
            attributes.extend(fitting.map(|(index, _)| (number, index)));
        }
        Ok(Found::Attributes(attributes))
    }

    fn step(&mut self, step: &Step, from: &[usize]) -> Result<Vec<usize>, String> {
        let layout = self.layout;
        let mut to = Vec::new();
        match step {
            Step::Parent => {
                to.extend(from.iter().filter(|number| **number != 0).map(|number| layout.places[*number].parent));
                to.sort_unstable();
                to.dedup();
            }
            Step::Below => {
                for number in from {
                    // Ranges are nested or apart: what is below an earlier one is there already.
                    let start = to.last().map_or(*number, |last: &usize| (*number).max(last + 1));
                    let end = layout.places[*number].end;
                    self.work(end.saturating_sub(start))?;
                    to.extend(start..end);
                }
            }
            Step::Children(name, predicates) => {
                for number in from {
                    let children = self.children(*number, name)?;
                    to.extend(predicates.iter().try_fold(children, |fitting, p| self.filter(p, fitting))?);
                }
                to.sort_unstable();
                to.dedup();
            }
        }
        Ok(to)
    }

    fn children(&mut self, number: usize, name: &Name) -> Result<Vec<usize>, String> {
        let places = &self.layout.places;
        let mut children = Vec::new();
        let mut looked_at = 1;
        let mut child = number + 1;
        while child < places[number].end {
            looked_at += 1;
            if places[child].element.is_some_and(|element| name.fits(element.name())) {
                children.push(child);
            }
            child = places[child].end;
        }
        self.work(looked_at)?;
        Ok(children)
    }

    /// Those for which the predicate holds.
    fn filter(&mut self, predicate: &Expression, numbers: Vec<usize>) -> Result<Vec<usize>, String> {
        let last = numbers.len();
        let mut fitting = Vec::new();
        for (index, number) in numbers.into_iter().enumerate() {
            let at = At { number, position: index + 1, last };
            let holds = match self.value(predicate, at)? {
                Value::Number(position) => position == at.position as f64,
                other => truth(&other),
            };
            if holds {
                fitting.push(number);
            }
        }
        Ok(fitting)
    }

    fn value(&mut self, expression: &Expression, at: At) -> Result<Value, String> {
        Ok(match expression {
            Expression::Or(a, b) => Value::Truth(truth(&self.value(a, at)?) || truth(&self.value(b, at)?)),
            Expression::And(a, b) => Value::Truth(truth(&self.value(a, at)?) && truth(&self.value(b, at)?)),
            Expression::Not(inner) => Value::Truth(!truth(&self.value(inner, at)?)),
            Expression::Compare(a, comparison, b) => {
                let (a, b) = (self.value(a, at)?, self.value(b, at)?);
                if let (Value::Texts(a), Value::Texts(b)) = (&a, &b) {
                    self.work(a.len().saturating_mul(b.len()))?;
                }
                Value::Truth(compare(&a, *comparison, &b))
            }
            Expression::StartsWith(text, part) => {
                Value::Truth(first_text(self.value(text, at)?).starts_with(&first_text(self.value(part, at)?)))
            }
            Expression::Contains(text, part) => {
                Value::Truth(first_text(self.value(text, at)?).contains(&first_text(self.value(part, at)?)))
            }
            Expression::Count(path) => Value::Number(match self.path(path, at.number)? {
                Found::Elements(found) => found.len() as f64,
                Found::Attributes(found) => found.len() as f64,
            }),
            Expression::Path(path) => Value::Texts(self.texts(path, at.number)?),
            Expression::Text(text) => Value::Texts(vec![text.clone()]),
            Expression::Number(number) => Value::Number(*number),
            Expression::Constant(truth) => Value::Truth(*truth),
            Expression::Position => Value::Number(at.position as f64),
            Expression::Last => Value::Number(at.last as f64),
        })
    }

    /// What a path's attributes or elements say.
    fn texts(&mut self, path: &Path, from: usize) -> Result<Vec<String>, String> {
        let found = self.path(path, from)?;
        let places = &self.layout.places;
        Ok(match found {
            Found::Elements(numbers) => {
                numbers.iter().map(|n| places[*n].element.map_or("", text).to_owned()).collect()
            }
            Found::Attributes(attributes) => attributes
                .iter()
                .filter_map(|(number, index)| places[*number].element.map(|e| e.attributes()[*index].value.to_string()))
                .collect(),
        })
    }
}

/// The first text in an element; the CIB has hardly any.
fn text(element: &Element) -> &str {
    element
        .nodes()
        .iter()
        .find_map(|node| match node {
            Node::Text(text) => Some(&**text),
            Node::Element(_) | Node::Comment(_) => None,
        })
        .unwrap_or_default()
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Texts(texts) => !texts.is_empty(),
        Value::Number(number) => *number != 0.0,
        Value::Truth(truth) => *truth,
    }
}

fn first_text(value: Value) -> String {
    match value {
        Value::Texts(texts) => texts.into_iter().next().unwrap_or_default(),
        Value::Number(number) => number.to_string(),
        Value::Truth(truth) => truth.to_string(),
    }
}

/// A comparison of sets holds if it holds for any of their members.
fn compare(a: &Value, comparison: Comparison, b: &Value) -> bool {
    match (a, b) {
        (Value::Truth(_), _) | (_, Value::Truth(_)) => ordered(f64::from(truth(a)), comparison, f64::from(truth(b))),
        (Value::Texts(a), Value::Texts(b)) => a.iter().any(|a| {
            b.iter().any(|b| match comparison {
                Comparison::Equal => a == b,
                Comparison::NotEqual => a != b,
                _ => ordered(number(a), comparison, number(b)),
            })
        }),
        (Value::Texts(a), Value::Number(b)) => a.iter().any(|a| ordered(number(a), comparison, *b)),
        (Value::Number(a), Value::Texts(b)) => b.iter().any(|b| ordered(*a, comparison, number(b))),
        (Value::Number(a), Value::Number(b)) => ordered(*a, comparison, *b),
    }
}

/// What is not a number is unlike all numbers.
fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or(f64::NAN)
}

fn ordered(a: f64, comparison: Comparison, b: f64) -> bool {
    match comparison {
        Comparison::Equal => a == b,
        Comparison::NotEqual => a != b,
        Comparison::Less => a < b,
        Comparison::LessOrEqual => a <= b,
        Comparison::Greater => a > b,
        Comparison::GreaterOrEqual => a >= b,
    }
}

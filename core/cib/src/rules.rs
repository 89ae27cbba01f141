//! Rules: conditions of time, node attributes, resources and operations (Pacemaker Explained: Rules), and the sets of
//! name/value pairs that depend on them.
//!
//! A rule, or a condition in it, that is wrong in itself does not pass; which condition that is and why, the validator
//! says. Each evaluation also tells when its answer may change with time alone.
//!
//! Rules may refer to other rules (`id-ref`), even to themselves. So an evaluation has a budget of conditions; a rule that
//! uses it up does not pass.

mod dates;

pub(crate) use dates::read_range;

use crate::document::Element;
use crate::iso8601::LocalTime;
use crate::values;
use dates::{DateSpecification, read_duration};
use hakudo_base::UnixTime;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Conditions that one evaluation may look at.
const BUDGET: u32 = 10_000;
/// Rules that may be nested in each other.
const DEEPEST: u32 = 100;

/// Looks up a value by its name: node attributes, parameters.
pub trait Lookup {
    /// The value of this name.
    fn value(&self, name: &str) -> Option<&str>;
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Lookup for BTreeMap<K, V> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(AsRef::as_ref)
    }
}

/// Looks up what an `id-ref` refers to.
pub trait Referenced {
    /// The element of this name and `id`.
    fn element(&self, name: &str, id: &str) -> Option<&Element>;
}

/// All elements that have an `id`, by it, as [`crate::Document::ids`] gives them.
impl Referenced for BTreeMap<&str, &Element> {
    fn element(&self, name: &str, id: &str) -> Option<&Element> {
        self.get(id).copied().filter(|found| found.name() == name)
    }
}

/// Against what rules are evaluated. What is missing makes conditions on it not pass.
#[derive(Clone, Copy, Default)]
pub struct Context<'a> {
    /// The time, looked at in whole seconds.
    pub now: UnixTime,
    /// Seconds that the cluster's local time is ahead of UTC.
    pub utc_offset: i32,
    /// The elements of the document by `id` ([`crate::Document::ids`]), for `id-ref`.
    pub ids: Option<&'a dyn Referenced>,
    /// Attributes of the node in question, `#uname` and the like included.
    pub node_attributes: Option<&'a dyn Lookup>,
    /// Parameters of the resource in question, for `value-source="param"`.
    pub resource_parameters: Option<&'a dyn Lookup>,
    /// Meta-attributes of the resource in question, for `value-source="meta"`.
    pub resource_meta: Option<&'a dyn Lookup>,
    /// The class, provider and type of the resource's agent.
    pub agent: Option<(&'a str, Option<&'a str>, &'a str)>,
    /// The operation's name, and its interval in milliseconds.
    pub operation: Option<(&'a str, u64)>,
    /// What `%0` to `%9` in an attribute's name stand for: the parts of the resource's id that a location constraint's
    /// `rsc-pattern` matched.
    pub submatches: &'a [String],
}

/// The answer of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// It passes.
    pub passes: bool,
    /// The next moment at which the answer may be another, as far as it depends on time.
    pub changes_at: Option<UnixTime>,
    /// The same, but only from starts, ends and durations of conditions before one that settles the answer: Pacemaker looks
    /// no further, so that its graphs (`recheck-by`) know only these.
    pub boundary_at: Option<UnixTime>,
}

/// Evaluates a `<rule>`.
pub fn evaluate(rule: &Element, context: &Context<'_>) -> Outcome {
    let now = LocalTime::at(context.now, context.utc_offset);
    let mut evaluation =
        Evaluation { context, now, budget: BUDGET, changes_at: None, boundary_at: None, settled: false };
    let passes = evaluation.rule(rule, 0).unwrap_or(false);
    Outcome { passes, changes_at: evaluation.changes_at, boundary_at: evaluation.boundary_at }
}

/// What sets of name/value pairs come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// The values by name.
    pub values: BTreeMap<&'a str, &'a str>,
    /// The next moment at which they may be others, as far as they depend on time.
    pub changes_at: Option<UnixTime>,
}

/// Evaluates blocks of `<nvpair>`s (`cluster_property_set`, `instance_attributes`, `meta_attributes`, `utilization`), all
/// of those that one element has.
///
/// A block counts where its rule passes. The block with the id `first_id` comes first, then the others by `score`, highest
/// first; of equal ones the later in the document comes first. The first value of a name counts. A value `#default` takes
/// back what was set before it.
pub fn evaluate_sets<'a>(blocks: &[&'a Element], context: &Context<'a>, first_id: Option<&str>) -> Values<'a> {
    let mut blocks: Vec<&Element> = blocks.iter().rev().filter_map(|block| resolve(block, context)).collect();
    blocks.sort_by_key(|block| {
        let score = block.attribute("score").and_then(values::score).unwrap_or(0);
        (first_id.is_none_or(|first| block.id() != first), std::cmp::Reverse(score))
    });
    let mut result = Values::default();
    for block in blocks {
        if let Some(rule) = block.child("rule") {
            let outcome = evaluate(rule, context);
            result.changes_at = earlier(result.changes_at, outcome.changes_at);
            if !outcome.passes {
                continue;
            }
        }
        // Very old documents have the pairs one level deeper.
        let pairs = block.children().next().filter(|child| child.name() == "attributes").unwrap_or(block);
        for pair in pairs.children_named("nvpair").filter_map(|pair| resolve(pair, context)) {
            let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) else { continue };
            if value.eq_ignore_ascii_case("#default") {
                result.values.remove(name);
            } else {
                result.values.entry(name).or_insert(value);
            }
        }
    }
    result
}

/// The element, or the one of the same name that it refers to.
fn resolve<'a>(element: &'a Element, context: &Context<'a>) -> Option<&'a Element> {
    match element.attribute("id-ref") {
        None => Some(element),
        Some(id) => context.ids?.element(element.name(), id),
    }
}

fn earlier(a: Option<UnixTime>, b: Option<UnixTime>) -> Option<UnixTime> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

struct Evaluation<'c, 'a> {
    context: &'c Context<'a>,
    now: LocalTime,
    budget: u32,
    changes_at: Option<UnixTime>,
    boundary_at: Option<UnixTime>,
    /// Whether the conditions before this one have settled the answer.
    settled: bool,
}

/// `None` is a condition that is wrong in itself.
type Answer = Option<bool>;

impl Evaluation<'_, '_> {
    fn rule(&mut self, rule: &Element, depth: u32) -> Answer {
        if depth > DEEPEST {
            self.budget = 0;
            return None;
        }
        let rule = match rule.attribute("id-ref") {
            None => rule,
            Some(id) => self.context.ids?.element("rule", id)?,
        };
        let any = match rule.attribute("boolean-op") {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("and") => false,
            Some(word) if word.eq_ignore_ascii_case("or") => true,
            Some(_) => return None,
        };
        let mut conditions = rule.children().peekable();
        if conditions.peek().is_none() {
            return Some(true);
        }
        let mut passes = !any;
        let settled = self.settled;
        // All conditions are looked at, because each may tell when the answer changes.
        for condition in conditions {
            self.budget = self.budget.checked_sub(1)?;
            let passed = self.condition(condition, depth).unwrap_or(false);
            if self.budget == 0 {
                return None;
            }
            passes = if any { passes || passed } else { passes && passed };
            self.settled |= passed == any;
        }
        self.settled = settled;
        Some(passes)
    }

    fn condition(&mut self, condition: &Element, depth: u32) -> Answer {
        match condition.name() {
            "rule" => self.rule(condition, depth + 1),
            "expression" => self.expression(condition),
            "date_expression" => self.date_expression(condition),
            "rsc_expression" => self.resource_expression(condition),
            "op_expression" => self.operation_expression(condition),
            _ => None,
        }
    }

    /// A comparison of a node attribute.
    fn expression(&self, expression: &Element) -> Answer {
        let attribute = self.with_submatches(expression.attribute("attribute")?);
        let actual = self.context.node_attributes.and_then(|lookup| lookup.value(&attribute));
        let operation = expression.attribute("operation")?.to_ascii_lowercase();
        let value = expression.attribute("value");
        let source = expression.attribute("value-source").unwrap_or("literal").to_ascii_lowercase();
        if !matches!(&*source, "literal" | "param" | "meta") {
            return None;
        }
        let kind = expression.attribute("type").map(Kind::parse).transpose_wrong()?;
        match &*operation {
            "defined" | "not_defined" if value.is_some() => return None,
            "defined" => return Some(actual.is_some()),
            "not_defined" => return Some(actual.is_none()),
            _ => {}
        }
        let value = value?;
        let from = |lookup: Option<&dyn Lookup>| lookup.and_then(|lookup| lookup.value(value)).map(str::to_owned);
        let reference = match &*source {
            "param" => from(self.context.resource_parameters),
            "meta" => from(self.context.resource_meta),
            _ => Some(value.to_owned()),
        };
        let ordered = matches!(&*operation, "lt" | "lte" | "gt" | "gte");
        let fraction = |text: Option<&str>| text.is_some_and(|text| text.contains('.'));
        let kind = kind.unwrap_or(match ordered {
            true if fraction(actual) || fraction(reference.as_deref()) => Kind::Number,
            true => Kind::Integer,
            false => Kind::String,
        });
        let order = match (actual, reference.as_deref()) {
            (Some(actual), Some(reference)) => kind.compare(actual, reference),
            (actual, reference) if ordered => return (actual.is_none() || reference.is_none()).then_some(false),
            (actual, reference) => actual.is_some().cmp(&reference.is_some()),
        };
        match &*operation {
            "eq" => Some(order.is_eq()),
            "ne" => Some(order.is_ne()),
            "lt" => Some(order.is_lt()),
            "lte" => Some(order.is_le()),
            "gt" => Some(order.is_gt()),
            "gte" => Some(order.is_ge()),
            _ => None,
        }
    }

    /// The name with `%0` to `%9` replaced, where the context has what they stand for.
    fn with_submatches(&self, name: &str) -> String {
        if self.context.submatches.is_empty() {
            return name.to_owned();
        }
        let mut replaced = String::with_capacity(name.len());
        let mut rest = name.chars().peekable();
        while let Some(c) = rest.next() {
            match rest.peek().and_then(|digit| digit.to_digit(10)) {
                Some(number) if c == '%' => {
                    rest.next();
                    replaced.push_str(self.context.submatches.get(number as usize).map_or("", String::as_str));
                }
                _ => replaced.push(c),
            }
        }
        replaced
    }

    fn resource_expression(&self, expression: &Element) -> Answer {
        let (class, provider, kind) = match self.context.agent {
            Some((class, provider, kind)) => (Some(class), provider, Some(kind)),
            None => (None, None, None),
        };
        let fits = |attribute: &str, actual: Option<&str>| {
            expression.attribute(attribute).is_none_or(|wanted| actual == Some(wanted))
        };
        Some(fits("class", class) && fits("provider", provider) && fits("type", kind))
    }

    fn operation_expression(&self, expression: &Element) -> Answer {
        let name = expression.attribute("name")?;
        let interval = match expression.attribute("interval") {
            Some(interval) => Some(values::milliseconds(interval)?),
            None => None,
        };
        Some(self.context.operation.is_some_and(|(actual, actual_interval)| {
            actual == name && interval.is_none_or(|interval| interval == actual_interval)
        }))
    }

    fn date_expression(&mut self, expression: &Element) -> Answer {
        let bound = |attribute: &str, now: LocalTime| match expression.attribute(attribute) {
            Some(text) => LocalTime::parse(text, now).map(Some).map_err(drop),
            None => Ok(None),
        };
        let now = self.now;
        let operation = expression.attribute("operation").unwrap_or("in_range").to_ascii_lowercase();
        match &*operation {
            "gt" => {
                let start = bound("start", now).ok()??;
                let passes = now > start;
                if !passes {
                    self.boundary(start.plus_seconds(1));
                }
                Some(passes)
            }
            "lt" => {
                let end = bound("end", now).ok()??;
                let passes = now < end;
                if passes {
                    self.boundary(end);
                }
                Some(passes)
            }
            "in_range" => {
                let start = bound("start", now).ok()?;
                let end = match (bound("end", now).ok()?, expression.child("duration"), start) {
                    (Some(end), _, _) => Some(end),
                    (None, Some(duration), Some(start)) => Some(read_duration(duration)?.after(start)),
                    (None, _, None) => return None,
                    (None, None, Some(_)) => None,
                };
                if let Some(start) = start.filter(|start| now < *start) {
                    self.boundary(start);
                    return Some(false);
                }
                match end {
                    Some(end) if now > end => Some(false),
                    Some(end) => {
                        self.boundary(end.plus_seconds(1));
                        Some(true)
                    }
                    None => Some(true),
                }
            }
            "date_spec" => {
                let specification = DateSpecification::read(expression.child("date_spec")?)?;
                if let Some(change) = specification.next_change(now) {
                    self.changes(change);
                }
                Some(specification.holds(now))
            }
            _ => None,
        }
    }

    fn boundary(&mut self, at: LocalTime) {
        if !self.settled {
            self.boundary_at = earlier(self.boundary_at, Some(at.moment()));
        }
        self.changes(at);
    }

    fn changes(&mut self, at: LocalTime) {
        self.changes_at = earlier(self.changes_at, Some(at.moment()));
    }
}

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Integer,
    Number,
    Version,
}

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        Some(match &*text.to_ascii_lowercase() {
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "version" => Kind::Version,
            _ => return None,
        })
    }

    /// Compares; what is not of this kind is compared as text, without regard to the case of letters.
    fn compare(self, a: &str, b: &str) -> Ordering {
        let as_text = || a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase());
        match self {
            Kind::String => as_text(),
            Kind::Integer => match (values::integer(a), values::integer(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => as_text(),
            },
            Kind::Number => match (values::number(a), values::number(b)) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                _ => as_text(),
            },
            Kind::Version => values::compare_versions(a, b),
        }
    }
}

/// `Option<Option<T>>` of an optional attribute that may be wrong: `None` where it is wrong.
trait TransposeWrong<T> {
    fn transpose_wrong(self) -> Option<Option<T>>;
}

impl<T> TransposeWrong<T> for Option<Option<T>> {
    fn transpose_wrong(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(Some(value)) => Some(Some(value)),
            Some(None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    /// 2024-02-29 22:30:00 UTC, a Thursday in week 9.
    const NOW: UnixTime = UnixTime::from_seconds(1_709_245_800);

    struct Node;

    impl Lookup for Node {
        fn value(&self, name: &str) -> Option<&str> {
            match name {
                "#uname" => Some("alpha"),
                "ram" => Some("64"),
                "load" => Some("0.5"),
                "version" => Some("1.10.2"),
                "word" => Some("Blue"),
                "ping-eth0" => Some("100"),
                _ => None,
            }
        }
    }

    /// Calls `with` with everything that a context can have.
    fn in_context<T>(document: &Document, with: impl FnOnce(&Context<'_>) -> T) -> T {
        let ids = document.ids();
        let parameters = BTreeMap::from([("wanted", "64")]);
        with(&Context {
            now: NOW,
            ids: Some(&ids),
            node_attributes: Some(&Node),
            resource_parameters: Some(&parameters),
            agent: Some(("ocf", Some("heartbeat"), "IPaddr2")),
            operation: Some(("monitor", 10_000)),
            submatches: &["vm-eth0".to_owned(), "eth0".to_owned()],
            ..Context::default()
        })
    }

    /// Evaluates each condition, one a line, in a rule of its own.
    fn check(conditions: &str, expected: Expect) {
        let mut shown = String::new();
        for condition in conditions.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let document = Document::parse(&format!("<a><rule id='r'>{condition}</rule></a>")).unwrap();
            let rule = document.root().child("rule").unwrap();
            let outcome = in_context(&document, |context| evaluate(rule, context));
            let when = outcome.changes_at.map_or_else(String::new, |at| format!(" until {}", LocalTime::at(at, 0)));
            shown += &format!("{}{when} {condition}\n", if outcome.passes { "yes" } else { "no" });
        }
        expected.assert_eq(&shown);
    }

    #[test]
    fn node_attributes() {
        check(
            "
            <expression id='e' attribute='ram' operation='eq' value='64'/>
            <expression id='e' attribute='word' operation='eq' value='BLUE'/>
            <expression id='e' attribute='word' operation='ne' value='red'/>
            <expression id='e' attribute='none' operation='ne' value='red'/>
            <expression id='e' attribute='none' operation='eq' value='red'/>
            <expression id='e' attribute='none' operation='lt' value='9'/>
            <expression id='e' attribute='ram' operation='gt' value='7'/>
            <expression id='e' attribute='ram' operation='gt' value='7' type='string'/>
            <expression id='e' attribute='load' operation='lt' value='1'/>
            <expression id='e' attribute='load' operation='gte' value='0.5' type='number'/>
            <expression id='e' attribute='version' operation='gt' value='1.9' type='version'/>
            <expression id='e' attribute='version' operation='gt' value='1.9' type='number'/>
            <expression id='e' attribute='ram' operation='lte' value='wanted' value-source='param'/>
            <expression id='e' attribute='ram' operation='lte' value='unknown' value-source='param'/>
            <expression id='e' attribute='ping-%1' operation='gte' value='100'/>
            <expression id='e' attribute='ping-%1' operation='defined'/>
            <expression id='e' attribute='ping-%7' operation='not_defined'/>
            <expression id='e' attribute='ram' operation='defined' value='1'/>
            <expression id='e' attribute='ram' operation='eq'/>
            <expression id='e' attribute='ram' operation='like' value='64'/>
            <expression id='e' attribute='ram' operation='eq' value='64' type='colour'/>
            <expression id='e' attribute='ram' operation='eq' value='64' value-source='air'/>
            <expression id='e' operation='eq' value='64'/>
            ",
            expect![[r#"
                yes <expression id='e' attribute='ram' operation='eq' value='64'/>
                yes <expression id='e' attribute='word' operation='eq' value='BLUE'/>
                yes <expression id='e' attribute='word' operation='ne' value='red'/>
                yes <expression id='e' attribute='none' operation='ne' value='red'/>
                no <expression id='e' attribute='none' operation='eq' value='red'/>
                no <expression id='e' attribute='none' operation='lt' value='9'/>
                yes <expression id='e' attribute='ram' operation='gt' value='7'/>
                no <expression id='e' attribute='ram' operation='gt' value='7' type='string'/>
                yes <expression id='e' attribute='load' operation='lt' value='1'/>
                yes <expression id='e' attribute='load' operation='gte' value='0.5' type='number'/>
                yes <expression id='e' attribute='version' operation='gt' value='1.9' type='version'/>
                no <expression id='e' attribute='version' operation='gt' value='1.9' type='number'/>
                yes <expression id='e' attribute='ram' operation='lte' value='wanted' value-source='param'/>
                no <expression id='e' attribute='ram' operation='lte' value='unknown' value-source='param'/>
                yes <expression id='e' attribute='ping-%1' operation='gte' value='100'/>
                yes <expression id='e' attribute='ping-%1' operation='defined'/>
                yes <expression id='e' attribute='ping-%7' operation='not_defined'/>
                no <expression id='e' attribute='ram' operation='defined' value='1'/>
                no <expression id='e' attribute='ram' operation='eq'/>
                no <expression id='e' attribute='ram' operation='like' value='64'/>
                no <expression id='e' attribute='ram' operation='eq' value='64' type='colour'/>
                no <expression id='e' attribute='ram' operation='eq' value='64' value-source='air'/>
                no <expression id='e' operation='eq' value='64'/>
            "#]],
        );
    }

    #[test]
    fn dates() {
        check(
            "
            <date_expression id='d' operation='gt' start='2024-02-29 22:29:59Z'/>
            <date_expression id='d' operation='gt' start='2024-02-29 22:30:00Z'/>
            <date_expression id='d' operation='lt' end='2024-03-01'/>
            <date_expression id='d' operation='lt' end='2024-02-29 22:30:00Z'/>
            <date_expression id='d' operation='in_range' start='2024-01-01' end='2024-03-01'/>
            <date_expression id='d' start='2024-03-01' end='2024-04-01'/>
            <date_expression id='d' operation='in_range' start='2023-01-01' end='2023-03-01'/>
            <date_expression id='d' operation='in_range' end='2024-02-29 22:30:00Z'/>
            <date_expression id='d' operation='in_range' start='2024-02-28'><duration id='u' days='1' hours='23'/></date_expression>
            <date_expression id='d' operation='in_range' start='2024-02-28'><duration id='u' days='x'/></date_expression>
            <date_expression id='d' operation='in_range'/>
            <date_expression id='d' operation='gt' start='soon'/>
            <date_expression id='d' operation='date_spec'><date_spec id='s' hours='9-16' weekdays='1-5'/></date_expression>
            <date_expression id='d' operation='date_spec'><date_spec id='s' weekdays='4' hours='20-'/></date_expression>
            <date_expression id='d' operation='date_spec'><date_spec id='s' years='2025'/></date_expression>
            <date_expression id='d' operation='date_spec'><date_spec id='s' years='-2023'/></date_expression>
            <date_expression id='d' operation='date_spec'><date_spec id='s' monthdays='29' months='2' yeardays='60' weeks='9' weekyears='2024'/></date_expression>
            <date_expression id='d' operation='date_spec'><date_spec id='s' minutes='30-59' seconds='0'/></date_expression>
            <date_expression id='d' operation='date_spec'><date_spec id='s' hours='5-x'/></date_expression>
            <date_expression id='d' operation='date_spec'><date_spec id='s'/></date_expression>
            <date_expression id='d' operation='date_spec'/>
            ",
            expect![[r#"
                yes <date_expression id='d' operation='gt' start='2024-02-29 22:29:59Z'/>
                no until 2024-02-29 22:30:01Z <date_expression id='d' operation='gt' start='2024-02-29 22:30:00Z'/>
                yes until 2024-03-01 00:00:00Z <date_expression id='d' operation='lt' end='2024-03-01'/>
                no <date_expression id='d' operation='lt' end='2024-02-29 22:30:00Z'/>
                yes until 2024-03-01 00:00:01Z <date_expression id='d' operation='in_range' start='2024-01-01' end='2024-03-01'/>
                no until 2024-03-01 00:00:00Z <date_expression id='d' start='2024-03-01' end='2024-04-01'/>
                no <date_expression id='d' operation='in_range' start='2023-01-01' end='2023-03-01'/>
                yes until 2024-02-29 22:30:01Z <date_expression id='d' operation='in_range' end='2024-02-29 22:30:00Z'/>
                yes until 2024-02-29 23:00:01Z <date_expression id='d' operation='in_range' start='2024-02-28'><duration id='u' days='1' hours='23'/></date_expression>
                no <date_expression id='d' operation='in_range' start='2024-02-28'><duration id='u' days='x'/></date_expression>
                no <date_expression id='d' operation='in_range'/>
                no <date_expression id='d' operation='gt' start='soon'/>
                no until 2024-03-01 09:00:00Z <date_expression id='d' operation='date_spec'><date_spec id='s' hours='9-16' weekdays='1-5'/></date_expression>
                yes until 2024-03-01 00:00:00Z <date_expression id='d' operation='date_spec'><date_spec id='s' weekdays='4' hours='20-'/></date_expression>
                no until 2025-01-01 00:00:00Z <date_expression id='d' operation='date_spec'><date_spec id='s' years='2025'/></date_expression>
                no until 2524-01-01 00:00:00Z <date_expression id='d' operation='date_spec'><date_spec id='s' years='-2023'/></date_expression>
                yes until 2024-03-01 00:00:00Z <date_expression id='d' operation='date_spec'><date_spec id='s' monthdays='29' months='2' yeardays='60' weeks='9' weekyears='2024'/></date_expression>
                yes until 2024-02-29 22:30:01Z <date_expression id='d' operation='date_spec'><date_spec id='s' minutes='30-59' seconds='0'/></date_expression>
                no <date_expression id='d' operation='date_spec'><date_spec id='s' hours='5-x'/></date_expression>
                yes <date_expression id='d' operation='date_spec'><date_spec id='s'/></date_expression>
                no <date_expression id='d' operation='date_spec'/>
            "#]],
        );
    }

    #[test]
    fn resources_operations_and_nesting() {
        check(
            "
            <rsc_expression id='e' class='ocf' provider='heartbeat'/>
            <rsc_expression id='e' class='ocf' type='Dummy'/>
            <op_expression id='e' name='monitor' interval='10'/>
            <op_expression id='e' name='monitor'/>
            <op_expression id='e' name='monitor' interval='20s'/>
            <op_expression id='e' name='start'/>
            <op_expression id='e' interval='10'/>
            <rule id='n' boolean-op='or'><op_expression id='a' name='start'/><op_expression id='b' name='monitor'/></rule>
            <rule id='n' boolean-op='and'><op_expression id='a' name='start'/><op_expression id='b' name='monitor'/></rule>
            <rule id='n' boolean-op='xor'><op_expression id='b' name='monitor'/></rule>
            <rule id='n' boolean-op='or'><nonsense/><op_expression id='b' name='monitor'/></rule>
            <rule id='n'/>
            <rule id-ref='nowhere'/>
            <rule id-ref='r'/>
            <rule id='n' boolean-op='or'><rule id-ref='r'/><rule id-ref='r'/></rule>
            ",
            expect![[r#"
                yes <rsc_expression id='e' class='ocf' provider='heartbeat'/>
                no <rsc_expression id='e' class='ocf' type='Dummy'/>
                yes <op_expression id='e' name='monitor' interval='10'/>
                yes <op_expression id='e' name='monitor'/>
                no <op_expression id='e' name='monitor' interval='20s'/>
                no <op_expression id='e' name='start'/>
                no <op_expression id='e' interval='10'/>
                yes <rule id='n' boolean-op='or'><op_expression id='a' name='start'/><op_expression id='b' name='monitor'/></rule>
                no <rule id='n' boolean-op='and'><op_expression id='a' name='start'/><op_expression id='b' name='monitor'/></rule>
                no <rule id='n' boolean-op='xor'><op_expression id='b' name='monitor'/></rule>
                yes <rule id='n' boolean-op='or'><nonsense/><op_expression id='b' name='monitor'/></rule>
                yes <rule id='n'/>
                no <rule id-ref='nowhere'/>
                no <rule id-ref='r'/>
                no <rule id='n' boolean-op='or'><rule id-ref='r'/><rule id-ref='r'/></rule>
            "#]],
        );
    }

    #[test]
    fn sets_in_their_order() {
        let document = Document::parse(
            "<crm_config>
               <cluster_property_set id='low' score='-5'><nvpair id='1' name='a' value='low'/><nvpair id='2' name='b' value='low'/></cluster_property_set>
               <cluster_property_set id='high' score='10'><nvpair id='3' name='a' value='high'/><nvpair id-ref='2'/></cluster_property_set>
               <cluster_property_set id='same' score='10'><nvpair id='4' name='a' value='same'/></cluster_property_set>
               <cluster_property_set id='first'><nvpair id='5' name='c' value='first'/></cluster_property_set>
               <cluster_property_set id='off' score='INFINITY'>
                 <rule id='r'><date_expression id='d' operation='gt' start='2024-04-01'/></rule>
                 <nvpair id='6' name='c' value='off'/><nvpair id='7' name='d' value='off'/>
               </cluster_property_set>
               <cluster_property_set id-ref='low'/>
               <cluster_property_set id-ref='nowhere'/>
               <cluster_property_set id='back' score='-9'><nvpair id='8' name='c' value='#default'/><nvpair id='9' name='e' value='1'/></cluster_property_set>
             </crm_config>",
        )
        .unwrap();
        let blocks: Vec<&Element> = document.root().children().collect();
        let show = |first| {
            in_context(&document, |context| {
                let found = evaluate_sets(&blocks, context, first);
                format!("{:?} until {}", found.values, found.changes_at.map_or(0, UnixTime::seconds))
            })
        };
        expect![[r#"{"a": "same", "b": "low", "e": "1"} until 1711929601"#]].assert_eq(&show(None));
        expect![[r#"{"a": "low", "b": "low", "e": "1"} until 1711929601"#]].assert_eq(&show(Some("low")));
    }

    proptest! {
        /// Between now and the moment of change, the answer stays the same.
        #[test]
        fn the_answer_stays_until_its_change(
            start in 0i64..4_000_000_000, weekdays in 1..8i64, hours in 0..24i64, later in 0.0..1.0f64,
        ) {
            let text = format!("<rule id='r'><date_expression id='d' operation='date_spec'>
                <date_spec id='s' weekdays='{weekdays}-' hours='-{hours}'/></date_expression></rule>");
            let rule = Element::parse(&text).unwrap();
            let at = |seconds| evaluate(&rule, &Context { now: UnixTime::from_seconds(seconds), ..Context::default() });
            let first = at(start);
            let end = first.changes_at.unwrap().seconds();
            prop_assert!(end > start);
            let between = start + ((end - 1 - start) as f64 * later) as i64;
            prop_assert_eq!(at(between).passes, first.passes);
            if end - start < 400 * 86_400 && !(weekdays == 1 && hours == 23) {
                prop_assert_ne!(at(end).passes, first.passes);
            }
        }
    }
}

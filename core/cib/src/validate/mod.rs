//! What is wrong with a document: everything, each with its place and, where one can guess it, what was meant.
//!
//! The schema is a table ([`schema`]), and so are the names of options and what their values must be ([`names`]). A document of an older schema is upgraded first, and judged as what it then is; what
//! it is made of keeps its place in the text. Errors are what makes a configuration invalid or ambiguous; warnings, what is
//! allowed but hardly meant; notes, what has no effect here. The status section is not looked at: no person writes it.

mod comparison;
mod names;
mod pairs;
mod schema;

pub use comparison::{new_errors, new_warnings};
pub use pairs::known_properties;

use crate::document::{Document, Element, Node, Position};
use crate::iso8601::LocalTime;
use crate::upgrade::{Upgraded, upgrade};
use crate::xpath::XPath;
use crate::{rules, values};
use hakudo_base::suggestion::nearest;
use hakudo_base::{Severity, UnixTime};
use schema::{AttributeRule, ElementRule, Kind, rule_of};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the text; 0:0 for what stands in no text.
    pub position: Position,
    /// The `id` of the element, or of the nearest one around it that has one; may be empty.
    pub id: String,
    /// The attribute that is wrong, where it is one.
    pub attribute: Option<String>,
    /// Error, warning, or a note.
    pub severity: Severity,
    /// What is wrong. It names no place, so that it is the same wherever the element stands.
    pub message: String,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
    /// Something refers to what is not there. No schema forbids that: who insists may write it, as with Pacemaker.
    pub dangling: bool,
    /// Another place that belongs to it, and what is there.
    pub related: Option<(Position, String)>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        write!(f, "{}: {severity}: {}", self.position, self.message)?;
        if let Some((position, what)) = &self.related {
            write!(f, "; {what} is at {position}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a document, in the order of the text. An upgrade's own notes are not repeated.
pub fn validate(document: &Document) -> Vec<Problem> {
    let mut check = Check { problems: Vec::new(), known: Known::default(), around: String::new(), attribute: None };
    let root = document.root();
    if root.name() != "cib" {
        let message = format!("the document is a <{}>, not a <cib>", root.name());
        check.report(root, Severity::Error, message, None);
        return check.problems;
    }
    match upgrade(document) {
        Err(error) => check.report(root, Severity::Error, error.to_string(), None),
        Ok(Upgraded { document, .. }) => check.document(&document),
    }
    check.problems.sort_by_key(|problem| problem.position);
    check.problems
}

/// What there is to refer to.
#[derive(Default)]
struct Known {
    /// By id: the element's name and place.
    ids: BTreeMap<String, (String, Position)>,
    /// Names of nodes, remote ones included.
    nodes: BTreeMap<String, Position>,
    /// Bundles, whose replicas are nodes, too.
    bundles: Vec<String>,
    /// Templates of fence devices.
    fence_templates: BTreeSet<String>,
}

struct Check {
    problems: Vec<Problem>,
    known: Known,
    /// The id of the nearest element around.
    around: String,
    /// The attribute that is looked at, while one is.
    attribute: Option<String>,
}

/// Elements whose `id` is no XML id: free text, or the id of something else.
const OTHER_IDS: [&str; 5] = ["node", "acl_target", "role", "resource_ref", "obj_ref"];

impl Check {
    fn report(&mut self, element: &Element, severity: Severity, message: String, hint: Option<String>) {
        let id = if element.id().is_empty() { self.around.clone() } else { element.id().to_owned() };
        let (position, attribute) = (element.position(), self.attribute.clone());
        self.problems.push(Problem {
            position,
            id,
            attribute,
            severity,
            message,
            hint,
            dangling: false,
            related: None,
        });
    }

    /// An error that concerns two places.
    fn conflict(&mut self, element: &Element, message: String, at: Position, what: String) {
        self.report(element, Severity::Error, message, None);
        if let Some(problem) = self.problems.last_mut() {
            problem.related = Some((at, what));
        }
    }

    fn dangling(&mut self, element: &Element, severity: Severity, message: String, hint: Option<String>) {
        self.report(element, severity, message, hint);
        if let Some(problem) = self.problems.last_mut() {
            problem.dangling = true;
        }
    }

    fn error(&mut self, element: &Element, message: impl Into<String>) {
        self.report(element, Severity::Error, message.into(), None);
    }

    fn warning(&mut self, element: &Element, message: impl Into<String>, hint: Option<String>) {
        self.report(element, Severity::Warning, message.into(), hint);
    }

    fn document(&mut self, document: &Document) {
        let root = document.root();
        for configuration in root.children_named("configuration") {
            self.collect(configuration);
        }
        self.element(root);
    }

    /// Notes what can be referred to, and what is there twice.
    fn collect(&mut self, configuration: &Element) {
        let mut node_ids: BTreeMap<String, Position> = BTreeMap::new();
        for element in configuration.descendants() {
            if let Some(id) = element.attribute("id").filter(|_| !OTHER_IDS.contains(&element.name())) {
                let found = (element.name().to_owned(), element.position());
                if let Some((name, position)) = self.known.ids.get(id).cloned() {
                    let what = format!("the first <{name}>");
                    self.conflict(element, format!("the id '{id}' is used already, by a <{name}>"), position, what);
                } else {
                    self.known.ids.insert(id.to_owned(), found);
                }
            }
            match element.name() {
                "node" => {
                    let id = element.id().to_owned();
                    if let Some(first) = node_ids.insert(id.clone(), element.position()) {
                        let message = format!("the node id '{id}' is used already");
                        self.conflict(element, message, first, "the first <node>".to_owned());
                    }
                    let name = element.attribute("uname").unwrap_or_default().to_owned();
                    if let Some(first) = self.known.nodes.insert(name.clone(), element.position()) {
                        let message = format!("the node name '{name}' is used already");
                        self.conflict(element, message, first, "the first one".to_owned());
                    }
                }
                "primitive" if is_remote(element) => {
                    self.known.nodes.insert(element.id().to_owned(), element.position());
                }
                "nvpair" if element.attribute("name") == Some("remote-node") => {
                    let name = element.attribute("value").unwrap_or_default().to_owned();
                    self.known.nodes.insert(name, element.position());
                }
                "bundle" => self.known.bundles.push(element.id().to_owned()),
                "template" if element.attribute("class") == Some("stonith") => {
                    self.known.fence_templates.insert(element.id().to_owned());
                }
                _ => {}
            }
        }
    }

    fn element(&mut self, element: &Element) {
        let Some(rule) = rule_of(element.name()) else { return };
        let around = self.around.clone();
        if !element.id().is_empty() {
            self.around = element.id().to_owned();
        }
        self.attributes(element, rule);
        self.choices(element, rule);
        self.beyond_the_table(element);
        self.sets(element);
        for node in element.nodes() {
            match node {
                Node::Element(child) if rule.children.contains(&child.name()) => {
                    // The status section may hold anything.
                    if child.name() != "status" {
                        self.element(child);
                    }
                }
                Node::Element(child) => self.unknown_child(element, child, rule),
                Node::Text(text) => {
                    let text: String = text.trim().chars().take(20).collect();
                    self.error(element, format!("<{}> cannot hold text ('{text}')", element.name()));
                }
                Node::Comment(_) => {}
            }
        }
        self.around = around;
    }

    fn unknown_child(&mut self, element: &Element, child: &Element, rule: &ElementRule) {
        let message = match rule_of(child.name()) {
            Some(_) => format!("<{}> does not belong into <{}>", child.name(), element.name()),
            None => format!("there is no element <{}>", child.name()),
        };
        let hint = nearest(child.name(), rule.children.iter().copied()).map(|name| format!("is <{name}> meant?"));
        self.report(child, Severity::Error, message, hint);
    }

    fn attributes(&mut self, element: &Element, rule: &ElementRule) {
        let reference = element.attribute("id-ref").is_some() && rule.attributes.iter().any(|a| a.name == "id-ref");
        for attribute in element.attributes() {
            self.attribute = Some(attribute.name.to_string());
            match rule.attributes.iter().find(|known| *known.name == *attribute.name) {
                Some(known) => self.value(element, known, &attribute.value),
                None if attribute.name.contains(':') || &*attribute.name == "xmlns" => {}
                None => {
                    let message = format!("<{}> has no attribute '{}'", element.name(), attribute.name);
                    let hint = nearest(&attribute.name, rule.attributes.iter().map(|known| known.name));
                    self.report(element, Severity::Error, message, hint.map(|name| format!("is '{name}' meant?")));
                }
            }
        }
        self.attribute = None;
        for known in rule.attributes.iter().filter(|known| known.required && !reference) {
            if element.attribute(known.name).is_none() {
                self.error(element, format!("<{}> needs the attribute '{}'", element.name(), known.name));
            }
        }
    }

    /// Checks one value.
    fn value(&mut self, element: &Element, known: &AttributeRule, value: &str) {
        let what = |expected: &str| format!("'{value}' is no value for '{}': {expected}", known.name);
        match known.kind {
            Kind::Text => {}
            Kind::Id if !is_xml_name(value) => {
                let rule = "an id starts with a letter or _, and goes on with these, digits, '.' and '-'";
                self.error(element, what(rule));
            }
            Kind::Id => {}
            Kind::Boolean if values::boolean(value).is_none() => self.error(element, what("it must be true or false")),
            Kind::Boolean => {}
            Kind::Integer if !is_integer(value) => self.error(element, what("it must be a whole number")),
            Kind::Integer => {}
            Kind::Natural if value.parse::<u64>().is_err() => {
                self.error(element, what("it must be a whole number from 0"));
            }
            Kind::Natural => {}
            Kind::Level if !matches!(value.parse(), Ok(1..=9)) => {
                self.error(element, what("it must be a number from 1 to 9"));
            }
            Kind::Level => {}
            Kind::Score if !(is_integer(value) || matches!(value, "INFINITY" | "+INFINITY" | "-INFINITY")) => {
                self.error(element, what("it must be a whole number, INFINITY or -INFINITY"));
            }
            Kind::Score => {}
            Kind::Time if values::milliseconds(value).is_none() => {
                self.error(element, what("it must be a time such as 10s, 500ms, 2min or PT1H"));
            }
            Kind::Time => {}
            Kind::Date => {
                if let Err(error) = LocalTime::parse(value, LocalTime::at(UnixTime::default(), 0)) {
                    self.error(element, format!("'{}': {error}", known.name));
                }
            }
            Kind::Range if rules::read_range(value).is_none() => {
                self.error(element, what("it must be a number or a range such as 1-5, 9- or -12"));
            }
            Kind::Range => {}
            Kind::OneOf(words) if !words.contains(&value) => {
                let hint = nearest(value, words.iter().copied()).map(|word| format!("is '{word}' meant?"));
                let message = what(&format!("it must be one of {}", words.join(", ")));
                self.report(element, Severity::Error, message, hint);
            }
            Kind::OneOf(_) => {}
            Kind::Of(names) => self.reference(element, known.name, value, names),
            Kind::Same => self.reference(element, known.name, value, &[element.name()]),
            Kind::Any => self.reference(element, known.name, value, &[]),
            Kind::Node => self.node(element, value),
            Kind::Devices => self.devices(element, value),
            Kind::XPath => {
                if let Err(error) = XPath::parse(value) {
                    self.warning(element, error.to_string(), None);
                }
            }
        }
    }

    /// Checks that there is something with this id, of one of these names (or of any, where there are none).
    fn reference(&mut self, element: &Element, attribute: &str, id: &str, names: &[&str]) {
        // A tag may mark nodes, which have ids of their own.
        let a_node = names.is_empty() && self.known.nodes.contains_key(id);
        match self.known.ids.get(id).cloned() {
            Some((name, _)) if names.is_empty() || names.contains(&&*name) => {}
            Some((name, position)) => {
                let message = format!(
                    "'{attribute}' refers to '{id}', which is a <{name}>; it must be a {}",
                    names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(", ")
                );
                self.conflict(element, message, position, format!("the <{name}>"));
            }
            None if a_node => {}
            None => {
                let fitting =
                    self.known.ids.iter().filter(|(_, (name, _))| names.is_empty() || names.contains(&&**name));
                let hint = nearest(id, fitting.map(|(id, _)| &**id)).map(|near| format!("is '{near}' meant?"));
                let severity = if element.name() == "obj_ref" { Severity::Warning } else { Severity::Error };
                self.dangling(element, severity, format!("'{attribute}' refers to '{id}', which does not exist"), hint);
            }
        }
    }

    fn node(&mut self, element: &Element, name: &str) {
        let replica = || {
            name.rsplit_once('-').is_some_and(|(bundle, number)| {
                number.bytes().all(|b| b.is_ascii_digit()) && self.known.bundles.iter().any(|known| known == bundle)
            })
        };
        if self.known.nodes.keys().any(|known| known.eq_ignore_ascii_case(name)) || replica() {
            return;
        }
        let hint = nearest(name, self.known.nodes.keys().map(String::as_str)).map(|near| format!("is '{near}' meant?"));
        self.warning(element, format!("there is no node '{name}'"), hint);
    }

    fn devices(&mut self, element: &Element, list: &str) {
        for device in list.split(',') {
            match self.known.ids.get(device.trim()) {
                Some((name, _)) if matches!(&**name, "primitive" | "clone" | "group") => {}
                Some((name, _)) => self.error(element, format!("'devices' names '{device}', which is a <{name}>")),
                None if device.trim().is_empty() => self.error(element, "'devices' has an empty name in its list"),
                None => {
                    let primitives = self.known.ids.iter().filter(|(_, (name, _))| name == "primitive");
                    let hint =
                        nearest(device, primitives.map(|(id, _)| &**id)).map(|near| format!("is '{near}' meant?"));
                    self.warning(element, format!("'devices' names '{device}', which does not exist"), hint);
                }
            }
        }
    }

    fn choices(&mut self, element: &Element, rule: &ElementRule) {
        if element.attribute("id-ref").is_some() {
            return;
        }
        let there = |part: &str| match part.strip_prefix('<') {
            Some(child) => element.child(child).is_some(),
            None => element.attribute(part).is_some(),
        };
        for alternatives in rule.choices {
            let whole = alternatives.iter().filter(|parts| parts.iter().all(|part| there(part))).count();
            if whole == 1 {
                continue;
            }
            let show = |parts: &[&str]| {
                let shown: Vec<String> = parts
                    .iter()
                    .map(|part| if part.starts_with('<') { format!("{part}>") } else { format!("'{part}'") })
                    .collect();
                shown.join(" and ")
            };
            let all: Vec<String> = alternatives.iter().map(|parts| show(parts)).collect();
            let verb = if whole == 0 { "needs" } else { "must have only one of" };
            self.error(element, format!("<{}> {verb} {}", element.name(), all.join(", or ")));
        }
    }

    /// What a table cannot say.
    fn beyond_the_table(&mut self, element: &Element) {
        match element.name() {
            "expression" => {
                let unary = matches!(element.attribute("operation"), Some("defined" | "not_defined"));
                match element.attribute("value") {
                    Some(_) if unary => {
                        self.warning(element, "the rule never passes: 'defined' takes no 'value'", None)
                    }
                    None if !unary => self.error(element, "<expression> needs the attribute 'value'"),
                    _ => {}
                }
            }
            "date_expression" => self.date_expression(element),
            "rule" if element.attribute("id-ref").is_none() => {
                if element.children().next().is_none() {
                    self.error(element, "<rule> needs at least one condition");
                }
                if element.attribute("score").is_some() && element.attribute("score-attribute").is_some() {
                    self.error(element, "<rule> must have only one of 'score', or 'score-attribute'");
                }
            }
            "primitive" | "template" => self.agent(element),
            "operations" => self.operations(element),
            "clone" | "bundle" => {
                let one_of = |c: &&Element| matches!(c.name(), "primitive" | "group");
                if let Some(second) = element.children().filter(one_of).nth(1) {
                    self.error(second, format!("<{}> can hold only one resource", element.name()));
                }
            }
            _ => {}
        }
    }

    fn date_expression(&mut self, element: &Element) {
        let has = |attribute: &str| element.attribute(attribute).is_some();
        let problem = match element.attribute("operation").unwrap_or("in_range") {
            "gt" if !has("start") => "with operation gt needs the attribute 'start'",
            "lt" if !has("end") => "with operation lt needs the attribute 'end'",
            "in_range" if !has("start") && !has("end") => "with operation in_range needs 'start' or 'end'",
            "in_range" if !has("start") && element.child("duration").is_some() && !has("end") => {
                "with a <duration> needs 'start'"
            }
            "date_spec" if element.child("date_spec").is_none() => "with operation date_spec needs a <date_spec>",
            _ => return,
        };
        self.error(element, format!("<date_expression> {problem}"));
    }

    fn agent(&mut self, element: &Element) {
        match (element.attribute("class"), element.attribute("provider")) {
            (Some("ocf"), None) => self.error(element, "an agent of class ocf needs the attribute 'provider'"),
            (Some(class @ ("lsb" | "service" | "stonith" | "systemd")), Some(_)) => {
                self.error(element, format!("an agent of class {class} has no 'provider'"));
            }
            _ => {}
        }
    }

    /// Two operations with the same name and interval cannot be told apart.
    fn operations(&mut self, element: &Element) {
        let mut seen: BTreeMap<(String, u64, String), String> = BTreeMap::new();
        for operation in element.children_named("op") {
            let name = operation.attribute("name").unwrap_or_default().to_owned();
            let interval = operation.attribute("interval").and_then(values::milliseconds).unwrap_or_default();
            let role = operation.attribute("role").unwrap_or_default().to_owned();
            if let Some(first) = seen.insert((name.clone(), interval, role), operation.id().to_owned()) {
                let message =
                    format!("the operation {name} has the same interval as '{first}': only one of them is used");
                self.warning(operation, message, None);
            }
        }
    }
}

fn is_remote(primitive: &Element) -> bool {
    primitive.attribute("class") == Some("ocf")
        && primitive.attribute("provider") == Some("pacemaker")
        && primitive.attribute("type") == Some("remote")
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// An XML name without a colon (NCName).
fn is_xml_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{B7}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(configuration: &str, expected: Expect) {
        let text = format!(
            "<cib validate-with='pacemaker-4.0'><configuration>\n{configuration}</configuration><status><any thing='1'/></status></cib>"
        );
        let problems: String =
            validate(&Document::parse(&text).unwrap()).iter().map(|problem| format!("{problem}\n")).collect();
        expected.assert_eq(&problems);
    }

    #[test]
    fn the_table_is_closed() {
        for rule in schema::ELEMENTS {
            for child in rule.children.iter().filter(|child| **child != "status") {
                assert!(rule_of(child).is_some(), "<{child}> in <{}> has no entry", rule.name);
            }
            for part in rule.choices.iter().copied().flatten().copied().flatten() {
                let known = match part.strip_prefix('<') {
                    Some(child) => rule.children.contains(&child),
                    None => rule.attributes.iter().any(|attribute| attribute.name == *part),
                };
                assert!(known, "{part} in <{}>", rule.name);
            }
        }
    }

    #[test]
    fn elements_and_attributes() {
        check(
            "<resources>
  <primitiv id='x'/>
  <primitive id='a' class='ocf' provider='p' typ='T'/>
  <primitive id='b' class='ofc' provider='p' type='T'/>
  <primitive id='c' class='ocf' type='T' template='a'/>
  <primitive id='d' class='lsb' provider='p' type='T'><operations>
    <op id='d1' name='monitor' interval='10'/><op id='d2' name='monitor' interval='10s'/><op name='start' interval='soon'/>
  </operations></primitive>
  <group id='1g'/>
  <clone id='e'><primitive id='f' class='lsb' type='T'/><primitive id='g' class='lsb' type='T'/></clone>
  <rsc_order id='o'/> words
</resources>",
            expect![[r#"
                2:1: error: <resources> cannot hold text ('words')
                3:3: error: there is no element <primitiv> (is <primitive> meant?)
                4:3: error: <primitive> has no attribute 'typ' (is 'type' meant?)
                4:3: error: <primitive> needs 'class' and 'type', or 'template'
                5:3: error: 'ofc' is no value for 'class': it must be one of ocf, lsb, heartbeat, stonith, service, systemd (is 'ocf' meant?)
                6:3: error: 'template' refers to 'a', which is a <primitive>; it must be a <template>; the <primitive> is at 4:3
                6:3: error: <primitive> must have only one of 'class' and 'type', or 'template'
                6:3: error: an agent of class ocf needs the attribute 'provider'
                7:3: error: an agent of class lsb has no 'provider'
                8:47: warning: the operation monitor has the same interval as 'd1': only one of them is used
                8:90: error: 'soon' is no value for 'interval': it must be a time such as 10s, 500ms, 2min or PT1H
                8:90: error: <op> needs the attribute 'id'
                10:3: error: '1g' is no value for 'id': an id starts with a letter or _, and goes on with these, digits, '.' and '-'
                10:3: error: <group> needs <primitive>
                11:57: error: <clone> can hold only one resource
                12:3: error: <rsc_order> does not belong into <resources>
            "#]],
        );
    }

    #[test]
    fn references() {
        check(
            "<nodes><node id='1' uname='alpha'/><node id='1' uname='beta'/><node id='3' uname='alpha'/></nodes>
<resources><primitive id='web' class='lsb' type='T'><meta_attributes id-ref='none'/></primitive>
  <primitive id='web' class='lsb' type='T'/></resources>
<constraints>
  <rsc_location id='l1' rsc='wep' node='alpha' score='5'/>
  <rsc_location id='l2' rsc='l1' node='alpah' score='high'/>
  <rsc_location id='l3' rsc='web' rsc-pattern='w' node='beta' score='INFINITY'/>
  <rsc_location id='l4' rsc='web' node='beta'/>
  <rsc_order id='o' first='web'/>
  <rsc_colocation id='c'><resource_set id='s'><resource_ref id='nothing'/></resource_set></rsc_colocation>
</constraints>
<fencing-topology><fencing-level id='f' target='anything' index='10' devices='web,fence,'/></fencing-topology>
<tags><tag id='t'><obj_ref id='web'/><obj_ref id='beta'/><obj_ref id='gone'/></tag></tags>
<acls><acl_target id='user'><role id='web'/></acl_target><acl_role id='r'><acl_permission id='p' kind='read' xpath='//['/></acl_role></acls>",
            expect![[r#"
                2:36: error: the node id '1' is used already; the first <node> is at 2:8
                2:63: error: the node name 'alpha' is used already; the first one is at 2:8
                3:53: error: 'id-ref' refers to 'none', which does not exist
                4:3: error: the id 'web' is used already, by a <primitive>; the first <primitive> is at 3:12
                6:3: error: 'rsc' refers to 'wep', which does not exist (is 'web' meant?)
                7:3: error: 'rsc' refers to 'l1', which is a <rsc_location>; it must be a <primitive>, <group>, <clone>, <bundle>, <template>, <tag>; the <rsc_location> is at 6:3
                7:3: warning: there is no node 'alpah' (is 'alpha' meant?)
                7:3: error: 'high' is no value for 'score': it must be a whole number, INFINITY or -INFINITY
                8:3: error: <rsc_location> must have only one of 'rsc', or 'rsc-pattern', or <resource_set>
                9:3: error: <rsc_location> needs 'node' and 'score', or <rule>
                10:3: error: <rsc_order> needs 'first' and 'then', or <resource_set>
                11:47: error: 'id' refers to 'nothing', which does not exist
                13:19: error: '10' is no value for 'index': it must be a number from 1 to 9
                13:19: warning: 'devices' names 'fence', which does not exist
                13:19: error: 'devices' has an empty name in its list
                14:58: warning: 'id' refers to 'gone', which does not exist
                15:29: error: 'id' refers to 'web', which is a <primitive>; it must be a <acl_role>; the <primitive> is at 3:12
                15:75: warning: XPath '//[', column 3: a name, * or @ is missing here
            "#]],
        );
    }

    #[test]
    fn rules_and_options() {
        check(
            "<crm_config><cluster_property_set id='o'><nvpair id='o1' name='stonith-enable' value='true'/>
  <nvpair id='o2' name='my-own-note' value='x'/><nvpair id='o3' name='y'/>
  <rule id='r1'/>
</cluster_property_set></crm_config>
<rsc_defaults><meta_attributes id='m'><rule id='r2' boolean-op='xor'>
  <expression id='e1' attribute='a' operation='defined' value='1'/><expression id='e2' attribute='a' operation='eq'/>
  <date_expression id='d1' operation='gt'/><date_expression id='d2' operation='in_range' start='2024-13-01'/>
  <date_expression id='d3' operation='date_spec'><date_spec id='ds' hours='9-x' moon='1'/></date_expression>
  <date_expression id='d4' operation='date_spec'/>
</rule></meta_attributes></rsc_defaults>",
            expect![[r#"
                2:42: warning: there is no cluster property 'stonith-enable': it has no effect (is 'stonith-enabled' meant?)
                3:49: error: <nvpair> needs the attribute 'value'
                4:3: error: <rule> needs at least one condition
                6:39: error: 'xor' is no value for 'boolean-op': it must be one of and, or (is 'or' meant?)
                7:3: warning: the rule never passes: 'defined' takes no 'value'
                7:68: error: <expression> needs the attribute 'value'
                8:3: error: <date_expression> with operation gt needs the attribute 'start'
                8:44: error: 'start': '2024-13-01' is not an ISO 8601 date and time: there is no such month or day
                9:50: error: '9-x' is no value for 'hours': it must be a number or a range such as 1-5, 9- or -12
                9:50: error: <date_spec> has no attribute 'moon'
                10:3: error: <date_expression> with operation date_spec needs a <date_spec>
            "#]],
        );
    }

    #[test]
    fn older_documents_are_judged_as_upgraded() {
        let old = "<cib validate-with='pacemaker-3.5'><configuration><resources><master id='m'><primitive id='p' class='ocf' type='T'/></master>
            </resources></configuration><status/></cib>";
        let problems: Vec<String> = validate(&Document::parse(old).unwrap()).iter().map(Problem::to_string).collect();
        assert_eq!(problems, ["1:77: error: an agent of class ocf needs the attribute 'provider'"]);
        let shown =
            |text: &str| validate(&Document::parse(text).unwrap()).iter().map(|p| format!("{p}\n")).collect::<String>();
        expect![[r#"
            1:1: error: the schema 'pacemaker-9.9' is not known: validate-with must be pacemaker-1.0 to pacemaker-4.0, or none
            1:1: error: the document is a <crm>, not a <cib>
            1:1: error: <cib> needs <configuration>
        "#]].assert_eq(&(shown("<cib validate-with='pacemaker-9.9'/>") + &shown("<crm/>") + &shown("<cib/>")));
    }
}

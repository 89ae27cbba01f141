//! Pairs of name and value where the cluster itself reads them: properties, meta attributes, parameters of fence devices.
//!
//! All that is said here are warnings: Pacemaker passes over a value that it cannot read, so that there are configurations
//! with such, and they must go on working. Names of the administrator's own are allowed in all of these sets; those that are
//! nearly a known one are hardly meant.

use super::names::{self, Name, Value};
use super::{Check, is_integer};
use crate::access::NOT_ENFORCED;
use crate::document::Element;
use crate::values;
use hakudo_base::Severity;
use hakudo_base::suggestion::nearest;

/// Sets of properties that describe a group of tickets, and have a check of their own.
const OF_TICKETS: &str = "hakudo-tickets-";

impl Check {
    /// The sets of an element that hold values for the cluster.
    pub(super) fn sets(&mut self, element: &Element) {
        let meta = match element.name() {
            "cluster_property_set" if !element.id().starts_with(OF_TICKETS) => return self.properties(element),
            "primitive" | "template" | "group" | "clone" | "bundle" | "rsc_defaults" => names::RESOURCE,
            "op" | "op_defaults" => names::OPERATION,
            "alert" | "recipient" => names::ALERT,
            "node" => {
                for set in element.children_named("instance_attributes") {
                    self.known_pairs(set, names::NODE);
                }
                return;
            }
            _ => return,
        };
        for set in element.children_named("meta_attributes") {
            self.pairs(set, meta, "meta attribute");
        }
        if self.is_fence_device(element) {
            for set in element.children_named("instance_attributes") {
                self.device_parameters(set);
            }
        }
    }

    fn is_fence_device(&self, element: &Element) -> bool {
        let of_template = || element.attribute("template").is_some_and(|id| self.known.fence_templates.contains(id));
        matches!(element.name(), "primitive" | "template")
            && (element.attribute("class") == Some("stonith") || of_template())
    }

    fn properties(&mut self, set: &Element) {
        for pair in set.children_named("nvpair") {
            let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) else { continue };
            let without_effect = names::WITHOUT_EFFECT.iter().find(|((known, _), _)| *known == name);
            if let Some(((_, kind), instead)) = without_effect {
                self.pair_value(pair, name, value, *kind);
                self.at("name", |check| {
                    check.report(pair, Severity::Info, format!("'{name}' has no effect: {instead}"), None);
                });
                continue;
            }
            if name == "enable-acl" && values::boolean(value) == Some(true) {
                self.at("value", |check| check.warning(pair, NOT_ENFORCED, None));
            }
            self.pair(pair, name, value, names::PROPERTIES, "cluster property");
        }
    }

    fn pairs(&mut self, set: &Element, known: &[Name], what: &str) {
        for pair in set.children_named("nvpair") {
            if let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) {
                self.pair(pair, name, value, known, what);
            }
        }
    }

    /// The same where names of others are expected among the known ones.
    fn known_pairs(&mut self, set: &Element, known: &[Name]) {
        for pair in set.children_named("nvpair") {
            if let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value"))
                && let Some((_, kind)) = known.iter().find(|(one, _)| *one == name)
            {
                self.pair_value(pair, name, value, *kind);
            }
        }
    }

    fn pair(&mut self, pair: &Element, name: &str, value: &str, known: &[Name], what: &str) {
        match known.iter().find(|(one, _)| *one == name) {
            Some((_, kind)) => self.pair_value(pair, name, value, *kind),
            None => {
                if let Some(near) = nearest(name, known.iter().map(|(one, _)| *one)) {
                    self.unknown_name(pair, format!("there is no {what} '{name}': it has no effect"), Some(near));
                }
            }
        }
    }

    fn unknown_name(&mut self, pair: &Element, message: String, near: Option<&str>) {
        let hint = near.map(|near| format!("is '{near}' meant?"));
        self.at("name", |check| check.warning(pair, message, hint));
    }

    fn device_parameters(&mut self, set: &Element) {
        for pair in set.children_named("nvpair") {
            let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) else { continue };
            if !name.starts_with(names::FOR_THE_CLUSTER) {
                continue;
            }
            if let Some(kind) = kind_of_parameter(name) {
                self.pair_value(pair, name, value, kind);
                continue;
            }
            let message = format!("fence devices have no parameter '{name}': it has no effect");
            let of_actions = names::ACTIONS.iter().flat_map(|action| {
                names::OF_AN_ACTION.iter().map(move |(what, _)| format!("{}{action}_{what}", names::FOR_THE_CLUSTER))
            });
            let all: Vec<String> =
                names::DEVICE.iter().map(|(known, _)| (*known).to_owned()).chain(of_actions).collect();
            let near = nearest(name, all.iter().map(String::as_str)).map(str::to_owned);
            self.unknown_name(pair, message, near.as_deref());
        }
    }

    /// Checks one value.
    fn pair_value(&mut self, pair: &Element, name: &str, value: &str, kind: Value) {
        // Where the word stands for what would be without it.
        if is_value(value, kind) || value.eq_ignore_ascii_case("default") {
            return;
        }
        let hint = match kind {
            Value::OneOf(words) => nearest(value, words.iter().copied()).map(|near| format!("is '{near}' meant?")),
            _ => None,
        };
        let message = format!("'{value}' is no value for '{name}': it must be {}", expected(kind));
        self.at("value", |check| check.warning(pair, message, hint));
    }

    /// Does something while an attribute is looked at.
    fn at(&mut self, attribute: &str, work: impl FnOnce(&mut Self)) {
        self.attribute = Some(attribute.to_owned());
        work(self);
        self.attribute = None;
    }
}

fn kind_of_parameter(name: &str) -> Option<Value> {
    if let Some((_, kind)) = names::DEVICE.iter().find(|(known, _)| *known == name) {
        return Some(*kind);
    }
    let (action, what) = name.strip_prefix(names::FOR_THE_CLUSTER)?.rsplit_once('_')?;
    let (_, kind) = names::OF_AN_ACTION.iter().find(|(known, _)| *known == what)?;
    names::ACTIONS.contains(&action).then_some(*kind)
}

fn is_value(text: &str, kind: Value) -> bool {
    let is_score = || is_integer(text) || matches!(text, "INFINITY" | "+INFINITY" | "-INFINITY");
    match kind {
        Value::Text => true,
        Value::Boolean => values::boolean(text).is_some(),
        Value::Time => values::milliseconds(text).is_some(),
        Value::TimeOrOwn => values::signed_milliseconds(text).is_some() || values::milliseconds(text).is_some(),
        Value::Integer => is_score(),
        Value::Natural => is_integer(text) && !text.starts_with('-'),
        Value::Attempts => is_score() && values::score(text).is_some_and(|number| number > 0),
        Value::Score => is_score(),
        Value::Percentage => values::percentage(text).is_some(),
        Value::OneOf(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
        Value::List => mappings(text, &[',']).next().is_some(),
        Value::HostMap => {
            let is_pair = |mapping: &str| {
                mapping.split_once([':', '=']).is_some_and(|(node, port)| !node.is_empty() && !port.is_empty())
            };
            mappings(text, &[]).next().is_some() && mappings(text, &[]).all(is_pair)
        }
        Value::Delays => {
            let is_time = |text: &str| values::milliseconds(text).is_some();
            let is_pair = |mapping: &str| mapping.split_once(':').is_some_and(|(_, time)| is_time(time));
            is_time(text) || (text.contains(':') && mappings(text, &[]).all(is_pair))
        }
    }
}

/// The parts of a list between `;`, white space and what else is given.
fn mappings<'a>(text: &'a str, more: &'a [char]) -> impl Iterator<Item = &'a str> {
    text.split(move |c: char| c == ';' || c.is_whitespace() || more.contains(&c)).filter(|part| !part.is_empty())
}

fn expected(kind: Value) -> String {
    let text = match kind {
        Value::Text => "a text",
        Value::Boolean => "true or false",
        Value::Time | Value::TimeOrOwn => "a time such as 10s, 500ms, 2min or PT1H",
        Value::Integer => "a whole number",
        Value::Natural => "a whole number from 0",
        Value::Attempts => "a whole number from 1, or INFINITY",
        Value::Score => "a whole number, INFINITY or -INFINITY",
        Value::Percentage => "a percentage such as 80%",
        Value::OneOf(words) => return format!("one of {}", words.join(", ")),
        Value::List => "the names of nodes, between commas or spaces",
        Value::HostMap => "pairs of a node and its name for the device, such as node1:port1;node2:port2",
        Value::Delays => "a time such as 10s, or pairs of a node and a time, such as node1:0;node2:5s",
    };
    text.to_owned()
}

/// The cluster properties that have an effect, whatever they are called.
pub fn known_properties() -> impl Iterator<Item = &'static str> {
    names::PROPERTIES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use crate::{Document, validate};
    use expect_test::{Expect, expect};

    fn check(configuration: &str, expected: &Expect) {
        let text = format!("<cib validate-with='pacemaker-4.0'><configuration>\n{configuration}</configuration></cib>");
        let problems = validate(&Document::parse(&text).unwrap());
        let problems: String =
            problems.iter().map(|p| format!("{p} [{}]\n", p.attribute.as_deref().unwrap_or_default())).collect();
        expected.assert_eq(&problems);
    }

    #[test]
    fn properties() {
        check(
            "<crm_config><cluster_property_set id='a'>
  <nvpair id='a1' name='batch-limit' value='abc'/>
  <nvpair id='a2' name='no-quorum-policy' value='stopp'/>
  <nvpair id='a3' name='stonith-enabled' value='maybe'/>
  <nvpair id='a4' name='stonith-timeout' value='soon'/>
  <nvpair id='a5' name='dc-deadtime' value='xx'/>
  <nvpair id='a6' name='load-threshold' value='80%'/>
  <nvpair id='a7' name='fencing-max-attempts' value='0'/>
  <nvpair id='a8' name='enable-acl' value='true'/>
  <nvpair id='a9' name='site-owner' value='us'/>
  <nvpair id='b1' name='no-quorum-policy' value='Freeze'/>
  <nvpair id='b2' name='stonith-watchdog-timeout' value='-1'/>
  <nvpair id='b3' name='batch-limit' value='30'/>
  <nvpair id='b4' name='stop-removed-actions' value='true'/>
</cluster_property_set></crm_config>",
            &expect![[r#"
                3:3: warning: 'abc' is no value for 'batch-limit': it must be a whole number [value]
                4:3: warning: 'stopp' is no value for 'no-quorum-policy': it must be one of stop, freeze, ignore, demote, fence, suicide (is 'stop' meant?) [value]
                5:3: warning: 'maybe' is no value for 'stonith-enabled': it must be true or false [value]
                6:3: warning: 'soon' is no value for 'stonith-timeout': it must be a time such as 10s, 500ms, 2min or PT1H [value]
                7:3: warning: 'xx' is no value for 'dc-deadtime': it must be a time such as 10s, 500ms, 2min or PT1H [value]
                8:3: note: 'load-threshold' has no effect: how many actions run at once is set by node-action-limit and batch-limit [name]
                9:3: warning: '0' is no value for 'fencing-max-attempts': it must be a whole number from 1, or INFINITY [value]
                10:3: warning: access control lists are not enforced: as long as enable-acl is true, only root and hacluster may see or change the configuration [value]
                13:3: note: 'stonith-watchdog-timeout' has no effect: a node without quorum does not fence itself by a watchdog [name]
            "#]],
        );
    }

    #[test]
    fn meta_attributes() {
        check(
            "<resources><template id='t' class='ocf' provider='p' type='T'><meta_attributes id='tm'>
  <nvpair id='m1' name='target-role' value='Strated'/>
  <nvpair id='m2' name='migration-threshold' value='many'/>
  <nvpair id='m3' name='multiple-active' value='stopstart'/>
</meta_attributes></template>
<clone id='c'><meta_attributes id='cm'>
  <nvpair id='c1' name='promoted-max' value='x'/>
  <nvpair id='c2' name='clone-max' value='-'/>
  <nvpair id='c3' name='my-own' value='-'/>
  <nvpair id='c4' name='is-managed' value='default'/></meta_attributes>
  <primitive id='p' template='t'><meta_attributes id='pm'>
    <nvpair id='p1' name='failure-timeout' value='long'/>
    <nvpair id='p2' name='is-managed' value='ja'/>
    <nvpair id='p3' name='resource-stickyness' value='1'/>
    <nvpair id='p4' name='resource-stickiness' value='INFINITY'/></meta_attributes>
    <operations><op id='o' name='monitor' interval='10s'><meta_attributes id='om'>
      <nvpair id='o1' name='on-fail' value='explode'/>
      <nvpair id='o2' name='timeout' value='20'/></meta_attributes></op></operations>
  </primitive>
</clone></resources>
<op_defaults><meta_attributes id='od'><nvpair id='od1' name='timeout' value='soon'/></meta_attributes></op_defaults>
<rsc_defaults><meta_attributes id='rd'><nvpair id='rd1' name='priority' value='high'/></meta_attributes></rsc_defaults>
<alerts><alert id='a' path='/x'><meta_attributes id='am'>
  <nvpair id='am1' name='timeout' value='x'/></meta_attributes></alert></alerts>",
            &expect![[r#"
                3:3: warning: 'Strated' is no value for 'target-role': it must be one of Stopped, Started, Promoted, Unpromoted, Master, Slave (is 'Started' meant?) [value]
                4:3: warning: 'many' is no value for 'migration-threshold': it must be a whole number, INFINITY or -INFINITY [value]
                5:3: warning: 'stopstart' is no value for 'multiple-active': it must be one of block, stop_only, stop_start, stop_unexpected (is 'stop_start' meant?) [value]
                8:3: warning: 'x' is no value for 'promoted-max': it must be a whole number from 0 [value]
                9:3: warning: '-' is no value for 'clone-max': it must be a whole number from 0 [value]
                13:5: warning: 'long' is no value for 'failure-timeout': it must be a time such as 10s, 500ms, 2min or PT1H [value]
                14:5: warning: 'ja' is no value for 'is-managed': it must be true or false [value]
                15:5: warning: there is no meta attribute 'resource-stickyness': it has no effect (is 'resource-stickiness' meant?) [name]
                18:7: warning: 'explode' is no value for 'on-fail': it must be one of ignore, block, demote, stop, restart, standby, fence, restart-container, nothing, migrate [value]
                22:39: warning: 'soon' is no value for 'timeout': it must be a time such as 10s, 500ms, 2min or PT1H [value]
                23:40: warning: 'high' is no value for 'priority': it must be a whole number, INFINITY or -INFINITY [value]
                25:3: warning: 'x' is no value for 'timeout': it must be a time such as 10s, 500ms, 2min or PT1H [value]
            "#]],
        );
    }

    #[test]
    fn parameters_of_fence_devices() {
        check(
            "<nodes><node id='1' uname='n1'><instance_attributes id='n'>
  <nvpair id='n1' name='standby' value='perhaps'/>
  <nvpair id='n2' name='standbi' value='mine'/></instance_attributes></node></nodes>
<resources><template id='t' class='stonith' type='fence_x'/>
<primitive id='f' template='t'><instance_attributes id='fi'>
  <nvpair id='f1' name='pcmk_host_map' value='n1'/>
  <nvpair id='f2' name='pcmk_host_check' value='dynamic'/>
  <nvpair id='f3' name='pcmk_delay_max' value='x'/>
  <nvpair id='f4' name='pcmk_reboot_retries' value='x'/>
  <nvpair id='f5' name='pcmk_host_lst' value='n1 n2'/>
  <nvpair id='f6' name='pcmk_off_timeout' value='x'/>
  <nvpair id='f7' name='pcmk_teleport_timeout' value='1s'/>
  <nvpair id='f8' name='pcmk_delay_base' value='n1:0 n2:5s'/>
  <nvpair id='f9' name='pcmk_host_list' value=' '/>
  <nvpair id='g1' name='pcmk_host_map' value='n1:1;n2=2'/>
  <nvpair id='g2' name='pcmk_off_action' value='cut'/>
  <nvpair id='g3' name='ip' value='pcmk'/></instance_attributes></primitive>
<primitive id='w' class='ocf' provider='p' type='T'><instance_attributes id='wi'>
  <nvpair id='w1' name='pcmk_host_map' value='n1'/></instance_attributes></primitive></resources>",
            &expect![[r#"
                3:3: warning: 'perhaps' is no value for 'standby': it must be true or false [value]
                7:3: warning: 'n1' is no value for 'pcmk_host_map': it must be pairs of a node and its name for the device, such as node1:port1;node2:port2 [value]
                8:3: warning: 'dynamic' is no value for 'pcmk_host_check': it must be one of dynamic-list, static-list, status, none [value]
                9:3: warning: 'x' is no value for 'pcmk_delay_max': it must be a time such as 10s, 500ms, 2min or PT1H [value]
                10:3: warning: 'x' is no value for 'pcmk_reboot_retries': it must be a whole number from 0 [value]
                11:3: warning: fence devices have no parameter 'pcmk_host_lst': it has no effect (is 'pcmk_host_list' meant?) [name]
                12:3: warning: 'x' is no value for 'pcmk_off_timeout': it must be a time such as 10s, 500ms, 2min or PT1H [value]
                13:3: warning: fence devices have no parameter 'pcmk_teleport_timeout': it has no effect [name]
                15:3: warning: ' ' is no value for 'pcmk_host_list': it must be the names of nodes, between commas or spaces [value]
            "#]],
        );
    }
}

//! What the cases are made of.

use crate::script::Stage;
use expect_test::Expect;

pub(crate) fn check(configuration: &str, script: &str, expected: Expect) {
    expected.assert_eq(&Stage::new(configuration).play(script));
}

/// A stonith primitive with parameters `name=value`, values without blanks (`_` stands for one).
pub(crate) fn device(id: &str, agent: &str, parameters: &str) -> String {
    let pairs: String = parameters
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| format!("<nvpair id='{id}-{name}' name='{name}' value='{}'/>", value.replace('_', " ")))
        .map(|pair| pair.replace("static list", "static-list"))
        .collect();
    format!(
        "<primitive id='{id}' class='stonith' type='{agent}'><instance_attributes id='{id}-ia'>{pairs}</instance_attributes>\
         </primitive>"
    )
}

pub(crate) fn resources(devices: &[String]) -> String {
    format!("<resources>{}</resources>", devices.concat())
}

pub(crate) fn properties(pairs: &[(&str, &str)]) -> String {
    let pairs: String =
        pairs.iter().map(|(name, value)| format!("<nvpair id='p-{name}' name='{name}' value='{value}'/>")).collect();
    format!("<crm_config><cluster_property_set id='cib-bootstrap-options'>{pairs}</cluster_property_set></crm_config>")
}

pub(crate) fn levels(levels: &[(&str, &str, &str)]) -> String {
    let all: String = levels
        .iter()
        .enumerate()
        .map(|(n, (whose, index, devices))| {
            format!("<fencing-level id='l{n}' {whose} index='{index}' devices='{devices}'/>")
        })
        .collect();
    format!("<fencing-topology>{all}</fencing-topology>")
}

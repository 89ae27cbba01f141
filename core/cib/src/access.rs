//! Access control lists (Pacemaker Explained: "Access Control Lists"): whether a configuration asks for them.
//!
//! They are read, upgraded and judged, and not carried out: who carries a configuration out must know that, and give nobody
//! more than the lists might.

use crate::document::{Document, Element};
use crate::rules::{Context, evaluate_sets};
use crate::values;
use hakudo_base::WallTime;

/// What is to be said to people where a configuration asks for it.
pub const NOT_ENFORCED: &str = "access control lists are not enforced: as long as enable-acl is true, only root and hacluster may see or change the \
     configuration";

/// Whether `enable-acl` is in force; rules about dates look at `now` as the clocks on the wall show it.
pub fn is_asked_for(document: &Document, now: WallTime) -> bool {
    let Some(section) = document.section(&["configuration", "crm_config"]) else { return false };
    let sets: Vec<&Element> = section.children_named("cluster_property_set").collect();
    // Nearly all configurations say nothing of it, and then nothing else need be looked at.
    let is_named = section.descendants().any(|element| element.attribute("name") == Some("enable-acl"))
        || section.descendants().any(|element| element.attribute("id-ref").is_some());
    if !is_named {
        return false;
    }
    let ids = document.ids();
    let context = Context { now: now.time, utc_offset: now.utc_offset, ids: Some(&ids), ..Context::default() };
    let values = evaluate_sets(&sets, &context, Some("cib-bootstrap-options")).values;
    values.get("enable-acl").and_then(|text| values::boolean(text)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hakudo_base::UnixTime;

    fn asks(properties: &str) -> bool {
        let text = format!("<cib><configuration><crm_config>{properties}</crm_config></configuration></cib>");
        is_asked_for(&Document::parse(&text).unwrap(), UnixTime::from_seconds(1_700_000_000).into())
    }

    #[test]
    fn hours_are_those_of_the_wall() {
        let text = "<cib><configuration><crm_config><cluster_property_set id='a'><rule id='r'><date_expression id='d' \
                    operation='date_spec'><date_spec id='s' hours='22'/></date_expression></rule>\
                    <nvpair id='n' name='enable-acl' value='true'/></cluster_property_set></crm_config></configuration></cib>";
        let document = Document::parse(text).unwrap();
        // 22:13 in UTC.
        let time = UnixTime::from_seconds(1_700_000_000);
        assert!(is_asked_for(&document, time.into()));
        assert!(!is_asked_for(&document, WallTime { time, utc_offset: 3600 }));
    }

    #[test]
    fn it_is_asked_for_by_a_property() {
        let set = |id: &str, inside: &str| format!("<cluster_property_set id='{id}'>{inside}</cluster_property_set>");
        let pair = |value: &str| format!("<nvpair id='acl-{value}' name='enable-acl' value='{value}'/>");
        assert!(!asks(""));
        assert!(!asks(&set("a", "<nvpair id='n' name='no-quorum-policy' value='true'/>")));
        assert!(asks(&set("a", &pair("on"))));
        assert!(!asks(&set("a", &pair("false"))));
        assert!(!asks(&set("a", &pair("perhaps"))));
        // The first set that says anything counts, and the bootstrap options come before all.
        assert!(!asks(&(set("a", &pair("true")) + &set("cib-bootstrap-options", &pair("false")))));
        let past = "<rule id='r'><date_expression id='d' operation='lt' end='2020-01-01'/></rule>";
        assert!(!asks(&set("a", &(past.to_owned() + &pair("true")))));
        assert!(asks(
            &set("a", &past.replace("lt' end", "gt' start")).replace("</rule>", &format!("</rule>{}", pair("true")))
        ));
    }
}

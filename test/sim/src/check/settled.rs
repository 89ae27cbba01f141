//! What must run once everything works again, read from the configuration by plain rules, apart from the scheduler: less
//! exact than it, but not wrong where it is wrong.

use super::Service;
use hakudo_cib::{Document, Element};
use std::collections::{BTreeMap, BTreeSet};

/// The value of an option in the first set that has it, of any set below `owner` with this element name.
fn value<'a>(owner: &'a Element, set: &'a str, name: &str) -> Option<&'a str> {
    owner
        .children_named(set)
        .flat_map(Element::children)
        .find(|pair| pair.attribute("name") == Some(name))
        .and_then(|pair| pair.attribute("value"))
}

fn is_true(text: Option<&str>) -> bool {
    text.is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "true" | "on" | "yes" | "y" | "1"))
}

fn is_infinite(score: &str) -> bool {
    score.ends_with("INFINITY") || score.parse::<i64>().is_ok_and(|score| score.abs() >= 1_000_000)
}

/// Why the services that run are not those that should, if so. `running` has the true state of each node by name.
pub(crate) fn settled(cib: &Document, running: &BTreeMap<String, BTreeMap<String, Service>>) -> Result<(), String> {
    let empty = Element::new("none");
    let section = |name: &str| cib.section(&["configuration", name]).unwrap_or(&empty);
    let option = |name: &str| value(section("crm_config"), "cluster_property_set", name);
    if is_true(option("maintenance-mode")) {
        return Ok(());
    }
    let stop_all = is_true(option("stop-all-resources"));
    let node_option = |node: &Element, name: &str| is_true(value(node, "instance_attributes", name));
    let nodes: Vec<&Element> = section("nodes").children().collect();
    if nodes.iter().any(|node| node_option(node, "maintenance")) {
        return Ok(());
    }
    let online: BTreeSet<&str> =
        nodes.iter().filter(|node| !node_option(node, "standby")).filter_map(|node| node.attribute("uname")).collect();
    let depends = |id: &str| {
        section("constraints").children().any(|constraint| {
            (constraint.name() == "rsc_colocation" && constraint.attribute("rsc") == Some(id))
                || (constraint.name() == "rsc_order" && constraint.attribute("then") == Some(id))
        })
    };
    let banned = |id: &str, node: &str| {
        section("constraints").children_named("rsc_location").any(|constraint| {
            let score = constraint.attribute("score").unwrap_or_default();
            constraint.attribute("rsc") == Some(id)
                && constraint.attribute("node") == Some(node)
                && score.starts_with('-')
                && is_infinite(score)
        })
    };
    for resource in section("resources").children() {
        let meta = |name: &str| value(resource, "meta_attributes", name);
        if resource.attribute("class") == Some("stonith") || meta("is-managed").is_some_and(|text| !is_true(Some(text)))
        {
            continue;
        }
        let id = resource.id();
        let eligible = online.iter().filter(|node| !banned(id, node)).count();
        let copies = match resource.name() {
            "clone" => meta("clone-max").and_then(|text| text.parse().ok()).unwrap_or(nodes.len()).min(eligible),
            _ => 1.min(eligible),
        };
        let role = meta("target-role").unwrap_or("Started");
        let wanted = if stop_all || role == "Stopped" { 0 } else { copies };
        let certain = !depends(id);
        for primitive in resource.descendants().filter(|element| element.name() == "primitive") {
            let state = |node: &&BTreeMap<String, Service>| node.get(primitive.id()).copied().unwrap_or_default();
            let active = running.values().filter(|node| state(node) > Service::Stopped).count();
            let promoted = running.values().filter(|node| state(node) == Service::Promoted).count();
            if active > wanted || (certain && active < wanted) {
                return Err(format!("{} runs {active} times, {wanted} are wanted", primitive.id()));
            }
            let promotable = is_true(meta("promotable")) && matches!(role, "Started" | "Promoted");
            if certain && promotable && wanted > 0 && promoted == 0 {
                return Err(format!("no copy of {} is promoted", primitive.id()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resources: &str, constraints: &str, running: &[(&str, &str)]) -> Result<(), String> {
        let cib = Document::parse(&format!(
            "<cib><configuration><crm_config/><nodes><node id='1' uname='n1'/><node id='2' uname='n2'>\
             <instance_attributes id='s'><nvpair id='x' name='standby' value='on'/></instance_attributes></node></nodes>\
             <resources>{resources}</resources><constraints>{constraints}</constraints></configuration></cib>"
        ))
        .unwrap();
        let mut truth = BTreeMap::from([("n1".to_owned(), BTreeMap::new()), ("n2".to_owned(), BTreeMap::new())]);
        for (node, primitive) in running {
            truth.get_mut(*node).unwrap().insert((*primitive).to_owned(), Service::Started);
        }
        settled(&cib, &truth)
    }

    #[test]
    fn counts_are_held_against_the_configuration() {
        let primitive = "<primitive id='a' class='ocf'/>";
        assert_eq!(check(primitive, "", &[("n1", "a")]), Ok(()));
        assert!(check(primitive, "", &[]).is_err());
        assert!(check(primitive, "", &[("n1", "a"), ("n2", "a")]).is_err());
        assert_eq!(check(primitive, "<rsc_location id='l' rsc='a' node='n1' score='-INFINITY'/>", &[]), Ok(()));
        let stopped = "<primitive id='a'><meta_attributes id='m'><nvpair id='t' name='target-role' value='Stopped'/>\
                       </meta_attributes></primitive>";
        assert_eq!(check(stopped, "", &[]), Ok(()));
        assert!(check(stopped, "", &[("n1", "a")]).is_err());
        let clone = "<clone id='c'><primitive id='a'/></clone>";
        assert_eq!(check(clone, "", &[("n1", "a")]), Ok(()));
        assert!(check(clone, "", &[]).is_err());
    }
}

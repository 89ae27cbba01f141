//! What must run once everything works again, read from the configuration by plain rules, apart from the scheduler: less
//! exact than it, but not wrong where it is wrong.
//!
//! A node is fit for a resource by its score, the sum of the location constraints that name both: below zero the resource
//! does not run there, even where no other node is left (Pacemaker Explained, "Scores": a node with a negative score for a
//! resource can not run it). But a finite score is not the whole sum. A copy that is there already adds its stickiness,
//! and what is placed together with it, and the promotion score of its instance, add theirs: so a copy may rightly stay
//! where none may begin, and what is right depends on the past. Hence there are two bounds. At least as many copies run as
//! there are nodes with a score of zero or more; at most as many as there are nodes that are not ruled out by -INFINITY.
//! Where stickiness is all that can be added, a copy that stays is held against the sum.
//!
//! Fail counts do not occur here: all agents work at the end, and failures are cleaned up before the last look.

use super::Service;
use hakudo_cib::{Document, Element};
use std::collections::{BTreeMap, BTreeSet};

/// The value of an option in the first set that has it, of any set below `owner` with this element name.
pub(super) fn value<'a>(owner: &'a Element, set: &'a str, name: &str) -> Option<&'a str> {
    owner
        .children_named(set)
        .flat_map(Element::children)
        .find(|pair| pair.attribute("name") == Some(name))
        .and_then(|pair| pair.attribute("value"))
}

pub(super) fn is_true(text: Option<&str>) -> bool {
    text.is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "true" | "on" | "yes" | "y" | "1"))
}

/// Scores are capped at this, in both directions.
const INFINITY: i64 = 1_000_000;

fn score(text: &str) -> i64 {
    match text {
        "INFINITY" | "+INFINITY" => INFINITY,
        "-INFINITY" => -INFINITY,
        _ => text.parse().unwrap_or(0).clamp(-INFINITY, INFINITY),
    }
}

/// The sum of scores; infinite ones stay infinite, and the negative one wins (Pacemaker Explained, "Infinity Math").
fn sum(one: i64, other: i64) -> i64 {
    match [-INFINITY, INFINITY].into_iter().find(|infinite| [one, other].contains(infinite)) {
        Some(infinite) => infinite,
        None => (one + other).clamp(-INFINITY, INFINITY),
    }
}

/// The whole cluster is in maintenance, or this node: nobody looks after the services there.
pub(crate) fn is_maintained(cib: &Document, node: &Element) -> bool {
    let options = cib.section(&["configuration", "crm_config"]);
    let whole = options.and_then(|options| value(options, "cluster_property_set", "maintenance-mode"));
    is_true(whole) || is_true(value(node, "instance_attributes", "maintenance"))
}

/// Why the services that run are not those that should, if so. `running` has the true state of each node by name.
pub(crate) fn settled(cib: &Document, running: &BTreeMap<String, BTreeMap<String, Service>>) -> Result<(), String> {
    let empty = Element::new("none");
    let section = |name: &str| cib.section(&["configuration", name]).unwrap_or(&empty);
    let option = |name: &str| value(section("crm_config"), "cluster_property_set", name);
    let stop_all = is_true(option("stop-all-resources"));
    let node_option = |node: &Element, name: &str| is_true(value(node, "instance_attributes", name));
    let nodes: Vec<&Element> = section("nodes").children().collect();
    if nodes.iter().any(|node| is_maintained(cib, node)) {
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
    let granted = |ticket: &str| {
        let tickets = cib.section(&["status", "tickets"]).into_iter().flat_map(Element::children);
        let usable = |state: &Element| is_true(state.attribute("granted")) && !is_true(state.attribute("standby"));
        tickets.filter(|state| state.id() == ticket).any(usable)
    };
    let lacks_a_ticket = |id: &str| {
        let needs = section("constraints").children_named("rsc_ticket");
        needs
            .filter(|need| need.attribute("rsc") == Some(id))
            .any(|need| !need.attribute("ticket").is_some_and(granted))
    };
    let is_placed_with_others = |id: &str| {
        section("constraints")
            .children_named("rsc_colocation")
            .any(|constraint| [constraint.attribute("rsc"), constraint.attribute("with-rsc")].contains(&Some(id)))
    };
    let score_on = |id: &str, node: &str| {
        section("constraints")
            .children_named("rsc_location")
            .filter(|constraint| constraint.attribute("rsc") == Some(id) && constraint.attribute("node") == Some(node))
            .map(|constraint| score(constraint.attribute("score").unwrap_or_default()))
            .fold(0, sum)
    };
    for resource in section("resources").children() {
        let meta = |name: &str| value(resource, "meta_attributes", name);
        if resource.attribute("class") == Some("stonith") || meta("is-managed").is_some_and(|text| !is_true(Some(text)))
        {
            continue;
        }
        let id = resource.id();
        let is_clone = resource.name() == "clone";
        let copies = match meta("clone-max").and_then(|text| text.parse().ok()) {
            Some(copies) if is_clone => copies,
            _ if is_clone => nodes.len(),
            _ => 1,
        };
        let role = meta("target-role").unwrap_or("Started");
        let promotable = is_true(meta("promotable"));
        let is_stopped = stop_all || role == "Stopped" || lacks_a_ticket(id);
        let fit = |least: i64| online.iter().filter(|node| !is_stopped && score_on(id, node) >= least).count();
        let (least, most) = (copies.min(fit(0)), copies.min(fit(1 - INFINITY)));
        let certain = !depends(id);
        for primitive in resource.descendants().filter(|element| element.name() == "primitive") {
            let state = |node: &BTreeMap<String, Service>| node.get(primitive.id()).copied().unwrap_or_default();
            let active = running.values().filter(|node| state(node) > Service::Stopped).count();
            let promoted = running.values().filter(|node| state(node) == Service::Promoted).count();
            if active > most {
                return Err(format!("{} runs {active} times, {most} are allowed", primitive.id()));
            }
            if certain && active < least {
                return Err(format!("{} runs {active} times, {least} are wanted", primitive.id()));
            }
            if certain && promotable && matches!(role, "Started" | "Promoted") && least > 0 && promoted == 0 {
                return Err(format!("no copy of {} is promoted", primitive.id()));
            }
            // Pacemaker Explained, "Clone Options": copies hold on to their node by 1 where nothing else is said.
            let own = value(primitive, "meta_attributes", "resource-stickiness").or(meta("resource-stickiness"));
            let stickiness = own.map_or(i64::from(is_clone), score);
            let only_sticks = resource.name() != "group" && !promotable && !is_placed_with_others(id);
            for (node, _) in running.iter().filter(|(_, services)| state(services) > Service::Stopped) {
                let score = score_on(id, node);
                if !online.contains(node.as_str()) || score == -INFINITY || (only_sticks && sum(score, stickiness) < 0)
                {
                    return Err(format!("{} runs on {node}, which is not fit for it", primitive.id()));
                }
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

    #[test]
    fn a_resource_need_not_run_where_the_scores_are_negative() {
        let location = |id: &str, rsc: &str, score: &str| {
            format!("<rsc_location id='{id}' rsc='{rsc}' node='n1' score='{score}'/>")
        };
        let sticky = |stickiness: u32| {
            format!(
                "<primitive id='a'><meta_attributes id='m'><nvpair id='s' name='resource-stickiness' \
                 value='{stickiness}'/></meta_attributes></primitive>"
            )
        };
        let here = [("n1", "a")];
        let avoided = location("l", "a", "-100");
        assert_eq!(check(&sticky(99), &avoided, &[]), Ok(()));
        assert_eq!(check(&sticky(100), &avoided, &[]), Ok(()));
        assert_eq!(check(&sticky(100), &avoided, &here), Ok(()));
        assert!(check(&sticky(99), &avoided, &here).is_err());
        let companion = "<rsc_colocation id='c' rsc='b' with-rsc='a' score='INFINITY'/>";
        assert_eq!(check(&sticky(99), &(avoided.clone() + companion), &here), Ok(()));
        let balanced = avoided + &location("k", "a", "100");
        assert_eq!(check(&sticky(0), &balanced, &here), Ok(()));
        assert!(check(&sticky(0), &balanced, &[]).is_err());
        let infinite = location("l", "a", "INFINITY") + &location("k", "a", "-INFINITY");
        assert!(check(&sticky(1_000_000), &infinite, &here).is_err());

        let clone = "<clone id='c'><primitive id='a'/></clone>";
        assert_eq!(check(clone, &location("l", "c", "-1"), &here), Ok(()));
        assert_eq!(check(clone, &location("l", "c", "-2"), &[]), Ok(()));
        assert!(check(clone, &location("l", "c", "-2"), &here).is_err());
    }

    #[test]
    fn nothing_runs_on_a_node_in_standby() {
        assert!(check("<primitive id='a'/>", "", &[("n2", "a")]).is_err());
    }
}

//! A scheduler that is wrong: what it is told, or what it says, bent on purpose.

use hakudo_cib::{Document, Element};
use hakudo_scheduler::Transition;

/// What makes the scheduler believe in a greater limit than the configuration's.
pub(crate) fn allow_two_promoted(cib: &Document) -> Document {
    let mut cib = cib.clone();
    if let Some(resources) = cib.root_mut().child_mut("configuration").and_then(|e| e.child_mut("resources")) {
        for clone in resources.children_mut().filter(|element| element.name() == "clone") {
            let id = format!("{}-two-promoted", clone.id());
            let pair = Element::new("nvpair").with("id", &id).with("name", "promoted-max").with("value", "2");
            clone.child_or_new("meta_attributes").push(pair);
        }
    }
    cib
}

/// Makes a plan that did its work look as if it had to be done again.
pub(crate) fn repeat_the_first_start(cib: &Document, result: &mut Result<Transition, String>) {
    let mut fresh = cib.clone();
    if let Some(status) = fresh.root_mut().child_mut("status") {
        for state in status.children_mut() {
            state.remove_children(|child| child.name() == "lrm");
        }
    }
    if result.as_ref().is_ok_and(|plan| plan.synapses.is_empty()) {
        *result = crate::route::decide(&fresh, 0, None);
    }
}

/// Leaves recurring monitors out of a plan that starts something.
pub(crate) fn leave_monitors_for_later(plan: &mut Transition) {
    if plan.synapses.iter().any(|synapse| synapse.action.task == "start") {
        plan.synapses.retain(|synapse| synapse.action.task != "monitor" || synapse.action.key.ends_with("_monitor_0"));
    }
}

/// Makes it look as if whatever was started had been started with other parameters.
pub(crate) fn with_other_digests(cib: &Document) -> Document {
    let mut cib = cib.clone();
    each_element(cib.root_mut(), &mut |element| {
        if element.name() == "lrm_rsc_op" && element.attribute("operation") == Some("start") {
            element.set("op-digest", "another");
        }
    });
    cib
}

/// Forbids the first primitive the node where it runs.
pub(crate) fn with_every_place_spoilt(cib: &Document) -> Document {
    let mut bent = cib.clone();
    let first = cib.section(&["configuration", "resources"]).and_then(|resources| resources.child("primitive"));
    let Some(name) = first.map(Element::id) else { return bent };
    let runs_here = |state: &&Element| {
        state.descendants().any(|entry| {
            entry.name() == "lrm_rsc_op"
                && entry.attribute("operation_key") == Some(&*format!("{name}_start_0"))
                && entry.attribute("rc-code") == Some("0")
        })
    };
    let place = cib.section(&["status"]).and_then(|status| status.children().find(runs_here));
    let constraints = bent.root_mut().child_mut("configuration").map(|e| e.child_or_new("constraints"));
    if let (Some(constraints), Some(node)) = (constraints, place.and_then(|state| state.attribute("uname"))) {
        let away = Element::new("rsc_location").with("id", "not-here").with("rsc", name);
        constraints.push(away.with("node", node).with("score", "-INFINITY"));
    }
    bent
}

fn each_element(element: &mut Element, change: &mut dyn FnMut(&mut Element)) {
    change(element);
    element.children_mut().for_each(|child| each_element(child, change));
}

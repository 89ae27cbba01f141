//! Rules of the configuration, evaluated for one decision.

use crate::planner::Planner;
use crate::read::attributes::RuleInput;
use hakudo_base::WallTime;
use hakudo_cib::Element;
use hakudo_cib::iso8601::LocalTime;
use hakudo_cib::rules::{Context, Lookup, Referenced, evaluate};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Elements that others refer to: those below one element, or all, by name and id.
struct References<'a> {
    all: &'a BTreeMap<(String, String), Arc<Element>>,
    scope: Option<&'a Element>,
}

impl Referenced for References<'_> {
    fn element(&self, name: &str, id: &str) -> Option<&Element> {
        match self.scope {
            Some(scope) => scope.descendants().find(|element| element.name() == name && element.id() == id),
            None => self.all.get(&(name.to_owned(), id.to_owned())).map(|element| &**element),
        }
    }
}

/// True where the rule passes now. Remembers when that may change.
pub(crate) fn passes(planner: &mut Planner, rule: &Element, input: &RuleInput<'_>) -> bool {
    let references = References { all: &planner.referenced, scope: input.scope };
    let context = Context {
        now: planner.model.now.time,
        utc_offset: planner.model.now.utc_offset,
        ids: Some(&references),
        node_attributes: input.node_attributes.map(|table| table as &dyn Lookup),
        resource_parameters: input.parameters.map(|table| table as &dyn Lookup),
        resource_meta: input.meta.map(|table| table as &dyn Lookup),
        agent: input.agent.map(|agent| (agent.class.as_str(), agent.provider.as_deref(), agent.kind.as_str())),
        operation: input.operation,
        submatches: input.submatches,
    };
    let outcome = evaluate(rule, &context);
    if let Some(moment) = outcome.boundary_at {
        planner.model.look_again_at(moment.seconds());
    }
    outcome.passes
}

/// The moment that an ISO 8601 text names, in seconds since 1970.
pub(crate) fn moment(text: &str, now: WallTime) -> Option<i64> {
    LocalTime::parse(text, LocalTime::at(now.time, now.utc_offset)).ok().map(LocalTime::unix_seconds)
}

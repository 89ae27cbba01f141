//! Which resources a constraint means: by id, by a template or tag that stands for several, or in sets.

use crate::model::ResourceId;
use crate::planner::Planner;
use crate::read::attributes::shared_children;
use crate::values;
use hakudo_cib::Element;
use std::sync::Arc;

/// A `<resource_set>`, or what a template or tag in a simple constraint stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceSet {
    pub(crate) id: String,
    pub(crate) members: Vec<String>,
    pub(crate) role: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) score: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) ordering: Option<String>,
    pub(crate) symmetrical: Option<bool>,
    pub(crate) sequential: Option<bool>,
    pub(crate) require_all: Option<bool>,
}

/// What an id in a constraint is.
enum Meaning {
    Resource,
    Several(Vec<String>),
}

impl Planner {
    /// The resource that an id in a constraint means: an instance's means the whole clone.
    pub(crate) fn constraint_resource(&self, id: &str) -> Option<ResourceId> {
        let found = self.model.resource_with_id(id)?;
        Some(if self.resource(found).id == id { found } else { self.uber_parent(found) })
    }

    fn meaning(&self, id: &str) -> Option<Meaning> {
        if self.constraint_resource(id).is_some() {
            return Some(Meaning::Resource);
        }
        let several = match self.model.templates.get(id) {
            Some(users) => users,
            None => self.model.tags.get(id)?,
        };
        if several.is_empty() { None } else { Some(Meaning::Several(several.clone())) }
    }

    /// The sets of a constraint, with templates and tags in them replaced by what they stand for. Nothing where a set
    /// that is referred to does not exist.
    pub(crate) fn read_sets(&mut self, constraint: &Element) -> Option<Vec<ResourceSet>> {
        let mut elements = Vec::new();
        for set in shared_children(constraint, "resource_set") {
            elements.push(self.resolve(set)?);
        }
        let mut sets: Vec<ResourceSet> = elements.iter().map(read_set).collect();
        let all_known = sets.iter().flat_map(|set| &set.members).all(|id| self.meaning(id).is_some());
        if all_known {
            for set in &mut sets {
                set.members = std::mem::take(&mut set.members)
                    .into_iter()
                    .flat_map(|id| match self.meaning(&id) {
                        Some(Meaning::Several(ids)) => ids,
                        _ => vec![id],
                    })
                    .collect();
            }
        } else {
            self.problem(constraint.id(), "a resource set names something that does not exist");
        }
        Some(sets)
    }

    /// What a simple constraint's attribute stands for, as a set if that is a template or tag (or `always`).
    /// `Err` where it is nothing known.
    pub(crate) fn as_set(
        &mut self,
        constraint: &Element,
        attribute: &str,
        always: bool,
    ) -> Result<Option<ResourceSet>, ()> {
        let Some(id) = constraint.attribute(attribute) else { return Ok(None) };
        match self.meaning(id) {
            Some(Meaning::Several(members)) => {
                Ok(Some(ResourceSet { id: id.to_owned(), members, sequential: Some(false), ..ResourceSet::default() }))
            }
            Some(Meaning::Resource) if always => {
                Ok(Some(ResourceSet { id: id.to_owned(), members: vec![id.to_owned()], ..ResourceSet::default() }))
            }
            Some(Meaning::Resource) => Ok(None),
            None => {
                let message = format!("'{id}' is no resource, template or tag; the constraint is ignored");
                self.problem(constraint.id(), message);
                Err(())
            }
        }
    }

    /// The resources of a set; the constraint goes no further where one does not exist.
    pub(crate) fn members(&mut self, set: &ResourceSet) -> Option<Vec<ResourceId>> {
        let mut members = Vec::new();
        for id in &set.members {
            let Some(member) = self.constraint_resource(id) else {
                self.problem(&set.id, format!("there is no resource '{id}'"));
                return None;
            };
            members.push(member);
        }
        Some(members)
    }
}

fn read_set(element: &Arc<Element>) -> ResourceSet {
    let text = |name: &str| element.attribute(name).map(str::to_owned);
    let boolean = |name: &str| element.attribute(name).and_then(values::boolean);
    ResourceSet {
        id: element.id().to_owned(),
        members: element.children_named("resource_ref").map(|reference| reference.id().to_owned()).collect(),
        role: text("role"),
        action: text("action"),
        score: text("score"),
        kind: text("kind"),
        ordering: text("ordering"),
        symmetrical: boolean("symmetrical"),
        sequential: boolean("sequential"),
        require_all: boolean("require-all"),
    }
}

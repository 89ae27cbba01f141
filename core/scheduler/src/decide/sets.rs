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
        let unknown = sets.iter().flat_map(|set| &set.members).find(|id| self.meaning(id).is_none());
        if let Some(unknown) = unknown {
            let message = format!("a resource set names '{unknown}', which is no resource, template or tag");
            self.problem(constraint.id(), message);
        } else {
            for set in &mut sets {
                set.members = std::mem::take(&mut set.members)
                    .into_iter()
                    .flat_map(|id| match self.meaning(&id) {
                        Some(Meaning::Several(ids)) => ids,
                        _ => vec![id],
                    })
                    .collect();
            }
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

    /// The resources of a set; none where one does not exist, so that the constraint goes no further.
    pub(crate) fn members(&mut self, set: &ResourceSet) -> Option<Vec<ResourceId>> {
        set.members.iter().map(|id| self.member(set, id)).collect()
    }

    /// A resource of a set. Constraints that look at one member after the other mean those before one that does not exist.
    pub(crate) fn member(&mut self, set: &ResourceSet, id: &str) -> Option<ResourceId> {
        let member = self.constraint_resource(id);
        if member.is_none() {
            self.problem(&set.id, format!("there is no resource '{id}'; it and those after it are ignored"));
        }
        member
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

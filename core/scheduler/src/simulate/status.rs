//! The status section of a document, to be changed: nodes and their resources are found by index, not by searching.

use hakudo_cib::{Document, Element, Node};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The status of a document under change.
pub(super) struct Status {
    document: Document,
    /// Where a node's state stands in the status, by its name.
    nodes: BTreeMap<String, Place>,
}

/// Where a node's state stands, and where its resources stand in it once somebody asked.
struct Place {
    index: usize,
    resources: Option<BTreeMap<String, usize>>,
}

impl Status {
    pub(super) fn new(mut document: Document) -> Self {
        let mut nodes = BTreeMap::new();
        let status = document.root_mut().child_or_new("status");
        for (index, node) in status.nodes().iter().enumerate() {
            if let Node::Element(state) = node
                && state.name() == "node_state"
                && let Some(name) = state.attribute("uname")
            {
                nodes.entry(name.to_owned()).or_insert(Place { index, resources: None });
            }
        }
        Self { document, nodes }
    }

    pub(super) fn into_document(self) -> Document {
        self.document
    }

    pub(super) fn document_mut(&mut self) -> &mut Document {
        &mut self.document
    }

    /// The id of a node's state.
    pub(super) fn state_id(&mut self, node: &str) -> String {
        self.state(node).map(|state| state.id().to_owned()).unwrap_or_default()
    }

    fn section(&mut self) -> &mut Element {
        self.document.root_mut().child_or_new("status")
    }

    /// The state of a node, if there is one.
    pub(super) fn state(&mut self, node: &str) -> Option<&mut Element> {
        let index = self.nodes.get(node)?.index;
        element_at(self.section(), index)
    }

    /// The state of a node; made, with this id, where there is none yet. A state without a name takes the name.
    pub(super) fn state_or_new(&mut self, node: &str, id: &str) -> &mut Element {
        if !self.nodes.contains_key(node) {
            let section = self.section();
            let nameless = section.nodes().iter().position(
                |child| matches!(child, Node::Element(state) if state.name() == "node_state" && state.id() == id),
            );
            let index = nameless.unwrap_or_else(|| {
                section.push(Element::new("node_state").with("id", id));
                section.nodes().len() - 1
            });
            if let Some(state) = element_at(section, index) {
                state.set("uname", node);
            }
            self.nodes.insert(node.to_owned(), Place { index, resources: None });
        }
        let index = self.nodes.get(node).map_or(0, |place| place.index);
        let section = self.section();
        element_at(section, index).expect("the index was taken from the element's place and elements are never removed")
    }

    /// Forgets what ran on a node and its transient attributes.
    pub(super) fn clear(&mut self, node: &str) {
        if let Some(state) = self.state(node) {
            state.remove_children(|child| child.name() == "lrm" || child.name() == "transient_attributes");
        }
        if let Some(place) = self.nodes.get_mut(node) {
            place.resources = None;
        }
    }

    /// The history of a resource on a node under the first of these names that has one.
    pub(super) fn history(&mut self, node: &str, names: &[&str]) -> Option<&mut Element> {
        let places = self.resource_places(node)?;
        let index = names.iter().find_map(|name| places.get(*name)).copied()?;
        element_at(self.resources(node)?, index)
    }

    /// A new, empty history of a resource on a node that has a state.
    pub(super) fn new_history(&mut self, node: &str, history: Element) -> Option<&mut Element> {
        let name = history.id().to_owned();
        self.resource_places(node)?;
        let resources = self.resources(node)?;
        resources.push(history);
        let index = resources.nodes().len() - 1;
        if let Some(places) = self.nodes.get_mut(node).and_then(|place| place.resources.as_mut()) {
            places.insert(name, index);
        }
        element_at(self.resources(node)?, index)
    }

    fn resources(&mut self, node: &str) -> Option<&mut Element> {
        let state = self.state(node)?;
        let id = state.id().to_owned();
        let lrm = state.child_or_new("lrm");
        if lrm.attribute("id").is_none() {
            lrm.set("id", &id);
        }
        Some(lrm.child_or_new("lrm_resources"))
    }

    fn resource_places(&mut self, node: &str) -> Option<&BTreeMap<String, usize>> {
        if self.nodes.get(node)?.resources.is_none() {
            let resources = self.resources(node)?;
            let mut places = BTreeMap::new();
            for (index, child) in resources.nodes().iter().enumerate() {
                if let Node::Element(history) = child
                    && history.name() == "lrm_resource"
                {
                    places.entry(history.id().to_owned()).or_insert(index);
                }
            }
            self.nodes.get_mut(node)?.resources = Some(places);
        }
        self.nodes.get(node)?.resources.as_ref()
    }

    /// Sets a transient attribute of a node that has a state.
    pub(super) fn set_attribute(&mut self, node: &str, name: &str, value: &str) {
        let Some(state) = self.state(node) else { return };
        let id = state.id().to_owned();
        let holder = state.child_or_new("transient_attributes");
        if holder.attribute("id").is_none() {
            holder.set("id", &id);
        }
        let set = holder.child_or_new("instance_attributes");
        if set.attribute("id").is_none() {
            set.set("id", &format!("status-{id}"));
        }
        let pair_id = format!("{}-{}", set.id(), identifier(name));
        match set.find_child_mut(|pair| pair.name() == "nvpair" && pair.attribute("name") == Some(name)) {
            Some(pair) => pair.set("value", value),
            None => set.push(Element::new("nvpair").with("id", pair_id).with("name", name).with("value", value)),
        }
    }

    /// The value of a transient attribute of a node.
    pub(super) fn attribute(&mut self, node: &str, name: &str) -> Option<String> {
        let state = self.state(node)?;
        state
            .children_named("transient_attributes")
            .flat_map(|holder| holder.children_named("instance_attributes"))
            .flat_map(|set| set.children_named("nvpair"))
            .find(|pair| pair.attribute("name") == Some(name))
            .and_then(|pair| pair.attribute("value"))
            .map(str::to_owned)
    }
}

fn element_at(parent: &mut Element, index: usize) -> Option<&mut Element> {
    match parent.nodes_mut().get_mut(index) {
        Some(Node::Element(element)) => Some(Arc::make_mut(element)),
        _ => None,
    }
}

/// A name as part of an XML id.
fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '.' }).collect()
}

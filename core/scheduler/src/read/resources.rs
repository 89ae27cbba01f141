//! Resources: from their elements, templates and defaults to the model.

use super::attributes::{RuleInput, shared_children};
use super::configuration::add_reference;
use super::operations::Operation;
use crate::model::{
    CloneSettings, GroupSettings, Kind, MultipleActive, NoQuorumPolicy, NodeIndex, NodeTable, Resource, ResourceId,
    Role, Score,
};
use crate::placement::{Share, Source as ShareSource};
use crate::planner::Planner;
use crate::values;
use hakudo_base::agent::AgentName;
use hakudo_cib::{Document, Element};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many instances a clone can have, where there are not more nodes: more than any cluster has use for, and few enough to be decided.
const MOST_INSTANCES: i32 = 2_000;

/// As [`MOST_INSTANCES`], of an ordered clone, in which each waits for all before it, and of one whose instances are all told of all
/// others.
const MOST_RELATED_INSTANCES: i32 = 500;

/// Where a resource's configuration stands.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its element, merged with its template's.
    pub(crate) element: Arc<Element>,
    /// Its configured operations.
    pub(crate) operations: Arc<Vec<Operation>>,
}

impl Planner {
    /// Reads all resources.
    pub(crate) fn read_resources(&mut self, cib: &Document) {
        let Some(section) = cib.section(&["configuration", "resources"]) else { return };
        for template in shared_children(section, "template") {
            self.model.templates.entry(template.id().to_owned()).or_default();
            self.template_elements.insert(template.id().to_owned(), Arc::clone(template));
        }
        let mut elements = self.with_guest_connections(section);
        for element in &elements {
            self.create_remote_node(element);
        }
        elements.retain(|element| element.name() != "template");
        for element in elements {
            if element.id().is_empty() {
                self.problem(element.name(), format!("a <{}> without id is ignored", element.name()));
                continue;
            }
            match self.read_resource(&element, None, None) {
                Some(resource) => self.model.top.push(resource),
                None => self.problem(element.id(), "the resource is ignored because its configuration is invalid"),
            }
        }
        for at in 0..self.model.top.len() {
            self.connect_launchers(self.model.top[at]);
            self.connect_remote_node(self.model.top[at]);
        }
        let model = &self.model;
        let mut top = model.top.clone();
        top.sort_by_key(|resource| std::cmp::Reverse(model.resource(*resource).priority));
        self.model.top = top;
        if self.model.options.fencing_enabled && !self.model.options.have_fencing {
            self.problem("fencing-enabled", "no fence device is configured, so that no resource will be started");
        }
    }

    /// Reads one resource and what is in it. `instance` is its number in a clone.
    pub(crate) fn read_resource(
        &mut self,
        element: &Arc<Element>,
        parent: Option<ResourceId>,
        instance: Option<u32>,
    ) -> Option<ResourceId> {
        let merged = self.merge_template(element)?;
        let kind = match element.name() {
            "primitive" => Kind::Primitive,
            "group" => Kind::Group(GroupSettings { ordered: true, colocated: true }),
            "clone" => Kind::Clone(CloneSettings {
                max: 1,
                node_max: 1,
                promoted_max: 0,
                promoted_node_max: 0,
                ordered: false,
                interleave: false,
                child_id: String::new(),
                total: 0,
                promotion_scores_added: false,
                promotion_constrained: false,
            }),
            "bundle" => Kind::Bundle(Box::default()),
            other => {
                self.problem(element.id(), format!("<{other}> is no kind of resource"));
                return None;
            }
        };
        let id = match instance {
            Some(number) => format!("{}:{number}", element.id()),
            None => element.id().to_owned(),
        };
        let operations = match parent.map(|p| &self.sources[p.index()]) {
            _ if !matches!(kind, Kind::Primitive) => Arc::default(),
            _ => self.read_operations(&merged),
        };
        let resource = ResourceId::new(self.model.resources.len());
        let mut subject = Resource::new(id, element.id(), kind, parent);
        subject.instance = instance;
        subject.description = merged.attribute("description").map(str::to_owned);
        subject.agent = merged.attribute("class").map(|class| AgentName {
            class: class.to_owned(),
            provider: merged.attribute("provider").map(str::to_owned),
            kind: merged.attribute("type").unwrap_or_default().to_owned(),
        });
        self.model.note_id(&subject.id, resource);
        self.model.resources.push(subject);
        self.sources.push(Source { element: merged, operations });
        self.actions_of.push(Vec::new());
        self.read_meta_attributes(resource, instance);
        self.apply_meta_attributes(resource);
        let complete = match self.resource(resource).kind {
            Kind::Primitive => self.check_primitive(resource),
            Kind::Group(_) => self.read_group(resource),
            Kind::Clone(_) => self.read_clone(resource),
            Kind::Bundle(_) => self.read_bundle(resource),
        };
        if !complete {
            self.model.resources.truncate(resource.index());
            self.sources.truncate(resource.index());
            self.actions_of.truncate(resource.index());
            self.parameter_cache.retain(|(cached, _), _| *cached < resource);
            return None;
        }
        let guest = self.resource(resource).remote_connection && self.resource(resource).meta("container").is_some();
        if self.model.options.symmetric_cluster {
            let everywhere = self.model.everywhere();
            self.allow_by_default(resource, &everywhere);
        } else if guest {
            self.add_score(resource, None, Score::ZERO, &Share::new(ShareSource::Default, "remote-node"));
        }
        let source = Arc::clone(&self.sources[resource.index()].element);
        let mut needed = BTreeMap::new();
        let own = RuleInput { scope: Some(&source), ..RuleInput::default() };
        self.read_blocks(&source, "utilization", None, &own, &mut needed);
        self.resource_mut(resource).utilization = needed
            .into_iter()
            .map(|(name, value)| (name, i64::from(values::integer_from(&value, i32::MIN).unwrap_or(0))))
            .collect();
        if let Some(template) = element.attribute("template") {
            add_reference(&mut self.model.templates, template, element.id());
        }
        Some(resource)
    }

    /// In a symmetric cluster every node is allowed, except for those that are made for one resource, and to these.
    fn allow_by_default(&mut self, resource: ResourceId, everywhere: &NodeTable) {
        let subject = self.model.resource_mut(resource);
        if subject.exclusive_discovery {
            return;
        }
        for (node, entry) in everywhere.iter().filter(|(_, entry)| entry.score != Score::ZERO) {
            if !subject.allowed.contains(node) {
                self.placements.note(resource, node, entry.score, &Share::of_node());
            }
        }
        subject.allowed.add_missing(everywhere);
        for child in subject.children.clone() {
            self.allow_by_default(child, everywhere);
        }
    }

    /// The element with its template's content before its own, as far as the own does not replace it.
    fn merge_template(&mut self, element: &Arc<Element>) -> Option<Arc<Element>> {
        let Some(reference) = element.attribute("template") else { return Some(Arc::clone(element)) };
        if reference == element.id() {
            self.problem(element.id(), "the resource refers to itself as its template");
            return None;
        }
        let Some(template) = self.template_elements.get(reference) else {
            self.problem(element.id(), format!("there is no template '{reference}'"));
            return None;
        };
        let mut merged = Element::new(element.name());
        for attribute in template.attributes() {
            merged.set(&attribute.name, &attribute.value);
        }
        merged.set("id", element.id());
        let own_operations = element.child("operations");
        let key = |operation: &Element| {
            let role = operation.attribute("role").map_or(Role::Unknown, Role::parse);
            let role = if matches!(role, Role::Started | Role::Unpromoted) { Role::Unknown } else { role };
            (operation.attribute("name").unwrap_or_default().to_owned(), role)
        };
        let mut operations = own_operations.cloned();
        if let (Some(operations), Some(inherited)) = (&mut operations, template.child("operations")) {
            let own: BTreeSet<_> = operations.children().map(key).collect();
            for operation in inherited.nodes() {
                if let hakudo_cib::Node::Element(operation) = operation
                    && !own.contains(&key(operation))
                {
                    operations.push(Arc::clone(operation));
                }
            }
        }
        let replaced = operations.is_some();
        for child in template.nodes() {
            if let hakudo_cib::Node::Element(child) = child
                && !(replaced && child.name() == "operations")
            {
                merged.push(Arc::clone(child));
            }
        }
        for child in element.nodes() {
            if let hakudo_cib::Node::Element(child) = child {
                match (&operations, child.name()) {
                    (Some(operations), "operations") => merged.push(operations.clone()),
                    _ => merged.push(Arc::clone(child)),
                }
            }
        }
        Some(Arc::new(merged))
    }

    /// Meta-attributes: the element's attributes, its own blocks, those of what it is in, the defaults, and what the
    /// parent ended up with; the first value wins.
    fn read_meta_attributes(&mut self, resource: ResourceId, instance: Option<u32>) {
        let element = Arc::clone(&self.sources[resource.index()].element);
        let mut meta = BTreeMap::new();
        if let Some(number) = instance {
            meta.insert("clone".to_owned(), number.to_string());
        }
        for attribute in element.attributes() {
            meta.entry(attribute.name.to_string()).or_insert_with(|| attribute.value.to_string());
        }
        let agent = self.resource(resource).agent.clone();
        let input = RuleInput { agent: agent.as_ref(), ..RuleInput::default() };
        let own = RuleInput { scope: Some(&element), ..input };
        self.read_blocks(&element, "meta_attributes", None, &own, &mut meta);
        let mut inherited = BTreeMap::new();
        let mut above = self.resource(resource).parent;
        while let Some(parent) = above {
            let element = Arc::clone(&self.sources[parent.index()].element);
            let own = RuleInput { scope: Some(&element), ..input };
            self.read_blocks(&element, "meta_attributes", None, &own, &mut inherited);
            above = self.resource(parent).parent;
        }
        for (name, value) in inherited {
            meta.entry(name).or_insert(value);
        }
        if let Some(defaults) = self.resource_defaults.clone() {
            self.read_blocks(&defaults, "meta_attributes", None, &input, &mut meta);
        }
        if let Some(parent) = self.resource(resource).parent {
            for (name, value) in &self.model.resource(parent).meta {
                if !value.eq_ignore_ascii_case("#default") {
                    meta.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        self.resource_mut(resource).meta = meta;
    }

    /// What the meta-attributes mean.
    fn apply_meta_attributes(&mut self, resource: ResourceId) {
        let meta = self.resource(resource).meta.clone();
        let get = |name: &str| meta.get(name).map(String::as_str);
        let colours = self.model.options.health_scores;
        let in_maintenance = self.model.options.maintenance_mode;
        let top = self.model.top_of(resource);
        let in_clone = self.resource(top).is_clone();
        let id = self.resource(resource).id.clone();
        let mut invalid = Vec::new();
        let mut score = |name: &'static str, default: Score| match get(name) {
            None => default,
            Some(text) if text.eq_ignore_ascii_case("default") => default,
            Some(text) => values::score(text, &colours).unwrap_or_else(|| {
                invalid.push(format!("'{text}' is not valid for {name}; {default} is used"));
                default
            }),
        };
        let priority = score("priority", Score::ZERO);
        let stickiness = score("resource-stickiness", Score::ZERO);
        let threshold = score("migration-threshold", Score::INFINITY);
        let threshold = if threshold < Score::ZERO { Score::INFINITY } else { threshold };
        let multiple_active = match get("multiple-active").map(str::to_ascii_lowercase).as_deref() {
            None | Some("stop_start") => MultipleActive::StopStart,
            Some("stop_only") => MultipleActive::StopOnly,
            Some("block") => MultipleActive::Block,
            Some("stop_unexpected") => MultipleActive::StopUnexpected,
            Some(other) => {
                invalid.push(format!("'{other}' is not valid for multiple-active; stop_start is used"));
                MultipleActive::StopStart
            }
        };
        for message in invalid {
            self.problem(&id, message);
        }
        let remote = is_remote_connection(&self.sources[resource.index()].element);
        let remote_node = remote && get("container").is_none();
        let subject = self.model.resource_mut(resource);
        subject.priority = priority;
        subject.stickiness = stickiness;
        subject.migration_threshold = threshold.0;
        subject.multiple_active = multiple_active;
        subject.critical = get("critical").is_none_or(|text| values::is_true(Some(text)));
        subject.notify = values::is_true(get("notify"));
        subject.remote_connection = remote;
        subject.migratable = match get("allow-migrate") {
            None => remote_node,
            text => values::is_true(text),
        };
        subject.managed = !in_maintenance;
        match get("is-managed") {
            None => {}
            Some(text) if text.eq_ignore_ascii_case("default") => {}
            text => subject.managed = values::is_true(text),
        }
        if values::is_true(get("maintenance")) || in_maintenance {
            subject.managed = false;
            subject.maintenance = true;
        }
        if in_clone {
            subject.unique = match get("globally-unique") {
                None => get("clone-node-max").and_then(|text| values::integer_from(text, 0)).is_some_and(|n| n > 1),
                text => values::is_true(text),
            };
            subject.promotable = values::is_true(get("promotable"));
        }
        if subject.agent.as_ref().is_some_and(|agent| agent.class.eq_ignore_ascii_case("stonith")) {
            subject.fence_device = true;
            self.model.options.have_fencing = true;
        }
        self.apply_requires(resource, get("requires"));
        if let Some(text) = get("failure-timeout") {
            self.resource_mut(resource).failure_timeout_ms = values::interval(text).unwrap_or(0);
        }
        if remote_node {
            let parameters = self.parameters(resource, None);
            if let Some(text) = parameters.get("reconnect_interval") {
                let interval = values::interval(text).unwrap_or(0);
                let subject = self.resource_mut(resource);
                subject.reconnect_ms = interval;
                subject.failure_timeout_ms = interval;
            }
        }
        if let Some(role) = self.target_role(resource) {
            self.resource_mut(resource).next_role = role;
        }
    }

    fn apply_requires(&mut self, resource: ResourceId, value: Option<&str>) {
        let options = &self.model.options;
        let (fencing, unfencing) = (options.fencing_enabled, options.unfencing);
        let policy = options.no_quorum_policy;
        let subject = self.model.resource(resource);
        let default = if subject.fence_device || (subject.is_primitive() && subject.remote_connection) {
            "quorum"
        } else if unfencing {
            "unfencing"
        } else if fencing {
            "fencing"
        } else if policy == NoQuorumPolicy::Ignore {
            "nothing"
        } else {
            "quorum"
        };
        let is_device = subject.fence_device;
        let id = subject.id.clone();
        let mut word = value.unwrap_or(default).to_ascii_lowercase();
        if !["nothing", "quorum", "fencing", "unfencing"].contains(&word.as_str()) {
            self.problem(&id, format!("'{word}' is not valid for requires; '{default}' is used"));
            default.clone_into(&mut word);
        }
        if word == "unfencing" && (is_device || !fencing) {
            if value.is_some() {
                let why = if is_device { "fence devices cannot require it" } else { "fencing is disabled" };
                self.problem(&id, format!("requires=unfencing becomes quorum because {why}"));
            }
            "quorum".clone_into(&mut word);
        }
        if word == "fencing" && !fencing {
            self.problem(&id, "requires fencing, but fencing is disabled");
        }
        let subject = self.resource_mut(resource);
        match word.as_str() {
            "quorum" => subject.needs_quorum = true,
            "fencing" => subject.needs_fencing = true,
            "unfencing" => (subject.needs_fencing, subject.needs_unfencing) = (true, true),
            _ => {}
        }
    }

    /// The role that `target-role` limits the resource to, where it limits.
    pub(crate) fn target_role(&mut self, resource: ResourceId) -> Option<Role> {
        let subject = self.model.resource(resource);
        let text = subject.meta("target-role")?;
        if text.eq_ignore_ascii_case("Started") || text.eq_ignore_ascii_case("default") {
            return None;
        }
        let promotable = self.model.resource(self.model.top_of(resource)).promotable;
        let (id, text) = (subject.id.clone(), text.to_owned());
        match Role::parse(&text) {
            Role::Unknown => {
                self.problem(&id, format!("'{text}' is not valid for target-role; ignored"));
                None
            }
            Role::Unpromoted | Role::Promoted if !promotable => {
                self.problem(&id, format!("target-role '{text}' makes sense only for promotable clones; ignored"));
                None
            }
            Role::Promoted => None,
            role => Some(role),
        }
    }

    /// A primitive of a class that knows no instances or promotion limits what its clone may be.
    fn check_primitive(&mut self, resource: ResourceId) -> bool {
        let top = self.uber_parent(resource);
        let class = self.resource(resource).agent.as_ref().map_or("", |agent| agent.class.as_str());
        let (may_be_unique, may_be_promoted) = (
            class.eq_ignore_ascii_case("ocf") || class.eq_ignore_ascii_case("stonith"),
            class.eq_ignore_ascii_case("ocf"),
        );
        let id = self.resource(resource).id.clone();
        if !may_be_unique && self.resource(resource).unique && self.resource(top).is_clone() {
            let nodes = i32::try_from(self.model.nodes.len()).unwrap_or(i32::MAX);
            if let Kind::Clone(settings) = &mut self.resource_mut(top).kind {
                settings.node_max = 1;
                settings.max = settings.max.min(nodes);
            }
            self.problem(&id, "resources of this class can only be anonymous clones");
            self.make_anonymous(top);
            self.make_anonymous(resource);
        }
        if !may_be_promoted && self.resource(top).promotable {
            self.problem(&id, "resources of this class cannot be promoted");
            return false;
        }
        true
    }

    fn make_anonymous(&mut self, resource: ResourceId) {
        let subject = self.resource_mut(resource);
        subject.unique = false;
        subject.meta.insert("globally-unique".to_owned(), "false".to_owned());
        for child in subject.children.clone() {
            self.make_anonymous(child);
        }
    }

    /// The outermost resource that this is in and that is no bundle; itself if none.
    pub(crate) fn uber_parent(&self, resource: ResourceId) -> ResourceId {
        self.model.top_of(resource)
    }

    fn read_group(&mut self, resource: ResourceId) -> bool {
        let on = |text: Option<&str>| text.is_none_or(|text| values::boolean(text) != Some(false));
        let subject = self.resource(resource);
        let settings =
            GroupSettings { ordered: on(subject.meta("ordered")), colocated: on(subject.meta("collocated")) };
        let instance = subject.instance;
        let id = subject.id.clone();
        self.resource_mut(resource).kind = Kind::Group(settings);
        let element = Arc::clone(&self.sources[resource.index()].element);
        for member in shared_children(&element, "primitive") {
            if let Some(member) = self.read_resource(member, Some(resource), instance) {
                self.resource_mut(resource).children.push(member);
            }
        }
        if self.resource(resource).children.is_empty() {
            self.problem(&id, "the group has no members");
            return false;
        }
        true
    }

    fn read_clone(&mut self, resource: ResourceId) -> bool {
        let nodes = i32::try_from(self.model.nodes.len()).unwrap_or(i32::MAX).max(1);
        let subject = self.model.resource(resource);
        let (unique, promotable, id) = (subject.unique, subject.promotable, subject.id.clone());
        let count = |name: &str, older: Option<&str>, default: i32| {
            let text = subject.meta(name).or_else(|| older.and_then(|older| subject.meta(older)));
            text.and_then(|text| values::integer_from(text, 0)).unwrap_or(default)
        };
        let element = Arc::clone(&self.sources[resource.index()].element);
        let child = element.nodes().iter().find_map(|node| match node {
            hakudo_cib::Node::Element(child) if matches!(child.name(), "primitive" | "group") => {
                Some(Arc::clone(child))
            }
            _ => None,
        });
        let mut settings = CloneSettings {
            max: count("clone-max", None, nodes),
            node_max: count("clone-node-max", None, 1),
            promoted_max: if promotable { count("promoted-max", Some("master-max"), 1) } else { 0 },
            promoted_node_max: if promotable { count("promoted-node-max", Some("master-node-max"), 1) } else { 0 },
            ordered: values::is_true(subject.meta("ordered")),
            interleave: values::is_true(subject.meta("interleave")),
            child_id: child.as_ref().map(|child| child.id().to_owned()).unwrap_or_default(),
            total: 0,
            promotion_scores_added: false,
            promotion_constrained: false,
        };
        let (what, most) = if settings.ordered {
            ("an ordered clone", MOST_RELATED_INSTANCES)
        } else if subject.notify {
            ("a clone that notifies", MOST_RELATED_INSTANCES)
        } else {
            ("a clone", MOST_INSTANCES)
        };
        let most = most.max(nodes);
        if settings.max > most {
            self.problem(&id, format!("{what} can have {most} instances, not {}", settings.max));
            settings.max = most;
        }
        if !unique && settings.node_max > 1 {
            self.problem(&id, "an anonymous clone can have only one instance a node");
            settings.node_max = 1;
        }
        let subject = self.resource_mut(resource);
        subject.kind = Kind::Clone(settings);
        if child.is_none() {
            self.problem(&id, "the clone has nothing to clone");
            return false;
        }
        let subject = self.resource_mut(resource);
        subject.meta.entry("resource-stickiness".to_owned()).or_insert_with(|| "1".to_owned());
        subject.meta.insert("globally-unique".to_owned(), unique.to_string());
        let mut made = 0;
        while made == 0 || made < self.clone_max(resource) {
            if self.create_instance(resource).is_none() {
                return false;
            }
            made += 1;
        }
        true
    }

    fn clone_max(&self, resource: ResourceId) -> i32 {
        self.resource(resource).clone_settings().map_or(0, |settings| settings.max)
    }

    /// Adds an instance to a clone; one beyond its number counts as removed.
    pub(crate) fn create_instance(&mut self, clone: ResourceId) -> Option<ResourceId> {
        let element = Arc::clone(&self.sources[clone.index()].element);
        let child = element.nodes().iter().find_map(|node| match node {
            hakudo_cib::Node::Element(child) if matches!(child.name(), "primitive" | "group") => Some(child),
            _ => None,
        })?;
        let settings = self.resource(clone).clone_settings()?;
        let (number, max) = (settings.total, settings.max);
        let removed = i32::try_from(number).unwrap_or(i32::MAX) >= max;
        let instance = self.read_resource(child, Some(clone), Some(number))?;
        if let Kind::Clone(settings) = &mut self.resource_mut(clone).kind {
            settings.total += 1;
        }
        self.resource_mut(clone).children.push(instance);
        if removed {
            self.mark_removed(instance);
        }
        self.resource_mut(instance).meta.insert("clone-max".to_owned(), max.to_string());
        Some(instance)
    }

    fn mark_removed(&mut self, resource: ResourceId) {
        self.resource_mut(resource).removed = true;
        for child in self.resource(resource).children.clone() {
            self.mark_removed(child);
        }
    }

    /// The resource elements, with a connection for each resource that is a guest node.
    fn with_guest_connections(&mut self, section: &Element) -> Vec<Arc<Element>> {
        let mut elements: Vec<Arc<Element>> = Vec::new();
        let mut connections = Vec::new();
        for node in section.nodes() {
            let hakudo_cib::Node::Element(element) = node else { continue };
            match element.name() {
                "primitive" if !is_remote_connection(element) => connections.extend(guest_connection(element)),
                "group" => connections.extend(element.children().filter_map(guest_connection)),
                _ => {}
            }
            elements.push(Arc::clone(element));
        }
        if !connections.is_empty() {
            let ids: BTreeSet<&str> = section.descendants().map(Element::id).collect();
            elements.extend(connections.into_iter().filter(|c| !ids.contains(c.id())).map(Arc::new));
        }
        elements
    }

    fn create_remote_node(&mut self, element: &Element) {
        if is_remote_connection(element) && self.model.node_named(element.id()).is_none() {
            self.create_node(element.id(), element.id(), Some("remote"), Score::ZERO);
        }
    }

    pub(crate) fn connect_launchers(&mut self, resource: ResourceId) {
        let children = self.resource(resource).children.clone();
        if !children.is_empty() {
            for child in children {
                self.connect_launchers(child);
            }
            return;
        }
        let subject = self.resource(resource);
        let Some(container) = subject.meta("container").map(str::to_owned) else { return };
        let id = subject.id.clone();
        if container == id {
            return;
        }
        match self.model.resource_with_id(&container) {
            Some(launcher) => {
                self.resource_mut(resource).launcher = Some(launcher);
                self.resource_mut(launcher).launched.push(resource);
            }
            None => self.problem(&id, format!("the container '{container}' does not exist")),
        }
    }

    /// Joins a connection resource with its node.
    pub(crate) fn connect_remote_node(&mut self, resource: ResourceId) {
        let subject = self.resource(resource);
        if !subject.remote_connection {
            return;
        }
        let launcher = subject.launcher;
        let Some(node) = self.model.node_named(&subject.id) else { return };
        let peer = self.model.node_mut(node);
        peer.connection = Some(resource);
        peer.launcher = launcher;
        if launcher.is_some() {
            peer.attributes.insert("#kind".to_owned(), "container".to_owned());
        } else {
            self.expect_of_unseen(node);
        }
    }

    /// The parameters of a resource as they are on a node (rules may ask for the node's attributes).
    pub(crate) fn parameters(
        &mut self,
        resource: ResourceId,
        node: Option<NodeIndex>,
    ) -> Arc<BTreeMap<String, String>> {
        // What a connection is given depends on where the container of its node goes.
        let varies = self.resource(resource).remote_connection || self.parameters_have_rules(resource);
        let node = node.filter(|_| varies);
        if let Some(known) = self.parameter_cache.get(&(resource, node)) {
            return Arc::clone(known);
        }
        let attributes = node.map(|node| self.model.node(node).attributes.clone());
        let mut values = BTreeMap::new();
        let mut next = Some(resource);
        while let Some(current) = next {
            let element = Arc::clone(&self.sources[current.index()].element);
            let scope = Some(&*element);
            let input = RuleInput { node_attributes: attributes.as_ref(), scope, ..RuleInput::default() };
            self.read_blocks(&element, "instance_attributes", None, &input, &mut values);
            next = self.resource(current).parent;
        }
        let values = Arc::new(values);
        self.parameter_cache.insert((resource, node), Arc::clone(&values));
        values
    }

    /// Whether the parameters of a resource may be others on another node.
    fn parameters_have_rules(&self, resource: ResourceId) -> bool {
        let mut next = Some(resource);
        while let Some(current) = next {
            let mut blocks = self.sources[current.index()].element.children_named("instance_attributes");
            if blocks.any(|block| block.attribute("id-ref").is_some() || block.child("rule").is_some()) {
                return true;
            }
            next = self.resource(current).parent;
        }
        false
    }
}

/// A primitive of agent `ocf:pacemaker:remote`.
pub(crate) fn is_remote_connection(element: &Element) -> bool {
    let is = |name: &str, value: &str| element.attribute(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    is("type", "remote") && is("class", "ocf") && is("provider", "pacemaker")
}

/// The connection to the guest node that a primitive is, if its meta-attributes make it one.
fn guest_connection(primitive: &Element) -> Option<Element> {
    let mut meta: BTreeMap<&str, &str> = BTreeMap::new();
    for pair in primitive.children_named("meta_attributes").flat_map(Element::children) {
        if let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) {
            meta.insert(name, value);
        }
    }
    let name = *meta.get("remote-node")?;
    Some(connection_element(
        name,
        Some(primitive.id()),
        &[("allow-migrate", meta.get("remote-allow-migrate")), ("is-managed", meta.get("is-managed"))],
        &[("addr", meta.get("remote-addr")), ("port", meta.get("remote-port"))],
        Some(meta.get("remote-connect-timeout").copied().unwrap_or("60s")),
    ))
}

/// The element of a connection resource that is implied and not configured.
pub(crate) fn connection_element(
    name: &str,
    container: Option<&str>,
    meta: &[(&str, Option<&&str>)],
    parameters: &[(&str, Option<&&str>)],
    start_timeout: Option<&str>,
) -> Element {
    let pair = |block: &str, key: &str, value: &str| {
        Element::new("nvpair").with("id", format!("{block}-{key}")).with("name", key).with("value", value)
    };
    let block = format!("{name}-meta_attributes");
    let mut meta_block = Element::new("meta_attributes").with("id", &block);
    meta_block.push(pair(&block, "internal_rsc", "true"));
    if let Some(container) = container {
        meta_block.push(pair(&block, "container", container));
    }
    for (key, value) in meta.iter().filter_map(|(key, value)| value.map(|value| (key, value))) {
        meta_block.push(pair(&block, key, value));
    }
    let mut primitive = Element::new("primitive")
        .with("id", name)
        .with("class", "ocf")
        .with("provider", "pacemaker")
        .with("type", "remote")
        .with_child(meta_block);
    let block = format!("{name}-instance_attributes");
    if parameters.iter().any(|(_, value)| value.is_some()) {
        let mut instance_block = Element::new("instance_attributes").with("id", &block);
        for (key, value) in parameters.iter().filter_map(|(key, value)| value.map(|value| (key, value))) {
            instance_block.push(pair(&block, key, value));
        }
        primitive.push(instance_block);
    }
    let operation = |task: &str, interval: &str, timeout: &str| {
        Element::new("op")
            .with("id", format!("{name}-{task}-{interval}"))
            .with("interval", interval)
            .with("name", task)
            .with("timeout", timeout)
    };
    let mut operations = Element::new("operations").with_child(operation("monitor", "30s", "30s"));
    if let Some(timeout) = start_timeout {
        operations.push(operation("start", "0", timeout));
    }
    primitive.push(operations);
    primitive
}

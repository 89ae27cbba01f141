//! Cluster options, nodes, templates, tags: everything in the configuration that is not a resource or a constraint.

use super::attributes::{RuleInput, shared_children};
use super::operations::has_rules;
use crate::Purpose;
use crate::decide::instances::InstanceActions;
use crate::decide::node_order::NodeRanks;
use crate::decide::relations::Updates;
use crate::model::{
    ClusterOptions, HealthScores, HealthStrategy, Model, NoQuorumPolicy, Node, NodeIndex, NodeKind, PlacementStrategy,
    Score,
};
use crate::placement::Placements;
use crate::planner::Planner;
use crate::values;
use hakudo_base::WallTime;
use hakudo_cib::{Document, Element};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Planner {
    /// A workplace with options and nodes read, and nothing decided.
    pub(crate) fn new(cib: &Document, now: WallTime) -> Self {
        let mut planner = Self::with_options(cib, now);
        if let Some(configuration) = cib.root().child("configuration") {
            planner.read_nodes(cib.root(), configuration);
            planner.read_tags(configuration);
        }
        planner
    }

    /// As [`Planner::new`], with nothing read but the options.
    pub(crate) fn with_options(cib: &Document, now: WallTime) -> Self {
        let mut planner = Planner {
            model: Model {
                options: default_options(),
                quorate: values::is_true(cib.root().attribute("have-quorum")),
                dc: None,
                now,
                tickets: BTreeMap::new(),
                failures: Vec::new(),
                recheck_by: None,
                nodes: Vec::new(),
                node_order: Vec::new(),
                nodes_named: BTreeMap::new(),
                nodes_with_id: BTreeMap::new(),
                everywhere: None,
                resources: Vec::new(),
                top: Vec::new(),
                known_as: BTreeMap::new(),
                ids_noted: 0,
                templates: BTreeMap::new(),
                tags: BTreeMap::new(),
                have_remote_nodes: false,
            },
            sources: Vec::new(),
            referenced: BTreeMap::new(),
            resource_defaults: None,
            operation_defaults: None,
            operation_rules: false,
            template_elements: BTreeMap::new(),
            histories: Vec::new(),
            recorded_ids: crate::read::history::RecordedIds::default(),
            recorded_failures: BTreeSet::new(),
            histories_of: BTreeMap::new(),
            feature_set: cib.root().attribute("crm_feature_set").map(str::to_owned),
            purpose: Purpose::Execution,
            actions: Vec::new(),
            action_changes: 0,
            actions_of: Vec::new(),
            actions_with_key: BTreeMap::new(),
            actions_on_node: BTreeMap::new(),
            nodeless_actions: BTreeMap::new(),
            singletons: BTreeMap::new(),
            relations: BTreeMap::new(),
            task_names: Vec::new(),
            orderings: Vec::new(),
            locations: Vec::new(),
            colocations: Vec::new(),
            this_with: BTreeMap::new(),
            with_this: BTreeMap::new(),
            ticket_constraints: Vec::new(),
            wrong_ticket_constraints: BTreeMap::new(),
            stop_needed: Vec::new(),
            deferred_checks: Vec::new(),
            notifications: BTreeMap::new(),
            parameter_cache: BTreeMap::new(),
            digests: BTreeMap::new(),
            node_ranks: NodeRanks::default(),
            updates: Updates::default(),
            instance_actions: InstanceActions::default(),
            assignments_under_way: 0,
            scores: Vec::new(),
            placements: Placements::default(),
            problems: BTreeSet::new(),
        };
        let Some(configuration) = cib.root().child("configuration") else { return planner };
        planner.index_references(configuration);
        for node in configuration.nodes() {
            let hakudo_cib::Node::Element(section) = node else { continue };
            match section.name() {
                "rsc_defaults" => planner.resource_defaults = Some(Arc::clone(section)),
                "op_defaults" => {
                    planner.operation_rules = has_rules(section);
                    planner.operation_defaults = Some(Arc::clone(section));
                }
                _ => {}
            }
        }
        planner.read_options(cib.root(), configuration);
        planner
    }

    fn index_references(&mut self, configuration: &Element) {
        let wanted: BTreeSet<(&str, &str)> = configuration
            .descendants()
            .filter_map(|element| element.attribute("id-ref").map(|reference| (element.name(), reference)))
            .collect();
        if !wanted.is_empty() {
            self.index_below(configuration, &wanted);
        }
    }

    fn index_below(&mut self, element: &Element, wanted: &BTreeSet<(&str, &str)>) {
        for node in element.nodes() {
            let hakudo_cib::Node::Element(child) = node else { continue };
            if child.attribute("id").is_some_and(|id| wanted.contains(&(child.name(), id))) {
                let key = (child.name().to_owned(), child.id().to_owned());
                self.referenced.entry(key).or_insert_with(|| Arc::clone(child));
            }
            self.index_below(child, wanted);
        }
    }

    fn read_options(&mut self, root: &Element, configuration: &Element) {
        let mut written = BTreeMap::new();
        if let Some(section) = configuration.child("crm_config") {
            let first = Some("cib-bootstrap-options");
            self.read_blocks(section, "cluster_property_set", first, &RuleInput::default(), &mut written);
        }
        let mut reader = OptionReader { written: &written, invalid: Vec::new() };
        let mut options = default_options();
        options.symmetric_cluster = reader.boolean("symmetric-cluster", None, true);
        options.maintenance_mode = reader.boolean("maintenance-mode", None, false);
        options.stop_all_resources = reader.boolean("stop-all-resources", None, false);
        options.fencing_enabled = reader.boolean("fencing-enabled", Some("stonith-enabled"), true);
        options.have_fencing = reader.boolean("have-watchdog", None, false);
        options.unfencing = wants_unfencing(configuration);
        options.fencing_action = reader.word("fencing-action", Some("stonith-action"), &["reboot", "off"], "reboot");
        options.fencing_timeout = reader.interval("fencing-timeout", Some("stonith-timeout"), "60s");
        options.startup_fencing = options.fencing_enabled && reader.boolean("startup-fencing", None, true);
        options.concurrent_fencing = reader.boolean("concurrent-fencing", None, true);
        options.priority_fencing_delay_ms = interval_ms(&reader.interval("priority-fencing-delay", None, "0"));
        options.fence_remote_without_quorum = reader.boolean("fence-remote-without-quorum", None, false);
        options.start_failure_is_fatal = reader.boolean("start-failure-is-fatal", None, true);
        options.startup_probes = reader.boolean("enable-startup-probes", None, true);
        options.stop_removed_resources = reader.boolean("stop-removed-resources", Some("stop-orphan-resources"), true);
        options.cancel_removed_actions = reader.boolean("cancel-removed-actions", Some("stop-orphan-actions"), true);
        options.shutdown_lock = reader.boolean("shutdown-lock", None, false);
        if options.shutdown_lock {
            options.shutdown_lock_limit_ms = interval_ms(&reader.interval("shutdown-lock-limit", None, "0"));
        }
        options.node_pending_timeout_ms = interval_ms(&reader.interval("node-pending-timeout", None, "0"));
        options.cluster_delay = reader.interval("cluster-delay", None, "60s");
        options.batch_limit = reader.number("batch-limit", "0");
        options.migration_limit = reader.number("migration-limit", "-1");
        options.placement_strategy = match reader
            .word("placement-strategy", None, &["default", "utilization", "minimal", "balanced"], "default")
            .as_str()
        {
            word if word.eq_ignore_ascii_case("utilization") => PlacementStrategy::Utilization,
            word if word.eq_ignore_ascii_case("minimal") => PlacementStrategy::Minimal,
            word if word.eq_ignore_ascii_case("balanced") => PlacementStrategy::Balanced,
            _ => PlacementStrategy::Default,
        };
        options.no_quorum_policy = self.no_quorum_policy(root, &mut reader, options.fencing_enabled);
        read_health(&mut reader, &mut options);
        let invalid = std::mem::take(&mut reader.invalid);
        options.cluster_name = written.get("cluster-name").cloned();
        options.written = written;
        self.model.options = options;
        for (name, value) in invalid {
            self.problem(&name, format!("the value '{value}' is not valid; the default is used"));
        }
    }

    fn no_quorum_policy(
        &mut self,
        root: &Element,
        reader: &mut OptionReader<'_>,
        fencing_enabled: bool,
    ) -> NoQuorumPolicy {
        let known = ["stop", "freeze", "ignore", "demote", "fence", "suicide"];
        match reader.word("no-quorum-policy", None, &known, "stop").to_ascii_lowercase().as_str() {
            "ignore" => NoQuorumPolicy::Ignore,
            "freeze" => NoQuorumPolicy::Freeze,
            "demote" => NoQuorumPolicy::Demote,
            "fence" | "suicide" if !fencing_enabled => {
                self.problem("no-quorum-policy", "fencing is disabled, so that 'stop' is used");
                NoQuorumPolicy::Stop
            }
            "fence" | "suicide" => {
                let panic = root.attribute("no-quorum-panic").and_then(values::integer).unwrap_or(0) != 0;
                if panic || self.model.quorate { NoQuorumPolicy::Fence } else { NoQuorumPolicy::Stop }
            }
            _ => NoQuorumPolicy::Stop,
        }
    }

    /// Adds a node; none where its type is not known.
    pub(crate) fn create_node(&mut self, id: &str, name: &str, kind: Option<&str>, score: Score) -> Option<NodeIndex> {
        if self.model.node_named(name).is_some() {
            self.problem(id, format!("more than one node is named '{name}'"));
        }
        let kind = match kind {
            None => NodeKind::Cluster,
            Some(kind) if kind.eq_ignore_ascii_case("member") => NodeKind::Cluster,
            Some(kind) if kind.eq_ignore_ascii_case("remote") => NodeKind::Remote,
            Some(kind) => {
                self.problem(id, format!("the node type '{kind}' is not known; ignored"));
                return None;
            }
        };
        let mut node = Node::new(id, name, kind);
        node.base.score = score;
        let word = if kind == NodeKind::Remote { "remote" } else { "cluster" };
        node.attributes.insert("#kind".to_owned(), word.to_owned());
        self.model.have_remote_nodes |= kind == NodeKind::Remote;
        let index = self.model.push_node(node);
        // After all that are not greater, but before equal ones, as an insertion into a sorted list does.
        let model = &self.model;
        let place = model
            .node_order
            .iter()
            .position(|other| values::compare_names(name, &model.node(*other).name).is_le())
            .unwrap_or(model.node_order.len());
        self.model.node_order.insert(place, index);
        Some(index)
    }

    fn read_nodes(&mut self, root: &Element, configuration: &Element) {
        let Some(section) = configuration.child("nodes") else { return };
        for element in section.children_named("node") {
            let Some(id) = element.attribute("id") else {
                self.problem("node", "a <node> without id is ignored");
                continue;
            };
            let name = element.attribute("uname").unwrap_or(id);
            let score = element.attribute("score").and_then(|text| values::score(text, &HealthScores::default()));
            let kind = element.attribute("type");
            let Some(node) = self.create_node(id, name, kind, score.unwrap_or_default()) else { return };
            self.expect_of_unseen(node);
            self.read_node_attributes(root.attribute("dc-uuid"), Some(element), node, false);
        }
    }

    /// A node whose status is not known yet is unclean, unless such are to be trusted.
    pub(crate) fn expect_of_unseen(&mut self, node: NodeIndex) {
        let startup_fencing = self.model.options.startup_fencing;
        let subject = self.model.node_mut(node);
        if subject.kind == NodeKind::Remote && subject.connection.is_none() {
            return;
        }
        subject.unclean = startup_fencing;
    }

    /// Reads the attributes of a node: permanent ones do not overwrite, transient ones do.
    pub(crate) fn read_node_attributes(
        &mut self,
        dc_id: Option<&str>,
        element: Option<&Element>,
        node: NodeIndex,
        overwrite: bool,
    ) {
        let cluster_name = self.model.options.cluster_name.clone();
        let is_dc = match self.model.dc {
            None if dc_id.is_some_and(|id| id.eq_ignore_ascii_case(&self.model.node(node).id)) => {
                self.model.dc = Some(node);
                true
            }
            dc => dc == Some(node),
        };
        let subject = self.model.node_mut(node);
        let (name, id) = (subject.name.clone(), subject.id.clone());
        subject.attributes.insert("#uname".to_owned(), name);
        subject.attributes.insert("#id".to_owned(), id);
        subject.attributes.insert("#is_dc".to_owned(), is_dc.to_string());
        if let Some(cluster_name) = &cluster_name {
            subject.attributes.insert("#cluster-name".to_owned(), cluster_name.clone());
        }
        if let Some(element) = element {
            let mut values = if overwrite { BTreeMap::new() } else { std::mem::take(&mut subject.attributes) };
            self.read_blocks(element, "instance_attributes", None, &RuleInput::default(), &mut values);
            self.model.node_mut(node).attributes.append(&mut values);
            let mut capacity = BTreeMap::new();
            self.read_blocks(element, "utilization", None, &RuleInput::default(), &mut capacity);
            let subject = self.model.node_mut(node);
            for (name, value) in capacity {
                let amount = i64::from(values::integer_from(&value, i32::MIN).unwrap_or(0));
                subject.utilization.entry(name).or_insert(amount);
            }
        }
        let subject = self.model.node_mut(node);
        if !subject.attributes.contains_key("#site-name")
            && let Some(site) = subject.attributes.get("site-name").cloned().or(cluster_name)
        {
            subject.attributes.insert("#site-name".to_owned(), site);
        }
    }

    fn read_tags(&mut self, configuration: &Element) {
        let Some(section) = configuration.child("tags") else { return };
        for tag in shared_children(section, "tag") {
            for reference in tag.children_named("obj_ref") {
                if let (Some(tag), Some(object)) = (tag.attribute("id"), reference.attribute("id")) {
                    add_reference(&mut self.model.tags, tag, object);
                } else {
                    self.problem(tag.id(), "a tag or a reference in it has no id; ignored");
                }
            }
        }
    }
}

/// Adds an id to what a tag or template stands for, once.
pub(crate) fn add_reference(table: &mut BTreeMap<String, Vec<String>>, name: &str, id: &str) {
    let ids = table.entry(name.to_owned()).or_default();
    if !ids.iter().any(|known| known == id) {
        ids.push(id.to_owned());
    }
}

/// Any resource or default that provides or requires unfencing.
fn wants_unfencing(configuration: &Element) -> bool {
    let in_resources = configuration.child("resources").into_iter().flat_map(Element::descendants);
    let in_defaults = configuration.child("rsc_defaults").into_iter().flat_map(Element::children);
    in_resources.chain(in_defaults).filter(|element| element.name() == "meta_attributes").any(|block| {
        block.children_named("nvpair").any(|pair| {
            matches!(pair.attribute("name"), Some("provides" | "requires"))
                && pair.attribute("value") == Some("unfencing")
        })
    })
}

fn interval_ms(text: &str) -> u64 {
    values::interval(text).unwrap_or(0)
}

fn read_health(reader: &mut OptionReader<'_>, options: &mut ClusterOptions) {
    let known = ["none", "custom", "only-green", "progressive", "migrate-on-red"];
    let strategy = reader.word("node-health-strategy", None, &known, "none").to_ascii_lowercase();
    options.health_strategy = match strategy.as_str() {
        "migrate-on-red" => HealthStrategy::MigrateOnRed,
        "only-green" => HealthStrategy::OnlyGreen,
        "progressive" => HealthStrategy::Progressive,
        "custom" => HealthStrategy::Custom,
        _ => HealthStrategy::None,
    };
    let mut score = |name: &str, default: &str| {
        values::score(&reader.number(name, default), &HealthScores::default()).unwrap_or_default()
    };
    options.health_base = score("node-health-base", "0");
    let red = Score::MINUS_INFINITY;
    options.health_scores = match options.health_strategy {
        HealthStrategy::None => HealthScores::default(),
        HealthStrategy::MigrateOnRed => HealthScores { red, ..HealthScores::default() },
        HealthStrategy::OnlyGreen => HealthScores { red, yellow: red, green: Score::ZERO },
        HealthStrategy::Progressive | HealthStrategy::Custom => HealthScores {
            red: score("node-health-red", "-INFINITY"),
            yellow: score("node-health-yellow", "0"),
            green: score("node-health-green", "0"),
        },
    };
}

/// Takes options by name, older name and default, and remembers the invalid ones.
struct OptionReader<'a> {
    written: &'a BTreeMap<String, String>,
    invalid: Vec<(String, String)>,
}

impl OptionReader<'_> {
    fn text(&mut self, name: &str, older: Option<&str>, valid: &dyn Fn(&str) -> bool, default: &str) -> String {
        let value = self.written.get(name).or_else(|| older.and_then(|older| self.written.get(older)));
        match value {
            Some(value) if valid(value) => value.clone(),
            Some(value) => {
                self.invalid.push((name.to_owned(), value.clone()));
                default.to_owned()
            }
            None => default.to_owned(),
        }
    }

    fn boolean(&mut self, name: &str, older: Option<&str>, default: bool) -> bool {
        let text = self.text(name, older, &|v| values::boolean(v).is_some(), if default { "true" } else { "false" });
        values::boolean(&text).unwrap_or(default)
    }

    fn interval(&mut self, name: &str, older: Option<&str>, default: &str) -> String {
        self.text(name, older, &|v| values::interval(v).is_some(), default)
    }

    fn number(&mut self, name: &str, default: &str) -> String {
        let valid = |v: &str| matches!(v, "INFINITY" | "+INFINITY" | "-INFINITY") || values::integer(v).is_some();
        self.text(name, None, &valid, default)
    }

    fn word(&mut self, name: &str, older: Option<&str>, words: &[&str], default: &str) -> String {
        self.text(name, older, &|v| words.iter().any(|word| v.eq_ignore_ascii_case(word)), default)
    }
}

fn default_options() -> ClusterOptions {
    ClusterOptions {
        written: BTreeMap::new(),
        symmetric_cluster: true,
        maintenance_mode: false,
        stop_all_resources: false,
        fencing_enabled: true,
        have_fencing: false,
        unfencing: false,
        fencing_action: "reboot".to_owned(),
        fencing_timeout: "60s".to_owned(),
        startup_fencing: true,
        concurrent_fencing: true,
        priority_fencing_delay_ms: 0,
        fence_remote_without_quorum: false,
        no_quorum_policy: NoQuorumPolicy::Stop,
        start_failure_is_fatal: true,
        startup_probes: true,
        stop_removed_resources: true,
        cancel_removed_actions: true,
        shutdown_lock: false,
        shutdown_lock_limit_ms: 0,
        node_pending_timeout_ms: 0,
        placement_strategy: PlacementStrategy::Default,
        health_strategy: HealthStrategy::None,
        health_scores: HealthScores::default(),
        health_base: Score::ZERO,
        cluster_delay: "60s".to_owned(),
        batch_limit: "0".to_owned(),
        migration_limit: "-1".to_owned(),
        cluster_name: None,
    }
}

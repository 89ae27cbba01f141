//! A small cluster in words, and its plan in words.

#![allow(dead_code, reason = "each test program uses its part")]

use expect_test::Expect;
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_scheduler::{ActionKind, Change, Plan, plan};
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// The time of all decisions.
pub(crate) const NOW: i64 = 1_700_000_000;

/// A cluster of the nodes a and b, with a fence device.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) options: &'static str,
    pub(crate) resources: &'static str,
    pub(crate) constraints: &'static str,
    /// By node: what its history knows, an operation a line: `resource agent operation[=interval] result`. The result is an
    /// exit code or `pending`.
    pub(crate) histories: Vec<(&'static str, &'static str)>,
    /// Transient attributes: node, name, value.
    pub(crate) attributes: Vec<(&'static str, &'static str, &'static str)>,
    /// Nodes that left without a word.
    pub(crate) lost: Vec<&'static str>,
    /// `<ticket_state>` elements.
    pub(crate) tickets: &'static str,
    /// This side of the cluster has no quorum.
    pub(crate) without_quorum: bool,
    /// Nodes that shall run nothing.
    pub(crate) standby: Vec<&'static str>,
}

impl Cluster {
    /// The digest of the parameters with which each resource would be started, so that histories know today's.
    fn digests(&self) -> BTreeMap<String, String> {
        if self.histories.is_empty() {
            return BTreeMap::new();
        }
        let fresh = Cluster { options: self.options, resources: self.resources, ..Cluster::default() };
        let synapses = fresh.plan().transition.synapses;
        let starts = synapses.iter().map(|synapse| &synapse.action).filter(|action| action.task == "start");
        starts
            .filter_map(|start| {
                let ActionKind::Resource { resource, .. } = &start.kind else { return None };
                let mut text = " <parameters".to_owned();
                for (name, value) in start.attributes.iter().filter(|(name, _)| !name.starts_with("CRM_meta_")) {
                    text.push_str(&format!(" {name}=\"{value}\""));
                }
                text.push_str("/>\n");
                let digest = Md5::digest(text.as_bytes());
                Some((resource.id.clone(), digest.iter().map(|byte| format!("{byte:02x}")).collect()))
            })
            .collect()
    }

    pub(crate) fn xml(&self) -> String {
        let digests = self.digests();
        let mut nodes = String::new();
        let mut states = String::new();
        for name in ["a", "b"] {
            let standby = if self.standby.contains(&name) { "on" } else { "off" };
            nodes.push_str(&format!(
                "<node id='{name}' uname='{name}'><instance_attributes id='{name}-a'>\
                 <nvpair id='{name}-s' name='standby' value='{standby}'/></instance_attributes></node>"
            ));
            let there = !self.lost.contains(&name);
            let process = if there { "online" } else { "offline" };
            states.push_str(&format!(
                "<node_state id='{name}' uname='{name}' in_ccm='{there}' crmd='{process}' join='member' \
                 expected='member'>{}</node_state>",
                self.history(name, &digests)
            ));
        }
        for (name, _) in self.histories.iter().filter(|(name, _)| !matches!(*name, "a" | "b")) {
            states.push_str(&format!(
                "<node_state id='{name}' uname='{name}' remote_node='true'>{}</node_state>",
                self.history(name, &digests)
            ));
        }
        format!(
            "<cib crm_feature_set='3.20.1' validate-with='pacemaker-4.0' epoch='1' num_updates='0' admin_epoch='0' \
             have-quorum='{}' dc-uuid='a'><configuration><crm_config><cluster_property_set id='o'>{}\
             </cluster_property_set></crm_config><nodes>{nodes}</nodes><resources>{}{FENCING}</resources>\
             <constraints>{}</constraints></configuration><status>{states}<tickets>{}</tickets></status></cib>",
            u8::from(!self.without_quorum),
            self.options,
            self.resources,
            self.constraints,
            self.tickets
        )
    }

    fn history(&self, node: &str, digests: &BTreeMap<String, String>) -> String {
        let lines = self.histories.iter().filter(|(name, _)| *name == node).flat_map(|(_, lines)| lines.lines());
        let mut resources: BTreeMap<&str, (&str, String)> = BTreeMap::new();
        for (call, line) in lines.map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [resource, agent, operation, result] = words[..] else { panic!("not a history: {line}") };
            let (operation, interval) = operation.split_once('=').unwrap_or((operation, "0"));
            let key = format!("{resource}_{operation}_{interval}");
            let (id, status, result) = match result {
                "0" => (key.clone(), 0, result),
                "pending" => (format!("{resource}_pending_0"), -1, "193"),
                _ => (format!("{resource}_last_failure_0"), 0, result),
            };
            // A recurring operation has its timeout among the parameters, a history without digest is as good.
            let digest = digests
                .get(resource)
                .filter(|_| interval == "0")
                .map(|digest| format!("op-digest='{digest}'"))
                .unwrap_or_default();
            let transition = format!("{call}:1:0:e2a4a4c6-0000-4000-8000-000000000000");
            resources.entry(resource).or_insert((agent, String::new())).1.push_str(&format!(
                "<lrm_rsc_op id='{id}' operation_key='{key}' operation='{operation}' crm_feature_set='3.20.1' \
                 transition-key='{transition}' transition-magic='{status}:{result};{transition}' exit-reason='' \
                 on_node='{node}' call-id='{}' rc-code='{result}' op-status='{status}' interval='{interval}' \
                 last-rc-change='1699990000' exec-time='1' queue-time='0' {digest}/>",
                call + 1,
            ));
        }
        let histories = resources.iter().map(|(resource, (agent, operations))| {
            let agent: Vec<&str> = agent.split(':').collect();
            let [class, provider, kind] = agent[..] else { panic!("not an agent: {agent:?}") };
            format!(
                "<lrm_resource id='{resource}' class='{class}' provider='{provider}' type='{kind}'>{operations}\
                 </lrm_resource>"
            )
        });
        let attributes = self.attributes.iter().filter(|(name, ..)| *name == node);
        let attributes =
            attributes.map(|(_, name, value)| format!("<nvpair id='{node}-{name}' name='{name}' value='{value}'/>"));
        format!(
            "<transient_attributes id='{node}'><instance_attributes id='{node}-t'>{}</instance_attributes>\
             </transient_attributes><lrm id='{node}'><lrm_resources>{}</lrm_resources></lrm>",
            attributes.collect::<String>(),
            histories.collect::<String>()
        )
    }

    pub(crate) fn plan(&self) -> Plan {
        let cib = Document::parse(&self.xml()).expect("the cluster is well-formed XML");
        plan(&cib, UnixTime::from_seconds(NOW))
    }
}

const FENCING: &str = "<primitive id='fence' class='stonith' type='fence_xvm'/>";

/// What changes, and the steps with what each waits for; probes and the fence device are left out.
pub(crate) fn told(plan: &Plan) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        match change {
            Change::Node { task, node, reason } => {
                text.push_str(&format!("{task} {node}: {}\n", reason.as_deref().unwrap_or("-")));
            }
            Change::Resource { resource, .. } if resource == "fence" => {}
            Change::Resource { verb, resource, next_role, origin, destination, blocked, .. } => {
                let from = origin.as_deref().unwrap_or("-");
                let to = destination.as_deref().unwrap_or("-");
                let blocked = if *blocked { " (blocked)" } else { "" };
                text.push_str(&format!("{} {resource} {from} -> {to} {next_role}{blocked}\n", verb.as_str()));
            }
        }
    }
    let name = |id: u32| {
        let mut actions = plan.transition.synapses.iter().map(|synapse| &synapse.action);
        let Some(action) = actions.find(|action| action.id == id) else { return Some("what never comes".to_owned()) };
        let left_out = action.key.starts_with("fence_") || action.task == "monitor";
        let node = action.node().map(|node| format!("@{}", node.name)).unwrap_or_default();
        (!left_out).then(|| format!("{}{node}", action.key))
    };
    let mut steps: Vec<String> = plan
        .transition
        .synapses
        .iter()
        .filter_map(|synapse| {
            let step = name(synapse.action.id)?;
            let mut inputs: Vec<String> = synapse.inputs.iter().filter_map(|input| name(*input)).collect();
            inputs.sort();
            Some(if inputs.is_empty() { step } else { format!("{step} after {}", inputs.join(", ")) })
        })
        .collect();
    steps.sort();
    for step in steps {
        text.push_str(&step);
        text.push('\n');
    }
    text
}

/// Holds the plan of a cluster against what is expected of it.
pub(crate) fn check(cluster: &Cluster, expected: Expect) {
    expected.assert_eq(&told(&cluster.plan()));
}

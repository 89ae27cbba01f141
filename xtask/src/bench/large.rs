//! Large clusters as CIBs, written for the measurements of the scheduler.

use std::fmt::Write as _;

/// A cluster of a size, in a situation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    /// What it is, for the table.
    pub(crate) name: &'static str,
    nodes: usize,
    resources: usize,
    kind: Kind,
    /// Whether the peer is asked to plan for it too; the largest take it minutes.
    pub(crate) paired: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Primitives of which nothing is known yet.
    FirstProbes,
    /// Anonymous clones of which nothing is known yet.
    Clones,
    /// Primitives that run, known on every node; one node was lost.
    Lost,
    /// As `Lost`, but nothing is known of nodes on which a resource does not run, and nobody asks.
    LostUnprobed,
}

/// The clusters that are measured.
pub(crate) const CLUSTERS: &[Cluster] = &[
    Cluster {
        name: "32 nodes, 1,000 primitives, first probes",
        nodes: 32,
        resources: 1000,
        kind: Kind::FirstProbes,
        paired: true,
    },
    Cluster {
        name: "32 nodes, 2,000 primitives, one node lost",
        nodes: 32,
        resources: 2000,
        kind: Kind::Lost,
        paired: true,
    },
    Cluster {
        name: "100 nodes, 100 clones, first probes",
        nodes: 100,
        resources: 100,
        kind: Kind::Clones,
        paired: true,
    },
    Cluster {
        name: "1,000 nodes, 10,000 primitives, one node lost",
        nodes: 1000,
        resources: 10_000,
        kind: Kind::LostUnprobed,
        paired: false,
    },
];

/// How time grows: with resources, and with nodes.
pub(crate) const GROWTH: &[Cluster] = &[
    Cluster {
        name: "16 nodes, 250 primitives, first probes",
        nodes: 16,
        resources: 250,
        kind: Kind::FirstProbes,
        paired: false,
    },
    Cluster {
        name: "16 nodes, 500 primitives, first probes",
        nodes: 16,
        resources: 500,
        kind: Kind::FirstProbes,
        paired: false,
    },
    Cluster {
        name: "16 nodes, 1,000 primitives, first probes",
        nodes: 16,
        resources: 1000,
        kind: Kind::FirstProbes,
        paired: false,
    },
    Cluster {
        name: "16 nodes, 2,000 primitives, first probes",
        nodes: 16,
        resources: 2000,
        kind: Kind::FirstProbes,
        paired: false,
    },
    Cluster {
        name: "64 nodes, 500 primitives, first probes",
        nodes: 64,
        resources: 500,
        kind: Kind::FirstProbes,
        paired: false,
    },
    Cluster {
        name: "128 nodes, 500 primitives, first probes",
        nodes: 128,
        resources: 500,
        kind: Kind::FirstProbes,
        paired: false,
    },
];

/// The cluster whose plan is also carried out on paper.
pub(crate) const SIMULATED: Cluster = Cluster {
    name: "16 nodes, 500 primitives, simulate -S",
    nodes: 16,
    resources: 500,
    kind: Kind::FirstProbes,
    paired: true,
};

impl Cluster {
    /// Its CIB.
    pub(crate) fn cib(&self) -> String {
        let mut text = String::from(
            "<cib crm_feature_set=\"3.16.1\" validate-with=\"pacemaker-3.9\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\" \
             have-quorum=\"1\" dc-uuid=\"1\" execution-date=\"1700000000\">\n<configuration>\n",
        );
        self.write_options(&mut text);
        text += "<nodes>\n";
        for node in 1..=self.nodes {
            _ = writeln!(text, "<node id=\"{node}\" uname=\"node{node}\"/>");
        }
        text += "</nodes>\n<resources>\n";
        if self.loses_a_node() {
            text += "<primitive id=\"fencing\" class=\"stonith\" type=\"fence_dummy\"/>\n";
        }
        for resource in 0..self.resources {
            self.write_resource(resource, &mut text);
        }
        text += "</resources>\n<constraints/>\n</configuration>\n<status>\n";
        for node in 1..=self.nodes {
            self.write_node_state(node, &mut text);
        }
        text + "</status>\n</cib>\n"
    }

    fn loses_a_node(&self) -> bool {
        matches!(self.kind, Kind::Lost | Kind::LostUnprobed)
    }

    fn write_options(&self, text: &mut String) {
        let probes = self.kind != Kind::LostUnprobed;
        _ = writeln!(
            text,
            "<crm_config><cluster_property_set id=\"options\">\
             <nvpair id=\"options-fencing\" name=\"stonith-enabled\" value=\"{}\"/>\
             <nvpair id=\"options-probes\" name=\"enable-startup-probes\" value=\"{probes}\"/>\
             </cluster_property_set></crm_config>",
            self.loses_a_node()
        );
    }

    fn write_resource(&self, resource: usize, text: &mut String) {
        let primitive = format!(
            "<primitive id=\"r{resource}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"><operations>\
             <op id=\"r{resource}-monitor\" name=\"monitor\" interval=\"10s\" timeout=\"20s\"/></operations></primitive>"
        );
        _ = match self.kind {
            Kind::Clones => writeln!(text, "<clone id=\"c{resource}\">{primitive}</clone>"),
            _ => writeln!(text, "{primitive}"),
        };
    }

    fn write_node_state(&self, node: usize, text: &mut String) {
        let lost = self.loses_a_node() && node == self.nodes;
        let (member, process, join) = if lost { ("false", "offline", "down") } else { ("true", "online", "member") };
        _ = writeln!(
            text,
            "<node_state id=\"{node}\" uname=\"node{node}\" in_ccm=\"{member}\" crmd=\"{process}\" join=\"{join}\" \
             expected=\"member\"><lrm id=\"{node}\"><lrm_resources>"
        );
        if self.loses_a_node() {
            for resource in 0..self.resources {
                self.write_history(resource, node, text);
            }
        }
        *text += "</lrm_resources></lrm></node_state>\n";
    }

    /// Each resource runs on one node; the others were asked.
    fn write_history(&self, resource: usize, node: usize, text: &mut String) {
        let runs = resource % self.nodes + 1 == node;
        if !runs && self.kind == Kind::LostUnprobed {
            return;
        }
        _ = writeln!(text, "<lrm_resource id=\"r{resource}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\">");
        let owner = "00000000-0000-4000-8000-000000000000";
        let mut entry = |id: &str, task: &str, interval: usize, call: usize, expected: usize| {
            _ = writeln!(
                text,
                "<lrm_rsc_op id=\"r{resource}_{id}\" operation_key=\"r{resource}_{task}_{interval}\" operation=\"{task}\" \
                 crm_feature_set=\"3.16.1\" transition-key=\"1:1:{expected}:{owner}\" \
                 transition-magic=\"0:{expected};1:1:{expected}:{owner}\" on_node=\"node{node}\" call-id=\"{call}\" \
                 rc-code=\"{expected}\" op-status=\"0\" interval=\"{interval}\" last-rc-change=\"1600000000\"/>"
            );
        };
        if runs {
            entry("last_0", "start", 0, 3 * resource + 2, 0);
            entry("monitor_10000", "monitor", 10_000, 3 * resource + 3, 0);
        } else {
            entry("last_0", "monitor", 0, 3 * resource + 1, 7);
        }
        *text += "</lrm_resource>\n";
    }
}

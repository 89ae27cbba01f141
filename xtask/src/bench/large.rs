//! Large clusters as CIBs, written for the measurements of the scheduler.

use std::fmt::Write as _;

/// A cluster of a size, in a situation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: usize,
    pub(crate) resources: usize,
    kind: Kind,
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

/// A cluster for which there is a target.
pub(crate) struct Target {
    pub(crate) cluster: Cluster,
    /// Seconds for reading and planning.
    pub(crate) seconds: f64,
    /// MiB.
    pub(crate) memory: Option<u64>,
    /// Whether the peer is asked to plan for it too; the largest take it minutes.
    pub(crate) paired: bool,
    /// What Pacemaker 3.0.2 needed, on another machine.
    pub(crate) reference: &'static str,
}

/// The clusters that have targets.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        cluster: Cluster::of(32, 1000, Kind::FirstProbes),
        seconds: 0.3,
        memory: Some(100),
        paired: true,
        reference: "11.6 s, 385 MB",
    },
    Target {
        cluster: Cluster::of(32, 2000, Kind::Lost),
        seconds: 0.2,
        memory: None,
        paired: true,
        reference: "4.2 s, 967 MB",
    },
    Target {
        cluster: Cluster::of(100, 100, Kind::Clones),
        seconds: 0.5,
        memory: None,
        paired: true,
        reference: "12.5 s",
    },
    Target {
        cluster: Cluster::of(1000, 10_000, Kind::LostUnprobed),
        seconds: 2.0,
        memory: Some(1024),
        paired: false,
        reference: "not known",
    },
];

/// The cluster whose plan is also carried out on paper.
pub(crate) const SIMULATED: Cluster = Cluster::of(16, 500, Kind::FirstProbes);

/// Clusters of which each is twice the one before.
pub(crate) struct Series {
    pub(crate) smallest: Cluster,
    /// Nodes are doubled, and not resources.
    pub(crate) of_nodes: bool,
    pub(crate) sizes: usize,
}

/// How time grows.
pub(crate) const SERIES: &[Series] = &[
    Series { smallest: Cluster::of(16, 250, Kind::FirstProbes), of_nodes: false, sizes: 5 },
    Series { smallest: Cluster::of(16, 250, Kind::FirstProbes), of_nodes: true, sizes: 4 },
    Series { smallest: Cluster::of(16, 250, Kind::Lost), of_nodes: false, sizes: 5 },
    Series { smallest: Cluster::of(16, 250, Kind::Lost), of_nodes: true, sizes: 4 },
    Series { smallest: Cluster::of(100, 1250, Kind::LostUnprobed), of_nodes: false, sizes: 4 },
    Series { smallest: Cluster::of(25, 50, Kind::Clones), of_nodes: false, sizes: 4 },
    Series { smallest: Cluster::of(25, 50, Kind::Clones), of_nodes: true, sizes: 4 },
];

impl Series {
    /// The clusters with what is doubled of each.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = (usize, Cluster)> + '_ {
        (0..self.sizes).map(|doublings| {
            let mut cluster = self.smallest;
            let count = if self.of_nodes { &mut cluster.nodes } else { &mut cluster.resources };
            *count <<= doublings;
            (*count, cluster)
        })
    }
}

impl Cluster {
    const fn of(nodes: usize, resources: usize, kind: Kind) -> Self {
        Self { nodes, resources, kind }
    }

    /// What it is.
    pub(crate) fn name(&self) -> String {
        let what = match self.kind {
            Kind::FirstProbes => "primitives, first probes",
            Kind::Clones => "clones, first probes",
            Kind::Lost => "primitives, one node lost",
            Kind::LostUnprobed => "primitives without probes, one node lost",
        };
        format!("{} nodes × {} {what}", self.nodes, self.resources)
    }

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

//! What happens to the machines, and what must be so afterwards.

mod agents;
mod booth;
mod busy;
mod database;
mod figures;
mod links;
mod parts;
mod power;
mod site_faults;
mod sites;

use crate::boothd::BOOTHD;
use crate::lab::{Boothd, Lab, Lease, Plan};
use anyhow::Result;
use std::thread;
use std::time::Duration;

/// A story with a cluster of its own.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Files without which it can not be played.
    pub(crate) needs: &'static [&'static str],
    pub(crate) plan: Plan,
    /// Plays it; a note with what it measured.
    pub(crate) play: fn(&mut Lab) -> Result<String>,
}

const IPADDR2: &str = "/usr/lib/ocf/resource.d/heartbeat/IPaddr2";
const NGINX: &str = "/usr/sbin/nginx";
const IPTABLES: &str = "/usr/sbin/iptables";
const USUAL: Plan = Plan { nodes: 3, links: 1, small_disk: None, sites: None, boothd: Boothd::Nowhere };
const SITES: Plan = sites_with(4, 2);

/// Two sites whose ticket lasts for so many seconds, with so many for stopping.
const fn sites_with(expire: u64, stop_time: u64) -> Plan {
    Plan { nodes: 2, sites: Some(lease_of(expire, stop_time)), ..USUAL }
}

const fn lease_of(expire: u64, stop_time: u64) -> Lease {
    let (expire, stop_time) = (Duration::from_secs(expire), Duration::from_secs(stop_time));
    Lease { expire, stop_time, in_configuration: false }
}

/// All of them, the simple ones first.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "service-starts", needs: &[], plan: USUAL, play: power::service_starts },
    Scenario { name: "power-cut", needs: &[], plan: USUAL, play: power::cut },
    Scenario { name: "power-cut-of-the-leader", needs: &[], plan: USUAL, play: power::cut_of_the_leader },
    Scenario { name: "power-cut-of-two-nodes", needs: &[], plan: Plan { nodes: 2, ..USUAL }, play: power::cut },
    Scenario { name: "nginx-behind-ipaddr2", needs: &[IPADDR2, NGINX], plan: USUAL, play: power::nginx },
    Scenario {
        name: "filesystem-on-a-loop-device",
        needs: &["/usr/sbin/mkfs.ext4", "/usr/sbin/modprobe", "/dev/loop-control"],
        plan: USUAL,
        play: power::filesystem,
    },
    Scenario {
        name: "postgresql",
        needs: &["/usr/lib/ocf/resource.d/heartbeat/pgsql", database::POSTGRES],
        plan: USUAL,
        play: database::replication,
    },
    Scenario {
        name: "postmaster-killed",
        needs: &["/usr/lib/ocf/resource.d/heartbeat/pgsql", database::POSTGRES],
        plan: USUAL,
        play: database::postmaster_killed,
    },
    Scenario { name: "links-cut", needs: &[], plan: USUAL, play: links::all_cut },
    Scenario { name: "one-link-of-two-cut", needs: &[], plan: Plan { links: 2, ..USUAL }, play: links::one_of_two_cut },
    Scenario { name: "partition", needs: &[IPTABLES], plan: USUAL, play: links::partition },
    Scenario {
        name: "partition-service-on-the-majority",
        needs: &[IPTABLES],
        plan: USUAL,
        play: links::partition_without_loss,
    },
    Scenario {
        name: "split-of-two-nodes",
        needs: &[IPTABLES],
        plan: Plan { nodes: 2, ..USUAL },
        play: links::split_of_two,
    },
    Scenario { name: "all-cores-busy", needs: &[], plan: USUAL, play: busy::all_cores },
    Scenario { name: "agent-hangs", needs: &[], plan: USUAL, play: agents::hangs },
    Scenario { name: "start-hangs", needs: &[], plan: USUAL, play: agents::start_hangs },
    Scenario { name: "stop-hangs", needs: &[], plan: USUAL, play: agents::stop_hangs },
    Scenario { name: "agent-fails-to-stop", needs: &[], plan: USUAL, play: agents::fails_to_stop },
    Scenario { name: "process-dies", needs: &[], plan: USUAL, play: agents::process_dies },
    Scenario { name: "node-process-killed", needs: &[], plan: USUAL, play: parts::node_killed },
    Scenario { name: "executor-killed", needs: &[], plan: USUAL, play: parts::executor_killed },
    Scenario { name: "node-process-gone", needs: &[], plan: USUAL, play: parts::node_gone },
    Scenario { name: "node-and-executor-gone", needs: &[], plan: USUAL, play: parts::both_gone },
    Scenario {
        name: "disk-full",
        needs: &[],
        plan: Plan { small_disk: Some(parts::SMALL_DISK), ..USUAL },
        play: parts::disk_full,
    },
    Scenario { name: "site-power-cut", needs: &[], plan: SITES, play: sites::power_cut },
    Scenario { name: "site-power-cut-short-lease", needs: &[], plan: sites_with(2, 1), play: sites::power_cut },
    Scenario { name: "site-power-cut-long-lease", needs: &[], plan: sites_with(10, 2), play: sites::power_cut },
    Scenario {
        name: "site-postgresql",
        needs: &["/usr/lib/ocf/resource.d/heartbeat/pgsql", database::POSTGRES],
        plan: sites_with(4, 5),
        play: sites::database_behind_the_ticket,
    },
    Scenario {
        name: "site-group-in-the-configuration",
        needs: &[],
        plan: Plan { sites: Some(Lease { in_configuration: true, ..lease_of(4, 2) }), ..SITES },
        play: sites::group_in_the_configuration,
    },
    Scenario { name: "site-cut-off", needs: &[IPTABLES], plan: SITES, play: sites::cut_off },
    Scenario { name: "site-node-hangs", needs: &[], plan: SITES, play: sites::node_hangs },
    Scenario { name: "site-all-nodes-hang", needs: &[], plan: SITES, play: sites::all_nodes_hang },
    Scenario { name: "site-cannot-run-it", needs: &[], plan: SITES, play: sites::cannot_run_it },
    Scenario { name: "site-planned-move", needs: &[], plan: SITES, play: sites::planned_move },
    Scenario {
        name: "site-boothd-arbitrator",
        needs: &[BOOTHD],
        plan: Plan { boothd: Boothd::Arbitrator, ..SITES },
        play: booth::arbitrator,
    },
    Scenario {
        name: "site-two-boothds",
        needs: &[BOOTHD, IPTABLES],
        plan: Plan { boothd: Boothd::Sites, nodes: 1, ..SITES },
        play: booth::sites,
    },
    Scenario {
        name: "site-boothds-beside-clusters",
        needs: &[BOOTHD, IPTABLES],
        plan: Plan { boothd: Boothd::Clusters, nodes: 1, ..SITES },
        play: booth::clusters,
    },
    Scenario { name: "site-agents-fail", needs: &[], plan: SITES, play: site_faults::agents_fail },
    Scenario {
        name: "site-link-between-sites-cut",
        needs: &[IPTABLES],
        plan: SITES,
        play: site_faults::link_between_sites_cut,
    },
    Scenario { name: "site-move-rolls-back", needs: &[], plan: SITES, play: site_faults::move_rolls_back },
    Scenario { name: "site-all-nodes-killed", needs: &[], plan: SITES, play: site_faults::all_nodes_killed },
    Scenario {
        name: "site-several-addresses",
        needs: &[],
        plan: Plan { links: 2, ..SITES },
        play: site_faults::several_addresses,
    },
];

/// What only the benchmark plays, by its whole name.
pub(crate) const FIGURES: &[Scenario] = &[
    Scenario { name: "figure-takeover", needs: &[], plan: sites_with(10, 2), play: figures::takeover },
    Scenario { name: "figure-takeover-short-lease", needs: &[], plan: sites_with(2, 1), play: figures::takeover },
    Scenario {
        name: "figure-takeover-boothd",
        needs: &[BOOTHD],
        plan: Plan { boothd: Boothd::Sites, nodes: 1, ..sites_with(10, 2) },
        play: figures::takeover_of_boothd,
    },
    Scenario { name: "figure-move", needs: &[], plan: SITES, play: figures::planned_move },
    Scenario { name: "figure-idle", needs: &[], plan: sites_with(10, 2), play: figures::idle },
    Scenario { name: "figure-idle-short-lease", needs: &[], plan: sites_with(2, 1), play: figures::idle },
];

/// Why a scenario can not be played on this machine.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// The address of the service.
const SERVICE: &str = "10.77.0.100";
/// Its page.
const PAGE: &str = "http://10.77.0.100:8080/";
const FENCING: &[(&str, &str)] = &[("fencing-enabled", "true")];

/// An address, and a server that answers with the name of its node, from agents of ours.
fn web() -> String {
    format!(
        r#"<group id="web">
            <primitive id="address" class="ocf" provider="hakudo" type="Address">
                <instance_attributes id="address-parameters">
                    <nvpair id="address-ip" name="ip" value="{SERVICE}/24"/>
                    <nvpair id="address-nic" name="nic" value="eth0"/>
                </instance_attributes>
                <operations><op id="address-monitor" name="monitor" interval="1s" timeout="10s"/></operations>
            </primitive>
            <primitive id="server" class="ocf" provider="hakudo" type="Http">
                <instance_attributes id="server-parameters"><nvpair id="server-port" name="port" value="8080"/></instance_attributes>
                <operations><op id="server-monitor" name="monitor" interval="1s" timeout="10s"/></operations>
            </primitive>
        </group>"#
    )
}

/// The service's address by Debian's agent, looked at every so many seconds.
fn ipaddr2(interval: u32) -> String {
    format!(
        r#"<primitive id="address" class="ocf" provider="heartbeat" type="IPaddr2">
            <instance_attributes id="address-parameters">
                <nvpair id="address-ip" name="ip" value="{SERVICE}"/>
                <nvpair id="address-prefix" name="cidr_netmask" value="24"/>
                <nvpair id="address-nic" name="nic" value="eth0"/>
            </instance_attributes>
            <operations><op id="address-monitor" name="monitor" interval="{interval}s" timeout="20s"/></operations>
        </primitive>"#
    )
}

/// Watches that an address is never on two machines at once, while something happens.
fn never_twice<T>(lab: &mut Lab, during: impl FnOnce(&mut Lab) -> Result<T>) -> Result<T> {
    use std::sync::atomic::{AtomicBool, Ordering};
    let namespaces: Vec<String> = lab.names().iter().map(|node| lab.network.namespace(node)).collect();
    let (over, seen) = (AtomicBool::new(false), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // One look at all of them is not one moment: only what stays is a fault.
                if holders(&namespaces) > 1 && holders(&namespaces) > 1 {
                    seen.store(true, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let result = during(lab);
        over.store(true, Ordering::Relaxed);
        result
    });
    anyhow::ensure!(!seen.load(Ordering::Relaxed), "{SERVICE} was on two machines at the same time");
    result
}

fn holders(namespaces: &[String]) -> usize {
    let has = |namespace: &&String| {
        crate::shell::run(&["ip", "-n", namespace, "-o", "address"])
            .is_ok_and(|text| text.contains(&format!(" {SERVICE}/")))
    };
    namespaces.iter().filter(has).count()
}

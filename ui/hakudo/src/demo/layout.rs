//! Where the demo keeps its files, and what is in them.

use super::network;
use super::sites;
use anyhow::{Context, Result, bail};
use hakudo_node::config::{NodeConfig, NodeEntry};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the demo is made of. It stands in the demo's folder, for the processes that are its machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    /// How many nodes each site has.
    pub(super) nodes: u8,
    /// Two sites and an arbitrator share a ticket; there is one cluster otherwise.
    pub(super) sites: bool,
    /// The nodes share the machine's loopback network, and have none of their own.
    pub(super) loopback: bool,
}

/// A cluster of the demo.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Its name.
    pub(super) name: String,
    /// Its nodes, by name.
    pub(super) nodes: Vec<String>,
}

/// The folder of a demo.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The folder.
    pub(super) folder: PathBuf,
    /// This program.
    pub(super) program: PathBuf,
    /// The clusters: one, or two that share a ticket.
    pub(super) sites: Vec<Site>,
    /// The machine that only votes on the ticket, where there is one.
    pub(super) arbitrator: Option<String>,
    /// What all of it follows from.
    pub(super) shape: Shape,
}

/// The agents that the demo uses, by their kind: a folder under the demo's own, and the verb's argument.
const AGENTS: &[(&str, &str)] = &[
    ("ocf/resource.d/hakudo/Address", "Address"),
    ("ocf/resource.d/hakudo/Http", "Http"),
    ("ocf/resource.d/hakudo/Dummy", "Dummy"),
    ("ocf/resource.d/hakudo/Stateful", "Stateful"),
    ("fence/fence_hakudo_process", "fence_hakudo_process"),
];

/// The file in the demo's folder that says what the demo is made of.
const SHAPE: &str = "demo.json";

fn folder() -> PathBuf {
    match std::env::var_os("HAKUDO_DEMO") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(format!("/tmp/hakudo-demo-{}", rustix::process::getuid().as_raw())),
    }
}

/// Removes what an earlier demo left. Anything else that is there stays: the folder is named by the user.
fn clear(folder: &Path) -> Result<()> {
    let Ok(there) = fs::symlink_metadata(folder) else { return Ok(()) };
    let name = folder.display();
    let elsewhere = "name another one in HAKUDO_DEMO, or remove it yourself";
    if !there.is_dir() {
        bail!("{name} is no folder, and the demo needs one of its own: {elsewhere}");
    }
    if there.uid() != rustix::process::geteuid().as_raw() {
        bail!("{name} belongs to another user: {elsewhere}");
    }
    let shape = fs::read_to_string(folder.join(SHAPE)).ok();
    let is_a_demos = shape.is_some_and(|text| serde_json::from_str::<Shape>(&text).is_ok());
    let is_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if !is_a_demos && !is_empty {
        bail!("{name} is no folder of a demo (it has no {SHAPE} of one), and nothing in it was touched: {elsewhere}");
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {name}"))
}

impl Layout {
    /// The demo of this user.
    pub(super) fn of_this_user(shape: Shape) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let site = |name: &str, letter: char| Site {
            name: name.to_owned(),
            nodes: (1..=shape.nodes).map(|number| format!("{letter}{number}")).collect(),
        };
        let sites = match shape.sites {
            true => vec![site("east", 'e'), site("west", 'w')],
            false => vec![site("demo", 'n')],
        };
        let arbitrator = shape.sites.then(|| "arbiter".to_owned());
        Ok(Self { folder: folder(), program, sites, arbitrator, shape })
    }

    /// The demo whose folder is there.
    pub(super) fn that_was_written() -> Result<Self> {
        let file = folder().join(SHAPE);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::of_this_user(serde_json::from_str(&text)?)
    }

    /// All nodes, of all sites.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &String> {
        self.sites.iter().flat_map(|site| &site.nodes)
    }

    /// All that has power: nodes, and the arbitrator.
    pub(super) fn machines(&self) -> Vec<String> {
        self.nodes().chain(&self.arbitrator).cloned().collect()
    }

    /// The site of a node.
    pub(super) fn site_of(&self, node: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.nodes.iter().any(|one| one == node))
    }

    /// Makes the folder anew with all that the nodes need.
    pub(super) fn write(&self) -> Result<()> {
        clear(&self.folder)?;
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        // First of all, so that the folder is known to be a demo's even if the rest fails.
        fs::write(self.folder.join(SHAPE), serde_json::to_string(&self.shape)?)?;
        for (file, agent) in AGENTS {
            let file = self.folder.join(file);
            fs::create_dir_all(file.parent().context("an agent lies in a folder")?)?;
            let text = format!("#!/bin/sh\nexec '{}' agent {agent} \"$@\"\n", self.program.display());
            fs::write(&file, text)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        let mut key = [0u8; 32];
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
        fs::write(self.key(), key)?;
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600))?;
        for machine in self.machines() {
            fs::create_dir_all(self.node(&machine))?;
        }
        for site in &self.sites {
            for node in &site.nodes {
                fs::write(self.config(node), serde_json::to_string_pretty(&self.node_config(site, node)?)?)?;
            }
        }
        if let Some(arbitrator) = &self.arbitrator {
            sites::write(self, arbitrator)?;
        }
        Ok(())
    }

    fn node_config(&self, site: &Site, node: &str) -> Result<NodeConfig> {
        let mut nodes = Vec::new();
        for (number, name) in (1..).zip(&site.nodes) {
            nodes.push(NodeEntry {
                id: number,
                name: name.clone(),
                addresses: vec![IpAddr::V4(self.address(name)?)],
                votes: 1,
            });
        }
        let mut config = NodeConfig::new(&site.name, node, nodes);
        config.key_file = self.key();
        config.state_dir = self.node(node).join("state");
        config.runtime_dir = self.runtime(node);
        config.ocf_roots = vec![self.folder.join("ocf")];
        config.fence_dirs = vec![self.folder.join("fence")];
        if self.arbitrator.is_some() {
            config.tickets = Some(sites::own(self, &site.nodes[0], node)?);
        }
        config.check()?;
        Ok(config)
    }

    /// The address of a machine.
    pub(super) fn address(&self, machine: &str) -> Result<Ipv4Addr> {
        let at = self.machines().iter().position(|one| one == machine);
        let at = at.with_context(|| format!("there is no machine {machine}"))?;
        Ok(network::address(self.prefix(), u8::try_from(at + 1)?))
    }

    /// The network of the demo. On the loopback network, a corner of it that belongs to the demo's folder, so that two
    /// demos do not meet.
    fn prefix(&self) -> [u8; 3] {
        if !self.shape.loopback {
            return network::PREFIX;
        }
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for byte in self.folder.as_os_str().as_encoded_bytes() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let [a, b, ..] = hash.to_be_bytes();
        // 127.0.0 is where everybody else is.
        [127, a | 1, b]
    }

    /// Where the service answers. Only root may listen on port 80 of the machine's own network.
    pub(super) fn service(&self) -> SocketAddrV4 {
        SocketAddrV4::new(
            network::address(self.prefix(), network::SERVICE),
            if self.shape.loopback { 8078 } else { 80 },
        )
    }

    /// The service as a person types it.
    pub(super) fn url(&self) -> String {
        match self.service().port() {
            80 => format!("http://{}/", self.service().ip()),
            _ => format!("http://{}/", self.service()),
        }
    }

    /// The address that moves with the service; none where all nodes have it.
    fn service_address(&self) -> String {
        if self.shape.loopback {
            return String::new();
        }
        format!(
            r#"<primitive id="web-address" class="ocf" provider="hakudo" type="Address">
        <instance_attributes id="web-address-params">
          <nvpair id="web-address-ip" name="ip" value="{}"/>
          <nvpair id="web-address-prefix" name="cidr_netmask" value="24"/>
          <nvpair id="web-address-nic" name="nic" value="{}"/>
        </instance_attributes>
        <operations><op id="web-address-monitor" name="monitor" interval="5s" timeout="10s"/>{}</operations>
      </primitive>
      "#,
            self.service().ip(),
            network::INTERFACE,
            self.stop_operation("web-address"),
        )
    }

    /// A site says how long it needs to stop what depends on the ticket.
    fn stop_operation(&self, primitive: &str) -> String {
        match &self.arbitrator {
            Some(_) => sites::stop_operation(primitive),
            None => String::new(),
        }
    }

    /// The key of the cluster, and of the sites' group.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// The folder of a node.
    pub(super) fn node(&self, node: &str) -> PathBuf {
        self.folder.join(node)
    }

    /// The configuration of a node.
    pub(super) fn config(&self, node: &str) -> PathBuf {
        self.node(node).join("cluster.json")
    }

    /// What the daemons of a node say.
    pub(super) fn log(&self, node: &str) -> PathBuf {
        self.node(node).join("log")
    }

    /// What a node keeps only while it is on.
    pub(super) fn runtime(&self, node: &str) -> PathBuf {
        self.node(node).join("run")
    }

    /// The socket of a node.
    pub(super) fn socket(&self, node: &str) -> PathBuf {
        self.runtime(node).join("node.sock")
    }

    /// The socket on which the demo takes orders.
    pub(super) fn control(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// The folder in which fencing finds the power switch of each node.
    pub(super) fn power(&self) -> PathBuf {
        self.folder.join("power")
    }

    /// The configuration of a cluster of the demo.
    pub(super) fn configuration(&self, site: &Site) -> String {
        let hosts = site.nodes.join(" ");
        let nodes: String =
            (1..).zip(&site.nodes).map(|(id, name)| format!("<node id=\"{id}\" uname=\"{name}\"/>")).collect();
        format!(
            r#"<configuration>
  <crm_config>
    <cluster_property_set id="cib-bootstrap-options">
      <nvpair id="cib-bootstrap-options-cluster-name" name="cluster-name" value="{name}"/>
      <nvpair id="cib-bootstrap-options-fencing-enabled" name="fencing-enabled" value="true"/>
    </cluster_property_set>
  </crm_config>
  <nodes>{nodes}</nodes>
  <resources>
    <primitive id="power" class="stonith" type="fence_hakudo_process">
      <instance_attributes id="power-params">
        <nvpair id="power-hosts" name="pcmk_host_list" value="{hosts}"/>
        <nvpair id="power-state" name="state" value="{power}"/>
      </instance_attributes>
      <operations><op id="power-monitor" name="monitor" interval="60s" timeout="10s"/></operations>
    </primitive>
    <group id="web">
      {address}<primitive id="web-server" class="ocf" provider="hakudo" type="Http">
        <instance_attributes id="web-server-params">
          <nvpair id="web-server-address" name="address" value="{ip}"/>
          <nvpair id="web-server-port" name="port" value="{port}"/>
        </instance_attributes>
        <operations><op id="web-server-monitor" name="monitor" interval="1s" timeout="10s"/>{stop}</operations>
      </primitive>
    </group>
    <clone id="workers">
      <primitive id="worker" class="ocf" provider="hakudo" type="Dummy">
        <operations><op id="worker-monitor" name="monitor" interval="10s" timeout="10s"/></operations>
      </primitive>
    </clone>
    <clone id="store">
      <meta_attributes id="store-meta"><nvpair id="store-promotable" name="promotable" value="true"/></meta_attributes>
      <primitive id="storage" class="ocf" provider="hakudo" type="Stateful">
        <operations>
          <op id="storage-monitor-promoted" name="monitor" interval="9s" timeout="10s" role="Promoted"/>
          <op id="storage-monitor" name="monitor" interval="10s" timeout="10s" role="Unpromoted"/>
        </operations>
      </primitive>
    </clone>
  </resources>
  <constraints>{ticket}</constraints>
  <rsc_defaults>
    <meta_attributes id="rsc-options">
      <nvpair id="rsc-options-resource-stickiness" name="resource-stickiness" value="1"/>
    </meta_attributes>
  </rsc_defaults>
</configuration>"#,
            name = site.name,
            ticket = if self.arbitrator.is_some() { sites::NEEDS_THE_TICKET } else { "" },
            stop = self.stop_operation("web-server"),
            power = self.power().display(),
            address = self.service_address(),
            ip = self.service().ip(),
            port = self.service().port(),
        )
    }
}

/// What a path is called when a person is told of it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demos_own_folder_is_made_anew() {
        let root = std::env::temp_dir().join(format!("hakudo-layout-{}", std::process::id()));
        let precious = root.join("precious");
        fs::create_dir_all(&precious).unwrap();
        fs::write(precious.join("thesis"), "years of work").unwrap();
        let shape = Shape { nodes: 1, sites: false, loopback: true };
        let layout = |folder: &Path| Layout { folder: folder.to_owned(), ..Layout::of_this_user(shape).unwrap() };

        let refused = layout(&precious).write().unwrap_err().to_string();
        assert!(refused.contains("is no folder of a demo"), "{refused}");
        fs::write(precious.join(SHAPE), "{}").unwrap();
        assert!(layout(&precious).write().is_err());
        assert_eq!(fs::read_to_string(precious.join("thesis")).unwrap(), "years of work");
        // Neither what a link leads to, nor a file.
        std::os::unix::fs::symlink(&precious, root.join("link")).unwrap();
        assert!(layout(&root.join("link")).write().is_err());
        assert!(layout(&precious.join("thesis")).write().is_err());
        assert!(root.join("link").exists() && precious.join("thesis").exists());

        let own = root.join("own");
        fs::create_dir(&own).unwrap();
        layout(&own).write().unwrap();
        fs::write(own.join("old"), "of the last demo").unwrap();
        layout(&own).write().unwrap();
        assert!(own.join(SHAPE).exists() && !own.join("old").exists());
        fs::remove_dir_all(root).unwrap();
    }
}

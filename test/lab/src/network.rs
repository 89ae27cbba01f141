//! The cables of a lab: a network namespace with a switch for each link, and one for each node, joined by veth pairs.
//!
//! A cut is made at the switch, so that the node does not see its carrier go: it has to notice the silence. (A carrier
//! that goes is the easier case.) Partitions between some nodes are made with packet filters in the nodes.

use crate::shell;
use anyhow::{Context, Result};
use std::net::Ipv4Addr;

/// The networks of one lab. Its namespaces have names of its own, so that several can live at once.
#[derive(Debug)]
pub(crate) struct Network {
    prefix: String,
    nodes: Vec<String>,
    links: u8,
}

impl Network {
    /// Makes switches and cables for these nodes.
    pub(crate) fn new(nodes: &[String], links: u8) -> Result<Self> {
        let network = Self { prefix: format!("hklab{}", std::process::id()), nodes: nodes.to_vec(), links };
        let switch = network.switch();
        shell::run(&["ip", "netns", "add", &switch])?;
        shell::run(&["ip", "-n", &switch, "link", "set", "lo", "up"])?;
        for link in 0..links {
            let bridge = bridge(link);
            shell::run(&["ip", "-n", &switch, "link", "add", &bridge, "type", "bridge"])?;
            shell::run(&["ip", "-n", &switch, "link", "set", &bridge, "up"])?;
            let address = format!("{}/24", Ipv4Addr::new(10, 77, link, 254));
            shell::run(&["ip", "-n", &switch, "address", "add", &address, "dev", &bridge])?;
        }
        for node in nodes {
            network.make_namespace(node)?;
        }
        Ok(network)
    }

    fn make_namespace(&self, node: &str) -> Result<()> {
        let (switch, namespace) = (self.switch(), self.namespace(node));
        shell::run(&["ip", "netns", "add", &namespace])?;
        shell::run(&["ip", "-n", &namespace, "link", "set", "lo", "up"])?;
        for link in 0..self.links {
            let (port, interface) = (port(node, link), interface(link));
            shell::run(&[
                "ip", "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", &interface, "netns",
                &namespace,
            ])?;
            shell::run(&["ip", "-n", &switch, "link", "set", &port, "master", &bridge(link), "up"])?;
        }
        self.give_addresses(node)
    }

    /// The addresses that a machine has after it was switched on, and nothing that a service left.
    pub(crate) fn give_addresses(&self, node: &str) -> Result<()> {
        let namespace = self.namespace(node);
        for link in 0..self.links {
            let interface = interface(link);
            let address = format!("{}/24", self.address(node, link)?);
            shell::run(&["ip", "-n", &namespace, "address", "flush", "dev", &interface])?;
            shell::run(&["ip", "-n", &namespace, "address", "add", &address, "dev", &interface])?;
            shell::run(&["ip", "-n", &namespace, "link", "set", &interface, "up"])?;
        }
        Ok(())
    }

    /// The namespace of the switches, where clients live.
    pub(crate) fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    /// The namespace of a node.
    pub(crate) fn namespace(&self, node: &str) -> String {
        format!("{}-{node}", self.prefix)
    }

    /// The address of a node on a link.
    pub(crate) fn address(&self, node: &str, link: u8) -> Result<Ipv4Addr> {
        let at = self.nodes.iter().position(|name| name == node).with_context(|| format!("there is no node {node}"))?;
        Ok(Ipv4Addr::new(10, 77, link, u8::try_from(at + 1)?))
    }

    /// The number of links of each node.
    pub(crate) fn links(&self) -> u8 {
        self.links
    }

    /// Takes the addresses of a node away: a command for the shell, for whoever switches it off.
    ///
    /// It works from within a machine, whose own `/run` hides the names of the namespaces: the power switch stands
    /// outside, where this program is.
    pub(crate) fn down_command(&self, node: &str) -> String {
        let outside = format!("nsenter --mount --target {} --", std::process::id());
        let flush = |link| format!("{outside} ip -n {} address flush dev {}", self.namespace(node), interface(link));
        (0..self.links).map(flush).collect::<Vec<_>>().join(" && ")
    }

    /// Cuts one link of a node.
    pub(crate) fn cut(&self, node: &str, link: u8) -> Result<()> {
        shell::run(&["ip", "-n", &self.switch(), "link", "set", &port(node, link), "down"]).map(drop)
    }

    /// Cuts all links of a node.
    pub(crate) fn cut_all(&self, node: &str) -> Result<()> {
        (0..self.links).try_for_each(|link| self.cut(node, link))
    }

    /// Mends all links of a node.
    pub(crate) fn heal(&self, node: &str) -> Result<()> {
        for link in 0..self.links {
            shell::run(&["ip", "-n", &self.switch(), "link", "set", &port(node, link), "up"])?;
        }
        Ok(())
    }

    /// Lets no packet pass between nodes of different groups.
    pub(crate) fn partition(&self, groups: &[&[&str]]) -> Result<()> {
        for (at, group) in groups.iter().enumerate() {
            let others =
                groups.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, group)| group.iter());
            for (node, other) in others.flat_map(|other| group.iter().map(move |node| (node, other))) {
                for link in 0..self.links {
                    let from = self.address(other, link)?.to_string();
                    let namespace = self.namespace(node);
                    shell::run(&[
                        "ip", "netns", "exec", &namespace, "iptables", "-A", "INPUT", "-s", &from, "-j", "DROP",
                    ])?;
                }
            }
        }
        Ok(())
    }

    /// Takes all packet filters away.
    pub(crate) fn join(&self) -> Result<()> {
        for node in &self.nodes {
            shell::run(&["ip", "netns", "exec", &self.namespace(node), "iptables", "-F", "INPUT"])?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.nodes.iter().map(|node| self.namespace(node)).chain([self.switch()]) {
            // What is not there any more needs no removing.
            let _ = shell::output(&["ip", "netns", "delete", &namespace]);
        }
    }
}

fn bridge(link: u8) -> String {
    format!("net{link}")
}

fn port(node: &str, link: u8) -> String {
    format!("{node}-{link}")
}

fn interface(link: u8) -> String {
    format!("eth{link}")
}

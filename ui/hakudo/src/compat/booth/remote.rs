//! Asking a member by TCP, as booth's client does: for another site or another group, and where no member runs here.
//!
//! Only groups that speak booth's protocol answer so. Each question has a connection of its own.

use crate::exit::{Exit, Failure};
use hakudo_link::setup::{self, Own, Wire};
use hakudo_tickets::Protocol;
use hakudo_tickets::booth::config::{Group, Kind};
use hakudo_tickets::booth::member::BoothSetup;
use hakudo_tickets::booth::seal;
use hakudo_tickets::booth::wire::{Body, Command, Envelope, Flags, HEADER, Message, Outcome, Reason, SiteId, Stamp};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A site that cannot be reached in this time is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// A question for what is known is answered at once.
const ANSWER: Duration = Duration::from_secs(10);

/// The members of a group, as a client needs to know them.
pub(super) struct Remote {
    setup: BoothSetup,
    /// The member whose configuration this is, if this machine is one of its.
    local: Option<usize>,
}

/// A connection that has asked.
pub(super) struct Question<'a> {
    remote: &'a Remote,
    stream: TcpStream,
    name: String,
}

impl Remote {
    /// The group of a configuration that was read without a mistake.
    ///
    /// # Errors
    /// Where it is none of booth's protocol, a member has no address, or the key cannot be read.
    pub(super) fn of(config: &Path, group: &Group) -> Result<Self, Failure> {
        let wrong = |error: anyhow::Error| Failure::new(Exit::ERROR, format!("{error:#}"));
        // Which member this machine belongs to is found below: a client may run at any node of a site.
        let member = group.members.first().map(|member| member.host.to_string());
        let own = Own { config: Some(config.to_owned()), protocol: Protocol::Booth, member, ..Own::default() };
        match setup::read(&own).map_err(wrong)?.wire {
            Wire::Booth(setup, _) => {
                let local = find_self(&setup.addresses);
                Ok(Self { setup: *setup, local })
            }
            Wire::Hakudo(_) => Err(Failure::new(Exit::ERROR, "the group does not speak booth's protocol")),
        }
    }

    /// The member of this machine.
    pub(super) fn local(&self) -> Option<usize> {
        self.local
    }

    /// The member of this name or address; `other` is the other one of two sites.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        let Group { members, .. } = &self.setup.file;
        let others = members.iter().enumerate().filter(|(at, m)| m.kind == Kind::Site && Some(*at) != self.local);
        if let ("other", [(only, _)]) = (name, &others.collect::<Vec<_>>()[..]) {
            return Some(*only);
        }
        let address = name.parse().ok();
        members
            .iter()
            .enumerate()
            .position(|(at, member)| member.host.to_string() == name || Some(self.setup.addresses[at]) == address)
    }

    /// The member with that number on the wire.
    pub(super) fn numbered(&self, id: SiteId) -> Option<usize> {
        self.setup.addresses.iter().position(|address| SiteId::of(*address) == id)
    }

    pub(super) fn is_site(&self, member: usize) -> bool {
        self.setup.file.members[member].kind == Kind::Site
    }

    /// The only ticket, where there is one.
    pub(super) fn only_ticket(&self) -> Option<&str> {
        match &self.setup.file.tickets[..] {
            [only] => Some(&only.name),
            _ => None,
        }
    }

    /// Asks a member.
    ///
    /// # Errors
    /// Where it cannot be reached, or a name is too long for booth's messages.
    pub(super) fn ask(
        &self,
        member: usize,
        command: Command,
        flags: Flags,
        body: Body,
    ) -> Result<Question<'_>, Failure> {
        let address = self.setup.addresses[member];
        // A client speaks for the site whose configuration it has read.
        let from = SiteId::of(self.setup.addresses[self.local.unwrap_or(member)]);
        let (reason, outcome) = (Reason::JustSo, Outcome::Success);
        let message = Message { from, command, request: None, flags, reason, outcome, body };
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::new(Exit::ERROR, format!("{what} {address} got an error: {error}"))
        };
        let bytes =
            seal::write(&message, self.setup.key.as_ref(), stamp()).map_err(|error| failed("asking", &error))?;
        let place = SocketAddr::new(address, self.setup.file.port);
        let mut stream = TcpStream::connect_timeout(&place, CONNECT).map_err(|error| failed("connect to", &error))?;
        let waits = matches!(command, Command::Grant | Command::Revoke);
        stream.set_read_timeout((!waits).then_some(ANSWER)).map_err(|error| failed("connect to", &error))?;
        stream.write_all(&bytes).map_err(|error| failed("send to", &error))?;
        Ok(Question { remote: self, stream, name: address.to_string() })
    }
}

impl Question<'_> {
    /// The next answer.
    ///
    /// # Errors
    /// Where the connection breaks, or what comes is not an authentic message of booth's.
    pub(super) fn answer(&mut self) -> Result<Message, Failure> {
        self.read()
            .map_err(|error| Failure::new(Exit::ERROR, format!("answer of {} got an error: {error:#}", self.name)))
    }

    fn read(&mut self) -> anyhow::Result<Message> {
        let mut bytes = vec![0; HEADER];
        self.stream.read_exact(&mut bytes)?;
        let Envelope { length, .. } = Envelope::read(&bytes)?;
        bytes.resize(length, 0);
        self.stream.read_exact(&mut bytes[HEADER..])?;
        // A result has a body before its trailer, a list has text behind it.
        let result = Command::Result.to_wire().to_be_bytes();
        let text = bytes[28..32] != result;
        Ok(seal::read(&bytes, self.remote.setup.key.as_ref(), text)?)
    }
}

fn stamp() -> Stamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Stamp { seconds: u32::try_from(now.as_secs()).unwrap_or(u32::MAX), microseconds: now.subsec_micros() }
}

/// The member whose address this machine has; else the one whose address is in a network that this machine is in, the
/// smallest such network.
fn find_self(addresses: &[IpAddr]) -> Option<usize> {
    let has = |address: &IpAddr| UdpSocket::bind((*address, 0)).is_ok();
    addresses.iter().position(has).or_else(|| {
        let networks = networks();
        let near =
            |address: &IpAddr| networks.iter().filter(|network| network.contains(*address)).map(|n| n.prefix).max();
        let nearest = addresses.iter().enumerate().filter_map(|(at, address)| Some((near(address)?, at)));
        let nearest: Vec<(u32, usize)> = nearest.collect();
        let smallest = nearest.iter().map(|(prefix, _)| *prefix).max()?;
        match nearest.iter().filter(|(prefix, _)| *prefix == smallest).collect::<Vec<_>>()[..] {
            [(_, at)] => Some(*at),
            // More members than one are as near: which one is meant must be said.
            _ => None,
        }
    })
}

/// A network that this machine reaches without a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let different = u32::from(network) ^ u32::from(address);
                different.checked_shr(32 - self.prefix.min(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let different = u128::from(network) ^ u128::from(address);
                different.checked_shr(128 - self.prefix.min(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn networks() -> Vec<Network> {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    networks_of(&read("/proc/net/route"), &read("/proc/net/ipv6_route"))
}

/// From the kernel's tables of routes (proc(5)); a route by way of a gateway, or to everywhere, is none.
fn networks_of(ipv4: &str, ipv6: &str) -> Vec<Network> {
    let of_ipv4 = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| Some(u32::from_str_radix(fields.get(at)?, 16).ok()?.swap_bytes());
        let (address, gateway, mask) = (number(1)?, number(2)?, number(7)?);
        let network = Network { address: Ipv4Addr::from(address).into(), prefix: mask.leading_ones() };
        (gateway == 0 && network.prefix > 0).then_some(network)
    };
    let of_ipv6 = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| u128::from_str_radix(fields.get(at)?, 16).ok();
        let prefix = u32::from_str_radix(fields.get(1)?, 16).ok()?;
        let network = Network { address: Ipv6Addr::from(number(0)?).into(), prefix };
        (number(4)? == 0 && prefix > 0).then_some(network)
    };
    ipv4.lines().skip(1).filter_map(of_ipv4).chain(ipv6.lines().filter_map(of_ipv6)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_those_without_a_gateway() {
        let ipv4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100630A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000630A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            eth1\t0002630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let ipv6 = "20010db8000000000000000000000000 20 00000000000000000000000000000000 00 \
            00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
            00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
            fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";
        let networks = networks_of(ipv4, ipv6);
        let shown: Vec<String> = networks.iter().map(|n| format!("{}/{}", n.address, n.prefix)).collect();
        assert_eq!(shown, ["10.99.0.0/16", "10.99.2.0/24", "2001:db8::/32"]);
        let within = |at: usize, address: &str| networks[at].contains(address.parse().unwrap());
        assert!(within(0, "10.99.2.7") && within(1, "10.99.2.7") && !within(1, "10.99.3.7"));
        assert!(within(2, "2001:db8:1::1") && !within(2, "2001:db9::1") && !within(2, "10.99.2.7"));
    }
}

//! `ocf:hakudo:Address`: an IP address on an interface, by rtnetlink.
//!
//! Neighbours learn of the new owner from the kernel: with `arp_notify` (`ndisc_notify` for IPv6) it announces the
//! addresses of an interface whose hardware address is set, to the same value here. So no raw socket is needed, and
//! CAP_NET_ADMIN is all the privilege that this takes.
//!
//! A neighbour that has just learned who owns the address does not believe another owner for a while (Linux: one second,
//! `locktime` of arp(7)). So a process of its own says it again a few times after the start has ended.

use super::*;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The word by which this program calls itself to tell the neighbours again.
pub(super) const ANNOUNCER: &str = "address-announcer";

/// How long after each other the neighbours are told again: often until the second is over, and no more after it, for who is
/// told anew does not believe the next owner for a second either.
const AGAIN: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(200),
    Duration::from_millis(200),
    Duration::from_millis(200),
    Duration::from_millis(250),
];

pub(super) const DESCRIPTION: Description = Description {
    name: "Address",
    short: "An IP address that goes where the service is",
    long: "Adds an IPv4 or IPv6 address to an interface, and tells the neighbours about it.",
    parameters: &[
        Parameter {
            required: true,
            unique: true,
            ..Parameter::optional("ip", "string", None, "The address; a prefix length may follow, as in 192.0.2.7/24")
        },
        Parameter::optional("cidr_netmask", "integer", None, "The prefix length, if ip does not have it"),
        Parameter::optional(
            "nic",
            "string",
            None,
            "The interface; without it, the one whose network holds the address",
        ),
    ],
    actions: &[
        action("start", 20),
        action("stop", 20),
        monitor(10, None),
        action("validate-all", 20),
        action("meta-data", 5),
    ],
};

pub(super) fn run(surroundings: &Surroundings, action: &str) -> ActionResult {
    let wanted = Wanted::configured(surroundings)?;
    if action == "validate-all" {
        return Ok(exit_code::OK);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(broken)?;
        tokio::spawn(connection);
        let network = Network { handle, wanted, state_directory: surroundings.state_directory.clone() };
        match action {
            "start" => network.start().await,
            "stop" => network.stop().await,
            _ => network.monitor().await,
        }
    })
}

/// Runs `hakudo agent address-announcer`: tells the neighbours again, as long as the address is here.
pub(super) fn announce_again() -> u8 {
    let surroundings = Surroundings::of_this_process();
    let told = Wanted::configured(&surroundings).and_then(|wanted| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().map_err(broken)?;
            tokio::spawn(connection);
            let state_directory = surroundings.state_directory.clone();
            Network { handle, wanted, state_directory }.announce_again().await
        })
    });
    exit(told)
}

fn broken(error: impl std::fmt::Display) -> Failure {
    failure(exit_code::ERROR, format!("the kernel can not be asked: {error}"))
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    ip: IpAddr,
    prefix: Option<u8>,
    nic: Option<String>,
}

impl Wanted {
    fn configured(surroundings: &Surroundings) -> Result<Self, Failure> {
        let text = surroundings.required(&DESCRIPTION, "ip")?;
        let wrong = |name: &str, value: &str, what: &str| {
            failure(exit_code::NOT_CONFIGURED, format!("the parameter {name} is {value:?}, not {what}"))
        };
        let (ip, in_ip) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip.parse().map_err(|_| wrong("ip", text, "an IP address"))?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match in_ip
            .map(|prefix| ("ip", prefix))
            .or_else(|| surroundings.get(&DESCRIPTION, "cidr_netmask").map(|prefix| ("cidr_netmask", prefix)))
        {
            None => None,
            Some((name, prefix)) => {
                let length = prefix.parse().ok().filter(|length| *length <= longest);
                Some(length.ok_or_else(|| wrong(name, prefix, "a prefix length"))?)
            }
        };
        Ok(Self { ip, prefix, nic: surroundings.get(&DESCRIPTION, "nic").map(str::to_owned) })
    }
}

struct Network {
    handle: Handle,
    wanted: Wanted,
    state_directory: PathBuf,
}

impl Network {
    async fn monitor(&self) -> ActionResult {
        let present = self.present().await?;
        Ok(if present.is_empty() { exit_code::NOT_RUNNING } else { exit_code::OK })
    }

    async fn start(&self) -> ActionResult {
        if self.present().await?.is_empty() {
            let (link, prefix) = self.place().await?;
            let add = self.handle.address().add(link.header.index, self.wanted.ip, prefix).execute().await;
            add.map_err(|error| self.failed("added to", &link, &error))?;
            let told = self.announce(&link).await.and_then(|()| announce_again_later().map_err(|e| e.to_string()));
            if let Err(reason) = told {
                eprint_line(&format!("the neighbours are not told of {}: {reason}", self.wanted.ip));
            }
        }
        Ok(exit_code::OK)
    }

    async fn announce_again(&self) -> ActionResult {
        for pause in AGAIN {
            tokio::time::sleep(pause).await;
            if self.present().await?.is_empty() {
                break;
            }
            let (link, _) = self.place().await?;
            self.announce(&link).await.map_err(broken)?;
        }
        Ok(exit_code::OK)
    }

    async fn stop(&self) -> ActionResult {
        for message in self.present().await? {
            let index = message.header.index;
            if let Err(error) = self.handle.address().del(message).execute().await {
                // Somebody else may have been faster, or the interface is gone.
                if self.present().await?.iter().any(|left| left.header.index == index) {
                    let reason = format!("{} can not be removed: {error}", self.wanted.ip);
                    return Err(failure(code_of(&error), reason));
                }
            }
        }
        Ok(exit_code::OK)
    }

    fn failed(&self, what: &str, link: &LinkMessage, error: &rtnetlink::Error) -> Failure {
        let link = name_of(link).unwrap_or_default();
        failure(code_of(error), format!("{} can not be {what} {link}: {error}", self.wanted.ip))
    }

    /// The wanted address where it is now.
    async fn present(&self) -> Result<Vec<AddressMessage>, Failure> {
        let index = match &self.wanted.nic {
            None => None,
            Some(_) => match self.links().await?.into_iter().find(|link| self.is_wanted(link)) {
                Some(link) => Some(link.header.index),
                // An interface that is not there has no address.
                None => return Ok(Vec::new()),
            },
        };
        let addresses = self.addresses().await?.into_iter();
        Ok(addresses
            .filter(|message| ip_of(message) == Some(self.wanted.ip))
            .filter(|message| index.is_none_or(|index| message.header.index == index))
            .collect())
    }

    fn is_wanted(&self, link: &LinkMessage) -> bool {
        name_of(link) == self.wanted.nic.as_deref()
    }

    async fn links(&self) -> Result<Vec<LinkMessage>, Failure> {
        self.handle.link().get().execute().try_collect().await.map_err(broken)
    }

    async fn addresses(&self) -> Result<Vec<AddressMessage>, Failure> {
        self.handle.address().get().execute().try_collect().await.map_err(broken)
    }

    /// The interface for the address, and the length of the prefix: as configured, or those of the narrowest network
    /// here that holds it.
    async fn place(&self) -> Result<(LinkMessage, u8), Failure> {
        let links = self.links().await?;
        let wanted = links.iter().find(|link| self.is_wanted(link)).map(|link| link.header.index);
        if let (Some(nic), None) = (&self.wanted.nic, wanted) {
            return Err(failure(exit_code::NOT_INSTALLED, format!("there is no interface {nic} here")));
        }
        let addresses = self.addresses().await?;
        let around = addresses
            .iter()
            .filter(|message| wanted.is_none_or(|index| message.header.index == index))
            .filter(|message| {
                ip_of(message).is_some_and(|ip| same_network(ip, self.wanted.ip, message.header.prefix_len))
            })
            .max_by_key(|message| message.header.prefix_len);
        let Some(index) = wanted.or(around.map(|message| message.header.index)) else {
            let reason = format!("no interface here has a network with {}: set the parameter nic", self.wanted.ip);
            return Err(failure(exit_code::NOT_INSTALLED, reason));
        };
        let single = if self.wanted.ip.is_ipv4() { 32 } else { 128 };
        let prefix = self.wanted.prefix.or(around.map(|message| message.header.prefix_len)).unwrap_or(single);
        match links.into_iter().find(|link| link.header.index == index) {
            Some(link) => Ok((link, prefix)),
            None => Err(failure(exit_code::ERROR, "the interface went away")),
        }
    }

    /// Waits until no other process announces an address of this interface; the lock ends with the file.
    fn only_one(&self, interface: &str) -> io::Result<fs::File> {
        fs::create_dir_all(&self.state_directory)?;
        let lock = fs::File::create(self.state_directory.join(format!("{}-{interface}.lock", DESCRIPTION.name)))?;
        lock.lock()?;
        Ok(lock)
    }

    async fn announce(&self, link: &LinkMessage) -> Result<(), String> {
        let hardware = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(address) if address.iter().any(|byte| *byte != 0) => Some(address.clone()),
            _ => None,
        });
        // The loopback interface has no neighbours.
        let (Some(hardware), Some(name)) = (hardware, name_of(link)) else { return Ok(()) };
        let (family, switch) = if self.wanted.ip.is_ipv4() { ("ipv4", "arp_notify") } else { ("ipv6", "ndisc_notify") };
        let switch = Path::new("/proc/sys/net").join(family).join("conf").join(name).join(switch);
        let explain = |error: io::Error| format!("{}: {error}", switch.display());
        // Another address of this interface may be announced at the same moment: the switch is set back by the one that set it.
        let _announcing = self.only_one(name).map_err(|error| format!("the lock of {name}: {error}"))?;
        let before = fs::read_to_string(&switch).map_err(explain)?;
        fs::write(&switch, "1").map_err(explain)?;
        let message = LinkUnspec::new_with_index(link.header.index).address(hardware).build();
        let announced = self.handle.link().set(message).execute().await.map_err(|error| error.to_string());
        fs::write(&switch, before.trim()).map_err(explain)?;
        announced
    }
}

/// Begins a process that outlives this one: the start must not wait for it.
fn announce_again_later() -> io::Result<()> {
    let mut command = Command::new(program()?);
    command.args(["agent", ANNOUNCER]).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The local address: `IFA_ADDRESS` is the other end on a point-to-point link.
fn ip_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

fn same_network(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let keep = u32::from(prefix);
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u32::from(a) ^ u32::from(b)).checked_shr(32u32.saturating_sub(keep)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (u128::from(a) ^ u128::from(b)).checked_shr(128u32.saturating_sub(keep)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn code_of(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) if message.to_io().kind() == io::ErrorKind::PermissionDenied => {
            exit_code::INSUFFICIENT_PRIV
        }
        _ => exit_code::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(parameters: &[(&str, &str)]) -> Result<(String, Option<u8>), i32> {
        let surroundings = Surroundings {
            instance: "ip".into(),
            parameters: parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            state_directory: PathBuf::new(),
        };
        let wanted = Wanted::configured(&surroundings).map_err(|failure| failure.code)?;
        Ok((wanted.ip.to_string(), wanted.prefix))
    }

    #[test]
    fn parameters() {
        assert_eq!(configured(&[("ip", "192.0.2.7/24")]), Ok(("192.0.2.7".into(), Some(24))));
        assert_eq!(configured(&[("ip", "192.0.2.7"), ("cidr_netmask", "25")]), Ok(("192.0.2.7".into(), Some(25))));
        assert_eq!(configured(&[("ip", "2001:db8::1")]), Ok(("2001:db8::1".into(), None)));
        assert_eq!(configured(&[("ip", "192.0.2.7/33")]), Err(exit_code::NOT_CONFIGURED));
        assert_eq!(configured(&[("ip", "here")]), Err(exit_code::NOT_CONFIGURED));
        assert_eq!(configured(&[]), Err(exit_code::NOT_CONFIGURED));
    }

    #[test]
    fn networks() {
        let same = |a: &str, b: &str, prefix| same_network(a.parse().unwrap(), b.parse().unwrap(), prefix);
        assert!(same("192.0.2.7", "192.0.2.200", 24));
        assert!(!same("192.0.2.7", "192.0.2.200", 25));
        assert!(same("192.0.2.7", "10.0.0.1", 0));
        assert!(same("192.0.2.7", "192.0.2.7", 32));
        assert!(!same("192.0.2.7", "192.0.2.6", 32));
        assert!(same("2001:db8::1", "2001:db8::2", 64));
        assert!(!same("::1", "127.0.0.1", 0));
    }
}

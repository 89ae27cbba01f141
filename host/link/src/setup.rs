//! From booth.conf to a member of a group: who is in it, which of them is this one, and by which keys they know each other.
//!
//! booth.conf names one address a member and one key for all. What else hakudo can use stands in [`Own`]: further
//! addresses (a site has one a node), and a key pair for each member instead of the common key.

use crate::Settings;
use anyhow::{Context, Result, bail, ensure};
use hakudo_base::{NodeId, Severity};
use hakudo_seal::{Credentials, PrivateKey, PublicKey, SharedKey, fnv1a};
use hakudo_tickets::booth::config as booth;
use hakudo_tickets::{
    Comparison, Group, Handler, MemberEntry, MemberId, MemberKind, Prerequisite, PrerequisiteWhen, TicketConfig,
    TicketMode,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// Where booth.conf is unless said otherwise.
pub const BOOTH_CONF: &str = "/etc/booth/booth.conf";

/// What a machine knows beside booth.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Own {
    /// The file; [`BOOTH_CONF`] where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    /// The member that this machine is or belongs to, as booth.conf names it; found by the machine's addresses otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Where this machine listens; at the member's address where it is this machine's, else at all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<SocketAddr>,
    /// Further addresses of members, by the names of booth.conf.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, Vec<String>>,
    /// The file with this member's private key: 32 bytes. With it, the members' public keys count, and no common key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<PathBuf>,
    /// The members' public keys, by the names of booth.conf: 64 hexadecimal digits each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub public_keys: BTreeMap<String, String>,
    /// How long this site needs at most to stop what depends on a ticket, in milliseconds, by ticket: it must be true. For
    /// the others it is the sum of the timeouts of what waits for each other.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stop_time_ms: BTreeMap<String, u64>,
}

/// A member that can be started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which member this is.
    pub local: MemberId,
    /// The group.
    pub group: Group,
    /// How the others are reached.
    pub settings: Settings,
    /// The file that the group was read from.
    pub config: PathBuf,
}

/// Reads the configuration of the group and finds this machine in it.
///
/// # Errors
/// Where a file cannot be read, something in it is wrong (all of that is named, with line and column), or this machine
/// is no member.
pub fn read(own: &Own) -> Result<Setup> {
    let config = own.config.clone().unwrap_or_else(|| BOOTH_CONF.into());
    let bytes = std::fs::read(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let reading = booth::read_bytes(&bytes);
    let problems = reading.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let wrong: Vec<String> = problems.map(|problem| format!("{}:{problem}", config.display())).collect();
    let Some(file) = reading.group.filter(|_| wrong.is_empty()) else { bail!("{}", wrong.join("\n")) };
    for problem in &reading.problems {
        tracing::warn!("{}:{problem}", config.display());
    }
    let group = group(&file, own, &config)?;
    let local = find_self(&file, own)?;
    let local_host = file.members.iter().map(|member| member.host.to_string()).find(|host| id(host) == local);
    let credentials = credentials(&file, &group, own)?;
    let others = group.members.iter().filter(|member| member.id != local);
    // Further addresses are this machine's own knowledge, and nothing that the group must agree on.
    let all = |member: &MemberEntry| {
        let further = own.addresses.get(&member.name).into_iter().flatten();
        member.addresses.iter().chain(further).cloned().collect()
    };
    let peers = others.map(|member| (NodeId(member.id.0), all(member))).collect();
    let listen =
        if own.listen.is_empty() { vec![listen(local_host.as_deref(), file.port)] } else { own.listen.clone() };
    let settings = Settings { local: NodeId(local.0), group: group.name.clone(), credentials, peers, listen };
    Ok(Setup { local, group, settings, config })
}

/// A member's number follows from its name in booth.conf, as in booth: it stays what it is when lines come and go.
fn id(host: &str) -> MemberId {
    let hash = fnv1a(host.as_bytes());
    let number = (hash ^ (hash >> 32)) & 0x7fff_ffff;
    MemberId(u32::try_from(number).unwrap_or(1).max(1))
}

fn group(file: &booth::Group, own: &Own, config: &Path) -> Result<Group> {
    let known = |name: &String| file.members.iter().any(|member| member.host.to_string() == *name);
    for name in own.addresses.keys().chain(own.public_keys.keys()).chain(&own.member) {
        ensure!(known(name), "{name} is no member of the group in {}", config.display());
    }
    let stem = config.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let members = file.members.iter().map(|member| {
        let host = member.host.to_string();
        let address = match &member.host {
            booth::Host::Address(address) => SocketAddr::new(*address, file.port).to_string(),
            booth::Host::Name(name) => format!("{name}:{}", file.port),
        };
        MemberEntry {
            id: id(&host),
            kind: match member.kind {
                booth::Kind::Site => MemberKind::Site,
                booth::Kind::Arbitrator => MemberKind::Arbitrator,
            },
            addresses: vec![address],
            key: None,
            name: host,
        }
    });
    let group = Group {
        name: file.name.clone().or(stem).unwrap_or_else(|| "booth".to_owned()),
        version: 0,
        members: members.collect(),
        tickets: file.tickets.iter().map(|ticket| self::ticket(file, ticket)).collect::<Result<_>>()?,
        heartbeat: None,
    };
    group.check().with_context(|| format!("in {}", config.display()))?;
    Ok(group)
}

fn ticket(file: &booth::Group, ticket: &booth::Ticket) -> Result<TicketConfig> {
    let weights = file.members.iter().enumerate().filter_map(|(index, member)| {
        let weight = i64::from(ticket.weight(index));
        (weight != 0).then(|| (id(&member.host.to_string()), weight))
    });
    let handler = ticket.handler.split_first();
    Ok(TicketConfig {
        expire: ticket.expire,
        acquire_after: ticket.acquire_after,
        // booth's default leaves room for one lost renewal; ours comes more often.
        renewal_freq: (ticket.renewal != ticket.expire / 2).then_some(ticket.renewal),
        timeout: ticket.timeout,
        retries: ticket.retries,
        weights: weights.collect(),
        mode: match ticket.mode {
            booth::Mode::Automatic => TicketMode::Automatic,
            booth::Mode::Manual => TicketMode::Manual,
        },
        prerequisites: ticket.prerequisites.iter().map(prerequisite).collect::<Result<_>>()?,
        handler: handler.map(|(path, arguments)| Handler { path: path.clone(), arguments: arguments.to_vec() }),
        ..TicketConfig::new(&ticket.name)
    })
}

fn prerequisite(of: &booth::Prerequisite) -> Result<Prerequisite> {
    Ok(Prerequisite {
        when: match of.when {
            booth::When::Auto => PrerequisiteWhen::Auto,
            booth::When::Manual => PrerequisiteWhen::Manual,
        },
        attribute: of.attribute.clone(),
        comparison: match of.comparison {
            booth::Comparison::Equal => Comparison::Eq,
            booth::Comparison::NotEqual => Comparison::Ne,
            other => bail!("attr-prereq with '{}' is not possible between hakudo's members yet", other.word()),
        },
        value: of.value.clone(),
    })
}

fn find_self(file: &booth::Group, own: &Own) -> Result<MemberId> {
    if let Some(member) = &own.member {
        return Ok(id(member));
    }
    let here = |member: &&booth::Member| match &member.host {
        booth::Host::Address(address) => is_own(*address),
        booth::Host::Name(_) => false,
    };
    match file.members.iter().filter(here).collect::<Vec<_>>()[..] {
        [member] => Ok(id(&member.host.to_string())),
        [] => bail!("Cannot find myself in the configuration: no member has an address of this machine; name it"),
        _ => bail!("several members have addresses of this machine: name the one that this is"),
    }
}

/// This machine has the address.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn listen(host: Option<&str>, port: u16) -> SocketAddr {
    let address: Option<IpAddr> = host.and_then(|host| host.parse().ok());
    match address {
        Some(address) if is_own(address) => SocketAddr::new(address, port),
        Some(IpAddr::V6(_)) => SocketAddr::new(IpAddr::from([0u16; 8]), port),
        _ => SocketAddr::new(IpAddr::from([0u8; 4]), port),
    }
}

fn credentials(file: &booth::Group, group: &Group, own: &Own) -> Result<Credentials> {
    if let Some(place) = &own.private_key_file {
        let private = secret(place)?;
        let private: [u8; 32] = private
            .try_into()
            .ok()
            .with_context(|| format!("{} is no private key: it has 32 bytes", place.display()))?;
        let mut peers = BTreeMap::new();
        for member in &group.members {
            let key = own.public_keys.get(&member.name);
            let key =
                key.with_context(|| format!("{} has no public key, and this machine has a private one", member.name))?;
            let key: PublicKey = key.parse().map_err(anyhow::Error::msg)?;
            peers.insert(NodeId(member.id.0), key);
        }
        return Ok(Credentials::Own { private: PrivateKey::new(private), peers });
    }
    let Some(place) = &file.key_file else {
        bail!(
            "the group has no key: hakudo's members do not speak without one. Make one (booth-keygen), copy it to all, \
             and name it as authfile"
        );
    };
    let key = secret(Path::new(place))?;
    ensure!((8..=4096).contains(&key.len()), "{place} is no key: it has 8 bytes at least");
    let key = Sha256::new().chain_update(b"hakudo ticket group").chain_update(&key).finalize();
    Ok(Credentials::Shared(vec![SharedKey::new(key.into())]))
}

/// A file that only its owner may read.
fn secret(place: &Path) -> Result<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let cannot = || format!("cannot read {}", place.display());
    let mode = std::fs::metadata(place).with_context(cannot)?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{} is a secret, and others may read it: chmod 600", place.display());
    std::fs::read(place).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    /// Reads a booth.conf with a key, in a folder of its own.
    fn read_text(name: &str, text: &str, own: Own) -> Result<Setup> {
        let folder = std::env::temp_dir().join(format!("hakudo-link-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = folder.join("key");
        std::fs::write(&key, [7; 64]).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = folder.join("dr.conf");
        std::fs::write(&config, text.replace("KEY", &key.to_string_lossy())).unwrap();
        let result = read(&Own { config: Some(config), ..own });
        std::fs::remove_dir_all(&folder).unwrap();
        result
    }

    const TEXT: &str = "authfile = KEY\nsite = 127.0.0.11\nsite = 127.0.0.12\narbitrator = 127.0.0.13\n\
        ticket = T\nexpire = 10\ntimeout = 1\nretries = 3\nacquire-after = 2\nweights = 5,3\nbefore-acquire-handler = /bin/check it\n";

    #[test]
    fn a_member_is_made_from_booths_file() {
        let own = Own { member: Some("127.0.0.12".into()), ..Own::default() };
        let setup = read_text("good", TEXT, own).unwrap();
        assert_eq!((setup.group.name.as_str(), setup.group.members.len()), ("dr", 3));
        assert_eq!(setup.group.name_of(setup.local), "127.0.0.12");
        assert_eq!(setup.settings.listen, vec!["127.0.0.12:9929".parse().unwrap()]);
        assert_eq!(setup.settings.peers.len(), 2);
        let ticket = setup.group.ticket("T").unwrap();
        assert_eq!((ticket.expire, ticket.acquire_after), (Duration::from_secs(10), Duration::from_secs(2)));
        assert_eq!(ticket.renewal(), Duration::from_secs(2));
        assert_eq!(ticket.weights.values().copied().collect::<std::collections::BTreeSet<_>>(), [3, 5].into());
        let handler = ticket.handler.clone().unwrap();
        assert_eq!((handler.path.as_str(), handler.arguments), ("/bin/check", vec!["it".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let own = || Own { member: Some("127.0.0.12".into()), ..Own::default() };
        let error = |name, text: &str, own| format!("{:#}", read_text(name, text, own).unwrap_err());
        assert!(error("bad", "site = 127.0.0.1\nnonsense = 1\n", own()).contains("dr.conf:2:1"));
        let no_key = TEXT.replace("authfile = KEY\n", "");
        assert!(error("nokey", &no_key, own()).contains("no key"));
        let stranger = Own { member: Some("192.0.2.9".into()), ..Own::default() };
        assert!(error("stranger", TEXT, stranger).contains("no member"));
        let several = error("several", TEXT, Own::default());
        assert!(several.contains("several members"), "{several}");
    }
}

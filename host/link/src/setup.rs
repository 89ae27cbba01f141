//! From booth.conf to a member of a group: who is in it, which of them is this one, and by which keys they know each other.
//!
//! booth.conf names one address a member and one key for all. What else hakudo can use stands in [`Own`]: further
//! addresses (a site has one a node), and a key pair for each member instead of the common key.

use crate::{Settings, booth as booth_link};
use anyhow::{Context, Result, bail, ensure};
use hakudo_base::{NodeId, Severity};
use hakudo_seal::{Credentials, PrivateKey, PublicKey, SharedKey, fnv1a};
use hakudo_tickets::booth::config as booth;
use hakudo_tickets::booth::member::BoothSetup;
use hakudo_tickets::booth::seal::Key;
use hakudo_tickets::{
    Comparison, Group, Handler, LagRule, MemberEntry, MemberId, MemberKind, Prerequisite, PrerequisiteWhen, Protocol,
    TicketConfig, TicketMode,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
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
    /// What the members say to each other: `booth`, where some of them are boothd, or `hakudo`. The same for all.
    pub protocol: Protocol,
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
    pub wire: Wire,
    /// The file that the group was read from.
    pub config: PathBuf,
}

/// What is said to the other members, and where.
#[derive(Clone, Debug)]
pub enum Wire {
    /// hakudo's own protocol.
    Hakudo(Settings),
    /// booth's.
    Booth(Box<BoothSetup>, booth_link::Settings),
}

/// Reads the configuration of the group and finds this machine in it.
///
/// # Errors
/// Where a file cannot be read, something in it is wrong (all of that is named, with line and column), or this machine
/// is no member.
pub fn read(own: &Own) -> Result<Setup> {
    let config = own.config.clone().unwrap_or_else(|| BOOTH_CONF.into());
    let bytes = std::fs::read(&config).with_context(|| format!("cannot read {}", config.display()))?;
    from_reading(booth::read_bytes(&bytes), own, config)
}

/// Takes what was read of the configuration of the group, wherever it stands, and finds this machine in it. `config` is what
/// the place is called.
///
/// # Errors
/// As [`read`].
pub fn from_reading(reading: booth::Reading, own: &Own, config: PathBuf) -> Result<Setup> {
    let problems = reading.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let wrong: Vec<String> = problems.map(|problem| format!("{}:{problem}", config.display())).collect();
    let Some(file) = reading.group.filter(|_| wrong.is_empty()) else { bail!("{}", wrong.join("\n")) };
    for problem in &reading.problems {
        match problem.severity {
            Severity::Info => tracing::info!("{}:{problem}", config.display()),
            Severity::Warning | Severity::Error => tracing::warn!("{}:{problem}", config.display()),
        }
    }
    if own.protocol == Protocol::Booth {
        return read_booth(file, own, config);
    }
    let ids: Vec<MemberId> = file.members.iter().map(|member| id(&member.host.to_string())).collect();
    let group = group(&file, &ids, own, &config)?;
    let local = ids[find_self(&file, own)?];
    let local_host = file.members.iter().map(|member| member.host.to_string()).find(|host| id(host) == local);
    let credentials = credentials(&file, &group, own)?;
    let others = group.members.iter().filter(|member| member.id != local);
    // Further addresses are this machine's own knowledge, and nothing that the group must agree on.
    let all = |member: &MemberEntry| {
        let written = file.members.iter().filter(|known| known.host.to_string() == member.name);
        let written = written.flat_map(|known| &known.addresses).map(ToString::to_string);
        let further = own.addresses.get(&member.name).into_iter().flatten().cloned();
        member.addresses.iter().cloned().chain(written).chain(further).collect()
    };
    let peers = others.map(|member| (NodeId(member.id.0), all(member))).collect();
    let listen =
        if own.listen.is_empty() { vec![listen(local_host.as_deref(), file.port)] } else { own.listen.clone() };
    let settings = Settings { local: NodeId(local.0), group: group.name.clone(), credentials, peers, listen };
    Ok(Setup { local, group, wire: Wire::Hakudo(settings), config })
}

/// A group that speaks booth's protocol: members are their addresses, and one key for all is all that it knows.
fn read_booth(file: booth::Group, own: &Own, config: PathBuf) -> Result<Setup> {
    ensure!(
        own.private_key_file.is_none() && own.public_keys.is_empty(),
        "members have no keys of their own in a group that speaks booth's protocol: authfile in {} names the common key",
        config.display()
    );
    for ticket in &file.tickets {
        let ours = [
            ("stop-time", ticket.stop_time.is_some()),
            ("lag", ticket.lag.is_some()),
            ("preferred", ticket.preferred.is_some()),
            ("fail-back", ticket.fail_back.is_some()),
        ];
        let given = ours.iter().find(|(_, given)| *given).map(|(keyword, _)| keyword);
        if let Some(keyword) = given {
            let (name, place) = (&ticket.name, config.display());
            bail!("`{keyword}` of the ticket {name} in {place} means nothing in a group that speaks booth's protocol");
        }
    }
    let addresses: Vec<IpAddr> = file.members.iter().map(|member| address_of(&member.host)).collect::<Result<_>>()?;
    let ids: Vec<MemberId> = addresses.iter().map(|address| BoothSetup::member_id(*address)).collect();
    let group = group(&file, &ids, own, &config)?;
    let index = find_self(&file, own)?;
    let (local, address) = (ids[index], addresses[index]);
    let key = match &file.key_file {
        None => {
            tracing::warn!("the group has no authfile: whoever can send a packet can take its tickets");
            None
        }
        Some(place) => {
            let key = Key::from_file(&secret(Path::new(place))?).with_context(|| format!("in {place}"))?;
            if key.switches_boothd_off() {
                tracing::warn!(
                    "the key in {place} begins with a zero byte: boothd takes it as none, and its messages will be refused"
                );
            }
            Some(key)
        }
    };
    let mut peers = BTreeMap::new();
    for ((member, id), address) in file.members.iter().zip(&ids).zip(&addresses).filter(|((_, id), _)| **id != local) {
        let mut all = vec![SocketAddr::new(*address, file.port)];
        let written: Vec<String> = member.addresses.iter().map(ToString::to_string).collect();
        for further in written.iter().chain(own.addresses.get(&member.host.to_string()).into_iter().flatten()) {
            all.extend(resolved(further, file.port)?);
        }
        peers.insert(id.0, all);
    }
    let listen = match &own.listen[..] {
        // A site's address moves from node to node, and may come later.
        [] if group.is_site(local) => vec![any(address, file.port)],
        [] => vec![listen(Some(&address.to_string()), file.port)],
        given => given.to_vec(),
    };
    let utc_offset = jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now()).seconds();
    let setup = BoothSetup { file, addresses, local: address, key, utc_offset };
    setup.config().with_context(|| format!("in {}", config.display()))?;
    Ok(Setup { local, group, wire: Wire::Booth(Box::new(setup), booth_link::Settings { peers, listen }), config })
}

/// The address that is a member's identity: the first one of a name, as in booth.
fn address_of(host: &booth::Host) -> Result<IpAddr> {
    match host {
        booth::Host::Address(address) => Ok(*address),
        booth::Host::Name(name) => {
            let found = resolved(name, 0)?;
            found.first().map(SocketAddr::ip).with_context(|| format!("{name} has no address"))
        }
    }
}

fn resolved(text: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = text.parse().or_else(|_| text.parse().map(|address| SocketAddr::new(address, port))) {
        return Ok(vec![address]);
    }
    let known = || format!("the address of {text} is not known");
    Ok((text, port).to_socket_addrs().with_context(known)?.collect())
}

fn any(like: IpAddr, port: u16) -> SocketAddr {
    match like {
        IpAddr::V4(_) => SocketAddr::new(IpAddr::from([0u8; 4]), port),
        IpAddr::V6(_) => SocketAddr::new(IpAddr::from([0u16; 8]), port),
    }
}

/// A member's number follows from its name in booth.conf, as in booth: it stays what it is when lines come and go.
fn id(host: &str) -> MemberId {
    let hash = fnv1a(host.as_bytes());
    let number = (hash ^ (hash >> 32)) & 0x7fff_ffff;
    MemberId(u32::try_from(number).unwrap_or(1).max(1))
}

fn group(file: &booth::Group, ids: &[MemberId], own: &Own, config: &Path) -> Result<Group> {
    let known = |name: &String| file.members.iter().any(|member| member.host.to_string() == *name);
    for name in own.addresses.keys().chain(own.public_keys.keys()).chain(&own.member) {
        ensure!(known(name), "{name} is no member of the group in {}", config.display());
    }
    let stem = config.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let members = file.members.iter().zip(ids).map(|(member, id)| {
        let host = member.host.to_string();
        let address = match &member.host {
            booth::Host::Address(address) => SocketAddr::new(*address, file.port).to_string(),
            booth::Host::Name(name) => format!("{name}:{}", file.port),
        };
        MemberEntry {
            id: *id,
            kind: match member.kind {
                booth::Kind::Site => MemberKind::Site,
                booth::Kind::Arbitrator => MemberKind::Arbitrator,
            },
            addresses: vec![address],
            key: None,
            name: host,
        }
    });
    let mut group = Group {
        name: file.name.clone().or(stem).unwrap_or_else(|| "booth".to_owned()),
        version: 0,
        members: members.collect(),
        tickets: file.tickets.iter().map(|ticket| self::ticket(file, ids, ticket)).collect(),
        heartbeat: None,
    };
    if own.protocol == Protocol::Booth {
        // booth's engine renews as the file says; the rules of our own leases are not for it.
        group.tickets.iter_mut().for_each(|ticket| ticket.renewal_freq = None);
    }
    group.check().with_context(|| format!("in {}", config.display()))?;
    Ok(group)
}

fn ticket(file: &booth::Group, ids: &[MemberId], ticket: &booth::Ticket) -> TicketConfig {
    let program = |words: &[String]| {
        let (path, arguments) = words.split_first()?;
        Some(Handler { path: path.clone(), arguments: arguments.to_vec() })
    };
    let is_preferred = |member: &booth::Member| Some(&member.host) == ticket.preferred.as_ref();
    let weights = ids.iter().enumerate().filter_map(|(index, id)| {
        let weight = i64::from(ticket.weight(index));
        (weight != 0).then_some((*id, weight))
    });
    TicketConfig {
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
        prerequisites: ticket.prerequisites.iter().map(prerequisite).collect(),
        handler: program(&ticket.handler),
        stop_time: ticket.stop_time,
        lag: ticket
            .lag
            .as_ref()
            .and_then(|lag| Some(LagRule { at_most: lag.at_most, program: program(&lag.program)? })),
        preferred: file.members.iter().position(is_preferred).map(|index| ids[index]),
        fail_back: ticket.fail_back,
        ..TicketConfig::new(&ticket.name)
    }
}

fn prerequisite(of: &booth::Prerequisite) -> Prerequisite {
    Prerequisite {
        when: match of.when {
            booth::When::Auto => PrerequisiteWhen::Auto,
            booth::When::Manual => PrerequisiteWhen::Manual,
        },
        attribute: of.attribute.clone(),
        comparison: match of.comparison {
            booth::Comparison::Equal => Comparison::Eq,
            booth::Comparison::NotEqual => Comparison::Ne,
            booth::Comparison::Less => Comparison::Lt,
            booth::Comparison::LessOrEqual => Comparison::Le,
            booth::Comparison::Greater => Comparison::Gt,
            booth::Comparison::GreaterOrEqual => Comparison::Ge,
        },
        value: of.value.clone(),
    }
}

/// The place of this machine among the members.
fn find_self(file: &booth::Group, own: &Own) -> Result<usize> {
    if let Some(member) = &own.member {
        let named = file.members.iter().position(|known| known.host.to_string() == *member);
        return named.with_context(|| format!("{member} is no member of the group"));
    }
    let here = |(_, member): &(usize, &booth::Member)| {
        let is_here = match &member.host {
            booth::Host::Address(address) => is_own(*address),
            // Only in booth's protocol a name stands for one address.
            booth::Host::Name(_) if own.protocol == Protocol::Booth => address_of(&member.host).is_ok_and(is_own),
            booth::Host::Name(_) => false,
        };
        // The other nodes of a site have other addresses.
        let written = member.addresses.iter().map(ToString::to_string);
        let further = own.addresses.get(&member.host.to_string()).into_iter().flatten().cloned();
        is_here || written.chain(further).any(|address| address.parse().is_ok_and(is_own))
    };
    match file.members.iter().enumerate().filter(here).collect::<Vec<_>>()[..] {
        [(index, _)] => Ok(index),
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
        let Wire::Hakudo(settings) = setup.wire else { panic!("another protocol") };
        assert_eq!(settings.listen, vec!["127.0.0.12:9929".parse().unwrap()]);
        assert_eq!(settings.peers.len(), 2);
        let ticket = setup.group.ticket("T").unwrap();
        assert_eq!((ticket.expire, ticket.acquire_after), (Duration::from_secs(10), Duration::from_secs(2)));
        assert_eq!(ticket.renewal(), Duration::from_secs(2));
        assert_eq!(ticket.weights.values().copied().collect::<std::collections::BTreeSet<_>>(), [3, 5].into());
        let handler = ticket.handler.clone().unwrap();
        assert_eq!((handler.path.as_str(), handler.arguments), ("/bin/check", vec!["it".to_owned()]));
    }

    #[test]
    fn a_member_that_speaks_booths_protocol_is_known_by_its_address() {
        let addresses = BTreeMap::from([("127.0.0.11".to_owned(), vec!["127.0.0.14".to_owned()])]);
        let own = Own { protocol: Protocol::Booth, member: Some("127.0.0.13".into()), addresses, ..Own::default() };
        let setup = read_text("booth", TEXT, own.clone()).unwrap();
        let Wire::Booth(booth, link) = setup.wire else { panic!("another protocol") };
        assert_eq!(link.listen, vec!["127.0.0.13:9929".parse().unwrap()]);
        let first = BoothSetup::member_id("127.0.0.11".parse().unwrap());
        let of_first: Vec<SocketAddr> =
            ["127.0.0.11:9929", "127.0.0.14:9929"].map(|address| address.parse().unwrap()).into();
        assert_eq!((link.peers.len(), link.peers[&first.0].clone()), (2, of_first));
        assert_eq!(setup.local, BoothSetup::member_id(booth.local));
        assert_eq!(setup.group.members[0].id, first);
        let site = Own { member: Some("127.0.0.12".into()), ..own.clone() };
        let Wire::Booth(_, link) = read_text("booth-site", TEXT, site).unwrap().wire else {
            panic!("another protocol")
        };
        assert_eq!(link.listen, vec!["0.0.0.0:9929".parse().unwrap()], "the address of a site moves");
        let keys = Own { private_key_file: Some("/nowhere".into()), ..own };
        let error = format!("{:#}", read_text("booth-keys", TEXT, keys).unwrap_err());
        assert!(error.contains("authfile"), "{error}");
    }

    #[test]
    fn what_hakudo_adds_holds_for_its_own_protocol_only() {
        let own = Own { member: Some("127.0.0.13".into()), ..Own::default() };
        let text = format!("{TEXT}stop-time = 3\nlag = 5 /bin/lag T\npreferred = 127.0.0.12\nfail-back = 60\n");
        let setup = read_text("more", &text, own.clone()).unwrap();
        let ticket = setup.group.ticket("T").unwrap();
        let times = (ticket.stop_time, ticket.fail_back);
        assert_eq!(times, (Some(Duration::from_secs(3)), Some(Duration::from_secs(60))));
        let program = Handler { path: "/bin/lag".to_owned(), arguments: vec!["T".to_owned()] };
        assert_eq!(ticket.lag, Some(LagRule { at_most: Duration::from_secs(5), program }));
        assert_eq!(ticket.preferred.map(|site| setup.group.name_of(site)), Some("127.0.0.12".to_owned()));
        let booth = Own { protocol: Protocol::Booth, ..own };
        let error = format!("{:#}", read_text("more-booth", &text, booth).unwrap_err());
        assert!(error.contains("`stop-time` of the ticket T"), "{error}");
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

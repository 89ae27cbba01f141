//! A history of whole sites: the clusters, the group, and everything that is done to them, as text that can be read, cut down
//! and replayed. What belongs to one cluster is written as in a script of a cluster alone.

use crate::script::{Act as ClusterAct, Script as ClusterScript, ScriptError, Setup};
use hakudo_tickets::{Group, Handler, MemberEntry, MemberId, MemberKind, TicketConfig};
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

/// A whole history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Chance that is not written in the script.
    pub seed: u64,
    /// The sites, members 1, 2, … of the group.
    pub sites: Vec<Site>,
    /// The arbitrators, members behind the sites: by how many millionths their clocks are too fast.
    pub arbitrators: Vec<i64>,
    /// The tickets.
    pub tickets: Vec<Ticket>,
    /// What happens, in the order of time (milliseconds).
    pub events: Vec<(u64, Act)>,
    /// When all that is broken is mended, in milliseconds.
    pub heal_at: u64,
}

/// One site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Its cluster.
    pub setup: Setup,
    /// By how many millionths the clocks of its nodes are too fast.
    pub drifts: Vec<i64>,
    /// After how many milliseconds without food the watchdog of a node resets it; 0 where nodes have none.
    pub watchdog_ms: u64,
}

/// One ticket of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// Its name.
    pub name: String,
    /// How long a lease lasts.
    pub expire_ms: u64,
    /// What is waited beyond the end of a lost lease and the time to stop.
    pub acquire_ms: u64,
    /// How long stopping takes at most, where that is configured.
    pub stop_ms: Option<u64>,
    /// Something is asked before a site takes it.
    pub checked: bool,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// In a site, from 1.
    Site(usize, ClusterAct),
    /// All nodes of a site lose power.
    SiteOff(usize),
    /// They start.
    SiteOn(usize),
    /// An arbitrator's process dies, and with it what its disk had not written: its member number.
    ArbitratorOff(usize),
    /// It is started again.
    ArbitratorOn(usize),
    /// Nothing gets from one member to another.
    Cut(usize, usize),
    /// It does again.
    Mend(usize, usize),
    /// A node of a site reaches no other member, and hears none.
    Unplug(usize, usize),
    /// It does again.
    Plug(usize, usize),
    /// How messages between members travel from now on.
    Weather(Weather),
    /// What is looked at before a site takes a ticket says yes, or no.
    Ready(usize, bool),
    /// Somebody asks for something at a node of a site.
    Ask(usize, usize, Wish),
}

/// How messages between members travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Messages of 100 that get lost.
    pub loss: u64,
    /// Messages of 100 that arrive twice.
    pub twice: u64,
    /// Milliseconds that a message takes at most.
    pub delay_ms: u64,
}

/// What is asked of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A ticket for a site.
    Grant(String, usize),
    /// A ticket of another site for this one.
    Move(String, usize),
    /// A ticket for nobody.
    Revoke(String),
    /// A ticket is set aside, or used again.
    Standby(String, bool),
    /// A site takes no tickets, or takes them again.
    Disclaim(usize, bool),
}

impl Script {
    /// The group.
    pub fn group(&self) -> Group {
        let members = (1..=self.sites.len() + self.arbitrators.len()).map(|number| {
            let is_site = number <= self.sites.len();
            MemberEntry {
                id: MemberId(u32::try_from(number).unwrap_or_default()),
                name: if is_site { format!("site{number}") } else { format!("arbitrator{number}") },
                kind: if is_site { MemberKind::Site } else { MemberKind::Arbitrator },
                addresses: vec![format!("10.0.0.{number}")],
                key: None,
            }
        });
        let tickets = self.tickets.iter().map(Ticket::config).collect();
        Group { name: "whole".to_owned(), version: 0, members: members.collect(), tickets, heartbeat: None }
    }

    /// The history of one site alone: its number from 0.
    pub(super) fn of_site(&self, site: usize) -> ClusterScript {
        let nodes = self.sites[site].setup.votes.len();
        let mut events = Vec::new();
        for (at, act) in &self.events {
            match act {
                Act::Site(number, act) if *number == site + 1 => events.push((*at, act.clone())),
                Act::SiteOff(number) if *number == site + 1 => {
                    events.extend((1..=nodes).map(|node| (*at, ClusterAct::PowerOff(node))));
                }
                Act::SiteOn(number) if *number == site + 1 => {
                    events.extend((1..=nodes).map(|node| (*at, ClusterAct::Boot(node))));
                }
                _ => {}
            }
        }
        ClusterScript {
            seed: self.seed.wrapping_mul(8).wrapping_add(site as u64),
            setup: self.sites[site].setup.clone(),
            events,
            heal_at: self.heal_at,
        }
    }
}

impl Ticket {
    fn config(&self) -> TicketConfig {
        let mut config = TicketConfig::new(&self.name);
        config.expire = Duration::from_millis(self.expire_ms);
        config.timeout = Duration::from_millis((self.expire_ms / 8).max(200));
        config.retries = 3;
        config.acquire_after = Duration::from_millis(self.acquire_ms);
        config.stop_time = self.stop_ms.map(Duration::from_millis);
        config.handler = self.checked.then(|| Handler { path: "/bin/check".to_owned(), arguments: Vec::new() });
        config
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Wish::Grant(ticket, site) => write!(f, "grant {ticket} s{site}"),
            Wish::Move(ticket, site) => write!(f, "move {ticket} s{site}"),
            Wish::Revoke(ticket) => write!(f, "revoke {ticket}"),
            Wish::Standby(ticket, is) => write!(f, "standby {ticket} {}", on(is)),
            Wish::Disclaim(site, is) => write!(f, "disclaim s{site} {}", on(is)),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Site(site, act) => write!(f, "s{site} {act}"),
            Act::SiteOff(site) => write!(f, "site-off s{site}"),
            Act::SiteOn(site) => write!(f, "site-on s{site}"),
            Act::ArbitratorOff(member) => write!(f, "arbitrator-off m{member}"),
            Act::ArbitratorOn(member) => write!(f, "arbitrator-on m{member}"),
            Act::Cut(from, to) => write!(f, "cut m{from} m{to}"),
            Act::Mend(from, to) => write!(f, "mend m{from} m{to}"),
            Act::Unplug(site, node) => write!(f, "unplug s{site} n{node}"),
            Act::Plug(site, node) => write!(f, "plug s{site} n{node}"),
            Act::Weather(Weather { loss, twice, delay_ms }) => {
                write!(f, "weather loss {loss} twice {twice} delay {delay_ms}")
            }
            Act::Ready(site, ready) => write!(f, "ready s{site} {}", if *ready { "yes" } else { "no" }),
            Act::Ask(site, node, wish) => write!(f, "ask s{site} n{node} {wish}"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        self.arbitrators.iter().try_for_each(|drift| writeln!(f, "arbitrator drift {drift}"))?;
        for Ticket { name, expire_ms, acquire_ms, stop_ms, checked } in &self.tickets {
            write!(f, "ticket {name} expire {expire_ms} acquire {acquire_ms}")?;
            if let Some(stop_ms) = stop_ms {
                write!(f, " stop {stop_ms}")?;
            }
            writeln!(f, "{}", if *checked { " checked" } else { "" })?;
        }
        for site in &self.sites {
            write!(f, "site watchdog {} drift", site.watchdog_ms)?;
            site.drifts.iter().try_for_each(|drift| write!(f, " {drift}"))?;
            let alone = ClusterScript { setup: site.setup.clone(), ..ClusterScript::default() }.to_string();
            let lines = alone.lines().filter(|line| !line.starts_with("seed ") && !line.starts_with("heal "));
            lines.into_iter().try_for_each(|line| write!(f, "\n  {line}"))?;
            writeln!(f)?;
        }
        self.events.iter().try_for_each(|(at, act)| writeln!(f, "at {at} {act}"))?;
        writeln!(f, "heal {}", self.heal_at)
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    /// Reads the text that `Display` writes. Empty lines and what follows `#` do not count.
    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Script::default();
        // The lines of the site that is being read.
        let mut setup: Option<String> = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let wrong = |message: String| ScriptError { line: index + 1, message };
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(first) = words.first() else { continue };
            if matches!(*first, "site" | "at" | "heal") {
                end_site(&mut script, &mut setup)?;
            }
            match *first {
                "site" => {
                    script.sites.push(read_site(&words).map_err(wrong)?);
                    // So that mistakes are found in the same line.
                    setup = Some("\n".repeat(index));
                }
                _ => match &mut setup {
                    Some(setup) => _ = write!(setup, "\n{line}"),
                    None => read_line(&mut script, &words).map_err(wrong)?,
                },
            }
        }
        end_site(&mut script, &mut setup)?;
        if script.sites.is_empty() {
            return Err(ScriptError { line: 1, message: "no `site` line: a group needs sites".into() });
        }
        Ok(script)
    }
}

/// All lines of a site were read.
fn end_site(script: &mut Script, setup: &mut Option<String>) -> Result<(), ScriptError> {
    if let Some((site, text)) = script.sites.last_mut().zip(setup.take()) {
        site.setup = text.parse::<ClusterScript>()?.setup;
        site.drifts.resize(site.setup.votes.len(), 0);
    }
    Ok(())
}

fn number<T: FromStr>(word: Option<&&str>) -> Result<T, String> {
    let word = word.ok_or("a number is missing")?;
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

/// `s3`, `m3` or `n3` is 3.
fn numbered(word: Option<&&str>) -> Result<usize, String> {
    let word = word.ok_or("a site, member or node is missing")?;
    let number = word.strip_prefix(['s', 'm', 'n']).and_then(|rest| rest.parse().ok());
    number.filter(|number| *number > 0).ok_or_else(|| format!("`{word}` is no site, member or node"))
}

/// The number behind a word, if it is there.
fn behind<T: FromStr>(words: &[&str], name: &str) -> Result<Option<T>, String> {
    let place = words.iter().position(|word| *word == name);
    place.map(|place| number(words.get(place + 1))).transpose()
}

fn read_site(words: &[&str]) -> Result<Site, String> {
    let drifts = words.iter().skip_while(|word| **word != "drift").skip(1);
    Ok(Site {
        setup: Setup::default(),
        drifts: drifts.map(|word| number(Some(word))).collect::<Result<_, _>>()?,
        watchdog_ms: behind(words, "watchdog")?.unwrap_or(0),
    })
}

fn read_line(script: &mut Script, words: &[&str]) -> Result<(), String> {
    match words[0] {
        "seed" => script.seed = number(words.get(1))?,
        "arbitrator" => script.arbitrators.push(behind(words, "drift")?.unwrap_or(0)),
        "ticket" => script.tickets.push(Ticket {
            name: words.get(1).ok_or("the ticket's name is missing")?.to_string(),
            expire_ms: behind(words, "expire")?.unwrap_or(10_000),
            acquire_ms: behind(words, "acquire")?.unwrap_or(0),
            stop_ms: behind(words, "stop")?,
            checked: words.contains(&"checked"),
        }),
        "at" => script.events.push((number(words.get(1))?, read_act(words.get(2..).unwrap_or_default())?)),
        "heal" => script.heal_at = number(words.get(1))?,
        other => return Err(format!("`{other}` is no command")),
    }
    Ok(())
}

fn read_act(words: &[&str]) -> Result<Act, String> {
    let first = || numbered(words.get(1));
    let second = || numbered(words.get(2));
    Ok(match *words.first().ok_or("what happens is missing")? {
        "site-off" => Act::SiteOff(first()?),
        "site-on" => Act::SiteOn(first()?),
        "arbitrator-off" => Act::ArbitratorOff(first()?),
        "arbitrator-on" => Act::ArbitratorOn(first()?),
        "cut" => Act::Cut(first()?, second()?),
        "mend" => Act::Mend(first()?, second()?),
        "unplug" => Act::Unplug(first()?, second()?),
        "plug" => Act::Plug(first()?, second()?),
        "weather" => {
            let of = |name| behind(words, name).map(Option::unwrap_or_default);
            Act::Weather(Weather { loss: of("loss")?, twice: of("twice")?, delay_ms: of("delay")? })
        }
        "ready" => Act::Ready(first()?, words.get(2) == Some(&"yes")),
        "ask" => Act::Ask(first()?, second()?, read_wish(words.get(3..).unwrap_or_default())?),
        site if site.starts_with('s') => {
            // Read as a history of that cluster alone in which nothing else happens.
            let alone = format!("votes 1\nat 0 {}", words[1..].join(" "));
            let events = alone.parse::<ClusterScript>().map_err(|error| error.message)?.events;
            let act = events.into_iter().next().ok_or("what happens is missing")?.1;
            Act::Site(numbered(words.first())?, act)
        }
        other => return Err(format!("`{other}` is nothing that can happen")),
    })
}

fn read_wish(words: &[&str]) -> Result<Wish, String> {
    let ticket = || words.get(1).map(|word| (*word).to_owned()).ok_or("the ticket is missing");
    let on = || words.get(2) == Some(&"on");
    Ok(match *words.first().ok_or("what is asked is missing")? {
        "grant" => Wish::Grant(ticket()?, numbered(words.get(2))?),
        "move" => Wish::Move(ticket()?, numbered(words.get(2))?),
        "revoke" => Wish::Revoke(ticket()?),
        "standby" => Wish::Standby(ticket()?, on()),
        "disclaim" => Wish::Disclaim(numbered(words.get(1))?, on()),
        other => return Err(format!("`{other}` is nothing that can be asked")),
    })
}

/// What of the resources of a site needs which ticket: by ticket, the primitives.
pub(super) fn needs(setup: &Setup) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for constraint in &setup.constraints {
        if let crate::script::Constraint::Ticket(name, ticket, _) = constraint {
            let resource = setup.resources.iter().find(|resource| resource.name == *name);
            let primitives = resource.into_iter().flat_map(crate::cib::primitives);
            all.entry(ticket.clone()).or_default().extend(primitives);
        }
    }
    all
}

//! A script: one simulated cluster, and everything that is done to it, as text that people can read, cut down and replay.
//!
//! Every seed becomes a script first (`generate`), and only scripts are run. So what a failing seed prints is exactly what
//! ran, and removing a line of it gives another valid script: that is all that shrinking does.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A whole simulated history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Chance that is not written in the script: delays of packets, durations of agents, seeds of the cores.
    pub seed: u64,
    /// The cluster.
    pub setup: Setup,
    /// What happens, in the order of time (milliseconds).
    pub events: Vec<(u64, Act)>,
    /// When all that is broken is mended, in milliseconds.
    pub heal_at: u64,
}

/// The cluster before anything happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Votes of the nodes 1, 2, 3, ….
    pub votes: Vec<u32>,
    /// Links between each two nodes.
    pub links: u8,
    /// Packets are encrypted as in production; otherwise only framed, which is faster.
    pub sealed: bool,
    /// Options of quorum, by votequorum's names.
    pub quorum: Vec<String>,
    /// Cluster options.
    pub options: Vec<(String, String)>,
    /// How nodes are fenced.
    pub fencing: Fencing,
    /// The resources.
    pub resources: Vec<Resource>,
    /// The constraints.
    pub constraints: Vec<Constraint>,
    /// How packets travel at the beginning.
    pub network: Weather,
}

/// How nodes can be fenced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// Switched off by the administrator.
    #[default]
    Off,
    /// One device fences all nodes.
    Shared,
    /// A device for each node.
    Each,
}

/// A resource of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its id. The primitives inside are called `NAME-1`, `NAME-2`, … (for a primitive, `NAME`).
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Milliseconds between monitors, 0 for none.
    pub monitor_ms: u64,
    /// Meta attributes.
    pub meta: Vec<(String, String)>,
}

/// The shape of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One primitive.
    Primitive,
    /// A group of so many primitives.
    Group(u32),
    /// An anonymous clone of a primitive.
    Clone,
    /// A promotable clone of a primitive.
    Promotable,
}

/// A constraint of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// A score of a resource on a node.
    Location(String, usize, String),
    /// The first with the second, and a score.
    Colocation(String, String, String),
    /// The first before the second.
    Order(String, String),
    /// A resource needs a ticket, and what is done with it where that is lost.
    Ticket(String, String, String),
}

/// How packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Least delay in microseconds.
    pub delay_min_us: u64,
    /// Greatest delay in microseconds. Packets overtake each other within this range.
    pub delay_max_us: u64,
    /// Packets of 100 that get lost.
    pub loss: u64,
    /// Packets of 100 that arrive twice.
    pub twice: u64,
}

/// What agents do for one operation of one resource on one node (0: on all).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// Does what it should.
    #[default]
    Works,
    /// Ends with an error and does nothing.
    Fails,
    /// Does not end before its timeout; what it did is left to chance.
    Hangs,
    /// Works, but takes so many milliseconds.
    Slow(u64),
}

/// A thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The machine loses power: all its processes are gone, and so is what was not synced to disk.
    PowerOff(usize),
    /// The machine starts.
    Boot(usize),
    /// The node process dies; executor and services go on.
    KillProcess(usize),
    /// The node process is started again.
    StartProcess(usize),
    /// The executor dies and is started again; services go on.
    KillExecutor(usize),
    /// The node process does not run for so many milliseconds.
    Pause(usize, u64),
    /// The calendar clock of a machine jumps by so many seconds.
    Clock(usize, i64),
    /// Packets from the first node to the second are lost, on one link or on all.
    Cut(usize, usize, Option<u8>),
    /// The opposite.
    Mend(usize, usize, Option<u8>),
    /// These nodes hear only each other.
    Split(Vec<usize>),
    /// What these nodes send reaches only each other, while they hear everybody.
    Mute(Vec<usize>),
    /// All links work again.
    Join,
    /// How packets travel from now on.
    Weather(Weather),
    /// The disk has no room.
    DiskFull(usize),
    /// The disk takes so many milliseconds to write.
    DiskSlow(usize, u64),
    /// The configuration on the disk is destroyed, as the node will find when it reads it again.
    DiskRots(usize),
    /// The disk works.
    DiskWorks(usize),
    /// The process of a resource dies.
    Crash(usize, String),
    /// What the agent does from now on: node (0 for all), primitive, operation.
    Agent(usize, String, String, Mood),
    /// How fencing of a node goes from now on (0 for all).
    Fence(usize, Mood),
    /// Bytes arrive that no member sent.
    Forge(usize),
    /// A client of the node asks.
    Ask(usize, Ask),
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A node attribute that is part of the configuration, such as `standby`.
    NodeOption(usize, String, String),
    /// A meta attribute of a resource.
    Meta(String, String, String),
    /// A cluster option.
    Option(String, String),
    /// A new resource.
    Add(Resource),
    /// A resource and its constraints go.
    Remove(String),
    /// A constraint with a score for a resource on a node.
    Move(String, usize, String),
    /// Several harmless changes at once.
    Note,
    /// The same, in spite of missing quorum.
    ForceNote,
    /// Forgets failures.
    Cleanup,
    /// Forgets all that is known of a primitive on a node, which is probed anew.
    Refresh(String, usize),
    /// Fences a node.
    Fence(usize),
    /// A person says that a node is dead, after having looked.
    Confirm(usize),
    /// Leaves cleanly.
    Leave,
    /// A change that is wrong in some way, about a resource.
    Nonsense(Nonsense, String),
    /// An agent tells the promotion score of its copy of this primitive.
    Score(String),
}

/// What is wrong with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// Its XML ends in the middle.
    CutOff,
    /// An element deeper than anybody may nest them.
    Deep,
    /// An id that is taken.
    SameId,
    /// An XPath that is none.
    BadPath,
    /// An element that no schema knows.
    UnknownElement,
    /// A constraint of a resource that is not there.
    NoSuchResource,
    /// A constraint of a node that is not there.
    NoSuchNode,
    /// A score that is none.
    BadScore,
    /// Values of options that are none.
    BadOptions,
    /// A role that is none.
    BadRole,
    /// An interval that is none.
    BadInterval,
    /// A group of nobody.
    EmptyGroup,
    /// A resource after itself.
    Loop,
}

impl Nonsense {
    /// All of them, with their names in scripts.
    pub(crate) const ALL: [(Nonsense, &str); 13] = [
        (Nonsense::CutOff, "cut-off"),
        (Nonsense::Deep, "deep"),
        (Nonsense::SameId, "same-id"),
        (Nonsense::BadPath, "bad-path"),
        (Nonsense::UnknownElement, "unknown-element"),
        (Nonsense::NoSuchResource, "no-such-resource"),
        (Nonsense::NoSuchNode, "no-such-node"),
        (Nonsense::BadScore, "bad-score"),
        (Nonsense::BadOptions, "bad-options"),
        (Nonsense::BadRole, "bad-role"),
        (Nonsense::BadInterval, "bad-interval"),
        (Nonsense::EmptyGroup, "empty-group"),
        (Nonsense::Loop, "loop"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// It must be refused. Other nonsense may be refused or taken, and does no harm then.
    pub(crate) fn must_be_refused(self) -> bool {
        matches!(self, Nonsense::CutOff | Nonsense::Deep | Nonsense::SameId | Nonsense::BadPath)
    }
}

/// Why a text is not a script.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Mood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mood::Works => f.write_str("works"),
            Mood::Fails => f.write_str("fails"),
            Mood::Hangs => f.write_str("hangs"),
            Mood::Slow(ms) => write!(f, "slow {ms}"),
        }
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weather { delay_min_us, delay_max_us, loss, twice } = self;
        write!(f, "network delay {delay_min_us} {delay_max_us} loss {loss} twice {twice}")
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resource { name, shape, monitor_ms, meta } = self;
        match shape {
            Shape::Primitive => write!(f, "primitive {name}")?,
            Shape::Group(size) => write!(f, "group {name} of {size}")?,
            Shape::Clone => write!(f, "clone {name}")?,
            Shape::Promotable => write!(f, "promotable {name}")?,
        }
        if *monitor_ms > 0 {
            write!(f, " monitor {monitor_ms}")?;
        }
        meta.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constraint::Location(rsc, node, score) => write!(f, "location {rsc} n{node} {score}"),
            Constraint::Colocation(rsc, with, score) => write!(f, "colocation {rsc} {with} {score}"),
            Constraint::Order(first, then) => write!(f, "order {first} {then}"),
            Constraint::Ticket(rsc, ticket, policy) => write!(f, "needs {rsc} {ticket} {policy}"),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::NodeOption(node, name, value) => write!(f, "node-option n{node} {name} {value}"),
            Ask::Meta(rsc, name, value) => write!(f, "meta {rsc} {name} {value}"),
            Ask::Option(name, value) => write!(f, "option {name} {value}"),
            Ask::Add(resource) => write!(f, "add {resource}"),
            Ask::Remove(rsc) => write!(f, "remove {rsc}"),
            Ask::Move(rsc, node, score) => write!(f, "move {rsc} n{node} {score}"),
            Ask::Note => f.write_str("note"),
            Ask::ForceNote => f.write_str("force-note"),
            Ask::Cleanup => f.write_str("cleanup"),
            Ask::Refresh(primitive, node) => write!(f, "refresh {primitive} n{node}"),
            Ask::Fence(node) => write!(f, "fence n{node}"),
            Ask::Confirm(node) => write!(f, "confirm n{node}"),
            Ask::Leave => f.write_str("leave"),
            Ask::Nonsense(kind, rsc) => write!(f, "nonsense {} {rsc}", kind.name()),
            Ask::Score(primitive) => write!(f, "score {primitive}"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_link = |link: &Option<u8>| link.map_or(String::new(), |link| format!(" link {link}"));
        let target = |node: &usize| if *node == 0 { "all".to_owned() } else { format!("n{node}") };
        match self {
            Act::PowerOff(n) => write!(f, "power-off n{n}"),
            Act::Boot(n) => write!(f, "boot n{n}"),
            Act::KillProcess(n) => write!(f, "kill-process n{n}"),
            Act::StartProcess(n) => write!(f, "start-process n{n}"),
            Act::KillExecutor(n) => write!(f, "kill-executor n{n}"),
            Act::Pause(n, ms) => write!(f, "pause n{n} {ms}"),
            Act::Clock(n, seconds) => write!(f, "clock n{n} {seconds}"),
            Act::Cut(from, to, link) => write!(f, "cut n{from} n{to}{}", on_link(link)),
            Act::Mend(from, to, link) => write!(f, "mend n{from} n{to}{}", on_link(link)),
            Act::Split(side) | Act::Mute(side) => {
                f.write_str(if matches!(self, Act::Split(_)) { "split" } else { "mute" })?;
                side.iter().try_for_each(|n| write!(f, " n{n}"))
            }
            Act::Join => f.write_str("join"),
            Act::Weather(weather) => weather.fmt(f),
            Act::DiskFull(n) => write!(f, "disk-full n{n}"),
            Act::DiskSlow(n, ms) => write!(f, "disk-slow n{n} {ms}"),
            Act::DiskRots(n) => write!(f, "disk-rots n{n}"),
            Act::DiskWorks(n) => write!(f, "disk-works n{n}"),
            Act::Crash(n, rsc) => write!(f, "crash n{n} {rsc}"),
            Act::Agent(n, rsc, operation, mood) => write!(f, "agent {} {rsc} {operation} {mood}", target(n)),
            Act::Fence(n, mood) => write!(f, "fencing {} {mood}", target(n)),
            Act::Forge(n) => write!(f, "forge n{n}"),
            Act::Ask(n, ask) => write!(f, "ask n{n} {ask}"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = &self.setup;
        writeln!(f, "seed {}", self.seed)?;
        f.write_str("votes")?;
        setup.votes.iter().try_for_each(|votes| write!(f, " {votes}"))?;
        writeln!(f, "\nlinks {}{}", setup.links, if setup.sealed { " sealed" } else { "" })?;
        if !setup.quorum.is_empty() {
            writeln!(f, "quorum {}", setup.quorum.join(" "))?;
        }
        for (name, value) in &setup.options {
            writeln!(f, "option {name} {value}")?;
        }
        let fencing = match setup.fencing {
            Fencing::Off => "off",
            Fencing::Shared => "shared",
            Fencing::Each => "each",
        };
        writeln!(f, "fencing {fencing}")?;
        setup.resources.iter().try_for_each(|resource| writeln!(f, "{resource}"))?;
        setup.constraints.iter().try_for_each(|constraint| writeln!(f, "{constraint}"))?;
        writeln!(f, "{}", setup.network)?;
        self.events.iter().try_for_each(|(at, act)| writeln!(f, "at {at} {act}"))?;
        writeln!(f, "heal {}", self.heal_at)
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    /// Reads the text that `Display` writes. Empty lines and what follows `#` do not count.
    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Script::default();
        script.setup.links = 1;
        script.setup.network = Weather { delay_min_us: 100, delay_max_us: 500, loss: 0, twice: 0 };
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = Words { words: line.split_whitespace().collect(), at: 0 };
            if !words.words.is_empty() {
                read_line(&mut script, &mut words).map_err(|message| ScriptError { line: index + 1, message })?;
            }
        }
        if script.setup.votes.is_empty() {
            return Err(ScriptError { line: 1, message: "no `votes` line: a cluster needs nodes".into() });
        }
        Ok(script)
    }
}

/// The words of a line, read from left to right.
struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.at += 1;
        self.words.get(self.at - 1).copied().ok_or_else(|| format!("{what} is missing"))
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("`{word}` is no {what}"))
    }

    /// `n3` is 3, `all` is 0.
    fn node(&mut self) -> Result<usize, String> {
        let word = self.next("node")?;
        if word == "all" {
            return Ok(0);
        }
        word.strip_prefix('n').and_then(|n| n.parse().ok()).ok_or_else(|| format!("`{word}` is no node (n1, n2, …)"))
    }

    fn text(&mut self, what: &str) -> Result<String, String> {
        self.next(what).map(str::to_owned)
    }

    /// Whether `word` comes next; then it is skipped.
    fn skip(&mut self, word: &str) -> bool {
        let there = self.words.get(self.at) == Some(&word);
        self.at += usize::from(there);
        there
    }

    fn rest(&mut self) -> &[&'a str] {
        let from = self.at.min(self.words.len());
        self.at = self.words.len();
        &self.words[from..]
    }
}

fn read_line(script: &mut Script, words: &mut Words<'_>) -> Result<(), String> {
    let setup = &mut script.setup;
    match words.next("command")? {
        "seed" => script.seed = words.number("seed")?,
        "votes" => {
            while words.at < words.words.len() {
                setup.votes.push(words.number("number of votes")?);
            }
        }
        "links" => {
            setup.links = words.number("number of links")?;
            setup.sealed = words.skip("sealed");
        }
        "quorum" => setup.quorum = words.rest().iter().map(|word| (*word).to_owned()).collect(),
        "option" => setup.options.push((words.text("name")?, words.text("value")?)),
        "fencing" => {
            setup.fencing = match words.next("kind of fencing")? {
                "off" => Fencing::Off,
                "shared" => Fencing::Shared,
                "each" => Fencing::Each,
                other => return Err(format!("`{other}` is no kind of fencing (off, shared, each)")),
            }
        }
        "network" => setup.network = read_weather(words)?,
        "location" => {
            setup.constraints.push(Constraint::Location(words.text("resource")?, words.node()?, words.text("score")?))
        }
        "colocation" => {
            let (rsc, with) = (words.text("resource")?, words.text("resource")?);
            setup.constraints.push(Constraint::Colocation(rsc, with, words.text("score")?));
        }
        "needs" => {
            let (rsc, ticket) = (words.text("resource")?, words.text("ticket")?);
            setup.constraints.push(Constraint::Ticket(rsc, ticket, words.text("policy")?));
        }
        "order" => setup.constraints.push(Constraint::Order(words.text("resource")?, words.text("resource")?)),
        "at" => {
            let at = words.number("time in milliseconds")?;
            let act = read_act(words)?;
            script.events.push((at, act));
        }
        "heal" => script.heal_at = words.number("time in milliseconds")?,
        shape => setup.resources.push(read_resource(shape, words)?),
    }
    if words.at < words.words.len() {
        return Err(format!("`{}` is too much", words.words[words.at]));
    }
    Ok(())
}

fn read_weather(words: &mut Words<'_>) -> Result<Weather, String> {
    words.skip("delay");
    let (delay_min_us, delay_max_us) = (words.number("delay")?, words.number("delay")?);
    words.skip("loss");
    let loss = words.number("percentage")?;
    words.skip("twice");
    Ok(Weather { delay_min_us, delay_max_us, loss, twice: words.number("percentage")? })
}

fn read_resource(shape: &str, words: &mut Words<'_>) -> Result<Resource, String> {
    let name = words.text("name")?;
    let shape = match shape {
        "primitive" => Shape::Primitive,
        "group" => {
            words.skip("of");
            Shape::Group(words.number("size")?)
        }
        "clone" => Shape::Clone,
        "promotable" => Shape::Promotable,
        other => return Err(format!("`{other}` is no command")),
    };
    let monitor_ms = if words.skip("monitor") { words.number("interval")? } else { 0 };
    let meta = words
        .rest()
        .iter()
        .map(|word| {
            word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or(format!("`{word}` is no name=value"))
        })
        .collect::<Result<_, _>>()?;
    Ok(Resource { name, shape, monitor_ms, meta })
}

fn read_mood(words: &mut Words<'_>) -> Result<Mood, String> {
    Ok(match words.next("mood")? {
        "works" => Mood::Works,
        "fails" => Mood::Fails,
        "hangs" => Mood::Hangs,
        "slow" => Mood::Slow(words.number("number of milliseconds")?),
        other => return Err(format!("`{other}` is no mood (works, fails, hangs, slow MS)")),
    })
}

fn read_nodes(words: &mut Words<'_>) -> Result<Vec<usize>, String> {
    let mut nodes = Vec::new();
    while words.at < words.words.len() {
        nodes.push(words.node()?);
    }
    Ok(nodes)
}

fn read_act(words: &mut Words<'_>) -> Result<Act, String> {
    let link = |words: &mut Words<'_>| if words.skip("link") { words.number("link").map(Some) } else { Ok(None) };
    Ok(match words.next("act")? {
        "power-off" => Act::PowerOff(words.node()?),
        "boot" => Act::Boot(words.node()?),
        "kill-process" => Act::KillProcess(words.node()?),
        "start-process" => Act::StartProcess(words.node()?),
        "kill-executor" => Act::KillExecutor(words.node()?),
        "pause" => Act::Pause(words.node()?, words.number("number of milliseconds")?),
        "clock" => Act::Clock(words.node()?, words.number("number of seconds")?),
        "cut" => Act::Cut(words.node()?, words.node()?, link(words)?),
        "mend" => Act::Mend(words.node()?, words.node()?, link(words)?),
        "split" => Act::Split(read_nodes(words)?),
        "mute" => Act::Mute(read_nodes(words)?),
        "join" => Act::Join,
        "network" => Act::Weather(read_weather(words)?),
        "disk-full" => Act::DiskFull(words.node()?),
        "disk-slow" => Act::DiskSlow(words.node()?, words.number("number of milliseconds")?),
        "disk-rots" => Act::DiskRots(words.node()?),
        "disk-works" => Act::DiskWorks(words.node()?),
        "crash" => Act::Crash(words.node()?, words.text("resource")?),
        "agent" => Act::Agent(words.node()?, words.text("resource")?, words.text("operation")?, read_mood(words)?),
        "fencing" => Act::Fence(words.node()?, read_mood(words)?),
        "forge" => Act::Forge(words.node()?),
        "ask" => Act::Ask(words.node()?, read_ask(words)?),
        other => return Err(format!("`{other}` is nothing that can happen")),
    })
}

fn read_ask(words: &mut Words<'_>) -> Result<Ask, String> {
    Ok(match words.next("request")? {
        "node-option" => Ask::NodeOption(words.node()?, words.text("name")?, words.text("value")?),
        "meta" => Ask::Meta(words.text("resource")?, words.text("name")?, words.text("value")?),
        "option" => Ask::Option(words.text("name")?, words.text("value")?),
        "add" => {
            let shape = words.next("shape")?;
            Ask::Add(read_resource(shape, words)?)
        }
        "remove" => Ask::Remove(words.text("resource")?),
        "move" => Ask::Move(words.text("resource")?, words.node()?, words.text("score")?),
        "note" => Ask::Note,
        "force-note" => Ask::ForceNote,
        "cleanup" => Ask::Cleanup,
        "refresh" => Ask::Refresh(words.text("primitive")?, words.node()?),
        "fence" => Ask::Fence(words.node()?),
        "confirm" => Ask::Confirm(words.node()?),
        "leave" => Ask::Leave,
        "nonsense" => {
            let word = words.next("kind of nonsense")?;
            let known = Nonsense::ALL.iter().find(|(_, name)| *name == word).map(|(kind, _)| *kind);
            Ask::Nonsense(known.ok_or_else(|| format!("`{word}` is no kind of nonsense"))?, words.text("resource")?)
        }
        "score" => Ask::Score(words.text("primitive")?),
        other => return Err(format!("`{other}` is nothing that can be asked")),
    })
}

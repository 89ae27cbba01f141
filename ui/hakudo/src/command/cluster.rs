//! `hakudo cluster`: the files that make a machine part of a cluster.
//!
//! `init` writes the configuration and a new key, and prints a token that holds both. `join` on another machine takes them from the
//! token. The token is as secret as the key: whoever has it can join.

use crate::cli::Global;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{self, Format};
use crate::world::World;
use clap::{Args, Subcommand};
use hakudo_controller::request::{QuorumOverride, Request};
use hakudo_node::config::{DEFAULT_FILE, KEY_BYTES, MOST_LINKS, NodeConfig, NodeEntry, QuorumConfig};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How every token begins, so that something else is not taken for one.
const TOKEN_PREFIX: &str = "hakudo1-";

/// What to do with the cluster as a whole.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the configuration of a new cluster, and print the token that lets other machines join
    Init(Init),
    /// Write the configuration of a machine that joins, from the token that `init` printed
    Join(Join),
    /// Print the token of this machine's cluster again (the token is secret: it holds the cluster key)
    Token(Place),
    /// Add nodes to the configuration of this machine's cluster, and print what to type on the other machines
    Add(Add),
    /// Take the nodes of a token into the configuration of this machine, leaving the rest of it as it is
    Update(Update),
    /// Let the running node of this machine read its configuration file again
    Reload,
    /// Override the quorum rule, at every member of this side
    Quorum(Quorum),
    /// Stop all resources of this node, and leave the cluster cleanly
    Leave,
    /// Show members, links and quorum
    Status(Status),
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The name of the cluster
    #[arg(long, value_name = "NAME", default_value = "hakudo")]
    name: String,
    /// A node with its address on each link, this machine among them; repeat for each node
    #[arg(long = "node", value_name = "NAME=ADDR[,ADDR2...]", required = true)]
    nodes: Vec<String>,
    /// How many votes a node has [default: 1]; repeat for each node
    #[arg(long = "votes", value_name = "NAME=VOTES")]
    votes: Vec<String>,
    /// An option of the quorum rule, as in corosync.conf: expected_votes, two_node, wait_for_all, auto_tie_breaker,
    /// auto_tie_breaker_node, last_man_standing, last_man_standing_window, allow_downscale, expected_votes_tracking
    #[arg(long = "quorum", value_name = "OPTION=VALUE")]
    quorum: Vec<String>,
    /// Which of the nodes this machine is [default: the one with its host name]
    #[arg(long, value_name = "NAME")]
    this: Option<String>,
    #[command(flatten)]
    files: Files,
}

/// Arguments of `join`.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The token; - reads it from standard input
    token: String,
    /// Which of the nodes this machine is [default: its host name]
    #[arg(long, value_name = "NAME")]
    this: Option<String>,
    #[command(flatten)]
    files: Files,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// A new node with its address on each link; repeat for each node
    #[arg(long = "node", value_name = "NAME=ADDR[,ADDR2...]", required = true)]
    nodes: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The token; - reads it from standard input
    token: String,
    #[command(flatten)]
    place: Place,
}

/// Arguments of `quorum`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Quorum {
    /// The nodes that are waited for (never seen, or lost before they told what they know) are down, run nothing, and will not come
    /// back with changes that are still needed: stop waiting for them (wait_for_all)
    #[arg(long)]
    cancel_wait_for_all: bool,
    /// So many votes are expected from now on
    #[arg(long, value_name = "VOTES")]
    expected_votes: Option<u32>,
}

/// Where the files are.
#[derive(Debug, Args)]
struct Files {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The key file [default: `key` beside the configuration file]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Overwrite files that are there
    #[arg(long)]
    force: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output_as: Format,
}

/// What a token holds.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    cluster: String,
    nodes: Vec<NodeEntry>,
    /// The quorum rule must be the same everywhere. None where an older version made the token.
    #[serde(default)]
    quorum: Option<QuorumConfig>,
    key: Vec<u8>,
}

pub(crate) fn run(command: &Command, global: &Global, world: &mut World) -> Outcome {
    match command {
        Command::Init(arguments) => init(arguments, world),
        Command::Join(arguments) => join(arguments, world),
        Command::Leave => {
            global.source(world).client("leave")?.command(&Request::Leave)?;
            writeln!(world.out, "this node left the cluster")?;
            Ok(Exit::OK)
        }
        Command::Token(place) => {
            writeln!(world.out, "{}", encode(&token_of(&load(place)?)?)?)?;
            Ok(Exit::OK)
        }
        Command::Add(arguments) => add(arguments, world),
        Command::Update(arguments) => update(arguments, world),
        Command::Reload => {
            global.source(world).client("reload")?.command(&Request::Reload)?;
            writeln!(world.out, "the node uses its configuration file as it is now")?;
            Ok(Exit::OK)
        }
        Command::Quorum(arguments) => {
            let rule = match arguments.expected_votes {
                Some(votes) => QuorumOverride::ExpectedVotes { votes },
                None => QuorumOverride::CancelWaitForAll,
            };
            global.source(world).client("quorum")?.command(&Request::Quorum(rule))?;
            writeln!(world.out, "asked for; `hakudo cluster status` shows what came of it")?;
            Ok(Exit::OK)
        }
        Command::Status(arguments) => status(arguments, global, world),
    }
}

fn load(place: &Place) -> Result<NodeConfig, Failure> {
    NodeConfig::load(&place.config).map_err(|error| Failure::new(Exit::CONFIG, format!("{error:#}")))
}

fn token_of(config: &NodeConfig) -> Result<Token, Failure> {
    let key = config.key().map_err(|error| Failure::new(Exit::CONFIG, format!("{error:#}")))?;
    Ok(Token {
        cluster: config.cluster_name.clone(),
        nodes: config.nodes.clone(),
        quorum: Some(config.quorum.clone()),
        key: key.to_vec(),
    })
}

fn add(arguments: &Add, world: &mut World) -> Outcome {
    let mut config = load(&arguments.place)?;
    let old: Vec<String> =
        config.nodes.iter().map(|node| node.name.clone()).filter(|name| *name != config.node).collect();
    // A number is never given to another node: the next is greater than all.
    let mut next = config.nodes.iter().map(|node| node.id).max().unwrap_or_default();
    let mut new = Vec::new();
    for text in &arguments.nodes {
        let index = usize::try_from(next).map_err(|_| Failure::usage("there are too many nodes"))?;
        let node = parse_node(index, text)?;
        next = node.id;
        new.push(node.name.clone());
        config.nodes.push(node);
    }
    let token = encode(&token_of(&config)?)?;
    rewrite(&config)?;
    writeln!(world.out, "The token is secret: it holds the cluster key.")?;
    if !old.is_empty() {
        writeln!(world.out, "On {} run:\n{}", old.join(" and on "), with_token("update", &token))?;
    }
    writeln!(world.out, "Then here and there: hakudo cluster reload")?;
    writeln!(world.out, "Last, on {} run:\n{}", new.join(" and on "), with_token("join", &token))?;
    writeln!(world.out, "and start the node there.")?;
    Ok(Exit::OK)
}

fn update(arguments: &Update, world: &mut World) -> Outcome {
    let mut config = load(&arguments.place)?;
    let token = decode(read_token(&arguments.token)?.trim())?;
    if token.cluster != config.cluster_name || token.key != token_of(&config)?.key {
        return Err(Failure::new(
            Exit::DATA,
            format!(
                "the token is of cluster {}, this machine is in {}, or their keys differ",
                token.cluster, config.cluster_name
            ),
        ));
    }
    config.nodes = token.nodes;
    config.quorum = token.quorum.unwrap_or(config.quorum);
    rewrite(&config)?;
    writeln!(world.out, "{} has {} nodes now: hakudo cluster reload", config.file.display(), config.nodes.len())?;
    Ok(Exit::OK)
}

/// Writes a changed configuration in the place of the one that it was read from.
fn rewrite(config: &NodeConfig) -> Result<(), Failure> {
    config.check().map_err(|error| Failure::usage(format!("{error:#}")))?;
    write_file(&config.file, output::json(config)?.as_bytes(), 0o644)
}

fn init(arguments: &Init, world: &mut World) -> Outcome {
    let mut nodes = arguments
        .nodes
        .iter()
        .enumerate()
        .map(|(index, text)| parse_node(index, text))
        .collect::<Result<Vec<_>, _>>()?;
    for text in &arguments.votes {
        give_votes(&mut nodes, text)?;
    }
    let quorum = Some(quorum(&arguments.quorum)?);
    let this = arguments.this.clone().unwrap_or_else(host_name);
    let mut key = vec![0; KEY_BYTES];
    fill_random(&mut key)?;
    let token = Token { cluster: arguments.name.clone(), nodes, quorum, key };
    write_files(&token, &this, &arguments.files)?;
    writeln!(world.out, "This machine is node {this} of cluster {}.", token.cluster)?;
    let others: Vec<&str> = token.nodes.iter().map(|node| node.name.as_str()).filter(|name| *name != this).collect();
    if !others.is_empty() {
        writeln!(world.out, "On {} run (the token is secret: it holds the cluster key):", others.join(" and on "))?;
        writeln!(world.out, "{}", with_token("join", &encode(&token)?))?;
    }
    writeln!(world.out, "Then start the node on each machine.")?;
    Ok(Exit::OK)
}

fn join(arguments: &Join, world: &mut World) -> Outcome {
    let token = decode(read_token(&arguments.token)?.trim())?;
    let this = arguments.this.clone().unwrap_or_else(host_name);
    write_files(&token, &this, &arguments.files)?;
    writeln!(world.out, "This machine is node {this} of cluster {}: start its node now.", token.cluster)?;
    Ok(Exit::OK)
}

/// What to type to give a token to a command: not among its arguments, which everybody on the machine may read.
fn with_token(command: &str, token: &str) -> String {
    format!("hakudo cluster {command} - <<END\n{token}\nEND")
}

/// Takes a `NAME=VOTES`.
fn give_votes(nodes: &mut [NodeEntry], text: &str) -> Result<(), Failure> {
    let form = "the votes of a node are written NAME=VOTES";
    let (name, votes) =
        text.split_once('=').ok_or_else(|| Failure::usage(format!("--votes {text} has no number: {form}")))?;
    let votes = votes
        .parse()
        .map_err(|_| Failure::usage(format!("--votes {text}: '{votes}' is no number of votes: {form}")))?;
    let known: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let node = nodes.iter_mut().find(|node| node.name == name).ok_or_else(|| {
        Failure::usage(format!("--votes {text}: there is no node {name}; the nodes are {}", known.join(", ")))
    })?;
    node.votes = votes;
    Ok(())
}

/// The quorum section from its options, each an `OPTION=VALUE`.
fn quorum(options: &[String]) -> Result<QuorumConfig, Failure> {
    let mut section = serde_json::Map::new();
    for option in options {
        let (name, value) = option.split_once('=').ok_or_else(|| {
            Failure::usage(format!("--quorum {option} has no value: an option is written OPTION=VALUE"))
        })?;
        // As corosync.conf has them: truth is 0 or 1 there, or yes and no.
        let value = match name {
            "expected_votes" | "last_man_standing_window" => {
                value.parse::<u64>().map_or_else(|_| value.into(), serde_json::Value::from)
            }
            "auto_tie_breaker_node" => value.into(),
            _ => hakudo_cib::values::boolean(value).map_or_else(|| value.into(), serde_json::Value::from),
        };
        section.insert(name.to_owned(), value);
    }
    serde_json::from_value(section.into()).map_err(|error| Failure::usage(format!("--quorum: {error}")))
}

/// The token as given, or from standard input where that is asked for.
fn read_token(given: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .read_line(&mut text)
        .map_err(|error| Failure::new(Exit::NO_INPUT, format!("cannot read standard input: {error}")))?;
    Ok(text)
}

fn parse_node(index: usize, text: &str) -> Result<NodeEntry, Failure> {
    let form = "a node is written NAME=ADDRESS, with a comma and another address for each further link";
    let (name, addresses) =
        text.split_once('=').ok_or_else(|| Failure::usage(format!("--node {text} has no address: {form}")))?;
    if name.is_empty() {
        return Err(Failure::usage(format!("--node {text} has no name: {form}")));
    }
    let addresses = addresses
        .split(',')
        .map(|address| {
            address
                .parse::<IpAddr>()
                .map_err(|_| Failure::usage(format!("--node {text}: '{address}' is not an IP address: {form}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if addresses.len() > MOST_LINKS {
        return Err(Failure::usage(format!("--node {text}: there are at most {MOST_LINKS} links")));
    }
    let id = u32::try_from(index + 1).map_err(|_| Failure::usage("there are too many nodes"))?;
    Ok(NodeEntry { id, name: name.to_owned(), addresses, votes: 1 })
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::new(Exit::SOFTWARE, format!("the kernel gives no random bytes: {error}")))?;
    }
    Ok(())
}

/// Writes configuration and key, or neither.
fn write_files(token: &Token, this: &str, files: &Files) -> Result<(), Failure> {
    let key_file = files.key.clone().unwrap_or_else(|| files.config.with_file_name("key"));
    let mut config = serde_json::json!({
        "cluster_name": token.cluster,
        "node": this,
        "nodes": token.nodes,
        "key_file": key_file,
    });
    if let Some(quorum) = token.quorum.as_ref().filter(|quorum| **quorum != QuorumConfig::default()) {
        config["quorum"] = serde_json::to_value(quorum)
            .map_err(|error| Failure::new(Exit::SOFTWARE, format!("cannot write the quorum options: {error}")))?;
    }
    let checked: NodeConfig = serde_json::from_value(config.clone())
        .map_err(|error| Failure::new(Exit::SOFTWARE, format!("the new configuration is not valid: {error}")))?;
    if !token.nodes.iter().any(|node| node.name == this) {
        let known: Vec<&str> = token.nodes.iter().map(|node| node.name.as_str()).collect();
        return Err(Failure::usage(format!(
            "'{this}' is none of the nodes, which are {}: say which one this machine is with --this",
            known.join(", ")
        )));
    }
    checked.check().map_err(|error| Failure::usage(format!("{error:#}")))?;
    for file in [&files.config, &key_file] {
        if file.exists() && !files.force {
            return Err(Failure::new(
                Exit::EXISTS,
                format!(
                    "{} is there already: this machine belongs to a cluster; --force overwrites it",
                    file.display()
                ),
            ));
        }
    }
    let text = output::json(&config)?;
    write_file(&key_file, &token.key, 0o600)?;
    write_file(&files.config, text.as_bytes(), 0o644)
}

/// Writes a file whole or not at all.
fn write_file(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let cannot =
        |error: std::io::Error| Failure::new(Exit::CANNOT_CREATE, format!("cannot write {}: {error}", file.display()));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = file.with_file_name(name);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut target| target.write_all(bytes).and_then(|()| target.sync_all()))
        .and_then(|()| std::fs::rename(&new, file));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&new);
        cannot(error)
    })
}

fn encode(token: &Token) -> Result<String, Failure> {
    let bytes = serde_json::to_vec(token)
        .map_err(|error| Failure::new(Exit::SOFTWARE, format!("cannot write the token: {error}")))?;
    Ok(format!("{TOKEN_PREFIX}{}", base64(&bytes)))
}

fn decode(text: &str) -> Result<Token, Failure> {
    let wrong = |why: &str| {
        Failure::new(
            Exit::DATA,
            format!("this is not a token of `hakudo cluster init` ({why}): copy all of what init printed"),
        )
    };
    let body = text.strip_prefix(TOKEN_PREFIX).ok_or_else(|| wrong("it does not begin with hakudo1-"))?;
    let bytes = from_base64(body).ok_or_else(|| wrong("there is a character that does not belong in it"))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| wrong("part of it is missing"))?;
    if token.key.len() != KEY_BYTES {
        return Err(wrong("its key has another length"));
    }
    Ok(token)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 for URLs and file names, without padding (RFC 4648 §5).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let digit = (group >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut group = 0u32;
        for character in chunk {
            let digit = ALPHABET.iter().position(|known| known == character)?;
            group = group << 6 | u32::try_from(digit).ok()?;
        }
        group <<= 6 * (4 - chunk.len());
        let all = group.to_be_bytes();
        bytes.extend(&all[1..chunk.len()]);
    }
    Some(bytes)
}

fn status(arguments: &Status, global: &Global, world: &mut World) -> Outcome {
    let state = global.source(world).client("cluster status")?.cluster()?;
    match arguments.output_as {
        Format::Json => write!(world.out, "{}", output::json(&state)?)?,
        Format::Xml => {
            return Err(Failure::usage("the state of the cluster is told as text or JSON: use --output-as=json"));
        }
        Format::Text => {
            let quorum = if state.quorate { "quorate" } else { "NOT quorate" };
            let (here, needed) = state.votes;
            writeln!(world.out, "Node {}: {quorum} ({here} votes here, {needed} needed)", state.local)?;
            writeln!(world.out, "Leader: {}", state.leader.as_deref().unwrap_or("none"))?;
            for node in &state.nodes {
                writeln!(
                    world.out,
                    "{:>4} {}: {}",
                    node.id,
                    node.name,
                    if node.member { "member" } else { "not here" }
                )?;
                for (number, link) in node.links.iter().enumerate() {
                    let up = if link.up { "up" } else { "DOWN" };
                    let time = match link.round_trip_us {
                        0 => String::new(),
                        us => format!(", round trip {us} us"),
                    };
                    writeln!(world.out, "       link {number} {}: {up}{time}", link.address)?;
                }
            }
            for (severity, text) in &state.alerts {
                writeln!(world.out, "{}: {text}", format!("{severity:?}").to_lowercase())?;
            }
        }
    }
    Ok(Exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use expect_test::expect;

    #[test]
    fn base64_goes_both_ways() {
        for length in 0..40u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(83)).collect();
            assert_eq!(from_base64(&base64(&bytes)), Some(bytes));
        }
        assert_eq!(base64(b"hakudo"), "aGFrdWRv");
        assert_eq!(from_base64("a"), None);
        assert_eq!(from_base64("a+b="), None);
    }

    #[test]
    fn a_cluster_is_made_and_joined() {
        let folder = std::env::temp_dir().join(format!("hakudo-cluster-{}", std::process::id()));
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let (one, two) = (file("one/cluster.json"), file("two/cluster.json"));
        let nodes = ["--node", "alpha=192.0.2.1", "--node", "beta=192.0.2.2"];
        let made = testing::hakudo(&[&["cluster", "init", "--this", "alpha", "--config", &one], &nodes[..]].concat());
        let token = made.split_whitespace().find(|word| word.starts_with(TOKEN_PREFIX)).unwrap();
        let joined = testing::hakudo(&["cluster", "join", "--this", "beta", "--config", &two, token]);
        expect![[r#"
            This machine is node beta of cluster hakudo: start its node now.
        "#]]
        .assert_eq(&joined);
        assert_eq!(std::fs::read(file("one/key")).unwrap(), std::fs::read(file("two/key")).unwrap());
        let again = testing::hakudo(&["cluster", "join", "--this", "beta", "--config", &two, token]);
        assert!(again.contains("is there already") && again.ends_with("[exit 108]\n"), "{again}");
        let stranger = testing::hakudo(&["cluster", "join", "--this", "gamma", "--config", &file("x"), token]);
        assert!(stranger.contains("none of the nodes, which are alpha, beta"), "{stranger}");
        assert!(!folder.join("x").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_node_is_added() {
        let folder = std::env::temp_dir().join(format!("hakudo-cluster-add-{}", std::process::id()));
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let (one, two) = (file("one/cluster.json"), file("two/cluster.json"));
        let nodes = ["--node", "alpha=192.0.2.1", "--node", "beta=192.0.2.2"];
        testing::hakudo(&[&["cluster", "init", "--this", "alpha", "--config", &one], &nodes[..]].concat());
        let token = testing::hakudo(&["cluster", "token", "--config", &one]);
        testing::hakudo(&["cluster", "join", "--this", "beta", "--config", &two, token.trim()]);
        let added = testing::hakudo(&["cluster", "add", "--node", "gamma=192.0.2.3", "--config", &one]);
        let token = added.split_whitespace().find(|word| word.starts_with(TOKEN_PREFIX)).unwrap();
        expect![[r#"
            The token is secret: it holds the cluster key.
            On beta run:
            hakudo cluster update - <<END
            TOKEN
            END
            Then here and there: hakudo cluster reload
            Last, on gamma run:
            hakudo cluster join - <<END
            TOKEN
            END
            and start the node there.
        "#]]
        .assert_eq(&added.replace(token, "TOKEN"));
        let updated = testing::hakudo(&["cluster", "update", token, "--config", &two]);
        assert!(updated.contains("has 3 nodes now"), "{updated}");
        assert_eq!(NodeConfig::load(Path::new(&two)).unwrap().nodes[2].id, 3);
        let twice = testing::hakudo(&["cluster", "add", "--node", "gamma=192.0.2.4", "--config", &one]);
        assert!(twice.contains("two nodes are called \"gamma\"") && twice.ends_with("[exit 64]\n"), "{twice}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_not_a_token_is_said() {
        let said = |token: &str| testing::hakudo(&["cluster", "join", token]);
        assert!(said("nonsense").contains("does not begin with"));
        assert!(said("hakudo1-e30").contains("part of it is missing"));
        assert!(testing::hakudo(&["cluster", "init", "--node", "a"]).contains("has no address"));
    }

    #[test]
    fn what_cannot_be_a_cluster_is_not_begun() {
        let folder = std::env::temp_dir().join(format!("hakudo-cluster-wrong-{}", std::process::id()));
        let config = folder.join("cluster.json").to_str().unwrap().to_owned();
        let said = |words: &[&str]| testing::hakudo(&[&["cluster", "init", "--config", &config], words].concat());
        let two = ["--node", "alpha=192.0.2.1", "--node", "beta=192.0.2.2"];
        assert_eq!(
            said(&two),
            format!(
                "hakudo: '{}' is none of the nodes, which are alpha, beta: say which one this machine is with --this\n\
                 [exit 64]\n",
                host_name()
            )
        );
        let nodes: Vec<String> = (1..=33).map(|n| format!("--node=n{n}=192.0.2.{n}")).collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).chain(["--this", "n1"]).collect();
        assert_eq!(said(&nodes), "hakudo: 33 nodes are configured, at most 32 are possible\n[exit 64]\n");
        let uneven = ["--node", "alpha=192.0.2.1,198.51.100.1", "--node", "beta=192.0.2.2", "--this", "alpha"];
        let uneven = said(&uneven);
        assert!(uneven.contains("every node needs one a link") && !uneven.contains("--this"), "{uneven}");
        let with = |more: &[&str]| said(&[&two[..], &["--this", "alpha"], more].concat());
        assert!(with(&["--votes", "gamma=2"]).contains("the nodes are alpha, beta"));
        assert!(with(&["--votes", "beta=many"]).contains("'many' is no number of votes"));
        assert!(with(&["--quorum", "two_nodes=1"]).contains("unknown field `two_nodes`"));
        assert!(with(&["--quorum", "two_node=perhaps"]).contains("invalid type: string \"perhaps\""));
        assert!(with(&["--votes", "alpha=0", "--votes", "beta=0"]).contains("there are no votes"));
        assert!(!folder.exists());
    }

    #[test]
    fn votes_and_quorum_are_those_of_all() {
        let folder = std::env::temp_dir().join(format!("hakudo-cluster-quorum-{}", std::process::id()));
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let (one, two) = (file("one/cluster.json"), file("two/cluster.json"));
        let made = testing::hakudo(&[
            "cluster",
            "init",
            "--config",
            &one,
            "--this",
            "alpha",
            "--node",
            "alpha=192.0.2.1",
            "--node",
            "beta=192.0.2.2",
            "--votes",
            "alpha=2",
            "--quorum",
            "wait_for_all=1",
            "--quorum",
            "expected_votes=3",
            "--quorum",
            "auto_tie_breaker=yes",
            "--quorum",
            "auto_tie_breaker_node=2 1",
        ]);
        let token = made.split_whitespace().find(|word| word.starts_with(TOKEN_PREFIX)).unwrap();
        assert!(made.contains("hakudo cluster join - <<END\n"), "{made}");
        testing::hakudo(&["cluster", "join", "--this", "beta", "--config", &two, token]);
        let expected = QuorumConfig {
            expected_votes: Some(3),
            wait_for_all: Some(true),
            auto_tie_breaker: true,
            auto_tie_breaker_node: Some("2 1".to_owned()),
            ..QuorumConfig::default()
        };
        for config in [&one, &two] {
            let config = NodeConfig::load(Path::new(config)).unwrap();
            assert_eq!((&config.quorum, config.nodes[0].votes), (&expected, 2));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

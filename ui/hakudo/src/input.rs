//! Where the CIB comes from: the node of this machine, a file, or standard input.

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::world::World;
use hakudo_cib::{Document, Element, ParseError, upgrade};
use hakudo_controller::request::ClusterState;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where to read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The node of this machine.
    Live(PathBuf),
    /// A file.
    File(PathBuf),
    /// Standard input.
    Standard,
}

impl Source {
    /// The file that was asked for, or `CIB_file`, or else the node.
    pub(crate) fn of(file: Option<&Path>, socket: Option<&Path>, world: &World) -> Self {
        match (file, socket, &world.cib_file) {
            (Some(file), _, _) if file.as_os_str() == "-" => Source::Standard,
            (Some(file), _, _) => Source::File(file.to_owned()),
            (None, Some(socket), _) => Source::Live(socket.to_owned()),
            (None, None, Some(file)) => Source::File(file.clone()),
            (None, None, None) => Source::Live(world.socket.clone()),
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Source::Live(socket) => format!("the CIB of the node at {}", socket.display()),
            Source::File(file) => file.display().to_string(),
            Source::Standard => "standard input".to_owned(),
        }
    }

    /// A connection to the node, for what only a running cluster can do.
    pub(crate) fn client(&self, what: &str) -> Result<Client, Failure> {
        match self {
            Source::Live(socket) => Client::connect(socket),
            Source::File(_) | Source::Standard => Err(Failure::usage(format!(
                "{what} needs a running cluster, and {} is only a file: leave --file and CIB_file away",
                self.name()
            ))),
        }
    }

    /// The text of the CIB, and what the node says of the cluster.
    pub(crate) fn text(&self) -> Result<(String, Option<ClusterState>), Failure> {
        match self {
            Source::Live(socket) => {
                let mut client = Client::connect(socket)?;
                let text = client.cib()?;
                Ok((text, Some(client.cluster()?)))
            }
            Source::File(file) => {
                let bytes = std::fs::read(file).map_err(|error| {
                    Failure::new(Exit::NO_INPUT, format!("cannot read {}: {error}", file.display()))
                })?;
                Ok((utf8(bytes, &self.name())?, None))
            }
            Source::Standard => {
                let mut bytes = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut bytes)
                    .map_err(|error| Failure::new(Exit::NO_INPUT, format!("cannot read standard input: {error}")))?;
                Ok((utf8(bytes, &self.name())?, None))
            }
        }
    }

    /// The CIB, in the form of today's schema, and what the node says of the cluster.
    pub(crate) fn cib(&self) -> Result<(Document, Option<ClusterState>), Failure> {
        self.cib_with_notes(&mut Vec::new())
    }

    /// The same, with what is to be said about the upgrade.
    pub(crate) fn cib_with_notes(
        &self,
        notes: &mut Vec<upgrade::Note>,
    ) -> Result<(Document, Option<ClusterState>), Failure> {
        let (text, cluster) = self.text()?;
        Ok((parse_today(&text, &self.name(), notes)?, cluster))
    }
}

fn utf8(bytes: Vec<u8>, name: &str) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        Failure::new(
            Exit::DATA,
            format!("{name} is not UTF-8: byte {} does not begin a character", error.utf8_error().valid_up_to()),
        )
    })
}

/// Reads a CIB as it is written.
pub(crate) fn parse(text: &str, name: &str) -> Result<Document, Failure> {
    let document = Document::parse(text).map_err(|error| Failure::new(Exit::CONFIG, format!("{name}:{error}")))?;
    check_root(&document)
        .map_err(|why| Failure::new(Exit::CONFIG, format!("{name}:{}: {why}", document.root().position())))?;
    Ok(document)
}

/// Reads a CIB and brings it into the form of today's schema; what is to be said about that goes to `notes`.
pub(crate) fn parse_today(text: &str, name: &str, notes: &mut Vec<upgrade::Note>) -> Result<Document, Failure> {
    let document = parse(text, name)?;
    let upgraded =
        upgrade::upgrade(&document).map_err(|error| Failure::new(Exit::CONFIG, format!("{name}: {error}")))?;
    notes.extend(upgraded.notes);
    Ok(upgraded.document)
}

/// Reads a whole CIB, or a `<configuration>` alone, which becomes one of today's schema.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read_configuration(text: &str) -> Result<Document, ParseError> {
    let document = Document::parse(text)?;
    if document.root().name() == "configuration" {
        let cib = Element::new("cib").with("validate-with", upgrade::LATEST_SCHEMA);
        return Ok(Document::new(cib.with_child(document.root().clone())));
    }
    check_root(&document).map_err(|message| ParseError { position: document.root().position(), message })?;
    Ok(document)
}

/// Why a document cannot be a CIB.
fn check_root(document: &Document) -> Result<(), String> {
    match document.root().name() {
        "cib" => Ok(()),
        other => Err(format!(
            "the root element is <{other}>, but a configuration is a <cib> or a <configuration>: give the whole file"
        )),
    }
}

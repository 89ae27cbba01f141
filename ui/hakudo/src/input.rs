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

    /// Whether a running cluster is asked, and not a file.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Source::Live(_))
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
                Ok((decoded(bytes, &self.name())?, None))
            }
            Source::Standard => {
                let mut bytes = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut bytes)
                    .map_err(|error| Failure::new(Exit::NO_INPUT, format!("cannot read standard input: {error}")))?;
                Ok((decoded(bytes, &self.name())?, None))
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

/// The text of bytes that came from outside, in the encoding that they say they have: UTF-8, UTF-16 or ISO-8859-1.
pub(crate) fn decoded(bytes: Vec<u8>, name: &str) -> Result<String, Failure> {
    let wrong = |why: String| Failure::new(Exit::DATA, format!("{name}{why}"));
    let utf_16 = |bytes: &[u8], word: fn([u8; 2]) -> u16| {
        let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| word([pair[0], pair[1]])).collect();
        String::from_utf16(&words).map_err(|error| wrong(format!(" is no UTF-16, as its first bytes say ({error})")))
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => return utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf_16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => return utf_16(&bytes, u16::from_le_bytes),
        [0, b'<', ..] => return utf_16(&bytes, u16::from_be_bytes),
        _ => {}
    }
    let declared = declared_encoding(&bytes).unwrap_or_default().to_ascii_lowercase();
    match declared.as_str() {
        "" | "utf-8" | "utf8" | "us-ascii" | "ascii" => {}
        // Its characters are the first ones of Unicode, in the same order.
        "iso-8859-1" | "latin1" => return Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        other => {
            let how = format!("iconv -f {other} -t UTF-8, and declare encoding=\"UTF-8\" in the first line");
            return Err(wrong(format!(" is written in {other}, which is not understood here: convert it ({how})")));
        }
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let byte = error.as_bytes().get(good).copied().unwrap_or_default();
        wrong(format!(
            ":{line}:{column}: the byte {byte:#04x} does not belong into UTF-8: if the file has another encoding, declare it in \
             its first line (<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>), or convert it with iconv"
        ))
    })
}

/// The encoding that an XML declaration at the beginning names.
fn declared_encoding(bytes: &[u8]) -> Option<&str> {
    let end = bytes.windows(2).take(200).position(|pair| pair == b"?>")?;
    let declaration = std::str::from_utf8(&bytes[..end]).ok()?.trim_start_matches('\u{feff}').strip_prefix("<?xml")?;
    let (_, after) = declaration.split_once("encoding")?;
    let after = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    after[1..].split(quote).next()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        decoded(bytes.to_vec(), "cib.xml").unwrap_or_else(|failure| failure.to_string())
    }

    #[test]
    fn encodings_are_as_declared() {
        assert_eq!(said("<cib a='ä'/>".as_bytes()), "<cib a='ä'/>");
        let latin = b"<?xml version=\"1.0\" encoding='ISO-8859-1'?>\n<cib a='\xe4'/>";
        assert_eq!(said(latin), "<?xml version=\"1.0\" encoding='ISO-8859-1'?>\n<cib a='ä'/>");
        assert!(Document::parse(&said(latin)).is_ok());
        let text = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><cib a='ä€'/>";
        let words = || std::iter::once(0xfeff).chain(text.encode_utf16());
        let (big, little): (Vec<u8>, Vec<u8>) =
            (words().flat_map(u16::to_be_bytes).collect(), words().flat_map(u16::to_le_bytes).collect());
        for bytes in [&big[..], &little, &big[2..], &little[2..]] {
            assert_eq!(said(bytes), text);
        }
        assert!(Document::parse(text).is_ok());
    }

    #[test]
    fn what_is_no_text_is_said_with_its_place() {
        let wrong = said(b"<cib>\n  <x \xc3\xa4='\xe4'/></cib>");
        assert!(wrong.starts_with("cib.xml:2:9: the byte 0xe4 does not belong into UTF-8"), "{wrong}");
        let other = said(b"<?xml version='1.0' encoding='windows-1252'?><cib/>");
        assert!(other.contains("iconv -f windows-1252 -t UTF-8"), "{other}");
        let half = said(&[0xff, 0xfe, 0x00, 0xd8]);
        assert!(half.contains("is no UTF-16"), "{half}");
    }
}

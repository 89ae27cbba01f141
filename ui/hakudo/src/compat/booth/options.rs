//! The command lines of `booth`, `boothd` and `geostore`: a word that says what to do, then options and words in any order.
//! What is wrong with one is said in booth's words, and ends with 1.

use hakudo_tickets::booth::wire::Command;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folder of configurations that are named only.
const FOLDER: &str = "/etc/booth";

/// By which name this program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Name {
    Booth,
    Geostore,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Call {
    /// How these commands are used.
    Help,
    Version,
    /// To be a member of the group.
    Daemon(Options),
    /// Whether the daemon runs.
    Status(Options),
    /// To ask the group.
    Ask(Command, Options),
}

/// What stands behind the first word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Options {
    /// `-c`: a path, or a name.
    pub(in super::super) config: Option<String>,
    /// `-s`
    pub(in super::super) site: Option<String>,
    /// `-t`, or the first word of a grant and a revocation.
    pub(in super::super) ticket: Option<String>,
    /// `-l`
    pub(in super::super) lock_file: Option<PathBuf>,
    /// `-S`
    pub(in super::super) foreground: bool,
    /// `-D`
    pub(in super::super) debug: bool,
    /// `-F`
    pub(in super::super) immediate: bool,
    /// `-w`
    pub(in super::super) wait: bool,
    /// `-C`
    pub(in super::super) wait_commit: bool,
    /// The attribute of geostore, and its value.
    pub(in super::super) attribute: Option<String>,
    pub(in super::super) value: Option<String>,
}

/// Why a command line means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Wrong {
    /// Said as it is.
    Plain(String),
    /// Said as a line of booth's log.
    Logged(String),
    /// Told by how the command is used.
    Usage,
}

impl Options {
    /// The file of the configuration.
    pub(in super::super) fn config_file(&self) -> PathBuf {
        match self.config.as_deref().unwrap_or("booth") {
            path if path.contains('/') => PathBuf::from(path),
            name => Path::new(FOLDER).join(format!("{name}.conf")),
        }
    }

    /// The base name of that file.
    pub(in super::super) fn config_name(&self) -> String {
        self.config_file().file_stem().map_or_else(|| "booth".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }
}

/// What it is to do, in the words of [`Call`] without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Daemon,
    Status,
    Ask(Command),
}

/// Reads a command line; the program's name comes first.
pub(in super::super) fn read(name: Name, arguments: &[OsString]) -> Result<Call, Wrong> {
    let words: Vec<String> = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let mut words = words.iter().map(String::as_str).peekable();
    match words.peek().copied() {
        None | Some("help" | "--help" | "-h") => return Ok(Call::Help),
        Some("version" | "--version" | "-V") => return Ok(Call::Version),
        _ => {}
    }
    if name == Name::Booth && words.next_if_eq(&"client").is_some() && words.peek().is_none() {
        return Err(Wrong::Usage);
    }
    let word = words.next().unwrap_or_default();
    let kind = match (name, word) {
        (Name::Booth, "daemon" | "start" | "site" | "arbitrator") => Kind::Daemon,
        (Name::Booth, "status") => Kind::Status,
        (Name::Booth, "list") => Kind::Ask(Command::List),
        (Name::Booth, "peers") => Kind::Ask(Command::Peers),
        (Name::Booth, "grant") => Kind::Ask(Command::Grant),
        (Name::Booth, "revoke") => Kind::Ask(Command::Revoke),
        (Name::Geostore, "set") => Kind::Ask(Command::SetAttribute),
        (Name::Geostore, "get") => Kind::Ask(Command::GetAttribute),
        (Name::Geostore, "delete") => Kind::Ask(Command::DeleteAttribute),
        (Name::Geostore, "list") => Kind::Ask(Command::ListAttributes),
        (Name::Booth, _) => return Err(Wrong::Plain(format!("client operation \"{word}\" is unknown"))),
        (Name::Geostore, _) => return Err(Wrong::Plain(format!("attribute operation \"{word}\" is unknown"))),
    };
    let Some((mut options, rest)) = options(name, kind, words)? else { return Ok(Call::Help) };
    let mut rest = rest.into_iter();
    match kind {
        Kind::Ask(Command::Grant | Command::Revoke) => options.ticket = options.ticket.or_else(|| rest.next()),
        Kind::Ask(_) if name == Name::Geostore => {
            (options.attribute, options.value) = (rest.next(), rest.next());
            if kind == Kind::Ask(Command::SetAttribute) && options.attribute.is_some() && options.value.is_none() {
                return Err(Wrong::Plain("not enough arguments".to_owned()));
            }
        }
        _ => {}
    }
    Ok(match kind {
        Kind::Daemon => Call::Daemon(options),
        Kind::Status => Call::Status(options),
        Kind::Ask(command) => Call::Ask(command, options),
    })
}

/// The options, and the words between them; nothing where help is asked for.
fn options<'a>(
    name: Name,
    kind: Kind,
    words: impl Iterator<Item = &'a str>,
) -> Result<Option<(Options, Vec<String>)>, Wrong> {
    let known = if name == Name::Geostore { "c:Dt:s:h" } else { "c:Dl:t:s:FhSwC" };
    let program = if name == Name::Geostore { "geostore" } else { "booth" };
    let bad = |what: String| Wrong::Plain(format!("{program}: {what}\nPlease use '-h' for usage."));
    let (mut options, mut rest) = (Options::default(), Vec::new());
    let mut words = words;
    while let Some(word) = words.next() {
        let mut letters = match word.strip_prefix('-') {
            Some("-") => {
                rest.extend(words.map(str::to_owned));
                break;
            }
            Some(letters) if !letters.is_empty() => letters,
            _ => {
                rest.push(word.to_owned());
                continue;
            }
        };
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            let Some(at) = known.find(letter).filter(|_| letter != ':') else {
                return Err(bad(format!("invalid option -- '{letter}'")));
            };
            let mut value = String::new();
            if known[at + 1..].starts_with(':') {
                let given = if letters.is_empty() { words.next() } else { Some(std::mem::take(&mut letters)) };
                value = given.ok_or_else(|| bad(format!("option requires an argument -- '{letter}'")))?.to_owned();
            }
            if letter == 'h' {
                return Ok(None);
            }
            take(&mut options, kind, letter, value)?;
        }
    }
    Ok(Some((options, rest)))
}

/// Takes one option, where it means something to what is done.
fn take(options: &mut Options, kind: Kind, letter: char, value: String) -> Result<(), Wrong> {
    let not_here = |words: &str| Err(Wrong::Logged(words.to_owned()));
    let asks_for = |commands: &[Command]| commands.iter().any(|command| kind == Kind::Ask(*command));
    let of_geostore = [Command::SetAttribute, Command::GetAttribute, Command::DeleteAttribute, Command::ListAttributes];
    match letter {
        'c' => options.config = Some(value),
        'l' => options.lock_file = Some(PathBuf::from(value)),
        'D' => options.debug = true,
        'S' => options.foreground = true,
        't' if asks_for(&[Command::Grant, Command::Revoke]) || asks_for(&of_geostore) => options.ticket = Some(value),
        't' => return Err(Wrong::Usage),
        's' if kind == Kind::Daemon && !options.debug => return not_here("\"-s\" not allowed in daemon mode."),
        's' => options.site = Some(value),
        'F' if asks_for(&[Command::Grant]) => options.immediate = true,
        'F' => return not_here("use \"-F\" only for client grant"),
        'w' if asks_for(&[Command::Grant, Command::Revoke]) => options.wait = true,
        'w' => return not_here("use \"-w\" only for grant and revoke"),
        // Whoever waits for the end waits for the outcome too.
        'C' if asks_for(&[Command::Grant]) => (options.wait, options.wait_commit) = (true, true),
        _ => return not_here("use \"-C\" only for grant"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booth(line: &str) -> Result<Call, Wrong> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        read(if line.starts_with("geostore") { Name::Geostore } else { Name::Booth }, &words)
    }

    #[test]
    fn the_first_word_says_what_to_do() {
        for line in ["booth", "boothd", "geostore", "booth -h", "booth help", "booth list -h", "geostore --help"] {
            assert_eq!(booth(line), Ok(Call::Help), "{line}");
        }
        assert_eq!(booth("booth version"), Ok(Call::Version));
        assert_eq!(booth("booth list"), Ok(Call::Ask(Command::List, Options::default())));
        assert_eq!(booth("booth client list"), booth("booth list"));
        assert_eq!(booth("booth client"), Err(Wrong::Usage));
        assert_eq!(booth("booth -x"), Err(Wrong::Plain("client operation \"-x\" is unknown".into())));
        assert_eq!(booth("geostore all"), Err(Wrong::Plain("attribute operation \"all\" is unknown".into())));
        assert_eq!(booth("booth status"), Ok(Call::Status(Options::default())));
        for word in ["daemon", "start", "site", "arbitrator"] {
            let Ok(Call::Daemon(options)) = booth(&format!("boothd {word} -S -c /etc/x.conf -l /run/x.pid")) else {
                panic!("{word}")
            };
            assert!(options.foreground && options.lock_file == Some("/run/x.pid".into()));
            assert_eq!(options.config_file(), Path::new("/etc/x.conf"));
        }
    }

    #[test]
    fn options_and_words_come_in_any_order() {
        let expected = Options {
            config: Some("dr".into()),
            site: Some("192.0.2.1".into()),
            ticket: Some("T".into()),
            wait: true,
            wait_commit: true,
            immediate: true,
            ..Options::default()
        };
        assert_eq!(expected.config_file(), Path::new("/etc/booth/dr.conf"));
        for line in ["-FC -s 192.0.2.1 -cdr T", "T -C -F -c dr -s192.0.2.1", "-t T -FCc dr -s 192.0.2.1 -- more"] {
            assert_eq!(
                booth(&format!("booth grant {line}")),
                Ok(Call::Ask(Command::Grant, expected.clone())),
                "{line}"
            );
        }
        let Ok(Call::Ask(Command::SetAttribute, options)) = booth("geostore set -t T state -- -1") else { panic!() };
        assert_eq!((options.attribute.as_deref(), options.value.as_deref()), (Some("state"), Some("-1")));
    }

    #[test]
    fn what_means_nothing_is_refused_in_booths_words() {
        let logged = |text: &str| Err(Wrong::Logged(text.into()));
        assert_eq!(booth("booth list -w"), logged("use \"-w\" only for grant and revoke"));
        assert_eq!(booth("booth revoke -C T"), logged("use \"-C\" only for grant"));
        assert_eq!(booth("booth list -F"), logged("use \"-F\" only for client grant"));
        assert_eq!(booth("boothd daemon -s 192.0.2.1"), logged("\"-s\" not allowed in daemon mode."));
        assert_eq!(booth("booth list -t T"), Err(Wrong::Usage));
        let plain = |text: &str| Err(Wrong::Plain(format!("{text}\nPlease use '-h' for usage.")));
        assert_eq!(booth("booth list -x"), plain("booth: invalid option -- 'x'"));
        assert_eq!(booth("booth list -:"), plain("booth: invalid option -- ':'"));
        assert_eq!(booth("booth list -c"), plain("booth: option requires an argument -- 'c'"));
        assert_eq!(booth("geostore list -w"), plain("geostore: invalid option -- 'w'"));
        assert_eq!(booth("geostore set a"), Err(Wrong::Plain("not enough arguments".into())));
    }
}

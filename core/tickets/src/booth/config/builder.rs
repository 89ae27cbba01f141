//! From settings with their places to a configuration, or to all that is wrong with it.

mod whole;

use super::keywords::{closest, is_global, is_host_name, is_ticket_option};
use super::{Comparison, Host, Kind, LONGEST_NAME, Lag, MOST_MEMBERS, Member, Mode, Prerequisite, Problem, When};
use hakudo_base::Severity;
use hakudo_cib::{Element, Position};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// The longest time, in seconds: boothd keeps milliseconds in 31 bits.
const LONGEST_TIME: u64 = 2_147_483;
/// The name under which options of all following tickets are given.
const DEFAULTS: &str = "__defaults__";

/// Where a value was written.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// At this byte of a text.
    Text(usize),
    /// In an element of a document: see [`Builder::in_document`].
    Element(usize),
}

/// A place in a document.
#[derive(Debug)]
struct Place {
    position: Position,
    id: String,
    attribute: Option<&'static str>,
}

/// A piece of text with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) text: &'a str,
    pub(super) at: At,
}

impl<'a> Value<'a> {
    pub(super) fn part(self, range: Range<usize>) -> Value<'a> {
        let at = match self.at {
            At::Text(start) => At::Text(start + range.start),
            element @ At::Element(_) => element,
        };
        Value { text: self.text.get(range).unwrap_or_default(), at }
    }

    pub(super) fn trimmed_end(self) -> Value<'a> {
        self.part(0..self.text.trim_end().len())
    }

    pub(super) fn trimmed(self) -> Value<'a> {
        let start = self.text.len() - self.text.trim_start().len();
        self.part(start..self.text.len()).trimmed_end()
    }

    pub(super) fn first_word(self) -> Value<'a> {
        self.part(0..self.text.find(char::is_whitespace).unwrap_or(self.text.len()))
    }

    /// The pieces between `separators`, with their places.
    fn split(self, separators: fn(char) -> bool) -> impl Iterator<Item = Value<'a>> {
        let base = self.text.as_ptr() as usize;
        self.text.split(separators).map(move |piece| {
            let start = piece.as_ptr() as usize - base;
            self.part(start..start + piece.len())
        })
    }

    fn words(self) -> impl Iterator<Item = Value<'a>> {
        self.split(char::is_whitespace).filter(|word| !word.text.is_empty())
    }
}

/// A value that was understood, and where it was written.
#[derive(Clone, Copy, Debug)]
struct Given<T> {
    value: T,
    at: At,
    length: usize,
}

impl<T> Given<T> {
    fn new(value: T, written: Value<'_>) -> Self {
        Self { value, at: written.at, length: written.text.len() }
    }
}

/// The options of a ticket as far as they are given.
#[derive(Clone, Debug, Default)]
struct Options {
    expire: Option<Given<Duration>>,
    acquire_after: Option<Given<Duration>>,
    renewal: Option<Given<Duration>>,
    timeout: Option<Given<Duration>>,
    retries: Option<Given<u32>>,
    weights: Option<Given<Vec<u32>>>,
    handler: Option<Given<Vec<String>>>,
    prerequisites: Vec<Prerequisite>,
    mode: Option<Given<Mode>>,
    stop_time: Option<Given<Duration>>,
    lag: Option<Given<Lag>>,
    preferred: Option<Given<Host>>,
    fail_back: Option<Given<Duration>>,
}

impl Options {
    /// These options, and those of `defaults` that are not given here. Prerequisites add up: all must hold.
    fn or(self, defaults: &Options) -> Options {
        let mut prerequisites = defaults.prerequisites.clone();
        prerequisites.extend(self.prerequisites);
        Options {
            expire: self.expire.or(defaults.expire),
            acquire_after: self.acquire_after.or(defaults.acquire_after),
            renewal: self.renewal.or(defaults.renewal),
            timeout: self.timeout.or(defaults.timeout),
            retries: self.retries.or(defaults.retries),
            weights: self.weights.or_else(|| defaults.weights.clone()),
            handler: self.handler.or_else(|| defaults.handler.clone()),
            prerequisites,
            mode: self.mode.or(defaults.mode),
            stop_time: self.stop_time.or(defaults.stop_time),
            lag: self.lag.or_else(|| defaults.lag.clone()),
            preferred: self.preferred.or_else(|| defaults.preferred.clone()),
            fail_back: self.fail_back.or(defaults.fail_back),
        }
    }
}

#[derive(Debug)]
struct Draft {
    name: Given<String>,
    options: Options,
    /// The options of `__defaults__` at this place of the file.
    defaults: Options,
}

/// What the options that follow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Global,
    Defaults,
    Ticket,
    /// A ticket that could not be taken: its options are checked and forgotten.
    Nowhere,
}

pub(super) struct Builder<'t> {
    text: &'t str,
    /// Places that [`At::Element`] counts.
    places: Vec<Place>,
    /// Where the configuration begins.
    start: At,
    problems: Vec<(At, usize, Problem)>,
    /// Global keywords that were given, with what they were given.
    globals: BTreeMap<String, Given<String>>,
    port: Option<u16>,
    max_time_skew: Option<Duration>,
    debug: Option<u32>,
    members: Vec<(Member, At)>,
    drafts: Vec<Draft>,
    defaults: Options,
    section: Section,
    /// Keywords of the present section, to find doubled ones.
    seen: BTreeMap<String, At>,
    milliseconds: Option<Given<()>>,
}

impl<'t> Builder<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            places: Vec::new(),
            start: At::Text(0),
            problems: Vec::new(),
            globals: BTreeMap::new(),
            port: None,
            max_time_skew: None,
            debug: None,
            members: Vec::new(),
            drafts: Vec::new(),
            defaults: Options::default(),
            section: Section::Global,
            seen: BTreeMap::new(),
            milliseconds: None,
        }
    }

    /// The configuration begins in this element of a document, and not in a text.
    pub(super) fn begin_in(&mut self, element: &Element) {
        self.start = self.in_document(element, None);
    }

    /// The place of an element, or of one of its attributes.
    pub(super) fn in_document(&mut self, element: &Element, attribute: Option<&'static str>) -> At {
        self.places.push(Place { position: element.position(), id: element.id().to_owned(), attribute });
        At::Element(self.places.len() - 1)
    }

    pub(super) fn tell(&mut self, severity: Severity, value: Value<'_>, message: String, hint: Option<&str>) {
        self.tell_at(severity, value.at, value.text.len(), message, hint);
    }

    fn tell_at(&mut self, severity: Severity, at: At, length: usize, message: String, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        // The position of a place in a text is found at the end, for all at once.
        let (position, span, id, attribute) = (Position::default(), None, String::new(), None);
        let problem = Problem { severity, position, span, id, attribute, message, hint, incomplete: false };
        self.problems.push((at, length, problem));
    }

    /// An error that more lines could mend.
    fn miss(&mut self, at: At, length: usize, message: String, hint: Option<&str>) {
        self.tell_at(Severity::Error, at, length, message, hint);
        if let Some((_, _, problem)) = self.problems.last_mut() {
            problem.incomplete = true;
        }
    }

    pub(super) fn error(&mut self, value: Value<'_>, message: String) {
        self.tell(Severity::Error, value, message, None);
    }

    pub(super) fn member(&mut self, kind: Kind, value: Value<'_>) {
        let Some(host) = self.host(value) else { return };
        if let Some((_, at)) = self.members.iter().find(|(member, _)| member.host == host) {
            let first = self.place(*at);
            self.error(value, format!("`{host}` is a member already, {first}"));
            return;
        }
        if self.members.len() == MOST_MEMBERS {
            self.error(value, format!("more than {MOST_MEMBERS} members"));
            return;
        }
        self.members.push((Member { kind, host, addresses: Vec::new() }, value.at));
    }

    /// Further addresses of the member before.
    pub(super) fn addresses(&mut self, key: Value<'_>, value: Value<'_>) {
        self.tell(Severity::Info, key, "boothd does not know `addresses` and refuses the file".to_owned(), None);
        let hosts: Vec<Host> = value.words().filter_map(|word| self.host(word)).collect();
        match self.members.last_mut() {
            None => self.error(key, "`addresses` belongs to a member, and no member comes before it".to_owned()),
            Some((member, _)) if !member.addresses.is_empty() => {
                let what = format!("the addresses of `{}` are given a second time", member.host);
                self.error(key, what);
            }
            Some((member, _)) => member.addresses = hosts,
        }
    }

    fn host(&mut self, value: Value<'_>) -> Option<Host> {
        match value.text.parse::<IpAddr>() {
            Ok(address) => Some(Host::Address(address.to_canonical())),
            Err(_) if is_host_name(value.text) => Some(Host::Name(value.text.to_ascii_lowercase())),
            Err(_) => {
                self.error(value, format!("`{}` is neither an address nor the name of a host", value.text));
                None
            }
        }
    }

    /// Begins a ticket (or the defaults), in either form.
    pub(super) fn ticket(&mut self, value: Value<'_>) {
        self.seen.clear();
        let mut pieces = value.split(|c| c == ';');
        let name = pieces.next().unwrap_or(value).trimmed();
        if name.text == DEFAULTS {
            self.section = Section::Defaults;
            if !self.drafts.is_empty() {
                let what = format!("`{DEFAULTS}` holds for the tickets behind it, not for those before it");
                self.tell(Severity::Warning, name, what, Some("put it before all tickets"));
            }
        } else {
            self.section = if self.begin_ticket(name) { Section::Ticket } else { Section::Nowhere };
        }
        // The older form: NAME; EXPIRE; WEIGHTS.
        for (keyword, piece) in ["expire", "weights"].into_iter().zip(pieces.by_ref()) {
            let piece = piece.trimmed();
            if piece.text.is_empty() {
                self.error(piece, format!("nothing stands here where `{keyword}` is expected"));
            } else {
                self.seen.insert(keyword.to_owned(), piece.at);
                self.ticket_option(keyword, piece);
            }
        }
        if let Some(piece) = pieces.next() {
            self.error(
                piece.trimmed(),
                "a ticket in one line has a name, a time of expiry and weights only".to_owned(),
            );
        }
    }

    /// Sees to the name; false where it cannot be one.
    fn begin_ticket(&mut self, name: Value<'_>) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '/';
        if name.text.is_empty() {
            self.error(name, "a ticket needs a name".to_owned());
            return false;
        }
        if let Some(at) = name.text.find(|c| !allowed(c)) {
            let wrong = name.text[at..].chars().next().unwrap_or_default();
            let wrong_one = name.part(at..at + wrong.len_utf8());
            let what = format!("`{wrong}` cannot be in the name of a ticket: letters, digits, `-` and `/` can");
            self.error(wrong_one, what);
            return false;
        }
        if let Some(draft) = self.drafts.iter().find(|draft| draft.name.value == name.text) {
            let first = self.place(draft.name.at);
            self.error(name, format!("the ticket `{}` is there already, {first}", name.text));
            return false;
        }
        if name.text.len() > LONGEST_NAME {
            let what = format!("booth's messages have no room for a name of more than {LONGEST_NAME} bytes");
            self.tell(Severity::Warning, name, what, Some("only a group without booth members can have it"));
        }
        let name = Given::new(name.text.to_owned(), name);
        self.drafts.push(Draft { name, options: Options::default(), defaults: self.defaults.clone() });
        true
    }

    /// Any line but those of members and names of tickets.
    pub(super) fn setting(&mut self, key: Value<'_>, value: Value<'_>) {
        if is_global(key.text) {
            self.global(key, value);
        } else if is_ticket_option(key.text) {
            if self.section == Section::Global {
                let what = format!("`{}` belongs to a ticket, and no ticket comes before it", key.text);
                self.tell(Severity::Error, key, what, Some("for all tickets: ticket = \"__defaults__\" before it"));
                return;
            }
            if key.text != "attr-prereq" && self.is_doubled(key) {
                return;
            }
            if matches!(key.text, "stop-time" | "lag" | "preferred" | "fail-back") {
                self.tell(
                    Severity::Info,
                    key,
                    format!("boothd does not know `{}` and refuses the file", key.text),
                    None,
                );
            }
            self.ticket_option(key.text, value);
        } else {
            let near = closest(key.text);
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            self.tell(Severity::Error, key, format!("unknown keyword `{}`", key.text), hint.as_deref());
        }
    }

    fn is_doubled(&mut self, key: Value<'_>) -> bool {
        match self.seen.get(key.text) {
            Some(&first) => {
                let first = self.place(first);
                self.error(key, format!("`{}` is given a second time, first {first}", key.text));
                true
            }
            None => {
                self.seen.insert(key.text.to_owned(), key.at);
                false
            }
        }
    }

    fn global(&mut self, key: Value<'_>, value: Value<'_>) {
        if let Some(first) = self.globals.get(key.text) {
            let first = self.place(first.at);
            self.error(key, format!("`{}` is given a second time, first {first}", key.text));
            return;
        }
        self.globals
            .insert(key.text.to_owned(), Given { value: value.text.to_owned(), at: key.at, length: key.text.len() });
        match key.text {
            "port" => {
                self.port = value.text.parse().ok().filter(|port| *port != 0);
                if self.port.is_none() {
                    self.error(value, "a port is a number from 1 to 65535".to_owned());
                }
                if matches!(value.at, At::Text(_)) && !self.members.is_empty() {
                    let what =
                        "`port` does not hold for the members before it: boothd would reach them at another port";
                    self.tell(Severity::Error, key, what.to_owned(), Some("put it before all members"));
                }
            }
            "transport" if value.text.eq_ignore_ascii_case("udp") => {}
            "transport" => {
                let why = if value.text.eq_ignore_ascii_case("sctp") {
                    "booth ends at once with SCTP, and hakudo has none"
                } else {
                    "there is UDP only"
                };
                self.tell(
                    Severity::Error,
                    value,
                    format!("no transport `{}`: {why}", value.text),
                    Some("write: transport = UDP"),
                );
            }
            "maxtimeskew" => {
                self.max_time_skew = value.text.parse().ok().map(Duration::from_secs);
                if self.max_time_skew.is_none_or(|skew| skew.as_secs() > LONGEST_TIME) {
                    self.error(value, "a number of seconds is expected".to_owned());
                }
            }
            "debug" => {
                self.debug = value.text.parse().ok();
                if self.debug.is_none() {
                    self.error(value, "a number is expected".to_owned());
                }
            }
            "site-user" | "site-group" => {
                let what = format!("boothd takes an argument of its command line in place of `{}`", key.text);
                self.tell(Severity::Info, key, what, None);
            }
            _ => {}
        }
    }

    /// The options that a keyword belongs to.
    fn options(&mut self) -> Option<&mut Options> {
        match self.section {
            Section::Defaults => Some(&mut self.defaults),
            Section::Ticket => self.drafts.last_mut().map(|draft| &mut draft.options),
            Section::Global | Section::Nowhere => None,
        }
    }

    fn ticket_option(&mut self, key: &str, value: Value<'_>) {
        match key {
            "expire" | "timeout" | "renewal-freq" | "acquire-after" | "stop-time" | "fail-back" => {
                let zero_allowed = matches!(key, "acquire-after" | "stop-time" | "fail-back");
                let Some(time) = self.time(value, zero_allowed) else { return };
                if time.subsec_millis() != 0 && self.milliseconds.is_none() && !matches!(key, "stop-time" | "fail-back")
                {
                    self.milliseconds = Some(Given::new((), value));
                }
                self.tell_of_defaults(key, value);
                let Some(options) = self.options() else { return };
                let place = match key {
                    "expire" => &mut options.expire,
                    "timeout" => &mut options.timeout,
                    "renewal-freq" => &mut options.renewal,
                    "stop-time" => &mut options.stop_time,
                    "fail-back" => &mut options.fail_back,
                    _ => &mut options.acquire_after,
                };
                *place = Some(Given::new(time, value));
            }
            "retries" => match value.text.parse::<u32>().ok().filter(|retries| (3..=100).contains(retries)) {
                Some(retries) => {
                    if let Some(options) = self.options() {
                        options.retries = Some(Given::new(retries, value));
                    }
                }
                None => self.error(value, "a number from 3 to 100 is expected".to_owned()),
            },
            "weights" => {
                if let Some(weights) = self.weights(value)
                    && let Some(options) = self.options()
                {
                    options.weights = Some(Given::new(weights, value));
                }
            }
            "lag" => {
                if let Some(lag) = self.lag(value)
                    && let Some(options) = self.options()
                {
                    options.lag = Some(Given::new(lag, value));
                }
            }
            "preferred" => {
                if let Some(host) = self.host(value)
                    && let Some(options) = self.options()
                {
                    options.preferred = Some(Given::new(host, value));
                }
            }
            "before-acquire-handler" => {
                self.tell_of_defaults(key, value);
                let words = self.program(value);
                if let Some(options) = self.options() {
                    options.handler = Some(Given::new(words, value));
                }
            }
            "attr-prereq" => {
                self.tell_of_defaults(key, value);
                if let Some(prerequisite) = self.prerequisite(value)
                    && let Some(options) = self.options()
                {
                    options.prerequisites.push(prerequisite);
                }
            }
            _ => match value.text.to_ascii_lowercase().as_str() {
                "manual" => self.set_mode(Mode::Manual, value),
                "auto" | "automatic" => self.set_mode(Mode::Automatic, value),
                _ => {
                    let what = format!("no mode `{}`: there are `manual` and `auto`", value.text);
                    self.tell(
                        Severity::Error,
                        value,
                        what,
                        Some("boothd takes every other word as automatic, silently"),
                    );
                }
            },
        }
    }

    fn set_mode(&mut self, mode: Mode, value: Value<'_>) {
        if let Some(options) = self.options() {
            options.mode = Some(Given::new(mode, value));
        }
    }

    /// boothd lets these not be inherited, and says nothing.
    fn tell_of_defaults(&mut self, key: &str, value: Value<'_>) {
        let lost = matches!(key, "acquire-after" | "renewal-freq" | "before-acquire-handler" | "attr-prereq");
        if self.section == Section::Defaults && lost {
            let what = format!("boothd ignores `{key}` in `{DEFAULTS}`; here it holds for the tickets that follow");
            self.tell(Severity::Info, value, what, Some("with booth members in the group, repeat it in each ticket"));
        }
    }

    fn time(&mut self, value: Value<'_>, zero_allowed: bool) -> Option<Duration> {
        let digits = value.text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = value.text.split_at(digits);
        let number: Option<u64> = number.parse().ok();
        let time = match (number, unit) {
            (Some(seconds), "") if seconds <= LONGEST_TIME => Duration::from_secs(seconds),
            (Some(milliseconds), "ms") if milliseconds <= LONGEST_TIME * 1000 => Duration::from_millis(milliseconds),
            (Some(_), "" | "ms") => {
                self.error(value, format!("a time cannot be longer than {LONGEST_TIME} seconds"));
                return None;
            }
            _ => {
                let hint = "seconds have no unit, milliseconds have `ms`: 10 or 10000ms";
                self.tell(Severity::Error, value, format!("`{}` is no time", value.text), Some(hint));
                return None;
            }
        };
        if time.is_zero() && !zero_allowed {
            self.error(value, "a time longer than zero is expected".to_owned());
            return None;
        }
        Some(time)
    }

    /// A program and its arguments.
    fn program(&mut self, value: Value<'_>) -> Vec<String> {
        let words: Vec<String> = value.words().map(|word| word.text.to_owned()).collect();
        if words.first().is_some_and(|path| !path.starts_with('/')) {
            let what = "the path of the program is relative to wherever the daemon was started".to_owned();
            self.tell(Severity::Warning, value.first_word(), what, Some("write the whole path, from `/` on"));
        }
        words
    }

    fn lag(&mut self, value: Value<'_>) -> Option<Lag> {
        let at_most = value.first_word();
        let program = value.part(at_most.text.len()..value.text.len()).trimmed();
        if program.text.is_empty() {
            let hint =
                "write: lag = SECONDS PROGRAM [ARGUMENT...]; the program prints by how many seconds the data is behind";
            self.tell(Severity::Error, value, "a time and a program are expected".to_owned(), Some(hint));
            return None;
        }
        Some(Lag { at_most: self.time(at_most, true)?, program: self.program(program) })
    }

    fn weights(&mut self, value: Value<'_>) -> Option<Vec<u32>> {
        let separates = |c: char| matches!(c, ',' | ';' | ':' | '-' | '+') || c.is_whitespace();
        let mut weights = Vec::new();
        for piece in value.split(separates).filter(|piece| !piece.text.is_empty()) {
            match piece.text.parse() {
                Ok(weight) => weights.push(weight),
                Err(_) => {
                    self.error(piece, format!("`{}` is no weight: a number from 0 to {} is", piece.text, u32::MAX));
                    return None;
                }
            }
        }
        if weights.len() > MOST_MEMBERS {
            self.error(value, format!("more than {MOST_MEMBERS} weights"));
            return None;
        }
        Some(weights)
    }

    fn prerequisite(&mut self, value: Value<'_>) -> Option<Prerequisite> {
        let words: Vec<Value<'_>> = value.words().collect();
        let &[when, attribute, comparison, wanted] = words.as_slice() else {
            let hint = "write: auto|manual ATTRIBUTE eq|ne|lt|le|gt|ge VALUE";
            self.tell(Severity::Error, value, "four words are expected".to_owned(), Some(hint));
            return None;
        };
        let known_when = [When::Auto, When::Manual].into_iter().find(|known| known.word() == when.text);
        if known_when.is_none() {
            self.error(when, format!("`{}`: `auto` or `manual` is expected", when.text));
        }
        let known = Comparison::ALL.into_iter().find(|known| known.word() == comparison.text);
        match known {
            None => self.error(comparison, format!("no comparison `{}`: eq, ne, lt, le, gt or ge", comparison.text)),
            Some(known) if !known.is_boothds() => {
                if super::number(wanted.text).is_none() {
                    self.error(wanted, format!("`{}` compares with a number", known.word()));
                    return None;
                }
                let what = format!("boothd does not know `{}` and refuses the file", known.word());
                self.tell(Severity::Info, comparison, what, None);
            }
            Some(_) => {}
        }
        Some(Prerequisite {
            when: known_when?,
            attribute: attribute.text.to_owned(),
            comparison: known?,
            value: wanted.text.to_owned(),
        })
    }

    /// A place in words, for messages about another place.
    fn place(&self, at: At) -> String {
        match at {
            At::Text(offset) => {
                let line = self.text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
                format!("in line {line}")
            }
            // Not the position: what is wrong is told in the same words wherever it stands.
            At::Element(place) => match self.places.get(place).map_or("", |place| &place.id) {
                "" => "in another element".to_owned(),
                id => format!("in `{id}`"),
            },
        }
    }
}

/// A time as booth.conf has it.
pub(super) fn time(time: Duration) -> String {
    match time.subsec_millis() {
        0 => time.as_secs().to_string(),
        _ => format!("{}ms", time.as_millis()),
    }
}

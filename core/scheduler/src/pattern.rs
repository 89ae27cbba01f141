//! POSIX extended regular expressions, as far as `rsc-pattern` needs them: alternatives, groups, sets, repetition, anchors.
//!
//! Matching goes back where it must, but only a bounded number of times: a pattern that needs more does not match.

const STEPS: u32 = 200_000;
const DEEPEST: u32 = 50;

#[derive(Clone, Debug)]
enum Node {
    Byte(u8),
    Any,
    Set(Box<[bool; 256]>),
    Start,
    End,
    Group(usize, Vec<Vec<Node>>),
    Repeat(Box<Node>, u32, u32),
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    alternatives: Vec<Vec<Node>>,
    groups: usize,
}

type Span = Option<(usize, usize)>;

impl Pattern {
    /// Compiles a pattern; nothing where it is not valid.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut parser = Parser { text: text.as_bytes(), at: 0, groups: 0 };
        let alternatives = parser.alternatives(0)?;
        (parser.at == parser.text.len()).then_some(Pattern { alternatives, groups: parser.groups })
    }

    /// The leftmost match: all of it, then what each pair of parentheses matched.
    pub(crate) fn find(&self, text: &str) -> Option<Vec<String>> {
        let mut matcher = Matcher { text: text.as_bytes(), spans: vec![None; self.groups + 1], steps: STEPS };
        for start in 0..=text.len() {
            matcher.spans.fill(None);
            let mut longest: Option<(usize, Vec<Span>)> = None;
            for alternative in &self.alternatives {
                let found = matcher.sequence(alternative, start, &mut |matcher, end| {
                    if longest.as_ref().is_none_or(|(so_far, _)| end > *so_far) {
                        longest = Some((end, matcher.spans.clone()));
                    }
                    true
                });
                let _ = found;
            }
            if let Some((end, spans)) = longest {
                let part = |span: Span| span.and_then(|(a, b)| text.get(a..b)).unwrap_or_default().to_owned();
                let all = part(Some((start, end)));
                return Some(std::iter::once(all).chain(spans.into_iter().skip(1).map(part)).collect());
            }
        }
        None
    }
}

/// Replaces `%0` to `%9` by what the pattern matched.
pub(crate) fn fill_in(text: &str, parts: &[String]) -> String {
    if parts.is_empty() {
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek().and_then(|next| next.to_digit(10)).filter(|_| c == '%') {
            Some(digit) => {
                chars.next();
                result.push_str(parts.get(digit as usize).map_or("", String::as_str));
            }
            None => result.push(c),
        }
    }
    result
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    groups: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn alternatives(&mut self, depth: u32) -> Option<Vec<Vec<Node>>> {
        if depth > DEEPEST {
            return None;
        }
        let mut alternatives = vec![Vec::new()];
        while let Some(byte) = self.peek() {
            match byte {
                b'|' => {
                    self.at += 1;
                    alternatives.push(Vec::new());
                }
                b')' if depth > 0 => break,
                _ => {
                    let atom = self.atom(depth)?;
                    let atom = self.repetition(atom)?;
                    alternatives.last_mut()?.push(atom);
                }
            }
        }
        Some(alternatives)
    }

    fn atom(&mut self, depth: u32) -> Option<Node> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'.' => Node::Any,
            b'^' => Node::Start,
            b'$' => Node::End,
            b'[' => Node::Set(self.set()?),
            b'(' => {
                self.groups += 1;
                let number = self.groups;
                let inner = self.alternatives(depth + 1)?;
                if self.peek() != Some(b')') {
                    return None;
                }
                self.at += 1;
                Node::Group(number, inner)
            }
            b'\\' => {
                let escaped = self.peek()?;
                self.at += 1;
                Node::Byte(escaped)
            }
            b'*' | b'+' | b'?' => return None,
            other => Node::Byte(other),
        })
    }

    fn repetition(&mut self, atom: Node) -> Option<Node> {
        let mut atom = atom;
        loop {
            let (least, most) = match self.peek() {
                Some(b'*') => (0, u32::MAX),
                Some(b'+') => (1, u32::MAX),
                Some(b'?') => (0, 1),
                Some(b'{') => {
                    let close = self.text[self.at..].iter().position(|b| *b == b'}')? + self.at;
                    let body = std::str::from_utf8(&self.text[self.at + 1..close]).ok()?;
                    self.at = close;
                    match body.split_once(',') {
                        None => {
                            let count = body.parse().ok()?;
                            (count, count)
                        }
                        Some((least, "")) => (least.parse().ok()?, u32::MAX),
                        Some((least, most)) => (least.parse().ok()?, most.parse().ok()?),
                    }
                }
                _ => return Some(atom),
            };
            self.at += 1;
            atom = Node::Repeat(Box::new(atom), least, most);
        }
    }

    fn set(&mut self) -> Option<Box<[bool; 256]>> {
        let mut set = Box::new([false; 256]);
        let negated = self.peek() == Some(b'^');
        if negated {
            self.at += 1;
        }
        let begin = self.at;
        loop {
            let byte = self.peek()?;
            if byte == b']' && self.at > begin {
                self.at += 1;
                break;
            }
            if byte == b'[' && self.text.get(self.at + 1) == Some(&b':') {
                let end = self.text[self.at..].windows(2).position(|w| w == b":]")? + self.at;
                let class: fn(&u8) -> bool = match &self.text[self.at + 2..end] {
                    b"alpha" => u8::is_ascii_alphabetic,
                    b"digit" => u8::is_ascii_digit,
                    b"alnum" => u8::is_ascii_alphanumeric,
                    b"lower" => u8::is_ascii_lowercase,
                    b"upper" => u8::is_ascii_uppercase,
                    b"space" => u8::is_ascii_whitespace,
                    b"punct" => u8::is_ascii_punctuation,
                    b"xdigit" => u8::is_ascii_hexdigit,
                    _ => return None,
                };
                (0..=255u8).filter(class).for_each(|b| set[b as usize] = true);
                self.at = end + 2;
                continue;
            }
            self.at += 1;
            let range = self.peek() == Some(b'-') && self.text.get(self.at + 1).is_some_and(|b| *b != b']');
            if range {
                let last = self.text[self.at + 1];
                self.at += 2;
                if last < byte {
                    return None;
                }
                (byte..=last).for_each(|b| set[b as usize] = true);
            } else {
                set[byte as usize] = true;
            }
        }
        if negated {
            set.iter_mut().for_each(|allowed| *allowed = !*allowed);
        }
        Some(set)
    }
}

struct Matcher<'a> {
    text: &'a [u8],
    spans: Vec<Span>,
    steps: u32,
}

/// Called with the place where a match ends; false asks for another one.
type Then<'t> = dyn FnMut(&mut Matcher<'_>, usize) -> bool + 't;

impl Matcher<'_> {
    fn sequence(&mut self, nodes: &[Node], at: usize, then: &mut Then<'_>) -> bool {
        match nodes.split_first() {
            None => then(self, at),
            Some((node, rest)) => self.node(node, at, &mut |matcher, end| matcher.sequence(rest, end, then)),
        }
    }

    fn node(&mut self, node: &Node, at: usize, then: &mut Then<'_>) -> bool {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 {
            return false;
        }
        match node {
            Node::Byte(byte) => self.text.get(at) == Some(byte) && then(self, at + 1),
            Node::Any => at < self.text.len() && then(self, at + 1),
            Node::Set(set) => self.text.get(at).is_some_and(|byte| set[*byte as usize]) && then(self, at + 1),
            Node::Start => at == 0 && then(self, at),
            Node::End => at == self.text.len() && then(self, at),
            Node::Group(number, alternatives) => alternatives.iter().any(|alternative| {
                self.sequence(alternative, at, &mut |matcher, end| {
                    let before = matcher.spans[*number];
                    matcher.spans[*number] = Some((at, end));
                    let done = then(matcher, end);
                    if !done {
                        matcher.spans[*number] = before;
                    }
                    done
                })
            }),
            Node::Repeat(inner, least, most) => self.repeat(inner, *least, *most, at, then),
        }
    }

    fn repeat(&mut self, inner: &Node, least: u32, most: u32, at: usize, then: &mut Then<'_>) -> bool {
        if most > 0 {
            let more = self.node(inner, at, &mut |matcher, end| {
                end > at && matcher.repeat(inner, least.saturating_sub(1), most.saturating_sub(1), end, then)
            });
            if more {
                return true;
            }
        }
        least == 0 && then(self, at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, fill_in};

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("^(fence|vm).*$", "vm12", Some(vec!["vm12", "vm"])),
            ("^(fence|vm).*$", "web", None),
            ("rsc([0-9]+)", "xrsc42y", Some(vec!["rsc42", "42"])),
            ("a{2,3}b?", "caaab", Some(vec!["aaab"])),
            ("[[:digit:]]x|y", "ay", Some(vec!["y"])),
        ] {
            let found = Pattern::new(pattern).unwrap().find(text);
            assert_eq!(found, expected.map(|parts| parts.into_iter().map(str::to_owned).collect()), "{pattern}");
        }
        assert!(Pattern::new("(a").is_none());
        assert!(Pattern::new("*").is_none());
        assert!(Pattern::new("(a*)*b").unwrap().find(&"a".repeat(5000)).is_none());
        assert_eq!(fill_in("attr-%1-%9", &["all".to_owned(), "one".to_owned()]), "attr-one-");
    }
}

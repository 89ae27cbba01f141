//! Extended regular expressions (POSIX, XBD 9.4) for `target-pattern`: whether one matches somewhere in a node's name.
//!
//! A pattern is compiled to a small program whose threads all step together over the text, so that the time is at most
//! the product of both lengths, whatever the pattern.

use thiserror::Error;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    program: Vec<Instruction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Instruction {
    One(Set),
    Start,
    End,
    Jump(usize),
    Split(usize, usize),
    Match,
}

/// A set of characters: ranges, or all but these.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Set {
    fn single(c: char) -> Self {
        Self { ranges: vec![(c, c)], negated: false }
    }

    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PatternError {
    #[error("{0:?} is not closed")]
    Unclosed(char),
    #[error("there is nothing that {0:?} could repeat")]
    NothingToRepeat(char),
    #[error("{0:?} does not stand for a set of characters")]
    UnknownClass(String),
    #[error("{0:?} is no range")]
    BadRange(String),
    #[error("it ends in a backslash")]
    Backslash,
    #[error("it is too large")]
    TooLarge,
}

/// Repetitions are written out, so their number is bounded (as `RE_DUP_MAX` is by POSIX).
const MOST_REPETITIONS: usize = 255;
const LONGEST_PROGRAM: usize = 10_000;
const DEEPEST: usize = 50;

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        let mut compiler = Compiler { rest: text.chars().collect::<Vec<_>>().into_iter().peekable(), depth: 0 };
        let mut program = compiler.alternatives()?;
        if compiler.rest.next().is_some() {
            // Only a closing parenthesis ends the alternatives early; alone it stands for itself in POSIX, and is a mistake.
            return Err(PatternError::Unclosed(')'));
        }
        program.push(Instruction::Match);
        Ok(Self { program })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut threads = Threads::default();
        let mut at_start = true;
        let mut rest = text.chars();
        loop {
            let next = rest.clone().next();
            // A match may begin anywhere.
            self.follow(0, at_start, next.is_none(), &mut threads);
            if threads.matched {
                return true;
            }
            let Some(c) = rest.next() else { return false };
            let mut stepped = Threads::default();
            let at_end = rest.clone().next().is_none();
            for thread in threads.waiting {
                if let Some(Instruction::One(set)) = self.program.get(thread)
                    && set.has(c)
                {
                    self.follow(thread + 1, false, at_end, &mut stepped);
                }
            }
            threads = stepped;
            at_start = false;
        }
    }

    /// Adds where a thread gets to from `start` without reading a character.
    fn follow(&self, start: usize, at_start: bool, at_end: bool, threads: &mut Threads) {
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            if threads.seen.len() <= at {
                threads.seen.resize(self.program.len(), false);
            }
            if std::mem::replace(&mut threads.seen[at], true) {
                continue;
            }
            match &self.program[at] {
                Instruction::One(_) => threads.waiting.push(at),
                Instruction::Start if at_start => open.push(at + 1),
                Instruction::End if at_end => open.push(at + 1),
                Instruction::Start | Instruction::End => {}
                Instruction::Jump(to) => open.push(*to),
                Instruction::Split(a, b) => open.extend([*b, *a]),
                Instruction::Match => threads.matched = true,
            }
        }
    }
}

#[derive(Default)]
struct Threads {
    seen: Vec<bool>,
    waiting: Vec<usize>,
    matched: bool,
}

struct Compiler {
    rest: std::iter::Peekable<std::vec::IntoIter<char>>,
    depth: usize,
}

impl Compiler {
    /// Branches between `|`, up to the end or a closing parenthesis. The addresses in a piece of program count from its start.
    fn alternatives(&mut self) -> Result<Vec<Instruction>, PatternError> {
        let mut all = self.branch()?;
        while self.rest.next_if_eq(&'|').is_some() {
            let other = self.branch()?;
            let mut both = vec![Instruction::Split(1, all.len() + 2)];
            append(&mut both, &all);
            both.push(Instruction::Jump(both.len() + 1 + other.len()));
            append(&mut both, &other);
            all = both;
            bounded(&all)?;
        }
        Ok(all)
    }

    fn branch(&mut self) -> Result<Vec<Instruction>, PatternError> {
        let mut all = Vec::new();
        while let Some(c) = self.rest.peek().copied() {
            if c == '|' || (c == ')' && self.depth > 0) {
                break;
            }
            let mut piece = self.atom()?;
            while let Some((least, most)) = self.repetition()? {
                piece = repeated(&piece, least, most)?;
            }
            append(&mut all, &piece);
            bounded(&all)?;
        }
        Ok(all)
    }

    fn atom(&mut self) -> Result<Vec<Instruction>, PatternError> {
        let instruction = match self.rest.next() {
            Some('(') => {
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(PatternError::TooLarge);
                }
                let inner = self.alternatives()?;
                if self.rest.next() != Some(')') {
                    return Err(PatternError::Unclosed('('));
                }
                self.depth -= 1;
                return Ok(inner);
            }
            Some('[') => Instruction::One(self.set()?),
            Some('.') => Instruction::One(Set { ranges: Vec::new(), negated: true }),
            Some('^') => Instruction::Start,
            Some('$') => Instruction::End,
            Some('\\') => Instruction::One(Set::single(self.rest.next().ok_or(PatternError::Backslash)?)),
            Some(c @ ('*' | '+' | '?' | '{')) => return Err(PatternError::NothingToRepeat(c)),
            Some(')') => return Err(PatternError::Unclosed(')')),
            Some(c) => Instruction::One(Set::single(c)),
            None => return Ok(Vec::new()),
        };
        Ok(vec![instruction])
    }

    /// How often the piece before is repeated: at least, and at most if there is a bound.
    fn repetition(&mut self) -> Result<Option<(usize, Option<usize>)>, PatternError> {
        let bounds = match self.rest.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.interval().map(Some),
            _ => return Ok(None),
        };
        self.rest.next();
        Ok(Some(bounds))
    }

    fn interval(&mut self) -> Result<(usize, Option<usize>), PatternError> {
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(c) => text.push(c),
                None => return Err(PatternError::Unclosed('{')),
            }
        }
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| PatternError::BadRange(format!("{{{text}}}")));
        let (least, most) = match text.split_once(',') {
            None => (number(&text)?, Some(number(&text)?)),
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        if least.max(most.unwrap_or(0)) > MOST_REPETITIONS || most.is_some_and(|most| most < least) {
            return Err(PatternError::BadRange(format!("{{{text}}}")));
        }
        Ok((least, most))
    }

    /// What stands between brackets; the opening one is read already.
    fn set(&mut self) -> Result<Set, PatternError> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            let c = self.rest.next().ok_or(PatternError::Unclosed('['))?;
            match c {
                ']' if !first => return Ok(Set { ranges, negated }),
                '[' if self.rest.peek() == Some(&':') => ranges.extend(self.class()?),
                low if self.rest.peek() == Some(&'-') => {
                    self.rest.next();
                    match self.rest.next().ok_or(PatternError::Unclosed('['))? {
                        // A hyphen at the end stands for itself.
                        ']' => {
                            ranges.extend([(low, low), ('-', '-')]);
                            return Ok(Set { ranges, negated });
                        }
                        high if high < low => return Err(PatternError::BadRange(format!("{low}-{high}"))),
                        high => ranges.push((low, high)),
                    }
                }
                c => ranges.push((c, c)),
            }
            first = false;
        }
    }

    /// A class such as `[:digit:]`; the opening bracket is read already.
    fn class(&mut self) -> Result<Vec<(char, char)>, PatternError> {
        self.rest.next();
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some(':') if self.rest.peek() == Some(&']') => break,
                Some(c) => name.push(c),
                None => return Err(PatternError::Unclosed('[')),
            }
        }
        self.rest.next();
        Ok(match name.as_str() {
            "alpha" => vec![('a', 'z'), ('A', 'Z')],
            "digit" => vec![('0', '9')],
            "alnum" => vec![('a', 'z'), ('A', 'Z'), ('0', '9')],
            "upper" => vec![('A', 'Z')],
            "lower" => vec![('a', 'z')],
            "space" => vec![('\t', '\r'), (' ', ' ')],
            "blank" => vec![('\t', '\t'), (' ', ' ')],
            "punct" => vec![('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "xdigit" => vec![('0', '9'), ('a', 'f'), ('A', 'F')],
            "print" => vec![(' ', '~')],
            "graph" => vec![('!', '~')],
            "cntrl" => vec![('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')],
            _ => return Err(PatternError::UnknownClass(name)),
        })
    }
}

fn bounded(program: &[Instruction]) -> Result<(), PatternError> {
    if program.len() > LONGEST_PROGRAM { Err(PatternError::TooLarge) } else { Ok(()) }
}

/// Puts a piece, whose addresses count from its own start, behind another.
fn append(program: &mut Vec<Instruction>, piece: &[Instruction]) {
    let start = program.len();
    program.extend(piece.iter().map(|instruction| match instruction {
        Instruction::Jump(to) => Instruction::Jump(to + start),
        Instruction::Split(a, b) => Instruction::Split(a + start, b + start),
        other => other.clone(),
    }));
}

fn repeated(piece: &[Instruction], least: usize, most: Option<usize>) -> Result<Vec<Instruction>, PatternError> {
    let times = most.unwrap_or(least + 1).max(1);
    if piece.len().saturating_mul(times) > LONGEST_PROGRAM {
        return Err(PatternError::TooLarge);
    }
    let mut all = Vec::new();
    for _ in 0..least {
        append(&mut all, piece);
    }
    match most {
        None => {
            let again = all.len();
            all.push(Instruction::Split(again + 1, again + piece.len() + 2));
            append(&mut all, piece);
            all.push(Instruction::Jump(again));
        }
        Some(most) => {
            let end = all.len() + (most - least) * (piece.len() + 1);
            for _ in least..most {
                all.push(Instruction::Split(all.len() + 1, end));
                append(&mut all, piece);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::Pattern;
    use expect_test::expect;
    use std::fmt::Write;

    #[test]
    fn patterns_match_names() {
        let cases = [
            ("node", &["node", "anode1", "nod"][..]),
            ("^node-[0-9]+$", &["node-1", "node-123", "node-", "xnode-1", "node-1x"]),
            ("^(a|b|cd)?x{2,3}$", &["xx", "axxx", "cdxx", "cxx", "xxxx", "x"]),
            (".*", &["", "anything"]),
            ("^[^a-c]-?[]x-]$", &["d]", "d-x", "d--", "a]", "dd"]),
            ("^[[:alpha:]_][[:alnum:]_.-]*$", &["n_1.example-2", "1n"]),
            ("^(ab*)*c$", &["c", "abbbabc", "abca"]),
            (r"^n1\.example$", &["n1.example", "n1xexample"]),
            ("a||b", &["zzz"]),
            ("^a{0}b{3}$", &["bbb", "abbb"]),
        ];
        let mut text = String::new();
        for (pattern, names) in cases {
            let compiled = Pattern::new(pattern).unwrap();
            let (yes, no): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| compiled.matches(name));
            writeln!(text, "{pattern}: {yes:?}, and not {no:?}").unwrap();
        }
        expect![[r#"
            node: ["node", "anode1"], and not ["nod"]
            ^node-[0-9]+$: ["node-1", "node-123"], and not ["node-", "xnode-1", "node-1x"]
            ^(a|b|cd)?x{2,3}$: ["xx", "axxx", "cdxx"], and not ["cxx", "xxxx", "x"]
            .*: ["", "anything"], and not []
            ^[^a-c]-?[]x-]$: ["d]", "d-x", "d--"], and not ["a]", "dd"]
            ^[[:alpha:]_][[:alnum:]_.-]*$: ["n_1.example-2"], and not ["1n"]
            ^(ab*)*c$: ["c", "abbbabc"], and not ["abca"]
            ^n1\.example$: ["n1.example"], and not ["n1xexample"]
            a||b: ["zzz"], and not []
            ^a{0}b{3}$: ["bbb"], and not ["abbb"]
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        let deep = "(".repeat(100);
        let wide = "(((a{255}){255}){255})";
        let wrong = [
            "(",
            ")",
            "a(b",
            "*a",
            "a|+",
            "[a",
            "[z-a]",
            "[[:nonsense:]]",
            "a{2",
            "a{3,1}",
            "a{x}",
            "a{999}",
            "\\",
            &deep,
            wide,
        ];
        let text: String = wrong
            .iter()
            .map(|pattern| {
                let start: String = pattern.chars().take(20).collect();
                format!("{start}: {}\n", Pattern::new(pattern).unwrap_err())
            })
            .collect();
        expect![[r#"
            (: '(' is not closed
            ): ')' is not closed
            a(b: '(' is not closed
            *a: there is nothing that '*' could repeat
            a|+: there is nothing that '+' could repeat
            [a: '[' is not closed
            [z-a]: "z-a" is no range
            [[:nonsense:]]: "nonsense" does not stand for a set of characters
            a{2: '{' is not closed
            a{3,1}: "{3,1}" is no range
            a{x}: "{x}" is no range
            a{999}: "{999}" is no range
            \: it ends in a backslash
            ((((((((((((((((((((: it is too large
            (((a{255}){255}){255: it is too large
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn time_is_bounded_for_every_pattern() {
        let pattern = Pattern::new("^(a*)*(a*)*(a?){200}b$").unwrap();
        assert!(!pattern.matches(&"a".repeat(5000)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_compiles_or_is_refused(pattern in "[ab(){}|*+?^$.\\[\\]0-9,:-]{0,20}", name in "[ab-]{0,10}") {
            if let Ok(compiled) = Pattern::new(&pattern) {
                compiled.matches(&name);
            }
        }
    }
}

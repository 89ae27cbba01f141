//! From the text of an expression to its tree.

/// A path: where it starts, its steps, an attribute at its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    pub(super) absolute: bool,
    pub(super) steps: Vec<Step>,
    pub(super) attribute: Option<Name>,
    /// Positions that pick from all that the path finds, as in `(//a)[1]`.
    pub(super) picks: Vec<Expression>,
}

/// A step from elements to others.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// To the children of this name that fit.
    Children(Name, Vec<Expression>),
    /// To the element itself and all below it, `//`.
    Below,
    /// To the parent.
    Parent,
}

/// A name, or any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Any,
    Is(String),
}

impl Name {
    pub(super) fn fits(&self, name: &str) -> bool {
        match self {
            Name::Any => true,
            Name::Is(wanted) => wanted == name,
        }
    }
}

/// What stands in a predicate.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Or(Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Compare(Box<Expression>, Comparison, Box<Expression>),
    StartsWith(Box<Expression>, Box<Expression>),
    Contains(Box<Expression>, Box<Expression>),
    Count(Path),
    Path(Path),
    Text(String),
    Number(f64),
    Constant(bool),
    Position,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where and what: the byte in the expression.
pub(super) type Failure = (usize, String);

/// Longer expressions are refused.
const LONGEST: usize = 64 * 1024;
/// Deeper nesting is refused.
const DEEPEST: usize = 50;

/// Reads paths joined with `|`.
pub(super) fn parse(text: &str) -> Result<Vec<Path>, Failure> {
    if text.len() > LONGEST {
        return Err((0, format!("longer than {LONGEST} bytes")));
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let mut paths = vec![parser.top_path()?];
    while parser.eat("|") {
        paths.push(parser.top_path()?);
    }
    parser.space();
    if parser.at < text.len() {
        return parser.fail("this does not belong to the path");
    }
    Ok(paths)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Failure> {
        Err((self.at, message.into()))
    }

    /// Passes over these characters if they come next.
    fn eat(&mut self, what: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(what);
        if there {
            self.at += what.len();
        }
        there
    }

    fn expect(&mut self, what: &str) -> Result<(), Failure> {
        if self.eat(what) { Ok(()) } else { self.fail(format!("{what} is missing here")) }
    }

    /// A name that comes next, without passing over it.
    fn peek_name(&mut self) -> Option<&'a str> {
        self.space();
        let rest = self.rest();
        let starts = |c: char| c.is_alphabetic() || c == '_';
        let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        rest.starts_with(starts).then(|| &rest[..rest.find(|c| !continues(c)).unwrap_or(rest.len())])
    }

    /// Passes over a word such as `and` if it comes next.
    fn word(&mut self, word: &str) -> bool {
        let there = self.peek_name() == Some(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn name_or_any(&mut self) -> Result<Name, Failure> {
        if self.eat("*") {
            return Ok(Name::Any);
        }
        match self.peek_name() {
            Some(name) => {
                if self.rest()[name.len()..].starts_with("::") {
                    return self.fail(format!("the axis {name} is not supported"));
                }
                if self.rest()[name.len()..].starts_with('(') {
                    return self.fail(format!("{name}() is not supported here"));
                }
                self.at += name.len();
                Ok(Name::Is(name.to_owned()))
            }
            None => self.fail("a name, * or @ is missing here"),
        }
    }

    /// A path of the whole expression, which may be in parentheses with positions behind it.
    fn top_path(&mut self) -> Result<Path, Failure> {
        if !self.eat("(") {
            return self.path();
        }
        let mut path = self.path()?;
        self.expect(")")?;
        path.picks = self.predicates()?;
        Ok(path)
    }

    fn path(&mut self) -> Result<Path, Failure> {
        let mut path = Path { absolute: false, steps: Vec::new(), attribute: None, picks: Vec::new() };
        self.space();
        if self.rest().starts_with('/') {
            path.absolute = true;
            if !self.eat("//") {
                self.at += 1;
                self.space();
                if self.rest().is_empty() || self.rest().starts_with(['|', ']', ')']) {
                    return Ok(path); // The document itself.
                }
            } else {
                path.steps.push(Step::Below);
            }
        }
        loop {
            if self.eat("@") || self.eat("attribute::") {
                path.attribute = Some(self.name_or_any()?);
                if self.rest().starts_with('/') {
                    return self.fail("nothing can follow an attribute");
                }
                return Ok(path);
            }
            if self.eat("..") {
                path.steps.push(Step::Parent);
            } else if !self.eat(".") {
                let _ = self.eat("child::");
                let name = self.name_or_any()?;
                let predicates = self.predicates()?;
                path.steps.push(Step::Children(name, predicates));
            }
            if self.eat("//") {
                path.steps.push(Step::Below);
            } else if !self.eat("/") {
                return Ok(path);
            }
        }
    }

    fn predicates(&mut self) -> Result<Vec<Expression>, Failure> {
        let mut predicates = Vec::new();
        while self.eat("[") {
            predicates.push(self.deeper(Self::or)?);
            self.expect("]")?;
        }
        Ok(predicates)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail(format!("nested more than {DEEPEST} deep"));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn or(&mut self) -> Result<Expression, Failure> {
        let mut left = self.and()?;
        while self.word("or") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, Failure> {
        let mut left = self.comparison()?;
        while self.word("and") {
            left = Expression::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, Failure> {
        const COMPARISONS: [(&str, Comparison); 6] = [
            ("=", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let left = self.operand()?;
        for (sign, comparison) in COMPARISONS {
            if self.eat(sign) {
                return Ok(Expression::Compare(Box::new(left), comparison, Box::new(self.operand()?)));
            }
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, Failure> {
        self.space();
        let rest = self.rest();
        match rest.chars().next() {
            None => self.fail("the expression ends here too early"),
            Some(quote @ ('\'' | '"')) => match rest[1..].find(quote) {
                Some(length) => {
                    self.at += length + 2;
                    Ok(Expression::Text(rest[1..=length].to_owned()))
                }
                None => self.fail(format!("the closing {quote} is missing")),
            },
            Some(digit) if digit.is_ascii_digit() => {
                let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
                match rest[..end].parse() {
                    Ok(number) => {
                        self.at += end;
                        Ok(Expression::Number(number))
                    }
                    Err(_) => self.fail("this is no number"),
                }
            }
            Some('(') => {
                self.at += 1;
                let inner = self.deeper(Self::or)?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(_) => match self.peek_name() {
                Some(name) if rest[name.len()..].trim_start().starts_with('(') => self.function(name),
                _ => self.deeper(Self::path).map(Expression::Path),
            },
        }
    }

    fn function(&mut self, name: &str) -> Result<Expression, Failure> {
        let start = self.at;
        self.at += name.len();
        self.expect("(")?;
        let made = match name {
            "not" => Expression::Not(Box::new(self.deeper(Self::or)?)),
            "boolean" => Expression::Not(Box::new(Expression::Not(Box::new(self.deeper(Self::or)?)))),
            "true" => Expression::Constant(true),
            "false" => Expression::Constant(false),
            "position" => Expression::Position,
            "last" => Expression::Last,
            "count" => Expression::Count(self.deeper(Self::path)?),
            "starts-with" | "contains" => {
                let text = Box::new(self.deeper(Self::operand)?);
                self.expect(",")?;
                let part = Box::new(self.deeper(Self::operand)?);
                if name == "contains" { Expression::Contains(text, part) } else { Expression::StartsWith(text, part) }
            }
            _ => return Err((start, format!("the function {name}() is not supported"))),
        };
        self.expect(")")?;
        Ok(made)
    }
}

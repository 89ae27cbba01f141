//! Text as nested lists: a line per item, two blanks and a star a level.

/// Text under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outline {
    level: usize,
    text: String,
}

impl Outline {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line at the current level.
    pub(crate) fn item(&mut self, line: &str) {
        if self.level > 0 {
            self.text.push_str(&"  ".repeat(self.level));
            self.text.push_str("* ");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A line with a colon, under which the next ones stand.
    pub(crate) fn open(&mut self, title: &str) {
        self.item(&format!("{title}:"));
        self.level += 1;
    }

    /// One level deeper without a line.
    pub(crate) fn indent(&mut self) {
        self.level += 1;
    }

    /// Ends what [`Self::open`] or [`Self::indent`] began.
    pub(crate) fn close(&mut self) {
        self.level = self.level.saturating_sub(1);
    }

    /// A line without star and indentation at any level.
    pub(crate) fn plain(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// An empty line.
    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// A heading that is written with its first item, and not at all where there is none.
pub(crate) struct Section {
    title: String,
    blank_before: bool,
    written: bool,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>, blank_before: bool) -> Self {
        Self { title: title.into(), blank_before, written: false }
    }

    pub(crate) fn begin(&mut self, outline: &mut Outline) {
        if !self.written {
            if self.blank_before {
                outline.blank();
            }
            outline.open(&self.title);
            self.written = true;
        }
    }

    /// Whether there was anything.
    pub(crate) fn end(self, outline: &mut Outline) -> bool {
        if self.written {
            outline.close();
        }
        self.written
    }
}

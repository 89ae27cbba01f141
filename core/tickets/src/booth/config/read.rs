//! booth.conf: lines of `key = value`.

use super::builder::{At, Builder, Value};
use super::{Kind, Reading};
use hakudo_base::Severity;

/// Longer texts are refused: a group of 16 members with a thousand tickets needs a tenth of it.
const LONGEST_TEXT: usize = 1 << 20;

/// Reads booth.conf. All mistakes are found, not only the first.
pub fn read(text: &str) -> Reading {
    let mut builder = Builder::new(text);
    if text.len() > LONGEST_TEXT {
        let all = Value { text: "", at: At::Text(0) };
        builder.error(all, format!("the file has more than {LONGEST_TEXT} bytes"));
        return builder.finish();
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        read_line(&mut builder, start, line.trim_end_matches(['\n', '\r']));
        start += line.len();
    }
    builder.finish()
}

/// Reads booth.conf from bytes, which must be UTF-8.
pub fn read_bytes(bytes: &[u8]) -> Reading {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text),
        Err(error) => {
            let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            let mut builder = Builder::new(good);
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let here = Value { text: "", at: At::Text(good.len()) };
            builder.error(here, format!("this is not UTF-8 (byte 0x{byte:02x})"));
            builder.finish()
        }
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn read_line(builder: &mut Builder<'_>, start: usize, line: &str) {
    let content = line.trim_start_matches(is_blank);
    if content.is_empty() || content.starts_with('#') {
        return;
    }
    let content = Value { text: content, at: At::Text(start + line.len() - content.len()) };
    if let Some(at) = content.text.find(|c: char| c.is_control() && c != '\t') {
        let length = content.text[at..].chars().next().map_or(0, char::len_utf8);
        builder.error(content.part(at..at + length), "a control character".to_owned());
        return;
    }
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let key_length = content.text.find(|c| !is_key(c)).unwrap_or(content.text.len());
    let key = content.part(0..key_length);
    let behind = content.text[key_length..].trim_start_matches(is_blank);
    if key_length == 0 {
        builder.error(content.first_word(), "a keyword is expected here".to_owned());
        return;
    }
    let Some(rest) = behind.strip_prefix('=') else {
        let hint = "write: keyword = value";
        builder.tell(Severity::Error, key, format!("`=` is missing behind `{}`", key.text), Some(hint));
        return;
    };
    let rest = rest.trim_start_matches(is_blank);
    let rest = content.part(content.text.len() - rest.len()..content.text.len());
    if let Some(value) = read_value(builder, key, rest) {
        take(builder, key, value);
    }
}

/// The value behind `=`: in quotes, or up to the end of the line or a comment.
fn read_value<'a>(builder: &mut Builder<'_>, key: Value<'a>, rest: Value<'a>) -> Option<Value<'a>> {
    let value = match rest.text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let Some(end) = rest.text[1..].find(quote).map(|found| found + 1) else {
                builder.error(rest, format!("the closing {quote} is missing"));
                return None;
            };
            let behind = rest.text[end + 1..].trim_start_matches(is_blank);
            if !behind.is_empty() && !behind.starts_with('#') {
                let behind = rest.part(rest.text.len() - behind.len()..rest.text.len());
                builder.error(behind, "only a comment may follow a value in quotes".to_owned());
                return None;
            }
            rest.part(1..end)
        }
        _ => {
            let comment = rest
                .text
                .char_indices()
                .find(|(at, c)| *c == '#' && rest.text[..*at].chars().next_back().is_none_or(is_blank));
            let value = rest.part(0..comment.map_or(rest.text.len(), |(at, _)| at));
            if comment.is_some_and(|(at, _)| at > 0) {
                let difference = "boothd takes a comment behind a value without quotes as part of the value";
                builder.tell(Severity::Info, value.trimmed(), difference.to_owned(), Some("put the value in quotes"));
            }
            value.trimmed_end()
        }
    };
    if value.text.is_empty() {
        builder.error(key, format!("`{}` has no value", key.text));
        return None;
    }
    Some(value)
}

fn take<'a>(builder: &mut Builder<'a>, key: Value<'_>, value: Value<'_>) {
    match key.text {
        "site" => builder.member(Kind::Site, value),
        "arbitrator" => builder.member(Kind::Arbitrator, value),
        "addresses" => builder.addresses(key, value),
        "ticket" => builder.ticket(value),
        _ => builder.setting(key, value),
    }
}

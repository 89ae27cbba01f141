//! The keywords, and which of them was meant.

const GLOBALS: [&str; 10] = [
    "transport",
    "port",
    "name",
    "authfile",
    "maxtimeskew",
    "site-user",
    "site-group",
    "arbitrator-user",
    "arbitrator-group",
    "debug",
];

const TICKET_OPTIONS: [&str; 13] = [
    "expire",
    "acquire-after",
    "renewal-freq",
    "timeout",
    "retries",
    "weights",
    "before-acquire-handler",
    "attr-prereq",
    "mode",
    "stop-time",
    "lag",
    "preferred",
    "fail-back",
];

pub(super) fn is_global(key: &str) -> bool {
    GLOBALS.contains(&key)
}

pub(super) fn is_ticket_option(key: &str) -> bool {
    TICKET_OPTIONS.contains(&key)
}

/// Letters, digits, `-` and `_` in parts between dots, as names of hosts have them.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // What has nothing but digits and dots was meant as an address.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.len() <= 253 && !is_number && text.strip_suffix('.').unwrap_or(text).split('.').all(is_part)
}

/// The keyword that differs from `key` in a letter or two, if there is one.
pub(super) fn closest(key: &str) -> Option<&'static str> {
    if key.len() > 40 {
        return None;
    }
    let words = GLOBALS.iter().chain(&TICKET_OPTIONS).chain(&["site", "arbitrator", "ticket", "addresses"]);
    let wanted = key.to_ascii_lowercase().replace('_', "-");
    let (distance, word) = words.map(|word| (hakudo_base::suggestion::distance(&wanted, word), *word)).min()?;
    (distance <= 2 && distance < word.len() / 2).then_some(word)
}

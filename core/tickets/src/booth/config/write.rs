//! booth.conf from a configuration: the same text for the same configuration, with every option of a ticket in it.

use super::builder::time;
use super::{Group, Mode, PORT, Ticket};
use std::fmt::Write;
use thiserror::Error;

/// Why a configuration cannot be written as booth.conf.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("booth.conf cannot hold the value of `{key}`: {value:?}")]
pub struct Unwritable {
    /// The keyword.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Writes booth.conf, such that [`super::read`] gives `group` again.
///
/// # Errors
/// Where a value has a line break, or both kinds of quotes at places where it needs quotes: the format has no escapes.
pub fn write(group: &Group) -> Result<String, Unwritable> {
    let mut out = String::new();
    let globals = [
        ("name", group.name.clone()),
        ("port", (group.port != PORT).then(|| group.port.to_string())),
        ("authfile", group.key_file.clone()),
        ("maxtimeskew", (group.max_time_skew.as_secs() != 600).then(|| group.max_time_skew.as_secs().to_string())),
        ("site-user", group.site_owner.user.clone()),
        ("site-group", group.site_owner.group.clone()),
        ("arbitrator-user", group.arbitrator_owner.user.clone()),
        ("arbitrator-group", group.arbitrator_owner.group.clone()),
        ("debug", group.debug.map(|debug| debug.to_string())),
    ];
    line(&mut out, "", "transport", "UDP")?;
    for (key, value) in globals {
        if let Some(value) = value {
            line(&mut out, "", key, &value)?;
        }
    }
    for member in &group.members {
        line(&mut out, "", member.kind.word(), &member.host.to_string())?;
        if !member.addresses.is_empty() {
            let addresses: Vec<String> = member.addresses.iter().map(ToString::to_string).collect();
            line(&mut out, "", "addresses", &addresses.join(" "))?;
        }
    }
    group.tickets.iter().try_for_each(|ticket| write_ticket(&mut out, ticket))?;
    Ok(out)
}

fn write_ticket(out: &mut String, ticket: &Ticket) -> Result<(), Unwritable> {
    out.push('\n');
    line(out, "", "ticket", &ticket.name)?;
    let mut option = |key: &str, value: &str| line(out, "    ", key, value);
    option("expire", &time(ticket.expire))?;
    option("acquire-after", &time(ticket.acquire_after))?;
    option("renewal-freq", &time(ticket.renewal))?;
    option("timeout", &time(ticket.timeout))?;
    option("retries", &ticket.retries.to_string())?;
    if !ticket.weights.is_empty() {
        let weights: Vec<String> = ticket.weights.iter().map(u32::to_string).collect();
        option("weights", &weights.join(","))?;
    }
    if !ticket.handler.is_empty() {
        option("before-acquire-handler", &ticket.handler.join(" "))?;
    }
    for prerequisite in &ticket.prerequisites {
        let words =
            [prerequisite.when.word(), &prerequisite.attribute, prerequisite.comparison.word(), &prerequisite.value];
        option("attr-prereq", &words.join(" "))?;
    }
    if ticket.mode == Mode::Manual {
        option("mode", "manual")?;
    }
    if let Some(stop_time) = ticket.stop_time {
        option("stop-time", &time(stop_time))?;
    }
    if let Some(lag) = &ticket.lag {
        option("lag", &format!("{} {}", time(lag.at_most), lag.program.join(" ")))?;
    }
    if let Some(preferred) = &ticket.preferred {
        option("preferred", &preferred.to_string())?;
    }
    ticket.fail_back.map_or(Ok(()), |fail_back| option("fail-back", &time(fail_back)))
}

/// One line; the value in quotes where it is not a plain word.
fn line(out: &mut String, indent: &str, key: &str, value: &str) -> Result<(), Unwritable> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | ',');
    let unwritable = || Unwritable { key: key.to_owned(), value: value.to_owned() };
    // boothd takes any value without quotes but those of tickets and members, whose quotes are the custom.
    let customary = matches!(key, "ticket" | "site" | "arbitrator" | "transport");
    let quote = match (value.contains('"'), value.contains('\'')) {
        _ if value.is_empty() || value.contains(|c: char| c.is_control() && c != '\t') => return Err(unwritable()),
        _ if !customary && value.chars().all(is_plain) => "",
        (false, _) => "\"",
        (true, false) => "'",
        (true, true) => {
            let blank_ends = value.trim() != value;
            let comment = value.starts_with('#') || value.contains(" #") || value.contains("\t#");
            if value.starts_with(['"', '\'']) || blank_ends || comment {
                return Err(unwritable());
            }
            ""
        }
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{indent}{key} = {quote}{value}{quote}");
    Ok(())
}

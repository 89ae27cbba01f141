//! What crm_ticket prints of tickets in the CIB.

use super::{DAYS, MONTHS, calendar};
use hakudo_base::UnixTime;
use hakudo_cib::Element;

/// Exit codes of crm_ticket.
pub mod crm_ticket_exit {
    /// Done.
    pub const OK: u8 = 0;
    /// It needs `--force`.
    pub const NEEDS_FORCE: u8 = 4;
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// There is no such ticket or attribute.
    pub const NO_SUCH: u8 = 105;
}

/// `Fri Nov 20 22:12:42 2026`.
pub fn c_time(time: UnixTime, offset: i32) -> String {
    let (date, [hour, minute, second]) = calendar(time, offset);
    let day = DAYS.get(date.weekday).copied().unwrap_or_default();
    let month = MONTHS.get(date.month as usize - 1).copied().unwrap_or_default();
    format!("{day} {month} {:2} {hour:02}:{minute:02}:{second:02} {}", date.day, date.year)
}

fn is_true(state: &Element, name: &str) -> bool {
    state.attribute(name) == Some("true")
}

fn time_of(state: &Element, name: &str, offset: i32) -> Option<String> {
    let seconds: i64 = state.attribute(name)?.parse().ok()?;
    Some(c_time(UnixTime::from_seconds(seconds), offset))
}

fn beginning(state: &Element) -> String {
    let granted = if is_true(state, "granted") { "granted" } else { "revoked" };
    let standby = if is_true(state, "standby") { "[standby]" } else { "         " };
    format!("{}\t{granted} {standby}", state.id())
}

/// `crm_ticket -l` of one `<ticket_state>`.
pub fn ticket_line(state: &Element, offset: i32) -> String {
    let last = time_of(state, "last-granted", offset).map(|time| format!(" last-granted='{time}'"));
    format!("{}{}\n", beginning(state), last.unwrap_or_default())
}

/// `crm_ticket -L` of one `<ticket_state>`: all attributes but its id, those known first.
pub fn ticket_details(state: &Element, offset: i32) -> String {
    let shown = |name: &str, value: &str| match name {
        "last-granted" | "expires" => {
            format!("{name}='{}'", time_of(state, name, offset).unwrap_or_else(|| value.to_owned()))
        }
        _ => format!("{name}={value}"),
    };
    let attributes = state.attributes().iter().filter(|attribute| &*attribute.name != "id");
    let all: Vec<String> = attributes.map(|attribute| shown(&attribute.name, &attribute.value)).collect();
    format!("{} ({})\n", beginning(state), all.join(", "))
}

/// `crm_ticket -q`: `written` is the element as XML.
pub fn ticket_xml(written: &str) -> String {
    format!("State XML:\n\n{}\n", written.trim_end())
}

/// `crm_ticket -c`: `written` are the constraints as XML.
pub fn ticket_constraints(written: &str) -> String {
    format!("Constraints XML:\n\n{}\n", written.trim_end())
}

/// What crm_ticket says in place of a grant without `--force`.
pub fn grant_needs_force(ticket: &str) -> String {
    format!(
        "This command cannot help you verify whether '{ticket}' has been already granted elsewhere.\n{}",
        really("grant", ticket, "to")
    )
}

/// What crm_ticket says in place of a revocation without `--force`.
pub fn revoke_needs_force(ticket: &str) -> String {
    format!(
        "Revoking '{ticket}' can trigger the specified 'loss-policy'(s) relating to '{ticket}'.\n\n\
         You can check that with:\ncrm_ticket --ticket {ticket} --constraints\n\n\
         Otherwise before revoking '{ticket}', you may want to make '{ticket}' standby with:\n\
         crm_ticket --ticket {ticket} --standby\n\n{}",
        really("revoke", ticket, "from")
    )
}

fn really(action: &str, ticket: &str, preposition: &str) -> String {
    format!(
        "If you really want to {action} '{ticket}' {preposition} this site now, and you know what you are doing,\n\
         please specify --force.\n"
    )
}

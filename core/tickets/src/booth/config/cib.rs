//! The same configuration in the CIB, for those who want one place.
//!
//! It stands where Pacemaker's schema lets strangers' settings stand and Pacemaker itself does not mind them: in sets of
//! `crm_config`. The keywords are those of booth.conf; a member or a ticket is a set of its own.
//!
//! ```xml
//! <crm_config>
//!   <cluster_property_set id="hakudo-tickets">
//!     <nvpair id="t-key" name="authfile" value="/etc/booth/authkey"/>
//!   </cluster_property_set>
//!   <cluster_property_set id="hakudo-tickets-member-1">
//!     <nvpair id="m1-site" name="site" value="192.0.2.1"/>
//!     <nvpair id="m1-addresses" name="addresses" value="192.0.2.2"/>
//!   </cluster_property_set>
//!   <cluster_property_set id="hakudo-tickets-ticket-1">
//!     <nvpair id="t1-name" name="ticket" value="ticketA"/>
//!     <nvpair id="t1-expire" name="expire" value="10"/>
//!     <nvpair id="t1-pre-1" name="attr-prereq-1" value="auto lag lt 5"/>
//!   </cluster_property_set>
//! </crm_config>
//! ```
//!
//! Names in a set must differ, therefore `attr-prereq` may have a number behind it. Sets count in the order of the document.
//! `ticket = __defaults__` works here too. `port` holds for all members wherever it stands.

use super::builder::{Builder, Value};
use super::{Kind, Problem, Reading};
use hakudo_base::Severity;
use hakudo_cib::{Document, Element};
use std::collections::BTreeSet;

/// The id of the set with what concerns the whole group; ids of members' and tickets' sets begin with it and a `-`.
pub const SET: &str = "hakudo-tickets";

/// Reads the configuration of tickets from the CIB; nothing where it has none.
pub fn read_cib(document: &Document) -> Option<Reading> {
    let options = document.section(&["configuration", "crm_config"])?;
    let sets: Vec<&Element> =
        options.children_named("cluster_property_set").filter(|set| part(set).is_some()).collect();
    if sets.is_empty() {
        return None;
    }
    let mut builder = Builder::new("");
    builder.begin_in(sets.first()?);
    for set in sets {
        read_set(&mut builder, set);
    }
    Some(builder.finish())
}

/// Errors of the configuration of tickets in `after` that it does not have in `before`: what is wrong already may be mended one
/// thing after the other. A group that was not whole before may still lack something, too.
pub fn new_errors(before: &Document, after: &Document) -> Vec<Problem> {
    let errors = |document| {
        let problems = read_cib(document).map(|reading| reading.problems).unwrap_or_default();
        problems.into_iter().filter(|problem| problem.severity == Severity::Error)
    };
    let mut errors_after: Vec<Problem> = errors(after).collect();
    if !errors_after.is_empty() {
        let was_whole = read_cib(before).is_some_and(|reading| reading.group.is_some());
        errors_after.retain(|problem| was_whole || !problem.incomplete);
        let known: BTreeSet<(String, String)> = errors(before).map(|problem| (problem.id, problem.message)).collect();
        errors_after.retain(|problem| !known.contains(&(problem.id.clone(), problem.message.clone())));
    }
    errors_after
}

/// What the set is about: `""`, `member-…` or `ticket-…`.
fn part(set: &Element) -> Option<&str> {
    let behind = set.id().strip_prefix(SET)?;
    if behind.is_empty() { Some("") } else { behind.strip_prefix('-') }
}

fn read_set(builder: &mut Builder<'_>, set: &Element) {
    let part = part(set).unwrap_or_default();
    let here = Value { text: set.id(), at: builder.in_document(set, Some("id")) };
    let (member, ticket) = (part.starts_with("member-"), part.starts_with("ticket-"));
    if !part.is_empty() && !member && !ticket {
        builder.tell(
            Severity::Error,
            here,
            format!("the id `{}` says neither of a member nor of a ticket what the set is", set.id()),
            Some("call it hakudo-tickets-member-… or hakudo-tickets-ticket-…"),
        );
        return;
    }
    let mut pairs = Vec::new();
    for child in set.children() {
        match (child.name(), child.attribute("name"), child.attribute("value")) {
            ("nvpair", Some(name), Some(value)) => {
                let name = Value { text: name, at: builder.in_document(child, Some("name")) };
                pairs.push((name, Value { text: value, at: builder.in_document(child, Some("value")) }));
            }
            (kind, _, _) => {
                let at = builder.in_document(child, None);
                let what = format!("a `{kind}` without a name and a value of its own means nothing here");
                builder.tell(
                    Severity::Error,
                    Value { text: kind, at },
                    what,
                    Some("write an nvpair with name and value"),
                );
            }
        }
    }
    // The name of a ticket comes first, wherever it stands in its set.
    let is_first = |name: &str| matches!(name, "ticket" | "site" | "arbitrator");
    pairs.sort_by_key(|(name, _)| !is_first(name.text));
    let heads = pairs.iter().filter(|(name, _)| is_first(name.text)).count();
    if heads != usize::from(member || ticket) {
        let wanted = match (member, ticket) {
            (true, _) => "one `site` or `arbitrator`",
            (_, true) => "one `ticket`",
            _ => "no `site`, `arbitrator` or `ticket`",
        };
        builder.error(here, format!("{wanted} is expected in the set `{}`", set.id()));
        return;
    }
    for (name, value) in pairs {
        if value.text.is_empty() {
            builder.error(name, format!("`{}` has no value", name.text));
            continue;
        }
        match name.text {
            "site" if member => builder.member(Kind::Site, value),
            "arbitrator" if member => builder.member(Kind::Arbitrator, value),
            "addresses" if member => builder.addresses(name, value),
            "ticket" if ticket => builder.ticket(value),
            _ if member || is_first(name.text) => {
                builder.error(name, format!("`{}` does not belong in the set `{}`", name.text, set.id()));
            }
            _ => builder.setting(unnumbered(name), value),
        }
    }
}

/// `attr-prereq-2` is `attr-prereq`.
fn unnumbered(name: Value<'_>) -> Value<'_> {
    let digits = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    match name.text.strip_prefix("attr-prereq-") {
        Some(rest) if digits(rest) => name.part(0.."attr-prereq".len()),
        _ => name,
    }
}

//! What `hakudo ticket` shows of a group: lines for people, and the explanation of a ticket for programs too.

use super::ticket::Group;
use hakudo_tickets::{LeaseStatus, MemberKind, MemberStatus, TicketMode, TicketStatus};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

pub(crate) fn list(group: &Group) -> String {
    let mut text = String::new();
    for ticket in &group.status.tickets {
        let holder = match ticket.holder {
            Some(holder) => format!("held by {}, {}", group.name(holder), lease(&ticket.lease)),
            None if ticket.revoked => "revoked".to_owned(),
            None => "held by nobody".to_owned(),
        };
        let standby = if ticket.standby { ", on standby" } else { "" };
        let moving = ticket.moving.as_ref().map_or_else(String::new, |to| format!(", moving to {}", group.name(to.to)));
        // Writing into a string does not fail.
        let _ = writeln!(text, "{}: {holder}{standby}{moving}", ticket.name);
    }
    text
}

fn lease(lease: &LeaseStatus) -> String {
    match lease {
        LeaseStatus::None => "no lease".to_owned(),
        LeaseStatus::Unlimited => "without end".to_owned(),
        LeaseStatus::Ends(time) => format!("for {} unless it is renewed", seconds(*time)),
        LeaseStatus::Lost(time) => format!("not renewed: nobody else gets it for {}", seconds(*time)),
        LeaseStatus::Stays(what) => {
            format!("not renewed, and not all is stopped by itself ({what}): nobody else gets it but by force")
        }
        LeaseStatus::Ended => "not renewed, and certainly stopped".to_owned(),
        LeaseStatus::Unknown => "until when is not known here".to_owned(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn kind(member: &MemberStatus) -> &'static str {
    match member.kind {
        MemberKind::Site => "site",
        MemberKind::Arbitrator => "arbitrator",
    }
}

pub(crate) fn peers(group: &Group) -> String {
    let mut text = String::new();
    for member in &group.status.members {
        let heard = match member.heard {
            _ if member.id == group.status.local => "answers".to_owned(),
            Some(time) => format!("heard {} ago", seconds(time)),
            None => "never heard".to_owned(),
        };
        let coordinates = group.status.coordinator == Some(member.id);
        let notes: Vec<&str> =
            coordinates.then_some("coordinates the group").into_iter().chain(notes(member)).collect();
        let notes = if notes.is_empty() { String::new() } else { format!("; {}", notes.join(", ")) };
        let _ = writeln!(text, "{} {} ({}): {heard}{notes}", kind(member), member.name, member.addresses.join(", "));
    }
    text
}

/// What is unusual about a member.
fn notes(member: &MemberStatus) -> impl Iterator<Item = &'static str> {
    let all = [
        (member.disclaims, "takes no tickets"),
        (member.observes, "only observes"),
        (member.absent, "declared dead"),
        (member.forgetful, "has forgotten what it promised, or is new: it has no vote yet"),
        (
            member.older_group,
            "remembers an older group, so that this one cannot begin: bring its other members back, or, where they are lost for good, \
             hakudo ticket take-over there, or remove what it stored",
        ),
        (member.config_differs, "was started with another configuration"),
    ];
    all.into_iter().filter_map(|(is, note)| is.then_some(note))
}

/// All that is known of a ticket and of who could hold it (schema/ticket.json).
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    ticket: String,
    /// The same in sentences.
    pub(crate) text: String,
    mode: TicketMode,
    holder: Option<String>,
    generation: u64,
    lease: &'static str,
    /// How long that lasts.
    seconds_left: Option<f64>,
    wanted: bool,
    revoked: bool,
    standby: bool,
    moving: Option<Moving>,
    coordinator: Option<String>,
    candidates: Vec<Candidate>,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Moving {
    from: String,
    to: String,
}

#[derive(Debug, Serialize)]
struct Candidate {
    site: String,
    could_take: bool,
    reason: Option<String>,
    failures_in_a_row: u32,
}

#[derive(Debug, Serialize)]
struct Member {
    name: String,
    kind: &'static str,
    local: bool,
    heard_seconds_ago: Option<f64>,
    notes: Vec<&'static str>,
}

pub(crate) fn explain(group: &Group, ticket: &TicketStatus) -> Explanation {
    let status = &group.status;
    let (lease, left) = match &ticket.lease {
        LeaseStatus::None => ("none", None),
        LeaseStatus::Unlimited => ("unlimited", None),
        LeaseStatus::Ends(left) => ("ends", Some(*left)),
        LeaseStatus::Lost(left) => ("lost", Some(*left)),
        LeaseStatus::Stays(_) => ("stays", None),
        LeaseStatus::Ended => ("ended", None),
        LeaseStatus::Unknown => ("unknown", None),
    };
    let mut text = group.in_names(&status.explain(&ticket.name).unwrap_or_default());
    for (site, times) in ticket.failures.iter().filter(|(_, times)| **times > 0) {
        let _ = write!(text, " {} gave it up {times} times in a row because it could not run it.", group.name(*site));
    }
    for member in &status.members {
        notes(member).for_each(|note| text += &format!(" {} {note}.", member.name));
    }
    let candidates = ticket.candidates.iter().map(|candidate| Candidate {
        site: group.name(candidate.site),
        could_take: candidate.obstacle.is_none(),
        reason: candidate.obstacle.as_ref().map(|reason| group.in_names(reason)),
        failures_in_a_row: ticket.failures.get(&candidate.site).copied().unwrap_or_default(),
    });
    let members = status.members.iter().map(|member| Member {
        name: member.name.clone(),
        kind: kind(member),
        local: member.id == status.local,
        heard_seconds_ago: member.heard.map(|time| time.as_secs_f64()),
        notes: notes(member).collect(),
    });
    Explanation {
        ticket: ticket.name.clone(),
        text,
        mode: ticket.mode,
        holder: ticket.holder.map(|holder| group.name(holder)),
        generation: ticket.generation,
        lease,
        seconds_left: left.map(|left| left.as_secs_f64()),
        wanted: ticket.wanted,
        revoked: ticket.revoked,
        standby: ticket.standby,
        moving: ticket.moving.as_ref().map(|to| Moving { from: group.name(to.from), to: group.name(to.to) }),
        coordinator: status.coordinator.map(|coordinator| group.name(coordinator)),
        candidates: candidates.collect(),
        members: members.collect(),
    }
}

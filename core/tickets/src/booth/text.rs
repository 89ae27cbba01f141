//! The outputs of booth, geostore and crm_ticket, to the letter: what people and scripts know.
//!
//! Functions of values; nothing is printed here. Times of the calendar come with the offset of the zone that they are shown in.

use super::engine::{Counters, Peer};
use super::wire::{Command, Flags, Outcome};
use hakudo_base::{Severity, UnixTime};
use std::collections::BTreeMap;
use std::fmt::Write;

mod crm_ticket;
pub use crm_ticket::*;

/// A ticket as `booth list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its name.
    pub name: String,
    /// Who holds it.
    pub holder: Holder,
    /// When its lease ends.
    pub expires: Option<UnixTime>,
    /// The grant counts only from then on.
    pub pending_until: Option<UnixTime>,
    /// Only administrators grant it.
    pub manual: bool,
    /// Addresses of all who say that they hold it.
    pub claims: Vec<String>,
}

/// Who holds a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: it was never granted, or was lost.
    Nobody,
    /// Nobody: an administrator revoked it.
    Revoked,
    /// The site with that address.
    Site(String),
}

/// The calendar date and time of day in a zone `offset` seconds ahead of UTC: `2026-11-20 22:28:05`.
pub fn date_time(time: UnixTime, offset: i32) -> String {
    let (date, [hour, minute, second]) = calendar(time, offset);
    format!("{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}", date.year, date.month, date.day)
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
    /// 0 is Sunday.
    weekday: usize,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// The Gregorian calendar: eras of 400 years have 146097 days; years are counted from March, so that leap days come last.
fn calendar(time: UnixTime, offset: i32) -> (Date, [i64; 3]) {
    let seconds = time.seconds().saturating_add(i64::from(offset));
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let since_era_0 = days + 719_468;
    let (era, day_of_era) = (since_era_0.div_euclid(146_097), since_era_0.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = Date { year, month, day, weekday: (days + 4).rem_euclid(7) as usize };
    (date, [rest / 3600, rest / 60 % 60, rest % 60])
}

/// What `booth list` prints.
pub fn list(tickets: &[Ticket], offset: i32) -> String {
    let mut out = String::new();
    for ticket in tickets {
        let leader = match &ticket.holder {
            Holder::Nobody => "NONE",
            Holder::Revoked => "none",
            Holder::Site(address) => address,
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "ticket: {}, leader: {leader}", ticket.name);
        if let Holder::Site(_) = ticket.holder {
            let expires = ticket.expires.filter(|_| !ticket.manual).map(|at| date_time(at, offset));
            let _ = write!(out, ", expires: {}", expires.as_deref().unwrap_or("INF"));
            if let Some(until) = ticket.pending_until {
                let _ = write!(out, " (commit pending until {})", date_time(until, offset));
            }
        }
        out.push_str(if ticket.manual { " [manual mode]\n" } else { "\n" });
    }
    for ticket in tickets.iter().filter(|ticket| ticket.claims.len() > 1) {
        let _ = writeln!(
            out,
            "\nWARNING: The ticket {} is granted to multiple sites: {}. Revoke the ticket from the faulty sites.",
            ticket.name,
            ticket.claims.join(", ")
        );
    }
    out
}

/// What `booth peers` prints.
pub fn peers(peers: &[(Peer, Counters)], offset: i32) -> String {
    let mut out = String::new();
    for (peer, counters) in peers {
        let last = date_time(counters.last.unwrap_or_default(), offset);
        let _ = writeln!(out, "{:<12} {}, last recv: {last}", peer.kind.word(), peer.address);
        let Counters { sent, send_errors, resends, received, receive_errors, not_authentic, invalid, .. } = counters;
        let _ = writeln!(out, "\tSent pkts:{sent} error:{send_errors} resends:{resends}");
        let _ =
            writeln!(out, "\tRecv pkts:{received} error:{receive_errors} authfail:{not_authentic} invalid:{invalid}\n");
    }
    out
}

/// What `geostore list` prints: name, value, and when it was set in the life of the daemon.
pub fn attributes<'a>(all: impl Iterator<Item = (&'a str, &'a str, Option<UnixTime>)>, offset: i32) -> String {
    all.map(|(name, value, set)| {
        let set = set.map(|at| date_time(at, offset)).unwrap_or_default();
        format!("{name} {value} {set}\n")
    })
    .collect()
}

/// A daemon as `booth status` shows it, and its pid file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its process.
    pub pid: u32,
    /// It has begun to serve.
    pub started: bool,
    /// `site` or `arbitrator`.
    pub kind: &'static str,
    /// The name of the configuration.
    pub name: String,
    /// Its number on the wire.
    pub id: u32,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// The content of the pid file.
pub fn pid_file(daemon: &Daemon) -> String {
    let state = if daemon.started { "started" } else { "starting" };
    let Daemon { pid, kind, name, id, address, port, .. } = daemon;
    format!(
        "booth_pid={pid} booth_state={state} booth_type={kind} booth_cfg_name='{name}' booth_id={id} \
         booth_addr_string='{address}' booth_port={port}\n"
    )
}

/// What `booth status` prints of a running daemon; `content` is that of the pid file.
pub fn status(lock_holder: u32, path: &str, content: &str) -> String {
    format!("booth_lockpid={lock_holder} booth_lockfile='{path}' {}\n", content.lines().next().unwrap_or_default())
}

/// What `booth status -S` says beside it.
pub fn seems_to_run(address: &str, port: u16) -> String {
    format!("Booth at {address} port {port} seems to be running.\n")
}

/// Exit codes of `booth status`.
pub mod exit {
    /// The daemon runs.
    pub const RUNNING: u8 = 0;
    /// It cannot be told.
    pub const ERROR: u8 = 1;
    /// It does not run.
    pub const NOT_RUNNING: u8 = 7;
}

/// A line on stderr, as booth's log writes it: `Nov 20 22:28:05 HOST booth: [PID]: info: TEXT`.
pub fn log_line(time: UnixTime, offset: i32, host: &str, pid: u32, line: &Line) -> String {
    let (date, [hour, minute, second]) = calendar(time, offset);
    let month = MONTHS.get(date.month as usize - 1).copied().unwrap_or_default();
    let severity = match line.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    format!(
        "{month} {:02} {hour:02}:{minute:02}:{second:02} {host} booth: [{pid}]: {severity}: {}\n",
        date.day, line.text
    )
}

/// Something that booth says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How grave.
    pub severity: Severity,
    /// The words.
    pub text: String,
}

fn info(text: impl Into<String>) -> Line {
    Line { severity: Severity::Info, text: text.into() }
}

fn error(text: impl Into<String>) -> Line {
    Line { severity: Severity::Error, text: text.into() }
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It reads another answer.
    Read,
    /// It asks the site that the answer names.
    Redirect,
    /// It ends with that code.
    End(u8),
}

/// `booth grant` or `booth revoke`, from its first answer to its end.
#[derive(Clone, Debug)]
pub struct Conversation {
    command: Command,
    ticket: String,
    flags: Flags,
    answers: u32,
    told: u32,
    redirects: u32,
}

impl Conversation {
    /// A client that has sent `command` for `ticket`.
    pub fn new(command: Command, ticket: &str, flags: Flags) -> Self {
        Self { command, ticket: ticket.to_owned(), flags, answers: 0, told: 0, redirects: 0 }
    }

    fn word(&self) -> &'static str {
        match self.command {
            Command::Grant => "grant",
            Command::Revoke => "revoke",
            Command::Peers => "peers",
            _ => "list",
        }
    }

    /// Takes the outcome in an answer.
    pub fn answer(&mut self, outcome: Outcome) -> (Vec<Line>, Next) {
        let (word, ticket) = (self.word(), &self.ticket);
        let end = |line: Line, code| (vec![line], Next::End(code));
        match outcome {
            Outcome::Overgrant => end(
                info(
                    "You're granting a granted ticket. If you wanted to migrate a ticket, use revoke first, then use grant.",
                ),
                1,
            ),
            Outcome::TicketIdle => end(info("ticket is not owned"), 0),
            Outcome::Async => end(
                info(format!(
                    "{word} command sent, result will be returned asynchronously. Please use \"booth list\" to see the outcome."
                )),
                0,
            ),
            Outcome::Success | Outcome::SyncSuccess if matches!(word, "list" | "peers") => (Vec::new(), Next::End(0)),
            Outcome::Success | Outcome::SyncSuccess => end(info(format!("{word} succeeded!")), 0),
            Outcome::SyncFail => end(info(format!("{word} failed!")), 1),
            Outcome::InvalidArgument => end(error(format!("ticket \"{ticket}\" does not exist")), 1),
            Outcome::Auth => end(error("authentication error"), 1),
            Outcome::HandlerFailed => {
                end(error(format!("before-acquire-handler for ticket \"{ticket}\" failed, grant denied")), 1)
            }
            Outcome::PrerequisiteFailed => {
                end(error(format!("attr-prereq for ticket \"{ticket}\" failed, grant denied")), 1)
            }
            // A ring of redirections would not end by itself.
            Outcome::Redirect if self.redirects < 4 => {
                self.redirects += 1;
                (Vec::new(), Next::Redirect)
            }
            Outcome::CibPending => {
                let said = info(format!("{word} succeeded (CIB commit pending)"));
                if self.flags.wait_commit { self.wait(vec![said], true) } else { end(said, 0) }
            }
            Outcome::More => self.wait(Vec::new(), false),
            other => end(error(format!("got an error code: {:x}", other.to_wire())), 1),
        }
    }

    fn wait(&mut self, mut lines: Vec<Line>, commit: bool) -> (Vec<Line>, Next) {
        if self.answers > 1 && !self.flags.wait {
            lines.push(info(
                "Giving up on waiting for the definite result. Please use \"booth list\" later to see the outcome.",
            ));
            return (lines, Next::End(0));
        }
        if self.answers == 0 {
            lines.push(info(format!("{} request sent, waiting for the result ...", self.word())));
            self.told += 1;
        } else if commit && self.told < 2 {
            lines.push(info("waiting for the CIB commit ..."));
            self.told += 1;
        }
        self.answers += 1;
        (lines, Next::Read)
    }
}

/// Why `booth` asks nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked<'a> {
    /// `-s` names no member.
    UnknownSite(&'a str),
    /// `-s` names an arbitrator.
    Arbitrator(&'a str),
    /// This machine is an arbitrator.
    LocalArbitrator,
    /// No ticket is named, and the configuration has not exactly one.
    NoTicket,
    /// No member has an address of this machine.
    NotHere,
}

/// What `booth grant` and `booth revoke` say then; their exit code is 1.
pub fn unasked(why: Unasked<'_>) -> Line {
    error(match why {
        Unasked::UnknownSite(site) => format!("Site \"{site}\" not configured."),
        Unasked::Arbitrator(site) => format!("{site} is just an arbitrator, cannot grant/revoke tickets there."),
        Unasked::LocalArbitrator => "We're just an arbitrator, cannot grant/revoke tickets here.".to_owned(),
        Unasked::NoTicket => "No ticket given.".to_owned(),
        Unasked::NotHere => "Cannot find myself in the configuration.".to_owned(),
    })
}

/// What `geostore` says of an answer, and its exit code.
pub fn geostore(command: Command, ticket: &str, name: &str, outcome: Outcome) -> (Option<Line>, u8) {
    let word = match command {
        Command::SetAttribute => "set",
        Command::GetAttribute => "get",
        Command::DeleteAttribute => "delete",
        _ => "list",
    };
    match outcome {
        Outcome::Success | Outcome::SyncSuccess => {
            ((command == Command::SetAttribute).then(|| info(format!("{word} succeeded!"))), 0)
        }
        Outcome::Async => (Some(info(format!("{word} command sent, result will be returned asynchronously."))), 0),
        Outcome::SyncFail => (Some(info(format!("{word} failed!"))), 1),
        Outcome::InvalidArgument => (Some(error(format!("ticket \"{ticket}\" does not exist"))), 1),
        Outcome::NoSuchAttribute => (Some(error(format!("attribute \"{name}\" not set"))), 1),
        Outcome::Auth => (Some(error("authentication error")), 1),
        other => (Some(error(format!("got an error code: {:x}", other.to_wire()))), 1),
    }
}

/// The environment of a handler, as booth gives it.
pub fn handler_environment(
    ticket: &str,
    local: &str,
    path: &str,
    name: &str,
    expires: Option<i64>,
) -> BTreeMap<&'static str, String> {
    let mut environment = BTreeMap::from([
        ("BOOTH_TICKET", ticket.to_owned()),
        ("BOOTH_LOCAL", local.to_owned()),
        ("BOOTH_CONF_PATH", path.to_owned()),
        ("BOOTH_CONF_NAME", name.to_owned()),
    ]);
    environment.insert("BOOTH_TICKET_EXPIRES", expires.unwrap_or(0).to_string());
    environment
}

#[cfg(test)]
mod tests;

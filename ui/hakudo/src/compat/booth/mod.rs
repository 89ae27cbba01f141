//! `booth` and `geostore`: the clients of booth. The member of this machine is asked through its socket, whatever its group
//! speaks; another group, another site of a group that speaks booth's protocol, and whoever else runs booth's daemon, by
//! booth's messages. The words and exit codes are booth's.

mod member;
mod options;
mod remote;

use crate::command::ticket::Group;
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::world::World;
use hakudo_base::{Severity, UnixTime};
use hakudo_tickets::Protocol;
use hakudo_tickets::booth::config;
use hakudo_tickets::booth::text::{self, Conversation, Line, Next, Unasked};
use hakudo_tickets::booth::wire::{AttributeBody, Body, Command as Sent, Flags, Leader, Outcome as Answer, TicketBody};
pub(super) use options::{Call, Name, Options, Wrong, read};
use remote::Remote;
use std::path::{Path, PathBuf};

const USAGE: &str = "\
Usage: booth {list|peers} [-s SITE] [-c CONF]
       booth grant [-FwC] [-s SITE] [-c CONF] [TICKET]
       booth revoke [-w] [-s SITE] [-c CONF] [TICKET]
       booth status [-S] [-c CONF] [-l LOCKFILE]
       boothd daemon [-SD] [-c CONF] [-l LOCKFILE] [-s ADDRESS]

  -c CONF      the configuration: a path, or NAME for /etc/booth/NAME.conf
  -s SITE      the site to be asked, or to get the ticket; `other` is the other one of two
  -F           do not wait for sites that do not answer; give a manual ticket to one more site
  -w           wait for the outcome, however long it takes
  -C           wait until the cluster knows of the ticket (grant only)
  -S           stay in the foreground (daemon); say in a sentence whether it runs (status)
  -D           say more
  -l LOCKFILE  where the daemon says that it runs
  -h           show this
";

const GEOSTORE_USAGE: &str = "\
Usage: geostore list [-t TICKET] [-s SITE] [-c CONF]
       geostore {get|delete} [-t TICKET] [-s SITE] [-c CONF] ATTRIBUTE
       geostore set [-t TICKET] [-s SITE] [-c CONF] ATTRIBUTE VALUE

  -t TICKET  the ticket; not needed where there is one only
  -s SITE    the site whose attributes are meant
  -c CONF    the configuration: a path, or NAME for /etc/booth/NAME.conf
  -h         show this
";

/// The version of booth whose commands these are.
const VERSION: &str = "1.2";

pub(super) fn usage(name: Name, world: &mut World) -> Result<(), Failure> {
    Ok(write!(world.out, "{}", if name == Name::Geostore { GEOSTORE_USAGE } else { USAGE })?)
}

/// What the command line asks for without a group.
pub(super) fn version(name: Name, world: &mut World) -> Outcome {
    let name = if name == Name::Geostore { "geostore" } else { "booth" };
    writeln!(world.out, "{name} {VERSION} (hakudo {})", env!("CARGO_PKG_VERSION"))?;
    Ok(Exit::OK)
}

/// Says why a command line means nothing.
pub(super) fn wrong(name: Name, why: Wrong, world: &mut World) -> Outcome {
    match why {
        Wrong::Plain(text) => writeln!(world.err, "{text}")?,
        Wrong::Logged(text) => complain(text, world)?,
        Wrong::Usage => usage(name, world)?,
    }
    Ok(Exit::ERROR)
}

/// Says a line as booth does, on standard error.
fn say(line: &Line, world: &mut World) -> Result<(), Failure> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let now = UnixTime::from_seconds(world.now);
    let text = text::log_line(now, offset(world), &host, std::process::id(), line);
    Ok(write!(world.err, "{text}")?)
}

/// Says what is wrong.
pub(super) fn complain(text: impl Into<String>, world: &mut World) -> Result<(), Failure> {
    say(&Line { severity: Severity::Error, text: text.into() }, world)
}

fn offset(world: &World) -> i32 {
    let now = jiff::Timestamp::from_second(world.now).unwrap_or_default();
    world.zone.to_offset(now).seconds()
}

fn refuse(why: Unasked<'_>, world: &mut World) -> Outcome {
    say(&text::unasked(why), world)?;
    Ok(Exit::ERROR)
}

/// Reads the configuration; why not in booth's words.
pub(super) fn read_config(file: &Path) -> Result<config::Group, Vec<String>> {
    let bytes =
        std::fs::read(file).map_err(|error| vec![format!("failed to open {}: {}", file.display(), plain(&error))])?;
    let reading = config::read_bytes(&bytes);
    let errors = reading.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let errors: Vec<String> = errors.map(|problem| format!("{}:{problem}", file.display())).collect();
    reading.group.filter(|_| errors.is_empty()).ok_or(errors)
}

/// An error of the system without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// Whoever is asked.
enum Asked {
    /// The member of this machine.
    Member(Box<Group>),
    /// Members that are reached by TCP.
    Remote(Box<Remote>),
}

/// Finds out whom these options mean; what is wrong is said then, and nobody is asked.
fn asked(options: &Options, world: &mut World) -> Result<Option<Asked>, Failure> {
    let file = options.config_file();
    let read = read_config(&file);
    if let (Err(errors), Some(_)) = (&read, &options.config) {
        return no_config(errors, world);
    }
    for socket in sockets(options, world) {
        let Ok(group) = Group::at(&Source::Live(socket)) else { continue };
        let is_meant = match (&read, &options.config) {
            (Ok(config), Some(_)) => is_of(&group, config),
            _ => true,
        };
        // Members of booth's groups do not ask for each other.
        let site = options.site.as_deref().map(|name| group.member(Some(name)).ok());
        let is_asked_here = group.status.protocol == Protocol::Hakudo
            || site.is_none_or(|site| site == Some(group.status.local))
            || read.is_err();
        if is_meant && is_asked_here {
            return Ok(Some(Asked::Member(Box::new(group))));
        }
    }
    match read {
        Ok(config) => match Remote::of(&file, &config) {
            Ok(remote) => Ok(Some(Asked::Remote(Box::new(remote)))),
            Err(failure) => no_config(&[failure.message], world),
        },
        Err(errors) => no_config(&errors, world),
    }
}

fn no_config(errors: &[String], world: &mut World) -> Result<Option<Asked>, Failure> {
    for error in errors {
        complain(error.as_str(), world)?;
    }
    complain("cannot read config", world)?;
    Ok(None)
}

/// Where a member of this machine may answer: its node, or an arbitrator.
fn sockets(options: &Options, world: &World) -> [PathBuf; 2] {
    let arbitrator = match options.config_name().as_str() {
        "booth" => PathBuf::from(hakudo_arbitrator::SOCKET),
        name => Path::new(hakudo_arbitrator::SOCKET).with_file_name(format!("{name}.sock")),
    };
    [world.socket.clone(), arbitrator]
}

/// The group has the members of the configuration.
fn is_of(group: &Group, config: &config::Group) -> bool {
    let mut known: Vec<String> = group.status.members.iter().map(|member| member.name.clone()).collect();
    let mut written: Vec<String> = config.members.iter().map(|member| member.host.to_string()).collect();
    known.sort();
    written.sort();
    known == written
}

/// `booth list`, `booth grant`, `geostore get`, and the others.
pub(super) fn ask(command: Sent, options: &Options, world: &mut World) -> Outcome {
    let Some(asked) = asked(options, world)? else { return Ok(Exit::ERROR) };
    let outcome = match asked {
        Asked::Member(mut group) => member::ask(command, options, &mut group, world),
        Asked::Remote(remote) => ask_remote(command, options, &remote, world),
    };
    // What fails on the way is said in the same form as all else.
    match outcome {
        Err(failure) if !failure.message.is_empty() => {
            complain(failure.message, world)?;
            Ok(Exit::ERROR)
        }
        other => other,
    }
}

fn ask_remote(command: Sent, options: &Options, remote: &Remote, world: &mut World) -> Outcome {
    let changes = matches!(command, Sent::Grant | Sent::Revoke);
    let member = match options.site.as_deref() {
        Some(name) => match remote.named(name) {
            Some(member) => member,
            None if changes => return refuse(Unasked::UnknownSite(name), world),
            None => {
                complain(format!("cannot find site \"{name}\""), world)?;
                return Ok(NO_SUCH_SITE);
            }
        },
        None => match remote.local() {
            Some(member) => member,
            None => return refuse(Unasked::NotHere, world),
        },
    };
    if changes && !remote.is_site(member) {
        return refuse(options.site.as_deref().map_or(Unasked::LocalArbitrator, Unasked::Arbitrator), world);
    }
    let ticket = || options.ticket.clone().or_else(|| remote.only_ticket().map(str::to_owned));
    match command {
        Sent::List | Sent::Peers => {
            let body = Body::Ticket(ticket_named(String::new()));
            let reply = remote.ask(member, command, Flags::default(), body)?.answer()?;
            if let Body::Text(text) = reply.body {
                write!(world.out, "{}", only_text(&text))?;
            }
            end_of(Conversation::new(command, "", Flags::default()).answer(reply.outcome), world)
        }
        Sent::Grant | Sent::Revoke => match ticket() {
            Some(ticket) => converse(command, ticket, options, remote, member, world),
            None => refuse(Unasked::NoTicket, world),
        },
        _ => match ticket() {
            Some(ticket) => attribute(command, ticket, options, remote, member, world),
            None => refuse(Unasked::NoTicket, world),
        },
    }
}

/// What a terminal shows, without what it obeys: booth's authentication does not cover the text of an answer.
fn only_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c }).collect()
}

/// What booth's queries of an unknown site end with.
const NO_SUCH_SITE: Exit = Exit(2);

fn ticket_named(ticket: String) -> TicketBody {
    TicketBody { ticket, leader: Leader::Unknown, term: 0, valid_for: 0 }
}

/// Says what is to be said, where the conversation has ended.
fn end_of((lines, next): (Vec<Line>, Next), world: &mut World) -> Outcome {
    for line in &lines {
        say(line, world)?;
    }
    Ok(match next {
        Next::End(code) => Exit(code),
        Next::Read | Next::Redirect => Exit::OK,
    })
}

fn flags(options: &Options) -> Flags {
    let Options { immediate, wait, wait_commit, .. } = *options;
    Flags { immediate, wait, wait_commit, ..Flags::default() }
}

fn converse(
    command: Sent,
    ticket: String,
    options: &Options,
    remote: &Remote,
    member: usize,
    world: &mut World,
) -> Outcome {
    let flags = flags(options);
    let mut conversation = Conversation::new(command, &ticket, flags);
    let ask = |member| remote.ask(member, command, flags, Body::Ticket(ticket_named(ticket.clone())));
    let mut question = ask(member)?;
    loop {
        let reply = question.answer()?;
        let (lines, next) = conversation.answer(reply.outcome);
        for line in &lines {
            say(line, world)?;
        }
        match next {
            Next::Read => {}
            Next::End(code) => return Ok(Exit(code)),
            Next::Redirect => {
                let leader = match &reply.body {
                    Body::Ticket(TicketBody { leader: Leader::Site(id), .. }) => remote.numbered(*id),
                    _ => None,
                };
                let holder = leader.ok_or_else(|| Failure::new(Exit::ERROR, "the site that holds it is not known"))?;
                question = ask(holder)?;
            }
        }
    }
}

fn attribute(
    command: Sent,
    ticket: String,
    options: &Options,
    remote: &Remote,
    member: usize,
    world: &mut World,
) -> Outcome {
    let name = options.attribute.clone().unwrap_or_default();
    let value = options.value.clone().filter(|_| command == Sent::SetAttribute).unwrap_or_default();
    let body = Body::Attribute(AttributeBody { ticket: ticket.clone(), name: name.clone(), value });
    let reply = remote.ask(member, command, Flags::default(), body)?.answer()?;
    if let Body::Text(text) = reply.body {
        write!(world.out, "{}", only_text(&text))?;
    }
    told_of_attribute(command, &ticket, &name, reply.outcome, world)
}

fn told_of_attribute(command: Sent, ticket: &str, name: &str, said: Answer, world: &mut World) -> Outcome {
    let (line, code) = text::geostore(command, ticket, name, said);
    if let Some(line) = line {
        say(&line, world)?;
    }
    Ok(Exit(code))
}

#[cfg(test)]
mod tests;

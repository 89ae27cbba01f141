//! What the log says: the table of tickets. A pure function of the entries, the same at every member.

use crate::config::{Group, MemberId, TicketMode};
use crate::log::{Command, Entry, Position, RequestId};
use hakudo_base::UnixTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// How many of the last events of a ticket are kept in the table.
const HISTORY: usize = 16;

/// So many of the last requests of each run of a member are remembered. A run counts its requests, and sends none whose number is
/// not less than that of its oldest open one plus this: what is forgotten is never asked for again.
pub(crate) const CARRIED_OUT: usize = 64;

/// Why a ticket goes to a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The administrator granted it.
    Administrator,
    /// The administrator moved it.
    Move,
    /// Whoever had it was lost.
    Lost,
    /// Whoever had it cannot run it any more.
    Failure,
    /// It belongs there.
    Preference,
    /// It did not start where it was to go.
    RollBack,
    /// The administrator took it by force, without waiting.
    Force,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Administrator => "granted by the administrator",
            Cause::Move => "moved by the administrator",
            Cause::Lost => "the last holder was lost",
            Cause::Failure => "the last holder cannot run it any more",
            Cause::Preference => "it belongs there",
            Cause::RollBack => "it did not start where it was to go",
            Cause::Force => "taken by force by the administrator",
        })
    }
}

/// A grant that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// The holder.
    pub(crate) site: MemberId,
    /// Names this grant: grows with every grant in the group, a fencing token.
    pub(crate) generation: u64,
    /// The longest lease that this grant may have been given.
    pub(crate) expire: Duration,
    /// The longest time that the holder was allowed for stopping.
    pub(crate) stop_time: Duration,
    /// The lease has no end.
    pub(crate) unlimited: bool,
    /// What the holder does not stop by itself: no time is long enough.
    pub(crate) stays: Option<String>,
    /// Why it was granted.
    pub(crate) cause: Cause,
    /// Who had it before, where it was moved and has not started yet: there it goes back.
    pub(crate) from: Option<MemberId>,
}

/// A ticket on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Who had it.
    pub from: MemberId,
    /// Who shall have it.
    pub to: MemberId,
    /// Why.
    pub cause: Cause,
}

/// An attribute of a ticket at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attribute {
    /// Its value.
    pub(crate) value: String,
    /// When it was set, by the calendar of who set it.
    pub(crate) set: UnixTime,
}

/// Something that happened to a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The log entry.
    pub index: u64,
    /// What.
    pub what: Happened,
    /// Who ordered it; empty where the group decided.
    pub who: String,
    /// When it was ordered, by the calendar of who ordered it; 0 where the group decided.
    pub at: UnixTime,
}

/// What can happen to a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happened {
    /// Granted.
    Granted {
        /// To whom.
        site: MemberId,
        /// Why.
        cause: Cause,
    },
    /// All is stopped.
    Released {
        /// By whom.
        site: MemberId,
        /// It could not run it any more.
        failed: bool,
    },
    /// Taken away.
    Revoked,
    /// Nobody holds it: the holder did not say that it stopped, but it has, for certain or by the administrator's word.
    Freed {
        /// Who held it.
        site: MemberId,
    },
    /// A move began.
    Moving {
        /// To whom.
        to: MemberId,
        /// Why.
        cause: Cause,
    },
    /// A site that only observes would have been granted it.
    WouldGrant {
        /// To whom.
        site: MemberId,
        /// Why.
        cause: Cause,
    },
}

/// What the group knows of one ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) hold: Option<Hold>,
    /// The last site that held it.
    pub(crate) last: Option<MemberId>,
    /// It was granted, and not revoked since: some site should have it.
    pub(crate) wanted: bool,
    /// It was revoked by the administrator.
    pub(crate) revoked: bool,
    pub(crate) standby: bool,
    pub(crate) moving: Option<Move>,
    pub(crate) attributes: BTreeMap<(MemberId, String), Attribute>,
    /// How often in a row a site gave it up because it could not run it.
    pub(crate) failures: BTreeMap<MemberId, u32>,
    /// Sites that will not take it.
    pub(crate) disclaimed: BTreeSet<MemberId>,
    pub(crate) history: Vec<History>,
}

impl Ticket {
    /// The grant of this number, if it is in force.
    pub(crate) fn grant(&self, generation: u64) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| hold.generation == generation)
    }

    /// True where the holder may go on: the administrator wants it, and it is not on its way.
    pub(crate) fn may_go_on(&self) -> bool {
        self.wanted && self.moving.is_none()
    }

    /// The attributes of one site.
    pub(crate) fn attributes_of(&self, site: MemberId) -> impl Iterator<Item = (&String, &Attribute)> {
        self.attributes.iter().filter(move |((whose, _), _)| *whose == site).map(|((_, name), value)| (name, value))
    }
}

/// All that the log says up to some entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// None before the group agreed to one.
    pub(crate) group: Option<Group>,
    /// By which memory each member votes. Who comes with another one has forgotten what it promised.
    pub(crate) memories: BTreeMap<MemberId, u64>,
    /// Members without a vote, since they were declared dead.
    pub(crate) absent: BTreeSet<MemberId>,
    /// Sites that take no ticket at all.
    pub(crate) disclaimed: BTreeSet<MemberId>,
    /// Sites that only observe.
    pub(crate) observers: BTreeSet<MemberId>,
    pub(crate) tickets: BTreeMap<String, Ticket>,
    /// Requests that were carried out, or begun, so that nobody does it again who hears them once more: by who was asked, those
    /// carried out longest ago first.
    carried_out: BTreeMap<MemberId, Vec<CarriedOut>>,
}

/// A request that was carried out, or begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarriedOut {
    request: RequestId,
    /// The grant that it made, or ended.
    pub(crate) generation: u64,
}

impl Table {
    /// What became of a request, where it is remembered.
    pub(crate) fn carried_out(&self, request: RequestId) -> Option<&CarriedOut> {
        self.carried_out.get(&request.from)?.iter().find(|known| known.request == request)
    }

    fn carry_out(&mut self, request: RequestId, generation: u64) {
        let of_it = self.carried_out.entry(request.from).or_default();
        if of_it.iter().any(|known| known.request == request) {
            return;
        }
        let own = of_it.iter().enumerate().filter(|(_, known)| known.request.instance == request.instance);
        let (own, oldest) = (own.clone().count(), own.min_by_key(|(_, known)| known.request.id).map(|(at, _)| at));
        // Of another run only where there is no room: it may live on for a while.
        if let Some(oldest) = oldest.filter(|_| own >= CARRIED_OUT) {
            of_it.remove(oldest);
        } else if of_it.len() >= 2 * CARRIED_OUT {
            of_it.remove(0);
        }
        of_it.push(CarriedOut { request, generation });
    }

    /// The ticket that is held by this grant, and the grant.
    pub(crate) fn held_by(&self, generation: u64) -> Option<(&String, &Ticket)> {
        self.tickets.iter().find(|(_, ticket)| ticket.grant(generation).is_some())
    }

    /// True where a site will not take a ticket.
    pub(crate) fn disclaims(&self, site: MemberId, ticket: &str) -> bool {
        self.disclaimed.contains(&site) || self.tickets.get(ticket).is_some_and(|t| t.disclaimed.contains(&site))
    }

    /// True where all sites but `holder` will not take a ticket, and there are such.
    pub(crate) fn all_others_disclaim(&self, holder: MemberId, ticket: &str) -> bool {
        let Some(group) = &self.group else { return false };
        let mut others = group.sites().filter(|site| site.id != holder).peekable();
        others.peek().is_some() && others.all(|site| self.disclaims(site.id, ticket))
    }

    /// The fencing token of a grant: its place in the log, later in a later epoch.
    pub(crate) fn generation(position: Position) -> u64 {
        (u64::from(position.term.epoch) << 40) | position.index
    }

    /// Does what an entry says. An entry that does not fit any more, because the ticket has changed hands since it was
    /// proposed, does nothing.
    pub(crate) fn apply(&mut self, index: u64, entry: &Entry) {
        let generation = Self::generation(Position { term: entry.term, index });
        let author = &entry.author;
        let note = |what| History { index, what, who: author.who.clone(), at: author.at };
        if let Some(request) = author.request {
            let held = entry.command.ticket().and_then(|ticket| self.tickets.get(ticket)?.hold.as_ref());
            let granted = matches!(entry.command, Command::Grant { .. });
            self.carry_out(request, if granted { generation } else { held.map_or(0, |hold| hold.generation) });
        }
        match &entry.command {
            Command::Office => {}
            Command::Configure(group) => self.configure(group),
            Command::Welcome { memories } => self.memories.extend(memories),
            Command::TakeOver { absent, by: (member, memory) } => {
                self.memories.insert(*member, *memory);
                // Whoever was left out is taken in anew, with what it remembers then.
                self.memories.retain(|member, _| !absent.contains(member));
                self.absent.extend(absent);
                for ticket in self.tickets.values_mut() {
                    if let Some(hold) = ticket.hold.take_if(|hold| absent.contains(&hold.site)) {
                        ticket.remember(note(Happened::Freed { site: hold.site }));
                    }
                }
            }
            Command::Readmit { member } => {
                self.absent.remove(member);
            }
            Command::Observe { site, on } => set(&mut self.observers, *site, *on),
            Command::Disclaim { site, ticket: None, on } => set(&mut self.disclaimed, *site, *on),
            Command::Disclaim { site, ticket: Some(ticket), on } => {
                self.change(ticket, |t| set(&mut t.disclaimed, *site, *on));
            }
            Command::Grant { ticket, site, expire, stop_time, cause } => {
                let manual = self.is_manual(ticket);
                self.change(ticket, |t| {
                    t.hold = Some(Hold {
                        site: *site,
                        generation,
                        expire: *expire,
                        stop_time: *stop_time,
                        unlimited: manual,
                        stays: None,
                        cause: *cause,
                        from: t.moving.as_ref().map(|moving| moving.from),
                    });
                    t.last = Some(*site);
                    (t.wanted, t.revoked, t.moving) = (true, false, None);
                    if matches!(cause, Cause::Administrator | Cause::Move | Cause::Force) {
                        t.failures.remove(site);
                    }
                    t.remember(note(Happened::Granted { site: *site, cause: *cause }));
                });
            }
            Command::Released { ticket, generation, failed, failures } => self.change(ticket, |t| {
                let Some(hold) = t.hold.take_if(|hold| hold.generation == *generation) else { return };
                if *failed {
                    t.failures.insert(hold.site, *failures);
                }
                t.remember(note(Happened::Released { site: hold.site, failed: *failed }));
            }),
            Command::Freed { ticket, generation } => self.change(ticket, |t| {
                let Some(hold) = t.hold.take_if(|hold| hold.generation == *generation) else { return };
                t.remember(note(Happened::Freed { site: hold.site }));
            }),
            Command::Revoke { ticket } => self.change(ticket, |t| {
                (t.wanted, t.revoked, t.moving) = (false, true, None);
                t.remember(note(Happened::Revoked));
            }),
            Command::Standby { ticket, on } => self.change(ticket, |t| t.standby = *on),
            Command::Attribute { ticket, site, name, value } => self.change(ticket, |t| {
                let key = (*site, name.clone());
                match value {
                    Some(value) => t.attributes.insert(key, Attribute { value: value.clone(), set: author.at }),
                    None => t.attributes.remove(&key),
                };
            }),
            Command::Move { ticket, generation, to, cause } => self.change(ticket, |t| {
                let Some(from) = t.grant(*generation).map(|hold| hold.site) else { return };
                if t.wanted {
                    t.moving = Some(Move { from, to: *to, cause: *cause });
                    t.remember(note(Happened::Moving { to: *to, cause: *cause }));
                }
            }),
            Command::MoveEnded { ticket } => self.change(ticket, |t| t.moving = None),
            Command::Unlimited { ticket, generation } => self.hold(ticket, *generation, |hold| hold.unlimited = true),
            Command::Limited { ticket, generation } => self.hold(ticket, *generation, |hold| hold.unlimited = false),
            Command::StopTime { ticket, generation, stop_time } => {
                self.hold(ticket, *generation, |hold| hold.stop_time = hold.stop_time.max(*stop_time));
            }
            Command::Stays { ticket, generation, what } => {
                self.hold(ticket, *generation, |hold| hold.stays.clone_from(what));
            }
            Command::Started { ticket, generation } => self.hold(ticket, *generation, |hold| hold.from = None),
            Command::WouldGrant { ticket, site, cause } => self.change(ticket, |t| {
                t.remember(note(Happened::WouldGrant { site: *site, cause: *cause }));
            }),
        }
        self.tickets.retain(|name, ticket| {
            ticket.hold.is_some() || self.group.as_ref().is_some_and(|group| group.ticket(name).is_some())
        });
    }

    /// True where only the administrator decides where a ticket goes.
    pub(crate) fn is_manual(&self, ticket: &str) -> bool {
        let config = self.group.as_ref().and_then(|group| group.ticket(ticket));
        config.is_some_and(|config| config.mode == TicketMode::Manual)
    }

    fn change(&mut self, ticket: &str, how: impl FnOnce(&mut Ticket)) {
        if let Some(ticket) = self.tickets.get_mut(ticket) {
            how(ticket);
        }
    }

    fn hold(&mut self, ticket: &str, generation: u64, how: impl FnOnce(&mut Hold)) {
        self.change(ticket, |ticket| {
            if let Some(hold) = ticket.hold.as_mut().filter(|hold| hold.generation == generation) {
                how(hold);
            }
        });
    }

    fn configure(&mut self, group: &Group) {
        for config in &group.tickets {
            let ticket = self.tickets.entry(config.name.clone()).or_default();
            if let Some(hold) = &mut ticket.hold {
                // A lease of the old length may be running: nobody must wait less until the next grant.
                hold.expire = hold.expire.max(config.expire);
                hold.stop_time = hold.stop_time.max(config.stop_time.unwrap_or_default());
                // From manual to automatic, the holder must say that it knows of an end; from automatic to manual, there is
                // none from now on.
                hold.unlimited |= config.mode == TicketMode::Manual;
            }
            if ticket.moving.as_ref().is_some_and(|moving| !group.is_site(moving.to)) {
                ticket.moving = None;
            }
            ticket.attributes.retain(|(site, _), _| group.member(*site).is_some());
            ticket.disclaimed.retain(|site| group.member(*site).is_some());
            ticket.failures.retain(|site, _| group.member(*site).is_some());
        }
        self.memories.retain(|member, _| group.member(*member).is_some());
        self.carried_out.retain(|member, _| group.member(*member).is_some());
        self.absent.retain(|member| group.member(*member).is_some());
        self.disclaimed.retain(|site| group.member(*site).is_some());
        self.observers.retain(|site| group.member(*site).is_some());
        self.group = Some(group.clone());
    }
}

impl Ticket {
    fn remember(&mut self, what: History) {
        if self.history.len() >= HISTORY {
            self.history.remove(0);
        }
        self.history.push(what);
    }
}

fn set(of: &mut BTreeSet<MemberId>, member: MemberId, on: bool) {
    if on {
        of.insert(member);
    } else {
        of.remove(&member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_still_be_asked_for_is_never_forgotten() {
        let request = |instance, id| RequestId { from: MemberId(1), instance, id };
        let mut table = Table::default();
        // Of another run of the same member, which may live on.
        table.carry_out(request(7, 3), 30);
        // The first one is carried out long before others that were asked before it.
        table.carry_out(request(8, 64), 640);
        for id in (1..64).rev().chain(65..128) {
            table.carry_out(request(8, id), id * 10);
        }
        for id in 64..128 {
            assert_eq!(table.carried_out(request(8, id)).map(|known| known.generation), Some(id * 10), "{id}");
        }
        assert!(table.carried_out(request(7, 3)).is_some());
        for run in 100..400 {
            table.carry_out(request(run, 1), 1);
        }
        assert!(table.carried_out.values().all(|known| known.len() <= 2 * CARRIED_OUT));
        assert!(table.carried_out(request(399, 1)).is_some());
    }
}

//! How things are, for people and programs: one view, from which every output is made.

use crate::config::{MemberEntry, MemberId, MemberKind, Protocol, TicketConfig, TicketMode};
use crate::core_types::Holding;
use crate::member::Member;
use crate::table::{History, Move};
use hakudo_base::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A group as one member sees it, with the eyes of the coordinator where it can be asked: that one sees most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The group's name.
    pub group: String,
    /// What its members say to each other.
    #[serde(default)]
    pub protocol: Protocol,
    /// The version of its configuration.
    pub version: u64,
    /// Digest of its configuration.
    pub config: u64,
    /// The member that was asked, whoever else it had to ask.
    pub local: MemberId,
    /// Who coordinates, as far as is known.
    pub coordinator: Option<MemberId>,
    /// Epoch and number of the term.
    pub term: (u32, u32),
    /// False before all members were heard once: only then it can decide.
    #[serde(default = "yes")]
    pub begun: bool,
    /// By the administrator's order some members went on without the others, and what they decided has not come to the member
    /// that was asked.
    #[serde(default)]
    pub missed_takeover: bool,
    /// The number of log entries that a majority has.
    pub committed: u64,
    /// The members, the teller among them.
    pub members: Vec<MemberStatus>,
    /// The tickets.
    pub tickets: Vec<TicketStatus>,
}

fn yes() -> bool {
    true
}

/// One member as the teller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its number.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Site or arbitrator.
    pub kind: MemberKind,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// How long ago it was heard, by the member that was asked or by who coordinates; zero for the one that was asked, none
    /// where it was never heard.
    pub heard: Option<Duration>,
    /// Messages that came from it to the member that was asked, and went to it from there.
    pub received: u64,
    /// See `received`.
    pub sent: u64,
    /// Messages from it that could not be understood.
    pub malformed: u64,
    /// It was started with another configuration than the one that the group has agreed to.
    pub config_differs: bool,
    /// It was declared dead by the administrator, and has no vote until it is taken in again.
    pub absent: bool,
    /// It is new, or has forgotten what it promised, and has no vote until it is taken in.
    #[serde(default)]
    pub forgetful: bool,
    /// The group has yet to begin, and cannot because this member remembers an older one.
    #[serde(default)]
    pub older_group: bool,
    /// It decides and records, but starts nothing.
    pub observes: bool,
    /// It takes no ticket.
    pub disclaims: bool,
}

/// What is known of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseStatus {
    /// Nobody holds the ticket.
    None,
    /// It has no end: manual, or nobody else would take it.
    Unlimited,
    /// It ends in this time unless it is renewed.
    Ends(Duration),
    /// It was not renewed in time, and the holder may still be stopping: nobody else gets it for this time.
    Lost(Duration),
    /// It was not renewed, and the holder has certainly stopped.
    Ended,
    /// It was not renewed, and the holder does not stop all by itself: this stays active, and nobody else gets the ticket but by
    /// force.
    Stays(String),
    /// The teller does not know.
    Unknown,
}

/// Whether a site could take a ticket over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The site.
    pub site: MemberId,
    /// Why not; none if it could.
    pub obstacle: Option<String>,
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeStatus {
    /// Whose.
    pub site: MemberId,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// When it was set, in milliseconds since 1970, by the calendar of who set it.
    pub set: i64,
}

/// One ticket as the teller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketStatus {
    /// Its name.
    pub name: String,
    /// Who decides where it goes.
    pub mode: TicketMode,
    /// Who holds it.
    pub holder: Option<MemberId>,
    /// The grant.
    pub generation: u64,
    /// The lease.
    pub lease: LeaseStatus,
    /// True once it was granted and not taken away since: then the group gives it to whoever can.
    pub wanted: bool,
    /// The administrator took it away.
    pub revoked: bool,
    /// Set aside.
    pub standby: bool,
    /// Where it is going.
    pub moving: Option<Move>,
    /// The sites but the holder.
    pub candidates: Vec<Candidate>,
    /// Attributes of all sites.
    pub attributes: Vec<AttributeStatus>,
    /// How often in a row each site gave it up because of a failure.
    #[serde(with = "pairs")]
    pub failures: BTreeMap<MemberId, u32>,
    /// What happened to it, oldest first.
    pub history: Vec<History>,
    /// Its parameters, for display.
    pub expire: Duration,
}

/// A map as a list of pairs: names in JSON are texts, and within an answer that says its kind they cannot be read as numbers.
mod pairs {
    use crate::config::MemberId;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<MemberId, u32>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<MemberId, u32>, D::Error> {
        Ok(Vec::<(MemberId, u32)>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl Member {
    /// How things are at `now`, as far as this member knows; the coordinator knows most.
    pub fn status(&self, now: Instant) -> Status {
        let group = self.group();
        Status {
            group: group.name.clone(),
            protocol: Protocol::Hakudo,
            version: group.version,
            config: group.digest(),
            local: self.local,
            coordinator: self.coordinator,
            term: (self.stored.term.epoch, self.stored.term.number),
            begun: self.has_begun(),
            missed_takeover: !self.knows_epoch(),
            committed: self.stored.commit,
            members: group.members.iter().map(|member| self.member_status(member, now)).collect(),
            tickets: group.tickets.iter().map(|config| self.ticket_status(config, now)).collect(),
        }
    }

    /// What the coordinator sees, as it is from here: who is near, and what came from whom.
    pub(crate) fn as_seen_here(&self, mut status: Status) -> Status {
        let own = self.status(self.now);
        (status.local, status.coordinator, status.missed_takeover) =
            (self.local, self.coordinator, own.missed_takeover);
        for member in &mut status.members {
            let Some(seen) = own.members.iter().find(|own| own.id == member.id) else { continue };
            // Members that do not coordinate seldom hear each other; of itself the coordinator cannot say when it was heard.
            let also_heard = member.heard.filter(|_| Some(member.id) != self.coordinator);
            member.heard = [seen.heard, also_heard].into_iter().flatten().min();
            (member.received, member.sent, member.malformed) = (seen.received, seen.sent, seen.malformed);
            member.config_differs |= seen.config_differs;
        }
        status
    }

    fn member_status(&self, member: &MemberEntry, now: Instant) -> MemberStatus {
        let peer = self.peers.get(&member.id).cloned().unwrap_or_default();
        let heard = if member.id == self.local { Some(Duration::ZERO) } else { peer.heard.map(|at| now.since(at)) };
        MemberStatus {
            id: member.id,
            name: member.name.clone(),
            kind: member.kind,
            addresses: member.addresses.clone(),
            heard,
            received: peer.received,
            sent: peer.sent,
            malformed: peer.malformed,
            config_differs: if member.id == self.local { self.own_config_differs() } else { peer.config_differs },
            absent: self.table.absent.contains(&member.id),
            forgetful: self.is_forgetful(member.id),
            older_group: self.is_of_older_group(member.id),
            observes: self.table.observers.contains(&member.id),
            disclaims: self.table.disclaimed.contains(&member.id),
        }
    }

    fn ticket_status(&self, config: &TicketConfig, now: Instant) -> TicketStatus {
        let ticket = self.table.tickets.get(&config.name).cloned().unwrap_or_default();
        let holder = ticket.hold.as_ref().map(|hold| hold.site);
        let sites = self.group().sites().filter(|site| Some(site.id) != holder);
        let candidates = if self.office.is_some() {
            sites.map(|site| Candidate { site: site.id, obstacle: self.why_not(site.id, &config.name) }).collect()
        } else {
            Vec::new()
        };
        let attributes = ticket.attributes.iter().map(|((site, name), attribute)| AttributeStatus {
            site: *site,
            name: name.clone(),
            value: attribute.value.clone(),
            set: attribute.set.millis(),
        });
        TicketStatus {
            name: config.name.clone(),
            mode: config.mode,
            holder,
            generation: ticket.hold.as_ref().map_or(0, |hold| hold.generation),
            lease: self.lease_status(&config.name, config, now),
            wanted: ticket.wanted,
            revoked: ticket.revoked,
            standby: ticket.standby,
            moving: ticket.moving.clone(),
            candidates,
            attributes: attributes.collect(),
            failures: ticket.failures.clone(),
            history: ticket.history.clone(),
            expire: config.expire,
        }
    }

    fn lease_status(&self, name: &str, config: &TicketConfig, now: Instant) -> LeaseStatus {
        let Some(hold) = self.table.tickets.get(name).and_then(|ticket| ticket.hold.as_ref()) else {
            return LeaseStatus::None;
        };
        if hold.unlimited {
            return LeaseStatus::Unlimited;
        }
        let ends = self.backed_at(hold).map(|at| at + config.expire);
        if let (Some(what), Some(ends)) = (&hold.stays, ends) {
            return if now < ends { LeaseStatus::Ends(ends.since(now)) } else { LeaseStatus::Stays(what.clone()) };
        }
        if let (Some(at), Some(free_at)) = (self.backed_at(hold), self.free_at(Some(config), hold)) {
            let ends = at + config.expire;
            return if now < ends {
                LeaseStatus::Ends(ends.since(now))
            } else if now < free_at {
                LeaseStatus::Lost(free_at.since(now))
            } else {
                LeaseStatus::Ended
            };
        }
        match self.word(name).map(|word| word.holding) {
            Some(Holding::Held { until: Some(until), .. }) => LeaseStatus::Ends(until.since(now)),
            _ => LeaseStatus::Unknown,
        }
    }
}

impl Status {
    fn name_of(&self, id: MemberId) -> String {
        let member = self.members.iter().find(|member| member.id == id);
        member.map_or_else(|| format!("member {id}"), |member| member.name.clone())
    }

    /// The state of a ticket in words: who holds it and until when, who could take it over and why not, and which member was
    /// heard when. Nothing where there is no such ticket.
    pub fn explain(&self, ticket: &str) -> Option<String> {
        let ticket = self.tickets.iter().find(|known| known.name == ticket)?;
        let mut text = self.explain_holder(ticket);
        if let Some(moving) = &ticket.moving {
            let (from, to) = (self.name_of(moving.from), self.name_of(moving.to));
            text += &format!(" It is on its way from {from} to {to}: {}.", moving.cause);
        }
        if ticket.standby {
            text += " It is in standby: what depends on it is stopped.";
        }
        text += &match self.coordinator {
            None if self.protocol == Protocol::Booth => String::new(),
            Some(coordinator) => format!(" {} coordinates the group.", self.name_of(coordinator)),
            None if !self.begun => {
                " The group has yet to begin: nothing can be decided before all of its members were heard once."
                    .to_owned()
            }
            None if self.missed_takeover => {
                " No member coordinates the group now. Some members went on without the others by order of the administrator, and \
                 what they decided has not come here: bring one of them back that knows it; or, where they are lost for good, take \
                 over once more (hakudo ticket take-over)."
                    .to_owned()
            }
            None => " No member coordinates the group now, so that nothing can be decided.".to_owned(),
        };
        for member in self.members.iter().filter(|member| member.config_differs) {
            text += &format!(" {} was started with another configuration than the agreed one.", member.name);
        }
        for member in self.members.iter().filter(|member| member.forgetful) {
            text += &format!(" {} has forgotten what it promised, or is new: it has no vote yet.", member.name);
        }
        for member in self.members.iter().filter(|member| member.older_group) {
            text += &format!(
                " {} remembers an older group, so that this one cannot begin: bring back members of that which are only away; \
                 or, where they are lost for good, go on with what it remembers (hakudo ticket take-over there), or stop it, remove \
                 what it stored, and start it again.",
                member.name
            );
        }
        for candidate in &ticket.candidates {
            let site = self.name_of(candidate.site);
            text += &match &candidate.obstacle {
                None => format!(" {site} could take it."),
                Some(obstacle) => format!(" {site} could not take it: {obstacle}."),
            };
        }
        for member in self.members.iter().filter(|member| member.id != self.local) {
            text += &match member.heard {
                Some(heard) => format!(" {} was heard {:.1} s ago.", member.name, heard.as_secs_f64()),
                None => format!(" {} was never heard.", member.name),
            };
        }
        Some(text)
    }

    fn explain_holder(&self, ticket: &TicketStatus) -> String {
        let name = &ticket.name;
        let Some(holder) = ticket.holder.map(|holder| self.name_of(holder)) else {
            return if ticket.revoked {
                format!("Ticket {name} was revoked by the administrator; nobody gets it by itself.")
            } else if ticket.wanted {
                format!("Ticket {name} is held by nobody, and goes to the first site that can take it.")
            } else {
                format!("Ticket {name} was never granted.")
            };
        };
        match ticket.lease {
            LeaseStatus::Unlimited if ticket.mode == TicketMode::Manual => {
                format!("Ticket {name} is held by {holder} until the administrator takes it away (manual mode).")
            }
            LeaseStatus::Unlimited => {
                format!("Ticket {name} is held by {holder} without an end, since no other site would take it.")
            }
            LeaseStatus::Ends(left) => {
                format!("Ticket {name} is held by {holder} for another {:.1} s unless renewed.", left.as_secs_f64())
            }
            LeaseStatus::Lost(left) => format!(
                "Ticket {name} was not renewed by {holder}, which may still be stopping for another {:.1} s.",
                left.as_secs_f64()
            ),
            LeaseStatus::Stays(ref what) => format!(
                "Ticket {name} was not renewed by {holder}, which does not stop all of it by itself: {what}. Nobody else gets it \
                 but by force."
            ),
            LeaseStatus::Ended => format!("Ticket {name} was not renewed by {holder}, which has certainly stopped."),
            LeaseStatus::None | LeaseStatus::Unknown => {
                format!("Ticket {name} is held by {holder}; the end of its lease is not known here.")
            }
        }
    }
}

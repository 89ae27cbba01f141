//! A history: a group, and what happens to it when.

use hakudo_tickets::{Group, MemberId, Protocol, Request};
use std::fmt;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing gets from one member to another any more.
    Cut {
        /// From whom.
        from: MemberId,
        /// To whom.
        to: MemberId,
    },
    /// It does again.
    Mend {
        /// From whom.
        from: MemberId,
        /// To whom.
        to: MemberId,
    },
    /// A member loses power: an arbitrator's process, or a whole site with its services. What was not stored is lost.
    PowerLoss(MemberId),
    /// It has power again.
    PowerBack(MemberId),
    /// A member loses power for good: what has power again in its place finds nothing stored.
    Replaced(MemberId),
    /// Another node speaks for a site; or an arbitrator's process is started anew.
    NewSpeaker {
        /// Whose.
        member: MemberId,
        /// Milliseconds for which the old one lives on without knowing; 0 if it is gone.
        ghost_ms: u64,
    },
    /// The member's process does not run for a while; at a site, none of the nodes' does. Services go on, and the executors
    /// end their leases.
    Pause {
        /// Which.
        member: MemberId,
        /// For how many milliseconds.
        ms: u64,
    },
    /// What a member wants to store is not stored for a while.
    StoreHangs {
        /// Whose store.
        member: MemberId,
        /// For how many milliseconds.
        ms: u64,
    },
    /// The network from now on: percent of messages lost and doubled, and the longest delay.
    Network {
        /// Percent lost.
        loss: u64,
        /// Percent doubled.
        doubled: u64,
        /// Milliseconds that a message takes at most.
        delay_ms: u64,
    },
    /// A site can run a ticket's services, or not any more.
    Able {
        /// The site.
        site: MemberId,
        /// The ticket.
        ticket: String,
        /// Can.
        able: bool,
    },
    /// A site's checks before it takes a ticket fail, or pass.
    Handler {
        /// The site.
        site: MemberId,
        /// Fail.
        fails: bool,
    },
    /// A site says that stopping services takes another time at most from now on.
    StopTakes {
        /// The site.
        site: MemberId,
        /// Milliseconds.
        ms: u64,
    },
    /// Somebody asks for something.
    Ask {
        /// At which member.
        at: MemberId,
        /// What.
        request: Request,
    },
}

/// A group and its history.
#[derive(Clone, Debug)]
pub struct Script {
    /// Chance of the world: clocks, delays, losses.
    pub seed: u64,
    /// What the members say to each other.
    pub protocol: Protocol,
    /// The group.
    pub group: Group,
    /// What happens, by milliseconds.
    pub acts: Vec<(u64, Act)>,
    /// From here on nothing is broken any more, in milliseconds.
    pub heal_at: u64,
    /// The end, in milliseconds.
    pub end: u64,
    /// How long services may take to stop, in milliseconds, as the sites say.
    pub stop_ms: u64,
    /// True where all must be well at the end.
    pub settles: bool,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {:?}, stop {} ms, healed at {} ms, end at {} ms",
            self.seed, self.protocol, self.stop_ms, self.heal_at, self.end
        )?;
        for member in &self.group.members {
            writeln!(f, "member {} {:?} {}", member.id, member.kind, member.name)?;
        }
        for ticket in &self.group.tickets {
            writeln!(f, "{ticket:?}")?;
        }
        self.acts.iter().try_for_each(|(at, act)| writeln!(f, "{at:>8} {act:?}"))
    }
}

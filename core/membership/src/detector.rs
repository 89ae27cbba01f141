//! Who is alive, over which links, and who hears whom.
//!
//! Every node sends a heartbeat to every other on all links at once, and any authenticated datagram is a sign of life. A
//! node that was silent for `dead_after` on all links is lost; nobody is asked again and nothing is waited for. Each peer
//! is judged alone, so detection takes as long with 32 nodes as with two.
//!
//! Two rules keep the living alive:
//! - **Own pauses are not held against others.** When this process runs later than it should have, everybody's time is
//!   extended by that much: what they said meanwhile may still be on its way (Lifeguard: "local health").
//! - **One observer's word is not enough.** Heartbeats carry whom their sender hears, and pass on what others said, so that
//!   all know the same graph. A view is a clique of it, each node computes the same division, and agrees only to what it
//!   computed itself. A node that hears too little puts itself out.
//!
//! What a node says of itself is its *row*: whom it hears, which view it is in, which proposal it promised to follow.

use crate::clique::{Set, division_of, each};
use crate::config::{Config, NodeEntry};
use crate::core_types::Event;
use crate::view::ViewId;
use crate::wire::{Heartbeat, Run, WireRow};
use hakudo_base::{Instant, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// So many rows of others fit into a heartbeat with its other content; more take turns.
const ROWS_IN_HEARTBEAT: usize = 20;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    boot: u64,
    number: u64,
    said: Instant,
    hears: Set,
    view: ViewId,
    promised: ViewId,
    leaving: bool,
}

/// What this node says of itself, apart from whom it hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) view: ViewId,
    pub(crate) promised: ViewId,
    pub(crate) leaving: bool,
}

/// One link to one peer.
#[derive(Clone, Debug, Default)]
struct Link {
    number: u8,
    up: bool,
    heard: Option<Instant>,
    /// The peer's clock in the heartbeat that came last, and when it came.
    echo: Option<(u64, Instant)>,
}

#[derive(Clone, Debug)]
struct Peer {
    links: Vec<Link>,
    /// The run that is heard, or was heard last.
    boot: Option<u64>,
    alive: bool,
    late: bool,
    heard: Instant,
    fenced: Option<Instant>,
    /// The links on which the peer says it hears this node.
    hears_us_on: u8,
    /// Since when it does not hear this node, and whether that was reported.
    deaf: Option<(Instant, bool)>,
    round_trip: Option<Duration>,
    round_trip_deviation: Duration,
    pauses: u32,
    config_differs: bool,
    row: Option<Row>,
}

/// The side of a possibly broken graph on which this node is, and what should become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Who should be in the view, ascending.
    pub(crate) members: Vec<Run>,
    /// Who should propose it.
    pub(crate) coordinator: NodeId,
    /// It tears apart a view whose members still hear each other.
    pub(crate) disruptive: bool,
    /// No member is in a view.
    pub(crate) newborn: bool,
}

/// The detector of one node.
#[derive(Clone, Debug)]
pub(crate) struct Detector {
    local: Run,
    entries: Vec<NodeEntry>,
    me: usize,
    peers: Vec<Peer>,
    heartbeat: Duration,
    warn_after: Duration,
    dead_after: Duration,
    digest: u64,
    number: u64,
    pauses: u32,
    pause: Duration,
    rotation: usize,
}

impl Detector {
    pub(crate) fn new(now: Instant, config: &Config, digest: u64, boot: u64) -> Self {
        let mut detector = Self {
            local: Run { node: config.local, boot },
            entries: Vec::new(),
            me: 0,
            peers: Vec::new(),
            heartbeat: config.heartbeat,
            warn_after: config.warn_after,
            dead_after: config.dead_after,
            digest,
            number: 0,
            pauses: 0,
            pause: Duration::ZERO,
            rotation: 0,
        };
        detector.configure(now, config, digest);
        detector
    }

    /// Takes over a changed configuration. What is known of nodes that stay is kept.
    pub(crate) fn configure(&mut self, now: Instant, config: &Config, digest: u64) {
        let before: Vec<NodeId> = self.entries.iter().map(|entry| entry.id).collect();
        let mut known: BTreeMap<NodeId, Peer> =
            self.entries.iter().map(|entry| entry.id).zip(std::mem::take(&mut self.peers)).collect();
        self.entries.clone_from(&config.nodes);
        self.entries.sort_by_key(|entry| entry.id);
        self.me = self.position(config.local).unwrap_or(0);
        let moved: Vec<Option<usize>> = before.iter().map(|node| self.position(*node)).collect();
        let our_links = self.entries.get(self.me).map(|entry| entry.links.clone()).unwrap_or_default();
        self.peers = self
            .entries
            .iter()
            .map(|entry| {
                let mut peer = known.remove(&entry.id).unwrap_or_else(|| Peer::new(now));
                if let Some(row) = &mut peer.row {
                    let hears = each(row.hears).filter_map(|old| moved.get(old).copied().flatten());
                    row.hears = hears.fold(0, |set, position| set | 1 << position);
                }
                let common = entry.links.iter().filter(|number| our_links.contains(number));
                peer.links = common
                    .map(|number| {
                        let old = peer.links.iter().find(|link| link.number == *number).cloned();
                        old.unwrap_or(Link { number: *number, ..Link::default() })
                    })
                    .collect();
                peer
            })
            .collect();
        (self.heartbeat, self.warn_after, self.dead_after) = (config.heartbeat, config.warn_after, config.dead_after);
        self.digest = digest;
    }

    fn position(&self, node: NodeId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == node)
    }

    fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.position(node).and_then(|position| self.peers.get(position))
    }

    fn peer_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.position(node).and_then(|position| self.peers.get_mut(position))
    }

    /// All other nodes.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        self.entries.iter().map(|entry| entry.id).filter(|id| *id != self.local.node).collect()
    }

    /// The run of a peer that is heard.
    pub(crate) fn living_run(&self, node: NodeId) -> Option<Run> {
        if node == self.local.node {
            return Some(self.local);
        }
        let peer = self.peer(node).filter(|peer| peer.alive)?;
        peer.boot.map(|boot| Run { node, boot })
    }

    /// All links to a node.
    pub(crate) fn links(&self, node: NodeId) -> Vec<u8> {
        self.peer(node).map(|peer| peer.links.iter().map(|link| link.number).collect()).unwrap_or_default()
    }

    /// The links to a node that work both ways; all, if none is known to.
    pub(crate) fn working_links(&self, now: Instant, node: NodeId) -> Vec<u8> {
        let Some(peer) = self.peer(node) else { return Vec::new() };
        let works = |link: &&Link| self.is_fresh(now, link) && peer.hears_us_on & 1 << link.number != 0;
        let working: Vec<u8> = peer.links.iter().filter(works).map(|link| link.number).collect();
        if working.is_empty() { self.links(node) } else { working }
    }

    /// Nothing is known against this link: two heartbeats that did not come make it doubtful, long before it is down.
    fn is_fresh(&self, now: Instant, link: &Link) -> bool {
        link.up && link.heard.is_some_and(|heard| now.since(heard) <= self.heartbeat * 5 / 2)
    }

    /// How long to wait for an answer of a node before asking again.
    pub(crate) fn patience(&self, node: NodeId) -> Duration {
        let measured = self.peer(node).and_then(|peer| Some(peer.round_trip? * 2 + peer.round_trip_deviation * 4));
        measured.unwrap_or(self.heartbeat).clamp(Duration::from_millis(4), self.heartbeat * 2)
    }

    /// The measured round trip to a node.
    pub(crate) fn round_trip(&self, node: NodeId) -> Option<Duration> {
        self.peer(node).and_then(|peer| peer.round_trip)
    }

    /// A sign of life: an authenticated datagram of a run of a node came in on a link. Returns whether anything that others
    /// should know changed.
    pub(crate) fn heard(&mut self, now: Instant, from: Run, link: u8, events: &mut Vec<Event>) -> bool {
        let Some(peer) = self.peer_mut(from.node) else { return false };
        let restarted = peer.boot.is_some_and(|boot| boot != from.boot);
        let changed = restarted || !peer.alive;
        if changed {
            events.push(Event::NodeHeard { node: from.node, restarted });
        }
        if restarted || peer.boot.is_none() {
            peer.row = None;
            peer.hears_us_on = 0;
            peer.deaf = None;
            peer.pauses = 0;
            peer.links.iter_mut().for_each(|link| link.echo = None);
        }
        peer.boot = Some(from.boot);
        peer.alive = true;
        peer.late = false;
        peer.heard = now;
        if let Some(link) = peer.links.iter_mut().find(|known| known.number == link) {
            link.heard = Some(now);
            if !link.up {
                link.up = true;
                events.push(Event::LinkUp { node: from.node, link: link.number });
            }
        }
        changed
    }

    /// What a heartbeat says. Returns whether anything that matters for the plan changed.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        from: NodeId,
        link: u8,
        heartbeat: &Heartbeat,
        events: &mut Vec<Event>,
    ) -> bool {
        let (digest, interval) = (self.digest, self.heartbeat);
        let Some(peer) = self.peer_mut(from) else { return false };
        peer.hears_us_on = heartbeat.links;
        if let Some(known) = peer.links.iter_mut().find(|known| known.number == link) {
            known.echo = Some((heartbeat.sent, now));
        }
        if let Some((sent, hold)) = heartbeat.echo {
            peer.measure(now.as_nanos().saturating_sub(sent).saturating_sub(hold));
        }
        if heartbeat.pauses > peer.pauses && u128::from(heartbeat.pause_ms) >= interval.as_millis() {
            events.push(Event::NodePaused { node: from, pause_ms: u64::from(heartbeat.pause_ms) });
        }
        peer.pauses = heartbeat.pauses.max(peer.pauses);
        let differs = heartbeat.config != digest;
        if differs != peer.config_differs {
            peer.config_differs = differs;
            events.push(if differs { Event::ConfigDiffers { node: from } } else { Event::ConfigAgrees { node: from } });
        }
        let positions: Vec<Option<usize>> = heartbeat.nodes.iter().map(|node| self.position(*node)).collect();
        let mut changed = false;
        for (index, row) in heartbeat.rows.iter().enumerate() {
            let Some(Some(about)) = positions.get(usize::from(row.node)).copied() else { continue };
            // The first row is the sender's own, and only that one.
            let is_own = index == 0;
            if about != self.me && is_own == (self.entries.get(about).map(|entry| entry.id) == Some(from)) {
                let hears = each(row.hears).filter_map(|bit| positions.get(bit).copied().flatten());
                let hears = hears.fold(0, |set, position| set | 1 << position);
                changed |= self.take_row(now, about, row, hears, events);
            }
        }
        changed
    }

    fn take_row(&mut self, now: Instant, about: usize, row: &WireRow, hears: Set, events: &mut Vec<Event>) -> bool {
        let Some(peer) = self.peers.get_mut(about) else { return false };
        // What others say of a node counts only for the run that we hear, if we hear one.
        if peer.alive && peer.boot.is_some_and(|boot| boot != row.boot) {
            return false;
        }
        let said = now.saturating_sub(Duration::from_millis(u64::from(row.age_ms)));
        let new = Row {
            boot: row.boot,
            number: row.number,
            said,
            hears,
            view: row.view,
            promised: row.promised,
            leaving: row.leaving,
        };
        let changed = match &peer.row {
            Some(old) if old.boot == new.boot && old.number >= new.number => return false,
            Some(old) if old.boot != new.boot && !peer.alive && old.said >= said => return false,
            Some(old) => {
                let leaving = old.leaving && old.boot == new.boot;
                (old.boot, old.hears, old.view, old.promised, leaving)
                    != (new.boot, new.hears, new.view, new.promised, new.leaving)
            }
            None => true,
        };
        let was_leaving = peer.row.as_ref().is_some_and(|old| old.boot == new.boot && old.leaving);
        if new.leaving
            && !was_leaving
            && let Some(entry) = self.entries.get(about)
        {
            events.push(Event::NodeLeaving { node: entry.id });
        }
        peer.row = Some(Row { leaving: new.leaving || was_leaving, ..new });
        changed
    }

    /// The heartbeat for a node on a link.
    pub(crate) fn make(&self, now: Instant, to: NodeId, link: u8, standing: Standing, stable: u64) -> Heartbeat {
        let peer = self.peer(to);
        let mut rows = vec![self.own_row(standing)];
        if !self.uniform(standing) {
            let others = self.peers.len();
            let turn = (0..others).map(|step| (step + self.rotation) % others.max(1));
            rows.extend(turn.filter_map(|position| self.row_of(now, position)).take(ROWS_IN_HEARTBEAT));
        }
        Heartbeat {
            sent: now.as_nanos(),
            echo: peer
                .and_then(|peer| peer.links.iter().find(|known| known.number == link))
                .and_then(|known| known.echo)
                .map(|(sent, came)| (sent, nanos(now.since(came)))),
            links: peer
                .map_or(0, |peer| peer.links.iter().filter(|link| link.up).fold(0, |set, link| set | 1 << link.number)),
            config: self.digest,
            pauses: self.pauses,
            pause_ms: u32::try_from(self.pause.as_millis()).unwrap_or(u32::MAX),
            stable,
            nodes: self.entries.iter().map(|entry| entry.id).collect(),
            rows,
        }
    }

    /// How many rounds of heartbeats were made.
    pub(crate) fn round(&self) -> u64 {
        self.number
    }

    /// The links to a node that are up.
    pub(crate) fn links_up(&self, node: NodeId) -> Vec<u8> {
        let links = self.peer(node).map(|peer| peer.links.iter().filter(|link| link.up).map(|link| link.number));
        links.map(Iterator::collect).unwrap_or_default()
    }

    /// A new round of heartbeats is made.
    pub(crate) fn next_round(&mut self) {
        self.number += 1;
        self.rotation = (self.rotation + ROWS_IN_HEARTBEAT) % self.peers.len().max(1);
    }

    fn own_row(&self, standing: Standing) -> WireRow {
        WireRow {
            node: self.me as u8,
            boot: self.local.boot,
            number: self.number,
            age_ms: 0,
            hears: self.heard_set(),
            view: standing.view,
            promised: standing.promised,
            leaving: standing.leaving,
        }
    }

    fn row_of(&self, now: Instant, position: usize) -> Option<WireRow> {
        let row = self.peers.get(position).and_then(|peer| peer.row.as_ref())?;
        let age = now.since(row.said);
        (position != self.me && age <= self.dead_after * 2).then(|| WireRow {
            node: position as u8,
            boot: row.boot,
            number: row.number,
            age_ms: u32::try_from(age.as_millis()).unwrap_or(u32::MAX),
            hears: row.hears,
            view: row.view,
            promised: row.promised,
            leaving: row.leaving,
        })
    }

    /// Everybody who is heard says the same as this node: then there is nothing to pass on.
    fn uniform(&self, standing: Standing) -> bool {
        let hears = self.heard_set();
        !standing.leaving
            && each(hears & !(1 << self.me)).filter_map(|position| self.peers.get(position)).all(|peer| {
                peer.row.as_ref().is_some_and(|row| {
                    row.hears == hears && row.view == standing.view && row.promised == standing.promised && !row.leaving
                })
            })
    }

    fn heard_set(&self) -> Set {
        let alive = self.peers.iter().enumerate().filter(|(_, peer)| peer.alive);
        alive.fold(1 << self.me, |set, (position, _)| set | 1 << position)
    }

    /// This process ran `pause` later than it should have: everybody gets that much longer.
    pub(crate) fn paused(&mut self, now: Instant, pause: Duration) {
        let later = |instant: &mut Instant| *instant = (*instant + pause).min(now);
        for peer in &mut self.peers {
            later(&mut peer.heard);
            let said = peer.row.as_mut().map(|row| &mut row.said);
            let deaf = peer.deaf.as_mut().map(|(since, _)| since);
            let heard = peer.links.iter_mut().filter_map(|link| link.heard.as_mut());
            heard.chain(said).chain(deaf).chain(peer.fenced.as_mut()).for_each(later);
        }
        if pause >= self.heartbeat {
            self.pauses += 1;
            self.pause = pause;
        }
    }

    /// A node is confirmed dead, if it stays silent.
    pub(crate) fn fenced(&mut self, now: Instant, node: NodeId) {
        if let Some(peer) = self.peer_mut(node) {
            peer.fenced = Some(now);
        }
    }

    fn dead_at(&self, peer: &Peer) -> Instant {
        let dead_at = peer.heard + self.dead_after;
        match peer.fenced {
            Some(fenced) => dead_at.min(peer.heard.max(fenced) + self.heartbeat * 5 / 2),
            None => dead_at,
        }
    }

    /// Looks who has been silent for too long. Returns whether anything that others should know changed.
    pub(crate) fn check(&mut self, now: Instant, events: &mut Vec<Event>) -> bool {
        let mut changed = false;
        for position in 0..self.peers.len() {
            let Some(node) = self.entries.get(position).map(|entry| entry.id) else { continue };
            let Some(peer) = self.peers.get(position) else { continue };
            let (dead_at, silent) = (self.dead_at(peer), now.since(peer.heard));
            let (dead_after, late_at, me) = (self.dead_after, peer.heard + self.warn_after, self.me);
            let fence_is_over = self.heartbeat * 5;
            let Some(peer) = self.peers.get_mut(position).filter(|_| position != me) else { continue };
            let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            if peer.alive && now >= dead_at {
                (peer.alive, peer.late, peer.fenced, peer.deaf) = (false, false, None, None);
                events.push(Event::NodeLost { node, silent_ms });
                changed = true;
            } else if peer.alive && !peer.late && now >= late_at {
                peer.late = true;
                events.push(Event::NodeLate { node, silent_ms });
            }
            if peer.fenced.is_some_and(|fenced| now.since(fenced) > fence_is_over) {
                peer.fenced = None;
            }
            for link in peer.links.iter_mut().filter(|link| link.up) {
                if link.heard.is_none_or(|heard| now >= heard + dead_after) {
                    link.up = false;
                    events.push(Event::LinkDown { node, link: link.number });
                }
            }
            let deaf = peer.alive && peer.row.as_ref().is_some_and(|row| row.hears & 1 << me == 0);
            match &mut peer.deaf {
                deafness if !deaf => *deafness = None,
                None => peer.deaf = Some((now, false)),
                Some((since, reported)) if !*reported && now.since(*since) >= dead_after => {
                    *reported = true;
                    events.push(Event::OneWay { node });
                }
                Some(_) => {}
            }
        }
        changed
    }

    /// When [`Detector::check`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let living = self.peers.iter().filter(|peer| peer.alive);
        living
            .map(
                |peer| {
                    if peer.late { self.dead_at(peer) } else { self.dead_at(peer).min(peer.heard + self.warn_after) }
                },
            )
            .min()
    }

    /// What the nodes that are heard say of themselves.
    pub(crate) fn standing_of(&self, node: NodeId) -> Option<Standing> {
        let peer = self.peer(node)?;
        let row = peer.row.as_ref().filter(|row| peer.alive && Some(row.boot) == peer.boot)?;
        Some(Standing { view: row.view, promised: row.promised, leaving: row.leaving })
    }

    /// Nodes that said goodbye, heard or not.
    pub(crate) fn leaving(&self) -> Vec<NodeId> {
        let rows =
            self.entries.iter().zip(&self.peers).filter(|(_, peer)| peer.row.as_ref().is_some_and(|row| row.leaving));
        rows.map(|(entry, _)| entry.id).collect()
    }

    /// The newest epoch that anybody spoke of.
    pub(crate) fn newest_epoch(&self) -> u64 {
        let rows = self.peers.iter().filter_map(|peer| peer.row.as_ref());
        rows.map(|row| row.view.epoch.max(row.promised.epoch)).max().unwrap_or(0)
    }

    /// Which view should be, as far as this node knows.
    pub(crate) fn plan(&self, now: Instant, standing: Standing) -> Plan {
        let rows: Vec<Option<Row>> =
            (0..self.peers.len()).map(|position| self.trusted_row(now, position, standing)).collect();
        let row = |position: usize| rows.get(position).and_then(Option::as_ref);
        let hears = |a: usize, b: usize| row(a).is_some_and(|row| row.hears & 1 << b != 0);
        let nodes =
            (0..rows.len()).filter(|position| row(*position).is_some()).fold(0, |set, position| set | 1 << position);
        let heard: Vec<Set> = (0..rows.len())
            .map(|a| each(nodes).filter(|b| *b != a && hears(a, *b) && hears(*b, a)).fold(0, |set, b| set | 1 << b))
            .collect();
        let view_of = |position: usize| row(position).map(|row| row.view).unwrap_or_default();
        let groups = |set: Set| {
            each(set).filter(|position| view_of(*position) != ViewId::default()).fold(
                BTreeMap::<ViewId, usize>::new(),
                |mut groups, position| {
                    *groups.entry(view_of(position)).or_default() += 1;
                    groups
                },
            )
        };
        let worth = |set: Set| {
            let votes: u64 =
                each(set).filter_map(|position| self.entries.get(position)).map(|entry| u64::from(entry.votes)).sum();
            (votes, set.count_ones(), groups(set).into_values().max().unwrap_or(0))
        };
        let set = division_of(self.me, nodes, &heard, worth);
        // The greatest group that stays together keeps its leader.
        let greatest = groups(set).into_iter().max_by_key(|(view, size)| (*size, *view)).map(|(view, _)| view);
        let of_greatest = each(set).filter(|position| greatest.is_none_or(|view| view_of(*position) == view));
        let candidates: Vec<NodeId> =
            of_greatest.filter_map(|position| self.entries.get(position)).map(|entry| entry.id).collect();
        let leader = greatest.map(|view| NodeId(view.leader)).filter(|leader| candidates.contains(leader));
        let coordinator = leader.or(candidates.first().copied()).unwrap_or(self.local.node);
        let torn = |inside: usize| {
            let outside = heard.get(inside).map_or(0, |near| near & !set);
            view_of(inside) != ViewId::default() && each(outside).any(|other| view_of(other) == view_of(inside))
        };
        Plan {
            members: each(set)
                .filter_map(|position| Some(Run { node: self.entries.get(position)?.id, boot: row(position)?.boot }))
                .collect(),
            coordinator,
            disruptive: each(set).any(torn),
            newborn: greatest.is_none(),
        }
    }

    /// The row of a node, if it counts: its own, that of one who is heard, or a fresh one from others.
    fn trusted_row(&self, now: Instant, position: usize, standing: Standing) -> Option<Row> {
        if position == self.me {
            let Standing { view, promised, leaving } = standing;
            let hears = self.heard_set();
            return Some(Row { boot: self.local.boot, number: self.number, said: now, hears, view, promised, leaving });
        }
        let peer = self.peers.get(position)?;
        let row = peer.row.as_ref()?;
        let counts = if peer.alive { Some(row.boot) == peer.boot } else { now.since(row.said) < self.dead_after };
        (counts && !row.leaving).then(|| row.clone())
    }
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            links: Vec::new(),
            boot: None,
            alive: false,
            late: false,
            heard: now,
            fenced: None,
            hears_us_on: 0,
            deaf: None,
            round_trip: None,
            round_trip_deviation: Duration::ZERO,
            pauses: 0,
            config_differs: false,
            row: None,
        }
    }

    /// Smooths measured round trips as TCP does (RFC 6298 §2).
    fn measure(&mut self, nanoseconds: u64) {
        let sample = Duration::from_nanos(nanoseconds.min(10_000_000_000));
        match &mut self.round_trip {
            Some(smoothed) => {
                let deviation = smoothed.abs_diff(sample);
                self.round_trip_deviation = (self.round_trip_deviation * 3 + deviation) / 4;
                *smoothed = (*smoothed * 7 + sample) / 8;
            }
            None => {
                self.round_trip = Some(sample);
                self.round_trip_deviation = sample / 2;
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

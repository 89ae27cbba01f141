//! The order of messages in one view.
//!
//! The leader numbers everything that is said: members *submit* items to it, it appends them to the *order*, sends them to
//! all, and everybody delivers them in that order as soon as they are there without a gap, the sender too. Nothing waits
//! for a timer: an item that meets an idle connection leaves at once, and while datagrams are on their way, small items
//! gather until one is full or an acknowledgement comes (Nagle). Long messages are cut into items; a message is delivered
//! where its last item stands.
//!
//! Both directions use the same reliable flow: numbered items, cumulative acknowledgements that name what is missing,
//! repetition after the measured round trip, and a window that shrinks on loss. What is not yet at all members is kept by
//! all, so that in a view change whoever has most can give it to the others; its size is bounded, and the leader takes
//! nothing more when the bound is reached.
//!
//! Invariants:
//! - The order of a view has one writer, its leader; an item's number never changes its content.
//! - Each origin's items stand in the order in which it submitted them, each once.
//! - Once frozen, an order grows only by what other members already had.

use crate::view::ViewId;
use crate::wire::{Ack, Batch, Item, Kind, Message};
use hakudo_base::{Instant, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// So many bytes of items fit into a datagram.
const BATCH_BYTES: usize = 1100;
/// Items that are not at all members yet are kept up to this size.
const UNSTABLE_BYTES: usize = 32 << 20;
/// So many items may wait for the acknowledgement of the leader.
const SUBMITTED_ITEMS: usize = 4096;
/// Items further ahead than this of what is missing are refused.
const EARLY_ITEMS: u64 = 8192;
/// Limits of the window, in datagrams.
const SMALLEST_WINDOW: usize = 4;
const FIRST_WINDOW: usize = 32;
const LARGEST_WINDOW: usize = 128;
/// With so many datagrams on their way, one that is not full waits.
const EAGER_DATAGRAMS: usize = 2;
/// An acknowledgement names so many gaps.
const MISSING_RANGES: usize = 8;
/// So many datagrams answer one question for missing items.
const FETCHED_DATAGRAMS: usize = 64;
/// Repetition slows down by doublings up to this many.
const MOST_DOUBLINGS: u32 = 4;

/// A datagram to be sent to a member.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: NodeId,
    pub(crate) message: Message,
    /// It was sent before and may have been lost: try every link.
    pub(crate) repeated: bool,
}

/// A whole message at its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ordered {
    pub(crate) origin: NodeId,
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

/// Consecutive items, numbered from 1; those that nobody needs any more are dropped from the front.
#[derive(Clone, Debug)]
struct Log {
    first: u64,
    items: VecDeque<Item>,
    bytes: usize,
}

impl Log {
    fn new() -> Self {
        Self { first: 1, items: VecDeque::new(), bytes: 0 }
    }

    /// The number that the next item gets.
    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.size_bound();
        self.items.push_back(item);
    }

    fn get(&self, number: u64) -> Option<&Item> {
        let index = number.checked_sub(self.first)?;
        self.items.get(usize::try_from(index).ok()?)
    }

    /// Drops everything before `number`.
    fn trim(&mut self, number: u64) {
        while self.first < number {
            let Some(item) = self.items.pop_front() else { return };
            self.bytes -= item.size_bound();
            self.first += 1;
        }
    }

    /// As many items from `first` on, up to `last`, as fit into a datagram, and whether it is full.
    fn batch(&self, first: u64, last: u64) -> (Vec<Item>, bool) {
        let (mut items, mut bytes) = (Vec::new(), 0);
        for number in first..=last {
            let Some(item) = self.get(number) else { break };
            bytes += item.size_bound();
            if bytes > BATCH_BYTES && !items.is_empty() {
                return (items, true);
            }
            items.push(item.clone());
        }
        (items, bytes * 8 > BATCH_BYTES * 7)
    }
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    first: u64,
    last: u64,
    at: Instant,
}

/// The way of a log to one receiver.
#[derive(Clone, Debug)]
struct Flow {
    /// What the receiver waits for: it has everything before.
    acknowledged: u64,
    /// What was never sent yet.
    next: u64,
    on_their_way: VecDeque<Sent>,
    window: usize,
    /// Losses of items before this one were already answered by a smaller window.
    recovered: u64,
    doublings: u32,
    round_trip: Duration,
    patience: Duration,
}

impl Flow {
    fn new() -> Self {
        Self {
            acknowledged: 1,
            next: 1,
            on_their_way: VecDeque::new(),
            window: FIRST_WINDOW,
            recovered: 0,
            doublings: 0,
            round_trip: Duration::from_millis(5),
            patience: Duration::from_millis(50),
        }
    }

    /// What can be sent now for the first time.
    fn advance(&mut self, now: Instant, log: &Log) -> Vec<(u64, Vec<Item>)> {
        let mut batches = Vec::new();
        while self.on_their_way.len() < self.window && self.next < log.end() {
            let (items, full) = log.batch(self.next, log.end() - 1);
            if items.is_empty() || !full && self.on_their_way.len() >= EAGER_DATAGRAMS {
                break;
            }
            let (first, after) = (self.next, self.next + items.len() as u64);
            self.on_their_way.push_back(Sent { first, last: after - 1, at: now });
            self.next = after;
            batches.push((first, items));
        }
        batches
    }

    /// Takes an acknowledgement; gives what must be sent again.
    fn acknowledge(&mut self, now: Instant, ack: &Ack) -> Vec<(u64, u64)> {
        if ack.next > self.next {
            return Vec::new();
        }
        if ack.next > self.acknowledged {
            self.acknowledged = ack.next;
            self.doublings = 0;
            let before = self.on_their_way.len();
            self.on_their_way.retain_mut(|sent| {
                sent.first = sent.first.max(ack.next);
                sent.last >= ack.next
            });
            self.window = (self.window + before - self.on_their_way.len()).min(LARGEST_WINDOW);
        }
        let mut again = Vec::new();
        for sent in &mut self.on_their_way {
            let is_missing = ack.missing.iter().any(|(first, last)| sent.first <= *last && *first <= sent.last);
            if is_missing && now.since(sent.at) >= self.round_trip {
                again.push((sent.first, sent.last));
                sent.at = now;
            }
        }
        if again.first().is_some_and(|(first, _)| *first >= self.recovered) {
            self.recovered = self.next;
            self.window = (self.window * 3 / 4).max(SMALLEST_WINDOW);
        }
        again
    }

    fn deadline(&self) -> Option<Instant> {
        let oldest = self.on_their_way.iter().map(|sent| sent.at).min()?;
        Some(oldest + self.patience * (1 << self.doublings))
    }

    /// What must be sent again because nothing was heard of it.
    fn overdue(&mut self, now: Instant) -> Vec<(u64, u64)> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        let patience = self.patience * (1 << self.doublings);
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        self.window = (self.window / 2).max(SMALLEST_WINDOW);
        self.recovered = self.next;
        let overdue = self.on_their_way.iter_mut().filter(|sent| now.since(sent.at) >= patience).take(SMALLEST_WINDOW);
        overdue
            .map(|sent| {
                sent.at = now;
                (sent.first, sent.last)
            })
            .collect()
    }
}

/// What comes in from one sender: items that wait for a gap to be filled.
#[derive(Clone, Debug)]
struct Inbound {
    next: u64,
    early: BTreeMap<u64, Item>,
}

impl Inbound {
    fn new() -> Self {
        Self { next: 1, early: BTreeMap::new() }
    }

    /// Returns whether any of it is new.
    fn take(&mut self, batch: Batch) -> bool {
        let before = self.early.len();
        for (number, item) in (batch.first..).zip(batch.items) {
            if (self.next..self.next + EARLY_ITEMS).contains(&number) {
                self.early.entry(number).or_insert(item);
            }
        }
        self.early.len() > before
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.early.remove(&self.next)?;
        self.next += 1;
        Some(item)
    }

    fn ack(&self, view: ViewId, submitted: bool) -> Ack {
        let (mut missing, mut expected) = (Vec::new(), self.next);
        for number in self.early.keys() {
            if *number > expected && missing.len() < MISSING_RANGES {
                missing.push((expected, number - 1));
            }
            expected = number + 1;
        }
        Ack { view, submitted, next: self.next, missing }
    }
}

/// The order of one view at one member.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    view: ViewId,
    local: NodeId,
    leader: NodeId,
    /// The order: what was delivered here and may be missing elsewhere.
    log: Log,
    /// Members: from the leader. Leader: from each member.
    inbound: BTreeMap<NodeId, Inbound>,
    /// Members: what was submitted to the leader.
    submissions: Log,
    /// Members: to the leader. Leader: to each member.
    flows: BTreeMap<NodeId, Flow>,
    /// All items before this one are at all members.
    stable: u64,
    frozen: bool,
    /// Messages whose last item is still to come.
    unfinished: BTreeMap<NodeId, Vec<u8>>,
    delivered: Vec<Ordered>,
    /// To whom, and whether on all links.
    acks_due: BTreeMap<NodeId, bool>,
    repetitions: Vec<Outgoing>,
}

impl Order {
    pub(crate) fn new(view: ViewId, local: NodeId, members: impl Iterator<Item = NodeId>) -> Self {
        let leader = NodeId(view.leader);
        let others = members.filter(|member| *member != local && (local == leader || *member == leader));
        let others: Vec<NodeId> = others.collect();
        Self {
            view,
            local,
            leader,
            log: Log::new(),
            inbound: others.iter().map(|id| (*id, Inbound::new())).collect(),
            submissions: Log::new(),
            flows: others.iter().map(|id| (*id, Flow::new())).collect(),
            stable: 1,
            frozen: false,
            unfinished: BTreeMap::new(),
            delivered: Vec::new(),
            acks_due: BTreeMap::new(),
            repetitions: Vec::new(),
        }
    }

    pub(crate) fn view(&self) -> ViewId {
        self.view
    }

    fn leads(&self) -> bool {
        self.local == self.leader
    }

    /// How many items are here without a gap.
    pub(crate) fn received(&self) -> u64 {
        self.log.end() - 1
    }

    /// All items up to this one are at all members.
    pub(crate) fn stable(&self) -> u64 {
        self.stable - 1
    }

    /// Nothing that was delivered here is missing at another member, as far as this member is to know.
    pub(crate) fn is_settled(&self) -> bool {
        !self.leads() || self.stable == self.log.end()
    }

    /// From now on the order grows only by what others already have.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
        self.acks_due.clear();
        self.repetitions.clear();
    }

    /// Whether another item can be taken now.
    pub(crate) fn has_room(&self) -> bool {
        let room =
            if self.leads() { self.log.bytes < UNSTABLE_BYTES } else { self.submissions.items.len() < SUBMITTED_ITEMS };
        room && !self.frozen
    }

    /// Takes an item of this node.
    pub(crate) fn submit(&mut self, item: Item) {
        if self.leads() {
            self.append(item);
        } else {
            self.submissions.push(item);
        }
    }

    /// Puts an item at the end of the order, and delivers the message that it completes.
    fn append(&mut self, item: Item) {
        let Item { origin, number, kind, more, .. } = item;
        let unfinished = self.unfinished.entry(origin).or_default();
        unfinished.extend_from_slice(&item.bytes.0);
        if !more {
            let payload = std::mem::take(unfinished);
            self.delivered.push(Ordered { origin, number, kind, payload });
        }
        self.log.push(item);
    }

    /// What was completed since the last call.
    pub(crate) fn take_delivered(&mut self) -> Vec<Ordered> {
        std::mem::take(&mut self.delivered)
    }

    /// A member submits items.
    pub(crate) fn take_submitted(&mut self, from: NodeId, batch: Batch) {
        let is_honest = batch.items.iter().all(|item| item.origin == from);
        if batch.view != self.view || !self.leads() || self.frozen || !is_honest {
            return;
        }
        if let Some(inbound) = self.inbound.get_mut(&from) {
            let is_new = inbound.take(batch);
            self.owe_ack(from, is_new);
            self.sequence();
        }
    }

    /// The leader gives numbers to what was submitted, as long as there is room.
    fn sequence(&mut self) {
        let members: Vec<NodeId> = self.inbound.keys().copied().collect();
        for member in members {
            while self.has_room()
                && let Some(item) = self.inbound.get_mut(&member).and_then(Inbound::pop)
            {
                self.append(item);
            }
        }
    }

    /// The leader says the order.
    pub(crate) fn take_ordered(&mut self, from: NodeId, batch: Batch) {
        if batch.view == self.view && from == self.leader && !self.leads() && !self.frozen {
            let is_new = self.extend(batch, u64::MAX);
            self.owe_ack(from, is_new);
        }
    }

    /// An acknowledgement is due. What came again says that the one before was lost: then it goes out on all links.
    fn owe_ack(&mut self, to: NodeId, is_new: bool) {
        *self.acks_due.entry(to).or_default() |= !is_new;
    }

    /// Another member gives what was missing here when the view ended, up to `last`.
    pub(crate) fn take_fetched(&mut self, batch: Batch, last: u64) {
        if batch.view == self.view && self.frozen && !self.leads() {
            self.extend(batch, last);
        }
    }

    /// Appends what came from the leader and has no gap before it, up to `last`: the order may have ended there, though
    /// more of it came in.
    fn extend(&mut self, batch: Batch, last: u64) -> bool {
        let stable = batch.stable;
        let Some(inbound) = self.inbound.get_mut(&self.leader) else { return false };
        let is_new = inbound.take(batch);
        while self.received() < last
            && let Some(item) = self.inbound.get_mut(&self.leader).and_then(Inbound::pop)
        {
            self.append(item);
        }
        self.learn_stable(stable);
        is_new
    }

    /// The leader says that all items up to this one are at all members.
    pub(crate) fn learn_stable(&mut self, stable: u64) {
        let stable = (stable.saturating_add(1)).min(self.log.end());
        if !self.leads() && stable > self.stable {
            self.stable = stable;
            self.log.trim(stable);
        }
    }

    /// A receiver says what it has.
    pub(crate) fn take_ack(&mut self, now: Instant, from: NodeId, ack: &Ack) {
        if ack.view != self.view || self.frozen || ack.submitted == self.leads() {
            return;
        }
        let Some(flow) = self.flows.get_mut(&from) else { return };
        let again = flow.acknowledge(now, ack);
        let acknowledged = flow.acknowledged;
        self.repeat(from, again);
        if self.leads() {
            let everywhere = self.flows.values().map(|flow| flow.acknowledged).min();
            self.stable = everywhere.unwrap_or(self.log.end());
            self.log.trim(self.stable);
            self.sequence();
        } else {
            self.submissions.trim(acknowledged);
        }
    }

    /// How long the way to a member and back takes.
    pub(crate) fn set_round_trip(&mut self, node: NodeId, round_trip: Option<Duration>, patience: Duration) {
        if let Some(flow) = self.flows.get_mut(&node) {
            flow.round_trip = round_trip.unwrap_or(flow.round_trip);
            flow.patience = patience;
        }
    }

    fn repeat(&mut self, to: NodeId, ranges: Vec<(u64, u64)>) {
        for (first, last) in ranges {
            let (items, _) = self.source().batch(first, last);
            if !items.is_empty() {
                let message = self.wrap(first, items);
                self.repetitions.push(Outgoing { to, message, repeated: true });
            }
        }
    }

    fn source(&self) -> &Log {
        if self.leads() { &self.log } else { &self.submissions }
    }

    fn wrap(&self, first: u64, items: Vec<Item>) -> Message {
        let batch = Batch { view: self.view, stable: self.stable(), first, items };
        if self.leads() { Message::Ordered(batch) } else { Message::Submit(batch) }
    }

    /// Everything that should be sent now.
    pub(crate) fn pump(&mut self, now: Instant, out: &mut Vec<Outgoing>) {
        if self.frozen {
            return;
        }
        if self.leads() && self.flows.is_empty() {
            self.stable = self.log.end();
            self.log.trim(self.stable);
        }
        out.append(&mut self.repetitions);
        let source = if self.leads() { &self.log } else { &self.submissions };
        let mut batches = Vec::new();
        for (to, flow) in &mut self.flows {
            batches.extend(flow.advance(now, source).into_iter().map(|(first, items)| (*to, first, items)));
        }
        for (to, first, items) in batches {
            out.push(Outgoing { to, message: self.wrap(first, items), repeated: false });
        }
        for (to, repeated) in std::mem::take(&mut self.acks_due) {
            if let Some(inbound) = self.inbound.get(&to) {
                let message = Message::Ack(inbound.ack(self.view, self.leads()));
                out.push(Outgoing { to, message, repeated });
            }
        }
    }

    /// Repeats what was not answered in time.
    pub(crate) fn timer(&mut self, now: Instant) {
        if self.frozen {
            return;
        }
        let members: Vec<NodeId> = self.flows.keys().copied().collect();
        for member in members {
            let overdue = self.flows.get_mut(&member).map(|flow| flow.overdue(now)).unwrap_or_default();
            self.repeat(member, overdue);
        }
    }

    /// When [`Order::timer`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.frozen { None } else { self.flows.values().filter_map(Flow::deadline).min() }
    }

    /// Items that another member asks for at the end of the view.
    pub(crate) fn fetch(&self, to: NodeId, first: u64, last: u64) -> Vec<Outgoing> {
        let (mut out, mut first) = (Vec::new(), first);
        while out.len() < FETCHED_DATAGRAMS && first <= last {
            let (items, _) = self.log.batch(first, last.min(self.received()));
            if items.is_empty() {
                break;
            }
            let after = first + items.len() as u64;
            let batch = Batch { view: self.view, stable: 0, first, items };
            out.push(Outgoing { to, message: Message::Fetched(batch), repeated: false });
            first = after;
        }
        out
    }
}

//! The sites, the arbitrators, and what is between them. Whatever comes first happens, anywhere; between two things that
//! happen, what left a site is sent on its way, and the checkers look.

use super::arbitrator::{Arbitrator, Wants};
use super::check::Checker;
use super::outside::{Leaves, Outside};
use super::script::{Act, Script, Weather, Wish, needs};
use super::{Mutation, Outcome, Rule};
use crate::check::Service;
use crate::queue::Queue;
use crate::sites::Sites;
use crate::world::World;
use hakudo_base::{Instant, Random};
use hakudo_controller::request::{Reply, Request};
use hakudo_controller::{Input as ControllerInput, TicketInput, TicketSetup};
use hakudo_tickets::{
    Group, Input, LeaseStatus, MemberId, Outcome as Answer, Readiness, Reply as TicketReply, Request as TicketRequest,
    Status,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after the last fault all must be well.
const PATIENCE: Duration = Duration::from_secs(400);
/// How often it is looked at then.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The mutation of wild clocks: too fast or slow by so many millionths.
const WILD: i64 = 400_000;
/// Clients of the group have numbers from here on; a script's own requests in a cluster are far below.
const FIRST_CLIENT: u64 = 1 << 40;
/// How messages travel where nothing else is said.
const CALM: Weather = Weather { loss: 0, twice: 0, delay_ms: 10 };

/// Something to come that belongs to no site.
#[derive(Debug)]
enum Happening {
    Act(Act),
    Arrives { member: usize, node: usize, from: u32, bytes: Vec<u8> },
    Checked { site: usize, node: usize, run: u64, check: u64, result: Result<Readiness, String> },
    Written { arbitrator: usize, run: u64 },
    Wake { arbitrator: usize, run: u64 },
    Heal,
    Look,
}

/// What somebody waits for.
#[derive(Debug)]
struct Asked {
    site: usize,
    node: usize,
    run: u64,
    at: Instant,
    /// None where only the state of things is asked for.
    wish: Option<Wish>,
}

pub(super) struct Federation {
    script: Script,
    mutation: Option<Mutation>,
    group: Group,
    now: Instant,
    queue: Queue<Happening>,
    random: Random,
    sites: Vec<World>,
    arbitrators: Vec<Arbitrator>,
    /// Of each site: what needs which ticket.
    needs: Vec<BTreeMap<String, Vec<String>>>,
    weather: Weather,
    /// From one member to another, counted from 1.
    cut: BTreeSet<(usize, usize)>,
    /// Nodes of sites that reach no other member; sites and nodes counted from 1.
    unplugged: BTreeSet<(usize, usize)>,
    unready: BTreeSet<usize>,
    healed_at: Option<Instant>,
    asked: BTreeMap<u64, Asked>,
    clients: u64,
    /// When somebody was last told that a wish was done.
    fulfilled_at: Instant,
    /// How the group is, as a site was told since everything was mended, and when it was asked for.
    status: Option<(Instant, Box<Status>)>,
    checker: Checker,
    reached: Sites,
    trace: Option<Vec<String>>,
    finished: bool,
}

impl Federation {
    pub(super) fn new(script: Script, mutation: Option<Mutation>, trace: bool) -> Self {
        let group = script.group();
        // Every second member's clocks are slow then, and those of the others fast.
        let drift = |member: usize, millionths: i64| match mutation {
            Some(Mutation::ClocksWild) => WILD * (1 - 2 * (member as i64 % 2)),
            _ => millionths,
        };
        let sites = (0..script.sites.len()).map(|site| {
            let mut world = World::new(script.of_site(site), mutation.and_then(Mutation::in_clusters), trace);
            let own = &script.sites[site];
            for (machine, millionths) in world.machines.iter_mut().zip(&own.drifts) {
                machine.rate = drift(site + 1, *millionths);
            }
            let setup = TicketSetup {
                local: site as u32 + 1,
                group: group.clone(),
                stop_time_ms: BTreeMap::new(),
                watchdog: own.watchdog_ms > 0,
                booth: None,
            };
            let watchdog = (own.watchdog_ms > 0).then(|| Duration::from_millis(own.watchdog_ms));
            world.outside = Some(Box::new(Outside::new(setup, watchdog, mutation)));
            world
        });
        let sites: Vec<World> = sites.collect();
        let arbitrators = script.arbitrators.iter().enumerate();
        let arbitrators = arbitrators.map(|(index, millionths)| {
            let member = sites.len() + index + 1;
            Arbitrator::new(MemberId(member as u32), drift(member, *millionths))
        });
        let arbitrators: Vec<Arbitrator> = arbitrators.collect();
        let mut queue = Queue::new();
        let boots = arbitrators.iter().map(|arbitrator| (0, Act::ArbitratorOn(arbitrator.id.0 as usize)));
        for (at, act) in boots.chain(script.events.clone()) {
            queue.push(Instant::from_millis(at), Happening::Act(act));
        }
        queue.push(Instant::from_millis(script.heal_at), Happening::Heal);
        Self {
            mutation,
            group,
            now: Instant::ZERO,
            queue,
            random: Random::new(script.seed ^ 0x0077_686f_6c65),
            needs: script.sites.iter().map(|site| needs(&site.setup)).collect(),
            sites,
            arbitrators,
            weather: CALM,
            cut: BTreeSet::new(),
            unplugged: BTreeSet::new(),
            unready: BTreeSet::new(),
            healed_at: None,
            asked: BTreeMap::new(),
            clients: FIRST_CLIENT,
            fulfilled_at: Instant::ZERO,
            status: None,
            checker: Checker::default(),
            reached: Sites::default(),
            trace: trace.then(Vec::new),
            finished: false,
            script,
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        while self.checker.violation.is_none() && !self.finished && self.step() {}
        let mut sites = self.reached;
        let settled_after_ms = sites.settled_after_ms;
        self.sites.iter().for_each(|world| sites.add(&world.sites));
        sites.settled_after_ms = settled_after_ms;
        let (violation, margin) = (self.checker.violation, self.checker.margin);
        Outcome { violation, sites, trace: self.trace.unwrap_or_default(), margin }
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("   {:>9.3} {}", self.now.as_nanos() as f64 / 1e9, line()));
        }
    }

    /// Lets the next thing happen, wherever that is; false where nothing is left.
    fn step(&mut self) -> bool {
        let next = self.sites.iter().enumerate().filter_map(|(site, world)| Some((world.next_at()?, site))).min();
        match (self.queue.next_at(), next) {
            (Some(own), Some((at, site))) if at < own => self.step_site(site, at),
            (None, Some((at, site))) => self.step_site(site, at),
            (None, None) => return false,
            (Some(_), _) => {
                let Some((at, happening)) = self.queue.pop() else { return false };
                self.now = at;
                self.happen(happening);
            }
        }
        true
    }

    fn step_site(&mut self, site: usize, at: Instant) {
        self.now = at;
        self.sites[site].step();
        self.after_site(site);
    }

    /// Something is done in a site, from outside.
    fn in_site(&mut self, site: usize, what: impl FnOnce(&mut World)) {
        let world = &mut self.sites[site];
        world.now = self.now;
        what(world);
        self.after_site(site);
    }

    /// What left a site goes on its way, and the checkers look at it.
    fn after_site(&mut self, site: usize) {
        let world = &mut self.sites[site];
        if let (Some(all), Some(trace)) = (&mut self.trace, &mut world.trace) {
            all.extend(trace.drain(..).map(|line| format!("s{} {line}", site + 1)));
        }
        if let Some(violation) = world.violation.take() {
            let text = format!("site {}: {}", site + 1, violation.text);
            self.checker.breaks(Rule::Cluster(violation.rule), violation.at, text);
        }
        let left = world.outside.as_mut().map(|outside| std::mem::take(&mut outside.left)).unwrap_or_default();
        self.look_at_services(site);
        for what in left {
            match what {
                Leaves::Message { node, to, bytes } => self.send_from_node(site, node, to, &bytes),
                Leaves::Check { node, run, check } => self.check(site, node, run, check.check),
                Leaves::Answer { node, client, reply } => self.answered(site, node, client, reply),
                Leaves::Coordinates { node, term } => {
                    self.reached.reach("a site coordinates");
                    let run = self.sites[site].machines[node].run;
                    let who = format!("site {} (n{}, process {run})", site + 1, node + 1);
                    self.checker.coordinates(self.now, term, who);
                }
            }
        }
    }

    fn look_at_services(&mut self, site: usize) {
        let machines = &self.sites[site].machines;
        let mut news = Vec::new();
        for (ticket, primitives) in &self.needs[site] {
            let runs = |name: &String| machines.iter().any(|machine| machine.service(name) > Service::Stopped);
            let active = primitives.iter().any(runs);
            if self.checker.runs(self.now, site, ticket, active) {
                news.push((ticket.clone(), active));
            }
        }
        for (ticket, active) in news {
            self.reached.reach(if active { "what needs a ticket began" } else { "what needs a ticket ended" });
            self.say(|| {
                let does = if active { "runs" } else { "does not run any more" };
                format!("what needs {ticket} {does} at site {}", site + 1)
            });
        }
    }

    // ---- messages --------------------------------------------------------------------------------------------------

    fn send_from_node(&mut self, site: usize, node: usize, to: u32, bytes: &[u8]) {
        if !self.unplugged.contains(&(site + 1, node + 1)) {
            self.send(site + 1, to, bytes);
        }
    }

    /// A message goes to all nodes of a site, and each copy has a way of its own.
    fn send(&mut self, from: usize, to: u32, bytes: &[u8]) {
        let member = to as usize;
        if self.cut.contains(&(from, member)) {
            return;
        }
        let nodes = self.script.sites.get(member.wrapping_sub(1)).map_or(1, |site| site.setup.votes.len());
        let Weather { loss, twice, delay_ms } = self.weather;
        for node in 0..nodes {
            if self.random.percent(loss) {
                continue;
            }
            let copies = if self.random.percent(twice) { 2 } else { 1 };
            for _ in 0..copies {
                // Few messages take much longer than most.
                let longest = if self.random.percent(95) { delay_ms.min(50) } else { delay_ms };
                let at = self.now + Duration::from_micros(200 + self.random.below(longest * 1000 + 1));
                let bytes = bytes.to_vec();
                self.queue.push(at, Happening::Arrives { member, node, from: from as u32, bytes });
            }
        }
    }

    fn arrives(&mut self, member: usize, node: usize, from: u32, bytes: Vec<u8>) {
        if member <= self.sites.len() {
            if !self.unplugged.contains(&(member, node + 1)) {
                self.in_site(member - 1, |world| world.hear_member(node, from, bytes));
            }
            return;
        }
        let input = Input::Received { from: MemberId(from), message: bytes };
        self.at_arbitrator(member - self.sites.len() - 1, |arbitrator, now, random| {
            arbitrator.feed(now, input, random)
        });
    }

    // ---- arbitrators -----------------------------------------------------------------------------------------------

    fn at_arbitrator(&mut self, index: usize, what: impl FnOnce(&mut Arbitrator, Instant, &mut Random) -> Vec<Wants>) {
        let Some(arbitrator) = self.arbitrators.get_mut(index) else { return };
        let wants = what(arbitrator, self.now, &mut self.random);
        let (run, id) = (arbitrator.run, arbitrator.id.0);
        for want in wants {
            match want {
                Wants::Send { to, bytes } => self.send(id as usize, to, &bytes),
                Wants::Written { at } => self.queue.push(at, Happening::Written { arbitrator: index, run }),
                Wants::Wake { at } => self.queue.push(at, Happening::Wake { arbitrator: index, run }),
                Wants::Coordinates { term } => {
                    self.reached.reach("an arbitrator coordinates");
                    self.say(|| format!("m{id} coordinates in term {term}"));
                    self.checker.coordinates(self.now, term, format!("member {id} (process {run})"));
                }
                Wants::Tell(text) => self.say(|| format!("m{id}: {text}")),
            }
        }
    }

    fn arbitrator_on(&mut self, member: usize) {
        let Some(index) = member.checked_sub(self.sites.len() + 1) else { return };
        if self.arbitrators.get(index).is_none_or(Arbitrator::is_on) {
            return;
        }
        let group = self.group.clone();
        let mut error = None;
        self.at_arbitrator(index, |arbitrator, now, random| match arbitrator.start(now, group, random) {
            Ok(wants) => wants,
            Err(wrong) => {
                error = Some(wrong);
                Vec::new()
            }
        });
        if let Some(error) = error {
            self.checker.breaks(Rule::Settles, self.now, format!("member {member} does not start: {error}"));
        }
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Act(act) => {
                if !matches!(act, Act::Site(..)) {
                    self.say(|| act.to_string());
                }
                self.act(act);
            }
            Happening::Arrives { member, node, from, bytes } => self.arrives(member, node, from, bytes),
            Happening::Checked { site, node, run, check, result } => {
                if self.sites[site].machines[node].run == run {
                    let input = ControllerInput::Tickets(TicketInput::Checked { check, result });
                    self.in_site(site, |world| world.feed(node, input));
                }
            }
            Happening::Written { arbitrator, run } if self.is_run(arbitrator, run) => {
                self.at_arbitrator(arbitrator, |arbitrator, now, random| arbitrator.written(now, random));
            }
            Happening::Wake { arbitrator, run } if self.is_run(arbitrator, run) => {
                self.at_arbitrator(arbitrator, |arbitrator, now, random| arbitrator.wake(now, random));
            }
            Happening::Written { .. } | Happening::Wake { .. } => {}
            Happening::Heal => self.heal(),
            Happening::Look => self.look(),
        }
    }

    fn is_run(&self, arbitrator: usize, run: u64) -> bool {
        self.arbitrators[arbitrator].run == run
    }

    fn act(&mut self, act: Act) {
        match act {
            // These are in the histories of the sites.
            Act::Site(..) => {}
            Act::SiteOff(_) => self.reached.reach("a site without power"),
            Act::SiteOn(_) => {}
            Act::ArbitratorOff(member) => {
                let index = member.checked_sub(self.sites.len() + 1);
                if let Some(arbitrator) = index.and_then(|index| self.arbitrators.get_mut(index)) {
                    self.reached.reach("an arbitrator killed");
                    arbitrator.end(&mut self.random);
                }
            }
            Act::ArbitratorOn(member) => self.arbitrator_on(member),
            Act::Cut(from, to) => {
                self.reached.reach("members cut off");
                self.cut.insert((from, to));
            }
            Act::Mend(from, to) => _ = self.cut.remove(&(from, to)),
            Act::Unplug(site, node) => {
                self.reached.reach("a node without its way out");
                self.unplugged.insert((site, node));
            }
            Act::Plug(site, node) => _ = self.unplugged.remove(&(site, node)),
            Act::Weather(weather) => self.weather = weather,
            Act::Ready(site, true) => _ = self.unready.remove(&site),
            Act::Ready(site, false) => _ = self.unready.insert(site),
            Act::Ask(site, node, wish) => self.ask(site - 1, node - 1, Some(wish)),
        }
    }

    /// A program looks whether the site may take a ticket.
    fn check(&mut self, site: usize, node: usize, run: u64, check: u64) {
        let no = self.unready.contains(&(site + 1));
        let result = if no { Err("its data is old".to_owned()) } else { Ok(Readiness::default()) };
        self.reached.reach(if no { "a site not ready" } else { "a site looked at" });
        let at = self.now + Duration::from_millis(self.random.between(1, 200));
        self.queue.push(at, Happening::Checked { site, node, run, check, result });
    }

    // ---- who asks --------------------------------------------------------------------------------------------------

    fn ask(&mut self, site: usize, node: usize, wish: Option<Wish>) {
        let Some(world) = self.sites.get(site) else { return };
        let Some(machine) = world.machines.get(node).filter(|machine| machine.process.is_some()) else { return };
        let run = machine.run;
        self.clients += 1;
        let client = self.clients;
        let request = match wish.clone() {
            None => TicketRequest::Status,
            Some(Wish::Grant(ticket, to)) => TicketRequest::Grant { ticket, site: MemberId(to as u32), force: false },
            Some(Wish::Move(ticket, to)) => TicketRequest::Move { ticket, to: MemberId(to as u32), dry_run: false },
            Some(Wish::Revoke(ticket)) => TicketRequest::Revoke { ticket, force: false },
            Some(Wish::Standby(ticket, on)) => TicketRequest::Standby { ticket, on },
            Some(Wish::Disclaim(which, on)) => {
                TicketRequest::Disclaim { site: MemberId(which as u32), ticket: None, on }
            }
        };
        self.asked.insert(client, Asked { site, node, run, at: self.now, wish });
        let request = Request::Tickets { ask: Box::new(request), progress: false };
        self.in_site(site, |world| {
            world.feed(node, ControllerInput::Request { client, user: "root".into(), request });
        });
    }

    fn answered(&mut self, site: usize, node: usize, client: u64, reply: Reply) {
        if !reply.is_final() {
            return;
        }
        let Some(Asked { wish, at, .. }) = self.asked.remove(&client) else { return };
        let Some(wish) = wish else {
            if let Reply::Tickets { answer } = reply
                && let TicketReply::Done(Answer::Status(status)) = *answer
            {
                self.status = Some((at, status));
            }
            return;
        };
        self.say(|| format!("s{} n{} answers `{wish}`: {reply:?}", site + 1, node + 1));
        self.fulfilled_at = self.now;
        let Reply::Tickets { answer } = reply else { return self.reached.reach("request of the group refused") };
        match (wish, *answer) {
            (Wish::Grant(ticket, _), TicketReply::Done(Answer::Granted { generation, .. })) => {
                self.reached.reach("grant acknowledged");
                let invented = if self.mutation == Some(Mutation::GrantsInvented) { 1 << 30 } else { 0 };
                self.checker.acknowledged(&ticket, generation + invented);
            }
            (Wish::Move(..), TicketReply::Done(_)) => self.reached.reach("move acknowledged"),
            (_, TicketReply::Done(_)) => self.reached.reach("request of the group done"),
            _ => self.reached.reach("request of the group refused"),
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// Everything between the members is mended; each site mends its own at the same moment.
    fn heal(&mut self) {
        self.say(|| "everything is mended".into());
        self.healed_at = Some(self.now);
        self.cut.clear();
        self.unplugged.clear();
        self.unready.clear();
        self.weather = CALM;
        for index in 0..self.arbitrators.len() {
            self.arbitrator_on(self.sites.len() + index + 1);
        }
        self.queue.push(self.now + Duration::from_secs(3), Happening::Look);
    }

    fn look(&mut self) {
        let since = self.now.since(self.healed_at.unwrap_or(self.now));
        // Whoever asked a process that is gone is not answered.
        let sites = &self.sites;
        self.asked.retain(|_, asked| {
            let machine = &sites[asked.site].machines[asked.node];
            machine.process.is_some() && machine.run == asked.run
        });
        match self.settled() {
            Ok(()) => {
                self.finished = true;
                self.say(|| "the group has settled".into());
                self.reached.settled_after_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                if let Some((_, status)) = &self.status {
                    self.checker.ends(self.now, status);
                }
                return;
            }
            Err(why) if since > PATIENCE => return self.checker.breaks(Rule::Settles, self.now, why),
            Err(_) => {}
        }
        self.end_what_was_set_aside();
        if !self.asked.values().any(|asked| asked.wish.is_none()) {
            self.ask(0, 0, None);
        }
        self.queue.push(self.now + LOOK_EVERY, Happening::Look);
    }

    /// Sites take tickets again, and tickets are used again.
    fn end_what_was_set_aside(&mut self) {
        let Some((_, status)) = &self.status else { return };
        let disclaims = status.members.iter().filter(|member| member.disclaims);
        let aside = status.tickets.iter().filter(|ticket| ticket.standby);
        let wishes: Vec<Wish> = disclaims
            .map(|member| Wish::Disclaim(member.id.0 as usize, false))
            .chain(aside.map(|ticket| Wish::Standby(ticket.name.clone(), false)))
            .collect();
        for wish in wishes {
            if !self.asked.values().any(|asked| asked.wish.as_ref() == Some(&wish)) {
                self.ask(0, 0, Some(wish));
            }
        }
    }

    /// Why not all is well, if so.
    fn settled(&mut self) -> Result<(), String> {
        if let Some((site, world)) = self.sites.iter().enumerate().find(|(_, world)| !world.is_calm()) {
            return Err(format!("site {} has not settled: {}", site + 1, world.unsettled));
        }
        if let Some(asked) = self.asked.values().find(|asked| asked.wish.is_some()) {
            return Err(format!("{:?} was not answered", asked.wish));
        }
        let recent = |at: &Instant| self.now.since(*at) <= 3 * LOOK_EVERY && *at > self.fulfilled_at;
        let (_, status) = self.status.as_ref().filter(|(at, _)| recent(at)).ok_or("nobody says how the group is")?;
        if status.coordinator.is_none() || !status.begun {
            return Err("nobody coordinates the group".into());
        }
        for ticket in &status.tickets {
            let name = &ticket.name;
            let sites = self.checker.sites_of(name);
            if ticket.moving.is_some() {
                return Err(format!("ticket {name} is being moved"));
            }
            match (ticket.wanted, ticket.holder) {
                // That it runs there, where the configuration wants it, the site's own checker says.
                (true, Some(holder)) if sites.iter().all(|site| *site + 1 == holder.0 as usize) => {
                    if !self.sites[holder.0 as usize - 1].holds(name) {
                        return Err(format!("site {holder} does not know that it holds ticket {name}"));
                    }
                }
                (false, None) if sites.is_empty() => {}
                // Nobody can, for reasons of the configuration.
                (true, None) if sites.is_empty() && ticket.candidates.iter().all(|site| site.obstacle.is_some()) => {}
                _ => return Err(format!("ticket {name} runs at {sites:?}: {:?}", status.explain(name))),
            }
            if matches!(ticket.lease, LeaseStatus::Lost(_) | LeaseStatus::Unknown) {
                return Err(format!("the lease of ticket {name} is {:?}", ticket.lease));
            }
        }
        Ok(())
    }
}

//! From a seed to a history.

mod booth;

use super::script::{Act, Script};
use hakudo_base::Random;
use hakudo_tickets::{
    Comparison, Group, Handler, LagRule, MemberEntry, MemberId, MemberKind, Prerequisite, PrerequisiteWhen, Protocol,
    Request, TicketConfig, TicketMode,
};
use std::time::Duration;

/// The attribute that says whether a site's data may be used.
pub(super) const FRESH: &str = "fresh";

/// The history of a seed: one in five is that of a group that speaks booth's protocol.
pub fn script(seed: u64) -> Script {
    // Drawn apart, so that all else is as it would be without it.
    let protocol = if Random::new(seed ^ 0x0070_726f_746f).below(5) == 0 { Protocol::Booth } else { Protocol::Hakudo };
    script_of(seed, protocol)
}

/// The history of a seed in a group that speaks this protocol.
pub fn script_of(seed: u64, protocol: Protocol) -> Script {
    match protocol {
        Protocol::Hakudo => script_of_hakudo(seed),
        Protocol::Booth => booth::adapted(script_of_hakudo(seed)),
    }
}

fn script_of_hakudo(seed: u64) -> Script {
    let mut random = Random::new(seed);
    let group = group(&mut random);
    let heal_at = random.between(15_000, 120_000);
    let stop_ms = if random.percent(20) { 0 } else { random.between(1, 4000) };
    let mut acts = Vec::new();
    let sites: Vec<MemberId> = group.sites().map(|site| site.id).collect();
    for ticket in &group.tickets {
        let site = *random.choose(&sites).unwrap_or(&MemberId(1));
        let request = Request::Grant { ticket: ticket.name.clone(), site, force: false };
        acts.push((random.between(500, 6000), Act::Ask { at: site, request }));
    }
    let mut attribute = 0;
    for _ in 0..random.between(3, 36) {
        let at = random.between(1000, heal_at);
        trouble(&mut random, &group, at, heal_at, &mut attribute, &mut acts);
    }
    match random.below(6) {
        0 if group.members.len() > 2 && !acts.iter().any(|(_, act)| removes_a_member(act, &group)) => {
            replace(&mut random, &group, heal_at, &mut acts)
        }
        1 => take_over(&mut random, &group, heal_at, &mut acts),
        _ => {}
    }
    // Drawn last, so that the histories of older seeds go on as they were.
    if random.percent(20) {
        force(&mut random, &group, heal_at, &mut acts);
    }
    if random.percent(20) {
        maintain(&mut random, &group, heal_at, &mut acts);
    }
    acts.sort_by_key(|(at, _)| *at);
    Script { seed, protocol: Protocol::Hakudo, group, acts, heal_at, end: heal_at, stop_ms, settles: true }
}

fn group(random: &mut Random) -> Group {
    let sites = random.between(2, 3);
    let arbitrators = if sites == 2 { [1, 1, 1, 0, 2, 3][random.below(6) as usize] } else { random.below(3) };
    let member = |id: u64| MemberEntry {
        id: MemberId(id as u32),
        name: if id <= sites { format!("site{id}") } else { format!("arbitrator{id}") },
        kind: if id <= sites { MemberKind::Site } else { MemberKind::Arbitrator },
        addresses: vec![format!("10.0.0.{id}")],
        key: None,
    };
    let members = (1..=sites + arbitrators).map(member).collect();
    let tickets = (1..=random.between(1, 3)).map(|number| ticket(random, number, sites)).collect();
    Group { name: "simulated".to_owned(), version: 0, members, tickets, heartbeat: None }
}

fn ticket(random: &mut Random, number: u64, sites: u64) -> TicketConfig {
    let mut ticket = TicketConfig::new(&format!("ticket{number}"));
    ticket.expire = Duration::from_millis(*random.choose(&[1000, 2000, 5000, 10_000, 20_000]).unwrap_or(&5000));
    ticket.timeout = Duration::from_millis(random.between(300, 2000));
    ticket.retries = 3;
    if random.percent(20) {
        ticket.acquire_after = Duration::from_millis(random.between(1, 3000));
    }
    if random.percent(30) {
        ticket.stop_time = Some(Duration::from_millis(random.between(0, 3000)));
    }
    if random.percent(15) {
        ticket.mode = TicketMode::Manual;
    }
    if random.percent(20) {
        ticket.weights = (1..=sites).map(|id| (MemberId(id as u32), random.below(100) as i64 - 50)).collect();
    }
    if random.percent(15) {
        let program = Handler { path: "/bin/lag".to_owned(), arguments: Vec::new() };
        ticket.lag = Some(LagRule { at_most: Duration::from_secs(5), program });
    }
    if random.percent(10) {
        ticket.prerequisites = vec![Prerequisite {
            when: PrerequisiteWhen::Auto,
            attribute: FRESH.to_owned(),
            comparison: Comparison::Ne,
            value: "no".to_owned(),
        }];
    }
    if random.percent(25) {
        ticket.preferred = Some(MemberId(random.between(1, sites) as u32));
        ticket.fail_back = random.percent(50).then(|| Duration::from_millis(random.between(500, 20_000)));
    }
    ticket
}

fn trouble(random: &mut Random, group: &Group, at: u64, heal_at: u64, attribute: &mut u64, acts: &mut Vec<(u64, Act)>) {
    let members: Vec<MemberId> = group.members.iter().map(|member| member.id).collect();
    let sites: Vec<MemberId> = group.sites().map(|site| site.id).collect();
    let any = |random: &mut Random, of: &[MemberId]| *random.choose(of).unwrap_or(&MemberId(1));
    let longest = if random.percent(70) { 15_000 } else { 90_000 };
    let until = at + random.between(100, longest);
    let member = any(random, &members);
    let site = any(random, &sites);
    let ticket = random.choose(&group.tickets).map(|ticket| ticket.name.clone()).unwrap_or_default();
    match random.below(23) {
        0..=2 => isolate(random, &members, member, at, until, acts),
        3..=4 => {
            let other = any(random, &members);
            let both = random.percent(60);
            acts.push((at, Act::Cut { from: member, to: other }));
            acts.push((until, Act::Mend { from: member, to: other }));
            if both {
                acts.push((at, Act::Cut { from: other, to: member }));
                acts.push((until, Act::Mend { from: other, to: member }));
            }
        }
        5..=6 => {
            acts.push((at, Act::PowerLoss(member)));
            acts.push((until, Act::PowerBack(member)));
        }
        7..=8 => {
            let ghost_ms = if random.percent(60) { random.between(1, 40_000) } else { 0 };
            acts.push((at, Act::NewSpeaker { member, ghost_ms }));
        }
        9..=10 => acts.push((at, Act::Pause { member, ms: until - at })),
        11 => {
            let delay_ms = if random.percent(70) { random.between(1, 2000) } else { random.between(1, 120_000) };
            let (loss, doubled) = (random.below(40), random.below(30));
            acts.push((at, Act::Network { loss, doubled, delay_ms }));
            acts.push((until, Act::Network { loss: 0, doubled: 0, delay_ms: 20 }));
        }
        12 => {
            acts.push((at, Act::Able { site, ticket: ticket.clone(), able: false }));
            acts.push((until, Act::Able { site, ticket, able: true }));
        }
        13 => {
            acts.push((at, Act::Handler { site, fails: true }));
            acts.push((until, Act::Handler { site, fails: false }));
        }
        14 => {
            let only = random.percent(50).then_some(ticket);
            let request = |on| Request::Disclaim { site, ticket: only.clone(), on };
            acts.push((at, Act::Ask { at: site, request: request(true) }));
            acts.push((until.min(heal_at), Act::Ask { at: site, request: request(false) }));
        }
        15 => acts.push((
            at,
            Act::Ask { at: member, request: Request::Move { ticket, to: site, dry_run: random.percent(10) } },
        )),
        16 => {
            acts.push((at, Act::Ask { at: member, request: Request::Revoke { ticket: ticket.clone(), force: false } }));
            acts.push((
                until.min(heal_at),
                Act::Ask { at: member, request: Request::Grant { ticket, site, force: false } },
            ));
        }
        17 => {
            *attribute += 1;
            let (name, value) = (format!("a{attribute}"), Some(format!("v{attribute}")));
            acts.push((at, Act::Ask { at: member, request: Request::Attribute { ticket, site, name, value } }));
        }
        18 => {
            let mut group = group.clone();
            for ticket in &mut group.tickets {
                ticket.expire = Duration::from_millis(random.between(1000, 20_000));
                ticket.stop_time = ticket.stop_time.map(|_| Duration::from_millis(random.below(3000)));
            }
            acts.push((at, Act::Ask { at: member, request: Request::Configure { group: Box::new(group) } }));
        }
        19 => acts.push((at, Act::StoreHangs { member, ms: until - at })),
        20 => {
            for (at, value) in [(at, "no"), (until.min(heal_at), "yes")] {
                let (ticket, name, value) = (ticket.clone(), FRESH.to_owned(), Some(value.to_owned()));
                acts.push((at, Act::Ask { at: member, request: Request::Attribute { ticket, site, name, value } }));
            }
        }
        21 => {
            // Another arbitrator is taken out of the group, and comes back.
            let arbitrators = group.members.iter().filter(|member| member.kind == MemberKind::Arbitrator);
            let arbitrators: Vec<MemberId> = arbitrators.map(|member| member.id).collect();
            let Some(out) = random.choose(&arbitrators).copied() else { return };
            let mut less = group.clone();
            less.members.retain(|member| member.id != out);
            for (at, group) in [(at, less), (until.min(heal_at), group.clone())] {
                acts.push((at, Act::Ask { at: site, request: Request::Configure { group: Box::new(group) } }));
            }
        }
        _ => {
            acts.push((at, Act::Ask { at: site, request: Request::Observe { site, on: true } }));
            acts.push((until.min(heal_at), Act::Ask { at: site, request: Request::Observe { site, on: false } }));
        }
    }
}

/// Without one of its members, a group may need all of the others.
fn removes_a_member(act: &Act, group: &Group) -> bool {
    match act {
        Act::Ask { request: Request::Configure { group: new }, .. } => new.members.len() < group.members.len(),
        _ => false,
    }
}

/// A member's disk is lost, and what takes its place begins with nothing. Once in a history, and where no member is taken out: of
/// two such, the rest might be no majority any more, and only an administrator could go on.
fn replace(random: &mut Random, group: &Group, heal_at: u64, acts: &mut Vec<(u64, Act)>) {
    let Some(member) = random.choose(&group.members).map(|member| member.id) else { return };
    let at = random.between(1000, heal_at);
    acts.push((at, Act::Replaced(member)));
    acts.push((at + random.between(100, 20_000), Act::PowerBack(member)));
}

/// The administrator goes on with some members, and makes sure that the others are down.
fn take_over(random: &mut Random, group: &Group, heal_at: u64, acts: &mut Vec<(u64, Act)>) {
    let Some(at) = random.choose(&group.members).map(|member| member.id) else { return };
    let all = group.members.iter().map(|member| member.id);
    let members: Vec<MemberId> = all.filter(|member| *member == at || random.percent(20)).collect();
    let begun = random.between(8000, heal_at.max(9000));
    for other in group.members.iter().map(|member| member.id).filter(|other| !members.contains(other)) {
        acts.push((begun, Act::PowerLoss(other)));
        acts.push((begun + random.between(20_000, 60_000), Act::PowerBack(other)));
    }
    acts.push((begun + random.between(0, 15_000), Act::Ask { at, request: Request::TakeOver { members } }));
}

/// The administrator grants or revokes a ticket by force. He has made sure that nothing runs elsewhere: the other sites are without
/// power then, and get it back only after that.
fn force(random: &mut Random, group: &Group, heal_at: u64, acts: &mut Vec<(u64, Act)>) {
    let sites: Vec<MemberId> = group.sites().map(|site| site.id).collect();
    let Some(site) = random.choose(&sites).copied() else { return };
    let ticket = random.choose(&group.tickets).map(|ticket| ticket.name.clone()).unwrap_or_default();
    let at = random.between(8000, heal_at.max(9000));
    let request = if random.percent(60) {
        Request::Grant { ticket, site, force: true }
    } else {
        Request::Revoke { ticket, force: true }
    };
    acts.push((at, Act::Ask { at: site, request }));
    let others = sites.into_iter().filter(|other| *other != site);
    acts.extend(others.map(|other| (at + random.between(1000, 60_000), Act::PowerBack(other))));
}

/// A site says that it takes no tickets, is switched off, and comes back.
fn maintain(random: &mut Random, group: &Group, heal_at: u64, acts: &mut Vec<(u64, Act)>) {
    let sites: Vec<MemberId> = group.sites().map(|site| site.id).collect();
    let Some(site) = random.choose(&sites).copied() else { return };
    let begun = random.between(5000, heal_at);
    let (off, back) = (begun + random.between(500, 8000), begun + random.between(10_000, 60_000));
    let disclaim = |on| Act::Ask { at: site, request: Request::Disclaim { site, ticket: None, on } };
    acts.extend([(begun, disclaim(true)), (off, Act::PowerLoss(site)), (back, Act::PowerBack(site))]);
    acts.push((back + random.between(1000, 10_000), disclaim(false)));
}

/// Cuts a member from all others, or lets it speak and not hear, or hear and not speak.
fn isolate(
    random: &mut Random,
    members: &[MemberId],
    member: MemberId,
    at: u64,
    until: u64,
    acts: &mut Vec<(u64, Act)>,
) {
    let how = random.below(4);
    for other in members.iter().copied().filter(|other| *other != member) {
        for (from, to, which) in [(member, other, 1), (other, member, 2)] {
            if how != which {
                acts.push((at, Act::Cut { from, to }));
                acts.push((until, Act::Mend { from, to }));
            }
        }
    }
}

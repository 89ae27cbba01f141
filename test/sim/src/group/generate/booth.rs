//! What is different in the history of a group that speaks booth's protocol.

use super::super::script::{Act, Script};
use hakudo_base::Random;
use hakudo_tickets::{Handler, MemberId, Protocol, Request, TicketConfig, TicketMode};
use std::time::Duration;

/// The same history in a booth group. Other requests that booth has no word for stay: they are refused, and nothing may
/// come of them.
pub(super) fn adapted(mut script: Script) -> Script {
    let mut random = Random::new(script.seed ^ 0x626f_6f74_6866);
    let whole_seconds = random.percent(40);
    let stop = Duration::from_millis(script.stop_ms);
    for ticket in &mut script.group.tickets {
        adapt_ticket(&mut random, ticket, whole_seconds, stop);
    }
    let sites: Vec<MemberId> = script.group.sites().map(|site| site.id).collect();
    let manual = |name: &str| script.group.ticket(name).is_some_and(|ticket| ticket.mode == TicketMode::Manual);
    let mut acts = Vec::new();
    for (at, act) in script.acts {
        let Act::Ask { at: asked, request } = act else {
            acts.push((at, act));
            continue;
        };
        match &request {
            // Who is granted a manual ticket by force is one of two holders as soon as the other one is back: booth warns of it,
            // and leaves it to people to revoke one of them.
            Request::Grant { ticket, force: true, .. } if manual(ticket) => {}
            // booth asks the site that is meant.
            Request::Grant { site, .. } | Request::Attribute { site, .. } if random.percent(90) => {
                acts.push((at, Act::Ask { at: *site, request }));
            }
            // booth is told who holds the ticket, and asks there.
            Request::Revoke { force: false, .. } => {
                acts.extend(sites.iter().map(|site| (at, Act::Ask { at: *site, request: request.clone() })));
            }
            // A ticket is moved in two steps.
            Request::Move { ticket, to, dry_run: false } => {
                let (ticket, site) = (ticket.clone(), *to);
                let revoke = Request::Revoke { ticket: ticket.clone(), force: false };
                acts.extend(sites.iter().map(|site| (at, Act::Ask { at: *site, request: revoke.clone() })));
                let grant = Request::Grant { ticket, site, force: false };
                acts.push((at + random.between(0, 10_000), Act::Ask { at: site, request: grant }));
            }
            _ => acts.push((at, Act::Ask { at: asked, request })),
        }
    }
    if random.percent(40)
        && let Some(site) = random.choose(&sites).copied()
    {
        stop_otherwise(&mut random, site, script.heal_at, &mut acts);
    }
    acts.sort_by_key(|(at, _)| *at);
    script.acts = acts;
    script.protocol = Protocol::Booth;
    script
}

/// A site says now and then that it needs another time to stop. Some do not fit the lease: then the site takes no ticket, and goes
/// on with what it holds by the bound before.
fn stop_otherwise(random: &mut Random, site: MemberId, heal_at: u64, acts: &mut Vec<(u64, Act)>) {
    for _ in 0..random.between(1, 4) {
        acts.push((random.between(1000, heal_at), Act::StopTakes { site, ms: random.below(8000) }));
    }
}

/// Times that fit each other, as booth asks for: all tries within the time between two renewals, and what stopping takes beyond
/// `acquire-after` leaves enough of the lease.
fn adapt_ticket(random: &mut Random, ticket: &mut TicketConfig, whole_seconds: bool, stop: Duration) {
    if whole_seconds {
        ticket.expire = ticket.expire.max(Duration::from_secs(10));
        ticket.timeout = Duration::from_secs(1);
        ticket.renewal_freq = None;
    } else {
        ticket.expire = ticket.expire.max(Duration::from_secs(2));
        let renewal = ticket.expire / if random.percent(70) { 2 } else { 3 };
        ticket.timeout = Duration::from_millis(random.between(100, 150.max(renewal.as_millis() as u64 * 24 / 100)));
        ticket.renewal_freq = Some(Duration::from_millis(renewal.as_millis() as u64));
    }
    let beyond = stop.saturating_sub(ticket.expire * 2 / 5);
    let enough = beyond + stop.saturating_sub(beyond) * random.below(100) as u32 / 100;
    if !beyond.is_zero() {
        ticket.acquire_after = ticket.acquire_after.max(enough);
    }
    let milliseconds = ticket.acquire_after.as_millis() as u64;
    ticket.acquire_after =
        Duration::from_millis(if whole_seconds { milliseconds.next_multiple_of(1000) } else { milliseconds });
    let handler = Handler { path: "/bin/check".to_owned(), arguments: Vec::new() };
    ticket.handler = random.percent(50).then_some(handler);
    (ticket.stop_time, ticket.lag, ticket.preferred, ticket.fail_back) = (None, None, None, None);
}

//! Groups that speak booth's protocol.

use super::super::Rule;
use super::*;

/// The same story in a booth group.
fn booth(script: Script) -> Script {
    Script { protocol: Protocol::Booth, ..script }
}

#[test]
fn seeds_break_no_rule_in_groups_of_booth() {
    let total = run_seeds(0, 1, None, Some(Protocol::Booth), |number| number >= 300);
    assert!(total.violations.is_empty(), "{:?}", total.violations.first());
    // Histories in which nothing happened would break no rule either.
    assert!(total.reached.get("services began").is_some_and(|count| *count > 1000), "{:?}", total.reached);
    assert!(total.reached.get("request done").is_some_and(|count| *count > 500), "{:?}", total.reached);
}

#[test]
fn one_seed_in_five_is_of_a_group_of_booth() {
    let booths = (0..1000).filter(|seed| generate::script(*seed).protocol == Protocol::Booth).count();
    assert!((150..250).contains(&booths), "{booths}");
}

#[test]
fn the_same_seed_gives_the_same_history_in_a_group_of_booth() {
    for seed in 0..5 {
        let script = generate::script_of(seed, Protocol::Booth);
        let (one, two) = (run_traced(&script, None), run_traced(&script, None));
        assert_eq!(one.trace, two.trace);
    }
}

/// Of the others, some do nothing to booth's messages and requests. Where nobody looked before an order by force, and where ghosts
/// promise, it takes more than a few hundred histories to see it: the wait that is left out is short, and a ghost's promise matters
/// only where the next speaker gives another one.
#[test]
fn mutations_are_caught_in_groups_of_booth() {
    let mutations = [
        Mutation::OldCopyRestored,
        Mutation::AckForgotten,
        Mutation::StopTimeDenied,
        Mutation::LeaseFromAnswer,
        Mutation::DriftIgnored,
        Mutation::StoreLies,
        Mutation::ClusterDoesNotEnforce,
        Mutation::GuardSleeps,
        Mutation::StopLies,
        Mutation::AcknowledgedAtOnce,
        Mutation::OffersIgnored,
        Mutation::RepliesDropped,
        Mutation::ForgedAccepted,
    ];
    for mutation in mutations {
        let caught = (0..1000).any(|seed| {
            let violation = run(&generate::script_of(seed, Protocol::Booth), Some(mutation)).violation;
            violation.is_some_and(|violation| mutation.breaks().contains(&violation.rule))
        });
        assert!(caught, "{mutation:?}");
    }
}

#[test]
fn a_moment_without_link_moves_nothing_in_a_group_of_booth() {
    let script = booth(story(true, |_| {}, 60, cut(20, 23, &[(A, B), (A, W)])));
    let outcome = same(&script, &[(19, &[1]), (25, &[1]), (35, &[1]), (59, &[1])]);
    assert_eq!(outcome.services.len(), 1);
}

#[test]
fn a_long_loss_of_link_moves_the_ticket_in_a_group_of_booth_and_it_stays() {
    let script = booth(story(true, |_| {}, 100, cut(20, 60, &[(A, B), (A, W)])));
    same(&script, &[(19, &[1]), (38, &[2]), (99, &[2])]);
}

#[test]
fn a_hung_speaker_loses_the_ticket_in_a_group_of_booth_and_its_cluster_stops_by_itself() {
    let acts = vec![(20, Act::Pause { member: A, ms: 60_000 })];
    let outcome = same(&booth(story(true, |_| {}, 120, acts)), &[(19, &[1]), (40, &[2]), (119, &[2])]);
    assert!(outcome.margin.is_some());
}

#[test]
fn another_speaker_goes_on_in_a_group_of_booth() {
    let again = |second, member, ghost_ms| (second, Act::NewSpeaker { member, ghost_ms });
    let acts = vec![again(20, A, 8000), again(30, W, 0), again(40, B, 5000), again(50, A, 0)];
    let outcome = same(&booth(story(true, |_| {}, 90, acts)), &[(19, &[1]), (45, &[1]), (89, &[1])]);
    assert_eq!(outcome.services.len(), 1);
}

#[test]
fn a_grant_elsewhere_after_a_revoke_waits_for_the_stop_in_a_group_of_booth() {
    let revoke = ask(A, Request::Revoke { ticket: "t".to_owned(), force: false });
    let mut script =
        booth(story(true, |_| {}, 60, vec![(20, revoke), (21, grant_at(B, B, false)), (26, grant_at(B, B, false))]));
    script.stop_ms = 4000;
    for seed in 1..=5 {
        same(&Script { seed, ..script.clone() }, &[(19, &[1]), (30, &[2]), (59, &[2])]);
    }
}

#[test]
fn a_site_that_cannot_go_on_is_followed_at_once_in_a_group_of_booth() {
    let acts = vec![(20, Act::Able { site: A, ticket: "t".to_owned(), able: false })];
    same(&booth(story(true, |_| {}, 60, acts)), &[(19, &[1]), (24, &[2]), (59, &[2])]);
}

#[test]
fn an_arbitrator_of_booth_that_is_restarted_remembers_its_promise() {
    let mut acts = cut(20, 60, &[(A, B)]);
    acts.push((22, Act::NewSpeaker { member: W, ghost_ms: 0 }));
    acts.push((23, Act::PowerLoss(W)));
    acts.push((24, Act::PowerBack(W)));
    acts.sort_by_key(|(at, _)| *at);
    same(&booth(story(true, |_| {}, 100, acts)), &[(19, &[1]), (40, &[1]), (99, &[1])]);
}

#[test]
fn an_arbitrator_of_booth_that_has_forgotten_all_helps_nobody_for_a_lease() {
    let mut acts = cut(20, 60, &[(A, B), (A, W)]);
    acts.extend([(21, Act::Replaced(W)), (22, Act::PowerBack(W))]);
    acts.sort_by_key(|(at, _)| *at);
    same(&booth(story(true, |_| {}, 100, acts)), &[(19, &[1]), (31, &[]), (40, &[2]), (99, &[2])]);
}

#[test]
fn a_loss_of_power_everywhere_brings_the_ticket_of_a_booth_group_back() {
    let all = [A, B, W];
    let mut acts: Vec<(u64, Act)> = all.iter().map(|member| (20, Act::PowerLoss(*member))).collect();
    acts.extend(all.iter().map(|member| (30, Act::PowerBack(*member))));
    same(&booth(story(true, |_| {}, 90, acts)), &[(19, &[1]), (25, &[]), (60, &[1]), (89, &[1])]);
}

#[test]
fn what_is_broken_first_is_told_of_a_group_of_booth_too() {
    let script = booth(story(true, |_| {}, 100, cut(20, 60, &[(A, B), (A, W)])));
    let outcome = run(&script, Some(Mutation::ClusterDoesNotEnforce));
    // The speaker alone ends it here, as it runs.
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
    let hung = booth(story(true, |_| {}, 100, vec![(20, Act::Pause { member: A, ms: 60_000 })]));
    let outcome = run(&hung, Some(Mutation::GuardSleeps));
    assert_eq!(outcome.violation.map(|violation| violation.rule), Some(Rule::OneHolder));
}

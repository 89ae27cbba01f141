//! Scripts of what a node says and what ends, and what the guard then wants.

use super::*;
use expect_test::{Expect, expect};
use hakudo_base::agent::{AgentName, ExecutionStatus};
use std::fmt::Write;

fn call(number: u64, operation: &str, resource: &str) -> AgentCall {
    AgentCall {
        call: number,
        epoch: 1,
        resource: resource.into(),
        agent: AgentName { class: "ocf".into(), provider: None, kind: "Test".into() },
        operation: operation.into(),
        interval_ms: 0,
        timeout_ms: 1000,
        start_delay_ms: 0,
        parameters: BTreeMap::new(),
    }
}

/// `stop web`, `stop db<0` (after the first step), …
fn step(text: &str) -> Step {
    let (what, after) = text.split_once('<').unwrap_or((text, ""));
    let (operation, resource) = what.split_once(' ').unwrap();
    let after = after.split_terminator(',').map(|place| place.parse().unwrap()).collect();
    Step { call: call(0, operation, resource), note: vec![], after }
}

fn result(number: u64, exit_code: i32) -> AgentResult {
    AgentResult::new(number, ExecutionStatus::Done, exit_code)
}

fn guard(ticket: &str, until: u64, steps: &str) -> Guard {
    Guard {
        ticket: ticket.into(),
        until: Instant::from_millis(until),
        stop_time: Duration::from_secs(5),
        reset: false,
        first_call: 1000,
        steps: steps.split_terminator("; ").map(step).collect(),
    }
}

/// Plays a script, one line an input, with the moment in milliseconds before it: `arm TICKET UNTIL STEPS`,
/// `fence TICKET UNTIL STEPS`, `extend TICKET UNTIL`, `disarm TICKET`, `only TICKET…`, `end CALL CODE`, `timer`,
/// `may CALL OPERATION RESOURCE`, `feed TIMEOUT`, `slow TIMEOUT`. Prints what the guard asks for.
fn check(may_reset: bool, script: &str, expect: Expect) {
    let mut guards = Guards::new(may_reset);
    let mut out = String::new();
    for line in script.lines().map(str::trim) {
        let mut parts = line.splitn(5, ' ');
        let mut word = || parts.next().unwrap_or_default();
        let (now, what) = (Instant::from_millis(word().parse().unwrap()), word());
        let mut effects = Vec::new();
        match what {
            "arm" | "fence" => {
                let (ticket, until, steps) = (word(), word().parse().unwrap(), word());
                let guard = Guard { reset: what == "fence", ..guard(ticket, until, steps) };
                guards.order(now, Order::Arm(Box::new(guard)), &mut effects);
            }
            "extend" => {
                let (ticket, until) = (word().into(), Instant::from_millis(word().parse().unwrap()));
                guards.order(now, Order::Extend { ticket, until, first_call: 2000 }, &mut effects);
            }
            "disarm" => guards.order(now, Order::Disarm { ticket: word().into() }, &mut effects),
            "only" => {
                let tickets = [word(), word()].into_iter().map(str::to_owned).collect();
                guards.order(now, Order::Only { tickets }, &mut effects);
            }
            "end" => {
                let (number, code) = (word().parse().unwrap(), word().parse().unwrap());
                guards.ended(now, &result(number, code), &mut effects);
            }
            "timer" => guards.timer(now, &mut effects),
            "may" => {
                let (number, operation, resource) = (word().parse().unwrap(), word(), word());
                let said = guards.refuses(now, &call(number, operation, resource)).unwrap_or_else(|| "yes".into());
                writeln!(out, "{now}: {operation} {resource}? {said}").unwrap();
            }
            "feed" => {
                let until = guards.feed_until(Duration::from_millis(word().parse().unwrap()));
                let until = until.map_or("always".into(), |until| format!("until {until}"));
                writeln!(out, "{now}: feed {until}").unwrap();
            }
            "slow" => {
                let timeout = Duration::from_millis(word().parse().unwrap());
                writeln!(out, "{now}: too slow for {:?}", guards.not_covered(timeout).collect::<Vec<_>>()).unwrap();
            }
            other => panic!("{other}"),
        }
        for effect in effects {
            match effect {
                Effect::Over { ticket, resources } => {
                    let resources: Vec<String> = resources.into_iter().collect();
                    writeln!(out, "{now}: {ticket} is over: {}", resources.join(", "))
                }
                Effect::Run { call, .. } => {
                    writeln!(out, "{now}: run {} {} {}", call.call, call.operation, call.resource)
                }
                Effect::Acted => writeln!(out, "{now}: acted"),
                Effect::Reset { reason } => writeln!(out, "{now}: RESET: {reason}"),
            }
            .unwrap();
        }
    }
    write!(out, "next: {:?}", guards.deadline().map(Instant::as_millis)).unwrap();
    expect.assert_eq(&out);
}

#[test]
fn the_end_of_a_lease_stops_what_needs_it_in_order() {
    check(
        false,
        "0 arm T 4000 stop server; stop address<0; demote other
         3999 timer
         4000 timer
         4100 end 1001 0
         4200 end 1000 0
         4300 end 1002 7",
        expect![[r#"
            4.000000: T is over: address, other, server
            4.000000: run 1000 stop server
            4.000000: run 1001 demote other
            4.200000: run 1002 stop address
            4.300000: acted
            next: None"#]],
    );
}

#[test]
fn a_renewal_moves_the_end() {
    check(
        false,
        "0 arm T 4000 stop web
         3000 extend T 7000
         4000 timer
         6999 timer
         7000 timer",
        expect![[r#"
            7.000000: T is over: web
            7.000000: run 2000 stop web
            next: None"#]],
    );
}

#[test]
fn what_is_not_needed_any_more_is_left_alone() {
    check(
        true,
        "0 arm T 4000 stop web
         0 arm U 4000 stop db
         1000 disarm T
         2000 arm T 5000 stop web
         2500 only U
         3000 extend T 9000
         4000 timer",
        expect![[r#"
            4.000000: U is over: db
            4.000000: run 1000 stop db
            next: Some(9000)"#]],
    );
}

#[test]
fn a_failed_stop_keeps_back_no_other_and_resets_the_machine_in_time() {
    check(
        true,
        "0 arm T 4000 stop server; stop address<0
         4000 timer
         4100 end 1000 1
         4200 end 1001 0
         8999 timer
         9000 timer
         9999 timer",
        expect![[r#"
            4.000000: T is over: address, server
            4.000000: run 1000 stop server
            4.100000: run 1001 stop address
            4.200000: acted
            9.000000: RESET: the lease of ticket T is over, and server did not stop in time
            next: None"#]],
    );
}

#[test]
fn a_machine_that_may_not_be_reset_goes_on() {
    check(
        false,
        "0 fence T 4000 stop web
         4000 timer
         9000 timer",
        expect![[r#"
            4.000000: T is over: web
            4.000000: run 1000 stop web
            next: None"#]],
    );
}

#[test]
fn fencing_waits_for_no_stop() {
    check(
        true,
        "0 fence T 4000 stop web
         0 fence U 4000 
         4000 timer
         9000 timer",
        expect![[r#"
            4.000000: T is over: web
            4.000000: RESET: the lease of ticket T is over
            4.000000: run 1000 stop web
            4.000000: U is over: 
            next: None"#]],
    );
}

#[test]
fn nothing_starts_after_the_end() {
    check(
        false,
        "0 arm T 4000 stop web; demote db
         3999 may 5 start web
         4000 may 5 start web
         4000 timer
         4000 may 5 migrate_from web
         4000 may 5 stop web
         4000 may 5 monitor web
         4000 may 5 start other
         4000 may 9999 start db
         4000 may 9999 promote db
         4000 end 1000 0
         4000 end 1001 0
         5000 extend T 4500
         5000 extend T 3000
         5000 may 9999 start web
         5000 extend T 8000
         5000 may 9999 start web
         5000 may 999 start web
         5000 disarm T
         5000 may 999 start web",
        expect![[r#"
            3.999000: start web? yes
            4.000000: start web? refused: the lease of ticket T is over
            4.000000: T is over: db, web
            4.000000: run 1000 stop web
            4.000000: run 1001 demote db
            4.000000: migrate_from web? refused: it was asked for before a lease ended, for which web was stopped
            4.000000: stop web? yes
            4.000000: monitor web? yes
            4.000000: start other? yes
            4.000000: start db? yes
            4.000000: promote db? refused: the lease of ticket T is over
            4.000000: acted
            5.000000: start web? refused: the lease of ticket T is over
            5.000000: start web? yes
            5.000000: start web? refused: it was asked for before a lease ended, for which web was stopped
            5.000000: start web? refused: it was asked for before a lease ended, for which web was stopped
            next: None"#]],
    );
}

#[test]
fn what_is_said_after_the_end_is_stopped_too() {
    check(
        false,
        "0 arm T 4000 stop web
         4000 timer
         4100 arm T 4050 stop db; stop web
         4200 end 1000 0
         4300 end 1001 0
         4400 end 1002 0
         4500 arm T 4400 stop db; stop web
         4600 arm T 8000 stop web
         8000 timer",
        expect![[r#"
            4.000000: T is over: web
            4.000000: run 1000 stop web
            4.100000: T is over: db, web
            4.100000: run 1001 stop db
            4.100000: run 1002 stop web
            4.400000: acted
            8.000000: T is over: web
            8.000000: run 1003 stop web
            next: None"#]],
    );
}

#[test]
fn a_watchdog_is_fed_until_its_time_would_end_too_late() {
    check(
        true,
        "0 feed 3000
         0 arm T 4000 stop web
         0 feed 3000
         0 feed 9001
         0 slow 9000
         0 slow 9001
         4000 timer
         4500 end 1000 0
         4500 feed 3000",
        expect![[r#"
            0.000000: feed always
            0.000000: feed until 6.000000
            0.000000: feed always
            0.000000: too slow for []
            0.000000: too slow for ["T"]
            4.000000: T is over: web
            4.000000: run 1000 stop web
            4.500000: acted
            4.500000: feed always
            next: None"#]],
    );
}

mod properties {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    enum Act {
        Arm(u64, u8),
        Extend(u64),
        End(u64, bool),
        Wait(u64),
        Start(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0u64..6000, 1u8..4).prop_map(|(lease, steps)| Act::Arm(lease, steps)),
            (0u64..6000).prop_map(Act::Extend),
            (1000u64..1040, any::<bool>()).prop_map(|(call, well)| Act::End(call, well)),
            (1u64..3000).prop_map(Act::Wait),
            (0u64..2000).prop_map(Act::Start),
        ]
    }

    proptest! {
        /// Whatever is said and ends when: from the end of the newest lease on that was given in time, a stop runs or has run
        /// of what waits for nothing, none may start, and once what runs has ended every resource under guard was stopped.
        #[test]
        fn nothing_runs_beyond_the_end(acts in proptest::collection::vec(act(), 1..60)) {
            let mut guards = Guards::new(false);
            let (mut now, mut end, mut steps) = (0, None, 0);
            let mut asked: BTreeSet<String> = BTreeSet::new();
            let mut running: BTreeSet<u64> = BTreeSet::new();
            for act in acts {
                let mut effects = Vec::new();
                let at = Instant::from_millis(now);
                match act {
                    Act::Arm(lease, count) => {
                        let names = ["stop a", "stop b<0", "stop c<0,1"];
                        let text = names[..usize::from(count)].join("; ");
                        let until = now + lease;
                        guards.order(at, Order::Arm(Box::new(guard("T", until, &text))), &mut effects);
                        end = Some(match end { Some(end) if end <= now && lease == 0 => end, _ => until });
                        steps = count;
                    }
                    Act::Extend(lease) if end.is_some() => {
                        let until = Instant::from_millis(now + lease);
                        let order = Order::Extend { ticket: "T".into(), until, first_call: 1000 };
                        guards.order(at, order, &mut effects);
                        end = Some(match end { Some(end) if end <= now && lease == 0 => end, _ => now + lease });
                    }
                    Act::Extend(_) => {}
                    Act::End(call, well) => {
                        running.remove(&call);
                        guards.ended(at, &result(call, i32::from(!well)), &mut effects);
                    }
                    Act::Wait(time) => now += time,
                    Act::Start(number) => {
                        let refused = guards.refuses(at, &call(number, "start", "a")).is_some();
                        prop_assert!(refused || end.is_none_or(|end| end > now));
                    }
                }
                guards.timer(Instant::from_millis(now), &mut effects);
                for effect in effects {
                    if let Effect::Run { call, .. } = effect {
                        running.insert(call.call);
                        asked.insert(call.resource);
                    }
                }
                if end.is_some_and(|end| end <= now) {
                    prop_assert!(asked.contains("a"), "the first step waits for nothing");
                    prop_assert!(guards.deadline().is_none());
                } else {
                    asked.clear();
                    prop_assert_eq!(guards.deadline().map(Instant::as_millis), end);
                }
            }
            prop_assert_eq!(guards.is_armed(), steps > 0);
            while let Some(call) = running.pop_first() {
                let mut effects = Vec::new();
                guards.ended(Instant::from_millis(now), &result(call, 0), &mut effects);
                for effect in effects {
                    if let Effect::Run { call, .. } = effect {
                        running.insert(call.call);
                        asked.insert(call.resource);
                    }
                }
            }
            if end.is_some_and(|end| end <= now) {
                prop_assert!(["a", "b", "c"].into_iter().take(usize::from(steps)).all(|resource| asked.contains(resource)));
            }
        }
    }
}

#[test]
fn nodes_give_no_number_that_the_guard_gives() {
    let mut guards = Guards::new(false);
    assert_eq!(guards.first_call(), 0, "it gave none");
    let mut effects = Vec::new();
    let armed = guard("T", 100, "stop web; stop db<0");
    guards.order(Instant::from_millis(0), Order::Arm(Box::new(armed)), &mut effects);
    guards.timer(Instant::from_millis(100), &mut effects);
    let first = guards.first_call();
    guards.ended(Instant::from_millis(200), &result(1000, 0), &mut effects);
    let given = effects.iter().filter_map(|effect| match effect {
        Effect::Run { call, .. } => Some(call.call),
        _ => None,
    });
    assert_eq!(given.collect::<Vec<_>>(), [1000, 1001]);
    assert!(first > 1001, "{first}");
    assert_eq!(guards.refuses(Instant::from_millis(0), &call(first, "monitor", "web")), None);
}

//! Scripts of what is asked and what ends, and what the machine then wants.

use super::*;
use expect_test::{Expect, expect};
use hakudo_base::agent::AgentName;
use std::fmt::Write;

/// Plays a script, one line an input: `MS run N RESOURCE OPERATION [every MS] [after MS] [epoch N] [fence]`,
/// `MS insist N RESOURCE OPERATION`, `MS way RESOURCE`, `MS end N CODE`, `MS cancel N`, `MS forget RESOURCE`, `MS timer`, `MS known`. Prints what the machine asks for.
fn check(limit: usize, script: &str, expect: Expect) {
    let mut operations = Operations::new(limit);
    let mut output = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = Instant::from_millis(words[0].parse().unwrap());
        let number = || words[2].parse::<u64>().unwrap();
        let option = |name| words.iter().position(|word| *word == name).map(|at| words[at + 1].parse::<u64>().unwrap());
        let input = match words[1] {
            "run" | "insist" => {
                let call = AgentCall {
                    call: number(),
                    epoch: option("epoch").unwrap_or(1),
                    resource: words[3].into(),
                    agent: AgentName {
                        class: if words.contains(&"fence") { "stonith" } else { "ocf" }.into(),
                        provider: None,
                        kind: "Test".into(),
                    },
                    operation: words[4].into(),
                    interval_ms: option("every").unwrap_or(0),
                    timeout_ms: 1000,
                    start_delay_ms: option("after").unwrap_or(0),
                    parameters: BTreeMap::new(),
                };
                match words[1] {
                    "run" => Input::Execute { call, note: vec![] },
                    _ => Input::Insist { call, note: vec![] },
                }
            }
            "end" => {
                let mut result = operations.not_run(number(), ExecutionStatus::Done, String::new());
                result.exit_code = words[3].parse().unwrap();
                Input::Ended { result }
            }
            "cancel" => Input::Cancel { call: number(), epoch: option("epoch").unwrap_or(1) },
            "forget" => Input::Forget { resource: words[2].into() },
            "way" => Input::MakeWay { resource: words[2].into() },
            "timer" => Input::Timer,
            "known" => {
                write!(output, "{now}: known:").unwrap();
                for known in operations.known() {
                    let result = known.result.map_or("-".into(), |result| result.exit_code.to_string());
                    write!(output, " {}={result}", known.call.call).unwrap();
                }
                output.push('\n');
                continue;
            }
            other => panic!("{other}"),
        };
        let mut effects = Vec::new();
        operations.handle(now, 0, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Run { call, active } => {
                    let active = if active { " (active)" } else { "" };
                    writeln!(output, "{now}: run {} {} {}{active}", call.call, call.resource, call.operation)
                }
                Effect::Terminate { call } => writeln!(output, "{now}: terminate {call}"),
                Effect::Report(result) => writeln!(
                    output,
                    "{now}: report {} {:?} {} {}",
                    result.call, result.status, result.exit_code, result.exit_reason
                ),
            }
            .unwrap();
        }
    }
    write!(
        output,
        "next: {:?}, places taken: {}",
        operations.deadline().map(Instant::as_millis),
        operations.places_taken
    )
    .unwrap();
    expect.assert_eq(&output);
}

#[test]
fn operations_of_a_resource_wait_for_each_other() {
    check(
        4,
        "0 run 1 a start
         0 run 2 a reload
         0 run 3 b start
         5 end 1 0
         6 end 2 7
         6 known",
        expect![[r#"
            0.000000: run 1 a start
            0.000000: run 3 b start
            0.005000: report 1 Done 0 
            0.005000: run 2 a reload (active)
            0.006000: report 2 Done 7 
            0.006000: known: 1=0 2=7 3=-
            next: None, places taken: 1"#]],
    );
}

#[test]
fn resources_take_turns_for_the_places() {
    check(
        1,
        "0 run 1 a start
         0 run 2 a reload
         0 run 3 b start
         5 end 1 0
         6 end 3 0
         7 end 2 0",
        expect![[r#"
            0.000000: run 1 a start
            0.005000: report 1 Done 0 
            0.005000: run 3 b start
            0.006000: report 3 Done 0 
            0.006000: run 2 a reload (active)
            0.007000: report 2 Done 0 
            next: None, places taken: 0"#]],
    );
}

#[test]
fn looks_and_what_takes_away_need_no_place() {
    check(
        1,
        "0 run 1 a start
         0 run 2 b start
         1 run 3 c monitor
         2 run 4 d monitor every 1000
         3 run 5 e stop
         4 run 6 f demote
         5 run 7 e start
         6 end 5 0
         7 end 1 0
         8 end 2 0",
        expect![[r#"
            0.000000: run 1 a start
            0.001000: run 3 c monitor
            0.002000: run 4 d monitor
            0.003000: run 5 e stop
            0.004000: run 6 f demote
            0.006000: report 5 Done 0 
            0.007000: report 1 Done 0 
            0.007000: run 2 b start
            0.008000: report 2 Done 0 
            0.008000: run 7 e start
            next: None, places taken: 1"#]],
    );
}

#[test]
fn nothing_waits_for_ever_for_a_place() {
    check(
        1,
        "0 run 1 a start
         1 run 2 b start
         9000 run 3 c start
         15000 timer
         15001 timer
         20000 end 2 0
         23999 timer
         24000 timer
         30000 end 1 0
         30000 end 3 0",
        expect![[r#"
            0.000000: run 1 a start
            15.001000: run 2 b start
            20.000000: report 2 Done 0 
            24.000000: run 3 c start
            30.000000: report 1 Done 0 
            30.000000: report 3 Done 0 
            next: None, places taken: 0"#]],
    );
    check(
        1,
        "0 run 1 a start\n 1 run 2 b start",
        expect![[r#"
        0.000000: run 1 a start
        next: Some(15001), places taken: 1"#]],
    );
    // What it waited for is not needed any more.
    check(
        1,
        "0 run 1 a start\n 1 run 2 b start\n 2 run 3 b monitor\n 3 cancel 2",
        expect![[r#"
        0.000000: run 1 a start
        0.003000: report 2 Cancelled 193 
        0.003000: run 3 b monitor
        next: None, places taken: 1"#]],
    );
}

#[test]
fn a_recurring_operation_reports_its_first_outcome_and_then_changes() {
    check(
        4,
        "0 run 1 a monitor every 1000
         10 end 1 0
         1009 timer
         1010 timer
         1020 end 1 0
         2020 timer
         2030 end 1 7
         2030 known
         3030 timer
         3040 end 1 7
         4040 timer
         4050 end 1 0",
        expect![[r#"
            0.000000: run 1 a monitor
            0.010000: report 1 Done 0 
            1.010000: run 1 a monitor
            2.020000: run 1 a monitor
            2.030000: report 1 Done 7 
            2.030000: known: 1=7
            3.030000: run 1 a monitor
            4.040000: run 1 a monitor
            4.050000: report 1 Done 0 
            next: Some(5050), places taken: 0"#]],
    );
}

#[test]
fn a_change_of_the_resource_ends_what_recurs() {
    check(
        4,
        "0 run 1 a monitor every 1000
         0 run 2 a monitor every 3000
         0 run 3 b monitor every 1000
         1 run 4 a notify
         2 run 5 a stop
         3 end 1 0
         4 end 4 0
         4 known",
        expect![[r#"
            0.000000: run 1 a monitor
            0.000000: run 3 b monitor
            0.002000: terminate 1
            0.002000: report 2 Cancelled 193 
            0.003000: report 1 Cancelled 0 
            0.003000: run 4 a notify
            0.004000: report 4 Done 0 
            0.004000: run 5 a stop
            0.004000: known: 3=- 4=0 5=-
            next: None, places taken: 0"#]],
    );
}

#[test]
fn a_recurring_operation_asked_for_again_replaces_the_old_one() {
    check(
        4,
        "0 run 1 a monitor every 1000
         10 end 1 0
         20 run 2 a monitor every 1000
         30 end 2 0
         30 known
         1010 timer",
        expect![[r#"
            0.000000: run 1 a monitor
            0.010000: report 1 Done 0 
            0.020000: report 1 Cancelled 193 
            0.020000: run 2 a monitor
            0.030000: report 2 Done 0 
            0.030000: known: 2=0
            next: Some(1030), places taken: 0"#]],
    );
}

#[test]
fn only_what_has_not_begun_or_recurs_can_be_cancelled() {
    check(
        4,
        "0 run 1 a start
         0 run 2 a monitor
         0 run 3 b monitor after 500
         1 cancel 1
         1 cancel 2
         1 cancel 3
         1 cancel 99
         2 end 1 0",
        expect![[r#"
            0.000000: run 1 a start
            0.001000: report 2 Cancelled 193 
            0.001000: report 3 Cancelled 193 
            0.002000: report 1 Done 0 
            next: None, places taken: 0"#]],
    );
}

#[test]
fn what_the_executor_insists_on_goes_before_all_that_starts() {
    check(
        1,
        "0 run 1 a start epoch 7
         0 run 2 a promote epoch 7
         0 run 3 a monitor every 1000 epoch 7
         0 run 4 b start epoch 7
         1 insist 70000 a stop
         2 end 1 0
         3 end 70000 0
         4 run 5 a start epoch 7
         4 known",
        expect![[r#"
            0.000000: run 1 a start
            0.001000: terminate 1
            0.001000: report 2 Cancelled 193 
            0.001000: report 3 Cancelled 193 
            0.002000: report 1 Done 0 
            0.002000: run 4 b start
            0.002000: run 70000 a stop (active)
            0.003000: report 70000 Done 0 
            0.004000: known: 1=0 4=- 5=- 70000=0
            next: Some(15004), places taken: 1"#]],
    );
}

#[test]
fn a_stop_that_runs_counts_for_the_one_that_the_executor_insists_on() {
    check(
        4,
        "0 run 1 a start
         1 end 1 0
         2 run 2 a stop
         3 insist 70000 a stop
         4 insist 70001 a stop
         5 run 3 a start
         6 end 2 0
         6 known",
        expect![[r#"
            0.000000: run 1 a start
            0.001000: report 1 Done 0 
            0.002000: run 2 a stop (active)
            0.006000: report 2 Done 0 
            0.006000: report 70000 Done 0 
            0.006000: report 70001 Done 0 
            0.006000: run 3 a start
            0.006000: known: 1=0 3=- 70001=0
            next: None, places taken: 1"#]],
    );
}

#[test]
fn only_a_stop_that_ends_well_counts() {
    check(
        4,
        "0 run 1 a stop
         0 run 2 b demote
         0 run 3 c stop
         1 insist 70000 a stop
         1 insist 70001 b stop
         1 insist 70002 d stop
         2 end 1 1
         3 end 2 0
         4 end 3 0
         5 insist 70003 c stop",
        expect![[r#"
            0.000000: run 1 a stop
            0.000000: run 2 b demote
            0.000000: run 3 c stop
            0.001000: run 70002 d stop
            0.002000: report 1 Done 1 
            0.002000: run 70000 a stop
            0.003000: report 2 Done 0 
            0.003000: run 70001 b stop
            0.004000: report 3 Done 0 
            0.005000: run 70003 c stop
            next: None, places taken: 0"#]],
    );
}

#[test]
fn older_epochs_are_refused() {
    check(
        4,
        "0 run 1 a monitor every 1000 epoch 5
         1 run 2 a stop epoch 4
         1 cancel 1 epoch 4
         1 known
         2 run 3 a stop epoch 6",
        expect![[r#"
            0.000000: run 1 a monitor
            0.001000: report 2 Refused 193 refused: asked for in epoch 4, but epoch 5 was seen
            0.001000: known: 1=-
            0.002000: terminate 1
            next: None, places taken: 0"#]],
    );
}

#[test]
fn a_call_number_in_use_is_refused_and_an_ended_one_is_taken_over() {
    check(
        4,
        "0 run 1 a start
         1 run 1 b start
         2 end 1 0
         3 run 1 b start
         3 known",
        expect![[r#"
            0.000000: run 1 a start
            0.001000: report 1 Invalid 193 refused: call 1 is start of a
            0.002000: report 1 Done 0 
            0.003000: run 1 b start
            0.003000: known: 1=-
            next: None, places taken: 1"#]],
    );
}

#[test]
fn a_forgotten_resource_leaves_nothing_behind() {
    check(
        4,
        "0 run 1 a start
         1 end 1 0
         2 run 2 a monitor every 1000
         3 end 2 0
         4 run 3 a notify
         5 run 4 a stop
         6 forget a
         6 known
         7 end 3 0
         8 run 5 a monitor",
        expect![[r#"
            0.000000: run 1 a start
            0.001000: report 1 Done 0 
            0.002000: run 2 a monitor (active)
            0.003000: report 2 Done 0 
            0.004000: run 3 a notify (active)
            0.005000: report 2 Cancelled 193 
            0.006000: report 4 Cancelled 193 
            0.006000: known:
            0.007000: report 3 Done 0 
            0.008000: run 5 a monitor
            next: None, places taken: 0"#]],
    );
}

#[test]
fn fencing_waits_for_nothing() {
    check(
        1,
        "0 run 1 device monitor every 1000 fence
         0 run 2 a start
         1 run 3 device reboot fence
         2 end 1 1
         3 end 3 0
         3 known",
        expect![[r#"
            0.000000: run 1 device monitor
            0.000000: run 2 a start
            0.001000: terminate 1
            0.001000: run 3 device reboot
            0.003000: report 3 Done 0 
            0.003000: known: 1=- 2=- 3=0
            next: Some(1002), places taken: 1"#]],
    );
}

#[test]
fn what_the_executor_insists_on_waits_for_no_probe_and_cannot_be_forgotten() {
    check(
        4,
        "0 run 1 a monitor
         0 run 2 a notify
         0 run 3 b start
         0 run 4 b monitor every 1000
         1 way b
         1 insist 70000 a stop
         2 cancel 70000
         2 forget a
         3 end 1 1
         4 end 70000 0
         4 end 3 1",
        expect![[r#"
            0.000000: run 1 a monitor
            0.000000: run 3 b start
            0.001000: terminate 3
            0.001000: report 4 Cancelled 193 
            0.001000: terminate 1
            0.001000: report 2 Cancelled 193 
            0.003000: report 1 Done 1 
            0.003000: run 70000 a stop
            0.004000: report 70000 Done 0 
            0.004000: report 3 Done 1 
            next: None, places taken: 0"#]],
    );
}

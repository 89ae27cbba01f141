//! Cases of our own.

use crate::script::Stage;
use expect_test::{Expect, expect};

fn check(configuration: &str, script: &str, expected: Expect) {
    expected.assert_eq(&Stage::new(configuration).play(script));
}

/// A stonith primitive with parameters `name=value`, values without blanks (`_` stands for one).
fn device(id: &str, agent: &str, parameters: &str) -> String {
    let pairs: String = parameters
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| format!("<nvpair id='{id}-{name}' name='{name}' value='{}'/>", value.replace('_', " ")))
        .map(|pair| pair.replace("static list", "static-list"))
        .collect();
    format!(
        "<primitive id='{id}' class='stonith' type='{agent}'><instance_attributes id='{id}-ia'>{pairs}</instance_attributes>\
         </primitive>"
    )
}

fn resources(devices: &[String]) -> String {
    format!("<resources>{}</resources>", devices.concat())
}

fn properties(pairs: &[(&str, &str)]) -> String {
    let pairs: String =
        pairs.iter().map(|(name, value)| format!("<nvpair id='p-{name}' name='{name}' value='{value}'/>")).collect();
    format!("<crm_config><cluster_property_set id='cib-bootstrap-options'>{pairs}</cluster_property_set></crm_config>")
}

fn levels(levels: &[(&str, &str, &str)]) -> String {
    let all: String = levels
        .iter()
        .enumerate()
        .map(|(n, (whose, index, devices))| {
            format!("<fencing-level id='l{n}' {whose} index='{index}' devices='{devices}'/>")
        })
        .collect();
    format!("<fencing-topology>{all}</fencing-topology>")
}

#[test]
fn a_listed_target_is_fenced_at_once_where_the_monitor_runs() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1,n2 ip=10.0.0.9");
    check(
        &resources(&[d1]),
        "nodes n1 n2 n3 d1@n3\n fence n1 reboot\n wait 2\n ok d1",
        expect![[r#"
        nodes n1 n2 n3 d1@n3
        fence n1 reboot
            0 d1 on n3: reboot ip=10.0.0.9 nodename=n1 port=n1 within 60s
        wait 2
        ok d1
            2 done 1: reboot of n1 by n3 with ["d1"] after 2s
    "#]],
    );
}

#[test]
fn the_target_itself_is_asked_only_if_it_is_alone() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1,n2");
    check(
        &resources(&[d1]),
        "nodes n1 n2 d1@n1
         fence n1 off
         ok d1
         nodes n1
         fence n1 off
         ok d1
         fence n1 on",
        expect![[r#"
            nodes n1 n2 d1@n1
            fence n1 off
                0 d1 on n2: off nodename=n1 port=n1 within 60s
            ok d1
                0 done 1: off of n1 by n2 with ["d1"] after 0ns
            nodes n1
            fence n1 off
                0 d1 on n1: off nodename=n1 port=n1 within 60s
            ok d1
                0 done 2: off of n1 by n1 with ["d1"] after 0ns
            fence n1 on
                0 gave up 3: on of n1: no fence device can fence n1: d1: no node is left that could run it; configure a device for it, or confirm that it is down
        "#]],
    );
}

#[test]
fn the_device_is_told_of_the_target_as_it_wants_to_be() {
    let devices = [
        device("mapped", "fence_full", "pcmk_host_map=n1:7;n2:rack\\_2"),
        device("named", "fence_port", "pcmk_host_list=n3 pcmk_host_argument=domain"),
        device("unnamed", "fence_port", "pcmk_host_list=n4 pcmk_host_argument=none"),
        device("fixed", "fence_port", "pcmk_host_list=n5 port=9"),
    ];
    check(
        &resources(&devices),
        "nodes n0
         fence n1 off
         fence n2 off
         ok mapped
         fence n3 off
         fence n4 off
         fence n5 off",
        expect![[r#"
            nodes n0
            fence n1 off
                0 mapped on n0: off nodename=n1 plug=7 within 60s
            fence n2 off
            ok mapped
                0 done 1: off of n1 by n0 with ["mapped"] after 0ns
                0 mapped on n0: off nodename=n2 plug=rack 2 within 60s
            fence n3 off
                0 named on n0: off domain=n3 nodename=n3 within 60s
            fence n4 off
                0 unnamed on n0: off nodename=n4 within 60s
            fence n5 off
                0 fixed on n0: off nodename=n5 port=9 within 60s
        "#]],
    );
}

#[test]
fn a_device_without_a_list_is_asked() {
    let d1 = device("d1", "fence_full", "pcmk_list_timeout=7s");
    check(
        &resources(&[d1]),
        "nodes n0
         fence n1 off
         ok d1 n1, n2
         ok d1
         fence n3 off
         wait 61
         fence n2 off
         fail d1
         ok d1",
        expect![[r#"
            nodes n0
            fence n1 off
                0 d1 on n0: list  within 7s
            ok d1 n1, n2
                0 d1 on n0: off nodename=n1 plug=n1 within 60s
            ok d1
                0 done 1: off of n1 by n0 with ["d1"] after 0ns
            fence n3 off
                0 gave up 2: off of n3: no fence device can fence n3: d1: its list does not name n3; configure a device for it, or confirm that it is down
            wait 61
            fence n2 off
                61 d1 on n0: list  within 7s
            fail d1
                61 d1 on n0: off nodename=n2 plug=n2 within 60s
            ok d1
                61 done 3: off of n2 by n0 with ["d1"] after 0ns
        "#]],
    );
    // A list that never worked gives way to status, unless it is what the configuration asks for.
    let d1 = device("d1", "fence_full", "");
    check(
        &resources(&[d1]),
        "nodes n0\n fence n1 off\n fail d1 no route\n code d1 2\n ok d1",
        expect![[r#"
        nodes n0
        fence n1 off
            0 d1 on n0: list  within 60s
        fail d1 no route
            0 d1 on n0: status nodename=n1 plug=n1 within 60s
        code d1 2
            0 d1 on n0: off nodename=n1 plug=n1 within 60s
        ok d1
            0 done 1: off of n1 by n0 with ["d1"] after 0ns
    "#]],
    );
    let d1 = device("d1", "fence_full", "pcmk_host_check=dynamic-list");
    check(
        &resources(&[d1]),
        "nodes n0\n fence n1 off\n fail d1 no route",
        expect![[r#"
        nodes n0
        fence n1 off
            0 d1 on n0: list  within 60s
        fail d1 no route
            0 gave up 1: off of n1: no fence device can fence n1: d1: its list failed: exit code 1: no route; configure a device for it, or confirm that it is down
    "#]],
    );
    let d1 = device("d1", "fence_status", "");
    check(
        &resources(&[d1]),
        "nodes n0\n fence n1 off\n code d1 1",
        expect![[r#"
        nodes n0
        fence n1 off
            0 d1 on n0: status nodename=n1 port=n1 within 60s
        code d1 1
            0 gave up 1: off of n1: no fence device can fence n1: d1: its status does not know n1; configure a device for it, or confirm that it is down
    "#]],
    );
    let d1 = device("d1", "fence_port", "");
    check(
        &resources(&[d1]),
        "nodes n0\n fence n1 off\n ok d1",
        expect![[r#"
        nodes n0
        fence n1 off
            0 d1 on n0: off nodename=n1 port=n1 within 60s
        ok d1
            0 done 1: off of n1 by n0 with ["d1"] after 0ns
    "#]],
    );
}

#[test]
fn devices_are_tried_in_order_of_priority_on_one_node_and_then_on_others() {
    let devices = [
        device("low", "fence_port", "pcmk_host_list=n1"),
        device("high", "fence_port", "pcmk_host_list=n1 priority=5"),
        device("other", "fence_port", "pcmk_host_list=n2 priority=9"),
    ];
    check(
        &resources(&devices),
        "nodes n2 n3
         fence n1 off
         fail high
         fail high
         hang low
         absent high",
        expect![[r#"
            nodes n2 n3
            fence n1 off
                0 high on n2: off nodename=n1 port=n1 priority=5 within 60s
            fail high
                0 high on n2: off nodename=n1 port=n1 priority=5 within 60s
            fail high
                0 low on n2: off nodename=n1 port=n1 within 60s
            hang low
                0 high on n3: off nodename=n1 port=n1 priority=5 within 60s
            absent high
                0 low on n3: off nodename=n1 port=n1 within 60s
        "#]],
    );
}

#[test]
fn a_device_that_can_need_not_wait_for_what_others_answer() {
    let devices = [device("asked", "fence_full", ""), device("sure", "fence_port", "pcmk_host_list=n1")];
    check(
        &resources(&devices),
        "nodes n2\n fence n1 off\n ok sure\n ok asked n1",
        expect![[r#"
        nodes n2
        fence n1 off
            0 asked on n2: list  within 60s
            0 sure on n2: off nodename=n1 port=n1 within 60s
        ok sure
            0 done 1: off of n1 by n2 with ["sure"] after 0ns
        ok asked n1
    "#]],
    );
    let devices = [device("asked", "fence_full", "priority=1"), device("sure", "fence_port", "pcmk_host_list=n1")];
    check(
        &resources(&devices),
        "nodes n2\n fence n1 off\n ok asked n1\n ok asked",
        expect![[r#"
        nodes n2
        fence n1 off
            0 asked on n2: list priority=1 within 60s
        ok asked n1
            0 asked on n2: off nodename=n1 plug=n1 priority=1 within 60s
        ok asked
            0 done 1: off of n1 by n2 with ["asked"] after 0ns
    "#]],
    );
}

#[test]
fn retries_share_the_time() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1 pcmk_off_timeout=10 pcmk_off_retries=3");
    check(
        &resources(&[d1]),
        "nodes n2
         fence n1 off
         wait 3
         fail d1 busy
         wait 3
         fail d1 busy
         wait 3
         fail d1 still busy
         fence n1 off
         hang d1",
        expect![[r#"
            nodes n2
            fence n1 off
                0 d1 on n2: off nodename=n1 port=n1 within 10s
            wait 3
            fail d1 busy
                3 d1 on n2: off nodename=n1 port=n1 within 7s
            wait 3
            fail d1 busy
                6 d1 on n2: off nodename=n1 port=n1 within 4s
            wait 3
            fail d1 still busy
                9 failed 1: off of n1: off of n1 failed: d1 on n2: exit code 1: still busy
            fence n1 off
                9 d1 on n2: off nodename=n1 port=n1 within 10s
            hang d1
                9 failed 2: off of n1: off of n1 failed: d1 on n2: it took too long and was stopped
        "#]],
    );
}

#[test]
fn levels_are_tried_in_order_and_all_devices_of_one_must_succeed() {
    let devices: Vec<String> =
        ["ipmi", "pdu1", "pdu2"].iter().map(|id| device(id, "fence_port", "pcmk_host_list=n1,n2,n10")).collect();
    let topology = levels(&[
        ("target='n1'", "2", "pdu1,pdu2"),
        ("target='n1'", "1", "ipmi"),
        ("target-pattern='^n[0-9]$'", "1", "pdu2"),
        ("target-attribute='rack' target-value='7'", "1", "pdu1"),
    ]);
    let nodes = "<nodes><node id='10' uname='n10'><instance_attributes id='n10-ia'><nvpair id='rack' name='rack' value='7'/>\
                 </instance_attributes></node></nodes>";
    let configuration = nodes.to_owned() + &resources(&devices) + &topology;
    check(
        &configuration,
        "nodes n5
         fence n1 reboot
         fail ipmi
         fail ipmi
         ok pdu1
         ok pdu2
         ok pdu1
         fail pdu2
         fail pdu2
         fence n2 off
         ok pdu2
         fence n10 off
         ok pdu1",
        expect![[r#"
            nodes n5
            fence n1 reboot
                0 ipmi on n5: reboot nodename=n1 port=n1 within 60s
            fail ipmi
                0 ipmi on n5: reboot nodename=n1 port=n1 within 60s
            fail ipmi
                0 pdu1 on n5: off nodename=n1 port=n1 within 60s
            ok pdu1
                0 pdu2 on n5: off nodename=n1 port=n1 within 60s
            ok pdu2
                0 done 1: reboot of n1 by n5 with ["pdu1", "pdu2"] after 0ns
                0 pdu1 on n5: on nodename=n1 port=n1 within 60s
            ok pdu1
                0 pdu2 on n5: on nodename=n1 port=n1 within 60s
            fail pdu2
                0 pdu2 on n5: on nodename=n1 port=n1 within 60s
            fail pdu2
            fence n2 off
                0 pdu2 on n5: off nodename=n2 port=n2 within 60s
            ok pdu2
                0 done 2: off of n2 by n5 with ["pdu2"] after 0ns
            fence n10 off
                0 pdu1 on n5: off nodename=n10 port=n10 within 60s
            ok pdu1
                0 done 3: off of n10 by n5 with ["pdu1"] after 0ns
        "#]],
    );
    check(
        &configuration,
        "nodes n5
         fence n1 off
         fail ipmi
         fail ipmi
         ok pdu1
         fail pdu2
         fail pdu2",
        expect![[r#"
            nodes n5
            fence n1 off
                0 ipmi on n5: off nodename=n1 port=n1 within 60s
            fail ipmi
                0 ipmi on n5: off nodename=n1 port=n1 within 60s
            fail ipmi
                0 pdu1 on n5: off nodename=n1 port=n1 within 60s
            ok pdu1
                0 pdu2 on n5: off nodename=n1 port=n1 within 60s
            fail pdu2
                0 pdu2 on n5: off nodename=n1 port=n1 within 60s
            fail pdu2
                0 failed 1: off of n1: off of n1 failed: ipmi on n5: exit code 1; pdu2 on n5: exit code 1
        "#]],
    );
}

#[test]
fn a_level_with_a_missing_device_is_passed_over() {
    let devices = [device("d2", "fence_port", "pcmk_host_list=n1"), device("d3", "fence_port", "pcmk_host_list=n9")];
    let topology = levels(&[
        ("target='n1'", "1", "d1"),
        ("target='n1'", "2", "d2,d3"),
        ("target='n1'", "3", "d2"),
        ("target='n1'", "0", "d2"),
        ("target-pattern='('", "1", "d2"),
    ]);
    check(
        &(resources(&devices) + &topology),
        "nodes n5\n fence n1 off\n ok d2\n ok d2",
        expect![[r#"
            0 Warning: fencing-level l3: index "0" is not 1 to 9; it is not used
            0 Warning: fencing-level l4: target-pattern "(": '(' is not closed; it is not used
        nodes n5
        fence n1 off
            0 d2 on n5: off nodename=n1 port=n1 within 60s
        ok d2
            0 d2 on n5: off nodename=n1 port=n1 within 60s
        ok d2
            0 done 1: off of n1 by n5 with ["d2"] after 0ns
    "#]],
    );
}

#[test]
fn an_agent_without_reboot_switches_off() {
    let d1 = device("d1", "fence_off_only", "pcmk_host_list=n1 pcmk_off_timeout=9s pcmk_reboot_timeout=99s");
    check(
        &resources(&[d1]),
        "nodes n2\n fence n1 reboot\n ok d1",
        expect![[r#"
        nodes n2
        fence n1 reboot
            0 d1 on n2: off nodename=n1 plug=n1 within 9s
        ok d1
            0 done 1: reboot of n1 by n2 with ["d1"] after 0ns
    "#]],
    );
}

#[test]
fn delays_are_waited_for() {
    let devices = [
        device("fixed", "fence_port", "pcmk_host_list=n1,n3 pcmk_delay_base=n1:5s;n3:1s"),
        device("drawn", "fence_port", "pcmk_host_list=n2 pcmk_delay_base=2s pcmk_delay_max=4s"),
    ];
    check(
        &resources(&devices),
        "nodes n4
         fence n1 off delay 10
         wait 14.9
         wait 0.2
         ok fixed
         fence n2 off
         wait 1.9
         wait 2.1
         ok drawn
         fence n2 off at once
         ok drawn
         fence n3 on
         ok fixed",
        expect![[r#"
            nodes n4
            fence n1 off delay 10
            wait 14.9
            wait 0.2
                15 fixed on n4: off nodename=n1 port=n1 within 60s
            ok fixed
                15.1 done 1: off of n1 by n4 with ["fixed"] after 15.1s
            fence n2 off
            wait 1.9
            wait 2.1
                18.233 drawn on n4: off nodename=n2 port=n2 within 60s
            ok drawn
                19.1 done 2: off of n2 by n4 with ["drawn"] after 4s
            fence n2 off at once
                19.1 drawn on n4: off nodename=n2 port=n2 within 60s
            ok drawn
                19.1 done 3: off of n2 by n4 with ["drawn"] after 0ns
            fence n3 on
                19.1 fixed on n4: on nodename=n3 port=n3 within 60s
            ok fixed
                19.1 done 4: on of n3 by n4 with ["fixed"] after 0ns
        "#]],
    );
}

#[test]
fn a_device_does_one_thing_at_a_time_unless_it_can_do_more() {
    let d1 = |limit| resources(&[device("d1", "fence_port", &format!("pcmk_host_list=n1,n2,n3 {limit}"))]);
    let script = "nodes n4\n fence n1 off\n fence n2 off\n fence n3 off\n ok d1\n ok d1\n ok d1";
    check(
        &d1(""),
        script,
        expect![[r#"
        nodes n4
        fence n1 off
            0 d1 on n4: off nodename=n1 port=n1 within 60s
        fence n2 off
        fence n3 off
        ok d1
            0 done 1: off of n1 by n4 with ["d1"] after 0ns
            0 d1 on n4: off nodename=n2 port=n2 within 60s
        ok d1
            0 done 2: off of n2 by n4 with ["d1"] after 0ns
            0 d1 on n4: off nodename=n3 port=n3 within 60s
        ok d1
            0 done 3: off of n3 by n4 with ["d1"] after 0ns
    "#]],
    );
    check(
        &d1("pcmk_action_limit=2"),
        script,
        expect![[r#"
        nodes n4
        fence n1 off
            0 d1 on n4: off nodename=n1 port=n1 within 60s
        fence n2 off
            0 d1 on n4: off nodename=n2 port=n2 within 60s
        fence n3 off
        ok d1
            0 done 1: off of n1 by n4 with ["d1"] after 0ns
            0 d1 on n4: off nodename=n3 port=n3 within 60s
        ok d1
            0 done 2: off of n2 by n4 with ["d1"] after 0ns
        ok d1
            0 done 3: off of n3 by n4 with ["d1"] after 0ns
    "#]],
    );
    let one_by_one = properties(&[("concurrent-fencing", "false")]) + &d1("pcmk_action_limit=-1");
    check(
        &one_by_one,
        script,
        expect![[r#"
        nodes n4
        fence n1 off
            0 d1 on n4: off nodename=n1 port=n1 within 60s
        fence n2 off
        fence n3 off
        ok d1
            0 done 1: off of n1 by n4 with ["d1"] after 0ns
            0 d1 on n4: off nodename=n2 port=n2 within 60s
        ok d1
            0 done 2: off of n2 by n4 with ["d1"] after 0ns
            0 d1 on n4: off nodename=n3 port=n3 within 60s
        ok d1
            0 done 3: off of n3 by n4 with ["d1"] after 0ns
    "#]],
    );
}

#[test]
fn equal_requests_are_one_and_others_wait() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1 pcmk_action_limit=-1");
    check(
        &resources(&[d1]),
        "nodes n2
         fence n1 reboot
         fence n1 off by alice
         fence n1 reboot
         ok d1
         ok d1",
        expect![[r#"
            nodes n2
            fence n1 reboot
                0 d1 on n2: reboot nodename=n1 port=n1 within 60s
            fence n1 off by alice
            fence n1 reboot
            ok d1
                0 done 1: reboot of n1 by n2 with ["d1"] after 0ns
                0 done 3: reboot of n1 by n2 with ["d1"] after 0ns
                0 d1 on n2: off nodename=n1 port=n1 within 60s
            ok d1
                0 done 2: off of n1 by n2 with ["d1"] after 0ns
        "#]],
    );
}

#[test]
fn a_lost_node_is_replaced() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1");
    check(
        &resources(&[d1]),
        "nodes n2 n3 d1@n3\n fence n1 off\n lost n3\n lost n2",
        expect![[r#"
        nodes n2 n3 d1@n3
        fence n1 off
            0 d1 on n3: off nodename=n1 port=n1 within 60s
        lost n3
            0 d1 on n2: off nodename=n1 port=n1 within 60s
        lost n2
            0 failed 1: off of n1: off of n1 failed: d1 on n3: the executor there cannot be reached: the node was lost; d1 on n2: the executor there cannot be reached: the node was lost; d1: no node is left that could run it
    "#]],
    );
}

#[test]
fn a_silent_executor_is_not_waited_for_for_ever() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1 pcmk_off_timeout=10s");
    check(
        &resources(&[d1]),
        "nodes n2 n3\n fence n1 off\n wait 13.9\n wait 0.2\n ok d1\n ok d1",
        expect![[r#"
        nodes n2 n3
        fence n1 off
            0 d1 on n2: off nodename=n1 port=n1 within 10s
        wait 13.9
        wait 0.2
            14 d1 on n3: off nodename=n1 port=n1 within 10s
        ok d1
        ok d1
            14.1 done 1: off of n1 by n3 with ["d1"] after 14.1s
    "#]],
    );
}

#[test]
fn what_cannot_be_fenced_says_why_and_is_tried_again_when_something_changes() {
    check(
        "",
        "nodes n1 n2\n fence n1 off\n fence n1 off\n nodes n1 n2 n3\n fence n1 off",
        expect![[r#"
        nodes n1 n2
        fence n1 off
            0 gave up 1: off of n1: no fence device can fence n1: none is configured; configure a device for it, or confirm that it is down
        fence n1 off
            0 gave up 2: off of n1: no fence device can fence n1: none is configured; configure a device for it, or confirm that it is down
        nodes n1 n2 n3
            0 n1 may be tried again
        fence n1 off
            0 gave up 3: off of n1: no fence device can fence n1: none is configured; configure a device for it, or confirm that it is down
    "#]],
    );
    let switched_off = "<resources><primitive id='d0' class='stonith' type='fence_port'><meta_attributes id='m'>\
                        <nvpair id='r' name='target-role' value='Stopped'/></meta_attributes></primitive>"
        .to_owned()
        + &device("d1", "fence_port", "pcmk_host_list=n3")
        + &device("d2", "fence_missing", "pcmk_host_list=n1")
        + "</resources>";
    check(
        &switched_off,
        "nodes n1 n2
         fence n2 off
         confirm n2 alice
         fence n1 off
         absent d2
         fence n2 off
         wait 899
         wait 2",
        expect![[r#"
            nodes n1 n2
            fence n2 off
                0 gave up 1: off of n2: no fence device can fence n2: d1: its pcmk_host_list and pcmk_host_map do not name n2; d2: its pcmk_host_list and pcmk_host_map do not name n2; d0: it is switched off by target-role=Stopped; configure a device for it, or confirm that it is down
            confirm n2 alice
                0 n2 may be tried again
            fence n1 off
                0 d2 on n2: off nodename=n1 within 60s
            absent d2
                0 failed 2: off of n1: off of n1 failed: d1: its pcmk_host_list and pcmk_host_map do not name n1; d2 on n2: the agent is not installed there; d2: no node is left that could run it
            fence n2 off
                0 gave up 3: off of n2: no fence device can fence n2: d1: its pcmk_host_list and pcmk_host_map do not name n2; d2: its pcmk_host_list and pcmk_host_map do not name n2; d0: it is switched off by target-role=Stopped; configure a device for it, or confirm that it is down
            wait 899
            wait 2
                900 n2 may be tried again
        "#]],
    );
}

#[test]
fn attempts_are_counted_and_pause_longer_and_longer() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1 pcmk_off_retries=1");
    let configuration =
        properties(&[("stonith-max-attempts", "4"), ("cluster-recheck-interval", "5min")]) + &resources(&[d1]);
    check(
        &configuration,
        "nodes n2
         fence n1 off
         fail d1 no route to host
         fence n1 off
         fail d1 no route to host
         fence n1 off
         wait 1
         fail d1 no route to host
         fence n1 off
         wait 2
         fail d1 no route to host
         fence n1 off
         fence n1 off by alice
         fail d1 no route to host
         wait 300
         fence n1 off
         ok d1",
        expect![[r#"
            nodes n2
            fence n1 off
                0 d1 on n2: off nodename=n1 port=n1 within 60s
            fail d1 no route to host
                0 failed 1: off of n1: off of n1 failed: d1 on n2: exit code 1: no route to host
            fence n1 off
                0 d1 on n2: off nodename=n1 port=n1 within 60s
            fail d1 no route to host
                0 failed 2: off of n1: off of n1 failed: d1 on n2: exit code 1: no route to host
            fence n1 off
            wait 1
                1 d1 on n2: off nodename=n1 port=n1 within 60s
            fail d1 no route to host
                1 failed 3: off of n1: off of n1 failed: d1 on n2: exit code 1: no route to host
            fence n1 off
            wait 2
                3 d1 on n2: off nodename=n1 port=n1 within 60s
            fail d1 no route to host
                3 gave up 4: off of n1: off of n1 failed: d1 on n2: exit code 1: no route to host; that was attempt 4 (fencing-max-attempts), mend the device or confirm that it is down
            fence n1 off
                3 gave up 5: off of n1: off of n1 failed: d1 on n2: exit code 1: no route to host; that was attempt 4 (fencing-max-attempts), mend the device or confirm that it is down
            fence n1 off by alice
                3 d1 on n2: off nodename=n1 port=n1 within 60s
            fail d1 no route to host
                3 gave up 6: off of n1: off of n1 failed: d1 on n2: exit code 1: no route to host; that was attempt 5 (fencing-max-attempts), mend the device or confirm that it is down
            wait 300
                303 n1 may be tried again
            fence n1 off
                303 d1 on n2: off nodename=n1 port=n1 within 60s
            ok d1
                303 done 7: off of n1 by n2 with ["d1"] after 0ns
        "#]],
    );
}

#[test]
fn an_administrators_word_settles_it() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1 pcmk_action_limit=-1");
    check(
        &resources(&[d1]),
        "nodes n2
         fence n1 reboot
         fence n1 on
         confirm n1 alice
         fence n1 off
         ok d1
         ok d1
         ok d1",
        expect![[r#"
            nodes n2
            fence n1 reboot
                0 d1 on n2: reboot nodename=n1 port=n1 within 60s
            fence n1 on
            confirm n1 alice
                0 done 1: reboot of n1 by alice with [] after 0ns
            fence n1 off
            ok d1
                0 d1 on n2: on nodename=n1 port=n1 within 60s
            ok d1
                0 done 2: on of n1 by n2 with ["d1"] after 0ns
                0 d1 on n2: off nodename=n1 port=n1 within 60s
            ok d1
                0 done 3: off of n1 by n2 with ["d1"] after 0ns
        "#]],
    );
}

#[test]
fn switching_on_may_be_for_the_target_to_do() {
    let d1 = device("d1", "fence_self", "pcmk_host_list=n1");
    check(
        &resources(&[d1]),
        "nodes n1 n2\n fence n1 on\n ok d1\n nodes n2\n fence n1 on\n fence n1 off",
        expect![[r#"
            nodes n1 n2
            fence n1 on
                0 d1 on n1: on nodename=n1 within 60s
            ok d1
                0 done 1: on of n1 by n1 with ["d1"] after 0ns
            nodes n2
            fence n1 on
                0 gave up 2: on of n1: no fence device can fence n1: d1: no node is left that could run it; configure a device for it, or confirm that it is down
            fence n1 off
                0 d1 on n2: off nodename=n1 within 60s
        "#]],
    );
}

#[test]
fn templates_groups_and_defaults_count() {
    let configuration = "<resources>\
        <template id='t' class='stonith' type='fence_port'><instance_attributes id='t-ia'>\
          <nvpair id='t1' name='pcmk_host_list' value='n1'/><nvpair id='t2' name='ip' value='1'/></instance_attributes></template>\
        <group id='g'><primitive id='d1' template='t'><instance_attributes id='d1-ia'>\
          <nvpair id='d1i' name='ip' value='2'/></instance_attributes></primitive></group>\
        <group id='off'><meta_attributes id='om'><nvpair id='om1' name='target-role' value='Stopped'/></meta_attributes>\
          <primitive id='d2' template='t'/></group>\
        </resources>";
    check(
        configuration,
        "nodes n2\n fence n1 off\n fail d1\n fail d1",
        expect![[r#"
        nodes n2
        fence n1 off
            0 d1 on n2: off ip=2 nodename=n1 port=n1 within 60s
        fail d1
            0 d1 on n2: off ip=2 nodename=n1 port=n1 within 60s
        fail d1
            0 failed 1: off of n1: off of n1 failed: d1 on n2: exit code 1
    "#]],
    );
}

#[test]
fn wrong_values_are_said_and_passed_over() {
    let d1 = device(
        "d1",
        "fence_port",
        "pcmk_host_map=n1:1;n2;:3 pcmk_delay_base=soon pcmk_delay_max=later pcmk_action_limit=0 pcmk_host_check=maybe",
    );
    let configuration = properties(&[("fencing-timeout", "no"), ("fencing-max-attempts", "0")]) + &resources(&[d1]);
    check(
        &configuration,
        "nodes n2\n config\n fence n1 off",
        expect![[r#"
            0 Warning: device d1: pcmk_action_limit="0" is no valid value, it is 1
            0 Warning: device d1: pcmk_delay_base="soon" is no valid value, there is no delay
            0 Warning: device d1: pcmk_delay_max="later" is no valid value, there is no delay
            0 Warning: device d1: pcmk_host_check="maybe" is no valid value, the default is used
            0 Warning: device d1: pcmk_host_map=":3" is no valid value, it is passed over
            0 Warning: device d1: pcmk_host_map="n2" is no valid value, it is passed over
            0 Warning: property fencing-max-attempts: "0" is no valid value, the default is used
            0 Warning: property fencing-timeout: "no" is no valid value, the default is used
        nodes n2
        config
        fence n1 off
            0 d1 on n2: off nodename=n1 port=1 within 60s
    "#]],
    );
}

//! In which order devices are tried, and what waits for what.

use crate::cases::{check, device, levels, properties, resources};
use expect_test::expect;

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

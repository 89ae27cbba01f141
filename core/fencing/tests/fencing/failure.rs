//! What happens when nodes, devices and agents fail.

use crate::cases::{check, device, properties, resources};
use expect_test::expect;

#[test]
fn a_lost_node_is_replaced() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1");
    check(
        &resources(&[d1]),
        "nodes n2 n3 d1@n3\n fence n1 off\n nodes n2 d1@n3\n nodes",
        expect![[r#"
        nodes n2 n3 d1@n3
        fence n1 off
            0 d1 on n3: off nodename=n1 port=n1 within 60s
        nodes n2 d1@n3
            0 d1 on n2: off nodename=n1 port=n1 within 60s
        nodes
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
fn who_resigns_forgets_what_was_asked_and_keeps_what_was_learnt() {
    let d1 = device("d1", "fence_port", "pcmk_host_list=n1");
    check(
        &(properties(&[("fencing-max-attempts", "1")]) + &resources(&[d1])),
        "nodes n2
         fence n1 off
         fail d1 broken
         fence n1 reboot
         resign
         wait 100
         nodes n2 n3
         fence n1 reboot
         ok d1
         ok d1",
        expect![[r#"
            nodes n2
            fence n1 off
                0 d1 on n2: off nodename=n1 port=n1 within 60s
            fail d1 broken
                0 d1 on n2: off nodename=n1 port=n1 within 60s
            fence n1 reboot
            resign
            wait 100
            nodes n2 n3
            fence n1 reboot
                100 d1 on n2: reboot nodename=n1 port=n1 within 60s
            ok d1
            ok d1
                100 done 3: reboot of n1 by n2 with ["d1"] after 0ns
        "#]],
    );
}

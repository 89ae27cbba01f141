//! Which device fences a target, and on which node it runs.

use crate::cases::{check, device, properties, resources};
use expect_test::expect;

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

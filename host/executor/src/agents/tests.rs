use super::*;
use expect_test::expect;

#[test]
fn meta_data_says_what_the_tables_say() {
    expect![[r#"
        <?xml version="1.0"?>
        <resource-agent name="Address" version="1.0">
          <version>1.1</version>
          <longdesc lang="en">Adds an IPv4 or IPv6 address to an interface, and tells the neighbours about it.</longdesc>
          <shortdesc lang="en">An IP address that goes where the service is</shortdesc>
          <parameters>
            <parameter name="ip" unique-group="ip" required="1" reloadable="0">
              <longdesc lang="en">The address; a prefix length may follow, as in 192.0.2.7/24</longdesc>
              <shortdesc lang="en">The address; a prefix length may follow, as in 192.0.2.7/24</shortdesc>
              <content type="string"/>
            </parameter>
            <parameter name="cidr_netmask" required="0" reloadable="0">
              <longdesc lang="en">The prefix length, if ip does not have it</longdesc>
              <shortdesc lang="en">The prefix length, if ip does not have it</shortdesc>
              <content type="integer"/>
            </parameter>
            <parameter name="nic" required="0" reloadable="0">
              <longdesc lang="en">The interface; without it, the one whose network holds the address</longdesc>
              <shortdesc lang="en">The interface; without it, the one whose network holds the address</shortdesc>
              <content type="string"/>
            </parameter>
          </parameters>
          <actions>
            <action name="start" timeout="20s"/>
            <action name="stop" timeout="20s"/>
            <action name="monitor" timeout="20s" interval="10s" depth="0"/>
            <action name="validate-all" timeout="20s"/>
            <action name="meta-data" timeout="5s"/>
          </actions>
        </resource-agent>"#]]
    .assert_eq(&metadata(&address::DESCRIPTION));
}

/// Runs actions one after the other, and lists the exit codes.
fn codes(run: fn(&Surroundings, &str) -> ActionResult, parameters: &[(&str, &str)], actions: &[&str]) -> Vec<i32> {
    let directory = crate::testing::directory("agent");
    let surroundings = Surroundings {
        instance: "r".into(),
        parameters: parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        state_directory: directory.join("state"),
    };
    let code = |action: &&str| run(&surroundings, action).unwrap_or_else(|failure| failure.code);
    actions.iter().map(code).collect()
}

#[test]
fn dummy_is_started_and_stopped_and_fails_as_told() {
    let actions = ["monitor", "start", "start", "monitor", "reload-agent", "stop", "stop", "monitor", "validate-all"];
    assert_eq!(codes(dummy::run, &[], &actions), [7, 0, 0, 0, 0, 0, 0, 7, 0]);
    assert_eq!(codes(dummy::run, &[("fail", "stop monitor")], &["start", "monitor", "stop"]), [0, 1, 1]);
    assert_eq!(codes(dummy::run, &[("op_sleep", "soon")], &["start"]), [exit_code::NOT_CONFIGURED]);
}

#[test]
fn stateful_knows_its_role() {
    let actions = [
        "monitor", "promote", "start", "monitor", "promote", "monitor", "start", "demote", "monitor", "stop", "monitor",
    ];
    assert_eq!(codes(stateful::run, &[], &actions), [7, 7, 0, 0, 0, 8, 8, 0, 0, 0, 7]);
    assert_eq!(codes(stateful::run, &[("promoted_score", "x")], &["validate-all"]), [exit_code::NOT_CONFIGURED]);
}

#[test]
fn http_wants_an_address_and_a_port() {
    assert_eq!(codes(http::run, &[], &["validate-all", "monitor", "stop"]), [0, 7, 0]);
    assert_eq!(codes(http::run, &[("port", "0")], &["validate-all"]), [exit_code::NOT_CONFIGURED]);
    assert_eq!(codes(http::run, &[("address", "here")], &["validate-all"]), [exit_code::NOT_CONFIGURED]);
}

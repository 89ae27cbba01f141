//! The documented schema of the JSON is that of the JSON.

use crate::status::{Alert, Fencing, FencingState};
use hakudo_base::{Severity, UnixTime};
use hakudo_cib::Document;
use serde_json::Value;

const SCHEMA: &str = include_str!("../schema/status.json");

/// A cluster with one of everything: kinds of nodes and resources, a failure, a ticket, a ban.
const ONE_OF_EACH: &str = r#"<cib validate-with="pacemaker-4.0" admin_epoch="0" epoch="1" num_updates="0" dc-uuid="1" have-quorum="1">
  <configuration>
    <crm_config/>
    <nodes><node id="1" uname="alpha"><instance_attributes id="na"><nvpair id="na1" name="rack" value="7"/></instance_attributes></node>
      <node id="2" uname="beta"/></nodes>
    <resources>
      <primitive id="far" class="ocf" provider="pacemaker" type="remote"/>
      <primitive id="vm" class="ocf" provider="hakudo" type="Dummy">
        <meta_attributes id="vm-m"><nvpair id="vm-n" name="remote-node" value="guest"/></meta_attributes>
      </primitive>
      <group id="g"><primitive id="g1" class="ocf" provider="hakudo" type="Dummy"/></group>
      <clone id="c"><primitive id="c1" class="ocf" provider="hakudo" type="Dummy"/></clone>
      <bundle id="b"><docker image="i" replicas="2"/><network ip-range-start="10.0.0.1"/>
        <primitive id="b1" class="ocf" provider="hakudo" type="Dummy"/></bundle>
    </resources>
    <constraints>
      <rsc_location id="away" rsc="g" node="beta" score="-INFINITY"/>
      <rsc_ticket id="rt" rsc="vm" ticket="T"/>
    </constraints>
  </configuration>
  <status>
    <node_state id="1" uname="alpha" in_ccm="true" crmd="online" join="member" expected="member">
      <transient_attributes id="1"><instance_attributes id="t"><nvpair id="t1" name="fail-count-g1#start_0" value="1"/></instance_attributes></transient_attributes>
      <lrm id="1"><lrm_resources>
        <lrm_resource id="g1" class="ocf" provider="hakudo" type="Dummy">
          <lrm_rsc_op id="g1_last_0" operation_key="g1_start_0" operation="start" transition-key="5:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" transition-magic="0:1;5:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" call-id="7" rc-code="1" op-status="4" interval="0" last-rc-change="100" exec-time="5" queue-time="0"/>
          <lrm_rsc_op id="g1_last_failure_0" operation_key="g1_start_0" operation="start" transition-key="5:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" transition-magic="0:1;5:1:0:6d8bf1a4-6d83-4f70-8a3f-7ea9f5a1a4a1" call-id="7" rc-code="1" op-status="4" interval="0" last-rc-change="100" exec-time="5" queue-time="0"/>
        </lrm_resource>
      </lrm_resources></lrm>
    </node_state>
    <node_state id="2" uname="beta" in_ccm="true" crmd="online" join="member" expected="member"/>
    <tickets><ticket_state id="T" granted="true" last-granted="50"/></tickets>
  </status>
</cib>"#;

/// The JSON of that cluster, with what only a running node adds.
fn example() -> Value {
    let cib = Document::parse(ONE_OF_EACH).unwrap();
    let (model, _) = hakudo_scheduler::status(&cib, UnixTime::from_seconds(1000));
    let mut status = crate::cluster_status(&cib, &model);
    status.alerts.push(Alert { severity: Severity::Error, text: "something".to_owned() });
    for state in [FencingState::Pending, FencingState::Success, FencingState::Failed] {
        status.fencing.push(Fencing {
            target: "beta".to_owned(),
            action: "off".to_owned(),
            state,
            delegate: None,
            devices: vec!["d".to_owned()],
            client: "root".to_owned(),
            origin: "alpha".to_owned(),
            completed: Some(1),
            exit_reason: None,
            took_ms: 1,
        });
    }
    serde_json::to_value(&status).unwrap()
}

/// What in a value the schema does not allow: the keywords that our schema uses, strictly.
fn faults(value: &Value, schema: &Value, root: &Value, at: &str, faults_found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        let fine = match keyword.as_str() {
            "$schema" | "$comment" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                faults(value, &root["$defs"][name], root, at, faults_found);
                true
            }
            "type" => match rule {
                Value::Array(kinds) => kinds.iter().any(|kind| is_of(value, kind.as_str().unwrap())),
                kind => is_of(value, kind.as_str().unwrap()),
            },
            "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "oneOf" | "anyOf" => {
                let fits = |one: &&Value| {
                    let mut found = Vec::new();
                    faults(value, one, root, at, &mut found);
                    found.is_empty()
                };
                rule.as_array().unwrap().iter().filter(fits).count() == 1
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(item, rule, root, &format!("{at}[{number}]"), faults_found);
                }
                true
            }
            "required" => value.as_object().is_none_or(|object| {
                rule.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))
            }),
            "properties" | "additionalProperties" => {
                let named = |name: &str| schema.get("properties").and_then(|all| all.get(name));
                for (name, part) in value.as_object().into_iter().flatten() {
                    let at = format!("{at}.{name}");
                    match (keyword.as_str(), named(name), rule) {
                        ("properties", Some(rule), _) => faults(part, rule, root, &at, faults_found),
                        ("additionalProperties", None, Value::Bool(false)) => {
                            faults_found.push(format!("{at} is not in the schema"));
                        }
                        ("additionalProperties", None, rule) => faults(part, rule, root, &at, faults_found),
                        _ => {}
                    }
                }
                true
            }
            other => panic!("the test does not know the keyword {other}"),
        };
        if !fine {
            faults_found.push(format!("{at}: {keyword} {rule} does not fit {value}"));
        }
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}

#[test]
fn the_json_is_as_its_schema_says() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let example = example();
    let mut found = Vec::new();
    faults(&example, &schema, &schema, "status", &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // The example has one of each, so that nothing of the schema goes unseen.
    for list in ["nodes", "resources", "failures", "history", "tickets", "bans", "alerts", "fencing"] {
        assert!(!example[list].as_array().unwrap().is_empty(), "{list} is empty");
    }
    let kinds: Vec<&str> = example["resources"].as_array().unwrap().iter().filter_map(|r| r["kind"].as_str()).collect();
    // The last is what the cluster makes itself for the guest node.
    assert_eq!(kinds, ["primitive", "primitive", "group", "clone", "bundle", "primitive"]);
}

#[test]
fn what_the_schema_does_not_allow_is_seen() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let spoil = |change: &dyn Fn(&mut Value)| {
        let mut example = example();
        change(&mut example);
        let mut found = Vec::new();
        faults(&example, &schema, &schema, "status", &mut found);
        found.len()
    };
    assert_eq!(spoil(&|_| {}), 0);
    assert!(spoil(&|status| status["summary"]["more"] = true.into()) > 0);
    assert!(spoil(&|status| status["nodes"][0]["online"] = "yes".into()) > 0);
    assert!(spoil(&|status| status["fencing"][0]["state"] = "over".into()) > 0);
    assert!(spoil(&|status| drop(status.as_object_mut().unwrap().remove("bans"))) > 0);
    assert!(spoil(&|status| drop(status["resources"][0].as_object_mut().unwrap().remove("id"))) > 0);
}

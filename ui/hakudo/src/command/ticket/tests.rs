//! What `hakudo ticket` prints for programs is what its schema says.

use crate::compat::tests::all_of;
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../schema/ticket.json");

/// What in a value the schema does not allow.
fn faults(value: &Value, schema: &Value, at: &str) -> Vec<String> {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    let mut found = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "description" | "properties" => true,
            "type" => match rule {
                Value::String(name) => is(name),
                names => names.as_array().unwrap().iter().any(|name| is(name.as_str().unwrap())),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "required" if value.is_null() => true,
            "required" => rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                let known = &schema["properties"];
                value.as_object().is_none_or(|all| all.keys().all(|name| known.get(name).is_some()))
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                found.extend(items.flat_map(|(number, item)| faults(item, rule, &format!("{at}[{number}]"))));
                true
            }
            other => panic!("no keyword {other}"),
        };
        if !holds {
            found.push(format!("{at}: {keyword} does not hold of {value}"));
        }
    }
    let named = |name: &String| schema.get("properties").and_then(|all| all.get(name));
    for (name, field) in value.as_object().into_iter().flatten() {
        if let Some(rule) = named(name) {
            found.extend(faults(field, rule, &format!("{at}.{name}")));
        }
    }
    found
}

/// The JSON of a command, which is as that part of the schema says.
fn json(line: &str, part: &str) -> Value {
    let (exit, text, _) = all_of(&format!("hakudo ticket {line} --output-as=json"));
    assert_eq!(exit, 0, "{line}: {text}");
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let found = faults(&value, &schema["$defs"][part], line);
    assert!(found.is_empty(), "{found:#?}");
    value
}

#[test]
fn every_command_prints_json_as_its_schema_says() {
    json("list", "group");
    json("peers", "group");
    for line in
        ["standby T", "activate T", "disclaim on", "disclaim off --ticket T", "drill on", "revoke U", "attr T fresh no"]
    {
        json(line, "done");
    }
    json("take-over 192.0.2.1 --the-others-are-down", "done");
    assert_eq!(json("revoke U", "done")["outcome"], "not-held");
    let granted = json("grant U --to 192.0.2.2", "done");
    assert_eq!((&granted["outcome"], &granted["site"]), (&"granted".into(), &"192.0.2.2".into()));
    assert_eq!(granted["steps"][0], "asking 192.0.2.2 whether it can take the ticket");
    let moved = json("move T --to 192.0.2.2", "done");
    assert_eq!(moved["interruption_seconds"], 0.25);
    assert_eq!(json("move T --to 192.0.2.2 --dry-run", "done")["outcome"], "would");
    assert_eq!(json("attr T", "attributes")[0]["value"], "yes");
}

#[test]
fn an_explanation_says_all_that_its_text_says() {
    let told = json("explain T", "explanation");
    assert_eq!((&told["holder"], &told["lease"]), (&"192.0.2.1".into(), &"unlimited".into()));
    assert_eq!(told["candidates"][0]["reason"], "192.0.2.2 has no quorum");
    assert_eq!(told["candidates"][0]["failures_in_a_row"], 3);
    assert_eq!(told["members"][0]["local"], true);
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains("held by 192.0.2.1") && text.contains("192.0.2.2 could not take it: 192.0.2.2 has no quorum.")
    );
    assert_eq!(all_of("hakudo ticket explain T").1, format!("{text}\n"));
    assert_eq!(all_of("hakudo ticket explain V").0, 105);
    assert_eq!(all_of("hakudo ticket disclaim on --ticket V").0, 105);
}

#[test]
fn what_the_schema_does_not_allow_is_seen() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let done = serde_json::json!({ "outcome": "done", "text": "done", "steps": [] });
    let check = |change: fn(&mut Value)| {
        let mut value = done.clone();
        change(&mut value);
        faults(&value, &schema["$defs"]["done"], "done").len()
    };
    assert_eq!(check(|_| {}), 0);
    assert_eq!(check(|value| value["outcome"] = "perhaps".into()), 1);
    assert_eq!(check(|value| value["steps"] = serde_json::json!([1])), 1);
    assert_eq!(check(|value| value["more"] = 1.into()), 1);
    assert_eq!(check(|value| drop(value.as_object_mut().unwrap().remove("text"))), 1);
}

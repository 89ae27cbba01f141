//! `ocf:hakudo:Dummy`: a resource that is nothing but a file, for trying out what a cluster does.

use super::*;

pub(super) const DESCRIPTION: Description = Description {
    name: "Dummy",
    short: "A resource that does nothing",
    long: "Keeps a file while it is started. It serves to try out a cluster's configuration, and can be told to take \
           its time or to fail.",
    parameters: &[
        Parameter { unique: true, ..Parameter::optional("state", "string", None, "Where the state is kept") },
        Parameter {
            reloadable: true,
            ..Parameter::optional("op_sleep", "second", Some("0"), "How long each action takes")
        },
        Parameter {
            reloadable: true,
            ..Parameter::optional("fail", "string", None, "Actions that fail, separated by spaces")
        },
    ],
    actions: &[
        action("start", 20),
        action("stop", 20),
        monitor(10, None),
        action("reload-agent", 20),
        action("migrate_to", 20),
        action("migrate_from", 20),
        action("validate-all", 20),
        action("meta-data", 5),
    ],
};

pub(super) fn run(surroundings: &Surroundings, action: &str) -> ActionResult {
    let state = surroundings.file(&DESCRIPTION, "state", "state");
    let pause = surroundings.seconds(&DESCRIPTION, "op_sleep")?;
    if action == "validate-all" {
        return Ok(exit_code::OK);
    }
    std::thread::sleep(pause);
    let fails = surroundings.get(&DESCRIPTION, "fail").unwrap_or("");
    if fails.split_whitespace().any(|failing| failing == action) {
        return Err(failure(exit_code::ERROR, format!("{action} fails because the parameter fail says so")));
    }
    match action {
        "start" | "migrate_from" => write_state(&state, "started\n")?,
        "stop" | "migrate_to" => remove_state(&state)?,
        _ if read_state(&state)?.is_none() => return Ok(exit_code::NOT_RUNNING),
        _ => {}
    }
    Ok(exit_code::OK)
}

//! Class `lsb`: init scripts (Linux Standard Base 5, "Init Script Actions").

use super::{Launch, Outcome, Reading, environment, escaped};
use crate::Config;
use crate::process::Program;
use hakudo_base::agent::{AgentCall, exit_code};
use std::fs;

pub(super) fn exists(config: &Config, name: &str) -> bool {
    config.init_directory.join(name).is_file()
}

pub(super) fn launch(config: &Config, call: &AgentCall) -> Launch {
    let path = config.init_directory.join(&call.agent.kind);
    if !exists(config, &call.agent.kind) {
        return Launch::Answer(Outcome::not_installed(format!("there is no init script {}", path.display())));
    }
    let (action, reading) = match call.operation.as_str() {
        "monitor" | "status" => ("status", Reading::LsbStatus),
        "meta-data" => {
            let script = fs::read(&path).unwrap_or_default();
            let text = metadata(&call.agent.kind, &String::from_utf8_lossy(&script));
            return Launch::Answer(Outcome::done(exit_code::OK).with_output(text));
        }
        action @ ("start" | "stop" | "restart" | "reload" | "force-reload") => (action, Reading::LsbAction),
        _ => return Launch::Answer(Outcome::not_implemented(call)),
    };
    let program =
        Program { path, arguments: vec![action.to_owned()], environment: environment(config), ..Program::default() };
    Launch::Run(program, reading)
}

/// LSB and OCF agree on what the codes up to 7 mean, except for `status`.
pub(super) fn action_to_ocf(code: i32) -> i32 {
    if (0..=7).contains(&code) { code } else { exit_code::ERROR }
}

/// LSB `status`: 0 running, 1 dead with a pid file, 2 dead with a lock file, 3 not running; 150 and 151 are customary
/// for "not installed" and "not allowed".
pub(super) fn status_to_ocf(code: i32) -> i32 {
    match code {
        0 => exit_code::OK,
        1..=3 => exit_code::NOT_RUNNING,
        150 => exit_code::NOT_INSTALLED,
        151 => exit_code::INSUFFICIENT_PRIV,
        _ => exit_code::ERROR,
    }
}

/// Meta-data from the comment block at the head of an init script.
fn metadata(name: &str, script: &str) -> String {
    let header = || {
        let lines = script.lines().skip_while(|line| !line.starts_with("### BEGIN INIT INFO")).skip(1);
        lines.take_while(|line| line.starts_with('#') && !line.starts_with("### END INIT INFO"))
    };
    let field = |name: &str| {
        let value = header().find_map(|line| line.strip_prefix("# ")?.strip_prefix(name)?.strip_prefix(':'));
        value.map_or("", str::trim)
    };
    let short = match field("Short-Description") {
        "" => name,
        text => text,
    };
    let long = match field("Description") {
        "" => short,
        text => text,
    };
    simple_metadata(name, short, long)
}

/// Meta-data of an agent without parameters that knows how to start, stop and tell its status.
pub(super) fn simple_metadata(name: &str, short: &str, long: &str) -> String {
    let (name, short, long) = (escaped(name), escaped(short), escaped(long));
    format!(
        r#"<?xml version="1.0"?>
<resource-agent name="{name}" version="0.1">
  <version>1.1</version>
  <longdesc lang="en">{long}</longdesc>
  <shortdesc lang="en">{short}</shortdesc>
  <parameters/>
  <actions>
    <action name="start" timeout="100s"/>
    <action name="stop" timeout="100s"/>
    <action name="monitor" timeout="100s" interval="60s"/>
    <action name="meta-data" timeout="5s"/>
  </actions>
</resource-agent>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_script_becomes_meta_data() {
        let script = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: x\n# Short-Description: A & B\n### END INIT INFO\n";
        let text = metadata("x", script);
        assert!(text.contains("<shortdesc lang=\"en\">A &amp; B</shortdesc>"), "{text}");
        assert!(text.contains("<longdesc lang=\"en\">A &amp; B</longdesc>"), "{text}");
        assert!(metadata("bare", "#!/bin/sh\n").contains("<shortdesc lang=\"en\">bare<"));
    }
}

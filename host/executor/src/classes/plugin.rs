//! Class `stonith`, types `external/NAME`: the plugins of cluster-glue, as the `stonith` command of that project calls them.
//!
//! A plugin is a program that gets an action as its first argument, for `on`, `off` and `reset` the node as its second, and
//! its parameters in its environment. It answers with exit code 0 or another, and prints what it was asked for.

use super::fence::{host_of, is_for_the_cluster};
use super::{Launch, Outcome, Reading, entries, environment, escaped};
use crate::Config;
use crate::process::Program;
use hakudo_base::agent::AgentCall;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

/// What the types of plugins begin with; the rest is the name of a program.
pub(super) const PREFIX: &str = "external/";
/// The parameter in which the fencer names the node to these plugins. None has one of this name.
const HOST: &str = "plug";

/// How to run a plugin for an operation of the fence agents' interface.
pub(super) fn launch(config: &Config, call: &AgentCall, operation: &str, action: &str) -> Launch {
    let kind = &call.agent.kind;
    let mut places = config.plugin_directories.iter().map(|place| place.join(kind));
    let Some(path) = places.find(|path| path.is_file()) else {
        let places: Vec<_> = config.plugin_directories.iter().map(|place| place.display().to_string()).collect();
        let reason = format!("{} is not installed: there is no {kind} in {}", call.agent, places.join(", "));
        return Launch::Answer(Outcome::not_installed(reason));
    };
    let action = match action {
        "monitor" => "status",
        "reboot" => "reset",
        "list" => "gethosts",
        "metadata" => "getinfo-xml",
        other => other,
    };
    let mut arguments = vec![action.to_owned()];
    if matches!(action, "on" | "off" | "reset") {
        let Some(host) = host_of(call).filter(|host| !host.is_empty()) else {
            return Launch::Answer(Outcome::invalid(format!("{} of which node?", call.operation)));
        };
        arguments.push(host.to_owned());
    }
    let program = Program {
        path,
        arguments,
        environment: variables(config, call),
        answers: matches!(action, "gethosts" | "getinfo-xml"),
        ..Program::default()
    };
    Launch::Run(program, if operation == "metadata" { Reading::PluginParameters } else { Reading::Fence })
}

/// The usual environment with the place of cluster-glue's shell library in `PATH`, and the parameters.
fn variables(config: &Config, call: &AgentCall) -> Vec<(String, String)> {
    let mut variables = environment(config);
    for (name, value) in &mut variables {
        if name == "PATH" {
            value.push_str(":/usr/share/cluster-glue");
        }
    }
    let own: BTreeSet<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    let parameters = call.parameters.iter().filter(|(name, _)| {
        let odd = name.is_empty() || name.contains(['=', '\0']);
        !odd && *name != HOST && !is_for_the_cluster(name) && !own.contains(*name)
    });
    variables.extend(parameters.map(|(name, value)| (name.clone(), value.clone())));
    variables
}

/// Meta-data as fence agents give them, from the `<parameters>` that a plugin printed.
pub(super) fn metadata(kind: &str, output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    let inner = output
        .split_once("<parameters>")
        .and_then(|(_, rest)| rest.rsplit_once("</parameters>"))
        .map_or("", |(parameters, _)| parameters.trim());
    let name = escaped(kind);
    format!(
        r#"<?xml version="1.0"?>
<resource-agent name="{name}" version="1.0">
  <version>1.0</version>
  <longdesc lang="en">The plugin {name} of cluster-glue</longdesc>
  <shortdesc lang="en">Fencing by {name}</shortdesc>
  <parameters>
    <parameter name="{HOST}"><content type="string"/><shortdesc lang="en">The node to be fenced</shortdesc></parameter>
    {inner}
  </parameters>
  <actions>
    <action name="on"/>
    <action name="off"/>
    <action name="reboot"/>
    <action name="monitor" timeout="20s" interval="3600s"/>
    <action name="list"/>
    <action name="metadata" timeout="15s"/>
  </actions>
</resource-agent>
"#
    )
}

/// The types of the plugins that are installed.
pub(super) fn list(config: &Config) -> impl Iterator<Item = String> {
    let is_program = |file: &std::fs::Metadata| file.is_file() && file.permissions().mode() & 0o111 != 0;
    let names = config.plugin_directories.iter().flat_map(move |place| entries(&place.join(PREFIX), is_program));
    names.map(|name| format!("{PREFIX}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_prints_becomes_metadata() {
        let parameters = |output: &str| {
            let text = metadata("external/x", output.as_bytes());
            let (_, rest) = text.split_once("</parameter>\n").unwrap();
            rest.split_once("</parameters>").unwrap().0.trim().to_owned()
        };
        let given = r#"<parameter name="hostlist" unique="1"/>"#;
        assert_eq!(parameters(&format!("noise <parameters>\n{given}\n</parameters> more")), given);
        assert_eq!(parameters("no XML at all"), "");
        assert_eq!(parameters("</parameters><parameters>"), "");
    }
}

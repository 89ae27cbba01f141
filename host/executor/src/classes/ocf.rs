//! Class `ocf`: OCF resource agent API 1.1, and what agents rely on beyond it.

use super::{Launch, Outcome, Reading, entries, environment, executables, is_plain};
use crate::Config;
use crate::process::{Program, REASON_PREFIX};
use hakudo_base::agent::AgentCall;
use std::collections::BTreeSet;

pub(super) fn launch(config: &Config, call: &AgentCall) -> Launch {
    let Some(provider) = &call.agent.provider else {
        return Launch::Answer(Outcome::invalid(format!("{} has no provider", call.agent)));
    };
    let place = format!("resource.d/{provider}/{}", call.agent.kind);
    let Some(root) = config.ocf_roots.iter().find(|root| root.join(&place).exists()) else {
        let roots: Vec<_> = config.ocf_roots.iter().map(|root| root.display().to_string()).collect();
        let reason = format!("{} is not installed: there is no {place} in {}", call.agent, roots.join(", "));
        return Launch::Answer(Outcome::not_installed(reason));
    };
    let mut variables = environment(config);
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    set("OCF_ROOT", &root.to_string_lossy());
    set("OCF_RA_VERSION_MAJOR", "1");
    set("OCF_RA_VERSION_MINOR", "1");
    set("OCF_EXIT_REASON_PREFIX", REASON_PREFIX);
    set("OCF_RESOURCE_INSTANCE", &call.resource);
    set("OCF_RESOURCE_TYPE", &call.agent.kind);
    set("OCF_RESOURCE_PROVIDER", provider);
    for (name, value) in CLUSTER_MANAGER {
        set(name, value);
    }
    for (name, value) in &call.parameters {
        match name.as_str() {
            // OCF 1.1 §3.3 gives the depth of a check in a variable of its own.
            "OCF_CHECK_LEVEL" => set(name, value),
            _ => set(&format!("OCF_RESKEY_{name}"), value),
        }
    }
    let program = Program {
        path: root.join(place),
        arguments: vec![call.operation.clone()],
        environment: variables,
        input: None,
        answers: matches!(call.operation.as_str(), "meta-data" | "validate-all"),
    };
    Launch::Run(program, Reading::Ocf)
}

/// Variables of cluster managers that the shell library of resource-agents looks at: where it logs, and what cluster
/// stack it runs under.
const CLUSTER_MANAGER: [(&str, &str); 6] = [
    ("HA_LOGFACILITY", "daemon"),
    ("HA_logfacility", "daemon"),
    ("HA_debug", "0"),
    ("HA_cluster_type", "corosync"),
    ("HA_quorum_type", "corosync"),
    ("PCMK_logfacility", "daemon"),
];

/// The agents of `provider`, or `provider:type` of all.
pub(super) fn list(config: &Config, provider: Option<&str>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for root in &config.ocf_roots {
        let directory = root.join("resource.d");
        match provider {
            Some(provider) if is_plain(provider) => names.extend(executables(&directory.join(provider))),
            Some(_) => {}
            None => {
                for provider in entries(&directory, |metadata| metadata.is_dir()) {
                    let agents = executables(&directory.join(&provider));
                    names.extend(agents.into_iter().map(|agent| format!("{provider}:{agent}")));
                }
            }
        }
    }
    names
}

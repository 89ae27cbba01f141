//! What agents declare of their parameters, and the digests that follow from it.
//!
//! A change of a parameter need not restart a resource: an agent that can reload says which parameters need more
//! (OCF 1.1: those without `reloadable`; agents of OCF 1.0 with an action `reload`: those with `unique`). And some
//! parameters are secrets. The scheduler sees what changed by digests in the history of operations; only where the agent
//! is can they be made. Pacemaker's controller does the same (Pacemaker Explained, "Reloading an Agent After a Definition
//! Change").
//!
//! Meta-data is asked for once, beside the first operation of an agent, and again when the agent's file has changed.

use crate::classes::{self, Launch};
use crate::server::{Runner, metadata_call};
use hakudo_base::agent::{AgentCall, AgentName, ParameterDigests};
use hakudo_cib::{Element, Node, digest, values};
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::OnceCell;

/// How long an agent may take for meta-data while an operation's result waits for it.
const TIMEOUT_MS: u64 = 5_000;
/// Secrets of agents that declare none.
const CUSTOMARY_SECRETS: [&str; 3] = ["password", "passwd", "user"];

/// What is known of agents.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    agents: Mutex<BTreeMap<AgentName, Known>>,
}

#[derive(Debug)]
struct Known {
    /// When the agent's file was changed last.
    changed: Option<SystemTime>,
    declared: Arc<OnceCell<Option<Declared>>>,
}

/// What an agent declares.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Declared {
    /// The parameters whose change needs a restart; nothing if every change does.
    restart: Option<Vec<String>>,
    private: Vec<String>,
}

impl Declarations {
    /// The digests that belong into the history of a call.
    pub(crate) async fn digests(&self, runner: &Runner, call: &AgentCall) -> ParameterDigests {
        if !counts(call) {
            return ParameterDigests::default();
        }
        let Launch::Run(program, _) =
            classes::launch(&runner.config, &metadata_call(call.agent.clone(), TIMEOUT_MS), false)
        else {
            return ParameterDigests::default();
        };
        let changed = fs::metadata(&program.path).and_then(|file| file.modified()).ok();
        let declared = self.known(&call.agent, changed);
        let declared = declared.get_or_init(|| ask(runner, &call.agent)).await;
        declared.as_ref().map(|declared| declared.digests(call)).unwrap_or_default()
    }

    fn known(&self, agent: &AgentName, changed: Option<SystemTime>) -> Arc<OnceCell<Option<Declared>>> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        match agents.get(agent) {
            Some(known) if known.changed == changed => known.declared.clone(),
            _ => {
                let known = Known { changed, declared: Arc::default() };
                let declared = known.declared.clone();
                agents.insert(agent.clone(), known);
                declared
            }
        }
    }
}

async fn ask(runner: &Runner, agent: &AgentName) -> Option<Declared> {
    let text = runner.metadata(agent.clone(), TIMEOUT_MS).await;
    match text.and_then(|text| Declared::parse(&text, agent.class == "ocf")) {
        Ok(declared) => Some(declared),
        Err(reason) => {
            tracing::warn!(%agent, reason, "every change of a parameter will restart resources of this agent");
            None
        }
    }
}

/// Whether an operation's history tells of parameters: those that Pacemaker's controller takes.
fn counts(call: &AgentCall) -> bool {
    const OPERATIONS: [&str; 8] =
        ["start", "monitor", "promote", "demote", "reload", "reload-agent", "migrate_to", "migrate_from"];
    matches!(&*call.agent.class, "ocf" | "stonith") && OPERATIONS.contains(&&*call.operation)
}

impl Declared {
    /// Reads what an agent printed. Complaints around the document are passed over.
    fn parse(output: &str, is_ocf: bool) -> Result<Self, String> {
        let start = output.find("<resource-agent").ok_or("its meta-data has no <resource-agent>")?;
        let root = output[start..].rsplit_once('>').ok_or("its meta-data has no end")?.0;
        let root = Element::parse(&format!("{root}>")).map_err(|error| format!("its meta-data: {error}"))?;
        let parameters: Vec<&Element> = items(&root, "parameters", "parameter").collect();
        let with = |flag: &str, wanted: bool| -> Vec<String> {
            let is_set = |p: &Element| p.attribute(flag).and_then(values::boolean) == Some(true);
            let fits = parameters.iter().filter(|p| is_set(p) == wanted);
            fits.filter_map(|p| p.attribute("name")).map(str::to_owned).collect()
        };
        let has_action = |name: &str| items(&root, "actions", "action").any(|a| a.attribute("name") == Some(name));
        let is_ocf_1_1 = is_ocf && root.child("version").is_some_and(|version| is_1_1(text_of(version)));
        let restart = match is_ocf_1_1 {
            true => has_action("reload-agent").then(|| with("reloadable", false)),
            false => has_action("reload").then(|| with("unique", true)),
        };
        let mut private = with("private", true);
        if private.is_empty() {
            private = with("private", false);
            private.retain(|name| CUSTOMARY_SECRETS.contains(&&**name));
        }
        Ok(Self { restart, private })
    }

    fn digests(&self, call: &AgentCall) -> ParameterDigests {
        let parameters = digest::agent_parameters(&call.parameters);
        let restart = self.restart.as_ref().filter(|_| call.interval_ms == 0).map(|names| {
            let list = list(names);
            let digest = digest::operation(&digest::restart_parameters(&parameters, Some(&list)));
            (list, digest)
        });
        let secure = (!self.private.is_empty()).then(|| {
            let list = list(&self.private);
            let mut open = digest::secure_parameters(&parameters, Some(&list));
            // Only what an agent declares counts here, and none declares the timeout.
            open.remove("CRM_meta_timeout");
            (list, digest::operation(&open))
        });
        ParameterDigests { restart, secure }
    }
}

fn items<'a>(root: &'a Element, list: &str, item: &'a str) -> impl Iterator<Item = &'a Element> {
    root.child(list).into_iter().flat_map(move |all| all.children_named(item))
}

fn text_of(element: &Element) -> &str {
    let text = element.nodes().iter().find_map(|node| match node {
        Node::Text(text) => Some(&**text),
        _ => None,
    });
    text.unwrap_or_default()
}

fn is_1_1(version: &str) -> bool {
    let mut parts = version.trim().split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (1, 1)
}

/// Names as the history has them: each between blanks; nothing at all where there is none.
fn list(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("  {}  ", names.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(version: &str, actions: &str, parameters: &str) -> (Option<String>, String) {
        let actions: String = actions.split(' ').map(|name| format!("<action name='{name}'/>")).collect();
        let text = format!(
            "a warning\n<?xml version='1.0'?>\n<!DOCTYPE resource-agent SYSTEM 'ra-api-1.dtd'>\n<resource-agent name='x'>\
             <version>{version}</version><parameters>{parameters}</parameters><actions>{actions}</actions>\
             </resource-agent>\n"
        );
        let Declared { restart, private } = Declared::parse(&text, true).unwrap();
        (restart.map(|names| list(&names)), list(&private))
    }

    #[test]
    fn what_needs_a_restart_and_what_is_secret() {
        let parameters = "<parameter name='a' unique='1' reloadable='0'/><parameter name='b' reloadable='1'/>\
                          <parameter name='passwd' unique='1' reloadable='true'/>";
        let both = (Some("  a  ".to_owned()), "  passwd  ".to_owned());
        assert_eq!(declared("1.1", "start reload-agent reload", parameters), both);
        let legacy = (Some("  a passwd  ".to_owned()), "  passwd  ".to_owned());
        assert_eq!(declared("1.0", "start reload", parameters), legacy);
        // OCF 1.1 says that reload is a matter of the service; OCF 1.0 does not know reload-agent.
        assert_eq!(declared("1.1", "start reload", parameters).0, None);
        assert_eq!(declared("1.0", "start reload-agent", parameters).0, None);
        assert_eq!(declared("1.1", "reload-agent", "<parameter name='b' reloadable='1'/>").0, Some(String::new()));
        let marked = "<parameter name='key' private='1'/><parameter name='user'/>";
        assert_eq!(declared("1.1", "start", marked), (None, "  key  ".to_owned()));
        assert!(Declared::parse("no XML", true).is_err());
        assert!(Declared::parse("<resource-agent><x></resource-agent>", true).is_err());
    }

    #[test]
    fn digests_tell_which_parameters_changed() {
        let declared = Declared { restart: Some(vec!["state".into()]), private: vec!["passwd".into()] };
        let digests = |interval_ms: u64, parameters: &[(&str, &str)]| {
            let mut call = metadata_call(AgentName { class: "ocf".into(), provider: None, kind: "x".into() }, 0);
            call.interval_ms = interval_ms;
            call.parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            call.parameters.insert("CRM_meta_interval".into(), interval_ms.to_string());
            call.parameters.insert("CRM_meta_timeout".into(), format!("{interval_ms}1"));
            declared.digests(&call)
        };
        let before = digests(0, &[("state", "1"), ("delay", "2"), ("passwd", "3")]);
        let reload = digests(0, &[("state", "1"), ("delay", "9"), ("passwd", "3")]);
        let restart = digests(0, &[("state", "9"), ("delay", "2"), ("passwd", "3")]);
        let secret = digests(0, &[("state", "1"), ("delay", "2"), ("passwd", "9")]);
        assert_eq!(before.restart.as_ref().unwrap().0, "  state  ");
        assert_eq!(before.restart, reload.restart);
        assert_ne!(before.restart, restart.restart);
        assert_eq!(before, secret);
        assert_ne!(before.secure, reload.secure);
        let recurring = digests(10, &[("state", "1"), ("delay", "2"), ("passwd", "3")]);
        assert_eq!(recurring.restart, None);
        assert_eq!(recurring.secure, before.secure);
    }
}

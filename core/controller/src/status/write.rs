//! `<status>` as the scheduler and people read it, in Pacemaker's form.

use super::history::{History, Operation, PENDING};
use super::{FEATURE_SET, Join, NodeStatus, Status, Written};
use hakudo_base::NodeId;
use hakudo_base::agent::ExecutionStatus;
use hakudo_cib::Element;
use std::sync::Arc;

impl Status {
    /// The element, with `cib_id` giving the id under which the configuration knows a node. A member that `waits` is not
    /// used for anything yet.
    pub(crate) fn write(
        &mut self,
        cib_id: impl Fn(NodeId, &str) -> String,
        waits: impl Fn(&NodeStatus) -> bool,
    ) -> Element {
        let mut status = Element::new("status");
        for (node, state) in &mut self.nodes {
            let waits = waits(state);
            status.push(state.write(&cib_id(*node, &state.name), waits));
        }
        status
    }
}

impl NodeStatus {
    fn write(&mut self, id: &str, waits: bool) -> Arc<Element> {
        let join = match self.join {
            Join::Member if waits => "pending",
            Join::Member => "member",
            Join::Down => "down",
        };
        let fits = |element: &&Arc<Element>| element.id() == id && element.attribute("join") == Some(join);
        if let Some(element) = self.written.0.as_ref().filter(fits) {
            return element.clone();
        }
        let mut element = Element::new("node_state")
            .with("id", id)
            .with("uname", &self.name)
            .with("in_ccm", if self.in_view { "true" } else { "false" })
            .with("crmd", if self.online { "online" } else { "offline" })
            .with("join", join)
            .with("expected", if self.expected { "member" } else { "down" });
        // What a node was told that failed or is lost (that it is to leave, for one) does not make it any safer.
        let failed = self.expected && !self.online;
        if !self.attributes.is_empty() && !failed {
            element.push(self.write_attributes(id));
        }
        if !self.resources.is_empty() || self.online {
            let mut resources = Element::new("lrm_resources");
            for (name, history) in &mut self.resources {
                resources.push(history.write(name, &self.name));
            }
            element.push(Element::new("lrm").with("id", id).with_child(resources));
        }
        let element = Arc::new(element);
        self.written = Written(Some(element.clone()));
        element
    }

    fn write_attributes(&self, id: &str) -> Element {
        let mut set = Element::new("instance_attributes").with("id", format!("status-{id}"));
        for (name, value) in &self.attributes {
            set.push(
                Element::new("nvpair")
                    .with("id", format!("status-{id}-{}", as_id(name)))
                    .with("name", name)
                    .with("value", value),
            );
        }
        Element::new("transient_attributes").with("id", id).with_child(set)
    }
}

/// An attribute's name with every character that an XML id cannot have replaced by a dot.
fn as_id(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '.' }).collect()
}

impl History {
    fn write(&mut self, name: &str, node: &str) -> Arc<Element> {
        if let Some(element) = &self.written.0 {
            return element.clone();
        }
        let mut element = Element::new("lrm_resource").with("id", name).with("class", &self.agent.class);
        if let Some(provider) = &self.agent.provider {
            element.set("provider", provider);
        }
        element.set("type", &self.agent.kind);
        let mut pending = false;
        for (entry, operation) in &self.operations {
            if !entry.starts_with(PENDING) {
                element.push(operation.write(&format!("{name}_{entry}"), node));
            } else if !std::mem::replace(&mut pending, true) {
                element.push(operation.write(&format!("{name}_{PENDING}0"), node));
            }
        }
        let element = Arc::new(element);
        self.written = Written(Some(element.clone()));
        element
    }
}

impl Operation {
    fn write(&self, id: &str, node: &str) -> Element {
        let issued = &self.issued;
        let status = self.status as i8;
        let mut element = Element::new("lrm_rsc_op")
            .with("id", id)
            .with("operation_key", format!("{}_{}_{}", issued.resource, issued.task, issued.interval_ms))
            .with("operation", &issued.task)
            .with("crm_feature_set", FEATURE_SET)
            .with("transition-key", &issued.transition_key)
            .with("transition-magic", format!("{status}:{};{}", self.exit_code, issued.transition_key))
            .with("exit-reason", &self.exit_reason)
            .with("on_node", node)
            .with("call-id", self.call.to_string())
            .with("rc-code", self.exit_code.to_string())
            .with("op-status", status.to_string())
            .with("interval", issued.interval_ms.to_string())
            .with("exec-time", self.exec_time_ms.to_string())
            .with("queue-time", self.queue_time_ms.to_string());
        // What has not ended yet must not expire (Pacemaker: `failure-timeout` counts from this time): nothing would stop it
        // before it is started elsewhere.
        if self.status != ExecutionStatus::Pending {
            element.set("last-rc-change", &self.last_rc_change.to_string());
        }
        if let Some((source, target)) = &issued.migration {
            element.set("migrate_source", source);
            element.set("migrate_target", target);
        }
        if let Some(digest) = &issued.digests.all {
            element.set("op-digest", digest);
        }
        if let Some((parameters, digest)) = &issued.digests.restart {
            element.set("op-force-restart", parameters);
            element.set("op-restart-digest", digest);
        }
        if let Some((parameters, digest)) = &issued.digests.secure {
            element.set("op-secure-params", parameters);
            element.set("op-secure-digest", digest);
        }
        element
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Digests, Issued};
    use hakudo_base::agent::{AgentName, AgentResult, ExecutionStatus, ParameterDigests, exit_code};

    fn issued(task: &str, interval_ms: u64) -> Issued {
        Issued {
            resource: "db".into(),
            agent: AgentName { class: "ocf".into(), provider: Some("p".into()), kind: "Db".into() },
            task: task.into(),
            interval_ms,
            target_rc: 0,
            ignore_failure: false,
            transition_key: "1:2:0:x".into(),
            digests: Digests { all: Some("all".into()), ..Digests::default() },
            migration: None,
            answered: false,
        }
    }

    #[test]
    fn a_recurring_monitor_that_a_stop_ends_before_its_first_answer_is_not_pending_for_ever() {
        let mut status = NodeStatus::default();
        status.note_issued(1, issued("monitor", 1000), 7);
        assert!(status.write("1", false).to_compact_xml().contains("db_monitor_1000"));
        status.note_issued(2, issued("stop", 0), 8);
        assert!(!status.write("1", false).to_compact_xml().contains("db_monitor_1000"));
    }

    #[test]
    fn what_the_executor_learned_of_parameters_is_in_the_history() {
        let mut status = NodeStatus::default();
        status.note_issued(1, issued("start", 0), 7);
        let result = AgentResult {
            call: 1,
            status: ExecutionStatus::Done,
            exit_code: exit_code::OK,
            exit_reason: String::new(),
            output: String::new(),
            exec_time_ms: 3,
            queue_time_ms: 0,
            finished: 8,
            digests: ParameterDigests {
                restart: Some(("  state  ".into(), "r".into())),
                secure: Some(("  passwd  ".into(), "s".into())),
            },
        };
        status.result(&result, true);
        let xml = status.write("1", false).to_compact_xml();
        let digests = r#"op-digest="all" op-force-restart="  state  " op-restart-digest="r" op-secure-params="  passwd  " op-secure-digest="s""#;
        assert!(xml.contains(digests), "{xml}");
    }
}

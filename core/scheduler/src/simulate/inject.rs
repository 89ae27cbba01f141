//! What somebody wants to be otherwise before the plan is made.

use super::Step;
use super::record::{self, Done, OperationResult};
use super::status::Status;
use super::walk::count_failure;
use crate::model::Model;
use crate::transition::ResourceRef;
use hakudo_cib::{Document, Element};
use thiserror::Error;

/// What shall be otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injections {
    /// `have-quorum`.
    pub quorum: Option<String>,
    /// `have-watchdog`.
    pub watchdog: Option<String>,
    /// Nodes that come online; also nodes that are not configured.
    pub nodes_up: Vec<String>,
    /// Nodes that leave cleanly.
    pub nodes_down: Vec<String>,
    /// Nodes that are lost.
    pub nodes_fail: Vec<String>,
    /// Tickets that are granted.
    pub grant: Vec<String>,
    /// Tickets that are revoked.
    pub revoke: Vec<String>,
    /// Tickets that become standby.
    pub standby: Vec<String>,
    /// Tickets that are no longer standby.
    pub activate: Vec<String>,
    /// Results of operations, with the text that asked for each.
    pub operations: Vec<(String, OperationResult)>,
}

impl Injections {
    /// Nothing shall be otherwise.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why something cannot be injected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InjectError {
    /// No such node.
    #[error(
        "there is no node '{0}' in the configuration or in the status: check the name, or bring it up with --node-up"
    )]
    Node(String),
    /// No such resource.
    #[error("there is no resource '{0}' that runs an agent: check the resource of the operation result")]
    Resource(String),
}

/// Puts injections into a document: nodes, tickets, then results of operations. `model` is what the document means as it is; `now` is in
/// seconds since 1970.
///
/// # Errors
/// Where a node or a resource is not there; the document is not returned then.
pub fn inject(
    document: Document,
    injections: &Injections,
    model: &Model,
    now: i64,
) -> Result<(Document, Vec<Step>), InjectError> {
    let mut injector = Injector { status: Status::new(document), steps: Vec::new(), now, model };
    injector.all(injections)?;
    Ok((injector.status.into_document(), injector.steps))
}

struct Injector<'a> {
    status: Status,
    steps: Vec<Step>,
    now: i64,
    model: &'a Model,
}

impl Injector<'_> {
    fn all(&mut self, injections: &Injections) -> Result<(), InjectError> {
        if let Some(quorum) = &injections.quorum {
            self.status.document_mut().root_mut().set("have-quorum", quorum);
            self.steps.push(Step::Quorum(quorum.clone()));
        }
        if let Some(watchdog) = &injections.watchdog {
            set_cluster_option(self.status.document_mut(), "have-watchdog", watchdog);
            self.steps.push(Step::Watchdog(watchdog.clone()));
        }
        for node in &injections.nodes_up {
            self.configure_node(node);
            self.set_state(node, true)?;
            self.steps.push(Step::NodeUp(node.clone()));
        }
        for node in &injections.nodes_down {
            self.set_state(node, false)?;
            self.status.clear(node);
            self.steps.push(Step::NodeDown(node.clone()));
        }
        for node in &injections.nodes_fail {
            self.set_state(node, true)?.set("in_ccm", "false");
            self.steps.push(Step::NodeFail(node.clone()));
        }
        for (change, attribute, value, tickets) in [
            ("Granting", "granted", "true", &injections.grant),
            ("Revoking", "granted", "false", &injections.revoke),
            ("Standby", "standby", "true", &injections.standby),
            ("Activating", "standby", "false", &injections.activate),
        ] {
            for ticket in tickets {
                self.set_ticket(ticket, attribute, value);
                self.steps.push(Step::Ticket { change, ticket: ticket.clone() });
            }
        }
        for (text, operation) in &injections.operations {
            self.steps.push(Step::Injected(text.clone()));
            self.operation(operation)?;
        }
        Ok(())
    }

    /// A node that is not configured gets its name as id.
    fn configure_node(&mut self, node: &str) {
        let configuration = self.status.document_mut().root_mut().child_or_new("configuration");
        let nodes = configuration.child_or_new("nodes");
        if !nodes.children().any(|child| child.attribute("uname") == Some(node)) {
            nodes.push(Element::new("node").with("id", node).with("uname", node));
        }
    }

    fn state_of(&mut self, node: &str) -> Result<&mut Element, InjectError> {
        let configured = self
            .status
            .document_mut()
            .section(&["configuration", "nodes"])
            .and_then(|nodes| nodes.children().find(|child| child.attribute("uname") == Some(node)))
            .map(|child| child.id().to_owned());
        match configured {
            Some(id) => Ok(self.status.state_or_new(node, &id)),
            None => self.status.state(node).ok_or_else(|| InjectError::Node(node.to_owned())),
        }
    }

    fn set_state(&mut self, node: &str, up: bool) -> Result<&mut Element, InjectError> {
        let state = self.state_of(node)?;
        let (member, process, join) = if up { ("true", "online", "member") } else { ("false", "offline", "down") };
        for (name, value) in [
            ("in_ccm", member),
            ("crmd", process),
            ("join", join),
            ("expected", join),
            ("crm-debug-origin", record::ORIGIN),
        ] {
            state.set(name, value);
        }
        Ok(state)
    }

    fn set_ticket(&mut self, ticket: &str, attribute: &str, value: &str) {
        let status = self.status.document_mut().root_mut().child_or_new("status");
        // Made at the end, so that no node's state changes its place.
        let tickets = status.child_or_new("tickets");
        let is_it = |state: &Element| state.name() == "ticket_state" && state.id() == ticket;
        if !tickets.children().any(is_it) {
            tickets.push(Element::new("ticket_state").with("id", ticket));
        }
        if let Some(state) = tickets.find_child_mut(is_it) {
            state.set(attribute, value);
        }
    }

    fn operation(&mut self, result: &OperationResult) -> Result<(), InjectError> {
        let resource =
            self.resource_with_agent(&result.resource).ok_or_else(|| InjectError::Resource(result.resource.clone()))?;
        self.state_of(&result.node)?;
        let for_good = result.task == "stop" || (result.task == "start" && self.model.options.start_failure_is_fatal);
        count_failure(&mut self.status, &mut self.steps, &result.node, result, for_good, self.now);
        let done = Done {
            task: &result.task,
            interval_ms: result.interval_ms,
            node: &result.node,
            exit_code: result.exit_code,
            target: 0,
            exit_reason: "Simulated action result",
            attributes: None,
            now: self.now,
        };
        if let Some(history) = self.status.history(&result.node, &[&result.resource]) {
            record::record(history, &done);
        } else if let Some(history) =
            self.status.new_history(&result.node, record::empty_history(&result.resource, &resource))
        {
            record::record(history, &done);
        }
        Ok(())
    }

    /// A resource that agents are called for: a primitive, an instance of one (also one that no history knows yet), or what a bundle or
    /// guest node brings along.
    fn resource_with_agent(&self, name: &str) -> Option<ResourceRef> {
        let known = self.model.resource_with_id(name).map(|id| self.model.resource(id));
        let instance =
            || self.model.resources().map(|(_, it)| it).find(|it| it.config_id == name && it.agent.is_some());
        let agent = known.or_else(instance)?.agent.clone()?;
        Some(ResourceRef { id: name.to_owned(), long_id: None, agent })
    }
}

/// Sets a cluster option in the first set that has it, or else in the first set.
fn set_cluster_option(document: &mut Document, name: &str, value: &str) {
    let options = document.root_mut().child_or_new("configuration").child_or_new("crm_config");
    let has_it = |set: &Element| {
        set.name() == "cluster_property_set" && set.children().any(|pair| pair.attribute("name") == Some(name))
    };
    if !options.children().any(|set| set.name() == "cluster_property_set") {
        options.push(Element::new("cluster_property_set").with("id", "cib-bootstrap-options"));
    }
    let any_has_it = options.children().any(has_it);
    let Some(set) =
        options.find_child_mut(|set| if any_has_it { has_it(set) } else { set.name() == "cluster_property_set" })
    else {
        return;
    };
    match set.find_child_mut(|pair| pair.attribute("name") == Some(name)) {
        Some(pair) => pair.set("value", value),
        None => {
            let id = format!("{}-{name}", set.id());
            set.push(Element::new("nvpair").with("id", id).with("name", name).with("value", value));
        }
    }
}

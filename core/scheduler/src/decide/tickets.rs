//! `<rsc_ticket>`: resources that may run only while this site holds a ticket.

use super::sets::ResourceSet;
use crate::model::{Kind, Resource, ResourceId, Role, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::transition::TicketUse;
use hakudo_cib::Element;
use std::collections::{BTreeMap, BTreeSet};

/// What happens when the ticket is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LossPolicy {
    Stop,
    Demote,
    Fence,
    Freeze,
}

/// The history says that it is active in the role that matters.
fn is_active(part: &Resource, promoted: bool) -> bool {
    match promoted {
        true => part.role == Role::Promoted || part.pending_task.as_deref() == Some("promote"),
        false => !part.active_on.is_empty() || part.start_pending,
    }
}

/// The plan makes or leaves it active in the role that matters.
fn will_be_active(part: &Resource, promoted: bool) -> bool {
    let stays = !part.managed && is_active(part, promoted);
    let placed = part.assigned_to.is_some() && part.next_role > Role::Stopped;
    stays || placed && !part.blocked && (!promoted || part.next_role == Role::Promoted)
}

/// A resource that depends on a ticket.
#[derive(Clone, Debug)]
pub(crate) struct TicketConstraint {
    id: String,
    resource: ResourceId,
    ticket: String,
    role: Role,
    policy: LossPolicy,
}

impl Planner {
    pub(crate) fn read_ticket_constraint(&mut self, constraint: &Element) {
        let Some(ticket) = constraint.attribute("ticket").filter(|ticket| !ticket.is_empty()) else {
            return self.problem(constraint.id(), "a ticket constraint without ticket is ignored");
        };
        self.model.tickets.entry(ticket.to_owned()).or_default();
        if self.read_needs(constraint, ticket).is_none() {
            self.wrong_ticket_constraints.insert(ticket.to_owned(), constraint.id().to_owned());
        }
    }

    /// None where it is wrong.
    fn read_needs(&mut self, constraint: &Element, ticket: &str) -> Option<()> {
        let mut sets = self.read_sets(constraint)?;
        if sets.is_empty() {
            match self.as_set(constraint, "rsc", false) {
                Ok(Some(mut set)) => {
                    set.role = constraint.attribute("rsc-role").map(str::to_owned);
                    sets.push(set);
                }
                Ok(None) => {}
                Err(()) => return None,
            }
        }
        if sets.is_empty() {
            let id = constraint.attribute("rsc").unwrap_or_default().to_owned();
            sets.push(ResourceSet {
                id: constraint.id().to_owned(),
                members: vec![id],
                role: constraint.attribute("rsc-role").map(str::to_owned),
                ..ResourceSet::default()
            });
        }
        for set in sets {
            for id in &set.members {
                let member = self.member(&set, id)?;
                self.add_ticket_constraint(&set, member, ticket, constraint.attribute("loss-policy"))?;
            }
        }
        Some(())
    }

    fn add_ticket_constraint(
        &mut self,
        set: &ResourceSet,
        resource: ResourceId,
        ticket: &str,
        policy: Option<&str>,
    ) -> Option<()> {
        let role = self.constraint_role(&set.id, set.role.as_deref())?;
        let fencing = self.model.options.fencing_enabled;
        let policy = match policy.map(str::to_ascii_lowercase).as_deref() {
            Some("fence") if fencing => LossPolicy::Fence,
            Some("fence") => {
                self.problem(&set.id, "loss-policy=fence becomes stop because fencing is disabled");
                LossPolicy::Stop
            }
            Some("freeze") => LossPolicy::Freeze,
            Some("demote") => LossPolicy::Demote,
            Some("stop") => LossPolicy::Stop,
            _ if role == Role::Promoted => LossPolicy::Demote,
            _ => LossPolicy::Stop,
        };
        let constraint = TicketConstraint { id: set.id.clone(), resource, ticket: ticket.to_owned(), role, policy };
        self.apply_ticket(resource, &constraint);
        self.ticket_constraints.push(constraint);
        Some(())
    }

    fn apply_ticket(&mut self, resource: ResourceId, constraint: &TicketConstraint) {
        let state = self.model.tickets.get(&constraint.ticket).cloned().unwrap_or_default();
        if state.granted && !state.standby {
            return;
        }
        let children = self.resource(resource).children.clone();
        if !children.is_empty() {
            for child in children {
                self.apply_ticket(child, constraint);
            }
            return;
        }
        let share = Share::new(Source::Ticket, &constraint.id);
        let subject = self.resource(resource);
        let role_matches = constraint.role == Role::Unknown || constraint.role == subject.role;
        if state.granted || subject.active_on.is_empty() {
            if constraint.role != Role::Promoted || constraint.policy == LossPolicy::Stop {
                self.add_score(resource, None, Score::MINUS_INFINITY, &share);
            }
            return;
        }
        match constraint.policy {
            LossPolicy::Stop => self.add_score(resource, None, Score::MINUS_INFINITY, &share),
            LossPolicy::Demote => {
                if constraint.role != Role::Promoted {
                    self.add_score(resource, None, Score::MINUS_INFINITY, &share);
                }
            }
            LossPolicy::Fence => {
                if role_matches {
                    self.add_score(resource, None, Score::MINUS_INFINITY, &share);
                    for node in self.resource(resource).active_on.clone() {
                        self.fence_node(node, "deadman ticket was lost", false);
                    }
                }
            }
            LossPolicy::Freeze => {
                if role_matches {
                    let subject = self.resource_mut(resource);
                    subject.managed = false;
                    subject.blocked = true;
                }
            }
        }
    }

    /// How the resources of each ticket stand, before and after the plan.
    pub(crate) fn ticket_uses(&self) -> BTreeMap<String, TicketUse> {
        let unused = || TicketUse {
            active: false,
            started: true,
            able: Ok(()),
            unread: false,
            stays: None,
            resources: BTreeSet::new(),
            fence: false,
        };
        let mut uses = BTreeMap::new();
        for constraint in &self.ticket_constraints {
            let entry: &mut TicketUse = uses.entry(constraint.ticket.clone()).or_insert_with(unused);
            self.note_primitives(constraint.resource, &mut entry.resources);
            entry.fence |= constraint.policy == LossPolicy::Fence;
            let promoted = constraint.role == Role::Promoted;
            entry.active |= self.any_active(constraint.resource, promoted);
            if entry.stays.is_none() {
                entry.stays = self.what_stays(constraint.resource, promoted);
            }
            entry.started &= self.all_run(constraint.resource, &|part| {
                // What failed to start counts as active until it was stopped.
                is_active(part, promoted) && !part.failed && part.pending_task.is_none() && !part.start_pending
            });
            if entry.able.is_ok() && !self.all_run(constraint.resource, &|part| will_be_active(part, promoted)) {
                let what = if promoted { "be promoted" } else { "run" };
                entry.able = Err(format!("{} cannot {what} on any node here", self.resource(constraint.resource).id));
            }
        }
        for (ticket, id) in &self.wrong_ticket_constraints {
            let entry = uses.entry(ticket.clone()).or_insert_with(unused);
            (entry.active, entry.started, entry.unread) = (true, false, true);
            entry.able = Err(format!("the constraint {id} is wrong and ignored"));
        }
        uses
    }

    fn note_primitives(&self, resource: ResourceId, noted: &mut BTreeSet<String>) {
        let part = self.resource(resource);
        if matches!(part.kind, Kind::Primitive) {
            noted.insert(self.resource_ref(resource).id);
        }
        part.children.iter().for_each(|child| self.note_primitives(*child, noted));
    }

    /// An active part that the cluster does not stop or demote by itself, and why.
    fn what_stays(&self, resource: ResourceId, promoted: bool) -> Option<String> {
        let part = self.resource(resource);
        if matches!(part.kind, Kind::Primitive) && is_active(part, promoted) && (!part.managed || part.blocked) {
            let why = if part.managed { "is blocked" } else { "is not managed" };
            return Some(format!("{} {why}", self.resource_ref(resource).id));
        }
        part.children.iter().find_map(|child| self.what_stays(*child, promoted))
    }

    fn any_active(&self, resource: ResourceId, promoted: bool) -> bool {
        let part = self.resource(resource);
        is_active(part, promoted) || part.children.iter().any(|child| self.any_active(*child, promoted))
    }

    /// All parts of a resource fulfil this that are needed for it to do its work: every member of a group, one instance of
    /// a clone.
    fn all_run(&self, resource: ResourceId, runs: &impl Fn(&Resource) -> bool) -> bool {
        let part = self.resource(resource);
        let mut children = part.children.iter();
        match part.kind {
            Kind::Primitive => runs(part) || self.model.is_disabled(resource),
            Kind::Group(_) => children.all(|child| self.all_run(*child, runs)),
            Kind::Clone(_) | Kind::Bundle(_) => children.any(|child| self.all_run(*child, runs)),
        }
    }

    /// Nothing of a clone is promoted without the tickets that promotion needs.
    pub(crate) fn require_promotion_tickets(&mut self, clone: ResourceId) {
        let lacking: Vec<Share> = self
            .ticket_constraints
            .iter()
            .filter(|constraint| constraint.resource == clone && constraint.role == Role::Promoted)
            .filter(|constraint| {
                self.model.tickets.get(&constraint.ticket).is_none_or(|state| !state.granted || state.standby)
            })
            .map(|constraint| Share::new(Source::Ticket, &constraint.id))
            .collect();
        for share in lacking {
            self.add_score(clone, None, Score::MINUS_INFINITY, &share);
        }
    }

    /// The role in a constraint; `Started` means any. Nothing where it is not valid.
    pub(crate) fn constraint_role(&mut self, id: &str, role: Option<&str>) -> Option<Role> {
        let Some(text) = role else { return Some(Role::Unknown) };
        match Role::parse(text) {
            Role::Unknown if !text.eq_ignore_ascii_case("Unknown") => {
                self.problem(id, format!("the role '{text}' is not valid; the constraint is ignored"));
                None
            }
            Role::Started => Some(Role::Unknown),
            role => Some(role),
        }
    }
}

//! The steps of a decision that go through all resources in turn.

use super::action::{OpKey, Relation, Task};
use crate::planner::Planner;
use crate::read::failures::Failures;
use crate::scores::ScoreLine;
use hakudo_cib::Document;

impl Planner {
    /// Reads node health and the constraints.
    pub(crate) fn read_constraints(&mut self, cib: &Document) {
        self.apply_node_health();
        let Some(section) = cib.section(&["configuration", "constraints"]) else { return };
        for constraint in section.children() {
            if constraint.id().is_empty() {
                self.problem(constraint.name(), format!("a <{}> without id is ignored", constraint.name()));
                continue;
            }
            match constraint.name() {
                "rsc_order" => self.read_order_constraint(constraint),
                "rsc_colocation" => self.read_colocation_constraint(constraint),
                "rsc_location" => self.read_location_constraint(constraint),
                "rsc_ticket" => self.read_ticket_constraint(constraint),
                other => self.problem(constraint.id(), format!("<{other}> is no kind of constraint")),
            }
        }
    }

    pub(crate) fn add_all_internal_constraints(&mut self) {
        for resource in self.model.top.clone() {
            self.add_internal_constraints(resource);
        }
    }

    /// Chooses nodes: remote connections first, because their nodes may be chosen for others.
    pub(crate) fn assign_all(&mut self) {
        self.rank_nodes();
        self.sort_resources_by_preference();
        self.show_capacities("Original");
        let top = self.model.top.clone();
        if self.model.have_remote_nodes {
            for &resource in
                top.iter().filter(|resource| self.resource(**resource).remote_connection).collect::<Vec<_>>()
            {
                let target = self.resource(resource).migration_target;
                self.assign(resource, target, true);
            }
        }
        for resource in top {
            if !self.resource(resource).remote_connection {
                self.assign_top(resource);
            }
        }
        self.show_capacities("Remaining");
    }

    /// Remembers what nodes have room for, as `crm_simulate -U` shows it. A bundle's nodes have nothing of their own.
    fn show_capacities(&mut self, when: &'static str) {
        if !self.for_inspection() {
            return;
        }
        for &node in &self.model.node_order {
            let node = self.model.node(node);
            if node.launcher.is_some_and(|launcher| self.model.is_bundled(launcher)) {
                continue;
            }
            let (node, amounts) = (node.name.clone(), node.utilization.clone());
            self.scores.push(ScoreLine::Capacity { when, node, amounts });
        }
    }

    pub(crate) fn create_all_actions(&mut self) {
        self.make_deferred_checks();
        if self.model.options.startup_probes {
            self.schedule_probes();
        }
        if self.model.options.stop_removed_resources {
            self.clear_failures_of_removed();
        }
        for resource in self.model.top.clone() {
            self.create_actions(resource);
        }
    }

    fn clear_failures_of_removed(&mut self) {
        for resource in self.model.top.clone() {
            if !self.resource(resource).removed {
                continue;
            }
            for at in 0..self.model.node_order.len() {
                let node = self.model.node_order[at];
                if !self.model.node(node).online || self.fail_count(resource, node, Failures::Effective, None).0 == 0 {
                    continue;
                }
                let clear = self.clear_fail_count(resource, node, "it is removed");
                self.order_action_then_key(clear, resource, OpKey::from(Task::Stop), Relation::ORDERED);
            }
        }
    }
}

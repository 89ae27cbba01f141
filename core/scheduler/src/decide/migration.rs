//! Live migration: a stop and a start that are one movement.

use super::action::{ActionFlags, Relation, Task};
use super::ordering::Ordering;
use crate::model::{NodeIndex, ResourceId};
use crate::planner::Planner;

impl Planner {
    pub(crate) fn can_migrate(&self, resource: ResourceId, current: Option<NodeIndex>) -> bool {
        let subject = self.resource(resource);
        let clean = |node: Option<NodeIndex>| node.is_some_and(|node| !self.model.node(node).unclean);
        subject.migratable
            && subject.managed
            && !subject.failed
            && !subject.start_pending
            && clean(current)
            && clean(subject.assigned_to)
    }

    pub(crate) fn create_migration_actions(&mut self, resource: ResourceId, current: NodeIndex) {
        let subject = self.resource(resource);
        let (target, under_way) = (subject.assigned_to, subject.migration_target.is_some());
        let remote = subject.remote_connection;
        let Some(to) = target else { return };
        let start = self.resource_action(resource, Task::Start, target, true);
        let stop = self.resource_action(resource, Task::Stop, Some(current), true);
        let depart = (!under_way).then(|| self.resource_action(resource, Task::MigrateTo, Some(current), true));
        let arrive = self.resource_action(resource, Task::MigrateFrom, target, true);
        self.action_mut(start).flags.set(ActionFlags::MIGRATABLE | ActionFlags::PSEUDO);
        self.action_mut(stop).flags.set(ActionFlags::MIGRATABLE);
        self.action_mut(arrive).flags.set(ActionFlags::MIGRATABLE);
        let requires = self.action(start).requires;
        let blocks = Relation::ORDERED | Relation::UNMIGRATABLE_THEN_BLOCKS;
        match depart {
            Some(depart) => {
                let subject = self.action_mut(depart);
                subject.flags.set(ActionFlags::MIGRATABLE);
                subject.requires = requires;
                self.order_tasks(resource, Task::Monitor, resource, Task::MigrateTo, Relation::ORDERED);
                self.order_tasks(resource, Task::MigrateTo, resource, Task::MigrateFrom, blocks);
            }
            None => {
                self.action_mut(arrive).requires = requires;
                self.order_tasks(resource, Task::Monitor, resource, Task::MigrateFrom, Relation::ORDERED);
            }
        }
        self.order_tasks(resource, Task::MigrateFrom, resource, Task::Stop, blocks);
        let else_start = blocks | Relation::FIRST_ELSE_THEN;
        self.order_tasks(resource, Task::MigrateFrom, resource, Task::Start, else_start);
        let names = [
            ("migrate_source", self.model.node(current).name.clone()),
            ("migrate_target", self.model.node(to).name.clone()),
        ];
        for action in depart.into_iter().chain([arrive]) {
            for (name, node) in &names {
                self.action_mut(action).meta.insert((*name).to_owned(), node.clone());
            }
        }
        if let Some(depart) = depart.filter(|_| !remote) {
            self.action_mut(depart).meta.insert("record-pending".to_owned(), "true".to_owned());
        }
    }

    /// What an ordering of starts and stops means for migrations, which are both.
    pub(crate) fn order_migration_equivalents(&mut self, ordering: &Ordering) {
        let (Some(first), Some(then)) = (ordering.first.resource, ordering.then.resource) else { return };
        if first == then || self.is_below(first, then) || self.is_below(then, first) {
            return;
        }
        let (first_migrates, then_migrates) = (self.resource(first).migratable, self.resource(then).migratable);
        if !first_migrates && !then_migrates {
            return;
        }
        let task = |planner: &Planner, end: &super::ordering::End| match end.action {
            Some(action) => Some(planner.action(action).task),
            None => end.key.map(|key| key.task),
        };
        let tasks = (task(self, &ordering.first), task(self, &ordering.then));
        let unless_migrating =
            if first_migrates { Relation::ORDERED | Relation::IF_FIRST_UNMIGRATABLE } else { Relation::ORDERED };
        let under_way = self.resource(then).migration_target.is_some();
        match tasks {
            (Some(Task::Start), Some(Task::Start)) => {
                if first_migrates && then_migrates {
                    self.order_tasks(first, Task::MigrateFrom, then, Task::MigrateTo, Relation::ORDERED);
                }
                if then_migrates {
                    self.order_tasks(first, Task::Start, then, Task::MigrateTo, unless_migrating);
                }
            }
            (Some(Task::Stop), Some(Task::Stop)) if then_migrates => {
                self.order_tasks(first, Task::Stop, then, Task::MigrateTo, unless_migrating);
                if under_way {
                    self.order_tasks(first, Task::Stop, then, Task::MigrateFrom, unless_migrating);
                }
            }
            (Some(Task::Promote), Some(Task::Start)) if then_migrates => {
                self.order_tasks(first, Task::Promote, then, Task::MigrateTo, Relation::ORDERED);
            }
            (Some(Task::Demote), Some(Task::Stop)) if then_migrates => {
                self.order_tasks(first, Task::Demote, then, Task::MigrateTo, Relation::ORDERED);
                if under_way {
                    self.order_tasks(first, Task::Demote, then, Task::MigrateFrom, Relation::ORDERED);
                }
            }
            _ => {}
        }
    }
}

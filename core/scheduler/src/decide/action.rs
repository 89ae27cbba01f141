//! Actions while they are being decided: an arena of them, and how each is related to others.

use crate::model::{NodeIndex, ResourceId};
use std::collections::BTreeMap;
use std::ops::{BitAnd, BitOr};

/// An action's place in the arena. Actions made later have higher indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ActionIndex(pub(crate) u32);

impl ActionIndex {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Task {
    Start,
    /// All of a collection's starts are done.
    Running,
    Stop,
    Stopped,
    Promote,
    Promoted,
    Demote,
    Demoted,
    Monitor,
    Notify,
    Notified,
    MigrateTo,
    MigrateFrom,
    ReloadAgent,
    Delete,
    LrmDelete,
    Cancel,
    ClearFailcount,
    Fence,
    Shutdown,
    MaintenanceNodes,
    /// Another name: of a recurring operation that an administrator configured, or of a point that others wait for.
    Custom(u32),
}

impl Task {
    /// The name in configuration and graph; none for custom ones.
    pub(crate) fn fixed_name(self) -> Option<&'static str> {
        Some(match self {
            Task::Start => "start",
            Task::Running => "running",
            Task::Stop => "stop",
            Task::Stopped => "stopped",
            Task::Promote => "promote",
            Task::Promoted => "promoted",
            Task::Demote => "demote",
            Task::Demoted => "demoted",
            Task::Monitor => "monitor",
            Task::Notify => "notify",
            Task::Notified => "notified",
            Task::MigrateTo => "migrate_to",
            Task::MigrateFrom => "migrate_from",
            Task::ReloadAgent => "reload-agent",
            Task::Delete => "delete",
            Task::LrmDelete => "lrm_delete",
            Task::Cancel => "cancel",
            Task::ClearFailcount => "clear_failcount",
            Task::Fence => "stonith",
            Task::Shutdown => "do_shutdown",
            Task::MaintenanceNodes => "maintenance_nodes",
            Task::Custom(_) => return None,
        })
    }

    /// All tasks with fixed names.
    pub(crate) const FIXED: [Task; 21] = [
        Task::Start,
        Task::Running,
        Task::Stop,
        Task::Stopped,
        Task::Promote,
        Task::Promoted,
        Task::Demote,
        Task::Demoted,
        Task::Monitor,
        Task::Notify,
        Task::Notified,
        Task::MigrateTo,
        Task::MigrateFrom,
        Task::ReloadAgent,
        Task::Delete,
        Task::LrmDelete,
        Task::Cancel,
        Task::ClearFailcount,
        Task::Fence,
        Task::Shutdown,
        Task::MaintenanceNodes,
    ];

    /// The point at which all of a collection's actions of this kind are done.
    pub(crate) fn completion(self) -> Option<Task> {
        Some(match self {
            Task::Start | Task::Running => Task::Running,
            Task::Stop | Task::Stopped => Task::Stopped,
            Task::Promote | Task::Promoted => Task::Promoted,
            Task::Demote | Task::Demoted => Task::Demoted,
            Task::Notify | Task::Notified => Task::Notified,
            _ => return None,
        })
    }

    /// The task of a primitive that a collection's task or completion stands for.
    pub(crate) fn of_primitive(self) -> Task {
        match self {
            Task::Running => Task::Start,
            Task::Stopped => Task::Stop,
            Task::Promoted => Task::Promote,
            Task::Demoted => Task::Demote,
            other => other,
        }
    }

    /// Raises the role.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Task::Start | Task::Promote | Task::MigrateFrom)
    }
}

/// Before or after what a notification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NotifyPhase {
    Pre,
    Post,
    ConfirmedPre,
    ConfirmedPost,
}

impl NotifyPhase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            NotifyPhase::Pre => "pre",
            NotifyPhase::Post => "post",
            NotifyPhase::ConfirmedPre => "confirmed-pre",
            NotifyPhase::ConfirmedPost => "confirmed-post",
        }
    }
}

/// What identifies an action among those of its resource, apart from the node: `start_0`, `monitor_10000`,
/// `pre_notify_start_0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpKey {
    pub(crate) task: Task,
    pub(crate) interval_ms: u32,
    pub(crate) notify: Option<NotifyPhase>,
}

impl From<Task> for OpKey {
    fn from(task: Task) -> Self {
        OpKey { task, interval_ms: 0, notify: None }
    }
}

impl OpKey {
    pub(crate) fn recurring(task: Task, interval_ms: u32) -> Self {
        OpKey { task, interval_ms, notify: None }
    }

    pub(crate) fn notification(phase: NotifyPhase, about: Task) -> Self {
        OpKey { task: about, interval_ms: 0, notify: Some(phase) }
    }
}

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag_doc:meta])* $flag:ident = $bit:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name(u32);

        impl $name {
            $($(#[$flag_doc])* pub(crate) const $flag: $name = $name(1 << $bit);)*

            /// All of `other` are set.
            pub(crate) fn has(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            pub(crate) fn set(&mut self, other: $name) {
                self.0 |= other.0;
            }

            pub(crate) fn clear(&mut self, other: $name) {
                self.0 &= !other.0;
            }
        }

        impl BitOr for $name {
            type Output = $name;
            fn bitor(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }
        }

        impl BitAnd for $name {
            type Output = $name;
            fn bitand(self, other: $name) -> $name {
                $name(self.0 & other.0)
            }
        }
    };
}

flags! {
    /// What is decided about an action.
    ActionFlags {
        /// Needs no doing.
        PSEUDO = 0;
        /// Could be done.
        RUNNABLE = 1;
        /// Need not be done.
        OPTIONAL = 2;
        /// Goes into the graph although optional.
        ALWAYS_IN_GRAPH = 3;
        /// Part of a live migration.
        MIGRATABLE = 4;
        /// Is in the graph.
        IN_GRAPH = 5;
        /// Stops what a failed migration left.
        MIGRATION_ABORT = 6;
        /// Its inputs are in order, each once.
        DEDUPLICATED = 7;
        /// Done by the leader, wherever the node is.
        ON_DC = 8;
        /// A recurring operation that runs with old parameters.
        RESCHEDULE = 9;
    }
}

flags! {
    /// What the first of two actions means for the second and the other way round.
    Relation {
        /// The second comes after the first where both are done.
        ORDERED = 0;
        /// Only where the first cannot be part of a migration.
        IF_FIRST_UNMIGRATABLE = 1;
        /// A required second makes the first required.
        THEN_IMPLIES_FIRST = 4;
        /// A required first makes the second required.
        FIRST_IMPLIES_THEN = 5;
        /// As `THEN_IMPLIES_FIRST`, for a promoted instance.
        PROMOTED_THEN_IMPLIES_FIRST = 6;
        /// The first is runnable only with a runnable and migratable second, and required with it.
        UNMIGRATABLE_THEN_BLOCKS = 7;
        /// The second is runnable only if the first is.
        UNRUNNABLE_FIRST_BLOCKS = 8;
        /// Where the first cannot run, the second becomes a real action.
        FIRST_ELSE_THEN = 9;
        /// As `FIRST_IMPLIES_THEN`, for the second on the first's node.
        FIRST_IMPLIES_SAME_NODE_THEN = 10;
        /// The start of a container before a probe of the connection into it.
        NESTED_REMOTE_PROBE = 11;
        /// Stop, then start: a restart.
        INTERMEDIATE_STOP = 12;
        /// Not at the same time.
        SERIALIZE = 14;
        /// Only on the same node.
        IF_ON_SAME_NODE = 15;
        /// A required second puts the first into the graph.
        THEN_IMPLIES_FIRST_GRAPHED = 16;
        /// A required first puts the second into the graph.
        FIRST_IMPLIES_THEN_GRAPHED = 17;
        /// Configured with `symmetrical=false`.
        ASYMMETRIC = 20;
        /// On the same node, or a migration's target.
        IF_ON_SAME_NODE_OR_TARGET = 21;
        /// The second needs a number of firsts to be runnable.
        MIN_RUNNABLE = 22;
        /// Where the first is required and on the same node.
        IF_REQUIRED_ON_SAME_NODE = 23;
        /// Also where the first runs on the guest node that the second makes.
        GUEST_ALLOWED = 24;
        /// A required second makes the first optional.
        THEN_CANCELS_FIRST = 25;
    }
}

flags! {
    /// What an ordering changed.
    Changed {
        FIRST = 0;
        THEN = 1;
    }
}

/// Kinds of flags of which none may be set.
macro_rules! may_be_none {
    ($($name:ident)*) => {$(
        impl $name {
            /// No flag at all.
            pub(crate) const NONE: $name = $name(0);
        }
    )*};
}

/// Kinds of flags of which it is asked whether one of several is set.
macro_rules! have_any {
    ($($name:ident)*) => {$(
        impl $name {
            /// Any of `other` is set.
            pub(crate) fn any(self, other: $name) -> bool {
                self.0 & other.0 != 0
            }
        }
    )*};
}

may_be_none! { Relation Changed }
have_any! { ActionFlags Relation }

impl Relation {
    /// These without `other`.
    pub(crate) fn without(self, other: Relation) -> Relation {
        Relation(self.0 & !other.0)
    }
}

/// What must be so for an action to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Requires {
    #[default]
    Nothing,
    Quorum,
    Fencing,
}

/// One end of a relation between two actions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Related {
    pub(crate) action: ActionIndex,
    pub(crate) flags: Relation,
    pub(crate) graphed: bool,
}

/// An action.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) resource: Option<ResourceId>,
    /// The whole key of an action that is of no resource.
    pub(crate) name: String,
    pub(crate) key: OpKey,
    pub(crate) task: Task,
    pub(crate) node: Option<NodeIndex>,
    pub(crate) flags: ActionFlags,
    pub(crate) requires: Requires,
    pub(crate) reason: Option<String>,
    /// Meta-attributes beside those of the configured operation.
    pub(crate) meta: BTreeMap<String, String>,
    /// The configured operation, by its place among the resource's.
    pub(crate) operation: Option<usize>,
    /// What it comes after; the newest last.
    pub(crate) before: Vec<Related>,
    /// What comes after it; the newest last.
    pub(crate) after: Vec<Related>,
    pub(crate) priority: i32,
    pub(crate) required_runnable_before: i32,
    pub(crate) runnable_before: i32,
    /// What a cancel cancels.
    pub(crate) cancels: Option<Task>,
}

impl Action {
    pub(crate) fn is(&self, flag: ActionFlags) -> bool {
        self.flags.has(flag)
    }
}

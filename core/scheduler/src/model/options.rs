//! The cluster options that the scheduler obeys, with their defaults (Pacemaker Explained, "Cluster Options").

use super::Score;
use std::collections::BTreeMap;

/// What happens to resources where the cluster has no quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoQuorumPolicy {
    /// What runs goes on, nothing new starts.
    Freeze,
    /// Everything stops.
    #[default]
    Stop,
    /// As if there were quorum.
    Ignore,
    /// The own nodes are fenced.
    Fence,
    /// Promoted instances are demoted, everything else stops.
    Demote,
}

/// How nodes are chosen among those of the best score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlacementStrategy {
    /// Capacity is not looked at.
    #[default]
    Default,
    /// Capacity is a limit.
    Utilization,
    /// Capacity is a limit, and the freest node is preferred.
    Balanced,
    /// Capacity is a limit, and as few nodes as possible are used.
    Minimal,
}

/// How node health attributes turn into scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStrategy {
    /// Not at all.
    #[default]
    None,
    /// Red is minus INFINITY.
    MigrateOnRed,
    /// Red and yellow are minus INFINITY.
    OnlyGreen,
    /// The configured values of the colours are added to a base.
    Progressive,
    /// The configured values of the colours are used.
    Custom,
}

impl HealthStrategy {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::MigrateOnRed => "migrate-on-red",
            Self::OnlyGreen => "only-green",
            Self::Progressive => "progressive",
            Self::Custom => "custom",
        }
    }
}

/// The scores that the words `red`, `yellow` and `green` stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthScores {
    /// `red`.
    pub red: Score,
    /// `yellow`.
    pub yellow: Score,
    /// `green`.
    pub green: Score,
}

/// The cluster options.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a configuration option of its own")]
pub struct ClusterOptions {
    /// Every option as written.
    pub written: BTreeMap<String, String>,
    /// `symmetric-cluster`.
    pub symmetric_cluster: bool,
    /// `maintenance-mode`.
    pub maintenance_mode: bool,
    /// `stop-all-resources`.
    pub stop_all_resources: bool,
    /// `fencing-enabled`.
    pub fencing_enabled: bool,
    /// A fence device is configured, or a watchdog is there.
    pub have_fencing: bool,
    /// Some device or resource wants unfencing.
    pub unfencing: bool,
    /// `fencing-action`.
    pub fencing_action: String,
    /// `fencing-timeout` as written.
    pub fencing_timeout: String,
    /// `startup-fencing`.
    pub startup_fencing: bool,
    /// `concurrent-fencing`.
    pub concurrent_fencing: bool,
    /// `priority-fencing-delay` in milliseconds.
    pub priority_fencing_delay_ms: u64,
    /// `fence-remote-without-quorum`.
    pub fence_remote_without_quorum: bool,
    /// `no-quorum-policy`, as it applies now.
    pub no_quorum_policy: NoQuorumPolicy,
    /// `start-failure-is-fatal`.
    pub start_failure_is_fatal: bool,
    /// `enable-startup-probes`.
    pub startup_probes: bool,
    /// `stop-removed-resources`.
    pub stop_removed_resources: bool,
    /// `cancel-removed-actions`.
    pub cancel_removed_actions: bool,
    /// `shutdown-lock`.
    pub shutdown_lock: bool,
    /// `shutdown-lock-limit` in milliseconds, 0 for none.
    pub shutdown_lock_limit_ms: u64,
    /// `node-pending-timeout` in milliseconds, 0 for none.
    pub node_pending_timeout_ms: u64,
    /// `placement-strategy`.
    pub placement_strategy: PlacementStrategy,
    /// `node-health-strategy`.
    pub health_strategy: HealthStrategy,
    /// The scores of the colours.
    pub health_scores: HealthScores,
    /// `node-health-base`.
    pub health_base: Score,
    /// `cluster-delay` as written.
    pub cluster_delay: String,
    /// `batch-limit` as written.
    pub batch_limit: String,
    /// `migration-limit` as written.
    pub migration_limit: String,
    /// `cluster-name`.
    pub cluster_name: Option<String>,
}

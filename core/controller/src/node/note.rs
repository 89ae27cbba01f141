//! The note that goes with a call to the executor and comes back after a restart of this process: what the call meant to
//! the cluster, so that its history can be written again.

use crate::status::{Digests, Issued, Order};
use hakudo_base::agent::AgentCall;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    task: String,
    target_rc: i32,
    ignore_failure: bool,
    transition_key: String,
    digests: Digests,
}

impl Note {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            task: order.task.clone(),
            target_rc: order.target_rc,
            ignore_failure: order.ignore_failure,
            transition_key: order.transition_key.clone(),
            digests: order.digests.clone(),
        }
    }

    /// The note as bytes; none where it cannot be written, which loses no more than the history after a restart.
    pub(super) fn write(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    pub(super) fn issued(&self, call: &AgentCall) -> Issued {
        let of = |name: &str| call.parameters.get(name).cloned();
        Issued {
            resource: call.resource.clone(),
            agent: call.agent.clone(),
            task: self.task.clone(),
            interval_ms: call.interval_ms,
            target_rc: self.target_rc,
            ignore_failure: self.ignore_failure,
            transition_key: self.transition_key.clone(),
            digests: self.digests.clone(),
            migration: of("CRM_meta_migrate_source").zip(of("CRM_meta_migrate_target")),
            answered: false,
        }
    }
}

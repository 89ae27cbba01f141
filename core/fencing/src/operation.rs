//! The fencing of one target: which device is tried next, and what has been tried.

use crate::core_types::{Action, Request};
use hakudo_base::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The fencing of one target, for one or more equal requests.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) target: String,
    /// See [`Request::life`].
    pub(crate) life: u64,
    pub(crate) action: Action,
    /// Empty once they were answered: then only devices are switched on again.
    pub(crate) requests: Vec<Request>,
    pub(crate) began: Option<Instant>,
    /// It waits until then, because it failed shortly before.
    pub(crate) not_before: Option<Instant>,
    pub(crate) delay: Option<Duration>,
    pub(crate) route: Route,
    pub(crate) step: Option<Step>,
    /// Nodes that have tried a device.
    pub(crate) tried: BTreeMap<String, BTreeSet<String>>,
    /// Devices that did their part, and the node that ran the last of them.
    pub(crate) done: Vec<String>,
    pub(crate) by: Option<String>,
    /// All devices that were run.
    pub(crate) used: Vec<String>,
    /// What went wrong so far, a sentence each.
    pub(crate) complaints: Vec<String>,
    /// Answers of `status` by device.
    pub(crate) statuses: BTreeMap<String, Result<bool, String>>,
    /// Devices whose `list` was asked for this operation.
    pub(crate) lists_asked: BTreeSet<String>,
}

/// One device doing one thing.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) device: String,
    pub(crate) action: Action,
    pub(crate) not_before: Option<Instant>,
    /// The first run on the present node.
    pub(crate) started: Option<Instant>,
    pub(crate) tries: u32,
    pub(crate) on: Option<String>,
    pub(crate) running: Option<u64>,
}

/// In which order devices are tried.
#[derive(Debug)]
pub(crate) enum Route {
    /// Any device that can do it, until one succeeds; each on one node, and then each on the other nodes.
    Any {
        /// Devices that this round is through with.
        through: BTreeSet<String>,
        /// Whether each had its turn once.
        again: bool,
        /// No new round after this moment.
        until: Option<Instant>,
    },
    /// Level after level until all devices of one succeed.
    Levels {
        /// The devices by level.
        levels: Vec<Vec<String>>,
        level: usize,
        at: usize,
        half: Half,
    },
}

/// Several devices of a level cannot reboot one after the other: the node would never be without power. So all of them
/// switch off, and then all switch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Whole,
    Off,
    On,
}

/// What a device's success comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More devices must do their part.
    More,
    /// The target is fenced; devices are still to be switched on again.
    Fenced,
    /// All is done.
    Finished,
}

impl Operation {
    pub(crate) fn new(request: Request, levels: Vec<Vec<String>>) -> Self {
        let action = request.action;
        let route = if levels.is_empty() {
            Route::Any { through: BTreeSet::new(), again: false, until: None }
        } else {
            let half = half_of(action, levels.first());
            Route::Levels { levels, level: 0, at: 0, half }
        };
        Self {
            target: request.target.clone(),
            life: request.life,
            action,
            delay: request.delay,
            requests: vec![request],
            began: None,
            not_before: None,
            route,
            step: None,
            tried: BTreeMap::new(),
            done: Vec::new(),
            by: None,
            used: Vec::new(),
            complaints: Vec::new(),
            statuses: BTreeMap::new(),
            lists_asked: BTreeSet::new(),
        }
    }

    /// Nobody waits for it any more.
    pub(crate) fn is_answered(&self) -> bool {
        self.requests.is_empty()
    }

    pub(crate) fn complain(&mut self, complaint: String) {
        const MOST: usize = 20;
        if self.complaints.len() < MOST && !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }

    /// The present device did its part.
    pub(crate) fn succeeded(&mut self) -> Progress {
        let Some(step) = self.step.take() else { return Progress::More };
        self.by = step.on;
        if step.action != Action::On || self.action == Action::On {
            self.done.push(step.device);
        }
        match &mut self.route {
            Route::Any { .. } => Progress::Finished,
            Route::Levels { levels, level, at, half } => {
                *at += 1;
                if levels.get(*level).is_some_and(|devices| *at < devices.len()) {
                    return Progress::More;
                }
                match half {
                    Half::Whole | Half::On => Progress::Finished,
                    Half::Off => {
                        (*at, *half) = (0, Half::On);
                        Progress::Fenced
                    }
                }
            }
        }
    }

    /// The present device, or the next one that `device` names, failed for good: what is next.
    pub(crate) fn failed(&mut self, device: &str) {
        self.step = None;
        match &mut self.route {
            Route::Any { through, .. } => {
                through.insert(device.to_owned());
            }
            // Devices that cannot be switched on again are no harm to the cluster.
            Route::Levels { at, half: Half::On, .. } => *at += 1,
            Route::Levels { levels, level, at, half } => {
                *level += 1;
                *at = 0;
                *half = half_of(self.action, levels.get(*level));
                self.done.clear();
            }
        }
    }

    pub(crate) fn has_tried(&self, device: &str, node: &str) -> bool {
        self.tried.get(device).is_some_and(|nodes| nodes.contains(node))
    }
}

fn half_of(action: Action, devices: Option<&Vec<String>>) -> Half {
    match devices {
        Some(devices) if action == Action::Reboot && devices.len() > 1 => Half::Off,
        _ => Half::Whole,
    }
}

impl Step {
    pub(crate) fn new(device: &str, action: Action, not_before: Option<Instant>) -> Self {
        Self { device: device.to_owned(), action, not_before, started: None, tries: 0, on: None, running: None }
    }
}

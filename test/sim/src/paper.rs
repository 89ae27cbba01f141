//! The scheduler by itself, on paper: what it would want next if its plan were carried out to the letter.
//!
//! Pacemaker's decisions, which are followed case by case, do not always come to rest after one plan, and now and then never: a
//! resource that only begins to run adds its stickiness to a clone that it is placed with; instances that must not be
//! together change places for ever. The cores that carry plans out are not to blame for that. Whoever excuses a cluster with
//! this asks here whether the scheduler alone does the same.

use crate::check::possible;
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_scheduler::simulate::carry_out;
use hakudo_scheduler::{ActionKind, Plan, plan};
use std::collections::BTreeSet;

/// So many plans in a row that each want something lead nowhere.
const LAPS: u32 = 24;

/// The document after what the scheduler wants was done to the letter. `now` is in seconds since 1970.
pub(crate) fn carried_out(cib: &Document, now: i64) -> Document {
    let plan = plan(cib, UnixTime::from_seconds(now));
    after(cib, &plan, now)
}

fn after(cib: &Document, plan: &Plan, now: i64) -> Document {
    let names: BTreeSet<&str> = plan
        .model
        .resources()
        .flat_map(|(_, resource)| [Some(resource.id.as_str()), resource.history_id.as_deref()])
        .flatten()
        .collect();
    carry_out(cib.clone(), &plan.transition, &|id| names.contains(id), &[], now).document
}

/// The scheduler's plans, each carried out to the letter, never come to an end.
pub(crate) fn goes_in_circles(cib: &Document, now: i64) -> bool {
    let mut cib = cib.clone();
    for _ in 0..LAPS {
        let plan = plan(&cib, UnixTime::from_seconds(now));
        if possible(&plan.transition).iter().all(|action| action.kind == ActionKind::Pseudo) {
            return false;
        }
        cib = after(&cib, &plan, now);
    }
    true
}

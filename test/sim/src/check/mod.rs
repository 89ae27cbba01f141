//! The checkers of the safety rules. They watch what really happens: packets, installed views, what is on disks, which
//! service runs where. None of them asks a core what it thinks, and none shares code with one.
//!
//! A checker is told facts as they happen and says at once if a rule is broken. The first violation ends a run.

mod activity;
mod edits;
mod order;
mod plans;
mod quorum;
mod same;
mod settled;

pub(crate) use activity::{Activity, Service};
pub(crate) use edits::Edits;
pub(crate) use order::Order;
pub(crate) use plans::{Plans, changes, possible};
pub(crate) use quorum::{Resting, Sides};
pub(crate) use settled::{is_maintained, settled};

use hakudo_base::Instant;
use std::fmt;

/// The rules of the design that a simulated cluster is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One leader a view.
    OneLeader,
    /// Members of a view agree on it, and are told the same in the same order; views grow.
    TotalOrder,
    /// No two quorate views without a common member, unless they say that this is possible.
    Quorum,
    /// A resource is never started where another copy may still be active.
    NoSecondCopy,
    /// No more copies active than the configuration allows.
    CopyCount,
    /// An acknowledged configuration change is never lost.
    NoLostChange,
    /// Members that applied the same commands hold the same document.
    SameDocument,
    /// A side without quorum does what `no-quorum-policy` says.
    WithoutQuorum,
    /// A plan that was carried out in full makes the next plan empty.
    PlanConverges,
    /// What is not authenticated or not well-formed changes nothing.
    ForgedChangesNothing,
    /// After the faults the cluster settles in the state that the scheduler wants.
    Settles,
    /// No input makes a core panic.
    NoPanic,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 12] = [
        Rule::OneLeader,
        Rule::TotalOrder,
        Rule::Quorum,
        Rule::NoSecondCopy,
        Rule::CopyCount,
        Rule::NoLostChange,
        Rule::SameDocument,
        Rule::WithoutQuorum,
        Rule::PlanConverges,
        Rule::ForgedChangesNothing,
        Rule::Settles,
        Rule::NoPanic,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::OneLeader => "one leader a view",
            Rule::TotalOrder => "members of a view are told the same in the same order",
            Rule::Quorum => "no two exclusive quorate views without a common member",
            Rule::NoSecondCopy => "no start where another copy may still be active",
            Rule::CopyCount => "no more copies active than the configuration allows",
            Rule::NoLostChange => "an acknowledged change is never lost",
            Rule::SameDocument => "the same commands make the same document",
            Rule::WithoutQuorum => "a side without quorum does what the policy says",
            Rule::PlanConverges => "a plan carried out in full makes the next plan empty",
            Rule::ForgedChangesNothing => "what is not authenticated changes nothing",
            Rule::Settles => "the cluster settles after the faults",
            Rule::NoPanic => "no input makes a core panic",
        })
    }
}

/// A rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub rule: Rule,
    /// When, in virtual time.
    pub at: Instant,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} s: {}: {}", self.at, self.rule, self.text)
    }
}

/// What a checker says: nothing, or the rule that is broken and how.
pub(crate) type Verdict = Result<(), (Rule, String)>;

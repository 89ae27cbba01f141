//! Every deliberate fault is caught by the checker of the rule that it breaks.

use hakudo_sim::{Mutation, Rule, generate, run};

/// At most so many seeds are tried until a fault must have been seen.
const SEEDS: u64 = 400;

/// The rules that a fault breaks; which of them is seen first is left to chance.
fn breaks(mutation: Mutation) -> &'static [Rule] {
    match mutation {
        Mutation::EveryoneLeads => &[Rule::OneLeader],
        Mutation::OrderSwapped => &[Rule::TotalOrder],
        Mutation::QuorumClaimed => &[Rule::Quorum],
        Mutation::FencingLies => &[Rule::NoSecondCopy, Rule::CopyCount],
        Mutation::StopLies | Mutation::LimitIgnored => &[Rule::CopyCount],
        Mutation::DiskLies => &[Rule::NoLostChange],
        Mutation::MessageLost => &[Rule::SameDocument],
        Mutation::PlanNeverDone => &[Rule::PlanConverges],
        Mutation::ForgedAccepted => &[Rule::ForgedChangesNothing],
        Mutation::PlansDropped => &[Rule::Settles],
    }
}

#[test]
fn every_deliberate_fault_is_caught() {
    for mutation in Mutation::ALL {
        let caught = (0..SEEDS).any(|seed| {
            run(&generate::script(seed), Some(mutation)).violation.is_some_and(|v| breaks(mutation).contains(&v.rule))
        });
        assert!(caught, "{mutation:?} is not caught within {SEEDS} seeds");
    }
}

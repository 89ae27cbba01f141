//! Faults put into a group on purpose, so that it is seen that the checker catches them.

use super::Rule;

/// A deliberate fault, made where the simulator stands between the core and the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A member that is started again finds an old copy of what it stored, with neither its last vote nor the end of its log.
    OldCopyRestored,
    /// A member that is started again says that it acked nobody for a long time.
    AckForgotten,
    /// Sites say that they need no time to stop.
    StopTimeDenied,
    /// A lease is counted from its answer and not from its asking.
    LeaseFromAnswer,
    /// Clocks drift more than the core allows for.
    DriftIgnored,
    /// Writes are confirmed before they are stored.
    StoreLies,
    /// A replaced speaker is not stopped from promising.
    GhostsPromise,
    /// Only the speaker ends a lease, and not the cluster by itself.
    ClusterDoesNotEnforce,
    /// Executors take no notice of the ends of leases.
    GuardSleeps,
    /// A site says that it has stopped while it has not.
    StopLies,
    /// Who asks is told that it is done as soon as he asked.
    AcknowledgedAtOnce,
    /// No site ever answers an offer.
    OffersIgnored,
    /// Answers to requests are dropped.
    RepliesDropped,
    /// Who orders something by force has not looked whether anything runs elsewhere.
    NobodyLooked,
    /// What should be no message is one.
    ForgedAccepted,
    /// The first member reads another value than was written.
    ValuesBent,
    /// Whoever has started a ticket's services wants them elsewhere, without end.
    TicketsBounce,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 17] = [
        Mutation::OldCopyRestored,
        Mutation::AckForgotten,
        Mutation::StopTimeDenied,
        Mutation::LeaseFromAnswer,
        Mutation::DriftIgnored,
        Mutation::StoreLies,
        Mutation::GhostsPromise,
        Mutation::ClusterDoesNotEnforce,
        Mutation::GuardSleeps,
        Mutation::StopLies,
        Mutation::AcknowledgedAtOnce,
        Mutation::OffersIgnored,
        Mutation::RepliesDropped,
        Mutation::NobodyLooked,
        Mutation::ForgedAccepted,
        Mutation::ValuesBent,
        Mutation::TicketsBounce,
    ];

    /// The rules that it breaks.
    pub fn breaks(self) -> &'static [Rule] {
        match self {
            Mutation::OldCopyRestored | Mutation::StoreLies => {
                &[Rule::OneHolder, Rule::OneCoordinator, Rule::SameTable, Rule::NothingLost]
            }
            Mutation::AckForgotten
            | Mutation::StopTimeDenied
            | Mutation::LeaseFromAnswer
            | Mutation::DriftIgnored
            | Mutation::GhostsPromise
            | Mutation::ClusterDoesNotEnforce
            | Mutation::GuardSleeps
            | Mutation::StopLies
            | Mutation::NobodyLooked => &[Rule::OneHolder],
            Mutation::AcknowledgedAtOnce => &[Rule::NothingLost],
            Mutation::ForgedAccepted => &[Rule::ForgedChangesNothing],
            Mutation::ValuesBent => &[Rule::SameTable],
            Mutation::OffersIgnored | Mutation::RepliesDropped | Mutation::TicketsBounce => &[Rule::Settles],
        }
    }
}

//! Faults put into the cluster on purpose, each of which breaks one rule, so that it is seen that the checkers catch them.

/// A deliberate fault. Those here are made where the simulator stands between the cores, as a daemon that is wrong would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A fence agent says that it did what it did not do.
    FencingLies,
    /// A stop is reported as done while the service runs on.
    StopLies,
    /// A node tells its controller of every view that it leads it.
    EveryoneLeads,
    /// Two messages reach the controller of a node in the other order.
    OrderSwapped,
    /// A message reaches all controllers but one.
    MessageLost,
    /// Writes are confirmed before they are on disk.
    DiskLies,
    /// The scheduler sees a configuration that was changed on the way, so that it never is content.
    PlanNeverDone,
    /// What is not authenticated is taken as said by a member.
    ForgedAccepted,
    /// Quorum is claimed without votes.
    QuorumClaimed,
    /// A clone's limit is not what the scheduler is told.
    LimitIgnored,
    /// The scheduler's plans are dropped once everything was mended.
    PlansDropped,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 11] = [
        Mutation::FencingLies,
        Mutation::StopLies,
        Mutation::EveryoneLeads,
        Mutation::OrderSwapped,
        Mutation::MessageLost,
        Mutation::DiskLies,
        Mutation::PlanNeverDone,
        Mutation::ForgedAccepted,
        Mutation::QuorumClaimed,
        Mutation::LimitIgnored,
        Mutation::PlansDropped,
    ];
}

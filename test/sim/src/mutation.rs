//! Faults put into the cluster on purpose, each of which breaks one rule, so that it is seen that the checkers catch them.

pub(crate) mod wrong;

use crate::check::Rule;

/// A deliberate fault. Those here are made where the simulator stands between the cores, as a daemon that is wrong would, or
/// a core that tells its neighbour what is wrong. A scheduler that is wrong is so on paper as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Every node believes that it leads the view, and is believed.
    EveryoneLeads,
    /// Two messages reach the controller of a node in the other order.
    OrderSwapped,
    /// Epochs count as reserved before they are on disk.
    ReserveLies,
    /// Quorum is claimed without votes.
    QuorumClaimed,
    /// A fence agent says that it did what it did not do.
    FencingLies,
    /// The scheduler is told of quorum where there is none.
    QuorumAssumed,
    /// The scheduler is not told that a side had quorum before.
    QuorumLossForgotten,
    /// Membership says of lost nodes that they left cleanly.
    LossCalledLeave,
    /// The executor takes orders of any epoch and of any process, however old.
    EpochsIgnored,
    /// A stop is reported as done while the service runs on.
    StopLies,
    /// The scheduler is told of a greater limit than the configuration's.
    LimitIgnored,
    /// Writes are confirmed before they are on disk.
    DiskLies,
    /// A client is told that its change is done as soon as it asked.
    AcknowledgedAtOnce,
    /// A node that starts takes its own configuration for the newest one.
    LineageClaimed,
    /// A message reaches all controllers but one as it was sent.
    MessageBent,
    /// A change is another one on one node.
    ReplicaDiverges,
    /// The scheduler sees a status that was changed on the way, so that it never is content.
    PlanNeverDone,
    /// What is not authenticated is taken as said by a member.
    ForgedAccepted,
    /// What is not valid in a change is left out, and the rest is done.
    NonsenseTaken,
    /// The scheduler leaves monitors for the plan after the one that starts what they look at.
    MonitorsLater,
    /// The scheduler takes the parameters of whatever runs for others than those it was started with.
    DigestsMistaken,
    /// The scheduler never wants a service to be where it is.
    NowhereGoodEnough,
    /// The scheduler's plans are dropped.
    PlansDropped,
    /// A core panics now and then.
    CorePanics,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 24] = [
        Mutation::EveryoneLeads,
        Mutation::OrderSwapped,
        Mutation::ReserveLies,
        Mutation::QuorumClaimed,
        Mutation::QuorumAssumed,
        Mutation::QuorumLossForgotten,
        Mutation::FencingLies,
        Mutation::LossCalledLeave,
        Mutation::EpochsIgnored,
        Mutation::StopLies,
        Mutation::LimitIgnored,
        Mutation::DiskLies,
        Mutation::AcknowledgedAtOnce,
        Mutation::LineageClaimed,
        Mutation::MessageBent,
        Mutation::ReplicaDiverges,
        Mutation::PlanNeverDone,
        Mutation::ForgedAccepted,
        Mutation::NonsenseTaken,
        Mutation::MonitorsLater,
        Mutation::DigestsMistaken,
        Mutation::NowhereGoodEnough,
        Mutation::PlansDropped,
        Mutation::CorePanics,
    ];

    /// The rules that it breaks: which of them is seen first is left to chance. What another checker says first is an
    /// effect of the fault, and proves nothing.
    pub fn breaks(self) -> &'static [Rule] {
        match self {
            Mutation::EveryoneLeads => &[Rule::OneLeader],
            Mutation::OrderSwapped | Mutation::ReserveLies => &[Rule::TotalOrder],
            Mutation::QuorumClaimed => &[Rule::Quorum],
            Mutation::QuorumAssumed | Mutation::QuorumLossForgotten => &[Rule::WithoutQuorum],
            Mutation::FencingLies | Mutation::LossCalledLeave => &[Rule::NoSecondCopy],
            Mutation::EpochsIgnored => &[Rule::NoSecondCopy, Rule::CopyCount],
            Mutation::StopLies | Mutation::LimitIgnored => &[Rule::CopyCount],
            Mutation::DiskLies | Mutation::AcknowledgedAtOnce | Mutation::LineageClaimed => &[Rule::NoLostChange],
            Mutation::MessageBent | Mutation::ReplicaDiverges => &[Rule::SameDocument],
            Mutation::PlanNeverDone | Mutation::MonitorsLater | Mutation::DigestsMistaken => &[Rule::PlanConverges],
            Mutation::ForgedAccepted | Mutation::NonsenseTaken => &[Rule::ForgedChangesNothing],
            Mutation::NowhereGoodEnough | Mutation::PlansDropped => &[Rule::Settles],
            Mutation::CorePanics => &[Rule::NoPanic],
        }
    }
}

//! What membership tells the rest of a node: views and delivered messages. The native engine fulfils this contract; an
//! engine over Corosync can, too.

use hakudo_base::NodeId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The name of a view. No two views of a cluster have the same id; ids grow along the history of every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ViewId {
    /// Grows with every view, up to [`ViewId::LAST_EPOCH`].
    #[serde(deserialize_with = "possible_epoch")]
    pub epoch: u64,
    /// The node that proposed the view, and leads it: it orders the messages, and its controller is the DC.
    pub leader: u32,
}

impl ViewId {
    /// No cluster lives long enough to come here by growing: a message or a file that says more is damaged, and believing it
    /// would leave no epochs for the views to come.
    pub const LAST_EPOCH: u64 = 1 << 48;
}

fn possible_epoch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let epoch = u64::deserialize(deserializer)?;
    let impossible = || D::Error::custom(format_args!("epoch {epoch} is impossible"));
    if epoch <= ViewId::LAST_EPOCH { Ok(epoch) } else { Err(impossible()) }
}

/// Who is here. Every member of a view gets the same view, and then the same messages in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub id: ViewId,
    /// The members, ascending.
    pub members: Vec<NodeId>,
    /// Those members which came here from the same previous view as this node, this node among them: they were delivered
    /// exactly the same messages as this node up to here. The others join, or come from another partition.
    pub together: Vec<NodeId>,
    /// Members of the previous view that said goodbye: they run nothing any more, and need no fencing.
    pub left: Vec<NodeId>,
    /// The votequorum rule gives this side the right to run services.
    pub quorate: bool,
    /// No other view that shares no member with this one can be quorate at the same time. False for a quorate view only
    /// where the rule allows that (`two_node`, `last_man_standing`, `auto_tie_breaker` is safe): then the lost nodes
    /// must be fenced before the configuration may change.
    pub exclusive: bool,
}

impl View {
    /// The node that leads this view.
    pub fn leader(&self) -> NodeId {
        NodeId(self.id.leader)
    }
}

/// A message in the total order of the view that was installed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Who said it.
    pub from: NodeId,
    /// What was said.
    pub payload: Vec<u8>,
}

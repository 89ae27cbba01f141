//! Who is here, in which order things are said, and whether we are quorate.

mod view;

pub use view::{Delivered, View, ViewId};

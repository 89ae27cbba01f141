//! Showing, setting and removing one name-value pair of an object: what `node attribute`, `resource meta` and
//! `resource param` have in common.

use crate::change::{self, PairSet};
use crate::exit::{Exit, Failure, Outcome};
use crate::input::Source;
use crate::world::World;
use clap::Subcommand;
use hakudo_cib::Element;

/// What to do with a name-value pair.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Show the value
    #[command(visible_alias = "show")]
    Get {
        /// The name
        name: String,
    },
    /// Set the value
    Set {
        /// The name
        name: String,
        /// The value
        value: String,
    },
    /// Remove the pair
    Delete {
        /// The name
        name: String,
    },
}

/// Does it with a pair in the sets of `holder`; `missing` says that there is none of a name.
pub(crate) fn run(
    action: &Action,
    holder: &Element,
    set: PairSet<'_>,
    missing: impl Fn(&str) -> Failure,
    source: &Source,
    world: &mut World,
) -> Outcome {
    let operation = match action {
        Action::Get { name } => {
            let value = change::value(holder, set.kind, name).ok_or_else(|| missing(name))?;
            writeln!(world.out, "{value}")?;
            return Ok(Exit::OK);
        }
        Action::Set { name, value } => change::set(holder, set, name, value),
        Action::Delete { name } => change::unset(holder, set.kind, name).ok_or_else(|| missing(name))?,
    };
    change::apply(source, vec![operation], world)?;
    Ok(Exit::OK)
}

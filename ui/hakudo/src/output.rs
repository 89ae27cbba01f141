//! Forms of output that commands have in common.

use clap::ValueEnum;

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, in the words of Pacemaker's tools
    #[default]
    Text,
    /// For programs: the schema is documented
    Json,
    /// For programs made for Pacemaker's tools: the API result of these
    Xml,
}

/// A value as indented JSON with a newline.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, crate::exit::Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| {
        crate::exit::Failure::new(crate::exit::Exit::SOFTWARE, format!("cannot write the value as JSON: {error}"))
    })?;
    Ok(text + "\n")
}

//! Reading: from the document to the model. Configuration first, then the status, because only the configuration says
//! what a history entry means.

pub(crate) mod attributes;
pub(crate) mod bundle;
pub(crate) mod configuration;
pub(crate) mod failures;
pub(crate) mod history;
pub(crate) mod operations;
pub(crate) mod resources;
pub(crate) mod results;
pub(crate) mod status;

//! What the schema tests need.

pub(crate) mod example;
pub(crate) mod module;

